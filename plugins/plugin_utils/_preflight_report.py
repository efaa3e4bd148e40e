# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Merges what the preflight found on each node and between nodes into one report; the console's table of it."""

from __future__ import annotations

import re
import textwrap
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _preflight_checks
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import ORDER as STATUSES
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import worst
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cross_node, _matrix

SCHEMA = 1
RANK = {status: rank for rank, status in enumerate(STATUSES)}

# Each check with what a pass means, in the order in which to mend what does not pass: the machine, its system and kernel, its network,
# then what is between the nodes, the disk last. The README of role preflight has the same list; a test compares them.
CHECKS: t.Dict[str, str] = {
    "node_answered": "The node was reached and looked at.",
    **{entry.identifier: entry.means for entry in _preflight_checks.CHECKS},
    **_cross_node.CHECKS,
    **_matrix.CHECKS,
    "network_throughput": "Enough arrives at the next node, and little has to be sent again.",
    "etcd_disk": "The disk that will hold etcd syncs fast enough: p99 of fdatasync below the limit.",
}
CLUSTER = "cluster"

Check = t.Dict[str, t.Any]

# What a terminal or a browser would act on; a line break in a finding becomes a space.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
_LONGEST = 4000


class ReportError(Exception):
    """The input cannot be made into a report."""


def clean(value: t.Any) -> str:
    """One line of text, whatever a node sent."""
    text = _CONTROL.sub(" ", "" if value is None else str(value)).strip()
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def natural(name: str) -> t.List[t.Any]:
    """Key that sorts w2 before w10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"([0-9]+)", name) if part]


def severity_problems(severity: t.Any) -> t.List[str]:
    """What is wrong with preflight_severity, one sentence each."""
    if not isinstance(severity, t.Mapping):
        return [f"preflight_severity is {severity!r}, but must be a dict of check ids, such as {{etcd_disk: warn}}."]
    problems = []
    for name, value in severity.items():
        if name not in CHECKS:
            problems.append(f"preflight_severity names {name!r}, which is no check; the README of role preflight lists all of them.")
        elif value != "warn":
            problems.append(f"preflight_severity.{name} is {value!r}, but a failure can only be lowered to 'warn'.")
    return problems


def normalized(found: t.Any) -> Check:
    """A check in the one shape. What has another status than the four, or none, is unknown."""
    entry = found if isinstance(found, t.Mapping) else {"observed": f"a finding that cannot be read: {found!r}"}
    check: Check = {key: clean(entry.get(key)) for key in ("id", "status", "observed", "wanted", "fix")}
    check["id"] = check["id"] or "no_id"
    if check["status"] not in RANK:
        check["observed"] = clean(f"{check['observed']} (status {check['status'] or 'missing'})")
        check["status"] = "unknown"
    if isinstance(entry.get("hosts"), (list, tuple)):
        check["hosts"] = [clean(host) for host in entry["hosts"]]
    return check


def _unknown(name: str, observed: str, wanted: str, fix: str) -> Check:
    return {"id": name, "status": "unknown", "observed": observed, "wanted": wanted, "fix": fix}


def _order(check: Check) -> t.Tuple[int, int, str]:
    ids = list(CHECKS)
    return RANK[check["status"]], ids.index(check["id"]) if check["id"] in CHECKS else len(ids), check["id"]


class _Report:
    def __init__(self, inputs: t.Mapping[str, t.Any]) -> None:
        self.inputs = inputs
        self.severity: t.Mapping[str, str] = inputs.get("severity") or {}
        problems = severity_problems(self.severity)
        if problems:
            raise ReportError(" ".join(problems))
        self.control_plane = list(inputs.get("control_plane") or [])
        self.workers = list(inputs.get("workers") or [])
        # inventory name to its name in the report
        self.names = {name: clean(name) for name in sorted({*self.control_plane, *self.workers}, key=natural)}
        if not self.names:
            raise ReportError("There is no host to report about.")
        self.lowered: t.List[t.Dict[str, str]] = []

    def judged(self, host: str, found: t.Iterable[t.Any]) -> t.List[Check]:
        """Severities applied, worst first. Only a failure is lowered: what is unknown stays unknown."""
        checks = []
        for item in found:
            check = normalized(item)
            if check["status"] == "fail" and check["id"] in self.severity:
                self.lowered.append({"id": check["id"], "host": host, "from": "fail", "to": "warn"})
                check["status"] = "warn"
            checks.append(check)
        return sorted(checks, key=_order)

    def of(self, source: str, name: str) -> t.Mapping[str, t.Any]:
        """What one source has of a host; nothing is an empty result."""
        result = (self.inputs.get(source) or {}).get(name)
        return result if isinstance(result, t.Mapping) else {}

    def host(self, name: str) -> t.Dict[str, t.Any]:
        node, disk = self.of("nodes", name), self.of("disks", name)
        found: t.List[t.Any] = []
        if isinstance(node.get("checks"), (list, tuple)) and node["checks"]:
            found.append({"id": "node_answered", "status": "pass", "observed": "answered", "wanted": "every node of the inventory is looked at", "fix": ""})
            found += node["checks"]
        else:
            found.append(
                _unknown(
                    "node_answered",
                    clean(node.get("msg")) or "nothing came back from this node",
                    "every node of the inventory is looked at",
                    f"Run without --limit, and see that `ansible {name} -m ansible.builtin.ping` answers.",
                )
            )
        for source in ("cross", "matrix"):
            found += ((self.inputs.get(source) or {}).get("hosts") or {}).get(name) or []
        found += self.of("throughput", name).get("checks") or []
        if disk.get("checks"):
            found += disk["checks"]
        elif name in self.control_plane:
            found.append(
                _unknown(
                    "etcd_disk",
                    clean(disk.get("msg")) or "the disk was not measured",
                    "a measured p99 of fdatasync on the disk that will hold etcd",
                    "Set `preflight_etcd_disk: true` and run `ansible-playbook playbooks/preflight.yml` again.",
                )
            )
        checks = self.judged(self.names[name], found)
        return {
            "groups": [group for group in ("control_plane", "workers") if name in self.inputs.get(group, ())],
            "node_ip": clean((self.inputs.get("node_ips") or {}).get(name)),
            "status": worst(check["status"] for check in checks),
            "checks": checks,
            "facts": node.get("facts") or {},
            "fio": self.fio(disk),
        }

    def fio(self, disk: t.Mapping[str, t.Any]) -> t.Optional[t.Dict[str, t.Any]]:
        """What the chart needs of a measurement; the limits are those of this run."""
        if not disk.get("percentiles_us"):
            return None
        names = ("p99_us", "percentiles_us", "iops", "samples", "runs", "fio_version", "filesystem", "verdict")
        return {**{name: disk.get(name) for name in names}, "limit_ms": self.inputs.get("limit_ms"), "warn_ms": self.inputs.get("warn_ms")}

    def cluster(self) -> t.List[Check]:
        found: t.List[t.Any] = []
        for source in ("cross", "matrix"):
            found += (self.inputs.get(source) or {}).get("cluster") or []
        if not self.inputs.get("matrix"):
            for name in ("network_tcp", "network_udp", "path_mtu", "rtt", "pod_mtu") if len(self.names) > 1 else ("pod_mtu",):
                found.append(
                    _unknown(
                        name,
                        "the network between the nodes was not measured",
                        "each node tried against all others",
                        "Set `preflight_network: true` and run `ansible-playbook playbooks/preflight.yml` again.",
                    )
                )
        return self.judged(CLUSTER, found)

    def throughput(self) -> t.List[t.Dict[str, t.Any]]:
        """Each pair that was tried; null for what was not measured."""
        pairs = []
        for name, shown in self.names.items():
            result = self.of("throughput", name)
            if result.get("peer"):
                measured = result.get("measured") or {}
                arrived = measured.get("received_bps")
                mbit = round(arrived / 1e6, 1) if isinstance(arrived, (int, float)) else None
                pairs.append({"from": shown, "to": clean(result["peer"]), "mbit": mbit, "retransmits": measured.get("retransmits")})
        return pairs

    def build(self) -> t.Dict[str, t.Any]:
        hosts = {shown: self.host(name) for name, shown in self.names.items()}
        cluster = self.cluster()
        everything = [(CLUSTER, check) for check in cluster] + [(name, check) for name, host in hosts.items() for check in host["checks"]]
        matrix = self.inputs.get("matrix") or {}
        return {
            "schema": SCHEMA,
            **{name: clean(self.inputs.get(name)) for name in ("cluster", "created", "kubernetes_version", "cni", "proxy_mode")},
            "verdict": worst(check["status"] for _host, check in everything),
            "counts": {status: sum(check["status"] == status for _host, check in everything) for status in reversed(STATUSES)},
            "lowered": self.lowered,
            "next": [
                {"host": host, **{key: check[key] for key in ("id", "status", "observed", "wanted", "fix")}}
                # sorted is stable: within one check the cluster comes first, then the hosts in their order
                for host, check in sorted(everything, key=lambda item: _order(item[1]))
                if check["status"] != "pass"
            ],
            "hosts": hosts,
            "cluster_checks": cluster,
            "matrix": {**matrix["matrix"], "pod_mtu": matrix.get("pod_mtu"), "mtu_setting": matrix.get("mtu_setting")} if matrix.get("matrix") else None,
            "throughput": self.throughput(),
        }


def build(inputs: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """The report of one run."""
    return _Report(inputs).build()


_VERDICTS = {
    "fail": "Preflight failed",
    "unknown": "Not everything could be told",
    "warn": "Ready, with warnings",
    "pass": "Ready",
}
_COUNTED = {"fail": "must be fixed", "unknown": "could not be told", "warn": "should be looked at"}


def sentence(report: t.Mapping[str, t.Any]) -> str:
    """The verdict in words, with what it rests on."""
    counts = report["counts"]
    parts = [f"{counts[status]} {text}" for status, text in _COUNTED.items() if counts[status]]
    nodes = len(report["hosts"])
    looked = f"{sum(counts.values())} findings on {nodes} node{'' if nodes == 1 else 's'}"
    return f"{_VERDICTS[report['verdict']]}: " + (f"{', '.join(parts)}; {looked}." if parts else f"{looked}, all pass.")


def _spread(names: t.Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _anyone(text: str, host: str) -> str:
    """The text without the name of its own host."""
    return text if host == CLUSTER else re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-]|\.\w)", "NODE", text)


def grouped(entries: t.Iterable[t.Mapping[str, t.Any]]) -> t.List[t.Dict[str, t.Any]]:
    """One entry for what is wrong, and is to be mended, in the same way on several hosts; the order stays.

    A text that names its own host says NODE instead, if several hosts have it.
    """
    groups: t.Dict[t.Tuple[str, ...], t.List[t.Mapping[str, t.Any]]] = {}
    for entry in entries:
        texts = (_anyone(entry[name], entry["host"]) for name in ("wanted", "fix"))
        groups.setdefault((entry["status"], entry["id"], *texts), []).append(entry)
    result = []
    for (status, name, wanted, fix), members in groups.items():
        alone = members[0] if len(members) == 1 else None
        seen: t.Dict[str, t.List[str]] = {}
        for entry in members:
            seen.setdefault(entry["observed"] if alone else _anyone(entry["observed"], entry["host"]), []).append(entry["host"])
        result.append(
            {
                "status": status,
                "id": name,
                "wanted": alone["wanted"] if alone else wanted,
                "fix": alone["fix"] if alone else fix,
                "hosts": [entry["host"] for entry in members],
                "seen": seen,
            }
        )
    return result


def console(report: t.Mapping[str, t.Any], most: int = 30, width: int = 118) -> t.List[str]:
    """A short table, worst first: what, where, what was seen and what to do."""
    groups = grouped(report["next"])
    rows = [(group["status"], group["id"], _spread(group["hosts"], 3), group) for group in groups[:most]]
    lines: t.List[str] = []
    if rows:
        header = ("STATUS", "CHECK", "WHERE")
        sizes = [max(len(row[column]) for row in [header, *rows]) for column in range(3)]
        margin = sum(sizes) + 6
        # A long name must not squeeze the text into a ribbon: then it goes below.
        indent = margin if margin <= width - 50 else 4

        def wrap(text: str, later: str = "") -> t.List[str]:
            # a command stays in one piece as far as it can
            return textwrap.wrap(text, width - indent, subsequent_indent=later, break_on_hyphens=False, break_long_words=False)

        lines.append("  ".join(text.ljust(size) for text, size in zip(header, sizes)) + "  SEEN, AND WHAT TO DO")
        for status, name, where, group in rows:
            start = "  ".join(text.ljust(size) for text, size in zip((status, name, where), sizes))
            seen = list(group["seen"])
            text = seen[0] + (f" (and {len(seen) - 1} more like this)" if len(seen) > 1 else "")
            body = wrap(text) or [""]
            body += wrap("-> " + group["fix"], "   ") if group["fix"] else []
            if indent == margin:
                lines.append(f"{start}  {body[0]}")
                body = body[1:]
            else:
                lines.append(start.rstrip())
            lines += [" " * indent + line for line in body]
        if len(groups) > most:
            lines.append(f"... and {len(groups) - most} more in the report.")
    for name in dict.fromkeys(entry["id"] for entry in report["lowered"]):
        hosts = [entry["host"] for entry in report["lowered"] if entry["id"] == name]
        lines.append(f"Lowered from fail to warn by preflight_severity: {name} on {_spread(hosts, 5)}.")
    return [*lines, sentence(report)]
