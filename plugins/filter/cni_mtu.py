# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(cni_mtu)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._cni import LEAST_MTU, OVERHEAD, pod_mtu

DOCUMENTATION = r"""
name: cni_mtu
short_description: The MTU that is left for pods behind an encapsulation
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Subtracts from the MTU of the nodes' network what each layer of encapsulation adds to a packet.
  - With IPv4 between the nodes that is 50 bytes for VXLAN and Geneve, 20 for IP-in-IP, 60 for WireGuard; with IPv6 between the nodes 70,
    70, 40 and 80.
  - Pods have the IP version of the nodes. What is too small for it (576 bytes, with IPv6 1280) is refused.
  - Cilium is told the MTU of the network and subtracts by itself, for WireGuard more than is needed; O(cni) gives what is subtracted.
positional: encapsulation, ip_version, cni
options:
  _input:
    description: MTU of the network between the nodes.
    type: int
    required: true
  encapsulation:
    description: One of V(none), V(ipip), V(vxlan), V(geneve), V(wireguard), or a list of those that are applied one after the other.
    type: raw
    default: none
  ip_version:
    description: IP version between the nodes.
    type: int
    choices: [4, 6]
    default: 4
  cni:
    description:
      - If given, what pods get from this CNI. Cilium takes 95 bytes for WireGuard.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: 1450 bytes are left
  ansible.builtin.debug:
    msg: "{{ 1500 | baremetal.kubernetes.cni_mtu('vxlan') }}"

- name: VXLAN inside of WireGuard over IPv6
  ansible.builtin.debug:
    msg: "{{ 9000 | baremetal.kubernetes.cni_mtu(['vxlan', 'wireguard'], ip_version=6) }}"
"""

RETURN = r"""
_value:
  description: The largest packet that a pod may send.
  type: int
  sample: 1450
"""


def cni_mtu(mtu: t.Any, encapsulation: t.Any = "none", ip_version: t.Any = 4, cni: str = "") -> int:
    """Subtract every layer, refuse what no link can have."""
    try:
        link, version = int(mtu), int(ip_version)
    except (TypeError, ValueError):
        raise AnsibleFilterError(f"cni_mtu: the MTU is {mtu!r} and the IP version {ip_version!r}, but both must be numbers.") from None
    if version not in LEAST_MTU:
        raise AnsibleFilterError(f"cni_mtu: ip_version is {version}, but must be 4 or 6.")
    if isinstance(mtu, bool) or not LEAST_MTU[version] <= link <= 65535:
        raise AnsibleFilterError(f"cni_mtu: the MTU is {mtu!r}, but a network with IPv{version} has {LEAST_MTU[version]} to 65535.")
    layers = [encapsulation] if isinstance(encapsulation, str) else list(encapsulation)
    for layer in layers:
        if layer not in OVERHEAD:
            raise AnsibleFilterError(f"cni_mtu: the encapsulation is {layer!r}, but must be one of {', '.join(sorted(OVERHEAD))}.")
    result = pod_mtu(cni, link, layers, version)
    if result < LEAST_MTU[version]:
        raise AnsibleFilterError(
            f"cni_mtu: an MTU of {link} leaves {result} bytes behind {', '.join(layers)}, but pods with IPv{version} need at least "
            f"{LEAST_MTU[version]}; raise the MTU of the nodes."
        )
    return result


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"cni_mtu": cni_mtu}
