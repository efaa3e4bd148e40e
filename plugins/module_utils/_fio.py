# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Measure with fio how long fdatasync takes where etcd will write, and read what fio prints.

etcd answers a write only after fdatasync on its log, so the 99th percentile of that call is what decides whether
leaders stay. What was not measured is null and becomes unknown, never a pass: the write latencies (clat) that fio
prints first look the same and are a thousand times smaller.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import re
import shutil
import signal
import subprocess
import time
from types import FrameType, TracebackType
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Type

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _command
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, WARN, check

# --- what fio prints ------------------------------------------------------------------------------------------

_TO_MICROSECONDS = {"nsec": 0.001, "usec": 1.0, "msec": 1000.0, "sec": 1e6}
_SUFFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}

_VERSION = re.compile(r"^\W*fio-(\d[\w.-]*)\s*$", re.MULTILINE)
# also from JSON that is cut short and so cannot be read as such
_VERSION_IN_JSON = re.compile(r'"fio version"\s*:\s*"fio-(\d[\w.-]*)"')
_JOB = re.compile(r"\(groupid=\d+, jobs=\d+\): err=")
_ERROR = re.compile(r"\berr=\s*([1-9]\d*)(?:\s*[/(]file:[^\n]*?\berror=([^\n)]*))?")
_KILLED = re.compile(r"\bfio: (?:pid=\d+, )?((?:got|terminating on) signal[ =]\d+)")
_MESSAGE = re.compile(r"^\W*fio: (?!this platform does not support process shared mutexes)(.+?)\s*$", re.MULTILINE)
_WRITE_IOPS = re.compile(r"^[^\S\n]*write\s*:[^\n]*?\biops=\s*(\d{1,18}(?:\.\d+)?)([kmg]?)\b", re.MULTILINE | re.IGNORECASE)
# The heading above it differs (fio 3.42 renamed it) and its unit is chosen apart from that of every other line.
_PERCENTILES = re.compile(r"\bsync percentiles \((nsec|usec|msec|sec)\)\s*:")
# The cells wrap: five to a line, or three where they are wide.
_CELL = re.compile(r"[\s|,.]*?(\d+(?:\.\d+)?)th=\[\s*(\d+(?:\.\d+)?)\s*\]")
_ISSUED = re.compile(r"\bissued rwts: total=\d+,(\d{1,18}),\d+,(\d{1,18})\b")
_SYNC_PER_WRITE = re.compile(r"\bIO depths\s*: 1=200\.0%")
# What the etcd-perf image of OpenShift prints below fio's own result.
_ETCD_PERF = re.compile(r"\b99th percentile of (?:the )?fsync is (\d+) ns\b")


def _number(value: Any) -> Optional[float]:
    """A finite number from 0 on, or None: JSON may hold NaN, texts, and integers beyond every float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _job(
    percentiles: Sequence[Tuple[float, float]], iops: Optional[float], samples: Optional[float], errors: Sequence[str]
) -> Dict[str, Any]:
    """One job's result; percentiles are pairs (rank, microseconds)."""
    latencies: Dict[float, float] = {}
    for rank, value in percentiles:
        # a rank that stands there twice counts with its worse value
        latencies[rank] = max(value, latencies.get(rank, 0.0))
    ordered = [latencies[rank] for rank in sorted(latencies)]
    found = list(errors)
    p99 = latencies.get(99.0)
    if ordered != sorted(ordered):
        found.append("The sync percentiles do not grow with their rank: the text is damaged.")
        p99 = None
    elif latencies and p99 is None:
        found.append("The 99th of the sync percentiles is missing.")
    # Without any sync some versions of fio print zeros.
    if found or not p99 or samples == 0:
        p99 = None
    return {
        "p99_us": None if p99 is None else round(p99, 3),
        "percentiles_us": {} if p99 is None else {f"{rank:g}": round(latencies[rank], 3) for rank in sorted(latencies)},
        "iops": iops or None,
        "samples": int(samples) if samples else None,
        "errors": found,
    }


def _json_job(job: Dict[str, Any]) -> Dict[str, Any]:
    def part(place: Any, *names: str) -> Any:
        for name in names:
            place = place.get(name) if isinstance(place, dict) else None
        return place

    percentiles = []
    measured = part(job, "sync", "lat_ns", "percentile")
    for rank, value in measured.items() if isinstance(measured, dict) else ():
        nanoseconds = _number(value)
        if re.match(r"^\d{1,2}(\.\d+)?$", rank) and nanoseconds is not None:
            percentiles.append((float(rank), nanoseconds / 1000))
    # With --fdatasync total_ios stays 0; the first versions that measured syncs had no N.
    samples = _number(part(job, "sync", "lat_ns", "N"))
    if samples is None:
        samples = _number(part(job, "sync", "total_ios")) or None
    error, errors = job.get("error", 0), []
    if error != 0:
        errors = [os.strerror(error) if isinstance(error, int) and 0 < error < 4096 else f"error {error}"]
    return _job(percentiles, _number(part(job, "write", "iops")), samples, errors)


def _text_jobs(text: str) -> Iterator[Dict[str, Any]]:
    """What is below each job's own line, and a snippet without such a line."""
    # a job's line never begins a text: its name stands before what is found
    starts = [0] + [found.start() for found in _JOB.finditer(text)]
    for begin, end in zip(starts, starts[1:] + [len(text)]):
        section = text[begin:end]
        iops = _WRITE_IOPS.search(section)
        issued = _ISSUED.search(section)
        samples: Optional[float] = None
        if issued and int(issued.group(2)):
            samples = float(issued.group(2))
        elif issued and _SYNC_PER_WRITE.search(section):
            # fdatasync is not counted, but takes a place of its own among the depths
            samples = float(issued.group(1))
        rate = float(iops.group(1)) * _SUFFIXES[iops.group(2).lower()] if iops else None
        blocks = list(_PERCENTILES.finditer(section))
        if begin and not blocks:
            yield _job([], rate, samples, [])
        for block in blocks:
            percentiles = list(_cells(section, block.end(), _TO_MICROSECONDS[block.group(1)]))
            yield _job(percentiles, rate, samples, [] if percentiles else ["The sync percentiles are missing below their heading."])


def _cells(text: str, position: int, factor: float) -> Iterator[Tuple[float, float]]:
    cell = _CELL.match(text, position)
    while cell:
        value = float(cell.group(2)) * factor
        if math.isfinite(value):
            yield float(cell.group(1)), value
        cell = _CELL.match(text, cell.end())


def _json_documents(text: str) -> Tuple[List[Dict[str, Any]], str]:
    """(fio's JSON documents, the text around them): notes and errors may stand before a document, also in a file."""
    documents: List[Dict[str, Any]] = []
    rest: List[str] = []
    position = 0
    while True:
        begin = text.find("{", position)
        try:
            document, end = json.JSONDecoder().raw_decode(text, begin) if begin >= 0 else ({}, len(text))
        except ValueError:
            document, end = {}, begin + 1
        except RecursionError:
            document, end = {}, len(text)
        if "fio version" in document or "jobs" in document:
            documents.append(document)
            rest.append(text[position:begin])
        else:
            rest.append(text[position:end])
        position = end
        if position == len(text):
            return documents, "".join(rest)


def _unique(items: Sequence[str]) -> List[str]:
    return list(dict.fromkeys(items))


def _failures(text: str) -> List[str]:
    errors = [(found.group(2) or os.strerror(int(found.group(1)[:4]))).strip() for found in _ERROR.finditer(text)]
    return errors + _KILLED.findall(text)


def parse_fio(text: str) -> Dict[str, Any]:
    """The latency of fdatasync in the output of fio, JSON or text, and of its worst job where there are several."""
    documents, rest = _json_documents(text)
    jobs: List[Dict[str, Any]] = []
    version: Optional[str] = None
    for document in documents:
        name = document.get("fio version")
        if isinstance(name, str) and not version:
            version = name[4:] if name.startswith("fio-") else name
        # between client and server the list has another name
        listed = document.get("jobs", document.get("client_stats"))
        jobs += [_json_job(job) for job in listed if isinstance(job, dict)] if isinstance(listed, list) else []
    in_text = _JOB.search(rest) or _PERCENTILES.search(rest)
    if in_text:
        jobs += list(_text_jobs(rest))
    errors = _failures(rest)
    for job in jobs:
        errors += job["errors"]
    if not version:
        named = _VERSION.search(rest) or _VERSION_IN_JSON.search(rest)
        version = named.group(1) if named else None
    measured = [job for job in jobs if job["p99_us"] is not None]
    if not jobs and not errors:
        summary = [float(found.group(1)) / 1000 for found in _ETCD_PERF.finditer(rest)]
        if summary and 0 < max(summary) < math.inf:
            measured = [_job([(99.0, max(summary))], None, None, [])]
        else:
            errors = _MESSAGE.findall(rest) or ["There is no result of fio in this text."]
    chosen = max(measured, key=lambda job: job["p99_us"]) if measured else jobs[0] if jobs else _job([], None, None, [])
    result = {**chosen, "fio_version": version, "errors": _unique(errors)}
    if errors:
        # A job that failed says nothing of the disk, or of a part of the time only.
        result.update(p99_us=None, percentiles_us={})
    return result


# --- what it means --------------------------------------------------------------------------------------------

# fio counts latencies in buckets that are up to 1/128 wide (FIO_IO_U_PLAT_BITS in its stat.h).
BUCKET_ERROR = 1 / 128
# Ten values lie above the 99th percentile of a thousand; with less it hangs on single ones.
ENOUGH_SAMPLES = 1000
# No device answers a flush within this: something between (a library, the file system, a cache) only says that it did.
IMPLAUSIBLE_US = 5.0

# Types as mountinfo names them. Red Hat's etcd practices advise against NFS and other network file systems.
_IN_MEMORY = "it is gone after a reboot"
_LAYERED = "it is no file system of a disk of its own; what lies under it was not measured"
_READ_ONLY = "nothing can be written to it"
_NETWORK = "etcd's log must not wait for a network, and not every server keeps the promise of fdatasync"
UNFIT: Dict[str, str] = {
    **dict.fromkeys("tmpfs ramfs rootfs devtmpfs hugetlbfs".split(), _IN_MEMORY),
    **dict.fromkeys("overlay overlayfs aufs unionfs fuse.fuse-overlayfs".split(), _LAYERED),
    **dict.fromkeys("squashfs erofs cramfs iso9660 udf".split(), _READ_ONLY),
    **dict.fromkeys("nfs nfs4 cifs smb3 smbfs 9p virtiofs afs ceph fuse.ceph-fuse glusterfs fuse.glusterfs fuse.sshfs".split(), _NETWORK),
}


def _wanted(limit_ms: float, warn_ms: float) -> str:
    return f"a 99th percentile of fdatasync below {limit_ms:g} ms, better below {warn_ms:g} ms"


def _check(status: str, observed: str, wanted: str, fix: str = "") -> Dict[str, str]:
    return check("etcd_disk", status, observed, wanted, fix)


def median_run(runs: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """The middle one of the runs by p99; the slower of the two middle ones where their number is even."""
    return sorted(runs, key=lambda run: run["p99_us"])[len(runs) // 2]


def judge(runs: Sequence[Dict[str, Any]], place: str, limit_ms: float, warn_ms: float) -> Dict[str, str]:
    """The finding for runs that were measured, each with its p99_us."""
    wanted, middle = _wanted(limit_ms, warn_ms), median_run(runs)
    values = [run["p99_us"] / 1000 for run in runs]
    seen = f"{middle['p99_us'] / 1000:.2f} ms on {place}"
    if len(runs) > 1:
        seen += f" (median of {', '.join(f'{value:.2f}' for value in values)} ms)"
    again = "Run it again at other times: a shared disk changes with its neighbours."
    faster = (
        "Give etcd's directory a disk of its own that answers fdatasync faster: SSD or NVMe with power-loss protection, no network storage."
    )
    if middle["p99_us"] < IMPLAUSIBLE_US:
        seen += f", which no device can do: below {IMPLAUSIBLE_US:g} microseconds nothing was written to a disk"
        return _check(
            UNKNOWN,
            seen,
            wanted,
            "Look for what swallows fdatasync: /etc/ld.so.preload (eatmydata), options of the file system, a cache below it.",
        )
    lowest, highest = min(values) * (1 - BUCKET_ERROR), max(values) * (1 + BUCKET_ERROR)
    if lowest < limit_ms <= highest:
        seen += (
            f"; borderline: the runs and fio's own error of 0.8 % reach from {lowest:.2f} to {highest:.2f} ms, on both sides of the limit"
        )
    if middle["p99_us"] / 1000 >= limit_ms:
        return _check(FAIL, seen, wanted, f"{faster} {again}")
    samples = [run["samples"] for run in runs]
    if any(count is None or count < ENOUGH_SAMPLES for count in samples):
        counted = ", ".join("?" if count is None else str(count) for count in samples)
        return _check(
            UNKNOWN,
            f"{seen}, from {counted} samples only",
            wanted,
            f"Measure at least {ENOUGH_SAMPLES} writes: a greater size, or a longer timeout.",
        )
    if middle["p99_us"] / 1000 >= warn_ms or highest >= limit_ms:
        return _check(WARN, seen, wanted, f"{again} {faster}")
    return _check(PASS, seen, wanted)


# --- the measurement ------------------------------------------------------------------------------------------

# run(argv, folder, timeout in seconds, stopped) -> (return code, standard output, standard error)
FolderRunner = Callable[[List[str], str, float, Callable[[], bool]], Tuple[int, str, str]]

# Below etcd's own directory if it exists, where it has the same mount, quota and attributes as etcd's files.
FOLDER = ".fio-fdatasync"
GRACE_SECONDS = 30
STOPPED = -signal.SIGTERM


class FioError(Exception):
    """Why there is no number: what was seen, and what to do."""

    def __init__(self, seen: str, fix: str, status: str = UNKNOWN) -> None:
        super().__init__(seen)
        self.seen, self.fix, self.status = seen, fix, status


class DiskHangs(FioError):
    """The kernel waits for the disk: whoever touches the file would wait too."""


class Interrupted(Exception):
    """A signal asked this process to end; everything it made is removed."""


class Signals:
    """Remember a signal instead of dying from it, so that there is no moment in which a file could stay behind."""

    NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __init__(self) -> None:
        self.received: Optional[str] = None
        self._before: Dict[int, Any] = {}

    def __call__(self) -> bool:
        return self.received is not None

    def __enter__(self) -> "Signals":
        for number in self.NUMBERS:
            self._before[number] = signal.signal(number, self._remember)
        return self

    def _remember(self, number: int, frame: Optional[FrameType]) -> None:
        self.received = signal.Signals(number).name

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def run_fio(argv: List[str], folder: str, timeout: float, stopped: Callable[[], bool]) -> Tuple[int, str, str]:
    """Run argv in a folder until it ends, the time is over, or a signal came."""
    environment = dict(os.environ, LC_ALL="C", LANGUAGE="C", PATH=_command.SEARCH_PATH)
    try:
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            # a terminal's Ctrl-C is for this process, which then ends fio
            start_new_session=True,
        )
    except OSError as error:
        return _command.NOT_FOUND, "", f"{argv[0]}: {error.strerror}"
    end = time.monotonic() + timeout
    while True:
        try:
            out, err = process.communicate(timeout=0.2)
            return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            code, reason = (STOPPED, "stopped") if stopped() else (_command.TIMED_OUT, f"no end after {timeout:g} seconds")
            if code == STOPPED or time.monotonic() > end:
                break
    process.kill()
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        raise DiskHangs(
            f"fio cannot be ended: the kernel has waited for the disk of {folder} for more than {timeout:g} seconds",
            f"The disk does not answer; look at `dmesg`. Remove {folder} when it does again.",
            FAIL,
        ) from None
    return code, "", reason


def parse_size(text: str) -> int:
    """Bytes of a size such as 22m, in powers of 1024 as fio has them; ValueError with the reason."""
    found = re.match(r"^([1-9]\d{0,11})([kmg]?)$", text.lower())
    if not found:
        raise ValueError(f"The option size is {text!r}, but must be a number of bytes, or one with k, m or g behind it, such as 22m.")
    return int(found.group(1)) * 1024 ** " kmg".index(found.group(2) or " ")


def check_options(path: str, size: str, block_size: int, runs: int, limit_ms: float, warn_ms: float, timeout: float) -> None:
    """ValueError with a sentence for the first option that cannot be used."""
    if not path.startswith("/"):
        raise ValueError(f"The option path is {path!r}, but must be the full path of etcd's data directory, such as /var/lib/etcd.")
    if ".." in path.split("/") or "\0" in path:
        raise ValueError(f"The option path is {path!r}, but must be written without '..'.")
    number = parse_size(size)
    if not 1 <= block_size <= number:
        raise ValueError(f"The option block_size is {block_size}, but must be between 1 byte and the size ({number}).")
    if runs < 1:
        raise ValueError(f"The option runs is {runs}, but must be 1 or more.")
    if not 0 < timeout < math.inf:
        raise ValueError(f"The option timeout is {timeout:g}, but must be a number of seconds greater than 0.")
    if not 0 < warn_ms <= limit_ms < math.inf:
        raise ValueError(
            f"The options warn_ms ({warn_ms:g}) and limit_ms ({limit_ms:g}) must be greater than 0, and the first no greater than the second."
        )


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), field)


def mount_of(directory: str, mountinfo: str) -> Optional[Dict[str, Any]]:
    """The mount that holds a directory, from the text of /proc/self/mountinfo; the last one of several on one place is on top."""
    best: Optional[Dict[str, Any]] = None
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        fields, source = left.split(" "), right.split(" ")
        if not dash or len(fields) < 6 or len(source) < 3:
            continue
        point = _unescape(fields[4])
        if directory != point and not directory.startswith(point.rstrip("/") + "/"):
            continue
        if best is None or len(point) >= len(best["mount"]):
            options = fields[5].split(",") + source[2].split(",")
            best = {"mount": point, "type": source[0], "device": _unescape(source[1]), "read_only": "ro" in options}
    return best


def _os_error(error: OSError) -> str:
    seen = {
        errno.ENOSPC: "the file system is full",
        errno.EDQUOT: "the quota is used up",
        errno.EROFS: "the file system is read-only",
        errno.EACCES: "permission is denied",
        errno.EPERM: "permission is denied",
    }.get(error.errno or 0, error.strerror or str(error))
    return f"{seen}: {os.fsdecode(error.filename)}" if error.filename else seen


class Fdatasync:
    """fio's measurement on the file system of one directory."""

    def __init__(
        self,
        run: FolderRunner = run_fio,
        root: str = "",
        which: Callable[[str], Optional[str]] = _command.which,
        statvfs: Callable[[str], Any] = os.statvfs,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.run, self.which, self.statvfs, self.stopped = run, which, statvfs, stopped
        self.root = os.path.realpath(root) if root else ""

    def nearest(self, path: str) -> str:
        """The directory itself or the nearest one above it that exists, with its links followed."""
        place = os.path.normpath("/" + path.strip("/"))
        while not os.path.lexists(self.root + place):
            place = os.path.dirname(place)
        if os.path.islink(self.root + place) and not os.path.exists(self.root + place):
            target = os.readlink(self.root + place)
            raise FioError(f"{place} is a link to {target}, which does not exist", f"Make {target}, or remove the link.", FAIL)
        if not os.path.isdir(self.root + place):
            raise FioError(f"{place} is no directory", f"Move it away: etcd's files have to be in {path}.", FAIL)
        return os.path.realpath(self.root + place)[len(self.root) :] or "/"

    def filesystem(self, directory: str) -> Dict[str, Any]:
        """Where a directory is mounted."""
        with open(f"{self.root}/proc/self/mountinfo", encoding="utf-8", errors="replace") as handle:
            found = mount_of(directory, handle.read())
        if not found:
            raise FioError(f"/proc/self/mountinfo names no file system for {directory}", "Run this on the node itself, not in a chroot.")
        return found

    def etcd_is_running(self) -> bool:
        """Whether any process of this node is named etcd."""
        for number in os.listdir(f"{self.root}/proc"):
            if number.isdigit():
                try:
                    with open(f"{self.root}/proc/{number}/comm", encoding="utf-8", errors="replace") as handle:
                        if handle.read().strip() == "etcd":
                            return True
                except (FileNotFoundError, ProcessLookupError):
                    pass
        return False

    def program(self, path: str, mount: Dict[str, Any], size: str, command: str, allow_running_etcd: bool, directory: str) -> str:
        """The command's path, or a FioError with the reason why fio is not run here."""
        where = f"{mount['type']} ({mount['device']}, mounted on {mount['mount']})"
        if mount["type"] in UNFIT:
            raise FioError(
                f"{path} would be on {where}: {UNFIT[mount['type']]}",
                f"Mount a disk's file system (ext4 or xfs) on {path}, or name another directory.",
                FAIL,
            )
        if not allow_running_etcd and self.etcd_is_running():
            raise FioError(
                "etcd is running on this node, and the measurement would slow it down",
                "Read etcd_disk_wal_fsync_duration_seconds of the running etcd instead, or measure all the same with allow_running_etcd"
                " (preflight_etcd_disk_running of role preflight).",
            )
        found = self.which(command)
        if not found:
            raise FioError(
                f"the command {command} is not installed",
                "Install the package fio: `apt-get install fio`, or `dnf install fio`. Version 3.4 or later is needed.",
            )
        if mount["read_only"]:
            raise FioError(
                f"{where} is mounted read-only",
                "etcd needs to write there; look at `dmesg` for the error that made it so, and at /etc/fstab.",
            )
        space = self.statvfs(self.root + directory)
        free, total = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
        # beyond fio's own file: what others write there meanwhile, of which a great file system holds no more than a small one
        needed = 2 * parse_size(size) + min(total // 20, 1024**3)
        if free < needed:
            raise FioError(
                f"{free // 1024**2} MiB are free on {where}",
                f"Free {-(-(needed - free) // 1024**2)} MiB: wanted are twice the size ({size}), and 5 % of the file system or 1 GiB.",
            )
        return found

    def acquire(self, folder: str) -> int:
        """Make the folder for fio's file, or take over that of a run that was killed; returns its lock."""
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            pass
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            found = os.fstat(lock)
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise FioError(f"{folder} belongs to somebody else", "Look at what it is, and remove it.")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise FioError("another run is measuring in the same directory", "Wait for its end.") from None
        except BaseException:
            os.close(lock)
            raise
        return lock

    def one_run(self, argv: List[str], folder: str, timeout: float) -> Dict[str, Any]:
        """One run of fio, or a FioError with the reason why it has no result."""
        code, out, err = self.run(argv, folder, timeout + GRACE_SECONDS, self.stopped)
        if self.stopped():
            raise Interrupted()
        result = parse_fio(out)
        errors = result["errors"] if out.strip() or not code else []
        if code or errors:
            # fio writes what went wrong to either
            errors = _unique(errors + _failures(err) + _MESSAGE.findall(err)) or [f"exit code {code}"]
        said = "; ".join(errors)
        if code == _command.TIMED_OUT:
            raise FioError(
                f"fio did not end within {timeout + GRACE_SECONDS:g} seconds, although it was told to after {timeout:g}",
                "Look at `dmesg` for a disk that hangs.",
            )
        if code == _command.NOT_FOUND:
            raise FioError(f"fio cannot be started: {err.strip()}", "Install the package fio anew.")
        if code < 0 or "signal" in said:
            name = signal.Signals(-code).name if -code in list(signal.Signals) else said
            raise FioError(f"fio was killed ({name})", "Look at `dmesg` for a lack of memory, then run it again.")
        if os.strerror(errno.ENOSPC) in said or os.strerror(errno.EDQUOT) in said:
            raise FioError(
                f"the file system became full while fio was writing: {said}",
                "Look at `df`, `df -i`, quotas, and the pool below a thin volume.",
            )
        if os.strerror(errno.EROFS) in said:
            raise FioError(f"the file system is read-only: {said}", "Look at `dmesg` for the error that made it so.")
        if errors:
            raise FioError(f"fio failed: {said[:300]}", f"Run it by hand in a directory of the same file system: `{' '.join(argv)}`.")
        if result["p99_us"] is None:
            raise FioError(
                f"fio {result['fio_version'] or 'of an unknown version'} gave no latency of fdatasync",
                "fio 3.4 or later is needed; look for another one in PATH.",
            )
        return result

    def measure(
        self,
        path: str,
        size: str,
        block_size: int,
        runs: int,
        limit_ms: float,
        warn_ms: float,
        timeout: float,
        allow_running_etcd: bool,
        command: str,
        check_mode: bool,
    ) -> Dict[str, Any]:
        """What the module returns; ValueError for an option that cannot be used, Interrupted after a signal."""
        check_options(path, size, block_size, runs, limit_ms, warn_ms, timeout)
        wanted = _wanted(limit_ms, warn_ms)
        results: List[Dict[str, Any]] = []
        middle: Dict[str, Any] = {"p99_us": None, "percentiles_us": {}, "iops": None, "samples": None, "fio_version": None}
        mount: Optional[Dict[str, Any]] = None
        directory: Optional[str] = None
        try:
            directory = self.nearest(path)
            mount = self.filesystem(directory)
            program = self.program(path, mount, size, command, allow_running_etcd, directory)
            if check_mode:
                raise FioError("not measured in check mode", "Run it without --check: nothing stays behind.")
            # --thread: as a process fio's job would be a session of its own and outlive fio when that is killed.
            # --runtime: a slow disk then fails with a number of its own instead of running into the time limit.
            argv = [
                program,
                "--thread",
                "--name=etcd",
                "--rw=write",
                "--ioengine=sync",
                "--fdatasync=1",
                f"--size={parse_size(size)}",
                f"--bs={block_size}",
            ]
            argv += [f"--runtime={math.ceil(timeout)}", "--output-format=json"]
            self._runs(argv, self.root + directory, runs, limit_ms, timeout, results)
            place = f"{mount['type']} ({mount['device']}, mounted on {mount['mount']})"
            if directory != os.path.normpath(path):
                place += f", measured in {directory} for {path}"
            finding = judge(results, place, limit_ms, warn_ms)
            middle = median_run(results)
        except FioError as error:
            finding = _check(error.status, error.seen, wanted, error.fix)
        except OSError as error:
            finding = _check(UNKNOWN, _os_error(error), wanted, "Look at `df`, `df -i` and `dmesg`; on a node this runs as root (become).")
        return {
            **{name: middle[name] for name in ("p99_us", "percentiles_us", "iops", "samples", "fio_version")},
            "runs": [{name: result[name] for name in ("p99_us", "iops", "samples")} for result in results],
            "directory": directory,
            "filesystem": {name: mount[name] for name in ("mount", "type", "device")} if mount else None,
            "verdict": finding["status"],
            "checks": [finding],
        }

    def _runs(self, argv: List[str], base: str, runs: int, limit_ms: float, timeout: float, results: List[Dict[str, Any]]) -> None:
        """Append the result of each run; the folder for fio's file is gone at the end, whatever the end is."""
        folder = os.path.join(base, FOLDER)
        lock = self.acquire(folder)
        try:
            # when more than half are too slow, the median is
            while len(results) < runs and 2 * sum(result["p99_us"] >= limit_ms * 1000 for result in results) <= runs:
                if self.stopped():
                    raise Interrupted()
                for name in os.listdir(folder):
                    # every run writes a new file, as etcd does, and not over the blocks of the last one
                    os.unlink(os.path.join(folder, name))
                results.append(self.one_run(argv, folder, timeout))
        except DiskHangs:
            folder = ""
            raise
        finally:
            try:
                if folder:
                    shutil.rmtree(folder)
            finally:
                os.close(lock)
