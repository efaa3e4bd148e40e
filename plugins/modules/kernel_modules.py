#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_modules
short_description: Load a list of kernel modules now and at every boot
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Loads all modules of a list and writes them into one file of modules-load.d(5), in one round trip.
  - Knows modules that are built into the kernel, names written with C(-) or C(_), aliases, and modules that were merged into another one
    (V(nf_conntrack_ipv4) into V(nf_conntrack)), which is tried and not guessed from the version of the kernel.
  - Where a module cannot be had it says why and what to do, be it a package that is missing, a kernel that was updated without a reboot,
    a line in modprobe.d(5), or a container. A module that is loaded now but would not be after the next boot is an error too.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows the file and, separately, the modules that are loaded.
  idempotent:
    support: full
options:
  modules:
    description: The modules.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the module.
        type: str
        required: true
      optional:
        description: A module that cannot be had is a warning and left out of the file, because a name that cannot be loaded would fail at every boot.
        type: bool
        default: false
      comment:
        description: The reason; written as comment lines above the name.
        type: str
        default: ""
  path:
    description: The file for the next boot. It belongs to this module as a whole.
    type: path
    default: /etc/modules-load.d/99-kubernetes.conf
seealso:
  - module: baremetal.kubernetes.sysctl_dropin
  - module: community.general.modprobe
"""

EXAMPLES = r"""
- name: Load what kube-proxy needs in IPVS mode
  baremetal.kubernetes.kernel_modules:
    modules:
      - name: nf_conntrack
        comment: Connection tracking.
      - name: ip_vs
      - name: ip_vs_rr
      - name: vxlan
        optional: true
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /etc/modules-load.d/99-kubernetes.conf
file_changed:
  description: Whether the file was written, or would be.
  returned: success
  type: bool
  sample: true
loaded:
  description: Modules that were loaded by this call, or would be.
  returned: success
  type: list
  elements: str
  sample: [br_netfilter]
missing:
  description: Optional modules that cannot be had.
  returned: success
  type: list
  elements: str
  sample: []
kernel:
  description: Release of the running kernel.
  returned: success
  type: str
  sample: 6.1.0-41-amd64
modules:
  description:
    - Per module its C(state) and the modules that provide it. V(loaded), V(builtin), V(merged) into another module, V(alias) of others, or V(missing).
  returned: success
  type: list
  elements: dict
  sample:
    - name: nf_conntrack_ipv4
      state: merged
      provided_by: [nf_conntrack]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kernel_modules import (
    KernelModules,
    KernelModulesError,
    Machine,
    make_wanted,
)


def main() -> None:
    """Wire options to KernelModules."""
    module = AnsibleModule(
        argument_spec={
            "modules": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "optional": {"type": "bool", "default": False},
                    "comment": {"type": "str", "default": ""},
                },
            },
            "path": {"type": "path", "default": "/etc/modules-load.d/99-kubernetes.conf"},
        },
        supports_check_mode=True,
    )
    try:
        wanted = make_wanted(module.params["modules"])
        modules = KernelModules(Machine(run_command), wanted, module.params["path"])
        result = modules.run(module.check_mode)
    except (KernelModulesError, OSError) as error:
        module.fail_json(msg=f"Kernel modules: {error}")
    for warning in modules.warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
