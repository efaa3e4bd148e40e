# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(cilium_workloads)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cilium
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: cilium_workloads
short_description: What has to run when Cilium is installed with these values
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Operator and agents, Envoy and Hubble as far as the values turn them on.
options:
  _input:
    description: Values of the chart, as filter P(baremetal.kubernetes.cilium_values#filter) makes them.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Wait for all of them
  baremetal.kubernetes.kube_rollout:
    workloads: "{{ cilium_helm_values | baremetal.kubernetes.cilium_workloads }}"
"""

RETURN = r"""
_value:
  description: Workloads as module M(baremetal.kubernetes.kube_rollout) takes them.
  type: list
  elements: dict
  sample:
    - {kind: Deployment, namespace: kube-system, name: cilium-operator}
    - {kind: DaemonSet, namespace: kube-system, name: cilium}
"""


def cilium_workloads(values: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, str]]:
    """Look them up; an error becomes one of Ansible's with the name of the filter in front."""
    try:
        return _cilium.cilium_workloads(plain(values))
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"cilium_workloads: these are no values of filter cilium_values ({error}).") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"cilium_workloads": cilium_workloads}
