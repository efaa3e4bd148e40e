# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the configuration of NGINX and comparing it with what is wanted."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _netns, _nginx_config
from ansible_collections.baremetal.kubernetes.plugins.module_utils._nginx_config import (
    Directive,
    NginxConfigError,
    differences,
    is_same,
    parse,
)

CONFIG = r"""
# the comment; { is not read
worker_processes  4;   # nor this one
worker_rlimit_nofile 4096;
events { worker_connections 512; multi_accept on; }
http {
    keepalive_timeout 75s;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers 'ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384';
    large_client_header_buffers 4 16k;
    log_format main '$remote_addr "$request" {}; # no comment';
    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    init_by_lua_block {
        local text = "; keepalive_timeout 1s;"
        if true then local t = { a = { 1 } } end
    }
    set_real_ip_from 192.0.2.0/24;
    set_real_ip_from 198.51.100.0/24;
    upstream one { server 10.0.0.1:80; }
    upstream two { server 10.0.0.2:80; keepalive 100; }
    server {
        listen 80;
        server_name a.test;
        proxy_pass http://${one}/x;
        location ~ "^/a{2}$" { client_max_body_size 8m; }
        location / { client_max_body_size 1m; proxy_read_timeout 60s; }
    }
}
stream { server { listen 53; proxy_timeout 1h; } }
"""
FOUND = parse(CONFIG)


@pytest.mark.parametrize(
    "directive",
    [
        Directive((), "worker_processes", ("4",)),
        Directive(("events",), "worker_connections", ("512",)),
        Directive(("http",), "log_format", ("main", '$remote_addr "$request" {}; # no comment')),
        Directive(("http", "map"), "", ("close",)),
        Directive(("http", "server"), "proxy_pass", ("http://${one}/x",)),
        Directive(("http", "server"), "location", ("~", "^/a{2}$")),
        Directive(("http", "server", "location"), "proxy_read_timeout", ("60s",)),
        Directive(("stream", "server"), "proxy_timeout", ("1h",)),
    ],
)
def test_what_stands_where(directive):
    assert directive in FOUND


def test_lua_is_not_read():
    assert [item.values for item in FOUND if item.name == "keepalive_timeout"] == [("75s",)]


@pytest.mark.parametrize("text", ["a", "a {", "a; }", "a { b }", "{ }", "a 'b;", "x_by_lua_block { {", "}"])
def test_what_is_cut_off_is_an_error(text):
    with pytest.raises(NginxConfigError):
        parse(text)


def test_files_that_include_each_other():
    with pytest.raises(NginxConfigError, match="without end"):
        parse("include a;", lambda pattern: ["include a;"])


def test_included_files_stand_in_their_block():
    assert parse("http { include conf.d/*.conf; }", lambda pattern: ["a 1;", f"b {pattern};"])[1:] == [
        Directive(("http",), "a", ("1",)),
        Directive(("http",), "b", ("conf.d/*.conf",)),
    ]


@pytest.mark.parametrize(
    "wanted",
    [
        {"main": {"worker_processes": "4", "worker_rlimit_nofile": 4096}},
        {"events": {"worker_connections": "512"}},
        {"http": {"keepalive_timeout": "75", "ssl_protocols": "TLSv1.3 TLSv1.2", "large_client_header_buffers": "4 16384"}},
        {
            "http": {
                "ssl_ciphers": "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384",
                "set_real_ip_from": ["198.51.100.0/24", "192.0.2.0/24"],
            }
        },
        # in one of the blocks
        {"upstream": {"keepalive": "100"}, "location": {"client_max_body_size": "8192k", "proxy_read_timeout": "1m"}},
        {},
    ],
)
def test_what_is_as_wanted(wanted):
    assert differences(FOUND, wanted) == []


@pytest.mark.parametrize(
    "wanted, sentence",
    [
        ({"main": {"worker_processes": "auto"}}, "worker_processes in main is 4, not auto"),
        # in another block
        ({"main": {"worker_connections": "512"}}, "worker_connections in main is not there, not 512"),
        ({"http": {"client_max_body_size": "1m"}}, "client_max_body_size in http is not there, not 1m"),
        ({"location": {"client_max_body_size": "2m"}}, "client_max_body_size in location is 1m, 8m, not 2m"),
        ({"http": {"ssl_protocols": "TLSv1.2"}}, "ssl_protocols in http is TLSv1.2 TLSv1.3, not TLSv1.2"),
        (
            {"http": {"set_real_ip_from": ["203.0.113.0/24"]}},
            "set_real_ip_from in http is 192.0.2.0/24, 198.51.100.0/24, not 203.0.113.0/24",
        ),
        # a server of stream is no server of http
        ({"server": {"proxy_timeout": "1h"}}, "proxy_timeout in server is not there, not 1h"),
    ],
)
def test_what_is_not_as_wanted(wanted, sentence):
    assert differences(FOUND, wanted) == [sentence]


def test_a_second_value_counts_too():
    assert differences(parse("http { keepalive_timeout 75s; keepalive_timeout 1s; }"), {"http": {"keepalive_timeout": "75s"}})


@pytest.mark.parametrize(
    "name, wanted, values, same",
    [
        ("keepalive_timeout", "75s", ("75",), True),
        ("keepalive_timeout", "75s", ("1m15s",), True),
        ("keepalive_timeout", "75s", ("75s", "60s"), True),
        ("keepalive_timeout", "75s", ("75ms",), False),
        # a minute or a mebibyte
        ("proxy_read_timeout", "1m", ("60",), True),
        ("client_max_body_size", "1m", ("60",), False),
        ("client_max_body_size", "1m", ("1048576",), True),
        ("large_client_header_buffers", "4 16k", ("4", "8k"), False),
        ("worker_processes", "auto", ("auto",), True),
    ],
)
def test_the_same_in_other_words(name, wanted, values, same):
    assert is_same(name, wanted, values) is same


@given(st.text(max_size=200))
def test_no_text_is_as_wanted_or_breaks(text):
    try:
        found = parse(text)
    except NginxConfigError:
        return
    assert differences(found, {"http": {"keepalive_timeout": "75s"}}) != [] or "keepalive_timeout" in text


def test_links_do_not_lead_out_of_the_pod(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    root = tmp_path / "root"
    (root / "etc/nginx/conf.d").mkdir(parents=True)
    (root / "etc/nginx/nginx.conf").write_text("http { include conf.d/*.conf; include /etc/nginx/more; }")
    (root / "etc/nginx/more").write_text("b 2;")
    (root / "etc/nginx/conf.d/a.conf").write_text("a 1;")
    (tmp_path / "secret").write_text("c 3;")
    helper = _nginx_config_reader(root)
    assert helper == [[[], "http", []], [["http"], "a", ["1"]], [["http"], "b", ["2"]]]
    (root / "etc/nginx/more").unlink()
    (root / "etc/nginx/more").symlink_to(tmp_path / "secret")
    with pytest.raises(_netns.PodTrafficError, match="/etc/nginx/more: No such file"):
        _nginx_config_reader(root)


def _nginx_config_reader(root):
    return _netns.Helper(None, lambda: [list(item) for item in _nginx_config.read("/etc/nginx/nginx.conf", str(root))]).result(30)


def test_nginx_reads_the_same(tmp_path):
    """What NGINX prints of a configuration in its own words has the same directives."""
    if not shutil.which("nginx"):
        pytest.skip("needs nginx")
    path = tmp_path / "nginx.conf"
    path.write_text(
        "pid {0}/pid; error_log {0}/error.log; events {{ worker_connections 64; }}\n"
        'http {{ access_log off; keepalive_timeout 10s; map $host $x {{ default "a b"; }}\n'
        'server {{ listen 127.0.0.1:1; location / {{ return 204; }} }} }}\n'.format(
            tmp_path
        )
    )
    done = subprocess.run(
        ["nginx", "-T", "-q", "-p", str(tmp_path), "-c", str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert parse(done.stdout) == parse(path.read_text())
