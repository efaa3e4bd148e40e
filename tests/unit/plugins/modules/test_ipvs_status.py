# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ipvs_status against files of its own and a kube-proxy of its own."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _ipvs
from ansible_collections.baremetal.kubernetes.plugins.modules import ipvs_status

TABLE = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A600001:01BB rr
  -> C000020B:192B      Masq    1      4          0
"""
EXPECT = [{"address": "10.96.0.1", "port": 443, "destinations": ["192.0.2.11:6443"]}]
NOBODY = "http://127.0.0.1:1/proxyMode"


@contextlib.contextmanager
def kube_proxy(answer, status=200):
    """A server that reports a mode; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/proxyMode"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(name="node")
def fixture_node(tmp_path, monkeypatch):
    """A node whose table and sysctls a test can set."""
    table, conf = tmp_path / "ip_vs", tmp_path / "all"
    conf.mkdir()
    table.write_text(TABLE)
    (conf / "arp_ignore").write_text("1\n")
    (conf / "arp_announce").write_text("2\n")
    status = _ipvs.status

    def here(expect, proxy_mode, strict_arp, timeout, url):
        return status(expect, proxy_mode, strict_arp, timeout, url, str(table), str(conf))

    monkeypatch.setattr(_ipvs, "status", here)
    return tmp_path


def run(capsys, check_mode=False, **params):
    """Exit code and result of the module."""
    with patch_module_args({**params, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as exit_:
        ipvs_status.main()
    return exit_.value.code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("check_mode", [False, True])
def test_all_is_well(node, capsys, check_mode):
    with kube_proxy("ipvs") as url:
        for dummy in range(2):
            code, result = run(capsys, check_mode, expect=EXPECT, proxy_mode="ipvs", strict_arp=True, proxy_mode_url=url)
            assert (code, result["changed"], result["verdict"]) == (0, False, "pass")
            assert [(c["id"], c["status"], c["fix"]) for c in result["checks"]] == [
                ("kube_proxy_mode", "pass", ""),
                ("ipvs_table", "pass", ""),
                ("strict_arp", "pass", ""),
            ]
    assert result["proxy_mode"] == "ipvs"
    assert result["sysctls"] == {"arp_ignore": 1, "arp_announce": 2}
    assert (result["missing"], result["unexpected"], result["errors"]) == ([], [], [])


def statuses(result):
    return {c["id"]: c["status"] for c in result["checks"]}


def test_a_missing_backend_fails_with_what_was_seen(node, capsys):
    expect = [{**EXPECT[0], "destinations": ["192.0.2.11:6443", "192.0.2.12:6443"]}]
    dummy, result = run(capsys, expect=expect, proxy_mode_url=NOBODY)
    assert result["verdict"] == "fail"
    assert result["missing"] == ["TCP 10.96.0.1:443 -> 192.0.2.12:6443"]
    assert result["checks"][0]["observed"] == "missing TCP 10.96.0.1:443 -> 192.0.2.12:6443"
    assert result["checks"][0]["wanted"] == "TCP 10.96.0.1:443 -> 192.0.2.11:6443, 192.0.2.12:6443"
    assert "ipvsadm -Ln" in result["checks"][0]["fix"]


def test_a_kernel_without_ip_vs_is_unknown(node, capsys):
    (node / "ip_vs").unlink()
    dummy, result = run(capsys, expect=EXPECT, proxy_mode_url=NOBODY)
    assert (result["running"], result["verdict"]) == (None, "unknown")
    assert "the kernel module ip_vs is not loaded" in result["reason"]


def test_an_unreadable_line_is_unknown_and_not_pass(node, capsys):
    (node / "ip_vs").write_text(TABLE + "TCP  torn\n")
    dummy, result = run(capsys, expect=EXPECT, proxy_mode_url=NOBODY)
    assert result["verdict"] == "unknown"
    assert result["errors"]


@pytest.mark.parametrize(
    ("wanted", "answer", "status"),
    [
        ("ipvs", "iptables", "fail"),
        ("nftables", "nftables", "pass"),
        ("none", "ipvs", "fail"),
        ("ipvs", "<html>", "unknown"),
    ],
)
def test_the_mode(node, capsys, wanted, answer, status):
    with kube_proxy(answer) as url:
        assert statuses(run(capsys, proxy_mode=wanted, proxy_mode_url=url)[1]) == {"kube_proxy_mode": status}


@pytest.mark.parametrize(("wanted", "status"), [("ipvs", "unknown"), ("none", "pass")])
def test_no_kube_proxy_answers(node, capsys, wanted, status):
    dummy, result = run(capsys, proxy_mode=wanted, proxy_mode_url=NOBODY)
    assert statuses(result) == {"kube_proxy_mode": status}
    assert result["proxy_mode"] is None
    assert "no answer" in result["proxy_mode_reason"]


@pytest.mark.parametrize(
    ("wanted", "ipv4", "ipv6", "status", "reason"),
    [
        ("ipvs", "connection refused", "ipvs", "pass", ""),
        ("none", "connection refused", "ipvs", "fail", ""),
        ("none", "connection refused", "connection refused", "pass", "connection refused"),
        # no port there is not the same as no answer here
        ("none", "timed out", "connection refused", "unknown", "timed out"),
    ],
)
def test_kube_proxy_of_an_ipv6_cluster_is_asked_at_its_own_place(node, capsys, monkeypatch, wanted, ipv4, ipv6, status, reason):
    def ask(url, timeout):
        answer = ipv6 if "[::1]" in url else ipv4
        return (answer, "") if answer == "ipvs" else (None, answer)

    monkeypatch.setattr(_ipvs, "ask_proxy_mode", ask)
    dummy, result = run(capsys, proxy_mode=wanted)
    assert statuses(result) == {"kube_proxy_mode": status}
    assert (result["proxy_mode"], result["proxy_mode_reason"]) == (None if reason else "ipvs", reason)


@pytest.mark.parametrize(("text", "status"), [("0\n", "fail"), ("", "unknown")])
def test_strict_arp(node, capsys, text, status):
    (node / "all" / "arp_ignore").write_text(text)
    dummy, result = run(capsys, strict_arp=True, proxy_mode_url=NOBODY)
    assert statuses(result) == {"strict_arp": status}


def test_nothing_asked_is_nothing_known(node, capsys):
    code, result = run(capsys, proxy_mode_url=NOBODY)
    assert (code, result["verdict"], result["checks"]) == (0, "unknown", [])
    assert result["running"] is True


def test_a_bad_address_is_named(node, capsys):
    code, result = run(capsys, expect=[{"address": "10.96.0.1", "port": 443, "destinations": ["cp1:6443"]}], proxy_mode_url=NOBODY)
    assert code == 1
    assert "cp1" in result["msg"]
