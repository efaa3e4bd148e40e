# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure playbooks/preflight.yml with simulated hosts: network namespaces around a router, all on this machine.

    sudo python3 benchmarks/preflight.py [HOSTS...]

Each host runs the modules with an interpreter that enters its namespace first. One is a control plane, whose disk is measured; all
else is of this machine, so failures are lowered and only the findings of the network are looked at. The exit code says whether these
pass, not how fast it was.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from network_matrix import build, prefix, remove

REPOSITORY = Path(__file__).resolve().parent.parent
WANTED_TASKS = 25
WANTED_SECONDS = 2.0
# Of these nothing may be missing: the network between the namespaces is whole.
NETWORK = ("network_tcp", "network_udp", "network_ipip", "path_mtu", "rtt")


def inventory(folder: Path, hosts: dict[str, str], checks: list[str]) -> Path:
    """A cluster of namespaces: the first one is the control plane."""
    entries = {}
    for name, address in hosts.items():
        python = folder / f"python-{name}"
        python.write_text(f'#!/bin/sh\nexec ip netns exec {prefix()}-{name} {sys.executable} "$@"\n', encoding="utf-8")
        python.chmod(0o755)
        entries[name] = {"cluster_node_ip": address, "ansible_python_interpreter": str(python)}
    first, *others = entries
    content = {
        "kubernetes": {
            "vars": {
                "ansible_connection": "local",
                "ansible_become": False,
                "cluster_name": "benchmark",
                "cluster_kubernetes_version": "1.36.4",
                "cluster_cni": "calico",
                "cluster_artifacts_dir": str(folder),
                "preflight_severity": dict.fromkeys(checks, "warn"),
            },
            "children": {
                "control_plane": {"hosts": {first: entries[first]}},
                "workers": {"hosts": {name: entries[name] for name in others}},
            },
        }
    }
    path = folder / "hosts.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def measure(count: int, checks: list[str]) -> dict:
    """One line of the table."""
    hosts = {f"n{number}": f"10.99.{number // 250}.{number % 250 + 1}" for number in range(count)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = inventory(folder, hosts, checks)
        environment = os.environ | {"BAREMETAL_TASK_REPORT": str(folder / "tasks.json")}
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(path), "benchmarks/preflight.yml", "-e", f"bench_output={folder}/own.json"]
        try:
            build(hosts)
            begin = time.monotonic()
            done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
            seconds = time.monotonic() - begin
        finally:
            remove(hosts)
        if done.returncode:
            sys.exit(f"{done.stdout[-6000:]}{done.stderr[-3000:]}\nThe playbook ended with {done.returncode}.")
        report = json.loads((folder / "preflight.json").read_text(encoding="utf-8"))
        executed = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))["hosts"]
        own = json.loads((folder / "own.json").read_text(encoding="utf-8"))
        page = (folder / "preflight.html").stat().st_size
    found = [(check["id"], check["status"]) for host in report["hosts"].values() for check in host["checks"] if check["id"] in NETWORK]
    return {
        "hosts": count,
        "seconds": seconds,
        "tasks": max(executed[name]["executed"] for name in hosts),
        "findings": sum(report["counts"].values()),
        "own": sorted(own),
        "page": page,
        "wrong": sum(status != "pass" for _name, status in found) + (len(found) != count * len(NETWORK)),
    }


def main(arguments: list[str]) -> int:
    """Measure and print."""
    sys.path.insert(0, str(REPOSITORY / ".ansible/collections"))
    from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._preflight_report import CHECKS

    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} before; own: what node_preflight takes on a host, without waiting for its second sample")
    print(f"{'hosts':>6}{'all':>9}{'tasks':>7}{'own, median':>13}{'own, most':>11}{'findings':>10}{'report':>10}{'faults':>8}   wanted")
    wrong = 0
    for count in [int(word) for word in arguments] or [1, 10, 50]:
        line = measure(count, list(CHECKS))
        wrong += line["wrong"]
        own = line["own"]
        print(
            f"{line['hosts']:6}{line['seconds']:8.1f}s{line['tasks']:7}{own[len(own) // 2]:12.2f}s{own[-1]:10.2f}s"
            f"{line['findings']:10}{line['page'] / 1024:6.0f} KiB{line['wrong']:8}   {WANTED_TASKS} tasks, own {WANTED_SECONDS:.0f}s for 1",
            flush=True,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
