# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Write a container image as a docker-archive that is the same, byte for byte, whenever its content is the same."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import posixpath
import re
import stat
import tarfile
import typing as t

CHUNK = 1024 * 1024
EPOCH = "1970-01-01T00:00:00Z"
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_REFERENCE = re.compile(r"^[a-z0-9][a-z0-9.:-]*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")
# A root file system's own device nodes belong to whoever runs the container.
_NO_MEMBERS = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)


class ImageArchiveError(Exception):
    """Why the image cannot be written, in one sentence."""


@dataclasses.dataclass(frozen=True)
class File:
    """A file of the build machine and its place in the image."""

    source: str
    path: str
    mode: int = 0o755


@dataclasses.dataclass(frozen=True)
class Layer:
    """The members of a tar (may be none), then single files over them."""

    tar: str = ""
    files: t.Tuple[File, ...] = ()
    exclude: t.Tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Image:
    reference: str
    architecture: str
    layers: t.Tuple[Layer, ...]
    entrypoint: t.Tuple[str, ...] = ()
    command: t.Tuple[str, ...] = ()
    environment: t.Tuple[str, ...] = (f"PATH={SEARCH_PATH}",)


@dataclasses.dataclass
class _Entry:
    info: tarfile.TarInfo
    # Where the content is: a path, or the member of the layer's tar.
    path: str = ""
    member: t.Optional[tarfile.TarInfo] = None


class _Hashing(io.RawIOBase):
    """Writes through to a stream and knows the sha256 of everything that went by."""

    def __init__(self, stream: t.BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self._digest = hashlib.sha256()
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: t.Any) -> int:
        self._stream.write(data)
        self._digest.update(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def sha256_of(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _plain(name: str) -> str:
    """A member's name without ./ and slashes around it; empty for the root itself."""
    name = posixpath.normpath(name.lstrip("/"))
    if name == ".." or name.startswith("../"):
        raise ImageArchiveError(f"{name} leads out of the image; a path inside it is wanted.")
    return "" if name == "." else name


def _info(name: str, kind: bytes, mode: int, size: int = 0, linkname: str = "", uid: int = 0, gid: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname, info.uid, info.gid = kind, mode, size, linkname, uid, gid
    info.mtime, info.uname, info.gname = 0, "", ""
    return info


def _excluded(name: str, patterns: t.Sequence[str]) -> bool:
    """A pattern with a slash at its end means what is below a directory, not the directory."""
    for pattern in patterns:
        plain = _plain(pattern)
        if name.startswith(f"{plain}/") or (name == plain and not pattern.endswith("/")):
            return True
    return False


def _members(archive: tarfile.TarFile, layer: Layer) -> t.Dict[str, _Entry]:
    found: t.Dict[str, _Entry] = {}
    hard: t.Dict[str, t.List[str]] = {}
    content: t.Dict[str, tarfile.TarInfo] = {}
    for member in archive:
        name = _plain(member.name)
        if not name or member.type in _NO_MEMBERS:
            continue
        if member.isreg():
            content[name] = member
        if member.islnk():
            target = _plain(member.linkname)
            if target not in content:
                raise ImageArchiveError(f"{layer.tar}: {name} is a hard link to {target}, which is not before it; make the tar again.")
            hard.setdefault(target, []).append(name)
            content[name] = content[target]
            member = content[target]
        if _excluded(name, layer.exclude):
            continue
        info = _info(name, member.type, stat.S_IMODE(member.mode), member.size, member.linkname, member.uid, member.gid)
        # File capabilities travel as extended attributes; every other pax header is about time or names.
        info.pax_headers = {key: value for key, value in member.pax_headers.items() if key.startswith("SCHILY.xattr.")}
        found[name] = _Entry(info, member=member if member.isreg() else None)
    for target, names in hard.items():
        group = sorted(name for name in [target, *names] if name in found)
        # Sorted by name a link could come before its target: the first one holds the content.
        for name in group[1:]:
            found[name] = _Entry(_info(name, tarfile.LNKTYPE, found[name].info.mode, 0, group[0]))
    return found


def _parents(found: t.Dict[str, _Entry], name: str) -> None:
    parent = posixpath.dirname(name)
    if not parent:
        return
    _parents(found, parent)
    if parent not in found:
        found[parent] = _Entry(_info(parent, tarfile.DIRTYPE, 0o755))
    elif not found[parent].info.isdir():
        raise ImageArchiveError(f"{name} cannot be in the image: {parent} is no directory there; name the real path.")


def write_layer(stream: t.BinaryIO, layer: Layer) -> None:
    """One uncompressed layer: sorted names, owners by number, no times."""
    source: t.Optional[tarfile.TarFile] = None
    try:
        found: t.Dict[str, _Entry] = {}
        if layer.tar:
            source = tarfile.open(layer.tar, "r:*")
            found = _members(source, layer)
        for file in layer.files:
            name = _plain(file.path)
            _parents(found, name)
            found[name] = _Entry(_info(name, tarfile.REGTYPE, file.mode, os.stat(file.source).st_size), path=file.source)
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name in sorted(found):
                entry = found[name]
                if entry.path:
                    with open(entry.path, "rb") as content:
                        archive.addfile(entry.info, content)
                elif entry.member is not None and entry.info.isreg() and source is not None:
                    archive.addfile(entry.info, source.extractfile(entry.member))
                else:
                    archive.addfile(entry.info)
    except (OSError, tarfile.TarError) as exc:
        raise ImageArchiveError(f"A layer cannot be written: {exc}.") from exc
    finally:
        if source is not None:
            source.close()


def _json(value: t.Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("utf-8")


def config_of(image: Image, diff_ids: t.Sequence[str]) -> bytes:
    """The image's configuration as container runtimes read it."""
    process: t.Dict[str, t.Any] = {"Env": list(image.environment), "WorkingDir": "/"}
    if image.entrypoint:
        process["Entrypoint"] = list(image.entrypoint)
    if image.command:
        process["Cmd"] = list(image.command)
    return _json(
        {
            "architecture": image.architecture,
            "config": process,
            "created": EPOCH,
            "history": [{"created": EPOCH, "created_by": "baremetal.kubernetes.image_archive"} for dummy in diff_ids],
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in diff_ids]},
        }
    )


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    archive.addfile(_info(name, tarfile.REGTYPE, 0o644, len(data)), io.BytesIO(data))


def write_image(path: str, image: Image) -> t.Tuple[str, str]:
    """Write the archive to path and give back its sha256 and the image's id (the sha256 of its configuration)."""
    if not _REFERENCE.match(image.reference):
        raise ImageArchiveError(f"{image.reference} is no full image reference; registry/name:tag is wanted, such as registry.k8s.io/pause:3.10.")
    if not image.layers:
        raise ImageArchiveError(f"{image.reference} has no layers; at least one is wanted.")
    unfinished: t.List[str] = []
    try:
        diff_ids: t.List[str] = []
        for number, layer in enumerate(image.layers):
            unfinished.append(f"{path}.layer{number}")
            with open(unfinished[-1], "wb") as stream:
                hashing = _Hashing(stream)
                write_layer(t.cast(t.BinaryIO, hashing), layer)
            diff_ids.append(hashing.hexdigest())
        config = config_of(image, diff_ids)
        image_id = hashlib.sha256(config).hexdigest()
        with open(path, "wb") as stream:
            hashing = _Hashing(stream)
            with tarfile.open(fileobj=t.cast(t.BinaryIO, hashing), mode="w", format=tarfile.PAX_FORMAT) as archive:
                for digest, name in zip(diff_ids, unfinished):
                    with open(name, "rb") as content:
                        archive.addfile(_info(digest, tarfile.DIRTYPE, 0o755))
                        archive.addfile(_info(f"{digest}/layer.tar", tarfile.REGTYPE, 0o644, os.stat(name).st_size), content)
                _add_bytes(archive, f"{image_id}.json", config)
                manifest = [{"Config": f"{image_id}.json", "RepoTags": [image.reference], "Layers": [f"{digest}/layer.tar" for digest in diff_ids]}]
                _add_bytes(archive, "manifest.json", _json(manifest))
            stream.flush()
            os.fsync(stream.fileno())
        return hashing.hexdigest(), image_id
    finally:
        for name in unfinished:
            if os.path.lexists(name):
                os.unlink(name)


def ensure_image(path: str, image: Image, check_mode: bool = False) -> t.Dict[str, t.Any]:
    """Leave a file alone that is already what would be written; put a new one in its place in one step otherwise."""
    before = sha256_of(path) if os.path.isfile(path) else ""
    if check_mode:
        sources = [layer.tar for layer in image.layers if layer.tar] + [file.source for layer in image.layers for file in layer.files]
        if any(not os.path.isfile(source) for source in sources):
            # The steps that make them were not taken either.
            return {"changed": True, "sha256": "", "image_id": "", "before": before}
    unfinished = f"{path}.part"
    try:
        sha256, image_id = write_image(unfinished, image)
        changed = sha256 != before
        if changed and not check_mode:
            os.chmod(unfinished, 0o644)
            os.replace(unfinished, path)
    except OSError as exc:
        raise ImageArchiveError(f"{path} cannot be written: {exc}.") from exc
    finally:
        if os.path.lexists(unfinished):
            os.unlink(unfinished)
    return {"changed": changed, "sha256": sha256, "image_id": image_id, "before": before}
