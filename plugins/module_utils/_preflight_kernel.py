# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Checks of the kernel: version, modules, its tables and its log."""

from __future__ import annotations

import re
from typing import List

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _conntrack, _preflight_parse as parse
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import (
    FAIL,
    KERNEL_CALICO,
    KERNEL_CHECKSUMS,
    KERNEL_CILIUM,
    KERNEL_KUBERNETES,
    KERNEL_NFTABLES,
    KERNEL_WIREGUARD,
    NFT_VERSION,
    PASS,
    UNKNOWN,
    WARN,
    Check,
    Facts,
    KernelNeed,
    Settings,
    Unreadable,
    check,
    why,
    worst,
)

# RHEL 8.6 has in its 4.18 what Cilium wants of 5.10 (Cilium's own requirements).
_EL8 = re.compile(r"^4\.18\.0-([0-9]{1,6})\.[^ ]*el8")
_EL8_BUILD = 372

# What the kernel writes when one of its tables is full.
FULL_TABLES = (
    (re.compile(r"conntrack.*table full"), "connections were dropped because nf_conntrack_max was reached", "net.netfilter.nf_conntrack_max"),
    (re.compile(r"neighbou?r:? .*table overflow"), "neighbours were refused because the ARP table was full", "net.ipv4.neigh.default.gc_thresh3"),
)


def _needs(settings: Settings) -> List[KernelNeed]:
    needs = [KERNEL_KUBERNETES]
    if settings["cni"] == "cilium":
        needs.append(KERNEL_CILIUM)
    if settings["cni"] == "calico":
        needs.append(KERNEL_CALICO)
    if settings["proxy_mode"] == "nftables":
        needs.append(KERNEL_NFTABLES)
    if "wireguard" in settings["encapsulation"]:
        needs.append(KERNEL_WIREGUARD)
    return needs


def kernel_version(facts: Facts, settings: Settings) -> Check:
    identifier, needs, release = "kernel_version", _needs(settings), str(facts["kernel"])
    wanted = ", ".join(f"{need.version[0]}.{need.version[1]} for {need.what}" for need in needs)
    try:
        found = parse.version(release)[:2]
    except Unreadable as error:
        return check(identifier, UNKNOWN, f"{error}.", wanted, "Run `uname -r` on the node.")
    backported = _EL8.match(release)
    short = [need for need in needs if found < need.version]
    if backported and int(backported.group(1)) >= _EL8_BUILD:
        short = [need for need in short if need not in (KERNEL_CILIUM, KERNEL_KUBERNETES)]
    observed = f"{release}, too old for {' and '.join(need.what for need in short)}." if short else f"{release}."
    fix = "Install a newer kernel of the distribution (or a newer release of it) and reboot."
    return check(identifier, worst(need.status for need in short) if short else PASS, observed, wanted, fix)


def kernel_modules(facts: Facts, settings: Settings) -> Check:
    identifier, modules = "kernel_modules", facts["modules"]
    wanted = "each module is loaded, built in, or can be loaded now and at boot"
    if modules is None:
        return check(identifier, UNKNOWN, f"The modules cannot be looked up: {why(facts, 'modules')}.", wanted, "Run `lsmod` on the node.")
    if not modules:
        return check(identifier, UNKNOWN, "No module was named to look for.", wanted, "Give the list of filter kernel_plan in option modules.")
    bad = sorted((item for item in modules if item["problem"]), key=lambda item: item["optional"])
    if not bad:
        return check(identifier, PASS, ", ".join(f"{item['name']} {_STATES.get(item['state'], item['state'])}" for item in modules) + ".", wanted)
    # Each problem is a sentence of what was seen and then what to do about it.
    parts = [item["problem"].partition(". ") for item in bad]
    observed = " ".join(f"{seen.rstrip('.')}{' (optional)' if item['optional'] else ''}." for item, (seen, _dot, _fix) in zip(bad, parts))
    fix = " ".join(dict.fromkeys(todo for _seen, _dot, todo in parts))
    return check(identifier, WARN if all(item["optional"] for item in bad) else FAIL, observed, wanted, fix)


_STATES = {"load": "can be loaded", "loaded": "is loaded", "builtin": "is built in", "merged": "is part of another module", "alias": "is an alias"}


def nft_version(facts: Facts, settings: Settings) -> Check:
    identifier, found = "nft_version", facts["nft_version"]
    if settings["proxy_mode"] != "nftables":
        return check(identifier, PASS, f"Not needed with kube-proxy in mode {settings['proxy_mode'] or 'that is not given'}.", "nothing")
    least = ".".join(map(str, NFT_VERSION))
    wanted = f"nft {least} or later: an older one on the host misreads the rules of kube-proxy"
    if found is None:
        reason = why(facts, "nft_version")
        # kube-proxy brings its own in its image; only whoever looks for a fault misses it here
        status = WARN if "not installed" in reason else UNKNOWN
        return check(identifier, status, f"The version of nft is not known: {reason}.", wanted, "Install the package nftables.")
    status = PASS if tuple(found) >= NFT_VERSION else FAIL
    return check(identifier, status, f"nft {'.'.join(map(str, found))}.", wanted, "Update the package nftables, with the distribution's release if need be.")


def conntrack_headroom(facts: Facts, settings: Settings) -> Check:
    samples = [sample for sample in (facts["conntrack_first"], facts["conntrack_second"]) if sample is not None]
    if not samples:
        return check("conntrack_headroom", UNKNOWN, f"{why(facts, 'conntrack_second')}.", "room for more connections", "Run as root.")
    return _conntrack.headroom_check(_conntrack.fuller(samples))


def conntrack_drops(facts: Facts, settings: Settings) -> Check:
    first, second = facts["conntrack_first"], facts["conntrack_second"]
    wanted = "no connection dropped between two samples"
    if first is None or second is None:
        return check("conntrack_drops", UNKNOWN, f"{why(facts, 'conntrack_first', 'conntrack_second')}.", wanted, "Run as root.")
    if facts["window"] <= 0 and second["tracking"]:
        fix = "Set preflight_steal_seconds to 5 or more, then run again."
        return check("conntrack_drops", UNKNOWN, "There was no time between two samples (steal_seconds is 0).", wanted, fix)
    return _conntrack.drops_check(second, _conntrack.rates(first, second))


def kernel_log(facts: Facts, settings: Settings) -> Check:
    identifier, log, uptime = "kernel_log", facts["kernel_log"], facts["uptime"]
    wanted = "no message of a full connection or neighbour table"
    if log is None or uptime is None:
        return check(identifier, UNKNOWN, f"The kernel log cannot be read: {why(facts, 'kernel_log', 'uptime')}.", wanted, "Run `dmesg | tail` as root.")
    seen, settings_named = [], []
    for pattern, meaning, setting in FULL_TABLES:
        times = [stamp for stamp, message in log if pattern.search(message)]
        if times:
            plural = "" if len(times) == 1 else "s"
            seen.append(f"{meaning}: {len(times)} message{plural}, the last {_ago(uptime - times[-1])} ago")
            settings_named.append(setting)
    if not seen:
        return check(identifier, PASS, f"None in the last {_ago(uptime - log[0][0])}, which is as far as the log goes back.", wanted)
    observed = "; ".join(seen)
    fix = f"Raise {' and '.join(settings_named)}; role kernel does so by the node's size. If it goes on after that, find who makes so many connections."
    return check(identifier, WARN, f"{observed[0].upper()}{observed[1:]}.", wanted, fix)


def _ago(seconds: float) -> str:
    seconds = max(seconds, 0)
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"


def checksum_offload(facts: Facts, settings: Settings) -> Check:
    """Tunnels over UDP break where a card or an old kernel computes the inner checksum wrongly: small packets pass, services time out."""
    identifier, wanted = "checksum_offload", "no card or kernel that is known for wrong checksums in UDP tunnels"
    tunnel = next((name for name in ("vxlan", "geneve") if name in settings["encapsulation"]), "")
    if not tunnel:
        return check(identifier, PASS, f"No UDP tunnel is used (encapsulation {settings['encapsulation'] or 'none'}).", wanted)
    drivers = facts["node_drivers"]
    if drivers is None:
        return check(identifier, UNKNOWN, f"The driver is not known: {why(facts, 'node_drivers')}.", wanted, "Run `ethtool -i INTERFACE` on the node.")
    shown = ", ".join(drivers) or "none (a virtual interface)"
    fix = "If services across nodes hang: `ethtool -K TUNNEL tx-checksum-ip-generic off` on vxlan.calico or flannel.1, kept by a udev rule; "
    if "vmxnet3" in drivers:
        observed = f"Driver {shown}: ESXi computes checksums of {tunnel} packets wrongly in several versions, worst on port 4789 or 8472 beside NSX."
        return check(identifier, WARN, observed, wanted, f"{fix}for Calico set featureDetectOverride: ChecksumOffloadBroken=true in FelixConfiguration.")
    try:
        old = parse.version(str(facts["kernel"]))[:2] < KERNEL_CHECKSUMS
    except Unreadable as error:
        return check(identifier, UNKNOWN, f"Driver {shown}; the kernel's version is not known: {error}.", wanted, "Run `uname -r` on the node.")
    if old:
        observed = f"Driver {shown}, kernel {facts['kernel']}: before {KERNEL_CHECKSUMS[0]}.{KERNEL_CHECKSUMS[1]} packets to services lose their checksum."
        return check(identifier, WARN, observed, wanted, f"{fix}or install a newer kernel.")
    return check(identifier, PASS, f"Driver {shown}, kernel {facts['kernel']}.", wanted)
