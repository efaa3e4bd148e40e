#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kube_apply
short_description: Apply objects to the cluster server-side, remove those no longer wanted, and wait for conditions
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Server-side apply with the certificate of a kubeconfig on this host, without C(kubectl) and without a Python library.
  - C(changed) tells whether an object really became different. Bookkeeping of the API server (C(managedFields), C(resourceVersion),
    C(generation), C(status)) does not count.
  - Namespaces and CustomResourceDefinitions are applied first, all others in the order of the list.
  - What may pass is waited for, no longer than O(wait_seconds) in all, and told in RV(waited_for). That is a kind that is not served
    yet because its CustomResourceDefinition was just installed, a namespace or object that is still being removed, an API server
    that does not answer, a webhook that cannot be reached. What a webhook denies is an error at once.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
  - baremetal.kubernetes.kubeconfig
attributes:
  check_mode:
    support: full
    details:
      - The API server tries each object (C(dryRun=All)) and stores nothing. Nothing is waited for.
      - Where there is no kubeconfig, or a kind or namespace does not exist yet, the object is reported as C(created).
  diff_mode:
    support: full
    details:
      - The data of Secrets is not shown.
  idempotent:
    support: full
options:
  objects:
    description:
      - Objects to apply, each with C(apiVersion), C(kind) and C(metadata.name). Of namespaced kinds C(metadata.namespace)
        has to be given too.
      - An object with C(metadata.uid) is changed and never made. That is for what has to exist, such as a Node.
      - From a file on the controller take lookup P(ansible.builtin.file#lookup) and filter P(ansible.builtin.from_yaml_all#filter).
      - A Secret with data is refused here, because Ansible logs this option. O(secrets) is for that.
    type: list
    elements: dict
    default: []
  manifest:
    description:
      - The same as text, JSON or YAML with one or more documents. YAML needs Python's yaml package on this host.
    type: str
  secrets:
    description: Secrets to apply, before all objects but namespaces. Their data is neither logged nor returned nor shown in a diff.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the Secret.
        type: str
        required: true
      namespace:
        description: Namespace of the Secret.
        type: str
        required: true
      type:
        description: Type of the Secret.
        type: str
        default: Opaque
      labels:
        description: Labels of the Secret.
        type: dict
        default: {}
      data:
        description: Plain texts by key. The module encodes them.
        type: dict
        required: true
  field_manager:
    description: Name under which the fields of the objects are owned.
    type: str
    default: baremetal.kubernetes
  force:
    description:
      - Take over fields that another manager owns with another value. Without it such a conflict is an error that names field and manager.
    type: bool
    default: false
  prune_label:
    description:
      - A label selector. Objects of O(prune_kinds) that match it and are not applied by this task are removed.
    type: str
  prune_kinds:
    description:
      - Kinds to look for, as V(apiVersion/kind), such as V(v1/Secret) or V(projectcalico.org/v3/BGPPeer).
      - Kinds that are not served have no objects.
    type: list
    elements: str
    default: []
  prune_namespace:
    description: Remove from this namespace only. Without it, from all.
    type: str
  prune_older_than:
    description: Remove only what was created this many seconds ago or earlier.
    type: int
    default: 0
  wait_conditions:
    description:
      - Conditions (C(status.conditions)), or fields to be filled, to wait for after everything is applied. The objects need not be
        among those applied.
      - A status that is about an older generation of its object, as its C(observedGeneration) tells, does not count.
    type: list
    elements: dict
    default: []
    suboptions:
      api_version:
        description: For example V(operator.tigera.io/v1).
        type: str
        required: true
      kind:
        description: For example V(TigeraStatus).
        type: str
        required: true
      name:
        description: Name of the object.
        type: str
        required: true
      namespace:
        description: Namespace of the object, when its kind has one.
        type: str
      condition:
        description: Type of the condition, for example V(Available). Either this or O(wait_conditions[].field) is required.
        type: str
      field:
        description: A field that has to be there and not empty, for example V(status.loadBalancer.ingress) of a Service.
        type: str
      status:
        description: Wanted status of the condition.
        type: str
        choices: ["True", "False"]
        default: "True"
  wait_seconds:
    description: Seconds for the whole task, until waiting is given up.
    type: int
    default: 300
  poll_seconds:
    description: Seconds between two questions.
    type: int
    default: 3
"""

EXAMPLES = r"""
- name: Hand out addresses to Services, and forget pools that are not wanted any more
  baremetal.kubernetes.kube_apply:
    objects:
      - apiVersion: cilium.io/v2
        kind: CiliumLoadBalancerIPPool
        metadata:
          name: default
          labels:
            app.kubernetes.io/managed-by: baremetal.kubernetes
        spec:
          blocks:
            - cidr: 192.0.2.128/26
    prune_label: app.kubernetes.io/managed-by=baremetal.kubernetes
    prune_kinds: [cilium.io/v2/CiliumLoadBalancerIPPool]

- name: Give Calico the passwords of its BGP peers, and wait until its operator is content
  baremetal.kubernetes.kube_apply:
    secrets:
      - name: bgp-passwords
        namespace: calico-system
        data:
          rack1: "{{ vault_bgp_password_rack1 }}"
    wait_conditions:
      - api_version: operator.tigera.io/v1
        kind: TigeraStatus
        name: calico
        condition: Available
    wait_seconds: 600

- name: Wait until a certificate is issued and a Service has its address
  baremetal.kubernetes.kube_apply:
    wait_conditions:
      - {api_version: cert-manager.io/v1, kind: Certificate, namespace: shop, name: www, condition: Ready}
      - {api_version: v1, kind: Service, namespace: ingress, name: nginx, field: status.loadBalancer.ingress}
"""

RETURN = r"""
objects:
  description: What was done, in the order of the work.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the object.
      type: str
    namespace:
      description: Its namespace, empty where the kind has none.
      type: str
    name:
      description: Its name.
      type: str
    change:
      description: One of C(created), C(configured), C(unchanged) and C(pruned).
      type: str
  sample:
    - {kind: CiliumLoadBalancerIPPool, namespace: "", name: default, change: created}
    - {kind: CiliumLoadBalancerIPPool, namespace: "", name: old, change: pruned}
waited:
  description: Seconds that the task took.
  returned: success
  type: float
  sample: 3.2
waited_for:
  description: What was not yet as wanted and was tried again, each once. Empty when nothing was.
  returned: success
  type: list
  elements: str
  sample:
    - >-
      IPAddressPool metallb-system/lan was refused with 500: Internal error occurred: failed calling webhook "ipaddresspool.metallb.io":
      no endpoints available for service "metallb-webhook-service".
"""

import os
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _kube_apply
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KUBECONFIG, KubeApi, KubeApiError

SECRET = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "type": {"type": "str", "default": "Opaque"},
    "labels": {"type": "dict", "default": {}},
    "data": {"type": "dict", "required": True, "no_log": True},
}
CONDITION = {
    "api_version": {"type": "str", "required": True},
    "kind": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str"},
    "condition": {"type": "str"},
    "field": {"type": "str"},
    "status": {"type": "str", "choices": ["True", "False"], "default": "True"},
}


def wanted(module: AnsibleModule) -> List[Dict[str, Any]]:
    """All objects in the order of applying; what Secrets hold is kept out of the module's result from here on."""
    params = module.params
    documents = _kube_apply.parse_manifest(params["manifest"]) if params["manifest"] else []
    objects = list(_kube_apply.flat(params["objects"] + documents))
    secrets = [
        _kube_apply.secret(entry["namespace"], entry["name"], entry["type"], entry["labels"], entry["data"]) for entry in params["secrets"]
    ]
    module.no_log_values |= _kube_apply.secret_texts(objects + secrets)
    _kube_apply.refuse_secrets(objects)
    return _kube_apply.in_order(objects, secrets)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **KUBECONFIG,
            "objects": {"type": "list", "elements": "dict", "default": []},
            "manifest": {"type": "str"},
            "secrets": {"type": "list", "elements": "dict", "default": [], "options": SECRET, "no_log": False},
            "field_manager": {"type": "str", "default": "baremetal.kubernetes"},
            "force": {"type": "bool", "default": False},
            "prune_label": {"type": "str"},
            "prune_kinds": {"type": "list", "elements": "str", "default": []},
            "prune_namespace": {"type": "str"},
            "prune_older_than": {"type": "int", "default": 0},
            "wait_conditions": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": CONDITION,
                "required_one_of": [("condition", "field")],
                "mutually_exclusive": [("condition", "field")],
            },
            "wait_seconds": {"type": "int", "default": 300},
            "poll_seconds": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    params = module.params
    if bool(params["prune_label"]) != bool(params["prune_kinds"]):
        module.fail_json(
            msg="prune_label and prune_kinds belong together: the label alone names no kind, a kind alone would remove everything of it."
        )
    done: Dict[str, Any] = {}
    try:
        objects = wanted(module)
        if module.check_mode and not os.path.exists(params["kubeconfig"]):
            created = [
                {
                    "kind": item["kind"],
                    "namespace": item["metadata"].get("namespace") or "",
                    "name": item["metadata"]["name"],
                    "change": "created",
                }
                for item in objects
            ]
            module.exit_json(changed=bool(created), objects=created, waited=0.0, waited_for=[])
        applier = _kube_apply.Applier(
            KubeApi(params["kubeconfig"]),
            params["field_manager"],
            params["force"],
            module.check_mode,
            params["wait_seconds"],
            params["poll_seconds"],
        )
        try:
            for item in objects:
                applier.apply(item)
            if params["prune_label"]:
                applier.prune(
                    params["prune_label"], params["prune_kinds"], objects, params["prune_namespace"] or "", params["prune_older_than"]
                )
            if params["wait_conditions"] and not module.check_mode:
                applier.wait_for(params["wait_conditions"])
        finally:
            done = {
                "changed": applier.changed,
                "objects": applier.done,
                "diff": applier.diff,
                "waited": applier.waited,
                "waited_for": applier.waited_for,
            }
    except (KubeApiError, _kube_apply.KubeApplyError) as error:
        module.fail_json(msg=str(error), **done)
    module.exit_json(**done)


if __name__ == "__main__":
    main()
