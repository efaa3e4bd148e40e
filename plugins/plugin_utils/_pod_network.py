# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What one node needs so that its pods reach the others without an overlay: routes, and rules for what leaves the cluster."""

from __future__ import annotations

import ipaddress
import typing as t

Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

CHAIN = "KUBERNETES-POD-EGRESS"
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
_ALL = {4: "0.0.0.0/0", 6: "::/0"}


class PodNetworkError(ValueError):
    """One sentence that names the value."""


def _network(text: t.Any, what: str) -> Network:
    try:
        return ipaddress.ip_network(str(text))
    except ValueError as error:
        raise PodNetworkError(f"the {what} {text!r} is no network: {error}") from None


def _same(one: str, other: str) -> bool:
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return one == other


def networks(cidrs: str) -> t.List[Network]:
    """The pod networks of the cluster: one, or two with a comma between them."""
    return [_network(part.strip(), "pod network") for part in str(cidrs).split(",")]


def _gateway(node: t.Mapping[str, t.Any], version: int) -> str:
    for address in node["addresses"]:
        if ipaddress.ip_address(address).version == version:
            return str(address)
    raise PodNetworkError(f"node {node['name']} has the pod range of IPv{version}, but no IPv{version} address among {', '.join(node['addresses'])}")


def _rules(own: Network, cluster: t.Sequence[Network], nodes: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[str]:
    # Spelled as `iptables -S` prints them, so that the running chain can be compared line by line.
    inside = [str(net) for net in cluster if net.version == own.version]
    inside += sorted(
        {
            str(ipaddress.ip_network(address))
            for node in nodes
            for address in node["addresses"]
            if ipaddress.ip_address(address).version == own.version
        },
        key=lambda text: ipaddress.ip_network(text).network_address.packed,
    )
    start = f"-A {CHAIN}"
    return (
        [f"{start} ! -s {own} -j RETURN"]
        + [f"{start} -d {net} -j RETURN" for net in inside + [_MULTICAST[own.version]]]
        + [f"{start} -j MASQUERADE --random-fully"]
    )


def pod_network(
    nodes: t.Sequence[t.Mapping[str, t.Any]], address: str, pod_cidr: str, routes: bool = True, masquerade: bool = True
) -> t.Dict[str, t.Any]:
    """The node with this address: its ranges, its routes to the others, its rules for what leaves the cluster."""
    own = next((node for node in nodes if any(_same(address, other) for other in node["addresses"])), None)
    if own is None:
        raise PodNetworkError(f"no node of the cluster has the address {address}; known are {', '.join(sorted(n['name'] for n in nodes)) or 'none'}")
    if not own["pod_cidrs"]:
        raise PodNetworkError(f"node {own['name']} has no pod range")
    cluster = networks(pod_cidr)
    ranges = [_network(cidr, f"pod range of node {own['name']}") for cidr in own["pod_cidrs"]]
    peers: t.List[t.Dict[str, str]] = []
    for node in sorted(nodes, key=lambda item: str(item["name"])):
        if node is own or not routes:
            continue
        for cidr in node["pod_cidrs"]:
            net = _network(cidr, f"pod range of node {node['name']}")
            peers.append({"destination": str(net), "gateway": _gateway(node, net.version), "node": str(node["name"])})
    return {
        "node": str(own["name"]),
        "pod_cidrs": [str(net) for net in ranges],
        "default_routes": [_ALL[net.version] for net in ranges],
        "routes": peers,
        "chains": [
            {"ip_version": net.version, "chain": CHAIN, "rules": _rules(net, cluster, nodes) if masquerade else []} for net in ranges
        ],
    }


def placeholders(node_ips: t.Mapping[str, str], pod_cidr: str, prefix_length: int) -> t.List[t.Dict[str, t.Any]]:
    """Nodes as the cluster would have them if they joined in this order; only for looking at files before there is a cluster."""
    result: t.List[t.Dict[str, t.Any]] = [{"name": str(name), "addresses": [str(address)], "pod_cidrs": []} for name, address in node_ips.items()]
    for net in networks(pod_cidr):
        if not net.prefixlen <= prefix_length <= net.max_prefixlen:
            raise PodNetworkError(f"ranges of /{prefix_length} cannot be cut from {net}")
        if len(result) > 2 ** (prefix_length - net.prefixlen):
            raise PodNetworkError(f"{net} has room for {2 ** (prefix_length - net.prefixlen)} ranges of /{prefix_length}, but there are {len(result)} nodes")
        for node, part in zip(result, net.subnets(new_prefix=prefix_length)):
            node["pod_cidrs"].append(str(part))
    return result
