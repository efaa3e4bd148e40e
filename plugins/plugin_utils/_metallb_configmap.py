# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""MetalLB's configuration until 0.12, a ConfigMap, as the settings of role metallb. Keys after internal/config/config.go of v0.12.1."""

from __future__ import annotations

import re
import typing as t

import yaml

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._cluster import duration_seconds
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._helm_values import Values, ValuesError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import dump_documents, plain

_TOP = ("address-pools", "peers", "bgp-communities", "bfd-profiles")
_POOL = ("name", "protocol", "addresses", "avoid-buggy-ips", "auto-assign", "bgp-advertisements")
_ADVERTISEMENT = {
    "aggregation-length": "aggregation_length",
    "aggregation-length-v6": "aggregation_length_v6",
    "localpref": "local_preference",
    "communities": "communities",
}
_PEER = {
    "my-asn": "my_as_number",
    "peer-asn": "as_number",
    "peer-address": "address",
    "source-address": "source_address",
    "peer-port": "port",
    "router-id": "router_id",
    "bfd-profile": "bfd_profile",
    "ebgp-multihop": "multihop",
}
_TIMERS = {"hold-time": "hold_seconds", "keepalive-time": "keepalive_seconds"}
_SELECTOR = {"match-labels": "matchLabels", "match-expressions": "matchExpressions"}
_BFD = ("name", "receive-interval", "transmit-interval", "detect-multiplier", "echo-interval", "echo-mode", "passive-mode", "minimum-ttl")


def _parsed(value: t.Any) -> t.Any:
    if not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        # where, and not what: the text may hold passwords
        mark = getattr(error, "problem_mark", None)
        raise ValuesError("metallb_address_pools is no YAML" + (f", see its line {mark.line + 1}" if mark else "")) from None


def _kind(value: t.Any) -> str:
    """For messages; the value itself may hold passwords."""
    names = {type(None): "nothing", str: "text", list: "a list", dict: "a dict"}
    return names.get(type(value), type(value).__name__)


def _configuration(value: t.Any) -> t.Mapping[str, t.Any]:
    """The whole configuration, whatever part of it was given: the ConfigMap, its text, or the list of pools."""
    found = _parsed(value)
    if isinstance(found, t.Mapping) and found.get("kind") == "ConfigMap":
        found = _parsed((found.get("data") or {}).get("config"))
    if isinstance(found, list):
        found = {"address-pools": found}
    return _known(found, "metallb_address_pools", _TOP)


def _known(value: t.Any, who: str, keys: t.Iterable[str]) -> t.Mapping[str, t.Any]:
    words = ", ".join(keys)
    if not isinstance(value, t.Mapping):
        raise ValuesError(f"{who} is {_kind(value)}, but must be a dict with the keys {words}, as MetalLB's ConfigMap had them")
    unknown = sorted(str(key) for key in value if key not in keys)
    if unknown:
        raise ValuesError(f"{who} has {', '.join(unknown)}, which MetalLB's ConfigMap did not know; its keys are {words}")
    return value


def _rows(config: t.Mapping[str, t.Any], key: str) -> t.List[t.Any]:
    found = config.get(key) or []
    if not isinstance(found, list):
        raise ValuesError(f"{key} of metallb_address_pools is {_kind(found)}, but must be a list")
    return found


def _object_name(text: t.Any) -> str:
    """Names had no rules in the ConfigMap, those of objects have."""
    return re.sub(r"[^a-z0-9]+", "-", str(text or "").lower()).strip("-")[:53].rstrip("-")


def _pool(given: t.Any, number: int) -> Values:
    pool = _known(given, f"address pool {number}", _POOL)
    result: Values = {
        "name": _object_name(pool.get("name")),
        "addresses": pool.get("addresses") or [],
        "protocol": pool.get("protocol"),
    }
    for key in ("avoid-buggy-ips", "auto-assign"):
        if key in pool:
            result[key.replace("-", "_")] = pool[key]
    rows = [
        {new: row[old] for old, new in _ADVERTISEMENT.items() if old in row}
        for row in (
            _known(item, f"bgp-advertisements of address pool {number}", _ADVERTISEMENT) for item in _rows(pool, "bgp-advertisements")
        )
    ]
    if rows:
        result["bgp"] = rows[0] if len(rows) == 1 else rows
    return result


def _peer(given: t.Any, number: int) -> t.Tuple[Values, str]:
    """(peer, password)"""
    peer = _known(given, f"peer {number}", (*_PEER, *_TIMERS, "node-selectors", "password"))
    result: Values = {"name": f"peer-{number}", **{new: peer[old] for old, new in _PEER.items() if old in peer}}
    for old, new in _TIMERS.items():
        if old in peer:
            seconds = duration_seconds(peer[old])
            if seconds is None:
                raise ValuesError(f"{old} of peer {number} is {peer[old]!r}, but must be a duration such as 90s")
            result[new] = int(seconds)
    nodes = [
        {new: row[old] for old, new in _SELECTOR.items() if old in row}
        for row in (_known(item, f"node-selectors of peer {number}", _SELECTOR) for item in _rows(peer, "node-selectors"))
    ]
    if nodes:
        result["nodes"] = nodes
    return result, str(peer.get("password") or "")


def from_configmap(value: t.Any) -> Values:
    """{pools, peers, peer_passwords, bfd_profiles, communities, text}: the settings by their names, and as YAML without the passwords."""
    config = _configuration(value)
    peers = [_peer(item, number + 1) for number, item in enumerate(_rows(config, "peers"))]
    communities = config.get("bgp-communities") or {}
    if not isinstance(communities, t.Mapping):
        raise ValuesError(f"bgp-communities of metallb_address_pools is {_kind(communities)}, but must be a dict, name to community")
    result: Values = {
        "pools": [_pool(item, number + 1) for number, item in enumerate(_rows(config, "address-pools"))],
        "peers": [peer for peer, _password in peers],
        "bfd_profiles": [
            {
                key.replace("-", "_"): _object_name(word) if key == "name" else word
                for key, word in _known(item, "a BFD profile", _BFD).items()
            }
            for item in _rows(config, "bfd-profiles")
        ],
        "communities": dict(communities),
    }
    for peer in result["peers"]:
        if "bfd_profile" in peer:
            peer["bfd_profile"] = _object_name(peer["bfd_profile"])
    passwords = {peer["name"]: password for peer, password in peers if password}
    shown = {f"metallb_{key}": found for key, found in result.items() if found}
    if passwords:
        shown["metallb_peer_passwords"] = {name: f"{{{{ vault_{name.replace('-', '_')}_password }}}}" for name in passwords}
    return plain({**result, "peer_passwords": passwords, "text": dump_documents([shown]).removeprefix("---\n") if shown else ""})
