# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Large payloads between pods: what finds the network in which ping works and the result of a query hangs.

Two questions. Does one packet as large as the pod's MTU arrive whole (UDP, "don't fragment", as QUIC and large DNS answers travel)?
Does a TCP transfer of many full segments arrive, in each direction? The first fails wherever the MTU is wrong, the second where
nobody says so by ICMP.
"""

from __future__ import annotations

import array
import errno
import fcntl
import hashlib
import ipaddress
import json
import re
import socket
import termios
import time
from typing import Any, Dict, List

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import Runner
from ansible_collections.baremetal.kubernetes.plugins.module_utils._interfaces import interface_of
from ansible_collections.baremetal.kubernetes.plugins.module_utils._network_matrix import LEAST_MTU, answer_to, question, read_answer
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, Check, check

GREETING = "baremetal.kubernetes "
_LINE_LIMIT = 512
# Nobody can make a listener send or take more than this for one question.
LARGEST_TRANSFER = 16 * 1024 * 1024
# Seconds after which a listener gives up a transfer; the client has given up long before.
_SERVER_SECONDS = 90
_TRIES = 3
# Least seconds to wait for the answer to one datagram: one that is late must not look like one that is too large.
_ANSWER_WAIT = 0.5
# Answers of a pod of the own node behind a ClusterIP before such a one is taken: a balancer may choose at random.
OWN_ANSWERS = 16
# How the error of a transfer begins that got no further, unlike one that somebody ended.
_LATE = "not done within"

# headers of IP and UDP
_HEADERS = {4: 28, 6: 48}
# socket has names for these on some systems only (linux/in.h, linux/in6.h)
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _IPV6_DONTFRAG, _PMTUDISC_PROBE = 10, 23, 62, 3


def family(address: str) -> int:
    """For socket.socket."""
    return socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET


def pattern(token: str, size: int) -> bytes:
    """A payload in which the token is found in any piece that is twice as long as it."""
    line = f"{token} ".encode()
    return (line * (size // len(line) + 1))[:size]


# --- the listener's side --------------------------------------------------------------------------------------


def serve_connection(connection: socket.socket, node: str) -> None:
    """Greet, then take or give a payload if the client asks for one."""
    try:
        connection.settimeout(_SERVER_SECONDS)
        connection.sendall(f"{GREETING}{node}\n".encode())
        with connection.makefile("rb") as reader:
            found = re.match(rb"^(upload|download) ([A-Za-z0-9-]{8,80}) ([0-9]{1,9})\n\Z", reader.readline(_LINE_LIMIT))
            if not found or int(found.group(3)) > LARGEST_TRANSFER:
                return
            size = int(found.group(3))
            if found.group(1) == b"download":
                connection.sendall(pattern(found.group(2).decode(), size))
                return
            digest, left = hashlib.sha256(), size
            while left:
                part = reader.read1(min(left, 65536))
                if not part:
                    return
                digest.update(part)
                left -= len(part)
            connection.sendall(digest.hexdigest().encode() + b"\n")
    except OSError:
        # the client is gone, or the way is closed for what is large: the client says so
        pass
    finally:
        connection.close()


def serve_datagrams(one: socket.socket, name: str, token: str) -> None:
    """Answer the questions of this run for ever, each with the size in which it arrived."""
    while True:
        try:
            data, sender = one.recvfrom(65535)
            answer = answer_to(data, name, token)
            if answer:
                one.sendto(answer, sender)
        except OSError:
            continue


# --- the client's side ----------------------------------------------------------------------------------------


def words_of(error: OSError) -> str:
    """The error as part of a sentence."""
    return (error.strerror or str(error) or type(error).__name__).lower()


def read_greeting(connection: socket.socket) -> str:
    """The node that answered; OSError when it was somebody else."""
    data = b""
    while not data.endswith(b"\n") and len(data) < _LINE_LIMIT:
        part = connection.recv(_LINE_LIMIT - len(data))
        if not part:
            break
        data += part
    text = data.decode("utf-8", "replace")
    if not text.startswith(GREETING) or not text.endswith("\n"):
        raise OSError(f"somebody else answered: {text[:60]!r}")
    return text[len(GREETING) :].strip()


def _wait_until(connection: socket.socket, end: float) -> None:
    """No operation lasts beyond the end, however little each of many brings."""
    left = end - time.monotonic()
    if left <= 0:
        raise socket.timeout("timed out")
    connection.settimeout(left)


def _unacknowledged(connection: socket.socket) -> int:
    waiting = array.array("i", [0])
    fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, waiting)
    return waiting[0]


def _upload(connection: socket.socket, data: bytes, end: float, result: Dict[str, Any]) -> None:
    handed = 0
    try:
        view = memoryview(data)
        while handed < len(data):
            _wait_until(connection, end)
            handed += connection.send(view[handed : handed + 65536])
        _wait_until(connection, end)
        answer = connection.recv(_LINE_LIMIT)
    finally:
        result["bytes"] = max(0, handed - _unacknowledged(connection))
    if answer.strip().decode("ascii", "replace") != hashlib.sha256(data).hexdigest():
        raise OSError("what arrived there is not what was sent" if answer else "the other side ended the connection")


def _download(connection: socket.socket, data: bytes, end: float, result: Dict[str, Any]) -> None:
    got = b""
    while len(got) < len(data):
        _wait_until(connection, end)
        part = connection.recv(65536)
        if not part:
            raise OSError("the other side ended the connection")
        got += part
        result["bytes"] = len(got)
    if got != data:
        raise OSError("what arrived here is not what was sent")


def transfer(kind: str, address: str, port: int, token: str, size: int, timeout: float, seconds: float, avoid: str = "") -> Dict[str, Any]:
    """Send (kind upload) or get (download) a payload: {"node", "ms", "bytes"}, and "error" when it did not arrive whole and in time.

    Without "node" nobody answered, so nothing is known of large packets. {"avoided": True} where node avoid answered: behind a
    ClusterIP that one may be on this node, and its payload crosses no network.
    """
    begin = time.monotonic()
    result: Dict[str, Any] = {"bytes": 0}
    try:
        with socket.create_connection((address, port), timeout=timeout) as connection:
            node = read_greeting(connection)
            if avoid and node == avoid:
                return {"avoided": True, "bytes": 0}
            result["node"] = node
            connection.sendall(f"{kind} {token} {size}\n".encode())
            (_upload if kind == "upload" else _download)(connection, pattern(token, size), begin + seconds, result)
    except socket.timeout:
        result["error"] = f"{_LATE} {seconds:g} s" if "node" in result else f"no answer within {timeout:g} s"
    except OSError as error:
        result["error"] = words_of(error)
    result["ms"] = round((time.monotonic() - begin) * 1000, 1)
    return result


def transfer_by_service(
    kind: str, address: str, port: int, token: str, size: int, timeout: float, seconds: float, own_node: str, tries: int
) -> Dict[str, Any]:
    """A transfer by way of a ClusterIP, with a pod of another node unless none answers."""
    own = failed = 0
    while True:
        avoid = own_node if own < OWN_ANSWERS and failed < tries // 2 else ""
        result = transfer(kind, address, port, token, size, timeout, seconds, avoid)
        own += "avoided" in result
        failed += "error" in result
        if "node" in result or failed >= tries:
            return result


class _Packets:
    """Datagrams of a chosen size that nobody may cut, and whether they arrive."""

    def __init__(self, address: str, port: int, name: str, token: str) -> None:
        self.version = ipaddress.ip_address(address).version
        self.name, self.token, self.number, self.told = name, token, 0, False
        self.slowest = 0.0
        self.socket = socket.socket(family(address), socket.SOCK_DGRAM)
        # the kernel sends what its interface carries, whatever it has heard of the path
        if self.version == 6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
            self.socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_DONTFRAG, 1)
        else:
            self.socket.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
        self.socket.connect((address, port))

    def arrives(self, packet: int) -> bool:
        """Whether a packet of this size, with its headers, arrives whole."""
        size = packet - _HEADERS[self.version]
        return any(self._ask(size) for _try in range(_TRIES))

    def _ask(self, size: int) -> bool:
        self.number += 1
        data = question(self.token, self.number, size)
        begin = time.monotonic()
        end = begin + max(_ANSWER_WAIT, 10 * self.slowest)
        try:
            self.socket.send(data)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            return False
        while time.monotonic() < end:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                answer = read_answer(self.socket.recv(65535), self.token, self.number)
            except socket.timeout:
                break
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    raise
                # a router's word about this packet, or about one before it: the next try tells
                self.told = True
                return False
            if answer == (len(data), self.name):
                self.slowest = max(self.slowest, min(time.monotonic() - begin, 0.3))
                return True
        return False


def largest_packet(address: str, port: int, name: str, token: str, mtu: int) -> Dict[str, Any]:
    """{"largest": size up to mtu that arrives whole, null when none does, "told": a router said so, "error"}."""
    result: Dict[str, Any] = {"largest": None, "told": False, "error": ""}
    try:
        packets = _Packets(address, port, name, token)
        with packets.socket:
            low = LEAST_MTU[packets.version]
            if not packets.arrives(low):
                result["error"] = "no UDP packet is answered"
                return result
            result["largest"] = mtu
            if mtu > low and not packets.arrives(mtu):
                high = mtu
                while high - low > 1:
                    middle = (low + high) // 2
                    if packets.arrives(middle):
                        low = middle
                    else:
                        high = middle
                result["largest"] = low
            result["told"] = packets.told
    except OSError as error:
        result.update(largest=None, error=f"UDP: {words_of(error)}")
    return result


def pod_mtu(address: str, run: Runner) -> Dict[str, Any]:
    """{"interface", "mtu", "reason"}: the largest packet that the pod with this address sends to other nodes.

    It is called inside of the pod's network. Cilium leaves the interface's MTU alone and gives its routes a smaller one.
    """
    found = interface_of(address, run)
    result = {"interface": found["name"], "mtu": found["mtu"], "reason": found["reason"]}
    if found["mtu"] is None:
        return result
    argv = ["ip", "-j"] + (["-6"] if ipaddress.ip_address(address).version == 6 else []) + ["route", "show"]
    rc, out, err = run(argv, 15)
    try:
        routes = json.loads(out or "[]") if rc == 0 else None
        limits = [int(metric["mtu"]) for route in routes or [] for metric in route.get("metrics") or [] if "mtu" in metric]
    except (ValueError, TypeError, AttributeError):
        routes, limits = None, []
    if routes is None:
        result.update(mtu=None, reason=f"`{' '.join(argv)}` in the pod's network failed: {(err or out).strip()[:200]}")
    else:
        result["mtu"] = min([found["mtu"], *limits])
    return result


# --- findings -------------------------------------------------------------------------------------------------


def mtu_check(found: Dict[str, Any], expected: int) -> List[Check]:
    """Whether the pod has the MTU that was computed; nothing where none was."""
    if not expected:
        return []
    wanted = f"{expected} bytes: what the network between the nodes carries less what the encapsulation takes"
    if found["mtu"] is None:
        return [check("pod_mtu", UNKNOWN, found["reason"], wanted, "Is iproute2 installed on this node?")]
    status = PASS if found["mtu"] == expected else FAIL
    fix = (
        "Look at the configuration that this node's pods are made with (`grep -r mtu /etc/cni/net.d /run/flannel`), run the network playbook"
        " again and restart the pods: a pod keeps the MTU that it was made with. If the network carries something else, set cluster_network_mtu."
    )
    return [check("pod_mtu", status, f"{found['mtu']} bytes on {found['interface']} of this node's pod", wanted, fix)]


def _stuck(result: Dict[str, Any]) -> bool:
    """Large packets are lost in silence. A transfer that somebody ended at once tells nothing of their size."""
    return result["bytes"] == 0 and result.get("error", "").startswith(_LATE)


def _stopped(result: Dict[str, Any], size: int) -> str:
    return f"{result['bytes']} of {size} bytes arrived: {result['error']}"


def _tcp_words(up: Dict[str, Any], down: Dict[str, Any], size: int, node: str) -> str:
    parts = []
    for result, way in ((up, f"to node {node}"), (down, f"from node {node}")):
        parts.append(f"{way} {_stopped(result, size)}" if "error" in result else f"{way} all {size} bytes in {result['ms']:.0f} ms")
    return "TCP " + ", ".join(parts)


def payload_check(node: str, mtu: Dict[str, Any], packet: Dict[str, Any], up: Dict[str, Any], down: Dict[str, Any], size: int) -> Check:
    """Judge what was tried with the pod of one other node that answers small questions."""
    identifier = f"pod_to_pod_payload/{node}"
    tcp = _tcp_words(up, down, size, node)
    large = mtu["mtu"]
    whole = (
        f"a packet of {large} bytes, the pod's MTU, to the pod on node {node}"
        if large
        else f"a packet as large as the pod's MTU to node {node}"
    )
    wanted = f"{whole}, and {size} bytes by TCP each way"

    def mend(most: str) -> str:
        return (
            f"Between this node and node {node} {most}. Make every interface and switch on the way carry what the pods send and the"
            f" encapsulation adds (`ip link show`, `tracepath -n` to the node), or set cluster_network_mtu to what the way carries, run the"
            " network playbook again and restart the pods, which keep the MTU that they were made with."
        )

    if large and packet["largest"] is not None and packet["largest"] < large:
        said = "a router on the way says so, to which TCP adapts and UDP does not" if packet["told"] else "and nobody on the way says so"
        seen = f"small packets pass, packets of {large} bytes do not: MTU; the largest that passes has {packet['largest']} bytes"
        seen += f", {said}; {tcp}"
        return check(identifier, FAIL, seen, wanted, mend(f"packets of a pod of up to {packet['largest']} bytes pass"))
    for result, way in ((up, f"to node {node}"), (down, f"from node {node} to here")):
        if "error" in result and "node" in result:
            if _stuck(result):
                bytes_ = f"packets of {large} bytes" if large else "large ones"
                seen = f"small packets pass, {bytes_} {way} do not: MTU; {tcp}"
                return check(identifier, FAIL, seen, wanted, mend(f"large packets of pods {way} are lost"))
            fix = "Look for lost and damaged packets on both nodes: `ip -s link`, `nstat -az TcpRetransSegs TcpInCsumErrors`, `ethtool -S`."
            return check(identifier, FAIL, f"a connection is made, but {way} {_stopped(result, size)}", wanted, fix)
    tcp_passes = "error" not in up and "error" not in down
    if packet["largest"] is None and large and tcp_passes and not packet["error"].startswith("UDP:"):
        fix = f"Look for packet filters that know no UDP between the pods of this node and of node {node}: DNS would not work either."
        return check(identifier, FAIL, f"TCP passes, but {packet['error']}; {tcp}", wanted, fix)
    if packet["largest"] is None or not tcp_passes:
        reasons = [mtu["reason"], packet["error"], up.get("error", ""), down.get("error", "")]
        return check(
            identifier,
            UNKNOWN,
            f"not measured: {'; '.join(filter(None, reasons))}",
            wanted,
            f"See finding pod_to_pod/{node}; run it again.",
        )
    return check(identifier, PASS, f"{large} bytes arrive whole; {tcp}", wanted)


def untried(node: str, size: int) -> Check:
    """Where not even a small question is answered."""
    wanted = f"a packet as large as the pod's MTU to the pod on node {node}, and {size} bytes by TCP each way"
    return check(f"pod_to_pod_payload/{node}", UNKNOWN, "not tried, as no connection is made", wanted, f"See finding pod_to_pod/{node}.")


def service_payload_check(where: str, name: str, up: Dict[str, Any], down: Dict[str, Any], size: int, slow: str) -> Check:
    """Judge the transfers by way of a ClusterIP; slow is what to do about lost first packets and wrong checksums."""
    identifier, wanted = f"{where}_to_service_payload", f"{size} bytes by TCP each way by way of {name}"
    for result in (up, down):
        if "node" not in result:
            seen = f"not tried: {result.get('error', 'nobody answered')}"
            return check(identifier, UNKNOWN, seen, wanted, f"See finding {where}_to_service.")
    node = up["node"] if up["node"] == down["node"] else f"{up['node']} and {down['node']}"
    tcp = _tcp_words(up, down, size, node)
    if "error" not in up and "error" not in down:
        return check(identifier, PASS, tcp, wanted)
    seen = f"small packets pass, large ones do not; {tcp}" if _stuck(up) or _stuck(down) else f"a connection is made, but it stops; {tcp}"
    fix = f"If pod_to_pod_payload fails too, it is the MTU: mend that first. If only the way by the ClusterIP fails: {slow}"
    return check(identifier, FAIL, seen, wanted, fix)
