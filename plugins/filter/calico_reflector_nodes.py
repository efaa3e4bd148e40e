# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(calico_reflector_nodes)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _calico
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: calico_reflector_nodes
short_description: Node objects that make some nodes Calico's route reflectors, and the others none
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - A reflector has the annotation C(projectcalico.org/RouteReflectorClusterID) and the label C(route-reflector=true).
  - All nodes are part of the result. Server-side apply removes label and annotation from those without, where the same field manager had
    set them.
  - With the UID of each node, so that one that was removed in the meantime is not made again.
positional: settings
options:
  _input:
    description: Nodes as module M(baremetal.kubernetes.calico_nodes) returns them; C(name), C(uid) and C(addresses) are read.
    type: list
    elements: dict
    required: true
  settings:
    description: The description, as O(baremetal.kubernetes.calico_values#filter:_input).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Make the reflectors
  baremetal.kubernetes.kube_apply:
    objects: "{{ nodes | baremetal.kubernetes.calico_reflector_nodes(calico_settings) }}"
"""

RETURN = r"""
_value:
  description: Objects for O(baremetal.kubernetes.kube_apply#module:objects).
  type: list
  elements: dict
  sample:
    - apiVersion: v1
      kind: Node
      metadata:
        name: cp1
        uid: 3f4c1d0e-0000-4000-8000-000000000001
        labels: {route-reflector: "true"}
        annotations: {projectcalico.org/RouteReflectorClusterID: 244.0.0.1}
    - apiVersion: v1
      kind: Node
      metadata: {name: w1, uid: 3f4c1d0e-0000-4000-8000-000000000002}
"""


def calico_reflector_nodes(nodes: t.Any, settings: t.Any) -> t.List[t.Dict[str, t.Any]]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    try:
        return _calico.reflector_nodes(plain(settings), plain(nodes))
    except (ValueError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"calico_reflector_nodes: {error}.") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"calico_reflector_nodes": calico_reflector_nodes}
