# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(cert_manager_resources)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _cert_manager
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: cert_manager_resources
short_description: cert-manager's issuers and what they need
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - One C(ClusterIssuer) per issuer. A certificate authority is one that the user brings, as a Secret, or one that cert-manager makes from a
    C(Certificate) that signs itself.
  - The key of an ACME account is in a Secret per issuer and server, so that staging and production never share one.
  - Only ClusterIssuers that are not wanted any more are to be removed. Certificates and Secrets stay, because what they hold cannot be made
    again.
options:
  _input:
    description: The settings. Also those of filter P(baremetal.kubernetes.cert_manager_values#filter).
    type: dict
    required: true
    suboptions:
      issuers:
        description: The issuers.
        type: list
        elements: dict
        required: true
        suboptions:
          name:
            description: Name of the ClusterIssuer, 40 characters at the most.
            type: str
            required: true
          type:
            description: Who signs. V(acme) is an ACME server, V(self_signed) each certificate itself, V(ca) an authority of one's own.
            type: str
            choices: [acme, self_signed, ca]
            required: true
          email:
            description: Contact of an ACME account, in place of C(acme_email).
            type: str
          server:
            description: V(staging) or V(production) of Let's Encrypt, or the address of another directory, in place of C(acme_server).
            type: str
          solvers:
            description:
              - How a challenge of an ACME server is met. Each has exactly one of C(http01) and C(dns01), and may have a C(selector) with
                C(dnsZones), C(dnsNames) or C(matchLabels).
              - C(http01) has C(ingress_class), or C(gateway) with C(name), C(namespace) and maybe C(section_name).
              - C(dns01) has exactly one provider as cert-manager spells it, and maybe C(cnameStrategy).
              - Without it, HTTP-01 by the Ingress class of the cluster.
            type: list
            elements: dict
          certificate:
            description: Certificate of an authority that the user brings, in PEM form. Its key is in C(ca_keys).
            type: str
          common_name:
            description: Common name of an authority that cert-manager makes. Without it, the name of the issuer.
            type: str
          duration:
            description: How long the certificate of such an authority is valid, V(87600h) if not given.
            type: str
          spec:
            description: Further fields of C(spec.acme), C(spec.ca) or C(spec.selfSigned), as cert-manager spells them.
            type: dict
      acme_email:
        description: Contact of ACME accounts. It may be empty.
        type: str
        required: true
      acme_server:
        description: Address of the ACME server's directory. Empty is Let's Encrypt.
        type: str
        required: true
      acme_production:
        description: Whether Let's Encrypt is asked for certificates that browsers trust, and not its staging environment.
        type: bool
        required: true
      secrets:
        description: Secrets that solvers refer to, in the namespace of cert-manager. A dict of texts by name.
        type: dict
        required: true
      ca_keys:
        description: Keys of authorities that the user brings, in PEM form, by the names of their issuers.
        type: dict
        required: true
      ingress_controller:
        description: The ingress controller of the cluster, V(none), V(nginx) or V(ingress-nginx).
        type: str
        required: true
      ingress_class:
        description: Its Ingress class.
        type: str
        required: true
      ingress_gateway_api:
        description: Whether the kinds of Gateway API are installed with it.
        type: bool
        required: true
"""

EXAMPLES = r"""
- name: Show an issuer that signs with a certificate authority of its own
  ansible.builtin.debug:
    msg: "{{ (settings | combine(chart) | baremetal.kubernetes.cert_manager_resources).objects }}"
  vars:
    settings:
      issuers:
        - {name: internal, type: ca}
      acme_email: ""
      acme_server: ""
      acme_production: false
      secrets: {}
      ca_keys: {}
      ingress_controller: none
      ingress_class: nginx
      ingress_gateway_api: false
    chart:
      chart_version: v1.21.1
      kubernetes_version: 1.36.4
      replicas: 1
      resources: {}
      feature_gates: {}
      gateway_api: false
      dns01_nameservers: []
      extra: {}
"""

RETURN = r"""
_value:
  description: Options of the modules that bring them into the cluster.
  type: dict
  contains:
    objects:
      description: The custom resources.
      type: list
      elements: dict
    secrets:
      description: The Secrets, as module M(baremetal.kubernetes.kube_apply) takes them.
      type: list
      elements: dict
    wait_conditions:
      description: Conditions that cert-manager sets when it took them.
      type: list
      elements: dict
    prune_label:
      description: By which they are known.
      type: str
    prune_kinds:
      description: What may be removed when it is not wanted any more.
      type: list
      elements: str
    probes:
      description: Issuers that can sign by themselves, as module M(baremetal.kubernetes.certificate_probe) takes them.
      type: list
      elements: dict
    workloads:
      description: What has to run, as module M(baremetal.kubernetes.kube_rollout) takes it.
      type: list
      elements: dict
  sample:
    objects:
      - apiVersion: cert-manager.io/v1
        kind: ClusterIssuer
        metadata:
          name: self-signed
          labels: {app.kubernetes.io/managed-by: baremetal.kubernetes, app.kubernetes.io/component: cert-manager}
        spec:
          selfSigned: {}
    secrets: []
    wait_conditions:
      - {api_version: cert-manager.io/v1, kind: ClusterIssuer, name: self-signed, condition: Ready}
    prune_label: app.kubernetes.io/managed-by=baremetal.kubernetes,app.kubernetes.io/component=cert-manager
    prune_kinds: [cert-manager.io/v1/ClusterIssuer]
    probes:
      - {name: self-signed, ca_secret: ""}
    workloads:
      - {kind: Deployment, namespace: cert-manager, name: cert-manager}
"""


def cert_manager_resources(settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    with filter_errors("cert_manager_resources"):
        # copied once more: YAML would write what is shared as anchors
        return plain(_cert_manager.cert_manager_resources(plain(settings)))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"cert_manager_resources": cert_manager_resources}
