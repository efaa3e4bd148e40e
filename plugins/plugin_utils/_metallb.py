# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""MetalLB 0.16: the settings as its chart's values and its custom resources. Rules come from its api/ and internal/config/."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._addresses import AddressError, Range, parse_address, parse_range
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._helm_values import Values, ValuesError, merge

MODES = ("frr-k8s", "native")
# none: MetalLB only hands out the addresses, and somebody else (Calico) tells the network
PROTOCOLS = ("layer2", "bgp", "none")

NAMESPACE = "metallb-system"
# What the role made is known by these labels, and removed when it is not wanted any more.
LABELS = {"app.kubernetes.io/managed-by": "baremetal.kubernetes", "app.kubernetes.io/component": "metallb"}
# A key of its own: the common ones may be those by which a pool chooses its Services.
PROBE_LABELS = {"baremetal.kubernetes/probe": "metallb"}
PROBE_PORT = 9
_SECRET = "bgp-"
# In the order in which nothing that is left refers to what is removed.
KINDS = (
    "metallb.io/v1beta1/L2Advertisement",
    "metallb.io/v1beta1/BGPAdvertisement",
    "metallb.io/v1beta2/BGPPeer",
    "metallb.io/v1beta1/BFDProfile",
    "metallb.io/v1beta1/Community",
    "metallb.io/v1beta1/IPAddressPool",
    "v1/Secret",
)

_POOL_KEYS = (
    "name", "addresses", "protocol", "auto_assign", "avoid_buggy_ips", "priority", "namespaces", "services", "interfaces", "nodes", "bgp"
)  # fmt: skip
_BGP_KEYS = ("aggregation_length", "aggregation_length_v6", "local_preference", "communities", "peers")
_PEER_KEYS = (
    "name", "address", "interface", "as_number", "dynamic_as_number", "my_as_number", "local_as_number", "port", "source_address",
    "hold_seconds", "keepalive_seconds", "connect_seconds", "router_id", "nodes", "password_secret", "bfd_profile", "multihop",
    "graceful_restart", "vrf", "dual_stack",
)  # fmt: skip
_NATIVE_LACKS = (
    "bfd_profile", "keepalive_seconds", "connect_seconds", "vrf", "graceful_restart", "dual_stack", "dynamic_as_number", "interface",
    "local_as_number",
)  # fmt: skip
# key: (field, least, most)
_BFD_NUMBERS = {
    "receive_interval": ("receiveInterval", 10, 60000),
    "transmit_interval": ("transmitInterval", 10, 60000),
    "detect_multiplier": ("detectMultiplier", 2, 255),
    "echo_interval": ("echoInterval", 10, 60000),
    "minimum_ttl": ("minimumTtl", 1, 254),
}
_BFD_FLAGS = {"echo_mode": "echoMode", "passive_mode": "passiveMode"}
_AS_NUMBER = (1, 4294967295)


class Pool(t.NamedTuple):
    """A pool of addresses and how the network learns of them."""

    name: str
    protocol: str
    ranges: t.List[Range]
    interfaces: t.List[str]
    nodes: t.List[Values]
    probe_labels: t.Dict[str, str]
    spec: Values
    advertisements: t.List[Values]


class Peer(t.NamedTuple):
    """A BGP router."""

    name: str
    address: str
    nodes: t.List[Values]
    spec: Values
    given: t.Mapping[str, t.Any]


class Config(t.NamedTuple):
    """Everything that could be read, and a sentence for everything that could not."""

    mode: str
    pools: t.List[Pool]
    peers: t.List[Peer]
    bfd_profiles: t.Dict[str, Values]
    communities: t.Dict[str, str]
    passwords: t.Dict[str, str]
    problems: t.List[str]


# --- single values; each refusal is a ValuesError, a sentence without its full stop


def _mapping(value: t.Any, who: str, keys: t.Sequence[str]) -> t.Mapping[str, t.Any]:
    if not isinstance(value, t.Mapping):
        raise ValuesError(f"{who} is {value!r}, but must be a dict with the keys {', '.join(keys)}")
    unknown = sorted(str(key) for key in value if key not in keys)
    if unknown:
        raise ValuesError(f"{who} has {', '.join(unknown)}, which it cannot have; its keys are {', '.join(keys)}")
    return value


def _name(value: t.Any, who: str) -> str:
    # 53, because advertisements and Secrets are named after it
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?", value):
        raise ValuesError(f"{who} is {value!r}, but must be small letters, digits and dashes, 53 at the most")
    return value


def _number(value: t.Any, who: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,10}", str(value)) or not least <= int(value) <= most:
        raise ValuesError(f"{who} is {value!r}, but must be a number from {least} to {most}")
    return int(value)


def _flag(value: t.Any, who: str) -> bool:
    if value not in (True, False):
        raise ValuesError(f"{who} is {value!r}, but must be true or false")
    return bool(value)


def _texts(value: t.Any, who: str) -> t.List[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValuesError(f"{who} is {value!r}, but must be a list of names")
    if len(set(value)) < len(value):
        raise ValuesError(f"{who} names one twice ({', '.join(value)}); remove the double")
    return list(value)


def _ip(value: t.Any, who: str) -> str:
    try:
        return str(parse_address(value))
    except AddressError as error:
        raise ValuesError(f"{who} is {value!r}, which {error}") from None


def selectors(value: t.Any, who: str) -> t.List[Values]:
    """Label selectors as Kubernetes has them. One dict of labels is one selector; of a list, any one has to match."""
    found: t.List[Values] = []
    for item in [value] if isinstance(value, t.Mapping) else value if isinstance(value, list) else [None]:
        if not isinstance(item, t.Mapping) or not item:
            raise ValuesError(f"{who} is {value!r}, but must be labels such as {{rack: r1}}, or a list of them")
        if set(item) <= {"matchLabels", "matchExpressions"}:
            found.append(dict(item))
        elif all(isinstance(word, (str, int, float)) for word in item.values()):
            words = {True: "true", False: "false"}
            found.append({"matchLabels": {str(key): words[word] if isinstance(word, bool) else str(word) for key, word in item.items()}})
        else:
            raise ValuesError(f"{who} is {value!r}, but must be labels, or matchLabels and matchExpressions as Kubernetes has them")
    return found


def labels_of(selector: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    """Labels that a selector matches."""
    labels = dict(selector.get("matchLabels") or {})
    for row in selector.get("matchExpressions") or []:
        if row.get("operator") == "In":
            labels[row["key"]] = row["values"][0]
        elif row.get("operator") == "Exists":
            labels.setdefault(row["key"], "")
    return labels


def is_community(text: t.Any) -> bool:
    """ASN:VALUE of 16 bits each, or large:ASN:VALUE:VALUE of 32 bits each (internal/bgp/community)."""
    parts = text.split(":") if isinstance(text, str) else []
    bits = 16 if len(parts) == 2 else 32
    if bits == 32 and (len(parts) != 4 or parts.pop(0) != "large"):
        return False
    return all(re.fullmatch(r"[0-9]{1,10}", part) and int(part) < 2**bits for part in parts)


# --- pools


def _ranges(value: t.Any, who: str) -> t.Tuple[t.List[str], t.List[Range]]:
    """Addresses as MetalLB writes them, and as ranges. A single address is a network of one."""
    if not isinstance(value, list) or not value:
        raise ValuesError(f"{who} is {value!r}, but must be a list of networks, ranges first-last, or addresses")
    texts, ranges = [], []
    for item in value:
        try:
            found = parse_range(item)
        except AddressError as error:
            raise ValuesError(f"{who} has {item!r}, which {error}") from None
        single = "/" not in item and "-" not in item
        texts.append(f"{found}/{32 if found.version == 4 else 128}" if single else item.replace(" ", ""))
        ranges.append(found)
    return texts, ranges


def _allocation(pool: t.Mapping[str, t.Any], who: str) -> t.Tuple[Values, t.Dict[str, str]]:
    """(serviceAllocation, labels that the probe's Service needs to get an address)."""
    spec: Values = {}
    labels: t.Dict[str, str] = {}
    if "priority" in pool:
        spec["priority"] = _number(pool["priority"], f"priority of {who}", 1, 2**31 - 1)
    if pool.get("namespaces"):
        # MetalLB's own too: there are the Services that the role tries the pools with, and nobody else's
        spec["namespaces"] = [*(item for item in _texts(pool["namespaces"], f"namespaces of {who}") if item != NAMESPACE), NAMESPACE]
    if pool.get("services"):
        spec["serviceSelectors"] = selectors(pool["services"], f"services of {who}")
        labels = labels_of(spec["serviceSelectors"][0])
    return spec, labels


def _bgp_spec(given: t.Any, who: str) -> Values:
    bgp = _mapping(given, f"bgp of {who}", _BGP_KEYS)
    spec: Values = {}
    for key, field, most in (("aggregation_length", "aggregationLength", 32), ("aggregation_length_v6", "aggregationLengthV6", 128)):
        if key in bgp:
            spec[field] = _number(bgp[key], f"{key} of {who}", 1, most)
    if "local_preference" in bgp:
        spec["localPref"] = _number(bgp["local_preference"], f"local_preference of {who}", 0, 4294967295)
    for key in ("communities", "peers"):
        if bgp.get(key):
            spec[key] = _texts(bgp[key], f"{key} of {who}")
    return spec


def _advertisements(
    pool: t.Mapping[str, t.Any], name: str, protocol: str, interfaces: t.List[str], nodes: t.List[Values], who: str
) -> t.List[Values]:
    if pool.get("bgp") and protocol != "bgp":
        raise ValuesError(f"{who} has bgp, but its protocol is {protocol}; set protocol: bgp, or remove bgp")
    if interfaces and protocol != "layer2":
        raise ValuesError(f"{who} has interfaces, but its protocol is {protocol}; they count with layer2 only")
    if nodes and protocol == "none":
        raise ValuesError(f"{who} has nodes, but its protocol is none: MetalLB announces nothing from anywhere; remove them")
    common: Values = {"ipAddressPools": [name], **({"nodeSelectors": nodes} if nodes else {})}
    if protocol == "layer2":
        return [_object("v1beta1", "L2Advertisement", name, {**common, **({"interfaces": interfaces} if interfaces else {})})]
    if protocol == "none":
        return []
    given = pool.get("bgp") or {}
    rows = [_bgp_spec(row, who) for row in (given if isinstance(given, list) else [given])]
    for number, row in enumerate(rows):
        if row in rows[:number]:
            raise ValuesError(f"{who} has the same bgp entry twice; remove one")
    return [
        _object("v1beta1", "BGPAdvertisement", f"{name}-{number + 1}" if number else name, {**common, **row})
        for number, row in enumerate(rows)
    ]


def read_pool(given: t.Any, number: int) -> Pool:
    """One entry of metallb_pools."""
    pool = _mapping(given, f"number {number} of metallb_pools", _POOL_KEYS)
    name = _name(pool.get("name"), f"the name of number {number} of metallb_pools")
    who = f"pool {name}"
    texts, ranges = _ranges(pool.get("addresses"), f"addresses of {who}")
    protocol = pool.get("protocol", "layer2")
    if protocol not in PROTOCOLS:
        raise ValuesError(f"protocol of {who} is {protocol!r}, but must be one of {', '.join(PROTOCOLS)}")
    allocation, labels = _allocation(pool, who)
    interfaces = _texts(pool.get("interfaces") or [], f"interfaces of {who}")
    nodes = selectors(pool["nodes"], f"nodes of {who}") if pool.get("nodes") else []
    spec: Values = {
        "addresses": texts,
        "autoAssign": _flag(pool.get("auto_assign", True), f"auto_assign of {who}"),
        "avoidBuggyIPs": _flag(pool.get("avoid_buggy_ips", False), f"avoid_buggy_ips of {who}"),
        **({"serviceAllocation": allocation} if allocation else {}),
    }
    return Pool(name, protocol, ranges, interfaces, nodes, labels, spec, _advertisements(pool, name, protocol, interfaces, nodes, who))


# --- peers


def _as_numbers(peer: t.Mapping[str, t.Any], who: str, own: t.Any) -> Values:
    spec: Values = {"myASN": _number(peer.get("my_as_number", own), f"my_as_number of {who}", *_AS_NUMBER)}
    if ("as_number" in peer) == ("dynamic_as_number" in peer):
        raise ValuesError(f"{who} must have either as_number or dynamic_as_number (internal or external)")
    if "as_number" in peer:
        spec["peerASN"] = _number(peer["as_number"], f"as_number of {who}", *_AS_NUMBER)
    else:
        spec["dynamicASN"] = peer["dynamic_as_number"]
        if spec["dynamicASN"] not in ("internal", "external"):
            raise ValuesError(f"dynamic_as_number of {who} is {spec['dynamicASN']!r}, but must be internal or external")
    if "local_as_number" in peer:
        spec["localASN"] = _number(peer["local_as_number"], f"local_as_number of {who}", *_AS_NUMBER)
    return spec


def _timers(peer: t.Mapping[str, t.Any], who: str) -> Values:
    spec: Values = {}
    # 0 turns the hold time off, 1 and 2 are not allowed (RFC 4271)
    for key, field, least in (
        ("hold_seconds", "holdTime", 0),
        ("keepalive_seconds", "keepaliveTime", 0),
        ("connect_seconds", "connectTime", 1),
    ):
        if key in peer:
            spec[field] = f"{_number(peer[key], f'{key} of {who}', least, 65535)}s"
    if spec.get("holdTime") in ("1s", "2s"):
        raise ValuesError(f"hold_seconds of {who} is {peer['hold_seconds']!r}, but must be 0 (off) or at least 3")
    if "keepaliveTime" in spec and int(peer["keepalive_seconds"]) > int(peer.get("hold_seconds", 65535)):
        raise ValuesError(
            f"keepalive_seconds of {who} is {peer['keepalive_seconds']!r}, longer than hold_seconds {peer['hold_seconds']!r}; a "
            "third is usual"
        )
    return spec


def read_peer(given: t.Any, number: int, own_as_number: t.Any, passwords: t.Collection[str]) -> Peer:
    """One entry of metallb_peers."""
    peer = _mapping(given, f"number {number} of metallb_peers", _PEER_KEYS)
    name = _name(peer.get("name"), f"the name of number {number} of metallb_peers")
    who = f"peer {name}"
    if bool(peer.get("address")) == bool(peer.get("interface")):
        raise ValuesError(f"{who} must have either address, or interface for a session without addresses")
    spec = _as_numbers(peer, who, own_as_number)
    address = _ip(peer["address"], f"address of {who}") if peer.get("address") else ""
    spec.update({"peerAddress": address} if address else {"interface": str(peer["interface"])})
    if "port" in peer:
        # the field's own maximum, not TCP's
        spec["peerPort"] = _number(peer["port"], f"port of {who}", 1, 16384)
    for key, field in (("source_address", "sourceAddress"), ("router_id", "routerID")):
        if key in peer:
            spec[field] = _ip(peer[key], f"{key} of {who}")
    spec.update(_timers(peer, who))
    for key, field in (
        ("multihop", "ebgpMultiHop"),
        ("graceful_restart", "enableGracefulRestart"),
        ("dual_stack", "dualStackAddressFamily"),
    ):
        if key in peer:
            spec[field] = _flag(peer[key], f"{key} of {who}")
    if spec.get("ebgpMultiHop") and spec["myASN"] == spec.get("peerASN"):
        raise ValuesError(f"{who} has multihop and this cluster's own AS number {spec['myASN']}; multihop is for other AS numbers only")
    for key, field in (("bfd_profile", "bfdProfile"), ("vrf", "vrf")):
        if peer.get(key):
            spec[field] = str(peer[key])
    if name in passwords and peer.get("password_secret"):
        raise ValuesError(f"{who} has password_secret and a password in metallb_peer_passwords; remove one")
    secret = f"{_SECRET}{name}" if name in passwords else str(peer.get("password_secret") or "")
    if secret:
        spec["passwordSecret"] = {"name": secret, "namespace": NAMESPACE}
    nodes = selectors(peer["nodes"], f"nodes of {who}") if peer.get("nodes") else []
    if nodes:
        spec["nodeSelectors"] = nodes
    return Peer(name, address, nodes, spec, peer)


def read_bfd_profile(given: t.Any, number: int) -> t.Tuple[str, Values]:
    """One entry of metallb_bfd_profiles: name and spec."""
    keys = ("name", *_BFD_NUMBERS, *_BFD_FLAGS)
    profile = _mapping(given, f"number {number} of metallb_bfd_profiles", keys)
    name = _name(profile.get("name"), f"the name of number {number} of metallb_bfd_profiles")
    spec: Values = {}
    for key, (field, least, most) in _BFD_NUMBERS.items():
        if key in profile:
            spec[field] = _number(profile[key], f"{key} of BFD profile {name}", least, most)
    for key, field in _BFD_FLAGS.items():
        if key in profile:
            spec[field] = _flag(profile[key], f"{key} of BFD profile {name}")
    return name, spec


# --- all of it


def read(settings: t.Mapping[str, t.Any]) -> Config:
    """Read the settings of the role; what is wrong with single entries is in problems."""
    problems: t.List[str] = []

    def collect(name: str, attempt: t.Callable[[t.Any, int], t.Any]) -> t.List[t.Any]:
        found = []
        given = settings[name]
        if not isinstance(given, list):
            problems.append(f"metallb_{name} is {given!r}, but must be a list.")
            return []
        for number, item in enumerate(given):
            try:
                found.append(attempt(item, number + 1))
            except ValuesError as error:
                problems.append(f"metallb_{name}: {error}.")
        return found

    passwords = settings["peer_passwords"]
    if not isinstance(passwords, t.Mapping) or not all(passwords.values()):
        problems.append("metallb_peer_passwords must be a dict, name of a peer to its password, none of them empty.")
        passwords = {}
    communities = settings["communities"]
    if not isinstance(communities, t.Mapping):
        problems.append(f"metallb_communities is {communities!r}, but must be a dict, name to community.")
        communities = {}
    if settings["mode"] not in MODES:
        problems.append(f"metallb_mode is {settings['mode']!r}, but must be one of {', '.join(MODES)}.")
    profiles = collect("bfd_profiles", read_bfd_profile)
    pools = collect("pools", read_pool)
    peers = collect("peers", lambda item, number: read_peer(item, number, settings["as_number"], passwords))
    config = Config(
        settings["mode"], pools, peers, dict(profiles), {str(key): value for key, value in communities.items()}, dict(passwords), problems
    )
    names = {
        "pools": [pool.name for pool in pools],
        "peers": [peer.name for peer in peers],
        "bfd_profiles": [name for name, _spec in profiles],
    }
    for what, found in names.items():
        doubles = sorted({name for name in found if found.count(name) > 1})
        problems += [f"metallb_{what} has {name} twice; give each a name of its own." for name in doubles]
    _check_references(config)
    if config.mode == "native":
        _check_native(config)
    return config


def _check_references(config: Config) -> None:
    """Names that stand for something else must stand for something."""
    add = config.problems.append
    for name, value in config.communities.items():
        if not is_community(value):
            add(f"metallb_communities: {name} is {value!r}, but must be ASN:VALUE (16 bits each) or large:ASN:VALUE:VALUE (32 bits each).")
    peers = {peer.name for peer in config.peers}
    for pool in config.pools:
        for item in pool.advertisements:
            for name in item["spec"].get("peers", []):
                if name not in peers:
                    add(
                        f"metallb_pools: bgp of pool {pool.name} names peer {name}, but the peers are {', '.join(sorted(peers)) or 'none'}."
                    )
            for community in item["spec"].get("communities", []):
                if not is_community(community) and community not in config.communities:
                    add(
                        f"metallb_pools: pool {pool.name} has community {community!r}, which is neither one nor a name in "
                        "metallb_communities."
                    )
    for peer in config.peers:
        profile = peer.spec.get("bfdProfile")
        if profile and profile not in config.bfd_profiles:
            add(
                f"metallb_peers: peer {peer.name} has bfd_profile {profile!r}, but metallb_bfd_profiles has "
                f"{', '.join(config.bfd_profiles) or 'none'}."
            )
    strangers = sorted(str(name) for name in config.passwords if name not in peers)
    if strangers:
        add(f"metallb_peer_passwords has {', '.join(strangers)}, but the peers are {', '.join(sorted(peers)) or 'none'}.")
    if any(pool.protocol == "bgp" for pool in config.pools) and not config.peers:
        add("metallb_pools has a pool with protocol bgp, but there is nobody to tell; name the routers in metallb_peers.")


def _check_native(config: Config) -> None:
    """What MetalLB's own BGP cannot do and FRR can (DiscardFRROnly in internal/config/validation.go)."""
    add = config.problems.append
    other = "set metallb_mode to frr-k8s, or leave it out"
    if config.bfd_profiles:
        add(f"metallb_bfd_profiles is set and metallb_mode is native, which has no BFD; {other}.")
    for peer in config.peers:
        for key in _NATIVE_LACKS:
            if peer.given.get(key):
                add(f"metallb_peers: peer {peer.name} has {key} and metallb_mode is native, which does not know it; {other}.")
        if ":" in peer.address:
            add(f"metallb_peers: peer {peer.name} is {peer.address} and metallb_mode is native, which has no BGP over IPv6; {other}.")
    for pool in config.pools:
        if pool.protocol == "bgp" and any(item.version == 6 for item in pool.ranges):
            add(
                f"metallb_pools: pool {pool.name} has IPv6 and protocol bgp and metallb_mode is native, which announces IPv4 only; {other}."
            )
    used = [item for pool in config.pools for row in pool.advertisements for item in row["spec"].get("communities", [])]
    for value in [*config.communities.values(), *used]:
        if str(value).startswith("large:"):
            add(f"The community {value} is a large one and metallb_mode is native, which knows ASN:VALUE only; {other}.")


def checked(settings: t.Mapping[str, t.Any]) -> Config:
    """The settings, or a ValuesError with everything that is wrong with them."""
    config = read(settings)
    if config.problems:
        raise ValuesError(" ".join(config.problems).rstrip("."))
    return config


def _object(version: str, kind: str, name: str, spec: Values) -> Values:
    return {
        "apiVersion": f"metallb.io/{version}",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {**LABELS, "app.kubernetes.io/instance": name}},
        "spec": spec,
    }


def metallb_values(settings: t.Mapping[str, t.Any]) -> Values:
    """The chart's values; what the user gives is merged last."""
    mode = settings["mode"]
    if mode not in MODES:
        raise ValuesError(f"metallb_mode is {mode!r}, but must be one of {', '.join(MODES)}")
    values: Values = {
        # of the three ways to speak BGP; FRR inside of the speaker is deprecated
        "frrk8s": {"enabled": mode == "frr-k8s"},
        "speaker": {"frr": {"enabled": False}, "ignoreExcludeLB": bool(settings["ignore_exclude_label"])},
    }
    if not settings["workers"]:
        # without workers it has nowhere else to run; the chart gives the speaker the same two
        keys = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
        values["controller"] = {"tolerations": [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in keys]}
    return merge(values, settings["extra"])


def metallb_workloads(mode: str) -> t.List[t.Dict[str, str]]:
    """What has to run, as module kube_rollout takes it."""
    found = [("Deployment", "metallb-controller"), ("DaemonSet", "metallb-speaker")]
    if mode == "frr-k8s":
        found += [("DaemonSet", "metallb-frr-k8s"), ("Deployment", "metallb-frr-k8s-statuscleaner")]
    return [{"kind": kind, "namespace": NAMESPACE, "name": name} for kind, name in found]


def _selector_text(labels: t.Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _probe_service(pool: Pool, load_balancer_class: str) -> Values:
    """A Service that gets an address of this pool. The speakers' own pods are behind it, because without any MetalLB announces nothing."""
    spec: Values = {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Cluster",
        "selector": {"app.kubernetes.io/name": "metallb", "app.kubernetes.io/component": "speaker"},
        # nobody listens there, and nothing is sent
        "ports": [{"name": "discard", "port": PROBE_PORT, "protocol": "TCP", "targetPort": PROBE_PORT}],
    }
    if load_balancer_class:
        spec["loadBalancerClass"] = load_balancer_class
    metadata = {
        "name": f"probe-{pool.name}",
        "namespace": NAMESPACE,
        "labels": {**pool.probe_labels, **PROBE_LABELS},
        "annotations": {"metallb.io/address-pool": pool.name},
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _placeholder(secret: t.Mapping[str, t.Any]) -> Values:
    metadata = {"name": secret["name"], "namespace": secret["namespace"], "labels": dict(LABELS)}
    peer = secret["name"].removeprefix(_SECRET)
    data = {"password": f"<metallb_peer_passwords of {peer}>"}
    return {"apiVersion": "v1", "kind": "Secret", "type": secret["type"], "metadata": metadata, "stringData": data}


def metallb_resources(settings: t.Mapping[str, t.Any]) -> Values:
    """Options of module kube_apply (objects, secrets, prune_*), and what the gate needs (probe)."""
    config = checked(settings)
    objects = [_object("v1beta1", "BFDProfile", name, spec) for name, spec in config.bfd_profiles.items()]
    if config.communities:
        rows = [{"name": name, "value": value} for name, value in config.communities.items()]
        objects.append(_object("v1beta1", "Community", "communities", {"communities": rows}))
    objects += [_object("v1beta1", "IPAddressPool", pool.name, pool.spec) for pool in config.pools]
    objects += [_object("v1beta2", "BGPPeer", peer.name, peer.spec) for peer in config.peers]
    objects += [item for pool in config.pools for item in pool.advertisements]
    secrets = [
        {
            "name": f"{_SECRET}{name}",
            "namespace": NAMESPACE,
            "type": "kubernetes.io/basic-auth",
            "labels": dict(LABELS),
            "data": {"password": password},
        }
        for name, password in config.passwords.items()
    ]
    pools = ",".join(pool.name for pool in config.pools)
    return {
        "namespace": NAMESPACE,
        "workloads": metallb_workloads(config.mode),
        "objects": objects,
        "secrets": secrets,
        # the same for files that people look at
        "secret_placeholders": [_placeholder(item) for item in secrets],
        "prune_label": _selector_text(LABELS),
        "prune_kinds": list(KINDS),
        # A pool must be gone before another one may have its addresses.
        "stale_pools": f"{_selector_text(LABELS)},app.kubernetes.io/instance notin ({pools})",
        "probe": {
            "objects": [_probe_service(pool, str(settings["extra"].get("loadBalancerClass") or "")) for pool in config.pools],
            "prune_label": _selector_text(PROBE_LABELS),
            "pools": [
                {
                    "name": pool.name,
                    "service": f"probe-{pool.name}",
                    "protocol": pool.protocol,
                    "addresses": [str(item) for item in pool.ranges],
                    "interfaces": pool.interfaces,
                    "peers": (
                        sorted({name for row in pool.advertisements for name in row["spec"].get("peers", [])})
                        if all(row["spec"].get("peers") for row in pool.advertisements)
                        else []
                    ),
                }
                for pool in config.pools
            ],
            "peers": [
                {
                    "name": peer.name,
                    "address": peer.address,
                    "interface": peer.spec.get("interface", ""),
                    "vrf": peer.spec.get("vrf", ""),
                    "bfd": bool(peer.spec.get("bfdProfile")),
                    "nodes": peer.nodes,
                }
                for peer in config.peers
            ],
        },
    }
