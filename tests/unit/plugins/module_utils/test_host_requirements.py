# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.baremetal.kubernetes.plugins.module_utils._host_requirements import (
    MIB,
    HostRequirementsError,
    disk_free,
    existing,
    memory_available,
    problems,
)


def look(disk=(), memory_mib=0, commands=(), root=False, uid=0):
    return problems(
        "The build",
        disk,
        memory_mib,
        commands,
        root,
        uid,
        find=lambda name: f"/usr/bin/{name}" if name == "unshare" else None,
        free=lambda path: 500 * MIB,
        memory=lambda: 2000 * MIB,
    )


def test_enough_of_everything():
    assert look([("/cache", 500)], 2000, ["unshare"], True) == []


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"root": True, "uid": 1000}, "The build needs root and runs as user 1000; run it as root."),
        (
            {"disk": [("/cache", 501)]},
            "The build needs 501 MiB free on the file system of /cache and 500 MiB are free; make room or choose another directory.",
        ),
        ({"memory_mib": 2001}, "The build needs 2001 MiB of available memory and 2000 MiB are available; end other programs or add memory."),
        (
            {"commands": ["unshare", "mmdebstrap", "setpriv"]},
            "The build needs the commands mmdebstrap, setpriv, which are not installed; install the packages that hold them.",
        ),
    ],
)
def test_one_sentence_for_each(wanted, sentence):
    assert look(**wanted) == [sentence]


def test_everything_is_told_at_once():
    assert len(look([("/a", 501), ("/b", 502)], 2001, ["x"], True, 1)) == 5


def test_real_machine(tmp_path):
    assert memory_available() > 0
    assert existing(str(tmp_path / "a" / "b")) == str(tmp_path)
    assert disk_free(str(tmp_path / "a" / "b")) > 0


def test_unreadable_memory(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\n", encoding="ascii")
    with pytest.raises(HostRequirementsError, match="has no line MemAvailable"):
        memory_available(str(tmp_path / "meminfo"))
    with pytest.raises(HostRequirementsError, match="cannot be read"):
        memory_available(str(tmp_path / "none"))
