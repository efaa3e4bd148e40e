# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm's documents for each API version, written out by hand from the types of that version."""

from __future__ import annotations

import copy
import re
import typing as t

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.filter.kubeadm_config import kubeadm_config
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import dump_documents
from hypothesis import given
from hypothesis import strategies as st

FULL: dict[str, t.Any] = {
    "kubernetes_version": "1.36.4",
    "cluster_name": "lab",
    "node_name": "cp1",
    "node_ip": "192.0.2.11",
    "endpoint": "api.example.com:6443",
    "api_port": 6443,
    "pod_cidr": "10.244.0.0/16",
    "pod_prefix_length": 24,
    "service_cidr": "10.96.0.0/12",
    "dns_domain": "cluster.local",
    "node_port_range": "30000-32767",
    "image_repository": "registry.k8s.io",
    "cri_socket": "unix:///run/containerd/containerd.sock",
    "ignore_preflight_errors": ["Mem"],
    "proxy_mode": "ipvs",
    "proxy": {
        "iptables": {"masquerade_all": True, "sync_period": "45s", "min_sync_period": "2s"},
        "ipvs": {
            "scheduler": "wrr",
            "strict_arp": True,
            "sync_period": "40s",
            "min_sync_period": "3s",
            "exclude_cidrs": ["198.51.100.0/24"],
            "tcp_timeout": "900s",
            "tcp_fin_timeout": "120s",
            "udp_timeout": "300s",
        },
        "nftables": {"masquerade_all": False, "sync_period": "35s", "min_sync_period": "4s"},
        "conntrack": {
            "owner": "kube_proxy",
            "max_per_core": 65536,
            "min": 262144,
            "tcp_established_timeout": "12h0m0s",
            "tcp_close_wait_timeout": "30m0s",
            "tcp_be_liberal": True,
            "udp_timeout": "30s",
            "udp_stream_timeout": "3m0s",
        },
        "node_port_addresses": ["192.0.2.0/24"],
        "extra": {"metricsBindAddress": "0.0.0.0:10249", "iptables": {"localhostNodePorts": False}},
    },
    "kubelet": {
        "cgroup_driver": "systemd",
        "fail_swap_on": True,
        "max_pods": 100,
        "extra_args": {"v": 2},
        "extra": {"nodeStatusUpdateFrequency": "30s"},
    },
    "timeouts": {
        "control_plane": "15m0s",
        "kubelet_health_check": "10m0s",
        "kubernetes_api_call": "3m0s",
        "etcd_api_call": "6m0s",
        "tls_bootstrap": "20m0s",
        "discovery": "7m0s",
        "upgrade_manifests": "8m0s",
    },
    "api_server": {"extra_args": {"enable-priority-and-fairness": False}, "cert_sans": ["cp.example.com", "192.0.2.10"]},
    "controller_manager": {"extra_args": {"leader-elect": False}},
    "scheduler": {"extra_args": {"leader-elect": False}},
    "etcd": {"data_dir": "/srv/etcd", "extra_args": {"heartbeat-interval": 500}},
    "patches_directory": "/etc/kubernetes/patches",
    "skip_phases": {"init": ["preflight", "addon/coredns"], "join": ["preflight"]},
    "taints": [],
    "token_ttl": "30m0s",
}

LEAST = {
    "kubernetes_version": "1.36.4",
    "node_name": "w1",
    "node_ip": "2001:db8::21",
    "endpoint": "[2001:db8::11]:6443",
    "pod_cidr": "fd00:10:244::/56",
    "service_cidr": "fd00:10:96::/112",
    "proxy_mode": "nftables",
}

PROXY_IPVS = """
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
clusterCIDR: 10.244.0.0/16
nodePortAddresses: [192.0.2.0/24]
iptables: {masqueradeAll: true, syncPeriod: 45s, minSyncPeriod: 2s, localhostNodePorts: false}
ipvs:
  scheduler: wrr
  strictARP: true
  syncPeriod: 40s
  minSyncPeriod: 3s
  excludeCIDRs: [198.51.100.0/24]
  tcpTimeout: 900s
  tcpFinTimeout: 120s
  udpTimeout: 300s
metricsBindAddress: 0.0.0.0:10249
conntrack:
  maxPerCore: 65536
  min: 262144
  tcpEstablishedTimeout: 12h0m0s
  tcpCloseWaitTimeout: 30m0s
"""

KUBELET = """
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: systemd
failSwapOn: true
maxPods: 100
nodeStatusUpdateFrequency: 30s
"""

V1BETA2_INIT = f"""
apiVersion: kubeadm.k8s.io/v1beta2
kind: InitConfiguration
bootstrapTokens:
  - ttl: 30m0s
    usages: [signing, authentication]
    groups: ["system:bootstrappers:kubeadm:default-node-token"]
localAPIEndpoint: {{advertiseAddress: 192.0.2.11, bindPort: 6443}}
nodeRegistration:
  name: cp1
  criSocket: /run/containerd/containerd.sock
  taints: []
  kubeletExtraArgs: {{node-ip: 192.0.2.11, v: "2"}}
  ignorePreflightErrors: [Mem]
---
apiVersion: kubeadm.k8s.io/v1beta2
kind: ClusterConfiguration
clusterName: lab
kubernetesVersion: v1.20.2
controlPlaneEndpoint: api.example.com:6443
imageRepository: registry.k8s.io
networking: {{podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12, dnsDomain: cluster.local}}
apiServer:
  extraArgs: {{service-node-port-range: 30000-32767, enable-priority-and-fairness: "false"}}
  certSANs: [cp.example.com, 192.0.2.10]
  timeoutForControlPlane: 15m0s
controllerManager:
  extraArgs: {{node-cidr-mask-size: "24", leader-elect: "false"}}
scheduler:
  extraArgs: {{leader-elect: "false"}}
etcd:
  local:
    dataDir: /srv/etcd
    extraArgs: {{heartbeat-interval: "500"}}
---
{PROXY_IPVS}
---
{KUBELET}
"""

V1BETA3_INIT = f"""
apiVersion: kubeadm.k8s.io/v1beta3
kind: InitConfiguration
bootstrapTokens:
  - ttl: 30m0s
    usages: [signing, authentication]
    groups: ["system:bootstrappers:kubeadm:default-node-token"]
localAPIEndpoint: {{advertiseAddress: 192.0.2.11, bindPort: 6443}}
nodeRegistration:
  name: cp1
  criSocket: unix:///run/containerd/containerd.sock
  taints: []
  kubeletExtraArgs: {{node-ip: 192.0.2.11, v: "2"}}
  ignorePreflightErrors: [Mem]
skipPhases: [preflight, addon/coredns]
patches: {{directory: /etc/kubernetes/patches}}
---
apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
clusterName: lab
kubernetesVersion: v1.28.15
controlPlaneEndpoint: api.example.com:6443
imageRepository: registry.k8s.io
networking: {{podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12, dnsDomain: cluster.local}}
apiServer:
  extraArgs: {{service-node-port-range: 30000-32767, enable-priority-and-fairness: "false"}}
  certSANs: [cp.example.com, 192.0.2.10]
  timeoutForControlPlane: 15m0s
controllerManager:
  extraArgs: {{node-cidr-mask-size-ipv4: "24", leader-elect: "false"}}
scheduler:
  extraArgs: {{leader-elect: "false"}}
etcd:
  local:
    dataDir: /srv/etcd
    extraArgs: {{heartbeat-interval: "500"}}
---
{PROXY_IPVS}
---
{KUBELET}
"""

TIMEOUTS = """
timeouts:
  controlPlaneComponentHealthCheck: 15m0s
  kubeletHealthCheck: 10m0s
  kubernetesAPICall: 3m0s
  etcdAPICall: 6m0s
  tlsBootstrap: 20m0s
  discovery: 7m0s
  upgradeManifests: 8m0s
"""

V1BETA4_INIT = f"""
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens:
  - ttl: 30m0s
    usages: [signing, authentication]
    groups: ["system:bootstrappers:kubeadm:default-node-token"]
localAPIEndpoint: {{advertiseAddress: 192.0.2.11, bindPort: 6443}}
nodeRegistration:
  name: cp1
  criSocket: unix:///run/containerd/containerd.sock
  taints: []
  kubeletExtraArgs:
    - {{name: node-ip, value: 192.0.2.11}}
    - {{name: v, value: "2"}}
  ignorePreflightErrors: [Mem]
skipPhases: [preflight, addon/coredns]
patches: {{directory: /etc/kubernetes/patches}}
{TIMEOUTS}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: lab
kubernetesVersion: v1.36.4
controlPlaneEndpoint: api.example.com:6443
imageRepository: registry.k8s.io
networking: {{podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12, dnsDomain: cluster.local}}
apiServer:
  extraArgs:
    - {{name: service-node-port-range, value: 30000-32767}}
    - {{name: enable-priority-and-fairness, value: "false"}}
  certSANs: [cp.example.com, 192.0.2.10]
controllerManager:
  extraArgs:
    - {{name: node-cidr-mask-size-ipv4, value: "24"}}
    - {{name: leader-elect, value: "false"}}
scheduler:
  extraArgs:
    - {{name: leader-elect, value: "false"}}
etcd:
  local:
    dataDir: /srv/etcd
    extraArgs:
      - {{name: heartbeat-interval, value: "500"}}
dns: {{disabled: true}}
---
{PROXY_IPVS}
  tcpBeLiberal: true
  udpTimeout: 30s
  udpStreamTimeout: 3m0s
---
{KUBELET}
"""

JOIN = {
    "1.20.2": """
apiVersion: kubeadm.k8s.io/v1beta2
kind: JoinConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: api.example.com:6443
    token: abcdef.0123456789abcdef
    caCertHashes: ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]
  timeout: 7m0s
nodeRegistration:
  name: cp1
  criSocket: /run/containerd/containerd.sock
  taints: []
  kubeletExtraArgs: {node-ip: 192.0.2.11, v: "2"}
  ignorePreflightErrors: [Mem]
""",
    "1.28.15": """
apiVersion: kubeadm.k8s.io/v1beta3
kind: JoinConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: api.example.com:6443
    token: abcdef.0123456789abcdef
    caCertHashes: ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]
  timeout: 7m0s
nodeRegistration:
  name: cp1
  criSocket: unix:///run/containerd/containerd.sock
  taints: []
  kubeletExtraArgs: {node-ip: 192.0.2.11, v: "2"}
  ignorePreflightErrors: [Mem]
skipPhases: [preflight]
patches: {directory: /etc/kubernetes/patches}
""",
    "1.36.4": f"""
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: api.example.com:6443
    token: abcdef.0123456789abcdef
    caCertHashes: ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]
nodeRegistration:
  name: cp1
  criSocket: unix:///run/containerd/containerd.sock
  taints: []
  kubeletExtraArgs:
    - {{name: node-ip, value: 192.0.2.11}}
    - {{name: v, value: "2"}}
  ignorePreflightErrors: [Mem]
skipPhases: [preflight]
patches: {{directory: /etc/kubernetes/patches}}
{TIMEOUTS}
""",
}

CONTROL_PLANE = {
    "localAPIEndpoint": {"advertiseAddress": "192.0.2.11", "bindPort": 6443},
    "certificateKey": "0000000000000000000000000000000000000000000000000000000000000000",
}


def describe(base: dict[str, t.Any] | None = None, **changes: t.Any) -> dict[str, t.Any]:
    return copy.deepcopy(FULL if base is None else base) | changes


def documents(kind: str, base: dict[str, t.Any] | None = None, **changes: t.Any) -> list[dict[str, t.Any]]:
    """The text, read back: what kubeadm would see."""
    return list(yaml.safe_load_all(kubeadm_config(describe(base, **changes), kind)))


def document(wanted: str, base: dict[str, t.Any] | None = None, **changes: t.Any) -> dict[str, t.Any]:
    (found,) = [item for item in documents("init", base, **changes) if item["kind"] == wanted]
    return found


@pytest.mark.parametrize(
    ("version", "expected"), [("1.20.2", V1BETA2_INIT), ("1.28.15", V1BETA3_INIT), ("1.36.4", V1BETA4_INIT)], ids=["v1beta2", "v1beta3", "v1beta4"]
)
def test_first_control_plane(version: str, expected: str) -> None:
    wanted = list(yaml.safe_load_all(expected))
    assert documents("init", kubernetes_version=version) == wanted
    assert kubeadm_config(describe(kubernetes_version=version), "init", output="documents") == wanted


@pytest.mark.parametrize("version", list(JOIN))
def test_joining_nodes(version: str) -> None:
    wanted = yaml.safe_load(JOIN[version])
    assert documents("worker", kubernetes_version=version) == [wanted]
    assert documents("control_plane", kubernetes_version=version) == [wanted | {"controlPlane": CONTROL_PLANE}]


@pytest.mark.parametrize("minor", range(20, 44))
def test_api_version_of_every_minor(minor: int) -> None:
    api = "v1beta2" if minor < 22 else "v1beta3" if minor < 31 else "v1beta4"
    for kind in ("init", "control_plane", "worker"):
        for item in documents(kind, kubernetes_version=f"1.{minor}.0", proxy_mode="iptables"):
            if item["apiVersion"].startswith("kubeadm.k8s.io/"):
                assert item["apiVersion"] == f"kubeadm.k8s.io/{api}"


def test_flags_for_what_v1beta2_has_no_field_for() -> None:
    old = describe(kubernetes_version="1.21.14")
    assert kubeadm_config(old, "init", output="flags") == [
        "--skip-phases=preflight,addon/coredns",
        "--experimental-patches=/etc/kubernetes/patches",
    ]
    assert kubeadm_config(old, "worker", output="flags") == ["--skip-phases=preflight", "--experimental-patches=/etc/kubernetes/patches"]
    without = old | {"proxy_mode": "none", "patches_directory": "", "skip_phases": {}}
    assert kubeadm_config(without, "init", output="flags") == ["--skip-phases=addon/kube-proxy"]
    assert kubeadm_config(without, "control_plane", output="flags") == []
    assert kubeadm_config(describe(kubernetes_version="1.22.0"), "init", output="flags") == []


def test_without_kube_proxy() -> None:
    for version in ("1.20.2", "1.28.15", "1.36.4"):
        kinds = [item["kind"] for item in documents("init", kubernetes_version=version, proxy_mode="none")]
        assert kinds == ["InitConfiguration", "ClusterConfiguration", "KubeletConfiguration"]
    assert document("InitConfiguration", kubernetes_version="1.28.15", proxy_mode="none")["skipPhases"] == [
        "preflight",
        "addon/coredns",
        "addon/kube-proxy",
    ]
    assert document("ClusterConfiguration", proxy_mode="none")["proxy"] == {"disabled": True}
    assert "addon/kube-proxy" not in document("InitConfiguration", proxy_mode="none")["skipPhases"]
    assert "proxy" not in document("ClusterConfiguration")


def test_conntrack_of_the_drop_in_is_left_alone() -> None:
    zeros = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    proxy = FULL["proxy"] | {"conntrack": FULL["proxy"]["conntrack"] | {"owner": "sysctl"}}
    assert document("KubeProxyConfiguration", kubernetes_version="1.28.15", proxy=proxy)["conntrack"] == zeros
    assert document("KubeProxyConfiguration", kubernetes_version="1.29.0", proxy=proxy)["conntrack"] == zeros | {
        "tcpBeLiberal": False,
        "udpTimeout": "0s",
        "udpStreamTimeout": "0s",
    }


def test_blocks_belong_to_their_mode() -> None:
    ipvs, nftables, iptables = (document("KubeProxyConfiguration", proxy_mode=mode) for mode in ("ipvs", "nftables", "iptables"))
    assert "ipvs" in ipvs and "nftables" not in ipvs and "iptables" in ipvs
    assert nftables["nftables"] == {"masqueradeAll": False, "syncPeriod": "35s", "minSyncPeriod": "4s"}
    assert "ipvs" not in nftables
    assert "ipvs" not in iptables and "nftables" not in iptables


def test_feature_gates_of_kube_proxy() -> None:
    def gates(version: str, mode: str) -> t.Any:
        return document("KubeProxyConfiguration", kubernetes_version=version, proxy_mode=mode).get("featureGates")

    assert gates("1.39.0", "ipvs") is None
    assert gates("1.40.0", "ipvs") == {"KubeProxyIPVS": True}
    assert gates("1.40.0", "nftables") is None
    assert gates("1.30.0", "nftables") == {"NFTablesProxyMode": True}
    assert gates("1.31.0", "nftables") is None
    with pytest.raises(AnsibleFilterError, match=r"proxy_mode is nftables, but the kube-proxy of 1\.28\.0 does not know it; it came with 1\.29"):
        kubeadm_config(describe(kubernetes_version="1.28.0", proxy_mode="nftables"), "init")


def test_cgroup_driver_ends_with_the_field() -> None:
    assert document("KubeletConfiguration", kubernetes_version="1.37.1")["cgroupDriver"] == "systemd"
    assert "cgroupDriver" not in document("KubeletConfiguration", kubernetes_version="1.38.0")


def test_mask_of_the_nodes_by_version_and_family() -> None:
    def arguments(**changes: t.Any) -> t.Any:
        return document("ClusterConfiguration", controller_manager={}, **changes).get("controllerManager", {}).get("extraArgs")

    assert arguments(kubernetes_version="1.20.15") == {"node-cidr-mask-size": "24"}
    assert arguments(kubernetes_version="1.21.0") == {"node-cidr-mask-size-ipv4": "24"}
    assert arguments(pod_cidr="fd00:10:244::/56", pod_prefix_length=64) == [{"name": "node-cidr-mask-size-ipv6", "value": "64"}]
    assert arguments(pod_prefix_length=None) is None


def test_the_socket_is_a_url_from_1_24_on() -> None:
    for version, socket in (("1.23.17", "/run/containerd/containerd.sock"), ("1.24.0", "unix:///run/containerd/containerd.sock")):
        (join,) = documents("worker", kubernetes_version=version)
        assert join["nodeRegistration"]["criSocket"] == socket


def test_the_users_arguments_win_and_may_repeat() -> None:
    arguments = {"service-node-port-range": "20000-22767", "audit-log-path": ["-", "/var/log/audit"], "profiling": False}
    found = document("ClusterConfiguration", api_server={"extra_args": arguments})["apiServer"]["extraArgs"]
    assert found == [
        {"name": "service-node-port-range", "value": "20000-22767"},
        {"name": "audit-log-path", "value": "-"},
        {"name": "audit-log-path", "value": "/var/log/audit"},
        {"name": "profiling", "value": "false"},
    ]
    with pytest.raises(AnsibleFilterError, match=r"api_server\.extra_args\.audit-log-path is a list, but kubeadm can repeat an argument only"):
        kubeadm_config(describe(kubernetes_version="1.30.0", api_server={"extra_args": arguments}), "init")
    with pytest.raises(AnsibleFilterError, match=r"scheduler\.extra_args\.v is \{\}, but a command line argument must be"):
        kubeadm_config(describe(scheduler={"extra_args": {"v": {}}}), "init")


def test_the_least_description() -> None:
    init, cluster, proxy, kubelet = documents("init", LEAST)
    assert "taints" not in init["nodeRegistration"]
    assert "skipPhases" not in init and "patches" not in init
    assert init["nodeRegistration"]["kubeletExtraArgs"] == [{"name": "node-ip", "value": "2001:db8::21"}]
    assert cluster["etcd"] == {"local": {"dataDir": "/var/lib/etcd"}}
    assert not {"apiServer", "controllerManager", "scheduler", "imageRepository", "dns", "proxy"} & set(cluster)
    assert cluster["controlPlaneEndpoint"] == "[2001:db8::11]:6443"
    assert proxy["mode"] == "nftables"
    assert kubelet == {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd",
        "failSwapOn": True,
        "maxPods": 110,
    }


def test_no_secret_is_in_the_file_of_the_first_control_plane() -> None:
    text = kubeadm_config(describe(), "init")
    assert "token:" not in text and "certificateKey" not in text


@pytest.mark.parametrize(
    ("changes", "kind", "output", "message"),
    [
        ({"pod_subnet": "x"}, "init", "text", "pod_subnet is no key of the kubeadm description; known are api_port, api_server,"),
        ({"proxy": {"ipvs": {"strictARP": True}}}, "init", "text", "proxy.ipvs.strictARP is no key of the kubeadm description; known are exclude_cidrs,"),
        ({"kubelet": {"maxPods": 1}}, "init", "text", "kubelet.maxPods is no key of the kubeadm description; known are cgroup_driver, extra, extra_args,"),
        ({"endpoint": ""}, "worker", "text", "endpoint is missing from the kubeadm description"),
        ({"proxy": []}, "init", "text", "kubeadm_config: proxy is [], but must be a dict"),
        ({"skip_phases": {"init": "preflight"}}, "init", "text", "skip_phases.init is 'preflight', but must be a list"),
        ({"proxy": {"ipvs": {"strict_arp": "true"}}}, "init", "text", "proxy.ipvs.strict_arp is 'true', but must be true or false"),
        ({"etcd": {"extra_args": ["x"]}}, "init", "text", "etcd.extra_args is ['x'], but must be a dict"),
        ({"proxy": {"conntrack": {"owner": "me"}}}, "init", "text", "proxy.conntrack.owner is 'me', but must be sysctl or kube_proxy"),
        ({"kubernetes_version": "1.36"}, "init", "text", "kubernetes_version is '1.36', but must be a release such as 1.36.4"),
        ({}, "master", "text", "The kind of configuration is 'master', but must be one of init, control_plane, worker"),
        ({}, "master", "flags", "The kind of configuration is 'master'"),
        ({}, "init", "json", "output is 'json', but must be text, documents or flags"),
    ],
)
def test_refusals(changes: dict[str, t.Any], kind: str, output: str, message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        kubeadm_config(describe(**changes), kind, output)
    assert message in str(caught.value)


def test_no_dict_at_all() -> None:
    with pytest.raises(AnsibleFilterError, match="the description is 'x', but must be a dict"):
        kubeadm_config("x", "init")


# Go's YAML parser reads these plain words as numbers or booleans; they must be in quotes.
GO_TYPED = re.compile(r"(?:y|n|yes|no|on|off|true|false|null|~|[-+]?\.?[0-9][0-9_.,:eE+-]*|0x[0-9a-f]+|0b[01]+|0o[0-7]+)", re.IGNORECASE)


@given(
    st.one_of(
        st.text(alphabet=st.characters(codec="ascii", exclude_categories=["Cc"])),
        st.from_regex(GO_TYPED, fullmatch=True).filter(lambda text: text.isascii()),
        st.sampled_from(["1e3", "y", "No", "0x1F", "0b1", "1_000", "12:30:45", "2001-01-01", ".5", "1.", "=", "<<", "*a", "&a", "!a", "- a", "a: b", "a #b"]),
    )
)
def test_texts_stay_texts(text: str) -> None:
    written = dump_documents([{"value": text}])
    assert list(yaml.safe_load_all(written)) == [{"value": text}]
    scalar = written.removeprefix("---\nvalue: ").rstrip("\n")
    assert not GO_TYPED.fullmatch(scalar)


def test_more_than_one_line_and_shared_objects() -> None:
    shared = ["a"]
    written = dump_documents([{"one": shared, "two": shared, "text": "line\nline\n"}, {}])
    assert written == "---\none:\n  - a\ntwo:\n  - a\ntext: |\n  line\n  line\n---\n{}\n"
