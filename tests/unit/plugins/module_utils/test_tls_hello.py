# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first messages of TLS: written for Python's own TLS as the server, read from bytes written by hand."""

from __future__ import annotations

import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _tls_hello
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command
from ansible_collections.baremetal.kubernetes.plugins.module_utils._ingress_probe import make_certificate

NOISE = bytes(range(96))


def hello(version=0x0303, suite=0xC02F, session=b"", extensions=b""):
    """A ServerHello in its record (RFC 5246, section 7.4.1.3)."""
    body = struct.pack("!H", version) + bytes(32) + bytes([len(session)]) + session + struct.pack("!HB", suite, 0)
    if extensions:
        body += struct.pack("!H", len(extensions)) + extensions
    message = b"\x02" + struct.pack("!I", len(body))[1:] + body
    return b"\x16\x03\x03" + struct.pack("!H", len(message)) + message


NEW = b"\x00\x2b\x00\x02\x03\x04"


@pytest.mark.parametrize(
    "data, answer",
    [
        (hello(), {"version": 0x0303, "suite": 0xC02F}),
        (hello(0x0301, 0x002F, bytes(32)), {"version": 0x0301, "suite": 0x002F}),
        # the version of TLS 1.3 is in an extension, and here not the first one
        (hello(0x0303, 0x1301, bytes(32), b"\x00\x33\x00\x01\x00" + NEW), {"version": 0x0304, "suite": 0x1301}),
        (b"\x15\x03\x01\x00\x02\x02\x46", {"alert": 70}),
        (hello() + b"\x15\x03\x03\x00\x02\x02\x28", {"version": 0x0303, "suite": 0xC02F}),
        (b"HTTP/1.1 400 Bad Request\r\n", {"error": "the answer is no TLS"}),
        (b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00", {"error": "the answer is no ServerHello"}),
        (b"\x16\x03\x03\x00\x06\x02\x00\x00\x02\x03\x03", {"error": "a ServerHello that cannot be read"}),
        (b"\x15\x03\x03\x00\x01\x02", {"error": "an alert that cannot be read"}),
        (b"", None),
    ],
)
def test_answers(data, answer):
    assert _tls_hello.read_answer(data) == answer


@pytest.mark.parametrize("size", range(len(hello())))
def test_half_an_answer_is_none(size):
    assert _tls_hello.read_answer(hello()[:size]) is None


def test_a_message_in_two_records():
    whole = hello()[5:]
    parts = [whole[:10], whole[10:]]
    data = b"".join(b"\x16\x03\x03" + struct.pack("!H", len(part)) + part for part in parts)
    assert _tls_hello.read_answer(data) == {"version": 0x0303, "suite": 0xC02F}


@given(st.binary(max_size=300))
def test_no_bytes_are_a_refusal_or_a_version_by_chance(data):
    answer = _tls_hello.read_answer(data)
    for version in _tls_hello.VERSIONS:
        if answer is not None and _tls_hello.takes(answer, version) is not None:
            assert data[0] in (0x15, 0x16) and data[1] == 3


@given(st.binary(max_size=120))
def test_no_server_hello_breaks_the_reader(body):
    message = b"\x02" + struct.pack("!I", len(body))[1:] + body
    _tls_hello.read_answer(b"\x16\x03\x03" + struct.pack("!H", len(message)) + message)


@pytest.mark.parametrize(
    "answer, takes",
    [
        ({"version": 0x0302, "suite": 1}, True),
        ({"version": 0x0301, "suite": 1}, False),
        # more than was offered is not what was offered
        ({"version": 0x0303, "suite": 1}, False),
        ({"alert": 70}, False),
        ({"alert": 40}, False),
        # internal_error, unrecognized_name
        ({"alert": 80}, None),
        ({"alert": 112}, None),
        ({"error": "closed without an answer"}, None),
    ],
)
def test_what_an_answer_says_of_a_version(answer, takes):
    assert _tls_hello.takes(answer, "TLSv1.1") is takes


@pytest.fixture(name="context", scope="module")
def fixture_context(tmp_path_factory):
    """A server's context of Python's own TLS."""
    made = make_certificate("a.test", "rsa", run_command)
    if "error" in made:
        pytest.skip(made["error"])
    path = tmp_path_factory.mktemp("tls") / "tls.pem"
    path.write_text(made["certificate"] + made["key"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def reply(context, data):
    """What this TLS says to these bytes, and the name that it was asked for."""
    names = []
    context.sni_callback = lambda connection, name, dummy: names.append(name)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(data)
    try:
        server.do_handshake()
    except ssl.SSLError:
        # it waits for more, or refused
        pass
    return _tls_hello.read_answer(outgoing.read()), names


@pytest.mark.parametrize(
    "version, suites, expected",
    [
        ("TLSv1.3", [0x1302], {"version": 0x0304, "suite": 0x1302}),
        ("TLSv1.2", [0xC030], {"version": 0x0303, "suite": 0xC030}),
        ("TLSv1.2", [0x000A], {"alert": 40}),
        ("TLSv1", [0xC014], {"alert": 70}),
    ],
)
def test_a_real_server_understands(context, version, suites, expected):
    answer, names = reply(context, _tls_hello.client_hello("a.test", _tls_hello.VERSIONS[version], suites, NOISE))
    assert answer == expected
    assert names in (["a.test"], [])


def test_the_kinds_of_keys():
    for kind in ("rsa", "ecdsa"):
        made = make_certificate("a.test", kind, run_command)
        assert "error" not in made, made
        assert _tls_hello.key_kind(ssl.PEM_cert_to_DER_cert(made["certificate"])) == kind
    assert _tls_hello.key_kind(b"") == ""


def test_suites_have_the_numbers_that_this_openssl_gives_them():
    """Names of OpenSSL here against the numbers of its own list, as far as it has them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    here = {cipher["name"]: cipher["id"] & 0xFFFF for cipher in context.get_ciphers()}
    shared = set(here) & set(_tls_hello.SUITES)
    assert len(shared) > 20
    assert {name: here[name] for name in shared} == {name: _tls_hello.SUITES[name] for name in shared}
    # "any other suite" means all that a certificate can be used with, or none: not those with a shared secret
    plain = {name for name in here if not name.startswith("TLS_") and not any(word in name for word in ("PSK", "SRP", "DSS"))}
    assert plain <= set(_tls_hello.SUITES)
