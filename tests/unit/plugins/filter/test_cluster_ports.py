# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node needs which port of which other node."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.filter.cluster_ports import cluster_ports

NODES = {"cp1": "192.0.2.11", "cp2": "192.0.2.12", "w1": "192.0.2.21", "w2": "192.0.2.22"}
MASTERS = ["cp1", "cp2"]


def between(cni: str, encapsulation: object = "", **more: object) -> set[str]:
    """What the network of the pods adds."""
    rows = cluster_ports(NODES, MASTERS, cni, encapsulation, **more)["ports"]
    assert all(row["purpose"] and row["source"] for row in rows)
    known = {6443, 2379, 2380, 2381, 10250, 10248, 10257, 10259, 10249, 10256}
    return {f"{row['port']}/{row['protocol']}" for row in rows if row["port"] not in known and row["from"] == row["to"] == "node"}


@pytest.mark.parametrize(
    ("cni", "encapsulation", "more", "ports"),
    [
        ("bridge", "", {}, set()),
        ("flannel", "", {}, {"8472/udp"}),
        ("flannel", "none", {}, set()),
        ("flannel", "", {"encryption": "wireguard"}, {"51820/udp"}),
        ("calico", "", {}, {"179/tcp", "5473/tcp"}),
        ("calico", "ipip", {}, {"4/ipip", "179/tcp", "5473/tcp"}),
        ("calico", "ipip_cross_subnet", {}, {"4/ipip", "179/tcp", "5473/tcp"}),
        ("calico", "vxlan_cross_subnet", {}, {"4789/udp", "5473/tcp"}),
        ("calico", "vxlan", {}, {"4789/udp", "5473/tcp"}),
        ("calico", "vxlan", {"bgp": True}, {"4789/udp", "179/tcp", "5473/tcp"}),
        ("calico", "vxlan", {"encryption": "wireguard"}, {"4789/udp", "51820/udp", "5473/tcp"}),
        ("cilium", "", {}, {"8472/udp", "4240/tcp"}),
        ("cilium", "geneve", {"proxy_mode": "none"}, {"6081/udp", "4240/tcp"}),
        ("cilium", "vxlan", {"encryption": "wireguard"}, {"8472/udp", "51871/udp", "4240/tcp"}),
        ("bridge", "none", {"metallb": True}, {"7946/tcp", "7946/udp"}),
    ],
)
def test_ports_of_the_pod_network(cni: str, encapsulation: object, more: dict, ports: set[str]) -> None:
    assert between(cni, encapsulation, **more) == ports


def test_wireguard_of_ipv6_has_a_port_of_its_own() -> None:
    rows = cluster_ports({"a": "2001:db8::1"}, [], "calico", encryption="wireguard")["ports"]
    assert [row["port"] for row in rows if "WireGuard" in row["purpose"]] == [51821]


def asked(host: str, **more: object) -> dict[str, tuple[list[int], list[int]]]:
    peers = cluster_ports(NODES, MASTERS, "flannel", host=host, **more)["peers"]
    return {peer["name"]: (peer["tcp_ports"], peer["udp_ports"]) for peer in peers}


def test_who_asks_whom() -> None:
    # a worker asks neither etcd nor the kubelet of anybody; a firewall may keep it out there
    assert asked("w1") == {"cp1": ([6443], [8472]), "cp2": ([6443], [8472]), "w2": ([], [8472])}
    assert asked("cp1") == {"cp2": ([6443, 2379, 2380, 10250], [8472]), "w1": ([10250], [8472]), "w2": ([10250], [8472])}


def test_what_a_node_answers_and_needs_for_itself() -> None:
    worker = cluster_ports(NODES, MASTERS, "flannel", host="w1")
    assert (worker["tcp_ports"], worker["udp_ports"], worker["ipip"]) == ([10250], [8472], False)
    assert [row["port"] for row in worker["local"]] == [10250, 10248, 10249, 10256, 8472]
    master = cluster_ports(NODES, MASTERS, "calico", "ipip", host="cp1", proxy_mode="none", api_port=8443)
    assert (master["tcp_ports"], master["udp_ports"], master["ipip"]) == ([8443, 2379, 2380, 10250, 179, 5473], [], True)
    assert [row["port"] for row in master["local"]] == [8443, 2379, 2380, 2381, 10250, 10248, 10257, 10259, 179, 5473]


def test_every_port_that_is_asked_is_listened_to() -> None:
    for cni in ("bridge", "flannel", "calico", "cilium"):
        views = {host: cluster_ports(NODES, MASTERS, cni, host=host, metallb=True) for host in NODES}
        for view in views.values():
            for peer in view["peers"]:
                there = views[peer["name"]]
                assert set(peer["tcp_ports"]) <= set(there["tcp_ports"])
                assert set(peer["udp_ports"]) <= set(there["udp_ports"])
                assert not peer["ipip"] or there["ipip"]


def test_only_nodes_with_a_listener_are_asked() -> None:
    busy = [{"protocol": "tcp", "port": 10250, "reason": "busy"}]
    listeners = [
        {"name": "w1", "listening": True, "measure_port": 33434, "unserved": busy},
        {"name": "w2", "listening": False, "measure_port": 0, "unserved": []},
        {"name": "cp2", "failed": True},
        {"unreachable": True},
        "",
    ]
    (peer,) = cluster_ports(NODES, MASTERS, "flannel", host="cp1", listeners=listeners)["peers"]
    assert (peer["name"], peer["measure_port"], peer["unserved"]) == ("w1", 33434, busy)
    assert cluster_ports(NODES, MASTERS, "flannel", host="cp1", listeners=[])["peers"] == []


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        ((["cp1"], [], "flannel"), {}, "must be a dictionary"),
        ((NODES, MASTERS, "weave"), {}, "the CNI is 'weave', but must be one of bridge, flannel, calico, cilium"),
        ((NODES, MASTERS, "flannel", "gre"), {}, "the encapsulation is 'gre'"),
        ((NODES, MASTERS, "flannel"), {"proxy_mode": "userspace"}, "the proxy mode is 'userspace'"),
        ((NODES, MASTERS, "flannel"), {"host": "w9"}, "the host 'w9' is none of the nodes cp1, cp2, w1, w2"),
        (({"w1": "w1.example.org"}, [], "flannel"), {}, "does not appear to be an IPv4 or IPv6 address"),
    ],
)
def test_refusals(arguments: tuple, more: dict, message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        cluster_ports(*arguments, **more)
    assert message in str(caught.value)
