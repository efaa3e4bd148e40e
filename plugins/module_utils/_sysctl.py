# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""One sysctl.d file: its text, what the kernel has, and which other file would win at the next boot.

A key is written net.ipv4.ip_forward or net/ipv4/ip_forward; inside it is always the path below /proc/sys, because
an interface name may hold dots (net.ipv4.conf.eth0/100.rp_filter is net/ipv4/conf/eth0.100/rp_filter).
"""

from __future__ import annotations

import errno
import os
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils._node_state import read_text
from ansible_collections.baremetal.kubernetes.plugins.module_utils._textfile import file_mode, write_text

FILE_MODE = 0o644

# Highest priority first: of files with one name only the first counts (sysctl.d(5)).
SYSCTL_DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")

HEADER = (
    "# Managed by Ansible, module baremetal.kubernetes.sysctl_dropin. The whole file is written again on every run:\n"
    "# make a change in the variables of the playbook.\n"
)

# Keys that exist only while a module is loaded. The longest matching prefix wins.
KEY_MODULES = {
    "net/bridge/": "br_netfilter",
    "net/netfilter/nf_conntrack": "nf_conntrack",
    "net/nf_conntrack_max": "nf_conntrack",
    "net/netfilter/": "nf_conntrack",
    "net/ipv4/vs/": "ip_vs",
    "net/ipv6/": "ipv6",
    "net/sctp/": "sctp",
    "net/rds/": "rds",
    "net/mpls/": "mpls_router",
    "fs/nfs/": "lockd",
    "sunrpc/": "sunrpc",
}

# The kernel keeps these as a bitmap and prints them sorted, with neighbours merged.
PORT_LIST = re.compile(r"_reserved_ports$")

KEY_PATTERN = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_./:@+-]*$")


class SysctlError(Exception):
    """One sentence per problem: what was seen, what is wanted, what to do."""


class Setting(NamedTuple):
    """One key and what is wanted of it."""

    key: str
    path: str
    value: str
    comment: str
    min_only: bool
    optional: bool
    module: str


class Assignment(NamedTuple):
    """One line of a sysctl.d file."""

    path: str
    value: str
    line: int


class Foreign(NamedTuple):
    """An assignment in somebody else's file."""

    source: str
    value: str


def key_path(key: str) -> str:
    """Return the path below /proc/sys, by the rule of sysctl.d(5): the first separator decides which one separates."""
    first = re.search(r"[./]", key)
    if first is not None and first.group() == ".":
        key = key.translate({ord("."): "/", ord("/"): "."})
    return key.strip("/")


def module_of(path: str) -> str:
    """Return the kernel module that makes a key, or an empty string when none is known."""
    found = [prefix for prefix in KEY_MODULES if path.startswith(prefix)]
    return KEY_MODULES[max(found, key=len)] if found else ""


def parse(text: str) -> List[Assignment]:
    """Return the assignments in the order of the file; other lines do not count."""
    assignments: List[Assignment] = []
    # Not splitlines(): a form feed or a Unicode separator ends no line for systemd-sysctl.
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip(" \t\r")
        if not line or line[0] in "#;":
            continue
        name, found, value = line.partition("=")
        # A "-" in front says that errors do not matter at boot.
        path = key_path((name[1:] if name.startswith("-") else name).strip(" \t"))
        if found and path:
            assignments.append(Assignment(path, value.strip(" \t"), number))
    return assignments


def parse_ports(value: str) -> Set[int]:
    """Return the ports of a list such as 6443,30000-32767."""
    ports: Set[int] = set()
    for part in re.split(r"[,\s]+", value.strip()):
        if not part:
            continue
        first, dash, last = part.partition("-")
        ports.update(range(int(first), int(last if dash else first) + 1))
    return ports


def format_ports(ports: Set[int]) -> str:
    """Write a set of ports the way the kernel prints it."""
    ranges: List[List[int]] = []
    for port in sorted(ports):
        if ranges and ranges[-1][1] == port - 1:
            ranges[-1][1] = port
        else:
            ranges.append([port, port])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _numbers(value: str) -> Optional[List[int]]:
    """Return all fields as numbers, or None."""
    try:
        return [int(field, 16) if field.lower().startswith("0x") else int(field) for field in value.split()]
    except ValueError:
        return None


def same_value(path: str, one: str, other: str) -> bool:
    """Compare as the kernel does: white space and the order of ports do not count."""
    if one.split() == other.split():
        return True
    if PORT_LIST.search(path):
        try:
            return parse_ports(one) == parse_ports(other)
        except ValueError:
            return False
    numbers = _numbers(one)
    return numbers is not None and len(numbers) > 0 and numbers == _numbers(other)


def at_least(value: str, wanted: str) -> bool:
    """Whether every number of a value reaches the wanted one."""
    have, need = _numbers(value), _numbers(wanted)
    return have is not None and need is not None and len(have) == len(need) and all(a >= b for a, b in zip(have, need))


def reaches(setting: Setting, value: str) -> bool:
    """Whether a value is good enough for a setting."""
    return same_value(setting.path, value, setting.value) or (setting.min_only and at_least(value, setting.value))


def make_settings(entries: Sequence[Mapping[str, Any]]) -> List[Setting]:
    """Check what the user wrote; entries that are absent are left out."""
    settings: List[Setting] = []
    problems: List[str] = []
    seen: Dict[str, str] = {}
    for entry in entries:
        key = str(entry["key"]).strip()
        path = key_path(key)
        if not KEY_PATTERN.match(key) or ".." in path.split("/") or "/" not in path:
            problems.append(f"Key {key!r} is not the name of one sysctl, such as net.ipv4.ip_forward (patterns are not taken).")
            continue
        if path in seen:
            problems.append(f"Key {key!r} is given twice (first as {seen[path]!r}); keep one.")
            continue
        seen[path] = key
        if (entry.get("state") or "present") == "absent":
            continue
        value = entry.get("value")
        if isinstance(value, bool):
            value = int(value)
        text = " ".join(str(value).split()) if value is not None else ""
        if not text:
            problems.append(f"Key {key!r} has no value.")
            continue
        min_only = bool(entry.get("min_only"))
        # Of several numbers some may be lower and some higher than wanted: no one line raises without lowering.
        if min_only and len(_numbers(text) or []) != 1:
            problems.append(f"Key {key!r} is min_only, but its value {text!r} is not one number.")
            continue
        settings.append(
            Setting(key, path, text, str(entry.get("comment") or ""), min_only, bool(entry.get("optional")), str(entry.get("module") or ""))
        )
    if problems:
        raise SysctlError(" ".join(problems))
    return settings


def dropin_text(settings: Sequence[Setting], left_out: Sequence[str] = (), missing: Sequence[str] = ()) -> str:
    """Return the file; both lists hold paths.

    The keys of left_out are only mentioned: the kernel has more than that by itself. Those of missing are no error at boot.
    """
    text = HEADER
    for setting in settings:
        lines = [f"# {line.rstrip()}" for line in setting.comment.splitlines() if line.strip()]
        # A key without a comment shares the one above it.
        if lines:
            lines.insert(0, "")
        assignment = f"{setting.key} = {setting.value}"
        if setting.path in left_out:
            lines += ["# Not set here, this kernel has more by itself:", f"# {assignment}"]
        else:
            lines.append(("-" if setting.path in missing else "") + assignment)
        text += "\n".join(lines) + "\n"
    return text


class Kernel:
    """/proc/sys below a root that is another directory in tests only."""

    def __init__(self, root: str = "/") -> None:
        self.root = root

    def _file(self, path: str) -> str:
        return os.path.join(self.root, "proc/sys", path)

    def read(self, path: str) -> Optional[str]:
        """Return the value, or None when the key does not exist."""
        try:
            with open(self._file(path), "rb") as handle:
                return " ".join(handle.read().decode("utf-8", "replace").split())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SysctlError(f"/proc/sys/{path} cannot be read ({error.strerror}): a setting whose effect cannot be proven is not taken.") from error

    def write(self, path: str, value: str) -> None:
        """Set the value; one write call, as the kernel wants it."""
        handle = os.open(self._file(path), os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(handle, (value + "\n").encode())
        finally:
            os.close(handle)


def boot_files(root: str = "/") -> List[Tuple[str, str]]:
    """Return (name, path) of the files systemd-sysctl reads, in its order: by name, whichever the folder."""
    chosen: Dict[str, str] = {}
    for directory in SYSCTL_DIRECTORIES:
        try:
            names = os.listdir(os.path.join(root, directory.lstrip("/")))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            if name.endswith(".conf") and not name.startswith("."):
                chosen.setdefault(name, f"{directory}/{name}")
    return sorted(chosen.items(), key=lambda item: os.fsencode(item[0]))


def _source(root: str, path: str, line: int) -> str:
    """Name a line; behind a link also the file a person would edit."""
    inside = os.path.join(root, path.lstrip("/"))
    if not os.path.islink(inside):
        return f"{path}:{line}"
    target = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(inside)))
    return f"{path}:{line} (a link to {target})"


def _last_assignments(root: str, path: str) -> Dict[str, Foreign]:
    text = read_text(os.path.join(root, path.lstrip("/"))) or ""
    return {item.path: Foreign(_source(root, path, item.line), item.value) for item in parse(text)}


def other_files(root: str, own: str) -> Tuple[Dict[str, Foreign], Dict[str, Foreign], Optional[str]]:
    """Return what files before and behind our own assign, and the file that hides our own at boot, if any.

    Only whole names count: systemd-sysctl gives a key that is named somewhere precedence over every glob.
    """
    name = os.path.basename(own)
    before: Dict[str, Foreign] = {}
    behind: Dict[str, Foreign] = {}
    hidden_by = None
    for other, path in boot_files(root):
        if other == name:
            same = os.path.realpath(os.path.join(root, path.lstrip("/"))) == os.path.realpath(os.path.join(root, own.lstrip("/")))
            directory = os.path.dirname(own)
            rank = SYSCTL_DIRECTORIES.index(directory) if directory in SYSCTL_DIRECTORIES else len(SYSCTL_DIRECTORIES)
            if not same and SYSCTL_DIRECTORIES.index(os.path.dirname(path)) < rank:
                hidden_by = path
            continue
        (before if os.fsencode(other) < os.fsencode(name) else behind).update(_last_assignments(root, path))
    return before, behind, hidden_by


def unlinked_sysctl_conf(root: str) -> Dict[str, Foreign]:
    """Return what /etc/sysctl.conf assigns when no link makes systemd-sysctl read it: then only `sysctl --system` does, last."""
    plain = os.path.realpath(os.path.join(root, "etc/sysctl.conf"))
    for _name, path in boot_files(root):
        if os.path.realpath(os.path.join(root, path.lstrip("/"))) == plain:
            return {}
    return _last_assignments(root, "/etc/sysctl.conf")


def _missing_key(setting: Setting) -> str:
    module = setting.module or module_of(setting.path)
    if module:
        return (
            f"{setting.key}: this kernel has no such key. It appears with the kernel module {module}: "
            f"load that first (baremetal.kubernetes.kernel_modules), then run again."
        )
    return (
        f"{setting.key}: this kernel has no such key, and no module is known that makes it. "
        f"Check the spelling (/proc/sys/{setting.path}), or mark it optional."
    )


def _refused(setting: Setting, error: OSError) -> str:
    seen = f"{setting.key}: the kernel refuses {setting.value!r} ({error.strerror})."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"{seen} /proc/sys cannot be written here: either this is not root, or a container (LXC, OpenVZ) whose host owns the value. "
            "Set it on the host, or use a machine with a kernel of its own."
        )
    return f"{seen} Correct the value; the kernel's documentation of /proc/sys/{setting.path} says what it takes."


class Dropin:
    """Bring one file and the kernel to what is wanted."""

    def __init__(self, kernel: Kernel, path: str, settings: Sequence[Setting]) -> None:
        self.kernel = kernel
        self.root = kernel.root
        self.path = path
        self.settings = list(settings)
        self.before: Dict[str, Optional[str]] = {setting.path: kernel.read(setting.path) for setting in self.settings}
        self.old_text = read_text(self._inside(path))
        self.warnings: List[str] = []

    def _inside(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))

    def left_out(self) -> List[str]:
        """Keys the kernel has more of by itself. A line that stands in the file stays: without it the value may fall at boot."""
        in_file = {item.path for item in parse(self.old_text or "")}
        found = []
        for setting in self.settings:
            value = self.before[setting.path]
            more = value is not None and at_least(value, setting.value) and not same_value(setting.path, value, setting.value)
            if setting.min_only and more and setting.path not in in_file:
                found.append(setting.path)
        return found

    def state_of(self, setting: Setting, check_mode: bool) -> str:
        """Say what has to be done for one key."""
        value = self.before[setting.path]
        if value is None:
            if setting.optional:
                return "missing"
            return "pending" if check_mode else "unknown"
        if same_value(setting.path, value, setting.value):
            return "same"
        return "higher" if reaches(setting, value) else "applied"

    def overridden(self, behind: Mapping[str, Foreign]) -> List[Dict[str, str]]:
        """Return the keys another file takes away from us at the next boot."""
        return [
            {"key": setting.key, "wanted": setting.value, "value": behind[setting.path].value, "source": behind[setting.path].source}
            for setting in self.settings
            if setting.path in behind and not reaches(setting, behind[setting.path].value)
        ]

    def run(self, check_mode: bool, on_override: str) -> Dict[str, Any]:
        """Plan, refuse what cannot work before anything is changed, apply, read back."""
        states = {setting.path: self.state_of(setting, check_mode) for setting in self.settings}
        before, behind, hidden_by = other_files(self.root, self.path)
        overridden = self.overridden(behind)
        problems = [_missing_key(setting) for setting in self.settings if states[setting.path] == "unknown"]
        clashes = [
            f"{item['key']}: {item['source']} sets {item['value']!r} and is read after {self.path}, so it wins over {item['wanted']!r} "
            "at the next boot. Remove that line, or give it the same value."
            for item in overridden
        ]
        if hidden_by is not None:
            clashes.append(f"{hidden_by} has the same name as {self.path} and hides it at boot. Remove it, or choose another name.")
        if on_override == "fail":
            problems += clashes
        else:
            self.warnings += clashes
        if problems:
            raise SysctlError(" ".join(problems))
        for item in self.overridden(unlinked_sysctl_conf(self.root)):
            self.warnings.append(
                f"{item['key']}: {item['source']} sets {item['value']!r}. Nothing reads it at boot here, but `sysctl --system` reads it last."
            )
        for setting in self.settings:
            if states[setting.path] == "pending" and not (setting.module or module_of(setting.path)):
                self.warnings.append(_missing_key(setting))

        missing = [path for path, state in states.items() if state == "missing"]
        left_out = self.left_out()
        text = dropin_text(self.settings, left_out, missing) if self.settings else None
        file_changes = text != self.old_text or (text is not None and file_mode(self._inside(self.path)) != FILE_MODE)
        if not check_mode:
            self.apply()
            if file_changes:
                self.write_file(text)
        replaced = {path: foreign for path, foreign in before.items() if path not in left_out}
        return self.result(states, text, file_changes, overridden, replaced, check_mode)

    def apply(self) -> None:
        """Set what differs, in order as at boot, then prove every key: a write may move another one, as net.ipv4.ip_forward does."""
        present = [setting for setting in self.settings if self.before[setting.path] is not None]
        problems: Dict[str, str] = {}
        for setting in present:
            now = self.kernel.read(setting.path)
            if now is not None and reaches(setting, now):
                continue
            try:
                self.kernel.write(setting.path, setting.value)
            except OSError as error:
                problems[setting.path] = _refused(setting, error)
        for setting in present:
            now = self.kernel.read(setting.path)
            if setting.path not in problems and (now is None or not reaches(setting, now)):
                problems[setting.path] = (
                    f"{setting.key}: {setting.value!r} was set, but the kernel has {now!r} now. "
                    "Choose a value the kernel keeps, or find what sets it back, such as another key of this list."
                )
        if problems:
            raise SysctlError(" ".join(problems.values()))

    def write_file(self, text: Optional[str]) -> None:
        """Replace the file; without any setting it has no reason to exist."""
        if text is None:
            os.unlink(self._inside(self.path))
        else:
            write_text(self._inside(self.path), text, FILE_MODE)

    def result(
        self,
        states: Mapping[str, str],
        text: Optional[str],
        file_changes: bool,
        overridden: List[Dict[str, str]],
        earlier: Mapping[str, Foreign],
        check_mode: bool,
    ) -> Dict[str, Any]:
        """Tell what was done, or would be."""
        after: Dict[str, Optional[str]] = {}
        for setting in self.settings:
            if check_mode:
                planned = states[setting.path] in ("applied", "pending")
                after[setting.path] = setting.value if planned else self.before[setting.path]
            else:
                after[setting.path] = self.kernel.read(setting.path)
        touched = [setting for setting in self.settings if states[setting.path] in ("applied", "pending")]
        return {
            "changed": file_changes or len(touched) > 0,
            "path": self.path,
            "file_changed": file_changes,
            "applied": [setting.key for setting in touched if states[setting.path] == "applied"],
            "pending": [setting.key for setting in touched if states[setting.path] == "pending"],
            "higher": [setting.key for setting in self.settings if states[setting.path] == "higher"],
            "missing": [setting.key for setting in self.settings if states[setting.path] == "missing"],
            "overridden": overridden,
            "replaced": [
                {"key": setting.key, "value": earlier[setting.path].value, "source": earlier[setting.path].source}
                for setting in self.settings
                if setting.path in earlier and not same_value(setting.path, earlier[setting.path].value, setting.value)
            ],
            "settings": [
                {
                    "key": setting.key,
                    "wanted": setting.value,
                    "before": self.before[setting.path],
                    "after": after[setting.path],
                    "state": states[setting.path],
                }
                for setting in self.settings
            ],
            "diff": [
                {"before_header": self.path, "after_header": self.path, "before": self.old_text or "", "after": text or ""},
                {
                    "before_header": "/proc/sys",
                    "after_header": "/proc/sys",
                    "before": "".join(f"{s.key} = {_shown(self.before[s.path])}\n" for s in touched),
                    "after": "".join(f"{s.key} = {_shown(after[s.path])}\n" for s in touched),
                },
            ],
        }


def _shown(value: Optional[str]) -> str:
    return "(no such key yet)" if value is None else value
