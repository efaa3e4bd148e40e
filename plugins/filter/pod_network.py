# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(pod_network)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _pod_network

DOCUMENTATION = r"""
name: pod_network
short_description: Routes and rules that one node needs for a pod network without overlay
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Takes the nodes of a cluster with their pod ranges and says what one of them needs.
  - One route per pod range of each other node, through that node's own address.
  - One chain of iptables rules per pod range of the node itself. Packets of its pods are masqueraded when they leave the cluster; traffic to other
    pods and to nodes keeps its source address.
positional: address, pod_cidr
options:
  _input:
    description: Nodes as module M(baremetal.kubernetes.kube_nodes) returns them; C(name), C(addresses) and C(pod_cidrs) are read.
    type: list
    elements: dict
    required: true
  address:
    description: Address of the node in question.
    type: str
    required: true
  pod_cidr:
    description: Pod network of the whole cluster; two with a comma between them where the cluster has IPv4 and IPv6.
    type: str
    required: true
  routes:
    description: Whether routes to the other nodes are wanted.
    type: bool
    default: true
  masquerade:
    description: Whether what leaves the cluster is masqueraded. Without it the chains are empty.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Show the routes that this node needs
  ansible.builtin.debug:
    msg: "{{ (nodes | baremetal.kubernetes.pod_network('192.0.2.11', '10.244.0.0/16')).routes }}"
"""

RETURN = r"""
_value:
  description: What the node needs.
  type: dict
  contains:
    node:
      description: Name of the node.
      type: str
    pod_cidrs:
      description: Its pod ranges.
      type: list
      elements: str
    default_routes:
      description: For each of them, the network that stands for everything.
      type: list
      elements: str
    routes:
      description: Destination, gateway and the name of the node behind it.
      type: list
      elements: dict
    chains:
      description: For each pod range, IP version, name of the chain and rules as C(iptables -S) prints them.
      type: list
      elements: dict
  sample:
    node: cp1
    pod_cidrs: [10.244.0.0/24]
    default_routes: [0.0.0.0/0]
    routes:
      - {destination: 10.244.1.0/24, gateway: 192.0.2.21, node: w1}
    chains:
      - ip_version: 4
        chain: KUBERNETES-POD-EGRESS
        rules:
          - -A KUBERNETES-POD-EGRESS ! -s 10.244.0.0/24 -j RETURN
          - -A KUBERNETES-POD-EGRESS -d 10.244.0.0/16 -j RETURN
          - -A KUBERNETES-POD-EGRESS -d 192.0.2.11/32 -j RETURN
          - -A KUBERNETES-POD-EGRESS -d 192.0.2.21/32 -j RETURN
          - -A KUBERNETES-POD-EGRESS -d 224.0.0.0/4 -j RETURN
          - -A KUBERNETES-POD-EGRESS -j MASQUERADE --random-fully
"""


def pod_network(
    nodes: t.Sequence[t.Mapping[str, t.Any]], address: str, pod_cidr: str, routes: bool = True, masquerade: bool = True
) -> t.Dict[str, t.Any]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    try:
        return _pod_network.pod_network(nodes, address, pod_cidr, routes, masquerade)
    except (ValueError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"pod_network: {error}.") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"pod_network": pod_network}
