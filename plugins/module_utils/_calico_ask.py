# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Ask a node for its BGP peers: BIRD's control socket, calicoctl, or the calico-node pod; once, or until they are as wanted."""

from __future__ import annotations

import os
import re
import socket
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _bgp_peers
from ansible_collections.baremetal.kubernetes.plugins.module_utils._calico_status import FAMILIES, Error, Reading, read_bird, read_status
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import NOT_FOUND, Runner, run_command, which
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, WARN, Check, check, worst

SOCKETS = {4: "/var/run/calico/bird.ctl", 6: "/var/run/calico/bird6.ctl"}
PROC = "/proc"


class Settings(NamedTuple):
    """Where and how to ask."""

    source: str = "auto"
    sockets: Dict[int, str] = SOCKETS
    calicoctl: str = "calicoctl"
    kubeconfig: str = ""
    node: str = ""
    timeout: float = 5.0


class NotHere(Exception):
    """This source does not exist on this node; a sentence without full stop."""


# --- BIRD's control socket ----------------------------------------------------------------------------------------


def ask_bird(path: str, commands: List[str], timeout: float) -> str:
    """BIRD's answer to the last command. Raises OSError, which includes the time that is over."""
    deadline = time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        # BIRD greets before it is asked
        answer = _reply(connection, deadline)
        for command in commands:
            connection.sendall(command.encode() + b"\n")
            answer = _reply(connection, deadline)
    return answer


def _reply(connection: socket.socket, deadline: float) -> str:
    """Everything to the line that ends a reply: a code and a blank."""
    data = b""
    while not re.search(rb"^\d{4} [^\n]*\n\Z", data, re.MULTILINE):
        left = deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        connection.settimeout(left)
        more = connection.recv(65536)
        if not more:
            break
        data += more
    return data.decode("utf-8", "replace")


def from_socket(path: str, family: int, timeout: float) -> Tuple[Reading, Dict[str, str]]:
    """Peers and facts of one BIRD. Raises NotHere where there is no socket."""
    if not os.path.exists(path):
        raise NotHere(f"{path} does not exist")
    reading = Reading()
    try:
        # restrict: BIRD then refuses whatever would change it, on this connection
        reading = read_bird(ask_bird(path, ["restrict", "show protocols all"], timeout), family)
        return reading, bird_facts(ask_bird(path, ["restrict", "show status"], timeout))
    except ConnectionRefusedError:
        reading.running = False
        reading.errors.append(Error(family, f"{path} is there, but no BIRD listens on it.", absent=True))
    except OSError as error:
        reading.errors.append(Error(family, f"BIRD did not answer on {path}: {error}."))
    return reading, {}


def bird_facts(status: str) -> Dict[str, str]:
    """Version and router id of BIRD."""
    version = re.search(r"^1000-BIRD (.*\S)", status, re.MULTILINE)
    router = re.search(r"Router ID is (\S+)", status)
    return {"version": version.group(1) if version else "", "router_id": router.group(1) if router else ""}


def ask_sockets(settings: Settings) -> Tuple[Reading, Dict[str, str]]:
    """All sockets that exist: one BIRD for each family, or, from BIRD 2 on, one for both."""
    result = Reading()
    facts: Dict[str, str] = {}
    absent: List[str] = []
    for family in FAMILIES:
        try:
            reading, about = from_socket(settings.sockets[family], family, settings.timeout)
        except NotHere as error:
            absent.append(str(error))
            continue
        result.add(reading)
        facts = facts or about
    if len(absent) == len(FAMILIES):
        raise NotHere(" and ".join(absent))
    return result, facts


# --- calicoctl and the pod ----------------------------------------------------------------------------------------


def ask_calicoctl(settings: Settings, run: Runner) -> Reading:
    """What calicoctl prints. Its return code is 0 for most failures and therefore not looked at."""
    code, out, err = run([settings.calicoctl, "node", "status"], 30 + settings.timeout)
    if code == NOT_FOUND:
        raise NotHere(f"{settings.calicoctl} is not installed")
    return read_status(f"{out}\n{err}")


def _exec_prefix(settings: Settings, run: Runner, find: Callable[[str], Optional[str]]) -> List[str]:
    """The command that runs others in this node's calico-node container."""
    if find("crictl"):
        code, out, err = run(["crictl", "ps", "--quiet", "--state", "running", "--name", "^calico-node$"], 30)
        if code == 0 and out.split():
            return ["crictl", "exec", out.split()[0]]
        raise NotHere(f"crictl knows no running container calico-node ({err.strip() or 'none listed'})")
    if settings.kubeconfig and os.path.exists(settings.kubeconfig) and find("kubectl"):
        kubectl = ["kubectl", "--kubeconfig", settings.kubeconfig]
        selection = ["-l", "k8s-app=calico-node", "--field-selector", f"spec.nodeName={settings.node},status.phase=Running"]
        name = ["-o", "jsonpath={.items[0].metadata.namespace} {.items[0].metadata.name}"]
        code, out, err = run(kubectl + ["get", "pods", "-A"] + selection + name, 30)
        if code == 0 and len(out.split()) == 2:
            namespace, pod = out.split()
            return kubectl + ["exec", "-n", namespace, pod, "-c", "calico-node", "--"]
        raise NotHere(f"kubectl knows no running pod of calico-node on {settings.node} ({err.strip() or 'none listed'})")
    raise NotHere("there is neither crictl nor kubectl with a kubeconfig")


def ask_pod(settings: Settings, run: Runner, find: Callable[[str], Optional[str]] = which) -> Reading:
    """Ask BIRD inside of the container; with calico-node itself where the image has no birdcl."""
    prefix = _exec_prefix(settings, run, find)
    result = Reading()
    for family in FAMILIES:
        code, out, err = run(prefix + ["birdcl", "-s", SOCKETS[family], "show", "protocols", "all"], settings.timeout + 10)
        if code == 0:
            result.add(read_bird(out, family))
        elif family == 4:
            return _show_status(prefix, run, settings.timeout)
        elif "No such file" not in out + err:
            result.errors.append(Error(family, f"birdcl in calico-node failed: {(err or out).strip()[:300]}."))
    return result


def _show_status(prefix: List[str], run: Runner, timeout: float) -> Reading:
    code, out, err = run(prefix + ["calico-node", "-show-status"], timeout + 10)
    reading = read_status(out)
    if code:
        reading.errors.append(Error(None, f"calico-node -show-status ended with {code}: {err.strip()[:300]}."))
    return reading


def look(settings: Settings, run: Runner) -> Tuple[str, Reading, Dict[str, str]]:
    """(source, reading, facts): of the source that is set, or with auto of the first that is there."""
    missing: List[str] = []
    for source in ["bird", "calicoctl", "pod"] if settings.source == "auto" else [settings.source]:
        try:
            if source == "bird":
                return (source, *ask_sockets(settings))
            if source == "calicoctl":
                return source, ask_calicoctl(settings, run), {}
            return source, ask_pod(settings, run), {}
        except NotHere as error:
            missing.append(str(error))
    reading = Reading()
    reading.errors.append(Error(None, f"Nothing tells of BGP on this node: {'; '.join(missing)}."))
    return "", reading, {}


# --- who listens --------------------------------------------------------------------------------------------------


def listeners(port: int, proc: str = PROC) -> Optional[List[str]]:
    """Names of the programs that listen on the TCP port, "?" for one that cannot be told; None where that cannot be read."""
    sockets = set()
    try:
        for name in ("tcp", "tcp6"):
            if name == "tcp6" and not os.path.exists(f"{proc}/net/tcp6"):
                continue
            with open(f"{proc}/net/{name}", encoding="ascii") as handle:
                for fields in (line.split() for line in handle.readlines()[1:]):
                    # 0A is TCP_LISTEN
                    if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                        sockets.add(f"socket:[{fields[9]}]")
    except (OSError, ValueError, IndexError):
        return None
    names = {found: "?" for found in sockets}
    for process in filter(str.isdigit, os.listdir(proc)) if sockets else ():
        try:
            for descriptor in os.listdir(f"{proc}/{process}/fd"):
                target = os.readlink(f"{proc}/{process}/fd/{descriptor}")
                if target in names:
                    with open(f"{proc}/{process}/comm", encoding="utf-8") as handle:
                        names[target] = handle.read().strip()
        except OSError:
            continue
    return sorted(set(names.values()))


def listen_check(names: Optional[List[str]], port: int) -> Check:
    """BIRD must have the port; whoever else has it keeps all sessions down that peers open."""
    wanted = f"bird listens on {port}/tcp"
    look_further = f"ss -ltnp 'sport = :{port}'"
    if names is None:
        return check(
            "bgp_listen",
            UNKNOWN,
            f"{PROC}/net/tcp cannot be read",
            wanted,
            f"Run as root in the node's own network namespace: {look_further}.",
        )
    if not names:
        cause = "calico-node does not run BGP yet, or BGPConfiguration has another listenPort"
        fix = f"{cause}. Look with: {look_further}; crictl ps --name calico-node."
        return check("bgp_listen", FAIL, f"nothing listens on {port}/tcp", wanted, fix)
    if any(name.startswith("bird") for name in names):
        return check("bgp_listen", PASS, f"{', '.join(names)} listens", wanted)
    if names == ["?"]:
        return check("bgp_listen", WARN, "a program that cannot be told listens", wanted, f"Look with: {look_further}.")
    fix = f"Stop it or give it or Calico (BGPConfiguration listenPort) another port. Look with: {look_further}."
    return check("bgp_listen", FAIL, f"{', '.join(names)} listens there instead", wanted, fix)


# --- until all is well --------------------------------------------------------------------------------------------


def wait_for_peers(
    settings: Settings,
    wanted: _bgp_peers.Wanted,
    wait_seconds: float,
    poll: float,
    listen_port: int = 0,
    run: Runner = run_command,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    proc: str = PROC,
) -> Dict[str, Any]:
    """Look until everything is as wanted for the whole stable window, or until the time is over.

    wait_seconds is for the peers to come up; the window may begin at its end, so that much is added.
    """
    begin = clock()
    watch = _bgp_peers.Watch()
    while True:
        source, reading, facts = look(settings, run)
        now = clock()
        watch.see(reading, now)
        checks = _bgp_peers.judge(reading, watch, wanted, now)
        if listen_port and wanted.peers:
            checks.append(listen_check(listeners(listen_port, proc), listen_port))
        verdict = worst(item["status"] for item in checks)
        waited = now - begin
        limit = wait_seconds
        if _bgp_peers.up(reading, wanted):
            limit += wanted.stable_seconds
        if verdict in (PASS, WARN) or waited >= limit:
            break
        sleep(min(poll, max(limit - waited, 0.05)))
    return {
        **reading.result(),
        **_bgp_peers.summary(reading, wanted),
        "source": source,
        "bird": facts,
        "checks": checks,
        "verdict": verdict,
        "waited": round(waited, 1),
    }
