# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""An HTTP server inside a pod that tells its client what it was asked; it ends by itself, at the latest with its pod."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any, Callable, Dict, Set, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _pod_server

# tells our answer from any other server's
SIGN = "baremetal.kubernetes verify"
# each worker of each pod of the controller may keep some
_CONNECTIONS = 512
# longer than any usual proxy keeps an idle connection to a server, so that it is the proxy who ends it
_IDLE_SECONDS = 90


class Handler(BaseHTTPRequestHandler):
    """Answers every GET with the request itself, as JSON."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    # headers and body are two writes, and the other end may wait for both before it acknowledges the first
    disable_nagle_algorithm = True
    server: "Server"

    def do_GET(self) -> None:  # pylint: disable=invalid-name
        headers: Dict[str, str] = {}
        for name, value in self.headers.items():
            # the same header twice is one list (RFC 9110, section 5.3)
            headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        answer = {"sign": SIGN, "node": self.server.node, "peer": self.client_address[0], "headers": headers}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # pylint: disable=redefined-builtin
        """A process in the background has nobody to tell."""


class Server(ThreadingMixIn, HTTPServer):
    """One thread per connection, a bounded number of them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: str, port: int, node: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.node = node
        self.places = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__((address, port), Handler)

    def server_bind(self) -> None:
        # not HTTPServer's, which asks the DNS for the name of the address
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.places.acquire(timeout=5):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is the client's finding."""


def pid_file_of(pod: Dict[str, Any], folder: str = "/run") -> str:
    """Where the server of this pod leaves its process number."""
    return f"{folder}/baremetal-kubernetes-edge-{pod['uid']}.pid"


def start(pid: int, pod: Dict[str, Any], port: int, lifetime: float, pid_file: str) -> int:
    """Process number of a server inside the network of process pid. It ends by itself, at the latest with the pod."""
    address = pod["address"]

    def prepare() -> Tuple[Set[int], _pod_server.Serve]:
        server = Server(address, port, pod["node"])
        server.timeout = 1

        def serve(is_wanted: Callable[[], bool]) -> None:
            while is_wanted():
                server.handle_request()

        return {server.fileno()}, serve

    return _pod_server.start(pid, prepare, f"server on {address}:{port}", "k8s-edge", lifetime, pid_file)
