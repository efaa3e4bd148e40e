#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_driver
short_description: Decide between KVM and software emulation by booting a kernel
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - A KVM device can be there, open, and still not boot an ordinary kernel, for instance inside a virtual machine.
    Therefore a kernel is really booted under KVM until it panics because it has no disk, which takes a few seconds where KVM works.
  - The verdict is kept for as long as this machine runs without a reboot.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
    details:
      - The test boot is made in check mode too, it changes nothing but the file with the verdict.
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  kernels:
    description: Kernels to try; the first that can be read is booted.
    type: list
    elements: path
    required: true
  cache_file:
    description: Where to keep the verdict. Nothing is kept without it.
    type: path
  device:
    description: KVM's device.
    type: path
    default: /dev/kvm
  seconds:
    description: Time the kernel has to come through.
    type: float
    default: 20
"""

EXAMPLES = r"""
- name: Decide how machines are run
  baremetal.kubernetes.lab_driver:
    kernels:
      - /var/cache/lab/vmlinuz
    cache_file: /var/cache/lab/driver.json
  register: __lab_host_driver
"""

RETURN = r"""
driver:
  description: Libvirt's domain type, V(kvm) or V(qemu).
  returned: success
  type: str
  sample: qemu
reason:
  description: Why, in one sentence.
  returned: success
  type: str
  sample: "KVM does not boot a stock kernel: after 20 seconds the console's last line was 'Booting from ROM..'."
cached:
  description: Whether the verdict is that of an earlier call.
  returned: success
  type: bool
  sample: false
seconds:
  description: How long the test boot took.
  returned: success
  type: float
  sample: 2.4
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils._lab import LabError, decide


def main() -> None:
    """Wire options to decide."""
    module = AnsibleModule(
        argument_spec={
            "kernels": {"type": "list", "elements": "path", "required": True},
            "cache_file": {"type": "path"},
            "device": {"type": "path", "default": "/dev/kvm"},
            "seconds": {"type": "float", "default": 20},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            boot_id = stream.read().strip()
        verdict = decide(parameters["device"], parameters["kernels"], parameters["seconds"], parameters["cache_file"], boot_id)
    except (LabError, OSError) as error:
        module.fail_json(msg=f"Cannot try KVM. {error}")
    module.exit_json(changed=False, driver=verdict.driver, reason=verdict.reason, cached=verdict.cached, seconds=verdict.seconds)


if __name__ == "__main__":
    main()
