# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of role preflight as a playbook writes it, the list of its checks, and when it runs at all; no host is contacted."""

from __future__ import annotations

import html.parser
import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import jsonschema
import pytest
import yaml
from ansible_collections.baremetal.kubernetes.plugins.filter.cross_node_checks import cross_node_checks
from ansible_collections.baremetal.kubernetes.plugins.filter.matrix_checks import matrix_checks
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._preflight_report import CHECKS
from ansible_collections.baremetal.kubernetes.tests.unit.plugins.preflight_samples import NASTY, check, fio, node

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles/preflight"


def play(folder: Path, playbook: str | Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_SSH_EXECUTABLE": "/bin/false"}
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(folder / "hosts.yml"), str(playbook), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


def inventory(folder: Path, hosts: dict[str, dict[str, t.Any]], **variables: t.Any) -> None:
    """cp1 is a control plane, all others are workers."""
    content = {
        "all": {
            "vars": {"cluster_artifacts_dir": str(folder), "cluster_name": "lab", **variables},
            "children": {
                "kubernetes": {
                    "children": {
                        "control_plane": {"hosts": {"cp1": hosts["cp1"]}},
                        "workers": {"hosts": {name: values for name, values in hosts.items() if name != "cp1"}},
                    }
                }
            },
        }
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


# --- the list of checks


def test_readme_lists_every_check() -> None:
    text = (ROLE / "README.md").read_text(encoding="utf-8")
    table = text.split("## Checks")[1].split("\n\n")[2].splitlines()[2:]
    assert table == [f"| `{name}` | {means} |" for name, means in CHECKS.items()]


def test_ids_are_names() -> None:
    for name, means in CHECKS.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name) and means.endswith(".")


def test_the_list_has_what_the_filters_return() -> None:
    judged = matrix_checks({}, ["a", "b"], "calico", encapsulation="ipip")
    across = cross_node_checks({"a": {}, "b": {}}, {"cni": "calico", "pod_cidr": "10.244.0.0/16", "service_cidr": "10.96.0.0/12"})
    for found in (judged, across):
        ids = {item["id"] for item in [*found["cluster"], *(item for host in found["hosts"].values() for item in host)]}
        assert ids and ids <= set(CHECKS)
        # nobody took part, so nobody passes
        assert all(item["status"] == "unknown" for item in found["hosts"]["a"])


@pytest.mark.parametrize(("source", "name"), [("_fio.py", "etcd_disk"), ("_iperf3.py", "network_throughput")])
def test_the_list_has_what_the_modules_return(source: str, name: str) -> None:
    assert f'"{name}"' in (ROOT / "plugins/module_utils" / source).read_text(encoding="utf-8")
    assert name in CHECKS


def test_readme_lists_every_variable() -> None:
    rows = re.findall(r"^\| `(preflight_\w+)` \| `?([^|`]*)`? \|", (ROLE / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    assert [name for name, _default in rows] == list(defaults)
    for name, default in rows:
        if name != "preflight_report_dir":
            assert (yaml.safe_load(default) if default != '""' else "") == defaults[name], name


def test_few_tasks() -> None:
    """Argument validation is one more; the report's tasks run once."""
    tasks = [task for path in ROLE.glob("tasks/*.yml") if path.name != "main.yml" for task in yaml.safe_load(path.read_text(encoding="utf-8"))]
    count = sum(len(task["block"]) + len(task.get("always", [])) if "block" in task else 1 for task in tasks)
    assert count + 2 <= 25


# --- the report as it is written


PEER = {
    "address": "192.0.2.11",
    "tcp": [{"port": 6443, "status": "open", "seconds": 0.001, "error": ""}],
    "udp": [],
    "ipip": None,
    "rtt_us": {"min": 200, "avg": 300, "max": 400, "samples": 5, "sent": 5},
    "rtt_reason": "",
    "path_mtu": 1500,
    "path_mtu_reason": "",
}
REPORT = """
- hosts: kubernetes
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: baremetal.kubernetes.preflight
        tasks_from: report
"""


def probe(*peers: str) -> dict[str, t.Any]:
    return {"peers": [{**PEER, "name": name} for name in peers], "interface": {"name": "eth0", "mtu": 1500, "reason": ""}, "complete": True}


def seen(*found: t.Any, number: int) -> dict[str, t.Any]:
    identity = {
        "machine_id": f"{number:032x}",
        "product_uuid": f"0b8c2f5e-0000-4000-8000-{number:012x}",
        "macs": [{"interface": "eth0", "mac": f"52:54:00:00:00:{number:02x}"}],
        "hostname": f"host{number}",
        "node_ip": f"192.0.2.{number}",
        "node_interface": "eth0",
        "node_prefix": 24,
        "mtu": 1500,
    }
    return {**node(*found), "identity": identity, "routes": [], "resolvers": ["192.0.2.1"]}


class Page(html.parser.HTMLParser):
    """Tags that are open at the end, all tags with their attributes, all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(name="written", scope="module", params=["good", "bad", "lowered", "unknown", "check"])
def fixture_written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp(request.param)
    bad = check("node_name", "fail", NASTY, "a valid name", f"Rename {NASTY}: `hostnamectl set-hostname w1`")
    found = {"good": [], "check": [], "unknown": [check("swap", "unknown", "not told", "no swap", "Look.")]}.get(request.param, [bad])
    hosts = {
        "cp1": {
            "cluster_node_ip": "192.0.2.11",
            "__preflight_node": seen(number=11),
            "__preflight_probe": probe("w1"),
            "__preflight_disk": fio({"50": 500, "99": 2000}, "pass"),
        },
        "w1": {
            "cluster_node_ip": "192.0.2.12",
            "__preflight_node": seen(*found, number=12),
            "__preflight_probe": probe("cp1"),
            "__preflight_disk": {"skipped": True},
        },
    }
    for values in hosts.values():
        # As files: the texts of nodes would be templates in an inventory.
        for name in [name for name in values if name.startswith("__")]:
            (folder / f"{values['cluster_node_ip']}{name}.json").write_text(json.dumps(values.pop(name)), encoding="utf-8")
    inventory(
        folder,
        hosts,
        ansible_connection="local",
        ansible_python_interpreter=sys.executable,
        __preflight_addresses={name: values["cluster_node_ip"] for name, values in hosts.items()},
        preflight_severity={"node_name": "warn"} if request.param == "lowered" else {},
    )
    load = "".join(
        f"    - ansible.builtin.set_fact: {{{name}: \"{{{{ lookup('ansible.builtin.file', '{folder}/' ~ cluster_node_ip ~ '{name}.json') | from_json }}}}\"}}\n"
        for name in ("__preflight_node", "__preflight_probe", "__preflight_disk")
    )
    (folder / "play.yml").write_text(REPORT.replace("  tasks:\n", f"  tasks:\n{load}"), encoding="utf-8")
    return request.param, play(folder, folder / "play.yml", *(["--check", "--diff"] if request.param == "check" else [])), folder


VERDICTS = {"good": "pass", "check": "pass", "bad": "fail", "lowered": "warn", "unknown": "unknown"}


def test_only_a_failure_ends_with_an_error(written: tuple[str, subprocess.CompletedProcess[str], Path]) -> None:
    case, done, folder = written
    report = json.loads((folder / "preflight.json").read_text(encoding="utf-8"))
    assert report["verdict"] == VERDICTS[case], done.stdout + done.stderr
    assert (done.returncode != 0) is (case == "bad"), done.stdout + done.stderr
    assert ("1 findings fail: node_name." in done.stdout + done.stderr) is (case == "bad")
    assert not re.search(r"changed=[1-9]", done.stdout)
    jsonschema.Draft202012Validator(json.loads((ROLE / "files/preflight.schema.json").read_text(encoding="utf-8"))).validate(report)


def test_the_console_has_the_table_and_the_verdict(written: tuple[str, subprocess.CompletedProcess[str], Path]) -> None:
    case, done, folder = written
    assert f"Report: {folder}/preflight.html" in done.stdout
    first = {"pass": "Ready: ", "warn": "Ready, with warnings: ", "unknown": "Not everything could be told: ", "fail": "Preflight failed: "}
    assert first[VERDICTS[case]] in done.stdout
    assert ("Lowered from fail to warn by preflight_severity: node_name on w1." in done.stdout) is (case == "lowered")
    assert "<!DOCTYPE" not in done.stdout, "the page is no diff"


def test_the_page_stands_alone_and_runs_nothing(written: tuple[str, subprocess.CompletedProcess[str], Path]) -> None:
    case, _done, folder = written
    text = (folder / "preflight.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    tags = {tag for tag, _attributes in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"}
    for _tag, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("src", "href", "xlink:href") for name in attributes)
    assert "url(" not in text and "@import" not in text and "http://" not in text and "https://" not in text
    assert any(attributes.get("content") == "default-src 'none'; style-src 'unsafe-inline'" for _tag, attributes in page.tags)
    shown = "".join(page.text)
    assert ("<script>alert('w3')</script> & \"quoted\" {{ 7 * 7 }}" in shown) is (case in ("bad", "lowered"))
    assert "{%" not in shown and "undefined" not in shown.lower()
    # verdict, then what to do, then the rest
    parts = ("Preflight of lab", "findings on 2 nodes", "What to do, in this order", "Disk under etcd", "Between the nodes", "All findings")
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)


# --- before any host is touched


@pytest.mark.parametrize(
    ("severity", "message"),
    [
        ({"swop": "warn"}, "preflight_severity names 'swop', which is no check; the README of role preflight lists all of them."),
        ({"swap": "pass"}, "preflight_severity.swap is 'pass', but a failure can only be lowered to 'warn'."),
    ],
)
def test_wrong_severities_are_refused_before_any_host_is_touched(tmp_path: Path, severity: dict[str, str], message: str) -> None:
    inventory(tmp_path, {"cp1": {"cluster_node_ip": "192.0.2.11"}, "w1": {"cluster_node_ip": "192.0.2.12"}}, preflight_severity=severity)
    done = play(tmp_path, ROOT / "playbooks/preflight.yml")
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert "UNREACHABLE" not in done.stdout


# --- as a stage of site.yml


def test_nothing_is_changed_before_it() -> None:
    stages = yaml.safe_load((ROOT / "playbooks/site.yml").read_text(encoding="utf-8"))
    assert [stage["ansible.builtin.import_playbook"] for stage in stages[:3]] == ["validate.yml", "preflight.yml", "nodes.yml"]
    assert stages[1]["vars"] == {"preflight_new_nodes_only": True}


@pytest.mark.parametrize(
    ("members", "stage", "runs"),
    [
        ({"cp1": True, "w1": True}, True, False),
        ({"cp1": True, "w1": False}, True, True),
        # a host that was lost on the way is no member
        ({"cp1": True, "w1": None}, True, True),
        ({"cp1": True, "w1": True}, False, True),
    ],
)
def test_the_stage_runs_while_some_node_is_new(tmp_path: Path, members: dict[str, bool | None], stage: bool, runs: bool) -> None:
    (preflight,) = yaml.safe_load((ROOT / "playbooks/preflight.yml").read_text(encoding="utf-8"))
    asked = preflight["pre_tasks"][0]
    assert asked["register"] == "preflight_member" and "preflight_new_nodes_only" in asked["when"]
    hosts = {name: {} if member is None else {"preflight_member": {"stat": {"exists": member}}} for name, member in members.items()}
    inventory(tmp_path, hosts, ansible_connection="local", ansible_python_interpreter=sys.executable)
    task = {"name": "Would run", "ansible.builtin.debug": {"msg": "it runs"}, "when": preflight["roles"][0]["when"]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": "kubernetes", "gather_facts": False, "tasks": [task]}]), encoding="utf-8")
    done = play(tmp_path, tmp_path / "play.yml", *(["-e", "preflight_new_nodes_only=true"] if stage else []))
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("it runs" in done.stdout) is runs
