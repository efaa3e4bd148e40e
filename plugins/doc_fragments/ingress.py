# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the filters for ingress controllers."""

from __future__ import annotations


class ModuleDocFragment:
    # Of ingress_values and ingress_problems: role ingress gives the same settings to both.
    DOCUMENTATION = r"""
options:
  _input:
    description:
      - The settings of role C(ingress). Those that are required are needed by both filters.
      - P(baremetal.kubernetes.ingress_values#filter) needs also O(_input.class_default), O(_input.default_secret),
        O(_input.load_balancer_class), O(_input.ip_version) and O(_input.artifacts).
      - P(baremetal.kubernetes.ingress_problems#filter) needs also the others.
    type: dict
    required: true
    suboptions:
      controller:
        description: V(nginx) is F5's NGINX Ingress Controller, V(ingress-nginx) the retired one of the community.
        type: str
        required: true
      profile:
        description: Profile of the tuning.
        type: str
        required: true
      tuning:
        description: Options of the tuning that count more than the profile's.
        type: dict
        required: true
      config:
        description: Keys of the controller's ConfigMap that count last.
        type: dict
        required: true
      exposure:
        description: V(load_balancer) or V(host_network).
        type: str
        required: true
      external_traffic_policy:
        description: V(Local) or V(Cluster).
        type: str
        required: true
      addresses:
        description: Addresses to ask for.
        type: list
        elements: str
        required: true
      load_balancer:
        description: Who gives Services an address; V(metallb), V(cilium) or V(none).
        type: str
        required: true
      kind:
        description: V(Deployment) or V(DaemonSet). If empty, V(DaemonSet) with O(_input.exposure=host_network), else V(Deployment).
        type: str
        required: true
      replicas:
        description: Number of pods of a Deployment. V(0) means 2, or 1 on one node.
        type: int
        required: true
      nodes:
        description: Number of nodes that the pods can run on.
        type: int
        required: true
      class_name:
        description: Name of the IngressClass.
        type: str
        required: true
      extra:
        description: Values that are merged last.
        type: dict
        required: true
      class_default:
        description: Whether it is the class of Ingress objects that name none.
        type: bool
      default_secret:
        description: Namespace and name of the Secret with the default certificate, with a slash between, or nothing.
        type: str
      load_balancer_class:
        description: Class of the Service, or nothing.
        type: str
      ip_version:
        description: V(4) or V(6).
        type: int
      artifacts:
        description: With V(bundle) images are known by their tags only.
        type: str
      load_balancer_ranges:
        description: Ranges that the addresses come from.
        type: list
        elements: str
      node_ips:
        description: Addresses of all nodes.
        type: list
        elements: str
      kubernetes_minor:
        description: Minor version of Kubernetes.
        type: int
      default_certificate:
        description: Namespace and name of a Secret that is there already, with a slash between, or nothing.
        type: str
      certificate:
        description: The default certificate as PEM, or nothing.
        type: str
      certificate_key_given:
        description: Whether its key is given too; the key itself is not.
        type: bool
      gateway_api:
        description: Whether the CRDs of the Gateway API are wanted.
        type: bool
      gateway_api_checksum:
        description: The sha256 of their file.
        type: str
"""

    CONTROLLER = r"""
options:
  controller:
    description: V(nginx) is F5's NGINX Ingress Controller, V(ingress-nginx) the retired one of the community.
    type: str
    choices: [nginx, ingress-nginx]
    required: true
  config:
    description: Keys of the controller's ConfigMap that count last.
    type: dict
    default: {}
"""

    TUNING = r"""
options:
  _input:
    description: What filter P(baremetal.kubernetes.ingress_settings#filter) gave.
    type: dict
    required: true
"""
