# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract role says the same in its defaults, its argument specs and its README, and looks at all of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cluster, _kubeadm_config

ROLE = Path(__file__).parents[3] / "roles" / "cluster"


def load(path: str) -> dict:
    return yaml.safe_load((ROLE / path).read_text(encoding="utf-8"))


DEFAULTS = load("defaults/main.yml")
VARS = load("vars/main.yml")
SPECS = load("meta/argument_specs.yml")["argument_specs"]


def test_no_task_is_executed_for_the_roles_that_depend_on_it() -> None:
    assert load("tasks/main.yml") is None
    # a spec of the entry point main would be one more executed task for each role of each play
    assert list(SPECS) == ["validate"]


def test_argument_specs_are_the_defaults() -> None:
    options = SPECS["validate"]["options"]
    assert list(options) == list(DEFAULTS)
    for name, option in options.items():
        assert option["default"] == DEFAULTS[name], name
        assert option["description"].rstrip().endswith("."), name


def test_the_readme_names_every_variable() -> None:
    settable, _heading, _derived = (ROLE / "README.md").read_text(encoding="utf-8").partition("## Derived")
    rows = re.findall(r"^\| `(cluster_\w+)` \| `", settable, re.MULTILINE)
    assert rows == list(DEFAULTS)


@pytest.mark.parametrize("minor", range(_cluster.OLDEST_MINOR, _cluster.NEWEST_MINOR + 1))
def test_every_supported_version_has_a_pause_image(minor: int) -> None:
    assert re.fullmatch(r"3\.[0-9]+(\.[0-9]+)?", VARS["_cluster_pause_tags"][str(minor)])


@pytest.mark.parametrize(
    ("version", "registry"),
    [
        ("1.20.2", "k8s.gcr.io"), ("1.21.14", "k8s.gcr.io"), ("1.22.16", "k8s.gcr.io"), ("1.22.17", "registry.k8s.io"), ("1.23.14", "k8s.gcr.io"),
        ("1.23.15", "registry.k8s.io"), ("1.24.8", "k8s.gcr.io"), ("1.24.17", "registry.k8s.io"), ("1.25.0", "registry.k8s.io"),
        ("1.37.1", "registry.k8s.io"),
    ],
)  # fmt: skip
def test_the_registry_is_the_default_of_this_kubeadm(version: str, registry: str) -> None:
    variables = {name: VARS[name] for name in ("cluster_kubernetes_minor", "_cluster_new_registry")}
    values = variables | {"cluster_kubernetes_version": version, "cluster_image_repository": ""}
    templar = Templar(loader=DataLoader(), variables={name: trust_as_template(value) if isinstance(value, str) else value for name, value in values.items()})
    assert templar.template(trust_as_template(VARS["cluster_image_repository_effective"])) == registry


def test_the_input_of_kubeadm_config_has_only_keys_that_the_filter_knows() -> None:
    def compare(given: dict, shape: dict, path: str) -> None:
        for key, value in given.items():
            where = f"{path}.{key}".lstrip(".")
            if where in _kubeadm_config._FREE:
                continue
            assert key in shape, where
            if isinstance(value, dict):
                compare(value, shape[key], where)

    compare(VARS["cluster_kubeadm"], _kubeadm_config._SHAPE, "")


def test_every_default_is_looked_at() -> None:
    # paths and switches that are right whatever they say, and what only the rendering of files reads
    free = {
        "cluster_bundle_dir", "cluster_artifacts_dir", "cluster_pause_image", "cluster_render_dir", "cluster_render_files",
        "cluster_render_manifests", "cluster_validate_for_install", "cluster_iptables_masquerade_all", "cluster_nftables_masquerade_all",
        "cluster_conntrack_tcp_be_liberal", "cluster_kubelet_fail_swap_on",
    }  # fmt: skip
    # checked for each host, from hostvars
    assert set(DEFAULTS) == set(VARS["_cluster_settings"]) | free | {"cluster_node_ip"}
