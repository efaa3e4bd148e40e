#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: calico_nodes
short_description: Read what Calico wrote about each node, and wait until it took the node IP and has keys for WireGuard
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Asks the API server with the certificate of a kubeconfig on this host, without C(kubectl), C(calicoctl) and without a Python library.
  - Calico may take an address of another interface than that of the node IP, and a node without WireGuard gets its traffic in plain text.
    Neither is an error to Calico. Here both are.
  - Tells too whether the node-to-node mesh is on, what Calico's operator complains about and, of O(workloads), whether all run.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
  - baremetal.kubernetes.kubeconfig
attributes:
  check_mode:
    support: full
    details:
      - Nothing is waited for. What is not as wanted is told in RV(checks) without a failure, because an earlier task would have changed it.
      - Where there is no kubeconfig, there is no cluster yet, and RV(nodes) is empty.
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  wait_for:
    description:
      - V(nothing) looks once and does not judge. V(installation) waits until the kind Installation of Calico's operator is served.
      - V(nodes) waits until all of RV(checks) pass, and fails when they do not.
    type: str
    choices: [nothing, installation, nodes]
    default: nothing
  api_group:
    description: Where Calico stores its objects.
    type: str
    choices: [crd.projectcalico.org/v1, projectcalico.org/v3]
    default: crd.projectcalico.org/v1
  ip_versions:
    description: IP versions of the pods.
    type: list
    elements: int
    default: [4]
  wireguard:
    description: Whether every node must have a WireGuard public key.
    type: bool
    default: false
  workloads:
    description:
      - Look once at these and at the nodes, as M(baremetal.kubernetes.kube_rollout) does. That is nothing to wait for; the result is in
        RV(rolled_out).
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Kind of the workload.
        type: str
        choices: [DaemonSet, Deployment, StatefulSet]
        required: true
      namespace:
        description: Its namespace.
        type: str
        required: true
      name:
        description: Its name.
        type: str
        required: true
  node_addresses:
    description: Internal addresses of the nodes that have to be Ready for RV(rolled_out). Without any, every node that exists.
    type: list
    elements: str
    default: []
  wait_seconds:
    description: Seconds until waiting is given up.
    type: int
    default: 300
  poll_seconds:
    description: Seconds between two looks.
    type: int
    default: 5
"""

EXAMPLES = r"""
- name: No node may fall back to plain text
  baremetal.kubernetes.calico_nodes:
    wait_for: nodes
    wireguard: true
"""

RETURN = r"""
installation:
  description: Whether the kind Installation of Calico's operator is served.
  returned: success
  type: bool
  sample: true
mesh:
  description: Whether the node-to-node mesh is on; it is where nobody turned it off.
  returned: success
  type: bool
  sample: true
operator:
  description: What Calico's operator calls degraded, with its reason.
  returned: success
  type: list
  elements: str
  sample: ["calico: ResourceNotReady: waiting for the node daemonset"]
nodes:
  description: All nodes of the cluster.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the node.
      type: str
    uid:
      description: UID of the node object.
      type: str
    addresses:
      description: Internal addresses.
      type: list
      elements: str
    labels:
      description: Labels.
      type: dict
    calico_addresses:
      description: The addresses that Calico took, with the length of their networks.
      type: list
      elements: str
    wireguard_ip_versions:
      description: IP versions for which it has a WireGuard public key.
      type: list
      elements: int
    route_reflector_cluster_id:
      description: Cluster ID of a route reflector; empty on others.
      type: str
  sample:
    - name: cp1
      uid: 3f4c1d0e-0000-4000-8000-000000000001
      addresses: [192.0.2.11]
      labels: {kubernetes.io/hostname: cp1}
      calico_addresses: [192.0.2.11/24]
      wireguard_ip_versions: []
      route_reflector_cluster_id: ""
checks:
  description: Per node and IP version C(calico_address/NAME), and with O(wireguard) C(wireguard/NAME).
  returned: always, unless the API server gave no answer
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
    - id: calico_address/cp1
      status: pass
      observed: Calico took the node IP 192.0.2.11
      wanted: the node IP 192.0.2.11 in annotation projectcalico.org/IPv4Address
      fix: ""
rolled_out:
  description: Whether all O(workloads) were rolled out, no container of theirs crashed, and the nodes were Ready. V(false) without O(workloads).
  returned: success
  type: bool
  sample: true
reached:
  description: Whether O(wait_for) came true.
  returned: success
  type: bool
  sample: true
waited:
  description: Seconds until this result.
  returned: success
  type: float
  sample: 12.4
"""

import os
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _calico_nodes
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KUBECONFIG, KubeApi, KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_rollout import PLURALS, Rollout, Workload
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import PASS


def rolled_out(api: KubeApi, workloads: List[Dict[str, Any]], addresses: List[str]) -> bool:
    """One look, without the logs of what does not run."""
    wanted = [Workload(entry["kind"], entry["namespace"], entry["name"]) for entry in workloads]
    looked = Rollout(api, wanted, log_lines=0).wait(0, nodes_ready=True, addresses=addresses)
    return all(item["status"] == PASS for item in looked["checks"])


def main() -> None:
    workload = {
        "kind": {"type": "str", "required": True, "choices": list(PLURALS)},
        "namespace": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            **KUBECONFIG,
            "wait_for": {"type": "str", "choices": list(_calico_nodes.WAIT_FOR), "default": "nothing"},
            "api_group": {"type": "str", "choices": list(_calico_nodes.GROUPS), "default": _calico_nodes.GROUPS[0]},
            "ip_versions": {"type": "list", "elements": "int", "default": [4]},
            "wireguard": {"type": "bool", "default": False},
            "workloads": {"type": "list", "elements": "dict", "default": [], "options": workload},
            "node_addresses": {"type": "list", "elements": "str", "default": []},
            "wait_seconds": {"type": "int", "default": 300},
            "poll_seconds": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    params = module.params
    if module.check_mode and not os.path.exists(params["kubeconfig"]):
        nothing: Dict[str, Any] = {"operator": [], "nodes": [], "checks": []}
        module.exit_json(changed=False, installation=False, mesh=True, rolled_out=False, reached=False, waited=0.0, **nothing)
    try:
        api = KubeApi(params["kubeconfig"])
        result = _calico_nodes.wait(
            lambda: _calico_nodes.read(api.get, params["api_group"], params["ip_versions"], params["wireguard"]),
            params["wait_for"],
            0 if module.check_mode else params["wait_seconds"],
            params["poll_seconds"],
        )
        result["rolled_out"] = bool(params["workloads"]) and rolled_out(api, params["workloads"], params["node_addresses"])
    except KubeApiError as error:
        module.fail_json(msg=str(error))
    if not result["reached"] and not module.check_mode:
        module.fail_json(msg=_calico_nodes.message(result, params["wait_for"]), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
