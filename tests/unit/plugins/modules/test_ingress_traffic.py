# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests through an ingress controller: findings from tables, then a real NGINX between real network namespaces."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _ingress_backend, _ingress_client, _ingress_traffic, _pod_server
from ansible_collections.baremetal.kubernetes.plugins.modules import ingress_traffic

_SPEC = importlib.util.spec_from_file_location("ingress_in_namespaces", Path(__file__).with_name("ingress_in_namespaces.py"))
spaces = importlib.util.module_from_spec(_SPEC)
sys.modules.setdefault("ingress_in_namespaces", spaces)
_SPEC.loader.exec_module(spaces)
want, VIP, CLIENT, RSA = spaces.want, spaces.VIP, spaces.CLIENT, spaces.RSA


# --- findings from tables


def answer(real=CLIENT, chain=CLIENT, local=CLIENT, **more):
    """An answer of our server through the controller."""
    headers = {name: value for name, value in (("x-real-ip", real), ("x-forwarded-for", chain)) if value is not None}
    return {"status": 200, "headers": {}, "answer": {"node": "w1", "headers": headers}, "closes": False, "local": local, "ms": 1.0, **more}


NOBODY = {"error": "connection refused", "ms": 0.1}
NOT_FOUND = {"status": 404, "headers": {"server": "nginx"}, "answer": None, "closes": False, "local": CLIENT, "ms": 1.0}
MOVED = {**NOT_FOUND, "status": 308, "headers": {"location": f"https://{spaces.PLAIN}/verify"}}


@pytest.mark.parametrize(
    "result, status, seen, fix",
    [
        (answer(), "pass", "answered by the pod on node w1 in 1 ms", ""),
        (MOVED, "pass", "status 308 by an unnamed server, to https://plain.", ""),
        (NOBODY, "fail", "connection refused", "Does somebody announce 10.9.0.1"),
        (NOT_FOUND, "fail", "status 404 by nginx", "its IngressClass"),
        ({**NOT_FOUND, "status": 200}, "fail", "status 200 by nginx", "Who answers there?"),
        ({**MOVED, "headers": {"location": "http://elsewhere.test"}}, "fail", "to http://elsewhere.test", "Who answers there?"),
    ],
)
def test_plain_requests(result, status, seen, fix):
    check = _ingress_traffic.http_check("edge_http", VIP, want(), result)
    assert (check["status"], seen in check["observed"], fix in check["fix"]) == (status, True, True)


SECURED = {"protocol": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "kind": "rsa"}


@pytest.mark.parametrize(
    "result, status, seen, fix",
    [
        (
            answer(**SECURED, verified=True, problem="", self_signed=False),
            "pass",
            "TLSv1.3 with TLS_AES_128_GCM_SHA256, chain verified",
            "",
        ),
        (
            answer(**SECURED, verified=False, problem="self-signed certificate", self_signed=True),
            "warn",
            "not trusted: self-signed",
            "It is self-signed",
        ),
        (
            answer(**SECURED, verified=False, problem="unable to get local issuer certificate", self_signed=False),
            "fail",
            "unable to get",
            "intermediates",
        ),
        (answer(**SECURED, verified=None, problem="no answer in time", self_signed=False), "unknown", "not looked at", "again"),
        ({"error": "tlsv1 unrecognized name", "ms": 1.0}, "fail", "unrecognized name", "Has the controller a certificate for verify."),
        (NOT_FOUND, "fail", "status 404", "IngressClass"),
    ],
)
def test_encrypted_requests(result, status, seen, fix):
    check = _ingress_traffic.https_check("edge_https", VIP, want(), result)
    assert (check["status"], seen in check["observed"], fix in check["fix"]) == (status, True, True)


def test_the_certificate_of_the_ingress_may_come_after_its_way(monkeypatch):
    class Connection:
        local = CLIENT

        def __init__(self, *dummy):
            self.socket = self

        def __enter__(self):
            return self

        def __exit__(self, *dummy):
            return None

        def version(self):
            return "TLSv1.3"

        def cipher(self):
            return ("TLS_AES_128_GCM_SHA256",)

        def getpeercert(self, dummy):
            return b""

        def ask(self, dummy):
            return answer()

    default = {"verified": False, "problem": "self-signed certificate", "self_signed": True}
    own = {"verified": True, "problem": "", "self_signed": False, "days": 2.0}
    shown = [default, default, own]
    monkeypatch.setattr(_ingress_client, "Connection", Connection)
    monkeypatch.setattr(_ingress_client, "context", lambda *dummy: None)
    monkeypatch.setattr(_ingress_client, "chain", lambda *dummy: shown.pop(0))
    monkeypatch.setattr(_ingress_client.time, "sleep", lambda dummy: None)
    assert _ingress_client.https(VIP, want(ca="PEM", wait_seconds=60))["verified"] is True
    # without an authority nothing says that another one will come
    shown = [default, own]
    assert _ingress_client.https(VIP, want(wait_seconds=60))["verified"] is False


def version(number, suite=0xC02F):
    return {"version": number, "suite": suite}


REFUSED = {"alert": 70}
AS_WANTED = {"SSLv3": {"alert": 40}, "TLSv1": REFUSED, "TLSv1.1": REFUSED, "TLSv1.2": version(0x303), "TLSv1.3": version(0x304, 0x1301)}


@pytest.mark.parametrize(
    "changes, status, fix",
    [
        ({}, "pass", ""),
        ({"TLSv1.1": version(0x302)}, "fail", "TLSv1.1 must not be negotiated"),
        ({"TLSv1.3": REFUSED}, "fail", "TLSv1.3 must be negotiated"),
        # takes a lower version than the one that was offered: that one is not spoken
        ({"TLSv1.3": version(0x303)}, "fail", "TLSv1.3 must be negotiated"),
        ({"TLSv1.1": version(0x301)}, "pass", ""),
        ({"TLSv1": {"error": "closed without an answer"}}, "unknown", "TLSv1 cannot be told"),
        # "no certificate for this name" says nothing about the version
        ({"TLSv1": {"alert": 112}}, "unknown", "TLSv1 cannot be told"),
        ({"TLSv1": {"error": "x"}, "TLSv1.1": version(0x302)}, "fail", "TLSv1.1 must not"),
    ],
)
def test_versions(changes, status, fix):
    check = _ingress_traffic.protocol_check(want(), {**AS_WANTED, **changes})
    assert (check["status"], fix in check["fix"]) == (status, True), check


BOTH = {RSA[0]: version(0x303, 0xC02F), RSA[1]: version(0x303, 0xC030)}
END = {"alert": 40}


@pytest.mark.parametrize(
    "settings, result, status, words",
    [
        ({}, {"offered": BOTH, "others": [], "end": END}, "pass", "all others refused"),
        ({}, {"offered": BOTH, "others": ["AES128-SHA"], "end": END}, "fail", "negotiated too AES128-SHA"),
        ({}, {"offered": {**BOTH, RSA[1]: END}, "others": [], "end": END}, "fail", f"{RSA[1]}: refused (handshake_failure)"),
        # another suite than the one that was offered
        (
            {},
            {"offered": {**BOTH, RSA[1]: version(0x303, 0xC02F)}, "others": [], "end": END},
            "unknown",
            f"{RSA[1]}: TLSv1.2 with {RSA[0]}",
        ),
        ({}, {"offered": {**BOTH, RSA[1]: {"error": "closed"}}, "others": [], "end": END}, "unknown", "closed"),
        ({}, {"offered": BOTH, "others": [], "end": {"error": "no answer within 3 s"}}, "unknown", "no answer within 3 s"),
        ({}, {"offered": {}, "others": [], "end": END}, "unknown", "negotiated none"),
        (
            {"tls_ciphers": [*RSA, "ECDHE-ECDSA-AES128-GCM-SHA256"]},
            {"offered": BOTH, "others": [], "end": END},
            "pass",
            "not tried ECDHE-ECDSA",
        ),
        ({"tls_ciphers": [*RSA, "HIGH"]}, {"offered": BOTH, "others": [], "end": END}, "unknown", "HIGH: not a suite"),
    ],
)
def test_ciphers(settings, result, status, words):
    check = _ingress_traffic.cipher_check(want(**settings), "TLSv1.2", "rsa", result)
    assert (check["status"], words in check["observed"]) == (status, True), check


def test_ciphers_are_those_of_the_highest_version_that_has_them():
    assert [
        _ingress_traffic.cipher_version(want(tls_protocols=names)) for names in (["TLSv1.3"], ["TLSv1.3", "TLSv1", "TLSv1.2"], ["TLSv1.1"])
    ] == [
        "",
        "TLSv1.2",
        "TLSv1.1",
    ]


def served(count, closed=False, error=""):
    return {"served": count, "closed": closed, "error": error}


@pytest.mark.parametrize(
    "settings, result, status",
    [
        ({}, served(20, True), "pass"),
        ({}, served(20), "fail"),
        ({}, served(19, True), "fail"),
        ({}, served(1, True), "fail"),
        ({}, served(5, error="connection reset by peer"), "fail"),
        ({"keepalive_requests": None}, served(2), "pass"),
        ({"keepalive_requests": None}, served(1, True), "fail"),
        # too many to send: only a lower bound
        ({"keepalive_requests": 5000, "request_limit": 100}, served(100), "pass"),
        ({"keepalive_requests": 5000, "request_limit": 100}, served(99, True), "fail"),
        ({"keepalive_requests": 1}, served(1, True), "pass"),
        ({"keepalive_timeout": 0.0}, served(1, True), "pass"),
        ({"keepalive_timeout": 0.0}, served(2), "fail"),
        ({"keepalive_timeout": 0.0}, served(0, error="x"), "unknown"),
    ],
)
def test_requests_on_one_connection(settings, result, status):
    assert _ingress_traffic.keepalive_check(want(**settings), result)["status"] == status


def test_keep_alive_that_is_off_is_told():
    assert _ingress_traffic.keepalive_check(want(), served(1, True))["fix"].startswith("Keep-alive is off: each connection is closed")


def kept(seconds, closed, measured=True, told=None, error=""):
    return {"kept": seconds, "closed": closed, "measured": measured, "told": told, "error": error}


@pytest.mark.parametrize(
    "timeout, result, status",
    [
        (10, kept(10.0, True), "pass"),
        (10, kept(12.9, True), "pass"),
        (10, kept(8.9, True), "fail"),
        (10, kept(13.0, False), "fail"),
        (10, kept(10.0, True, told=10), "pass"),
        (10, kept(10.0, True, told=9), "fail"),
        (75, kept(5.0, False, measured=False), "pass"),
        (75, kept(2.0, True, measured=False), "fail"),
        (75, kept(5.0, False, measured=False, told=60), "fail"),
        (75, kept(0.0, False, measured=False, error="connection refused"), "unknown"),
    ],
)
def test_idle_connections(timeout, result, status):
    assert _ingress_traffic.idle_check(want(keepalive_timeout=float(timeout)), result)["status"] == status


@pytest.mark.parametrize(
    "wanted, result, status",
    [
        ("preserved", answer(), "pass"),
        ("preserved", answer(real="10.9.1.1"), "fail"),
        ("replaced", answer(real="10.9.1.1"), "pass"),
        ("replaced", answer(), "warn"),
        ("preserved", answer(real=None), "pass"),
        ("preserved", answer(real=None, chain=f"192.0.2.9, {CLIENT}"), "pass"),
        ("preserved", answer(real=None, chain=None), "unknown"),
        ("replaced", answer(real="nonsense", chain=None), "unknown"),
        # as a socket for both families writes it
        ("preserved", answer(local=f"::ffff:{CLIENT}"), "pass"),
        ("preserved", answer(real="2001:db8::1", local="2001:0db8::0001"), "pass"),
    ],
)
def test_the_clients_address(wanted, result, status):
    assert _ingress_traffic.client_check(want(client_address=wanted), result)["status"] == status


FAKE = _ingress_client.SPOOFED


@pytest.mark.parametrize(
    "trusted, chain, result, status",
    [
        ([], "", answer(chain=f"{FAKE}, {CLIENT}"), "pass"),
        ([], "", answer(), "pass"),
        ([], "", answer(real=FAKE), "fail"),
        ([], "", answer(chain=FAKE), "fail"),
        ([], "", answer(real=None, chain=FAKE), "fail"),
        (["10.9.0.0/24"], "", answer(real=FAKE, chain=FAKE), "pass"),
        (["10.9.0.0/24"], "", answer(chain=f"{FAKE}, {CLIENT}"), "fail"),
        (["192.0.2.0/24"], "", answer(real=FAKE, chain=FAKE), "fail"),
        (["2001:db8::/32"], "", answer(), "pass"),
        ([], "", answer(real=None, chain=None), "unknown"),
        ([], "", NOBODY, "unknown"),
        ([], "appended", answer(chain=f"{FAKE}, {CLIENT}"), "pass"),
        ([], "appended", answer(), "fail"),
        ([], "replaced", answer(), "pass"),
        ([], "replaced", answer(chain=f"{FAKE}, {CLIENT}"), "fail"),
    ],
)
def test_who_may_say_who_the_client_is(trusted, chain, result, status):
    check = _ingress_traffic.forwarded_check(want(trusted_proxies=trusted, forwarded_for=chain), answer(), result)
    assert check["status"] == status, check


def test_without_a_known_client_nobody_is_trusted_or_not():
    check = _ingress_traffic.forwarded_check(want(), answer(real=None, chain=None), answer(chain=f"{FAKE}, {CLIENT}"))
    assert check["status"] == "unknown"


@pytest.mark.parametrize(
    "wanted, header, status",
    [
        ("max-age=31536000; includeSubDomains", "max-age=31536000; includeSubDomains", "pass"),
        ("max-age=31536000; includeSubDomains", "includesubdomains;max-age=31536000", "pass"),
        ("max-age=31536000; includeSubDomains", "max-age=31536000", "fail"),
        ("max-age=31536000", None, "fail"),
        ("", None, "pass"),
        ("", "max-age=0", "fail"),
    ],
)
def test_hsts(wanted, header, status):
    headers = {} if header is None else {"strict-transport-security": header}
    assert _ingress_traffic.hsts_check(want(hsts=wanted), {**answer(), "headers": headers})["status"] == status


def test_hsts_of_no_answer():
    assert _ingress_traffic.hsts_check(want(hsts=""), NOT_FOUND)["status"] == "unknown"


@pytest.mark.parametrize(
    "result, status",
    [
        ({"verified": True, "problem": "", "self_signed": False, "days": 60.0}, "pass"),
        ({"verified": True, "problem": "", "self_signed": False, "days": 13.9}, "warn"),
        ({"verified": False, "problem": "certificate has expired", "self_signed": False}, "fail"),
        # what a controller shows for a name whose certificate was not issued
        ({"verified": False, "problem": "self-signed certificate", "self_signed": True}, "fail"),
        ({"verified": None, "problem": "connection refused", "self_signed": False}, "unknown"),
    ],
)
def test_certificates_of_the_users_own(result, status):
    check = _ingress_traffic.certificate_check(VIP, 443, "www.example.org", "", result)
    assert (check["id"], check["status"]) == ("edge_certificate/www.example.org", status)


def test_no_address_is_no_pass():
    result = _ingress_traffic.request([], want())
    assert [(check["id"], check["status"]) for check in result["checks"]] == [("edge_http", "unknown")]


# --- a real NGINX


@pytest.fixture(name="edge", scope="module")
def fixture_edge(tmp_path_factory):
    yield from spaces.edge_in(tmp_path_factory.mktemp("edge"))


def ask(edge, part="client", addresses=(VIP,), **changes):
    """{id: check} of the requests of a client."""
    wanted = want(**{"ca": edge.ca, **changes})
    result = edge.inside(lambda: _ingress_traffic.request(list(addresses), wanted), part)
    return {check["id"]: check for check in result["checks"]}, result["measured"]


def statuses(checks):
    return {identifier: check["status"] for identifier, check in checks.items() if check["status"] != "pass"}


ALL = [
    "edge_http",
    "edge_https",
    "edge_tls_protocol",
    "edge_tls_cipher",
    "edge_hsts",
    "edge_keepalive",
    "edge_keepalive_idle",
    "edge_client_address",
    "edge_forwarded",
]


def test_everything_as_tuned(edge):
    edge.start()
    checks, measured = ask(edge)
    assert list(checks) == ALL
    assert statuses(checks) == {}
    assert (measured["requests"], measured["client"]) == (20, [CLIENT, CLIENT])
    assert "chain verified" in checks["edge_https"]["observed"]


def test_a_version_that_should_not_be_spoken(edge):
    edge.start(protocols="TLSv1.1 TLSv1.2 TLSv1.3", ciphers=":".join([*RSA, "ECDHE-RSA-AES128-SHA", "@SECLEVEL=0"]))
    checks, dummy = ask(edge)
    assert statuses(checks) == {"edge_tls_protocol": "fail", "edge_tls_cipher": "fail"}
    assert "TLSv1.1: TLSv1.1 with ECDHE-RSA-AES128-SHA" in checks["edge_tls_protocol"]["observed"]
    assert "negotiated too ECDHE-RSA-AES128-SHA;" in checks["edge_tls_cipher"]["observed"] + ";"
    # the same, when it is wanted
    checks, dummy = ask(edge, tls_protocols=["TLSv1.1", "TLSv1.2", "TLSv1.3"], tls_ciphers=[*RSA, "ECDHE-RSA-AES128-SHA"])
    assert statuses(checks) == {}


def test_a_version_that_should_be_spoken(edge):
    edge.start(protocols="TLSv1.2")
    checks, dummy = ask(edge)
    assert statuses(checks) == {"edge_tls_protocol": "fail"}
    assert "TLSv1.3: refused (protocol_version)" in checks["edge_tls_protocol"]["observed"]


def test_a_suite_that_is_missing(edge):
    edge.start(ciphers=RSA[0])
    checks, dummy = ask(edge)
    assert statuses(checks) == {"edge_tls_cipher": "fail"}
    assert f"{RSA[1]}: refused (handshake_failure)" in checks["edge_tls_cipher"]["observed"]


def test_the_newest_version_alone_has_no_suites_to_try(edge):
    edge.start(protocols="TLSv1.3")
    checks, dummy = ask(edge, tls_protocols=["TLSv1.3"])
    assert ("edge_tls_cipher" in checks, statuses(checks)) == (False, {})


def test_an_ecdsa_certificate_takes_suites_of_its_kind(edge):
    names = ["ECDHE-ECDSA-AES128-GCM-SHA256", *RSA]
    edge.certificate("ecdsa")
    try:
        edge.start(ciphers=":".join(names))
        checks, dummy = ask(edge, tls_ciphers=names)
        assert statuses(checks) == {}
        assert checks["edge_tls_cipher"]["observed"].startswith("negotiated ECDHE-ECDSA-AES128-GCM-SHA256; not tried ECDHE-RSA")
    finally:
        edge.certificate()


def test_keep_alive_that_is_off(edge):
    edge.start(keepalive_timeout="0")
    checks, measured = ask(edge)
    assert statuses(checks) == {"edge_keepalive": "fail", "edge_keepalive_idle": "fail"}
    assert "Keep-alive is off" in checks["edge_keepalive"]["fix"]
    assert measured["requests"] == 1
    # and when that is wanted
    assert statuses(ask(edge, keepalive_timeout=0.0)[0]) == {}


def test_other_numbers_of_requests(edge):
    edge.start(keepalive_requests="7")
    assert "7 requests answered on one connection, then closed" in ask(edge)[0]["edge_keepalive"]["observed"]
    assert statuses(ask(edge, keepalive_requests=7)[0]) == {}
    assert statuses(ask(edge, keepalive_requests=6)[0]) == {"edge_keepalive": "fail"}


def test_an_idle_connection_is_closed_in_time(edge):
    edge.start(keepalive_timeout="2s")
    assert statuses(ask(edge, keepalive_timeout=2.0, idle_limit=3.0)[0]) == {}
    assert statuses(ask(edge, idle_limit=3.0)[0]) == {"edge_keepalive_idle": "fail"}
    edge.start(keepalive_timeout="75s 60s")
    assert statuses(ask(edge)[0]) == {"edge_keepalive_idle": "fail"}


def test_a_client_that_lies(edge):
    everybody = "set_real_ip_from 0.0.0.0/0; real_ip_header X-Forwarded-For; real_ip_recursive on;"
    edge.start(more=everybody)
    checks, dummy = ask(edge)
    assert statuses(checks) == {"edge_forwarded": "fail"}
    assert "Any client can give itself any address" in checks["edge_forwarded"]["fix"]
    edge.start(more=everybody.replace("0.0.0.0/0", f"{CLIENT}/32"))
    assert statuses(ask(edge, trusted_proxies=[f"{CLIENT}/32"])[0]) == {}
    # a proxy in front that is not believed is a fault too
    edge.start()
    assert statuses(ask(edge, trusted_proxies=[f"{CLIENT}/32"])[0]) == {"edge_forwarded": "fail"}
    edge.start(forwarded="$remote_addr")
    assert statuses(ask(edge)[0]) == {"edge_forwarded": "fail"}
    assert statuses(ask(edge, forwarded_for="replaced")[0]) == {}


def test_an_address_that_is_replaced_on_the_way(edge):
    edge.start()
    rules = "table ip verify_nat { chain post { type nat hook input priority 100; ip saddr 10.9.0.2 tcp dport { 80, 443 } snat to 10.9.0.3; }; }"
    if edge.inside(lambda: os.spawnvp(os.P_WAIT, "nft", ["nft", rules]), "node"):
        pytest.skip("this kernel has no NAT of nftables")
    try:
        assert statuses(ask(edge)[0]) == {"edge_client_address": "fail"}
        assert statuses(ask(edge, client_address="replaced")[0]) == {}
        # a node of the cluster proves neither
        assert "edge_client_address" not in ask(edge, outside=False)[0]
    finally:
        edge.inside(lambda: os.spawnvp(os.P_WAIT, "nft", ["nft", "delete table ip verify_nat"]), "node")


def test_no_hsts(edge):
    edge.start(hsts="")
    assert statuses(ask(edge)[0]) == {"edge_hsts": "fail"}
    assert statuses(ask(edge, hsts="")[0]) == {}
    assert "edge_hsts" not in ask(edge, hsts=None)[0]


def test_whom_a_certificate_is_trusted_by(edge):
    edge.start()
    ca = edge.ca
    edge.certificate()
    # of another authority with the same name
    checks, dummy = ask(edge)
    assert statuses(checks) == {"edge_https": "fail"}
    # of nobody whom this host knows: it is no self-signed one, but comes without its authority
    assert statuses(ask(edge, ca="")[0]) == {"edge_https": "fail"}
    edge.ca = ca
    names = [{"host": spaces.HOST, "ca": ca}, {"host": "www.example.org", "ca": ca}]
    checks, dummy = ask(edge, certificates=names)
    # right authority, but two days are too few; wrong name
    assert statuses(checks) == {f"edge_certificate/{spaces.HOST}": "warn", "edge_certificate/www.example.org": "fail"}


def test_a_self_signed_certificate_is_a_warning(edge):
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        str(edge.folder / "tls.key"),
        "-out",
        str(edge.folder / "tls.pem"),
    ]
    command += ["-days", "2", "-subj", "/CN=Fake", "-addext", f"subjectAltName=DNS:{spaces.HOST}"]
    assert os.spawnvp(os.P_WAIT, "openssl", command) == 0
    try:
        edge.start()
        checks, dummy = ask(edge, ca="")
        assert statuses(checks) == {"edge_https": "warn"}
        assert "It is self-signed, as a controller's own default certificate is" in checks["edge_https"]["fix"]
        # the Ingress has a certificate of its own, which is not the one that is shown
        assert statuses(ask(edge)[0]) == {"edge_https": "fail"}
    finally:
        edge.certificate()


def test_two_addresses_of_which_one_is_silent(edge):
    edge.start()
    checks, measured = ask(edge, addresses=(VIP, "10.9.0.99"), timeout=1.0)
    assert statuses(checks) == {"edge_http/10.9.0.99": "fail", "edge_https/10.9.0.99": "fail"}
    assert measured["address"] == VIP


def test_a_controller_that_does_not_run(edge):
    edge.stop()
    checks, dummy = ask(edge)
    assert {identifier: check["status"] for identifier, check in checks.items()} == {"edge_http": "fail", "edge_https": "fail"}
    assert "Does somebody announce" in checks["edge_http"]["fix"]


def test_a_server_that_does_not_run(edge):
    edge.start(backend="10.9.1.99")
    checks, dummy = ask(edge, timeout=1.0)
    assert set(statuses(checks).items()) >= {("edge_http", "fail"), ("edge_https", "fail")}


def test_only_https_is_answered(edge):
    """A controller that sends all plain requests to HTTPS is tried there."""
    edge.start(plain="nobody.test", more=f"server {{ listen {VIP}:80; server_name {spaces.PLAIN}; return 308 https://$host$request_uri; }}")
    checks, measured = ask(edge)
    assert (statuses(checks), measured["requests"]) == ({}, 20)


# --- the server in the pod


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_the_server_ends_by_itself(edge, tmp_path):
    pid = _ingress_backend.start(edge.sleeper.pid, {**spaces.POD, "uid": "x"}, 8099, 1, str(tmp_path / "pid"))
    end = time.monotonic() + 15
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert (alive(pid), (tmp_path / "pid").exists()) == (False, False)


def test_the_server_ends_with_its_pod(edge, tmp_path):
    watched = os.spawnvp(os.P_NOWAIT, "ip", ["ip", "netns", "exec", edge.names["pod"], "sleep", "60"])
    time.sleep(0.5)
    pid = _ingress_backend.start(watched, {**spaces.POD, "uid": "x"}, 8099, 60, str(tmp_path / "pid"))
    assert alive(pid)
    os.kill(watched, signal.SIGKILL)
    os.waitpid(watched, 0)
    end = time.monotonic() + 15
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not alive(pid)


def test_a_second_start_replaces_the_first(edge, tmp_path, monkeypatch):
    monkeypatch.setattr(_ingress_traffic, "find_process", lambda uid: edge.sleeper.pid)
    monkeypatch.setattr(_ingress_backend, "pid_file_of", lambda pod, folder="": str(tmp_path / pod["uid"]))
    pod = {**spaces.POD, "uid": "y"}
    first = _ingress_traffic.serve([pod], spaces.NODE, 8099, 60)
    second = _ingress_traffic.serve([pod], spaces.NODE, 8099, 60)
    assert (first["checks"], second["checks"], alive(first["pid"]), alive(second["pid"])) == ([], [], False, True)
    # a port that somebody else has
    (tmp_path / "y").rename(tmp_path / "aside")
    third = _ingress_traffic.serve([pod], spaces.NODE, 8099, 60)
    assert [(check["id"], check["status"]) for check in third["checks"]] == [("edge_backend", "fail")]
    assert "in use" in third["checks"][0]["observed"].lower()
    assert _pod_server.stop(str(tmp_path / "aside"))


# --- the module


def run(capsys, check_mode=False, **params):
    with patch_module_args({**params, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as exit_:
        ingress_traffic.main()
    return exit_.value.code, json.loads(capsys.readouterr().out)


def test_the_module_reports_and_does_not_fail(capsys):
    code, result = run(capsys, action="request", addresses=["127.0.0.1"], http_port=1, https_port=1, wait_seconds=0, timeout=1)
    assert (code, result["changed"]) == (0, False)
    assert [check["status"] for check in result["checks"]] == ["fail", "fail"]
    code, result = run(capsys, action="serve", pods=[spaces.POD], address="192.0.2.99")
    assert (code, result["pid"], result["checks"][0]["status"]) == (0, None, "unknown")
    code, result = run(capsys, action="serve", pods=[spaces.POD], address=spaces.NODE)
    assert (code, result["pid"], result["checks"][0]["status"]) == (0, None, "unknown")


def test_nothing_is_done_in_check_mode(capsys):
    assert run(capsys, True, action="request", addresses=["127.0.0.1"])[1]["skipped"] is True


@pytest.mark.parametrize(
    "params, words",
    [
        ({"action": "request", "addresses": [], "tls_protocols": ["TLS1.2"]}, "tls_protocols has TLS1.2, but knows SSLv3, TLSv1,"),
        ({"action": "request", "addresses": [], "trusted_proxies": ["everybody"]}, "'everybody' does not appear to be"),
        ({"action": "request", "addresses": [], "ca": "nonsense"}, "ca is no PEM certificate"),
        (
            {"action": "request", "addresses": [], "certificates": [{"host": "a.test", "ca": "x"}]},
            "the certificate of a.test is no PEM certificate",
        ),
        ({"action": "prepare"}, "ingress_class"),
        ({"action": "serve"}, "pods"),
        (
            {
                "action": "prepare",
                "ingress_class": "n",
                "controller_namespace": "n",
                "controller_selector": "n",
                "kubeconfig": "/nonexistent",
            },
            "/nonexistent cannot be used",
        ),
    ],
)
def test_wrong_options_are_named(capsys, params, words):
    code, result = run(capsys, **params)
    assert (code, words in result["msg"]) == (1, True), result
