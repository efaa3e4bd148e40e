# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Values of Cilium's own chart (1.20) for a cluster, and the custom resources for BGP and load balancing."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._addresses import AddressError, Range, parse_range
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._cni import encapsulation_of
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._helm_values import (
    Values,
    ValuesError,
    address,
    merge,
    network,
    of_type,
    refuse,
    told,
    whole_number,
)

LOAD_BALANCERS = ("none", "l2", "bgp")
# What BGP can announce beside the addresses of load balancers, by the name of the setting.
SERVICE_ADDRESSES = {"cluster_ip": "ClusterIP", "external_ip": "ExternalIP"}
ADVERTISE = ("pod_cidr", *SERVICE_ADDRESSES)

# What the role made is known by these labels, and removed when it is not wanted any more.
LABELS = {"app.kubernetes.io/managed-by": "baremetal.kubernetes", "app.kubernetes.io/component": "cni-cilium"}
_NAME = "baremetal-kubernetes"
_SECRET = "bgp-"
_KINDS = (
    "cilium.io/v2/CiliumBGPClusterConfig",
    "cilium.io/v2/CiliumBGPPeerConfig",
    "cilium.io/v2/CiliumBGPAdvertisement",
    "cilium.io/v2/CiliumLoadBalancerIPPool",
    "cilium.io/v2alpha1/CiliumL2AnnouncementPolicy",
    "v1/Secret",
)
# Without a selector BGP announces no Service; this one leaves out only those with the label.
_ANNOUNCED = {"matchExpressions": [{"key": "baremetal.kubernetes/not-announced", "operator": "DoesNotExist"}]}
_TIMERS = {
    "connect_retry_seconds": "connectRetryTimeSeconds",
    "hold_seconds": "holdTimeSeconds",
    "keepalive_seconds": "keepAliveTimeSeconds",
}
# Least and most of each number of a peer: the CRD of CiliumBGPPeerConfig.
_NUMBERS = {
    "as_number": (1, 4294967295),
    "port": (1, 65535),
    "multihop": (1, 255),
    "connect_retry_seconds": (1, 65535),
    "hold_seconds": (3, 65535),
    "keepalive_seconds": (1, 65535),
}
# What a peer without them gets.
_HOLD, _KEEPALIVE = 90, 30
_PEER_KEYS = tuple(sorted(("address", "name", "nodes", "password_secret", *_NUMBERS)))


def _load_balancer(settings: t.Mapping[str, t.Any]) -> str:
    who = settings["load_balancer"]
    if who not in LOAD_BALANCERS:
        raise ValuesError(f"cni_cilium_load_balancer is {who!r}, but must be one of {', '.join(LOAD_BALANCERS)}")
    if who == "l2" and settings["proxy_mode"] != "none":
        raise ValuesError(
            f"cni_cilium_load_balancer is 'l2' and the proxy mode {settings['proxy_mode']!r}, but Cilium answers ARP for Services only in "
            "kube-proxy's place; set cluster_proxy_mode to none, or use MetalLB"
        )
    if who == "bgp" and not settings["bgp_peers"]:
        raise ValuesError("cni_cilium_load_balancer is 'bgp', but there is nobody to tell; name the routers in cni_cilium_bgp_peers")
    return str(who)


def _endpoint(text: str) -> t.Tuple[str, int]:
    host, dummy, port = str(text).rpartition(":")
    if not host or not port.isdigit():
        raise ValuesError(f"api_endpoint is {text!r}, but must be host:port")
    return host.strip("[]"), int(port)


def _routing(settings: t.Mapping[str, t.Any], version: int, pods: str) -> Values:
    encapsulation = encapsulation_of("cilium", settings["encapsulation"])
    if encapsulation != "none":
        return {"routingMode": "tunnel", "tunnelProtocol": encapsulation}
    return {"routingMode": "native", f"ipv{version}NativeRoutingCIDR": pods, "autoDirectNodeRoutes": bool(settings["direct_node_routes"])}


def _encryption(settings: t.Mapping[str, t.Any], version: int, pods: str) -> Values:
    if settings["encryption"] != "wireguard":
        return {"enabled": False}
    strict: Values = {"ingress": {"enabled": True}}
    if version == 4:
        # Cilium has no such check for IPv6. In a tunnel nodes talk to other nodes' pods from an address of the pod network, which
        # WireGuard leaves out: https://docs.cilium.io/en/stable/security/network/encryption-wireguard/
        tunnel = encapsulation_of("cilium", settings["encapsulation"]) != "none"
        strict["egress"] = {"enabled": True, "cidr": pods, "allowRemoteNodeIdentities": tunnel}
    return {"enabled": True, "type": "wireguard", "nodeEncryption": bool(settings["node_encryption"]), "strictMode": strict}


def _hubble(settings: t.Mapping[str, t.Any]) -> Values:
    ui = bool(settings["hubble_ui"])
    relay = bool(settings["hubble_relay"]) or ui
    if not (settings["hubble"] or relay):
        return {"enabled": False}
    # cronJob: certificates are renewed by themselves; the other way makes them anew with each change of the release, and only then
    values: Values = {"enabled": True, "tls": {"auto": {"method": "cronJob"}}, "relay": {"enabled": relay}, "ui": {"enabled": ui}}
    if relay:
        values["relay"]["rollOutPods"] = True
    if ui:
        values["ui"]["rollOutPods"] = True
    return values


def _without_digests(values: Values) -> Values:
    """An image that was imported from a file is known by its tag only."""
    tag_only = {"image": {"useDigest": False}}
    result = merge(values, {**tag_only, "operator": tag_only, "envoy": tag_only})
    if values["hubble"]["enabled"]:
        result = merge(result, {"certgen": tag_only, "hubble": {"relay": tag_only, "ui": {"backend": tag_only, "frontend": tag_only}}})
    return result


def cilium_values(settings: t.Mapping[str, t.Any]) -> Values:
    """The whole dict for the chart; what the user gives is merged last."""
    pods = network(settings["pod_cidr"], "pod_cidr")
    version, other = (4, 6) if pods.version == 4 else (6, 4)
    load_balancer = _load_balancer(settings)
    replace = settings["proxy_mode"] == "none"
    values: Values = {
        # the pod range that the cluster has given to each node; the chart's default is a pool of its own, 10.0.0.0/8
        "ipam": {"mode": "kubernetes"},
        "k8s": {f"requireIPv{version}PodCIDR": True},
        f"ipv{version}": {"enabled": True},
        f"ipv{other}": {"enabled": False},
        # of the network outside: Cilium takes off what its layers need
        "MTU": int(settings["network_mtu"]),
        **_routing(settings, version, str(pods)),
        "kubeProxyReplacement": replace,
        "cni": {"exclusive": True},
        "encryption": _encryption(settings, version, str(pods)),
        "bgpControlPlane": {"enabled": bool(settings["bgp_peers"])},
        "l2announcements": {"enabled": load_balancer == "l2"},
        # off where it is not wanted: it would hand out addresses beside MetalLB
        "enableLBIPAM": load_balancer != "none",
        "hubble": _hubble(settings),
        # two of them never run on one node
        "operator": {"replicas": min(2, int(settings["nodes"])), "rollOutPods": True},
        "envoy": {"enabled": True, "rollOutPods": True},
        # the agents read their ConfigMap at their start only
        "rollOutCiliumPods": True,
    }
    if replace:
        # without kube-proxy there is no other way to the API server than past the ClusterIP
        values["k8sServiceHost"], values["k8sServicePort"] = _endpoint(settings["api_endpoint"])
    if settings["devices"]:
        values["devices"] = [str(item) for item in settings["devices"]]
    if settings["artifacts"] == "bundle":
        values = _without_digests(values)
    return merge(values, settings["extra"])


def cilium_workloads(values: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, str]]:
    """What has to run with these values, as module kube_rollout takes it."""
    found = [("Deployment", "cilium-operator"), ("DaemonSet", "cilium")]
    if values["envoy"].get("enabled") and values.get("l7Proxy", True):
        found.append(("DaemonSet", "cilium-envoy"))
    for part in ("relay", "ui"):
        if values["hubble"].get("enabled") and values["hubble"].get(part, {}).get("enabled"):
            found.append(("Deployment", f"hubble-{part}"))
    return [{"kind": kind, "namespace": "kube-system", "name": name} for kind, name in found]


# --- what is wrong with the settings; nothing below this part refuses any


def _peer_problems(peer: t.Any) -> t.Iterator[str]:
    """Of one peer by itself."""
    if not isinstance(peer, t.Mapping):
        yield f"a BGP peer is {peer!r}, but must be a dict of {', '.join(_PEER_KEYS)}"
        return
    who = str(peer.get("name") or peer.get("address"))
    unknown = sorted(set(peer) - set(_PEER_KEYS), key=str)
    if unknown:
        yield f"BGP peer {who} has {', '.join(map(str, unknown))}, but a peer has only {', '.join(_PEER_KEYS)}"
    missing = [key for key in ("address", "as_number") if key not in peer]
    if missing:
        yield f"a BGP peer ({who}) has no {' and no '.join(missing)}; address and as_number are needed"
    if "address" in peer:
        yield from told(peer_name, peer)
    if not isinstance(peer.get("nodes") or {}, t.Mapping):
        yield f"nodes of {who} is {peer['nodes']!r}, but must be a dict of labels"
    wrong = [sentence for key in _NUMBERS if key in peer for sentence in told(_number, peer, key, who)]
    yield from wrong
    # With a longer keepalive than the hold time, the session ends between two of them.
    hold, keepalive = peer.get("hold_seconds", _HOLD), peer.get("keepalive_seconds", _KEEPALIVE)
    if not wrong and int(keepalive) > int(hold):
        yield f"hold_seconds of {who} is {hold} and keepalive_seconds {keepalive}, but that must not be longer; a third of it is usual"


def _peers_problems(peers: t.Sequence[t.Mapping[str, t.Any]]) -> t.Iterator[str]:
    """Of all peers together, each of which is right by itself."""
    configs: t.Dict[str, Values] = {}
    for peer in peers:
        config = _peer_config(peer, 4, ())
        if configs.setdefault(peer_name(peer), config) != config:
            yield f"two BGP peers are {peer_name(peer)}, but differ; give each a name of its own"
    groups = _groups(peers)
    for group in groups.values():
        for key in (peer_name, _peer_address):
            names = [key(peer) for peer in group]
            for name in sorted({name for name in names if names.count(name) > 1}):
                yield f"two BGP peers of the same nodes are {name}; remove one" + (", or give each a name" if key is peer_name else "")
    if () in groups and len(groups) > 1:
        yield (
            f"BGP peers without `nodes` ({', '.join(map(peer_name, groups[()]))}) are peers of all nodes, and others have `nodes`, but "
            "Cilium gives a node one list of peers only; give every peer the labels of its nodes, and no node two of them"
        )


def _password_problems(passwords: t.Mapping[str, t.Any], peers: t.Sequence[t.Mapping[str, t.Any]]) -> t.Iterator[str]:
    """Without the passwords in it."""
    names = {peer_name(peer): peer for peer in peers}
    strangers = sorted(set(passwords) - set(names))
    if strangers:
        yield f"there is a BGP password for {', '.join(strangers)}, but no such peer; the peers are {', '.join(names) or 'none'}"
    for name in sorted(set(passwords) & set(names)):
        if not str(passwords[name] or ""):
            yield f"the BGP password for {name} is empty; set it, or remove the entry"
        if names[name].get("password_secret"):
            yield f"there is a BGP password for {name}, and its peer has password_secret too; keep one of the two"


def _bgp_problems(settings: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    peers, passwords = settings["bgp_peers"], settings["bgp_passwords"]
    types = told(of_type, peers, list, "cni_cilium_bgp_peers") + told(of_type, passwords, dict, "cni_cilium_bgp_passwords")
    types += told(of_type, settings["bgp_advertise"], list, "cni_cilium_bgp_advertise")
    if types or not (peers or passwords):
        yield from types
        return
    alone = [f"cni_cilium_bgp_peers: {problem}" for peer in peers for problem in _peer_problems(peer)]
    yield from alone
    if not alone:
        yield from (f"cni_cilium_bgp_peers: {problem}" for problem in _peers_problems(peers))
        yield from (f"cni_cilium_bgp_passwords: {problem}" for problem in _password_problems(passwords, peers))
    yield from told(whole_number, settings["bgp_as_number"], "cni_cilium_bgp_as_number", *_NUMBERS["as_number"])
    for item in settings["bgp_advertise"]:
        if item not in ADVERTISE:
            yield (
                f"cni_cilium_bgp_advertise has {item!r}, but must be of {', '.join(ADVERTISE)}; "
                "for load balancers set cni_cilium_load_balancer to bgp"
            )
    if peers and not settings["bgp_advertise"] and settings["load_balancer"] != "bgp":
        yield (
            "cni_cilium_bgp_advertise is empty and cni_cilium_load_balancer is not 'bgp', so the BGP peers are told nothing; "
            "name what they shall learn"
        )


def _resource_problems(settings: t.Mapping[str, t.Any]) -> t.List[str]:
    """All that keeps the custom resources from being made."""
    who = settings["load_balancer"]
    found = [*told(_load_balancer, settings), *_bgp_problems(settings)]
    if who in ("l2", "bgp") and not settings["load_balancer_ranges"]:
        found.append(f"cni_cilium_load_balancer is {who!r}, but there are no addresses to hand out; set cluster_load_balancer_ranges")
    for item in settings["load_balancer_ranges"] if who != "none" else []:
        found += told(_block, item)
    return found + told(of_type, settings["l2_interfaces"], list, "cni_cilium_l2_interfaces")


def cilium_problems(settings: t.Mapping[str, t.Any]) -> t.List[str]:
    """Everything that is wrong with the settings of the role; those of the cluster are judged by cluster_problems."""
    return [
        *_resource_problems(settings),
        *told(of_type, settings["devices"], list, "cni_cilium_devices"),
        *told(of_type, settings["extra"], dict, "cni_cilium_values"),
    ]


# --- custom resources


def _resource(version: str, kind: str, name: str, spec: Values) -> Values:
    return {"apiVersion": f"cilium.io/{version}", "kind": kind, "metadata": {"name": name, "labels": dict(LABELS)}, "spec": spec}


def _number(peer: t.Mapping[str, t.Any], key: str, who: str) -> int:
    return whole_number(peer[key], f"{key} of {who}", *_NUMBERS[key])


def _peer_address(peer: t.Mapping[str, t.Any]) -> str:
    return str(address(peer["address"], "the address of a BGP peer"))


def peer_name(peer: t.Mapping[str, t.Any]) -> str:
    """Its name, else one made of its address; fit for a Kubernetes object."""
    host = _peer_address(peer)
    name = str(peer.get("name") or "peer-" + host.replace(":", "-").replace(".", "-").strip("-"))
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?", name):
        raise ValuesError(f"the name of BGP peer {host} is {name!r}, but must be small letters, digits and dashes, 52 at the most")
    return name


def _peer_config(peer: t.Mapping[str, t.Any], version: int, passwords: t.Collection[str]) -> Values:
    name = peer_name(peer)
    spec: Values = {
        # routes stay in the routers while an agent is restarted
        "gracefulRestart": {"enabled": True},
        "families": [{"afi": f"ipv{version}", "safi": "unicast", "advertisements": {"matchLabels": dict(LABELS)}}],
    }
    if "port" in peer:
        spec["transport"] = {"peerPort": _number(peer, "port", name)}
    timers = {field: _number(peer, key, name) for key, field in _TIMERS.items() if key in peer}
    if timers:
        spec["timers"] = timers
    if "multihop" in peer:
        spec["ebgpMultihop"] = _number(peer, "multihop", name)
    secret = f"{_SECRET}{name}" if name in passwords else peer.get("password_secret")
    if secret:
        spec["authSecretRef"] = str(secret)
    return _resource("v2", "CiliumBGPPeerConfig", name, spec)


def _labels(peer: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    return {str(key): str(value) for key, value in sorted((peer.get("nodes") or {}).items())}


def _groups(peers: t.Sequence[t.Mapping[str, t.Any]]) -> t.Dict[t.Tuple[t.Tuple[str, str], ...], t.List[t.Mapping[str, t.Any]]]:
    """The peers by the labels of their nodes; in another rack the same address may be another router."""
    groups: t.Dict[t.Tuple[t.Tuple[str, str], ...], t.List[t.Mapping[str, t.Any]]] = {}
    for peer in peers:
        groups.setdefault(tuple(_labels(peer).items()), []).append(peer)
    return groups


def _cluster_configs(settings: t.Mapping[str, t.Any]) -> t.List[Values]:
    """One per set of nodes: a node takes only one of them."""
    result = []
    local = int(settings["bgp_as_number"])
    for labels, group in sorted(_groups(settings["bgp_peers"]).items()):
        peers = [
            {
                "name": peer_name(peer),
                "peerAddress": _peer_address(peer),
                "peerASN": _number(peer, "as_number", peer_name(peer)),
                "peerConfigRef": {"name": peer_name(peer)},
            }
            for peer in group
        ]
        spec: Values = {"bgpInstances": [{"name": f"as{local}", "localASN": local, "peers": peers}]}
        name = _NAME
        if labels:
            spec["nodeSelector"] = {"matchLabels": dict(labels)}
            # Of the labels, not of the place in the list: a new rack must not take the sessions of the others over, and so end them.
            name += f"-{hashlib.sha256(json.dumps(labels).encode()).hexdigest()[:10]}"
        result.append(_resource("v2", "CiliumBGPClusterConfig", name, spec))
    return result


def _advertisement(settings: t.Mapping[str, t.Any]) -> Values:
    wanted = settings["bgp_advertise"]
    rows: t.List[Values] = [{"advertisementType": "PodCIDR"}] if "pod_cidr" in wanted else []
    addresses = [SERVICE_ADDRESSES[item] for item in SERVICE_ADDRESSES if item in wanted]
    if settings["load_balancer"] == "bgp":
        addresses.append("LoadBalancerIP")
    if addresses:
        rows.append({"advertisementType": "Service", "service": {"addresses": addresses}, "selector": _ANNOUNCED})
    return _resource("v2", "CiliumBGPAdvertisement", _NAME, {"advertisements": rows})


def _bgp(settings: t.Mapping[str, t.Any], version: int) -> t.List[Values]:
    if not settings["bgp_peers"]:
        return []
    configs = {peer_name(peer): _peer_config(peer, version, settings["bgp_passwords"]) for peer in settings["bgp_peers"]}
    return [*_cluster_configs(settings), *configs.values(), _advertisement(settings)]


def _block(text: t.Any) -> Values:
    try:
        block: Range = parse_range(text)
    except AddressError as error:
        raise ValuesError(f"the load balancer range {text!r} {error}") from None
    make = ipaddress.IPv4Address if block.version == 4 else ipaddress.IPv6Address
    return {"cidr": str(text)} if "/" in str(text) else {"start": str(make(block.first)), "stop": str(make(block.last))}


def _objects(settings: t.Mapping[str, t.Any]) -> t.List[Values]:
    """In the order in which they refer to each other."""
    version = network(settings["pod_cidr"], "pod_cidr").version
    load_balancer = settings["load_balancer"]
    result = _bgp(settings, version)
    if load_balancer == "none":
        return result
    blocks = [_block(item) for item in settings["load_balancer_ranges"]]
    result.append(_resource("v2", "CiliumLoadBalancerIPPool", _NAME, {"blocks": blocks}))
    if load_balancer == "l2":
        spec: Values = {"loadBalancerIPs": True, "serviceSelector": _ANNOUNCED}
        if settings["l2_interfaces"]:
            spec["interfaces"] = [str(item) for item in settings["l2_interfaces"]]
        result.append(_resource("v2alpha1", "CiliumL2AnnouncementPolicy", _NAME, spec))
    return result


def _conditions(resources: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[t.Dict[str, str]]:
    """What Cilium's operator says when it took them (operator/pkg/bgp: it sets each to True or False)."""
    names = {
        "CiliumBGPClusterConfig": ("NoMatchingNode", "MissingPeerConfigs", "ConflictingClusterConfig"),
        "CiliumBGPPeerConfig": ("MissingAuthSecret",),
    }
    return [
        {
            "api_version": item["apiVersion"],
            "kind": item["kind"],
            "name": item["metadata"]["name"],
            "condition": f"cilium.io/{name}",
            "status": "False",
        }
        for item in resources
        for name in names.get(item["kind"], ())
        if name != "MissingAuthSecret" or "authSecretRef" in item["spec"]
    ]


def cilium_resources(settings: t.Mapping[str, t.Any]) -> Values:
    """Options of module kube_apply, and the peers as module cilium_bgp_peers takes them."""
    refuse(_resource_problems(settings))
    objects = _objects(settings)
    return {
        "objects": objects,
        "secrets": [
            {"name": f"{_SECRET}{name}", "namespace": "kube-system", "labels": dict(LABELS), "data": {"password": str(password)}}
            for name, password in settings["bgp_passwords"].items()
        ],
        "wait_conditions": _conditions(objects),
        "prune_label": ",".join(f"{key}={value}" for key, value in LABELS.items()),
        "prune_kinds": list(_KINDS),
        "peers": [
            {"name": peer_name(peer), "address": _peer_address(peer), "nodes": _labels(peer), "port": int(peer.get("port", 179))}
            for peer in settings["bgp_peers"]
        ],
    }
