# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.filter.kernel_plan import kernel_plan
from ansible_collections.baremetal.kubernetes.plugins.filter.modules_load_text import modules_load
from ansible_collections.baremetal.kubernetes.plugins.filter.sysctl_dropin_text import sysctl_dropin_text
from ansible_collections.baremetal.kubernetes.plugins.module_utils._sysctl import parse_ports
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._kernel_plan import (
    IPVS_SCHEDULERS,
    conntrack_max,
    neighbour_thresholds,
    round_memory,
)

CONTRACT = {
    "cni": "bridge",
    "proxy_mode": "ipvs",
    "ipvs_scheduler": "rr",
    "conntrack_owner": "sysctl",
    "cpus": 2,
    "memory_mb": 3000,
    "kernel": "6.1.0-41-amd64",
    "nodes": 2,
    "max_pods": 110,
    "pod_cidr": "10.244.0.0/16",
    "pod_prefix_length": 24,
    "api_port": 6443,
    "node_port_range": "30000-32767",
    "load_balancer": False,
}


def plan(**changes) -> dict:
    return kernel_plan({**CONTRACT, **changes})


def names(**changes) -> list[str]:
    return [item["name"] for item in plan(**changes)["modules"]]


def values(**changes) -> dict[str, str]:
    return {item["key"]: item["value"] for item in plan(**changes)["sysctls"]}


def entry(key: str, **changes) -> dict:
    return next(item for item in plan(**changes)["sysctls"] if item["key"] == key)


def test_what_every_node_gets() -> None:
    got = values()
    assert got["net.ipv4.ip_forward"] == "1"
    assert got["net.bridge.bridge-nf-call-iptables"] == got["net.bridge.bridge-nf-call-ip6tables"] == "1"
    assert got["net.ipv4.ip_local_port_range"] == "1024 65535"
    assert got["net.core.somaxconn"] == "32768" and got["net.ipv4.tcp_max_syn_backlog"] == "8192"
    assert got["fs.file-max"] == "2097152" and entry("fs.file-max")["min_only"]
    assert got["fs.inotify.max_user_instances"] == "8192" and got["fs.inotify.max_user_watches"] == "524288"
    order = list(got)
    assert order.index("net.ipv4.ip_local_reserved_ports") < order.index("net.ipv4.ip_local_port_range")


def test_one_owner_for_what_kube_proxy_sets() -> None:
    assert not [key for key in values() if "arp_" in key or key.startswith("net.ipv4.vs.")]
    owned = [key for key in values() if "conntrack" in key]
    assert owned == ["net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets"]
    assert not [key for key in values(conntrack_owner="kube_proxy") if "conntrack" in key]


def test_every_key_has_a_reason_above_it_and_every_file_is_accepted() -> None:
    for cni in ("bridge", "flannel", "calico", "cilium"):
        found = plan(cni=cni)
        assert found["sysctls"][0]["comment"] and found["modules"][0]["comment"]
        assert "net.ipv4.ip_forward = 1\n" in sysctl_dropin_text(found["sysctls"])
        assert "\nnf_conntrack\n" in modules_load(found["modules"])
        assert max(len(line) for line in sysctl_dropin_text(found["sysctls"]).splitlines()) <= 160


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["overlay", "br_netfilter", "nf_conntrack", "ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh"]),
        ({"ipvs_scheduler": "mh"}, ["overlay", "br_netfilter", "nf_conntrack", "ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh", "ip_vs_mh"]),
        ({"proxy_mode": "nftables"}, ["overlay", "br_netfilter", "nf_conntrack", "nf_tables"]),
        ({"proxy_mode": "iptables", "cni": "flannel"}, ["overlay", "br_netfilter", "nf_conntrack", "vxlan"]),
        ({"proxy_mode": "iptables", "cni": "flannel", "encryption": "wireguard"}, ["overlay", "br_netfilter", "nf_conntrack", "wireguard"]),
        ({"proxy_mode": "iptables", "cni": "flannel", "encapsulation": "none"}, ["overlay", "br_netfilter", "nf_conntrack"]),
        ({"proxy_mode": "none", "cni": "calico"}, ["overlay", "br_netfilter", "nf_conntrack"]),
        ({"proxy_mode": "none", "cni": "calico", "encapsulation": "ipip_cross_subnet"}, ["overlay", "br_netfilter", "nf_conntrack", "ipip"]),
        (
            {"proxy_mode": "none", "cni": "cilium", "encapsulation": "geneve", "encryption": "wireguard"},
            ["overlay", "br_netfilter", "nf_conntrack", "geneve", "wireguard"],
        ),
    ],
)
def test_modules(changes: dict, expected: list[str]) -> None:
    assert names(**changes) == expected


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "lblc", "lblcr", "mh"])
def test_each_scheduler_has_its_module(scheduler: str) -> None:
    assert names(ipvs_scheduler=scheduler).count(f"ip_vs_{scheduler}") == 1
    assert scheduler in IPVS_SCHEDULERS


def test_what_only_some_pod_networks_need_is_optional_elsewhere() -> None:
    def optional(**changes) -> dict:
        return {item["name"]: item["optional"] for item in plan(**changes)["modules"]}

    assert optional()["br_netfilter"] is False and optional(cni="calico")["br_netfilter"] is True
    assert optional(cni="flannel")["vxlan"] is False, "without it not a packet leaves the node"
    assert entry("net.bridge.bridge-nf-call-iptables", cni="cilium")["optional"] and not entry("net.bridge.bridge-nf-call-iptables")["optional"]


@pytest.mark.parametrize(("cni", "value"), [("cilium", "0"), ("calico", "0"), ("flannel", "2"), ("bridge", "2")])
def test_rp_filter_by_pod_network(cni: str, value: str) -> None:
    got = values(cni=cni)
    assert got["net.ipv4.conf.all.rp_filter"] == got["net.ipv4.conf.default.rp_filter"] == value
    assert values(cni=cni, rp_filter="1")["net.ipv4.conf.all.rp_filter"] == "1"


@pytest.mark.parametrize(
    ("kernel", "wanted", "value"),
    [
        ("6.1.0-41-amd64", "auto", "2"),
        ("4.19.0", "auto", "2"),
        ("4.18.0-553.el8", "auto", "0"),
        ("3.10.0-1160.el7", "auto", "0"),
        ("", "auto", "2"),
        ("6.1.0", "1", "1"),
        ("6.1.0", 0, "0"),
    ],
)
def test_tcp_tw_reuse(kernel: str, wanted, value: str) -> None:
    assert values(kernel=kernel, tcp_tw_reuse=wanted)["net.ipv4.tcp_tw_reuse"] == value


def test_reserved_ports() -> None:
    assert values()["net.ipv4.ip_local_reserved_ports"] == "2379-2381,6443,10248-10259,30000-32767"
    ports = parse_ports(
        values(cni="calico", load_balancer=True, api_port=7443, node_port_range="20000-20010", reserved_ports=["9100", "22, 8000-8001"])[
            "net.ipv4.ip_local_reserved_ports"
        ]
    )
    assert {7443, 20000, 20010, 4789, 9099, 5473, 7946, 7472, 9100, 8000, 8001, 2380, 10250, 10256, 10259} <= ports
    assert not {22, 179, 6443, 30000, 8472} & ports
    assert 8472 in parse_ports(values(cni="flannel")["net.ipv4.ip_local_reserved_ports"])
    assert {4240, 8472} <= parse_ports(values(cni="cilium")["net.ipv4.ip_local_reserved_ports"])


@pytest.mark.parametrize(
    ("cpus", "memory_mb", "expected"),
    [
        # small machines: kube-proxy's floor, as far as a 32nd of the memory allows
        (1, 256, 32768),
        (1, 980, 98304),
        (1, 1482, 131072),
        (2, 2968, 131072),
        (4, 4096, 131072),
        # above 4 GiB the kernel's own default is larger
        (2, 4500, 262144),
        (4, 7900, 262144),
        (8, 16000, 262144),
        (16, 32000, 524288),
        (32, 128000, 1048576),
        (256, 2000000, 1048576),
        # many cores, little memory
        (64, 4096, 393216),
    ],
)
def test_conntrack_formula(cpus: int, memory_mb: int, expected: int) -> None:
    assert conntrack_max(cpus, memory_mb) == expected
    got = values(cpus=cpus, memory_mb=memory_mb)
    assert got["net.netfilter.nf_conntrack_max"] == str(expected) and got["net.netfilter.nf_conntrack_buckets"] == str(expected // 4)


@settings(deadline=None)
@given(st.integers(1, 1024), st.integers(128, 8_000_000))
def test_conntrack_bounds(cpus: int, memory_mb: int) -> None:
    size = conntrack_max(cpus, memory_mb)
    assert 32768 <= size <= 1048576 and size % 32768 == 0
    assert size == 32768 or size * 320 * 32 <= round_memory(memory_mb) * 1024 * 1024
    assert conntrack_max(cpus + 1, memory_mb) >= size and conntrack_max(cpus, memory_mb + 512) >= size


def test_conntrack_size_of_the_users_own() -> None:
    got = values(conntrack_max=100001)
    assert got["net.netfilter.nf_conntrack_max"] == "100001" and got["net.netfilter.nf_conntrack_buckets"] == "25001"


def test_memory_that_differs_by_what_the_kernel_keeps_gives_one_size() -> None:
    assert {round_memory(mb) for mb in (2850, 2968, 3000, 3072)} == {3072}


@pytest.mark.parametrize(
    ("nodes", "pods", "expected"),
    [
        (1, 30, (1024, 2048, 4096)),
        (2, 110, (1024, 2048, 4096)),
        (100, 250, (2048, 4096, 8192)),
        (1000, 110, (4096, 8192, 16384)),
        (5000, 110, (16384, 32768, 65536)),
    ],
)
def test_neighbour_thresholds(nodes: int, pods: int, expected: tuple) -> None:
    assert neighbour_thresholds(nodes, pods) == expected


def test_neighbours_for_both_families_largest_first() -> None:
    keys = [key for key in values(nodes=1000) if "gc_thresh" in key]
    assert keys == [f"net.{family}.neigh.default.gc_thresh{n}" for family in ("ipv4", "ipv6") for n in (3, 2, 1)]
    assert values(nodes=1000)["net.ipv6.neigh.default.gc_thresh3"] == "16384"
    assert entry("net.ipv6.neigh.default.gc_thresh1")["optional"] and not entry("net.ipv4.neigh.default.gc_thresh1")["optional"]
    # 14 addresses in a /28 hold no 110 pods
    assert "2 nodes and 16 pods on each" in entry("net.ipv4.neigh.default.gc_thresh3", pod_prefix_length=28)["comment"]


def test_ipv6_pods_need_forwarding() -> None:
    assert "net.ipv6.conf.all.forwarding" not in values()
    assert values(pod_cidr="fd00:10::/56", pod_prefix_length=64)["net.ipv6.conf.all.forwarding"] == "1"


def test_extras_replace_and_append() -> None:
    found = plan(
        sysctls_extra=[{"key": "net/core/somaxconn", "value": 4096}, {"key": "vm.max_map_count", "value": 262144}],
        modules_extra=[{"name": "br_netfilter", "optional": True}, {"name": "wireguard"}],
    )
    got = {item["key"]: item for item in found["sysctls"]}
    assert "net.core.somaxconn" not in got and got["net/core/somaxconn"] == {"key": "net/core/somaxconn", "value": 4096}
    assert found["sysctls"][-1]["key"] == "vm.max_map_count"
    assert [item["name"] for item in found["modules"]].count("br_netfilter") == 1 and found["modules"][-1]["name"] == "wireguard"
    assert next(item for item in found["modules"] if item["name"] == "br_netfilter")["optional"] is True


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cni": "weave"}, "cni is 'weave', but must be one of bridge, calico, cilium, flannel."),
        ({"proxy_mode": "userspace"}, "proxy_mode is 'userspace', but must be one of"),
        ({"ipvs_scheduler": "fastest"}, "ipvs_scheduler is 'fastest', but must be one of dh, lblc,"),
        ({"conntrack_owner": "both"}, "conntrack_owner is 'both', but must be one of kube_proxy, sysctl."),
        ({"rp_filter": 3}, "rp_filter is 3, but must be auto, 0, 1 or 2."),
        ({"tcp_tw_reuse": "yes"}, "tcp_tw_reuse is 'yes', but must be auto, 0, 1 or 2."),
        ({"reserved_ports": ["http"]}, "reserved ports 'http' are not written as ports and ranges, such as 8080,9100-9110."),
        ({"reserved_ports": ["-5"]}, "reserved ports '-5' are not written as ports and ranges"),
        ({"reserved_ports": ["8010-8000"]}, "reserved ports '8010-8000' are not written as ports and ranges"),
        ({"reserved_ports": ["70000"]}, "reserved port 70000 is larger than 65535."),
        ({"cpus": "many"}, "cpus is 'many', but must be a number from 0 on."),
        ({"memory_mb": -1}, "memory_mb is -1, but must be a number from 0 on."),
    ],
)
def test_wrong_input_gets_one_sentence(changes: dict, said: str) -> None:
    with pytest.raises(AnsibleFilterError, match=re.escape(said)):
        plan(**changes)


def test_text_filters_refuse_with_their_name() -> None:
    with pytest.raises(AnsibleFilterError, match="sysctl_dropin_text: Key 'x y'"):
        sysctl_dropin_text([{"key": "x y", "value": 1}])
    with pytest.raises(AnsibleFilterError, match="modules_load_text: 'x y' is not the name"):
        modules_load([{"name": "x y"}])
