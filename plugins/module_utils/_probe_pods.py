# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""One idle pod per node and a Service in front of them, as ends for real traffic.

The image is the pause image, which every node has already: nothing is pulled, and what listens and connects is
started from the node inside the pod's network namespace.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _kube_nodes
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApi, KubeApiError, reason
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_rollout import warning

NAME = "verify"
OWNER_LABEL = "app.kubernetes.io/managed-by"
OWNER = "baremetal.kubernetes"
LABELS = {"app.kubernetes.io/name": "verify", OWNER_LABEL: OWNER}
_APPLY = f"?fieldManager={OWNER}&force=true"

PASS, FAIL, UNKNOWN = "pass", "fail", "unknown"


# what kubeadm names the Service of CoreDNS
_DNS = "/api/v1/namespaces/kube-system/{}/kube-dns"


def policy_path(namespace: str) -> str:
    """Where the NetworkPolicy is with which module pod_traffic denies traffic for a moment."""
    return f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/{NAME}"


def remove_policy(api: KubeApi, namespace: str) -> None:
    """Allow traffic to the probe pods again, if it is denied."""
    status, answer = api.request("DELETE", policy_path(namespace))
    if status not in (200, 202, 404):
        raise KubeApiError(f"{api.server} answered {status} when NetworkPolicy {NAME} was deleted: {reason(answer)}")


class ProbePodsError(Exception):
    """The probe pods could not be made or removed; one sentence."""


def _check(identifier: str, status: str, observed: str, wanted: str, fix: str = "") -> Dict[str, str]:
    return {"id": identifier, "status": status, "observed": observed, "wanted": wanted, "fix": "" if status == PASS else fix}


def manifests(namespace: str, image: str, port: int) -> List[Tuple[str, Dict[str, Any]]]:
    """(path, object) of the namespace, the DaemonSet and the Service."""
    inside = f"/api/v1/namespaces/{namespace}"
    container = {
        "name": "pause",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}, "limits": {"memory": "32Mi"}},
        # what the strictest Pod Security level asks for
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65535,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    pod = {
        # on every node, also on control planes and cordoned ones
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [container],
    }
    return [
        (inside, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": LABELS}}),
        (
            f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{NAME}",
            {
                "apiVersion": "apps/v1",
                "kind": "DaemonSet",
                "metadata": {"name": NAME, "namespace": namespace, "labels": LABELS},
                "spec": {"selector": {"matchLabels": LABELS}, "template": {"metadata": {"labels": LABELS}, "spec": pod}},
            },
        ),
        (
            f"{inside}/services/{NAME}",
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": NAME, "namespace": namespace, "labels": LABELS},
                "spec": {"selector": LABELS, "ports": [{"name": "probe", "protocol": "TCP", "port": port, "targetPort": port}]},
            },
        ),
    ]


def _state(pod: Dict[str, Any], events: Sequence[Dict[str, Any]]) -> str:
    """Why a pod does not run, as far as the API knows it."""
    status = pod.get("status") or {}
    parts = [str(status.get("phase") or "no phase")]
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        parts += [str(waiting[key]) for key in ("reason", "message") if waiting.get(key)]
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") != "True" and condition.get("message"):
            parts.append(condition["message"])
    uid = (pod.get("metadata") or {}).get("uid")
    told = warning(events, lambda about: about.get("uid") == uid)
    if told:
        parts.append(told)
    return ": ".join(parts)


def _is_ours(namespace: Dict[str, Any]) -> bool:
    return ((namespace.get("metadata") or {}).get("labels") or {}).get(OWNER_LABEL) == OWNER


class ProbePods:
    """Make, find and remove the probe pods of one namespace."""

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        poll_seconds: float = 3,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.api = api
        self.namespace = namespace
        self.poll_seconds = poll_seconds
        self._clock = clock
        self._sleep = sleep

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}"

    def _own_namespace(self) -> Optional[Dict[str, Any]]:
        found = self.api.get(self._path)
        if found is not None and not _is_ours(found):
            raise ProbePodsError(
                f"The namespace {self.namespace} exists and has no label {OWNER_LABEL}={OWNER}, so it is somebody else's and is left alone."
                " Choose another one for the probe pods."
            )
        return found

    def _patiently(self, ask: Callable[[], Any], deadline: float) -> Any:
        # an API server that restarts, or is busy, is asked again
        while True:
            try:
                return ask()
            except KubeApiError:
                if self._clock() + self.poll_seconds > deadline:
                    raise
                self._sleep(self.poll_seconds)

    def _apply(self, path: str, content: Dict[str, Any]) -> Dict[str, Any]:
        status, answer = self.api.request("PATCH", path + _APPLY, content, "application/apply-patch+yaml")
        if status not in (200, 201):
            raise KubeApiError(f"{self.api.server} answered {status} when {content['kind']} {content['metadata']['name']} was applied: {reason(answer)}")
        return answer

    def create(self, image: str, port: int, deadline: float) -> Dict[str, Any]:
        """Apply everything; the Service object. A namespace that is just being removed is waited for."""
        while (self._patiently(self._own_namespace, deadline) or {"metadata": {}})["metadata"].get("deletionTimestamp"):
            if self._clock() > deadline:
                raise ProbePodsError(
                    f"The namespace {self.namespace} of an earlier run is still being removed."
                    f" Look at `kubectl get namespace {self.namespace} -o yaml` and at the log of kube-controller-manager."
                )
            self._sleep(self.poll_seconds)
        # of a run that was killed while it denied everything
        self._patiently(lambda: remove_policy(self.api, self.namespace), deadline)
        service: Dict[str, Any] = {}
        for path, content in manifests(self.namespace, image, port):
            service = self._patiently(lambda path=path, content=content: self._apply(path, content), deadline)
        return service

    def pods(self, nodes: Sequence[Dict[str, Any]]) -> Tuple[List[Dict[str, Any]], Dict[str, Dict[str, Any]]]:
        """(running, others by node name)."""
        answer = self.api.get(f"{self._path}/pods?labelSelector=app.kubernetes.io%2Fname%3Dverify") or {}
        addresses = {node["name"]: node["addresses"] for node in nodes}
        running, others = [], {}
        for pod in answer.get("items") or []:
            node = (pod.get("spec") or {}).get("nodeName") or ""
            status, metadata = pod.get("status") or {}, pod["metadata"]
            if metadata.get("deletionTimestamp"):
                continue
            if status.get("phase") == "Running" and status.get("podIP"):
                running.append(
                    {
                        "node": node,
                        "node_addresses": addresses.get(node, []),
                        "name": metadata["name"],
                        "uid": metadata["uid"],
                        "address": status["podIP"],
                    }
                )
            else:
                others[node or _affinity_node(pod)] = pod
        return sorted(running, key=lambda item: item["node"]), others

    def ready(self, image: str, port: int, wait_seconds: float) -> Dict[str, Any]:
        """{nodes, pods, service, checks}: everything that is there after waiting, with findings for what is not."""
        begin = self._clock()
        checks = []
        try:
            nodes = _kube_nodes.wait(self.api.get, [], "ready", wait_seconds, self.poll_seconds, self._clock, self._sleep)["nodes"]
            checks.append(_check("nodes_ready", PASS, f"{len(nodes)} of {len(nodes)} nodes Ready", "every node Ready"))
        except _kube_nodes.KubeNodesError as error:
            nodes = error.nodes
            if not nodes:
                raise ProbePodsError(str(error)) from None
            checks.append(
                _check("nodes_ready", FAIL, str(error), "every node Ready", "`kubectl describe node NAME`; on the node `journalctl -u kubelet`.")
            )
        # time spent on nodes that never came is not taken from the pods
        deadline = max(begin + wait_seconds, self._clock() + min(60, wait_seconds))
        service = self.create(image, port, deadline)
        waited_for = {node["name"] for node in nodes if node["ready"]}
        while True:
            # in this order: a pod that is seen afterwards is none that was about to go
            current = self._patiently(self._rolled_out, deadline)
            running, others = self._patiently(lambda: self.pods(nodes), deadline)
            if (current and waited_for <= {pod["node"] for pod in running}) or self._clock() + self.poll_seconds > deadline:
                break
            self._sleep(self.poll_seconds)
        checks.append(self._pods_check(nodes, running, others))
        dns, dns_checks = self.dns(deadline)
        checks += dns_checks
        return {
            "nodes": nodes,
            "pods": running,
            "service": {"address": (service.get("spec") or {}).get("clusterIP") or "", "port": port},
            "dns": dns,
            "checks": checks,
            "waited": round(self._clock() - begin, 1),
        }

    def dns(self, deadline: float) -> Tuple[Dict[str, Any], List[Dict[str, str]]]:
        """({address, endpoints, api_addresses}, findings) of the cluster's DNS, once a server is ready; empty where none is deployed."""
        service = self._patiently(lambda: self.api.get(_DNS.format("services")), deadline)
        address = ((service or {}).get("spec") or {}).get("clusterIP") or ""
        if address in ("", "None"):
            return {}, []
        while True:
            # known to every version, unlike slices of endpoints
            found = self._patiently(lambda: self.api.get(_DNS.format("endpoints")), deadline) or {}
            ready, waiting = _endpoints(found)
            if ready or self._clock() + self.poll_seconds > deadline:
                break
            self._sleep(self.poll_seconds)
        api = self._patiently(lambda: self.api.get("/api/v1/namespaces/default/services/kubernetes"), deadline) or {}
        spec = api.get("spec") or {}
        known = {"address": address, "endpoints": ready, "api_addresses": [value for value in [spec.get("clusterIP")] if value]}
        wanted = "a server behind the Service kube-system/kube-dns that is ready"
        if ready:
            return known, [_check("dns_ready", PASS, f"{len(ready)} ready, {waiting} not", wanted)]
        seen = f"none ready, {waiting} not ready" if waiting else "none at all"
        fix = (
            "`kubectl -n kube-system describe pods -l k8s-app=kube-dns` and their logs"
            " (`Loop ... detected`: the kubelet's resolv.conf names 127.0.0.53)."
        )
        return known, [_check("dns_ready", FAIL, seen, wanted, fix)]

    def _rolled_out(self) -> bool:
        """No pod is left of an earlier run with another image, which would be replaced in the middle of the traffic."""
        found = self.api.get(f"/apis/apps/v1/namespaces/{self.namespace}/daemonsets/{NAME}") or {}
        status = found.get("status") or {}
        known = status.get("observedGeneration") == (found.get("metadata") or {}).get("generation")
        return known and status.get("updatedNumberScheduled", 0) >= status.get("desiredNumberScheduled", 0)

    def _pods_check(self, nodes: Sequence[Dict[str, Any]], running: Sequence[Dict[str, Any]], others: Dict[str, Dict[str, Any]]) -> Dict[str, str]:
        have = {pod["node"] for pod in running}
        lacking = [node["name"] for node in nodes if node["name"] not in have]
        wanted = "a running pod with an address on every node"
        if not lacking:
            return _check("pods_running", PASS, f"{len(have)} of {len(nodes)} nodes", wanted)
        try:
            events = (self.api.get(f"{self._path}/events") or {}).get("items") or []
        except KubeApiError:
            events = []
        seen = [f"{name}: {_state(others[name], events) if name in others else 'no pod'}" for name in lacking]
        return _check(
            "pods_running",
            FAIL,
            "; ".join(seen),
            wanted,
            f"`kubectl -n {self.namespace} describe pods`; on the node `journalctl -u kubelet -u containerd`.",
        )

    def remove(self) -> bool:
        """Remove the namespace with all in it, if it is ours; False when there was nothing of ours to remove."""
        found = self.api.get(self._path)
        if found is None or not _is_ours(found) or found["metadata"].get("deletionTimestamp"):
            return False
        status, answer = self.api.request("DELETE", self._path)
        if status not in (200, 202, 404):
            raise KubeApiError(f"{self.api.server} answered {status} when the namespace {self.namespace} was deleted: {reason(answer)}")
        return True


def _endpoints(found: Dict[str, Any]) -> Tuple[List[Dict[str, Any]], int]:
    """(ready servers for UDP, how many are not ready)."""
    ready: List[Dict[str, Any]] = []
    waiting = 0
    for subset in found.get("subsets") or []:
        waiting += len(subset.get("notReadyAddresses") or [])
        ports = [item["port"] for item in subset.get("ports") or [] if item.get("protocol") == "UDP"]
        ready += [{"address": item["ip"], "port": port} for item in subset.get("addresses") or [] for port in ports[:1]]
    return sorted(ready, key=lambda item: item["address"]), waiting


def _affinity_node(pod: Dict[str, Any]) -> str:
    # The DaemonSet controller names the node in an affinity; the scheduler has not bound the pod yet.
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or []:
        for field in term.get("matchFields") or []:
            if field.get("key") == "metadata.name" and field.get("values"):
                return str(field["values"][0])
    return ""
