# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(config_drift)."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._cluster import duration_seconds

DOCUMENTATION = r"""
name: config_drift
short_description: Where a live configuration differs from the wanted one
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Compares the keys that are wanted; further keys of the live configuration, such as defaults the API server filled in,
    are no difference.
  - Durations are compared by their length, since Kubernetes writes V(900s) back as V(15m0s). An empty or null wanted
    value equals a missing one.
options:
  _input:
    description: The live configuration.
    type: dict
    required: true
  wanted:
    description: The wanted configuration.
    type: dict
    required: true
positional: wanted
"""

EXAMPLES = r"""
- name: Show in what kube-proxy's live configuration differs
  ansible.builtin.debug:
    msg: "{{ live | baremetal.kubernetes.config_drift(wanted) }}"
"""

RETURN = r"""
_value:
  description: One entry per difference, empty when there is none.
  type: list
  elements: dict
  contains:
    path:
      description: Keys from the top, joined by dots.
      type: str
    live:
      description: The live value, null if missing.
      type: raw
    wanted:
      description: The wanted value.
      type: raw
  sample: [{path: ipvs.scheduler, live: rr, wanted: wrr}]
"""


def _plain(value: t.Any) -> t.Any:
    """A value in the form in which two spellings of the same thing are equal."""
    seconds = duration_seconds(value)
    if seconds is not None:
        return ("duration", round(seconds * 10**9))
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _is_empty(value: t.Any) -> bool:
    return value is None or value == "" or value == [] or value == {}


def _walk(live: t.Any, wanted: t.Any, path: tuple[str, ...]) -> t.Iterator[dict[str, t.Any]]:
    if isinstance(wanted, Mapping) and wanted:
        for key, value in wanted.items():
            below = live.get(key) if isinstance(live, Mapping) else None
            yield from _walk(below, value, (*path, str(key)))
    elif _plain(live) != _plain(wanted) and not (_is_empty(live) and _is_empty(wanted)):
        yield {"path": ".".join(path), "live": live, "wanted": wanted}


def config_drift(live: t.Any, wanted: t.Any) -> list[dict[str, t.Any]]:
    """See DOCUMENTATION."""
    for name, value in (("live", live), ("wanted", wanted)):
        if not isinstance(value, Mapping):
            raise AnsibleFilterError(
                f"config_drift: the {name} configuration is a {type(value).__name__}; a mapping is wanted, such as from_yaml gives."
            )
    return list(_walk(live, wanted, ()))


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"config_drift": config_drift}
