# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Listen and connect inside the network namespace of a pod, from the node, with nothing but Python.

The pods need no program of their own. What is measured is what a program in the pod would see: its interface, its
routes, the node's bridge, kube-proxy, the way to the other node.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _network_policy, _pod_dns, _pod_payload, _pod_server, _wire_capture
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import Runner
from ansible_collections.baremetal.kubernetes.plugins.module_utils._interfaces import interface_of
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApi
from ansible_collections.baremetal.kubernetes.plugins.module_utils._netns import PodTrafficError, find_process, run_inside
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, Check, check

# connections that a listener serves at once
_CONNECTIONS = 64

# connect(address, port, seconds) -> {"node": str} and "ms", or {"error": str} and "ms"
Connect = Callable[[str, int, float], Dict[str, Any]]


class Probe(NamedTuple):
    """What to try; the options of the module."""

    port: int
    service_address: str
    balanced: bool = True
    limit_seconds: float = 1.0
    timeout: float = 5.0
    wait_seconds: float = 30
    transfer_bytes: int = 262144
    transfer_seconds: float = 15.0
    # 0: not judged
    pod_mtu: int = 0
    # of module probe_pods; empty: not deployed
    dns: Dict[str, Any] = {}
    dns_domain: str = "cluster.local"
    # wireguard, or empty
    encryption: str = ""


def validate(want: Probe) -> None:
    """Refuse numbers with which nothing would be proven."""
    most = _pod_payload.LARGEST_TRANSFER
    if not 65536 <= want.transfer_bytes <= most:
        # less than what both ends keep in their buffers proves nothing about the way
        raise ValueError(f"transfer_bytes is {want.transfer_bytes}, but must be 65536 to {most}")
    if want.pod_mtu and not 576 <= want.pod_mtu <= 65535:
        raise ValueError(f"pod_mtu is {want.pod_mtu}, but must be 0 or 576 to 65535")


# --- the listener ---------------------------------------------------------------------------------------------


def _serve(listener: socket.socket, node: str, is_wanted: Callable[[], bool]) -> None:
    """Serve every connection for as long as it is wanted."""
    places = threading.BoundedSemaphore(_CONNECTIONS)

    def serve(connection: socket.socket) -> None:
        # each in its own thread: a transfer that hangs must not look like a pod that does not answer
        try:
            _pod_payload.serve_connection(connection, node)
        finally:
            places.release()

    listener.settimeout(1)
    while is_wanted():
        if not places.acquire(timeout=1):
            continue
        try:
            connection, dummy = listener.accept()
        except OSError as error:
            places.release()
            if isinstance(error, socket.timeout):
                continue
            break
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def start_listener(pid: int, pod: Dict[str, Any], port: int, lifetime: int, pid_file: str) -> int:
    """Process number of a listener inside the pod's network, TCP and UDP. It ends by itself, at the latest with the pod."""
    address = pod["address"]

    def prepare() -> Tuple[Set[int], _pod_server.Serve]:
        datagrams = socket.socket(_pod_payload.family(address), socket.SOCK_DGRAM)
        datagrams.bind((address, port))
        listener = socket.socket(_pod_payload.family(address), socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(128)

        def serve(is_wanted: Callable[[], bool]) -> None:
            threading.Thread(target=_pod_payload.serve_datagrams, args=(datagrams, pod["name"], pod["uid"]), daemon=True).start()
            _serve(listener, pod["node"], is_wanted)

        return {listener.fileno(), datagrams.fileno()}, serve

    return _pod_server.start(pid, prepare, f"listener on {address}:{port}", "k8s-verify", lifetime, pid_file)


# --- the client -----------------------------------------------------------------------------------------------


def connect(address: str, port: int, seconds: float) -> Dict[str, Any]:
    """Connect once: {"node", "ms"} of the listener that answered, or {"error", "ms"}."""
    begin = time.monotonic()
    result: Dict[str, Any] = {}
    try:
        with socket.create_connection((address, port), timeout=seconds) as connection:
            result["node"] = _pod_payload.read_greeting(connection)
    except socket.timeout:
        result["error"] = f"no answer within {seconds:g} s"
    except OSError as error:
        result["error"] = _pod_payload.words_of(error)
    result["ms"] = round((time.monotonic() - begin) * 1000, 1)
    return result


def to_pods(
    pods: Sequence[Dict[str, Any]], port: int, timeout: float, wait_seconds: float, connect_: Connect = connect
) -> List[Dict[str, Any]]:
    """One result per pod: the first good answer within the time, or the last error."""

    def one(pod: Dict[str, Any]) -> Dict[str, Any]:
        end = time.monotonic() + wait_seconds
        tries = 0
        while True:
            tries += 1
            result = connect_(pod["address"], port, timeout)
            if "node" in result and result["node"] != pod["node"]:
                result = {"error": f"the pod of node {result['node']} answered instead", "ms": result["ms"]}
            # two tries at least: the first packet may meet an unresolved neighbour
            if "node" in result or (time.monotonic() > end and tries > 1):
                return {**result, "tries": tries}
            time.sleep(0.5)

    if not pods:
        return []
    with ThreadPoolExecutor(max_workers=min(16, len(pods))) as pool:
        return list(pool.map(one, pods))


def to_service(
    address: str, port: int, nodes: Sequence[str], balanced: bool, timeout: float, wait_seconds: float, connect_: Connect = connect
) -> Dict[str, Any]:
    """Connect until every node's pod has answered, then two rounds more in which nothing may fail.

    {"answers": {node: count}, "errors": {text: count}, "failed_last": count, "slowest_ms"}
    """
    end = time.monotonic() + wait_seconds
    answers: Dict[str, int] = {}
    errors: Dict[str, int] = {}
    wanted = set(nodes) if balanced else set()
    limit = 20 * len(nodes) + 20
    attempts = 0
    while True:
        attempts += 1
        result = connect_(address, port, timeout)
        if "node" in result:
            answers[result["node"]] = answers.get(result["node"], 0) + 1
            if wanted <= set(answers):
                break
        else:
            errors[result["error"]] = errors.get(result["error"], 0) + 1
        # Some tries in any case: a balancer asks the dead one first as likely as the living. Many nodes need many tries.
        if time.monotonic() > end and attempts >= (min(2 * len(nodes), 8) if errors else limit):
            break
        if "error" in result or attempts >= limit:
            # kube-proxy may not know every pod yet
            time.sleep(0.5)
    failed, slowest = 0, 0.0
    if answers and wanted <= set(answers):
        for dummy in range(2 * len(nodes)):
            result = connect_(address, port, timeout)
            slowest = max(slowest, result["ms"])
            if "node" in result:
                answers[result["node"]] = answers.get(result["node"], 0) + 1
            else:
                failed += 1
                errors[result["error"]] = errors.get(result["error"], 0) + 1
    return {"answers": answers, "errors": errors, "failed_last": failed, "slowest_ms": slowest}


# --- findings -------------------------------------------------------------------------------------------------


def route_to(run: Runner, address: str) -> Dict[str, Any]:
    """{"gateway", "device"} the kernel of this node would take, or {"error"}."""
    rc, out, err = run(["ip", "-j", "route", "get", address], 15)
    try:
        found = json.loads(out or "[]")[0] if rc == 0 else None
    except (ValueError, IndexError):
        found = None
    if not isinstance(found, dict):
        return {"error": (err or out).strip()[:200] or f"ip route get {address} gave no route"}
    return {"gateway": found.get("gateway"), "device": found.get("dev")}


def _route_words(route: Dict[str, Any]) -> str:
    if "error" in route:
        return f"has no route to it ({route['error']})"
    if route["gateway"]:
        return f"sends it to {route['gateway']} on {route['device']}"
    return f"sends it straight into {route['device']}"


def pod_checks(
    own: Dict[str, Any], pods: Sequence[Dict[str, Any]], results: Sequence[Dict[str, Any]], port: int, run: Runner
) -> List[Check]:
    """One finding per other pod; a failure says where this node sends the packets."""
    checks = []
    for pod, result in zip(pods, results):
        identifier, wanted = f"pod_to_pod/{pod['node']}", f"an answer from {pod['address']}:{port}, the pod on node {pod['node']}"
        if "node" in result:
            checks.append(check(identifier, PASS, f"answered in {result['ms']} ms", wanted))
            continue
        route = route_to(run, pod["address"])
        there = ", ".join(pod["node_addresses"])
        seen = f"{result['error']} ({result['tries']} tries); this node {_route_words(route)}, node {pod['node']} is {there}"
        if "refused" in result["error"]:
            fix = (
                "Packets pass both ways, but nobody listens there or a packet filter rejects them: see the findings listener and probe_pod"
                f" of node {pod['node']}, then its packet filters."
            )
        elif route.get("gateway") in pod["node_addresses"]:
            fix = (
                f"The way there is right; look at the way back with `ip route get {own['address']}` on node {pod['node']},"
                " and at packet filters between the two nodes."
            )
        elif route.get("gateway") or "error" in route:
            fix = (
                f"The route to the pods of node {pod['node']} is missing on node {own['node']}: run the network playbook again"
                f" (it mends routes), then look at `ip route get {pod['address']}` there."
            )
        else:
            fix = (
                f"Look at the pod network's own agent on both nodes, at `ip -d link show {route.get('device')}`, and at packet filters"
                " for its encapsulation between the two nodes."
            )
        checks.append(check(identifier, FAIL, seen, wanted, fix))
    return checks


def _count(words: Dict[str, int]) -> str:
    return ", ".join(f"{name} {count}x" for name, count in sorted(words.items())) or "nobody"


def slow_fix(pods: Sequence[Dict[str, Any]], run: Runner) -> str:
    """What to do where the first packets are lost; names the devices to the other pods."""
    routes = [route_to(run, pod["address"]) for pod in pods]
    # a tunnel has its own device and needs no gateway; else the card itself is meant
    devices = sorted({route["device"] for route in routes if route.get("device")}) or ["DEVICE"]
    commands = ", ".join(f"`ethtool -K {device} tx-checksum-ip-generic off`" for device in devices)
    return (
        "an answer only after 1, 3 or 63 seconds, or none, means that packets are lost at first: wrong checksums of an offloading network card"
        f" below a tunnel ({commands} as a test; `nstat -az UdpInCsumErrors TcpInCsumErrors` on the other nodes), or rp_filter=1 on the way."
    )


def service_check(
    result: Dict[str, Any], address: str, port: int, nodes: Sequence[str], balanced: bool, limit_seconds: float, slow: str
) -> Check:
    """Whether the ClusterIP answered from every node's pod, seen from a pod, and soon."""
    name = f"{address}:{port}"
    wanted = f"answers from {name} by the pods of {', '.join(nodes)}" if balanced else f"answers from {name}"
    wanted += f", each within {limit_seconds:g} s"
    silent = [node for node in nodes if node not in result["answers"]] if balanced else []
    seen = f"answers by {_count(result['answers'])}"
    if result["errors"]:
        seen += f"; errors: {_count(result['errors'])}"
    look = f"Look for {name} in `ipvsadm -Ln` (or `nft list ruleset`, `iptables-save`) on this node"
    if not result["answers"]:
        return check("pod_to_service", FAIL, seen, wanted, f"{look}, and at the log of its kube-proxy pod.")
    if silent:
        fix = f"{look}: is the pod of {', '.join(silent)} behind it? If it is, see the findings pod_to_pod of this node."
        return check("pod_to_service", FAIL, f"{seen}; never by {', '.join(silent)}", wanted, fix)
    if result["failed_last"]:
        fix = f"{look}: a backend that does not exist any more is asked in turn; or {slow}"
        return check("pod_to_service", FAIL, f"{seen}; {result['failed_last']} of the last {2 * len(nodes)} failed", wanted, fix)
    if result["slowest_ms"] > limit_seconds * 1000:
        seen = f"{seen}; the slowest took {result['slowest_ms']:.0f} ms"
        return check("pod_to_service", FAIL, seen, wanted, f"{slow[0].upper()}{slow[1:]}")
    return check("pod_to_service", PASS, seen, wanted)


def node_check(results: Sequence[Dict[str, Any]], address: str, port: int, limit_seconds: float, slow: str) -> Check:
    """Whether the node itself reaches the ClusterIP, and soon."""
    name = f"{address}:{port}"
    wanted = f"{len(results)} answers from {name} to the node itself, each within {limit_seconds:g} s"
    errors: Dict[str, int] = {}
    for result in results:
        if "error" in result:
            errors[result["error"]] = errors.get(result["error"], 0) + 1
    slowest = max(result["ms"] for result in results)
    seen = f"{len(results) - sum(errors.values())} of {len(results)} answered, the slowest took {slowest:.0f} ms"
    if errors:
        seen += f"; errors: {_count(errors)}"
    fix = f"If pods reach it and the node does not: {slow}"
    return check("node_to_service", FAIL if errors or slowest > limit_seconds * 1000 else PASS, seen, wanted, fix)


# --- what the module does -------------------------------------------------------------------------------------


def own_pod(pods: Sequence[Dict[str, Any]], address: str) -> Optional[Dict[str, Any]]:
    """The pod on the node with this address."""
    wanted = ipaddress.ip_address(address)
    for pod in pods:
        if any(ipaddress.ip_address(other) == wanted for other in pod["node_addresses"]):
            return pod
    return None


def _locate(pods: Sequence[Dict[str, Any]], address: str) -> Tuple[Optional[Dict[str, Any]], Optional[int], Optional[Check]]:
    """(pod, process, finding): the finding says why one of the others is missing."""
    wanted = "a running probe pod on this node"
    pod = own_pod(pods, address)
    if pod is None:
        return (
            None,
            None,
            check(
                "probe_pod", UNKNOWN, f"no probe pod runs on the node {address}", wanted, "See the findings nodes_ready and pods_running."
            ),
        )
    pid = find_process(pod["uid"])
    if pid is None:
        seen = f"no process of pod {pod['name']} ({pod['uid']}) in /proc/*/cgroup"
        return pod, None, check("probe_pod", UNKNOWN, seen, wanted, "Is this host the node, and does the pod still run?")
    return pod, pid, None


def pid_file_of(pod: Dict[str, Any], folder: str = "/run") -> str:
    """Where the listener of this pod leaves its process number."""
    return f"{folder}/baremetal-kubernetes-verify-{pod['uid']}.pid"


def listen(pods: Sequence[Dict[str, Any]], address: str, port: int, lifetime: int, run: Runner) -> Dict[str, Any]:
    """Start the listener in this node's pod."""
    interface = interface_of(address, run)
    pod, pid, finding = _locate(pods, address)
    if pod is None or pid is None:
        return {"pid": None, "interface": interface, "checks": [finding]}
    try:
        listener = start_listener(pid, pod, port, lifetime, pid_file_of(pod))
    except PodTrafficError as error:
        seen, wanted = str(error), f"a listener on {pod['address']}:{port} in pod {pod['name']}"
        return {
            "pid": None,
            "interface": interface,
            "checks": [check("listener", FAIL, seen, wanted, "Does something else in the pod use this port, or was the pod replaced?")],
        }
    return {"pid": listener, "interface": interface, "checks": []}


def _token(pods: Sequence[Dict[str, Any]], purpose: str) -> str:
    """The same on all nodes of a run, as all know the same pods; another in each run, as pods are new."""
    return hashlib.sha256(" ".join([purpose, *sorted(pod["uid"] for pod in pods)]).encode()).hexdigest()[:40]


def payloads(pods: Sequence[Dict[str, Any]], token: str, mtu: Optional[int], want: Probe) -> List[Dict[str, Any]]:
    """Large packets and transfers to and from each of these pods: {"packet", "up", "down"}."""

    def one(pod: Dict[str, Any]) -> Dict[str, Any]:
        move = (pod["address"], want.port, token, want.transfer_bytes, want.timeout, want.transfer_seconds)
        # In this order: what a router says about a packet of ours makes this pod ask for smaller ones from then on.
        down, up = _pod_payload.transfer("download", *move), _pod_payload.transfer("upload", *move)
        packet = {"largest": None, "told": False, "error": ""}
        if mtu:
            packet = _pod_payload.largest_packet(pod["address"], want.port, pod["name"], pod["uid"], mtu)
        return {"packet": packet, "up": up, "down": down}

    if not pods:
        return []
    with ThreadPoolExecutor(max_workers=min(16, len(pods))) as pool:
        return list(pool.map(one, pods))


def service_payload(own: Dict[str, Any], pods: Sequence[Dict[str, Any]], want: Probe) -> Dict[str, Any]:
    """Transfers by way of the ClusterIP, with a pod of another node if there is one."""
    own_node = own["node"] if len(pods) > 1 else ""
    tries = 2 * len(pods) if want.balanced else 2
    # not the token of the pods: what a node itself sends need not be encrypted
    move = (
        want.service_address,
        want.port,
        _token(pods, "service"),
        want.transfer_bytes,
        want.timeout,
        want.transfer_seconds,
        own_node,
        tries,
    )
    return {kind: _pod_payload.transfer_by_service(kind, *move) for kind in ("upload", "download")}


def _most_seconds(others: int, want: Probe) -> float:
    """How long all may take. Each part is bounded by its own numbers; this is the bound for a helper that hangs all the same."""
    rounds = 1 + others // 16
    pods = 2 * (want.wait_seconds + want.timeout) * rounds + (2 * (want.transfer_seconds + want.timeout) + 60) * rounds
    transfer = (2 * others + 2 + _pod_payload.OWN_ANSWERS) * want.timeout + want.transfer_seconds
    service = (2 * others + 4) * want.timeout + want.wait_seconds + 2 * transfer
    return pods + service + 2 * (want.wait_seconds + want.timeout) + 60


def _start_capture(
    pods: Sequence[Dict[str, Any]], address: str, token: str, run: Runner
) -> Tuple[Optional[_wire_capture.Capture], str, str]:
    """(capture, interface, reason): the reason is why there is none."""
    found = interface_of(address, run)
    if found["name"] is None:
        return None, "", found["reason"]
    peers = {pod["node"]: [*pod["node_addresses"], pod["address"]] for pod in pods}
    try:
        return _wire_capture.Capture(found["name"], token, peers), found["name"], ""
    except OSError as error:
        return None, found["name"], f"no look at {found['name']}: {_pod_payload.words_of(error)}"


def probe(pods: Sequence[Dict[str, Any]], address: str, want: Probe, run: Runner) -> Dict[str, Any]:
    """Connect from this node's pod and from the node itself."""
    pod, pid, finding = _locate(pods, address)
    if pod is None or pid is None:
        return {"checks": [finding], "measured": {}}
    nodes = [item["node"] for item in pods]
    others = [item for item in pods if item is not pod]
    token = _token(pods, "pods")
    name = f"kubernetes.default.svc.{want.dns_domain}"

    def from_pod() -> Dict[str, Any]:
        mtu = _pod_payload.pod_mtu(pod["address"], run)
        reached = to_pods(others, want.port, want.timeout, want.wait_seconds)
        answering = [item for item, result in zip(others, reached) if "node" in result]
        moved = payloads(answering, token, mtu["mtu"], want)
        return {
            "mtu": mtu,
            "pods": reached,
            "payloads": {item["node"]: result for item, result in zip(answering, moved)},
            "service": to_service(want.service_address, want.port, nodes, want.balanced, want.timeout, want.wait_seconds),
            "service_payload": service_payload(pod, pods, want),
            "dns": _pod_dns.to_servers(want.dns, name, want.timeout, want.wait_seconds) if want.dns.get("endpoints") else [],
        }

    capture, interface, reason = _start_capture(others, address, token, run) if want.encryption and others else (None, "", "")
    wire: Dict[str, Any] = {}
    try:
        measured = run_inside(f"/proc/{pid}/ns/net", from_pod, _most_seconds(len(others), want))
    except PodTrafficError as error:
        if capture:
            capture.cancel()
        return {
            "checks": [check("pod_traffic", UNKNOWN, str(error), "connections from within the pod", "Was the pod replaced meanwhile?")],
            "measured": {},
        }
    if capture:
        try:
            wire = capture.result()
        except PodTrafficError as error:
            reason = str(error)
    from_node = [connect(want.service_address, want.port, want.timeout) for dummy in range(min(2 * len(nodes), 20))]
    node_payload = service_payload(pod, pods, want)

    slow = slow_fix(others, run)
    size, service = want.transfer_bytes, (want.service_address, want.port)
    checks = pod_checks(pod, others, measured["pods"], want.port, run)
    checks += _pod_payload.mtu_check(measured["mtu"], want.pod_mtu)
    for item in others:
        moved = measured["payloads"].get(item["node"])
        checks.append(
            _pod_payload.payload_check(item["node"], measured["mtu"], moved["packet"], moved["up"], moved["down"], size)
            if moved
            else _pod_payload.untried(item["node"], size)
        )
    checks.append(service_check(measured["service"], *service, nodes, want.balanced, want.limit_seconds, slow))
    checks.append(node_check(from_node, *service, want.limit_seconds, slow))
    for where, moved in (("pod", measured["service_payload"]), ("node", node_payload)):
        name_ = f"{want.service_address}:{want.port}"
        checks.append(_pod_payload.service_payload_check(where, name_, moved["upload"], moved["download"], size, slow))
    checks += _pod_dns.dns_checks(measured["dns"], name)
    if want.encryption:
        checks += _encryption_checks(others, measured["payloads"], wire, interface, reason, size)
    return {
        "checks": checks,
        "measured": {
            "pods_ms": {item["node"]: result["ms"] for item, result in zip(others, measured["pods"]) if "node" in result},
            "pod_mtu": measured["mtu"]["mtu"],
            "largest_packet": {node: moved["packet"]["largest"] for node, moved in measured["payloads"].items()},
            "transfer_ms": {node: {way: moved[way].get("ms") for way in ("up", "down")} for node, moved in measured["payloads"].items()},
            "service_answers": measured["service"]["answers"],
            "service_slowest_ms": measured["service"]["slowest_ms"],
            "node_slowest_ms": max(result["ms"] for result in from_node),
        },
    }


def _encryption_checks(
    others: Sequence[Dict[str, Any]], moved: Dict[str, Any], wire: Dict[str, Any], interface: str, reason: str, size: int
) -> List[Check]:
    nodes = [pod["node"] for pod in others]
    if not wire:
        return _wire_capture.unknown_checks(nodes, reason)
    checks = []
    for node in nodes:
        arrived = node in moved and not any("error" in moved[node][way] for way in ("up", "down"))
        checks.append(_wire_capture.encryption_check(node, interface, wire["seen"][node], wire["dropped"], size, arrived))
    return checks


def policy(
    pods: Sequence[Dict[str, Any]], address: str, port: int, namespace: str, timeout: float, wait_seconds: float, api: KubeApi
) -> Dict[str, Any]:
    """Deny ingress to the probe pods, try it from this node's pod, allow it again."""
    pod, pid, finding = _locate(pods, address)
    if pod is None or pid is None:
        return {"checks": [finding]}
    others = [item for item in pods if item is not pod]

    def attempt() -> List[Dict[str, Any]]:
        # one try each: whether a failure is the policy's, the next attempt tells
        return run_inside(f"/proc/{pid}/ns/net", lambda: once(others, port, timeout), timeout * (1 + len(others) // 16) + 30)

    try:
        return {"checks": _network_policy.try_policy(api, namespace, [item["node"] for item in others], attempt, wait_seconds)}
    except PodTrafficError as error:
        wanted = "connections from within the pod"
        return {"checks": [check("network_policy", UNKNOWN, str(error), wanted, "Was the pod replaced meanwhile?")]}


def once(pods: Sequence[Dict[str, Any]], port: int, timeout: float) -> List[Dict[str, Any]]:
    """One connection to each pod."""
    if not pods:
        return []
    with ThreadPoolExecutor(max_workers=min(16, len(pods))) as pool:
        return list(pool.map(lambda pod: connect(pod["address"], port, timeout), pods))
