# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Which kernel modules and settings a node of a given cluster needs, each with its reason."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.module_utils._sysctl import format_ports, key_path, parse_ports
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._cluster import PROXY_MODES, SCHEDULERS
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._cni import CniError, tunnels

# Name of the scheduler in kube-proxy's configuration to the kernel's module. kube-proxy falls back on nothing: without it, it ends.
IPVS_SCHEDULERS = {name: f"ip_vs_{name}" for name in SCHEDULERS}

# One entry costs about 320 bytes (struct nf_conn and its extensions).
CONNTRACK_ENTRY_BYTES = 320
# A full table may take this part of the memory.
CONNTRACK_MEMORY_PART = 32
# kube-proxy's own numbers: per core, at least, and at most since Kubernetes 1.36.
CONNTRACK_PER_CPU = 32768
CONNTRACK_MIN = 131072
CONNTRACK_CAP = 1048576
# A quarter of it is a number of buckets that no page size rounds up.
CONNTRACK_STEP = 32768

PORT_GROUPS: t.Dict[str, t.Tuple[str, str]] = {
    "etcd": ("2379-2381", "etcd clients, peers, metrics"),
    "components": ("10248-10259", "kubelet, kube-proxy, controller manager, scheduler"),
    "metallb": ("7472-7473,7946", "MetalLB speaker"),
}
CNI_PORTS: t.Dict[str, str] = {
    # tunnels: VXLAN, Geneve, WireGuard; then the daemons on the host
    "bridge": "",
    "flannel": "8472,51820-51821",
    "calico": "4789,5473,9091,9098-9099,51820-51821",
    "cilium": "4240,4244-4245,4250,6081,8472,9234,9878-9879,9890-9893,9901,9961-9965,51871",
}

RP_FILTER = {
    "cilium": (0, "Cilium's interfaces answer for addresses that no route of this host leads back to; a check here drops them."),
    "calico": (
        0,
        "0 leaves it to each interface (the larger of both counts): Calico sets 1 on every pod's interface, which stops forged\n"
        "sources, and with several BGP uplinks an answer may come in by another interface than the one it would leave by.",
    ),
    "flannel": (2, "Loose: the source must be reachable, by whichever interface. Strict (1) drops answers that take another way back."),
    "bridge": (2, "Loose: the source must be reachable, by whichever interface. Strict (1) drops answers that take another way back."),
}


class KernelPlanError(Exception):
    """One sentence: the variable, its value and the rule."""


def power_of_two(number: int) -> int:
    """Return the smallest power of two that is not smaller."""
    return 1 << max(number - 1, 0).bit_length()


def kernel_version(release: str) -> t.Optional[t.Tuple[int, int]]:
    """Return (6, 1) for 6.1.0-41-amd64, None for what does not begin like that."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found.group(1)), int(found.group(2))) if found else None


def round_memory(memory_mb: int) -> int:
    """Round MemTotal up to 256 MiB: the kernel keeps a part that changes from one version to the next, the machine's size does not."""
    return -(-memory_mb // 256) * 256


def conntrack_max(cpus: int, memory_mb: int) -> int:
    """Size the table of connections.

    As many as kube-proxy would choose, and on more than 4 GiB not fewer than the kernel does by itself (262144), but never
    more than a 32nd of the memory holds nor than 1048576; a multiple of 32768.
    """
    memory = round_memory(memory_mb)
    wanted = max(CONNTRACK_PER_CPU * cpus, CONNTRACK_MIN, 262144 if memory > 4096 else 0)
    budget = memory * 1024 * 1024 // CONNTRACK_MEMORY_PART // CONNTRACK_ENTRY_BYTES
    return max(min(wanted, budget, CONNTRACK_CAP) // CONNTRACK_STEP * CONNTRACK_STEP, CONNTRACK_STEP)


def neighbour_thresholds(nodes: int, pods_per_node: int) -> t.Tuple[int, int, int]:
    """Size the neighbour tables.

    One table serves all network namespaces of a host. It holds each other node (its address and that of its tunnel), and
    for each local pod the host's entry for the pod, the pod's for its gateway, and as many again for pods that talk to
    each other. Below the first number nothing is thrown out.
    """
    entries = 2 * nodes + 4 * pods_per_node
    first = max(power_of_two(entries), 1024)
    return first, 2 * first, 4 * first


def _choice(contract: t.Mapping[str, t.Any], name: str, allowed: t.Iterable[str]) -> str:
    value = str(contract.get(name))
    if value not in allowed:
        raise KernelPlanError(f"{name} is {value!r}, but must be one of {', '.join(sorted(allowed))}.")
    return value


def _number(contract: t.Mapping[str, t.Any], name: str, default: int) -> int:
    value = contract.get(name) or default
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        raise KernelPlanError(f"{name} is {value!r}, but must be a number from 0 on.")
    return number


def modules(contract: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, t.Any]]:
    """Return the modules in the order in which they are loaded."""
    cni = _choice(contract, "cni", CNI_PORTS)
    mode = _choice(contract, "proxy_mode", PROXY_MODES)
    bridged = cni in ("bridge", "flannel")
    found: t.Dict[str, t.Dict[str, t.Any]] = {}

    def add(name: str, comment: str = "", optional: bool = False) -> None:
        found.setdefault(name, {"name": name, "comment": comment, "optional": optional})

    add("overlay", "The file systems of containers.")
    add(
        "br_netfilter",
        "Packets between pods of one bridge pass the service rules." if bridged else "Packets over a bridge, if any, pass the service rules.",
        optional=not bridged,
    )
    add("nf_conntrack", "Connection tracking; before the settings that size its table.")
    if mode == "ipvs":
        scheduler = str(contract.get("ipvs_scheduler") or "rr")
        if scheduler not in IPVS_SCHEDULERS:
            raise KernelPlanError(f"ipvs_scheduler is {scheduler!r}, but must be one of {', '.join(sorted(IPVS_SCHEDULERS))}.")
        add("ip_vs", "kube-proxy in IPVS mode, with the schedulers it looks for at its start.")
        for name in ("rr", "wrr", "sh"):
            add(IPVS_SCHEDULERS[name])
        add(IPVS_SCHEDULERS[scheduler], "The scheduler of this cluster.")
    elif mode == "nftables":
        add("nf_tables", "kube-proxy in nftables mode.")
    try:
        found_tunnels = tunnels(cni, str(contract.get("encapsulation") or ""), str(contract.get("encryption") or ""))
    except CniError as error:
        raise KernelPlanError(f"{error}.") from error
    for name in found_tunnels:
        add(name, f"What packets of pods are put into between nodes ({cni}).")
    for extra in contract.get("modules_extra") or []:
        entry = {"comment": "", "optional": False, **extra}
        found[str(entry["name"])] = entry
    return list(found.values())


def reserved_ports(contract: t.Mapping[str, t.Any]) -> str:
    """Return the ports that no outgoing connection may take, because something listens or will listen there."""
    cni = _choice(contract, "cni", CNI_PORTS)
    parts = [
        str(contract.get("node_port_range") or "30000-32767"),
        str(_number(contract, "api_port", 6443)),
        PORT_GROUPS["etcd"][0],
        PORT_GROUPS["components"][0],
        CNI_PORTS[cni],
    ]
    if contract.get("load_balancer"):
        parts.append(PORT_GROUPS["metallb"][0])
    parts += [str(part) for part in contract.get("reserved_ports") or []]
    ports: t.Set[int] = set()
    for part in parts:
        for item in re.findall(r"[^,\s]+", part):
            found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", item)
            if not found or int(found[1]) > int(found[2] or found[1]):
                raise KernelPlanError(f"reserved ports {part!r} are not written as ports and ranges, such as 8080,9100-9110.")
        ports |= parse_ports(part)
    if ports and max(ports) > 65535:
        raise KernelPlanError(f"reserved port {max(ports)} is larger than 65535.")
    # Lower ones are outside of ip_local_port_range anyway.
    return format_ports({port for port in ports if port >= 1024})


def _tcp_tw_reuse(contract: t.Mapping[str, t.Any]) -> int:
    wanted = str(contract.get("tcp_tw_reuse", "auto"))
    if wanted in ("0", "1", "2"):
        return int(wanted)
    if wanted != "auto":
        raise KernelPlanError(f"tcp_tw_reuse is {wanted!r}, but must be auto, 0, 1 or 2.")
    version = kernel_version(str(contract.get("kernel") or ""))
    return 0 if version is not None and version < (4, 19) else 2


def sysctls(contract: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, t.Any]]:
    """Return the settings in the order in which they are applied."""
    cni = _choice(contract, "cni", CNI_PORTS)
    bridged = cni in ("bridge", "flannel")
    ipv6_pods = ":" in str(contract.get("pod_cidr") or "")
    found: t.List[t.Dict[str, t.Any]] = []

    def add(key: str, value: t.Any, comment: str = "", min_only: bool = False, optional: bool = False) -> None:
        found.append({"key": key, "value": str(value), "comment": comment, "min_only": min_only, "optional": optional})

    add("net.ipv4.ip_forward", 1, "Every node is a router: packets of pods and services go through it. kubeadm checks it.")
    if ipv6_pods:
        add(
            "net.ipv6.conf.all.forwarding",
            1,
            "The same for IPv6. A node that gets its default route from router advertisements also needs accept_ra=2 on that interface.",
        )
    add(
        "net.bridge.bridge-nf-call-iptables",
        1,
        "What a pod sends to a service whose pod sits on the same bridge must pass the service rules on its way back too.",
        optional=not bridged,
    )
    add("net.bridge.bridge-nf-call-ip6tables", 1, optional=not bridged)

    value, reason = RP_FILTER[cni]
    if str(contract.get("rp_filter", "auto")) != "auto":
        value, reason = _number(contract, "rp_filter", 0), "Set by kernel_rp_filter."
        if value > 2:
            raise KernelPlanError(f"rp_filter is {value!r}, but must be auto, 0, 1 or 2.")
    add("net.ipv4.conf.all.rp_filter", value, f"Reverse path check. {reason}")
    add("net.ipv4.conf.default.rp_filter", value, "For interfaces that are made later.")

    add(
        "net.ipv4.ip_local_reserved_ports",
        reserved_ports(contract),
        "Node ports and the ports of the control plane, the kubelet and the pod network: no outgoing connection may sit on them when their\n"
        "owner wants to listen, or when kube-proxy takes the packets. Set before the range below is widened.",
    )
    add("net.ipv4.ip_local_port_range", "1024 65535", "Outgoing connections (masquerading, ingress, probes) need many source ports.")
    add(
        "net.ipv4.tcp_tw_reuse",
        _tcp_tw_reuse(contract),
        "2 (kernel 4.19 and later): reuse ports of finished connections on the loopback only, where it is safe. 1 would do it everywhere, and a\n"
        "port that is reused while IPVS still has the old connection in TIME_WAIT is sent to the old pod. Older kernels do not know 2: 0.",
    )
    add("net.core.somaxconn", 32768, "Longest queue of accepted connections a server may ask for (ingress, API server).", min_only=True)
    add("net.ipv4.tcp_max_syn_backlog", 8192, "Half-open connections per listener, for bursts of new clients.", min_only=True)
    add(
        "fs.file-max",
        2097152,
        "Open files of the whole machine: every container counts. Only raised: systemd sets far more at boot on current systems.",
        min_only=True,
    )
    add(
        "fs.inotify.max_user_instances",
        8192,
        "kubelet, containerd and every pod of one user share these; 128 is used up by a few dozen pods that follow logs.",
        min_only=True,
    )
    add("fs.inotify.max_user_watches", 524288, "Only raised: the kernel sets up to 1048576 by memory.", min_only=True)

    nodes = max(_number(contract, "nodes", 1), 1)
    per_node = _pods_per_node(contract)
    first, second, third = neighbour_thresholds(nodes, per_node)
    for family, optional in (("ipv4", False), ("ipv6", True)):
        reason = (
            f"Neighbour (ARP) table for {nodes} nodes and {per_node} pods on each, in all network namespaces together:\n"
            "below thresh1 nothing is thrown out, above thresh3 new neighbours are refused ('neighbour table overflow')."
            if family == "ipv4"
            else "The same for IPv6 neighbours; a kernel without IPv6 does not have the keys."
        )
        # From the largest down: the kernel never sees a limit below the one it is a limit for.
        add(f"net.{family}.neigh.default.gc_thresh3", third, reason, min_only=True, optional=optional)
        add(f"net.{family}.neigh.default.gc_thresh2", second, min_only=True, optional=optional)
        add(f"net.{family}.neigh.default.gc_thresh1", first, min_only=True, optional=optional)

    owner = _choice(contract, "conntrack_owner", ("sysctl", "kube_proxy"))
    if owner == "sysctl":
        cpus = max(_number(contract, "cpus", 1), 1)
        memory_mb = _number(contract, "memory_mb", 4096)
        size = _number(contract, "conntrack_max", 0) or conntrack_max(cpus, memory_mb)
        add(
            "net.netfilter.nf_conntrack_max",
            size,
            f"Tracked connections (CPUs: {cpus}, memory: {round_memory(memory_mb)} MiB): 32768 per CPU, at least 131072 (262144 above 4 GiB), at most a 32nd\n"
            "of the memory at 320 bytes each, at most 1048576. Owned by this file: kube-proxy is told to leave it alone.",
        )
        add("net.netfilter.nf_conntrack_buckets", -(-size // 4), "Hash buckets: one for four connections, as kube-proxy does it.", min_only=True)

    extras = {key_path(str(extra["key"])): dict(extra) for extra in contract.get("sysctls_extra") or []}
    result = [extras.pop(key_path(item["key"]), item) for item in found]
    return result + list(extras.values())


def _pods_per_node(contract: t.Mapping[str, t.Any]) -> int:
    """The kubelet's limit, or what the node's part of the pod network holds when that is less."""
    limit = _number(contract, "max_pods", 110)
    bits = 128 if ":" in str(contract.get("pod_cidr") or "") else 32
    free = bits - _number(contract, "pod_prefix_length", 24)
    return min(limit, 1 << max(free, 0))
