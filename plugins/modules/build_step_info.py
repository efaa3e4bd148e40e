#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: build_step_info
short_description: Say which steps of a long build are still to be taken
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Looks at the records that M(baremetal.kubernetes.build_step) leaves, so that what only unfinished steps need is not made for nothing.
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
  steps:
    description: The steps, as M(baremetal.kubernetes.build_step) is given them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the step.
        type: str
        required: true
      key:
        description: Digest of everything the output depends on.
        type: str
        required: true
      output:
        description: File or directory that the step makes.
        type: path
        required: true
      verify:
        description: Compare the sha256 of the output with the recorded one.
        type: bool
        default: true
"""

EXAMPLES = r"""
- name: Look which programs are built
  baremetal.kubernetes.build_step_info:
    steps:
      - name: kubelet
        key: 0c2e402c6b6ce63f
        output: /var/cache/build/kubelet
  register: __built
"""

RETURN = r"""
missing:
  description: Names of the steps that are still to be taken, in the order given.
  returned: success
  type: list
  elements: str
  sample: [kubelet]
reasons:
  description: Why, by name.
  returned: success
  type: dict
  sample:
    kubelet: /var/cache/build/kubelet was not made yet
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils._build_step import Step, missing


def main() -> None:
    """Wire options to the steps' records."""
    module = AnsibleModule(
        argument_spec={
            "steps": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "key": {"type": "str", "required": True, "no_log": False},
                    "output": {"type": "path", "required": True},
                    "verify": {"type": "bool", "default": True},
                },
            }
        },
        supports_check_mode=True,
    )
    reasons = {}
    for entry in module.params["steps"]:
        reason = missing(Step(entry["name"], entry["key"], entry["output"], entry["verify"]))
        if reason:
            reasons[entry["name"]] = reason
    module.exit_json(changed=False, missing=list(reasons), reasons=reasons)


if __name__ == "__main__":
    main()
