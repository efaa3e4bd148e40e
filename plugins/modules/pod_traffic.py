#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pod_traffic
short_description: Real TCP connections from pod to pod, from pod to ClusterIP and from node to ClusterIP
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Works on the node, inside the network namespace of a pod of module M(baremetal.kubernetes.probe_pods), which it finds by the pod's UID in
    C(/proc/*/cgroup). The pod needs no program for it and no image is pulled.
  - O(action=listen) starts a small listener in this node's pod. It ends by itself after O(lifetime) seconds or with the pod.
  - O(action=probe) connects from this node's pod to every other pod and to the Service, and from the node to the Service.
    Listeners must run on all nodes before.
  - A finding does not make the module fail. A failed connection comes with the route this node would take.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: none
    details:
      - Without traffic there is nothing to find, so the module is skipped.
  diff_mode:
    support: none
    details:
      - Nothing on the node is changed.
  idempotent:
    support: full
options:
  action:
    description: What to do.
    type: str
    choices: [listen, probe]
    required: true
  pods:
    description: RV(baremetal.kubernetes.probe_pods#module:pods).
    type: list
    elements: dict
    required: true
    suboptions:
      node:
        description: Name of the node.
        type: str
        required: true
      node_addresses:
        description: Addresses of the node.
        type: list
        elements: str
        required: true
      name:
        description: Name of the pod.
        type: str
        required: true
      uid:
        description: UID of the pod.
        type: str
        required: true
      address:
        description: Address of the pod.
        type: str
        required: true
  address:
    description: Address of this node; its pod is the one that is used.
    type: str
    required: true
  port:
    description: TCP port of the pods and the Service.
    type: int
    default: 8080
  lifetime:
    description: Seconds after which the listener of O(action=listen) ends.
    type: int
    default: 900
  service_address:
    description: ClusterIP of the Service. Required when O(action=probe).
    type: str
  balanced:
    description:
      - Whether the Service must answer from every pod sooner or later.
      - Not so with IPVS schedulers that keep a client on one server (C(sh), C(dh), C(mh), C(lblc), C(lblcr)) or prefer the first idle one (C(sed), C(nq)).
    type: bool
    default: true
  limit_seconds:
    description: How long a connection from the node to the Service may take.
    type: float
    default: 1.0
  timeout:
    description: Seconds to wait for one connection.
    type: float
    default: 5.0
  wait_seconds:
    description: Seconds to try again as long as something does not answer; kube-proxy needs a moment for a new Service.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Listen in this node's pod
  baremetal.kubernetes.pod_traffic:
    action: listen
    pods: "{{ probe.pods }}"
    address: "{{ cluster_node_ips[inventory_hostname] }}"

- name: Connect to everybody
  baremetal.kubernetes.pod_traffic:
    action: probe
    pods: "{{ probe.pods }}"
    address: "{{ cluster_node_ips[inventory_hostname] }}"
    service_address: "{{ probe.service.address }}"
  register: traffic
"""

RETURN = r"""
pid:
  description: Process number of the listener, null when it could not be started.
  returned: O(action=listen)
  type: int
  sample: 4711
checks:
  description:
    - With O(action=probe) one finding C(pod_to_pod/NODE) per other node, C(pod_to_service) and C(node_to_service).
    - With O(action=listen) only what went wrong.
  returned: success
  type: list
  elements: dict
  sample:
    - id: pod_to_pod/w1
      status: pass
      observed: answered in 1.4 ms
      wanted: an answer from 10.244.1.5:8080, the pod on node w1
      fix: ""
measured:
  description: Milliseconds to each other pod, answers of the Service by node, slowest answer of the Service to pod and node.
  returned: O(action=probe)
  type: dict
  sample: {pods_ms: {w1: 1.4}, service_answers: {cp1: 3, w1: 3}, service_slowest_ms: 2.0, node_slowest_ms: 2.2}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _pod_traffic
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": ["listen", "probe"], "required": True},
            "pods": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "node": {"type": "str", "required": True},
                    "node_addresses": {"type": "list", "elements": "str", "required": True},
                    "name": {"type": "str", "required": True},
                    "uid": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                },
            },
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 8080},
            "lifetime": {"type": "int", "default": 900},
            "service_address": {"type": "str"},
            "balanced": {"type": "bool", "default": True},
            "limit_seconds": {"type": "float", "default": 1.0},
            "timeout": {"type": "float", "default": 5.0},
            "wait_seconds": {"type": "int", "default": 30},
        },
        required_if=[("action", "probe", ["service_address"])],
        supports_check_mode=False,
    )
    params = module.params
    try:
        if params["action"] == "listen":
            result = _pod_traffic.listen(params["pods"], params["address"], params["port"], params["lifetime"])
        else:
            result = _pod_traffic.probe(
                params["pods"],
                params["address"],
                params["port"],
                params["service_address"],
                params["balanced"],
                params["limit_seconds"],
                params["timeout"],
                params["wait_seconds"],
                run_command,
            )
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"The traffic of this node's pod could not be tested: {error}.")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
