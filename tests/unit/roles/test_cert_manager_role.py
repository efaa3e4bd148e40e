# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role cert_manager: what it renders and refuses without a host, and how it runs in check mode on machines that have nothing yet."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "cert_manager"
KEY = "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n"
VARIABLES = {
    "cluster_cert_manager": True,
    "cluster_ingress_controller": "ingress-nginx",
    "cert_manager_acme_email": "admin@bare.metal",
    "cert_manager_issuers": [
        {
            "name": "le",
            "type": "acme",
            "solvers": [
                {"http01": {}},
                {"dns01": {"cloudflare": {"apiTokenSecretRef": {"name": "cloudflare", "key": "api-token"}}}},
            ],
        },
        {"name": "internal", "type": "ca"},
        {
            "name": "corporate",
            "type": "ca",
            "certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        },
        {"name": "plain", "type": "self_signed"},
    ],
    "cert_manager_secrets": {"cloudflare": {"api-token": "s3cret"}},
    "cert_manager_ca_keys": {"corporate": KEY},
}


def run(folder, tasks, *options, **variables):
    """One file of tasks of the role, on two hosts that are both this machine."""
    inventory = {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "cluster_artifacts_dir": str(folder / "artifacts"),
                "render_dir": str(folder / "out"),
                **variables,
            },
            "children": {
                "kubernetes": {
                    "children": {
                        "control_plane": {"hosts": {"cp1": {"cluster_node_ip": "192.0.2.11"}}},
                        "workers": {"hosts": {"w1": {"cluster_node_ip": "192.0.2.12"}}},
                    }
                }
            },
        }
    }
    play = [
        {
            "hosts": "kubernetes",
            "gather_facts": False,
            "tasks": [{"ansible.builtin.import_role": {"name": "baremetal.kubernetes.cert_manager", "tasks_from": tasks}}],
        }
    ]
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    (folder / "play.yml").write_text(yaml.safe_dump(play, sort_keys=False))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(folder / "hosts.yml"), str(folder / "play.yml"), *options]
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_FORCE_COLOR="0")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert "s3cret" not in done.stdout + done.stderr
    return done


def test_rendered(tmp_path):
    done = run(tmp_path, "render", **VARIABLES)
    assert done.returncode == 0, done.stdout + done.stderr
    below = tmp_path / "out" / "cluster"
    files = {str(path.relative_to(below)): path.read_text() for path in sorted(below.rglob("*")) if path.is_file()}
    assert list(files) == ["helm/cert-manager.yaml", "manifests/cert-manager.yaml"]
    assert files["helm/cert-manager.yaml"].splitlines()[0] == (
        "# Values of chart cert-manager v1.21.1 (oci://quay.io/jetstack/charts), release and namespace cert-manager"
    )
    assert yaml.safe_load(files["helm/cert-manager.yaml"]) == {
        "crds": {"enabled": True, "keep": True},
        "replicaCount": 1,
        "webhook": {"replicaCount": 1, "timeoutSeconds": 15},
        "cainjector": {"replicaCount": 1},
        "startupapicheck": {"enabled": False},
        "featureGates": "ACMEHTTP01IngressPathTypeExact=false",
    }
    manifest = files["manifests/cert-manager.yaml"]
    assert [line for line in manifest.splitlines() if line.startswith("#")] == [
        "# Not in this file: Secret cert-manager/cloudflare with api-token",
        "# Not in this file: Secret cert-manager/corporate-imported-ca with tls.crt, tls.key",
    ]
    documents = list(yaml.safe_load_all(manifest))
    assert [(item["kind"], item["metadata"]["name"]) for item in documents] == [
        ("ClusterIssuer", "le"),
        ("Issuer", "internal-root"),
        ("Certificate", "internal"),
        ("ClusterIssuer", "internal"),
        ("ClusterIssuer", "corporate"),
        ("ClusterIssuer", "plain"),
    ]
    acme = documents[0]["spec"]["acme"]
    assert acme["server"] == "https://acme-staging-v02.api.letsencrypt.org/directory"
    # the default Ingress class where role ingress is not part of the play
    assert acme["solvers"][0] == {"http01": {"ingress": {"ingressClassName": "nginx"}}}
    assert "s3cret" not in "".join(files.values())


def test_nothing_wanted_renders_values_alone(tmp_path):
    assert run(tmp_path, "render").returncode == 0
    assert not (tmp_path / "out" / "cluster" / "manifests").exists()
    assert "featureGates" not in (tmp_path / "out" / "cluster" / "helm" / "cert-manager.yaml").read_text()


def test_the_ingress_class_is_that_of_role_ingress(tmp_path):
    assert run(tmp_path, "render", **VARIABLES, ingress_class_name="edge").returncode == 0
    first = next(yaml.safe_load_all((tmp_path / "out" / "cluster" / "manifests" / "cert-manager.yaml").read_text()))
    assert first["spec"]["acme"]["solvers"][0] == {"http01": {"ingress": {"ingressClassName": "edge"}}}


def test_validation_tells_everything_at_once(tmp_path):
    wrong = {
        **VARIABLES,
        "cert_manager_replicas": 0,
        "cert_manager_issuers": [{"name": "x", "type": "acme", "solvers": []}, {"name": "y", "type": "CA"}],
    }
    done = run(tmp_path, "validate", **wrong)
    assert done.returncode != 0
    for sentence in (
        "solvers of issuer x is [], but must be a list with at least one",
        "type of issuer y is 'CA', but must be one of acme, self_signed, ca.",
        "cert_manager_ca_keys has corporate, but there is no such issuer of type ca; there are none.",
        "cert_manager_replicas is 0, but must be a number of at least 1.",
    ):
        assert sentence in done.stdout + done.stderr


def test_validation_of_good_settings_tells_what_has_to_be_known(tmp_path):
    done = run(tmp_path, "validate", **VARIABLES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The settings of cert-manager fit together." in done.stdout
    assert "Certificates of le are of Let's Encrypt's staging environment, which no browser trusts." in done.stdout
    # once, and not by each host
    assert done.stdout.count("fit together") == 1


@pytest.mark.skipif(pathlib.Path("/etc/kubernetes/admin.conf").exists(), reason="this machine is a control plane")
def test_check_mode_without_a_cluster(tmp_path):
    done = run(tmp_path, "main", "--check", "--diff", "-vvv", **VARIABLES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_webhook_is_asked_by_a_dry_run_that_it_has_to_refuse():
    """Taken for granted by everything after it: nothing is stored, and an answer that is no refusal in its name is none."""
    wait = yaml.safe_load((ROLE / "tasks" / "webhook.yml").read_text())[0]
    task = wait["block"][0]
    assert task["check_mode"] is True
    assert task["failed_when"] == "_cert_manager_refusal not in __cert_manager_webhook.msg | default('')"
    variables = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    # https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/: so the API server puts it
    said = 'admission webhook "webhook.cert-manager.io" denied the request: spec.selfSigned: Forbidden'
    down = 'Internal error occurred: failed calling webhook "webhook.cert-manager.io": context deadline exceeded'
    assert variables["_cert_manager_refusal"] in said
    assert variables["_cert_manager_refusal"] not in down
    assert sorted(variables["_cert_manager_wrong_issuer"]["spec"]) == ["ca", "selfSigned"]


def test_no_task_removes_the_release_a_namespace_or_a_secret():
    for path in (ROLE / "tasks").glob("*.yml"):
        text = path.read_text()
        assert "absent" not in text and "remove" not in text and "v1/Secret" not in text, path.name
