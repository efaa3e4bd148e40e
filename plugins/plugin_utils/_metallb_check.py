# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What is wrong with MetalLB's settings in this cluster: addresses of others, other announcers, ARP. Every problem is a sentence or two."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._addresses import (
    AddressError,
    Range,
    overlaps,
    parse_address,
    parse_range,
)
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._cluster import split_endpoint
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._metallb import Config, Pool, read

# EndpointSlices as discovery.k8s.io/v1, which is how MetalLB 0.16 reads what is behind a Service
_LEAST_MINOR = 21


def _parsed(values: t.Iterable[t.Any]) -> t.List[Range]:
    """Those that are ranges; what is not, the owner of the setting complains about."""
    found = []
    for value in values:
        try:
            found.append(parse_range(value))
        except AddressError:
            continue
    return found


def _within(inner: Range, outer: t.Iterable[Range]) -> bool:
    return any(inner.version == item.version and item.first <= inner.first and inner.last <= item.last for item in outer)


def _shares(pool: Pool, others: t.Sequence[Range]) -> t.Optional[Range]:
    return next((shared for mine in pool.ranges for other in others for shared in [mine.shared(other)] if shared), None)


class _Check:
    """Collects problems, which forbid a run, and notices, which do not."""

    def __init__(self, settings: t.Mapping[str, t.Any]) -> None:
        self.settings = settings
        self.config: Config = read(settings)
        self.problems: t.List[str] = list(self.config.problems)
        self.notices: t.List[str] = []

    def run(self) -> None:
        self.check_version()
        self.check_overlaps()
        self.check_families()
        self.check_aggregation()
        self.check_strict_arp()
        self.check_calico()
        self.check_cilium()
        self.check_announcer()
        self.check_observers()
        self.tell_ranges()

    def check_version(self) -> None:
        minor = int(self.settings["kubernetes_minor"])
        if minor < _LEAST_MINOR:
            self.problems.append(
                f"cluster_load_balancer is 'metallb' and Kubernetes 1.{minor}, but MetalLB 0.16 needs 1.{_LEAST_MINOR} or later; "
                "upgrade Kubernetes, or set cluster_load_balancer to none."
            )

    # --- addresses

    def _others(self) -> t.List[t.Tuple[str, str]]:
        settings = self.settings
        found = [("cluster_pod_cidr", settings["pod_cidr"]), ("cluster_service_cidr", settings["service_cidr"])]
        found += [(f"the node IP of {host}", address) for host, address in settings["node_ips"].items()]
        endpoint = split_endpoint(settings["api_endpoint"]) if settings["api_endpoint"] else None
        if endpoint:
            found.append(("cluster_api_endpoint", endpoint[0]))
        found += [(f"the address of peer {peer.name}", peer.address) for peer in self.config.peers if peer.address]
        return found

    def check_overlaps(self) -> None:
        named: t.List[t.Tuple[str, str]] = [(f"pool {pool.name}", str(item)) for pool in self.config.pools for item in pool.ranges]
        for name, text in self._others():
            named += [(name, str(item)) for item in _parsed([text])]
        for item in self.settings["dhcp_ranges"]:
            try:
                named.append(("metallb_dhcp_ranges", str(parse_range(item))))
            except AddressError as error:
                self.problems.append(f"metallb_dhcp_ranges has {item!r}, which {error}.")
        for overlap in overlaps(named, within=True):
            # all others are the business of role cluster
            if not overlap.first.startswith("pool "):
                continue
            if overlap.first == overlap.second:
                self.problems.append(f"metallb_pools: {overlap.first} has {overlap.shared} twice; remove one.")
            elif overlap.second == "metallb_dhcp_ranges":
                self.problems.append(
                    f"metallb_pools: {overlap.first} and metallb_dhcp_ranges share {overlap.shared}, so that the DHCP server "
                    "may give a Service's "
                    "address to a machine; take it out of one of them, and out of the DHCP server's range too."
                )
            else:
                self.problems.append(
                    f"metallb_pools: {overlap.first} has {overlap.shared}, which is also of {overlap.second} ({overlap.second_range}); "
                    "take it out of the pool."
                )

    def check_families(self) -> None:
        found = _parsed([self.settings["service_cidr"]])
        if not found:
            return
        version = found[0].version
        for pool in self.config.pools:
            wrong = [str(item) for item in pool.ranges if item.version != version]
            if wrong:
                self.problems.append(
                    f"metallb_pools: pool {pool.name} has {', '.join(wrong)}, but Services here have IPv{version} "
                    "(cluster_service_cidr) and none "
                    "could get such an address; remove it."
                )

    def check_aggregation(self) -> None:
        """As validateBGPAdvPerPool does: a route may not be larger than what the pool was given."""
        for pool in self.config.pools:
            for item in pool.advertisements:
                for found in pool.ranges:
                    field = "aggregationLength" if found.version == 4 else "aggregationLengthV6"
                    wanted = item["spec"].get(field)
                    make: t.Any = ipaddress.IPv4Address if found.version == 4 else ipaddress.IPv6Address
                    largest = min(net.prefixlen for net in ipaddress.summarize_address_range(make(found.first), make(found.last)))
                    if wanted and wanted < largest:
                        self.problems.append(
                            f"metallb_pools: bgp of pool {pool.name} wants routes of /{wanted}, but {found} holds no more than "
                            f"a /{largest}, and "
                            f"the route would lead others' addresses here; set {largest} or more."
                        )

    # --- who else answers, or announces

    def check_strict_arp(self) -> None:
        settings = self.settings
        override = ((settings["kube_proxy_config"] or {}).get("ipvs") or {}).get("strictARP")
        strict = settings["strict_arp"] if override is None else override
        pools = [pool.name for pool in self.config.pools if pool.protocol == "layer2"]
        if settings["proxy_mode"] != "ipvs" or strict in (True, "true", "yes") or not pools:
            return
        where = "cluster_ipvs_strict_arp" if override is None else "ipvs.strictARP in cluster_kube_proxy_config"
        self.problems.append(
            f"{where} is {strict!r} and cluster_proxy_mode 'ipvs', so every node answers ARP for every address of pool "
            f"{', '.join(pools)} and not "
            "only the one that announces it; set it to true."
        )

    def _check_peers(self, who: str, setting: str, peers: t.Iterable[t.Any], instead: str) -> None:
        theirs = {}
        for peer in peers:
            try:
                theirs[str(parse_address(peer.get("address")))] = peer
            except (AddressError, AttributeError):
                continue
        for mine in self.config.peers:
            if mine.address in theirs:
                self.problems.append(
                    f"metallb_peers: peer {mine.name} ({mine.address}) is a BGP peer of {who} too ({setting}), and a router "
                    "takes one session from a "
                    f"node only. {who} should announce: {instead}, set protocol: none in metallb_pools, and remove the peer here."
                )

    def check_calico(self) -> None:
        settings = self.settings
        if settings["cni"] != "calico":
            return
        announced = _parsed(settings["calico_load_balancer_ips"])
        for pool in self.config.pools:
            shared = _shares(pool, announced)
            if shared and pool.protocol != "none":
                self.problems.append(
                    f"metallb_pools: pool {pool.name} is announced by MetalLB (protocol {pool.protocol}), and Calico announces "
                    f"its {shared} by BGP "
                    "(cni_calico_advertise_load_balancer_ips). Calico should announce: set protocol: none for the pool; or take "
                    "the addresses out there."
                )
        self._check_peers(
            "Calico",
            "cni_calico_bgp_peers",
            settings["calico_peers"],
            "name the pool's addresses in cni_calico_advertise_load_balancer_ips",
        )

    def check_cilium(self) -> None:
        settings = self.settings
        if settings["cni"] != "cilium":
            return
        who = settings["cilium_load_balancer"]
        if who != "none":
            self.problems.append(
                f"cluster_load_balancer is 'metallb' and cni_cilium_load_balancer {who!r}, so both give addresses to Services "
                "and announce them. "
                "MetalLB should announce where it is installed: set cni_cilium_load_balancer to none; or cluster_load_balancer "
                "to none, then Cilium does."
            )
        self._check_peers(
            "Cilium", "cni_cilium_bgp_peers", settings["cilium_peers"], "set cluster_load_balancer: none and cni_cilium_load_balancer: bgp"
        )

    def check_announcer(self) -> None:
        announced = _parsed(self.settings["calico_load_balancer_ips"]) if self.settings["cni"] == "calico" else []
        for pool in self.config.pools:
            left = [str(item) for item in pool.ranges if not _within(item, announced)]
            if pool.protocol == "none" and left:
                self.notices.append(
                    f"metallb_pools: pool {pool.name} has protocol none and nothing here announces {', '.join(left)}: the "
                    "routers need a route to the "
                    "nodes, or Calico cni_calico_advertise_load_balancer_ips."
                )

    def check_observers(self) -> None:
        known = self.settings["known_hosts"]
        strangers = [host for host in self.settings["route_observers"] if host not in known]
        if strangers:
            self.problems.append(
                f"metallb_route_observers has {', '.join(strangers)}, which the inventory does not; add the routers to it, in a "
                "group of their own."
            )

    def tell_ranges(self) -> None:
        settings = self.settings
        known = _parsed(settings["load_balancer_ranges"])
        machines = _parsed(settings["node_cidrs"])
        for pool in self.config.pools:
            left = [str(item) for item in pool.ranges if not _within(item, known)]
            if left:
                self.notices.append(
                    f"metallb_pools: pool {pool.name} has {', '.join(left)}, which is not in cluster_load_balancer_ranges, so "
                    "that the checks of nodes and "
                    "networks do not know it; name it there too."
                )
            far = [str(item) for item in pool.ranges if not _within(item, machines)]
            if machines and far and pool.protocol == "layer2":
                self.notices.append(
                    f"metallb_pools: pool {pool.name} has {', '.join(far)}, which is in none of cluster_node_cidrs: with layer2 "
                    "only machines whose network "
                    "it is ask for it, so the router needs a route to it on the nodes' interface."
                )
        if settings["address_pools_text"]:
            self.notices.append(
                "metallb_address_pools is the format of the ConfigMap, which MetalLB ended with 0.13; it was converted. Write instead:\n"
                + settings["address_pools_text"].rstrip("\n")
            )


def check(settings: t.Mapping[str, t.Any]) -> t.Tuple[t.List[str], t.List[str]]:
    """(problems, notices)"""
    checking = _Check(settings)
    checking.run()
    return checking.problems, checking.notices
