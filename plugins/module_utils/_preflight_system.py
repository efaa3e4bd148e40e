# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Checks of the machine and its system: pure functions of facts and settings, one finding each."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _preflight_parse as parse
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kernel_modules import FIRST_PID_NAMESPACE
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_node import TIME_UNITS
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import (
    CGROUP_V1_FAIL_MINOR,
    CGROUP_V1_WARN_MINOR,
    CLOCK_ERROR_SECONDS,
    CPUS,
    DISK_FREE_PERCENT,
    FAIL,
    INODES_FREE_PERCENT,
    LEAST_TICKS,
    MEMORY_MB,
    PASS,
    SOFTIRQ_BUSIEST_PERCENT,
    SOFTIRQ_PERCENT,
    STEAL_PERCENT,
    SUPPORTED,
    UNKNOWN,
    WARN,
    Check,
    Facts,
    Settings,
    Unreadable,
    check,
    judge,
    why,
    worst,
)

# systemd's names of hypervisors that compute every instruction themselves.
EMULATORS = ("qemu", "bochs")
# Hypervisors whose guests are told what was stolen from them. Elsewhere 0 may mean that nobody counts.
TELLS_STEAL = ("none", "kvm", "amazon", "google", "xen", "powervm", "zvm")

_LABEL = re.compile(r"^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$")


def operating_system(facts: Facts, settings: Settings) -> Check:
    wanted = "Debian 12 or 13, Ubuntu 22.04, 24.04 or 26.04, or a system of the Red Hat family, 9 or 10"
    found = facts["os"]
    if found is None:
        return check("operating_system", UNKNOWN, f"The system cannot be told: {why(facts, 'os')}.", wanted, "See why /etc/os-release cannot be read.")
    name, number = found["ID"], found.get("VERSION_ID", "")
    family = [name] + found.get("ID_LIKE", "").split()
    supported = number in SUPPORTED.get(name, ()) or ("rhel" in family and number.split(".")[0] in SUPPORTED["rhel"])
    fix = "The run may work; roles that install packages end with a message where they do not know the system. Use one of the named for production."
    return check("operating_system", PASS if supported else WARN, f"{found.get('PRETTY_NAME') or f'{name} {number}'}.", wanted, fix)


def init_system(facts: Facts, settings: Settings) -> Check:
    wanted = "systemd runs as the init system: kubelet and containerd are its services"
    if facts["systemd"] is None:
        return check("init_system", UNKNOWN, f"The init system cannot be told: {why(facts, 'systemd')}.", wanted, "Run `ls -d /run/systemd/system`.")
    observed = "systemd runs." if facts["systemd"] else "systemd does not run (there is no /run/systemd/system)."
    return check("init_system", PASS if facts["systemd"] else FAIL, observed, wanted, "Boot the machine with systemd, or use another machine.")


def virtualization(facts: Facts, settings: Settings) -> Check:
    """A container has the kernel of its host; it is told by its namespace of processes, not by a file that an image may carry along."""
    identifier, wanted = "virtualization", "bare metal or a virtual machine with a kernel of its own"
    namespace, container, machine = facts["pid_namespace"], facts["container"], facts["virtual_machine"]
    fix = "Use bare metal or a KVM machine: in a container the kernel's modules and settings belong to the host, and kube-proxy cannot work."
    if facts["openvz"]:
        return check(identifier, FAIL, "OpenVZ or Virtuozzo: /proc/vz exists and /proc/bc does not.", wanted, fix)
    if namespace is not None and namespace != FIRST_PID_NAMESPACE:
        return check(identifier, FAIL, f"A container ({container or 'of an unknown kind'}): process 1 is not the first one of the kernel.", wanted, fix)
    if namespace is None:
        if container:
            return check(identifier, FAIL, f"A container ({container}).", wanted, fix)
        return check(identifier, UNKNOWN, f"It cannot be told whether this is a container: {why(facts, 'pid_namespace')}.", wanted, "Run as root.")
    if machine is None:
        return check(
            identifier, UNKNOWN, f"The hypervisor cannot be told: {why(facts, 'virtual_machine')}.", wanted, "Run `systemd-detect-virt --vm` on the node."
        )
    if machine in EMULATORS:
        return check(
            identifier,
            WARN,
            f"A virtual machine without hardware support ({machine}): all that is measured here is slower than on a real one.",
            wanted,
            "For a test: nothing. Else turn on KVM on the host (`ls -l /dev/kvm`) and use domain type kvm.",
        )
    seen = "Bare metal." if machine == "none" else f"A virtual machine ({machine})."
    return check(identifier, PASS, seen, wanted)


def _shares(facts: Facts) -> Tuple[Dict[str, float], Tuple[str, float]]:
    """Shares of all CPUs between the samples, and (name, softirq) of the busiest CPU."""
    first, second = facts["cpu_first"], facts["cpu_second"]
    if facts["window"] <= 0:
        raise Unreadable("nothing was sampled (steal_seconds is 0)")
    if first is None or second is None:
        raise Unreadable(why(facts, "cpu_first", "cpu_second"))
    total = parse.cpu_shares(first["cpu"], second["cpu"])
    if total["ticks"] < LEAST_TICKS:
        raise Unreadable(f"only {total['ticks']:.0f} ticks passed between the two samples")
    busiest = ("", 0.0)
    for name in second:
        # a CPU that came or went meanwhile is left out
        if name != "cpu" and name in first:
            share = parse.cpu_shares(first[name], second[name])
            if share["softirq"] > busiest[1]:
                busiest = (name, share["softirq"])
    return total, busiest


_SAMPLE = "Set preflight_steal_seconds to 5 or more, then run again."


def cpu_steal(facts: Facts, settings: Settings) -> Check:
    identifier, wanted = "cpu_steal", f"less than {STEAL_PERCENT.warn:g} % of the CPU time taken by the host for others"
    try:
        total, _busiest = _shares(facts)
    except Unreadable as error:
        return check(identifier, UNKNOWN, f"Steal was not measured: {error}.", wanted, _SAMPLE)
    since_boot = facts["cpu_second"]["cpu"]["steal"]
    if since_boot == 0 and facts["virtual_machine"] not in TELLS_STEAL:
        return check(
            identifier,
            UNKNOWN,
            f"0 since boot, but a hypervisor such as this one ({facts['virtual_machine'] or 'not known'}) may not tell its guests.",
            wanted,
            "Ask whoever runs the host, or look there (VMware: %RDY of esxtop; KVM: steal of its other guests).",
        )
    observed = f"{total['steal']:.1f} % steal over {facts['window']:g} s. A short sample may miss bursts."
    fix = "The host is overcommitted: ask the provider for dedicated CPUs or move the machine. etcd loses its leader when CPU time comes too late."
    return check(identifier, judge(total["steal"], STEAL_PERCENT), observed, wanted, fix)


def softirq(facts: Facts, settings: Settings) -> Check:
    identifier = "softirq"
    wanted = f"less than {SOFTIRQ_PERCENT.warn:g} % of all CPUs and {SOFTIRQ_BUSIEST_PERCENT.warn:g} % of any one in soft interrupts"
    try:
        total, busiest = _shares(facts)
    except Unreadable as error:
        return check(identifier, UNKNOWN, f"Soft interrupts were not measured: {error}.", wanted, _SAMPLE)
    observed = f"{total['softirq']:.1f} % of all CPUs"
    observed += f", {busiest[1]:.1f} % of {busiest[0]}, over {facts['window']:g} s." if busiest[0] else f" over {facts['window']:g} s."
    status = worst([judge(total["softirq"], SOFTIRQ_PERCENT), judge(busiest[1], SOFTIRQ_BUSIEST_PERCENT)])
    fix = "See which kind it is (`watch -d cat /proc/softirqs`); for NET_RX spread the network card's queues (`ethtool -l`, `ethtool -L`, RPS)."
    return check(identifier, status, observed, wanted, fix)


def cpus(facts: Facts, settings: Settings) -> Check:
    least = settings["cpus"] or CPUS[settings["control_plane"]]
    wanted = f"at least {least}" + (" for a control plane" if settings["control_plane"] else "")
    sample = facts["cpu_second"] or facts["cpu_first"]
    if sample is None:
        return check("cpus", UNKNOWN, f"The CPUs cannot be counted: {why(facts, 'cpu_first')}.", wanted, "See why /proc/stat cannot be read.")
    count = len(sample) - 1
    return check("cpus", PASS if count >= least else FAIL, f"{count} CPU{'' if count == 1 else 's'}.", wanted, "Give the machine more CPUs.")


def memory(facts: Facts, settings: Settings) -> Check:
    least = settings["memory_mb"] or MEMORY_MB[settings["control_plane"]]
    wanted = f"at least {least} MiB for the kernel to manage" + (" on a control plane" if settings["control_plane"] else "")
    if facts["memory_mb"] is None:
        return check("memory", UNKNOWN, f"The memory is not known: {why(facts, 'memory_mb')}.", wanted, "See why /proc/meminfo cannot be read.")
    status = PASS if facts["memory_mb"] >= least else FAIL
    fix = "Give the machine more memory; the kernel keeps a part of it for itself before it counts."
    return check("memory", status, f"{facts['memory_mb']} MiB.", wanted, fix)


def disk_space(facts: Facts, settings: Settings) -> Check:
    """Paths of one file system share its room. A member's disks already hold what has to fit, so only the kubelet's limits count there."""
    identifier, wanted = "disk_space", "room for etcd, kubelet and containerd, and more free than the limits below which the kubelet evicts pods"
    if facts["disks"] is None or facts["member"] is None:
        observed = f"The free space is not known: {why(facts, 'disks', 'member')}."
        return check(identifier, UNKNOWN, observed, wanted, "Run `df -h /var/lib` on the node.")
    if not facts["disks"]:
        return check(identifier, UNKNOWN, "No path was given to look at.", wanted, "Name the paths in minimums.disk_mb.")
    disks: Dict[int, List[Dict[str, Any]]] = {}
    for item in facts["disks"]:
        disks.setdefault(item["device"], []).append(item)
    problems, seen = [], []
    for items in disks.values():
        place, free = items[0]["mount"], items[0]["free_mb"]
        paths = ", ".join(item["path"] for item in items)
        seen.append(f"{free} MiB free on {place} ({items[0]['free_percent']:.0f} %) for {paths}")
        needed = 0 if facts["member"]["member"] else sum(item["wanted_mb"] for item in items)
        if free < needed:
            problems.append(f"{place} has {free} MiB free, {paths} want {needed} MiB")
        for item in items:
            least = DISK_FREE_PERCENT.get(item["path"], 0)
            if item["free_percent"] < least:
                problems.append(f"{place} has {item['free_percent']:.1f} % free, and below {least} % on {item['path']} the kubelet evicts pods")
            elif least and item["inodes_free_percent"] < INODES_FREE_PERCENT:
                inodes = f"{item['inodes_free_percent']:.1f} % of its inodes free"
                problems.append(f"{place} has {inodes}, and below {INODES_FREE_PERCENT} % the kubelet evicts pods")
    fix = "Make room (`du -xh --max-depth=2 /var | sort -h | tail`), enlarge the file system or mount another one there."
    return check(identifier, FAIL if problems else PASS, "; ".join(dict.fromkeys(problems) if problems else seen) + ".", wanted, fix)


def swap(facts: Facts, settings: Settings) -> Check:
    identifier, mode = "swap", settings["swap"]
    wanted = "swap is allowed here" if mode == "allow" else "no swap now and at the next boot: the kubelet refuses to start with it"
    if facts["swaps"] is None or facts["swap_at_boot"] is None:
        return check(identifier, UNKNOWN, f"It cannot be told: {why(facts, 'swaps', 'swap_at_boot')}.", wanted, "Run `swapon --show` on the node.")
    now = [f"{item['device']} ({item['size_mb']} MiB)" for item in facts["swaps"]]
    boot = [f"{item['source']}" for item in facts["swap_at_boot"]]
    if not now and not boot:
        return check(identifier, PASS, "No swap.", wanted)
    observed = "; ".join([f"Swap is on: {', '.join(now)}"] * bool(now) + [f"{'it' if now else 'Swap'} comes at boot by {', '.join(boot)}"] * bool(boot)) + "."
    if mode == "allow":
        return check(identifier, PASS, observed, wanted)
    if mode == "turn_off":
        return check(identifier, WARN, observed, wanted, "Nothing: role kernel turns it off. To do it now: `swapoff -a`, and take it out of /etc/fstab.")
    return check(identifier, FAIL, observed, wanted, "`swapoff -a`, and take it out of /etc/fstab or mask its unit (`systemctl mask NAME.swap`).")


def cgroup(facts: Facts, settings: Settings) -> Check:
    identifier, minor = "cgroup", parse.minor_version(settings["kubernetes_version"])
    wanted = "cgroup v2 with the controllers cpu, cpuset, memory and pids"
    found = facts["cgroup"]
    if found is None:
        return check(identifier, UNKNOWN, f"It cannot be told: {why(facts, 'cgroup')}.", wanted, "Run `stat -fc %T /sys/fs/cgroup` on the node.")
    missing = [name for name in ("cpu", "cpuset", "memory", "pids") if name not in found["controllers"]]
    if missing:
        observed = f"cgroup v{found['version']} without {', '.join(missing)}."
        fix = "Remove cgroup_disable= from the kernel's command line (on a Raspberry Pi add cgroup_enable=memory), then reboot."
        return check(identifier, FAIL, observed, wanted, fix)
    if found["version"] == 2:
        return check(identifier, PASS, "cgroup v2.", wanted)
    fix = "Boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line, or without the 0 that is there."
    if minor is not None and minor < CGROUP_V1_WARN_MINOR:
        return check(identifier, PASS, f"cgroup v1, which Kubernetes {settings['kubernetes_version']} takes.", wanted)
    if minor is None or minor < CGROUP_V1_FAIL_MINOR:
        observed = f"cgroup v1: in maintenance since Kubernetes 1.{CGROUP_V1_WARN_MINOR}, refused from 1.{CGROUP_V1_FAIL_MINOR} on."
        return check(identifier, WARN if minor is not None else UNKNOWN, observed, wanted, fix)
    return check(identifier, FAIL, f"cgroup v1: the kubelet of Kubernetes {settings['kubernetes_version']} refuses to start.", wanted, fix)


def time_sync(facts: Facts, settings: Settings) -> Check:
    identifier, wanted = "time_sync", "a clock that is kept by a time service: certificates and etcd's leases depend on it"
    error, units = facts["clock_error"], facts["units"]
    if error is None:
        return check(identifier, UNKNOWN, f"The kernel does not tell: {why(facts, 'clock_error')}.", wanted, "Run `timedatectl` on the node.")
    if error < CLOCK_ERROR_SECONDS:
        return check(identifier, PASS, f"Synchronised; the largest error is {error:.3f} s.", wanted)
    running = [name for name in TIME_UNITS if units and units[name] == "active"]
    if running:
        observed = f"Not synchronised, although {', '.join(running)} runs: it has reached no time server yet."
        return check(identifier, WARN, observed, wanted, "See whom it asks and what it hears: `chronyc sources` or `timedatectl timesync-status`.")
    seen = "no time service runs" if units else "which time service runs is not known"
    fix = "Install chrony (or turn on systemd-timesyncd: `timedatectl set-ntp true`), with servers that this node reaches."
    return check(identifier, WARN, f"Not synchronised, and {seen}.", wanted, fix)


def node_name(facts: Facts, settings: Settings) -> Check:
    identifier, wanted = "node_name", "a name of small letters, digits, - and ., at most 63 characters, that is not localhost"
    given = settings["node_name"]
    name = given or str(facts["hostname"]).lower()
    bad = not name or len(name) > 63 or not all(_LABEL.match(label) for label in name.split(".")) or name.split(".")[0] == "localhost"
    origin = "the name that is configured for it" if given else "its hostname, which becomes the node's name"
    fix = "Set another one: `hostnamectl set-hostname NAME`" + (", and give the host that name in the inventory." if given else ".")
    return check(identifier, FAIL if bad else PASS, f"{name!r}, {origin}.", wanted, fix)


def machine_id(facts: Facts, settings: Settings) -> Check:
    identifier, wanted = "machine_id", "32 hexadecimal digits in /etc/machine-id; systemd and pod networks tell machines apart by it"
    found: Optional[str] = facts["machine_id"]
    fix = "`rm -f /etc/machine-id && systemd-machine-id-setup`, then reboot."
    if found is None:
        missing = "does not exist" in why(facts, "machine_id")
        return check(identifier, FAIL if missing else UNKNOWN, f"{why(facts, 'machine_id')}.", wanted, fix)
    good = re.match(r"^[0-9a-f]{32}$", found) and set(found) != {"0"}
    return check(identifier, PASS if good else FAIL, f"{found[:40] or 'It is empty'}.", wanted, fix)
