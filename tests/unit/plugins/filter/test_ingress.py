# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters ingress_settings, _config, _expected, _values, _problems: one vocabulary for two controllers."""

from __future__ import annotations

import jsonschema
import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.filter.ingress_config import ingress_config
from ansible_collections.baremetal.kubernetes.plugins.filter.ingress_directives import ingress_directives
from ansible_collections.baremetal.kubernetes.plugins.filter.ingress_expected import ingress_expected
from ansible_collections.baremetal.kubernetes.plugins.filter.ingress_problems import ingress_problems
from ansible_collections.baremetal.kubernetes.plugins.filter.ingress_settings import ingress_settings
from ansible_collections.baremetal.kubernetes.plugins.filter.ingress_values import ingress_values
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _ingress, _ingress_keys

CONTROLLERS = ("nginx", "ingress-nginx")
PROFILES = ("default", "high-concurrency", "streaming")
GCM = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
CHACHA = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"


def config(controller, profile="default", raw=None, **tuning):
    data = ingress_config(ingress_settings(profile, tuning, controller, raw or {}), controller, raw or {})
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in data.items()), "the ConfigMap takes texts only"
    assert list(data) == sorted(data)
    return data


# --- golden ConfigMaps, worked out by hand from the sources of both controllers

NGINX = {
    "keepalive-timeout": "75s",
    "keepalive-requests": "1000",
    "worker-processes": "auto",
    "worker-connections": "4096",
    "worker-rlimit-nofile": "16384",
    "ssl-protocols": "TLSv1.2 TLSv1.3",
    "ssl-ciphers": f"{GCM}:{CHACHA}",
    "keepalive": "32",
    "proxy-buffering": "true",
    "proxy-read-timeout": "60s",
    "proxy-send-timeout": "60s",
    "client-max-body-size": "1m",
    "http-snippets": "large_client_header_buffers 4 8k;",
}
COMMUNITY = {
    "keep-alive": "75",
    "keep-alive-requests": "1000",
    "worker-processes": "auto",
    "max-worker-connections": "4096",
    "max-worker-open-files": "16384",
    "ssl-protocols": "TLSv1.2 TLSv1.3",
    "ssl-ciphers": f"{GCM}:{CHACHA}",
    "large-client-header-buffers": "4 8k",
    "upstream-keepalive-connections": "32",
    "use-forwarded-headers": "false",
    "compute-full-forwarded-for": "true",
    "hsts": "false",
    "hsts-max-age": "31536000",
    "hsts-include-subdomains": "false",
    "hsts-preload": "false",
    "proxy-buffering": "on",
    "proxy-read-timeout": "60",
    "proxy-send-timeout": "60",
    "proxy-body-size": "1m",
}
GOLDEN = {
    ("nginx", "default"): NGINX,
    ("nginx", "high-concurrency"): {
        **NGINX,
        "worker-connections": "10240",
        "worker-rlimit-nofile": "65536",
        "ssl-ciphers": GCM,
        "keepalive": "100",
        "http-snippets": "large_client_header_buffers 4 16k;",
    },
    ("nginx", "streaming"): {
        **NGINX,
        "worker-connections": "10240",
        "worker-rlimit-nofile": "65536",
        "proxy-buffering": "false",
        "proxy-read-timeout": "3600s",
        "proxy-send-timeout": "3600s",
        "client-max-body-size": "0",
    },
    ("ingress-nginx", "default"): COMMUNITY,
    ("ingress-nginx", "high-concurrency"): {
        **COMMUNITY,
        "max-worker-connections": "10240",
        "max-worker-open-files": "65536",
        "ssl-ciphers": GCM,
        "large-client-header-buffers": "4 16k",
        "upstream-keepalive-connections": "100",
    },
    ("ingress-nginx", "streaming"): {
        **COMMUNITY,
        "max-worker-connections": "10240",
        "max-worker-open-files": "65536",
        "proxy-buffering": "off",
        "proxy-read-timeout": "3600",
        "proxy-send-timeout": "3600",
        "proxy-body-size": "0",
    },
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_the_configmap_of_each_profile(controller, profile):
    assert config(controller, profile) == dict(sorted(GOLDEN[controller, profile].items()))


# --- each option by itself: (value, what differs in F5's ConfigMap, in the community's); "" is what is not there any more

PROXIES = {"use_forwarded_headers": True, "trusted_proxies": ["192.0.2.0/24", "2001:db8::/32"]}
HSTS = {"hsts": True}
OPTIONS = {
    "keepalive_timeout": (120, {"keepalive-timeout": "120s"}, {"keep-alive": "120"}),
    "keepalive_requests": (5, {"keepalive-requests": "5"}, {"keep-alive-requests": "5"}),
    "worker_processes": (8, {"worker-processes": "8"}, {"worker-processes": "8"}),
    "worker_connections": (2048, {"worker-connections": "2048"}, {"max-worker-connections": "2048"}),
    "worker_open_files": (0, {"worker-rlimit-nofile": ""}, {"max-worker-open-files": "0"}),
    "tls_protocols": (["TLSv1.3"], {"ssl-protocols": "TLSv1.3"}, {"ssl-protocols": "TLSv1.3"}),
    "tls_ciphers": (["ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA"], *[{"ssl-ciphers": "ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA"}] * 2),
    "client_header_buffers": (
        "8 32k",
        {"http-snippets": "large_client_header_buffers 8 32k;"},
        {"large-client-header-buffers": "8 32k"},
    ),
    "upstream_keepalive": (7, {"keepalive": "7"}, {"upstream-keepalive-connections": "7"}),
    "use_forwarded_headers": (True, {"real-ip-header": "X-Forwarded-For", "real-ip-recursive": "true"}, {"use-forwarded-headers": "true"}),
    "trusted_proxies": (
        PROXIES["trusted_proxies"],
        {"set-real-ip-from": "192.0.2.0/24,2001:db8::/32"},
        {"proxy-real-ip-cidr": "192.0.2.0/24,2001:db8::/32"},
    ),
    # F5's controller always does it; false is refused
    "full_forwarded_for": (False, {}, {"compute-full-forwarded-for": "false"}),
    "hsts": (
        True,
        {
            "http-snippets": "large_client_header_buffers 4 8k;\n"
            'map $https $baremetal_hsts { default ""; on "max-age=31536000"; }\n'
            "add_header Strict-Transport-Security $baremetal_hsts always;\n"
            "proxy_hide_header Strict-Transport-Security;"
        },
        {"hsts": "true"},
    ),
    "hsts_max_age": (600, "max-age=600", {"hsts-max-age": "600"}),
    "hsts_include_subdomains": (True, "max-age=31536000; includeSubDomains", {"hsts-include-subdomains": "true"}),
    "hsts_preload": (
        True,
        {
            "hsts": "true",
            "hsts-max-age": "31536000",
            "hsts-include-subdomains": "false",
            "http-snippets": "large_client_header_buffers 4 8k;",
        },
        {"hsts-preload": "true"},
    ),
    "proxy_buffering": (False, {"proxy-buffering": "false"}, {"proxy-buffering": "off"}),
    "proxy_read_timeout": (90, {"proxy-read-timeout": "90s"}, {"proxy-read-timeout": "90"}),
    "proxy_send_timeout": (91, {"proxy-send-timeout": "91s"}, {"proxy-send-timeout": "91"}),
    "client_max_body_size": ("20m", {"client-max-body-size": "20m"}, {"proxy-body-size": "20m"}),
}


def test_no_option_is_without_its_own_line_here():
    assert list(OPTIONS) == list(_ingress.OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("number", [0, 1], ids=CONTROLLERS)
def test_each_option(number, name):
    controller, value, wanted = CONTROLLERS[number], OPTIONS[name][0], OPTIONS[name][1 + number]
    # options of HSTS have an effect only with it
    around = HSTS if name.startswith("hsts_") else {}
    before, after = config(controller, **around), config(controller, **around, **{name: value})
    changed = {key: after.get(key, "") for key in {*before, *after} if before.get(key) != after.get(key)}
    if isinstance(wanted, str):
        assert list(changed) == ["http-snippets"] and f'on "{wanted}";' in changed["http-snippets"]
    else:
        assert changed == wanted
        assert wanted or _ingress.ALWAYS[controller, name] is not value


def test_texts_of_the_command_line_are_numbers():
    found = ingress_settings(
        "default", {"keepalive_timeout": "30", "hsts": "true", "worker_processes": "4", "client_max_body_size": 0}, "nginx"
    )
    assert (found["keepalive_timeout"], found["hsts"], found["worker_processes"], found["client_max_body_size"]) == (30, True, 4, "0")


# --- keys of the controllers


def test_the_key_lists():
    assert len(_ingress_keys.INGRESS_NGINX) == 176 + 19 and len(_ingress_keys.INGRESS_NGINX_STALE) == 14
    assert {"keepalive", "hsts", "http2", "worker-connections", "set-real-ip-from"} <= _ingress_keys.NGINX
    assert "worker-connections" not in _ingress_keys.INGRESS_NGINX
    assert not _ingress_keys.NGINX & _ingress_keys.NGINX_PLUS and not _ingress_keys.INGRESS_NGINX & _ingress_keys.INGRESS_NGINX_STALE
    for controller in CONTROLLERS:
        for profile in PROFILES:
            assert set(GOLDEN[controller, profile]) <= _ingress.KEYS[controller]
        assert {key for key, _form in _ingress.MAPPED[controller].values()} <= _ingress.KEYS[controller]


@pytest.mark.parametrize(
    ("controller", "raw", "wanted"),
    [
        # both say it: the raw key counts last, once and in one form
        ("nginx", {"keepalive-timeout": "2m"}, {"keepalive-timeout": "120s"}),
        ("ingress-nginx", {"keep-alive": 120}, {"keep-alive": "120"}),
        ("ingress-nginx", {"proxy-buffering": "off"}, {"proxy-buffering": "off"}),
        ("ingress-nginx", {"max-worker-connections": "8192"}, {"max-worker-connections": "8192"}),
        ("nginx", {"ssl-ciphers": "AES128-SHA"}, {"ssl-ciphers": "AES128-SHA"}),
        # others are only handed over
        ("nginx", {"http2": True, "server-names-hash-max-size": 2048}, {"http2": "true", "server-names-hash-max-size": "2048"}),
        ("ingress-nginx", {"use-gzip": True}, {"use-gzip": "true"}),
        # the user's lines stand after ours
        ("nginx", {"http-snippets": "gzip on;\n"}, {"http-snippets": "large_client_header_buffers 4 8k;\ngzip on;"}),
        # F5's own key always says preload
        ("nginx", {"hsts": "true"}, {"hsts": "true", "hsts-max-age": "31536000", "hsts-include-subdomains": "false"}),
    ],
)
def test_raw_keys_count_last(controller, raw, wanted):
    before, after = config(controller), config(controller, raw=raw)
    assert {key: after[key] for key in after if before.get(key) != after[key] or key in wanted} == wanted


def test_a_raw_key_is_part_of_what_is_measured():
    found = ingress_settings("default", {}, "ingress-nginx", {"keep-alive": "30", "ssl-protocols": "TLSv1.3", "hsts": True})
    assert (found["keepalive_timeout"], found["tls_protocols"], found["hsts"]) == (30, ["TLSv1.3"], True)
    for raw, message in (
        ({"keep-alive": "soon"}, "not a time"),
        ({"hsts": "maybe"}, "neither true nor false"),
        ({"keep-alive": []}, "neither a text"),
    ):
        with pytest.raises(AnsibleFilterError, match=message):
            ingress_settings("default", {}, "ingress-nginx", raw)


@pytest.mark.parametrize(("text", "number"), [("75", 75), ("75s", 75), ("1m15s", 75), ("1h 30m", 5400), ("2d", 172800), ("1w", 604800)])
def test_times(text, number):
    assert _ingress.seconds(text) == number


@given(st.text(max_size=12))
def test_no_other_text_is_a_time(text):
    try:
        number = _ingress.seconds(text)
    except ValueError:
        return
    assert number >= 0 and text[0].isdigit()


# --- what is told about settings

FACTS = {
    "controller": "nginx",
    "profile": "default",
    "tuning": {},
    "config": {},
    "exposure": "load_balancer",
    "external_traffic_policy": "Local",
    "addresses": [],
    "load_balancer": "metallb",
    "load_balancer_class": "",
    "load_balancer_ranges": ["203.0.113.0/26"],
    "kind": "",
    "replicas": 0,
    "nodes": 3,
    "node_ips": ["192.0.2.11", "192.0.2.12"],
    "ip_version": 4,
    "kubernetes_minor": 35,
    "artifacts": "repository",
    "class_name": "nginx",
    "class_default": True,
    "default_certificate": "default/wildcard",
    "certificate": "",
    "certificate_key_given": False,
    "default_secret": "default/wildcard",
    "gateway_api": False,
    "gateway_api_checksum": "0" * 64,
    "extra": {},
}
PEM = "-----BEGIN CERTIFICATE-----\n"


def test_nothing_to_say():
    assert ingress_problems(FACTS) == [] == ingress_problems(FACTS, "notice")


IN_COMMUNITY = {"controller": "ingress-nginx"}
PROBLEMS = [
    ({"controller": "traefik"}, ["'traefik'", "must be none, nginx or ingress-nginx"]),
    ({"kubernetes_minor": 24}, ["1.24", "1.25 or newer"]),
    ({**IN_COMMUNITY, "kubernetes_minor": 20}, ["1.20", "1.21 or newer"]),
    ({"profile": "fast"}, ["ingress_profile is 'fast'", "default, high-concurrency or streaming"]),
    ({"tuning": []}, ["ingress_tuning is []", "must be a dict"]),
    ({"tuning": {"keep_alive_timeout": 5}}, ["no option 'keep_alive_timeout'", "nearest is keepalive_timeout"]),
    ({"tuning": {"keepalive_timeout": -1}}, ["keepalive_timeout is -1", "from 0 to 86400"]),
    ({"tuning": {"keepalive_requests": True}}, ["keepalive_requests is True", "whole number"]),
    ({"tuning": {"worker_processes": "many"}}, ["worker_processes is 'many'", "auto or a whole number"]),
    ({"tuning": {"client_header_buffers": "16k"}}, ["client_header_buffers is '16k'", "4 16k"]),
    ({"tuning": {"client_max_body_size": "ten"}}, ["client_max_body_size is 'ten'", "10m"]),
    ({"tuning": {"proxy_buffering": "sometimes"}}, ["proxy_buffering is 'sometimes'", "true or false"]),
    ({"tuning": {"tls_protocols": ["SSLv3"]}}, ["['SSLv3']", "TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3"]),
    ({"tuning": {"tls_protocols": []}}, ["tls_protocols is []"]),
    ({"tuning": {"tls_ciphers": ["TLS_AES_128_GCM_SHA256"]}}, ["suite of TLS 1.3", "leave it out"]),
    ({"tuning": {"tls_ciphers": ["ECDHE-RSA-AES128-GCM"]}}, ["'ECDHE-RSA-AES128-GCM'", "nearest is ECDHE-RSA-AES128-GCM-SHA256"]),
    ({"tuning": {"tls_ciphers": ["RC4-MD5"]}}, ["'RC4-MD5'", "should be used"]),
    ({"tuning": {"tls_ciphers": "HIGH:!aNULL"}}, ["must be a list of texts"]),
    ({"tuning": {"tls_ciphers": []}}, ["TLS 1.2 needs one cipher"]),
    ({"tuning": {"worker_open_files": 4096}}, ["worker_open_files is 4096", "8192 or more"]),
    ({"tuning": {"hsts": True, "hsts_preload": True}}, ["hsts_preload is true", "31536000"]),
    ({"tuning": {"full_forwarded_for": False}}, ["full_forwarded_for is False", "always appends"]),
    ({"tuning": {"use_forwarded_headers": True}}, ["trusted_proxies is empty", "pretend"]),
    ({**IN_COMMUNITY, "config": {"use-forwarded-headers": "true"}}, ["trusted_proxies is empty"]),
    ({**IN_COMMUNITY, "config": {"enable-real-ip": True}}, ["trusted_proxies is empty"]),
    ({**IN_COMMUNITY, "config": {"use-proxy-protocol": "true"}}, ["trusted_proxies is empty"]),
    ({"config": {"real-ip-header": "CF-Connecting-IP"}}, ["trusted_proxies is empty"]),
    ({"config": {"proxy-protocol": True}}, ["trusted_proxies is empty"]),
    ({"tuning": {"trusted_proxies": ["192.0.2.0/24"]}}, ["has no effect", "use_forwarded_headers"]),
    ({"tuning": {"use_forwarded_headers": True, "trusted_proxies": ["0.0.0.0/0"]}}, ["'0.0.0.0/0'", "pretend to be any client"]),
    ({"tuning": {"use_forwarded_headers": True, "trusted_proxies": ["::/0"]}}, ["'::/0'", "pretend"]),
    ({"tuning": {"use_forwarded_headers": True, "trusted_proxies": ["128.0.0.0/1"]}}, ["'128.0.0.0/1'"]),
    ({"tuning": {"use_forwarded_headers": True, "trusted_proxies": ["192.0.2.1/24"]}}, ["192.0.2.0/24"]),
    ({**IN_COMMUNITY, "config": {"use-forwarded-headers": True, "proxy-real-ip-cidr": "0.0.0.0/0"}}, ["'0.0.0.0/0'", "pretend"]),
    (
        {"external_traffic_policy": "Cluster", "tuning": {"use_forwarded_headers": True, "trusted_proxies": ["192.0.2.0/24"]}},
        ["holds the node 192.0.2.11", "Local"],
    ),
    ({"exposure": "ingress"}, ["ingress_exposure is 'ingress'"]),
    ({"external_traffic_policy": "local"}, ["must be Local or Cluster"]),
    ({"kind": "ReplicaSet"}, ["must be Deployment or DaemonSet"]),
    ({"load_balancer": "none"}, ["nothing gives Services an address", "host_network"]),
    ({"exposure": "host_network", "addresses": ["203.0.113.7"]}, ["those of the nodes"]),
    ({"exposure": "host_network", "kind": "Deployment", "replicas": 4}, ["ingress_replicas is 4", "3 nodes"]),
    ({"addresses": "203.0.113.7"}, ["must be a list"]),
    ({"addresses": ["203.0.113.300"]}, ["'203.0.113.300'", "is not an IP address"]),
    ({"addresses": ["203.0.113.99"]}, ["'203.0.113.99'", "none of the ranges of the load balancer (203.0.113.0/26)"]),
    (
        {"addresses": ["2001:DB8::0:7"], "load_balancer_ranges": ["2001:db8::/120"], "ip_version": 6},
        ["'2001:DB8::0:7'", "writes as 2001:db8::7"],
    ),
    ({"class_name": "My Class"}, ["ingress_class_name is 'My Class'"]),
    ({"default_certificate": "wildcard"}, ["namespace/name"]),
    ({"default_certificate": "", "certificate": PEM}, ["without ingress_default_certificate_key"]),
    ({"default_certificate": "", "certificate_key_given": True}, ["without ingress_default_certificate_certificate"]),
    ({"default_certificate": "", "certificate": "MII...", "certificate_key_given": True}, ["is not PEM"]),
    ({"certificate": PEM, "certificate_key_given": True}, ["names a Secret", "too"]),
    ({"gateway_api": True, "gateway_api_checksum": "latest"}, ["must be the sha256"]),
    ({"gateway_api": True, "kubernetes_minor": 29}, ["ValidatingAdmissionPolicy", "1.30"]),
    ({"extra": "controller: {}"}, ["ingress_values", "must be a dict"]),
]


@pytest.mark.parametrize(("changed", "parts"), PROBLEMS, ids=range(len(PROBLEMS)))
def test_problems(changed, parts):
    found = ingress_problems({**FACTS, **changed})
    assert len(found) == 1, found
    assert all(part in found[0] for part in parts), found
    assert found[0].endswith(".") and "\n" not in found[0] and "  " not in found[0]


KEYS = [
    (
        "ingress-nginx",
        "worker-connections",
        ["a key of NGINX Ingress Controller", "max-worker-connections", "ingress_tuning.worker_connections"],
    ),
    ("ingress-nginx", "keepalive-timeout", ["take keep-alive,"]),
    ("ingress-nginx", "client-max-body-size", ["take proxy-body-size,"]),
    ("nginx", "keep-alive", ["a key of ingress-nginx", "take keepalive-timeout,", "ingress_tuning.keepalive_timeout"]),
    ("nginx", "max-worker-connections", ["take worker-connections,"]),
    ("nginx", "upstream-keepalive-connections", ["take keepalive,"]),
    ("nginx", "large-client-header-buffers", ["take ingress_tuning.client_header_buffers"]),
    ("nginx", "use-forwarded-headers", ["take ingress_tuning.use_forwarded_headers"]),
    ("nginx", "compute-full-forwarded-for", ["take ingress_tuning.full_forwarded_for"]),
    ("nginx", "hsts-preload", ["take ingress_tuning.hsts_preload"]),
    ("nginx", "proxy-real-ip-cidr", ["take set-real-ip-from,"]),
    ("nginx", "worker_rlimit_nofile", ["a directive of nginx", "take worker-rlimit-nofile,"]),
    ("ingress-nginx", "worker_rlimit_nofile", ["a directive of nginx", "take max-worker-open-files,"]),
    ("nginx", "resolver-addresses", ["NGINX Plus"]),
    ("nginx", "oidc-pkce-timeout", ["NGINX Plus"]),
    ("ingress-nginx", "use-geoip", ["do not read it any more"]),
    ("ingress-nginx", "jaeger-endpoint", ["do not read it any more"]),
    ("ingress-nginx", "use-gzipp", ["nearest is use-gzip"]),
    ("nginx", "proxy-buffer", ["nearest is proxy-buffers"]),
]


@pytest.mark.parametrize(("controller", "key", "parts"), KEYS)
def test_keys_that_have_no_effect(controller, key, parts):
    found = ingress_problems({**FACTS, "controller": controller, "config": {key: "1"}})
    assert len(found) == 1 and found[0].startswith(f"ingress_config.{key} "), found
    assert all(part in found[0] for part in parts), found


def test_what_nginx_refuses_to_read_twice():
    found = ingress_problems({**FACTS, "config": {"http-snippets": "large_client_header_buffers 8 32k;"}})
    assert len(found) == 1 and "ingress_tuning.client_header_buffers" in found[0]


def test_all_problems_at_once():
    changed = {"profile": "fast", "tuning": {"a": 1, "hsts": "x"}, "config": {"b": []}, "class_name": "", "load_balancer": "none"}
    assert len(ingress_problems({**FACTS, **changed})) == 6


NOTICES = [
    (IN_COMMUNITY, ["retired", "v1.15.1", "4.15.1", "no vulnerability"]),
    ({"kubernetes_minor": 37}, ["tested with Kubernetes 1.29 to 1.36 only, not with 1.37"]),
    ({"tuning": {"tls_protocols": ["TLSv1.1", "TLSv1.2"]}}, ["RFC 8996"]),
    ({"tuning": {"tls_ciphers": ["AES128-SHA", "ECDHE-RSA-AES128-GCM-SHA256"]}}, ["allows AES128-SHA,"]),
    ({"default_certificate": ""}, ["refused"]),
    (
        {"external_traffic_policy": "Cluster", "tuning": {"use_forwarded_headers": True, "trusted_proxies": ["198.51.100.0/24"]}},
        ["never believed", "Local"],
    ),
]


@pytest.mark.parametrize(("changed", "parts"), NOTICES, ids=range(len(NOTICES)))
def test_notices(changed, parts):
    assert ingress_problems({**FACTS, **changed}) == []
    found = ingress_problems({**FACTS, **changed}, "notice")
    assert len(found) == 1 and all(part in found[0] for part in parts), found


@settings(max_examples=200)
@given(st.sampled_from(CONTROLLERS), st.text("abcdefghijklmnopqrstuvwxyz-_0123456789", min_size=1, max_size=30))
def test_no_unknown_key_passes(controller, key):
    known = key in _ingress.KEYS[controller]
    found = [
        item for item in ingress_problems({**FACTS, "controller": controller, "config": {key: "1"}}) if f"ingress_config.{key} " in item
    ]
    assert bool(found) is not known


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3), max_leaves=4
)


@settings(max_examples=200)
@given(st.sampled_from(CONTROLLERS), st.dictionaries(st.sampled_from(_ingress.OPTIONS), ANYTHING, max_size=4))
def test_any_value_is_told_or_works(controller, tuning):
    if ingress_problems({**FACTS, "controller": controller, "tuning": tuning}):
        return
    data = config(controller, **tuning)
    assert not any("\n" in value for key, value in data.items() if key != "http-snippets")


# --- what is measured


def expected(controller="nginx", exposure="load_balancer", policy="Local", proxy_mode="ipvs", raw=None, **tuning):
    return ingress_expected(ingress_settings("high-concurrency", tuning, controller, raw), controller, exposure, policy, proxy_mode, raw)


def test_expected():
    assert expected() == {
        "tls_protocols": ["TLSv1.2", "TLSv1.3"],
        "tls_ciphers": GCM.split(":"),
        "keepalive_timeout": 75,
        "keepalive_requests": 1000,
        "worker_processes": "auto",
        "worker_connections": 10240,
        "worker_open_files": 65536,
        "client_address": "preserved",
        "hsts": "",
        "hsts_with_default_certificate": True,
        "trusted_proxies": [],
        "forwarded_for": "appended",
    }


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        ({}, "preserved"),
        ({"policy": "Cluster"}, "replaced"),
        ({"policy": "Cluster", "proxy_mode": "none"}, "unknown"),
        ({"exposure": "host_network", "policy": "Cluster"}, "preserved"),
        ({"raw": {"proxy-protocol": "true"}}, "unknown"),
        ({"raw": {"proxy-protocol": False}}, "preserved"),
        ({"controller": "ingress-nginx", "raw": {"use-proxy-protocol": True}}, "unknown"),
    ],
)
def test_whose_address_the_controller_sees(arguments, address):
    assert expected(**arguments)["client_address"] == address


@pytest.mark.parametrize(
    ("tuning", "header"),
    [
        ({}, ""),
        ({"hsts": True}, "max-age=31536000"),
        ({"hsts": True, "hsts_max_age": 60, "hsts_include_subdomains": True}, "max-age=60; includeSubDomains"),
        ({"hsts": True, "hsts_include_subdomains": True, "hsts_preload": True}, "max-age=31536000; includeSubDomains; preload"),
        ({"hsts_preload": True}, ""),
    ],
)
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_hsts(controller, tuning, header):
    assert expected(controller, **tuning)["hsts"] == header


@pytest.mark.parametrize(
    ("controller", "tuning", "chain"),
    [
        ("nginx", {}, "appended"),
        ("ingress-nginx", {}, "replaced"),
        ("ingress-nginx", PROXIES, "appended"),
        ("ingress-nginx", {**PROXIES, "full_forwarded_for": False}, "replaced"),
    ],
)
def test_what_becomes_of_the_chain(controller, tuning, chain):
    assert expected(controller, **tuning)["forwarded_for"] == chain


@pytest.mark.parametrize(("controller", "block"), [("nginx", "server"), ("ingress-nginx", "http")])
def test_directives_of_forwarded_headers(controller, block):
    found = ingress_directives(ingress_settings("default", PROXIES, controller), controller)[block]
    assert (found["set_real_ip_from"], found["real_ip_header"], found["real_ip_recursive"]) == (
        PROXIES["trusted_proxies"],
        "X-Forwarded-For",
        "on",
    )
    raw = {"nginx": {"real-ip-header": "CF-Connecting-IP"}, "ingress-nginx": {"forwarded-for-header": "CF-Connecting-IP"}}[controller]
    settings_ = ingress_settings("default", PROXIES, controller, raw)
    assert ingress_directives(settings_, controller, raw)[block]["real_ip_header"] == "CF-Connecting-IP"


def test_directives_that_the_controller_decides_are_not_said():
    found = ingress_directives(
        ingress_settings("default", {"worker_open_files": 0, "upstream_keepalive": 0}, "ingress-nginx"), "ingress-nginx"
    )
    assert "main" not in found and "upstream" not in found
    found = ingress_directives(ingress_settings("default", {"worker_processes": 4}, "ingress-nginx"), "ingress-nginx")
    assert found["main"] == {"worker_processes": "4", "worker_rlimit_nofile": "16384"}


# --- values of the charts

TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
SPREAD = {"type": "array", "items": {"type": "object", "required": ["maxSkew", "topologyKey", "whenUnsatisfiable", "labelSelector"]}}
SERVICE = {
    "type": {"const": "LoadBalancer"},
    "externalTrafficPolicy": {"enum": ["Local", "Cluster"]},
    "annotations": TEXTS,
    "loadBalancerClass": {"type": "string"},
}
POD = {
    "replicaCount": {"type": "integer", "minimum": 1},
    "topologySpreadConstraints": SPREAD,
    "hostNetwork": {"const": True},
    "dnsPolicy": {"const": "ClusterFirstWithHostNet"},
}


def objects(properties, required=()):
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": list(required)}


# The keys that we use and what the templates want of them: charts/nginx-ingress at v5.5.4 of nginx/kubernetes-ingress, and
# charts/ingress-nginx 4.15.1 of kubernetes/ingress-nginx. Helm takes any other key without a word.
SCHEMAS = {
    "nginx": {
        **POD,
        "kind": {"enum": ["deployment", "daemonset"]},
        "strategy": {"type": "object"},
        "config": objects({"entries": TEXTS}, ["entries"]),
        "ingressClass": objects({"name": {"type": "string"}, "create": {"const": True}, "setAsDefaultIngress": {"type": "boolean"}}),
        "service": objects({**SERVICE, "create": {"type": "boolean"}}, ["create"]),
        "telemetryReporting": objects({"enable": {"const": False}}),
        "podDisruptionBudget": objects({"enabled": {"const": True}, "minAvailable": {"const": 1}}),
        "defaultTLS": objects({"secret": {"type": "string", "pattern": "^[^/]+/[^/]+$"}}),
        "wildcardTLS": objects({"secret": {"type": "string", "pattern": "^[^/]+/[^/]+$"}}),
    },
    "ingress-nginx": {
        **POD,
        "kind": {"enum": ["Deployment", "DaemonSet"]},
        "updateStrategy": {"type": "object"},
        "config": TEXTS,
        "ingressClass": {"type": "string"},
        "ingressClassResource": objects({"name": {"type": "string"}, "enabled": {"const": True}, "default": {"type": "boolean"}}),
        "service": objects({**SERVICE, "enabled": {"type": "boolean"}, "ipFamilies": {"const": ["IPv6"]}}, ["enabled"]),
        "reportNodeInternalIp": {"const": True},
        "extraArgs": objects({"default-ssl-certificate": {"type": "string", "pattern": "^[^/]+/[^/]+$"}}),
        "image": objects({"digest": {"const": ""}}),
        "admissionWebhooks": objects({"patch": objects({"image": objects({"digest": {"const": ""}})})}),
    },
}


def values(controller, **changed):
    """Values of the controller without its ConfigMap, which has its own tests."""
    found = ingress_values({**FACTS, "controller": controller, **changed})
    jsonschema.validate(found, objects({"controller": objects(SCHEMAS[controller], ["kind", "config", "service"])}, ["controller"]))
    wanted = config(controller, changed.get("profile", "default"))
    assert found["controller"].pop("config") == ({"entries": wanted} if controller == "nginx" else wanted)
    return found["controller"]


def spread(**labels):
    selector = {"matchLabels": {f"app.kubernetes.io/{name}": value for name, value in labels.items()}}
    return [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector}]


@pytest.mark.parametrize("profile", PROFILES)
def test_values_of_f5(profile):
    assert values("nginx", profile=profile, addresses=["203.0.113.7", "203.0.113.8"]) == {
        "kind": "deployment",
        "replicaCount": 2,
        "topologySpreadConstraints": spread(name="nginx-ingress", instance="nginx-ingress"),
        "ingressClass": {"name": "nginx", "create": True, "setAsDefaultIngress": True},
        "service": {
            "create": True,
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "annotations": {"metallb.io/loadBalancerIPs": "203.0.113.7,203.0.113.8"},
        },
        "telemetryReporting": {"enable": False},
        "podDisruptionBudget": {"enabled": True, "minAvailable": 1},
        "defaultTLS": {"secret": "default/wildcard"},
        "wildcardTLS": {"secret": "default/wildcard"},
    }


@pytest.mark.parametrize("profile", PROFILES)
def test_values_of_the_community(profile):
    found = values(
        "ingress-nginx", profile=profile, external_traffic_policy="Cluster", load_balancer="cilium", addresses=["203.0.113.7"], nodes=1
    )
    assert found == {
        "kind": "Deployment",
        "replicaCount": 1,
        "topologySpreadConstraints": spread(name="ingress-nginx", instance="ingress-nginx", component="controller"),
        "ingressClass": "nginx",
        "ingressClassResource": {"name": "nginx", "enabled": True, "default": True},
        "service": {
            "enabled": True,
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Cluster",
            "annotations": {"lbipam.cilium.io/ips": "203.0.113.7"},
        },
        "extraArgs": {"default-ssl-certificate": "default/wildcard"},
    }


def test_values_on_the_ports_of_the_nodes():
    changed = {"exposure": "host_network", "default_secret": "", "class_name": "edge", "class_default": False}
    network = {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    assert values("nginx", **changed) == {
        "kind": "daemonset",
        **network,
        "ingressClass": {"name": "edge", "create": True, "setAsDefaultIngress": False},
        "service": {"create": False},
        "telemetryReporting": {"enable": False},
    }
    assert values("ingress-nginx", **changed) == {
        "kind": "DaemonSet",
        **network,
        "reportNodeInternalIp": True,
        "ingressClass": "edge",
        "ingressClassResource": {"name": "edge", "enabled": True, "default": False},
        "service": {"enabled": False},
    }
    for controller, name in (("nginx", "strategy"), ("ingress-nginx", "updateStrategy")):
        found = values(controller, **changed, kind="Deployment", replicas=3)
        assert found["replicaCount"] == 3 and "podDisruptionBudget" not in found
        assert found[name] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def test_values_of_a_bundle_and_of_ipv6():
    found = values("ingress-nginx", artifacts="bundle", ip_version=6, load_balancer_class="metallb.io/metallb")
    assert found["image"] == {"digest": ""} == found["admissionWebhooks"]["patch"]["image"]
    assert found["service"]["ipFamilies"] == ["IPv6"] and found["service"]["loadBalancerClass"] == "metallb.io/metallb"
    assert "image" not in values("nginx", artifacts="bundle")


def test_values_of_the_user_count_last():
    found = ingress_values({**FACTS, "extra": {"controller": {"service": {"type": "NodePort"}, "logLevel": "debug"}}})["controller"]
    assert (found["service"]["type"], found["service"]["create"], found["logLevel"]) == ("NodePort", True, "debug")


def test_a_missing_setting_is_named():
    with pytest.raises(AnsibleFilterError, match="ingress_values: the setting 'profile' is missing"):
        ingress_values({"controller": "nginx"})
    with pytest.raises(AnsibleFilterError, match="ingress_settings: ingress_profile is 'fast', but must be default"):
        ingress_settings("fast", {}, "nginx")
    with pytest.raises(AnsibleFilterError, match="ingress_tuning.keepalive is unknown; the nearest is"):
        ingress_settings("default", {"keepalive": 1}, "nginx")
