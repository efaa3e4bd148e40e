# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which BGP sessions each node of small clusters must have, counted by hand; and the selectors that decide about them."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.filter.calico_expected_peers import calico_expected_peers
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._calico_selector import SelectorError, parse
from hypothesis import given
from hypothesis import strategies as st


def node(number: int, **labels: str) -> dict[str, t.Any]:
    return {"name": f"n{number}", "uid": f"u{number}", "addresses": [f"192.0.2.{number}", f"2001:db8::{number}"], "labels": labels}


NODES = [node(1, rack="a"), node(2, rack="a"), node(10, rack="b"), node(11)]
ROUTER_A = {"name": "a", "address": "192.0.2.101", "as_number": 64601, "node_selector": "rack == 'a'"}
ROUTER_ALL = {"name": "all", "address": "192.0.2.100", "as_number": 64600}


def peers(number: int, mesh: bool | None = None, **settings: t.Any) -> list[str]:
    """Last numbers of the expected addresses of node number."""
    found = calico_expected_peers(NODES, f"192.0.2.{number}", {"pod_cidr": "10.244.0.0/16", **settings}, mesh)
    assert all(text.startswith("192.0.2.") for text in found)
    return [text.rpartition(".")[2] for text in found]


def test_the_mesh_is_all_others() -> None:
    assert peers(1) == ["2", "10", "11"]
    assert peers(11) == ["1", "2", "10"]


def test_alone() -> None:
    assert calico_expected_peers(NODES[:1], "192.0.2.1", {"pod_cidr": "10.244.0.0/16"}) == []


def test_no_bgp() -> None:
    assert peers(1, encapsulation="vxlan") == []


def test_both_families() -> None:
    found = calico_expected_peers(NODES[:2], "192.0.2.1", {"pod_cidr": "10.244.0.0/16,fd00::/56"})
    assert found == ["192.0.2.2", "2001:db8::2"]


def test_mesh_and_routers() -> None:
    routers = [ROUTER_A, ROUTER_ALL]
    assert peers(1, peers=routers) == ["2", "10", "11", "100", "101"]
    assert peers(10, peers=routers) == ["1", "2", "11", "100"]


def test_routers_alone() -> None:
    settings = {"pod_cidr": "10.244.0.0/16", "mesh": False, "peers": [ROUTER_A, ROUTER_ALL]}
    assert calico_expected_peers(NODES, "192.0.2.1", settings) == ["192.0.2.100", "192.0.2.101"]
    assert calico_expected_peers(NODES, "192.0.2.11", settings) == ["192.0.2.100"]
    # until the mesh is turned off it is there too
    assert calico_expected_peers(NODES, "192.0.2.11", settings, True) == ["192.0.2.1", "192.0.2.2", "192.0.2.10", "192.0.2.100"]


def test_reflectors_in_the_end_and_while_the_mesh_is_still_on() -> None:
    reflectors = {"route_reflectors": ["192.0.2.1", "192.0.2.2"]}
    assert peers(10, **reflectors) == ["1", "2"]
    assert peers(1, **reflectors) == ["2", "10", "11"]
    assert peers(10, True, **reflectors) == ["1", "2", "11"]
    # a reflector takes no part in the mesh, but has a session with everybody
    assert peers(1, True, **reflectors) == ["2", "10", "11"]


def test_a_reflector_and_a_router() -> None:
    assert peers(10, route_reflectors=["192.0.2.1"], peers=[ROUTER_A, ROUTER_ALL]) == ["1", "100"]
    assert peers(1, route_reflectors=["192.0.2.1"], peers=[ROUTER_A, ROUTER_ALL]) == ["2", "10", "11", "100", "101"]


def test_a_peer_that_is_a_node_has_the_other_half() -> None:
    inside = {"name": "inside", "address": "192.0.2.1", "as_number": 64512, "node_selector": "rack == 'b'"}
    settings = {"pod_cidr": "10.244.0.0/16", "mesh": False, "peers": [inside]}
    assert calico_expected_peers(NODES, "192.0.2.10", settings) == ["192.0.2.1"]
    assert calico_expected_peers(NODES, "192.0.2.1", settings) == ["192.0.2.10"]
    assert calico_expected_peers(NODES, "192.0.2.2", settings) == []
    # for all nodes, itself among them, it is no peer of its own
    everybody = settings | {"peers": [inside | {"node_selector": ""}]}
    assert calico_expected_peers(NODES, "192.0.2.1", everybody) == ["192.0.2.2", "192.0.2.10", "192.0.2.11"]
    # of another AS it is no node to Calico
    assert calico_expected_peers(NODES, "192.0.2.1", settings | {"peers": [inside | {"as_number": 1}]}) == []


def test_a_router_of_a_family_that_pods_do_not_have() -> None:
    assert peers(1, peers=[ROUTER_ALL | {"address": "2001:db8::100"}]) == ["2", "10", "11"]


@given(st.sets(st.integers(1, 250), min_size=2, max_size=12), st.data())
def test_whoever_expects_a_node_is_expected_by_it(numbers: set[int], data: st.DataObject) -> None:
    nodes = [node(number) for number in sorted(numbers)]
    reflectors = data.draw(st.sets(st.sampled_from(sorted(numbers))))
    mesh = data.draw(st.sampled_from([None, True, False]))
    settings = {"pod_cidr": "10.244.0.0/16", "route_reflectors": [f"192.0.2.{number}" for number in reflectors]}
    expected = {item["addresses"][0]: set(calico_expected_peers(nodes, item["addresses"][0], settings, mesh)) for item in nodes}
    for address, others in expected.items():
        assert address not in others
        assert all(address in expected[other] for other in others)
    if reflectors or mesh is not False:
        assert all(expected.values()), "a node without any session"


@pytest.mark.parametrize(
    ("address", "settings", "message"),
    [
        ("192.0.2.99", {}, "no node of the cluster has the address 192.0.2.99; known are n1, n10, n11, n2"),
        ("nonsense", {}, "nonsense"),
        ("192.0.2.1", {"peers": [ROUTER_ALL | {"node_selector": "rack"}]}, "node_selector of BGP peer all .* cannot be read"),
        ("192.0.2.1", {"pod_cidr": "x"}, "cluster_pod_cidr is 'x'"),
    ],
)
def test_refused(address: str, settings: dict[str, t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"^calico_expected_peers: .*{message}"):
        calico_expected_peers(NODES, address, {"pod_cidr": "10.244.0.0/16", **settings})


# --- selectors

LABELS = {"rack": "a", "example.com/zone": "north-1", "gpu": ""}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("all()", True),
        ("!all()", False),
        ("rack == 'a'", True),
        ('rack=="a"', True),
        ("rack == 'b'", False),
        ("row == 'a'", False),
        ("rack != 'b'", True),
        ("row != 'a'", True),
        ("has(gpu)", True),
        ("has( example.com/zone )", True),
        ("has(row)", False),
        ("!has(row)", True),
        ("!!has(row)", False),
        ("rack in {'a', 'b'}", True),
        ("rack in {}", False),
        ("row in {'a'}", False),
        ("rack not in {'a'}", False),
        ("rack notin {'b'}", True),
        ("row not in {'a'}", True),
        ("example.com/zone starts with 'north'", True),
        ("example.com/zone ends with '-2'", False),
        ("example.com/zone contains 'rth'", True),
        ("row contains ''", False),
        ("has(row) && has(rack) || has(gpu)", True),
        ("has(row) && (has(rack) || has(gpu))", False),
        ("has(gpu) || has(row) && has(row)", True),
        ("!has(row) && rack == 'a'", True),
        ("!(has(row) || rack == 'a')", False),
        ("rack == \"'\"", False),
        # labels may be called like words of the language
        ("in == 'a'", False),
        ("all == 'a' || rack == 'a'", True),
    ],
)
def test_selectors(selector: str, expected: bool) -> None:
    assert parse(selector)(LABELS) is expected


@pytest.mark.parametrize(
    "selector",
    [
        "",
        " ",
        "rack",
        "rack = 'a'",
        "rack == a",
        "rack == 'a",
        "rack == 'a' rack == 'a'",
        "rack == 'a' &&",
        "&& rack == 'a'",
        "rack == 'a' & has(gpu)",
        "(rack == 'a'",
        "rack == 'a')",
        "rack in 'a'",
        "rack in {'a'",
        "rack in {'a' 'b'}",
        "rack in {'a',}",
        "rack not 'a'",
        "rack starts 'a'",
        "has()",
        "has(rack",
        "all(",
        "!",
        "(" * 5000 + "all()" + ")" * 5000,
    ],
)
def test_selectors_that_cannot_be_read(selector: str) -> None:
    with pytest.raises(SelectorError):
        parse(selector)


_NAMES = st.sampled_from(["rack", "row", "gpu"])
_VALUES = st.sampled_from(["a", "b", ""])
# (text, function of the labels in Python)
_ATOMS = st.one_of(
    st.tuples(_NAMES, _VALUES).map(lambda pair: (f"{pair[0]} == '{pair[1]}'", lambda labels, p=pair: labels.get(p[0]) == p[1])),
    st.tuples(_NAMES, _VALUES).map(lambda pair: (f"{pair[0]} != '{pair[1]}'", lambda labels, p=pair: labels.get(p[0]) != p[1])),
    _NAMES.map(lambda name: (f"has({name})", lambda labels, n=name: n in labels)),
)
_TREES = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        inner.map(lambda one: (f"!({one[0]})", lambda labels, o=one: not o[1](labels))),
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]}) && ({two[1][0]})", lambda labels, w=two: w[0][1](labels) and w[1][1](labels))),
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]}) || ({two[1][0]})", lambda labels, w=two: w[0][1](labels) or w[1][1](labels))),
    ),
    max_leaves=8,
)


@given(_TREES, st.dictionaries(_NAMES, _VALUES))
def test_any_selector_means_what_it_says(tree: tuple[str, t.Callable[[dict[str, str]], bool]], labels: dict[str, str]) -> None:
    text, meaning = tree
    assert parse(text)(labels) is bool(meaning(labels))


@given(st.text(alphabet="ab =!&|(){}',hasin", max_size=30))
def test_no_text_makes_it_fail_in_another_way(text: str) -> None:
    try:
        parse(text)({"a": "b"})
    except SelectorError:
        pass
