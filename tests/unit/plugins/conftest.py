# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server with real TLS and client certificates, for tests of what asks one."""

from __future__ import annotations

import base64
import datetime
import http.server
import ipaddress
import json
import ssl
import threading

import pytest


def _key_and_certificate(name, issuer=None, addresses=()):
    """PEM texts; issuer is a (key, certificate) pair, without one the certificate signs itself."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[1].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        # As kubeadm's certificates have them; Python 3.13 insists.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key((issuer[0] if issuer else key).public_key()), critical=False)
    )
    if issuer is None:
        flags = dict.fromkeys(
            ["content_commitment", "data_encipherment", "key_agreement", "crl_sign", "encipher_only", "decipher_only"], False
        ) | dict.fromkeys(["digital_signature", "key_encipherment", "key_cert_sign"], True)
        builder = builder.add_extension(x509.KeyUsage(**flags), critical=True)
    if addresses:
        names = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(issuer[0] if issuer else key, hashes.SHA256())
    key_text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return key, certificate, key_text, certificate.public_bytes(serialization.Encoding.PEM)


class FakeApiServer:
    """Answers from a dict {(method, path): (status, object) or callable(body)}; keeps what it was asked."""

    def __init__(self, folder):
        ca_key, ca, dummy, ca_text = _key_and_certificate("kubernetes")
        dummy1, dummy2, server_key, server_text = _key_and_certificate("kube-apiserver", (ca_key, ca), ["127.0.0.1"])
        dummy3, dummy4, client_key, client_text = _key_and_certificate("kubernetes-admin", (ca_key, ca))
        (folder / "server.pem").write_bytes(server_key + server_text)
        (folder / "ca.pem").write_bytes(ca_text)
        (folder / "client.pem").write_bytes(client_text + client_key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        context.load_verify_locations(folder / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        self.answers = {}
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                outer.asked.append((self.command, self.path, self.headers.get("Content-Type"), body))
                found = outer.answers.get((self.command, self.path), (404, {"kind": "Status", "message": "not found"}))
                status, content = found(body) if callable(found) else found
                text = content if isinstance(content, str) else json.dumps(content)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.kubeconfig = folder / "admin.conf"
        self.kubeconfig.write_text(
            "apiVersion: v1\n"
            "clusters:\n"
            "- cluster:\n"
            f"    certificate-authority-data: {base64.b64encode(ca_text).decode()}\n"
            f"    server: {self.url}\n"
            "  name: kubernetes\n"
            "kind: Config\n"
            "users:\n"
            "- name: kubernetes-admin\n"
            "  user:\n"
            f"    client-certificate-data: {base64.b64encode(client_text).decode()}\n"
            f"    client-key-data: {base64.b64encode(client_key).decode()}\n"
        )
        self.kubeconfig.chmod(0o600)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(name="api_server")
def fixture_api_server(tmp_path):
    """A running FakeApiServer with its kubeconfig."""
    server = FakeApiServer(tmp_path)
    yield server
    server.close()
