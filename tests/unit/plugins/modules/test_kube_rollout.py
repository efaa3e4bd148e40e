# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module kube_rollout against a cluster in which time passes in sleep only."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _kube_rollout
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.modules import kube_rollout

NOW = 1795219260  # 2026-11-21T00:01:00Z
CORE = "/api/v1/namespaces/net"
AGENT = "/apis/apps/v1/namespaces/net/daemonsets/agent"
OPERATOR = "/apis/apps/v1/namespaces/net/deployments/operator"
WORKLOADS = [{"kind": "Deployment", "namespace": "net", "name": "operator"}, {"kind": "DaemonSet", "namespace": "net", "name": "agent"}]


def daemonset(available=2):
    status = {
        "observedGeneration": 1,
        "desiredNumberScheduled": 2,
        "currentNumberScheduled": 2,
        "updatedNumberScheduled": 2,
        "numberAvailable": available,
    }
    return {"metadata": {"generation": 1, "uid": "uid-agent"}, "spec": {"selector": {"matchLabels": {"app": "agent"}}}, "status": status}


def deployment(available=1, *conditions):
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": available, "conditions": list(conditions)}
    return {
        "metadata": {"generation": 1, "uid": "uid-operator"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "operator"}}},
        "status": status,
    }


def pod(name, node, app, ready=True, *containers, conditions=(), **status):
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": {"app": app}, "ownerReferences": [{"uid": f"uid-{app}"}]},
        "spec": {"nodeName": node} if node else {},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}, *conditions],
            "containerStatuses": list(containers)
            or [{"name": "main", "ready": ready, "state": {"running": {"startedAt": "2026-11-20T00:00:00Z"}}}],
            **status,
        },
    }


CRASHING = {
    "name": "main",
    "restartCount": 6,
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
    "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
}
PODS = [pod("agent-a", "cp1", "agent"), pod("agent-b", "w1", "agent"), pod("operator-5-x", "w1", "operator")]


def node(name, ready="True"):
    conditions = [{"type": "Ready", "status": ready, "reason": "KubeletNotReady", "message": "cni plugin not initialized"}]
    return {
        "metadata": {"name": name},
        "status": {"conditions": conditions, "addresses": [{"type": "InternalIP", "address": f"192.0.2.{len(name)}"}]},
    }


class Cluster:
    server = "https://192.0.2.11:6443"

    def __init__(self):
        self.objects = {AGENT: daemonset(), OPERATOR: deployment()}
        self.pods, self.events, self.logs, self.nodes = list(PODS), [], {}, [node("cp1"), node("w1")]
        self.now, self.silent, self.later = 0.0, False, {}

    def sleep(self, seconds):
        self.now += seconds
        for when in [when for when in self.later if when <= self.now]:
            self.later.pop(when)(self)

    def get(self, path):
        if self.silent:
            raise KubeApiError("https://192.0.2.11:6443 gave no answer to GET")
        address = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        if address.path == f"{CORE}/pods":
            key, value = query["labelSelector"].split("=")
            return {"items": [item for item in self.pods if item["metadata"]["labels"].get(key) == value]}
        if address.path == f"{CORE}/events":
            assert query == {"fieldSelector": "type=Warning"}
            return {"items": self.events}
        if address.path == "/api/v1/nodes":
            return {"items": self.nodes}
        assert address.path.startswith("/apis/apps/v1/"), path
        return self.objects.get(address.path)

    def request(self, method, path):
        address = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        name = address.path.split("/pods/")[1].replace("/log", "")
        found = self.logs.get((name, query["container"], query["previous"] == "true"))
        return (
            found
            if isinstance(found, tuple)
            else (200, found) if found is not None else (400, {"message": "previous terminated container not found"})
        )


@pytest.fixture(name="cluster")
def fixture_cluster(monkeypatch):
    cluster = Cluster()
    rollout = _kube_rollout.Rollout
    monkeypatch.setattr(kube_rollout, "KubeApi", lambda kubeconfig: cluster)
    monkeypatch.setattr(
        kube_rollout, "Rollout", lambda *args: rollout(*args, clock=lambda: cluster.now, sleep=cluster.sleep, now=lambda: NOW)
    )
    return cluster


@pytest.fixture(name="run")
def fixture_run(cluster, capsys, tmp_path):
    """Run the module: (whether it succeeded, its result)."""
    kubeconfig = tmp_path / "admin.conf"
    kubeconfig.write_text("x")

    def run(check=False, **options):
        arguments = {"kubeconfig": str(kubeconfig), "workloads": WORKLOADS, "wait_seconds": 60, **options, "_ansible_check_mode": check}
        with patch_module_args(arguments), pytest.raises(SystemExit) as done:
            kube_rollout.main()
        return done.value.code == 0, json.loads(capsys.readouterr().out)

    return run


def statuses(result):
    return [(item["id"], item["status"]) for item in result["checks"]]


def observed(result, position=1):
    return result["checks"][position]["observed"]


@pytest.mark.parametrize("check", [True, False])
def test_all_is_rolled_out(run, check):
    ok, result = run(check, nodes_ready=True)
    assert (ok, result["changed"], result["waited"]) == (True, False, 0)
    assert statuses(result) == [
        ("rollout/Deployment/net/operator", "pass"),
        ("rollout/DaemonSet/net/agent", "pass"),
        ("nodes_ready", "pass"),
    ]
    assert observed(result) == "2 of 2 pods available, 2 of 2 updated" and observed(result, 2) == "2 of 2 nodes Ready"


def test_it_is_waited_for(run, cluster):
    cluster.objects[AGENT] = None
    cluster.later = {10: lambda c: c.objects.update({AGENT: daemonset(1)}), 20: lambda c: c.objects.update({AGENT: daemonset()})}
    ok, result = run()
    assert (ok, result["waited"]) == (True, 20)


def test_one_that_falls_back_while_another_is_waited_for_is_no_success(run, cluster):
    cluster.objects[AGENT] = daemonset(1)
    cluster.later = {10: lambda c: c.objects.update({AGENT: daemonset(), OPERATOR: deployment(0)})}
    ok, result = run()
    assert not ok and statuses(result) == [("rollout/Deployment/net/operator", "fail"), ("rollout/DaemonSet/net/agent", "pass")]


def test_the_numbers_alone_are_no_proof(run, cluster):
    """The controller may call a pod available between two crashes, and one without pods done."""
    cluster.pods = [PODS[0], pod("agent-b", "w1", "agent", True, CRASHING), PODS[2]]
    assert run()[0] is False
    cluster.pods = PODS[:2]
    ok, result = run()
    assert not ok and "it has no pods" in observed(result, 0)
    # pods of somebody else with the same labels are none of its own, and those that end are not looked at
    stranger = pod("stranger", "w1", "agent", True, CRASHING)
    stranger["metadata"]["ownerReferences"] = [{"uid": "somebody"}]
    leaving = pod("leaving", "w1", "agent", True, CRASHING)
    leaving["metadata"]["deletionTimestamp"] = "x"
    cluster.pods = [*PODS, stranger, leaving]
    assert run()[0] is True


def test_a_crash_comes_with_pod_node_reason_and_both_logs(run, cluster):
    cluster.objects[AGENT] = daemonset(1)
    cluster.pods = [PODS[0], pod("agent-b", "w1", "agent", False, CRASHING), PODS[2]]
    cluster.logs = {
        ("agent-b", "main", True): 'starting\nlevel=fatal msg="kernel 4.19 is unsupported"\n',
        ("agent-b", "main", False): {"level": "error", "msg": "no route"},
    }
    cluster.events = [
        {
            "type": "Warning",
            "involvedObject": {"uid": "uid-agent-b"},
            "reason": "BackOff",
            "message": "Back-off restarting",
            "lastTimestamp": "1",
        }
    ]
    ok, result = run()
    assert not ok and result["waited"] == 60
    assert observed(result) == (
        "1 of 2 pods available, 2 of 2 updated; pod agent-b on w1: container main: CrashLoopBackOff, exit code 1 (Error), 6 restarts"
        '; its log before: level=fatal msg="kernel 4.19 is unsupported"; its log: {"level": "error", "msg": "no route"}'
        "; BackOff: Back-off restarting"
    )
    assert result["checks"][1]["fix"] == (
        "`kubectl -n net describe daemonset agent`; `kubectl -n net describe pod agent-b`;"
        " `kubectl -n net logs agent-b -c main --previous`."
    )
    assert result["msg"].startswith("1 of 2 findings are no pass after 60 seconds. rollout/DaemonSet/net/agent: 1 of 2 pods available")
    assert result["checks"][1]["fix"] in result["msg"]


def test_a_log_that_went_with_its_container_is_no_log(run, cluster):
    cluster.objects[AGENT] = daemonset(1)
    cluster.pods = [PODS[0], pod("agent-b", "w1", "agent", False, CRASHING), PODS[2]]
    cluster.logs = {
        ("agent-b", "main", True): "unable to retrieve container logs for containerd://de00e9de602baa48e66041bd1160969d9cca7acc52d03a1bb395baa2ec164e8d",
        ("agent-b", "main", False): "F1121 21:02:42 1 server.go:488] failed complete: open /nowhere: no such file or directory",
    }
    _ok, result = run()
    assert "its log before" not in observed(result)
    assert observed(result).endswith("; its log: F1121 21:02:42 1 server.go:488] failed complete: open /nowhere: no such file or directory")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            pod(
                "agent-b",
                "w1",
                "agent",
                False,
                {"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}},
                phase="Pending",
            ),
            "pod agent-b on w1: container main: ImagePullBackOff: not found",
        ),
        (
            pod("agent-b", "w1", "agent", False, {"name": "main", "ready": False, "state": {"running": {}}}),
            "pod agent-b on w1: container main runs and is not ready; its log: BGP not established: timed out",
        ),
        (
            pod(
                "agent-b",
                "",
                "agent",
                False,
                conditions=[{"type": "PodScheduled", "status": "False", "message": "0/2 nodes: no memory"}],
                containerStatuses=[],
            ),
            "pod agent-b on no node: not scheduled: 0/2 nodes: no memory",
        ),
        (pod("agent-b", "w1", "agent", False, containerStatuses=[], reason="Evicted", message="disk"), "pod agent-b on w1: Evicted: disk"),
        (pod("agent-b", "w1", "agent", False, containerStatuses=[], phase="Pending"), "pod agent-b on w1: phase Pending, not ready"),
        (
            pod("agent-b", "w1", "agent", False, containerStatuses=[], initContainerStatuses=[{**CRASHING, "name": "install"}]),
            "pod agent-b on w1: container install: CrashLoopBackOff, exit code 1 (Error), 6 restarts"
            "; its log: cannot be read, 500: dial tcp: refused",
        ),
    ],
)
def test_other_reasons(run, cluster, bad, words):
    cluster.objects[AGENT] = daemonset(1)
    cluster.pods = [PODS[0], bad, PODS[2]]
    cluster.logs = {
        ("agent-b", "main", False): "BGP not established: timed out",
        ("agent-b", "install", False): (500, {"message": "dial tcp: refused"}),
    }
    assert observed(run()[1]) == f"1 of 2 pods available, 2 of 2 updated; {words}"


def test_the_same_trouble_everywhere_is_told_of_three(run, cluster):
    cluster.objects[AGENT] = daemonset(0)
    cluster.pods = [pod(f"agent-{n}", f"w{n}", "agent", False, containerStatuses=[], phase="Pending") for n in range(9)]
    text = observed(run()[1])
    assert text.count("phase Pending") == 3 and text.endswith("; and 6 more pods")


def test_a_workload_without_pods_says_what_keeps_them_away(run, cluster):
    cluster.objects[OPERATOR] = deployment(
        0, {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "forbidden"}
    )
    cluster.pods = PODS[:2]
    about = {"kind": "ReplicaSet", "name": "operator-5"}
    cluster.events = [
        {"type": "Warning", "involvedObject": about, "reason": "FailedCreate", "message": "violates PodSecurity", "lastTimestamp": "1"}
    ]
    assert observed(run()[1], 0) == (
        "0 of 1 pods available, 1 of 1 updated; FailedCreate: forbidden; it has no pods: FailedCreate: violates PodSecurity"
    )


def test_nothing_to_look_at_is_no_success(run):
    ok, result = run(workloads=[])
    assert not ok and "nothing would be looked at" in result["msg"]
    assert statuses(run(workloads=[], nodes_ready=True)[1]) == [("nodes_ready", "pass")]


def test_what_does_not_exist_is_no_success(run, cluster):
    cluster.objects = {}
    ok, result = run()
    assert not ok and observed(result) == "there is no DaemonSet agent in namespace net"


def test_without_an_answer_nothing_is_known(run, cluster):
    cluster.silent = True
    ok, result = run(nodes_ready=True)
    assert not ok and [status for dummy, status in statuses(result)] == ["unknown"] * 3
    assert "gave no answer" in result["msg"]
    # a restart of the API server is waited for
    cluster.now, cluster.later = 0.0, {30: lambda c: setattr(c, "silent", False)}
    assert run()[0] is True


def test_nodes_have_the_time_that_is_left(run, cluster):
    cluster.objects[AGENT] = daemonset(1)
    cluster.later = {20: lambda c: c.objects.update({AGENT: daemonset()}), 40: lambda c: setattr(c, "nodes", [node("cp1"), node("w1")])}
    cluster.nodes = [node("cp1"), node("w1", "False")]
    ok, result = run(nodes_ready=True)
    assert (ok, result["waited"]) == (True, 40)
    cluster.nodes = [node("cp1"), node("w1", "False")]
    ok, result = run(nodes_ready=True)
    assert not ok and "w1: not Ready: KubeletNotReady: cni plugin not initialized" in result["msg"]
    # 192.0.2.3 is that of cp1
    assert run(nodes_ready=True, node_addresses=["192.0.2.3"])[0] is True


def test_check_mode_waits_for_nothing_and_fails_for_nothing(run, cluster, tmp_path):
    cluster.objects[AGENT] = daemonset(1)
    ok, result = run(True)
    assert (
        ok
        and cluster.now == 0
        and statuses(result)[1] == ("rollout/DaemonSet/net/agent", "fail")
        and "1 of 2 pods available" in result["msg"]
    )
    ok, result = run(True, nodes_ready=True, kubeconfig=str(tmp_path / "none"))
    assert ok and [status for dummy, status in statuses(result)] == ["unknown"] * 3
