# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(cilium_values)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cilium
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: cilium_values
short_description: Values of Cilium's Helm chart for a cluster
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Takes the settings of a cluster and gives the values for chart C(cilium) 1.20 of U(https://helm.cilium.io).
  - Pods get addresses of the range that the cluster gave to their node (C(ipam.mode=kubernetes)).
  - With WireGuard, strict mode drops what pods of different nodes would send each other in plaintext.
  - A change of the configuration restarts the agents, because they would not notice it otherwise.
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
        description: V(vxlan), V(geneve) or V(none) (native routing). If empty, V(vxlan).
        type: str
        required: true
      encryption:
        description: V(wireguard), or nothing.
        type: str
        required: true
      node_encryption:
        description: Whether WireGuard also carries what nodes send each other and to pods.
        type: bool
        required: true
      proxy_mode:
        description: Mode of kube-proxy. With V(none) Cilium takes its place.
        type: str
        required: true
      api_endpoint:
        description: C(host:port) of the API server, for V(none).
        type: str
        required: true
      network_mtu:
        description: What the network between the nodes carries, in bytes.
        type: int
        required: true
      nodes:
        description: Number of nodes. The operator runs twice where there are two.
        type: int
        required: true
      direct_node_routes:
        description:
          - With native routing, whether each node gets a route to the pods of every other node. All must share one layer 2 network then.
        type: bool
        required: true
      devices:
        description: Interfaces (C(+) at the end for any suffix) that Cilium works on. Without any, it looks for them.
        type: list
        elements: str
        required: true
      bgp_peers:
        description: With at least one, BGP is turned on. See filter P(baremetal.kubernetes.cilium_resources#filter).
        type: list
        elements: dict
        required: true
      load_balancer:
        description: Who tells the network of the addresses of load balancers. One of V(none), V(l2), V(bgp).
        type: str
        required: true
      hubble:
        description: Whether the agents record flows.
        type: bool
        required: true
      hubble_relay:
        description: Whether the flows of all nodes can be asked for in one place.
        type: bool
        required: true
      hubble_ui:
        description: Whether there is a web page of them.
        type: bool
        required: true
      artifacts:
        description: With V(bundle) images are named without their digests, because images from files do not have them.
        type: str
        required: true
      extra:
        description: Values that are merged last.
        type: dict
        required: true
"""

EXAMPLES = r"""
- name: Show them
  ansible.builtin.debug:
    msg: "{{ settings | baremetal.kubernetes.cilium_values }}"
  vars:
    settings:
      pod_cidr: 10.244.0.0/16
      encapsulation: ""
      encryption: ""
      node_encryption: false
      proxy_mode: none
      api_endpoint: 192.0.2.11:6443
      network_mtu: 1500
      nodes: 3
      direct_node_routes: true
      devices: []
      bgp_peers: []
      load_balancer: none
      hubble: false
      hubble_relay: false
      hubble_ui: false
      artifacts: repository
      extra: {}
"""

RETURN = r"""
_value:
  description: Values for the chart.
  type: dict
  sample:
    ipam: {mode: kubernetes}
    k8s: {requireIPv4PodCIDR: true}
    ipv4: {enabled: true}
    ipv6: {enabled: false}
    MTU: 1500
    routingMode: tunnel
    tunnelProtocol: vxlan
    kubeProxyReplacement: true
    k8sServiceHost: 192.0.2.11
    k8sServicePort: 6443
"""


def cilium_values(settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    with filter_errors("cilium_values"):
        # copied once more: YAML would write what is shared as anchors
        return plain(_cilium.cilium_values(plain(settings)))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"cilium_values": cilium_values}
