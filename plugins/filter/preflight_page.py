# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(preflight_page)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _preflight_page
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: preflight_page
short_description: What the HTML page of a preflight report shows
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Turns the result of P(baremetal.kubernetes.preflight_report#filter) into what C(roles/preflight/templates/report.html.j2) shows, with the
    geometry of the charts.
  - Every text is escaped for HTML, because Ansible's templates do not do that and texts come from nodes.
options:
  _input:
    description: The report.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the page of an older report again
  ansible.builtin.template:
    src: report.html.j2
    dest: preflight.html
    mode: "0644"
  vars:
    page: "{{ lookup('ansible.builtin.file', 'preflight.json') | from_json | baremetal.kubernetes.preflight_page }}"
"""

RETURN = r"""
_value:
  description: Data of the template.
  type: dict
"""


def preflight_page(report: t.Any) -> t.Dict[str, t.Any]:
    """Build it."""
    return _preflight_page.page(plain(report))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"preflight_page": preflight_page}
