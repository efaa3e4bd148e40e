# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What MetalLB made of a Service per pool: which address it got, which node announces it, and how its BGP sessions are."""

from __future__ import annotations

import ipaddress
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import urlencode

from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, Check, check

Object = Dict[str, Any]
Get = Callable[[str], Any]

_METALLB = "/apis/metallb.io/v1beta1/namespaces/{}/{}"
_FRRK8S = "/apis/frrk8s.metallb.io/v1beta1/namespaces/{}/bgpsessionstates"
# kubeadm puts it on control planes; a cloud's load balancers and MetalLB leave such nodes out
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


class Seen(NamedTuple):
    """Answers of the API server at one moment; None where a kind is not served."""

    services: List[Object]
    nodes: List[Object]
    speakers: List[str]
    pools: Optional[List[Object]]
    layer2: Optional[List[Object]]
    bgp: Optional[List[Object]]
    sessions: Optional[List[Object]]


def _items(get: Get, path: str) -> Optional[List[Object]]:
    found = get(path)
    return None if found is None else found.get("items") or []


def look(get: Get, namespace: str, protocols: Sequence[str], sessions: bool) -> Seen:
    """Read what the wanted protocols need, and nothing else."""
    pods = _items(get, f"/api/v1/namespaces/{namespace}/pods?{urlencode({'labelSelector': 'app.kubernetes.io/component=speaker'})}")
    return Seen(
        services=_items(get, "/api/v1/services") or [],
        nodes=_items(get, "/api/v1/nodes") or [],
        speakers=sorted({pod["spec"]["nodeName"] for pod in pods or [] if (pod.get("spec") or {}).get("nodeName")}),
        pools=_items(get, _METALLB.format(namespace, "ipaddresspools")),
        layer2=_items(get, _METALLB.format(namespace, "servicel2statuses")) if "layer2" in protocols else [],
        bgp=_items(get, _METALLB.format(namespace, "servicebgpstatuses")) if "bgp" in protocols else [],
        sessions=_items(get, _FRRK8S.format(namespace)) if sessions else None,
    )


# --- what an object says


def status(item: Object) -> Object:
    return item.get("status") or {}


def addresses_of(service: Object) -> List[str]:
    rows = (status(service).get("loadBalancer") or {}).get("ingress") or []
    return [str(row["ip"]) for row in rows if row.get("ip")]


def _bounds(text: str) -> Tuple[Any, Any]:
    """First and last address of a network, FIRST-LAST, or one address."""
    if "/" in text:
        network = ipaddress.ip_network(text, strict=False)
        return network[0], network[-1]
    first, _dash, last = text.partition("-")
    return ipaddress.ip_address(first.strip()), ipaddress.ip_address((last or first).strip())


def in_ranges(address: str, ranges: Sequence[str]) -> bool:
    value = ipaddress.ip_address(address)
    bounds = [_bounds(text) for text in ranges]
    return any(first.version == value.version and first <= value <= last for first, last in bounds)


def matches(selector: Object, labels: Dict[str, str]) -> bool:
    """A label selector of Kubernetes."""
    for row in selector.get("matchExpressions") or []:
        value, operator = labels.get(row["key"]), row["operator"]
        fits = {
            "In": value is not None and value in (row.get("values") or []),
            "NotIn": value not in (row.get("values") or []),
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not fits.get(operator, False):
            return False
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())


def _labels(item: Object) -> Dict[str, str]:
    return (item.get("metadata") or {}).get("labels") or {}


def _session_key(peer: str) -> str:
    """A peer as frr-k8s writes it: an IPv6 address in full, with dashes for colons (session_state_controller.go)."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    return address.exploded.replace(":", "-") if address.version == 6 else peer


# --- findings


def _used_up(seen: Seen, pool: Object) -> bool:
    for item in seen.pools or []:
        if item["metadata"]["name"] == pool["name"] and "availableIPv4" in status(item):
            return status(item)["availableIPv4"] == 0 and status(item).get("availableIPv6", 0) == 0
    return False


def _holder(seen: Seen, pool: Object, namespace: str) -> Optional[Object]:
    """The Service whose address shows whether the pool works: the probe's, or any where the pool has no address left."""
    for service in seen.services:
        where = service["metadata"]
        if (where.get("namespace"), where["name"]) == (namespace, pool["service"]) and addresses_of(service):
            return service
    if not _used_up(seen, pool):
        return None
    others = [service for service in seen.services if any(in_ranges(ip, pool["addresses"]) for ip in addresses_of(service))]
    return min(others, key=lambda item: (item["metadata"]["namespace"], item["metadata"]["name"]), default=None)


def _address_check(pool: Object, service: Optional[Object], used_up: bool, namespace: str) -> Check:
    identifier = f"lb_address/{pool['name']}"
    wanted = f"an address of {', '.join(pool['addresses'])} for a Service that asks for pool {pool['name']}"
    if service is None and used_up:
        return check(
            identifier,
            UNKNOWN,
            "the pool has no address left, and none of its addresses is of a Service",
            wanted,
            "Give the pool more addresses.",
        )
    if service is None:
        fix = (
            f"`kubectl -n {namespace} describe ipaddresspool {pool['name']}`, "
            f"`kubectl -n {namespace} logs deployment/metallb-controller`: does it know the pool?"
        )
        return check(identifier, FAIL, f"Service {namespace}/{pool['service']} got no address", wanted, fix)
    where = service["metadata"]
    found = addresses_of(service)
    if not all(in_ranges(ip, pool["addresses"]) for ip in found):
        fix = f"Which other load balancer runs here? `kubectl -n {where['namespace']} describe service {where['name']}`."
        return check(identifier, FAIL, f"{', '.join(found)}, which MetalLB did not give", wanted, fix)
    mine = where["name"] == pool["service"]
    text = f"{', '.join(found)}" if mine else f"no address is left; looked at {found[0]} of Service {where['namespace']}/{where['name']}"
    return check(identifier, PASS, text, wanted)


def _of_service(items: Optional[List[Object]], service: Object) -> List[Object]:
    where = service["metadata"]
    return [
        status(item)
        for item in items or []
        if (status(item).get("serviceNamespace"), status(item).get("serviceName")) == (where["namespace"], where["name"])
    ]


def _not_announced(seen: Seen, namespace: str) -> str:
    """What to look at when no node announces a Service."""
    speaking = [node for node in seen.nodes if node["metadata"]["name"] in seen.speakers]
    if speaking and all(EXCLUDED in _labels(node) for node in speaking):
        return (
            f"Every node has the label {EXCLUDED}: set metallb_ignore_exclude_label to true, or remove it where Services "
            "shall be announced."
        )
    return (
        f"`kubectl -n {namespace} logs daemonset/metallb-speaker`; do nodes and interfaces of the pool name any that exist, "
        f"and is a node without the label {EXCLUDED} among them?"
    )


def _layer2_check(seen: Seen, pool: Object, service: Object, foreign: bool, namespace: str) -> Tuple[str, Check]:
    """(announcing node, finding)"""
    identifier = f"l2_announcer/{pool['name']}"
    wanted = f"one node that announces {addresses_of(service)[0]}"
    rows = _of_service(seen.layer2, service)
    nodes = sorted({str(row["node"]) for row in rows if row.get("node")})
    if len(nodes) == 1:
        names = [item["name"] for row in rows for item in row.get("interfaces") or [] if item.get("name")]
        return nodes[0], check(identifier, PASS, nodes[0] + (f" on {', '.join(names)}" if names else ""), wanted)
    if seen.layer2 is None:
        return "", check(identifier, UNKNOWN, "this MetalLB has no ServiceL2Status", wanted, "Take metallb_chart_version 0.15 or later.")
    if nodes:
        return "", check(identifier, FAIL, ", ".join(nodes), wanted, "Do the speakers reach each other on port 7946, TCP and UDP?")
    # somebody else's Service may have no pod behind it, and is not announced for that
    return "", check(identifier, UNKNOWN if foreign else FAIL, "none does", wanted, _not_announced(seen, namespace))


def _bgp_check(seen: Seen, pool: Object, service: Object, foreign: bool, peers: Sequence[str], namespace: str) -> Tuple[List[str], Check]:
    """(announcing nodes, finding)"""
    identifier = f"bgp_announced/{pool['name']}"
    wanted = f"{addresses_of(service)[0]} announced to {', '.join(peers)}"
    rows = [row for row in _of_service(seen.bgp, service) if row.get("peers")]
    told = {str(peer): sorted(str(row.get("node")) for row in rows if peer in row["peers"]) for row in rows for peer in row["peers"]}
    nodes = sorted({str(row.get("node")) for row in rows})
    missing = [peer for peer in peers if peer not in told]
    if not missing:
        return nodes, check(identifier, PASS, "; ".join(f"to {peer} by {', '.join(told[peer])}" for peer in peers), wanted)
    if seen.bgp is None:
        return nodes, check(
            identifier, UNKNOWN, "this MetalLB has no ServiceBGPStatus", wanted, "Take metallb_chart_version 0.15 or later."
        )
    return nodes, check(identifier, UNKNOWN if foreign else FAIL, f"not to {', '.join(missing)}", wanted, _not_announced(seen, namespace))


def _session_checks(seen: Seen, peer: Object, native: bool, namespace: str) -> List[Check]:
    identifier = f"bgp_session/{peer['name']}"
    who = peer["address"] or peer["interface"]
    wanted = f"a session with {who} that is Established" + (" and has BFD up" if peer["bfd"] else "")
    expected = [
        node["metadata"]["name"]
        for node in seen.nodes
        if node["metadata"]["name"] in seen.speakers
        and (not peer["nodes"] or any(matches(selector, _labels(node)) for selector in peer["nodes"]))
    ]
    if not expected:
        return [
            check(
                identifier,
                FAIL,
                "no node with a speaker has the labels that the peer asks for",
                wanted,
                "`kubectl get nodes --show-labels`; correct nodes of the peer.",
            )
        ]
    if native or seen.sessions is None:
        reason = "metallb_mode native tells nobody" if native else "kind BGPSessionState is not served"
        fix = (
            f"`kubectl -n {namespace} logs -l app.kubernetes.io/component=speaker | grep {who}`, the router itself, or "
            "metallb_route_observers: Linux "
            "routers of the inventory whose routes are read."
        )
        return [check(identifier, UNKNOWN, reason, wanted, fix)]
    found = {
        status(item).get("node"): status(item)
        for item in seen.sessions
        if status(item).get("peer") == _session_key(who) and (status(item).get("vrf") or "") == peer["vrf"]
    }
    checks = []
    for node in expected:
        row = found.get(node)
        state = str((row or {}).get("bgpStatus") or "no session")
        bfd = str((row or {}).get("bfdStatus") or "").lower()
        observed = state + (f", BFD {bfd or 'not told'}" if peer["bfd"] else "")
        good = state == "Established" and (not peer["bfd"] or bfd == "up")
        fix = (
            f"Does {who} listen on TCP 179 for node {node}, with its address, both AS numbers and the password as here? "
            f"`kubectl -n {namespace} exec ds/metallb-frr-k8s -c frr -- vtysh -c 'show bgp neighbors {who}'` (choose the pod of the node)."
        )
        checks.append(check(f"{identifier}/{node}", PASS if good else FAIL, observed, wanted, fix))
    return checks


def judge(seen: Seen, pools: Sequence[Object], peers: Sequence[Object], native: bool, namespace: str) -> Dict[str, Any]:
    """{vips, targets, checks}.

    A vip is an address that a pool gave out, with the nodes that announce it; targets are those to ask for by ARP.
    """
    internal = {
        node["metadata"]["name"]: [row["address"] for row in status(node).get("addresses") or [] if row.get("type") == "InternalIP"]
        for node in seen.nodes
    }
    vips: List[Dict[str, Any]] = []
    checks: List[Check] = []
    for pool in pools:
        service = _holder(seen, pool, namespace)
        checks.append(_address_check(pool, service, _used_up(seen, pool), namespace))
        if service is None or checks[-1]["status"] != PASS:
            continue
        foreign = service["metadata"]["name"] != pool["service"]
        announcers: List[str] = []
        if pool["protocol"] == "layer2":
            node, finding = _layer2_check(seen, pool, service, foreign, namespace)
            checks.append(finding)
            announcers = [node] if node else []
        elif pool["protocol"] == "bgp":
            wanted = pool["peers"] or [peer["name"] for peer in peers]
            announcers, finding = _bgp_check(seen, pool, service, foreign, wanted, namespace)
            checks.append(finding)
        vips.append(
            {
                "pool": pool["name"],
                "protocol": pool["protocol"],
                "address": addresses_of(service)[0],
                "announcers": announcers,
                "announcer_addresses": [address for name in announcers for address in internal.get(name, [])],
            }
        )
    for peer in peers:
        checks += _session_checks(seen, peer, native, namespace)
    interfaces = {pool["name"]: pool["interfaces"] for pool in pools}
    targets = [{"address": vip["address"], "interfaces": interfaces[vip["pool"]]} for vip in vips if vip["protocol"] == "layer2"]
    return {"vips": vips, "targets": targets, "checks": checks}


def events(get: Get, namespace: str, service: str) -> str:
    """What was last said about a Service, in one line; empty if nothing was."""
    query = urlencode({"fieldSelector": f"involvedObject.kind=Service,involvedObject.name={service}"})
    try:
        found = _items(get, f"/api/v1/namespaces/{namespace}/events?{query}") or []
    except KubeApiError:
        return ""
    told = [f"{item.get('reason')}: {item.get('message')}" for item in found if item.get("type") == "Warning"]
    return " ".join(told[-1].split())[:300] if told else ""


def wait(
    get: Get,
    namespace: str,
    pools: Sequence[Object],
    peers: Sequence[Object],
    native: bool,
    wait_seconds: float,
    poll_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, Any]:
    """Look until nothing fails any more, or the time is over; {vips, targets, checks, waited}."""
    protocols = {pool["protocol"] for pool in pools}
    begin = clock()
    while True:
        result: Dict[str, Any] = {}
        problem: Optional[KubeApiError] = None
        try:
            result = judge(look(get, namespace, sorted(protocols), bool(peers) and not native), pools, peers, native, namespace)
        except KubeApiError as error:
            problem = error
        done = problem is None and all(item["status"] != FAIL for item in result["checks"])
        if done or clock() - begin + poll_seconds > wait_seconds:
            break
        sleep(poll_seconds)
    if problem:
        raise problem
    services = {f"lb_address/{pool['name']}": pool["service"] for pool in pools}
    for item in result["checks"]:
        if item["status"] == FAIL and item["id"] in services:
            said = events(get, namespace, services[item["id"]])
            item["observed"] += f" ({said})" if said else ""
    return {**result, "waited": round(clock() - begin, 1)}
