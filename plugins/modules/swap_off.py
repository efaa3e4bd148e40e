#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swap_off
short_description: Turn swap off, now and at every boot
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Comments out the swap lines of C(/etc/fstab) and keeps a copy of the old file beside it.
  - Masks the swap units that a generator or a package brings (zram-generator, swap partitions found by systemd, zramswap, dphys-swapfile)
    and disables those an administrator wrote.
  - Then turns off what is on, and looks whether it stays off. No swap file and no partition is removed or overwritten.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: baremetal.kubernetes.node_state
"""

EXAMPLES = r"""
- name: Turn swap off for the kubelet
  baremetal.kubernetes.swap_off:
"""

RETURN = r"""
swapped_off:
  description: Devices and files that were in use as swap.
  returned: success
  type: list
  elements: str
  sample: [/dev/sda2, /swapfile]
masked:
  description: Units that would bring swap back, and were masked or disabled.
  returned: success
  type: list
  elements: str
  sample: [dev-zram0.swap]
backup:
  description: Copy of the old C(/etc/fstab), V(null) when it was not changed.
  returned: success
  type: str
  sample: /etc/fstab.20261121T034012Z.bak
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command
from ansible_collections.baremetal.kubernetes.plugins.module_utils._swap import Swap, SwapError


def main() -> None:
    """Wire options to Swap."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        result = Swap(run_command).off(module.check_mode)
    except (SwapError, OSError) as error:
        module.fail_json(msg=f"Swap: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
