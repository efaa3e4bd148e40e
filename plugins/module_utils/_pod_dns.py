# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Ask the cluster's DNS as a pod does: by UDP and TCP, at the ClusterIP and at each server behind it."""

from __future__ import annotations

import ipaddress
import random
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Sequence

from ansible_collections.baremetal.kubernetes.plugins.module_utils._pod_payload import family, words_of
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, Check, check

_A, _AAAA, _IN = 1, 28, 1
_TYPES = {4: _A, 6: _AAAA}
# RFC 1035 4.1.1
_RCODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_TRIES = 3


def query(number: int, name: str, kind: int) -> bytes:
    """A question for records of one name, recursion desired."""
    labels = b"".join(bytes([len(label)]) + label for label in name.encode("ascii").split(b".") if label)
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, _IN)


def _skip_name(data: bytes, place: int) -> int:
    while data[place]:
        if data[place] & 0xC0:
            # a pointer ends the name
            return place + 2
        place += 1 + data[place]
    return place + 1


def read_answer(data: bytes, asked: bytes) -> List[str]:
    """Addresses in the answer to this question; ValueError says what it is instead."""
    try:
        number, flags, questions, answers = struct.unpack_from("!4H", data)
        if number != struct.unpack_from("!H", asked)[0] or not flags & 0x8000:
            raise ValueError("something that is no answer to the question")
        if flags & 0x000F:
            raise ValueError(_RCODES.get(flags & 0x000F, f"rcode {flags & 0x000F}"))
        # servers may change the case of a name that they send back, CoreDNS does not
        if questions != 1 or data[12 : len(asked)].lower() != asked[12:].lower():
            raise ValueError("an answer to another question")
        kind = struct.unpack("!H", asked[-4:-2])[0]
        place, found = len(asked), []
        for _number in range(answers):
            place = _skip_name(data, place)
            of_kind, of_class, _ttl, length = struct.unpack_from("!2HIH", data, place)
            place += 10
            value = data[place : place + length]
            if len(value) != length:
                raise ValueError("an answer that is cut off")
            place += length
            if (of_kind, of_class) == (kind, _IN):
                found.append(str(ipaddress.ip_address(value)))
    except (struct.error, IndexError):
        raise ValueError("an answer that is cut off") from None
    if not found:
        raise ValueError("an answer without an address")
    return found


def _ask_udp(address: str, port: int, asked: bytes, timeout: float) -> bytes:
    with socket.socket(family(address), socket.SOCK_DGRAM) as one:
        one.connect((address, port))
        for left in reversed(range(_TRIES)):
            one.settimeout(timeout / _TRIES)
            one.send(asked)
            try:
                while True:
                    data = one.recv(4096)
                    if data[:2] == asked[:2]:
                        return data
            except socket.timeout:
                if not left:
                    raise
    raise socket.timeout()


def _ask_tcp(address: str, port: int, asked: bytes, timeout: float) -> bytes:
    with socket.create_connection((address, port), timeout=timeout) as one:
        one.sendall(struct.pack("!H", len(asked)) + asked)
        with one.makefile("rb") as reader:
            head = reader.read(2)
            return reader.read(struct.unpack("!H", head)[0]) if len(head) == 2 else b""


def ask(protocol: str, address: str, port: int, name: str, expected: Sequence[str], timeout: float) -> Dict[str, Any]:
    """{"addresses", "ms"} or {"error", "ms"}; expected are the addresses of which one must come back, empty for any."""
    begin = time.monotonic()
    kind = _TYPES[ipaddress.ip_address(expected[0]).version] if expected else _A
    asked = query(random.randrange(1, 65536), name, kind)
    result: Dict[str, Any] = {}
    try:
        found = read_answer((_ask_udp if protocol == "UDP" else _ask_tcp)(address, port, asked, timeout), asked)
        if expected and not set(found) & set(expected):
            result["error"] = f"{', '.join(found)} instead of {' or '.join(expected)}"
        else:
            result["addresses"] = found
    except socket.timeout:
        result["error"] = f"no answer within {timeout:g} s"
    except OSError as error:
        result["error"] = words_of(error)
    except ValueError as error:
        result["error"] = str(error)
    result["ms"] = round((time.monotonic() - begin) * 1000, 1)
    return result


def to_servers(dns: Dict[str, Any], name: str, timeout: float, wait_seconds: float, ask_: Any = ask) -> List[Dict[str, Any]]:
    """One row {"id", "address", "port", "UDP", "TCP"} for the ClusterIP and for each server, asked until it answers or the time is over."""
    rows = [{"id": "dns_service", "address": dns["address"], "port": 53}]
    rows += [{"id": f"dns_endpoint/{item['address']}", "address": item["address"], "port": item["port"]} for item in dns["endpoints"]]
    jobs = [(row, protocol) for row in rows for protocol in ("UDP", "TCP")]

    def one(job: Any) -> Dict[str, Any]:
        row, protocol = job
        end = time.monotonic() + wait_seconds
        while True:
            result = ask_(protocol, row["address"], row["port"], name, dns["api_addresses"], timeout)
            if "error" not in result or time.monotonic() > end:
                return result
            # a server that has just started does not know the cluster yet
            time.sleep(1)

    with ThreadPoolExecutor(max_workers=16) as pool:
        for (row, protocol), result in zip(jobs, pool.map(one, jobs)):
            row[protocol] = result
    return rows


def dns_checks(rows: Sequence[Dict[str, Any]], name: str) -> List[Check]:
    """One finding per server that was asked."""
    servers_answer = any("error" not in row["UDP"] for row in rows if row["id"] != "dns_service")
    checks = []
    for row in rows:
        where = f"{row['address']}:{row['port']}"
        bad = {protocol: row[protocol]["error"] for protocol in ("UDP", "TCP") if "error" in row[protocol]}
        seen = ", ".join(f"{protocol}: {row[protocol].get('error') or row[protocol]['addresses'][0]}" for protocol in ("UDP", "TCP"))
        wanted = f"the address of {name} from {where}, by UDP and TCP"
        if "NXDOMAIN" in bad.values():
            fix = (
                "The server knows no such name: is cluster_dns_domain the domain in `kubectl -n kube-system get configmap coredns -o yaml`?"
            )
        elif set(bad.values()) & set(_RCODES.values()):
            fix = "The server cannot answer: `kubectl -n kube-system logs -l k8s-app=kube-dns`; can its pods reach the API server?"
        elif row["id"] == "dns_service" and servers_answer:
            fix = f"The servers answer by themselves, so look for {where} in `ipvsadm -Ln` (`nft list ruleset`, `iptables-save`) on this node."
        else:
            fix = (
                "See the findings pod_to_pod of this node, `kubectl -n kube-system get pods -l k8s-app=kube-dns -o wide`, and packet filters for"
                " port 53."
            )
        checks.append(check(row["id"], FAIL if bad else PASS, seen, wanted, fix))
    return checks
