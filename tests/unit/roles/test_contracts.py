# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every role keeps to, read from its files: no host is needed."""

from __future__ import annotations

import configparser
import re
import typing as t
from pathlib import Path

import ansible
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.parents[1].name for path in ROOT.glob("roles/*/meta/main.yml"))
# These prepare the machine that Ansible runs on; the cluster's contract is not theirs.
CONTROLLER_ROLES = {"lab_box", "lab_host", "offline_bundle"}
STATIC = {"ansible.builtin.import_tasks", "ansible.builtin.import_role"}
DYNAMIC = {"ansible.builtin.include_tasks", "ansible.builtin.include_role"}
KEYWORDS = {
    "any_errors_fatal",
    "become",
    "block",
    "changed_when",
    "delegate_to",
    "environment",
    "loop",
    "loop_control",
    "name",
    "no_log",
    "notify",
    "register",
    "rescue",
    "run_once",
    "tags",
    "throttle",
    "vars",
    "when",
}


def load(path: Path) -> t.Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def variables(role: str, folder: str) -> dict[str, t.Any]:
    """defaults or vars of a role: one file main.yml, or a folder main of files that Ansible merges."""
    base = ROOT / "roles" / role / folder
    found: dict[str, t.Any] = {}
    for path in [base / "main.yml", *sorted((base / "main").glob("*.yml"))]:
        if path.is_file():
            found |= load(path) or {}
    return found


def tasks_of(role: str) -> list[tuple[str, dict[str, t.Any]]]:
    """Each task of the role with the file that it is in, those inside of blocks too."""
    found: list[tuple[str, dict[str, t.Any]]] = []

    def walk(name: str, tasks: list[dict[str, t.Any]]) -> None:
        for task in tasks:
            found.append((name, task))
            for inner in ("block", "rescue", "always"):
                walk(name, task.get(inner) or [])

    base = ROOT / "roles" / role
    for path in [*sorted(base.glob("tasks/**/*.yml")), *sorted(base.glob("handlers/*.yml"))]:
        walk(str(path.relative_to(base)), load(path) or [])
    return found


def test_every_folder_is_a_role() -> None:
    folders = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
    assert folders == ROLES, "a folder below roles/ without meta/main.yml"


@pytest.mark.parametrize("role", ROLES)
def test_argument_specs_are_the_defaults(role: str) -> None:
    specs = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    options: dict[str, t.Any] = {}
    for entry_point in specs.values():
        options |= entry_point.get("options") or {}
    defaults = variables(role, "defaults")
    required = {name for name, option in options.items() if option.get("required")}
    assert sorted(set(options) - required) == sorted(defaults), "meta/argument_specs.yml and defaults differ"
    assert not required & set(defaults), "required, and has a default"
    for name, option in options.items():
        assert option.get("description"), f"{name} is not described"
        assert option.get("type"), f"{name} has no type"
        if option.get("type") == "list":
            assert option.get("elements"), f"{name} does not say what its elements are"
        if "default" in option:
            assert option["default"] == defaults[name], f"{name} is documented with another default than it has"


@pytest.mark.parametrize("role", ROLES)
def test_entry_points_are_described(role: str) -> None:
    specs = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    # The contract is validated once, by its own entry point: with main it would be for each role that depends on it.
    assert ("main" in specs) is (role != "cluster")
    for entry_point in specs.values():
        assert entry_point.get("short_description") and entry_point.get("description")


@pytest.mark.parametrize("role", ROLES)
def test_names_say_whose_they_are(role: str) -> None:
    for name in variables(role, "defaults"):
        assert name.startswith(f"{role}_"), f"default {name}"
    for name in variables(role, "vars"):
        assert name.startswith((f"_{role}_", f"{role}_")), f"variable {name}"
    for where, task in tasks_of(role):
        if "register" in task:
            assert task["register"].startswith(f"__{role}_"), f"{where}: register {task['register']}"


@pytest.mark.parametrize("role", ROLES)
def test_readme_is_there_and_names_the_role(role: str) -> None:
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    assert text.startswith("#") and role in text.splitlines()[0]
    assert len(text) > 200


@pytest.mark.parametrize("role", ROLES)
def test_depends_on_the_contract(role: str) -> None:
    meta = load(ROOT / "roles" / role / "meta" / "main.yml")
    assert meta["galaxy_info"]["description"]
    dependencies = [entry["role"] for entry in meta.get("dependencies") or []]
    if role == "cluster" or role in CONTROLLER_ROLES:
        assert dependencies == []
    else:
        assert dependencies == ["baremetal.kubernetes.cluster"]


@pytest.mark.parametrize("role", ROLES)
def test_main_only_includes(role: str) -> None:
    for task in load(ROOT / "roles" / role / "tasks" / "main.yml") or []:
        actions = {word for word in task if word not in KEYWORDS}
        assert actions <= STATIC | DYNAMIC, f"tasks/main.yml does {sorted(actions)} itself"
        # An include that is not static is an executed task of its own on every host.
        if actions <= DYNAMIC:
            assert "loop" in task or "block" in task or "when" in task, f"{task.get('name')}: import_tasks would do"


@pytest.mark.parametrize("role", ROLES)
def test_no_failure_is_hidden_and_no_wait_is_endless(role: str) -> None:
    for where, task in tasks_of(role):
        name = f"{where}: {task.get('name')}"
        assert "ignore_errors" not in task, name
        assert "ignore_unreachable" not in task, name
        assert task.get("failed_when", None) is not False, name
        if "until" in task:
            assert "retries" in task and "delay" in task, f"{name}: until without retries and delay"
        assert task.get("ansible.builtin.meta") != "flush_handlers", f"{name}: node_config restarts what must be restarted"
        for action in ("ansible.builtin.wait_for", "ansible.builtin.wait_for_connection"):
            if isinstance(task.get(action), dict):
                assert "timeout" in task[action], f"{name}: no timeout"


@pytest.mark.parametrize("role", ROLES)
def test_facts_are_read_from_ansible_facts(role: str) -> None:
    known = r"(distribution|os_family|pkg_mgr|kernel|architecture|hostname|memtotal_mb|processor_vcpus|default_ipv4|service_mgr)"
    for path in (ROOT / "roles" / role).rglob("*"):
        if path.suffix in (".yml", ".j2"):
            found = re.search(rf"\bansible_{known}", path.read_text(encoding="utf-8"))
            assert not found, f"{path.relative_to(ROOT)}: {found.group(0) if found else ''}"


def test_roles_and_playbooks_name_only_what_exists() -> None:
    """A role or playbook that is spelled wrong is found only when its stage runs."""
    playbooks = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    filters = {path.stem for path in (ROOT / "plugins" / "filter").glob("*")}
    callbacks = {path.stem for path in (ROOT / "plugins" / "callback").glob("*.py")}
    known = set(ROLES) | playbooks | modules | filters | callbacks | {"attributes"}
    for folder in ("roles", "playbooks", "molecule", "inventories", "tests/integration", "benchmarks"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix not in (".yml", ".j2") or any(part.startswith((".", "~")) for part in path.relative_to(ROOT).parts):
                continue
            for name in re.findall(r"\bbaremetal\.kubernetes\.([a-z_0-9]+)\b(?![.{])", path.read_text(encoding="utf-8")):
                assert name in known, f"{path.relative_to(ROOT)} names baremetal.kubernetes.{name}"


def test_ansible_reads_every_setting_of_ansible_cfg() -> None:
    """A key that Ansible does not know any more is ignored without a word, and its effect is missed by nobody."""
    core = Path(ansible.__file__).parent
    sources = [core / "config" / "base.yml", core / "plugins" / "connection" / "ssh.py", *core.glob("plugins/doc_fragments/*.py")]
    known = set(re.findall(r"\bkey: *'?(\w+)", "".join(path.read_text(encoding="utf-8") for path in sources)))
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "ansible.cfg", encoding="utf-8")
    assert [key for section in settings.sections() for key in settings[section] if key not in known] == []


def test_the_artefact_leaves_out_what_git_ignores() -> None:
    """It is built from the checkout, where there may be environments of hundreds of megabytes and the lab's inventory."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()]
    # ansible-galaxy leaves these out by itself
    built_in = {"__pycache__", "*.pyc", "*.retry", "baremetal-kubernetes-*.tar.gz"}
    assert set(ignored) - built_in <= set(load(ROOT / "galaxy.yml")["build_ignore"])
