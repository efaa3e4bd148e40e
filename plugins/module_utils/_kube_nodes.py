# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""The nodes as the API server knows them, and waiting until they are what a role needs."""

from __future__ import annotations

import ipaddress
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApiError

NODES_PATH = "/api/v1/nodes"
WAIT_FOR = ("registered", "pod_cidr", "ready")

_WORDS = {"registered": "registered", "pod_cidr": "given a pod range", "ready": "Ready"}
_NEXT = {
    "registered": "Look at `journalctl -u kubelet` on the node; was it joined to this cluster?",
    "pod_cidr": "Pod ranges come from kube-controller-manager (--allocate-node-cidrs, --cluster-cidr): look at its log in namespace kube-system.",
    "ready": "Look at `kubectl describe node NAME` and at `journalctl -u kubelet` on the node.",
}

DAEMON_SETS_PATH = "/apis/apps/v1/daemonsets"
# The DaemonSets of pod networks, whoever installed them.
_DAEMON_SETS = {
    "kube-flannel-ds": "flannel",
    "kube-flannel": "flannel",
    "calico-node": "calico",
    "canal": "canal",
    "cilium": "cilium",
    "weave-net": "weave",
    "kube-router": "kube-router",
    "antrea-agent": "antrea",
}


class KubeNodesError(Exception):
    """The nodes are not what they should be; one sentence or two, with the nodes as evidence."""

    def __init__(self, message: str, nodes: Sequence[Dict[str, Any]] = ()) -> None:
        super().__init__(message)
        self.nodes = list(nodes)


def _same(one: str, other: str) -> bool:
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return one == other


def summary(node: Dict[str, Any]) -> Dict[str, Any]:
    """What roles need of a Node object."""
    metadata, spec, state = node.get("metadata") or {}, node.get("spec") or {}, node.get("status") or {}
    ready: Optional[bool] = None
    message = "kubelet has not reported a Ready condition yet"
    for condition in state.get("conditions") or []:
        if condition.get("type") == "Ready":
            ready = {"True": True, "False": False}.get(condition.get("status"))
            message = ": ".join(part for part in (condition.get("reason"), condition.get("message")) if part)
    labels = metadata.get("labels") or {}
    return {
        "name": metadata.get("name", ""),
        "uid": metadata.get("uid", ""),
        "addresses": [item["address"] for item in state.get("addresses") or [] if item.get("type") == "InternalIP"],
        "pod_cidrs": list(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])),
        "ready": ready,
        "ready_message": message,
        "unschedulable": bool(spec.get("unschedulable")),
        "control_plane": any(f"node-role.kubernetes.io/{role}" in labels for role in ("control-plane", "master")),
        "kubelet_version": (state.get("nodeInfo") or {}).get("kubeletVersion", ""),
    }


def another(get: Callable[[str], Any], pod_network: str) -> str:
    """What there is to say where the cluster has the DaemonSet of another pod network than this one, else ""; KubeApiError."""
    for item in (get(DAEMON_SETS_PATH) or {}).get("items") or []:
        metadata = item.get("metadata") or {}
        found = _DAEMON_SETS.get(str(metadata.get("name")))
        if found and found != pod_network:
            return (
                f"The cluster has the pod network {found} (DaemonSet {metadata.get('namespace')}/{metadata.get('name')}), but cluster_cni is "
                f"{pod_network!r}; two at once take each other's addresses and rules, and pods that run keep what they have. "
                f"Set cluster_cni to {found}, or change it as docs/choosing-a-cni.md says."
            )
    return ""


def refuse_another(get: Callable[[str], Any], pod_network: str) -> None:
    """KubeNodesError where there is another one; KubeApiError."""
    sentence = another(get, pod_network)
    if sentence:
        raise KubeNodesError(sentence)


def find(nodes: Sequence[Dict[str, Any]], address: str) -> Optional[Dict[str, Any]]:
    """The node with this address."""
    for node in nodes:
        if any(_same(address, other) for other in node["addresses"]):
            return node
    return None


def lacking(nodes: Sequence[Dict[str, Any]], addresses: Sequence[str], wait_for: str) -> List[str]:
    """What is still missing, one sentence part per node; addresses empty: all nodes that there are."""
    result = []
    wanted: List[Optional[Dict[str, Any]]] = [find(nodes, address) for address in addresses] if addresses else list(nodes)
    for position, node in enumerate(wanted):
        if node is None:
            result.append(f"{addresses[position]}: no node has this address")
        elif wait_for == "pod_cidr" and not node["pod_cidrs"]:
            result.append(f"{node['name']}: no pod range")
        elif wait_for == "ready" and node["ready"] is not True:
            state = "not Ready" if node["ready"] is False else "Ready unknown"
            result.append(f"{node['name']}: {state}: {node['ready_message']}")
    if not wanted:
        result.append("the cluster has no node")
    return result


def wait(
    get: Callable[[str], Any],
    addresses: Sequence[str],
    wait_for: str,
    wait_seconds: float,
    poll_seconds: float = 5,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, Any]:
    """{nodes, waited} as soon as every wanted node is what wait_for says; KubeNodesError when the time is over.

    An API server that does not answer is asked again: right after a control plane was made it restarts once or twice.
    """
    begin = clock()
    nodes: List[Dict[str, Any]] = []
    while True:
        problem = ""
        try:
            answer = get(NODES_PATH) or {}
            nodes = [summary(item) for item in answer.get("items") or []]
            missing = lacking(nodes, addresses, wait_for)
            if not missing:
                return {"nodes": nodes, "waited": round(clock() - begin, 1)}
        except KubeApiError as error:
            missing, problem = [], str(error)
        waited = clock() - begin
        if waited + poll_seconds > wait_seconds:
            break
        sleep(poll_seconds)
    if problem:
        raise KubeNodesError(f"The nodes could not be read within {waited:.0f} seconds. {problem}", nodes)
    total = len(addresses) or len(nodes)
    raise KubeNodesError(
        f"{total - len(missing)} of {total} nodes are {_WORDS[wait_for]} after {waited:.0f} seconds. {'; '.join(missing)}. {_NEXT[wait_for]}", nodes
    )
