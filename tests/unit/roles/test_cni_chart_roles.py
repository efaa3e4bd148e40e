# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles cni_flannel and cni_cilium: what they render without a host, and how they run in check mode on machines that have nothing yet."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]

PLAY = """
- hosts: kubernetes
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: baremetal.kubernetes.{role}
        tasks_from: {tasks}
        public: true
    - ansible.builtin.copy:
        content: "{{{{ [_{role}_wait_retries | int, _{role}_wait_part | int, _{role}_values] | to_json }}}}"
        dest: "{{{{ render_dir }}}}/{{{{ inventory_hostname }}}}.json"
        mode: "0644"
"""
BGP = {
    "cluster_proxy_mode": "none",
    "cluster_api_endpoint": "api.example:8443",
    "cluster_load_balancer_ranges": ["203.0.113.0/26"],
    "cni_cilium_load_balancer": "bgp",
    "cni_cilium_bgp_peers": [{"address": "192.0.2.1", "as_number": 64500, "name": "tor1"}],
    "cni_cilium_bgp_passwords": {"tor1": "s3cret"},
}


def run(folder, role, hosts, *options, tasks="render"):
    """The role on hosts that are all this machine, each with its own variables; the first is the control plane."""
    found = {name: {"cluster_node_ip": f"192.0.2.{11 + number}", **variables} for number, (name, variables) in enumerate(hosts.items())}
    first = next(iter(found))
    inventory = {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "cluster_cni": role.removeprefix("cni_"),
                "cluster_artifacts_dir": str(folder / "artifacts"),
            },
            "children": {
                "kubernetes": {
                    "children": {
                        "control_plane": {"hosts": {first: found.pop(first)}},
                        "workers": {"hosts": found},
                    }
                }
            },
        }
    }
    (folder / "out").mkdir(exist_ok=True)
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    (folder / "play.yml").write_text(PLAY.format(role=role, tasks=tasks))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(folder / "hosts.yml"), str(folder / "play.yml"), *options]
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_FORCE_COLOR="0")
    command += ["-e", f"render_dir={folder}/out"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


def rendered(folder, role, hosts):
    """What is written for the cluster (with the settings of the first host), and retries, seconds and values by host."""
    done = run(folder, role, hosts)
    assert done.returncode == 0, done.stdout + done.stderr
    below = folder / "out" / "cluster"
    files = {str(path.relative_to(below)): path.read_text() for path in sorted(below.rglob("*")) if path.is_file()}
    return files, {host: json.loads((folder / "out" / f"{host}.json").read_text()) for host in hosts}


def test_flannel(tmp_path):
    hosts = {
        "nft": {
            "cluster_proxy_mode": "nftables",
            "cni_flannel_vni": 7,
            "cni_flannel_values": {"netpol": {"enabled": True}},
            "cni_flannel_timeout": 130,
        },
        "cross": {"cluster_cni_encapsulation": "vxlan_cross_subnet", "cluster_network_mtu": 9000, "cni_flannel_timeout": 30},
        "wireguard": {"cluster_cni_encryption": "wireguard", "cni_flannel_port": 51900, "cni_flannel_keepalive": 25},
        "routes": {"cluster_cni_encapsulation": "none", "cni_flannel_interfaces": ["bond0"]},
    }
    files, found = rendered(tmp_path, "cni_flannel", hosts)
    assert list(files) == ["helm/flannel.yaml"]
    assert files["helm/flannel.yaml"].splitlines()[0] == (
        "# Values of chart flannel v0.28.9 (https://flannel-io.github.io/flannel/), release flannel, namespace kube-flannel"
    )
    assert yaml.safe_load(files["helm/flannel.yaml"]) == found["nft"][2]
    # all tries together take the time that is given: two parts of 65 seconds, one of 30, five of 120
    assert {host: item[:2] for host, item in found.items()} == {"nft": [1, 65], "cross": [0, 30], "wireguard": [4, 120], "routes": [4, 120]}
    for item in found.values():
        del item[2]["flannel"]["tolerations"]
    args = ["--ip-masq", "--kube-subnet-mgr", "--iface=192.0.2.11", "--iface=192.0.2.12", "--iface=192.0.2.13", "--iface=192.0.2.14"]
    assert found["nft"][2] == {
        "podCidr": "10.244.0.0/16",
        "podCidrv6": "",
        "flannel": {"args": args, "enableNFTables": True, "backend": "vxlan", "mtu": 1500, "vni": 7},
        "netpol": {"enabled": True},
    }
    assert found["cross"][2]["flannel"] == {
        "args": args,
        "enableNFTables": False,
        "backend": "vxlan",
        "mtu": 9000,
        "vni": 1,
        "directRouting": True,
    }
    wireguard = found["wireguard"][2]["flannel"]
    assert (wireguard["backend"], wireguard["backendPort"], wireguard["keepaliveInterval"]) == ("wireguard", 51900, 25)
    routes = found["routes"][2]["flannel"]
    assert (routes["backend"], routes["args"][2:]) == ("host-gw", ["--iface=bond0"])
    assert json.loads(routes["cniConf"])["plugins"][0]["delegate"]["mtu"] == 1500


def test_cilium(tmp_path):
    hosts = {
        "bgp": {**BGP, "cni_cilium_timeout": 30},
        "plain": {},
        "native": {"cluster_cni_encapsulation": "none", "cluster_cni_encryption": "wireguard", "cluster_network_mtu": 9000},
    }
    files, found = rendered(tmp_path, "cni_cilium", hosts)
    assert list(files) == ["helm/cilium.yaml", "manifests/cilium.yaml"]
    assert yaml.safe_load(files["helm/cilium.yaml"]) == found["bgp"][2]
    assert {host: item[:2] for host, item in found.items()} == {"bgp": [0, 30], "plain": [7, 113], "native": [7, 113]}
    bgp = found["bgp"][2]
    assert (bgp["kubeProxyReplacement"], bgp["k8sServiceHost"], bgp["k8sServicePort"], bgp["enableLBIPAM"]) == (
        True,
        "api.example",
        8443,
        True,
    )
    assert found["plain"][2] == {
        "ipam": {"mode": "kubernetes"},
        "k8s": {"requireIPv4PodCIDR": True},
        "ipv4": {"enabled": True},
        "ipv6": {"enabled": False},
        "MTU": 1500,
        "routingMode": "tunnel",
        "tunnelProtocol": "vxlan",
        "kubeProxyReplacement": False,
        "cni": {"exclusive": True},
        "encryption": {"enabled": False},
        "bgpControlPlane": {"enabled": False},
        "l2announcements": {"enabled": False},
        "enableLBIPAM": False,
        "hubble": {"enabled": False},
        "operator": {"replicas": 2, "rollOutPods": True},
        "envoy": {"enabled": True, "rollOutPods": True},
        "rollOutCiliumPods": True,
    }
    native = found["native"][2]
    assert (native["routingMode"], native["MTU"], native["autoDirectNodeRoutes"], native["encryption"]["type"]) == (
        "native",
        9000,
        True,
        "wireguard",
    )
    documents = list(yaml.safe_load_all(files["manifests/cilium.yaml"]))
    assert [item["kind"].removeprefix("Cilium") for item in documents] == [
        "BGPClusterConfig",
        "BGPPeerConfig",
        "BGPAdvertisement",
        "LoadBalancerIPPool",
    ]
    assert documents[1]["spec"]["authSecretRef"] == "bgp-tor1"
    assert documents[3]["spec"] == {"blocks": [{"cidr": "203.0.113.0/26"}]}
    assert "s3cret" not in "".join(files.values())


@pytest.mark.skipif(pathlib.Path("/etc/kubernetes/admin.conf").exists(), reason="this machine is a control plane")
@pytest.mark.parametrize(("role", "variables"), [("cni_flannel", {}), ("cni_cilium", BGP)])
def test_check_mode_without_a_cluster(tmp_path, role, variables):
    """Every task of the role is tried; the MTU is given, because no interface here has the addresses of the documentation."""
    hosts = {"cp1": {"cluster_network_mtu": 1500, **variables}, "w1": {"cluster_network_mtu": 1500, **variables}}
    done = run(tmp_path, role, hosts, "--check", "--diff", "-vvv", tasks="main")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_what_cannot_be_is_told(tmp_path):
    done = run(tmp_path, "cni_cilium", {"cp1": {"cni_cilium_load_balancer": "l2"}})
    assert done.returncode != 0
    assert (
        "load_balancer is 'l2' and the proxy mode 'ipvs', but Cilium answers ARP for Services only in kube-proxy's place"
        in done.stdout + done.stderr
    )
