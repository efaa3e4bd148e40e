# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What an ingress controller really does with requests from outside, as findings."""

from __future__ import annotations

import ipaddress
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _ingress_backend, _ingress_client, _tls_hello
from ansible_collections.baremetal.kubernetes.plugins.module_utils._ingress_client import SPOOFED, Want
from ansible_collections.baremetal.kubernetes.plugins.module_utils._netns import PodTrafficError, find_process
from ansible_collections.baremetal.kubernetes.plugins.module_utils._pod_traffic import own_pod
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, WARN, Check, check

# a certificate that ends sooner should have been renewed by now (cert-manager does at a third of 90 days)
_LEAST_DAYS = 14


def validate(want: Want) -> None:
    """Refuse what nothing can be proven with."""
    for version in want.tls_protocols:
        if version not in _tls_hello.VERSIONS:
            raise ValueError(f"tls_protocols has {version}, but knows {', '.join(_tls_hello.VERSIONS)}")
    for network in want.trusted_proxies:
        ipaddress.ip_network(network, strict=False)
    for what, text in [("ca", want.ca), *((f"the certificate of {item['host']}", item["ca"]) for item in want.certificates)]:
        try:
            _ingress_client.context(text, True)
        except ssl.SSLError as error:
            raise ValueError(f"{what} is no PEM certificate: {error.reason or error}") from error


# --- findings: nothing is asked below -------------------------------------------------------------------------


def _answered(result: Dict[str, Any]) -> str:
    """What came back, for a person."""
    if "error" in result:
        return str(result["error"])
    if result["answer"]:
        return f"answered by the pod on node {result['answer']['node']} in {result['ms']:g} ms"
    location = result["headers"].get("location")
    server = result["headers"].get("server", "an unnamed server")
    return f"status {result['status']} by {server}" + (f", to {location}" if location else "")


def _unanswered_fix(result: Dict[str, Any], address: str) -> str:
    if "error" in result:
        return (
            f"Does somebody announce {address} (`ip neigh show {address}` on a machine beside the nodes), does the controller's Service"
            " have endpoints (`kubectl get endpointslices -A`), and does a packet filter stop it?"
        )
    if result["status"] in (404, 502, 503, 504):
        return (
            "The controller answers, but does not bring the request to the probe pod: `kubectl describe ingress -A`, the controller's log,"
            " its IngressClass, and the findings pod_to_pod."
        )
    return "Who answers there? `kubectl get svc,ingress -A -o wide`, and the controller's log."


def http_check(identifier: str, address: str, want: Want, result: Dict[str, Any]) -> Check:
    """A plain request; a controller may send everybody to HTTPS."""
    wanted = f"an answer of a probe pod to http://{want.plain_host} at {address}:{want.http_port}"
    moved = str((result.get("headers") or {}).get("location", "")).startswith("https://") and result.get("status") in (301, 302, 307, 308)
    if result.get("answer") or moved:
        return check(identifier, PASS, _answered(result), wanted)
    return check(identifier, FAIL, _answered(result), wanted, _unanswered_fix(result, address))


def _certificate_words(result: Dict[str, Any]) -> str:
    return f"the certificate is not trusted: {result['problem']}"


def https_check(identifier: str, address: str, want: Want, result: Dict[str, Any]) -> Check:
    """An encrypted request and the chain of the certificate."""
    wanted = f"an answer of a probe pod to https://{want.host} at {address}:{want.https_port}, with a certificate that is trusted"
    if not result.get("answer"):
        fix = _unanswered_fix(result, address)
        if "error" in result:
            fix = f"Has the controller a certificate for {want.host}? {fix}"
        return check(identifier, FAIL, _answered(result), wanted, fix)
    seen = f"{_answered(result)}, {result['protocol']} with {result['cipher']}"
    if result["verified"]:
        return check(identifier, PASS, f"{seen}, chain verified", wanted)
    if result["verified"] is None:
        return check(
            identifier,
            UNKNOWN,
            f"{seen}; the chain was not looked at: {result['problem']}",
            wanted,
            "Run it again; see the controller's log.",
        )
    seen = f"{seen}; {_certificate_words(result)}"
    show = f"`openssl s_client -connect {address}:{want.https_port} -servername {want.host} -showcerts </dev/null`"
    # with an authority of its own the Ingress has a certificate, and any other one is wrong
    if result["self_signed"] and not want.ca:
        fix = (
            "It is self-signed, as a controller's own default certificate is: give it one of yours "
            f"(ingress_default_certificate); {show} shows it."
        )
        return check(identifier, WARN, seen, wanted, fix)
    return check(
        identifier,
        FAIL,
        seen,
        wanted,
        f"{show} shows which certificates are sent: the controller's own or another wrong one, or one without its intermediates?",
    )


def certificate_check(address: str, port: int, name: str, ca: str, result: Dict[str, Any]) -> Check:
    """The certificate for one of the user's own names."""
    identifier = f"edge_certificate/{name}"
    wanted = f"a certificate for {name} that {'the given authority' if ca else 'this host'} trusts, for {_LEAST_DAYS} days more"
    show = f"`openssl s_client -connect {address}:{port} -servername {name} -showcerts </dev/null`"
    if result["verified"] is None:
        return check(
            identifier, UNKNOWN, f"no encrypted connection: {result['problem']}", wanted, f"{show} shows what the controller says."
        )
    if not result["verified"]:
        return check(
            identifier, FAIL, _certificate_words(result), wanted, f"{show} shows what is sent; see `kubectl get certificates,secrets -A`."
        )
    seen = f"trusted, for {result['days']:g} days more"
    if result["days"] < _LEAST_DAYS:
        return check(identifier, WARN, seen, wanted, "Who renews it? `kubectl get certificates -A`, and cert-manager's log.")
    return check(identifier, PASS, seen, wanted)


def protocol_check(want: Want, answers: Dict[str, Dict[str, Any]]) -> Check:
    """Each wanted version is negotiated, each other one is refused."""
    wanted = f"{' and '.join(want.tls_protocols)} negotiated, all others refused"
    seen = ", ".join(f"{version}: {_tls_hello.words_of(answer)}" for version, answer in answers.items())
    lacking, open_, unclear = [], [], []
    for version, answer in answers.items():
        takes = _tls_hello.takes(answer, version)
        if takes is None:
            unclear.append(version)
        elif takes and version not in want.tls_protocols:
            open_.append(version)
        elif not takes and version in want.tls_protocols:
            lacking.append(version)
    if open_:
        fix = (
            f"{', '.join(open_)} must not be negotiated: take it out of tls_protocols of ingress_tuning (ssl-protocols), and "
            "look for a snippet or annotation that sets ssl_protocols."
        )
        return check("edge_tls_protocol", FAIL, seen, wanted, fix)
    if lacking:
        fix = (
            f"{', '.join(lacking)} must be negotiated: is ssl-protocols in the controller's ConfigMap, and do tls_ciphers have "
            "suites for it?"
        )
        return check("edge_tls_protocol", FAIL, seen, wanted, fix)
    if unclear:
        return check(
            "edge_tls_protocol",
            UNKNOWN,
            seen,
            wanted,
            f"{', '.join(unclear)} cannot be told; see the finding edge_https and the controller's log.",
        )
    return check("edge_tls_protocol", PASS, seen, wanted)


def cipher_version(want: Want) -> str:
    """The highest version whose suites are configured by ssl_ciphers; "" when there is none."""
    found = [version for version in ("TLSv1.2", "TLSv1.1", "TLSv1") if version in want.tls_protocols]
    return found[0] if found else ""


def cipher_check(want: Want, version: str, kind: str, result: Dict[str, Any]) -> Check:
    """Each wanted suite that fits the certificate is negotiated, each other one is refused."""
    identifier = "edge_tls_cipher"
    strange = [name for name in want.tls_ciphers if name not in _tls_hello.SUITES]
    known = [name for name in want.tls_ciphers if name in _tls_hello.SUITES]
    wanted = f"{version} with {', '.join(known) or 'nothing'} and no other suite"
    if strange:
        fix = "Name each suite as OpenSSL does, so that it can be tried; those of TLS 1.3 are not configured this way."
        return check(identifier, UNKNOWN, f"{', '.join(strange)}: not a suite that can be tried", wanted, fix)
    left_out = [name for name in known if name not in result["offered"]]
    taken = [name for name, answer in result["offered"].items() if answer.get("suite") == _tls_hello.SUITES[name]]
    refused = {name: answer for name, answer in result["offered"].items() if name not in taken}
    parts = [f"negotiated {', '.join(taken) or 'none'}"]
    parts += [f"{name}: {_tls_hello.words_of(answer)}" for name, answer in refused.items()]
    if result["others"]:
        parts.append(f"negotiated too {', '.join(result['others'])}")
    if left_out:
        parts.append(f"not tried {', '.join(left_out)}, as the certificate has a key of kind {kind}")
    seen = "; ".join(parts)
    if result["others"]:
        fix = "Is ssl-ciphers in the controller's ConfigMap as in ingress_tuning, and does a snippet or annotation set ssl_ciphers?"
        return check(identifier, FAIL, seen, wanted, fix)
    if any(answer.get("alert") in _tls_hello.REFUSALS for answer in refused.values()):
        fix = (
            "Does the NGINX of this controller know the suite (`openssl ciphers -v` in its pod)? Those that begin with DHE "
            "need ssl-dh-param too."
        )
        return check(identifier, FAIL, seen, wanted, fix)
    # what ended the search has to be a refusal, or nothing is known of the others
    if not taken or refused or _tls_hello.takes(result["end"], version) is not False:
        seen += f"; all others together: {_tls_hello.words_of(result['end'])}" if result["end"] else ""
        return check(identifier, UNKNOWN, seen, wanted, "See the findings edge_https and edge_tls_protocol, and the controller's log.")
    return check(identifier, PASS, f"{seen}; all others refused", wanted)


def keepalive_check(want: Want, result: Dict[str, Any]) -> Check:
    """Requests on one connection."""
    identifier, most = "edge_keepalive", want.keepalive_requests
    served, closed = result["served"], result["closed"]
    seen = f"{served} requests answered on one connection, then {'closed' if closed else 'still open'}"
    if result["error"]:
        seen = f"{served} requests answered on one connection, then: {result['error']}"
    if want.keepalive_timeout == 0:
        wanted = "each connection closed after its first request"
        fix = "keepalive_timeout is 0 in ingress_tuning, but the controller keeps connections: is it in its ConfigMap?"
        status = UNKNOWN if result["error"] else PASS if closed and served == 1 else FAIL
        return check(identifier, status, seen, wanted, fix)
    fix = (
        "`kubectl get configmap -A` and the controller's nginx.conf: keepalive_timeout and keepalive_requests;"
        " a proxy between client and controller may end connections too."
    )
    counted = bool(most) and most <= want.request_limit
    wanted = f"closed after {most} requests" if counted else "a second request on the same connection"
    if most and not counted:
        wanted = f"{want.request_limit} requests on the same connection (closed after {most}, which are too many to send)"
        good = served >= want.request_limit
    elif counted:
        good = served == most and closed
    else:
        good = served >= 2
    if served == 1 and closed and most != 1:
        fix = f"Keep-alive is off: each connection is closed after one request. {fix}"
    return check(identifier, PASS if good and not result["error"] else FAIL, seen, wanted, fix)


def idle_check(want: Want, result: Dict[str, Any]) -> Check:
    """How long an idle connection lives; what is longer than the patience is only bounded from below."""
    identifier, timeout = "edge_keepalive_idle", want.keepalive_timeout or 0.0
    fix = (
        "Is keepalive_timeout in the controller's nginx.conf as in ingress_tuning, and does something between client and "
        "controller end idle connections?"
    )
    seen = f"an idle connection was {'closed after' if result['closed'] else 'still open after'} {result['kept']:g} s"
    if result["told"] is not None:
        seen += f"; the controller says timeout={result['told']}"
    wanted = f"closed after {timeout:g} s"
    if result["error"]:
        return check(identifier, UNKNOWN, result["error"], wanted, "See the finding edge_http.")
    if result["told"] is not None and result["told"] != timeout:
        return check(identifier, FAIL, seen, wanted, fix)
    if result["measured"]:
        good = result["closed"] and timeout - 1 <= result["kept"] <= timeout + 3
        return check(identifier, PASS if good else FAIL, seen, wanted, fix)
    least = min(5.0, want.idle_limit) if result["closed"] else result["kept"]
    wanted = f"open for {least:g} s at least ({timeout:g} s are too long to wait for)"
    return check(identifier, FAIL if result["closed"] else PASS, seen, wanted, fix)


def _address(text: Optional[str]) -> str:
    """In its canonical form, so that two of them can be compared; "" for anything else."""
    try:
        found = ipaddress.ip_address(str(text).strip().strip("[]"))
    except ValueError:
        return ""
    return str(getattr(found, "ipv4_mapped", None) or found)


def client_of(result: Dict[str, Any]) -> Tuple[str, str]:
    """(X-Real-IP, the last of X-Forwarded-For) that the server behind the controller saw; "" where there is none."""
    headers = (result.get("answer") or {}).get("headers") or {}
    return _address(headers.get("x-real-ip")), _address(headers.get("x-forwarded-for", "").rpartition(",")[2])


def client_check(want: Want, result: Dict[str, Any]) -> Check:
    """Whether the server sees the client's own address."""
    identifier = "edge_client_address"
    own, (real, last) = _address(result.get("local")), client_of(result)
    seen_address = real or last
    wanted = (
        f"the server behind the controller sees {own}, this client"
        if want.client_address == "preserved"
        else (f"the server behind the controller sees an address of the cluster and not {own}, this client")
    )
    if not seen_address:
        fix = "See the findings edge_http and edge_https; does a snippet take these headers away?"
        return check(identifier, UNKNOWN, "neither X-Real-IP nor X-Forwarded-For with an address", wanted, fix)
    seen = f"the server sees {seen_address}, the client is {own}"
    if (seen_address == own) == (want.client_address == "preserved"):
        return check(identifier, PASS, seen, wanted)
    if want.client_address == "preserved":
        fix = (
            "externalTrafficPolicy of the controller's Service has to be Local (`kubectl get svc -A -o wide`); if it is, "
            "something between this"
            " client and the address changes it (NAT), or the pod network masquerades."
        )
        return check(identifier, FAIL, seen, wanted, fix)
    return check(
        identifier,
        WARN,
        seen,
        wanted,
        "More is seen than was asked for; if servers rely on it, set ingress_external_traffic_policy: Local.",
    )


def forwarded_check(want: Want, plain: Dict[str, Any], result: Dict[str, Any]) -> Check:
    """Whether a client can claim to be somebody else."""
    identifier = "edge_forwarded"
    before, (real, last) = client_of(plain), client_of(result)
    client = before[0] or before[1]
    networks = [ipaddress.ip_network(item, strict=False) for item in want.trusted_proxies]
    trusted = bool(client) and any(ipaddress.ip_address(client) in network for network in networks)
    who = f"this client, {client or 'which is not known'}, is {'one' if trusted else 'none'} of the trusted proxies"
    wanted = f"{SPOOFED} in X-Forwarded-For {'believed' if trusted else 'not believed'}, as {who}"
    if not client or not (real or last):
        what = "neither X-Real-IP nor X-Forwarded-For with an address" if result.get("answer") else _answered(result)
        return check(identifier, UNKNOWN, what, wanted, "See the findings edge_http and edge_client_address.")
    seen = f"X-Real-IP {real or 'none'}, the last of X-Forwarded-For {last or 'none'}"
    believed = SPOOFED in (real, last)
    if believed == trusted:
        # whom nobody believes may still be told on, as the first of the chain
        kept = SPOOFED in [_address(part) for part in result["answer"]["headers"].get("x-forwarded-for", "").split(",")]
        if not trusted and want.forwarded_for and kept != (want.forwarded_for == "appended"):
            wanted += f", and {'kept as the first of the chain' if want.forwarded_for == 'appended' else 'thrown away'}"
            seen += f", {'in' if kept else 'not in'} the chain of X-Forwarded-For"
            return check(identifier, FAIL, seen, wanted, "Is full_forwarded_for in the controller's ConfigMap as in ingress_tuning?")
        return check(identifier, PASS, seen, wanted)
    if believed:
        fix = (
            "Any client can give itself any address: set use_forwarded_headers in ingress_tuning to false, or trusted_proxies "
            "to those that are"
            " really in front (ingress-nginx: use-forwarded-headers, proxy-real-ip-cidr; NGINX Ingress Controller: set-real-ip-from)."
        )
        return check(identifier, FAIL, seen, wanted, fix)
    fix = (
        "Are use_forwarded_headers and trusted_proxies in the controller's ConfigMap, and is X-Forwarded-For the header it "
        "reads (real-ip-header)?"
    )
    return check(identifier, FAIL, seen, wanted, fix)


def _hsts(text: str) -> List[str]:
    return sorted(part.strip().lower().replace('"', "") for part in text.split(";") if part.strip())


def hsts_check(want: Want, result: Dict[str, Any]) -> Check:
    """The header Strict-Transport-Security of an encrypted answer."""
    found = (result.get("headers") or {}).get("strict-transport-security", "")
    wanted = f"Strict-Transport-Security: {want.hsts}" if want.hsts else "no Strict-Transport-Security"
    if not result.get("answer"):
        return check("edge_hsts", UNKNOWN, _answered(result), wanted, "See the finding edge_https.")
    seen = f"Strict-Transport-Security: {found}" if found else "no Strict-Transport-Security"
    fix = (
        "Are hsts and its companions in the controller's ConfigMap as in ingress_tuning, and does an annotation or the server "
        "itself set the header?"
    )
    return check("edge_hsts", PASS if _hsts(found) == _hsts(want.hsts or "") else FAIL, seen, wanted, fix)


# --- what the module does -------------------------------------------------------------------------------------


def serve(pods: Sequence[Dict[str, Any]], address: str, port: int, lifetime: float) -> Dict[str, Any]:
    """Start the test server in this node's pod."""
    wanted = "a test server in the probe pod on this node"
    pod = own_pod(pods, address)
    if pod is None:
        seen = f"no probe pod runs on the node {address}"
        return {"pid": None, "checks": [check("edge_backend", UNKNOWN, seen, wanted, "See the findings nodes_ready and pods_running.")]}
    process = find_process(pod["uid"])
    if process is None:
        seen = f"no process of pod {pod['name']} ({pod['uid']}) in /proc/*/cgroup"
        return {"pid": None, "checks": [check("edge_backend", UNKNOWN, seen, wanted, "Is this host the node, and does the pod still run?")]}
    try:
        return {"pid": _ingress_backend.start(process, pod, port, lifetime, _ingress_backend.pid_file_of(pod)), "checks": []}
    except PodTrafficError as error:
        fix = "Does something else in the pod use this port, or was the pod replaced?"
        return {"pid": None, "checks": [check("edge_backend", FAIL, str(error), wanted, fix)]}


def _thorough(address: str, want: Want, plain: Dict[str, Any], encrypted: Dict[str, Any]) -> Tuple[List[Check], Dict[str, Any]]:
    """Everything that is tried at one address."""
    checks: List[Check] = []
    measured: Dict[str, Any] = {"client": list(client_of(plain if plain.get("answer") else encrypted))}
    if encrypted.get("answer"):
        measured["tls"] = {"protocol": encrypted["protocol"], "cipher": encrypted["cipher"]}
        if want.tls_protocols:
            answers = _ingress_client.protocols(address, want)
            measured["protocols"] = {version: _tls_hello.words_of(answer) for version, answer in answers.items()}
            checks.append(protocol_check(want, answers))
            version = cipher_version(want)
            if version and want.tls_ciphers:
                found = _ingress_client.ciphers(address, want, version, encrypted["kind"])
                checks.append(cipher_check(want, version, encrypted["kind"], found))
        if want.hsts is not None:
            checks.append(hsts_check(want, encrypted))
    checks += [
        certificate_check(address, want.https_port, item["host"], item["ca"], found)
        for item, found in (
            (item, _ingress_client.chain(address, want.https_port, item["host"], item["ca"], want.timeout)) for item in want.certificates
        )
    ]
    if not (plain.get("answer") or encrypted.get("answer")):
        # each of the rest would say again that nobody answers
        return checks, measured
    over_tls = not plain.get("answer")
    served = _ingress_client.keepalive_patiently(address, want, over_tls)
    measured["requests"] = served["served"]
    checks.append(keepalive_check(want, served))
    if want.keepalive_timeout:
        checks.append(idle_check(want, _ingress_client.idle(address, want, over_tls)))
    asked = encrypted if over_tls else plain
    if want.outside and want.client_address in ("preserved", "replaced"):
        checks.append(client_check(want, asked))
    checks.append(forwarded_check(want, asked, _ingress_client.spoofed(address, want, over_tls)))
    return checks, measured


def request(addresses: Sequence[str], want: Want) -> Dict[str, Any]:
    """HTTP and HTTPS at every address, everything else at the first one."""
    wanted = "an address at which the ingress controller answers"
    if not addresses:
        fix = "`kubectl get svc,pods -A -o wide`: has the controller's Service an EXTERNAL-IP? See the finding edge_address."
        return {"checks": [check("edge_http", UNKNOWN, "no address is known", wanted, fix)], "measured": {}}
    with ThreadPoolExecutor(max_workers=min(16, 2 * len(addresses))) as pool:
        plain = [pool.submit(_ingress_client.http, address, want) for address in addresses]
        encrypted = [pool.submit(_ingress_client.https, address, want) for address in addresses]
        answers = [(address, one.result(), two.result()) for address, one, two in zip(addresses, plain, encrypted)]
    checks: List[Check] = []
    for address, one, two in answers:
        place = f"/{address}" if len(addresses) > 1 else ""
        checks += [http_check(f"edge_http{place}", address, want, one), https_check(f"edge_https{place}", address, want, two)]
    more, measured = _thorough(*answers[0][:1], want, *answers[0][1:])
    return {"checks": checks + more, "measured": {"address": addresses[0], **measured}}
