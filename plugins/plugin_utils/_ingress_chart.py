# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Values of the charts nginx-ingress (2.6, of F5) and ingress-nginx (4.15, the last)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._helm_values import Values, merge
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._ingress import IngressError, ingress_config, ingress_settings

# Who hands out addresses, and the annotation by which one is asked for.
_ASKED_BY = {"metallb": "metallb.io/loadBalancerIPs", "cilium": "lbipam.cilium.io/ips"}
_LABELS = {
    "nginx": {"app.kubernetes.io/name": "nginx-ingress", "app.kubernetes.io/instance": "nginx-ingress"},
    "ingress-nginx": {
        "app.kubernetes.io/name": "ingress-nginx",
        "app.kubernetes.io/instance": "ingress-nginx",
        "app.kubernetes.io/component": "controller",
    },
}


def workload_kind(facts: t.Mapping[str, t.Any]) -> str:
    """Of the controller: on the nodes' own ports one pod per node, else as many as are wanted."""
    return str(facts["kind"]) or ("DaemonSet" if facts["exposure"] == "host_network" else "Deployment")


def _replicas(facts: t.Mapping[str, t.Any]) -> int:
    return int(facts["replicas"]) or min(2, max(1, int(facts["nodes"])))


def _service(facts: t.Mapping[str, t.Any]) -> Values:
    annotations = {}
    if facts["addresses"]:
        if facts["load_balancer"] not in _ASKED_BY:
            raise IngressError("ingress_addresses is given, but nothing gives Services an address (cluster_load_balancer is none)")
        annotations[_ASKED_BY[facts["load_balancer"]]] = ",".join(str(item) for item in facts["addresses"])
    service: Values = {"type": "LoadBalancer", "externalTrafficPolicy": facts["external_traffic_policy"], "annotations": annotations}
    if facts["load_balancer_class"]:
        service["loadBalancerClass"] = facts["load_balancer_class"]
    return service


def _pods(facts: t.Mapping[str, t.Any]) -> Values:
    """Where and how many; both charts have the same names for it, but for the kind."""
    if workload_kind(facts) == "DaemonSet":
        return {}
    # on different nodes where there are some: with the policy Local only they get traffic
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _LABELS[facts["controller"]]},
    }
    pods: Values = {"replicaCount": _replicas(facts), "topologySpreadConstraints": [spread]}
    if facts["exposure"] == "host_network":
        # a new pod cannot start beside the old one, whose ports it wants
        name = {"nginx": "strategy", "ingress-nginx": "updateStrategy"}[facts["controller"]]
        pods[name] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    return pods


def _nginx(facts: t.Mapping[str, t.Any], config: t.Mapping[str, str]) -> Values:
    host_network = facts["exposure"] == "host_network"
    controller: Values = {
        "kind": workload_kind(facts).lower(),
        **_pods(facts),
        "config": {"entries": dict(config)},
        "ingressClass": {"name": facts["class_name"], "create": True, "setAsDefaultIngress": bool(facts["class_default"])},
        "service": {"create": False} if host_network else {"create": True, **_service(facts)},
        # it would report to its vendor
        "telemetryReporting": {"enable": False},
    }
    if host_network:
        controller |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    elif workload_kind(facts) == "Deployment" and _replicas(facts) > 1:
        controller["podDisruptionBudget"] = {"enabled": True, "minAvailable": 1}
    if facts["default_secret"]:
        # the first for names that no Ingress has, the second for an Ingress that names no Secret
        controller |= {"defaultTLS": {"secret": facts["default_secret"]}, "wildcardTLS": {"secret": facts["default_secret"]}}
    return {"controller": controller}


def _ingress_nginx(facts: t.Mapping[str, t.Any], config: t.Mapping[str, str]) -> Values:
    host_network = facts["exposure"] == "host_network"
    controller: Values = {
        "kind": workload_kind(facts),
        **_pods(facts),
        "config": dict(config),
        "ingressClass": facts["class_name"],
        "ingressClassResource": {"name": facts["class_name"], "enabled": True, "default": bool(facts["class_default"])},
        "service": {"enabled": False} if host_network else {"enabled": True, **_service(facts)},
    }
    if host_network:
        controller |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet", "reportNodeInternalIp": True}
    elif int(facts["ip_version"]) == 6:
        controller["service"] |= {"ipFamilies": ["IPv6"]}
    if facts["default_secret"]:
        controller["extraArgs"] = {"default-ssl-certificate": facts["default_secret"]}
    if facts["artifacts"] == "bundle":
        # an image that was imported from a file is known by its tag only
        controller |= {"image": {"digest": ""}, "admissionWebhooks": {"patch": {"image": {"digest": ""}}}}
    return {"controller": controller}


def ingress_values(facts: t.Mapping[str, t.Any]) -> Values:
    """The whole dict for the chart; what the user gives is merged last."""
    controller = facts["controller"]
    settings = ingress_settings(facts["profile"], facts["tuning"], controller, facts["config"])
    config = ingress_config(settings, controller, facts["config"])
    values = {"nginx": _nginx, "ingress-nginx": _ingress_nginx}[controller](facts, config)
    return merge(values, facts["extra"])
