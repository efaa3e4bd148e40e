# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""One step of a long build: run once for its inputs, put in place whole, found again after the build was killed."""

from __future__ import annotations

import dataclasses
import datetime
import fcntl
import hashlib
import json
import os
import resource
import shutil
import stat
import subprocess
import time
import typing as t

CHUNK = 1024 * 1024
TAIL_LINES = 20
TAIL_BYTES = 16384


class BuildStepError(Exception):
    """Why a step was not taken or did not end well."""


@dataclasses.dataclass(frozen=True)
class Step:
    name: str
    key: str
    output: str
    # A directory of a hundred thousand files is not read again; it is renamed into place whole.
    verify: bool = True

    @property
    def part(self) -> str:
        return f"{self.output}.part"

    @property
    def stamp(self) -> str:
        return f"{self.output}.done"

    @property
    def lock(self) -> str:
        return f"{self.output}.lock"


# run(argv, environment, log, descriptor that the process has to keep open) -> exit code
Runner = t.Callable[[t.List[str], t.Dict[str, str], t.BinaryIO, int], int]


def run_logged(argv: t.List[str], environment: t.Dict[str, str], log: t.BinaryIO, keep: int) -> int:
    process = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ, **environment), pass_fds=(keep,), check=False
    )
    return process.returncode


def _hash_file(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of(path: str) -> str:
    """sha256 of a file; of a directory that of the sorted names and digests of the files below it."""
    if not os.path.isdir(path):
        return _hash_file(path)
    digest = hashlib.sha256()
    for directory, names, files in os.walk(path):
        names.sort()
        for name in sorted(files):
            full = os.path.join(directory, name)
            content = f"link {os.readlink(full)}" if os.path.islink(full) else _hash_file(full)
            digest.update(f"{os.path.relpath(full, path)}\0{content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def missing(step: Step) -> str:
    """Why the step has to be taken (again); empty when its output is there and is the one that was made."""
    try:
        with open(step.stamp, encoding="utf-8") as stream:
            stamp = json.load(stream)
    except FileNotFoundError:
        return f"{step.output} was not made yet" if not os.path.lexists(step.output) else f"{step.output} has no record of how it was made"
    except (OSError, ValueError) as exc:
        return f"{step.stamp} cannot be read ({exc})"
    if not isinstance(stamp, dict) or stamp.get("key") != step.key:
        return f"{step.output} was made from other inputs"
    if not os.path.lexists(step.output):
        return f"{step.output} is gone"
    if step.verify:
        try:
            seen = digest_of(step.output)
        except OSError as exc:
            return f"{step.output} cannot be read ({exc})"
        if seen != stamp.get("sha256"):
            return f"{step.output} is damaged: its sha256 is {seen}, it was made with {stamp.get('sha256')}"
    return ""


def _fsync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def mount_points(path: str = "/proc/self/mounts") -> t.List[str]:
    """Where something is mounted, as the kernel lists it (a space in a path is \\040 there)."""
    with open(path, encoding="utf-8", errors="surrogateescape") as stream:
        return [line.split(" ")[1].replace("\\040", " ") for line in stream]


def remove(path: str, mounts: t.Callable[[], t.List[str]] = mount_points) -> None:
    """Remove a file or a tree, never through a mount, and never a place that no build has for itself."""
    if not os.path.lexists(path):
        return
    if os.path.islink(path) or not os.path.isdir(path):
        os.unlink(path)
        return
    real = os.path.realpath(path)
    if real.count("/") < 2:
        raise BuildStepError(f"{path} is {real}, which is no place for the output of a build; give it a directory of its own.")
    mounted = [point for point in mounts() if point == real or point.startswith(f"{real}/")]
    if mounted:
        raise BuildStepError(f"{path} is not removed because something is mounted at {mounted[-1]}; run: umount -R {mounted[-1]}")
    shutil.rmtree(real)


def tail(path: str, lines: int = TAIL_LINES) -> str:
    with open(path, "rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - TAIL_BYTES))
        text = stream.read().decode("utf-8", "replace")
    return "\n".join(text.rstrip().splitlines()[-lines:])


def _locked(step: Step, wait_seconds: float, clock: t.Callable[[], float], sleep: t.Callable[[float], None]) -> int:
    """The step's lock. The processes of the step inherit it, so it outlives a run that was killed for as long as they do."""
    handle = os.open(step.lock, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = clock() + wait_seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if clock() >= deadline:
                os.close(handle)
                raise BuildStepError(
                    f"Another run has been at the step {step.name} for more than {wait_seconds:g} seconds ({step.lock} is locked); "
                    f"wait for it or end it, then run again. It is shown by: fuser -v {step.lock}"
                ) from None
            sleep(1.0)


def take(
    step: Step,
    argv: t.List[str],
    log: str,
    environment: t.Optional[t.Dict[str, str]] = None,
    run: Runner = run_logged,
    wait_seconds: float = 3600.0,
    clock: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
) -> t.Dict[str, t.Any]:
    """Take the step unless it was taken: the command has to make `output`.part, which is renamed to `output` at its end."""
    if os.path.realpath(step.output).count("/") < 2:
        raise BuildStepError(f"{step.output} is no place for the output of a build; give it a directory of its own.")
    if os.path.lexists(step.output) and not os.path.lexists(step.lock):
        # The lock is there since the first run of the step, so this is somebody's and not an old output.
        raise BuildStepError(f"{step.output} is there and no build made it; move it away or choose another output.")
    os.makedirs(os.path.dirname(step.output), exist_ok=True)
    os.makedirs(os.path.dirname(log), exist_ok=True)
    handle = _locked(step, wait_seconds, clock, sleep)
    try:
        reason = missing(step)
        if not reason:
            return {"changed": False, "reason": "", "seconds": 0.0}
        # The stamp goes first: an output without one is never taken for whole.
        for path in (step.stamp, step.part):
            remove(path)
        begin = clock()
        with open(log, "ab", buffering=0) as stream:
            now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            stream.write(f"== {now} {step.name}: {reason}\n".encode("utf-8"))
            try:
                rc = run(argv, environment or {}, stream, handle)
            except OSError as exc:
                raise BuildStepError(f"The step {step.name} cannot be started: {exc}; install {argv[0]} and run again.") from exc
        seconds = round(clock() - begin, 1)
        if rc != 0:
            ended = f"was ended by signal {-rc}" if rc < 0 else f"ended with exit code {rc}"
            raise BuildStepError(
                f"The step {step.name} {ended} after {seconds:g} seconds. Finished steps are kept: look at {log}, then run again. Its last lines:\n{tail(log)}"
            )
        if not os.path.lexists(step.part):
            raise BuildStepError(f"The step {step.name} ended well and made no {step.part}; look at {log}.")
        digest = ""
        if step.verify:
            digest = digest_of(step.part)
            if stat.S_ISREG(os.lstat(step.part).st_mode):
                with open(step.part, "rb") as content:
                    os.fsync(content.fileno())
        remove(step.output)
        os.rename(step.part, step.output)
        unfinished = f"{step.stamp}.part"
        with open(unfinished, "w", encoding="utf-8") as out:
            json.dump({"key": step.key, "sha256": digest, "seconds": seconds}, out, sort_keys=True)
            out.flush()
            os.fsync(out.fileno())
        os.rename(unfinished, step.stamp)
        _fsync_directory(os.path.dirname(step.output))
        return {
            "changed": True,
            "reason": reason,
            "seconds": seconds,
            "max_rss_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        }
    except OSError as exc:
        raise BuildStepError(f"The step {step.name} cannot be taken: {exc}.") from exc
    finally:
        os.close(handle)
