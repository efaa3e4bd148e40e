# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(calico_values)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _calico
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: calico_values
short_description: Values of Calico's chart tigera-operator
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Turns one description of the pod network into the values of the chart, of Calico 3.29 and later. The operator's Installation is part of them.
  - What is not in the chart comes from filter P(baremetal.kubernetes.calico_resources#filter), from the same description.
  - BGP is enabled unless the encapsulation is VXLAN and nothing else needs BGP.
options:
  _input:
    description: The description. Role C(cni_calico) makes it from its variables.
    type: dict
    required: true
    suboptions:
      version:
        description: Release of Calico, such as V(3.32.4).
        type: str
        required: true
      kubernetes_minor:
        description: Minor of the Kubernetes version; asked for with O(_input.api_group=projectcalico.org/v3) only.
        type: int
      api_group:
        description: Where Calico stores its objects.
        type: str
        choices: [crd.projectcalico.org/v1, projectcalico.org/v3]
        default: crd.projectcalico.org/v1
      registry:
        description: Registry to take the images from, in place of those of the release.
        type: str
      nodes:
        description: How many nodes there are.
        type: int
        default: 1
      pod_cidr:
        description: Network of all pods; two with a comma between them for IPv4 and IPv6.
        type: str
        required: true
      service_cidr:
        description: Network of all Services; asked for with O(_input.advertise_cluster_ips) only.
        type: str
      pod_mtu:
        description: MTU of the pods' interfaces, in bytes.
        type: int
        required: true
      block_size:
        description: Prefix length of the blocks that a node takes from an IPv4 pod network.
        type: int
        default: 26
      nat_outgoing:
        description: Whether pods reach addresses outside of the pod network under the address of their node.
        type: bool
        default: true
      encapsulation:
        description: As O(baremetal.kubernetes.cni_layers#filter:encapsulation).
        type: str
        default: none
      encryption:
        description: V(wireguard) or nothing.
        type: str
      proxy_mode:
        description: Mode of kube-proxy, V(none) where eBPF takes its place; decides the dataplane.
        type: str
        choices: [ipvs, iptables, nftables, none]
        default: ipvs
      api_endpoint:
        description: Host and port of the API server; asked for with O(_input.proxy_mode=none) only.
        type: str
      as_number:
        description: AS number of the nodes.
        type: int
        default: 64512
      bgp_port:
        description: TCP port on which nodes listen for BGP.
        type: int
        default: 179
      mesh:
        description: Whether each node has a session with each other one. Route reflectors take its place.
        type: bool
        default: true
      node_password:
        description: Password of the BGP sessions between nodes. It is never in the values, nor in objects other than Secrets.
        type: str
      route_reflectors:
        description: The nodes that reflect routes, by their names in O(_input.node_ips); without that, by their addresses.
        type: list
        elements: str
      node_ips:
        description: Inventory name to address of each node.
        type: dict
      route_reflector_cluster_id:
        description: Their cluster ID, written as an IPv4 address.
        type: str
        default: 244.0.0.1
      peers:
        description: Routers outside. C(name), C(address) and C(as_number) are needed.
        type: list
        elements: dict
      advertise_cluster_ips:
        description: Whether the Service network is told to the peers.
        type: bool
        default: false
      advertise_external_ips:
        description: Addresses, networks or ranges whose external IPs of Services are told to the peers.
        type: list
        elements: str
      advertise_load_balancer_ips:
        description: The same for IPs of load balancers.
        type: list
        elements: str
      bgp_configuration:
        description: Fields of BGPConfiguration, merged last; not those that are said above.
        type: dict
      felix_configuration:
        description: Fields of FelixConfiguration, merged last; not those that are said above.
        type: dict
      values:
        description: Values of the chart, merged last.
        type: dict
"""

EXAMPLES = r"""
- name: The Installation of a pod network with pure BGP
  ansible.builtin.debug:
    msg: "{{ ({'version': '3.32.4', 'pod_cidr': '10.244.0.0/16', 'pod_mtu': 1500} | baremetal.kubernetes.calico_values).installation }}"
"""

RETURN = r"""
_value:
  description: Values of chart tigera-operator.
  type: dict
  sample:
    installation:
      enabled: true
      calicoNetwork:
        bgp: Enabled
        linuxDataplane: Iptables
        mtu: 1500
        ipPools:
          - {cidr: 10.244.0.0/16, encapsulation: None, natOutgoing: Enabled, nodeSelector: all(), blockSize: 26}
        nodeAddressAutodetectionV4: {kubernetes: NodeInternalIP}
"""


def calico_values(settings: t.Any) -> t.Dict[str, t.Any]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    try:
        return _calico.values(plain(settings))
    except (ValueError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"calico_values: {error}.") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"calico_values": calico_values}
