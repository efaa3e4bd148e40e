# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Helm at its place: exactly the pinned one, out of an archive or a bundle that was compared with its checksum first."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tarfile
import zlib
from typing import IO, Callable, Dict, NamedTuple, Optional

from ansible_collections.baremetal.kubernetes.plugins.module_utils._bundle import (
    CHUNK,
    MACHINES,
    MODE,
    BundleError,
    copy_verified,
    parse_manifest,
    sha256_of,
)

# fetch(url) -> the content as a stream
Fetch = Callable[[str], IO[bytes]]


class HelmBinaryError(Exception):
    """Why the pinned Helm cannot be had; the message says what to do."""


class Source(NamedTuple):
    """Where Helm comes from. sha256 is that of the archive, or of the program where it lies in a bundle."""

    path: str
    sha256: str
    version: str
    is_archive: bool


def architecture() -> str:
    """This machine in the words of Helm's archives."""
    return MACHINES.get(platform.machine(), platform.machine())


def from_repository(url: str, version: str, checksums: Dict[str, str], machine: str) -> Source:
    """The archive of the Helm project, or of a mirror."""
    if not checksums.get(machine):
        raise HelmBinaryError(
            f"helm_checksums has no sha256 for {machine}, which this host is; without one nothing is installed."
            f" Add that of helm-v{version}-linux-{machine}.tar.gz from the release notes of Helm {version}."
        )
    return Source(f"{url.rstrip('/')}/helm-v{version}-linux-{machine}.tar.gz", checksums[machine], version, True)


def from_bundle(folder: str, version: str, machine: str) -> Source:
    """bin/helm of an offline bundle, as the bundle's manifest describes it."""
    source = os.path.join(folder, "manifest.json")
    try:
        with open(source, encoding="utf-8") as stream:
            manifest = parse_manifest(stream.read(), source)
    except OSError as error:
        raise HelmBinaryError(
            f"{source} cannot be read ({error.strerror}); copy the bundle to {folder}, or set cluster_bundle_dir."
        ) from error
    except (BundleError, ValueError) as error:
        raise HelmBinaryError(str(error)) from error
    if manifest.architecture != machine:
        raise HelmBinaryError(f"{source} is for {manifest.architecture} and this node is {machine}; bring the bundle for {machine}.")
    for binary in manifest.binaries:
        if binary.name == "helm":
            if binary.version.lstrip("v") != version:
                raise HelmBinaryError(
                    f"{source} has Helm {binary.version} and helm_version is {version};"
                    " set helm_version to that of the bundle, or build it again."
                )
            return Source(os.path.join(folder, binary.path), binary.sha256, version, False)
    raise HelmBinaryError(
        f"{source} lists no binary helm, and charts need one. Put Helm {version} into the bundle as bin/helm and list it among its binaries"
        " with name, path, version and sha256."
    )


class HelmBinary:
    """The program at path, and in stamp the archive it came out of, whose checksum does not tell that of its content."""

    def __init__(self, source: Source, path: str, stamp: str, fetch: Fetch, folder: str) -> None:
        self.source, self.path, self.stamp = source, path, stamp
        self._fetch, self._folder = fetch, folder

    def in_place(self) -> bool:
        """Whether the program is the pinned one, to the last byte."""
        try:
            if os.stat(self.path).st_mode & 0o777 != MODE or os.path.islink(self.path):
                return False
            program = sha256_of(self.path)
            if not self.source.is_archive:
                return program == self.source.sha256
            with open(self.stamp, encoding="utf-8") as stream:
                return bool(json.load(stream) == self._record(program))
        except (OSError, ValueError):
            return False

    def _record(self, program: str) -> Dict[str, str]:
        return {"version": self.source.version, "source_sha256": self.source.sha256, "program_sha256": program}

    def install(self) -> None:
        """Put it there in one step: the program is always the old or the new one, also when this is killed."""
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        unfinished = f"{self.path}.new"
        if self.source.is_archive:
            self._from_archive(unfinished)
        else:
            try:
                copy_verified(self.source.path, unfinished, self.source.sha256)
            except OSError as error:
                raise HelmBinaryError(f"{self.source.path} cannot be copied to {unfinished}: {error}. Is the bundle complete?") from error
            except BundleError as error:
                raise HelmBinaryError(str(error)) from error
        program = sha256_of(unfinished)
        os.replace(unfinished, self.path)
        if not self.source.is_archive:
            return
        os.makedirs(os.path.dirname(self.stamp), exist_ok=True)
        with open(f"{self.stamp}.new", "w", encoding="utf-8") as stream:
            json.dump(self._record(program), stream)
        os.chmod(f"{self.stamp}.new", 0o644)
        os.replace(f"{self.stamp}.new", self.stamp)

    def _from_archive(self, target: str) -> None:
        archive = os.path.join(self._folder, "helm.tar.gz")
        try:
            seen = self._download(archive)
            if seen != self.source.sha256:
                raise HelmBinaryError(
                    f"{self.source.path} has sha256 {seen}, helm_checksums says {self.source.sha256}, and nothing of it was unpacked."
                    " Does helm_checksums belong to helm_version? If it does, do not use this archive: somebody changed it."
                )
            with tarfile.open(archive) as content:
                member = f"linux-{architecture()}/helm"
                found: Optional[IO[bytes]] = content.extractfile(member)
                if found is None:
                    raise KeyError(member)
                with found, open(target, "wb") as out:
                    shutil.copyfileobj(found, out, CHUNK)
                    out.flush()
                    os.fsync(out.fileno())
            os.chmod(target, MODE)
        except (KeyError, tarfile.TarError, EOFError, zlib.error) as error:
            raise HelmBinaryError(
                f"{self.source.path} has the right checksum and no program in it ({error}); is it the archive of Helm for Linux?"
            ) from error
        finally:
            if os.path.exists(archive):
                os.unlink(archive)

    def _download(self, archive: str) -> str:
        digest = hashlib.sha256()
        try:
            with self._fetch(self.source.path) as stream, open(archive, "wb") as out:
                for chunk in iter(lambda: stream.read(CHUNK), b""):
                    digest.update(chunk)
                    out.write(chunk)
        except OSError as error:
            raise HelmBinaryError(
                f"{self.source.path} could not be fetched: {error}."
                " Set helm_url to a mirror that this host reaches, or cluster_artifacts to bundle,"
                " or give the play a proxy in its environment."
            ) from error
        return digest.hexdigest()
