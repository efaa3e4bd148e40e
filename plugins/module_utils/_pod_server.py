# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""A server of ours inside a pod's network: a process in the background that ends by itself, and that a later run finds and stops."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from typing import Callable, Set, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils._daemon import become_daemon
from ansible_collections.baremetal.kubernetes.plugins.module_utils._netns import PodTrafficError, enter_network

# serve(is_wanted): returns soon after is_wanted() is false
Serve = Callable[[Callable[[], bool]], None]
# Opens the sockets inside the pod's network: (file descriptors to keep, what serves them)
Prepare = Callable[[], Tuple[Set[int], Serve]]


def started(pid: int) -> str:
    """When a process began: tells it from a later one with the same number. Empty when there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as handle:
            return handle.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def remove(pid_file: str) -> None:
    try:
        os.unlink(pid_file)
    except FileNotFoundError:
        pass


def stop(pid_file: str, seconds: float = 5) -> bool:
    """Stop the server that wrote this file, and nobody else."""
    try:
        with open(pid_file, encoding="utf-8") as handle:
            number, began = handle.read().split()
        pid = int(number)
    except (OSError, ValueError):
        return False
    stopped = False
    if began and started(pid) == began:
        os.kill(pid, signal.SIGTERM)
        stopped = True
        deadline = time.monotonic() + seconds
        while started(pid) == began and time.monotonic() < deadline:
            time.sleep(0.05)
    remove(pid_file)
    return stopped


def start(pid: int, prepare: Prepare, title: str, name: str, lifetime: float, pid_file: str) -> int:
    """Process number of a server in the network of process pid, which it does not outlive. One of an earlier run is stopped before.

    title: what it is, for messages; name: of the process; lifetime: seconds.
    """
    stop(pid_file)
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            try:
                enter_network(f"/proc/{pid}/ns/net")
                sockets, serve = prepare()
                os.setsid()
                if os.fork():
                    os._exit(0)
                become_daemon(name, sockets | {writer})
                with open(pid_file, "w", encoding="utf-8") as handle:
                    handle.write(f"{os.getpid()} {started(os.getpid())}\n")
                os.write(writer, f"{os.getpid()}\n".encode())
                os.close(writer)
            except Exception as error:  # pylint: disable=broad-exception-caught
                # whatever it is, the parent reports it
                os.write(writer, f"{type(error).__name__}: {error}\n".encode())
                os._exit(1)
            end, began = time.monotonic() + lifetime, started(pid)
            serve(lambda: time.monotonic() < end and bool(began) and started(pid) == began)
            remove(pid_file)
        finally:
            os._exit(0)
    os.close(writer)
    try:
        ready = select.select([reader], [], [], 30)[0]
        answer = os.read(reader, 4096).decode("utf-8", "replace").strip() if ready else "no answer within 30 seconds"
    finally:
        os.close(reader)
        os.waitpid(child, 0)
    if not answer.isdigit():
        raise PodTrafficError(f"no {title} in the pod: {answer or 'it ended at once'}")
    return int(answer)
