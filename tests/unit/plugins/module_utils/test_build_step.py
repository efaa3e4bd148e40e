# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from ansible_collections.baremetal.kubernetes.plugins.module_utils._build_step import BuildStepError, Step, digest_of, missing, mount_points, remove, tail, take


class Builder:
    """Stands for the command of a step: writes what it is told to, and counts."""

    def __init__(self, step, content=b"built", rc=0, directory=False):
        self.step, self.content, self.rc, self.directory, self.calls = step, content, rc, directory, []

    def __call__(self, argv, environment, log, keep):
        self.calls.append((argv, environment, os.path.lexists(self.step.part)))
        log.write(b"compiling\nlast words\n")
        if self.content is not None:
            path = self.step.part
            if self.directory:
                os.makedirs(os.path.join(path, "sub"))
                path = os.path.join(path, "sub", "file")
            with open(path, "wb") as stream:
                stream.write(self.content)
        return self.rc


@pytest.fixture
def step(tmp_path):
    return Step("kubelet", "key1", str(tmp_path / "out" / "kubelet"))


@pytest.fixture
def log(tmp_path):
    return str(tmp_path / "logs" / "build.log")


def test_taken_once(step, log):
    builder = Builder(step)
    first = take(step, ["make"], log, {"A": "b"}, run=builder)
    assert (first["changed"], first["reason"]) == (True, f"{step.output} was not made yet")
    assert builder.calls == [(["make"], {"A": "b"}, False)]
    assert missing(step) == ""
    assert take(step, ["make"], log, run=builder)["changed"] is False
    assert len(builder.calls) == 1
    with open(log, encoding="utf-8") as stream:
        assert stream.read().splitlines()[1:] == ["compiling", "last words"]


def test_other_inputs(step, log):
    take(step, ["make"], log, run=Builder(step))
    other = Step(step.name, "key2", step.output)
    assert missing(other) == f"{step.output} was made from other inputs"
    assert take(other, ["make"], log, run=Builder(other, b"new"))["changed"] is True
    with open(step.output, "rb") as stream:
        assert stream.read() == b"new"


def test_damaged_output_is_named_and_made_again(step, log):
    take(step, ["make"], log, run=Builder(step))
    with open(step.output, "ab") as stream:
        stream.write(b"x")
    assert f"{step.output} is damaged: its sha256 is " in missing(step)
    assert take(step, ["make"], log, run=Builder(step))["changed"] is True
    assert missing(step) == ""


def test_damage_inside_a_directory(step, log):
    take(step, ["make"], log, run=Builder(step, directory=True))
    assert missing(step) == ""
    with open(os.path.join(step.output, "sub", "file"), "ab") as stream:
        stream.write(b"x")
    assert "is damaged" in missing(step)
    assert missing(Step(step.name, step.key, step.output, verify=False)) == ""


def test_gone_or_without_record(step, log):
    take(step, ["make"], log, run=Builder(step))
    os.unlink(step.output)
    assert missing(step) == f"{step.output} is gone"
    take(step, ["make"], log, run=Builder(step))
    os.unlink(step.stamp)
    assert missing(step) == f"{step.output} has no record of how it was made"
    with open(step.stamp, "w", encoding="utf-8") as stream:
        stream.write("{")
    assert "cannot be read" in missing(step)
    assert take(step, ["make"], log, run=Builder(step))["changed"] is True


def test_what_a_killed_run_left_is_removed_first(step, log):
    os.makedirs(os.path.join(step.part, "half"))
    builder = Builder(step)
    take(step, ["make"], log, run=builder)
    assert builder.calls[0][2] is False
    assert os.path.isfile(step.output)


def test_failure_keeps_the_evidence(step, log):
    with pytest.raises(BuildStepError, match=r"The step kubelet ended with exit code 2 after .*\n(?s:.*)compiling\nlast words$") as caught:
        take(step, ["make"], log, run=Builder(step, rc=2))
    assert log in str(caught.value)
    assert missing(step) == f"{step.output} was not made yet"
    with pytest.raises(BuildStepError, match="was ended by signal 9"):
        take(step, ["make"], log, run=Builder(step, rc=-9))


def test_failure_of_a_new_build_does_not_leave_the_old_one_as_done(step, log):
    take(step, ["make"], log, run=Builder(step))
    other = Step(step.name, "key2", step.output)
    with pytest.raises(BuildStepError):
        take(other, ["make"], log, run=Builder(other, rc=1))
    assert missing(other) and missing(step)


def test_command_that_makes_nothing(step, log):
    with pytest.raises(BuildStepError, match="ended well and made no"):
        take(step, ["make"], log, run=Builder(step, content=None))


def test_command_that_is_not_there(step, log):
    with pytest.raises(BuildStepError, match="cannot be started: .*no-such-program.*install no-such-program"):
        take(step, ["no-such-program"], log)


def test_real_command(step, log):
    result = take(step, [sys.executable, "-c", "import sys; print('hello'); open(sys.argv[1], 'w').write('x')", step.part], log)
    assert result["changed"] is True and result["max_rss_bytes"] > 0
    assert tail(log, 1) == "hello"


def test_waits_for_another_run_and_says_so(step, log):
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    def busy(argv, environment, stream, keep):
        with pytest.raises(BuildStepError, match=r"Another run has been at the step kubelet for more than 30 seconds"):
            take(step, ["make"], log, run=Builder(step), wait_seconds=30, clock=lambda: now[0], sleep=sleep)
        return Builder(step)(argv, environment, stream, keep)

    assert take(step, ["make"], log, run=busy)["changed"] is True
    assert now[0] >= 30


def test_killed_for_real_then_taken(step, log, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from ansible_collections.baremetal.kubernetes.plugins.module_utils._build_step import Step, take
            take(Step("kubelet", "key1", {step.output!r}), ["sh", "-c", "echo half > {step.part}; exec sleep 60"], {log!r})
            """
        ),
        encoding="utf-8",
    )
    process = subprocess.Popen([sys.executable, str(script)], env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)), start_new_session=True)
    deadline = time.monotonic() + 30
    while not os.path.exists(step.part) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    # The orphan still holds the step: nobody else touches it.
    with pytest.raises(BuildStepError, match="Another run"):
        take(step, ["make"], log, run=Builder(step), wait_seconds=0)
    os.killpg(process.pid, signal.SIGKILL)
    assert take(step, ["make"], log, run=Builder(step), wait_seconds=10)["changed"] is True
    with open(step.output, "rb") as stream:
        assert stream.read() == b"built"
    with open(step.stamp, encoding="utf-8") as stream:
        assert json.load(stream)["key"] == "key1"


def test_remove_takes_links_and_trees(tmp_path):
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("tree", "link", "never"):
        remove(str(tmp_path / name))
    assert os.listdir(tmp_path) == ["kept"]


def test_remove_refuses_what_has_a_mount_below(tmp_path):
    kept = tmp_path / "chroot.part" / "proc"
    kept.mkdir(parents=True)
    for points in ([str(kept)], [str(tmp_path / "chroot.part")]):
        with pytest.raises(BuildStepError, match=f"is not removed because something is mounted at {points[0]}; run: umount -R"):
            remove(str(tmp_path / "chroot.part"), mounts=lambda points=points: ["/", *points])
    assert kept.is_dir()
    remove(str(tmp_path / "chroot.part"), mounts=lambda: ["/", str(tmp_path), str(tmp_path / "chroot.partial")])
    assert not kept.exists()


def test_mount_points_are_those_of_the_kernel(tmp_path):
    table = tmp_path / "mounts"
    table.write_text("proc /proc proc rw 0 0\ntmpfs /a\\040b tmpfs rw 0 0\n", encoding="utf-8")
    assert mount_points(str(table)) == ["/proc", "/a b"]


def test_what_no_build_made_is_left_alone(tmp_path, log):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("mine", encoding="utf-8")
    step = Step("x", "key", str(tmp_path / "data"))
    builder = Builder(step)
    with pytest.raises(BuildStepError, match="data is there and no build made it; move it away"):
        take(step, ["make"], log, run=builder)
    assert (tmp_path / "data" / "file").exists() and not builder.calls


def test_output_next_to_the_root_is_refused(log):
    step = Step("x", "key", "/output-of-a-build")
    builder = Builder(step)
    with pytest.raises(BuildStepError, match="/output-of-a-build is no place for the output of a build"):
        take(step, ["make"], log, run=builder)
    assert not builder.calls and not os.path.lexists(step.lock)


def test_digest_of_a_directory_knows_names_and_links(tmp_path):
    seen = set()
    for number, target in enumerate(("a", "b")):
        root = tmp_path / str(number)
        root.mkdir()
        (root / "file").write_text("same", encoding="utf-8")
        (root / "link").symlink_to(target)
        seen.add(digest_of(str(root)))
    (root / "file").rename(root / "other")
    seen.add(digest_of(str(root)))
    assert len(seen) == 3
