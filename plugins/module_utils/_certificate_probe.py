# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""A certificate from each issuer, tried as a server and a client would."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApi
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_apply import Applier, condition_problem
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, Check, check

API_VERSION = "cert-manager.io/v1"
HOST = "probe.cert-manager.test"
PREFIX = "baremetal-kubernetes-probe-"
LABEL = "baremetal.kubernetes/probe"
# The Certificate first: without it nobody makes its Secret again.
KINDS = (f"{API_VERSION}/Certificate", "v1/Secret")
WANTED = f"a Certificate for {HOST} becomes Ready, and a TLS client that trusts its authority accepts it"
# OpenSSL's X509_V_FLAG_PARTIAL_CHAIN (the name is in Python 3.10 and later) and X509_V_ERR_CERT_NOT_YET_VALID
_PARTIAL_CHAIN = 0x80000
_NOT_YET_VALID = 9


class Issuer(NamedTuple):
    """A ClusterIssuer and the Secret with the certificate of its authority; without one, each certificate is its own."""

    name: str
    ca_secret: str


class Trial(NamedTuple):
    """What one try came to; problem is empty when all is well."""

    problem: str
    fix: str = ""
    # it may be another one in a moment
    may_pass: bool = True


def certificate(namespace: str, issuer: str) -> Dict[str, Any]:
    """The Certificate that is asked for."""
    name = PREFIX + issuer
    return {
        "apiVersion": API_VERSION,
        "kind": "Certificate",
        "metadata": {"name": name, "namespace": namespace, "labels": {LABEL: "cert-manager"}},
        "spec": {
            "secretName": name,
            "secretTemplate": {"labels": {LABEL: "cert-manager"}},
            # a certificate that signs itself needs a subject, or it has no issuer
            "commonName": HOST,
            "dnsNames": [HOST],
            "duration": "1h",
            "privateKey": {"algorithm": "ECDSA", "size": 256},
            "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": issuer},
        },
    }


def handshake(chain: bytes, key: bytes, authority: bytes, host: str = HOST) -> None:
    """A TLS server with this certificate and a client that trusts the authority alone, within this process.

    Raises ssl.SSLError when key and certificate do not belong together, or the client would turn away.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The ssl module reads files only. /run is memory; mkstemp makes the file readable by its owner alone.
    descriptor, path = tempfile.mkstemp(prefix="certificate-probe-", dir="/run" if os.access("/run", os.W_OK) else None)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(chain + b"\n" + key)
        # without a password a key with a passphrase would ask for it
        server.load_cert_chain(path, password="")
    finally:
        os.unlink(path)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=authority.decode())
    # the authority may be an intermediate one, and is trusted all the same
    client.verify_flags |= _PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while sides:
        waiting = []
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                waiting.append(side)
        # both wait for the other: nothing can come any more
        if waiting == sides and not (to_server.pending or to_client.pending):
            raise ssl.SSLError("the handshake does not go on")
        sides = waiting


def secret_data(secret: Optional[Dict[str, Any]], key: str) -> bytes:
    """One entry of a Secret, empty where there is none."""
    return base64.b64decode(((secret or {}).get("data") or {}).get(key) or "")


class Probe:
    """Asks all issuers at once, and removes what that made."""

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        wait_seconds: float,
        poll_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.api, self.namespace = api, namespace
        self.wait_seconds, self.poll_seconds = wait_seconds, poll_seconds
        self._clock, self._sleep = clock, sleep

    def _applier(self) -> Applier:
        return Applier(
            self.api,
            "baremetal.kubernetes",
            wait_seconds=self.wait_seconds,
            poll_seconds=self.poll_seconds,
            clock=self._clock,
            sleep=self._sleep,
        )

    def remove(self) -> None:
        """Whatever this or an earlier probe made."""
        self._applier().prune(f"{LABEL}=cert-manager", KINDS, [], self.namespace)

    def _secret(self, name: str) -> Optional[Dict[str, Any]]:
        found: Optional[Dict[str, Any]] = self.api.get(f"/api/v1/namespaces/{self.namespace}/secrets/{name}")
        return found

    def trial(self, issuer: Issuer) -> Trial:
        """Look at the certificate once."""
        name = PREFIX + issuer.name
        found = self.api.get(f"/apis/{API_VERSION}/namespaces/{self.namespace}/certificates/{name}")
        problem = condition_problem(found, "Certificate", f"{self.namespace}/{name}", "Ready", "True")
        if problem:
            return Trial(
                problem,
                f"Why says `kubectl describe clusterissuer {issuer.name}` and `kubectl -n {self.namespace} logs deployment/cert-manager`.",
            )
        secret = self._secret(name)
        chain = secret_data(secret, "tls.crt")
        authority = secret_data(self._secret(issuer.ca_secret), "tls.crt") if issuer.ca_secret else chain
        for what, text in ((name, chain), (issuer.ca_secret, authority)):
            if not text:
                return Trial(f"Secret {self.namespace}/{what} has no tls.crt", f"See `kubectl -n {self.namespace} describe secret {what}`.")
        try:
            handshake(chain, secret_data(secret, "tls.key"), authority)
        except ssl.SSLCertVerificationError as error:
            if error.verify_code == _NOT_YET_VALID:
                return Trial(
                    "its certificate is not valid yet",
                    "The clock here is behind that of cert-manager's node: synchronise the clocks (chrony).",
                )
            return self._refused(issuer, error.verify_message)
        except (ssl.SSLError, ValueError) as error:
            return self._refused(issuer, " ".join(str(error).split()))
        return Trial("")

    def _refused(self, issuer: Issuer, why: str) -> Trial:
        held = f"the certificate in Secret {self.namespace}/{issuer.ca_secret}" if issuer.ca_secret else "the issuer"
        return Trial(
            f"its certificate is not accepted: {why}",
            f"Look at {held} with `openssl x509 -noout -text`: is it an authority's, is it valid, does its key belong to it?",
            may_pass=False,
        )

    def run(self, issuers: List[Issuer]) -> List[Check]:
        """One finding per issuer."""
        begin = self._clock()
        self.remove()
        applier = self._applier()
        for issuer in issuers:
            applier.apply(certificate(self.namespace, issuer.name))
        trials: Dict[str, Trial] = {}
        while True:
            for issuer in issuers:
                before = trials.get(issuer.name)
                if before is None or (before.problem and before.may_pass):
                    trials[issuer.name] = self.trial(issuer)
            pending = any(trial.problem and trial.may_pass for trial in trials.values())
            if not pending or self._clock() - begin + self.poll_seconds > self.wait_seconds:
                break
            self._sleep(self.poll_seconds)
        return [finding(issuer.name, trials[issuer.name]) for issuer in issuers]


def finding(issuer: str, trial: Trial) -> Check:
    """The trial in the common shape."""
    if trial.problem:
        return check(f"certificate/{issuer}", FAIL, trial.problem, WANTED, trial.fix)
    return check(f"certificate/{issuer}", PASS, f"issued for {HOST}, and accepted", WANTED)
