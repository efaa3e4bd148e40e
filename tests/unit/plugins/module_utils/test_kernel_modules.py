# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.baremetal.kubernetes.plugins.module_utils._kernel_modules import (
    KernelModules,
    KernelModulesError,
    Machine,
    command_line_blacklist,
    container_kind,
    make_wanted,
    modules_load_text,
    package_advice,
    parse_dependencies,
    parse_modprobe_directives,
)

RELEASE = "6.1.0-41-amd64"
OWN = "/etc/modules-load.d/99-kubernetes.conf"
MODPROBE_MISSING = "modprobe: FATAL: Module {} not found in directory /lib/modules/" + RELEASE


class Node:
    """A file tree, and a modprobe that loads what modules.dep lists."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[list[str]] = []
        self.aliases: dict[str, str] = {}
        self.refusals: dict[str, str] = {}
        self.silent: set[str] = set()
        self.put("/proc/modules", "ext4 983040 1 - Live 0x0\n")
        self.put("/proc/cmdline", "root=/dev/vda1 quiet\n")
        self.put("/proc/filesystems", "nodev\tsysfs\n\text4\n")
        self.put("/etc/os-release", "ID=debian\n")
        self.put(
            f"/lib/modules/{RELEASE}/modules.dep",
            "kernel/fs/overlayfs/overlay.ko:\n"
            "kernel/net/bridge/br_netfilter.ko.xz: kernel/net/bridge/bridge.ko.xz\n"
            "kernel/net/bridge/bridge.ko.xz:\n"
            "kernel/net/netfilter/nf_conntrack.ko: kernel/lib/libcrc32c.ko\n"
            "kernel/net/netfilter/ipvs/ip_vs.ko: kernel/net/netfilter/nf_conntrack.ko kernel/lib/libcrc32c.ko\n"
            "kernel/net/netfilter/ipvs/ip_vs_rr.ko: kernel/net/netfilter/ipvs/ip_vs.ko kernel/net/netfilter/nf_conntrack.ko\n"
            "kernel/lib/libcrc32c.ko:\n",
        )
        self.put(f"/lib/modules/{RELEASE}/modules.builtin", "kernel/crypto/aes-generic.ko\nkernel/net/ipv6/ipv6.ko\n")

    def put(self, path: str, text: str) -> Path:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def text(self, path: str = OWN) -> str | None:
        target = self.root / path.lstrip("/")
        return target.read_text() if target.exists() else None

    def lines(self) -> list[str]:
        return [line for line in (self.text() or "").splitlines() if not line.startswith("#")]

    def load(self, name: str) -> tuple[int, str]:
        plain = name.replace("-", "_")
        if plain in self.refusals:
            return 1, self.refusals[plain]
        if plain in self.silent:
            return 0, ""
        if plain in self.aliases:
            return self.load(self.aliases[plain])
        folder = self.root / "lib/modules" / RELEASE / "modules.dep"
        known = parse_dependencies(folder.read_text()) if folder.exists() else {}
        if plain not in known:
            return 1, MODPROBE_MISSING.format(name)
        with open(self.root / "proc/modules", "a", encoding="ascii") as handle:
            handle.writelines(f"{module} 16384 0 - Live 0x0\n" for module in [plain, *sorted(known[plain])])
        return 0, ""

    def run(self, argv: list[str], timeout: float | None = None) -> tuple[int, str, str]:
        assert timeout is not None
        self.calls.append(list(argv))
        assert argv[0] == "modprobe"
        if argv[1] == "--resolve-alias":
            return (0, self.aliases[argv[2]] + "\n", "") if argv[2] in self.aliases else (1, "", "")
        names = argv[2:] if argv[1] == "--all" else argv[1:]
        results = [self.load(name) for name in names]
        return max(code for code, _err in results), "", "\n".join(err for _code, err in results if err)

    def ensure(self, *names: str, optional: tuple[str, ...] = (), check_mode: bool = False) -> dict:
        wanted = make_wanted([{"name": name, "optional": name in optional} for name in names])
        self.subject = KernelModules(Machine(self.run, str(self.root), RELEASE, "x86_64"), wanted, OWN)
        return self.subject.run(check_mode)

    def fails(self, *names: str, check_mode: bool = False) -> str:
        with pytest.raises(KernelModulesError) as caught:
            self.ensure(*names, check_mode=check_mode)
        return str(caught.value)


@pytest.fixture(name="node")
def fixture_node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_first_run_loads_all_with_one_command_and_persists(node: Node) -> None:
    result = node.ensure("overlay", "br_netfilter", "ip_vs_rr")
    assert node.calls == [["modprobe", "--all", "overlay", "br_netfilter", "ip_vs_rr"]]
    assert result["changed"] and result["loaded"] == ["overlay", "br_netfilter", "ip_vs_rr"] and result["missing"] == []
    assert node.lines() == ["overlay", "br_netfilter", "ip_vs_rr"]
    assert (node.root / OWN.lstrip("/")).stat().st_mode & 0o777 == 0o644


def test_second_run_runs_nothing(node: Node) -> None:
    node.ensure("overlay", "br_netfilter")
    node.calls.clear()
    result = node.ensure("overlay", "br_netfilter")
    assert not result["changed"] and node.calls == []
    assert [item["state"] for item in result["modules"]] == ["loaded", "loaded"]
    assert "dependencies" not in vars(node.subject.machine), "modules.dep is large and was not needed"


def test_check_mode_says_the_same_and_changes_nothing(node: Node) -> None:
    planned = node.ensure("overlay", "br_netfilter", "ipv6", check_mode=True)
    assert node.text() is None and node.calls == []
    done = node.ensure("overlay", "br_netfilter", "ipv6")
    assert planned == done
    assert not node.ensure("overlay", "br_netfilter", "ipv6", check_mode=True)["changed"]


def test_diff_shows_the_file_and_what_is_loaded(node: Node) -> None:
    file_diff, loaded_diff = node.ensure("overlay", check_mode=True)["diff"]
    assert file_diff["before"] == "" and file_diff["after"].endswith("\noverlay\n")
    assert (loaded_diff["before"], loaded_diff["after"]) == ("", "overlay\n")


def test_unloaded_module_is_loaded_again_and_edited_file_mended(node: Node) -> None:
    node.ensure("overlay")
    node.put("/proc/modules", "")
    result = node.ensure("overlay")
    assert result["changed"] and not result["file_changed"] and result["loaded"] == ["overlay"]
    node.put(OWN, "overlay\n")
    result = node.ensure("overlay")
    assert result["file_changed"] and result["loaded"] == []


@pytest.mark.parametrize("name", ["br-netfilter", "br_netfilter"])
def test_minus_and_underscore_are_one_letter(node: Node, name: str) -> None:
    node.put("/proc/modules", "br_netfilter 32768 0 - Live 0x0\n")
    assert node.ensure(name)["loaded"] == []
    assert node.calls == []


@pytest.mark.parametrize("name", ["ipv6", "aes_generic", "aes-generic"])
def test_built_in_by_modules_builtin(node: Node, name: str) -> None:
    result = node.ensure(name)
    assert result["modules"][0]["state"] == "builtin" and node.calls == []
    assert node.lines() == [name], "another kernel may have it as a module"


def test_built_in_by_sysfs_and_by_proc(node: Node) -> None:
    (node.root / "sys/module/nf_tables").mkdir(parents=True)
    node.put("/proc/filesystems", "nodev\toverlay\n")
    node.put("/proc/net/ip_vs", "IP Virtual Server version 1.2.1 (size=4096)\n")
    result = node.ensure("nf-tables", "overlay", "ip_vs")
    assert [item["state"] for item in result["modules"]] == ["builtin"] * 3 and node.calls == []


def test_part_of_a_name_is_not_the_name(node: Node) -> None:
    node.put("/proc/modules", "nf_conntrack_netlink 1 0 - Live 0x0\nxt_overlay 1 0 - Live 0x0\n")
    assert node.ensure("overlay", "nf_conntrack")["loaded"] == ["overlay", "nf_conntrack"]


@pytest.mark.parametrize("check_mode", [True, False])
def test_merged_module_is_tried_and_then_taken_from_its_successor(node: Node, check_mode: bool) -> None:
    node.put("/proc/modules", "nf_conntrack 1 0 - Live 0x0\n")
    result = node.ensure("nf_conntrack_ipv4", "nf_conntrack", check_mode=check_mode)
    assert result["modules"][0] == {"name": "nf_conntrack_ipv4", "state": "merged", "provided_by": ["nf_conntrack"]}
    if not check_mode:
        assert ["modprobe", "nf_conntrack_ipv4"] in node.calls
        assert node.lines() == ["nf_conntrack"], "a name that does not exist would fail at every boot"
        assert not node.ensure("nf_conntrack_ipv4", "nf_conntrack")["changed"]


def test_merged_module_loads_its_successor(node: Node) -> None:
    planned = node.ensure("nf_conntrack_ipv4", check_mode=True)
    assert node.calls == []
    assert node.ensure("nf_conntrack_ipv4") == planned
    assert planned["loaded"] == ["nf_conntrack_ipv4"] and node.lines() == ["nf_conntrack"]


def test_old_kernel_keeps_its_own_nf_conntrack_ipv4(node: Node) -> None:
    dep = node.root / "lib/modules" / RELEASE / "modules.dep"
    dep.write_text(dep.read_text() + "kernel/net/ipv4/netfilter/nf_conntrack_ipv4.ko: kernel/net/netfilter/nf_conntrack.ko\n")
    node.ensure("nf_conntrack_ipv4")
    assert node.lines() == ["nf_conntrack_ipv4"]


def test_alias(node: Node) -> None:
    node.aliases["ip_conntrack"] = "nf_conntrack"
    assert node.ensure("ip_conntrack", check_mode=True)["loaded"] == ["ip_conntrack"]
    result = node.ensure("ip_conntrack")
    assert result["modules"][0] == {"name": "ip_conntrack", "state": "loaded", "provided_by": ["nf_conntrack"]}
    result = node.ensure("ip_conntrack")
    assert not result["changed"]
    assert result["modules"][0] == {"name": "ip_conntrack", "state": "alias", "provided_by": ["nf_conntrack"]}
    assert not node.ensure("ip_conntrack", check_mode=True)["changed"]
    node.put("/proc/modules", "")
    assert node.ensure("ip_conntrack", check_mode=True)["loaded"] == node.ensure("ip_conntrack")["loaded"] == ["ip_conntrack"]


@pytest.mark.parametrize("check_mode", [True, False])
def test_kernel_updated_but_not_rebooted(node: Node, check_mode: bool) -> None:
    (node.root / "lib/modules" / RELEASE).rename(node.root / "lib/modules/6.1.0-42-amd64")
    said = node.fails("overlay", check_mode=check_mode)
    assert (
        f"the running kernel {RELEASE} has no modules on disk any more (installed: 6.1.0-42-amd64): "
        "the kernel was updated and the machine not rebooted. Reboot, then run again." in said
    )
    assert node.text() is None


def test_kernel_updated_but_everything_loaded_is_no_problem(node: Node) -> None:
    (node.root / "lib/modules" / RELEASE).rename(node.root / "lib/modules/6.1.0-42-amd64")
    node.put("/proc/modules", "overlay 1 0 - Live 0x0\n")
    assert node.ensure("overlay")["loaded"] == []


def test_kernel_without_any_modules(node: Node) -> None:
    import shutil

    shutil.rmtree(node.root / "lib/modules")
    assert "has no modules on disk and does not have it built in. Boot a kernel of the distribution" in node.fails("overlay")


@pytest.mark.parametrize(
    ("os_release", "release", "machine", "said"),
    [
        ({"ID": "debian"}, "6.1.0-41-cloud-amd64", "x86_64", "cloud flavour of Debian's kernel leaves it out: install linux-image-amd64 (apt)"),
        ({"ID": "debian"}, "6.1.0-41-cloud-arm64", "aarch64", "install linux-image-arm64 (apt)"),
        ({"ID": "debian"}, "6.1.0-41-amd64", "x86_64", "Debian's linux-image-amd64 has it"),
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, "6.8.0-40-generic", "x86_64", "Install linux-modules-extra-6.8.0-40-generic (apt)"),
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, "5.15.0-1012-raspi", "aarch64", "or linux-modules-extra-raspi (apt)"),
        (
            {"ID": "rocky", "ID_LIKE": "rhel centos fedora"},
            "6.12.0-55.el10.x86_64",
            "x86_64",
            "Install kernel-modules-6.12.0-55.el10.x86_64 and kernel-modules-extra-6.12.0-55.el10.x86_64 (dnf)",
        ),
        ({"ID": "rhel"}, "5.14.0-1", "x86_64", "Install kernel-modules-5.14.0-1 and"),
        ({"ID": "arch"}, "6.9", "x86_64", "Install the distribution's full kernel package"),
    ],
)
def test_the_package_to_install(os_release: dict, release: str, machine: str, said: str) -> None:
    assert said in package_advice(os_release, release, machine)


@pytest.mark.parametrize("check_mode", [True, False])
def test_module_the_kernel_does_not_have(node: Node, check_mode: bool) -> None:
    node.put("/etc/os-release", "ID=ubuntu\nID_LIKE=debian\n")
    said = node.fails("overlay", "vxlan", check_mode=check_mode)
    assert f"Module vxlan: the installed kernel {RELEASE} does not have it" in said
    assert f"Install linux-modules-extra-{RELEASE} (apt), then run again." in said
    assert node.text() is None
    assert ("FATAL: Module vxlan not found" in said) is not check_mode


@pytest.mark.parametrize("check_mode", [True, False])
def test_optional_module_is_left_out_with_a_warning(node: Node, check_mode: bool) -> None:
    result = node.ensure("overlay", "vxlan", optional=("vxlan",), check_mode=check_mode)
    assert result["missing"] == ["vxlan"] and result["modules"][1] == {"name": "vxlan", "state": "missing", "provided_by": []}
    assert len(node.subject.warnings) == 1 and node.subject.warnings[0].endswith("It is optional and left out.")
    if not check_mode:
        assert node.lines() == ["overlay"] and "# vxlan: left out" in node.text()
        assert not node.ensure("overlay", "vxlan", optional=("vxlan",))["changed"]


@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        ("/run/systemd/container", "lxc\n", "lxc"),
        ("/proc/1/environ", "TERM=linux\0container=lxc-libvirt\0", "lxc-libvirt"),
        ("/proc/vz/version", "x", "OpenVZ or Virtuozzo"),
        ("/.dockerenv", "", "docker"),
    ],
)
def test_container_cannot_load(node: Node, path: str, text: str, kind: str) -> None:
    node.put(path, text)
    node.refusals["overlay"] = "modprobe: ERROR: could not insert 'overlay': Operation not permitted"
    said = node.fails("overlay")
    assert f"this is a container ({kind}), and modules belong to the kernel of its host (modprobe: modprobe: ERROR: could not insert" in said
    assert "Load it on the host" in said


def test_container_whose_host_loaded_it_is_fine(node: Node) -> None:
    node.put("/run/systemd/container", "lxc\n")
    node.put("/proc/modules", "overlay 1 0 - Live 0x0\n")
    assert node.ensure("overlay")["loaded"] == [] and node.calls == []


def test_openvz_host_is_no_container(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.put("/proc/vz/version", "x")
    node.put("/proc/bc/0", "x")
    assert container_kind(str(tmp_path)) is None


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("command", ["/bin/false", "/bin/true", "/sbin/false -x"])
def test_module_masked_by_an_install_line(node: Node, command: str, check_mode: bool) -> None:
    node.put("/etc/modprobe.d/hardening.conf", f"# CIS\ninstall br-netfilter {command}\n")
    node.silent.add("br_netfilter")
    said = node.fails("br_netfilter", check_mode=check_mode)
    assert f"/etc/modprobe.d/hardening.conf:2 replaces it by {command!r}, so that modprobe loads nothing. Remove that line" in said


def test_install_line_that_loads_something_is_no_mask(node: Node) -> None:
    node.put("/etc/modprobe.d/x.conf", "install overlay /sbin/modprobe --ignore-install overlay && /bin/true\n")
    assert node.ensure("overlay", check_mode=True)["loaded"] == ["overlay"]


def test_masked_file_of_lower_rank_does_not_count(node: Node) -> None:
    node.put("/usr/lib/modprobe.d/x.conf", "install overlay /bin/false\n")
    node.put("/etc/modprobe.d/x.conf", "\n")
    assert node.ensure("overlay")["loaded"] == ["overlay"]


@pytest.mark.parametrize("check_mode", [True, False])
def test_blacklisted_module_would_be_gone_after_the_next_boot(node: Node, check_mode: bool) -> None:
    node.put("/etc/modprobe.d/net.conf", "blacklist br_netfilter\n")
    said = node.fails("br-netfilter", check_mode=check_mode)
    assert "/etc/modprobe.d/net.conf:1 blacklists it, which keeps systemd-modules-load from loading it at boot" in said


@pytest.mark.parametrize("check_mode", [True, False])
def test_blacklisted_optional_module_is_not_loaded_either(node: Node, check_mode: bool) -> None:
    node.ensure("overlay", "vxlan", optional=("vxlan",))
    node.put("/etc/modprobe.d/net.conf", "blacklist br_netfilter\n")
    result = node.ensure("overlay", "br_netfilter", optional=("br_netfilter",), check_mode=check_mode)
    assert result["missing"] == ["br_netfilter"] and result["loaded"] == []
    assert "br_netfilter" not in node.text("/proc/modules")
    if not check_mode:
        assert "# br_netfilter: left out, it cannot be loaded here\n" in node.text()


def test_blacklisted_module_that_another_one_pulls_in_is_fine(node: Node) -> None:
    node.put("/etc/modprobe.d/net.conf", "blacklist nf_conntrack\n")
    assert node.ensure("ip_vs", "nf_conntrack")["changed"]
    assert "nf_conntrack" in node.fails("nf_conntrack")


@pytest.mark.parametrize("word", ["modprobe.blacklist=floppy,br_netfilter", "module_blacklist=br_netfilter"])
def test_blacklisted_on_the_kernel_command_line(node: Node, word: str) -> None:
    node.put("/proc/cmdline", f"quiet {word} root=/dev/vda1\n")
    assert f"the kernel command line ({word.partition('=')[0]}) blacklists it" in node.fails("br_netfilter", check_mode=True)


def test_blacklist_does_not_matter_for_what_is_built_in(node: Node) -> None:
    node.put("/etc/modprobe.d/net.conf", "blacklist ipv6\n")
    assert node.ensure("ipv6")["modules"][0]["state"] == "builtin"


def test_other_refusals_carry_the_words_of_modprobe(node: Node) -> None:
    node.refusals["overlay"] = "modprobe: ERROR: could not insert 'overlay': Key was rejected by service"
    said = node.fails("overlay")
    assert "Key was rejected by service" in said and "run `modprobe -v overlay` on the node" in said


def test_success_of_modprobe_is_not_believed(node: Node) -> None:
    node.silent.add("overlay")
    assert "Module overlay: it was not loaded. Wanted: loaded." in node.fails("overlay")


def test_all_problems_are_told_at_once(node: Node) -> None:
    said = node.fails("wireguard", "overlay", "vxlan")
    assert "Module wireguard:" in said and "Module vxlan:" in said and "Module overlay" not in said


@pytest.mark.parametrize("name", ["", "--remove", "a b", "../x", "x.ko", "a;b"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(KernelModulesError, match=re.escape(f"{name!r} is not the name of a kernel module")):
        make_wanted([{"name": name}])


def test_a_name_given_twice_counts_once_and_is_required_when_either_says_so() -> None:
    wanted = make_wanted([{"name": "ip_vs", "optional": True}, {"name": "ip-vs"}, {"name": "ip_vs", "optional": True}])
    assert [(item.name, item.optional) for item in wanted] == [("ip-vs", False)]


def test_file_carries_reasons() -> None:
    text = modules_load_text(make_wanted([{"name": "overlay", "comment": "one\n\ntwo"}, {"name": "a"}]), {"a": ["b", "overlay"]})
    assert text.splitlines()[1:] == ["# one", "# two", "overlay", "b"]


def test_parsers() -> None:
    assert parse_dependencies("a/b-c.ko.zst: a/d.ko.zst a/e.ko.gz\nnot a line\n") == {"b_c": {"d", "e"}}
    blacklist, install = parse_modprobe_directives([("/x", "blacklist a-b # why\n#blacklist c\ninstall d\nalias e f\n")])
    assert blacklist["a_b"].source == "/x:1" and set(blacklist) == {"a_b"} and install == {}
    assert set(command_line_blacklist("modprobe.blacklist= module_blacklist=a,b-c x")) == {"a", "b_c"}
