# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters metallb_problems and metallb_from_configmap."""

from __future__ import annotations

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.filter.metallb_from_configmap import metallb_from_configmap
from ansible_collections.baremetal.kubernetes.plugins.filter.metallb_problems import metallb_problems

POOL = {"name": "default", "addresses": ["192.0.2.200-192.0.2.239"]}
ROUTER = {"name": "tor1", "address": "192.0.2.1", "as_number": 64500}
SETTINGS = {
    "mode": "frr-k8s",
    "pools": [POOL],
    "peers": [],
    "peer_passwords": {},
    "bfd_profiles": [],
    "communities": {},
    "as_number": 64512,
    "kubernetes_minor": 36,
    "pod_cidr": "10.244.0.0/16",
    "service_cidr": "10.96.0.0/12",
    "node_ips": {"cp1": "192.0.2.11", "w1": "192.0.2.12"},
    "node_cidrs": [],
    "api_endpoint": "",
    "load_balancer_ranges": ["192.0.2.200-192.0.2.239"],
    "dhcp_ranges": [],
    "proxy_mode": "ipvs",
    "strict_arp": True,
    "kube_proxy_config": {},
    "cni": "flannel",
    "calico_load_balancer_ips": [],
    "calico_peers": [],
    "cilium_load_balancer": "none",
    "cilium_peers": [],
    "route_observers": [],
    "known_hosts": ["cp1", "w1", "r1"],
    "address_pools_text": "",
}


def problems(**changes):
    return metallb_problems({**SETTINGS, **changes})


def notices(**changes):
    return metallb_problems({**SETTINGS, **changes}, "notice")


def pools(*addresses, **keys):
    return [{**POOL, "addresses": list(addresses), **keys}]


def test_nothing_to_say():
    assert (problems(), notices()) == ([], [])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"pools": pools("10.244.9.0/24")}, "pool default has 10.244.9.0-10.244.9.255, which is also of cluster_pod_cidr"),
        ({"pools": pools("10.100.0.1")}, "which is also of cluster_service_cidr (10.96.0.0-10.111.255.255); take it out of the pool"),
        ({"pools": pools("192.0.2.8/30")}, "pool default has 192.0.2.11, which is also of the node IP of cp1 (192.0.2.11)"),
        ({"api_endpoint": "192.0.2.201:6443"}, "pool default has 192.0.2.201, which is also of cluster_api_endpoint"),
        ({"pools": pools("192.0.2.1"), "peers": [ROUTER]}, "which is also of the address of peer tor1"),
        (
            {"dhcp_ranges": ["192.0.2.100-192.0.2.205"]},
            "pool default and metallb_dhcp_ranges share 192.0.2.200-192.0.2.205, so that the DHCP server",
        ),
        ({"dhcp_ranges": ["lan"]}, "metallb_dhcp_ranges has 'lan', which is neither"),
        ({"pools": pools("192.0.2.200/29", "192.0.2.204")}, "pool default has 192.0.2.204 twice"),
        (
            {"pools": [POOL, {"name": "web", "addresses": ["192.0.2.230-192.0.2.250"]}]},
            "pool default has 192.0.2.230-192.0.2.239, which is also of pool web (192.0.2.230-192.0.2.250)",
        ),
        ({"pools": pools("2001:db8::/120")}, "pool default has 2001:db8::-2001:db8::ff, but Services here have IPv4"),
        (
            {"pools": pools("192.0.2.200/30", protocol="bgp", bgp={"aggregation_length": 28}), "peers": [ROUTER]},
            "bgp of pool default wants routes of /28, but 192.0.2.200-192.0.2.203 holds no more than a /30",
        ),
        # .200-.239 is a /29, a /28 and a /28
        (
            {"pools": pools("192.0.2.200-192.0.2.239", protocol="bgp", bgp={"aggregation_length": 27}), "peers": [ROUTER]},
            "holds no more than a /28",
        ),
        ({"strict_arp": False}, "cluster_ipvs_strict_arp is False and cluster_proxy_mode 'ipvs', so every node answers ARP"),
        ({"kube_proxy_config": {"ipvs": {"strictARP": False}}}, "ipvs.strictARP in cluster_kube_proxy_config is False"),
        (
            {"cni": "calico", "calico_load_balancer_ips": ["192.0.2.192/26"]},
            "pool default is announced by MetalLB (protocol layer2), and Calico announces its 192.0.2.200-192.0.2.239 by BGP"
            " (cni_calico_advertise_load_balancer_ips). Calico should announce: set protocol: none",
        ),
        (
            {"cni": "calico", "calico_peers": [{"address": "192.0.2.1"}], "peers": [ROUTER]},
            "peer tor1 (192.0.2.1) is a BGP peer of Calico too (cni_calico_bgp_peers), and a router takes one session from a node only."
            " Calico should announce: name the pool's addresses in cni_calico_advertise_load_balancer_ips",
        ),
        (
            {"cni": "cilium", "cilium_load_balancer": "l2"},
            "MetalLB should announce where it is installed: set cni_cilium_load_balancer to none",
        ),
        ({"cni": "cilium", "cilium_load_balancer": "bgp"}, "cluster_load_balancer is 'metallb' and cni_cilium_load_balancer 'bgp'"),
        ({"cni": "cilium", "cilium_peers": [{"address": "192.0.2.1"}], "peers": [ROUTER]}, "is a BGP peer of Cilium too"),
        ({"route_observers": ["r1", "r2"]}, "metallb_route_observers has r2, which the inventory does not"),
        ({"kubernetes_minor": 20}, "Kubernetes 1.20, but MetalLB 0.16 needs 1.21 or later"),
        # of single settings
        ({"mode": "frr"}, "metallb_mode is 'frr'"),
        ({"mode": "native", "bfd_profiles": [{"name": "x"}]}, "native, which has no BFD"),
    ],
)
def test_problems(changes, words):
    found = problems(**changes)
    assert len(found) == 1, found
    assert words in found[0]
    assert found[0].endswith(".")


@pytest.mark.parametrize(
    "changes",
    [
        {"strict_arp": False, "proxy_mode": "nftables"},
        {"strict_arp": False, "kube_proxy_config": {"ipvs": {"strictARP": True}}},
        {"strict_arp": False, "pools": pools("192.0.2.200", protocol="bgp"), "peers": [ROUTER]},
        # Calico's settings count where Calico is
        {"calico_load_balancer_ips": ["192.0.2.192/26"], "calico_peers": [{"address": "192.0.2.1"}], "peers": [ROUTER]},
        {"cilium_load_balancer": "l2"},
        {"cni": "calico", "calico_load_balancer_ips": ["198.51.100.0/24"], "calico_peers": [{"address": "192.0.2.2"}], "peers": [ROUTER]},
        {"cni": "calico", "calico_load_balancer_ips": ["192.0.2.192/26"], "pools": pools("192.0.2.200-192.0.2.239", protocol="none")},
        {"pools": pools("192.0.2.200/30", protocol="bgp", bgp={"aggregation_length": 30}), "peers": [ROUTER]},
        {"api_endpoint": "api.example.net:6443"},
        {"dhcp_ranges": ["192.0.2.100-192.0.2.199"]},
    ],
)
def test_what_is_no_problem(changes):
    assert problems(**changes) == []


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"pools": pools("192.0.2.240")}, "pool default has 192.0.2.240, which is not in cluster_load_balancer_ranges"),
        ({"node_cidrs": ["192.0.2.0/25"]}, "which is in none of cluster_node_cidrs: with layer2 only machines whose network it is"),
        ({"pools": pools("192.0.2.200", protocol="none")}, "has protocol none and nothing here announces 192.0.2.200"),
        (
            {"address_pools_text": "metallb_pools: []\n"},
            "which MetalLB ended with 0.13; it was converted. Write instead:\nmetallb_pools: []",
        ),
    ],
)
def test_notices(changes, words):
    found = notices(**changes)
    assert len(found) == 1, found
    assert words in found[0]
    assert problems(**changes) == []


def test_everything_is_told_at_once():
    found = problems(pools=[{**POOL, "protocol": "x"}, {"name": "web", "addresses": ["192.0.2.11"]}], strict_arp=False, mode="x")
    assert len(found) == 4


def test_what_is_missing_or_wrong_is_named():
    with pytest.raises(AnsibleFilterError, match="metallb_problems: the setting 'cni' is missing"):
        metallb_problems({key: value for key, value in SETTINGS.items() if key != "cni"})
    with pytest.raises(AnsibleFilterError, match="severity is 'all'"):
        metallb_problems(SETTINGS, "all")


# --- the old ConfigMap

OLD = """
peers:
- peer-address: 192.0.2.1
  peer-asn: 64500
  my-asn: 64512
  peer-port: 1790
  hold-time: 1m30s
  keepalive-time: 30s
  source-address: 192.0.2.99
  router-id: 192.0.2.100
  ebgp-multihop: true
  password: s3cret
  bfd-profile: Fast_1
  node-selectors:
  - match-labels: {rack: r1}
  - match-expressions:
    - {key: edge, operator: In, values: ["yes"]}
- {peer-address: 192.0.2.2, peer-asn: 64500, my-asn: 64512}
bgp-communities: {cheap: "64512:100"}
bfd-profiles:
- {name: Fast_1, receive-interval: 380, detect-multiplier: 3, echo-mode: true}
address-pools:
- name: My_Pool 1
  protocol: layer2
  addresses: [192.0.2.200-192.0.2.239]
- name: wan
  protocol: bgp
  auto-assign: false
  avoid-buggy-ips: true
  addresses: [203.0.113.0/26]
  bgp-advertisements:
  - {aggregation-length: 32, localpref: 100, communities: [cheap]}
  - {aggregation-length: 26, aggregation-length-v6: 64}
"""
CONVERTED = {
    "pools": [
        {"name": "my-pool-1", "addresses": ["192.0.2.200-192.0.2.239"], "protocol": "layer2"},
        {
            "name": "wan",
            "addresses": ["203.0.113.0/26"],
            "protocol": "bgp",
            "auto_assign": False,
            "avoid_buggy_ips": True,
            "bgp": [
                {"aggregation_length": 32, "local_preference": 100, "communities": ["cheap"]},
                {"aggregation_length": 26, "aggregation_length_v6": 64},
            ],
        },
    ],
    "peers": [
        {
            "name": "peer-1",
            "address": "192.0.2.1",
            "as_number": 64500,
            "my_as_number": 64512,
            "port": 1790,
            "hold_seconds": 90,
            "keepalive_seconds": 30,
            "source_address": "192.0.2.99",
            "router_id": "192.0.2.100",
            "multihop": True,
            "bfd_profile": "fast-1",
            "nodes": [{"matchLabels": {"rack": "r1"}}, {"matchExpressions": [{"key": "edge", "operator": "In", "values": ["yes"]}]}],
        },
        {"name": "peer-2", "address": "192.0.2.2", "as_number": 64500, "my_as_number": 64512},
    ],
    "bfd_profiles": [{"name": "fast-1", "receive_interval": 380, "detect_multiplier": 3, "echo_mode": True}],
    "communities": {"cheap": "64512:100"},
    "peer_passwords": {"peer-1": "s3cret"},
}
CONFIGMAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"namespace": "metallb-system", "name": "config"},
    "data": {"config": OLD},
}


@pytest.mark.parametrize("value", [OLD, yaml.safe_load(OLD), CONFIGMAP, yaml.safe_dump(CONFIGMAP)])
def test_converted(value):
    """Golden."""
    found = metallb_from_configmap(value)
    text = found.pop("text")
    assert found == CONVERTED
    assert "s3cret" not in text
    shown = yaml.safe_load(text)
    assert shown["metallb_peer_passwords"] == {"peer-1": "{{ vault_peer_1_password }}"}
    assert {key: shown[f"metallb_{key}"] for key in ("pools", "peers", "bfd_profiles", "communities")} == {
        key: CONVERTED[key] for key in ("pools", "peers", "bfd_profiles", "communities")
    }


def test_what_was_converted_is_accepted():
    found = metallb_from_configmap(OLD)
    del found["text"]
    assert problems(**found, load_balancer_ranges=["192.0.2.200-192.0.2.239", "203.0.113.0/26"]) == []


def test_the_list_of_pools_alone():
    pool = {"name": "default", "protocol": "layer2", "addresses": ["192.0.2.200-192.0.2.239"]}
    for value in ([pool], yaml.safe_dump([pool]), {"address-pools": [pool]}):
        found = metallb_from_configmap(value)
        assert (found["pools"], found["peers"], found["peer_passwords"]) == ([pool], [], {})
        assert yaml.safe_load(found["text"]) == {"metallb_pools": [pool]}


@pytest.mark.parametrize(
    "value, words",
    [
        ("a: b\n[s3cret", "metallb_address_pools is no YAML, see its line 2"),
        ("word", "metallb_address_pools is text, but must be a dict with the keys address-pools, peers"),
        ({"pools": []}, "metallb_address_pools has pools, which MetalLB's ConfigMap did not know"),
        ([{"name": "x", "adresses": []}], "address pool 1 has adresses, which"),
        (["x"], "address pool 1 is text, but must be a dict"),
        ({"peers": {"password": "s3cret"}}, "peers of metallb_address_pools is a dict, but must be a list"),
        ({"peers": [{"hold-time": "soon"}]}, "hold-time of peer 1 is 'soon', but must be a duration such as 90s"),
        ({"peers": [{"node-selectors": [{"labels": {}}]}]}, "node-selectors of peer 1 has labels"),
        ({"bgp-communities": []}, None),
        ({"bgp-communities": ["x"]}, "bgp-communities of metallb_address_pools is a list, but must be a dict"),
    ],
)
def test_what_cannot_be_converted(value, words):
    if words is None:
        assert metallb_from_configmap(value)["communities"] == {}
        return
    with pytest.raises(AnsibleFilterError) as caught:
        metallb_from_configmap(value)
    assert str(caught.value).startswith("metallb_from_configmap: ")
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["address-pools", "peers", "name", "password", "kind"]), inner, max_size=3),
)


@given(JUNK)
def test_junk_is_converted_or_refused_with_a_sentence(value):
    try:
        assert set(metallb_from_configmap(value)) == {*CONVERTED, "text"}
    except AnsibleFilterError as error:
        assert str(error).startswith("metallb_from_configmap: ")
