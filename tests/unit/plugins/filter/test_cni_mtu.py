# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes that encapsulations take."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.filter.cni_mtu import cni_mtu
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("mtu", "encapsulation", "version", "left"),
    [
        (1500, "none", 4, 1500),
        (1500, "vxlan", 4, 1450),
        (1500, "vxlan", 6, 1430),
        (1500, "geneve", 4, 1450),
        (1500, "ipip", 4, 1480),
        (1500, "ipip", 6, 1460),
        (1500, "wireguard", 4, 1440),
        (1500, "wireguard", 6, 1420),
        (9000, "vxlan", 4, 8950),
        ("1500", "vxlan", "6", 1430),
        (1500, ["vxlan", "wireguard"], 4, 1390),
        (1500, [], 4, 1500),
    ],
)
def test_known_numbers(mtu: object, encapsulation: object, version: object, left: int) -> None:
    assert cni_mtu(mtu, encapsulation, version) == left


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("jumbo",), "must be numbers"),
        ((1500, "gre"), "the encapsulation is 'gre', but must be one of geneve, ipip, none, vxlan, wireguard"),
        ((1500, "vxlan", 5), "ip_version is 5, but must be 4 or 6"),
        ((70000,), "a network with IPv4 has 576 to 65535"),
        ((1279, "none", 6), "a network with IPv6 has 1280 to 65535"),
        ((600, "vxlan"), "leaves 550 bytes behind vxlan, but pods with IPv4 need at least 576"),
        # the kernel takes IPv6 off an interface with less
        ((1349, "vxlan", 6), "leaves 1279 bytes behind vxlan, but pods with IPv6 need at least 1280"),
        ((True,), "the MTU is True"),
    ],
)
def test_refusals(arguments: tuple, message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        cni_mtu(*arguments)
    assert message in str(caught.value)


@given(st.integers(1280 + 3 * 80, 65535), st.lists(st.sampled_from(["none", "ipip", "vxlan", "geneve", "wireguard"]), max_size=3), st.sampled_from([4, 6]))
def test_layers_only_take_and_their_order_does_not_matter(mtu: int, layers: list[str], version: int) -> None:
    left = cni_mtu(mtu, layers, version)
    assert left <= mtu
    assert left == cni_mtu(mtu, list(reversed(layers)), version)
    assert cni_mtu(mtu, layers, 6) <= cni_mtu(mtu, layers, 4)
