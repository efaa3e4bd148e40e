# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(parse_fio)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _fio

DOCUMENTATION = r"""
name: parse_fio
short_description: How long fdatasync took, from the output of fio
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Reads what C(fio) prints, JSON or text. Which of the two it is follows from the text itself; other lines may stand around it.
  - Where there are several jobs, the one with the greatest 99th percentile counts.
  - The latency of the writes (C(clat)) is never taken for that of C(fdatasync). fio before 3.4 did not measure the latter.
options:
  _input:
    description: The text.
    type: str
    required: true
seealso:
  - module: baremetal.kubernetes.fio_fdatasync
"""

EXAMPLES = r"""
- name: Milliseconds in which 99 of 100 fdatasync calls ended
  ansible.builtin.debug:
    msg: "{{ (lookup('ansible.builtin.file', 'fio.json') | baremetal.kubernetes.parse_fio).p99_us / 1000 }}"
"""

RETURN = r"""
_value:
  description: What was measured. What was not is null.
  type: dict
  contains:
    p99_us:
      description:
        - 99th percentile of C(fdatasync), C(fsync) or C(sync_file_range) in microseconds.
        - Null when it was not measured, when fio or one of its jobs failed, and when the percentiles contradict each other.
      type: float
    percentiles_us:
      description: All percentiles in microseconds by rank, such as V(50) or V(99.9). Empty where C(p99_us) is null.
      type: dict
    iops:
      description: Writes per second, null when nothing was written.
      type: float
    samples:
      description: Number of calls that were measured, null where it does not follow from the text.
      type: int
    fio_version:
      description: Version of fio without the leading C(fio-).
      type: str
    errors:
      description: What fio says of failures, and what is wrong with the text.
      type: list
      elements: str
  sample:
    p99_us: 2376.0
    percentiles_us: {"50": 1220.608, "90": 1892.352, "99": 2376.0, "99.99": 8847.36}
    iops: 640.5
    samples: 10029
    fio_version: "3.33"
    errors: []
"""


def parse_fio(text: t.Any) -> t.Dict[str, t.Any]:
    """Check the type, leave the rest to the parser of the module."""
    if not isinstance(text, str):
        raise AnsibleFilterError(f"parse_fio: the input is of type {type(text).__name__}, but must be text.")
    return _fio.parse_fio(text)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"parse_fio": parse_fio}
