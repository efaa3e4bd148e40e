# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.baremetal.kubernetes.plugins.module_utils._node_state import fstab_swaps
from ansible_collections.baremetal.kubernetes.plugins.module_utils._swap import Swap, SwapError, fstab_without_swap

HEADER = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
FSTAB = (
    "# <file system> <mount point> <type> <options>\n"
    "UUID=1 / ext4 errors=remount-ro 0 1\n"
    "UUID=2\tnone\tswap sw 0 0\n"
    "#/old none swap sw 0 0\n"
    "\n"
    "/swap.img none swap defaults,pri=5 0 0\n"
    "/later none swap noauto 0 0\n"
    "/srv/swap /mnt/swap none bind 0 0\n"
)


class Node:
    """A file tree, and a swapoff and systemctl that work on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[str] = []
        self.failing: dict[str, str] = {}
        self.sticky = False
        self.put("/proc/swaps", HEADER)
        self.put("/etc/fstab", "UUID=1 / ext4 defaults 0 1\n")

    def put(self, path: str, text: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def text(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def link(self, path: str, target: str) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, place)

    def run(self, argv: list[str], timeout: float | None = None) -> tuple[int, str, str]:
        assert timeout is not None
        command = " ".join(argv)
        self.calls.append(command)
        for prefix, message in self.failing.items():
            if command.startswith(prefix):
                return 1, "", message
        if argv[0] == "swapoff" and not self.sticky:
            self.put("/proc/swaps", "".join(line for line in self.text("/proc/swaps").splitlines(True) if not line.startswith(argv[1])))
        if argv[:2] == ["systemctl", "mask"]:
            for name in argv[2:]:
                self.link(f"/etc/systemd/system/{name}", "/dev/null")
        return 0, "", ""

    def off(self, check_mode: bool = False) -> dict:
        return Swap(self.run, str(self.root), 0).off(check_mode)


@pytest.fixture(name="node")
def fixture_node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_no_swap_nothing_done(node: Node) -> None:
    result = node.off()
    assert not result["changed"] and node.calls == [] and result["backup"] is None


def test_only_active_swap_lines_are_commented_out() -> None:
    text = fstab_without_swap(FSTAB)
    changed = [(old, new) for old, new in zip(FSTAB.splitlines(), text.splitlines()) if old != new]
    assert changed == [
        ("UUID=2\tnone\tswap sw 0 0", "# swap is off for the kubelet: UUID=2\tnone\tswap sw 0 0"),
        ("/swap.img none swap defaults,pri=5 0 0", "# swap is off for the kubelet: /swap.img none swap defaults,pri=5 0 0"),
    ]
    assert len(text.splitlines()) == len(FSTAB.splitlines()) and text.endswith("\n")
    assert fstab_swaps(text) == [] and fstab_without_swap(text) == text


def test_fstab_and_swapoff(node: Node) -> None:
    node.put("/etc/fstab", FSTAB)
    (node.root / "etc/fstab").chmod(0o640)
    node.put("/swap.img", "contents")
    node.put("/proc/swaps", HEADER + "/swap.img file 1048572 0 -2\n/dev/vda2 partition 1 0 -3\n")
    result = node.off()
    assert result["changed"] and result["swapped_off"] == ["/swap.img", "/dev/vda2"] and result["masked"] == []
    assert node.calls == ["systemctl daemon-reload", "swapoff /swap.img", "swapoff /dev/vda2"]
    assert result["backup"] == "/etc/fstab.19700101T000000Z.bak" and node.text(result["backup"]) == FSTAB
    assert (node.root / "etc/fstab").stat().st_mode & 0o777 == 0o640
    assert node.text("/swap.img") == "contents"
    node.calls.clear()
    assert not node.off()["changed"] and node.calls == []


def test_lines_are_counted_as_mount_does(node: Node) -> None:
    text = "# page\x0cbreak\u2028\nUUID=1 / ext4 defaults 0 1\n/swap.img none swap sw 0 0\n"
    assert fstab_without_swap(text) == text.replace("/swap.img", "# swap is off for the kubelet: /swap.img")


def test_bytes_that_are_no_utf8_stay_as_they_are(node: Node) -> None:
    fstab = node.root / "etc/fstab"
    fstab.write_bytes(b"/dev/vdb1 /srv/donn\xe9es ext4 defaults 0 2\n/swap.img none swap sw 0 0\n")
    result = node.off()
    assert b"/srv/donn\xe9es ext4" in fstab.read_bytes() and b"\n# swap is off for the kubelet: /swap.img" in fstab.read_bytes()
    assert b"/srv/donn\xe9es" in (node.root / result["backup"].lstrip("/")).read_bytes()
    assert "donn\ufffdes" in result["diff"][0]["after"]


def test_killed_before_systemd_read_the_new_fstab(node: Node) -> None:
    node.put("/etc/fstab", fstab_without_swap(FSTAB))
    node.put("/proc/swaps", HEADER + "/swap.img file 1048572 0 -2\n")
    assert node.off()["changed"]
    assert node.calls == ["systemctl daemon-reload", "swapoff /swap.img"]


def test_check_mode(node: Node) -> None:
    node.put("/etc/fstab", FSTAB)
    node.put("/proc/swaps", HEADER + "/swap.img file 1048572 0 -2\n")
    result = node.off(check_mode=True)
    assert result["changed"] and node.calls == [] and node.text("/etc/fstab") == FSTAB and os.listdir(node.root / "etc") == ["fstab"]
    assert "# swap is off for the kubelet: /swap.img" in result["diff"][0]["after"] and result["diff"][1]["before"] == "/swap.img\n"


def test_zram_generator_is_masked(node: Node) -> None:
    node.put("/run/systemd/generator/dev-zram0.swap", "[Unit]\nSourcePath=/usr/lib/systemd/zram-generator.conf\n[Swap]\nWhat=/dev/zram0\n")
    node.link("/run/systemd/generator/swap.target.wants/dev-zram0.swap", "../dev-zram0.swap")
    node.put("/proc/swaps", HEADER + "/dev/zram0 partition 1 0 100\n")
    result = node.off()
    assert result["masked"] == ["dev-zram0.swap"]
    assert node.calls == ["systemctl mask dev-zram0.swap", "systemctl daemon-reload", "swapoff /dev/zram0"]
    assert not node.off()["changed"]


def test_service_is_stopped_before_it_is_masked(node: Node) -> None:
    node.put("/usr/lib/systemd/system/zramswap.service", "[Service]\nExecStart=/usr/sbin/zramswap start\n")
    node.link("/etc/systemd/system/multi-user.target.wants/zramswap.service", "/usr/lib/systemd/system/zramswap.service")
    assert node.off()["changed"]
    assert node.calls == ["systemctl stop zramswap.service", "systemctl mask zramswap.service", "systemctl daemon-reload"]


def test_own_unit_of_the_administrator_is_disabled(node: Node) -> None:
    node.put("/etc/systemd/system/swap-swap0.swap", "[Swap]\nWhat=/swap/swap0\n")
    node.link("/etc/systemd/system/swap.target.wants/swap-swap0.swap", "../swap-swap0.swap")
    node.off()
    assert node.calls == ["systemctl disable swap-swap0.swap", "systemctl daemon-reload"]


def test_too_little_memory(node: Node) -> None:
    node.put("/proc/swaps", HEADER + "/swap.img file 1048572 900000 -2\n")
    node.failing["swapoff"] = "swapoff: /swap.img: swapoff failed: Cannot allocate memory"
    with pytest.raises(SwapError, match="Cannot allocate memory. Wanted: no swap, .* Stop what uses the memory"):
        node.off()


def test_swap_that_stays_on(node: Node) -> None:
    node.put("/proc/swaps", HEADER + "/swap.img file 1048572 0 -2\n")
    node.sticky = True
    with pytest.raises(SwapError, match="Swap is still on after swapoff: /swap.img"):
        node.off()


def test_systemctl_that_fails(node: Node) -> None:
    node.put("/etc/fstab", FSTAB)
    node.failing["systemctl"] = "Failed to connect to bus"
    with pytest.raises(SwapError, match="`systemctl daemon-reload` ended with return code 1: Failed to connect to bus"):
        node.off()
