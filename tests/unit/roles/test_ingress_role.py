# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role ingress: what it refuses, renders and waits for, without a cluster."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
PEM = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"
CERTIFICATE = {"ingress_default_certificate_certificate": PEM, "ingress_default_certificate_key": "s3cret"}
POOL = {"cluster_load_balancer": "metallb", "cluster_load_balancer_ranges": ["203.0.113.0/26"]}


def run(folder, tasks, variables, *options, environment=None, after=()):
    """One file of the role's tasks on three hosts that are all this machine."""
    inventory = {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "cluster_ingress_controller": "nginx",
                "cluster_artifacts_dir": str(folder / "artifacts"),
                "render_dir": str(folder / "out"),
                **variables,
            },
            "children": {
                "kubernetes": {
                    "children": {
                        "control_plane": {"hosts": {"cp1": {"cluster_node_ip": "192.0.2.11"}}},
                        "workers": {"hosts": {"w1": {"cluster_node_ip": "192.0.2.12"}, "w2": {"cluster_node_ip": "192.0.2.13"}}},
                    }
                }
            },
        }
    }
    steps = [{"ansible.builtin.import_role": {"name": "baremetal.kubernetes.ingress", "tasks_from": tasks}}, *after]
    play = [{"hosts": "kubernetes", "gather_facts": False, "environment": environment or {}, "tasks": steps}]
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    (folder / "play.yml").write_text(yaml.safe_dump(play, sort_keys=False))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(folder / "hosts.yml"), str(folder / "play.yml"), *options]
    surroundings = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_FORCE_COLOR="0", COLUMNS="400")
    return subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=300, check=False)


def rendered(folder, variables):
    done = run(folder, "render", variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    below = folder / "out" / "cluster"
    return {str(path.relative_to(below)): path.read_text() for path in sorted(below.rglob("*")) if path.is_file()}


def test_rendering_of_f5(tmp_path):
    files = rendered(tmp_path, {**POOL, **CERTIFICATE, "ingress_addresses": ["203.0.113.7"], "ingress_tuning": {"keepalive_timeout": 30}})
    assert list(files) == ["helm/nginx-ingress.yaml", "manifests/ingress.yaml"]
    assert files["helm/nginx-ingress.yaml"].splitlines()[:2] == [
        "# Values of chart nginx-ingress 2.6.4 (oci://ghcr.io/nginx/charts),",
        "# release nginx-ingress, namespace nginx-ingress",
    ]
    controller = yaml.safe_load(files["helm/nginx-ingress.yaml"])["controller"]
    assert controller["service"]["annotations"] == {"metallb.io/loadBalancerIPs": "203.0.113.7"}
    assert controller["config"]["entries"]["keepalive-timeout"] == "30s"
    assert controller["defaultTLS"] == {"secret": "nginx-ingress/ingress-default-certificate"}
    secret = yaml.safe_load(files["manifests/ingress.yaml"])
    assert f"{secret['metadata']['namespace']}/{secret['metadata']['name']}" == controller["defaultTLS"]["secret"]
    assert secret["stringData"] == {"tls.crt": "PLACEHOLDER", "tls.key": "PLACEHOLDER"}


def test_rendering_of_the_community_on_the_ports_of_the_nodes(tmp_path):
    # nothing gives out addresses
    files = rendered(tmp_path, {"cluster_ingress_controller": "ingress-nginx", "ingress_default_certificate": "default/wildcard"})
    assert list(files) == ["helm/ingress-nginx.yaml"]
    controller = yaml.safe_load(files["helm/ingress-nginx.yaml"])["controller"]
    assert (controller["kind"], controller["hostNetwork"], controller["service"]) == ("DaemonSet", True, {"enabled": False})
    assert controller["config"]["keep-alive"] == "75"
    assert controller["extraArgs"] == {"default-ssl-certificate": "default/wildcard"}


def test_rendering_with_addresses_of_cilium(tmp_path):
    files = rendered(tmp_path, {"cluster_cni": "cilium", "cni_cilium_load_balancer": "l2", "ingress_addresses": ["203.0.113.9"]})
    service = yaml.safe_load(files["helm/nginx-ingress.yaml"])["controller"]["service"]
    assert service["annotations"] == {"lbipam.cilium.io/ips": "203.0.113.9"}


def test_what_cannot_work_is_told_at_once(tmp_path):
    variables = {
        "cluster_ingress_controller": "ingress-nginx",
        "ingress_config": {"worker-connections": "1024"},
        "ingress_tuning": {"use_forwarded_headers": True},
        "ingress_exposure": "load_balancer",
        "ingress_default_certificate_key": "s3cret",
    }
    done = run(tmp_path, "validate", variables)
    assert done.returncode != 0
    for text in (
        "max-worker-connections",
        "trusted_proxies is empty",
        "nothing gives Services an address",
        "without ingress_default_certificate_cert",
    ):
        assert text in done.stdout, done.stdout
    assert "s3cret" not in done.stdout + done.stderr


def test_notices_of_the_retired_controller(tmp_path):
    done = run(
        tmp_path, "validate", {**POOL, "cluster_ingress_controller": "ingress-nginx", "metallb_pools": [{"addresses": ["198.51.100.0/28"]}]}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ingress-nginx is retired" in done.stdout and "get one that the controller signed itself" in done.stdout


def test_addresses_may_come_from_pools_of_metallb(tmp_path):
    pools = {"metallb_pools": [{"name": "edge", "addresses": ["198.51.100.0/28"]}, {"name": "odd"}]}
    done = run(tmp_path, "validate", {**POOL, **pools, "ingress_addresses": ["198.51.100.3", "203.0.113.7"]})
    assert done.returncode == 0, done.stdout + done.stderr
    assert run(tmp_path, "validate", {**POOL, **pools, "ingress_addresses": ["198.51.100.77"]}).returncode != 0


def test_what_role_verify_gets(tmp_path):
    write = {
        "ansible.builtin.copy": {
            "content": "{{ [_ingress_expected, _ingress_directives, _ingress_chart.namespace, ingress_class_name] | to_json }}",
            "dest": str(tmp_path / "expected.json"),
            "mode": "0600",
        },
        "run_once": True,
    }
    done = run(
        tmp_path, "expected", {**POOL, "ingress_external_traffic_policy": "Cluster", "ingress_config": {"http2": True}}, after=[write]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected, directives, namespace, class_name = json.loads((tmp_path / "expected.json").read_text())
    assert (expected["client_address"], expected["keepalive_requests"]) == ("replaced", 1000)
    assert directives["events"] == {"worker_connections": "4096"}
    assert (namespace, class_name) == ("nginx-ingress", "nginx")


# --- the addresses of the Service, told by a kubectl of ours


def kubectl(folder, *answers):
    """A program that gives one answer after the other, and then the last one for ever."""
    (folder / "bin").mkdir()
    for number, answer in enumerate(answers):
        (folder / f"answer{number}").write_text(answer)
    program = folder / "bin" / "kubectl"
    program.write_text(f"""#!/bin/sh
echo "$*" >> {folder}/asked
number=$(($(wc -l < {folder}/asked) - 1))
[ $number -lt {len(answers)} ] || number={len(answers) - 1}
cat {folder}/answer$number
""")
    program.chmod(0o755)
    return {"PATH": f"{folder}/bin:{os.environ['PATH']}"}


def wait(folder, variables, *answers):
    options = ("-e", "ingress_timeout=3", "-e", "_ingress_address_poll=1")
    return run(folder, "wait", {**POOL, **variables}, *options, environment=kubectl(folder, *answers))


def test_waits_for_an_address(tmp_path):
    done = wait(tmp_path, {}, "", "203.0.113.1")
    assert done.returncode == 0, done.stdout + done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 2, "once for the whole play"
    assert asked[0].endswith(
        "--namespace=nginx-ingress get service nginx-ingress-controller --output=jsonpath={.status.loadBalancer.ingress[*].ip}"
    )


def test_waits_for_all_addresses_that_were_asked_for(tmp_path):
    done = wait(tmp_path, {"ingress_addresses": ["203.0.113.7", "203.0.113.8"]}, "203.0.113.1", "203.0.113.8 203.0.113.7")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("wanted", "given", "parts"),
    [
        ([], "", ["nginx-ingress/nginx-ingress-controller has no address after 3 seconds", "but one is wanted", "told there by metallb"]),
        (["203.0.113.7"], "203.0.113.1", ["has 203.0.113.1 after 3 seconds", "but 203.0.113.7 is wanted"]),
    ],
)
def test_tells_which_address_is_missing(tmp_path, wanted, given, parts):
    done = wait(tmp_path, {"ingress_addresses": wanted}, given)
    assert done.returncode != 0
    text = re.sub(r"\s+", " ", done.stdout)
    assert all(part in text for part in parts), done.stdout
    assert "kubectl -n nginx-ingress describe service nginx-ingress-controller" in text


def test_the_ports_of_the_nodes_have_no_service_to_wait_for(tmp_path):
    assert wait(tmp_path, {"ingress_exposure": "host_network"}, "").returncode == 0
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(
    ("variables", "kind"), [({}, "Deployment"), ({"ingress_values": {"controller": {"kind": "DaemonSet"}}}, "DaemonSet")]
)
def test_helm_waits_for_the_controller_and_would_go_back(tmp_path, variables, kind):
    install = yaml.safe_load((ROOT / "roles/ingress/tasks/install.yml").read_text())[-1]["vars"]
    write = {
        "ansible.builtin.copy": {"content": "{{ it | to_json }}", "dest": str(tmp_path / "it.json"), "mode": "0600"},
        "vars": {"it": [install["helm_release_workloads"], install["helm_release_timeout"]]},
        "run_once": True,
    }
    done = run(tmp_path, "expected", {**POOL, **variables}, after=[write])
    assert done.returncode == 0, done.stdout + done.stderr
    workloads, timeout = json.loads((tmp_path / "it.json").read_text())
    assert workloads == [{"kind": kind, "namespace": "nginx-ingress", "name": "nginx-ingress-controller"}]
    assert int(timeout) == 600


# --- the whole role on machines that have nothing yet


@pytest.mark.skipif(pathlib.Path("/etc/kubernetes/admin.conf").exists(), reason="this machine is a control plane")
@pytest.mark.parametrize("controller", ["nginx", "ingress-nginx"])
def test_check_mode_without_a_cluster(tmp_path, controller):
    kinds = tmp_path / "kinds.yaml"
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gateways.example.test"},
    }
    kinds.write_text(yaml.safe_dump_all([definition, None]))
    variables = {
        **POOL,
        **CERTIFICATE,
        "cluster_ingress_controller": controller,
        "ingress_gateway_api": True,
        "ingress_gateway_api_checksum": hashlib.sha256(kinds.read_bytes()).hexdigest(),
    }
    done = run(tmp_path, "main", variables, "--check", "--diff", "-vvv", "-e", f"_ingress_gateway_file={kinds}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    assert "gateways.example.test" in done.stdout, "the file that is there was read and tried"


def test_a_file_of_the_bundle_is_compared(tmp_path):
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "gateway-api-1.5.1.yaml").write_text("kind: Other\n")
    variables = {"cluster_artifacts": "bundle", "cluster_bundle_dir": str(tmp_path), "ingress_gateway_api": True}
    done = run(tmp_path, "gateway_api", variables, "-e", f"_ingress_gateway_file={tmp_path}/kinds.yaml")
    assert done.returncode != 0 and "checksum" in done.stdout, done.stdout
    assert not (tmp_path / "kinds.yaml").exists()
