# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(preflight_severity_problems)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _preflight_report
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: preflight_severity_problems
short_description: What is wrong with a list of lowered severities
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Only a failure of a check that exists can be lowered, and only to V(warn).
options:
  _input:
    description: Check id to V(warn).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse severities that do not exist
  ansible.builtin.assert:
    that: preflight_severity | baremetal.kubernetes.preflight_severity_problems | length == 0
"""

RETURN = r"""
_value:
  description: One sentence for each thing that is wrong.
  type: list
  elements: str
  sample: []
"""


def preflight_severity_problems(severity: t.Any) -> t.List[str]:
    """Look at all of them."""
    return _preflight_report.severity_problems(plain(severity))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"preflight_severity_problems": preflight_severity_problems}
