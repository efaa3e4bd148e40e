# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles cni_flannel and cni_cilium: what they render without a host, and how they run in check mode on machines that have nothing yet."""

from __future__ import annotations

import json
import os
import pathlib
import re
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


# Stands for a module that asks the cluster or a node: writes its name down, and answers from answers.json beside it.
STUB = """#!/usr/bin/python
import json
from ansible.module_utils.basic import AnsibleModule, _load_params
import ansible.module_utils.basic as basic

params = {key: value for key, value in _load_params().items() if not key.startswith("_ansible")}
basic._load_params = lambda: params
module = AnsibleModule(argument_spec={key: {"type": "raw"} for key in params}, supports_check_mode=True)
with open("@FOLDER@/calls", "a") as handle:
    handle.write(json.dumps(["@NAME@", params]) + chr(10))
with open("@FOLDER@/answers.json") as handle:
    module.exit_json(**json.load(handle).get("@NAME@ " + params.get("address", "") if "address" in params else "@NAME@", {}))
"""
STUBBED = ("cilium_bgp_peers", "helm_binary", "kube_apply", "kube_nodes", "kube_rollout", "node_config", "node_state")


def node(mtu=1500, bridge=None, other=""):
    """What module node_state answers."""
    files = {"/etc/cni/net.d/10-bridge.conflist": bridge}
    return {"node": {"interface": {"name": "eth1", "mtu": mtu, "reason": ""}, "files": files, "other_pod_network": other}}


class Cluster:
    """The collection with those modules replaced; a run that finds everything as it is wanted, but for the answers."""

    def __init__(self, folder):
        self.folder = folder
        own, core = (folder / f"ansible_collections/{name}" for name in ("baremetal/kubernetes", "kubernetes/core"))
        for path in (own / "plugins/modules", core / "plugins/modules"):
            path.mkdir(parents=True)
        for name in ("roles", "meta", "galaxy.yml"):
            (own / name).symlink_to(ROOT / name)
        for name in ("filter", "plugin_utils", "module_utils", "doc_fragments", "callback"):
            (own / "plugins" / name).symlink_to(ROOT / "plugins" / name)
        for path in (ROOT / "plugins/modules").glob("*.py"):
            if path.stem not in STUBBED:
                (own / "plugins/modules" / path.name).symlink_to(path)
        for name in (*STUBBED, "helm"):
            text = STUB.replace("@FOLDER@", str(folder)).replace("@NAME@", name)
            ((core if name == "helm" else own) / "plugins/modules" / f"{name}.py").write_text(text)
        self.answers = {
            "node_state 192.0.2.11": node(),
            "node_state 192.0.2.12": node(),
            "helm_binary": {"ready": True, "packages": []},
            "helm": {"status": {"status": "deployed"}},
        }

    def play(self, role, variables=None, *options):
        """(process, names of the modules that ran, tasks that the control plane executed)"""
        (self.folder / "calls").write_text("")
        (self.folder / "answers.json").write_text(json.dumps(self.answers))
        (self.folder / "play.yml").write_text(f"- hosts: kubernetes\n  gather_facts: false\n  roles: [baremetal.kubernetes.{role}]\n")
        done = run(
            self.folder, role, {name: variables or {} for name in ("cp1", "w1")}, *options, tasks=None, paths=str(self.folder)
        )
        self.calls = [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]
        executed = re.search(r"^cp1 +: ok=(\d+)", done.stdout, re.MULTILINE)
        return done, [name for name, dummy in self.calls], int(executed.group(1)) if executed else 0


def run(folder, role, hosts, *options, tasks="render", paths=""):
    """The role on hosts that are all this machine, each with its own variables; the first is the control plane."""
    found = {name: {"cluster_node_ip": f"192.0.2.{11 + number}", **variables} for number, (name, variables) in enumerate(hosts.items())}
    first = next(iter(found))
    inventory = {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                # the default is not named
                **({} if role == "cni_bridge" else {"cluster_cni": role.removeprefix("cni_")}),
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
    if tasks:
        (folder / "play.yml").write_text(PLAY.format(role=role, tasks=tasks))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(folder / "hosts.yml"), str(folder / "play.yml"), *options]
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_FORCE_COLOR="0")
    if paths:
        environment["ANSIBLE_COLLECTIONS_PATH"] = paths
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


LOOK = ["node_state", "node_state", "helm_binary", "helm", "kube_rollout"]


@pytest.mark.parametrize(
    ("role", "variables", "modules", "most"),
    [
        # and the validation of the arguments
        ("cni_flannel", {}, LOOK, 5),
        ("cni_cilium", {}, LOOK, 5),
        ("cni_cilium", BGP, [*LOOK, "kube_apply", "cilium_bgp_peers"], 7),
    ],
)
def test_an_unchanged_run_asks_each_thing_once(tmp_path, role, variables, modules, most):
    """Each executed task is a round trip: molecule/default/verify.yml has the limit for a whole run."""
    cluster = Cluster(tmp_path)
    done, called, executed = cluster.play(role, variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (called, executed) == (modules, most)
    assert re.search(r"^cp1 .*changed=0 ", done.stdout, re.MULTILINE)
    asked = {params["address"]: params["pod_network"] for name, params in cluster.calls if name == "node_state"}
    assert asked == {"192.0.2.11": role.removeprefix("cni_"), "192.0.2.12": ""}


def test_sessions_are_watched_only_after_a_change(tmp_path):
    cluster = Cluster(tmp_path)

    def stable():
        done = cluster.play("cni_cilium", BGP)[0]
        assert done.returncode == 0, done.stdout + done.stderr
        params = next(params for name, params in cluster.calls if name == "cilium_bgp_peers")
        assert params["peers"] == [{"name": "tor1", "address": "192.0.2.1", "nodes": {}, "port": 179}]
        assert params["node_addresses"] == ["192.0.2.11", "192.0.2.12"]
        return params["stable_seconds"]

    assert stable() == 0
    cluster.answers["kube_apply"] = {"changed": True}
    assert stable() == 15
    cluster.answers["kube_apply"] = {"failed": True, "msg": "no"}
    assert "cilium_bgp_peers" not in cluster.play("cni_cilium", BGP)[1]


@pytest.mark.parametrize(
    ("host", "answer", "sentence"),
    [
        ("192.0.2.11", node(other="The cluster has the pod network cilium."), "The cluster has the pod network cilium."),
        ("192.0.2.12", node(bridge={"size": 1}), "The pod network of w1 is bridge"),
        ("192.0.2.12", {"node": {**node()["node"], "interface": {"mtu": None, "reason": "no interface"}}}, "(w1: no interface)"),
        ("192.0.2.12", {"failed": True, "msg": "Cannot read"}, "The MTU of 1 of 2 nodes is known"),
    ],
)
def test_nothing_is_installed_over_another_pod_network_or_with_half_of_the_mtus(tmp_path, host, answer, sentence):
    """One node that objects is enough: what is installed is installed for all."""
    cluster = Cluster(tmp_path)
    cluster.answers[f"node_state {host}"] = answer
    done, called, dummy = cluster.play("cni_flannel")
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr
    assert set(called) == {"node_state"}


def test_a_run_without_the_first_control_plane_asks_it_all_the_same(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.answers["kube_nodes"] = {"failed": True, "msg": "The cluster has the pod network cilium."}
    done, called, dummy = cluster.play("cni_flannel", {"cluster_network_mtu": 1500}, "--limit", "w1")
    assert (done.returncode != 0, called) == (True, ["node_state", "kube_nodes"])
    # it fails while it is asked
    cluster.answers["node_state 192.0.2.11"] = {"failed": True, "msg": "The API server gave no answer."}
    done, called, dummy = cluster.play("cni_flannel", {"cluster_network_mtu": 1500})
    assert (done.returncode != 0, called) == (True, ["node_state", "node_state", "kube_nodes"])


@pytest.mark.parametrize(
    ("role", "wrong", "sentences"),
    [
        ("cni_flannel", {"cni_flannel_vni": 0, "cni_flannel_port": 70000}, ["cni_flannel_vni is 0", "cni_flannel_port is 70000"]),
        (
            "cni_cilium",
            {**BGP, "cni_cilium_bgp_as_number": 0, "cni_cilium_l2_interfaces": "bond0"},
            ["cni_cilium_bgp_as_number is 0", "cni_cilium_l2_interfaces must be a list"],
        ),
    ],
)
def test_the_inventory_is_judged_without_a_host(tmp_path, role, wrong, sentences):
    cluster = Cluster(tmp_path)
    validate = {"ansible.builtin.import_role": {"name": f"baremetal.kubernetes.{role}", "tasks_from": "validate"}}
    (tmp_path / "calls").write_text("")
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": "kubernetes", "gather_facts": False, "tasks": [validate]}]))
    done = run(tmp_path, role, {"cp1": wrong, "w1": {}}, "-vvv", tasks=None, paths=str(cluster.folder))
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert [sentence for sentence in sentences if sentence not in text] == []
    assert "s3cret" not in text
    assert (tmp_path / "calls").read_text() == ""
    right = BGP if role == "cni_cilium" else {}
    done = run(tmp_path, role, {"cp1": right, "w1": {}}, tasks=None, paths=str(cluster.folder))
    assert done.returncode == 0, done.stdout + done.stderr


def remove_network(cluster, *options, **variables):
    """playbooks/remove_network.yml up to the restart, which a machine refuses to do to itself; the modules that ran."""
    plays = yaml.safe_load((ROOT / "playbooks/remove_network.yml").read_text())
    assert [play.get("name") for play in plays[1:]] == ["Ask for consent", "Remove the pod network", "Restart every node"]
    (cluster.folder / "calls").write_text("")
    (cluster.folder / "answers.json").write_text(json.dumps(cluster.answers))
    (cluster.folder / "play.yml").write_text(yaml.safe_dump([{**play, "become": False} for play in plays[1:3]]))
    hosts = {name: {"cluster_name": "lab", **variables} for name in ("cp1", "w1")}
    done = run(cluster.folder, "cni_bridge", hosts, *options, tasks=None, paths=str(cluster.folder))
    return done, [json.loads(line)[0] for line in (cluster.folder / "calls").read_text().splitlines()]


def test_removal_wants_consent_and_every_node(tmp_path):
    cluster = Cluster(tmp_path)
    for options in ((), ("-e", "remove_network_confirm=other"), ("-e", "remove_network_confirm=lab", "--limit", "cp1")):
        done, called = remove_network(cluster, *options)
        assert done.returncode != 0 and "with -e remove_network_confirm=lab" in " ".join(done.stdout.split())
        assert called == []


def test_removal_of_the_default_pod_network(tmp_path):
    """An inventory need not name it."""
    cluster = Cluster(tmp_path)
    done, called = remove_network(cluster, "-e", "remove_network_confirm=lab")
    assert done.returncode == 0, done.stdout + done.stderr
    assert called == ["kube_nodes", *["node_config"] * 4]


def test_removal_of_a_pod_network_that_is_not_there_stops_before_anything(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.answers["kube_nodes"] = {"failed": True, "msg": "The cluster has the pod network cilium."}
    done, called = remove_network(cluster, "-e", "remove_network_confirm=lab")
    assert (done.returncode != 0, called) == (True, ["kube_nodes"])
