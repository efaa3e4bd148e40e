# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role helm with the real kubernetes.core.helm, a Helm that only pretends, and an API server that keeps its Secrets."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import platform
import subprocess
import sys
import tarfile
import time

import pytest
import yaml

from ansible_collections.baremetal.kubernetes.plugins.module_utils._bundle import MACHINES
from ansible_collections.baremetal.kubernetes.tests.unit.plugins.conftest import FakeApiServer

ROOT = pathlib.Path(__file__).resolve().parents[3]
ARCHITECTURE = MACHINES.get(platform.machine(), platform.machine())

# Answers as Helm 3.16 gives them; what it is to remember is in state.json beside it.
HELM = """#!{python}
import json, pathlib, sys, yaml
place = pathlib.Path({place!r})
state = json.loads(place.joinpath("state.json").read_text())
words = [word for word in sys.argv[1:] if not word.startswith("-")]
with place.joinpath("log").open("a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if words[0] == "version":
    print('version.BuildInfo{{Version:"v3.21.4", GitCommit:"", GitTreeState:"clean", GoVersion:"go1.24.1"}}')
elif words[0] == "list":
    found = state["status"] in ("deployed", "failed")
    release = {{"name": "net", "chart": "net-1.2.3", "app_version": "1", "status": state["status"]}}
    print(json.dumps([release] if found else []))
elif words[:2] == ["get", "values"]:
    print(json.dumps(state["values"]))
elif words[:2] == ["show", "chart"]:
    print(json.dumps({{"name": "net", "version": "1.2.3", "appVersion": "1"}}))
elif words[:2] == ["plugin", "list"]:
    print("NAME\\tVERSION\\tDESCRIPTION")
elif words[0] == "upgrade":
    if state["status"].startswith("pending"):
        sys.exit("Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress")
    if state["broken"]:
        sys.exit("Error: looks like a chart with a mistake")
    values = [word[3:] for word in sys.argv if word.startswith("-f=")]
    state.update(status="deployed", values=yaml.safe_load(open(values[0])))
    place.joinpath("state.json").write_text(json.dumps(state))
else:
    sys.exit("unexpected: " + " ".join(sys.argv))
"""
PLAY = """
- hosts: kubernetes
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: baremetal.kubernetes.helm
        tasks_from: release
      vars:
        helm_release_name: net
        helm_release_chart: net
        helm_release_repo: https://charts.example.com
        helm_release_version: 1.2.3
        helm_release_namespace: net-system
        helm_release_values: {mtu: 1450}
"""
SECRETS = "/api/v1/namespaces/net-system/secrets"


class Place:
    """A folder with the pretending Helm in an archive, an inventory of two control planes and a worker, and the API."""

    def __init__(self, folder):
        self.folder = folder
        self.api = FakeApiServer(folder)
        self.api.answers[("GET", "/api/v1")] = (200, {"resources": [{"name": "secrets", "kind": "Secret", "namespaced": True}]})
        program = HELM.format(python=sys.executable, place=str(folder)).encode()
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as tar:
            entry = tarfile.TarInfo(f"linux-{ARCHITECTURE}/helm")
            entry.size = len(program)
            tar.addfile(entry, io.BytesIO(program))
        (folder / f"helm-v3.21.4-linux-{ARCHITECTURE}.tar.gz").write_bytes(stream.getvalue())
        hosts = {"cp1": {"cluster_node_ip": "192.0.2.11"}, "cp2": {"cluster_node_ip": "192.0.2.12"}}
        settings = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "helm_url": f"file://{folder}",
            "helm_checksums": {ARCHITECTURE: hashlib.sha256(stream.getvalue()).hexdigest()},
            "helm_path": str(folder / "bin" / "helm"),
        }
        groups = {"control_plane": {"hosts": hosts}, "workers": {"hosts": {"w1": {"cluster_node_ip": "192.0.2.21"}}}}
        inventory = {"all": {"vars": settings, "children": {"kubernetes": {"children": groups}}}}
        (folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
        (folder / "play.yml").write_text(PLAY)
        (folder / "log").write_text("")
        self.remember()

    def remember(self, status="none", values=None, broken=False):
        (self.folder / "state.json").write_text(json.dumps({"status": status, "values": values or {}, "broken": broken}))

    @property
    def state(self):
        return json.loads((self.folder / "state.json").read_text())

    def upgrades(self):
        return [line for line in (self.folder / "log").read_text().splitlines() if " upgrade " in line]

    def leave_behind(self, statuses, seconds):
        """A revision of this status in the cluster, so many seconds old; whoever removes it takes the lock away."""
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds))
        selector = f"owner%3Dhelm%2Cname%3Dnet%2Cstatus+in+%28{statuses.replace(',', '%2C')}%29"
        item = {"metadata": {"name": "sh.helm.release.v1.net.v2", "namespace": "net-system", "uid": "u", "creationTimestamp": made}}
        self.api.answers[("GET", f"{SECRETS}?labelSelector={selector}")] = (200, {"items": [item]})

        def removed(body):
            self.remember()
            return 200, {}

        self.api.answers[("DELETE", f"{SECRETS}/sh.helm.release.v1.net.v2")] = removed

    def run(self, *arguments, kubeconfig=None):
        """(return code, output) of the play."""
        extra = {"_helm_kubeconfig": str(kubeconfig or self.api.kubeconfig), "_helm_stamp": str(self.folder / "helm.json")}
        command = [sys.executable, "-m", "ansible", "playbook", "-i", str(self.folder / "hosts.yml"), str(self.folder / "play.yml")]
        environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_FORCE_COLOR="0")
        done = subprocess.run(
            [*command, "-e", json.dumps(extra), *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.fixture(name="place")
def fixture_place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.api.close()


def test_installed_once_and_for_all_hosts(place):
    code, output = place.run("--check", kubeconfig="/nowhere/admin.conf")
    assert code == 0, output
    assert place.upgrades() == [] and not (place.folder / "bin").exists()
    code, output = place.run()
    assert code == 0 and "cp1 : ok=2 changed=2" in output and "cp2 :" not in output, output
    (upgrade,) = place.upgrades()
    assert upgrade.startswith(
        "--version=1.2.3 --repo=https://charts.example.com upgrade -i --reset-values --timeout 300s --create-namespace -f="
    )
    assert upgrade.endswith(" net net") and "1450" not in upgrade
    assert place.state["values"] == {"mtu": 1450}
    for arguments in (["--check"], []):
        code, output = place.run(*arguments)
        # two executed tasks are what an unchanged run may cost
        assert code == 0 and "cp1 : ok=2 changed=0" in output, output
    assert len(place.upgrades()) == 1


def test_a_failed_release_is_installed_again_though_its_values_are_the_wanted_ones(place):
    place.remember("failed", {"mtu": 1450})
    place.leave_behind("failed", 1)
    code, output = place.run()
    assert code == 0 and place.state["status"] == "deployed", output
    assert len(place.upgrades()) == 1
    assert [asked[0] for asked in place.api.asked if "sh.helm" in asked[1]] == ["DELETE"]


PENDING = "pending-install,pending-upgrade,pending-rollback"


def test_the_lock_of_a_killed_helm_is_removed_once_it_is_old(place):
    place.remember("pending-upgrade")
    place.leave_behind(PENDING, 200)
    code, output = place.run()
    assert code != 0 and "another operation (install/upgrade/rollback) is in progress" in output, output
    assert "killed less than 300 seconds ago: run the play again after that time" in output
    assert not [asked for asked in place.api.asked if asked[0] == "DELETE"]
    place.leave_behind(PENDING, 301)
    code, output = place.run()
    assert code == 0 and place.state["status"] == "deployed", output


def test_a_chart_that_fails_says_what_to_do_and_is_not_tried_twice(place):
    place.remember(broken=True)
    code, output = place.run()
    assert code != 0 and len(place.upgrades()) == 1
    assert (
        "Release net (chart net 1.2.3) in namespace net-system is not deployed: Error: looks like a chart with a mistake."
        " The chart comes from" in output
    )
    assert "`helm -n net-system history net`" in output and "Failure when executing" not in output.split("Say what to do")[-1]
    assert place.api.asked == []


CHARTS = """
- hosts: localhost
  gather_facts: false
  vars_files: [{root}/roles/helm/vars/main.yml]
  vars:
    cluster_bundle_dir: /opt/bundle
    helm_release_chart: net
    helm_release_version: 1.2.3
  tasks:
    - ansible.builtin.copy:
        content: "{{{{ _helm_chart | to_json }}}}"
        dest: "{{{{ out }}}}/{{{{ item.name }}}}"
        mode: "0644"
      vars:
        cluster_artifacts: "{{{{ item.artifacts }}}}"
        helm_release_repo: "{{{{ item.repo }}}}"
      loop:
        - {{name: repository, artifacts: repository, repo: "https://charts.example.com"}}
        - {{name: oci, artifacts: repository, repo: "oci://registry.example.com/charts"}}
        - {{name: bundle, artifacts: bundle, repo: "https://charts.example.com"}}
"""


def test_where_a_chart_comes_from(tmp_path):
    (tmp_path / "play.yml").write_text(CHARTS.format(root=ROOT))
    command = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "-i",
        "localhost,",
        "-c",
        "local",
        str(tmp_path / "play.yml"),
        "-e",
        f"out={tmp_path}",
    ]
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_PYTHON_INTERPRETER=sys.executable)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {name: json.loads((tmp_path / name).read_text()) for name in ("repository", "oci", "bundle")}
    assert found == {
        "repository": {"ref": "net", "repo": "https://charts.example.com", "version": "1.2.3"},
        "oci": {"ref": "oci://registry.example.com/charts/net", "repo": "", "version": "1.2.3"},
        "bundle": {"ref": "/opt/bundle/charts/net-1.2.3.tgz", "repo": "", "version": ""},
    }
