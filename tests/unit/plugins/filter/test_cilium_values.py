# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters cilium_values and cilium_workloads: what Cilium's chart is told for each kind of cluster."""

from __future__ import annotations

import copy

import jsonschema
import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.filter.cilium_values import cilium_values
from ansible_collections.baremetal.kubernetes.plugins.filter.cilium_workloads import cilium_workloads

SETTINGS = {
    "pod_cidr": "10.244.0.0/16",
    "encapsulation": "",
    "encryption": "",
    "node_encryption": False,
    "proxy_mode": "ipvs",
    "api_endpoint": "192.0.2.11:6443",
    "network_mtu": 1500,
    "nodes": 3,
    "direct_node_routes": True,
    "devices": [],
    "bgp_peers": [],
    "load_balancer": "none",
    "hubble": False,
    "hubble_relay": False,
    "hubble_ui": False,
    "artifacts": "repository",
    "extra": {},
}
PEERS = [{"address": "192.0.2.1", "as_number": 64500}]

# Golden: VXLAN beside kube-proxy, nothing else.
PLAIN = {
    "ipam": {"mode": "kubernetes"},
    "k8s": {"requireIPv4PodCIDR": True},
    "ipv4": {"enabled": True},
    "ipv6": {"enabled": False},
    "MTU": 1500,
    "routingMode": "tunnel",
    "tunnelProtocol": "vxlan",
    "kubeProxyReplacement": False,
    "cni": {"exclusive": True},
    "encryption": {"enabled": False},
    "bgpControlPlane": {"enabled": False},
    "l2announcements": {"enabled": False},
    "enableLBIPAM": False,
    "hubble": {"enabled": False},
    "operator": {"replicas": 2, "rollOutPods": True},
    "envoy": {"enabled": True, "rollOutPods": True},
    "rollOutCiliumPods": True,
}


def closed(**properties):
    return {"type": "object", "additionalProperties": False, "properties": properties}


BOOLEAN = {"type": "boolean"}
ON = closed(enabled=BOOLEAN)
TAG_ONLY = closed(useDigest={"const": False})
# The keys that we use, with the types of values.schema.json in chart cilium 1.20.0 (https://helm.cilium.io), which leaves unknown keys be.
SCHEMA = {
    "required": [key for key in PLAIN if key != "tunnelProtocol"],
    **closed(
        ipam=closed(mode={"const": "kubernetes"}),
        k8s=closed(requireIPv4PodCIDR=BOOLEAN, requireIPv6PodCIDR=BOOLEAN),
        ipv4=ON,
        ipv6=ON,
        MTU={"type": "integer", "minimum": 576},
        routingMode={"enum": ["tunnel", "native"]},
        tunnelProtocol={"enum": ["vxlan", "geneve"]},
        ipv4NativeRoutingCIDR={"type": "string"},
        ipv6NativeRoutingCIDR={"type": "string"},
        autoDirectNodeRoutes=BOOLEAN,
        kubeProxyReplacement=BOOLEAN,
        k8sServiceHost={"type": "string", "pattern": "^[^\\[\\]/ ]+$"},
        k8sServicePort={"type": "integer"},
        devices={"type": "array", "items": {"type": "string"}},
        cni=closed(exclusive=BOOLEAN),
        encryption=closed(
            enabled=BOOLEAN,
            type={"const": "wireguard"},
            nodeEncryption=BOOLEAN,
            strictMode=closed(egress=closed(enabled=BOOLEAN, cidr={"type": "string"}, allowRemoteNodeIdentities=BOOLEAN), ingress=ON),
        ),
        bgpControlPlane=ON,
        l2announcements=ON,
        enableLBIPAM=BOOLEAN,
        hubble=closed(
            enabled=BOOLEAN,
            tls=closed(auto=closed(method={"enum": ["helm", "cronJob", "certmanager"]})),
            relay=closed(enabled=BOOLEAN, rollOutPods=BOOLEAN, image=TAG_ONLY),
            ui=closed(enabled=BOOLEAN, rollOutPods=BOOLEAN, backend=closed(image=TAG_ONLY), frontend=closed(image=TAG_ONLY)),
        ),
        certgen=closed(image=TAG_ONLY),
        operator=closed(replicas={"type": "integer"}, rollOutPods=BOOLEAN, image=TAG_ONLY),
        envoy=closed(enabled=BOOLEAN, rollOutPods=BOOLEAN, image=TAG_ONLY),
        image=TAG_ONLY,
        rollOutCiliumPods=BOOLEAN,
    ),
}


def values(**changed):
    result = cilium_values({**SETTINGS, **changed})
    jsonschema.validate(result, SCHEMA)
    return result


def plain(without=(), **expected):
    result = {**copy.deepcopy(PLAIN), **expected}
    for key in without:
        del result[key]
    return result


WIREGUARD = {
    "enabled": True,
    "type": "wireguard",
    "nodeEncryption": False,
    "strictMode": {
        "ingress": {"enabled": True},
        "egress": {"enabled": True, "cidr": "10.244.0.0/16", "allowRemoteNodeIdentities": True},
    },
}
NATIVE = {"routingMode": "native", "ipv4NativeRoutingCIDR": "10.244.0.0/16", "autoDirectNodeRoutes": True}
REPLACED = {"kubeProxyReplacement": True, "k8sServiceHost": "192.0.2.11", "k8sServicePort": 6443}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, plain()),
        ({"encapsulation": "vxlan", "proxy_mode": "nftables"}, plain()),
        ({"encapsulation": "geneve", "network_mtu": 9000}, plain(tunnelProtocol="geneve", MTU=9000)),
        ({"proxy_mode": "none"}, plain(**REPLACED)),
        ({"encapsulation": "none"}, plain(["tunnelProtocol"], **NATIVE)),
        ({"encapsulation": "none", "direct_node_routes": False}, plain(["tunnelProtocol"], **{**NATIVE, "autoDirectNodeRoutes": False})),
        ({"encryption": "wireguard"}, plain(encryption=WIREGUARD)),
        (
            {"encryption": "wireguard", "encapsulation": "none", "node_encryption": True},
            plain(
                ["tunnelProtocol"],
                **NATIVE,
                encryption={
                    "enabled": True,
                    "type": "wireguard",
                    "nodeEncryption": True,
                    "strictMode": {
                        "ingress": {"enabled": True},
                        "egress": {"enabled": True, "cidr": "10.244.0.0/16", "allowRemoteNodeIdentities": False},
                    },
                },
            ),
        ),
        ({"bgp_peers": PEERS}, plain(bgpControlPlane={"enabled": True})),
        ({"bgp_peers": PEERS, "load_balancer": "bgp"}, plain(bgpControlPlane={"enabled": True}, enableLBIPAM=True)),
        ({"proxy_mode": "none", "load_balancer": "l2"}, plain(**REPLACED, l2announcements={"enabled": True}, enableLBIPAM=True)),
        ({"nodes": 1}, plain(operator={"replicas": 1, "rollOutPods": True})),
        ({"devices": ["bond0", "eth+"]}, plain(devices=["bond0", "eth+"])),
    ],
)
def test_settings(changed, expected):
    assert values(**changed) == expected


def test_ipv6():
    result = values(
        pod_cidr="fd00:10:244::/56", api_endpoint="[2001:db8::11]:6443", proxy_mode="none", encryption="wireguard", encapsulation="none"
    )
    assert result["k8s"] == {"requireIPv6PodCIDR": True}
    assert (result["ipv4"], result["ipv6"]) == ({"enabled": False}, {"enabled": True})
    assert (result["k8sServiceHost"], result["k8sServicePort"]) == ("2001:db8::11", 6443)
    assert result["ipv6NativeRoutingCIDR"] == "fd00:10:244::/56" and "ipv4NativeRoutingCIDR" not in result
    # Cilium refuses to start with a CIDR of IPv6 there
    assert result["encryption"]["strictMode"] == {"ingress": {"enabled": True}}


@pytest.mark.parametrize(
    ("changed", "relay", "ui"),
    [
        ({"hubble": True}, {"enabled": False}, {"enabled": False}),
        ({"hubble_relay": True}, {"enabled": True, "rollOutPods": True}, {"enabled": False}),
        ({"hubble_ui": True}, {"enabled": True, "rollOutPods": True}, {"enabled": True, "rollOutPods": True}),
    ],
)
def test_hubble(changed, relay, ui):
    assert values(**changed)["hubble"] == {"enabled": True, "tls": {"auto": {"method": "cronJob"}}, "relay": relay, "ui": ui}


def test_images_of_a_bundle_have_no_digest():
    result = values(artifacts="bundle")
    off = {"useDigest": False}
    assert (result["image"], result["operator"]["image"], result["envoy"]["image"]) == (off, off, off)
    assert result["operator"]["replicas"] == 2 and result["hubble"] == {"enabled": False} and "certgen" not in result
    result = values(artifacts="bundle", hubble_ui=True)
    assert result["hubble"]["ui"] == {"enabled": True, "rollOutPods": True, "backend": {"image": off}, "frontend": {"image": off}}
    assert (result["hubble"]["relay"]["image"], result["certgen"]["image"]) == (off, off)


def test_nothing_is_shared():
    """Else YAML has anchors, which some readers of rendered files refuse."""
    assert "&" not in yaml.safe_dump(values(artifacts="bundle", hubble_ui=True, encryption="wireguard"))


def test_the_users_values_come_last():
    extra = {"operator": {"replicas": 1}, "bpf": {"masquerade": True}, "MTU": 1400}
    result = cilium_values({**SETTINGS, "extra": extra})
    assert result == plain(operator={"replicas": 1, "rollOutPods": True}, bpf={"masquerade": True}, MTU=1400)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"load_balancer": "l2"}, "load_balancer is 'l2' and the proxy mode 'ipvs'"),
        ({"load_balancer": "bgp"}, "there is nobody to tell"),
        ({"load_balancer": "metallb"}, "must be one of none, l2, bgp"),
        ({"encapsulation": "ipip"}, "the encapsulation is 'ipip', but cilium has vxlan, geneve, none"),
        ({"pod_cidr": "10.244.0.0"}, "pod_cidr '10.244.0.0' is not a network"),
        ({"proxy_mode": "none", "api_endpoint": "192.0.2.11"}, "api_endpoint is '192.0.2.11', but must be host:port"),
    ],
)
def test_what_cannot_be_is_refused(changed, sentence):
    with pytest.raises(AnsibleFilterError, match="^cilium_values: ") as error:
        cilium_values({**SETTINGS, **changed})
    assert sentence in str(error.value)


def test_a_missing_setting_is_named():
    with pytest.raises(AnsibleFilterError, match="the setting 'nodes' is missing"):
        cilium_values({name: value for name, value in SETTINGS.items() if name != "nodes"})


@pytest.mark.parametrize(
    ("changed", "more"),
    [
        ({}, ["DaemonSet cilium-envoy"]),
        ({"extra": {"envoy": {"enabled": False}}}, []),
        ({"extra": {"l7Proxy": False}}, []),
        ({"hubble": True}, ["DaemonSet cilium-envoy"]),
        ({"hubble_relay": True}, ["DaemonSet cilium-envoy", "Deployment hubble-relay"]),
        ({"hubble_ui": True}, ["DaemonSet cilium-envoy", "Deployment hubble-relay", "Deployment hubble-ui"]),
        ({"hubble_ui": True, "extra": {"hubble": {"enabled": False}}}, ["DaemonSet cilium-envoy"]),
    ],
)
def test_workloads(changed, more):
    found = cilium_workloads(cilium_values({**SETTINGS, **changed}))
    assert [f"{item['kind']} {item['name']}" for item in found] == ["Deployment cilium-operator", "DaemonSet cilium", *more]
    assert {item["namespace"] for item in found} == {"kube-system"}


def test_workloads_of_something_else():
    with pytest.raises(AnsibleFilterError, match="^cilium_workloads: these are no values"):
        cilium_workloads({"podCidr": "10.244.0.0/16"})
