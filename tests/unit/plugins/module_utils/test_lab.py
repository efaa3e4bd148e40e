# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine lacks for the lab, and what a test boot under KVM tells."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _lab

GOOD = _lab.HostState(
    os_id="debian",
    os_like=[],
    os_name="Debian GNU/Linux 12 (bookworm)",
    architecture="x86_64",
    memory_bytes=8 * _lab.GIB,
    disk_bytes=40 * _lab.GIB,
)


def problems(**changes):
    return _lab.host_problems(dataclasses.replace(GOOD, **changes), "/cache", 4608, 20)


def test_good_machine():
    assert problems() == []
    assert problems(os_id="ubuntu", os_like=["debian"]) == []
    assert problems(memory_bytes=4608 * _lab.MIB, disk_bytes=20 * _lab.GIB) == []


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"os_id": "fedora", "os_name": "Fedora Linux 43"}, ["Fedora Linux 43", "Debian or Ubuntu"]),
        ({"architecture": "aarch64"}, ["aarch64", "x86_64"]),
        ({"memory_bytes": 4607 * _lab.MIB}, ["4607 MiB", "4608 MiB", "LAB_WORKERS"]),
        ({"disk_bytes": 20 * _lab.GIB - 1}, ["19 GiB", "20 GiB", "/cache", "BAREMETAL_LAB_CACHE"]),
    ],
)
def test_each_lack_is_one_sentence(changes, words):
    (problem,) = problems(**changes)
    for word in words:
        assert word in problem
    assert problem.endswith(".") and "\n" not in problem


def test_every_lack_is_named():
    assert len(problems(os_id="arch", architecture="riscv64", memory_bytes=0, disk_bytes=0)) == 4


def test_os_release():
    values = _lab.parse_os_release("# a comment = no key\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nID_LIKE='a b'\n\nBROKEN\n")
    assert values == {"PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)", "ID": "debian", "ID_LIKE": "a b"}


def test_memory():
    assert _lab.parse_available_memory("MemTotal:  100 kB\nMemAvailable:      42 kB\n") == 42 * 1024
    with pytest.raises(_lab.LabError, match="MemAvailable"):
        _lab.parse_available_memory("MemTotal:  100 kB\n")
    assert _lab.parse_resident_memory("Name:\tkthreadd\n") == 0


def test_memory_of_the_lab_itself(tmp_path):
    for pid, command, resident in [("10", "qemu\0-name\0guest=baremetal-kubernetes-cp1,x", 1000), ("11", "qemu\0-name\0guest=other", 5), ("12", "", 7)]:
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_text(command)
        (tmp_path / pid / "status").write_text(f"Name:\tx\nVmRSS:\t{resident} kB\n")
    (tmp_path / "13").mkdir()  # it ended between two looks
    (tmp_path / "self").mkdir()
    assert _lab.lab_memory(str(tmp_path)) == 1000 * 1024


def test_disk(tmp_path):
    assert _lab.existing_parent(str(tmp_path / "not" / "yet")) == str(tmp_path)
    assert _lab.tree_size(str(tmp_path / "not")) == 0
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "data").write_bytes(b"x" * 100_000)
    assert 100_000 <= _lab.tree_size(str(tmp_path)) < 200_000


def test_this_machine(tmp_path):
    state = _lab.host_state(str(tmp_path))
    assert state.memory_bytes > 0 and state.disk_bytes > 0 and state.os_name


PANIC = "[    0.9] VFS: Cannot open root device\r\n[    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n"


@pytest.mark.parametrize(
    "console, ended, messages, driver, words",
    [
        (PANIC, False, "", "kvm", ["boots"]),
        (PANIC, True, "", "kvm", ["boots"]),
        ("SeaBIOS\r\n\x1b[2JBooting from ROM..\r\n", False, "", "qemu", ["20 seconds", "'[2JBooting from ROM..'"]),
        ("", False, "", "qemu", ["20 seconds", "'nothing'"]),
        ("", True, "qemu: x\nAssertion failed.\n", "qemu", ["'Assertion failed.'"]),
        ("", True, "", "qemu", ["'no message'"]),
        ("[ 0.5] Kernel panic - not syncing: Fatal exception\r\n", True, "", "qemu", ["Fatal exception"]),
    ],
)
def test_judge(console, ended, messages, driver, words):
    verdict = _lab.judge(console, ended, messages, 20)
    assert verdict.driver == driver
    for word in words:
        assert word in verdict.reason


@pytest.fixture
def machine(tmp_path):
    device = tmp_path / "kvm"
    device.touch()
    kernel = tmp_path / "vmlinuz"
    kernel.touch()
    return tmp_path, str(device), str(kernel)


def boots(*answers):
    left = list(answers)
    calls = []

    def boot(kernel, seconds):
        calls.append((kernel, seconds))
        return left.pop(0)

    boot.calls = calls
    return boot


def test_verdict_is_kept_for_this_boot_only(machine):
    path, device, kernel = machine
    cache = str(path / "driver.json")
    boot = boots((PANIC, True, ""), ("", False, ""))
    first = _lab.decide(device, ["/nowhere", kernel], 20, cache, "boot-1", boot)
    assert (first.driver, first.cached) == ("kvm", False)
    again = _lab.decide(device, [kernel], 20, cache, "boot-1", boot)
    assert (again.driver, again.reason, again.cached) == ("kvm", first.reason, True)
    assert boot.calls == [(kernel, 20)]
    assert _lab.decide(device, [kernel], 20, cache, "boot-2", boot).driver == "qemu"
    assert json.loads((path / "driver.json").read_text())["boot_id"] == "boot-2"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"boot_id": "boot-1"}'])
def test_damaged_verdict_is_made_again(machine, text):
    path, device, kernel = machine
    (path / "driver.json").write_text(text)
    assert _lab.decide(device, [kernel], 20, str(path / "driver.json"), "boot-1", boots((PANIC, True, ""))).driver == "kvm"


def test_without_a_device_or_a_kernel_nothing_is_booted(machine):
    path, device, kernel = machine
    assert "no " in _lab.decide(str(path / "none"), [kernel], 20, None, "b", boots()).reason
    verdict = _lab.decide(device, [], 20, None, "b", boots())
    assert verdict.driver == "qemu" and "LAB_DRIVER=kvm" in verdict.reason


def test_a_missing_qemu_is_an_error(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(_lab.LabError, match="qemu-system-x86_64"):
        _lab.boot_kernel("/vmlinuz", 1)


@pytest.mark.parametrize(
    "script, seconds, console, ended",
    [
        (f"printf 'first\\n{_lab.CAME_THROUGH}\\n'; sleep 60", 30, _lab.CAME_THROUGH, False),
        ("echo hangs; sleep 60", 0.5, "hangs", False),
        ("echo why >&2; exit 1", 30, "", True),
    ],
)
def test_boot(monkeypatch, tmp_path, script, seconds, console, ended):
    program = tmp_path / "qemu-system-x86_64"
    program.write_text(f"#!/bin/sh\n{script.replace('sleep', 'exec sleep')}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    seen, has_ended, messages = _lab.boot_kernel("/vmlinuz", seconds)
    assert console in seen and has_ended is ended
    assert messages == ("why\n" if ended else "")
