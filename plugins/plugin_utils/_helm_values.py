# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Values of Helm charts: what several pod networks do with them."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._addresses import (
    Address,
    AddressError,
    Network,
    parse_address,
    parse_network,
)

Values = t.Dict[str, t.Any]


class ValuesError(ValueError):
    """One sentence about a setting."""


def merge(base: t.Mapping[str, t.Any], extra: t.Mapping[str, t.Any]) -> Values:
    """As Helm merges several files of values: dicts key by key, anything else in extra takes the place of what was there."""
    result = dict(base)
    for key, value in extra.items():
        mine = result.get(key)
        result[key] = merge(mine, value) if isinstance(mine, t.Mapping) and isinstance(value, t.Mapping) else value
    return result


def network(text: t.Any, name: str) -> Network:
    """The network in the setting with this name."""
    try:
        return parse_network(text)
    except AddressError as error:
        raise ValuesError(f"{name} {text!r} {error}") from None


def address(text: t.Any, name: str) -> Address:
    """The address in the setting with this name."""
    try:
        return parse_address(text)
    except AddressError as error:
        raise ValuesError(f"{name} {text!r} {error}") from None


def told(check: t.Callable[..., t.Any], *arguments: t.Any) -> t.List[str]:
    """What a check has to say: its one sentence, or nothing."""
    try:
        check(*arguments)
    except ValueError as error:
        return [str(error)]
    return []


def whole_number(value: t.Any, name: str, least: int, most: int) -> int:
    """The number in the setting with this name."""
    if isinstance(value, bool) or not str(value).isdecimal() or not least <= int(value) <= most:
        raise ValuesError(f"{name} is {value!r}, but must be a number from {least} to {most}")
    return int(value)


def of_type(value: t.Any, kind: type, name: str) -> None:
    """Refuse what is no list or no dict in the setting with this name; not shown, because it may be a password."""
    if not isinstance(value, kind):
        raise ValuesError(f"{name} must be a {kind.__name__}")


def refuse(problems: t.Sequence[str]) -> None:
    """All of them in one error."""
    if problems:
        raise ValuesError("; ".join(problems))
