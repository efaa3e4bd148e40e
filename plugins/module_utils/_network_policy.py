# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Does the pod network enforce a NetworkPolicy? Deny all ingress to the probe pods, try, allow it again, try."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Sequence

from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApi, KubeApiError, reason
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, Check, check
from ansible_collections.baremetal.kubernetes.plugins.module_utils._probe_pods import LABELS, OWNER, policy_path, remove_policy

# attempt() -> one result of each other pod, {"node"} or {"error"}
Attempt = Callable[[], List[Dict[str, Any]]]
_POLL = 1.0


def policy(namespace: str) -> Dict[str, Any]:
    """Nobody may connect to a probe pod."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "verify", "namespace": namespace, "labels": LABELS},
        "spec": {"podSelector": {"matchLabels": LABELS}, "policyTypes": ["Ingress"]},
    }


def try_policy(
    api: KubeApi,
    namespace: str,
    nodes: Sequence[str],
    attempt: Attempt,
    wait_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> List[Check]:
    """One finding network_policy/NODE per other node: its pod is reached, is not while the policy is there, and is again."""

    def until(wanted: Callable[[Dict[str, Any]], bool]) -> List[Dict[str, Any]]:
        end = clock() + wait_seconds
        while True:
            results = attempt()
            if all(wanted(result) for result in results) or clock() > end:
                return results
            sleep(_POLL)

    before = until(lambda result: "node" in result)
    path = f"{policy_path(namespace)}?fieldManager={OWNER}&force=true"
    try:
        status, answer = api.request("PATCH", path, policy(namespace), "application/apply-patch+yaml")
        if status not in (200, 201):
            raise KubeApiError(f"{api.server} answered {status} when NetworkPolicy verify was applied: {reason(answer)}")
        until(lambda result: "error" in result)
        # once more: one failure may be a lost packet
        during = attempt()
    finally:
        # a policy that stayed would break the next run's traffic; that one removes it too
        remove_policy(api, namespace)
    after = until(lambda result: "node" in result)
    return [_judge(*row, wait_seconds) for row in zip(nodes, before, during, after)]


def _judge(node: str, before: Dict[str, Any], during: Dict[str, Any], after: Dict[str, Any], wait_seconds: float) -> Check:
    identifier = f"network_policy/{node}"
    wanted = f"the pod on node {node} is reached, is not while a NetworkPolicy denies it, and is again"
    if "error" in before:
        seen = f"not tried: without any policy it is not reached ({before['error']})"
        return check(identifier, UNKNOWN, seen, wanted, f"See finding pod_to_pod/{node}.")
    agent = (
        f"Look at the pod network's agent on node {node} (`kubectl get pods -A -o wide --field-selector spec.nodeName={node}`) and its log"
    )
    if "node" in during:
        seen = f"it still answers {wait_seconds:g} s after a NetworkPolicy denied it"
        return check(identifier, FAIL, seen, wanted, f"{agent}: policies are not enforced there.")
    if "error" in after:
        seen = f"it is denied, but {wait_seconds:g} s after the policy was removed it is still not reached: {after['error']}"
        return check(identifier, FAIL, seen, wanted, f"{agent}: a policy that is gone is still enforced there.")
    return check(identifier, PASS, f"denied ({during['error']}), and reached before and after", wanted)
