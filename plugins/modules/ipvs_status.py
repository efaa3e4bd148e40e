#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipvs_status
short_description: Virtual and real servers of IPVS on a node, and whether kube-proxy keeps them right
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Reads C(/proc/net/ip_vs), the sysctls that C(strictARP) sets, and the mode that the running kube-proxy reports itself.
  - Needs neither C(ipvsadm) nor access to the API server.
  - Compares them with what is expected, if anything is. What cannot be told is V(unknown) and never V(pass).
  - A finding does not make the module fail.
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
  expect:
    description: Virtual servers that must exist, each with exactly these real servers behind it. Others are not looked at.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: Address of the virtual server.
        type: str
        required: true
      port:
        description: Port of the virtual server.
        type: int
        required: true
      protocol:
        description: Protocol of the virtual server.
        type: str
        choices: [TCP, UDP, SCTP]
        default: TCP
      destinations:
        description: Real servers, such as V(192.0.2.11:6443) or V([2001:db8::11]:6443).
        type: list
        elements: str
        default: []
  proxy_mode:
    description:
      - The mode that kube-proxy must report. V(none) wants no kube-proxy to answer.
      - Without it the mode is returned but not judged.
    type: str
    choices: [ipvs, iptables, nftables, none]
  strict_arp:
    description: Whether C(arp_ignore=1) and C(arp_announce=2) are wanted.
    type: bool
    default: false
  proxy_mode_url:
    description: Where kube-proxy reports its mode. With the default its place in an IPv6 cluster, V(http://[::1]:10249/proxyMode), is asked too.
    type: str
    default: http://127.0.0.1:10249/proxyMode
  timeout:
    description: Seconds to wait for kube-proxy's answer.
    type: int
    default: 5
  wait_seconds:
    description: Seconds to ask again as long as something is not as expected.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: See whether kube-proxy serves the API server's address with both control planes
  baremetal.kubernetes.ipvs_status:
    proxy_mode: ipvs
    strict_arp: true
    expect:
      - address: 10.96.0.1
        port: 443
        destinations: ["192.0.2.11:6443", "192.0.2.12:6443"]
  register: ipvs
"""

RETURN = r"""
running:
  description: V(true) when the kernel has an IPVS table, null when that cannot be told.
  returned: success
  type: bool
  sample: true
reason:
  description: Why RV(running) is null.
  returned: success
  type: str
  sample: "/proc/net/ip_vs does not exist: the kernel module ip_vs is not loaded"
services:
  description: The virtual servers, as filter P(baremetal.kubernetes.parse_ipvsadm#filter) returns them.
  returned: success
  type: list
  elements: dict
  sample:
    - protocol: TCP
      address: 10.96.0.1
      port: 443
      scheduler: rr
      destinations:
        - {address: 192.0.2.11, port: 6443, forward: Masq, weight: 1, active: 3, inactive: 0}
errors:
  description: Lines of the table that cannot be read.
  returned: success
  type: list
  elements: str
  sample: []
sysctls:
  description: Values in C(net.ipv4.conf.all), null where one cannot be read.
  returned: success
  type: dict
  sample: {arp_ignore: 1, arp_announce: 2}
proxy_mode:
  description: What kube-proxy reports, or null.
  returned: success
  type: str
  sample: ipvs
proxy_mode_reason:
  description: Why RV(proxy_mode) is null.
  returned: success
  type: str
  sample: ""
missing:
  description: Virtual and real servers of O(expect) that are not there, or have weight 0.
  returned: success
  type: list
  elements: str
  sample: ["TCP 10.96.0.1:443 -> 192.0.2.12:6443"]
unexpected:
  description: Real servers behind a virtual server of O(expect) that are not expected.
  returned: success
  type: list
  elements: str
  sample: []
checks:
  description: One finding for each thing that was asked for.
  returned: success
  type: list
  elements: dict
  sample:
    - {id: kube_proxy_mode, status: pass, observed: ipvs, wanted: ipvs, fix: ""}
verdict:
  description: The worst of the findings, V(unknown) when nothing was asked for.
  returned: success
  type: str
  sample: pass
waited:
  description: Seconds until this result.
  returned: success
  type: float
  sample: 0.1
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _ipvs


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "expect": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "protocol": {"type": "str", "choices": list(_ipvs.PROTOCOLS), "default": "TCP"},
                    "destinations": {"type": "list", "elements": "str", "default": []},
                },
            },
            "proxy_mode": {"type": "str", "choices": ["ipvs", "iptables", "nftables", "none"]},
            "strict_arp": {"type": "bool", "default": False},
            "proxy_mode_url": {"type": "str", "default": _ipvs.PROXY_MODE_URL},
            "timeout": {"type": "int", "default": 5},
            "wait_seconds": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        # the values of expect are read before anything is waited for
        _ipvs.compare([], params["expect"])
        for service in params["expect"]:
            for server in service["destinations"]:
                _ipvs.split_address(server)
        result = _ipvs.wait_status(
            lambda: _ipvs.status(
                params["expect"], params["proxy_mode"], params["strict_arp"], params["timeout"], params["proxy_mode_url"]
            ),
            params["wait_seconds"],
        )
    except ValueError as error:
        module.fail_json(msg=f"The option expect cannot be used: {error}.")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
