#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kube_nodes
short_description: Read the nodes of the cluster, and wait until they are registered, have a pod range or are Ready
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Asks the API server with the certificate of a kubeconfig on this host, without C(kubectl) and without a Python library.
  - Waits no longer than O(wait_seconds) and then names every node that is not as wanted, with the message of its Ready condition.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
  - baremetal.kubernetes.kubeconfig
attributes:
  check_mode:
    support: full
    details:
      - In check mode a missing kubeconfig means that there is no cluster yet. RV(nodes) is empty then, and nothing is waited for.
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  addresses:
    description: Internal addresses of the nodes to wait for. Without any, every node that exists.
    type: list
    elements: str
    default: []
  wait_for:
    description: What each of these nodes must be.
    type: str
    choices: [registered, pod_cidr, ready]
    default: registered
  wait_seconds:
    description: Seconds until waiting is given up.
    type: int
    default: 0
  poll_seconds:
    description: Seconds between two questions.
    type: int
    default: 5
  pod_network:
    description: The pod network that is to be installed. The module fails if the cluster has the DaemonSet of another one. Empty does not ask.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Wait until two nodes are Ready
  baremetal.kubernetes.kube_nodes:
    addresses: [192.0.2.11, 192.0.2.21]
    wait_for: ready
    wait_seconds: 300
"""

RETURN = r"""
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
    pod_cidrs:
      description: Pod ranges the cluster has given to the node.
      type: list
      elements: str
    ready:
      description: State of the Ready condition, null when it is unknown.
      type: bool
    ready_message:
      description: Reason and message of the Ready condition.
      type: str
    unschedulable:
      description: Whether the node is cordoned.
      type: bool
    control_plane:
      description: Whether the node is labelled as a control plane.
      type: bool
    kubelet_version:
      description: Version the kubelet reports.
      type: str
  sample:
    - name: cp1
      uid: 3f4c1d0e-0000-4000-8000-000000000001
      addresses: [192.0.2.11]
      pod_cidrs: [10.244.0.0/24]
      ready: true
      ready_message: "KubeletReady: kubelet is posting ready status"
      unschedulable: false
      control_plane: true
      kubelet_version: v1.36.4
waited:
  description: Seconds until the nodes were as wanted.
  returned: success
  type: float
  sample: 12.4
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _kube_nodes
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KUBECONFIG, KubeApi, KubeApiError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **KUBECONFIG,
            "addresses": {"type": "list", "elements": "str", "default": []},
            "wait_for": {"type": "str", "choices": list(_kube_nodes.WAIT_FOR), "default": "registered"},
            "wait_seconds": {"type": "int", "default": 0},
            "poll_seconds": {"type": "int", "default": 5},
            "pod_network": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    params = module.params
    if module.check_mode and not os.path.exists(params["kubeconfig"]):
        module.exit_json(changed=False, nodes=[], waited=0)
    try:
        api = KubeApi(params["kubeconfig"])
        result = _kube_nodes.wait(
            api.get, params["addresses"], params["wait_for"], 0 if module.check_mode else params["wait_seconds"], params["poll_seconds"]
        )
        if params["pod_network"]:
            _kube_nodes.refuse_another(api.get, params["pod_network"])
    except KubeApiError as error:
        module.fail_json(msg=str(error))
    except _kube_nodes.KubeNodesError as error:
        if module.check_mode:
            # an earlier task would have changed what is missing
            module.exit_json(changed=False, nodes=error.nodes, waited=0, msg=str(error))
        module.fail_json(msg=str(error), nodes=error.nodes)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
