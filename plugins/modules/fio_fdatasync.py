#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fio_fdatasync
short_description: Whether a disk answers fdatasync fast enough for etcd
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Runs C(fio) as etcd writes its log, each write followed by C(fdatasync), on the file system that holds etcd's data directory or will hold it.
  - Judges the 99th percentile. Where there are several runs, that of the median run.
  - The directory itself is never made. The file that is written is removed on success, failure, timeout, SIGTERM, SIGINT and SIGHUP. What a run
    that was killed with SIGKILL has left is removed by the next one.
  - What cannot be measured is V(unknown) and never V(pass), such as a node without fio, a node whose etcd is running, a file system that is full or
    read-only. A file system that etcd must not have (in memory, of layers, on a network) is V(fail) and not measured.
  - A finding does not make the module fail. Options that cannot be used do, and a signal.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
    details:
      - Nothing is written and so nothing measured; the verdict is V(unknown), unless the file system alone makes it V(fail).
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
    details:
      - Nothing stays behind. The measured times differ between runs.
requirements:
  - fio 3.4 or later on the node
options:
  path:
    description:
      - Full path of etcd's data directory.
      - Where it does not exist yet, the nearest directory above it is measured, and the finding says so.
    type: str
    default: /var/lib/etcd
  size:
    description:
      - What each run writes, in bytes, or with C(k), C(m) or C(g) behind it in powers of 1024.
      - With the default O(block_size) this gives 10029 writes. Less than 1000 are too few for a 99th percentile, and make a pass V(unknown).
      - Twice this has to be free, and 5 % of the file system or 1 GiB.
    type: str
    default: 22m
  block_size:
    description: Bytes of each write. The default is what IBM measured as the size of etcd's writes.
    type: int
    default: 2300
  runs:
    description: Number of runs. They end early when more than half of them were too slow, as then the median is.
    type: int
    default: 3
  limit_ms:
    description: From this 99th percentile on, in milliseconds, the verdict is V(fail). The default is the one of etcd's FAQ for C(wal_fsync).
    type: float
    default: 10.0
  warn_ms:
    description:
      - From this 99th percentile on, in milliseconds, the verdict is V(warn).
      - It is V(warn) as well where the median is below O(limit_ms), but one of the runs is not, or only within the 0.8 % that fio's own numbers may be off.
    type: float
    default: 5.0
  timeout:
    description:
      - Seconds after which fio ends a run by itself and reports what it has until then, so that a slow disk gets a number.
      - 30 seconds later it is killed.
    type: float
    default: 60.0
  allow_running_etcd:
    description: Measure even while a process named C(etcd) runs on the node, which takes from etcd what is measured, and the other way round.
    type: bool
    default: false
  command:
    description: Name or path of fio.
    type: str
    default: fio
seealso:
  - plugin: baremetal.kubernetes.parse_fio
    plugin_type: filter
  - name: etcd's FAQ
    description: What the limit is from.
    link: https://etcd.io/docs/v3.6/faq/
"""

EXAMPLES = r"""
- name: Measure the disk that will hold etcd
  baremetal.kubernetes.fio_fdatasync:
    path: /var/lib/etcd
  register: disk

- name: Refuse a disk that is too slow, or that could not be measured
  ansible.builtin.assert:
    that: disk.verdict in ['pass', 'warn']
    fail_msg: "{{ disk.checks[0].observed }}. {{ disk.checks[0].fix }}"
"""

RETURN = r"""
p99_us:
  description: 99th percentile of fdatasync in microseconds, of the median run. Null unless every run was measured.
  returned: success
  type: float
  sample: 2376.0
percentiles_us:
  description: All percentiles of the median run in microseconds by rank, empty where RV(p99_us) is null.
  returned: success
  type: dict
  sample: {"50": 1220.608, "90": 1892.352, "99": 2376.0, "99.99": 8847.36}
iops:
  description: Writes per second of the median run, or null.
  returned: success
  type: float
  sample: 640.5
samples:
  description: Number of fdatasync calls of the median run, or null.
  returned: success
  type: int
  sample: 10029
fio_version:
  description: Version of fio, or null.
  returned: success
  type: str
  sample: "3.33"
runs:
  description: The runs that were measured, in order.
  returned: success
  type: list
  elements: dict
  contains:
    p99_us:
      description: As RV(p99_us).
      type: float
    iops:
      description: As RV(iops).
      type: float
    samples:
      description: As RV(samples).
      type: int
  sample:
    - {p99_us: 2376.0, iops: 640.5, samples: 10029}
    - {p99_us: 2244.608, iops: 655.1, samples: 10029}
    - {p99_us: 3031.04, iops: 601.9, samples: 10029}
directory:
  description: The existing directory that is O(path) or above it, null where there is none.
  returned: success
  type: str
  sample: /var/lib
filesystem:
  description: What RV(directory) is on, or null.
  returned: success
  type: dict
  contains:
    mount:
      description: Where it is mounted.
      type: str
    type:
      description: Its type.
      type: str
    device:
      description: Its device or other source.
      type: str
  sample: {mount: /, type: ext4, device: /dev/vda1}
verdict:
  description: V(pass), V(warn), V(fail) or V(unknown), the status of the one finding.
  returned: success
  type: str
  sample: pass
checks:
  description: One finding with the id V(etcd_disk).
  returned: success
  type: list
  elements: dict
  sample:
    - id: etcd_disk
      status: pass
      observed: 2.38 ms on ext4 (/dev/vda1, mounted on /), measured in /var/lib for /var/lib/etcd (median of 2.38, 2.24, 3.03 ms)
      wanted: a 99th percentile of fdatasync below 10 ms, better below 5 ms
      fix: ""
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _fio


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "default": "/var/lib/etcd"},
            "size": {"type": "str", "default": "22m"},
            "block_size": {"type": "int", "default": 2300},
            "runs": {"type": "int", "default": 3},
            "limit_ms": {"type": "float", "default": 10.0},
            "warn_ms": {"type": "float", "default": 5.0},
            "timeout": {"type": "float", "default": 60.0},
            "allow_running_etcd": {"type": "bool", "default": False},
            "command": {"type": "str", "default": "fio"},
        },
        supports_check_mode=True,
    )
    params = module.params
    with _fio.Signals() as signals:
        try:
            result = _fio.Fdatasync(stopped=signals).measure(**params, check_mode=module.check_mode)
        except ValueError as error:
            module.fail_json(msg=str(error))
        except _fio.Interrupted:
            module.fail_json(msg=f"{signals.received} ended the measurement; nothing stays behind. Run it again.")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
