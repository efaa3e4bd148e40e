# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of iperf3, and iperf3 itself between two network namespaces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.kubernetes.plugins.filter.parse_iperf3 import parse_iperf3
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _iperf3
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command
from ansible_collections.baremetal.kubernetes.plugins.module_utils._pod_traffic import run_inside
from ansible_collections.baremetal.kubernetes.plugins.modules import network_throughput
from hypothesis import given
from hypothesis import strategies as st


def report(**end: t.Any) -> dict[str, t.Any]:
    """10 s of TCP: 1 250 000 000 bytes are 1 Gbit/s, and 862 068.97 segments of 1450 bytes."""
    return {
        "start": {"version": "iperf 3.12", "tcp_mss_default": 1450, "test_start": {"protocol": "TCP", "num_streams": 2, "reverse": 0}},
        "intervals": [{"streams": [{"pmtu": 1500}, {"pmtu": 1400}]}, {"streams": [{"pmtu": 1500}]}],
        "end": {
            "streams": [
                {"sender": {"min_rtt": 300, "mean_rtt": 1000, "max_rtt": 5000}},
                {"sender": {"min_rtt": 200, "mean_rtt": 2000, "max_rtt": 4000}},
            ],
            "sum_sent": {"seconds": 10.0, "bytes": 1250000000, "bits_per_second": 1e9, "retransmits": 862},
            "sum_received": {"seconds": 10.04, "bytes": 1245000000, "bits_per_second": 992031872.5},
            **end,
        },
    }


def udp(**end: t.Any) -> dict[str, t.Any]:
    return {"start": {"version": "iperf 3.7", "test_start": {"protocol": "UDP", "num_streams": 1, "reverse": 1}}, "end": end}


def check(document: t.Any, minimum: float = 0, again: float = 1.0) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    return _iperf3.throughput_check(_iperf3.parse_iperf3(text), "w1", minimum, again)["status"]


def test_everything_a_tcp_report_says() -> None:
    assert parse_iperf3(json.dumps(report())) == {
        "protocol": "TCP",
        "sent_bps": 1e9,
        "received_bps": 992031872.5,
        "retransmits": 862,
        "retransmit_percent": 0.1,
        "lost_percent": None,
        "jitter_ms": None,
        "rtt_us": {"min": 200, "avg": 1500, "max": 5000},
        "pmtu": 1400,
        "seconds": 10.04,
        "streams": 2,
        "reverse": False,
        "iperf3_version": "3.12",
        "errors": [],
    }
    # templating gives the filter what the text means
    assert parse_iperf3(report()) == parse_iperf3(json.dumps(report()))


def test_udp_of_two_generations() -> None:
    old = parse_iperf3(json.dumps(udp(sum={"bits_per_second": 1000000.0, "lost_percent": 25, "jitter_ms": 0.5, "seconds": 5})))
    assert (old["protocol"], old["sent_bps"], old["received_bps"], old["lost_percent"], old["jitter_ms"]) == ("UDP", 1e6, 750000.0, 25, 0.5)
    assert (old["reverse"], old["errors"]) == (True, [])
    new = parse_iperf3(json.dumps(udp(sum_sent={"bits_per_second": 1e6}, sum_received={"bits_per_second": 9e5, "lost_percent": 10, "jitter_ms": 1})))
    assert (new["sent_bps"], new["received_bps"], new["lost_percent"], new["jitter_ms"]) == (1e6, 9e5, 10, 1)


def test_text_around_and_parts_one_by_one() -> None:
    document = report()
    assert parse_iperf3("warning: optimistic!\n" + json.dumps(document, indent=1) + "\n")["received_bps"] == 992031872.5
    stream = "\n".join(json.dumps({"event": name, "data": document[name]}) for name in ("start", "end"))
    assert parse_iperf3(stream)["received_bps"] == 992031872.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON in this text"),
        ("[ ID] Interval Transfer Bitrate", "no JSON in this text"),
        (json.dumps(report())[:-5], "cut or damaged"),
        (json.dumps(report()) + json.dumps(report()), "more than one result"),
        ('{"start": {}, "end": {}, "error": "unable to connect to server: Connection refused"}', "Connection refused"),
        (json.dumps(report(sum_received={})), "does not say what arrived"),
        (json.dumps(report(sum_received={"bits_per_second": float("nan")})), "NaN is no number"),
        (json.dumps(report(sum_received={"bits_per_second": -1})), "does not say what arrived"),
        (json.dumps(report(sum_received={"bits_per_second": True})), "does not say what arrived"),
        (json.dumps(report(sum_received={"bits_per_second": "1e9"})), "does not say what arrived"),
        ('{"event": "start", "data": {}}\n{"event": "en', "cut or damaged"),
        ('{"event": "start", "data": {}}\n5', "'int' object is not subscriptable"),
        ("{" * 100000, "cut or damaged"),
    ],
)
def test_what_is_no_report(text: str, message: str) -> None:
    parsed = parse_iperf3(text)
    assert message in parsed["errors"][0]
    assert check(text) == "unknown"


@pytest.mark.parametrize("value", [None, 5, ["{}"]])
def test_what_is_no_text(value: t.Any) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        parse_iperf3(value)
    assert "but must be text" in str(caught.value)


@given(st.text())
def test_no_text_whatsoever_is_a_pass(text: str) -> None:
    assert check(text) != "pass"


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=5)


@given(st.sampled_from(["sum_sent", "sum_received", "sum", "streams"]), _JSON | st.dictionaries(st.sampled_from(["bits_per_second", "bytes"]), _JSON))
def test_no_damaged_part_is_a_pass(part: str, value: t.Any) -> None:
    document = report(**{part: value})
    status = check(document)
    if part in ("sum", "streams"):
        # these are not what is judged
        assert status in ("pass", "unknown")
    elif part == "sum_received" and isinstance(value, dict) and isinstance(value.get("bits_per_second"), (int, float)) and value["bits_per_second"] > 0:
        assert status in ("pass", "unknown")
    else:
        assert status != "pass"


@pytest.mark.parametrize(
    ("received", "retransmits", "minimum", "status"),
    [
        # 862 068.97 segments: one of a hundred are 8620.69
        (992e6, 8620, 0, "pass"),
        (992e6, 8621, 0, "warn"),
        (992e6, 0, 992, "pass"),
        (991.9e6, 0, 992, "fail"),
        (0, 0, 0, "fail"),
        (992e6, None, 0, "unknown"),
    ],
)
def test_the_verdict(received: float, retransmits: int | None, minimum: float, status: str) -> None:
    sent = {"bytes": 1250000000, "bits_per_second": 1e9, "retransmits": retransmits}
    assert check(report(sum_sent=sent, sum_received={"bits_per_second": received}), minimum) == status


def test_what_the_finding_says() -> None:
    found = _iperf3.throughput_check(_iperf3.parse_iperf3(json.dumps(report())), "w1", 900, 1.0)
    assert found == {
        "id": "network_throughput",
        "status": "pass",
        "observed": "992.0 Mbit/s arrive, 862 segments (0.1 %) sent again",
        "wanted": "at least 900 Mbit/s arrives at w1, and less than 1 % sent again",
        "fix": "",
    }


# --- scripted commands


class Process:
    """In place of a started one."""

    def __init__(self, returncode: int | None = None) -> None:
        self.pid, self.returncode, self.terminated = 4711, returncode, False

    def poll(self) -> int | None:
        return self.returncode

    def terminate(self) -> None:
        self.terminated = True


def serve(process: Process, listening: list[bool], missing: str = "") -> tuple[dict, list]:
    started: list = []

    def start(argv: list, **more: t.Any) -> Process:
        started.append(argv)
        return process

    answers = iter(listening)

    def find(name: str) -> str | None:
        return None if name == missing else f"/usr/bin/{name}"

    found = _iperf3.serve("192.0.2.21", 5201, 60, start, find, lambda port: next(answers), lambda seconds: None)
    return found, started


def test_a_server_is_bounded() -> None:
    found, started = serve(Process(), [False, False, True])
    assert found == {"pid": 4711, "error": ""}
    assert started == [["/usr/bin/timeout", "60", "/usr/bin/iperf3", "-s", "-1", "-B", "192.0.2.21", "-p", "5201"]]


@pytest.mark.parametrize(
    ("process", "listening", "missing", "message"),
    [
        (Process(), [], "iperf3", "iperf3 is not installed on this node"),
        (Process(), [], "timeout", "the command timeout is not installed"),
        (Process(), [True], "", "another process listens on port 5201"),
        (Process(1), [False], "", "ended at once with exit code 1"),
        (Process(), [False] * 101, "", "does not listen on port 5201 after 10 seconds"),
    ],
)
def test_no_server(process: Process, listening: list[bool], missing: str, message: str) -> None:
    found, started = serve(process, listening, missing)
    assert found["pid"] is None
    assert message in found["error"]
    assert process.terminated == ("after 10 seconds" in message)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((127, "", "iperf3: command not found"), "iperf3 is not installed on this node."),
        ((124, "", ""), "iperf3 did not end within 35 seconds."),
        ((1, '{"error": "error - unable to connect to server: Connection timed out"}', ""), "unable to connect to server: Connection timed out"),
        ((1, json.dumps(report()), "broken pipe"), "iperf3 ended with exit code 1: broken pipe"),
        ((-9, "", ""), "iperf3 ended with exit code -9: it said nothing"),
    ],
)
def test_a_measurement_that_failed_is_unknown(answer: tuple, message: str) -> None:
    parsed, command = _iperf3.measure("192.0.2.11", "192.0.2.21", 5201, 5, 1, lambda argv, timeout: answer)
    assert command == "iperf3 -J -c 192.0.2.21 -B 192.0.2.11 -p 5201 -t 5 -P 1"
    assert message in " ".join(parsed["errors"])
    assert _iperf3.throughput_check(parsed, "w1", 0, 1)["status"] == "unknown"


# --- the module


def run(capsys: pytest.CaptureFixture[str], **arguments: t.Any) -> dict:
    with patch_module_args({"address": "192.0.2.11", **arguments}):
        with pytest.raises(SystemExit):
            network_throughput.main()
    return json.loads(capsys.readouterr().out)


def test_the_module_measures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_throughput, "run_command", lambda argv, timeout: (0, json.dumps(report()), ""))
    result = run(capsys, action="measure", peer="w1", peer_address="192.0.2.21", minimum_mbit=900, _ansible_check_mode=True)
    assert (result["changed"], result["peer"], result["measured"]["retransmits"], result["checks"][0]["status"]) == (False, "w1", 862, "pass")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action": "measure"}, "peer"),
        ({"action": "serve", "port": 0}, "port is 0, but must be a number from 1 to 65535."),
        ({"action": "serve", "lifetime": 0}, "lifetime is 0"),
        ({"action": "measure", "peer": "w1", "peer_address": "192.0.2.21", "minimum_mbit": -1}, "minimum_mbit is -1"),
    ],
)
def test_refused_options(capsys: pytest.CaptureFixture[str], arguments: dict, message: str) -> None:
    result = run(capsys, **arguments)
    assert result["failed"]
    assert message in result["msg"]


# --- the real program


def ip(*words: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    if check and done.returncode:
        pytest.skip(f"ip {' '.join(words)}: {done.stderr.strip()}")


@pytest.fixture(name="pair")
def fixture_pair() -> t.Iterator[list[str]]:
    """Two namespaces with a cable between them."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("iperf3"):
        pytest.skip("needs root, iproute2 and iperf3")
    names = [f"i{os.getpid()}-{number}" for number in (1, 2)]
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", names[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", names[1])
        for number, name in enumerate(names, 1):
            ip("-n", name, "addr", "add", f"192.0.2.{number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        yield [f"/run/netns/{name}" for name in names]
    finally:
        for name in names:
            ip("netns", "del", name, check=False)


def test_iperf3_itself(pair: list[str]) -> None:
    first, second = pair

    def measure() -> list:
        return list(_iperf3.measure("192.0.2.1", "192.0.2.2", 5201, 1, 1, run_command))

    # nobody listens
    parsed, dummy = run_inside(first, measure, 60)
    assert "Connection refused" in parsed["errors"][0]
    server = run_inside(second, lambda: _iperf3.serve("192.0.2.2", 5201, 30), 30)
    assert server["error"] == ""
    assert "another process listens" in run_inside(second, lambda: _iperf3.serve("192.0.2.2", 5201, 30), 30)["error"]
    parsed, dummy = run_inside(first, measure, 60)
    assert (parsed["errors"], parsed["protocol"], parsed["streams"], parsed["reverse"]) == ([], "TCP", 1, False)
    assert parsed["received_bps"] > 1e6
    assert parsed["pmtu"] == 1500
    assert _iperf3.throughput_check(parsed, "w1", 1, 100.1)["status"] == "pass"
    # it served once
    end = time.monotonic() + 10
    while os.path.exists(f"/proc/{server['pid']}") and time.monotonic() < end:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{server['pid']}") or open(f"/proc/{server['pid']}/stat", encoding="utf-8").read().rpartition(")")[2].split()[0] == "Z"


def test_a_server_that_nobody_calls_ends(pair: list[str]) -> None:
    server = run_inside(pair[1], lambda: _iperf3.serve("192.0.2.2", 5201, 1), 30)
    assert server["error"] == ""
    end = time.monotonic() + 10
    while time.monotonic() < end and run_inside(pair[1], lambda: _iperf3._listens(5201), 30):
        time.sleep(0.1)
    assert not run_inside(pair[1], lambda: _iperf3._listens(5201), 30)


def test_udp_of_iperf3_itself(pair: list[str]) -> None:
    assert run_inside(pair[1], lambda: _iperf3.serve("192.0.2.2", 5201, 30), 30)["error"] == ""
    rc, out, dummy = run_inside(pair[0], lambda: list(run_command(["iperf3", "-J", "-u", "-b", "2M", "-c", "192.0.2.2", "-t", "1"], 60)), 90)
    assert rc == 0
    parsed = parse_iperf3(out)
    assert (parsed["protocol"], parsed["errors"], parsed["retransmits"]) == ("UDP", [], None)
    assert 1e6 < parsed["received_bps"] < 3e6
    assert 0 <= parsed["lost_percent"] <= 100
