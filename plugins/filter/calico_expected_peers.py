# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(calico_expected_peers)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _calico_peers
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: calico_expected_peers
short_description: The BGP sessions that a node of a Calico cluster must have
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - The whole set, for O(baremetal.kubernetes.calico_node_status#module:expected_peers). With the mesh that is every other node but the
    route reflectors; a reflector has a session with every other node; and the configured peers whose C(node_selector) is for this node.
  - A configured peer that is a node of the cluster gets the other half of the session by itself, as Calico does it.
  - Empty where Calico runs without BGP, or where the node is alone.
positional: address, settings, mesh
options:
  _input:
    description: Nodes as module M(baremetal.kubernetes.calico_nodes) returns them; C(name), C(addresses) and C(labels) are read.
    type: list
    elements: dict
    required: true
  address:
    description: Address of the node in question.
    type: str
    required: true
  settings:
    description: The description, as O(baremetal.kubernetes.calico_values#filter:_input).
    type: dict
    required: true
  mesh:
    description: Whether the mesh is on in this step. If unset, it is as it shall be in the end.
    type: bool
"""

EXAMPLES = r"""
- name: Wait until this node has all of its BGP sessions
  baremetal.kubernetes.calico_node_status:
    expected_peers: "{{ nodes | baremetal.kubernetes.calico_expected_peers('192.0.2.11', calico_settings) }}"
"""

RETURN = r"""
_value:
  description: Addresses of the peers, IPv4 first.
  type: list
  elements: str
  sample: [192.0.2.12, 192.0.2.21]
"""


def calico_expected_peers(nodes: t.Any, address: t.Any, settings: t.Any, mesh: t.Optional[bool] = None) -> t.List[str]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    try:
        return _calico_peers.expected(plain(nodes), str(address), plain(settings), plain(mesh))
    except (ValueError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"calico_expected_peers: {error}.") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"calico_expected_peers": calico_expected_peers}
