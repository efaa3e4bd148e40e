#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: calico_node_status
short_description: BGP peers of Calico on a node, and whether the expected ones stay Established
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Asks BIRD on its control socket, C(calicoctl node status), or BIRD in the calico-node container.
  - Compares the peers with the whole set that is expected and watches them for a time, as a look at one moment misses sessions
    that come and go, and a peer that is not in the table is no row that is down.
  - The verdict never comes from a return code, as calicoctl ends with 0 when it cannot ask BIRD and when all peers are down.
  - A peer is up when BIRD's state is C(up) and the text behind it is exactly C(Established).
  - What cannot be read is V(unknown) and never V(pass). A finding does not make the module fail.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - Nothing is changed. On BIRD's socket the module restricts itself to commands that read.
  idempotent:
    support: full
options:
  expected_peers:
    description:
      - Addresses of all peers that this node shall have, without ports; in a full mesh the node addresses of all other nodes.
      - An empty list says that it shall have none, as a cluster of one node.
      - Without it every peer that is there must be up, and none at all is V(unknown).
    type: list
    elements: str
  source:
    description:
      - Whom to ask. V(bird) is BIRD's control socket, V(pod) is BIRD in the container C(calico-node), by C(crictl) or else by C(kubectl).
      - V(auto) takes the first of V(bird), V(calicoctl), V(pod) that exists on the node.
    type: str
    choices: [auto, bird, calicoctl, pod]
    default: auto
  bird_socket:
    description: Control socket of BIRD for IPv4, or for both families.
    type: path
    default: /var/run/calico/bird.ctl
  bird6_socket:
    description: Control socket of BIRD for IPv6. It need not exist.
    type: path
    default: /var/run/calico/bird6.ctl
  calicoctl:
    description: Command or path of calicoctl. It must run as root in the PID namespace of the node.
    type: str
    default: calicoctl
  kubeconfig:
    description: Kubeconfig for O(source=pod) where there is no C(crictl).
    type: path
    default: /etc/kubernetes/admin.conf
  node_name:
    description: Name of this node in the cluster, for O(source=pod) with C(kubectl). The default is the host name.
    type: str
  listen_port:
    description:
      - TCP port on which BIRD must listen when peers are expected, C(listenPort) of the BGPConfiguration. V(0) does not look.
    type: int
    default: 179
  stable_seconds:
    description: Seconds for which all peers must stay Established without a new SINCE. V(0) believes one look.
    type: float
    default: 10
  wait_seconds:
    description: Seconds to wait until the peers are Established. O(stable_seconds) come on top.
    type: float
    default: 120
  poll:
    description: Seconds between two looks, at least V(0.1).
    type: float
    default: 2
  timeout:
    description: Seconds to wait for an answer of BIRD.
    type: float
    default: 5
"""

EXAMPLES = r"""
- name: Wait until the sessions with all other nodes are up and stay so
  baremetal.kubernetes.calico_node_status:
    expected_peers: "{{ cluster_node_ips | dict2items | rejectattr('key', 'equalto', inventory_hostname) | map(attribute='value') | list }}"
    stable_seconds: 30
    wait_seconds: 180
  register: bgp

- name: Say which sessions are not
  ansible.builtin.assert:
    that: bgp.verdict in ['pass', 'warn']
    fail_msg: "{{ bgp.checks | rejectattr('status', 'equalto', 'pass') | list | to_nice_yaml }}"
"""

RETURN = r"""
running:
  description: Whether calico-node or its BIRD runs, null when that cannot be told.
  returned: success
  type: bool
  sample: true
ipv4:
  description:
    - The peers with IPv4 addresses, as filter P(baremetal.kubernetes.parse_calico_node_status#filter) returns them.
    - With O(source=bird) they include those that BIRD has down, which calicoctl does not show.
  returned: success
  type: list
  elements: dict
  sample:
    - {peer_address: 192.0.2.12, peer_type: node-to-node mesh, state: up, since: "12:00:01", info: Established}
ipv6:
  description: The same for IPv6.
  returned: success
  type: list
  elements: dict
  sample: []
errors:
  description: What could not be read, and what the source says is wrong.
  returned: success
  type: list
  elements: str
  sample: []
established:
  description: Addresses of all peers that are up, without ports.
  returned: success
  type: list
  elements: str
  sample: [192.0.2.12]
missing:
  description: Addresses of O(expected_peers) that are not up, whether they are in the table or not.
  returned: success
  type: list
  elements: str
  sample: [192.0.2.13]
unexpected:
  description: Addresses of peers that are not in O(expected_peers); none when that is not given.
  returned: success
  type: list
  elements: str
  sample: []
source:
  description: Who was asked, empty if there was nobody.
  returned: success
  type: str
  sample: bird
bird:
  description: Version and router id of BIRD; empty unless RV(source) is V(bird).
  returned: success
  type: dict
  sample: {version: v0.3.3+birdv1.6.8, router_id: 192.0.2.11}
checks:
  description:
    - C(bgp_daemon), C(bgp_peers/ADDRESS) for each expected peer, C(bgp_unexpected) if there are others, C(bgp_listen).
    - C(fix) names the usual cause of the text behind the state and the command to look further.
  returned: success
  type: list
  elements: dict
  sample:
    - id: bgp_peers/192.0.2.13
      status: fail
      observed: "start Active Socket: Connection refused since 12:00:01 (node-to-node mesh)"
      wanted: up and Established for 10 s
      fix: "Usual cause: nothing listens on 192.0.2.13 port 179/tcp, ... Look with: ..."
verdict:
  description: The worst of the findings. V(warn) are unexpected peers, or a second session to a router that is up.
  returned: success
  type: str
  sample: fail
waited:
  description: Seconds until this result.
  returned: success
  type: float
  sample: 12.1
"""

import ipaddress
import socket

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _calico_ask
from ansible_collections.baremetal.kubernetes.plugins.module_utils._bgp_peers import Wanted
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KUBECONFIG


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "expected_peers": {"type": "list", "elements": "str"},
            "source": {"type": "str", "choices": ["auto", "bird", "calicoctl", "pod"], "default": "auto"},
            "bird_socket": {"type": "path", "default": _calico_ask.SOCKETS[4]},
            "bird6_socket": {"type": "path", "default": _calico_ask.SOCKETS[6]},
            "calicoctl": {"type": "str", "default": "calicoctl"},
            **KUBECONFIG,
            "node_name": {"type": "str"},
            "listen_port": {"type": "int", "default": 179},
            "stable_seconds": {"type": "float", "default": 10},
            "wait_seconds": {"type": "float", "default": 120},
            "poll": {"type": "float", "default": 2},
            "timeout": {"type": "float", "default": 5},
        },
        supports_check_mode=True,
    )
    params = module.params
    for address in params["expected_peers"] or []:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            module.fail_json(msg=f"expected_peers has {address!r}, which is no IP address. Give the addresses of the peers, without ports.")
    settings = _calico_ask.Settings(
        source=params["source"],
        sockets={4: params["bird_socket"], 6: params["bird6_socket"]},
        calicoctl=params["calicoctl"],
        kubeconfig=params["kubeconfig"],
        node=params["node_name"] or socket.gethostname().lower(),
        timeout=params["timeout"],
    )
    wanted = Wanted(params["expected_peers"], params["stable_seconds"], params["listen_port"] or 179)
    result = _calico_ask.wait_for_peers(settings, wanted, params["wait_seconds"], max(params["poll"], 0.1), params["listen_port"])
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
