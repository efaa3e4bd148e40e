# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""The table of tracked connections: how full it is, and what the kernel threw away between two samples."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import NOT_FOUND, Runner
from ansible_collections.baremetal.kubernetes.plugins.module_utils._node_state import read_text
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import (
    CONNTRACK_DROPS,
    CONNTRACK_INSERT_FAILED,
    CONNTRACK_USED,
    FAIL,
    PASS,
    UNKNOWN,
    Check,
    Unreadable,
    check,
    judge,
    worst,
)

SYSCTLS = "proc/sys/net/netfilter"
STATISTICS = "proc/net/stat/nf_conntrack"
COUNTERS = ("drop", "early_drop", "insert_failed")
# Only a bound: each takes milliseconds, on an overloaded machine seconds.
COMMAND_TIMEOUT = 20.0


def parse_statistics(text: str) -> Dict[str, int]:
    """Sum the counters of all CPUs in /proc/net/stat/nf_conntrack: names in the first line, then hexadecimal numbers."""
    lines = [line.split() for line in text.splitlines() if line.split()]
    if len(lines) < 2:
        raise Unreadable("the kernel's statistics of connections have no numbers")
    names, rows = lines[0], lines[1:]
    totals = {}
    for name in COUNTERS:
        if names.count(name) != 1:
            raise Unreadable(f"the kernel's statistics of connections have no column {name}")
        column = names.index(name)
        try:
            values = [int(row[column], 16) for row in rows if len(row) == len(names)]
        except ValueError:
            values = []
        if len(values) != len(rows) or min(values) < 0:
            raise Unreadable("the kernel's statistics of connections have a line that cannot be read")
        totals[name] = sum(values)
    return totals


def parse_conntrack_s(text: str) -> Dict[str, int]:
    """Sum the counters of all CPUs in the output of ``conntrack -S``, whose columns differ by version."""
    totals = dict.fromkeys(COUNTERS, 0)
    rows = [line.split() for line in text.splitlines() if line.strip().startswith("cpu=")]
    if not rows:
        raise Unreadable("conntrack -S shows no line of a CPU")
    for row in rows:
        values = dict(word.split("=", 1) for word in row if "=" in word)
        for name in COUNTERS:
            # isascii: a digit of another alphabet is no number that a program prints
            if not (values.get(name, "").isdigit() and values[name].isascii()):
                raise Unreadable(f"conntrack -S has a line without the number {name}")
            totals[name] += int(values[name])
    return totals


def _number(root: str, name: str) -> Optional[int]:
    text = (read_text(os.path.join(root, SYSCTLS, name)) or "").strip()
    return int(text) if text.isascii() and text.isdigit() else None


def tracking(root: str) -> bool:
    """Whether the kernel tracks connections at all: the module is loaded or built in."""
    return os.path.exists(os.path.join(root, SYSCTLS, "nf_conntrack_max"))


def read_counters(run: Runner, root: str = "/") -> Dict[str, int]:
    """The counters since boot; without a process where the kernel has the file."""
    text = read_text(os.path.join(root, STATISTICS))
    if text is not None:
        return parse_statistics(text)
    code, out, err = run(["conntrack", "-S"], COMMAND_TIMEOUT)
    if code == NOT_FOUND:
        raise Unreadable(f"/{STATISTICS} does not exist and conntrack is not installed")
    if code != 0:
        raise Unreadable(f"conntrack -S ended with return code {code}: {' '.join((err or out).split())[:200]}")
    return parse_conntrack_s(out)


def read_sample(run: Runner, root: str = "/", now: Callable[[], float] = time.monotonic) -> Dict[str, Any]:
    """count, max, buckets, counters and their time; what cannot be read is null with the reason for the counters."""
    sample: Dict[str, Any] = {"tracking": tracking(root), "counters": None, "reason": ""}
    for key, name in (("count", "nf_conntrack_count"), ("max", "nf_conntrack_max"), ("buckets", "nf_conntrack_buckets")):
        sample[key] = _number(root, name)
    if sample["tracking"]:
        try:
            sample["counters"] = read_counters(run, root)
        except (Unreadable, OSError) as error:
            sample["reason"] = str(error)
    else:
        sample["reason"] = "the kernel module nf_conntrack is not loaded"
    sample["time"] = now()
    return sample


def rates(first: Dict[str, Any], second: Dict[str, Any]) -> Dict[str, Any]:
    """{rates: per second or null, totals: since boot or null, seconds, reason}."""
    seconds = second["time"] - first["time"]
    result: Dict[str, Any] = {"rates": None, "totals": second["counters"], "seconds": round(seconds, 3), "reason": second["reason"] or first["reason"]}
    if first["counters"] is None or second["counters"] is None:
        return result
    grown = {name: second["counters"][name] - first["counters"][name] for name in COUNTERS}
    if seconds <= 0:
        result["reason"] = "no time passed between the two samples"
    elif min(grown.values()) < 0:
        result["reason"] = "a counter went backwards between the two samples"
    else:
        result["rates"] = {name: round(value / seconds, 3) for name, value in grown.items()}
    return result


def headroom_check(sample: Dict[str, Any]) -> Check:
    """How full the table is."""
    identifier = "conntrack_headroom"
    wanted = f"less than {CONNTRACK_USED.warn:.0%} of the largest number of tracked connections"
    if not sample["tracking"]:
        return check(identifier, PASS, "No connection is tracked yet: nf_conntrack is not loaded.", wanted)
    count, largest = sample["count"], sample["max"]
    if count is None or largest is None:
        fix = f"Run `cat /{SYSCTLS}/nf_conntrack_count /{SYSCTLS}/nf_conntrack_max` on the node and see why it cannot be read."
        return check(identifier, UNKNOWN, "nf_conntrack_count or nf_conntrack_max cannot be read.", wanted, fix)
    if largest == 0:
        fix = "Set it with `sysctl -w net.netfilter.nf_conntrack_max=131072`, and find the file in /etc/sysctl.d that sets 0."
        return check(identifier, FAIL, "nf_conntrack_max is 0.", wanted, fix)
    observed = f"{count} of {largest} connections ({count / largest:.1%})."
    fix = (
        "See who makes them (`conntrack -L -o extended | head`, package conntrack); raise net.netfilter.nf_conntrack_max, or for a node of a cluster "
        "kernel_conntrack_max (role kernel)."
    )
    return check(identifier, judge(count / largest, CONNTRACK_USED), observed, wanted, fix)


def drops_check(sample: Dict[str, Any], measured: Dict[str, Any]) -> Check:
    """What was thrown away."""
    identifier = "conntrack_drops"
    wanted = f"no early_drop, no more drop than insert_failed, fewer than {CONNTRACK_INSERT_FAILED.warn:g} insert_failed per second"
    if not sample["tracking"]:
        return check(identifier, PASS, "No connection is tracked yet: nf_conntrack is not loaded.", wanted)
    if measured["rates"] is None:
        fix = "Install conntrack (Debian, Ubuntu) or conntrack-tools (EL), then run again; two samples with some seconds between them are needed."
        return check(identifier, UNKNOWN, f"The counters of dropped connections are not known: {measured['reason'] or 'no reason given'}.", wanted, fix)
    found = measured["rates"]
    # A lost race counts as insert_failed and as drop; what is left of drop had no place in the table.
    lost = max(found["drop"] - found["insert_failed"], 0) + found["early_drop"]
    status = worst([judge(lost, CONNTRACK_DROPS), judge(found["insert_failed"], CONNTRACK_INSERT_FAILED)])
    observed = (
        f"Per second: drop {found['drop']:g}, early_drop {found['early_drop']:g}, insert_failed {found['insert_failed']:g} "
        f"(over {measured['seconds']:.1f} s; since boot {', '.join(f'{name} {value}' for name, value in measured['totals'].items())})."
    )
    fix = (
        "early_drop, or more drop than insert_failed: the table is or was full, see conntrack_headroom. insert_failed: many packets race for one entry, "
        "often DNS over UDP. Watch them with `watch conntrack -S` on the node."
    )
    return check(identifier, status, observed, wanted, fix)


def fuller(samples: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """The sample with more connections; a count that is not known counts for nothing."""
    return max(samples, key=lambda sample: -1 if sample["count"] is None else sample["count"])


def checks(first: Dict[str, Any], second: Dict[str, Any]) -> List[Check]:
    """Both findings; the fuller of the two samples counts."""
    return [headroom_check(fuller([first, second])), drops_check(second, rates(first, second))]


def verdict(found: Sequence[Check]) -> str:
    """The worst of the findings."""
    return worst(item["status"] for item in found)


def status(
    run: Runner,
    seconds: float,
    root: str = "/",
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, Any]:
    """Two samples with the given time between them."""
    first = read_sample(run, root, now)
    if seconds > 0 and first["tracking"]:
        sleep(seconds)
    second = read_sample(run, root, now)
    if seconds <= 0:
        second["time"] = first["time"]
    found = checks(first, second)
    return {
        **{key: second[key] for key in ("tracking", "count", "max", "buckets")},
        **rates(first, second),
        "checks": found,
        "verdict": verdict(found),
    }
