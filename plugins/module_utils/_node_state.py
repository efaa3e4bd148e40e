# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Read what a role needs to know about a node: at most two commands, everything else from /proc and files."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import stat
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import NOT_FOUND, Runner
from ansible_collections.baremetal.kubernetes.plugins.module_utils._interfaces import interface_of
from ansible_collections.baremetal.kubernetes.plugins.module_utils._systemd import show_units

PACKAGE_TIMEOUT = 120.0
HASH_BLOCK = 1 << 20

UNIT_PROPERTIES = ("Id", "LoadState", "ActiveState", "SubState", "UnitFileState", "ActiveEnterTimestamp")

# Highest priority first, as systemd.unit(5) has it: a link to /dev/null further up masks a unit further down.
UNIT_DIRECTORIES = (
    "etc/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "run/systemd/generator.late",
)

# Services that make swap by themselves, without a swap unit that could be seen before they run.
SWAP_SERVICES = ("zramswap.service", "zram-config.service", "dphys-swapfile.service", "swapspace.service")

VERSION_LOCKS = ("etc/dnf/plugins/versionlock.list", "etc/yum/pluginconf.d/versionlock.list")


class NodeStateError(Exception):
    """The node could not be read."""


def read_text(path: str, errors: str = "replace") -> Optional[str]:
    """Return the text of a small file, or None when it does not exist."""
    try:
        with open(path, "rb") as handle:
            return handle.read().decode("utf-8", errors)
    except (FileNotFoundError, NotADirectoryError):
        return None


def parse_os_release(text: str) -> Dict[str, str]:
    """Parse os-release(5)."""
    values: Dict[str, str] = {}
    for line in text.splitlines():
        key, found, value = line.strip().partition("=")
        if found and not key.startswith("#"):
            values[key] = value.strip().strip("\"'")
    return values


def parse_memory_bytes(text: str) -> Optional[int]:
    """Return MemTotal of /proc/meminfo in bytes."""
    for line in text.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def unescape_mount(field: str) -> str:
    """Undo the octal escapes of /proc/swaps and fstab."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field


def parse_swaps(text: str) -> List[Dict[str, Any]]:
    """Parse /proc/swaps."""
    swaps = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 3:
            swaps.append({"device": unescape_mount(fields[0]), "type": fields[1], "size_kb": int(fields[2])})
    return swaps


def fstab_swaps(text: str) -> List[Dict[str, str]]:
    """Return the fstab lines that bring swap back at the next boot."""
    found = []
    # Not splitlines(): a form feed or a Unicode separator ends no line for mount.
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith("#") or fields[2] != "swap":
            continue
        options = fields[3].split(",") if len(fields) > 3 else []
        if "noauto" not in options:
            found.append({"source": f"/etc/fstab:{number}", "text": line.strip()})
    return found


def _unit_file(root: str, name: str) -> Optional[str]:
    """Return the file systemd would take for a unit."""
    for directory in UNIT_DIRECTORIES:
        path = os.path.join(root, directory, name)
        if os.path.lexists(path):
            return path
    return None


def unit_swaps(root: str) -> List[Dict[str, str]]:
    """Return the units that bring swap back at the next boot: enabled ones and those a generator made."""
    wanted: Set[str] = set()
    for directory in UNIT_DIRECTORIES:
        for kind in ("wants", "requires"):
            wanted.update(os.path.basename(path) for path in glob.glob(os.path.join(root, directory, f"*.{kind}", "*.swap")))
            for service in SWAP_SERVICES:
                wanted.update(os.path.basename(path) for path in glob.glob(os.path.join(root, directory, f"*.{kind}", service)))
    found = []
    for name in sorted(wanted):
        path = _unit_file(root, name)
        if path is None or os.path.realpath(path) == "/dev/null":
            continue
        text = read_text(path) or ""
        settings = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith(("#", ";")))
        # The generator's unit for an fstab line: the line itself is what counts, and is listed with its number.
        if settings.get("SourcePath") == "/etc/fstab":
            continue
        what = settings.get("What") or settings.get("ExecStart") or settings.get("SourcePath") or ""
        found.append({"source": name, "text": what.strip()})
    return found


def file_state(path: str) -> Optional[Dict[str, Any]]:
    """Return digest, mode and size; None for a file that does not exist, a digest of None for what is no regular file."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    digest = None
    if stat.S_ISREG(status.st_mode):
        sha256 = hashlib.sha256()
        with open(path, "rb") as handle:
            for block in iter(lambda: handle.read(HASH_BLOCK), b""):
                sha256.update(block)
        digest = sha256.hexdigest()
    return {"sha256": digest, "mode": f"{stat.S_IMODE(status.st_mode):04o}", "size": status.st_size}


def unit_states(run: Runner, names: Sequence[str]) -> Dict[str, Dict[str, str]]:
    """Return what systemd says about every unit."""
    return {
        name: {
            "load": shown.get("LoadState", ""),
            "active": shown.get("ActiveState", ""),
            "sub": shown.get("SubState", ""),
            "enabled": shown.get("UnitFileState", ""),
            "since": shown.get("ActiveEnterTimestamp", ""),
        }
        for name, shown in show_units(run, names, UNIT_PROPERTIES).items()
    }


def _failed(argv: List[str], code: int, out: str, err: str) -> NodeStateError:
    seen = (err or out).strip()
    return NodeStateError(
        f"Seen: {' '.join(argv[:2])} ended with return code {code}: {seen}. Wanted: the versions of the installed packages. "
        f"Next: run it on the node: {' '.join(argv)}"
    )


def dpkg_packages(run: Runner, names: Sequence[str]) -> Tuple[Dict[str, Optional[str]], List[str]]:
    """Return the version of every package that is really installed, and those on hold."""
    packages: Dict[str, Optional[str]] = {name: None for name in names}
    held: List[str] = []
    argv = ["dpkg-query", "-W", "-f=${Package}\\t${db:Status-Want}\\t${db:Status-Status}\\t${Version}\\n", "--"] + list(names)
    code, out, err = run(argv, PACKAGE_TIMEOUT)
    # 1: at least one name is unknown to dpkg, which is an answer.
    if code not in (0, 1):
        raise _failed(argv, code, out, err)
    for line in out.splitlines():
        fields = line.split("\t")
        if len(fields) != 4 or fields[0] not in packages or fields[2] != "installed":
            continue
        packages[fields[0]] = fields[3]
        if fields[1] == "hold":
            held.append(fields[0])
    return packages, sorted(set(held))


def rpm_packages(run: Runner, names: Sequence[str], root: str = "/") -> Tuple[Dict[str, Optional[str]], List[str]]:
    """Return the version-release of every installed package, and those locked by dnf's versionlock."""
    packages: Dict[str, Optional[str]] = {name: None for name in names}
    argv = ["rpm", "-q", "--qf", "%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}-%{RELEASE}\\n"] + list(names)
    code, out, err = run(argv, PACKAGE_TIMEOUT)
    # rpm returns the number of missing packages and says so on standard output, also of those in a database it cannot open.
    if code == NOT_FOUND or (code != 0 and ("error:" in err or "is not installed" not in out)):
        raise _failed(argv, code, out, err)
    for line in out.splitlines():
        fields = line.split("\t")
        if len(fields) == 3 and fields[0] in packages:
            packages[fields[0]] = fields[2] if fields[1] == "0" else f"{fields[1]}:{fields[2]}"
    locks = [line.strip() for path in VERSION_LOCKS for line in (read_text(os.path.join(root, path)) or "").splitlines()]
    held = [name for name in packages if any(lock.startswith(f"{name}-") and lock[len(name) + 1 : len(name) + 2].isdigit() for lock in locks)]
    return packages, sorted(held)


def package_states(run: Runner, names: Sequence[str], os_release: Dict[str, str], root: str = "/") -> Tuple[Dict[str, Optional[str]], List[str]]:
    """Ask the distribution's own package database."""
    if not names:
        return {}, []
    family = {os_release.get("ID", "")} | set(os_release.get("ID_LIKE", "").split())
    if family & {"debian", "ubuntu"}:
        return dpkg_packages(run, names)
    if family & {"rhel", "fedora", "centos"}:
        return rpm_packages(run, names, root)
    raise NodeStateError(
        f"Seen: operating system {os_release.get('ID', 'unknown')!r}. Wanted: one of the Debian or the Red Hat family. "
        "Next: look at /etc/os-release of the node."
    )


def node_state(
    run: Runner, files: Sequence[str], units: Sequence[str], packages: Sequence[str], address: str = "", root: str = "/"
) -> Dict[str, Any]:
    """Read everything; root is another directory in tests only."""
    os_release = parse_os_release(read_text(os.path.join(root, "etc/os-release")) or read_text(os.path.join(root, "usr/lib/os-release")) or "")
    versions, held = package_states(run, packages, os_release, root)
    return {
        "os_id": os_release.get("ID", ""),
        "os_version": os_release.get("VERSION_ID", ""),
        "kernel": os.uname().release,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "memory_bytes": parse_memory_bytes(read_text(os.path.join(root, "proc/meminfo")) or ""),
        "swaps": parse_swaps(read_text(os.path.join(root, "proc/swaps")) or ""),
        "swap_persistent": fstab_swaps(read_text(os.path.join(root, "etc/fstab")) or "") + unit_swaps(root),
        "files": {path: file_state(path) for path in files},
        "units": unit_states(run, units),
        "packages": versions,
        "interface": interface_of(address, run) if address else None,
        "held": held,
    }
