# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(parse_ipvsadm)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _ipvs

DOCUMENTATION = r"""
name: parse_ipvsadm
short_description: Virtual and real servers of an IPVS table in text form
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Reads the output of C(ipvsadm -Ln), with or without C(-n), and the text of C(/proc/net/ip_vs), whose numbers are hexadecimal.
  - Which of the two it is follows from the text itself.
  - A line that cannot be read is reported in C(errors) and adds nothing to the result.
options:
  _input:
    description: The text.
    type: str
    required: true
seealso:
  - module: baremetal.kubernetes.ipvs_status
"""

EXAMPLES = r"""
- name: Virtual servers without any real server
  ansible.builtin.debug:
    msg: "{{ (listing | baremetal.kubernetes.parse_ipvsadm).services | selectattr('destinations', 'equalto', []) }}"
"""

RETURN = r"""
_value:
  description: What the table holds.
  type: dict
  contains:
    services:
      description:
        - Virtual servers in the order of the text, each with its C(destinations).
        - C(protocol) is V(TCP), V(UDP), V(SCTP) or, for a firewall mark, V(FWM); then C(fwmark) is set instead of C(address) and C(port).
        - C(flags) is the text behind the scheduler; what is known of it is also in C(persistent), C(persistent_timeout) (seconds, from ipvsadm
          only), C(persistent_ticks) (of the kernel, from C(/proc/net/ip_vs) only), C(persistent_mask), C(persistence_engine), C(one_packet) and
          C(scheduler_flags).
      type: list
      elements: dict
    errors:
      description: Lines that cannot be read, each with the reason.
      type: list
      elements: str
  sample:
    services:
      - protocol: TCP
        address: 10.96.0.1
        port: 443
        fwmark: null
        ipv6: false
        scheduler: rr
        flags: ""
        persistent: false
        persistent_timeout: null
        persistent_ticks: null
        persistent_mask: null
        persistence_engine: null
        one_packet: false
        scheduler_flags: []
        destinations:
          - {address: 192.0.2.11, port: 6443, forward: Masq, weight: 1, active: 3, inactive: 0}
    errors: []
"""


def parse_ipvsadm(text: t.Any) -> t.Dict[str, t.List[t.Any]]:
    """Check the type, leave the rest to the parser of the module."""
    if not isinstance(text, str):
        raise AnsibleFilterError(f"parse_ipvsadm: the input is of type {type(text).__name__}, but must be text.")
    return _ipvs.parse_ipvsadm(text)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"parse_ipvsadm": parse_ipvsadm}
