# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What every check of the preflight returns, and the limits by which it judges."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

PASS, WARN, FAIL, UNKNOWN = "pass", "warn", "fail", "unknown"

# Worst first: what is not known may be a fail, so it stands before what is known to be merely a warning.
ORDER = (FAIL, UNKNOWN, WARN, PASS)

Check = Dict[str, str]
# What was read of a node; a fact that could not be read is None and has its reason in facts["reasons"].
Facts = Dict[str, Any]
Settings = Dict[str, Any]


class Unreadable(Exception):
    """Why a fact is not known; the text completes a sentence."""


def check(identifier: str, status: str, observed: str, wanted: str, fix: str = "") -> Check:
    """One finding in the collection's common shape."""
    return {"id": identifier, "status": status, "observed": observed, "wanted": wanted, "fix": "" if status == PASS else fix}


def worst(statuses: Iterable[str]) -> str:
    """The worst of them; nothing checked is nothing known."""
    return min(statuses, key=ORDER.index, default=UNKNOWN)


def worst_first(checks: Iterable[Check]) -> List[Check]:
    """The same checks, worst first, else in the order of the list."""
    return sorted(checks, key=lambda item: ORDER.index(item["status"]))


def why(facts: Facts, *names: str) -> str:
    """The reasons for which these facts are not known."""
    return "; ".join(facts["reasons"].get(name, f"{name} was not read") for name in names if facts.get(name) is None)


class Limit(NamedTuple):
    """From these values on a check warns or fails; None: it never does."""

    warn: Optional[float]
    fail: Optional[float]


def judge(value: float, limit: Limit) -> str:
    """Compare with a limit; for values of which more is worse."""
    if limit.fail is not None and value >= limit.fail:
        return FAIL
    if limit.warn is not None and value >= limit.warn:
        return WARN
    return PASS


# --- the limits, each with its source; "ours" is a number of this collection ------------------------------------

# % of the time of all CPUs. Fail: the rule of thumb of kube-prometheus (issue 796) for an overcommitted host. Warn: ours.
STEAL_PERCENT = Limit(2, 10)
# % of the time of all CPUs, and of the busiest one. Ours: network work that has no other CPU to go to.
SOFTIRQ_PERCENT = Limit(20, None)
SOFTIRQ_BUSIEST_PERCENT = Limit(60, None)
# CPU ticks (1/100 s) that must have passed, or a share of them says nothing. Ours.
LEAST_TICKS = 100

# MiB that the kernel manages, CPUs. kubeadm refuses a control plane with less than 1700 MB and 2 CPUs; a worker's are ours.
MEMORY_MB = {True: 1700, False: 900}
CPUS = {True: 2, False: 1}

# MiB that must be free before there is a cluster. etcd: its quota of 2 GiB; the others are ours: images of the control
# plane and of the pod network, and the writable layers of a few pods.
DISK_MB = {"/var/lib/etcd": 2048, "/var/lib/kubelet": 1024, "/var/lib/containerd": 4096}
# % that must be free at any time: the kubelet evicts pods below (evictionHard nodefs.available, imagefs.available, nodefs.inodesFree).
DISK_FREE_PERCENT = {"/var/lib/kubelet": 10, "/var/lib/containerd": 15}
INODES_FREE_PERCENT = 5

# Seconds of error up to which systemd calls a clock synchronised (what adjtimex tells of the largest error; timedatectl shows NTPSynchronized).
CLOCK_ERROR_SECONDS = 16.0

# glibc's and the kubelet's limits of a resolv.conf: MAXNS; MaxDNSSearchPaths and MaxDNSSearchListChars.
NAMESERVERS = 3
SEARCH_DOMAINS = 32
SEARCH_CHARACTERS = 2048

# Connections tracked now, as a part of the maximum. Warn: as most dashboards do (node-exporter's mixin 0.75); fail: ours.
CONNTRACK_USED = Limit(0.75, 0.95)
# Per second, of early_drop and of the drop that is no insert_failed: no place in the table, or no memory. insert_failed
# also grows in health (the two queries of a DNS lookup race), so only its rate says something. Ours.
CONNTRACK_DROPS = Limit(0.001, 10)
CONNTRACK_INSERT_FAILED = Limit(10, None)


class KernelNeed(NamedTuple):
    """A kernel below this version: the status and for whom."""

    what: str
    version: Tuple[int, int]
    status: str


KERNEL_CILIUM = KernelNeed("Cilium 1.18 and later", (5, 10), FAIL)
KERNEL_CALICO = KernelNeed("Calico 3.32 and later", (5, 10), WARN)
# kubernetes.io/docs/reference/node/kernel-version-requirements
KERNEL_NFTABLES = KernelNeed("kube-proxy in nftables mode", (5, 13), FAIL)
KERNEL_WIREGUARD = KernelNeed("WireGuard", (5, 6), FAIL)
# system-validators, which kubeadm asks; older kernels get no fixes any more either.
KERNEL_KUBERNETES = KernelNeed("Kubernetes", (4, 19), WARN)
# The kernel's own fix of checksums behind SNAT (Kubernetes pull request 92035).
KERNEL_CHECKSUMS = (5, 7)
# The same page as above.
NFT_VERSION = (1, 0, 1)

# cgroup v1: maintenance mode (KEP-4569), and the kubelet refuses to start (KEP-5573).
CGROUP_V1_WARN_MINOR = 31
CGROUP_V1_FAIL_MINOR = 35

# What the collection is tested on. Versions of the Red Hat family are told by their major number.
SUPPORTED = {
    "debian": ("12", "13"),
    "ubuntu": ("22.04", "24.04", "26.04"),
    "rhel": ("9", "10"),
}
