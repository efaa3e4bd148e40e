# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile

import pytest

from ansible_collections.baremetal.kubernetes.plugins.module_utils._image_archive import (
    File,
    Image,
    ImageArchiveError,
    Layer,
    ensure_image,
    write_image,
)


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program"
    path.write_bytes(b"\x7fELF program")
    return str(path)


def make_root(path, reverse=False, mtime=0):
    """A root file system as mmdebstrap writes it: ./ in front, devices, links of both kinds."""
    members = [
        ("./", tarfile.DIRTYPE, "", b""),
        ("./usr/", tarfile.DIRTYPE, "", b""),
        ("./usr/bin/", tarfile.DIRTYPE, "", b""),
        ("./usr/bin/perl5", tarfile.REGTYPE, "", b"perl"),
        ("./usr/bin/perl", tarfile.LNKTYPE, "./usr/bin/perl5", b""),
        ("./bin", tarfile.SYMTYPE, "usr/bin", b""),
        ("./dev/", tarfile.DIRTYPE, "", b""),
        ("./dev/null", tarfile.CHRTYPE, "", b""),
        ("./etc/", tarfile.DIRTYPE, "", b""),
        ("./etc/apt/", tarfile.DIRTYPE, "", b""),
        ("./etc/apt/auth.conf", tarfile.REGTYPE, "", b"secret"),
        ("./etc/aptitude", tarfile.REGTYPE, "", b"kept"),
    ]
    if reverse:
        members = members[:3] + members[5:] + members[3:5]
    with tarfile.open(path, "w") as archive:
        for name, kind, target, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size, info.mtime, info.mode, info.uname = kind, target, len(data), mtime, 0o755, "builder"
            archive.addfile(info, io.BytesIO(data))
    return str(path)


def image(layers, reference="registry.example/a/pause:3.2", **more):
    return Image(reference, "amd64", tuple(layers), **more)


def read(path):
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isreg()}


def layer_members(path, number=0):
    content = read(path)
    name = json.loads(content["manifest.json"])[0]["Layers"][number]
    with tarfile.open(fileobj=io.BytesIO(content[name])) as archive:
        return {member.name: (member, archive.extractfile(member).read() if member.isreg() else b"") for member in archive}


def test_docker_archive_is_consistent(tmp_path, program):
    path = str(tmp_path / "image.tar")
    sha256, image_id = write_image(path, image([Layer(files=(File(program, "/pause"),))], entrypoint=("/pause",), command=("-v",)))

    content = read(path)
    manifest = json.loads(content["manifest.json"])
    assert manifest == [{"Config": f"{image_id}.json", "RepoTags": ["registry.example/a/pause:3.2"], "Layers": manifest[0]["Layers"]}]
    config = json.loads(content[f"{image_id}.json"])
    assert hashlib.sha256(content[f"{image_id}.json"]).hexdigest() == image_id
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(content[name]).hexdigest()}" for name in manifest[0]["Layers"]]
    assert config["config"]["Entrypoint"] == ["/pause"]
    assert config["config"]["Cmd"] == ["-v"]
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    with open(path, "rb") as stream:
        assert hashlib.sha256(stream.read()).hexdigest() == sha256
    assert sorted(os.listdir(tmp_path)) == ["image.tar", "program"]


def test_parents_are_made_and_modes_kept(tmp_path, program):
    path = str(tmp_path / "image.tar")
    write_image(path, image([Layer(files=(File(program, "/usr/local/bin/x", 0o700),))]))
    found = layer_members(path)
    assert list(found) == ["usr", "usr/local", "usr/local/bin", "usr/local/bin/x"]
    member, data = found["usr/local/bin/x"]
    assert (member.mode, member.uid, member.gid, member.mtime, data) == (0o700, 0, 0, 0, b"\x7fELF program")


def test_same_content_gives_the_same_bytes(tmp_path, program):
    first = make_root(tmp_path / "one.tar", mtime=1)
    second = make_root(tmp_path / "two.tar", reverse=True, mtime=99)
    digests = set()
    for tar in (first, second):
        os.utime(program, (len(digests), len(digests)))
        digests.add(write_image(str(tmp_path / "image.tar"), image([Layer(tar=tar), Layer(files=(File(program, "/x"),))])))
    assert len(digests) == 1


def test_root_file_system(tmp_path):
    path = str(tmp_path / "image.tar")
    write_image(path, image([Layer(tar=make_root(tmp_path / "root.tar"), exclude=("etc/apt",))]))
    found = layer_members(path)
    assert list(found) == ["bin", "dev", "etc", "etc/aptitude", "usr", "usr/bin", "usr/bin/perl", "usr/bin/perl5"]
    assert found["bin"][0].linkname == "usr/bin"
    # The content is with the name that comes first, else the link would be dangling when it is unpacked.
    assert found["usr/bin/perl"][1] == b"perl"
    assert (found["usr/bin/perl5"][0].type, found["usr/bin/perl5"][0].linkname) == (tarfile.LNKTYPE, "usr/bin/perl")
    assert {member.uname for member, dummy in found.values()} == {""}


def test_excluded_below_a_directory(tmp_path):
    path = str(tmp_path / "image.tar")
    write_image(path, image([Layer(tar=make_root(tmp_path / "root.tar"), exclude=("etc/apt/", "/usr/"))]))
    assert list(layer_members(path)) == ["bin", "dev", "etc", "etc/apt", "etc/aptitude", "usr"]


def test_excluded_hard_link_target_leaves_the_content(tmp_path):
    path = str(tmp_path / "image.tar")
    write_image(path, image([Layer(tar=make_root(tmp_path / "root.tar"), exclude=("usr/bin/perl5",))]))
    member, data = layer_members(path)["usr/bin/perl"]
    assert member.isreg() and data == b"perl"


def test_layers_keep_their_order(tmp_path, program):
    path = str(tmp_path / "image.tar")
    write_image(path, image([Layer(tar=make_root(tmp_path / "root.tar")), Layer(files=(File(program, "/x"),))]))
    assert "usr/bin/perl" in layer_members(path, 0)
    assert list(layer_members(path, 1)) == ["x"]


@pytest.mark.parametrize("reference", ["pause", "pause:3.2", "registry.example/pause", "Registry/pause:1", "registry.example/pause:", "registry.example//x:1"])
def test_reference_has_to_be_full(tmp_path, program, reference):
    with pytest.raises(ImageArchiveError, match="is no full image reference"):
        write_image(str(tmp_path / "x.tar"), image([Layer(files=(File(program, "/x"),))], reference))


@pytest.mark.parametrize("reference", ["k8s.gcr.io/etcd:3.4.13-0", "localhost:5000/a/b_c:v1", "registry.k8s.io/coredns/coredns:v1.12.1"])
def test_reference_with_registry_and_tag(tmp_path, program, reference):
    write_image(str(tmp_path / "x.tar"), image([Layer(files=(File(program, "/x"),))], reference))
    assert json.loads(read(str(tmp_path / "x.tar"))["manifest.json"])[0]["RepoTags"] == [reference]


def test_refusals(tmp_path, program):
    target = str(tmp_path / "x.tar")
    with pytest.raises(ImageArchiveError, match="has no layers"):
        write_image(target, image([]))
    with pytest.raises(ImageArchiveError, match="leads out of the image"):
        write_image(target, image([Layer(files=(File(program, "../x"),))]))
    with pytest.raises(ImageArchiveError, match="bin/x cannot be in the image: bin is no directory there"):
        write_image(target, image([Layer(tar=make_root(tmp_path / "root.tar"), files=(File(program, "/bin/x"),))]))
    with pytest.raises(ImageArchiveError, match="A layer cannot be written: .*gone"):
        write_image(target, image([Layer(files=(File(str(tmp_path / "gone"), "/x"),))]))
    assert sorted(os.listdir(tmp_path)) == ["program", "root.tar"]


def test_ensure_image_writes_once(tmp_path, program):
    path = str(tmp_path / "image.tar")
    wanted = image([Layer(files=(File(program, "/x"),))])
    assert ensure_image(path, wanted, check_mode=True)["changed"] is True
    assert not os.path.exists(path)
    first = ensure_image(path, wanted)
    stamp = os.stat(path).st_mtime_ns, os.stat(path).st_ino
    assert first["changed"] is True
    assert ensure_image(path, wanted)["changed"] is False
    assert ensure_image(path, wanted, check_mode=True)["changed"] is False
    assert (os.stat(path).st_mtime_ns, os.stat(path).st_ino) == stamp

    with open(path, "r+b") as stream:
        stream.seek(600)
        stream.write(b"!")
    assert ensure_image(path, wanted, check_mode=True)["changed"] is True
    again = ensure_image(path, wanted)
    assert (again["changed"], again["sha256"]) == (True, first["sha256"])
    assert sorted(os.listdir(tmp_path)) == ["image.tar", "program"]


def test_check_mode_before_anything_was_built(tmp_path):
    wanted = image([Layer(tar=str(tmp_path / "root.tar"), files=(File(str(tmp_path / "gone"), "/x"),))])
    assert ensure_image(str(tmp_path / "none" / "image.tar"), wanted, check_mode=True)["changed"] is True
    assert os.listdir(tmp_path) == []
