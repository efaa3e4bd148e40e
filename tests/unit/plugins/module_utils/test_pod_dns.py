# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as an answer of the cluster's DNS."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _pod_dns

NAME = "kubernetes.default.svc.cluster.local"
QUESTION = b"\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01"
ASKED = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + QUESTION
HEAD = b"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00"
RECORD = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x60\x00\x01"
GOOD = HEAD + QUESTION + RECORD


def test_a_question_as_rfc_1035_has_it():
    assert _pod_dns.query(0x1234, NAME, 1) == ASKED
    assert _pod_dns.query(0x1234, NAME + ".", 1) == ASKED


def test_an_answer():
    assert _pod_dns.read_answer(GOOD, ASKED) == ["10.96.0.1"]
    # CoreDNS may send the record's name in full
    assert _pod_dns.read_answer(HEAD + QUESTION + QUESTION[:-4] + RECORD[2:], ASKED) == ["10.96.0.1"]


def test_an_answer_with_an_ipv6_address():
    asked = ASKED[:-3] + b"\x1c\x00\x01"
    record = b"\xc0\x0c\x00\x1c\x00\x01\x00\x00\x00\x05\x00\x10" + bytes.fromhex("fd000000000000000000000000000001")
    assert _pod_dns.read_answer(HEAD + asked[12:] + record, asked) == ["fd00::1"]


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "cut off"),
        (GOOD[:20], "another question"),
        (GOOD[:-1], "cut off"),
        (b"\x43\x21" + GOOD[2:], "no answer to the question"),
        (ASKED, "no answer to the question"),
        (HEAD[:3] + b"\x83" + HEAD[4:] + QUESTION, "NXDOMAIN"),
        (HEAD[:3] + b"\x82" + HEAD[4:] + QUESTION, "SERVFAIL"),
        (HEAD[:3] + b"\x85" + HEAD[4:] + QUESTION, "REFUSED"),
        (HEAD[:7] + b"\x00" + HEAD[8:] + QUESTION, "without an address"),
        (HEAD + QUESTION.replace(b"default", b"DEFAULX") + RECORD, "another question"),
        # a CNAME is no address
        (HEAD + QUESTION + b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x05\x00\x02\xc0\x0c", "without an address"),
    ],
)
def test_what_is_no_answer(data, words):
    with pytest.raises(ValueError, match=words):
        _pod_dns.read_answer(data, ASKED)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=60).map(lambda tail: HEAD + tail),
        st.binary(max_size=20).map(lambda tail: HEAD + QUESTION + tail),
    )
)
def test_no_bytes_whatsoever_become_an_answer_unless_they_are_one(data):
    try:
        found = _pod_dns.read_answer(data, ASKED)
    except ValueError:
        return
    assert data.startswith(HEAD + QUESTION) and found


def rows(udp, tcp, endpoint):
    good, bad = {"addresses": ["10.96.0.1"], "ms": 1.0}, {"error": "no answer within 5 s", "ms": 5000.0}
    return [
        {"id": "dns_service", "address": "10.96.0.10", "port": 53, "UDP": good if udp else bad, "TCP": good if tcp else bad},
        {
            "id": "dns_endpoint/10.244.0.3",
            "address": "10.244.0.3",
            "port": 53,
            "UDP": good if endpoint else bad,
            "TCP": good if endpoint else bad,
        },
    ]


@pytest.mark.parametrize(
    "row, statuses, fix",
    [
        ((True, True, True), ["pass", "pass"], ""),
        ((False, True, True), ["fail", "pass"], "The servers answer by themselves"),
        ((True, False, True), ["fail", "pass"], "The servers answer by themselves"),
        ((True, True, False), ["pass", "fail"], ""),
        ((False, False, False), ["fail", "fail"], "See the findings pod_to_pod"),
    ],
)
def test_findings(row, statuses, fix):
    checks = _pod_dns.dns_checks(rows(*row), NAME)
    assert [check["status"] for check in checks] == statuses
    assert checks[0]["fix"].startswith(fix)


def test_a_server_that_has_just_started(monkeypatch):
    monkeypatch.setattr(_pod_dns.time, "sleep", lambda seconds: None)
    asked = []

    def ask(protocol, address, port, name, expected, timeout):
        asked.append((protocol, address, port))
        return {"error": "SERVFAIL", "ms": 1.0} if asked.count(asked[-1]) < 3 else {"addresses": ["10.96.0.1"], "ms": 1.0}

    dns = {"address": "10.96.0.10", "endpoints": [{"address": "10.244.0.3", "port": 1053}], "api_addresses": ["10.96.0.1"]}
    found = _pod_dns.to_servers(dns, NAME, 1, 60, ask)
    assert [check["status"] for check in _pod_dns.dns_checks(found, NAME)] == ["pass", "pass"]
    assert set(asked) == {("UDP", "10.96.0.10", 53), ("TCP", "10.96.0.10", 53), ("UDP", "10.244.0.3", 1053), ("TCP", "10.244.0.3", 1053)}
    assert [
        check["status"]
        for check in _pod_dns.dns_checks(_pod_dns.to_servers(dns, NAME, 1, -1, lambda *dummy: {"error": "SERVFAIL", "ms": 1}), NAME)
    ] == [
        "fail",
        "fail",
    ]
