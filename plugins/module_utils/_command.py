# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Run a command with a time limit, in the C locale, and without a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Callable, List, Optional, Tuple

# run(argv, timeout in seconds or None) -> (return code, standard output, standard error)
Runner = Callable[[List[str], Optional[float]], Tuple[int, str, str]]

# As coreutils timeout and the shell have it, so that a reader knows the numbers.
TIMED_OUT = 124
NOT_RUNNABLE = 126
NOT_FOUND = 127

# A login over SSH may leave sbin out of PATH, also for root.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def which(name: str) -> Optional[str]:
    """Return the path of a command, or None."""
    return shutil.which(name, path=SEARCH_PATH)


def run_command(argv: List[str], timeout: Optional[float] = None) -> Tuple[int, str, str]:
    """Run argv; a command that is missing or cannot run, and a timeout, become return codes with a message on standard error."""
    environment = dict(os.environ, LC_ALL="C", LANGUAGE="C", PATH=SEARCH_PATH, SYSTEMD_PAGER="", SYSTEMD_COLORS="0")
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        return NOT_FOUND, "", f"{argv[0]}: command not found"
    except OSError as error:  # a folder, not executable, for another architecture
        return NOT_RUNNABLE, "", f"{argv[0]}: cannot be run: {error.strerror or error}"
    except subprocess.TimeoutExpired as error:
        out = (error.stdout or b"").decode("utf-8", "replace")
        return TIMED_OUT, out, f"{' '.join(argv)}: no end after {timeout:g} seconds"
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
