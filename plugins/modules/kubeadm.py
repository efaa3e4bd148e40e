#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm
short_description: Make or join a control plane or worker with kubeadm
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Runs C(kubeadm init) or C(kubeadm join) once per node and knows afterwards whether it came to its end.
  - A marker file, C(/etc/kubernetes/.kubeadm-unfinished), exists while kubeadm runs. When a run was killed, the next
    one removes what was left half written, accepts its own leftovers in kubeadm's preflight and goes on. A node that the
    killed run had already made Ready goes on behind kubeadm's phase C(kubelet-start), which refuses it.
  - A node that has its kubelet.conf and no marker is a member of a cluster, whoever built it, and is left alone.
  - A kubeadm of an interrupted playbook run that still works on the node is waited for.
  - Bootstrap tokens and certificate keys are neither printed nor logged nor passed as arguments. The configuration file
    holds placeholders; the real values are put into a copy in C(/run) that only root reads and that lives as long as the command.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - What kubeadm would create is not known before it runs.
  idempotent:
    support: partial
    details:
      - O(action=init), O(action=join) and O(action=state) are; O(action=secrets) makes a new token each time,
        O(action=phase) always applies.
options:
  action:
    description:
      - V(state) tells what the node is.
      - V(init) makes the first control plane, V(join) adds this node to a cluster.
      - V(secrets) makes on a finished control plane what another node needs to join.
      - V(phase) runs O(phase) of C(kubeadm init) again with the present configuration.
      - V(wait) waits until the API server answers as ready and reads the configuration kube-proxy has been given.
    type: str
    required: true
    choices: [state, init, join, secrets, phase, wait]
  config:
    description: The kubeadm configuration file on the node, with placeholders instead of secrets.
    type: path
  secrets:
    description: Values for the placeholders, as returned by O(action=secrets).
    type: dict
    default: {}
    suboptions:
      token:
        description: Bootstrap token.
        type: str
      ca_cert_hash:
        description: Hash of the cluster's CA key, V(sha256:) and 64 hexadecimal digits.
        type: str
      certificate_key:
        description: Key of the uploaded control plane certificates, 64 hexadecimal digits.
        type: str
  arguments:
    description: Further arguments of C(kubeadm init) or C(kubeadm join).
    type: list
    elements: str
    default: []
  phase:
    description: The phase of O(action=phase), word by word.
    type: list
    elements: str
    default: []
  token_ttl:
    description: How long the token of O(action=secrets) is valid, as a Go duration.
    type: str
    default: 30m0s
  upload_certificates:
    description: Whether O(action=secrets) also uploads the control plane certificates for two hours and returns their key.
    type: bool
    default: false
  timeout:
    description: Seconds after which kubeadm is stopped, or waiting is given up.
    type: int
    default: 900
  node_ip:
    description: Address of this node's API server, for O(action=wait).
    type: str
  port:
    description: Port of this node's API server, for O(action=wait).
    type: int
    default: 6443
"""

EXAMPLES = r"""
- name: Make the first control plane
  baremetal.kubernetes.kubeadm:
    action: init
    config: /etc/kubernetes/kubeadm-init.yaml

- name: Make a token that lives half an hour
  baremetal.kubernetes.kubeadm:
    action: secrets
  register: join_secrets
  no_log: true

- name: Join
  baremetal.kubernetes.kubeadm:
    action: join
    config: /etc/kubernetes/kubeadm-join.yaml
    secrets: "{{ join_secrets.secrets }}"
"""

RETURN = r"""
state:
  description: What the node is after the module ran.
  returned: O(action=state), O(action=init), O(action=join)
  type: dict
  contains:
    member:
      description: Whether the node finished its kubeadm run.
      type: bool
    control_plane:
      description: Whether it is a control plane.
      type: bool
    unfinished:
      description: The action that was cut short, if any.
      type: str
  sample: {member: true, control_plane: true, unfinished: null}
admin_conf_sha256:
  description: SHA-256 of C(/etc/kubernetes/admin.conf), in hexadecimal.
  returned: O(action=wait)
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
kube_proxy_config:
  description: The text of C(config.conf) in the ConfigMap C(kube-system/kube-proxy); null where there is none.
  returned: O(action=wait)
  type: str
  sample: |
    mode: ipvs
waited:
  description: Seconds until the API server was ready.
  returned: O(action=wait)
  type: int
  sample: 3
secrets:
  description: What a node needs to join. Register it under C(no_log).
  returned: O(action=secrets)
  type: dict
  sample: {token: "VALUE", ca_cert_hash: "sha256:VALUE", certificate_key: ""}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kubeadm import Kubeadm, KubeadmError


def run(module: AnsibleModule, kubeadm: Kubeadm) -> dict[str, t.Any]:
    """Do what O(action) says; the result for exit_json."""
    params = module.params
    action = params["action"]
    if action == "state":
        return {"changed": False, "state": kubeadm.state()}
    if action == "wait":
        return {"changed": False, **kubeadm.wait(params["node_ip"], params["port"], params["timeout"], module.check_mode)}
    if action == "secrets":
        if module.check_mode:
            return {"changed": True, "secrets": {}}
        secrets = kubeadm.secrets(params["token_ttl"], params["upload_certificates"], params["config"])
        return {"changed": True, "secrets": secrets}
    if action == "phase":
        if not module.check_mode:
            kubeadm.phase(params["phase"], params["config"])
        return {"changed": True}
    if action == "init":
        changed = kubeadm.init(params["config"], params["arguments"], params["timeout"], module.check_mode)
    else:
        secrets = {name: value for name, value in (params["secrets"] or {}).items() if value}
        changed = kubeadm.join(params["config"], secrets, params["arguments"], params["timeout"], module.check_mode)
    return {"changed": changed, "state": kubeadm.state()}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {
                "type": "str",
                "required": True,
                "choices": ["state", "init", "join", "secrets", "phase", "wait"],
            },
            "config": {"type": "path"},
            "secrets": {
                "type": "dict",
                "default": {},
                "no_log": False,
                "options": {
                    "token": {"type": "str", "no_log": True},
                    "ca_cert_hash": {"type": "str"},
                    "certificate_key": {"type": "str", "no_log": True},
                },
            },
            "arguments": {"type": "list", "elements": "str", "default": []},
            "phase": {"type": "list", "elements": "str", "default": []},
            "token_ttl": {"type": "str", "default": "30m0s", "no_log": False},
            "upload_certificates": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 900},
            "node_ip": {"type": "str"},
            "port": {"type": "int", "default": 6443},
        },
        required_if=[
            ("action", "init", ["config"]),
            ("action", "join", ["config"]),
            ("action", "phase", ["config", "phase"]),
            ("action", "wait", ["node_ip"]),
            ("upload_certificates", True, ["config"]),
        ],
        supports_check_mode=True,
    )
    try:
        result = run(module, Kubeadm())
    except KubeadmError as error:
        module.fail_json(msg=str(error), **error.evidence)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
