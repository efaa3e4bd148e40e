# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(ingress_values)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _ingress_chart
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: ingress_values
short_description: Values of the Helm chart of an ingress controller
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Takes the settings of role C(ingress) and gives the values of chart C(nginx-ingress) 2.6 (F5) or C(ingress-nginx) 4.15.
options:
  _input:
    description: The settings.
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
      class_default:
        description: Whether it is the class of Ingress objects that name none.
        type: bool
        required: true
      default_secret:
        description: Namespace and name of the Secret with the default certificate, with a slash between, or nothing.
        type: str
        required: true
      load_balancer_class:
        description: Class of the Service, or nothing.
        type: str
        required: true
      ip_version:
        description: V(4) or V(6).
        type: int
        required: true
      artifacts:
        description: With V(bundle) images are known by their tags only.
        type: str
        required: true
      extra:
        description: Values that are merged last.
        type: dict
        required: true
"""

EXAMPLES = r"""
- name: Values of the chart
  ansible.builtin.debug:
    msg: "{{ _ingress_settings | baremetal.kubernetes.ingress_values }}"
"""

RETURN = r"""
_value:
  description: Values for the chart.
  type: dict
  sample:
    controller:
      kind: deployment
      replicaCount: 2
"""


def ingress_values(settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    try:
        return plain(_ingress_chart.ingress_values(plain(settings)))
    except KeyError as error:
        raise AnsibleFilterError(f"ingress_values: the setting {error} is missing.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"ingress_values: {error}.") from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"ingress_values": ingress_values}
