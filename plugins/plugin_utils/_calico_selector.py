# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Selectors of Calico, such as rack == 'a' && !has(gpu): which nodes a BGPPeer is for.

Grammar: docs.tigera.io, "Selectors" in the reference of each resource. ! binds before &&, && before ||.
"""

from __future__ import annotations

import re
import typing as t

Labels = t.Mapping[str, str]
Test = t.Callable[[Labels], bool]

_WORD = r"[A-Za-z0-9_./-]+"
_TOKEN = re.compile(
    rf"""[ \t]*(?:
    (?P<all>all\([ \t]*\)) | has\([ \t]*(?P<has>{_WORD})[ \t]*\) |
    (?P<sign>==|!=|&&|\|\||[!(){{}},]) | '(?P<single>[^']*)' | "(?P<double>[^"]*)" | (?P<word>{_WORD}) | (?P<end>$)
    )""",
    re.VERBOSE,
)
# written in one word or two
_OPERATORS = {("starts", "with"): "starts with", ("ends", "with"): "ends with", ("not", "in"): "not in"}


class SelectorError(ValueError):
    """One sentence about a selector."""


class _Token(t.NamedTuple):
    kind: str
    text: str


def _tokens(text: str) -> t.List[_Token]:
    found: t.List[_Token] = []
    position = 0
    while not found or found[-1].kind != "end":
        match = _TOKEN.match(text, position)
        if not match or match.lastgroup is None:
            raise SelectorError(f"{text[position:]!r} is not understood")
        kind = "text" if match.lastgroup in ("single", "double") else match.lastgroup
        found.append(_Token(kind, match.group(match.lastgroup)))
        position = match.end()
    return found


class _Parser:
    """One reading from left to right."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)

    def take(self, kind: str, *texts: str) -> t.Optional[_Token]:
        token = self.tokens[0]
        if token.kind != kind or (texts and token.text not in texts):
            return None
        return self.tokens.pop(0)

    def need(self, kind: str, *texts: str) -> _Token:
        token = self.take(kind, *texts)
        if token is None:
            seen = self.tokens[0].text or "the end"
            raise SelectorError(f"{seen!r} was seen where {' or '.join(texts) or kind} is wanted")
        return token

    def either(self) -> Test:
        tests = [self.both()]
        while self.take("sign", "||"):
            tests.append(self.both())
        return lambda labels: any(test(labels) for test in tests)

    def both(self) -> Test:
        tests = [self.one()]
        while self.take("sign", "&&"):
            tests.append(self.one())
        return lambda labels: all(test(labels) for test in tests)

    def one(self) -> Test:
        if self.take("sign", "!"):
            test = self.one()
            return lambda labels: not test(labels)
        if self.take("sign", "("):
            test = self.either()
            self.need("sign", ")")
            return test
        if self.take("all"):
            return lambda labels: True
        has = self.take("has")
        if has:
            return lambda labels: has.text in labels
        return self.comparison(self.need("word").text)

    def comparison(self, label: str) -> Test:
        if self.take("sign", "=="):
            wanted = self.need("text").text
            return lambda labels: labels.get(label) == wanted
        if self.take("sign", "!="):
            wanted = self.need("text").text
            return lambda labels: labels.get(label) != wanted
        operator = self.need("word", "in", "notin", "not", "contains", "starts", "startswith", "ends", "endswith").text
        for (first, second), name in _OPERATORS.items():
            if operator == first:
                self.need("word", second)
            if operator in (first, first + second):
                operator = name
        if operator in ("in", "not in"):
            values = self.values()
            return lambda labels: (label in labels and labels[label] in values) == (operator == "in")
        part = self.need("text").text
        tests: t.Dict[str, t.Callable[[str], bool]] = {
            "contains": lambda value: part in value,
            "starts with": lambda value: value.startswith(part),
            "ends with": lambda value: value.endswith(part),
        }
        return lambda labels: label in labels and tests[operator](labels[label])

    def values(self) -> t.Set[str]:
        self.need("sign", "{")
        found: t.Set[str] = set()
        if self.take("sign", "}"):
            return found
        while True:
            found.add(self.need("text").text)
            if self.need("sign", ",", "}").text == "}":
                return found


def parse(selector: str) -> Test:
    """A function that tells for the labels of a node whether the selector is for it."""
    if not selector.strip():
        raise SelectorError("it is empty; all() stands for every node")
    parser = _Parser(selector)
    try:
        test = parser.either()
    except RecursionError:
        raise SelectorError("it is nested too deeply") from None
    parser.need("end")
    return test
