# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Write a small text file so that a reader, or a power cut, finds either the old one or the new one."""

from __future__ import annotations

import os
import tempfile
from typing import Optional


def file_mode(path: str) -> Optional[int]:
    """Return the permission bits, or None when there is no such file."""
    try:
        return os.stat(path).st_mode & 0o7777
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_text(path: str, text: str, mode: int) -> None:
    """Replace a file in one step; its folder is made when missing."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    # In the same folder: rename is atomic within one filesystem only, and the new file gets the folder's SELinux type.
    handle, temporary = tempfile.mkstemp(prefix=".ansible-", dir=folder)
    try:
        # What was read as surrogateescape comes back as the bytes it was.
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(text)
            os.fchmod(stream.fileno(), mode)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
