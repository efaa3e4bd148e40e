# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""One vocabulary for the tuning of NGINX, and what it becomes: keys of a controller's ConfigMap, and directives of nginx.conf."""

from __future__ import annotations

import difflib
import re
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._ingress_keys import (
    INGRESS_NGINX,
    INGRESS_NGINX_STALE,
    NGINX,
    NGINX_PLUS,
)

Settings = t.Dict[str, t.Any]

CONTROLLERS = ("nginx", "ingress-nginx")
KEYS: t.Dict[str, t.FrozenSet[str]] = {"nginx": NGINX, "ingress-nginx": INGRESS_NGINX}

TLS_PROTOCOLS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_GCM = [f"ECDHE-{key}-{suite}" for suite in ("AES128-GCM-SHA256", "AES256-GCM-SHA384") for key in ("ECDSA", "RSA")]
_CHACHA = ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"]

_DEFAULT: Settings = {
    "keepalive_timeout": 75,
    "keepalive_requests": 1000,
    "worker_processes": "auto",
    "worker_connections": 4096,
    # a request that is passed on takes two connections
    "worker_open_files": 16384,
    "tls_protocols": ["TLSv1.2", "TLSv1.3"],
    "tls_ciphers": [*_GCM, *_CHACHA],
    "client_header_buffers": "4 8k",
    "upstream_keepalive": 32,
    "use_forwarded_headers": False,
    "trusted_proxies": [],
    "full_forwarded_for": True,
    "hsts": False,
    "hsts_max_age": 31536000,
    "hsts_include_subdomains": False,
    "hsts_preload": False,
    "proxy_buffering": True,
    "proxy_read_timeout": 60,
    "proxy_send_timeout": 60,
    "client_max_body_size": "1m",
}
OPTIONS = tuple(_DEFAULT)

PROFILES: t.Dict[str, Settings] = {
    "default": _DEFAULT,
    "high-concurrency": {
        **_DEFAULT,
        "worker_connections": 10240,
        "worker_open_files": 65536,
        "tls_ciphers": _GCM,
        "client_header_buffers": "4 16k",
        "upstream_keepalive": 100,
    },
    # few requests that take long: uploads, downloads, server-sent events, WebSockets
    "streaming": {
        **_DEFAULT,
        "worker_connections": 10240,
        "worker_open_files": 65536,
        "proxy_buffering": False,
        "proxy_read_timeout": 3600,
        "proxy_send_timeout": 3600,
        "client_max_body_size": "0",
    },
}


class IngressError(ValueError):
    """One sentence about a setting."""


# --- between the value of an option and the text of a key


def seconds(text: str) -> int:
    """Whole seconds of a time as nginx writes it: 75, 75s, 1m15s."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    if not re.fullmatch(r"(?:[0-9]+[smhdw] ?)*[0-9]+[smhdw]?", text):
        raise IngressError(f"{text!r} is not a time such as 75s")
    return sum(int(number) * units[unit or "s"] for number, unit in re.findall(r"([0-9]+)([smhdw]?)", text))


def _flag(text: str) -> bool:
    if text.lower() in ("true", "t", "1", "on"):
        return True
    if text.lower() in ("false", "f", "0", "off"):
        return False
    raise IngressError(f"{text!r} is neither true nor false")


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text):
        raise IngressError(f"{text!r} is not a whole number")
    return int(text)


def _workers(text: str) -> t.Any:
    return text if text == "auto" else _number(text)


class Form(t.NamedTuple):
    """How a value is written, and read again."""

    write: t.Callable[[t.Any], str]
    read: t.Callable[[str], t.Any]


def _joined(separator: str) -> Form:
    return Form(
        separator.join,
        lambda text: [part.strip() for part in re.split(r"[\s]+" if separator == " " else separator, text.strip()) if part.strip()],
    )


TEXT = Form(str, str)
NUMBER = Form(str, _number)
WORKERS = Form(str, _workers)
SECONDS = Form("{}s".format, seconds)
BARE_SECONDS = Form(str, seconds)
FLAG = Form(lambda value: "true" if value else "false", _flag)
ON_OFF = Form(lambda value: "on" if value else "off", _flag)
SPACES, COLONS, COMMAS = _joined(" "), _joined(":"), _joined(",")

# The key that one option is, and how the controller wants it written. What needs more than one key follows in _extra().
MAPPED: t.Dict[str, t.Dict[str, t.Tuple[str, Form]]] = {
    "nginx": {
        "keepalive_timeout": ("keepalive-timeout", SECONDS),
        "keepalive_requests": ("keepalive-requests", NUMBER),
        "worker_processes": ("worker-processes", WORKERS),
        "worker_connections": ("worker-connections", NUMBER),
        "worker_open_files": ("worker-rlimit-nofile", NUMBER),
        "tls_protocols": ("ssl-protocols", SPACES),
        "tls_ciphers": ("ssl-ciphers", COLONS),
        "upstream_keepalive": ("keepalive", NUMBER),
        "trusted_proxies": ("set-real-ip-from", COMMAS),
        "hsts": ("hsts", FLAG),
        "hsts_max_age": ("hsts-max-age", NUMBER),
        "hsts_include_subdomains": ("hsts-include-subdomains", FLAG),
        "proxy_buffering": ("proxy-buffering", FLAG),
        "proxy_read_timeout": ("proxy-read-timeout", SECONDS),
        "proxy_send_timeout": ("proxy-send-timeout", SECONDS),
        "client_max_body_size": ("client-max-body-size", TEXT),
    },
    "ingress-nginx": {
        "keepalive_timeout": ("keep-alive", BARE_SECONDS),
        "keepalive_requests": ("keep-alive-requests", NUMBER),
        "worker_processes": ("worker-processes", WORKERS),
        "worker_connections": ("max-worker-connections", NUMBER),
        "worker_open_files": ("max-worker-open-files", NUMBER),
        "tls_protocols": ("ssl-protocols", SPACES),
        "tls_ciphers": ("ssl-ciphers", COLONS),
        "client_header_buffers": ("large-client-header-buffers", TEXT),
        "upstream_keepalive": ("upstream-keepalive-connections", NUMBER),
        "use_forwarded_headers": ("use-forwarded-headers", FLAG),
        "trusted_proxies": ("proxy-real-ip-cidr", COMMAS),
        "full_forwarded_for": ("compute-full-forwarded-for", FLAG),
        "hsts": ("hsts", FLAG),
        "hsts_max_age": ("hsts-max-age", NUMBER),
        "hsts_include_subdomains": ("hsts-include-subdomains", FLAG),
        "hsts_preload": ("hsts-preload", FLAG),
        "proxy_buffering": ("proxy-buffering", ON_OFF),
        "proxy_read_timeout": ("proxy-read-timeout", BARE_SECONDS),
        "proxy_send_timeout": ("proxy-send-timeout", BARE_SECONDS),
        "client_max_body_size": ("proxy-body-size", TEXT),
    },
}
# F5's controller appends the peer to X-Forwarded-For whatever it is told: internal/configs/version1/nginx.ingress.tmpl
ALWAYS = {("nginx", "full_forwarded_for"): True}
# Keys of the community's controller whose meaning F5's has no key for, but the vocabulary has.
_ONLY_BY_OPTION = {
    "large-client-header-buffers": "client_header_buffers",
    "use-forwarded-headers": "use_forwarded_headers",
    "hsts-preload": "hsts_preload",
}
_SNIPPETS = "http-snippets"
# variable of nginx: in a map a header without a value is left out, and HSTS has no place in plain HTTP
_HSTS_VARIABLE = "$baremetal_hsts"


def raw_text(value: t.Any) -> str:
    """A value of ingress_config as the ConfigMap takes it: texts only."""
    if isinstance(value, bool):
        return FLAG.write(value)
    if isinstance(value, (str, int, float)):
        return str(value)
    raise IngressError(f"{value!r} is neither a text nor a number nor true or false")


def _option_of(controller: str, key: str) -> t.Optional[str]:
    return next((name for name, (own, _form) in MAPPED[controller].items() if own == key), None)


def key_problem(controller: str, key: str) -> t.Optional[str]:
    """Why this key of ingress_config has no effect, and what has; None for a key that is read."""
    other = next(name for name in CONTROLLERS if name != controller)
    if key in KEYS[controller]:
        return None
    who = {"nginx": "NGINX Ingress Controller", "ingress-nginx": "ingress-nginx"}
    if controller == "nginx" and key in NGINX_PLUS:
        return "is read with NGINX Plus only, which this role does not install; leave it out"
    if controller == "ingress-nginx" and key in INGRESS_NGINX_STALE:
        return "is in the documentation of ingress-nginx, but its last versions do not read it any more; leave it out"
    option = _option_of(other, key) or (_ONLY_BY_OPTION.get(key) if controller == "nginx" else None)
    if option is None and key.replace("_", "-") in _DIRECTIVE_OPTIONS:
        option = _DIRECTIVE_OPTIONS[key.replace("_", "-")]
    if option is not None:
        own = MAPPED[controller].get(option)
        named = f"{own[0]}, or better ingress_tuning.{option}" if own else f"ingress_tuning.{option}"
        source = f"a key of {who[other]}" if key in KEYS[other] else "a directive of nginx"
        return f"is {source} and not of {who[controller]}, which ignores it without a word; take {named}"
    near = difflib.get_close_matches(key.replace("_", "-"), sorted(KEYS[controller]), 1, 0.5)
    hint = f"the nearest is {near[0]}" if near else "see the list in the controller's documentation"
    return f"is not a key of {who[controller]}, which ignores it without a word; {hint}"


# --- from profile and tuning to what counts


def _typed(name: str, value: t.Any) -> t.Any:
    """A text from the command line as what it means; what does not fit stays for filter ingress_problems."""
    kind = type(_DEFAULT[name])
    try:
        if name == "worker_processes" and isinstance(value, str):
            return _workers(value)
        if isinstance(value, str) and kind is bool:
            return _flag(value)
        if isinstance(value, str) and kind is int:
            return _number(value)
    except IngressError:
        return value
    return str(value) if kind is str and isinstance(value, int) and not isinstance(value, bool) and name != "worker_processes" else value


def ingress_settings(profile: str, tuning: t.Mapping[str, t.Any], controller: str, raw: t.Mapping[str, t.Any]) -> Settings:
    """The options that result. Keys of the controller that are options of ours count last, so that nothing is said twice."""
    if profile not in PROFILES:
        raise IngressError(f"ingress_profile is {profile!r}, but must be {', '.join(PROFILES)}")
    unknown = [name for name in tuning if name not in OPTIONS]
    if unknown:
        near = difflib.get_close_matches(unknown[0].replace("-", "_"), OPTIONS, 1, 0.5)
        raise IngressError(f"ingress_tuning.{unknown[0]} is unknown; " + (f"the nearest is {near[0]}" if near else "the README lists all"))
    result = {**PROFILES[profile], **{name: _typed(name, value) for name, value in tuning.items()}}
    for name, (key, form) in MAPPED[controller].items():
        if key in raw:
            try:
                result[name] = form.read(raw_text(raw[key]))
            except IngressError as error:
                raise IngressError(f"ingress_config.{key}: {error}") from None
    if controller == "nginx":
        if "real-ip-header" in raw:
            result["use_forwarded_headers"] = True
        # this key of F5's always sends "preload"
        if "hsts" in raw:
            result["hsts_preload"] = result["hsts"]
    return {name: result[name] for name in OPTIONS}


def hsts_header(settings: t.Mapping[str, t.Any]) -> str:
    """Value of the header Strict-Transport-Security; nothing where it is not sent."""
    if not settings["hsts"]:
        return ""
    parts = [f"max-age={settings['hsts_max_age']}"]
    if settings["hsts_include_subdomains"]:
        parts.append("includeSubDomains")
    if settings["hsts_preload"]:
        parts.append("preload")
    return "; ".join(parts)


# --- the ConfigMap


def snippets(settings: t.Mapping[str, t.Any]) -> t.List[str]:
    """What F5's controller has no key for, as lines of the http block."""
    lines = [f"large_client_header_buffers {settings['client_header_buffers']};"]
    if settings["hsts"] and not settings["hsts_preload"]:
        # its own keys cannot leave out "preload", which puts the domain on a list that it hardly leaves again
        lines += [
            f'map $https {_HSTS_VARIABLE} {{ default ""; on "{hsts_header(settings)}"; }}',
            f"add_header Strict-Transport-Security {_HSTS_VARIABLE} always;",
            "proxy_hide_header Strict-Transport-Security;",
        ]
    return lines


def _left_out(controller: str, settings: t.Mapping[str, t.Any]) -> t.Set[str]:
    """Options that are not written, because the controller's own value is wanted or they would have no effect."""
    result = set()
    if not settings["trusted_proxies"]:
        result.add("trusted_proxies")
    if controller == "nginx":
        if not settings["worker_open_files"]:
            result.add("worker_open_files")
        if not (settings["hsts"] and settings["hsts_preload"]):
            result |= {"hsts", "hsts_max_age", "hsts_include_subdomains"}
    return result


def ingress_config(settings: t.Mapping[str, t.Any], controller: str, raw: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    """Data of the controller's ConfigMap: what ingress_settings() gave, then the other keys of the user."""
    left_out = _left_out(controller, settings)
    data = {key: form.write(settings[name]) for name, (key, form) in MAPPED[controller].items() if name not in left_out}
    others = {key: raw_text(value) for key, value in raw.items() if _option_of(controller, key) is None}
    if controller == "nginx":
        if settings["use_forwarded_headers"]:
            data |= {"real-ip-header": "X-Forwarded-For", "real-ip-recursive": "true"}
        # the user's own lines stand after ours
        data[_SNIPPETS] = "\n".join([*snippets(settings), *filter(None, [others.pop(_SNIPPETS, "").strip()])])
    return dict(sorted({**data, **others}.items()))


# --- nginx.conf

_DIRECTIVES: t.Dict[str, t.Tuple[str, str, Form]] = {
    "keepalive_timeout": ("http", "keepalive_timeout", SECONDS),
    "keepalive_requests": ("http", "keepalive_requests", NUMBER),
    "worker_processes": ("main", "worker_processes", WORKERS),
    "worker_connections": ("events", "worker_connections", NUMBER),
    "worker_open_files": ("main", "worker_rlimit_nofile", NUMBER),
    "tls_protocols": ("http", "ssl_protocols", SPACES),
    "tls_ciphers": ("http", "ssl_ciphers", COLONS),
    "client_header_buffers": ("http", "large_client_header_buffers", TEXT),
    "upstream_keepalive": ("upstream", "keepalive", NUMBER),
    "proxy_buffering": ("location", "proxy_buffering", ON_OFF),
    "proxy_read_timeout": ("location", "proxy_read_timeout", SECONDS),
    "proxy_send_timeout": ("location", "proxy_send_timeout", SECONDS),
    "client_max_body_size": ("location", "client_max_body_size", TEXT),
}
_DIRECTIVE_OPTIONS = {directive.replace("_", "-"): option for option, (_context, directive, _form) in _DIRECTIVES.items()}


def _real_ip_header(controller: str, raw: t.Mapping[str, t.Any]) -> str:
    """The header that names the client, where it is one that the controller takes as it is."""
    if controller == "nginx":
        return raw_text(raw.get("real-ip-header", "X-Forwarded-For"))
    # with the PROXY protocol it makes a header of its own out of both
    return "" if raw_text(raw.get("use-proxy-protocol", False)) == "true" else raw_text(raw.get("forwarded-for-header", "X-Forwarded-For"))


def ingress_directives(settings: t.Mapping[str, t.Any], controller: str, raw: t.Mapping[str, t.Any]) -> t.Dict[str, t.Dict[str, t.Any]]:
    """{context: {directive: value}}; a list where the directive stands once for each. What the controller decides itself is left out."""
    left_out = set()
    if not settings["worker_open_files"]:
        left_out.add("worker_open_files")
    if not settings["upstream_keepalive"]:
        left_out.add("upstream_keepalive")
    if controller == "ingress-nginx" and settings["worker_processes"] == "auto":
        # it writes the number of CPUs that it sees
        left_out.add("worker_processes")
    result: t.Dict[str, t.Dict[str, t.Any]] = {}
    for name, (context, directive, form) in _DIRECTIVES.items():
        if name not in left_out:
            result.setdefault(context, {})[directive] = form.write(settings[name])
    header = _real_ip_header(controller, raw)
    if settings["use_forwarded_headers"] and header:
        real_ip = {"set_real_ip_from": list(settings["trusted_proxies"]), "real_ip_header": header, "real_ip_recursive": "on"}
        result.setdefault("server" if controller == "nginx" else "http", {}).update(real_ip)
    return result


# --- what can be measured from outside

# Raw keys that change who the controller takes for the client.
OWN_REAL_IP = {"nginx": ("proxy-protocol", "real-ip-header"), "ingress-nginx": ("use-proxy-protocol", "enable-real-ip")}


def client_address(exposure: str, policy: str, proxy_mode: str, own_real_ip: bool) -> str:
    """Whether the controller sees the address of who connects: preserved, replaced (by a node's), or unknown."""
    if own_real_ip:
        return "unknown"
    if exposure == "host_network" or policy == "Local":
        return "preserved"
    # eBPF can keep it (Calico, Cilium with DSR) or not
    return "unknown" if proxy_mode == "none" else "replaced"


def ingress_expected(
    settings: t.Mapping[str, t.Any], controller: str, exposure: str, policy: str, proxy_mode: str, raw: t.Mapping[str, t.Any]
) -> t.Dict[str, t.Any]:
    """What role verify measures."""
    own_real_ip = any(key in raw and raw_text(raw[key]) not in ("false", "X-Forwarded-For") for key in OWN_REAL_IP[controller])
    appended = controller == "nginx" or (settings["use_forwarded_headers"] and settings["full_forwarded_for"])
    names = (
        "tls_protocols",
        "tls_ciphers",
        "keepalive_timeout",
        "keepalive_requests",
        "worker_processes",
        "worker_connections",
        "worker_open_files",
    )
    return {
        **{name: settings[name] for name in names},
        "client_address": client_address(exposure, policy, proxy_mode, own_real_ip),
        "hsts": hsts_header(settings),
        # the community's controller sends HSTS only where the Ingress has a certificate of its own: rootfs/etc/nginx/lua/lua_ingress.lua
        "hsts_with_default_certificate": controller == "nginx",
        "trusted_proxies": list(settings["trusted_proxies"]) if settings["use_forwarded_headers"] else [],
        # what a client sent as X-Forwarded-For stands before its address, or is thrown away
        "forwarded_for": "appended" if appended else "replaced",
    }
