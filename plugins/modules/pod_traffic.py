#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pod_traffic
short_description: Real traffic from pod to pod, from pod to ClusterIP and from node to ClusterIP, small and large
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Works on the node, inside the network namespace of a pod of module M(baremetal.kubernetes.probe_pods), which it finds by the pod's UID in
    C(/proc/*/cgroup). The pod needs no program for it and no image is pulled.
  - O(action=listen) starts a small listener in this node's pod. It ends by itself after O(lifetime) seconds or with the pod.
  - O(action=probe) connects from this node's pod to every other pod and to the Service, and from the node to the Service.
    Listeners must run on all nodes before.
  - To every pod that answers it sends one packet as large as the pod's MTU, which nobody may cut, and O(transfer_bytes) by TCP each way;
    the same by TCP by way of the Service. That finds networks in which small packets pass and large ones get lost.
  - With O(dns) it asks the cluster's DNS from the pod, with O(encryption) it captures what the node sends and receives meanwhile and looks
    for the payload in it.
  - O(action=policy) denies all ingress to the pods of the namespace by a NetworkPolicy, tries from this node's pod whether that is
    enforced on all other nodes, and removes it. It must run where O(kubeconfig) is, when no other traffic is tried.
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
    choices: [listen, probe, policy]
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
    description: TCP port of the pods and the Service, and UDP port of the pods.
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
    description: Seconds that a connection to the Service may take.
    type: float
    default: 1.0
  transfer_bytes:
    description: Bytes that are sent each way.
    type: int
    default: 262144
  transfer_seconds:
    description: Seconds that one such transfer may take.
    type: float
    default: 15.0
  pod_mtu:
    description: The MTU that pods must have, in bytes; V(0) judges none and only reports it.
    type: int
    default: 0
  dns:
    description: RV(baremetal.kubernetes.probe_pods#module:dns); empty where no DNS is deployed.
    type: dict
    default: {}
  dns_domain:
    description: The cluster's DNS domain.
    type: str
    default: cluster.local
  encryption:
    description: V(wireguard) where the traffic of pods between nodes must be encrypted. Empty captures nothing.
    type: str
    choices: ["", wireguard]
    default: ""
  kubeconfig:
    description: A kubeconfig with certificates, for O(action=policy).
    type: path
    default: /etc/kubernetes/admin.conf
  namespace:
    description: Namespace of the pods, for O(action=policy).
    type: str
    default: kubernetes-verify
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

- name: Deny what must be denied, on one control plane
  baremetal.kubernetes.pod_traffic:
    action: policy
    pods: "{{ probe.pods }}"
    address: "{{ cluster_node_ips[inventory_hostname] }}"
"""

RETURN = r"""
pid:
  description: Process number of the listener, null when it could not be started.
  returned: O(action=listen)
  type: int
  sample: 4711
interface:
  description: Name and MTU of the interface with O(address), null and the reason where there is none.
  returned: O(action=listen)
  type: dict
  sample: {name: eth0, mtu: 1500, reason: ""}
checks:
  description:
    - With O(action=probe) C(pod_to_pod/NODE) and C(pod_to_pod_payload/NODE) for each other node; C(pod_to_service),
      C(pod_to_service_payload), C(node_to_service) and C(node_to_service_payload).
    - C(pod_mtu) with O(pod_mtu); C(dns_service) and C(dns_endpoint/ADDRESS) with O(dns); C(encryption/NODE) with O(encryption).
    - With O(action=policy) C(network_policy/NODE) for each other node; none where there is one node only.
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
  description:
    - Milliseconds to each other pod, the MTU of this node's pod, the largest packet that arrives at each other pod (bytes) and the
      milliseconds of the transfers; answers of the Service by node, slowest answer of the Service to pod and node.
  returned: O(action=probe)
  type: dict
  sample:
    pods_ms: {w1: 1.4}
    pod_mtu: 1450
    largest_packet: {w1: 1450}
    transfer_ms: {w1: {up: 8.2, down: 7.9}}
    service_answers: {cp1: 3, w1: 3}
    service_slowest_ms: 2.0
    node_slowest_ms: 2.2
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _pod_traffic
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KUBECONFIG, KubeApi, KubeApiError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": ["listen", "probe", "policy"], "required": True},
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
            "transfer_bytes": {"type": "int", "default": 262144},
            "transfer_seconds": {"type": "float", "default": 15.0},
            "pod_mtu": {"type": "int", "default": 0},
            "dns": {"type": "dict", "default": {}},
            "dns_domain": {"type": "str", "default": "cluster.local"},
            "encryption": {"type": "str", "choices": ["", "wireguard"], "default": ""},
            **KUBECONFIG,
            "namespace": {"type": "str", "default": "kubernetes-verify"},
            "timeout": {"type": "float", "default": 5.0},
            "wait_seconds": {"type": "int", "default": 30},
        },
        required_if=[("action", "probe", ["service_address"])],
        supports_check_mode=False,
    )
    params = module.params
    place = (params["pods"], params["address"])
    try:
        if params["action"] == "listen":
            result = _pod_traffic.listen(*place, params["port"], params["lifetime"], run_command)
        elif params["action"] == "policy":
            api = KubeApi(params["kubeconfig"])
            result = _pod_traffic.policy(*place, params["port"], params["namespace"], params["timeout"], params["wait_seconds"], api)
        else:
            want = _pod_traffic.Probe(**{name: params[name] for name in _pod_traffic.Probe._fields})
            _pod_traffic.validate(want)
            result = _pod_traffic.probe(*place, want, run_command)
    except KubeApiError as error:
        module.fail_json(msg=str(error))
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"The traffic of this node's pod could not be tested: {error}.")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
