#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_workers
short_description: Processes, limits, sockets and directives of the NGINX of an ingress controller on this node
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Finds the processes of the controller's pods on this node in C(/proc), by their cgroups and network namespaces, and reads how many
    workers there are, their limit of open files, the ports that they listen on, and the configuration that NGINX was started with.
  - Nothing is run in the pod, and no NGINX is asked.
  - A finding does not make the module fail.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
    details:
      - The module only reads.
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  controllers:
    description: RV(baremetal.kubernetes.ingress_traffic#module:controllers).
    type: list
    elements: dict
    required: true
  address:
    description: Address of this node; the pods with this C(node_address) are looked at.
    type: str
    required: true
  worker_processes:
    description: Number of workers, or V(auto) for what the controller counts itself.
    type: str
    default: auto
  worker_connections:
    description: Connections of one worker; it must be able to open as many files.
    type: int
    default: 0
  worker_open_files:
    description: Limit of open files of one worker; V(0) judges only whether it is enough for O(worker_connections).
    type: int
    default: 0
  ports:
    description: TCP ports that workers listen on.
    type: list
    elements: int
    default: [80, 443]
  directives:
    description:
      - Wanted values by directive by block, as filter P(baremetal.kubernetes.ingress_directives#filter) gives them. A list must be there
        with each of its values.
      - Those of C(main), C(events) and C(http) must stand there with this value alone; of C(server), C(location) and C(upstream) one block
        that has it is enough.
    type: dict
    default: {}
  config:
    description: Path of the configuration in the pod, unless NGINX was started with another one.
    type: str
    default: /etc/nginx/nginx.conf
  wait_seconds:
    description: Seconds to look again as long as something is not as wanted; a controller replaces its workers when it reloads.
    type: int
    default: 15
"""

EXAMPLES = r"""
- name: Look at the workers on this node
  baremetal.kubernetes.nginx_workers:
    controllers: "{{ edge.controllers }}"
    address: "{{ cluster_node_ips[inventory_hostname] }}"
    worker_connections: 10240
    directives:
      events: {worker_connections: "10240"}
      http: {keepalive_timeout: 75s}
"""

RETURN = r"""
pods:
  description: What was found of each pod of the controller on this node.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the pod.
      type: str
    processes:
      description: Number of its processes.
      type: int
    workers:
      description: Number of workers.
      type: int
    cpus:
      description: CPUs that it may have counted for C(worker_processes auto).
      type: list
      elements: int
    open_files:
      description: Limit of open files of each worker, -1 without one.
      type: list
      elements: int
    ports:
      description: Ports that the workers listen on.
      type: list
      elements: int
    configured:
      description: C(worker_processes) of its configuration, null when that could not be read.
      type: str
    differences:
      description: Directives that are not as wanted, a sentence each.
      type: list
      elements: str
    reasons:
      description: Why something is not known.
      type: list
      elements: str
  sample:
    - name: nginx-ingress-7d9f
      processes: 6
      workers: 4
      cpus: [4]
      open_files: [1048576, 1048576, 1048576, 1048576]
      ports: [80, 443, 8080]
      configured: auto
      differences: []
      reasons: []
checks:
  description: C(edge_workers), C(edge_open_files), C(edge_listen) and C(edge_config); only the first, V(unknown), where no pod of the
    controller runs.
  returned: success
  type: list
  elements: dict
  sample:
    - {id: edge_workers, status: pass, observed: 4 workers, wanted: 4 workers, fix: ""}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _nginx_workers


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "controllers": {"type": "list", "elements": "dict", "required": True},
            "address": {"type": "str", "required": True},
            "worker_processes": {"type": "str", "default": "auto"},
            "worker_connections": {"type": "int", "default": 0},
            "worker_open_files": {"type": "int", "default": 0},
            "ports": {"type": "list", "elements": "int", "default": [80, 443]},
            "directives": {"type": "dict", "default": {}},
            "config": {"type": "str", "default": "/etc/nginx/nginx.conf"},
            "wait_seconds": {"type": "int", "default": 15},
        },
        supports_check_mode=True,
    )
    params = module.params
    wanted = _nginx_workers.Wanted(**{name: params[name] for name in _nginx_workers.Wanted._fields})
    try:
        _nginx_workers.validate(wanted)
        result = _nginx_workers.workers(params["controllers"], params["address"], wanted, params["wait_seconds"])
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"The workers of NGINX could not be looked at: {error}.")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
