# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""A process that goes on when the module that started it has ended."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Collection

_PR_SET_NAME = 15


def become_daemon(name: str, keep: Collection[int]) -> None:
    """Let go of the caller: its pipes, its working directory, its terminal's end. name is what ps shows (15 bytes)."""
    # An open pipe of the caller would keep its SSH session, and with it Ansible, waiting.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    for entry in os.listdir("/proc/self/fd"):
        descriptor = int(entry)
        if descriptor > 2 and descriptor not in keep:
            try:
                os.close(descriptor)
            except OSError:
                # the one that read this list
                pass
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir("/")
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
