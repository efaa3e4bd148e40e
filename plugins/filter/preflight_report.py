# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(preflight_report)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _preflight_report
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: preflight_report
short_description: Merge what the preflight found into one report
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Takes the results of M(baremetal.kubernetes.node_preflight) and M(baremetal.kubernetes.fio_fdatasync) of all hosts, and what
    P(baremetal.kubernetes.cross_node_checks#filter) and P(baremetal.kubernetes.matrix_checks#filter) made of them, and returns the content of
    C(preflight.json). C(roles/preflight/files/preflight.schema.json) is its schema.
  - The verdict is that of the worst finding; V(unknown) is worse than V(warn) and never becomes V(pass). A host that did not answer, and the
    disk of a control plane that was not measured, are findings of their own.
options:
  _input:
    description: What was found, and in which cluster.
    type: dict
    required: true
    suboptions:
      cluster:
        description: Name of the cluster.
        type: str
      created:
        description: When it was looked at, as the report is to show it.
        type: str
      kubernetes_version:
        description: Release of Kubernetes.
        type: str
      cni:
        description: Pod network.
        type: str
      proxy_mode:
        description: Mode of kube-proxy.
        type: str
      severity:
        description: Failures to lower, check id to V(warn). An unknown id or another value is refused.
        type: dict
        default: {}
      limit_ms:
        description: Limit of the p99 of fdatasync in milliseconds, for the chart.
        type: float
      warn_ms:
        description: The p99 of fdatasync in milliseconds from which a warning is given.
        type: float
      control_plane:
        description: Names of the control planes.
        type: list
        elements: str
      workers:
        description: Names of the workers.
        type: list
        elements: str
      node_ips:
        description: Name to address.
        type: dict
      nodes:
        description: Name to result of M(baremetal.kubernetes.node_preflight). A host without one has not answered.
        type: dict
      disks:
        description: Name to result of M(baremetal.kubernetes.fio_fdatasync).
        type: dict
      cross:
        description: What P(baremetal.kubernetes.cross_node_checks#filter) returned.
        type: dict
      matrix:
        description: What P(baremetal.kubernetes.matrix_checks#filter) returned; V(null) if the network was not measured.
        type: dict
      throughput:
        description: Name to result of M(baremetal.kubernetes.network_throughput).
        type: dict
"""

EXAMPLES = r"""
- name: Show what to do first
  ansible.builtin.debug:
    msg: "{{ (found | baremetal.kubernetes.preflight_report).next | first }}"
"""

RETURN = r"""
_value:
  description: The report.
  type: dict
  contains:
    schema:
      description: Version of this structure.
      type: int
      sample: 1
    verdict:
      description: Worst status of all findings, V(pass), V(warn), V(unknown) or V(fail).
      type: str
      sample: fail
    counts:
      description: Number of findings of each status, after lowering.
      type: dict
      sample: {pass: 61, warn: 2, unknown: 0, fail: 1}
    lowered:
      description: Failures that count as warnings, each with C(id), C(host), C(from) and C(to).
      type: list
      elements: dict
    next:
      description:
        - All findings that are no pass, in the order in which to mend them, each with C(host), C(id), C(status), C(observed), C(wanted) and C(fix).
        - C(host) is V(cluster) for what is about several nodes.
      type: list
      elements: dict
    hosts:
      description: Each host with C(groups), C(node_ip), C(status), C(checks) (worst first), C(facts) and C(fio).
      type: dict
    cluster_checks:
      description: Findings about several nodes, worst first.
      type: list
      elements: dict
    matrix:
      description: What was measured between each two nodes; V(null) for one node, or if it was not measured.
      type: dict
    throughput:
      description: Throughput of the pairs that were tried, each with C(from), C(to), C(mbit) (Mbit/s) and C(retransmits).
      type: list
      elements: dict
"""


def preflight_report(found: t.Any) -> t.Dict[str, t.Any]:
    """Build it."""
    if not isinstance(found, t.Mapping):
        raise AnsibleFilterError(f"preflight_report: the input is {found!r}, but must be a dict.")
    try:
        return _preflight_report.build(plain(found))
    except _preflight_report.ReportError as error:
        raise AnsibleFilterError(f"preflight_report: {error}") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"preflight_report": preflight_report}
