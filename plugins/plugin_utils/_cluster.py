# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What is wrong with the settings of a cluster, told before any host is touched; one sentence each."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible.module_utils.parsing.convert_bool import BOOLEANS
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._addresses import (
    AddressError,
    Network,
    Overlap,
    overlaps,
    parse_address,
    parse_network,
    parse_range,
)
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._cni import CNIS, ENCAPSULATIONS, WITH_WIREGUARD

OLDEST_MINOR = 20
NEWEST_MINOR = 37
IPVS_DEPRECATED = 35
IPVS_GATE_OFF = 40
IPVS_REMOVED = 43
NFTABLES_SINCE = 31
PACKAGES_SINCE = 24
MH_SINCE = 27
# Of the versions that the roles install.
OLDEST_MINOR_OF_CNI: t.Dict[str, t.Tuple[int, str]] = {
    "cilium": (21, "the chart of Cilium wants Kubernetes 1.21"),
    "calico": (22, "the operator of Calico wants Kubernetes 1.22 (server-side apply and apiextensions.k8s.io/v1)"),
}

PROXY_MODES = ("ipvs", "nftables", "iptables", "none")
CNIS_WITH_A_PROXY = ("calico", "cilium")
# these hand out a node's addresses from its own part of the pod network
CNIS_WITH_HOST_LOCAL = ("bridge", "flannel")
LOAD_BALANCERS = ("none", "metallb")
INGRESS_CONTROLLERS = ("none", "nginx", "ingress-nginx")
SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh")

# limits of kubeadm and of the API server
SERVICE_BITS = 20
SERVICE_ADDRESSES = 10
POD_ADDRESSES = 14
POD_NODE_BITS = 16

# what a node itself listens on, or kubeadm's static pods do
WELL_KNOWN_PORTS = {
    22: "SSH",
    179: "BGP",
    2379: "etcd's clients",
    2380: "etcd's peers",
    2381: "etcd's metrics",
    10248: "the kubelet's health check",
    10249: "kube-proxy's metrics",
    10250: "the kubelet",
    10256: "kube-proxy's health check",
    10257: "the controller manager",
    10259: "the scheduler",
}

# Values that only make sense when they are the same on every host.
SAME_EVERYWHERE = (
    "cluster_name",
    "cluster_kubernetes_version",
    "cluster_pod_cidr",
    "cluster_pod_prefix_length",
    "cluster_service_cidr",
    "cluster_dns_domain",
    "cluster_api_endpoint",
    "cluster_api_port",
    "cluster_node_port_range",
    "cluster_cni",
    "cluster_cni_encapsulation",
    "cluster_cni_encryption",
    "cluster_network_mtu",
    "cluster_proxy_mode",
    "cluster_load_balancer",
    "cluster_ingress_controller",
    "cluster_cert_manager",
    "cluster_ipvs_scheduler",
    "cluster_ipvs_strict_arp",
    "cluster_conntrack_owner",
    "cluster_kubelet_cgroup_driver",
    "cluster_image_repository",
)

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))+|0")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

_ABSENT = object()


def duration_seconds(text: t.Any) -> t.Optional[float]:
    """Seconds of a duration as Go writes it, or None."""
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


def _is_subdomain(text: t.Any) -> bool:
    return isinstance(text, str) and len(text) <= 253 and _SUBDOMAIN.fullmatch(text) is not None


def _integer(value: t.Any) -> t.Optional[int]:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,12}", value):
        return int(value)
    return None


def _words(items: t.Iterable[str], last: str = "or") -> str:
    words = list(items)
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" {last} " + words[-1]


def split_endpoint(text: str) -> t.Optional[t.Tuple[str, int]]:
    """Host and port of host:port or [IPv6]:port, or None."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\]:([0-9]{1,5})|([^\[\]:/@ ]+):([0-9]{1,5})", text)
    if not match:
        return None
    host, port = (match.group(1), match.group(2)) if match.group(1) else (match.group(3), match.group(4))
    return (host, int(port)) if 1 <= int(port) <= 65535 else None


class _Check:
    """Collects the sentences about one set of settings."""

    def __init__(
        self,
        settings: t.Mapping[str, t.Any],
        control_plane: t.Sequence[str],
        workers: t.Sequence[str],
        node_ips: t.Mapping[str, str],
        for_install: bool,
        kubernetes: t.Optional[t.Sequence[str]],
        host_settings: t.Mapping[str, t.Mapping[str, t.Any]],
    ) -> None:
        self.settings = settings
        self.control_plane = list(control_plane)
        self.workers = list(workers)
        self.hosts = list(dict.fromkeys([*control_plane, *workers]))
        self.node_ips = dict(node_ips)
        self.for_install = for_install
        self.kubernetes = self.hosts if kubernetes is None else list(kubernetes)
        self.host_settings = host_settings
        self.problems: t.List[str] = []
        self.notices: t.List[str] = []
        self.minor: t.Optional[int] = None
        self.version = ""

    # --- helpers

    def get(self, name: str) -> t.Any:
        return self.settings.get(name, _ABSENT)

    def wrong(self, name: str, rule: str) -> None:
        self.problems.append(f"{name} is {self._shown(self.get(name))}, but {rule}.")

    @staticmethod
    def _shown(value: t.Any) -> str:
        return "not set" if value is _ABSENT or value is None else "empty" if value == "" else repr(value)

    def number(self, name: str, least: int, most: int) -> t.Optional[int]:
        value = _integer(self.get(name))
        if value is None or not least <= value <= most:
            self.wrong(name, f"must be a whole number from {least} to {most}")
            return None
        return value

    def network(self, name: str) -> t.Optional[Network]:
        try:
            return parse_network(self.get(name))
        except AddressError as error:
            self.problems.append(f"{name} is {self._shown(self.get(name))}, which {error}.")
            return None

    def choice(self, name: str, choices: t.Sequence[str]) -> t.Optional[str]:
        value = self.get(name)
        if value in choices:
            return value
        self.wrong(name, f"must be {_words(choices)}")
        return None

    def listed(self, name: str) -> t.List[t.Any]:
        value = self.get(name)
        if isinstance(value, list):
            return value
        self.wrong(name, "must be a list")
        return []

    # --- the checks, in the order of the report

    def run(self) -> None:
        self.check_versions()
        self.check_names()
        self.check_groups()
        self.check_choices()
        self.check_addresses()
        self.check_endpoint()
        self.check_ports()
        self.check_edge()
        self.check_kube_proxy()
        self.check_kubelet()
        self.check_kubeadm()
        self.check_same_everywhere()

    def check_versions(self) -> None:
        name = "cluster_kubernetes_version"
        value = self.get(name)
        match = re.fullmatch(r"1\.([0-9]{1,3})\.([0-9]{1,3})", value) if isinstance(value, str) else None
        if not match:
            self.wrong(name, 'must be a release as a text in quotes, major.minor.patch without a v, such as "1.36.4"')
            return
        self.minor, self.version = int(match.group(1)), value
        # The removal of IPVS is told first: it is the reason that stays when newer versions are known here.
        if self.get("cluster_proxy_mode") == "ipvs" and self.minor >= IPVS_REMOVED:
            self.wrong(
                "cluster_proxy_mode",
                f"Kubernetes 1.{IPVS_REMOVED} has no IPVS proxy any more and cluster_kubernetes_version is {value!r}; use nftables",
            )
        if self.minor < OLDEST_MINOR:
            self.wrong(name, f"must be 1.{OLDEST_MINOR} or newer; choose a release from 1.{OLDEST_MINOR} to 1.{NEWEST_MINOR}")
        if self.minor > NEWEST_MINOR:
            self.wrong(
                name,
                f"this release of the collection knows Kubernetes up to 1.{NEWEST_MINOR}; choose an older version or update the collection",
            )
        if self.for_install and self.get("cluster_artifacts") == "repository" and self.minor < PACKAGES_SINCE:
            self.problems.append(
                f"cluster_artifacts is 'repository', but the package repositories begin with 1.{PACKAGES_SINCE} and "
                f"cluster_kubernetes_version is {value!r}; use cluster_artifacts: bundle or a newer version."
            )

    def check_names(self) -> None:
        if not (isinstance(self.get("cluster_name"), str) and re.fullmatch(_LABEL, self.get("cluster_name"))):
            self.wrong("cluster_name", "must be lower-case letters, digits and dashes, at most 63, such as kubernetes")
        if not _is_subdomain(self.get("cluster_dns_domain")):
            self.wrong("cluster_dns_domain", "must be a DNS domain of lower-case labels, such as cluster.local")
        for host in self.hosts:
            if not _is_subdomain(host) or len(host) > 63:
                self.problems.append(
                    f"The inventory name {host!r} becomes the name of a node, but such a name has lower-case letters, digits, "
                    "dashes and dots only, begins and ends with a letter or digit, and has at most 63 characters; rename the host."
                )

    def check_groups(self) -> None:
        count = len(self.control_plane)
        if count == 0:
            self.problems.append("Group control_plane is empty, but a cluster needs a control plane; put one host or three into it.")
        elif count % 2 == 0:
            self.problems.append(
                f"Group control_plane has {count} hosts ({', '.join(self.control_plane)}), but the number must be odd: "
                f"etcd with {count} members survives no more failures than with {count - 1}; use {count - 1} or {count + 1}."
            )
        for host in self.control_plane:
            if host in self.workers:
                self.problems.append(
                    f"Host {host} is in the groups control_plane and workers, but must be in one; "
                    "for pods on a control plane leave it in control_plane and set control_plane_taints: []."
                )
        for host in self.kubernetes:
            if host not in self.hosts:
                self.problems.append(
                    f"Host {host} is in group kubernetes, but in neither control_plane nor workers; put it into one of the two."
                )
        for name, members in (("control_plane", self.control_plane), ("workers", self.workers)):
            outside = [host for host in members if host not in self.kubernetes]
            if outside:
                self.problems.append(
                    f"Group {name} has {', '.join(outside)}, but group kubernetes has not, and only its hosts are prepared; "
                    f"put group {name} inside of kubernetes."
                )

    def check_choices(self) -> None:
        self.choice("cluster_artifacts", ("repository", "bundle"))
        owner = self.choice("cluster_conntrack_owner", ("sysctl", "kube_proxy"))
        self.choice("cluster_kubelet_cgroup_driver", ("systemd", "cgroupfs"))
        if self.get("cluster_cni") in ("weave", "weave-net", "weavenet"):
            self.wrong(
                "cluster_cni",
                "Weave Net ended with its company in 2024 and gets no fixes; use flannel, calico or cilium, "
                "all of which encrypt with WireGuard where Weave had its own (cluster_cni_encryption: wireguard)",
            )
            cni = None
        else:
            cni = self.choice("cluster_cni", CNIS)
        if cni is not None:
            self._check_pod_network(cni)
        mode = self.choice("cluster_proxy_mode", PROXY_MODES)
        if mode == "none" and cni is not None and cni not in CNIS_WITH_A_PROXY:
            self.wrong(
                "cluster_proxy_mode",
                f"cluster_cni {cni!r} has nothing to take the place of kube-proxy; use {_words(CNIS_WITH_A_PROXY)}, or a proxy mode",
            )
        if mode == "none" and owner == "kube_proxy":
            self.wrong("cluster_conntrack_owner", "there is no kube-proxy with cluster_proxy_mode 'none'; use sysctl")
        if mode == "nftables" and self.minor is not None and self.minor < NFTABLES_SINCE:
            self.wrong(
                "cluster_proxy_mode",
                f"nftables can be used from Kubernetes 1.{NFTABLES_SINCE} on and cluster_kubernetes_version is {self.version!r}; use ipvs or iptables",
            )
        if mode == "ipvs" and self.minor is not None and IPVS_DEPRECATED <= self.minor < IPVS_REMOVED:
            gate = (
                f"its feature gate is off by default from 1.{IPVS_GATE_OFF} (this run turns it on) and the code goes"
                if self.minor >= IPVS_GATE_OFF
                else f"its feature gate is off by default from 1.{IPVS_GATE_OFF} and the code goes"
            )
            self.notices.append(
                f"cluster_proxy_mode is 'ipvs', which Kubernetes deprecates since 1.{IPVS_DEPRECATED}: {gate} with 1.{IPVS_REMOVED}; "
                "plan the move to cluster_proxy_mode: nftables, which needs Linux 5.13 and nft 1.0.1 on every node."
            )

    def _check_pod_network(self, cni: str) -> None:
        encapsulation, encryption = self.get("cluster_cni_encapsulation"), self.get("cluster_cni_encryption")
        choices = ENCAPSULATIONS[cni]
        if encapsulation not in ("", *choices):
            self.wrong("cluster_cni_encapsulation", f"cluster_cni {cni!r} has {_words(choices)}; leave it empty for {choices[0]}")
        if encryption not in ("", "wireguard"):
            self.wrong("cluster_cni_encryption", "must be wireguard, or empty for none")
        elif encryption and cni not in WITH_WIREGUARD:
            self.wrong("cluster_cni_encryption", f"cluster_cni {cni!r} cannot encrypt; use {_words(WITH_WIREGUARD)}, or leave it empty")
        elif encryption and cni == "flannel" and encapsulation != "":
            self.wrong(
                "cluster_cni_encapsulation",
                "flannel's WireGuard is itself the way between the nodes (cluster_cni_encryption is 'wireguard'); leave it empty",
            )
        if cni == "calico" and isinstance(encapsulation, str) and encapsulation.startswith("ipip"):
            if self.get("cluster_proxy_mode") == "none":
                self.wrong("cluster_cni_encapsulation", "Calico without kube-proxy (cluster_proxy_mode is 'none') has no IP-in-IP; use vxlan or none")
            if ":" in str(self.get("cluster_pod_cidr")):
                self.wrong("cluster_cni_encapsulation", "Calico puts IPv6 packets into VXLAN only; use vxlan or none")
        mtu = _integer(self.get("cluster_network_mtu"))
        if mtu is None or (mtu != 0 and not 576 <= mtu <= 65535):
            self.wrong("cluster_network_mtu", "must be 0 or the bytes that the network between the nodes carries, 576 to 65535")
        oldest, why = OLDEST_MINOR_OF_CNI.get(cni, (0, ""))
        if self.minor is not None and self.minor < oldest:
            self.wrong("cluster_cni", f"{why} and cluster_kubernetes_version is {self.version!r}; use a newer version, or bridge")

    def check_addresses(self) -> None:
        pods = self.network("cluster_pod_cidr")
        services = self.network("cluster_service_cidr")
        if pods is not None:
            self._check_pod_size(pods)
        if services is not None:
            self._check_service_size(services)
        if pods is not None and services is not None and pods.version != services.version:
            self.wrong("cluster_service_cidr", f"must be IPv{pods.version} like cluster_pod_cidr {self.get('cluster_pod_cidr')!r}")

        ranges: t.Dict[str, t.List[str]] = {}
        for name in ("cluster_node_cidrs", "cluster_load_balancer_ranges"):
            ranges[name] = []
            for item in self.listed(name):
                try:
                    if name == "cluster_node_cidrs":
                        parse_network(item)
                    else:
                        parse_range(item)
                except AddressError as error:
                    self.problems.append(f"{name} has {self._shown(item)}, which {error}.")
                else:
                    ranges[name].append(item)

        nodes = self._check_node_ips(pods.version if pods is not None else None)
        self._check_overlaps(pods, services, ranges, nodes)

    def _check_pod_size(self, pods: Network) -> None:
        name = "cluster_pod_prefix_length"
        least = pods.prefixlen
        if pods.num_addresses < POD_ADDRESSES:
            self.wrong("cluster_pod_cidr", f"has {pods.num_addresses} addresses and kubeadm wants at least {POD_ADDRESSES}; use a larger network")
            return
        length = _integer(self.get(name))
        most = min(pods.max_prefixlen, least + POD_NODE_BITS)
        if length is None or not least <= length <= most:
            self.wrong(
                name,
                f"each node's part of cluster_pod_cidr {self.get('cluster_pod_cidr')!r} must have a prefix length from {least} to {most}",
            )
            return
        parts = 2 ** (length - least)
        if len(self.hosts) > parts:
            self.wrong(
                "cluster_pod_cidr",
                f"it gives only {parts} node{'s' if parts > 1 else ''} a /{length} (cluster_pod_prefix_length) and the inventory has "
                f"{len(self.hosts)}; use a larger network or a longer prefix",
            )
        pods_each = 2 ** (pods.max_prefixlen - length) - 3
        most_pods = _integer(self.get("cluster_kubelet_max_pods"))
        if self.get("cluster_cni") in CNIS_WITH_HOST_LOCAL and most_pods is not None and most_pods > max(pods_each, 0):
            self.wrong(
                "cluster_kubelet_max_pods",
                f"a /{length} (cluster_pod_prefix_length) has addresses for {max(pods_each, 0)} pods beside network, bridge and broadcast; "
                "lower the one or shorten the other",
            )

    def _check_service_size(self, services: Network) -> None:
        least = services.max_prefixlen - SERVICE_BITS
        if services.prefixlen < least:
            self.wrong("cluster_service_cidr", f"Kubernetes takes a /{least} at most for IPv{services.version} services; use a smaller network")
        elif services.num_addresses < SERVICE_ADDRESSES:
            self.wrong(
                "cluster_service_cidr",
                f"has {services.num_addresses} addresses and at least {SERVICE_ADDRESSES} are needed (the tenth is cluster DNS); use a larger network",
            )

    def _check_node_ips(self, version: t.Optional[int]) -> t.List[t.Tuple[str, str]]:
        """The good ones, with the words that name them."""
        result: t.List[t.Tuple[str, str]] = []
        owners: t.Dict[t.Any, str] = {}
        for host in self.hosts:
            value = self.node_ips.get(host, "")
            label = f"cluster_node_ip of {host}"
            try:
                address = parse_address(value)
            except AddressError:
                self.problems.append(
                    f"{label} is {self._shown(value)}, but must be an IP address of this host in the network of the cluster; "
                    "set cluster_node_ip in its host variables."
                )
                continue
            kind = (
                "the unspecified address"
                if address.is_unspecified
                else "a loopback address"
                if address.is_loopback
                else "a link-local address"
                if address.is_link_local
                else "a multicast address"
                if address.is_multicast
                else "the broadcast address"
                if address == ipaddress.ip_address("255.255.255.255")
                else ""
            )
            if kind:
                self.problems.append(
                    f"{label} is {value!r}, which is {kind}, but other nodes must reach this one there; set an address of its own interface."
                )
                continue
            if version is not None and address.version != version:
                self.problems.append(f"{label} is {value!r}, but must be IPv{version} like cluster_pod_cidr {self.get('cluster_pod_cidr')!r}.")
            if address in owners:
                self.problems.append(
                    f"{label} is {value!r}, but that is the address of {owners[address]} too; each node needs its own."
                )
                continue
            owners[address] = host
            result.append((label, value))
        return result

    def _check_overlaps(
        self,
        pods: t.Optional[Network],
        services: t.Optional[Network],
        ranges: t.Mapping[str, t.List[str]],
        nodes: t.List[t.Tuple[str, str]],
    ) -> None:
        named: t.List[t.Tuple[str, str]] = []
        if pods is not None:
            named.append(("cluster_pod_cidr", str(pods)))
        if services is not None:
            named.append(("cluster_service_cidr", str(services)))
        named += [("cluster_load_balancer_ranges", item) for item in ranges["cluster_load_balancer_ranges"]]
        named += [("cluster_node_cidrs", item) for item in ranges["cluster_node_cidrs"]]
        named += nodes
        endpoint = self.get("cluster_api_endpoint")
        parts = split_endpoint(endpoint) if isinstance(endpoint, str) and endpoint else None
        if parts is not None:
            try:
                named.append(("cluster_api_endpoint", str(parse_address(parts[0]))))
            except AddressError:
                pass  # a name: nothing is resolved here
        for overlap in overlaps(named, within=True):
            if not self._may_overlap(overlap):
                self.problems.append(self._overlap_sentence(overlap))

    @staticmethod
    def _may_overlap(overlap: Overlap) -> bool:
        def of_machines(name: str) -> bool:
            return name.startswith("cluster_node_") or name == "cluster_api_endpoint"

        names = {overlap.first, overlap.second}
        if all(of_machines(name) for name in names):
            return True
        # load balancer addresses announced by ARP are taken from the machines' own network
        return names == {"cluster_load_balancer_ranges", "cluster_node_cidrs"}

    @staticmethod
    def _overlap_sentence(overlap: Overlap) -> str:
        if overlap.first == overlap.second:
            return (
                f"{overlap.first} has {overlap.first_range!r} and {overlap.second_range!r}, but these share {overlap.shared}; "
                "give each range other addresses."
            )
        return (
            f"{overlap.first} is {overlap.first_range!r}, but {overlap.second} is {overlap.second_range!r} and both hold {overlap.shared}; "
            "change one so that they share no address."
        )

    def check_endpoint(self) -> None:
        name = "cluster_api_endpoint"
        value = self.get(name)
        if value == "":
            if len(self.control_plane) > 1:
                self.wrong(
                    name,
                    f"with {len(self.control_plane)} control planes it must be an address in front of all of them, as host:port, "
                    "such as that of a load balancer or a virtual IP",
                )
            return
        parts = split_endpoint(value) if isinstance(value, str) else None
        if parts is None:
            self.wrong(name, "must be host:port, with brackets around an IPv6 address, such as api.example.com:6443 or [2001:db8::10]:6443")
            return
        host = parts[0]
        try:
            address = parse_address(host)
        except AddressError:
            if re.fullmatch(r"[0-9.]+", host) or not _is_subdomain(host):
                self.wrong(name, f"{host!r} in it is neither an IP address nor a host name in lower case, which kubeadm wants")
            return
        if address.is_unspecified or address.is_loopback:
            self.wrong(name, "every node must reach the API servers there; use an address that is not only this machine's own")

    def check_ports(self) -> None:
        api_port = self.number("cluster_api_port", 1, 65535)
        name = "cluster_node_port_range"
        value = self.get(name)
        match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", value) if isinstance(value, str) else None
        first, last = (int(match.group(1)), int(match.group(2))) if match else (0, 0)
        if not match or not 1 <= first <= last <= 65535:
            self.wrong(name, "must be first-last with ports from 1 to 65535, such as 30000-32767")
            return
        taken = dict(WELL_KNOWN_PORTS)
        if api_port is not None:
            taken[api_port] = "the API server"
        inside = [f"{port} ({taken[port]})" for port in sorted(taken) if first <= port <= last]
        if inside:
            self.wrong(name, f"it holds port{'s' if len(inside) > 1 else ''} {_words(inside, 'and')}; choose a range without ports that a node uses")

    def check_edge(self) -> None:
        balancer = self.choice("cluster_load_balancer", LOAD_BALANCERS)
        if balancer == "metallb" and self.get("cluster_load_balancer_ranges") == []:
            self.wrong(
                "cluster_load_balancer_ranges",
                "cluster_load_balancer is 'metallb' and has no address to give; name a range that nothing else uses, such as 192.0.2.200-192.0.2.239",
            )
        self.choice("cluster_ingress_controller", INGRESS_CONTROLLERS)
        if self.get("cluster_cert_manager") not in tuple(BOOLEANS):
            self.wrong("cluster_cert_manager", "must be true or false")

    def check_kube_proxy(self) -> None:
        scheduler = self.choice("cluster_ipvs_scheduler", SCHEDULERS)
        if scheduler == "mh" and self.minor is not None and self.minor < MH_SINCE:
            self.wrong(
                "cluster_ipvs_scheduler",
                f"kube-proxy takes mh from 1.{MH_SINCE} on and cluster_kubernetes_version is {self.version!r}; use {_words(SCHEDULERS[:-1])}",
            )
        for group in ("cluster_iptables", "cluster_nftables", "cluster_ipvs"):
            period = self.duration(f"{group}_sync_period", above_zero=True)
            shortest = self.duration(f"{group}_min_sync_period")
            if period is not None and shortest is not None and shortest > period:
                self.wrong(f"{group}_min_sync_period", f"must not be longer than {group}_sync_period {self.get(f'{group}_sync_period')!r}")
        for name in ("cluster_ipvs_tcp_timeout", "cluster_ipvs_tcp_fin_timeout", "cluster_ipvs_udp_timeout"):
            self.duration(name)
        for name in (
            "cluster_conntrack_tcp_established_timeout",
            "cluster_conntrack_tcp_close_wait_timeout",
            "cluster_conntrack_udp_timeout",
            "cluster_conntrack_udp_stream_timeout",
        ):
            self.duration(name)
        self.number("cluster_conntrack_max_per_core", 0, 2**31 - 1)
        self.number("cluster_conntrack_min", 0, 2**31 - 1)
        for item in self.listed("cluster_ipvs_exclude_cidrs"):
            self._listed_network("cluster_ipvs_exclude_cidrs", item)
        addresses = self.listed("cluster_node_port_addresses")
        if addresses != ["primary"]:
            for item in addresses:
                self._listed_network("cluster_node_port_addresses", item)
        if (
            self.get("cluster_proxy_mode") == "ipvs"
            and self.get("cluster_ipvs_strict_arp") in (False, "false", "no")
            and isinstance(self.get("cluster_load_balancer_ranges"), list)
            and self.get("cluster_load_balancer_ranges")
        ):
            self.notices.append(
                "cluster_ipvs_strict_arp is false, so every node answers ARP for every load balancer address: MetalLB in layer 2 mode "
                "does not work with IPVS that way; set it to true."
            )

    def _listed_network(self, name: str, item: t.Any) -> None:
        try:
            parse_network(item)
        except AddressError as error:
            self.problems.append(f"{name} has {self._shown(item)}, which {error}.")

    def duration(self, name: str, above_zero: bool = False) -> t.Optional[float]:
        seconds = duration_seconds(self.get(name))
        if seconds is None:
            self.wrong(name, "must be a duration with units, such as 900s or 1h30m")
        elif above_zero and seconds <= 0:
            self.wrong(name, "must be longer than zero, such as 30s")
        return seconds

    def check_kubelet(self) -> None:
        self.number("cluster_kubelet_max_pods", 1, 65535)
        endpoint = self.get("cluster_container_runtime_endpoint")
        if not (isinstance(endpoint, str) and re.fullmatch(r"unix:///\S+", endpoint)):
            self.wrong("cluster_container_runtime_endpoint", "must be the URL of a socket, such as unix:///run/containerd/containerd.sock")
        for name in ("cluster_kubelet_extra_args", "cluster_kubelet_config", "cluster_kube_proxy_config"):
            if not isinstance(self.get(name), dict):
                self.wrong(name, "must be a dict")
        repository = self.get("cluster_image_repository")
        if not (isinstance(repository, str) and re.fullmatch(r"(?:[a-zA-Z0-9][a-zA-Z0-9.:_/-]*[a-zA-Z0-9])?", repository) and "//" not in repository):
            self.wrong("cluster_image_repository", "must be a registry with an optional path and without https://, such as registry.k8s.io")

    def check_kubeadm(self) -> None:
        for name in (
            "cluster_timeout_control_plane",
            "cluster_timeout_kubelet_health_check",
            "cluster_timeout_kubernetes_api_call",
            "cluster_timeout_etcd_api_call",
            "cluster_timeout_tls_bootstrap",
            "cluster_timeout_discovery",
            "cluster_timeout_upgrade_manifests",
        ):
            self.duration(name, above_zero=True)
        self.listed("cluster_ignore_preflight_errors")

    def check_same_everywhere(self) -> None:
        for name in SAME_EVERYWHERE:
            seen: t.Dict[str, t.List[str]] = {}
            for host in self.hosts:
                if host in self.host_settings:
                    seen.setdefault(self._shown(self.host_settings[host].get(name, _ABSENT)), []).append(host)
            if len(seen) > 1:
                different = _words((f"{value} on {', '.join(hosts)}" for value, hosts in seen.items()), "and")
                self.problems.append(f"{name} is {different}, but must be the same on every host; set it once, in the variables of group all.")


def check(
    settings: t.Mapping[str, t.Any],
    control_plane: t.Sequence[str],
    workers: t.Sequence[str],
    node_ips: t.Mapping[str, str],
    for_install: bool = False,
    kubernetes: t.Optional[t.Sequence[str]] = None,
    host_settings: t.Optional[t.Mapping[str, t.Mapping[str, t.Any]]] = None,
) -> t.Tuple[t.List[str], t.List[str]]:
    """Problems, which forbid a run, and notices, which do not."""
    checking = _Check(settings, control_plane, workers, node_ips, for_install, kubernetes, host_settings or {})
    checking.run()
    return checking.problems, checking.notices
