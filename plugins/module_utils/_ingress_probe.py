# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""An Ingress in front of the probe pods with a certificate of its own, and where its controller is to be found."""

from __future__ import annotations

import base64
import os
import tempfile
import time
from typing import Any, Callable, Dict, List, Sequence, Tuple
from urllib.parse import quote

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import Runner
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApi, KubeApiError, reason
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, Check, check
from ansible_collections.baremetal.kubernetes.plugins.module_utils._probe_pods import LABELS, OWNER, OWNER_LABEL

NAME = "verify-edge"
_APPLY = f"?fieldManager={OWNER}&force=true"
# a webhook or an API server that is not up yet, and too many requests
_PASSING = (429, 500, 502, 503, 504)
_DAYS = "2"


class IngressProbeError(Exception):
    """The Ingress could not be made; one sentence."""


def key_kind(tls_ciphers: Sequence[str]) -> str:
    """ecdsa where a certificate with an RSA key could not be used with any of these suites."""
    return "ecdsa" if tls_ciphers and all("ECDSA" in name for name in tls_ciphers) else "rsa"


def make_certificate(host: str, kind: str, run: Runner) -> Dict[str, str]:
    """{"ca", "certificate", "key"} as PEM, from a new authority whose key is forgotten; {"error"} where openssl cannot."""
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"] if kind == "ecdsa" else ["-newkey", "rsa:2048"]
    # /run is memory; the folder is its owner's alone
    with tempfile.TemporaryDirectory(prefix="verify-edge-", dir="/run" if os.access("/run", os.W_OK) else None) as folder:
        path = {name: os.path.join(folder, name) for name in ("ca.key", "ca.pem", "tls.key", "tls.csr", "tls.pem", "ca.conf", "names")}
        # what RFC 5280 demands, whatever this machine's own openssl.cnf has
        with open(path["ca.conf"], "w", encoding="utf-8") as handle:
            handle.write(
                "[req]\ndistinguished_name=name\nx509_extensions=authority\n[name]\n[authority]\nbasicConstraints=critical,CA:TRUE\n"
                "keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
            )
        with open(path["names"], "w", encoding="utf-8") as handle:
            handle.write(
                f"subjectAltName=DNS:{host}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n"
                "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
            )
        # The names are in the extension: a common name may have 64 characters only.
        commands = [
            [
                "req",
                "-x509",
                "-config",
                path["ca.conf"],
                *new_key,
                "-nodes",
                "-keyout",
                path["ca.key"],
                "-out",
                path["ca.pem"],
                "-days",
                _DAYS,
                "-subj",
                "/CN=verify edge authority",
            ],
            ["req", "-new", *new_key, "-nodes", "-keyout", path["tls.key"], "-out", path["tls.csr"], "-subj", "/CN=verify edge"],
            ["x509", "-req", "-in", path["tls.csr"], "-CA", path["ca.pem"], "-CAkey", path["ca.key"], "-set_serial", str(time.time_ns())]
            + ["-days", _DAYS, "-sha256", "-extfile", path["names"], "-out", path["tls.pem"]],
        ]
        for arguments in commands:
            rc, out, err = run(["openssl", *arguments], 60)
            if rc != 0:
                lines = (err or out).strip().splitlines()
                return {"error": lines[-1] if lines else f"openssl ended with {rc}"}
        texts = {}
        for key, name in (("ca", "ca.pem"), ("certificate", "tls.pem"), ("key", "tls.key")):
            with open(path[name], encoding="utf-8") as handle:
                texts[key] = handle.read()
        return texts


def manifests(
    namespace: str, host: str, plain_host: str, ingress_class: str, port: int, secret: Dict[str, str]
) -> List[Tuple[str, Dict[str, Any]]]:
    """(path, object) of the Secret if there is one, the Service and the Ingress."""
    meta = {"name": NAME, "namespace": namespace, "labels": LABELS}
    backend = {"service": {"name": NAME, "port": {"number": port}}}
    rules = [{"host": name, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}} for name in (host, plain_host)]
    # a host with TLS would send plain requests to https, so that one has none
    tls: Dict[str, Any] = {"hosts": [host]}
    found = []
    if secret:
        tls["secretName"] = NAME
        data = {name: base64.b64encode(secret[key].encode()).decode() for name, key in (("tls.crt", "certificate"), ("tls.key", "key"))}
        found.append(
            (
                f"/api/v1/namespaces/{namespace}/secrets/{NAME}",
                {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": meta, "data": data},
            )
        )
    return found + [
        (
            f"/api/v1/namespaces/{namespace}/services/{NAME}",
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": meta,
                "spec": {"selector": LABELS, "ports": [{"name": "http", "protocol": "TCP", "port": port, "targetPort": port}]},
            },
        ),
        (
            f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses/{NAME}",
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": meta,
                "spec": {"ingressClassName": ingress_class, "tls": [tls], "rules": rules},
            },
        ),
    ]


class IngressProbe:
    """Make the Ingress and find its controller; what was made goes with the namespace."""

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        wait_seconds: float,
        poll_seconds: float = 3,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.api = api
        self.namespace = namespace
        self.poll_seconds = poll_seconds
        self._clock = clock
        self._sleep = sleep
        self._deadline = clock() + wait_seconds

    def _is_late(self) -> bool:
        return self._clock() + self.poll_seconds > self._deadline

    def apply(self, objects: Sequence[Tuple[str, Dict[str, Any]]]) -> None:
        """Apply all in the namespace of the probe pods, and in no other."""
        found = self.api.get(f"/api/v1/namespaces/{self.namespace}")
        labels = ((found or {}).get("metadata") or {}).get("labels") or {}
        if labels.get(OWNER_LABEL) != OWNER:
            raise IngressProbeError(f"The namespace {self.namespace} is not one of module probe_pods; make the probe pods first.")
        for path, content in objects:
            while True:
                status, answer = self.api.request("PATCH", path + _APPLY, content, "application/apply-patch+yaml")
                if status in (200, 201):
                    break
                if status not in _PASSING or self._is_late():
                    raise IngressProbeError(
                        f"{content['kind']} {self.namespace}/{content['metadata']['name']} was refused with {status}: "
                        f"{reason(answer).rstrip('. ')}."
                        " Does the admission webhook of the ingress controller answer (`kubectl get validatingwebhookconfigurations`)?"
                    )
                self._sleep(self.poll_seconds)

    def _items(self, kind: str, namespace: str, selector: str) -> List[Dict[str, Any]]:
        return (self.api.get(f"/api/v1/namespaces/{namespace}/{kind}?labelSelector={quote(selector, safe='')}") or {}).get("items") or []

    def _look(self, namespace: str, selector: str, exposure: str) -> Tuple[List[Dict[str, Any]], int, List[str]]:
        """(pods that are ready, how many are not, addresses)."""
        ready, waiting = [], 0
        for pod in self._items("pods", namespace, selector):
            status, spec = pod.get("status") or {}, pod.get("spec") or {}
            conditions = {item.get("type"): item.get("status") for item in status.get("conditions") or []}
            if pod["metadata"].get("deletionTimestamp") or status.get("phase") in ("Succeeded", "Failed"):
                continue
            if conditions.get("Ready") == "True":
                ready.append(
                    {
                        "node": spec.get("nodeName") or "",
                        "node_address": status.get("hostIP") or "",
                        "namespace": namespace,
                        "name": pod["metadata"]["name"],
                        "uid": pod["metadata"]["uid"],
                        "host_network": bool(spec.get("hostNetwork")),
                    }
                )
            else:
                waiting += 1
        ready.sort(key=lambda item: (item["node"], item["name"]))
        if exposure == "host_network":
            addresses = [pod["node_address"] for pod in ready if pod["node_address"]]
        else:
            addresses = [
                item["ip"]
                for service in self._items("services", namespace, selector)
                if (service.get("spec") or {}).get("type") == "LoadBalancer"
                for item in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
                if item.get("ip")
            ]
        return ready, waiting, list(dict.fromkeys(addresses))

    def find(self, namespace: str, selector: str, exposure: str) -> Dict[str, Any]:
        """{"controllers", "addresses", "checks"} once every pod of the controller is ready and has an address in front."""
        while True:
            problem = ""
            try:
                ready, waiting, addresses = self._look(namespace, selector, exposure)
            except KubeApiError as error:
                ready, waiting, addresses, problem = [], 0, [], str(error)
            if (ready and not waiting and addresses) or self._is_late():
                break
            self._sleep(self.poll_seconds)
        checks = []
        where = f"`kubectl -n {namespace} describe"
        wanted = f"every pod of the ingress controller ready ({selector} in {namespace})"
        if problem:
            checks.append(check("edge_controller", UNKNOWN, problem, wanted, "Does the API server answer? See the other findings."))
        else:
            good = bool(ready) and not waiting
            checks.append(
                check(
                    "edge_controller",
                    PASS if good else FAIL,
                    f"{len(ready)} ready, {waiting} not",
                    wanted,
                    f"{where} pods`, and their logs.",
                )
            )
        if ready and not addresses:
            wanted = "an address on the controller's Service of type LoadBalancer"
            fix = f"{where} services`: is there a pool with a free address, and does its controller (MetalLB) run?"
            checks.append(check("edge_address", FAIL, "none", wanted, fix))
        return {"controllers": ready, "addresses": addresses, "checks": checks}


def prepare(
    probe: IngressProbe,
    run: Runner,
    host: str,
    plain_host: str,
    ingress_class: str,
    port: int,
    tls_ciphers: Sequence[str],
    controller: Dict[str, str],
) -> Dict[str, Any]:
    """{"addresses", "controllers", "ca", "checks"}: ca is the authority of the Ingress's certificate, empty when it has none of its own."""
    checks: List[Check] = []
    made = make_certificate(host, key_kind(tls_ciphers), run)
    if "error" in made:
        wanted = "a certificate for the probe's Ingress, made with openssl on this host"
        checks.append(check("edge_probe_certificate", UNKNOWN, made["error"], wanted, "Install openssl on the first control plane."))
        made = {}
    probe.apply(manifests(probe.namespace, host, plain_host, ingress_class, port, made))
    found = probe.find(controller["namespace"], controller["selector"], controller["exposure"])
    return {**found, "ca": made.get("ca", ""), "checks": checks + found["checks"]}
