# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _sysctl
from ansible_collections.baremetal.kubernetes.plugins.module_utils._sysctl import (
    Dropin,
    Kernel,
    SysctlError,
    dropin_text,
    format_ports,
    key_path,
    make_settings,
    parse,
    parse_ports,
    same_value,
)

OWN = "/etc/sysctl.d/99-k8s-network.conf"

# A busy machine is no bug.
patient = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Machine(Kernel):
    """A /proc/sys whose keys exist or not, and which keeps values its own way."""

    def __init__(self, root: Path, values: dict[str, str]) -> None:
        super().__init__(str(root))
        self.writes: list[tuple[str, str]] = []
        self.errors: dict[str, OSError] = {}
        self.keeps: dict[str, str] = {}
        # A write to the one key sets the other one to 0.
        self.moves: dict[str, str] = {}
        for key, value in values.items():
            self.put(f"/proc/sys/{key_path(key)}", value + "\n")

    def put(self, path: str, text: str) -> Path:
        target = Path(self.root) / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def text(self, path: str = OWN) -> str | None:
        target = Path(self.root) / path.lstrip("/")
        return target.read_text() if target.exists() else None

    def write(self, path: str, value: str) -> None:
        self.writes.append((path, value))
        if path in self.errors:
            raise self.errors[path]
        super().write(path, self.keeps.get(path, value))
        if path in self.moves:
            super().write(self.moves[path], "0")


@pytest.fixture(name="machine")
def fixture_machine(tmp_path: Path) -> Machine:
    return Machine(
        tmp_path,
        {
            "net.ipv4.ip_forward": "0",
            "net.ipv4.ip_local_port_range": "32768\t60999",
            "net.ipv4.ip_local_reserved_ports": "",
            "fs.file-max": "9223372036854775807",
            "fs.inotify.max_user_watches": "11000",
        },
    )


def run(machine: Machine, entries: list[dict], check_mode: bool = False, on_override: str = "fail", path: str = OWN) -> dict:
    return Dropin(machine, path, make_settings(entries)).run(check_mode, on_override)


FORWARD = {"key": "net.ipv4.ip_forward", "value": 1}
FILE_MAX = {"key": "fs.file-max", "value": 2097152, "min_only": True}
WATCHES = {"key": "fs.inotify.max_user_watches", "value": 524288, "min_only": True}


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
        ("net/ipv4/conf/eth0.100/rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
        ("/net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("kernel", "kernel"),
    ],
)
def test_the_first_separator_decides(key: str, path: str) -> None:
    assert key_path(key) == path


@pytest.mark.parametrize(
    ("path", "one", "other", "same"),
    [
        ("net/ipv4/ip_local_port_range", "1024\t65535", "1024 65535", True),
        ("net/ipv4/ip_local_port_range", "1024 65535", "1024 65534", False),
        ("net/ipv4/ip_local_reserved_ports", "30000-32767,6443", "6443,30000-31000,31001-32767", True),
        ("net/ipv4/ip_local_reserved_ports", "6443", "6443-6444", False),
        ("net/ipv4/ip_local_reserved_ports", "6443", "not ports", False),
        ("net/ipv4/ip_local_reserved_ports", "", "", True),
        ("kernel/sysrq", "016", "16", True),
        ("kernel/sysrq", "0x10", "16", True),
        ("kernel/core_pattern", "core", "|/bin/false", False),
        ("net/ipv4/tcp_congestion_control", "", "cubic", False),
    ],
)
def test_values_are_compared_as_the_kernel_does(path: str, one: str, other: str, same: bool) -> None:
    assert same_value(path, one, other) is same


@patient
@given(st.sets(st.integers(min_value=1, max_value=65535), max_size=60))
def test_ports_survive_being_written(ports: set[int]) -> None:
    assert parse_ports(format_ports(ports)) == ports


def test_parser_follows_sysctl_d() -> None:
    text = (
        "# net.ipv4.a = 1\n"
        "  ; net.ipv4.b = 1\n"
        "\n"
        "  net.ipv4.c=1  \n"
        "-net/ipv4/conf/eth0.7/rp_filter = 0\n"
        "-net.ipv4.conf.all.rp_filter\n"
        "a word without a value\n"
        "net.ipv4.d = 1 # not a comment\n"
        "net.ipv4.e = a=b\r\n"
        "net.ipv4.c = 2"
    )
    assert parse(text) == [
        ("net/ipv4/c", "1", 4),
        ("net/ipv4/conf/eth0.7/rp_filter", "0", 5),
        ("net/ipv4/d", "1 # not a comment", 8),
        ("net/ipv4/e", "a=b", 9),
        ("net/ipv4/c", "2", 10),
    ]


@patient
@given(st.text())
def test_parser_takes_any_text(text: str) -> None:
    lines = text.split("\n")
    for item in parse(text):
        line = lines[item.line - 1]
        assert "=" in line and not line.lstrip(" \t\r").startswith(("#", ";"))
        assert item.path and item.value == item.value.strip(" \t")


NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
KEYS = st.lists(NAMES, min_size=2, max_size=5).map(".".join)


@patient
@given(st.dictionaries(KEYS, st.tuples(st.integers(0, 10**9), st.booleans(), st.sampled_from(["", "why", "two\nlines", "# = x"])), max_size=6))
def test_what_is_written_is_read_back(values: dict) -> None:
    settings = make_settings([{"key": key, "value": v, "optional": o, "comment": c} for key, (v, o, c) in values.items()])
    assert [(item.path, item.value) for item in parse(dropin_text(settings))] == [(s.path, s.value) for s in settings]
    text = dropin_text(settings, missing=[s.path for s in settings if s.optional])
    assert [text.split("\n")[item.line - 1].startswith("-") for item in parse(text)] == [s.optional for s in settings]


def test_first_run_second_run(machine: Machine) -> None:
    first = run(machine, [FORWARD])
    assert first["changed"] and first["file_changed"] and first["applied"] == ["net.ipv4.ip_forward"]
    assert machine.text().endswith("net.ipv4.ip_forward = 1\n")
    assert machine.text("/proc/sys/net/ipv4/ip_forward") == "1\n"
    assert oct((Path(machine.root) / OWN.lstrip("/")).stat().st_mode)[-3:] == "644"
    machine.writes.clear()
    second = run(machine, [FORWARD])
    assert not second["changed"] and machine.writes == []
    assert second["settings"] == [{"key": "net.ipv4.ip_forward", "wanted": "1", "before": "1", "after": "1", "state": "same"}]


def test_check_mode_changes_nothing_and_says_what_would_change(machine: Machine) -> None:
    planned = run(machine, [FORWARD], check_mode=True)
    assert machine.writes == [] and machine.text() is None
    done = run(machine, [FORWARD])
    assert planned["diff"] == done["diff"]
    assert dict(planned) == done
    assert not run(machine, [FORWARD], check_mode=True)["changed"]


def test_diff_shows_the_file_and_the_effective_values(machine: Machine) -> None:
    file_diff, value_diff = run(machine, [{**FORWARD, "comment": "routers"}])["diff"]
    assert file_diff["before"] == "" and "# routers\nnet.ipv4.ip_forward = 1\n" in file_diff["after"]
    assert (value_diff["before"], value_diff["after"]) == ("net.ipv4.ip_forward = 0\n", "net.ipv4.ip_forward = 1\n")


def test_drift_of_a_value_is_mended_without_writing_the_file(machine: Machine) -> None:
    run(machine, [FORWARD])
    machine.put("/proc/sys/net/ipv4/ip_forward", "0\n")
    again = run(machine, [FORWARD])
    assert again["changed"] and not again["file_changed"] and again["applied"] == ["net.ipv4.ip_forward"]


def test_hand_edited_file_and_wrong_mode_are_mended(machine: Machine) -> None:
    run(machine, [FORWARD])
    own = Path(machine.root) / OWN.lstrip("/")
    own.write_text(own.read_text() + "net.ipv4.ip_forward = 0\n")
    assert run(machine, [FORWARD])["file_changed"]
    own.chmod(0o600)
    assert run(machine, [FORWARD])["file_changed"]
    assert not run(machine, [FORWARD])["changed"]


def test_only_what_differs_is_written(machine: Machine) -> None:
    machine.put("/proc/sys/net/ipv4/ip_forward", "1\n")
    result = run(machine, [FORWARD, {"key": "net.ipv4.ip_local_port_range", "value": "32768 60999"}])
    assert result["file_changed"] and result["applied"] == [] and machine.writes == []


def test_removed_keys_vanish_from_the_file_and_the_last_one_takes_the_file_along(machine: Machine) -> None:
    run(machine, [FORWARD, WATCHES])
    result = run(machine, [{**FORWARD, "state": "absent"}, WATCHES])
    assert result["changed"] and "ip_forward" not in machine.text() and "max_user_watches" in machine.text()
    assert machine.text("/proc/sys/net/ipv4/ip_forward") == "1\n"
    result = run(machine, [{**FORWARD, "state": "absent"}])
    assert result["changed"] and machine.text() is None
    assert not run(machine, [{**FORWARD, "state": "absent"}])["changed"]


def test_min_only_raises(machine: Machine) -> None:
    result = run(machine, [WATCHES])
    assert result["applied"] == ["fs.inotify.max_user_watches"] and machine.writes == [("fs/inotify/max_user_watches", "524288")]
    assert not run(machine, [WATCHES])["changed"]


def test_min_only_never_lowers_now_or_at_boot(machine: Machine) -> None:
    result = run(machine, [FILE_MAX])
    assert result["higher"] == ["fs.file-max"] and result["applied"] == [] and machine.writes == []
    assert parse(machine.text()) == [], "a line in the file would lower the value at boot"
    assert "# fs.file-max = 2097152\n" in machine.text()
    assert not run(machine, [FILE_MAX])["changed"]
    assert result["settings"][0]["after"] == "9223372036854775807"


def test_min_only_line_stays_when_somebody_raised_the_value_by_hand(machine: Machine) -> None:
    run(machine, [WATCHES])
    machine.put("/proc/sys/fs/inotify/max_user_watches", "1048576\n")
    result = run(machine, [WATCHES])
    assert not result["changed"] and result["higher"] == ["fs.inotify.max_user_watches"]
    assert parse(machine.text())[0].value == "524288"


def test_the_kernel_may_round_up_a_minimum(machine: Machine) -> None:
    entry = {"key": "net.netfilter.nf_conntrack_buckets", "value": 100, "min_only": True}
    machine.put("/proc/sys/net/netfilter/nf_conntrack_buckets", "64\n")
    machine.keeps["net/netfilter/nf_conntrack_buckets"] = "512"
    assert run(machine, [entry])["settings"][0]["after"] == "512"
    assert not run(machine, [entry])["changed"]


def test_key_of_a_module_that_is_not_loaded_is_pending_in_check_mode(machine: Machine) -> None:
    entry = {"key": "net.bridge.bridge-nf-call-iptables", "value": 1}
    dropin = Dropin(machine, OWN, make_settings([entry]))
    result = dropin.run(True, "fail")
    assert result["changed"] and result["pending"] == ["net.bridge.bridge-nf-call-iptables"] and dropin.warnings == []
    assert "(no such key yet)" in result["diff"][1]["before"]
    with pytest.raises(SysctlError, match="no such key. It appears with the kernel module br_netfilter: load that first"):
        run(machine, [entry, FORWARD])
    assert machine.writes == [] and machine.text() is None, "nothing is changed when one key cannot work"


@pytest.mark.parametrize(
    ("key", "module"),
    [
        ("net.netfilter.nf_conntrack_max", "nf_conntrack"),
        ("net.ipv4.vs.conntrack", "ip_vs"),
        ("net.ipv6.conf.all.forwarding", "ipv6"),
        ("net.bridge.bridge-nf-call-ip6tables", "br_netfilter"),
    ],
)
def test_the_module_to_load_is_named(machine: Machine, key: str, module: str) -> None:
    with pytest.raises(SysctlError, match=re.escape(f"{key}: this kernel has no such key. It appears with the kernel module {module}:")):
        run(machine, [{"key": key, "value": 1}])


def test_unknown_key_is_called_a_likely_typo(machine: Machine) -> None:
    entry = {"key": "net.ipv4.ip_foward", "value": 1}
    with pytest.raises(SysctlError, match=r"no module is known that makes it. Check the spelling \(/proc/sys/net/ipv4/ip_foward\)"):
        run(machine, [entry])
    dropin = Dropin(machine, OWN, make_settings([entry]))
    assert dropin.run(True, "fail")["pending"] == ["net.ipv4.ip_foward"]
    assert len(dropin.warnings) == 1
    with pytest.raises(SysctlError, match="kernel module my_driver"):
        run(machine, [{**entry, "module": "my_driver"}])


def test_optional_key_may_be_missing(machine: Machine) -> None:
    entry = {"key": "net.ipv6.neigh.default.gc_thresh1", "value": 1024, "optional": True}
    result = run(machine, [entry])
    assert result["missing"] == ["net.ipv6.neigh.default.gc_thresh1"] and machine.writes == []
    assert machine.text().endswith("\n-net.ipv6.neigh.default.gc_thresh1 = 1024\n")
    assert not run(machine, [entry])["changed"]
    machine.put("/proc/sys/net/ipv6/neigh/default/gc_thresh1", "128\n")
    assert run(machine, [entry])["applied"] == ["net.ipv6.neigh.default.gc_thresh1"]
    assert machine.text().endswith("\nnet.ipv6.neigh.default.gc_thresh1 = 1024\n")


def test_interface_with_a_dot(machine: Machine) -> None:
    machine.put("/proc/sys/net/ipv4/conf/eth0.100/rp_filter", "1\n")
    run(machine, [{"key": "net.ipv4.conf.eth0/100.rp_filter", "value": 2}])
    assert machine.text("/proc/sys/net/ipv4/conf/eth0.100/rp_filter") == "2\n"


@pytest.mark.parametrize(
    ("path", "line", "named"),
    [
        ("/etc/sysctl.d/99-zz.conf", "net.ipv4.ip_forward=0", "/etc/sysctl.d/99-zz.conf:2"),
        ("/run/sysctl.d/99-zz.conf", "net/ipv4/ip_forward = 0", "/run/sysctl.d/99-zz.conf:2"),
        ("/usr/local/lib/sysctl.d/99-zz.conf", "-net.ipv4.ip_forward = 0", "/usr/local/lib/sysctl.d/99-zz.conf:2"),
        ("/usr/lib/sysctl.d/99-zz.conf", "net.ipv4.ip_forward = 0", "/usr/lib/sysctl.d/99-zz.conf:2"),
    ],
)
def test_a_later_file_that_wins_is_named(machine: Machine, path: str, line: str, named: str) -> None:
    machine.put(path, f"# comment\n{line}\n")
    with pytest.raises(SysctlError, match=re.escape(f"net.ipv4.ip_forward: {named} sets '0' and is read after {OWN}")):
        run(machine, [FORWARD])
    assert machine.writes == [] and machine.text() is None
    dropin = Dropin(machine, OWN, make_settings([FORWARD]))
    result = dropin.run(False, "warn")
    assert result["overridden"] == [{"key": "net.ipv4.ip_forward", "wanted": "1", "value": "0", "source": named}]
    assert len(dropin.warnings) == 1 and named in dropin.warnings[0]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/etc/sysctl.d/99-zz.conf", "net.ipv4.ip_forward = 1"),
        ("/etc/sysctl.d/98-aa.conf", "net.ipv4.ip_forward = 0"),
        # capitals sort before small letters, whatever the language of the machine
        ("/etc/sysctl.d/99-Zz.conf", "net.ipv4.ip_forward = 0"),
        ("/etc/sysctl.d/99-zz.conf.bak", "net.ipv4.ip_forward = 0"),
        ("/etc/sysctl.d/.99-zz.conf", "net.ipv4.ip_forward = 0"),
        ("/etc/sysctl.d/99-zz.conf", "net.ipv4.* = 0"),
        ("/etc/sysctl.d/99-zz.conf", "-net.ipv4.ip_forward"),
    ],
)
def test_files_that_do_not_win(machine: Machine, path: str, line: str) -> None:
    machine.put(path, line + "\n")
    assert run(machine, [FORWARD])["overridden"] == []


def test_same_name_in_a_folder_of_higher_rank_counts_alone(machine: Machine) -> None:
    machine.put("/usr/lib/sysctl.d/99-zz.conf", "net.ipv4.ip_forward = 0\n")
    machine.put("/etc/sysctl.d/99-zz.conf", "\n")
    assert run(machine, [FORWARD])["overridden"] == []
    os.unlink(Path(machine.root) / "etc/sysctl.d/99-zz.conf")
    os.symlink("/dev/null", Path(machine.root) / "etc/sysctl.d/99-zz.conf")
    assert run(machine, [FORWARD])["overridden"] == []


def test_own_file_hidden_by_one_of_higher_rank(machine: Machine) -> None:
    machine.put("/etc/sysctl.d/50-k.conf", "\n")
    with pytest.raises(SysctlError, match="/etc/sysctl.d/50-k.conf has the same name as /usr/lib/sysctl.d/50-k.conf and hides it at boot"):
        run(machine, [FORWARD], path="/usr/lib/sysctl.d/50-k.conf")


def test_sysctl_conf_counts_at_boot_only_where_a_link_makes_it(machine: Machine) -> None:
    machine.put("/etc/sysctl.conf", "\n\nnet.ipv4.ip_forward = 0\n")
    dropin = Dropin(machine, OWN, make_settings([FORWARD]))
    assert dropin.run(True, "fail")["overridden"] == []
    assert dropin.warnings == [
        "net.ipv4.ip_forward: /etc/sysctl.conf:3 sets '0'. Nothing reads it at boot here, but `sysctl --system` reads it last."
    ]
    (Path(machine.root) / "etc/sysctl.d").mkdir()
    os.symlink("../sysctl.conf", Path(machine.root) / "etc/sysctl.d/99-sysctl.conf")
    with pytest.raises(SysctlError, match=re.escape("/etc/sysctl.d/99-sysctl.conf:3 (a link to /etc/sysctl.conf) sets '0'")):
        run(machine, [FORWARD])


def test_later_file_that_raises_a_minimum_is_welcome(machine: Machine) -> None:
    machine.put("/etc/sysctl.d/99-zz.conf", "fs.inotify.max_user_watches = 1000000\n")
    assert run(machine, [WATCHES])["overridden"] == []


def test_earlier_files_we_win_over_are_told(machine: Machine) -> None:
    machine.put("/usr/lib/sysctl.d/50-default.conf", "net.ipv4.ip_forward = 0\n")
    assert run(machine, [FORWARD])["replaced"] == [
        {"key": "net.ipv4.ip_forward", "value": "0", "source": "/usr/lib/sysctl.d/50-default.conf:1"}
    ]


def test_earlier_file_that_keeps_its_higher_value_is_not_replaced(machine: Machine) -> None:
    machine.put("/etc/sysctl.d/10-database.conf", "fs.file-max = 9223372036854775807\n")
    result = run(machine, [FILE_MAX])
    assert result["higher"] == ["fs.file-max"] and result["replaced"] == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errno.EINVAL, "refuses '7' (Invalid argument). Correct the value"),
        (errno.EROFS, "/proc/sys cannot be written here: either this is not root, or a container"),
        (errno.EACCES, "or use a machine with a kernel of its own"),
    ],
)
def test_the_kernel_refuses(machine: Machine, error: int, said: str) -> None:
    machine.errors["net/ipv4/ip_forward"] = OSError(error, os.strerror(error))
    with pytest.raises(SysctlError, match=re.escape(said)):
        run(machine, [{"key": "net.ipv4.ip_forward", "value": 7}])
    assert machine.text() is None, "a value the kernel refuses is not left for the next boot"


def test_value_that_is_taken_but_not_kept(machine: Machine) -> None:
    machine.keeps["net/ipv4/ip_forward"] = "0"
    with pytest.raises(SysctlError, match="'1' was set, but the kernel has '0' now"):
        run(machine, [FORWARD])


def test_a_key_that_another_write_moved_is_set_again_or_told(machine: Machine) -> None:
    redirects = {"key": "net.ipv4.conf.all.accept_redirects", "value": 1}
    machine.put("/proc/sys/net/ipv4/conf/all/accept_redirects", "1\n")
    machine.moves["net/ipv4/ip_forward"] = "net/ipv4/conf/all/accept_redirects"
    assert run(machine, [FORWARD, redirects])["settings"][1]["after"] == "1"
    assert not run(machine, [FORWARD, redirects])["changed"]
    machine.put("/proc/sys/net/ipv4/ip_forward", "0\n")
    with pytest.raises(SysctlError, match="accept_redirects: '1' was set, but the kernel has '0' now.* another key of this list"):
        run(machine, [redirects, FORWARD])


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"key": "net.ipv4.*", "value": 1}, "is not the name of one sysctl"),
        ({"key": "../etc/passwd", "value": 1}, "is not the name of one sysctl"),
        ({"key": "net/../../etc/passwd", "value": 1}, "is not the name of one sysctl"),
        ({"key": "ip_forward", "value": 1}, "is not the name of one sysctl"),
        ({"key": "net.ipv4.ip_forward\nkernel.x", "value": 1}, "is not the name of one sysctl"),
        ({"key": "net.ipv4.ip_forward", "value": None}, "has no value"),
        ({"key": "net.ipv4.ip_forward", "value": ""}, "has no value"),
        ({"key": "kernel.core_pattern", "value": "core", "min_only": True}, "is min_only, but its value 'core' is not one number"),
        ({"key": "net.ipv4.tcp_rmem", "value": "4096 131072 6291456", "min_only": True}, "is not one number"),
    ],
)
def test_wrong_settings_are_refused(entry: dict, said: str) -> None:
    with pytest.raises(SysctlError, match=re.escape(said)):
        make_settings([entry])


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SysctlError) as caught:
        make_settings([FORWARD, {"key": "net/ipv4/ip_forward", "value": 0}, {"key": "a b", "value": 1}])
    assert "is given twice (first as 'net.ipv4.ip_forward')" in str(caught.value) and "'a b'" in str(caught.value)


def test_yaml_booleans_become_numbers_and_line_breaks_spaces() -> None:
    assert [s.value for s in make_settings([{"key": "a.b", "value": True}, {"key": "a.c", "value": "1\n2"}])] == ["1", "1 2"]


def test_write_is_one_call_and_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _sysctl.Kernel(str(tmp_path)).write("net/ipv4/ip_forward", "1")
