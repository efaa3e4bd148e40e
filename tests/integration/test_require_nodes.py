# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No playbook ends well on an inventory that has no node in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGES = ["validate", "nodes", "cluster", "network", "verify", "render"]
INVENTORIES = {
    "empty": "",
    "no-group": "control_plane: {hosts: {cp1: {ansible_host: 192.0.2.11}}}\n",
    "empty-group": "kubernetes: {children: {control_plane: {}, workers: {}}}\nother: {hosts: {a: {}, b: {}}}\n",
}


def play(playbook: str, inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_SSH_EXECUTABLE": "/bin/false", "ANSIBLE_NOCOLOR": "1"}
    command = [sys.executable, "-m", "ansible", "playbook", str(ROOT / playbook), "-i", str(inventory), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600)


def refused(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Group kubernetes has no host in the inventory (/" in done.stdout and "name an inventory with -i" in done.stdout
    # One host says so, and nothing else is done on any.
    assert len(re.findall(r" : ok=0 +changed=0 +unreachable=0 +failed=1 ", done.stdout)) == 1
    assert len(re.findall(r"^\S+ +: ok=", done.stdout, re.MULTILINE)) == 1
    assert done.stdout.count("TASK [") == 1


@pytest.mark.parametrize("name", list(INVENTORIES))
def test_the_main_job(tmp_path: Path, name: str) -> None:
    (tmp_path / "hosts.yml").write_text(INVENTORIES[name], encoding="utf-8")
    refused(play("site.yml", tmp_path / "hosts.yml"))


def test_a_limit_is_no_way_round(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(INVENTORIES["empty-group"], encoding="utf-8")
    refused(play("site.yml", tmp_path / "hosts.yml", "--limit", "b"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_alone(tmp_path: Path, stage: str) -> None:
    (tmp_path / "hosts.yml").write_text(INVENTORIES["no-group"], encoding="utf-8")
    refused(play(f"playbooks/{stage}.yml", tmp_path / "hosts.yml"))


def test_an_inventory_with_nodes_costs_no_task() -> None:
    done = play("playbooks/require_nodes.yml", ROOT / "inventories" / "production")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^(\S+) +: ok=(\d+) .*skipped=(\d+)", done.stdout, re.MULTILINE) == [("cp1", "0", "1")]
