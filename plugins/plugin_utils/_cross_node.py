# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What only shows when the nodes are compared: doubles, networks that collide, settings that differ."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_node import is_cni_interface
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, WARN, check, worst, worst_first
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._addresses import AddressError, Range, parse_range

Check = t.Dict[str, t.Any]
Results = t.Mapping[str, t.Mapping[str, t.Any]]

# Firmware that was never given a UUID has one of these; machines that share it are not clones of each other.
NO_UUIDS = (
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "03000200-0400-0500-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
)
# Bridges of other software. A load balancer address inside of one of them goes there and not to the cluster.
BRIDGES = ("docker", "br-", "virbr", "podman", "cni-podman", "lxdbr", "lxcbr", "incusbr")

CHECKS: t.Dict[str, str] = {
    "unique_machine_id": "No two nodes have the same /etc/machine-id.",
    "unique_product_uuid": "No two nodes have the same product_uuid; firmware without one is unknown.",
    "unique_mac": "No two nodes have the same MAC address.",
    "unique_hostname": "No two nodes have the same hostname.",
    "unique_node_ip": "No two nodes have the same node IP.",
    "same_mtu": "The interfaces of all node IPs have the same MTU.",
    "same_network": "All node IPs are in one network where the pod network has no routers between nodes.",
    "range_routes": "No route of the node collides with the pod, service and load balancer ranges.",
    "range_resolvers": "No name server of the node is inside of these ranges.",
}


def _across(identifier: str, status: str, hosts: t.Iterable[str], observed: str, wanted: str, fix: str) -> Check:
    return {**check(identifier, status, observed, wanted, fix), "hosts": sorted(set(hosts))}


def _identity(result: t.Any) -> t.Mapping[str, t.Any]:
    found = result.get("identity") if isinstance(result, t.Mapping) else None
    return found if isinstance(found, t.Mapping) else {}


def _unique(identifier: str, what: str, values: t.Mapping[str, t.Optional[str]], fix: str) -> Check:
    """values: host to value; a value that is not known is never a double."""
    wanted = f"another {what} on each node"
    holders: t.Dict[str, t.List[str]] = {}
    for host, value in values.items():
        if value:
            holders.setdefault(value, []).append(host)
    missing = [host for host, value in values.items() if not value]
    doubles = {value: hosts for value, hosts in holders.items() if len(hosts) > 1}
    if doubles:
        observed = "; ".join(f"{', '.join(hosts)} have {value}" for value, hosts in doubles.items()) + "."
        return _across(identifier, FAIL, [host for hosts in doubles.values() for host in hosts], observed, wanted, fix)
    if missing or not values:
        observed = f"Not known of {', '.join(missing) or 'any node'}."
        look = f"See on these nodes why the {what} cannot be read."
        if what == "product_uuid":
            look = (
                "Look at `cat /sys/class/dmi/id/product_uuid` as root. Boards without DMI have none, and some firmware gives all machines the same one: "
                "then there is nothing to do."
            )
        return _across(identifier, UNKNOWN, missing, observed, wanted, look)
    return _across(identifier, PASS, values, f"{len(values)} different ones." if len(values) > 1 else "There is one node.", wanted, "")


def _unique_mac(identities: t.Mapping[str, t.Mapping[str, t.Any]]) -> Check:
    """The node's own interfaces count; service cards (BMC over USB) have the same address on every machine of a model."""
    wanted = "another MAC address on each node"
    holders: t.Dict[str, t.List[t.Tuple[str, str, bool]]] = {}
    missing = []
    for host, identity in identities.items():
        own = identity.get("node_interface")
        macs = identity.get("macs") or []
        if not own or not any(item["interface"] == own for item in macs):
            missing.append(host)
        for item in macs:
            holders.setdefault(str(item["mac"]).lower(), []).append((host, item["interface"], item["interface"] == own))
    doubles = {mac: found for mac, found in holders.items() if len({host for host, _name, _own in found}) > 1}
    grave = {mac: found for mac, found in doubles.items() if any(own for _host, _name, own in found)}
    if doubles:
        shown = grave or doubles
        observed = "; ".join(f"{', '.join(f'{host} ({name})' for host, name, _own in found)} have {mac}" for mac, found in shown.items()) + "."
        fix = "Give each virtual machine a MAC address of its own in the hypervisor (a clone keeps it)."
        if not grave:
            observed += " None of them carries a node IP."
            fix = "Nothing, if these are service cards (BMC over USB); else give each machine its own address."
        hosts = [host for found in shown.values() for host, _name, _own in found]
        return _across("unique_mac", FAIL if grave else UNKNOWN if missing else WARN, hosts, observed, wanted, fix)
    if missing or not identities:
        observed = f"The MAC address of the node's interface is not known of {', '.join(missing) or 'any node'}."
        return _across("unique_mac", UNKNOWN, missing, observed, wanted, "See check node_ip of these nodes; an interface without MAC (a tunnel) has none.")
    return _across("unique_mac", PASS, identities, "All differ.", wanted, "")


def _same_mtu(identities: t.Mapping[str, t.Mapping[str, t.Any]]) -> Check:
    wanted = "the same MTU on all interfaces that carry a node IP"
    values: t.Dict[int, t.List[str]] = {}
    missing = []
    for host, identity in identities.items():
        if isinstance(identity.get("mtu"), int):
            values.setdefault(identity["mtu"], []).append(host)
        else:
            missing.append(host)
    if missing or not values:
        observed = f"Not known of {', '.join(missing) or 'any node'}."
        return _across("same_mtu", UNKNOWN, missing, observed, wanted, "See check node_ip of these nodes.")
    if len(values) > 1:
        observed = "; ".join(f"{mtu} on {', '.join(hosts)}" for mtu, hosts in sorted(values.items())) + "."
        most = max(len(hosts) for hosts in values.values())
        common = [mtu for mtu, hosts in values.items() if len(hosts) == most]
        # Where there is no majority, none is the odd one.
        odd = [host for mtu, hosts in values.items() if len(common) > 1 or mtu not in common for host in hosts]
        fix = "Set one MTU everywhere if the network between them carries it; check path_mtu shows what it carries. The pods' MTU must fit the smallest."
        return _across("same_mtu", WARN, odd, observed, wanted, fix)
    return _across("same_mtu", PASS, identities, f"{next(iter(values))}.", wanted, "")


def _same_network(identities: t.Mapping[str, t.Mapping[str, t.Any]], cni: str) -> Check:
    wanted = "all node IPs in one network, because routes between pods lead straight to the other node"
    if cni != "bridge":
        return _across("same_network", PASS, identities, f"Pod network {cni or 'that is not named'} does not need it.", "nothing", "")
    networks: t.Dict[str, t.List[str]] = {}
    missing = []
    for host, identity in identities.items():
        try:
            network = ipaddress.ip_interface(f"{identity['node_ip']}/{int(identity['node_prefix'])}").network
            networks.setdefault(str(network), []).append(host)
        except (KeyError, TypeError, ValueError):
            missing.append(host)
    if len(networks) > 1:
        observed = "; ".join(f"{network}: {', '.join(hosts)}" for network, hosts in networks.items()) + "."
        fix = "Use a pod network with encapsulation (cluster_cni), or put the nodes into one network with the same prefix length."
        return _across("same_network", FAIL, identities, observed, wanted, fix)
    if missing or not networks:
        observed = f"Not known of {', '.join(missing) or 'any node'}."
        return _across("same_network", UNKNOWN, missing, observed, wanted, "See check node_ip of these nodes.")
    return _across("same_network", PASS, identities, f"{next(iter(networks))}.", wanted, "")


class _Named(t.NamedTuple):
    """A range of the cluster."""

    kind: str
    text: str
    range: Range


def _ranges(settings: t.Mapping[str, t.Any]) -> t.List[_Named]:
    texts = [(kind, text.strip()) for kind, key in (("pod", "pod_cidr"), ("service", "service_cidr")) for text in str(settings.get(key) or "").split(",")]
    texts += [("load balancer", str(text)) for text in settings.get("load_balancer_ranges") or []]
    found = []
    for kind, text in texts:
        try:
            found += [_Named(kind, text, parse_range(text))] if text else []
        except AddressError as error:
            raise ValueError(f"the {kind} range {text!r} {error}") from None
    return found


def _inside(inner: Range, outer: Range) -> bool:
    return inner.version == outer.version and outer.first <= inner.first and inner.last <= outer.last


def _collision(named: _Named, route: t.Mapping[str, str], route_range: Range, member: bool, node_ips: t.Set[str]) -> str:
    """Status of one route and one range; empty where they have nothing to do with each other.

    Own routes of a running cluster do not count: those of its interfaces, to pods by another node, and the holes that
    BGP leaves where no pod is. On a node that is no member they are what check leftovers tells.
    """
    if named.range.shared(route_range) is None:
        return ""
    interfaces = route["interface"].split()
    if interfaces and all(is_cni_interface(name) for name in interfaces):
        return ""
    within = _inside(route_range, named.range)
    if member and within and named.kind == "pod" and (route["type"] == "blackhole" or set(route["gateway"].split()) & node_ips):
        return ""
    if route["type"] in ("blackhole", "unreachable", "prohibit", "throw") and not within:
        return ""
    if named.kind == "load balancer":
        # These addresses belong into the network of the machines; there only a machine's own address is one too many.
        if route["type"] == "local":
            return FAIL
        if any(name.startswith(BRIDGES) for name in interfaces):
            return FAIL
        return WARN if within and route["gateway"] else ""
    if route["type"] == "local" or within or not route["gateway"]:
        return FAIL
    # A larger network behind a router: the cluster's own routes come first, and machines there with such addresses are out of reach.
    return WARN


def _range_routes(result: t.Mapping[str, t.Any], ranges: t.Sequence[_Named], node_ips: t.Set[str]) -> Check:
    wanted = "no route of the node shares addresses with the pod, service and load balancer ranges"
    routes = result.get("routes")
    if not isinstance(routes, list):
        return check("range_routes", UNKNOWN, "The routes of the node are not known.", wanted, "Run `ip route show table all` on the node.")
    if not ranges:
        return check("range_routes", UNKNOWN, "No range was given to compare.", wanted, "Give pod_cidr and service_cidr.")
    member = bool((result.get("facts") or {}).get("member"))
    found: t.Dict[str, str] = {}
    for route in routes:
        network = ipaddress.ip_network(route["destination"])
        if network.prefixlen == 0:
            continue
        route_range = Range(network.version, int(network.network_address), int(network.broadcast_address))
        for named in ranges:
            status = _collision(named, route, route_range, member, node_ips)
            if status:
                way = f"interface {route['interface']}" if route["interface"] else route["type"]
                way = f"address of this node, {way}" if route["type"] == "local" else way
                way += f", gateway {route['gateway']}" if route["gateway"] else ""
                found[f"{named.kind} range {named.text} with {route['destination']} ({way})"] = status
    if not found:
        return check("range_routes", PASS, f"{len(routes)} routes share no address with {', '.join(named.text for named in ranges)}.", wanted)
    observed = "Collide: " + "; ".join(found) + "."
    fix = (
        "Choose other ranges before the cluster is built (cluster_pod_cidr, cluster_service_cidr, cluster_load_balancer_ranges); later that means to build "
        "it anew. Or remove the route, if nobody needs it."
    )
    return check("range_routes", worst(found.values()), observed, wanted, fix)


def _range_resolvers(result: t.Mapping[str, t.Any], ranges: t.Sequence[_Named]) -> Check:
    wanted = "no name server of the node inside of the pod, service and load balancer ranges"
    resolvers = result.get("resolvers")
    if not isinstance(resolvers, list):
        return check("range_resolvers", UNKNOWN, "The name servers of the node are not known.", wanted, "See check dns_resolvers of this node.")
    if not ranges:
        return check("range_resolvers", UNKNOWN, "No range was given to compare.", wanted, "Give pod_cidr and service_cidr.")
    found = [f"{server} in {named.kind} range {named.text}" for server in resolvers for named in ranges if named.range.shared(parse_range(server))]
    if found:
        fix = "Choose another range or name server: packets to it would be taken for packets to pods or services."
        return check("range_resolvers", FAIL, f"{'; '.join(found)}.", wanted, fix)
    return check("range_resolvers", PASS, f"{', '.join(resolvers) or 'No name server'}.", wanted)


def cross_node_checks(results: Results, settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """{cluster: [check with hosts], hosts: {host: [check]}}, each worst first. A host without a result is unknown everywhere."""
    identities = {host: _identity(result) for host, result in results.items()}
    ranges = _ranges(settings)

    def values(key: str) -> t.Dict[str, t.Optional[str]]:
        return {host: str(identity.get(key) or "").lower() or None for host, identity in identities.items()}

    uuids = {host: None if value in NO_UUIDS else value for host, value in values("product_uuid").items()}
    cluster = [
        _unique(
            "unique_machine_id", "machine-id", values("machine_id"), "On all but one: `rm -f /etc/machine-id && systemd-machine-id-setup`, then reboot."
        ),
        _unique("unique_product_uuid", "product_uuid", uuids, "Give each virtual machine a UUID of its own in the hypervisor (a clone keeps it)."),
        _unique_mac(identities),
        _unique("unique_hostname", "hostname", values("hostname"), "`hostnamectl set-hostname NAME` on all but one."),
        _unique("unique_node_ip", "node IP", values("node_ip"), "Set cluster_node_ip of each host to its own address."),
        _same_mtu(identities),
        _same_network(identities, str(settings.get("cni") or "")),
    ]
    node_ips = {str(identity["node_ip"]) for identity in identities.values() if identity.get("node_ip")}
    hosts = {}
    for host, result in results.items():
        known = result if isinstance(result, t.Mapping) else {}
        hosts[host] = worst_first([_range_routes(known, ranges, node_ips), _range_resolvers(known, ranges)])
    return {"cluster": worst_first(cluster), "hosts": hosts}
