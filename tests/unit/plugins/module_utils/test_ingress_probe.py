# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe's Ingress and where its controller is, against an API in memory; the certificate by a real openssl."""

from __future__ import annotations

import os
import ssl

import pytest

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _ingress_probe
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command
from ansible_collections.baremetal.kubernetes.plugins.module_utils._ingress_probe import (
    IngressProbe,
    IngressProbeError,
    make_certificate,
    prepare,
)
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApiError

NS = "/api/v1/namespaces/kubernetes-verify"
OURS = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "baremetal.kubernetes"}}}
CONTROLLER = {"namespace": "nginx-ingress", "selector": "app=x", "exposure": "load_balancer"}


def pod(name, node="w1", ip="192.0.2.21", ready="True", **more):
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", **more},
        "spec": {"nodeName": node},
        "status": {"phase": "Running", "hostIP": ip, "conditions": [{"type": "Ready", "status": ready}]},
    }


def service(*addresses, kind="LoadBalancer"):
    return {"spec": {"type": kind}, "status": {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}}


class Api:
    """Keeps what is applied; time passes in sleep only. pods and services: what each question gets, the last one repeats."""

    server = "https://192.0.2.11:6443"

    def __init__(self, pods=(), services=(), namespace="ours", refusals=()):
        self.answers = {"pods": list(pods), "services": list(services)}
        self.namespace, self.refusals = OURS if namespace == "ours" else namespace, list(refusals)
        self.applied, self.asked, self.now = {}, [], 0.0

    def get(self, path):
        if path == NS:
            return self.namespace
        self.asked.append(path)
        kind = path.split("?")[0].rsplit("/", 1)[1]
        left = self.answers[kind]
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return {"items": answer}

    def request(self, method, path, body, content_type):
        assert (method, content_type) == ("PATCH", "application/apply-patch+yaml")
        if self.refusals:
            return self.refusals.pop(0), {"message": "failed calling webhook."}
        self.applied[path.split("?")[0]] = body
        return 201, body

    def sleep(self, seconds):
        self.now += seconds

    def probe(self, seconds=30):
        return IngressProbe(self, "kubernetes-verify", seconds, 3, lambda: self.now, self.sleep)


def run_prepare(api, run=run_command, controller=None, seconds=30):
    return prepare(api.probe(seconds), run, "verify.test", "plain.verify.test", "nginx", 8081, [], controller or CONTROLLER)


def no_openssl(argv, timeout):
    return 127, "", "openssl: command not found"


def test_what_is_made():
    api = Api([[pod("a")]], [[service("192.0.2.200")]])
    result = run_prepare(api)
    assert (result["addresses"], [item["name"] for item in result["controllers"]]) == (["192.0.2.200"], ["a"])
    assert [(check["id"], check["status"]) for check in result["checks"]] == [("edge_controller", "pass")]
    secret, made, ingress = (
        api.applied[path]
        for path in (
            f"{NS}/secrets/verify-edge",
            f"{NS}/services/verify-edge",
            "/apis/networking.k8s.io/v1/namespaces/kubernetes-verify/ingresses/verify-edge",
        )
    )
    assert (secret["type"], sorted(secret["data"])) == ("kubernetes.io/tls", ["tls.crt", "tls.key"])
    assert made["spec"]["ports"] == [{"name": "http", "protocol": "TCP", "port": 8081, "targetPort": 8081}]
    assert ingress["spec"]["ingressClassName"] == "nginx"
    # the second host has no TLS, so that nobody sends it to https
    assert ingress["spec"]["tls"] == [{"hosts": ["verify.test"], "secretName": "verify-edge"}]
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["verify.test", "plain.verify.test"]
    # the key of the certificate is in the Secret and nowhere else
    assert "PRIVATE" not in str(result) and "PRIVATE" not in result["ca"]
    assert api.asked[0] == "/api/v1/namespaces/nginx-ingress/pods?labelSelector=app%3Dx"


def test_without_openssl_the_rest_goes_on():
    api = Api([[pod("a")]], [[service("192.0.2.200")]])
    result = run_prepare(api, no_openssl)
    assert [(check["id"], check["status"]) for check in result["checks"]] == [
        ("edge_probe_certificate", "unknown"),
        ("edge_controller", "pass"),
    ]
    assert result["ca"] == ""
    assert f"{NS}/secrets/verify-edge" not in api.applied
    ingress = api.applied["/apis/networking.k8s.io/v1/namespaces/kubernetes-verify/ingresses/verify-edge"]
    assert ingress["spec"]["tls"] == [{"hosts": ["verify.test"]}]


def test_what_comes_late_is_waited_for():
    api = Api([[], [pod("a", ready="False")], [pod("a")]], [[service()], [service()], [service()], [service("192.0.2.200")]])
    assert run_prepare(api, no_openssl)["addresses"] == ["192.0.2.200"]
    assert api.now == 9


@pytest.mark.parametrize(
    "pods, services, statuses",
    [
        ([], [service("192.0.2.200")], {"edge_controller": "fail"}),
        ([pod("a"), pod("b", ready="False")], [service("192.0.2.200")], {"edge_controller": "fail"}),
        ([pod("a")], [service()], {"edge_controller": "pass", "edge_address": "fail"}),
        ([pod("a")], [service("192.0.2.200", kind="NodePort")], {"edge_controller": "pass", "edge_address": "fail"}),
        # one that is going does not count
        ([pod("a"), pod("b", ready="False", deletionTimestamp="x")], [service("192.0.2.200")], {"edge_controller": "pass"}),
    ],
)
def test_what_never_comes_is_a_finding(pods, services, statuses):
    api = Api([pods], [services])
    checks = run_prepare(api, no_openssl)["checks"][1:]
    assert {check["id"]: check["status"] for check in checks} == statuses


def test_an_api_that_does_not_answer_is_no_finding_of_the_controller():
    checks = run_prepare(Api([KubeApiError("refused")], [[]]), no_openssl)["checks"][1:]
    assert [(check["id"], check["status"]) for check in checks] == [("edge_controller", "unknown")]


def test_ports_of_the_nodes_need_no_service():
    api = Api([[pod("b", "w2", "192.0.2.22"), pod("a")]], [[]])
    result = run_prepare(api, no_openssl, {**CONTROLLER, "exposure": "host_network"})
    assert result["addresses"] == ["192.0.2.21", "192.0.2.22"]
    assert not any("services" in path for path in api.asked)


@pytest.mark.parametrize("namespace", [None, {"metadata": {"labels": {}}}])
def test_somebody_elses_namespace_is_left_alone(namespace):
    api = Api(namespace=namespace)
    with pytest.raises(IngressProbeError, match="is not one of module probe_pods"):
        run_prepare(api, no_openssl)
    assert api.applied == {}


def test_a_webhook_that_comes_up_late():
    api = Api([[pod("a")]], [[service("192.0.2.200")]], refusals=[500, 503])
    assert run_prepare(api, no_openssl)["addresses"] == ["192.0.2.200"]


@pytest.mark.parametrize("refusals", [[500] * 50, [422]])
def test_a_refusal_is_told(refusals):
    with pytest.raises(IngressProbeError, match="was refused with .*failed calling webhook[.] Does the admission webhook"):
        run_prepare(Api(refusals=refusals), no_openssl)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_the_certificate_is_one_that_python_trusts(tmp_path, kind):
    name = f"verify.{'n' * 50}.kubernetes-verify.test"
    made = make_certificate(name, kind, run_command)
    assert "error" not in made, made
    path = tmp_path / "tls.pem"
    path.write_text(made["certificate"] + made["key"])
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cadata=made["ca"])
    server.load_cert_chain(path)
    ends = [ssl.MemoryBIO() for dummy in range(2)]
    left = client.wrap_bio(ends[0], ends[1], server_hostname=name)
    right = server.wrap_bio(ends[1], ends[0], server_side=True)
    for dummy in range(3):
        for end in (left, right):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    assert left.version() == "TLSv1.3"
    assert os.listdir(tmp_path) == ["tls.pem"]


@pytest.mark.parametrize(
    "ciphers, kind",
    [([], "rsa"), (["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"], "rsa"), (["ECDHE-ECDSA-AES128-GCM-SHA256"], "ecdsa")],
)
def test_the_kind_of_key_fits_the_suites(ciphers, kind):
    assert _ingress_probe.key_kind(ciphers) == kind
