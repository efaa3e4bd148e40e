# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Ask the segment of an interface who has an address: ARP (RFC 826) for IPv4, neighbour solicitation (RFC 4861) for IPv6."""

from __future__ import annotations

import ipaddress
import json
import select
import socket
import struct
import time
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple, Union

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import Runner

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

_ETH_P_ARP = 0x0806
_ARP = "!HHBBH6s4s6s4s"
_NS, _NA = 135, 136
_SOURCE_LINK, _TARGET_LINK = 1, 2
# linux/if_packet.h, linux/icmpv6.h
_PACKET_OUTGOING, _ICMP6_FILTER = 4, 1


class VipOwnersError(Exception):
    """The node's interfaces cannot be read; one sentence."""


class Link(NamedTuple):
    """An interface of this node, as far as it matters here."""

    name: str
    index: int
    mac: bytes
    ethernet: bool
    addresses: Tuple[Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface], ...]

    def reaches(self, address: Address) -> bool:
        """Whether the address is in a network of this interface; an address alone (kube-ipvs0) is no network."""
        return any(
            own.version == address.version and own.network.prefixlen < own.network.max_prefixlen and address in own.network
            for own in self.addresses
        )


def mac_text(mac: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in mac)


def links(run: Runner) -> List[Link]:
    """All interfaces of this node."""
    rc, out, err = run(["ip", "-j", "address", "show"], 15)
    if rc != 0:
        raise VipOwnersError(f"`ip -j address show` failed: {(err or out).strip()[:200]}.")
    try:
        return [
            Link(
                str(entry["ifname"]),
                int(entry["ifindex"]),
                bytes.fromhex(str(entry.get("address") or "").replace(":", "")) if entry.get("link_type") == "ether" else b"",
                entry.get("link_type") == "ether" and "NOARP" not in entry.get("flags", []),
                tuple(
                    ipaddress.ip_interface(f"{item['local']}/{item['prefixlen']}")
                    for item in entry.get("addr_info", [])
                    if item.get("local")
                ),
            )
            for entry in json.loads(out)
            # an entry without a name is what ip leaves of an interface that is filtered
            if entry.get("ifname")
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VipOwnersError(f"The answer of `ip -j address show` cannot be read: {error}.") from None


def chosen(all_links: Sequence[Link], address: Address, node_address: Address, names: Sequence[str]) -> List[Link]:
    """Where to ask for an address: the named interfaces, else that with its network, else that with the node's address."""
    if names:
        return [link for link in all_links if link.name in names]
    near = [link for link in all_links if link.ethernet and link.reaches(address)]
    return (near or [link for link in all_links if any(own.ip == node_address for own in link.addresses)])[:1]


def own_macs(all_links: Sequence[Link]) -> List[str]:
    return sorted({mac_text(link.mac) for link in all_links if any(link.mac)})


# --- packets


def arp_request(link: Link, address: ipaddress.IPv4Address) -> bytes:
    """An ARP request by broadcast. The sender is this node as any client would name it, or unset where the interface has no address."""
    mine = [own for own in link.addresses if own.version == 4]
    sender = next((own.ip.packed for own in mine if address in own.network), mine[0].ip.packed if mine else b"\0" * 4)
    body = struct.pack(_ARP, 1, 0x0800, 6, 4, 1, link.mac, sender, b"\0" * 6, address.packed)
    return b"\xff" * 6 + link.mac + struct.pack("!H", _ETH_P_ARP) + body


def _is_station(mac: bytes) -> bool:
    """A MAC address of one machine: neither unset nor a group."""
    return any(mac) and not mac[0] & 1


def arp_sender(frame: bytes) -> Optional[Tuple[Address, bytes]]:
    """(address, MAC) of who says in an ARP packet that it has the address. Requests count as well: everybody learns from them."""
    if len(frame) < 14 + struct.calcsize(_ARP) or frame[12:14] != struct.pack("!H", _ETH_P_ARP):
        return None
    hardware, protocol, hardware_length, length, operation, mac, address = struct.unpack_from("!HHBBH6s4s", frame, 14)
    if (hardware, protocol, hardware_length, length) != (1, 0x0800, 6, 4) or operation not in (1, 2) or not _is_station(mac):
        return None
    return ipaddress.IPv4Address(address), mac


def solicitation(link: Link, address: ipaddress.IPv6Address) -> bytes:
    """A neighbour solicitation; the kernel fills in the checksum. MetalLB answers only those with the sender's MAC address."""
    return struct.pack("!BBHI16sBB6s", _NS, 0, 0, 0, address.packed, _SOURCE_LINK, 1, link.mac)


def solicited_group(address: ipaddress.IPv6Address) -> str:
    """The multicast group that whoever has the address listens to."""
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address("ff02::1:ff00:0")) | int(address) & 0xFFFFFF))


def advertised(message: bytes, hop_limit: int) -> Optional[Tuple[Address, bytes]]:
    """(address, MAC) of a neighbour advertisement; one that came over a router is none."""
    if hop_limit != 255 or len(message) < 24 or message[0] != _NA or message[1] != 0:
        return None
    rest = message[24:]
    while len(rest) >= 8:
        kind, length = rest[0], rest[1] * 8
        if length == 0:
            return None
        if kind == _TARGET_LINK and length == 8 and _is_station(rest[2:8]):
            return ipaddress.IPv6Address(message[8:24]), rest[2:8]
        rest = rest[length:]
    return None


# --- sockets


class _Arp:
    """Asks on one interface by ARP."""

    def __init__(self, link: Link, addresses: Sequence[ipaddress.IPv4Address]) -> None:
        self.link, self._addresses = link, addresses
        # of no protocol yet: before it is bound it would hear all interfaces
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.bind((link.name, _ETH_P_ARP))

    def ask(self) -> None:
        for address in self._addresses:
            self.socket.send(arp_request(self.link, address))

    def hear(self) -> Optional[Tuple[Address, bytes]]:
        frame, sender = self.socket.recvfrom(2048)
        return None if sender[2] == _PACKET_OUTGOING else arp_sender(frame)


class _Neighbours:
    """Asks on one interface by neighbour discovery."""

    def __init__(self, link: Link, addresses: Sequence[ipaddress.IPv6Address]) -> None:
        self.link, self._addresses = link, addresses
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        option = self.socket.setsockopt
        option(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.name.encode() + b"\0")
        option(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link.index)
        option(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        option(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        option(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        passing = [0xFFFFFFFF] * 8
        passing[_NA // 32] &= ~(1 << _NA % 32)
        option(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("@8I", *passing))

    def ask(self) -> None:
        for address in self._addresses:
            self.socket.sendto(solicitation(self.link, address), (solicited_group(address), 0, 0, self.link.index))

    def hear(self) -> Optional[Tuple[Address, bytes]]:
        message, ancillary, _flags, _sender = self.socket.recvmsg(2048, socket.CMSG_SPACE(4))
        limits = [
            struct.unpack("@i", data)[0]
            for level, kind, data in ancillary
            if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT) and len(data) == 4
        ]
        return advertised(message, limits[0] if limits else 0)


Heard = Dict[Tuple[str, Address], Set[bytes]]


def listen(askers: Sequence[Any], seconds: float, interval: float = 1.0) -> Heard:
    """Collect who answers, for the whole time (a second owner may be the slower one), and repeat the question once per interval."""
    heard: Heard = {}
    by_socket = {asker.socket: asker for asker in askers}
    now = time.monotonic()
    end, next_question = now + seconds, now + interval
    while now < end:
        if now >= next_question:
            next_question += interval
            for asker in askers:
                asker.ask()
        for ready in select.select(list(by_socket), [], [], max(0.0, min(end, next_question) - now))[0]:
            found = by_socket[ready].hear()
            if found:
                heard.setdefault((by_socket[ready].link.name, found[0]), set()).add(found[1])
        now = time.monotonic()
    return heard


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"{error.strerror or error}: packet sockets need root (CAP_NET_RAW)"
    return str(error.strerror or error)


def owners(targets: Iterable[Dict[str, Any]], node_address: str, interface: str, seconds: float, run: Runner) -> Dict[str, Any]:
    """{answers: [{address, interfaces, on_link, macs, error}], own_macs}; error is set where an address could not be asked for."""
    all_links = links(run)
    node = ipaddress.ip_address(node_address)
    answers: List[Dict[str, Any]] = []
    questions: Dict[Tuple[str, int], List[Address]] = {}
    for target in targets:
        address = ipaddress.ip_address(target["address"])
        names = [interface] if interface else list(target.get("interfaces") or [])
        asked = chosen(all_links, address, node, names)
        usable = [link for link in asked if link.ethernet and len(link.mac) == 6]
        answer = {
            "address": str(address),
            "interfaces": [link.name for link in usable],
            "on_link": any(link.reaches(address) for link in usable),
            "macs": [],
            "error": "",
        }
        if not usable:
            here = f"none of the interfaces {', '.join(names)} is here" if names else f"no interface has {address}'s network or {node}"
            answer["error"] = f"{asked[0].name} is no Ethernet, and has no MAC addresses" if asked else here
        for link in usable:
            questions.setdefault((link.name, address.version), []).append(address)
        answers.append(answer)

    by_name = {link.name: link for link in all_links}
    askers: List[Any] = []
    broken: Dict[Tuple[str, int], str] = {}
    try:
        for (name, version), addresses in questions.items():
            try:
                kind: Any = _Arp if version == 4 else _Neighbours
                asker = kind(by_name[name], addresses)
                askers.append(asker)
                # a question that cannot be sent is known before anybody waits for its answer
                asker.ask()
            except OSError as error:
                broken[(name, version)] = f"{name}: {_reason(error)}"
        working = [asker for asker in askers if (asker.link.name, 4 if isinstance(asker, _Arp) else 6) not in broken]
        heard = listen(working, seconds) if working else {}
    except OSError as error:
        raise VipOwnersError(f"The node's network changed while it was asked: {_reason(error)}.") from None
    finally:
        for asker in askers:
            asker.socket.close()
    for answer in answers:
        address = ipaddress.ip_address(answer["address"])
        macs = {mac for name in answer["interfaces"] for mac in heard.get((name, address), set())}
        answer["macs"] = sorted(mac_text(mac) for mac in macs)
        problems = [broken[(name, address.version)] for name in answer["interfaces"] if (name, address.version) in broken]
        answer["error"] = answer["error"] or "; ".join(problems)
    return {"answers": answers, "own_macs": own_macs(all_links)}
