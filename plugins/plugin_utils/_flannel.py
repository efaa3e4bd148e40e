# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Values of Flannel's own chart (kube-flannel, 0.28) for a cluster."""

from __future__ import annotations

import hashlib
import json
import typing as t

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

# flanneld is told the MTU of the network outside and takes this off itself, over IPv6 too: pkg/backend/vxlan/vxlan_network.go
# (encapOverhead) and pkg/backend/wireguard/wireguard_network.go (overhead). host-gw takes nothing off and cannot be told.
_TAKES_OFF = {"vxlan": 50, "wireguard": 80}

# The chart's own: a list in values takes the place of the chart's list.
_TOLERATIONS = [{"effect": "NoExecute", "operator": "Exists"}, {"effect": "NoSchedule", "operator": "Exists"}]
_CHECKSUM_KEY = "flannel.baremetal.kubernetes/settings"


def backend(encapsulation: str, encryption: str) -> str:
    """Flannel's name for it; its WireGuard takes the place of the encapsulation."""
    if encryption == "wireguard":
        return "wireguard"
    return "host-gw" if encapsulation_of("flannel", encapsulation) == "none" else "vxlan"


def _interfaces(settings: t.Mapping[str, t.Any]) -> t.List[str]:
    """In the order in which flanneld tries them; of all nodes' addresses each node has only its own."""
    if settings["interfaces"]:
        return [str(item) for item in settings["interfaces"]]
    # sorted: another order in the inventory must not restart the pods
    found = sorted({address(item, "the node IP") for item in settings["node_ips"].values()}, key=lambda item: item.packed)
    if not found:
        raise ValuesError("node_ips is empty, but the address of every node is wanted")
    return [str(item) for item in found]


def _cni_conf(mtu: int) -> str:
    """The chart's own chain of plugins with the pods' MTU in it, which the plugin then does not take from the node's interface."""
    delegate = {"hairpinMode": True, "isDefaultGateway": True, "mtu": mtu}
    chain = [{"type": "flannel", "delegate": delegate}, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return json.dumps({"name": "cbr0", "cniVersion": "0.3.1", "plugins": chain}, indent=2) + "\n"


def _backend_values(settings: t.Mapping[str, t.Any], version: int) -> Values:
    name = backend(settings["encapsulation"], settings["encryption"])
    mtu, port = int(settings["pod_mtu"]), int(settings["port"])
    if name == "host-gw":
        return {"backend": name, "cniConf": _cni_conf(mtu)}
    values: Values = {"backend": name, "mtu": mtu + _TAKES_OFF[name]}
    if name == "vxlan":
        values["vni"] = int(settings["vni"])
        if encapsulation_of("flannel", settings["encapsulation"]) == "vxlan_cross_subnet":
            values["directRouting"] = True
    elif int(settings["keepalive"]):
        values["keepaliveInterval"] = int(settings["keepalive"])
    if port:
        values["backendPortv6" if name == "wireguard" and version == 6 else "backendPort"] = port
    return values


def _checksum(values: Values) -> str:
    """Of all that ends in the ConfigMap; the letters in front keep YAML from reading 12e4 as a number."""
    text = json.dumps([values["podCidr"], values["podCidrv6"], values["flannel"]], sort_keys=True)
    return f"sha256-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def flannel_problems(settings: t.Mapping[str, t.Any]) -> t.List[str]:
    """Everything that is wrong with the settings of the role; those of the cluster are judged by cluster_problems."""
    return [
        # the field of RFC 7348 has 24 bits
        *told(whole_number, settings["vni"], "cni_flannel_vni", 1, 16777215),
        *told(whole_number, settings["port"], "cni_flannel_port", 0, 65535),
        # the field of the kernel has 16 bits
        *told(whole_number, settings["keepalive"], "cni_flannel_keepalive", 0, 65535),
        *told(of_type, settings["interfaces"], list, "cni_flannel_interfaces"),
        *told(of_type, settings["extra"], dict, "cni_flannel_values"),
    ]


def flannel_values(settings: t.Mapping[str, t.Any]) -> Values:
    """The whole dict for the chart; what the user gives is merged last."""
    refuse(flannel_problems(settings))
    pods = network(settings["pod_cidr"], "pod_cidr")
    flannel: Values = {
        "args": ["--ip-masq", "--kube-subnet-mgr", *(f"--iface={item}" for item in _interfaces(settings))],
        "enableNFTables": settings["proxy_mode"] == "nftables",
        "tolerations": _TOLERATIONS,
        **_backend_values(settings, pods.version),
    }
    both = {4: "podCidr", 6: "podCidrv6"}
    values: Values = {"podCidr": "", "podCidrv6": "", both[pods.version]: str(pods), "flannel": flannel}
    values = merge(values, settings["extra"])
    # flanneld reads its ConfigMap at its start only, and the chart does not restart it for a change. A toleration of a taint that
    # nobody sets is the one place in the pod template that takes any text: with it a change rolls the pods, by Helm alone.
    mark = {"effect": "NoSchedule", "key": _CHECKSUM_KEY, "operator": "Equal", "value": _checksum(values)}
    values["flannel"] = dict(values["flannel"], tolerations=[*values["flannel"]["tolerations"], mark])
    return values
