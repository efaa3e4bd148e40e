# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wiring of the three modules of role kernel: options in, JSON out, one sentence on failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _kernel_modules, _swap, _sysctl
from ansible_collections.baremetal.kubernetes.plugins.modules import kernel_modules, swap_off, sysctl_dropin


@pytest.fixture(name="root")
def fixture_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose files are below a folder of this test, and which refuses to run anything."""
    for path, text in {
        "proc/sys/net/ipv4/ip_forward": "0\n",
        "proc/modules": "overlay 1 0 - Live 0x0\n",
        "proc/swaps": "Filename Type Size Used Priority\n",
        "etc/fstab": "/swap.img none swap sw 0 0\n",
        "lib/modules/6.1.0/modules.dep": "kernel/overlay.ko:\n",
        "etc/os-release": "ID=debian\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    def run(argv, timeout=None):
        return (0, "", "") if argv[0] == "systemctl" else (1, "", "not found")

    monkeypatch.setattr(sysctl_dropin, "Kernel", lambda: _sysctl.Kernel(str(tmp_path)))
    monkeypatch.setattr(kernel_modules, "Machine", lambda _run: _kernel_modules.Machine(run, str(tmp_path), "6.1.0", "x86_64"))
    monkeypatch.setattr(swap_off, "Swap", lambda _run: _swap.Swap(run, str(tmp_path), 0))
    return tmp_path


def call(module, capsys: pytest.CaptureFixture, check_mode: bool = False, **options) -> dict:
    with patch_module_args({**options, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as end:
        module.main()
    result = json.loads(capsys.readouterr().out)
    assert bool(end.value.code) is bool(result.get("failed")), result
    return result


def test_sysctl_dropin(root: Path, capsys: pytest.CaptureFixture) -> None:
    options = {"settings": [{"key": "net.ipv4.ip_forward", "value": True, "comment": "why"}]}
    planned = call(sysctl_dropin, capsys, check_mode=True, **options)
    assert planned["changed"] and not (root / "etc/sysctl.d").exists()
    done = call(sysctl_dropin, capsys, **options)
    assert done["changed"] and done["applied"] == planned["applied"] == ["net.ipv4.ip_forward"]
    assert (root / "etc/sysctl.d/99-k8s-network.conf").read_text().endswith("# why\nnet.ipv4.ip_forward = 1\n")
    assert not call(sysctl_dropin, capsys, **options)["changed"]


def test_sysctl_dropin_fails_with_sentences_and_warns_where_asked(root: Path, capsys: pytest.CaptureFixture) -> None:
    (root / "run/sysctl.d").mkdir(parents=True)
    (root / "run/sysctl.d/99-z.conf").write_text("net.ipv4.ip_forward=0\n")
    options = {"settings": [{"key": "net.ipv4.ip_forward", "value": 1}]}
    failed = call(sysctl_dropin, capsys, **options)
    assert failed["msg"].startswith("Kernel settings: net.ipv4.ip_forward: /run/sysctl.d/99-z.conf:1 sets '0'")
    warned = call(sysctl_dropin, capsys, on_override="warn", **options)
    assert warned["changed"] and "/run/sysctl.d/99-z.conf:1" in str(warned["warnings"])


def test_kernel_modules(root: Path, capsys: pytest.CaptureFixture) -> None:
    options = {"modules": [{"name": "overlay"}, {"name": "vxlan", "optional": True}]}
    planned = call(kernel_modules, capsys, check_mode=True, **options)
    assert planned["changed"] and not (root / "etc/modules-load.d").exists()
    done = call(kernel_modules, capsys, **options)
    assert done["changed"] and done["missing"] == ["vxlan"] and "vxlan" in str(done["warnings"]) and "vxlan" in str(planned["warnings"])
    assert not call(kernel_modules, capsys, **options)["changed"]
    failed = call(kernel_modules, capsys, modules=[{"name": "vxlan"}])
    assert failed["msg"].startswith("Kernel modules: Module vxlan: the installed kernel 6.1.0 does not have it (modprobe: not found).")


def test_swap_off(root: Path, capsys: pytest.CaptureFixture) -> None:
    assert call(swap_off, capsys, check_mode=True)["changed"]
    assert (root / "etc/fstab").read_text() == "/swap.img none swap sw 0 0\n"
    done = call(swap_off, capsys)
    assert done["changed"] and done["backup"] == "/etc/fstab.19700101T000000Z.bak"
    assert not call(swap_off, capsys)["changed"]
    (root / "proc/swaps").write_text("Filename Type Size Used Priority\n/dev/vdb partition 1 0 -2\n")
    assert call(swap_off, capsys)["msg"].startswith("Swap: `swapoff /dev/vdb` ended with return code 1: not found.")


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        (sysctl_dropin, {"settings": [{"key": "net.ipv4.ip_forward", "value": 1, "minimum": True}]}, "minimum"),
        (sysctl_dropin, {"settings": [{"value": 1}]}, "missing required arguments: key"),
        (kernel_modules, {"modules": [{"name": "overlay", "persistent": "present"}]}, "persistent"),
        (kernel_modules, {}, "missing required arguments: modules"),
    ],
)
def test_options_with_a_typo_are_refused(root: Path, capsys: pytest.CaptureFixture, module, options: dict, said: str) -> None:
    assert said in call(module, capsys, **options)["msg"]
