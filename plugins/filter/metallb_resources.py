# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(metallb_resources)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _metallb
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: metallb_resources
short_description: MetalLB's custom resources
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - One C(IPAddressPool) per pool with its C(L2Advertisement) or C(BGPAdvertisement), one C(BGPPeer) per router, C(BFDProfile)
    and C(Community) where there are any, and a Secret per password.
  - A pool that is limited to namespaces is open to MetalLB's own too, where the role tries it with a Service.
options:
  _input:
    description: The settings.
    type: dict
    required: true
    suboptions:
      mode:
        description: How BGP is spoken, V(frr-k8s) or V(native).
        type: str
        required: true
      pools:
        description: The pools, with the keys of C(metallb_pools) of role C(metallb).
        type: list
        elements: dict
        required: true
      peers:
        description: The BGP routers, with the keys of C(metallb_peers).
        type: list
        elements: dict
        required: true
      peer_passwords:
        description: Name of a peer to the password of its session.
        type: dict
        required: true
      bfd_profiles:
        description: BFD profiles, with the keys of C(metallb_bfd_profiles).
        type: list
        elements: dict
        required: true
      communities:
        description: Name of a BGP community to its value.
        type: dict
        required: true
      as_number:
        description: AS number of this cluster.
        type: int
        required: true
      extra:
        description: Values of the chart that the user gives; C(loadBalancerClass) is read.
        type: dict
        required: true
"""

EXAMPLES = r"""
- name: Pools and how they are announced
  ansible.builtin.debug:
    msg: "{{ (settings | baremetal.kubernetes.metallb_resources).objects }}"
  vars:
    settings:
      mode: frr-k8s
      pools:
        - {name: default, addresses: [192.0.2.200-192.0.2.239]}
      peers: []
      peer_passwords: {}
      bfd_profiles: []
      communities: {}
      as_number: 64512
      extra: {}
"""

RETURN = r"""
_value:
  description: Options of module M(baremetal.kubernetes.kube_apply), and what is needed to try the pools.
  type: dict
  contains:
    namespace:
      description: Where all of it is.
      type: str
    workloads:
      description: What has to run, as module M(baremetal.kubernetes.kube_rollout) takes it.
      type: list
      elements: dict
    objects:
      description: The custom resources.
      type: list
      elements: dict
    secrets:
      description: The passwords.
      type: list
      elements: dict
    secret_placeholders:
      description: The Secrets as objects, with placeholders instead of the passwords.
      type: list
      elements: dict
    prune_label:
      description: By which they are known.
      type: str
    prune_kinds:
      description: Everything that may be left of another configuration.
      type: list
      elements: str
    stale_pools:
      description: A label selector of pools that are not among them.
      type: str
    probe:
      description: C(objects), a Service per pool; C(prune_label), by which they are known; C(pools) and C(peers), options of module
        M(baremetal.kubernetes.metallb_status).
      type: dict
  sample:
    namespace: metallb-system
    workloads:
      - {kind: DaemonSet, namespace: metallb-system, name: metallb-speaker}
    objects:
      - apiVersion: metallb.io/v1beta1
        kind: IPAddressPool
        metadata: {name: default, namespace: metallb-system}
        spec: {addresses: [192.0.2.200-192.0.2.239], autoAssign: true, avoidBuggyIPs: false}
    secrets: []
    secret_placeholders: []
    prune_label: app.kubernetes.io/managed-by=baremetal.kubernetes,app.kubernetes.io/component=metallb
    prune_kinds: [metallb.io/v1beta1/IPAddressPool]
    stale_pools: app.kubernetes.io/component=metallb,app.kubernetes.io/instance notin (default)
    probe: {objects: [], prune_label: baremetal.kubernetes/probe=metallb, pools: [], peers: []}
"""


def metallb_resources(settings: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    with filter_errors("metallb_resources"):
        # copied once more: YAML would write what is shared as anchors
        return plain(_metallb.metallb_resources(plain(settings)))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"metallb_resources": metallb_resources}
