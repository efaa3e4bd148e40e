# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(files_below)."""

from __future__ import annotations

import posixpath
import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: files_below
short_description: The files of a host, below a folder
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Takes the list of files that a role writes on a host and returns it as input of module M(baremetal.kubernetes.node_config) for a copy of
    that tree below a folder.
  - Only path, content and mode are kept; owners, validators and sources belong to the host.
positional: folder
options:
  _input:
    description: Files with C(path), C(content) and C(mode). Files without content, copied on the host from a source, are left out.
    type: list
    elements: dict
    required: true
  folder:
    description: Where the tree begins.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Write the files of this host below a folder of the machine that runs Ansible
  baremetal.kubernetes.node_config:
    files: "{{ kernel_files | baremetal.kubernetes.files_below('/tmp/rendered/' ~ inventory_hostname) }}"
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: The files, with their paths below the folder.
  type: list
  elements: dict
  sample:
    - path: /tmp/rendered/cp1/etc/sysctl.d/99-k8s-network.conf
      content: net.ipv4.ip_forward = 1
      mode: "0644"
"""


def files_below(files: t.Any, folder: str) -> t.List[t.Dict[str, str]]:
    """Move every path, refuse one that would leave the folder."""
    if not isinstance(files, (list, tuple)):
        raise AnsibleFilterError(f"files_below: the input is {files!r}, but must be a list of files.")
    result: t.List[t.Dict[str, str]] = []
    for item in files:
        if not isinstance(item, t.Mapping) or "path" not in item:
            raise AnsibleFilterError(f"files_below: {item!r} is no file, but each must have path and content.")
        if item.get("content") is None:
            continue
        path = posixpath.normpath(str(item["path"]).lstrip("/"))
        if path in (".", "..") or path.startswith("../"):
            raise AnsibleFilterError(f"files_below: the path {item['path']!r} leaves the folder, but must name a file below it.")
        result.append({"path": posixpath.join(folder, path), "content": item["content"], "mode": item.get("mode", "0644")})
    return result


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"files_below": files_below}
