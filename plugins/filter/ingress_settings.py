# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(ingress_settings)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _ingress
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: ingress_settings
short_description: The options of the tuning that result from a profile and what the user changes
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Takes the name of a profile and gives all options of C(ingress_tuning) with their values.
  - A key of the controller that is one of the options counts last, for both controllers in the same form.
positional: tuning, controller, config
extends_documentation_fragment:
  - baremetal.kubernetes.ingress.controller
options:
  _input:
    description: Name of the profile.
    type: str
    choices: [default, high-concurrency, streaming]
    required: true
  tuning:
    description: Options that count more than those of the profile.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Two minutes instead of the profile's 75 seconds
  ansible.builtin.debug:
    msg: "{{ 'high-concurrency' | baremetal.kubernetes.ingress_settings({'keepalive_timeout': 120}, 'nginx') }}"
"""

RETURN = r"""
_value:
  description: All options with their values.
  type: dict
  sample:
    keepalive_timeout: 120
    keepalive_requests: 1000
    worker_processes: auto
    worker_connections: 10240
"""


def ingress_settings(
    profile: str, tuning: t.Mapping[str, t.Any], controller: str, config: t.Optional[t.Mapping[str, t.Any]] = None
) -> t.Dict[str, t.Any]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    with filter_errors("ingress_settings"):
        return plain(_ingress.ingress_settings(profile, plain(tuning), controller, plain(config or {})))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"ingress_settings": ingress_settings}
