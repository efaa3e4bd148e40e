#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pod_routes
short_description: Prove that the routes to the pods of other nodes run, and mend them
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Reads the routes of the main table and the chain that masquerades pods, and compares them with what is wanted.
  - When something is missing it restarts the systemd unit that sets all of it, and looks again.
  - Removes routes with the collection's own protocol number whose node is gone. No other route and no other chain is touched.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  routes:
    description: Routes that must exist.
    type: list
    elements: dict
    required: true
    suboptions:
      destination:
        description: Pod range of the other node.
        type: str
        required: true
      gateway:
        description: Address of the other node.
        type: str
        required: true
      node:
        description: Name of the other node, for messages.
        type: str
        default: ""
  chains:
    description: Chains of the nat table that must exist, be used, and hold exactly these rules.
    type: list
    elements: dict
    default: []
    suboptions:
      ip_version:
        description: V(4) for C(iptables), V(6) for C(ip6tables).
        type: int
        choices: [4, 6]
        default: 4
      chain:
        description: Name of the chain.
        type: str
        required: true
      rules:
        description: Rules as C(iptables -S) prints them.
        type: list
        elements: str
        required: true
  unit:
    description: systemd unit that sets the routes and chains when it starts.
    type: str
    required: true
  protocol:
    description: Protocol number that marks the routes of the unit.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Keep the route to the pods of w1
  baremetal.kubernetes.pod_routes:
    routes:
      - {destination: 10.244.1.0/24, gateway: 192.0.2.21, node: w1}
    unit: kubernetes-pod-routes.service
    protocol: 157
"""

RETURN = r"""
missing:
  description: Routes that were not there and were made again.
  returned: success
  type: list
  elements: str
  sample: [10.244.1.0/24 via 192.0.2.21]
removed:
  description: Routes to former nodes that were removed.
  returned: success
  type: list
  elements: str
  sample: []
chains:
  description: What was wrong with the chains.
  returned: success
  type: list
  elements: str
  sample: ["iptables: POSTROUTING does not jump to KUBERNETES-POD-EGRESS"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command
from ansible_collections.baremetal.kubernetes.plugins.module_utils._pod_routes import PodRoutesError, ensure


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "routes": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "destination": {"type": "str", "required": True},
                    "gateway": {"type": "str", "required": True},
                    "node": {"type": "str", "default": ""},
                },
            },
            "chains": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "ip_version": {"type": "int", "choices": [4, 6], "default": 4},
                    "chain": {"type": "str", "required": True},
                    "rules": {"type": "list", "elements": "str", "required": True},
                },
            },
            "unit": {"type": "str", "required": True},
            "protocol": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = ensure(run_command, params["routes"], params["chains"], params["unit"], params["protocol"], module.check_mode)
    except PodRoutesError as error:
        module.fail_json(msg=str(error))
    if result["changed"]:
        result["diff"] = {
            "before": "".join(f"{line}\n" for line in result["removed"] + result["chains"]),
            "after": "".join(f"{line}\n" for line in result["missing"]),
        }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
