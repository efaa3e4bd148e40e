# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the address of a node comes from."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.filter.node_ips import node_ips


def test_the_order_of_the_contract() -> None:
    hostvars = {
        "cp1": {"cluster_node_ip": "192.0.2.11", "ansible_host": "cp1.example.com"},
        "w1": {"ansible_host": "192.0.2.21"},
        "192.0.2.22": {},
    }
    assert node_ips(["cp1", "w1", "192.0.2.22"], hostvars) == {"cp1": "192.0.2.11", "w1": "192.0.2.21", "192.0.2.22": "192.0.2.22"}


def test_a_text_is_no_list() -> None:
    with pytest.raises(AnsibleFilterError, match="must be a list of inventory names"):
        node_ips("cp1", {"cp1": {}})
