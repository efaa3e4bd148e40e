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

from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApi, KubeApiError, reason

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
# cmd/kubeadm/app/preflight/checks.go; a name that a version does not know is accepted by kubeadm).
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
    "Port-6443",
    "Port-10250",
    "Port-10251",
    "Port-10252",
    "Port-10257",
    "Port-10259",
)

TOKEN_PATTERN = re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b")
CA_CERT_HASH_PATTERN = re.compile(r"sha256:[0-9a-f]{64}\b")
CERTIFICATE_KEY_PATTERN = re.compile(r"(?<![0-9a-f:])[0-9a-f]{64}(?![0-9a-f])")

# (argv, extra environment) -> (return code, standard output, standard error)
CommandRunner = Callable[[Sequence[str]], Tuple[int, str, str]]
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


def default_run(argv: Sequence[str]) -> Tuple[int, str, str]:
    """Run a short command; a missing program is return code 127, as in a shell."""
    try:
        done = subprocess.run(
            list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=300, check=False, env=command_environment(),
        )
    except FileNotFoundError as error:
        return 127, "", str(error)
    except subprocess.TimeoutExpired:
        return 124, "", f"{argv[0]} gave no answer within 300 s"
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def command_environment() -> Dict[str, str]:
    """The environment for kubeadm: sudo's secure_path on EL has no /usr/local/bin, where bundles install."""
    environment = dict(os.environ, LC_ALL="C", KUBECONFIG=os.path.join(KUBERNETES_DIR, "admin.conf"))
    environment["PATH"] = environment.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin") + ":/usr/local/sbin:/usr/local/bin"
    return environment


def default_long_run(argv: Sequence[str], log_path: str, seconds: float) -> Tuple[Optional[int], str]:
    """Run kubeadm, write what it prints (secrets removed) into a root-only log line by line, stop it after its time."""
    os.makedirs(os.path.dirname(log_path), mode=0o755, exist_ok=True)
    descriptor = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    lines: List[str] = []
    with os.fdopen(descriptor, "a", encoding="utf-8") as log:
        log.write(f"--- {time.strftime('%Y-%m-%dT%H:%M:%S%z')} {' '.join(argv)}\n")
        log.flush()
        # close_fds=False hands the lock to kubeadm: it is held for as long as kubeadm really runs.
        with subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            close_fds=False, env=command_environment(), start_new_session=True,
        ) as process:
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
        run: CommandRunner = default_run,
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
            argv = ["kubeadm", action, "--config", "", *arguments]
            if state["unfinished"]:
                self._drop_half_written()
                # kubeadm joins this list with the one of the configuration.
                argv += ["--ignore-preflight-errors", ",".join(LEFTOVER_CHECKS)]
                if action == "join" and self._already_registered():
                    os.unlink(self.path(MARKER))
                    return True
            self._mark(action)
            argv[3] = self._effective_config(action, config, secrets)
            log = f"{LOG_DIR}/kubeadm-{action}.log"
            try:
                code, output = self.long_run(argv, self.path(log), seconds)
            finally:
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
            ["kubeadm", "token", "create", "--ttl", ttl, "--print-join-command"],
            {"token": TOKEN_PATTERN, "ca_cert_hash": CA_CERT_HASH_PATTERN},
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
        code, out, err = self.run(argv)
        if code != 0:
            raise KubeadmError(
                f"kubeadm init phase {' '.join(phase)} ended with return code {code}: {scrub(err.strip() or out.strip())}",
                argv=argv, rc=code,
            )

    def wait(self, node_ip: str, port: int, seconds: float, check: bool) -> Dict[str, Any]:
        """Wait until this node's API server is ready; {admin_conf_sha256, kube_proxy_config, waited}.

        In check mode on a node that is no control plane yet there is nothing to wait for: the values are None.
        """
        if check and not self.exists(KUBERNETES_DIR + "/admin.conf"):
            return {"admin_conf_sha256": None, "kube_proxy_config": None, "waited": 0}
        host = f"[{node_ip}]" if ":" in node_ip else node_ip
        begun = self.clock()
        while True:
            try:
                api = self.api(self.path(KUBERNETES_DIR + "/admin.conf"), f"https://{host}:{port}")
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
        with open(self.path(KUBERNETES_DIR + "/admin.conf"), "rb") as handle:
            digest = hashlib.sha256(handle.read()).hexdigest()
        return {
            "admin_conf_sha256": digest,
            "kube_proxy_config": (config_map or {}).get("data", {}).get("config.conf"),
            "waited": round(self.clock() - begun),
        }

    # --- helpers

    def _expect(self, argv: Sequence[str], patterns: Dict[str, "re.Pattern[str]"]) -> List[str]:
        code, out, err = self.run(argv)
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

    def _effective_config(self, action: str, config: str, secrets: Dict[str, str]) -> str:
        """The configuration with its secrets, readable by root alone, in memory (/run is a tmpfs), for one command."""
        with open(self.path(config), encoding="utf-8") as source:
            text = substitute(source.read(), secrets)
        effective = self.path(f"/run/kubernetes-kubeadm-{action}.yaml")
        os.makedirs(os.path.dirname(effective), exist_ok=True)
        if os.path.exists(effective):
            os.unlink(effective)
        with os.fdopen(os.open(effective, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as target:
            target.write(text)
        return effective

    def _drop_half_written(self) -> List[str]:
        """Remove certificates and kubeconfigs that the killed run left half written.

        kubeadm keeps any file it finds and fails on a broken one. Only files newer than the marker, hence
        made by the unfinished run, are looked at: a certificate authority brought by the user is never touched.
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
                    whole = is_whole_pem(handle.read()) and os.path.exists(partner)
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

    def _already_registered(self) -> bool:
        """Whether the killed join had got as far as a node the API server knows: then joining again is refused by kubeadm."""
        kubelet_conf = KUBERNETES_DIR + "/kubelet.conf"
        if not (self.exists(kubelet_conf) and self.exists(KUBELET_CLIENT_CERTIFICATE)):
            return False
        code, out, _err = self.run(
            ["kubectl", "--kubeconfig", self.path(kubelet_conf), "auth", "can-i", "get", "nodes", "--request-timeout=60s"]
        )
        if code != 0 or out.strip() != "yes":
            return False
        if self.exists(KUBERNETES_DIR + "/bootstrap-kubelet.conf"):
            # kubeadm removes it as the first thing after the kubelet got its own certificate.
            os.unlink(self.path(KUBERNETES_DIR + "/bootstrap-kubelet.conf"))
        return not self.exists(KUBERNETES_DIR + "/manifests/kube-apiserver.yaml")

    def evidence(self) -> Dict[str, Any]:
        """What a person would look at next: the kubelet's state and last words, and which containers run."""
        _code, active, _err = self.run(["systemctl", "is-active", "kubelet", "containerd"])
        _code, journal, _err = self.run(["journalctl", "-u", "kubelet", "-n", "15", "--no-pager", "-o", "cat"])
        _code, tasks, _err = self.run(["ctr", "-n", "k8s.io", "tasks", "ls"])
        return {
            "units": dict(zip(("kubelet", "containerd"), active.split())),
            "kubelet_journal": scrub(journal).splitlines(),
            "containers": tasks.splitlines(),
        }
