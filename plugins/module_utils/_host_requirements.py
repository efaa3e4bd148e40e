# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What a machine has to have before hours of work begin on it; everything that it lacks is told at once."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import which

MIB = 1024 * 1024


class HostRequirementsError(Exception):
    """The machine cannot be read."""


def memory_available(path: str = "/proc/meminfo") -> int:
    """Bytes that programs can have without swapping, as the kernel estimates them."""
    try:
        with open(path, encoding="ascii") as stream:
            for line in stream:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError) as exc:
        raise HostRequirementsError(f"{path} cannot be read: {exc}.") from exc
    raise HostRequirementsError(f"{path} has no line MemAvailable; a kernel of 3.14 or newer is wanted.")


def existing(path: str) -> str:
    """The path, or the nearest directory above it that exists."""
    path = os.path.abspath(path)
    while not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


def disk_free(path: str) -> int:
    room = os.statvfs(existing(path))
    return room.f_bavail * room.f_frsize


def problems(
    purpose: str,
    disk: t.Sequence[t.Tuple[str, int]],
    memory_mib: int,
    commands: t.Sequence[str],
    root: bool,
    uid: int,
    find: t.Callable[[str], t.Optional[str]] = which,
    free: t.Callable[[str], int] = disk_free,
    memory: t.Callable[[], int] = memory_available,
) -> t.List[str]:
    """One sentence for each thing that is missing."""
    found = []
    if root and uid != 0:
        found.append(f"{purpose} needs root and runs as user {uid}; run it as root.")
    for path, wanted in disk:
        seen = free(path) // MIB
        if seen < wanted:
            found.append(f"{purpose} needs {wanted} MiB free on the file system of {path} and {seen} MiB are free; make room or choose another directory.")
    if memory_mib:
        seen = memory() // MIB
        if seen < memory_mib:
            found.append(f"{purpose} needs {memory_mib} MiB of available memory and {seen} MiB are available; end other programs or add memory.")
    lacking = [name for name in commands if not find(name)]
    if lacking:
        found.append(f"{purpose} needs the commands {', '.join(lacking)}, which are not installed; install the packages that hold them.")
    return found
