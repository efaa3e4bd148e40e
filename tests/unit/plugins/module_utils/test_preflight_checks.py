# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each check of a node: a good machine passes, each fault is told, and what is not known is never a pass."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _preflight_checks as preflight
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _preflight_result as result
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_node import UNITS

IDS = [entry.identifier for entry in preflight.CHECKS]


def cpu(idle, softirq=0, steal=0):
    return {"user": 0, "nice": 0, "system": 0, "idle": idle, "iowait": 0, "irq": 0, "softirq": softirq, "steal": steal}


def link(name="eth0", address="192.0.2.11", **more):
    return {
        "name": name, "mac": "52:54:00:00:00:0b", "mtu": 1500, "up": True, "carrier": True, "physical": True, "drivers": ["virtio_net"], "cni": False,
        "addresses": [{"address": address, "prefix": 24, "scope": "global", "duplicate": False}], **more,
    }  # fmt: skip


def sample(count=100, drop=0, early=0, failed=0, time=0.0, **more):
    counters = {"drop": drop, "early_drop": early, "insert_failed": failed}
    return {"tracking": True, "count": count, "max": 1000, "buckets": 250, "counters": counters, "reason": "", "time": time, **more}


def disk(path, free=10000, percent=50.0, inodes=50.0, wanted=1000, device=1):
    return {"path": path, "wanted_mb": wanted, "mount": "/", "device": device, "free_mb": free, "free_percent": percent, "inodes_free_percent": inodes}


GOOD = {
    "reasons": {},
    "kernel": "6.1.0-41-amd64",
    "hostname": "cp1",
    "os": {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"},
    "systemd": True,
    "pid_namespace": "pid:[4026531836]",
    "container": "",
    "openvz": False,
    "virtual_machine": "kvm",
    "cpu_first": {"cpu": cpu(1000), "cpu0": cpu(500), "cpu1": cpu(500)},
    "cpu_second": {"cpu": cpu(2000), "cpu0": cpu(1000), "cpu1": cpu(1000)},
    "window": 5.0,
    "memory_mb": 3001,
    "disks": [disk("/var/lib/etcd"), disk("/var/lib/kubelet")],
    "swaps": [],
    "swap_at_boot": [],
    "cgroup": {"version": 2, "controllers": ["cpuset", "cpu", "io", "memory", "pids"]},
    "clock_error": 0.02,
    "units": dict.fromkeys(UNITS, "inactive"),
    "machine_id": "0b5a8e1f3c0d4f6d9a51c6f5f2a7be10",
    "modules": [{"name": "ip_vs", "optional": False, "state": "load", "problem": ""}],
    "nft_version": (),
    "conntrack_first": sample(),
    "conntrack_second": sample(time=5.0),
    "uptime": 7200.0,
    "kernel_log": [(1.0, "Linux version 6.1.0"), (60.0, "eth0: link up")],
    "node_drivers": ["virtio_net"],
    "interfaces": [link()],
    "routes": [{"destination": "0.0.0.0/0", "interface": "eth0", "gateway": "192.0.2.1", "type": "unicast"}],
    "disable_ipv6": 0,
    "resolv_conf": {"path": "/etc/resolv.conf", "nameservers": ["192.0.2.53"], "search": ["example.com"]},
    "sockets": [],
    "owners": {},
    "member": {"member": False, "unfinished": False, "joined": False, "server": ""},
    "ufw": False,
    "nft": {"chains": [], "filters": []},
    "iptables": [],
    "network_manager": {"unmanaged": [], "devices": []},
    "rp_filter": {"all": 0, "default": 2, "eth0": 2},
    "left_files": {"cluster": [], "cni": [], "etcd": []},
}
OPTIONS = {
    "kubernetes_version": "1.36.4",
    "cni": "calico",
    "encapsulation": "vxlan",
    "proxy_mode": "ipvs",
    "control_plane": True,
    "node_ip": "192.0.2.11",
    "pod_cidr": "10.244.0.0/16",
    "service_cidr": "10.96.0.0/12",
    "modules": [{"name": "ip_vs"}],
    "ports": [{"port": 6443, "purpose": "API server"}, {"port": 4789, "protocol": "udp"}],
    "steal_seconds": 5,
}


def run(facts=None, options=None):
    """Findings by id, of the good machine with these differences."""
    merged = {**copy.deepcopy(GOOD), **copy.deepcopy(facts or {})}
    return {item["id"]: item for item in preflight.run_checks(merged, preflight.make_settings({**OPTIONS, **(options or {})}))}


def test_a_good_machine_passes_everything():
    found = run()
    assert {item["status"] for item in found.values()} == {"pass"}
    assert list(found) == IDS
    assert all(item["observed"] and item["wanted"] and item["fix"] == "" for item in found.values())


def units(**states):
    return {"units": {**GOOD["units"], **{name.replace("_", "-"): state for name, state in states.items()}}}


def second(**cpus):
    return {"cpu_second": {**GOOD["cpu_second"], **cpus}}


def log(message):
    return {"kernel_log": [(1.0, "Linux version 6.1.0"), (3600.0, message)]}


def member(**more):
    return {"member": {"member": False, "unfinished": False, "joined": False, "server": "", **more}}


def left(**more):
    return {"left_files": {"cluster": [], "cni": [], "etcd": [], **more}}


NFT_DROP = {"family": "inet", "table": "f", "chain": "input", "why": "drops or rejects"}
API = [{"protocol": "tcp", "port": 6443, "inode": 77}]
MODULE_GONE = {"name": "ip_vs", "optional": False, "state": "missing", "problem": "Module ip_vs: the kernel does not have it. Install linux-image-amd64."}
TABLE = [
    # id, status, facts, options, what the sentence says
    ("operating_system", "pass", {"os": {"ID": "rocky", "ID_LIKE": "rhel centos fedora", "VERSION_ID": "9.6"}}, {}, "rocky 9.6"),
    ("operating_system", "warn", {"os": {"ID": "rocky", "ID_LIKE": "rhel centos fedora", "VERSION_ID": "8.10"}}, {}, "rocky 8.10"),
    ("operating_system", "warn", {"os": {"ID": "debian", "VERSION_ID": "11"}}, {}, "debian 11"),
    ("operating_system", "warn", {"os": {"ID": "debian"}}, {}, "debian"),
    ("init_system", "fail", {"systemd": False}, {}, "/run/systemd/system"),
    ("virtualization", "pass", {"virtual_machine": "none"}, {}, "Bare metal"),
    ("virtualization", "fail", {"openvz": True}, {}, "OpenVZ"),
    ("virtualization", "fail", {"pid_namespace": "pid:[4026532201]", "container": "lxc"}, {}, "A container (lxc)"),
    ("virtualization", "fail", {"pid_namespace": "pid:[4026532201]"}, {}, "unknown kind"),
    ("virtualization", "fail", {"pid_namespace": None, "container": "docker"}, {}, "A container (docker)"),
    ("virtualization", "warn", {"virtual_machine": "qemu"}, {}, "without hardware support"),
    ("cpus", "fail", {"cpu_second": {"cpu": cpu(2000), "cpu0": cpu(2000)}}, {}, "1 CPU."),
    ("cpus", "pass", {"cpu_second": {"cpu": cpu(2000), "cpu0": cpu(2000)}}, {"control_plane": False}, "1 CPU."),
    ("cpus", "fail", {}, {"minimums": {"cpus": 4}}, "2 CPUs."),
    ("memory", "fail", {"memory_mb": 1699}, {}, "1699 MiB"),
    ("memory", "pass", {"memory_mb": 1700}, {}, "1700 MiB"),
    ("memory", "fail", {"memory_mb": 899}, {"control_plane": False}, "899"),
    ("memory", "fail", {}, {"minimums": {"memory_mb": 3002}}, "3001"),
    ("disk_space", "fail", {"disks": [disk("/var/lib/etcd", free=1999), disk("/var/lib/kubelet", free=1999)]}, {}, "want 2000 MiB"),
    ("disk_space", "pass", {"disks": [disk("/var/lib/etcd", free=1999), disk("/var/lib/kubelet", free=1999, device=2)]}, {}, "1999 MiB free"),
    ("disk_space", "pass", {"disks": [disk("/var/lib/etcd", free=1)], **member(member=True)}, {}, "1 MiB free"),
    ("disk_space", "fail", {"disks": [disk("/var/lib/kubelet", percent=9.9)], **member(member=True)}, {}, "evicts pods"),
    ("disk_space", "fail", {"disks": [disk("/var/lib/containerd", percent=14.9)]}, {}, "below 15 %"),
    ("disk_space", "fail", {"disks": [disk("/var/lib/kubelet", inodes=4.9)]}, {}, "inodes"),
    ("disk_space", "unknown", {"disks": []}, {}, "No path"),
    ("cpu_steal", "pass", second(cpu=cpu(1981, steal=19)), {}, "1.9 % steal"),
    ("cpu_steal", "warn", second(cpu=cpu(1980, steal=20)), {}, "2.0 % steal"),
    ("cpu_steal", "fail", second(cpu=cpu(1900, steal=100)), {}, "10.0 % steal"),
    ("cpu_steal", "unknown", {"virtual_machine": "vmware"}, {}, "may not tell"),
    ("cpu_steal", "fail", {"virtual_machine": "vmware", **second(cpu=cpu(1900, steal=100))}, {}, "10.0 %"),
    ("cpu_steal", "unknown", {"virtual_machine": None}, {}, "not known"),
    ("cpu_steal", "unknown", {"window": 0}, {}, "steal_seconds is 0"),
    ("cpu_steal", "unknown", second(cpu=cpu(1099)), {}, "only 99 ticks"),
    ("cpu_steal", "unknown", second(cpu=cpu(900)), {}, "backwards"),
    ("cpu_steal", "unknown", {"cpu_first": {**GOOD["cpu_first"], "cpu": cpu(1000, steal=5)}}, {}, "backwards"),
    ("softirq", "warn", second(cpu=cpu(1800, softirq=200)), {}, "20.0 % of all"),
    ("softirq", "warn", second(cpu1=cpu(700, softirq=300)), {}, "60.0 % of cpu1"),
    ("softirq", "pass", second(cpu1=cpu(705, softirq=295)), {}, "59.0 % of cpu1"),
    ("softirq", "unknown", {"window": 0}, {}, "not measured"),
    ("swap", "warn", {"swaps": [{"device": "/swap.img", "size_mb": 2047}]}, {}, "/swap.img (2047 MiB)"),
    ("swap", "warn", {"swap_at_boot": [{"source": "/etc/fstab:3", "text": ""}]}, {}, "comes at boot by /etc/fstab:3"),
    ("swap", "fail", {"swaps": [{"device": "/swap.img", "size_mb": 2047}]}, {"swap": "forbid"}, "/swap.img"),
    ("swap", "pass", {"swaps": [{"device": "/swap.img", "size_mb": 2047}]}, {"swap": "allow"}, "/swap.img"),
    ("cgroup", "fail", {"cgroup": {"version": 2, "controllers": ["cpu", "cpuset", "pids"]}}, {}, "without memory"),
    ("cgroup", "fail", {"cgroup": {"version": 1, "controllers": ["cpu", "cpuset", "memory", "pids"]}}, {"kubernetes_version": "1.35.0"}, "refuses"),
    ("cgroup", "warn", {"cgroup": {"version": 1, "controllers": ["cpu", "cpuset", "memory", "pids"]}}, {"kubernetes_version": "1.34.9"}, "v1"),
    ("cgroup", "pass", {"cgroup": {"version": 1, "controllers": ["cpu", "cpuset", "memory", "pids"]}}, {"kubernetes_version": "1.30.1"}, "v1"),
    ("cgroup", "unknown", {"cgroup": {"version": 1, "controllers": ["cpu", "cpuset", "memory", "pids"]}}, {"kubernetes_version": ""}, "v1"),
    ("time_sync", "warn", {"clock_error": 16.0}, {}, "no time service runs"),
    ("time_sync", "warn", {"clock_error": 16.0, **units(chrony="active")}, {}, "although chrony runs"),
    ("time_sync", "warn", {"clock_error": 16.0, "units": None}, {}, "which time service runs is not known"),
    ("node_name", "fail", {"hostname": "localhost.localdomain"}, {}, "localhost"),
    ("node_name", "fail", {"hostname": "my_node"}, {}, "my_node"),
    ("node_name", "fail", {"hostname": ""}, {}, "''"),
    ("node_name", "fail", {}, {"node_name": "CP1"}, "CP1"),
    ("node_name", "fail", {}, {"node_name": "a" * 64}, "aaa"),
    ("node_name", "pass", {"hostname": "CP1"}, {}, "cp1"),
    ("node_name", "pass", {"hostname": "localhost"}, {"node_name": "cp1.example.com"}, "cp1.example.com"),
    ("machine_id", "fail", {"machine_id": ""}, {}, "empty"),
    ("machine_id", "fail", {"machine_id": "uninitialized"}, {}, "uninitialized"),
    ("machine_id", "fail", {"machine_id": "0" * 32}, {}, "000"),
    ("machine_id", "fail", {"machine_id": None, "reasons": {"machine_id": "/etc/machine-id does not exist"}}, {}, "does not exist"),
    ("kernel_version", "warn", {"kernel": "5.9.16"}, {}, "too old for Calico"),
    ("kernel_version", "fail", {"kernel": "5.9.16"}, {"cni": "cilium"}, "too old for Cilium"),
    ("kernel_version", "pass", {"kernel": "5.10.0-8-amd64"}, {"cni": "cilium"}, "5.10.0"),
    ("kernel_version", "fail", {"kernel": "5.12.19"}, {"proxy_mode": "nftables", "cni": "bridge"}, "nftables"),
    ("kernel_version", "fail", {"kernel": "5.5.1"}, {"encapsulation": "wireguard", "cni": "bridge"}, "WireGuard"),
    ("kernel_version", "warn", {"kernel": "4.18.20"}, {"cni": "bridge"}, "Kubernetes"),
    ("kernel_version", "pass", {"kernel": "4.18.0-372.9.1.el8.x86_64"}, {"cni": "cilium"}, "el8"),
    ("kernel_version", "fail", {"kernel": "4.18.0-348.el8.x86_64"}, {"cni": "cilium"}, "el8"),
    ("kernel_version", "unknown", {"kernel": "custom"}, {}, "no version"),
    ("kernel_modules", "fail", {"modules": [MODULE_GONE]}, {}, "does not have it"),
    ("kernel_modules", "warn", {"modules": [{**MODULE_GONE, "optional": True}]}, {}, "(optional)"),
    ("kernel_modules", "fail", {"modules": [{**MODULE_GONE, "optional": True}, {**MODULE_GONE, "name": "overlay"}]}, {}, "(optional)"),
    ("kernel_modules", "unknown", {"modules": []}, {}, "No module was named"),
    ("nft_version", "pass", {"nft_version": (1, 0, 1)}, {"proxy_mode": "nftables"}, "1.0.1"),
    ("nft_version", "fail", {"nft_version": (0, 9, 8)}, {"proxy_mode": "nftables"}, "0.9.8"),
    ("nft_version", "warn", {"nft_version": None, "reasons": {"nft_version": "nft is not installed"}}, {"proxy_mode": "nftables"}, "not installed"),
    ("nft_version", "unknown", {"nft_version": None}, {"proxy_mode": "nftables"}, "not known"),
    ("conntrack_headroom", "warn", {"conntrack_first": sample(count=750)}, {}, "750 of 1000"),
    ("conntrack_headroom", "fail", {"conntrack_second": sample(count=950, time=5.0)}, {}, "95.0%"),
    ("conntrack_headroom", "pass", {"conntrack_second": sample(count=749, time=5.0)}, {}, "74.9%"),
    ("conntrack_headroom", "fail", {"conntrack_first": sample(max=0), "conntrack_second": sample(max=0)}, {}, "is 0"),
    ("conntrack_headroom", "unknown", {"conntrack_first": sample(count=None), "conntrack_second": sample(count=None)}, {}, "cannot be read"),
    ("conntrack_headroom", "pass", {"conntrack_first": sample(tracking=False), "conntrack_second": sample(tracking=False)}, {}, "not loaded"),
    ("conntrack_drops", "warn", {"conntrack_second": sample(early=1, time=5.0)}, {}, "early_drop 0.2"),
    ("conntrack_drops", "fail", {"conntrack_second": sample(drop=50, time=5.0)}, {}, "drop 10"),
    ("conntrack_drops", "pass", {"conntrack_second": sample(drop=40, failed=40, time=5.0)}, {}, "insert_failed 8"),
    ("conntrack_drops", "warn", {"conntrack_second": sample(drop=50, failed=50, time=5.0)}, {}, "insert_failed 10"),
    ("conntrack_drops", "unknown", {"conntrack_second": sample(counters=None, reason="no file", time=5.0)}, {}, "no file"),
    ("conntrack_drops", "unknown", {"conntrack_first": sample(drop=7)}, {}, "backwards"),
    ("conntrack_drops", "unknown", {"window": 0}, {}, "steal_seconds is 0"),
    ("kernel_log", "warn", log("nf_conntrack: nf_conntrack: table full, dropping packet"), {}, "1 message, the last 60 minutes ago"),
    ("kernel_log", "warn", log("neighbour: arp_cache: neighbor table overflow!"), {}, "ARP table"),
    ("checksum_offload", "warn", {"node_drivers": ["vmxnet3"]}, {}, "vmxnet3"),
    ("checksum_offload", "warn", {"kernel": "5.6.19"}, {}, "before 5.7"),
    ("checksum_offload", "pass", {"node_drivers": ["vmxnet3"]}, {"encapsulation": ""}, "No UDP tunnel"),
    ("checksum_offload", "unknown", {"kernel": "custom"}, {}, "not known"),
    ("node_ip", "fail", {}, {"node_ip": "192.0.2.12"}, "192.0.2.11 (eth0)"),
    ("node_ip", "fail", {}, {"node_ip": "cp1"}, "'cp1'"),
    ("node_ip", "unknown", {}, {"node_ip": ""}, "No node IP"),
    ("node_ip", "fail", {"interfaces": [link(carrier=False)]}, {}, "is down"),
    ("node_ip", "fail", {"interfaces": [link(name="kube-ipvs0", cni=True)]}, {}, "no other node reaches"),
    ("node_ip", "fail", {"interfaces": [link(name="lo", address="127.0.0.1")]}, {"node_ip": "127.0.0.1"}, "no other node reaches"),
    (
        "node_ip",
        "fail",
        {"interfaces": [link(addresses=[{"address": "2001:db8::11", "prefix": 64, "scope": "global", "duplicate": True}])]},
        {"node_ip": "2001:db8:0::11"},
        "another machine",
    ),
    ("default_route", "warn", {"routes": []}, {"proxy_mode": "nftables"}, "no route to 0.0.0.0/0"),
    ("default_route", "pass", {"routes": []}, {"proxy_mode": "ipvs"}, "IPVS needs none"),
    ("default_route", "warn", {}, {"proxy_mode": "iptables", "service_cidr": "10.96.0.0/12,fd00:96::/112"}, "::/0"),
    ("ipv6", "fail", {"disable_ipv6": 1}, {"pod_cidr": "fd00:10::/56"}, "is 1"),
    ("ipv6", "pass", {"disable_ipv6": 1}, {}, "No address"),
    ("ipv6", "fail", {"disable_ipv6": None, "reasons": {"disable_ipv6": "/x does not exist"}}, {"node_ip": "2001:db8::1"}, "does not exist"),
    ("dns_resolvers", "fail", {"resolv_conf": {"path": "/etc/resolv.conf", "nameservers": ["127.0.0.53"], "search": []}}, {}, "Loop detected"),
    ("dns_resolvers", "fail", {"resolv_conf": {"path": "/x", "nameservers": ["192.0.2.53", "::1"], "search": []}}, {}, "::1"),
    ("dns_resolvers", "fail", {"resolv_conf": {"path": "/x", "nameservers": [], "search": []}}, {}, "names no server"),
    ("dns_limits", "warn", {"resolv_conf": {"path": "/x", "nameservers": ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"], "search": []}}, {}, "192.0.2.4"),
    ("dns_limits", "warn", {"resolv_conf": {"path": "/x", "nameservers": ["192.0.2.1"], "search": ["a"] * 33}}, {}, "33 search domains"),
    ("dns_limits", "warn", {"resolv_conf": {"path": "/x", "nameservers": ["192.0.2.1"], "search": ["a" * 2049]}}, {}, "2049 characters"),
    ("ports_free", "fail", {"sockets": API, "owners": {77: "haproxy"}}, {}, "6443/tcp (API server) by haproxy"),
    ("ports_free", "fail", {"sockets": API, "owners": {77: "kube-apiserver"}}, {}, "by kube-apiserver"),
    ("ports_free", "fail", {"sockets": API}, {}, "cannot be told"),
    ("ports_free", "pass", {"sockets": [{**API[0], "protocol": "udp"}]}, {}, "free"),
    ("ports_free", "pass", {"sockets": API, "owners": {77: "kube-apiserver"}, **member(member=True)}, {}, "own cluster"),
    ("ports_free", "pass", {"sockets": API, "owners": {77: "kube-apiserver"}, **member(unfinished=True)}, {}, "own cluster"),
    ("ports_free", "warn", {"sockets": API, "owners": {77: "haproxy"}, **member(member=True)}, {}, "by haproxy"),
    ("ports_free", "fail", {"sockets": [{"protocol": "udp", "port": 4789, "inode": 0}]}, {}, "by the kernel"),
    ("ports_free", "unknown", {}, {"ports": []}, "No port"),
    ("firewall", "warn", units(firewalld="active"), {}, "firewalld runs"),
    ("firewall", "warn", {"ufw": True}, {}, "ufw is on"),
    ("firewall", "warn", {"iptables": [{"family": "ip", "table": "filter", "chain": "FORWARD", "why": "policy drop"}]}, {}, "drops by default"),
    ("firewall", "warn", {"nft": {"chains": [], "filters": [NFT_DROP]}}, {}, "inet f drops"),
    ("firewall", "warn", {"nft": None, "ufw": True}, {}, "ufw is on"),
    ("network_manager", "warn", units(NetworkManager="active"), {}, "vxlan.calico"),
    ("network_manager", "unknown", units(NetworkManager="active"), {"cni": "other"}, "not known"),
    (
        "network_manager",
        "pass",
        {**units(NetworkManager="active"), "network_manager": {"unmanaged": ["interface-name:cali*", "tunl*", "interface-name:vxlan.calico"], "devices": []}},
        {},
        "leaves them alone",
    ),
    (
        "network_manager",
        "warn",
        {**units(NetworkManager="active"), "network_manager": {"unmanaged": ["*", "except:interface-name:cali*"], "devices": []}},
        {},
        "manage cali",
    ),
    ("network_manager", "pass", {**units(NetworkManager="active"), "network_manager": {"unmanaged": [], "devices": ["*"]}}, {}, "leaves them alone"),
    ("rp_filter", "pass", {"rp_filter": {"all": 1, "eth0": 0}}, {}, "only uplink"),
    ("rp_filter", "warn", {"rp_filter": {"all": 0, "eth0": 1, "eth1": 0}, "interfaces": [link(), link("eth1", "198.51.100.1")]}, {}, "Strict on eth0"),
    ("rp_filter", "pass", {"rp_filter": {"all": 2, "eth0": 1, "eth1": 1}, "interfaces": [link(), link("eth1", "198.51.100.1")]}, {}, "Strict on none"),
    ("rp_filter", "warn", {"rp_filter": {"all": 1, "eth0": 0}}, {"cni": "cilium"}, "Cilium"),
    ("leftovers", "pass", {**member(member=True, server="192.0.2.11"), **left(cluster=["/etc/kubernetes/admin.conf"])}, {}, "A member"),
    ("leftovers", "warn", {**member(unfinished=True), **left(cluster=["/etc/kubernetes/admin.conf"])}, {}, "interrupted"),
    ("leftovers", "fail", left(cluster=["/etc/kubernetes/admin.conf"]), {}, "/etc/kubernetes/admin.conf"),
    ("leftovers", "fail", member(joined=True, server="198.51.100.7"), {}, "198.51.100.7"),
    ("leftovers", "fail", left(etcd=["member"]), {}, "/var/lib/etcd"),
    ("leftovers", "pass", left(etcd=["member"]), {"control_plane": False}, "None"),
    ("leftovers", "fail", left(cni=["/etc/cni/net.d/10-calico.conflist"]), {}, "10-calico"),
    ("leftovers", "warn", left(cni=["/etc/cni/net.d/87-podman-bridge.conflist"]), {}, "87-podman"),
    ("leftovers", "fail", {"interfaces": [link(), link("cni0", "10.244.0.1", cni=True)]}, {}, "interface cni0"),
    ("leftovers", "pass", {"interfaces": [link(), link("tunl0", "10.244.0.1", cni=True)]}, {}, "None"),
    ("leftovers", "fail", units(k3s_agent="active"), {}, "service k3s-agent"),
    ("leftovers", "fail", {"nft": {"chains": ["KUBE-SERVICES"], "filters": []}}, {}, "KUBE-SERVICES"),
]


@pytest.mark.parametrize(("identifier", "status", "facts", "options", "says"), TABLE, ids=[f"{row[0]}-{row[1]}-{n}" for n, row in enumerate(TABLE)])
def test_a_fault_is_told(identifier, status, facts, options, says):
    found = run(facts, options)[identifier]
    assert (found["status"], says in found["observed"]) == (status, True), found
    assert found["wanted"] and bool(found["fix"]) == (status != "pass")


def test_every_check_has_a_row_that_does_not_pass():
    assert {row[0] for row in TABLE if row[1] != "pass"} == set(IDS)


# What each check looks at; without it nothing can be said.
NEEDS = {
    "operating_system": ["os"],
    "init_system": ["systemd"],
    "virtualization": ["pid_namespace", "virtual_machine"],
    "cpus": [],
    "memory": ["memory_mb"],
    "disk_space": ["disks", "member"],
    "cpu_steal": ["cpu_first", "cpu_second"],
    "softirq": ["cpu_first", "cpu_second"],
    "swap": ["swaps", "swap_at_boot"],
    "cgroup": ["cgroup"],
    "time_sync": ["clock_error"],
    "machine_id": ["machine_id"],
    "kernel_modules": ["modules"],
    "conntrack_drops": ["conntrack_first", "conntrack_second"],
    "kernel_log": ["kernel_log", "uptime"],
    "checksum_offload": ["node_drivers"],
    "node_ip": ["interfaces"],
    "default_route": ["routes"],
    "dns_resolvers": ["resolv_conf"],
    "dns_limits": ["resolv_conf"],
    "ports_free": ["sockets", "member"],
    "firewall": ["units", "ufw", "nft", "iptables"],
    "network_manager": ["units"],
    "rp_filter": ["rp_filter", "interfaces"],
    "leftovers": ["member", "left_files", "interfaces", "units", "nft"],
}


@pytest.mark.parametrize(("identifier", "fact"), [(name, fact) for name, facts in NEEDS.items() for fact in facts])
def test_what_cannot_be_read_is_unknown_with_the_reason(identifier, fact):
    found = run({fact: None, "reasons": {fact: "the reason"}})[identifier]
    assert found["status"] == "unknown"
    assert "the reason" in found["observed"] and found["fix"]


def test_a_machine_of_which_nothing_is_known_passes_nothing():
    nothing = {name: None for name in GOOD if name not in ("reasons", "kernel", "hostname", "window")}
    found = run(nothing, {"proxy_mode": "nftables", "pod_cidr": "fd00:10::/56"})
    assert {name for name, item in found.items() if item["status"] == "pass"} == {"kernel_version", "node_name"}
    assert {item["status"] for item in found.values()} <= {"pass", "unknown"}


def test_a_check_that_stumbles_is_unknown_and_the_others_stay():
    found = run({"rp_filter": {"all": "odd"}})
    assert found["rp_filter"]["status"] == "unknown" and "The check itself failed" in found["rp_filter"]["observed"]
    assert found["memory"]["status"] == "pass"


def test_worst_first():
    order = [item["status"] for item in run({"memory_mb": 1, "ufw": True, "swaps": None}).values()]
    assert order == sorted(order, key=["fail", "unknown", "warn", "pass"].index)
    assert order[:3] == ["fail", "unknown", "warn"]
    assert result.worst([]) == "unknown"


def test_the_fix_of_a_module_is_what_its_problem_says():
    assert run({"modules": [MODULE_GONE]})["kernel_modules"]["fix"] == "Install linux-image-amd64."


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"minimums": {"disk_mb": {"var": 1}}}, "'var'"),
        ({"minimums": {"disk_mb": {"/var": "much"}}}, "'much'"),
        ({"ports": [{"port": 0}]}, "0"),
        ({"steal_seconds": -1.0}, "-1"),
    ],
)
def test_options_that_cannot_be_used(options, says):
    with pytest.raises(ValueError, match=says):
        preflight.make_settings(options)


def test_a_worker_needs_no_room_for_etcd():
    assert list(preflight.make_settings({"control_plane": False})["disk_mb"]) == ["/var/lib/kubelet", "/var/lib/containerd"]
    assert "/var/lib/etcd" in preflight.make_settings({"control_plane": True})["disk_mb"]
