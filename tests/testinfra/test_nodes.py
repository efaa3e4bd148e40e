# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every node of the lab, after site.yml and a reboot of one of them."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.baremetal.kubernetes.plugins.module_utils._ipvs import parse_ipvsadm

MODULES = ["br_netfilter", "ip_vs", "ip_vs_rr", "ip_vs_sh", "ip_vs_wrr", "nf_conntrack", "overlay"]


def test_modules_are_loaded_and_persisted(node: dict[str, t.Any]) -> None:
    persisted = re.findall(r"^\w+$", node["modules_load"], re.MULTILINE)
    assert [name for name in MODULES if name not in node["modules"]] == []
    assert [name for name in MODULES if name not in persisted] == []


def test_sysctls_are_effective(node: dict[str, t.Any]) -> None:
    differ = {
        key: (wanted, effective)
        for key, (wanted, effective) in node["sysctl"].items()
        if effective is None or effective.split() != wanted.split()
    }
    assert not differ
    wanted = {key: value for key, (value, _effective) in node["sysctl"].items()}
    assert wanted["net.ipv4.ip_forward"] == "1"
    assert wanted["net.bridge.bridge-nf-call-iptables"] == "1"
    assert wanted["net.ipv4.ip_local_port_range"].split() == ["1024", "65535"]
    assert wanted["net.core.somaxconn"] == "32768"
    assert "30000-32767" in wanted["net.ipv4.ip_local_reserved_ports"]


def test_units_run_and_are_enabled(node: dict[str, t.Any]) -> None:
    assert node["units"] == {"kubelet": ["active", "enabled"], "containerd": ["active", "enabled"]}


def test_no_swap(node: dict[str, t.Any]) -> None:
    assert node["swaps"].splitlines()[1:] == []


def test_ipvs_has_the_api_servers_behind_the_kubernetes_service(node: dict[str, t.Any], host: t.Any) -> None:
    table = parse_ipvsadm(node["ip_vs"])
    behind = {
        f"{service['address']}:{service['port']}": sorted(f"{item['address']}:{item['port']}" for item in service["destinations"])
        for service in table["services"]
    }
    inventory = host.backend.ansible_runner
    control_planes = [inventory.get_variables(name)["ansible_host"] for name in inventory.get_hosts("control_plane")]
    assert behind.get("10.96.0.1:443") == sorted(f"{address}:6443" for address in control_planes)
    assert node["arp_ignore"].strip() == "1"


def test_no_secret_stays_on_the_node(node: dict[str, t.Any]) -> None:
    assert node["left_over"] == []
    assert node["kubeadm_files"]
    for path, (mode, text) in node["kubeadm_files"].items():
        assert mode == "0o600", path
        tokens = set(re.findall(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b", text)) - {"abcdef.0123456789abcdef"}
        assert tokens == set(), path
