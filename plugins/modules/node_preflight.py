#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_preflight
short_description: All checks of one node before a cluster is built on it, in one round trip
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Reads the machine, its kernel and its network, and returns one finding for each check. What cannot be read is V(unknown) and never V(pass).
  - Changes nothing and loads no kernel module; a firewall is only asked where its part of the kernel is in use already.
  - Works without root, but much is V(unknown) then.
  - The README of role C(preflight) lists the checks. A finding does not make the module fail.
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
  kubernetes_version:
    description: Version of Kubernetes, such as V(1.36.4). The rules for cgroup depend on it.
    type: str
    default: ""
  cni:
    description: Pod network, such as V(calico). The rules for kernel, NetworkManager and rp_filter depend on it.
    type: str
    default: ""
  encapsulation:
    description: Encapsulation between nodes, such as V(vxlan), V(ipip) or V(wireguard), or several in one text.
    type: str
    default: ""
  proxy_mode:
    description: Mode of kube-proxy, such as V(ipvs).
    type: str
    default: ""
  control_plane:
    description: Whether the node is to be a control plane. It needs more CPUs and memory, and an empty C(/var/lib/etcd).
    type: bool
    default: false
  node_ip:
    description: Address of the node in the cluster's network.
    type: str
    default: ""
  node_name:
    description: Name of the node in the cluster; empty for its hostname.
    type: str
    default: ""
  pod_cidr:
    description: Pod network.
    type: str
    default: ""
  service_cidr:
    description: Service network.
    type: str
    default: ""
  load_balancer_ranges:
    description: Ranges of load balancer addresses.
    type: list
    elements: str
    default: []
  modules:
    description: Kernel modules that are wanted, as filter P(baremetal.kubernetes.kernel_plan#filter) returns them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the module.
        type: str
        required: true
      optional:
        description: A module that cannot be had is a warning.
        type: bool
        default: false
      comment:
        description: The reason; not read.
        type: str
        default: ""
  ports:
    description: Ports of the cluster on this node. They must be free, unless the node is a member of the cluster already.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: The port.
        type: int
        required: true
      protocol:
        description: Its protocol.
        type: str
        choices: [tcp, udp]
        default: tcp
      purpose:
        description: Who listens there.
        type: str
        default: ""
  api_servers:
    description:
      - Names and addresses of the cluster's API servers without port. A node whose C(kubelet.conf) names another one is no member of this cluster.
      - Empty takes a node of any cluster for a member.
    type: list
    elements: str
    default: []
  swap:
    description: V(turn_off) warns of swap, because role C(kernel) turns it off; V(forbid) fails; V(allow) does not mind.
    type: str
    choices: [turn_off, forbid, allow]
    default: turn_off
  resolv_conf:
    description: The C(resolvConf) of the kubelet. Empty looks into the kubelet's configuration, then takes the file that kubeadm would choose.
    type: str
    default: ""
  steal_seconds:
    description: Seconds over which CPU times and dropped connections are sampled. With V(0) they are V(unknown).
    type: float
    default: 5
  minimums:
    description: What the node must have at least.
    type: dict
    default: {}
    suboptions:
      memory_mb:
        description: MiB that the kernel manages; 0 means 1700 on a control plane and 900 else.
        type: int
        default: 0
      cpus:
        description: CPUs; 0 means 2 on a control plane and 1 else.
        type: int
        default: 0
      disk_mb:
        description:
          - Path to MiB that must be free there before the node is a member. Paths of one file system share its room.
          - Empty means 2048 for C(/var/lib/etcd) (control planes), 1024 for C(/var/lib/kubelet) and 4096 for C(/var/lib/containerd).
        type: dict
        default: {}
seealso:
  - plugin: baremetal.kubernetes.cross_node_checks
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look at the node
  baremetal.kubernetes.node_preflight:
    kubernetes_version: 1.36.4
    cni: calico
    encapsulation: vxlan
    proxy_mode: ipvs
    control_plane: true
    node_ip: 192.0.2.11
    pod_cidr: 10.244.0.0/16
    service_cidr: 10.96.0.0/12
    modules:
      - name: br_netfilter
      - name: ip_vs
    ports:
      - port: 6443
        purpose: API server
  register: preflight
"""

RETURN = r"""
checks:
  description: One finding for each check, worst first (V(fail), V(unknown), V(warn), V(pass)).
  returned: success
  type: list
  elements: dict
  sample:
    - id: swap
      status: warn
      observed: "Swap is on: /swap.img (2047 MiB); it comes at boot by /etc/fstab:3."
      wanted: "no swap now and at the next boot: the kubelet refuses to start with it"
      fix: "Nothing: role kernel turns it off. To do it now: `swapoff -a`, and take it out of /etc/fstab."
identity:
  description: What must differ from node to node, for filter P(baremetal.kubernetes.cross_node_checks#filter). Empty or null where it is not known.
  returned: success
  type: dict
  contains:
    machine_id:
      description: Text of C(/etc/machine-id).
      type: str
    product_uuid:
      description: UUID of the machine by its firmware; empty where there is none.
      type: str
    macs:
      description: C(interface) and C(mac) of each network card and of the node's interface.
      type: list
      elements: dict
    hostname:
      description: Hostname.
      type: str
    node_ip:
      description: The option.
      type: str
    node_interface:
      description: Interface with the node IP.
      type: str
    node_prefix:
      description: Length of the prefix of the node IP.
      type: int
    mtu:
      description: MTU of that interface in bytes.
      type: int
  sample:
    machine_id: 0b5a8e1f3c0d4f6d9a51c6f5f2a7be10
    product_uuid: 6b1e7a52-6f0e-4c59-8f0e-0d8f6f5d7a11
    macs:
      - {interface: eth0, mac: "52:54:00:00:00:0b"}
    hostname: cp1
    node_ip: 192.0.2.11
    node_interface: eth0
    node_prefix: 24
    mtu: 1500
routes:
  description: Routes of all tables with C(destination), C(interface), C(gateway) and C(type), without multicast and link-local ones; null when not known.
  returned: success
  type: list
  elements: dict
  sample:
    - {destination: 192.0.2.0/24, interface: eth0, gateway: "", type: unicast}
resolvers:
  description: Name servers of the file that the kubelet hands to pods; null when not known.
  returned: success
  type: list
  elements: str
  sample: [192.0.2.53]
facts:
  description: What a report shows of the node; null for what is not known.
  returned: success
  type: dict
  contains:
    kernel:
      description: Release of the kernel.
      type: str
    virtualization:
      description: Hypervisor in systemd's words, V(none) on bare metal.
      type: str
    cpus:
      description: CPUs.
      type: int
    memory_mb:
      description: MiB that the kernel manages.
      type: int
    os:
      description: Name of the operating system.
      type: str
    member:
      description: Whether the node is a member of this cluster, see O(api_servers).
      type: bool
    driver:
      description: Driver of the card behind the node IP; several with commas between them for a bond.
      type: str
  sample:
    kernel: 6.1.0-41-amd64
    virtualization: kvm
    cpus: 2
    memory_mb: 3001
    os: Debian GNU/Linux 12 (bookworm)
    member: false
    driver: virtio_net
unread:
  description: What could not be read, with the reason.
  returned: success
  type: dict
  sample: {product_uuid: /sys/class/dmi/id/product_uuid does not exist}
seconds:
  description: Seconds this took, without the time in which it only waited for the second sample.
  returned: success
  type: float
  sample: 0.31
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _preflight_checks
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command


def main() -> None:
    """Wire options to preflight."""
    module = AnsibleModule(
        argument_spec={
            "kubernetes_version": {"type": "str", "default": ""},
            "cni": {"type": "str", "default": ""},
            "encapsulation": {"type": "str", "default": ""},
            "proxy_mode": {"type": "str", "default": ""},
            "control_plane": {"type": "bool", "default": False},
            "node_ip": {"type": "str", "default": ""},
            "node_name": {"type": "str", "default": ""},
            "pod_cidr": {"type": "str", "default": ""},
            "service_cidr": {"type": "str", "default": ""},
            "load_balancer_ranges": {"type": "list", "elements": "str", "default": []},
            "modules": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "optional": {"type": "bool", "default": False},
                    "comment": {"type": "str", "default": ""},
                },
            },
            "ports": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "port": {"type": "int", "required": True},
                    "protocol": {"type": "str", "choices": ["tcp", "udp"], "default": "tcp"},
                    "purpose": {"type": "str", "default": ""},
                },
            },
            "api_servers": {"type": "list", "elements": "str", "default": []},
            "swap": {"type": "str", "choices": ["turn_off", "forbid", "allow"], "default": "turn_off"},
            "resolv_conf": {"type": "str", "default": ""},
            "steal_seconds": {"type": "float", "default": 5},
            "minimums": {
                "type": "dict",
                "default": {},
                "options": {
                    "memory_mb": {"type": "int", "default": 0},
                    "cpus": {"type": "int", "default": 0},
                    "disk_mb": {"type": "dict", "default": {}},
                },
            },
        },
        supports_check_mode=True,
    )
    try:
        _preflight_checks.make_settings(module.params)
    except ValueError as error:
        module.fail_json(msg=f"An option cannot be used: {error}.")
    module.exit_json(changed=False, **_preflight_checks.preflight(run_command, module.params))


if __name__ == "__main__":
    main()
