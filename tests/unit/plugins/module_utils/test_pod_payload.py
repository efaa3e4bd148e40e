# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judgement of large payloads, and the listener's manners; real networks are in test_pod_traffic_nodes.py."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _pod_payload

TOKEN = "0123456789abcdef0123456789abcdef01234567"
SIZE = 262144
MTU = {"interface": "eth0", "mtu": 1450, "reason": ""}
WHOLE = {"largest": 1450, "told": False, "error": ""}
DONE = {"node": "w1", "ms": 4.0, "bytes": SIZE}
STUCK = {"node": "w1", "ms": 15000.0, "bytes": 0, "error": "not done within 15 s"}
HALF = {**STUCK, "bytes": 100000}
CLOSED = {**STUCK, "ms": 2.0, "error": "connection reset by peer"}
GONE = {"ms": 5000.0, "bytes": 0, "error": "no answer within 5 s"}


@pytest.mark.parametrize(
    "mtu, packet, up, down, status, begins",
    [
        (MTU, WHOLE, DONE, DONE, "pass", "1450 bytes arrive whole; TCP to node w1 all 262144 bytes in 4 ms"),
        (
            MTU,
            {**WHOLE, "largest": 1400},
            DONE,
            DONE,
            "fail",
            "small packets pass, packets of 1450 bytes do not: MTU; the largest that passes has 1400",
        ),
        (MTU, {**WHOLE, "largest": 1400}, GONE, GONE, "fail", "small packets pass, packets of 1450 bytes do not: MTU"),
        (
            MTU,
            WHOLE,
            STUCK,
            DONE,
            "fail",
            "small packets pass, packets of 1450 bytes to node w1 do not: MTU; TCP to node w1 0 of 262144 bytes",
        ),
        (MTU, WHOLE, DONE, STUCK, "fail", "small packets pass, packets of 1450 bytes from node w1 to here do not: MTU"),
        (MTU, WHOLE, HALF, DONE, "fail", "a connection is made, but to node w1 100000 of 262144 bytes arrived: not done within 15 s"),
        # somebody ended it before anything arrived: nothing is known of the size of packets
        (MTU, WHOLE, CLOSED, DONE, "fail", "a connection is made, but to node w1 0 of 262144 bytes arrived: connection reset by peer"),
        (MTU, WHOLE, DONE, GONE, "unknown", "not measured: no answer within 5 s"),
        (MTU, {"largest": None, "told": False, "error": "no UDP packet is answered"}, GONE, GONE, "unknown", "not measured: no UDP packet"),
        (
            MTU,
            {"largest": None, "told": False, "error": "no UDP packet is answered"},
            DONE,
            DONE,
            "fail",
            "TCP passes, but no UDP packet is answered",
        ),
        (
            MTU,
            {"largest": None, "told": False, "error": "UDP: connection refused"},
            DONE,
            DONE,
            "unknown",
            "not measured: UDP: connection refused",
        ),
        ({**MTU, "mtu": None, "reason": "no `ip`"}, {**WHOLE, "largest": None}, DONE, DONE, "unknown", "not measured: no `ip`"),
        (
            {**MTU, "mtu": None, "reason": "no `ip`"},
            {**WHOLE, "largest": None},
            STUCK,
            DONE,
            "fail",
            "small packets pass, large ones to node w1 do not",
        ),
    ],
)
def test_the_verdict(mtu, packet, up, down, status, begins):
    check = _pod_payload.payload_check("w1", mtu, packet, up, down, SIZE)
    assert (check["id"], check["status"]) == ("pod_to_pod_payload/w1", status)
    assert check["observed"].startswith(begins)
    assert bool(check["fix"]) is (status != "pass")


@given(
    st.sampled_from([DONE, STUCK, HALF, CLOSED, GONE]),
    st.sampled_from([DONE, STUCK, HALF, CLOSED, GONE]),
    st.sampled_from([None, 576, 1449, 1450]),
    st.booleans(),
)
def test_only_all_of_it_passes(up, down, largest, told):
    packet = {"largest": largest, "told": told, "error": "" if largest else "no UDP packet is answered"}
    status = _pod_payload.payload_check("w1", MTU, packet, up, down, SIZE)["status"]
    assert (status == "pass") is (up is DONE and down is DONE and largest == 1450)


@pytest.mark.parametrize(
    "up, down, status, begins",
    [
        (DONE, DONE, "pass", "TCP to node w1 all"),
        (STUCK, DONE, "fail", "small packets pass, large ones do not; TCP to node w1 0 of"),
        (DONE, HALF, "fail", "a connection is made, but it stops"),
        (DONE, CLOSED, "fail", "a connection is made, but it stops"),
        (GONE, DONE, "unknown", "not tried: no answer within 5 s"),
        (DONE, {"avoided": True, "bytes": 0}, "unknown", "not tried: nobody answered"),
    ],
)
def test_a_transfer_by_the_service(up, down, status, begins):
    check = _pod_payload.service_payload_check("node", "10.105.3.7:8080", up, down, SIZE, "look at `ethtool -K eth0`.")
    assert (check["id"], check["status"]) == ("node_to_service_payload", status)
    assert check["observed"].startswith(begins)
    assert ("ethtool -K" in check["fix"]) is (status == "fail")


OWN, OTHER, NOBODY = {"avoided": True, "bytes": 0}, {**DONE, "node": "w2"}, GONE


@pytest.mark.parametrize(
    "answers, result, calls, avoiding",
    [
        # a balancer that chooses at random may choose the own pod for a while
        ([OWN] * 9 + [OTHER], OTHER, 10, 10),
        ([OWN, NOBODY, OWN, NOBODY, OTHER], OTHER, 5, 4),
        # nobody else answers: better the own pod than none, which by then is not avoided any more
        ([OWN] * 16 + [DONE], DONE, 17, 16),
        ([NOBODY] * 9, NOBODY, 4, 2),
    ],
)
def test_whose_pod_takes_a_transfer_by_the_service(monkeypatch, answers, result, calls, avoiding):
    avoided = []

    def transfer(*arguments):
        avoided.append(arguments[-1])
        return answers[len(avoided) - 1]

    monkeypatch.setattr(_pod_payload, "transfer", transfer)
    place = ("10.105.3.7", 8080, TOKEN, SIZE, 5, 15)
    assert _pod_payload.transfer_by_service("upload", *place, "w1", 4) == result
    assert avoided == ["w1"] * avoiding + [""] * (calls - avoiding)


# --- MTU of the pod


def commands(routes, rc=0):
    link = {"ifname": "eth0", "mtu": 1500, "addr_info": [{"local": "10.244.0.2"}, {"local": "fd00::2"}]}

    def run(argv, timeout):
        if "address" in argv:
            return 0, json.dumps([link]), ""
        assert argv in (["ip", "-j", "route", "show"], ["ip", "-j", "-6", "route", "show"])
        return rc, routes, "ip: failed"

    return run


@pytest.mark.parametrize(
    "address, routes, mtu",
    [
        ("10.244.0.2", "[]", 1500),
        ("10.244.0.2", "", 1500),
        ("10.244.0.2", '[{"dst": "default", "gateway": "10.244.0.1", "dev": "eth0", "metrics": [{"mtu": 1450}]}]', 1450),
        ("fd00::2", '[{"dst": "default", "dev": "eth0", "metric": 1024, "metrics": [{"hoplimit": 64}, {"mtu": 1430}]}]', 1430),
        ("10.244.0.2", "junk", None),
        ("10.244.0.9", "[]", None),
    ],
)
def test_the_mtu_of_interface_and_routes(address, routes, mtu):
    assert _pod_payload.pod_mtu(address, commands(routes))["mtu"] == mtu


def test_an_mtu_that_cannot_be_read_is_unknown():
    found = _pod_payload.pod_mtu("10.244.0.2", commands("", 1))
    assert (found["mtu"], "ip -j route show" in found["reason"]) == (None, True)
    assert [check["status"] for check in _pod_payload.mtu_check(found, 1450)] == ["unknown"]
    assert _pod_payload.mtu_check(found, 0) == []


# --- the listener


@pytest.fixture(name="ask")
def fixture_ask():
    """ask(bytes) -> what the listener answers until it closes."""

    def ask(data):
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=_pod_payload.serve_connection, args=(theirs, "w1"))
        thread.start()
        with ours:
            ours.settimeout(10)
            ours.sendall(data)
            ours.shutdown(socket.SHUT_WR)
            answer = b""
            while True:
                part = ours.recv(65536)
                if not part:
                    break
                answer += part
        thread.join(10)
        return answer

    return ask


GREETING = b"baremetal.kubernetes w1\n"


def test_the_listener_gives_and_takes(ask):
    payload = ((TOKEN + " ") * 7000).encode()[:SIZE]
    assert ask(b"") == GREETING
    assert ask(f"download {TOKEN} {SIZE}\n".encode()) == GREETING + payload
    assert ask(f"upload {TOKEN} {SIZE}\n".encode() + payload) == GREETING + hashlib.sha256(payload).hexdigest().encode() + b"\n"


@pytest.mark.parametrize(
    "request_", [b"download", f"download {TOKEN} 99999999\n".encode(), b"download ../etc 9\n", b"x" * 2000, b"upload abcdefgh 9\nshort"]
)
def test_the_listener_does_nothing_else(ask, request_):
    assert ask(request_) == GREETING


def test_what_arrives_altered_is_an_error(monkeypatch):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        for dummy in range(2):
            _pod_payload.serve_connection(listener.accept()[0], "w1")

    threading.Thread(target=serve, daemon=True).start()
    place = ("127.0.0.1", listener.getsockname()[1], TOKEN, SIZE, 5, 5)
    assert {name: value for name, value in _pod_payload.transfer("download", *place).items() if name != "ms"} == {
        "node": "w1",
        "bytes": SIZE,
    }
    real, calls = _pod_payload.pattern, []

    def pattern(token, size):
        calls.append(size)
        # client and listener are one process here: the second call is the client's or the listener's, and one differs
        return real(token, size) if len(calls) % 2 else real(token[::-1], size)

    monkeypatch.setattr(_pod_payload, "pattern", pattern)
    assert _pod_payload.transfer("download", *place)["error"] == "what arrived here is not what was sent"
    listener.close()


class Crawling:
    """A connection on which each operation is quick and brings one byte."""

    def __init__(self, data):
        self.left, self.ends = list(data), socket.socketpair()

    def settimeout(self, seconds):
        assert seconds > 0

    def fileno(self):
        return self.ends[0].fileno()

    def recv(self, size):
        time.sleep(0.01)
        return bytes([self.left.pop(0)])

    def send(self, data):
        time.sleep(0.01)
        return 1


@pytest.mark.parametrize("move", [_pod_payload._download, _pod_payload._upload])
def test_a_transfer_that_crawls_ends_in_time(move):
    data, result = _pod_payload.pattern(TOKEN, 100), {"bytes": 0}
    with pytest.raises(socket.timeout):
        move(Crawling(data), data, time.monotonic() + 0.2, result)
    assert 0 < result["bytes"] < 100


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_the_token_is_in_every_piece_of_the_payload(size, start):
    piece = _pod_payload.pattern(TOKEN, size)[start : start + 2 * len(TOKEN) + 1]
    assert len(_pod_payload.pattern(TOKEN, size)) == size
    assert len(piece) < 2 * len(TOKEN) + 1 or TOKEN.encode() in piece
