#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kube_rollout
short_description: Wait until workloads are rolled out, and say why they are not
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Asks the API server with the certificate of a kubeconfig on this host, without C(kubectl) and without a Python library.
  - A workload is rolled out when its controller has seen its newest specification, every wanted pod is updated and available,
    no older pod is left, and no container of them crashes. A workload that wants no pod at all, or does not exist, is not rolled out.
  - Waits no longer than O(wait_seconds). Then the findings name pod, node and reason, the last warnings, and those lines at the
    end of a crashing container's log that matter, also of its run before.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
  - baremetal.kubernetes.kubeconfig
attributes:
  check_mode:
    support: full
    details:
      - Nothing is waited for, and what is not rolled out yet is told in RV(checks) without a failure, because an earlier task
        would have changed it.
      - Where there is no kubeconfig, there is no cluster yet, and every finding is C(unknown).
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  workloads:
    description: What has to be rolled out. It may be empty together with O(nodes_ready) alone.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: Kind of the workload, of C(apps/v1).
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
  nodes_ready:
    description: Whether nodes have to be Ready too, within the same time.
    type: bool
    default: false
  node_addresses:
    description: Internal addresses of the nodes that O(nodes_ready) is about. Without any, every node that exists.
    type: list
    elements: str
    default: []
  wait_seconds:
    description: Seconds until waiting is given up.
    type: int
    default: 600
  poll_seconds:
    description: Seconds between two questions.
    type: int
    default: 5
  stable_seconds:
    description:
      - A container that was restarted less than this many seconds ago is not trusted yet. Between two crashes it would look healthy.
    type: int
    default: 30
  log_lines:
    description: Lines of log per container in a finding, at the most.
    type: int
    default: 5
"""

EXAMPLES = r"""
- name: Wait until the pod network runs on every node
  baremetal.kubernetes.kube_rollout:
    workloads:
      - {kind: Deployment, namespace: kube-system, name: cilium-operator}
      - {kind: DaemonSet, namespace: kube-system, name: cilium}
    nodes_ready: true
    wait_seconds: 600
"""

RETURN = r"""
checks:
  description:
    - One finding per workload, C(rollout/KIND/NAMESPACE/NAME), and C(nodes_ready) when O(nodes_ready) was asked for.
    - The task fails when one of them is no C(pass), and returns them all the same.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: What was looked at.
      type: str
    status:
      description: C(pass), C(fail), or C(unknown) when the API server gave no answer.
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
    - id: rollout/DaemonSet/kube-system/cilium
      status: fail
      observed: >-
        1 of 2 pods available, 2 of 2 updated; pod cilium-x7k2p on w1: container cilium-agent: CrashLoopBackOff, exit code 1 (Error),
        6 restarts; its log before: level=fatal msg="kernel is too old"
      wanted: every wanted pod updated and available, no older one left, no container crashing
      fix: "`kubectl -n kube-system describe pod cilium-x7k2p`; `kubectl -n kube-system logs cilium-x7k2p -c cilium-agent --previous`."
waited:
  description: Seconds until this result.
  returned: success
  type: float
  sample: 41.5
"""

import os
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KUBECONFIG, KubeApi, KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_rollout import PLURALS, WANTED, Rollout, Workload
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import PASS, UNKNOWN, check


def message(checks: List[Dict[str, str]], waited: float) -> str:
    """All that is not a pass, in sentences."""
    bad = [item for item in checks if item["status"] != PASS]
    said = [f"{item['id']}: {item['observed'].rstrip('.')}. Wanted: {item['wanted']}. {item['fix']}" for item in bad]
    return f"{len(bad)} of {len(checks)} findings are no pass after {waited:.0f} seconds. " + " ".join(said)


def main() -> None:
    workload = {
        "kind": {"type": "str", "choices": list(PLURALS), "required": True},
        "namespace": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            **KUBECONFIG,
            "workloads": {"type": "list", "elements": "dict", "required": True, "options": workload},
            "nodes_ready": {"type": "bool", "default": False},
            "node_addresses": {"type": "list", "elements": "str", "default": []},
            "wait_seconds": {"type": "int", "default": 600},
            "poll_seconds": {"type": "int", "default": 5},
            "stable_seconds": {"type": "int", "default": 30},
            "log_lines": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    params: Dict[str, Any] = module.params
    if not params["workloads"] and not params["nodes_ready"]:
        module.fail_json(msg="workloads is empty and nodes_ready is false: nothing would be looked at, and that is no success.", checks=[])
    workloads = [Workload(entry["kind"], entry["namespace"], entry["name"]) for entry in params["workloads"]]
    if module.check_mode and not os.path.exists(params["kubeconfig"]):
        names = [entry.id for entry in workloads] + (["nodes_ready"] if params["nodes_ready"] else [])
        seen = f"there is no {params['kubeconfig']}, so no cluster yet"
        module.exit_json(
            changed=False, checks=[check(name, UNKNOWN, seen, WANTED, "Run it without check mode.") for name in names], waited=0.0
        )
    try:
        rollout = Rollout(KubeApi(params["kubeconfig"]), workloads, params["stable_seconds"], params["log_lines"])
    except KubeApiError as error:
        module.fail_json(msg=str(error), checks=[])
    wait_seconds = 0 if module.check_mode else params["wait_seconds"]
    result = rollout.wait(wait_seconds, params["poll_seconds"], params["nodes_ready"], params["node_addresses"])
    if all(item["status"] == PASS for item in result["checks"]):
        module.exit_json(changed=False, **result)
    said = message(result["checks"], result["waited"])
    if module.check_mode:
        # an earlier task would have changed what is not as wanted
        module.exit_json(changed=False, msg=said, **result)
    module.fail_json(msg=said, **result)


if __name__ == "__main__":
    main()
