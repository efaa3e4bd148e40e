#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vip_owners
short_description: Ask the node's network which machines have an address
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Asks by ARP for IPv4 and by neighbour solicitation for IPv6, as any machine of the segment would, and returns the MAC address of
    each one that answered. More than one is a conflict, none is an address that nobody announces.
  - A node hears all others but never itself. Filter P(baremetal.kubernetes.vip_checks#filter) judges the results of all nodes together.
  - Needs root, or the capability C(CAP_NET_RAW), and C(ip) of iproute2.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
    details:
      - Nothing is changed; it asks in check mode too.
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  targets:
    description: The addresses to ask for.
    type: list
    elements: dict
    required: true
    suboptions:
      address:
        description: An IPv4 or IPv6 address.
        type: str
        required: true
      interfaces:
        description:
          - Interfaces to ask on; those that this node does not have are left out.
          - Without any, the interface in whose network the address is, else the one with O(node_address).
        type: list
        elements: str
        default: []
  node_address:
    description: The node's own address.
    type: str
    required: true
  interface:
    description: Ask on this interface only, whatever the targets say.
    type: str
    default: ""
  seconds:
    description: How long to ask (once per second) and to listen. The whole time is used, because a second owner may be the slower one.
    type: float
    default: 4.0
"""

EXAMPLES = r"""
- name: Ask every node's segment for two addresses of load balancers
  baremetal.kubernetes.vip_owners:
    targets:
      - address: 192.0.2.200
      - address: 2001:db8::200
        interfaces: [bond0]
    node_address: 192.0.2.11
  register: owners
"""

RETURN = r"""
answers:
  description: One entry per target, in their order.
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: The address.
      type: str
    interfaces:
      description: Where it was asked for.
      type: list
      elements: str
    on_link:
      description: Whether the address is in a network of these interfaces.
      type: bool
    macs:
      description: MAC addresses of those who say that they have it.
      type: list
      elements: str
    error:
      description: Why it could not be asked for. Empty if it was.
      type: str
  sample:
    - {address: 192.0.2.200, interfaces: [eth0], on_link: true, macs: ["52:54:00:12:34:56"], error: ""}
own_macs:
  description: MAC addresses of all interfaces of this node.
  returned: success
  type: list
  elements: str
  sample: ["52:54:00:ab:cd:ef"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _vip_owners
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "targets": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "address": {"type": "str", "required": True},
                    "interfaces": {"type": "list", "elements": "str", "default": []},
                },
            },
            "node_address": {"type": "str", "required": True},
            "interface": {"type": "str", "default": ""},
            "seconds": {"type": "float", "default": 4.0},
        },
        supports_check_mode=True,
    )
    params = module.params
    if not 0.1 <= params["seconds"] <= 60:
        module.fail_json(msg=f"seconds is {params['seconds']:g}, but must be 0.1 to 60.")
    try:
        result = _vip_owners.owners(params["targets"], params["node_address"], params["interface"], params["seconds"], run_command)
    except (_vip_owners.VipOwnersError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
