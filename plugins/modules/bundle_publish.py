#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_publish
short_description: Make an offline bundle of built programs and image archives appear
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Copies the programs next to the image archives that are already in O(staging), writes C(manifest.json) with every sha256,
    and renames O(staging) to O(path). A bundle that is there is replaced, so whoever finds O(path) finds a whole bundle.
  - Files in O(staging) that are not listed are removed.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - The manifest holds the digests of what was just built.
  idempotent:
    support: full
    details:
      - Without O(staging) and with an intact bundle at O(path) nothing is changed.
options:
  staging:
    description: Directory in which the bundle is put together, on the same file system as O(path).
    type: path
    required: true
  path:
    description: Directory of the bundle.
    type: path
    required: true
  kubernetes:
    description: Version of Kubernetes with its leading V(v).
    type: str
    required: true
  architecture:
    description: Architecture of all programs and images.
    type: str
    default: amd64
  binaries:
    description: Programs for the node.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the program.
        type: str
        required: true
      source:
        description: The built program.
        type: path
        required: true
      version:
        description: Its version.
        type: str
        required: true
  images:
    description: Image archives in O(staging).
    type: list
    elements: dict
    required: true
    suboptions:
      reference:
        description: Full name of the image.
        type: str
        required: true
      path:
        description: The archive's path below O(staging).
        type: str
        required: true
  sources:
    description: Packages that the bundle was made from.
    type: list
    elements: dict
    default: []
    suboptions:
      package:
        description: Name of the package.
        type: str
        required: true
      version:
        description: Its version.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Publish the bundle
  baremetal.kubernetes.bundle_publish:
    staging: /var/cache/build/bundle
    path: /var/cache/bundle
    kubernetes: v1.20.2
    binaries:
      - name: kubelet
        source: /var/cache/build/kubelet
        version: v1.20.2
      - name: kubeadm
        source: /var/cache/build/kubeadm
        version: v1.20.2
      - name: kubectl
        source: /var/cache/build/kubectl
        version: v1.20.2
    images:
      - reference: k8s.gcr.io/pause:3.2
        path: images/pause.tar
    sources:
      - package: kubernetes
        version: 1.20.5+really1.20.2-1.1+deb12u1
"""

RETURN = r"""
bytes:
  description: Size of the programs and images.
  returned: success
  type: int
  sample: 605938688
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils._bundle import BundleError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._bundle_build import Archive, Program, publish


def main() -> None:
    """Wire options to publish."""
    module = AnsibleModule(
        argument_spec={
            "staging": {"type": "path", "required": True},
            "path": {"type": "path", "required": True},
            "kubernetes": {"type": "str", "required": True},
            "architecture": {"type": "str", "default": "amd64"},
            "binaries": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "source": {"type": "path", "required": True},
                    "version": {"type": "str", "required": True},
                },
            },
            "images": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {"reference": {"type": "str", "required": True}, "path": {"type": "str", "required": True}},
            },
            "sources": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"package": {"type": "str", "required": True}, "version": {"type": "str", "required": True}},
            },
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = publish(
            params["staging"],
            params["path"],
            params["kubernetes"],
            params["architecture"],
            [Program(**entry) for entry in params["binaries"]],
            [Archive(**entry) for entry in params["images"]],
            params["sources"],
            module.check_mode,
        )
    except BundleError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
