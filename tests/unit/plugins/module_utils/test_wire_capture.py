# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What packets on the wire tell about encryption; the capture itself is tested in test_pod_traffic_nodes.py."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _wire_capture

TOKEN = "0123456789abcdef0123456789abcdef01234567"
PEERS = {"w1": ["192.0.2.21", "2001:db8::21", "10.244.1.2"], "w2": ["192.0.2.22"]}
READABLE = (TOKEN + " ").encode() * 3
DATA = b"\x04\0\0\0" + b"\xa5" * 96


def packet(source, destination, payload, protocol=17):
    """An IP packet, with a UDP header where that is the protocol."""
    ends = [ipaddress.ip_address(end).packed for end in (source, destination)]
    if protocol == 17:
        payload = struct.pack("!4H", 51820, 51820, 8 + len(payload), 0) + payload
    if len(ends[0]) == 16:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + ends[0] + ends[1] + payload
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0) + ends[0] + ends[1] + payload


def tally(*packets):
    found = _wire_capture.Tally(TOKEN, PEERS)
    for one in packets:
        found.add(one)
    return found.seen


NOTHING = {"plain": 0, "sealed": 0}


@pytest.mark.parametrize(
    "one, w1, w2",
    [
        (packet("192.0.2.11", "192.0.2.21", DATA), {"plain": 0, "sealed": 100}, NOTHING),
        (packet("192.0.2.21", "192.0.2.11", DATA), {"plain": 0, "sealed": 100}, NOTHING),
        (packet("2001:db8::11", "2001:db8::21", DATA), {"plain": 0, "sealed": 100}, NOTHING),
        # pods' own addresses, as without any encapsulation
        (packet("10.244.0.2", "10.244.1.2", READABLE, 6), {"plain": 1, "sealed": 0}, NOTHING),
        # in VXLAN, between the nodes
        (packet("192.0.2.11", "192.0.2.21", b"\x08\0\0\0\0\0\x01\0" + READABLE), {"plain": 1, "sealed": 0}, NOTHING),
        # what looks like WireGuard and can be read is read
        (packet("192.0.2.11", "192.0.2.21", b"\x04\0\0\0" + READABLE), {"plain": 1, "sealed": 0}, NOTHING),
        # readable, and of nobody known: of everybody
        (packet("198.51.100.1", "198.51.100.2", READABLE, 6), {"plain": 1, "sealed": 0}, {"plain": 1, "sealed": 0}),
        # a handshake is no data, TCP is no WireGuard, others' tunnels are not ours
        (packet("192.0.2.11", "192.0.2.21", b"\x01\0\0\0" + b"\xa5" * 144), NOTHING, NOTHING),
        (packet("192.0.2.11", "192.0.2.21", b"\0" * 8 + DATA, 6), NOTHING, NOTHING),
        (packet("192.0.2.11", "192.0.2.99", DATA), NOTHING, NOTHING),
    ],
)
def test_one_packet(one, w1, w2):
    assert tally(one) == {"w1": w1, "w2": w2}


@given(st.binary(max_size=120))
def test_no_bytes_whatsoever_break_it_or_look_encrypted(data):
    seen = tally(data)
    assert all(count["plain"] == 0 for count in seen.values())
    if any(count["sealed"] for count in seen.values()):
        assert b"\x04\0\0\0" in data


SIZE = 1000


@pytest.mark.parametrize(
    "seen, dropped, arrived, status, words",
    [
        ({"plain": 0, "sealed": 2000}, 0, True, "pass", "2000 bytes of WireGuard, nothing readable"),
        ({"plain": 0, "sealed": 1999}, 0, True, "unknown", "1999 bytes of WireGuard on eth1, but 2000 bytes were exchanged"),
        ({"plain": 0, "sealed": 0}, 7, True, "unknown", "7 packets were not looked at"),
        # sealed packets of other pods, and the payload among what was lost
        ({"plain": 0, "sealed": 9999}, 7, True, "unknown", "nothing readable; 7 packets were not looked at"),
        ({"plain": 1, "sealed": 9999}, 0, True, "fail", "what the pods send is readable in 1 packets on eth1"),
        ({"plain": 1, "sealed": 0}, 0, False, "fail", "readable"),
        ({"plain": 0, "sealed": 9999}, 0, False, "unknown", "did not arrive"),
    ],
)
def test_the_verdict(seen, dropped, arrived, status, words):
    check = _wire_capture.encryption_check("w1", "eth1", seen, dropped, SIZE, arrived)
    assert (check["id"], check["status"]) == ("encryption/w1", status)
    assert words in check["observed"]
    assert bool(check["fix"]) is (status != "pass")


def test_no_capture_no_verdict():
    checks = _wire_capture.unknown_checks(["w1", "w2"], "no interface of this node carries 192.0.2.11")
    assert [(check["id"], check["status"]) for check in checks] == [("encryption/w1", "unknown"), ("encryption/w2", "unknown")]
