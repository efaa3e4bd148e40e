# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(cluster_ports)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _ports
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: cluster_ports
short_description: The ports that a cluster needs between its nodes
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Says for control plane, CNI, encapsulation and proxy mode which port is asked by whom, with the document that says so.
  - With O(host) it says what this node must answer, what it needs for itself, and which ports of each other node it must reach.
    That is what module M(baremetal.kubernetes.network_matrix) takes.
  - NodePorts and what belongs to users' own programs are not part of it.
positional: control_plane, cni, encapsulation, encryption
options:
  _input:
    description: Address of each node by its name.
    type: dict
    required: true
  control_plane:
    description: Names of the control planes.
    type: list
    elements: str
    required: true
  cni:
    description: The CNI.
    type: str
    choices: [bridge, calico, cilium, flannel]
    required: true
  encapsulation:
    description: As O(baremetal.kubernetes.cni_layers#filter:encapsulation).
    type: str
    default: ""
  encryption:
    description: As O(baremetal.kubernetes.cni_layers#filter:encryption).
    type: str
    default: ""
  proxy_mode:
    description: Mode of kube-proxy, V(none) where there is no kube-proxy.
    type: str
    choices: [iptables, ipvs, nftables, none]
    default: ipvs
  api_port:
    description: Port of the API servers.
    type: int
    default: 6443
  metallb:
    description: Whether MetalLB will be there.
    type: bool
    default: false
  bgp:
    description: Whether nodes speak BGP with each other. If unset, Calico does unless the encapsulation is VXLAN, and the others do not.
    type: bool
  host:
    description: Name of the node to look at.
    type: str
  listeners:
    description:
      - Results of module M(baremetal.kubernetes.network_matrix) with O(baremetal.kubernetes.network_matrix#module:action=listen), one per node.
      - Nodes without a running listener are left out of RV(_value.peers), as they could not answer.
    type: list
    elements: dict
"""

EXAMPLES = r"""
- name: The ports that a firewall between the nodes must let through
  ansible.builtin.debug:
    msg: "{{ cluster_node_ips | baremetal.kubernetes.cluster_ports(groups.control_plane, cni='flannel') }}"

- name: What this node listens on, and whom it asks
  ansible.builtin.debug:
    msg: "{{ cluster_node_ips | baremetal.kubernetes.cluster_ports(groups.control_plane, cni='calico', host=inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: The ports.
  type: dict
  contains:
    ports:
      description:
        - All of them. C(from) and C(to) are V(node) for every node, V(control_plane) for control planes; C(from) is V(self) where only the node itself asks.
        - C(protocol) is V(tcp), V(udp) or, without ports and with the number of the protocol in their place, V(ipip).
      type: list
      elements: dict
    tunnels:
      description: Tunnels between the nodes, of V(ipip), V(vxlan), V(geneve) and V(wireguard); empty for none.
      type: list
      elements: str
    local:
      description: Those of them that must be free on O(host), also the ones that only it asks itself.
      type: list
      elements: dict
    tcp_ports:
      description: Those that O(host) must answer to other nodes.
      type: list
      elements: int
    udp_ports:
      description: Those that O(host) must answer to other nodes.
      type: list
      elements: int
    ipip:
      description: Whether O(host) must take IP-in-IP packets.
      type: bool
    peers:
      description: The other nodes, for O(baremetal.kubernetes.network_matrix#module:peers).
      type: list
      elements: dict
  sample:
    ports:
      - {protocol: tcp, port: 6443, from: node, to: control_plane, purpose: API server, source: "https://kubernetes.io/..."}
    tunnels: [vxlan]
    local:
      - {protocol: tcp, port: 6443, from: node, to: control_plane, purpose: API server, source: "https://kubernetes.io/..."}
    tcp_ports: [6443]
    udp_ports: [8472]
    ipip: false
    peers:
      - {name: w1, address: 192.0.2.21, tcp_ports: [10250], udp_ports: [8472], ipip: false, measure_port: 33434, unserved: []}
"""


def cluster_ports(
    addresses: t.Any, control_plane: t.Any, cni: t.Any, encapsulation: t.Any = "", encryption: t.Any = "", **more: t.Any
) -> t.Dict[str, t.Any]:
    """Look them up; an error becomes one of Ansible's with the name of the filter in front."""
    if not isinstance(addresses, t.Mapping):
        raise AnsibleFilterError(f"cluster_ports: the input is of type {type(addresses).__name__}, but must be a dictionary of names and addresses.")
    try:
        return _ports.cluster_ports(plain(addresses), plain(list(control_plane)), plain(cni), plain(encapsulation), plain(encryption), **plain(more))
    except (ValueError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"cluster_ports: {error}.") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"cluster_ports": cluster_ports}
