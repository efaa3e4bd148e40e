# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Find the network namespace of a pod and do something inside of it, in a process of its own that is always ended."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
from typing import Any, Callable, Optional

_CLONE_NEWNET = 0x40000000


class PodTrafficError(Exception):
    """The traffic could not be made; one sentence."""


def find_process(uid: str, proc: str = "/proc") -> Optional[int]:
    """A process of the pod with this UID, in a network namespace of its own.

    The kubelet puts the UID into the name of the pod's cgroup: with dashes under the cgroupfs driver, with underscores
    under the systemd driver, in version 1 and 2 alike.
    """
    if not uid:
        return None
    marks = (f"pod{uid}", f"pod{uid.replace('-', '_')}")
    own = os.readlink(f"{proc}/self/ns/net")
    for name in sorted((name for name in os.listdir(proc) if name.isdigit()), key=int):
        try:
            with open(f"{proc}/{name}/cgroup", encoding="utf-8", errors="replace") as handle:
                text = handle.read()
            if any(mark in text for mark in marks) and os.readlink(f"{proc}/{name}/ns/net") != own:
                return int(name)
        except OSError:
            # it ended while we looked
            continue
    return None


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def enter_network(path: str) -> None:
    """Move this process into a network namespace; os.setns came with Python 3.12 only."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc().setns(descriptor, _CLONE_NEWNET):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), path)
    finally:
        os.close(descriptor)


class Helper:
    """A child process that calls function, inside the network namespace at path if one is given, and sends back its JSON value."""

    def __init__(self, path: Optional[str], function: Callable[[], Any]) -> None:
        self._what = path or "the node's network"
        self._reader, writer = os.pipe()
        sys.stdout.flush()
        self._child = os.fork()
        if self._child == 0:
            status = 1
            try:
                os.close(self._reader)
                try:
                    if path:
                        enter_network(path)
                    answer = {"value": function()}
                except Exception as error:  # pylint: disable=broad-exception-caught
                    # whatever it is, the parent reports it
                    answer = {"error": f"{type(error).__name__}: {error}"}
                with os.fdopen(writer, "w") as handle:
                    json.dump(answer, handle)
                status = 0
            finally:
                os._exit(status)
        os.close(writer)

    def end(self) -> None:
        """Kill the child, if it still runs."""
        if self._child:
            os.close(self._reader)
            try:
                os.kill(self._child, signal.SIGKILL)
            except ProcessLookupError:
                pass
            os.waitpid(self._child, 0)
            self._child = 0

    def result(self, seconds: float) -> Any:
        """What the function returned; after so many seconds without it the child is killed."""
        deadline = time.monotonic() + seconds
        data = b""
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self._reader], [], [], left)[0]:
                    raise PodTrafficError(f"nothing came back from {self._what} within {seconds:.0f} seconds")
                part = os.read(self._reader, 65536)
                if not part:
                    break
                data += part
        finally:
            self.end()
        try:
            answer = json.loads(data)
        except ValueError:
            raise PodTrafficError(f"the helper process in {self._what} ended without an answer") from None
        if "error" in answer:
            raise PodTrafficError(answer["error"])
        return answer["value"]


def run_inside(path: str, function: Callable[[], Any], seconds: float) -> Any:
    """The JSON value that function returns in a child inside that network namespace; bounded by killing the child."""
    return Helper(path, function).result(seconds)
