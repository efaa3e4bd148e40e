# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""An offline bundle on the node: its manifest, its binaries in a directory of the search path, its images in containerd."""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import json
import os
import platform
import re
import stat
import time
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import SEARCH_PATH, Runner

SCHEMA = 1
REQUIRED = ("kubeadm", "kubelet", "kubectl")
MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}

# Kernel buffers of one MiB keep the memory of the module small whatever the size of a binary or an image.
CHUNK = 1024 * 1024
MODE = 0o755
LIST_SECONDS = 120.0
IMPORT_SECONDS = 1800.0

_SHA256 = re.compile(r"^[0-9a-f]{64}$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
_VERSION = re.compile(r"^v?(\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?)$")
_REFERENCE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:/-]*(?::[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$")


class BundleError(Exception):
    """Why the bundle was refused, in one sentence for the person who runs the play."""


@dataclasses.dataclass(frozen=True)
class Binary:
    name: str
    path: str
    sha256: str
    version: str


@dataclasses.dataclass(frozen=True)
class Image:
    ref: str
    path: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    kubernetes: str
    architecture: str
    binaries: t.Tuple[Binary, ...]
    images: t.Tuple[Image, ...]


@dataclasses.dataclass(frozen=True)
class Options:
    path: str
    bin_dir: str
    version: str
    import_images: bool
    images: t.Tuple[str, ...]
    namespace: str
    address: str
    verify: str
    stamp: str
    member_file: str
    programs: t.Tuple[str, ...]


def plain_version(text: str) -> str:
    """1.20.2 for both v1.20.2 and 1.20.2; empty when it is neither."""
    match = _VERSION.match(text.strip())
    return match.group(1) if match else ""


# --------------------------------------------------------------------------------------------------------------------
# The manifest


def _text(entry: t.Mapping[str, t.Any], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise BundleError(f"{where}.{key} is {value!r}, it has to be a text that is not empty.")
    return value


def _inside(value: str, where: str) -> str:
    if os.path.isabs(value) or ".." in value.split("/") or os.path.normpath(value) in ("", "."):
        raise BundleError(f"{where}.path is {value!r}, it has to be a path below the bundle's own directory.")
    return os.path.normpath(value)


def _digest(entry: t.Mapping[str, t.Any], where: str) -> str:
    value = _text(entry, "sha256", where)
    if not _SHA256.match(value):
        raise BundleError(f"{where}.sha256 is {value!r}, it has to be 64 lower-case hexadecimal digits.")
    return value


def _entries(document: t.Mapping[str, t.Any], key: str, source: str) -> t.List[t.Tuple[str, t.Mapping[str, t.Any]]]:
    values = document.get(key)
    if not isinstance(values, list):
        raise BundleError(f"{source}: {key} is {type(values).__name__}, it has to be a list.")
    found = []
    for index, entry in enumerate(values):
        where = f"{source}: {key}[{index}]"
        if not isinstance(entry, dict):
            raise BundleError(f"{where} is {type(entry).__name__}, it has to be a mapping.")
        found.append((where, entry))
    return found


def _once(values: t.Iterable[str], what: str, source: str) -> None:
    seen: t.Set[str] = set()
    for value in values:
        if value in seen:
            raise BundleError(f"{source}: {what} {value} is listed twice, once is wanted.")
        seen.add(value)


def parse_manifest(text: str, source: str) -> Manifest:
    """The manifest of a bundle, refused by the first thing in it that is not as agreed."""
    try:
        document = json.loads(text)
    except ValueError as exc:
        raise BundleError(f"{source} is not JSON ({exc}); copy the bundle to the node again.") from exc
    if not isinstance(document, dict):
        raise BundleError(f"{source} holds a {type(document).__name__}, it has to hold a mapping.")
    if document.get("schema") != SCHEMA or isinstance(document.get("schema"), bool):
        raise BundleError(f"{source}: schema is {document.get('schema')!r}, this release of the collection reads schema {SCHEMA}; build the bundle again.")
    kubernetes = _text(document, "kubernetes", f"{source}: manifest")
    if not plain_version(kubernetes):
        raise BundleError(f"{source}: kubernetes is {kubernetes!r}, it has to be a version such as v1.36.4.")
    architecture = _text(document, "architecture", f"{source}: manifest")

    binaries = []
    for where, entry in _entries(document, "binaries", source):
        name = _text(entry, "name", where)
        if not _NAME.match(name):
            raise BundleError(f"{where}.name is {name!r}, it has to be a plain file name.")
        binaries.append(Binary(name, _inside(_text(entry, "path", where), where), _digest(entry, where), _text(entry, "version", where)))
    images = []
    for where, entry in _entries(document, "images", source):
        ref = _text(entry, "ref", where)
        if not _REFERENCE.match(ref):
            raise BundleError(f"{where}.ref is {ref!r}, it has to be a full image reference with tag or digest.")
        images.append(Image(ref, _inside(_text(entry, "path", where), where), _digest(entry, where)))

    names = [binary.name for binary in binaries]
    _once(names, "binary", source)
    _once([image.ref for image in images], "image", source)
    absent = [name for name in REQUIRED if name not in names]
    if absent:
        raise BundleError(f"{source} lists no {', '.join(absent)}; a bundle has to hold {', '.join(REQUIRED)}.")
    for binary in binaries:
        if binary.name in REQUIRED and plain_version(binary.version) != plain_version(kubernetes):
            raise BundleError(f"{source}: {binary.name} is {binary.version} and the bundle is {kubernetes}; the two have to be equal.")
    return Manifest(kubernetes, architecture, tuple(binaries), tuple(images))


def read_manifest(path: str) -> Manifest:
    source = os.path.join(path, "manifest.json")
    try:
        with open(source, encoding="utf-8") as stream:
            text = stream.read()
    except FileNotFoundError as exc:
        raise BundleError(f"{source} is not on this node; copy the bundle there or set cluster_bundle_dir to where it is.") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise BundleError(f"{source} cannot be read: {exc}.") from exc
    return parse_manifest(text, source)


def wanted_images(manifest: Manifest, patterns: t.Sequence[str]) -> t.List[Image]:
    """The images a filter of references or shell patterns selects; all of them when the filter is empty."""
    if not patterns:
        return list(manifest.images)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(image.ref, pattern) for image in manifest.images):
            known = ", ".join(image.ref for image in manifest.images) or "none"
            raise BundleError(f"images: {pattern} is in no image of the bundle; it holds {known}.")
    return [image for image in manifest.images if any(fnmatch.fnmatchcase(image.ref, pattern) for pattern in patterns)]


# --------------------------------------------------------------------------------------------------------------------
# Files


def sha256_of(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _source(root: str, relative: str) -> str:
    path = os.path.join(root, relative)
    real = os.path.realpath(path)
    if not real.startswith(os.path.realpath(root) + os.sep):
        raise BundleError(f"{path} leads to {real}, outside of the bundle; copy the bundle to the node again.")
    if not os.path.isfile(real):
        raise BundleError(f"{path} is listed in the bundle's manifest and is not there; copy the bundle to the node again.")
    return real


def _corrupt(path: str, seen: str, wanted: str) -> BundleError:
    return BundleError(f"{path} is corrupt: its sha256 is {seen}, the bundle's manifest says {wanted}; copy the bundle to the node again.")


def _fsync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def copy_verified(source: str, target: str, sha256: str) -> None:
    """Copy and hash in one pass; nothing is left at the target when the content is not what the manifest says."""
    digest = hashlib.sha256()
    # Never through a link somebody left in the place of the unfinished copy.
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o700)
    try:
        with os.fdopen(handle, "wb", buffering=0) as out, open(source, "rb", buffering=0) as stream:
            for chunk in iter(lambda: stream.read(CHUNK), b""):
                digest.update(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[out.write(view) :]
            if digest.hexdigest() != sha256:
                raise _corrupt(source, digest.hexdigest(), sha256)
            os.fchmod(out.fileno(), MODE)
            os.fsync(out.fileno())
    except BaseException:
        os.unlink(target)
        raise


def _identity(path: str) -> t.Optional[t.Dict[str, int]]:
    """What a file has to keep to be the one that was hashed; any write to it moves ctime_ns."""
    try:
        seen = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(seen.st_mode):
        return None
    return {"size": seen.st_size, "mtime_ns": seen.st_mtime_ns, "ctime_ns": seen.st_ctime_ns, "mode": stat.S_IMODE(seen.st_mode)}


def read_stamp(path: str) -> t.Dict[str, t.Dict[str, t.Any]]:
    """What an earlier run installed and hashed, by path; empty when there is none that can be read."""
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
    except (OSError, ValueError):
        return {}
    binaries = document.get("binaries") if isinstance(document, dict) and document.get("schema") == SCHEMA else None
    if not isinstance(binaries, dict):
        return {}
    return {name: entry for name, entry in binaries.items() if isinstance(entry, dict)}


def write_stamp(path: str, kubernetes: str, binaries: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    unfinished = os.path.join(directory, f".{os.path.basename(path)}.unfinished")
    text = json.dumps({"schema": SCHEMA, "kubernetes": kubernetes, "binaries": binaries}, indent=1, sort_keys=True) + "\n"
    with open(unfinished, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fchmod(stream.fileno(), 0o644)
        os.fsync(stream.fileno())
    os.replace(unfinished, path)


# --------------------------------------------------------------------------------------------------------------------
# The installation


class Installer:
    """One run: everything is looked at and verified first, then put in place."""

    def __init__(self, options: Options, run: Runner, check_mode: bool = False, machine: str = "", clock: t.Callable[[], float] = time.monotonic) -> None:
        self.options = options
        self.run = run
        self.check_mode = check_mode
        self.machine = machine or platform.machine()
        self.clock = clock
        self.warnings: t.List[str] = []
        self.manifest = Manifest("", "", (), ())
        self._stamp: t.Dict[str, t.Dict[str, t.Any]] = {}

    # ---- binaries

    def _target(self, binary: Binary) -> str:
        return os.path.join(self.options.bin_dir, binary.name)

    def _stamped(self, target: str) -> t.Optional[t.Dict[str, t.Any]]:
        """The stamp's entry when the file is still the very one that was hashed then."""
        entry = self._stamp.get(target)
        identity = _identity(target)
        if entry is None or identity is None or any(entry.get(key) != value for key, value in identity.items()):
            return None
        return entry

    def _state(self, binary: Binary) -> str:
        """absent, same, mode (content right, permissions not) or other."""
        target = self._target(binary)
        identity = _identity(target)
        if identity is None:
            return "other" if os.path.lexists(target) else "absent"
        stamped = self._stamped(target) if self.options.verify == "quick" else None
        if stamped is not None:
            same = stamped.get("sha256") == binary.sha256
        else:
            same = identity["size"] == os.path.getsize(_source(self.options.path, binary.path)) and sha256_of(target) == binary.sha256
        if not same:
            return "other"
        return "same" if identity["mode"] == MODE else "mode"

    def _installed_version(self, target: str) -> str:
        """Version of the kubelet that is (or was last) on this node, empty when nothing tells."""
        stamped = self._stamped(target)
        if stamped is not None:
            return plain_version(str(stamped.get("version", "")))
        if _identity(target) is not None and os.access(target, os.X_OK):
            try:
                rc, out, dummy = self.run([target, "--version"], LIST_SECONDS)
            except OSError:  # cut short or of another architecture: it is no program any more
                rc, out = 1, ""
            found = plain_version(out.strip().split(" ")[-1]) if rc == 0 and out.strip() else ""
            if found:
                return found
        return plain_version(str(self._stamp.get(target, {}).get("version", "")))

    def _refuse_other_version(self, states: t.Mapping[str, str]) -> None:
        kubelet = next(binary for binary in self.manifest.binaries if binary.name == "kubelet")
        if states["kubelet"] in ("same", "mode"):
            return
        wanted = plain_version(self.manifest.kubernetes)
        seen = self._installed_version(self._target(kubelet))
        if seen and seen != wanted:
            raise BundleError(
                f"This node is a member of a cluster ({self.options.member_file} exists) with kubelet {seen} and the bundle holds {wanted}; "
                f"upgrades are not part of this release: use a bundle of {seen}, or upgrade the cluster with kubeadm by hand and run again."
            )

    def _install(self, todo: t.Sequence[Binary]) -> None:
        sources = {binary.name: _source(self.options.path, binary.path) for binary in todo}
        os.makedirs(self.options.bin_dir, mode=0o755, exist_ok=True)
        # The same name in each run, so that a run that was killed leaves nothing behind after the next one.
        unfinished = {binary.name: os.path.join(self.options.bin_dir, f".{binary.name}.unfinished") for binary in todo}
        for path in unfinished.values():
            if os.path.lexists(path):
                os.unlink(path)
        needed = sum(os.path.getsize(path) for path in sources.values())
        room = os.statvfs(self.options.bin_dir)
        free = room.f_bavail * room.f_frsize
        if free < needed:
            raise BundleError(f"{self.options.bin_dir} has {free >> 20} MiB free and the binaries need {(needed >> 20) + 1} MiB; make room there.")
        done: t.List[str] = []
        try:
            # All of them are verified before the first one is put in place.
            for binary in todo:
                copy_verified(sources[binary.name], unfinished[binary.name], binary.sha256)
                done.append(unfinished[binary.name])
            for binary in todo:
                target = self._target(binary)
                if os.path.isdir(target) and not os.path.islink(target):
                    raise BundleError(f"{target} is a directory, it has to be a program; move it away.")
                os.replace(unfinished[binary.name], target)
                done.remove(unfinished[binary.name])
            _fsync_directory(self.options.bin_dir)
        finally:
            for path in done:
                os.unlink(path)

    def _restamp(self) -> None:
        entries: t.Dict[str, t.Dict[str, t.Any]] = {}
        for binary in self.manifest.binaries:
            identity = _identity(self._target(binary))
            if identity is not None:
                entries[self._target(binary)] = dict(identity, sha256=binary.sha256, version=binary.version)
        if entries != self._stamp:
            write_stamp(self.options.stamp, self.manifest.kubernetes, entries)

    # ---- images

    def _ctr(self, *args: str) -> t.List[str]:
        return ["ctr", "--address", self.options.address, "--namespace", self.options.namespace, "images", *args]

    def _references(self) -> t.Set[str]:
        argv = self._ctr("ls", "-q")
        try:
            rc, out, err = self.run(argv, LIST_SECONDS)
        except OSError as exc:
            rc, out, err = 127, "", str(exc)
        if rc != 0:
            raise BundleError(
                f"containerd at {self.options.address} does not list its images ({(err or out).strip() or f'exit code {rc}'}), "
                "it has to run before images are imported; look at: systemctl status containerd"
            )
        return {line.strip() for line in out.splitlines() if line.strip()}

    def _verify_image(self, image: Image) -> str:
        path = _source(self.options.path, image.path)
        seen = sha256_of(path)
        if seen != image.sha256:
            raise _corrupt(path, seen, image.sha256)
        return path

    def _import(self, image: Image, path: str) -> None:
        argv = self._ctr("import", path)
        try:
            rc, out, err = self.run(argv, IMPORT_SECONDS)
        except OSError as exc:
            rc, out, err = 127, "", str(exc)
        if rc != 0:
            raise BundleError(
                f"Importing {image.ref} from {path} failed ({(err or out).strip() or f'exit code {rc}'}); run again, and look at: journalctl -u containerd"
            )

    def _images(self) -> t.List[t.Dict[str, t.Any]]:
        """Each wanted image with its state; the tars of the missing ones are verified here, before anything changes."""
        wanted = wanted_images(self.manifest, self.options.images)
        if not wanted:
            return []
        try:
            present = self._references()
        except BundleError as exc:
            if not self.check_mode:
                raise
            # On a new machine the step that would have started containerd was not taken either.
            self.warnings.append(f"The images cannot be compared yet and count as missing: {exc}")
            present = set()
        found: t.List[t.Dict[str, t.Any]] = []
        for image in wanted:
            entry: t.Dict[str, t.Any] = {"ref": image.ref, "state": "present" if image.ref in present else "missing"}
            if entry["state"] == "missing":
                entry["path"] = self._verify_image(image)
            found.append(entry)
        return found

    def _import_all(self, images: t.List[t.Dict[str, t.Any]]) -> None:
        missing = [entry for entry in images if entry["state"] == "missing"]
        by_ref = {image.ref: image for image in self.manifest.images}
        for done, entry in enumerate(missing):
            begin = self.clock()
            try:
                self._import(by_ref[entry["ref"]], entry["path"])
            except BundleError as exc:
                raise BundleError(f"{exc} ({done} of {len(missing)} images were imported before)") from exc
            entry["state"] = "imported"
            entry["bytes"] = os.path.getsize(entry["path"])
            entry["seconds"] = round(self.clock() - begin, 1)
        if missing:
            present = self._references()
            lost = [entry for entry in missing if entry["ref"] not in present]
            if lost:
                raise BundleError(
                    f"{lost[0]['path']} was imported and containerd still has no {lost[0]['ref']}; the tar holds another name, build the bundle again."
                )

    # ---- programs of the distribution

    def _missing_programs(self) -> t.List[str]:
        directories = SEARCH_PATH.split(os.pathsep)
        missing = []
        for program in self.options.programs:
            places = [program] if os.path.isabs(program) else [os.path.join(directory, program) for directory in directories]
            if not any(os.path.isfile(place) and os.access(place, os.X_OK) for place in places):
                missing.append(program)
        return missing

    # ---- the whole

    def __call__(self) -> t.Dict[str, t.Any]:
        options = self.options
        self.manifest = read_manifest(options.path)
        source = os.path.join(options.path, "manifest.json")
        if options.version and plain_version(options.version) != plain_version(self.manifest.kubernetes):
            raise BundleError(
                f"{source} holds Kubernetes {self.manifest.kubernetes} and {options.version} is wanted; "
                f"set cluster_kubernetes_version to {plain_version(self.manifest.kubernetes)} or bring the other bundle."
            )
        machine = MACHINES.get(self.machine, self.machine)
        if machine != self.manifest.architecture:
            raise BundleError(f"{source} is for {self.manifest.architecture} and this node is {machine}; bring the bundle for {machine}.")

        self._stamp = read_stamp(options.stamp)
        member = bool(options.member_file) and os.path.lexists(options.member_file)
        states = {binary.name: self._state(binary) for binary in self.manifest.binaries}
        if member:
            self._refuse_other_version(states)
        images = self._images() if options.import_images else []
        missing = [entry for entry in images if entry["state"] == "missing"]
        todo = [binary for binary in self.manifest.binaries if states[binary.name] in ("absent", "other")]
        modes = [binary for binary in self.manifest.binaries if states[binary.name] == "mode"]
        before, after = self._diff(states, missing)

        if self.check_mode:
            for binary in todo:
                path = _source(options.path, binary.path)
                seen = sha256_of(path)
                if seen != binary.sha256:
                    raise _corrupt(path, seen, binary.sha256)
        else:
            if todo:
                self._install(todo)
            for binary in modes:
                os.chmod(self._target(binary), MODE)
            self._restamp()
            self._import_all(images)

        return {
            "changed": bool(todo or modes or missing),
            "kubernetes": self.manifest.kubernetes,
            "member": member,
            "binaries": [
                {"name": binary.name, "path": self._target(binary), "version": binary.version, "changed": states[binary.name] != "same"}
                for binary in self.manifest.binaries
            ],
            "images": [{key: value for key, value in entry.items() if key != "path"} for entry in images],
            "missing_programs": self._missing_programs(),
            "diff": {"before": before, "after": after, "before_header": "node", "after_header": options.path},
        }

    def _diff(self, states: t.Mapping[str, str], missing: t.Sequence[t.Mapping[str, t.Any]]) -> t.Tuple[str, str]:
        words = {"absent": "absent", "other": "other content", "mode": "wrong mode"}
        before, after = [], []
        for binary in self.manifest.binaries:
            if states[binary.name] != "same":
                before.append(f"{self._target(binary)}: {words[states[binary.name]]}\n")
                after.append(f"{self._target(binary)}: {binary.version} sha256 {binary.sha256} mode {MODE:04o}\n")
        for entry in missing:
            before.append(f"image {entry['ref']}: absent\n")
            after.append(f"image {entry['ref']}: imported\n")
        return "".join(before), "".join(after)
