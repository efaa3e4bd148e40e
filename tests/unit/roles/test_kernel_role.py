# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role kernel without a host: what it renders offline comes from the lists it would give to the modules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[3]
ROLE = REPOSITORY / "roles" / "kernel"

INVENTORY = """
kubernetes:
  vars: {ansible_connection: local, ansible_python_interpreter: "%s"}
  children:
    control_plane: {hosts: {cp1: {ansible_host: 192.0.2.11}}}
    workers: {hosts: {w1: {ansible_host: 192.0.2.21}}}
"""

PLAYBOOK = """
- hosts: kubernetes
  gather_facts: false
  tasks:
    - name: Render
      ansible.builtin.include_role:
        name: baremetal.kubernetes.kernel
        tasks_from: render
"""


def render(folder: Path, **variables: object) -> tuple[str, str]:
    """Return both files of the worker."""
    (folder / "hosts.yml").write_text(INVENTORY % sys.executable)
    (folder / "play.yml").write_text(PLAYBOOK)
    (folder / "vars.yml").write_text(yaml.safe_dump({"render_dir": str(folder / "out"), **variables}))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", str(folder / "hosts.yml"), str(folder / "play.yml"), "-e", f"@{folder}/vars.yml"],
        cwd=REPOSITORY,
        env=dict(os.environ, ANSIBLE_CONFIG=str(REPOSITORY / "ansible.cfg")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    host = folder / "out" / "w1"
    return (host / "etc/modules-load.d/99-kubernetes.conf").read_text(), (host / "etc/sysctl.d/99-k8s-network.conf").read_text()


def active(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_rendered_with_the_defaults(tmp_path: Path) -> None:
    modules, sysctls = render(tmp_path)
    assert active(modules) == ["overlay", "br_netfilter", "nf_conntrack", "ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh"]
    lines = active(sysctls)
    assert "net.netfilter.nf_conntrack_max = 131072" in lines and "fs.file-max = 2097152" in lines
    assert "2 nodes and 110 pods on each" in sysctls and "(CPUs: 2, memory: 4096 MiB)" in sysctls


def test_rendered_with_other_values(tmp_path: Path) -> None:
    modules, sysctls = render(
        tmp_path,
        cluster_cni="calico",
        cluster_ipvs_scheduler="mh",
        cluster_conntrack_owner="kube_proxy",
        cluster_load_balancer="metallb",
        kernel_reserved_ports=["9100"],
        kernel_rp_filter="1",
        kernel_modules_extra=[{"name": "wireguard", "comment": "ours"}],
        kernel_sysctls_extra=[{"key": "vm.max_map_count", "value": 262144, "min_only": True}, {"key": "net.core.somaxconn", "state": "absent"}],
    )
    assert active(modules)[-2:] == ["ip_vs_mh", "wireguard"] and "# ours\nwireguard" in modules
    lines = active(sysctls)
    assert "conntrack" not in "".join(lines) and "somaxconn" not in sysctls
    assert "net.ipv4.conf.all.rp_filter = 1" in lines and "vm.max_map_count = 262144" in lines
    ports = next(line for line in lines if "reserved" in line)
    assert "7946" in ports and "9100" in ports


def test_three_round_trips_and_swap_only_where_there_is_some() -> None:
    tasks = [task for name in ("state", "modules", "sysctl", "swap") for task in yaml.safe_load((ROLE / "tasks" / f"{name}.yml").read_text())]
    assert [next(key for key in task if key.startswith("baremetal.")).rsplit(".", 1)[1] for task in tasks] == [
        "node_state",
        "kernel_modules",
        "sysctl_dropin",
        "swap_off",
    ]
    assert "when" in tasks[3] and not any("when" in task for task in tasks[:3])
