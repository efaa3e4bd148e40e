# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(ingress_values)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _ingress_chart
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: ingress_values
short_description: Values of the Helm chart of an ingress controller
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Takes the settings of role C(ingress) and gives the values of chart C(nginx-ingress) 2.6 (F5) or C(ingress-nginx) 4.15.
extends_documentation_fragment:
  - baremetal.kubernetes.ingress
"""

EXAMPLES = r"""
- name: Values of the chart
  ansible.builtin.debug:
    msg: "{{ _ingress_settings | baremetal.kubernetes.ingress_values }}"
"""

RETURN = r"""
_value:
  description: Values for the chart.
  type: dict
  sample:
    controller:
      kind: deployment
      replicaCount: 2
"""


def ingress_values(settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    with filter_errors("ingress_values"):
        return plain(_ingress_chart.ingress_values(plain(settings)))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"ingress_values": ingress_values}
