# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module calico_nodes against an API server of its own, and waiting with a clock of its own."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _calico_nodes
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.modules import calico_nodes
from hypothesis import given
from hypothesis import strategies as st

V1 = "crd.projectcalico.org/v1"


def node(name="w1", address="192.0.2.21", **annotations):
    """A Node object; annotations without their prefix."""
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": {"kubernetes.io/hostname": name},
            "annotations": {f"projectcalico.org/{key}": value for key, value in annotations.items()},
        },
        "status": {"addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]},
    }


GOOD = node(IPv4Address="192.0.2.21/24", WireguardPublicKey="bm90IGEga2V5")


def findings(*nodes, versions=(4,), wireguard=False):
    """{id: (status, observed)}"""
    found = _calico_nodes.checks_of([_calico_nodes.summary(item) for item in nodes], versions, wireguard)
    assert all(bool(item["fix"]) is (item["status"] != "pass") for item in found)
    return {item["id"]: (item["status"], item["observed"]) for item in found}


def test_the_summary():
    assert _calico_nodes.summary(node(IPv4Address="192.0.2.21/24", RouteReflectorClusterID="244.0.0.1", WireguardPublicKeyV6="x")) == {
        "name": "w1",
        "uid": "uid-w1",
        "addresses": ["192.0.2.21"],
        "labels": {"kubernetes.io/hostname": "w1"},
        "calico_addresses": ["192.0.2.21/24"],
        "wireguard_ip_versions": [6],
        "route_reflector_cluster_id": "244.0.0.1",
    }


@pytest.mark.parametrize(
    ("annotations", "status", "observed"),
    [
        ({"IPv4Address": "192.0.2.21/24"}, "pass", "Calico took the node IP 192.0.2.21"),
        ({"IPv4Address": "192.0.2.21"}, "pass", "Calico took the node IP 192.0.2.21"),
        ({"IPv4Address": "172.17.0.1/16"}, "fail", "Calico took 172.17.0.1"),
        ({"IPv4Address": "192.0.2.210/24"}, "fail", "Calico took 192.0.2.210"),
        ({}, "fail", "calico-node has not written an address yet"),
        ({"IPv4Address": ""}, "fail", "calico-node has not written an address yet"),
        ({"IPv4Address": "autodetect"}, "unknown", "Calico wrote 'autodetect', which is no address"),
        ({"IPv6Address": "2001:db8::21/64"}, "fail", "calico-node has not written an address yet"),
    ],
)
def test_the_address_that_calico_took(annotations, status, observed):
    assert findings(node(**annotations)) == {"calico_address/w1": (status, observed)}


def test_two_families():
    both = node(IPv4Address="192.0.2.21/24", IPv6Address="2001:db8::21/64")
    assert findings(both, versions=(4, 6))["calico_address/w1/ipv6"] == ("fail", "the node has no IPv6 address")
    both["status"]["addresses"].append({"type": "InternalIP", "address": "2001:db8::21"})
    assert {status for status, dummy in findings(both, versions=(4, 6)).values()} == {"pass"}


@pytest.mark.parametrize(
    ("annotations", "versions", "status"),
    [
        ({}, (4,), "fail"),
        ({"WireguardPublicKey": "k"}, (4,), "pass"),
        ({"WireguardPublicKeyV6": "k"}, (4,), "fail"),
        ({"WireguardPublicKey": "k"}, (4, 6), "fail"),
        ({"WireguardPublicKey": "k", "WireguardPublicKeyV6": "k"}, (4, 6), "pass"),
    ],
)
def test_a_node_without_a_key_would_be_sent_plain_text(annotations, versions, status):
    found = findings(node(**annotations), versions=versions, wireguard=True)["wireguard/w1"]
    assert found[0] == status
    assert "wireguard/w1" not in findings(node(**annotations), versions=versions)


def test_no_node_is_not_all_nodes_well():
    assert findings() == {"calico_address": ("unknown", "the cluster has no node")}


@given(st.text(max_size=40))
def test_no_text_whatsoever_becomes_the_node_ip(text):
    status, dummy = findings(node(IPv4Address=text))["calico_address/w1"]
    if not text.startswith("192.0.2.21"):
        assert status != "pass"


# --- waiting


def wait(looks, wait_for="nodes", wait_seconds=30):
    """_calico_nodes.wait with scripted looks, each the list of statuses of the findings; the last one repeats."""
    now, looks = [0.0], list(looks)

    def look():
        item = looks.pop(0) if len(looks) > 1 else looks[0]
        if isinstance(item, Exception):
            raise item
        return {"installation": item is not None, "operator": [], "checks": [{"status": status} for status in item or []]}

    def sleep(seconds):
        now[0] += seconds

    return _calico_nodes.wait(look, wait_for, wait_seconds, 5, lambda: now[0], sleep)


def test_waits_until_all_pass_and_over_an_api_server_that_restarts():
    result = wait([["pass", "fail"], KubeApiError("gone"), ["pass", "unknown"], ["pass", "pass"]])
    assert (result["reached"], result["waited"]) == (True, 15.0)


def test_gives_up():
    result = wait([["pass", "fail"]])
    assert (result["reached"], result["waited"]) == (False, 30.0)
    with pytest.raises(KubeApiError):
        wait([KubeApiError("gone")])


def test_looking_once_does_not_wait():
    assert wait([["fail"]], "nothing")["waited"] == 0


def test_waits_for_the_kind():
    assert wait([None, None, []], "installation")["waited"] == 10
    assert wait([None], "installation")["reached"] is False


# --- the module


@pytest.fixture(name="cluster")
def fixture_cluster(api_server):
    """An API server with the kinds of the operator and one good node."""
    resources = [{"kind": "Installation", "name": "installations"}, {"kind": "TigeraStatus", "name": "tigerastatuses"}]
    api_server.answers |= {
        ("GET", "/apis/operator.tigera.io/v1"): (200, {"resources": resources}),
        ("GET", "/apis/operator.tigera.io/v1/tigerastatuses"): (200, {"items": []}),
        ("GET", "/api/v1/nodes"): (200, {"items": [GOOD]}),
    }
    return api_server


def run(capsys, api, check_mode=False, **params):
    """Exit code and result of the module."""
    arguments = {"kubeconfig": str(api.kubeconfig), "wait_seconds": 0, **params, "_ansible_check_mode": check_mode}
    with patch_module_args(arguments), pytest.raises(SystemExit) as exit_:
        calico_nodes.main()
    return exit_.value.code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_module_reads_and_changes_nothing(cluster, capsys, check_mode):
    for dummy in range(2):
        code, result = run(capsys, cluster, check_mode, wait_for="nodes", wireguard=True)
        assert (code, result["changed"], result["reached"]) == (0, False, True)
        assert (result["installation"], result["mesh"], result["operator"]) == (True, True, [])
    assert {method for method, *dummy in cluster.asked} == {"GET"}


TYPHA = {"kind": "Deployment", "namespace": "calico-system", "name": "calico-typha"}
ROLLED_OUT = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


@pytest.mark.parametrize(
    ("status", "restarts", "ready", "expected"),
    [
        (ROLLED_OUT, 0, "True", True),
        (ROLLED_OUT | {"availableReplicas": 0}, 0, "True", False),
        (ROLLED_OUT, 9, "True", False),
        (ROLLED_OUT, 0, "False", False),
    ],
)
def test_whether_the_workloads_run_is_looked_at_once(cluster, capsys, status, restarts, ready, expected):
    deployment = {"metadata": {"generation": 1}, "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "typha"}}}, "status": status}
    container = {"name": "typha", "restartCount": restarts, "state": {"waiting": {"reason": "CrashLoopBackOff"}} if restarts else {"running": {}}}
    pod = {"metadata": {"name": "typha-1"}, "status": {"containerStatuses": [container]}}
    mine = node(IPv4Address="192.0.2.21/24")
    mine["status"]["conditions"] = [{"type": "Ready", "status": ready}]
    cluster.answers |= {
        ("GET", "/apis/apps/v1/namespaces/calico-system/deployments/calico-typha"): (200, deployment),
        ("GET", "/api/v1/namespaces/calico-system/pods?labelSelector=app%3Dtypha"): (200, {"items": [pod]}),
        ("GET", "/api/v1/nodes"): (200, {"items": [mine]}),
    }
    code, result = run(capsys, cluster, workloads=[TYPHA], node_addresses=["192.0.2.21"])
    assert (code, result["rolled_out"]) == (0, expected)
    # nothing was asked for is no proof
    assert run(capsys, cluster)[1]["rolled_out"] is False
    assert {method for method, *dummy in cluster.asked} == {"GET"}


@pytest.mark.parametrize(
    ("group", "spec", "mesh"),
    [
        (V1, {"nodeToNodeMeshEnabled": False}, False),
        (V1, {"nodeToNodeMeshEnabled": True}, True),
        (V1, {"asNumber": 1}, True),
        ("projectcalico.org/v3", {"nodeToNodeMeshEnabled": False}, False),
    ],
)
def test_the_mesh(cluster, capsys, group, spec, mesh):
    cluster.answers[("GET", f"/apis/{group}/bgpconfigurations/default")] = (200, {"spec": spec})
    assert run(capsys, cluster, api_group=group)[1]["mesh"] is mesh


def test_nothing_of_calico_is_there_yet(api_server, capsys):
    api_server.answers[("GET", "/api/v1/nodes")] = (200, {"items": [node()]})
    code, result = run(capsys, api_server)
    assert (code, result["installation"], result["mesh"]) == (0, False, True)
    assert [item["status"] for item in result["checks"]] == ["fail"]


def test_a_node_that_falls_back_to_plain_text_is_named(cluster, capsys):
    cluster.answers[("GET", "/api/v1/nodes")] = (200, {"items": [GOOD, node("w2", "192.0.2.22", IPv4Address="192.0.2.22/24")]})
    degraded = {"type": "Degraded", "status": "True", "reason": "PodFailure", "message": "crash looping."}
    items = [{"metadata": {"name": "calico"}, "status": {"conditions": [degraded]}}]
    cluster.answers[("GET", "/apis/operator.tigera.io/v1/tigerastatuses")] = (200, {"items": items})
    code, result = run(capsys, cluster, wait_for="nodes", wireguard=True)
    assert code == 1
    assert result["msg"] == (
        "1 of 4 findings are no pass after 0 seconds. wireguard/w2: no WireGuard public key for IPv4. "
        "Wanted: a WireGuard public key, without which Calico sends the traffic of this node in plain text. "
        "On the node: `modprobe wireguard` (Linux 5.6 or later; EL has it from 9); then `kubectl -n calico-system logs -c calico-node POD` of the pod "
        "that `kubectl -n calico-system get pods -o wide` shows on the node. The operator says: calico: PodFailure: crash looping."
    )
    assert [item["status"] for item in result["checks"]] == ["pass", "pass", "pass", "fail"]


def test_check_mode_does_not_fail_for_what_an_earlier_task_would_have_mended(cluster, capsys):
    cluster.answers[("GET", "/api/v1/nodes")] = (200, {"items": [node()]})
    code, result = run(capsys, cluster, True, wait_for="nodes", wait_seconds=600)
    assert (code, result["reached"]) == (0, False)


def test_an_operator_that_makes_no_kinds(api_server, capsys):
    code, result = run(capsys, api_server, wait_for="installation")
    assert code == 1
    assert "operator has to make that kind when it starts" in result["msg"]


def test_a_refusal_is_not_taken_for_absence(cluster, capsys):
    cluster.answers[("GET", f"/apis/{V1}/bgpconfigurations/default")] = (403, {"message": "forbidden"})
    code, result = run(capsys, cluster)
    assert code == 1
    assert "403: forbidden" in result["msg"]


def test_no_cluster_yet(tmp_path, capsys):
    class Api:
        kubeconfig = tmp_path / "admin.conf"

    assert run(capsys, Api, True, wait_for="nodes")[1]["nodes"] == []
    code, result = run(capsys, Api)
    assert code == 1
    assert "admin.conf cannot be used" in result["msg"]
