# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(vip_checks)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _vip_checks
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: vip_checks
short_description: Judge over all nodes who answers for load balancers' addresses
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Takes what module M(baremetal.kubernetes.vip_owners) heard on every node. Exactly one MAC address has to answer for an address, and
    it has to be that of the node that announces it. A node that announces it does not hear itself.
  - Nodes in whose network the address is not are left out, unless it is in nobody's.
  - For BGP, routes that were read on routers have to lead to nodes.
positional: vips, node_ips
options:
  _input:
    description: Inventory name of each node that asked to the result of module M(baremetal.kubernetes.vip_owners).
    type: dict
    required: true
  vips:
    description: RV(baremetal.kubernetes.metallb_status#module:vips) of module M(baremetal.kubernetes.metallb_status).
    type: list
    elements: dict
    required: true
  node_ips:
    description: Inventory name of each node of the cluster to its node IP.
    type: dict
    required: true
  routes:
    description: Results of C(ip -j route show match ADDRESS), each with C(item), a list of the router's inventory name and the address.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: One owner for each address
  ansible.builtin.assert:
    that: checks | selectattr('status', 'equalto', 'fail') | length == 0
    fail_msg: "{{ checks }}"
  vars:
    checks: "{{ owners | baremetal.kubernetes.vip_checks(status.vips, cluster_node_ips) }}"
"""

RETURN = r"""
_value:
  description: Findings C(vip_owner/POOL) and C(vip_route/POOL/OBSERVER).
  type: list
  elements: dict
  contains:
    id:
      description: What was looked at.
      type: str
    status:
      description: C(pass), C(fail) or C(unknown).
      type: str
    observed:
      description: What was seen.
      type: str
    wanted:
      description: What should be seen.
      type: str
    fix:
      description: What to do. Empty when there is nothing to do.
      type: str
  sample:
    - id: vip_owner/default
      status: pass
      observed: 52:54:00:12:34:56 (w1), heard by cp1
      wanted: one MAC address that answers for 192.0.2.200, that of w1
      fix: ""
"""


def vip_checks(
    results: t.Mapping[str, t.Any],
    vips: t.Sequence[t.Mapping[str, t.Any]],
    node_ips: t.Mapping[str, str],
    routes: t.Sequence[t.Mapping[str, t.Any]] = (),
) -> t.List[t.Dict[str, str]]:
    """Judge; an error becomes one of Ansible's with the name of the filter in front."""
    try:
        return plain(_vip_checks.vip_checks(plain(results), plain(vips), plain(node_ips), plain(routes)))
    except KeyError as error:
        raise AnsibleFilterError(f"vip_checks: {error} is missing.") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"vip_checks: {error}.") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"vip_checks": vip_checks}
