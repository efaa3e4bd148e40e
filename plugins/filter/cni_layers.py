# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(cni_layers)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cni
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: cni_layers
short_description: What a pod network puts its packets into
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - The layers between two nodes, as filter P(baremetal.kubernetes.cni_mtu#filter) takes them.
  - Flannel's WireGuard takes the place of VXLAN, Calico's that of its own encapsulation between nodes that can do it, Cilium's is around its tunnel.
positional: encapsulation, encryption
options:
  _input:
    description: The CNI.
    type: str
    choices: [bridge, flannel, calico, cilium]
    required: true
  encapsulation:
    description:
      - V(none), V(vxlan), V(geneve), V(ipip), or V(vxlan_cross_subnet) and V(ipip_cross_subnet) for packets to other subnets only.
      - Not every CNI has each. If empty, V(none) for bridge and Calico, V(vxlan) for Cilium and Flannel.
    type: str
    default: ""
  encryption:
    description: V(wireguard), or nothing. bridge has none.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: VXLAN inside of WireGuard
  ansible.builtin.debug:
    msg: "{{ 'cilium' | baremetal.kubernetes.cni_layers('vxlan', 'wireguard') }}"
"""

RETURN = r"""
_value:
  description: Of V(ipip), V(vxlan), V(geneve) and V(wireguard), the outermost last; empty for none.
  type: list
  elements: str
  sample: [vxlan, wireguard]
"""


def cni_layers(cni: t.Any, encapsulation: t.Any = "", encryption: t.Any = "") -> t.List[str]:
    """Look them up; an error becomes one of Ansible's with the name of the filter in front."""
    try:
        return _cni.layers(plain(cni), plain(encapsulation), plain(encryption))
    except ValueError as error:
        raise AnsibleFilterError(f"cni_layers: {error}.") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"cni_layers": cni_layers}
