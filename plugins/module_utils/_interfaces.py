# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Which interface of the node carries an address, and its MTU."""

from __future__ import annotations

import ipaddress
import json
from typing import Any, Dict

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import Runner


def interface_of(address: str, run: Runner) -> Dict[str, Any]:
    """{"name", "mtu", "reason"} of the interface that carries this address; name and mtu are null when that cannot be told."""
    rc, out, err = run(["ip", "-j", "address", "show"], 15)
    try:
        links = json.loads(out) if rc == 0 else []
        wanted = ipaddress.ip_address(address)
        for link in links:
            for entry in link.get("addr_info", []):
                if entry.get("local") and ipaddress.ip_address(entry["local"]) == wanted:
                    return {"name": str(link["ifname"]), "mtu": int(link["mtu"]), "reason": ""}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {"name": None, "mtu": None, "reason": f"the answer of `ip -j address show` cannot be read: {error}"}
    if rc != 0:
        return {"name": None, "mtu": None, "reason": f"`ip -j address show` failed: {(err or out).strip()[:200]}"}
    return {"name": None, "mtu": None, "reason": f"no interface of this node carries {address}"}
