# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter parse_ipvsadm, alone and as a playbook sees it."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.filter import parse_ipvsadm

TABLE = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
UDP  10.96.0.10:53 rr
"""


def test_the_filter_is_registered_under_its_name():
    parse = parse_ipvsadm.FilterModule().filters()["parse_ipvsadm"]
    services = parse(TABLE)["services"]
    assert [(s["protocol"], s["address"], s["port"], s["destinations"]) for s in services] == [("UDP", "10.96.0.10", 53, [])]


@pytest.mark.parametrize("value", [None, 5, ["text"]])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(AnsibleFilterError, match="must be text"):
        parse_ipvsadm.parse_ipvsadm(value)
