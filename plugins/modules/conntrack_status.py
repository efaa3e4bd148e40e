#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: conntrack_status
short_description: How full the kernel's table of connections is, and what was dropped
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Reads C(nf_conntrack_count), C(nf_conntrack_max) and C(nf_conntrack_buckets), and takes two samples of the counters of dropped connections.
  - The counters come from C(/proc/net/stat/nf_conntrack), or from C(conntrack -S) where the kernel does not have that file.
  - Judges by C(count) against C(max) (warn at 75 %, fail at 95 %) and by what was dropped for lack of room per second (warn above 0, fail at 10).
    C(insert_failed) grows in health too, so it warns at 10 per second only.
  - A finding does not make the module fail.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  seconds:
    description: Seconds between the two samples. With V(0) the rates are not known.
    type: float
    default: 5
"""

EXAMPLES = r"""
- name: See whether the node drops connections
  baremetal.kubernetes.conntrack_status:
    seconds: 30
  register: conntrack
"""

RETURN = r"""
tracking:
  description: Whether the kernel tracks connections. Without it all other values are null.
  returned: success
  type: bool
  sample: true
count:
  description: Connections that are tracked now; null when it cannot be read.
  returned: success
  type: int
  sample: 1204
max:
  description: The largest number of connections; null when it cannot be read.
  returned: success
  type: int
  sample: 262144
buckets:
  description: Buckets of the hash table; null when it cannot be read.
  returned: success
  type: int
  sample: 65536
rates:
  description: C(drop), C(early_drop) and C(insert_failed) per second between the samples, or null.
  returned: success
  type: dict
  sample: {drop: 0.0, early_drop: 0.0, insert_failed: 0.2}
totals:
  description: The same counters since boot, or null.
  returned: success
  type: dict
  sample: {drop: 0, early_drop: 0, insert_failed: 141}
seconds:
  description: Seconds between the samples.
  returned: success
  type: float
  sample: 5.002
reason:
  description: Why RV(rates) is null.
  returned: success
  type: str
  sample: ""
checks:
  description: The findings C(conntrack_headroom) and C(conntrack_drops).
  returned: success
  type: list
  elements: dict
  sample:
    - id: conntrack_headroom
      status: pass
      observed: 1204 of 262144 connections (0.5%).
      wanted: less than 75% of the largest number of tracked connections
      fix: ""
verdict:
  description: The worst of the findings.
  returned: success
  type: str
  sample: pass
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _conntrack
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command


def main() -> None:
    """Wire options to status."""
    module = AnsibleModule(argument_spec={"seconds": {"type": "float", "default": 5}}, supports_check_mode=True)
    seconds = module.params["seconds"]
    if seconds < 0:
        module.fail_json(msg=f"The option seconds is {seconds:g}, but must not be negative.")
    module.exit_json(changed=False, **_conntrack.status(run_command, seconds))


if __name__ == "__main__":
    main()
