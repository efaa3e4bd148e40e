# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/render.yml writes what the hosts of inventories/production would get, for old and new versions, and contacts none of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONTROL_PLANES = ["cp1", "cp2", "cp3"]
WORKERS = ["w1", "w2", "w3"]
EVERY_HOST = ["etc/modules-load.d/99-kubernetes.conf", "etc/sysctl.d/99-k8s-network.conf", "etc/containerd/config.toml"]
IPVS_MODULES = {"ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh"}


def play(playbook: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a playbook on a machine that has no way to any host: the names do not resolve and there is no ssh."""
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_SSH_EXECUTABLE": "/bin/false",
        "ANSIBLE_NOCOLOR": "1",
        "PWD": str(cwd),
    }
    command = [sys.executable, "-m", "ansible", "playbook", str(ROOT / playbook), "-i", str(ROOT / "inventories" / "production"), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600)


class Case(t.NamedTuple):
    version: str
    api: str
    settings: dict[str, str]
    hosts: list[str]

    @property
    def mode(self) -> str:
        return self.settings.get("cluster_proxy_mode", "ipvs")

    @property
    def minor(self) -> int:
        return int(self.version.split(".")[1])


# The way in that inventories/production asks for wants a newer Kubernetes than the oldest.
NO_EDGE = {"cluster_cni": "bridge", "cluster_load_balancer": "none", "cluster_ingress_controller": "none", "cluster_cert_manager": "false"}
CASES = {
    "default": Case("1.36.4", "v1beta4", {}, CONTROL_PLANES + WORKERS),
    "oldest": Case("1.20.2", "v1beta2", {"cluster_artifacts": "bundle", **NO_EDGE}, ["cp1", "cp2", "w1"]),
    "middle": Case("1.28.15", "v1beta3", {"cluster_cni": "flannel", "cluster_conntrack_owner": "kube_proxy"}, ["cp1", "cp2", "w1"]),
    "newest": Case("1.37.1", "v1beta4", {"cluster_cni": "calico", "cluster_proxy_mode": "nftables"}, ["cp1", "cp2", "w1"]),
    "no-proxy": Case("1.37.1", "v1beta4", {"cluster_cni": "cilium", "cluster_proxy_mode": "none"}, ["cp1", "w1"]),
}


@pytest.fixture(scope="session", params=list(CASES))
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[tuple[Case, Path, str]]:
    case = CASES[request.param]
    out = tmp_path_factory.mktemp(request.param)
    extra = {"cluster_kubernetes_version": case.version, "render_dir": str(out)} | case.settings
    arguments = [item for name, value in extra.items() for item in ("-e", f"{name}={value}")]
    done = play("playbooks/render.yml", *arguments, "--limit", ",".join(case.hosts))
    assert done.returncode == 0, done.stdout + done.stderr
    yield case, out, done.stdout
    shutil.rmtree(out)


def documents(path: Path) -> dict[str, dict[str, t.Any]]:
    return {item["kind"]: item for item in yaml.safe_load_all(path.read_text(encoding="utf-8"))}


def test_no_host_is_contacted(rendered: tuple[Case, Path, str]) -> None:
    case, _out, output = rendered
    recap = re.findall(r"^(\w+) +: ok=\d+ .*unreachable=(\d+) +failed=(\d+)", output, re.MULTILINE)
    assert sorted(host for host, _unreachable, _failed in recap) == sorted(case.hosts)
    assert {(unreachable, failed) for _host, unreachable, failed in recap} == {("0", "0")}
    assert "Gathering Facts" not in output


def test_every_host_has_its_files(rendered: tuple[Case, Path, str]) -> None:
    case, out, _output = rendered
    assert sorted(path.name for path in out.iterdir() if path.name != "cluster") == sorted(case.hosts)
    for host in case.hosts:
        for path in EVERY_HOST:
            assert (out / host / path).is_file(), f"{host}: {path}"
        names = sorted(path.name for path in (out / host / "etc/kubernetes").glob("kubeadm-*.yaml"))
        assert names == (["kubeadm-init.yaml"] if host == "cp1" else ["kubeadm-join.yaml"])


def test_the_first_control_plane(rendered: tuple[Case, Path, str]) -> None:
    case, out, _output = rendered
    path = out / "cp1/etc/kubernetes/kubeadm-init.yaml"
    assert path.stat().st_mode & 0o777 == 0o600
    found = documents(path)
    init, cluster = found["InitConfiguration"], found["ClusterConfiguration"]
    assert init["apiVersion"] == cluster["apiVersion"] == f"kubeadm.k8s.io/{case.api}"
    assert init["localAPIEndpoint"] == {"advertiseAddress": "192.0.2.11", "bindPort": 6443}
    assert init["nodeRegistration"]["name"] == "cp1"
    assert cluster["kubernetesVersion"] == f"v{case.version}"
    assert cluster["controlPlaneEndpoint"] == "api.production.example.com:6443"
    assert cluster["networking"] == {"podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/12", "dnsDomain": "cluster.local"}
    assert cluster["imageRepository"] == ("k8s.gcr.io" if case.minor < 25 else "registry.k8s.io")
    assert isinstance(cluster["apiServer"]["extraArgs"], list if case.api == "v1beta4" else dict)
    assert ("timeouts" in init) is (case.api == "v1beta4")
    assert ("timeoutForControlPlane" in cluster["apiServer"]) is (case.api != "v1beta4")
    assert found["KubeletConfiguration"]["cgroupDriver"] == "systemd"


def test_kube_proxy(rendered: tuple[Case, Path, str]) -> None:
    case, out, _output = rendered
    found = documents(out / "cp1/etc/kubernetes/kubeadm-init.yaml")
    if case.mode == "none":
        assert "KubeProxyConfiguration" not in found
        assert found["ClusterConfiguration"]["proxy"] == {"disabled": True}
        return
    proxy = found["KubeProxyConfiguration"]
    assert proxy["mode"] == case.mode
    assert {"ipvs", "nftables"} & set(proxy) == {case.mode}
    if case.mode == "ipvs":
        assert proxy["ipvs"] == {
            "scheduler": "rr",
            "strictARP": True,
            "syncPeriod": "30s",
            "minSyncPeriod": "1s",
            "excludeCIDRs": [],
            "tcpTimeout": "900s",
            "tcpFinTimeout": "120s",
            "udpTimeout": "300s",
        }
    by_kube_proxy = case.settings.get("cluster_conntrack_owner") == "kube_proxy"
    assert proxy["conntrack"]["maxPerCore"] == (32768 if by_kube_proxy else 0)
    assert ("udpTimeout" in proxy["conntrack"]) is (case.minor >= 29)


def test_connection_tracking_has_one_owner(rendered: tuple[Case, Path, str]) -> None:
    case, out, _output = rendered
    text = (out / "w1/etc/sysctl.d/99-k8s-network.conf").read_text(encoding="utf-8")
    by_kube_proxy = case.settings.get("cluster_conntrack_owner") == "kube_proxy"
    assert (re.search(r"^net\.netfilter\.nf_conntrack_max *=", text, re.MULTILINE) is None) is by_kube_proxy


def test_joining_nodes(rendered: tuple[Case, Path, str]) -> None:
    case, out, _output = rendered
    for host in case.hosts:
        if host == "cp1":
            continue
        (join,) = documents(out / host / "etc/kubernetes/kubeadm-join.yaml").values()
        assert join["apiVersion"] == f"kubeadm.k8s.io/{case.api}"
        assert join["nodeRegistration"]["name"] == host
        assert join["discovery"]["bootstrapToken"] == {
            "apiServerEndpoint": "api.production.example.com:6443",
            "token": "abcdef.0123456789abcdef",
            "caCertHashes": ["sha256:" + "0" * 64],
        }
        assert ("controlPlane" in join) is (host in CONTROL_PLANES)
        if host in CONTROL_PLANES:
            assert join["controlPlane"]["certificateKey"] == "0" * 64


def test_modules_of_the_proxy_mode(rendered: tuple[Case, Path, str]) -> None:
    case, out, _output = rendered
    lines = (out / "w1/etc/modules-load.d/99-kubernetes.conf").read_text(encoding="utf-8").splitlines()
    modules = {line for line in lines if line and not line.startswith("#")}
    assert {"overlay", "br_netfilter", "nf_conntrack"} <= modules
    assert (modules & IPVS_MODULES) == (IPVS_MODULES if case.mode == "ipvs" else set())
    assert ("nf_tables" in modules) is (case.mode == "nftables")


def test_containerd(rendered: tuple[Case, Path, str]) -> None:
    case, out, _output = rendered
    config = tomllib.loads((out / "w1/etc/containerd/config.toml").read_text(encoding="utf-8"))
    plugins = config["plugins"]
    if config["version"] == 2:
        cri = plugins["io.containerd.grpc.v1.cri"]
        runtime, pause = cri["containerd"], cri["sandbox_image"]
    else:
        assert config["version"] == 3
        runtime = plugins["io.containerd.cri.v1.runtime"]["containerd"]
        pause = plugins["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"]
    assert runtime["runtimes"]["runc"]["options"]["SystemdCgroup"] is True
    wanted = {20: "k8s.gcr.io/pause:3.2", 28: "registry.k8s.io/pause:3.9", 36: "registry.k8s.io/pause:3.10.2", 37: "registry.k8s.io/pause:3.10.2"}
    assert pause == wanted[case.minor]


def test_values_and_objects_of_the_cluster(rendered: tuple[Case, Path, str]) -> None:
    """What inventories/production asks for: Calico, MetalLB, a tuned NGINX and cert-manager."""
    case, out, _output = rendered
    found = {path.name for path in (out / "cluster").glob("helm/*.yaml")}
    network = case.settings.get("cluster_cni", "calico")
    edge = {"metallb.yaml", "nginx-ingress.yaml", "cert-manager.yaml"}
    assert found == ({f"{network}.yaml"} - {"bridge.yaml"}) | (set() if "cluster_load_balancer" in case.settings else edge)
    if not edge <= found:
        return
    pool, advertisement = (
        item for item in yaml.safe_load_all((out / "cluster/manifests/metallb.yaml").read_text(encoding="utf-8")) if item["kind"] != "Namespace"
    )
    assert (pool["kind"], pool["spec"]["addresses"]) == ("IPAddressPool", ["192.0.2.200-192.0.2.239"])
    assert (advertisement["kind"], advertisement["spec"]["ipAddressPools"]) == ("L2Advertisement", [pool["metadata"]["name"]])
    tuned = yaml.safe_load((out / "cluster/helm/nginx-ingress.yaml").read_text(encoding="utf-8"))["controller"]["config"]["entries"]
    assert (tuned["worker-connections"], tuned["keepalive-timeout"], tuned["keepalive"]) == ("10240", "75s", "100")


def test_settings_of_every_role_are_refused_before_a_host_is_touched() -> None:
    arguments = {"metallb_mode": "frr", "ingress_profile": "fast", "cert_manager_issuers": '[{"name": "x", "type": "acm"}]', "cni_calico_block_size": "99"}
    done = play("playbooks/validate.yml", *(item for setting in arguments.items() for item in ("-e", json.dumps(dict([setting])))))
    assert done.returncode != 0
    assert "cni_calico_block_size is '99'" in done.stdout
    for name in ("metallb_mode", "ingress_profile", "cert_manager_issuers"):
        alone = play("playbooks/validate.yml", "-e", json.dumps({name: arguments[name]}))
        assert alone.returncode != 0 and name in alone.stdout and "UNREACHABLE" not in alone.stdout, name


def test_rendering_again_changes_nothing_and_a_relative_folder_counts_from_here(tmp_path: Path) -> None:
    arguments = ("-e", "render_dir=OUT", "--limit", "cp1")
    first = play("playbooks/render.yml", *arguments, cwd=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert (tmp_path / "OUT/cp1/etc/kubernetes/kubeadm-init.yaml").is_file()
    again = play("playbooks/render.yml", *arguments, cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert re.search(r"^cp1 +: ok=\d+ +changed=0 ", again.stdout, re.MULTILINE)


def test_wrong_settings_write_nothing(tmp_path: Path) -> None:
    done = play("playbooks/render.yml", "-e", f"render_dir={tmp_path}/OUT", "-e", "cluster_pod_cidr=10.96.0.0/16", "-e", "cluster_cni=weave")
    assert done.returncode != 0
    assert "cluster_cni is 'weave', but Weave Net ended" in done.stdout
    assert "cluster_pod_cidr is '10.96.0.0/16', but cluster_service_cidr is '10.96.0.0/12' and both hold" in done.stdout
    assert not (tmp_path / "OUT").exists()


def test_a_password_in_the_environment_is_not_rendered(tmp_path: Path) -> None:
    (tmp_path / "vars.yml").write_text("containerd_environment: {HTTPS_PROXY: 'http://user:S3CRET@proxy:3128'}\n", encoding="utf-8")
    done = play("playbooks/render.yml", "-e", f"render_dir={tmp_path}/OUT", "-e", f"@{tmp_path}/vars.yml", "--limit", "w1", "--diff")
    assert done.returncode == 0, done.stdout + done.stderr
    path = tmp_path / "OUT/w1/etc/systemd/system/containerd.service.d/10-baremetal-kubernetes.conf"
    assert 'Environment="HTTPS_PROXY=(not rendered: it may hold a password)"\n' in path.read_text(encoding="utf-8")
    assert "S3CRET" not in done.stdout + done.stderr
    assert not [path for path in (tmp_path / "OUT").rglob("*") if path.is_file() and b"S3CRET" in path.read_bytes()]


def test_the_main_job_refuses_before_a_host_is_touched() -> None:
    done = play("site.yml", "-e", "cluster_cni=weave")
    assert done.returncode != 0
    assert "cluster_cni is 'weave', but Weave Net ended" in done.stdout
    assert "UNREACHABLE" not in done.stdout
