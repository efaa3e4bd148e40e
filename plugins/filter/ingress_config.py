# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(ingress_config)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _ingress
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: ingress_config
short_description: Data of the ConfigMap of an ingress controller
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Takes the options of the tuning and gives the ConfigMap's data, texts only, as the controller wants them.
  - What F5's controller has no key for is in C(http-snippets).
positional: controller, config
extends_documentation_fragment:
  - baremetal.kubernetes.ingress.tuning
  - baremetal.kubernetes.ingress.controller
"""

EXAMPLES = r"""
- name: The ConfigMap of F5's controller
  ansible.builtin.debug:
    msg: "{{ 'default' | baremetal.kubernetes.ingress_settings({}, 'nginx') | baremetal.kubernetes.ingress_config('nginx') }}"
"""

RETURN = r"""
_value:
  description: Texts by key.
  type: dict
  sample:
    keepalive-timeout: 75s
    keepalive-requests: "1000"
"""


def ingress_config(settings: t.Mapping[str, t.Any], controller: str, config: t.Optional[t.Mapping[str, t.Any]] = None) -> t.Dict[str, str]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    with filter_errors("ingress_config"):
        return plain(_ingress.ingress_config(plain(settings), controller, plain(config or {})))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"ingress_config": ingress_config}
