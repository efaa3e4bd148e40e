# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Whether Cilium's BGP sessions are established, as its agents report it in the CiliumBGPNodeConfig of their node."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_nodes import NODES_PATH, find, summary
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, Check, check

Object = Dict[str, Any]

NODE_CONFIGS_PATH = "/apis/cilium.io/v2/ciliumbgpnodeconfigs"
ESTABLISHED = "established"
# Of pkg/bgp in Cilium 1.20. GoBGP is "active" also while it tries to connect.
_CAUSES = {
    "idle": "the session is off for a moment after an error",
    "active": "{peer} does not accept the connection to port {port}/tcp: it does not have this node as a neighbour, does not run BGP, "
    "a firewall drops the packets, it is more hops away than multihop says, or the passwords differ",
    "open_sent": "{peer} takes the connection, but not the session: its AS numbers for the two sides are others, "
    "or it offers another address family",
}
_CAUSES["connect"], _CAUSES["open_confirm"] = _CAUSES["active"], _CAUSES["open_sent"]
_RECONCILE_ERROR = "cilium.io/BGPReconcileError"


class Session(NamedTuple):
    """What one node shall have; peer: {name, address, nodes, port}."""

    node: str
    peer: Mapping[str, Any]

    @property
    def key(self) -> Tuple[str, str]:
        return self.node, self.peer["name"]


def expected(nodes: Sequence[Object], addresses: Sequence[str], peers: Sequence[Mapping[str, Any]]) -> List[Session]:
    """Each node (of those with these addresses; of all without any) with each peer whose labels it has."""
    wanted = {node["metadata"]["name"]: node["metadata"].get("labels") or {} for node in nodes}
    if addresses:
        known = [summary(node) for node in nodes]
        names = {found["name"] for found in (find(known, address) for address in addresses) if found}
        wanted = {name: labels for name, labels in wanted.items() if name in names}
    return [
        Session(name, peer)
        for name, labels in sorted(wanted.items())
        for peer in peers
        if all(labels.get(key) == value for key, value in peer["nodes"].items())
    ]


def reported(config: Optional[Object], peer: Mapping[str, Any]) -> Object:
    """The agent's report of one peer; empty without one."""
    for instance in ((config or {}).get("status") or {}).get("bgpInstances") or []:
        for row in instance.get("peers") or []:
            # the address too: after a change of the peer, a report of the one before is still there for a moment
            if row.get("name") == peer["name"] and row.get("peerAddress") == peer["address"]:
                return row
    return {}


def is_established(configs: Mapping[str, Object], session: Session) -> bool:
    return reported(configs.get(session.node), session.peer).get("peeringState") == ESTABLISHED


def finding(configs: Mapping[str, Object], session: Session, steady: float, stable_seconds: float) -> Check:
    """What there is to say about one session that has been established for so many seconds of the watch."""
    node, peer = session.node, session.peer
    config, wanted = configs.get(node), f"{ESTABLISHED}{f' for {stable_seconds:g} s' if stable_seconds else ''}"
    row = reported(config, peer)
    state = row.get("peeringState")
    identifier, who = f"bgp_peers/{node}/{peer['name']}", f"peer {peer['name']} ({peer['address']}) of node {node}"
    pod = f"kubectl -n kube-system get pods -o name -l k8s-app=cilium --field-selector spec.nodeName={node}"
    agent = f"kubectl -n kube-system logs -c cilium-agent $({pod}) | grep -i bgp"
    look = f"Look with: `kubectl get ciliumbgpnodeconfig {node} -o yaml`; `{agent}`."
    if config is None:
        operator = "`kubectl -n kube-system logs deploy/cilium-operator`"
        fix = f"Cilium's operator makes it: {operator}; `kubectl get ciliumnode {node} --show-labels`."
        return check(identifier, FAIL, f"{who} is not known to Cilium: there is no CiliumBGPNodeConfig {node}", wanted, fix)
    errors = [
        f"; the agent says: {' '.join(str(item.get('message')).split())[:300]}"
        for item in (config.get("status") or {}).get("conditions") or []
        if item.get("type") == _RECONCILE_ERROR and item.get("status") == "True"
    ]
    if not state:
        observed = f"the agent does not tell the state of {who}{''.join(errors)}"
        return check(identifier, FAIL if errors else UNKNOWN, observed, wanted, f"Is bgpControlPlane.statusReport of the chart off? {look}")
    if state != ESTABLISHED:
        cause = _CAUSES.get(state, "").format(peer=peer["address"], port=peer["port"])
        fix = f"Usual cause: {cause}. {look}" if cause else look
        return check(identifier, FAIL, f"{who} is {state}{''.join(errors)}", wanted, fix)
    since = f"{ESTABLISHED} since {row.get('establishedTime') or 'an unknown time'}"
    if steady < stable_seconds:
        return check(identifier, UNKNOWN, f"{who} is {since}, seen so for {steady:.0f} s only", wanted, f"Wait longer. {look}")
    return check(identifier, PASS, since, wanted)


def wait(
    get: Callable[[str], Any],
    peers: Sequence[Mapping[str, Any]],
    addresses: Sequence[str],
    wait_seconds: float,
    poll_seconds: float = 3,
    stable_seconds: float = 0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, Any]:
    """{checks, waited} as soon as every session has been established for stable_seconds, or when the time is over."""
    begin = clock()
    # When a session was first seen established without a break.
    since: Dict[Tuple[str, str], float] = {}
    while True:
        try:
            sessions = expected((get(NODES_PATH) or {}).get("items") or [], addresses, peers)
            configs = {item["metadata"]["name"]: item for item in (get(NODE_CONFIGS_PATH) or {}).get("items") or []}
            now = clock()
            since = {session.key: since.get(session.key, now) for session in sessions if is_established(configs, session)}
            checks = [finding(configs, session, now - since.get(session.key, now), stable_seconds) for session in sessions]
        except KubeApiError as error:
            fix = "Does the API server run? `crictl ps -a --name kube-apiserver` on the control planes."
            checks = [check("bgp_peers", UNKNOWN, str(error), f"the state of {len(peers)} BGP peers", fix)]
        waited = clock() - begin
        if all(item["status"] == PASS for item in checks) or waited + poll_seconds > wait_seconds:
            return {"checks": checks, "waited": round(waited, 1)}
        sleep(poll_seconds)
