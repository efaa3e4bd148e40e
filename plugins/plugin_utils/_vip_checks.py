# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Judge over all nodes who answers for a load balancer's address (ARP and neighbour discovery), and over routers which route it has."""

from __future__ import annotations

import ipaddress
import json
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, Check, check

Results = t.Mapping[str, t.Mapping[str, t.Any]]


class _Segment:
    """What all nodes heard of one address."""

    def __init__(self, address: str, results: Results) -> None:
        self.owners: t.Dict[str, t.List[str]] = {}
        self.heard: t.Dict[str, t.List[str]] = {}
        self.errors: t.Dict[str, str] = {}
        self.near: t.List[str] = []
        own: t.Dict[str, t.List[str]] = {}
        for host, result in results.items():
            for mac in result.get("own_macs") or []:
                own.setdefault(mac, []).append(host)
            answer = next((item for item in result.get("answers") or [] if item["address"] == str(ipaddress.ip_address(address))), None)
            if answer is None or answer["error"]:
                self.errors[host] = answer["error"] if answer else "it was not asked"
                continue
            self.heard[host] = list(answer["macs"])
            if answer["on_link"]:
                self.near.append(host)
        for macs in self.heard.values():
            for mac in macs:
                self.owners[mac] = own.get(mac, [])

    def owner_names(self) -> t.List[str]:
        return sorted({host for hosts in self.owners.values() for host in hosts})

    def shown(self) -> str:
        """Each MAC address with its machine."""
        return ", ".join(f"{mac} ({', '.join(hosts) or 'none of these nodes'})" for mac, hosts in sorted(self.owners.items()))


def _several(segment: _Segment, address: str) -> str:
    """What to do about more than one owner."""
    names = segment.owner_names()
    if any(not hosts for hosts in segment.owners.values()):
        return (
            f"Another machine of the network has {address}: find it by its MAC address (the switch's table, the DHCP server's "
            "leases), and take the address "
            "from it or out of the pool."
        )
    if len(names) == 1:
        return f"{names[0]} answers on two interfaces of one network: name the one that is meant in interfaces of the pool."
    return (
        "With kube-proxy in IPVS mode every node has the address and answers, unless strict ARP is on: set "
        "cluster_ipvs_strict_arp to true and run "
        "cluster.yml again; `sysctl net.ipv4.conf.all.arp_ignore` must be 1 on each. In other modes look for the address with `ip address`."
    )


def _layer2(vip: t.Mapping[str, t.Any], results: Results, node_ips: t.Mapping[str, str]) -> Check:
    address = vip["address"]
    identifier = f"vip_owner/{vip['pool']}"
    segment = _Segment(address, results)
    announcers = [host for host, ip in node_ips.items() if ip in vip["announcer_addresses"] or host in vip["announcers"]]
    said = f", that of {', '.join(announcers)}" if announcers else ""
    wanted = f"one MAC address that answers for {address}{said}"
    arping = (
        f"from another machine of the network: `arping -c 3 {address}`"
        if ":" not in address
        else f"`ndisc6 {address} INTERFACE` from another machine"
    )
    if not segment.heard:
        reasons = "; ".join(f"{host}: {text}" for host, text in segment.errors.items()) or "no node was asked"
        return check(identifier, UNKNOWN, reasons, wanted, f"Look {arping}.")
    # a node of another network is reached by a router, and hears nothing of this one
    members = [host for host in segment.heard if not segment.near or host in segment.near]
    listeners = [host for host in members if host not in announcers]
    if not segment.owners:
        if not listeners:
            return check(
                identifier,
                UNKNOWN,
                f"only {', '.join(members)} was asked, which announces it and cannot hear itself",
                wanted,
                f"Look {arping}.",
            )
        if not announcers and len(members) == 1:
            return check(identifier, UNKNOWN, f"only {listeners[0]} was asked, and no node hears itself", wanted, f"Look {arping}.")
        fix = (
            "Does the network let ARP pass between these ports (port security, private VLAN; on VPS hosts ARP for addresses "
            "that were not ordered), and is "
            "the interface the right one? `kubectl -n metallb-system logs daemonset/metallb-speaker`."
        )
        return check(identifier, FAIL, f"no answer; asked by {', '.join(listeners)}", wanted, fix)
    # nodes whose MAC addresses are not known
    left = ", ".join(sorted(host for host in {*node_ips, *results} if not (results.get(host) or {}).get("own_macs")))
    everybody = "Run it for all nodes, without --limit."
    if len(segment.owners) > 1:
        nameless = left and not all(segment.owners.values())
        observed = f"{len(segment.owners)} answer: {segment.shown()}" + (f"; {left} not asked" if nameless else "")
        return check(identifier, FAIL, observed, wanted, everybody if nameless else _several(segment, address))
    mac, owners = next(iter(segment.owners.items()))
    if not owners:
        if left:
            return check(identifier, UNKNOWN, f"{mac} answers, whose it is is not known: {left} not asked", wanted, everybody)
        return check(identifier, FAIL, f"{mac} answers, which is none of these nodes", wanted, _several(segment, address))
    if announcers and not set(owners) & set(announcers):
        fix = f"Who gave {owners[0]} the address? `ip address show to {address}` there; MetalLB does not put it on an interface."
        return check(identifier, FAIL, f"{segment.shown()} answers", wanted, fix)
    deaf = [host for host in members if host not in owners and not segment.heard[host]]
    if deaf:
        fix = (
            f"Are {', '.join(deaf)} and {owners[0]} in one layer 2 network? `arping -c 3 {address}` on {deaf[0]}; look at "
            "VLAN and port security of the switch."
        )
        return check(identifier, FAIL, f"{segment.shown()} answers, but not to {', '.join(deaf)}", wanted, fix)
    hearers = [host for host in members if segment.heard[host]]
    observed = f"{segment.shown()}, heard by {', '.join(hearers)}"
    if segment.errors:
        reasons = "; ".join(f"{host}: {text}" for host, text in segment.errors.items())
        return check(identifier, UNKNOWN, f"{observed}; not known: {reasons}", wanted, "See why these nodes could not ask.")
    return check(identifier, PASS, observed, wanted)


# --- routes


def _gateways(route: t.Mapping[str, t.Any]) -> t.List[str]:
    hops = [route, *(route.get("nexthops") or [])]
    return [
        str(ipaddress.ip_address((hop.get("via") or {}).get("host") or hop["gateway"]))
        for hop in hops
        if hop.get("gateway") or hop.get("via")
    ]


def _route(vip: t.Mapping[str, t.Any], observer: str, output: t.Mapping[str, t.Any], node_ips: t.Mapping[str, str]) -> Check:
    """output: result of `ip -j route show match ADDRESS` on a router."""
    address = vip["address"]
    identifier = f"vip_route/{vip['pool']}/{observer}"
    wanted = f"a route of {observer} that leads {address} to nodes"
    try:
        routes = [route for route in json.loads(output.get("stdout") or "[]") if route.get("dst") not in ("default", "0.0.0.0/0", "::/0")]
        found = {str(route["dst"]): _gateways(route) for route in routes}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return check(
            identifier, UNKNOWN, f"the routes cannot be read: {error}", wanted, f"`ip -j route show match {address}` on {observer}."
        )
    if output.get("rc", 1) != 0:
        return check(
            identifier,
            UNKNOWN,
            str(output.get("stderr") or "the command failed").strip()[:200],
            wanted,
            f"`ip -j route show match {address}` on {observer}.",
        )
    fix = (
        f"Is the session with {observer} Established, does a filter there refuse the route, and does its daemon put routes "
        "into the kernel's table?"
    )
    nodes = {str(ipaddress.ip_address(ip)): host for host, ip in node_ips.items()}
    # the most specific route is the one that counts
    best = max(found, key=lambda text: ipaddress.ip_network(text).prefixlen, default=None)
    if best is None:
        return check(identifier, FAIL, "only the default route, if any", wanted, fix)
    strangers = [hop for hop in found[best] if hop not in nodes]
    if strangers and all(ipaddress.ip_address(hop).is_link_local for hop in strangers):
        # what IPv6 routers prefer, and every interface has one
        names = f"{best} by {', '.join(strangers)}, and whose link-local address that is is not known"
        return check(identifier, UNKNOWN, names, wanted, "Look for it on the nodes: `ip -6 address show scope link`.")
    if strangers or not found[best]:
        return check(identifier, FAIL, f"{best} by {', '.join(strangers) or 'its own interface'}, which is no node", wanted, fix)
    return check(identifier, PASS, f"{best} by {', '.join(nodes[hop] for hop in found[best])}", wanted)


def vip_checks(
    results: Results, vips: t.Sequence[t.Mapping[str, t.Any]], node_ips: t.Mapping[str, str], routes: t.Sequence[t.Mapping[str, t.Any]]
) -> t.List[Check]:
    """Findings vip_owner/POOL of layer 2, and vip_route/POOL/OBSERVER of every pool whose routes were read."""
    checks = [_layer2(vip, results, node_ips) for vip in vips if vip["protocol"] == "layer2"]
    for output in routes:
        observer, address = output["item"]
        checks += [_route(vip, observer, output, node_ips) for vip in vips if vip["address"] == address]
    return checks
