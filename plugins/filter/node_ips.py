# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(node_ips)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: node_ips
short_description: The address of each node in the network of the cluster
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Reads C(cluster_node_ip) of each host, else C(ansible_host), else takes the inventory name.
  - Nothing is resolved or checked; filter C(cluster_problems) says which values are no addresses.
positional: hostvars
options:
  _input:
    description: Inventory names.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variable C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the addresses of all nodes
  ansible.builtin.debug:
    msg: "{{ groups['kubernetes'] | baremetal.kubernetes.node_ips(hostvars) }}"
"""

RETURN = r"""
_value:
  description: Inventory name to address.
  type: dict
  sample:
    cp1: 192.0.2.11
"""


def node_ips(hosts: t.Iterable[str], hostvars: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.Dict[str, str]:
    """Look each address up in the order of the contract."""
    if isinstance(hosts, str):
        raise AnsibleFilterError(f"node_ips: the input is {hosts!r}, but must be a list of inventory names.")
    result: t.Dict[str, str] = {}
    for host in hosts:
        variables = hostvars[host]
        for name in ("cluster_node_ip", "ansible_host"):
            if name in variables:
                result[host] = str(variables[name])
                break
        else:
            result[host] = host
    return result


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"node_ips": node_ips}
