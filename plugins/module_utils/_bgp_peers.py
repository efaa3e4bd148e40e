# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Judge BGP peers against the whole set that is expected, over a window of time, and say what each INFO text means."""

from __future__ import annotations

import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils._calico_status import (
    FAMILIES,
    Address,
    Error,
    Peer,
    Reading,
    healthy,
    plain_address,
)
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, WARN, Check, check

# --- what an INFO text means --------------------------------------------------------------------------------------

_NODE_ADDRESSES = (
    "kubectl get nodes -o custom-columns="
    "'NODE:.metadata.name,IP:.metadata.annotations.projectcalico\\.org/IPv4Address,AS:.metadata.annotations.projectcalico\\.org/ASNumber'"
)
_BGP_RESOURCES = "kubectl get bgpconfigurations,bgppeers -o yaml"
_PODS = "kubectl get pods -A -o wide -l k8s-app=calico-node"
_PEER_LOG = "there: crictl logs --tail 50 $(crictl ps -q --name calico-node)"
_ROUTE = "ip route get {peer}; ping -c 3 {peer}"
_MTU = "ping -c 3 -M do -s {size} {peer} (that is for an MTU of 1500)"
_CAPTURE = "tcpdump -ni any 'tcp port {port} and host {peer}'"
_MD5 = "nstat -az TcpExtTCPMD5Failure TcpExtTCPMD5NotFound TcpExtTCPMD5Unexpected; " + _BGP_RESOURCES


class Meaning(NamedTuple):
    """The usual cause of an INFO text and a command that shows more; see fill()."""

    pattern: str
    cause: str
    look: str


# Texts are those of BIRD 1.6 (proto/bgp/packets.c and bgp.c) and of strerror(3) in glibc and musl; the first that fits counts.
ERRORS = (
    Meaning(
        "connection refused",
        "nothing listens on {peer} port {port}/tcp, as calico-node does not run there or listens on another port, or a firewall rejects it",
        "there: ss -ltnp 'sport = :{port}'; " + _PODS,
    ),
    Meaning(
        "connection reset|connection closed",
        "{peer} accepts the connection and drops it, as it does when it knows no peer with the address that this node comes from",
        "ip route get {peer} (src is what it sees); " + _NODE_ADDRESSES,
    ),
    Meaning(
        "host is unreachable|no route to host",
        "no machine answers to {peer} on the network, or a firewall says so; after a reboot of all nodes it passes by itself",
        _ROUTE + "; ip neigh show {peer}",
    ),
    Meaning("network (is )?unreachable", "this node has no route to {peer}", _ROUTE),
    Meaning("timed out", "packets to or from {peer} port {port}/tcp are dropped on the way, mostly by a firewall", _CAPTURE),
    Meaning(
        "operation not permitted|permission denied",
        "the firewall of this node itself forbids the connection to {peer}",
        "nft list ruleset | grep -n {port}; iptables-save | grep -n {port}",
    ),
    Meaning(
        "cannot assign requested address|address not available",
        "the address that BIRD shall use is on no interface of this node: Calico took a wrong node address",
        "ip -br address; " + _NODE_ADDRESSES,
    ),
    Meaning(
        "address already in use|address in use|no listening socket",
        "another program (FRR, MetalLB, a BIRD of the host) has port {port}/tcp of this node",
        "ss -ltnp 'sport = :{port}'",
    ),
    Meaning(
        "bad peer as",
        "the AS number that one side has for the other is not the one it uses",
        _BGP_RESOURCES + "; " + _NODE_ADDRESSES,
    ),
    Meaning("bad bgp identifier", "both sides use the same router id, mostly as two nodes have the same address", _NODE_ADDRESSES),
    Meaning(
        "hold timer expired",
        "nothing was heard of the session for the hold time: packets are lost, too large for the path (MTU), or a node is overloaded",
        _MTU + "; ip -s link; uptime",
    ),
    Meaning("authentication fail|md5 auth", "the passwords of the two sides differ, or only one has any", _MD5),
    Meaning(
        "unacceptable hold time|unsupported|required capability|no supported afi/safi|invalid open",
        "the two sides do not offer what the other one insists on (hold time, address families, capabilities)",
        _BGP_RESOURCES + "; " + _PEER_LOG,
    ),
    Meaning(
        "administrative (shutdown|reset)|de-configured|other configuration change",
        "a session is taken down on purpose, as a restart of calico-node or a change of its configuration does for a moment",
        _PODS + "; " + _BGP_RESOURCES,
    ),
    Meaning(
        "connection rejected",
        "one side does not want this peer now: it has the session disabled, or there is one to the same router already",
        _BGP_RESOURCES,
    ),
    Meaning(
        "connection collision",
        "two sessions were opened to the same router, and one of them is closed; which is normal once",
        _BGP_RESOURCES,
    ),
    Meaning(
        "maximum number of prefixes|route limit",
        "more routes came than the limit of the session allows",
        "birdcl -s /var/run/calico/bird.ctl show route count (in the calico-node pod); " + _BGP_RESOURCES,
    ),
    Meaning(
        "out of resources|cannot allocate|no buffer space", "a side has no memory left for the session", "free -m; dmesg | tail; " + _PODS
    ),
    Meaning("bfd session down", "BFD, which watches the path, hears nothing of {peer}", "tcpdump -ni any 'udp port 3784 and host {peer}'"),
    Meaning("graceful restart", "{peer} restarts its BGP and its routes are kept meanwhile; if it lasts, it does not come back", _PODS),
    Meaning(
        "neighbor lost|link down|invalid next hop",
        "{peer} is not on a network of this node any more",
        "ip route get {peer}; ip -br address; ip -br link",
    ),
    Meaning("cease", "a side closed the session without a reason", _PEER_LOG),
    Meaning(
        "message|attribute|as_path|length|type|not synchronized|mandatory|flags",
        "a side sent what the other one does not understand as BGP",
        _PEER_LOG,
    ),
)

STATES = (
    Meaning(
        "passive",
        "this side waits for {peer} to connect, which it does not; right for seconds on one of the two sides,"
        " else the way to port {port}/tcp of this node is closed",
        _CAPTURE + "; there: nc -zvw3 THIS_NODE {port}",
    ),
    Meaning(
        "connect",
        "{peer} does not answer on port {port}/tcp: packets are dropped on the way, mostly by a firewall,"
        " the address is of another machine, or the passwords of the two sides differ",
        "nc -zvw3 {peer} {port}; " + _CAPTURE + "; nstat -az TcpExtTCPMD5Failure TcpExtTCPMD5NotFound TcpExtTCPMD5Unexpected",
    ),
    Meaning("active", "the last try to connect failed and the next one is waited for", "nc -zvw3 {peer} {port}; " + _CAPTURE),
    Meaning(
        "opensent|openconfirm",
        "the connection is open, but {peer} does not answer in BGP: no BGP program listens there, or larger packets are lost",
        _CAPTURE + "; " + _MTU,
    ),
    Meaning("idle", "the session is off for a while after an error, or disabled", _PEER_LOG),
    Meaning("close", "the session is being closed", _PEER_LOG),
    Meaning(
        "established", "the session is not up, though BGP is: it starts, is being closed, or waits for a graceful restart to end", _PODS
    ),
    Meaning("", "the session is not up", _PEER_LOG),
)


def fill(text: str, peer: str, port: int) -> str:
    """Put in the peer, the port, and what ping may send in 1500 bytes without the headers of IP and ICMP."""
    size = 1500 - (48 if ":" in peer else 28)
    return text.replace("{peer}", peer).replace("{port}", str(port)).replace("{size}", str(size))


def explain(info: str, state: str, peer: str, port: int = 179) -> Tuple[str, str]:
    """(usual cause, command to look further) of a peer that is not healthy."""
    word, dummy, error = info.partition(" ")
    meaning = next((item for item in ERRORS if error and re.search(item.pattern, error, re.IGNORECASE)), None)
    if meaning is None:
        # a session that is down has no word of its state, only the error
        meaning = next((item for item in ERRORS if state == "down" and info and re.search(item.pattern, info, re.IGNORECASE)), None)
    if meaning is None:
        meaning = next(item for item in STATES if re.match(item.pattern, word, re.IGNORECASE))
    cause, look = fill(meaning.cause, peer, port), fill(meaning.look, peer, port)
    if error.startswith("Received:"):
        cause += f" ({peer} closed the session with these words)"
    elif error.startswith("BGP Error:"):
        cause += " (this side closed the session with these words)"
    return cause, look


# --- the set of peers over time -----------------------------------------------------------------------------------


def key(address: str) -> str:
    """One spelling for each address; the port and the interface do not count."""
    found = plain_address(address)
    return str(found) if found else address


class Watch:
    """How long each peer has been Established without a change, and how often it changed."""

    def __init__(self) -> None:
        self._steady: Dict[str, Tuple[Tuple[str, ...], float]] = {}
        self.changes: Dict[str, int] = {}

    def see(self, reading: Reading, now: float) -> None:
        """Take in one reading."""
        seen = {address: tuple(sorted(peer["since"] for peer in rows if healthy(peer))) for address, rows in by_address(reading).items()}
        for address in set(seen) | set(self._steady):
            since = seen.get(address, ())
            if not since and any(not error.absent for error in _concerns(reading.errors, plain_address(address))):
                # not seen is not gone: if the next look shows the same SINCE, it stayed up
                continue
            before = self._steady.get(address)
            if before and before[0] != since:
                # a new SINCE: it went down and came back between two looks
                self.changes[address] = self.changes.get(address, 0) + 1
                del self._steady[address]
            if since:
                self._steady.setdefault(address, (since, now))

    def steady_for(self, address: str, now: float) -> float:
        """Seconds since when it is up without a change, as far as it was looked at."""
        return now - self._steady[address][1] if address in self._steady else 0.0


def by_address(reading: Reading) -> Dict[str, List[Peer]]:
    """The rows of each address: a mesh session and a configured peer may have the same one."""
    result: Dict[str, List[Peer]] = {}
    for family in FAMILIES:
        for peer in reading.peers[family]:
            result.setdefault(key(peer["peer_address"]), []).append(peer)
    return result


class Wanted(NamedTuple):
    """What must be so."""

    # None: nobody said which; every peer that there is must be Established.
    peers: Optional[List[str]]
    stable_seconds: float
    port: int = 179


def _concerns(errors: Sequence[Error], address: Optional[Address]) -> List[Error]:
    return [error for error in errors if address is None or error.family in (None, address.version)]


def _show(peer: Peer) -> str:
    return f"{peer['state']} {peer['info']}".strip() + f" since {peer['since']} ({peer['peer_type']})"


def _changed(changes: int) -> str:
    return f"; came and went {changes} time{'s' if changes > 1 else ''} while it was watched" if changes else ""


_FLAPS = (
    "The session does not stay: packets are lost (" + _MTU + "), two nodes share an address (" + _NODE_ADDRESSES + "),"
    " or calico-node restarts (" + _PODS + ")."
)
_NO_SUCH_PEER = (
    "Calico took another address for that node than the inventory has, has the node not yet, or the mesh is off. Compare with: "
    + _NODE_ADDRESSES
    + "; "
    + _BGP_RESOURCES
    + "."
)
_NOT_READ = "See whether calico-node runs on this node (" + _PODS + "), and ask again."
_NO_BGP = (
    "calico-node runs no BGP here: it is not ready yet, or the installation has BGP disabled"
    " (kubectl get installation default -o yaml: bgp)."
    " Look with: " + _PODS + "."
)


def _peer_check(address: str, reading: Reading, watch: Watch, wanted: Wanted, now: float) -> Check:
    rows = by_address(reading).get(address, [])
    identifier = f"bgp_peers/{address}"
    want = f"up and Established{f' for {wanted.stable_seconds:g} s' if wanted.stable_seconds else ''}"
    doubts = _concerns(reading.errors, plain_address(address))
    changes = watch.changes.get(address, 0)
    bad = [peer for peer in rows if not healthy(peer)]
    if not rows:
        absent = next((error for error in doubts if error.absent), None)
        if absent:
            return check(identifier, FAIL, absent.text, want, _NO_BGP)
        if doubts:
            return check(identifier, UNKNOWN, doubts[0].text, want, _NOT_READ)
        there = ", ".join(sorted(by_address(reading))) or "none at all"
        return check(identifier, FAIL, f"this node has no such peer; it has {there}{_changed(changes)}", want, _NO_SUCH_PEER)
    if bad:
        cause, look = explain(bad[0]["info"], bad[0]["state"], address, wanted.port)
        fix = f"Usual cause: {cause}. Look with: {look}."
        observed = "; ".join(_show(peer) for peer in rows) + _changed(changes)
        if len(bad) == len(rows):
            return check(identifier, FAIL, observed, want, fix)
        fix = f"Two sessions to one router, of which only one can be up: remove the BGPPeer of {address}. Look with: {_BGP_RESOURCES}."
        status = WARN
    else:
        observed, fix, status = _show(rows[0]) + _changed(changes), "", PASS
    if doubts:
        return check(identifier, UNKNOWN, f"{observed}, but not all could be read: {doubts[0].text}", want, _NOT_READ)
    steady = watch.steady_for(address, now)
    if steady < wanted.stable_seconds:
        return check(
            identifier,
            FAIL if changes else UNKNOWN,
            f"{observed}; seen so for {steady:.0f} s only",
            want,
            fill(_FLAPS, address, wanted.port) if changes else "Wait longer.",
        )
    return check(identifier, status, observed, want, fix)


def _daemon_check(reading: Reading, wanted: Wanted) -> Check:
    want = "calico-node runs on this node and tells of its peers"
    relevant = reading.errors
    if wanted.peers:
        relevant = [error for address in wanted.peers for error in _concerns(reading.errors, plain_address(address))]
    absent = [error for error in relevant if error.absent]
    if reading.running is False:
        return check("bgp_daemon", FAIL, absent[0].text if absent else "calico-node does not run", want, _NO_BGP)
    if absent and wanted.peers:
        return check("bgp_daemon", FAIL, absent[0].text, want, _NO_BGP)
    rest = [error for error in relevant if not error.absent]
    if rest:
        return check("bgp_daemon", UNKNOWN, rest[0].text, want, _NOT_READ)
    there = len(reading.peers[4] + reading.peers[6])
    if absent and wanted.peers is None and not there:
        return check("bgp_daemon", UNKNOWN, absent[0].text, want, "Right without BGP, as with VXLAN; say so with expected_peers: [].")
    return check(
        "bgp_daemon", PASS, absent[0].text if absent and not there else f"it tells of {there} peer{'' if there == 1 else 's'}", want
    )


def judge(reading: Reading, watch: Watch, wanted: Wanted, now: float) -> List[Check]:
    """All findings: the daemon, each peer that is expected, and those that nobody expects."""
    checks = [_daemon_check(reading, wanted)]
    there = by_address(reading)
    if wanted.peers is None:
        checks += [_peer_check(address, reading, watch, wanted, now) for address in there]
        if not there:
            fix = "Say which peers this node shall have (expected_peers)."
            checks.append(check("bgp_peers", UNKNOWN, "this node has no peers", "peers, or the word that there shall be none", fix))
        return checks
    expected = list(dict.fromkeys(key(address) for address in wanted.peers))
    checks += [_peer_check(address, reading, watch, wanted, now) for address in expected]
    others = [f"{address} ({', '.join(_show(peer) for peer in rows)})" for address, rows in there.items() if address not in expected]
    if others:
        fix = (
            "A node that is gone keeps its Node object until it is deleted, a node may have taken a wrong address,"
            f" and a BGPPeer may be forgotten. Look with: {_NODE_ADDRESSES}; {_BGP_RESOURCES}."
        )
        checks.append(check("bgp_unexpected", WARN, ", ".join(others), "no other peers than the expected ones", fix))
    return checks


def up(reading: Reading, wanted: Wanted) -> bool:
    """Whether all that is wanted is Established now, so that only time is missing."""
    there = by_address(reading)
    expected = [key(address) for address in wanted.peers] if wanted.peers is not None else list(there)
    return all(any(healthy(peer) for peer in there.get(address, [])) for address in expected)


def summary(reading: Reading, wanted: Wanted) -> Dict[str, Any]:
    """Addresses by what they are: established is judged by all rows of an address, missing is what is expected and is not so."""
    there = by_address(reading)
    established = [address for address, rows in there.items() if any(healthy(peer) for peer in rows)]
    expected = list(dict.fromkeys(key(address) for address in wanted.peers or []))
    return {
        "established": established,
        "missing": [address for address in expected if address not in established],
        "unexpected": [address for address in there if wanted.peers is not None and address not in expected],
    }
