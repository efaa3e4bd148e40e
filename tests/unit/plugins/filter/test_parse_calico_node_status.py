# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter parse_calico_node_status as a playbook sees it; its parser has tests of its own."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.filter import parse_calico_node_status

TEXT = """Calico process is running.

IPv4 BGP status
+--------------+-------------------+-------+----------+--------------------------------+
| PEER ADDRESS |     PEER TYPE     | STATE |  SINCE   |              INFO              |
+--------------+-------------------+-------+----------+--------------------------------+
| 192.0.2.12   | node-to-node mesh | start | 12:00:01 | Active Socket: Connection      |
|              |                   |       |          | refused                        |
+--------------+-------------------+-------+----------+--------------------------------+

IPv6 BGP status
No IPv6 peers found.

"""


def test_the_filter_is_registered_under_its_name():
    parse = parse_calico_node_status.FilterModule().filters()["parse_calico_node_status"]
    assert parse(TEXT) == {
        "running": True,
        "ipv4": [
            {
                "peer_address": "192.0.2.12",
                "peer_type": "node-to-node mesh",
                "state": "start",
                "since": "12:00:01",
                "info": "Active Socket: Connection refused",
            }
        ],
        "ipv6": [],
        "errors": [],
    }


@pytest.mark.parametrize("value", [None, 5, ["text"], {"stdout": "text"}])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(AnsibleFilterError, match="must be text"):
        parse_calico_node_status.parse_calico_node_status(value)
