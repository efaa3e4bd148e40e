# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wiring of node_config and node_state: options in, result out, secrets nowhere."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.kubernetes.plugins.modules import node_config, node_state


@pytest.fixture
def call(capsys, monkeypatch):
    """Run a module and return its result; what it would write into the system's log is in result['_log']."""
    log = []
    monkeypatch.setattr(basic.AnsibleModule, "log", lambda _self, msg, log_args=None: log.append(f"{msg} {log_args}"))

    def run(module, **args):
        del log[:]
        with patch_module_args(args), pytest.raises(SystemExit) as end:
            module.main()
        out = capsys.readouterr().out
        result = json.loads(out)
        result["_rc"], result["_log"], result["_out"] = end.value.code, "\n".join(log), out
        return result

    return run


def test_check_create_check_again(call, tmp_path):
    args = {"files": [{"path": str(tmp_path / "f"), "content": "hello\n"}], "_ansible_diff": True}
    check = call(node_config, _ansible_check_mode=True, **args)
    assert check["_rc"] == 0 and check["changed"] and check["changed_files"] == [str(tmp_path / "f")] and not (tmp_path / "f").exists()
    done = call(node_config, **args)
    assert done["changed"] and done["diff"][0]["after"] == "hello\n" and (tmp_path / "f").read_text() == "hello\n"
    for check_mode in (True, False):
        again = call(node_config, _ansible_check_mode=check_mode, **args)
        assert again["changed"] is False and again["diff"] == []
        assert again["enabled"] == again["started"] == again["restarted"] == again["stopped"] == again["disabled"] == []


@pytest.mark.parametrize("validator", ["true", "false"])
def test_secret_content_is_nowhere(call, tmp_path, validator):
    secret = "first line of a s3cret\nsecond line"
    files = [
        {"path": str(tmp_path / "f"), "content": secret, "secret": True, "validate": [validator, "%s"]},
        {"path": str(tmp_path / "g"), "content": "plain, but long\n"},
    ]
    result = call(node_config, files=files, _ansible_diff=True)
    assert result["_rc"] == (0 if validator == "true" else 1)
    for text in (result["_out"], result["_log"]):
        assert "s3cret" not in text and "second line" not in text
    assert "plain, but" not in result["_log"]
    assert str(tmp_path / "f") in result["_out"]


def test_failure_names_what_was_done(call, tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/full").write_text("")
    result = call(node_config, absent=[str(tmp_path / "dir")])
    assert result["failed"] and result["changed"] is False and result["changed_files"] == [] and "Next:" in result["msg"]


@pytest.mark.parametrize(
    "files, words",
    [
        ([{"path": "/x"}], "one of the following is required: content, source"),
        ([{"path": "/x", "content": "", "source": "/y"}], "mutually exclusive"),
        ([{"content": ""}], "path"),
    ],
)
def test_options_that_do_not_fit(call, files, words):
    result = call(node_config, files=files)
    assert result["_rc"] != 0 and words in result["msg"]


def test_empty_content_is_content(call, tmp_path):
    assert call(node_config, files=[{"path": str(tmp_path / "f"), "content": ""}])["changed"]
    assert (tmp_path / "f").read_text() == ""


def test_node_state(call, tmp_path):
    (tmp_path / "f").write_text("x")
    result = call(node_state, files=[str(tmp_path / "f"), str(tmp_path / "nope")])
    assert result["changed"] is False and result["_rc"] == 0
    assert result["node"]["files"][str(tmp_path / "f")]["size"] == 1 and result["node"]["files"][str(tmp_path / "nope")] is None
    assert result["node"]["memory_bytes"] > 0


def test_node_state_failure(call, monkeypatch):
    monkeypatch.setattr(node_state, "run_command", lambda argv, timeout=None: (1, "", "Failed to connect to bus"))
    result = call(node_state, units=["containerd"])
    assert result["failed"] and "Failed to connect to bus" in result["msg"] and "Next:" in result["msg"]


def test_large_files_are_read_in_pieces(call, tmp_path):
    """A node's memory is scarce: neither reading nor copying a large file may hold it whole."""
    source = tmp_path / "source"
    with open(source, "wb") as handle:
        handle.truncate(64 * 1024 * 1024)
    # Not ru_maxrss: that knows the highest mark of all tests before this one, below which anything would pass.
    tracemalloc.start()
    try:
        call(node_state, files=[str(source)])
        call(node_config, files=[{"path": str(tmp_path / "f"), "source": str(source)}], _ansible_diff=True)
        peak = tracemalloc.get_traced_memory()[1] / (1 << 20)
    finally:
        tracemalloc.stop()
    assert peak < 30, f"{peak:.1f} MiB"
