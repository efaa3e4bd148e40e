# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(cluster_problems)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.filter.node_ips import node_ips
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cluster
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain
from jinja2.exceptions import UndefinedError

DOCUMENTATION = r"""
name: cluster_problems
short_description: What is wrong with the settings of a cluster
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Checks all settings of role C(cluster) and the inventory, and returns one sentence for each thing that cannot work. It names the
    variable, its value, the rule and what to do.
  - Nothing is resolved and no host is contacted.
positional: hostvars, groups
extends_documentation_fragment:
  - baremetal.kubernetes.problems
options:
  _input:
    description: The variables of role C(cluster) by their names.
    type: dict
    required: true
  hostvars:
    description: The variable C(hostvars).
    type: dict
    required: true
  groups:
    description: The variable C(groups); C(control_plane), C(workers) and C(kubernetes) are read.
    type: dict
    required: true
  for_install:
    description: Whether to ask also for what only an installation needs, and not the rendering of files.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse settings that cannot work
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems }}"
  vars:
    problems: "{{ settings | baremetal.kubernetes.cluster_problems(hostvars, groups) }}"
"""

RETURN = r"""
_value:
  description: The sentences; empty if there is nothing to say.
  type: list
  elements: str
  sample:
    - >-
      cluster_pod_cidr is '10.96.0.0/16', but cluster_service_cidr is '10.96.0.0/12' and both hold 10.96.0.0-10.96.255.255;
      change one so that they share no address.
"""


def _own_settings(variables: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """What one host says about the settings that must be the same everywhere."""
    found = {}
    for name in _cluster.SAME_EVERYWHERE:
        try:
            if name in variables:
                found[name] = plain(variables[name])
        except UndefinedError:
            # Ansible leaves hostvars out of hostvars: a value made with it cannot be read from another host, nor compared.
            continue
    return found


def cluster_problems(
    settings: t.Any,
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    groups: t.Mapping[str, t.Sequence[str]],
    for_install: bool = False,
    severity: str = "problem",
) -> t.List[str]:
    """Collect the sentences of one severity."""
    if not isinstance(settings, t.Mapping):
        raise AnsibleFilterError(f"cluster_problems: the input is {settings!r}, but must be a dict of variables.")
    if severity not in ("problem", "notice"):
        raise AnsibleFilterError(f"cluster_problems: severity is {severity!r}, but must be problem or notice.")
    control_plane = plain(groups.get("control_plane", []))
    workers = plain(groups.get("workers", []))
    hosts = list(dict.fromkeys([*control_plane, *workers]))
    host_settings: t.Dict[str, t.Dict[str, t.Any]] = {}
    for host in hosts:
        host_settings[host] = _own_settings(hostvars[host])
    problems, notices = _cluster.check(
        plain(settings),
        control_plane,
        workers,
        plain(node_ips(hosts, hostvars)),
        for_install=bool(for_install),
        kubernetes=plain(groups.get("kubernetes", [])),
        host_settings=host_settings,
    )
    return problems if severity == "problem" else notices


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"cluster_problems": cluster_problems}
