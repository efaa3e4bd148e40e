# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How role verify judges findings, and what it expects of the IPVS table; no host is contacted."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]

GOOD = {"id": "node_to_service", "status": "pass", "observed": "4 of 4", "wanted": "4", "fix": ""}
BAD = {
    "id": "pod_to_pod/w1",
    "status": "fail",
    "observed": "no answer within 5 s",
    "wanted": "an answer from 10.244.1.2:8080",
    "fix": "Look at `ip route get 10.244.1.2`.",
}
UNKNOWN = {"id": "ipvs_table", "status": "unknown", "observed": "/proc/net/ip_vs does not exist", "wanted": "x", "fix": "Look."}


DENIED = {**GOOD, "id": "network_policy/w1"}
DNS = {"address": "10.96.0.10", "endpoints": [{"address": "10.244.0.3", "port": 53}], "api_addresses": ["10.96.0.1"]}


def registers(*traffic, dns=None, pods=2, mtu=1500):
    return {
        "__verify_cluster": {"checks": [{**GOOD, "id": "nodes_ready"}], "dns": DNS if dns is None else dns, "pods": [{}] * pods},
        "__verify_proxy": {"checks": [{**GOOD, "id": "kube_proxy_mode"}]},
        "__verify_listener": {"checks": [], "interface": {"name": "eth0", "mtu": mtu, "reason": ""}},
        "__verify_traffic": {"checks": list(traffic)},
    }


HOSTS = {
    "good": {"cluster_node_ip": "192.0.2.11", "cluster_cni": "calico", "__verify_policy": {"checks": [DENIED]}, **registers(GOOD)},
    "other_mode": {"cluster_node_ip": "192.0.2.12", "cluster_proxy_mode": "nftables", "cluster_cni": "flannel", **registers(GOOD, dns={})},
    "bad": {"cluster_node_ip": "2001:db8::13", **registers(GOOD, BAD, mtu=1480)},
    "unknown": {"cluster_node_ip": "192.0.2.14", "cluster_ipvs_scheduler": "sh", **registers(UNKNOWN)},
    "alone": {"cluster_node_ip": "192.0.2.15", "cluster_cni": "cilium", "__verify_policy": {"skipped": True}, **registers(GOOD, pods=1)},
}
PLAY = """
- hosts: kubernetes
  gather_facts: false
  tasks:
    - name: Expectations
      ansible.builtin.include_role:
        name: baremetal.kubernetes.verify
        tasks_from: judge
        public: true
        apply:
          ignore_errors: true
    - name: Show
      ansible.builtin.copy:
        content: "{{ {'service': _verify_api_service, 'balanced': _verify_balanced, 'passed': _verify_passed, 'problems': _verify_problems,
                       'mtu': _verify_pod_mtu} | to_nice_json }}"
        dest: "{{ out }}/{{ inventory_hostname }}.json"
        mode: "0644"
"""


@pytest.fixture(name="run", scope="module")
def fixture_run(tmp_path_factory):
    """(output of the play, {host: values})."""
    folder = tmp_path_factory.mktemp("verify")
    inventory = {
        "all": {
            "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "cluster_service_cidr": "10.96.0.0/12"},
            "children": {"kubernetes": {"children": {"control_plane": {"hosts": HOSTS}, "workers": {}}}},
        }
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    (folder / "play.yml").write_text(PLAY)
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(folder / "hosts.yml"), str(folder / "play.yml"), "-e", f"out={folder}"]
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_FORCE_COLOR="0")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, {host: yaml.safe_load((folder / f"{host}.json").read_text()) for host in HOSTS}


def test_only_what_passes_passes(run):
    recap = {line.split()[0]: "ignored=1" in line for line in run[0].splitlines() if "unreachable=" in line}
    assert recap == {"good": False, "other_mode": False, "bad": True, "unknown": True, "alone": False}


def test_the_message_says_what_was_seen_wanted_and_next(run):
    assert run[1]["bad"]["problems"] == [
        "pod_to_pod/w1: fail. Seen: no answer within 5 s. Wanted: an answer from 10.244.1.2:8080. Next: Look at `ip route get 10.244.1.2`."
    ]
    assert run[1]["bad"]["problems"][0] in run[0]
    assert run[1]["unknown"]["problems"][0].startswith("ipvs_table: unknown. Seen: /proc/net/ip_vs does not exist.")


def test_findings_of_the_cluster_are_told_once(run):
    assert run[1]["good"]["passed"] == "4 findings, all pass: nodes_ready, network_policy/w1, kube_proxy_mode, node_to_service."
    assert run[1]["other_mode"]["passed"].startswith("2 findings, all pass: kube_proxy_mode, node_to_service.")


def test_what_does_not_apply_is_said(run):
    assert run[1]["other_mode"]["passed"].endswith(
        "node_to_service. The IPVS table and arp_ignore do not apply to cluster_proxy_mode nftables. DNS was not asked, as there is no Service"
        " kube-system/kube-dns. NetworkPolicy was not tried, as flannel has none."
    )
    assert run[1]["alone"]["passed"].endswith("node_to_service. NetworkPolicy was not tried, as it takes pods on two nodes.")


def test_the_mtu_of_pods_comes_from_the_smallest_interface(run):
    # calico none, flannel vxlan, bridge is told none, cilium vxlan
    assert {host: int(values["mtu"]) for host, values in run[1].items()} == {
        "good": 1480,
        "other_mode": 1430,
        "bad": 1500,
        "unknown": 1500,
        "alone": 1430,
    }


def test_every_control_plane_is_expected_behind_the_first_service_address(run):
    assert run[1]["good"]["service"] == [
        {
            "address": "10.96.0.1",
            "port": 443,
            "protocol": "TCP",
            "destinations": ["192.0.2.11:6443", "192.0.2.12:6443", "[2001:db8::13]:6443", "192.0.2.14:6443", "192.0.2.15:6443"],
        }
    ]


def test_the_scheduler_decides_whether_all_must_answer(run):
    assert {host: values["balanced"] for host, values in run[1].items()} == {
        "good": True,
        "other_mode": True,
        "bad": True,
        "unknown": False,
        "alone": True,
    }
