# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""The list of checks of one node. A new check is a function of (facts, settings) in one of the three files and a line here."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _preflight_kernel as kernel
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _preflight_network as network
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _preflight_system as system
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import Runner
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_node import Reader
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import (
    DISK_MB,
    UNKNOWN,
    Check,
    Facts,
    Settings,
    check,
    worst_first,
)


class Entry(NamedTuple):
    """A check: its id is the name of the function."""

    function: Callable[[Facts, Settings], Check]
    means: str

    @property
    def identifier(self) -> str:
        return self.function.__name__


# In the order in which faults are best mended.
CHECKS = (
    Entry(system.operating_system, "The operating system is one that the collection is tested on."),
    Entry(system.init_system, "systemd is the init system."),
    Entry(system.virtualization, "The machine has a kernel of its own: bare metal or a virtual machine, no container, no OpenVZ."),
    Entry(system.cpus, "There are enough CPUs."),
    Entry(system.memory, "There is enough memory."),
    Entry(system.disk_space, "There is enough free space, and more than the kubelet's eviction limits."),
    Entry(system.cpu_steal, "The host of a virtual machine takes no CPU time away."),
    Entry(system.softirq, "No CPU is busy with soft interrupts."),
    Entry(system.swap, "There is no swap, now and at boot."),
    Entry(system.cgroup, "The version of cgroup fits Kubernetes, with all controllers."),
    Entry(system.time_sync, "The clock is synchronised."),
    Entry(system.node_name, "The node's name is valid."),
    Entry(system.machine_id, "/etc/machine-id is valid."),
    Entry(kernel.kernel_version, "The kernel is new enough for the pod network and the mode of kube-proxy."),
    Entry(kernel.kernel_modules, "All kernel modules are there or can be loaded."),
    Entry(kernel.nft_version, "nft is new enough for kube-proxy in nftables mode."),
    Entry(kernel.conntrack_headroom, "The table of tracked connections has room."),
    Entry(kernel.conntrack_drops, "No connection was dropped between two samples."),
    Entry(kernel.kernel_log, "The kernel log has no message of a full table."),
    Entry(kernel.checksum_offload, "Card and kernel are not known for wrong checksums in UDP tunnels."),
    Entry(network.node_ip, "The node IP is an address of an interface that is up."),
    Entry(network.default_route, "There is a default route, or none is needed."),
    Entry(network.ipv6, "IPv6 is on where the cluster uses it."),
    Entry(network.dns_resolvers, "The name servers that the kubelet hands to pods are not loopback addresses."),
    Entry(network.dns_limits, "That file has not more name servers and search domains than count."),
    Entry(network.ports_free, "The ports of the cluster are free, or used by the cluster itself."),
    Entry(network.firewall, "No firewall is active beside the cluster's own rules."),
    Entry(network.network_manager, "NetworkManager leaves the interfaces of the pod network alone."),
    Entry(network.rp_filter, "The reverse path filter is not strict where that drops packets."),
    Entry(network.leftovers, "Nothing of another cluster is left on the node."),
)


def make_settings(params: Mapping[str, Any]) -> Settings:
    """The module's options as the checks take them."""
    minimums = params.get("minimums") or {}
    disks = dict(minimums.get("disk_mb") or {})
    if not disks:
        disks = {path: size for path, size in DISK_MB.items() if params.get("control_plane") or path != "/var/lib/etcd"}
    for path, size in disks.items():
        if not str(path).startswith("/") or not str(size).isdigit():
            raise ValueError(f"minimums.disk_mb has {path!r}: {size!r}, but wants absolute paths with MiB as numbers")
    if params.get("steal_seconds", 0) < 0:
        raise ValueError(f"steal_seconds is {params['steal_seconds']:g}, but must not be negative")
    for item in params.get("ports") or []:
        if not 0 < item["port"] < 65536:
            raise ValueError(f"ports has {item['port']}, which is no port")
    text = {name: str(params.get(name) or "") for name in ("kubernetes_version", "cni", "encapsulation", "proxy_mode", "node_ip", "node_name")}
    return {
        **text,
        **{name: str(params.get(name) or "") for name in ("pod_cidr", "service_cidr", "resolv_conf")},
        "control_plane": bool(params.get("control_plane")),
        "load_balancer_ranges": list(params.get("load_balancer_ranges") or []),
        "modules": list(params.get("modules") or []),
        "ports": [{"protocol": "tcp", "purpose": "", **{key: value for key, value in item.items() if value is not None}} for item in params.get("ports") or []],
        "api_servers": list(params.get("api_servers") or []),
        "swap": str(params.get("swap") or "turn_off"),
        "steal_seconds": float(params.get("steal_seconds", 0)),
        "cpus": int(minimums.get("cpus") or 0),
        "memory_mb": int(minimums.get("memory_mb") or 0),
        "disk_mb": {path: int(size) for path, size in disks.items()},
    }


def derive(facts: Facts, settings: Settings) -> None:
    """Facts that follow from others."""
    link = network.interface_of(facts, settings["node_ip"])
    facts["node_interface"] = link
    facts["node_drivers"] = None if link is None else link["drivers"]
    if link is None:
        facts["reasons"]["node_drivers"] = facts["reasons"].get("interfaces") or f"no interface has the node IP {settings['node_ip'] or '(none given)'}"


def run_checks(facts: Facts, settings: Settings) -> List[Check]:
    """All of them, worst first. A check that stumbles over an odd fact must not take the findings of the others with it."""
    found = []
    for entry in CHECKS:
        try:
            found.append(entry.function(facts, settings))
        except Exception as error:  # pylint: disable=broad-exception-caught
            observed = f"The check itself failed: {type(error).__name__}: {error}."
            found.append(check(entry.identifier, UNKNOWN, observed, entry.means, "Report this line to the collection's issue tracker."))
    return worst_first(found)


def _identity(facts: Facts, settings: Settings) -> Dict[str, Any]:
    link = facts["node_interface"]
    own = next((item for item in link["addresses"] if item["address"] == settings["node_ip"]), None) if link else None
    cards = [item for item in facts["interfaces"] or [] if item["mac"] and (item["physical"] or item is link)]
    return {
        "machine_id": facts["machine_id"] or "",
        "product_uuid": facts["product_uuid"] or "",
        "macs": [{"interface": item["name"], "mac": item["mac"]} for item in cards],
        "hostname": facts["hostname"],
        "node_ip": settings["node_ip"],
        "node_interface": link["name"] if link else "",
        "node_prefix": own["prefix"] if own else None,
        "mtu": link["mtu"] if link else None,
    }


def preflight(run: Runner, params: Mapping[str, Any], **reader: Any) -> Dict[str, Any]:
    """Read the node and judge it; reader: what tests put in the place of the machine."""
    settings = make_settings(params)
    clock = reader.get("now", time.monotonic)
    begin = clock()
    facts = Reader(run, settings, **reader).read()
    derive(facts, settings)
    member = facts["member"] or {"member": None}
    system_found = facts["os"] or {}
    result = {
        "checks": run_checks(facts, settings),
        "identity": _identity(facts, settings),
        "routes": facts["routes"],
        "resolvers": None if facts["resolv_conf"] is None else facts["resolv_conf"]["nameservers"],
        "facts": {
            "kernel": facts["kernel"],
            "virtualization": facts["virtual_machine"],
            "cpus": None if facts["cpu_first"] is None else len(facts["cpu_first"]) - 1,
            "memory_mb": facts["memory_mb"],
            "os": system_found.get("PRETTY_NAME") or system_found.get("ID"),
            "member": member["member"],
            "driver": None if facts["node_drivers"] is None else ", ".join(facts["node_drivers"]),
        },
        "unread": facts["reasons"],
    }
    result["seconds"] = round(clock() - begin - facts["slept"], 3)
    return result
