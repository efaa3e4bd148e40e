# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What Calico is told, from one description: values of chart tigera-operator, Calico's own objects, the workloads to wait for.

Names of fields: operator.tigera.io/v1 Installation (tigera/operator, api/v1) and projectcalico.org/v3 (projectcalico/calico, api).
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._addresses import AddressError, parse_range
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._calico_selector import SelectorError, Test, parse
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._cni import LEAST_MTU, encapsulation_of
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._helm_values import merge, told, whole_number

Address = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Object = t.Dict[str, t.Any]

# Below 3.29 the operator has no nftables dataplane.
OLDEST = (3, 29)
# Since then chart tigera-operator brings no CustomResourceDefinitions, and the operator can be told which API group to use.
CRDS_FROM_OPERATOR = (3, 32)
V1, V3 = "crd.projectcalico.org/v1", "projectcalico.org/v3"
# The first minor of Kubernetes that serves MutatingAdmissionPolicy without a feature gate (KEP-3962); the objects of projectcalico.org/v3 need it.
V3_KUBERNETES_MINOR = 36

ENCAPSULATIONS = {
    "none": "None",
    "vxlan": "VXLAN",
    "vxlan_cross_subnet": "VXLANCrossSubnet",
    "ipip": "IPIP",
    "ipip_cross_subnet": "IPIPCrossSubnet",
}
DATAPLANES = {"ipvs": "Iptables", "iptables": "Iptables", "nftables": "Nftables", "none": "BPF"}

NAMESPACE, OPERATOR_NAMESPACE = "calico-system", "tigera-operator"
# A Secret of this name is made; a Secret of the user's is named by the user.
PASSWORDS, NODES_KEY = "bgp-passwords", "nodes"
REFLECTORS = "route-reflectors"
REFLECTOR_LABEL = "route-reflector"
REFLECTOR_ANNOTATION = "projectcalico.org/RouteReflectorClusterID"
OWNER_LABELS = {"app.kubernetes.io/managed-by": "baremetal.kubernetes"}

# RFC 1123, as the API server wants the name of an object
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_MOST_AS_NUMBER = 2**32 - 1
# in bytes: TCP_MD5SIG_MAXKEYLEN of Linux; a session with a longer one never comes up
_LONGEST_PASSWORD = 80
# what Calico takes from an IPv6 pool when it is told nothing
_BLOCK_SIZE_IPV6 = 122

_PEER_KEYS = ("name", "address", "port", "as_number", "node_selector", "password", "password_secret", "spec")
# Fields that this collection has to know, by what they are said with: the expected sessions are computed from these.
_PEER_SAID = {
    "peerIP": "address",
    "asNumber": "as_number",
    "node": "node_selector",
    "nodeSelector": "node_selector",
    "peerSelector": "address",
    "localWorkloadSelector": "node_selector",
    "password": "password",
}
_BGP_SAID = {
    "asNumber": "cni_calico_as_number",
    "listenPort": "cni_calico_bgp_port",
    "nodeToNodeMeshEnabled": "cni_calico_mesh",
    "nodeMeshPassword": "cni_calico_bgp_password",
    "serviceClusterIPs": "cni_calico_advertise_cluster_ips",
    "serviceExternalIPs": "cni_calico_advertise_external_ips",
    "serviceLoadBalancerIPs": "cni_calico_advertise_load_balancer_ips",
}
_FELIX_SAID = {"wireguardEnabled": "cluster_cni_encryption", "wireguardEnabledV6": "cluster_cni_encryption"}
_ADVERTISED = {"serviceExternalIPs": "advertise_external_ips", "serviceLoadBalancerIPs": "advertise_load_balancer_ips"}


class CalicoError(ValueError):
    """One sentence about a setting, by the name of the role's variable."""


def networks(cidrs: t.Any, what: str) -> t.List[Network]:
    """One network, or two with a comma between them."""
    try:
        return [ipaddress.ip_network(part.strip()) for part in str(cidrs).split(",")]
    except ValueError as error:
        raise CalicoError(f"{what} is {cidrs!r}: {error}") from None


def _cidrs(item: t.Any, option: str) -> t.List[str]:
    """The networks that make up an address, a network or a range FIRST-LAST."""
    try:
        found = parse_range(item)
    except AddressError as error:
        raise CalicoError(f"cni_calico_{option} has {item!r}, which {error}") from None
    make = ipaddress.IPv4Address if found.version == 4 else ipaddress.IPv6Address
    return [str(net) for net in ipaddress.summarize_address_range(make(found.first), make(found.last))]


def release(version: t.Any) -> t.Tuple[int, int]:
    """Major and minor of a release of Calico."""
    found = re.fullmatch(r"(\d+)\.(\d+)\.\d+", str(version))
    if not found:
        raise CalicoError(f"cni_calico_version is {version!r}, but must be a release such as 3.32.4, without a v")
    numbers = int(found[1]), int(found[2])
    if numbers < OLDEST:
        raise CalicoError(f"cni_calico_version is {version}, but {'.'.join(map(str, OLDEST))} is the oldest that can be installed")
    return numbers


def _encapsulation(settings: t.Mapping[str, t.Any]) -> str:
    return encapsulation_of("calico", settings.get("encapsulation") or "")


def bgp_enabled(settings: t.Mapping[str, t.Any]) -> bool:
    """VXLAN needs no BGP between the nodes; routers outside, and Services told to them, do."""
    wanted = ("peers", "route_reflectors", "advertise_cluster_ips", *_ADVERTISED.values())
    return any(settings.get(name) for name in wanted) or not _encapsulation(settings).startswith("vxlan")


def families(settings: t.Mapping[str, t.Any]) -> t.List[int]:
    """IP versions of the pods."""
    return sorted({net.version for net in networks(settings["pod_cidr"], "cluster_pod_cidr")})


def _listed(settings: t.Mapping[str, t.Any], option: str, name: str) -> t.List[t.Any]:
    items = settings.get(option) or []
    if not isinstance(items, list):
        raise CalicoError(f"{name} must be a list")
    return items


def _fields(fields: t.Any, name: str, said: t.Mapping[str, str]) -> t.Mapping[str, t.Any]:
    """Fields that the user adds; those that have a variable of their own are refused."""
    if not isinstance(fields or {}, t.Mapping):
        raise CalicoError(f"{name} must be a dict")
    refused = [f"{field} ({said[field]})" for field in fields or {} if field in said]
    if refused:
        raise CalicoError(f"{name} has fields that are said with variables of their own: {', '.join(refused)}; take these")
    return fields or {}


# --- values of the chart


def _block_size(settings: t.Mapping[str, t.Any], net: Network) -> int:
    if net.version == 6:
        return _BLOCK_SIZE_IPV6
    return whole_number(settings.get("block_size", 26), "cni_calico_block_size", 20, 32)


def _pools(settings: t.Mapping[str, t.Any]) -> t.List[Object]:
    encapsulation = _encapsulation(settings)
    pools = []
    for net in networks(settings["pod_cidr"], "cluster_pod_cidr"):
        size, nodes = _block_size(settings, net), int(settings.get("nodes") or 1)
        blocks = 2 ** (size - net.prefixlen) if size >= net.prefixlen else 0
        if nodes > blocks:
            larger = "a larger number as cni_calico_block_size, or a larger network" if net.version == 4 else "a larger network"
            raise CalicoError(
                f"cluster_pod_cidr {net} has {blocks} blocks of /{size}, but each of the {nodes} nodes needs one; take {larger}"
            )
        pool: Object = {
            "cidr": str(net),
            # IP-in-IP is for IPv4 only; the operator refuses it here.
            "encapsulation": ENCAPSULATIONS["none" if net.version == 6 and encapsulation.startswith("ipip") else encapsulation],
            "natOutgoing": "Enabled" if settings.get("nat_outgoing", True) else "Disabled",
            "nodeSelector": "all()",
        }
        if net.version == 4:
            pool["blockSize"] = size
        pools.append(pool)
    return pools


def _pod_mtu(settings: t.Mapping[str, t.Any]) -> int:
    return whole_number(settings["pod_mtu"], "the MTU of pods", max(LEAST_MTU[family] for family in families(settings)), 65535)


def _dataplane(settings: t.Mapping[str, t.Any]) -> str:
    mode = settings.get("proxy_mode", "ipvs")
    if mode not in DATAPLANES:
        raise CalicoError(f"cluster_proxy_mode is {mode!r}, but must be one of {', '.join(DATAPLANES)}")
    return DATAPLANES[mode]


def _api_server(settings: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    """Where the API server is, for Calico in the place of kube-proxy; empty beside it."""
    if _dataplane(settings) != "BPF":
        return {}
    endpoint = settings.get("api_endpoint", "")
    host, dummy, port = str(endpoint).rpartition(":")
    if not host or not port.isdigit():
        raise CalicoError(f"the address of the API server is {endpoint!r}, but without kube-proxy Calico needs host and port of it")
    return {"host": host.strip("[]"), "port": port}


def _values(settings: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    return _fields(settings.get("values"), "cni_calico_values", {})


def values(settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Values of chart tigera-operator."""
    version = release(settings["version"])
    group = _group(settings)
    network: Object = {
        "bgp": "Enabled" if bgp_enabled(settings) else "Disabled",
        "linuxDataplane": _dataplane(settings),
        "mtu": _pod_mtu(settings),
        "ipPools": _pools(settings),
    }
    for family in families(settings):
        # The kubelet was told its node IP; any other method guesses among the interfaces, and guesses docker0 sooner or later.
        network[f"nodeAddressAutodetectionV{family}"] = {"kubernetes": "NodeInternalIP"}
    installation: Object = {
        "enabled": True,
        "calicoNetwork": network,
        "controlPlaneReplicas": min(2, int(settings.get("nodes") or 1)),
    }
    result: Object = {"installation": installation, "apiServer": {"enabled": True}}
    # The CSI driver hands pods a volume that only Istio's dikastes uses; without it there are two images less on each node.
    (installation if version >= (3, 31) else result)["kubeletVolumePluginPath"] = "None"
    if version >= (3, 30):
        result |= {"goldmane": {"enabled": False}, "whisker": {"enabled": False}}
    operator: Object = {}
    if version >= CRDS_FROM_OPERATOR:
        result["manageCRDs"] = True
        # Left alone, the operator takes what it finds, and on new clusters what it would like.
        operator["env"] = [{"name": "CALICO_API_GROUP", "value": group}]
    if settings.get("registry"):
        registry = str(settings["registry"]).rstrip("/")
        installation["registry"] = registry + "/"
        operator["registry"] = registry
    if operator:
        result["tigeraOperator"] = operator
    if _api_server(settings):
        result["kubernetesServiceEndpoint"] = _api_server(settings)
    return merge(result, _values(settings))


def workloads(settings: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, str]]:
    """What has to be rolled out."""
    found = [
        ("Deployment", OPERATOR_NAMESPACE, "tigera-operator"),
        ("Deployment", NAMESPACE, "calico-typha"),
        ("DaemonSet", NAMESPACE, "calico-node"),
        ("Deployment", NAMESPACE, "calico-kube-controllers"),
    ]
    if _group(settings) == V1 and values(settings)["apiServer"]["enabled"]:
        found.append(("Deployment", NAMESPACE if release(settings["version"]) >= (3, 31) else "calico-apiserver", "calico-apiserver"))
    return [{"kind": kind, "namespace": namespace, "name": name} for kind, namespace, name in found]


# --- Calico's own objects


def _group(settings: t.Mapping[str, t.Any]) -> str:
    group = str(settings.get("api_group") or V1)
    if group not in (V1, V3):
        raise CalicoError(f"cni_calico_api_group is {group!r}, but must be {V1} or {V3}")
    if group == V3 and release(settings["version"]) < CRDS_FROM_OPERATOR:
        raise CalicoError(f"cni_calico_api_group is {V3}, but Calico {settings['version']} has {V1} only; take that, or Calico 3.32 or later")
    if group == V3 and int(settings.get("kubernetes_minor") or 0) < V3_KUBERNETES_MINOR:
        raise CalicoError(
            f"cni_calico_api_group is {V3}, but that needs MutatingAdmissionPolicy, served by Kubernetes from 1.{V3_KUBERNETES_MINOR} on; take {V1}"
        )
    return group


def _calico(settings: t.Mapping[str, t.Any], kind: str, name: str, spec: t.Mapping[str, t.Any]) -> Object:
    # In the group of the store: Calico's API server is a pod, reached over the very network that these objects make.
    return {"apiVersion": _group(settings), "kind": kind, "metadata": {"name": name, "labels": dict(OWNER_LABELS)}, "spec": dict(spec)}


def _secret_key(name: str, key: str) -> Object:
    return {"secretKeyRef": {"name": name, "key": key}}


# --- a BGP peer, field by field


def _title(peer: t.Mapping[str, t.Any]) -> str:
    return f"BGP peer {peer.get('name', '(without name)')} (cni_calico_bgp_peers)"


def _peer_keys(peer: t.Mapping[str, t.Any]) -> None:
    unknown = sorted(map(str, set(peer) - set(_PEER_KEYS)))
    if unknown:
        raise CalicoError(f"{_title(peer)} has the unknown key {unknown[0]!r}; other fields of a BGPPeer belong under spec")


def _peer_name(peer: t.Mapping[str, t.Any]) -> str:
    name = str(peer.get("name", ""))
    if not _NAME.fullmatch(name) or name == REFLECTORS:
        raise CalicoError(f"{_title(peer)} must have a name of lower case letters, digits, '-' and '.' only, and not {REFLECTORS}")
    return name


def _peer_ip(peer: t.Mapping[str, t.Any]) -> str:
    try:
        address = ipaddress.ip_address(str(peer.get("address", "")))
    except ValueError:
        raise CalicoError(f"{_title(peer)} has the address {peer.get('address', '')!r}, but must have an IP address") from None
    if not peer.get("port"):
        return str(address)
    port = whole_number(peer["port"], f"the port of {_title(peer)}", 1, 65535)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def peer_as_number(peer: t.Mapping[str, t.Any]) -> int:
    """AS number of a router."""
    return whole_number(peer.get("as_number"), f"the AS number of {_title(peer)}", 1, _MOST_AS_NUMBER)


def peer_is_for(peer: t.Mapping[str, t.Any]) -> Test:
    """Tells for the labels of a node whether it has a session with this router."""
    try:
        return parse(str(peer.get("node_selector") or "all()"))
    except SelectorError as error:
        raise CalicoError(f"the node_selector of {_title(peer)} cannot be read: {error}") from None


def _password(password: t.Any, what: str) -> str:
    """Never shown."""
    length = len(str(password).encode())
    if length > _LONGEST_PASSWORD:
        raise CalicoError(f"the password of {what} has {length} bytes, but Linux takes {_LONGEST_PASSWORD} at most")
    return str(password)


def _peer_password(peer: t.Mapping[str, t.Any]) -> t.Optional[Object]:
    secret = peer.get("password_secret") or {}
    if secret and peer.get("password"):
        raise CalicoError(f"{_title(peer)} has both password and password_secret; take one")
    if secret:
        if not isinstance(secret, t.Mapping) or set(secret) != {"name", "key"}:
            raise CalicoError(f"the password_secret of {_title(peer)} must have name and key")
        return _secret_key(str(secret["name"]), str(secret["key"]))
    if _password(peer.get("password") or "", _title(peer)):
        return _secret_key(PASSWORDS, str(peer.get("name", "")))
    return None


def _peer_fields(peer: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    return _fields(peer.get("spec"), f"the spec of {_title(peer)}", _PEER_SAID)


_PEER_RULES: t.Tuple[t.Callable[..., t.Any], ...] = (
    _peer_keys,
    _peer_name,
    _peer_ip,
    peer_as_number,
    peer_is_for,
    _peer_password,
    _peer_fields,
)


def _peer(peer: t.Mapping[str, t.Any]) -> t.Tuple[str, Object]:
    for rule in _PEER_RULES:
        rule(peer)
    spec: Object = {"peerIP": _peer_ip(peer), "asNumber": peer_as_number(peer)}
    if peer.get("node_selector"):
        spec["nodeSelector"] = str(peer["node_selector"])
    password = _peer_password(peer)
    if password:
        spec["password"] = password
    return _peer_name(peer), merge(spec, _peer_fields(peer))


def routers(settings: t.Mapping[str, t.Any]) -> t.List[t.Mapping[str, t.Any]]:
    """The configured peers, each a dict and with a name of its own."""
    found = _listed(settings, "peers", "cni_calico_bgp_peers")
    if not all(isinstance(peer, t.Mapping) for peer in found):
        # not shown: it may hold a password
        raise CalicoError("cni_calico_bgp_peers must be a list of dicts with name, address and as_number")
    names = [str(peer.get("name", "")) for peer in found]
    for name in names:
        if names.count(name) > 1:
            raise CalicoError(f"cni_calico_bgp_peers has two with the name {name}; each needs its own")
    if settings.get("node_password") and any(peer.get("password") for peer in found if peer.get("name") == NODES_KEY):
        raise CalicoError(f"cni_calico_bgp_peers has a password for {NODES_KEY}, which stands for sessions between nodes; rename it")
    return found


def _peers(settings: t.Mapping[str, t.Any]) -> t.List[Object]:
    objects = [_calico(settings, "BGPPeer", *_peer(peer)) for peer in routers(settings)]
    if reflectors(settings):
        spec = {"nodeSelector": "all()", "peerSelector": f"{REFLECTOR_LABEL} == 'true'"}
        if settings.get("node_password"):
            spec["password"] = _secret_key(PASSWORDS, NODES_KEY)
        objects.append(_calico(settings, "BGPPeer", REFLECTORS, spec))
    return objects


# --- BGP of the nodes


def as_number(settings: t.Mapping[str, t.Any]) -> int:
    """AS number of the nodes."""
    return whole_number(settings.get("as_number", 64512), "cni_calico_as_number", 1, _MOST_AS_NUMBER)


def _bgp_port(settings: t.Mapping[str, t.Any]) -> int:
    return whole_number(settings.get("bgp_port", 179), "cni_calico_bgp_port", 1, 65535)


def _node_password(settings: t.Mapping[str, t.Any]) -> str:
    return _password(settings.get("node_password") or "", "the nodes (cni_calico_bgp_password)")


def reflectors(settings: t.Mapping[str, t.Any]) -> t.Set[Address]:
    """Addresses of the route reflectors. Where the nodes are known, they are named by these names; else by address."""
    known: t.Optional[t.Mapping[str, str]] = settings.get("node_ips")
    found = set()
    for name in map(str, _listed(settings, "route_reflectors", "cni_calico_route_reflectors")):
        if known is not None and name not in known:
            raise CalicoError(f"cni_calico_route_reflectors has {name!r}, but must have inventory names of nodes: {', '.join(known)}")
        found.add(ipaddress.ip_address(name if known is None else known[name]))
    return found


def _cluster_id(settings: t.Mapping[str, t.Any]) -> str:
    cluster_id = str(settings.get("route_reflector_cluster_id") or "244.0.0.1")
    try:
        return str(ipaddress.IPv4Address(cluster_id))
    except ValueError:
        raise CalicoError(f"cni_calico_route_reflector_cluster_id is {cluster_id!r}, but must be written as an IPv4 address") from None


def mesh_wanted(settings: t.Mapping[str, t.Any]) -> bool:
    """Reflectors take the place of the mesh."""
    mesh, instead = bool(settings.get("mesh", True)), settings.get("route_reflectors") or settings.get("peers")
    if not mesh and not instead and int(settings.get("nodes") or 1) > 1 and not _encapsulation(settings).startswith("vxlan"):
        raise CalicoError(
            "cni_calico_mesh is false, but then nobody tells the nodes where pods of other nodes are; "
            "name cni_calico_route_reflectors or cni_calico_bgp_peers, or leave it true"
        )
    return mesh and not settings.get("route_reflectors")


def _bgp_fields(settings: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    return _fields(settings.get("bgp_configuration"), "cni_calico_bgp_configuration", _BGP_SAID)


def bgp_configuration(settings: t.Mapping[str, t.Any], mesh: bool) -> Object:
    """BGPConfiguration default, with the mesh on or off."""
    spec: Object = {"asNumber": as_number(settings), "listenPort": _bgp_port(settings), "nodeToNodeMeshEnabled": mesh}
    if mesh and _node_password(settings):
        spec["nodeMeshPassword"] = _secret_key(PASSWORDS, NODES_KEY)
    if settings.get("advertise_cluster_ips"):
        spec["serviceClusterIPs"] = [{"cidr": str(net)} for net in networks(settings["service_cidr"], "cluster_service_cidr")]
    for field, option in _ADVERTISED.items():
        cidrs = [cidr for item in _listed(settings, option, f"cni_calico_{option}") for cidr in _cidrs(item, option)]
        if cidrs:
            spec[field] = [{"cidr": cidr} for cidr in dict.fromkeys(cidrs)]
    return _calico(settings, "BGPConfiguration", "default", merge(spec, _bgp_fields(settings)))


def felix_configuration(settings: t.Mapping[str, t.Any]) -> Object:
    """FelixConfiguration default; said in both ways, so that turning encryption off reaches the nodes."""
    wireguard = settings.get("encryption") == "wireguard"
    spec: Object = {"wireguardEnabled": wireguard and 4 in families(settings)}
    if 6 in families(settings):
        spec["wireguardEnabledV6"] = wireguard
    fields = _fields(settings.get("felix_configuration"), "cni_calico_felix_configuration", _FELIX_SAID)
    return _calico(settings, "FelixConfiguration", "default", merge(spec, fields))


def _secrets(settings: t.Mapping[str, t.Any]) -> t.List[Object]:
    data = {str(peer["name"]): str(peer["password"]) for peer in routers(settings) if peer.get("password")}
    if _node_password(settings):
        data[NODES_KEY] = _node_password(settings)
    return [{"name": PASSWORDS, "namespace": NAMESPACE, "labels": dict(OWNER_LABELS), "data": data}] if data else []


def _access(secrets: t.Sequence[str]) -> t.List[Object]:
    """calico-node reads and watches these Secrets and no others (docs.tigera.io, "Secure BGP sessions")."""
    meta = {"name": PASSWORDS, "namespace": NAMESPACE, "labels": dict(OWNER_LABELS)}
    group = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": list(secrets), "verbs": ["get", "list", "watch"]}
    return [
        # the operator makes it too, but later than the Secret is needed
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": dict(meta), "rules": [rule]},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": dict(meta),
            "roleRef": {"apiGroup": group, "kind": "Role", "name": PASSWORDS},
            "subjects": [{"kind": "ServiceAccount", "name": "calico-node", "namespace": NAMESPACE}],
        },
    ]


def resources(settings: t.Mapping[str, t.Any], mesh: t.Optional[bool] = None) -> t.Dict[str, t.Any]:
    """Everything besides the chart; mesh tells whether the mesh is on at this step, None that it is as it shall be in the end."""
    objects = [felix_configuration(settings)]
    secrets: t.List[Object] = []
    if bgp_enabled(settings):
        peers = _peers(settings)
        secrets = _secrets(settings)
        named = {item["name"] for item in secrets}
        named |= {peer["spec"]["password"]["secretKeyRef"]["name"] for peer in peers if peer["spec"].get("password")}
        # Before the peers that need it: a session without its password is refused by the other side for minutes.
        objects = (_access(sorted(named)) if named else []) + objects
        objects += [bgp_configuration(settings, mesh_wanted(settings) if mesh is None else mesh), *peers]
    return {
        "objects": objects,
        "secrets": secrets,
        "prune_kinds": [f"{_group(settings)}/BGPPeer"],
        "workloads": workloads(settings),
        "bgp": bgp_enabled(settings),
        "mesh": mesh_wanted(settings),
        "crds_from_operator": release(settings["version"]) >= CRDS_FROM_OPERATOR,
    }


# Each looks at settings of its own, so that one fault does not hide another.
_RULES: t.Tuple[t.Callable[..., t.Any], ...] = (
    lambda settings: release(settings["version"]),
    _group,
    _encapsulation,
    _dataplane,
    _api_server,
    _pools,
    _pod_mtu,
    as_number,
    _bgp_port,
    mesh_wanted,
    _node_password,
    reflectors,
    _cluster_id,
    routers,
    _bgp_fields,
    felix_configuration,
    _values,
)


def problems(settings: t.Mapping[str, t.Any]) -> t.List[str]:
    """Everything that is wrong with the settings, one sentence each."""
    found = [text for rule in _RULES for text in told(rule, settings)]
    if not told(routers, settings):
        found += [text for peer in routers(settings) for rule in _PEER_RULES for text in told(rule, peer)]
    for option in _ADVERTISED.values():
        name = f"cni_calico_{option}"
        wrong = told(_listed, settings, option, name)
        found += wrong or [text for item in _listed(settings, option, name) for text in told(_cidrs, item, option)]
    # the same rule may be asked by two others
    return [f"{text}." for text in dict.fromkeys(found)]


def reflector_nodes(settings: t.Mapping[str, t.Any], nodes: t.Iterable[t.Mapping[str, t.Any]]) -> t.List[Object]:
    """Nodes with the label and the annotation of a reflector, all others without: what is not applied again is given up.

    With the UID, so that a node that left in the meantime is not made again.
    """
    wanted, cluster_id = reflectors(settings), _cluster_id(settings)
    found, seen = [], set()
    for node in nodes:
        metadata: Object = {"name": node["name"], "uid": node["uid"]}
        own = wanted & {ipaddress.ip_address(address) for address in node["addresses"]}
        if own:
            seen |= own
            metadata |= {"labels": {REFLECTOR_LABEL: "true"}, "annotations": {REFLECTOR_ANNOTATION: cluster_id}}
        found.append({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
    if wanted - seen:
        raise CalicoError(f"the route reflector {min(map(str, wanted - seen))} is the address of no node of the cluster")
    return found
