#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sysctl_dropin
short_description: Own one sysctl.d file, apply what differs, prove the effective values
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Writes one file below C(/etc/sysctl.d) with a whole list of settings, sets only those the kernel does not have yet, and reads every value back.
  - Follows the order in which C(systemd-sysctl) reads its files at boot. A file that is read later and takes a key away is named with its line.
  - Compares as the kernel does, so that tabs, and the order of ports in C(net.ipv4.ip_local_reserved_ports), are no difference.
  - Nothing is changed when a setting cannot work; all problems are told at once.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
    details:
      - A key whose kernel module is not loaded yet is V(pending) and no error, so that check mode works on a fresh machine.
  diff_mode:
    support: full
    details:
      - Shows the file and, separately, the values in C(/proc/sys).
  idempotent:
    support: full
options:
  path:
    description:
      - The file. It belongs to this module as a whole; what else stands in it is lost. Without any setting that is present it is removed.
    type: path
    default: /etc/sysctl.d/99-k8s-network.conf
  settings:
    description: The settings, in the order in which they are applied and written.
    type: list
    elements: dict
    required: true
    suboptions:
      key:
        description:
          - Name of the sysctl. The first separator decides which one separates, as in sysctl.d(5). V(net.ipv4.conf.eth0/100.rp_filter) and
            V(net/ipv4/conf/eth0.100/rp_filter) are the same key.
        type: str
        required: true
      value:
        description: The value. Needed unless O(settings[].state=absent).
        type: raw
      comment:
        description: The reason; written as comment lines above the key.
        type: str
        default: ""
      min_only:
        description:
          - Raise the value, which has to be one number, but never lower it. A kernel that has more by itself keeps it, and the file only
            mentions the key.
          - A line that stands in the file already stays there, because the value may come from it.
        type: bool
        default: false
      optional:
        description: A key this kernel does not have is no error. Its line then begins with C(-), so that boot does not mind either.
        type: bool
        default: false
      module:
        description: Kernel module that makes the key, for the message. Known for the usual ones.
        type: str
        default: ""
      state:
        description:
          - V(absent) leaves the key out of the file. The kernel keeps the present value until the next boot, as it has no memory of its default.
        type: str
        choices: [present, absent]
        default: present
  on_override:
    description: What to do when another file wins over one of the keys at the next boot.
    type: str
    choices: [fail, warn]
    default: fail
seealso:
  - module: baremetal.kubernetes.kernel_modules
  - module: ansible.posix.sysctl
"""

EXAMPLES = r"""
- name: Forward packets, and give the kernel enough file handles
  baremetal.kubernetes.sysctl_dropin:
    path: /etc/sysctl.d/99-k8s-network.conf
    settings:
      - key: net.ipv4.ip_forward
        value: 1
        comment: Pods reach other nodes through this one.
      - key: fs.file-max
        value: 2097152
        min_only: true
      - key: net.ipv4.conf.eth0/100.rp_filter
        value: 2
      - key: net.ipv4.tcp_syncookies
        state: absent
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /etc/sysctl.d/99-k8s-network.conf
file_changed:
  description: Whether the file was written, or would be.
  returned: success
  type: bool
  sample: true
applied:
  description: Keys that were set, or would be.
  returned: success
  type: list
  elements: str
  sample: [net.ipv4.ip_forward]
pending:
  description: Only in check mode, keys whose kernel module is not loaded yet.
  returned: success
  type: list
  elements: str
  sample: [net.bridge.bridge-nf-call-iptables]
higher:
  description: Keys with C(min_only) of which the kernel has more than wanted, which stays.
  returned: success
  type: list
  elements: str
  sample: [fs.file-max]
missing:
  description: Optional keys this kernel does not have.
  returned: success
  type: list
  elements: str
  sample: []
overridden:
  description: With O(on_override=warn), the keys another file wins at the next boot.
  returned: success
  type: list
  elements: dict
  sample:
    - key: net.ipv4.ip_forward
      wanted: "1"
      value: "0"
      source: /etc/sysctl.d/99-sysctl.conf:28 (a link to /etc/sysctl.conf)
replaced:
  description: Assignments in files that are read earlier, over which this file wins.
  returned: success
  type: list
  elements: dict
  sample:
    - key: net.ipv4.conf.default.rp_filter
      value: "2"
      source: /usr/lib/sysctl.d/50-default.conf:23
settings:
  description: Per key the wanted value and what the kernel had and has. C(state) is V(same), V(applied), V(higher), V(pending) or V(missing).
  returned: success
  type: list
  elements: dict
  sample:
    - key: net.ipv4.ip_forward
      wanted: "1"
      before: "0"
      after: "1"
      state: applied
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils._sysctl import Dropin, Kernel, SysctlError, make_settings


def main() -> None:
    """Wire options to Dropin."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/sysctl.d/99-k8s-network.conf"},
            "settings": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "key": {"type": "str", "required": True, "no_log": False},
                    "value": {"type": "raw"},
                    "comment": {"type": "str", "default": ""},
                    "min_only": {"type": "bool", "default": False},
                    "optional": {"type": "bool", "default": False},
                    "module": {"type": "str", "default": ""},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "on_override": {"type": "str", "choices": ["fail", "warn"], "default": "fail"},
        },
        supports_check_mode=True,
    )
    try:
        dropin = Dropin(Kernel(), module.params["path"], make_settings(module.params["settings"]))
        result = dropin.run(module.check_mode, module.params["on_override"])
    except (SysctlError, OSError) as error:
        module.fail_json(msg=f"Kernel settings: {error}")
    for warning in dropin.warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
