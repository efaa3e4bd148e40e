# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(pod_network_placeholders)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _pod_network

DOCUMENTATION = r"""
name: pod_network_placeholders
short_description: Pod ranges that nodes would get if they joined in a given order
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Cuts the pod network into ranges in the order of the input. The cluster itself may give them out in another order.
  - For rendering files and for check mode, before there is a cluster; nothing that runs may depend on it.
positional: pod_cidr, prefix_length
options:
  _input:
    description: Names of nodes and their addresses, such as C(cluster_node_ips).
    type: dict
    required: true
  pod_cidr:
    description: Pod network of the whole cluster; two with a comma between them where the cluster has IPv4 and IPv6.
    type: str
    required: true
  prefix_length:
    description: Prefix length of the range of one node.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Show a likely distribution
  ansible.builtin.debug:
    msg: "{{ cluster_node_ips | baremetal.kubernetes.pod_network_placeholders('10.244.0.0/16', 24) }}"
"""

RETURN = r"""
_value:
  description: Nodes as filter P(baremetal.kubernetes.pod_network#filter) takes them.
  type: list
  elements: dict
  sample:
    - {name: cp1, addresses: [192.0.2.11], pod_cidrs: [10.244.0.0/24]}
    - {name: w1, addresses: [192.0.2.21], pod_cidrs: [10.244.1.0/24]}
"""


def pod_network_placeholders(node_ips: t.Mapping[str, str], pod_cidr: str, prefix_length: t.Any) -> t.List[t.Dict[str, t.Any]]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    try:
        return _pod_network.placeholders(node_ips, pod_cidr, int(prefix_length))
    except (ValueError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"pod_network_placeholders: {error}.") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"pod_network_placeholders": pod_network_placeholders}
