#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_binary
short_description: Have exactly the pinned Helm on this host
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Fetches the archive of a Helm release, compares it with its checksum before anything of it is unpacked, and puts the program
    in its place in one step.
  - The program is compared to the last byte in every run.
  - Tells what else M(kubernetes.core.helm) needs on this host.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - What is changed is a program.
  idempotent:
    support: full
options:
  version:
    description: Version of Helm.
    type: str
    required: true
  checksums:
    description: The sha256 of the archive by architecture, C(amd64), C(arm64) and so on. Needed without O(bundle).
    type: dict
    default: {}
  url:
    description: The folder of the archives. They are called C(helm-vVERSION-linux-ARCHITECTURE.tar.gz).
    type: str
    default: https://get.helm.sh
  bundle:
    description: Folder of an offline bundle. Helm is taken from there, as the bundle's manifest describes it, and nothing is fetched.
    type: path
  path:
    description: Where the program is.
    type: path
    default: /usr/local/bin/helm
  stamp:
    description: The file that remembers the archive the program came out of. Not needed with O(bundle).
    type: path
    default: /usr/local/share/kubernetes-helm.json
  kubeconfig:
    description: The kubeconfig that Helm will use. It is only looked whether there is one.
    type: path
    default: /etc/kubernetes/admin.conf
"""

EXAMPLES = r"""
- name: Have Helm
  baremetal.kubernetes.helm_binary:
    version: 3.21.4
    checksums:
      amd64: 61f88ab166748cb19604d7884cb100ae9ccb13804ddeb98e08af167eacbb6a14
"""

RETURN = r"""
ready:
  description: Whether a release can be installed from this host now. In check mode the program may be missing.
  returned: success
  type: bool
  sample: true
packages:
  description: Packages to install, because Python cannot import C(yaml) here.
  returned: success
  type: list
  elements: str
  sample: [python3-yaml]
source:
  description: Where the program comes from.
  returned: success
  type: str
  sample: https://get.helm.sh/helm-v3.21.4-linux-amd64.tar.gz
"""

import os
from importlib.util import find_spec
from typing import IO, List

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _helm_binary
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import which
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KUBECONFIG


def fetch(url: str) -> IO[bytes]:
    return open_url(url, timeout=60)


def missing_packages() -> List[str]:
    if find_spec("yaml"):
        return []
    return ["python3-pyyaml" if which("dnf") else "python3-yaml"]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "checksums": {"type": "dict", "default": {}},
            "url": {"type": "str", "default": "https://get.helm.sh"},
            "bundle": {"type": "path"},
            "path": {"type": "path", "default": "/usr/local/bin/helm"},
            "stamp": {"type": "path", "default": "/usr/local/share/kubernetes-helm.json"},
            **KUBECONFIG,
        },
        supports_check_mode=True,
    )
    params = module.params
    machine = _helm_binary.architecture()
    try:
        if params["bundle"]:
            source = _helm_binary.from_bundle(params["bundle"], params["version"], machine)
        else:
            source = _helm_binary.from_repository(params["url"], params["version"], params["checksums"], machine)
        helm = _helm_binary.HelmBinary(source, params["path"], params["stamp"], fetch, module.tmpdir)
        present = helm.in_place()
        if not present and not module.check_mode:
            helm.install()
    except (_helm_binary.HelmBinaryError, OSError) as error:
        module.fail_json(msg=str(error))
    packages = missing_packages()
    ready = os.path.exists(params["path"]) and not packages and os.path.exists(params["kubeconfig"])
    module.exit_json(changed=not present, ready=ready, packages=packages, source=source.path)


if __name__ == "__main__":
    main()
