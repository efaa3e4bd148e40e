# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(ingress_directives)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _ingress
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: ingress_directives
short_description: The directives of nginx.conf that result from the tuning of an ingress controller
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Takes the options of the tuning and gives the directives by the block that they stand in. C(main) is outside of all blocks.
  - What the controller decides itself is left out, such as the number of workers that ingress-nginx counts.
  - Directives of C(server), C(location) and C(upstream) are there only when there is an Ingress object.
positional: controller, config
extends_documentation_fragment:
  - baremetal.kubernetes.ingress.tuning
  - baremetal.kubernetes.ingress.controller
"""

EXAMPLES = r"""
- name: What has to be in nginx.conf
  ansible.builtin.debug:
    msg: "{{ 'default' | baremetal.kubernetes.ingress_settings({}, 'nginx') | baremetal.kubernetes.ingress_directives('nginx') }}"
"""

RETURN = r"""
_value:
  description: Values by directive by block; a list for a directive that stands there once for each.
  type: dict
  sample:
    main:
      worker_processes: auto
    http:
      keepalive_timeout: 75s
    server:
      set_real_ip_from: [192.0.2.0/24]
"""


def ingress_directives(
    settings: t.Mapping[str, t.Any], controller: str, config: t.Optional[t.Mapping[str, t.Any]] = None
) -> t.Dict[str, t.Dict[str, t.Any]]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    with filter_errors("ingress_directives"):
        return plain(_ingress.ingress_directives(plain(settings), controller, plain(config or {})))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"ingress_directives": ingress_directives}
