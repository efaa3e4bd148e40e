# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules node_preflight and conntrack_status against a machine made of files and scripted commands."""

from __future__ import annotations

import json
import os

import pytest
from ansible.module_utils.testing import patch_module_args
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _conntrack, _preflight_checks, _preflight_node
from ansible_collections.baremetal.kubernetes.plugins.modules import conntrack_status, node_preflight

RELEASE = "6.1.0-41-amd64"
FOLDER = f"lib/modules/{RELEASE}"
STAT = "cpu  10 0 10 {idle} 0 0 0 0 0 0\ncpu0 5 0 5 {idle} 0 0 0 0 0 0\ncpu1 5 0 5 {idle} 0 0 0 0 0 0\n"
SOCKETS = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
FILES = {
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n',
    "etc/machine-id": "0b5a8e1f3c0d4f6d9a51c6f5f2a7be10\n",
    "etc/resolv.conf": "nameserver 192.0.2.53\n",
    "etc/fstab": "/dev/vda1 / ext4 defaults 0 1\n",
    "proc/stat": STAT.format(idle=1000),
    "proc/meminfo": "MemTotal:        3073676 kB\n",
    "proc/swaps": "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
    "proc/uptime": "7200.00 9000.00\n",
    "proc/modules": "overlay 1 0 - Live 0x0\nnf_conntrack 1 0 - Live 0x0\n",
    "proc/filesystems": "nodev\tsysfs\n\text4\n",
    "proc/cmdline": "root=/dev/vda1\n",
    "proc/net/tcp": SOCKETS,
    "proc/net/udp": SOCKETS,
    "proc/sys/net/ipv4/conf/all/rp_filter": "0\n",
    "proc/sys/net/ipv4/conf/eth0/rp_filter": "2\n",
    "proc/sys/net/netfilter/nf_conntrack_count": "20\n",
    "proc/sys/net/netfilter/nf_conntrack_max": "1000\n",
    "proc/sys/net/netfilter/nf_conntrack_buckets": "250\n",
    "proc/net/stat/nf_conntrack": "entries insert_failed drop early_drop\n00000001 00000000 00000000 00000000\n",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
    "sys/class/dmi/id/product_uuid": "6B1E7A52-6F0E-4C59-8F0E-0D8F6F5D7A11\n",
    "dev/kmsg": "6,1,0,-;Linux version 6.1\n",
    f"{FOLDER}/modules.dep": "kernel/net/ip_vs.ko: kernel/lib/crc32c.ko\nkernel/lib/crc32c.ko:\nkernel/net/nf_tables.ko:\n",
    f"{FOLDER}/kernel/net/ip_vs.ko": "",
    f"{FOLDER}/kernel/lib/crc32c.ko": "",
    "var/lib/dummy": "",
}
LINKS = [
    {
        "ifname": "eth0", "flags": ["UP", "LOWER_UP"], "mtu": 1450, "link_type": "ether", "address": "52:54:00:00:00:0b",
        "addr_info": [{"local": "192.0.2.11", "prefixlen": 24, "scope": "global"}],
    }
]  # fmt: skip
ROUTES = [{"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"}, {"dst": "192.0.2.0/24", "dev": "eth0"}]
OPTIONS = {
    "kubernetes_version": "1.36.4",
    "cni": "flannel",
    "encapsulation": "vxlan",
    "proxy_mode": "ipvs",
    "control_plane": True,
    "node_ip": "192.0.2.11",
    "pod_cidr": "10.244.0.0/16",
    "service_cidr": "10.96.0.0/12",
    "modules": [{"name": "overlay", "comment": "c"}, {"name": "nf_conntrack"}, {"name": "ip_vs"}],
    "ports": [{"port": 6443, "purpose": "API server"}],
    "steal_seconds": 5,
    "minimums": {"disk_mb": {"/var/lib/etcd": 0}},
}


class Node:
    """A folder that looks like a machine, with its commands and its time."""

    def __init__(self, folder):
        self.folder = folder
        self.time = 50.0
        self.idle = 1000
        self.calls = []
        self.units = {}
        self.answers = {
            "ip -j addr show": (0, json.dumps(LINKS), ""),
            "ip -j -4 route show table all": (0, json.dumps(ROUTES), ""),
            "ip -j -6 route show table all": (0, "", ""),
            "systemd-detect-virt --vm": (0, "kvm\n", ""),
        }
        for name, text in FILES.items():
            self.write(name, text)
        self.link("proc/self/ns/pid", "pid:[4026531836]")
        self.link("sys/class/net/eth0/device/driver", "../drivers/virtio_net")
        (folder / "run/systemd/system").mkdir(parents=True)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="surrogatepass")

    def link(self, name, target):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        os.symlink(target, path)

    def run(self, argv, timeout=None):
        line = " ".join(argv)
        self.calls.append(line)
        if argv[:2] == ["systemctl", "show"] and "systemctl show" not in self.answers:
            names = argv[argv.index("--") + 1 :]
            return 0, "\n".join(f"ActiveState={self.units.get(name, 'inactive')}\n" for name in names), ""
        return self.answers.get(line, (127, "", f"{argv[0]}: command not found"))

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds
        self.idle += int(100 * seconds)
        self.write("proc/stat", STAT.format(idle=self.idle))

    def look(self, **options):
        return _preflight_checks.preflight(self.run, {**OPTIONS, **options}, **self.reader())

    def reader(self):
        """What stands in for the machine."""
        return {
            "root": str(self.folder),
            "now": self.now,
            "sleep": self.sleep,
            "error_of_clock": lambda: 0.01,
            "release": RELEASE,
            "hostname": "cp1",
        }

    def finding(self, name, **options):
        return next(item for item in self.look(**options)["checks"] if item["id"] == name)


@pytest.fixture(name="node")
def fixture_node(tmp_path):
    """A good machine."""
    return Node(tmp_path)


def tree(folder):
    return {str(path.relative_to(folder)): (os.readlink(path) if path.is_symlink() else path.read_bytes()) for path in folder.rglob("*") if not path.is_dir()}


def test_a_good_machine(node):
    found = node.look()
    assert [(item["id"], item["observed"]) for item in found["checks"] if item["status"] != "pass"] == []
    assert len(found["checks"]) == len(_preflight_checks.CHECKS)
    assert found["identity"] == {
        "machine_id": "0b5a8e1f3c0d4f6d9a51c6f5f2a7be10",
        "product_uuid": "6b1e7a52-6f0e-4c59-8f0e-0d8f6f5d7a11",
        "macs": [{"interface": "eth0", "mac": "52:54:00:00:00:0b"}],
        "hostname": "cp1",
        "node_ip": "192.0.2.11",
        "node_interface": "eth0",
        "node_prefix": 24,
        "mtu": 1450,
    }
    assert [route["destination"] for route in found["routes"]] == ["0.0.0.0/0", "192.0.2.0/24"]
    assert found["resolvers"] == ["192.0.2.53"]
    assert found["facts"] == {
        "kernel": RELEASE,
        "virtualization": "kvm",
        "cpus": 2,
        "memory_mb": 3001,
        "os": "Debian GNU/Linux 12 (bookworm)",
        "member": False,
        "driver": "virtio_net",
    }
    # The clock stands still but for the window: no work of its own.
    assert (found["seconds"], found["unread"]) == (0.0, {"disable_ipv6": "/proc/sys/net/ipv6/conf/all/disable_ipv6 does not exist"})


def test_nothing_is_written_and_nothing_is_run_that_loads_a_module(node):
    before = tree(node.folder)
    node.look(steal_seconds=0)
    assert tree(node.folder) == before
    assert {call.split()[0] for call in node.calls} == {"ip", "systemctl", "systemd-detect-virt"}


def test_without_a_window_the_rates_are_unknown(node):
    found = {item["id"]: item["status"] for item in node.look(steal_seconds=0)["checks"]}
    assert {name for name, status in found.items() if status != "pass"} == {"cpu_steal", "softirq", "conntrack_drops"}
    assert found["cpu_steal"] == "unknown" and node.time == 50.0


def test_a_lost_file_of_a_module_is_named(node):
    (node.folder / FOLDER / "kernel/lib/crc32c.ko").unlink()
    found = node.finding("kernel_modules")
    assert found["status"] == "fail"
    assert f"/{FOLDER}/kernel/lib/crc32c.ko" in found["observed"] and "ip_vs" in found["observed"]
    assert found["fix"] == f"Reinstall the kernel: `apt-get install --reinstall linux-image-{RELEASE}`, then run again."


def test_a_module_that_the_kernel_does_not_have(node):
    node.answers["modprobe --resolve-alias ip_vs_mh"] = (1, "", "not found")
    found = node.finding("kernel_modules", modules=[{"name": "ip_vs_mh"}])
    assert (found["status"], "linux-image" in found["fix"]) == ("fail", True)


def test_a_merged_module_and_a_blacklisted_one(node):
    assert node.finding("kernel_modules", modules=[{"name": "nf_conntrack_ipv4"}])["status"] == "pass"
    node.write("etc/modprobe.d/no.conf", "blacklist ip_vs\n")
    assert "no.conf:1" in node.finding("kernel_modules")["observed"]


def test_marks_of_a_container_image_on_a_machine(node):
    node.write(".dockerenv", "")
    assert node.finding("virtualization")["status"] == "pass"
    assert "container" not in node.finding("kernel_modules", modules=[{"name": "nothing"}])["observed"]
    node.link("proc/self/ns/pid", "pid:[4026532201]")
    assert node.finding("virtualization")["observed"].startswith("A container (docker)")


def test_a_port_and_who_has_it(node):
    line = "   0: 00000000:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n"
    node.write("proc/net/tcp", SOCKETS + line)
    node.write("proc/321/comm", "haproxy\n")
    node.link("proc/321/fd/5", "socket:[4711]")
    assert node.finding("ports_free")["observed"] == "Taken: 6443/tcp (API server) by haproxy."


def test_the_file_that_the_kubelet_takes(node):
    node.write("etc/resolv.conf", "nameserver 127.0.0.53\n")
    assert node.finding("dns_resolvers")["status"] == "fail"
    node.write("run/systemd/resolve/resolv.conf", "nameserver 192.0.2.54\n")
    assert node.finding("dns_resolvers")["status"] == "fail"
    node.units["systemd-resolved.service"] = "active"
    assert node.finding("dns_resolvers")["observed"] == "192.0.2.54 (from /run/systemd/resolve/resolv.conf)."
    node.write("var/lib/kubelet/config.yaml", "resolvConf: /etc/kubernetes/resolv.conf\n")
    assert node.finding("dns_resolvers")["status"] == "unknown"
    node.write("etc/mine.conf", "nameserver 192.0.2.55\n")
    assert node.finding("dns_resolvers", resolv_conf="/etc/mine.conf")["observed"] == "192.0.2.55 (from /etc/mine.conf)."


def test_a_member_is_one_of_this_cluster(node):
    node.write("etc/kubernetes/kubelet.conf", "    server: https://192.0.2.11:6443\n")
    node.write("etc/kubernetes/manifests/etcd.yaml", "")
    assert node.look()["facts"]["member"] is True
    assert node.look(api_servers=["192.0.2.11"])["facts"]["member"] is True
    other = node.look(api_servers=["192.0.2.99"])
    assert other["facts"]["member"] is False
    finding = next(item for item in other["checks"] if item["id"] == "leftovers")
    assert finding["status"] == "fail" and "192.0.2.11" in finding["observed"] and "/etc/kubernetes/manifests/etcd.yaml" in finding["observed"]
    node.write("etc/kubernetes/.kubeadm-unfinished", "init\n")
    assert node.finding("leftovers")["status"] == "warn"


def test_firewalls_are_only_asked_where_they_are_in_use(node):
    node.write("proc/modules", "nf_tables 1 0 - Live 0x0\noverlay 1 0 - Live 0x0\nnf_conntrack 1 0 - Live 0x0\n")
    assert node.finding("firewall")["status"] == "unknown"
    chains = "table inet f {\n\tchain in {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}\n"
    node.answers["nft list chains"] = (0, chains, "")
    node.answers["nft list chain inet f in"] = (0, chains.replace("accept;", "accept;\n\t\tjump KUBE-FIREWALL"), "")
    assert node.finding("firewall")["status"] == "pass"
    node.answers["nft list chain inet f in"] = (0, chains.replace("accept;", "accept;\n\t\ttcp dport 6443 drop"), "")
    assert node.finding("firewall")["observed"] == "Found: chain in of table inet f drops or rejects."
    node.answers["nft list chain inet f in"] = (0, chains.replace("accept;", "accept;\n\t\tjump LIBVIRT_INP"), "")
    assert "jumps to LIBVIRT_INP" in node.finding("firewall")["observed"]
    node.answers["nft list chains"] = (0, "", "")
    node.write("proc/net/ip_tables_names", "nat\nfilter\n")
    assert node.finding("firewall")["status"] == "unknown"
    node.answers["iptables -S INPUT"] = (0, "-P INPUT ACCEPT\n-A INPUT -j KUBE-FIREWALL\n", "")
    node.answers["iptables -S FORWARD"] = (0, "-P FORWARD DROP\n", "")
    assert node.finding("firewall")["observed"] == "Found: chain FORWARD of table ip filter drops by default."
    node.answers["iptables -S FORWARD"] = (0, "-P FORWARD ACCEPT\n", "")
    assert node.finding("firewall")["status"] == "pass"
    node.write("etc/ufw/ufw.conf", "ENABLED=no\n")
    assert node.finding("firewall")["status"] == "pass"
    node.write("etc/ufw/ufw.conf", "ENABLED=yes\n")
    assert node.finding("firewall")["status"] == "warn"


def test_nftables_that_is_part_of_the_kernel_is_asked(node):
    node.write(f"{FOLDER}/modules.dep", "kernel/net/ip_vs.ko:\n")
    assert node.finding("firewall")["status"] == "unknown"
    assert "nft list chains" in node.calls


def test_network_manager_and_its_files(node):
    node.units["NetworkManager.service"] = "active"
    node.write("usr/lib/NetworkManager/conf.d/10.conf", "[keyfile]\nunmanaged-devices=*\n")
    assert node.finding("network_manager")["status"] == "pass"
    # The main file is read later than those of packages, and a file of the same name in /etc replaces one.
    node.write("etc/NetworkManager/NetworkManager.conf", "[keyfile]\nunmanaged-devices=interface-name:cni0\n")
    assert node.finding("network_manager")["observed"].startswith("NetworkManager runs and would manage flannel.1")
    node.write("etc/NetworkManager/conf.d/20.conf", "[keyfile]\nunmanaged-devices+=interface-name:flannel*\n")
    assert node.finding("network_manager")["status"] == "pass"


def test_the_driver_below_a_bond(node):
    node.answers["ip -j addr show"] = (0, json.dumps([{**LINKS[0], "ifname": "bond0"}]), "")
    node.write("sys/class/net/bond0/mtu", "1500\n")
    node.link("sys/class/net/bond0/lower_ens1", "../ens1")
    node.link("sys/class/net/ens1/device/driver", "../drivers/vmxnet3")
    found = node.look()
    assert found["facts"]["driver"] == "vmxnet3"
    assert next(item for item in found["checks"] if item["id"] == "checksum_offload")["status"] == "warn"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda node: node.write("proc/swaps", FILES["proc/swaps"] + "/swap.img file\t2097148\t0\t-2\n"), {"swap": "warn"}),
        (lambda node: node.write("etc/fstab", "/swap.img none swap sw 0 0\n"), {"swap": "warn"}),
        (lambda node: node.write("etc/machine-id", ""), {"machine_id": "fail"}),
        (lambda node: node.write("dev/kmsg", "4,9,9000000,-;nf_conntrack: table full, dropping packet\n"), {"kernel_log": "warn"}),
        (lambda node: (node.folder / "dev/kmsg").unlink(), {"kernel_log": "unknown"}),
        (lambda node: (node.folder / "proc/net/stat/nf_conntrack").unlink(), {"conntrack_drops": "unknown"}),
        (lambda node: node.answers.update({"ip -j -4 route show table all": (1, "", "odd")}), {"default_route": "unknown"}),
        (lambda node: node.answers.update({"systemctl show": None}) or setattr(node, "run", broken_systemctl(node.run)), {
            "firewall": "unknown", "network_manager": "unknown", "leftovers": "unknown",
        }),
        (lambda node: node.answers.update({"ip -j addr show": (127, "", "")}), {
            "node_ip": "unknown", "rp_filter": "unknown", "checksum_offload": "unknown", "leftovers": "unknown",
        }),
    ],
)  # fmt: skip
def test_a_fault_of_the_machine(node, change, expected):
    change(node)
    assert {item["id"]: item["status"] for item in node.look()["checks"] if item["status"] != "pass"} == expected


def broken_systemctl(run):
    return lambda argv, timeout=None: (1, "", "Failed to connect to bus") if argv[0] == "systemctl" else run(argv, timeout)


ODD = st.text(alphabet=st.characters(exclude_categories=("Cs",))) | st.text(alphabet="cpu 0123456789.:=\n\t#,;-[]{}\"")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(ODD, min_size=len(FILES), max_size=len(FILES)), answer=ODD)
def test_no_text_whatsoever_turns_into_a_pass(tmp_path_factory, texts, answer):
    node = Node(tmp_path_factory.mktemp("node"))
    for name, text in zip(FILES, texts):
        node.write(name, text)
    node.sleep = lambda seconds: None
    node.run = lambda argv, timeout=None: (0, answer, "")
    allowed = {
        # told by names of files, namespaces, the clock and options alone
        "init_system", "time_sync", "kernel_version", "node_name", "nft_version", "ipv6", "disk_space", "conntrack_headroom",
        # a list of modules that says nothing, and then files that are there; an empty list of servers, which dns_resolvers fails
        "kernel_modules", "dns_limits",
    }  # fmt: skip
    assert {item["id"] for item in node.look()["checks"] if item["status"] == "pass"} <= allowed


def module(main, capsys, **options):
    with patch_module_args(options), pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("check_mode", [False, True])
def test_module_node_preflight(node, capsys, monkeypatch, check_mode):
    real = _preflight_checks.preflight

    def here(run, params):
        return real(node.run, params, **node.reader())

    monkeypatch.setattr(_preflight_checks, "preflight", here)
    for dummy in range(2):
        code, found = module(node_preflight.main, capsys, **OPTIONS, _ansible_check_mode=check_mode)
        assert (code, found["changed"], {item["status"] for item in found["checks"]}) == (0, False, {"pass"})


def test_module_node_preflight_names_a_bad_option(capsys):
    code, found = module(node_preflight.main, capsys, ports=[{"port": 70000}])
    assert code == 1 and "70000" in found["msg"]


def test_module_node_preflight_on_this_machine(capsys):
    """Whatever machine runs the tests: it ends, and every finding has its shape."""
    code, found = module(node_preflight.main, capsys, steal_seconds=0, node_ip="127.0.0.1")
    assert code == 0 and found["changed"] is False
    for item in found["checks"]:
        assert set(item) == {"id", "status", "observed", "wanted", "fix"} and item["observed"] and bool(item["fix"]) == (item["status"] != "pass")


@pytest.mark.parametrize("check_mode", [False, True])
def test_module_conntrack_status(node, capsys, monkeypatch, check_mode):
    real = _conntrack.status
    monkeypatch.setattr(_conntrack, "status", lambda run, seconds: real(node.run, seconds, str(node.folder), node.now, node.sleep))
    code, found = module(conntrack_status.main, capsys, seconds=10, _ansible_check_mode=check_mode)
    assert (code, found["changed"], found["verdict"], found["seconds"]) == (0, False, "pass", 10.0)
    code, found = module(conntrack_status.main, capsys, seconds=-1)
    assert code == 1 and "-1" in found["msg"]


def test_the_clock_of_the_kernel():
    """The struct has the right size and order: seconds that make sense, on any machine."""
    assert 0 <= _preflight_node.clock_error() < 10000
