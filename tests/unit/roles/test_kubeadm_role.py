# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role kubeadm writes for each family of distributions and each source, and what it concludes from a node's state."""

from __future__ import annotations

import configparser
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]

WAITING, MEMBER, SKIPPED = {"state": {"member": False}}, {"state": {"member": True}}, {"skipped": True}
HOSTS = {
    "debian": {"kubeadm_os_family": "Debian", "__kubeadm_state": WAITING},
    "debian-mirror": {
        "kubeadm_os_family": "Debian",
        "kubeadm_repository_url": "https://mirror.example.com/kubernetes",
        "cluster_kubernetes_version": "1.35.9",
        "cluster_proxy_mode": "nftables",
        "kubeadm_kubelet_extra_args": ["--v=4", "--node-labels=rack=a1"],
        "__kubeadm_state": WAITING,
    },
    "el9": {"kubeadm_os_family": "RedHat", "__kubeadm_state": MEMBER, "ansible_facts": {"distribution_major_version": "9"}},
    "debian-bundle": {"kubeadm_os_family": "Debian", "__kubeadm_state": SKIPPED, "cluster_artifacts": "bundle", "kubeadm_bin_dir": "/opt/bin"},
    "el9-bundle": {"kubeadm_os_family": "RedHat", "cluster_artifacts": "bundle"},
}

# State of a node as node_state and bundle_install return it.
ABSENT = {name: None for name in ("kubelet", "kubeadm", "kubectl")}
NODE_PACKAGES = {
    "debian": ["conntrack", "ebtables", "ethtool", "iproute2", "iptables", "kmod", "mount", "util-linux", "socat", "ipset", "ipvsadm"],
    "el9": ["conntrack-tools", "iptables-nft", "ethtool", "iproute", "kmod", "util-linux", "socat", "iproute-tc", "ipset", "ipvsadm"],
}


def node(family, versions, missing=(), held=(), key=True, member=False):
    packages = {name: "1-1" for name in NODE_PACKAGES[family]}
    packages.update({name: None for name in missing})
    packages.update(versions)
    stat = {"sha256": "0", "mode": "0644", "size": 1}
    return {
        "node": {
            "packages": packages,
            "held": list(held),
            "files": {
                "/etc/kubernetes/kubelet.conf": stat if member else None,
                "/etc/apt/keyrings/kubernetes-apt-keyring.asc": stat if key else None,
            },
        }
    }


SAME_DEB = {name: "1.36.4-1.1" for name in ABSENT}
SAME_RPM = {name: "0:1.36.4-150500.1.1" for name in ABSENT}
ALL = ["kubelet", "kubeadm", "kubectl"]
STATES = {
    "new": ("debian", {"__kubeadm_node": node("debian", ABSENT, missing=["socat", "ipvsadm"], key=False)}),
    "same": ("debian", {"__kubeadm_node": node("debian", SAME_DEB, held=ALL)}),
    "key-gone": ("debian", {"__kubeadm_node": node("debian", SAME_DEB, held=ALL, key=False)}),
    "joins-quick": ("debian", {"__kubeadm_node": node("debian", SAME_DEB), "kubeadm_join_control_plane": True}),
    "joins-slow": ("debian", {"__kubeadm_node": node("debian", SAME_DEB), "kubeadm_join_control_plane": True, "kubeadm_join_timeout": 1800}),
    "joins-workers": ("debian", {"__kubeadm_node": node("debian", SAME_DEB), "kubeadm_join_timeout": 3600}),
    "unheld": ("debian", {"__kubeadm_node": node("debian", SAME_DEB, held=["kubelet"], member=True)}),
    "other-patch": ("debian", {"__kubeadm_node": node("debian", dict(SAME_DEB, kubeadm="1.36.2-1.1"), held=ALL)}),
    "el-new": ("el9", {"__kubeadm_node": node("el9", ABSENT, missing=["conntrack-tools"])}),
    "el-same": ("el9", {"__kubeadm_node": node("el9", SAME_RPM)}),
    "bundle": ("debian-bundle", {"__kubeadm_bundle": {"member": False, "missing_programs": ["ip", "tc", "/usr/lib/cni/bridge"]}}),
    "bundle-member": ("debian-bundle", {"__kubeadm_bundle": {"member": True, "missing_programs": []}}),
}
CONCLUSIONS = {
    "install": "_kubeadm_install",
    "member": "_kubeadm_member | bool",
    "source": "_kubeadm_source_wanted | bool",
    "unheld": "_kubeadm_unheld_packages if not _kubeadm_bundle | bool else []",
    "key_url": "_kubeadm_key_url",
    "programs": "_kubeadm_programs",
    "token_seconds": "_kubeadm_join_token_seconds | int",
}

PLAYBOOK = """
- name: Render
  hosts: all
  gather_facts: false
  tasks:
    - name: Render the files of the kubelet
      ansible.builtin.include_role:
        name: baremetal.kubernetes.kubeadm
        tasks_from: render
        public: true

    - name: See what the role concludes
      ansible.builtin.debug:
        msg: "{{ {%s} }}"
      vars:
        __kubeadm_node: "{{ item.value.__kubeadm_node | default({}) }}"
        __kubeadm_bundle: "{{ item.value.__kubeadm_bundle | default({}) }}"
        kubeadm_join_control_plane: "{{ item.value.kubeadm_join_control_plane | default(false) }}"
        kubeadm_join_timeout: "{{ item.value.kubeadm_join_timeout | default(900) }}"
      loop: "{{ states | default({}) | dict2items }}"
      register: concluded

    - name: Keep what the role concludes
      ansible.builtin.copy:
        dest: "{{ render_dir }}/{{ inventory_hostname }}.json"
        content: "{{ dict(concluded.results | map(attribute='item.key') | zip(concluded.results | map(attribute='msg'))) | to_json }}"
        mode: "0644"
      when: states is defined
""" % ", ".join(f"'{name}': ({expression})" for name, expression in CONCLUSIONS.items())


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """One run for all hosts and all states: starting Ansible is what costs."""
    out = tmp_path_factory.mktemp("render")
    hosts = {name: {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **values} for name, values in HOSTS.items()}
    for name, (base, state) in STATES.items():
        hosts[base].setdefault("states", {})[name] = state
    (out / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    (out / "play.yml").write_text(PLAYBOOK, encoding="utf-8")
    done = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", str(out / "hosts.json"), "-e", f"render_dir={out}", str(out / "play.yml")],
        cwd=ROOT,
        env=dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1", ANSIBLE_FORKS="5"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def files(rendered, host):
    root = rendered / host
    return {"/" + str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in root.rglob("*") if path.is_file()}


def concluded(rendered, state):
    return json.loads((rendered / f"{STATES[state][0]}.json").read_text(encoding="utf-8"))[state]


def settings(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def sections(text):
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


WAITS = "/etc/systemd/system/kubelet.service.d/20-configuration.conf"


def test_apt(rendered):
    seen = files(rendered, "debian")
    assert set(seen) == {"/etc/apt/sources.list.d/kubernetes.list", "/etc/apt/preferences.d/kubernetes", "/etc/default/kubelet", WAITS}
    assert settings(seen["/etc/apt/sources.list.d/kubernetes.list"]) == [
        "deb [signed-by=/etc/apt/keyrings/kubernetes-apt-keyring.asc] https://pkgs.k8s.io/core:/stable:/v1.36/deb/ /"
    ]
    pin = [line for line in settings(seen["/etc/apt/preferences.d/kubernetes"]) if not line.startswith("Explanation")]
    assert pin == ["Package: kubelet kubeadm kubectl", "Pin: version 1.36.4-*", "Pin-Priority: 1001"]
    assert settings(seen["/etc/default/kubelet"]) == ['KUBELET_EXTRA_ARGS=""']
    assert sections(seen[WAITS]) == {"Unit": {"ConditionPathExists": "/var/lib/kubelet/config.yaml"}}
    assert all(text.endswith("\n") and not text.endswith("\n\n") for text in seen.values())


def test_apt_from_a_mirror(rendered):
    seen = files(rendered, "debian-mirror")
    assert " https://mirror.example.com/kubernetes/v1.35/deb/ /" in seen["/etc/apt/sources.list.d/kubernetes.list"]
    assert "Pin: version 1.35.9-*" in seen["/etc/apt/preferences.d/kubernetes"]
    assert settings(seen["/etc/default/kubelet"]) == ['KUBELET_EXTRA_ARGS="--v=4 --node-labels=rack=a1"']


def test_dnf(rendered):
    seen = files(rendered, "el9")
    assert set(seen) == {"/etc/yum.repos.d/kubernetes.repo", "/etc/sysconfig/kubelet", WAITS}
    assert sections(seen["/etc/yum.repos.d/kubernetes.repo"]) == {
        "kubernetes": {
            "name": "Kubernetes v1.36",
            "baseurl": "https://pkgs.k8s.io/core:/stable:/v1.36/rpm/",
            "enabled": "1",
            "gpgcheck": "1",
            "gpgkey": "https://pkgs.k8s.io/core:/stable:/v1.36/rpm/repodata/repomd.xml.key",
            "exclude": "kubelet kubeadm kubectl cri-tools kubernetes-cni",
        }
    }


@pytest.mark.parametrize(("host", "environment", "bin_dir"), [("debian-bundle", "default", "/opt/bin"), ("el9-bundle", "sysconfig", "/usr/local/bin")])
def test_bundle(rendered, host, environment, bin_dir):
    seen = files(rendered, host)
    unit, drop_in = "/etc/systemd/system/kubelet.service", "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"
    assert set(seen) == {unit, drop_in, WAITS, f"/etc/{environment}/kubelet"}
    assert sections(seen[unit])["Service"] == {"ExecStart": f"{bin_dir}/kubelet", "Restart": "always", "RestartSec": "10"}
    assert sections(seen[unit])["Install"] == {"WantedBy": "multi-user.target"}
    service = settings(seen[drop_in])
    assert "EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env" in service and f"EnvironmentFile=-/etc/{environment}/kubelet" in service
    assert service[-2:] == [
        "ExecStart=",
        f"ExecStart={bin_dir}/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS",
    ]
    for path in ("/etc/kubernetes/bootstrap-kubelet.conf", "/etc/kubernetes/kubelet.conf", "/var/lib/kubelet/config.yaml"):
        assert path in seen[drop_in]


def test_systemd_accepts_the_unit(rendered, tmp_path):
    """systemd-analyze reads the unit with its drop-ins as systemd would."""
    root = rendered / "el9-bundle"
    program = root / "usr/local/bin/kubelet"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    try:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "--root", str(root), "kubelet.service"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("systemd-analyze is not on this machine")
    finally:
        program.unlink()
    complaints = [line for line in done.stderr.splitlines() if "kubelet.service" in line]
    assert not complaints, done.stderr


@pytest.mark.parametrize(
    ("state", "install"),
    [
        ("new", ["kubelet=1.36.4-*", "kubeadm=1.36.4-*", "kubectl=1.36.4-*", "socat", "ipvsadm"]),
        ("same", []),
        ("key-gone", []),
        ("unheld", []),
        ("other-patch", ["kubeadm=1.36.4-*"]),
        ("el-new", ["kubelet-1.36.4", "kubeadm-1.36.4", "kubectl-1.36.4", "conntrack-tools"]),
        ("el-same", []),
        ("bundle", ["iproute2", "containernetworking-plugins"]),
        ("bundle-member", []),
    ],
)
def test_what_is_installed(rendered, state, install):
    assert sorted(concluded(rendered, state)["install"]) == sorted(install)


@pytest.mark.parametrize(
    ("state", "source", "unheld", "member"),
    [
        ("new", True, ALL, False),
        ("same", False, [], False),
        ("key-gone", True, [], False),
        ("unheld", False, ["kubeadm", "kubectl"], True),
        ("el-new", True, [], False),
        ("el-same", False, [], False),
        ("bundle", False, [], False),
        ("bundle-member", False, [], True),
    ],
)
def test_what_else_is_done(rendered, state, source, unheld, member):
    seen = concluded(rendered, state)
    assert (seen["source"], sorted(seen["unheld"]), seen["member"]) == (source, sorted(unheld), member)


def test_programs_follow_the_proxy_mode_and_the_source(rendered):
    def programs(state):
        return set(concluded(rendered, state)["programs"])

    assert "ipvsadm" in programs("same") and "nft" not in programs("same")
    assert "/usr/lib/cni/bridge" in programs("bundle") and "/usr/lib/cni/bridge" not in programs("same")


def test_key_of_the_repository(rendered):
    seen = concluded(rendered, "new")
    assert seen["key_url"] == "https://pkgs.k8s.io/core:/stable:/v1.36/deb/Release.key"


@pytest.mark.parametrize(("state", "seconds"), [("joins-quick", 1800), ("joins-slow", 3600), ("joins-workers", 1800)])
def test_the_token_outlives_joins_one_after_the_other(rendered, state, seconds):
    # two of the play's hosts wait; workers join at once
    assert concluded(rendered, state)["token_seconds"] == seconds
