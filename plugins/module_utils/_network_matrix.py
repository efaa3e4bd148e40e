# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Listen on the ports that a cluster needs, and ask every other node on its own: ports, round trip, path MTU.

One listener process per node answers for all ports and ends by itself. It is found again by the name of an abstract socket, which
belongs to the network namespace and leaves no file. An answer counts only if it carries the token of the run, the number
of the question and the name of the node that was asked: what somebody else answers is no proof of anything.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import itertools
import os
import re
import selectors
import socket
import struct
import sys
import time
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import Runner
from ansible_collections.baremetal.kubernetes.plugins.module_utils._daemon import become_daemon
from ansible_collections.baremetal.kubernetes.plugins.module_utils._interfaces import interface_of

# What a port is, as a row of the result: {"port", "status", "error"}
OPEN, ANSWERED = "open", "answered"
REFUSED, TIMEOUT, SILENT, UNREACHABLE, UNKNOWN = "refused", "timeout", "silent", "unreachable", "unknown"

BUSY = "busy"
IPIP = 4

_HEAD = "baremetal.kubernetes"
_CONTROL = "\0baremetal.kubernetes.network_matrix"
_REPLACE = "replace"
# The least question: as long as the longest answer, so that nobody can use the listener to make traffic larger.
_SMALL = 256
_LARGEST = 65535
# an IPv4 host must take 576 bytes, an IPv6 link must carry 1280 (RFC 791, RFC 8200)
LEAST_MTU = {4: 576, 6: 1280}
# headers of IP and UDP
_HEADERS = {4: 28, 6: 48}

# socket has names for these on some systems only (linux/in.h, linux/in6.h)
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _IPV6_DONTFRAG, _PMTUDISC_PROBE = 10, 23, 62, 3

# sockets that one prober has open at once, and nodes whose round trip it measures at once
_SOCKETS = 200
_QUIET = 4
_TRIES = 3
# What stayed without an answer is asked once more: at first all nodes ask all others at the same moment.
_ROUNDS = 2
# Least seconds to wait for an answer about a size: a packet that is late or lost must not look like one that is too large.
_SIZE_WAIT = 0.5
# connections that one listener keeps until the client has closed
_CONNECTIONS = 512

_BLOCKED = {
    errno.ECONNREFUSED: REFUSED,
    errno.ETIMEDOUT: TIMEOUT,
    errno.EHOSTUNREACH: UNREACHABLE,
    errno.ENETUNREACH: UNREACHABLE,
    errno.EHOSTDOWN: UNREACHABLE,
    errno.ENETDOWN: UNREACHABLE,
    errno.ENOPROTOOPT: UNREACHABLE,
    # what this node's own packet filter does to what it sends
    errno.EPERM: UNREACHABLE,
    errno.EACCES: UNREACHABLE,
}

# (protocol, port); the port of IP-in-IP is its number among the protocols of IP
Place = Tuple[str, int]


class NetworkMatrixError(Exception):
    """One sentence about an option or this node."""


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version


def _family(address: str) -> int:
    return socket.AF_INET6 if _version(address) == 6 else socket.AF_INET


def _words(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()


def validate(name: str, token: str, address: str) -> None:
    """Refuse what would not survive the way through a datagram."""
    if not re.match(r"^\S{1,100}\Z", name) or len(name.encode()) > 100:
        raise NetworkMatrixError(f"The name of this node is {name!r}, but must be 1 to 100 characters without blanks.")
    if not re.match(r"^[A-Za-z0-9_.-]{8,64}\Z", token):
        raise NetworkMatrixError(f"The token is {token!r}, but must be 8 to 64 letters, digits, dots, dashes and underscores.")
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise NetworkMatrixError(f"The address is {address!r}, but must be an IP address of this node.") from None
    if parsed.is_unspecified or parsed.is_multicast or parsed.is_link_local:
        raise NetworkMatrixError(f"The address is {address}, but must be one address of this node that other nodes can use.")


# --- questions and answers ------------------------------------------------------------------------------------


def question(token: str, number: int, size: int = _SMALL) -> bytes:
    """A datagram of this size."""
    return f"{_HEAD} ask {token} {number} ".encode().ljust(max(size, _SMALL), b".")


def answer_to(data: bytes, name: str, token: str) -> Optional[bytes]:
    """The answer of the node with this name, or None where it was not asked in this run."""
    words = data[:_SMALL].split(b" ")
    if len(words) < 5 or words[:3] != [_HEAD.encode(), b"ask", token.encode()] or not words[3].isdigit():
        return None
    answer = f"{_HEAD} answer {token} {words[3].decode()} {len(data)} {name}".encode()
    return answer if len(answer) <= len(data) else None


def read_answer(data: bytes, token: str, number: int) -> Optional[Tuple[int, str]]:
    """(size of the question as it arrived, name of who answers), or None."""
    words = data.split(b" ")
    expected = [_HEAD.encode(), b"answer", token.encode(), str(number).encode()]
    if len(words) != 6 or words[:4] != expected or not words[4].isdigit():
        return None
    return int(words[4]), words[5].decode("utf-8", "replace")


def _greeting(name: str, token: str) -> bytes:
    return f"{_HEAD} {token} {name}\n".encode()


# --- the listener ---------------------------------------------------------------------------------------------


def bind(address: str, places: Sequence[Place]) -> Tuple[Dict[Place, socket.socket], List[Dict[str, Any]]]:
    """(sockets, unserved): what cannot be bound comes with the reason, which is `busy` where somebody else is there."""
    sockets: Dict[Place, socket.socket] = {}
    unserved: List[Dict[str, Any]] = []
    for protocol, port in places:
        try:
            kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}.get(protocol, socket.SOCK_RAW)
            one = socket.socket(_family(address), kind, IPIP if kind == socket.SOCK_RAW else 0)
            try:
                if protocol == "tcp":
                    # closed connections of an earlier run are no reason; a process that listens still is
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind((address, 0 if kind == socket.SOCK_RAW else port))
                if protocol == "tcp":
                    one.listen(256)
                one.setblocking(False)
            except OSError:
                one.close()
                raise
            sockets[protocol, port] = one
        except OSError as error:
            unserved.append({"protocol": protocol, "port": port, "reason": BUSY if error.errno == errno.EADDRINUSE else _words(error)})
    return sockets, unserved


class _Listener:
    """Answers on all sockets until its time is over or somebody with its token stops it."""

    def __init__(self, name: str, token: str, sockets: Dict[Place, socket.socket], control: socket.socket, lifetime: float) -> None:
        self.name, self.token, self.end = name, token, time.monotonic() + lifetime
        self.sockets, self.control = sockets, control
        self.selector = selectors.DefaultSelector()
        self.connections: Dict[socket.socket, None] = {}

    def serve(self) -> None:
        """Until the end."""
        self.selector.register(self.control, selectors.EVENT_READ, self._obey)
        for (protocol, _port), one in self.sockets.items():
            self.selector.register(one, selectors.EVENT_READ, {"tcp": self._greet, "udp": self._answer}.get(protocol, self._answer_raw))
        while time.monotonic() < self.end:
            for key, _events in self.selector.select(max(0.0, min(1.0, self.end - time.monotonic()))):
                try:
                    key.data(key.fileobj)
                except OSError:
                    # the other side is gone, or the answer found no way: the one who asked will say so
                    continue

    def _answer(self, one: socket.socket) -> None:
        data, sender = one.recvfrom(_LARGEST)
        answer = answer_to(data, self.name, self.token)
        if answer:
            one.sendto(answer, sender)

    def _answer_raw(self, one: socket.socket) -> None:
        data, sender = one.recvfrom(_LARGEST)
        answer = answer_to(_without_header(data), self.name, self.token)
        if answer:
            one.sendto(answer, sender)

    def _greet(self, one: socket.socket) -> None:
        connection, _sender = one.accept()
        connection.setblocking(False)
        # The client closes, and by a reset: a connection closed here would occupy the port of a service to come for a minute.
        self.connections[connection] = None
        self.selector.register(connection, selectors.EVENT_READ, self._wait_for_end)
        if len(self.connections) > _CONNECTIONS:
            self._drop(next(iter(self.connections)))
        connection.send(_greeting(self.name, self.token))

    def _wait_for_end(self, connection: socket.socket) -> None:
        try:
            if connection.recv(4096):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self.selector.unregister(connection)
        self.connections.pop(connection, None)
        connection.close()

    def _obey(self, control: socket.socket) -> None:
        caller, _name = control.accept()
        with caller:
            _pid, uid, _gid = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid not in (0, os.geteuid()):
                return
            caller.settimeout(2)
            if caller.recv(256).decode("utf-8", "replace").strip() not in (self.token, _REPLACE):
                caller.sendall(b"another run\n")
                return
            for one in [*self.connections, *self.sockets.values(), control]:
                one.close()
            caller.sendall(b"stopped\n")
        os._exit(0)


def stop(token: str = _REPLACE) -> bool:
    """Stop the listener of this run; without a token that of any run. Returns whether there was one, and it is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.settimeout(5)
        try:
            control.connect(_CONTROL)
            control.sendall(f"{token}\n".encode())
            return control.recv(64) == b"stopped\n"
        except OSError:
            return False


def _detach(listener: _Listener) -> int:
    """Process number of the listener, which nobody waits for."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if os.fork():
                os._exit(0)
            os.write(writer, str(os.getpid()).encode())
            descriptors = {listener.selector.fileno(), listener.control.fileno(), *(one.fileno() for one in listener.sockets.values())}
            become_daemon("k8s-preflight", descriptors)
            listener.serve()
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as handle:
        number = handle.read()
    if not number.isdigit():
        raise NetworkMatrixError("The listener could not be started: the process that should become it ended at once.")
    return int(number)


def listen(
    name: str, address: str, token: str, tcp_ports: Sequence[int], udp_ports: Sequence[int], measure_port: int, ipip: bool, lifetime: float
) -> Dict[str, Any]:
    """Start the listener in place of any earlier one; {"pid", "listening", "unserved", "error"}."""
    validate(name, token, address)
    stop()
    udp = dict.fromkeys([*udp_ports, *([measure_port] if measure_port else [])])
    places = [("tcp", port) for port in dict.fromkeys(tcp_ports)] + [("udp", port) for port in udp] + ([("ipip", IPIP)] if ipip else [])
    try:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as own:
            own.bind((address, 0))
    except OSError as error:
        # whose the address is, other checks tell
        return {"pid": None, "listening": False, "unserved": [], "error": f"{address} cannot be used on this node: {_words(error)}"}
    sockets, unserved = bind(address, places)
    try:
        control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            control.bind(_CONTROL)
        except OSError as error:
            control.close()
            raise NetworkMatrixError(f"The listener cannot be controlled, as another process holds its name: {_words(error)}.") from None
        control.listen(4)
        listener = _Listener(name, token, sockets, control, lifetime)
        try:
            pid = _detach(listener)
        finally:
            listener.selector.close()
            control.close()
    finally:
        for one in sockets.values():
            one.close()
    return {"pid": pid, "listening": True, "unserved": unserved, "error": ""}


# --- the prober -----------------------------------------------------------------------------------------------


def _without_header(data: bytes) -> bytes:
    """What is behind the IPv4 header, which raw sockets show."""
    return data[(data[0] & 15) * 4 :] if data else b""


def _unmeasured(peer: Dict[str, Any], reason: str) -> Dict[str, Any]:
    """The result of a peer as long as nothing is known of it."""
    return {
        "name": peer["name"],
        "address": peer["address"],
        "tcp": [{"port": port, "status": UNKNOWN, "seconds": None, "error": reason} for port in dict.fromkeys(peer["tcp_ports"])],
        "udp": [{"port": port, "status": UNKNOWN, "error": reason} for port in dict.fromkeys(peer["udp_ports"])],
        "ipip": {"status": UNKNOWN, "error": reason} if peer.get("ipip") else None,
        "rtt_us": None,
        "rtt_reason": reason,
        "path_mtu": None,
        "path_mtu_reason": reason,
    }


class _Prober:
    """Asks all peers at once, with a bounded number of sockets."""

    def __init__(self, address: str, token: str, timeout: float, samples: int, mtu: Optional[int], mtu_reason: str) -> None:
        self.address, self.token, self.timeout, self.samples = address, token, timeout, samples
        self.mtu, self.mtu_reason = mtu, mtu_reason
        self.version = _version(address)
        self.numbers: Iterator[int] = itertools.count(1)
        self.sockets = asyncio.Semaphore(_SOCKETS)
        self.quiet = asyncio.Semaphore(_QUIET)
        self.loop = asyncio.get_event_loop()

    async def peer(self, peer: Dict[str, Any], result: Dict[str, Any]) -> None:
        """Fill the result of one peer."""
        unserved = {(item["protocol"], int(item["port"])): str(item["reason"]) for item in peer.get("unserved") or []}
        jobs = [(self._tcp, row, unserved.get(("tcp", row["port"]))) for row in result["tcp"]]
        jobs += [(self._udp, row, unserved.get(("udp", row["port"]))) for row in result["udp"]]
        if result["ipip"]:
            jobs.append((self._ipip, result["ipip"], unserved.get(("ipip", IPIP))))
        for _round in range(_ROUNDS):
            await asyncio.gather(*(job(peer, row, reason) for job, row, reason in jobs if row["status"] in (TIMEOUT, SILENT, UNKNOWN)))
        ports = [row["port"] for row in result["udp"] if row["status"] == ANSWERED]
        spare = int(peer.get("measure_port") or 0)
        if spare and spare not in ports and ("udp", spare) not in unserved:
            ports.append(spare)
        result["rtt_reason"] = result["path_mtu_reason"] = "no UDP port of this node answers"
        for port in ports * _ROUNDS:
            if await self._measure(peer, port, result):
                return

    def _socket(self, kind: int, protocol: int = 0) -> socket.socket:
        one = socket.socket(_family(self.address), kind, protocol)
        try:
            one.setblocking(False)
            one.bind((self.address, 0))
        except OSError:
            one.close()
            raise
        return one

    async def _tcp(self, peer: Dict[str, Any], row: Dict[str, Any], unserved: Optional[str]) -> None:
        if unserved not in (None, BUSY):
            row["error"] = f"the node could not listen there: {unserved}"
            return
        async with self.sockets:
            begin, seconds = time.monotonic(), None
            try:
                one = self._socket(socket.SOCK_STREAM)
            except OSError as error:
                row["error"] = f"no connection can be made from {self.address}: {_words(error)}"
                return
            with one:
                try:
                    await asyncio.wait_for(self.loop.sock_connect(one, (peer["address"], row["port"])), self.timeout)
                    seconds = round(time.monotonic() - begin, 6)
                    if unserved is None:
                        await asyncio.wait_for(self._greeted(one, peer["name"]), self.timeout)
                        # no trace of this connection stays on either side
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    row.update(status=OPEN, seconds=seconds, error="")
                except asyncio.TimeoutError:
                    if seconds is None:
                        row.update(status=TIMEOUT, error=f"no answer within {self.timeout:g} s")
                    else:
                        row.update(status=UNKNOWN, error=f"connected, but the listener of this run did not speak within {self.timeout:g} s")
                except OSError as error:
                    # what happens behind the handshake says nothing about the port
                    status = _BLOCKED.get(error.errno or 0, UNKNOWN) if seconds is None else UNKNOWN
                    row.update(status=status, error=_words(error))

    async def _greeted(self, one: socket.socket, name: str) -> None:
        wanted, data = _greeting(name, self.token), b""
        while len(data) < len(wanted):
            part = await self.loop.sock_recv(one, 256)
            if not part:
                break
            data += part
        if data != wanted:
            raise OSError(errno.EPROTO, f"somebody else answered: {data[:80].decode('utf-8', 'replace')!r}")

    async def _ask(self, one: socket.socket, size: int, seconds: float, raw: bool = False) -> Optional[Tuple[int, str]]:
        """Ask once: (size as it arrived, name), or None when nothing came back."""
        number = next(self.numbers)
        await self.loop.sock_sendall(one, question(self.token, number, size))
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return None
            try:
                data = await asyncio.wait_for(self.loop.sock_recv(one, _LARGEST), left)
            except asyncio.TimeoutError:
                return None
            except OSError as error:
                # A router's word about a larger packet; whether this one arrived, only the answer tells.
                # IP-in-IP has no ports: beside the listener's answer the kernel complains of having no tunnel.
                if error.errno == errno.EMSGSIZE or raw:
                    continue
                raise
            answer = read_answer(_without_header(data) if raw else data, self.token, number)
            if answer:
                return answer

    async def _echo(self, one: socket.socket, peer: Dict[str, Any], row: Dict[str, Any], raw: bool = False) -> None:
        error: Optional[OSError] = None
        for _try in range(_TRIES):
            begin = time.monotonic()
            try:
                answer = await self._ask(one, _SMALL, self.timeout / _TRIES, raw)
            except OSError as caught:
                error = caught
                # so that a neighbour that is not known yet gets its time
                await asyncio.sleep(max(0.0, self.timeout / _TRIES - (time.monotonic() - begin)))
                continue
            if answer and answer[1] != peer["name"]:
                row.update(status=UNKNOWN, error=f"node {answer[1]} answered instead")
                return
            if answer:
                row.update(status=ANSWERED, error="")
                return
        if error:
            row.update(status=_BLOCKED.get(error.errno or 0, UNKNOWN), error=_words(error))
        else:
            row.update(status=SILENT, error=f"no answer to {_TRIES} questions within {self.timeout:g} s")

    async def _udp(self, peer: Dict[str, Any], row: Dict[str, Any], unserved: Optional[str]) -> None:
        if unserved is not None:
            taken = "another process of that node holds the port, so nobody could answer"
            row["error"] = taken if unserved == BUSY else f"the node could not listen there: {unserved}"
            return
        async with self.sockets:
            try:
                with self._socket(socket.SOCK_DGRAM) as one:
                    one.connect((peer["address"], row["port"]))
                    await self._echo(one, peer, row)
            except OSError as error:
                row.update(status=_BLOCKED.get(error.errno or 0, UNKNOWN), error=_words(error))

    async def _ipip(self, peer: Dict[str, Any], row: Dict[str, Any], unserved: Optional[str]) -> None:
        if unserved is not None:
            row["error"] = f"the node could not listen there: {unserved}"
            return
        async with self.sockets:
            try:
                with self._socket(socket.SOCK_RAW, IPIP) as one:
                    one.connect((peer["address"], 0))
                    await self._echo(one, peer, row, raw=True)
            except OSError as error:
                # without the right to send such packets nothing was seen of the way
                status = UNKNOWN if error.errno in (errno.EPERM, errno.EACCES) else _BLOCKED.get(error.errno or 0, UNKNOWN)
                row.update(status=status, error=_words(error))

    async def _measure(self, peer: Dict[str, Any], port: int, result: Dict[str, Any]) -> bool:
        """Round trip and path MTU by way of this port; whether it answered at all."""
        async with self.sockets:
            try:
                with self._socket(socket.SOCK_DGRAM) as one:
                    if self.version == 6:
                        one.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
                        one.setsockopt(socket.IPPROTO_IPV6, _IPV6_DONTFRAG, 1)
                    else:
                        one.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
                    one.connect((peer["address"], port))
                    times = await self._round_trips(one, peer["name"])
                    if not times:
                        return False
                    result["rtt_us"] = {
                        "min": min(times),
                        "avg": round(sum(times) / len(times)),
                        "max": max(times),
                        "samples": len(times),
                        "sent": self.samples,
                    }
                    result["rtt_reason"] = ""
                    result["path_mtu_reason"] = "the search did not come to its end"
                    result["path_mtu"], result["path_mtu_reason"] = await self._path_mtu(one, max(times) / 1e6)
                    return True
            except OSError as error:
                result["rtt_reason" if result["rtt_us"] is None else "path_mtu_reason"] = _words(error)
                return result["rtt_us"] is not None

    async def _round_trips(self, one: socket.socket, name: str) -> List[int]:
        times = []
        async with self.quiet:
            for _number in range(self.samples):
                begin = time.monotonic()
                answer = await self._ask(one, _SMALL, self.timeout)
                if answer and answer[1] == name:
                    times.append(round((time.monotonic() - begin) * 1e6))
                elif not times:
                    # nobody there: the other samples would only cost time
                    break
        return times

    async def _path_mtu(self, one: socket.socket, rtt: float) -> Tuple[Optional[int], str]:
        """The largest packet that arrives whole, up to the MTU of this node's own interface."""
        if self.mtu is None:
            return None, self.mtu_reason
        least, most = LEAST_MTU[self.version], min(self.mtu, _LARGEST)
        if most <= least:
            return None, f"the interface's MTU is {self.mtu}, and no more than {least} cannot be told apart"
        wait = min(max(_SIZE_WAIT, 10 * rtt), self.timeout)

        async def carries(mtu: int) -> bool:
            size = mtu - _HEADERS[self.version]
            for _try in range(_TRIES):
                try:
                    answer = await self._ask(one, size, wait)
                except OSError as error:
                    if error.errno == errno.EMSGSIZE:
                        # more than a route of this node allows
                        return False
                    raise
                if answer and answer[0] == size:
                    return True
            return False

        if await carries(most):
            return most, ""
        if not await carries(least):
            return None, f"packets of {least} bytes get lost, though smaller ones arrive"
        low, high = least, most
        while high - low > 1:
            middle = (low + high) // 2
            if await carries(middle):
                low = middle
            else:
                high = middle
        # between a way that ends and a size that does not pass, only one more answer decides
        if not await carries(low):
            return None, "the node ceased to answer during the search"
        return low, f"packets of {low + 1} bytes and more get lost; the interface has an MTU of {self.mtu}"


def probe(
    name: str,
    address: str,
    token: str,
    peers: Sequence[Dict[str, Any]],
    timeout: float,
    samples: int,
    deadline: float,
    run: Runner,
) -> Dict[str, Any]:
    """Ask every peer but the node itself. What the deadline leaves unasked stays `unknown`."""
    validate(name, token, address)
    begin = time.monotonic()
    others = [peer for peer in peers if peer["name"] != name]
    interface = interface_of(address, run)
    results = [_unmeasured(peer, f"not reached within the {deadline:g} seconds for all nodes") for peer in others]

    async def everything() -> bool:
        prober = _Prober(address, token, timeout, samples, interface["mtu"], interface["reason"])
        tasks = []
        for peer, result in zip(others, results):
            if _version(peer["address"]) != prober.version:
                result.update(_unmeasured(peer, f"{peer['address']} and {address} are of different IP versions"))
            else:
                tasks.append(asyncio.ensure_future(prober.peer(peer, result)))
        if not tasks:
            return True
        _done, late = await asyncio.wait(tasks, timeout=max(0.0, deadline - (time.monotonic() - begin)))
        stopped = late
        while late:
            # more than once: until Python 3.12 wait_for may swallow it
            for task in late:
                task.cancel()
            _done, late = await asyncio.wait(late, timeout=1)
        for task in tasks:
            if not task.cancelled():
                task.result()
        return not stopped

    complete = asyncio.run(everything())
    return {
        "name": name,
        "address": address,
        "interface": interface,
        "peers": results,
        "complete": complete,
        "seconds": round(time.monotonic() - begin, 3),
    }


# --- what the module does -------------------------------------------------------------------------------------


def _check_numbers(params: Dict[str, Any]) -> None:
    for name in ("tcp_ports", "udp_ports"):
        for owner in [params, *params["peers"]]:
            wrong = [port for port in owner[name] if not 0 < port < 65536]
            if wrong:
                raise NetworkMatrixError(f"{name} has {wrong[0]}, but a port is a number from 1 to 65535.")
    for owner in [params, *params["peers"]]:
        if not 0 <= owner["measure_port"] < 65536:
            raise NetworkMatrixError(f"measure_port is {owner['measure_port']}, but a port is a number from 1 to 65535, and 0 means none.")
    for name, least, most in (("lifetime", 1, 86400), ("samples", 1, 100), ("timeout", 0.1, 60), ("deadline", 1, 3600)):
        if not least <= params[name] <= most:
            raise NetworkMatrixError(f"{name} is {params[name]:g}, but must be a number from {least:g} to {most:g}.")
    for peer in params["peers"]:
        validate(peer["name"], params["token"], peer["address"])
        if peer["ipip"] and _version(peer["address"]) == 6:
            raise NetworkMatrixError(f"ipip is wanted for {peer['name']} at {peer['address']}, but the listener answers it with IPv4 only.")


def act(params: Dict[str, Any], run: Runner) -> Dict[str, Any]:
    """Do what the options of the module say."""
    if params["action"] == "stop":
        validate("any", params["token"], "127.0.0.1")
        return {"stopped": stop(params["token"])}
    validate(params["name"], params["token"], params["address"])
    _check_numbers(params)
    own = {"name": params["name"], "address": params["address"]}
    if params["action"] == "probe":
        return probe(
            own["name"], own["address"], params["token"], params["peers"], params["timeout"], params["samples"], params["deadline"], run
        )
    if params["ipip"] and _version(own["address"]) == 6:
        raise NetworkMatrixError(f"ipip is wanted at {own['address']}, but the listener answers it with IPv4 only.")
    result = listen(
        own["name"],
        own["address"],
        params["token"],
        params["tcp_ports"],
        params["udp_ports"],
        params["measure_port"],
        params["ipip"],
        params["lifetime"],
    )
    lost = any(item["protocol"] == "udp" and item["port"] == params["measure_port"] for item in result["unserved"])
    return {**own, **result, "measure_port": 0 if lost or not result["listening"] else params["measure_port"]}
