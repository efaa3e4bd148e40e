# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter cilium_resources: what Cilium is told about BGP peers and load balancers."""

from __future__ import annotations

import jsonschema
import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.filter.cilium_problems import cilium_problems
from ansible_collections.baremetal.kubernetes.plugins.filter.cilium_resources import cilium_resources

SETTINGS = {
    "pod_cidr": "10.244.0.0/16",
    "proxy_mode": "none",
    "bgp_as_number": 64512,
    "bgp_peers": [],
    "bgp_passwords": {},
    "bgp_advertise": ["pod_cidr"],
    "load_balancer": "none",
    "load_balancer_ranges": [],
    "l2_interfaces": [],
}
LABELS = {"app.kubernetes.io/managed-by": "baremetal.kubernetes", "app.kubernetes.io/component": "cni-cilium"}
ANNOUNCED = {"matchExpressions": [{"key": "baremetal.kubernetes/not-announced", "operator": "DoesNotExist"}]}
ROUTER = {"address": "192.0.2.1", "as_number": 64500}


def closed(required=(), **properties):
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


STRING = {"type": "string", "minLength": 1}
NUMBER = {"type": "integer", "minimum": 1}
SELECTOR = closed(
    matchLabels={"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}},
    matchExpressions={
        "type": "array",
        "items": closed(["key", "operator"], key=STRING, operator={"enum": ["In", "NotIn", "Exists", "DoesNotExist"]}),
    },
)
# Our own, of the fields that we use, after the Go types and CRDs of Cilium 1.20 (pkg/k8s/apis/cilium.io).
SPECS = {
    ("cilium.io/v2", "CiliumBGPClusterConfig"): closed(
        ["bgpInstances"],
        nodeSelector=SELECTOR,
        bgpInstances={
            "type": "array",
            "minItems": 1,
            "maxItems": 16,
            "items": closed(
                ["name"],
                name=STRING,
                localASN={**NUMBER, "maximum": 4294967295},
                peers={
                    "type": "array",
                    "items": closed(
                        ["name"],
                        name=STRING,
                        peerAddress={"type": "string", "pattern": "^[0-9a-f.:]+$"},
                        peerASN={**NUMBER, "maximum": 4294967295},
                        peerConfigRef=closed(["name"], name=STRING),
                    ),
                },
            ),
        },
    ),
    ("cilium.io/v2", "CiliumBGPPeerConfig"): closed(
        transport=closed(peerPort={**NUMBER, "maximum": 65535}),
        timers=closed(
            connectRetryTimeSeconds=NUMBER, holdTimeSeconds={"type": "integer", "minimum": 3, "maximum": 65535}, keepAliveTimeSeconds=NUMBER
        ),
        authSecretRef=STRING,
        gracefulRestart=closed(["enabled"], enabled={"type": "boolean"}),
        ebgpMultihop={**NUMBER, "maximum": 255},
        families={
            "type": "array",
            "items": closed(["afi", "safi"], afi={"enum": ["ipv4", "ipv6"]}, safi={"const": "unicast"}, advertisements=SELECTOR),
        },
    ),
    ("cilium.io/v2", "CiliumBGPAdvertisement"): closed(
        ["advertisements"],
        advertisements={
            "type": "array",
            "items": closed(
                ["advertisementType"],
                advertisementType={"enum": ["PodCIDR", "Service"]},
                service=closed(
                    ["addresses"],
                    addresses={"type": "array", "minItems": 1, "items": {"enum": ["LoadBalancerIP", "ClusterIP", "ExternalIP"]}},
                ),
                selector=SELECTOR,
            ),
        },
    ),
    ("cilium.io/v2", "CiliumLoadBalancerIPPool"): closed(
        blocks={
            "type": "array",
            "minItems": 1,
            "items": {"oneOf": [closed(["cidr"], cidr=STRING), closed(["start", "stop"], start=STRING, stop=STRING)]},
        }
    ),
    ("cilium.io/v2alpha1", "CiliumL2AnnouncementPolicy"): closed(
        loadBalancerIPs={"const": True}, serviceSelector=SELECTOR, interfaces={"type": "array", "items": STRING}
    ),
}


def resources(**changed):
    """Every object by kind and name, valid by the schemas."""
    result = cilium_resources({**SETTINGS, **changed})
    found = {}
    for item in result["objects"]:
        assert list(item) == ["apiVersion", "kind", "metadata", "spec"]
        assert item["metadata"]["labels"] == LABELS
        jsonschema.validate(item["spec"], SPECS[item["apiVersion"], item["kind"]])
        assert f"{item['apiVersion']}/{item['kind']}" in result["prune_kinds"]
        found[item["kind"].replace("Cilium", ""), item["metadata"]["name"]] = item["spec"]
    assert len(found) == len(result["objects"])
    assert result["prune_label"] == "app.kubernetes.io/managed-by=baremetal.kubernetes,app.kubernetes.io/component=cni-cilium"
    return found


def test_nothing_is_wanted():
    assert resources() == {}
    assert cilium_resources(SETTINGS)["wait_conditions"] == []


def test_one_router_for_all_nodes():
    assert resources(bgp_peers=[ROUTER]) == {
        ("BGPClusterConfig", "baremetal-kubernetes"): {
            "bgpInstances": [
                {
                    "name": "as64512",
                    "localASN": 64512,
                    "peers": [
                        {
                            "name": "peer-192-0-2-1",
                            "peerAddress": "192.0.2.1",
                            "peerASN": 64500,
                            "peerConfigRef": {"name": "peer-192-0-2-1"},
                        }
                    ],
                }
            ]
        },
        ("BGPPeerConfig", "peer-192-0-2-1"): {
            "gracefulRestart": {"enabled": True},
            "families": [{"afi": "ipv4", "safi": "unicast", "advertisements": {"matchLabels": LABELS}}],
        },
        ("BGPAdvertisement", "baremetal-kubernetes"): {"advertisements": [{"advertisementType": "PodCIDR"}]},
    }


def test_every_field_of_a_peer():
    peer = {
        **ROUTER,
        "name": "tor1",
        "port": 1790,
        "multihop": 3,
        "connect_retry_seconds": 10,
        "hold_seconds": 9,
        "keepalive_seconds": 3,
        "password_secret": "tor-password",
    }
    assert resources(bgp_peers=[peer])["BGPPeerConfig", "tor1"] == {
        "gracefulRestart": {"enabled": True},
        "families": [{"afi": "ipv4", "safi": "unicast", "advertisements": {"matchLabels": LABELS}}],
        "transport": {"peerPort": 1790},
        "timers": {"connectRetryTimeSeconds": 10, "holdTimeSeconds": 9, "keepAliveTimeSeconds": 3},
        "ebgpMultihop": 3,
        "authSecretRef": "tor-password",
    }


def test_routers_of_racks():
    peers = [
        {"address": "192.0.2.1", "as_number": 64501, "name": "rack1a", "nodes": {"rack": "1"}},
        {"address": "192.0.2.2", "as_number": 64501, "name": "rack1b", "nodes": {"rack": "1"}},
        {"address": "198.51.100.1", "as_number": 64502, "name": "rack2", "nodes": {"rack": "2"}},
    ]
    found = resources(bgp_peers=peers)
    selected = {
        name: (spec["nodeSelector"], [peer["name"] for peer in spec["bgpInstances"][0]["peers"]])
        for (kind, name), spec in found.items()
        if kind == "BGPClusterConfig"
    }
    assert sorted(selected.values(), key=str) == [
        ({"matchLabels": {"rack": "1"}}, ["rack1a", "rack1b"]),
        ({"matchLabels": {"rack": "2"}}, ["rack2"]),
    ]
    assert [name for kind, name in found if kind == "BGPPeerConfig"] == ["rack1a", "rack1b", "rack2"]


def test_a_new_rack_leaves_the_configurations_of_the_others_alone():
    """Cilium's operator removes a node's sessions when the configuration they come from selects other nodes."""

    def by_rack(*racks):
        found = resources(bgp_peers=[{"address": f"192.0.2.{rack}", "as_number": 64500, "nodes": {"rack": rack}} for rack in racks])
        return {spec["nodeSelector"]["matchLabels"]["rack"]: name for (kind, name), spec in found.items() if kind == "BGPClusterConfig"}

    before, after = by_rack(2, 3), by_rack(1, 2, 3)
    assert len(set(after.values())) == 3
    assert {rack: after[rack] for rack in before} == before


def test_the_same_address_in_two_racks():
    peers = [{"address": "169.254.0.1", "as_number": 64500 + rack, "nodes": {"rack": rack}} for rack in (1, 2)]
    found = resources(bgp_peers=peers)
    numbers = [spec["bgpInstances"][0]["peers"][0]["peerASN"] for (kind, _name), spec in found.items() if kind == "BGPClusterConfig"]
    assert numbers == [64501, 64502]
    assert [name for kind, name in found if kind == "BGPPeerConfig"] == ["peer-169-254-0-1"]


def test_ipv6():
    found = resources(pod_cidr="fd00:10:244::/56", bgp_peers=[{"address": "2001:DB8::1", "as_number": 4200000000}])
    peer = found["BGPClusterConfig", "baremetal-kubernetes"]["bgpInstances"][0]["peers"][0]
    assert (peer["name"], peer["peerAddress"], peer["peerASN"]) == ("peer-2001-db8--1", "2001:db8::1", 4200000000)
    assert found["BGPPeerConfig", "peer-2001-db8--1"]["families"][0]["afi"] == "ipv6"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"bgp_advertise": ["pod_cidr"]}, [{"advertisementType": "PodCIDR"}]),
        (
            {"bgp_advertise": ["external_ip", "cluster_ip"]},
            [{"advertisementType": "Service", "service": {"addresses": ["ClusterIP", "ExternalIP"]}, "selector": ANNOUNCED}],
        ),
        (
            {"bgp_advertise": ["pod_cidr"], "load_balancer": "bgp", "load_balancer_ranges": ["203.0.113.0/26"]},
            [
                {"advertisementType": "PodCIDR"},
                {"advertisementType": "Service", "service": {"addresses": ["LoadBalancerIP"]}, "selector": ANNOUNCED},
            ],
        ),
        (
            {"bgp_advertise": [], "load_balancer": "bgp", "load_balancer_ranges": ["203.0.113.0/26"]},
            [{"advertisementType": "Service", "service": {"addresses": ["LoadBalancerIP"]}, "selector": ANNOUNCED}],
        ),
    ],
)
def test_what_is_announced(changed, expected):
    assert resources(bgp_peers=[ROUTER], **changed)["BGPAdvertisement", "baremetal-kubernetes"] == {"advertisements": expected}


def test_addresses_on_layer_2():
    ranges = ["203.0.113.0/26", "203.0.113.100-203.0.113.120", "203.0.113.200"]
    assert resources(load_balancer="l2", load_balancer_ranges=ranges, l2_interfaces=["^bond0$"]) == {
        ("LoadBalancerIPPool", "baremetal-kubernetes"): {
            "blocks": [
                {"cidr": "203.0.113.0/26"},
                {"start": "203.0.113.100", "stop": "203.0.113.120"},
                {"start": "203.0.113.200", "stop": "203.0.113.200"},
            ]
        },
        ("L2AnnouncementPolicy", "baremetal-kubernetes"): {
            "loadBalancerIPs": True,
            "serviceSelector": ANNOUNCED,
            "interfaces": ["^bond0$"],
        },
    }
    policy = resources(load_balancer="l2", load_balancer_ranges=ranges)["L2AnnouncementPolicy", "baremetal-kubernetes"]
    assert policy == {"loadBalancerIPs": True, "serviceSelector": ANNOUNCED}


def test_passwords_become_secrets_and_are_in_no_object():
    peers = [dict(ROUTER, name="tor1"), {"address": "192.0.2.2", "as_number": 64500}]
    result = cilium_resources({**SETTINGS, "bgp_peers": peers, "bgp_passwords": {"tor1": "s3cret"}})
    assert result["secrets"] == [{"name": "bgp-tor1", "namespace": "kube-system", "labels": LABELS, "data": {"password": "s3cret"}}]
    assert "s3cret" not in str(result["objects"]) + str(result["wait_conditions"])
    references = {
        item["metadata"]["name"]: item["spec"].get("authSecretRef") for item in result["objects"] if item["kind"] == "CiliumBGPPeerConfig"
    }
    assert references == {"tor1": "bgp-tor1", "peer-192-0-2-2": None}
    assert "v1/Secret" in result["prune_kinds"]


def test_what_the_operator_has_to_say():
    peers = [dict(ROUTER, name="tor1", password_secret="x"), {"address": "192.0.2.2", "as_number": 64500}]
    assert [
        (item["name"], item["condition"], item["status"]) for item in cilium_resources({**SETTINGS, "bgp_peers": peers})["wait_conditions"]
    ] == [
        ("baremetal-kubernetes", "cilium.io/NoMatchingNode", "False"),
        ("baremetal-kubernetes", "cilium.io/MissingPeerConfigs", "False"),
        ("baremetal-kubernetes", "cilium.io/ConflictingClusterConfig", "False"),
        ("tor1", "cilium.io/MissingAuthSecret", "False"),
    ]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"bgp_peers": [{"address": "tor1", "as_number": 1}]}, "the address of a BGP peer 'tor1' is not an IP address"),
        ({"bgp_peers": [{"address": "192.0.2.1"}]}, "(192.0.2.1) has no as_number"),
        ({"bgp_peers": [{"as_number": 1}]}, "has no address"),
        ({"bgp_peers": [dict(ROUTER, name="Tor 1")]}, "the name of BGP peer 192.0.2.1 is 'Tor 1', but must be small letters"),
        ({"bgp_peers": [dict(ROUTER, asn=1)]}, "BGP peer 192.0.2.1 has asn, but a peer has only address, as_number"),
        ({"bgp_peers": [dict(ROUTER, as_number=0)]}, "as_number of 192.0.2.1 is 0, but must be a number from 1 to 4294967295"),
        ({"bgp_peers": [dict(ROUTER, hold_seconds=2)]}, "hold_seconds of 192.0.2.1 is 2"),
        ({"bgp_peers": [ROUTER], "bgp_as_number": 0}, "cni_cilium_bgp_as_number is 0, but must be a number from 1 to 4294967295"),
        ({"bgp_peers": [ROUTER, {"address": "192.0.2.2", "as_number": 1, "nodes": {"rack": "1"}}]}, "a node one list of peers only"),
        (
            {"bgp_peers": [dict(ROUTER, name="a"), {"address": "192.0.2.2", "as_number": 1, "name": "a", "port": 1790}]},
            "two BGP peers are a, but differ",
        ),
        ({"bgp_peers": [ROUTER, ROUTER]}, "two BGP peers of the same nodes are peer-192-0-2-1"),
        ({"bgp_peers": [ROUTER, dict(ROUTER, name="b")]}, "two BGP peers of the same nodes are 192.0.2.1; remove one"),
        ({"bgp_peers": ["192.0.2.1"]}, "a BGP peer is '192.0.2.1', but must be a dict of address, as_number"),
        ({"bgp_peers": [dict(ROUTER, nodes=["rack"])]}, "nodes of 192.0.2.1 is ['rack'], but must be a dict of labels"),
        ({"bgp_peers": ROUTER}, "cni_cilium_bgp_peers must be a list"),
        ({"bgp_peers": [dict(ROUTER, hold_seconds=9)]}, "hold_seconds of 192.0.2.1 is 9 and keepalive_seconds 30, but"),
        ({"bgp_peers": [dict(ROUTER, keepalive_seconds=91)]}, "hold_seconds of 192.0.2.1 is 90 and keepalive_seconds 91, but"),
        ({"bgp_peers": [dict(ROUTER, name="a")], "bgp_passwords": {"a": ""}}, "the BGP password for a is empty"),
        (
            {"bgp_peers": [dict(ROUTER, name="a", password_secret="b")], "bgp_passwords": {"a": "x"}},
            "there is a BGP password for a, and its peer has password_secret too",
        ),
        ({"bgp_peers": [ROUTER], "bgp_advertise": ["services"]}, "bgp_advertise has 'services'"),
        ({"bgp_peers": [ROUTER], "bgp_advertise": []}, "the BGP peers are told nothing"),
        (
            {"bgp_peers": [ROUTER], "bgp_passwords": {"tor9": "x"}},
            "a BGP password for tor9, but no such peer; the peers are peer-192-0-2-1",
        ),
        ({"bgp_passwords": {"tor9": "x"}}, "the peers are none"),
        ({"load_balancer": "l2"}, "there are no addresses to hand out"),
        (
            {"load_balancer": "l2", "load_balancer_ranges": ["203.0.113.9-203.0.113.1"]},
            "range '203.0.113.9-203.0.113.1' is a range whose last address",
        ),
        ({"load_balancer": "l2", "proxy_mode": "ipvs"}, "only in kube-proxy's place"),
    ],
)
def test_what_cannot_be_is_refused(changed, sentence):
    with pytest.raises(AnsibleFilterError, match="^cilium_resources: ") as error:
        cilium_resources({**SETTINGS, **changed})
    assert sentence in str(error.value)


def test_all_problems_are_told_at_once():
    wrong = {
        "bgp_peers": [{"address": "192.0.2.1", "asn": 64500}, {"address": "192.0.2.300", "as_number": "x", "port": 0}],
        "bgp_passwords": {"peer-192-0-2-1": "s3cret"},
        "bgp_as_number": 0,
        "bgp_advertise": ["services"],
        "load_balancer": "metallb",
        "load_balancer_ranges": ["203.0.113.0/33"],
        "l2_interfaces": "bond0",
        "devices": "bond0",
        "extra": [],
    }
    problems = cilium_problems({**SETTINGS, **wrong})
    parts = [
        "load_balancer is 'metallb'", "has asn", "has no as_number", "'192.0.2.300' is not", "as_number of 192.0.2.300 is 'x'",
        "port of 192.0.2.300 is 0", "cni_cilium_bgp_as_number is 0", "bgp_advertise has 'services'", "'203.0.113.0/33' is",
        "cni_cilium_l2_interfaces must be a list", "cni_cilium_devices must be a list", "cni_cilium_values must be a dict",
    ]  # fmt: skip
    assert [part in problem for part, problem in zip(parts, problems)] == [True] * len(parts) == [True] * len(problems), problems
    assert all(problem.endswith(".") for problem in problems)
    assert "s3cret" not in str(problems)
    assert cilium_problems({**SETTINGS, "devices": [], "extra": {}}) == []


def test_what_is_told_as_a_problem_is_what_the_filter_refuses():
    wrong = {**SETTINGS, "bgp_peers": [dict(ROUTER, port=0, hold_seconds=2)], "devices": [], "extra": {}}
    with pytest.raises(AnsibleFilterError) as error:
        cilium_resources(wrong)
    assert len(cilium_problems(wrong)) == 2
    assert all(problem.rstrip(".") in str(error.value) for problem in cilium_problems(wrong))


def test_the_peers_whose_sessions_are_waited_for():
    peers = [dict(ROUTER, name="tor1", nodes={"rack": 1}), {"address": "2001:DB8::1", "as_number": 1, "nodes": {"rack": 2}, "port": 1790}]
    assert cilium_resources({**SETTINGS, "bgp_peers": peers})["peers"] == [
        {"name": "tor1", "address": "192.0.2.1", "nodes": {"rack": "1"}, "port": 179},
        {"name": "peer-2001-db8--1", "address": "2001:db8::1", "nodes": {"rack": "2"}, "port": 1790},
    ]


addresses = st.ip_addresses().filter(lambda address: not address.is_unspecified).map(str)
labels = st.dictionaries(st.sampled_from(["rack", "row", "zone"]), st.sampled_from(["1", "2", "3"]), min_size=1)


@given(st.lists(st.tuples(addresses, st.integers(1, 4294967295), labels), min_size=1, max_size=8, unique_by=lambda item: item[0]))
@settings(max_examples=30, deadline=None)
def test_every_peer_is_told_to_exactly_the_nodes_that_it_names(given_peers):
    peers = [{"address": address, "as_number": number, "nodes": nodes} for address, number, nodes in given_peers]
    made = resources(bgp_peers=peers)
    found = [
        (peer["peerAddress"], peer["peerASN"], spec["nodeSelector"]["matchLabels"])
        for (kind, _name), spec in made.items()
        if kind == "BGPClusterConfig"
        for peer in spec["bgpInstances"][0]["peers"]
    ]
    assert all(name[-1].isalnum() for kind, name in made)
    assert sorted(found, key=str) == sorted(given_peers, key=str)
