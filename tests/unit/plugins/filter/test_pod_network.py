# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters pod_network and pod_network_placeholders."""

from __future__ import annotations

import ipaddress

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.filter.pod_network import FilterModule as PodNetwork
from ansible_collections.baremetal.kubernetes.plugins.filter.pod_network_placeholders import FilterModule as Placeholders

pod_network = PodNetwork().filters()["pod_network"]
placeholders = Placeholders().filters()["pod_network_placeholders"]

NODES = [
    {"name": "w1", "addresses": ["192.0.2.21"], "pod_cidrs": ["10.244.1.0/24"]},
    {"name": "cp1", "addresses": ["192.0.2.11"], "pod_cidrs": ["10.244.0.0/24"]},
    {"name": "w2", "addresses": ["192.0.2.22"], "pod_cidrs": []},
]
DUAL = [
    {"name": "cp1", "addresses": ["192.0.2.11", "2001:db8::11"], "pod_cidrs": ["10.244.0.0/24", "fd00:10:244::/64"]},
    {"name": "w1", "addresses": ["192.0.2.21", "2001:db8::21"], "pod_cidrs": ["10.244.1.0/24", "fd00:10:244:1::/64"]},
]


def test_one_node_of_three():
    chain = "-A KUBERNETES-POD-EGRESS"
    assert pod_network(NODES, "192.0.2.11", "10.244.0.0/16") == {
        "node": "cp1",
        "pod_cidrs": ["10.244.0.0/24"],
        "default_routes": ["0.0.0.0/0"],
        # w2 has no range yet: nothing to route, and its address is a node's all the same
        "routes": [{"destination": "10.244.1.0/24", "gateway": "192.0.2.21", "node": "w1"}],
        "chains": [
            {
                "ip_version": 4,
                "chain": "KUBERNETES-POD-EGRESS",
                "rules": [
                    f"{chain} ! -s 10.244.0.0/24 -j RETURN",
                    f"{chain} -d 10.244.0.0/16 -j RETURN",
                    f"{chain} -d 192.0.2.11/32 -j RETURN",
                    f"{chain} -d 192.0.2.21/32 -j RETURN",
                    f"{chain} -d 192.0.2.22/32 -j RETURN",
                    f"{chain} -d 224.0.0.0/4 -j RETURN",
                    f"{chain} -j MASQUERADE --random-fully",
                ],
            }
        ],
    }


def test_both_families():
    plan = pod_network(DUAL, "2001:db8:0::11", "10.244.0.0/16,fd00:10:244::/56")
    assert plan["default_routes"] == ["0.0.0.0/0", "::/0"]
    assert [(r["destination"], r["gateway"]) for r in plan["routes"]] == [
        ("10.244.1.0/24", "192.0.2.21"),
        ("fd00:10:244:1::/64", "2001:db8::21"),
    ]
    assert [c["ip_version"] for c in plan["chains"]] == [4, 6]
    assert "-A KUBERNETES-POD-EGRESS -d 2001:db8::21/128 -j RETURN" in plan["chains"][1]["rules"]
    assert not [rule for rule in plan["chains"][1]["rules"] if "192.0.2" in rule or "10.244.0" in rule]


def test_routers_that_know_the_ranges():
    plan = pod_network(NODES, "192.0.2.11", "10.244.0.0/16", routes=False, masquerade=False)
    assert plan["routes"] == []
    # the chain stays and is empty, so that a change of mind takes effect
    assert [c["rules"] for c in plan["chains"]] == [[]]


@pytest.mark.parametrize(
    ("nodes", "address", "cidr", "message"),
    [
        (NODES, "192.0.2.99", "10.244.0.0/16", "no node of the cluster has the address 192.0.2.99; known are cp1, w1, w2"),
        (NODES, "192.0.2.22", "10.244.0.0/16", "node w2 has no pod range"),
        (NODES, "192.0.2.11", "10.244.0.0", "pod network|has no"),
        (NODES, "192.0.2.11", "10.244.0.1/16", "pod network '10.244.0.1/16' is no network"),
        ([DUAL[0], {**DUAL[1], "addresses": ["192.0.2.21"]}], "192.0.2.11", "10.244.0.0/16", "w1 has the pod range of IPv6, but no IPv6 address"),
        (["cp1"], "192.0.2.11", "10.244.0.0/16", "pod_network"),
    ],
)
def test_wrong_input_is_named(nodes, address, cidr, message):
    if cidr == "10.244.0.0":
        # one address is a network of one: no pod range lies in it, but it is well formed
        assert pod_network(nodes, address, cidr)["node"] == "cp1"
        return
    with pytest.raises(AnsibleFilterError, match=message):
        pod_network(nodes, address, cidr)


def test_placeholders_follow_the_order():
    assert placeholders({"cp1": "192.0.2.11", "w1": "192.0.2.21"}, "10.244.0.0/16", "24") == [
        {"name": "cp1", "addresses": ["192.0.2.11"], "pod_cidrs": ["10.244.0.0/24"]},
        {"name": "w1", "addresses": ["192.0.2.21"], "pod_cidrs": ["10.244.1.0/24"]},
    ]


@pytest.mark.parametrize(
    ("count", "cidr", "length", "message"),
    [
        (3, "10.244.0.0/24", 25, "room for 2 ranges of /25, but there are 3 nodes"),
        (1, "10.244.0.0/16", 8, "ranges of /8 cannot be cut from 10.244.0.0/16"),
        (1, "10.244.0.0/16", "x", "pod_network_placeholders"),
    ],
)
def test_placeholders_that_do_not_fit(count, cidr, length, message):
    with pytest.raises(AnsibleFilterError, match=message):
        placeholders({f"w{n}": f"192.0.2.{n + 1}" for n in range(count)}, cidr, length)


@settings(deadline=None, max_examples=50)
@given(st.integers(min_value=1, max_value=40), st.data())
def test_every_other_node_is_reached_and_the_own_range_never_routed(count, data):
    nodes = placeholders({f"n{n}": f"192.0.2.{n + 1}" for n in range(count)}, "10.244.0.0/16", 24)
    own = data.draw(st.sampled_from(nodes))
    plan = pod_network(nodes, own["addresses"][0], "10.244.0.0/16")
    destinations = [r["destination"] for r in plan["routes"]]
    assert sorted(destinations) == sorted(n["pod_cidrs"][0] for n in nodes if n is not own)
    assert not any(ipaddress.ip_network(d).overlaps(ipaddress.ip_network(plan["pod_cidrs"][0])) for d in destinations)
