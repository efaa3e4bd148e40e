# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The script that brings up the lab's machines, with stand-ins for libvirt and Vagrant that note what they are asked."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "roles" / "lab_host" / "files" / "lab-machines.sh"
BOX = "baremetal-kubernetes/lab-new"
IMAGE = "baremetal-kubernetes-VAGRANTSLASH-lab-new_vagrant_box_image_0_1_box.img"

# domains holds "NAME UUID" lines; reach holds the addresses that answer.
VIRSH = """
while [ "${1#--}" != "$1" ]; do [ "$1" = --connect ] && shift; shift; done
case $1 in
  list) cut -d' ' -f1 "$LAB/domains" ;;
  domuuid) grep "^$2 " "$LAB/domains" | cut -d' ' -f2 ;;
  undefine) sed -i "/^$2 /d" "$LAB/domains" ;;
  vol-list) for file in "$LAB"/cache/libvirt/lib/images/*; do echo " ${file##*/}   $file"; done ;;
  vol-delete) rm "$LAB/cache/libvirt/lib/images/$4" ;;
esac
"""
VAGRANT = """
[ "$1" = --no-tty ] && shift
case $1-$2 in
  box-list) cat "$LAB/boxes" ;;
  up-*) cat "$LAB/up.out"; cat "$LAB/after-up" >>"$LAB/reach"; exit "$(cat "$LAB/up.rc")" ;;
  reload-*) cat "$LAB/after-reload" >>"$LAB/reach" ;;
  destroy-*) exit "$(cat "$LAB/destroy.rc")" ;;
esac
"""


class Lab:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.cache = path / "cache"
        self.images = self.cache / "libvirt" / "lib" / "images"
        self.box = self.cache / "box" / "new"
        for folder in (self.cache / "bin", self.cache / "console", self.cache / "cp", self.images, self.box, path / "bin", path / "checkout"):
            folder.mkdir(parents=True)
        answers = {"nc": 'grep -qx "$4" "$LAB/reach"', "sleep": "", "ssh-keyscan": 'echo "$3 ssh-ed25519 KEY"'}
        for name, text in {"virsh": VIRSH, "vagrant": VAGRANT, **answers}.items():
            self.program(path / "bin" / name, f'echo "{name} $*" >>"$LAB/calls"\n{text}')
        libvirt = 'case $1 in exec) shift 2; exec "$@" ;; *) echo "lab-libvirt $1" >>"$LAB/calls"; echo own ;; esac'
        self.program(self.cache / "bin" / "lab-libvirt", libvirt)
        for name in ("domains", "boxes", "reach", "calls", "up.out", "after-up", "after-reload"):
            (path / name).touch()
        (path / "up.rc").write_text("0")
        (path / "destroy.rc").write_text("0")
        (self.cache / "libvirt" / "mode").write_text("own\n")
        (self.box / "lab.box").write_text("box")
        (self.box / "SHA256SUMS").write_text(f"{hashlib.sha256(b'box').hexdigest()}  lab.box\n")

    @staticmethod
    def program(path: Path, text: str) -> None:
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def machine(self, name: str, uuid: str, known: str, box: str = BOX) -> None:
        with (self.path / "domains").open("a") as stream:
            stream.write(f"baremetal-kubernetes-{name} {uuid}\n")
        (self.images / f"baremetal-kubernetes-{name}.img").touch()
        folder = self.cache / "libvirt" / "vagrant" / "machines" / name / "libvirt"
        folder.mkdir(parents=True)
        (folder / "id").write_text(known)
        (folder / "box_meta").write_text(json.dumps({"name": box, "version": "0"}, separators=(",", ":")))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.path}/bin:/usr/bin:/bin", "LAB": str(self.path), "LC_ALL": "C"}
        return subprocess.run([str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False)

    def up(self, box: str = BOX) -> subprocess.CompletedProcess[str]:
        return self.run("up", str(self.cache), str(self.path / "checkout"), box, str(self.box) if box == BOX else "-", "cp1=192.0.2.11")

    def calls(self) -> str:
        return (self.path / "calls").read_text()


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def test_first_run_registers_the_box_and_makes_machines(lab):
    (lab.path / "after-up").write_text("192.0.2.11\n")
    done = lab.up()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"box add --name {BOX}" in lab.calls()
    assert not (lab.cache / "libvirt" / "interrupted").exists()


def test_second_run_registers_and_restarts_nothing(lab):
    (lab.path / "boxes").write_text(f"{BOX} (libvirt, 0)\n")
    (lab.path / "reach").write_text("192.0.2.11\n")
    lab.machine("cp1", "uuid-1", "uuid-1")
    assert lab.up().returncode == 0
    for word in ("box add", "reload", "undefine", "box remove"):
        assert word not in lab.calls()
    assert (lab.images / "baremetal-kubernetes-cp1.img").exists()


def test_a_damaged_box_is_removed_and_said(lab):
    (lab.box / "lab.box").write_text("bax")
    done = lab.up()
    assert done.returncode == 1 and "was damaged and is removed" in done.stdout
    assert not lab.box.exists() and "box add" not in lab.calls()


def test_what_a_killed_run_left_is_removed(lab):
    lab.machine("cp1", "uuid-1", "")
    (lab.images / "baremetal-kubernetes-w1.img").touch()
    (lab.images / IMAGE).touch()
    (lab.cache / "libvirt" / "interrupted").touch()
    (lab.path / "after-up").write_text("192.0.2.11\n")
    done = lab.up()
    assert done.returncode == 0 and "remove baremetal-kubernetes-cp1" in done.stdout
    assert list(lab.images.iterdir()) == []


def test_a_whole_image_under_a_machine_stays(lab):
    (lab.path / "boxes").write_text(f"{BOX} (libvirt, 0)\n")
    lab.machine("cp1", "uuid-1", "uuid-1")
    (lab.images / IMAGE).touch()
    (lab.images / IMAGE.replace("new", "old")).touch()
    (lab.cache / "libvirt" / "interrupted").touch()
    (lab.path / "reach").write_text("192.0.2.11\n")
    assert lab.up().returncode == 0
    assert sorted(path.name for path in lab.images.iterdir()) == sorted([IMAGE, "baremetal-kubernetes-cp1.img"])


def test_a_machine_without_its_network_is_restarted(lab):
    lab.program(lab.path / "bin" / "sleep", "")
    lab.machine("cp1", "uuid-1", "uuid-1")
    (lab.path / "after-reload").write_text("192.0.2.11\n")
    script = SCRIPT.read_text().replace('"${node#*=}" 30', '"${node#*=}" 0')
    copy = lab.path / "lab-machines"
    lab.program(copy, script)
    done = subprocess.run(
        [str(copy), "up", str(lab.cache), str(lab.path / "checkout"), BOX, str(lab.box), "cp1=192.0.2.11"],
        env={"PATH": f"{lab.path}/bin:/usr/bin:/bin", "LAB": str(lab.path), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0 and "cp1 does not answer at 192.0.2.11: restart it" in done.stdout
    assert "reload cp1" in lab.calls()


def test_a_failure_shows_the_console(lab):
    (lab.path / "up.rc").write_text("1")
    (lab.cache / "console" / "cp1.log").write_text("one\nKernel panic - not syncing\r\n")
    done = lab.up()
    assert done.returncode == 1
    for words in ("cp1 does not answer at 192.0.2.11", str(lab.cache / "console" / "cp1.log"), "Kernel panic - not syncing", "vagrant.log"):
        assert words in done.stdout
    assert (lab.cache / "libvirt" / "interrupted").exists()


@pytest.mark.parametrize("mode", ["own", "system"])
def test_old_boxes_go(lab, mode):
    (lab.cache / "libvirt" / "mode").write_text(f"{mode}\n")
    boxes = [BOX, "baremetal-kubernetes/lab-old", "baremetal-kubernetes/lab-new2", "some/other"]
    (lab.path / "boxes").write_text("".join(f"{name} (libvirt, 0)\n" for name in boxes))
    for name in ("old", "new2"):
        (lab.cache / "box" / name).mkdir()
    (lab.cache / "box" / "current").symlink_to("new")
    kept = ["some-VAGRANTSLASH-other_vagrant_box_image_0_box.img", IMAGE]
    for name in [*kept, IMAGE.replace("new", "old"), IMAGE.replace("new", "new2")]:
        (lab.images / name).touch()
    (lab.path / "reach").write_text("192.0.2.11\n")
    done = lab.up()
    assert done.returncode == 0, done.stdout + done.stderr
    removed = [line.split()[-1] for line in lab.calls().splitlines() if "box remove" in line]
    assert removed == ["baremetal-kubernetes/lab-old", "baremetal-kubernetes/lab-new2"]
    assert sorted(path.name for path in (lab.cache / "box").iterdir()) == ["current", "new"]
    assert sorted(path.name for path in lab.images.iterdir()) == sorted(kept)
    assert (lab.box / "lab.box").exists()


def test_machines_of_another_box_are_refused_and_stay(lab):
    (lab.path / "boxes").write_text(f"{BOX} (libvirt, 0)\nbaremetal-kubernetes/lab-old (libvirt, 0)\n")
    (lab.path / "reach").write_text("192.0.2.11\n")
    lab.machine("cp1", "uuid-1", "uuid-1")
    lab.machine("w1", "uuid-2", "uuid-2", "baremetal-kubernetes/lab-old")
    done = lab.up()
    assert done.returncode == 1
    assert f"another box than {BOX}, which is wanted now: w1. Run 'make lab-down'" in done.stdout
    assert "vagrant --no-tty up" not in lab.calls() and "box remove" not in lab.calls()
    assert (lab.path / "domains").read_text().count("uuid") == 2


def test_the_box_that_an_interrupted_run_noted_is_forgotten(lab):
    (lab.path / "after-up").write_text("192.0.2.11\n")
    lab.machine("cp1", "uuid-1", "", "baremetal-kubernetes/lab-old")
    assert lab.up().returncode == 0
    assert not (lab.cache / "libvirt" / "vagrant" / "machines" / "cp1" / "libvirt" / "box_meta").exists()


def test_a_box_of_somebody_else_is_known_by_the_keys_it_has(lab):
    (lab.cache / "ssh").mkdir()
    (lab.cache / "libvirt" / "mode").write_text("system\n")
    (lab.path / "after-up").write_text("192.0.2.11\n")
    assert lab.up("debian/bookworm64").returncode == 0
    assert (lab.cache / "ssh" / "known_hosts").read_text() == "192.0.2.11 ssh-ed25519 KEY\n"
    assert "box add" not in lab.calls()


def test_down_removes_machines_and_ends_libvirt(lab):
    lab.machine("cp1", "uuid-1", "uuid-1")
    lab.machine("w1", "uuid-2", "")
    (lab.images / IMAGE).touch()
    assert lab.run("down", str(lab.cache), str(lab.path / "checkout")).returncode == 0
    assert "destroy --force" in lab.calls() and lab.calls().endswith("lab-libvirt stop\n")
    assert (lab.path / "domains").read_text() == ""
    # the image of the box is what makes the next start quick
    assert [path.name for path in lab.images.iterdir()] == [IMAGE]


def test_down_that_fails_on_the_machines_libvirt_can_be_run_again(lab):
    (lab.cache / "libvirt" / "mode").write_text("system\n")
    (lab.path / "destroy.rc").write_text("1")
    done = lab.run("down", str(lab.cache), str(lab.path / "checkout"))
    assert done.returncode == 1 and "run 'make lab-down' again" in done.stdout
    assert "lab-libvirt stop" not in lab.calls()
    (lab.path / "destroy.rc").write_text("0")
    assert lab.run("down", str(lab.cache), str(lab.path / "checkout")).returncode == 0
    assert lab.calls().endswith("lab-libvirt stop\n")


def test_vagrant_reads_the_settings_of_the_cache_it_was_given(tmp_path):
    (tmp_path / "libvirt").mkdir()
    (tmp_path / "libvirt" / "mode").write_text("system\n")
    argv = [str(SCRIPT.with_name("lab-libvirt.sh")), "exec", str(tmp_path), "env"]
    done = subprocess.run(argv, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=True)
    assert f"BAREMETAL_LAB_CACHE={tmp_path}" in done.stdout.splitlines()
