# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bundle_install against a bundle in a temporary directory and a scripted containerd."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import stat
import subprocess
import sys

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _bundle
from ansible_collections.baremetal.kubernetes.plugins.modules import bundle_install

ARCHITECTURE = _bundle.MACHINES.get(platform.machine(), platform.machine())
IMAGES = ["k8s.gcr.io/kube-proxy:v1.20.2", "k8s.gcr.io/pause:3.2"]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Containerd:
    """The ctr of a node: which images there are, and what each call was."""

    def __init__(self, present=(), running=True, kubelet_version=None, import_rc=0, forgets=False):
        self.present = list(present)
        self.running = running
        self.kubelet_version = kubelet_version
        self.import_rc = import_rc
        self.forgets = forgets
        self.calls = []

    def __call__(self, argv, timeout=None):
        assert timeout, "every command has a time limit"
        self.calls.append(argv)
        if argv[-1] == "--version":
            if self.kubelet_version is None:
                raise OSError(8, "Exec format error")
            return 0, f"Kubernetes {self.kubelet_version}\n", ""
        assert argv[:6] == ["ctr", "--address", "/run/containerd/containerd.sock", "--namespace", "k8s.io", "images"]
        if not self.running:
            return 1, "", 'ctr: failed to dial "/run/containerd/containerd.sock": connection refused\n'
        if argv[6:] == ["ls", "-q"]:
            return 0, "".join(f"{ref}\n" for ref in self.present), ""
        assert argv[6] == "import"
        if self.import_rc:
            return self.import_rc, "", "ctr: no space left on device\n"
        with open(argv[7], encoding="utf-8") as stream:
            ref = stream.read().split()[1]
        if not self.forgets:
            self.present.append(ref)
        return 0, f"unpacking {ref}...done\n", ""

    def verbs(self):
        return [" ".join(argv[6:8]) if argv[0] == "ctr" else f"{os.path.basename(argv[0])} --version" for argv in self.calls]


class Bundle:
    """A bundle on disk, and the places of the node it is installed to."""

    def __init__(self, tmp_path, version="v1.20.2"):
        self.root = tmp_path / "bundle"
        self.bin_dir = tmp_path / "bin"
        self.stamp = tmp_path / "share" / "bundle.json"
        self.member_file = tmp_path / "kubelet.conf"
        for name in ("bin", "images"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.manifest = {"schema": 1, "kubernetes": version, "architecture": ARCHITECTURE, "binaries": [], "images": [], "sources": []}
        for name in ("kubeadm", "kubelet", "kubectl"):
            data = f"{name} {version}\n".encode() * 40000
            (self.root / "bin" / name).write_bytes(data)
            self.manifest["binaries"].append({"name": name, "path": f"bin/{name}", "sha256": sha256(data), "version": version})
        for ref in IMAGES:
            data = f"image {ref} layers".encode()
            path = f"images/{ref.rsplit('/', maxsplit=1)[-1].split(':', maxsplit=1)[0]}.tar"
            (self.root / path).write_bytes(data)
            self.manifest["images"].append({"ref": ref, "path": path, "sha256": sha256(data)})
        self.write()

    def write(self):
        (self.root / "manifest.json").write_text(json.dumps(self.manifest), encoding="utf-8")

    def arguments(self, **more):
        return {
            "path": str(self.root),
            "bin_dir": str(self.bin_dir),
            "stamp": str(self.stamp),
            "member_file": str(self.member_file),
            "version": "1.20.2",
            **more,
        }

    def wanted(self, name):
        return (self.root / "bin" / name).read_bytes()


@pytest.fixture
def bundle(tmp_path):
    return Bundle(tmp_path)


@pytest.fixture
def run(capsys):
    def call(arguments, containerd, check=False, fails=False):
        with patch_module_args({**arguments, "_ansible_check_mode": check}):
            with pytest.raises(SystemExit) as stopped:
                bundle_install.main(containerd)
        result = json.loads(capsys.readouterr().out)
        assert bool(stopped.value.code) is fails, result
        assert bool(result.get("failed")) is fails, result
        return result

    return call


def listing(directory):
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


# ---- first run, second run, check mode


def test_check_install_check_again(bundle, run):
    containerd = Containerd(present=[IMAGES[1]])
    result = run(bundle.arguments(), containerd, check=True)
    assert result["changed"] is True
    assert listing(bundle.bin_dir) == [] and not bundle.stamp.exists()
    assert [entry["state"] for entry in result["images"]] == ["missing", "present"]
    assert f"{bundle.bin_dir}/kubelet: absent\n" in result["diff"]["before"]
    assert f"image {IMAGES[0]}: imported\n" in result["diff"]["after"]
    assert containerd.verbs() == ["ls -q"]

    containerd.calls.clear()
    result = run(bundle.arguments(), containerd)
    assert result["changed"] is True
    assert result["kubernetes"] == "v1.20.2" and result["member"] is False
    assert listing(bundle.bin_dir) == ["kubeadm", "kubectl", "kubelet"]
    for name in listing(bundle.bin_dir):
        assert (bundle.bin_dir / name).read_bytes() == bundle.wanted(name)
        assert stat.S_IMODE(os.stat(bundle.bin_dir / name).st_mode) == 0o755
    assert [entry["state"] for entry in result["images"]] == ["imported", "present"]
    assert result["images"][0]["bytes"] > 0 and "seconds" in result["images"][0]
    assert containerd.verbs() == ["ls -q", f"import {bundle.root}/images/kube-proxy.tar", "ls -q"]

    for check in (True, False):
        containerd.calls.clear()
        stamp = os.stat(bundle.stamp).st_mtime_ns
        result = run(bundle.arguments(), containerd, check=check)
        assert result["changed"] is False
        assert result["diff"]["before"] == result["diff"]["after"] == ""
        assert not any(entry["changed"] for entry in result["binaries"])
        assert containerd.verbs() == ["ls -q"]
        assert os.stat(bundle.stamp).st_mtime_ns == stamp


def test_nothing_to_do_hashes_nothing(bundle, run, monkeypatch):
    containerd = Containerd()
    run(bundle.arguments(), containerd)
    monkeypatch.setattr(_bundle, "sha256_of", lambda path: pytest.fail(f"{path} was hashed"))
    assert run(bundle.arguments(), containerd)["changed"] is False


def test_full_hashes_every_binary(bundle, run, monkeypatch):
    containerd = Containerd()
    run(bundle.arguments(), containerd)
    hashed = []
    real = _bundle.sha256_of
    monkeypatch.setattr(_bundle, "sha256_of", lambda path: hashed.append(os.path.basename(path)) or real(path))
    assert run(bundle.arguments(verify="full"), containerd)["changed"] is False
    assert hashed == ["kubeadm", "kubelet", "kubectl"]


def test_without_stamp_the_content_decides(bundle, run):
    containerd = Containerd()
    run(bundle.arguments(), containerd)
    bundle.stamp.write_text("{ cut sho", encoding="utf-8")
    inode = os.stat(bundle.bin_dir / "kubelet").st_ino
    assert run(bundle.arguments(), containerd)["changed"] is False
    assert os.stat(bundle.bin_dir / "kubelet").st_ino == inode
    assert json.loads(bundle.stamp.read_text(encoding="utf-8"))["kubernetes"] == "v1.20.2"


# ---- drift


def same_size_and_time(path):
    before = os.stat(path)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def to_link(path):
    path.unlink()
    path.symlink_to("/bin/true")


@pytest.mark.parametrize(
    "drift",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        same_size_and_time,
        to_link,
    ],
    ids=["deleted", "emptied", "cut short", "one bit, old size and mtime", "exchanged for a link"],
)
@pytest.mark.parametrize("member", [False, True], ids=["new node", "member"])
def test_drift_of_a_binary_is_found_and_mended(bundle, run, drift, member):
    containerd = Containerd()
    run(bundle.arguments(), containerd)
    if member:
        bundle.member_file.touch()
    drift(bundle.bin_dir / "kubelet")
    result = run(bundle.arguments(), containerd, check=True)
    assert [entry["name"] for entry in result["binaries"] if entry["changed"]] == ["kubelet"]
    result = run(bundle.arguments(), containerd)
    assert result["changed"] is True and result["member"] is member
    assert [entry["name"] for entry in result["binaries"] if entry["changed"]] == ["kubelet"]
    assert (bundle.bin_dir / "kubelet").read_bytes() == bundle.wanted("kubelet")
    assert not (bundle.bin_dir / "kubelet").is_symlink()
    assert run(bundle.arguments(), containerd)["changed"] is False


def test_mode_is_mended_without_a_copy(bundle, run):
    containerd = Containerd()
    run(bundle.arguments(), containerd)
    target = bundle.bin_dir / "kubectl"
    inode = os.stat(target).st_ino
    target.chmod(0o644)
    result = run(bundle.arguments(), containerd)
    assert result["changed"] is True
    assert (os.stat(target).st_ino, stat.S_IMODE(os.stat(target).st_mode)) == (inode, 0o755)
    assert run(bundle.arguments(), containerd)["changed"] is False


def test_removed_image_comes_back(bundle, run):
    containerd = Containerd()
    run(bundle.arguments(), containerd)
    containerd.present.remove(IMAGES[1])
    result = run(bundle.arguments(), containerd)
    assert [entry["state"] for entry in result["images"]] == ["present", "imported"]
    assert IMAGES[1] in containerd.present


def test_killed_between_binaries_and_stamp(bundle, run, monkeypatch):
    containerd = Containerd()
    monkeypatch.setattr(_bundle, "write_stamp", lambda *args: (dummy for dummy in ()).throw(OSError("killed")))
    run(bundle.arguments(), containerd, fails=True)
    monkeypatch.undo()
    (bundle.bin_dir / ".kubelet.unfinished").write_bytes(b"half")
    inode = os.stat(bundle.bin_dir / "kubelet").st_ino
    result = run(bundle.arguments(), containerd)
    assert [entry["state"] for entry in result["images"]] == ["imported", "imported"]
    assert os.stat(bundle.bin_dir / "kubelet").st_ino == inode
    (bundle.bin_dir / "kubelet").unlink()
    run(bundle.arguments(), containerd)
    assert listing(bundle.bin_dir) == ["kubeadm", "kubectl", "kubelet"]


# ---- versions


def test_another_version_replaces_on_a_new_node(bundle, run, tmp_path):
    containerd = Containerd(kubelet_version="v1.20.2")
    run(bundle.arguments(), containerd)
    newer = Bundle(tmp_path, "v1.21.0")
    result = run(newer.arguments(version="v1.21.0"), containerd)
    assert all(entry["changed"] for entry in result["binaries"])


@pytest.mark.parametrize("damage", [None, "deleted", "stamp lost"])
def test_another_version_is_refused_on_a_member(bundle, run, tmp_path, damage):
    containerd = Containerd(kubelet_version="v1.20.2")
    run(bundle.arguments(), containerd)
    bundle.member_file.touch()
    if damage == "deleted":
        (bundle.bin_dir / "kubelet").unlink()
    if damage == "stamp lost":
        bundle.stamp.unlink()
    newer = Bundle(tmp_path, "v1.21.0")
    result = run(newer.arguments(version="1.21.0"), containerd, fails=True)
    assert "kubelet 1.20.2 and the bundle holds 1.21.0" in result["msg"]
    assert "upgrades are not part of this release" in result["msg"]
    assert b"v1.20.2" in (bundle.bin_dir / "kubeadm").read_bytes()


def test_wanted_version_is_another(bundle, run):
    result = run(bundle.arguments(version="1.36.4"), Containerd(), fails=True)
    assert result["msg"] == (
        f"{bundle.root}/manifest.json holds Kubernetes v1.20.2 and 1.36.4 is wanted; " "set cluster_kubernetes_version to 1.20.2 or bring the other bundle."
    )
    assert listing(bundle.bin_dir) == []


# ---- what is refused


def test_corrupt_binary_leaves_nothing(bundle, run):
    data = (bundle.root / "bin" / "kubectl").read_bytes()
    (bundle.root / "bin" / "kubectl").write_bytes(data[:-1] + b"x")
    for check in (True, False):
        result = run(bundle.arguments(), Containerd(), check=check, fails=True)
        assert f"{bundle.root}/bin/kubectl is corrupt: its sha256 is" in result["msg"]
        assert listing(bundle.bin_dir) == []


def test_corrupt_image_is_named_and_nothing_is_done(bundle, run):
    (bundle.root / "images" / "pause.tar").write_bytes(b"other")
    containerd = Containerd()
    for check in (True, False):
        result = run(bundle.arguments(), containerd, check=check, fails=True)
        assert f"{bundle.root}/images/pause.tar is corrupt: its sha256 is {sha256(b'other')}" in result["msg"]
    assert containerd.present == [] and listing(bundle.bin_dir) == []


def test_file_of_the_manifest_is_not_there(bundle, run):
    (bundle.root / "bin" / "kubeadm").unlink()
    assert "is listed in the bundle's manifest and is not there" in run(bundle.arguments(), Containerd(), fails=True)["msg"]


def test_link_out_of_the_bundle(bundle, run):
    (bundle.root / "bin" / "kubeadm").unlink()
    (bundle.root / "bin" / "kubeadm").symlink_to("/bin/true")
    assert "outside of the bundle" in run(bundle.arguments(), Containerd(), fails=True)["msg"]


def test_no_bundle(bundle, run):
    (bundle.root / "manifest.json").unlink()
    assert "manifest.json is not on this node; copy the bundle there" in run(bundle.arguments(), Containerd(), fails=True)["msg"]


def test_containerd_down(bundle, run):
    result = run(bundle.arguments(), Containerd(running=False), fails=True)
    assert "does not list its images (ctr: failed to dial" in result["msg"] and "systemctl status containerd" in result["msg"]
    result = run(bundle.arguments(), Containerd(running=False), check=True)
    assert [entry["state"] for entry in result["images"]] == ["missing", "missing"]
    assert any("count as missing" in str(warning) for warning in result["warnings"])


def test_import_fails(bundle, run):
    result = run(bundle.arguments(), Containerd(import_rc=1), fails=True)
    assert "Importing k8s.gcr.io/kube-proxy:v1.20.2 from" in result["msg"] and "no space left on device" in result["msg"]
    assert "0 of 2 images were imported before" in result["msg"]


def test_tar_holds_another_name(bundle, run):
    assert "was imported and containerd still has no k8s.gcr.io/kube-proxy:v1.20.2" in run(bundle.arguments(), Containerd(forgets=True), fails=True)["msg"]


def test_no_room(bundle, run, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((4096, 4096, 1, 1, 1, 1, 1, 1, 0, 255)))
    assert "has 0 MiB free and the binaries need" in run(bundle.arguments(), Containerd(), fails=True)["msg"]


def test_image_filter(bundle, run):
    containerd = Containerd()
    result = run(bundle.arguments(images=["*/pause:*"]), containerd)
    assert [entry["ref"] for entry in result["images"]] == [IMAGES[1]]
    assert containerd.present == [IMAGES[1]]
    assert "images: coredns is in no image of the bundle" in run(bundle.arguments(images=["coredns"]), containerd, fails=True)["msg"]


def test_without_images_containerd_is_not_asked(bundle, run):
    containerd = Containerd(running=False)
    assert run(bundle.arguments(import_images=False), containerd)["images"] == []
    assert containerd.calls == []


def test_missing_programs(bundle, run):
    programs = ["sh", "no-such-program", "/bin/sh", "/no/such/plugin"]
    assert run(bundle.arguments(programs=programs), Containerd())["missing_programs"] == ["no-such-program", "/no/such/plugin"]


def test_socket_with_scheme(bundle, run):
    run(bundle.arguments(address="unix:///run/containerd/containerd.sock"), Containerd())


def set_in(path, value):
    def change(manifest):
        place = manifest
        for key in path[:-1]:
            place = place[key]
        if value is KeyError:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in(["schema"], 2), "schema is 2, this release of the collection reads schema 1"),
        (set_in(["schema"], True), "schema is True"),
        (set_in(["kubernetes"], "1.20"), "kubernetes is '1.20', it has to be a version such as"),
        (set_in(["kubernetes"], KeyError), "kubernetes is None"),
        (set_in(["architecture"], "sparc"), "is for sparc and this node is"),
        (set_in(["binaries"], {}), "binaries is dict, it has to be a list"),
        (set_in(["binaries", 0], "kubelet"), "binaries[0] is str, it has to be a mapping"),
        (set_in(["binaries", 0, "name"], "../kubelet"), "binaries[0].name is '../kubelet', it has to be a plain file name"),
        (set_in(["binaries", 0, "name"], "kubelet"), "binary kubelet is listed twice"),
        (set_in(["binaries", 0, "name"], "other"), "lists no kubeadm"),
        (set_in(["binaries", 0, "path"], "../../etc/shadow"), "has to be a path below the bundle's own directory"),
        (set_in(["binaries", 0, "path"], "/etc/shadow"), "has to be a path below the bundle's own directory"),
        (set_in(["binaries", 0, "sha256"], "abc"), "binaries[0].sha256 is 'abc', it has to be 64"),
        (set_in(["binaries", 0, "version"], "v1.20.3"), "kubeadm is v1.20.3 and the bundle is v1.20.2"),
        (set_in(["images", 1, "ref"], IMAGES[0]), f"image {IMAGES[0]} is listed twice"),
        (set_in(["images", 1, "ref"], "pause"), "has to be a full image reference"),
        (set_in(["images", 1, "ref"], "--help"), "has to be a full image reference"),
        (set_in(["images", 1, "sha256"], None), "images[1].sha256 is None"),
    ],
)
def test_manifest_is_refused(bundle, run, change, message):
    change(bundle.manifest)
    bundle.write()
    result = run(bundle.arguments(), Containerd(), fails=True)
    assert message in result["msg"] and "manifest.json" in result["msg"]
    assert listing(bundle.bin_dir) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 1'])
def test_manifest_is_no_manifest(bundle, run, text):
    (bundle.root / "manifest.json").write_text(text, encoding="utf-8")
    assert "manifest.json" in run(bundle.arguments(), Containerd(), fails=True)["msg"]


def test_memory_stays_small(tmp_path):
    """A copy of 200 MiB in a process that may not have more than 50 MiB of resident memory."""
    source = tmp_path / "source"
    digest = hashlib.sha256()
    with open(source, "wb") as stream:
        for dummy in range(200):
            chunk = bytes(1024 * 1024)
            digest.update(chunk)
            stream.write(chunk)
    program = (
        "import sys\n"
        "from ansible_collections.baremetal.kubernetes.plugins.module_utils._bundle import copy_verified, sha256_of\n"
        "copy_verified(sys.argv[1], sys.argv[2], sys.argv[3])\n"
        "assert sha256_of(sys.argv[2]) == sys.argv[3]\n"
        # Not ru_maxrss: that begins with the memory of the process that started this one.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM:')))\n"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
    done = subprocess.run(
        [sys.executable, "-c", program, str(source), str(tmp_path / "target"), digest.hexdigest()], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 50 * 1024, f"{int(done.stdout) // 1024} MiB resident, less than 50 MiB wanted"
