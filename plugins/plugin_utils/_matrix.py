# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Judge what all nodes saw of each other: checks per node, the MTU for pods, and the matrix of a report."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.filter.cni_mtu import cni_mtu
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, WARN, Check, check, worst, worst_first
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cni

Pair = t.Dict[str, t.Any]

CHECKS: t.Dict[str, str] = {
    "network_tcp": "The node reaches all TCP ports that it needs of the other nodes.",
    "network_udp": "All UDP ports that it needs of the other nodes answer.",
    "network_ipip": "IP-in-IP packets reach the other nodes, where the pod network uses them.",
    "path_mtu": "Packets as large as the node's interface may send arrive whole at every other node.",
    "rtt": "The other nodes are near enough, for etcd above all.",
    "pod_mtu": "The packets of pods fit through the encapsulation on every way.",
}

# How a port is blocked, and where to look. {node} is the one that was asked.
_BLOCKED = {
    "refused": (
        "refused",
        "the packets arrive, and a rule on {node} rejects them: look for `reject` in `nft list ruleset` (or `iptables-save`) there",
    ),
    "timeout": (
        "no answer",
        "something drops the packets without a word: look at `nft list ruleset` on {node} (firewalld and ufw write there too),"
        " then at filters in between, such as a provider's security groups",
    ),
    "silent": (
        "no answer",
        "something drops the packets without a word: look at `nft list ruleset` on {node} (firewalld and ufw write there too),"
        " then at filters in between, such as a provider's security groups",
    ),
    "unreachable": (
        "unreachable",
        "there is no way, or a rule says so: look at `ip route get` with the address of {node} on this node, and at the rules of both",
    ),
}
_GOOD = ("open", "answered")
# round trip and path MTU need one UDP port that answers
_OPEN = "Open the UDP ports of the findings network_udp, or the port for measuring (33434/udp unless set otherwise), and run the preflight again."

# The kernel's own MTU for a new bridge or veth pair; the bridge CNI does not look at the node's interface.
_KERNEL_MTU = 1500
# What makes pods fit; the roles subtract the encapsulation from it.
_MTU_SETTING = "cluster_network_mtu"

# etcd sends a heartbeat every 100 ms and takes its members for lost after 1000 ms, which must be ten round trips.
RTT_FAIL_MS = 100.0
# half of it
RTT_WARN_MS = 50.0


def _names(names: t.Sequence[str]) -> str:
    shown = ", ".join(names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


class Settings(t.NamedTuple):
    """What the judgement depends on."""

    hosts: t.Sequence[str]
    cni: str
    encapsulation: str = ""
    encryption: str = ""
    network_mtu: int = 0
    control_plane: t.Sequence[str] = ()
    ports: t.Sequence[t.Mapping[str, t.Any]] = ()
    rtt_warn_ms: float = RTT_WARN_MS
    rtt_fail_ms: float = RTT_FAIL_MS


class _Matrix:
    """Results by pair; what is missing is an empty result, not a good one."""

    def __init__(self, results: t.Mapping[str, t.Any], settings: Settings) -> None:
        self.settings = settings
        self.results = {host: result if isinstance(result, t.Mapping) else {} for host, result in results.items()}
        self.pairs: t.Dict[t.Tuple[str, str], t.Mapping[str, t.Any]] = {}
        for host, result in self.results.items():
            for peer in result.get("peers") or []:
                self.pairs[host, str(peer.get("name"))] = peer
        self.purposes = {(str(row["protocol"]), int(row["port"])): str(row["purpose"]) for row in settings.ports}

    def others(self, host: str) -> t.List[str]:
        return [other for other in self.settings.hosts if other != host]

    def interface_mtu(self, host: str) -> t.Optional[int]:
        return _number((self.results.get(host, {}).get("interface") or {}).get("mtu"))

    def ip_version(self) -> int:
        addresses = [str(result.get("address") or "") for result in self.results.values()]
        return 6 if any(":" in address for address in addresses) else 4

    def port_name(self, protocol: str, port: int) -> str:
        purpose = self.purposes.get((protocol, port))
        return f"{port}/{protocol} ({purpose})" if purpose else f"{port}/{protocol}"


def _number(value: t.Any) -> t.Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _ports_check(matrix: _Matrix, host: str, identifier: str, protocol: str) -> Check:
    """All ports of one protocol from one node to all others."""
    others = matrix.others(host)
    wanted = {
        "tcp": "a connection to every TCP port that this node needs of the others",
        "udp": "an answer from every UDP port that this node needs of the others",
        "ipip": "an answer from every other node to an IP-in-IP packet",
    }[protocol]
    blocked: t.Dict[t.Tuple[str, str], t.List[str]] = {}
    doubts: t.Dict[str, t.List[str]] = {}
    good = 0
    for other in others:
        peer = matrix.pairs.get((host, other))
        if peer is None:
            doubts.setdefault("not asked, as one of the two took no part", []).append(other)
            continue
        if protocol == "ipip":
            rows = [{"port": 4, **(peer.get("ipip") or {"status": UNKNOWN, "error": "not asked"})}]
        else:
            rows = list(peer.get(protocol) or [])
        for row in rows:
            status, name = str(row.get("status")), matrix.port_name(protocol, int(row["port"]))
            if status in _GOOD:
                good += 1
            elif status in _BLOCKED:
                blocked.setdefault((name, status), []).append(other)
            else:
                doubts.setdefault(f"{name}: {row.get('error') or status}", []).append(other)
    parts = [f"{name}: {_BLOCKED[status][0]} from {_names(nodes)}" for (name, status), nodes in blocked.items()]
    unclear = [f"{reason} ({_names(nodes)})" for reason, nodes in doubts.items()]
    if blocked:
        (name, status), nodes = next(iter(blocked.items()))
        fix = f"From {host} to {name.split(' ')[0]} of {nodes[0]} {_BLOCKED[status][1].format(node=nodes[0])}."
        return check(identifier, FAIL, "; ".join([*parts, *unclear]), wanted, fix)
    if doubts:
        fix = "Nothing is known of these; see why in the findings of the nodes named, then run the preflight again."
        return check(identifier, UNKNOWN, "; ".join(unclear), wanted, fix)
    if not others:
        return check(identifier, PASS, "there is no other node", wanted)
    return check(identifier, PASS, f"{good} of {good} on {len(others)} nodes" if good else "this node needs none of the others", wanted)


def _path_check(matrix: _Matrix, host: str) -> Check:
    """Whether what this node's interface may send arrives whole everywhere."""
    own = matrix.interface_mtu(host)
    interface = (matrix.results.get(host, {}).get("interface") or {}).get("name")
    wanted = "a known path MTU to every node"
    if own:
        wanted = f"packets of {own} bytes, the MTU of {interface}, arrive whole at every node, whose own MTU is the same"
    short: t.Dict[str, t.List[str]] = {}
    doubts: t.Dict[str, t.List[str]] = {}
    smallest = own or 0
    for other in matrix.others(host):
        peer = matrix.pairs.get((host, other))
        mtu, theirs = _number((peer or {}).get("path_mtu")), matrix.interface_mtu(other)
        if peer is None:
            doubts.setdefault("not asked, as one of the two took no part", []).append(other)
        elif mtu is None or own is None:
            doubts.setdefault(str(peer.get("path_mtu_reason") or "the MTU of the interface is not known"), []).append(other)
        elif theirs is not None and theirs < own and theirs <= mtu:
            # Some drivers take what is too large for them, or 4 bytes more for a VLAN tag; what comes back is smaller in any case.
            short.setdefault(f"an interface with an MTU of {theirs} is at", []).append(other)
            smallest = min(smallest, theirs)
        elif mtu < own:
            short.setdefault(f"no more than {mtu} bytes arrive at", []).append(other)
            smallest = min(smallest, mtu)
    parts = [f"{text} {_names(nodes)}" for text, nodes in short.items()]
    unclear = [f"{reason} ({_names(nodes)})" for reason, nodes in doubts.items()]
    if short:
        culprit = next(iter(short.values()))[0]
        fix = (
            f"Give all nodes and what is between them the same MTU: compare `ip link show` on {host} and {culprit}, then the switches and tunnels on the way;"
            f" or lower {interface} on every node to {smallest}."
        )
        return check("path_mtu", FAIL, "; ".join([*parts, *unclear]), wanted, fix)
    if doubts:
        return check("path_mtu", UNKNOWN, "; ".join(unclear), wanted, _OPEN)
    if own is None and matrix.others(host):
        return check("path_mtu", UNKNOWN, "the MTU of the interface is not known", wanted, "Is the node's address on one of its interfaces?")
    if not matrix.others(host):
        return check("path_mtu", PASS, "there is no other node", wanted)
    return check("path_mtu", PASS, f"{own} bytes arrive at all {len(matrix.others(host))} nodes", wanted)


def _rtt_check(matrix: _Matrix, host: str) -> Check:
    """Whether the others are near enough, for etcd above all."""
    settings = matrix.settings
    members = set(settings.control_plane)
    wanted = f"an average below {settings.rtt_warn_ms:g} ms to every node, and below {settings.rtt_fail_ms:g} ms between control planes; no answer lost"
    far: t.List[str] = []
    doubts: t.Dict[str, t.List[str]] = {}
    status, slowest, where = PASS, 0.0, ""
    for other in matrix.others(host):
        peer = matrix.pairs.get((host, other))
        rtt = (peer or {}).get("rtt_us")
        average = rtt.get("avg") if isinstance(rtt, t.Mapping) else None
        if peer is None:
            doubts.setdefault("not asked, as one of the two took no part", []).append(other)
        elif not isinstance(rtt, t.Mapping) or isinstance(average, bool) or not isinstance(average, (int, float)) or not average >= 0:
            doubts.setdefault(str(peer.get("rtt_reason") or "not measured"), []).append(other)
        else:
            average = average / 1000
            if average >= slowest:
                slowest, where = average, other
            lost = (_number(rtt.get("sent")) or 0) - (_number(rtt.get("samples")) or 0)
            if average >= settings.rtt_fail_ms and host in members and other in members:
                status = FAIL
            elif average >= settings.rtt_warn_ms or lost > 0:
                status = worst([status, WARN])
            else:
                continue
            far.append(f"{average:.1f} ms to {other}" + (f" with {lost} of {rtt.get('sent')} lost" if lost > 0 else ""))
    unclear = [f"{reason} ({_names(nodes)})" for reason, nodes in doubts.items()]
    if status == FAIL or (far and not doubts):
        fix = (
            "Look at `ping` and `mtr` between the two. Control planes belong into one data centre; where they cannot be, raise etcd's heartbeat-interval to the"
            " round trip and its election-timeout to ten times that."
        )
        return check("rtt", status, "; ".join([_names(far), *unclear]), wanted, fix)
    if doubts:
        return check("rtt", UNKNOWN, "; ".join([*unclear, *far]), wanted, _OPEN)
    return check("rtt", PASS, f"at most {slowest:.2f} ms on average, to {where}" if where else "there is no other node", wanted)


def _pod_mtu(matrix: _Matrix) -> t.Tuple[Check, t.Optional[int], t.Optional[int]]:
    """(finding, MTU of pods that every way carries, network MTU to set) for the encapsulation chosen."""
    settings = matrix.settings
    version = matrix.ip_version()
    wrapped = _cni.layers(settings.cni, settings.encapsulation, settings.encryption)
    words = " in ".join(wrapped) or "no encapsulation"
    interfaces = {host: mtu for host in settings.hosts if (mtu := matrix.interface_mtu(host)) is not None}
    carried = dict(interfaces)
    unknown = [host for host in settings.hosts if host not in interfaces]
    for host in interfaces:
        for other in matrix.others(host):
            mtu = _number((matrix.pairs.get((host, other)) or {}).get("path_mtu"))
            if mtu is None:
                unknown.append(f"{host} to {other}")
            else:
                carried[f"{host} to {other}"] = mtu
    wanted = f"an MTU of pods that {words} can carry over every way between nodes"
    if not interfaces:
        return check("pod_mtu", UNKNOWN, "no way was measured", wanted, "See the findings path_mtu."), None, None
    narrow = min(carried, key=lambda name: carried[name])
    if settings.network_mtu:
        network, source = settings.network_mtu, f"from {_MTU_SETTING}"
    elif settings.cni == "bridge":
        network, source = _KERNEL_MTU, "the kernel's own"
    else:
        network, source = min(interfaces.values()), "from the smallest MTU of the nodes' interfaces"
    try:
        room = int(cni_mtu(carried[narrow], wrapped, version))
        chosen = int(cni_mtu(network, wrapped, version, settings.cni))
        fitting = int(cni_mtu(carried[narrow], wrapped, version, settings.cni))
    except AnsibleFilterError as error:
        return check("pod_mtu", FAIL, str(error).replace("cni_mtu: ", ""), wanted, "Raise the MTU of the nodes' network."), None, None
    seen = f"{chosen} bytes for pods ({source})"
    wanted = f"at most {room} bytes, as {words} takes {carried[narrow] - room} of the {carried[narrow]} that are carried ({narrow})"
    value = carried[narrow]
    fix = f"Set {_MTU_SETTING} to {value}; pods that run already keep their MTU until they are started anew."
    if chosen > room:
        return check("pod_mtu", FAIL, seen, wanted, fix), fitting, value
    if unknown:
        return check("pod_mtu", UNKNOWN, f"{seen}; not measured: {_names(unknown)}", wanted, "See the findings path_mtu."), None, None
    return check("pod_mtu", PASS, seen, wanted), fitting, value


def _pair(matrix: _Matrix, host: str, other: str) -> Pair:
    """One field of the report's heat maps."""
    peer = matrix.pairs.get((host, other))
    if peer is None:
        return {"status": UNKNOWN, "tcp": {}, "udp": {}, "ipip": None, "rtt_us": None, "path_mtu": None}
    own, mtu = matrix.interface_mtu(host), _number(peer.get("path_mtu"))
    tcp = {str(row["port"]): str(row["status"]) for row in peer.get("tcp") or []}
    udp = {str(row["port"]): str(row["status"]) for row in peer.get("udp") or []}
    ipip = (peer.get("ipip") or {}).get("status")
    statuses = [PASS if one in _GOOD else FAIL if one in _BLOCKED else UNKNOWN for one in [*tcp.values(), *udp.values(), *([ipip] if ipip else [])]]
    statuses.append(UNKNOWN if mtu is None or own is None else FAIL if mtu < own else PASS)
    return {"status": worst(statuses), "tcp": tcp, "udp": udp, "ipip": ipip, "rtt_us": peer.get("rtt_us"), "path_mtu": mtu}


def matrix_checks(results: t.Mapping[str, t.Any], settings: Settings) -> t.Dict[str, t.Any]:
    """Everything: {"hosts", "cluster", "matrix", "pod_mtu", "mtu_setting"}."""
    found = _cni.tunnels(settings.cni, settings.encapsulation, settings.encryption)
    matrix = _Matrix(results, settings)
    hosts: t.Dict[str, t.List[Check]] = {}
    for host in settings.hosts:
        checks = [_ports_check(matrix, host, "network_tcp", "tcp"), _ports_check(matrix, host, "network_udp", "udp")]
        if "ipip" in found:
            checks.append(_ports_check(matrix, host, "network_ipip", "ipip"))
        checks += [_path_check(matrix, host), _rtt_check(matrix, host)]
        hosts[host] = worst_first(checks)
    finding, fitting, value = _pod_mtu(matrix)
    return {
        "hosts": hosts,
        "cluster": [finding],
        "matrix": {
            "hosts": list(settings.hosts),
            "pairs": [[host, other, _pair(matrix, host, other)] for host in settings.hosts for other in matrix.others(host)],
        },
        "pod_mtu": fitting,
        "mtu_setting": {"name": _MTU_SETTING, "value": value},
    }
