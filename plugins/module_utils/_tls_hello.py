# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Offer a server exactly one version of TLS and some ciphers, and read what it takes.

The first message of each side is not encrypted, so that this needs no cryptography. A library would refuse to offer what
it holds for too old, and that a server refuses it too is what is to be proven.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import Any, Dict, List, Optional, Sequence

# As nginx spells them: RFC 8446, section 4.2.1; the older ones by their own RFCs.
VERSIONS = {"SSLv3": 0x0300, "TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}

# Names of OpenSSL (ciphers(1)) and numbers of IANA (registry "TLS Cipher Suites"), for versions up to 1.2.
SUITES = {
    "NULL-MD5": 0x0001,
    "NULL-SHA": 0x0002,
    "RC4-MD5": 0x0004,
    "RC4-SHA": 0x0005,
    "DES-CBC3-SHA": 0x000A,
    "DHE-RSA-DES-CBC3-SHA": 0x0016,
    "AES128-SHA": 0x002F,
    "DHE-RSA-AES128-SHA": 0x0033,
    "ADH-AES128-SHA": 0x0034,
    "AES256-SHA": 0x0035,
    "DHE-RSA-AES256-SHA": 0x0039,
    "ADH-AES256-SHA": 0x003A,
    "NULL-SHA256": 0x003B,
    "AES128-SHA256": 0x003C,
    "AES256-SHA256": 0x003D,
    "CAMELLIA128-SHA": 0x0041,
    "DHE-RSA-CAMELLIA128-SHA": 0x0045,
    "ADH-CAMELLIA128-SHA": 0x0046,
    "DHE-RSA-AES128-SHA256": 0x0067,
    "DHE-RSA-AES256-SHA256": 0x006B,
    "ADH-AES128-SHA256": 0x006C,
    "ADH-AES256-SHA256": 0x006D,
    "CAMELLIA256-SHA": 0x0084,
    "DHE-RSA-CAMELLIA256-SHA": 0x0088,
    "ADH-CAMELLIA256-SHA": 0x0089,
    "AES128-GCM-SHA256": 0x009C,
    "AES256-GCM-SHA384": 0x009D,
    "DHE-RSA-AES128-GCM-SHA256": 0x009E,
    "DHE-RSA-AES256-GCM-SHA384": 0x009F,
    "ADH-AES128-GCM-SHA256": 0x00A6,
    "ADH-AES256-GCM-SHA384": 0x00A7,
    "CAMELLIA128-SHA256": 0x00BA,
    "DHE-RSA-CAMELLIA128-SHA256": 0x00BE,
    "ADH-CAMELLIA128-SHA256": 0x00BF,
    "CAMELLIA256-SHA256": 0x00C0,
    "DHE-RSA-CAMELLIA256-SHA256": 0x00C4,
    "ADH-CAMELLIA256-SHA256": 0x00C5,
    "ECDHE-ECDSA-NULL-SHA": 0xC006,
    "ECDHE-ECDSA-RC4-SHA": 0xC007,
    "ECDHE-ECDSA-DES-CBC3-SHA": 0xC008,
    "ECDHE-ECDSA-AES128-SHA": 0xC009,
    "ECDHE-ECDSA-AES256-SHA": 0xC00A,
    "ECDHE-RSA-NULL-SHA": 0xC010,
    "ECDHE-RSA-RC4-SHA": 0xC011,
    "ECDHE-RSA-DES-CBC3-SHA": 0xC012,
    "ECDHE-RSA-AES128-SHA": 0xC013,
    "ECDHE-RSA-AES256-SHA": 0xC014,
    "AECDH-NULL-SHA": 0xC015,
    "AECDH-AES128-SHA": 0xC018,
    "AECDH-AES256-SHA": 0xC019,
    "ECDHE-ECDSA-AES128-SHA256": 0xC023,
    "ECDHE-ECDSA-AES256-SHA384": 0xC024,
    "ECDHE-RSA-AES128-SHA256": 0xC027,
    "ECDHE-RSA-AES256-SHA384": 0xC028,
    "ECDHE-ECDSA-AES128-GCM-SHA256": 0xC02B,
    "ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C,
    "ECDHE-RSA-AES128-GCM-SHA256": 0xC02F,
    "ECDHE-RSA-AES256-GCM-SHA384": 0xC030,
    "ARIA128-GCM-SHA256": 0xC050,
    "ARIA256-GCM-SHA384": 0xC051,
    "DHE-RSA-ARIA128-GCM-SHA256": 0xC052,
    "DHE-RSA-ARIA256-GCM-SHA384": 0xC053,
    "ECDHE-ECDSA-ARIA128-GCM-SHA256": 0xC05C,
    "ECDHE-ECDSA-ARIA256-GCM-SHA384": 0xC05D,
    "ECDHE-ARIA128-GCM-SHA256": 0xC060,
    "ECDHE-ARIA256-GCM-SHA384": 0xC061,
    "ECDHE-ECDSA-CAMELLIA128-SHA256": 0xC072,
    "ECDHE-ECDSA-CAMELLIA256-SHA384": 0xC073,
    "ECDHE-RSA-CAMELLIA128-SHA256": 0xC076,
    "ECDHE-RSA-CAMELLIA256-SHA384": 0xC077,
    "AES128-CCM": 0xC09C,
    "AES256-CCM": 0xC09D,
    "DHE-RSA-AES128-CCM": 0xC09E,
    "DHE-RSA-AES256-CCM": 0xC09F,
    "AES128-CCM8": 0xC0A0,
    "AES256-CCM8": 0xC0A1,
    "DHE-RSA-AES128-CCM8": 0xC0A2,
    "DHE-RSA-AES256-CCM8": 0xC0A3,
    "ECDHE-ECDSA-AES128-CCM": 0xC0AC,
    "ECDHE-ECDSA-AES256-CCM": 0xC0AD,
    "ECDHE-ECDSA-AES128-CCM8": 0xC0AE,
    "ECDHE-ECDSA-AES256-CCM8": 0xC0AF,
    "ECDHE-RSA-CHACHA20-POLY1305": 0xCCA8,
    "ECDHE-ECDSA-CHACHA20-POLY1305": 0xCCA9,
    "DHE-RSA-CHACHA20-POLY1305": 0xCCAA,
}
# all that version 1.3 has in practice
_SUITES_13 = {"TLS_AES_128_GCM_SHA256": 0x1301, "TLS_AES_256_GCM_SHA384": 0x1302, "TLS_CHACHA20_POLY1305_SHA256": 0x1303}

# RFC 8446, section 6: the ways to say "not with these parameters". handshake_failure, protocol_version, insufficient_security.
REFUSALS = {40: "handshake_failure", 70: "protocol_version", 71: "insufficient_security"}

_HANDSHAKE, _ALERT, _CLIENT_HELLO, _SERVER_HELLO = 22, 21, 1, 2
_SUPPORTED_VERSIONS = 43
_X25519 = 0x001D
# x25519, secp256r1, secp384r1, secp521r1
_GROUPS = (_X25519, 0x0017, 0x0018, 0x0019)
# ECDSA and RSA with SHA-2, RSA-PSS, and SHA-1, which is what the versions below 1.2 know
_SIGNATURES = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201)
# more than any first answer of a server; its certificate comes in the same flight
_MOST_BYTES = 65536


def _extension(number: int, body: bytes) -> bytes:
    return struct.pack("!HH", number, len(body)) + body


def _numbers(values: Sequence[int]) -> bytes:
    """A list of 16-bit numbers with its length in front."""
    return struct.pack("!H", 2 * len(values)) + b"".join(struct.pack("!H", value) for value in values)


def client_hello(name: str, version: int, suites: Sequence[int], noise: bytes) -> bytes:
    """A ClientHello in its record, for this version alone. noise: 96 random bytes."""
    server_name = name.encode("idna")
    extensions = _extension(0, struct.pack("!HBH", len(server_name) + 3, 0, len(server_name)) + server_name)
    extensions += _extension(10, _numbers(_GROUPS)) + _extension(11, b"\x01\x00")
    if version >= VERSIONS["TLSv1.2"]:
        extensions += _extension(13, _numbers(_SIGNATURES))
    if version >= VERSIONS["TLSv1.3"]:
        extensions += _extension(_SUPPORTED_VERSIONS, struct.pack("!BH", 2, version))
        # any 32 bytes are a public key of X25519; nobody goes on with this handshake
        share = struct.pack("!HH", _X25519, 32) + noise[64:96]
        extensions += _extension(51, struct.pack("!H", len(share)) + share) + _extension(45, b"\x01\x01")
    body = struct.pack("!H", min(version, VERSIONS["TLSv1.2"])) + noise[:32]
    body += struct.pack("!B", 32) + noise[32:64] + _numbers(suites) + b"\x01\x00"
    body += struct.pack("!H", len(extensions)) + extensions
    message = struct.pack("!B", _CLIENT_HELLO) + struct.pack("!I", len(body))[1:] + body
    return struct.pack("!BHH", _HANDSHAKE, min(version, VERSIONS["TLSv1"]), len(message)) + message


def _server_hello(body: bytes) -> Dict[str, Any]:
    """{"version", "suite"} of a ServerHello; a HelloRetryRequest has the same form. Raises struct.error or IndexError."""
    version = struct.unpack_from("!H", body)[0]
    place = 35 + body[34]
    suite = struct.unpack_from("!H", body, place)[0]
    place += 3
    if place + 2 <= len(body):
        end = place + 2 + struct.unpack_from("!H", body, place)[0]
        place += 2
        while place + 4 <= min(end, len(body)):
            number, size = struct.unpack_from("!HH", body, place)
            if number == _SUPPORTED_VERSIONS:
                version = struct.unpack_from("!H", body, place + 4)[0]
            place += 4 + size
    return {"version": version, "suite": suite}


def read_answer(data: bytes) -> Optional[Dict[str, Any]]:
    """{"version", "suite"}, {"alert": number} or {"error"}; None when more must come before it can be told."""
    handshake, place = b"", 0
    while place + 5 <= len(data):
        kind, major, dummy, size = struct.unpack_from("!BBBH", data, place)
        if major != 3 or kind not in (_HANDSHAKE, _ALERT):
            return {"error": "the answer is no TLS"}
        body = data[place + 5 : place + 5 + size]
        if len(body) < size:
            # a record that is not here as a whole is not read
            return None
        place += 5 + size
        if kind == _ALERT:
            return {"alert": body[1]} if len(body) == 2 else {"error": "an alert that cannot be read"}
        handshake += body
        if len(handshake) >= 4:
            if handshake[0] != _SERVER_HELLO:
                return {"error": "the answer is no ServerHello"}
            wanted = int.from_bytes(handshake[1:4], "big")
            if len(handshake) >= 4 + wanted:
                try:
                    return _server_hello(handshake[4 : 4 + wanted])
                except (struct.error, IndexError):
                    return {"error": "a ServerHello that cannot be read"}
    return None


def offer(address: str, port: int, name: str, version: str, suites: Sequence[int], timeout: float) -> Dict[str, Any]:
    """What the server says to this version alone with these suites (none: all that are known); as read_answer, never None."""
    number = VERSIONS[version]
    if not suites:
        suites = list((_SUITES_13 if version == "TLSv1.3" else SUITES).values())
    end = time.monotonic() + timeout
    data = b""
    try:
        with socket.create_connection((address, port), timeout=timeout) as connection:
            connection.sendall(client_hello(name, number, suites, os.urandom(96)))
            while len(data) < _MOST_BYTES:
                left = end - time.monotonic()
                if left <= 0:
                    raise socket.timeout
                connection.settimeout(left)
                part = connection.recv(16384)
                if not part:
                    return {"error": "closed without an answer"}
                data += part
                answer = read_answer(data)
                if answer is not None:
                    return answer
    except socket.timeout:
        return {"error": f"no answer within {timeout:g} s"}
    except OSError as error:
        return {"error": error.strerror or str(error)}
    return {"error": "an answer without an end"}


def takes(answer: Dict[str, Any], version: str) -> Optional[bool]:
    """Whether this version was negotiated; None when the answer does not tell."""
    if "version" in answer:
        return bool(answer["version"] == VERSIONS[version])
    return False if answer.get("alert") in REFUSALS else None


def words_of(answer: Dict[str, Any]) -> str:
    """An answer for a person."""
    if "alert" in answer:
        return f"refused ({REFUSALS.get(answer['alert'], 'alert ' + str(answer['alert']))})"
    if "version" in answer:
        names = [name for name, number in VERSIONS.items() if number == answer["version"]]
        return f"{names[0] if names else hex(answer['version'])} with {suite_name(answer['suite'])}"
    return str(answer["error"])


def suite_name(number: int) -> str:
    """OpenSSL's name of a suite."""
    return next((name for name, value in {**SUITES, **_SUITES_13}.items() if value == number), hex(number))


def key_kind(certificate: bytes) -> str:
    """rsa, ecdsa or "" by the public key of a certificate (DER)."""
    # object identifiers id-ecPublicKey and rsaEncryption (RFC 5480, RFC 8017), each with tag and length
    if b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01" in certificate:
        return "ecdsa"
    return "rsa" if b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01" in certificate else ""


def suites_for(kind: str) -> List[str]:
    """The suites that a certificate with this kind of key can be used with."""
    return [name for name in SUITES if ("-ECDSA-" in name) == (kind == "ecdsa")]
