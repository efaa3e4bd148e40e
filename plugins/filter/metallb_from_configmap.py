# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(metallb_from_configmap)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _metallb_configmap
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: metallb_from_configmap
short_description: MetalLB's old ConfigMap as settings of role metallb
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Until 0.12 MetalLB was configured by ConfigMap C(metallb-system/config). Converts pools, peers, BFD profiles and communities.
  - Names become such as objects may have; peers, which had none, are C(peer-1) and so on.
options:
  _input:
    description: The list C(address-pools), the whole configuration, or the ConfigMap; as data, or as text in YAML.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Convert
  ansible.builtin.debug:
    msg: "{{ (lookup('ansible.builtin.file', 'metallb-config.yaml') | baremetal.kubernetes.metallb_from_configmap).text }}"
"""

RETURN = r"""
_value:
  description: The settings C(pools), C(peers), C(peer_passwords), C(bfd_profiles) and C(communities), and C(text), the same as YAML
    with placeholders instead of the passwords.
  type: dict
  sample:
    pools: [{name: default, addresses: [192.0.2.200-192.0.2.239], protocol: layer2}]
    peers: []
    peer_passwords: {}
    bfd_profiles: []
    communities: {}
    text: "metallb_pools:\\n  - name: default\\n"
"""


def metallb_from_configmap(value: t.Any) -> t.Dict[str, t.Any]:
    """Convert; an error becomes one of Ansible's with the name of the filter in front."""
    try:
        return plain(_metallb_configmap.from_configmap(plain(value)))
    except (ValueError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"metallb_from_configmap: {error}.") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"metallb_from_configmap": metallb_from_configmap}
