# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(cross_node_checks)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cross_node
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: cross_node_checks
short_description: What only shows when the nodes of a cluster are compared
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Compares the results of module M(baremetal.kubernetes.node_preflight) of all nodes. It looks for machine-ids, product_uuids, MAC addresses,
    hostnames and node IPs that two nodes share, for different MTUs, and for routes and name servers inside of the cluster's ranges.
  - What is not known of a node is V(unknown), never a double and never a pass.
  - Routes of the cluster's own interfaces do not count, nor do a member's routes to pods by other nodes.
positional: settings
options:
  _input:
    description: Inventory name to result of the module. A host without a result (V({})) is unknown everywhere.
    type: dict
    required: true
  settings:
    description: The cluster.
    type: dict
    required: true
    suboptions:
      cni:
        description: Pod network; with V(bridge) all nodes must be in one network.
        type: str
        default: ""
      pod_cidr:
        description: Pod network.
        type: str
        default: ""
      service_cidr:
        description: Service network.
        type: str
        default: ""
      load_balancer_ranges:
        description: Ranges of load balancer addresses.
        type: list
        elements: str
        default: []
"""

EXAMPLES = r"""
- name: Show what two nodes share
  ansible.builtin.debug:
    msg: "{{ results | baremetal.kubernetes.cross_node_checks({'cni': 'calico', 'pod_cidr': '10.244.0.0/16', 'service_cidr': '10.96.0.0/12'}) }}"
"""

RETURN = r"""
_value:
  description: The findings, worst first.
  type: dict
  contains:
    cluster:
      description: Findings about several nodes, each with C(id), C(status), C(observed), C(wanted), C(fix) and C(hosts), the nodes it is about.
      type: list
      elements: dict
    hosts:
      description: Per node its findings with C(id), C(status), C(observed), C(wanted) and C(fix).
      type: dict
"""


def cross_node_checks(results: t.Any, settings: t.Any) -> t.Dict[str, t.Any]:
    """Compare; an error becomes one of Ansible's with the name of the filter in front."""
    results, settings = plain(results), plain(settings)
    if not isinstance(results, dict) or not isinstance(settings, dict):
        raise AnsibleFilterError("cross_node_checks: the input and the settings must be dicts.")
    try:
        return _cross_node.cross_node_checks(results, settings)
    except (ValueError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"cross_node_checks: {error}.") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"cross_node_checks": cross_node_checks}
