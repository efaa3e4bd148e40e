# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module vip_owners: packets made by hand, then real segments of network namespaces with one owner, two, and none."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import time

import pytest
from ansible.module_utils.testing import patch_module_args
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _netns, _vip_owners
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command
from ansible_collections.baremetal.kubernetes.plugins.modules import vip_owners

A = ipaddress.ip_address
MAC = bytes.fromhex("525400123456")

# --- interfaces

SHOWN = [
    {
        "ifindex": 1,
        "ifname": "lo",
        "link_type": "loopback",
        "address": "00:00:00:00:00:00",
        "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}],
    },
    {
        "ifindex": 2,
        "ifname": "eth0",
        "link_type": "ether",
        "address": "52:54:00:00:00:01",
        "flags": ["BROADCAST", "UP"],
        "addr_info": [{"local": "192.0.2.11", "prefixlen": 24}],
    },
    {
        "ifindex": 3,
        "ifname": "eth1",
        "link_type": "ether",
        "address": "52:54:00:00:00:02",
        "flags": ["BROADCAST", "UP"],
        "addr_info": [
            {"local": "203.0.113.1", "prefixlen": 24},
            {"local": "198.18.0.200", "prefixlen": 32},
            {"local": "2001:db8::1", "prefixlen": 64},
        ],
    },
    # what kube-proxy makes in IPVS mode: every load balancer's address is on it
    {
        "ifindex": 9,
        "ifname": "kube-ipvs0",
        "link_type": "ether",
        "address": "aa:00:00:00:00:09",
        "flags": ["BROADCAST", "NOARP"],
        "addr_info": [{"local": "192.0.2.200", "prefixlen": 32}],
    },
    {"ifindex": 10, "ifname": "wg0", "link_type": "none", "addr_info": [{"local": "198.51.100.1", "prefixlen": 24}]},
    {},
]


def links(shown=None):
    return _vip_owners.links(lambda argv, timeout: (0, json.dumps(SHOWN if shown is None else shown), ""))


@pytest.mark.parametrize(
    "address, names, found",
    [
        ("192.0.2.200", [], ["eth0"]),
        ("203.0.113.200", [], ["eth1"]),
        ("2001:db8::200", [], ["eth1"]),
        # in nobody's network: where the node's address is
        ("198.18.0.1", [], ["eth0"]),
        # an address alone is no network
        ("198.18.0.200", [], ["eth0"]),
        ("198.51.100.7", [], ["eth0"]),
        ("192.0.2.200", ["eth1", "bond7"], ["eth1"]),
        ("192.0.2.200", ["eth1", "eth0"], ["eth0", "eth1"]),
        ("192.0.2.200", ["bond7"], []),
    ],
)
def test_where_to_ask(address, names, found):
    assert [link.name for link in _vip_owners.chosen(links(), A(address), A("192.0.2.11"), names)] == found


def test_own_macs_are_those_of_ethernet():
    assert _vip_owners.own_macs(links()) == ["52:54:00:00:00:01", "52:54:00:00:00:02", "aa:00:00:00:00:09"]


@pytest.mark.parametrize("answer", [(1, "", "no"), (0, "junk", ""), (0, "{}", ""), (0, '[{"ifname": "x"}]', ""), (0, "[7]", "")])
def test_interfaces_that_cannot_be_read(answer):
    if answer[1] == "{}":
        assert _vip_owners.links(lambda argv, timeout: answer) == []
        return
    with pytest.raises(_vip_owners.VipOwnersError):
        _vip_owners.links(lambda argv, timeout: answer)


# --- packets, by the tables of RFC 826 and RFC 4861

REPLY = bytes.fromhex(
    "525400000001"
    "525400123456"
    "0806"  # to, from, ARP
    "0001"
    "0800"
    "06"
    "04"
    "0002"  # Ethernet, IPv4, lengths, reply
    "525400123456"
    "c00002c8"  # sender 192.0.2.200
    "525400000001"
    "c000020b"  # target 192.0.2.11
)
ADVERTISEMENT = bytes.fromhex(
    "88"
    "00"
    "0000"
    "60000000"  # type 136, code, checksum, solicited and override
    "20010db8000000000000000000000200"  # target
    "02"
    "01"
    "525400123456"  # target link-layer address
)


def test_arp_packets():
    assert _vip_owners.arp_sender(REPLY) == (A("192.0.2.200"), MAC)
    assert _vip_owners.arp_sender(REPLY + b"\0" * 18) == (A("192.0.2.200"), MAC)
    # a gratuitous request says the same
    assert _vip_owners.arp_sender(REPLY[:21] + b"\1" + REPLY[22:]) == (A("192.0.2.200"), MAC)
    request = _vip_owners.arp_request(links()[1], A("192.0.2.200"))
    assert request == bytes.fromhex(
        "ffffffffffff 525400000001 0806 0001 0800 06 04 0001 525400000001 c000020b 000000000000 c00002c8"
    )
    # asked on an interface of another network: by the name that it has there
    assert _vip_owners.arp_request(links()[2], A("192.0.2.200"))[28:32] == bytes([203, 0, 113, 1])
    assert _vip_owners.arp_request(links()[1]._replace(addresses=()), A("192.0.2.200"))[28:32] == bytes(4)


def test_neighbour_packets():
    assert _vip_owners.advertised(ADVERTISEMENT, 255) == (A("2001:db8::200"), MAC)
    # an option before it
    assert _vip_owners.advertised(ADVERTISEMENT[:24] + b"\x0e\1" + b"\7" * 6 + ADVERTISEMENT[24:], 255) == (A("2001:db8::200"), MAC)
    assert _vip_owners.advertised(ADVERTISEMENT, 254) is None
    assert _vip_owners.advertised(ADVERTISEMENT[:24], 255) is None
    assert _vip_owners.advertised(ADVERTISEMENT[:24] + b"\2\0" + b"\7" * 6, 255) is None
    assert _vip_owners.solicited_group(A("2001:db8::1:800:200e:8c6c")) == "ff02::1:ff0e:8c6c"
    question = _vip_owners.solicitation(links()[2], A("2001:db8::200"))
    assert question == bytes.fromhex("87000000 00000000 20010db8000000000000000000000200 0101525400000002")


@pytest.mark.parametrize(
    "position, byte",
    [(12, 0x86), (13, 0xDD), (15, 6), (16, 0x86), (18, 8), (19, 16), (21, 3), (21, 0), (22, 0x53)],
)
def test_other_packets_are_none(position, byte):
    assert _vip_owners.arp_sender(REPLY[:position] + bytes([byte]) + REPLY[position + 1 :]) is None


def test_an_unset_mac_is_nobody():
    assert _vip_owners.arp_sender(REPLY[:22] + bytes(6) + REPLY[28:]) is None
    assert _vip_owners.advertised(ADVERTISEMENT[:26] + bytes(6), 255) is None


@given(st.binary(max_size=60), st.integers(0, 255))
def test_no_packet_whatsoever_breaks_it(data, hop_limit):
    for found in (_vip_owners.arp_sender(data), _vip_owners.advertised(data, hop_limit)):
        assert found is None or len(found[1]) == 6


# --- real segments


def ip(*words, check=True):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    if check and done.returncode:
        pytest.skip(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done


class Segment:
    """A bridge in a namespace of its own with nodes on it, each in its namespace: 192.0.2.11 and up, 2001:db8::11 and up."""

    def __init__(self, names):
        self.mark = f"vo{os.getpid()}"
        self.lan = f"{self.mark}lan"
        self.made = []
        self._space(self.lan)
        ip("-n", self.lan, "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        ip("-n", self.lan, "link", "set", "br0", "up")
        for number, name in enumerate(names):
            self._space(self.mark + name)
            self.attach(name, "eth0")
            self.add(name, f"192.0.2.{11 + number}/24")
            self.add(name, f"2001:db8::{11 + number}/64")

    def _space(self, name):
        ip("netns", "add", name)
        self.made.append(name)
        # addresses are usable at once, and nobody waits for doubles of link-local ones
        setting = ["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.dad_transmits=0"]
        ip("netns", "exec", name, *setting)
        ip("-n", name, "link", "set", "lo", "up")

    def attach(self, name, interface):
        ip("-n", self.lan, "link", "add", f"{name}{interface}", "type", "veth", "peer", "name", interface, "netns", self.mark + name)
        ip("-n", self.lan, "link", "set", f"{name}{interface}", "master", "br0", "up")
        ip("-n", self.mark + name, "link", "set", interface, "up")

    def add(self, name, address, interface="eth0"):
        ip("-n", self.mark + name, "address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))

    def mac(self, name, interface="eth0"):
        return json.loads(ip("-n", self.mark + name, "-j", "link", "show", interface).stdout)[0]["address"]

    def ask(self, name, targets, node_address="192.0.2.11", interface="", seconds=1.2):
        targets = [target if isinstance(target, dict) else {"address": target} for target in targets]

        def inside():
            return _vip_owners.owners(targets, node_address, interface, seconds, run_command)

        return _netns.run_inside(f"/run/netns/{self.mark}{name}", inside, 30)

    def macs(self, name, *targets, **options):
        found = self.ask(name, targets, **options)
        assert [answer["error"] for answer in found["answers"]] == [""] * len(targets), found
        return [answer["macs"] for answer in found["answers"]]

    def remove(self):
        for name in self.made:
            ip("netns", "del", name, check=False)


@pytest.fixture(name="segment")
def fixture_segment():
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs root and iproute2")
    made = []
    try:
        made.append(Segment.__new__(Segment))
        made[0].made = []
        made[0].__init__(["a", "b", "c"])
        time.sleep(0.3)
        yield made[0]
    finally:
        made[0].remove()


@pytest.mark.parametrize("address", ["192.0.2.200", "2001:db8::200"])
def test_one_owner_two_owners_none(segment, address):
    length = 64 if ":" in address else 24
    assert segment.macs("a", address) == [[]]
    segment.add("b", f"{address}/{length}")
    owner = segment.ask("b", [address])
    assert segment.macs("a", address) == segment.macs("c", address) == [[segment.mac("b")]]
    # the owner does not hear itself, but knows the address of its own interface
    assert (owner["answers"][0]["macs"], segment.mac("b") in owner["own_macs"]) == ([], True)
    segment.add("c", f"{address}/{length}")
    assert segment.macs("a", address) == [sorted([segment.mac("b"), segment.mac("c")])]
    assert segment.macs("b", address) == [[segment.mac("c")]]


def test_many_addresses_at_once(segment):
    segment.add("b", "192.0.2.200/24")
    segment.add("c", "2001:db8::200/64")
    addresses = ["192.0.2.200", "192.0.2.201", "2001:db8::200", "2001:db8::201"]
    begin = time.monotonic()
    assert segment.macs("a", *addresses) == [[segment.mac("b")], [], [segment.mac("c")], []]
    assert time.monotonic() - begin < 3


def test_the_trap_of_ipvs_without_strict_arp(segment):
    """kube-proxy binds the address to a dummy interface on every node; the kernel then answers on all others."""
    for name in "abc":
        # a bridge without ports is as good as a dummy, which not every kernel has
        ip("-n", segment.mark + name, "link", "add", "kube-ipvs0", "type", "bridge")
        segment.add(name, "192.0.2.200/32", "kube-ipvs0")
    assert segment.macs("a", "192.0.2.200") == [sorted([segment.mac("b"), segment.mac("c")])]
    for name in "abc":
        subprocess.run(
            [
                "ip",
                "netns",
                "exec",
                segment.mark + name,
                "sysctl",
                "-qw",
                "net.ipv4.conf.all.arp_ignore=1",
                "net.ipv4.conf.all.arp_announce=2",
            ],
            check=True,
            timeout=30,
        )
    assert segment.macs("a", "192.0.2.200") == [[]]


def test_an_interface_by_name(segment):
    segment.attach("a", "eth1")
    segment.add("b", "198.18.0.1/32")
    target = {"address": "198.18.0.1", "interfaces": ["eth1", "bond7"]}
    found = segment.ask("a", [target])["answers"][0]
    assert (found["interfaces"], found["on_link"], found["macs"], found["error"]) == (["eth1"], False, [segment.mac("b")], "")
    assert segment.ask("a", ["192.0.2.12"])["answers"][0]["on_link"] is True
    assert segment.ask("a", [target], interface="eth0")["answers"][0]["interfaces"] == ["eth0"]
    assert "none of the interfaces bond7" in segment.ask("a", [{**target, "interfaces": ["bond7"]}])["answers"][0]["error"]
    assert "no interface has 198.18.0.1's network or 192.0.2.99" in segment.ask("a", ["198.18.0.1"], "192.0.2.99")["answers"][0]["error"]
    assert "lo is no Ethernet" in segment.ask("a", [{**target, "interfaces": ["lo"]}])["answers"][0]["error"]


def test_two_cards_of_one_node_on_one_segment(segment):
    segment.attach("b", "eth1")
    segment.add("b", "192.0.2.200/24")
    found = segment.macs("a", "192.0.2.200")
    assert found == [sorted([segment.mac("b"), segment.mac("b", "eth1")])]
    assert set(found[0]) <= set(segment.ask("b", [])["own_macs"])


def test_an_interface_that_is_down_is_an_error(segment):
    ip("-n", segment.mark + "a", "link", "set", "eth0", "down")
    for address in ("192.0.2.200", "2001:db8::200"):
        found = segment.ask("a", [{"address": address, "interfaces": ["eth0"]}])["answers"][0]
        assert (found["macs"], found["error"][:6]) == ([], "eth0: "), found


# --- the module


def run(capsys, check_mode=False, **params):
    with patch_module_args({**params, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as exit_:
        vip_owners.main()
    return exit_.value.code, json.loads(capsys.readouterr().out)


def test_without_the_right_to_it_nothing_is_known(capsys, monkeypatch):
    def refuse(*args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(_vip_owners.socket, "socket", refuse)
    monkeypatch.setattr(vip_owners, "run_command", lambda argv, timeout: (0, json.dumps(SHOWN), ""))
    for check_mode in (False, True):
        code, result = run(capsys, check_mode, targets=[{"address": "192.0.2.200"}], node_address="192.0.2.11")
        assert (code, result["changed"]) == (0, False)
        assert result["answers"][0]["error"] == "eth0: Operation not permitted: packet sockets need root (CAP_NET_RAW)"


@pytest.mark.parametrize(
    "params, words",
    [
        ({"seconds": 0}, "seconds is 0, but must be 0.1 to 60"),
        ({"node_address": "cp1"}, "'cp1' does not appear to be an IPv4 or IPv6 address"),
        ({"targets": [{"address": "vip"}]}, "'vip' does not appear"),
    ],
)
def test_what_makes_no_sense_is_refused(capsys, params, words):
    code, result = run(capsys, **{"targets": [], "node_address": "192.0.2.11", **params})
    assert (code, words in result["msg"]) == (1, True), result
