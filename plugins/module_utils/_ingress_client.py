# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Requests to an ingress controller and what came of them, without a judgement."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from http.client import HTTPConnection, HTTPException
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _tls_hello
from ansible_collections.baremetal.kubernetes.plugins.module_utils._ingress_backend import SIGN

# Of TEST-NET-3 (RFC 5737): nobody's address, so that whoever believes it was told it by us.
SPOOFED = "203.0.113.254"
# X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT of OpenSSL
SELF_SIGNED = 18
_PATH = "/verify"
_MOST_BODY = 65536


class Want(NamedTuple):
    """What to try; the options of the module."""

    host: str
    plain_host: str
    ca: str
    http_port: int
    https_port: int
    tls_protocols: Sequence[str]
    tls_ciphers: Sequence[str]
    # None: not judged; 0: keep-alive is off
    keepalive_timeout: Optional[float]
    keepalive_requests: Optional[int]
    # preserved, replaced, or unknown
    client_address: str
    # whether this client is one whose address says something: nodes of the cluster are treated otherwise by kube-proxy
    outside: bool
    trusted_proxies: Sequence[str]
    # appended, replaced, or empty: not judged
    forwarded_for: str
    # None: not judged; empty: no such header
    hsts: Optional[str]
    # [{"host", "ca"}]: names whose certificates have to be good, with PEM or the system's authorities
    certificates: Sequence[Dict[str, str]]
    timeout: float
    wait_seconds: float
    # seconds that an idle connection is looked at, and requests that are sent on one, at the most
    idle_limit: float
    request_limit: int


class Connection:
    """One TCP or TLS connection that is never made anew behind one's back."""

    def __init__(self, address: str, port: int, timeout: float, name: str = "", context: Optional[ssl.SSLContext] = None) -> None:
        connection = socket.create_connection((address, port), timeout=timeout)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.local = connection.getsockname()[0]
            self.socket: Any = context.wrap_socket(connection, server_hostname=name) if context else connection
        except BaseException:
            connection.close()
            raise
        self._http = HTTPConnection(address, port, timeout=timeout)
        self._http.sock = self.socket
        self._http.auto_open = 0

    def ask(self, host: str, headers: Optional[Dict[str, str]] = None) -> Dict[str, Any]:
        """{"status", "headers", "answer", "closes"}: answer is our server's, or None."""
        self._http.request("GET", _PATH, headers={"Host": host, **(headers or {})})
        response = self._http.getresponse()
        body = response.read(_MOST_BODY)
        closes = bool(response.will_close)
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        ours = isinstance(answer, dict) and answer.get("sign") == SIGN
        return {
            "status": response.status,
            "headers": {name.lower(): value for name, value in response.getheaders()},
            "answer": answer if ours else None,
            "closes": closes,
        }

    def is_open(self, seconds: float) -> bool:
        """Whether the server keeps it open so long; only for a connection on which no answer is awaited."""
        self.socket.settimeout(seconds)
        try:
            return bool(self.socket.recv(1))
        except socket.timeout:
            return True
        except OSError:
            return False

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *dummy: Any) -> None:
        self.socket.close()


def words_of(error: BaseException) -> str:
    """The reason alone."""
    if isinstance(error, socket.timeout):
        return "no answer in time"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _attempt(ask: Callable[[], Dict[str, Any]]) -> Dict[str, Any]:
    begin = time.monotonic()
    try:
        result = ask()
    except (OSError, HTTPException, ValueError) as error:
        result = {"error": words_of(error)}
    return {**result, "ms": round((time.monotonic() - begin) * 1000, 1)}


def _until(ask: Callable[[], Dict[str, Any]], good: Callable[[Dict[str, Any]], bool], wait_seconds: float) -> Dict[str, Any]:
    """The first good answer, or the last one."""
    end = time.monotonic() + wait_seconds
    while True:
        result = _attempt(ask)
        if good(result) or time.monotonic() > end:
            return result
        time.sleep(0.5)


def context(ca: str, verify: bool) -> ssl.SSLContext:
    """For versions that this Python speaks; ca is PEM, or empty for the system's authorities."""
    made = ssl.create_default_context(cadata=ca or None)
    # Python 3.13 demands key identifiers (RFC 5280) that browsers do not ask for.
    made.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def http(address: str, want: Want) -> Dict[str, Any]:
    """A plain request to the host without TLS."""

    def ask() -> Dict[str, Any]:
        with Connection(address, want.http_port, want.timeout) as connection:
            return {**connection.ask(want.plain_host), "local": connection.local}

    return _until(ask, lambda result: bool(result.get("answer")), want.wait_seconds)


def https(address: str, want: Want) -> Dict[str, Any]:
    """An encrypted request, and whether the chain was verified: {"protocol", "cipher", "kind", "verified", "problem", ...}."""

    def ask() -> Dict[str, Any]:
        # first without a look at the certificate: what it is worth is a finding of its own
        with Connection(address, want.https_port, want.timeout, want.host, context("", False)) as connection:
            # before the question: a server that closes after its answer leaves nothing to ask about
            secured = {
                "local": connection.local,
                "protocol": connection.socket.version(),
                "cipher": connection.socket.cipher()[0],
                "kind": _tls_hello.key_kind(connection.socket.getpeercert(True) or b""),
            }
            answer = {**connection.ask(want.host), **secured}
        return {**answer, **chain(address, want.https_port, want.host, want.ca, want.timeout)}

    # A controller may take up the way to the server before the certificate, and show its own default one until then.
    return _until(ask, lambda result: bool(result.get("answer") and (not want.ca or result["verified"])), want.wait_seconds)


def chain(address: str, port: int, name: str, ca: str, timeout: float) -> Dict[str, Any]:
    """{"verified", "problem", "self_signed"} of the certificate that is shown for this name."""
    try:
        with Connection(address, port, timeout, name, context(ca, True)) as connection:
            end = ssl.cert_time_to_seconds(connection.socket.getpeercert()["notAfter"])
            return {"verified": True, "problem": "", "self_signed": False, "days": round((end - time.time()) / 86400, 1)}
    except ssl.SSLCertVerificationError as error:
        return {"verified": False, "problem": error.verify_message, "self_signed": error.verify_code == SELF_SIGNED}
    except (OSError, ValueError) as error:
        return {"verified": None, "problem": words_of(error), "self_signed": False}


def protocols(address: str, want: Want) -> Dict[str, Dict[str, Any]]:
    """The server's answer to each version, offered alone."""
    return {version: _tls_hello.offer(address, want.https_port, want.host, version, [], want.timeout) for version in _tls_hello.VERSIONS}


def ciphers(address: str, want: Want, version: str, kind: str) -> Dict[str, Any]:
    """{"offered": {name: answer}, "others": [names that were negotiated all the same], "end": the answer that ended the search}."""
    possible = _tls_hello.suites_for(kind)
    offered = {}
    for name in want.tls_ciphers:
        if name in possible:
            offered[name] = _tls_hello.offer(address, want.https_port, want.host, version, [_tls_hello.SUITES[name]], want.timeout)
    left = [name for name in _tls_hello.SUITES if name not in want.tls_ciphers]
    others: List[str] = []
    answer: Dict[str, Any] = {}
    while left:
        answer = _tls_hello.offer(address, want.https_port, want.host, version, [_tls_hello.SUITES[name] for name in left], want.timeout)
        taken = _tls_hello.suite_name(answer["suite"]) if "suite" in answer else ""
        if taken not in left:
            break
        others.append(taken)
        left.remove(taken)
    return {"offered": offered, "others": others, "end": answer}


def _open(address: str, want: Want, encrypted: bool) -> Tuple[Connection, str]:
    """(connection, host) of the plain or the encrypted way."""
    if encrypted:
        return Connection(address, want.https_port, want.timeout, want.host, context("", False)), want.host
    return Connection(address, want.http_port, want.timeout), want.plain_host


def keepalive(address: str, want: Want, encrypted: bool) -> Dict[str, Any]:
    """One connection asked again and again: {"served", "closed", "error"}; served is never more than the limit."""
    limit = max(2, min(want.keepalive_requests or 2, want.request_limit))
    served = 0
    try:
        connection, host = _open(address, want, encrypted)
        with connection:
            while served < limit:
                result = connection.ask(host)
                if not result["answer"]:
                    return {"served": served, "closed": False, "error": f"status {result['status']}"}
                served += 1
                if result["closes"]:
                    return {"served": served, "closed": True, "error": ""}
    except (OSError, HTTPException) as error:
        return {"served": served, "closed": False, "error": words_of(error)}
    return {"served": served, "closed": False, "error": ""}


def keepalive_patiently(address: str, want: Want, encrypted: bool, tries: int = 3) -> Dict[str, Any]:
    """The try that got furthest: a controller that reloads its configuration ends the connections that it has."""
    best: Dict[str, Any] = {"served": -1}
    for dummy in range(tries):
        result = keepalive(address, want, encrypted)
        if result["served"] > best["served"]:
            best = result
        if not result["error"] and result["served"] >= min(want.keepalive_requests or 2, want.request_limit):
            break
    return best


def idle(address: str, want: Want, encrypted: bool) -> Dict[str, Any]:
    """How long an idle connection is kept, in seconds: {"kept", "closed", "measured", "told", "error"}.

    told is what the server says itself in the header Keep-Alive.
    """
    timeout = want.keepalive_timeout or 0.0
    measured = 0 < timeout <= want.idle_limit
    # of a timeout that is too long to wait for it can still be told that it is no short one
    longest = timeout + 3 if measured else min(5.0, want.idle_limit)
    result: Dict[str, Any] = {"kept": 0.0, "closed": False, "measured": measured, "told": None, "error": ""}
    try:
        connection, host = _open(address, want, encrypted)
        with connection:
            answer = connection.ask(host)
            if answer["closes"]:
                return {**result, "closed": True}
            found = re.search(r"timeout=(\d+)", answer["headers"].get("keep-alive", ""))
            begin = time.monotonic()
            is_open = connection.is_open(longest)
            kept = round(time.monotonic() - begin, 1)
            return {**result, "kept": kept, "closed": not is_open, "told": int(found.group(1)) if found else None}
    except (OSError, HTTPException) as error:
        return {**result, "error": words_of(error)}


def spoofed(address: str, want: Want, encrypted: bool) -> Dict[str, Any]:
    """A request that claims to come from somebody else."""

    def ask() -> Dict[str, Any]:
        connection, host = _open(address, want, encrypted)
        with connection:
            return connection.ask(host, {"X-Forwarded-For": SPOOFED, "X-Real-IP": SPOOFED})

    return _attempt(ask)
