# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Which BGP sessions a node must have; computed as confd writes BIRD's configuration (projectcalico/calico, confd/pkg/backends/calico)."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _calico
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._calico import Address


class _Node(t.NamedTuple):
    name: str
    # of the IP versions that pods have: those of which Calico detects an address
    addresses: t.FrozenSet[Address]
    labels: t.Mapping[str, str]
    reflector: bool


def _nodes(items: t.Iterable[t.Mapping[str, t.Any]], settings: t.Mapping[str, t.Any]) -> t.List[_Node]:
    reflectors = _calico.reflectors(settings)
    versions = _calico.families(settings)
    found = []
    for item in items:
        every = [ipaddress.ip_address(address) for address in item["addresses"]]
        # of each version the first, as method NodeInternalIP does
        first = {version: next((address for address in every if address.version == version), None) for version in versions}
        found.append(
            _Node(item["name"], frozenset(address for address in first.values() if address), item["labels"], bool(reflectors & set(every)))
        )
    return found


def _same_version(own: t.Iterable[Address], others: t.Iterable[Address]) -> t.Set[Address]:
    versions = {address.version for address in own}
    return {address for address in others if address.version in versions}


def _configured(node: _Node, nodes: t.Sequence[_Node], settings: t.Mapping[str, t.Any]) -> t.Set[Address]:
    found: t.Set[Address] = set()
    for peer in _calico.routers(settings):
        address, chosen = ipaddress.ip_address(peer["address"]), _calico.peer_is_for(peer)
        if chosen(node.labels):
            found |= _same_version(node.addresses, {address}) - node.addresses
        if address in node.addresses and _calico.peer_as_number(peer) == _calico.as_number(settings):
            # A peer that is a node of the cluster gets the other half of the session by itself.
            found |= {other for item in nodes if chosen(item.labels) for other in item.addresses if other.version == address.version}
    return found - node.addresses


def expected(
    items: t.Iterable[t.Mapping[str, t.Any]], address: str, settings: t.Mapping[str, t.Any], mesh: t.Optional[bool] = None
) -> t.List[str]:
    """Addresses of all peers of the node with this address, sorted; none at all where Calico runs without BGP."""
    if not _calico.bgp_enabled(settings):
        return []
    nodes = _nodes(items, settings)
    wanted = ipaddress.ip_address(address)
    own = next((node for node in nodes if wanted in node.addresses), None)
    if own is None:
        known = ", ".join(sorted(node.name for node in nodes)) or "none"
        raise _calico.CalicoError(f"no node of the cluster has the address {address}; known are {known}")
    found = _configured(own, nodes, settings)
    for node in nodes:
        if node is own:
            continue
        # Between a reflector and anybody there is the session of the reflectors; a reflector takes no part in the mesh.
        if own.reflector or node.reflector or (_calico.mesh_wanted(settings) if mesh is None else mesh):
            found |= _same_version(own.addresses, node.addresses)
    return [str(item) for item in sorted(found, key=lambda item: (item.version, item))]
