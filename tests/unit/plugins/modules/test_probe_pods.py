# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module probe_pods against an API server of its own that keeps what is applied."""

from __future__ import annotations

import json
import re

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _probe_pods
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.modules import probe_pods

NS = "/api/v1/namespaces/kubernetes-verify"
POLICY = "/apis/networking.k8s.io/v1/namespaces/kubernetes-verify/networkpolicies/verify"
OURS = {"app.kubernetes.io/managed-by": "baremetal.kubernetes"}


def node(name, address, ready="True"):
    return {
        "metadata": {"name": name},
        "status": {
            "conditions": [{"type": "Ready", "status": ready, "reason": "KubeletNotReady", "message": "PLEG is not healthy"}],
            "addresses": [{"type": "InternalIP", "address": address}],
        },
    }


def pod(name, node_name, address, phase="Running", **status):
    return {
        "metadata": {"name": name, "uid": f"uid-{name}"},
        "spec": {"nodeName": node_name},
        "status": {"phase": phase, "podIP": address, **status},
    }


NODES = [node("cp1", "192.0.2.11"), node("w1", "192.0.2.21")]
PODS = [pod("verify-b", "w1", "10.244.1.2"), pod("verify-a", "cp1", "10.244.0.2")]
STUCK = pod(
    "verify-b", "w1", "", "Pending", containerStatuses=[{"state": {"waiting": {"reason": "ContainerCreating"}}}]
)
EVENTS = [
    {"type": "Normal", "involvedObject": {"uid": "uid-verify-b"}, "message": "pulled", "lastTimestamp": "2026-01-01T00:00:09Z"},
    {"type": "Warning", "involvedObject": {"uid": "uid-verify-b"}, "message": "older", "lastTimestamp": "2026-01-01T00:00:01Z"},
    {
        "type": "Warning",
        "involvedObject": {"uid": "uid-verify-b"},
        "reason": "FailedCreatePodSandBox",
        "message": "failed to setup network for sandbox",
        "lastTimestamp": "2026-01-01T00:00:02Z",
    },
]


class Cluster:
    """An API with nodes, pods, events and whatever is applied; time passes in sleep only."""

    server = "https://192.0.2.11:6443"

    def __init__(self, nodes=None, pods=None, namespace=None, events=()):
        self.nodes, self.pod_lists = nodes or NODES, list(pods or [PODS])
        self.namespace, self.events = namespace, list(events)
        self.applied, self.deleted, self.failures, self.now = [], [], 0, 0.0
        # the DNS Service, and what its Endpoints are each time they are asked for
        self.dns, self.endpoints = None, [None]
        self.terminating = self.policies_deleted = 0
        self.policy_answers, self.rollouts = [404], [{}]

    def get(self, path):
        if self.failures:
            self.failures -= 1
            raise KubeApiError("refused")
        if path == "/api/v1/nodes":
            return {"items": self.nodes}
        if path == NS:
            if self.terminating:
                self.terminating -= 1
                return {"metadata": {"labels": OURS, "deletionTimestamp": "x"}}
            return self.namespace
        if path.startswith(f"{NS}/pods"):
            return {"items": self.pod_lists.pop(0) if len(self.pod_lists) > 1 else self.pod_lists[0]}
        if path == "/api/v1/namespaces/kube-system/services/kube-dns":
            return self.dns
        if path == "/api/v1/namespaces/kube-system/endpoints/kube-dns":
            return self.endpoints.pop(0) if len(self.endpoints) > 1 else self.endpoints[0]
        if path == "/api/v1/namespaces/default/services/kubernetes":
            return {"spec": {"clusterIP": "10.96.0.1"}}
        if path == "/apis/apps/v1/namespaces/kubernetes-verify/daemonsets/verify":
            return self.rollouts.pop(0) if len(self.rollouts) > 1 else self.rollouts[0]
        if path == f"{NS}/events":
            return {"items": self.events}
        raise AssertionError(path)

    def request(self, method, path, body=None, content_type=""):
        if method == "DELETE" and path == POLICY:
            self.policies_deleted += 1
            return self.policy_answers.pop(0) if len(self.policy_answers) > 1 else self.policy_answers[0], {"message": "etcd is busy"}
        if method == "DELETE":
            self.deleted.append(path)
            return 200, {}
        assert (method, content_type) == ("PATCH", "application/apply-patch+yaml")
        assert path.endswith("?fieldManager=baremetal.kubernetes&force=true")
        self.applied.append((path.split("?")[0], body))
        if body["kind"] == "Namespace":
            self.namespace = body
        return 201, {**body, "spec": {**body.get("spec", {}), "clusterIP": "10.105.3.7"}}

    def sleep(self, seconds):
        self.now += seconds

    def probe(self):
        return _probe_pods.ProbePods(self, "kubernetes-verify", 5, lambda: self.now, self.sleep)


def ready(cluster, wait_seconds=60):
    return cluster.probe().ready("registry.k8s.io/pause:3.10", 8080, wait_seconds)


def statuses(result):
    return {c["id"]: c["status"] for c in result["checks"]}


def test_everything_is_made_and_found():
    cluster = Cluster()
    result = ready(cluster)
    assert statuses(result) == {"nodes_ready": "pass", "pods_running": "pass"}
    assert result["pods"] == [
        {"node": "cp1", "node_addresses": ["192.0.2.11"], "name": "verify-a", "uid": "uid-verify-a", "address": "10.244.0.2"},
        {"node": "w1", "node_addresses": ["192.0.2.21"], "name": "verify-b", "uid": "uid-verify-b", "address": "10.244.1.2"},
    ]
    assert result["service"] == {"address": "10.105.3.7", "port": 8080}
    assert result["dns"] == {}
    # one that a killed run has left would stop the traffic of this run
    assert cluster.policies_deleted == 1
    assert [path for path, dummy in cluster.applied] == [
        NS,
        "/apis/apps/v1/namespaces/kubernetes-verify/daemonsets/verify",
        f"{NS}/services/verify",
    ]


def test_the_pods_run_everywhere_and_may_nothing():
    daemonset = dict(_probe_pods.manifests("x", "pause", 8080))["/apis/apps/v1/namespaces/x/daemonsets/verify"]
    spec = daemonset["spec"]["template"]["spec"]
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["automountServiceAccountToken"] is False
    context = spec["containers"][0]["securityContext"]
    assert (context["runAsNonRoot"], context["capabilities"], context["allowPrivilegeEscalation"]) == (True, {"drop": ["ALL"]}, False)
    assert spec["containers"][0]["imagePullPolicy"] == "IfNotPresent"


def test_a_second_call_applies_the_same_again():
    cluster = Cluster()
    assert ready(cluster)["pods"] == ready(cluster)["pods"]
    assert cluster.applied[:3] == cluster.applied[3:]


def test_pods_are_waited_for():
    result = ready(Cluster(pods=[[], [PODS[0]], [STUCK, PODS[1]], PODS]))
    assert (result["waited"], statuses(result)["pods_running"]) == (15, "pass")


def rollout(observed, updated):
    status = {"observedGeneration": observed, "updatedNumberScheduled": updated, "desiredNumberScheduled": 2}
    return {"metadata": {"generation": 2}, "status": status}


def test_pods_of_another_image_are_waited_for_until_they_are_replaced():
    cluster = Cluster()
    cluster.rollouts = [rollout(1, 2), rollout(2, 0), rollout(2, 1), rollout(2, 2)]
    assert (ready(cluster)["waited"], cluster.rollouts) == (15, [rollout(2, 2)])


def test_a_policy_that_denies_is_removed_or_named():
    cluster = Cluster()
    cluster.policy_answers = [503, 500, 200]
    assert (ready(cluster)["waited"], cluster.policies_deleted) == (10, 3)
    cluster.policy_answers = [500]
    with pytest.raises(KubeApiError, match="500 when NetworkPolicy verify was deleted: etcd is busy"):
        ready(cluster)


def test_a_pod_that_does_not_start_comes_with_the_last_warning():
    result = ready(Cluster(pods=[[PODS[1], STUCK]], events=EVENTS))
    assert statuses(result) == {"nodes_ready": "pass", "pods_running": "fail"}
    assert result["checks"][1]["observed"] == "w1: Pending: ContainerCreating: FailedCreatePodSandBox: failed to setup network for sandbox"
    assert "describe pods" in result["checks"][1]["fix"]
    # what runs is returned all the same
    assert [p["node"] for p in result["pods"]] == ["cp1"]


def test_a_pod_that_nobody_schedules_is_known_by_its_affinity():
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["w1"]}]}]
    unbound = {
        "metadata": {"name": "verify-c", "uid": "c"},
        "spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}},
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}]},
    }
    result = ready(Cluster(pods=[[PODS[1], unbound]]))
    assert result["checks"][1]["observed"] == "w1: Pending: 0/2 nodes are available"


def test_a_pod_on_its_way_out_does_not_count():
    leaving = {**PODS[0], "metadata": {**PODS[0]["metadata"], "deletionTimestamp": "x"}}
    result = ready(Cluster(pods=[[leaving, PODS[1]]]))
    assert result["checks"][1]["observed"] == "w1: no pod"


def test_a_node_that_is_not_ready_is_a_finding_and_its_pod_is_not_waited_for():
    cluster = Cluster(nodes=[NODES[0], node("w1", "192.0.2.21", "False")], pods=[[PODS[1]]])
    result = ready(cluster)
    assert statuses(result) == {"nodes_ready": "fail", "pods_running": "fail"}
    assert "w1: not Ready: KubeletNotReady: PLEG is not healthy" in result["checks"][0]["observed"]
    assert cluster.now == 60


def endpoints(*ready, waiting=()):
    """As the API has them: three ports, of which DNS by UDP is wanted."""
    ports = [{"name": name, "port": port, "protocol": kind} for name, port, kind in (("metrics", 9153, "TCP"), ("tcp", 53, "TCP"), ("dns", 53, "UDP"))]
    return {"subsets": [{"addresses": [{"ip": ip} for ip in ready], "notReadyAddresses": [{"ip": ip} for ip in waiting], "ports": ports}]}


def test_dns_is_waited_for():
    cluster = Cluster()
    cluster.dns = {"spec": {"clusterIP": "10.96.0.10"}}
    cluster.endpoints = [None, endpoints(waiting=["10.244.0.3"]), endpoints("10.244.1.9", "10.244.0.3")]
    result = ready(cluster)
    assert (statuses(result)["dns_ready"], result["waited"]) == ("pass", 10)
    assert result["dns"] == {
        "address": "10.96.0.10",
        "endpoints": [{"address": "10.244.0.3", "port": 53}, {"address": "10.244.1.9", "port": 53}],
        "api_addresses": ["10.96.0.1"],
    }


@pytest.mark.parametrize(
    "found, observed",
    [(None, "none at all"), ({"subsets": []}, "none at all"), (endpoints(waiting=["10.244.0.3", "10.244.1.9"]), "none ready, 2 not ready")],
)
def test_dns_that_never_comes(found, observed):
    cluster = Cluster()
    cluster.dns, cluster.endpoints = {"spec": {"clusterIP": "10.96.0.10"}}, [found]
    result = ready(cluster)
    assert (statuses(result)["dns_ready"], result["checks"][2]["observed"], result["dns"]["endpoints"]) == ("fail", observed, [])
    assert cluster.now == 60


def test_an_api_server_that_restarts():
    cluster = Cluster()
    cluster.failures = 4
    assert statuses(ready(cluster))["pods_running"] == "pass"


def test_no_api_server_at_all():
    cluster = Cluster()
    cluster.failures = 1000
    with pytest.raises(_probe_pods.ProbePodsError, match="could not be read"):
        ready(cluster)


def test_the_namespace_of_an_earlier_run_is_waited_for():
    cluster = Cluster()
    cluster.terminating = 3
    assert ready(cluster)["waited"] == 15
    cluster.terminating = 1000
    with pytest.raises(_probe_pods.ProbePodsError, match="still being removed"):
        ready(cluster)


def test_a_foreign_namespace_is_left_alone():
    cluster = Cluster(namespace={"metadata": {"name": "kubernetes-verify", "labels": {"team": "a"}}})
    with pytest.raises(_probe_pods.ProbePodsError, match="is somebody else's and is left alone"):
        ready(cluster)
    assert cluster.probe().remove() is False
    assert (cluster.applied, cluster.deleted) == ([], [])


def test_removing():
    cluster = Cluster(namespace={"metadata": {"labels": OURS}})
    assert cluster.probe().remove() is True
    assert cluster.deleted == [NS]
    cluster.namespace = None
    assert cluster.probe().remove() is False
    cluster.terminating = 1
    assert cluster.probe().remove() is False
    assert len(cluster.deleted) == 1


def test_a_refused_object_is_named():
    cluster = Cluster()
    cluster.request = lambda method, *args: (404, {}) if method == "DELETE" else (403, {"message": "exceeded quota"})
    with pytest.raises(KubeApiError, match="403 when Namespace kubernetes-verify was applied: exceeded quota"):
        ready(cluster, 0)


# --- the module


def run(capsys, check_mode=False, **params):
    """Exit code and result of the module."""
    with patch_module_args({**params, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as exit_:
        probe_pods.main()
    return exit_.value.code, json.loads(capsys.readouterr().out)


@pytest.fixture(name="kubeconfig")
def fixture_kubeconfig(api_server):
    """A whole API behind real TLS."""
    cluster = Cluster()
    for path in ("/api/v1/nodes", NS, f"{NS}/pods?labelSelector=app.kubernetes.io%2Fname%3Dverify"):
        api_server.answers[("GET", path)] = lambda body, path=path: (200, cluster.get(path)) if cluster.namespace or path != NS else (404, {})
    for path, dummy in _probe_pods.manifests("kubernetes-verify", "pause", 8080):
        path += "?fieldManager=baremetal.kubernetes&force=true"
        api_server.answers[("PATCH", path)] = lambda body, path=path: cluster.request(
            "PATCH", path, json.loads(body), "application/apply-patch+yaml"
        )
    api_server.answers[("DELETE", NS)] = lambda body: cluster.request("DELETE", NS)
    return str(api_server.kubeconfig)


def test_the_module(kubeconfig, api_server, capsys):
    code, result = run(capsys, kubeconfig=kubeconfig, image="pause")
    assert (code, result["changed"], len(result["pods"])) == (0, False, 2)
    code, result = run(capsys, kubeconfig=kubeconfig, state="absent")
    assert (code, result["changed"]) == (0, True)
    assert ("DELETE", NS) in {asked[:2] for asked in api_server.asked}


def test_check_mode_asks_nothing(kubeconfig, api_server, capsys):
    code, result = run(capsys, True, kubeconfig=kubeconfig, image="pause")
    assert (code, result["skipped"]) == (0, True)
    assert api_server.asked == []


def test_no_cluster(tmp_path, capsys):
    code, result = run(capsys, kubeconfig=str(tmp_path / "admin.conf"), image="pause")
    assert code == 1
    assert re.search("admin.conf cannot be used", result["msg"])
