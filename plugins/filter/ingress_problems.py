# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(ingress_problems)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _ingress_problems
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: ingress_problems
short_description: What is wrong with the settings of an ingress controller
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Checks the settings of role C(ingress) and returns one sentence for each thing that cannot work, or for each that should be known.
  - No host is contacted.
positional: severity
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
      load_balancer_ranges:
        description: Ranges that the addresses come from.
        type: list
        elements: str
        required: true
      node_ips:
        description: Addresses of all nodes.
        type: list
        elements: str
        required: true
      kubernetes_minor:
        description: Minor version of Kubernetes.
        type: int
        required: true
      default_certificate:
        description: Namespace and name of a Secret that is there already, with a slash between, or nothing.
        type: str
        required: true
      certificate:
        description: The default certificate as PEM, or nothing.
        type: str
        required: true
      certificate_key_given:
        description: Whether its key is given too; the key itself is not.
        type: bool
        required: true
      gateway_api:
        description: Whether the CRDs of the Gateway API are wanted.
        type: bool
        required: true
      gateway_api_checksum:
        description: The sha256 of their file.
        type: str
        required: true
      extra:
        description: Values of the chart.
        type: dict
        required: true
  severity:
    description: V(problem) for what forbids a run, V(notice) for what does not.
    type: str
    choices: [problem, notice]
    default: problem
"""

EXAMPLES = r"""
- name: Refuse settings that cannot work
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems }}"
  vars:
    problems: "{{ _ingress_settings | baremetal.kubernetes.ingress_problems }}"
"""

RETURN = r"""
_value:
  description: The sentences; empty if there is nothing to say.
  type: list
  elements: str
  sample:
    - >-
      ingress_config.worker-connections is a key of NGINX Ingress Controller and not of ingress-nginx, which ignores it without a word; take
      max-worker-connections, or better ingress_tuning.worker_connections.
"""


def ingress_problems(settings: t.Mapping[str, t.Any], severity: str = "problem") -> t.List[str]:
    """Collect the sentences of one severity."""
    try:
        return _ingress_problems.ingress_problems(plain(settings), severity)
    except KeyError as error:
        raise AnsibleFilterError(f"ingress_problems: the setting {error} is missing.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"ingress_problems: {error}.") from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"ingress_problems": ingress_problems}
