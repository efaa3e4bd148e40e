# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module kube_nodes against an API server of its own, and waiting with a clock of its own."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _kube_nodes
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.modules import kube_nodes, node_state


def node(name, address, cidr=None, ready="True", message="kubelet is posting ready status"):
    """A Node object as the API server sends it."""
    conditions = [{"type": "MemoryPressure", "status": "False"}]
    if ready:
        conditions.append({"type": "Ready", "status": ready, "reason": "KubeletReady" if ready == "True" else "KubeletNotReady", "message": message})
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": {"node-role.kubernetes.io/control-plane": ""} if name.startswith("cp") else {}},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {},
        "status": {
            "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "nodeInfo": {"kubeletVersion": "v1.20.2"},
        },
    }


CP1 = node("cp1", "192.0.2.11", "10.244.0.0/24")
W1 = node("w1", "192.0.2.21", "10.244.1.0/24")
W1_NOT_READY = node("w1", "192.0.2.21", ready="False", message="cni plugin not initialized")


class Clock:
    """Time that passes only in sleep."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def wait(answers, addresses=(), wait_for="ready", wait_seconds=60):
    """_kube_nodes.wait with scripted answers; the last one repeats."""
    clock, answers = Clock(), list(answers)

    def get(path):
        assert path == "/api/v1/nodes"
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"items": answer}

    return _kube_nodes.wait(get, addresses, wait_for, wait_seconds, 5, clock, clock.sleep)


def test_the_summary():
    assert _kube_nodes.summary(CP1) == {
        "name": "cp1",
        "uid": "uid-cp1",
        "addresses": ["192.0.2.11"],
        "pod_cidrs": ["10.244.0.0/24"],
        "ready": True,
        "ready_message": "KubeletReady: kubelet is posting ready status",
        "unschedulable": False,
        "control_plane": True,
        "kubelet_version": "v1.20.2",
    }


@pytest.mark.parametrize(("status", "ready"), [("True", True), ("False", False), ("Unknown", None), ("", None)])
def test_ready_is_unknown_unless_said(status, ready):
    assert _kube_nodes.summary(node("w1", "192.0.2.21", ready=status))["ready"] is ready


def test_all_are_ready_at_once():
    assert wait([[CP1, W1]])["waited"] == 0


def test_waits_until_the_last_one_is_ready_and_over_an_api_server_that_restarts():
    result = wait([[CP1, W1_NOT_READY], KubeApiError("gone"), [CP1, W1]])
    assert (result["waited"], [n["name"] for n in result["nodes"]]) == (10, ["cp1", "w1"])


def test_the_message_names_the_node_and_its_condition():
    with pytest.raises(_kube_nodes.KubeNodesError) as caught:
        wait([[CP1, W1_NOT_READY]])
    assert str(caught.value).startswith(
        "1 of 2 nodes are Ready after 60 seconds. w1: not Ready: KubeletNotReady: cni plugin not initialized. Look at"
    )
    assert caught.value.nodes[1]["ready"] is False


def test_a_node_that_never_came():
    with pytest.raises(_kube_nodes.KubeNodesError, match="192.0.2.22: no node has this address"):
        wait([[CP1]], ["192.0.2.11", "192.0.2.22"], "registered", 0)


def test_a_node_without_a_pod_range():
    with pytest.raises(_kube_nodes.KubeNodesError, match="1 of 2 nodes are given a pod range.*w1: no pod range.*--allocate-node-cidrs"):
        wait([[CP1, W1_NOT_READY]], ["192.0.2.11", "192.0.2.21"], "pod_cidr", 0)


def test_a_foreign_node_is_not_waited_for():
    assert wait([[CP1, W1_NOT_READY]], ["192.0.2.11"])["waited"] == 0


def test_no_node_is_not_all_nodes():
    with pytest.raises(_kube_nodes.KubeNodesError, match="the cluster has no node"):
        wait([[]])


def test_no_answer_at_all():
    with pytest.raises(_kube_nodes.KubeNodesError, match="could not be read within 60 seconds. refused"):
        wait([KubeApiError("refused")])


def test_addresses_are_compared_as_addresses():
    v6 = node("w1", "2001:db8::21", "2001:db8:1::/64")
    assert wait([[v6]], ["2001:0db8::0021"])["waited"] == 0


# --- the module


def run(capsys, check_mode=False, **params):
    """Exit code and result of the module."""
    with patch_module_args({**params, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as exit_:
        kube_nodes.main()
    return exit_.value.code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_module_reads_and_changes_nothing(api_server, capsys, check_mode):
    api_server.answers[("GET", "/api/v1/nodes")] = (200, {"items": [CP1, W1]})
    for dummy in range(2):
        code, result = run(capsys, check_mode, kubeconfig=str(api_server.kubeconfig), wait_for="ready")
        assert (code, result["changed"]) == (0, False)
        assert [n["name"] for n in result["nodes"]] == ["cp1", "w1"]
    assert {method for method, *dummy in api_server.asked} == {"GET"}


def test_the_module_fails_with_the_nodes_as_evidence(api_server, capsys):
    api_server.answers[("GET", "/api/v1/nodes")] = (200, {"items": [CP1, W1_NOT_READY]})
    code, result = run(capsys, kubeconfig=str(api_server.kubeconfig), wait_for="ready")
    assert code == 1
    assert "cni plugin not initialized" in result["msg"]
    assert len(result["nodes"]) == 2


def test_check_mode_takes_the_nodes_as_they_are(api_server, capsys):
    api_server.answers[("GET", "/api/v1/nodes")] = (200, {"items": [W1_NOT_READY]})
    code, result = run(capsys, True, kubeconfig=str(api_server.kubeconfig), wait_for="ready", wait_seconds=600)
    assert (code, len(result["nodes"])) == (0, 1)


def test_no_cluster_yet(tmp_path, capsys):
    path = str(tmp_path / "admin.conf")
    assert run(capsys, True, kubeconfig=path)[1]["nodes"] == []
    code, result = run(capsys, kubeconfig=path)
    assert code == 1
    assert "admin.conf cannot be used" in result["msg"]


def daemon_sets(*names):
    """What the API server answers."""

    def get(path):
        assert path == "/apis/apps/v1/daemonsets"
        return {"items": [{"metadata": {"namespace": "some", "name": name}} for name in ("kube-proxy", *names)]}

    return get


def test_another_pod_network_is_refused():
    _kube_nodes.refuse_another(daemon_sets(), "bridge")
    _kube_nodes.refuse_another(daemon_sets("calico-node"), "calico")
    with pytest.raises(_kube_nodes.KubeNodesError) as error:
        _kube_nodes.refuse_another(daemon_sets("cilium", "calico-node"), "calico")
    assert "The cluster has the pod network cilium (DaemonSet some/cilium), but cluster_cni is 'calico'" in str(error.value)
    assert "Set cluster_cni to cilium, or change it as docs/choosing-a-cni.md says." in str(error.value)


@pytest.mark.parametrize("check_mode", [False, True])
def test_node_state_asks_for_another_pod_network_in_the_same_round_trip(api_server, tmp_path, capsys, check_mode):
    def ask(**params):
        with patch_module_args({**params, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as exit_:
            node_state.main()
        return exit_.value.code, json.loads(capsys.readouterr().out)

    kubeconfig = str(api_server.kubeconfig)
    api_server.answers[("GET", "/apis/apps/v1/daemonsets")] = (200, daemon_sets("cilium")("/apis/apps/v1/daemonsets"))
    assert ask(pod_network="cilium", kubeconfig=kubeconfig)[1]["node"]["other_pod_network"] == ""
    assert "has the pod network cilium" in ask(pod_network="flannel", kubeconfig=kubeconfig)[1]["node"]["other_pod_network"]
    api_server.asked.clear()
    assert ask(kubeconfig=kubeconfig)[1]["node"]["other_pod_network"] == ""
    assert api_server.asked == []
    # without a cluster nothing is asked in check mode; else that is an error, and no word that there is none
    code, result = ask(pod_network="flannel", kubeconfig=str(tmp_path / "none"))
    assert code == (0 if check_mode else 1)
    assert check_mode or "cannot be used" in result["msg"]
    api_server.answers[("GET", "/apis/apps/v1/daemonsets")] = (503, "not yet")
    assert ask(pod_network="flannel", kubeconfig=kubeconfig)[0] == 1
