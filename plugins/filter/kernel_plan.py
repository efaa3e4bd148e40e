# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(kernel_plan)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._sysctl import SysctlError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _kernel_plan
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: kernel_plan
short_description: Kernel modules and settings a node of a cluster needs, with the reasons
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Turns the shape of a cluster and of one machine into the list of modules for M(baremetal.kubernetes.kernel_modules) and the list of settings
    for M(baremetal.kubernetes.sysctl_dropin).
  - Role C(kernel) uses it on the node and offline, so that both give the same files.
options:
  _input:
    description: The cluster and the machine.
    type: dict
    required: true
    suboptions:
      cni:
        description: Pod network.
        type: str
        choices: [bridge, flannel, calico, cilium]
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
        description: Mode of kube-proxy.
        type: str
        choices: [ipvs, nftables, iptables, none]
        required: true
      ipvs_scheduler:
        description: Scheduler of kube-proxy in IPVS mode; its module is loaded too.
        type: str
        default: rr
      conntrack_owner:
        description: Who sizes the table of connections. With V(kube_proxy) no size is returned.
        type: str
        choices: [sysctl, kube_proxy]
        required: true
      conntrack_max:
        description: Size of the table of connections; 0 computes it from O(_input.cpus) and O(_input.memory_mb).
        type: int
        default: 0
      cpus:
        description: CPUs of the machine.
        type: int
        default: 1
      memory_mb:
        description: Memory of the machine in MiB, rounded up to 256 MiB.
        type: int
        default: 4096
      kernel:
        description: Release of the kernel; empty means a current one.
        type: str
        default: ""
      nodes:
        description: Nodes of the cluster.
        type: int
        default: 1
      max_pods:
        description: Most pods on one node.
        type: int
        default: 110
      pod_cidr:
        description: Pod network; an IPv6 one turns on forwarding of IPv6.
        type: str
        default: ""
      pod_prefix_length:
        description: Prefix length of one node's part of the pod network.
        type: int
        default: 24
      api_port:
        description: Port of the API server.
        type: int
        default: 6443
      node_port_range:
        description: Ports for NodePort services.
        type: str
        default: 30000-32767
      load_balancer:
        description: Whether MetalLB runs on the nodes.
        type: bool
        default: false
      reserved_ports:
        description: Further ports that outgoing connections must not take.
        type: list
        elements: str
        default: []
      rp_filter:
        description: V(auto) chooses by pod network; else V(0), V(1) or V(2).
        type: str
        default: auto
      tcp_tw_reuse:
        description: V(auto) chooses by kernel; else V(0), V(1) or V(2).
        type: str
        default: auto
      modules_extra:
        description: Further modules, or other options for one of the list.
        type: list
        elements: dict
        default: []
      sysctls_extra:
        description: Further settings, or other values for keys of the list.
        type: list
        elements: dict
        default: []
"""

EXAMPLES = r"""
- name: Show the settings of a large node
  ansible.builtin.debug:
    msg: >-
      {{ ({'cni': 'calico', 'proxy_mode': 'ipvs', 'conntrack_owner': 'sysctl', 'cpus': 32, 'memory_mb': 131072, 'nodes': 40}
          | baremetal.kubernetes.kernel_plan).sysctls }}
"""

RETURN = r"""
_value:
  description: C(modules) and C(sysctls), as the two modules take them.
  type: dict
  contains:
    modules:
      description: Entries with C(name), C(comment) and C(optional).
      type: list
      elements: dict
    sysctls:
      description: Entries with C(key), C(value), C(comment), C(min_only) and C(optional).
      type: list
      elements: dict
"""


def kernel_plan(contract: t.Any) -> t.Dict[str, t.Any]:
    """Compute both lists."""
    contract = plain(contract)
    try:
        return {"modules": _kernel_plan.modules(contract), "sysctls": _kernel_plan.sysctls(contract)}
    except (_kernel_plan.KernelPlanError, SysctlError) as error:
        raise AnsibleFilterError(f"kernel_plan: {error}") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"kernel_plan": kernel_plan}
