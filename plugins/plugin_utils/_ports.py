# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""The ports that a cluster needs between its nodes: who asks whom, for what, and who says so."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cni

CONTROL_PLANE, NODE, SELF = "control_plane", "node", "self"

PROXY_MODES = ("iptables", "ipvs", "nftables", "none")

_KUBERNETES = "https://kubernetes.io/docs/reference/networking/ports-and-protocols/"
_KUBEADM = "ports of the static pods that kubeadm writes; on 127.0.0.1 only"
_FLANNEL = "https://github.com/flannel-io/flannel/blob/master/Documentation/backends.md"
_CALICO = "https://docs.tigera.io/calico/latest/getting-started/kubernetes/requirements"
_CILIUM = "https://docs.cilium.io/en/stable/operations/system_requirements/"
_METALLB = "https://metallb.io/#requirements"


class PortsError(ValueError):
    """One sentence that names the value."""


class Row(t.NamedTuple):
    """One port: `asks` connects to `answers`; `self` means that no other node does."""

    protocol: str
    port: int
    asks: str
    answers: str
    purpose: str
    source: str


def _tunnel(cni: str, found: t.Sequence[str], version: int) -> t.Iterator[Row]:
    source = {"flannel": _FLANNEL, "calico": _CALICO, "cilium": _CILIUM}.get(cni, "")
    for layer in found:
        if layer == "vxlan":
            yield Row("udp", 4789 if cni == "calico" else 8472, NODE, NODE, f"VXLAN of {cni}", source)
        elif layer == "geneve":
            yield Row("udp", 6081, NODE, NODE, f"Geneve of {cni}", source)
        elif layer == "wireguard":
            port = 51871 if cni == "cilium" else 51820 + (version == 6)
            yield Row("udp", port, NODE, NODE, f"WireGuard of {cni}", source)
        elif layer == "ipip":
            yield Row("ipip", 4, NODE, NODE, f"IP-in-IP of {cni} (protocol 4 of IP)", source)


def table(
    cni: str,
    encapsulation: str = "",
    encryption: str = "",
    proxy_mode: str = "ipvs",
    api_port: int = 6443,
    metallb: bool = False,
    bgp: t.Optional[bool] = None,
    ip_version: int = 4,
) -> t.List[Row]:
    """Every port of such a cluster."""
    found = _cni.tunnels(cni, encapsulation, encryption)
    if proxy_mode not in PROXY_MODES:
        raise PortsError(f"the proxy mode is {proxy_mode!r}, but must be one of {', '.join(PROXY_MODES)}")
    if bgp is None:
        # With VXLAN Calico's Felix makes all routes itself: then nothing has to be announced.
        bgp = cni == "calico" and "vxlan" not in found
    rows = [
        Row("tcp", int(api_port), NODE, CONTROL_PLANE, "API server", _KUBERNETES),
        Row("tcp", 2379, CONTROL_PLANE, CONTROL_PLANE, "etcd, clients", _KUBERNETES),
        Row("tcp", 2380, CONTROL_PLANE, CONTROL_PLANE, "etcd, members", _KUBERNETES),
        Row("tcp", 2381, SELF, CONTROL_PLANE, "etcd, metrics", _KUBEADM),
        Row("tcp", 10250, CONTROL_PLANE, NODE, "kubelet", _KUBERNETES),
        Row("tcp", 10248, SELF, NODE, "kubelet, health", _KUBERNETES),
        Row("tcp", 10257, SELF, CONTROL_PLANE, "controller manager", _KUBERNETES),
        Row("tcp", 10259, SELF, CONTROL_PLANE, "scheduler", _KUBERNETES),
    ]
    if proxy_mode != "none":
        rows += [
            Row("tcp", 10249, SELF, NODE, "kube-proxy, metrics", _KUBERNETES),
            Row("tcp", 10256, SELF, NODE, "kube-proxy, health", _KUBERNETES),
        ]
    rows += _tunnel(cni, found, ip_version)
    if bgp:
        rows.append(Row("tcp", 179, NODE, NODE, f"BGP of {cni}", _CALICO if cni == "calico" else _CILIUM))
    if cni == "calico":
        rows.append(Row("tcp", 5473, NODE, NODE, "Typha of calico", _CALICO))
    if cni == "cilium":
        rows.append(Row("tcp", 4240, NODE, NODE, "health checks of cilium", _CILIUM))
    if metallb:
        rows += [
            Row("tcp", 7946, NODE, NODE, "members of MetalLB", _METALLB),
            Row("udp", 7946, NODE, NODE, "members of MetalLB", _METALLB),
        ]
    return rows


def as_dict(row: Row) -> t.Dict[str, t.Any]:
    """As the filter returns it."""
    return dict(zip(("protocol", "port", "from", "to", "purpose", "source"), row))


def _is(role: str, control_plane: bool) -> bool:
    return role == NODE or control_plane


def cluster_ports(
    addresses: t.Mapping[str, str],
    control_plane: t.Iterable[str],
    cni: str,
    encapsulation: str = "",
    encryption: str = "",
    proxy_mode: str = "ipvs",
    api_port: int = 6443,
    metallb: bool = False,
    bgp: t.Optional[bool] = None,
    host: t.Optional[str] = None,
    listeners: t.Optional[t.Iterable[t.Any]] = None,
) -> t.Dict[str, t.Any]:
    """The whole table; with a host what it listens on, what it needs for itself and whom it asks for what."""
    masters = set(control_plane)
    versions = {ipaddress.ip_address(address).version for address in addresses.values()}
    rows = table(cni, encapsulation, encryption, proxy_mode, api_port, metallb, bgp, 6 if versions == {6} else 4)
    result: t.Dict[str, t.Any] = {"ports": [as_dict(row) for row in rows], "tunnels": _cni.tunnels(cni, encapsulation, encryption)}
    if host is None:
        return result
    if host not in addresses:
        raise PortsError(f"the host {host!r} is none of the nodes {', '.join(sorted(addresses)) or '(there are none)'}")
    own = host in masters
    answered = [row for row in rows if _is(row.answers, own)]
    between = [row for row in answered if row.asks != SELF]
    result["local"] = [as_dict(row) for row in answered if row.protocol != "ipip"]
    result["tcp_ports"] = [row.port for row in between if row.protocol == "tcp"]
    result["udp_ports"] = [row.port for row in between if row.protocol == "udp"]
    result["ipip"] = any(row.protocol == "ipip" for row in between)
    running: t.Optional[t.Dict[str, t.Mapping[str, t.Any]]] = None
    if listeners is not None:
        # a host that was lost on the way has no result, or a failed one
        running = {str(item["name"]): item for item in listeners if isinstance(item, t.Mapping) and item.get("listening")}
    result["peers"] = []
    for name, address in addresses.items():
        if name == host or (running is not None and name not in running):
            continue
        there = [row for row in rows if row.asks != SELF and _is(row.asks, own) and _is(row.answers, name in masters)]
        result["peers"].append(
            {
                "name": name,
                "address": address,
                "tcp_ports": [row.port for row in there if row.protocol == "tcp"],
                "udp_ports": [row.port for row in there if row.protocol == "udp"],
                "ipip": any(row.protocol == "ipip" for row in there),
                "measure_port": int(running[name].get("measure_port") or 0) if running else 0,
                "unserved": list(running[name].get("unserved") or []) if running else [],
            }
        )
    return result
