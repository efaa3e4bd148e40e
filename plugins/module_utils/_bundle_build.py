# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""An offline bundle on the machine that builds it: is it whole, and how does it appear."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.module_utils._bundle import SCHEMA, BundleError, read_manifest, sha256_of

MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Program:
    name: str
    source: str
    version: str


@dataclasses.dataclass(frozen=True)
class Archive:
    reference: str
    # Below the bundle, where it was written.
    path: str


def check(path: str) -> t.Dict[str, t.Any]:
    """absent, intact or damaged, and everything that is wrong with it."""
    if not os.path.lexists(os.path.join(path, MANIFEST)):
        return {"state": "absent", "problems": [], "files": []}
    try:
        manifest = read_manifest(path)
    except BundleError as exc:
        return {"state": "damaged", "problems": [str(exc)], "files": [os.path.join(path, MANIFEST)]}
    problems, files = [], []
    for entry in [*manifest.binaries, *manifest.images]:
        full = os.path.join(path, entry.path)
        try:
            seen = sha256_of(full)
        except OSError as exc:
            problems.append(f"{full} cannot be read ({exc.strerror or exc}).")
            files.append(full)
            continue
        if seen != entry.sha256:
            problems.append(f"{full} is damaged: its sha256 is {seen}, the manifest says {entry.sha256}.")
            files.append(full)
    return {"state": "damaged" if problems else "intact", "problems": problems, "files": files}


def _fsync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy(source: str, target: str) -> None:
    shutil.copyfile(source, target)
    os.chmod(target, 0o755)
    _fsync(target)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def publish(
    staging: str,
    path: str,
    kubernetes: str,
    architecture: str,
    programs: t.Sequence[Program],
    images: t.Sequence[Archive],
    sources: t.Sequence[t.Mapping[str, str]],
    check_mode: bool = False,
) -> t.Dict[str, t.Any]:
    """Put the programs next to the images in staging, write the manifest and rename the whole to path."""
    found = check(path)
    if not os.path.isdir(staging) and found["state"] == "intact":
        return {"changed": False, "bytes": 0}
    if check_mode:
        return {"changed": True, "bytes": 0}
    try:
        os.makedirs(os.path.join(staging, "bin"), exist_ok=True)
        document: t.Dict[str, t.Any] = {"schema": SCHEMA, "kubernetes": kubernetes, "architecture": architecture, "binaries": [], "images": []}
        size = 0
        for program in programs:
            relative = f"bin/{program.name}"
            target = os.path.join(staging, relative)
            _copy(program.source, target)
            size += os.path.getsize(target)
            document["binaries"].append({"name": program.name, "path": relative, "sha256": sha256_of(target), "version": program.version})
        for image in images:
            full = os.path.join(staging, image.path)
            size += os.path.getsize(full)
            document["images"].append({"ref": image.reference, "path": image.path, "sha256": sha256_of(full)})
        document["sources"] = [dict(source) for source in sources]
        listed = {entry["path"] for entry in document["binaries"] + document["images"]}
        # What an earlier build left in staging is no part of this bundle.
        for directory, dummy, files in os.walk(staging):
            for name in files:
                full = os.path.join(directory, name)
                if os.path.relpath(full, staging) not in listed:
                    os.unlink(full)
        target = os.path.join(staging, MANIFEST)
        with open(target, "w", encoding="utf-8") as stream:
            json.dump(document, stream, indent=1)
            stream.write("\n")
        _fsync(target)
        read_manifest(staging)
        # A damaged bundle goes away in one step too, whoever reads it meanwhile.
        old = f"{path}.old"
        _remove(old)
        if os.path.lexists(path):
            os.rename(path, old)
        os.rename(staging, path)
        _fsync(os.path.dirname(path))
        _remove(old)
    except OSError as exc:
        raise BundleError(f"The bundle {path} cannot be put together: {exc}.") from exc
    return {"changed": True, "bytes": size}
