# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(modules_load_text)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kernel_modules import KernelModulesError, make_wanted, modules_load_text
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: modules_load_text
short_description: The file that module kernel_modules writes
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Returns the text of the file for modules-load.d(5) without contacting a host.
  - A node differs where its kernel lacks an optional module, or has a module under the name of another one.
options:
  _input:
    description: The modules, as the option of that name of M(baremetal.kubernetes.kernel_modules) takes them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show a file
  ansible.builtin.debug:
    msg: "{{ [{'name': 'br_netfilter'}] | baremetal.kubernetes.modules_load_text }}"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""


def modules_load(entries: t.Any) -> str:
    """Render the file."""
    try:
        return modules_load_text(make_wanted(plain(entries)), {})
    except KernelModulesError as error:
        raise AnsibleFilterError(f"modules_load_text: {error}") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"modules_load_text": modules_load}
