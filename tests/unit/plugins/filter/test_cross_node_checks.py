# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter cross_node_checks: doubles and collisions are told, what is not known is never one, and never a pass."""

from __future__ import annotations

import copy

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.filter.cross_node_checks import FilterModule, cross_node_checks
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._cross_node import CHECKS

SETTINGS = {"cni": "bridge", "pod_cidr": "10.244.0.0/16", "service_cidr": "10.96.0.0/12", "load_balancer_ranges": ["192.0.2.240-192.0.2.250"]}

# as the second node has it
SERVICE_CARD = {"interface": "usb0", "mac": "02:00:00:00:00:02"}


def route(destination, interface="eth0", gateway="", kind="unicast"):
    return {"destination": destination, "interface": interface, "gateway": gateway, "type": kind}


def node(number, **identity):
    return {
        "identity": {
            "machine_id": f"{number:032x}",
            "product_uuid": f"6b1e7a52-6f0e-4c59-8f0e-{number:012x}",
            "macs": [{"interface": "eth0", "mac": f"52:54:00:00:00:{number:02x}"}, {"interface": "usb0", "mac": f"02:00:00:00:00:{number:02x}"}],
            "hostname": f"n{number}",
            "node_ip": f"192.0.2.{number}",
            "node_interface": "eth0",
            "node_prefix": 24,
            "mtu": 1500,
            **identity,
        },
        "routes": [route("0.0.0.0/0", gateway="192.0.2.254"), route("192.0.2.0/24"), route(f"192.0.2.{number}/32", kind="local")],
        "resolvers": ["198.51.100.53"],
        "facts": {"member": False},
    }


def run(first=None, second=None, settings=None, **top):
    """Findings by id of two nodes, with other identities, and other results of the first one."""
    results = {"a": {**node(1, **(first or {})), **top}, "b": node(2, **(second or {}))}
    found = cross_node_checks(results, {**SETTINGS, **(settings or {})})
    return {item["id"]: item for item in [*found["cluster"], *found["hosts"]["a"]]}


def test_two_good_nodes_pass_everything():
    found = run()
    assert set(found) == set(CHECKS)
    assert {item["status"] for item in found.values()} == {"pass"}
    assert found["unique_mac"]["hosts"] == ["a", "b"] and found["unique_mac"]["fix"] == ""


@pytest.mark.parametrize(
    ("identifier", "status", "first", "hosts", "says"),
    [
        ("unique_machine_id", "fail", {"machine_id": f"{2:032x}"}, ["a", "b"], "a, b have"),
        ("unique_machine_id", "unknown", {"machine_id": ""}, ["a"], "Not known of a"),
        ("unique_product_uuid", "fail", {"product_uuid": f"6B1E7A52-6f0e-4c59-8f0e-{2:012x}"}, ["a", "b"], "have"),
        ("unique_product_uuid", "unknown", {"product_uuid": "03000200-0400-0500-0006-000700080009"}, ["a"], "Not known of a"),
        ("unique_product_uuid", "unknown", {"product_uuid": ""}, ["a"], "Not known of a"),
        ("unique_mac", "fail", {"macs": [{"interface": "eth0", "mac": "52:54:00:00:00:02"}]}, ["a", "b"], "a (eth0), b (eth0)"),
        ("unique_mac", "warn", {"macs": [{"interface": "eth0", "mac": "52:54:00:00:00:01"}, SERVICE_CARD]}, ["a", "b"], "usb0"),
        ("unique_mac", "unknown", {"macs": [SERVICE_CARD]}, ["a", "b"], "usb0"),
        ("unique_mac", "unknown", {"macs": []}, ["a"], "not known of a"),
        ("unique_mac", "unknown", {"node_interface": ""}, ["a"], "not known of a"),
        ("unique_hostname", "fail", {"hostname": "N2"}, ["a", "b"], "n2"),
        ("unique_node_ip", "fail", {"node_ip": "192.0.2.2"}, ["a", "b"], "192.0.2.2"),
        ("unique_node_ip", "unknown", {"node_ip": ""}, ["a"], "Not known of a"),
        ("same_mtu", "warn", {"mtu": 1450}, ["a", "b"], "1450 on a; 1500 on b"),
        ("same_mtu", "unknown", {"mtu": None}, ["a"], "Not known of a"),
        ("same_network", "fail", {"node_ip": "198.51.100.1"}, ["a", "b"], "198.51.100.0/24: a"),
        ("same_network", "unknown", {"node_prefix": None}, ["a"], "Not known of a"),
    ],
)
def test_between_the_nodes(identifier, status, first, hosts, says):
    item = run(first)[identifier]
    assert (item["status"], item["hosts"], says in item["observed"]) == (status, hosts, True), item
    assert item["fix"] and item["wanted"]


def test_two_machines_without_a_uuid_are_no_double():
    assert run({"product_uuid": ""}, {"product_uuid": ""})["unique_product_uuid"]["status"] == "unknown"


def test_an_odd_mtu_is_that_of_the_few():
    results = {name: node(number) for number, name in enumerate("abcd", start=1)}
    results["c"]["identity"]["mtu"] = 9000
    assert next(item for item in cross_node_checks(results, SETTINGS)["cluster"] if item["id"] == "same_mtu")["hosts"] == ["c"]


def test_other_pod_networks_have_routers():
    assert run({"node_ip": "198.51.100.1"}, settings={"cni": "calico"})["same_network"]["status"] == "pass"


BASE = node(1)["routes"]


@pytest.mark.parametrize(
    ("status", "more"),
    [
        # the network of the machines, of another card, an address of this node
        ("fail", route("10.244.0.0/16")),
        ("fail", route("10.0.0.0/8")),
        ("fail", route("10.100.0.0/24", "eth1")),
        ("fail", route("10.244.7.7/32", kind="local")),
        # behind a router: inside of the range it collides, a larger one only hides machines
        ("fail", route("10.244.3.0/24", gateway="192.0.2.254")),
        ("warn", route("10.0.0.0/8", gateway="192.0.2.254")),
        ("fail", route("10.244.0.64/26", "", kind="blackhole")),
        ("pass", route("10.0.0.0/8", "", kind="blackhole")),
        ("pass", route("10.243.0.0/16")),
        ("pass", route("::/0", gateway="fe80::1")),
        ("pass", route("2001:db8::/64")),
        # the pod network's own interfaces are told by check leftovers
        ("pass", route("10.244.1.0/24", "flannel.1", "10.244.1.0")),
        ("pass", route("10.96.0.1/32", "kube-ipvs0", kind="local")),
        # load balancer addresses belong into the network of the machines, but not on a machine or into a bridge
        ("fail", route("192.0.2.241/32", kind="local")),
        ("fail", route("192.0.2.0/24", "docker0")),
        ("warn", route("192.0.2.244/32", gateway="192.0.2.254")),
        ("pass", route("192.0.2.0/24", "eth1")),
    ],
)
def test_routes(status, more):
    item = run(routes=[*BASE, more])["range_routes"]
    assert item["status"] == status, item
    if status != "pass":
        assert more["destination"] in item["observed"] and item["fix"]


@pytest.mark.parametrize(
    ("member", "more", "status"),
    [
        (True, route("10.244.1.0/24", gateway="192.0.2.2"), "pass"),
        (False, route("10.244.1.0/24", gateway="192.0.2.2"), "fail"),
        (True, route("10.244.1.0/24", gateway="192.0.2.254"), "fail"),
        (True, route("10.244.0.64/26", "", kind="blackhole"), "pass"),
        (True, route("10.100.0.0/24", gateway="192.0.2.2"), "fail"),
        (True, route("10.244.0.0/16"), "fail"),
    ],
)
def test_own_routes_of_a_running_cluster(member, more, status):
    assert run(routes=[*BASE, more], facts={"member": member})["range_routes"]["status"] == status


@pytest.mark.parametrize(
    ("resolvers", "status"),
    [(["10.96.0.10"], "fail"), (["192.0.2.245"], "fail"), (["10.244.0.1", "192.0.2.53"], "fail"), (["2001:db8::53"], "pass"), (None, "unknown")],
)
def test_resolvers(resolvers, status):
    item = run(resolvers=resolvers)["range_resolvers"]
    assert item["status"] == status
    assert resolvers is None or status == "pass" or resolvers[0] in item["observed"]


def test_a_host_without_a_result_is_unknown_everywhere():
    found = cross_node_checks({"a": node(1), "b": {}}, SETTINGS)
    assert {item["id"]: item["status"] for item in found["cluster"]} == {name: "unknown" for name in list(CHECKS)[:7]}
    assert all(item["hosts"] == ["b"] for item in found["cluster"])
    assert [item["status"] for item in found["hosts"]["b"]] == ["unknown", "unknown"]
    assert [item["status"] for item in found["hosts"]["a"]] == ["pass", "pass"]


def test_no_host_and_no_range_pass_nothing():
    found = cross_node_checks({}, {"cni": "bridge"})
    assert {item["status"] for item in found["cluster"]} == {"unknown"} and found["hosts"] == {}
    assert {item["status"] for item in cross_node_checks({"a": node(1)}, {})["hosts"]["a"]} == {"unknown"}


def test_worst_first():
    statuses = [item["status"] for item in cross_node_checks({"a": node(1, mtu=1450, product_uuid=""), "b": node(2, hostname="n1")}, SETTINGS)["cluster"]]
    assert statuses[:3] == ["fail", "unknown", "warn"] and set(statuses[3:]) == {"pass"}


def test_ranges_of_two_families():
    found = run(settings={"pod_cidr": "10.244.0.0/16,fd00:10::/56"}, routes=[*BASE, route("fd00:10::/64")])
    assert "fd00:10::/56 with fd00:10::/64" in found["range_routes"]["observed"]


@pytest.mark.parametrize(("results", "settings"), [([], {}), ({}, []), ({}, {"pod_cidr": "pods"}), ({"a": {"routes": [{}]}}, {"pod_cidr": "10.244.0.0/16"})])
def test_input_that_cannot_be_used(results, settings):
    with pytest.raises(AnsibleFilterError, match="^cross_node_checks: "):
        cross_node_checks(results, settings)


def test_the_range_is_named():
    with pytest.raises(AnsibleFilterError, match="pod range 'pods'"):
        cross_node_checks({}, {"pod_cidr": "pods"})


def test_the_input_stays_as_it_was():
    results = {"a": node(1), "b": node(2)}
    before = copy.deepcopy(results)
    FilterModule().filters()["cross_node_checks"](results, SETTINGS)
    assert results == before


VALUE = st.sampled_from(["", "x", "y"])


@given(st.dictionaries(st.sampled_from("abcdef"), st.fixed_dictionaries({"machine_id": VALUE, "hostname": VALUE, "node_ip": VALUE}), max_size=6))
def test_unique_passes_exactly_when_all_are_known_and_differ(identities):
    found = cross_node_checks({host: {"identity": identity} for host, identity in identities.items()}, {})
    for identifier, key in (("unique_machine_id", "machine_id"), ("unique_hostname", "hostname"), ("unique_node_ip", "node_ip")):
        values = [identity[key] for identity in identities.values()]
        item = next(item for item in found["cluster"] if item["id"] == identifier)
        assert (item["status"] == "pass") == (bool(values) and "" not in values and len(set(values)) == len(values))
        known = [value for value in values if value]
        assert (item["status"] == "fail") == (len(set(known)) < len(known))
