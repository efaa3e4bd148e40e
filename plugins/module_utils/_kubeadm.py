# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Run kubeadm so that a run killed anywhere can be run again, and so that no secret is printed.

kubeadm itself keeps no record of how far it came. A marker file made before and removed after the command
tells a finished node from one whose kubeadm was killed; a node without marker that has its kubeconfig is
finished, whoever built it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import signal
import subprocess
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import NOT_FOUND, SEARCH_PATH, Runner, run_command
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import ADMIN_CONF, KubeApi, KubeApiError, reason

KUBERNETES_DIR = "/etc/kubernetes"
MARKER = "/etc/kubernetes/.kubeadm-unfinished"
LOCK = "/run/kubernetes-kubeadm.lock"
LOG_DIR = "/var/log/kubernetes"
KUBELET_CLIENT_CERTIFICATE = "/var/lib/kubelet/pki/kubelet-client-current.pem"

# What the configuration files hold instead of secrets, on the node as in an offline rendering.
PLACEHOLDER_TOKEN = "abcdef.0123456789abcdef"
PLACEHOLDER_CA_CERT_HASH = "sha256:" + "0" * 64
PLACEHOLDER_CERTIFICATE_KEY = "0" * 64

# Leftovers of our own unfinished run, which kubeadm's preflight would refuse (names as in
# cmd/kubeadm/app/preflight/checks.go; a name that a version does not know is accepted by kubeadm). The API server's
# port comes from the configuration.
LEFTOVER_CHECKS = (
    "DirAvailable--var-lib-etcd",
    "FileAvailable--etc-kubernetes-manifests-etcd.yaml",
    "FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml",
    "FileAvailable--etc-kubernetes-manifests-kube-controller-manager.yaml",
    "FileAvailable--etc-kubernetes-manifests-kube-scheduler.yaml",
    "FileAvailable--etc-kubernetes-kubelet.conf",
    "FileAvailable--etc-kubernetes-bootstrap-kubelet.conf",
    "FileAvailable--etc-kubernetes-pki-ca.crt",
    "Port-2379",
    "Port-2380",
    "Port-10250",
    "Port-10251",
    "Port-10252",
    "Port-10257",
    "Port-10259",
)

# What kubeadm's kubelet-start phase refuses, from 1.20 to 1.37.
NODE_IS_READY = 'and status "Ready" already exists in the cluster'

TOKEN_PATTERN = re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b")
CA_CERT_HASH_PATTERN = re.compile(r"sha256:[0-9a-f]{64}\b")
CERTIFICATE_KEY_PATTERN = re.compile(r"(?<![0-9a-f:])[0-9a-f]{64}(?![0-9a-f])")

# Not the name of the control plane endpoint, which can look like one.
JOIN_TOKEN_PATTERN = re.compile(r"(?<=--token )" + TOKEN_PATTERN.pattern)
API_PORT_PATTERN = re.compile(r"^\s*bindPort: (\d+)\s*$", re.MULTILINE)
SKIPPED_PATTERN = re.compile(r"^skipPhases:\n((?:\s*- .*\n)+)", re.MULTILINE)

# Seconds for every command but kubeadm init and kubeadm join.
SHORT_SECONDS = 300

# (argv, log file, seconds) -> (return code or None on time-out, output with secrets removed)
LongRunner = Callable[[Sequence[str], str, float], Tuple[Optional[int], str]]


class KubeadmError(Exception):
    """One sentence for the person who runs the playbook, with the evidence behind it."""

    def __init__(self, message: str, **evidence: Any) -> None:
        super().__init__(message)
        self.evidence = evidence


def scrub(text: str) -> str:
    """Take bootstrap tokens and certificate keys out of a text; the CA hash is public and stays."""
    text = TOKEN_PATTERN.sub("<token>", text)
    return CERTIFICATE_KEY_PATTERN.sub("<certificate key>", text)


def substitute(config: str, secrets: Dict[str, str]) -> str:
    """Put the real values where a configuration has placeholders.

    secrets: {token, ca_cert_hash, certificate_key}, each a str, all optional. Raises KubeadmError for a
    placeholder whose value is missing: kubeadm must never run with a value that everybody knows.
    """
    for name, placeholder in (
        ("token", PLACEHOLDER_TOKEN),
        # The hash first: its placeholder ends with the other one's 64 zeros.
        ("ca_cert_hash", PLACEHOLDER_CA_CERT_HASH),
        ("certificate_key", PLACEHOLDER_CERTIFICATE_KEY),
    ):
        if placeholder not in config:
            continue
        if not secrets.get(name):
            raise KubeadmError(
                f"The kubeadm configuration has the placeholder of {name} and no value was given for it;"
                f" pass secrets.{name}."
            )
        config = config.replace(placeholder, secrets[name])
    return config


def is_whole_pem(text: str) -> bool:
    """Whether a PEM file was written to its end (RFC 7468: every BEGIN line has its END line)."""
    begins = re.findall(r"^-----BEGIN ([A-Z0-9 ]+)-----$", text, re.MULTILINE)
    ends = re.findall(r"^-----END ([A-Z0-9 ]+)-----$", text, re.MULTILINE)
    return bool(begins) and begins == ends


def default_long_run(argv: Sequence[str], log_path: str, seconds: float) -> Tuple[Optional[int], str]:
    """Run kubeadm, write what it prints (secrets removed) into a root-only log line by line, stop it after its time."""
    os.makedirs(os.path.dirname(log_path), mode=0o755, exist_ok=True)
    descriptor = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    lines: List[str] = []
    with os.fdopen(descriptor, "a", encoding="utf-8") as log:
        log.write(f"--- {time.strftime('%Y-%m-%dT%H:%M:%S%z')} {' '.join(argv)}\n")
        log.flush()
        # close_fds=False hands the lock to kubeadm: it is held for as long as kubeadm really runs.
        try:
            process = subprocess.Popen(  # pylint: disable=consider-using-with
                list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                close_fds=False, env=dict(os.environ, LC_ALL="C", PATH=SEARCH_PATH), start_new_session=True,
            )
        except FileNotFoundError:
            return NOT_FOUND, f"{argv[0]}: command not found in {SEARCH_PATH}"
        with process:
            expired = threading.Event()

            def stop() -> None:
                expired.set()
                os.killpg(process.pid, signal.SIGTERM)

            timer = threading.Timer(seconds, stop)
            timer.start()
            try:
                for raw in process.stdout or ():
                    line = scrub(raw.decode("utf-8", "replace"))
                    lines.append(line)
                    log.write(line)
                    log.flush()
                code = process.wait()
            finally:
                timer.cancel()
    return (None if expired.is_set() else code), "".join(lines)


class Kubeadm:
    """What a node's kubeadm has done so far, and the next step.

    root is put before every path (tests), run and long_run start programs, api makes a KubeApi.
    """

    def __init__(
        self,
        run: Runner = run_command,
        long_run: LongRunner = default_long_run,
        root: str = "",
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        api: Callable[..., Any] = KubeApi,
    ) -> None:
        self.run = run
        self.long_run = long_run
        self.root = root
        self.sleep = sleep
        self.clock = clock
        self.api = api

    def path(self, path: str) -> str:
        return self.root + path

    def exists(self, path: str) -> bool:
        return os.path.exists(self.path(path))

    # --- state

    def state(self) -> Dict[str, Any]:
        """{member: bool, control_plane: bool, unfinished: str|None}: unfinished names the action that was cut short."""
        unfinished = None
        if self.exists(MARKER):
            with open(self.path(MARKER), encoding="utf-8") as marker:
                unfinished = marker.read().strip() or "unknown"
        control_plane = self.exists(KUBERNETES_DIR + "/manifests/kube-apiserver.yaml")
        member = self.exists(KUBERNETES_DIR + "/kubelet.conf") and unfinished is None
        return {"member": member, "control_plane": control_plane and member, "unfinished": unfinished}

    # --- the lock

    def lock(self, seconds: float) -> Any:
        """Hold the lock for this process; a kubeadm of an interrupted run may still be at work and is waited for."""
        os.makedirs(os.path.dirname(self.path(LOCK)), exist_ok=True)
        handle = open(self.path(LOCK), "a+", encoding="utf-8")  # pylint: disable=consider-using-with
        os.set_inheritable(handle.fileno(), True)
        waited = 0.0
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
            except OSError:
                if waited >= seconds:
                    handle.close()
                    raise KubeadmError(
                        f"A kubeadm started earlier still runs after {seconds:.0f} s of waiting; look at it with"
                        " 'pgrep -a kubeadm' and /var/log/kubernetes, then run the playbook again."
                    ) from None
                self.sleep(5)
                waited += 5

    # --- actions

    def init(
        self, config: str, arguments: Sequence[str], seconds: float, check: bool,
    ) -> bool:
        """Make the first control plane; True when something was (or in check mode would be) done."""
        if self.state()["member"]:
            return False
        if check:
            return True
        return self._locked("init", config, {}, arguments, seconds)

    def join(
        self, config: str, secrets: Dict[str, str], arguments: Sequence[str], seconds: float, check: bool,
    ) -> bool:
        """Join this node; True when something was (or in check mode would be) done."""
        if self.state()["member"]:
            return False
        if check:
            return True
        return self._locked("join", config, secrets, arguments, seconds)

    def _locked(
        self, action: str, config: str, secrets: Dict[str, str], arguments: Sequence[str], seconds: float,
    ) -> bool:
        with self.lock(seconds):
            # The earlier run may have finished while this one waited.
            state = self.state()
            if state["member"]:
                return False
            with open(self.path(config), encoding="utf-8") as source:
                text = substitute(source.read(), secrets)
            argv = ["kubeadm", action, "--config", self.path(f"/run/kubernetes-kubeadm-{action}.yaml"), *arguments]
            if state["unfinished"]:
                self._drop_half_written()
                # kubeadm joins this list with the one of the configuration.
                ports = [f"Port-{port}" for port in API_PORT_PATTERN.findall(text) or ["6443"]]
                argv += ["--ignore-preflight-errors", ",".join([*LEFTOVER_CHECKS, *ports])]
            self._mark(action)
            log = f"{LOG_DIR}/kubeadm-{action}.log"
            try:
                self._write_for_root(argv[3], text)
                code, output = self.long_run(argv, self.path(log), seconds)
                if code and NODE_IS_READY in output and state["unfinished"] and self._has_bootstrapped():
                    # The Ready node is this one: the kubelet of the killed run has joined. kubeadm goes on behind that phase.
                    # The argument takes the place of the configuration's list.
                    skipped = re.findall(r"- (\S+)", "".join(SKIPPED_PATTERN.findall(text)))
                    argv += ["--skip-phases", ",".join([*skipped, "kubelet-start"])]
                    code, output = self.long_run(argv, self.path(log), seconds)
            finally:
                if os.path.exists(argv[3]):
                    os.unlink(argv[3])
            if code != 0:
                what = f"did not finish within {seconds:.0f} s" if code is None else f"ended with return code {code}"
                raise KubeadmError(
                    f"kubeadm {action} {what}; its last words are below, all of them are in {log} on the node;"
                    " mend the cause and run the playbook again, it goes on from here.",
                    argv=argv, rc=code, output=output.splitlines()[-40:], **self.evidence(),
                )
            os.unlink(self.path(MARKER))
            return True

    def secrets(self, ttl: str, certificate_key: bool, config: str) -> Dict[str, str]:
        """A new bootstrap token with its CA hash and, on demand, a certificate key; on a finished control plane."""
        token, ca_cert_hash = self._expect(
            ["kubeadm", "token", "create", "--kubeconfig", ADMIN_CONF, "--ttl", ttl, "--print-join-command"],
            {"token": JOIN_TOKEN_PATTERN, "ca_cert_hash": CA_CERT_HASH_PATTERN},
        )
        found = {"token": token, "ca_cert_hash": ca_cert_hash, "certificate_key": ""}
        if certificate_key:
            (found["certificate_key"],) = self._expect(
                ["kubeadm", "init", "phase", "upload-certs", "--upload-certs", "--config", config],
                {"certificate_key": CERTIFICATE_KEY_PATTERN},
            )
        return found

    def phase(self, phase: Sequence[str], config: str) -> None:
        """Run one phase of kubeadm init again with the present configuration."""
        argv = ["kubeadm", "init", "phase", *phase, "--config", self.path(config)]
        code, out, err = self.run(argv, SHORT_SECONDS)
        if code != 0:
            raise KubeadmError(
                f"kubeadm init phase {' '.join(phase)} ended with return code {code}: {scrub(err.strip() or out.strip())}",
                argv=argv, rc=code,
            )

    def wait(self, node_ip: str, port: int, seconds: float, check: bool) -> Dict[str, Any]:
        """Wait until this node's API server is ready; {admin_conf_sha256, kube_proxy_config, waited}.

        In check mode on a node that is no control plane yet there is nothing to wait for: the values are None.
        """
        if check and not self.exists(ADMIN_CONF):
            return {"admin_conf_sha256": None, "kube_proxy_config": None, "waited": 0}
        host = f"[{node_ip}]" if ":" in node_ip else node_ip
        begun = self.clock()
        while True:
            try:
                api = self.api(self.path(ADMIN_CONF), f"https://{host}:{port}")
                status, answer = api.request("GET", "/readyz")
                if status == 200:
                    config_map = api.get("/api/v1/namespaces/kube-system/configmaps/kube-proxy")
                    break
                seen = f"answers /readyz with {status}: {reason(answer)}"
            except KubeApiError as error:
                seen = f"cannot be asked: {error}"
            if self.clock() - begun >= seconds:
                raise KubeadmError(
                    f"The API server at {host}:{port} {seen}; ready was wanted within {seconds:.0f} s;"
                    " look at its log in /var/log/pods/kube-system_kube-apiserver-* on the node.",
                    **self.evidence(),
                )
            self.sleep(5)
        with open(self.path(ADMIN_CONF), "rb") as handle:
            digest = hashlib.sha256(handle.read()).hexdigest()
        return {
            "admin_conf_sha256": digest,
            "kube_proxy_config": (config_map or {}).get("data", {}).get("config.conf"),
            "waited": round(self.clock() - begun),
        }

    # --- helpers

    def _expect(self, argv: Sequence[str], patterns: Dict[str, "re.Pattern[str]"]) -> List[str]:
        code, out, err = self.run(argv, SHORT_SECONDS)
        found = [pattern.search(out) for pattern in patterns.values()]
        if code != 0 or not all(found):
            raise KubeadmError(
                f"'{' '.join(argv)}' ended with return code {code} and did not print a {' and a '.join(patterns)}:"
                f" {scrub(err.strip())[-500:]}; is the API server of this control plane reachable?",
                argv=list(argv), rc=code,
            )
        return [match.group(0) for match in found if match]

    def _mark(self, action: str) -> None:
        os.makedirs(self.path(KUBERNETES_DIR), mode=0o755, exist_ok=True)
        if not self.exists(MARKER):
            with open(self.path(MARKER), "w", encoding="utf-8") as marker:
                marker.write(action + "\n")
                marker.flush()
                os.fsync(marker.fileno())

    @staticmethod
    def _write_for_root(path: str, text: str) -> None:
        """A file with secrets, in memory (/run is a tmpfs), for one command."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.exists(path):
            os.unlink(path)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as target:
            target.write(text)

    def _drop_half_written(self) -> List[str]:
        """Remove certificates and kubeconfigs that the killed run left half written.

        kubeadm keeps any file it finds and fails on a broken one. Only files newer than the marker, hence
        made by the unfinished run, are looked at: a certificate authority brought by the user is never touched.
        A key is written before its certificate and is half of a pair without it; a certificate alone is whole, such as
        the ca.crt of a worker.
        """
        since = os.stat(self.path(MARKER)).st_mtime
        dropped: List[str] = []

        def broken(path: str, whole: bool) -> bool:
            return os.path.isfile(path) and not whole and os.stat(path).st_mtime >= since

        for folder, _dirs, names in os.walk(self.path(KUBERNETES_DIR + "/pki")):
            for name in sorted(names):
                path = os.path.join(folder, name)
                if not os.path.exists(path):
                    continue
                stem, extension = os.path.splitext(path)
                partner = stem + {".key": ".crt", ".crt": ".key"}.get(extension, "")
                if name.startswith("sa."):
                    partner = stem + (".pub" if extension == ".key" else ".key")
                with open(path, encoding="utf-8", errors="replace") as handle:
                    whole = is_whole_pem(handle.read()) and (extension != ".key" or os.path.exists(partner))
                if broken(path, whole):
                    for victim in (path, partner):
                        if os.path.exists(victim) and os.stat(victim).st_mtime >= since:
                            os.unlink(victim)
                            dropped.append(victim)
        for name in ("admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf", "kubelet.conf"):
            path = self.path(f"{KUBERNETES_DIR}/{name}")
            if not os.path.exists(path):
                continue
            with open(path, encoding="utf-8", errors="replace") as handle:
                text = handle.read()
            # clientcmd writes the users last, each with its key data or key file.
            if broken(path, "client-key" in text and text.endswith("\n")):
                os.unlink(path)
                dropped.append(path)
        return dropped

    def _has_bootstrapped(self) -> bool:
        """Whether this node's kubelet has a certificate of its own from the cluster."""
        return self.exists(KUBERNETES_DIR + "/kubelet.conf") and self.exists(KUBELET_CLIENT_CERTIFICATE)

    def evidence(self) -> Dict[str, Any]:
        """What a person would look at next: the kubelet's state and last words, and which containers run."""
        _code, active, _err = self.run(["systemctl", "is-active", "kubelet", "containerd"], SHORT_SECONDS)
        _code, journal, _err = self.run(["journalctl", "-u", "kubelet", "-n", "15", "--no-pager", "-o", "cat"], SHORT_SECONDS)
        _code, tasks, _err = self.run(["ctr", "-n", "k8s.io", "tasks", "ls"], SHORT_SECONDS)
        return {
            "units": dict(zip(("kubelet", "containerd"), active.split())),
            "kubelet_journal": scrub(journal).splitlines(),
            "containers": tasks.splitlines(),
        }
