# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The IPVS table as text, and its comparison with what should be there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _ipvs

HEADINGS = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
"""
KERNEL_HEADINGS = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
"""
API = (
    HEADINGS
    + """TCP  10.96.0.1:443 rr
  -> 192.0.2.11:6443              Masq    1      4          0
  -> 192.0.2.12:6443              Masq    1      0          2
"""
)
EXPECT = [{"address": "10.96.0.1", "port": 443, "destinations": ["192.0.2.11:6443", "192.0.2.12:6443"]}]


def brief(text):
    """Each virtual server on one line, for tables of cases."""
    parsed = _ipvs.parse_ipvsadm(text)
    lines = []
    for service in parsed["services"]:
        name = service["fwmark"] if service["protocol"] == "FWM" else _ipvs.join_address(service["address"], service["port"])
        servers = [
            f"{_ipvs.join_address(d['address'], d['port'])} {d['forward']} {d['weight']} {d['active']} {d['inactive']}"
            for d in service["destinations"]
        ]
        lines.append((f"{service['protocol']} {name} {service['scheduler']}", servers))
    return lines, parsed["errors"]


def test_a_numeric_listing():
    assert brief(API) == (
        [("TCP 10.96.0.1:443 rr", ["192.0.2.11:6443 Masq 1 4 0", "192.0.2.12:6443 Masq 1 0 2"])],
        [],
    )


def test_headings_alone_are_an_empty_table():
    assert brief(HEADINGS) == ([], [])
    assert brief(KERNEL_HEADINGS) == ([], [])


@pytest.mark.parametrize("text", ["", "\n", HEADINGS.splitlines()[0], "ipvsadm: command not found"])
def test_no_table_is_no_empty_table(text):
    services, errors = brief(text)
    assert services == []
    assert errors


def test_the_kernels_own_text_is_hexadecimal():
    text = (
        KERNEL_HEADINGS
        + """TCP  0A600001:01BB rr
  -> C000020B:192B      Masq    1      4          0
UDP  [2001:0db8:0000:0000:0000:0000:0000:000a]:0035 wrr ops
  -> [2001:0db8:0000:0000:0000:0000:0000:0101]:0035      Masq    7      0          3
FWM  00000010 sh
  -> C000020B:0050      Route   0      0          0
SCTP C0000201:0B59 rr persistent 2700000 FFFFFFFF
"""
    )
    assert brief(text) == (
        [
            ("TCP 10.96.0.1:443 rr", ["192.0.2.11:6443 Masq 1 4 0"]),
            ("UDP [2001:db8::a]:53 wrr", ["[2001:db8::101]:53 Masq 7 0 3"]),
            ("FWM 16 sh", ["192.0.2.11:80 Route 0 0 0"]),
            ("SCTP 192.0.2.1:2905 rr", []),
        ],
        [],
    )
    services = _ipvs.parse_ipvsadm(text)["services"]
    assert services[1]["one_packet"] is True
    assert (services[3]["persistent_ticks"], services[3]["persistent_timeout"]) == (2700000, None)
    assert services[3]["persistent_mask"] == "255.255.255.255"


def test_an_ipv6_table_of_the_kernel_has_hexadecimal_ports():
    text = KERNEL_HEADINGS + "TCP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0050 rr\n"
    assert brief(text)[0] == [("TCP [2001:db8::1]:80 rr", [])]


def test_an_ipv6_table_of_ipvsadm_has_decimal_ports():
    text = HEADINGS + "TCP  [2001:db8::1]:80 rr\n  -> [2001:db8::2]:8080            Tunnel  1      0          0\n"
    assert brief(text) == ([("TCP [2001:db8::1]:80 rr", ["[2001:db8::2]:8080 Tunnel 1 0 0"])], [])


@pytest.mark.parametrize(
    ("line", "flags"),
    [
        ("TCP  192.0.2.1:80 rr", {}),
        ("TCP  192.0.2.1:80 rr persistent 10800", {"persistent": True, "persistent_timeout": 10800}),
        (
            "TCP  192.0.2.1:80 wlc persistent 360 mask 255.255.255.0",
            {"persistent": True, "persistent_timeout": 360, "persistent_mask": "255.255.255.0"},
        ),
        ("UDP  192.0.2.1:5060 rr ops", {"one_packet": True}),
        ("UDP  192.0.2.1:5060 rr persistent 60 pe sip ops", {"persistence_engine": "sip", "one_packet": True, "persistent_timeout": 60}),
        ("TCP  192.0.2.1:80 mh (mh-fallback,mh-port)", {"scheduler_flags": ["mh-fallback", "mh-port"]}),
    ],
)
def test_flags(line, flags):
    service = _ipvs.parse_ipvsadm(HEADINGS + line)["services"][0]
    assert {name: service[name] for name in flags} == flags
    assert service["flags"] == line.split(" ", 4)[4] if flags else service["flags"] == ""


def test_a_firewall_mark_is_decimal_with_ipvsadm():
    text = HEADINGS + "FWM  10 IPv6 rr\nFWM  12345678 wlc persistent 60\n  -> 192.0.2.11:0                 Route   1      0          0\n"
    services = _ipvs.parse_ipvsadm(text)["services"]
    assert [(s["fwmark"], s["ipv6"]) for s in services] == [(10, True), (12345678, False)]
    assert services[1]["destinations"][0]["port"] == 0


def test_names_instead_of_numbers():
    text = HEADINGS + "TCP  cp1.example.org:https rr\n  -> cp1:6443                     Masq    1      0          0\n"
    assert brief(text) == ([("TCP cp1.example.org:https rr", ["cp1:6443 Masq 1 0 0"])], [])


def test_the_prompt_of_a_terminal_is_no_error():
    assert brief("root@cp1:~# ipvsadm -Ln\n" + API) == brief(API)


def test_other_listings_are_refused_whole():
    text = (
        "IP Virtual Server version 1.2.1 (size=4096)\n"
        "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n"
        "  -> RemoteAddress:Port\n"
        "TCP  10.96.0.1:443                       5      100      90    10000    9000\n"
    )
    services, errors = brief(text)
    assert services == []
    assert "ipvsadm -Ln is wanted" in errors[0]


@pytest.mark.parametrize(
    "line",
    [
        "  -> 192.0.2.13:6443              Masq    1      4",
        "  -> 192.0.2.13                   Masq    1      4          0",
        "  -> 192.0.2.999:6443             Masq    1      4          0",
        "  -> 192.0.2.13:66443             Masq    1      4          0",
        "  -> C000020D:192B                Masq    1      4          0",
        "  -> 192.0.2.13:6443              Mask    1      4          0",
        "  -> 192.0.2.13:6443              Masq    one    4          0",
    ],
)
def test_an_unreadable_real_server_is_an_error_and_no_server(line):
    services, errors = brief(API + line + "\n")
    assert services == brief(API)[0]
    assert len(errors) == 1


@pytest.mark.parametrize("line", ["TCP  10.96.0.1 rr", "XYZ  10.96.0.10:53 rr", "TCP  10.96.0.10:53", "...", "TCP  10.96.0.1:443 rr"])
def test_servers_below_an_unreadable_service_belong_to_nobody(line):
    services, errors = brief(API + line + "\n  -> 192.0.2.13:6443              Masq    1      4          0\n")
    assert services == brief(API)[0]
    assert len(errors) == 2


# --- comparison


def test_everything_is_there():
    assert _ipvs.compare(_ipvs.parse_ipvsadm(API)["services"], EXPECT) == ([], [])


def test_a_missing_and_an_unexpected_server():
    expect = [{"address": "10.96.0.1", "port": 443, "protocol": "TCP", "destinations": ["192.0.2.11:6443", "192.0.2.13:6443"]}]
    assert _ipvs.compare(_ipvs.parse_ipvsadm(API)["services"], expect) == (
        ["TCP 10.96.0.1:443 -> 192.0.2.13:6443"],
        ["TCP 10.96.0.1:443 -> 192.0.2.12:6443"],
    )


def test_a_drained_server_is_missing_where_wanted_and_absent_where_not():
    services = _ipvs.parse_ipvsadm(API.replace("192.0.2.12:6443              Masq    1", "192.0.2.12:6443              Masq    0"))["services"]
    assert _ipvs.compare(services, EXPECT)[0] == ["TCP 10.96.0.1:443 -> 192.0.2.12:6443 (present with weight 0)"]
    expect = [{"address": "10.96.0.1", "port": 443, "destinations": ["192.0.2.11:6443"]}]
    assert _ipvs.compare(services, expect) == ([], [])


def test_a_missing_service():
    expect = [{"address": "10.96.0.10", "port": 53, "protocol": "UDP", "destinations": ["10.244.0.2:53"]}]
    assert _ipvs.compare(_ipvs.parse_ipvsadm(API)["services"], expect) == (["UDP 10.96.0.10:53"], [])


def judge(text):
    """What ipvs_status says about this text."""
    parsed = _ipvs.parse_ipvsadm(text)
    table = {"running": True, "reason": "", **parsed}
    missing, unexpected = _ipvs.compare(parsed["services"], EXPECT)
    return _ipvs._table_check(table, missing, unexpected, EXPECT)["status"], missing


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_no_text_without_the_address_makes_the_server_present(noise):
    text = noise.replace("192.0.2.12", "").replace("C000020C", "")
    status, missing = judge(text)
    assert status != "pass"
    assert missing


@settings(deadline=None, max_examples=50)
@given(st.integers(min_value=0, max_value=len(API.rstrip()) - 1))
def test_no_cut_text_makes_the_server_present(length):
    # the last column may lose digits, but not vanish: "2" is the whole of it
    status, missing = judge(API[:length])
    assert status != "pass"
    assert "TCP 10.96.0.1:443 -> 192.0.2.12:6443" in missing or "TCP 10.96.0.1:443" in missing


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(API.splitlines() + HEADINGS.splitlines() + ["TCP  10.96.0.2:443 rr", "->", "junk", ""])))
def test_lines_in_any_order_never_give_a_service_foreign_servers(lines):
    expected, current = set(), None
    for line in lines:
        if line.startswith("TCP"):
            current = line.split()[1]
        elif line.startswith("  -> 192"):
            if current:
                expected.add((current, line.split()[1]))
        elif line and line != "->":
            current = None
    parsed = _ipvs.parse_ipvsadm("\n".join(lines))
    got = {(f"{s['address']}:{s['port']}", f"{d['address']}:{d['port']}") for s in parsed["services"] for d in s["destinations"]}
    assert got <= expected


# --- addresses


@pytest.mark.parametrize("text", ["192.0.2.1:80", "[2001:db8::1]:443"])
def test_addresses_go_there_and_back(text):
    assert _ipvs.join_address(*_ipvs.split_address(text)) == text


@pytest.mark.parametrize("text", ["192.0.2.1", "192.0.2.1:0", "192.0.2.1:70000", "2001:db8::1:443", "cp1:6443", ":80", ""])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError):
        _ipvs.split_address(text)


# --- waiting


def test_waiting_ends_with_the_first_pass():
    answers = iter(["fail", "unknown", "pass", "fail"])
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    result = _ipvs.wait_status(lambda: {"verdict": next(answers), "checks": [{}]}, 60, clock=lambda: now[0], sleep=sleep)
    assert (result["verdict"], result["waited"]) == ("pass", 4)


def test_waiting_is_bounded():
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    result = _ipvs.wait_status(lambda: {"verdict": "fail", "checks": [{}]}, 9, clock=lambda: now[0], sleep=sleep)
    assert (result["verdict"], result["waited"]) == ("fail", 8)


# --- one table in its three forms, as ipvsadm 1.31 and Linux 6.1 print it

NUMERIC = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.1:80 wrr persistent 360 mask 255.255.255.0
  -> 10.0.1.1:8080                Masq    5      0          0
  -> 10.0.1.2:80                  Tunnel  0      0          0
TCP  127.0.0.1:443 rr
  -> 127.0.0.1:6443               Masq    1      0          0
UDP  10.0.0.1:53 rr ops
  -> 10.0.1.1:53                  Route   1      0          0
SCTP 10.0.0.1:2905 rr
TCP  [2001:db8::1]:443 sh (sh-fallback,sh-port)
  -> [2001:db8::2]:6443           Masq    1      0          0
FWM  16 wlc
  -> 10.0.1.1:0                   Route   3      0          0
FWM  17 IPv6 rr
"""
NAMES = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.1:http wrr persistent 360 mask 255.255.255.0
  -> 10.0.1.1:http-alt            Masq    5      0          0
  -> 10.0.1.2:http                Tunnel  0      0          0
TCP  localhost:https rr
  -> localhost:6443               Masq    1      0          0
UDP  10.0.0.1:domain rr ops
  -> 10.0.1.1:domain              Route   1      0          0
SCTP 10.0.0.1:2905 rr
TCP  [2001:db8::1]:https sh (sh-fallback,sh-port)
  -> [2001:db8::2]:6443           Masq    1      0          0
FWM  16 wlc
  -> 10.0.1.1:0                   Route   3      0          0
FWM  17 IPv6 rr
"""
KERNEL = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A000001:0050 wrr  persistent 90000 FFFFFF00
  -> 0A000102:0050      Tunnel  0      0          0
  -> 0A000101:1F90      Masq    5      0          0
UDP  0A000001:0035 rr ops
  -> 0A000101:0035      Route   1      0          0
TCP  [2001:0db8:0000:0000:0000:0000:0000:0001]:01BB sh
  -> [2001:0db8:0000:0000:0000:0000:0000:0002]:192B      Masq    1      0          0
SCTP  0A000001:0B59 rr
TCP  7F000001:01BB rr
  -> 7F000001:192B      Masq    1      0          0
FWM  00000010 wlc
  -> 0A000101:0000      Route   3      0          0
FWM  00000011 rr
"""


def facts(text):
    """What all numeric forms tell, without an order."""
    parsed = _ipvs.parse_ipvsadm(text)
    assert parsed["errors"] == []
    return {
        (
            (s["protocol"], s["address"], s["port"], s["fwmark"], s["scheduler"], s["persistent"], s["persistent_mask"], s["one_packet"]),
            tuple(sorted(tuple(d.values()) for d in s["destinations"])),
        )
        for s in parsed["services"]
    }


def test_the_kernel_and_ipvsadm_tell_the_same():
    assert len(facts(NUMERIC)) == 7
    assert facts(NUMERIC) == facts(KERNEL)


def test_names_tell_the_same_shape():
    shapes = [
        [(s["protocol"], s["scheduler"], s["flags"], [d["weight"] for d in s["destinations"]]) for s in _ipvs.parse_ipvsadm(text)["services"]]
        for text in (NUMERIC, NAMES)
    ]
    assert shapes[0] == shapes[1]
    assert _ipvs.parse_ipvsadm(NAMES)["errors"] == []


def test_ticks_are_not_taken_for_seconds():
    (numeric,) = [s for s in _ipvs.parse_ipvsadm(NUMERIC)["services"] if s["persistent"]]
    (kernel,) = [s for s in _ipvs.parse_ipvsadm(KERNEL)["services"] if s["persistent"]]
    assert (numeric["persistent_timeout"], numeric["persistent_ticks"]) == (360, None)
    assert (kernel["persistent_timeout"], kernel["persistent_ticks"]) == (None, 90000)
