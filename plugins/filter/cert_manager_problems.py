# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(cert_manager_problems)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cert_manager
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: cert_manager_problems
short_description: What is wrong with the settings of cert-manager
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Returns one sentence for each thing that cannot work. It names the setting, its value, the rule and what to do, and never a secret.
  - No host is contacted.
extends_documentation_fragment:
  - baremetal.kubernetes.problems
options:
  _input:
    description: >-
      The settings, as filters P(baremetal.kubernetes.cert_manager_values#filter) and P(baremetal.kubernetes.cert_manager_resources#filter)
      take them.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse settings that cannot work
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems }}"
  vars:
    problems: "{{ settings | baremetal.kubernetes.cert_manager_problems }}"
"""

RETURN = r"""
_value:
  description: The sentences; empty if there is nothing to say.
  type: list
  elements: str
  sample:
    - type of issuer internal is 'CA', but must be one of acme, self_signed, ca.
"""


def cert_manager_problems(settings: t.Any, severity: str = "problem") -> t.List[str]:
    """Collect the sentences of one severity."""
    if not isinstance(settings, t.Mapping):
        raise AnsibleFilterError("cert_manager_problems: the input must be a dict of settings.")
    if severity not in ("problem", "notice"):
        raise AnsibleFilterError(f"cert_manager_problems: severity is {severity!r}, but must be problem or notice.")
    collect = _cert_manager.cert_manager_problems if severity == "problem" else _cert_manager.cert_manager_notices
    with filter_errors("cert_manager_problems", others=()):
        return collect(plain(settings))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"cert_manager_problems": cert_manager_problems}
