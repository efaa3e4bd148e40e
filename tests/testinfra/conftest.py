# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One round trip per node: on an emulated machine each costs seconds, and every test looks at the same state."""

from __future__ import annotations

import json
import typing as t

import pytest

# Runs on the node; prints what the tests look at.
_LOOK = r"""
import glob, json, os, subprocess
def text(path):
    try:
        with open(path) as handle:
            return handle.read()
    except OSError:
        return None
def units(*names):
    out = subprocess.run(["systemctl", "is-active", *names], stdout=subprocess.PIPE).stdout.decode().split()
    enabled = subprocess.run(["systemctl", "is-enabled", *names], stdout=subprocess.PIPE).stdout.decode().split()
    return {name: list(pair) for name, pair in zip(names, zip(out, enabled))}
dropin = text("/etc/sysctl.d/99-k8s-network.conf") or ""
keys = [line.split("=", 1) for line in dropin.splitlines() if "=" in line and not line.startswith(("#", ";"))]
print(json.dumps({
    "modules": sorted(os.listdir("/sys/module")),
    "modules_load": text("/etc/modules-load.d/99-kubernetes.conf"),
    "sysctl": {key.strip(): [value.strip(), text("/proc/sys/" + key.strip().replace(".", "/"))] for key, value in keys},
    "arp_ignore": text("/proc/sys/net/ipv4/conf/all/arp_ignore"),
    "units": units("kubelet", "containerd"),
    "swaps": text("/proc/swaps"),
    "ip_vs": text("/proc/net/ip_vs"),
    "kubeadm_files": {path: [oct(os.stat(path).st_mode & 0o777), text(path)] for path in glob.glob("/etc/kubernetes/kubeadm-*.yaml")},
    "left_over": [path for path in ("/etc/kubernetes/.kubeadm-unfinished", *glob.glob("/run/kubernetes-kubeadm-*.yaml")) if os.path.exists(path)],
}))
"""


@pytest.fixture(scope="module", name="node")
def fixture_node(host: t.Any) -> dict[str, t.Any]:
    """What the node looks like: modules, sysctls (wanted and effective), units, IPVS table."""
    with host.sudo():
        return json.loads(host.check_output("python3 -c %s", _LOOK))
