# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Values of cert-manager's own chart (1.19 to 1.21), its issuers with their Secrets, and what is wrong with their settings."""

from __future__ import annotations

import difflib
import hashlib
import re
import typing as t
from urllib.parse import urlsplit

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._cluster import duration_seconds
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._helm_values import Values, ValuesError, merge

NAMESPACE = "cert-manager"
# What the role made is known by these labels; issuers that are not wanted any more are removed, Certificates and Secrets never.
LABELS = {"app.kubernetes.io/managed-by": "baremetal.kubernetes", "app.kubernetes.io/component": "cert-manager"}
PRUNED = ["cert-manager.io/v1/ClusterIssuer"]
TYPES = ("acme", "self_signed", "ca")

# --- versions

# https://cert-manager.io/docs/releases/: first and last minor of Kubernetes that upstream tests
TESTED_KUBERNETES = {(1, 19): (31, 35), (1, 20): (32, 35), (1, 21): (33, 36)}
OLDEST = (1, 19)
# kubeVersion in the chart
OLDEST_KUBERNETES = 22
# before, the configuration file knew enableGatewayAPI only
GATEWAY_BLOCK_SINCE = (1, 21)

# --- ACME

SERVERS = {
    "staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
    "production": "https://acme-v02.api.letsencrypt.org/directory",
}
# Let's Encrypt refuses contacts in them (RFC 2606)
FORBIDDEN_DOMAINS = ("example.com", "example.net", "example.org")


class Provider(t.NamedTuple):
    """Fields of a DNS-01 provider (pkg/apis/acme/v1/types_issuer.go)."""

    required: t.Tuple[str, ...]
    optional: t.Tuple[str, ...] = ()


PROVIDERS = {
    "akamai": Provider(("serviceConsumerDomain", "clientTokenSecretRef", "clientSecretSecretRef", "accessTokenSecretRef")),
    "cloudDNS": Provider(("project",), ("serviceAccountSecretRef", "hostedZoneName")),
    "cloudflare": Provider((), ("email", "apiKeySecretRef", "apiTokenSecretRef")),
    "route53": Provider((), ("auth", "accessKeyID", "accessKeyIDSecretRef", "secretAccessKeySecretRef", "role", "hostedZoneID", "region")),
    "azureDNS": Provider(
        ("subscriptionID", "resourceGroupName"),
        ("clientID", "clientSecretSecretRef", "tenantID", "hostedZoneName", "environment", "managedIdentity", "zoneType"),
    ),
    "digitalocean": Provider(("tokenSecretRef",)),
    "acmeDNS": Provider(("host", "accountSecretRef")),
    "rfc2136": Provider(("nameserver",), ("tsigSecretSecretRef", "tsigKeyName", "tsigAlgorithm", "protocol")),
    "webhook": Provider(("groupName", "solverName"), ("config",)),
}
# What people call them.
_ALSO_CALLED = {"google": "cloudDNS", "gcp": "cloudDNS", "aws": "route53", "azure": "azureDNS", "bind": "rfc2136", "dyndns": "rfc2136"}

# --- the keys of an issuer

_KEYS = {
    "acme": ("name", "type", "email", "server", "solvers", "spec"),
    "self_signed": ("name", "type", "spec"),
    "ca": ("name", "type", "certificate", "common_name", "duration", "spec"),
}
_ACME_SPEC_KEYS = (
    "caBundle",
    "disableAccountKeyGeneration",
    "enableDurationFeature",
    "externalAccountBinding",
    "preferredChain",
    "profile",
    "skipTLSVerify",
    "solvers",
)
_CA_SPEC_KEYS = ("crlDistributionPoints", "issuingCertificateURLs", "ocspServers")
_SELF_SIGNED_SPEC_KEYS = ("crlDistributionPoints",)
_SOLVER_KEYS = ("http01", "dns01", "selector")
_SELECTOR_KEYS = ("matchLabels", "dnsNames", "dnsZones")
_GATEWAY_KEYS = ("name", "namespace", "section_name")
# The role counts on where things are and what they are called.
_OWN_VALUES = ("clusterResourceNamespace", "crds", "featureGates", "fullnameOverride", "installCRDs", "nameOverride", "namespace")
_COMPONENTS = ("controller", "webhook", "cainjector")

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(r"-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----\n.+?\n-----END \1-----", re.DOTALL)


def _version(text: t.Any) -> t.Tuple[int, int]:
    found = re.fullmatch(r"v(\d+)\.(\d+)\.\d+(-.+)?", str(text))
    if not found:
        raise ValuesError(f"cert_manager_chart_version is {text!r}, but must be one such as v1.21.1")
    return int(found.group(1)), int(found.group(2))


def _nearest(word: str, known: t.Sequence[str]) -> str:
    """What was probably meant, as an end of a sentence."""
    called = _ALSO_CALLED.get(word.lower()) if PROVIDERS.keys() <= set(known) else None
    folded = {name.lower(): name for name in known}
    close = [called] if called else [folded[name] for name in difflib.get_close_matches(word.lower(), folded, n=1)]
    return f"; the nearest is {close[0]}" if close else f"; known are {', '.join(known)}"


def _mapping(value: t.Any, what: str) -> t.Mapping[str, t.Any]:
    if not isinstance(value, t.Mapping):
        raise ValuesError(f"{what} is {value!r}, but must be a dict")
    return value


def _mapping_of_secrets(value: t.Any, what: str) -> t.Mapping[str, t.Any]:
    # what it is instead may be the secret
    if not isinstance(value, t.Mapping):
        raise ValuesError(f"{what} must be a dict")
    return value


def _known(value: t.Any, known: t.Sequence[str], what: str) -> t.Mapping[str, t.Any]:
    for key in _mapping(value, what):
        if key not in known:
            raise ValuesError(f"{what} has {key!r}, which is no key there{_nearest(str(key), known)}")
    return value


# --- issuers; each function makes one part of an object, and raises ValuesError with what is wrong in it


def _dns01(block: t.Any, what: str) -> Values:
    given = _known(block, (*PROVIDERS, "cnameStrategy"), what)
    names = [key for key in given if key != "cnameStrategy"]
    if len(names) != 1:
        raise ValuesError(f"{what} has {' and '.join(names) or 'no provider'}, but must have exactly one of {', '.join(PROVIDERS)}")
    name = names[0]
    provider = PROVIDERS[name]
    fields = _known(given[name], provider.required + provider.optional, f"{what}.{name}")
    missing = [field for field in provider.required if not fields.get(field)]
    if missing:
        raise ValuesError(f"{what}.{name} has no {' and no '.join(missing)}, without which it cannot work; add it")
    if name == "cloudflare" and bool(fields.get("apiTokenSecretRef")) == bool(fields.get("apiKeySecretRef")):
        raise ValuesError(f"{what}.cloudflare must have one of apiTokenSecretRef (a token for the zone is enough) and apiKeySecretRef")
    return dict(given)


def _http01(block: t.Any, settings: t.Mapping[str, t.Any], what: str) -> Values:
    given = _known(block, ("ingress_class", "gateway"), what)
    if len(given) > 1:
        raise ValuesError(f"{what} has ingress_class and gateway, but a challenge is answered in one place; make two solvers of it")
    if "gateway" in given:
        gateway = _known(given["gateway"], _GATEWAY_KEYS, f"{what}.gateway")
        missing = [key for key in ("name", "namespace") if not gateway.get(key)]
        if missing:
            raise ValuesError(f"{what}.gateway has no {' and no '.join(missing)}; name the Gateway that has a listener for HTTP on port 80")
        parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway["name"], "namespace": gateway["namespace"]}
        if gateway.get("section_name"):
            parent["sectionName"] = gateway["section_name"]
        return {"gatewayHTTPRoute": {"parentRefs": [parent]}}
    name = given.get("ingress_class") or settings["ingress_class"]
    if not given.get("ingress_class") and settings["ingress_controller"] == "none":
        raise ValuesError(
            f"{what} names no ingress_class, and cluster_ingress_controller is 'none': nothing would answer the challenge; "
            "name the class of an ingress controller, or a gateway, or use dns01"
        )
    if not _SUBDOMAIN.fullmatch(str(name)):
        raise ValuesError(f"{what}.ingress_class is {name!r}, but must be the name of an IngressClass, in small letters")
    return {"ingress": {"ingressClassName": str(name)}}


def _solver(solver: t.Any, settings: t.Mapping[str, t.Any], what: str) -> Values:
    given = _known(solver, _SOLVER_KEYS, what)
    if ("http01" in given) == ("dns01" in given):
        raise ValuesError(f"{what} must have exactly one of http01 and dns01")
    result: Values = {}
    if given.get("selector"):
        result["selector"] = dict(_known(given["selector"], _SELECTOR_KEYS, f"{what}.selector"))
    if "dns01" in given:
        return {**result, "dns01": _dns01(given["dns01"], f"{what}.dns01")}
    return {**result, "http01": _http01(given["http01"] or {}, settings, f"{what}.http01")}


def _server(issuer: t.Mapping[str, t.Any], settings: t.Mapping[str, t.Any]) -> t.Tuple[str, str]:
    """(word for names, address)"""
    default = settings["acme_server"] or ("production" if settings["acme_production"] else "staging")
    given = str(issuer.get("server") or default)
    for word, server in SERVERS.items():
        if given in (word, server):
            return word, server
    try:
        address = urlsplit(given)
        is_address = address.scheme == "https" and bool(address.hostname)
    except ValueError:
        is_address = False
    if not is_address:
        raise ValuesError(
            f"the ACME server of issuer {issuer['name']} is {given!r}, but must be staging, production or the https:// address of a "
            "directory"
        )
    return hashlib.sha256(given.encode()).hexdigest()[:8], given


def _email(issuer: t.Mapping[str, t.Any], settings: t.Mapping[str, t.Any], server: str) -> str:
    email = str(issuer.get("email") or settings["acme_email"])
    if email and not _EMAIL.fullmatch(email):
        raise ValuesError(f"the email of issuer {issuer['name']} is {email!r}, which is no address; leave it empty or correct it")
    if server in SERVERS.values() and email.rpartition("@")[2].lower() in FORBIDDEN_DOMAINS:
        raise ValuesError(
            f"the email of issuer {issuer['name']} is {email!r}, a domain for documentation that Let's Encrypt refuses; use yours"
        )
    return email


def _acme(issuer: t.Mapping[str, t.Any], settings: t.Mapping[str, t.Any]) -> Values:
    name = issuer["name"]
    word, server = _server(issuer, settings)
    # an account belongs to its server: with one key for both, a change of the server would take the account along
    spec: Values = {"server": server, "privateKeySecretRef": {"name": f"{name}-account-{word}"}}
    email = _email(issuer, settings, server)
    if email:
        spec["email"] = email
    extra = _known(issuer.get("spec") or {}, _ACME_SPEC_KEYS, f"spec of issuer {name}")
    given = issuer.get("solvers")
    if given is None:
        given = [] if extra.get("solvers") else [{"http01": {}}]
    elif not isinstance(given, list) or not given:
        raise ValuesError(f"solvers of issuer {name} is {given!r}, but must be a list with at least one; without it nothing is ever issued")
    spec["solvers"] = [_solver(solver, settings, f"solver {number} of issuer {name}") for number, solver in enumerate(given, 1)]
    return {"acme": merge(spec, extra)}


def _is_imported(issuer: t.Mapping[str, t.Any], settings: t.Mapping[str, t.Any]) -> bool:
    return bool(issuer.get("certificate")) or issuer["name"] in settings["ca_keys"]


def _ca_secret(issuer: t.Mapping[str, t.Any], settings: t.Mapping[str, t.Any]) -> str:
    # two names: cert-manager goes on writing the one that it made, also after a CA of the user's takes its place
    return f"{issuer['name']}-imported-ca" if _is_imported(issuer, settings) else f"{issuer['name']}-ca"


def _ca(issuer: t.Mapping[str, t.Any], settings: t.Mapping[str, t.Any]) -> Values:
    spec = {"secretName": _ca_secret(issuer, settings)}
    return {"ca": merge(spec, _known(issuer.get("spec") or {}, _CA_SPEC_KEYS, f"spec of issuer {issuer['name']}"))}


def _self_signed(issuer: t.Mapping[str, t.Any], settings: t.Mapping[str, t.Any]) -> Values:
    return {"selfSigned": dict(_known(issuer.get("spec") or {}, _SELF_SIGNED_SPEC_KEYS, f"spec of issuer {issuer['name']}"))}


_SPEC: t.Dict[str, t.Callable[[t.Mapping[str, t.Any], t.Mapping[str, t.Any]], Values]] = {
    "acme": _acme,
    "self_signed": _self_signed,
    "ca": _ca,
}


def _object(kind: str, name: str, spec: Values, namespace: str = "") -> Values:
    where: Values = {"name": name, **({"namespace": namespace} if namespace else {}), "labels": dict(LABELS)}
    return {"apiVersion": "cert-manager.io/v1", "kind": kind, "metadata": where, "spec": spec}


def _made_ca(issuer: t.Mapping[str, t.Any]) -> t.List[Values]:
    """A root that cert-manager makes; an Issuer in its own namespace signs it, which nobody else can use."""
    name = issuer["name"]
    duration = str(issuer.get("duration") or "87600h")
    if (duration_seconds(duration) or 0) < 3600:
        raise ValuesError(f"duration of issuer {name} is {duration!r}, but must be at least one hour, such as 87600h for ten years")
    spec = {
        "isCA": True,
        "commonName": str(issuer.get("common_name") or name),
        "secretName": f"{name}-ca",
        "duration": duration,
        # Never: with a new key at each renewal, whoever trusts the old root would not trust what the new one signs
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Never"},
        "issuerRef": {"group": "cert-manager.io", "kind": "Issuer", "name": f"{name}-root"},
    }
    return [_object("Issuer", f"{name}-root", {"selfSigned": {}}, NAMESPACE), _object("Certificate", name, spec, NAMESPACE)]


def _imported_ca(issuer: t.Mapping[str, t.Any], settings: t.Mapping[str, t.Any]) -> Values:
    """The Secret of a CA that the user brings, as module kube_apply takes it."""
    name, certificate, key = issuer["name"], issuer.get("certificate"), settings["ca_keys"].get(issuer["name"])
    if not key:
        raise ValuesError(f"issuer {name} has a certificate, but cert_manager_ca_keys has no key {name}; add it from a vault")
    if not certificate:
        raise ValuesError(f"cert_manager_ca_keys has {name}, but issuer {name} has no certificate; add it in PEM form")
    own = [field for field in ("common_name", "duration") if field in issuer]
    if own:
        raise ValuesError(
            f"issuer {name} has {' and '.join(own)}, which is for an authority that cert-manager makes, and a certificate; remove one"
        )
    if not _CERTIFICATE.search(str(certificate)):
        raise ValuesError(f"the certificate of issuer {name} is no PEM text (-----BEGIN CERTIFICATE-----)")
    if "ENCRYPTED" in str(key):
        raise ValuesError(
            f"the key of issuer {name} in cert_manager_ca_keys has a passphrase, which cert-manager cannot ask for; remove it"
        )
    if not _KEY.search(str(key)):
        raise ValuesError(f"the key of issuer {name} in cert_manager_ca_keys is no PEM text (-----BEGIN PRIVATE KEY-----)")
    data = {"tls.crt": str(certificate), "tls.key": str(key)}
    return {"name": _ca_secret(issuer, settings), "namespace": NAMESPACE, "type": "kubernetes.io/tls", "labels": dict(LABELS), "data": data}


def _issuer_name(issuer: t.Any, number: int) -> str:
    name = _mapping(issuer, f"number {number} of cert_manager_issuers").get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", name):
        raise ValuesError(
            f"the name of number {number} of cert_manager_issuers is {name!r}, but must be small letters, digits and dashes, 40 at the most"
        )
    return name


class Parts(t.NamedTuple):
    """What one issuer needs."""

    objects: t.List[Values]
    secrets: t.List[Values]
    conditions: t.List[Values]
    probes: t.List[Values]


def _condition(kind: str, name: str) -> Values:
    inside = {"namespace": NAMESPACE} if kind == "Certificate" else {}
    return {"api_version": "cert-manager.io/v1", "kind": kind, **inside, "name": name, "condition": "Ready"}


def _parts(issuer: t.Any, number: int, settings: t.Mapping[str, t.Any]) -> Parts:
    name = _issuer_name(issuer, number)
    kind = issuer.get("type")
    if kind not in TYPES:
        raise ValuesError(f"type of issuer {name} is {kind!r}, but must be one of {', '.join(TYPES)}")
    _known(issuer, _KEYS[kind], f"issuer {name} of type {kind}")
    parts = Parts([], [], [], [])
    if kind == "ca" and _is_imported(issuer, settings):
        parts.secrets.append(_imported_ca(issuer, settings))
    elif kind == "ca":
        parts.objects.extend(_made_ca(issuer))
        parts.conditions.append(_condition("Certificate", name))
    parts.objects.append(_object("ClusterIssuer", name, _SPEC[kind](issuer, settings)))
    parts.conditions.append(_condition("ClusterIssuer", name))
    # a certificate of an ACME server needs a name in the public DNS
    if kind != "acme":
        parts.probes.append({"name": name, "ca_secret": _ca_secret(issuer, settings) if kind == "ca" else ""})
    return parts


# --- Secrets for issuers


def _strings(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, t.Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value


def _references(value: t.Any) -> t.Iterator[t.Tuple[str, str]]:
    """(name, key) of each Secret that cert-manager is told to read."""
    if isinstance(value, t.Mapping):
        for field, item in value.items():
            if field.endswith("SecretRef") and field != "privateKeySecretRef" and isinstance(item, t.Mapping):
                yield str(item.get("name") or ""), str(item.get("key") or "")
            else:
                yield from _references(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _references(item)


def _given_secrets(settings: t.Mapping[str, t.Any]) -> t.List[Values]:
    result = []
    for name, data in _mapping_of_secrets(settings["secrets"], "cert_manager_secrets").items():
        if not _SUBDOMAIN.fullmatch(str(name)):
            raise ValuesError(f"cert_manager_secrets has {name!r}, but the name of a Secret is small letters, digits, dashes and dots")
        # never the value in the message
        if not isinstance(data, t.Mapping) or not data or not all(isinstance(item, str) and item for item in data.values()):
            raise ValuesError(f"cert_manager_secrets.{name} must be a dict of keys with texts, none of them empty")
        result.append({"name": str(name), "namespace": NAMESPACE, "labels": dict(LABELS), "data": dict(data)})
    return result


def _reference_problems(settings: t.Mapping[str, t.Any], specs: t.Sequence[Values]) -> t.List[str]:
    given = settings["secrets"]
    problems = []
    for name, key in dict.fromkeys(_references(specs)):
        if not name:
            problems.append("an issuer refers to a Secret without name; add name and key")
        elif name in given and key and key not in given[name]:
            problems.append(
                f"an issuer wants key {key!r} of Secret {name}, but cert_manager_secrets.{name} has {', '.join(given[name])}; correct "
                "one of them"
            )
    return problems


# --- values of the chart


def _gateway(settings: t.Mapping[str, t.Any], objects: t.Sequence[Values]) -> bool:
    return bool(settings["gateway_api"]) or any("gatewayHTTPRoute" in http01 for http01 in _http01_of(objects))


def _http01_of(objects: t.Sequence[Values]) -> t.List[t.Mapping[str, t.Any]]:
    solvers = [solver for item in objects for solver in item["spec"].get("acme", {}).get("solvers", [])]
    return [solver["http01"] for solver in solvers if isinstance(solver, t.Mapping) and solver.get("http01")]


_EXACT_PATHS = "ACMEHTTP01IngressPathTypeExact"


def _feature_gates(settings: t.Mapping[str, t.Any], objects: t.Sequence[Values]) -> t.Dict[str, bool]:
    gates = dict(_mapping(settings["feature_gates"], "cert_manager_feature_gates"))
    for name, value in gates.items():
        if not isinstance(value, bool):
            raise ValuesError(f"cert_manager_feature_gates.{name} is {value!r}, but must be true or false")
    # ingress-nginx 1.15.1 refuses /.well-known/ with pathType Exact: its pattern for such paths has no dot (strict-validate-path-type)
    if settings["ingress_controller"] == "ingress-nginx" and any("ingress" in item for item in _http01_of(objects)):
        gates.setdefault(_EXACT_PATHS, False)
    return gates


def _replicas(settings: t.Mapping[str, t.Any]) -> int:
    replicas = settings["replicas"]
    if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 1:
        raise ValuesError(f"cert_manager_replicas is {replicas!r}, but must be a number of at least 1")
    return replicas


def _nameservers(settings: t.Mapping[str, t.Any]) -> str:
    if not isinstance(settings["dns01_nameservers"], list):
        raise ValuesError(f"cert_manager_dns01_nameservers is {settings['dns01_nameservers']!r}, but must be a list")
    for item in settings["dns01_nameservers"]:
        if not re.fullmatch(r"https://\S+|(\[[0-9A-Fa-f:]+\]|[^:,\s]+):[0-9]{1,5}", str(item)):
            raise ValuesError(
                f"cert_manager_dns01_nameservers has {item!r}, but each must be host:port such as 192.0.2.53:53, or an https:// address"
            )
    return ",".join(str(item) for item in settings["dns01_nameservers"])


def _chart_values(settings: t.Mapping[str, t.Any], objects: t.Sequence[Values]) -> Values:
    replicas = _replicas(settings)
    extra = _mapping(settings["extra"], "cert_manager_values")
    own = [key for key in _OWN_VALUES if key in extra]
    if own:
        raise ValuesError(
            f"cert_manager_values has {', '.join(own)}, which the role sets or counts on; leave it out"
            + ("; feature gates go into cert_manager_feature_gates" if "featureGates" in own else "")
        )
    component: Values = {"replicaCount": replicas}
    if replicas > 1:
        component["podDisruptionBudget"] = {"enabled": True}
    resources = _known(settings["resources"], _COMPONENTS, "cert_manager_resources")
    parts = {name: {**component, **({"resources": dict(resources[name])} if resources.get(name) else {})} for name in _COMPONENTS}
    values: Values = {
        # kept when the release is removed: with its kinds all certificates would be gone
        "crds": {"enabled": True, "keep": True},
        **parts["controller"],
        # The API server's own words about a webhook that does not answer come in time only if it gives up before its client does (30 s).
        "webhook": {**parts["webhook"], "timeoutSeconds": 15},
        "cainjector": parts["cainjector"],
        # the role asks the webhook by itself, and can say why it does not answer
        "startupapicheck": {"enabled": False},
    }
    gates = _feature_gates(settings, objects)
    if gates:
        values["featureGates"] = ",".join(f"{name}={str(value).lower()}" for name, value in sorted(gates.items()))
    nameservers = _nameservers(settings)
    if nameservers:
        values["dns01RecursiveNameservers"] = nameservers
        values["dns01RecursiveNameserversOnly"] = True
    if _gateway(settings, objects):
        new = _version(settings["chart_version"]) >= GATEWAY_BLOCK_SINCE
        values["config"] = {"gatewayAPI": {"enabled": True}} if new else {"enableGatewayAPI": True}
    return merge(values, extra)


# --- everything at once


class Plan(t.NamedTuple):
    """What the settings come to, and what is wrong with them."""

    values: Values
    parts: t.List[Parts]
    secrets: t.List[Values]
    problems: t.List[str]

    @property
    def objects(self) -> t.List[Values]:
        return [item for parts in self.parts for item in parts.objects]


def _plan(settings: t.Mapping[str, t.Any]) -> Plan:
    problems: t.List[str] = []

    def attempt(otherwise: t.Any, make: t.Callable[..., t.Any], *arguments: t.Any) -> t.Any:
        try:
            return make(*arguments)
        except ValuesError as error:
            problems.append(str(error))
            return otherwise

    version = attempt(None, _version, settings["chart_version"])
    if version and version < OLDEST:
        problems.append(
            f"cert_manager_chart_version is {settings['chart_version']}, but the role knows v{OLDEST[0]}.{OLDEST[1]} and later; take "
            "a newer one"
        )
    if _kubernetes_minor(settings) < OLDEST_KUBERNETES:
        problems.append(
            f"cluster_kubernetes_version is {settings['kubernetes_version']}, but the chart of cert-manager wants Kubernetes "
            f"1.{OLDEST_KUBERNETES} or later; upgrade, or set cluster_cert_manager to false"
        )
    issuers = settings["issuers"] if isinstance(settings["issuers"], list) else []
    if issuers != settings["issuers"]:
        problems.append(f"cert_manager_issuers is {settings['issuers']!r}, but must be a list")
    ca_keys = attempt({}, _mapping_of_secrets, settings["ca_keys"], "cert_manager_ca_keys")
    settings = {**settings, "ca_keys": ca_keys}
    parts = [part for part in (attempt(None, _parts, item, number, settings) for number, item in enumerate(issuers, 1)) if part]
    names = [str(item.get("name")) for item in issuers if isinstance(item, t.Mapping)]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"cert_manager_issuers has {name} {names.count(name)} times; give each a name of its own")
    cas = [str(item.get("name")) for item in issuers if isinstance(item, t.Mapping) and item.get("type") == "ca"]
    for name in ca_keys:
        if name not in cas:
            problems.append(
                f"cert_manager_ca_keys has {name}, but there is no such issuer of type ca; there are {', '.join(cas) or 'none'}"
            )
    secrets = attempt(None, _given_secrets, settings)
    found = Plan({}, parts, (secrets or []) + [item for part in parts for item in part.secrets], problems)
    if secrets is not None:
        problems.extend(_reference_problems(settings, [item["spec"] for item in found.objects]))
    authorities = {item["ca_secret"] for part in parts for item in part.probes}
    problems.extend(
        f"cert_manager_secrets has {item['name']}, which is the Secret of a CA of cert_manager_issuers; give it another name"
        for item in secrets or []
        if item["name"] in authorities
    )
    return found._replace(values=attempt({}, _chart_values, settings, found.objects))


def _sound(settings: t.Mapping[str, t.Any]) -> Plan:
    found = _plan(settings)
    if found.problems:
        raise ValuesError("; ".join(found.problems))
    return found


def _workloads(values: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, str]]:
    """What has to run with these values, as module kube_rollout takes it."""
    names = ["cert-manager", "cert-manager-webhook"]
    if values["cainjector"].get("enabled", True):
        names.append("cert-manager-cainjector")
    return [{"kind": "Deployment", "namespace": NAMESPACE, "name": name} for name in names]


def cert_manager_values(settings: t.Mapping[str, t.Any]) -> Values:
    """The whole dict for the chart; what the user gives is merged last."""
    return _sound(settings).values


def cert_manager_resources(settings: t.Mapping[str, t.Any]) -> Values:
    """Options of modules kube_apply, kube_rollout and certificate_probe."""
    found = _sound(settings)
    return {
        "objects": found.objects,
        "secrets": found.secrets,
        "wait_conditions": [item for part in found.parts for item in part.conditions],
        "prune_label": ",".join(f"{key}={value}" for key, value in LABELS.items()),
        "prune_kinds": list(PRUNED),
        "probes": [item for part in found.parts for item in part.probes],
        "workloads": _workloads(found.values),
    }


# --- what is told before any host is touched


def cert_manager_problems(settings: t.Mapping[str, t.Any]) -> t.List[str]:
    """One sentence for each thing that cannot work."""
    return [f"{text.rstrip('.')}." for text in _plan(settings).problems]


def _kubernetes_minor(settings: t.Mapping[str, t.Any]) -> int:
    found = re.match(r"1\.(\d+)", str(settings["kubernetes_version"]))
    # what is no version is told by role cluster
    return int(found.group(1)) if found else OLDEST_KUBERNETES


def _support_notice(settings: t.Mapping[str, t.Any]) -> t.List[str]:
    try:
        version = _version(settings["chart_version"])
    except ValuesError:
        return []
    minor = _kubernetes_minor(settings)
    who = f"cert-manager {settings['chart_version']}"
    if version not in TESTED_KUBERNETES:
        return [f"With which versions of Kubernetes {who} is tested is not known here; see https://cert-manager.io/docs/releases/."]
    first, last = TESTED_KUBERNETES[version]
    if first <= minor <= last:
        return []
    return [
        f"{who} is tested with Kubernetes 1.{first} to 1.{last}, and this is 1.{minor}; it may work, "
        "https://cert-manager.io/docs/releases/."
    ]


def _acme_notices(settings: t.Mapping[str, t.Any], objects: t.Sequence[Values]) -> t.List[str]:
    acme = {item["metadata"]["name"]: item["spec"]["acme"] for item in objects if "acme" in item["spec"]}
    notices = []
    staging = [name for name, spec in acme.items() if spec["server"] == SERVERS["staging"]]
    if staging:
        notices.append(
            f"Certificates of {', '.join(staging)} are of Let's Encrypt's staging environment, which no browser trusts. Once they are "
            "issued, set "
            "cert_manager_acme_production to true and renew them (`cmctl renew --all --all-namespaces`): until then those that exist stay."
        )
    nameless = [name for name, spec in acme.items() if not spec.get("email")]
    if nameless:
        notices.append(f"Nobody can be told of trouble with the ACME account of {', '.join(nameless)}; set cert_manager_acme_email.")
    return notices


def _http01_notices(settings: t.Mapping[str, t.Any], objects: t.Sequence[Values]) -> t.List[str]:
    http01 = _http01_of(objects)
    notices = []
    if any("ingress" in item for item in http01) and settings["ingress_controller"] == "ingress-nginx":
        if not _feature_gates(settings, objects).get(_EXACT_PATHS, True):
            notices.append(
                f"Challenges get Ingresses of pathType ImplementationSpecific ({_EXACT_PATHS}=false): ingress-nginx refuses "
                "/.well-known/acme-challenge/ with Exact, which is cert-manager's default since 1.18, unless its "
                "strict-validate-path-type is false."
            )
        else:
            notices.append(
                f"cert_manager_feature_gates has {_EXACT_PATHS} true: ingress-nginx refuses such challenges until its "
                "strict-validate-path-type "
                "is false."
            )
    if any("ingress" in item for item in http01) and settings["ingress_controller"] == "nginx":
        notices.append(
            "The F5 NGINX Ingress Controller gives a host to the oldest Ingress alone, and a challenge is an Ingress of its own: "
            "annotate Ingresses "
            'whose certificate comes by HTTP-01 with acme.cert-manager.io/http01-edit-in-place: "true".'
        )
    if _gateway(settings, objects) and not settings["ingress_gateway_api"]:
        notices.append(
            "cert-manager does not start with Gateway API turned on until the kinds of Gateway API are installed; set "
            "ingress_gateway_api to true, "
            "or install them yourself before."
        )
    return notices


def _secret_notices(settings: t.Mapping[str, t.Any], objects: t.Sequence[Values]) -> t.List[str]:
    given = settings["secrets"]
    specs = [item["spec"] for item in objects]
    wanted = sorted({name for name, dummy in _references(specs) if name and name not in given})
    unused = sorted(set(given) - set(_strings(specs)))
    notices = []
    if wanted:
        notices.append(
            f"Issuers read Secret {', '.join(wanted)} in namespace {NAMESPACE}, which this role does not make (cert_manager_secrets)."
        )
    if unused:
        notices.append(f"No issuer refers to Secret {', '.join(unused)} of cert_manager_secrets.")
    return notices


def cert_manager_notices(settings: t.Mapping[str, t.Any]) -> t.List[str]:
    """What works, but has to be known."""
    found = _plan(settings)
    if found.problems:
        return _support_notice(settings)
    notices = _support_notice(settings)
    if not found.parts:
        notices.append("cert_manager_issuers is empty, so that cert-manager has nobody to ask for certificates.")
    for tell in (_acme_notices, _http01_notices, _secret_notices):
        notices.extend(tell(settings, found.objects))
    return notices
