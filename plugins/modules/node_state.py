#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_state
short_description: Read everything a role needs to know about a node in one round trip
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Reads operating system, memory, swap, file digests, unit states and package versions at once.
  - Runs one C(systemctl show) for all units and one C(dpkg-query) or C(rpm -q) for all packages; the rest comes from C(/proc) and files.
  - Changes nothing. What does not exist is an answer and not an error.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  files:
    description: Paths to read. A link is followed.
    type: list
    elements: path
    default: []
  units:
    description: Names of systemd units; without a suffix C(.service) is meant.
    type: list
    elements: str
    default: []
  packages:
    description: Names of packages as the distribution has them.
    type: list
    elements: str
    default: []
  address:
    description: An IP address of the node whose interface is looked for.
    type: str
    default: ""
  pod_network:
    description:
      - The pod network that is to be installed. The API server is asked, with O(kubeconfig), whether the cluster has the DaemonSet of
        another one. Empty does not ask.
      - In check mode a missing O(kubeconfig) means that there is no cluster yet.
    type: str
    default: ""
  kubeconfig:
    description: A kubeconfig with certificates, as kubeadm writes it. Read only with O(pod_network).
    type: path
    default: /etc/kubernetes/admin.conf
"""

EXAMPLES = r"""
- name: Read the node's state
  baremetal.kubernetes.node_state:
    files: [/etc/containerd/config.toml]
    units: [containerd.service]
    packages: [containerd]
  register: __containerd_state
"""

RETURN = r"""
node:
  description: What was seen.
  returned: success
  type: dict
  contains:
    os_id:
      description: C(ID) of C(/etc/os-release).
      type: str
      returned: success
    os_version:
      description: C(VERSION_ID) of C(/etc/os-release).
      type: str
      returned: success
    kernel:
      description: Release of the running kernel.
      type: str
      returned: success
    python:
      description: Version of the Python interpreter on the node.
      type: str
      returned: success
    cpus:
      description: Number of logical CPUs.
      type: int
      returned: success
    memory_bytes:
      description: Memory the kernel manages (C(MemTotal)).
      type: int
      returned: success
    swaps:
      description: Swap that is on now, each with C(device), C(type) and C(size_kb).
      type: list
      elements: dict
      returned: success
    swap_persistent:
      description: What brings swap back at the next boot, each with C(source), a line of fstab or a unit, and its C(text).
      type: list
      elements: dict
      returned: success
    files:
      description:
        - Per path V(null) for a file that does not exist, otherwise C(sha256), C(mode) and C(size).
        - C(sha256) is V(null) for what is not a regular file.
      type: dict
      returned: success
    units:
      description: Per unit C(load), C(active), C(sub), C(enabled) and C(since) in systemd's words; C(load) is V(not-found) for a unit that does not exist.
      type: dict
      returned: success
    packages:
      description: Per package its version, or V(null) when it is not installed. What was removed and left its configuration is not installed.
      type: dict
      returned: success
    interface:
      description: C(name) and C(mtu) of the interface with O(address); V(null), with the C(reason), when it cannot be told. V(null) without O(address).
      type: dict
      returned: success
    other_pod_network:
      description: A sentence about another pod network than O(pod_network); empty when there is none or nothing was asked.
      type: str
      returned: success
    held:
      description: Those of the packages that are on hold (apt) or locked (dnf versionlock).
      type: list
      elements: str
      returned: success
  sample:
    os_id: debian
    os_version: "12"
    kernel: 6.1.0-41-amd64
    python: 3.11.2
    cpus: 2
    memory_bytes: 3112566784
    swaps: []
    swap_persistent:
      - source: /etc/fstab:3
        text: UUID=6e5b0a8c none swap sw 0 0
    files:
      /etc/containerd/config.toml:
        sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        mode: "0644"
        size: 0
      /etc/crictl.yaml: null
    units:
      containerd.service:
        load: loaded
        active: active
        sub: running
        enabled: enabled
        since: Sat 2026-11-21 03:40:12 UTC
    packages:
      containerd: 1.6.20~ds1-1+deb12u1
    interface:
      name: eth1
      mtu: 1500
      reason: ""
    other_pod_network: ""
    held: []
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _kube_nodes
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import ADMIN_CONF, KubeApi, KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._node_state import NodeStateError, node_state
from ansible_collections.baremetal.kubernetes.plugins.module_utils._systemd import SystemdError


def main() -> None:
    """Wire options to node_state."""
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "path", "default": []},
            "units": {"type": "list", "elements": "str", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            "address": {"type": "str", "default": ""},
            "pod_network": {"type": "str", "default": ""},
            "kubeconfig": {"type": "path", "default": ADMIN_CONF},
        },
        supports_check_mode=True,
    )
    pod_network, kubeconfig = module.params["pod_network"], module.params["kubeconfig"]
    try:
        node = node_state(run_command, module.params["files"], module.params["units"], module.params["packages"], module.params["address"])
        asked = pod_network and not (module.check_mode and not os.path.exists(kubeconfig))
        node["other_pod_network"] = _kube_nodes.another(KubeApi(kubeconfig).get, pod_network) if asked else ""
    except (NodeStateError, SystemdError, KubeApiError, OSError) as error:
        module.fail_json(msg=f"Cannot read the state of the node. {error}")
    module.exit_json(changed=False, node=node)


if __name__ == "__main__":
    main()
