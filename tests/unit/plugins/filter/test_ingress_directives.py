# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter ingress_directives: a real nginx with these directives does on loopback what the tuning says."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import http.server
import json
import os
import pathlib
import resource
import shutil
import socket
import ssl
import subprocess
import threading
import time
import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ansible_collections.baremetal.kubernetes.plugins.filter.ingress_config import ingress_config
from ansible_collections.baremetal.kubernetes.plugins.filter.ingress_directives import ingress_directives
from ansible_collections.baremetal.kubernetes.plugins.filter.ingress_settings import ingress_settings

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(not NGINX, reason="nginx is not installed")

CONTROLLERS = ("nginx", "ingress-nginx")
GCM = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"]
CHACHA = ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"]


@pytest.fixture(name="certificates", scope="module")
def fixture_certificates(tmp_path_factory):
    """One certificate with an RSA key and one with an ECDSA key, so that every cipher has one."""
    folder = tmp_path_factory.mktemp("certificates")
    for name, key in (("rsa", rsa.generate_private_key(65537, 2048)), ("ecdsa", ec.generate_private_key(ec.SECP256R1()))):
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "verify.example.test")])
        now = datetime.datetime(2020, 1, 1)
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + datetime.timedelta(days=36500))
        certificate = builder.sign(key, hashes.SHA256())
        (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / f"{name}.key").write_bytes(key.private_bytes(*private))
    return folder


class Echo(http.server.BaseHTTPRequestHandler):
    """Tells what it got; /slow takes two seconds."""

    protocol_version = "HTTP/1.1"
    connections = 0

    def setup(self):
        super().setup()
        type(self).connections += 1

    def do_GET(self):
        if self.path == "/slow":
            time.sleep(2)
        length = int(self.headers.get("Content-Length") or 0)
        size = len(self.rfile.read(length))
        told = {"forwarded": self.headers.get("X-Forwarded-For"), "client": self.headers.get("X-Real-IP"), "size": size}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_arguments):
        pass


@pytest.fixture(name="backend", scope="module")
def fixture_backend():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def lines(directives):
    return "".join(
        f"{name} {value};\n" for name, values in directives.items() for value in (values if isinstance(values, list) else [values])
    )


def configuration(folder, controller, profile, tuning, certificates, backend, ports):
    """nginx.conf with our directives, and of our own only what a test needs besides."""
    settings = ingress_settings(profile, tuning, controller)
    found = ingress_directives(settings, controller)
    assert set(found) <= {"main", "events", "http", "server", "location", "upstream"}
    block = {name: dict(found.get(name, {})) for name in ("main", "events", "http", "server", "location", "upstream")}
    snippets = ingress_config(settings, controller).get("http-snippets", "")
    if snippets:
        # F5's controller writes these lines as they are; the directive is in both and must be the same
        assert f"large_client_header_buffers {block['http'].pop('large_client_header_buffers')};" in snippets.splitlines()
    temp = "".join(f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.geteuid() == 0 else ""
    keys = "".join(
        f"ssl_certificate {certificates}/{name}.crt;\nssl_certificate_key {certificates}/{name}.key;\n" for name in ("rsa", "ecdsa")
    )
    path = folder / "nginx.conf"
    path.write_text(f"""daemon off; {user} pid {folder}/nginx.pid; error_log stderr notice;
{lines(block["main"])}
events {{ {lines(block["events"])} }}
http {{
{snippets}
{lines(block["http"])} {temp} access_log off;
upstream backend {{ server 127.0.0.1:{backend}; {lines(block["upstream"])} }}
server {{
listen 127.0.0.1:{ports[0]}; listen 127.0.0.1:{ports[1]} ssl;
{keys} {lines(block["server"])}
location / {{
proxy_http_version 1.1; proxy_set_header Connection "";
proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
{lines(block["location"])}
proxy_pass http://backend;
}} }} }}
""")
    return path


class Nginx:
    """A running one."""

    def __init__(self, process, ports):
        self.pid, self.plain, self.tls = process.pid, ports[0], ports[1]

    def connect(self, source="127.0.0.1"):
        return http.client.HTTPConnection("127.0.0.1", self.plain, timeout=10, source_address=(source, 0))

    def ask(self, path="/", headers=None, body=None, source="127.0.0.1"):
        """Status, headers and what the backend told, over a connection of its own."""
        connection = self.connect(source)
        try:
            connection.request("POST" if body else "GET", path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return answer.status, answer.headers, json.loads(text) if answer.status == 200 else {}

    def negotiate(self, protocol=None, cipher=None):
        """(protocol, cipher) that both agreed on, or None when nginx refused."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion[protocol or "TLSv1_2"]
        context.set_ciphers(f"{cipher or 'ALL'}:@SECLEVEL=0")
        with socket.create_connection(("127.0.0.1", self.tls), timeout=10) as found:
            try:
                with context.wrap_socket(found) as secure:
                    return secure.version(), secure.cipher()[0]
            except (ssl.SSLError, ConnectionError):
                return None

    def workers(self):
        return [int(item) for item in pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


@contextlib.contextmanager
def running(folder, controller, profile, tuning, certificates, backend):
    """Until the block ends; only the process that was started here is ended."""
    ports = (free_port(), free_port())
    path = configuration(folder, controller, profile, {"worker_processes": 1, **tuning}, certificates, backend, ports)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([NGINX, "-p", str(folder), "-e", "stderr", "-c", str(path)], stdout=log, stderr=log)
    try:
        for _try in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", ports[1]), timeout=5):
                break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield Nginx(process, ports)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(name="nginx")
def fixture_nginx(tmp_path, certificates, backend):
    """Starts one at a time: nginx(controller, profile, **tuning)."""
    with contextlib.ExitStack() as stack:

        def start(controller, profile="default", **tuning):
            stack.close()
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            return stack.enter_context(running(folder, controller, profile, tuning, certificates, backend))

        yield start


FULL = {
    "use_forwarded_headers": True,
    "trusted_proxies": ["192.0.2.0/24", "2001:db8::/64"],
    "hsts": True,
    "hsts_include_subdomains": True,
}


@pytest.mark.parametrize("tuning", [{}, FULL, {"worker_open_files": 0, "upstream_keepalive": 0}], ids=["profile", "all", "none"])
@pytest.mark.parametrize("profile", ["default", "high-concurrency", "streaming"])
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_nginx_takes_the_configuration(tmp_path, certificates, controller, profile, tuning):
    path = configuration(tmp_path, controller, profile, tuning, certificates, 9, (free_port(), free_port()))
    done = subprocess.run(
        [NGINX, "-t", "-q", "-p", str(tmp_path), "-e", "stderr", "-c", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    # it would say here that connections exceed files
    assert "[warn]" not in done.stderr and "[emerg]" not in done.stderr, done.stderr


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_ciphers_of_the_profiles(nginx, controller):
    server = nginx(controller, "high-concurrency")
    assert [server.negotiate(cipher=name) for name in GCM] == [("TLSv1.2", name) for name in GCM]
    assert [server.negotiate(cipher=name) for name in [*CHACHA, "ECDHE-RSA-AES128-SHA256", "AES128-GCM-SHA256", "AES128-SHA"]] == [None] * 5
    server = nginx(controller, "default")
    assert [server.negotiate(cipher=name) for name in [*GCM, *CHACHA]] == [("TLSv1.2", name) for name in [*GCM, *CHACHA]]
    assert server.negotiate(cipher="ECDHE-RSA-AES128-SHA256") is None


@pytest.mark.parametrize(
    ("wanted", "agreed"),
    [
        (["TLSv1.2", "TLSv1.3"], {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}),
        (["TLSv1.2"], {"TLSv1_2": "TLSv1.2"}),
        (["TLSv1.3"], {"TLSv1_3": "TLSv1.3"}),
    ],
)
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_protocols(nginx, controller, wanted, agreed):
    server = nginx(controller, tls_protocols=wanted)
    found = {name: (server.negotiate(name) or [None])[0] for name in ("TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3")}
    assert {name: version for name, version in found.items() if version} == agreed


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_requests_of_one_connection(nginx, controller):
    connection = nginx(controller, keepalive_requests=3).connect()
    seen = []
    for _number in range(3):
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        seen.append((answer.headers["Connection"], connection.sock is not None))
    # http.client closes what the server is about to close
    assert seen == [("keep-alive", True), ("keep-alive", True), ("close", False)]


@pytest.mark.parametrize(("timeout", "pause", "open_after"), [(1, 1.8, False), (75, 1.8, True), (0, 0.2, False)])
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_idle_connections(nginx, controller, timeout, pause, open_after):
    with socket.create_connection(("127.0.0.1", nginx(controller, keepalive_timeout=timeout).plain), timeout=10) as found:
        found.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert found.recv(65536).startswith(b"HTTP/1.1 200 ")
        time.sleep(pause)
        found.setblocking(False)
        try:
            ended = found.recv(65536) == b""
        except BlockingIOError:
            ended = False
    assert ended is not open_after


@pytest.mark.parametrize(
    ("profile", "sizes", "status"),
    [
        ("high-concurrency", [15], 200),
        ("high-concurrency", [17], 400),
        ("high-concurrency", [15] * 4, 200),
        ("high-concurrency", [15] * 5, 400),
        ("default", [7], 200),
        ("default", [15], 400),
    ],
)
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_header_buffers(nginx, controller, profile, sizes, status):
    headers = {f"X-Large-{number}": "x" * size * 1024 for number, size in enumerate(sizes)}
    assert nginx(controller, profile).ask(headers=headers)[0] == status


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_forwarded_headers_are_believed_of_trusted_proxies_alone(nginx, controller):
    chain = {"X-Forwarded-For": "198.51.100.9, 203.0.113.5, 127.0.0.2"}
    server = nginx(controller, use_forwarded_headers=True, trusted_proxies=["127.0.0.2/32"])
    # the last address of the chain that is no proxy of ours; what stands before it anybody may have written
    assert server.ask(headers=chain, source="127.0.0.2")[2]["client"] == "203.0.113.5"
    assert server.ask(headers=chain, source="127.0.0.3")[2]["client"] == "127.0.0.3"
    assert nginx(controller).ask(headers=chain, source="127.0.0.2")[2]["client"] == "127.0.0.2"


def test_hsts_without_preload(nginx):
    server = nginx("nginx", hsts=True, hsts_max_age=86400, hsts_include_subdomains=True)
    assert server.ask()[1]["Strict-Transport-Security"] is None, "it has no place in plain HTTP"
    context = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection("127.0.0.1", server.tls, timeout=10, context=context)
    connection.request("GET", "/")
    assert connection.getresponse().headers.get_all("Strict-Transport-Security") == ["max-age=86400; includeSubDomains"]
    connection.close()


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_bodies_and_slow_backends(nginx, controller):
    body = b"x" * (2 << 20)
    assert nginx(controller, client_max_body_size="1m").ask(body=body)[0] == 413
    assert nginx(controller, "streaming").ask(body=body)[2]["size"] == len(body)
    assert nginx(controller, proxy_read_timeout=1).ask("/slow")[0] == 504
    assert nginx(controller, proxy_read_timeout=30).ask("/slow")[0] == 200


@pytest.mark.parametrize(("kept", "connections"), [(4, 1), (0, 5)])
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_connections_to_the_backend(nginx, controller, kept, connections):
    server = nginx(controller, upstream_keepalive=kept)
    before = Echo.connections
    for _number in range(5):
        assert server.ask()[0] == 200
    assert Echo.connections - before == connections


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_workers_and_their_files(nginx, controller):
    limit = min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    found = nginx(controller, worker_processes=3, worker_connections=1024, worker_open_files=limit).workers()
    assert len(found) == 3
    for pid in found:
        text = pathlib.Path(f"/proc/{pid}/limits").read_text()
        assert next(line for line in text.splitlines() if line.startswith("Max open files")).split()[3:5] == [str(limit), str(limit)]
