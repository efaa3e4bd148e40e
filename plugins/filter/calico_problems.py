# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(calico_problems)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _calico
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: calico_problems
short_description: Everything that is wrong with the settings of Calico
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Finds, before any host is touched, what P(baremetal.kubernetes.calico_values#filter) and P(baremetal.kubernetes.calico_resources#filter)
    would refuse. They end with the first fault; here all are told. The rules are the same code.
options:
  _input:
    description: The description, as O(baremetal.kubernetes.calico_values#filter:_input).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse settings that cannot work
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems }}"
  vars:
    problems: "{{ calico_settings | baremetal.kubernetes.calico_problems }}"
"""

RETURN = r"""
_value:
  description: The sentences, by the names of the variables of role cni_calico; empty if there is nothing to say.
  type: list
  elements: str
  sample:
    - cni_calico_block_size is 14, but must be a number from 20 to 32.
"""


def calico_problems(settings: t.Any) -> t.List[str]:
    """Collect; an error becomes one of Ansible's with the name of the filter in front."""
    try:
        return _calico.problems(plain(settings))
    except (ValueError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"calico_problems: {error}.") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"calico_problems": calico_problems}
