# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What is wrong with the settings of role ingress, told before any host is touched; one sentence each."""

from __future__ import annotations

import difflib
import ipaddress
import re
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._addresses import AddressError, parse_address, parse_network, parse_range
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._ingress import (
    ALWAYS,
    CONTROLLERS,
    OPTIONS,
    OWN_REAL_IP,
    PROFILES,
    TLS_PROTOCOLS,
    IngressError,
    ingress_settings,
    key_problem,
    raw_text,
)

# The names of OpenSSL 3 for TLS 1.2 with forward secrecy or without; what is broken (NULL, export, RC4, DES) is not among them.
_BULK = ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
_ECDHE = [
    f"ECDHE-{key}-{bulk}" for key in ("ECDSA", "RSA") for bulk in (*_BULK, "AES128-SHA256", "AES256-SHA384", "AES128-SHA", "AES256-SHA")
]
_DHE = [f"DHE-RSA-{bulk}" for bulk in (*_BULK, "AES128-SHA256", "AES256-SHA256", "AES128-SHA", "AES256-SHA")]
_RSA = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA256", "AES256-SHA256", "AES128-SHA", "AES256-SHA"]
CIPHERS = (*_ECDHE, *_DHE, *_RSA)
_STRONG = {name for name in CIPHERS if name.startswith(("ECDHE-", "DHE-")) and name.endswith(_BULK)}

_NUMBERS = {
    "keepalive_timeout": (0, 86400, "seconds"),
    "keepalive_requests": (1, 10**9, "requests"),
    "worker_connections": (64, 1048576, "connections"),
    "worker_open_files": (0, 1048576, "files"),
    "upstream_keepalive": (0, 65536, "connections"),
    "hsts_max_age": (0, 10**9, "seconds"),
    "proxy_read_timeout": (1, 604800, "seconds"),
    "proxy_send_timeout": (1, 604800, "seconds"),
}
_FLAGS = ("use_forwarded_headers", "full_forwarded_for", "hsts", "hsts_include_subdomains", "hsts_preload", "proxy_buffering")
_TEXTS = {
    "client_header_buffers": (r"[1-9][0-9]* [1-9][0-9]*[kKmM]?", "number and size such as 4 16k"),
    "client_max_body_size": (r"[0-9]+[kKmMgG]?", "a size such as 10m, or 0 for any size"),
}
# A proxy or a provider's network, not a part of the internet.
_SHORTEST_PREFIX = {4: 8, 6: 16}
_PRELOAD_MAX_AGE = 31536000

_NAME = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_NAME}(?:\.{_NAME})*")
# Chart.yaml of each chart
_OLDEST_MINOR = {"nginx": 25, "ingress-nginx": 21}
_OLDEST_MINOR_OF_GATEWAY = 30
_TESTED_MINORS = {"nginx": (29, 36), "ingress-nginx": (31, 35)}
_RETIRED = (
    "ingress-nginx is retired: its repository was archived in March 2026, controller v1.15.1 (chart 4.15.1, NGINX 1.27.1) is the last "
    "version, and no vulnerability found since then is or will be fixed, in the controller or in its NGINX; keep it only as long as it "
    "takes to move to cluster_ingress_controller: nginx or to the Gateway API."
)


def _words(items: t.Iterable[t.Any]) -> str:
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


class _Check:
    """Collects the sentences about one set of settings."""

    def __init__(self, facts: t.Mapping[str, t.Any]) -> None:
        self.facts = facts
        self.controller: str = facts["controller"]
        self.problems: t.List[str] = []
        self.notices: t.List[str] = []

    def wrong(self, name: str, value: t.Any, rule: str) -> None:
        self.problems.append(f"{name} is {'empty' if value == '' else repr(value)}, but {rule}.")

    def run(self) -> None:
        if self.controller not in CONTROLLERS:
            self.wrong("cluster_ingress_controller", self.controller, f"must be none, {_words(CONTROLLERS)}")
            return
        self.versions()
        settings = self.tuning()
        self.raw()
        self.exposure(settings)
        self.certificate()
        self.others()

    # --- versions

    def versions(self) -> None:
        minor, oldest = int(self.facts["kubernetes_minor"]), _OLDEST_MINOR[self.controller]
        first, last = _TESTED_MINORS[self.controller]
        if self.controller == "ingress-nginx":
            self.notices.append(_RETIRED)
        if minor < oldest:
            self.problems.append(
                f"cluster_kubernetes_version is 1.{minor}, but the chart of {self.controller} wants Kubernetes 1.{oldest} or newer; take "
                "a newer one, or cluster_ingress_controller: none."
            )
        elif not first <= minor <= last:
            self.notices.append(
                f"{self.controller} was tested with Kubernetes 1.{first} to 1.{last} only, not with 1.{minor}; try your Ingress objects "
                "first."
            )

    # --- the vocabulary

    def tuning(self) -> t.Optional[t.Dict[str, t.Any]]:
        """The settings, where they can be read at all; everything wrong with them is told."""
        tuning, raw, profile = self.facts["tuning"], self.facts["config"], self.facts["profile"]
        for name, value in (("ingress_tuning", tuning), ("ingress_config", raw)):
            if not isinstance(value, t.Mapping):
                self.wrong(name, value, "must be a dict")
        if not isinstance(tuning, t.Mapping) or not isinstance(raw, t.Mapping):
            return None
        if profile not in PROFILES:
            self.wrong("ingress_profile", profile, f"must be {_words(PROFILES)}")
            profile = "default"
        for name in tuning:
            if name not in OPTIONS:
                near = difflib.get_close_matches(str(name).replace("-", "_"), OPTIONS, 1, 0.5)
                hint = f"the nearest is {near[0]}" if near else f"it has {_words(OPTIONS)}"
                self.problems.append(f"ingress_tuning has no option {name!r}; {hint}.")
        known = {name: value for name, value in tuning.items() if name in OPTIONS}
        try:
            settings = ingress_settings(profile, known, self.controller, raw)
        except IngressError as error:
            self.problems.append(f"{error}.")
            settings = ingress_settings(profile, known, self.controller, {})
        before = len(self.problems)
        for name in OPTIONS:
            self.option(name, settings[name])
        if len(self.problems) > before:
            return None
        self.together(settings)
        return settings

    def option(self, name: str, value: t.Any) -> None:
        where = f"ingress_tuning.{name}"
        if name in _NUMBERS:
            least, most, unit = _NUMBERS[name]
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                self.wrong(where, value, f"must be a whole number of {unit} from {least} to {most}")
        elif name in _FLAGS:
            if not isinstance(value, bool):
                self.wrong(where, value, "must be true or false")
            elif ALWAYS.get((self.controller, name), value) != value:
                self.wrong(
                    where,
                    value,
                    "NGINX Ingress Controller always appends the address of who connects to X-Forwarded-For; leave it at true, and let "
                    "the backend read X-Real-IP",
                )
        elif name in _TEXTS:
            pattern, meaning = _TEXTS[name]
            if not isinstance(value, str) or not re.fullmatch(pattern, value):
                self.wrong(where, value, f"must be {meaning}")
        elif name == "worker_processes":
            if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1024):
                self.wrong(where, value, "must be auto or a whole number from 1 to 1024")
        elif not isinstance(value, list) or any(not isinstance(item, str) for item in value):
            self.wrong(where, value, "must be a list of texts")
        else:
            {"tls_protocols": self.protocols, "tls_ciphers": self.ciphers, "trusted_proxies": self.proxies}[name](where, value)

    def protocols(self, where: str, value: t.List[str]) -> None:
        unknown = [item for item in value if item not in TLS_PROTOCOLS]
        if unknown or not value:
            self.wrong(where, value, f"must name one or more of {_words(TLS_PROTOCOLS)}")
        elif {"TLSv1", "TLSv1.1"} & set(value):
            self.notices.append(
                f"{where} allows TLS 1.0 or 1.1, which are broken and forbidden by RFC 8996; OpenSSL 3 negotiates them only with ciphers "
                "at security level 0."
            )

    def ciphers(self, where: str, value: t.List[str]) -> None:
        for item in value:
            if item.startswith("TLS_"):
                self.wrong(where, item, "is a suite of TLS 1.3, all of which nginx allows whatever ssl_ciphers says; leave it out")
            elif item not in CIPHERS:
                near = difflib.get_close_matches(item.upper(), CIPHERS, 1, 0.5)
                hint = f"the nearest is {near[0]}" if near else "see openssl ciphers -v"
                self.problems.append(f"{where} names {item!r}, which is not the OpenSSL name of a cipher that should be used; {hint}.")
        weak = [item for item in value if item in CIPHERS and item not in _STRONG]
        if weak:
            self.notices.append(
                f"{where} allows {_words(weak)}, without forward secrecy or with CBC; take the ECDHE suites with GCM or CHACHA20."
            )

    def proxies(self, where: str, value: t.List[str]) -> None:
        for item in value:
            try:
                found = ipaddress.ip_network(str(parse_address(item))) if "/" not in item else parse_network(item)
            except AddressError as error:
                self.problems.append(f"{where} names {item!r}, which {error}.")
                continue
            if found.prefixlen < _SHORTEST_PREFIX[found.version]:
                self.wrong(
                    where,
                    item,
                    "whoever is in it can pretend to be any client, and that is a part of the internet; name the addresses of your "
                    "proxies alone",
                )

    def together(self, settings: t.Mapping[str, t.Any]) -> None:
        """Rules about more than one option, each of which is right by itself."""
        if not settings["tls_ciphers"] and set(settings["tls_protocols"]) != {"TLSv1.3"}:
            self.wrong("ingress_tuning.tls_ciphers", settings["tls_ciphers"], "TLS 1.2 needs one cipher at least")
        files, connections = settings["worker_open_files"], settings["worker_connections"]
        if files and files < 2 * connections:
            self.wrong(
                "ingress_tuning.worker_open_files",
                files,
                f"a request that is passed on takes two connections and worker_connections is {connections}; give {2 * connections} or "
                "more, or 0 for the limit of the container",
            )
        if settings["hsts_preload"] and not (
            settings["hsts_include_subdomains"] and settings["hsts_max_age"] >= _PRELOAD_MAX_AGE and settings["hsts"]
        ):
            self.problems.append(
                "ingress_tuning.hsts_preload is true, but browsers take a domain into their list only with hsts: true, "
                f"hsts_include_subdomains: true and hsts_max_age of {_PRELOAD_MAX_AGE} or more; set these, or hsts_preload: false."
            )
        raw = self.facts["config"]
        believed = settings["use_forwarded_headers"] or any(
            raw_text(raw.get(key, False)) not in ("false", "") for key in OWN_REAL_IP[self.controller]
        )
        if believed and not settings["trusted_proxies"]:
            self.problems.append(
                "Forwarded headers are to be believed (ingress_tuning.use_forwarded_headers, or such a key of ingress_config), but "
                "ingress_tuning.trusted_proxies is empty, so every client could pretend to be any other; name the addresses of your "
                "proxies there."
            )
        if settings["trusted_proxies"] and not believed:
            self.problems.append(
                "ingress_tuning.trusted_proxies is given, but has no effect while ingress_tuning.use_forwarded_headers is false; set "
                "that to true, or leave the proxies out."
            )

    def raw(self) -> None:
        """Keys of the controller's own that it would ignore."""
        raw = self.facts["config"]
        if not isinstance(raw, t.Mapping):
            return
        for key, value in raw.items():
            problem = key_problem(self.controller, str(key))
            if problem:
                self.problems.append(f"ingress_config.{key} {problem}.")
                continue
            try:
                raw_text(value)
            except IngressError as error:
                self.problems.append(f"ingress_config.{key}: {error}.")
        snippet = raw.get("http-snippets")
        if self.controller == "nginx" and isinstance(snippet, str) and re.search(r"\blarge_client_header_buffers\b", snippet):
            self.problems.append(
                "ingress_config.http-snippets sets large_client_header_buffers, which the role writes too, and nginx refuses a directive "
                "that stands there twice; take ingress_tuning.client_header_buffers."
            )

    # --- how traffic gets in

    def exposure(self, settings: t.Optional[t.Mapping[str, t.Any]]) -> None:
        facts = self.facts
        exposure, policy, addresses = facts["exposure"], facts["external_traffic_policy"], facts["addresses"]
        if exposure not in ("load_balancer", "host_network"):
            self.wrong("ingress_exposure", exposure, "must be load_balancer or host_network, or empty")
        if policy not in ("Local", "Cluster"):
            self.wrong("ingress_external_traffic_policy", policy, "must be Local or Cluster")
        if facts["kind"] not in ("", "Deployment", "DaemonSet"):
            self.wrong("ingress_kind", facts["kind"], "must be Deployment or DaemonSet, or empty")
        if not isinstance(addresses, list):
            self.wrong("ingress_addresses", addresses, "must be a list of addresses")
            addresses = []
        if exposure == "load_balancer" and facts["load_balancer"] == "none":
            self.problems.append(
                "ingress_exposure is load_balancer, but nothing gives Services an address (cluster_load_balancer is none, and so is "
                "cni_cilium_load_balancer); set one of these, or ingress_exposure: host_network."
            )
        if exposure == "host_network" and addresses:
            self.wrong(
                "ingress_addresses", addresses, "with ingress_exposure host_network the addresses are those of the nodes; leave it out"
            )
        if exposure == "host_network" and facts["kind"] == "Deployment" and int(facts["replicas"]) > int(facts["nodes"]):
            self.wrong(
                "ingress_replicas",
                facts["replicas"],
                f"only one pod fits on each of {facts['nodes']} nodes, whose ports 80 and 443 it takes; give that many, or ingress_kind: "
                "DaemonSet",
            )
        self.asked_addresses(addresses)
        if settings and settings["trusted_proxies"] and exposure == "load_balancer" and policy == "Cluster":
            self.behind_nodes(settings)

    def asked_addresses(self, addresses: t.List[t.Any]) -> None:
        ranges = []
        for item in self.facts["load_balancer_ranges"]:
            try:
                ranges.append(parse_range(item))
            except AddressError:
                # told by role cluster
                return
        for item in addresses:
            try:
                address = parse_address(item)
            except AddressError as error:
                self.problems.append(f"ingress_addresses names {item!r}, which {error}.")
                continue
            if item != str(address):
                # the role waits until the Service tells it, as the API server writes it
                self.problems.append(f"ingress_addresses names {item!r}, which Kubernetes writes as {address}; write it so.")
            wanted = parse_range(str(address))
            if ranges and not any(wanted.shared(one) for one in ranges):
                self.problems.append(
                    f"ingress_addresses names {item!r}, which is in none of the ranges of the load balancer "
                    f"({', '.join(map(str, self.facts['load_balancer_ranges']))}); take an address of these, or add it to "
                    "cluster_load_balancer_ranges."
                )

    def behind_nodes(self, settings: t.Mapping[str, t.Any]) -> None:
        """With the traffic policy Cluster all clients come from the nodes, as the controller sees it."""
        networks = [ipaddress.ip_network(item, strict=False) for item in settings["trusted_proxies"]]
        nodes = [
            item
            for item in map(ipaddress.ip_address, self.facts["node_ips"])
            if any(item in one for one in networks if one.version == item.version)
        ]
        if nodes:
            self.problems.append(
                f"ingress_tuning.trusted_proxies holds the node {nodes[0]}, and with ingress_external_traffic_policy Cluster every client "
                "seems to come from a node, so all would be believed; set the policy to Local, and name the proxies alone."
            )
        else:
            self.notices.append(
                "With ingress_external_traffic_policy Cluster the controller sees the address of a node instead of the proxy's, so the "
                "headers of ingress_tuning.trusted_proxies are never believed; set the policy to Local."
            )

    # --- certificate, names

    def certificate(self) -> None:
        secret, certificate, key_given = (
            self.facts["default_certificate"],
            self.facts["certificate"],
            bool(self.facts["certificate_key_given"]),
        )
        if secret and not (isinstance(secret, str) and re.fullmatch(rf"{_NAME}/{_SUBDOMAIN.pattern}", secret)):
            self.wrong("ingress_default_certificate", secret, "must be namespace/name of a Secret of type kubernetes.io/tls")
        if bool(certificate) != key_given:
            given, missing = ("certificate", "key") if certificate else ("key", "certificate")
            self.problems.append(
                f"ingress_default_certificate_{given} is given without ingress_default_certificate_{missing}; give both as PEM, or none."
            )
        if certificate and secret:
            self.problems.append(
                "ingress_default_certificate names a Secret, but ingress_default_certificate_certificate is given too; give the Secret "
                "that is there already, or the PEM to make one of."
            )
        if certificate and "-----BEGIN CERTIFICATE-----" not in str(certificate):
            self.problems.append(
                "ingress_default_certificate_certificate is not PEM: it has no line -----BEGIN CERTIFICATE-----; give the certificate "
                "and its chain."
            )
        if not secret and not certificate:
            self.notices.append(
                "There is no ingress_default_certificate: "
                + (
                    "TLS connections to names without a certificate of their own are refused (NGINX Ingress Controller)."
                    if self.controller == "nginx"
                    else "names without a certificate of their own get one that the controller signed itself."
                )
            )

    def others(self) -> None:
        name = self.facts["class_name"]
        if not isinstance(name, str) or not _SUBDOMAIN.fullmatch(name) or len(name) > 253:
            self.wrong("ingress_class_name", name, "must be a DNS name in small letters such as nginx")
        if not isinstance(self.facts["extra"], t.Mapping):
            self.wrong("ingress_values", self.facts["extra"], "must be a dict of values of the chart")
        if self.facts["gateway_api"] and int(self.facts["kubernetes_minor"]) < _OLDEST_MINOR_OF_GATEWAY:
            self.wrong(
                "ingress_gateway_api",
                True,
                f"its file has a ValidatingAdmissionPolicy, which Kubernetes 1.{_OLDEST_MINOR_OF_GATEWAY} is the first to serve; leave it "
                "out",
            )
        gateway = self.facts["gateway_api_checksum"]
        if self.facts["gateway_api"] and not re.fullmatch(r"[0-9a-f]{64}", str(gateway)):
            self.wrong(
                "ingress_gateway_api_checksum", gateway, "must be the sha256 of the file at ingress_gateway_api_url, 64 hexadecimal digits"
            )


def ingress_problems(facts: t.Mapping[str, t.Any], severity: str) -> t.List[str]:
    """The sentences of one severity: problem or notice."""
    check = _Check(facts)
    check.run()
    return check.problems if severity == "problem" else check.notices
