# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""kubeadm's configuration documents for every API version, from one neutral description."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.module_utils._kubeadm import (
    PLACEHOLDER_CA_CERT_HASH,
    PLACEHOLDER_CERTIFICATE_KEY,
    PLACEHOLDER_TOKEN,
)
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._cluster import IPVS_GATE_OFF, NFTABLES_SINCE

KINDS = ("init", "control_plane", "worker")

Document = t.Dict[str, t.Any]


class KubeadmConfigError(ValueError):
    """The description cannot be turned into a configuration; the text says which key and why."""


class _Required:
    """Marks a key without a default."""


_REQUIRED = _Required()

# Every key of the description with its default; a dict is a group of keys.
_SHAPE: Document = {
    "kubernetes_version": _REQUIRED,
    "cluster_name": "kubernetes",
    "node_name": _REQUIRED,
    "node_ip": _REQUIRED,
    "endpoint": _REQUIRED,
    "api_port": 6443,
    "pod_cidr": _REQUIRED,
    "pod_prefix_length": None,
    "service_cidr": _REQUIRED,
    "dns_domain": "cluster.local",
    "node_port_range": "",
    "image_repository": "",
    "cri_socket": "unix:///run/containerd/containerd.sock",
    "ignore_preflight_errors": [],
    "proxy_mode": _REQUIRED,
    "proxy": {
        "iptables": {"masquerade_all": False, "sync_period": "30s", "min_sync_period": "1s"},
        "ipvs": {
            "scheduler": "rr",
            "strict_arp": True,
            "sync_period": "30s",
            "min_sync_period": "1s",
            "exclude_cidrs": [],
            "tcp_timeout": "0s",
            "tcp_fin_timeout": "0s",
            "udp_timeout": "0s",
        },
        "nftables": {"masquerade_all": False, "sync_period": "30s", "min_sync_period": "1s"},
        "conntrack": {
            "owner": "sysctl",
            "max_per_core": 32768,
            "min": 131072,
            "tcp_established_timeout": "24h0m0s",
            "tcp_close_wait_timeout": "1h0m0s",
            "tcp_be_liberal": False,
            "udp_timeout": "0s",
            "udp_stream_timeout": "0s",
        },
        "node_port_addresses": [],
    },
    "kubelet": {"cgroup_driver": "systemd", "fail_swap_on": True, "max_pods": 110},
    "timeouts": {
        "control_plane": "4m0s",
        "kubelet_health_check": "4m0s",
        "kubernetes_api_call": "1m0s",
        "etcd_api_call": "2m0s",
        "tls_bootstrap": "5m0s",
        "discovery": "5m0s",
        "upgrade_manifests": "5m0s",
    },
    "api_server": {"cert_sans": []},
    "controller_manager": {},
    "scheduler": {},
    "etcd": {"data_dir": "/var/lib/etcd"},
    "patches_directory": "",
    "skip_phases": {"init": [], "join": []},
    "taints": None,
    "token_ttl": "30m0s",
    "join": {
        "token": PLACEHOLDER_TOKEN,
        "certificate_key": PLACEHOLDER_CERTIFICATE_KEY,
        "ca_cert_hashes": [PLACEHOLDER_CA_CERT_HASH],
    },
}

# Keys that hold a dict of the user's own names: taken as they are.
_FREE = {
    "proxy.extra",
    "kubelet.extra",
    "kubelet.extra_args",
    "api_server.extra_args",
    "controller_manager.extra_args",
    "scheduler.extra_args",
    "etcd.extra_args",
}


def _free_keys(prefix: str) -> t.List[str]:
    start = prefix + "."
    return [path[len(start) :] for path in sorted(_FREE) if path.startswith(start) and "." not in path[len(start) :]]


def _complete(given: t.Any, shape: Document, prefix: str = "") -> Document:
    """The description with every default in place; unknown, missing and mistyped keys are refused."""
    if not isinstance(given, t.Mapping):
        raise KubeadmConfigError(f"{prefix or 'the description'} is {given!r}, but must be a dict.")
    free = _free_keys(prefix) if prefix else []
    unknown = sorted(set(given) - set(shape) - set(free))
    if unknown:
        where = f"{prefix}." if prefix else ""
        raise KubeadmConfigError(
            f"{where}{unknown[0]} is no key of the kubeadm description; known are {', '.join(sorted([*shape, *free]))}."
        )
    result: Document = {}
    for key, default in shape.items():
        path = f"{prefix}.{key}" if prefix else key
        if isinstance(default, dict):
            group = given.get(key)
            result[key] = _complete({} if group is None else group, default, path)
            continue
        value = given.get(key, default)
        if value is _REQUIRED or (default is _REQUIRED and value in ("", None)):
            raise KubeadmConfigError(f"{path} is missing from the kubeadm description.")
        if isinstance(default, list) and not isinstance(value, list):
            raise KubeadmConfigError(f"{path} is {value!r}, but must be a list.")
        if isinstance(default, bool) and not isinstance(value, bool):
            raise KubeadmConfigError(f"{path} is {value!r}, but must be true or false.")
        result[key] = value
    for key in free:
        value = given.get(key)
        if value is not None and not isinstance(value, t.Mapping):
            raise KubeadmConfigError(f"{prefix}.{key} is {value!r}, but must be a dict.")
        result[key] = dict(value or {})
    return result


def minor_of(version: t.Any) -> int:
    """36 of 1.36.4."""
    match = re.fullmatch(r"v?1\.([0-9]+)\.([0-9]+)", str(version))
    if not match:
        raise KubeadmConfigError(f"kubernetes_version is {version!r}, but must be a release such as 1.36.4.")
    return int(match.group(1))


def api_version(minor: int) -> str:
    """The version of kubeadm's API for this minor release, as it is written in apiVersion."""
    if minor < 22:
        return "kubeadm.k8s.io/v1beta2"
    if minor < 31:
        return "kubeadm.k8s.io/v1beta3"
    return "kubeadm.k8s.io/v1beta4"


def _argument(path: str, value: t.Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise KubeadmConfigError(f"{path} is {value!r}, but a command line argument must be a text, a number or true or false.")


class _Builder:
    """Builds the documents of one node for one version."""

    def __init__(self, description: t.Any) -> None:
        self.d = _complete(description, _SHAPE)
        self.minor = minor_of(self.d["kubernetes_version"])
        self.api = api_version(self.minor)
        self.beta = int(self.api[-1])
        if self.d["proxy_mode"] == "nftables" and self.minor < 29:
            raise KubeadmConfigError(
                f"proxy_mode is nftables, but the kube-proxy of {self.d['kubernetes_version']} does not know it; it came with 1.29."
            )

    # --- pieces

    def _extra_args(self, path: str, *sources: t.Mapping[str, t.Any]) -> t.Union[t.Dict[str, str], t.List[t.Dict[str, str]]]:
        """A map up to v1beta3; a list of names and values from v1beta4 on, where a name may come more than once."""
        merged: Document = {}
        for source in sources:
            merged.update(source)
        pairs: t.List[t.Tuple[str, str]] = []
        for name, value in merged.items():
            where = f"{path}.{name}"
            if not isinstance(value, list):
                pairs.append((name, _argument(where, value)))
            elif self.beta >= 4:
                pairs += [(name, _argument(where, item)) for item in value]
            else:
                raise KubeadmConfigError(
                    f"{where} is a list, but kubeadm can repeat an argument only from Kubernetes 1.31 on; give one text."
                )
        if self.beta >= 4:
            return [{"name": name, "value": value} for name, value in pairs]
        return dict(pairs)

    def _node_registration(self) -> Document:
        socket = self.d["cri_socket"]
        if self.minor < 24 and socket.startswith("unix://"):
            # kubeadm below 1.24 wants the path and makes the URL itself
            socket = socket[len("unix://") :]
        result: Document = {"name": self.d["node_name"], "criSocket": socket}
        if self.d["taints"] is not None:
            result["taints"] = self.d["taints"]
        result["kubeletExtraArgs"] = self._extra_args(
            "kubelet.extra_args", {"node-ip": self.d["node_ip"]}, self.d["kubelet"]["extra_args"]
        )
        if self.d["ignore_preflight_errors"]:
            result["ignorePreflightErrors"] = self.d["ignore_preflight_errors"]
        return result

    def _local_api_endpoint(self) -> Document:
        return {"advertiseAddress": self.d["node_ip"], "bindPort": int(self.d["api_port"])}

    def _skipped(self, command: str) -> t.List[str]:
        skipped = list(self.d["skip_phases"][command])
        # v1beta4 says it in ClusterConfiguration instead, where upgrades see it too
        if command == "init" and self.d["proxy_mode"] == "none" and self.beta < 4 and "addon/kube-proxy" not in skipped:
            skipped.append("addon/kube-proxy")
        return skipped

    def _command_fields(self, command: str) -> Document:
        """What v1beta2 takes on the command line only, and the timeouts of v1beta4."""
        result: Document = {}
        if self.beta >= 3:
            if self._skipped(command):
                result["skipPhases"] = self._skipped(command)
            if self.d["patches_directory"]:
                result["patches"] = {"directory": self.d["patches_directory"]}
        if self.beta >= 4:
            timeouts = self.d["timeouts"]
            result["timeouts"] = {
                "controlPlaneComponentHealthCheck": timeouts["control_plane"],
                "kubeletHealthCheck": timeouts["kubelet_health_check"],
                "kubernetesAPICall": timeouts["kubernetes_api_call"],
                "etcdAPICall": timeouts["etcd_api_call"],
                "tlsBootstrap": timeouts["tls_bootstrap"],
                "discovery": timeouts["discovery"],
                "upgradeManifests": timeouts["upgrade_manifests"],
            }
        return result

    def _mask_argument(self) -> str:
        # kubeadm checks the pod network against the argument of the address family from 1.21 on;
        # 1.20 refuses that one without its dual-stack gate
        if self.minor < 21:
            return "node-cidr-mask-size"
        return "node-cidr-mask-size-ipv6" if ":" in self.d["pod_cidr"] else "node-cidr-mask-size-ipv4"

    # --- documents

    def init_configuration(self) -> Document:
        return {
            "apiVersion": self.api,
            "kind": "InitConfiguration",
            # without a token here kubeadm makes a random one: it is in no file and ends soon
            "bootstrapTokens": [
                {
                    "ttl": self.d["token_ttl"],
                    "usages": ["signing", "authentication"],
                    "groups": ["system:bootstrappers:kubeadm:default-node-token"],
                }
            ],
            "localAPIEndpoint": self._local_api_endpoint(),
            "nodeRegistration": self._node_registration(),
            **self._command_fields("init"),
        }

    def cluster_configuration(self) -> Document:
        d = self.d
        version = str(d["kubernetes_version"])
        api_server: Document = {}
        arguments: Document = {"service-node-port-range": d["node_port_range"]} if d["node_port_range"] else {}
        api_server["extraArgs"] = self._extra_args("api_server.extra_args", arguments, d["api_server"]["extra_args"])
        if d["api_server"]["cert_sans"]:
            api_server["certSANs"] = d["api_server"]["cert_sans"]
        if self.beta < 4:
            api_server["timeoutForControlPlane"] = d["timeouts"]["control_plane"]
        arguments = {self._mask_argument(): d["pod_prefix_length"]} if d["pod_prefix_length"] is not None else {}
        result: Document = {
            "apiVersion": self.api,
            "kind": "ClusterConfiguration",
            "clusterName": d["cluster_name"],
            "kubernetesVersion": version if version.startswith("v") else "v" + version,
            "controlPlaneEndpoint": d["endpoint"],
            "networking": {"podSubnet": d["pod_cidr"], "serviceSubnet": d["service_cidr"], "dnsDomain": d["dns_domain"]},
            "apiServer": api_server,
            "controllerManager": {
                "extraArgs": self._extra_args("controller_manager.extra_args", arguments, d["controller_manager"]["extra_args"])
            },
            "scheduler": {"extraArgs": self._extra_args("scheduler.extra_args", d["scheduler"]["extra_args"])},
            "etcd": {
                "local": {
                    "dataDir": d["etcd"]["data_dir"],
                    "extraArgs": self._extra_args("etcd.extra_args", d["etcd"]["extra_args"]),
                }
            },
        }
        if d["image_repository"]:
            result["imageRepository"] = d["image_repository"]
        if self.beta >= 4:
            if d["proxy_mode"] == "none" or "addon/kube-proxy" in d["skip_phases"]["init"]:
                result["proxy"] = {"disabled": True}
            if "addon/coredns" in d["skip_phases"]["init"]:
                result["dns"] = {"disabled": True}
        for part in (result["apiServer"], result["controllerManager"], result["scheduler"], result["etcd"]["local"]):
            if not part["extraArgs"]:
                del part["extraArgs"]
        for name in ("apiServer", "controllerManager", "scheduler"):
            if not result[name]:
                del result[name]
        return result

    def kube_proxy_configuration(self) -> Document:
        proxy, mode = self.d["proxy"], self.d["proxy_mode"]
        result: Document = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": mode,
            "clusterCIDR": self.d["pod_cidr"],
        }
        gates: t.Dict[str, bool] = {}
        if mode == "ipvs" and self.minor >= IPVS_GATE_OFF:
            gates["KubeProxyIPVS"] = True
        if mode == "nftables" and self.minor < NFTABLES_SINCE:
            gates["NFTablesProxyMode"] = True
        if gates:
            result["featureGates"] = gates
        if proxy["node_port_addresses"]:
            result["nodePortAddresses"] = proxy["node_port_addresses"]
        # read in IPVS mode too: what is masqueraded, and how often the few rules are written
        result["iptables"] = {
            "masqueradeAll": proxy["iptables"]["masquerade_all"],
            "syncPeriod": proxy["iptables"]["sync_period"],
            "minSyncPeriod": proxy["iptables"]["min_sync_period"],
        }
        if mode == "ipvs":
            ipvs = proxy["ipvs"]
            result["ipvs"] = {
                "scheduler": ipvs["scheduler"],
                "strictARP": ipvs["strict_arp"],
                "syncPeriod": ipvs["sync_period"],
                "minSyncPeriod": ipvs["min_sync_period"],
                "excludeCIDRs": ipvs["exclude_cidrs"],
                "tcpTimeout": ipvs["tcp_timeout"],
                "tcpFinTimeout": ipvs["tcp_fin_timeout"],
                "udpTimeout": ipvs["udp_timeout"],
            }
        if mode == "nftables":
            result["nftables"] = {
                "masqueradeAll": proxy["nftables"]["masquerade_all"],
                "syncPeriod": proxy["nftables"]["sync_period"],
                "minSyncPeriod": proxy["nftables"]["min_sync_period"],
            }
        result["conntrack"] = self._conntrack()
        return _merge(result, proxy["extra"])

    def _conntrack(self) -> Document:
        given = self.d["proxy"]["conntrack"]
        if given["owner"] == "sysctl":
            # zeros everywhere: kube-proxy leaves what the drop-in set
            result: Document = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
            later: Document = {"tcpBeLiberal": False, "udpTimeout": "0s", "udpStreamTimeout": "0s"}
        elif given["owner"] == "kube_proxy":
            result = {
                "maxPerCore": int(given["max_per_core"]),
                "min": int(given["min"]),
                "tcpEstablishedTimeout": given["tcp_established_timeout"],
                "tcpCloseWaitTimeout": given["tcp_close_wait_timeout"],
            }
            later = {
                "tcpBeLiberal": given["tcp_be_liberal"],
                "udpTimeout": given["udp_timeout"],
                "udpStreamTimeout": given["udp_stream_timeout"],
            }
        else:
            raise KubeadmConfigError(f"proxy.conntrack.owner is {given['owner']!r}, but must be sysctl or kube_proxy.")
        if self.minor >= 29:
            result.update(later)
        return result

    def kubelet_configuration(self) -> Document:
        kubelet = self.d["kubelet"]
        result: Document = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
        if self.minor < 38:
            # from 1.38 on the kubelet asks the container runtime and refuses the field
            result["cgroupDriver"] = kubelet["cgroup_driver"]
        result["failSwapOn"] = kubelet["fail_swap_on"]
        result["maxPods"] = int(kubelet["max_pods"])
        return _merge(result, kubelet["extra"])

    def join_configuration(self, control_plane: bool) -> Document:
        join = self.d["join"]
        discovery: Document = {
            "bootstrapToken": {
                "apiServerEndpoint": self.d["endpoint"],
                "token": join["token"],
                "caCertHashes": join["ca_cert_hashes"],
            }
        }
        if self.beta < 4:
            discovery["timeout"] = self.d["timeouts"]["discovery"]
        result: Document = {
            "apiVersion": self.api,
            "kind": "JoinConfiguration",
            "discovery": discovery,
            "nodeRegistration": self._node_registration(),
        }
        if control_plane:
            result["controlPlane"] = {
                "localAPIEndpoint": self._local_api_endpoint(),
                "certificateKey": join["certificate_key"],
            }
        result.update(self._command_fields("join"))
        return result


def _merge(base: Document, extra: t.Mapping[str, t.Any]) -> Document:
    """Dicts are merged key by key; anything else in extra takes the place of what was there."""
    result = dict(base)
    for key, value in extra.items():
        if isinstance(value, t.Mapping) and isinstance(result.get(key), t.Mapping):
            result[key] = _merge(result[key], value)
        else:
            result[key] = value
    return result


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise KubeadmConfigError(f"The kind of configuration is {kind!r}, but must be one of {', '.join(KINDS)}.")


def documents(description: t.Any, kind: str) -> t.List[Document]:
    """The documents of /etc/kubernetes/kubeadm-init.yaml or kubeadm-join.yaml."""
    _check_kind(kind)
    builder = _Builder(description)
    if kind != "init":
        return [builder.join_configuration(control_plane=kind == "control_plane")]
    result = [builder.init_configuration(), builder.cluster_configuration()]
    if builder.d["proxy_mode"] != "none":
        result.append(builder.kube_proxy_configuration())
    result.append(builder.kubelet_configuration())
    return result


def flags(description: t.Any, kind: str) -> t.List[str]:
    """Command line arguments for what the API version of this release has no field for."""
    _check_kind(kind)
    builder = _Builder(description)
    result: t.List[str] = []
    if builder.beta < 3:
        skipped = builder._skipped("init" if kind == "init" else "join")
        if skipped:
            result.append("--skip-phases=" + ",".join(skipped))
        if builder.d["patches_directory"]:
            result.append("--experimental-patches=" + builder.d["patches_directory"])
    return result
