#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_archive
short_description: Write a container image as a docker-archive without any container tool
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Writes one image with one name to a tar that C(ctr images import), C(docker load) and C(podman load) take.
  - The same content always gives the same file, byte for byte. Members are sorted, owned by number and without times.
  - A file that is already the one that would be written is not touched. A new one is put in place in one step.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - Only digests could be shown; RV(sha256) is returned.
  idempotent:
    support: full
options:
  path:
    description: The archive to write. Its directory has to be there.
    type: path
    required: true
  reference:
    description: Full name of the image with registry and tag.
    type: str
    required: true
  architecture:
    description: Architecture as container runtimes call it.
    type: str
    default: amd64
  layers:
    description: The layers from the lowest one up.
    type: list
    elements: dict
    required: true
    suboptions:
      tar:
        description: A tar whose members the layer holds, such as a root file system. Device nodes in it are left out.
        type: path
      exclude:
        description: Paths inside the tar that are left out with all that is below them; with a slash at its end the directory itself stays.
        type: list
        elements: str
        default: []
      files:
        description: Single files that are put into the layer, over those of the tar.
        type: list
        elements: dict
        default: []
        suboptions:
          source:
            description: The file on the machine.
            type: path
            required: true
          path:
            description: Its place in the image.
            type: str
            required: true
          mode:
            description: Its permissions.
            type: str
            default: "0755"
  entrypoint:
    description: Program the container starts with.
    type: list
    elements: str
    default: []
  command:
    description: Arguments, or the program if there is no entrypoint.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Write the pause image
  baremetal.kubernetes.image_archive:
    path: /var/cache/bundle/images/pause.tar
    reference: registry.k8s.io/pause:3.10
    layers:
      - files:
          - source: /var/cache/build/pause
            path: /pause
    entrypoint: [/pause]
"""

RETURN = r"""
sha256:
  description: Digest of the archive; empty in check mode as long as its directory or what it is made of is not there.
  returned: success
  type: str
  sample: 8d023e6935d2e1fa507066764426caa316b3e81d5cd85878a21b446b27cceef2
image_id:
  description: Digest of the image's configuration, the image's id in every runtime.
  returned: success
  type: str
  sample: 6f55391518931f6126a35fa3d514038396a04f865570eebb4c4f33afc8f9c082
"""

import fcntl
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils._image_archive import File, Image, ImageArchiveError, Layer, ensure_image


def image_archive(module: AnsibleModule) -> dict:
    """Make the image of the options."""
    params = module.params
    layers = []
    for layer in params["layers"]:
        files = []
        for entry in layer["files"]:
            try:
                mode = int(entry["mode"], 8)
            except ValueError:
                raise ImageArchiveError(f"mode of {entry['path']} is {entry['mode']!r}; an octal number such as 0755 is wanted.") from None
            files.append(File(entry["source"], entry["path"], mode))
        layers.append(Layer(layer["tar"] or "", tuple(files), tuple(layer["exclude"])))
    if module.check_mode and not os.path.isdir(os.path.dirname(params["path"])):
        # The task that would have made the directory did not.
        return {"changed": True, "sha256": "", "image_id": ""}
    image = Image(params["reference"], params["architecture"], tuple(layers), tuple(params["entrypoint"]), tuple(params["command"]))
    folder = os.open(os.path.dirname(params["path"]), os.O_RDONLY)
    try:
        # Two runs would write to the same unfinished file. The lock goes with the run that holds it.
        fcntl.flock(folder, fcntl.LOCK_EX)
        result = ensure_image(params["path"], image, module.check_mode)
    finally:
        os.close(folder)
    return {"changed": result["changed"], "sha256": result["sha256"], "image_id": result["image_id"]}


def main() -> None:
    """Wire options to image_archive."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "reference": {"type": "str", "required": True},
            "architecture": {"type": "str", "default": "amd64"},
            "layers": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "tar": {"type": "path"},
                    "exclude": {"type": "list", "elements": "str", "default": []},
                    "files": {
                        "type": "list",
                        "elements": "dict",
                        "default": [],
                        "options": {
                            "source": {"type": "path", "required": True},
                            "path": {"type": "str", "required": True},
                            "mode": {"type": "str", "default": "0755"},
                        },
                    },
                },
            },
            "entrypoint": {"type": "list", "elements": "str", "default": []},
            "command": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**image_archive(module))
    except ImageArchiveError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{module.params['path']} cannot be written: {error}.")


if __name__ == "__main__":
    main()
