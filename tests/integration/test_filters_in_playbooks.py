# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters get tagged texts and lazy containers from a playbook, which plain unit tests do not show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PLAYBOOK = r"""
- hosts: all
  gather_facts: false
  vars:
    prefix: "10.244"
    pods: "{{ prefix }}.0.0/16"
    ranges:
      pods: "{{ pods }}"
      lb: ["{{ prefix }}.255.1-{{ prefix }}.255.9", 192.0.2.0/24]
    link: "1500"
    layers: ["vxlan", "{{ 'wireguard' }}"]
    description:
      kubernetes_version: "{{ '1.36.4' }}"
      node_name: "{{ inventory_hostname }}"
      node_ip: "{{ ([inventory_hostname] | baremetal.kubernetes.node_ips(hostvars))[inventory_hostname] }}"
      endpoint: "{{ 'api.example.com' }}:{{ 6443 }}"
      pod_cidr: "{{ pods }}"
      service_cidr: 10.96.0.0/12
      proxy_mode: nftables
      kubelet:
        max_pods: "{{ '100' | int }}"
        extra: "{{ {'kubeReserved': {'cpu': '100m'}} }}"
        extra_args: {v: "{{ 2 }}"}
    text: "{{ description | baremetal.kubernetes.kubeadm_config('init') }}"
    files:
      - path: /etc/x
        content: "{{ text }}"
        owner: root
  tasks:
    - ansible.builtin.assert:
        that:
          - (ranges | baremetal.kubernetes.cidr_overlaps) == [expected]
          - (link | baremetal.kubernetes.cni_mtu(layers)) == 1390
          - (text | from_yaml_all | list | last).kubeReserved.cpu == '100m'
          - (text | from_yaml_all | list | last).maxPods == 100
          - (text | from_yaml_all | list | first).nodeRegistration.kubeletExtraArgs == [{'name':'node-ip','value':'192.0.2.9'},{'name':'v','value':'2'}]
          - description | baremetal.kubernetes.kubeadm_config('init', output='flags') == []
          - (files | baremetal.kubernetes.files_below('/out')) == [{'path':'/out/etc/x','content':text,'mode':'0644'}]
      vars:
        expected:
          first: pods
          first_range: 10.244.0.0/16
          second: lb
          second_range: 10.244.255.1-10.244.255.9
          shared: 10.244.255.1-10.244.255.9
    - ansible.builtin.debug:
        msg: "{{ description | combine({'wrong_key': 1}) | baremetal.kubernetes.kubeadm_config('init') }}"
"""


def test_values_of_a_playbook(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", str(tmp_path / "play.yml"), "-i", "n1,", "-e", "ansible_host=192.0.2.9", "-c", "local"],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "All assertions passed" in done.stdout, done.stdout + done.stderr
    # the last task is refused, with the filter's own sentence and no second copy of it
    assert done.returncode == 2
    assert done.stderr.count("wrong_key is no key of the kubeadm description") + done.stdout.count("wrong_key is no key of the kubeadm description") >= 1
    assert "Traceback" not in done.stdout + done.stderr


SETTINGS_FROM_ANOTHER_HOST = """
kubernetes:
  vars: {cluster_artifacts: bundle, cluster_api_endpoint: "{{ hostvars['balancer'].ansible_host }}:6443"}
  children:
    control_plane: {hosts: {cp1: {ansible_host: 192.0.2.11}, cp2: {ansible_host: 192.0.2.12}, cp3: {ansible_host: 192.0.2.13}}}
    workers: {hosts: {w1: {ansible_host: 192.0.2.21}}}
other: {hosts: {balancer: {ansible_host: %s}}}
"""


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [("192.0.2.10", 0, "The settings of the cluster fit together."), ("0.0.0.0", 2, "cluster_api_endpoint is '0.0.0.0:6443'")],
)
def test_a_setting_made_of_another_hosts_variables(tmp_path: Path, address: str, code: int, said: str) -> None:
    (tmp_path / "hosts.yml").write_text(SETTINGS_FROM_ANOTHER_HOST % address, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "playbooks/validate.yml", "-i", str(tmp_path / "hosts.yml")],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout
