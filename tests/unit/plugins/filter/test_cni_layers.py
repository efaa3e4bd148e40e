# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each pod network puts its packets into, and what that leaves of the MTU."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.filter.cni_layers import cni_layers
from ansible_collections.baremetal.kubernetes.plugins.filter.cni_mtu import cni_mtu


@pytest.mark.parametrize(
    ("cni", "encapsulation", "encryption", "layers", "left", "left_ipv6"),
    [
        ("bridge", "", "", [], 1500, 1500),
        ("flannel", "", "", ["vxlan"], 1450, 1430),
        ("flannel", "none", "", [], 1500, 1500),
        ("flannel", "vxlan_cross_subnet", "", ["vxlan"], 1450, 1430),
        ("flannel", "", "wireguard", ["wireguard"], 1440, 1420),
        ("calico", "", "", [], 1500, 1500),
        ("calico", "ipip", "", ["ipip"], 1480, 1460),
        ("calico", "ipip_cross_subnet", "", ["ipip"], 1480, 1460),
        ("calico", "vxlan", "", ["vxlan"], 1450, 1430),
        ("calico", "vxlan", "wireguard", ["wireguard"], 1440, 1420),
        ("calico", "", "wireguard", ["wireguard"], 1440, 1420),
        ("cilium", "", "", ["vxlan"], 1450, 1430),
        ("cilium", "geneve", "", ["geneve"], 1450, 1430),
        ("cilium", "none", "", [], 1500, 1500),
        ("cilium", "", "wireguard", ["vxlan", "wireguard"], 1355, 1335),
        ("cilium", "none", "wireguard", ["wireguard"], 1405, 1405),
    ],
)
def test_layers_and_what_they_leave(cni: str, encapsulation: str, encryption: str, layers: list[str], left: int, left_ipv6: int) -> None:
    assert cni_layers(cni, encapsulation, encryption) == layers
    assert cni_mtu(1500, layers, 4, cni) == left
    assert cni_mtu(1500, layers, 6, cni) == left_ipv6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("weave",), "cni_layers: the CNI is 'weave', but must be one of bridge, flannel, calico, cilium"),
        (("cilium", "ipip"), "cni_layers: the encapsulation is 'ipip', but cilium has vxlan, geneve, none"),
        (("bridge", "", "wireguard"), "cni_layers: the encryption is 'wireguard', but bridge has none"),
        (("calico", "", "ipsec"), "cni_layers: the encryption is 'ipsec', but calico has wireguard or none"),
    ],
)
def test_what_a_pod_network_has_not(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        cni_layers(*arguments)
    assert message in str(error.value)
