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
    found = state["status"] in ("deployed", "failed") or ("--all" in sys.argv and state["status"] != "none")
    release = {{"name": "net", "chart": "net-1.2.3", "app_version": "1", "status": state["status"]}}
    print(json.dumps([release] if found else []))
elif words[:2] == ["get", "values"]:
    print(json.dumps(state["values"]))
elif words[:2] == ["show", "chart"]:
    print(json.dumps({{"name": "net", "version": "1.2.3", "appVersion": "1"}}))
elif words[:2] == ["plugin", "list"]:
    print("NAME\\tVERSION\\tDESCRIPTION")
elif words[0] == "history":
    if not state["history"]:
        sys.exit("Error: release: not found")
    print(json.dumps([{{"revision": n, "status": s}} for n, s in enumerate(state["history"], 1)]))
elif words[0] == "rollback":
    if state["broken"] == "for good":
        sys.exit("Error: no ConfigMap with the name x found")
    state.update(status="deployed", history=["superseded" if s == "deployed" else s for s in state["history"]] + ["deployed"])
    place.joinpath("state.json").write_text(json.dumps(state))
elif words[0] == "uninstall":
    state.update(status="none", history=[])
    place.joinpath("state.json").write_text(json.dumps(state))
elif words[0] == "upgrade":
    if state["status"].startswith("pending"):
        sys.exit("Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress")
    if state["status"] == "uninstalling":
        sys.exit('Error: UPGRADE FAILED: "net" has no deployed releases')
    if state["broken"]:
        # rendered and half applied, unless it is the chart itself
        if state["broken"] != "chart":
            state["history"].append("failed")
            place.joinpath("state.json").write_text(json.dumps(state))
        sys.exit("Error: looks like a chart with a mistake.")
    values = [word[3:] for word in sys.argv if word.startswith("-f=")]
    state["history"] = ["superseded" if s == "deployed" else s for s in state["history"]] + ["deployed"]
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
        tasks_from: "{{ tasks_from | default('release') }}"
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

    def remember(self, status="none", values=None, broken="", history=()):
        state = {"status": status, "values": values or {}, "broken": broken, "history": list(history)}
        (self.folder / "state.json").write_text(json.dumps(state))

    @property
    def state(self):
        return json.loads((self.folder / "state.json").read_text())

    def calls(self, word):
        return [line for line in (self.folder / "log").read_text().splitlines() if word in line.split()]

    def upgrades(self):
        return self.calls("upgrade")

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

    def run(self, *arguments, kubeconfig=None, **variables):
        """(return code, output) of the play."""
        extra = {"_helm_kubeconfig": str(kubeconfig or self.api.kubeconfig), "_helm_stamp": str(self.folder / "helm.json"), **variables}
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
    # it is too young for ever
    place.leave_behind(PENDING, -1000)
    code, output = place.run(helm_release_timeout=1)
    assert code != 0 and "another operation (install/upgrade/rollback) is in progress" in output, output
    assert "run the play again when it is done" in output
    assert not [asked for asked in place.api.asked if asked[0] == "DELETE"] and not place.calls("rollback")
    # it becomes old while it is waited for
    place.leave_behind(PENDING, 0)
    code, output = place.run(helm_release_timeout=4)
    assert code == 0 and place.state["status"] == "deployed", output


def test_what_a_killed_removal_left_is_installed_over(place):
    place.remember("uninstalling", history=["uninstalling"])
    place.leave_behind("uninstalling", 1000)
    code, output = place.run()
    assert code == 0 and place.state["status"] == "deployed", output


def test_after_mending_all_hosts_go_on(place):
    with (place.folder / "play.yml").open("a") as play:
        play.write("\n- hosts: kubernetes\n  gather_facts: false\n  tasks: [{ansible.builtin.debug: {msg: still here}}]\n")
    place.remember("pending-install")
    place.leave_behind(PENDING, 1000)
    code, output = place.run()
    assert code == 0 and output.count("still here") == 3, output


def test_a_killed_removal_is_finished(place):
    place.remember("uninstalling", history=["uninstalling"])
    # in check mode, on a machine that has no Helm either
    code, output = place.run("--check", tasks_from="remove")
    assert code == 0 and not place.calls("uninstall"), output
    code, output = place.run(tasks_from="remove")
    assert code == 0 and place.calls("uninstall") and place.state["status"] == "none", output
    assert "changed=0" in place.run(tasks_from="remove")[1] and len(place.calls("uninstall")) == 1


def test_a_chart_that_fails_says_what_to_do_and_is_not_tried_twice(place):
    place.remember(broken="chart")
    code, output = place.run()
    assert code != 0 and len(place.upgrades()) == 1
    assert (
        "Release net (chart net 1.2.3) in namespace net-system is not deployed: Error: looks like a chart with a mistake."
        " The chart comes from" in output
    ), output
    assert "`helm -n net-system history net`" in output and "Failure when executing" not in output.split("Say what to do")[-1]
    assert place.api.asked == [] and not place.calls("rollback")


@pytest.mark.parametrize(
    ("history", "broken", "revision", "words"),
    [
        (["superseded", "failed", "deployed"], "half", "3", "mistake. It was rolled back to revision 3. The chart comes from"),
        (["deployed", "failed"], "half", "1", "mistake. It was rolled back to revision 1. The chart comes from"),
        (["deployed"], "for good", "1", "to revision 1 failed too: Error: no ConfigMap with the name x found. The chart"),
        ([], "half", "", "looks like a chart with a mistake. The chart comes from"),
    ],
)
def test_an_upgrade_that_helm_does_not_finish_is_rolled_back(place, history, broken, revision, words):
    place.remember("deployed" if history else "none", {"mtu": 1500}, broken, history)
    code, output = place.run()
    assert code != 0 and words in output, output
    assert [line.split(" rollback ")[1] for line in place.calls("rollback")] == ([f"net {revision} --timeout=300s"] if revision else [])
    assert len(place.upgrades()) == 1


AGENT = [{"kind": "DaemonSet", "namespace": "net-system", "name": "agent"}]


def test_an_upgrade_whose_pods_do_not_come_is_rolled_back_and_one_that_changed_nothing_is_not(place):
    place.remember("deployed", {"mtu": 1500}, history=["superseded", "deployed"])
    code, output = place.run(helm_release_workloads=AGENT, helm_release_timeout=1)
    assert code != 0 and len(place.upgrades()) == 1, output
    assert "in namespace net-system does not run: 1 of 1 findings are no pass" in output
    assert "there is no DaemonSet agent in namespace net-system" in output and "It was rolled back to revision 2." in output
    assert place.state["history"] == ["superseded"] * 3 + ["deployed"]
    place.remember("deployed", {"mtu": 1450}, history=["superseded", "deployed"])
    code, output = place.run(helm_release_workloads=AGENT, helm_release_timeout=1)
    assert code != 0 and "does not run: 1 of 1" in output and "rolled back" not in output
    assert len(place.calls("rollback")) == 1


def test_helm_is_looked_at_once_for_all_releases_of_a_run(place):
    task = PLAY.split("  tasks:\n")[1]
    # one of a role that is left out, and then two
    skipped = task.replace("      vars:", "      when: false\n      vars:")
    (place.folder / "play.yml").write_text(PLAY.replace(task, skipped + task + task))
    code, output = place.run()
    assert code == 0 and "cp1 : ok=3 changed=2" in output, output
    assert "cp1 : ok=3 changed=0" in place.run()[1]
    assert "cp1 : ok=4 changed=0" in place.run("--check")[1]


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
