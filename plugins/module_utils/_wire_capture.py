# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Look at what leaves and reaches a node while its pods talk: is their payload readable on the wire?"""

from __future__ import annotations

import ipaddress
import os
import select
import socket
import struct
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils._netns import Helper
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, Check, check

_ETH_P_ALL = 3
# socket has no names for these (asm-generic/socket.h, linux/if_packet.h)
_SO_RCVBUFFORCE, _SOL_PACKET, _PACKET_STATISTICS = 33, 263, 6
_BUFFER = 32 * 1024 * 1024
_UDP = 17
# Transport data: one byte of type and three of zero (WireGuard paper, 5.4.6).
_WIREGUARD_DATA = b"\x04\0\0\0"
# Seconds without a packet after which, at the end, nothing more is expected.
_QUIET = 0.3

Summary = Dict[str, Dict[str, int]]


def addresses_of(packet: bytes) -> Optional[Tuple[str, str]]:
    """(source, destination) of an IP packet."""
    version = packet[0] >> 4 if packet else 0
    first, length = {4: (12, 4), 6: (8, 16)}.get(version, (0, 0))
    if not length or len(packet) < first + 2 * length:
        return None
    source, destination = packet[first : first + length], packet[first + length : first + 2 * length]
    return str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination))


def wireguard_bytes(packet: bytes) -> int:
    """How many encrypted bytes an IP packet brings, 0 if it is no WireGuard data."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20 and packet[9] == _UDP:
        start = (packet[0] & 15) * 4 + 8
    elif version == 6 and len(packet) >= 40 and packet[6] == _UDP:
        start = 48
    else:
        return 0
    return len(packet) - start if packet[start : start + 4] == _WIREGUARD_DATA else 0


class Tally:
    """What was seen of each peer: {"plain": packets with the token, "sealed": encrypted bytes}."""

    def __init__(self, token: str, peers: Dict[str, Sequence[str]]) -> None:
        self.token = token.encode()
        self.owner = {str(ipaddress.ip_address(address)): name for name, addresses in peers.items() for address in addresses}
        self.seen: Summary = {name: {"plain": 0, "sealed": 0} for name in peers}

    def add(self, packet: bytes) -> None:
        """Count one IP packet."""
        plain, sealed = self.token in packet, wireguard_bytes(packet)
        if not plain and not sealed:
            return
        ends = addresses_of(packet) or ("", "")
        names = {self.owner[end] for end in ends if end in self.owner}
        # A readable token of nobody's address is everybody's: it was seen, whoever it was for.
        for name in names or (self.seen if plain else ()):
            self.seen[name]["plain"] += plain
            self.seen[name]["sealed"] += 0 if plain else sealed


class Capture:
    """Counts in a process of its own what passes an interface, from the making of this object until result()."""

    def __init__(self, interface: str, token: str, peers: Dict[str, Sequence[str]]) -> None:
        # cooked: without the link's header, so that an IP packet begins at byte 0 on any kind of link
        # and of no protocol yet: before it is bound it would hear all interfaces, also those where nothing is encrypted
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        try:
            try:
                packets.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            except OSError:
                # without the right to it the buffer is small; what is lost is counted
                pass
            packets.bind((interface, _ETH_P_ALL))
            ready, self._stop = os.pipe()

            def count() -> Dict[str, Any]:
                os.close(self._stop)
                return _count(packets, ready, Tally(token, peers))

            self._helper = Helper(None, count)
            os.close(ready)
        finally:
            packets.close()

    def result(self, seconds: float = 30) -> Dict[str, Any]:
        """{"seen": {peer: {"plain", "sealed"}}, "dropped": packets that the kernel had no room for}."""
        os.close(self._stop)
        return self._helper.result(seconds)

    def cancel(self) -> None:
        """End it without a result."""
        os.close(self._stop)
        self._helper.end()


def _count(packets: socket.socket, ready: int, tally: Tally) -> Dict[str, Any]:
    stopping, end = False, 0.0
    while True:
        wait = [packets] if stopping else [packets, ready]
        readable = select.select(wait, [], [], _QUIET if stopping else None)[0]
        if ready in readable:
            stopping, end = True, time.monotonic() + 5
        if packets in readable:
            tally.add(packets.recv(65535))
        if stopping and (packets not in readable and ready not in readable or time.monotonic() > end):
            break
    _received, dropped = struct.unpack("2I", packets.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return {"seen": tally.seen, "dropped": dropped}


def encryption_check(node: str, interface: str, seen: Dict[str, int], dropped: int, size: int, arrived: bool) -> Check:
    """Judge what was seen while size bytes went to the pod of this node and as many came from there."""
    identifier = f"encryption/{node}"
    wanted = (
        f"on {interface}, WireGuard packets with all that the pods of this node and of node {node} send each other, and none of it readable"
    )
    if seen["plain"]:
        fix = (
            f"On both nodes `wg show`: is there a handshake, and are the pods of node {node} in `allowed ips`? With Calico each node needs the"
            " annotation projectcalico.org/WireguardPublicKey, with Cilium look at `cilium-dbg encrypt status`; then run the network playbook again."
        )
        return check(identifier, FAIL, f"what the pods send is readable in {seen['plain']} packets on {interface}", wanted, fix)
    if not arrived:
        return check(
            identifier, UNKNOWN, "the payload that was to be looked for did not arrive", wanted, f"See finding pod_to_pod_payload/{node}."
        )
    lost = f"; {dropped} packets were not looked at" if dropped else ""
    if seen["sealed"] < 2 * size:
        observed = f"{seen['sealed']} bytes of WireGuard on {interface}, but {2 * size} bytes were exchanged{lost}"
        fix = f"Do the packets to node {node} leave by another interface? `ip route get` with its address, and `wg show` for the endpoint."
        return check(identifier, UNKNOWN, observed, wanted, fix)
    if lost:
        # Other pods' packets are sealed too: what was not looked at may be just the payload, in plain text.
        observed = f"{seen['sealed']} bytes of WireGuard on {interface}, nothing readable{lost}"
        return check(identifier, UNKNOWN, observed, wanted, "More passes there than this node can look at: run it again when less does.")
    return check(identifier, PASS, f"{seen['sealed']} bytes of WireGuard, nothing readable", wanted)


def unknown_checks(nodes: Sequence[str], reason: str) -> List[Check]:
    """Where the node could not be listened to at all."""
    fix = "Is this the interface with the node's IP, and may this user open packet sockets (CAP_NET_RAW)?"
    return [check(f"encryption/{node}", UNKNOWN, reason, "a look at the packets between the two nodes", fix) for node in nodes]
