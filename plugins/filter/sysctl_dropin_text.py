# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(sysctl_dropin_text)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._sysctl import SysctlError, dropin_text, make_settings
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: sysctl_dropin_text
short_description: The file that module sysctl_dropin writes
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Returns the text of the file without contacting a host.
  - The one difference to a node is a C(min_only) key of which the node's kernel has more by itself. There the line is only a comment.
options:
  _input:
    description: The settings, as the option of that name of M(baremetal.kubernetes.sysctl_dropin) takes them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show a file
  ansible.builtin.debug:
    msg: "{{ [{'key': 'net.ipv4.ip_forward', 'value': 1}] | baremetal.kubernetes.sysctl_dropin_text }}"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""


def sysctl_dropin_text(settings: t.Any) -> str:
    """Render the file."""
    try:
        return dropin_text(make_settings(plain(settings)))
    except SysctlError as error:
        raise AnsibleFilterError(f"sysctl_dropin_text: {error}") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"sysctl_dropin_text": sysctl_dropin_text}
