# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""The routes and the chain that run, against those that should; the unit that made them makes them again."""

from __future__ import annotations

import ipaddress
import json
from typing import Any, Dict, List, Sequence

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import Runner

_TABLES = {4: "iptables", 6: "ip6tables"}


class PodRoutesError(Exception):
    """What is wrong with the routes and could not be mended."""


def _call(run: Runner, argv: List[str], timeout: float = 60) -> str:
    rc, out, err = run(argv, timeout)
    if rc:
        raise PodRoutesError(f"`{' '.join(argv)}` failed with {rc}: {(err or out).strip()[-500:]}")
    return out


def _network(text: str) -> str:
    # iproute2 shows a host's route without its prefix
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        return text


def read_routes(run: Runner, versions: Sequence[int]) -> List[Dict[str, Any]]:
    """Routes of the main table: destination, gateway, protocol, usable."""
    result = []
    for version in sorted(set(versions)):
        out = _call(run, ["ip", "-j", f"-{version}", "route", "show", "table", "main"])
        try:
            routes = json.loads(out or "[]")
        except ValueError:
            raise PodRoutesError(f"`ip -j -{version} route show` printed no JSON: {out[:200]!r}") from None
        for route in routes:
            result.append(
                {
                    "destination": _network(str(route.get("dst", ""))),
                    "gateway": route.get("gateway"),
                    "device": route.get("dev"),
                    "protocol": str(route.get("protocol")),
                    "version": version,
                    "usable": "dead" not in (route.get("flags") or []),
                }
            )
    return result


def _describe(route: Dict[str, Any]) -> str:
    return f"{route['destination']} via {route['gateway']}"


def compare_routes(running: Sequence[Dict[str, Any]], wanted: Sequence[Dict[str, Any]], protocol: int) -> Dict[str, List[Dict[str, Any]]]:
    """missing: wanted and not there. stale: ours (by the protocol number) and no longer wanted."""
    there = {(route["destination"], route["gateway"]) for route in running if route["usable"]}
    keep = {_network(route["destination"]) for route in wanted}
    return {
        "missing": [route for route in wanted if (_network(route["destination"]), route["gateway"]) not in there],
        "stale": [route for route in running if route["protocol"] == str(protocol) and route["destination"] not in keep],
    }


def chain_drift(run: Runner, chain: Dict[str, Any], parent: str) -> List[str]:
    """How the running chain of the nat table differs, one sentence part each; nothing when it is as wanted."""
    command, name = _TABLES[chain["ip_version"]], chain["chain"]
    rc, out, err = run([command, "-w", "60", "-t", "nat", "-S", name], 90)
    if rc:
        return [f"{command}: no chain {name} ({err.strip().splitlines()[0] if err.strip() else 'no message'})"]
    rules = [line for line in out.splitlines() if line.startswith("-A ")]
    result = []
    if rules != list(chain["rules"]):
        result.append(f"{command}: chain {name} has {len(rules)} rules that are not the {len(chain['rules'])} wanted ones")
    rc, out, err = run([command, "-w", "60", "-t", "nat", "-C", parent, "-j", name], 90)
    if rc:
        result.append(f"{command}: {parent} does not jump to {name}")
    return result


def _drift(
    run: Runner, wanted: Sequence[Dict[str, Any]], chains: Sequence[Dict[str, Any]], protocol: int, parent: str
) -> Dict[str, List[Any]]:
    versions = [chain["ip_version"] for chain in chains] or [4]
    found = compare_routes(read_routes(run, versions), wanted, protocol)
    return {**found, "chains": [text for chain in chains for text in chain_drift(run, chain, parent)]}


def ensure(
    run: Runner,
    wanted: Sequence[Dict[str, Any]],
    chains: Sequence[Dict[str, Any]],
    unit: str,
    protocol: int,
    check_mode: bool,
    parent: str = "POSTROUTING",
) -> Dict[str, Any]:
    """{changed, missing, removed, chains}: what had to be mended, as text."""
    try:
        drift = _drift(run, wanted, chains, protocol, parent)
    except PodRoutesError:
        if not check_mode:
            raise
        # ip may be installed by an earlier task
        drift = {"missing": list(wanted), "stale": [], "chains": []}
    result = {
        "missing": [_describe(route) for route in drift["missing"]],
        "removed": [_describe(route) for route in drift["stale"]],
        "chains": drift["chains"],
    }
    changed = any(result.values())
    if changed and not check_mode:
        if drift["missing"] or drift["chains"]:
            _call(run, ["systemctl", "restart", unit], 180)
        for route in drift["stale"]:
            _call(
                run,
                ["ip", f"-{route['version']}", "route", "del", route["destination"], "via", str(route["gateway"]), "proto", str(protocol)],
            )
        left = _drift(run, wanted, chains, protocol, parent)
        problems = [f"no route {_describe(route)} (node {route['node']})" for route in left["missing"]] + left["chains"]
        problems += [f"the route {_describe(route)} of a former node is still there" for route in left["stale"]]
        if problems:
            raise PodRoutesError(
                f"After a restart of {unit} this is still wrong: {'; '.join(problems)}."
                f" Look at `systemctl status {unit}` and `ip route`; the gateway must be in a network of this node, and its interface up."
            )
    return {"changed": changed, **result}
