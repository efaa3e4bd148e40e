# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's two modules, from options to answer."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _lab
from ansible_collections.baremetal.kubernetes.plugins.modules import lab_check, lab_driver


def run(module, capsys, **arguments):
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("check_mode", [False, True])
def test_check_names_what_is_missing(capsys, tmp_path, check_mode):
    result = run(lab_check, capsys, cache_dir=str(tmp_path), memory_mib=10**9, disk_gib=10**6, _ansible_check_mode=check_mode)
    assert result["changed"] is False
    assert any("1000000000 MiB" in problem for problem in result["problems"])
    assert any("1000000 GiB" in problem for problem in result["problems"])


def test_check_fails_where_it_cannot_look(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(_lab, "parse_available_memory", lambda text: (dummy for dummy in ()).throw(_lab.LabError("No memory.")))
    result = run(lab_check, capsys, cache_dir=str(tmp_path), memory_mib=1, disk_gib=1)
    assert result["failed"] and result["msg"] == "Cannot look at this machine. No memory."


@pytest.mark.parametrize("check_mode", [False, True])
def test_driver_without_a_device(capsys, tmp_path, check_mode):
    result = run(lab_driver, capsys, kernels=["/nowhere"], device=str(tmp_path / "kvm"), _ansible_check_mode=check_mode)
    assert result["driver"] == "qemu" and result["changed"] is False and str(tmp_path) in result["reason"]


def test_driver_fails_without_qemu(capsys, monkeypatch, tmp_path):
    (tmp_path / "kvm").touch()
    monkeypatch.setenv("PATH", "/nowhere")
    result = run(lab_driver, capsys, kernels=[str(tmp_path / "kvm")], device=str(tmp_path / "kvm"))
    assert result["failed"] and "qemu-system-x86_64" in result["msg"]
