# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(edge_checks)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _edge_checks
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: edge_checks
short_description: What all nodes together found out about the ingress controller
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Puts the results of modules M(baremetal.kubernetes.ingress_traffic) and M(baremetal.kubernetes.nginx_workers) of all nodes together.
  - That a node has no workers of NGINX is a finding only where a pod of the controller should be. Each pod must have been looked at by a
    node.
  - What a node did not report is V(unknown). Where its C(requests) were skipped, a note says so, as long as another host asked.
positional: prepared, clients
options:
  _input:
    description:
      - C(serve), C(requests) and C(workers), each a dict of inventory name to result of the module there; empty where there is none.
    type: dict
    required: true
  prepared:
    description: Result of C(action=prepare).
    type: dict
    required: true
  clients:
    description: Name to result of C(action=request) on hosts outside of the cluster.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Judge all nodes together
  ansible.builtin.debug:
    msg: "{{ results | baremetal.kubernetes.edge_checks(prepared) }}"
  vars:
    results:
      serve: {w1: "{{ served }}"}
      requests: {w1: "{{ requests }}"}
      workers: {w1: "{{ workers }}"}
"""

RETURN = r"""
_value:
  description: The findings.
  type: dict
  contains:
    cluster:
      description: Findings about the controller, and of clients outside of the cluster with the client's name at the end of C(id).
      type: list
      elements: dict
    hosts:
      description: Per node its findings.
      type: dict
    notes:
      description: What was not tried and why, a sentence each.
      type: list
      elements: str
"""


def edge_checks(results: t.Any, prepared: t.Any, clients: t.Any = None) -> t.Dict[str, t.Any]:
    """Put together; an error becomes one of Ansible's with the name of the filter in front."""
    results, prepared, clients = plain(results), plain(prepared), plain(clients or {})
    if not all(isinstance(item, dict) for item in (results, prepared, clients)):
        raise AnsibleFilterError("edge_checks: the input, prepared and clients must be dicts.")
    try:
        return _edge_checks.edge_checks(results, prepared, clients)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"edge_checks: {type(error).__name__}: {error}.") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"edge_checks": edge_checks}
