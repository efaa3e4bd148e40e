# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role cni_bridge writes for each node, and whether that makes two network namespaces meet like nodes."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _pod_routes

ROOT = pathlib.Path(__file__).resolve().parents[3]

INVENTORY = {
    "all": {
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "cluster_pod_cidr": "10.244.0.0/16"},
        "children": {
            "kubernetes": {
                "children": {
                    "control_plane": {"hosts": {"cp1": {"cluster_node_ip": "192.0.2.11"}}},
                    "workers": {
                        "hosts": {
                            "w1": {"cluster_node_ip": "192.0.2.21", "cluster_network_mtu": 9000, "cni_bridge_timeout": 130},
                            "w2": {"cluster_node_ip": "192.0.2.22", "cni_bridge_timeout": 30, "cni_bridge_routes": False, "cni_bridge_masquerade": False},
                        }
                    },
                }
            }
        },
    }
}
PLAY = """
- hosts: kubernetes
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: baremetal.kubernetes.cni_bridge
        tasks_from: render
        public: true
    - ansible.builtin.copy:
        content: "{{ [_cni_bridge_wait_retries | int, _cni_bridge_wait_part | int] | to_json }}"
        dest: "{{ render_dir }}/{{ inventory_hostname }}.wait"
        mode: "0644"
"""


@pytest.fixture(name="rendered", scope="module")
def fixture_rendered(tmp_path_factory):
    """Folder with one folder per host, by the role's own tasks/render.yml."""
    folder = tmp_path_factory.mktemp("cni_bridge")
    (folder / "hosts.yml").write_text(yaml.safe_dump(INVENTORY))
    (folder / "play.yml").write_text(PLAY)
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(folder / "hosts.yml"), str(folder / "play.yml"), "-e", f"render_dir={folder}/out"]
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_FORCE_COLOR="0")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out"


def conflist(rendered, host):
    return json.loads((rendered / host / "etc/cni/net.d/10-bridge.conflist").read_text())


def unit(rendered, host):
    return (rendered / host / "etc/systemd/system/kubernetes-pod-routes.service").read_text()


def test_the_configuration_of_the_plugins(rendered):
    bridge, portmap = conflist(rendered, "w1")["plugins"]
    assert bridge == {
        "type": "bridge",
        "bridge": "cni0",
        "mtu": 9000,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.1.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    assert portmap == {"type": "portmap", "capabilities": {"portMappings": True}}
    assert conflist(rendered, "cp1")["plugins"][0]["mtu"] == 1500


@pytest.mark.parametrize(("host", "timeout"), [("cp1", 600), ("w1", 130), ("w2", 30)])
def test_all_tries_together_take_the_time_that_is_given(rendered, host, timeout):
    retries, part = json.loads((rendered / f"{host}.wait").read_text())
    assert timeout <= (retries + 1) * part <= timeout + retries
    assert part <= 120


def test_what_is_assumed_is_marked(rendered):
    assert conflist(rendered, "cp1")["name"] == "placeholder-kubernetes"
    assert "# PLACEHOLDER" in unit(rendered, "cp1")
    assert "# PLACEHOLDER" in (rendered / "cp1/etc/kubernetes/pod-egress.iptables").read_text()


def test_one_route_per_peer(rendered):
    assert re.findall(r"^ExecStart=/usr/sbin/ip (.*)$", unit(rendered, "cp1"), re.MULTILINE) == [
        "route replace 10.244.1.0/24 via 192.0.2.21 proto 157",
        "route replace 10.244.2.0/24 via 192.0.2.22 proto 157",
    ]
    assert "route replace" not in unit(rendered, "w2")


def test_the_chain(rendered):
    text = (rendered / "w1/etc/kubernetes/pod-egress.iptables").read_text()
    assert ":KUBERNETES-POD-EGRESS - [0:0]\n-A KUBERNETES-POD-EGRESS ! -s 10.244.1.0/24 -j RETURN\n" in text
    assert text.endswith("-j MASQUERADE --random-fully\nCOMMIT\n")
    assert "-A" not in (rendered / "w2/etc/kubernetes/pod-egress.iptables").read_text().split("*nat")[1]


def test_networkd_leaves_the_routes_alone(rendered):
    assert "ManageForeignRoutes=no" in (rendered / "cp1/etc/systemd/networkd.conf.d/50-kubernetes-pod-routes.conf").read_text()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit(rendered):
    path = rendered / "cp1/etc/systemd/system/kubernetes-pod-routes.service"
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, timeout=60, check=False)
    seen = [line for line in (done.stdout + done.stderr).splitlines() if "kubernetes-pod-routes" in line and "not executable" not in line]
    assert not [line for line in seen if "Unknown" in line or "Failed to parse" in line], seen


# --- two namespaces as nodes


def ip(*words, check=True):
    return subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=check)


IPTABLES = next((name for name in ("iptables", "iptables-nft", "iptables-legacy") if shutil.which(name)), None)


@pytest.fixture(name="nodes")
def fixture_nodes():
    """Namespaces cp1 and w1 with a link between them; each as a bridge with the first address of its pod range."""
    names = {host: f"bk{os.getpid()}{host}" for host in ("cp1", "w1")}
    if os.geteuid() != 0 or not IPTABLES or not shutil.which("ip"):
        pytest.skip("needs root, iproute2 and iptables")
    try:
        if ip("netns", "add", names["cp1"], check=False).returncode:
            pytest.skip("no network namespace can be made here")
        ip("netns", "add", names["w1"])
        if ip("-n", names["cp1"], "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", names["w1"], check=False).returncode:
            pytest.skip("no veth pair can be made here")
        for host, address, pods in (("cp1", "192.0.2.11/24", "10.244.0.1/24"), ("w1", "192.0.2.21/24", "10.244.1.1/24")):
            ip("-n", names[host], "link", "set", "lo", "up")
            ip("-n", names[host], "addr", "add", address, "dev", "eth1")
            ip("-n", names[host], "link", "set", "eth1", "up")
            ip("-n", names[host], "addr", "add", pods, "dev", "lo")
        yield names
    finally:
        for name in names.values():
            ip("netns", "del", name, check=False)


def start_unit(rendered, host, namespace):
    """Run the ExecStart lines as systemd would, in the namespace of the node."""
    text = unit(rendered, host)
    for line in re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE):
        line = re.sub(r"/usr/sbin/iptables\b", IPTABLES, line)
        words = [word.replace("/etc/kubernetes", str(rendered / host / "etc/kubernetes")) for word in shlex.split(line)]
        done = subprocess.run(["ip", "netns", "exec", namespace, *words], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            return 1, "", done.stderr
    return 0, "", ""


def test_the_unit_makes_and_mends_what_the_module_proves(rendered, nodes):
    wanted = [{"destination": f"10.244.{n}.0/24", "gateway": f"192.0.2.2{n}", "node": f"w{n}"} for n in (1, 2)]
    rules = [line for line in (rendered / "cp1/etc/kubernetes/pod-egress.iptables").read_text().splitlines() if line.startswith("-A")]
    chains = [{"ip_version": 4, "chain": "KUBERNETES-POD-EGRESS", "rules": rules}]

    def run(argv, timeout=None):
        if argv[0] == "systemctl":
            return start_unit(rendered, "cp1", nodes["cp1"])
        command = [IPTABLES if argv[0] == "iptables" else argv[0], *argv[1:]]
        done = subprocess.run(["ip", "netns", "exec", nodes["cp1"], *command], capture_output=True, text=True, timeout=timeout, check=False)
        return done.returncode, done.stdout, done.stderr

    def ensure(check_mode=False):
        return _pod_routes.ensure(run, wanted, chains, "kubernetes-pod-routes.service", 157, check_mode)

    def ping():
        return ip("netns", "exec", nodes["cp1"], "ping", "-c1", "-W2", "-I", "10.244.0.1", "10.244.1.1", check=False).returncode

    assert start_unit(rendered, "w1", nodes["w1"])[0] == 0
    if shutil.which("ping"):
        assert ping() != 0
    assert ensure(True)["changed"] is True
    first = ensure()
    assert first["missing"] == ["10.244.1.0/24 via 192.0.2.21", "10.244.2.0/24 via 192.0.2.22"]
    assert "no chain KUBERNETES-POD-EGRESS" in first["chains"][0]
    assert ensure()["changed"] is False
    if shutil.which("ping"):
        assert ping() == 0
    # somebody deletes a route; a node leaves; somebody empties the chain; a route of somebody else stays
    ip("-n", nodes["cp1"], "route", "del", "10.244.1.0/24")
    ip("-n", nodes["cp1"], "route", "add", "10.244.9.0/24", "via", "192.0.2.29", "proto", "157")
    ip("-n", nodes["cp1"], "route", "add", "10.99.0.0/16", "via", "192.0.2.29")
    run([IPTABLES, "-t", "nat", "-F", "KUBERNETES-POD-EGRESS"], 30)
    assert ensure(True)["changed"] is True
    mended = ensure()
    assert mended["missing"] == ["10.244.1.0/24 via 192.0.2.21"]
    assert mended["removed"] == ["10.244.9.0/24 via 192.0.2.29"]
    assert "has 0 rules" in mended["chains"][0]
    assert ensure()["changed"] is False
    assert "10.99.0.0/16" in ip("-n", nodes["cp1"], "route").stdout
    jumps = run([IPTABLES, "-t", "nat", "-S", "POSTROUTING"], 30)[1].count("KUBERNETES-POD-EGRESS")
    assert jumps == 1
