# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and units: truthful, atomic, and finished by the next run when a run was killed."""

from __future__ import annotations

import os
import stat

import pytest
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _node_config as nc

NOW = 1_800_000_000.0
UPTIME = 5_000.0


class Killed(BaseException):
    """Not an Exception: nothing in the code under test may catch it."""


class Machine:
    """systemd, a clock and a validator, all scripted. Files are real and lie below tmp_path."""

    def __init__(self, tmp_path):
        self.root = tmp_path
        self.units = {}
        self.calls = []
        self.wall_now = NOW
        self.slept = 0.0
        self.refuse = None
        self.missing_commands = set()
        self.kill_before = None
        self.start_fails = False
        self.needs_polls = 0
        self.enable_fails = False

    def add(self, name, **properties):
        self.units[name] = {
            "Id": name,
            "LoadState": "loaded",
            "ActiveState": "inactive",
            "SubState": "dead",
            "UnitFileState": "disabled",
            "NeedDaemonReload": "no",
            "Type": "notify",
            "RemainAfterExit": "no",
            "Result": "success",
            "ExecMainStartTimestampMonotonic": "0",
            "ActiveEnterTimestampMonotonic": "0",
            **properties,
        }

    def running(self, name, seconds_ago, **properties):
        at = str(int((UPTIME - seconds_ago) * 1e6))
        self.add(
            name,
            ActiveState="active",
            SubState="running",
            UnitFileState="enabled",
            ExecMainStartTimestampMonotonic=at,
            ActiveEnterTimestampMonotonic=at,
            **properties,
        )

    def changing(self):
        """Return the commands that change something."""
        return [argv for argv in self.calls if argv[0] == "systemctl" and argv[1] not in ("show", "status")]

    def _set(self, name, running):
        unit = self.units[name]
        at = str(int((UPTIME + self.slept) * 1e6))
        if not running:
            unit.update(ActiveState="inactive", SubState="dead")
        elif self.start_fails:
            unit.update(ActiveState="failed", SubState="failed", Result="exit-code")
        elif unit["Type"] == "oneshot" and unit["RemainAfterExit"] != "yes":
            unit.update(ActiveState="inactive", SubState="dead", Result="success", ExecMainStartTimestampMonotonic=at)
        elif self.needs_polls:
            unit.update(ActiveState="activating", SubState="start", ExecMainStartTimestampMonotonic=at)
        else:
            unit.update(ActiveState="active", SubState="running", ExecMainStartTimestampMonotonic=at, ActiveEnterTimestampMonotonic=at)

    def run(self, argv, timeout=None):
        self.calls.append(argv)
        if self.kill_before and self.kill_before(argv):
            raise Killed()
        if argv[0] == "systemctl":
            return self._systemctl(argv[1], [word for word in argv[2:] if not word.startswith("-")])
        if argv[0] == "journalctl":
            return 0, "unit[1]: the last words\n", ""
        if argv[0] == "check":
            with open(argv[1], encoding="utf-8") as handle:
                text = handle.read()
            return (1, "", f"bad line in {text}") if self.refuse and self.refuse in text else (0, "", "")
        raise AssertionError(argv)

    def _systemctl(self, verb, names):
        if verb == "show":
            blocks = []
            for name in names[1:]:
                unit = self.units.get(name) or {"Id": name, "LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "UnitFileState": ""}
                if unit["ActiveState"] == "activating" and self.needs_polls:
                    self.needs_polls -= 1
                    if not self.needs_polls:
                        unit["ActiveState"] = "active"
                blocks.append("".join(f"{key}={value}\n" for key, value in unit.items()))
            return 0, "\n".join(blocks), ""
        if verb == "daemon-reload":
            for unit in self.units.values():
                unit["NeedDaemonReload"] = "no"
            for path in (self.root / "etc/systemd/system").glob("*.service"):
                if path.name not in self.units:
                    self.add(path.name)
            return 0, "", ""
        if verb in ("enable", "disable"):
            if self.enable_fails:
                return 1, "", "no [Install] section"
            for name in names:
                self.units[name]["UnitFileState"] = f"{verb}d"
            return 0, "", ""
        if verb in ("start", "restart"):
            self._set(names[0], True)
            return (1, "", "Job for it failed.") if self.start_fails else (0, "", "")
        if verb == "stop":
            self._set(names[0], False)
            return 0, "", ""
        if verb in ("status", "reset-failed"):
            return (3 if verb == "status" else 0), f"* {names[0]} - seen\n", ""
        raise AssertionError(verb)

    def sleep(self, seconds):
        self.slept += seconds

    def host(self):
        return nc.Host(
            run=self.run,
            find=lambda name: None if name in self.missing_commands else f"/usr/bin/{name}",
            wall=lambda: self.wall_now + self.slept,
            monotonic=lambda: UPTIME + self.slept,
            sleep=self.sleep,
            systemd_directories=(str(self.root / "etc/systemd/system") + "/",),
        )

    def apply(self, **options):
        return nc.NodeConfig(self.host(), scratch=str(self.root), **options).apply()

    def touch(self, path, seconds_ago):
        os.utime(path, (self.wall_now - seconds_ago, self.wall_now - seconds_ago))


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def leftovers(path):
    return [name for name in os.listdir(path) if name.endswith(".tmp")]


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


# --- files


def test_file_check_create_check_again(machine, tmp_path):
    path = tmp_path / "new/dir/file.conf"
    options = {"files": [{"path": str(path), "content": "a\n", "mode": "0640"}]}
    result = machine.apply(check_mode=True, with_diff=True, **options)
    assert result["changed"] and result["changed_files"] == [str(path)]
    assert result["diff"] == [{"before_header": str(path), "after_header": str(path), "before": "", "after": "a\n"}]
    assert not path.parent.exists()
    assert machine.apply(**options)["changed"]
    assert path.read_text() == "a\n" and mode_of(path) == 0o640 and mode_of(path.parent) == 0o755 and mode_of(tmp_path / "new") == 0o755
    inode = path.stat().st_ino
    assert machine.apply(check_mode=True, **options)["changed"] is False
    assert machine.apply(**options)["changed"] is False
    assert path.stat().st_ino == inode and not leftovers(path.parent)
    assert machine.calls == []


def test_a_parent_that_somebody_else_makes_at_the_same_moment(machine, tmp_path, monkeypatch):
    really = os.mkdir

    def late(path, *arguments):
        really(path, *arguments)
        raise FileExistsError(17, "File exists", path)

    monkeypatch.setattr(os, "mkdir", late)
    path = tmp_path / "shared" / "host" / "file"
    assert machine.apply(files=[{"path": str(path), "content": "text"}])["changed"]
    assert path.read_text() == "text"


def test_parents_do_not_depend_on_the_umask(machine, tmp_path):
    old = os.umask(0o077)
    try:
        machine.apply(files=[{"path": str(tmp_path / "a/b/c"), "content": ""}], directories=[{"path": str(tmp_path / "d"), "mode": "0755"}])
    finally:
        os.umask(old)
    assert mode_of(tmp_path / "a") == mode_of(tmp_path / "a/b") == mode_of(tmp_path / "d") == 0o755
    assert mode_of(tmp_path / "a/b/c") == 0o644


def test_changed_by_hand_is_mended_with_diff(machine, tmp_path):
    path = tmp_path / "f"
    path.write_text("by hand\n")
    result = machine.apply(files=[{"path": str(path), "content": "wanted\n"}], with_diff=True)
    assert path.read_text() == "wanted\n"
    assert (result["diff"][0]["before"], result["diff"][0]["after"]) == ("by hand\n", "wanted\n")


def test_mode_alone_keeps_the_file_and_its_time(machine, tmp_path):
    path = tmp_path / "f"
    path.write_text("a")
    path.chmod(0o600)
    machine.touch(path, 1000)
    before = path.stat()
    check = machine.apply(files=[{"path": str(path), "content": "a"}], check_mode=True)
    assert check["changed"] and mode_of(path) == 0o600
    result = machine.apply(files=[{"path": str(path), "content": "a"}], with_diff=True)
    assert result["diff"][0]["before"] == {"mode": "0600"} and result["diff"][0]["after"] == {"mode": "0644"}
    assert mode_of(path) == 0o644 and path.stat().st_mtime == before.st_mtime and path.stat().st_ino == before.st_ino


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_is_kept_unless_given(machine, tmp_path):
    path = tmp_path / "f"
    path.write_text("old")
    os.chown(path, 1234, 2345)
    machine.apply(files=[{"path": str(path), "content": "new"}])
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)
    result = machine.apply(files=[{"path": str(path), "content": "new", "owner": "root", "group": "0"}])
    assert result["changed"] and (path.stat().st_uid, path.stat().st_gid) == (0, 0)
    assert machine.apply(files=[{"path": str(path), "content": "new", "owner": "root", "group": "0"}])["changed"] is False


def test_owner_that_does_not_exist(machine, tmp_path):
    files = [{"path": str(tmp_path / "f"), "content": "", "owner": "nobody-of-that-name"}]
    assert machine.apply(files=files, check_mode=True)["changed"]
    with pytest.raises(nc.NodeConfigError, match="no owner 'nobody-of-that-name'.*Wanted.*Next"):
        machine.apply(files=files)
    assert not (tmp_path / "f").exists()


def test_link_is_replaced_and_its_target_left_alone(machine, tmp_path):
    target = tmp_path / "target"
    target.write_text("precious")
    path = tmp_path / "f"
    path.symlink_to(target)
    result = machine.apply(files=[{"path": str(path), "content": "precious"}], with_diff=True)
    assert result["changed"] and not path.is_symlink()
    assert "link to" in result["diff"][0]["before"]
    machine.apply(files=[{"path": str(path), "content": "other"}])
    assert target.read_text() == "precious"


def test_directory_in_the_place_of_a_file(machine, tmp_path):
    (tmp_path / "f").mkdir()
    with pytest.raises(nc.NodeConfigError, match="neither a file nor a link"):
        machine.apply(files=[{"path": str(tmp_path / "f"), "content": ""}])


def test_source(machine, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"\0binary" * 1000)
    files = [{"path": str(tmp_path / "f"), "source": str(source), "mode": "0755"}]
    assert machine.apply(files=files, with_diff=True)["diff"][0]["after"].startswith("(7000 bytes, sha256 ")
    assert (tmp_path / "f").read_bytes() == source.read_bytes()
    assert machine.apply(files=files)["changed"] is False


def test_missing_source(machine, tmp_path):
    files = [{"path": str(tmp_path / "f"), "source": str(tmp_path / "nope")}]
    assert machine.apply(files=files, check_mode=True)["changed"]
    assert machine.apply(files=[dict(files[0], optional=True)])["changed"] is False
    with pytest.raises(nc.NodeConfigError, match="Seen: no file .*nope.*Next"):
        machine.apply(files=files)


@pytest.mark.parametrize("mode", ["rw", "0999", "77777", "-1"])
def test_mode_that_is_none(machine, tmp_path, mode):
    with pytest.raises(nc.NodeConfigError, match="octal"):
        machine.apply(files=[{"path": str(tmp_path / "f"), "content": "", "mode": mode}])


def test_paths(machine, tmp_path):
    with pytest.raises(nc.NodeConfigError, match="absolute"):
        machine.apply(files=[{"path": "relative", "content": ""}])
    with pytest.raises(nc.NodeConfigError, match="in files and in absent"):
        machine.apply(files=[{"path": str(tmp_path / "f"), "content": ""}], absent=[str(tmp_path / "f")])


def test_secret_is_never_shown(machine, tmp_path):
    path = tmp_path / "f"
    path.write_text("s3cret-old")
    machine.refuse = "s3cret-new"
    options = {"files": [{"path": str(path), "content": "s3cret-new", "secret": True, "mode": "0600", "validate": ["check", "%s"]}], "with_diff": True}
    with pytest.raises(nc.NodeConfigError) as error:
        machine.apply(**options)
    assert "s3cret" not in str(error.value)
    machine.refuse = None
    assert "s3cret" not in str(machine.apply(**options))
    assert path.read_text() == "s3cret-new"


def test_leftovers_of_a_killed_run_go_away(machine, tmp_path):
    old, young, foreign = (tmp_path / name for name in (".f.node_config-abc.tmp", ".f.node_config-def.tmp", ".g.node_config-abc.tmp"))
    for path, age in ((old, 3600), (young, 10), (foreign, 3600)):
        path.write_text("half a secr")
        machine.touch(path, age)
    files = [{"path": str(tmp_path / "f"), "content": "a"}]
    machine.apply(files=files)
    assert not old.exists() and young.exists() and foreign.exists()
    machine.touch(young, 3600)
    machine.apply(files=files, check_mode=True)
    assert young.exists()
    assert machine.apply(files=files)["changed"] is False
    assert not young.exists() and foreign.exists()


# --- validators


def test_refused_file_changes_nothing_at_all(machine, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    second.write_text("old and good")
    machine.refuse = "bad"
    machine.running("x.service", 100)
    options = {
        "files": [{"path": str(first), "content": "fine"}, {"path": str(second), "content": "bad", "validate": ["check", "%s"]}],
        "units": [{"name": "x.service", "state": "started", "restart_when": [str(second)]}],
    }
    for check_mode in (True, False):
        with pytest.raises(nc.NodeConfigError, match="check %s refused the new .*second.*bad line in bad.*nothing was replaced.*Next"):
            machine.apply(check_mode=check_mode, **options)
        assert second.read_text() == "old and good" and not first.exists() and not leftovers(tmp_path)
    assert machine.changing() == []


def test_validator_sees_the_final_mode_and_a_file_in_the_same_directory(machine, tmp_path):
    seen = []
    run = machine.run

    def spy(argv, timeout=None):
        if argv[0] == "check":
            seen.append((os.path.dirname(argv[1]), mode_of(argv[1]), os.path.basename(argv[1])))
        return run(argv, timeout)

    machine.run = spy
    machine.apply(files=[{"path": str(tmp_path / "f.conf"), "content": "a", "mode": "0600", "validate": ["check", "%s"]}])
    assert seen[0][:2] == (str(tmp_path), 0o600)
    assert seen[0][2].startswith(".") and not seen[0][2].endswith(".conf")


def test_validator_is_not_run_for_an_unchanged_file(machine, tmp_path):
    files = [{"path": str(tmp_path / "f"), "content": "a", "validate": ["check", "%s"]}]
    machine.apply(files=files)
    machine.calls.clear()
    machine.apply(files=files)
    assert machine.calls == []


def test_missing_validator(machine, tmp_path):
    machine.missing_commands.add("check")
    files = [{"path": str(tmp_path / "f"), "content": "a", "validate": ["check", "%s"]}]
    assert machine.apply(files=files, check_mode=True)["changed"]
    with pytest.raises(nc.NodeConfigError, match="no command check.*Next: install it"):
        machine.apply(files=files)
    assert not (tmp_path / "f").exists()
    with pytest.raises(nc.NodeConfigError, match="Wanted: %s where"):
        machine.apply(files=[{"path": str(tmp_path / "f"), "content": "a", "validate": ["check"]}])


# --- directories, links, absent


def test_directories(machine, tmp_path):
    directories = [{"path": str(tmp_path / "a/b"), "mode": "0700"}]
    assert machine.apply(directories=directories, check_mode=True)["changed"] and not (tmp_path / "a").exists()
    assert machine.apply(directories=directories)["changed_files"] == [str(tmp_path / "a/b")]
    assert mode_of(tmp_path / "a/b") == 0o700 and mode_of(tmp_path / "a") == 0o755
    assert machine.apply(directories=directories)["changed"] is False
    (tmp_path / "a/b").chmod(0o755)
    assert machine.apply(directories=directories)["changed"] and mode_of(tmp_path / "a/b") == 0o700
    (tmp_path / "l").symlink_to(tmp_path / "a/b")
    assert machine.apply(directories=[{"path": str(tmp_path / "l"), "mode": "0700"}])["changed"] is False
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "file").write_text("")
    for name, words in (("broken", "does not exist"), ("file", "not a directory")):
        with pytest.raises(nc.NodeConfigError, match=words):
            machine.apply(directories=[{"path": str(tmp_path / name)}])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_of_a_directory_behind_a_link(machine, tmp_path):
    (tmp_path / "d").mkdir()
    os.chown(tmp_path / "d", 1234, 2345)
    (tmp_path / "l").symlink_to("d")
    directories = [{"path": str(tmp_path / "l"), "owner": "root", "group": "root"}]
    assert machine.apply(directories=directories)["changed"]
    assert ((tmp_path / "d").stat().st_uid, (tmp_path / "d").stat().st_gid) == (0, 0)
    assert machine.apply(directories=directories)["changed"] is False


def test_links(machine, tmp_path):
    links = [{"path": str(tmp_path / "d/l"), "target": "../t"}]
    assert machine.apply(links=links, check_mode=True)["changed"] and not (tmp_path / "d").exists()
    assert machine.apply(links=links)["changed"] and os.readlink(tmp_path / "d/l") == "../t"
    assert machine.apply(links=links)["changed"] is False
    assert machine.apply(links=[dict(links[0], target="x")])["changed"] and os.readlink(tmp_path / "d/l") == "x"
    with pytest.raises(nc.NodeConfigError, match="neither a file nor a link"):
        machine.apply(links=[{"path": str(tmp_path / "d"), "target": "x"}])


def test_absent(machine, tmp_path):
    (tmp_path / "f").write_text("")
    (tmp_path / "l").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/f").write_text("")
    absent = [str(tmp_path / name) for name in ("f", "l", "empty", "never-was")]
    assert len(machine.apply(absent=absent, check_mode=True)["changed_files"]) == 3 and (tmp_path / "f").exists()
    machine.apply(absent=absent)
    assert sorted(os.listdir(tmp_path)) == ["full"]
    assert machine.apply(absent=absent)["changed"] is False
    with pytest.raises(nc.NodeConfigError, match="1 entries"):
        machine.apply(absent=[str(tmp_path / "full")])


# --- units


def service(tmp_path, **more):
    return {"name": "x", "enabled": True, "state": "started", "restart_when": [str(tmp_path / "f")], **more}


def test_unit_is_enabled_and_started_once(machine, tmp_path):
    machine.add("x.service")
    options = {"units": [service(tmp_path)]}
    check = machine.apply(check_mode=True, **options)
    assert check["changed"] and check["enabled"] == check["started"] == ["x"] and machine.changing() == []
    result = machine.apply(**options)
    assert result["enabled"] == result["started"] == ["x"] and result["restarted"] == []
    assert machine.changing() == [["systemctl", "enable", "--", "x.service"], ["systemctl", "start", "--", "x.service"]]
    machine.calls.clear()
    result = machine.apply(**options)
    assert result["changed"] is False
    assert len(machine.calls) == 1, "one command is enough to see that nothing is to be done"


def test_unit_of_a_package_not_installed_yet(machine, tmp_path):
    result = machine.apply(check_mode=True, units=[service(tmp_path)], files=[{"path": str(tmp_path / "f"), "content": "a"}])
    assert result["started"] == ["x"] and result["enabled"] == ["x"]
    for unit in (service(tmp_path), service(tmp_path, enabled=None)):
        with pytest.raises(nc.NodeConfigError, match="knows no unit x.service.*Next: install"):
            machine.apply(units=[unit])
    assert machine.apply(units=[{"name": "x", "enabled": False, "state": "stopped"}])["changed"] is False


def test_new_unit_file_is_read_then_started(machine, tmp_path):
    path = tmp_path / "etc/systemd/system/y.service"
    options = {"files": [{"path": str(path), "content": "[Service]\n"}], "units": [{"name": "y.service", "enabled": True, "state": "started"}]}
    check = machine.apply(check_mode=True, **options)
    assert check["daemon_reloaded"] and check["started"] == ["y.service"]
    result = machine.apply(**options)
    assert result["daemon_reloaded"] and result["started"] == ["y.service"]
    assert [argv[1] for argv in machine.changing()] == ["daemon-reload", "enable", "start"]


def test_removed_drop_in_is_a_reason_to_reload_and_restart(machine, tmp_path):
    drop_in = tmp_path / "etc/systemd/system/x.service.d/10.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("")
    machine.running("x.service", 100)
    result = machine.apply(absent=[str(drop_in)], units=[service(tmp_path, restart_when=[str(drop_in)])])
    assert result["daemon_reloaded"] and result["restarted"] == ["x"]


def test_systemd_says_it_needs_to_reload(machine, tmp_path):
    machine.running("x.service", 100, NeedDaemonReload="yes")
    assert machine.apply(units=[service(tmp_path)], check_mode=True)["daemon_reloaded"]
    result = machine.apply(units=[service(tmp_path)])
    assert result["changed"] and result["daemon_reloaded"] and not result["restarted"]
    assert machine.apply(units=[service(tmp_path)])["changed"] is False


def test_changed_file_restarts_a_running_unit_once(machine, tmp_path):
    machine.running("x.service", 100)
    (tmp_path / "f").write_text("old")
    machine.touch(tmp_path / "f", 1000)
    options = {"files": [{"path": str(tmp_path / "f"), "content": "new"}], "units": [service(tmp_path)]}
    assert machine.apply(check_mode=True, **options)["restarted"] == ["x"]
    assert machine.apply(**options)["restarted"] == ["x"]
    machine.touch(tmp_path / "f", 1)
    assert machine.apply(**options)["changed"] is False


def test_killed_between_write_and_restart(machine, tmp_path):
    machine.running("x.service", 100)
    (tmp_path / "f").write_text("old")
    machine.touch(tmp_path / "f", 1000)
    options = {"files": [{"path": str(tmp_path / "f"), "content": "new"}], "units": [service(tmp_path)]}
    machine.kill_before = lambda argv: argv[:2] == ["systemctl", "restart"]
    with pytest.raises(Killed):
        machine.apply(**options)
    machine.touch(tmp_path / "f", 5)
    machine.kill_before = None
    machine.calls.clear()
    check = machine.apply(check_mode=True, **options)
    assert check["changed"] and check["changed_files"] == [] and check["restarted"] == ["x"]
    result = machine.apply(**options)
    assert result["changed"] and result["changed_files"] == [] and result["restarted"] == ["x"]
    assert machine.apply(**options)["changed"] is False


@pytest.mark.parametrize("step", ["daemon-reload", "enable", "start"])
def test_killed_at_any_command_of_a_first_run(machine, tmp_path, step):
    path = tmp_path / "etc/systemd/system/y.service"
    options = {
        "files": [{"path": str(path), "content": "[Service]\n"}],
        "units": [{"name": "y.service", "enabled": True, "state": "started", "restart_when": [str(path)]}],
    }
    machine.kill_before = lambda argv: argv[:2] == ["systemctl", step]
    with pytest.raises(Killed):
        machine.apply(**options)
    machine.touch(path, 5)
    machine.kill_before = None
    # systemd reads a unit file it has never read when it is asked for it.
    if "y.service" not in machine.units:
        machine.add("y.service")
    assert machine.apply(**options)["started"] == ["y.service"]
    assert machine.units["y.service"]["UnitFileState"] == "enabled"
    assert machine.apply(**options)["changed"] is False


def test_killed_before_the_rename(machine, tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_text("old")

    def killed(*_args):
        raise Killed()

    with monkeypatch.context() as patch:
        patch.setattr(nc.os, "rename", killed)
        with pytest.raises(Killed):
            machine.apply(files=[{"path": str(path), "content": "new"}])
    assert path.read_text() == "old"
    assert machine.apply(files=[{"path": str(path), "content": "new"}])["changed"]


def test_time_in_the_future_is_no_reason(machine, tmp_path):
    machine.running("x.service", 100)
    (tmp_path / "f").write_text("a")
    machine.touch(tmp_path / "f", -3600)
    assert machine.apply(units=[service(tmp_path)])["changed"] is False


def test_clock_that_was_set_forward_after_boot(machine, tmp_path):
    machine.running("x.service", 100)
    (tmp_path / "f").write_text("a")
    machine.touch(tmp_path / "f", 1000)
    machine.wall_now += 3600
    assert machine.apply(units=[service(tmp_path)])["changed"] is False


def test_older_and_missing_files_are_no_reason(machine, tmp_path):
    machine.running("x.service", 100)
    assert machine.apply(units=[service(tmp_path)])["changed"] is False
    (tmp_path / "f").write_text("a")
    machine.touch(tmp_path / "f", 101)
    assert machine.apply(units=[service(tmp_path)])["changed"] is False
    machine.touch(tmp_path / "f", 99)
    assert machine.apply(units=[service(tmp_path)])["restarted"] == ["x"]


def test_unit_without_wanted_state(machine, tmp_path):
    """The kubelet before kubeadm has run: enabled, never started by us, restarted between two crashes without waiting."""
    (tmp_path / "f").write_text("a")
    machine.add("x.service", UnitFileState="enabled")
    unit = {"name": "x", "enabled": True, "restart_when": [str(tmp_path / "f")]}
    assert machine.apply(units=[unit])["changed"] is False
    machine.running("x.service", 100)
    machine.units["x.service"].update(ActiveState="activating", SubState="auto-restart")
    machine.touch(tmp_path / "f", 10)
    machine.start_fails = False
    machine.needs_polls = 99
    assert machine.apply(units=[unit])["restarted"] == ["x"]
    assert machine.slept == 0


def test_start_is_waited_for(machine, tmp_path):
    machine.add("x.service")
    machine.needs_polls = 5
    assert machine.apply(units=[service(tmp_path)])["started"] == ["x"]
    assert machine.slept == 4


def test_start_that_never_ends(machine, tmp_path):
    machine.add("x.service")
    machine.needs_polls = 10_000
    with pytest.raises(nc.NodeConfigError, match=r"x.service is activating.*started within 30 seconds(.|\n)*the last words"):
        machine.apply(units=[service(tmp_path)], wait_seconds=30)
    assert 30 <= machine.slept < 35


def test_failing_start_brings_its_evidence(machine, tmp_path):
    machine.add("x.service", ActiveState="failed", Result="start-limit-hit")
    machine.start_fails = True
    job = nc.NodeConfig(machine.host(), units=[service(tmp_path)])
    with pytest.raises(nc.NodeConfigError) as error:
        job.apply()
    for word in (
        "Seen: systemctl start x.service",
        "Job for it failed",
        "Wanted: started",
        "Next: journalctl -u x.service",
        "* x.service - seen",
        "the last words",
    ):
        assert word in str(error.value)
    assert ["systemctl", "reset-failed", "--", "x.service"] in machine.calls
    assert ["journalctl", "--no-pager", "--quiet", "-n", "20", "-u", "x.service"] in machine.calls
    assert job.result["changed"] and job.result["enabled"] == ["x"]


def test_masked_unit(machine, tmp_path):
    machine.add("x.service", LoadState="masked", UnitFileState="masked")
    for unit in (service(tmp_path), service(tmp_path, enabled=None)):
        with pytest.raises(nc.NodeConfigError, match="is masked.*systemctl unmask x.service"):
            machine.apply(units=[unit])


def test_oneshot_that_remains(machine, tmp_path):
    machine.running("x.service", 100, Type="oneshot", RemainAfterExit="yes")
    machine.units["x.service"]["SubState"] = "exited"
    assert machine.apply(units=[service(tmp_path)])["changed"] is False
    (tmp_path / "f").write_text("")
    machine.touch(tmp_path / "f", 1)
    assert machine.apply(units=[service(tmp_path)])["restarted"] == ["x"]


def test_oneshot_that_does_not_remain(machine, tmp_path):
    machine.add("x.service", Type="oneshot")
    (tmp_path / "f").write_text("")
    machine.touch(tmp_path / "f", 50)
    assert machine.apply(units=[service(tmp_path)])["started"] == ["x"]
    assert machine.apply(units=[service(tmp_path)])["changed"] is False
    machine.units["x.service"]["ExecMainStartTimestampMonotonic"] = str(int((UPTIME - 60) * 1e6))
    assert machine.apply(units=[service(tmp_path)])["restarted"] == ["x"]


@pytest.mark.parametrize("seen", ["static", "alias", "indirect", "generated", "enabled"])
def test_nothing_to_enable(machine, seen):
    machine.add("x.service", UnitFileState=seen)
    assert machine.apply(units=[{"name": "x", "enabled": True}])["changed"] is False


def test_enable_that_fails(machine):
    machine.add("x.service")
    machine.enable_fails = True
    with pytest.raises(nc.NodeConfigError, match="no .Install. section.*Next"):
        machine.apply(units=[{"name": "x", "enabled": True}])


def test_stop_and_disable(machine):
    machine.running("x.service", 100)
    units = [{"name": "x", "enabled": False, "state": "stopped"}]
    check = machine.apply(units=units, check_mode=True)
    assert check["stopped"] == ["x"] and check["disabled"] == ["x"] and machine.changing() == []
    result = machine.apply(units=units)
    assert result["stopped"] == ["x"] and result["disabled"] == ["x"]
    assert machine.apply(units=units)["changed"] is False


def test_disk_that_is_full(machine, tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_text("old")

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nc.os, "fsync", full)
    with pytest.raises(nc.NodeConfigError, match="No space left"):
        machine.apply(files=[{"path": str(path), "content": "new"}])
    assert path.read_text() == "old" and not leftovers(tmp_path)
