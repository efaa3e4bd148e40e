# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Checks of the node's network, and of what an earlier cluster left behind."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from typing import Any, Dict, List, Optional

from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_node import OTHER_CLUSTERS
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import (
    FAIL,
    NAMESERVERS,
    PASS,
    SEARCH_CHARACTERS,
    SEARCH_DOMAINS,
    UNKNOWN,
    WARN,
    Check,
    Facts,
    Settings,
    check,
    why,
)

# Names of processes of a cluster, as the kernel cuts them (15 characters). They may hold the ports of a member.
CLUSTER_PROCESSES = (
    "kube-apiserver", "kube-controller", "kube-scheduler", "kube-proxy", "kubelet", "etcd", "flanneld", "bird", "bird6", "calico-node", "calico-typha",
    "typha", "calico", "cilium-agent", "cilium-operator", "cilium-operato", "cilium-envoy", "envoy", "speaker", "frr-k8s", "bgpd", "bfdd", "zebra",
    "controller",
)  # fmt: skip

# Interfaces of a pod network that NetworkManager must leave alone: one name of each kind.
MANAGED_SAMPLES = {
    "calico": ("cali0123456789a", "tunl0", "vxlan.calico"),
    "flannel": ("cni0", "flannel.1"),
    "cilium": ("cilium_host", "lxc0123456789ab"),
    "bridge": ("cni0",),
}
# Files in /etc/cni/net.d that only a cluster writes; 10-bridge.conflist is role cni_bridge's.
CLUSTER_CNI_FILES = re.compile(r"calico|canal|flannel|cilium|weave|kube-router|multus|antrea|kindnet|ovn|10-bridge")

MEND = "Mend that and run again: as root, on a machine with systemd, with the packages iproute2 and nftables."


def node_ip(facts: Facts, settings: Settings) -> Check:
    identifier, address = "node_ip", settings["node_ip"]
    wanted = "an address of an interface of this node that is up"
    interfaces = facts["interfaces"]
    try:
        own = ipaddress.ip_address(address)
    except ValueError:
        observed = f"The node IP is {address!r}, which is no address." if address else "No node IP was given."
        fix = "Set cluster_node_ip of this host to the address of the cluster's network."
        return check(identifier, FAIL if address else UNKNOWN, observed, wanted, fix)
    if interfaces is None:
        return check(identifier, UNKNOWN, f"The interfaces are not known: {why(facts, 'interfaces')}.", wanted, "Run `ip addr` on the node.")
    for link in interfaces:
        for item in link["addresses"]:
            if ipaddress.ip_address(item["address"]) != own:
                continue
            place = f"{address}/{item['prefix']} on {link['name']}"
            if own.is_loopback or link["cni"]:
                fix = "Set cluster_node_ip of this host to the address that the other nodes reach."
                return check(identifier, FAIL, f"{place}, which no other node reaches.", wanted, fix)
            if item["duplicate"]:
                return check(identifier, FAIL, f"{place}, which another machine uses too (duplicate address).", wanted, "Give one of the two another one.")
            if not link["up"] or not link["carrier"]:
                return check(identifier, FAIL, f"{place}, which is down.", wanted, f"`ip link set {link['name']} up`, and look at cable and switch.")
            return check(identifier, PASS, f"{place}, MTU {link['mtu']}.", wanted)
    have = [f"{item['address']} ({link['name']})" for link in interfaces for item in link["addresses"] if item["scope"] == "global" and not link["cni"]]
    observed = f"No interface has {address}; there are {', '.join(have[:8]) or 'none'}{' and more' if len(have) > 8 else ''}."
    return check(identifier, FAIL, observed, wanted, "Set cluster_node_ip of this host to one of them; an address behind NAT is none of the node's own.")


def default_route(facts: Facts, settings: Settings) -> Check:
    """Without IPVS a packet to a service address needs a route before it is rewritten, even if no gateway is ever used."""
    identifier, routes = "default_route", facts["routes"]
    families = sorted({":" in text for text in (settings["service_cidr"] or "0.0.0.0/0").split(",")})
    everything = ["::/0" if six else "0.0.0.0/0" for six in families]
    wanted = f"a route to {' and '.join(everything)}, or to the services"
    if routes is None:
        return check(identifier, UNKNOWN, f"The routes are not known: {why(facts, 'routes')}.", wanted, "Run `ip route show table all` on the node.")
    present = {route["destination"] for route in routes if route["type"] == "unicast"}
    missing = [item for item in everything if item not in present]
    if not missing:
        return check(identifier, PASS, "There is a default route.", wanted)
    if settings["proxy_mode"] == "ipvs":
        return check(identifier, PASS, "There is no default route, and IPVS needs none: service addresses are on kube-ipvs0.", wanted)
    observed = f"There is no route to {' and '.join(missing)}: processes on this node (not in pods) will not reach services."
    fix = f"Add one that lasts, to the gateway or, without any, to the services: `ip route add {settings['service_cidr'] or 'SERVICE_CIDR'} dev INTERFACE`."
    return check(identifier, WARN, observed, wanted, fix)


def ipv6(facts: Facts, settings: Settings) -> Check:
    identifier = "ipv6"
    ranges = [settings["pod_cidr"], settings["service_cidr"], settings["node_ip"], *settings["load_balancer_ranges"]]
    if not any(":" in str(text) for text in ranges):
        return check(identifier, PASS, "No address of this cluster is one of IPv6.", "nothing")
    wanted = "a kernel with IPv6 that is not turned off"
    off = facts["disable_ipv6"]
    fix = "Remove ipv6.disable=1 from the kernel's command line, or net.ipv6.conf.all.disable_ipv6 from /etc/sysctl.d."
    if off is None:
        missing = "does not exist" in why(facts, "disable_ipv6")
        return check(identifier, FAIL if missing else UNKNOWN, f"{why(facts, 'disable_ipv6')}.", wanted, fix)
    return check(identifier, FAIL if off else PASS, f"net.ipv6.conf.all.disable_ipv6 is {off}.", wanted, fix)


def dns_resolvers(facts: Facts, settings: Settings) -> Check:
    identifier, found = "dns_resolvers", facts["resolv_conf"]
    wanted = "name servers that are not this machine's own loopback: CoreDNS and pods with the host's DNS policy get this list"
    if found is None:
        return check(identifier, UNKNOWN, f"The name servers are not known: {why(facts, 'resolv_conf')}.", wanted, "See what is wrong with that file.")
    if not found["nameservers"]:
        fix = "Name at least one there, or another file in cluster_kubelet_config.resolvConf; CoreDNS does not start without."
        return check(identifier, FAIL, f"{found['path']} names no server.", wanted, fix)
    loops = [server for server in found["nameservers"] if ipaddress.ip_address(server).is_loopback or ipaddress.ip_address(server).is_unspecified]
    if loops:
        observed = f"{found['path']} names {', '.join(loops)}: in a pod that is the pod itself, and CoreDNS ends with 'Loop detected'."
        fix = "Put the real servers into a file and name it in cluster_kubelet_config.resolvConf"
        fix += "; with systemd-resolved that is /run/systemd/resolve/resolv.conf, and the service must run." if "127.0.0.53" in loops else "."
        return check(identifier, FAIL, observed, wanted, fix)
    return check(identifier, PASS, f"{', '.join(found['nameservers'])} (from {found['path']}).", wanted)


def dns_limits(facts: Facts, settings: Settings) -> Check:
    identifier, found = "dns_limits", facts["resolv_conf"]
    wanted = f"at most {NAMESERVERS} name servers, {SEARCH_DOMAINS} search domains and {SEARCH_CHARACTERS} characters of them; the rest is cut off"
    if found is None:
        return check(identifier, UNKNOWN, f"They are not known: {why(facts, 'resolv_conf')}.", wanted, "See what is wrong with that file.")
    servers, search = found["nameservers"], found["search"]
    over = []
    if len(servers) > NAMESERVERS:
        over.append(f"{len(servers)} name servers, of which {', '.join(servers[NAMESERVERS:])} will not be asked")
    if len(search) > SEARCH_DOMAINS or len(" ".join(search)) > SEARCH_CHARACTERS:
        over.append(f"{len(search)} search domains of {len(' '.join(search))} characters")
    observed = f"{found['path']} has {' and '.join(over)}." if over else f"Name servers: {len(servers)}, search domains: {len(search)} (from {found['path']})."
    return check(identifier, WARN if over else PASS, observed, wanted, f"Shorten the list in {found['path']}, or where that file comes from.")


def ports_free(facts: Facts, settings: Settings) -> Check:
    identifier, ports = "ports_free", settings["ports"]
    if not ports:
        return check(identifier, UNKNOWN, "No port was named to look for.", "the cluster's ports are free", "Give the cluster's ports in option ports.")
    sockets, member = facts["sockets"], facts["member"]
    wanted = f"nothing else listens on {', '.join(dict.fromkeys(_port(item) for item in ports))}"
    look = "`ss -lntup` on the node"
    if sockets is None or member is None:
        return check(identifier, UNKNOWN, f"The sockets are not known: {why(facts, 'sockets', 'member')}.", wanted, f"Run {look}.")
    owners: Dict[int, str] = facts["owners"] or {}
    ours = member["member"] or member["unfinished"]
    taken: List[str] = []
    strange: List[str] = []
    for item in ports:
        for name in sorted({_owner(owners, entry) for entry in sockets if (entry["protocol"], entry["port"]) == (item["protocol"], item["port"])}):
            purpose = f" ({item['purpose']})" if item["purpose"] else ""
            (strange if not ours or name not in (*CLUSTER_PROCESSES, "the kernel") else taken).append(f"{_port(item)}{purpose} by {name}")
    if not strange:
        observed = f"Used by this node's own cluster: {', '.join(taken)}." if taken else "All are free."
        return check(identifier, PASS, observed, wanted)
    fix = f"Stop and disable what listens there (see {look}), or move it to another port."
    # On a member the names of processes are all there is to go by, and a wrapper may have another one.
    return check(identifier, WARN if ours else FAIL, f"Taken: {', '.join(strange)}.", wanted, fix)


def _port(item: Dict[str, Any]) -> str:
    return f"{item['port']}/{item['protocol']}"


def _owner(owners: Dict[int, str], entry: Dict[str, Any]) -> str:
    # The kernel's own tunnels (VXLAN, Geneve, WireGuard) have sockets without an inode.
    return owners.get(entry["inode"], "a process that cannot be told") if entry["inode"] else "the kernel"


def firewall(facts: Facts, settings: Settings) -> Check:
    """A firewall is no fault as long as it lets the cluster through, which only the traffic between the nodes shows."""
    identifier, wanted = "firewall", "no firewall beside the cluster's own rules"
    units, nft, iptables = facts["units"], facts["nft"], facts["iptables"]
    found = []
    if units and units["firewalld"] == "active":
        found.append("firewalld runs")
    if facts["ufw"]:
        found.append("ufw is on")
    for item in (nft or {"filters": []})["filters"] + (iptables or []):
        found.append(f"chain {item['chain']} of table {item['family']} {item['table']} {'drops by default' if item['why'] == 'policy drop' else item['why']}")
    unseen = why(facts, "units", "ufw", "nft", "iptables")
    if found:
        observed = f"Found: {'; '.join(found)}."
        fix = (
            "The port checks between the nodes show whether it lets them through, but not what it does to pods: turn it off "
            "(`systemctl disable --now firewalld`, `ufw disable`), or allow the pod and service networks in its input and forward rules. "
            "Docker sets the policy of FORWARD to DROP: remove Docker from nodes."
        )
        return check(identifier, WARN, observed, wanted, fix)
    if unseen:
        return check(identifier, UNKNOWN, f"Not all rules can be seen: {unseen}.", wanted, MEND)
    return check(identifier, PASS, "firewalld and ufw are off, and no chain for input or forwarded packets drops or rejects.", wanted)


def _matches(spec: str, name: str) -> bool:
    kind, colon, pattern = spec.partition(":")
    if not colon:
        return spec == "*" or fnmatch.fnmatchcase(name, spec)
    return kind == "interface-name" and (fnmatch.fnmatchcase(name, pattern.lstrip("=")) if not pattern.startswith("=") else name == pattern[1:])


def _unmanaged(specs: List[str], name: str) -> bool:
    excepted = [spec[len("except:") :] for spec in specs if spec.startswith("except:")]
    return any(_matches(spec, name) for spec in specs if not spec.startswith("except:")) and not any(_matches(spec, name) for spec in excepted)


def network_manager(facts: Facts, settings: Settings) -> Check:
    identifier, units, found = "network_manager", facts["units"], facts["network_manager"]
    samples = MANAGED_SAMPLES.get(settings["cni"], ())
    wanted = "NetworkManager does not run, or leaves the interfaces of the pod network alone"
    if units is None:
        return check(identifier, UNKNOWN, f"It is not known whether it runs: {why(facts, 'units')}.", wanted, "`systemctl is-active NetworkManager`")
    if units["NetworkManager"] not in ("active", "activating", "reloading"):
        return check(identifier, PASS, "NetworkManager does not run.", wanted)
    if found is None or not samples:
        reason = why(facts, "network_manager") or f"the interfaces of pod network {settings['cni'] or 'without a name'} are not known"
        return check(identifier, UNKNOWN, f"NetworkManager runs, and {reason}.", wanted, "Look at `nmcli device` when the pod network runs.")
    managed = [name for name in samples if not _unmanaged(found["unmanaged"], name) and not _unmanaged(found["devices"], name)]
    if not managed:
        return check(identifier, PASS, "NetworkManager runs and leaves them alone.", wanted)
    patterns = ";".join(f"interface-name:{re.sub('0123.*', '*', name)}" for name in samples)
    fix = f"Write /etc/NetworkManager/conf.d/pod-network.conf with [keyfile] and unmanaged-devices={patterns}, then `systemctl reload NetworkManager`."
    return check(identifier, WARN, f"NetworkManager runs and would manage {', '.join(managed)}: it may take away their addresses and routes.", wanted, fix)


def rp_filter(facts: Facts, settings: Settings) -> Check:
    """The larger of all and the interface's own value counts. Strict (1) drops packets whose way back is another interface."""
    identifier, values, interfaces = "rp_filter", facts["rp_filter"], facts["interfaces"]
    wanted = "no strict reverse path filter where answers may take another way"
    if values is None or interfaces is None:
        return check(identifier, UNKNOWN, f"It is not known: {why(facts, 'rp_filter', 'interfaces')}.", wanted, "`sysctl -ar '\\.rp_filter'` on the node.")
    everywhere = values["all"]
    uplinks = [
        link["name"]
        for link in interfaces
        if link["up"] and link["drivers"] and not link["cni"] and any(item["scope"] == "global" and "." in item["address"] for item in link["addresses"])
    ]
    strict = [name for name in uplinks if max(everywhere, values.get(name, 0)) == 1]
    if settings["cni"] == "cilium" and everywhere != 0:
        observed = f"net.ipv4.conf.all.rp_filter is {everywhere}: it counts on Cilium's interfaces too, which then drop packets."
        return check(identifier, WARN, observed, "net.ipv4.conf.all.rp_filter is 0", "Role kernel sets it to 0; `sysctl -w net.ipv4.conf.all.rp_filter=0` now.")
    if strict and len(uplinks) > 1:
        observed = f"Strict on {', '.join(strict)}, and there are several uplinks ({', '.join(uplinks)})."
        fix = f"Set it to 2 (loose), also at boot: `sysctl -w net.ipv4.conf.{strict[0].replace('.', '/')}.rp_filter=2` and a file in /etc/sysctl.d."
        return check(identifier, WARN, observed, wanted, fix)
    if strict:
        return check(identifier, PASS, f"Strict on {strict[0]}, which is the only uplink.", wanted)
    return check(identifier, PASS, f"Strict on none of {', '.join(uplinks) or 'the interfaces'} (all: {everywhere}).", wanted)


def leftovers(facts: Facts, settings: Settings) -> Check:
    identifier, wanted = "leftovers", "nothing of another cluster, or a member of this one"
    member, files, interfaces, units = (facts[name] for name in ("member", "left_files", "interfaces", "units"))
    if member is None or files is None:
        return check(identifier, UNKNOWN, f"It is not known: {why(facts, 'member', 'left_files')}.", wanted, "Look into /etc/kubernetes on the node.")
    if member["member"]:
        return check(identifier, PASS, f"A member of a cluster (API server {member['server'] or 'not named'}).", wanted)
    if member["unfinished"]:
        fix = "Run site.yml again: it goes on where the run before was interrupted. To begin anew: `kubeadm reset` on the node."
        return check(identifier, WARN, "A kubeadm of this collection was interrupted here.", wanted, fix)
    found = list(files["cluster"])
    if member["joined"]:
        found.insert(0, f"/etc/kubernetes/kubelet.conf (of the cluster at {member['server'] or 'an address that cannot be told'})")
    if settings["control_plane"] and files["etcd"]:
        found.append(f"/var/lib/etcd is not empty ({', '.join(files['etcd'][:3])})")
    found += [path for path in files["cni"] if CLUSTER_CNI_FILES.search(path)]
    # tunl0 comes with the kernel's module ipip, whoever loaded it.
    found += [f"interface {link['name']}" for link in interfaces or [] if link["cni"] and link["name"] != "tunl0"][:8]
    found += [f"service {name}" for name in OTHER_CLUSTERS if units and units[name] == "active"]
    chains = [name for name in (facts["nft"] or {"chains": []})["chains"] if re.match(r"^(KUBE-|cali-|CILIUM_|FLANNEL-)", name)]
    if chains:
        found.append(f"packet filter chains such as {chains[0]}")
    if found:
        if files["etcd"] == ["lost+found"] and len(found) == 1:
            fix = "It is only the file system's lost+found: add DirAvailable--var-lib-etcd to cluster_ignore_preflight_errors."
        else:
            fix = (
                "If that cluster is not wanted any more: `kubeadm reset` (or its own uninstall script), `rm -rf /etc/cni/net.d/* /var/lib/etcd`, "
                "then reboot, which removes interfaces and rules."
            )
        return check(identifier, FAIL, f"Of another cluster: {', '.join(found)}.", wanted, fix)
    others = [path for path in files["cni"] if not CLUSTER_CNI_FILES.search(path)]
    if others:
        observed = f"{', '.join(others)}: until the pod network has written its own file, and after that if this one sorts before it, pods get this one."
        return check(identifier, WARN, observed, wanted, f"Remove {' '.join(others)}, and the package it came from (podman, cri-o) if it is not needed.")
    unseen = why(facts, "interfaces", "units", "nft")
    if unseen:
        return check(identifier, UNKNOWN, f"No files, but not all could be looked at: {unseen}.", wanted, MEND)
    return check(identifier, PASS, "None.", wanted)


def interface_of(facts: Facts, address: str) -> Optional[Dict[str, Any]]:
    """The link that carries an address."""
    try:
        own = ipaddress.ip_address(address)
    except ValueError:
        return None
    for link in facts["interfaces"] or []:
        if any(ipaddress.ip_address(item["address"]) == own for item in link["addresses"]):
            return link
    return None
