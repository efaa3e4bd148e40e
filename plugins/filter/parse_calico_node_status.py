# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(parse_calico_node_status)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _calico_status

DOCUMENTATION = r"""
name: parse_calico_node_status
short_description: BGP peers in the text that calicoctl node status printed
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Reads the output of C(calicoctl node status) of all versions since 1.x, and of C(calico-node -show-status).
  - Give it standard output and standard error together, as newer versions say on the latter that Calico does not run.
  - A cell that was wrapped over lines is put together with one blank. A line that should be a peer and cannot be read is reported in
    C(errors) and adds nothing to the result.
  - The text does not tell which peers there should be. Module M(baremetal.kubernetes.calico_node_status) compares.
options:
  _input:
    description: The text.
    type: str
    required: true
seealso:
  - module: baremetal.kubernetes.calico_node_status
"""

EXAMPLES = r"""
- name: Peers that are not up
  ansible.builtin.debug:
    msg: "{{ status.ipv4 | rejectattr('state', 'equalto', 'up') + status.ipv4 | rejectattr('info', 'equalto', 'Established') }}"
  vars:
    status: "{{ (saved.stdout ~ '\n' ~ saved.stderr) | baremetal.kubernetes.parse_calico_node_status }}"
"""

RETURN = r"""
_value:
  description: What the text says.
  type: dict
  contains:
    running:
      description: Whether Calico runs, null when the text does not say.
      type: bool
    ipv4:
      description:
        - Peers in the order of the text, each with C(peer_address), C(peer_type), C(state), C(since) and C(info), all as printed.
        - A port other than 179 is part of the address, as in C(192.0.2.1.port.1790).
        - A peer is up when C(state) is V(up) and C(info) is exactly V(Established).
      type: list
      elements: dict
    ipv6:
      description: The same for IPv6.
      type: list
      elements: dict
    errors:
      description: What the text says is wrong, and lines that cannot be read, each with the reason.
      type: list
      elements: str
  sample:
    running: true
    ipv4:
      - {peer_address: 192.0.2.12, peer_type: node-to-node mesh, state: up, since: "12:00:01", info: Established}
    ipv6: []
    errors: []
"""


def parse_calico_node_status(text: t.Any) -> t.Dict[str, t.Any]:
    """Check the type, leave the rest to the parser of the module."""
    if not isinstance(text, str):
        raise AnsibleFilterError(f"parse_calico_node_status: the input is of type {type(text).__name__}, but must be text.")
    return _calico_status.parse_calico_node_status(text)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"parse_calico_node_status": parse_calico_node_status}
