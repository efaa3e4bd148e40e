# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters metallb_values and metallb_resources: what MetalLB's chart and MetalLB are told."""

from __future__ import annotations

import copy

import jsonschema
import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.filter.metallb_resources import metallb_resources
from ansible_collections.baremetal.kubernetes.plugins.filter.metallb_values import metallb_values
from ansible_collections.baremetal.kubernetes.plugins.module_utils._metallb_status import matches
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _metallb

SETTINGS = {
    "mode": "frr-k8s",
    "pools": [{"name": "default", "addresses": ["192.0.2.200-192.0.2.239"]}],
    "peers": [],
    "peer_passwords": {},
    "bfd_profiles": [],
    "communities": {},
    "as_number": 64512,
    "ignore_exclude_label": False,
    "workers": True,
    "extra": {},
}
LABELS = {"app.kubernetes.io/managed-by": "baremetal.kubernetes", "app.kubernetes.io/component": "metallb"}
ROUTER = {"name": "tor1", "address": "192.0.2.1", "as_number": 64500}


def closed(required=(), **properties):
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


STRING = {"type": "string", "minLength": 1}
STRINGS = {"type": "array", "minItems": 1, "uniqueItems": True, "items": STRING}
DURATION = {"type": "string", "pattern": "^[0-9]+s$"}
BOOLEAN = {"type": "boolean"}


def number(least, most):
    return {"type": "integer", "minimum": least, "maximum": most}


AS_NUMBER = number(1, 4294967295)
SELECTORS = {
    "type": "array",
    "minItems": 1,
    "items": closed(
        matchLabels={"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}},
        matchExpressions={
            "type": "array",
            "items": closed(["key", "operator"], key=STRING, operator={"enum": ["In", "NotIn", "Exists", "DoesNotExist"]}, values=STRINGS),
        },
    ),
}
# Our own, of the fields that we use, after the Go types of MetalLB 0.16.1 (api/v1beta1, api/v1beta2).
SPECS = {
    ("metallb.io/v1beta1", "IPAddressPool"): closed(
        ["addresses"],
        addresses={"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^[0-9a-f.:]+(/[0-9]+|-[0-9a-f.:]+)$"}},
        autoAssign=BOOLEAN,
        avoidBuggyIPs=BOOLEAN,
        serviceAllocation=closed(priority=number(1, 2**31 - 1), namespaces=STRINGS, serviceSelectors=SELECTORS),
    ),
    ("metallb.io/v1beta1", "L2Advertisement"): closed(
        ["ipAddressPools"], ipAddressPools=STRINGS, nodeSelectors=SELECTORS, interfaces=STRINGS
    ),
    ("metallb.io/v1beta1", "BGPAdvertisement"): closed(
        ["ipAddressPools"],
        ipAddressPools=STRINGS,
        nodeSelectors=SELECTORS,
        aggregationLength=number(1, 32),
        aggregationLengthV6=number(1, 128),
        localPref=number(0, 4294967295),
        communities=STRINGS,
        peers=STRINGS,
    ),
    ("metallb.io/v1beta2", "BGPPeer"): closed(
        ["myASN"],
        myASN=AS_NUMBER,
        peerASN=AS_NUMBER,
        localASN=AS_NUMBER,
        dynamicASN={"enum": ["internal", "external"]},
        peerAddress=STRING,
        interface=STRING,
        sourceAddress=STRING,
        peerPort=number(1, 16384),
        holdTime=DURATION,
        keepaliveTime=DURATION,
        connectTime=DURATION,
        routerID=STRING,
        nodeSelectors=SELECTORS,
        passwordSecret=closed(["name", "namespace"], name=STRING, namespace=STRING),
        bfdProfile=STRING,
        enableGracefulRestart=BOOLEAN,
        ebgpMultiHop=BOOLEAN,
        vrf=STRING,
        dualStackAddressFamily=BOOLEAN,
    ),
    ("metallb.io/v1beta1", "BFDProfile"): closed(
        receiveInterval=number(10, 60000),
        transmitInterval=number(10, 60000),
        detectMultiplier=number(2, 255),
        echoInterval=number(10, 60000),
        echoMode=BOOLEAN,
        passiveMode=BOOLEAN,
        minimumTtl=number(1, 254),
    ),
    ("metallb.io/v1beta1", "Community"): closed(
        communities={"type": "array", "items": closed(["name", "value"], name=STRING, value=STRING)}
    ),
}
# Everything that there is, for both modes.
FULL = {
    "pools": [
        {
            "name": "lan",
            "addresses": ["192.0.2.200", "192.0.2.208/29", "192.0.2.220 - 192.0.2.239"],
            "auto_assign": False,
            "avoid_buggy_ips": True,
            "priority": 10,
            "namespaces": ["web", "shop"],
            "services": {"tier": "front"},
            "interfaces": ["eth0", "bond0"],
            "nodes": [{"rack": 1}, {"matchExpressions": [{"key": "edge", "operator": "Exists"}]}],
        },
        {
            "name": "wan",
            "addresses": ["203.0.113.0/26"],
            "protocol": "bgp",
            "nodes": {"edge": True},
            "bgp": [
                {"aggregation_length": 28, "local_preference": 200, "communities": ["65535:65282", "cheap"], "peers": ["tor1"]},
                {"aggregation_length_v6": 64},
            ],
        },
        {"name": "others", "addresses": ["198.51.100.0/24"], "protocol": "none"},
    ],
    "peers": [
        {
            **ROUTER,
            "port": 1790,
            "source_address": "192.0.2.99",
            "hold_seconds": 90,
            "router_id": "192.0.2.100",
            "nodes": {"rack": "r1"},
            "multihop": True,
            "my_as_number": 64999,
        },
    ],
    "peer_passwords": {"tor1": "s3cret"},
    "communities": {"cheap": "64512:100"},
}
FRR = {
    "peers": [
        {
            **ROUTER,
            "keepalive_seconds": 3,
            "hold_seconds": 9,
            "connect_seconds": 5,
            "bfd_profile": "fast",
            "vrf": "red",
            "graceful_restart": True,
        },
        {"name": "v6", "address": "2001:db8::1", "dynamic_as_number": "external", "dual_stack": True, "local_as_number": 64000},
        {"name": "link", "interface": "eth1", "as_number": 64501, "password_secret": "bgp-link"},
    ],
    "bfd_profiles": [
        {
            "name": "fast",
            "receive_interval": 100,
            "transmit_interval": 100,
            "detect_multiplier": 3,
            "echo_interval": 50,
            "echo_mode": True,
            "passive_mode": False,
            "minimum_ttl": 254,
        }
    ],
    "communities": {"large": "large:64512:1:2"},
}


def resources(**changes):
    given_settings = {**SETTINGS, **changes}
    before = copy.deepcopy(given_settings)
    found = metallb_resources(given_settings)
    assert given_settings == before
    for item in found["objects"]:
        assert item["metadata"]["namespace"] == "metallb-system"
        assert item["metadata"]["labels"] == {**LABELS, "app.kubernetes.io/instance": item["metadata"]["name"]}
        jsonschema.validate(item["spec"], SPECS[(item["apiVersion"], item["kind"])])
    return found


def specs(found, kind):
    return {item["metadata"]["name"]: item["spec"] for item in found["objects"] if item["kind"] == kind}


def refused(**changes):
    with pytest.raises(AnsibleFilterError) as caught:
        resources(**changes)
    return str(caught.value)


# --- values


def test_values():
    assert metallb_values(SETTINGS) == {"frrk8s": {"enabled": True}, "speaker": {"frr": {"enabled": False}, "ignoreExcludeLB": False}}
    assert metallb_values({**SETTINGS, "mode": "native"})["frrk8s"] == {"enabled": False}


def test_values_without_workers():
    found = metallb_values({**SETTINGS, "workers": False, "ignore_exclude_label": True})
    assert found["speaker"]["ignoreExcludeLB"] is True
    assert found["controller"]["tolerations"] == [
        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "node-role.kubernetes.io/master", "operator": "Exists", "effect": "NoSchedule"},
    ]


def test_values_of_the_user_are_merged_last():
    found = metallb_values({**SETTINGS, "extra": {"speaker": {"logLevel": "debug", "ignoreExcludeLB": True}, "loadBalancerClass": "x"}})
    assert found["speaker"] == {"frr": {"enabled": False}, "ignoreExcludeLB": True, "logLevel": "debug"}


def test_values_refused():
    with pytest.raises(AnsibleFilterError, match="metallb_mode is 'frr', but must be one of frr-k8s, native"):
        metallb_values({**SETTINGS, "mode": "frr"})
    with pytest.raises(AnsibleFilterError, match="the setting 'mode' is missing"):
        metallb_values({})


# --- resources


def test_one_pool():
    """Golden."""
    found = resources()
    assert [(item["apiVersion"], item["kind"], item["metadata"]["name"], item["spec"]) for item in found["objects"]] == [
        (
            "metallb.io/v1beta1",
            "IPAddressPool",
            "default",
            {"addresses": ["192.0.2.200-192.0.2.239"], "autoAssign": True, "avoidBuggyIPs": False},
        ),
        ("metallb.io/v1beta1", "L2Advertisement", "default", {"ipAddressPools": ["default"]}),
    ]
    assert (found["secrets"], found["secret_placeholders"], found["namespace"]) == ([], [], "metallb-system")
    assert found["prune_label"] == "app.kubernetes.io/managed-by=baremetal.kubernetes,app.kubernetes.io/component=metallb"
    assert found["stale_pools"] == found["prune_label"] + ",app.kubernetes.io/instance notin (default)"
    assert found["workloads"] == [
        {"kind": "Deployment", "namespace": "metallb-system", "name": "metallb-controller"},
        {"kind": "DaemonSet", "namespace": "metallb-system", "name": "metallb-speaker"},
        {"kind": "DaemonSet", "namespace": "metallb-system", "name": "metallb-frr-k8s"},
        {"kind": "Deployment", "namespace": "metallb-system", "name": "metallb-frr-k8s-statuscleaner"},
    ]
    assert len(resources(mode="native")["workloads"]) == 2


@pytest.mark.parametrize("mode", ["frr-k8s", "native"])
def test_everything_of_both_modes(mode):
    """Golden."""
    found = resources(mode=mode, **FULL)
    assert specs(found, "IPAddressPool") == {
        "lan": {
            "addresses": ["192.0.2.200/32", "192.0.2.208/29", "192.0.2.220-192.0.2.239"],
            "autoAssign": False,
            "avoidBuggyIPs": True,
            "serviceAllocation": {
                "priority": 10,
                "namespaces": ["web", "shop", "metallb-system"],
                "serviceSelectors": [{"matchLabels": {"tier": "front"}}],
            },
        },
        "wan": {"addresses": ["203.0.113.0/26"], "autoAssign": True, "avoidBuggyIPs": False},
        "others": {"addresses": ["198.51.100.0/24"], "autoAssign": True, "avoidBuggyIPs": False},
    }
    assert specs(found, "L2Advertisement") == {
        "lan": {
            "ipAddressPools": ["lan"],
            "interfaces": ["eth0", "bond0"],
            "nodeSelectors": [{"matchLabels": {"rack": "1"}}, {"matchExpressions": [{"key": "edge", "operator": "Exists"}]}],
        }
    }
    nodes = [{"matchLabels": {"edge": "true"}}]
    assert specs(found, "BGPAdvertisement") == {
        "wan": {
            "ipAddressPools": ["wan"],
            "nodeSelectors": nodes,
            "aggregationLength": 28,
            "localPref": 200,
            "communities": ["65535:65282", "cheap"],
            "peers": ["tor1"],
        },
        "wan-2": {"ipAddressPools": ["wan"], "nodeSelectors": nodes, "aggregationLengthV6": 64},
    }
    assert specs(found, "BGPPeer") == {
        "tor1": {
            "myASN": 64999,
            "peerASN": 64500,
            "peerAddress": "192.0.2.1",
            "peerPort": 1790,
            "sourceAddress": "192.0.2.99",
            "routerID": "192.0.2.100",
            "holdTime": "90s",
            "ebgpMultiHop": True,
            "nodeSelectors": [{"matchLabels": {"rack": "r1"}}],
            "passwordSecret": {"name": "bgp-tor1", "namespace": "metallb-system"},
        }
    }
    assert specs(found, "Community") == {"communities": {"communities": [{"name": "cheap", "value": "64512:100"}]}}
    assert found["secrets"] == [
        {
            "name": "bgp-tor1",
            "namespace": "metallb-system",
            "type": "kubernetes.io/basic-auth",
            "labels": LABELS,
            "data": {"password": "s3cret"},
        }
    ]
    assert "s3cret" not in str({key: value for key, value in found.items() if key != "secrets"})


def test_everything_of_frr():
    """Golden."""
    found = resources(**FRR)
    assert specs(found, "BGPPeer") == {
        "tor1": {
            "myASN": 64512,
            "peerASN": 64500,
            "peerAddress": "192.0.2.1",
            "keepaliveTime": "3s",
            "holdTime": "9s",
            "connectTime": "5s",
            "bfdProfile": "fast",
            "vrf": "red",
            "enableGracefulRestart": True,
        },
        "v6": {
            "myASN": 64512,
            "dynamicASN": "external",
            "localASN": 64000,
            "peerAddress": "2001:db8::1",
            "dualStackAddressFamily": True,
        },
        "link": {
            "myASN": 64512,
            "peerASN": 64501,
            "interface": "eth1",
            "passwordSecret": {"name": "bgp-link", "namespace": "metallb-system"},
        },
    }
    assert specs(found, "BFDProfile") == {
        "fast": {
            "receiveInterval": 100,
            "transmitInterval": 100,
            "detectMultiplier": 3,
            "echoInterval": 50,
            "echoMode": True,
            "passiveMode": False,
            "minimumTtl": 254,
        }
    }


def test_what_is_referred_to_comes_first():
    kinds = [
        item["kind"]
        for item in resources(**{**FULL, **FRR, "pools": [{**FULL["pools"][1], "bgp": {"communities": ["large"]}}], "peer_passwords": {}})[
            "objects"
        ]
    ]
    assert list(dict.fromkeys(kinds)) == ["BFDProfile", "Community", "IPAddressPool", "BGPPeer", "BGPAdvertisement"]


def test_every_key_is_mapped():
    """A key that is accepted and has no effect would be believed to have one."""
    given_keys = {key for pool in FULL["pools"] for key in pool}
    assert given_keys == set(_metallb._POOL_KEYS)
    assert {key for row in FULL["pools"][1]["bgp"] for key in row} == set(_metallb._BGP_KEYS)
    assert {key for peer in FULL["peers"] + FRR["peers"] for key in peer} == set(_metallb._PEER_KEYS)
    assert set(FRR["bfd_profiles"][0]) == {"name", *_metallb._BFD_NUMBERS, *_metallb._BFD_FLAGS}


# --- the probe


def test_the_probe_gets_an_address_of_every_pool():
    found = resources(**FULL)["probe"]
    assert [item["metadata"]["name"] for item in found["objects"]] == ["probe-lan", "probe-wan", "probe-others"]
    service = found["objects"][0]
    assert service["metadata"] == {
        "name": "probe-lan",
        "namespace": "metallb-system",
        "labels": {"tier": "front", "baremetal.kubernetes/probe": "metallb"},
        "annotations": {"metallb.io/address-pool": "lan"},
    }
    assert service["spec"]["type"] == "LoadBalancer"
    # the labels that the chart gives to the speaker's pods
    assert service["spec"]["selector"] == {"app.kubernetes.io/name": "metallb", "app.kubernetes.io/component": "speaker"}
    assert "loadBalancerClass" not in service["spec"]
    assert found["pools"][0] == {
        "name": "lan",
        "service": "probe-lan",
        "protocol": "layer2",
        "addresses": ["192.0.2.200", "192.0.2.208-192.0.2.215", "192.0.2.220-192.0.2.239"],
        "interfaces": ["eth0", "bond0"],
        "peers": [],
    }
    # the second announcement is for all peers
    assert found["pools"][1]["peers"] == []
    assert found["peers"] == [
        {"name": "tor1", "address": "192.0.2.1", "interface": "", "vrf": "", "bfd": False, "nodes": [{"matchLabels": {"rack": "r1"}}]}
    ]


def test_the_probe_has_the_labels_that_a_pool_asks_for():
    """Also those that everybody uses, and with which other objects of the role are known."""
    wanted = {"app.kubernetes.io/component": "web", "app.kubernetes.io/managed-by": "Helm"}
    found = resources(pools=[{"name": "lan", "addresses": ["192.0.2.0/28"], "services": wanted}])["probe"]
    assert wanted.items() <= found["objects"][0]["metadata"]["labels"].items()
    assert found["prune_label"] == "baremetal.kubernetes/probe=metallb"


def test_the_probe_is_of_the_class_that_metallb_serves():
    found = resources(extra={"loadBalancerClass": "example.net/metallb"})["probe"]
    assert found["objects"][0]["spec"]["loadBalancerClass"] == "example.net/metallb"


def test_the_probe_of_an_announcement_to_some_peers():
    found = resources(pools=[{**FULL["pools"][1], "bgp": {"peers": ["tor1"]}}], peers=FULL["peers"])["probe"]
    assert found["pools"][0]["peers"] == ["tor1"]


WORD = st.text("abc", min_size=1, max_size=3)
EXPRESSION = st.one_of(
    st.fixed_dictionaries({"key": WORD, "operator": st.just("In"), "values": st.lists(WORD, min_size=1, unique=True)}),
    st.fixed_dictionaries({"key": st.just("x"), "operator": st.sampled_from(["Exists"])}),
    st.fixed_dictionaries({"key": st.just("y"), "operator": st.sampled_from(["DoesNotExist"])}),
    st.fixed_dictionaries({"key": st.just("z"), "operator": st.just("NotIn"), "values": st.lists(WORD, min_size=1, unique=True)}),
)


@given(st.dictionaries(st.just("tier"), WORD), st.lists(EXPRESSION, max_size=3, unique_by=lambda row: row["key"]))
def test_the_probes_labels_are_those_that_are_asked_for(labels, expressions):
    selector = {"matchLabels": labels, "matchExpressions": expressions}
    assert matches(selector, _metallb.labels_of(selector))


# --- refusals

POOL = SETTINGS["pools"][0]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"name": "Web"}, "the name of number 1 of metallb_pools is 'Web', but must be small letters"),
        ({"addresses": []}, "addresses of pool default is []"),
        ({"addresses": ["192.0.2.0/33"]}, "addresses of pool default has '192.0.2.0/33', which is not a network"),
        ({"addresses": ["192.0.2.9-192.0.2.1"]}, "whose last address comes before its first"),
        ({"addresses": "192.0.2.1"}, "must be a list"),
        ({"protocol": "L2"}, "protocol of pool default is 'L2', but must be one of layer2, bgp, none"),
        ({"auto_assign": "maybe"}, "auto_assign of pool default is 'maybe', but must be true or false"),
        ({"priority": "high"}, "priority of pool default is 'high', but must be a number"),
        ({"interfaces": ["eth0", "eth0"]}, "interfaces of pool default names one twice"),
        ({"nodes": ["w1"]}, "nodes of pool default is ['w1'], but must be labels such as {rack: r1}"),
        ({"nodes": {"matchLabels": {}, "rack": "1"}}, "must be labels, or matchLabels and matchExpressions"),
        ({"bgp": {"peers": ["tor1"]}}, "pool default has bgp, but its protocol is layer2"),
        ({"protocol": "none", "interfaces": ["eth0"]}, "they count with layer2 only"),
        ({"protocol": "none", "nodes": {"a": "b"}}, "MetalLB announces nothing from anywhere"),
        ({"autoAssign": True}, "has autoAssign, which it cannot have; its keys are name, addresses, protocol, auto_assign"),
    ],
)
def test_pools_refused(change, words):
    assert words in refused(pools=[{**POOL, **change}])


@pytest.mark.parametrize(
    "change, words",
    [
        ({"aggregation_length": 33}, "aggregation_length of pool default is 33, but must be a number from 1 to 32"),
        ({"communities": ["free"]}, "has community 'free', which is neither one nor a name in metallb_communities"),
        ({"communities": ["65536:1"]}, "has community '65536:1'"),
        ({"communities": ["large:1:2"]}, "has community 'large:1:2'"),
        ({"peers": ["tor2"]}, "bgp of pool default names peer tor2, but the peers are tor1"),
    ],
)
def test_announcements_refused(change, words):
    assert words in refused(pools=[{**POOL, "protocol": "bgp", "bgp": change}], peers=[ROUTER])


def test_the_same_announcement_twice_is_refused():
    assert "the same bgp entry twice" in refused(pools=[{**POOL, "protocol": "bgp", "bgp": [{}, {}]}], peers=[ROUTER])


@pytest.mark.parametrize(
    "change, words",
    [
        ({"port": 16385}, "port of peer tor1 is 16385, but must be a number from 1 to 16384"),
        ({"address": "tor1.example.net"}, "address of peer tor1 is 'tor1.example.net', which is not an IP address"),
        ({"interface": "eth1"}, "must have either address, or interface"),
        ({"address": ""}, "must have either address, or interface"),
        ({"dynamic_as_number": "internal"}, "must have either as_number or dynamic_as_number"),
        ({"as_number": 0}, "as_number of peer tor1 is 0"),
        ({"hold_seconds": 2}, "hold_seconds of peer tor1 is 2, but must be 0 (off) or at least 3"),
        ({"hold_seconds": 9, "keepalive_seconds": 10}, "keepalive_seconds of peer tor1 is 10, longer than hold_seconds 9"),
        ({"connect_seconds": 0}, "connect_seconds of peer tor1 is 0"),
        ({"multihop": True, "as_number": 64512}, "multihop is for other AS numbers only"),
        ({"bfd_profile": "slow"}, "has bfd_profile 'slow', but metallb_bfd_profiles has none"),
        ({"password": "s3cret"}, "has password, which it cannot have"),
        ({"name": "tor_1"}, "the name of number 1 of metallb_peers is 'tor_1'"),
        ({"router_id": "one"}, "router_id of peer tor1 is 'one', which is not an IP address"),
        ({"nodes": {}, "multihop": "far"}, "multihop of peer tor1 is 'far'"),
    ],
)
def test_peers_refused(change, words):
    text = refused(peers=[{**ROUTER, **change}])
    assert words in text
    assert "s3cret" not in text


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"peers": [ROUTER, ROUTER]}, "metallb_peers has tor1 twice"),
        ({"pools": [POOL, POOL]}, "metallb_pools has default twice"),
        ({"pools": [{**POOL, "protocol": "bgp"}]}, "there is nobody to tell; name the routers in metallb_peers"),
        ({"peer_passwords": {"tor9": "s3cret"}}, "metallb_peer_passwords has tor9, but the peers are none"),
        ({"peer_passwords": {"tor1": ""}, "peers": [ROUTER]}, "none of them empty"),
        ({"peer_passwords": {"tor1": "s3cret"}, "peers": [{**ROUTER, "password_secret": "x"}]}, "has password_secret and a password"),
        ({"communities": {"cheap": "65536:1"}}, "cheap is '65536:1', but must be ASN:VALUE"),
        ({"communities": {"cheap": "large:1:2:4294967296"}}, "must be ASN:VALUE"),
        (
            {"bfd_profiles": [{"name": "x", "receive_interval": 5}]},
            "receive_interval of BFD profile x is 5, but must be a number from 10 to 60000",
        ),
        ({"bfd_profiles": [{"name": "x", "minimum_ttl": 255}]}, "from 1 to 254"),
        ({"pools": "all"}, "metallb_pools is 'all', but must be a list"),
        ({"pools": ["all"]}, "number 1 of metallb_pools is 'all', but must be a dict"),
        ({"mode": "frr"}, "metallb_mode is 'frr'"),
    ],
)
def test_settings_refused(changes, words):
    text = refused(**changes)
    assert words in text
    assert "s3cret" not in text


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"bfd_profiles": FRR["bfd_profiles"]}, "native, which has no BFD"),
        ({"peers": [FRR["peers"][1]]}, "which has no BGP over IPv6"),
        ({"communities": FRR["communities"]}, "The community large:64512:1:2 is a large one"),
        ({"peers": [ROUTER], "pools": [{**POOL, "addresses": ["2001:db8::/120"], "protocol": "bgp"}]}, "has IPv6 and protocol bgp"),
        *[
            ({"peers": [{**ROUTER, key: value}]}, f"has {key} and metallb_mode is native")
            for key, value in {
                "keepalive_seconds": 3,
                "connect_seconds": 3,
                "vrf": "red",
                "graceful_restart": True,
                "dual_stack": True,
            }.items()
        ],
    ],
)
def test_what_native_cannot(changes, words):
    assert words in refused(mode="native", **changes)
    if "communities" not in changes:
        resources(**changes)


def test_a_setting_that_is_missing_is_named():
    with pytest.raises(AnsibleFilterError, match="metallb_resources: the setting 'peers' is missing"):
        metallb_resources({key: value for key, value in SETTINGS.items() if key != "peers"})


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
)


@given(
    st.sampled_from(["pools", "peers", "bfd_profiles", "communities", "peer_passwords"]),
    JUNK,
    st.sampled_from(sorted(_metallb._POOL_KEYS + _metallb._PEER_KEYS)),
)
def test_junk_is_refused_with_a_sentence(name, junk, key):
    base = {"pools": POOL, "peers": ROUTER}.get(name)
    for value in ([junk] if base is None else [junk, [junk], [{**base, key: junk}]]):
        try:
            metallb_resources({**SETTINGS, name: value})
        except AnsibleFilterError as error:
            assert str(error).startswith("metallb_resources: ")
