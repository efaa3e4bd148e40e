# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module certificate_probe against a cluster whose cert-manager really signs, and in which time passes in sleep only."""

from __future__ import annotations

import base64
import datetime
import json
import ssl
from urllib.parse import unquote, urlsplit

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _certificate_probe
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.modules import certificate_probe

x509 = pytest.importorskip("cryptography.x509")
hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")

HOST = "probe.cert-manager.test"
SECRETS = "/api/v1/namespaces/cert-manager/secrets"
CERTIFICATES = "/apis/cert-manager.io/v1/namespaces/cert-manager/certificates"
KINDS = {
    "/api/v1": [{"kind": "Secret", "name": "secrets", "namespaced": True}],
    "/apis/cert-manager.io/v1": [{"kind": "Certificate", "name": "certificates", "namespaced": True}],
}
PROBE = "baremetal-kubernetes-probe-"


class Pair:
    """A key and a certificate, as PEM texts and as objects."""

    def __init__(self, name, issuer=None, hosts=(), authority=False, begin=-60, end=3600):
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(seconds=begin))
            .not_valid_after(now + datetime.timedelta(seconds=end))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        self.certificate = builder.sign(issuer.key if issuer else self.key, hashes.SHA256())
        self.chain = self.certificate.public_bytes(serialization.Encoding.PEM)
        self.key_text = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )


def secret(name, pair, labels=None, **other):
    data = {"tls.crt": pair.chain, "tls.key": pair.key_text, **other}
    return {
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "cert-manager", "uid": f"uid-{name}", "labels": labels or {}},
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


class Cluster:
    """An API server with a cert-manager that signs after some seconds."""

    server = "https://192.0.2.11:6443"

    def __init__(self):
        self.now, self.signs_after, self.silent = 0.0, 2.0, False
        self.root = Pair("root", authority=True)
        self.objects = {f"{SECRETS}/internal-ca": secret("internal-ca", self.root), f"{SECRETS}/precious": secret("precious", self.root)}
        # issuer -> the pair that it hands out
        self.sign = {
            "internal": lambda: Pair(HOST, self.root, [HOST]),
            "plain": lambda: Pair(HOST, None, [HOST]),
        }
        self.asked = []
        self.made = {}

    def sleep(self, seconds):
        self.now += seconds
        for path, item in list(self.objects.items()):
            if path.startswith(CERTIFICATES) and self.now >= self.made[path] + self.signs_after:
                self.issue(item)

    def issue(self, item):
        name, make = item["spec"]["secretName"], self.sign.get(item["spec"]["issuerRef"]["name"])
        if make is None or f"{SECRETS}/{name}" in self.objects:
            return
        self.objects[f"{SECRETS}/{name}"] = secret(name, make(), item["spec"]["secretTemplate"]["labels"])
        item["status"] = {"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1}]}

    def get(self, path):
        return self.request("GET", path)[1] if self.request("GET", path)[0] == 200 else None

    def request(self, method, path, body=None, content_type="application/json", accept="application/json"):
        if self.silent:
            raise KubeApiError(f"{self.server} gave no answer to {method} {path}: timed out.")
        self.asked.append((method, path))
        address = urlsplit(path)
        where = unquote(address.path)
        if where in KINDS:
            return 200, {"resources": KINDS[where]}
        if method == "PATCH":
            self.made[where] = self.now
            waiting = {
                "type": "Ready",
                "status": "False",
                "reason": "DoesNotExist",
                "message": "Issuing certificate as Secret does not exist",
            }
            item = {**body, "status": {"conditions": [waiting]}}
            item["metadata"] = {**body["metadata"], "uid": f"uid-{where}", "generation": 1}
            self.objects[where] = item
            return 201, item
        if method == "DELETE":
            return (200, {}) if self.objects.pop(where, None) else (404, {})
        if address.query:
            key, value = unquote(address.query).split("labelSelector=")[1].split("=")
            inside = [item for name, item in self.objects.items() if name.startswith(f"{where}/")]
            return 200, {"items": [item for item in inside if item["metadata"].get("labels", {}).get(key) == value]}
        return (200, self.objects[where]) if where in self.objects else (404, {"message": "not found"})

    @property
    def left(self):
        return sorted(path.rpartition("/")[2] for path in self.objects)


@pytest.fixture(name="cluster")
def fixture_cluster(monkeypatch):
    cluster = Cluster()
    probe = _certificate_probe.Probe
    monkeypatch.setattr(certificate_probe, "KubeApi", lambda kubeconfig: cluster)
    monkeypatch.setattr(certificate_probe, "Probe", lambda *args: probe(*args, clock=lambda: cluster.now, sleep=cluster.sleep))
    return cluster


@pytest.fixture(name="run")
def fixture_run(cluster, capsys):
    """Run the module: (whether it succeeded, its result)."""

    def run(*issuers, check=False, **options):
        arguments = {"issuers": list(issuers), "wait_seconds": 30, **options, "_ansible_check_mode": check}
        with patch_module_args(arguments), pytest.raises(SystemExit) as done:
            certificate_probe.main()
        return done.value.code == 0, json.loads(capsys.readouterr().out)

    return run


PLAIN = {"name": "plain"}
INTERNAL = {"name": "internal", "ca_secret": "internal-ca"}
BEFORE = ["internal-ca", "precious"]


def test_certificates_are_issued_accepted_and_removed(cluster, run):
    good, result = run(PLAIN, INTERNAL)
    assert good and result["changed"] is False
    assert [(item["id"], item["status"], item["observed"]) for item in result["checks"]] == [
        ("certificate/plain", "pass", "issued for probe.cert-manager.test, and accepted"),
        ("certificate/internal", "pass", "issued for probe.cert-manager.test, and accepted"),
    ]
    assert cluster.left == BEFORE
    # first the Certificates, or their Secrets would be made again
    removed = [path for method, path in cluster.asked if method == "DELETE"]
    assert removed == [
        f"{CERTIFICATES}/{PROBE}plain",
        f"{CERTIFICATES}/{PROBE}internal",
        f"{SECRETS}/{PROBE}plain",
        f"{SECRETS}/{PROBE}internal",
    ]


def test_what_is_asked_for():
    assert _certificate_probe.certificate("cert-manager", "plain") == {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": f"{PROBE}plain", "namespace": "cert-manager", "labels": {"baremetal.kubernetes/probe": "cert-manager"}},
        "spec": {
            "secretName": f"{PROBE}plain",
            "secretTemplate": {"labels": {"baremetal.kubernetes/probe": "cert-manager"}},
            "commonName": HOST,
            "dnsNames": [HOST],
            "duration": "1h",
            "privateKey": {"algorithm": "ECDSA", "size": 256},
            "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "plain"},
        },
    }


def test_a_certificate_that_does_not_come(cluster, run):
    del cluster.sign["internal"]
    good, result = run(PLAIN, INTERNAL)
    assert not good and [item["status"] for item in result["checks"]] == ["pass", "fail"]
    assert result["msg"] == (
        "certificate/internal: Certificate cert-manager/baremetal-kubernetes-probe-internal: Ready is False (DoesNotExist: Issuing "
        "certificate "
        "as Secret does not exist). Wanted: a Certificate for probe.cert-manager.test becomes Ready, and a TLS client that trusts "
        "its authority "
        "accepts it. Why says `kubectl describe clusterissuer internal` and `kubectl -n cert-manager logs deployment/cert-manager`."
    )
    assert 28 <= cluster.now <= 30
    assert cluster.left == BEFORE


def wrong(cluster, run, pair, waited=2):
    cluster.sign["internal"] = lambda: pair
    good, result = run(INTERNAL)
    assert not good and cluster.left == BEFORE
    assert cluster.now == waited
    assert "PRIVATE KEY" not in json.dumps(result)
    return result["checks"][0]


def test_another_authority(cluster, run):
    found = wrong(cluster, run, Pair(HOST, Pair("root", authority=True), [HOST]))
    # as OpenSSL 1.1, 3.0 and later say it
    assert found["observed"].startswith("its certificate is not accepted: ")
    assert "certificate" in found["observed"].removeprefix("its certificate is not accepted: ")
    assert found["fix"] == (
        "Look at the certificate in Secret cert-manager/internal-ca with `openssl x509 -noout -text`: is it an authority's, is it "
        "valid, does its "
        "key belong to it?"
    )


def test_an_authority_that_is_none(cluster, run):
    leaf = Pair("no authority", cluster.root)
    found = wrong(cluster, run, Pair(HOST, leaf, [HOST]))
    assert "not accepted" in found["observed"]


def test_another_name(cluster, run):
    assert "Hostname mismatch" in wrong(cluster, run, Pair(HOST, cluster.root, ["other.test"]))["observed"]


def test_no_longer_valid(cluster, run):
    assert "expired" in wrong(cluster, run, Pair(HOST, cluster.root, [HOST], begin=-7200, end=-60))["observed"]


def test_a_key_of_another_certificate(cluster, run):
    pair = Pair(HOST, cluster.root, [HOST])
    pair.key_text = Pair("x").key_text
    assert "mismatch" in wrong(cluster, run, pair)["observed"].lower()


def test_a_secret_with_nonsense(cluster, run):
    pair = Pair(HOST, cluster.root, [HOST])
    pair.chain = b"nonsense"
    assert "not accepted" in wrong(cluster, run, pair)["observed"]


def test_a_clock_that_is_behind_is_waited_for_and_told(cluster, run):
    found = wrong(cluster, run, Pair(HOST, cluster.root, [HOST], begin=600), waited=30)
    assert found["observed"] == "its certificate is not valid yet"
    assert found["fix"] == "The clock here is behind that of cert-manager's node: synchronise the clocks (chrony)."


def test_an_intermediate_authority_is_enough(cluster, run):
    middle = Pair("middle", cluster.root, authority=True)
    cluster.objects[f"{SECRETS}/internal-ca"] = secret("internal-ca", middle)
    cluster.sign["internal"] = lambda: Pair(HOST, middle, [HOST])
    assert run(INTERNAL)[0]


def test_an_authority_whose_secret_is_gone(cluster, run):
    del cluster.objects[f"{SECRETS}/internal-ca"]
    good, result = run(INTERNAL)
    assert not good and result["checks"][0]["observed"] == "Secret cert-manager/internal-ca has no tls.crt"
    assert cluster.left == ["precious"]


def test_what_a_killed_run_left_is_removed_first(cluster, run):
    stale = Pair(HOST, Pair("gone", authority=True), [HOST])
    labels = {"baremetal.kubernetes/probe": "cert-manager"}
    cluster.objects[f"{SECRETS}/{PROBE}internal"] = secret(f"{PROBE}internal", stale, labels)
    cluster.objects[f"{SECRETS}/{PROBE}given-up"] = secret(f"{PROBE}given-up", stale, labels)
    assert run(INTERNAL)[0]
    assert cluster.left == BEFORE


def test_an_api_server_that_goes_away_is_told_and_what_was_made_stays_for_the_next_run(cluster, run):
    sleep = cluster.sleep

    def cut(seconds):
        sleep(seconds)
        cluster.silent = True

    cluster.sleep = cut
    good, result = run(INTERNAL)
    assert not good and "gave no answer" in result["msg"]
    cluster.silent, cluster.sleep = False, sleep
    assert run(INTERNAL)[0] and cluster.left == BEFORE


def test_check_mode_and_nothing_to_do_ask_nobody(cluster, run):
    for good, result in (run(INTERNAL, check=True), run()):
        assert good and result["checks"] == [] and result["changed"] is False
    assert cluster.asked == []


def test_a_handshake_without_end_is_none():
    pair = Pair(HOST, None, [HOST])
    _certificate_probe.handshake(pair.chain, pair.key_text, pair.chain)
    with pytest.raises(ssl.SSLError):
        _certificate_probe.handshake(pair.chain, pair.key_text, Pair(HOST, None, [HOST]).chain)
