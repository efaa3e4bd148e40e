# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a preflight finds on clusters of any size, made up: for tests of the report, and to look at its page.

python -m ansible_collections.baremetal.kubernetes.tests.unit.plugins.preflight_samples FOLDER writes inputs for 1, 3 and 50 nodes.
"""

from __future__ import annotations

import json
import pathlib
import sys

NASTY = "<script>alert('w3')</script> & \"quoted\" {{ 7 * 7 }}\x1b[31m"

FAST = {"1": 310, "5": 350, "20": 420, "50": 560, "70": 690, "90": 1100, "95": 1500, "99": 2400, "99.5": 3300, "99.9": 6100, "99.95": 8900, "99.99": 14000}
BORDER = {name: value * 4 for name, value in FAST.items()}
SLOW = {name: value * 14 for name, value in FAST.items()}


def check(name, status="pass", observed="as wanted", wanted="so", fix=""):
    return {"id": name, "status": status, "observed": observed, "wanted": wanted, "fix": fix}


def fio(curve, status, limit=10.0):
    p99 = float(curve["99"])
    found = check("etcd_disk", status, f"p99 of fdatasync is {p99 / 1000:.1f} ms", f"below {limit:g} ms")
    if status != "pass":
        found["fix"] = "Put /var/lib/etcd on a local SSD or NVMe disk of its own, then run `ansible-playbook playbooks/preflight.yml` again."
    return {
        "changed": False,
        "p99_us": p99,
        "percentiles_us": {name: float(value) for name, value in curve.items()},
        "iops": 1e6 / curve["50"],
        "samples": 10029,
        "runs": [{"p99_us": p99 * share, "iops": 900.0, "samples": 10029} for share in (0.96, 1.0, 1.07)],
        "fio_version": "3.33",
        "filesystem": {"mount": "/var/lib/etcd", "type": "ext4", "device": "/dev/vdb1"},
        "verdict": status,
        "checks": [found],
    }


def node(*found):
    return {
        "checks": [
            check("virtualization", observed="KVM", wanted="bare metal or a full virtual machine"),
            check("memory", observed="3900 MiB", wanted="at least 1700 MiB"),
            *found,
        ],
        "facts": {"kernel": "6.1.0-41-amd64", "virtualization": "kvm", "cpus": 2, "memory_mb": 3900, "os": "debian 12", "member": False},
        "identity": {},
        "routes": [],
        "resolvers": [],
        "seconds": 0.4,
    }


def measured(source, target, blocked=(), rtt=350.0, mtu=1500):
    """What one node found when it tried another, as filter matrix_checks returns it."""
    return [
        source,
        target,
        {
            "status": "fail" if blocked else "pass",
            "tcp": {str(port): "timeout" if port in blocked else "open" for port in (6443, 10250, 2379, 2380)},
            "udp": {"8472": "silent" if 8472 in blocked else "answered"},
            "ipip": None,
            "rtt_us": None if rtt is None else {"min": rtt * 0.8, "avg": rtt, "max": rtt * 2, "samples": 5, "sent": 5},
            "path_mtu": mtu,
        },
    ]


def inputs(number, broken=True):
    """The input of filter preflight_report for a cluster of this many nodes; broken has one of everything."""
    planes = 1 if number < 3 else 3
    names = [f"cp{index + 1}" for index in range(planes)] + [f"w{index + 1}" for index in range(number - planes)]
    nodes, disks, judged = {}, {}, {}
    for index, name in enumerate(names):
        plane = index < planes
        found = [check("swap", observed="no swap", wanted="no swap")]
        if broken and not plane and index % 4 == 0 or broken and number == 1:
            found = [
                check(
                    "swap",
                    "fail",
                    f"swap is on: /dev/vda{index % 3 + 1} with 975 MiB",
                    "no swap",
                    "Run `swapoff -a` and take the line out of /etc/fstab; role kernel does both.",
                )
            ]
        if broken:
            found.append(
                check("conntrack_headroom", "warn", "78 % are used", "below 75 %", "Raise it: `sysctl -w net.netfilter.nf_conntrack_max=524288`.")
                if index % 7 == 2
                else check("conntrack_headroom", observed="1 %", wanted="below 75 %")
            )
            if name == "w3":
                found.append(check("node_name", "fail", NASTY, "lower-case letters, digits and dashes", f"Rename {NASTY}: `hostnamectl set-hostname w3`"))
        nodes[name] = node(*found)
        disks[name] = {"changed": False, "skipped": True}
        if plane:
            curve, status = [(FAST, "pass"), (BORDER, "warn"), (SLOW, "fail")][index if broken else 0]
            disks[name] = fio(curve, status)
    if broken and number > 3:
        nodes["w2"] = {}
    pairs = []
    for one, source in enumerate(names):
        for two, target in enumerate(names):
            if one == two:
                continue
            if number > 1 and broken and target == names[-1] and one % 2 == 0:
                fix = f"From {source} to 10250/tcp of {target} something drops the packets: look at `nft list ruleset` on {target}."
                judged[source] = [check("network_tcp", "fail", f"10250/tcp (kubelet): no answer from {target}", "a connection to every TCP port", fix)]
            bad = broken and target == names[-1] and one % 2 == 0
            less = broken and names[-2] in (source, target) and number > 2
            dead = broken and "w2" in (source, target)
            pairs.append(
                measured(
                    source,
                    target,
                    blocked=(10250, 8472) if bad else (),
                    rtt=None if dead else 180.0 + 13 * abs(one - two) * (40 if less else 1),
                    mtu=None if dead else 1450 if less else 1500,
                )
            )
    pod_mtu = check("pod_mtu", "fail", "1500 bytes for pods", "at most 1400 bytes", "Set Backend.MTU to 1450.") if broken else check("pod_mtu")
    matrix = {
        "hosts": judged,
        "cluster": [pod_mtu],
        "matrix": {"hosts": names, "pairs": pairs},
        "pod_mtu": 1400 if broken else 1450,
        "mtu_setting": {"name": "Backend.MTU", "value": 1450 if broken else 1500},
    }
    return {
        "cluster": "lab",
        "created": "2026-11-21 15:40 UTC",
        "kubernetes_version": "1.36.4",
        "cni": "flannel",
        "proxy_mode": "ipvs",
        "severity": {},
        "limit_ms": 10.0,
        "warn_ms": 5.0,
        "control_plane": names[:planes],
        "workers": names[planes:],
        "node_ips": {name: f"192.0.2.{index + 11}" for index, name in enumerate(names)},
        "nodes": nodes,
        "disks": disks,
        "cross": {"hosts": {}, "cluster": [check("unique_machine_id", observed="all differ", wanted="one for each node")]},
        "matrix": matrix,
        "throughput": {
            "cp1": {
                "peer": names[1],
                "measured": {"received_bps": 941200000.0, "retransmits": 12},
                "checks": [check("network_throughput", observed="941.2 Mbit/s arrive", wanted="whatever arrives")],
            }
        }
        if number > 1
        else {},
    }


if __name__ == "__main__":
    for size in (1, 3, 50):
        for word, broken in (("bad", True), ("good", False)):
            pathlib.Path(sys.argv[1], f"{word}{size}.json").write_text(json.dumps(inputs(size, broken)), encoding="utf-8")
