# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Bring files and units of a node to the wanted state in one go.

The order is what makes it safe: look at everything, write all new files next to the old ones, let the validators
judge them, and only then rename them into place, reload systemd and start or restart units. A run killed
anywhere is finished by the next one: what is in place is recognised by its content, and a unit whose file is
newer than its start is restarted, no matter which run wrote the file.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import shutil
import stat
import tempfile
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import NOT_FOUND, TIMED_OUT, Runner, run_command, which
from ansible_collections.baremetal.kubernetes.plugins.module_utils._systemd import SystemdError, show_units, unit_name

SYSTEMD_DIRECTORIES = (
    "/etc/systemd/system/",
    "/run/systemd/system/",
    "/usr/local/lib/systemd/system/",
    "/usr/lib/systemd/system/",
    "/lib/systemd/system/",
)

UNIT_PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NeedDaemonReload",
    "Type",
    "RemainAfterExit",
    "Result",
    "ExecMainStartTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
)

RUNNING_STATES = ("active", "reloading", "refreshing")
# Unit files that have nothing to enable, or are enabled by somebody else.
NOT_TO_BE_ENABLED = ("enabled", "static", "alias", "indirect", "generated", "transient")

POLL_SECONDS = 1.0
SYSTEMCTL_TIMEOUT = 120.0
VALIDATE_TIMEOUT = 120.0
DIFF_LIMIT = 128 * 1024
COPY_BLOCK = 1 << 20
# A temporary file this old was left by a run that was killed.
STALE_SECONDS = 600.0
MESSAGE_LIMIT = 2000


class NodeConfigError(Exception):
    """The wanted state was not reached; the message says what was seen, what was wanted and what to do."""


class Host:
    """What the logic needs from the machine, so that tests can script it."""

    def __init__(
        self,
        run: Runner = run_command,
        find: Callable[[str], Optional[str]] = which,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        relabel: Optional[Callable[[str, str], None]] = None,
        systemd_directories: Sequence[str] = SYSTEMD_DIRECTORIES,
    ) -> None:
        self.run = run
        self.find = find
        self.wall = wall
        self.monotonic = monotonic
        self.sleep = sleep
        self.relabel = relabel
        self.systemd_directories = tuple(systemd_directories)


def _digest(path: str) -> str:
    sha256 = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(COPY_BLOCK), b""):
            sha256.update(block)
    return sha256.hexdigest()


def _lstat(path: str) -> Optional[os.stat_result]:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _mode(value: str, path: str) -> int:
    try:
        mode = int(str(value), 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise NodeConfigError(f"Seen: mode {value!r} for {path}. Wanted: octal digits in quotes, such as '0644'. Next: correct the mode.")
    return mode


def _shorten(text: str) -> str:
    text = text.strip()
    return text if len(text) <= MESSAGE_LIMIT else f"{text[:MESSAGE_LIMIT]} [...]"


class _Item:
    """One file, directory or link that has to change."""

    def __init__(self, kind: str, path: str, spec: Dict[str, Any]) -> None:
        self.kind = kind
        self.path = path
        self.spec = spec
        self.mode: Optional[int] = None
        self.uid: Optional[int] = None
        self.gid: Optional[int] = None
        self.rewrite = False
        self.temporary: Optional[str] = None


class NodeConfig:
    """Plan first, then do, unless it is check mode."""

    def __init__(
        self,
        host: Host,
        files: Sequence[Dict[str, Any]] = (),
        directories: Sequence[Dict[str, Any]] = (),
        absent: Sequence[str] = (),
        links: Sequence[Dict[str, Any]] = (),
        units: Sequence[Dict[str, Any]] = (),
        check_mode: bool = False,
        with_diff: bool = False,
        wait_seconds: float = 120,
        scratch: Optional[str] = None,
    ) -> None:
        self.host = host
        self.files = files
        self.directories = directories
        self.absent = absent
        self.links = links
        self.units = units
        self.check_mode = check_mode
        self.with_diff = with_diff
        self.wait_seconds = wait_seconds
        self.scratch = scratch
        self.diff: List[Dict[str, Any]] = []
        # Paths whose content is another one than before: only these are a reason to restart a unit.
        self.rewritten: List[str] = []
        self.result: Dict[str, Any] = {
            "changed": False,
            "changed_files": [],
            "daemon_reloaded": False,
            "enabled": [],
            "disabled": [],
            "started": [],
            "restarted": [],
            "stopped": [],
        }

    # -- what is there -------------------------------------------------------------------------------------------

    def _owner(self, spec: Dict[str, Any], path: str) -> Tuple[Optional[int], Optional[int]]:
        """Return the wanted uid and gid; None leaves it as it is."""
        ids: List[Optional[int]] = []
        for key, lookup in (("owner", lambda name: pwd.getpwnam(name).pw_uid), ("group", lambda name: grp.getgrnam(name).gr_gid)):
            name = spec.get(key)
            if name is None or name == "":
                ids.append(None)
            elif str(name).isdigit():
                ids.append(int(name))
            else:
                try:
                    ids.append(lookup(str(name)))
                except KeyError:
                    # An earlier task would have made it, perhaps with a package.
                    if not self.check_mode:
                        raise NodeConfigError(
                            f"Seen: no {key} {name!r} on this node. Wanted: it owns {path}. Next: create it first, or correct the {key}."
                        ) from None
                    ids.append(None)
        return ids[0], ids[1]

    def _attributes(self, item: _Item, status: os.stat_result) -> bool:
        """Tell whether mode or owner differ, and note it for the diff."""
        before: Dict[str, Any] = {}
        after: Dict[str, Any] = {}
        if item.mode is not None and stat.S_IMODE(status.st_mode) != item.mode:
            before["mode"], after["mode"] = f"{stat.S_IMODE(status.st_mode):04o}", f"{item.mode:04o}"
        if item.uid is not None and status.st_uid != item.uid:
            before["owner"], after["owner"] = status.st_uid, item.uid
        if item.gid is not None and status.st_gid != item.gid:
            before["group"], after["group"] = status.st_gid, item.gid
        if not after:
            return False
        if self.with_diff and not item.rewrite:
            self.diff.append({"before_header": item.path, "after_header": item.path, "before": before, "after": after})
        return True

    def _plan_directory(self, spec: Dict[str, Any]) -> Optional[_Item]:
        item = _Item("directory", spec["path"], spec)
        item.mode = _mode(spec.get("mode") or "0755", item.path)
        item.uid, item.gid = self._owner(spec, item.path)
        try:
            status = os.stat(item.path)
        except (FileNotFoundError, NotADirectoryError):
            if os.path.islink(item.path):
                raise NodeConfigError(
                    f"Seen: {item.path} is a link to {os.readlink(item.path)}, which does not exist. Wanted: a directory. Next: remove the link or"
                    " make its target."
                ) from None
            item.rewrite = True
            if self.with_diff:
                self.diff.append({"before_header": item.path, "after_header": item.path, "before": {"state": "absent"}, "after": {"state": "directory"}})
            return item
        if not stat.S_ISDIR(status.st_mode):
            raise NodeConfigError(f"Seen: {item.path} is not a directory. Wanted: a directory. Next: move it away.")
        return item if self._attributes(item, status) else None

    def _wanted(self, spec: Dict[str, Any]) -> Tuple[Optional[bytes], int, str]:
        """Return content (None for a file to be copied), size and digest."""
        if spec.get("source") is None:
            content = (spec.get("content") or "").encode("utf-8", "surrogateescape")
            return content, len(content), hashlib.sha256(content).hexdigest()
        return None, os.stat(spec["source"]).st_size, _digest(spec["source"])

    def _file_diff(self, spec: Dict[str, Any], status: Optional[os.stat_result], content: Optional[bytes]) -> None:
        if not self.with_diff:
            return
        path = spec["path"]
        shown: Dict[str, str] = {"before_header": path, "after_header": path, "before": "", "after": ""}
        self.diff.append(shown)
        if spec.get("secret"):
            shown["before"], shown["after"] = ("" if status is None else "(secret content, not shown)\n"), "(other secret content, not shown)\n"
            return
        for side, source in (("before", path), ("after", spec.get("source"))):
            if side == "before" and status is None:
                continue
            if side == "before" and status is not None and stat.S_ISLNK(status.st_mode):
                shown[side] = f"(link to {os.readlink(path)})\n"
                continue
            if side == "after" and content is not None:
                data = content
            else:
                if os.stat(str(source)).st_size > DIFF_LIMIT:
                    shown[side] = f"({os.stat(str(source)).st_size} bytes, sha256 {_digest(str(source))})\n"
                    continue
                with open(str(source), "rb") as handle:
                    data = handle.read()
            if b"\0" in data or len(data) > DIFF_LIMIT:
                shown[side] = f"({len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()})\n"
            else:
                shown[side] = data.decode("utf-8", "replace")

    def _plan_file(self, spec: Dict[str, Any]) -> Optional[_Item]:
        item = _Item("file", spec["path"], spec)
        item.mode = _mode(spec.get("mode") or "0644", item.path)
        item.uid, item.gid = self._owner(spec, item.path)
        source = spec.get("source")
        status = _lstat(item.path)
        if source is not None and not os.path.isfile(source):
            if spec.get("optional"):
                return None
            if not self.check_mode:
                raise NodeConfigError(
                    f"Seen: no file {source}. Wanted: its content in {item.path}. Next: make {source} first, or mark {item.path} as optional."
                )
            # An earlier task would have made the source: the content is not known, so only a missing target is sure to change.
            if status is not None:
                return None
            item.rewrite = True
            return item
        if status is not None and not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
            raise NodeConfigError(f"Seen: {item.path} is neither a file nor a link. Wanted: a file. Next: move it away.")
        content, size, digest = self._wanted(spec)
        # A link is never written through: it is replaced, and what it points to stays as it is.
        if status is None or stat.S_ISLNK(status.st_mode) or status.st_size != size or _digest(item.path) != digest:
            item.rewrite = True
            self._file_diff(spec, status, content)
        if status is not None and stat.S_ISREG(status.st_mode):
            differs = self._attributes(item, status)
            # Replacing a file makes a new inode: the owner nobody asked to change stays the same.
            item.uid = status.st_uid if item.uid is None else item.uid
            item.gid = status.st_gid if item.gid is None else item.gid
            if not item.rewrite and not differs:
                return None
        return item

    def _plan_absent(self, path: str) -> Optional[_Item]:
        status = _lstat(path)
        if status is None:
            return None
        kind = "directory" if stat.S_ISDIR(status.st_mode) else "file"
        if kind == "directory" and os.listdir(path):
            raise NodeConfigError(
                f"Seen: {path} is a directory with {len(os.listdir(path))} entries. Wanted: nothing there. Next: empty it; it is not removed with its"
                " content."
            )
        if self.with_diff:
            self.diff.append({"before_header": path, "after_header": path, "before": {"state": kind}, "after": {"state": "absent"}})
        return _Item("absent", path, {"directory": kind == "directory"})

    def _plan_link(self, spec: Dict[str, Any]) -> Optional[_Item]:
        path, target = spec["path"], spec["target"]
        status = _lstat(path)
        before = "absent"
        if status is not None:
            if stat.S_ISLNK(status.st_mode):
                if os.readlink(path) == target:
                    return None
                before = f"link to {os.readlink(path)}"
            elif stat.S_ISREG(status.st_mode):
                before = "file"
            else:
                raise NodeConfigError(f"Seen: {path} is neither a file nor a link. Wanted: a link to {target}. Next: move it away.")
        if self.with_diff:
            self.diff.append({"before_header": path, "after_header": path, "before": {"state": before}, "after": {"state": f"link to {target}"}})
        item = _Item("link", path, spec)
        item.rewrite = True
        return item

    # -- files -----------------------------------------------------------------------------------------------------

    def _make_parents(self, path: str) -> None:
        missing = []
        parent = os.path.dirname(path)
        while not os.path.isdir(parent):
            missing.append(parent)
            parent = os.path.dirname(parent)
        for directory in reversed(missing):
            try:
                os.mkdir(directory)
            except FileExistsError:
                # Several hosts write below the same folder of the machine that runs Ansible, at the same moment.
                if not os.path.isdir(directory):
                    raise
                continue
            # Not left to the umask, which on hardened machines locks services out.
            os.chmod(directory, 0o755)
            if self.host.relabel is not None:
                self.host.relabel(directory, directory)

    def _prefix(self, path: str) -> str:
        # A leading dot and a foreign suffix: no service that reads a *.conf directory takes the unfinished file.
        return f".{os.path.basename(path)}.node_config-"

    def _remove_stale(self, path: str) -> None:
        parent = os.path.dirname(path)
        for name in os.listdir(parent) if os.path.isdir(parent) else []:
            if name.startswith(self._prefix(path)) and name.endswith(".tmp"):
                stale = os.path.join(parent, name)
                status = _lstat(stale)
                if status is not None and self.host.wall() - status.st_mtime > STALE_SECONDS:
                    os.unlink(stale)

    def _write_temporary(self, item: _Item, directory: str) -> None:
        handle, item.temporary = tempfile.mkstemp(prefix=self._prefix(item.path), suffix=".tmp", dir=directory)
        with os.fdopen(handle, "wb") as target:
            if item.spec.get("source") is None:
                target.write((item.spec.get("content") or "").encode("utf-8", "surrogateescape"))
            else:
                with open(item.spec["source"], "rb") as source:
                    shutil.copyfileobj(source, target, COPY_BLOCK)
            target.flush()
            os.fsync(target.fileno())

    def _apply_attributes(self, item: _Item, path: str) -> None:
        # Of a directory the path may be a link; what it leads to was planned for.
        status = os.stat(path)
        uid = status.st_uid if item.uid is None else item.uid
        gid = status.st_gid if item.gid is None else item.gid
        if (uid, gid) != (status.st_uid, status.st_gid):
            os.chown(path, uid, gid)
        # After chown, which clears the set-user-ID bits.
        if item.mode is not None:
            os.chmod(path, item.mode)

    def _validate(self, item: _Item) -> None:
        template = item.spec.get("validate") or []
        if not template or not item.rewrite:
            return
        if not any("%s" in word for word in template):
            raise NodeConfigError(
                f"Seen: validate {' '.join(template)!r} for {item.path}. Wanted: %s where the name of the new file belongs. Next: correct validate."
            )
        if self.host.find(template[0]) is None and not os.path.isfile(template[0]):
            # In check mode the package that brings the validator may not be installed yet.
            if self.check_mode:
                return
            raise NodeConfigError(
                f"Seen: no command {template[0]} on this node. Wanted: it judges the new {item.path}, which was not put in place. Next: install it."
            )
        if self.check_mode:
            if item.spec.get("source") is not None and not os.path.isfile(item.spec["source"]):
                return
            self._write_temporary(item, self.scratch or tempfile.gettempdir())
        argv = [word.replace("%s", str(item.temporary)) for word in template]
        code, out, err = self.host.run(argv, VALIDATE_TIMEOUT)
        if code != 0:
            # A script of several lines would bury what it says.
            shown = " ".join("[...]" if "\n" in word else word for word in template)
            said = "(not shown: the file is secret)" if item.spec.get("secret") else _shorten(err or out)
            raise NodeConfigError(
                f"Seen: {shown} refused the new {item.path} with return code {code}: {said}. "
                f"Wanted: a file it accepts; nothing was replaced. Next: correct the variables the file is made from."
            )

    def _discard(self, items: Sequence[_Item]) -> None:
        for item in items:
            if item.temporary is not None and os.path.lexists(item.temporary):
                os.unlink(item.temporary)
            item.temporary = None

    def _note(self, item: _Item) -> None:
        self.result["changed"] = True
        self.result["changed_files"].append(item.path)
        if item.rewrite or item.kind == "absent":
            self.rewritten.append(item.path)

    def _sync_directories(self, items: Sequence[_Item]) -> None:
        for parent in sorted({os.path.dirname(item.path) for item in items if item.kind != "directory"}):
            if not os.path.isdir(parent):
                continue
            handle = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _apply_files(self, directories: List[_Item], items: List[_Item]) -> None:
        try:
            if not self.check_mode:
                for item in directories:
                    self._make_parents(os.path.join(item.path, "x"))
                    self._apply_attributes(item, item.path)
                    if item.rewrite and self.host.relabel is not None:
                        self.host.relabel(item.path, item.path)
                    self._note(item)
                # Also beside what is in place already: the run that followed the killed one came too soon.
                for spec in [*self.files, *self.links]:
                    self._remove_stale(spec["path"])
                for item in items:
                    if item.kind == "absent" or not item.rewrite:
                        continue
                    self._make_parents(item.path)
                    if item.kind == "file":
                        self._write_temporary(item, os.path.dirname(item.path))
                        self._apply_attributes(item, str(item.temporary))
                        if self.host.relabel is not None:
                            self.host.relabel(str(item.temporary), item.path)
            for item in items:
                if item.kind == "file":
                    self._validate(item)
            if self.check_mode:
                for item in directories + items:
                    self._note(item)
                return
            for item in items:
                self._put_in_place(item)
                self._note(item)
            self._sync_directories(items)
        finally:
            self._discard(items)

    def _put_in_place(self, item: _Item) -> None:
        if item.kind == "absent":
            if item.spec["directory"]:
                os.rmdir(item.path)
            else:
                os.unlink(item.path)
        elif item.kind == "link":
            temporary = os.path.join(os.path.dirname(item.path), f"{self._prefix(item.path)}{os.getpid()}.tmp")
            os.symlink(item.spec["target"], temporary)
            item.temporary = temporary
            os.rename(temporary, item.path)
            item.temporary = None
        elif item.temporary is not None:
            os.rename(item.temporary, item.path)
            item.temporary = None
        else:
            self._apply_attributes(item, item.path)

    # -- units -----------------------------------------------------------------------------------------------------

    def _show(self) -> Dict[str, Dict[str, str]]:
        return show_units(self.host.run, [unit["name"] for unit in self.units], UNIT_PROPERTIES)

    def _systemctl(self, *words: str) -> Tuple[int, str, str]:
        return self.host.run(["systemctl", *words], max(SYSTEMCTL_TIMEOUT, float(self.wait_seconds)))

    def _evidence(self, name: str) -> str:
        """Return what a person would look at first."""
        parts = []
        for argv in (
            ["systemctl", "status", "--no-pager", "--full", "--lines=0", "--", unit_name(name)],
            ["journalctl", "--no-pager", "--quiet", "-n", "20", "-u", unit_name(name)],
        ):
            code, out, err = self.host.run(argv, 60.0)
            text = (out if code not in (NOT_FOUND, TIMED_OUT) else "") or err
            parts.append(f"{' '.join(argv)}:\n{text.strip()}")
        return "\n".join(parts)

    def _reload(self, states: Dict[str, Dict[str, str]]) -> bool:
        """Run daemon-reload when systemd does not know what is on disk."""
        written = any(path.startswith(self.host.systemd_directories) for path in self.rewritten)
        if not written and not any(state.get("NeedDaemonReload") == "yes" for state in states.values()):
            return False
        self.result["changed"] = True
        self.result["daemon_reloaded"] = True
        if not self.check_mode:
            code, out, err = self._systemctl("daemon-reload")
            if code != 0:
                raise NodeConfigError(
                    f"Seen: systemctl daemon-reload ended with return code {code}: {_shorten(err or out)}. "
                    "Wanted: systemd reads the new unit files. Next: run it on the node."
                )
        return not self.check_mode

    def _switch(self, states: Dict[str, Dict[str, str]]) -> None:
        """Enable and disable."""
        plans: Dict[str, List[str]] = {"enable": [], "disable": []}
        for unit in self.units:
            wanted = unit.get("enabled")
            state = states[unit["name"]]
            seen = state.get("UnitFileState", "")
            if wanted is None:
                continue
            if wanted and state.get("LoadState") == "masked":
                raise NodeConfigError(self._masked(unit["name"], "enabled"))
            if wanted and state.get("LoadState") == "not-found" and not self.check_mode:
                raise NodeConfigError(self._missing(unit["name"], "enabled"))
            if wanted and seen not in NOT_TO_BE_ENABLED:
                plans["enable"].append(unit["name"])
            elif not wanted and seen in ("enabled", "enabled-runtime"):
                plans["disable"].append(unit["name"])
        for verb, names in plans.items():
            if not names:
                continue
            if not self.check_mode:
                code, out, err = self._systemctl(verb, "--", *[unit_name(name) for name in names])
                if code != 0:
                    raise NodeConfigError(
                        f"Seen: systemctl {verb} {' '.join(names)} ended with return code {code}: {_shorten(err or out)}. "
                        f"Wanted: {verb}d at boot. Next: look at the [Install] section of the unit."
                    )
            self.result["changed"] = True
            self.result[f"{verb}d"].extend(names)
            for name in names:
                self._unit_diff(name, "at boot", "not " + verb + "d", verb + "d")

    def _unit_diff(self, name: str, what: str, before: str, after: str) -> None:
        if self.with_diff:
            self.diff.append({"before_header": name, "after_header": name, "before": {what: before}, "after": {what: after}})

    @staticmethod
    def _missing(name: str, wanted: str) -> str:
        return (
            f"Seen: systemd knows no unit {unit_name(name)}. Wanted: {wanted}. "
            f"Next: install the package that brings it; systemctl list-unit-files '{unit_name(name)}' shows whether it is there."
        )

    @staticmethod
    def _masked(name: str, wanted: str) -> str:
        return f"Seen: {unit_name(name)} is masked. Wanted: {wanted}. Next: find out who masked it and why, then systemctl unmask {unit_name(name)}"

    @staticmethod
    def _oneshot_done(state: Dict[str, str]) -> bool:
        """A oneshot unit without RemainAfterExit is never active for long: started means that it has run well since boot."""
        return (
            state.get("Type") == "oneshot"
            and state.get("RemainAfterExit") != "yes"
            and state.get("ActiveState") == "inactive"
            and state.get("Result") == "success"
            and (state.get("ExecMainStartTimestampMonotonic") or "0") != "0"
        )

    def _runs(self, state: Dict[str, str]) -> bool:
        return state.get("ActiveState") in RUNNING_STATES or self._oneshot_done(state)

    def _started_at(self, state: Dict[str, str]) -> Optional[float]:
        """Return when the unit started as wall clock time by today's clock, whatever the clock said then."""
        for key in ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic"):
            value = state.get(key) or "0"
            if value.isdigit() and value != "0":
                return self.host.wall() - (self.host.monotonic() - int(value) / 1e6)
        return None

    def _newer_than_start(self, unit: Dict[str, Any], state: Dict[str, str]) -> List[str]:
        """Return the files that the running unit cannot have read yet."""
        reasons = [path for path in unit.get("restart_when") or [] if path in self.rewritten]
        started = self._started_at(state)
        if started is None:
            return reasons
        now = self.host.wall()
        for path in unit.get("restart_when") or []:
            if path in reasons:
                continue
            times = []
            for read in (os.lstat, os.stat):
                try:
                    times.append(read(path).st_mtime)
                except (FileNotFoundError, NotADirectoryError):
                    continue
            # A time in the future proves nothing, and would ask for a restart in every run until it has come.
            if any(started < mtime <= now for mtime in times):
                reasons.append(path)
        return reasons

    def _plan_unit(self, unit: Dict[str, Any], state: Dict[str, str]) -> Optional[str]:
        """Return start, restart, stop or None."""
        name = unit["name"]
        wanted = unit.get("state")
        load = state.get("LoadState", "")
        runs = self._runs(state)
        if wanted == "stopped":
            return "stop" if runs or state.get("ActiveState") in ("activating", "deactivating") else None
        if wanted == "started" and not runs:
            if load == "masked":
                raise NodeConfigError(self._masked(name, "started"))
            if load == "not-found" and not self.check_mode:
                raise NodeConfigError(self._missing(name, "started"))
            # A start that is under way is waited for; if it hangs in restarts, waiting tells.
            if state.get("ActiveState") == "activating" and state.get("SubState") != "auto-restart":
                return "restart" if self._newer_than_start(unit, state) else "wait"
            return "start"
        # Also a unit between two crashes shall come back with the new files at once.
        if (runs or state.get("ActiveState") == "activating") and self._newer_than_start(unit, state):
            return "restart"
        return None

    def _wait(self, name: str, wanted: str, deadline: float) -> None:
        """Wait until the unit is what it is wanted to be."""
        while True:
            state = show_units(self.host.run, [name], UNIT_PROPERTIES)[name]
            active = state.get("ActiveState")
            if wanted == "stopped" and active in ("inactive", "failed"):
                return
            if wanted == "started" and self._runs(state):
                return
            if (wanted == "started" and active in ("failed", "inactive")) or self.host.monotonic() >= deadline:
                seen = f"{unit_name(name)} is {active} ({state.get('SubState')}, result {state.get('Result')})"
                raise NodeConfigError(
                    f"Seen: {seen}. Wanted: {wanted} within {self.wait_seconds:g} seconds. "
                    f"Next: journalctl -u {unit_name(name)} on the node; correct the cause and run again.\n{self._evidence(name)}"
                )
            self.host.sleep(POLL_SECONDS)

    def _act(self, unit: Dict[str, Any], state: Dict[str, str], verb: str) -> None:
        name = unit["name"]
        before = state.get("ActiveState", "")
        if verb != "wait":
            self.result["changed"] = True
            self.result[{"start": "started", "restart": "restarted", "stop": "stopped"}[verb]].append(name)
            self._unit_diff(name, "state", before, {"start": "started", "restart": "restarted", "stop": "stopped"}[verb])
        if self.check_mode:
            return
        deadline = self.host.monotonic() + self.wait_seconds
        if verb != "wait":
            if verb != "stop" and before == "failed":
                # The start limit of a unit that failed often would refuse this start as well.
                self._systemctl("reset-failed", "--", unit_name(name))
            code, out, err = self._systemctl(verb, "--", unit_name(name))
            if code not in (0, TIMED_OUT):
                raise NodeConfigError(
                    f"Seen: systemctl {verb} {unit_name(name)} ended with return code {code}: {_shorten(err or out)} "
                    f"Wanted: {'stopped' if verb == 'stop' else 'started'}. "
                    f"Next: journalctl -u {unit_name(name)} on the node; correct the cause and run again.\n{self._evidence(name)}"
                )
        if verb == "restart" and unit.get("state") is None and before == "activating":
            # Nobody asked for a running unit: one that waits for its configuration may go on crashing.
            return
        self._wait(name, "stopped" if verb == "stop" else "started", deadline)

    def _apply_units(self) -> None:
        states = self._show()
        if self._reload(states):
            states = self._show()
        self._switch(states)
        for unit in self.units:
            state = states[unit["name"]]
            verb = self._plan_unit(unit, state)
            if verb is not None:
                self._act(unit, state, verb)

    # -- all -------------------------------------------------------------------------------------------------------

    def _check_input(self) -> None:
        seen: Dict[str, str] = {}
        for kind, paths in (
            ("files", [spec["path"] for spec in self.files]),
            ("directories", [spec["path"] for spec in self.directories]),
            ("links", [spec["path"] for spec in self.links]),
            ("absent", list(self.absent)),
        ):
            for path in paths:
                if not os.path.isabs(path):
                    raise NodeConfigError(f"Seen: {path!r} in {kind}. Wanted: an absolute path. Next: correct the path.")
                if path in seen:
                    raise NodeConfigError(f"Seen: {path} in {seen[path]} and in {kind}. Wanted: each path once. Next: remove one of them.")
                seen[path] = kind

    def apply(self) -> Dict[str, Any]:
        """Do it all and return the module's result; on an error self.result holds what was done until then."""
        self._check_input()
        try:
            directories = [item for item in (self._plan_directory(spec) for spec in self.directories) if item is not None]
            items: List[_Item] = []
            for plan, specs in ((self._plan_absent, self.absent), (self._plan_file, self.files), (self._plan_link, self.links)):
                for spec in specs:
                    item = plan(spec)
                    if item is not None:
                        items.append(item)
            self._apply_files(directories, items)
            self._apply_units()
        except SystemdError as error:
            raise NodeConfigError(str(error)) from error
        except OSError as error:
            raise NodeConfigError(f"Seen: {error}. Wanted: the files in place. Next: look at the path on the node (full, read-only, no directory?).") from error
        if self.with_diff:
            self.result["diff"] = self.diff
        return self.result
