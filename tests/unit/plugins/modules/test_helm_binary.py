# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module helm_binary against archives that the test makes and serves itself."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _helm_binary
from ansible_collections.baremetal.kubernetes.plugins.modules import helm_binary

PROGRAM = b"#!/bin/sh\necho helm\n"


def archive(member="linux-amd64/helm", content=PROGRAM):
    stream = io.BytesIO()
    # gzip's header has the time: the archive would have another checksum a second later
    with gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in (("linux-amd64/README.md", b"text"), (member, content)):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, folder):
        self.asked = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *args):
                self.server.asked.append(self.path)

        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture(name="place")
def fixture_place(tmp_path, monkeypatch):
    """A served archive, and where its program goes."""
    monkeypatch.setattr(_helm_binary.platform, "machine", lambda: "x86_64")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "helm-v3.21.4-linux-amd64.tar.gz").write_bytes(archive())
    server = Server(tmp_path / "served")
    tmp_path.joinpath("admin.conf").write_text("x")
    options = {
        "version": "3.21.4",
        "checksums": {"amd64": sha256(archive())},
        "url": f"http://127.0.0.1:{server.server_address[1]}",
        "path": str(tmp_path / "bin" / "helm"),
        "stamp": str(tmp_path / "share" / "helm.json"),
        "kubeconfig": str(tmp_path / "admin.conf"),
    }
    yield tmp_path, server, options
    server.shutdown()
    server.server_close()


@pytest.fixture(name="run")
def fixture_run(place, capsys):
    """Run the module: (whether it succeeded, its result)."""

    def run(check=False, **options):
        with patch_module_args({**place[2], **options, "_ansible_check_mode": check}), pytest.raises(SystemExit) as done:
            helm_binary.main()
        return done.value.code == 0, json.loads(capsys.readouterr().out)

    return run


def test_fetched_once_and_compared_in_every_run(place, run):
    folder, server, options = place
    helm = folder / "bin" / "helm"
    ok, result = run(True)
    assert (ok, result["changed"], result["ready"], helm.exists(), server.asked) == (True, True, False, False, [])
    ok, result = run()
    assert (ok, result["changed"], result["ready"]) == (True, True, True)
    assert helm.read_bytes() == PROGRAM and helm.stat().st_mode & 0o777 == 0o755
    assert result["source"] == f"{options['url']}/helm-v3.21.4-linux-amd64.tar.gz"
    for check in (True, False):
        assert run(check)[1]["changed"] is False
    assert len(server.asked) == 1
    assert sorted(path.name for path in helm.parent.iterdir()) == ["helm"]


@pytest.mark.parametrize("drift", ["content", "mode", "stamp", "link"])
def test_what_is_not_the_pinned_one_any_more_is_put_back(place, run, drift):
    folder = place[0]
    run()
    helm = folder / "bin" / "helm"
    if drift == "content":
        helm.write_bytes(PROGRAM + b"\n")
    elif drift == "mode":
        helm.chmod(0o777)
    elif drift == "stamp":
        (folder / "share" / "helm.json").write_text("{")
    else:
        helm.rename(folder / "elsewhere")
        helm.symlink_to(folder / "elsewhere")
    assert run(True)[1]["changed"] is True
    assert run()[1]["changed"] is True
    assert helm.read_bytes() == PROGRAM and not helm.is_symlink() and helm.stat().st_mode & 0o777 == 0o755
    assert run()[1]["changed"] is False


def test_another_archive_is_not_unpacked(place, run):
    folder = place[0]
    run()
    ok, result = run(checksums={"amd64": "0" * 64})
    assert not ok and f"has sha256 {sha256(archive())}, helm_checksums says {'0' * 64}" in result["msg"]
    assert (folder / "bin" / "helm").read_bytes() == PROGRAM
    assert sorted(path.name for path in (folder / "bin").iterdir()) == ["helm"]


def test_another_version_with_the_old_checksum_is_noticed(place, run):
    """The remembered checksum still fits; that the wanted version is another one must count."""
    run()
    folder = place[0]
    (folder / "served" / "helm-v3.22.0-linux-amd64.tar.gz").write_bytes(archive(content=b"new"))
    ok, result = run(version="3.22.0")
    assert not ok and "Does helm_checksums belong to helm_version?" in result["msg"]


@pytest.mark.parametrize("content", [archive("linux-arm64/helm"), b"no archive", archive()[:60]])
def test_an_archive_without_the_program_is_refused(place, run, content):
    (place[0] / "served" / "helm-v3.21.4-linux-amd64.tar.gz").write_bytes(content)
    ok, result = run(checksums={"amd64": sha256(content)})
    assert not ok and "no program in it" in result["msg"]
    assert not (place[0] / "bin" / "helm").exists()


def test_an_archive_that_cannot_be_fetched_says_what_to_do(run):
    for options, words in (({"version": "9.9.9"}, "404"), ({"url": "http://127.0.0.1:1"}, "refused")):
        ok, result = run(**options)
        assert not ok and words in result["msg"] and "Set helm_url to a mirror" in result["msg"]


def test_an_architecture_without_checksum_is_refused(run, monkeypatch):
    monkeypatch.setattr(_helm_binary.platform, "machine", lambda: "aarch64")
    ok, result = run()
    assert not ok and "helm_checksums has no sha256 for arm64" in result["msg"]


def test_what_else_is_missing_is_told(run, monkeypatch, tmp_path):
    assert run(kubeconfig=str(tmp_path / "none"))[1]["ready"] is False
    monkeypatch.setattr(helm_binary, "find_spec", lambda name: None)
    for dnf, package in (("/usr/bin/dnf", "python3-pyyaml"), (None, "python3-yaml")):
        monkeypatch.setattr(helm_binary, "which", lambda name, dnf=dnf: dnf)
        result = run()[1]
        assert (result["ready"], result["packages"]) == (False, [package])


@pytest.fixture(name="bundle")
def fixture_bundle(tmp_path):
    """A bundle with Helm in it, and its manifest."""
    folder = tmp_path / "bundle"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "helm").write_bytes(PROGRAM)
    binary = {"name": "helm", "path": "bin/helm", "sha256": sha256(PROGRAM), "version": "v3.21.4"}
    others = [{"name": name, "path": f"bin/{name}", "sha256": "0" * 64, "version": "v1.36.4"} for name in ("kubeadm", "kubelet", "kubectl")]
    manifest = {"schema": 1, "kubernetes": "v1.36.4", "architecture": "amd64", "binaries": [*others, binary], "images": []}

    def write(**changed):
        (folder / "manifest.json").write_text(json.dumps({**manifest, **changed}))
        return folder

    write.binary, write.others = binary, others
    write()
    return write


def test_out_of_a_bundle(place, run, bundle):
    ok, result = run(bundle=str(bundle()), checksums={})
    assert (ok, result["changed"], result["source"]) == (True, True, f"{bundle()}/bin/helm")
    helm = place[0] / "bin" / "helm"
    assert helm.read_bytes() == PROGRAM and helm.stat().st_mode & 0o777 == 0o755
    # what a bundle's manifest says is enough: module bundle_install may have put it there
    assert not (place[0] / "share").exists()
    for check in (True, False):
        assert run(check, bundle=str(bundle()))[1]["changed"] is False
    helm.write_bytes(b"other")
    assert run(bundle=str(bundle()))[1]["changed"] is True
    assert helm.read_bytes() == PROGRAM
    assert place[1].asked == []


def test_a_bundle_that_is_not_as_its_manifest_says_is_refused(place, run, bundle):
    folder = bundle()
    (folder / "bin" / "helm").write_bytes(b"other")
    ok, result = run(bundle=str(folder))
    assert not ok and "corrupt" in result["msg"] and list((place[0] / "bin").iterdir()) == []
    (folder / "bin" / "helm").unlink()
    ok, result = run(bundle=str(folder))
    assert not ok and "Is the bundle complete?" in result["msg"]
    for changed, words in (
        ({"architecture": "arm64"}, "is for arm64 and this node is amd64"),
        ({"binaries": bundle.others}, "lists no binary helm"),
        ({"binaries": [*bundle.others, {**bundle.binary, "version": "v3.20.0"}]}, "has Helm v3.20.0 and helm_version is 3.21.4"),
        ({"schema": 2}, "schema is 2"),
    ):
        ok, result = run(bundle=str(bundle(**changed)))
        assert not ok and words in result["msg"]
    (folder / "manifest.json").unlink()
    assert "manifest.json cannot be read" in run(bundle=str(folder))[1]["msg"]
