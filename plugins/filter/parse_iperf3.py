# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(parse_iperf3)."""

from __future__ import annotations

import json
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _iperf3
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: parse_iperf3
short_description: Throughput, retransmits and loss of a report of iperf3
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Reads what C(iperf3 -J) or C(iperf3 --json-stream) writes, with any text before it.
  - What the report does not say is null. A report of a failure, one that is cut, and one that is none are named in C(errors).
  - Judge by C(received_bps). A short test may have sent much into its own buffers of which nothing arrived.
options:
  _input:
    description: The text.
    type: str
    required: true
seealso:
  - module: baremetal.kubernetes.network_throughput
"""

EXAMPLES = r"""
- name: Show what arrived
  ansible.builtin.debug:
    msg: "{{ (lookup('ansible.builtin.file', 'iperf3.json') | baremetal.kubernetes.parse_iperf3).received_bps }}"
"""

RETURN = r"""
_value:
  description: What the report says.
  type: dict
  contains:
    protocol:
      description: V(TCP), V(UDP) or V(SCTP).
      type: str
    sent_bps:
      description: Bits per second that were sent.
      type: float
    received_bps:
      description: Bits per second that arrived. Versions that only report one sum for UDP get it less C(lost_percent).
      type: float
    retransmits:
      description: Segments that were sent again.
      type: int
    retransmit_percent:
      description: Their part of all segments, computed from the bytes sent and the size of a segment.
      type: float
    lost_percent:
      description: UDP datagrams that were lost.
      type: float
    jitter_ms:
      description: How unevenly UDP datagrams arrived, in milliseconds.
      type: float
    rtt_us:
      description: Round trip of the TCP connections under load in microseconds, C(min), C(avg), C(max).
      type: dict
    pmtu:
      description: Path MTU as the kernel knew it, the smallest of all intervals.
      type: int
    seconds:
      description: Length of the test.
      type: float
    streams:
      description: Number of streams in parallel.
      type: int
    reverse:
      description: Whether the server sent.
      type: bool
    iperf3_version:
      description: Version of iperf3.
      type: str
    errors:
      description: Why something is missing; empty when all is well.
      type: list
      elements: str
  sample:
    protocol: TCP
    sent_bps: 941000000.0
    received_bps: 939000000.0
    retransmits: 12
    retransmit_percent: 0.015
    lost_percent: null
    jitter_ms: null
    rtt_us: {min: 310, avg: 1240, max: 2050}
    pmtu: 1500
    seconds: 10.0
    streams: 1
    reverse: false
    iperf3_version: "3.12"
    errors: []
"""


def parse_iperf3(text: t.Any) -> t.Dict[str, t.Any]:
    """Check the type, leave the rest to the parser of the module."""
    if isinstance(text, t.Mapping):
        # templating turns a text that is JSON into what it means
        text = json.dumps(plain(text))
    if not isinstance(text, str):
        raise AnsibleFilterError(f"parse_iperf3: the input is of type {type(text).__name__}, but must be text.")
    return _iperf3.parse_iperf3(text)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"parse_iperf3": parse_iperf3}
