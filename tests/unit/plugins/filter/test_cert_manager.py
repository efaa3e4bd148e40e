# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters cert_manager_values, cert_manager_resources and cert_manager_problems; every expected object was written by hand."""

from __future__ import annotations

import copy

import jsonschema
import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.filter.cert_manager_problems import cert_manager_problems
from ansible_collections.baremetal.kubernetes.plugins.filter.cert_manager_resources import cert_manager_resources
from ansible_collections.baremetal.kubernetes.plugins.filter.cert_manager_values import cert_manager_values
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cert_manager

SETTINGS = {
    "chart_version": "v1.21.1",
    "kubernetes_version": "1.36.4",
    "replicas": 1,
    "resources": {},
    "feature_gates": {},
    "gateway_api": False,
    "dns01_nameservers": [],
    "extra": {},
    "issuers": [],
    "acme_email": "admin@bare.metal",
    "acme_server": "",
    "acme_production": False,
    "secrets": {},
    "ca_keys": {},
    "ingress_controller": "nginx",
    "ingress_class": "nginx",
    "ingress_gateway_api": False,
}
LABELS = {"app.kubernetes.io/managed-by": "baremetal.kubernetes", "app.kubernetes.io/component": "cert-manager"}
STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
PRODUCTION = "https://acme-v02.api.letsencrypt.org/directory"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n"
ACME = {"name": "le", "type": "acme"}
CLOUDFLARE = {"cloudflare": {"apiTokenSecretRef": {"name": "cloudflare", "key": "api-token"}}}


def settings(**changes):
    return {**copy.deepcopy(SETTINGS), **changes}


def problems(**changes):
    return cert_manager_problems(settings(**changes))


def notices(**changes):
    return cert_manager_problems(settings(**changes), severity="notice")


def cluster_issuer(name, spec):
    return {"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": name, "labels": LABELS}, "spec": spec}


# --- values


def test_values_by_default():
    assert cert_manager_values(settings()) == {
        "crds": {"enabled": True, "keep": True},
        "replicaCount": 1,
        "webhook": {"replicaCount": 1, "timeoutSeconds": 15},
        "cainjector": {"replicaCount": 1},
        "startupapicheck": {"enabled": False},
    }


def test_values_with_everything():
    found = cert_manager_values(
        settings(
            replicas=2,
            resources={"webhook": {"requests": {"memory": "32Mi"}}, "controller": {"limits": {"memory": "256Mi"}}},
            feature_gates={"ValidateCAA": True, "ACMEUseARI": False},
            gateway_api=True,
            dns01_nameservers=["192.0.2.53:53", "[2001:db8::53]:53"],
            extra={"webhook": {"hostNetwork": True}, "global": {"logLevel": 4}},
        )
    )
    budget = {"podDisruptionBudget": {"enabled": True}}
    assert found == {
        "crds": {"enabled": True, "keep": True},
        "replicaCount": 2,
        **budget,
        "resources": {"limits": {"memory": "256Mi"}},
        "webhook": {"replicaCount": 2, **budget, "resources": {"requests": {"memory": "32Mi"}}, "timeoutSeconds": 15, "hostNetwork": True},
        "cainjector": {"replicaCount": 2, **budget},
        "startupapicheck": {"enabled": False},
        "featureGates": "ACMEUseARI=false,ValidateCAA=true",
        "dns01RecursiveNameservers": "192.0.2.53:53,[2001:db8::53]:53",
        "dns01RecursiveNameserversOnly": True,
        "config": {"gatewayAPI": {"enabled": True}},
        "global": {"logLevel": 4},
    }


@pytest.mark.parametrize(
    ("version", "config"),
    [("v1.19.6", {"enableGatewayAPI": True}), ("v1.20.3", {"enableGatewayAPI": True}), ("v1.21.0", {"gatewayAPI": {"enabled": True}})],
)
def test_gateway_api_by_the_key_of_the_version(version, config):
    assert cert_manager_values(settings(chart_version=version, gateway_api=True))["config"] == config


def test_a_solver_by_gateway_turns_gateway_api_on():
    solver = {"http01": {"gateway": {"name": "web", "namespace": "edge"}}}
    assert cert_manager_values(settings(issuers=[{**ACME, "solvers": [solver]}]))["config"] == {"gatewayAPI": {"enabled": True}}
    assert "config" not in cert_manager_values(settings(issuers=[ACME]))


@pytest.mark.parametrize(
    ("controller", "issuer", "given", "expected"),
    [
        ("ingress-nginx", ACME, {}, "ACMEHTTP01IngressPathTypeExact=false"),
        ("ingress-nginx", ACME, {"ACMEHTTP01IngressPathTypeExact": True}, "ACMEHTTP01IngressPathTypeExact=true"),
        ("ingress-nginx", {**ACME, "solvers": [{"dns01": CLOUDFLARE}]}, {}, None),
        ("ingress-nginx", {"name": "x", "type": "self_signed"}, {}, None),
        ("nginx", ACME, {}, None),
    ],
)
def test_ingress_nginx_gets_paths_that_it_takes(controller, issuer, given, expected):
    found = cert_manager_values(settings(ingress_controller=controller, issuers=[issuer], feature_gates=given))
    assert found.get("featureGates") == expected


# What this role uses of deploy/charts/cert-manager/values.schema.json at v1.21.1, in our own words.
COUNT = {"type": "object", "properties": {"replicaCount": {"type": "number"}, "podDisruptionBudget": {"type": "object"}}}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "crds": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"enabled": {"type": "boolean"}, "keep": {"type": "boolean"}},
        },
        "replicaCount": {"type": "number"},
        "podDisruptionBudget": {"type": "object"},
        "resources": {"type": "object"},
        "featureGates": {"type": "string"},
        "dns01RecursiveNameservers": {"type": "string"},
        "dns01RecursiveNameserversOnly": {"type": "boolean"},
        "config": {"type": "object"},
        "webhook": {**COUNT, "properties": {**COUNT["properties"], "timeoutSeconds": {"type": "number", "minimum": 1, "maximum": 30}}},
        "cainjector": COUNT,
        "startupapicheck": {"type": "object", "properties": {"enabled": {"type": "boolean"}}},
    },
}


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("controller", ["none", "nginx", "ingress-nginx"])
@pytest.mark.parametrize("gateway", [False, True])
def test_values_fit_the_chart(replicas, controller, gateway):
    issuers = [{**ACME, "solvers": [{"http01": {"ingress_class": "web"}}]}]
    found = cert_manager_values(settings(replicas=replicas, ingress_controller=controller, gateway_api=gateway, issuers=issuers))
    jsonschema.validate(found, SCHEMA)


# --- resources


def test_nothing_wanted_is_nothing_but_what_has_to_be_removed():
    assert cert_manager_resources(settings()) == {
        "objects": [],
        "secrets": [],
        "wait_conditions": [],
        "prune_label": "app.kubernetes.io/managed-by=baremetal.kubernetes,app.kubernetes.io/component=cert-manager",
        "prune_kinds": ["cert-manager.io/v1/ClusterIssuer"],
        "probes": [],
        "workloads": [
            {"kind": "Deployment", "namespace": "cert-manager", "name": "cert-manager"},
            {"kind": "Deployment", "namespace": "cert-manager", "name": "cert-manager-webhook"},
            {"kind": "Deployment", "namespace": "cert-manager", "name": "cert-manager-cainjector"},
        ],
    }


def test_without_cainjector_nobody_waits_for_it():
    found = cert_manager_resources(settings(extra={"cainjector": {"enabled": False}}))
    assert [item["name"] for item in found["workloads"]] == ["cert-manager", "cert-manager-webhook"]


@pytest.mark.parametrize("name", ["Secret", "Namespace", "Certificate"])
def test_no_run_removes_what_cannot_be_made_again(name):
    issuers = [{"name": "a", "type": "ca"}, {"name": "b", "type": "self_signed"}, ACME]
    assert not [kind for kind in cert_manager_resources(settings(issuers=issuers))["prune_kinds"] if kind.endswith(f"/{name}")]


def test_acme_by_default_is_staging_by_http01():
    found = cert_manager_resources(settings(issuers=[ACME]))
    assert found["objects"] == [
        cluster_issuer(
            "le",
            {
                "acme": {
                    "server": STAGING,
                    "privateKeySecretRef": {"name": "le-account-staging"},
                    "email": "admin@bare.metal",
                    "solvers": [{"http01": {"ingress": {"ingressClassName": "nginx"}}}],
                }
            },
        )
    ]
    assert found["wait_conditions"] == [{"api_version": "cert-manager.io/v1", "kind": "ClusterIssuer", "name": "le", "condition": "Ready"}]
    assert found["probes"] == []


@pytest.mark.parametrize(
    ("changes", "issuer", "server", "account"),
    [
        ({}, {}, STAGING, "le-account-staging"),
        ({"acme_production": True}, {}, PRODUCTION, "le-account-production"),
        ({"acme_production": True}, {"server": "staging"}, STAGING, "le-account-staging"),
        ({}, {"server": "production"}, PRODUCTION, "le-account-production"),
        ({}, {"server": PRODUCTION}, PRODUCTION, "le-account-production"),
        # printf %s https://ca.internal/acme/acme/directory | sha256sum
        (
            {"acme_server": "https://ca.internal/acme/acme/directory"},
            {},
            "https://ca.internal/acme/acme/directory",
            "le-account-78706da6",
        ),
    ],
)
def test_each_server_has_an_account_of_its_own(changes, issuer, server, account):
    acme = cert_manager_resources(settings(issuers=[{**ACME, **issuer}], **changes))["objects"][0]["spec"]["acme"]
    assert (acme["server"], acme["privateKeySecretRef"]["name"]) == (server, account)


def test_solvers():
    solvers = [
        {"http01": {"ingress_class": "internal"}, "selector": {"dnsNames": ["www.bare.metal"]}},
        {"http01": {"gateway": {"name": "web", "namespace": "edge", "section_name": "http"}}},
        {"dns01": {**CLOUDFLARE, "cnameStrategy": "Follow"}, "selector": {"dnsZones": ["bare.metal"]}},
    ]
    spec = {"preferredChain": "ISRG Root X1", "profile": "shortlived"}
    found = cert_manager_resources(
        settings(
            issuers=[{**ACME, "email": "", "solvers": solvers, "spec": spec}],
            acme_email="",
            secrets={"cloudflare": {"api-token": "s3cret"}},
        )
    )
    assert found["objects"][0]["spec"] == {
        "acme": {
            "server": STAGING,
            "privateKeySecretRef": {"name": "le-account-staging"},
            "solvers": [
                {"selector": {"dnsNames": ["www.bare.metal"]}, "http01": {"ingress": {"ingressClassName": "internal"}}},
                {
                    "http01": {
                        "gatewayHTTPRoute": {
                            "parentRefs": [
                                {
                                    "group": "gateway.networking.k8s.io",
                                    "kind": "Gateway",
                                    "name": "web",
                                    "namespace": "edge",
                                    "sectionName": "http",
                                }
                            ]
                        }
                    }
                },
                {
                    "selector": {"dnsZones": ["bare.metal"]},
                    "dns01": {"cloudflare": {"apiTokenSecretRef": {"name": "cloudflare", "key": "api-token"}}, "cnameStrategy": "Follow"},
                },
            ],
            "preferredChain": "ISRG Root X1",
            "profile": "shortlived",
        }
    }
    assert found["secrets"] == [{"name": "cloudflare", "namespace": "cert-manager", "labels": LABELS, "data": {"api-token": "s3cret"}}]


def test_solvers_in_the_words_of_cert_manager_take_the_place_of_the_default():
    solver = {"http01": {"ingress": {"ingressClassName": "x", "ingressTemplate": {"metadata": {"labels": {"a": "b"}}}}}}
    found = cert_manager_resources(settings(ingress_controller="none", issuers=[{**ACME, "spec": {"solvers": [solver]}}]))
    assert found["objects"][0]["spec"]["acme"]["solvers"] == [solver]


REFERENCE = {"name": "dns", "key": "key"}
PROVIDERS = {
    "akamai": {
        "serviceConsumerDomain": "x.example",
        "clientTokenSecretRef": REFERENCE,
        "clientSecretSecretRef": REFERENCE,
        "accessTokenSecretRef": REFERENCE,
    },
    "cloudDNS": {"project": "p", "serviceAccountSecretRef": REFERENCE},
    "cloudflare": {"apiTokenSecretRef": REFERENCE},
    "route53": {"region": "eu-central-1", "accessKeyID": "AKIA", "secretAccessKeySecretRef": REFERENCE},
    "azureDNS": {
        "subscriptionID": "s",
        "resourceGroupName": "g",
        "tenantID": "t",
        "clientID": "c",
        "clientSecretSecretRef": REFERENCE,
        "hostedZoneName": "bare.metal",
    },
    "digitalocean": {"tokenSecretRef": REFERENCE},
    "acmeDNS": {"host": "https://acme-dns.bare.metal", "accountSecretRef": REFERENCE},
    "rfc2136": {"nameserver": "192.0.2.53", "tsigKeyName": "k", "tsigAlgorithm": "HMACSHA256", "tsigSecretSecretRef": REFERENCE},
    "webhook": {"groupName": "acme.bare.metal", "solverName": "hetzner", "config": {"tokenSecretRef": REFERENCE}},
}


def test_every_provider_has_an_example():
    assert set(PROVIDERS) == set(_cert_manager.PROVIDERS)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_providers_are_handed_on_as_they_are(name):
    issuers = [{**ACME, "solvers": [{"dns01": {name: PROVIDERS[name]}}]}]
    found = cert_manager_resources(settings(issuers=issuers, secrets={"dns": {"key": "s3cret"}}))
    assert found["objects"][0]["spec"]["acme"]["solvers"] == [{"dns01": {name: PROVIDERS[name]}}]
    # the Secret is known to be used, also deep inside a webhook's configuration
    assert not [text for text in notices(issuers=issuers, secrets={"dns": {"key": "s3cret"}}) if "Secret" in text]
    wrong = problems(issuers=issuers, secrets={"dns": {"token": "s3cret"}})
    assert wrong == ["an issuer wants key 'key' of Secret dns, but cert_manager_secrets.dns has token; correct one of them."]


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_a_provider_that_lacks_something_is_told(name):
    for field in _cert_manager.PROVIDERS[name].required:
        block = {key: value for key, value in PROVIDERS[name].items() if key != field}
        found = problems(issuers=[{**ACME, "solvers": [{"dns01": {name: block}}]}])
        assert found == [f"solver 1 of issuer le.dns01.{name} has no {field}, without which it cannot work; add it."]


def test_an_authority_that_cert_manager_makes():
    found = cert_manager_resources(
        settings(issuers=[{"name": "internal", "type": "ca", "common_name": "Bare Metal", "duration": "43800h"}])
    )
    assert found["objects"] == [
        {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Issuer",
            "metadata": {"name": "internal-root", "namespace": "cert-manager", "labels": LABELS},
            "spec": {"selfSigned": {}},
        },
        {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": {"name": "internal", "namespace": "cert-manager", "labels": LABELS},
            "spec": {
                "isCA": True,
                "commonName": "Bare Metal",
                "secretName": "internal-ca",
                "duration": "43800h",
                "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Never"},
                "issuerRef": {"group": "cert-manager.io", "kind": "Issuer", "name": "internal-root"},
            },
        },
        cluster_issuer("internal", {"ca": {"secretName": "internal-ca"}}),
    ]
    assert found["wait_conditions"] == [
        {"api_version": "cert-manager.io/v1", "kind": "Certificate", "namespace": "cert-manager", "name": "internal", "condition": "Ready"},
        {"api_version": "cert-manager.io/v1", "kind": "ClusterIssuer", "name": "internal", "condition": "Ready"},
    ]
    assert found["probes"] == [{"name": "internal", "ca_secret": "internal-ca"}]
    assert found["secrets"] == []


def test_an_authority_that_the_user_brings():
    found = cert_manager_resources(settings(issuers=[{"name": "corp", "type": "ca", "certificate": CERTIFICATE}], ca_keys={"corp": KEY}))
    assert found["objects"] == [cluster_issuer("corp", {"ca": {"secretName": "corp-imported-ca"}})]
    assert found["secrets"] == [
        {
            "name": "corp-imported-ca",
            "namespace": "cert-manager",
            "type": "kubernetes.io/tls",
            "labels": LABELS,
            "data": {"tls.crt": CERTIFICATE, "tls.key": KEY},
        }
    ]
    assert found["probes"] == [{"name": "corp", "ca_secret": "corp-imported-ca"}]


def test_further_fields_of_authorities():
    urls = ["http://pki.bare.metal/ca.crl"]
    issuers = [
        {"name": "own", "type": "ca", "spec": {"crlDistributionPoints": urls}},
        {"name": "plain", "type": "self_signed", "spec": {"crlDistributionPoints": urls}},
    ]
    found = [item["spec"] for item in cert_manager_resources(settings(issuers=issuers))["objects"] if item["kind"] == "ClusterIssuer"]
    assert found == [{"ca": {"secretName": "own-ca", "crlDistributionPoints": urls}}, {"selfSigned": {"crlDistributionPoints": urls}}]


def test_self_signed():
    found = cert_manager_resources(settings(issuers=[{"name": "plain", "type": "self_signed"}]))
    assert found["objects"] == [cluster_issuer("plain", {"selfSigned": {}})]
    assert found["probes"] == [{"name": "plain", "ca_secret": ""}]


# --- problems


def acme(**changes):
    return {"issuers": [{**ACME, **changes}]}


def dns01(block):
    return acme(solvers=[{"dns01": block}])


PROBLEMS = [
    (
        {"issuers": [{"name": "corp", "type": "ca", "certificate": CERTIFICATE, "duration": "1h"}], "ca_keys": {"corp": KEY}},
        "issuer corp has duration, which is for an authority that cert-manager makes, and a certificate; remove one.",
    ),
    (
        {"issuers": [{"name": "own", "type": "ca", "spec": {"secretName": "x"}}]},
        "spec of issuer own has 'secretName', which is no key there; known are crlDistributionPoints, issuingCertificateURLs, ocspServers.",
    ),
    (
        {"issuers": [{"name": "x", "type": "self_signed", "spec": {"crl": []}}]},
        "spec of issuer x has 'crl', which is no key there; known are crlDistributionPoints.",
    ),
    (
        {"issuers": [{"name": "own", "type": "ca"}], "secrets": {"own-ca": {"tls.key": "s3cret"}}},
        "cert_manager_secrets has own-ca, which is the Secret of a CA of cert_manager_issuers; give it another name.",
    ),
    ({"chart_version": "1.21.1"}, "cert_manager_chart_version is '1.21.1', but must be one such as v1.21.1."),
    ({"chart_version": "v1.18.2"}, "cert_manager_chart_version is v1.18.2, but the role knows v1.19 and later; take a newer one."),
    (
        {"kubernetes_version": "1.20.15"},
        "cluster_kubernetes_version is 1.20.15, but the chart of cert-manager wants Kubernetes 1.22 or later; upgrade, or set "
        "cluster_cert_manager to false.",
    ),
    ({"replicas": 0}, "cert_manager_replicas is 0, but must be a number of at least 1."),
    (
        {"resources": {"injector": {}}},
        "cert_manager_resources has 'injector', which is no key there; the nearest is cainjector.",
    ),
    ({"feature_gates": {"ACMEUseARI": "yes"}}, "cert_manager_feature_gates.ACMEUseARI is 'yes', but must be true or false."),
    (
        {"dns01_nameservers": ["192.0.2.53"]},
        "cert_manager_dns01_nameservers has '192.0.2.53', but each must be host:port such as 192.0.2.53:53, or an https:// address.",
    ),
    ({"dns01_nameservers": "192.0.2.53:53"}, "cert_manager_dns01_nameservers is '192.0.2.53:53', but must be a list."),
    (
        {"extra": {"installCRDs": True, "featureGates": "A=true"}},
        "cert_manager_values has featureGates, installCRDs, which the role sets or counts on; leave it out; feature gates go into "
        "cert_manager_feature_gates.",
    ),
    ({"issuers": {"le": {}}}, "cert_manager_issuers is {'le': {}}, but must be a list."),
    ({"issuers": ["le"]}, "number 1 of cert_manager_issuers is 'le', but must be a dict."),
    (
        {"issuers": [{"name": "Let's Encrypt", "type": "acme"}]},
        'the name of number 1 of cert_manager_issuers is "Let\'s Encrypt", but must be small letters, digits and dashes, 40 at the most.',
    ),
    ({"issuers": [{"name": "x", "type": "CA"}]}, "type of issuer x is 'CA', but must be one of acme, self_signed, ca."),
    (
        {"issuers": [{"name": "x", "type": "self_signed"}, {"name": "x", "type": "self_signed"}]},
        "cert_manager_issuers has x 2 times; give each a name of its own.",
    ),
    (acme(emial="a@b.de"), "issuer le of type acme has 'emial', which is no key there; the nearest is email."),
    (acme(email="admin"), "the email of issuer le is 'admin', which is no address; leave it empty or correct it."),
    (
        acme(email="admin@example.com"),
        "the email of issuer le is 'admin@example.com', a domain for documentation that Let's Encrypt refuses; use yours.",
    ),
    (
        acme(server="http://ca.internal/directory"),
        "the ACME server of issuer le is 'http://ca.internal/directory', but must be staging, production or the https:// address of "
        "a directory.",
    ),
    (acme(solvers=[]), "solvers of issuer le is [], but must be a list with at least one; without it nothing is ever issued."),
    (acme(solvers=[{}]), "solver 1 of issuer le must have exactly one of http01 and dns01."),
    (acme(solvers=[{"http01": {}, "dns01": CLOUDFLARE}]), "solver 1 of issuer le must have exactly one of http01 and dns01."),
    (acme(solvers=[{"http": {}}]), "solver 1 of issuer le has 'http', which is no key there; the nearest is http01."),
    (
        acme(solvers=[{"http01": {}, "selector": {"dnsZone": ["x"]}}]),
        "solver 1 of issuer le.selector has 'dnsZone', which is no key there; the nearest is dnsZones.",
    ),
    (
        acme(solvers=[{"http01": {"class": "nginx"}}]),
        "solver 1 of issuer le.http01 has 'class', which is no key there; known are ingress_class, gateway.",
    ),
    (
        acme(solvers=[{"http01": {"ingress_class": "NGINX"}}]),
        "solver 1 of issuer le.http01.ingress_class is 'NGINX', but must be the name of an IngressClass, in small letters.",
    ),
    (
        acme(solvers=[{"http01": {"ingress_class": "nginx", "gateway": {}}}]),
        "solver 1 of issuer le.http01 has ingress_class and gateway, but a challenge is answered in one place; make two solvers of it.",
    ),
    (
        acme(solvers=[{"http01": {"gateway": {"name": "web"}}}]),
        "solver 1 of issuer le.http01.gateway has no namespace; name the Gateway that has a listener for HTTP on port 80.",
    ),
    (
        {**acme(), "ingress_controller": "none"},
        "solver 1 of issuer le.http01 names no ingress_class, and cluster_ingress_controller is 'none': nothing would answer the "
        "challenge; "
        "name the class of an ingress controller, or a gateway, or use dns01.",
    ),
    (
        dns01({}),
        "solver 1 of issuer le.dns01 has no provider, but must have exactly one of akamai, cloudDNS, cloudflare, route53, azureDNS, "
        "digitalocean, acmeDNS, rfc2136, webhook.",
    ),
    (
        dns01({**CLOUDFLARE, "route53": {}}),
        "solver 1 of issuer le.dns01 has cloudflare and route53, but must have exactly one of akamai, cloudDNS, cloudflare, route53, "
        "azureDNS, "
        "digitalocean, acmeDNS, rfc2136, webhook.",
    ),
    (dns01({"azure": {}}), "solver 1 of issuer le.dns01 has 'azure', which is no key there; the nearest is azureDNS."),
    (dns01({"google": {}}), "solver 1 of issuer le.dns01 has 'google', which is no key there; the nearest is cloudDNS."),
    (dns01({"CloudFlare": {}}), "solver 1 of issuer le.dns01 has 'CloudFlare', which is no key there; the nearest is cloudflare."),
    (
        dns01({"cloudflare": {"apiToken": "x"}}),
        "solver 1 of issuer le.dns01.cloudflare has 'apiToken', which is no key there; the nearest is apiTokenSecretRef.",
    ),
    (
        dns01({"cloudflare": {}}),
        "solver 1 of issuer le.dns01.cloudflare must have one of apiTokenSecretRef (a token for the zone is enough) and apiKeySecretRef.",
    ),
    (dns01({"digitalocean": None}), "solver 1 of issuer le.dns01.digitalocean is None, but must be a dict."),
    (
        dns01({"digitalocean": {"tokenSecretRef": {"key": "x"}}}),
        "an issuer refers to a Secret without name; add name and key.",
    ),
    (acme(spec={"server": "x"}), "spec of issuer le has 'server', which is no key there; the nearest is solvers."),
    (
        {"issuers": [{"name": "corp", "type": "ca", "certificate": CERTIFICATE}]},
        "issuer corp has a certificate, but cert_manager_ca_keys has no key corp; add it from a vault.",
    ),
    (
        {"issuers": [{"name": "corp", "type": "ca"}], "ca_keys": {"corp": KEY}},
        "cert_manager_ca_keys has corp, but issuer corp has no certificate; add it in PEM form.",
    ),
    (
        {"issuers": [{"name": "corp", "type": "ca", "certificate": "MIIB"}], "ca_keys": {"corp": KEY}},
        "the certificate of issuer corp is no PEM text (-----BEGIN CERTIFICATE-----).",
    ),
    (
        {"issuers": [{"name": "corp", "type": "ca", "certificate": CERTIFICATE}], "ca_keys": {"corp": "s3cret"}},
        "the key of issuer corp in cert_manager_ca_keys is no PEM text (-----BEGIN PRIVATE KEY-----).",
    ),
    (
        {
            "issuers": [{"name": "corp", "type": "ca", "certificate": CERTIFICATE}],
            "ca_keys": {"corp": "-----BEGIN ENCRYPTED PRIVATE KEY-----\ns3cret\n-----END ENCRYPTED PRIVATE KEY-----"},
        },
        "the key of issuer corp in cert_manager_ca_keys has a passphrase, which cert-manager cannot ask for; remove it.",
    ),
    ({"ca_keys": {"corp": KEY}}, "cert_manager_ca_keys has corp, but there is no such issuer of type ca; there are none."),
    ({"ca_keys": "s3cret"}, "cert_manager_ca_keys must be a dict."),
    ({"secrets": "s3cret"}, "cert_manager_secrets must be a dict."),
    (
        {"issuers": [{"name": "x", "type": "ca", "duration": "30m"}]},
        "duration of issuer x is '30m', but must be at least one hour, such as 87600h for ten years.",
    ),
    ({"secrets": {"x": "s3cret"}}, "cert_manager_secrets.x must be a dict of keys with texts, none of them empty."),
    ({"secrets": {"x": {"token": ""}}}, "cert_manager_secrets.x must be a dict of keys with texts, none of them empty."),
    (
        {"secrets": {"X_Y": {"token": "s3cret"}}},
        "cert_manager_secrets has 'X_Y', but the name of a Secret is small letters, digits, dashes and dots.",
    ),
    (
        {
            "issuers": [{"name": "corp", "type": "ca", "certificate": CERTIFICATE}],
            "ca_keys": {"corp": KEY},
            "secrets": {"corp-imported-ca": {"tls.crt": "x"}},
        },
        "cert_manager_secrets has corp-imported-ca, which is the Secret of a CA of cert_manager_issuers; give it another name.",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), PROBLEMS, ids=[sentence[:60] for dummy, sentence in PROBLEMS])
def test_each_problem_has_its_sentence(changes, sentence):
    assert problems(**changes) == [sentence]
    assert "s3cret" not in sentence
    for compute in (cert_manager_values, cert_manager_resources):
        with pytest.raises(AnsibleFilterError) as error:
            compute(settings(**changes))
        assert sentence.rstrip(".") in str(error.value)


def test_all_problems_at_once():
    found = problems(
        replicas=0, issuers=[{"name": "a", "type": "x"}, {**ACME, "solvers": []}, {"name": "c", "type": "ca", "duration": "1"}]
    )
    assert [text.split()[0:4] for text in found] == [
        ["type", "of", "issuer", "a"],
        ["solvers", "of", "issuer", "le"],
        ["duration", "of", "issuer", "c"],
        ["cert_manager_replicas", "is", "0,", "but"],
    ]


def test_good_settings_have_no_problem():
    issuers = [ACME, {"name": "own", "type": "ca"}, {"name": "plain", "type": "self_signed"}]
    assert problems(issuers=issuers) == []


def test_a_missing_setting_and_a_wrong_input_are_named():
    wrong = settings()
    del wrong["ca_keys"]
    for compute in (cert_manager_values, cert_manager_resources, cert_manager_problems):
        with pytest.raises(AnsibleFilterError, match="'ca_keys' is missing"):
            compute(wrong)
    with pytest.raises(AnsibleFilterError, match="must be a dict"):
        cert_manager_problems([])
    with pytest.raises(AnsibleFilterError, match="must be problem or notice"):
        cert_manager_problems(settings(), severity="warning")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["name", "type", "solvers", "http01", "dns01", "webhook", "spec", "selector", "x"]), inner, max_size=4
    ),
    max_leaves=12,
)


@effort(deadline=None)
@given(ANYTHING, ANYTHING, ANYTHING)
def test_whatever_is_given_is_judged_and_never_a_traceback(issuers, secrets, extra):
    found = problems(issuers=issuers, secrets=secrets, extra=extra)
    assert all(text.endswith(".") for text in found)
    if found:
        with pytest.raises(AnsibleFilterError):
            cert_manager_resources(settings(issuers=issuers, secrets=secrets, extra=extra))
    else:
        assert len(cert_manager_resources(settings(issuers=issuers, secrets=secrets, extra=extra))["workloads"]) >= 2
    notices(issuers=issuers, secrets=secrets, extra=extra)


# --- notices


def test_nothing_to_tell():
    assert notices(issuers=[{"name": "own", "type": "ca"}]) == []


STAGING_NOTICE = (
    "Certificates of le are of Let's Encrypt's staging environment, which no browser trusts. Once they are issued, set "
    "cert_manager_acme_production to true and renew them (`cmctl renew --all --all-namespaces`): until then those that exist stay."
)


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({}, ["cert_manager_issuers is empty, so that cert-manager has nobody to ask for certificates."]),
        (
            dns01({"cloudflare": {"apiTokenSecretRef": {"name": "cf", "key": "t"}}}),
            [
                STAGING_NOTICE,
                "Issuers read Secret cf in namespace cert-manager, which this role does not make (cert_manager_secrets).",
            ],
        ),
        (
            {
                **acme(),
                "acme_production": True,
                "acme_email": "",
                "ingress_controller": "none",
                "issuers": [{**ACME, "solvers": [{"http01": {"ingress_class": "x"}}]}],
            },
            ["Nobody can be told of trouble with the ACME account of le; set cert_manager_acme_email."],
        ),
        (
            {**acme(), "acme_production": True},
            [
                "The F5 NGINX Ingress Controller gives a host to the oldest Ingress alone, and a challenge is an Ingress of its own: "
                "annotate "
                'Ingresses whose certificate comes by HTTP-01 with acme.cert-manager.io/http01-edit-in-place: "true".'
            ],
        ),
        (
            {**acme(), "acme_production": True, "ingress_controller": "ingress-nginx"},
            [
                "Challenges get Ingresses of pathType ImplementationSpecific (ACMEHTTP01IngressPathTypeExact=false): ingress-nginx refuses "
                "/.well-known/acme-challenge/ with Exact, which is cert-manager's default since 1.18, unless its "
                "strict-validate-path-type is false."
            ],
        ),
        (
            {
                **acme(),
                "acme_production": True,
                "ingress_controller": "ingress-nginx",
                "feature_gates": {"ACMEHTTP01IngressPathTypeExact": True},
            },
            [
                "cert_manager_feature_gates has ACMEHTTP01IngressPathTypeExact true: ingress-nginx refuses such challenges until its "
                "strict-validate-path-type is false."
            ],
        ),
        (
            {"issuers": [{"name": "own", "type": "ca"}], "gateway_api": True},
            [
                "cert-manager does not start with Gateway API turned on until the kinds of Gateway API are installed; set "
                "ingress_gateway_api to "
                "true, or install them yourself before."
            ],
        ),
        ({"issuers": [{"name": "own", "type": "ca"}], "gateway_api": True, "ingress_gateway_api": True}, []),
        (
            {"issuers": [{"name": "own", "type": "ca"}], "secrets": {"forgotten": {"a": "s3cret"}}},
            ["No issuer refers to Secret forgotten of cert_manager_secrets."],
        ),
        (
            {"issuers": [{"name": "own", "type": "ca"}], "kubernetes_version": "1.37.1"},
            [
                "cert-manager v1.21.1 is tested with Kubernetes 1.33 to 1.36, and this is 1.37; it may work, "
                "https://cert-manager.io/docs/releases/."
            ],
        ),
        (
            {"issuers": [{"name": "own", "type": "ca"}], "kubernetes_version": "1.31.0", "chart_version": "v1.20.3"},
            [
                "cert-manager v1.20.3 is tested with Kubernetes 1.32 to 1.35, and this is 1.31; it may work, "
                "https://cert-manager.io/docs/releases/."
            ],
        ),
        (
            {"issuers": [{"name": "own", "type": "ca"}], "chart_version": "v1.22.0"},
            [
                "With which versions of Kubernetes cert-manager v1.22.0 is tested is not known here; see "
                "https://cert-manager.io/docs/releases/."
            ],
        ),
    ],
)
def test_notices(changes, sentences):
    assert notices(**changes) == sentences
