# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(metallb_problems)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _metallb_check
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: metallb_problems
short_description: What is wrong with MetalLB's settings
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Checks the settings of role C(metallb) by themselves and against the cluster, that is addresses of pods, Services, nodes and
    DHCP servers, strict ARP, and another announcer (Calico, Cilium).
  - No host is contacted.
extends_documentation_fragment:
  - baremetal.kubernetes.problems
options:
  _input:
    description: The settings, with those of filter P(baremetal.kubernetes.metallb_resources#filter).
    type: dict
    required: true
    suboptions:
      kubernetes_minor:
        description: Minor version of Kubernetes.
        type: int
        required: true
      pod_cidr:
        description: Pod network.
        type: str
        required: true
      service_cidr:
        description: Network of Services.
        type: str
        required: true
      node_ips:
        description: Inventory name to node IP.
        type: dict
        required: true
      node_cidrs:
        description: Networks of the machines, where they are known.
        type: list
        elements: str
        required: true
      api_endpoint:
        description: C(host:port) in front of the API servers, or empty.
        type: str
        required: true
      load_balancer_ranges:
        description: C(cluster_load_balancer_ranges).
        type: list
        elements: str
        required: true
      dhcp_ranges:
        description: What DHCP servers of the network give to machines.
        type: list
        elements: str
        required: true
      proxy_mode:
        description: Mode of kube-proxy.
        type: str
        required: true
      strict_arp:
        description: C(cluster_ipvs_strict_arp).
        type: bool
        required: true
      kube_proxy_config:
        description: C(cluster_kube_proxy_config).
        type: dict
        required: true
      cni:
        description: The pod network.
        type: str
        required: true
      calico_load_balancer_ips:
        description: C(cni_calico_advertise_load_balancer_ips).
        type: list
        elements: str
        required: true
      calico_peers:
        description: C(cni_calico_bgp_peers).
        type: list
        elements: dict
        required: true
      cilium_load_balancer:
        description: C(cni_cilium_load_balancer).
        type: str
        required: true
      cilium_peers:
        description: C(cni_cilium_bgp_peers).
        type: list
        elements: dict
        required: true
      route_observers:
        description: C(metallb_route_observers).
        type: list
        elements: str
        required: true
      known_hosts:
        description: All hosts of the inventory.
        type: list
        elements: str
        required: true
      address_pools_text:
        description: What C(metallb_address_pools) was converted to, or empty.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Refuse settings that cannot work
  ansible.builtin.assert:
    that: settings | baremetal.kubernetes.metallb_problems | length == 0
"""

RETURN = r"""
_value:
  description: The sentences; empty if there is nothing to say.
  type: list
  elements: str
  sample:
    - "metallb_pools: pool default has 192.0.2.11, which is also of the node IP of cp1 (192.0.2.11); take it out of the pool."
"""


def metallb_problems(settings: t.Mapping[str, t.Any], severity: str = "problem") -> t.List[str]:
    """Collect the sentences of one severity."""
    if severity not in ("problem", "notice"):
        raise AnsibleFilterError(f"metallb_problems: severity is {severity!r}, but must be problem or notice.")
    with filter_errors("metallb_problems"):
        problems, notices = _metallb_check.check(plain(settings))
    return problems if severity == "problem" else notices


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"metallb_problems": metallb_problems}
