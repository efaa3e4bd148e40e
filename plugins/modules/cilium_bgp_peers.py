#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cilium_bgp_peers
short_description: Wait until Cilium's BGP sessions are established
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Reads from the API server what Cilium's agents report in the C(CiliumBGPNodeConfig) of their node, with the certificate of a kubeconfig
    on this host. No command is run in a pod.
  - The nodes of a peer are those with its labels; what Cilium's operator made of it is not asked.
  - Agents report every 5 seconds, and only if C(bgpControlPlane.statusReport) of the chart is on, as it is by default.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
  - baremetal.kubernetes.kubeconfig
attributes:
  check_mode:
    support: full
    details:
      - Nothing is waited for, and a session that is not established is told in RV(checks) without a failure, because an earlier task
        would have changed it.
      - Where there is no kubeconfig, there is no cluster yet, and RV(checks) is empty.
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  peers:
    description: All peers, as filter P(baremetal.kubernetes.cilium_resources#filter) gives them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the peer.
        type: str
        required: true
      address:
        description: Its IP address as it was given to Cilium.
        type: str
        required: true
      nodes:
        description: Labels of the nodes that have this peer. Without any, all nodes.
        type: dict
        default: {}
      port:
        description: Its TCP port.
        type: int
        default: 179
  node_addresses:
    description: Internal addresses of the nodes to look at. Without any, every node that exists.
    type: list
    elements: str
    default: []
  stable_seconds:
    description:
      - Seconds for which every session must be seen established. After a change it must be longer than the 5 seconds between two
        reports, or the report may be that of the session before.
    type: int
    default: 15
  wait_seconds:
    description: Seconds until waiting is given up.
    type: int
    default: 300
  poll_seconds:
    description: Seconds between two questions.
    type: int
    default: 3
"""

EXAMPLES = r"""
- name: Wait until every node of rack 1 has a session with its router
  baremetal.kubernetes.cilium_bgp_peers:
    peers:
      - {name: rack1, address: 192.0.2.1, nodes: {rack: "1"}}
"""

RETURN = r"""
checks:
  description:
    - One finding per session, C(bgp_peers/NODE/PEER). The task fails when one of them is no C(pass), and returns them all the same.
    - It is C(unknown) where the agent tells no state, or the API server gave no answer.
  returned: success or failure
  type: list
  elements: dict
  sample:
    - id: bgp_peers/w1/rack1
      status: fail
      observed: peer rack1 (192.0.2.1) of node w1 is active
      wanted: established for 15 s
      fix: "Usual cause: 192.0.2.1 does not accept the connection to port 179/tcp: ..."
waited:
  description: Seconds until this result.
  returned: success or failure
  type: float
  sample: 21.2
"""

import os
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _cilium_bgp
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KUBECONFIG, KubeApi, KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import PASS

# Sessions that are told of in the message: the same trouble on a hundred nodes is read once.
MOST = 3


def main() -> None:
    peer = {
        "name": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
        "nodes": {"type": "dict", "default": {}},
        "port": {"type": "int", "default": 179},
    }
    module = AnsibleModule(
        argument_spec={
            **KUBECONFIG,
            "peers": {"type": "list", "elements": "dict", "required": True, "options": peer},
            "node_addresses": {"type": "list", "elements": "str", "default": []},
            "stable_seconds": {"type": "int", "default": 15},
            "wait_seconds": {"type": "int", "default": 300},
            "poll_seconds": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    params: Dict[str, Any] = module.params
    if module.check_mode and not os.path.exists(params["kubeconfig"]):
        module.exit_json(changed=False, checks=[], waited=0.0)
    try:
        get = KubeApi(params["kubeconfig"]).get
    except KubeApiError as error:
        module.fail_json(msg=str(error), checks=[], waited=0.0)
    # in check mode there is one look, and nothing that could have changed since
    wait_seconds, stable_seconds = (0, 0) if module.check_mode else (params["wait_seconds"], params["stable_seconds"])
    result = _cilium_bgp.wait(get, params["peers"], params["node_addresses"], wait_seconds, params["poll_seconds"], stable_seconds)
    bad = [item for item in result["checks"] if item["status"] != PASS]
    if not bad:
        module.exit_json(changed=False, **result)
    said = " ".join(f"{item['observed'].rstrip('.')}. Wanted: {item['wanted']}. {item['fix']}" for item in bad[:MOST])
    if len(bad) > MOST:
        said += f" And {len(bad) - MOST} more, see checks."
    message = f"{len(bad)} of {len(result['checks'])} BGP sessions are not up after {result['waited']:.0f} seconds: {said}"
    if module.check_mode:
        module.exit_json(changed=False, msg=message, **result)
    module.fail_json(msg=message, **result)


if __name__ == "__main__":
    main()
