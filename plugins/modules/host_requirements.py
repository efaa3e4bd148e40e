#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_requirements
short_description: Refuse early when a machine has too little disk or memory or lacks a command
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Looks at free disk space, available memory, commands and the user, and fails with one sentence for each thing that is missing.
  - Changes nothing.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
    details:
      - In check mode missing commands are a warning, because the task that would have installed them did not.
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  purpose:
    description: What needs all this, the subject of the sentences.
    type: str
    required: true
  disk:
    description: Free space that is needed.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: A directory on the file system; it need not exist yet.
        type: path
        required: true
      mib:
        description: Space in MiB.
        type: int
        required: true
  memory_mib:
    description: Memory in MiB that has to be available; V(0) asks for none.
    type: int
    default: 0
  commands:
    description: Commands that have to be there.
    type: list
    elements: str
    default: []
  root:
    description: Has the user to be root.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse before the build begins
  baremetal.kubernetes.host_requirements:
    purpose: The build of the offline bundle
    disk:
      - path: /root/.cache
        mib: 6000
    memory_mib: 3000
    commands: [mmdebstrap, unshare]
    root: true
"""

RETURN = r"""
memory_available_mib:
  description: Available memory.
  returned: success
  type: int
  sample: 20480
disk_free_mib:
  description: Free space by path.
  returned: success
  type: dict
  sample:
    /root/.cache: 78000
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils._host_requirements import (
    MIB,
    HostRequirementsError,
    disk_free,
    memory_available,
    problems,
)


def main() -> None:
    """Wire options to problems."""
    module = AnsibleModule(
        argument_spec={
            "purpose": {"type": "str", "required": True},
            "disk": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"path": {"type": "path", "required": True}, "mib": {"type": "int", "required": True}},
            },
            "memory_mib": {"type": "int", "default": 0},
            "commands": {"type": "list", "elements": "str", "default": []},
            "root": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    disk = [(entry["path"], entry["mib"]) for entry in params["disk"]]
    commands = params["commands"]
    try:
        found = problems(params["purpose"], disk, params["memory_mib"], [] if module.check_mode else commands, params["root"], os.geteuid())
        if found:
            module.fail_json(msg=" ".join(found), problems=found)
        if module.check_mode:
            for problem in problems(params["purpose"], [], 0, commands, False, 0):
                module.warn(problem)
        free = {path: disk_free(path) // MIB for path, dummy in disk}
        module.exit_json(changed=False, memory_available_mib=memory_available() // MIB, disk_free_mib=free)
    except (HostRequirementsError, OSError) as error:
        module.fail_json(msg=f"The machine cannot be checked. {error}")


if __name__ == "__main__":
    main()
