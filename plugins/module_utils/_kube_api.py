# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Ask the API server with the certificate of a kubeconfig and the standard library alone.

kubectl takes seconds per call on a slow machine, most of them to discover an API that is known beforehand.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
import re
import ssl
import tempfile
from http.client import HTTPException, HTTPSConnection
from typing import Any, Dict, Optional, Tuple
from urllib.parse import urlsplit

ADMIN_CONF = "/etc/kubernetes/admin.conf"
# For argument specs; documentation fragment kubeconfig describes it.
KUBECONFIG: Dict[str, Any] = {"kubeconfig": {"type": "path", "default": ADMIN_CONF}}
# A list whose items have their metadata only: what a Secret holds never leaves the API server.
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class KubeApiError(Exception):
    """The API server could not be asked; one sentence with address and reason."""


def _value(kubeconfig: str, key: str) -> str:
    # A kubeconfig of kubeadm has one cluster and one user, each key once, in plain scalars.
    found = re.search(rf"^\s*(?:- )?{re.escape(key)}:\s*(\S+)\s*$", kubeconfig, re.MULTILINE)
    if not found:
        raise KubeApiError(f"The kubeconfig has no {key}; one written by kubeadm is wanted, with its certificates inside.")
    return found.group(1).strip("'\"")


def _data(kubeconfig: str, key: str) -> bytes:
    """Certificate or key: inside the kubeconfig, or in the file that it names (as in kubelet.conf)."""
    if re.search(rf"^\s*{key}-data:", kubeconfig, re.MULTILINE):
        return base64.b64decode(_value(kubeconfig, f"{key}-data"))
    with open(_value(kubeconfig, key), "rb") as handle:
        return handle.read()


class KubeApi:
    """Requests to the API server of a kubeconfig, each on a connection of its own.

    server overrides the kubeconfig's, e.g. to ask one control plane and not the endpoint in front of all.
    """

    def __init__(self, kubeconfig: str = ADMIN_CONF, server: str = "", timeout: float = 30) -> None:
        try:
            with open(kubeconfig, encoding="utf-8") as handle:
                text = handle.read()
            self.server = server or _value(text, "server")
            self.timeout = timeout
            self._context = ssl.create_default_context(cadata=_data(text, "certificate-authority").decode())
            # Python 3.13 demands key identifiers (RFC 5280) that no other client of Kubernetes asks for; an older authority
            # brought by the user may lack them.
            self._context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
            self._load_client(_data(text, "client-certificate"), _data(text, "client-key"))
        except (OSError, ValueError, ssl.SSLError) as error:
            raise KubeApiError(f"The kubeconfig {kubeconfig} cannot be used: {error}.") from error

    def _load_client(self, certificate: bytes, key: bytes) -> None:
        # The ssl module reads files only. /run is memory; mkstemp makes the file readable by its owner alone.
        descriptor, path = tempfile.mkstemp(prefix="kube-api-", dir="/run" if os.access("/run", os.W_OK) else None)
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(certificate + b"\n" + key)
            self._context.load_cert_chain(path)
        finally:
            os.unlink(path)

    def request(
        self, method: str, path: str, body: Optional[Any] = None, content_type: str = "application/json", accept: str = "application/json"
    ) -> Tuple[int, Any]:
        """(status, answer): the answer is parsed JSON, or str where the server sends plain text.

        body is sent as JSON unless it is bytes or str. accept asks for another form, such as METADATA_LIST.
        Raises KubeApiError when there is no answer at all; every status, also 4xx and 5xx, is returned.
        """
        address = urlsplit(self.server)
        connection = HTTPSConnection(
            address.hostname or "", address.port or 443, timeout=self.timeout, context=self._context
        )
        headers = {"Accept": accept}
        data = body
        if body is not None:
            headers["Content-Type"] = content_type
            if not isinstance(body, (bytes, str)):
                data = json.dumps(body)
        try:
            connection.request(method, path, body=data, headers=headers)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
            status = response.status
        except (OSError, HTTPException) as error:
            raise KubeApiError(f"{self.server} gave no answer to {method} {path}: {error or type(error).__name__}.") from error
        finally:
            connection.close()
        answer: Any = text
        if text[:1] in ("{", "["):
            try:
                answer = json.loads(text)
            except ValueError:
                pass
        return status, answer

    def get(self, path: str) -> Any:
        """The object at path, or None where there is none (404); any other refusal is a KubeApiError."""
        status, answer = self.request("GET", path)
        if status == 404:
            return None
        if status != 200:
            raise KubeApiError(f"{self.server} answered GET {path} with {status}: {reason(answer)}")
        return answer


def seconds_since(text: Any, now: float) -> Optional[float]:
    """Seconds from a time as the API writes it until now (seconds since 1970); None when it is none."""
    try:
        then = datetime.datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return None
    return now - then.timestamp()


def reason(answer: Any) -> str:
    """The sentence in a Status object (API convention), else the start of the text."""
    if isinstance(answer, Dict) and answer.get("message"):
        return str(answer["message"])
    return str(answer)[:300]
