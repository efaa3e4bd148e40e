#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: build_step
short_description: Take one step of a long build, once for its inputs
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Runs a command that makes one file or directory, with everything it prints appended to a log file.
  - The command makes O(output) with C(.part) at its end; when it has ended well, that is renamed to O(output) and a record with
    O(key) and the content's sha256 is written next to it (C(.done)). A step with such a record is not taken again.
  - A step that was killed leaves no record, and what it left at C(.part) is removed before the command runs again.
  - Two runs never take the same step at once. The second one waits, and then finds it taken.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - The output is as large as builds make them; RV(reason) says why it is made.
  idempotent:
    support: full
options:
  name:
    description: What the step is called in messages and in the log.
    type: str
    required: true
  key:
    description: Digest of everything the output depends on. Another key is another step.
    type: str
    required: true
  output:
    description: File or directory that the step makes.
    type: path
    required: true
  argv:
    description: Command and arguments. No shell is involved.
    type: list
    elements: str
    required: true
  environment:
    description: Variables that are added to the environment of the command.
    type: dict
    default: {}
  log:
    description: File to which the output of the command is appended.
    type: path
    required: true
  verify:
    description: Compare the sha256 of the output with the recorded one before the step counts as taken.
    type: bool
    default: true
  wait_seconds:
    description: How long to wait for another run that is at the same step.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: Unpack the source
  baremetal.kubernetes.build_step:
    name: source
    key: "{{ [source_version, unpack_script] | join | hash('sha256') }}"
    output: /var/cache/build/source
    argv: [sh, unpack.sh, /var/cache/build/source.part]
    log: /var/cache/build/logs/source.log
    verify: false
"""

RETURN = r"""
reason:
  description: Why the step was taken, empty if it was not.
  returned: success
  type: str
  sample: /var/cache/build/source was made from other inputs
seconds:
  description: How long the command took.
  returned: success
  type: float
  sample: 47.2
max_rss_bytes:
  description: Memory of the largest process of the command.
  returned: when the step was taken
  type: int
  sample: 1468006400
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils._build_step import BuildStepError, Step, missing, take


def build_step(module: AnsibleModule) -> dict:
    """Take the step, or say whether it would be."""
    params = module.params
    step = Step(params["name"], params["key"], params["output"], params["verify"])
    if module.check_mode:
        reason = missing(step)
        return {"changed": bool(reason), "reason": reason, "seconds": 0.0}
    environment = {str(name): str(value) for name, value in params["environment"].items()}
    return take(step, params["argv"], params["log"], environment, wait_seconds=params["wait_seconds"])


def main() -> None:
    """Wire options to build_step."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "key": {"type": "str", "required": True, "no_log": False},
            "output": {"type": "path", "required": True},
            "argv": {"type": "list", "elements": "str", "required": True},
            "environment": {"type": "dict", "default": {}},
            "log": {"type": "path", "required": True},
            "verify": {"type": "bool", "default": True},
            "wait_seconds": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**build_step(module))
    except BuildStepError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"The step {module.params['name']} cannot be taken: {error}.")


if __name__ == "__main__":
    main()
