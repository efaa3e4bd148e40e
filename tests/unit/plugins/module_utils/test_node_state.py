# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a node: what is missing is an answer, and two commands are enough."""

from __future__ import annotations

import hashlib
import os

import pytest
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _node_state as state
from ansible_collections.baremetal.kubernetes.plugins.module_utils._systemd import SystemdError, parse_show, show_units, unit_name


class Script:
    """A command runner that answers from a list and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    def __call__(self, argv, timeout=None):
        self.calls.append(argv)
        return self.answers.pop(0)


DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'
ROCKY = 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.6"\n'


@pytest.fixture
def root(tmp_path):
    """A file system with the few files that are read."""
    for name, text in (
        ("etc/os-release", DEBIAN),
        ("proc/meminfo", "MemTotal:        3039616 kB\nMemFree:          100000 kB\n"),
        ("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
        ("etc/fstab", "# nothing\n"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def unit_file(root, path, text, wanted_by=None):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    if wanted_by:
        (root / wanted_by).mkdir(parents=True, exist_ok=True)
        os.symlink(file, root / wanted_by / file.name)


def test_nothing_asked_runs_no_command(root):
    run = Script()
    node = state.node_state(run, [], [], [], root=str(root))
    assert run.calls == []
    assert node["os_id"] == "debian"
    assert node["os_version"] == "12"
    assert node["memory_bytes"] == 3039616 * 1024
    assert node["swaps"] == [] and node["swap_persistent"] == []
    assert node["files"] == {} and node["units"] == {} and node["packages"] == {} and node["held"] == []
    assert node["cpus"] >= 1 and node["kernel"] and node["python"]


def test_one_command_for_all_units_and_one_for_all_packages(root):
    run = Script(
        (
            1,
            "containerd\tinstall\tinstalled\t1.6.20~ds1-1+deb12u1\nrunc\tdeinstall\tconfig-files\t1.1.5\nkubelet\thold\tinstalled\t1.36.4-1.1\n",
            "no packages found matching nope",
        ),
        (
            0,
            (
                "Id=containerd.service\nLoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nActiveEnterTimestamp=Sat"
                " 2026-11-21 03:40:12"
                " UTC\n\nId=nope.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\nActiveEnterTimestamp=\n"
            ),
            "",
        ),
    )
    node = state.node_state(run, [], ["containerd", "nope.service"], ["containerd", "runc", "kubelet", "nope"], root=str(root))
    assert [argv[0] for argv in run.calls] == ["dpkg-query", "systemctl"]
    assert node["packages"] == {"containerd": "1.6.20~ds1-1+deb12u1", "runc": None, "kubelet": "1.36.4-1.1", "nope": None}
    assert node["held"] == ["kubelet"]
    assert node["units"]["containerd"] == {
        "load": "loaded",
        "active": "active",
        "sub": "running",
        "enabled": "enabled",
        "since": "Sat 2026-11-21 03:40:12 UTC",
    }
    assert node["units"]["nope.service"]["load"] == "not-found"


def test_rpm(root):
    (root / "etc/os-release").write_text(ROCKY)
    (root / "etc/dnf/plugins").mkdir(parents=True)
    (root / "etc/dnf/plugins/versionlock.list").write_text("# Added\nkubelet-0:1.36.4-150500.1.1.*\nkubelet-doc-0:1-1.*\n")
    run = Script(
        (
            2,
            (
                "containerd.io\t0\t2.2.1-3.1.el9\nkubelet\t0\t1.36.4-150500.1.1\nepoch\t2\t1.0-1\npackage nope is not installed\npackage kubelet-doc"
                " is not installed\n"
            ),
            "",
        )
    )
    node = state.node_state(run, [], [], ["containerd.io", "kubelet", "epoch", "nope", "kubelet-doc"], root=str(root))
    assert node["packages"] == {"containerd.io": "2.2.1-3.1.el9", "kubelet": "1.36.4-150500.1.1", "epoch": "2:1.0-1", "nope": None, "kubelet-doc": None}
    assert "kubelet" in node["held"] and "containerd.io" not in node["held"]
    assert node["os_version"] == "9.6"


@pytest.mark.parametrize(
    "os_release, answer, words",
    [
        (DEBIAN, (2, "", "dpkg-query: error: lock"), ["dpkg-query", "lock", "Wanted", "Next"]),
        (DEBIAN, (127, "", "dpkg-query: command not found"), ["not found", "127"]),
        (ROCKY, (1, "", "error: rpmdb open failed"), ["rpmdb"]),
        (ROCKY, (1, "package containerd is not installed\n", "error: cannot open Packages database in /var/lib/rpm"), ["Packages database"]),
        ("ID=gentoo\n", None, ["gentoo", "Debian", "Red Hat"]),
    ],
)
def test_package_database_that_does_not_answer(root, os_release, answer, words):
    (root / "etc/os-release").write_text(os_release)
    with pytest.raises(state.NodeStateError) as error:
        state.node_state(Script(answer), [], [], ["containerd"], root=str(root))
    for word in words:
        assert word in str(error.value)


def test_systemd_that_does_not_answer():
    with pytest.raises(SystemdError, match="Failed to connect to bus.*Next"):
        show_units(Script((1, "", "Failed to connect to bus: Host is down")), ["containerd"], ["Id"])


def test_alias_is_matched_by_position():
    run = Script((0, "Id=ssh.service\nActiveState=active\n\nId=b.service\nActiveState=failed\n", ""))
    shown = show_units(run, ["sshd", "b.service"], ["Id", "ActiveState"])
    assert shown["sshd"]["Id"] == "ssh.service"
    assert run.calls == [["systemctl", "show", "--no-pager", "-p", "Id,ActiveState", "--", "sshd.service", "b.service"]]


def test_parse_show_keeps_equal_signs():
    assert parse_show("A=b=c\nB=\n\n\nA=d\n") == [{"A": "b=c", "B": ""}, {"A": "d"}]


@pytest.mark.parametrize(
    "name, full",
    [("containerd", "containerd.service"), ("a.socket", "a.socket"), ("dev-sda2.swap", "dev-sda2.swap"), ("getty@tty1", "getty@tty1.service")],
)
def test_unit_name(name, full):
    assert unit_name(name) == full


def test_files(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"x" * 3_000_000)
    file.chmod(0o640)
    link = tmp_path / "l"
    link.symlink_to(file)
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    digest = hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert state.file_state(str(file)) == {"sha256": digest, "mode": "0640", "size": 3_000_000}
    assert state.file_state(str(link))["sha256"] == digest
    assert state.file_state(str(tmp_path / "broken")) is None
    assert state.file_state(str(tmp_path / "nope")) is None
    assert state.file_state(str(file / "below-a-file")) is None
    assert state.file_state(str(tmp_path))["sha256"] is None


def test_swaps():
    text = "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2   partition\t999420\t0\t-2\n/swap\\040file file 1024 0 -3\n"
    assert state.parse_swaps(text) == [
        {"device": "/dev/sda2", "type": "partition", "size_kb": 999420},
        {"device": "/swap file", "type": "file", "size_kb": 1024},
    ]


def test_fstab_swaps():
    text = "UUID=1 / ext4 defaults 0 1\n\n# UUID=2 none swap sw 0 0\nUUID=3 none swap sw 0 0\n/swapfile swap swap noauto 0 0\n/dev/x none swap\n"
    assert state.fstab_swaps(text) == [
        {"source": "/etc/fstab:4", "text": "UUID=3 none swap sw 0 0"},
        {"source": "/etc/fstab:6", "text": "/dev/x none swap"},
    ]


def test_swap_units(root):
    unit_file(
        root,
        "run/systemd/generator/dev-sda2.swap",
        "[Unit]\nSourcePath=/etc/fstab\n[Swap]\nWhat=/dev/sda2\n",
        "run/systemd/generator/swap.target.requires",
    )
    unit_file(root, "run/systemd/generator/dev-zram0.swap", "[Swap]\nWhat=/dev/zram0\n", "run/systemd/generator/swap.target.wants")
    unit_file(root, "etc/systemd/system/swapfile.swap", "[Swap]\nWhat=/swapfile\n", "etc/systemd/system/swap.target.wants")
    unit_file(root, "etc/systemd/system/notenabled.swap", "[Swap]\nWhat=/x\n")
    unit_file(root, "run/systemd/generator.late/dev-masked.swap", "[Swap]\nWhat=/m\n", "run/systemd/generator.late/swap.target.wants")
    (root / "etc/systemd/system/dev-masked.swap").symlink_to("/dev/null")
    unit_file(root, "usr/lib/systemd/system/zramswap.service", "[Service]\nExecStart=/usr/sbin/zramswap start\n", "etc/systemd/system/multi-user.target.wants")
    assert state.unit_swaps(str(root)) == [
        {"source": "dev-zram0.swap", "text": "/dev/zram0"},
        {"source": "swapfile.swap", "text": "/swapfile"},
        {"source": "zramswap.service", "text": "/usr/sbin/zramswap start"},
    ]


@pytest.mark.parametrize(
    ("answer", "interface"),
    [
        ((0, '[{"ifname": "eth1", "mtu": 9000, "addr_info": [{"local": "192.0.2.11"}]}]', ""), {"name": "eth1", "mtu": 9000, "reason": ""}),
        ((0, "[]", ""), {"name": None, "mtu": None, "reason": "no interface of this node carries 192.0.2.11"}),
    ],
)
def test_the_interface_with_an_address(tmp_path, answer, interface):
    def run(argv, timeout=None):
        return answer if argv[0] == "ip" else (0, "", "")

    assert state.node_state(run, [], [], [], "192.0.2.11", root=str(tmp_path))["interface"] == interface
    assert state.node_state(run, [], [], [], root=str(tmp_path))["interface"] is None
