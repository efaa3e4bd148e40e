# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a host keep their path below another folder."""

from __future__ import annotations

import posixpath
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.filter.files_below import files_below
from hypothesis import given
from hypothesis import strategies as st


def test_only_what_a_copy_needs_is_kept() -> None:
    files = [
        {"path": "/etc/a", "content": "a\n", "mode": "0600", "owner": "root", "validate": ["true", "%s"]},
        {"path": "etc//b", "content": ""},
        {"path": "/usr/local/bin/c", "source": "/opt/c"},
    ]
    assert files_below(files, "/out/cp1") == [
        {"path": "/out/cp1/etc/a", "content": "a\n", "mode": "0600"},
        {"path": "/out/cp1/etc/b", "content": "", "mode": "0644"},
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("x", "must be a list of files"),
        (["x"], "'x' is no file"),
        ([{"content": "x"}], "is no file"),
        ([{"path": "/etc/../../x", "content": ""}], "the path '/etc/../../x' leaves the folder"),
        ([{"path": "/", "content": ""}], "the path '/' leaves the folder"),
    ],
)
def test_refusals(files: t.Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        files_below(files, "/out")
    assert message in str(caught.value)


@given(st.text(alphabet="ab./", min_size=1))
def test_nothing_is_written_outside(path: str) -> None:
    try:
        (moved,) = files_below([{"path": path, "content": ""}], "/out")
    except AnsibleFilterError:
        return
    assert posixpath.normpath(moved["path"]).startswith("/out/")
