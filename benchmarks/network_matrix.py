# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure module network_matrix with simulated hosts: network namespaces around a router, every host against every other at the same time.

    sudo python3 benchmarks/network_matrix.py [HOSTS...]

Each host is a Python process of its own, as each module on a node is. Hosts are all started at once, which is more at a time
than Ansible does. The exit code says whether every port was found open and every path MTU right, not how fast it was.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

WANTED_SECONDS = 60.0
REPOSITORY = Path(__file__).resolve().parent.parent
TOKEN = "benchmark-run"
# as many as a control plane with Calico and MetalLB has
TCP_PORTS = [6443, 2379, 2380, 10250, 179, 5473, 7946]
UDP_PORTS = [4789, 7946]
MEASURE_PORT = 33434
GATEWAY = "10.99.255.254"


def prefix() -> str:
    """Of all names that this process makes."""
    return f"bench{os.getpid()}"


def ip(*words: str) -> None:
    """Fail aloud."""
    subprocess.run(["ip", *words], check=True, stdout=subprocess.DEVNULL)


def batch(lines: list[str], namespace: str) -> None:
    """Many commands of ip in one process."""
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(lines), text=True, check=True, stdout=subprocess.DEVNULL)


def build(hosts: dict[str, str]) -> None:
    """One namespace for each host, and one that routes between them.

    On a common bridge each host would need a neighbour entry for each other one, and the table of the whole machine holds 1024.
    """
    router = f"{prefix()}-router"
    ip("netns", "add", router)
    ip("netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    batch(["link set lo up", f"addr add {GATEWAY}/32 dev lo"], router)
    for number, (host, address) in enumerate(hosts.items()):
        namespace, port = f"{prefix()}-{host}", f"port{number}"
        ip("netns", "add", namespace)
        batch([f"link add {port} type veth peer name eth0 netns {namespace}", f"link set {port} up", f"route add {address} dev {port}"], router)
        batch(["link set lo up", f"addr add {address}/32 dev eth0", "link set eth0 up", f"route add default via {GATEWAY} dev eth0 onlink"], namespace)


def remove(hosts: dict[str, str]) -> None:
    """Whatever is left of them."""
    for name in ["router", *hosts]:
        subprocess.run(["ip", "netns", "del", f"{prefix()}-{name}"], check=False, stderr=subprocess.DEVNULL)


def everywhere(hosts: dict[str, str], jobs: dict[str, dict]) -> tuple[float, dict[str, dict]]:
    """(seconds, results): one process in each host's namespace, all at once."""
    begin = time.monotonic()
    processes = {}
    for host in hosts:
        command = ["ip", "netns", "exec", f"{prefix()}-{host}", sys.executable, __file__, "--inside"]
        processes[host] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes[host].stdin.write(json.dumps(jobs[host]).encode())
        processes[host].stdin.close()
    results = {}
    for host, process in processes.items():
        results[host] = json.loads(process.stdout.read())
        process.wait()
    return time.monotonic() - begin, results


def inside() -> None:
    """Do in a host's namespace what the module does, and say how much memory it took."""
    import resource

    sys.path.insert(0, str(REPOSITORY / ".ansible/collections"))
    from ansible_collections.baremetal.kubernetes.plugins.module_utils import _network_matrix
    from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command

    params = {"measure_port": 0, "peers": [], "tcp_ports": [], "udp_ports": [], "ipip": False, "lifetime": 300, "timeout": 3.0, "samples": 5, "deadline": 60.0}
    result = _network_matrix.act({**params, "token": TOKEN, **json.load(sys.stdin)}, run_command)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    json.dump({**result, "kib": usage.ru_maxrss, "cpu": usage.ru_utime + usage.ru_stime}, sys.stdout)


def faults(results: dict[str, dict], count: int) -> int:
    """How many findings are not as they must be in this network."""
    wrong = 0
    for result in results.values():
        wrong += len(result["peers"]) != count - 1
        for peer in result["peers"]:
            wrong += sum(row["status"] != "open" for row in peer["tcp"]) + sum(row["status"] != "answered" for row in peer["udp"])
            wrong += (peer["path_mtu"] != 1500) + (peer["rtt_us"] is None)
    return wrong


def measure(count: int) -> dict:
    """One line of the table."""
    hosts = {f"n{number}": f"10.99.{number // 250}.{number % 250 + 1}" for number in range(count)}
    ports = {"tcp_ports": TCP_PORTS, "udp_ports": UDP_PORTS, "measure_port": MEASURE_PORT}
    peers = [{"name": name, "address": address, "ipip": False, "unserved": [], **ports} for name, address in hosts.items()]
    try:
        build(hosts)
        own = {name: {"name": name, "address": address} for name, address in hosts.items()}
        listening, listeners = everywhere(hosts, {name: {"action": "listen", **who, **ports} for name, who in own.items()})
        probing, results = everywhere(hosts, {name: {"action": "probe", **who, "peers": peers} for name, who in own.items()})
        stopping, stopped = everywhere(hosts, dict.fromkeys(hosts, {"action": "stop"}))
    finally:
        remove(hosts)
    wrong = faults(results, count) + sum(not item["stopped"] for item in stopped.values()) + sum(len(item["unserved"]) for item in listeners.values())
    return {
        "hosts": count,
        "pairs": count * (count - 1),
        "seconds": [listening, probing, stopping],
        "slowest": max(item["seconds"] for item in results.values()),
        "cpu": sum(item["cpu"] for item in results.values()),
        "kib": max(item["kib"] for item in results.values()),
        "wrong": wrong,
    }


def main(arguments: list[str]) -> int:
    """Measure and print."""
    if arguments == ["--inside"]:
        inside()
        return 0
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} CPUs, load {load:.1f} before; each pair: {len(TCP_PORTS)} TCP ports, {len(UDP_PORTS)} UDP ports, round trip, path MTU")
    print(f"{'hosts':>6}{'pairs':>7}{'listen':>9}{'probe':>9}{'stop':>9}{'all':>9}{'slowest':>9}{'CPU':>9}{'memory':>11}{'faults':>8}   wanted")
    wrong = 0
    for count in [int(word) for word in arguments] or [1, 10, 50]:
        line = measure(count)
        wrong += line["wrong"]
        times = "".join(f"{seconds:8.1f}s" for seconds in [*line["seconds"], sum(line["seconds"]), line["slowest"], line["cpu"]])
        print(f"{line['hosts']:6}{line['pairs']:7}{times}{line['kib'] / 1024:7.1f} MiB{line['wrong']:8}   {WANTED_SECONDS:.0f}s", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
