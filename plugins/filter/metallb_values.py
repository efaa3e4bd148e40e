# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(metallb_values)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _metallb
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: metallb_values
short_description: Values of MetalLB's chart
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Values of chart C(metallb) 0.16 for the settings of a cluster.
options:
  _input:
    description: The settings.
    type: dict
    required: true
    suboptions:
      mode:
        description: How BGP is spoken, V(frr-k8s) or V(native).
        type: str
        required: true
      ignore_exclude_label:
        description: Whether nodes with the label C(node.kubernetes.io/exclude-from-external-load-balancers) announce too.
        type: bool
        required: true
      workers:
        description: Whether the cluster has workers. Without them the controller tolerates the taint of control planes.
        type: bool
        required: true
      extra:
        description: Values that are merged last.
        type: dict
        required: true
"""

EXAMPLES = r"""
- name: Values for MetalLB's own BGP, or none
  ansible.builtin.debug:
    msg: "{{ {'mode': 'native', 'ignore_exclude_label': false, 'workers': true, 'extra': {}} | baremetal.kubernetes.metallb_values }}"
"""

RETURN = r"""
_value:
  description: The values.
  type: dict
  sample:
    frrk8s: {enabled: false}
    speaker: {frr: {enabled: false}, ignoreExcludeLB: false}
"""


def metallb_values(settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    with filter_errors("metallb_values"):
        return plain(_metallb.metallb_values(plain(settings)))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"metallb_values": metallb_values}
