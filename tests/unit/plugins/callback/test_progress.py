# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.baremetal.kubernetes.plugins.callback.progress import (
    Tracker,
    format_elapsed,
    format_hosts,
    format_table,
    last_line,
)

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (12.9, "12s"), (60, "1m00s"), (75, "1m15s"), (3599, "59m59s"), (3600, "1h00m00s"), (37000, "10h16m40s")],
)
def test_elapsed_time_is_short_and_exact(seconds: float, text: str) -> None:
    assert format_elapsed(seconds) == text


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", ""),
        (b"\n\n  \n", ""),
        (b"one\ntwo\n", "two"),
        (b"one\ntwo\n\n   \n", "two"),
        (b"one\ntw", "tw"),
        (b"10%\r50%\r99%", "99%"),
        (b"\x1b[31mred\x1b[0m\n", "[31mred [0m"),
        (b"caf\xe9\n", "caf\ufffd"),
        (b"x" * 200, "x" * 117 + "..."),
        (b"y" * 120, "y" * 120),
        (b"first\n" + b"z" * 20000, "z" * 117 + "..."),
    ],
)
def test_last_line_of_a_log(tmp_path: Path, content: bytes, line: str) -> None:
    log = tmp_path / "log"
    log.write_bytes(content)
    assert last_line(str(log)) == line


def test_a_log_that_is_not_there_yet_is_no_error(tmp_path: Path) -> None:
    assert last_line(str(tmp_path / "missing")) == ""
    assert last_line(str(tmp_path)) == ""


def test_host_lists_are_cut_but_counted() -> None:
    assert format_hosts(["a"]) == "a"
    assert format_hosts(["a", "b", "c", "d"]) == "a, b, c, d"
    assert format_hosts(list("abcdef")) == "a, b, c, d and 2 more (6 hosts)"


def test_short_tasks_give_no_line() -> None:
    tracker = Tracker()
    tracker.start("u", "Short", "a", 0.0)
    assert tracker.line(9.9, 10.0) == ""
    tracker.end("u", "Short", "command", "a", "ok", 9.95)
    assert tracker.line(100.0, 10.0) == ""


def test_a_long_task_names_the_hosts_that_still_run(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("compiling\n", encoding="utf-8")
    tracker = Tracker()
    for host in ("a", "b", "c"):
        tracker.start("u", "Build", host, 0.0, log=str(log) if host != "a" else "")
    assert tracker.line(10.0, 10.0) == "... 10s: Build [a, b, c] | compiling"
    tracker.end("u", "Build", "command", "b", "ok", 11.0)
    tracker.end("u", "Build", "command", "c", "ok", 11.0)
    assert tracker.line(20.0, 10.0) == "... 20s: Build [a]"


def test_the_oldest_of_several_tasks_is_shown() -> None:
    tracker = Tracker()
    tracker.start("u2", "Second", "b", 5.0)
    tracker.start("u1", "First", "a", 0.0)
    assert tracker.line(12.0, 10.0) == "... 12s: First [a]"
    assert tracker.line(20.0, 10.0) == "... 20s: First [a] (+1 other task)"


def test_a_prompt_is_not_talked_over() -> None:
    tracker = Tracker()
    tracker.start("u", "Pause", "a", 0.0, quiet=True)
    assert tracker.line(60.0, 10.0) == ""


def test_counts_per_host() -> None:
    tracker = Tracker()
    for number, (status, changed) in enumerate(
        [("ok", False), ("ok", True), ("skipped", False), ("failed", False), ("unreachable", False)]
    ):
        uuid = f"u{number}"
        tracker.start(uuid, "Task", "a", float(number))
        tracker.end(uuid, "Task", "command", "a", status, number + 0.5, changed=changed)
    tracker.count("a", "items")
    tracker.count("a", "retries")
    report = tracker.report(9.0)
    assert report["hosts"] == {
        "a": {
            "executed": 3,
            "changed": 1,
            "skipped": 1,
            "failed": 1,
            "unreachable": 1,
            "items": 1,
            "retries": 1,
            "seconds": 2.5,
        }
    }
    assert [task["hosts"]["a"]["status"] for task in report["tasks"]] == [
        "ok",
        "changed",
        "skipped",
        "failed",
        "unreachable",
    ]


def test_a_task_run_in_batches_is_one_row() -> None:
    tracker = Tracker()
    for host, when in (("a", 0.0), ("b", 5.0)):
        tracker.start("u", "Task", host, when)
        tracker.end("u", "Task", "command", host, "ok", when + 1)
    tasks = tracker.report(6.0)["tasks"]
    assert tasks == [
        {
            "name": "Task",
            "action": "command",
            "hosts": {"a": {"status": "ok", "seconds": 1.0}, "b": {"status": "ok", "seconds": 1.0}},
        }
    ]


def test_the_table_lines_up() -> None:
    rows = {
        "control-plane-1": {"executed": 100, "changed": 42, "seconds": 1234.56},
        "w1": {"executed": 7, "changed": 0, "seconds": 0.04},
    }
    assert format_table(rows) == [
        "host             executed  changed   seconds",
        "control-plane-1       100       42    1234.6",
        "w1                      7        0       0.0",
    ]


PLAYBOOK = """
- name: Play
  hosts: all
  gather_facts: false
  connection: local
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    here: "{{ folder }}"
  tasks:
    - name: Short
      ansible.builtin.command: "true"
      changed_when: false
    - name: Long {{ inventory_hostname }}
      ansible.builtin.shell: "echo halfway >> {{ progress_log }}; sleep {{ pause }}"
      changed_when: true
      vars:
        progress_log: "{{ here }}/{{ inventory_hostname }}.log"
    - name: Hidden
      ansible.builtin.shell: "echo SECRET >> {{ progress_log }}; sleep {{ pause }}"
      changed_when: true
      no_log: true
      vars:
        progress_log: "{{ here }}/hidden.log"
    - name: Skipped
      ansible.builtin.command: "true"
      changed_when: false
      when: false
"""


def _command(tmp_path: Path, pause: str) -> tuple[list[str], dict[str, str]]:
    (tmp_path / "play.yml").write_text(PLAYBOOK, encoding="utf-8")
    config = tmp_path / "ansible.cfg"
    config.write_text(
        f"[defaults]\ncollections_path = {ROOT}/.ansible/collections\n"
        "callbacks_enabled = baremetal.kubernetes.progress\ninject_facts_as_vars = False\n",
        encoding="utf-8",
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "BAREMETAL_"))}
    environment |= {
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "BAREMETAL_PROGRESS_INTERVAL": "1",
        "BAREMETAL_TASK_REPORT": str(tmp_path / "out" / "tasks.json"),
    }
    argv = [sys.executable, "-m", "ansible", "playbook", "-i", "h1,h2,", str(tmp_path / "play.yml")]
    return [*argv, "-e", f"folder={tmp_path}", "-e", f"pause={pause}"], environment


def test_in_a_real_run(tmp_path: Path) -> None:
    argv, environment = _command(tmp_path, "2.5")
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("... ")]
    assert any(": Long h1 [h1, h2] | halfway" in line for line in lines), done.stdout
    assert any(": Hidden [" in line for line in lines), done.stdout
    assert "SECRET" not in done.stdout
    assert "EXECUTED TASKS" in done.stdout
    report = json.loads((tmp_path / "out" / "tasks.json").read_text(encoding="utf-8"))
    assert sorted(report["hosts"]) == ["h1", "h2"]
    for row in report["hosts"].values():
        assert (row["executed"], row["changed"], row["skipped"]) == (3, 2, 1)
    assert [task["name"] for task in report["tasks"]] == ["Short", "Long h1", "Hidden", "Skipped"]
    assert "crashed" not in done.stderr and "Fatal Python error" not in done.stderr


def test_an_interrupted_run_ends_at_once(tmp_path: Path) -> None:
    argv, environment = _command(tmp_path, "60")
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        seen = ""
        for line in process.stdout:
            seen += line
            if line.startswith("... ") and "Long" in line:
                break
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        seen += process.communicate(timeout=60)[0]
        assert time.monotonic() - begun < 20, seen
    assert process.returncode != 0
    assert "Fatal Python error" not in seen
