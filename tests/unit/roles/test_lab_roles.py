# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab's roles and its Vagrantfile write and remove, without a machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: baremetal.kubernetes.lab_box, tasks_from: keys}
    - ansible.builtin.import_role: {name: baremetal.kubernetes.lab_box, tasks_from: clean}
    - ansible.builtin.import_role: {name: baremetal.kubernetes.offline_bundle, tasks_from: clean}
    - ansible.builtin.import_role: {name: baremetal.kubernetes.lab_host, tasks_from: down}
      when: false
    - ansible.builtin.template: {src: hosts.yml.j2, dest: "{{ playbook_dir }}/inventory/hosts.yml", mode: "0644"}
"""


class Play:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.cache = path / "cache"
        shutil.copytree(ROOT / "inventories" / "lab" / "group_vars", path / "inventory" / "group_vars")
        (path / "play.yml").write_text(PLAYBOOK)
        (path / "templates").mkdir()
        shutil.copy(ROOT / "roles" / "lab_host" / "templates" / "hosts.yml.j2", path / "templates")

    def program(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "BAREMETAL_LAB_CACHE": str(self.cache), "ANSIBLE_NOCOLOR": "1"}
        argv = [str(Path(sys.executable).parent / name), *arguments]
        done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def run(self, *arguments: str) -> str:
        interpreter = f"ansible_python_interpreter={sys.executable}"
        return self.program("ansible-playbook", "-i", "localhost,", "-e", interpreter, *arguments, str(self.path / "play.yml")).stdout

    def host(self, name: str) -> dict[str, object]:
        return json.loads(self.program("ansible-inventory", "-i", str(self.path / "inventory"), "--host", name).stdout)


@pytest.fixture(scope="module", name="play")
def fixture_play(tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Keys, folders and inventory of a first run."""
    play = Play(tmp_path_factory.mktemp("lab"))
    (play.cache / "ssh").mkdir(parents=True)
    (play.cache / "ssh" / "id_ed25519").write_text("what an interrupted run left")
    (play.cache / "ssh" / "id_ed25519").chmod(0o600)
    play.run()
    return play


def test_half_a_pair_of_keys_is_made_anew(play: Play) -> None:
    public = (play.cache / "ssh" / "id_ed25519.pub").read_text()
    seen = subprocess.run(["ssh-keygen", "-y", "-f", str(play.cache / "ssh" / "id_ed25519")], capture_output=True, text=True, check=True)
    assert seen.stdout.split()[:2] == public.split()[:2]


def test_only_what_other_inputs_made_is_removed(play: Play) -> None:
    this, other = "1" * 16, "2" * 16
    keys = ("-e", f"_lab_box_rootfs_key={this}", "-e", f"_offline_bundle_key={this}{this}")
    never = ["rootfs/.lock", "bundle-build/out", f"bundle-{other[:12]}.mine/file", f"my-bundle-{other[:12]}/file"]
    current = [f"rootfs/{this}.tar", f"rootfs/{this}.tar.sha256", f"bundle-{this[:12]}/manifest.json"]
    old = [f"rootfs/{other}.tar", f"rootfs/{other}.tar.sha256", f"bundle-{other[:12]}/manifest.json"]
    for name in never + current + old:
        (play.cache / name).parent.mkdir(exist_ok=True)
        (play.cache / name).touch()

    def left() -> set[str]:
        return {name for name in never + current + old if (play.cache / name).exists()}

    assert "changed=2" in play.run("--check", *keys)
    assert left() == {*never, *current, *old}
    play.run(*keys)
    assert left() == {*never, *current}
    assert "changed=0" in play.run(*keys)
    # The roles' own keys are others than these.
    play.run()
    assert left() == set(never) and not (play.cache / f"bundle-{this[:12]}").exists()


def test_own_box_installs_from_the_repositories(play: Play) -> None:
    ours = play.host("cp1")
    assert (ours["cluster_artifacts"], ours["cluster_kubernetes_version"]) == ("bundle", "1.20.2")
    play.run("-e", "lab_host_box=debian/bookworm64")
    for name in ("cp1", "w1"):
        seen = play.host(name)
        assert (seen["cluster_artifacts"], seen["cluster_kubernetes_version"]) == ("repository", "1.36.4")
        assert seen["control_plane_skip_phases"] == seen["control_plane_join_skip_phases"] == seen["worker_skip_phases"] == []
        assert seen["ansible_user"] == "root" and seen["cluster_name"] == "lab"


# What Vagrant would be told, one call a line: the path of the call and its arguments.
RUBY = """
class Told
  def initialize(path) = @path = path
  def method_missing(name, *arguments)
    puts "#{@path}.#{name} #{arguments.map(&:inspect).join(' ')}"
    told = Told.new("#{@path}.#{name}")
    yield told if block_given?
    told
  end
  def respond_to_missing?(*) = true
end
module Vagrant
  def self.configure(_version) = yield(Told.new('config'))
end
load ARGV[0]
"""


@pytest.mark.skipif(shutil.which("ruby") is None, reason="no ruby here to read the Vagrantfile with; it comes with vagrant")
class TestVagrantfile:
    @staticmethod
    def told(cache: Path, settings: dict[str, object] | None = None, **environment: str) -> str:
        if settings is not None:
            (cache / "lab.json").write_text(json.dumps(settings))
        argv = ["ruby", "-e", RUBY, str(ROOT / "Vagrantfile")]
        environment = {"PATH": os.environ["PATH"], "HOME": str(cache), "BAREMETAL_LAB_CACHE": str(cache), **environment}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout

    OURS = {"driver": "qemu", "box": "baremetal-kubernetes/lab-1", "kernel": "/cache/vmlinuz", "initrd": "/cache/initrd.img"}

    def test_our_box_starts_with_its_kernel_and_the_labs_key(self, tmp_path: Path) -> None:
        told = self.told(tmp_path, self.OURS)
        assert 'provider.kernel= "/cache/vmlinuz"' in told and "config.ssh.insert_key= false" in told
        assert "config.vm.provision" not in told

    def test_auto_means_what_was_found_out(self, tmp_path: Path) -> None:
        assert 'provider.driver= "qemu"' in self.told(tmp_path, self.OURS, LAB_DRIVER="auto")
        assert 'provider.driver= "kvm"' in self.told(tmp_path, self.OURS, LAB_DRIVER="kvm")

    @pytest.mark.parametrize("environment", [{"LAB_BOX": "debian/bookworm64"}, {}])
    def test_another_box_learns_the_labs_key_and_boots_by_itself(self, tmp_path: Path, environment: dict[str, str]) -> None:
        (tmp_path / "ssh").mkdir()
        (tmp_path / "ssh" / "id_ed25519.pub").write_text("ssh-ed25519 KEY lab\n")
        told = self.told(tmp_path, {"driver": "kvm", "box": "debian/bookworm64", "box_url": "", "kernel": "", "initrd": ""}, **environment)
        assert 'config.vm.box= "debian/bookworm64"' in told
        assert "provider.kernel=" not in told and "insert_key" not in told
        (provision,) = [line for line in told.splitlines() if "vm.provision" in line]
        assert '"ssh-ed25519 KEY lab"' in provision and ":run=>\"always\"" in provision.replace("run: ", ":run=>")

    def test_plain_vagrant_up_needs_nothing(self, tmp_path: Path) -> None:
        told = self.told(tmp_path)
        assert 'config.vm.box= "debian/bookworm64"' in told and "vm.provision" not in told
