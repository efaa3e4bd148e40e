# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Plain data for plugins on the controller: values from playbooks carry tags, and YAML writers refuse such types."""

from __future__ import annotations

import re
import typing as t

import yaml


def plain(value: t.Any) -> t.Any:
    """The same value in exact builtin types, containers copied."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, t.Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return str(value)


class _Dumper(yaml.SafeDumper):
    """YAML that the Go parsers of Kubernetes read with the same types."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: t.Any) -> bool:
        return True


# Go's YAML parser takes more words for numbers and booleans than the one here: 1e3, 0x10, y
_LOOKS_TYPED = re.compile(
    r"(?:y|n|yes|no|on|off|true|false|null|~|[-+]?\.?[0-9][0-9_.,:e+-]*|[-+]?0[xob][0-9a-f_]+|[-+]?\.(?:inf|nan))", re.IGNORECASE
)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    if "\n" in value:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|")
    if _LOOKS_TYPED.fullmatch(value):
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"')
    return dumper.represent_scalar("tag:yaml.org,2002:str", value)


_Dumper.add_representer(str, _text)


def dump_documents(documents: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """YAML text of several documents in the order of their keys, each begun by a line of dashes."""
    return "".join(
        "---\n" + yaml.dump(plain(document), Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=4096)
        for document in documents
    )
