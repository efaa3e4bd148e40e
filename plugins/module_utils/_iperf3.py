# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Measure the throughput between two nodes with iperf3, and read what `iperf3 -J` writes.

What counts is what arrived (sum_received): a short test can have sent gigabits into its own buffers.
"""

from __future__ import annotations

import json
import math
import subprocess
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import NOT_FOUND, TIMED_OUT, Runner, which

PASS, WARN, FAIL, UNKNOWN = "pass", "warn", "fail", "unknown"


class Iperf3Error(Exception):
    """One sentence about an option or this node."""


# --- the parser -----------------------------------------------------------------------------------------------


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _document(text: str) -> Dict[str, Any]:
    """The JSON object in this text; ValueError with the reason."""
    start = text.find("{")
    if start < 0:
        raise ValueError("there is no JSON in this text; `iperf3 -J` writes it")
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    try:
        found, end = decoder.raw_decode(text, start)
        if isinstance(found, dict) and "event" in found and "data" in found:
            return _from_stream(decoder, text[start:])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the JSON is cut or damaged: {error}") from None
    if "{" in text[end:]:
        raise ValueError("there is more than one result in this text")
    return found


def _from_stream(decoder: json.JSONDecoder, text: str) -> Dict[str, Any]:
    """`iperf3 --json-stream` writes the parts one by one."""
    result: Dict[str, Any] = {}
    for line in text.splitlines():
        if line.strip():
            part = decoder.decode(line.strip())
            if part["event"] in ("start", "end", "error") and part["event"] not in result:
                result[part["event"]] = part["data"]
    return result


def _dict(value: Any) -> Dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> List[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> Optional[float]:
    """A number that was measured: finite and not negative."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e300 or not math.isfinite(value):
        return None
    return value


def _whole(value: Any) -> Optional[int]:
    number = _number(value)
    return None if number is None else int(number)


def _all(streams: List[Dict[str, Any]], key: str) -> List[float]:
    return [number for number in (_number(stream.get(key)) for stream in streams) if number is not None]


def parse_iperf3(text: str) -> Dict[str, Any]:
    """What a client's or server's report says; null is what it does not."""
    result: Dict[str, Any] = {
        "protocol": None,
        "sent_bps": None,
        "received_bps": None,
        "retransmits": None,
        "retransmit_percent": None,
        "lost_percent": None,
        "jitter_ms": None,
        "rtt_us": None,
        "pmtu": None,
        "seconds": None,
        "streams": None,
        "reverse": None,
        "iperf3_version": None,
        "errors": [],
    }
    try:
        document = _document(text)
    except (ValueError, KeyError, TypeError) as error:
        result["errors"].append(f"{error}.")
        return result
    if document.get("error"):
        result["errors"].append(str(document["error"]))
    start, end = _dict(document.get("start")), _dict(document.get("end"))
    test = _dict(start.get("test_start"))
    result["protocol"] = test["protocol"] if test.get("protocol") in ("TCP", "UDP", "SCTP") else None
    version = str(start.get("version") or "")
    result["iperf3_version"] = version[len("iperf ") :].strip() if version.startswith("iperf ") else None
    result["streams"] = _whole(test.get("num_streams"))
    result["reverse"] = bool(test["reverse"]) if test.get("reverse") in (0, 1) else None
    sent, received, both = _dict(end.get("sum_sent")), _dict(end.get("sum_received")), _dict(end.get("sum"))
    if result["protocol"] == "UDP":
        # until 3.10 or so there is one sum, of what the sender sent; what was lost of it the receiver has reported
        result["lost_percent"] = _number(both.get("lost_percent") if both else received.get("lost_percent"))
        result["jitter_ms"] = _number(both.get("jitter_ms") if both else received.get("jitter_ms"))
        if not sent:
            sent = both
    result["sent_bps"] = _number(sent.get("bits_per_second"))
    result["received_bps"] = _number(received.get("bits_per_second"))
    if not received and both and result["sent_bps"] is not None and result["lost_percent"] is not None and result["lost_percent"] <= 100:
        result["received_bps"] = result["sent_bps"] * (1 - result["lost_percent"] / 100)
    result["seconds"] = _number(received.get("seconds") if received else sent.get("seconds"))
    result["retransmits"] = _whole(sent.get("retransmits"))
    size, mss = _number(sent.get("bytes")), _number(start.get("tcp_mss_default"))
    if result["retransmits"] is not None and size and mss:
        result["retransmit_percent"] = round(100 * result["retransmits"] / max(1.0, size / mss), 4)
    senders = [_dict(_dict(stream).get("sender")) for stream in _list(end.get("streams"))]
    means = _all(senders, "mean_rtt")
    # 0 is what iperf3 writes where the kernel tells none
    if means and max(means) > 0:
        least, most = _all(senders, "min_rtt"), _all(senders, "max_rtt")
        result["rtt_us"] = {"min": min(least) if least else None, "avg": round(sum(means) / len(means)), "max": max(most) if most else None}
    streams = [_dict(stream) for interval in _list(document.get("intervals")) for stream in _list(_dict(interval).get("streams"))]
    result["pmtu"] = min((int(size) for size in _all(streams, "pmtu") if size >= 1), default=None)
    if result["received_bps"] is None and not result["errors"]:
        result["errors"].append("The text does not say what arrived (end.sum_received).")
    return result


# --- finding --------------------------------------------------------------------------------------------------


def _rate(bps: float) -> str:
    return f"{bps / 1e9:.2f} Gbit/s" if bps >= 1e9 else f"{bps / 1e6:.1f} Mbit/s"


def throughput_check(parsed: Mapping[str, Any], peer: str, minimum_mbit: float, retransmit_percent: float) -> Dict[str, str]:
    """Whether enough arrives, and at once."""

    def check(status: str, observed: str, fix: str = "") -> Dict[str, str]:
        return {"id": "network_throughput", "status": status, "observed": observed, "wanted": wanted, "fix": fix}

    least = f"at least {minimum_mbit:g} Mbit/s" if minimum_mbit else "something"
    wanted = f"{least} arrives at {peer}, and less than {retransmit_percent:g} % sent again"
    received, again = parsed["received_bps"], parsed["retransmit_percent"]
    if parsed["errors"] or received is None:
        fix = f"Try by hand: `iperf3 -s -1` on {peer}, then `iperf3 -J -c` with its address on this node."
        return check(UNKNOWN, f"not measured: {' '.join(parsed['errors'])}", fix)
    seen = f"{_rate(received)} arrive"
    if again is not None:
        seen += f", {parsed['retransmits']} segments ({again:g} %) sent again"
    look = "Look at `ethtool` (speed and duplex), `ethtool -S` (errors) and `ip -s link` of both nodes, and at the cable or the provider's limits."
    if received < minimum_mbit * 1e6 or received <= 0:
        return check(FAIL, seen, look)
    if again is None:
        return check(UNKNOWN, f"{seen}, how much was sent again is not known", "Use iperf3 on Linux with TCP; others do not count retransmits.")
    if again >= retransmit_percent:
        return check(WARN, seen, look)
    return check(PASS, seen)


# --- server and client ----------------------------------------------------------------------------------------


def _listens(port: int, proc: str = "/proc") -> bool:
    """Whether something listens on this TCP port here."""
    for name in ("tcp", "tcp6"):
        try:
            with open(f"{proc}/net/{name}", encoding="ascii", errors="replace") as handle:
                rows = [line.split() for line in handle.readlines()[1:]]
        except OSError:
            continue
        if any(len(row) > 3 and row[3] == "0A" and row[1].endswith(f":{port:04X}") for row in rows):
            return True
    return False


def serve(
    address: str,
    port: int,
    lifetime: int,
    start: Callable[..., "subprocess.Popen[bytes]"] = subprocess.Popen,
    find: Callable[[str], Optional[str]] = which,
    listens: Callable[[int], bool] = _listens,
    sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, Any]:
    """Start a server for one test; it ends with the test, and at the latest after its lifetime."""
    iperf3, timeout = find("iperf3"), find("timeout")
    if iperf3 is None or timeout is None:
        return {"pid": None, "error": "iperf3 is not installed on this node" if iperf3 is None else "the command timeout is not installed on this node"}
    if listens(port):
        return {"pid": None, "error": f"another process listens on port {port}"}
    nowhere = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = start([timeout, str(lifetime), iperf3, "-s", "-1", "-B", address, "-p", str(port)], start_new_session=True, cwd="/", **nowhere)
    for _try in range(100):
        if server.poll() is not None:
            return {"pid": None, "error": f"`iperf3 -s -B {address} -p {port}` ended at once with exit code {server.returncode}"}
        if listens(port):
            return {"pid": server.pid, "error": ""}
        sleep(0.1)
    server.terminate()
    return {"pid": None, "error": f"iperf3 does not listen on port {port} after 10 seconds"}


def measure(address: str, peer_address: str, port: int, seconds: int, streams: int, run: Runner) -> Tuple[Dict[str, Any], str]:
    """(parsed report, command as a person would write it)."""
    command = ["iperf3", "-J", "-c", peer_address, "-B", address, "-p", str(port), "-t", str(seconds), "-P", str(streams)]
    # connecting, the server's report, and what an emulated machine needs
    rc, out, err = run(command, seconds + 30.0)
    if rc in (NOT_FOUND, TIMED_OUT):
        parsed = parse_iperf3("{}")
        parsed["errors"] = ["iperf3 is not installed on this node." if rc == NOT_FOUND else f"iperf3 did not end within {seconds + 30} seconds."]
        return parsed, " ".join(command)
    parsed = parse_iperf3(out)
    if rc != 0 and not parsed["errors"]:
        parsed["errors"].append(f"iperf3 ended with exit code {rc}: {err.strip()[:200]}")
    elif rc != 0 and not out.strip():
        parsed["errors"] = [f"iperf3 ended with exit code {rc}: {err.strip()[:200] or 'it said nothing'}"]
    return parsed, " ".join(command)


def act(params: Dict[str, Any], run: Runner) -> Dict[str, Any]:
    """Do what the options of the module say."""
    for name, least, most in (("port", 1, 65535), ("lifetime", 1, 3600), ("seconds", 1, 300), ("streams", 1, 64)):
        if not least <= params[name] <= most:
            raise Iperf3Error(f"{name} is {params[name]}, but must be a number from {least} to {most}.")
    for name in ("minimum_mbit", "retransmit_percent"):
        if not 0 <= params[name] < 1e9:
            raise Iperf3Error(f"{name} is {params[name]}, but must be a number from 0 on.")
    if params["action"] == "serve":
        return serve(params["address"], params["port"], params["lifetime"])
    parsed, command = measure(params["address"], params["peer_address"], params["port"], params["seconds"], params["streams"], run)
    check = throughput_check(parsed, params["peer"], params["minimum_mbit"], params["retransmit_percent"])
    return {"peer": params["peer"], "command": command, "measured": parsed, "checks": [check]}
