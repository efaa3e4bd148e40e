# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that build the offline bundle: options in, results and messages out."""

from __future__ import annotations

import fcntl
import json
import os
import sys

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.modules import (
    build_step,
    build_step_info,
    bundle_check,
    bundle_publish,
    host_requirements,
    image_archive,
)


@pytest.fixture
def run(capsys):
    def call(module, check_mode=False, **options):
        if check_mode:
            options["_ansible_check_mode"] = True
        with patch_module_args(options), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return call


def step(tmp_path, **more):
    output = str(tmp_path / "out" / "program")
    argv = [sys.executable, "-c", "import os, sys; open(sys.argv[1], 'w').write(os.environ['WORD'])", f"{output}.part"]
    return {"name": "program", "key": "1", "output": output, "argv": argv, "environment": {"WORD": "x"}, "log": str(tmp_path / "log"), **more}


def test_build_step_check_run_check_run(run, tmp_path):
    first = run(build_step, check_mode=True, **step(tmp_path))
    assert first["changed"] is True and first["reason"].endswith("was not made yet")
    assert not os.path.exists(tmp_path / "out")
    assert run(build_step, **step(tmp_path))["changed"] is True
    assert (tmp_path / "out" / "program").read_text(encoding="utf-8") == "x"
    assert run(build_step, check_mode=True, **step(tmp_path))["changed"] is False
    assert run(build_step, **step(tmp_path))["changed"] is False
    assert run(build_step, check_mode=True, **step(tmp_path, key="2"))["reason"].endswith("was made from other inputs")


def test_build_step_failure(run, tmp_path):
    result = run(build_step, **step(tmp_path, argv=["sh", "-c", "echo why; exit 3"]))
    assert result["failed"] is True
    assert "The step program ended with exit code 3" in result["msg"] and result["msg"].endswith("why")


def test_build_step_says_where_it_may_not_write(run, tmp_path):
    (tmp_path / "out").write_text("a file", encoding="utf-8")
    result = run(build_step, **step(tmp_path))
    assert result["failed"] is True and result["msg"].startswith("The step program cannot be taken: ")


def test_build_step_info(run, tmp_path):
    run(build_step, **step(tmp_path))
    done = {key: step(tmp_path)[key] for key in ("name", "key", "output")}
    other = {"name": "other", "key": "1", "output": str(tmp_path / "other"), "verify": False}
    result = run(build_step_info, steps=[done, other])
    assert (result["changed"], result["missing"]) == (False, ["other"])
    assert result["reasons"] == {"other": f"{tmp_path}/other was not made yet"}


def archive(tmp_path, **more):
    (tmp_path / "pause").write_text("pause", encoding="utf-8")
    layers = [{"files": [{"source": str(tmp_path / "pause"), "path": "/pause"}]}]
    return {"path": str(tmp_path / "pause.tar"), "reference": "k8s.gcr.io/pause:3.2", "layers": layers, "entrypoint": ["/pause"], **more}


def test_image_archive(run, tmp_path):
    assert run(image_archive, check_mode=True, **archive(tmp_path))["changed"] is True
    assert not os.path.exists(tmp_path / "pause.tar")
    first = run(image_archive, **archive(tmp_path))
    assert first["changed"] is True and len(first["image_id"]) == 64
    second = run(image_archive, **archive(tmp_path))
    assert (second["changed"], second["sha256"]) == (False, first["sha256"])
    assert run(image_archive, **archive(tmp_path, architecture="arm64"))["image_id"] != first["image_id"]


def test_image_archive_in_check_mode_does_not_need_its_directory(run, tmp_path):
    result = run(image_archive, check_mode=True, **archive(tmp_path, path=str(tmp_path / "images" / "pause.tar")))
    assert result["changed"] is True and "failed" not in result


def test_image_archive_never_writes_beside_another_run(run, tmp_path, monkeypatch):
    def write(path, image, check_mode):
        other = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
        return {"changed": True, "sha256": "", "image_id": ""}

    monkeypatch.setattr(image_archive, "ensure_image", write)
    assert run(image_archive, **archive(tmp_path))["changed"] is True


def test_image_archive_messages(run, tmp_path):
    gone = run(image_archive, **archive(tmp_path, path=str(tmp_path / "gone" / "pause.tar")))
    assert gone["msg"].startswith(f"{tmp_path}/gone/pause.tar cannot be written: ")
    assert "pause is no full image reference" in run(image_archive, **archive(tmp_path, reference="pause"))["msg"]
    layers = [{"files": [{"source": str(tmp_path / "pause"), "path": "/pause", "mode": "rwx"}]}]
    assert run(image_archive, **archive(tmp_path, layers=layers))["msg"] == "mode of /pause is 'rwx'; an octal number such as 0755 is wanted."


def test_publish_then_check_then_damage(run, tmp_path):
    binaries = []
    for name in ("kubeadm", "kubelet", "kubectl"):
        (tmp_path / name).write_text(name, encoding="utf-8")
        binaries.append({"name": name, "source": str(tmp_path / name), "version": "v1.20.2"})
    (tmp_path / "staging" / "images").mkdir(parents=True)
    run(image_archive, **archive(tmp_path, path=str(tmp_path / "staging" / "images" / "pause.tar")))
    options = {
        "staging": str(tmp_path / "staging"),
        "path": str(tmp_path / "bundle"),
        "kubernetes": "v1.20.2",
        "binaries": binaries,
        "images": [{"reference": "k8s.gcr.io/pause:3.2", "path": "images/pause.tar"}],
        "sources": [{"package": "kubernetes", "version": "1.20.5+really1.20.2"}],
    }
    assert run(bundle_check, path=str(tmp_path / "bundle"))["state"] == "absent"
    assert run(bundle_publish, check_mode=True, **options)["changed"] is True
    assert run(bundle_publish, **options)["changed"] is True
    assert run(bundle_publish, **options)["changed"] is False
    assert run(bundle_check, path=str(tmp_path / "bundle"))["state"] == "intact"
    with open(tmp_path / "bundle" / "images" / "pause.tar", "ab") as stream:
        stream.write(b"x")
    found = run(bundle_check, path=str(tmp_path / "bundle"))
    assert (found["changed"], found["state"]) == (False, "damaged")
    assert "images/pause.tar is damaged" in json.dumps(found["warnings"])
    (tmp_path / "staging").mkdir()
    assert "cannot be put together" in run(bundle_publish, **options)["msg"]


def test_host_requirements(run, tmp_path):
    wanted = {"purpose": "The build", "disk": [{"path": str(tmp_path / "none"), "mib": 1}], "commands": ["sh"]}
    result = run(host_requirements, **wanted)
    assert result["changed"] is False and result["memory_available_mib"] > 0
    assert list(result["disk_free_mib"]) == [str(tmp_path / "none")]
    refused = run(host_requirements, **dict(wanted, disk=[{"path": str(tmp_path), "mib": 10**9}], commands=["no-such-command"]))
    assert refused["failed"] is True and len(refused["problems"]) == 2
    assert "needs 1000000000 MiB free" in refused["msg"] and "no-such-command" in refused["msg"]


def test_host_requirements_in_check_mode_only_warn_about_commands(run):
    result = run(host_requirements, check_mode=True, purpose="The build", commands=["no-such-command"])
    assert "failed" not in result and "no-such-command" in json.dumps(result["warnings"])
