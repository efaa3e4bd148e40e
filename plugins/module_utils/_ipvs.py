# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Read IPVS tables, as ipvsadm prints them or as the kernel shows them, and compare them with what should be there.

Whatever cannot be read goes to errors. A line is never guessed into a real server: a service whose backends
are gone looks healthy in every other place.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

PROC_IP_VS = "/proc/net/ip_vs"
PROC_SYS_CONF = "/proc/sys/net/ipv4/conf/all"
PROXY_MODE_URL = "http://127.0.0.1:10249/proxyMode"
# kube-proxy's own default where the control plane's address is one of IPv6
PROXY_MODE_URL_IPV6 = "http://[::1]:10249/proxyMode"

PASS, FAIL, UNKNOWN = "pass", "fail", "unknown"

PROTOCOLS = ("TCP", "UDP", "SCTP")
_FORWARD = ("Masq", "Local", "Tunnel", "Route", "Bypass")

_TITLE = re.compile(r"^\s*IP Virtual Server version \S+")
_SERVICE_COLUMNS = re.compile(r"^\s*Prot\s+LocalAddress:Port\s+(?P<columns>.+)$")
_SERVER_COLUMNS = re.compile(r"^\s*->\s+RemoteAddress:Port(?P<gap>\s+)(?P<columns>\S.*)$")
_SERVICE = re.compile(
    r"^\s*(?P<protocol>TCP|UDP|SCTP|FWM)\s+(?P<endpoint>\S+)(?P<family>\s+IPv6)?\s+(?P<scheduler>[a-z][a-z0-9_]*)(?P<flags>\s.*)?$"
)
_SERVER = re.compile(
    rf"^\s*->\s+(?P<endpoint>\S+)\s+(?P<forward>{'|'.join(_FORWARD)})\s+(?P<weight>\d+)\s+(?P<active>\d+)\s+(?P<inactive>\d+)\s*$"
)
_DOTTED = re.compile(r"^(\d{1,3}(?:\.\d{1,3}){3}):(\S+)$")
_KERNEL_IPV4 = re.compile(r"^([0-9A-F]{8}):([0-9A-F]{4})$")
_BRACKETS = re.compile(r"^\[([0-9A-Fa-f:.]+)\]:(\S+)$")
_NAME = re.compile(r"^([A-Za-z0-9_][A-Za-z0-9_.-]*):([A-Za-z0-9_.+-]+)$")

Port = Union[int, str]


class _Unreadable(ValueError):
    """Why a line is not what it should be."""


def _decimal_port(text: str) -> Port:
    if text.isdigit():
        if int(text) > 65535:
            raise _Unreadable(f"{text} is no port")
        return int(text)
    # without -n ipvsadm writes the name of a known port
    if re.match(r"^[A-Za-z][A-Za-z0-9_.+-]*$", text):
        return text
    raise _Unreadable(f"{text} is no port")


def _hex_port(text: str) -> int:
    if not re.match(r"^[0-9A-Fa-f]{4}$", text):
        raise _Unreadable(f"{text} is no port in hexadecimal")
    return int(text, 16)


def _endpoint(text: str, kernel: bool) -> Tuple[str, Port]:
    """Address and port of a server, virtual or real."""
    try:
        found = _KERNEL_IPV4.match(text)
        if found and kernel:
            return str(ipaddress.IPv4Address(int(found.group(1), 16))), int(found.group(2), 16)
        found = _BRACKETS.match(text)
        if found:
            address = str(ipaddress.IPv6Address(found.group(1)))
            return address, (_hex_port if kernel else _decimal_port)(found.group(2))
        found = _DOTTED.match(text)
        if found and not kernel:
            return str(ipaddress.IPv4Address(found.group(1))), _decimal_port(found.group(2))
    except ValueError as error:
        raise _Unreadable(str(error)) from None
    found = _NAME.match(text)
    if found and not kernel and not _DOTTED.match(text):
        return found.group(1), _decimal_port(found.group(2))
    raise _Unreadable(f"{text} is no address with a port")


def _written_by_kernel(lines: Sequence[str]) -> bool:
    """Whether addresses and ports are in hexadecimal, as in /proc/net/ip_vs.

    IPv4 addresses settle it. Without any, the headings do: the kernel does not pad them to columns.
    """
    dotted = hexadecimal = False
    padded: Optional[bool] = None
    for line in lines:
        heading = _SERVER_COLUMNS.match(line)
        if heading and padded is None:
            padded = len(heading.group("gap")) > 1
        found = _SERVICE.match(line) or _SERVER.match(line)
        if found:
            dotted = dotted or bool(_DOTTED.match(found.group("endpoint")))
            hexadecimal = hexadecimal or bool(_KERNEL_IPV4.match(found.group("endpoint")))
    if dotted or hexadecimal:
        return hexadecimal and not dotted
    return padded is False


def _read_flags(service: Dict[str, Any], flags: str, kernel: bool) -> None:
    """Take the known flags apart; the text of all stays in service["flags"]."""
    words = flags.split()
    service["flags"] = " ".join(words)
    position = 0
    while position < len(words):
        word = words[position]
        value = words[position + 1] if position + 1 < len(words) else ""
        if word == "ops":
            service["one_packet"] = True
        elif word == "persistent" and value.isdigit():
            position += 1
            # The kernel counts in ticks, whose length is its own secret; ipvsadm in seconds.
            service["persistent_ticks" if kernel else "persistent_timeout"] = int(value)
            service["persistent"] = True
            mask = words[position + 1] if kernel and position + 1 < len(words) else ""
            if re.match(r"^[0-9A-F]{8}$", mask):
                position += 1
                service["persistent_mask"] = str(ipaddress.IPv4Address(int(mask, 16)))
        elif word == "mask" and value:
            position += 1
            service["persistent_mask"] = value
        elif word == "pe" and value:
            position += 1
            service["persistence_engine"] = value
        elif word.startswith("(") and word.endswith(")"):
            service["scheduler_flags"] = [flag for flag in word[1:-1].split(",") if flag]
        position += 1


def _read_service(found: "re.Match[str]", kernel: bool) -> Dict[str, Any]:
    protocol = found.group("protocol")
    service: Dict[str, Any] = {
        "protocol": protocol,
        "address": None,
        "port": None,
        "fwmark": None,
        "scheduler": found.group("scheduler"),
        "flags": "",
        "persistent": False,
        "persistent_timeout": None,
        "persistent_ticks": None,
        "persistent_mask": None,
        "persistence_engine": None,
        "one_packet": False,
        "scheduler_flags": [],
        "destinations": [],
    }
    endpoint = found.group("endpoint")
    if protocol == "FWM":
        if not re.match(r"^[0-9A-Fa-f]{8}$" if kernel else r"^[0-9]+$", endpoint):
            raise _Unreadable(f"{endpoint} is no firewall mark")
        service["fwmark"] = int(endpoint, 16 if kernel else 10)
        service["ipv6"] = True if found.group("family") else None if kernel else False
    else:
        if found.group("family"):
            raise _Unreadable("IPv6 stands where the scheduler should")
        service["address"], service["port"] = _endpoint(endpoint, kernel)
        service["ipv6"] = ":" in service["address"]
    _read_flags(service, found.group("flags") or "", kernel)
    return service


def _key(service: Dict[str, Any]) -> Tuple[Any, ...]:
    return (service["protocol"], service["address"], service["port"], service["fwmark"], service["ipv6"])


def parse_ipvsadm(text: str) -> Dict[str, List[Any]]:
    """The virtual servers of an ``ipvsadm -L`` or ``ipvsadm -Ln`` listing, or of /proc/net/ip_vs."""
    services: List[Dict[str, Any]] = []
    errors: List[str] = []
    lines = text.splitlines()
    titles = [number for number, line in enumerate(lines) if _TITLE.match(line)]
    if titles:
        # above it: the prompt of a pasted terminal
        lines = lines[titles[0] :]
    kernel = _written_by_kernel(lines)
    current: Optional[Dict[str, Any]] = None
    known = set()
    columns = 0
    for line in lines:
        if not line.strip():
            continue
        if _TITLE.match(line):
            # a second listing behind the first
            current = None
            continue
        heading = _SERVICE_COLUMNS.match(line)
        if heading:
            current = None
            if heading.group("columns").split() == ["Scheduler", "Flags"]:
                columns += 1
                continue
            errors.append(f"These columns are those of another listing: {line.strip()} (plain ipvsadm -Ln is wanted).")
            return {"services": [], "errors": errors}
        heading = _SERVER_COLUMNS.match(line)
        if heading:
            current = None
            if heading.group("columns").split() == ["Forward", "Weight", "ActiveConn", "InActConn"]:
                columns += 1
                continue
            errors.append(f"These columns are those of another listing: {line.strip()} (plain ipvsadm -Ln is wanted).")
            return {"services": [], "errors": errors}
        try:
            found = _SERVICE.match(line)
            if found:
                # Nothing that follows an unreadable service may be counted to the one before it.
                current = None
                service = _read_service(found, kernel)
                if _key(service) in known:
                    raise _Unreadable("this virtual server was listed before")
                known.add(_key(service))
                services.append(service)
                current = service
                continue
            found = _SERVER.match(line)
            if not found:
                if not line.strip().startswith("->"):
                    current = None
                raise _Unreadable("neither a virtual server nor a real server")
            if current is None:
                raise _Unreadable("a real server without its virtual server")
            address, port = _endpoint(found.group("endpoint"), kernel)
            current["destinations"].append(
                {
                    "address": address,
                    "port": port,
                    "forward": found.group("forward"),
                    "weight": int(found.group("weight")),
                    "active": int(found.group("active")),
                    "inactive": int(found.group("inactive")),
                }
            )
        except _Unreadable as error:
            errors.append(f"{line.strip()}: {error}.")
    if not services and columns < 2 and not errors:
        errors.append("There is no IPVS table in this text.")
    return {"services": services, "errors": errors}


# --- what should be there -------------------------------------------------------------------------------------


def split_address(text: str) -> Tuple[str, int]:
    """(address, port) of ``192.0.2.1:80`` or ``[2001:db8::1]:80``; ValueError with the reason."""
    address, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text} should be an address and a port, such as 192.0.2.1:443 or [2001:db8::1]:443")
    if address.startswith("[") and address.endswith("]"):
        return str(ipaddress.IPv6Address(address[1:-1])), int(port)
    return str(ipaddress.IPv4Address(address)), int(port)


def join_address(address: str, port: Port) -> str:
    """The reverse of split_address."""
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def _name(service: Dict[str, Any]) -> str:
    return f"{service['protocol']} {join_address(service['address'], service['port'])}"


def compare(services: Sequence[Dict[str, Any]], expect: Sequence[Dict[str, Any]]) -> Tuple[List[str], List[str]]:
    """(missing, unexpected) of the services in expect: [{protocol, address, port, destinations: ["address:port"]}].

    A real server with weight 0 gets no new connection, so it counts as missing where it is wanted and
    as absent where it is not (kube-proxy drains a removed one that way).
    """
    missing: List[str] = []
    unexpected: List[str] = []
    for wanted in expect:
        address = str(ipaddress.ip_address(wanted["address"]))
        port, protocol = int(wanted["port"]), str(wanted.get("protocol") or "TCP").upper()
        name = f"{protocol} {join_address(address, port)}"
        found = [s for s in services if (s["protocol"], s["address"], s["port"]) == (protocol, address, port)]
        if not found:
            missing.append(name)
            continue
        present = {(d["address"], d["port"]): d["weight"] for s in found for d in s["destinations"]}
        servers = [split_address(server) for server in wanted.get("destinations") or []]
        for server in servers:
            if not present.get(server):
                drained = " (present with weight 0)" if server in present else ""
                missing.append(f"{name} -> {join_address(*server)}{drained}")
        for server, weight in present.items():
            if weight and server not in servers:
                unexpected.append(f"{name} -> {join_address(*server)}")
    return missing, unexpected


# --- the state of this node -----------------------------------------------------------------------------------


def read_text(path: str) -> Tuple[Optional[str], str]:
    """(text, "") or (None, reason)."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read(), ""
    except FileNotFoundError:
        return None, f"{path} does not exist"
    except OSError as error:
        return None, f"{path} cannot be read: {error.strerror or error}"


def read_table(path: str = PROC_IP_VS) -> Dict[str, Any]:
    """The kernel's table of the network namespace this runs in; running is null when it cannot be told."""
    text, reason = read_text(path)
    if text is None:
        if reason.endswith("does not exist"):
            reason += ": the kernel module ip_vs is not loaded"
        return {"running": None, "reason": reason, "services": [], "errors": []}
    parsed = parse_ipvsadm(text)
    return {"running": True, "reason": "", **parsed}


def read_sysctls(folder: str = PROC_SYS_CONF) -> Dict[str, Optional[int]]:
    """The two switches that strictARP sets; null where one cannot be read."""
    result: Dict[str, Optional[int]] = {}
    for name in ("arp_ignore", "arp_announce"):
        text, _reason = read_text(f"{folder}/{name}")
        result[name] = int(text) if text is not None and text.strip().isdigit() else None
    return result


def ask_proxy_mode(url: str = PROXY_MODE_URL, timeout: float = 5) -> Tuple[Optional[str], str]:
    """(mode, "") as kube-proxy says itself, or (None, reason). Proxy variables of the environment are not for this."""
    found = re.match(r"^http://(\[[0-9A-Fa-f:]+\]|[^/:]+):(\d+)(/\S*)$", url)
    if not found:
        return None, f"{url} is no address of the form http://host:port/path"
    connection = http.client.HTTPConnection(found.group(1).strip("[]"), int(found.group(2)), timeout=timeout)
    try:
        connection.request("GET", found.group(3))
        response = connection.getresponse()
        text = response.read(4096).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return None, f"no answer from {url}: {error or type(error).__name__}"
    finally:
        connection.close()
    if response.status != 200 or not re.match(r"^[a-z]+$", text):
        return None, f"{url} answered with {response.status}: {text[:100]}"
    return text, ""


def check(identifier: str, status: str, observed: str, wanted: str, fix: str = "") -> Dict[str, str]:
    """One finding in the collection's common shape."""
    return {"id": identifier, "status": status, "observed": observed, "wanted": wanted, "fix": "" if status == PASS else fix}


def _table_check(table: Dict[str, Any], missing: Sequence[str], unexpected: Sequence[str], expect: Sequence[Dict[str, Any]]) -> Dict[str, str]:
    wanted = "; ".join(
        "{} -> {}".format(
            _name({**service, "protocol": str(service.get("protocol") or "TCP").upper()}),
            ", ".join(service.get("destinations") or []) or "nothing",
        )
        for service in expect
    )
    look = "Look at `ipvsadm -Ln` and at `kubectl -n kube-system logs` of this node's kube-proxy pod"
    if table["running"] is None:
        return check("ipvs_table", UNKNOWN, table["reason"], wanted, f"{look}.")
    if table["errors"]:
        return check("ipvs_table", UNKNOWN, "lines that cannot be read: " + " ".join(table["errors"][:3]), wanted, f"{look}.")
    if missing or unexpected:
        seen = []
        if missing:
            seen.append("missing " + ", ".join(missing))
        if unexpected:
            seen.append("not wanted but present " + ", ".join(unexpected))
        fix = f"{look}; `kubectl get endpoints,endpointslices -A` shows which backends the cluster knows."
        return check("ipvs_table", FAIL, "; ".join(seen), wanted, fix)
    return check("ipvs_table", PASS, wanted, wanted)


def _mode_check(mode: Optional[str], reason: str, wanted: str) -> Dict[str, str]:
    fix = "Look at `kubectl -n kube-system logs` of this node's kube-proxy pod and at the ConfigMap kube-system/kube-proxy."
    if wanted == "none":
        # only a refused connection says that nobody is there
        status = FAIL if mode else PASS if "refused" in reason else UNKNOWN
        return check("kube_proxy_mode", status, mode or reason, "no kube-proxy", "Remove the DaemonSet kube-system/kube-proxy.")
    if mode is None:
        return check("kube_proxy_mode", UNKNOWN, reason, wanted, fix)
    return check("kube_proxy_mode", PASS if mode == wanted else FAIL, mode, wanted, fix)


def _arp_check(sysctls: Dict[str, Optional[int]]) -> Dict[str, str]:
    wanted = {"arp_ignore": 1, "arp_announce": 2}
    seen = ", ".join(f"{name}={sysctls.get(name)}" for name in wanted)
    if any(sysctls.get(name) is None for name in wanted):
        status = UNKNOWN
    else:
        status = PASS if all(sysctls[name] == value for name, value in wanted.items()) else FAIL
    fix = "kube-proxy sets them with ipvs.strictARP; see whether a file in /etc/sysctl.d or a tool takes them back (`sysctl --system`)."
    return check("strict_arp", status, seen, "arp_ignore=1, arp_announce=2 in net.ipv4.conf.all", fix)


def verdict(checks: Sequence[Dict[str, str]]) -> str:
    """The worst of the statuses; nothing checked is nothing known."""
    statuses = {item["status"] for item in checks}
    if FAIL in statuses:
        return FAIL
    return PASS if statuses == {PASS} else UNKNOWN


def status(
    expect: Sequence[Dict[str, Any]],
    proxy_mode: Optional[str],
    strict_arp: bool,
    timeout: float,
    proxy_mode_url: str = PROXY_MODE_URL,
    path: str = PROC_IP_VS,
    conf: str = PROC_SYS_CONF,
) -> Dict[str, Any]:
    """Everything once: the table, the sysctls, what kube-proxy says, and the checks that were asked for."""
    table = read_table(path)
    sysctls = read_sysctls(conf)
    mode, mode_reason = ask_proxy_mode(proxy_mode_url, timeout)
    if mode is None and proxy_mode_url == PROXY_MODE_URL:
        mode, _reason = ask_proxy_mode(PROXY_MODE_URL_IPV6, timeout)
        mode_reason = mode_reason if mode is None else ""
    missing, unexpected = compare(table["services"], expect) if table["running"] else ([], [])
    checks = []
    if proxy_mode:
        checks.append(_mode_check(mode, mode_reason, proxy_mode))
    if expect:
        checks.append(_table_check(table, missing, unexpected, expect))
    if strict_arp:
        checks.append(_arp_check(sysctls))
    return {
        **table,
        "sysctls": sysctls,
        "proxy_mode": mode,
        "proxy_mode_reason": mode_reason,
        "missing": missing,
        "unexpected": unexpected,
        "checks": checks,
        "verdict": verdict(checks),
    }


def wait_status(
    once: Callable[[], Dict[str, Any]],
    wait_seconds: float,
    poll_seconds: float = 2,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, Any]:
    """Ask until nothing fails or the time is over: kube-proxy follows a change within its sync period."""
    begin = clock()
    while True:
        result = once()
        waited = clock() - begin
        if not result["checks"] or result["verdict"] == PASS or waited + poll_seconds > wait_seconds:
            return {**result, "waited": round(waited, 1)}
        sleep(poll_seconds)
