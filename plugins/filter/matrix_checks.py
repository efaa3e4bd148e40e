# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(matrix_checks)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _matrix
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: matrix_checks
short_description: Judge what all nodes saw of each other
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Takes the results of module M(baremetal.kubernetes.network_matrix) of all nodes and says what is wrong, what is not known, and which MTU pods may have.
  - A pair that was not measured is V(unknown), also when a node is missing in the input altogether.
positional: hosts, cni, encapsulation
options:
  _input:
    description:
      - Result of O(baremetal.kubernetes.network_matrix#module:action=probe) by name of the node.
      - A value that is no such result counts as not measured.
    type: dict
    required: true
  hosts:
    description: Names of all nodes that the cluster shall have.
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
  network_mtu:
    description: The MTU that is configured for the network between the nodes. V(0) takes the smallest one of the interfaces of all nodes, as the roles do.
    type: int
    default: 0
  control_plane:
    description: Names of the control planes, between which etcd needs short round trips.
    type: list
    elements: str
    default: []
  ports:
    description: RV(baremetal.kubernetes.cluster_ports#filter:_value.ports), for what messages call the ports.
    type: list
    elements: dict
    default: []
  rtt_warn_ms:
    description: An average round trip of so many milliseconds is worth a warning.
    type: float
    default: 50.0
  rtt_fail_ms:
    description:
      - An average round trip of so many milliseconds between control planes is a failure.
      - etcd's election timeout is 1000 ms and must be ten round trips.
    type: float
    default: 100.0
"""

EXAMPLES = r"""
- name: Show what is wrong
  ansible.builtin.debug:
    msg: "{{ judged.hosts.values() | flatten | rejectattr('status', 'equalto', 'pass') }}"
  vars:
    names: "{{ cluster_node_ips.keys() | list }}"
    results: "{{ dict(names | zip(names | map('extract', hostvars) | map(attribute='matrix', default={}))) }}"
    judged: "{{ results | baremetal.kubernetes.matrix_checks(names, cni='flannel', control_plane=groups.control_plane) }}"
"""

RETURN = r"""
_value:
  description: The judgement.
  type: dict
  contains:
    hosts:
      description: Findings of each node, worst first. C(network_tcp), C(network_udp), C(path_mtu), C(rtt), and C(network_ipip) where IP-in-IP is used.
      type: dict
    cluster:
      description: Findings of the whole, C(pod_mtu).
      type: list
      elements: dict
    matrix:
      description:
        - C(hosts) are the names, C(pairs) has C([from, to, data]) for each pair and direction.
        - The data are C(status), C(tcp) and C(udp) by port, C(ipip), C(rtt_us) and C(path_mtu).
      type: dict
    pod_mtu:
      description: The largest MTU of pods that every way carries, null as long as one is not known.
      type: int
    mtu_setting:
      description: The setting that makes it fit (C(name)) and the C(value) it needs.
      type: dict
  sample:
    hosts:
      w1:
        - id: network_udp
          status: fail
          observed: "8472/udp (VXLAN of flannel): no answer from cp1"
          wanted: an answer from every UDP port that this node needs of the others
          fix: "From w1 to 8472/udp of cp1 something drops the packets without a word: look at ..."
    cluster:
      - {id: pod_mtu, status: pass, observed: ..., wanted: ..., fix: ""}
    matrix:
      hosts: [cp1, w1]
      pairs:
        - [w1, cp1, {status: fail, tcp: {"6443": open}, udp: {"8472": silent}, ipip: null, rtt_us: null, path_mtu: null}]
    pod_mtu: null
    mtu_setting: {name: cluster_network_mtu, value: null}
"""


def matrix_checks(results: t.Any, hosts: t.Any, cni: t.Any, encapsulation: t.Any = "", **more: t.Any) -> t.Dict[str, t.Any]:
    """Judge; an error becomes one of Ansible's with the name of the filter in front."""
    if not isinstance(results, t.Mapping):
        raise AnsibleFilterError(f"matrix_checks: the input is of type {type(results).__name__}, but must be a dictionary of results by name.")
    try:
        settings = _matrix.Settings(plain(list(hosts)), plain(cni), plain(encapsulation), **plain(more))
        return _matrix.matrix_checks(plain(results), settings)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"matrix_checks: {error}.") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"matrix_checks": matrix_checks}
