# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""The NGINX processes of an ingress controller on this node, as the kernel shows them, against what was tuned."""

from __future__ import annotations

import ipaddress
import os
import re
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _nginx_config
from ansible_collections.baremetal.kubernetes.plugins.module_utils._netns import Helper, PodTrafficError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._nginx_config import Directive, NginxConfigError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, Check, check, worst

# How NGINX names its processes (src/os/unix/ngx_process_cycle.c); one that only ends its last connections has more words.
_WORKER = "nginx: worker process"
_MASTER = "nginx: master process"
_LISTEN = "0A"
# reading a configuration of thousands of hosts takes no longer
_READ_SECONDS = 30


class Wanted(NamedTuple):
    """The options of the module."""

    # auto or a number
    worker_processes: str
    worker_connections: int
    # 0: the controller's own
    worker_open_files: int
    ports: Sequence[int]
    # {block: {directive: value}}
    directives: Dict[str, Dict[str, Any]]
    config: str


def validate(wanted: Wanted) -> None:
    """Refuse what cannot be compared with anything."""
    if wanted.worker_processes != "auto" and not wanted.worker_processes.isdigit():
        raise ValueError(f"worker_processes is {wanted.worker_processes}, but must be auto or a number")
    for block, directives in wanted.directives.items():
        if block not in _nginx_config.BLOCKS or not isinstance(directives, dict):
            raise ValueError(f"directives has {block}, but knows only dicts for {', '.join(_nginx_config.BLOCKS)}")


# --- reading --------------------------------------------------------------------------------------------------


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as handle:
        return handle.read()


def processes_of(pod: Dict[str, Any], proc: str = "/proc") -> Dict[int, str]:
    """{process: title} of a pod: by its cgroup, and what else shares its network where that is not the node's."""
    marks = (f"pod{pod['uid']}", f"pod{pod['uid'].replace('-', '_')}")
    own = os.readlink(f"{proc}/self/ns/net")
    titles: Dict[int, str] = {}
    networks: Dict[int, str] = {}
    members: Set[int] = set()
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        try:
            titles[int(name)] = _text(f"{proc}/{name}/cmdline").replace("\0", " ").strip()
            networks[int(name)] = os.readlink(f"{proc}/{name}/ns/net")
            if any(mark in _text(f"{proc}/{name}/cgroup") for mark in marks):
                members.add(int(name))
        except OSError:
            # it ended while we looked
            continue
    shared = {networks[number] for number in members if number in networks} - {own}
    return {number: titles[number] for number, network in networks.items() if number in members or network in shared}


def open_files(text: str) -> Optional[int]:
    """The soft limit of open files in /proc/PID/limits; None when it is not there, -1 without a limit."""
    found = re.search(r"^Max open files\s+(\d+|unlimited)\s", text, re.MULTILINE)
    if not found:
        return None
    return -1 if found.group(1) == "unlimited" else int(found.group(1))


def listening(text: str, inodes: Set[str]) -> Set[int]:
    """Ports of the listening sockets among these, from /proc/PID/net/tcp or tcp6."""
    ports = set()
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == _LISTEN and words[9] in inodes:
            ports.add(int(words[1].rpartition(":")[2], 16))
    return ports


def sockets(number: int, proc: str) -> Set[str]:
    """Inodes of the sockets that a process has open."""
    found = set()
    for name in os.listdir(f"{proc}/{number}/fd"):
        try:
            target = os.readlink(f"{proc}/{number}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def config_path(master: str, default: str) -> str:
    """The configuration that a master process was started with."""
    found = re.search(r"\s-c\s*(\S+)", master)
    return found.group(1) if found else default


def read_config(number: int, path: str, proc: str) -> List[Directive]:
    """The configuration as the process sees it; in a child, because its root becomes the process's."""
    helper = Helper(None, lambda: [list(item) for item in _nginx_config.read(path, f"{proc}/{number}/root")])
    return [Directive(tuple(item[0]), item[1], tuple(item[2])) for item in helper.result(_READ_SECONDS)]


def cpus_of(number: int) -> List[int]:
    """What NGINX may count for "auto": all CPUs, or with musl's C library those that the process may use."""
    counts = {os.cpu_count() or 1}
    try:
        counts.add(len(os.sched_getaffinity(number)))
    except OSError:
        # it ended while we looked
        pass
    return sorted(counts)


def look(pod: Dict[str, Any], wanted: Wanted, proc: str = "/proc") -> Dict[str, Any]:
    """What there is of one pod; a part that cannot be read is None and has its reason."""
    found = processes_of(pod, proc)
    # A title may be padded, and longer for a worker that is on its way out.
    workers = sorted(number for number, title in found.items() if title == _WORKER)
    masters = sorted(number for number, title in found.items() if title.startswith(_MASTER))
    result: Dict[str, Any] = {
        "name": pod["name"],
        "processes": len(found),
        "workers": len(workers),
        "cpus": cpus_of(masters[0]) if masters else [],
        "open_files": [],
        "ports": [],
        "configured": None,
        "differences": [],
        "reasons": [],
    }
    try:
        for number in workers:
            limit = open_files(_text(f"{proc}/{number}/limits"))
            if limit is None:
                result["reasons"].append(f"no limit of open files in /proc/{number}/limits")
            else:
                result["open_files"].append(limit)
        ports: Set[int] = set()
        for number in workers:
            inodes = sockets(number, proc)
            for name in ("tcp", "tcp6"):
                if os.path.exists(f"{proc}/{number}/net/{name}"):
                    ports |= listening(_text(f"{proc}/{number}/net/{name}"), inodes)
        result["ports"] = sorted(ports)
    except OSError as error:
        result["reasons"].append(f"/proc: {error.strerror}")
    if masters:
        try:
            config = read_config(masters[0], config_path(found[masters[0]], wanted.config), proc)
            result["configured"] = _nginx_config.value_of(config, "main", "worker_processes") or "1"
            result["differences"] = _nginx_config.differences(config, wanted.directives)
        except (PodTrafficError, NginxConfigError) as error:
            result["reasons"].append(f"its configuration: {error}")
    return result


# --- findings -------------------------------------------------------------------------------------------------

_SHOW = "`kubectl -n {namespace} exec {name} -- nginx -T` shows what it runs with"


def _workers_of(seen: Dict[str, Any], wanted: Wanted) -> Tuple[str, str, str]:
    """(status, observed, wanted)"""
    if not seen["workers"]:
        return UNKNOWN, f"no process '{_WORKER}' among {seen['processes']}", "workers of NGINX"
    want = wanted.worker_processes
    if want == "auto":
        # the controller may count fewer CPUs than there are, by its limit: then that number is in its configuration
        want = seen["configured"] or ""
    counts = seen["cpus"] if want == "auto" else [int(want)] if want.isdigit() else []
    if not counts:
        return UNKNOWN, f"{seen['workers']} workers", "as many as CPUs or as its configuration says"
    words = f"{' or '.join(str(count) for count in counts)} workers"
    return PASS if seen["workers"] in counts else FAIL, f"{seen['workers']} workers", words


def _files_of(seen: Dict[str, Any], wanted: Wanted) -> Tuple[str, str, str]:
    limits = sorted(set(seen["open_files"]))
    if not limits or len(seen["open_files"]) != seen["workers"]:
        return UNKNOWN, "; ".join(seen["reasons"]) or "no worker", "a limit of open files"
    words = ", ".join("no limit" if limit < 0 else str(limit) for limit in limits)
    if wanted.worker_open_files:
        good = limits == [wanted.worker_open_files]
        return PASS if good else FAIL, f"{words} open files", f"{wanted.worker_open_files} open files"
    # a connection is an open file
    good = all(limit < 0 or limit >= wanted.worker_connections for limit in limits)
    return (
        PASS if good else FAIL,
        f"{words} open files",
        f"{wanted.worker_connections} open files at least, one for each of worker_connections",
    )


def _ports_of(seen: Dict[str, Any], wanted: Wanted) -> Tuple[str, str, str]:
    want = f"workers that listen on {', '.join(str(port) for port in wanted.ports)}"
    if not seen["workers"]:
        return UNKNOWN, "no worker", want
    words = f"workers that listen on {', '.join(str(port) for port in seen['ports']) or 'nothing'}"
    return PASS if set(wanted.ports) <= set(seen["ports"]) else FAIL, words, want


def _config_of(seen: Dict[str, Any], wanted: Wanted) -> Tuple[str, str, str]:
    count = sum(len(directives) for directives in wanted.directives.values())
    want = f"{count} directives as tuned"
    if seen["configured"] is None:
        return UNKNOWN, "; ".join(seen["reasons"]) or "no master process of NGINX", want
    if seen["differences"]:
        return FAIL, "; ".join(seen["differences"]), want
    return PASS, f"{count} directives as tuned", want


_FINDINGS: Dict[str, Any] = {
    "edge_workers": (_workers_of, "Does its pod have fewer CPUs, or is NGINX still reloading? {show}."),
    "edge_open_files": (
        _files_of,
        "Set worker_open_files in ingress_tuning; more than the container runtime allows (LimitNOFILE of containerd.service) "
        "is refused: {show}.",
    ),
    "edge_listen": (_ports_of, "Does it listen on other ports, or did another process take them (`ss -ltnp`)? {show}."),
    "edge_config": (
        _config_of,
        "The ConfigMap of the controller was not taken up, or a snippet or annotation changes it: look at its log for the reason; {show}.",
    ),
}


def findings(pods: Sequence[Dict[str, Any]], seen: Sequence[Dict[str, Any]], wanted: Wanted) -> List[Check]:
    """One finding of each kind for this node, over all pods of the controller on it."""
    checks = []
    for identifier, (judge, fix) in _FINDINGS.items():
        results = [judge(item, wanted) for item in seen]
        status = worst(result[0] for result in results)
        shown = [
            f"pod {pod['name']}: {result[1]}" if len(pods) > 1 else result[1] for pod, result in zip(pods, results) if result[0] == status
        ]
        first = next(pod for pod, result in zip(pods, results) if result[0] == status)
        show = _SHOW.format(namespace=first.get("namespace") or "NAMESPACE", name=first["name"])
        observed, want = "; ".join(dict.fromkeys(shown)), "; ".join(dict.fromkeys(result[2] for result in results if result[0] == status))
        checks.append(check(identifier, status, observed, want, fix.format(show=show)))
    return checks


def is_here(pod: Dict[str, Any], address: str) -> bool:
    """Whether the pod runs on the node with this address."""
    try:
        return bool(ipaddress.ip_address(pod["node_address"]) == ipaddress.ip_address(address))
    except ValueError:
        return False


def workers(
    pods: Sequence[Dict[str, Any]],
    address: str,
    wanted: Wanted,
    wait_seconds: float,
    proc: str = "/proc",
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, Any]:
    """{"pods", "checks"}; workers that are replaced in a reload are looked at again."""
    here = [pod for pod in pods if is_here(pod, address)]
    if not here:
        fix = "Nothing, where the controller runs on other nodes; else look at `kubectl get pods -A -o wide`."
        return {
            "pods": [],
            "checks": [check("edge_workers", UNKNOWN, "no pod of the ingress controller on this node", "workers of NGINX", fix)],
        }
    end = clock() + wait_seconds
    while True:
        seen = [look(pod, wanted, proc) for pod in here]
        checks = findings(here, seen, wanted)
        if all(item["status"] == PASS for item in checks) or clock() > end:
            return {"pods": seen, "checks": checks}
        sleep(1)
