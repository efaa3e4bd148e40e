# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fio prints, what it means, and a measurement with a scripted fio."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _command, _fio

# What fio 3.33 printed on a disk that was too slow: the latency of the writes stands first and is below 10 ms.
SLOW = """etcd: (g=0): rw=write, bs=(R) 2300B-2300B, (W) 2300B-2300B, (T) 2300B-2300B, ioengine=sync, iodepth=1
fio-3.33
Starting 1 process

etcd: (groupid=0, jobs=1): err= 0: pid=25551: Sat Nov 21 15:27:27 2026
  write: IOPS=253, BW=569KiB/s (583kB/s)(22.0MiB/39555msec); 0 zone resets
    clat (nsec): min=1442, max=226657k, avg=655519.81, stdev=4488432.06
     lat (nsec): min=1472, max=226657k, avg=656302.50, stdev=4488624.20
    clat percentiles (nsec):
     |  1.00th=[     1816],  5.00th=[     2288], 10.00th=[     2896],
     | 20.00th=[     4768], 30.00th=[     6688], 40.00th=[    10816],
     | 50.00th=[    58624], 60.00th=[    77312], 70.00th=[   101888],
     | 80.00th=[   342016], 90.00th=[  2023424], 95.00th=[  3653632],
     | 99.00th=[  4751360], 99.50th=[  6193152], 99.90th=[ 51118080],
     | 99.95th=[ 84410368], 99.99th=[210763776]
   bw (  KiB/s): min=   25, max= 2765, per=98.69%, avg=562.50, stdev=358.60, samples=74
   iops        : min=   11, max= 1231, avg=250.30, stdev=159.64, samples=74
  lat (usec)   : 2=2.30%, 4=14.51%, 10=22.41%, 20=3.77%, 50=3.00%
  lat (usec)   : 100=23.44%, 250=9.48%, 500=2.51%, 750=1.64%, 1000=1.36%
  lat (msec)   : 2=5.44%, 4=7.07%, 10=2.80%, 20=0.04%, 50=0.11%
  lat (msec)   : 100=0.07%, 250=0.05%
  fsync/fdatasync/sync_file_range:
    sync (usec): min=54, max=559666, avg=3281.65, stdev=12855.59
    sync percentiles (usec):
     |  1.00th=[    80],  5.00th=[    96], 10.00th=[   115], 20.00th=[   178],
     | 30.00th=[   379], 40.00th=[   947], 50.00th=[  1631], 60.00th=[  2409],
     | 70.00th=[  3392], 80.00th=[  4015], 90.00th=[  6259], 95.00th=[  7963],
     | 99.00th=[ 25560], 99.50th=[ 61080], 99.90th=[187696], 99.95th=[235930],
     | 99.99th=[471860]
  cpu          : usr=0.13%, sys=2.10%, ctx=31095, majf=0, minf=16
  IO depths    : 1=200.0%, 2=0.0%, 4=0.0%, 8=0.0%, 16=0.0%, 32=0.0%, >=64=0.0%
     submit    : 0=0.0%, 4=100.0%, 8=0.0%, 16=0.0%, 32=0.0%, 64=0.0%, >=64=0.0%
     complete  : 0=0.0%, 4=100.0%, 8=0.0%, 16=0.0%, 32=0.0%, 64=0.0%, >=64=0.0%
     issued rwts: total=0,10029,0,0 short=10029,0,0,0 dropped=0,0,0,0
     latency   : target=0, window=0, percentile=100.00%, depth=1

Run status group 0 (all jobs):
  WRITE: bw=569KiB/s (583kB/s), 569KiB/s-569KiB/s (583kB/s-583kB/s), io=22.0MiB (23.1MB), run=39555-39555msec

Disk stats (read/write):
  vda: ios=9049/26403, merge=83/287, ticks=543/2221, in_queue=3267, util=2.97%
"""
SYNC_BLOCK = SLOW[SLOW.index("  fsync/fdatasync") : SLOW.index("  cpu ")]


def job(p99_ns=2376000, error=0, n=10029, iops=640.5, **sync):
    """One job as in fio's JSON; its other percentiles are on both sides of the 99th."""
    latency = {"min": 1000, "max": 900000000, "mean": 1.5, "stddev": 0.5, "N": n}
    if p99_ns is not None:
        latency["percentile"] = {"50.000000": p99_ns // 2, "99.000000": p99_ns, "99.500000": p99_ns + 1000}
    return {
        "jobname": "etcd",
        "error": error,
        "write": {"iops": iops, "clat_ns": {"N": n, "percentile": {"99.000000": 38656}}},
        "sync": {"total_ios": 0, "lat_ns": {**latency, **sync}},
    }


def document(*jobs):
    return json.dumps({"fio version": "fio-3.33", "global options": {}, "jobs": list(jobs)}, indent=2)


# --- the parser


def test_text():
    assert _fio.parse_fio(SLOW) == {
        "p99_us": 25560.0,
        "percentiles_us": {
            **{"1": 80.0, "5": 96.0, "10": 115.0, "20": 178.0, "30": 379.0, "40": 947.0, "50": 1631.0, "60": 2409.0, "70": 3392.0},
            **{
                "80": 4015.0,
                "90": 6259.0,
                "95": 7963.0,
                "99": 25560.0,
                "99.5": 61080.0,
                "99.9": 187696.0,
                "99.95": 235930.0,
                "99.99": 471860.0,
            },
        },
        "iops": 253.0,
        "samples": 10029,
        "fio_version": "3.33",
        "errors": [],
    }


def test_json():
    assert _fio.parse_fio(document(job())) == {
        "p99_us": 2376.0,
        "percentiles_us": {"50": 1188.0, "99": 2376.0, "99.5": 2377.0},
        "iops": 640.5,
        "samples": 10029,
        "fio_version": "3.33",
        "errors": [],
    }


@pytest.mark.parametrize(
    ("text", "p99"),
    [
        pytest.param(SYNC_BLOCK, 25560.0, id="the block alone"),
        pytest.param(SYNC_BLOCK.replace("sync_file_range:", "sync_file_range/syncfs:"), 25560.0, id="the heading of fio 3.42"),
        pytest.param(SYNC_BLOCK.split("\n", 1)[1], 25560.0, id="no heading"),
        pytest.param(
            SYNC_BLOCK.replace("percentiles (usec)", "percentiles (msec)"),
            25560000.0,
            id="the unit of this line counts, not of the one above",
        ),
        pytest.param(SYNC_BLOCK.replace("percentiles (usec)", "percentiles (nsec)"), 25.56, id="nanoseconds"),
        pytest.param(SLOW.replace("\n", "\r\n"), 25560.0, id="lines of Windows"),
        pytest.param(SLOW.replace("\n", "\n\n"), 25560.0, id="blank lines"),
        pytest.param(re.sub(r"\s+", " ", SLOW), 25560.0, id="one line"),
        pytest.param(SLOW.replace("    sync percentiles", "# look at the sync percentiles\n    sync percentiles"), 25560.0, id="a comment"),
        pytest.param(SLOW + SLOW.replace("25560", "31000"), 31000.0, id="two runs, the worse one second"),
        pytest.param(SLOW.replace("25560", "31000") + SLOW, 31000.0, id="two runs, the worse one first"),
        pytest.param(SYNC_BLOCK.replace("25560", "31000") + SLOW, 31000.0, id="a slow snippet above a run"),
        pytest.param("note: iodepth is capped\n" + document(job()), 2376.0, id="JSON below a note"),
        pytest.param(document(job()) + document(job(9000000)), 9000.0, id="two documents"),
        pytest.param(document(job()) + "\n" + SLOW, 25560.0, id="JSON and text"),
        pytest.param(document(job(9000000), job(), job(None)), 9000.0, id="several jobs"),
        pytest.param(document(job()).replace('"jobs"', '"client_stats"'), 2376.0, id="client and server"),
        pytest.param(
            "fio: this platform does not support process shared mutexes, forcing use of threads.\n" + SLOW, 25560.0, id="a warning"
        ),
        pytest.param("INFO: 99th percentile of fsync is 692060160 ns\n", 692060.16, id="summary of etcd-perf"),
    ],
)
def test_the_99th_percentile(text, p99):
    result = _fio.parse_fio(text)
    assert (result["p99_us"], result["errors"]) == (p99, [])
    assert result["percentiles_us"]["99"] == p99


NO_RESULT = ["There is no result of fio in this text."]


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        pytest.param("", NO_RESULT, id="nothing"),
        pytest.param("{}", NO_RESULT, id="empty JSON"),
        pytest.param("[1, 2]", NO_RESULT, id="other JSON"),
        pytest.param(document(), NO_RESULT, id="no job"),
        pytest.param(document(job())[:-40], NO_RESULT, id="JSON cut short"),
        pytest.param("3;fio-3.33;etcd;0;0;0;0;0;0", NO_RESULT, id="terse"),
        pytest.param("fio: unable to open 'x' job file\n", ["unable to open 'x' job file"], id="only a message"),
        pytest.param(SLOW.replace(SYNC_BLOCK, ""), [], id="no sync measured"),
        pytest.param(SYNC_BLOCK.replace("sync percentiles", "clat percentiles"), NO_RESULT, id="another latency"),
        pytest.param(SYNC_BLOCK.replace("99.00th", "98.00th"), ["The 99th of the sync percentiles is missing."], id="no 99th"),
        pytest.param(SYNC_BLOCK[: SYNC_BLOCK.index("5560]")], ["The 99th of the sync percentiles is missing."], id="cut within the value"),
        pytest.param(
            SYNC_BLOCK.replace("[ 25560]", "[ 2560]"),
            ["The sync percentiles do not grow with their rank: the text is damaged."],
            id="a lost digit",
        ),
        pytest.param(
            SYNC_BLOCK[: SYNC_BLOCK.index("     |  1.00th")], ["The sync percentiles are missing below their heading."], id="heading only"
        ),
        pytest.param(re.sub(r"\[ *\d+\]", "[    0]", SYNC_BLOCK), [], id="zeros in text"),
        pytest.param(
            SYNC_BLOCK.replace("[ 25560]", "[ " + "9" * 400 + "]"), ["The 99th of the sync percentiles is missing."], id="beyond numbers"
        ),
        pytest.param(
            SLOW.replace("err= 0:", "err=28 (file:io_u.c:1876, func=io_u error, error=No space left on device):"),
            ["No space left on device"],
            id="failed",
        ),
        pytest.param(SLOW.replace("err= 0:", "err= 5:"), [os.strerror(5)], id="failed without a word"),
        pytest.param(
            "fio: pid=9, err=13/file:filesetup.c:174, func=open, error=Permission denied\n" * 2, ["Permission denied"], id="not started"
        ),
        pytest.param("fio: pid=77, got signal=9\n" + SLOW, ["got signal=9"], id="killed"),
        pytest.param("fio: terminating on signal 15\n" + document(job()), ["terminating on signal 15"], id="ended early"),
        pytest.param(document(job(error=28)), [os.strerror(28)], id="failed job"),
        pytest.param(document(job(), job(error=5)), [os.strerror(5)], id="one failed job"),
        pytest.param(document(job(error="no number")), ["error no number"], id="strange error"),
        pytest.param(document(job(None)), [], id="no percentiles"),
        pytest.param(document(job(0)), [], id="zeros, as of the first versions"),
        pytest.param(document(job(n=0)), [], id="no sample"),
        pytest.param(document(job()).replace("2376000", "NaN"), ["The 99th of the sync percentiles is missing."], id="NaN"),
        pytest.param(document(job()).replace("2376000", "-5"), ["The 99th of the sync percentiles is missing."], id="negative"),
        pytest.param(document(job()).replace("2376000", "true"), ["The 99th of the sync percentiles is missing."], id="a bool"),
        pytest.param(document(job()).replace("2376000", '"2376000"'), ["The 99th of the sync percentiles is missing."], id="a text"),
        pytest.param(
            document(job()).replace("2376000", "1" + "0" * 400), ["The 99th of the sync percentiles is missing."], id="beyond floats"
        ),
        pytest.param('{"fio version": 5, "jobs": [7, {"sync": []}, {"sync": {"lat_ns": {"percentile": [1]}}}]}', [], id="other types"),
        pytest.param('{"a":\n' * 5000, NO_RESULT, id="without end"),
    ],
)
def test_what_was_not_measured(text, errors):
    result = _fio.parse_fio(text)
    assert (result["p99_us"], result["percentiles_us"], result["errors"]) == (None, {}, errors)


@pytest.mark.parametrize(
    ("line", "iops"),
    [
        ("  write: IOPS=18.6k, BW=72.8MiB/s", 18600.0),
        ("  write: IOPS=1.2M, BW=72.8MiB/s", 1200000.0),
        ("  write: io=22526KB, bw=1085.4KB/s, iops=483, runt= 20755msec", 483.0),
        ("  write: IOPS=0, BW=0B/s", None),
        ("  write: IOPS=" + "9" * 5000, None),
        ("  read: IOPS=18.6k, BW=72.8MiB/s", None),
    ],
)
def test_iops(line, iops):
    assert _fio.parse_fio(SLOW.replace("  write: IOPS=253, BW=569KiB/s", line))["iops"] == iops


@pytest.mark.parametrize(
    ("before", "after", "samples"),
    [
        ("total=0,10029,0,0", "total=0,673,0,673", 673),
        # fewer syncs than writes, and nobody says how many
        ("1=200.0%", "1=103.1%", None),
        ("issued rwts", "issued", None),
        ("total=0,10029,0,0", "total=0," + "9" * 5000 + ",0,0", None),
    ],
)
def test_samples_in_text(before, after, samples):
    assert _fio.parse_fio(SLOW.replace(before, after))["samples"] == samples


def test_samples_of_the_first_versions():
    old = job()
    del old["sync"]["lat_ns"]["N"]
    assert _fio.parse_fio(document(old))["samples"] is None
    old["sync"]["total_ios"] = 12
    assert _fio.parse_fio(document(old))["samples"] == 12


@pytest.mark.parametrize("name", ["fio-3.33", "fio-2.1.4", "fio-3.28-dirty", "fio-3.41-13-g0ab"])
def test_version(name):
    assert _fio.parse_fio(SLOW.replace("fio-3.33", name))["fio_version"] == name[4:]
    assert _fio.parse_fio(document(job()).replace("fio-3.33", name))["fio_version"] == name[4:]


# --- no text turns into a pass

WORDS = st.sampled_from(
    [
        "sync",
        "clat",
        " percentiles ",
        "(usec):",
        "(nsec):",
        "99.00th=[",
        "5]",
        "|",
        "\n",
        " ",
        "{",
        "}",
        '"jobs"',
        ":",
        "[",
        "]",
        "fio-3.33",
        "err= 0",
        "99.000000",
        ",",
    ]
)
NOT_A_LATENCY = st.one_of(
    st.none(), st.booleans(), st.text(max_size=4), st.floats(max_value=0), st.just(float("nan")), st.just(float("inf"))
)
NAMES = st.sampled_from(
    ["fio version", "jobs", "client_stats", "sync", "lat_ns", "percentile", "99.000000", "N", "total_ios", "error", "write", "iops"]
)
STRANGE_JSON = st.recursive(
    NOT_A_LATENCY, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(WORDS, max_size=40).map("".join), STRANGE_JSON.map(json.dumps)))
def test_no_text_whatsoever_is_a_pass(text):
    result = _fio.parse_fio(text)
    # the one way that these words have to a number
    if not re.search(r"sync percentiles \([nu]sec\):[\s|,]*99\.00th=\[\s*5\]", text):
        assert result["p99_us"] is None


@settings(deadline=None)
@given(st.data())
def test_a_slow_disk_stays_slow_in_what_is_left_of_its_output(data):
    lines = SLOW.splitlines(keepends=True)
    lost = data.draw(st.sets(st.integers(0, len(lines) - 1), max_size=12))
    text = "".join(line for number, line in enumerate(lines) if number not in lost)
    begin, end = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))
    assert _fio.parse_fio(text[begin:end])["p99_us"] in (None, 25560.0)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_slow_disk_stays_slow_in_what_is_left_of_its_json(begin, end):
    text = document(job(), job(25000000))
    assert _fio.parse_fio(text[begin % len(text) : end % len(text)])["p99_us"] is None
    assert _fio.parse_fio(text[:1] + text[1:])["p99_us"] == 25000.0


# --- the finding


def runs(*values_ms, samples=10029):
    return [{"p99_us": value * 1000, "samples": samples} for value in values_ms]


@pytest.mark.parametrize(
    ("values", "status", "words"),
    [
        ([2.0, 2.4, 3.0], "pass", "2.40 ms on ext4 (median of 2.00, 2.40, 3.00 ms)"),
        ([2.0], "pass", "2.00 ms on ext4"),
        ([4.9, 4.99, 5.5], "pass", "4.99 ms"),
        ([4.9, 5.0, 5.5], "warn", "5.00 ms"),
        ([6.0, 7.0, 8.0], "warn", "7.00 ms"),
        # the greatest value that is below 10 ms with fio's error of 1/128
        ([9.92], "warn", "9.92 ms on ext4"),
        ([9.93], "warn", "borderline"),
        ([2.0, 2.1, 11.0], "warn", "borderline: the runs and fio's own error of 0.8 % reach from 1.98 to 11.09 ms"),
        ([9.0, 10.0, 12.0], "fail", "borderline"),
        ([10.0], "fail", "borderline"),
        ([9.999999, 10.000001], "fail", "borderline"),
        ([11.0, 25.0, 31.0], "fail", "25.00 ms on ext4 (median of 11.00, 25.00, 31.00 ms)"),
        ([11.0, 25.0], "fail", "25.00 ms"),
        ([0.002, 0.003, 30.0], "unknown", "0.00 ms on ext4"),
        ([0.005], "pass", ""),
    ],
)
def test_judge(values, status, words):
    check = _fio.judge(runs(*values), "ext4", 10, 5)
    assert check["status"] == status and words in check["observed"], check
    assert ("borderline" in check["observed"]) == ("borderline" in words)
    assert (check["id"], bool(check["fix"])) == ("etcd_disk", status != "pass")
    assert check["wanted"] == "a 99th percentile of fdatasync below 10 ms, better below 5 ms"


@pytest.mark.parametrize(
    ("value", "samples", "status"), [(2.0, 999, "unknown"), (2.0, None, "unknown"), (2.0, 1000, "pass"), (25.0, 3, "fail")]
)
def test_few_samples_are_no_pass(value, samples, status):
    check = _fio.judge(runs(value, samples=samples), "ext4", 10, 5)
    assert check["status"] == status
    assert (status == "unknown") == ("samples only" in check["observed"])


@settings(deadline=None)
@given(st.lists(st.floats(10, 1e6), min_size=1, max_size=7))
def test_what_is_above_the_limit_always_fails(values):
    assert _fio.judge(runs(*values), "ext4", 10, 5)["status"] == "fail"


# --- options


@pytest.mark.parametrize(("text", "size"), [("22m", 23068672), ("2300", 2300), ("4K", 4096), ("1g", 1073741824)])
def test_size(text, size):
    assert _fio.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "m", "22mb", "1.5m", "-1", "22 m", "5%", "²"])
def test_bad_size(text):
    with pytest.raises(ValueError, match="The option size"):
        _fio.parse_size(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": "var/lib/etcd"}, "path is 'var/lib/etcd'"),
        ({"path": ""}, "the full path"),
        ({"path": "/var/../etcd"}, "without"),
        ({"block_size": 0}, "block_size is 0"),
        ({"block_size": 99999999}, "block_size is 99999999"),
        ({"runs": 0}, "runs is 0"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": float("inf")}, "timeout is inf"),
        ({"warn_ms": 11}, "warn_ms"),
        ({"warn_ms": 0}, "warn_ms"),
        ({"limit_ms": float("nan")}, "limit_ms"),
    ],
)
def test_options_that_cannot_be_used(options, words):
    with pytest.raises(ValueError, match=words):
        _fio.check_options(
            **{"path": "/x", "size": "22m", "block_size": 2300, "runs": 3, "limit_ms": 10, "warn_ms": 5, "timeout": 60, **options}
        )


# --- the mount

MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
23 22 0:21 / /dev/shm rw,nosuid shared:2 - tmpfs tmpfs rw
24 22 0:30 / /var/lib rw,relatime - xfs /dev/vdb rw
25 24 0:31 / /var/lib/etcd\040data ro,relatime - ext4 /dev/vdc rw
26 24 0:32 / /var/lib/ro rw,relatime - ext4 /dev/vdd ro
27 22 0:33 / /over rw - ext4 /dev/vde rw
28 27 0:34 / /over rw - tmpfs tmpfs rw
torn line
"""


@pytest.mark.parametrize(
    ("directory", "found"),
    [
        ("/", ("/", "ext4", "/dev/vda1", False)),
        ("/var", ("/", "ext4", "/dev/vda1", False)),
        ("/var/lib", ("/var/lib", "xfs", "/dev/vdb", False)),
        ("/var/library", ("/", "ext4", "/dev/vda1", False)),
        ("/var/lib/etcd data/a", ("/var/lib/etcd data", "ext4", "/dev/vdc", True)),
        ("/var/lib/ro", ("/var/lib/ro", "ext4", "/dev/vdd", True)),
        ("/over/x", ("/over", "tmpfs", "tmpfs", False)),
    ],
)
def test_mount(directory, found):
    mount = _fio.mount_of(directory, MOUNTS)
    assert tuple(mount[name] for name in ("mount", "type", "device", "read_only")) == found


def test_no_mount():
    assert _fio.mount_of("/var", "") is None


# --- the measurement


class Space:
    """As os.statvfs gives it: 10 GiB, of which some is free."""

    f_frsize, f_blocks = 4096, 2621440

    def __init__(self, free_mib=5000):
        self.f_bavail = free_mib * 256


class Node:
    """A file tree, and a fio that gives scripted answers; the last one repeats."""

    def __init__(self, root, answers=()):
        self.root, self.answers, self.calls, self.space, self.stop, self.fio = root, list(answers), [], Space(), False, "/usr/bin/fio"
        (root / "proc" / "self").mkdir(parents=True)
        (root / "proc" / "self" / "mountinfo").write_text("22 1 254:0 / / rw,relatime - ext4 /dev/vda1 rw\n")
        self.process(1, "systemd")
        (root / "var" / "lib").mkdir(parents=True)

    def process(self, number, name):
        (self.root / "proc" / str(number)).mkdir()
        (self.root / "proc" / str(number) / "comm").write_text(name + "\n")

    def run(self, argv, folder, timeout, stopped):
        found = os.stat(folder)
        assert found.st_mode & 0o777 == 0o700 and os.listdir(folder) == []
        with open(os.path.join(folder, "etcd.0.0"), "w", encoding="ascii") as handle:
            handle.write("written")
        self.calls.append((argv, timeout))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(self) if callable(answer) else answer

    def measure(self, path="/var/lib/etcd", check_mode=False, **options):
        measurement = _fio.Fdatasync(
            self.run, str(self.root), lambda name: self.fio and name and self.fio, lambda path: self.space, lambda: self.stop
        )
        wanted = {
            "size": "22m",
            "block_size": 2300,
            "runs": 3,
            "limit_ms": 10.0,
            "warn_ms": 5.0,
            "timeout": 60.0,
            "allow_running_etcd": False,
            "command": "fio",
        }
        try:
            return measurement.measure(path=path, check_mode=check_mode, **{**wanted, **options})
        finally:
            # fio's file is gone whatever happened, unless the disk hangs
            hangs = isinstance(self.answers[0], _fio.DiskHangs)
            assert hangs or not list(self.root.rglob("etcd.0.0")) and not (self.calls and list(self.root.rglob(_fio.FOLDER)))


@pytest.fixture(name="node")
def fixture_node(tmp_path):
    return Node(tmp_path, [(0, document(job()), "")])


def answers(*values_ms):
    return [(0, document(job(int(value * 1000000))), "") for value in values_ms]


def finding(result):
    (check,) = result["checks"]
    assert (check["id"], check["status"]) == ("etcd_disk", result["verdict"])
    assert all(isinstance(value, str) for value in check.values()) and bool(check["fix"]) == (check["status"] != "pass")
    return check


def test_measured_above_a_directory_that_is_not_there_yet(node):
    node.answers = answers(3, 2, 4)
    result = node.measure()
    assert finding(result)["observed"] == (
        "3.00 ms on ext4 (/dev/vda1, mounted on /), measured in /var/lib for /var/lib/etcd (median of 3.00, 2.00, 4.00 ms)"
    )
    assert (result["verdict"], result["p99_us"], result["percentiles_us"]["50"], result["samples"]) == ("pass", 3000.0, 1500.0, 10029)
    assert [run["p99_us"] for run in result["runs"]] == [3000.0, 2000.0, 4000.0]
    assert (result["directory"], result["fio_version"]) == ("/var/lib", "3.33")
    assert result["filesystem"] == {"mount": "/", "type": "ext4", "device": "/dev/vda1"}
    assert not (node.root / "var/lib/etcd").exists()
    words = "--thread --name=etcd --rw=write --ioengine=sync --fdatasync=1 --size=23068672 --bs=2300 --runtime=60 --output-format=json"
    assert node.calls == [(["/usr/bin/fio", *words.split()], 90.0)] * 3


def test_measured_in_the_directory_itself(node):
    (node.root / "var/lib/etcd").mkdir()
    result = node.measure(runs=1)
    assert (result["directory"], result["verdict"]) == ("/var/lib/etcd", "pass")
    assert "measured in" not in finding(result)["observed"]
    assert list((node.root / "var/lib/etcd").iterdir()) == []


def test_a_link_is_followed(node):
    (node.root / "srv/etcd").mkdir(parents=True)
    (node.root / "var/lib/etcd").symlink_to("../../srv/etcd")
    assert node.measure()["directory"] == "/srv/etcd"


def test_a_slow_disk_is_not_measured_longer_than_needed(node):
    node.answers = answers(25, 9, 31, 12, 1)
    result = node.measure(runs=5)
    assert (result["verdict"], result["p99_us"], len(result["runs"])) == ("fail", 25000.0, 4)
    node.answers, node.calls = answers(25, 31), []
    result = node.measure(runs=3)
    assert (result["verdict"], len(node.calls)) == ("fail", 2)


def unfit(kind):
    def change(node):
        (node.root / "proc/self/mountinfo").write_text(f"22 1 0:1 / / rw - {kind} source rw\n")

    return change


def text(path, content=""):
    return lambda node: (node.root / path).write_text(content)


def gives(code, out, err=""):
    return lambda node: setattr(node, "answers", [(code, out, err)])


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        *[
            (unfit(kind), "fail", f"would be on {kind} (source, mounted on /)")
            for kind in ("tmpfs", "ramfs", "overlay", "squashfs", "nfs4", "cifs", "9p", "virtiofs")
        ],
        (lambda node: node.process(77, "etcd"), "unknown", "etcd is running on this node"),
        (lambda node: setattr(node, "fio", None), "unknown", "the command fio is not installed"),
        (text("proc/self/mountinfo", "22 1 0:1 / / ro - ext4 /dev/vda1 rw\n"), "unknown", "is mounted read-only"),
        (text("proc/self/mountinfo"), "unknown", "names no file system"),
        # wanted: 44 MiB and 512 of 10240
        (lambda node: setattr(node, "space", Space(555)), "unknown", "555 MiB are free"),
        (lambda node: (setattr(node, "space", Space(1067)), setattr(node.space, "f_blocks", 10**9)), "unknown", "1067 MiB are free"),
        (text("var/lib/etcd"), "fail", "/var/lib/etcd is no directory"),
        (lambda node: (node.root / "var/lib/etcd").symlink_to("../../missing"), "fail", "is a link to ../../missing, which does not exist"),
        (lambda node: (node.root / "var/lib" / _fio.FOLDER).symlink_to("/tmp"), "unknown", ""),
        (
            lambda node: ((node.root / "var/lib" / _fio.FOLDER).mkdir(), (node.root / "var/lib" / _fio.FOLDER).chmod(0o755)),
            "unknown",
            "belongs to somebody else",
        ),
    ],
)
def test_fio_is_not_run(node, change, status, words):
    change(node)
    result = node.measure()
    check = finding(result)
    assert (result["verdict"], node.calls) == (status, []) and words in check["observed"], check
    assert (result["p99_us"], result["percentiles_us"], result["runs"], result["fio_version"]) == (None, {}, [], None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (gives(0, document(job(None))), "fio 3.33 gave no latency of fdatasync"),
        (gives(0, ""), "There is no result of fio"),
        (gives(0, "nonsense"), "There is no result of fio"),
        (gives(1, document(job())), "fio failed: exit code 1"),
        (gives(1, "", "fio: engine sync not loadable\n"), "engine sync not loadable"),
        (
            gives(1, document(job(error=28)), "fio: io_u error on file etcd.0.0: No space left on device: write\n"),
            "became full while fio was writing",
        ),
        (gives(1, document(job(error=30))), "the file system is read-only"),
        (gives(-9, ""), "fio was killed (SIGKILL)"),
        (gives(-11, ""), "fio was killed (SIGSEGV)"),
        (gives(128, "fio: terminating on signal 15\n" + document(job())), "fio was killed (terminating on signal 15)"),
        (gives(_command.TIMED_OUT, "", "no end"), "fio did not end within 90 seconds, although it was told to after 60"),
        (gives(_command.NOT_FOUND, "", "/usr/bin/fio: Exec format error"), "fio cannot be started: /usr/bin/fio: Exec format error"),
    ],
)
def test_fio_fails(node, change, words):
    change(node)
    result = node.measure()
    assert (result["verdict"], result["p99_us"], len(node.calls)) == ("unknown", None, 1)
    assert words in finding(result)["observed"], result


def test_the_second_run_fails(node):
    node.answers = [*answers(2), (-9, "", "")]
    result = node.measure()
    assert (result["verdict"], result["p99_us"], len(result["runs"])) == ("unknown", None, 1)


def test_a_disk_that_hangs(node):
    node.answers = [_fio.DiskHangs("fio cannot be ended", "look", "fail")]
    result = node.measure()
    assert (result["verdict"], finding(result)["observed"]) == ("fail", "fio cannot be ended")
    # touching it would hang this module too
    assert (node.root / "var/lib" / _fio.FOLDER).exists()


def test_a_bug_of_ours_leaves_nothing(node):
    node.answers = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        node.measure()


def test_check_mode_writes_nothing(node):
    before = sorted((str(place), place.stat().st_mtime_ns) for place in node.root.rglob("*"))
    result = node.measure(check_mode=True)
    assert (result["verdict"], finding(result)["observed"], node.calls) == ("unknown", "not measured in check mode", [])
    assert result["filesystem"]["device"] == "/dev/vda1"
    assert sorted((str(place), place.stat().st_mtime_ns) for place in node.root.rglob("*")) == before


def test_check_mode_names_a_file_system_that_is_unfit(node):
    unfit("tmpfs")(node)
    assert node.measure(check_mode=True)["verdict"] == "fail"


def test_etcd_may_run_when_told_so(node):
    node.process(77, "etcd")
    (node.root / "proc/78").mkdir()
    assert node.measure(allow_running_etcd=True)["verdict"] == "pass"


@pytest.mark.parametrize(("free_mib", "blocks"), [(556, 2621440), (1068, 10**9)])
def test_just_enough_space(node, free_mib, blocks):
    node.space = Space(free_mib)
    node.space.f_blocks = blocks
    assert node.measure()["verdict"] == "pass"


def test_a_process_that_ends_meanwhile_is_not_etcd(node):
    (node.root / "proc/78").mkdir()
    assert node.measure()["verdict"] == "pass"


def test_what_a_killed_run_left_is_removed(node):
    folder = node.root / "var/lib" / _fio.FOLDER
    folder.mkdir(mode=0o700)
    (folder / "etcd.0.0").write_text("of the run before")
    assert node.measure()["verdict"] == "pass"
    assert not folder.exists()


def test_two_at_once(node):
    folder = node.root / "var/lib" / _fio.FOLDER
    folder.mkdir(mode=0o700)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = node.measure()
    finally:
        os.close(lock)
    assert (result["verdict"], node.calls, folder.exists()) == ("unknown", [], True)
    assert "another run" in finding(result)["observed"]


def test_a_signal_between_and_during_runs(node):
    def signalled(self):
        self.stop = True
        return 0, document(job()), ""

    node.answers = [signalled]
    with pytest.raises(_fio.Interrupted):
        node.measure()
    assert len(node.calls) == 1
    with pytest.raises(_fio.Interrupted):
        node.measure()
    assert len(node.calls) == 1


@settings(deadline=None)
@given(
    st.one_of(st.text(), STRANGE_JSON.map(json.dumps), st.binary().map(lambda raw: raw.decode("utf-8", "replace"))), st.integers(-20, 130)
)
def test_no_answer_of_fio_whatsoever_is_a_pass(tmp_path_factory, answer, code):
    node = Node(tmp_path_factory.mktemp("node"), [(code, answer, answer)])
    assert node.measure(runs=1)["verdict"] == "unknown"


# --- the runner, with real processes


def shell(script, folder, timeout=20, stopped=lambda: False):
    return _fio.run_fio(["/bin/sh", "-c", script], str(folder), timeout, stopped)


def test_runner(tmp_path):
    assert shell("pwd; echo no >&2; exit 3", tmp_path) == (3, f"{tmp_path}\n", "no\n")
    assert shell("kill -9 $$", tmp_path)[0] == -9
    assert _fio.run_fio(["/missing/fio"], str(tmp_path), 5, lambda: False)[0] == _command.NOT_FOUND


def test_more_output_than_a_pipe_holds(tmp_path):
    code, out, dummy = _fio.run_fio([sys.executable, "-c", "print('x' * 3000000)"], str(tmp_path), 60, lambda: False)
    assert (code, len(out)) == (0, 3000001)


@pytest.mark.parametrize(("timeout", "stopped", "code"), [(0.5, False, _command.TIMED_OUT), (60, True, _fio.STOPPED)])
def test_what_does_not_end_is_killed(tmp_path, timeout, stopped, code):
    begin = time.monotonic()
    assert shell("echo $$ > pid; exec sleep 120", tmp_path, timeout, lambda: stopped and (tmp_path / "pid").exists())[0] == code
    assert time.monotonic() - begin < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_what_cannot_be_killed(tmp_path, monkeypatch):
    class Stuck:
        def __init__(self, argv, **options):
            self.killed = False

        def communicate(self, timeout):
            raise subprocess.TimeoutExpired("fio", timeout)

        def kill(self):
            self.killed = True

    monkeypatch.setattr(_fio.subprocess, "Popen", Stuck)
    with pytest.raises(_fio.DiskHangs, match="cannot be ended") as error:
        _fio.run_fio(["fio"], str(tmp_path), -1, lambda: False)
    assert error.value.status == "fail" and str(tmp_path) in error.value.fix
