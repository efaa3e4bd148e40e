# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role containerd decides and writes, for many machines in one ansible-playbook run without contacting any."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]

PLAYBOOK = """
- hosts: all
  gather_facts: false
  connection: local
  tasks:
    - name: Facts of the case
      ansible.builtin.set_fact:
        cacheable: true
        os_family: "{{ case_facts.os_family }}"
        distribution: "{{ case_facts.distribution }}"
        distribution_release: "{{ case_facts.distribution_release }}"
    - name: Make the role's variables known
      ansible.builtin.import_role:
        name: baremetal.kubernetes.containerd
        tasks_from: render
      when: false
    - name: Write down what the role would do
      ansible.builtin.copy:
        content: "{{ answer | to_json }}"
        dest: "{{ playbook_dir }}/{{ inventory_hostname }}.json"
        mode: "0600"
      vars:
        answer:
          problems: "{{ _containerd_problems }}"
          package: "{{ _containerd_package }}"
          spec: "{{ _containerd_package_spec }}"
          install: "{{ _containerd_install }}"
          version: "{{ _containerd_version }}"
          files: "{{ containerd_files }}"
          absent: "{{ _containerd_absent }}"
"""

DEBIAN_12 = {"os_family": "Debian", "distribution": "Debian", "distribution_release": "bookworm"}
DEBIAN_13 = {"os_family": "Debian", "distribution": "Debian", "distribution_release": "trixie"}
UBUNTU_NEW = {"os_family": "Debian", "distribution": "Ubuntu", "distribution_release": "resolute"}
ROCKY_9 = {"os_family": "RedHat", "distribution": "Rocky", "distribution_release": "Blue Onyx"}
RHEL_9 = {"os_family": "RedHat", "distribution": "RedHat", "distribution_release": "Plow"}


def case(facts, kubernetes, packages=None, files=(), **variables):
    """Variables of one machine; packages None means that nobody looked yet."""
    seen = {name: None for name in ("containerd", "containerd.io", "runc")}
    host = {"case_facts": facts, "cluster_kubernetes_version": kubernetes, "ansible_host": "192.0.2.1", **variables}
    if packages is not None:
        host["__containerd_state"] = {"node": {"packages": {**seen, **packages}, "files": {path: {"sha256": "0"} for path in files}}}
    return host


REPO, SOURCES = "/etc/yum.repos.d/containerd.repo", "/etc/apt/sources.list.d/containerd.sources"
OLD = {"containerd": "1.6.20~ds1-1+deb12u1", "runc": "1.1.5+ds1-1"}
CASES = {
    "old_lab": case(DEBIAN_12, "1.20.2", OLD, cluster_artifacts="bundle"),
    "old_lab_fresh": case(DEBIAN_12, "1.20.2", {}, cluster_artifacts="bundle"),
    "old_kubernetes_new_containerd": case(UBUNTU_NEW, "1.22.17", {"containerd": "2.2.1-0ubuntu1"}),
    "new_on_old": case(DEBIAN_12, "1.36.4", OLD),
    "new_on_old_fresh": case(DEBIAN_12, "1.36.4", {}),
    "new_on_old_insisting": case(DEBIAN_12, "1.36.4", {}, containerd_package="containerd"),
    "new_on_old_unsupported": case(DEBIAN_12, "1.36.4", OLD, containerd_allow_unsupported=True),
    "unsupported_ends": case(DEBIAN_13, "1.38.0", {"containerd": "1.7.24~ds1-6"}, containerd_allow_unsupported=True, cluster_pause_image="example.org/pause:4"),
    "fits": case(DEBIAN_13, "1.35.9", {}),
    "unknown_release": case(UBUNTU_NEW, "1.36.4", {}),
    "conflict": case(DEBIAN_12, "1.30.1", OLD, containerd_package="containerd.io"),
    "conflict_back": case(DEBIAN_12, "1.30.1", {"containerd.io": "1.7.27-1"}, containerd_package="containerd"),
    "docker_kept": case(DEBIAN_12, "1.36.4", {"containerd.io": "2.2.1-1~debian.12~bookworm"}),
    "pinned": case(DEBIAN_12, "1.36.4", {"containerd.io": "2.2.1-1~debian.12~bookworm"}, containerd_version="2.2.1"),
    "pinned_other": case(DEBIAN_12, "1.36.4", {"containerd.io": "2.2.10-1~debian.12~bookworm"}, containerd_version="2.2.1"),
    "pinned_too_old": case(DEBIAN_12, "1.36.4", {}, containerd_package="containerd.io", containerd_version="1.7.28"),
    "epoch": case(DEBIAN_12, "1.35.0", {"containerd": "1:1.7.24-1"}, containerd_version="1.7.24"),
    "rocky": case(ROCKY_9, "1.36.4", {}),
    "rocky_pinned": case(ROCKY_9, "1.36.4", {"containerd.io": "2.2.1-3.1.el9"}, [REPO], containerd_version="2.2.1"),
    "docker_of_ours": case(DEBIAN_12, "1.36.4", {"containerd.io": "2.2.1-1~debian.12~bookworm"}, [SOURCES]),
    "rocky_runc": case(ROCKY_9, "1.36.4", {"runc": "1.2.4-1.el9"}),
    "rhel_containerd": case(RHEL_9, "1.36.4", {}, containerd_package="containerd"),
    "rendered_20": case(DEBIAN_12, "1.20.2"),
    "two_zero": case(UBUNTU_NEW, "1.35.0", {}, containerd_series="2.0"),
    "options": case(
        DEBIAN_12,
        "1.36.4",
        {"containerd.io": "2.3.1-1"},
        cluster_kubelet_cgroup_driver="cgroupfs",
        containerd_selinux=True,
        containerd_data_dir="/srv/containerd",
        containerd_snapshotter="native",
        containerd_cni_bin_dir="/srv/cni",
        containerd_limit_nofile="",
        containerd_environment={"HTTPS_PROXY": 'http://u:p%40"@proxy:3128', "A": "b\\c"},
        containerd_repository_manage=False,
        containerd_registry_mirrors={
            "docker.io": [
                {"url": "https://one:5000", "ca": "/etc/one.pem", "skip_verify": False},
                {"url": "https://two/v2/x", "capabilities": ["pull"], "override_path": True},
            ],
            "quay.io": [],
        },
    ),
    "nothing_extra": case(DEBIAN_12, "1.30.0", OLD, containerd_limit_nofile=""),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Run the playbook once for all cases."""
    folder = tmp_path_factory.mktemp("containerd")
    (folder / "playbook.yml").write_text(PLAYBOOK)
    # Outside of the role's own tasks its templates are looked for beside the playbook.
    (folder / "templates").symlink_to(ROOT / "roles/containerd/templates")
    inventory = {"all": {"children": {"kubernetes": {"children": {"control_plane": {"hosts": CASES}}}}}}
    (folder / "inventory.json").write_text(json.dumps(inventory))
    beside = pathlib.Path(sys.executable).parent / "ansible-playbook"
    done = subprocess.run(
        [str(beside) if beside.exists() else shutil.which("ansible-playbook"), "-i", "inventory.json", "playbook.yml"],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": "",
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"),
            "ANSIBLE_INJECT_FACT_VARS": "false",
            "ANSIBLE_FORKS": "4",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in CASES}


def file_of(answer, path):
    return {file["path"]: file for file in answer["files"]}[path]


@pytest.mark.parametrize(
    "name, words",
    [
        (
            "new_on_old",
            [
                "Kubernetes 1.36.4 (cluster_kubernetes_version) needs containerd 2.2 or newer",
                "this node has 1.6.20",
                "remove containerd and set containerd_package to containerd.io",
                "up to 1.35",
            ],
        ),
        ("new_on_old_insisting", ["this node gets 1.6 from package containerd", "set containerd_package to containerd.io"]),
        ("unsupported_ends", ["needs containerd 2.0 or newer", "1.7.24"]),
        ("old_kubernetes_new_containerd", ["CRI v1alpha2", "containerd 2.2.1", "choose Kubernetes 1.23 or newer"]),
        (
            "conflict",
            [
                "Package containerd and runc is installed",
                "containerd.io, the package containerd_package names",
                "set containerd_package to containerd,",
                "drain this node",
            ],
        ),
        ("conflict_back", ["Package containerd.io is installed", "set containerd_package to containerd.io"]),
        ("pinned_too_old", ["this node gets 1.7.28", "set containerd_version to a newer one"]),
        ("rocky_runc", ["Package runc is installed and cannot be together with containerd.io", "remove runc"]),
        ("rhel_containerd", ["no such package", "containerd.io"]),
    ],
)
def test_refused(answers, name, words):
    problems = answers[name]["problems"]
    assert len(problems) == 1
    for word in words:
        assert word in problems[0]
    assert "  " not in problems[0] and "\n" not in problems[0].strip()


@pytest.mark.parametrize(
    "name, package, spec, install, config_version",
    [
        ("old_lab", "containerd", "containerd", False, 2),
        ("old_lab_fresh", "containerd", "containerd", True, 2),
        ("new_on_old_fresh", "containerd.io", "containerd.io", True, 3),
        ("new_on_old_unsupported", "containerd", "containerd", False, 2),
        ("fits", "containerd", "containerd", True, 2),
        ("unknown_release", "containerd", "containerd", True, 3),
        ("docker_kept", "containerd.io", "containerd.io", False, 3),
        ("pinned", "containerd.io", "containerd.io=2.2.1[-~+]*", False, 3),
        ("pinned_other", "containerd.io", "containerd.io=2.2.1[-~+]*", True, 3),
        ("epoch", "containerd", "containerd=1.7.24[-~+]*", False, 2),
        ("rocky", "containerd.io", "containerd.io", True, 3),
        ("rocky_pinned", "containerd.io", "containerd.io-2.2.1", False, 3),
        ("rendered_20", "containerd", "containerd", True, 2),
        ("two_zero", "containerd", "containerd", True, 3),
    ],
)
def test_accepted(answers, name, package, spec, install, config_version):
    answer = answers[name]
    assert answer["problems"] == []
    assert (answer["package"], answer["spec"], answer["install"]) == (package, spec, install)
    assert f"\nversion = {config_version}\n" in file_of(answer, "/etc/containerd/config.toml")["content"]


def toml(answer, path="/etc/containerd/config.toml"):
    return pytest.importorskip("tomllib").loads(file_of(answer, path)["content"])


def test_config_version_2(answers):
    config = toml(answers["old_lab"])
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert config["version"] == 2
    assert cri["sandbox_image"] == "k8s.gcr.io/pause:3.2"
    assert cri["cni"] == {"bin_dir": "/usr/lib/cni", "conf_dir": "/etc/cni/net.d"}
    assert cri["containerd"]["runtimes"]["runc"] == {"runtime_type": "io.containerd.runc.v2", "options": {"SystemdCgroup": True}}
    assert cri["registry"] == {"config_path": "/etc/containerd/certs.d"}


def test_config_version_3(answers):
    config = toml(answers["docker_kept"])
    assert config["version"] == 3
    assert config["plugins"]["io.containerd.cri.v1.images"]["pinned_images"] == {"sandbox": "registry.k8s.io/pause:3.10.2"}
    assert config["plugins"]["io.containerd.cri.v1.images"]["registry"] == {"config_path": "/etc/containerd/certs.d"}
    runtime = config["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["cni"] == {"bin_dirs": ["/opt/cni/bin"], "conf_dir": "/etc/cni/net.d"}
    assert runtime["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": True}


def test_bin_dirs_came_with_2_1(answers):
    assert toml(answers["two_zero"])["plugins"]["io.containerd.cri.v1.runtime"]["cni"]["bin_dir"] == "/opt/cni/bin"


def test_options(answers):
    answer = answers["options"]
    config = toml(answer)
    assert config["root"] == "/srv/containerd"
    images, runtime = (config["plugins"][f"io.containerd.cri.v1.{part}"] for part in ("images", "runtime"))
    assert images["snapshotter"] == "native" and runtime["enable_selinux"] is True
    assert runtime["cni"]["bin_dirs"] == ["/srv/cni"]
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is False
    hosts = toml(answer, "/etc/containerd/certs.d/docker.io/hosts.toml")
    assert hosts == {
        "host": {
            "https://one:5000": {"capabilities": ["pull", "resolve"], "skip_verify": False, "ca": "/etc/one.pem"},
            "https://two/v2/x": {"capabilities": ["pull"], "override_path": True},
        }
    }
    assert "/etc/containerd/certs.d/quay.io/hosts.toml" in answer["absent"]
    drop_in = file_of(answer, "/etc/systemd/system/containerd.service.d/10-baremetal-kubernetes.conf")
    assert drop_in["secret"] and drop_in["mode"] == "0600"
    assert 'Environment="HTTPS_PROXY=http://u:p%%40\\"@proxy:3128"\n' in drop_in["content"]
    assert 'Environment="A=b\\\\c"\n' in drop_in["content"] and "LimitNOFILE" not in drop_in["content"]
    assert not [file for file in answer["files"] if "sources" in file["path"]]


def test_config_is_judged_by_the_installed_containerd_only(answers):
    """In check mode before an installation there is none, or the old one, which knows other settings."""
    validate = file_of(answers["old_lab"], "/etc/containerd/config.toml")["validate"]
    assert validate.count("%s") == 1 and not [word for word in validate if "%s" in word and word != "%s"]
    assert "SystemdCgroup = true" in validate and "k8s.gcr.io/pause:3.2" in validate
    for name in ("old_lab_fresh", "pinned_other", "rendered_20"):
        assert file_of(answers[name], "/etc/containerd/config.toml")["validate"] == []


def test_drop_in_and_pin_come_and_go(answers):
    drop_in, pin = "/etc/systemd/system/containerd.service.d/10-baremetal-kubernetes.conf", "/etc/apt/preferences.d/containerd"
    assert "LimitNOFILE=1048576" in file_of(answers["old_lab"], drop_in)["content"]
    assert answers["old_lab"]["absent"] == [pin]
    assert drop_in in answers["nothing_extra"]["absent"]
    assert "Package: containerd.io\nPin: version 2.2.1[-~+]*\nPin-Priority: 1001\n" in file_of(answers["pinned"], pin)["content"]
    assert answers["pinned"]["absent"] == []


def test_repositories(answers):
    source = file_of(answers["new_on_old_fresh"], SOURCES)["content"]
    assert "URIs: https://download.docker.com/linux/debian\nSuites: bookworm\n" in source and "Signed-By: /etc/apt/keyrings/containerd.asc" in source
    repository = file_of(answers["rocky"], REPO)["content"]
    assert "baseurl=https://download.docker.com/linux/centos/$releasever/$basearch/stable\n" in repository
    assert "gpgkey=https://download.docker.com/linux/centos/gpg\n" in repository and "gpgcheck=1" in repository
    assert repository.endswith("includepkgs=containerd.io\n")
    assert file_of(answers["rocky_pinned"], REPO)["content"].endswith("includepkgs=containerd.io-2.2.1-*\n")
    assert answers["rocky"]["absent"] == []


def test_no_second_source_beside_the_one_that_containerd_io_came_from(answers):
    """apt refuses to work at all with "Conflicting values set for option Signed-By", and nobody fetched the key of ours."""
    assert SOURCES in {file["path"] for file in answers["docker_of_ours"]["files"]}
    assert SOURCES not in {file["path"] for file in answers["docker_kept"]["files"]}
