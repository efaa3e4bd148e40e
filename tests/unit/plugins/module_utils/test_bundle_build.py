# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os

import pytest

from ansible_collections.baremetal.kubernetes.plugins.module_utils._bundle import BundleError, read_manifest
from ansible_collections.baremetal.kubernetes.plugins.module_utils._bundle_build import Archive, Program, check, publish

IMAGES = [Archive("k8s.gcr.io/pause:3.2", "images/pause.tar")]
SOURCES = [{"package": "kubernetes", "version": "1.20.5+really1.20.2-1.1"}]


@pytest.fixture
def work(tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("kubeadm", "kubelet", "kubectl"):
        (tmp_path / "out" / name).write_text(name, encoding="utf-8")
    stage(tmp_path)
    return tmp_path


def stage(work, image=b"image"):
    (work / "staging" / "images").mkdir(parents=True)
    (work / "staging" / "images" / "pause.tar").write_bytes(image)


def run(work, **more):
    programs = [Program(name, str(work / "out" / name), "v1.20.2") for name in ("kubeadm", "kubelet", "kubectl")]
    return publish(str(work / "staging"), str(work / "bundle"), "v1.20.2", "amd64", programs, IMAGES, SOURCES, **more)


def test_published_bundle_is_what_nodes_read(work):
    assert run(work) == {"changed": True, "bytes": 26}
    assert check(str(work / "bundle")) == {"state": "intact", "problems": [], "files": []}
    manifest = read_manifest(str(work / "bundle"))
    assert [binary.path for binary in manifest.binaries] == ["bin/kubeadm", "bin/kubelet", "bin/kubectl"]
    assert [image.ref for image in manifest.images] == ["k8s.gcr.io/pause:3.2"]
    assert json.loads((work / "bundle" / "manifest.json").read_text(encoding="utf-8"))["sources"] == SOURCES
    assert os.access(work / "bundle" / "bin" / "kubelet", os.X_OK)
    assert sorted(os.listdir(work)) == ["bundle", "out"]


def test_second_run_and_check_mode(work):
    assert run(work, check_mode=True)["changed"] is True
    assert sorted(os.listdir(work)) == ["out", "staging"]
    run(work)
    assert run(work)["changed"] is False
    assert run(work, check_mode=True)["changed"] is False


def test_a_whole_bundle_takes_the_place_of_a_damaged_one(work):
    run(work)
    (work / "bundle" / "bin" / "kubelet").write_text("kubelot", encoding="utf-8")
    found = check(str(work / "bundle"))
    assert found["state"] == "damaged"
    assert found["files"] == [str(work / "bundle" / "bin" / "kubelet")]
    assert found["problems"][0].startswith(f"{work}/bundle/bin/kubelet is damaged: its sha256 is ")
    stage(work)
    assert run(work)["changed"] is True
    assert check(str(work / "bundle"))["state"] == "intact"
    assert sorted(os.listdir(work)) == ["bundle", "out"]


def test_a_run_killed_between_its_two_renames_is_mended(work):
    run(work)
    (work / "bundle").rename(work / "bundle.old")
    assert check(str(work / "bundle"))["state"] == "absent"
    stage(work)
    run(work)
    assert sorted(os.listdir(work)) == ["bundle", "out"]


def test_what_an_earlier_build_left_is_no_part_of_the_bundle(work):
    (work / "staging" / "images" / "etcd.tar.part").write_text("half", encoding="utf-8")
    (work / "staging" / "bin").mkdir()
    (work / "staging" / "bin" / "kube-proxy").write_text("old", encoding="utf-8")
    run(work)
    assert sorted(os.listdir(work / "bundle" / "images")) == ["pause.tar"]
    assert sorted(os.listdir(work / "bundle" / "bin")) == ["kubeadm", "kubectl", "kubelet"]


def test_missing_parts_and_unreadable_manifest(work):
    os.unlink(work / "out" / "kubelet")
    with pytest.raises(BundleError, match="cannot be put together: .*kubelet"):
        run(work)
    (work / "out" / "kubelet").write_text("kubelet", encoding="utf-8")
    run(work)
    os.unlink(work / "bundle" / "images" / "pause.tar")
    assert check(str(work / "bundle"))["problems"] == [f"{work}/bundle/images/pause.tar cannot be read (No such file or directory)."]
    (work / "bundle" / "manifest.json").write_text("{", encoding="utf-8")
    found = check(str(work / "bundle"))
    assert found["state"] == "damaged" and "is not JSON" in found["problems"][0]
    assert check(str(work / "none"))["state"] == "absent"
