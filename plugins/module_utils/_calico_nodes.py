# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What Calico wrote about each node into the cluster, and waiting until it is what a role needs.

The annotations are those of the Kubernetes datastore (projectcalico/calico, libcalico-go/lib/backend/k8s/resources/node.go).
"""

from __future__ import annotations

import ipaddress
import time
from typing import Any, Callable, Dict, List, Sequence

from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, Check, check

Node = Dict[str, Any]

NODES = "/api/v1/nodes"
OPERATOR_API = "/apis/operator.tigera.io/v1"
GROUPS = ("crd.projectcalico.org/v1", "projectcalico.org/v3")
WAIT_FOR = ("nothing", "installation", "nodes")

_ADDRESS = {4: "projectcalico.org/IPv4Address", 6: "projectcalico.org/IPv6Address"}
_WIREGUARD = {4: "projectcalico.org/WireguardPublicKey", 6: "projectcalico.org/WireguardPublicKeyV6"}
_LOG = "`kubectl -n calico-system logs -c calico-node POD` of the pod that `kubectl -n calico-system get pods -o wide` shows on the node"


def summary(node: Dict[str, Any]) -> Node:
    """What roles need of a Node object."""
    metadata = node.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    addresses = (node.get("status") or {}).get("addresses") or []
    return {
        "name": metadata.get("name", ""),
        "uid": metadata.get("uid", ""),
        "addresses": [item["address"] for item in addresses if item.get("type") == "InternalIP"],
        "labels": metadata.get("labels") or {},
        "calico_addresses": [annotations[key] for key in _ADDRESS.values() if annotations.get(key)],
        "wireguard_ip_versions": [version for version, key in _WIREGUARD.items() if annotations.get(key)],
        "route_reflector_cluster_id": annotations.get("projectcalico.org/RouteReflectorClusterID", ""),
    }


def _address_check(node: Node, version: int) -> Check:
    identifier = f"calico_address/{node['name']}" + ("/ipv6" if version == 6 else "")
    own = next((address for address in map(ipaddress.ip_address, node["addresses"]) if address.version == version), None)
    if own is None:
        fix = "Give the kubelet both addresses with --node-ip, or take the IPv6 network out of the pod network."
        wanted = f"an InternalIP of IPv{version}, as pods have that version"
        return check(identifier, FAIL, f"the node has no IPv{version} address", wanted, fix)
    wanted = f"the node IP {own} in annotation {_ADDRESS[version]}"
    seen = []
    for text in node["calico_addresses"]:
        try:
            seen.append(ipaddress.ip_interface(text).ip)
        except ValueError:
            return check(identifier, UNKNOWN, f"Calico wrote {text!r}, which is no address", wanted, f"Look at {_LOG}.")
    seen = [address for address in seen if address.version == version]
    if not seen:
        return check(identifier, FAIL, "calico-node has not written an address yet", wanted, f"Look at {_LOG}.")
    if seen != [own]:
        field = f"nodeAddressAutodetectionV{version}"
        fix = f"Something else than this role set the autodetection: `kubectl get installation default -o yaml`, field {field}."
        return check(identifier, FAIL, f"Calico took {seen[0]}", wanted, fix)
    return check(identifier, PASS, f"Calico took the node IP {own}", wanted)


def _wireguard_check(node: Node, versions: Sequence[int]) -> Check:
    identifier = f"wireguard/{node['name']}"
    wanted = "a WireGuard public key, without which Calico sends the traffic of this node in plain text"
    missing = [f"IPv{version}" for version in versions if version not in node["wireguard_ip_versions"]]
    if not missing:
        return check(identifier, PASS, "the node has a WireGuard public key", wanted)
    fix = f"On the node: `modprobe wireguard` (Linux 5.6 or later; EL has it from 9); then {_LOG}."
    return check(identifier, FAIL, f"no WireGuard public key for {' and '.join(missing)}", wanted, fix)


def checks_of(nodes: Sequence[Node], versions: Sequence[int], wireguard: bool) -> List[Check]:
    """Findings about every node; no node at all is nothing known."""
    found: List[Check] = []
    for node in nodes:
        found += [_address_check(node, version) for version in versions]
        if wireguard:
            found.append(_wireguard_check(node, versions))
    return found or [check("calico_address", UNKNOWN, "the cluster has no node", "nodes", "Run the roles control_plane and worker before.")]


def read(get: Callable[[str], Any], group: str, versions: Sequence[int], wireguard: bool) -> Dict[str, Any]:
    """One look at the cluster. Whatever Calico has not made yet is absent, not an error."""
    api = get(OPERATOR_API) or {}
    kinds = {item.get("kind") for item in api.get("resources") or []}
    bgp = get(f"/apis/{group}/bgpconfigurations/default") or {}
    status = get(f"{OPERATOR_API}/tigerastatuses") if "TigeraStatus" in kinds else None
    nodes = [summary(item) for item in (get(NODES) or {}).get("items") or []]
    return {
        "installation": "Installation" in kinds,
        # not said is on
        "mesh": (bgp.get("spec") or {}).get("nodeToNodeMeshEnabled") is not False,
        "operator": complaints((status or {}).get("items") or []),
        "nodes": nodes,
        "checks": checks_of(nodes, versions, wireguard),
    }


def complaints(items: Sequence[Dict[str, Any]]) -> List[str]:
    """What the operator says is wrong, by component."""
    found = []
    for item in items:
        for condition in (item.get("status") or {}).get("conditions") or []:
            if (condition.get("type"), condition.get("status")) == ("Degraded", "True"):
                said = ": ".join(part for part in (condition.get("reason"), condition.get("message")) if part)
                found.append(f"{item['metadata']['name']}: {said or 'degraded, without a reason'}")
    return found


def reached(result: Dict[str, Any], wait_for: str) -> bool:
    """Whether a look showed what is waited for."""
    if wait_for == "nodes":
        return all(item["status"] == PASS for item in result["checks"])
    return wait_for == "nothing" or bool(result["installation"])


def wait(
    look: Callable[[], Dict[str, Any]],
    wait_for: str,
    wait_seconds: float,
    poll_seconds: float = 5,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, Any]:
    """The last look with waited and reached; KubeApiError when the API server gave no answer to the end."""
    begin = clock()
    while True:
        waited = clock() - begin
        last = waited + poll_seconds > wait_seconds
        try:
            result = look()
            done = reached(result, wait_for)
            if done or last:
                return {**result, "waited": round(clock() - begin, 1), "reached": done}
        except KubeApiError:
            if last:
                raise
        sleep(poll_seconds)


def message(result: Dict[str, Any], wait_for: str) -> str:
    """Why what was waited for did not come."""
    if wait_for == "installation":
        said = (
            "The API server does not serve operator.tigera.io/v1 Installation, but Calico's operator has to make that kind when it starts. "
            "Look at `kubectl -n tigera-operator get pods` and `kubectl -n tigera-operator logs deployment/tigera-operator`."
        )
    else:
        bad = [item for item in result["checks"] if item["status"] != PASS]
        parts = [f"{item['id']}: {item['observed']}. Wanted: {item['wanted']}. {item['fix']}" for item in bad]
        said = f"{len(bad)} of {len(result['checks'])} findings are no pass after {result['waited']:.0f} seconds. " + " ".join(parts)
    return said + "".join(f" The operator says: {text.rstrip('.')}." for text in result["operator"])
