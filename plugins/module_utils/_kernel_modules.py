# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Load a list of kernel modules now and at every boot, and say why where that cannot be done."""

from __future__ import annotations

import os
import re
from functools import cached_property
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import Runner
from ansible_collections.baremetal.kubernetes.plugins.module_utils._node_state import parse_os_release, read_text
from ansible_collections.baremetal.kubernetes.plugins.module_utils._textfile import file_mode, write_text

FILE_MODE = 0o644
LOAD_TIMEOUT = 120.0

HEADER = "# Managed by Ansible, module baremetal.kubernetes.kernel_modules. The whole file is written again on every run.\n"

NAME_PATTERN = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_-]*$")

# Highest priority first (modprobe.d(5)); of files with one name only the first counts.
MODPROBE_DIRECTORIES = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")

# Merged into another module at some time. Distributions carried that back to older kernels, so the version says nothing.
MERGED = {
    "nf_conntrack_ipv4": "nf_conntrack",
    "nf_conntrack_ipv6": "nf_conntrack",
    "nf_nat_ipv4": "nf_nat",
    "nf_nat_ipv6": "nf_nat",
    "nf_nat_masquerade_ipv4": "nf_nat",
    "nf_nat_masquerade_ipv6": "nf_nat",
}

# What a module leaves in /proc. A kernel built without modules (a microVM, some providers) shows its parts only here.
WITNESSES = {
    "br_netfilter": "proc/sys/net/bridge/bridge-nf-call-iptables",
    "nf_conntrack": "proc/sys/net/netfilter/nf_conntrack_max",
    "ip_vs": "proc/net/ip_vs",
}

# Commands of an "install" line in modprobe.d that load nothing.
NO_COMMANDS = {"/bin/false", "/usr/bin/false", "/sbin/false", "/bin/true", "/usr/bin/true", "/sbin/true", "/dev/null", "false", "true", ":"}


class KernelModulesError(Exception):
    """One sentence per problem: what was seen, what is wanted, what to do."""


class Wanted(NamedTuple):
    """One module of the list."""

    name: str
    optional: bool
    comment: str


class Line(NamedTuple):
    """A directive of modprobe.d and where it stands."""

    source: str
    command: str


def canonical(name: str) -> str:
    """Return the name as the kernel lists it: - and _ are the same letter to it."""
    return name.replace("-", "_")


def module_file_name(path: str) -> str:
    """Return the module's name of a path such as kernel/net/bridge/br_netfilter.ko.xz."""
    return canonical(os.path.basename(path).split(".ko")[0])


def make_wanted(entries: Sequence[Mapping[str, Any]]) -> List[Wanted]:
    """Check what the user wrote; a name given twice counts once, and is required when either says so."""
    wanted: Dict[str, Wanted] = {}
    for entry in entries:
        name = str(entry["name"]).strip()
        if not NAME_PATTERN.match(name):
            raise KernelModulesError(f"{name!r} is not the name of a kernel module, such as br_netfilter.")
        item = Wanted(name, bool(entry.get("optional")), str(entry.get("comment") or ""))
        known = wanted.get(canonical(name))
        if known is None or (known.optional and not item.optional):
            wanted[canonical(name)] = item
    return list(wanted.values())


def modules_load_text(wanted: Sequence[Wanted], stand_ins: Mapping[str, Sequence[str]], left_out: Sequence[str] = ()) -> str:
    """Return the file for modules-load.d(5): a name it cannot load would leave systemd-modules-load failed at every boot."""
    lines: List[str] = []
    written: Set[str] = set()
    for item in wanted:
        if item.name in left_out:
            lines.append(f"# {item.name}: left out, it cannot be loaded here")
            continue
        for name in stand_ins.get(item.name, [item.name]):
            if canonical(name) in written:
                continue
            written.add(canonical(name))
            lines += [f"# {text.strip()}" for text in item.comment.splitlines() if text.strip()]
            lines.append(name)
    return HEADER + "".join(f"{line}\n" for line in lines)


def parse_dependencies(text: str) -> Dict[str, Set[str]]:
    """Parse modules.dep: module to all modules it pulls in."""
    found: Dict[str, Set[str]] = {}
    for line in text.splitlines():
        path, colon, needs = line.partition(":")
        if colon:
            found[module_file_name(path)] = {module_file_name(need) for need in needs.split()}
    return found


def parse_modprobe_directives(files: Sequence[Tuple[str, str]]) -> Tuple[Dict[str, Line], Dict[str, Line]]:
    """Return the blacklist and install lines of modprobe.d files, given as (path, text), each with its place."""
    blacklist: Dict[str, Line] = {}
    install: Dict[str, Line] = {}
    for path, text in files:
        for number, line in enumerate(text.splitlines(), start=1):
            fields = line.split()
            if len(fields) >= 2 and fields[0] == "blacklist":
                blacklist.setdefault(canonical(fields[1]), Line(f"{path}:{number}", "blacklist"))
            elif len(fields) >= 3 and fields[0] == "install":
                install.setdefault(canonical(fields[1]), Line(f"{path}:{number}", " ".join(fields[2:])))
    return blacklist, install


def command_line_blacklist(text: str) -> Dict[str, Line]:
    """Return the modules that the kernel's command line keeps out."""
    found: Dict[str, Line] = {}
    for word in text.split():
        key, _equals, value = word.partition("=")
        if key in ("modprobe.blacklist", "module_blacklist"):
            for name in value.split(","):
                if name:
                    found[canonical(name)] = Line(f"the kernel command line ({key})", "blacklist")
    return found


# The number that the kernel gives its first namespace of processes (PROC_PID_INIT_INO), which no container runs in.
FIRST_PID_NAMESPACE = "pid:[4026531836]"


def container_kind(root: str) -> Optional[str]:
    """Name the container this runs in, or None on a machine with a kernel of its own."""
    try:
        # A machine whose disk was made from a container's image has that image's marks.
        if os.readlink(os.path.join(root, "proc/self/ns/pid")) == FIRST_PID_NAMESPACE:
            return None
    except OSError:
        pass
    for path in ("run/systemd/container", "run/host/container-manager"):
        text = (read_text(os.path.join(root, path)) or "").strip()
        if text:
            return text
    try:
        environment = read_text(os.path.join(root, "proc/1/environ")) or ""
    except OSError:
        environment = ""
    for item in environment.split("\0"):
        if item.startswith("container=") and item != "container=":
            return item.partition("=")[2]
    exists = os.path.exists
    if exists(os.path.join(root, "proc/vz")) and not exists(os.path.join(root, "proc/bc")):
        return "OpenVZ or Virtuozzo"
    if exists(os.path.join(root, ".dockerenv")):
        return "docker"
    return None


def package_advice(os_release: Mapping[str, str], release: str, machine: str) -> str:
    """Say which package brings modules that the installed kernel lacks."""
    family = [os_release.get("ID", "")] + os_release.get("ID_LIKE", "").split()
    if "ubuntu" in family:
        if "raspi" in release:
            return f"Install linux-modules-extra-{release} or linux-modules-extra-raspi (apt), then run again."
        return f"Install linux-modules-extra-{release} (apt), then run again."
    if "debian" in family:
        architecture = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armmp"}.get(machine, machine)
        if "cloud" in release:
            return (
                f"The cloud flavour of Debian's kernel leaves it out: install linux-image-{architecture} (apt), remove the "
                f"linux-image-cloud packages, reboot, then run again."
            )
        return f"Debian's linux-image-{architecture} has it: install that (apt), reboot if it brings another kernel, then run again."
    if {"rhel", "fedora", "centos"} & set(family):
        return f"Install kernel-modules-{release} and kernel-modules-extra-{release} (dnf), then run again."
    return "Install the distribution's full kernel package, reboot into it, then run again."


class Machine:
    """What is loaded and what could be; root is another directory in tests only."""

    def __init__(self, run: Runner, root: str = "/", release: Optional[str] = None, machine: Optional[str] = None) -> None:
        self.run = run
        self.root = root
        self.release = release or os.uname().release
        self.machine = machine or os.uname().machine
        self.loaded: Set[str] = set()
        self.folder = next((path for path in self._folders() if os.path.isdir(self._inside(path))), None)
        self.filesystems: Set[str] = set()
        self.blacklist, self.install = parse_modprobe_directives(self._modprobe_files())
        self.blacklist.update(command_line_blacklist(self._text("/proc/cmdline")))
        self.refresh()

    # Both are read only when somebody asks: a second run finds everything in /proc/modules.
    @cached_property
    def builtin(self) -> Set[str]:
        """Modules that are part of the kernel."""
        return {module_file_name(line) for line in self._text(f"{self.folder}/modules.builtin").splitlines() if line} if self.folder else set()

    @cached_property
    def dependencies(self) -> Dict[str, Set[str]]:
        """Modules that can be loaded, each with all it pulls in."""
        return parse_dependencies(self._text(f"{self.folder}/modules.dep")) if self.folder else {}

    def _inside(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))

    def _text(self, path: str) -> str:
        return read_text(self._inside(path)) or ""

    def _folders(self) -> List[str]:
        return [f"/lib/modules/{self.release}", f"/usr/lib/modules/{self.release}"]

    def _modprobe_files(self) -> List[Tuple[str, str]]:
        chosen: Dict[str, str] = {}
        for directory in MODPROBE_DIRECTORIES:
            try:
                names = os.listdir(self._inside(directory))
            except (FileNotFoundError, NotADirectoryError):
                continue
            for name in names:
                if name.endswith(".conf"):
                    chosen.setdefault(name, f"{directory}/{name}")
        return [(path, self._text(path)) for _name, path in sorted(chosen.items())]

    def refresh(self) -> None:
        """Read again what the running kernel has."""
        self.loaded = {line.split()[0] for line in self._text("/proc/modules").splitlines() if line.split()}
        self.filesystems = {canonical(line.split()[-1]) for line in self._text("/proc/filesystems").splitlines() if line.split()}

    def present(self, name: str) -> Optional[str]:
        """Return loaded or builtin, or None."""
        plain = canonical(name)
        if plain in self.loaded:
            return "loaded"
        if plain in self.builtin or os.path.isdir(self._inside(f"/sys/module/{plain}")):
            return "builtin"
        if plain in self.filesystems or (plain in WITNESSES and os.path.exists(self._inside(WITNESSES[plain]))):
            return "builtin"
        return None

    def installable(self, name: str) -> bool:
        """Whether modules.dep lists it."""
        return canonical(name) in self.dependencies

    def masked(self, name: str) -> Optional[Line]:
        """Return the install line that makes modprobe do nothing."""
        line = self.install.get(canonical(name))
        return line if line is not None and line.command.split()[0] in NO_COMMANDS else None

    def resolve_alias(self, name: str) -> List[str]:
        """Return the modules behind an alias, none for a name that is no alias."""
        code, out, _err = self.run(["modprobe", "--resolve-alias", name], LOAD_TIMEOUT)
        names = out.split() if code == 0 else []
        return [found for found in names if canonical(found) != canonical(name)]

    def other_folders(self) -> List[str]:
        """Kernels whose modules are installed."""
        found: Set[str] = set()
        for directory in ("/lib/modules", "/usr/lib/modules"):
            try:
                names = os.listdir(self._inside(directory))
            except (FileNotFoundError, NotADirectoryError):
                continue
            found.update(name for name in names if os.path.exists(self._inside(f"{directory}/{name}/modules.dep")))
        return sorted(found - {self.release})

    def explain(self, name: str, seen: str) -> str:
        """Say why a module cannot be had, and what to do."""
        prefix = f"Module {name}:"
        container = container_kind(self.root)
        masked = self.masked(name)
        if masked is not None:
            return (
                f"{prefix} {masked.source} replaces it by {masked.command!r}, so that modprobe loads nothing. Remove that line, then run again."
            )
        if container is not None:
            return (
                f"{prefix} this is a container ({container}), and modules belong to the kernel of its host{_said(seen)}. "
                "Load it on the host and at the host's boot, or use a machine with a kernel of its own (KVM, bare metal)."
            )
        if self.folder is None and self.other_folders():
            return (
                f"{prefix} the running kernel {self.release} has no modules on disk any more (installed: {', '.join(self.other_folders())}): "
                "the kernel was updated and the machine not rebooted. Reboot, then run again."
            )
        if self.folder is None:
            return (
                f"{prefix} the running kernel {self.release} has no modules on disk and does not have it built in. "
                "Boot a kernel of the distribution, then run again."
            )
        if self.dependencies and not self.installable(name):
            os_release = parse_os_release(self._text("/etc/os-release") or self._text("/usr/lib/os-release"))
            return f"{prefix} the installed kernel {self.release} does not have it{_said(seen)}. {package_advice(os_release, self.release, self.machine)}"
        if canonical(name) in self.blacklist:
            return f"{prefix} {self.blacklist[canonical(name)].source} keeps it out{_said(seen)}. Remove it there, then run again."
        return f"{prefix} it was not loaded{_said(seen)}. Wanted: loaded. Next: run `modprobe -v {name}` on the node and look at the end of `dmesg`."


def _said(seen: str) -> str:
    return f" (modprobe: {' '.join(seen.split())})" if seen.strip() else ""


class KernelModules:
    """Bring the machine to a list of modules."""

    def __init__(self, machine: Machine, wanted: Sequence[Wanted], path: str) -> None:
        self.machine = machine
        self.wanted = list(wanted)
        self.path = path
        self.states: Dict[str, str] = {}
        self.stand_ins: Dict[str, List[str]] = {}
        self.problems: Dict[str, str] = {}
        self.warnings: List[str] = []

    def run(self, check_mode: bool) -> Dict[str, Any]:
        """Look, load, look again, persist."""
        for item in self.wanted:
            state = self.machine.present(item.name)
            if state is not None:
                self.states[item.name] = state
        # Before loading: what may not come at boot is not brought in now either.
        self.check_boot()
        todo = [item.name for item in self.wanted if item.name not in self.states and item.name not in self.problems]
        if check_mode:
            for name in todo:
                self.foresee(name)
        elif todo:
            self.load(todo)
        # Again, with the modules that aliases and merged names turned out to be.
        self.check_boot()
        self.refuse()
        return self.persist(check_mode)

    def load(self, names: Sequence[str]) -> None:
        """All at once first, which is one process; then one by one what did not come, for its own message."""
        before = self.machine.loaded
        self.machine.run(["modprobe", "--all"] + list(names), LOAD_TIMEOUT)
        self.machine.refresh()
        for name in names:
            if self.machine.present(name) is not None:
                self.states[name] = "load"
                continue
            code, _out, err = self.machine.run(["modprobe", name], LOAD_TIMEOUT)
            self.machine.refresh()
            if self.machine.present(name) is not None:
                self.states[name] = "load"
            elif code == 0 and self.take_alias(name):
                came = self.machine.loaded - before
                self.states[name] = "load" if any(canonical(found) in came for found in self.stand_ins[name]) else "alias"
            elif not self.take_successor(name):
                self.problems[name] = self.machine.explain(name, err)

    def take_alias(self, name: str) -> bool:
        """Accept another name of modules that are there now."""
        names = self.machine.resolve_alias(name)
        if names and all(self.machine.present(found) is not None for found in names):
            self.stand_ins[name] = names
            return True
        return False

    def take_successor(self, name: str) -> bool:
        """Accept the module into which this one was merged."""
        successor = MERGED.get(canonical(name))
        if successor is None:
            return False
        state = "merged"
        if self.machine.present(successor) is None:
            state = "load"
            self.machine.run(["modprobe", successor], LOAD_TIMEOUT)
            self.machine.refresh()
        if self.machine.present(successor) is None:
            return False
        self.states[name] = state
        self.stand_ins[name] = [successor]
        return True

    def foresee(self, name: str) -> None:
        """Say what loading would do, without doing it."""
        machine = self.machine
        successor = MERGED.get(canonical(name))
        if machine.masked(name) is not None:
            self.problems[name] = machine.explain(name, "")
        elif machine.installable(name):
            self.states[name] = "load"
        elif successor is not None and (machine.present(successor) is not None or machine.installable(successor)):
            self.states[name] = "merged" if machine.present(successor) is not None else "load"
            self.stand_ins[name] = [successor]
        elif machine.folder is not None and not machine.dependencies:
            # No index of modules to look into: modprobe will know.
            self.states[name] = "load"
        else:
            aliases = machine.resolve_alias(name) if machine.folder is not None else []
            if aliases:
                self.states[name] = "alias" if all(machine.present(found) is not None for found in aliases) else "load"
                self.stand_ins[name] = aliases
            else:
                self.problems[name] = machine.explain(name, "")

    def check_boot(self) -> None:
        """A blacklist does not hinder modprobe, but systemd-modules-load obeys it: loaded today, gone after the next boot."""
        names = {canonical(name) for item in self.wanted for name in self.stand_ins.get(item.name, [item.name])}
        for item in self.wanted:
            if item.name in self.problems or self.states.get(item.name) == "builtin":
                continue
            for name in self.stand_ins.get(item.name, [item.name]):
                plain = canonical(name)
                line = self.machine.blacklist.get(plain)
                if line is None:
                    continue
                pulled_in = any(
                    plain in self.machine.dependencies.get(other, set()) and other not in self.machine.blacklist for other in names - {plain}
                )
                if not pulled_in:
                    self.problems[item.name] = (
                        f"Module {name}: {line.source} blacklists it, which keeps systemd-modules-load from loading it at boot. "
                        "Remove it there, then run again."
                    )

    def refuse(self) -> None:
        """Optional modules only warn."""
        hard = [self.problems[item.name] for item in self.wanted if item.name in self.problems and not item.optional]
        if hard:
            raise KernelModulesError(" ".join(hard))
        for item in self.wanted:
            if item.name in self.problems:
                self.states[item.name] = "missing"
                self.warnings.append(f"{self.problems[item.name]} It is optional and left out.")

    def persist(self, check_mode: bool) -> Dict[str, Any]:
        """Write the file for the next boot and tell everything."""
        inside = os.path.join(self.machine.root, self.path.lstrip("/"))
        missing = [item.name for item in self.wanted if self.states[item.name] == "missing"]
        text = modules_load_text(self.wanted, self.stand_ins, missing)
        old = read_text(inside)
        file_changes = text != old or file_mode(inside) != FILE_MODE
        if file_changes and not check_mode:
            write_text(inside, text, FILE_MODE)
        loaded = [item.name for item in self.wanted if self.states[item.name] == "load"]
        return {
            "changed": file_changes or len(loaded) > 0,
            "path": self.path,
            "file_changed": file_changes,
            "loaded": loaded,
            "missing": missing,
            "modules": [
                {
                    "name": item.name,
                    "state": {"load": "loaded"}.get(self.states[item.name], self.states[item.name]),
                    "provided_by": self.stand_ins.get(item.name, [] if item.name in missing else [item.name]),
                }
                for item in self.wanted
            ],
            "kernel": self.machine.release,
            "diff": [
                {"before_header": self.path, "after_header": self.path, "before": old or "", "after": text},
                {
                    "before_header": "loaded kernel modules",
                    "after_header": "loaded kernel modules",
                    "before": "",
                    "after": "".join(f"{name}\n" for name in loaded),
                },
            ],
        }
