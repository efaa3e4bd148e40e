# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Parsers of what the preflight reads on a node: text in, plain data out, Unreadable for what is not what it should be."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import Unreadable

CPU_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_TCP_LISTEN = "0A"
_UDP_UNCONNECTED = "07"
# Destinations that no packet of a pod, a service or a load balancer takes.
_NO_DESTINATION = ("broadcast", "multicast", "anycast")


def number(text: str) -> int:
    """A decimal number as programs print it; int() takes more."""
    if not re.match(r"^[0-9]{1,19}$", text):
        raise Unreadable(f"{text[:40]!r} is no number")
    return int(text)


def version(text: str) -> Tuple[int, ...]:
    """(6, 1, 0) of 6.1.0-41-amd64 or v1.0.6; at least two numbers."""
    found = re.match(r"^v?([0-9]{1,6})\.([0-9]{1,6})(?:\.([0-9]{1,6}))?", text.strip())
    if not found:
        raise Unreadable(f"{text.strip()[:40]!r} is no version")
    return tuple(int(part) for part in found.groups() if part is not None)


def minor_version(kubernetes_version: str) -> Optional[int]:
    """36 of 1.36.4; None for none."""
    found = re.match(r"^v?1\.([0-9]{1,3})(?:\.|$)", kubernetes_version)
    return int(found.group(1)) if found else None


def parse_cpu_times(text: str) -> Dict[str, Dict[str, int]]:
    """The lines cpu, cpu0, cpu1... of /proc/stat; guest time is part of user time and left out."""
    result: Dict[str, Dict[str, int]] = {}
    for line in text.splitlines():
        words = line.split()
        if words and re.match(r"^cpu[0-9]*$", words[0]):
            if len(words) <= len(CPU_FIELDS):
                raise Unreadable("/proc/stat has a line of a CPU without the column steal")
            result[words[0]] = {name: number(word) for name, word in zip(CPU_FIELDS, words[1:])}
    if "cpu" not in result or len(result) < 2:
        raise Unreadable("/proc/stat has no lines of CPUs")
    return result


def cpu_shares(first: Dict[str, int], second: Dict[str, int]) -> Dict[str, float]:
    """{steal, softirq in %, ticks} between two lines of one CPU."""
    grown = {name: second[name] - first[name] for name in CPU_FIELDS}
    # idle and iowait are estimates of the kernel and may step back a little; the others count work.
    ticks = sum(grown.values())
    if ticks <= 0 or min(grown[name] for name in ("steal", "softirq")) < 0:
        raise Unreadable("the CPU times went backwards between the two samples (a live migration, or a CPU that was taken away)")
    return {"steal": 100 * grown["steal"] / ticks, "softirq": 100 * grown["softirq"] / ticks, "ticks": float(ticks)}


def parse_uptime(text: str) -> float:
    """Seconds since boot."""
    found = re.match(r"^([0-9]+(?:\.[0-9]+)?) ", text)
    if not found:
        raise Unreadable("/proc/uptime has no number")
    return float(found.group(1))


def parse_meminfo(text: str) -> int:
    """MemTotal in MiB."""
    found = re.search(r"^MemTotal:\s+([0-9]{1,15}) kB$", text, re.MULTILINE)
    if not found:
        raise Unreadable("/proc/meminfo has no MemTotal")
    return int(found.group(1)) // 1024


def parse_swaps(text: str) -> List[Dict[str, Any]]:
    """The devices of /proc/swaps: [{device, size_mb}]."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith("Filename"):
        raise Unreadable("/proc/swaps has no heading")
    result = []
    for line in lines[1:]:
        words = line.split()
        if len(words) != 5:
            raise Unreadable("/proc/swaps has a line that cannot be read")
        result.append({"device": words[0], "size_mb": number(words[2]) // 1024})
    return result


def parse_cgroups_v1(text: str) -> List[str]:
    """The controllers that /proc/cgroups lists as enabled."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith("#subsys_name"):
        raise Unreadable("/proc/cgroups has no heading")
    rows = [line.split() for line in lines[1:]]
    if any(len(row) != 4 for row in rows):
        raise Unreadable("/proc/cgroups has a line that cannot be read")
    return [row[0] for row in rows if row[3] == "1"]


def parse_addresses(text: str) -> List[Dict[str, Any]]:
    """Interfaces of ``ip -j addr show``."""
    try:
        return [
            {
                "name": str(link["ifname"]),
                "mac": str(link.get("address", "")).lower() if link.get("link_type") == "ether" else "",
                "mtu": int(link["mtu"]),
                "up": "UP" in link["flags"],
                "carrier": "LOWER_UP" in link["flags"],
                "addresses": [
                    {
                        "address": str(ipaddress.ip_address(item["local"])),
                        "prefix": int(item["prefixlen"]),
                        "scope": str(item.get("scope", "")),
                        # two machines with one address; the kernel only finds that out for IPv6
                        "duplicate": bool(item.get("dadfailed")),
                    }
                    for item in link.get("addr_info", [])
                    if item.get("local")
                ],
            }
            for link in json.loads(text)
            # ip -j prints {} for what a filter leaves out
            if link
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(f"`ip -j addr show` printed what cannot be read ({type(error).__name__})") from None


def parse_routes(text: str, family: int) -> List[Dict[str, str]]:
    """Routes of ``ip -j route show table all``: [{destination, interface, gateway, type}], without multicast and link-local ones."""
    result = []
    # iproute2 prints nothing where there is no route; with IPv4 those of the loopback are always there.
    if family == 6 and not text.strip():
        return []
    try:
        for route in json.loads(text):
            kind = str(route.get("type", "unicast"))
            if not route or kind in _NO_DESTINATION:
                continue
            text_of = str(route["dst"])
            everything = "0.0.0.0/0" if family == 4 else "::/0"
            network = ipaddress.ip_network(everything if text_of == "default" else text_of)
            if network.is_multicast or network.is_link_local or network.is_loopback or network.version != family:
                continue
            hops = [route] + list(route.get("nexthops", []))
            via = [hop.get("gateway") or (hop.get("via") or {}).get("host") for hop in hops]
            result.append(
                {
                    "destination": str(network),
                    "interface": " ".join(dict.fromkeys(str(hop["dev"]) for hop in hops if hop.get("dev"))),
                    "gateway": " ".join(dict.fromkeys(str(gateway) for gateway in via if gateway)),
                    "type": kind,
                }
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(f"`ip -j route show table all` printed what cannot be read ({type(error).__name__})") from None
    return result


def parse_resolv_conf(text: str) -> Dict[str, Any]:
    """{nameservers, search}; the last search line counts, as for the C library."""
    servers: List[str] = []
    search: List[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        if words[0] == "nameserver":
            try:
                servers.append(str(ipaddress.ip_address(words[1].partition("%")[0])))
            except (IndexError, ValueError):
                raise Unreadable(f"it has a line nameserver without an address: {line.strip()[:60]!r}") from None
        elif words[0] in ("search", "domain"):
            search = words[1:]
    return {"nameservers": servers, "search": search}


def parse_sockets(text: str, protocol: str) -> List[Dict[str, Any]]:
    """Listening sockets of /proc/net/tcp, tcp6, udp, udp6: [{protocol, port, inode}]; inode 0 is one of the kernel itself."""
    lines = text.splitlines()
    if not lines or "local_address" not in lines[0]:
        raise Unreadable("the kernel's list of sockets has no heading")
    state = _TCP_LISTEN if protocol == "tcp" else _UDP_UNCONNECTED
    result = []
    for line in lines[1:]:
        words = line.split()
        if len(words) < 10 or not re.match(r"^[0-9A-F]{8,32}:[0-9A-F]{4}$", words[1]):
            raise Unreadable("the kernel's list of sockets has a line that cannot be read")
        if words[3] == state:
            result.append({"protocol": protocol, "port": int(words[1].rpartition(":")[2], 16), "inode": number(words[9])})
    return result


def parse_kernel_log(text: str) -> List[Tuple[float, str]]:
    """[(seconds since boot, message)] of /dev/kmsg."""
    result = []
    for line in text.splitlines():
        found = re.match(r"^[0-9]+,[0-9]+,([0-9]{1,18}),[^;]*;(.*)$", line)
        if found:
            result.append((int(found.group(1)) / 1e6, found.group(2)))
    if not result:
        raise Unreadable("the kernel log has no message")
    return result


_NFT_TABLE = re.compile(r"^table (?P<family>\S+) (?P<table>\S+) \{")
_NFT_CHAIN = re.compile(r"^\s+chain (?P<chain>\S+) \{")
_NFT_HOOK = re.compile(r"^\s+type filter hook (?P<hook>input|forward) .*?(?:policy (?P<policy>\w+);)?\s*$")


def parse_nft_chains(text: str) -> Dict[str, Any]:
    """{chains: [names], filters: [{family, table, chain, hook, policy}]} of ``nft list chains``."""
    chains: List[str] = []
    filters: List[Dict[str, str]] = []
    place: Dict[str, str] = {}
    for line in text.splitlines():
        table, chain, hook = _NFT_TABLE.match(line), _NFT_CHAIN.match(line), _NFT_HOOK.match(line)
        if table:
            place = table.groupdict()
        elif chain and place:
            place = {**place, "chain": chain.group("chain")}
            chains.append(chain.group("chain"))
        elif hook and "chain" in place:
            filters.append({**place, "hook": hook.group("hook"), "policy": hook.group("policy") or "accept"})
        elif line.strip() not in ("", "}") and not line.strip().startswith(("type ", "policy ", "comment ", "flags ", "# Warning: table ")):
            raise Unreadable("`nft list chains` printed what cannot be read")
    return {"chains": chains, "filters": filters}


def parse_network_manager(files: List[Tuple[str, str]]) -> Dict[str, List[str]]:
    """{unmanaged, devices} of NetworkManager's configuration, in the order in which it reads the files.

    unmanaged: the specs of keyfile.unmanaged-devices; devices: those of [device...] sections with managed=0.
    """
    unmanaged: List[str] = []
    devices: List[str] = []
    for _path, text in files:
        section = ""
        match: List[str] = []
        for line in text.splitlines():
            line = line.strip()
            if line.startswith("[") and line.endswith("]"):
                section, match = line[1:-1], []
                continue
            key, equals, value = line.partition("=")
            key, specs = key.strip(), [part.strip() for part in re.split(r"[;,]", value) if part.strip()]
            if not equals or line.startswith(("#", ";")):
                continue
            if section == "keyfile" and key == "unmanaged-devices":
                unmanaged = specs
            elif section == "keyfile" and key == "unmanaged-devices+":
                unmanaged = unmanaged + specs
            elif section.startswith("device") and key == "match-device":
                match = specs
            elif section.startswith("device") and key == "managed" and value.strip().lower() in ("0", "false", "no", "off"):
                devices += match
    return {"unmanaged": unmanaged, "devices": devices}


def parse_server(text: str) -> str:
    """The host of the API server in a kubeconfig, as it is written there; empty if there is none."""
    found = re.search(r"^\s*server:\s*[\"']?https?://(\[[0-9A-Fa-f:.]+\]|[^/:\s\"']+)", text, re.MULTILINE)
    return found.group(1).strip("[]").lower() if found else ""
