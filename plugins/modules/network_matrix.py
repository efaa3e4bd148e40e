#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: network_matrix
short_description: One node against all others - TCP and UDP ports, round trip, path MTU
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Finds out before there is a cluster whether the network between its nodes carries what the cluster needs.
  - O(action=listen) starts one process that answers on all given ports of the node. It leaves no file and ends by itself after O(lifetime)
    seconds or with O(action=stop). A second O(action=listen) takes the place of the first.
  - O(action=probe) asks all other nodes at once. Blocked ports are told apart by how they are blocked.
  - An answer counts only if it comes from the listener of the same run on the node that was asked. A port that another process holds is left to it;
    by TCP a connection is proof enough there, by UDP nothing can be told.
  - The path MTU is searched with UDP datagrams that must not be fragmented, up to the MTU of the interface with O(address). Each direction is its
    own, so ask from both sides.
  - What has been seen is judged by filter P(baremetal.kubernetes.matrix_checks#filter).
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
    details:
      - It listens and asks in check mode too, as no more than traffic comes of it.
  diff_mode:
    support: none
    details:
      - Nothing on the node is changed.
  idempotent:
    support: full
options:
  action:
    description: What to do.
    type: str
    choices: [listen, probe, stop]
    required: true
  token:
    description: Name of the run, the same on all nodes. 8 to 64 letters, digits, dots, dashes and underscores.
    type: str
    required: true
  name:
    description: Name of this node, as the others know it. Required unless O(action=stop).
    type: str
  address:
    description: Address of this node in the cluster. Required unless O(action=stop).
    type: str
  tcp_ports:
    description: Ports to listen on.
    type: list
    elements: int
    default: []
  udp_ports:
    description: Ports to listen on.
    type: list
    elements: int
    default: []
  measure_port:
    description:
      - One more UDP port to listen on, for round trip and path MTU where none of O(udp_ports) answers. V(0) for none.
      - Whether it is blocked does not matter to a cluster.
    type: int
    default: 33434
  ipip:
    description: Whether to answer IP-in-IP packets (protocol 4 of IP, which has no ports), too. With IPv4 only.
    type: bool
    default: false
  lifetime:
    description: Seconds after which the listener ends, 1 to 86400.
    type: int
    default: 600
  peers:
    description: The nodes to ask, as filter P(baremetal.kubernetes.cluster_ports#filter) returns them. The node itself is left out.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the node.
        type: str
        required: true
      address:
        description: Its address.
        type: str
        required: true
      tcp_ports:
        description: Ports to connect to.
        type: list
        elements: int
        default: []
      udp_ports:
        description: Ports to send to.
        type: list
        elements: int
        default: []
      measure_port:
        description: The node's O(measure_port), V(0) for none.
        type: int
        default: 0
      ipip:
        description: Whether to send IP-in-IP packets.
        type: bool
        default: false
      unserved:
        description: RV(unserved) of the node's listener.
        type: list
        elements: dict
        default: []
        suboptions:
          protocol:
            description: Protocol of the port.
            type: str
            choices: [tcp, udp, ipip]
            required: true
          port:
            description: The port.
            type: int
            required: true
          reason:
            description: Why the listener could not have it.
            type: str
            required: true
  timeout:
    description: Seconds to wait for one port. UDP is asked three times within them. What stays silent gets a second chance of the same length.
    type: float
    default: 3.0
  samples:
    description: Round trips to measure, 1 to 100.
    type: int
    default: 5
  deadline:
    description: Seconds for all of O(peers). What has not been reached by then is V(unknown).
    type: float
    default: 60.0
"""

EXAMPLES = r"""
- name: Answer on the ports of this node
  baremetal.kubernetes.network_matrix:
    action: listen
    token: "{{ run_token }}"
    name: "{{ inventory_hostname }}"
    address: "{{ cluster_node_ip }}"
    tcp_ports: "{{ ports.tcp_ports }}"
    udp_ports: "{{ ports.udp_ports }}"
  vars:
    ports: "{{ cluster_node_ips | baremetal.kubernetes.cluster_ports(groups.control_plane, cni='flannel', host=inventory_hostname) }}"
  register: listener

- name: Ask all others
  baremetal.kubernetes.network_matrix:
    action: probe
    token: "{{ run_token }}"
    name: "{{ inventory_hostname }}"
    address: "{{ cluster_node_ip }}"
    peers: >-
      {{ (cluster_node_ips | baremetal.kubernetes.cluster_ports(groups.control_plane, cni='flannel', host=inventory_hostname,
      listeners=ansible_play_hosts | map('extract', hostvars, 'listener'))).peers }}
  register: matrix

- name: End the listener
  baremetal.kubernetes.network_matrix:
    action: stop
    token: "{{ run_token }}"
"""

RETURN = r"""
name:
  description: O(name).
  returned: unless O(action=stop)
  type: str
  sample: w1
address:
  description: O(address).
  returned: unless O(action=stop)
  type: str
  sample: 192.0.2.21
listening:
  description: Whether the listener runs.
  returned: O(action=listen)
  type: bool
  sample: true
pid:
  description: Its process number, or null.
  returned: O(action=listen)
  type: int
  sample: 4711
error:
  description: Why it does not run.
  returned: O(action=listen)
  type: str
  sample: ""
unserved:
  description: Ports it could not have. C(reason) is V(busy) where another process holds the port.
  returned: O(action=listen)
  type: list
  elements: dict
  sample:
    - {protocol: tcp, port: 10250, reason: busy}
measure_port:
  description: O(measure_port), or V(0) if it could not be had.
  returned: O(action=listen)
  type: int
  sample: 33434
peers:
  description:
    - One result per node of O(peers) in their order.
    - C(tcp) has a C(status) of V(open), V(refused), V(timeout), V(unreachable) or V(unknown) for each port; C(udp) V(answered), V(silent),
      V(refused), V(unreachable) or V(unknown). C(error) says more unless all is well. C(seconds) is the time of the handshake.
    - C(ipip) is the same for IP-in-IP, or null where it was not asked for.
    - C(rtt_us) is the round trip in microseconds, of C(samples) answers to C(sent) questions, or null for the reason in C(rtt_reason).
    - C(path_mtu) is the size of the largest IP packet that arrived whole, or null; C(path_mtu_reason) says why it is null, or less than the
      interface could send.
  returned: O(action=probe)
  type: list
  elements: dict
  sample:
    - name: cp1
      address: 192.0.2.11
      tcp:
        - {port: 6443, status: open, seconds: 0.000412, error: ""}
      udp:
        - {port: 8472, status: silent, error: no answer to 3 questions within 3 s}
      ipip: null
      rtt_us: {min: 210, avg: 260, max: 340, samples: 5, sent: 5}
      rtt_reason: ""
      path_mtu: 1500
      path_mtu_reason: ""
interface:
  description: The interface with O(address) and its MTU; both are null for the reason in C(reason).
  returned: O(action=probe)
  type: dict
  sample: {name: eth1, mtu: 1500, reason: ""}
complete:
  description: Whether O(deadline) was enough.
  returned: O(action=probe)
  type: bool
  sample: true
seconds:
  description: How long it took.
  returned: O(action=probe)
  type: float
  sample: 0.412
stopped:
  description: Whether a listener of this run was there and has ended.
  returned: O(action=stop)
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _network_matrix
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command

_PORTS = {"type": "list", "elements": "int", "default": []}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": ["listen", "probe", "stop"], "required": True},
            # a name, not a secret
            "token": {"type": "str", "required": True, "no_log": False},
            "name": {"type": "str"},
            "address": {"type": "str"},
            "tcp_ports": _PORTS,
            "udp_ports": _PORTS,
            "measure_port": {"type": "int", "default": 33434},
            "ipip": {"type": "bool", "default": False},
            "lifetime": {"type": "int", "default": 600},
            "peers": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "tcp_ports": _PORTS,
                    "udp_ports": _PORTS,
                    "measure_port": {"type": "int", "default": 0},
                    "ipip": {"type": "bool", "default": False},
                    "unserved": {
                        "type": "list",
                        "elements": "dict",
                        "default": [],
                        "options": {
                            "protocol": {"type": "str", "choices": ["tcp", "udp", "ipip"], "required": True},
                            "port": {"type": "int", "required": True},
                            "reason": {"type": "str", "required": True},
                        },
                    },
                },
            },
            "timeout": {"type": "float", "default": 3.0},
            "samples": {"type": "int", "default": 5},
            "deadline": {"type": "float", "default": 60.0},
        },
        required_if=[("action", "listen", ["name", "address"]), ("action", "probe", ["name", "address"])],
        supports_check_mode=True,
    )
    try:
        result = _network_matrix.act(module.params, run_command)
    except (OSError, _network_matrix.NetworkMatrixError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
