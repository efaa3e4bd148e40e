# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module cilium_bgp_peers: sessions as Cilium's agents report them, with a clock of its own and against an API server of its own."""

from __future__ import annotations

import json
import re

import pytest
from ansible.module_utils.testing import patch_module_args
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _cilium_bgp
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.modules import cilium_bgp_peers

NODES = "/api/v1/nodes"
CONFIGS = "/apis/cilium.io/v2/ciliumbgpnodeconfigs"
TOR1 = {"name": "tor1", "address": "192.0.2.1", "nodes": {"rack": "1"}, "port": 179}
TOR2 = {"name": "tor2", "address": "198.51.100.1", "nodes": {"rack": "2"}, "port": 1790}


def node(name, address, **labels):
    return {"metadata": {"name": name, "labels": labels}, "status": {"addresses": [{"type": "InternalIP", "address": address}]}}


CP1, W1 = node("cp1", "192.0.2.11", rack="1"), node("w1", "192.0.2.21", rack="2")


def config(name, *rows, error=""):
    """A CiliumBGPNodeConfig, as pkg/k8s/apis/cilium.io/v2/bgp_node_types.go has it; rows: (peer, state)."""
    peers = []
    for peer, state in rows:
        row = {"name": peer["name"], "peerAddress": peer["address"], "peerASN": 64500}
        if state:
            row["peeringState"] = state
        if state == "established":
            row["establishedTime"] = "2026-11-21T12:00:00Z"
        peers.append(row)
    conditions = [{"type": "cilium.io/BGPReconcileError", "status": "True" if error else "False", "message": error}]
    return {"metadata": {"name": name}, "status": {"bgpInstances": [{"name": "as64512", "peers": peers}], "conditions": conditions}}


UP = [config("cp1", (TOR1, "established")), config("w1", (TOR2, "established"))]


class Clock:
    """Time that passes only in sleep."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def wait(*answers, peers=(TOR1, TOR2), addresses=(), nodes=(CP1, W1), wait_seconds=60, stable_seconds=0):
    """_cilium_bgp.wait with scripted node configurations; the last ones repeat."""
    clock, left = Clock(), list(answers)

    def get(path):
        if path == NODES:
            return {"items": list(nodes)}
        assert path == CONFIGS
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return None if answer is None else {"items": answer}

    return _cilium_bgp.wait(get, peers, addresses, wait_seconds, 3, stable_seconds, clock, clock.sleep)


def by_id(result):
    return {item["id"]: item for item in result["checks"]}


def test_all_are_established():
    result = wait(UP)
    assert [(item["id"], item["status"], item["observed"]) for item in result["checks"]] == [
        ("bgp_peers/cp1/tor1", "pass", "established since 2026-11-21T12:00:00Z"),
        ("bgp_peers/w1/tor2", "pass", "established since 2026-11-21T12:00:00Z"),
    ]
    assert result["waited"] == 0


def test_a_peer_of_all_nodes():
    everywhere = dict(TOR1, nodes={})
    found = by_id(wait([config("cp1", (TOR1, "established"))], peers=[everywhere]))
    assert {name: item["status"] for name, item in found.items()} == {"bgp_peers/cp1/tor1": "pass", "bgp_peers/w1/tor1": "fail"}
    assert found["bgp_peers/w1/tor1"]["observed"] == (
        "peer tor1 (192.0.2.1) of node w1 is not known to Cilium: there is no CiliumBGPNodeConfig w1"
    )


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("active", "198.51.100.1 does not accept the connection to port 1790/tcp"),
        ("connect", "198.51.100.1 does not accept the connection to port 1790/tcp"),
        ("open_sent", "198.51.100.1 takes the connection, but not the session"),
        ("open_confirm", "but not the session"),
        ("idle", "the session is off for a moment after an error"),
        ("unknown", "Look with: `kubectl get ciliumbgpnodeconfig w1 -o yaml`"),
        ("Established", "Look with"),
    ],
)
def test_a_peer_that_is_not_established(state, cause):
    result = wait([UP[0], config("w1", (TOR2, state))])
    found = by_id(result)["bgp_peers/w1/tor2"]
    assert (found["status"], found["observed"], found["wanted"]) == (
        "fail", f"peer tor2 (198.51.100.1) of node w1 is {state}", "established",
    )  # fmt: skip
    assert cause in found["fix"]
    assert result["waited"] == 60


def test_waits_for_the_last_one():
    result = wait([UP[0]], None, KubeApiError("gone"), [UP[0], config("w1", (TOR2, "active"))], UP)
    assert (result["waited"], [item["status"] for item in result["checks"]]) == (12, ["pass", "pass"])


def test_the_window_begins_anew_when_a_session_goes_down():
    assert wait(UP, stable_seconds=15)["waited"] == 15
    down = [UP[0], config("w1", (TOR2, "idle"))]
    assert wait(UP, UP, UP, down, UP, stable_seconds=15)["waited"] == 27
    # the time is over before the window is
    result = wait(down, UP, stable_seconds=15, wait_seconds=9)
    found = by_id(result)["bgp_peers/w1/tor2"]
    assert (found["status"], result["waited"]) == ("unknown", 9)
    assert "seen so for 6 s only" in found["observed"]


def test_a_report_of_another_address_is_no_proof():
    """The peer got another address, and the agent has not reported since."""
    old = dict(TOR2, address="198.51.100.9")
    found = by_id(wait([UP[0], config("w1", (old, "established"))]))["bgp_peers/w1/tor2"]
    assert found["status"] == "unknown"
    assert found["observed"] == "the agent does not tell the state of peer tor2 (198.51.100.1) of node w1"
    assert "statusReport" in found["fix"]


def test_what_the_agent_complains_of():
    found = by_id(wait([UP[0], config("w1", (TOR2, ""), error="as64512: no password\n")]))["bgp_peers/w1/tor2"]
    assert (found["status"], found["observed"].partition("; ")[2]) == ("fail", "the agent says: as64512: no password")


def test_only_the_nodes_of_the_run():
    assert [item["id"] for item in wait([UP[0]], addresses=["192.0.2.11"])["checks"]] == ["bgp_peers/cp1/tor1"]


def test_no_answer_is_no_proof():
    result = wait(KubeApiError("https://192.0.2.11:6443 gave no answer."))
    assert [(item["id"], item["status"]) for item in result["checks"]] == [("bgp_peers", "unknown")]


@given(st.recursive(st.none() | st.booleans() | st.text(), lambda inner: st.dictionaries(st.sampled_from(["peeringState", "name"]), inner)))
def test_nothing_but_the_word_is_established(state):
    row = {"name": "tor2", "peerAddress": "198.51.100.1", "peeringState": state}
    item = {"metadata": {"name": "w1"}, "status": {"bgpInstances": [{"peers": [row]}]}}
    assert _cilium_bgp.is_established({"w1": item}, _cilium_bgp.Session("w1", TOR2)) is (state == "established")


# --- the module


def run(capsys, check_mode=False, **params):
    """Exit code and result of the module."""
    peers = [{"name": "tor1", "address": "192.0.2.1", "nodes": {"rack": "1"}}]
    with patch_module_args({"peers": peers, **params, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as exit_:
        cilium_bgp_peers.main()
    return exit_.value.code, json.loads(capsys.readouterr().out)


def test_the_module_passes_and_changes_nothing(api_server, capsys):
    api_server.answers[("GET", NODES)] = (200, {"items": [CP1, W1]})
    api_server.answers[("GET", CONFIGS)] = (200, {"items": UP})
    code, result = run(capsys, kubeconfig=str(api_server.kubeconfig), stable_seconds=0)
    assert (code, result["changed"], [item["status"] for item in result["checks"]]) == (0, False, ["pass"])
    assert {method for method, *dummy in api_server.asked} == {"GET"}


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_module_names_node_peer_and_state(api_server, capsys, check_mode):
    api_server.answers[("GET", NODES)] = (200, {"items": [CP1, W1]})
    api_server.answers[("GET", CONFIGS)] = (200, {"items": [config("cp1", (TOR1, "active"))]})
    code, result = run(capsys, check_mode, kubeconfig=str(api_server.kubeconfig), wait_seconds=0)
    assert code == (0 if check_mode else 1)
    # how long one look takes is this machine's
    assert re.match(r"1 of 1 BGP sessions are not up after \d+ seconds: peer tor1 \(192.0.2.1\) of node cp1 is active. Wanted: ", result["msg"])


def test_many_sessions_are_not_all_told(api_server, capsys):
    nodes = [node(f"w{number}", f"192.0.2.{number}", rack="1") for number in range(1, 9)]
    api_server.answers[("GET", NODES)] = (200, {"items": nodes})
    api_server.answers[("GET", CONFIGS)] = (200, {"items": []})
    result = run(capsys, kubeconfig=str(api_server.kubeconfig), wait_seconds=0)[1]
    assert (len(result["checks"]), result["msg"].count("Wanted:")) == (8, 3)
    assert result["msg"].endswith("And 5 more, see checks.")


def test_no_cluster_yet(tmp_path, capsys):
    path = str(tmp_path / "admin.conf")
    assert run(capsys, True, kubeconfig=path)[1]["checks"] == []
    code, result = run(capsys, kubeconfig=path)
    assert code == 1
    assert "admin.conf cannot be used" in result["msg"]
