# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsers of the preflight: what programs and the kernel print, and that no other text is taken for it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _preflight_parse as parse
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import Unreadable

STAT = "cpu  100 10 50 800 20 1 9 10 0 0\ncpu0 60 5 25 400 10 1 5 5 0 0\ncpu1 40 5 25 400 10 0 4 5 0 0\nintr 5\nctxt 9\n"


def test_cpu_times():
    times = parse.parse_cpu_times(STAT)
    assert list(times) == ["cpu", "cpu0", "cpu1"]
    assert times["cpu"] == {"user": 100, "nice": 10, "system": 50, "idle": 800, "iowait": 20, "irq": 1, "softirq": 9, "steal": 10}


def test_shares_leave_guest_time_out():
    before = parse.parse_cpu_times("cpu 0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n")["cpu"]
    after = parse.parse_cpu_times("cpu 100 0 0 50 0 0 30 20 100 0\ncpu0 100 0 0 50 0 0 30 20 100 0\n")["cpu"]
    assert parse.cpu_shares(before, after) == {"steal": 10.0, "softirq": 15.0, "ticks": 200.0}
    # a little less idle time than before is the kernel's estimate; less work is not
    assert parse.cpu_shares({**before, "iowait": 1}, after)["ticks"] == 199.0
    with pytest.raises(Unreadable):
        parse.cpu_shares(after, before)


@pytest.mark.parametrize("text", ["", "cpu 1 2 3 4 5 6 7 8\n", "cpu 1 2 3 4\ncpu0 1 2 3 4\n", "cpu 1 2 3 4 5 6 x 8\ncpu0 1 2 3 4 5 6 7 8\n"])
def test_no_cpu_times(text):
    with pytest.raises(Unreadable):
        parse.parse_cpu_times(text)


def test_small_files():
    assert parse.parse_uptime("350735.47 234388.90\n") == 350735.47
    assert parse.parse_meminfo("MemTotal:        3073676 kB\nMemFree: 1 kB\n") == 3001
    heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    assert parse.parse_swaps(heading) == []
    assert parse.parse_swaps(heading + "/swap.img file\t2097148\t0\t-2\n") == [{"device": "/swap.img", "size_mb": 2047}]
    assert parse.parse_cgroups_v1("#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t5\t1\nmemory\t0\t1\t0\n") == ["cpu"]
    for reader, text in (
        (parse.parse_uptime, "soon"),
        (parse.parse_meminfo, "MemTotal: many kB\n"),
        (parse.parse_swaps, ""),
        (parse.parse_swaps, heading + "/swap.img file\n"),
        (parse.parse_cgroups_v1, "cpu 1 1 1\n"),
        (parse.parse_cgroups_v1, "#subsys_name x\ncpu 1\n"),
        (parse.parse_kernel_log, ""),
    ):
        with pytest.raises(Unreadable):
            reader(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("6.1.0-41-amd64", (6, 1, 0)), ("v1.0.6 (Lester Gooch #5)", (1, 0, 6)), ("5.15-generic", (5, 15)), ("10.2.99", (10, 2, 99))]
)
def test_versions(text, expected):
    assert parse.version(text) == expected


@pytest.mark.parametrize("text", ["", "six.one", "6", "-1.2", "٦.١"])
def test_no_version(text):
    with pytest.raises(Unreadable):
        parse.version(text)


@pytest.mark.parametrize(("text", "minor"), [("1.36.4", 36), ("v1.30", 30), ("", None), ("2.1.0", None), ("1.x", None)])
def test_minor_version(text, minor):
    assert parse.minor_version(text) == minor


def test_addresses():
    links = parse.parse_addresses(
        json.dumps(
            [
                {"ifname": "lo", "flags": ["UP", "LOWER_UP"], "mtu": 65536, "link_type": "loopback", "address": "00:00:00:00:00:00", "addr_info": []},
                {},
                {
                    "ifname": "eth0",
                    "flags": ["BROADCAST", "UP"],
                    "mtu": 1500,
                    "link_type": "ether",
                    "address": "52:54:00:00:00:0B",
                    "addr_info": [
                        {"family": "inet", "local": "192.0.2.11", "prefixlen": 24, "scope": "global"},
                        {"family": "inet6", "local": "2001:db8::b", "prefixlen": 64, "scope": "global", "dadfailed": True},
                    ],
                },
            ]
        )
    )
    assert [(link["name"], link["mac"], link["mtu"], link["up"], link["carrier"]) for link in links] == [
        ("lo", "", 65536, True, True),
        ("eth0", "52:54:00:00:00:0b", 1500, True, False),
    ]
    assert links[1]["addresses"] == [
        {"address": "192.0.2.11", "prefix": 24, "scope": "global", "duplicate": False},
        {"address": "2001:db8::b", "prefix": 64, "scope": "global", "duplicate": True},
    ]


def test_routes():
    text = json.dumps(
        [
            {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"},
            {"dst": "10.1.0.0/16", "nexthops": [{"gateway": "192.0.2.2", "dev": "eth0"}, {"gateway": "198.51.100.2", "dev": "eth1"}]},
            {"type": "local", "dst": "192.0.2.11", "dev": "eth0", "table": "local"},
            {"type": "blackhole", "dst": "10.244.0.64/26"},
            {"dst": "10.2.0.0/16", "via": {"family": "inet6", "host": "fe80::1"}, "dev": "eth0"},
            {"type": "broadcast", "dst": "192.0.2.255", "dev": "eth0"},
            {"type": "local", "dst": "127.0.0.0/8", "dev": "lo"},
            {"dst": "169.254.0.0/16", "dev": "eth0"},
        ]
    )
    found = parse.parse_routes(text, 4)
    assert [(route["destination"], route["interface"], route["gateway"], route["type"]) for route in found] == [
        ("0.0.0.0/0", "eth0", "192.0.2.1", "unicast"),
        ("10.1.0.0/16", "eth0 eth1", "192.0.2.2 198.51.100.2", "unicast"),
        ("192.0.2.11/32", "eth0", "", "local"),
        ("10.244.0.64/26", "", "", "blackhole"),
        ("10.2.0.0/16", "eth0", "fe80::1", "unicast"),
    ]
    assert parse.parse_routes(json.dumps([{"dst": "default", "gateway": "fe80::1", "dev": "eth0"}]), 6)[0]["destination"] == "::/0"
    # iproute2 prints nothing at all where there is no route
    assert parse.parse_routes("", 6) == []


@pytest.mark.parametrize("text", ["", "x", "{}x", '[{"gateway": "192.0.2.1"}]', '[{"dst": "somewhere"}]', "[1]", "3", '["a"]'])
def test_no_routes(text):
    with pytest.raises(Unreadable):
        parse.parse_routes(text, 4)
    with pytest.raises(Unreadable):
        parse.parse_addresses(text)


def test_resolv_conf():
    text = "# nameserver 192.0.2.1\n; old\nsearch a\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\noptions ndots:5\nsearch example.com lab\n"
    assert parse.parse_resolv_conf(text) == {"nameservers": ["192.0.2.53", "fe80::1"], "search": ["example.com", "lab"]}
    for bad in ("nameserver\n", "nameserver dns.example.com\n"):
        with pytest.raises(Unreadable):
            parse.parse_resolv_conf(bad)


SOCKETS = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 00000000:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n"
    "   1: 0B0200C0:0016 010200C0:D431 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n"
)


def test_sockets():
    assert parse.parse_sockets(SOCKETS, "tcp") == [{"protocol": "tcp", "port": 6443, "inode": 4711}]
    udp = SOCKETS.replace(" 0A ", " 07 ").replace("4711", "0")
    assert parse.parse_sockets(udp, "udp") == [{"protocol": "udp", "port": 6443, "inode": 0}]
    for bad in ("", SOCKETS + "torn\n", SOCKETS.replace("00000000:192B", "0.0.0.0:6443")):
        with pytest.raises(Unreadable):
            parse.parse_sockets(bad, "tcp")


def test_kernel_log():
    text = "6,1,0,-;Linux version 6.1\n SUBSYSTEM=x\n4,900,90500000,-;nf_conntrack: nf_conntrack: table full, dropping packet; really\n"
    assert parse.parse_kernel_log(text) == [(0.0, "Linux version 6.1"), (90.5, "nf_conntrack: nf_conntrack: table full, dropping packet; really")]


NFT = """table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t}
\tchain helper {
\t}
\tchain output {
\t\ttype filter hook output priority filter; policy drop;
\t}
}
table ip nat {
\tchain prerouting {
\t\ttype nat hook prerouting priority dstnat; policy accept;
\t}
\tchain fwd {
\t\ttype filter hook forward priority 0
\t}
}
"""


def test_nft_chains():
    found = parse.parse_nft_chains(NFT)
    assert found["chains"] == ["input", "helper", "output", "prerouting", "fwd"]
    assert [(item["table"], item["chain"], item["hook"], item["policy"]) for item in found["filters"]] == [
        ("filter", "input", "input", "drop"),
        ("nat", "fwd", "forward", "accept"),
    ]
    assert parse.parse_nft_chains("") == {"chains": [], "filters": []}
    assert parse.parse_nft_chains("# Warning: table ip nat is managed by iptables-nft, do not touch!\n" + NFT) == found
    for bad in ("Error: Could not process rule\n", "# table ip filter {\n"):
        with pytest.raises(Unreadable):
            parse.parse_nft_chains(bad)


def test_network_manager_files():
    found = parse.parse_network_manager(
        [
            ("10.conf", "[keyfile]\nunmanaged-devices=interface-name:old*\n"),
            ("20.conf", "[main]\nplugins=keyfile\n[keyfile]\nunmanaged-devices=interface-name:cali*;interface-name:tunl*\n"),
            ("30.conf", "# [keyfile]\n[keyfile]\nunmanaged-devices+=mac:52:54:00:00:00:0b,interface-name:vxlan.calico\n"),
            ("40.conf", "[device-a]\nmatch-device=interface-name:lxc*\nmanaged=0\n[device-b]\nmatch-device=type:ethernet\nmanaged=1\n"),
        ]
    )
    assert found["unmanaged"] == ["interface-name:cali*", "interface-name:tunl*", "mac:52:54:00:00:00:0b", "interface-name:vxlan.calico"]
    assert found["devices"] == ["interface-name:lxc*"]


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("clusters:\n- cluster:\n    server: https://192.0.2.11:6443\n", "192.0.2.11"),
        ('    server: "https://API.example.com:6443"\n', "api.example.com"),
        ("    server: https://[2001:db8::11]:6443\n", "2001:db8::11"),
        ("", ""),
        ("server:\n", ""),
    ],
)
def test_server_of_a_kubeconfig(text, host):
    assert parse.parse_server(text) == host


ANY_TEXT = st.text() | st.text(alphabet="cpu 0123456789.:;=-+[]{}\",\n\tabcdefABCDEF/#") | st.sampled_from([STAT, SOCKETS, NFT]).flatmap(
    lambda text: st.integers(0, len(text)).map(lambda cut: text[:cut])
)
KEYS = st.sampled_from(["dst", "dev", "gateway", "type", "via", "nexthops", "ifname", "mtu", "flags", "addr_info"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
).map(json.dumps)

READERS = {
    "number": parse.number,
    "version": parse.version,
    "cpu_times": parse.parse_cpu_times,
    "uptime": parse.parse_uptime,
    "meminfo": parse.parse_meminfo,
    "swaps": parse.parse_swaps,
    "cgroups": parse.parse_cgroups_v1,
    "addresses": parse.parse_addresses,
    "routes4": lambda text: parse.parse_routes(text, 4),
    "routes6": lambda text: parse.parse_routes(text, 6),
    "resolv_conf": parse.parse_resolv_conf,
    "sockets": lambda text: parse.parse_sockets(text, "tcp"),
    "kernel_log": parse.parse_kernel_log,
    "nft": parse.parse_nft_chains,
    "network_manager": lambda text: parse.parse_network_manager([("a", text)]),
    "server": parse.parse_server,
    "minor": parse.minor_version,
}


@pytest.mark.parametrize("name", READERS)
@given(text=ANY_TEXT | JSON)
def test_any_text_is_data_or_unreadable(name, text):
    try:
        READERS[name](text)
    except Unreadable as error:
        assert str(error)
