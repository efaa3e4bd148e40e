# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(metallb_problems)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _metallb_check
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
options:
  _input:
    description: The settings.
    type: dict
    required: true
    suboptions:
      mode:
        description: How BGP is spoken, V(frr-k8s) or V(native).
        type: str
        required: true
      pools:
        description: The pools, with the keys of C(metallb_pools) of role C(metallb).
        type: list
        elements: dict
        required: true
      peers:
        description: The BGP routers, with the keys of C(metallb_peers).
        type: list
        elements: dict
        required: true
      peer_passwords:
        description: Name of a peer to the password of its session.
        type: dict
        required: true
      bfd_profiles:
        description: BFD profiles, with the keys of C(metallb_bfd_profiles).
        type: list
        elements: dict
        required: true
      communities:
        description: Name of a BGP community to its value.
        type: dict
        required: true
      as_number:
        description: AS number of this cluster.
        type: int
        required: true
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
  severity:
    description: V(problem) for what forbids a run, V(notice) for what does not.
    type: str
    choices: [problem, notice]
    default: problem
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
    try:
        problems, notices = _metallb_check.check(plain(settings))
    except KeyError as error:
        raise AnsibleFilterError(f"metallb_problems: the setting {error} is missing.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"metallb_problems: {error}.") from error
    return problems if severity == "problem" else notices


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"metallb_problems": metallb_problems}
