#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: metallb_status
short_description: Read which addresses MetalLB gave out, which nodes announce them, and how its BGP sessions are
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Asks the API server with the certificate of a kubeconfig on this host, without C(kubectl) and without a Python library.
  - Waits until every pool gave an address to its Service, a node announces it, and every BGP session is Established. What is not so
    in the end is told in RV(checks); the module does not fail for it.
  - Where a pool has no address left, another Service that has one of its addresses is looked at instead.
  - What MetalLB says of itself. What the network hears says module M(baremetal.kubernetes.vip_owners).
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
    details:
      - Nothing is changed; it reads and waits in check mode too.
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  kubeconfig:
    description: A kubeconfig with certificates, as kubeadm writes it.
    type: path
    default: /etc/kubernetes/admin.conf
  namespace:
    description: Namespace of MetalLB and of the Services.
    type: str
    default: metallb-system
  mode:
    description: How MetalLB speaks BGP. With V(native) nobody is told the state of sessions, and it is C(unknown).
    type: str
    choices: [frr-k8s, native]
    default: frr-k8s
  pools:
    description: The pools, each with the Service that asks for one of its addresses.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the IPAddressPool.
        type: str
        required: true
      service:
        description: Name of the Service.
        type: str
        required: true
      protocol:
        description: How it is announced. With V(none) only the address is looked at.
        type: str
        choices: [layer2, bgp, none]
        required: true
      addresses:
        description: Networks, addresses or C(first-last).
        type: list
        elements: str
        required: true
      interfaces:
        description: Interfaces that it is announced on; only handed on in RV(targets).
        type: list
        elements: str
        default: []
      peers:
        description: Names of the peers that it is announced to. Without any, all.
        type: list
        elements: str
        default: []
  peers:
    description: The BGP peers.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the BGPPeer.
        type: str
        required: true
      address:
        description: Its address; empty for a session by interface.
        type: str
        default: ""
      interface:
        description: The interface of a session without addresses.
        type: str
        default: ""
      vrf:
        description: VRF of the session.
        type: str
        default: ""
      bfd:
        description: Whether the session has BFD, which then must be up.
        type: bool
        default: false
      nodes:
        description: Label selectors, any of which a node must match. Without any, all nodes.
        type: list
        elements: dict
        default: []
  wait_seconds:
    description: Seconds until waiting is given up.
    type: int
    default: 120
  poll_seconds:
    description: Seconds between two looks.
    type: int
    default: 3
"""

EXAMPLES = r"""
- name: Look at the address that Service probe-default got
  baremetal.kubernetes.metallb_status:
    pools:
      - name: default
        service: probe-default
        protocol: layer2
        addresses: [192.0.2.200-192.0.2.239]
"""

RETURN = r"""
vips:
  description: Addresses, one per pool that gave one out.
  returned: success
  type: list
  elements: dict
  contains:
    pool:
      description: Name of the pool.
      type: str
    protocol:
      description: How it is announced.
      type: str
    address:
      description: The address.
      type: str
    announcers:
      description: Nodes that announce it, as MetalLB says.
      type: list
      elements: str
    announcer_addresses:
      description: Internal addresses of these nodes.
      type: list
      elements: str
  sample:
    - pool: default
      protocol: layer2
      address: 192.0.2.200
      announcers: [w1]
      announcer_addresses: [192.0.2.21]
targets:
  description: Those of layer 2, as option O(baremetal.kubernetes.vip_owners#module:targets) of module M(baremetal.kubernetes.vip_owners).
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: The address.
      type: str
    interfaces:
      description: Interfaces to ask on.
      type: list
      elements: str
  sample:
    - {address: 192.0.2.200, interfaces: []}
checks:
  description: >-
    Findings C(lb_address/POOL), C(l2_announcer/POOL), C(bgp_announced/POOL) and C(bgp_session/PEER/NODE).
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: What was looked at.
      type: str
    status:
      description: C(pass), C(fail) or C(unknown).
      type: str
    observed:
      description: What was seen.
      type: str
    wanted:
      description: What should be seen.
      type: str
    fix:
      description: What to do. Empty when there is nothing to do.
      type: str
  sample:
    - id: l2_announcer/default
      status: pass
      observed: w1 on eth0
      wanted: one node that announces 192.0.2.200
      fix: ""
waited:
  description: Seconds until this result.
  returned: success
  type: float
  sample: 3.1
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _metallb_status
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import ADMIN_CONF, KubeApi, KubeApiError

_NAMES = {"type": "list", "elements": "str", "default": []}
POOL = {
    "name": {"type": "str", "required": True},
    "service": {"type": "str", "required": True},
    "protocol": {"type": "str", "choices": ["layer2", "bgp", "none"], "required": True},
    "addresses": {"type": "list", "elements": "str", "required": True},
    "interfaces": _NAMES,
    "peers": _NAMES,
}
PEER = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "default": ""},
    "interface": {"type": "str", "default": ""},
    "vrf": {"type": "str", "default": ""},
    "bfd": {"type": "bool", "default": False},
    "nodes": {"type": "list", "elements": "dict", "default": []},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "default": ADMIN_CONF},
            "namespace": {"type": "str", "default": "metallb-system"},
            "mode": {"type": "str", "choices": ["frr-k8s", "native"], "default": "frr-k8s"},
            "pools": {"type": "list", "elements": "dict", "required": True, "options": POOL},
            "peers": {"type": "list", "elements": "dict", "default": [], "options": PEER},
            "wait_seconds": {"type": "int", "default": 120},
            "poll_seconds": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = _metallb_status.wait(
            KubeApi(params["kubeconfig"]).get,
            params["namespace"],
            params["pools"],
            params["peers"],
            params["mode"] == "native",
            params["wait_seconds"],
            params["poll_seconds"],
        )
    except (KubeApiError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
