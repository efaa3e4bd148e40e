# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(calico_resources)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _calico
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: calico_resources
short_description: Calico's own objects, Secrets with passwords, and what has to be rolled out
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - FelixConfiguration and, where BGP is used, BGPConfiguration and a BGPPeer per peer, for module M(baremetal.kubernetes.kube_apply).
  - They are in the group in which Calico stores them, not behind Calico's own API server, which is reached over the network that they make.
  - Passwords are in RV(_value.secrets) only. The objects refer to them, and calico-node is allowed to read these Secrets and no others.
positional: mesh
options:
  _input:
    description: The description, as O(baremetal.kubernetes.calico_values#filter:_input).
    type: dict
    required: true
  mesh:
    description:
      - Whether the mesh of all nodes is on in this step. If unset, it is as it shall be in the end, off with route reflectors.
      - A mesh is turned off after the sessions that take its place are established, so this differs in between.
    type: bool
"""

EXAMPLES = r"""
- name: Apply Calico's objects, with the mesh still on
  vars:
    resources: "{{ calico_settings | baremetal.kubernetes.calico_resources(mesh=true) }}"
  baremetal.kubernetes.kube_apply:
    objects: "{{ resources.objects }}"
    secrets: "{{ resources.secrets }}"
"""

RETURN = r"""
_value:
  description: What to apply, and what to wait for.
  type: dict
  contains:
    objects:
      description: Objects for O(baremetal.kubernetes.kube_apply#module:objects).
      type: list
      elements: dict
    secrets:
      description: Secrets for O(baremetal.kubernetes.kube_apply#module:secrets).
      type: list
      elements: dict
    prune_kinds:
      description: Kinds of which no others shall be left, for O(baremetal.kubernetes.kube_apply#module:prune_kinds).
      type: list
      elements: str
    workloads:
      description: What has to be rolled out, for O(baremetal.kubernetes.kube_rollout#module:workloads).
      type: list
      elements: dict
    bgp:
      description: Whether BGP is used.
      type: bool
    mesh:
      description: Whether the mesh shall be on in the end.
      type: bool
    crds_from_operator:
      description: Whether the kinds are made by the operator when it starts, and not by its chart.
      type: bool
  sample:
    objects:
      - apiVersion: crd.projectcalico.org/v1
        kind: FelixConfiguration
        metadata: {name: default, labels: {app.kubernetes.io/managed-by: baremetal.kubernetes}}
        spec: {wireguardEnabled: false}
    secrets: []
    prune_kinds: [crd.projectcalico.org/v1/BGPPeer]
    workloads:
      - {kind: DaemonSet, namespace: calico-system, name: calico-node}
    bgp: true
    mesh: true
    crds_from_operator: true
"""


def calico_resources(settings: t.Any, mesh: t.Optional[bool] = None) -> t.Dict[str, t.Any]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    try:
        return _calico.resources(plain(settings), plain(mesh))
    except (ValueError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"calico_resources: {error}.") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"calico_resources": calico_resources}
