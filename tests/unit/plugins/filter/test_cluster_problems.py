# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every wrong setting gets one sentence that names the variable, the value and the rule."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.filter.cluster_problems import cluster_problems
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cluster
from hypothesis import given
from hypothesis import strategies as st

ROLE = Path(__file__).parents[4] / "roles" / "cluster"
DEFAULTS = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
LOOKED_AT = list(yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["_cluster_settings"])

SETTINGS = {name: DEFAULTS[name] for name in LOOKED_AT} | {"cluster_name": "kubernetes", "cluster_proxy_mode": "nftables"}
CONTROL_PLANE = {"cp1": "192.0.2.11"}
WORKERS = {"w1": "192.0.2.21", "w2": "192.0.2.22"}
THREE = {"cp1": "192.0.2.11", "cp2": "192.0.2.12", "cp3": "192.0.2.13"}


def ask(
    control_plane: dict[str, t.Any] | None = None,
    workers: dict[str, t.Any] | None = None,
    for_install: bool = False,
    severity: str = "problem",
    host_vars: dict[str, dict[str, t.Any]] | None = None,
    others: tuple[str, ...] = (),
    outside: tuple[str, ...] = (),
    **changes: t.Any,
) -> list[str]:
    control_plane = CONTROL_PLANE if control_plane is None else control_plane
    workers = WORKERS if workers is None else workers
    hostvars: dict[str, dict[str, t.Any]] = {name: {"cluster_node_ip": ip} for name, ip in {**control_plane, **workers}.items()}
    for name, variables in (host_vars or {}).items():
        hostvars[name].update(variables)
    groups = {
        "control_plane": list(control_plane),
        "workers": list(workers),
        "kubernetes": [host for host in [*control_plane, *workers, *others] if host not in outside],
    }
    return cluster_problems(SETTINGS | changes, hostvars, groups, for_install=for_install, severity=severity)


def test_the_defaults_fit_together() -> None:
    assert ask() == []
    assert ask(for_install=True) == []
    assert ask(severity="notice") == []


def test_ipv6_fits_together() -> None:
    assert (
        ask(
            control_plane={"cp1": "2001:db8::11"},
            workers={"w1": "2001:db8::21"},
            cluster_pod_cidr="fd00:10:244::/56",
            cluster_pod_prefix_length=64,
            cluster_service_cidr="fd00:10:96::/112",
            cluster_load_balancer_ranges=["2001:db8::200-2001:db8::2ff"],
            cluster_api_endpoint="[2001:db8::10]:6443",
        )
        == []
    )


# Each line: what is changed, and the one whole sentence it gives.
SENTENCES: list[tuple[dict[str, t.Any], str]] = [
    # versions
    (
        {"cluster_kubernetes_version": 1.36},
        'cluster_kubernetes_version is 1.36, but must be a release as a text in quotes, major.minor.patch without a v, such as "1.36.4".',
    ),
    (
        {"cluster_kubernetes_version": "v1.36.4"},
        "cluster_kubernetes_version is 'v1.36.4', but must be a release as a text in quotes, major.minor.patch without a v, such as \"1.36.4\".",
    ),
    (
        {"cluster_kubernetes_version": "1.19.16", "cluster_proxy_mode": "ipvs"},
        "cluster_kubernetes_version is '1.19.16', but must be 1.20 or newer; choose a release from 1.20 to 1.37.",
    ),
    (
        {"cluster_kubernetes_version": "1.38.0"},
        (
            "cluster_kubernetes_version is '1.38.0', but this release of the collection knows Kubernetes up to 1.37; "
            "choose an older version or update the collection."
        ),
    ),
    # proxy mode against version
    (
        {"cluster_kubernetes_version": "1.30.9"},
        (
            "cluster_proxy_mode is 'nftables', but nftables can be used from Kubernetes 1.31 on and cluster_kubernetes_version is '1.30.9'; "
            "use ipvs or iptables."
        ),
    ),
    (
        {"cluster_ipvs_scheduler": "mh", "cluster_kubernetes_version": "1.26.0", "cluster_proxy_mode": "ipvs"},
        (
            "cluster_ipvs_scheduler is 'mh', but kube-proxy takes mh from 1.27 on and cluster_kubernetes_version is '1.26.0'; "
            "use rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed or nq."
        ),
    ),
    # names
    (
        {"cluster_name": "My Cluster"},
        "cluster_name is 'My Cluster', but must be lower-case letters, digits and dashes, at most 63, such as kubernetes.",
    ),
    (
        {"cluster_dns_domain": "Cluster.Local"},
        "cluster_dns_domain is 'Cluster.Local', but must be a DNS domain of lower-case labels, such as cluster.local.",
    ),
    ({"cluster_dns_domain": ""}, "cluster_dns_domain is empty, but must be a DNS domain of lower-case labels, such as cluster.local."),
    # choices
    ({"cluster_artifacts": "internet"}, "cluster_artifacts is 'internet', but must be repository or bundle."),
    ({"cluster_cni": "kube-router"}, "cluster_cni is 'kube-router', but must be bridge, flannel, calico or cilium."),
    (
        {"cluster_cni": "weave"},
        (
            "cluster_cni is 'weave', but Weave Net ended with its company in 2024 and gets no fixes; use flannel, calico or cilium, "
            "all of which encrypt with WireGuard where Weave had its own (cluster_cni_encryption: wireguard)."
        ),
    ),
    (
        {"cluster_cni": "cilium", "cluster_kubernetes_version": "1.20.2", "cluster_proxy_mode": "ipvs", "cluster_artifacts": "bundle"},
        (
            "cluster_cni is 'cilium', but the chart of Cilium wants Kubernetes 1.21 and cluster_kubernetes_version is '1.20.2'; "
            "use a newer version, or bridge."
        ),
    ),
    (
        {"cluster_cni": "cilium", "cluster_cni_encapsulation": "ipip"},
        "cluster_cni_encapsulation is 'ipip', but cluster_cni 'cilium' has vxlan, geneve or none; leave it empty for vxlan.",
    ),
    ({"cluster_cni_encapsulation": "vxlan"}, "cluster_cni_encapsulation is 'vxlan', but cluster_cni 'bridge' has none; leave it empty for none."),
    ({"cluster_cni": "calico", "cluster_cni_encryption": "ipsec"}, "cluster_cni_encryption is 'ipsec', but must be wireguard, or empty for none."),
    (
        {"cluster_cni_encryption": "wireguard"},
        "cluster_cni_encryption is 'wireguard', but cluster_cni 'bridge' cannot encrypt; use flannel, calico or cilium, or leave it empty.",
    ),
    (
        {"cluster_cni": "flannel", "cluster_cni_encryption": "wireguard", "cluster_cni_encapsulation": "vxlan"},
        (
            "cluster_cni_encapsulation is 'vxlan', but flannel's WireGuard is itself the way between the nodes "
            "(cluster_cni_encryption is 'wireguard'); leave it empty."
        ),
    ),
    (
        {"cluster_cni": "calico", "cluster_cni_encapsulation": "ipip", "cluster_proxy_mode": "none"},
        "cluster_cni_encapsulation is 'ipip', but Calico without kube-proxy (cluster_proxy_mode is 'none') has no IP-in-IP; use vxlan or none.",
    ),
    (
        {"cluster_load_balancer": "metalb"},
        "cluster_load_balancer is 'metalb', but must be none or metallb.",
    ),
    (
        {"cluster_load_balancer": "metallb"},
        "cluster_load_balancer_ranges is [], but cluster_load_balancer is 'metallb' and has no address to give; "
        "name a range that nothing else uses, such as 192.0.2.200-192.0.2.239.",
    ),
    (
        {"cluster_ingress_controller": "traefik"},
        "cluster_ingress_controller is 'traefik', but must be none, nginx or ingress-nginx.",
    ),
    (
        {"cluster_cert_manager": "maybe"},
        "cluster_cert_manager is 'maybe', but must be true or false.",
    ),
    (
        {"cluster_network_mtu": 500},
        "cluster_network_mtu is 500, but must be 0 or the bytes that the network between the nodes carries, 576 to 65535.",
    ),
    ({"cluster_proxy_mode": "userspace"}, "cluster_proxy_mode is 'userspace', but must be ipvs, nftables, iptables or none."),
    (
        {"cluster_proxy_mode": "none"},
        "cluster_proxy_mode is 'none', but cluster_cni 'bridge' has nothing to take the place of kube-proxy; use calico or cilium, or a proxy mode.",
    ),
    (
        {"cluster_proxy_mode": "none", "cluster_cni": "cilium", "cluster_conntrack_owner": "kube_proxy"},
        "cluster_conntrack_owner is 'kube_proxy', but there is no kube-proxy with cluster_proxy_mode 'none'; use sysctl.",
    ),
    ({"cluster_conntrack_owner": "both"}, "cluster_conntrack_owner is 'both', but must be sysctl or kube_proxy."),
    ({"cluster_kubelet_cgroup_driver": "none"}, "cluster_kubelet_cgroup_driver is 'none', but must be systemd or cgroupfs."),
    # networks
    ({"cluster_pod_cidr": "10.244.0.0"}, "cluster_pod_cidr is '10.244.0.0', which is not a network in CIDR notation such as 10.244.0.0/16."),
    (
        {"cluster_pod_cidr": "10.244.7.0/16"},
        "cluster_pod_cidr is '10.244.7.0/16', which is an address inside of a network; the network itself is 10.244.0.0/16.",
    ),
    (
        {"cluster_pod_cidr": "10.244.0.0/16,fd00:10:244::/56"},
        (
            "cluster_pod_cidr is '10.244.0.0/16,fd00:10:244::/56', which names more than one network, but one is wanted "
            "(two address families at once are not supported)."
        ),
    ),
    ({"cluster_service_cidr": "services"}, "cluster_service_cidr is 'services', which is not a network in CIDR notation such as 10.244.0.0/16."),
    (
        {"cluster_pod_cidr": "10.244.0.0/23"},
        (
            "cluster_pod_cidr is '10.244.0.0/23', but it gives only 2 nodes a /24 (cluster_pod_prefix_length) and the inventory has 3; "
            "use a larger network or a longer prefix."
        ),
    ),
    (
        {"cluster_pod_cidr": "10.244.0.0/29"},
        "cluster_pod_cidr is '10.244.0.0/29', but has 8 addresses and kubeadm wants at least 14; use a larger network.",
    ),
    (
        {"cluster_pod_prefix_length": 15},
        "cluster_pod_prefix_length is 15, but each node's part of cluster_pod_cidr '10.244.0.0/16' must have a prefix length from 16 to 32.",
    ),
    (
        {"cluster_pod_cidr": "10.0.0.0/8", "cluster_service_cidr": "172.16.0.0/16", "cluster_pod_prefix_length": 25},
        "cluster_pod_prefix_length is 25, but each node's part of cluster_pod_cidr '10.0.0.0/8' must have a prefix length from 8 to 24.",
    ),
    (
        {"cluster_pod_prefix_length": 26},
        (
            "cluster_kubelet_max_pods is 110, but a /26 (cluster_pod_prefix_length) has addresses for 61 pods beside network, bridge and broadcast; "
            "lower the one or shorten the other."
        ),
    ),
    (
        {"cluster_service_cidr": "172.0.0.0/11"},
        "cluster_service_cidr is '172.0.0.0/11', but Kubernetes takes a /12 at most for IPv4 services; use a smaller network.",
    ),
    (
        {"cluster_service_cidr": "10.96.0.0/29"},
        "cluster_service_cidr is '10.96.0.0/29', but has 8 addresses and at least 10 are needed (the tenth is cluster DNS); use a larger network.",
    ),
    (
        {"cluster_service_cidr": "fd00:10:96::/112"},
        "cluster_service_cidr is 'fd00:10:96::/112', but must be IPv4 like cluster_pod_cidr '10.244.0.0/16'.",
    ),
    ({"cluster_node_cidrs": "192.0.2.0/24"}, "cluster_node_cidrs is '192.0.2.0/24', but must be a list."),
    (
        {"cluster_node_cidrs": ["192.0.2.11/24"]},
        "cluster_node_cidrs has '192.0.2.11/24', which is an address inside of a network; the network itself is 192.0.2.0/24.",
    ),
    (
        {"cluster_load_balancer_ranges": ["192.0.2.240-192.0.2.200"]},
        "cluster_load_balancer_ranges has '192.0.2.240-192.0.2.200', which is a range whose last address comes before its first; swap the two.",
    ),
    (
        {"cluster_load_balancer_ranges": ["2001:db8::/129"]},
        "cluster_load_balancer_ranges has '2001:db8::/129', which is not a network in CIDR notation such as 10.244.0.0/16.",
    ),
    # overlaps, both ways round
    (
        {"cluster_pod_cidr": "10.96.0.0/16"},
        (
            "cluster_pod_cidr is '10.96.0.0/16', but cluster_service_cidr is '10.96.0.0/12' and both hold 10.96.0.0-10.96.255.255; "
            "change one so that they share no address."
        ),
    ),
    (
        {"cluster_service_cidr": "10.244.128.0/20"},
        (
            "cluster_pod_cidr is '10.244.0.0/16', but cluster_service_cidr is '10.244.128.0/20' and both hold 10.244.128.0-10.244.143.255; "
            "change one so that they share no address."
        ),
    ),
    (
        {"cluster_node_cidrs": ["10.240.0.0/12"]},
        (
            "cluster_pod_cidr is '10.244.0.0/16', but cluster_node_cidrs is '10.240.0.0/12' and both hold 10.244.0.0-10.244.255.255; "
            "change one so that they share no address."
        ),
    ),
    (
        {"cluster_load_balancer_ranges": ["10.100.0.1-10.100.0.9"]},
        (
            "cluster_service_cidr is '10.96.0.0/12', but cluster_load_balancer_ranges is '10.100.0.1-10.100.0.9' and both hold 10.100.0.1-10.100.0.9;"
            " change one so that they share no address."
        ),
    ),
    (
        {"cluster_load_balancer_ranges": ["192.0.2.20-192.0.2.21"]},
        (
            "cluster_load_balancer_ranges is '192.0.2.20-192.0.2.21', but cluster_node_ip of w1 is '192.0.2.21' and both hold 192.0.2.21; "
            "change one so that they share no address."
        ),
    ),
    (
        {"cluster_load_balancer_ranges": ["192.0.2.200/30", "192.0.2.203-192.0.2.209"]},
        (
            "cluster_load_balancer_ranges has '192.0.2.200/30' and '192.0.2.203-192.0.2.209', but these share 192.0.2.203; give each range other"
            " addresses."
        ),
    ),
    (
        {"cluster_load_balancer_ranges": ["192.0.2.200/30"], "cluster_api_endpoint": "192.0.2.201:6443"},
        (
            "cluster_load_balancer_ranges is '192.0.2.200/30', but cluster_api_endpoint is '192.0.2.201' and both hold 192.0.2.201; "
            "change one so that they share no address."
        ),
    ),
    # endpoint
    (
        {"cluster_api_endpoint": "api.example.com"},
        (
            "cluster_api_endpoint is 'api.example.com', but must be host:port, with brackets around an IPv6 address, such as api.example.com:6443 "
            "or [2001:db8::10]:6443."
        ),
    ),
    (
        {"cluster_api_endpoint": "https://api.example.com:6443"},
        (
            "cluster_api_endpoint is 'https://api.example.com:6443', but must be host:port, with brackets around an IPv6 address, such as "
            "api.example.com:6443 or [2001:db8::10]:6443."
        ),
    ),
    (
        {"cluster_api_endpoint": "2001:db8::10:6443"},
        (
            "cluster_api_endpoint is '2001:db8::10:6443', but must be host:port, with brackets around an IPv6 address, such as "
            "api.example.com:6443 or [2001:db8::10]:6443."
        ),
    ),
    (
        {"cluster_api_endpoint": "192.0.2.999:6443"},
        (
            "cluster_api_endpoint is '192.0.2.999:6443', but '192.0.2.999' in it is neither an IP address nor a host name in lower case, "
            "which kubeadm wants."
        ),
    ),
    (
        {"cluster_api_endpoint": "API.example.com:6443"},
        (
            "cluster_api_endpoint is 'API.example.com:6443', but 'API.example.com' in it is neither an IP address nor a host name in lower case, "
            "which kubeadm wants."
        ),
    ),
    (
        {"cluster_api_endpoint": "127.0.0.1:6443"},
        (
            "cluster_api_endpoint is '127.0.0.1:6443', but every node must reach the API servers there; use an address that is not only this"
            " machine's own."
        ),
    ),
    # ports
    ({"cluster_api_port": 0}, "cluster_api_port is 0, but must be a whole number from 1 to 65535."),
    ({"cluster_api_port": True}, "cluster_api_port is True, but must be a whole number from 1 to 65535."),
    (
        {"cluster_node_port_range": "30000:32767"},
        "cluster_node_port_range is '30000:32767', but must be first-last with ports from 1 to 65535, such as 30000-32767.",
    ),
    (
        {"cluster_node_port_range": "32767-30000"},
        "cluster_node_port_range is '32767-30000', but must be first-last with ports from 1 to 65535, such as 30000-32767.",
    ),
    (
        {"cluster_node_port_range": "2000-7000"},
        (
            "cluster_node_port_range is '2000-7000', but it holds ports 2379 (etcd's clients), 2380 (etcd's peers), 2381 (etcd's metrics) and "
            "6443 (the API server); choose a range without ports that a node uses."
        ),
    ),
    # kube-proxy
    ({"cluster_ipvs_scheduler": "random"}, "cluster_ipvs_scheduler is 'random', but must be rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq or mh."),
    ({"cluster_ipvs_tcp_timeout": 900}, "cluster_ipvs_tcp_timeout is 900, but must be a duration with units, such as 900s or 1h30m."),
    ({"cluster_ipvs_udp_timeout": "-5s"}, "cluster_ipvs_udp_timeout is '-5s', but must be a duration with units, such as 900s or 1h30m."),
    (
        {"cluster_ipvs_sync_period": "0s", "cluster_ipvs_min_sync_period": "0s"},
        "cluster_ipvs_sync_period is '0s', but must be longer than zero, such as 30s.",
    ),
    (
        {"cluster_nftables_min_sync_period": "1m"},
        "cluster_nftables_min_sync_period is '1m', but must not be longer than cluster_nftables_sync_period '30s'.",
    ),
    (
        {"cluster_ipvs_exclude_cidrs": ["10.0.0.1"]},
        "cluster_ipvs_exclude_cidrs has '10.0.0.1', which is not a network in CIDR notation such as 10.244.0.0/16.",
    ),
    (
        {"cluster_node_port_addresses": ["primary", "10.0.0.0/8"]},
        "cluster_node_port_addresses has 'primary', which is not a network in CIDR notation such as 10.244.0.0/16.",
    ),
    ({"cluster_conntrack_max_per_core": -1}, "cluster_conntrack_max_per_core is -1, but must be a whole number from 0 to 2147483647."),
    (
        {"cluster_conntrack_udp_timeout": "1 hour"},
        "cluster_conntrack_udp_timeout is '1 hour', but must be a duration with units, such as 900s or 1h30m.",
    ),
    ({"cluster_kube_proxy_config": []}, "cluster_kube_proxy_config is [], but must be a dict."),
    # kubelet, runtime, kubeadm
    ({"cluster_kubelet_max_pods": "many"}, "cluster_kubelet_max_pods is 'many', but must be a whole number from 1 to 65535."),
    (
        {"cluster_container_runtime_endpoint": "/run/containerd/containerd.sock"},
        (
            "cluster_container_runtime_endpoint is '/run/containerd/containerd.sock', but must be the URL of a socket, such as"
            " unix:///run/containerd/containerd.sock."
        ),
    ),
    (
        {"cluster_image_repository": "https://registry.example.com"},
        (
            "cluster_image_repository is 'https://registry.example.com', but must be a registry with an optional path and without https://, such as"
            " registry.k8s.io."
        ),
    ),
    ({"cluster_timeout_discovery": "0s"}, "cluster_timeout_discovery is '0s', but must be longer than zero, such as 30s."),
    ({"cluster_ignore_preflight_errors": "Swap"}, "cluster_ignore_preflight_errors is 'Swap', but must be a list."),
]


@pytest.mark.parametrize(("changes", "sentence"), SENTENCES, ids=[" ".join(map(str, changes.items())) for changes, _s in SENTENCES])
def test_one_wrong_value_gives_one_sentence(changes: dict[str, t.Any], sentence: str) -> None:
    assert ask(**changes) == [sentence]


def test_every_setting_that_is_looked_at_has_a_sentence() -> None:
    named = {name for changes, _sentence in SENTENCES for name in changes}
    siblings = {
        "cluster_iptables_sync_period", "cluster_iptables_min_sync_period", "cluster_nftables_sync_period", "cluster_ipvs_tcp_fin_timeout",
        "cluster_conntrack_min", "cluster_conntrack_tcp_established_timeout", "cluster_conntrack_tcp_close_wait_timeout",
        "cluster_conntrack_udp_stream_timeout", "cluster_kubelet_extra_args", "cluster_kubelet_config", "cluster_ipvs_strict_arp",
        *(name for name in LOOKED_AT if name.startswith("cluster_timeout_")),
    }  # fmt: skip
    assert set(LOOKED_AT) == named | siblings


@pytest.mark.parametrize(
    "name",
    ["cluster_iptables_sync_period", "cluster_iptables_min_sync_period", "cluster_nftables_sync_period", "cluster_ipvs_tcp_fin_timeout",
     "cluster_conntrack_tcp_established_timeout", "cluster_conntrack_tcp_close_wait_timeout", "cluster_conntrack_udp_stream_timeout",
     *(name for name in LOOKED_AT if name.startswith("cluster_timeout_"))],
)  # fmt: skip
def test_every_duration_is_checked(name: str) -> None:
    assert ask(**{name: "soon"}) == [f"{name} is 'soon', but must be a duration with units, such as 900s or 1h30m."]


def test_all_that_is_wrong_is_told_at_once() -> None:
    found = ask(cluster_cni="weave", cluster_pod_cidr="x", cluster_api_port=0, control_plane={})
    assert [sentence.split()[0] for sentence in found] == ["Group", "cluster_cni", "cluster_pod_cidr", "cluster_api_port"]


# --- groups and hosts


def test_groups() -> None:
    assert ask(control_plane={}) == ["Group control_plane is empty, but a cluster needs a control plane; put one host or three into it."]
    two = {"cp1": "192.0.2.11", "cp2": "192.0.2.12"}
    assert ask(control_plane=two, cluster_api_endpoint="api.example.com:6443") == [
        "Group control_plane has 2 hosts (cp1, cp2), but the number must be odd: etcd with 2 members survives no more failures than with 1; use 1 or 3."
    ]
    assert ask(control_plane={"a": "192.0.2.1"}, workers={"a": "192.0.2.1"}) == [
        "Host a is in the groups control_plane and workers, but must be in one; "
        "for pods on a control plane leave it in control_plane and set control_plane_taints: []."
    ]
    assert ask(others=("spare",)) == ["Host spare is in group kubernetes, but in neither control_plane nor workers; put it into one of the two."]
    assert ask(outside=("w1", "w2")) == [
        "Group workers has w1, w2, but group kubernetes has not, and only its hosts are prepared; put group workers inside of kubernetes."
    ]


def test_an_endpoint_is_needed_with_more_than_one_control_plane() -> None:
    assert ask(control_plane=THREE) == [
        "cluster_api_endpoint is empty, but with 3 control planes it must be an address in front of all of them, as host:port, "
        "such as that of a load balancer or a virtual IP."
    ]
    for good in ("api.example.com:6443", "192.0.2.10:443", "192.0.2.11:6443"):
        assert ask(control_plane=THREE, cluster_api_endpoint=good) == []


@pytest.mark.parametrize("name", ["CP1", "cp_1", "-cp", "cp.", "c" * 64])
def test_names_of_nodes(name: str) -> None:
    assert ask(control_plane={name: "192.0.2.11"}) == [
        f"The inventory name {name!r} becomes the name of a node, but such a name has lower-case letters, digits, dashes and dots only, "
        "begins and ends with a letter or digit, and has at most 63 characters; rename the host."
    ]


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        (
            "cp1.example.com",
            "is 'cp1.example.com', but must be an IP address of this host in the network of the cluster; set cluster_node_ip in its host variables.",
        ),
        ("", "is empty, but must be an IP address of this host"),
        (
            "0.0.0.0",
            "is '0.0.0.0', which is the unspecified address, but other nodes must reach this one there; set an address of its own interface.",
        ),
        ("::", "which is the unspecified address"),
        ("127.0.0.1", "which is a loopback address"),
        ("::1", "which is a loopback address"),
        ("169.254.1.1", "which is a link-local address"),
        ("fe80::1", "which is a link-local address"),
        ("224.0.0.1", "which is a multicast address"),
        ("255.255.255.255", "which is the broadcast address"),
        ("192.0.2.21", "is '192.0.2.21', but that is the address of cp1 too; each node needs its own."),
        ("2001:db8::5", "is '2001:db8::5', but must be IPv4 like cluster_pod_cidr '10.244.0.0/16'."),
    ],
)
def test_addresses_of_nodes(address: str, rule: str) -> None:
    found = ask(control_plane={"cp1": "192.0.2.21"}, workers={"w1": address})
    assert len(found) == 1 and found[0].startswith("cluster_node_ip of w1 is ")
    assert rule in found[0]


def test_a_node_inside_the_pod_network() -> None:
    assert ask(workers={"w1": "10.244.3.1"}) == [
        "cluster_pod_cidr is '10.244.0.0/16', but cluster_node_ip of w1 is '10.244.3.1' and both hold 10.244.3.1; change one so that they share no address."
    ]


def test_load_balancers_may_be_part_of_the_network_of_the_machines() -> None:
    assert ask(cluster_node_cidrs=["192.0.2.0/24"], cluster_load_balancer_ranges=["192.0.2.200-192.0.2.239"]) == []


def test_one_value_for_all_hosts() -> None:
    assert ask(host_vars={"w2": {"cluster_proxy_mode": "ipvs"}}) == [
        "cluster_proxy_mode is not set on cp1, w1 and 'ipvs' on w2, but must be the same on every host; set it once, in the variables of group all."
    ]
    assert ask(host_vars={name: {"cluster_proxy_mode": "nftables"} for name in ("cp1", "w1", "w2")}) == []


# --- what only an installation needs


def test_every_pod_network_can_be_installed() -> None:
    for cni in ("bridge", "flannel", "calico", "cilium"):
        assert ask(for_install=True, cluster_cni=cni) == []


def test_packages_begin_with_a_version() -> None:
    old = {"cluster_kubernetes_version": "1.20.2", "cluster_proxy_mode": "ipvs"}
    assert ask(for_install=True, **old) == [
        "cluster_artifacts is 'repository', but the package repositories begin with 1.24 and cluster_kubernetes_version is '1.20.2'; "
        "use cluster_artifacts: bundle or a newer version."
    ]
    assert ask(for_install=True, cluster_artifacts="bundle", **old) == []
    assert ask(**old) == []


# --- the end of IPVS


@pytest.mark.parametrize("minor", range(20, 46))
def test_ipvs_against_the_version(minor: int) -> None:
    version = f"1.{minor}.0"
    problems = ask(cluster_kubernetes_version=version, cluster_proxy_mode="ipvs")
    notices = ask(cluster_kubernetes_version=version, cluster_proxy_mode="ipvs", severity="notice")
    refused = (
        f"cluster_proxy_mode is 'ipvs', but Kubernetes 1.43 has no IPVS proxy any more and cluster_kubernetes_version is '{version}'; use nftables."
    )
    if minor >= 43:
        assert problems[0] == refused
        assert notices == []
    else:
        assert refused not in problems
    # newer than known: said as well, after the reason that stays
    assert any("knows Kubernetes up to 1.37" in sentence for sentence in problems) is (minor > 37)
    if minor <= 37:
        assert problems == []
    if 35 <= minor < 43:
        (notice,) = notices
        assert notice.startswith("cluster_proxy_mode is 'ipvs', which Kubernetes deprecates since 1.35")
        assert "cluster_proxy_mode: nftables" in notice
        assert ("this run turns it on" in notice) is (minor >= 40)
    if minor < 35:
        assert notices == []


@pytest.mark.parametrize("mode", ["nftables", "iptables"])
def test_no_notice_for_other_modes(mode: str) -> None:
    assert ask(cluster_kubernetes_version="1.37.1", cluster_proxy_mode=mode, severity="notice") == []


def test_strict_arp_for_load_balancers() -> None:
    wanted = "cluster_ipvs_strict_arp is false, so every node answers ARP"
    changes = {"cluster_proxy_mode": "ipvs", "cluster_kubernetes_version": "1.30.0", "cluster_ipvs_strict_arp": False}
    assert ask(severity="notice", **changes) == []
    (notice,) = ask(severity="notice", cluster_load_balancer_ranges=["192.0.2.200/30"], **changes)
    assert notice.startswith(wanted)


# --- the filter and its parts


def test_wrong_use_of_the_filter() -> None:
    with pytest.raises(AnsibleFilterError, match="must be a dict of variables"):
        cluster_problems([], {}, {})
    with pytest.raises(AnsibleFilterError, match="must be problem or notice"):
        cluster_problems({}, {}, {}, severity="error")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("900s", 900),
        ("4m0s", 240),
        ("1h30m", 5400),
        ("0s", 0),
        ("0", 0),
        ("1.5s", 1.5),
        ("100ms", 0.1),
        ("s", None),
        ("", None),
        ("5", None),
        (5, None),
        ("1d", None),
    ],
)
def test_durations(text: t.Any, seconds: float | None) -> None:
    assert _cluster.duration_seconds(text) == (None if seconds is None else pytest.approx(seconds))


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text()), st.dictionaries(st.text(), st.text()),
    st.sampled_from(["10.0.0.0/8", "::/0", "0.0.0.0/0", "1.36.4", "1.99.0", "none", "cilium", "1-2", "a:1", "[::1]:1", "30s"]),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(LOOKED_AT), values), st.lists(st.text(max_size=8), max_size=3), st.lists(st.text(max_size=8), max_size=3))
def test_no_value_breaks_the_check(changes: dict[str, t.Any], control_plane: list[str], workers: list[str]) -> None:
    ips = dict.fromkeys([*control_plane, *workers], "192.0.2.1")
    problems, notices = _cluster.check(SETTINGS | changes, control_plane, workers, ips, for_install=True)
    for sentence in [*problems, *notices]:
        assert sentence.endswith(".")
        assert "<object" not in sentence
