# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils._kubeadm import KubeadmError
from ansible_collections.baremetal.kubernetes.plugins.modules import kubeadm

CONFIG = "/etc/kubernetes/kubeadm-join.yaml"


class Recorder:
    """Stands for Kubeadm; remembers the one call and answers it."""

    def __init__(self, changed: bool = True, error: KubeadmError | None = None) -> None:
        self.calls: list[tuple[t.Any, ...]] = []
        self.changed = changed
        self.error = error

    def __getattr__(self, name: str) -> t.Callable[..., t.Any]:
        def call(*args: t.Any) -> t.Any:
            if name != "state":
                self.calls.append((name, *args))
            if self.error:
                raise self.error
            return {
                "state": {"member": True, "control_plane": False, "unfinished": None},
                "secrets": {"token": "t", "ca_cert_hash": "h", "certificate_key": ""},
                "wait": {"admin_conf_sha256": "d", "kube_proxy_config": None, "waited": 0},
                "phase": None,
            }.get(name, self.changed)

        return call


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fake: Recorder, **args: t.Any) -> dict[str, t.Any]:
    monkeypatch.setattr(kubeadm, "Kubeadm", lambda: fake)
    with patch_module_args(args), pytest.raises(SystemExit) as ended:
        kubeadm.main()
    result = json.loads(capsys.readouterr().out)
    assert bool(ended.value.code) == bool(result.get("failed", False))
    return result


@pytest.mark.parametrize(
    ("args", "call", "changed"),
    [
        ({"action": "init", "config": CONFIG}, ("init", CONFIG, [], 900, False), True),
        ({"action": "init", "config": CONFIG, "_ansible_check_mode": True}, ("init", CONFIG, [], 900, True), True),
        (
            {"action": "join", "config": CONFIG, "secrets": {"token": "abc"}, "arguments": ["--v=1"], "timeout": 5},
            ("join", CONFIG, {"token": "abc"}, ["--v=1"], 5, False),
            True,
        ),
        ({"action": "secrets"}, ("secrets", "30m0s", False, None), True),
        ({"action": "wait", "node_ip": "192.0.2.1"}, ("wait", "192.0.2.1", 6443, 900, False), False),
        ({"action": "phase", "phase": ["addon", "all"], "config": CONFIG}, ("phase", ["addon", "all"], CONFIG), True),
    ],
)
def test_each_action_is_one_call(monkeypatch, capsys, args, call, changed) -> None:
    fake = Recorder()
    result = run(monkeypatch, capsys, fake, **args)
    assert fake.calls == [call]
    assert result["changed"] is changed


@pytest.mark.parametrize(
    "args",
    [{"action": "secrets"}, {"action": "phase", "phase": ["addon", "all"], "config": CONFIG}],
)
def test_check_mode_touches_no_cluster(monkeypatch, capsys, args) -> None:
    fake = Recorder()
    assert run(monkeypatch, capsys, fake, _ansible_check_mode=True, **args)["changed"] is True
    assert fake.calls == []


def test_second_run_is_unchanged(monkeypatch, capsys) -> None:
    assert run(monkeypatch, capsys, Recorder(changed=False), action="init", config=CONFIG)["changed"] is False


def test_state_changes_nothing(monkeypatch, capsys) -> None:
    result = run(monkeypatch, capsys, Recorder(), action="state")
    assert (result["changed"], result["state"]["member"]) == (False, True)


def test_the_secret_given_is_not_shown(monkeypatch, capsys) -> None:
    fake = Recorder(error=KubeadmError("kubeadm join ended with return code 1", output=["token q1w2e3.r4t5y6u7i8o9p0a1 expired"]))
    result = run(monkeypatch, capsys, fake, action="join", config=CONFIG, secrets={"token": "q1w2e3.r4t5y6u7i8o9p0a1"})
    assert result["failed"] is True
    assert result["msg"] == "kubeadm join ended with return code 1"
    assert "q1w2e3.r4t5y6u7i8o9p0a1" not in json.dumps(result)


@pytest.mark.parametrize("args", [{"action": "init"}, {"action": "wait"}, {"action": "destroy"}])
def test_incomplete_calls_are_refused(monkeypatch, capsys, args) -> None:
    fake = Recorder()
    assert run(monkeypatch, capsys, fake, **args)["failed"] is True
    assert fake.calls == []
