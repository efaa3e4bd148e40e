#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: probe_pods
short_description: One idle pod per node and a Service in front of them, for traffic tests
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Waits until every node is Ready, makes a namespace with a DaemonSet of the pause image and a Service, and waits until each node runs
    its pod and, where the cluster's DNS is deployed, a server of it is ready.
  - Asks the API server with the certificate of a kubeconfig on this host, without C(kubectl).
  - What is not as wanted is a finding in RV(checks) and does not make the module fail; module M(baremetal.kubernetes.pod_traffic) uses what is there.
  - Touches no namespace that does not carry the collection's own label.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
  - baremetal.kubernetes.kubeconfig
attributes:
  check_mode:
    support: none
    details:
      - There is nothing to look at without pods, so the module is skipped.
  diff_mode:
    support: none
    details:
      - The pods are there for a test only.
  idempotent:
    support: full
options:
  state:
    description: V(present) makes the pods and waits for them, V(absent) removes the namespace without waiting for its end.
    type: str
    choices: [present, absent]
    default: present
  namespace:
    description: Namespace of the pods; made and removed with them.
    type: str
    default: kubernetes-verify
  image:
    description: Image of the pods. Required when O(state=present).
    type: str
  port:
    description: TCP port of the Service and of the pods.
    type: int
    default: 8080
  wait_seconds:
    description: Seconds to wait for the nodes and for the pods.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Make one pod per node
  baremetal.kubernetes.probe_pods:
    image: registry.k8s.io/pause:3.10
  register: probe

- name: Remove them
  baremetal.kubernetes.probe_pods:
    state: absent
"""

RETURN = r"""
nodes:
  description: All nodes, as module M(baremetal.kubernetes.kube_nodes) returns them.
  returned: O(state=present)
  type: list
  elements: dict
  sample:
    - {name: cp1, addresses: [192.0.2.11], pod_cidrs: [10.244.0.0/24], ready: true}
pods:
  description: The pods that run.
  returned: O(state=present)
  type: list
  elements: dict
  sample:
    - {node: cp1, node_addresses: [192.0.2.11], name: verify-x7k2p, uid: 6e1f2c3d-0000-4000-8000-000000000001, address: 10.244.0.4}
service:
  description: Address and port of the Service.
  returned: O(state=present)
  type: dict
  sample: {address: 10.105.3.7, port: 8080}
dns:
  description: ClusterIP of the Service C(kube-system/kube-dns), the servers behind it that are ready, and the address of the API server's
    Service; empty where there is no such Service.
  returned: O(state=present)
  type: dict
  sample: {address: 10.96.0.10, endpoints: [{address: 10.244.0.3, port: 53}], api_addresses: [10.96.0.1]}
checks:
  description: Findings C(nodes_ready), C(pods_running) and, where DNS is deployed, C(dns_ready).
  returned: O(state=present)
  type: list
  elements: dict
  sample:
    - {id: nodes_ready, status: pass, observed: 2 of 2 nodes Ready, wanted: every node Ready, fix: ""}
waited:
  description: Seconds until this result.
  returned: O(state=present)
  type: float
  sample: 41.5
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KUBECONFIG, KubeApi, KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._probe_pods import ProbePods, ProbePodsError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            **KUBECONFIG,
            "namespace": {"type": "str", "default": "kubernetes-verify"},
            "image": {"type": "str"},
            "port": {"type": "int", "default": 8080},
            "wait_seconds": {"type": "int", "default": 300},
        },
        required_if=[("state", "present", ["image"])],
        supports_check_mode=False,
    )
    params = module.params
    try:
        probe = ProbePods(KubeApi(params["kubeconfig"]), params["namespace"])
        if params["state"] == "absent":
            result = {"changed": probe.remove()}
        else:
            # Nothing that stays: whoever wants to know whether the cluster changed should not count these pods.
            result = {"changed": False, **probe.ready(params["image"], params["port"], params["wait_seconds"])}
    except (KubeApiError, ProbePodsError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
