# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(cilium_resources)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cilium
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: cilium_resources
short_description: Cilium's custom resources for BGP and load balancers
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - One C(CiliumBGPClusterConfig) per set of nodes, one C(CiliumBGPPeerConfig) per peer, one C(CiliumBGPAdvertisement); one
    C(CiliumLoadBalancerIPPool) and with V(l2) one C(CiliumL2AnnouncementPolicy). Nothing where nothing is wanted.
  - Services with the label C(baremetal.kubernetes/not-announced) are announced neither by BGP nor on layer 2.
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
      proxy_mode:
        description: Mode of kube-proxy. V(l2) needs V(none).
        type: str
        required: true
      bgp_as_number:
        description: AS number of this cluster.
        type: int
        required: true
      bgp_peers:
        description: The routers.
        type: list
        elements: dict
        required: true
        suboptions:
          address:
            description: Its IP address.
            type: str
            required: true
          as_number:
            description: Its AS number.
            type: int
            required: true
          name:
            description: Name of the peer. Without it, C(peer-) and the address.
            type: str
          nodes:
            description: Labels of the nodes that have this peer. Without them, all nodes; then no other peer may have any.
            type: dict
          port:
            description: Its TCP port, 179 if not given.
            type: int
          multihop:
            description: Most hops to an external peer, if it is not in the same network.
            type: int
          connect_retry_seconds:
            description: Seconds between two tries to connect.
            type: int
          hold_seconds:
            description: Seconds without a word from the peer after which the session ends.
            type: int
          keepalive_seconds:
            description: Seconds between two keepalives.
            type: int
          password_secret:
            description: Name of a Secret in namespace kube-system whose key C(password) is the password of the session.
            type: str
      bgp_passwords:
        description: Name of a peer to its password, which gets into Secret C(bgp-NAME).
        type: dict
        required: true
      bgp_advertise:
        description: What the peers learn, of V(pod_cidr), V(cluster_ip) and V(external_ip).
        type: list
        elements: str
        required: true
      load_balancer:
        description: Who tells the network of the addresses of load balancers. One of V(none), V(l2), V(bgp).
        type: str
        required: true
      load_balancer_ranges:
        description: Addresses for load balancers, each a CIDR, an address, or C(first-last).
        type: list
        elements: str
        required: true
      l2_interfaces:
        description: Regular expressions for the interfaces on which ARP is answered. Without any, all.
        type: list
        elements: str
        required: true
"""

EXAMPLES = r"""
- name: Announce pods and load balancers to a router
  ansible.builtin.debug:
    msg: "{{ (settings | baremetal.kubernetes.cilium_resources).objects }}"
  vars:
    settings:
      pod_cidr: 10.244.0.0/16
      proxy_mode: none
      bgp_as_number: 64512
      bgp_peers:
        - {address: 192.0.2.1, as_number: 64500}
      bgp_passwords: {}
      bgp_advertise: [pod_cidr]
      load_balancer: bgp
      load_balancer_ranges: [203.0.113.0/26]
      l2_interfaces: []
"""

RETURN = r"""
_value:
  description: Options of module M(baremetal.kubernetes.kube_apply), and RV(_value.peers).
  type: dict
  contains:
    objects:
      description: The custom resources.
      type: list
      elements: dict
    secrets:
      description: The passwords.
      type: list
      elements: dict
    wait_conditions:
      description: Conditions that Cilium's operator sets when it took them.
      type: list
      elements: dict
    prune_label:
      description: By which they are known.
      type: str
    prune_kinds:
      description: Everything that may be left of another configuration.
      type: list
      elements: str
    peers:
      description: The peers as module M(baremetal.kubernetes.cilium_bgp_peers) takes them.
      type: list
      elements: dict
  sample:
    objects:
      - apiVersion: cilium.io/v2
        kind: CiliumLoadBalancerIPPool
        metadata:
          name: baremetal-kubernetes
          labels: {app.kubernetes.io/managed-by: baremetal.kubernetes, app.kubernetes.io/component: cni-cilium}
        spec:
          blocks:
            - {cidr: 203.0.113.0/26}
    secrets: []
    wait_conditions: []
    prune_label: app.kubernetes.io/managed-by=baremetal.kubernetes,app.kubernetes.io/component=cni-cilium
    prune_kinds: [cilium.io/v2/CiliumLoadBalancerIPPool]
    peers: []
"""


def cilium_resources(settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    with filter_errors("cilium_resources"):
        # copied once more: YAML would write what is shared as anchors
        return plain(_cilium.cilium_resources(plain(settings)))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"cilium_resources": cilium_resources}
