#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_install
short_description: Install Kubernetes from an offline bundle that is on the node
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Reads C(manifest.json) of a bundle, installs its binaries into a directory and imports its container images into containerd, in one round trip.
  - A binary is hashed while it is copied and put in place by a rename. All of them are verified before the first one is put in place.
  - An image is imported when containerd does not have its reference. Its file is hashed first; when one is corrupt, it is named and nothing is installed.
  - What was installed is remembered with size, times and mode in O(stamp), so that a run with nothing to do hashes nothing and yet finds a
    binary that was deleted, cut short, exchanged or edited.
  - Tells in the same round trip whether the node is a member of a cluster and which programs of the distribution it lacks.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
    details:
      - Verifies what it would install. Where containerd does not run yet, all images count as missing and a warning says so.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description: Directory of the bundle on the node, the one that holds C(manifest.json).
    type: path
    required: true
  bin_dir:
    description: Directory for the binaries.
    type: path
    default: /usr/local/bin
  version:
    description:
      - Wanted version of Kubernetes, with or without C(v). A bundle of another version is refused.
      - When not set, the bundle decides.
    type: str
  import_images:
    description: Whether the images are imported as well.
    type: bool
    default: true
  images:
    description: References or shell patterns of the images to import. All of the bundle when empty.
    type: list
    elements: str
    default: []
  namespace:
    description: containerd's namespace for the images; the kubelet uses V(k8s.io).
    type: str
    default: k8s.io
  address:
    description: Socket of containerd, with or without C(unix://).
    type: str
    default: /run/containerd/containerd.sock
  verify:
    description:
      - V(quick) trusts a binary whose size, times and mode are those remembered when it was last hashed.
      - V(full) hashes every installed binary again.
    type: str
    choices: [quick, full]
    default: quick
  stamp:
    description: File that remembers what was installed.
    type: path
    default: /usr/local/share/kubernetes-bundle.json
  member_file:
    description:
      - While this file exists, the node is a member of a cluster, and its kubelet is not exchanged for one of another version.
      - An empty text switches that off.
    type: str
    default: /etc/kubernetes/kubelet.conf
  programs:
    description: Programs by name or absolute path that do not come with the bundle. Those that are absent are returned.
    type: list
    elements: str
    default: []
notes:
  - Memory stays below 50 MiB, whatever the size of the bundle.
seealso:
  - module: baremetal.kubernetes.node_config
"""

EXAMPLES = r"""
- name: Install Kubernetes from the bundle
  baremetal.kubernetes.bundle_install:
    path: /opt/kubernetes-bundle
    version: 1.36.4

- name: Only what a worker runs, every installed binary hashed again
  baremetal.kubernetes.bundle_install:
    path: /opt/kubernetes-bundle
    images: ["*/kube-proxy:*", "*/pause:*"]
    verify: full
"""

RETURN = r"""
kubernetes:
  description: Version of Kubernetes in the bundle.
  returned: success
  type: str
  sample: v1.36.4
member:
  description: Whether the node is a member of a cluster.
  returned: success
  type: bool
  sample: false
binaries:
  description: Every binary of the bundle.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: success
    path:
      description: Where it is installed.
      type: str
      returned: success
    version:
      description: Its version.
      type: str
      returned: success
    changed:
      description: Whether it was, or in check mode would be, installed or mended.
      type: bool
      returned: success
  sample:
    - name: kubelet
      path: /usr/local/bin/kubelet
      version: v1.36.4
      changed: true
images:
  description: Every image asked for. C(seconds) and C(bytes) are there for an imported one.
  returned: success
  type: list
  elements: dict
  contains:
    ref:
      description: Reference.
      type: str
      returned: success
    state:
      description: V(present), V(imported), or in check mode V(missing).
      type: str
      returned: success
    bytes:
      description: Size of the file that was imported.
      type: int
      returned: state is imported
    seconds:
      description: How long the import took.
      type: float
      returned: state is imported
  sample:
    - ref: registry.k8s.io/pause:3.10.2
      state: imported
      bytes: 749056
      seconds: 0.4
missing_programs:
  description: Those of O(programs) that the node does not have.
  returned: success
  type: list
  elements: str
  sample: [conntrack]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils._bundle import BundleError, Installer, Options
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import Runner, run_command


def options_from(params: t.Mapping[str, t.Any]) -> Options:
    """The module's options as the installer takes them."""
    address = params["address"]
    return Options(
        path=params["path"],
        bin_dir=params["bin_dir"],
        version=params["version"] or "",
        import_images=params["import_images"],
        images=tuple(params["images"]),
        namespace=params["namespace"],
        address=address[len("unix://") :] if address.startswith("unix://") else address,
        verify=params["verify"],
        stamp=params["stamp"],
        member_file=params["member_file"],
        programs=tuple(params["programs"]),
    )


def main(run: Runner = run_command) -> None:
    """Wire options to the installer."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "bin_dir": {"type": "path", "default": "/usr/local/bin"},
            "version": {"type": "str"},
            "import_images": {"type": "bool", "default": True},
            "images": {"type": "list", "elements": "str", "default": []},
            "namespace": {"type": "str", "default": "k8s.io"},
            "address": {"type": "str", "default": "/run/containerd/containerd.sock"},
            "verify": {"type": "str", "choices": ["quick", "full"], "default": "quick"},
            "stamp": {"type": "path", "default": "/usr/local/share/kubernetes-bundle.json"},
            "member_file": {"type": "str", "default": "/etc/kubernetes/kubelet.conf"},
            "programs": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    installer = Installer(options_from(module.params), run, check_mode=module.check_mode)
    try:
        result = installer()
    except (BundleError, OSError) as error:
        module.fail_json(msg=str(error))
    for warning in installer.warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
