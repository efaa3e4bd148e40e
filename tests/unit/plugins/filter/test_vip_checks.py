# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter vip_checks: what all nodes heard, judged together."""

from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.filter.vip_checks import vip_checks

VIP = {"pool": "default", "protocol": "layer2", "address": "192.0.2.200", "announcers": ["w1"], "announcer_addresses": ["192.0.2.12"]}
NODES = {"cp1": "192.0.2.11", "w1": "192.0.2.12", "w2": "192.0.2.13"}
MACS = {"cp1": "52:54:00:00:00:01", "w1": "52:54:00:00:00:02", "w2": "52:54:00:00:00:03"}
STRANGER = "52:54:00:00:00:99"


def heard(host, *macs, error="", on_link=True, address="192.0.2.200", more=()):
    return {
        "own_macs": [MACS[host], *more],
        "answers": [{"address": address, "macs": list(macs), "error": error, "on_link": on_link, "interfaces": ["eth0"]}],
    }


def one(results, vip=None, nodes=None):
    (found,) = vip_checks(results, [{**VIP, **(vip or {})}], nodes or NODES)
    assert found["id"] == "vip_owner/default"
    return found


def everyone(mac):
    return {host: heard(host, *([] if MACS[host] == mac else [mac])) for host in NODES}


def test_one_owner():
    found = one(everyone(MACS["w1"]))
    assert found == {
        "id": "vip_owner/default",
        "status": "pass",
        "observed": "52:54:00:00:00:02 (w1), heard by cp1, w2",
        "wanted": "one MAC address that answers for 192.0.2.200, that of w1",
        "fix": "",
    }


def test_a_node_that_has_another_name_in_kubernetes():
    found = one(everyone(MACS["w1"]), {"announcers": ["w1.example.net"]})
    assert (found["status"], found["wanted"][-6:]) == ("pass", " of w1")


@pytest.mark.parametrize(
    "results, vip, status, words",
    [
        # the trap: kube-proxy in IPVS mode without strict ARP
        (
            {"cp1": heard("cp1", MACS["w1"], MACS["w2"]), "w1": heard("w1", MACS["w2"]), "w2": heard("w2", MACS["w1"])},
            {},
            "fail",
            ["2 answer: 52:54:00:00:00:02 (w1), 52:54:00:00:00:03 (w2)", "set cluster_ipvs_strict_arp to true"],
        ),
        # each heard one, but not the same
        ({"cp1": heard("cp1", MACS["w1"]), "w1": heard("w1"), "w2": heard("w2", MACS["cp1"])}, {}, "fail", ["2 answer", "strict ARP"]),
        (
            {**everyone(MACS["w1"]), "cp1": heard("cp1", MACS["w1"], STRANGER)},
            {},
            "fail",
            ["52:54:00:00:00:99 (none of these nodes)", "Another machine of the network has 192.0.2.200"],
        ),
        (
            {
                "cp1": heard("cp1", MACS["w1"], "52:54:00:00:00:22"),
                "w1": heard("w1", more=["52:54:00:00:00:22"]),
                "w2": heard("w2", MACS["w1"]),
            },
            {},
            "fail",
            ["w1 answers on two interfaces of one network", "interfaces of the pool"],
        ),
        # the owner hears another one, nobody else does
        ({"cp1": heard("cp1", MACS["w1"]), "w1": heard("w1", MACS["w2"]), "w2": heard("w2", MACS["w1"])}, {}, "fail", ["2 answer"]),
        ({host: heard(host) for host in NODES}, {}, "fail", ["no answer; asked by cp1, w2", "port security"]),
        ({host: heard(host) for host in NODES}, {"announcers": [], "announcer_addresses": []}, "fail", ["asked by cp1, w1, w2"]),
        (everyone(MACS["w2"]), {}, "fail", ["52:54:00:00:00:03 (w2) answers", "that of w1", "Who gave w2 the address?"]),
        (everyone(STRANGER), {}, "fail", ["52:54:00:00:00:99 answers, which is none of these nodes"]),
        ({**everyone(MACS["w1"]), "w2": heard("w2")}, {}, "fail", ["but not to w2", "VLAN"]),
        # a node of another network hears nothing of this one
        ({**everyone(MACS["w1"]), "w2": heard("w2", on_link=False)}, {}, "pass", ["heard by cp1"]),
        # an address of nobody's network: everybody has to hear it
        ({host: heard(host, *([MACS["w1"]] if host == "cp1" else []), on_link=False) for host in NODES}, {}, "fail", ["but not to w2"]),
        (
            {**everyone(MACS["w1"]), "w2": heard("w2", error="eth0: Network is down")},
            {},
            "unknown",
            ["not known: w2: eth0: Network is down"],
        ),
        ({**everyone(MACS["w1"]), "w2": {}}, {}, "unknown", ["w2: it was not asked"]),
        ({host: {} for host in NODES}, {}, "unknown", ["cp1: it was not asked"]),
        ({}, {}, "unknown", ["no node was asked"]),
        # with --limit: the owner may be a node that was left out
        ({"cp1": heard("cp1", MACS["w1"])}, {}, "unknown", ["w1, w2 not asked", "--limit"]),
        ({"w1": heard("w1")}, {}, "unknown", ["only w1 was asked, which announces it and cannot hear itself", "arping -c 3 192.0.2.200"]),
        ({"cp1": heard("cp1")}, {"announcers": [], "announcer_addresses": []}, "unknown", ["no node hears itself"]),
        ({"cp1": heard("cp1")}, {}, "fail", ["no answer; asked by cp1"]),
        # the announcer is alone in its network: who is elsewhere could not have heard it
        (
            {"cp1": heard("cp1", on_link=False), "w1": heard("w1"), "w2": heard("w2", on_link=False)},
            {},
            "unknown",
            ["only w1 was asked, which announces it and cannot hear itself"],
        ),
        # with --limit and the trap: no other machine is to blame
        ({"cp1": heard("cp1", MACS["w1"], MACS["w2"])}, {}, "fail", ["2 answer", "w1, w2 not asked", "without --limit"]),
        # a node that could not ask is known by its MAC addresses all the same
        ({**everyone(STRANGER), "w2": heard("w2", error="eth0: Network is down")}, {}, "fail", ["which is none of these nodes"]),
    ],
)
def test_verdicts(results, vip, status, words):
    found = one(results, vip)
    assert found["status"] == status, found
    text = " | ".join([found["observed"], found["wanted"], found["fix"]])
    for word in words:
        assert word in text, text


def test_ipv6_is_compared_as_an_address():
    nodes = {"cp1": "2001:db8::11", "w1": "2001:db8::12"}
    vip = {"address": "2001:DB8::0200", "announcer_addresses": ["2001:db8::12"]}
    results = {"cp1": heard("cp1", MACS["w1"], address="2001:db8::200"), "w1": heard("w1", address="2001:db8::200")}
    assert one(results, vip, nodes)["status"] == "pass"


def test_single_node():
    found = one({"cp1": heard("cp1")}, {"announcers": ["cp1"], "announcer_addresses": ["192.0.2.11"]}, {"cp1": "192.0.2.11"})
    assert found["status"] == "unknown"


@given(
    st.dictionaries(
        st.sampled_from(sorted(NODES)),
        st.tuples(st.lists(st.sampled_from([*MACS.values(), STRANGER]), unique=True), st.booleans(), st.booleans()),
    )
)
def test_nothing_but_one_owner_that_others_hear_passes(given_results):
    results = {host: heard(host, *macs, error="x" if broken else "", on_link=near) for host, (macs, broken, near) in given_results.items()}
    if one(results)["status"] == "pass":
        assert {mac for macs, dummy, dummy1 in given_results.values() for mac in macs} == {MACS["w1"]}
        assert not any(broken for dummy, broken, dummy1 in given_results.values())


# --- routes


def route(*rows, rc=0, stdout=None, address="203.0.113.1"):
    return {"item": ["r1", address], "rc": rc, "stdout": json.dumps(rows) if stdout is None else stdout, "stderr": "no such command"}


@pytest.mark.parametrize(
    "output, status, words",
    [
        (route({"dst": "203.0.113.1", "gateway": "192.0.2.12", "protocol": "bgp"}), "pass", "203.0.113.1 by w1"),
        (
            route({"dst": "203.0.113.0/26", "nexthops": [{"gateway": "192.0.2.12"}, {"gateway": "192.0.2.13"}]}),
            "pass",
            "203.0.113.0/26 by w1, w2",
        ),
        (route({"dst": "203.0.113.1", "via": {"family": "inet", "host": "192.0.2.13"}}), "pass", "by w2"),
        # the more specific one counts
        (route({"dst": "203.0.113.0/24", "gateway": "192.0.2.99"}, {"dst": "203.0.113.1", "gateway": "192.0.2.12"}), "pass", "by w1"),
        (
            route({"dst": "203.0.113.0/24", "gateway": "192.0.2.12"}, {"dst": "203.0.113.1", "gateway": "192.0.2.99"}),
            "fail",
            "by 192.0.2.99, which is no node",
        ),
        (route({"dst": "203.0.113.1", "nexthops": [{"gateway": "192.0.2.12"}, {"gateway": "192.0.2.99"}]}), "fail", "192.0.2.99"),
        (route({"dst": "203.0.113.0/24", "dev": "eth0"}), "fail", "by its own interface"),
        (route({"dst": "203.0.113.1", "gateway": "fe80::5054:ff:fe00:2"}), "unknown", "whose link-local address that is is not known"),
        (route({"dst": "203.0.113.1", "nexthops": [{"gateway": "fe80::2"}, {"gateway": "192.0.2.99"}]}), "fail", "192.0.2.99"),
        (route({"dst": "default", "gateway": "192.0.2.12"}), "fail", "only the default route, if any"),
        (route({"dst": "0.0.0.0/0", "gateway": "192.0.2.12"}), "fail", "only the default route, if any"),
        (route(), "fail", "only the default route, if any"),
        (route(stdout=""), "fail", "only the default route, if any"),
        (route(rc=127, stdout=""), "unknown", "no such command"),
        (route(stdout="junk"), "unknown", "cannot be read"),
        (route({"gateway": "192.0.2.12"}), "unknown", "cannot be read"),
        ({"item": ["r1", "203.0.113.1"], "msg": "unreachable"}, "unknown", "the command failed"),
    ],
)
def test_routes(output, status, words):
    vip = {"pool": "web", "protocol": "bgp", "address": "203.0.113.1", "announcers": ["w1"], "announcer_addresses": []}
    (found,) = vip_checks({}, [vip], NODES, [output])
    assert (found["id"], found["status"]) == ("vip_route/web/r1", status), found
    assert words in found["observed"], found


def test_a_setting_that_is_missing_is_named():
    with pytest.raises(AnsibleFilterError, match="vip_checks: 'protocol' is missing"):
        vip_checks({}, [{"pool": "x"}], {})
