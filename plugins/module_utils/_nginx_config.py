# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Read the configuration of NGINX, and compare its directives with wanted ones."""

from __future__ import annotations

import glob
import os
import re
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

# The block that a directive stands in, "main" outside of all.
BLOCKS = ("main", "events", "http", "server", "location", "upstream", "stream")
_MOST_FILES = 2000
_MOST_DEPTH = 20
_LUA = re.compile(r"_by_lua_block$")
# braces in a word: those of a variable, ${name}
_WORD = re.compile(r"(?:\$\{\w*\}|\\.|[^\s;{}])+", re.DOTALL)


class NginxConfigError(Exception):
    """The configuration cannot be read; completes a sentence."""


class Directive(NamedTuple):
    """One directive: the names of the blocks around it, its name, its parameters."""

    path: Tuple[str, ...]
    name: str
    values: Tuple[str, ...]


def _tokens(text: str) -> Iterator[Tuple[str, bool]]:
    """(token, whether it was quoted); the body of a block of Lua is left out."""
    place, lua = 0, False
    while place < len(text):
        character = text[place]
        if character.isspace():
            place += 1
        elif character == "#":
            end = text.find("\n", place)
            place = len(text) if end < 0 else end
        elif character in "\"'":
            end, found = place + 1, []
            while end < len(text) and text[end] != character:
                if text[end] == "\\" and end + 1 < len(text) and text[end + 1] in "\"'\\":
                    end += 1
                found.append(text[end])
                end += 1
            if end >= len(text):
                raise NginxConfigError(f"a quotation that begins with {text[place:place + 20]!r} has no end")
            yield "".join(found), True
            place = end + 1
        elif character == "{" and lua:
            place, lua = _end_of_lua(text, place), False
            yield ";", False
        elif character in ";{}":
            yield character, False
            place += 1
        else:
            end = place + len(_WORD.match(text, place).group(0))  # type: ignore[union-attr]  # it matches any character
            word = text[place:end]
            lua = bool(_LUA.search(word))
            yield word, False
            place = end


def _end_of_lua(text: str, place: int) -> int:
    depth = 0
    while place < len(text):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        place += 1
        if depth == 0:
            return place
    raise NginxConfigError("a block of Lua has no end")


def parse(text: str, include: Optional[Callable[[str], List[str]]] = None, path: Tuple[str, ...] = (), depth: int = 0) -> List[Directive]:
    """All directives in their order. include(pattern) gives the texts of the files that match."""
    if depth > _MOST_DEPTH:
        raise NginxConfigError("files include each other without end")
    found: List[Directive] = []
    words: List[str] = []
    here = list(path)
    for token, quoted in _tokens(text):
        if quoted or token not in (";", "{", "}"):
            words.append(token)
        elif token == "{":
            if not words:
                raise NginxConfigError("a block has no name")
            # the block itself counts too, for its own parameters such as the name of an upstream
            found.append(Directive(tuple(here), words[0], tuple(words[1:])))
            here.append(words[0])
            words = []
        elif token == ";":
            if words and words[0] == "include" and include and len(words) == 2:
                for part in include(words[1]):
                    found += parse(part, include, tuple(here), depth + 1)
            elif words:
                found.append(Directive(tuple(here), words[0], tuple(words[1:])))
            words = []
        else:
            if words or len(here) == len(path):
                raise NginxConfigError(f"a block ends where none can: {' '.join(words)[:40]}")
            here.pop()
    if words or len(here) != len(path):
        raise NginxConfigError("a directive or block has no end")
    return found


def read(path: str, root: str = "/") -> List[Directive]:
    """The file at path with all that it includes. Changes the root of this process, so that no link leads out of it."""
    if root != "/":
        os.chroot(root)
        os.chdir("/")
    folder = os.path.dirname(path)
    count = 0

    def texts(pattern: str) -> List[str]:
        nonlocal count
        # nginx sorts too; a name without a wildcard has to be there
        names = sorted(glob.glob(os.path.join(folder, pattern))) if re.search(r"[*?[]", pattern) else [os.path.join(folder, pattern)]
        result = []
        for name in names:
            count += 1
            if count > _MOST_FILES:
                raise NginxConfigError(f"more than {_MOST_FILES} files are included")
            try:
                with open(name, encoding="utf-8", errors="replace") as handle:
                    result.append(handle.read())
            except OSError as error:
                raise NginxConfigError(f"{name}: {error.strerror}") from error
        return result

    return parse(texts(path)[0], texts)


# --- comparing ------------------------------------------------------------------------------------------------

# "Configuration file measurement units" of nginx's documentation
_TIME = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000}
_SIZE = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
# the second parameter is only what the header Keep-Alive says
_FIRST_ONLY = ("keepalive_timeout", "client_header_timeout")
_ANY_ORDER = ("ssl_protocols",)


def _time(text: str) -> Optional[float]:
    parts = re.findall(r"(\d+)(ms|[smhdwMy]?)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return float(sum(int(number) * _TIME[unit] for number, unit in parts))


def _size(text: str) -> Optional[int]:
    found = re.fullmatch(r"(\d+)([kmg]?)", text.lower())
    return int(found.group(1)) * _SIZE[found.group(2)] if found else None


def _comparable(name: str, text: str) -> Any:
    number = _time(text) if re.search(r"_(timeout|time)$", name) else _size(text)
    return text if number is None else number


def is_same(name: str, wanted: str, values: Tuple[str, ...]) -> bool:
    """Whether these parameters mean what is wanted."""
    want = [_comparable(name, word) for word in wanted.split()]
    have = [_comparable(name, word) for word in values]
    if name in _FIRST_ONLY:
        want, have = want[:1], have[:1]
    if name in _ANY_ORDER:
        want, have = sorted(want), sorted(have)
    # a value with spaces may be one quoted word
    return want == have or wanted == " ".join(values)


def _in_block(directive: Directive, block: str) -> bool:
    if block == "main":
        return not directive.path
    if block in ("events", "http"):
        return directive.path == (block,)
    # a server of stream is none of these
    return len(directive.path) > 1 and directive.path[0] == "http" and directive.path[-1] == block


def differences(found: List[Directive], wanted: Dict[str, Dict[str, Any]]) -> List[str]:
    """A sentence per directive that is not as wanted. In servers, locations and upstreams one block with it is enough."""
    problems = []
    for block, directives in wanted.items():
        if block not in BLOCKS:
            raise NginxConfigError(f"there is no block {block}; {', '.join(BLOCKS)} are known")
        inside = [directive for directive in found if _in_block(directive, block)]
        for name, value in directives.items():
            have = [directive.values for directive in inside if directive.name == name]
            single = not isinstance(value, list) and block in ("main", "events", "http")
            for want in value if isinstance(value, list) else [value]:
                matching = [values for values in have if is_same(name, str(want), values)]
                if not matching or (single and len(matching) != len(have)):
                    seen = ", ".join(sorted({" ".join(values) for values in have})[:5]) or "not there"
                    problems.append(f"{name} in {block} is {seen}, not {want}")
    return problems


def value_of(found: List[Directive], block: str, name: str) -> str:
    """The last value of a directive of main, events or http; "" when it is not there."""
    have = [directive.values for directive in found if directive.name == name and _in_block(directive, block)]
    return " ".join(have[-1]) if have else ""
