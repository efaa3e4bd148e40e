#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_check
short_description: Tell whether this machine can carry the lab
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Compares operating system, architecture, free memory and free disk with what the lab's machines need.
  - Memory and disk that the lab itself already holds count as free.
  - Changes nothing.
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
  cache_dir:
    description: Where the lab keeps everything. It need not exist yet.
    type: path
    required: true
  memory_mib:
    description: Memory of all the lab's machines together, in MiB.
    type: int
    required: true
  disk_gib:
    description: Disk that the lab needs with all it builds, in GiB.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Look at this machine
  baremetal.kubernetes.lab_check:
    cache_dir: ~/.cache/baremetal-kubernetes
    memory_mib: 4608
    disk_gib: 20
  register: __lab_host_check
"""

RETURN = r"""
problems:
  description: One sentence for each thing that is missing, with what to do.
  returned: success
  type: list
  elements: str
  sample:
    - "2048 MiB of memory are free for the lab, and its machines need 4608 MiB: end other programs."
memory_bytes:
  description: Memory that the lab can have.
  returned: success
  type: int
  sample: 24159191040
disk_bytes:
  description: Disk that the lab can have.
  returned: success
  type: int
  sample: 83751862272
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils._lab import LabError, host_problems, host_state


def main() -> None:
    """Wire options to host_problems."""
    module = AnsibleModule(
        argument_spec={
            "cache_dir": {"type": "path", "required": True},
            "memory_mib": {"type": "int", "required": True},
            "disk_gib": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    try:
        state = host_state(parameters["cache_dir"])
        problems = host_problems(state, parameters["cache_dir"], parameters["memory_mib"], parameters["disk_gib"])
    except (LabError, OSError) as error:
        module.fail_json(msg=f"Cannot look at this machine. {error}")
    module.exit_json(changed=False, problems=problems, memory_bytes=state.memory_bytes, disk_bytes=state.disk_bytes)


if __name__ == "__main__":
    main()
