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

import ctypes
import ipaddress
import json
import os
import select
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import Runner
from ansible_collections.baremetal.kubernetes.plugins.module_utils._daemon import become_daemon

PASS, FAIL, UNKNOWN = "pass", "fail", "unknown"

_CLONE_NEWNET = 0x40000000
_ANSWER_LIMIT = 256
_GREETING = "baremetal.kubernetes "

# connect(address, port, seconds) -> {"node": str} and "ms", or {"error": str} and "ms"
Connect = Callable[[str, int, float], Dict[str, Any]]


class PodTrafficError(Exception):
    """The traffic could not be made; one sentence."""


def _check(identifier: str, status: str, observed: str, wanted: str, fix: str = "") -> Dict[str, str]:
    return {"id": identifier, "status": status, "observed": observed, "wanted": wanted, "fix": "" if status == PASS else fix}


# --- the pod's network namespace ------------------------------------------------------------------------------


def find_process(uid: str, proc: str = "/proc") -> Optional[int]:
    """A process of the pod with this UID, in a network namespace of its own.

    The kubelet puts the UID into the name of the pod's cgroup: with dashes under the cgroupfs driver, with underscores
    under the systemd driver, in version 1 and 2 alike.
    """
    if not uid:
        return None
    marks = (f"pod{uid}", f"pod{uid.replace('-', '_')}")
    own = os.readlink(f"{proc}/self/ns/net")
    for name in sorted((name for name in os.listdir(proc) if name.isdigit()), key=int):
        try:
            with open(f"{proc}/{name}/cgroup", encoding="utf-8", errors="replace") as handle:
                text = handle.read()
            if any(mark in text for mark in marks) and os.readlink(f"{proc}/{name}/ns/net") != own:
                return int(name)
        except OSError:
            # it ended while we looked
            continue
    return None


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def enter_network(path: str) -> None:
    """Move this process into a network namespace; os.setns came with Python 3.12 only."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc().setns(descriptor, _CLONE_NEWNET):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), path)
    finally:
        os.close(descriptor)


def run_inside(path: str, function: Callable[[], Any], seconds: float) -> Any:
    """The JSON value that function returns in a child inside that network namespace; bounded by killing the child."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            try:
                enter_network(path)
                answer = {"value": function()}
            except Exception as error:  # pylint: disable=broad-exception-caught
                # whatever it is, the parent reports it
                answer = {"error": f"{type(error).__name__}: {error}"}
            with os.fdopen(writer, "w") as handle:
                json.dump(answer, handle)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    deadline = time.monotonic() + seconds
    data = b""
    try:
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([reader], [], [], left)[0]:
                raise PodTrafficError(f"nothing came back from {path} within {seconds:.0f} seconds")
            part = os.read(reader, 65536)
            if not part:
                break
            data += part
    finally:
        os.close(reader)
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(child, 0)
    try:
        answer = json.loads(data)
    except ValueError:
        raise PodTrafficError(f"the helper process in {path} ended without an answer") from None
    if "error" in answer:
        raise PodTrafficError(answer["error"])
    return answer["value"]


# --- the listener ---------------------------------------------------------------------------------------------


def _family(address: str) -> int:
    return socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET


def _started(pid: int) -> str:
    """When a process began: tells it from a later one with the same number."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as handle:
            return handle.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def stop_listener(pid_file: str, seconds: float = 5) -> bool:
    """Stop the listener that wrote this file, and nobody else."""
    try:
        with open(pid_file, encoding="utf-8") as handle:
            number, began = handle.read().split()
        pid = int(number)
    except (OSError, ValueError):
        return False
    stopped = False
    if began and _started(pid) == began:
        os.kill(pid, signal.SIGTERM)
        stopped = True
        deadline = time.monotonic() + seconds
        while _started(pid) == began and time.monotonic() < deadline:
            time.sleep(0.05)
    try:
        os.unlink(pid_file)
    except FileNotFoundError:
        pass
    return stopped


def _serve(listener: socket.socket, node: str, lifetime: float, watched: int, pid_file: str) -> None:
    """Answer every connection with the node's name until the time is over or the pod is gone."""
    end = time.monotonic() + lifetime
    began = _started(watched)
    answer = f"{_GREETING}{node}\n".encode()
    listener.settimeout(1)
    while time.monotonic() < end and began and _started(watched) == began:
        try:
            connection, dummy = listener.accept()
        except socket.timeout:
            continue
        except OSError:
            break
        try:
            connection.settimeout(2)
            connection.sendall(answer)
        except OSError:
            pass
        finally:
            connection.close()
    try:
        os.unlink(pid_file)
    except OSError:
        pass


def start_listener(pid: int, address: str, port: int, node: str, lifetime: int, pid_file: str) -> int:
    """Process number of a listener inside the pod's network. It ends by itself, at the latest with the pod."""
    stop_listener(pid_file)
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            try:
                enter_network(f"/proc/{pid}/ns/net")
                listener = socket.socket(_family(address), socket.SOCK_STREAM)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((address, port))
                listener.listen(128)
                os.setsid()
                grandchild = os.fork()
                if grandchild:
                    os._exit(0)
                become_daemon("k8s-verify", {listener.fileno(), writer})
                with open(pid_file, "w", encoding="utf-8") as handle:
                    handle.write(f"{os.getpid()} {_started(os.getpid())}\n")
                os.write(writer, f"{os.getpid()}\n".encode())
                os.close(writer)
            except Exception as error:  # pylint: disable=broad-exception-caught
                # whatever it is, the parent reports it
                os.write(writer, f"{type(error).__name__}: {error}\n".encode())
                os._exit(1)
            _serve(listener, node, lifetime, pid, pid_file)
        finally:
            os._exit(0)
    os.close(writer)
    try:
        ready = select.select([reader], [], [], 30)[0]
        answer = os.read(reader, 4096).decode("utf-8", "replace").strip() if ready else "no answer within 30 seconds"
    finally:
        os.close(reader)
        os.waitpid(child, 0)
    if not answer.isdigit():
        raise PodTrafficError(f"no listener on {address}:{port} in the pod: {answer or 'it ended at once'}")
    return int(answer)


# --- the client -----------------------------------------------------------------------------------------------


def connect(address: str, port: int, seconds: float) -> Dict[str, Any]:
    """Connect once: {"node", "ms"} of the listener that answered, or {"error", "ms"}."""
    begin = time.monotonic()
    result: Dict[str, Any] = {}
    try:
        with socket.create_connection((address, port), timeout=seconds) as connection:
            data = b""
            while len(data) < _ANSWER_LIMIT:
                part = connection.recv(_ANSWER_LIMIT - len(data))
                if not part:
                    break
                data += part
        text = data.decode("utf-8", "replace")
        if text.startswith(_GREETING) and text.endswith("\n"):
            result["node"] = text[len(_GREETING) :].strip()
        else:
            result["error"] = f"somebody else answered: {text[:60]!r}"
    except socket.timeout:
        result["error"] = f"no answer within {seconds:g} s"
    except OSError as error:
        result["error"] = (error.strerror or str(error) or type(error).__name__).lower()
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
) -> List[Dict[str, str]]:
    """One finding per other pod; a failure says where this node sends the packets."""
    checks = []
    for pod, result in zip(pods, results):
        identifier, wanted = f"pod_to_pod/{pod['node']}", f"an answer from {pod['address']}:{port}, the pod on node {pod['node']}"
        if "node" in result:
            checks.append(_check(identifier, PASS, f"answered in {result['ms']} ms", wanted))
            continue
        route = route_to(run, pod["address"])
        there = ", ".join(pod["node_addresses"])
        seen = f"{result['error']} ({result['tries']} tries); this node {_route_words(route)}, node {pod['node']} is {there}"
        if route.get("gateway") in pod["node_addresses"]:
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
        checks.append(_check(identifier, FAIL, seen, wanted, fix))
    return checks


def _count(words: Dict[str, int]) -> str:
    return ", ".join(f"{name} {count}x" for name, count in sorted(words.items())) or "nobody"


def service_checks(result: Dict[str, Any], address: str, port: int, nodes: Sequence[str], balanced: bool) -> Dict[str, str]:
    """Whether the ClusterIP answered from every node's pod, seen from a pod."""
    name = f"{address}:{port}"
    wanted = f"answers from {name} by the pods of {', '.join(nodes)}" if balanced else f"answers from {name}"
    silent = [node for node in nodes if node not in result["answers"]] if balanced else []
    seen = f"answers by {_count(result['answers'])}"
    if result["errors"]:
        seen += f"; errors: {_count(result['errors'])}"
    look = f"Look for {name} in `ipvsadm -Ln` (or `nft list ruleset`, `iptables-save`) on this node"
    if not result["answers"]:
        return _check("pod_to_service", FAIL, seen, wanted, f"{look}, and at the log of its kube-proxy pod.")
    if silent:
        fix = f"{look}: is the pod of {', '.join(silent)} behind it? If it is, see the findings pod_to_pod of this node."
        return _check("pod_to_service", FAIL, f"{seen}; never by {', '.join(silent)}", wanted, fix)
    if result["failed_last"]:
        fix = f"{look}: a backend that does not exist any more is asked in turn."
        return _check("pod_to_service", FAIL, f"{seen}; {result['failed_last']} of the last {2 * len(nodes)} failed", wanted, fix)
    return _check("pod_to_service", PASS, seen, wanted)


def node_check(results: Sequence[Dict[str, Any]], address: str, port: int, limit_seconds: float) -> Dict[str, str]:
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
    fix = (
        "If pods reach it and the node does not, or only after 1, 3 or 63 seconds, the first packets are lost: wrong UDP checksums of an offloading"
        " network card below a tunnel (`ethtool -K DEVICE tx-checksum-ip-generic off` on the tunnel's interface as a test), or rp_filter=1 on the way."
    )
    return _check("node_to_service", FAIL if errors or slowest > limit_seconds * 1000 else PASS, seen, wanted, fix)


# --- what the module does -------------------------------------------------------------------------------------


def own_pod(pods: Sequence[Dict[str, Any]], address: str) -> Optional[Dict[str, Any]]:
    """The pod on the node with this address."""
    wanted = ipaddress.ip_address(address)
    for pod in pods:
        if any(ipaddress.ip_address(other) == wanted for other in pod["node_addresses"]):
            return pod
    return None


def _locate(pods: Sequence[Dict[str, Any]], address: str) -> Tuple[Optional[Dict[str, Any]], Optional[int], Optional[Dict[str, str]]]:
    """(pod, process, finding): the finding says why one of the others is missing."""
    wanted = "a running probe pod on this node"
    pod = own_pod(pods, address)
    if pod is None:
        return None, None, _check("probe_pod", UNKNOWN, f"no probe pod runs on the node {address}", wanted, "See the findings nodes_ready and pods_running.")
    pid = find_process(pod["uid"])
    if pid is None:
        seen = f"no process of pod {pod['name']} ({pod['uid']}) in /proc/*/cgroup"
        return pod, None, _check("probe_pod", UNKNOWN, seen, wanted, "Is this host the node, and does the pod still run?")
    return pod, pid, None


def pid_file_of(pod: Dict[str, Any], folder: str = "/run") -> str:
    """Where the listener of this pod leaves its process number."""
    return f"{folder}/baremetal-kubernetes-verify-{pod['uid']}.pid"


def listen(pods: Sequence[Dict[str, Any]], address: str, port: int, lifetime: int) -> Dict[str, Any]:
    """Start the listener in this node's pod."""
    pod, pid, finding = _locate(pods, address)
    if pod is None or pid is None:
        return {"pid": None, "checks": [finding]}
    try:
        listener = start_listener(pid, pod["address"], port, pod["node"], lifetime, pid_file_of(pod))
    except PodTrafficError as error:
        seen, wanted = str(error), f"a listener on {pod['address']}:{port} in pod {pod['name']}"
        return {"pid": None, "checks": [_check("listener", FAIL, seen, wanted, "Does something else in the pod use this port, or was the pod replaced?")]}
    return {"pid": listener, "checks": []}


def probe(
    pods: Sequence[Dict[str, Any]],
    address: str,
    port: int,
    service_address: str,
    balanced: bool,
    limit_seconds: float,
    timeout: float,
    wait_seconds: float,
    run: Runner,
) -> Dict[str, Any]:
    """Connect from this node's pod and from the node itself."""
    pod, pid, finding = _locate(pods, address)
    if pod is None or pid is None:
        return {"checks": [finding], "measured": {}}
    nodes = [item["node"] for item in pods]
    others = [item for item in pods if item is not pod]
    inside = f"/proc/{pid}/ns/net"
    # each part is bounded by its own numbers; this is the bound for a helper that hangs all the same
    most = 2 * (wait_seconds + timeout) * (1 + len(others) // 16) + (2 * len(nodes) + 2) * timeout + wait_seconds + 60

    def from_pod() -> Dict[str, Any]:
        return {
            "pods": to_pods(others, port, timeout, wait_seconds),
            "service": to_service(service_address, port, nodes, balanced, timeout, wait_seconds),
        }

    try:
        measured = run_inside(inside, from_pod, most)
    except PodTrafficError as error:
        return {"checks": [_check("pod_traffic", UNKNOWN, str(error), "connections from within the pod", "Was the pod replaced meanwhile?")], "measured": {}}
    checks = pod_checks(pod, others, measured["pods"], port, run)
    checks.append(service_checks(measured["service"], service_address, port, nodes, balanced))
    from_node = [connect(service_address, port, timeout) for dummy in range(min(2 * len(nodes), 20))]
    checks.append(node_check(from_node, service_address, port, limit_seconds))
    return {
        "checks": checks,
        "measured": {
            "pods_ms": {item["node"]: result["ms"] for item, result in zip(others, measured["pods"]) if "node" in result},
            "service_answers": measured["service"]["answers"],
            "service_slowest_ms": measured["service"]["slowest_ms"],
            "node_slowest_ms": max(result["ms"] for result in from_node),
        },
    }
