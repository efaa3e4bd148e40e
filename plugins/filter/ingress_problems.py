# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(ingress_problems)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _ingress_problems
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: ingress_problems
short_description: What is wrong with the settings of an ingress controller
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Checks the settings of role C(ingress) and returns one sentence for each thing that cannot work, or for each that should be known.
  - No host is contacted.
positional: severity
extends_documentation_fragment:
  - baremetal.kubernetes.ingress
  - baremetal.kubernetes.problems
"""

EXAMPLES = r"""
- name: Refuse settings that cannot work
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems }}"
  vars:
    problems: "{{ _ingress_settings | baremetal.kubernetes.ingress_problems }}"
"""

RETURN = r"""
_value:
  description: The sentences; empty if there is nothing to say.
  type: list
  elements: str
  sample:
    - >-
      ingress_config.worker-connections is a key of NGINX Ingress Controller and not of ingress-nginx, which ignores it without a word; take
      max-worker-connections, or better ingress_tuning.worker_connections.
"""


def ingress_problems(settings: t.Mapping[str, t.Any], severity: str = "problem") -> t.List[str]:
    """Collect the sentences of one severity."""
    with filter_errors("ingress_problems"):
        return _ingress_problems.ingress_problems(plain(settings), severity)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"ingress_problems": ingress_problems}
