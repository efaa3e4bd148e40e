# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(cilium_problems)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cilium
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: cilium_problems
short_description: Everything that is wrong with the settings of role cni_cilium
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - One sentence for each of the settings that filters P(baremetal.kubernetes.cilium_values#filter) and
    P(baremetal.kubernetes.cilium_resources#filter) refuse, so that all are told at once and before any host is touched.
  - The settings of the cluster itself are judged by filter P(baremetal.kubernetes.cluster_problems#filter).
options:
  _input:
    description: The settings, as both filters take them.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse settings that cannot work
  ansible.builtin.assert:
    that: settings | baremetal.kubernetes.cilium_problems | length == 0
    fail_msg: "{{ settings | baremetal.kubernetes.cilium_problems }}"
"""

RETURN = r"""
_value:
  description: The sentences; empty if there is nothing to say. No password is in them.
  type: list
  elements: str
  sample:
    - "cni_cilium_load_balancer is 'bgp', but there are no addresses to hand out; set cluster_load_balancer_ranges."
"""


def cilium_problems(settings: t.Mapping[str, t.Any]) -> t.List[str]:
    """Collect the sentences; a setting that is missing is a mistake of the caller."""
    with filter_errors("cilium_problems", others=()):
        return [f"{problem}." for problem in _cilium.cilium_problems(plain(settings))]


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"cilium_problems": cilium_problems}
