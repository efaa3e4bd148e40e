# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Networks, ranges and addresses as the settings write them; every refusal is one sentence."""

from __future__ import annotations

import ipaddress
import re
import typing as t


class AddressError(ValueError):
    """A text is no address, network or range; the message begins in the middle of a sentence: "is not ..."."""


Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Address = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


class Range(t.NamedTuple):
    """All addresses from first to last, as numbers, of one IP version."""

    version: int
    first: int
    last: int

    def __str__(self) -> str:
        make = ipaddress.IPv4Address if self.version == 4 else ipaddress.IPv6Address
        return str(make(self.first)) if self.first == self.last else f"{make(self.first)}-{make(self.last)}"

    def shared(self, other: Range) -> t.Optional[Range]:
        """The addresses that are in both, or None."""
        if self.version != other.version:
            return None
        first, last = max(self.first, other.first), min(self.last, other.last)
        return Range(self.version, first, last) if first <= last else None


def parse_address(text: t.Any) -> Address:
    """One IPv4 or IPv6 address."""
    if not isinstance(text, str) or "%" in text:
        raise AddressError("is not an IP address")
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise AddressError("is not an IP address") from None


def parse_network(text: t.Any) -> Network:
    """A network in CIDR notation without host bits."""
    if isinstance(text, str) and "," in text:
        raise AddressError("names more than one network, but one is wanted (two address families at once are not supported)")
    if not isinstance(text, str) or not re.fullmatch(r"[0-9A-Fa-f:.]+/[0-9]{1,3}", text):
        raise AddressError("is not a network in CIDR notation such as 10.244.0.0/16")
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise AddressError("is not a network in CIDR notation such as 10.244.0.0/16") from None
    if interface.ip != interface.network.network_address:
        raise AddressError(f"is an address inside of a network; the network itself is {interface.network}")
    return interface.network


def parse_range(text: t.Any) -> Range:
    """A network in CIDR notation, first-last, or one address."""
    if isinstance(text, str) and "/" in text and "-" not in text:
        network = parse_network(text)
        return Range(network.version, int(network.network_address), int(network.broadcast_address))
    if isinstance(text, str) and "-" in text:
        parts = [part.strip() for part in text.split("-")]
        try:
            addresses = [parse_address(part) for part in parts]
        except AddressError:
            addresses = []
        if len(addresses) != 2 or addresses[0].version != addresses[1].version:
            raise AddressError("is not a range such as 192.0.2.10-192.0.2.20, first and last address of one family")
        if int(addresses[0]) > int(addresses[1]):
            raise AddressError("is a range whose last address comes before its first; swap the two")
        return Range(addresses[0].version, int(addresses[0]), int(addresses[1]))
    try:
        address = parse_address(text)
    except AddressError:
        raise AddressError("is neither a network in CIDR notation nor a range first-last nor an IP address") from None
    return Range(address.version, int(address), int(address))


class Overlap(t.NamedTuple):
    """Two named ranges and what they share."""

    first: str
    first_range: str
    second: str
    second_range: str
    shared: str


def overlaps(named: t.Sequence[t.Tuple[str, str]], within: bool = False) -> t.List[Overlap]:
    """Every pair that shares an address; pairs of one name only if within is set. The order of a pair is that of the input."""
    parsed = [(name, text, parse_range(text)) for name, text in named]
    result: t.List[Overlap] = []
    for index, (name, text, one) in enumerate(parsed):
        for other_name, other_text, other in parsed[index + 1 :]:
            if name == other_name and not within:
                continue
            shared = one.shared(other)
            if shared is not None:
                result.append(Overlap(name, text, other_name, other_text, str(shared)))
    return result
