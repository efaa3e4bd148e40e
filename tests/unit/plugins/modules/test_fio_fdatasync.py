# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module fio_fdatasync with a fio of its own, with the real one, and on file systems that fail for real."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _fio
from ansible_collections.baremetal.kubernetes.plugins.modules import fio_fdatasync

REAL_FIO = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
# 1068 writes: the least that can pass
SMALL = {"size": "2400k", "runs": 1, "allow_running_etcd": True}
# Options as JSON on standard input, the result as JSON on standard output: the module as a process.
MODULE = """
import sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.kubernetes.plugins.modules import fio_fdatasync
import json
with patch_module_args(json.load(sys.stdin)):
    fio_fdatasync.main()
"""


@pytest.fixture(name="disk")
def fixture_disk(tmp_path):
    """A folder on a file system that fio may be run on."""
    kind = _fio.Fdatasync().filesystem(str(tmp_path))["type"]
    if kind in _fio.UNFIT:
        pytest.skip(f"the temporary folder is on {kind}")
    return tmp_path


def script(folder, text):
    """A program in place of fio."""
    place = folder / "fio"
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)
    return str(place)


def measured(p99_ns):
    sync = {"total_ios": 0, "lat_ns": {"N": 10029, "percentile": {"50.000000": p99_ns // 2, "99.000000": p99_ns}}}
    return json.dumps({"fio version": "fio-3.33", "jobs": [{"error": 0, "write": {"iops": 640.5}, "sync": sync}]})


def run(capsys, check_mode=False, **params):
    """Exit code and result of the module."""
    with patch_module_args({**params, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as exit_:
        fio_fdatasync.main()
    return exit_.value.code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("p99_ns", "status"), [(2376000, "pass"), (6000000, "warn"), (25560000, "fail")])
def test_verdict(disk, capsys, p99_ns, status):
    fio = script(disk, f"echo '{measured(p99_ns)}'; echo $@ > {disk}/called; pwd > {disk}/where; touch etcd.0.0")
    code, result = run(capsys, path=str(disk / "etcd" / "data"), command=fio, allow_running_etcd=True)
    assert (code, result["changed"], result["verdict"], result["p99_us"]) == (0, False, status, p99_ns / 1000)
    assert [check["id"] for check in result["checks"]] == ["etcd_disk"]
    assert f"measured in {disk} for {disk}/etcd/data" in result["checks"][0]["observed"]
    assert result["directory"] == str(disk)
    assert "--rw=write --ioengine=sync --fdatasync=1 --size=23068672 --bs=2300" in (disk / "called").read_text()
    assert (disk / "where").read_text() == f"{disk}/{_fio.FOLDER}\n"
    assert sorted(os.listdir(disk)) == ["called", "fio", "where"]


def test_check_mode(disk, capsys):
    fio = script(disk, f"touch {disk}/called")
    for dummy in range(2):
        code, result = run(capsys, True, path=str(disk), command=fio, allow_running_etcd=True)
        assert (code, result["changed"], result["verdict"], result["p99_us"]) == (0, False, "unknown", None)
        assert result["checks"][0]["observed"] == "not measured in check mode"
    assert os.listdir(disk) == ["fio"]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"path": "etcd"}, "The option path"),
        ({"size": "22 MB"}, "The option size"),
        ({"runs": 0}, "The option runs"),
        ({"warn_ms": 20}, "warn_ms (20)"),
    ],
)
def test_an_option_that_cannot_be_used(capsys, params, words):
    code, result = run(capsys, command="/missing/fio", **params)
    assert code == 1 and words in result["msg"]


def test_a_signal_before_anything_is_done(disk, capsys, monkeypatch):
    fio = script(disk, f"touch {disk}/called")
    monkeypatch.setattr(_fio.Signals, "__enter__", lambda self: (setattr(self, "received", "SIGHUP"), self)[1])
    monkeypatch.setattr(_fio.Signals, "__exit__", lambda self, *args: None)
    code, result = run(capsys, path=str(disk), command=fio, allow_running_etcd=True)
    assert code == 1 and "SIGHUP" in result["msg"] and os.listdir(disk) == ["fio"]


def test_handlers_are_put_back(disk, capsys):
    before = [signal.getsignal(number) for number in _fio.Signals.NUMBERS]
    run(capsys, True, path=str(disk))
    assert [signal.getsignal(number) for number in _fio.Signals.NUMBERS] == before


# --- as a process


def start(before=(), **params):
    """The module as a process; before is a command that runs it."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    process.stdin.write(json.dumps(params))
    process.stdin.close()
    process.stdin = None
    return process


def wait_for(place, process):
    end = time.monotonic() + 60
    while not (place.exists() and place.stat().st_size):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def result_of(process):
    out, err = process.communicate(timeout=120)
    assert out, err
    return json.loads(out)


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_fio_and_removes_its_file(disk, number):
    # a fio that does not care about signals
    fio = script(disk, f"trap '' TERM INT HUP\necho x > etcd.0.0\necho $$ > {disk}/pid\nexec sleep 300")
    process = start(path=str(disk), command=fio, allow_running_etcd=True)
    wait_for(disk / "pid", process)
    assert os.listdir(disk / _fio.FOLDER) == ["etcd.0.0"]
    process.send_signal(number)
    result = result_of(process)
    assert result["failed"] and signal.Signals(number).name in result["msg"]
    assert gone(int((disk / "pid").read_text())) and sorted(os.listdir(disk)) == ["fio", "pid"]


def test_a_run_that_does_not_end(disk, capsys, monkeypatch):
    monkeypatch.setattr(_fio, "GRACE_SECONDS", 0)
    fio = script(disk, f"echo x > etcd.0.0\necho $$ > {disk}/pid\nexec sleep 300")
    dummy, result = run(capsys, path=str(disk), command=fio, allow_running_etcd=True, timeout=1)
    assert (result["verdict"], result["p99_us"]) == ("unknown", None)
    assert "did not end within 1 seconds" in result["checks"][0]["observed"]
    assert gone(int((disk / "pid").read_text())) and sorted(os.listdir(disk)) == ["fio", "pid"]


# --- the real fio


@REAL_FIO
def test_fio_measures(disk, capsys):
    code, result = run(capsys, path=str(disk / "etcd"), **SMALL)
    assert code == 0 and os.listdir(disk) == []
    # how fast this disk is nobody knows, but that it was measured
    assert result["checks"][0]["observed"].startswith(f"{result['p99_us'] / 1000:.2f} ms on "), result
    assert 5 < result["percentiles_us"]["50"] <= result["p99_us"] <= result["percentiles_us"]["99.99"]
    assert result["verdict"] == ("fail" if result["p99_us"] >= 10000 else "warn" if result["p99_us"] >= 5000 else result["verdict"])
    assert result["verdict"] != "unknown" or result["samples"] < 1000
    assert result["runs"] == [{name: result[name] for name in ("p99_us", "iops", "samples")}]


@REAL_FIO
def test_the_text_of_fio_says_what_its_json_says(disk):
    argv = [
        "fio",
        "--thread",
        "--name=etcd",
        "--rw=write",
        "--ioengine=sync",
        "--fdatasync=1",
        "--size=200k",
        "--bs=2300",
        "--output-format=json,normal",
    ]
    done = subprocess.run(argv, cwd=disk, capture_output=True, text=True, timeout=120, check=True)
    begin, end = done.stdout.index("{"), done.stdout.rindex("}") + 1
    of_json, of_text = _fio.parse_fio(done.stdout[begin:end]), _fio.parse_fio(done.stdout[:begin] + done.stdout[end:])
    # the text rounds to its unit
    assert of_text["p99_us"] == pytest.approx(of_json["p99_us"], rel=0.01, abs=1)
    assert set(of_text["percentiles_us"]) == set(of_json["percentiles_us"])
    assert of_text["samples"] == of_json["samples"] == 89


@REAL_FIO
def test_fio_ends_by_itself_on_a_slow_disk(disk):
    code, out, dummy = _fio.run_fio(
        [
            "fio",
            "--thread",
            "--name=etcd",
            "--rw=write",
            "--ioengine=sync",
            "--fdatasync=1",
            "--size=1g",
            "--bs=2300",
            "--runtime=2",
            "--output-format=json",
        ],
        str(disk),
        90,
        lambda: False,
    )
    result = _fio.parse_fio(out)
    assert (code, result["errors"]) == (0, []) and result["p99_us"] and result["samples"] < 466000


@REAL_FIO
def test_a_signal_ends_the_real_fio(disk):
    process = start(path=str(disk), size="1g", allow_running_etcd=True)
    wait_for(disk / _fio.FOLDER / "etcd.0.0", process)
    process.terminate()
    assert "SIGTERM" in result_of(process)["msg"]
    assert os.listdir(disk) == []


# --- file systems that fail for real, in a mount namespace that ends with its process

ALONE = ["unshare", "--mount", "--propagation", "private"]


def namespace(folder, mounts, **params):
    """The module's result in a mount namespace with these mounts."""
    if os.geteuid() or subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here")
    return result_of(start([*ALONE, "sh", "-ec", f'{mounts}\nexec "$@"', "sh"], path=str(folder), **{**SMALL, **params}))


@REAL_FIO
def test_memory_is_no_disk(tmp_path):
    result = namespace(tmp_path / "etcd", f"mount -t tmpfs -o size=60m none {tmp_path}")
    assert result["verdict"] == "fail" and "would be on tmpfs" in result["checks"][0]["observed"]
    assert result["filesystem"] == {"mount": str(tmp_path), "type": "tmpfs", "device": "none"}


@REAL_FIO
def test_layers_are_no_disk(tmp_path):
    for name in ("lower", "upper", "work", "etcd"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    result = namespace(
        tmp_path / "etcd",
        f"mount -t overlay -o {options} overlay {tmp_path}/etcd || mount -t overlay -o lowerdir={tmp_path}/lower:{tmp_path}/work overlay {tmp_path}/etcd",
    )
    assert result["verdict"] == "fail" and "would be on overlay" in result["checks"][0]["observed"]


@REAL_FIO
def test_a_read_only_mount(disk):
    result = namespace(disk, f"mount --bind {disk} {disk}; mount -o remount,ro,bind {disk}")
    assert result["verdict"] == "unknown" and "is mounted read-only" in result["checks"][0]["observed"]


# A tmpfs that is called ext4 and says that it has space: what happens on a disk that lies.
LYING = """
import json, os, sys
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _fio
class Space: f_frsize, f_blocks, f_bavail = 4096, 262144, 262144
result = _fio.Fdatasync(root=sys.argv[1], statvfs=lambda path: Space).measure(
    path="/etcd", size="22m", block_size=2300, runs=3, limit_ms=10, warn_ms=5, timeout=60, allow_running_etcd=False, command="fio", check_mode=False)
print(json.dumps([result, os.listdir(sys.argv[1] + "/etcd")]))
"""


@REAL_FIO
@pytest.mark.parametrize(
    ("mounts", "words"),
    [
        ("", "became full while fio was writing: No space left on device"),
        ("dd if=/dev/zero of={0}/full bs=4k 2>/dev/null || true", "became full while fio was writing: No space left on device"),
        ("n=0; while touch {0}/$n 2>/dev/null; do n=$((n + 1)); done", "the file system is full: "),
        ("mount -o remount,ro {0}", "the file system is read-only"),
    ],
)
def test_a_disk_that_fails(tmp_path, mounts, words):
    if os.geteuid() or subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here")
    make = f"mount -t tmpfs -o size=3m,nr_inodes=60 none {tmp_path}; mkdir -p {tmp_path}/etcd {tmp_path}/proc/self"
    table = "22 1 254:0 / / rw - ext4 /dev/vda1 rw"
    inside = f"{make}; echo '{table}' > {tmp_path}/proc/self/mountinfo; {mounts.format(tmp_path)}\nexec \"$@\""
    done = subprocess.run(
        [*ALONE, "sh", "-ec", inside, "sh", sys.executable, "-c", LYING, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert done.returncode == 0, done.stderr
    result, left = json.loads(done.stdout)
    assert (result["verdict"], result["p99_us"], left) == ("unknown", None, [])
    assert words in result["checks"][0]["observed"], result
