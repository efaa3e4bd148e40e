# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calico's chart values and objects, written out by hand from the types of operator.tigera.io/v1 and projectcalico.org/v3."""

from __future__ import annotations

import copy
import itertools
import typing as t

import hypothesis
import jsonschema
import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.filter.calico_problems import calico_problems
from ansible_collections.baremetal.kubernetes.plugins.filter.calico_reflector_nodes import calico_reflector_nodes
from ansible_collections.baremetal.kubernetes.plugins.filter.calico_resources import calico_resources
from ansible_collections.baremetal.kubernetes.plugins.filter.calico_values import calico_values
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _calico
from hypothesis import strategies as st

BASE: dict[str, t.Any] = {
    "version": "3.32.4",
    "kubernetes_minor": 36,
    "nodes": 3,
    "pod_cidr": "10.244.0.0/16",
    "service_cidr": "10.96.0.0/12",
    "pod_mtu": 1500,
    "encapsulation": "",
    "encryption": "",
    "proxy_mode": "ipvs",
    "api_endpoint": "192.0.2.10:6443",
}
ROUTER = {"name": "rack-a", "address": "192.0.2.1", "as_number": 64601}
OWNED = {"labels": {"app.kubernetes.io/managed-by": "baremetal.kubernetes"}}

# The keys that we use, closed against any other: tigera/operator v1.42 and v1.44, api/v1/installation_types.go, and values.yaml of the chart.
POOL = {
    "type": "object",
    "additionalProperties": False,
    "required": ["cidr", "encapsulation", "natOutgoing", "nodeSelector"],
    "properties": {
        "cidr": {"type": "string"},
        "encapsulation": {"enum": ["IPIPCrossSubnet", "IPIP", "VXLAN", "VXLANCrossSubnet", "None"]},
        "natOutgoing": {"enum": ["Enabled", "Disabled"]},
        "nodeSelector": {"type": "string"},
        "blockSize": {"type": "integer", "minimum": 20, "maximum": 32},
    },
}
DETECTION = {"type": "object", "additionalProperties": False, "properties": {"kubernetes": {"enum": ["NodeInternalIP"]}}}
ENABLED = {"type": "object", "additionalProperties": False, "required": ["enabled"], "properties": {"enabled": {"type": "boolean"}}}
VALUES_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "installation": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "enabled": {"const": True},
                "registry": {"type": "string", "pattern": "/$"},
                "controlPlaneReplicas": {"type": "integer", "minimum": 1},
                "kubeletVolumePluginPath": {"const": "None"},
                "calicoNetwork": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["bgp", "linuxDataplane", "mtu", "ipPools"],
                    "properties": {
                        "bgp": {"enum": ["Enabled", "Disabled"]},
                        "linuxDataplane": {"enum": ["Iptables", "Nftables", "BPF"]},
                        "mtu": {"type": "integer", "minimum": 0},
                        "ipPools": {"type": "array", "items": POOL},
                        "nodeAddressAutodetectionV4": DETECTION,
                        "nodeAddressAutodetectionV6": DETECTION,
                    },
                },
            },
        },
        "apiServer": ENABLED,
        "goldmane": ENABLED,
        "whisker": ENABLED,
        "manageCRDs": {"const": True},
        "tigeraOperator": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"registry": {"type": "string", "pattern": "[^/]$"}, "env": {"type": "array"}},
        },
        "kubernetesServiceEndpoint": {
            "type": "object",
            "additionalProperties": False,
            "required": ["host", "port"],
            "properties": {"host": {"type": "string", "minLength": 1}, "port": {"type": "string", "pattern": "^[0-9]+$"}},
        },
    },
}


def settings(**more: t.Any) -> dict[str, t.Any]:
    return BASE | more


def spec(result: dict[str, t.Any], kind: str, name: str = "default") -> dict[str, t.Any]:
    """The spec of one object of calico_resources."""
    (found,) = [item for item in result["objects"] if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found["spec"]


# --- values


def test_pure_bgp_as_a_whole() -> None:
    assert calico_values(settings()) == {
        "installation": {
            "enabled": True,
            "calicoNetwork": {
                "bgp": "Enabled",
                "linuxDataplane": "Iptables",
                "mtu": 1500,
                "ipPools": [
                    {"cidr": "10.244.0.0/16", "encapsulation": "None", "natOutgoing": "Enabled", "nodeSelector": "all()", "blockSize": 26}
                ],
                "nodeAddressAutodetectionV4": {"kubernetes": "NodeInternalIP"},
            },
            "controlPlaneReplicas": 2,
            "kubeletVolumePluginPath": "None",
        },
        "apiServer": {"enabled": True},
        "goldmane": {"enabled": False},
        "whisker": {"enabled": False},
        "manageCRDs": True,
        "tigeraOperator": {"env": [{"name": "CALICO_API_GROUP", "value": "crd.projectcalico.org/v1"}]},
    }


def test_vxlan_needs_no_bgp() -> None:
    network = calico_values(settings(encapsulation="vxlan", pod_mtu=1450))["installation"]["calicoNetwork"]
    assert (network["bgp"], network["mtu"], network["ipPools"][0]["encapsulation"]) == ("Disabled", 1450, "VXLAN")


@pytest.mark.parametrize(
    ("encapsulation", "pool", "bgp"),
    [
        ("none", "None", "Enabled"),
        ("vxlan", "VXLAN", "Disabled"),
        ("vxlan_cross_subnet", "VXLANCrossSubnet", "Disabled"),
        ("ipip", "IPIP", "Enabled"),
        ("ipip_cross_subnet", "IPIPCrossSubnet", "Enabled"),
    ],
)
def test_encapsulations(encapsulation: str, pool: str, bgp: str) -> None:
    network = calico_values(settings(encapsulation=encapsulation))["installation"]["calicoNetwork"]
    assert (network["ipPools"][0]["encapsulation"], network["bgp"]) == (pool, bgp)


@pytest.mark.parametrize(
    "asks", [{"peers": [ROUTER]}, {"advertise_cluster_ips": True}, {"advertise_load_balancer_ips": ["192.0.2.0/28"]}, {"route_reflectors": ["192.0.2.11"]}]
)
def test_whatever_needs_bgp_gets_it_with_vxlan_too(asks: dict[str, t.Any]) -> None:
    wanted = settings(encapsulation="vxlan", **asks)
    assert calico_values(wanted)["installation"]["calicoNetwork"]["bgp"] == "Enabled"
    assert calico_resources(wanted)["bgp"] is True


@pytest.mark.parametrize(("mode", "dataplane"), [("ipvs", "Iptables"), ("iptables", "Iptables"), ("nftables", "Nftables"), ("none", "BPF")])
def test_the_dataplane_follows_the_proxy_mode(mode: str, dataplane: str) -> None:
    values = calico_values(settings(proxy_mode=mode))
    assert values["installation"]["calicoNetwork"]["linuxDataplane"] == dataplane
    assert ("kubernetesServiceEndpoint" in values) is (mode == "none")


@pytest.mark.parametrize(
    ("endpoint", "host", "port"),
    [("192.0.2.10:6443", "192.0.2.10", "6443"), ("api.example.com:443", "api.example.com", "443"), ("[2001:db8::1]:6443", "2001:db8::1", "6443")],
)
def test_without_kube_proxy_the_api_server_is_named(endpoint: str, host: str, port: str) -> None:
    assert calico_values(settings(proxy_mode="none", api_endpoint=endpoint))["kubernetesServiceEndpoint"] == {"host": host, "port": port}


def test_two_families() -> None:
    network = calico_values(settings(pod_cidr="10.244.0.0/16,fd00:10::/56", encapsulation="ipip"))["installation"]["calicoNetwork"]
    # there is no IP-in-IP for IPv6
    assert [(pool["cidr"], pool["encapsulation"]) for pool in network["ipPools"]] == [("10.244.0.0/16", "IPIP"), ("fd00:10::/56", "None")]
    assert "blockSize" not in network["ipPools"][1]
    assert network["nodeAddressAutodetectionV4"] == network["nodeAddressAutodetectionV6"] == {"kubernetes": "NodeInternalIP"}
    only6 = calico_values(settings(pod_cidr="fd00:10::/56"))["installation"]["calicoNetwork"]
    assert "nodeAddressAutodetectionV4" not in only6


def test_what_each_layout_of_the_chart_knows() -> None:
    old = calico_values(settings(version="3.29.7"))
    assert old["kubeletVolumePluginPath"] == "None"
    assert "kubeletVolumePluginPath" not in old["installation"]
    assert not {"goldmane", "whisker", "manageCRDs", "tigeraOperator"} & set(old)
    assert calico_values(settings(version="3.30.7"))["kubeletVolumePluginPath"] == "None"
    middle = calico_values(settings(version="3.31.7"))
    assert middle["installation"]["kubeletVolumePluginPath"] == "None"
    assert "goldmane" in middle and "tigeraOperator" not in middle
    new = calico_values(settings(version="3.33.1", api_group="projectcalico.org/v3"))
    assert new["tigeraOperator"]["env"] == [{"name": "CALICO_API_GROUP", "value": "projectcalico.org/v3"}]


def test_one_node_has_one_replica_and_a_registry_is_used_for_all_images() -> None:
    values = calico_values(settings(nodes=1, registry="registry.example.com:5000/"))
    assert values["installation"]["controlPlaneReplicas"] == 1
    assert (values["installation"]["registry"], values["tigeraOperator"]["registry"]) == ("registry.example.com:5000/", "registry.example.com:5000")


def test_values_of_the_user_come_last_and_nothing_given_is_changed() -> None:
    given = settings(values={"installation": {"calicoNetwork": {"hostPorts": "Disabled"}}, "resources": {"limits": {"memory": "1Gi"}}})
    before = copy.deepcopy(given)
    values = calico_values(given)
    assert values["installation"]["calicoNetwork"]["hostPorts"] == "Disabled"
    assert values["installation"]["calicoNetwork"]["mtu"] == 1500
    assert values["resources"] == {"limits": {"memory": "1Gi"}}
    assert given == before


def test_every_combination_keeps_to_the_schema() -> None:
    validator = jsonschema.Draft202012Validator(VALUES_SCHEMA)
    families = ("10.244.0.0/16", "10.244.0.0/16,fd00:10::/56", "fd00:10::/56")
    for encapsulation, mode, pods, registry in itertools.product(_calico.ENCAPSULATIONS, _calico.DATAPLANES, families, ("", "r.example.com")):
        for version in ("3.31.7", "3.32.4", "3.33.1"):
            values = calico_values(settings(version=version, encapsulation=encapsulation, proxy_mode=mode, pod_cidr=pods, registry=registry))
            assert [error.message for error in validator.iter_errors(values)] == []


# --- objects


def test_objects_of_the_mesh_as_a_whole() -> None:
    assert calico_resources(settings()) == {
        "objects": [
            {
                "apiVersion": "crd.projectcalico.org/v1",
                "kind": "FelixConfiguration",
                "metadata": {"name": "default", **OWNED},
                "spec": {"wireguardEnabled": False},
            },
            {
                "apiVersion": "crd.projectcalico.org/v1",
                "kind": "BGPConfiguration",
                "metadata": {"name": "default", **OWNED},
                "spec": {"asNumber": 64512, "listenPort": 179, "nodeToNodeMeshEnabled": True},
            },
        ],
        "secrets": [],
        "prune_kinds": ["crd.projectcalico.org/v1/BGPPeer"],
        "workloads": [
            {"kind": "Deployment", "namespace": "tigera-operator", "name": "tigera-operator"},
            {"kind": "Deployment", "namespace": "calico-system", "name": "calico-typha"},
            {"kind": "DaemonSet", "namespace": "calico-system", "name": "calico-node"},
            {"kind": "Deployment", "namespace": "calico-system", "name": "calico-kube-controllers"},
            {"kind": "Deployment", "namespace": "calico-system", "name": "calico-apiserver"},
        ],
        "bgp": True,
        "mesh": True,
        "crds_from_operator": True,
    }


def test_vxlan_has_no_bgp_objects() -> None:
    result = calico_resources(settings(encapsulation="vxlan", mesh=False))
    assert [item["kind"] for item in result["objects"]] == ["FelixConfiguration"]
    assert result["bgp"] is False


def test_the_native_api() -> None:
    result = calico_resources(settings(version="3.33.1", api_group="projectcalico.org/v3", peers=[ROUTER]))
    assert {item["apiVersion"] for item in result["objects"]} == {"projectcalico.org/v3"}
    assert result["prune_kinds"] == ["projectcalico.org/v3/BGPPeer"]
    # there is no API server of Calico's in between
    assert "calico-apiserver" not in {item["name"] for item in result["workloads"]}


def test_where_the_api_server_of_each_version_is() -> None:
    def namespace(version: str) -> set[str]:
        return {item["namespace"] for item in calico_resources(settings(version=version))["workloads"] if item["name"] == "calico-apiserver"}

    assert namespace("3.30.7") == {"calico-apiserver"}
    assert namespace("3.31.7") == {"calico-system"}
    off = calico_resources(settings(values={"apiServer": {"enabled": False}}))
    assert "calico-apiserver" not in {item["name"] for item in off["workloads"]}


@pytest.mark.parametrize(
    ("pods", "encryption", "expected"),
    [
        ("10.244.0.0/16", "", {"wireguardEnabled": False}),
        ("10.244.0.0/16", "wireguard", {"wireguardEnabled": True}),
        ("10.244.0.0/16,fd00:10::/56", "wireguard", {"wireguardEnabled": True, "wireguardEnabledV6": True}),
        ("fd00:10::/56", "wireguard", {"wireguardEnabled": False, "wireguardEnabledV6": True}),
        ("fd00:10::/56", "", {"wireguardEnabled": False, "wireguardEnabledV6": False}),
    ],
)
def test_encryption(pods: str, encryption: str, expected: dict[str, bool]) -> None:
    assert spec(calico_resources(settings(pod_cidr=pods, encryption=encryption)), "FelixConfiguration") == expected


def test_bgp_of_a_rack() -> None:
    result = calico_resources(
        settings(
            as_number=4200000001,
            bgp_port=1179,
            mesh=False,
            peers=[
                ROUTER | {"node_selector": "rack == 'a'", "spec": {"maxRestartTime": "60s", "filters": ["no-default"]}},
                {"name": "rack-b", "address": "2001:db8::1", "as_number": 64602, "port": 1790},
                {"name": "rack-c", "address": "192.0.2.3", "as_number": 64603, "port": 1790},
            ],
            advertise_cluster_ips=True,
            advertise_external_ips=["198.51.100.7"],
            advertise_load_balancer_ips=["192.0.2.200-192.0.2.210", "192.0.2.128/28"],
            bgp_configuration={"communities": [{"name": "lb", "value": "64512:1"}]},
        )
    )
    assert spec(result, "BGPConfiguration") == {
        "asNumber": 4200000001,
        "listenPort": 1179,
        "nodeToNodeMeshEnabled": False,
        "serviceClusterIPs": [{"cidr": "10.96.0.0/12"}],
        "serviceExternalIPs": [{"cidr": "198.51.100.7/32"}],
        "serviceLoadBalancerIPs": [{"cidr": "192.0.2.200/29"}, {"cidr": "192.0.2.208/31"}, {"cidr": "192.0.2.210/32"}, {"cidr": "192.0.2.128/28"}],
        "communities": [{"name": "lb", "value": "64512:1"}],
    }
    assert spec(result, "BGPPeer", "rack-a") == {
        "peerIP": "192.0.2.1",
        "asNumber": 64601,
        "nodeSelector": "rack == 'a'",
        "maxRestartTime": "60s",
        "filters": ["no-default"],
    }
    assert spec(result, "BGPPeer", "rack-b") == {"peerIP": "[2001:db8::1]:1790", "asNumber": 64602}
    assert spec(result, "BGPPeer", "rack-c") == {"peerIP": "192.0.2.3:1790", "asNumber": 64603}


def test_passwords_are_in_secrets_alone_and_calico_node_may_read_them() -> None:
    result = calico_resources(
        settings(
            node_password="between nodes",
            peers=[ROUTER | {"password": "of the router"}, ROUTER | {"name": "rack-b", "password_secret": {"name": "mine", "key": "b"}}],
        )
    )
    assert result["secrets"] == [
        {"name": "bgp-passwords", "namespace": "calico-system", **OWNED, "data": {"rack-a": "of the router", "nodes": "between nodes"}}
    ]
    assert "of the router" not in str(result["objects"]) and "between nodes" not in str(result["objects"])
    assert spec(result, "BGPConfiguration")["nodeMeshPassword"] == {"secretKeyRef": {"name": "bgp-passwords", "key": "nodes"}}
    assert spec(result, "BGPPeer", "rack-a")["password"] == {"secretKeyRef": {"name": "bgp-passwords", "key": "rack-a"}}
    assert spec(result, "BGPPeer", "rack-b")["password"] == {"secretKeyRef": {"name": "mine", "key": "b"}}
    namespace, role, binding = result["objects"][:3]
    assert namespace == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "calico-system"}}
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["bgp-passwords", "mine"], "verbs": ["get", "list", "watch"]}
    ]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "calico-node", "namespace": "calico-system"}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


def test_route_reflectors_take_the_place_of_the_mesh() -> None:
    wanted = settings(route_reflectors=["192.0.2.11"], node_password="x")
    final, first = calico_resources(wanted), calico_resources(wanted, mesh=True)
    assert (final["mesh"], final["bgp"]) == (False, True)
    assert spec(final, "BGPConfiguration")["nodeToNodeMeshEnabled"] is False
    # Calico refuses a password of a mesh that is off
    assert "nodeMeshPassword" not in spec(final, "BGPConfiguration")
    assert spec(first, "BGPConfiguration")["nodeToNodeMeshEnabled"] is True
    assert spec(final, "BGPPeer", "route-reflectors") == {
        "nodeSelector": "all()",
        "peerSelector": "route-reflector == 'true'",
        "password": {"secretKeyRef": {"name": "bgp-passwords", "key": "nodes"}},
    }


# --- all that is wrong at once


def test_nothing_is_wrong() -> None:
    assert calico_problems(settings()) == []
    names = {"cp1": "192.0.2.11", "w1": "192.0.2.21"}
    peers = [ROUTER | {"password": "x" * 80, "spec": {"maxRestartTime": "60s"}}]
    assert calico_problems(settings(route_reflectors=["cp1"], node_ips=names, peers=peers, mesh=False)) == []
    # one node needs no mesh, VXLAN neither
    assert calico_problems(settings(mesh=False, nodes=1)) == []
    assert calico_problems(settings(mesh=False, encapsulation="vxlan")) == []


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = settings(
        version="3.28.5",
        block_size="x",
        as_number=0,
        bgp_port=0,
        route_reflectors=["w9"],
        node_ips={"cp1": "192.0.2.11"},
        route_reflector_cluster_id="7",
        peers=[
            {"name": "a", "address": "192.0.2.300", "as_number": 1, "node_selector": "rack = 'a'", "password": "x" * 81},
            {"name": "b", "address": "192.0.2.1", "as_number": 1, "port": 0.5},
        ],
        advertise_external_ips=["192.0.2.9/24", "192.0.2.1", "y"],
        bgp_configuration={"asNumber": 1},
        felix_configuration=["z"],
    )
    found = calico_problems(wrong)
    assert [text.split(" is ")[0].split(" has ")[0].split(" must ")[0].split(" cannot ")[0] for text in found] == [
        "cni_calico_version",
        "cni_calico_block_size",
        "cni_calico_as_number",
        "cni_calico_bgp_port",
        "cni_calico_route_reflectors",
        "cni_calico_route_reflector_cluster_id",
        "cni_calico_bgp_configuration",
        "cni_calico_felix_configuration",
        "BGP peer a (cni_calico_bgp_peers)",
        "the node_selector of BGP peer a (cni_calico_bgp_peers)",
        "the password of BGP peer a (cni_calico_bgp_peers)",
        "the port of BGP peer b (cni_calico_bgp_peers)",
        "cni_calico_advertise_external_ips",
        "cni_calico_advertise_external_ips",
    ]
    assert all(text.endswith(".") and "xx" not in text for text in found)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["none", "cp1", "192.0.2.1", "10.244.0.0/16"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "address", "as_number", "spec", "password", "port"]), inner),
    max_leaves=6,
)


@hypothesis.given(
    st.dictionaries(
        st.sampled_from(
            ["version", "block_size", "as_number", "bgp_port", "route_reflectors", "route_reflector_cluster_id", "peers", "node_password", "api_group"]
            + ["advertise_external_ips", "advertise_load_balancer_ips", "bgp_configuration", "felix_configuration", "values", "mesh"]
        ),
        ANY,
        max_size=4,
    )
)
def test_what_the_problems_let_pass_the_other_filters_take(more: dict[str, t.Any]) -> None:
    wanted = settings(node_ips={"cp1": "192.0.2.11"}, **more)
    if not calico_problems(wanted):
        calico_values(wanted)
        calico_resources(wanted)


NODES = [
    {"name": "cp1", "uid": "u1", "addresses": ["192.0.2.11", "2001:db8::11"], "labels": {}},
    {"name": "w1", "uid": "u2", "addresses": ["192.0.2.21"], "labels": {}},
]


@pytest.mark.parametrize("named", [{"route_reflectors": ["192.0.2.11"]}, {"route_reflectors": ["first"], "node_ips": {"first": "192.0.2.11"}}])
def test_reflector_nodes(named: dict[str, t.Any]) -> None:
    assert calico_reflector_nodes(NODES, settings(**named)) == [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": "cp1",
                "uid": "u1",
                "labels": {"route-reflector": "true"},
                "annotations": {"projectcalico.org/RouteReflectorClusterID": "244.0.0.1"},
            },
        },
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w1", "uid": "u2"}},
    ]


# --- what is refused


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"version": "3.28.5"}, "3.29 is the oldest"),
        ({"version": "latest"}, "must be a release such as 3.32.4, without a v"),
        # the chart would be vv3.32.4
        ({"version": "v3.32.4"}, "without a v"),
        ({"encapsulation": "geneve"}, "calico has none, vxlan"),
        ({"proxy_mode": "kernelspace"}, "must be one of ipvs"),
        ({"proxy_mode": "none", "api_endpoint": "api"}, "needs host and port"),
        ({"pod_mtu": 0}, "from 576 to 65535"),
        ({"pod_mtu": 1279, "pod_cidr": "fd00:10::/56"}, "from 1280 to 65535"),
        ({"pod_cidr": "10.244.0.1/16"}, "host bits"),
        ({"block_size": 14}, "from 20 to 32"),
        ({"block_size": "x"}, "cni_calico_block_size is 'x', but must be a number from 20 to 32"),
        ({"block_size": 20, "pod_cidr": "10.244.0.0/22"}, "has 0 blocks of /20"),
        ({"pod_cidr": "fd00:10::/122"}, "has 1 blocks of /122, but each of the 3 nodes needs one; take a larger network"),
        ({"pod_cidr": "10.244.0.0/26", "nodes": 2}, "has 1 blocks of /26"),
        ({"api_group": "projectcalico.org/v4"}, "must be crd.projectcalico.org/v1 or"),
        ({"api_group": "projectcalico.org/v3", "version": "3.31.7"}, "Calico 3.32 or later"),
        ({"api_group": "projectcalico.org/v3", "kubernetes_minor": 35}, "from 1.36 on"),
    ],
)
def test_refused_values(more: dict[str, t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"^calico_values: .*{message}"):
        calico_values(settings(**more))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"as_number": 0}, "cni_calico_as_number is 0"),
        # 1.10 in dotted notation, as YAML reads it
        ({"as_number": 1.1}, "cni_calico_as_number is 1.1, but"),
        ({"peers": [ROUTER | {"as_number": 1.1}]}, r"the AS number of BGP peer rack-a \(cni_calico_bgp_peers\) is 1.1, but"),
        ({"bgp_port": 70000}, "cni_calico_bgp_port is 70000"),
        ({"peers": [{"name": "a", "address": "192.0.2.1"}]}, r"AS number of BGP peer a \(cni_calico_bgp_peers\) is None"),
        ({"peers": ["192.0.2.1"]}, "must be a list of dicts"),
        ({"peers": "192.0.2.1"}, "cni_calico_bgp_peers must be a list"),
        ({"peers": [ROUTER | {"name": "a..b"}]}, "lower case"),
        ({"peers": [ROUTER | {"name": "a" * 254}]}, "lower case"),
        # the sessions that are expected would be others than there are
        ({"peers": [ROUTER | {"spec": {"node": "w1", "keepaliveTime": "9s"}}]}, r"variables of their own: node \(node_selector\); take these"),
        ({"peers": [ROUTER | {"password": "x" * 81}]}, "has 81 bytes, but Linux takes 80"),
        ({"node_password": "\u00e9" * 41}, "has 82 bytes, but Linux takes 80"),
        ({"mesh": False}, "cni_calico_mesh is false, but then nobody tells"),
        ({"peers": [{"name": "a", "as_number": 1}]}, "must have an IP address"),
        ({"peers": [{"name": "A_", "address": "192.0.2.1", "as_number": 1}]}, "lower case"),
        ({"peers": [ROUTER | {"name": "route-reflectors"}]}, "and not route-reflectors"),
        ({"peers": [ROUTER, ROUTER]}, "two with the name rack-a"),
        ({"peers": [ROUTER | {"asn": 1}]}, "unknown key 'asn'"),
        ({"peers": [ROUTER | {"node_selector": "rack = 'a'"}]}, "node_selector of BGP peer rack-a .* cannot be read"),
        ({"peers": [ROUTER | {"password": "x", "password_secret": {"name": "n", "key": "k"}}]}, "take one"),
        ({"peers": [ROUTER | {"password_secret": {"name": "n"}}]}, "must have name and key"),
        ({"peers": [ROUTER | {"name": "nodes", "password": "x"}], "node_password": "y"}, "rename it"),
        ({"advertise_external_ips": ["192.0.2.9-192.0.2.1"]}, "cni_calico_advertise_external_ips has .* swap the two"),
        ({"advertise_external_ips": "192.0.2.9"}, "cni_calico_advertise_external_ips must be a list"),
        ({"bgp_configuration": {"nodeToNodeMeshEnabled": False}}, r"nodeToNodeMeshEnabled \(cni_calico_mesh\)"),
        ({"bgp_configuration": {"listenPort": 1179}}, r"listenPort \(cni_calico_bgp_port\)"),
        ({"bgp_configuration": ["x"]}, "cni_calico_bgp_configuration must be a dict"),
        ({"felix_configuration": {"wireguardEnabled": True}}, r"wireguardEnabled \(cluster_cni_encryption\)"),
        ({"felix_configuration": {"wireguardEnabledV6": True}}, r"wireguardEnabledV6 \(cluster_cni_encryption\)"),
    ],
)
def test_refused_resources(more: dict[str, t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"^calico_resources: .*{message}") as caught:
        calico_resources(settings(**more))
    assert "'x'" not in str(caught.value) and "xx" not in str(caught.value), "a password"
    assert str(caught.value).count(str(caught.value)[-30:]) == 1, "told twice"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"route_reflectors": ["192.0.2.99"]}, "192.0.2.99 is the address of no node"),
        ({"route_reflectors": ["w9"], "node_ips": {"cp1": "192.0.2.11"}}, "has 'w9', but must have inventory names of nodes: cp1"),
        ({"route_reflector_cluster_id": "7"}, "as an IPv4 address"),
    ],
)
def test_refused_reflectors(more: dict[str, t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"^calico_reflector_nodes: .*{message}"):
        calico_reflector_nodes(NODES, settings(**more))
