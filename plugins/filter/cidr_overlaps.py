# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(cidr_overlaps)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._addresses import AddressError, overlaps, parse_range
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: cidr_overlaps
short_description: Which of several named networks and address ranges share addresses
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Compares each range with every other one, whichever comes first and whichever is larger.
  - A range is a network in CIDR notation, V(first-last), or one address, IPv4 or IPv6. A network with host bits is refused.
options:
  _input:
    description: Name to range, or name to list of ranges. Ranges of the same name are not compared with each other.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what overlaps
  ansible.builtin.debug:
    msg: >-
      {{ {'pods': '10.244.0.0/16', 'services': '10.96.0.0/12', 'load balancers': ['10.244.255.240-10.244.255.250']}
         | baremetal.kubernetes.cidr_overlaps }}
"""

RETURN = r"""
_value:
  description: One entry for each pair of ranges that share an address, in the order of the input; empty if none do.
  type: list
  elements: dict
  contains:
    first:
      description: Name of the range that comes first in the input.
      type: str
      sample: pods
    first_range:
      description: That range as it was given.
      type: str
      sample: 10.244.0.0/16
    second:
      description: Name of the other range.
      type: str
      sample: load balancers
    second_range:
      description: That range as it was given.
      type: str
      sample: 10.244.255.240-10.244.255.250
    shared:
      description: The addresses that are in both.
      type: str
      sample: 10.244.255.240-10.244.255.250
"""


def cidr_overlaps(named: t.Any) -> t.List[t.Dict[str, str]]:
    """Compare all ranges with each other."""
    if not isinstance(named, t.Mapping):
        raise AnsibleFilterError(f"cidr_overlaps: the input is {named!r}, but must be a dict of names and ranges.")
    pairs: t.List[t.Tuple[str, str]] = []
    for name, ranges in plain(named).items():
        for text in ranges if isinstance(ranges, list) else [ranges]:
            try:
                parse_range(text)
            except AddressError as error:
                raise AnsibleFilterError(f"cidr_overlaps: {name}: {text!r} {error}.") from None
            pairs.append((name, text))
    return [overlap._asdict() for overlap in overlaps(pairs)]


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"cidr_overlaps": cidr_overlaps}
