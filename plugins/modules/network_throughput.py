#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: network_throughput
short_description: Throughput from one node to another with iperf3
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - O(action=serve) starts a server for one test. It ends with the test, or by itself after O(lifetime) seconds.
  - O(action=measure) sends for some seconds and judges what arrived and how much had to be sent again.
  - It loads the network as much as it can, so measure one pair at a time, and not in a cluster that works.
  - C(iperf3) must be installed on both nodes; without it the finding is V(unknown).
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
    details:
      - It measures in check mode too, as no more than traffic comes of it.
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
    choices: [serve, measure]
    required: true
  address:
    description: Address of this node in the cluster.
    type: str
    required: true
  peer:
    description: Name of the node with the server. Required when O(action=measure).
    type: str
  peer_address:
    description: Its address. Required when O(action=measure).
    type: str
  port:
    description: TCP port of the server.
    type: int
    default: 5201
  lifetime:
    description: Seconds after which the server ends, 1 to 3600.
    type: int
    default: 120
  seconds:
    description: How long to send, 1 to 300.
    type: int
    default: 5
  streams:
    description: Connections in parallel, 1 to 64.
    type: int
    default: 1
  minimum_mbit:
    description: Fewer megabits per second are a failure. V(0) takes whatever arrives.
    type: float
    default: 0
  retransmit_percent:
    description: If so many segments of a hundred have to be sent again, that is worth a warning.
    type: float
    default: 1.0
"""

EXAMPLES = r"""
- name: Wait for one test on w1
  baremetal.kubernetes.network_throughput:
    action: serve
    address: 192.0.2.21
  delegate_to: w1

- name: Measure from cp1 to w1
  baremetal.kubernetes.network_throughput:
    action: measure
    address: 192.0.2.11
    peer: w1
    peer_address: 192.0.2.21
    minimum_mbit: 900
  delegate_to: cp1
  register: throughput
"""

RETURN = r"""
pid:
  description: Process number of the server, or null.
  returned: O(action=serve)
  type: int
  sample: 4711
error:
  description: Why there is no server.
  returned: O(action=serve)
  type: str
  sample: ""
peer:
  description: O(peer).
  returned: O(action=measure)
  type: str
  sample: w1
command:
  description: What was run, for trying it by hand.
  returned: O(action=measure)
  type: str
  sample: iperf3 -J -c 192.0.2.21 -B 192.0.2.11 -p 5201 -t 5 -P 1
measured:
  description: As filter P(baremetal.kubernetes.parse_iperf3#filter) returns it.
  returned: O(action=measure)
  type: dict
  sample: {protocol: TCP, sent_bps: 941000000.0, received_bps: 939000000.0, retransmits: 12, errors: []}
checks:
  description: One finding, C(network_throughput).
  returned: O(action=measure)
  type: list
  elements: dict
  sample:
    - id: network_throughput
      status: pass
      observed: 939.0 Mbit/s arrive, 12 segments (0.015 %) sent again
      wanted: at least 900 Mbit/s arrives at w1, and less than 1 % sent again
      fix: ""
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _iperf3
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": ["serve", "measure"], "required": True},
            "address": {"type": "str", "required": True},
            "peer": {"type": "str"},
            "peer_address": {"type": "str"},
            "port": {"type": "int", "default": 5201},
            "lifetime": {"type": "int", "default": 120},
            "seconds": {"type": "int", "default": 5},
            "streams": {"type": "int", "default": 1},
            "minimum_mbit": {"type": "float", "default": 0},
            "retransmit_percent": {"type": "float", "default": 1.0},
        },
        required_if=[("action", "measure", ["peer", "peer_address"])],
        supports_check_mode=True,
    )
    try:
        result = _iperf3.act(module.params, run_command)
    except (OSError, _iperf3.Iperf3Error) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
