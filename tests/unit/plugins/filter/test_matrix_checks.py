# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all nodes saw, judged."""

from __future__ import annotations

import copy
import json
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.filter.cluster_ports import cluster_ports
from ansible_collections.baremetal.kubernetes.plugins.filter.matrix_checks import matrix_checks
from hypothesis import given
from hypothesis import strategies as st

ADDRESSES = {"cp1": "192.0.2.11", "cp2": "192.0.2.12", "w1": "192.0.2.21"}
HOSTS = tuple(ADDRESSES)


def good(addresses: t.Mapping[str, str] | None = None, mtu: int = 1500, ipip: bool = False) -> dict[str, t.Any]:
    """All is well between all of them."""
    addresses = addresses or ADDRESSES
    return {
        host: {
            "name": host,
            "address": address,
            "interface": {"name": "eth1", "mtu": mtu, "reason": ""},
            "complete": True,
            "peers": [
                {
                    "name": other,
                    "address": addresses[other],
                    "tcp": [{"port": 10250, "status": "open", "seconds": 0.001, "error": ""}],
                    "udp": [{"port": 8472, "status": "answered", "error": ""}],
                    "ipip": {"status": "answered", "error": ""} if ipip else None,
                    "rtt_us": {"min": 200, "avg": 250, "max": 400, "samples": 5, "sent": 5},
                    "rtt_reason": "",
                    "path_mtu": mtu,
                    "path_mtu_reason": "",
                }
                for other in addresses
                if other != host
            ],
        }
        for host, address in addresses.items()
    }


def peer(results: dict[str, t.Any], host: str, other: str) -> dict[str, t.Any]:
    return next(item for item in results[host]["peers"] if item["name"] == other)


def judge(results: dict[str, t.Any], hosts: t.Sequence[str] = HOSTS, cni: str = "flannel", **more: t.Any) -> dict[str, t.Any]:
    return matrix_checks(results, hosts, cni, control_plane=["cp1", "cp2"], **more)


def statuses(judged: dict[str, t.Any]) -> dict[str, str]:
    """Every finding that is not a pass."""
    found = {f"{host}.{check['id']}": check["status"] for host, checks in judged["hosts"].items() for check in checks}
    found.update({check["id"]: check["status"] for check in judged["cluster"]})
    return {name: status for name, status in found.items() if status != "pass"}


def finding(judged: dict[str, t.Any], host: str, identifier: str) -> dict[str, str]:
    return next(check for check in judged["hosts"][host] if check["id"] == identifier)


def test_all_is_well() -> None:
    judged = judge(good())
    assert statuses(judged) == {}
    assert {check["id"] for check in judged["hosts"]["w1"]} == {"network_tcp", "network_udp", "path_mtu", "rtt"}
    assert (judged["pod_mtu"], judged["mtu_setting"]) == (1450, {"name": "cluster_network_mtu", "value": 1500})
    assert len(judged["matrix"]["pairs"]) == 6
    assert {pair[2]["status"] for pair in judged["matrix"]["pairs"]} == {"pass"}
    assert all(check["fix"] == "" for checks in judged["hosts"].values() for check in checks)
    json.dumps(judged)


@pytest.mark.parametrize(
    ("status", "words", "fix"),
    [
        ("refused", "refused", "rejects them"),
        ("timeout", "no answer", "drops the packets without a word"),
        ("unreachable", "unreachable", "there is no way"),
    ],
)
def test_a_blocked_port_is_named_with_its_purpose_and_both_nodes(status: str, words: str, fix: str) -> None:
    results = good()
    peer(results, "cp1", "w1")["tcp"][0]["status"] = status
    judged = judge(results, ports=cluster_ports(ADDRESSES, ["cp1"], "flannel")["ports"])
    assert statuses(judged) == {"cp1.network_tcp": "fail"}
    found = finding(judged, "cp1", "network_tcp")
    assert found["observed"] == f"10250/tcp (kubelet): {words} from w1"
    assert found["fix"].startswith("From cp1 to 10250/tcp of w1 ")
    assert fix in found["fix"]
    assert judged["hosts"]["cp1"][0] is found
    assert {(pair[0], pair[1]): pair[2]["status"] for pair in judged["matrix"]["pairs"]}["cp1", "w1"] == "fail"


@pytest.mark.parametrize(("status", "verdict"), [("silent", "fail"), ("refused", "fail"), ("unknown", "unknown"), ("what?", "unknown"), ("pass", "unknown")])
def test_udp(status: str, verdict: str) -> None:
    results = good()
    peer(results, "w1", "cp2")["udp"][0]["status"] = status
    assert statuses(judge(results)) == {"w1.network_udp": verdict}


def test_ipip_is_judged_where_it_is_used() -> None:
    results = good(ipip=True)
    assert statuses(judge(results, cni="calico", encapsulation="ipip")) == {}
    peer(results, "w1", "cp2")["ipip"]["status"] = "silent"
    assert statuses(judge(results, cni="calico", encapsulation="ipip")) == {"w1.network_ipip": "fail"}
    assert statuses(judge(results, cni="calico", encapsulation="none")) == {}
    assert statuses(judge(good(), cni="calico", encapsulation="ipip")) == {f"{host}.network_ipip": "unknown" for host in HOSTS}


def test_a_node_without_a_result_is_unknown_on_both_sides() -> None:
    for value in (None, {}, "skipped", {"failed": True}):
        results = good()
        results["w1"] = value
        for host in ("cp1", "cp2"):
            results[host]["peers"] = [item for item in results[host]["peers"] if item["name"] != "w1"]
        found = statuses(judge(results))
        assert found == {f"{host}.{name}": "unknown" for host in HOSTS for name in ("network_tcp", "network_udp", "path_mtu", "rtt")} | {"pod_mtu": "unknown"}


def test_no_result_at_all() -> None:
    judged = judge({})
    assert set(statuses(judged).values()) == {"unknown"}
    assert (len(statuses(judged)), judged["pod_mtu"]) == (4 * 3 + 1, None)


def test_a_single_node_has_nobody_to_ask() -> None:
    one = good({"cp1": "192.0.2.11"})
    judged = judge(one, hosts=["cp1"])
    assert statuses(judged) == {}
    assert (judged["pod_mtu"], judged["matrix"]) == (1450, {"hosts": ["cp1"], "pairs": []})


def test_a_narrow_way() -> None:
    results = good()
    peer(results, "cp1", "w1").update(path_mtu=1400, path_mtu_reason="packets of 1401 bytes and more get lost")
    judged = judge(results)
    assert statuses(judged) == {"cp1.path_mtu": "fail", "pod_mtu": "fail"}
    found = finding(judged, "cp1", "path_mtu")
    assert found["observed"] == "no more than 1400 bytes arrive at w1"
    assert "lower eth1 on every node to 1400" in found["fix"]
    assert (judged["pod_mtu"], judged["mtu_setting"]["value"]) == (1350, 1400)
    assert "Set cluster_network_mtu to 1400" in judged["cluster"][0]["fix"]
    assert "(cp1 to w1)" in judged["cluster"][0]["wanted"]
    # set to what fits, the pods are well; the nodes' own packets are not
    assert statuses(judge(results, network_mtu=1400)) == {"cp1.path_mtu": "fail"}
    assert statuses(judge(results, network_mtu=1401)) == {"cp1.path_mtu": "fail", "pod_mtu": "fail"}


@pytest.mark.parametrize("carried", [1500, 1404, 1400])
def test_one_interface_with_a_lower_mtu_is_found_though_its_driver_takes_more(carried: int) -> None:
    results = good()
    results["w1"]["interface"]["mtu"] = 1400
    for host in ("cp1", "cp2"):
        peer(results, "w1", host)["path_mtu"] = 1400
        peer(results, host, "w1")["path_mtu"] = carried
    judged = judge(results)
    # the roles take the smallest MTU for the pods of all nodes
    assert statuses(judged) == {"cp1.path_mtu": "fail", "cp2.path_mtu": "fail"}
    assert finding(judged, "cp1", "path_mtu")["observed"] == "an interface with an MTU of 1400 is at w1"
    assert judged["pod_mtu"] == 1350


def test_a_path_mtu_that_was_not_found_is_unknown() -> None:
    results = good()
    peer(results, "cp1", "w1").update(path_mtu=None, path_mtu_reason="no UDP port of this node answers")
    judged = judge(results)
    assert statuses(judged) == {"cp1.path_mtu": "unknown", "pod_mtu": "unknown"}
    assert finding(judged, "cp1", "path_mtu")["observed"] == "no UDP port of this node answers (w1)"
    assert judged["pod_mtu"] is None


@pytest.mark.parametrize(
    ("cni", "encapsulation", "encryption", "mtu", "pods", "value"),
    [
        # worked out by hand from the bytes that each layer takes
        ("calico", "vxlan", "", 1500, 1450, 1500),
        ("calico", "", "", 1500, 1500, 1500),
        ("calico", "vxlan", "wireguard", 1500, 1440, 1500),
        ("cilium", "vxlan", "", 9000, 8950, 9000),
        ("cilium", "", "wireguard", 1500, 1355, 1500),
        ("flannel", "", "", 9000, 8950, 9000),
        ("flannel", "", "wireguard", 1500, 1440, 1500),
        ("bridge", "", "", 1500, 1500, 1500),
        ("bridge", "", "", 9000, 9000, 9000),
    ],
)
def test_the_mtu_of_pods(cni: str, encapsulation: str, encryption: str, mtu: int, pods: int, value: int) -> None:
    judged = judge(good(mtu=mtu), cni=cni, encapsulation=encapsulation, encryption=encryption)
    assert statuses(judged) == {}
    assert (judged["pod_mtu"], judged["mtu_setting"]["value"]) == (pods, value)


def test_ipv6_takes_more() -> None:
    six = {"cp1": "2001:db8::1", "cp2": "2001:db8::2", "w1": "2001:db8::3"}
    judged = judge(good(six), encapsulation="vxlan")
    assert statuses(judged) == {}
    assert (judged["pod_mtu"], judged["mtu_setting"]["value"]) == (1430, 1500)


def test_the_bridge_cni_does_not_look_at_the_interface() -> None:
    judged = judge(good(mtu=1400), cni="bridge")
    assert statuses(judged) == {"pod_mtu": "fail"}
    assert judged["cluster"][0]["fix"].startswith("Set cluster_network_mtu to 1400;")


def test_a_network_too_small_for_its_encapsulation() -> None:
    judged = judge(good(mtu=600), cni="calico", encapsulation="vxlan")
    assert statuses(judged)["pod_mtu"] == "fail"
    assert "leaves 550 bytes" in judged["cluster"][0]["observed"]


@pytest.mark.parametrize(
    ("other", "average", "status"),
    [("cp2", 49_999, None), ("cp2", 50_000, "warn"), ("cp2", 99_999, "warn"), ("cp2", 100_000, "fail"), ("w1", 100_000, "warn"), ("w1", 400_000, "warn")],
)
def test_round_trips(other: str, average: int, status: str | None) -> None:
    results = good()
    peer(results, "cp1", other)["rtt_us"]["avg"] = average
    assert statuses(judge(results)) == ({"cp1.rtt": status} if status else {})


def test_lost_answers_are_worth_a_warning() -> None:
    results = good()
    peer(results, "cp1", "w1")["rtt_us"]["samples"] = 4
    judged = judge(results)
    assert statuses(judged) == {"cp1.rtt": "warn"}
    assert "1 of 5 lost" in finding(judged, "cp1", "rtt")["observed"]


@pytest.mark.parametrize("rtt", [None, {}, {"avg": None}, {"avg": "1"}, {"avg": True}, {"avg": -1}, {"avg": float("nan")}, 5])
def test_a_round_trip_that_was_not_measured_is_unknown(rtt: t.Any) -> None:
    results = good()
    peer(results, "cp1", "w1")["rtt_us"] = rtt
    assert statuses(judge(results)) == {"cp1.rtt": "unknown"}


_WORD = st.sampled_from(["", "open!", "OPEN", "ok", "silent", "timeout", "refused", "unreachable", "unknown", None, 1, True]) | st.text(max_size=8)


@given(_WORD, st.sampled_from(["tcp", "udp"]))
def test_no_other_word_is_a_pass(word: t.Any, protocol: str) -> None:
    if word in ("open", "answered"):
        return
    results = good()
    peer(results, "cp1", "w1")[protocol][0]["status"] = word
    judged = judge(results)
    assert statuses(judged)[f"cp1.network_{protocol}"] in ("fail", "unknown")


@given(st.none() | st.booleans() | st.integers(max_value=1499) | st.text(max_size=5) | st.floats())
def test_no_other_path_mtu_is_a_pass(mtu: t.Any) -> None:
    results = good()
    peer(results, "cp1", "w1")["path_mtu"] = mtu
    found = statuses(judge(results))
    assert found["cp1.path_mtu"] in ("fail", "unknown")
    assert found["pod_mtu"] in ("fail", "unknown")


def test_the_input_stays_as_it_was() -> None:
    results = good()
    before = copy.deepcopy(results)
    judge(results)
    assert results == before


def test_fifty_nodes_stay_readable() -> None:
    many = {f"n{number:02}": f"192.0.2.{number}" for number in range(1, 51)}
    results = good(many)
    for other in list(many)[1:]:
        peer(results, "n01", other)["udp"][0]["status"] = "silent"
    judged = matrix_checks(results, list(many), "flannel")
    assert finding(judged, "n01", "network_udp")["observed"] == "8472/udp: no answer from n02, n03, n04, n05, n06, n07 and 43 more"
    assert len(judged["matrix"]["pairs"]) == 2450


@pytest.mark.parametrize(
    ("results", "cni", "more", "message"),
    [
        ([], "flannel", {}, "must be a dictionary"),
        ({}, "weave", {}, "the CNI is 'weave'"),
        ({}, "flannel", {"encapsulation": "gre"}, "the encapsulation is 'gre'"),
        ({"cp1": {"peers": 5}}, "flannel", {}, "matrix_checks:"),
        ({"cp1": {"peers": [5]}}, "flannel", {}, "matrix_checks:"),
    ],
)
def test_refusals(results: t.Any, cni: str, more: dict, message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        judge(results, cni=cni, **more)
    assert message in str(caught.value)
