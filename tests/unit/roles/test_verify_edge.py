# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role verify asks of an ingress controller, and how it judges all nodes together; no host is contacted."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]


def finding(identifier, status="pass"):
    return {"id": identifier, "status": status, "observed": "x", "wanted": "y", "fix": "" if status == "pass" else "z"}


PREPARED = {
    "addresses": ["192.0.2.21", "192.0.2.22"],
    "ca": "",
    "controllers": [{"node": "w1", "node_address": "192.0.2.21", "name": "nginx-a", "uid": "1"}],
    "checks": [finding("edge_controller")],
}
NONE_HERE = {"pods": [], "checks": [finding("edge_workers", "unknown")]}
COMMON = {
    "__verify_cluster": {"checks": [], "dns": {"address": "x"}, "pods": [{}, {}]},
    "__verify_proxy": {"checks": []},
    "__verify_listener": {"checks": [], "interface": {"name": "eth0", "mtu": 1500, "reason": ""}},
    "__verify_traffic": {"checks": [finding("pod_to_service")]},
    "__verify_edge": PREPARED,
    "__verify_edge_server": {"checks": []},
}
HOSTS = {
    "cp1": {
        "cluster_node_ip": "192.0.2.11",
        **COMMON,
        "__verify_edge_requests": {"checks": [finding("edge_http")]},
        "__verify_edge_workers": NONE_HERE,
    },
    "w1": {
        "cluster_node_ip": "192.0.2.21",
        **COMMON,
        "__verify_edge_requests": {"checks": [finding("edge_keepalive", "fail")]},
        "__verify_edge_workers": {"pods": [{"name": "nginx-a", "workers": 1}], "checks": [finding("edge_config")]},
    },
}
PLAY = """
- hosts: kubernetes
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: baremetal.kubernetes.ingress
        tasks_from: expected
    - ansible.builtin.include_role:
        name: baremetal.kubernetes.verify
        tasks_from: judge
        public: true
        apply:
          ignore_errors: true
    - ansible.builtin.copy:
        content: "{{ {'addresses': _verify_edge_addresses, 'checks': _verify_checks | map(attribute='id'), 'judged': _verify_edge_judged,
                       'asks': cluster_ingress_controller != 'none' and _verify_edge_asks | bool,
                       'hsts': cluster_ingress_controller != 'none' and _verify_edge_has_hsts | bool,
                       'left_out': _verify_not_applicable, 'host': _verify_edge_host} | to_nice_json }}"
        dest: "{{ out }}/{{ inventory_hostname }}.json"
        mode: "0644"
"""


TASKS = """
- hosts: kubernetes
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: baremetal.kubernetes.verify
        tasks_from: edge
"""


def run_play(folder, text, variables, *arguments):
    inventory = {
        "all": {
            "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "cluster_cni": "bridge", **variables},
            "children": {
                "kubernetes": {"children": {"control_plane": {"hosts": {"cp1": HOSTS["cp1"]}}, "workers": {"hosts": {"w1": HOSTS["w1"]}}}}
            },
        }
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    (folder / "play.yml").write_text(text)
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(folder / "hosts.yml"), str(folder / "play.yml"), *arguments]
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_FORCE_COLOR="0")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def play(folder, **variables):
    run_play(folder, PLAY, variables, "-e", f"out={folder}")
    return {host: yaml.safe_load((folder / f"{host}.json").read_text()) for host in HOSTS}


@pytest.fixture(name="run", scope="module")
def fixture_run(tmp_path_factory):
    return play(tmp_path_factory.mktemp("edge"), cluster_ingress_controller="nginx", ingress_exposure="host_network")


def test_nodes_and_cluster_are_told_once(run):
    assert run["cp1"]["checks"] == ["edge_controller", "edge_controller_nodes", "edge_http", "pod_to_service"]
    assert run["w1"]["checks"] == ["edge_keepalive", "edge_config", "pod_to_service"]


def test_each_node_begins_with_another_address(run):
    assert run["cp1"]["addresses"] == ["192.0.2.22", "192.0.2.21"]
    assert run["w1"]["addresses"] == ["192.0.2.21", "192.0.2.22"]


def test_the_host_is_in_nobodys_domain(run):
    assert run["cp1"]["host"] == "verify.kubernetes-verify.test"


def test_what_was_not_tried_is_said(run):
    assert "The client's address was not judged" in run["cp1"]["left_out"]


@pytest.mark.parametrize(
    "variables, asks",
    [
        # the pod of the controller is on w1
        ({"ingress_exposure": "load_balancer"}, {"cp1": False, "w1": True}),
        ({"ingress_exposure": "load_balancer", "cluster_proxy_mode": "nftables"}, {"cp1": True, "w1": True}),
        ({"ingress_exposure": "load_balancer", "ingress_external_traffic_policy": "Cluster"}, {"cp1": True, "w1": True}),
        ({"ingress_exposure": "host_network"}, {"cp1": True, "w1": True}),
    ],
)
def test_who_gets_an_answer_from_the_address(tmp_path, variables, asks):
    run = play(tmp_path, cluster_ingress_controller="nginx", **variables)
    assert {host: run[host]["asks"] for host in run} == asks


def test_a_client_outside(tmp_path):
    results = [{"item": "laptop", "checks": [finding("edge_client_address")]}]
    run = play(tmp_path, cluster_ingress_controller="nginx", verify_edge_clients=["laptop"], __verify_edge_clients={"results": results})
    assert run["cp1"]["checks"][2] == "edge_client_address/laptop"
    assert "client's address" not in run["cp1"]["left_out"]


@pytest.mark.parametrize("controller, header", [("nginx", True), ("ingress-nginx", False)])
def test_hsts_without_a_certificate_of_its_own(tmp_path, controller, header):
    assert play(tmp_path, cluster_ingress_controller=controller)["cp1"]["hsts"] is header


def test_without_a_controller_nothing_is_asked(tmp_path):
    run = play(tmp_path)
    assert run["cp1"]["checks"] == run["w1"]["checks"] == ["pod_to_service"]
    assert run["cp1"]["left_out"].strip() == "NetworkPolicy was not tried, as bridge has none."


def test_every_task_has_options_that_its_module_takes(tmp_path):
    """In check mode modules do nothing, but refuse what they do not know. What the first task finds is given."""
    variables = {
        "cluster_ingress_controller": "nginx",
        "ingress_profile": "high-concurrency",
        "verify_edge_certificates": [{"host": "www.example.org"}],
    }
    arguments = ("--check", "--start-at-task", "*Answer by HTTP in the probe pods")
    output = run_play(tmp_path, TASKS, {**variables, "verify_edge_clients": ["localhost"]}, *arguments)
    recap = {line.split()[0]: "failed=0" in line.split() for line in output.splitlines() if "unreachable=" in line}
    assert recap == {"cp1": True, "w1": True}, output
    assert output.count("TASK [baremetal.kubernetes.verify") == 4, output


def test_few_tasks_are_added():
    tasks = yaml.safe_load((ROOT / "roles" / "verify" / "tasks" / "edge.yml").read_text(encoding="utf-8"))
    executed = [task for task in tasks if "ansible.builtin.import_role" not in task]
    # those that ask are skipped where no answer can come, and without anybody outside
    assert len(executed) == 5 and sum("when" in task for task in executed) == 2
