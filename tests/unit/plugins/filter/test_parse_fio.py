# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter parse_fio; what it reads is tested with its module."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.filter import parse_fio

TEXT = """fio-3.36
    clat percentiles (nsec):
     | 99.00th=[23168]
    sync percentiles (usec):
     | 50.00th=[  186], 99.00th=[  260], 99.90th=[  302]
"""


def test_the_filter_is_registered_under_its_name():
    parse = parse_fio.FilterModule().filters()["parse_fio"]
    assert parse(TEXT) == {
        "p99_us": 260.0,
        "percentiles_us": {"50": 186.0, "99": 260.0, "99.9": 302.0},
        "iops": None,
        "samples": None,
        "fio_version": "3.36",
        "errors": [],
    }


@pytest.mark.parametrize("value", [None, 5, {"jobs": []}])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(AnsibleFilterError, match="must be text"):
        parse_fio.parse_fio(value)
