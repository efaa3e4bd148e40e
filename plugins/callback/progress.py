# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows that a long task is alive, and counts the tasks that each host really executed."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: aggregate
short_description: Says what a long task is doing and counts the executed tasks of each host
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - While a task runs longer than O(interval) seconds, one line is printed every O(interval) seconds with the name of the
    task, the hosts that it still runs on and the time it has taken so far. Nothing is printed for short tasks.
  - If the task's C(vars) name a file on the controller as C(progress_log), the last line of that file that is not empty is
    added. It is not added for a task with C(no_log). Name only files that hold nothing secret, such as the log of a build.
  - After the last play, one table with the number of tasks that each host executed, how many of them changed something and
    how many seconds they took. Executed is what the play recap calls ok (with the changed ones in it), plus failed. Validation
    of a role's argument specification and includes that are not static count, skipped tasks do not.
requirements:
  - Enabled by C(callbacks_enabled = baremetal.kubernetes.progress) in C(ansible.cfg).
options:
  interval:
    description: Seconds after which a task counts as long, and seconds between two lines about it. V(0) prints none.
    type: float
    default: 10
    env:
      - name: BAREMETAL_PROGRESS_INTERVAL
    ini:
      - section: callback_baremetal_progress
        key: interval
  report:
    description:
      - Path of a JSON file to write when the run ends. It holds the numbers of the table, the skipped, failed and unreachable
        tasks, loop items and retries of each host (each of these is a round trip too), and each task of the run in order.
      - Nothing is written if this is empty.
    type: str
    default: ""
    env:
      - name: BAREMETAL_TASK_REPORT
    ini:
      - section: callback_baremetal_progress
        key: report
"""

EXAMPLES = r"""
# ansible.cfg
# [defaults]
# callbacks_enabled = baremetal.kubernetes.progress
#
# A task that shows the last line of its log while it runs:
# - name: Build the binaries
#   ansible.builtin.shell: make all > /var/tmp/build.log 2>&1
#   changed_when: true
#   vars:
#     progress_log: /var/tmp/build.log
"""

import atexit
import json
import os
import threading
import time
import typing as t

from ansible.plugins.callback import CallbackBase
from ansible.template import Templar

_SHOWN_HOSTS = 4
_LINE_LENGTH = 120
_TAIL_BYTES = 8192
# Waiting for a person is not progress, and a line would land in the middle of the prompt.
_SILENT_ACTIONS = frozenset({"pause", "ansible.builtin.pause", "ansible.legacy.pause"})


def format_elapsed(seconds: float) -> str:
    """12 -> 12s, 75 -> 1m15s, 3700 -> 1h01m40s."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m{rest:02d}s"
    if minutes:
        return f"{minutes}m{rest:02d}s"
    return f"{rest}s"


def last_line(path: str, limit: int = _LINE_LENGTH) -> str:
    """Last line of the file that is not empty, without control characters; empty if there is none or it cannot be read."""
    try:
        with open(path, "rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - _TAIL_BYTES))
            text = stream.read().decode("utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
    # A progress bar rewrites its line with carriage returns: the last state is the one to show.
    for line in reversed(text.replace("\r", "\n").split("\n")):
        printable = "".join(char if char.isprintable() else " " for char in line).strip()
        if printable:
            return printable if len(printable) <= limit else printable[: limit - 3] + "..."
    return ""


def format_hosts(hosts: t.Sequence[str]) -> str:
    """A few names and how many there are in all."""
    shown = ", ".join(hosts[:_SHOWN_HOSTS])
    if len(hosts) > _SHOWN_HOSTS:
        return f"{shown} and {len(hosts) - _SHOWN_HOSTS} more ({len(hosts)} hosts)"
    return shown


def format_table(hosts: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
    """The closing table, one line for each host."""
    width = max([len("host"), *(len(name) for name in hosts)])
    lines = [f"{'host':<{width}}  {'executed':>8}  {'changed':>7}  {'seconds':>8}"]
    for name in sorted(hosts):
        row = hosts[name]
        lines.append(f"{name:<{width}}  {row['executed']:>8}  {row['changed']:>7}  {row['seconds']:>8.1f}")
    return lines


class _Running:
    """A task that has not ended on every host on which it was started."""

    def __init__(self, name: str, started: float, quiet: bool) -> None:
        self.name = name
        self.started = started
        self.quiet = quiet
        self.hosts: dict[str, float] = {}
        self.logs: dict[str, str] = {}


class Tracker:
    """What runs and what has run. Knows nothing of Ansible; the clock is an argument of each call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self.hosts: dict[str, dict[str, t.Any]] = {}
        self.tasks: list[dict[str, t.Any]] = []
        self._rows: dict[str, dict[str, t.Any]] = {}

    def _host(self, host: str) -> dict[str, t.Any]:
        return self.hosts.setdefault(
            host,
            {
                "executed": 0,
                "changed": 0,
                "skipped": 0,
                "failed": 0,
                "unreachable": 0,
                "items": 0,
                "retries": 0,
                "seconds": 0.0,
            },
        )

    def start(self, uuid: str, name: str, host: str, now: float, quiet: bool = False, log: str = "") -> None:
        """The task was handed to a worker for this host."""
        with self._lock:
            running = self._running.setdefault(uuid, _Running(name, now, quiet))
            running.hosts[host] = now
            if log:
                running.logs[host] = log

    def end(self, uuid: str, name: str, action: str, host: str, status: str, now: float, changed: bool = False) -> None:
        """The task ended on this host: status is ok, skipped, failed or unreachable."""
        with self._lock:
            running = self._running.get(uuid)
            started = now
            if running is not None:
                started = running.hosts.pop(host, now)
                running.logs.pop(host, None)
                if not running.hosts:
                    del self._running[uuid]
            seconds = max(0.0, now - started)
            counts = self._host(host)
            counts["seconds"] += seconds
            if status in ("ok", "failed"):
                counts["executed"] += 1
            if status != "ok":
                counts[status] += 1
            if changed:
                counts["changed"] += 1
            row = self._rows.get(uuid)
            # A task runs again under the same id when a play goes through its hosts in batches: same row.
            if row is None:
                row = self._rows[uuid] = {"name": name, "action": action, "hosts": {}}
                self.tasks.append(row)
            row["hosts"][host] = {
                "status": "changed" if changed and status == "ok" else status,
                "seconds": round(seconds, 3),
            }

    def count(self, host: str, what: str) -> None:
        """One more loop item or retry."""
        with self._lock:
            self._host(host)[what] += 1

    def line(self, now: float, threshold: float) -> str:
        """One line about the task that has run longest, or nothing if none has run for as long as the threshold."""
        with self._lock:
            late = [run for run in self._running.values() if not run.quiet and now - run.started >= threshold]
            if not late:
                return ""
            oldest = min(late, key=lambda run: run.started)
            hosts = sorted(oldest.hosts, key=lambda name: (oldest.hosts[name], name))
            name, elapsed = oldest.name, now - oldest.started
            log = next((oldest.logs[host] for host in hosts if host in oldest.logs), "")
            others = len(late) - 1
        text = f"... {format_elapsed(elapsed)}: {name} [{format_hosts(hosts)}]"
        if others:
            text += f" (+{others} other task{'s' if others > 1 else ''})"
        tail = last_line(log) if log else ""
        return f"{text} | {tail}" if tail else text

    def report(self, seconds: float) -> dict[str, t.Any]:
        """The numbers of the run as plain data."""
        with self._lock:
            hosts = {name: {**row, "seconds": round(row["seconds"], 3)} for name, row in sorted(self.hosts.items())}
            return {"schema": 1, "seconds": round(seconds, 3), "hosts": hosts, "tasks": list(self.tasks)}


class CallbackModule(CallbackBase):
    """Wires Ansible's events to the tracker and prints what it says."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "baremetal.kubernetes.progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._tracker = Tracker()
        self._names: dict[str, str] = {}
        self._play: t.Any = None
        self._begun = time.monotonic()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # The thread takes no lock but the tracker's and the display's. Ansible holds the display's lock while it forks a
    # worker, and a worker never calls the tracker, so neither can be left locked in a child.
    def _start_thread(self) -> None:
        interval = float(self.get_option("interval"))
        if interval <= 0 or (self._thread is not None and self._thread.is_alive()):
            return
        self._stop.clear()
        self._thread = threading.Thread(target=self._tell, args=(interval,), name="progress", daemon=True)
        self._thread.start()
        # A run that is interrupted or ends in an error has no closing event; a thread that prints while the
        # interpreter shuts down would crash it.
        atexit.register(self._end_thread)

    def _end_thread(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
            self._thread = None
        atexit.unregister(self._end_thread)

    def _tell(self, interval: float) -> None:
        told = 0.0
        while not self._stop.wait(min(1.0, interval / 5)):
            now = time.monotonic()
            if now - told < interval:
                continue
            line = self._tracker.line(now, interval)
            if line and not self._stop.is_set():
                self._display.display(line)
                told = now

    def _log_of(self, host: t.Any, task: t.Any) -> str:
        """Path that the task names as progress_log for this host, rendered; empty if there is none."""
        if task.no_log:
            return ""
        raw = task.get_vars().get("progress_log")
        if not raw or self._play is None:
            return ""
        try:
            manager = self._play.get_variable_manager()
            variables = manager.get_vars(play=self._play, host=host, task=task)
            path = Templar(loader=self._play.get_loader(), variables=variables).template(raw)
        except Exception as error:  # the line is a comfort: whatever is wrong with the path must not end the run
            self._display.vv(f"progress_log of task '{task.get_name()}' cannot be rendered: {error}")
            return ""
        return path if isinstance(path, str) else ""

    def _ended(self, result: t.Any, status: str) -> None:
        task = result.task
        changed = status in ("ok", "failed") and bool(result.result.get("changed", False))
        name = self._names.get(task._uuid) or task.get_name()
        self._tracker.end(
            task._uuid, name, task.action, result.host.get_name(), status, time.monotonic(), changed=changed
        )

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        self._start_thread()

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        self._play = play

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        # Only here has the strategy rendered the name; it is put back before the task is handed to the workers.
        self._names[task._uuid] = task.get_name().strip()

    def v2_playbook_on_handler_task_start(self, task: t.Any) -> None:
        self._names[task._uuid] = task.get_name().strip()

    def v2_runner_on_start(self, host: t.Any, task: t.Any) -> None:
        self._tracker.start(
            task._uuid,
            self._names.get(task._uuid) or task.get_name(),
            host.get_name(),
            time.monotonic(),
            quiet=task.action in _SILENT_ACTIONS,
            log=self._log_of(host, task),
        )

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._ended(result, "ok")

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._ended(result, "failed")

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._ended(result, "skipped")

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._ended(result, "unreachable")

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        self._tracker.count(result.host.get_name(), "items")

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        self._tracker.count(result.host.get_name(), "items")

    def v2_runner_retry(self, result: t.Any) -> None:
        self._tracker.count(result.host.get_name(), "retries")

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self._end_thread()
        report = self._tracker.report(time.monotonic() - self._begun)
        if report["hosts"]:
            self._display.banner("EXECUTED TASKS")
            for line in format_table(report["hosts"]):
                self._display.display(line)
        path = self.get_option("report")
        if path:
            self._write(os.path.expanduser(path), report)

    def _write(self, path: str, report: dict[str, t.Any]) -> None:
        partial = f"{path}.{os.getpid()}.tmp"
        try:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            with open(partial, "w", encoding="utf-8") as stream:
                json.dump(report, stream, indent=2)
                stream.write("\n")
            os.replace(partial, path)
        except OSError as error:
            self._display.warning(f"The task report could not be written to {path}: {error}")
