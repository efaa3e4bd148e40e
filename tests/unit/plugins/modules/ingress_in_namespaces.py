# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client, a real NGINX as the ingress controller and a server behind it, each in a network namespace of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _ingress_backend, _ingress_client, _ingress_probe, _pod_server
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command
from ansible_collections.baremetal.kubernetes.plugins.module_utils._netns import run_inside

HOST, PLAIN = "verify.kubernetes-verify.test", "plain.verify.kubernetes-verify.test"
VIP, CLIENT, OTHER_CLIENT, NODE, BACKEND = "10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.1.1", "10.9.1.2"
UID = "6e1f2c3d-2222-4aaa-8bbb-00000000000e"
POD = {"node": "w1", "node_addresses": [NODE], "name": "verify-e", "uid": UID, "address": BACKEND}
RSA = ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"]

# What this tuning is for, beside the figures: https and http with a redirect for one host, as controllers make it of an Ingress.
CONFIG = """
daemon off;
worker_processes {worker_processes};
worker_rlimit_nofile 4096;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_timeout {keepalive_timeout};
    keepalive_requests {keepalive_requests};
    ssl_protocols {protocols};
    ssl_ciphers "{ciphers}";
    {more}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For {forwarded};
    upstream probe {{ server {backend}:8081; keepalive 8; }}
    server {{
        listen {vip}:80;
        server_name {plain};
        location / {{ proxy_pass http://probe; }}
    }}
    server {{
        listen {vip}:80;
        server_name {host};
        return 301 https://$host$request_uri;
    }}
    server {{
        listen {vip}:443 ssl;
        server_name {host};
        ssl_certificate {folder}/tls.pem;
        ssl_certificate_key {folder}/tls.key;
        {hsts}
        location / {{ proxy_pass http://probe; }}
    }}
}}
"""
DEFAULTS = {
    "worker_processes": "2",
    "keepalive_timeout": "75s",
    "keepalive_requests": "20",
    "protocols": "TLSv1.2 TLSv1.3",
    "ciphers": ":".join(RSA),
    "forwarded": "$proxy_add_x_forwarded_for",
    "more": "",
    "hsts": 'add_header Strict-Transport-Security "max-age=31536000; includeSubDomains" always;',
    "vip": VIP,
    "backend": BACKEND,
    "host": HOST,
    "plain": PLAIN,
}


def want(**changes: t.Any) -> _ingress_client.Want:
    """What CONFIG with DEFAULTS is to do."""
    settings: dict[str, t.Any] = {
        "host": HOST,
        "plain_host": PLAIN,
        "ca": "",
        "http_port": 80,
        "https_port": 443,
        "tls_protocols": ["TLSv1.2", "TLSv1.3"],
        "tls_ciphers": RSA,
        "keepalive_timeout": 75.0,
        "keepalive_requests": 20,
        "client_address": "preserved",
        "outside": True,
        "trusted_proxies": [],
        "forwarded_for": "appended",
        "hsts": "max-age=31536000; includeSubDomains",
        "certificates": [],
        "timeout": 3.0,
        "wait_seconds": 0,
        "idle_limit": 0.5,
        "request_limit": 2000,
    }
    return _ingress_client.Want(**{**settings, **changes})


def ip(*argv: str, check: bool = True) -> None:
    subprocess.run(["ip", *argv], capture_output=True, text=True, timeout=30, check=check)


class Edge:
    """Three namespaces and the NGINX between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = {part: f"bi{os.getpid()}{part}" for part in ("client", "node", "pod")}
        self.nginx: subprocess.Popen[bytes] | None = None
        self.sleeper: subprocess.Popen[bytes] | None = None
        self.backend = 0
        self.ca = ""

    def build(self) -> None:
        for name in self.names.values():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        client, node, pod = self.names["client"], self.names["node"], self.names["pod"]
        for other, device, inside, outside in ((client, "lan", [CLIENT, OTHER_CLIENT], VIP), (pod, "pod", [BACKEND], NODE)):
            ip("-n", node, "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", other)
            ip("-n", node, "addr", "add", f"{outside}/24", "dev", device)
            ip("-n", node, "link", "set", device, "up")
            for address in inside:
                ip("-n", other, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", other, "link", "set", "eth0", "up")
        self.sleeper = subprocess.Popen(["ip", "netns", "exec", pod, "sleep", "300"])
        end = time.monotonic() + 10
        # it is sleep itself only once ip has entered the namespace
        while self.sleeper_network() == os.readlink("/proc/self/ns/net") and time.monotonic() < end:
            time.sleep(0.05)
        self.backend = _ingress_backend.start(self.sleeper.pid, POD, 8081, 300, str(self.folder / "backend.pid"))
        self.certificate()

    def sleeper_network(self) -> str:
        assert self.sleeper
        return os.readlink(f"/proc/{self.sleeper.pid}/ns/net")

    def certificate(self, kind: str = "rsa") -> None:
        made = _ingress_probe.make_certificate(HOST, kind, run_command)
        assert "error" not in made, made
        (self.folder / "tls.pem").write_text(made["certificate"])
        (self.folder / "tls.key").write_text(made["key"])
        self.ca = made["ca"]

    def start(self, **changes: str) -> None:
        """NGINX anew with this configuration."""
        self.stop()
        path = self.folder / "nginx.conf"
        path.write_text(CONFIG.format(**{**DEFAULTS, "folder": self.folder, **changes}))
        argv = [
            "ip",
            "netns",
            "exec",
            self.names["node"],
            "nginx",
            "-p",
            str(self.folder),
            "-e",
            str(self.folder / "error.log"),
            "-c",
            str(path),
        ]
        self.nginx = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        end = time.monotonic() + 15
        while time.monotonic() < end:
            assert self.nginx.poll() is None, (self.folder / "error.log").read_text()
            if self.inside(
                lambda: "error" not in _ingress_client._attempt(lambda: {"x": _ingress_client.Connection(VIP, 443, 1).is_open(0.05)})
            ):
                return
            time.sleep(0.05)
        raise AssertionError("nginx does not listen")

    def stop(self) -> None:
        if self.nginx:
            self.nginx.terminate()
            self.nginx.wait(10)
            self.nginx = None

    def inside(self, function: t.Callable[[], t.Any], part: str = "client", seconds: float = 60) -> t.Any:
        return run_inside(f"/run/netns/{self.names[part]}", function, seconds)

    def remove(self) -> None:
        self.stop()
        _pod_server.stop(str(self.folder / "backend.pid"))
        if self.sleeper:
            self.sleeper.kill()
            self.sleeper.wait()
        for name in self.names.values():
            ip("netns", "del", name, check=False)


def edge_in(folder: Path) -> t.Iterator[Edge]:
    """For fixtures."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("nginx") or not shutil.which("openssl"):
        pytest.skip("needs root, iproute2, nginx and openssl")
    edge = Edge(folder)
    try:
        edge.build()
        yield edge
    finally:
        edge.remove()
