# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(preflight_table)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _preflight_report
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: preflight_table
short_description: A preflight report as a short table, worst first
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Turns the result of P(baremetal.kubernetes.preflight_report#filter) into lines of text. What is wrong in the same way on several hosts is one
    row. The last line is the verdict.
positional: most
options:
  _input:
    description: The report.
    type: dict
    required: true
  most:
    description: Most rows; the number of those left out is said.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Show the report
  ansible.builtin.debug:
    msg: "{{ report | baremetal.kubernetes.preflight_table }}"
"""

RETURN = r"""
_value:
  description: Lines of at most 118 characters, if words and names are no longer.
  type: list
  elements: str
"""


def preflight_table(report: t.Any, most: t.Any = 30) -> t.List[str]:
    """Build it."""
    return _preflight_report.console(plain(report), int(most))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"preflight_table": preflight_table}
