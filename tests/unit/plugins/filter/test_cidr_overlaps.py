# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Overlaps are found whichever range comes first and whichever is larger."""

from __future__ import annotations

import ipaddress

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.filter.cidr_overlaps import cidr_overlaps
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._addresses import Range, parse_range
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("one", "two", "shared"),
    [
        ("10.244.0.0/16", "10.96.0.0/12", None),
        ("10.0.0.0/8", "10.96.0.0/12", "10.96.0.0-10.111.255.255"),
        ("10.96.0.0/12", "10.0.0.0/8", "10.96.0.0-10.111.255.255"),
        ("10.244.0.0/16", "10.244.0.0/16", "10.244.0.0-10.244.255.255"),
        ("10.0.0.0/9", "10.128.0.0/9", None),
        ("192.0.2.200-192.0.2.239", "192.0.2.239", "192.0.2.239"),
        ("192.0.2.200-192.0.2.239", "192.0.2.240/28", None),
        ("192.0.2.200 - 192.0.2.239", "192.0.2.238/31", "192.0.2.238-192.0.2.239"),
        ("0.0.0.0/0", "::/0", None),
        ("2001:db8::/32", "2001:db8:42::10-2001:db8:42::20", "2001:db8:42::10-2001:db8:42::20"),
        ("fd00:10::/108", "fd00:10::10:0/108", None),
    ],
)
def test_two_ranges(one: str, two: str, shared: str | None) -> None:
    found = cidr_overlaps({"one": one, "two": two})
    if shared is None:
        assert found == []
    else:
        assert found == [{"first": "one", "first_range": one, "second": "two", "second_range": two, "shared": shared}]


def test_every_pair_is_compared_but_not_within_a_name() -> None:
    found = cidr_overlaps({"pods": "10.0.0.0/8", "nodes": ["10.1.0.0/16", "10.1.2.0/24"], "lb": ["10.1.2.3-10.1.2.4"]})
    assert [(pair["first_range"], pair["second_range"]) for pair in found] == [
        ("10.0.0.0/8", "10.1.0.0/16"),
        ("10.0.0.0/8", "10.1.2.0/24"),
        ("10.0.0.0/8", "10.1.2.3-10.1.2.4"),
        ("10.1.0.0/16", "10.1.2.3-10.1.2.4"),
        ("10.1.2.0/24", "10.1.2.3-10.1.2.4"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.244.1.0/16", "pods: '10.244.1.0/16' is an address inside of a network; the network itself is 10.244.0.0/16."),
        ("2001:db8::1/64", "the network itself is 2001:db8::/64"),
        ("10.244.0.0/33", "is not a network in CIDR notation"),
        ("10.244.0.0/255.255.0.0", "is not a network in CIDR notation"),
        ("10.244.0.0/16,fd00::/48", "names more than one network"),
        ("10.0.0.9-10.0.0.1", "last address comes before its first"),
        ("10.0.0.1-fd00::1", "is not a range such as"),
        ("10.0.0.1-10.0.0.2-10.0.0.3", "is not a range such as"),
        ("010.0.0.1", "is neither a network"),
        ("fe80::1%eth0", "is neither a network"),
        ("", "is neither a network"),
        (None, "is neither a network"),
        (167772161, "is neither a network"),
    ],
)
def test_what_is_no_range_is_refused(text: object, message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        cidr_overlaps({"pods": text})
    assert message in str(caught.value)


def test_a_list_is_no_dict() -> None:
    with pytest.raises(AnsibleFilterError, match="must be a dict"):
        cidr_overlaps(["10.0.0.0/8"])


def _network(version: int, number: int, length: int) -> str:
    bits = 32 if version == 4 else 128
    length %= bits + 1
    number = (number % 2**bits) >> (bits - length) << (bits - length)
    make = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    return f"{make(number)}/{length}"


networks = st.builds(_network, st.sampled_from([4, 6]), st.integers(0, 2**128 - 1), st.integers(0, 128))


@given(networks, networks)
def test_the_order_does_not_matter(one: str, two: str) -> None:
    forth, back = cidr_overlaps({"a": one, "b": two}), cidr_overlaps({"a": two, "b": one})
    assert [pair["shared"] for pair in forth] == [pair["shared"] for pair in back]


@given(networks, networks)
def test_the_same_answer_as_the_standard_library(one: str, two: str) -> None:
    first, second = ipaddress.ip_network(one), ipaddress.ip_network(two)
    wanted = first.version == second.version and first.overlaps(second)
    assert bool(cidr_overlaps({"a": one, "b": two})) is wanted


@given(networks)
def test_a_network_overlaps_itself_and_its_own_addresses(text: str) -> None:
    network = ipaddress.ip_network(text)
    assert cidr_overlaps({"a": text, "b": text})
    assert cidr_overlaps({"a": text, "b": f"{network.network_address}-{network.broadcast_address}"})
    assert cidr_overlaps({"a": str(network.broadcast_address), "b": text})


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_range_is_read_back_as_it_is_written(one: int, two: int) -> None:
    wanted = Range(4, min(one, two), max(one, two))
    assert parse_range(str(wanted)) == wanted
