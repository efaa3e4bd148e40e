# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter flannel_values: what Flannel's chart is told for each kind of cluster."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.filter.flannel_problems import flannel_problems
from ansible_collections.baremetal.kubernetes.plugins.filter.flannel_values import flannel_values

SETTINGS = {
    "pod_cidr": "10.244.0.0/16",
    "encapsulation": "",
    "encryption": "",
    "proxy_mode": "ipvs",
    "node_ips": {"cp1": "192.0.2.11", "w1": "192.0.2.21"},
    "interfaces": [],
    "pod_mtu": 1450,
    "vni": 1,
    "port": 0,
    "keepalive": 0,
    "extra": {},
}
ARGS = ["--ip-masq", "--kube-subnet-mgr", "--iface=192.0.2.11", "--iface=192.0.2.21"]
TOLERATIONS = [{"effect": "NoExecute", "operator": "Exists"}, {"effect": "NoSchedule", "operator": "Exists"}]

# The keys that we use, and the types that chart/kube-flannel/values.yaml and templates/ of flannel v0.28.9 want. Helm itself takes any key.
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["podCidr", "podCidrv6", "flannel"],
    "properties": {
        "podCidr": {"type": "string"},
        "podCidrv6": {"type": "string"},
        "flannel": {
            "type": "object",
            "additionalProperties": False,
            "required": ["args", "backend", "enableNFTables", "tolerations"],
            "properties": {
                "args": {"type": "array", "items": {"type": "string", "pattern": "^--[a-z-]+(=.+)?$"}},
                "backend": {"enum": ["vxlan", "host-gw", "wireguard"]},
                "backendPort": {"type": "integer", "minimum": 1, "maximum": 65535},
                "backendPortv6": {"type": "integer", "minimum": 1, "maximum": 65535},
                "cniConf": {"type": "string"},
                "directRouting": {"const": True},
                "enableNFTables": {"type": "boolean"},
                "keepaliveInterval": {"type": "integer", "minimum": 1},
                "mtu": {"type": "integer", "minimum": 626},
                "vni": {"type": "integer", "minimum": 1, "maximum": 16777215},
                "tolerations": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {name: {"type": "string"} for name in ("effect", "key", "operator", "value")},
                    },
                },
            },
        },
    },
}


def values(**changed):
    """The filter's answer, valid by the schema, with the checksum taken out of it."""
    result = flannel_values({**SETTINGS, **changed})
    jsonschema.validate(result, SCHEMA)
    mark = result["flannel"]["tolerations"].pop()
    assert (mark["key"], mark["operator"], mark["effect"]) == ("flannel.baremetal.kubernetes/settings", "Equal", "NoSchedule")
    return result


def flannel(**expected):
    """Golden: what is the same in each of the cases below."""
    return {"args": ARGS, "enableNFTables": False, "tolerations": TOLERATIONS, **expected}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        # pods get 1450 of 1500: flanneld is told 1500 and takes off 50
        ({}, flannel(backend="vxlan", vni=1, mtu=1500)),
        ({"encapsulation": "vxlan"}, flannel(backend="vxlan", vni=1, mtu=1500)),
        ({"encapsulation": "vxlan_cross_subnet"}, flannel(backend="vxlan", vni=1, mtu=1500, directRouting=True)),
        ({"vni": 4096, "port": 4789, "pod_mtu": 8950}, flannel(backend="vxlan", vni=4096, backendPort=4789, mtu=9000)),
        # 80 for WireGuard: pods get 1420 of 1500
        ({"encryption": "wireguard", "pod_mtu": 1420}, flannel(backend="wireguard", mtu=1500)),
        # only 60 are needed over IPv4, and 1440 can be had
        ({"encryption": "wireguard", "pod_mtu": 1440}, flannel(backend="wireguard", mtu=1520)),
        (
            {"encryption": "wireguard", "pod_mtu": 1420, "port": 51900, "keepalive": 25},
            flannel(backend="wireguard", mtu=1500, backendPort=51900, keepaliveInterval=25),
        ),
        ({"proxy_mode": "nftables"}, flannel(backend="vxlan", vni=1, mtu=1500, enableNFTables=True)),
        ({"proxy_mode": "iptables"}, flannel(backend="vxlan", vni=1, mtu=1500)),
        (
            {"interfaces": ["bond0", "198.51.100.7"]},
            flannel(backend="vxlan", vni=1, mtu=1500, args=["--ip-masq", "--kube-subnet-mgr", "--iface=bond0", "--iface=198.51.100.7"]),
        ),
    ],
)
def test_backends(changed, expected):
    assert values(**changed) == {"podCidr": "10.244.0.0/16", "podCidrv6": "", "flannel": expected}


def test_host_gw_gives_the_pods_their_mtu_through_the_plugin():
    result = values(encapsulation="none", pod_mtu=9000)["flannel"]
    assert "mtu" not in result and "vni" not in result and result["backend"] == "host-gw"
    assert json.loads(result["cniConf"]) == {
        "name": "cbr0",
        "cniVersion": "0.3.1",
        "plugins": [
            {"type": "flannel", "delegate": {"hairpinMode": True, "isDefaultGateway": True, "mtu": 9000}},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def test_ipv6():
    nodes = {"cp1": "2001:db8:0:0::11", "w1": "2001:db8::21"}
    # VXLAN needs 70 bytes over IPv6, flanneld takes off 50 there too: it has to be told 1480 of 1500
    result = values(pod_cidr="fd00:10:244::/56", node_ips=nodes, pod_mtu=1430)
    assert (result["podCidr"], result["podCidrv6"]) == ("", "fd00:10:244::/56")
    assert result["flannel"]["mtu"] == 1480
    assert result["flannel"]["args"][2:] == ["--iface=2001:db8::11", "--iface=2001:db8::21"]
    result = values(pod_cidr="fd00:10:244::/56", node_ips=nodes, pod_mtu=1420, encryption="wireguard", port=51900)["flannel"]
    assert (result["mtu"], result["backendPortv6"], "backendPort" in result) == (1500, 51900, False)


def test_the_users_values_come_last():
    extra = {"flannel": {"mtu": 1400, "tolerations": []}, "netpol": {"enabled": True}}
    result = flannel_values({**SETTINGS, "extra": extra})
    assert result["flannel"]["mtu"] == 1400 and result["flannel"]["vni"] == 1
    assert result["netpol"] == {"enabled": True}
    assert [item["key"] for item in result["flannel"]["tolerations"]] == ["flannel.baremetal.kubernetes/settings"]


def mark(**changed):
    return flannel_values({**SETTINGS, **changed})["flannel"]["tolerations"][-1]["value"]


def test_the_order_of_the_inventory_is_nothing_to_the_pods():
    other = {"w1": "192.0.2.21", "w9": "192.0.2.9", "cp1": "192.0.2.11"}
    assert values(node_ips=other)["flannel"]["args"][2:] == ["--iface=192.0.2.9", "--iface=192.0.2.11", "--iface=192.0.2.21"]
    assert mark(node_ips=dict(reversed(SETTINGS["node_ips"].items()))) == mark()


def test_a_change_of_the_configuration_changes_the_pods():
    assert mark() == mark()
    assert len({mark(), mark(pod_mtu=1400), mark(vni=2), mark(port=4789), mark(pod_cidr="10.245.0.0/16"), mark(proxy_mode="nftables")}) == 6
    assert mark(extra={"flannel": {"mtu": 1400}}) != mark()


@given(st.integers(min_value=576, max_value=9000))
@settings(max_examples=200)
def test_the_checksum_stays_a_text_in_yaml(pod_mtu):
    """Helm reads YAML as Go does, where 12345e67 is a number; a toleration wants a text."""
    assert yaml.safe_load(mark(pod_mtu=pod_mtu)).startswith("sha256-")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"pod_cidr": "10.244.0.1/16"}, "pod_cidr '10.244.0.1/16' is an address inside of a network"),
        ({"node_ips": {"cp1": "cp1.example"}}, "the node IP 'cp1.example' is not an IP address"),
        ({"node_ips": {}}, "the address of every node is wanted"),
        ({"encapsulation": "ipip"}, "the encapsulation is 'ipip', but flannel has vxlan, vxlan_cross_subnet, none"),
        ({"vni": 16777216}, "cni_flannel_vni is 16777216, but must be a number from 1 to 16777215"),
        ({"pod_mtu": "much"}, "invalid literal"),
    ],
)
def test_what_cannot_be_is_refused(changed, sentence):
    with pytest.raises(AnsibleFilterError, match="^flannel_values: ") as error:
        flannel_values({**SETTINGS, **changed})
    assert sentence in str(error.value)


def test_a_missing_setting_is_named():
    with pytest.raises(AnsibleFilterError, match="the setting 'vni' is missing"):
        flannel_values({name: value for name, value in SETTINGS.items() if name != "vni"})


def test_all_problems_are_told_at_once():
    assert flannel_problems(SETTINGS) == []
    wrong = {"vni": 0, "port": 65536, "keepalive": -1, "interfaces": "bond0", "extra": []}
    problems = flannel_problems({**SETTINGS, **wrong})
    assert [problem.split()[0] for problem in problems] == [
        "cni_flannel_vni", "cni_flannel_port", "cni_flannel_keepalive", "cni_flannel_interfaces", "cni_flannel_values",
    ]  # fmt: skip
    assert problems[1] == "cni_flannel_port is 65536, but must be a number from 0 to 65535."
