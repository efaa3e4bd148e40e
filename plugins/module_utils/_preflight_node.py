# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Read a node for the preflight: everything once, into one dict of facts, and nothing is changed.

Most comes from /proc, /sys and files. The few commands are started together. Nothing is asked that would load a kernel
module or start a service: nft and iptables do so, and are only asked where their part of the kernel is in use already.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import fnmatch
import glob
import os
import platform
import re
import time
from functools import cached_property
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _conntrack, _preflight_parse as parse
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import NOT_FOUND, TIMED_OUT, Runner
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kernel_modules import (
    KernelModules,
    KernelModulesError,
    Machine,
    canonical,
    container_kind,
    make_wanted,
    module_file_name,
)
from ansible_collections.baremetal.kubernetes.plugins.module_utils._node_state import fstab_swaps, parse_os_release, read_text, unit_swaps
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import Facts, Settings, Unreadable
from ansible_collections.baremetal.kubernetes.plugins.module_utils._systemd import SystemdError, show_units

# Only a bound: each takes milliseconds, on an overloaded machine seconds.
COMMAND_TIMEOUT = 20.0

KUBELET_CONF = "etc/kubernetes/kubelet.conf"
UNFINISHED_MARK = "etc/kubernetes/.kubeadm-unfinished"
RESOLVED_FILE = "/run/systemd/resolve/resolv.conf"

TIME_UNITS = ("chronyd", "chrony", "systemd-timesyncd", "ntpd", "ntp", "ntpsec", "openntpd")
OTHER_CLUSTERS = ("k3s", "k3s-agent", "rke2-server", "rke2-agent", "k0scontroller", "k0sworker", "snap.microk8s.daemon-kubelite")
UNITS = ("NetworkManager", "firewalld", "systemd-resolved", *TIME_UNITS, *OTHER_CLUSTERS)

# Interfaces that a pod network or kube-proxy makes.
CNI_INTERFACES = (
    "cni0", "flannel*", "cali*", "tunl0", "vxlan.calico", "vxlan-v6.calico", "wireguard.cali", "wg-v6.cali", "bpfin.cali", "bpfout.cali",
    "cilium_*", "lxc*", "kube-ipvs0", "kube-bridge", "nodelocaldns", "weave*", "vxlan-6784", "antrea-*", "ovn-k8s-*",
)  # fmt: skip

# systemd's names of virtual machines.
HYPERVISORS = (
    "none", "kvm", "amazon", "qemu", "bochs", "xen", "uml", "vmware", "oracle", "microsoft", "zvm", "parallels", "bhyve", "qnx", "acrn", "powervm",
    "apple", "sre", "google",
)  # fmt: skip

# What is left of a cluster, by the checks of kubeadm that it fails.
LEFT_FILES = (
    "etc/kubernetes/manifests/*.yaml",
    "etc/kubernetes/admin.conf",
    "etc/kubernetes/bootstrap-kubelet.conf",
    "etc/rancher/k3s",
    "etc/rancher/rke2",
    "var/lib/rancher/k3s",
    "var/lib/rancher/rke2",
    "var/lib/k0s",
    "var/snap/microk8s",
)


def is_cni_interface(name: str) -> bool:
    """Whether a pod network made it."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in CNI_INTERFACES)


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2)."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("constant", "precision", "tolerance", "seconds", "fraction", "tick", "ppsfreq", "jitter")),
        ("shift", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("stabil", "jitcnt", "calcnt", "errcnt", "stbcnt")),
        ("tai", ctypes.c_int),
        ("padding", ctypes.c_int * 11),
    ]


def clock_error() -> float:
    """Seconds by which the clock may be wrong, as the kernel was told by whoever keeps it; nothing is set (modes is 0)."""
    timex = _Timex()
    library = ctypes.CDLL(None, use_errno=True)
    if library.adjtimex(ctypes.byref(timex)) < 0:
        raise Unreadable(f"adjtimex: {os.strerror(ctypes.get_errno())}")
    return timex.maxerror / 1e6


class Reader:
    """Reads the facts one by one; root, run and the clocks are others in tests only."""

    def __init__(
        self,
        run: Runner,
        settings: Settings,
        root: str = "/",
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        error_of_clock: Callable[[], float] = clock_error,
        release: Optional[str] = None,
        hostname: Optional[str] = None,
    ) -> None:
        self.run = run
        self.settings = settings
        self.root = root
        self.now = now
        self.sleep = sleep
        self.clock_error = error_of_clock
        self.release = release or os.uname().release
        self.hostname = hostname or platform.node()
        self.facts: Facts = {"reasons": {}}

    # --- helpers

    @cached_property
    def machine(self) -> Machine:
        """What is loaded and what could be."""
        return Machine(self.run, self.root, self.release)

    def inside(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))

    def text(self, path: str) -> str:
        """The text of a file that must be there."""
        try:
            text = read_text(self.inside(path))
        except OSError as error:
            raise Unreadable(f"/{path.lstrip('/')} cannot be read: {error.strerror}") from None
        if text is None:
            raise Unreadable(f"/{path.lstrip('/')} does not exist")
        return text

    def optional(self, path: str) -> str:
        """The text of a file, or an empty one."""
        try:
            return read_text(self.inside(path)) or ""
        except OSError:
            return ""

    def exists(self, path: str) -> bool:
        return os.path.lexists(self.inside(path))

    def names(self, folder: str) -> List[str]:
        try:
            return sorted(os.listdir(self.inside(folder)))
        except OSError:
            return []

    def command(self, *argv: str) -> str:
        """What a command prints."""
        code, out, err = self.run(list(argv), COMMAND_TIMEOUT)
        if code == NOT_FOUND:
            raise Unreadable(f"{argv[0]} is not installed")
        if code == TIMED_OUT:
            raise Unreadable(f"`{' '.join(argv)}` did not end within {COMMAND_TIMEOUT:g} s")
        if code != 0:
            raise Unreadable(f"`{' '.join(argv)}` ended with return code {code}: {' '.join((err or out).split())[:200]}")
        return out

    def take(self, name: str, read: Callable[[], Any]) -> None:
        """Keep a fact, or the reason for which it is not known. One odd file must not hide the other facts."""
        try:
            self.facts[name] = read()
        except Unreadable as error:
            self.facts[name], self.facts["reasons"][name] = None, str(error)
        except (OSError, ValueError, LookupError, KernelModulesError) as error:
            self.facts[name], self.facts["reasons"][name] = None, f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}"

    # --- everything

    def read(self) -> Facts:
        """All facts, with two samples of the counters around the window."""
        begin = self.now()
        window = float(self.settings["steal_seconds"])
        # Before the other work, which itself makes interrupts.
        self.take("cpu_first", lambda: parse.parse_cpu_times(self.text("proc/stat")))
        self.take("conntrack_first", lambda: _conntrack.read_sample(self.run, self.root, self.now))
        facts = self.facts
        facts.update(kernel=self.release, hostname=self.hostname)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            # Threads only wait for processes here.
            list(pool.map(lambda job: self.take(*job), self.commands()))
            for name, read in self.files():
                self.take(name, read)
            # These need what was read before.
            list(pool.map(lambda job: self.take(*job), self.second()))
        facts["routes"] = None if facts["routes4"] is None or facts["routes6"] is None else facts["routes4"] + facts["routes6"]
        if facts["routes"] is None:
            facts["reasons"]["routes"] = "; ".join(facts["reasons"][name] for name in ("routes4", "routes6") if facts[name] is None)
        # What was done so far belongs to the window.
        facts["slept"] = max(window - (self.now() - begin), 0) if window > 0 else 0.0
        if facts["slept"]:
            self.sleep(facts["slept"])
        self.take("cpu_second", lambda: parse.parse_cpu_times(self.text("proc/stat")))
        self.take("conntrack_second", lambda: _conntrack.read_sample(self.run, self.root, self.now))
        facts["window"] = window if window <= 0 else round(self.now() - begin, 1)
        return facts

    def commands(self) -> List[Tuple[str, Callable[[], Any]]]:
        return [
            ("links", lambda: parse.parse_addresses(self.command("ip", "-j", "addr", "show"))),
            ("routes4", lambda: parse.parse_routes(self.command("ip", "-j", "-4", "route", "show", "table", "all"), 4)),
            ("routes6", self.routes6),
            ("units", self.units),
            ("virtual_machine", self.virtual_machine),
        ]

    def files(self) -> List[Tuple[str, Callable[[], Any]]]:
        return [
            ("os", self.operating_system),
            ("systemd", lambda: self.exists("run/systemd/system")),
            ("pid_namespace", self.pid_namespace),
            ("container", lambda: container_kind(self.root) or ""),
            ("openvz", lambda: self.exists("proc/vz") and not self.exists("proc/bc")),
            ("memory_mb", lambda: parse.parse_meminfo(self.text("proc/meminfo"))),
            ("swaps", lambda: parse.parse_swaps(self.text("proc/swaps"))),
            ("swap_at_boot", lambda: fstab_swaps(self.optional("etc/fstab")) + unit_swaps(self.root)),
            ("cgroup", self.cgroup),
            ("clock_error", self.clock_error),
            ("machine_id", lambda: self.text("etc/machine-id").strip()),
            ("product_uuid", self.product_uuid),
            ("member", self.member),
            ("disks", self.disks),
            ("modules", self.modules),
            ("uptime", lambda: parse.parse_uptime(self.text("proc/uptime"))),
            ("kernel_log", lambda: parse.parse_kernel_log(self.kernel_log())),
            ("disable_ipv6", lambda: parse.number(self.text("proc/sys/net/ipv6/conf/all/disable_ipv6").strip())),
            ("ufw", lambda: bool(re.search(r"^\s*ENABLED\s*=\s*[\"']?yes", self.optional("etc/ufw/ufw.conf"), re.MULTILINE | re.IGNORECASE))),
            ("network_manager", lambda: parse.parse_network_manager(self.network_manager_files())),
            ("sockets", self.sockets),
            ("left_files", self.left_files),
        ]

    def second(self) -> List[Tuple[str, Callable[[], Any]]]:
        return [
            ("interfaces", self.interfaces),
            ("resolv_conf", self.resolv_conf),
            ("rp_filter", self.rp_filter),
            ("nft", self.nft),
            ("iptables", self.iptables),
            ("nft_version", self.nft_version),
            ("owners", self.owners),
        ]

    # --- the machine

    def operating_system(self) -> Dict[str, str]:
        found = parse_os_release(self.optional("etc/os-release") or self.text("usr/lib/os-release"))
        if not found.get("ID"):
            raise Unreadable("/etc/os-release has no ID")
        return found

    def pid_namespace(self) -> str:
        return os.readlink(self.inside("proc/self/ns/pid"))

    def virtual_machine(self) -> str:
        """none, kvm, vmware... in systemd's words."""
        code, out, _err = self.run(["systemd-detect-virt", "--vm"], COMMAND_TIMEOUT)
        kind = out.strip()
        # It returns 1 and prints none where there is no hypervisor.
        if code in (0, 1) and kind in HYPERVISORS:
            return kind
        flags = re.search(r"^flags\s*:.*$", self.text("proc/cpuinfo"), re.MULTILINE)
        if not flags:
            raise Unreadable("systemd-detect-virt gives no answer and /proc/cpuinfo has no flags")
        return "unknown" if " hypervisor" in flags.group(0) else "none"

    def cgroup(self) -> Dict[str, Any]:
        if self.exists("sys/fs/cgroup/cgroup.controllers"):
            return {"version": 2, "controllers": self.text("sys/fs/cgroup/cgroup.controllers").split()}
        for line in self.text("proc/self/mounts").splitlines():
            words = line.split()
            if len(words) > 2 and words[2] == "cgroup" and words[1].startswith("/sys/fs/cgroup"):
                return {"version": 1, "controllers": parse.parse_cgroups_v1(self.text("proc/cgroups"))}
        raise Unreadable("no cgroup file system is mounted below /sys/fs/cgroup")

    def product_uuid(self) -> str:
        return self.text("sys/class/dmi/id/product_uuid").strip().lower()

    def disks(self) -> List[Dict[str, Any]]:
        """Per path the file system that will hold it: [{path, wanted_mb, mount, device, free_mb, free_percent, inodes_free_percent}]."""
        found = []
        for path, wanted in self.settings["disk_mb"].items():
            place = os.path.realpath(self.inside(path))
            while not os.path.isdir(place) and place != os.path.dirname(place):
                place = os.path.dirname(place)
            device = os.stat(place).st_dev
            room = os.statvfs(place)
            mount = place
            while mount != os.path.dirname(mount) and os.stat(os.path.dirname(mount)).st_dev == device:
                mount = os.path.dirname(mount)
            found.append(
                {
                    "path": path,
                    "wanted_mb": int(wanted),
                    "mount": mount,
                    "device": device,
                    "free_mb": room.f_bavail * room.f_frsize >> 20,
                    "free_percent": 100 * room.f_bavail / room.f_blocks if room.f_blocks else 0.0,
                    # btrfs has no fixed number of inodes
                    "inodes_free_percent": 100 * room.f_favail / room.f_files if room.f_files else 100.0,
                }
            )
        return found

    def units(self) -> Dict[str, str]:
        if not self.exists("run/systemd/system"):
            raise Unreadable("systemd does not run")
        try:
            shown = show_units(lambda argv, _timeout: self.run(argv, COMMAND_TIMEOUT), UNITS, ("ActiveState",))
        except SystemdError:
            raise Unreadable("`systemctl show` gives no answer for each unit") from None
        states = {name: properties.get("ActiveState", "") for name, properties in shown.items()}
        if not all(states.values()):
            raise Unreadable("`systemctl show` has units without ActiveState")
        return states

    # --- the kernel

    def modules(self) -> List[Dict[str, Any]]:
        """What loading each wanted module would come to: [{name, optional, state, problem}]."""
        wanted = make_wanted(self.settings["modules"])
        machine = self.machine
        plan = KernelModules(machine, wanted, "")
        for item in wanted:
            state = machine.present(item.name)
            if state is not None:
                plan.states[item.name] = state
        plan.check_boot()
        for item in wanted:
            if item.name not in plan.states and item.name not in plan.problems:
                plan.foresee(item.name)
        plan.check_boot()
        files = self.module_files(machine)
        for item in wanted:
            if item.name not in plan.problems and plan.states.get(item.name) != "builtin":
                lost = self.lost_file(machine, files, plan.stand_ins.get(item.name, [item.name]))
                if lost:
                    plan.problems[item.name] = (
                        f"Module {item.name}: modules.dep of the running kernel lists {lost}, which does not exist. "
                        f"{reinstall_advice(self.facts.get('os') or {}, self.release)}"
                    )
        return [
            {
                "name": item.name,
                "optional": item.optional,
                "state": "missing" if item.name in plan.problems else plan.states[item.name],
                "problem": plan.problems.get(item.name, ""),
            }
            for item in wanted
        ]

    def module_files(self, machine: Machine) -> Dict[str, str]:
        """The file of each module, by modules.dep."""
        if not machine.folder:
            return {}
        paths = [line.partition(":")[0] for line in self.optional(f"{machine.folder}/modules.dep").splitlines()]
        return {module_file_name(path): os.path.join(machine.folder, path) for path in paths if path}

    def lost_file(self, machine: Machine, files: Dict[str, str], names: Sequence[str]) -> Optional[str]:
        """A file that modprobe would look for in vain: of the module itself, or of one it pulls in that is not loaded."""
        for name in names:
            plain = canonical(name)
            needed = [plain] + sorted(other for other in machine.dependencies.get(plain, set()) if machine.present(other) is None)
            for module in needed:
                path = files.get(module)
                if path is not None and not os.path.exists(self.inside(path)):
                    return path
        return None

    def kernel_log(self) -> str:
        """All that the kernel still has; every read gives one message."""
        parts: List[bytes] = []
        handle = os.open(self.inside("dev/kmsg"), os.O_RDONLY | os.O_NONBLOCK)
        try:
            while True:
                try:
                    part = os.read(handle, 65536)
                except BlockingIOError:
                    break
                except BrokenPipeError:
                    # the oldest message was overwritten meanwhile; the next read goes on behind it
                    continue
                if not part:
                    break
                parts.append(part)
        finally:
            os.close(handle)
        return b"".join(parts).decode("utf-8", "replace")

    # --- the network

    def routes6(self) -> List[Dict[str, str]]:
        if not self.exists("proc/net/if_inet6"):
            return []
        return parse.parse_routes(self.command("ip", "-j", "-6", "route", "show", "table", "all"), 6)

    def drivers(self, interface: str, depth: int = 4) -> List[str]:
        """Of an interface, or of those below a bond, bridge or VLAN."""
        link = self.inside(f"sys/class/net/{interface}/device/driver")
        if os.path.islink(link):
            return [os.path.basename(os.readlink(link))]
        below = [name[len("lower_"):] for name in self.names(f"sys/class/net/{interface}") if name.startswith("lower_")]
        return sorted({driver for name in below for driver in self.drivers(name, depth - 1)}) if depth else []

    def interfaces(self) -> List[Dict[str, Any]]:
        """The links, with what /sys knows of them."""
        if self.facts["links"] is None:
            raise Unreadable(self.facts["reasons"]["links"])
        return [
            {
                **link,
                "physical": self.exists(f"sys/class/net/{link['name']}/device"),
                "drivers": self.drivers(link["name"]),
                "cni": is_cni_interface(link["name"]),
            }
            for link in self.facts["links"]
        ]

    def rp_filter(self) -> Dict[str, int]:
        folder = "proc/sys/net/ipv4/conf"
        found = {name: parse.number(self.text(f"{folder}/{name}/rp_filter").strip()) for name in self.names(folder)}
        if "all" not in found:
            raise Unreadable(f"/{folder}/all/rp_filter does not exist")
        return found

    def resolv_conf(self) -> Dict[str, Any]:
        """The file that the kubelet hands to pods: named by the user, by the kubelet's configuration, systemd-resolved's, or the C library's."""
        path = self.settings["resolv_conf"]
        if not path:
            found = re.search(r"^resolvConf:\s*[\"']?(/[^\s\"']+)", self.optional("var/lib/kubelet/config.yaml"), re.MULTILINE)
            path = found.group(1) if found else ""
        if not path:
            resolved = self.facts["units"] is not None and self.facts["units"]["systemd-resolved"] == "active"
            path = RESOLVED_FILE if resolved and self.exists(RESOLVED_FILE) else "/etc/resolv.conf"
        try:
            return {"path": path, **parse.parse_resolv_conf(self.text(path))}
        except Unreadable as error:
            said = str(error)
            raise Unreadable(said if path in said else f"{path}: {said}") from None

    def network_manager_files(self) -> List[Tuple[str, str]]:
        """In the order of NetworkManager.conf(5); of files with one name only that of the first folder here counts."""
        chosen: Dict[str, str] = {}
        for folder in ("etc", "run", "usr/lib"):
            for name in self.names(f"{folder}/NetworkManager/conf.d"):
                if name.endswith(".conf"):
                    chosen.setdefault(name, folder)
        order = [f"{folder}/NetworkManager/conf.d/{name}" for folder in ("usr/lib", "run", "etc") for name in sorted(chosen) if chosen[name] == folder]
        main = sum(1 for folder in chosen.values() if folder != "etc")
        return [(path, self.optional(path)) for path in [*order[:main], "etc/NetworkManager/NetworkManager.conf", *order[main:]]]

    def nft(self) -> Dict[str, Any]:
        """{chains, filters: those that drop or reject}; none where nftables is a module that is not loaded: asking would load it."""
        if self.machine.present("nf_tables") is None and self.machine.installable("nf_tables"):
            return {"chains": [], "filters": []}
        found = parse.parse_nft_chains(self.command("nft", "list", "chains"))
        filters = []
        for item in found["filters"][:20]:
            if item["policy"] == "drop":
                filters.append({**item, "why": "policy drop"})
                continue
            rules = self.command("nft", "list", "chain", item["family"], item["table"], item["chain"])
            seen = rules_that_filter(rules)
            if seen:
                filters.append({**item, "why": seen})
        return {"chains": found["chains"], "filters": filters}

    def iptables(self) -> List[Dict[str, str]]:
        """Chains of the old tables that drop or reject."""
        found = []
        for names, command, family in (
            ("proc/net/ip_tables_names", "iptables-legacy", "ip"),
            ("proc/net/ip6_tables_names", "ip6tables-legacy", "ip6"),
        ):
            if "filter" not in self.optional(names).split():
                continue
            for chain in ("INPUT", "FORWARD"):
                try:
                    rules = self.command(command, "-S", chain)
                except Unreadable:
                    # where there is only one kind, it has no suffix
                    rules = self.command(command.replace("-legacy", ""), "-S", chain)
                if f"-P {chain} " not in rules:
                    raise Unreadable(f"`{command} -S {chain}` shows no policy")
                seen = "policy drop" if f"-P {chain} DROP" in rules else rules_that_filter(rules)
                if seen:
                    found.append({"family": family, "table": "filter", "chain": chain, "why": seen})
        return found

    def nft_version(self) -> Tuple[int, ...]:
        if self.settings["proxy_mode"] != "nftables":
            return ()
        return parse.version(self.command("nft", "--version").replace("nftables", "").strip())

    def sockets(self) -> List[Dict[str, Any]]:
        found = []
        for name, protocol in (("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp")):
            # A kernel without IPv6 has no list of its sockets.
            if name.endswith("6") and not self.exists(f"proc/net/{name}"):
                continue
            found += parse.parse_sockets(self.text(f"proc/net/{name}"), protocol)
        return found

    def owners(self) -> Dict[int, str]:
        """The names of the processes behind the sockets on wanted ports."""
        ports = {(item["protocol"], item["port"]) for item in self.settings["ports"]}
        wanted = {f"socket:[{item['inode']}]": item["inode"] for item in self.facts["sockets"] or [] if (item["protocol"], item["port"]) in ports}
        found: Dict[int, str] = {}
        if not wanted:
            return found
        for pid in self.names("proc"):
            if not pid.isdigit():
                continue
            for descriptor in self.names(f"proc/{pid}/fd"):
                try:
                    target = os.readlink(self.inside(f"proc/{pid}/fd/{descriptor}"))
                except OSError:
                    continue
                if target in wanted:
                    found[wanted[target]] = self.optional(f"proc/{pid}/comm").strip() or f"process {pid}"
        return found

    # --- the cluster

    def member(self) -> Dict[str, Any]:
        """{member, unfinished, server}: as module kubeadm tells it, and of this cluster where the addresses of its API servers are given."""
        server = parse.parse_server(self.optional(KUBELET_CONF))
        ours = {name.lower() for name in self.settings["api_servers"]}
        unfinished = self.exists(UNFINISHED_MARK)
        joined = self.exists(KUBELET_CONF) and not unfinished
        return {"member": joined and (not ours or server in ours), "unfinished": unfinished, "joined": joined, "server": server}

    def left_files(self) -> Dict[str, List[str]]:
        """Files of a cluster, whichever it is: {cluster, cni, etcd}."""
        cluster: Set[str] = set()
        for pattern in LEFT_FILES:
            cluster.update("/" + os.path.relpath(path, self.root) for path in glob.glob(self.inside(pattern)))
        cni = [name for name in self.names("etc/cni/net.d") if name.endswith((".conf", ".conflist", ".json"))]
        return {"cluster": sorted(cluster), "cni": [f"/etc/cni/net.d/{name}" for name in cni], "etcd": self.names("var/lib/etcd")}


def rules_that_filter(text: str) -> str:
    """Whether rules drop, reject, or jump to chains of somebody who might; those of kube-proxy and pod networks do not count."""
    if re.search(r"\b(?:drop|reject|DROP|REJECT)\b", text):
        return "drops or rejects"
    targets = re.findall(r"\b(?:jump|goto|-j|-g) ([A-Za-z0-9_.-]+)", text)
    foreign = [name for name in targets if not re.match(r"^(KUBE-|cali-|CILIUM|FLANNEL|CNI-|KUBERNETES-|ACCEPT$|RETURN$|LOG$|MARK$|CONNMARK$)", name)]
    return f"jumps to {', '.join(dict.fromkeys(foreign))}" if foreign else ""


def reinstall_advice(os_release: Dict[str, str], release: str) -> str:
    """How to get files of a kernel back."""
    family = {os_release.get("ID", "")} | set(os_release.get("ID_LIKE", "").split())
    if "ubuntu" in family:
        return f"Reinstall the kernel's modules: `apt-get install --reinstall linux-modules-{release}`, then run again."
    if "debian" in family:
        return f"Reinstall the kernel: `apt-get install --reinstall linux-image-{release}`, then run again."
    if family & {"rhel", "fedora", "centos"}:
        return f"Reinstall the kernel's modules: `dnf reinstall kernel-core-{release} kernel-modules-core-{release} kernel-modules-{release}`, then run again."
    return "Reinstall the kernel's package, then run again."
