#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_config
short_description: Bring files and units of a node to the wanted state in one round trip
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Writes files, makes directories and links, removes files, reloads systemd, and enables, starts, restarts and stops units, all in one call.
  - All new files are written next to the old ones and judged by their O(files[].validate) first; only when all are accepted is the first one
    replaced, by renaming, so that neither a refused file nor a killed run leaves something half written.
  - A unit is restarted when it runs and a file of O(units[].restart_when) was changed now or is newer than the start of the unit. So a restart that an
    earlier, killed run owed to the unit is made up for. A modification time in the future is not taken as a reason.
  - systemd reads its unit files again when one of them was changed or when it says itself that it needs to.
  - Missing parent directories of files and links are made with mode V(0755).
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
    details:
      - What an earlier task would have made (users, source files, validators, units of packages) may be missing in check mode.
      - Validators are run in check mode as well, on a copy in a temporary directory.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  files:
    description: Files with all their content.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where the file is to be. A link there is replaced by the file; what it points to is left alone.
        type: path
        required: true
      content:
        description: The whole content, written as it is. Either this or O(files[].source).
        type: str
      source:
        description: A file on the node to copy the content from.
        type: path
      mode:
        description: Permission bits as octal digits.
        type: str
        default: "0644"
      owner:
        description: Name or number of the owner. An existing file keeps its owner unless this is given.
        type: str
      group:
        description: Name or number of the group. An existing file keeps its group unless this is given.
        type: str
      validate:
        description:
          - Command and arguments that judge the new file; C(%s) stands for its temporary name. It must only read.
          - No shell is used.
        type: list
        elements: str
      optional:
        description: Leave the file alone when O(files[].source) does not exist, instead of failing.
        type: bool
        default: false
      secret:
        description: Never show the content, neither in a diff nor in a log nor in a message.
        type: bool
        default: false
  directories:
    description: Directories.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where the directory is to be. A link to a directory is accepted.
        type: path
        required: true
      mode:
        description: Permission bits as octal digits.
        type: str
        default: "0755"
      owner:
        description: Name or number of the owner.
        type: str
      group:
        description: Name or number of the group.
        type: str
  absent:
    description: Files, links and empty directories to remove.
    type: list
    elements: path
    default: []
  links:
    description: Symbolic links.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where the link is to be. A file there is replaced.
        type: path
        required: true
      target:
        description: What it is to point to; need not exist.
        type: str
        required: true
  units:
    description: systemd units, treated in this order after all files are in place.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name; without a suffix C(.service) is meant.
        type: str
        required: true
      enabled:
        description: Whether it starts at boot. Left alone when not given, and when the unit has nothing to enable.
        type: bool
      state:
        description:
          - V(started) starts it unless it runs, and waits until it is active. A oneshot unit that does not remain active counts as started when it has
            succeeded since boot.
          - V(stopped) stops it. Left alone when not given, apart from O(units[].restart_when).
        type: str
        choices: [started, stopped]
      restart_when:
        description: Files the unit reads only when it starts.
        type: list
        elements: path
        default: []
  wait_seconds:
    description: How long to wait for each unit that was started or restarted.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Configure and start containerd
  baremetal.kubernetes.node_config:
    files:
      - path: /etc/containerd/config.toml
        content: "{{ lookup('ansible.builtin.template', 'config.toml.j2') }}"
        validate: [containerd, --config, "%s", config, dump]
    units:
      - name: containerd.service
        enabled: true
        state: started
        restart_when: [/etc/containerd/config.toml]
"""

RETURN = r"""
changed_files:
  description: Paths that were written, changed in mode or owner, linked, made or removed.
  returned: always
  type: list
  elements: str
  sample: [/etc/containerd/config.toml]
daemon_reloaded:
  description: Whether systemd read its unit files again.
  returned: always
  type: bool
  sample: false
enabled:
  description: Units that were enabled.
  returned: always
  type: list
  elements: str
  sample: [containerd.service]
disabled:
  description: Units that were disabled.
  returned: always
  type: list
  elements: str
  sample: []
started:
  description: Units that were started.
  returned: always
  type: list
  elements: str
  sample: []
restarted:
  description: Units that were restarted.
  returned: always
  type: list
  elements: str
  sample: [containerd.service]
stopped:
  description: Units that were stopped.
  returned: always
  type: list
  elements: str
  sample: []
"""

from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils._node_config import Host, NodeConfig, NodeConfigError

FILE_OPTIONS: Dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "source": {"type": "path"},
    "mode": {"type": "str", "default": "0644"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "validate": {"type": "list", "elements": "str"},
    "optional": {"type": "bool", "default": False},
    "secret": {"type": "bool", "default": False, "no_log": False},
}
DIRECTORY_OPTIONS: Dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "mode": {"type": "str", "default": "0755"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
}
LINK_OPTIONS: Dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "target": {"type": "str", "required": True},
}
UNIT_OPTIONS: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "enabled": {"type": "bool"},
    "state": {"type": "str", "choices": ["started", "stopped"]},
    "restart_when": {"type": "list", "elements": "path", "default": []},
}


def shown_arguments(params: Dict[str, Any]) -> Dict[str, Any]:
    """Return the arguments without the content of any file, for the result's invocation."""
    files: List[Dict[str, Any]] = []
    for spec in params["files"]:
        content = spec.get("content")
        files.append(dict(spec, content=None if content is None else f"({len(content)} characters)"))
    return dict(params, files=files)


def main() -> None:
    """Wire options to NodeConfig."""
    module = AnsibleModule(
        argument_spec={
            # no_log keeps all content out of the system's log.
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "no_log": True,
                "options": FILE_OPTIONS,
                "mutually_exclusive": [("content", "source")],
                "required_one_of": [("content", "source")],
            },
            "directories": {"type": "list", "elements": "dict", "default": [], "options": DIRECTORY_OPTIONS},
            "absent": {"type": "list", "elements": "path", "default": []},
            "links": {"type": "list", "elements": "dict", "default": [], "options": LINK_OPTIONS},
            "units": {"type": "list", "elements": "dict", "default": [], "options": UNIT_OPTIONS},
            "wait_seconds": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    # It would also blank every path and every diff in the result: there only secret content is to be left out.
    module.no_log_values.clear()
    module.no_log_values.update(spec["content"] for spec in module.params["files"] if spec["secret"] and spec["content"])

    def relabel(path: str, final: str) -> None:
        if module.selinux_enabled():
            module.set_context_if_different(path, module.selinux_default_context(final), False)

    job = NodeConfig(
        Host(relabel=relabel),
        files=module.params["files"],
        directories=module.params["directories"],
        absent=module.params["absent"],
        links=module.params["links"],
        units=module.params["units"],
        check_mode=module.check_mode,
        with_diff=module._diff,
        wait_seconds=module.params["wait_seconds"],
        scratch=module.tmpdir,
    )
    invocation = {"module_args": shown_arguments(module.params)}
    try:
        result = job.apply()
    except NodeConfigError as error:
        module.fail_json(msg=str(error), invocation=invocation, **job.result)
    module.exit_json(invocation=invocation, **result)


if __name__ == "__main__":
    main()
