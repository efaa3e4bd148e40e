# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a command from running becomes a return code and a message, as in a shell."""

from __future__ import annotations

import pytest
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command


def test_output_and_code_are_those_of_the_command():
    assert run_command(["sh", "-c", "echo out; echo err >&2; exit 3"], 10) == (3, "out\n", "err\n")


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda path: None, 127, "command not found"),
        (lambda path: path.mkdir(), 126, "cannot be run: Permission denied"),
        (lambda path: path.write_bytes(b"\x7fELF of another machine") and path.chmod(0o755), 126, "cannot be run: Exec format error"),
    ],
    ids=["missing", "a folder", "another architecture"],
)
def test_a_command_that_cannot_run(tmp_path, make, code, words):
    path = tmp_path / "program"
    make(path)
    assert run_command([str(path)], 10) == (code, "", f"{path}: {words}")


def test_a_command_without_end():
    assert run_command(["sleep", "10"], 0.1) == (124, "", "sleep 10: no end after 0.1 seconds")
