# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role cni_calico renders, and in which order it does what: the role's own tasks, with modules that keep a cluster in a file."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]

HOSTS = {"cp1": "192.0.2.11", "w1": "192.0.2.21", "w2": "192.0.2.22"}
INVENTORY = {
    "all": {
        "vars": {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "cluster_cni": "calico",
            "cluster_pod_cidr": "10.244.0.0/16",
            "cluster_network_mtu": 1500,
        },
        "children": {
            "kubernetes": {
                "children": {
                    "control_plane": {"hosts": {"cp1": {"cluster_node_ip": "192.0.2.11"}}},
                    "workers": {"hosts": {"w1": {"cluster_node_ip": "192.0.2.21"}, "w2": {"cluster_node_ip": "192.0.2.22"}}},
                }
            }
        },
    }
}
PLAY = """
- hosts: kubernetes
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: baremetal.kubernetes.cni_calico
        tasks_from: "{{ tasks_from }}"
"""

# Stands for every module that asks the cluster or a node: writes down its arguments, and answers from state.json beside it.
STUB = '''
import fcntl, json, os
from ansible.module_utils.basic import AnsibleModule, _load_params
import ansible.module_utils.basic as basic

FOLDER = "@FOLDER@"
NAME = "@NAME@"


def main():
    params = {key: value for key, value in _load_params().items() if not key.startswith("_ansible")}
    basic._load_params = lambda: params
    module = AnsibleModule(argument_spec={key: {"type": "raw"} for key in params}, supports_check_mode=True)
    with open(FOLDER + "/state.json", "r+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        state = json.load(handle)
        result = answer(state, params)
        state["calls"].append([NAME, params])
        handle.seek(0)
        handle.truncate()
        json.dump(state, handle)
    (module.fail_json if result.pop("failed", False) else module.exit_json)(**result)


def answer(state, params):
    if NAME == "calico_nodes":
        if params.get("wait_for") == "installation":
            state["installation"] = True
        nodes = [{"name": name, "uid": name, "addresses": [address], "labels": {}, "route_reflector_cluster_id": ""}
                 for name, address in state["hosts"].items()]
        status = "pass" if state["installed"] else "fail"
        return {"installation": state["installation"], "mesh": state["mesh"], "operator": state["operator"], "nodes": nodes,
                "rolled_out": state["installed"] and not state["rollout_fails"],
                "checks": [{"id": "calico_address/cp1", "status": status, "observed": "", "wanted": "", "fix": ""}]}
    if NAME == "helm" and params.get("release_state") == "absent":
        state["values"] = None
        return {"changed": True}
    if NAME == "helm":
        changed = state["values"] != params["release_values"]
        state["values"] = params["release_values"]
        state["installed"] = params["release_values"]["installation"]["enabled"]
        return {"changed": changed, "status": {"status": "deployed"}}
    if NAME == "kube_apply":
        for item in params["objects"]:
            if item["kind"] == "BGPConfiguration":
                state["mesh"] = item["spec"]["nodeToNodeMeshEnabled"]
        wanted = {item["kind"] + "/" + item["metadata"]["name"]: item for item in params["objects"]}
        changed = {key: state["objects"].get(key) for key in wanted} != wanted
        state["objects"].update(wanted)
        return {"changed": changed}
    if NAME == "kube_rollout":
        names = {item["name"] for item in params["workloads"]}
        return {"failed": state["rollout_fails"] in names, "msg": "calico-node does not come."}
    if NAME == "calico_node_status":
        lost = state["lost"] if state["mesh"] == state["lost_with_mesh"] else ""
        status = "fail" if lost in params["expected_peers"] else "pass"
        check = {"id": "bgp_peers/" + lost, "status": status, "observed": "Connect", "wanted": "Established", "fix": "Look."}
        return {"verdict": status, "checks": [check]}
    if NAME == "helm_binary":
        return {"changed": False, "ready": True, "packages": []}
    if NAME == "node_state":
        return {"node": {"interface": {"mtu": 1500}, "files": {path: None for path in params["files"]}}}
    return {"nodes": []}


if __name__ == "__main__":
    main()
'''
STUBBED = ["calico_nodes", "kube_apply", "kube_rollout", "calico_node_status", "helm_binary", "node_state", "kube_nodes"]


class Cluster:
    """The collection with those modules replaced, and the cluster that they keep."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.state = folder / "state.json"
        own = folder / "ansible_collections/baremetal/kubernetes"
        (own / "plugins/modules").mkdir(parents=True)
        for name in ("roles", "meta", "galaxy.yml"):
            (own / name).symlink_to(ROOT / name)
        for name in ("filter", "plugin_utils", "module_utils", "doc_fragments", "callback"):
            (own / "plugins" / name).symlink_to(ROOT / "plugins" / name)
        for path in (ROOT / "plugins/modules").glob("*.py"):
            if path.stem not in STUBBED:
                (own / "plugins/modules" / path.name).symlink_to(path)
        core = folder / "ansible_collections/kubernetes/core/plugins/modules"
        core.mkdir(parents=True)
        for name in [*STUBBED, "helm"]:
            target = core if name == "helm" else own / "plugins/modules"
            (target / f"{name}.py").write_text("#!/usr/bin/python\n" + STUB.replace("@FOLDER@", str(folder)).replace("@NAME@", name))
        (folder / "play.yml").write_text(PLAY)
        self.set(
            calls=[], hosts=HOSTS, installation=False, installed=False, mesh=True, operator=[], values=None, objects={},
            rollout_fails="", lost="-", lost_with_mesh=True,
        )  # fmt: skip

    def set(self, **values) -> None:
        state = json.loads(self.state.read_text()) if self.state.exists() else {}
        self.state.write_text(json.dumps(state | values))

    def run(self, *arguments: str, tasks_from: str = "main", **variables):
        """(return code, output, calls as (module, arguments)) of the role's tasks."""
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(INVENTORY))
        extra = {"tasks_from": tasks_from, "render_dir": str(self.folder / "out"), **variables}
        command = [sys.executable, "-m", "ansible", "playbook", "-i", str(self.folder / "hosts.yml"), str(self.folder / "play.yml")]
        environment = dict(
            os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_COLLECTIONS_PATH=str(self.folder), ANSIBLE_FORCE_COLOR="0"
        )
        self.set(calls=[])
        done = subprocess.run(
            [*command, "-e", json.dumps(extra), *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        return done.returncode, done.stdout + done.stderr, [tuple(call) for call in json.loads(self.state.read_text())["calls"]]


@pytest.fixture(name="cluster")
def fixture_cluster(tmp_path):
    return Cluster(tmp_path)


def bgp(calls):
    """The mesh and the sessions in the order in which they were set and proven."""
    found = []
    for name, params in calls:
        if name == "kube_apply":
            found += [("mesh", item["spec"]["nodeToNodeMeshEnabled"]) for item in params["objects"] if item["kind"] == "BGPConfiguration"]
            found += [("reflectors",) for item in params["objects"][-1:] if item["kind"] == "Node"]
        if name == "calico_node_status":
            found.append(("sessions", *params["expected_peers"]))
    return found


def executed(output, host):
    """Tasks of the role that ran on a host, from the table at the end: neither those skipped nor static imports are counted."""
    (line,) = [line for line in output.splitlines() if re.match(rf"{host} +\d+ +\d+ ", line)]
    # without the task of the play that includes the role
    return int(line.split()[1]) - 1


def test_what_is_rendered(cluster):
    code, output, calls = cluster.run(tasks_from="render", cluster_cni_encryption="wireguard", cni_calico_bgp_password="a secret")
    assert code == 0, output
    assert calls == []
    values = yaml.safe_load((cluster.folder / "out/cluster/helm/calico.yaml").read_text())
    network = values["installation"]["calicoNetwork"]
    # 1500 without the 60 bytes of WireGuard
    assert (network["mtu"], network["bgp"], network["ipPools"][0]["encapsulation"]) == (1440, "Enabled", "None")
    text = (cluster.folder / "out/cluster/manifests/calico.yaml").read_text()
    kinds = [item["kind"] for item in yaml.safe_load_all(text)]
    assert kinds == ["Namespace", "Role", "RoleBinding", "FelixConfiguration", "BGPConfiguration"]
    assert "wireguardEnabled: true" in text
    assert "a secret" not in text


def test_a_new_cluster_and_a_second_run(cluster):
    code, output, calls = cluster.run()
    assert code == 0, output
    enabled = [params["release_values"]["installation"]["enabled"] for name, params in calls if name == "helm"]
    assert enabled == [False, True], "the operator alone, then the Installation"
    steps = [name for name, dummy in calls if name not in ("helm_binary", "node_state")]
    assert steps == [
        "calico_nodes", "helm", "kube_rollout", "calico_nodes", "helm", "kube_apply", "kube_rollout", "calico_nodes",
        "calico_node_status", "calico_node_status", "calico_node_status",
    ]  # fmt: skip
    expected = {tuple(params["expected_peers"]) for name, params in calls if name == "calico_node_status"}
    assert expected == {("192.0.2.21", "192.0.2.22"), ("192.0.2.11", "192.0.2.22"), ("192.0.2.11", "192.0.2.21")}
    helm = next(params for name, params in calls if name == "helm")
    assert (helm["chart_ref"], helm["chart_version"], helm["release_namespace"]) == ("tigera-operator", "v3.32.4", "tigera-operator")

    code, output, calls = cluster.run()
    assert code == 0, output
    assert "changed=0" in output and "changed=1" not in output
    steps = [name for name, dummy in calls if name != "node_state"]
    assert steps == ["calico_nodes", "helm_binary", "helm", "kube_apply", *["calico_node_status"] * 3]
    (looked,) = [params for name, params in calls if name == "calico_nodes"]
    assert {item["name"] for item in looked["workloads"]} >= {"calico-node", "calico-typha", "tigera-operator"}
    assert looked["node_addresses"] == list(HOSTS.values())
    assert executed(output, "cp1") == 7


def test_an_unchanged_cluster_with_a_workload_that_does_not_run(cluster):
    assert cluster.run()[0] == 0
    cluster.set(rollout_fails="calico-typha")
    code, output, calls = cluster.run(cni_calico_timeout=1)
    assert code != 0
    assert "kube_rollout" in {name for name, dummy in calls}
    assert "calico_node_status" not in {name for name, dummy in calls}


def test_the_chart_of_3_31_brings_its_kinds(cluster):
    code, output, calls = cluster.run(cni_calico_version="3.31.7")
    assert code == 0, output
    assert [params["release_values"]["installation"]["enabled"] for name, params in calls if name == "helm"] == [True]


def test_vxlan_asks_nobody_for_bgp(cluster):
    code, output, calls = cluster.run(cluster_cni_encapsulation="vxlan")
    assert code == 0, output
    assert bgp(calls) == []


def test_wrong_settings_are_told_at_once_before_any_host_is_touched(cluster):
    code, output, calls = cluster.run(
        tasks_from="validate",
        cni_calico_block_size="x",
        cni_calico_as_number=1.1,
        cni_calico_route_reflectors=["cp1", "cp9"],
        cni_calico_bgp_peers=[{"name": "a", "address": "192.0.2", "as_number": 1, "password": "a secret" * 20}],
    )
    assert code != 0
    assert calls == []
    said = " ".join(output.split())
    for sentence in (
        "cni_calico_block_size is 'x', but must be a number from 20 to 32.",
        "cni_calico_as_number is 1.1, but must be a number from 1 to 4294967295.",
        "cni_calico_route_reflectors has 'cp9', but must have inventory names of nodes: cp1, w1, w2.",
        "BGP peer a (cni_calico_bgp_peers) has the address '192.0.2', but must have an IP address.",
        "the password of BGP peer a (cni_calico_bgp_peers) has 160 bytes, but Linux takes 80 at most.",
    ):
        assert sentence in said
    assert "a secret" not in output


def test_good_settings_pass_and_a_stage_alone_refuses_the_bad_ones_too(cluster):
    code, output, calls = cluster.run(tasks_from="validate", cni_calico_route_reflectors=["cp1"])
    assert code == 0, output
    assert executed(output, "cp1") == 1
    assert executed(output, "w1") == 0
    code, output, calls = cluster.run(cni_calico_route_reflectors=["cp9"])
    assert code != 0
    assert "cni_calico_route_reflectors has 'cp9'" in " ".join(output.split())
    assert not {"helm", "kube_apply"} & {name for name, dummy in calls}


def test_the_mesh_goes_after_the_reflectors_sessions_are_there(cluster):
    code, output, calls = cluster.run(cni_calico_route_reflectors=["cp1"])
    assert code == 0, output
    assert bgp(calls)[:2] == [("mesh", True), ("reflectors",)]
    # w1 and w2 still have each other
    first = {("sessions", "192.0.2.21", "192.0.2.22"), ("sessions", "192.0.2.11", "192.0.2.22"), ("sessions", "192.0.2.11", "192.0.2.21")}
    assert set(bgp(calls)[2:5]) == first
    assert bgp(calls)[5] == ("mesh", False)
    assert sorted(bgp(calls)[6:]) == [("sessions", "192.0.2.11"), ("sessions", "192.0.2.11"), ("sessions", "192.0.2.21", "192.0.2.22")]

    code, output, calls = cluster.run(cni_calico_route_reflectors=["cp1"])
    assert code == 0, output
    assert "changed=0" in output and "changed=1" not in output
    assert bgp(calls)[0] == ("mesh", False), "a mesh that is off is not turned on in passing"
    assert len(bgp(calls)) == 5
    # the reflectors are no task of their own
    assert executed(output, "cp1") == 7


def test_the_mesh_stays_when_one_session_of_a_reflector_is_missing(cluster):
    cluster.set(lost="192.0.2.11")
    code, output, calls = cluster.run(cni_calico_route_reflectors=["cp1"])
    assert code != 0
    assert "bgp_peers/192.0.2.11: fail. Seen: Connect. Wanted: Established. Look." in output
    assert ("mesh", False) not in bgp(calls)
    assert json.loads(cluster.state.read_text())["mesh"] is True
    # mended, the next run finishes what this one began
    cluster.set(lost="-")
    code, output, calls = cluster.run(cni_calico_route_reflectors=["cp1"])
    assert code == 0, output
    assert ("mesh", False) in bgp(calls)


def test_a_run_that_is_killed_after_the_mesh_is_off(cluster):
    cluster.set(lost="192.0.2.11", lost_with_mesh=False)
    assert cluster.run(cni_calico_route_reflectors=["cp1"])[0] != 0
    assert json.loads(cluster.state.read_text())["mesh"] is False
    cluster.set(lost="-")
    code, output, calls = cluster.run(cni_calico_route_reflectors=["cp1"])
    assert code == 0, output
    assert ("mesh", True) not in bgp(calls)


def test_the_mesh_stays_when_hosts_are_left_out(cluster):
    code, output, calls = cluster.run("--limit", "cp1,w1", cni_calico_route_reflectors=["cp1"])
    assert code != 0
    assert "the sessions of w2 were not looked at; the mesh stays on" in " ".join(output.split())
    assert ("mesh", False) not in bgp(calls)


def test_the_operator_is_asked_why_calico_does_not_come(cluster):
    cluster.set(rollout_fails="calico-node", operator=["calico: InvalidConfiguration: no such pool"])
    code, output, calls = cluster.run(cni_calico_timeout=1)
    assert code != 0
    assert "calico-node does not come. The operator says: calico: InvalidConfiguration: no such pool." in " ".join(output.split())
    assert "calico_node_status" not in {name for name, dummy in calls}


def test_check_mode_on_new_machines(cluster):
    code, output, calls = cluster.run("--check")
    assert code == 0, output
    assert "calico_node_status" not in {name for name, dummy in calls}


def test_removing_takes_the_release_and_the_configuration(cluster, tmp_path):
    conflist = tmp_path / "10-calico.conflist"
    conflist.write_text("{}")
    code, output, calls = cluster.run(tasks_from="remove", _cni_calico_removed=[str(conflist)])
    assert code == 0, output
    assert [params["release_name"] for name, params in calls if name == "helm"] == ["calico"]
    assert not conflist.exists()
