# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import fcntl
import os
import re
import sys
import time
from pathlib import Path

import pytest
import yaml

from ansible_collections.baremetal.kubernetes.plugins.filter.kubeadm_config import kubeadm_config
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _kubeadm
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kubeadm import (
    MARKER,
    PLACEHOLDER_CA_CERT_HASH,
    PLACEHOLDER_CERTIFICATE_KEY,
    PLACEHOLDER_TOKEN,
    Kubeadm,
    KubeadmError,
    is_whole_pem,
    scrub,
    substitute,
)

TOKEN = "q1w2e3.r4t5y6u7i8o9p0a1"
HASH = "sha256:" + "ab" * 32
KEY = "cd" * 32
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KEY_PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n"
CONFIG = "/etc/kubernetes/kubeadm.yaml"


class Node:
    """A file tree and scripted programs: what kubeadm was called with, and what it does to the tree."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[list[str]] = []
        self.effective: list[str] = []
        self.code: int | None = 0
        self.output = ""
        self.effect = lambda: None
        self.results: list[tuple[int, str]] = []
        self.answers: dict[str, tuple[int, str, str]] = {}
        self.slept = 0.0
        self.asked: list[tuple[str, str]] = []
        self.readiness: list[int | str] = []
        self.write(CONFIG, "kind: JoinConfiguration\n")

    def write(self, path: str, text: str) -> Path:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def exists(self, path: str) -> bool:
        return (self.root / path.lstrip("/")).exists()

    def run(self, argv, timeout):
        assert timeout, "every command is bounded"
        self.calls.append(list(argv))
        for prefix, answer in self.answers.items():
            if " ".join(argv).startswith(prefix):
                return answer
        return 1, "", "not scripted"

    def long_run(self, argv, log_path, seconds):
        self.calls.append(list(argv))
        self.effective.append(Path(argv[argv.index("--config") + 1]).read_text())
        assert oct(os.stat(argv[argv.index("--config") + 1]).st_mode)[-3:] == "600"
        assert self.exists(MARKER), "the marker must be there before kubeadm starts"
        self.effect()
        return self.results.pop(0) if self.results else (self.code, self.output)

    def sleep(self, seconds: float) -> None:
        self.slept += seconds

    def kubeadm(self) -> Kubeadm:
        return Kubeadm(self.run, self.long_run, str(self.root), self.sleep, lambda: self.slept, self.api)

    def api(self, kubeconfig: str, server: str):
        self.asked.append((Path(kubeconfig).name, server))
        return FakeApi(self.readiness.pop(0) if self.readiness else 200)


class FakeApi:
    def __init__(self, readiness: int | str) -> None:
        self.readiness = readiness

    def request(self, method: str, path: str):
        assert (method, path) == ("GET", "/readyz")
        if isinstance(self.readiness, str):
            raise KubeApiError(self.readiness)
        return self.readiness, "ok" if self.readiness == 200 else "[-]etcd failed"

    def get(self, path: str):
        assert path.endswith("/kube-system/configmaps/kube-proxy")
        return {"data": {"config.conf": "mode: ipvs\n"}}


@pytest.fixture(name="node")
def fixture_node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def finish_init(node: Node) -> None:
    node.write("/etc/kubernetes/kubelet.conf", "users\n")
    node.write("/etc/kubernetes/manifests/kube-apiserver.yaml", "kind: Pod\n")


def test_init_on_a_fresh_node(node: Node) -> None:
    node.effect = lambda: finish_init(node)
    assert node.kubeadm().init(CONFIG, ["--skip-phases=preflight"], 60, False) is True
    assert len(node.calls) == 1
    assert node.calls[0][:2] == ["kubeadm", "init"]
    assert node.calls[0][4:] == ["--skip-phases=preflight"]
    assert node.kubeadm().state() == {"member": True, "control_plane": True, "unfinished": None}
    assert not list((node.root / "run").glob("*.yaml")), "the copy with secrets must be gone"
    assert not node.exists(MARKER)


def test_second_init_runs_nothing(node: Node) -> None:
    finish_init(node)
    assert node.kubeadm().init(CONFIG, [], 60, False) is False
    assert node.calls == []


def test_check_mode_says_what_it_would_do(node: Node) -> None:
    assert node.kubeadm().init(CONFIG, [], 60, True) is True
    assert node.kubeadm().join(CONFIG, {}, [], 60, True) is True
    assert node.calls == []
    assert not node.exists(MARKER)


def test_failed_init_keeps_the_marker_and_shows_the_evidence(node: Node) -> None:
    node.code, node.output = 1, "one\ntwo\n"
    node.answers = {
        "systemctl is-active": (3, "failed\nactive\n", ""),
        "journalctl -u kubelet": (0, f"kubelet says {TOKEN}\n", ""),
        "ctr -n k8s.io": (0, "TASK PID STATUS\n", ""),
    }
    with pytest.raises(KubeadmError, match="kubeadm init ended with return code 1.*/var/log/kubernetes/kubeadm-init.log") as error:
        node.kubeadm().init(CONFIG, [], 60, False)
    assert error.value.evidence["output"] == ["one", "two"]
    assert error.value.evidence["units"] == {"kubelet": "failed", "containerd": "active"}
    assert error.value.evidence["kubelet_journal"] == ["kubelet says <token>"]
    assert node.kubeadm().state()["unfinished"] == "init"


def test_time_out_is_said(node: Node) -> None:
    node.code = None
    with pytest.raises(KubeadmError, match="did not finish within 60 s"):
        node.kubeadm().init(CONFIG, [], 60, False)


def test_run_after_a_kill_accepts_its_own_leftovers(node: Node) -> None:
    def killed() -> None:
        finish_init(node)
        raise KeyboardInterrupt

    node.effect = killed
    with pytest.raises(KeyboardInterrupt):
        node.kubeadm().init(CONFIG, [], 60, False)
    assert node.kubeadm().state() == {"member": False, "control_plane": False, "unfinished": "init"}
    node.effect = lambda: finish_init(node)
    assert node.kubeadm().init(CONFIG, [], 60, False) is True
    ignored = node.calls[-1][node.calls[-1].index("--ignore-preflight-errors") + 1].split(",")
    assert {"DirAvailable--var-lib-etcd", "Port-6443", "FileAvailable--etc-kubernetes-manifests-etcd.yaml"} <= set(ignored)
    assert node.kubeadm().state()["member"] is True


def test_half_written_files_of_the_killed_run_are_dropped_and_older_ones_kept(node: Node) -> None:
    pki = "/etc/kubernetes/pki"
    past = time.time() - 1000
    for name, text in (("user-ca.key", "broken"), ("front-proxy-ca.crt", "broken too")):
        os.utime(node.write(f"{pki}/{name}", text), (past, past))
    node.write(MARKER, "init\n")
    node.write(f"{pki}/ca.crt", PEM)
    node.write(f"{pki}/ca.key", KEY_PEM)
    node.write(f"{pki}/apiserver.crt", PEM[:-12])
    node.write(f"{pki}/apiserver.key", KEY_PEM)
    node.write(f"{pki}/etcd/ca.key", KEY_PEM)
    node.write(f"{pki}/sa.key", KEY_PEM)
    node.write("/etc/kubernetes/admin.conf", "apiVersion: v1\nusers:\n- name: a\n  user:\n    client-key-data: x\n")
    node.write("/etc/kubernetes/scheduler.conf", "apiVersion: v1\nclusters:\n- clus")
    node.effect = lambda: finish_init(node)
    node.kubeadm().init(CONFIG, [], 60, False)
    left = {str(path.relative_to(node.root / "etc/kubernetes")) for path in (node.root / "etc/kubernetes").rglob("*") if path.is_file()}
    assert left == {
        "admin.conf", "kubeadm.yaml", "kubelet.conf", "manifests/kube-apiserver.yaml",
        "pki/ca.crt", "pki/ca.key", "pki/user-ca.key", "pki/front-proxy-ca.crt",
    }


def test_join_puts_the_secrets_into_the_copy_alone(node: Node) -> None:
    node.write(CONFIG, f"token: {PLACEHOLDER_TOKEN}\nhash: {PLACEHOLDER_CA_CERT_HASH}\nkey: '{PLACEHOLDER_CERTIFICATE_KEY}'\n")
    node.effect = lambda: node.write("/etc/kubernetes/kubelet.conf", "users\n")
    secrets = {"token": TOKEN, "ca_cert_hash": HASH, "certificate_key": KEY}
    assert node.kubeadm().join(CONFIG, secrets, [], 60, False) is True
    assert node.effective == [f"token: {TOKEN}\nhash: {HASH}\nkey: '{KEY}'\n"]
    assert TOKEN not in (node.root / CONFIG.lstrip("/")).read_text()
    assert not any(TOKEN in word or KEY in word for call in node.calls for word in call)


def test_join_without_a_token_is_refused_before_kubeadm_runs(node: Node) -> None:
    node.write(CONFIG, f"token: {PLACEHOLDER_TOKEN}\n")
    with pytest.raises(KubeadmError, match="placeholder of token"):
        node.kubeadm().join(CONFIG, {}, [], 60, False)
    assert node.calls == []
    assert not node.exists(MARKER)


def bootstrapped(node: Node) -> None:
    """What a join leaves that was killed after the kubelet had got its certificate."""
    node.write(MARKER, "join\n")
    node.write("/etc/kubernetes/pki/ca.crt", PEM)
    node.write("/etc/kubernetes/kubelet.conf", "client-key: x\n")
    node.write(_kubeadm.KUBELET_CLIENT_CERTIFICATE, PEM)


def test_killed_join_keeps_the_authority_the_kubelet_trusts(node: Node) -> None:
    # a worker has no ca.key: the certificate alone is whole
    bootstrapped(node)
    assert node.kubeadm().join(CONFIG, {}, [], 60, False) is True
    assert node.exists("/etc/kubernetes/pki/ca.crt")
    assert [call[0] for call in node.calls] == ["kubeadm"]


READY = 'error execution phase kubelet-start: a Node with name "w1" and status "Ready" already exists in the cluster. You must delete\n'


def test_killed_join_whose_node_is_ready_goes_on_behind_the_kubelet(node: Node) -> None:
    bootstrapped(node)
    node.write(CONFIG, "kind: JoinConfiguration\nskipPhases:\n- preflight\n- control-plane-prepare/certs\ntimeouts: {}\n")
    node.results = [(1, READY), (0, "")]
    assert node.kubeadm().join(CONFIG, {}, ["--v=1"], 60, False) is True
    first, second = node.calls
    assert "--skip-phases" not in first
    assert second == [*first, "--skip-phases", "preflight,control-plane-prepare/certs,kubelet-start"]
    assert node.kubeadm().state()["member"] is True
    assert not list((node.root / "run").glob("*.yaml"))


@pytest.mark.parametrize("missing", [MARKER, _kubeadm.KUBELET_CLIENT_CERTIFICATE, "/etc/kubernetes/kubelet.conf"])
def test_another_machine_of_the_same_name_is_not_taken_for_this_one(node: Node, missing: str) -> None:
    bootstrapped(node)
    if missing == MARKER:
        # a fresh node: kubelet.conf would make it a member
        (node.root / "etc/kubernetes/kubelet.conf").unlink()
    (node.root / missing.lstrip("/")).unlink()
    node.results = [(1, READY)]
    with pytest.raises(KubeadmError, match="kubeadm join ended with return code 1"):
        node.kubeadm().join(CONFIG, {}, [], 60, False)
    assert [call[0] for call in node.calls if call[0] == "kubeadm"] == ["kubeadm"]


def test_the_port_of_the_killed_runs_api_server_is_a_leftover(node: Node) -> None:
    node.write(MARKER, "init\n")
    node.write(CONFIG, "localAPIEndpoint:\n  advertiseAddress: 192.0.2.1\n  bindPort: 8443\n")
    node.effect = lambda: finish_init(node)
    node.kubeadm().init(CONFIG, [], 60, False)
    ignored = node.calls[-1][node.calls[-1].index("--ignore-preflight-errors") + 1].split(",")
    assert "Port-8443" in ignored and "Port-6443" not in ignored


def test_a_kubeadm_that_still_runs_is_waited_for_and_named(node: Node) -> None:
    lock = node.write("/run/kubernetes-kubeadm.lock", "")
    with open(lock, encoding="utf-8") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(KubeadmError, match="still runs after 60 s"):
            node.kubeadm().init(CONFIG, [], 60, False)
    assert node.slept == 60
    assert node.calls == []


def test_secrets(node: Node) -> None:
    node.answers = {
        # the name of the endpoint looks like a token
        "kubeadm token create --kubeconfig /etc/kubernetes/admin.conf --ttl 30m0s": (
            0,
            f"kubeadm join k8sapi.bigcompanydomain:6443 --token {TOKEN}     --discovery-token-ca-cert-hash {HASH} \n",
            "",
        ),
        "kubeadm init phase upload-certs": (0, f"[upload-certs] Using certificate key:\n{KEY}\n", ""),
    }
    assert node.kubeadm().secrets("30m0s", True, CONFIG) == {"token": TOKEN, "ca_cert_hash": HASH, "certificate_key": KEY}
    assert node.kubeadm().secrets("30m0s", False, CONFIG)["certificate_key"] == ""


def test_secrets_failure_holds_no_secret(node: Node) -> None:
    node.answers = {"kubeadm token create": (1, TOKEN, f"timed out with {TOKEN}")}
    with pytest.raises(KubeadmError) as error:
        node.kubeadm().secrets("30m0s", False, CONFIG)
    assert TOKEN not in str(error.value)
    assert "return code 1" in str(error.value)


def test_phase(node: Node) -> None:
    node.answers = {"kubeadm init phase addon kube-proxy": (0, "", "")}
    node.kubeadm().phase(["addon", "kube-proxy"], CONFIG)
    assert node.calls[0][3:5] == ["addon", "kube-proxy"]
    with pytest.raises(KubeadmError, match="phase addon coredns ended with return code 1: not scripted"):
        node.kubeadm().phase(["addon", "coredns"], CONFIG)


def test_wait_asks_this_node_until_it_is_ready(node: Node) -> None:
    node.write("/etc/kubernetes/admin.conf", "hello")
    node.readiness = ["refused", 500]
    assert node.kubeadm().wait("192.0.2.1", 6443, 60, False) == {
        # sha256sum of the five letters
        "admin_conf_sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        "kube_proxy_config": "mode: ipvs\n",
        "waited": 10,
    }
    assert node.asked == [("admin.conf", "https://192.0.2.1:6443")] * 3


def test_wait_is_bounded_and_says_what_it_saw(node: Node) -> None:
    node.readiness = [500] * 99
    with pytest.raises(KubeadmError, match=r"API server at \[2001:db8::1\]:6443 answers /readyz with 500: \[-\]etcd failed; ready was wanted within 60 s"):
        node.kubeadm().wait("2001:db8::1", 6443, 60, False)
    assert node.slept == 60


def test_wait_in_check_mode_before_there_is_a_cluster(node: Node) -> None:
    assert node.kubeadm().wait("192.0.2.1", 6443, 60, True)["admin_conf_sha256"] is None
    assert node.asked == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"--token {TOKEN} --discovery", "--token <token> --discovery"),
        (f"key:\n{KEY}\n", "key:\n<certificate key>\n"),
        (f"hash {HASH}", f"hash {HASH}"),
        ("nothing here 1.20.2", "nothing here 1.20.2"),
    ],
)
def test_scrub(text: str, expected: str) -> None:
    assert scrub(text) == expected


def test_substitute_keeps_what_is_no_placeholder() -> None:
    assert substitute("a: b\n", {}) == "a: b\n"
    with pytest.raises(KubeadmError, match="placeholder of ca_cert_hash"):
        substitute(f"x: {PLACEHOLDER_CA_CERT_HASH}", {"token": TOKEN, "certificate_key": KEY})


@pytest.mark.parametrize("version", ["1.20.2", "1.30.14", "1.36.4"])
def test_the_configuration_that_the_roles_write_is_understood(node: Node, version: str) -> None:
    description = {
        "kubernetes_version": version, "node_name": "cp2", "node_ip": "192.0.2.12", "endpoint": "api.example.com:6443", "api_port": 8443,
        "pod_cidr": "10.244.0.0/16", "service_cidr": "10.96.0.0/12", "proxy_mode": "ipvs", "skip_phases": {"init": [], "join": ["preflight", "x/y"]},
    }
    bootstrapped(node)
    node.write(CONFIG, kubeadm_config(description, "control_plane"))
    node.results = [(1, READY), (0, "")]
    # a key of digits alone must stay text
    secrets = {"token": TOKEN, "ca_cert_hash": HASH, "certificate_key": "12" * 32}
    assert node.kubeadm().join(CONFIG, secrets, kubeadm_config(description, "control_plane", output="flags"), 60, False) is True
    joined = yaml.safe_load(node.effective[0])
    assert joined["discovery"]["bootstrapToken"]["caCertHashes"] == [HASH]
    assert joined["controlPlane"]["certificateKey"] == "12" * 32
    assert "Port-8443" in node.calls[0][node.calls[0].index("--ignore-preflight-errors") + 1].split(",")
    skipped = [word for word in node.calls[1] if word.startswith("--skip-phases=")] + node.calls[1][-2:]
    before = ["--skip-phases=preflight,x/y", "--skip-phases", "kubelet-start"]
    assert skipped == (before if version == "1.20.2" else ["--skip-phases", "preflight,x/y,kubelet-start"])


@pytest.mark.parametrize(("text", "whole"), [(PEM, True), (PEM + KEY_PEM, True), (PEM[:-5], False), ("", False), ("-----END A-----\n", False)])
def test_whole_pem(text: str, whole: bool) -> None:
    assert is_whole_pem(text) is whole


def test_long_run_logs_without_secrets_and_stops_in_time(tmp_path: Path) -> None:
    log = tmp_path / "log/kubeadm.log"
    program = f"print('token {TOKEN}', flush=True); import time; time.sleep(30)"
    started = time.monotonic()
    code, output = _kubeadm.default_long_run([sys.executable, "-c", program], str(log), 2)
    assert code is None
    assert time.monotonic() - started < 20
    assert output == "token <token>\n"
    assert re.search(r"^token <token>$", log.read_text(), re.MULTILINE)
    assert oct(log.stat().st_mode)[-3:] == "600"


def test_long_run_returns_the_code(tmp_path: Path) -> None:
    assert _kubeadm.default_long_run([sys.executable, "-c", "raise SystemExit(3)"], str(tmp_path / "log"), 60) == (3, "")


def test_a_missing_kubeadm_is_said(tmp_path: Path) -> None:
    code, output = _kubeadm.default_long_run(["no-such-kubeadm"], str(tmp_path / "log"), 60)
    assert code == 127
    assert output.startswith("no-such-kubeadm: command not found in /usr/local/sbin:")
