#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_check
short_description: Compare every file of an offline bundle with its manifest
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Reads the bundle's C(manifest.json) and the sha256 of every program and image it lists. Changes nothing.
  - A damaged file is named in a warning. Whether that is an error is for the play to say.
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
  path:
    description: Directory of the bundle.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Look whether the bundle is whole
  baremetal.kubernetes.bundle_check:
    path: /opt/kubernetes-bundle
  register: __bundle
"""

RETURN = r"""
state:
  description: V(intact), V(damaged), or V(absent) when there is no manifest.
  returned: success
  type: str
  sample: intact
problems:
  description: One sentence for each file that is not as listed.
  returned: success
  type: list
  elements: str
  sample: []
files:
  description: The files that are not as listed.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils._bundle_build import check


def main() -> None:
    """Wire options to check."""
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    result = check(module.params["path"])
    for problem in result["problems"]:
        module.warn(problem)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
