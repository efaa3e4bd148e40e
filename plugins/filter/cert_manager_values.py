# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(cert_manager_values)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cert_manager
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: cert_manager_values
short_description: Values of cert-manager's chart from the settings of a cluster
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - The values of chart C(cert-manager), 1.19 to 1.21, with its kinds (CRDs), which stay when the release is removed.
  - Gateway API is turned on by the key that this version knows, and also where an issuer answers challenges by a Gateway.
  - With C(ingress-nginx) and HTTP-01 the feature gate C(ACMEHTTP01IngressPathTypeExact) is false unless it is given.
options:
  _input:
    description: The settings, with those of P(baremetal.kubernetes.cert_manager_resources#filter), because issuers decide about values.
    type: dict
    required: true
    suboptions:
      chart_version:
        description: Version of the chart, such as V(v1.21.1).
        type: str
        required: true
      kubernetes_version:
        description: Version of Kubernetes. The chart wants 1.22.
        type: str
        required: true
      replicas:
        description: Pods of each of the three workloads. With more than one, one of them stays when nodes are drained.
        type: int
        required: true
      resources:
        description: Requests and limits of C(controller), C(webhook) and C(cainjector).
        type: dict
        required: true
      feature_gates:
        description: Feature gates of the controller, by name.
        type: dict
        required: true
      gateway_api:
        description: Whether cert-manager looks at Gateways.
        type: bool
        required: true
      dns01_nameservers:
        description: Servers that are asked, and no others, whether the record of a DNS-01 challenge is there.
        type: list
        elements: str
        required: true
      extra:
        description: Values that are merged last.
        type: dict
        required: true
"""

EXAMPLES = r"""
- name: Show the values
  ansible.builtin.debug:
    msg: "{{ settings | baremetal.kubernetes.cert_manager_values }}"
  vars:
    settings:
      chart_version: v1.21.1
      kubernetes_version: 1.36.4
      replicas: 1
      resources: {}
      feature_gates: {}
      gateway_api: true
      dns01_nameservers: []
      extra: {}
      issuers: []
      acme_email: ""
      acme_server: ""
      acme_production: false
      secrets: {}
      ca_keys: {}
      ingress_controller: nginx
      ingress_class: nginx
      ingress_gateway_api: true
"""

RETURN = r"""
_value:
  description: Values of the chart.
  type: dict
  sample:
    crds: {enabled: true, keep: true}
    replicaCount: 1
    webhook: {replicaCount: 1, timeoutSeconds: 15}
    cainjector: {replicaCount: 1}
    startupapicheck: {enabled: false}
    config:
      gatewayAPI: {enabled: true}
"""


def cert_manager_values(settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    with filter_errors("cert_manager_values"):
        # copied once more: YAML would write what is shared as anchors
        return plain(_cert_manager.cert_manager_values(plain(settings)))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"cert_manager_values": cert_manager_values}
