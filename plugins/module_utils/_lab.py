# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What a machine must have to carry the lab, and whether its KVM really works."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Tuple

MIB = 1024**2
GIB = 1024**3

# libvirt puts the machine's name into QEMU's arguments.
GUEST = "guest=baremetal-kubernetes-"


class LabError(Exception):
    """The machine could not be looked at."""


# What the machine has


@dataclass
class HostState:
    """What the checks look at; memory and disk include what the lab itself already holds."""

    os_id: str
    os_like: List[str]
    os_name: str
    architecture: str
    memory_bytes: int
    disk_bytes: int


def parse_os_release(text: str) -> Dict[str, str]:
    """Return the keys of /etc/os-release without their quotes."""
    values = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and not key.startswith("#"):
            values[key.strip()] = value.strip().strip("\"'")
    return values


def parse_available_memory(text: str) -> int:
    """Return MemAvailable of /proc/meminfo in bytes."""
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise LabError("/proc/meminfo has no line MemAvailable.")


def parse_resident_memory(text: str) -> int:
    """Return VmRSS of /proc/PID/status in bytes, 0 for a process that has none."""
    for line in text.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def lab_memory(proc: str = "/proc") -> int:
    """Return the memory that the lab's own machines hold now."""
    total = 0
    for entry in os.listdir(proc):
        if not entry.isdigit():
            continue
        try:
            if GUEST in _read(f"{proc}/{entry}/cmdline"):
                total += parse_resident_memory(_read(f"{proc}/{entry}/status"))
        except OSError:
            continue  # it ended while we looked
    return total


def existing_parent(path: str) -> str:
    """Return the path itself or its nearest parent that exists."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def tree_size(path: str) -> int:
    """Return the blocks that the files below a folder occupy, in bytes."""
    total = 0
    for folder, dummy, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                continue  # it was removed while we looked
    return total


def host_state(cache_dir: str) -> HostState:
    """Look at this machine."""
    release = parse_os_release(_read("/etc/os-release"))
    disk = os.statvfs(existing_parent(cache_dir))
    return HostState(
        os_id=release.get("ID", ""),
        os_like=release.get("ID_LIKE", "").split(),
        os_name=release.get("PRETTY_NAME", release.get("ID", "unknown")),
        architecture=os.uname().machine,
        memory_bytes=parse_available_memory(_read("/proc/meminfo")) + lab_memory(),
        disk_bytes=disk.f_bavail * disk.f_frsize + tree_size(cache_dir),
    )


def host_problems(state: HostState, cache_dir: str, memory_mib: int, disk_gib: int) -> List[str]:
    """Return one sentence for each thing that this machine lacks."""
    problems = []
    if "debian" not in [state.os_id, *state.os_like]:
        problems.append(
            f"This machine runs {state.os_name}, and the lab installs its tools with apt: use Debian or Ubuntu, or point the inventory at machines of your own."
        )
    if state.architecture != "x86_64":
        problems.append(f"This machine is {state.architecture}, and the lab's machines are x86_64: use an x86_64 machine.")
    if state.memory_bytes < memory_mib * MIB:
        problems.append(
            f"{state.memory_bytes // MIB} MiB of memory are free for the lab, and its machines need {memory_mib} MiB:"
            " end other programs, or ask for fewer or smaller machines (LAB_WORKERS, LAB_CONTROL_PLANES, LAB_WORKER_MEMORY, LAB_CONTROL_PLANE_MEMORY)."
        )
    if state.disk_bytes < disk_gib * GIB:
        problems.append(
            f"{state.disk_bytes // GIB} GiB of disk are free for the lab below {cache_dir}, and it needs {disk_gib} GiB:"
            " free some, or set BAREMETAL_LAB_CACHE to a folder on a larger disk."
        )
    return problems


# Whether KVM works

# Without a disk this is how far a kernel comes: everything before it has worked.
CAME_THROUGH = "Unable to mount root fs"

# boot(kernel, seconds) -> (console text, True when QEMU ended by itself, its messages)
Boot = Callable[[str, float], Tuple[str, bool, str]]


@dataclass
class Verdict:
    """Which libvirt domain type to use, and why."""

    driver: str
    reason: str
    seconds: float = 0.0
    cached: bool = False


def boot_kernel(kernel: str, seconds: float, accelerator: str = "kvm", cpu: str = "host") -> Tuple[str, bool, str]:
    """Boot a kernel without a disk until it panics for want of one, or until the time is over."""
    argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-machine", f"pc,accel={accelerator}", "-cpu", cpu, "-m", "256"]
    argv += ["-display", "none", "-serial", "stdio", "-kernel", kernel, "-append", "console=ttyS0 panic=-1"]
    console = b""
    try:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # pylint: disable=consider-using-with
    except OSError as error:
        raise LabError(f"qemu-system-x86_64 cannot be run: {error.strerror}.") from error
    try:
        deadline = time.monotonic() + seconds
        ended = False
        while time.monotonic() < deadline and CAME_THROUGH.encode() not in console:
            if select.select([process.stdout], [], [], 0.2)[0]:
                chunk = os.read(process.stdout.fileno(), 65536)
                if not chunk:
                    ended = True
                    break
                console += chunk
    finally:
        process.kill()
        messages = process.communicate()[1]
    return console.decode("utf-8", "replace"), ended, messages.decode("utf-8", "replace")


def last_line(text: str) -> str:
    """Return the last line that says something, without control characters."""
    for line in reversed(text.splitlines()):
        printable = "".join(character for character in line if character.isprintable()).strip()
        if printable:
            return printable
    return ""


def judge(console: str, ended: bool, messages: str, seconds: float) -> Verdict:
    """Turn what a test boot showed into a verdict."""
    if CAME_THROUGH in console:
        return Verdict("kvm", "A stock kernel boots under KVM.")
    seen = last_line(console) or "nothing"
    if ended:
        message = last_line(messages) or "no message"
        return Verdict("qemu", f"KVM does not boot a stock kernel: QEMU ended with '{message}', and the console's last line was '{seen}'.")
    return Verdict("qemu", f"KVM does not boot a stock kernel: after {seconds:g} seconds the console's last line was '{seen}'.")


def decide(
    device: str, kernels: List[str], seconds: float, cache_file: Optional[str], boot_id: str, boot: Boot = boot_kernel
) -> Verdict:
    """Decide between KVM and software emulation; a test boot is made once for each boot of the machine."""
    if not os.path.exists(device):
        return Verdict("qemu", f"This machine has no {device}.")
    if not os.access(device, os.R_OK | os.W_OK):
        return Verdict("qemu", f"{device} cannot be opened by this user.")
    kernel = next((path for path in kernels if os.access(path, os.R_OK)), None)
    if kernel is None:
        return Verdict("qemu", "There is no kernel to try KVM with; set LAB_DRIVER=kvm if you know that it works.")
    if cache_file and os.path.exists(cache_file):
        try:
            kept = json.loads(_read(cache_file))
            if kept["boot_id"] == boot_id:
                return Verdict(kept["driver"], kept["reason"], cached=True)
        except (ValueError, KeyError, TypeError):
            pass  # half a file is as good as none
    begin = time.monotonic()
    console, ended, messages = boot(kernel, seconds)
    verdict = judge(console, ended, messages, seconds)
    verdict.seconds = round(time.monotonic() - begin, 1)
    if cache_file:
        temporary = f"{cache_file}.new"
        with open(temporary, "w", encoding="utf-8") as stream:
            json.dump({"boot_id": boot_id, "driver": verdict.driver, "reason": verdict.reason}, stream)
        os.replace(temporary, cache_file)
    return verdict
