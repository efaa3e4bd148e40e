# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What each pod network can put its packets into, and the bytes that this takes; the one home of both."""

from __future__ import annotations

import typing as t

# What cluster_cni_encapsulation may be, by CNI; the first one is the default.
ENCAPSULATIONS: t.Dict[str, t.Tuple[str, ...]] = {
    "bridge": ("none",),
    "flannel": ("vxlan", "vxlan_cross_subnet", "none"),
    "calico": ("none", "vxlan", "vxlan_cross_subnet", "ipip", "ipip_cross_subnet"),
    "cilium": ("vxlan", "geneve", "none"),
}
CNIS = tuple(ENCAPSULATIONS)
# With which of them pods on different nodes can be encrypted.
WITH_WIREGUARD = ("flannel", "calico", "cilium")
ENCRYPTIONS = ("", "wireguard")

# Bytes that a layer adds, over IPv4 and over IPv6.
OVERHEAD: t.Dict[str, t.Tuple[int, int]] = {
    "none": (0, 0),
    "ipip": (20, 40),
    "vxlan": (50, 70),
    "geneve": (50, 70),
    "wireguard": (60, 80),
}
# What a CNI subtracts by itself, whatever is needed: (CNI, layer) to bytes. Cilium 1.20: WireguardOverhead in its pkg/mtu (pull request 45940).
_OWN_OVERHEAD = {("cilium", "wireguard"): 95}
# An IPv4 host must take 576 bytes, an IPv6 link must carry 1280 (RFC 791, RFC 8200).
LEAST_MTU = {4: 576, 6: 1280}


class CniError(ValueError):
    """One sentence about a setting."""


def encapsulation_of(cni: str, encapsulation: str) -> str:
    """The encapsulation meant; an empty one is the CNI's default."""
    if cni not in ENCAPSULATIONS:
        raise CniError(f"the CNI is {cni!r}, but must be one of {', '.join(CNIS)}")
    choices = ENCAPSULATIONS[cni]
    if encapsulation and encapsulation not in choices:
        raise CniError(f"the encapsulation is {encapsulation!r}, but {cni} has {', '.join(choices)}")
    return encapsulation or choices[0]


def tunnels(cni: str, encapsulation: str = "", encryption: str = "") -> t.List[str]:
    """Every tunnel between the nodes for which the network has to be open: of ipip, vxlan, geneve and wireguard."""
    name = encapsulation_of(cni, encapsulation).replace("_cross_subnet", "")
    if encryption not in ENCRYPTIONS or (encryption and cni not in WITH_WIREGUARD):
        raise CniError(f"the encryption is {encryption!r}, but {cni} has {'wireguard or none' if cni in WITH_WIREGUARD else 'none'}")
    found = [] if name == "none" else [name]
    if encryption and cni == "flannel":
        # the backend is one or the other
        return [encryption]
    return [*found, encryption] if encryption else found


def layers(cni: str, encapsulation: str = "", encryption: str = "") -> t.List[str]:
    """What a packet of a pod is put into, one after the other, the outermost last. Calico sends it into WireGuard instead of its own tunnel."""
    found = tunnels(cni, encapsulation, encryption)
    return found[-1:] if cni == "calico" else found


def pod_mtu(cni: str, network_mtu: int, wrapped: t.Sequence[str], ip_version: int = 4) -> int:
    """What a pod's interface gets from this CNI in a network that carries so many bytes."""
    taken = sum(_OWN_OVERHEAD.get((cni, layer), OVERHEAD[layer][ip_version == 6]) for layer in wrapped)
    return network_mtu - taken
