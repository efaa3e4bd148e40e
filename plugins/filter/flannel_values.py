# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(flannel_values)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _flannel
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: flannel_values
short_description: Values of Flannel's Helm chart for a cluster
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Takes the settings of a cluster and gives the values for chart C(flannel) 0.28 of U(https://flannel-io.github.io/flannel/).
  - C(flannel.mtu) is the MTU of the network between the nodes as flanneld means it. flanneld takes off 50 bytes for VXLAN and 80 for
    WireGuard, so that O(_input.pod_mtu) is left. With host-gw it cannot be told, and the pods' MTU is in the CNI configuration instead.
  - Every node's address is an C(--iface) of its own. flanneld takes the first one that is on an interface of its node, and refuses to start
    where none is.
  - A checksum of the settings is part of the pods, because they would not notice a change of their ConfigMap otherwise.
options:
  _input:
    description: The settings.
    type: dict
    required: true
    suboptions:
      pod_cidr:
        description: Pod network of the cluster, IPv4 or IPv6.
        type: str
        required: true
      encapsulation:
        description: V(vxlan), V(vxlan_cross_subnet) (C(directRouting)) or V(none) (host-gw). If empty, V(vxlan).
        type: str
        required: true
      encryption:
        description: V(wireguard), which takes the place of the encapsulation, or nothing.
        type: str
        required: true
      proxy_mode:
        description: Mode of kube-proxy. With V(nftables) flanneld uses nftables too.
        type: str
        required: true
      node_ips:
        description: Address of each node, by any name.
        type: dict
        required: true
      interfaces:
        description: Interfaces (names or addresses) that take the place of O(_input.node_ips), in the order in which each node tries them.
        type: list
        elements: str
        required: true
      pod_mtu:
        description: What the interface of a pod shall get, in bytes.
        type: int
        required: true
      vni:
        description: VXLAN network identifier.
        type: int
        required: true
      port:
        description: UDP port of VXLAN or WireGuard. V(0) means the backend's own (8472; 51820 for IPv4 and 51821 for IPv6).
        type: int
        required: true
      keepalive:
        description: Seconds between two keepalive packets of WireGuard. V(0) means none.
        type: int
        required: true
      extra:
        description: Values that are merged last.
        type: dict
        required: true
"""

EXAMPLES = r"""
- name: VXLAN in a network of 1500 bytes
  ansible.builtin.debug:
    msg: "{{ settings | baremetal.kubernetes.flannel_values }}"
  vars:
    settings:
      pod_cidr: 10.244.0.0/16
      encapsulation: vxlan
      encryption: ""
      proxy_mode: ipvs
      node_ips: {cp1: 192.0.2.11, w1: 192.0.2.21}
      interfaces: []
      pod_mtu: 1450
      vni: 1
      port: 0
      keepalive: 0
      extra: {}
"""

RETURN = r"""
_value:
  description: Values for the chart.
  type: dict
  sample:
    podCidr: 10.244.0.0/16
    podCidrv6: ""
    flannel:
      args: [--ip-masq, --kube-subnet-mgr, --iface=192.0.2.11, --iface=192.0.2.21]
      enableNFTables: false
      backend: vxlan
      mtu: 1500
      vni: 1
      tolerations:
        - {effect: NoExecute, operator: Exists}
        - {effect: NoSchedule, operator: Exists}
        - {effect: NoSchedule, key: flannel.baremetal.kubernetes/settings, operator: Equal, value: sha256-3f1c0a5e8b7d4f21}
"""


def flannel_values(settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    with filter_errors("flannel_values"):
        # copied once more: YAML would write what is shared as anchors
        return plain(_flannel.flannel_values(plain(settings)))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"flannel_values": flannel_values}
