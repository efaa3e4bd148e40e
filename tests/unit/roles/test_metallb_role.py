# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role metallb: what it renders and refuses without a host, how it runs in check mode, and its gate with modules that answer as told."""

from __future__ import annotations

import importlib.util
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
    - ansible.builtin.import_role:
        name: baremetal.kubernetes.metallb
        tasks_from: {tasks}
"""
RANGES = {"cluster_load_balancer_ranges": ["192.0.2.200-192.0.2.239"]}
BGP = {
    "metallb_pools": [{"name": "web", "addresses": ["203.0.113.0/26"], "protocol": "bgp"}],
    "metallb_peers": [{"name": "tor1", "address": "192.0.2.1", "as_number": 64500}],
    "metallb_peer_passwords": {"tor1": "s3cret"},
}
OLD = """
peers:
- {peer-address: 192.0.2.1, peer-asn: 64500, my-asn: 64512, password: s3cret}
address-pools:
- {name: Main Pool, protocol: bgp, addresses: [203.0.113.0/26]}
"""


def run(folder, variables, *options, tasks="render", workers=("w1",), play=PLAY):
    """The role on hosts that are all this machine: a control plane and workers."""
    hosts = {name: {"cluster_node_ip": f"192.0.2.{11 + number}"} for number, name in enumerate(("cp1", *workers))}
    inventory = {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "cluster_load_balancer": "metallb",
                "cluster_artifacts_dir": str(folder / "artifacts"),
                "render_dir": str(folder / "out"),
                **RANGES,
                **variables,
            },
            "children": {
                "routers": {"hosts": {"r1": {}}},
                "kubernetes": {
                    "children": {
                        "control_plane": {"hosts": {"cp1": hosts.pop("cp1")}},
                        "workers": {"hosts": hosts},
                    }
                },
            },
        }
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    (folder / "play.yml").write_text(play.format(tasks=tasks))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(folder / "hosts.yml"), str(folder / "play.yml"), *options]
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_FORCE_COLOR="0")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


def rendered(folder, variables, **options):
    code, output = run(folder, variables, **options)
    assert code == 0, output
    below = folder / "out" / "cluster"
    values = yaml.safe_load((below / "helm/metallb.yaml").read_text())
    return values, list(yaml.safe_load_all((below / "manifests/metallb.yaml").read_text())), output


def test_rendered_by_default(tmp_path):
    values, objects, dummy = rendered(tmp_path, {})
    assert values == {"frrk8s": {"enabled": True}, "speaker": {"frr": {"enabled": False}, "ignoreExcludeLB": False}}
    assert [(item["kind"], item["metadata"]["name"]) for item in objects] == [
        ("Namespace", "metallb-system"),
        ("IPAddressPool", "default"),
        ("L2Advertisement", "default"),
    ]
    assert objects[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert objects[1]["spec"] == {"addresses": ["192.0.2.200-192.0.2.239"], "autoAssign": True, "avoidBuggyIPs": False}
    assert objects[2]["spec"] == {"ipAddressPools": ["default"]}


def test_rendered_without_workers(tmp_path):
    """kubeadm excludes control planes from load balancers, and nobody else is there."""
    values, dummy, dummy1 = rendered(tmp_path, {}, workers=())
    assert values["speaker"]["ignoreExcludeLB"] is True
    assert [row["key"] for row in values["controller"]["tolerations"]] == [
        "node-role.kubernetes.io/control-plane",
        "node-role.kubernetes.io/master",
    ]


@pytest.mark.parametrize("variables", [BGP, {"metallb_address_pools": OLD}, {"metallb_address_pools": yaml.safe_load(OLD)}])
def test_passwords_are_not_rendered(tmp_path, variables):
    dummy, objects, output = rendered(tmp_path, variables)
    assert [item["kind"] for item in objects] == ["Namespace", "Secret", "IPAddressPool", "BGPPeer", "BGPAdvertisement"]
    peer = objects[3]["metadata"]["name"]
    assert objects[1]["stringData"] == {"password": f"<metallb_peer_passwords of {peer}>"}
    assert objects[3]["spec"]["passwordSecret"]["name"] == objects[1]["metadata"]["name"] == f"bgp-{peer}"
    text = "".join(path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert "s3cret" not in text + output


def test_validated(tmp_path):
    code, output = run(tmp_path, {}, tasks="validate")
    assert code == 0, output
    assert "The settings of MetalLB fit together" in output


def test_all_problems_are_told_at_once(tmp_path):
    variables = {
        **BGP,
        "metallb_dhcp_ranges": ["203.0.113.60-203.0.113.90"],
        "cluster_cni": "calico",
        "cni_calico_bgp_peers": [{"name": "tor", "address": "192.0.2.1", "as_number": 64500}],
        "cni_calico_advertise_load_balancer_ips": ["203.0.113.0/24"],
        "metallb_route_observers": ["r1", "r2"],
    }
    code, output = run(tmp_path, variables, tasks="validate")
    text = " ".join(output.split())
    assert code != 0
    for words in (
        "share 203.0.113.60-203.0.113.63",
        "Calico should announce: set protocol: none for the pool",
        "is a BGP peer of Calico too",
        "metallb_route_observers has r2, which",
    ):
        assert words in text, text


def test_the_old_format_is_told_in_the_new_one(tmp_path):
    code, output = run(tmp_path, {"metallb_address_pools": OLD}, tasks="validate")
    assert code == 0, output
    assert "metallb_address_pools is the format of the ConfigMap" in output
    assert "name: main-pool" in output
    assert "{{ vault_peer_1_password }}" in output
    assert "s3cret" not in output


@pytest.mark.skipif(pathlib.Path("/etc/kubernetes/admin.conf").exists(), reason="this machine is a control plane")
def test_check_mode_without_a_cluster(tmp_path):
    code, output = run(tmp_path, BGP, "--check", "--diff", "-vvv", tasks="main")
    assert code == 0, output
    assert "s3cret" not in output


# --- the gate, on this machine, with an API server that answers as MetalLB would make it

GATE = """
- hosts: kubernetes
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: baremetal.kubernetes.metallb
        tasks_from: {tasks}
  module_defaults:
    baremetal.kubernetes.kube_apply: &api
      kubeconfig: KUBECONFIG
      poll_seconds: 1
    baremetal.kubernetes.metallb_status: *api
"""


def service(name, address):
    return {
        "metadata": {"namespace": "metallb-system", "name": name, "uid": f"uid-{name}", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
    }


def fake_api_server(folder):
    """That of the tests of plugins."""
    spec = importlib.util.spec_from_file_location("plugins_conftest", ROOT / "tests/unit/plugins/conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FakeApiServer(folder)


@pytest.fixture(name="metallb")
def fixture_metallb(tmp_path):
    """An API server with MetalLB: a Service of pool default gets 192.0.2.200, which w1 announces."""
    api_server = fake_api_server(tmp_path)
    services = "/api/v1/namespaces/metallb-system/services"
    labels = "baremetal.kubernetes%2Fprobe%3Dmetallb"
    kept = {}
    api_server.address = "192.0.2.200"

    def apply(body):
        item = json.loads(body)
        kept["probe-default"] = {**item, **service("probe-default", api_server.address), "spec": item["spec"]}
        return 201, kept["probe-default"]

    def listed(body):
        return 200, {"items": list(kept.values())}

    def remove(body):
        kept.clear()
        return 200, {}

    node = {"metadata": {"name": "w1"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.12"}]}}
    layer2 = {
        "status": {"serviceNamespace": "metallb-system", "serviceName": "probe-default", "node": "w1", "interfaces": [{"name": "eth0"}]}
    }
    kinds = [{"name": "services", "kind": "Service", "namespaced": True}]
    below = "/apis/metallb.io/v1beta1/namespaces/metallb-system"
    api_server.answers = {
        ("GET", "/api/v1"): (200, {"resources": kinds}),
        ("PATCH", f"{services}/probe-default?fieldManager=baremetal.kubernetes&force=false"): apply,
        (
            "GET",
            f"{services}?labelSelector={labels}",
        ): listed,
        ("DELETE", f"{services}/probe-default"): remove,
        ("GET", "/api/v1/namespaces/metallb-system/pods?labelSelector=app.kubernetes.io%2Fcomponent%3Dspeaker"): (
            200,
            {"items": [{"spec": {"nodeName": "w1"}}]},
        ),
        ("GET", "/api/v1/services"): listed,
        ("GET", "/api/v1/nodes"): (200, {"items": [node]}),
        ("GET", f"{below}/ipaddresspools"): (200, {"items": []}),
        ("GET", f"{below}/servicel2statuses"): (200, {"items": [layer2]}),
    }
    api_server.kept = kept
    yield api_server
    api_server.close()


def gate(folder, metallb, variables=None):
    play = GATE.replace("KUBECONFIG", str(metallb.kubeconfig))
    # an interface that no machine has: nothing is sent into this one's network
    settings = {"metallb_probe_timeout": 3, "metallb_probe_seconds": 1, "metallb_probe_interface": "nowhere0"}
    return run(folder, {**settings, **(variables or {})}, tasks="probe", play=play)


def removed(metallb):
    return metallb.kept == {} and any(method == "DELETE" for method, *dummy in metallb.asked)


def test_the_gate_judges_and_removes_what_it_made(tmp_path, metallb):
    """A node that cannot ask is no pass, and no fail either: it is told."""
    code, output = gate(tmp_path, metallb)
    assert code == 0, output
    text = " ".join(output.split())
    assert "Pass: lb_address/default, l2_announcer/default." in text
    assert "vip_owner/default is not known: cp1: none of the interfaces nowhere0 is here; w1: none of" in text
    assert removed(metallb)
    assert "changed=0" in output and "changed=1" not in output
    metallb.answers[("GET", "/apis/metallb.io/v1beta1/namespaces/metallb-system/servicel2statuses")] = (200, {"items": []})
    metallb.asked.clear()
    code, output = gate(tmp_path, metallb)
    assert code != 0
    assert "l2_announcer/default: Seen: none does. Wanted: one node that announces 192.0.2.200." in " ".join(output.split())
    assert removed(metallb)


def ask_routers(folder, metallb, script, addresses="192.0.2.200-192.0.2.239"):
    """protocol none: somebody else announces, and a router, whose command ip is this script, has to know the route."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/ip").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin/ip").chmod(0o755)
    variables = {
        "metallb_probe_timeout": 3,
        "metallb_pools": [{"name": "default", "addresses": [addresses], "protocol": "none"}],
        "metallb_route_observers": ["r1"],
    }
    play = GATE.replace("KUBECONFIG", str(metallb.kubeconfig)) + f"  environment: {{{{PATH: '{folder}/bin:{os.environ['PATH']}'}}}}\n"
    code, output = run(folder, variables, tasks="probe", play=play)
    assert removed(metallb)
    return code, " ".join(output.split())


def test_the_gate_asks_routers(tmp_path, metallb):
    routes = """echo '[{"dst":"default","gateway":"192.0.2.1"},{"dst":"192.0.2.200","gateway":"192.0.2.12"}]'"""
    code, output = ask_routers(tmp_path, metallb, routes)
    assert code == 0, output
    assert "Pass: lb_address/default, vip_route/default/r1." in output
    code, output = ask_routers(tmp_path, metallb, """echo '[{"dst":"192.0.2.192/26","gateway":"192.0.2.99"}]'""")
    assert code != 0
    assert "vip_route/default/r1: Seen: 192.0.2.192/26 by 192.0.2.99, which is no node" in output


def test_the_gate_asks_routers_in_the_family_of_the_address(tmp_path, metallb):
    """ip shows no IPv6 route to who does not ask for one."""
    metallb.address = "2001:db8:1::1"
    routes = """[ "$*" = "-j -6 route show match 2001:db8:1::1" ] && echo '[{"dst":"2001:db8:1::1","gateway":"192.0.2.12"}]'"""
    code, output = ask_routers(tmp_path, metallb, routes, "2001:db8:1::/64")
    assert code == 0, output
    assert "Pass: lb_address/default, vip_route/default/r1." in output


def test_a_router_that_cannot_be_asked_is_told_in_its_own_words(tmp_path, metallb):
    code, output = ask_routers(tmp_path, metallb, "echo 'Option -j is unknown' >&2; exit 255")
    assert code != 0
    assert "Option -j is unknown" in output and "from_json" not in output.split("Origin", maxsplit=1)[0]
    assert "RETRYING" not in output


# --- pools that stand in each other's way


@pytest.fixture(name="pools")
def fixture_pools(tmp_path):
    """An API server that has pool old with the addresses of pool default, and MetalLB's webhook that refuses two such pools."""
    api_server = fake_api_server(tmp_path)
    below = "/apis/metallb.io/v1beta1/namespaces/metallb-system"
    kept = {
        "old": {"metadata": {"namespace": "metallb-system", "name": "old", "uid": "uid-old", "creationTimestamp": "2026-01-01T00:00:00Z"}}
    }

    def apply(body):
        if "old" in kept:
            return 403, {"message": api_server.refusal}
        return 201, json.loads(body)

    def remove(body):
        kept.clear()
        return 200, {}

    labels = "app.kubernetes.io%2Fmanaged-by%3Dbaremetal.kubernetes%2Capp.kubernetes.io%2Fcomponent%3Dmetallb"
    stale = f"{labels}%2Capp.kubernetes.io%2Finstance+notin+%28default%29"
    query = "?fieldManager=baremetal.kubernetes&force=false"
    dry = f"{query}&dryRun=All"
    kinds = [(name, kind, True) for name, kind in (("ipaddresspools", "IPAddressPool"), ("l2advertisements", "L2Advertisement"))]
    api_server.answers = {
        ("GET", "/apis/metallb.io/v1beta1"): (200, {"resources": [dict(zip(("name", "kind", "namespaced"), row)) for row in kinds]}),
        **{("PATCH", f"{below}/ipaddresspools/default{words}"): apply for words in (query, dry)},
        **{("PATCH", f"{below}/l2advertisements/default{words}"): lambda body: (201, json.loads(body)) for words in (query, dry)},
        ("GET", f"{below}/ipaddresspools?labelSelector={stale}"): lambda body: (200, {"items": list(kept.values())}),
        ("GET", f"{below}/ipaddresspools?labelSelector={labels}"): (200, {"items": []}),
        ("GET", f"{below}/l2advertisements?labelSelector={labels}"): (200, {"items": []}),
        ("DELETE", f"{below}/ipaddresspools/old"): remove,
    }
    api_server.kept = kept
    yield api_server
    api_server.close()


OVERLAP = 'admission webhook denied the request: CIDR "192.0.2.200/29" in pool "old" overlaps with already defined CIDR "192.0.2.200/29"'
NEXT_PLAY = """
- hosts: kubernetes
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: next play
"""


def resources(folder, pools, refusal, *options):
    pools.refusal = refusal
    pools.asked.clear()
    code, output = run(folder, {}, *options, tasks="resources", play=GATE.replace("KUBECONFIG", str(pools.kubeconfig)) + NEXT_PLAY)
    return code, output, [path for method, path, *dummy in pools.asked if method == "PATCH"]


def test_a_pool_under_a_new_name(tmp_path, pools):
    code, output, applied = resources(tmp_path, pools, OVERLAP, "--check")
    assert code == 0, output
    assert (list(pools.kept), len(applied)) == (["old"], 1)
    assert "changed: [cp1]" in output
    code, output, applied = resources(tmp_path, pools, OVERLAP)
    assert code == 0, output
    assert pools.kept == {}
    assert [path.split("/")[-1].split("?")[0] for path in applied] == ["default"] * 3
    # nobody is lost for the plays that follow
    assert output.count('"msg": "next play"') == 2, output
    code, output, applied = resources(tmp_path, pools, OVERLAP)
    assert (code, len(applied)) == (0, 2)


def test_another_refusal_removes_nothing_and_is_told(tmp_path, pools):
    code, output, applied = resources(tmp_path, pools, "admission webhook denied the request: something else")
    assert (code != 0, len(applied)) == (True, 1)
    assert "IPAddressPool metallb-system/default was refused with 403: admission webhook denied the request: something else." in output
    assert list(pools.kept) == ["old"]


def test_an_overlap_with_a_pool_that_stays_is_told(tmp_path, pools):
    """Whose pool is not this role's, or is wanted too."""
    stale = next(key for key in pools.answers if key[1].endswith("instance+notin+%28default%29"))
    pools.answers[stale] = (200, {"items": []})
    for options in ([], ["--check"]):
        code, output, dummy = resources(tmp_path, pools, OVERLAP, *options)
        assert code != 0
        assert "overlaps with already defined CIDR" in output
    assert list(pools.kept) == ["old"]
