# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Read BGP peers: from the tables of calicoctl and calico-node, and from replies of BIRD.

A line that should be a peer and cannot be read becomes an error, never a guess: a session that is down looks
healthy everywhere else until packets are lost.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

# peer_address, peer_type, state, since, info; texts as they were read
Peer = Dict[str, str]
Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

FAMILIES = (4, 6)


class Error(NamedTuple):
    """What was wrong with a text; family is None where it concerns both."""

    family: Optional[int]
    text: str
    # It says that there is no BGP; anything else only says that it is not known.
    absent: bool = False


class Reading:
    """What one look at a node showed."""

    def __init__(self) -> None:
        self.running: Optional[bool] = None
        self.peers: Dict[int, List[Peer]] = {family: [] for family in FAMILIES}
        self.errors: List[Error] = []

    def result(self) -> Dict[str, Any]:
        """As the filter and the module return it."""
        errors = list(dict.fromkeys(error.text for error in self.errors))
        return {"running": self.running, "ipv4": self.peers[4], "ipv6": self.peers[6], "errors": errors}

    def add(self, other: "Reading") -> None:
        """Take in what another socket of the same node said; one that runs is enough."""
        if other.running is not None:
            self.running = bool(self.running or other.running)
        for family in FAMILIES:
            self.peers[family] += other.peers[family]
        self.errors += other.errors


def healthy(peer: Peer) -> bool:
    """BIRD forgets the last error of a session when it is established, so any word more is a session on its way down."""
    return peer["state"] == "up" and peer["info"] == "Established"


def plain_address(text: str) -> Optional[Address]:
    """The address without the port that confd appends to the name of a peer, and without an interface."""
    try:
        return ipaddress.ip_address(re.sub(r"[.:]port[.:]\d+$", "", text).split("%")[0])
    except ValueError:
        return None


# --- calicoctl node status, calico-node -show-status --------------------------------------------------------------

# colours and cursor, character set, title of the window (ECMA-48, xterm)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][0-9A-Z]|\][^\x07\x1b]*(?:\x07|\x1b\\))")
# People save such output as comments and quotations.
_PREFIX = re.compile(r"^[\s#>]*")
_RUNNING = re.compile(r"(?:Calico process|calico-node container) (?:is )?(not )?running\b", re.IGNORECASE)
_PEERS_TITLE = re.compile(r"(?:IPv([46]) BGP status|bird v([46]) BGP peers)\b", re.IGNORECASE)
# The other tables of calico-node -show-status.
_OTHER_TITLE = re.compile(r"\bbird v[46] (?:status|routes)\b", re.IGNORECASE)
_NONE = re.compile(r"\bNo IPv([46]) (?:peers found|address configured)\b", re.IGNORECASE)
# a row whose bars are lost, as in a copy of a page
_NO_BARS = re.compile(r"\S+\s+(?:node-to-node mesh|node specific|global)\s", re.IGNORECASE)
_BORDER = re.compile(r"^[-+=|:\s\u2012-\u2015\u2500-\u257f]+$")
_COLUMNS = {
    "peer address": "peer_address",
    "peer type": "peer_type",
    "state": "state",
    "since": "since",
    "info": "info",
    "bgpstate": "info",
}

_ABSENT = re.compile(
    r"The BGP backend process \(BIRD\) is not running|None of the BGP backend processes|BIRDv[46] process: .*is not running", re.IGNORECASE
)
_FAILURE = re.compile(
    r"Error querying BIRD|error executing command|Error (?:getting|retrieving|creating|connecting)"
    r"|unexpected output line|unknown BIRD table"
    r"|Need super user privileges|must be run as root|permission denied|i/o timeout|command not found|Invalid option|no end after"
    r"|^(?:error|fatal|panic|failed|unable|could not|cannot)\b",
    re.IGNORECASE,
)
_FAMILY = re.compile(r"(?:BIRDv|IPv|bird v)([46])\b|\b(bird6)\b", re.IGNORECASE)


def _family(text: str) -> Optional[int]:
    found = _FAMILY.search(text)
    if not found:
        return None
    return int(found.group(1) or 6)


class _Table:
    """The rows of one family, with cells that were wrapped put together again."""

    def __init__(self, family: int, reading: Reading, may_be_empty: bool) -> None:
        self.family = family
        self.reading = reading
        self.columns: Optional[List[str]] = None
        self.row: Optional[Peer] = None
        # calico-node draws headings alone where there are no peers, calicoctl has a sentence for that
        self.may_be_empty = may_be_empty
        self.said_none = False
        self.rows = 0

    def close(self) -> None:
        """A title or headings with nothing below are a text that was cut, and not a node without peers."""
        told = self.said_none or self.rows or (self.columns and self.may_be_empty)
        told = told or any(error.family in (None, self.family) for error in self.reading.errors)
        if not told:
            self.reading.errors.append(Error(self.family, f"The text ends before it says anything of IPv{self.family} peers."))

    def line(self, line: str) -> None:
        """Read a line that is a row, or what is left of one."""
        cells = [" ".join(cell.split()) for cell in line.strip().split("|")]
        if len(cells) < 3 or cells[0] or cells[-1]:
            self._unreadable(line, "is cut or wrapped")
        else:
            self._cells(line, cells[1:-1])

    def _cells(self, line: str, cells: List[str]) -> None:
        names = [_COLUMNS.get(cell.lower()) for cell in cells]
        if "peer_address" in names:
            self.columns = [name for name in names if name] if sorted(map(str, names)) == sorted(set(_COLUMNS.values())) else None
            self.row = None
            if self.columns is None:
                self._unreadable(line, "has other columns than PEER ADDRESS, PEER TYPE, STATE, SINCE and INFO")
            return
        if self.columns is None:
            self._unreadable(line, "has no headings above it that could be read")
            return
        if len(cells) != len(self.columns):
            self._unreadable(line, f"has {len(cells)} cells and not {len(self.columns)}")
            return
        peer = dict(zip(self.columns, cells))
        if not any(peer[name] for name in ("peer_address", "peer_type", "state", "since")):
            self._continue(line, peer["info"])
        elif not all(peer[name] for name in ("peer_address", "peer_type", "state", "since")):
            self._unreadable(line, "lacks a value")
        else:
            self.row = peer
            self.rows += 1
            self.reading.peers[self.family].append(peer)

    def _continue(self, line: str, words: str) -> None:
        # A wrapped cell has words on its first line; if it has none, this line belongs to a row that is lost.
        if self.row is None or not self.row["info"] or not words:
            self._unreadable(line, "continues a row that is not there")
        else:
            self.row["info"] += " " + words

    def _unreadable(self, line: str, reason: str) -> None:
        self.row = None
        self.reading.errors.append(Error(self.family, f"The line {' '.join(line.split())[:200]!r} {reason}."))


def _is_row(line: str) -> bool:
    return line.startswith("|") or line.endswith("|") or line.count("|") > 1 or _NO_BARS.match(line) is not None


def _sentence(line: str, reading: Reading) -> None:
    running = _RUNNING.search(line)
    if running:
        reading.running = not running.group(1) and reading.running is not False
        if running.group(1):
            reading.errors.append(Error(None, line[running.start() :], absent=True))
    elif _ABSENT.search(line):
        reading.errors.append(Error(_family(line), line, absent=True))
    elif _FAILURE.search(line):
        reading.errors.append(Error(_family(line), line))


def read_status(text: str) -> Reading:
    """Read what calicoctl node status or calico-node -show-status printed, both streams together."""
    reading = Reading()
    table: Optional[_Table] = None
    other = False
    for raw in _ESCAPES.sub("", text).replace("\u2502", "|").replace("\xa0", " ").splitlines():
        line = _PREFIX.sub("", raw).strip()
        title, none = _PEERS_TITLE.search(line), _NONE.search(line)
        if title:
            # calicoctl ends one of its errors without a new line
            _sentence(line[: title.start()].strip(), reading)
            if table:
                table.close()
            table = _Table(int(title.group(1) or title.group(2)), reading, may_be_empty=bool(title.group(2)))
        elif not line or _BORDER.match(line):
            continue
        elif _OTHER_TITLE.search(line):
            if table:
                table.close()
            table = None
            other = True
        elif table and _is_row(line):
            table.line(line)
        elif table and none and int(none.group(1)) == table.family:
            table.said_none = True
        elif not line.startswith("|"):
            _sentence(line, reading)
        elif not other:
            reading.errors.append(Error(None, f"The line {line[:200]!r} has no title above it that tells whether it is IPv4 or IPv6."))
    if table:
        table.close()
    elif reading.running is None and not reading.errors:
        reading.errors.append(
            Error(None, "The text says nothing of BGP peers: it is no output of calicoctl node status or calico-node -show-status.")
        )
    return reading


def parse_calico_node_status(text: str) -> Dict[str, Any]:
    """The status as plain data."""
    return read_status(text).result()


# --- replies of BIRD ----------------------------------------------------------------------------------------------

# BIRD's doc/reply_codes: 0xxx and 8xxx, 9xxx end a reply, 1xxx are its data, 2xxx headings. A blank after the code says
# that the reply ends here, a minus that there is more; lines of the same code as the line before begin with a blank.
_CODE = re.compile(r"^(\d{4})(?:([ -])(.*))?$")
_PROTOCOL_CODE, _DETAIL_CODE = "1002", "1006"
_HEADINGS = ["name", "proto", "table", "state", "since", "info"]
_SINCE = r"\d{4}-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d+)?)?|\d\d:\d\d:\d\d(?:\.\d+)?"
_PROTOCOL = re.compile(
    rf"^(?P<name>\S+)\s+(?P<proto>\S+)\s+(?P<table>\S+)\s+(?P<state>\S+)\s+(?P<since>{_SINCE})(?:\s+(?P<info>\S.*?))?\s*$"
)
_NEIGHBOR = re.compile(r"^\s*Neighbor address:\s+(\S+)\s*$")
# As calicoctl names them. Other BGP sessions of a BIRD with a configuration of somebody's own are "other".
_PEER_TYPES = {"Mesh": "node-to-node mesh", "Node": "node specific", "Global": "global"}
_NAME = re.compile(r"^(Mesh|Node|Global)_(.+)$")
# Sessions with pods of this node come and go with the pods.
_OF_A_POD = "Local_Workload_"


def _named_address(name: str) -> Tuple[str, str]:
    """(peer type, address) of a session that confd named; dots and colons are underscores there."""
    found = _NAME.match(name)
    if not found:
        return "other", name
    for separator in ".:":
        address = found.group(2).replace("_", separator)
        if plain_address(address):
            return _PEER_TYPES[found.group(1)], address
    return _PEER_TYPES[found.group(1)], found.group(2)


class _Session:
    """One BGP session of BIRD's table, with what its details add."""

    def __init__(self, found: "re.Match[str]") -> None:
        self.name, self.state, self.since = found.group("name", "state", "since")
        self.info = " ".join((found.group("info") or "").split())
        self.neighbor = ""

    def peer(self) -> Peer:
        """As calicoctl would show it."""
        peer_type, address = _named_address(self.name)
        # The name also has the port, as calicoctl shows it; but whom BIRD talks to is what it says.
        if plain_address(self.neighbor) not in (None, plain_address(address)):
            address = self.neighbor
        return {"peer_address": address, "peer_type": peer_type, "state": self.state, "since": self.since, "info": self.info}


def _bird_lines(text: str, family: int, reading: Reading) -> Iterator[Tuple[bool, str]]:
    """The lines about protocols, each with whether it is a detail of the one before."""
    code = ""
    for line in text.splitlines():
        found = _CODE.match(line)
        if found:
            code, more, line = found.group(1), found.group(2), found.group(3) or ""
            if code >= "8000":
                reading.errors.append(Error(family, f"BIRD answered {code} {line.strip()}"))
            reading.running = True
            # the greeting is no end, and a code alone is a line that was cut, but for the end itself
            if (code != "0001" and more == " ") or code == "0000":
                return
        elif code:
            if line[:1] != " ":
                if line.strip():
                    reading.errors.append(Error(family, f"BIRD's line {line.strip()[:200]!r} cannot be read."))
                continue
            line = line[1:]
        elif re.match(r"BIRD \S+ ready\.\s*$", line):
            reading.running = True
            continue
        if line.lower().split()[:2] == _HEADINGS[:2]:
            if line.lower().split() != _HEADINGS:
                reading.errors.append(Error(family, f"BIRD's headings {line.strip()!r} are others than {' '.join(_HEADINGS)}."))
        elif code in ("", _PROTOCOL_CODE, _DETAIL_CODE) and line.strip():
            yield code == _DETAIL_CODE or (not code and line[:1] == " "), line
    if code:
        reading.errors.append(Error(family, "BIRD's answer has no end: a part of it is missing."))


def read_bird(text: str, family: int = 4) -> Reading:
    """Read BIRD's answer to show protocols, with or without all, off its socket or as birdc prints it.

    family is that of errors, and of sessions with no address that could be read.
    """
    reading = Reading()
    sessions: List[_Session] = []
    session: Optional[_Session] = None
    for is_detail, line in _bird_lines(text, family, reading):
        if is_detail:
            neighbor = _NEIGHBOR.match(line)
            if session and neighbor:
                session.neighbor = neighbor.group(1)
            continue
        session = None
        found = _PROTOCOL.match(line)
        if found and found.group("proto") == "BGP":
            session = _Session(found)
            sessions.append(session)
        elif not found and (_NAME.match(line) or line.split()[1:2] == ["BGP"]):
            reading.errors.append(Error(family, f"BIRD's line {line.strip()[:200]!r} is a session and cannot be read."))
    if reading.running is None and not sessions and not reading.errors:
        reading.errors.append(Error(family, "BIRD said nothing: the text is no answer of it."))
    for peer in (item.peer() for item in sessions if not item.name.startswith(_OF_A_POD)):
        address = plain_address(peer["peer_address"])
        reading.peers[address.version if address else family].append(peer)
    return reading
