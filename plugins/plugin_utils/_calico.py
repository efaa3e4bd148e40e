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

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._calico_selector import SelectorError, parse

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
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_AS_NUMBERS = range(1, 2**32)


class CalicoError(ValueError):
    """One sentence about a setting."""


def _number(value: t.Any, what: str, allowed: range) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if isinstance(value, bool) or number not in allowed:
        raise CalicoError(f"{what} is {value!r}, but must be a number from {allowed[0]} to {allowed[-1]}")
    return number


def networks(cidrs: t.Any, what: str) -> t.List[Network]:
    """One network, or two with a comma between them."""
    try:
        return [ipaddress.ip_network(part.strip()) for part in str(cidrs).split(",")]
    except ValueError as error:
        raise CalicoError(f"{what} is {cidrs!r}: {error}") from None


def cidrs_of(ranges: t.Iterable[t.Any], what: str) -> t.List[str]:
    """The networks that make up addresses, networks and ranges FIRST-LAST."""
    found: t.List[str] = []
    for text in map(str, ranges):
        first, dash, last = text.partition("-")
        try:
            if dash:
                ends = ipaddress.ip_address(first.strip()), ipaddress.ip_address(last.strip())
                found += map(str, ipaddress.summarize_address_range(*ends))
            else:
                found.append(str(ipaddress.ip_network(text)))
        except (ValueError, TypeError) as error:
            raise CalicoError(f"{what} has {text!r}: {error}") from None
    return list(dict.fromkeys(found))


def release(version: t.Any) -> t.Tuple[int, int]:
    """Major and minor of a release of Calico."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)\.\d+", str(version))
    if not found:
        raise CalicoError(f"the version of Calico is {version!r}, but must be one such as 3.32.4")
    numbers = int(found[1]), int(found[2])
    if numbers < OLDEST:
        raise CalicoError(f"the version of Calico is {version}, but {'.'.join(map(str, OLDEST))} is the oldest that can be installed")
    return numbers


def _encapsulation(settings: t.Mapping[str, t.Any]) -> str:
    name = settings.get("encapsulation") or "none"
    if name not in ENCAPSULATIONS:
        raise CalicoError(f"the encapsulation is {name!r}, but Calico has {', '.join(ENCAPSULATIONS)}")
    return str(name)


def bgp_enabled(settings: t.Mapping[str, t.Any]) -> bool:
    """VXLAN needs no BGP between the nodes; routers outside, and Services told to them, do."""
    wanted = ("peers", "route_reflectors", "advertise_external_ips", "advertise_load_balancer_ips")
    asked = settings.get("advertise_cluster_ips") or any(settings.get(name) for name in wanted)
    return bool(asked) or not _encapsulation(settings).startswith("vxlan")


def families(settings: t.Mapping[str, t.Any]) -> t.List[int]:
    """IP versions of the pods."""
    return sorted({net.version for net in networks(settings["pod_cidr"], "the pod network")})


def _extra(settings: t.Mapping[str, t.Any], option: str, field: str, instead: str) -> t.Mapping[str, t.Any]:
    """Fields that the user adds; one that this collection has to know is refused."""
    extra: t.Mapping[str, t.Any] = settings.get(option) or {}
    if field in extra:
        raise CalicoError(f"{option} has the field {field}, but that is said with {instead}")
    return extra


def merge(base: t.Mapping[str, t.Any], more: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """A copy with the fields of more; dictionaries are merged, anything else is replaced."""
    result = dict(base)
    for key, value in more.items():
        old = result.get(key)
        result[key] = merge(old, value) if isinstance(old, t.Mapping) and isinstance(value, t.Mapping) else value
    return result


# --- values of the chart


def _pools(settings: t.Mapping[str, t.Any]) -> t.List[Object]:
    encapsulation = _encapsulation(settings)
    pools = []
    for net in networks(settings["pod_cidr"], "the pod network"):
        pool = {
            "cidr": str(net),
            # IP-in-IP is for IPv4 only; the operator refuses it here.
            "encapsulation": ENCAPSULATIONS["none" if net.version == 6 and encapsulation.startswith("ipip") else encapsulation],
            "natOutgoing": "Enabled" if settings.get("nat_outgoing", True) else "Disabled",
            "nodeSelector": "all()",
        }
        if net.version == 4:
            size = _number(settings.get("block_size", 26), "the block size", range(20, 33))
            if size < net.prefixlen:
                raise CalicoError(f"the block size is /{size}, but blocks are cut from the pod network {net}; take a larger number")
            nodes = int(settings.get("nodes") or 1)
            if nodes > 2 ** (size - net.prefixlen):
                raise CalicoError(
                    f"the pod network {net} has {2 ** (size - net.prefixlen)} blocks of /{size}, but each of the {nodes} nodes needs one; "
                    "take a larger number as block size, or a larger pod network"
                )
            pool["blockSize"] = size
        pools.append(pool)
    return pools


def _api_server(endpoint: t.Any) -> t.Dict[str, str]:
    host, colon, port = str(endpoint).rpartition(":")
    if not host or not port.isdigit():
        raise CalicoError(f"the address of the API server is {endpoint!r}, but without kube-proxy Calico needs host and port of it")
    return {"host": host.strip("[]"), "port": port}


def values(settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Values of chart tigera-operator."""
    version = release(settings["version"])
    group = _group(settings)
    proxy_mode = settings.get("proxy_mode", "ipvs")
    if proxy_mode not in DATAPLANES:
        raise CalicoError(f"the proxy mode is {proxy_mode!r}, but must be one of {', '.join(DATAPLANES)}")
    network: Object = {
        "bgp": "Enabled" if bgp_enabled(settings) else "Disabled",
        "linuxDataplane": DATAPLANES[proxy_mode],
        "mtu": _number(settings["pod_mtu"], "the MTU of pods", range(576, 65536)),
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
    if proxy_mode == "none":
        result["kubernetesServiceEndpoint"] = _api_server(settings.get("api_endpoint", ""))
    return merge(result, settings.get("values") or {})


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
        raise CalicoError(f"the API group is {group!r}, but must be {V1} or {V3}")
    if group == V3 and release(settings["version"]) < CRDS_FROM_OPERATOR:
        raise CalicoError(f"the API group is {V3}, but Calico {settings['version']} has {V1} only; take that, or Calico 3.32 or later")
    if group == V3 and int(settings.get("kubernetes_minor") or 0) < V3_KUBERNETES_MINOR:
        raise CalicoError(
            f"the API group is {V3}, but that needs MutatingAdmissionPolicy, served by Kubernetes from 1.{V3_KUBERNETES_MINOR} on; take {V1}"
        )
    return group


def _calico(settings: t.Mapping[str, t.Any], kind: str, name: str, spec: t.Mapping[str, t.Any]) -> Object:
    # In the group of the store: Calico's API server is a pod, reached over the very network that these objects make.
    return {"apiVersion": _group(settings), "kind": kind, "metadata": {"name": name, "labels": dict(OWNER_LABELS)}, "spec": dict(spec)}


def _secret_key(name: str, key: str) -> Object:
    return {"secretKeyRef": {"name": name, "key": key}}


def _peer(peer: t.Mapping[str, t.Any]) -> t.Tuple[str, Object]:
    unknown = sorted(set(peer) - {"name", "address", "port", "as_number", "node_selector", "password", "password_secret", "spec"})
    if unknown:
        raise CalicoError(f"a BGP peer has the unknown key {unknown[0]!r}; other fields of a BGPPeer belong under spec")
    name = str(peer.get("name", ""))
    if not _NAME.fullmatch(name) or name == REFLECTORS:
        raise CalicoError(f"a BGP peer has the name {name!r}, but must have lower case letters, digits, '-' and '.' only, and not {REFLECTORS}")
    try:
        address = ipaddress.ip_address(str(peer.get("address", "")))
    except ValueError:
        raise CalicoError(f"BGP peer {name} has the address {peer.get('address', '')!r}, but must have an IP address") from None
    text = str(address)
    if peer.get("port"):
        port = _number(peer["port"], f"the port of BGP peer {name}", range(1, 65536))
        text = f"[{text}]:{port}" if address.version == 6 else f"{text}:{port}"
    spec: Object = {"peerIP": text, "asNumber": _number(peer.get("as_number"), f"the AS number of BGP peer {name}", _AS_NUMBERS)}
    if peer.get("node_selector"):
        try:
            parse(str(peer["node_selector"]))
        except SelectorError as error:
            raise CalicoError(f"the node_selector of BGP peer {name} cannot be read: {error}") from None
        spec["nodeSelector"] = str(peer["node_selector"])
    secret = peer.get("password_secret") or {}
    if secret and peer.get("password"):
        raise CalicoError(f"BGP peer {name} has both password and password_secret; take one")
    if secret:
        if set(secret) != {"name", "key"}:
            raise CalicoError(f"the password_secret of BGP peer {name} must have name and key")
        spec["password"] = _secret_key(str(secret["name"]), str(secret["key"]))
    elif peer.get("password"):
        spec["password"] = _secret_key(PASSWORDS, name)
    return name, merge(spec, peer.get("spec") or {})


def _peers(settings: t.Mapping[str, t.Any]) -> t.List[Object]:
    found = [_peer(peer) for peer in settings.get("peers") or []]
    names = [name for name, _spec in found]
    for name in names:
        if names.count(name) > 1:
            raise CalicoError(f"two BGP peers have the name {name}")
    objects = [_calico(settings, "BGPPeer", name, spec) for name, spec in found]
    if settings.get("route_reflectors"):
        spec = {"nodeSelector": "all()", "peerSelector": f"{REFLECTOR_LABEL} == 'true'"}
        if settings.get("node_password"):
            spec["password"] = _secret_key(PASSWORDS, NODES_KEY)
        objects.append(_calico(settings, "BGPPeer", REFLECTORS, spec))
    return objects


def mesh_wanted(settings: t.Mapping[str, t.Any]) -> bool:
    """Reflectors take the place of the mesh."""
    return bool(settings.get("mesh", True)) and not settings.get("route_reflectors")


def bgp_configuration(settings: t.Mapping[str, t.Any], mesh: bool) -> Object:
    """BGPConfiguration default, with the mesh on or off."""
    spec: Object = {
        "asNumber": _number(settings.get("as_number", 64512), "the AS number", _AS_NUMBERS),
        "listenPort": _number(settings.get("bgp_port", 179), "the BGP port", range(1, 65536)),
        "nodeToNodeMeshEnabled": mesh,
    }
    if mesh and settings.get("node_password"):
        spec["nodeMeshPassword"] = _secret_key(PASSWORDS, NODES_KEY)
    if settings.get("advertise_cluster_ips"):
        spec["serviceClusterIPs"] = [{"cidr": str(net)} for net in networks(settings["service_cidr"], "the service network")]
    for field, option in (("serviceExternalIPs", "advertise_external_ips"), ("serviceLoadBalancerIPs", "advertise_load_balancer_ips")):
        if settings.get(option):
            spec[field] = [{"cidr": cidr} for cidr in cidrs_of(settings[option], option)]
    extra = _extra(settings, "bgp_configuration", "nodeToNodeMeshEnabled", "mesh")
    return _calico(settings, "BGPConfiguration", "default", merge(spec, extra))


def felix_configuration(settings: t.Mapping[str, t.Any]) -> Object:
    """FelixConfiguration default; said in both ways, so that turning encryption off reaches the nodes."""
    wireguard = settings.get("encryption") == "wireguard"
    spec: Object = {"wireguardEnabled": wireguard and 4 in families(settings)}
    if 6 in families(settings):
        spec["wireguardEnabledV6"] = wireguard
    extra = _extra(settings, "felix_configuration", "wireguardEnabled", "encryption")
    return _calico(settings, "FelixConfiguration", "default", merge(spec, extra))


def _secrets(settings: t.Mapping[str, t.Any]) -> t.List[Object]:
    data = {str(peer["name"]): str(peer["password"]) for peer in settings.get("peers") or [] if peer.get("password")}
    if settings.get("node_password"):
        if NODES_KEY in data:
            raise CalicoError(f"a BGP peer with a password has the name {NODES_KEY}, which stands for sessions between nodes; rename it")
        data[NODES_KEY] = str(settings["node_password"])
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
    }


def reflector_nodes(settings: t.Mapping[str, t.Any], nodes: t.Iterable[t.Mapping[str, t.Any]]) -> t.List[Object]:
    """Nodes with the label and the annotation of a reflector, all others without: what is not applied again is given up.

    With the UID, so that a node that left in the meantime is not made again.
    """
    reflectors = {str(ipaddress.ip_address(address)) for address in settings.get("route_reflectors") or []}
    cluster_id = str(settings.get("route_reflector_cluster_id") or "244.0.0.1")
    try:
        ipaddress.IPv4Address(cluster_id)
    except ValueError:
        raise CalicoError(f"the cluster ID of the route reflectors is {cluster_id!r}, but must be written as an IPv4 address") from None
    found, seen = [], set()
    for node in nodes:
        metadata: Object = {"name": node["name"], "uid": node["uid"]}
        own = reflectors & {str(ipaddress.ip_address(address)) for address in node["addresses"]}
        if own:
            seen |= own
            metadata |= {"labels": {REFLECTOR_LABEL: "true"}, "annotations": {REFLECTOR_ANNOTATION: cluster_id}}
        found.append({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
    if reflectors - seen:
        raise CalicoError(f"the route reflector {sorted(reflectors - seen)[0]} is the address of no node of the cluster")
    return found
