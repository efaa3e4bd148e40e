# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What the HTML page of a preflight report shows: geometry, words and symbols, every text escaped.

Ansible turns Jinja's own escaping off, so texts that come from nodes are escaped here, all of them and once; the template adds nothing.
"""

from __future__ import annotations

import html
import math
import re
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._preflight_report import (
    CLUSTER,
    STATUSES,
    clean,
    grouped,
    sentence,
)

SYMBOLS = {"fail": "✗", "unknown": "?", "warn": "!", "pass": "✓"}
WORDS = {"fail": "fail", "unknown": "unknown", "warn": "warning", "pass": "pass"}
_HEADS = {"fail": "Must be fixed", "unknown": "Could not be told: find out", "warn": "Should be looked at"}

# from this many hosts on, cells hold one character
_WIDE = 12
_LISTED_PAIRS = 200

# one chart: outer size, and the plot inside of it
_WIDTH, _HEIGHT = 330, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 22, 12, 30
_PERCENTILES = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99)

# upper ends in microseconds of the steps of round trip times
_RTT_STEPS = (250, 500, 1000, 2000, 5000, 10000)

_OPEN = {"open", "answered"}
_BLOCKED = {"refused", "timeout", "silent", "unreachable"}


def _number(value: t.Any) -> t.Optional[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _short(number: float) -> str:
    """Three digits are enough to compare by eye: 0.35, 1.2, 14, 140."""
    return f"{number:.2f}" if number < 1 else f"{number:.1f}" if number < 10 else f"{number:.0f}"


def _milliseconds(microseconds: float) -> str:
    return f"{_short(microseconds / 1000)} ms"


def segments(text: str) -> t.List[t.Dict[str, t.Any]]:
    """Texts, and the commands in them that are between back quotes."""
    parts = re.split(r"`([^`]+)`", text)
    return [{"text": part, "code": bool(index % 2)} for index, part in enumerate(parts) if part]


# --- fio


def _across(percentile: float) -> float:
    """Logarithmic in what is left above a percentile, so that 90, 99, 99.9 are equally far apart."""
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(-math.log10(max(1 - percentile / 100, 1e-9)), 4.0) / 4.0


def curves(report: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """One chart for each measured host, all with the same axes, so that they can be compared."""
    measured = []
    for name, host in report["hosts"].items():
        fio = host["fio"]
        if not fio:
            continue
        points = []
        for key, value in (fio.get("percentiles_us") or {}).items():
            number = _number(value)
            if number is not None and re.fullmatch(r"[0-9]{1,3}(?:\.[0-9]+)?", str(key)) and float(key) < 100:
                points.append((float(key), max(number, 1.0)))
        if points:
            measured.append((name, host, fio, sorted(points)))
    if not measured:
        return {"charts": [], "limit": ""}
    limit = (_number(measured[0][2].get("limit_ms")) or 10.0) * 1000
    values = [value for _name, _host, _fio, points in measured for _percentile, value in points]
    low = math.floor(math.log10(min(*values, limit / 10)))
    high = math.ceil(math.log10(max(*values, limit * 2)))

    def down(value: float) -> float:
        share = (math.log10(value) - low) / (high - low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(max(share, 0.0), 1.0)

    charts = []
    for name, host, fio, points in measured:
        p99 = _number(fio.get("p99_us"))
        status = next((check["status"] for check in host["checks"] if check["id"] == "etcd_disk"), "unknown")
        filesystem = fio.get("filesystem") or {}
        told = [
            f"{clean(filesystem.get('mount'))} ({clean(filesystem.get('type'))} on {clean(filesystem.get('device'))})" if filesystem else "",
            f"{fio['samples']} syncs" if fio.get("samples") else "",
            f"{_short(float(fio['iops']))} per second" if _number(fio.get("iops")) else "",
            f"median of {len(fio['runs'])} runs" if isinstance(fio.get("runs"), list) and len(fio["runs"]) > 1 else "",
            f"fio {clean(fio['fio_version'])}" if fio.get("fio_version") else "",
        ]
        charts.append(
            {
                "host": name,
                "status": status,
                "symbol": SYMBOLS[status],
                "word": WORDS[status],
                "p99": _milliseconds(p99) if p99 is not None else "not measured",
                "told": ", ".join(text for text in told if text),
                "line": " ".join(f"{_across(percentile):.1f},{down(value):.1f}" for percentile, value in points),
                "dot": {"x": f"{_across(99):.1f}", "y": f"{down(max(p99, 1.0)):.1f}"} if p99 is not None else None,
            }
        )
    return {
        "charts": charts,
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "top": _TOP,
        "bottom": _HEIGHT - _BOTTOM,
        "limit": f"{limit / 1000:g} ms",
        "limit_y": f"{down(limit):.1f}",
        "columns": [{"x": f"{_across(percentile):.1f}", "text": f"{percentile:g}"} for percentile in _PERCENTILES],
        "rows": [
            {"y": f"{down(10.0**power):.1f}", "text": f"{10.0**power / 1000:g} ms"} for power in range(low, high + 1)
        ],
    }


# --- heat maps


class _Pair(t.NamedTuple):
    asked: bool
    total: int
    blocked: t.List[str]
    unknown: t.List[str]
    rtt: t.Optional[float]
    mtu: t.Optional[int]


def _pair(data: t.Mapping[str, t.Any]) -> _Pair:
    ports = [(f"{port}/{protocol}", status) for protocol in ("tcp", "udp") for port, status in (data.get(protocol) or {}).items()]
    if data.get("ipip") is not None:
        ports.append(("IP-in-IP", data["ipip"]))
    blocked = [clean(f"{port} {status}") for port, status in ports if status in _BLOCKED]
    unknown = [clean(port) for port, status in ports if status not in _BLOCKED | _OPEN]
    rtt, mtu = _number((data.get("rtt_us") or {}).get("avg")), _number(data.get("path_mtu"))
    asked = bool(ports) or rtt is not None or mtu is not None
    return _Pair(asked, len(ports), blocked, unknown, rtt, None if mtu is None else int(mtu))


def _ports_cell(pair: _Pair, compact: bool) -> t.Dict[str, str]:
    if pair.blocked:
        return {"kind": "fail", "text": "✗" if compact else f"✗ {len(pair.blocked)}", "title": ", ".join(pair.blocked)}
    if pair.unknown or not pair.asked:
        title = ", ".join(pair.unknown) or "not asked"
        return {"kind": "unknown", "text": "?" if compact else f"? {len(pair.unknown) or ''}".strip(), "title": title}
    if not pair.total:
        return {"kind": "same", "text": "–", "title": ""}
    return {"kind": "pass", "text": "✓" if compact else f"✓ {pair.total}", "title": ""}


def _rtt_cell(pair: _Pair, compact: bool) -> t.Dict[str, str]:
    if pair.rtt is None:
        return {"kind": "unknown", "text": "?", "title": "no answer came back"}
    step = sum(pair.rtt >= end for end in _RTT_STEPS) + 1
    return {"kind": f"r{step}", "text": str(step) if compact else _short(pair.rtt / 1000), "title": _milliseconds(pair.rtt)}


def _maps(matrix: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, t.Any]]:
    hosts = [clean(name) for name in matrix["hosts"]]
    pairs = {(clean(entry[0]), clean(entry[1])): _pair(entry[2]) for entry in matrix["pairs"]}
    compact = len(hosts) > _WIDE
    sizes = sorted({pair.mtu for pair in pairs.values() if pair.mtu is not None}, reverse=True)
    letters = {size: chr(ord("A") + index) if index < 26 else "Z" for index, size in enumerate(sizes)}

    def mtu_cell(pair: _Pair, compact: bool) -> t.Dict[str, str]:
        if pair.mtu is None:
            return {"kind": "unknown", "text": "?", "title": "not measured"}
        kind = "same" if pair.mtu == sizes[0] else "less"
        text = letters[pair.mtu] if compact else str(pair.mtu)
        return {"kind": kind, "text": text, "title": f"{pair.mtu} bytes" if kind == "less" else ""}

    def mtu_legend(size: int) -> t.Tuple[str, str, str]:
        largest = size == sizes[0]
        words = f"{size} bytes" if compact else "largest seen" if largest else "less than the largest"
        return "same" if largest else "less", letters[size] if compact else str(size), words

    def table(
        name: str, title: str, told: str, cell: t.Callable[[_Pair, bool], t.Dict[str, str]], legend: t.List[t.Tuple[str, str, str]]
    ) -> t.Dict[str, t.Any]:
        rows = []
        for source in hosts:
            cells = []
            for target in hosts:
                if source == target:
                    cells.append({"kind": "self", "text": "·", "title": ""})
                elif (source, target) not in pairs:
                    cells.append({"kind": "unknown", "text": "?", "title": "not tried"})
                else:
                    cells.append(cell(pairs[source, target], compact))
            rows.append({"host": source, "cells": cells})
        return {
            "name": name,
            "title": title,
            "told": told,
            "hosts": hosts,
            "rows": rows,
            "compact": compact,
            "legend": [{"kind": kind, "text": text, "meaning": meaning} for kind, text, meaning in legend],
        }

    ends = ["0", *(f"{end / 1000:g}" for end in _RTT_STEPS)]
    steps = [(f"r{index + 1}", str(index + 1), f"{ends[index]} to {ends[index + 1]} ms") for index in range(len(_RTT_STEPS))]
    steps.append((f"r{len(_RTT_STEPS) + 1}", str(len(_RTT_STEPS) + 1), f"{ends[-1]} ms and more"))
    seen = {f"r{sum(pair.rtt >= end for end in _RTT_STEPS) + 1}" for pair in pairs.values() if pair.rtt is not None}
    number = "" if compact else " and how many ports"
    return [
        table(
            "ports",
            "Ports",
            "What the node of the row needs of the node of the column.",
            _ports_cell,
            [
                ("pass", "✓", f"all open{number}"),
                ("fail", "✗", f"blocked{number}"),
                ("unknown", "?", f"could not be told{number}"),
                ("same", "–", "none needed"),
            ],
        ),
        table(
            "mtu",
            "Path MTU",
            "The largest packet, in bytes, that gets through undivided.",
            mtu_cell,
            [mtu_legend(size) for size in sizes]
            + [("unknown", "?", "could not be told")],
        ),
        table(
            "rtt",
            "Round trip time",
            "Mean of the answered probes" + ("." if compact else ", in milliseconds."),
            _rtt_cell,
            [step if compact else (step[0], "", step[2]) for step in steps if step[0] in seen] + [("unknown", "?", "no answer came back")],
        ),
    ]


def _bad_pairs(matrix: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Which ports of which pair, in words: the maps only count them."""
    lines = []
    for source, target, data in matrix["pairs"]:
        pair = _pair(data)
        if pair.blocked or pair.unknown:
            lines.append({"from": clean(source), "to": clean(target), "blocked": ", ".join(pair.blocked), "unknown": ", ".join(pair.unknown)})
    lines.sort(key=lambda line: not line["blocked"])
    return {"lines": lines[:_LISTED_PAIRS], "more": max(len(lines) - _LISTED_PAIRS, 0)}


# --- the whole page


def _findings(checks: t.Iterable[t.Mapping[str, t.Any]]) -> t.List[t.Dict[str, t.Any]]:
    return [
        {
            "id": check["id"],
            "status": check["status"],
            "symbol": SYMBOLS[check["status"]],
            "word": WORDS[check["status"]],
            "observed": check["observed"],
            "wanted": check["wanted"],
            "fix": segments(check["fix"]),
        }
        for check in checks
    ]


def _todo(report: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, t.Any]]:
    sections, number = [], 0
    groups = grouped(report["next"])
    for status in STATUSES[:-1]:
        items = []
        for group in groups:
            if group["status"] != status:
                continue
            number += 1
            items.append(
                {
                    "number": number,
                    "id": group["id"],
                    "where": "between nodes" if group["hosts"] == [CLUSTER] else group["hosts"],
                    "seen": [{"text": text, "hosts": hosts} for text, hosts in group["seen"].items()],
                    "wanted": group["wanted"],
                    "fix": segments(group["fix"]),
                }
            )
        if items:
            sections.append({"status": status, "symbol": SYMBOLS[status], "head": _HEADS[status], "entries": items, "start": items[0]["number"]})
    return sections


def _fact_text(value: t.Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(clean(item) for item in value)
    return clean(value)


def escaped(value: t.Any) -> t.Any:
    """The same with every text safe inside of an element and of a quoted attribute."""
    if isinstance(value, str):
        return html.escape(value, quote=True)
    if isinstance(value, t.Mapping):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [escaped(item) for item in value]
    return value


def page(report: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Everything that the template shows."""
    hosts = report["hosts"]
    kind = report["verdict"]
    matrix = report["matrix"]
    lowered: t.Dict[str, t.List[str]] = {}
    for entry in report["lowered"]:
        lowered.setdefault(entry["id"], []).append(entry["host"])
    control_planes = sum("control_plane" in host["groups"] for host in hosts.values())
    return escaped(
        {
            "cluster": report["cluster"],
            "verdict": kind,
            "symbol": SYMBOLS[kind],
            "sentence": sentence(report),
            "about": [
                {"name": name, "text": text}
                for name, text in (
                    ("Cluster", report["cluster"]),
                    ("Kubernetes", report["kubernetes_version"]),
                    ("Pod network", report["cni"]),
                    ("Proxy mode", report["proxy_mode"]),
                    ("Nodes", f"{len(hosts)}, {control_planes} of them control plane" + ("s" if control_planes != 1 else "")),
                    ("Looked at", report["created"]),
                )
            ],
            "counts": [{"status": status, "symbol": SYMBOLS[status], "word": WORDS[status], "number": report["counts"][status]} for status in STATUSES],
            "todo": _todo(report),
            "lowered": [{"id": name, "hosts": ", ".join(names)} for name, names in lowered.items()],
            "fio": curves(report),
            "maps": _maps(matrix) if matrix and matrix["pairs"] else [],
            "bad_pairs": _bad_pairs(matrix) if matrix else {"lines": [], "more": 0},
            "pod_mtu": clean(matrix.get("pod_mtu")) if matrix else "",
            "mtu_setting": {name: clean((matrix.get("mtu_setting") or {}).get(name)) for name in ("name", "value")} if matrix else {"name": "", "value": ""},
            "throughput": [
                {
                    "from": entry["from"],
                    "to": entry["to"],
                    "mbit": "?" if entry["mbit"] is None else _short(entry["mbit"]),
                    "retransmits": "?" if entry["retransmits"] is None else clean(entry["retransmits"]),
                }
                for entry in report["throughput"]
            ],
            "single": len(hosts) == 1,
            "cluster_checks": _findings(report["cluster_checks"]),
            "hosts": [
                {
                    "name": name,
                    "node_ip": host["node_ip"],
                    "groups": ", ".join(host["groups"]),
                    "status": host["status"],
                    "symbol": SYMBOLS[host["status"]],
                    "word": WORDS[host["status"]],
                    "counts": ", ".join(
                        f"{number} {WORDS[status]}"
                        for status in STATUSES
                        for number in [sum(check["status"] == status for check in host["checks"])]
                        if number
                    ),
                    "facts": [{"name": clean(key).replace("_", " "), "text": _fact_text(value)} for key, value in host["facts"].items()],
                    "checks": _findings(host["checks"]),
                }
                for name, host in hosts.items()
            ],
        }
    )
