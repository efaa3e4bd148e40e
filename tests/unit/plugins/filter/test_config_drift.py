# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.filter.config_drift import config_drift


@pytest.mark.parametrize(
    ("live", "wanted", "paths"),
    [
        ({"mode": "ipvs", "more": 1}, {"mode": "ipvs"}, []),
        ({"mode": "ipvs"}, {"mode": "nftables"}, ["mode"]),
        ({"ipvs": {"tcpTimeout": "15m0s"}}, {"ipvs": {"tcpTimeout": "900s"}}, []),
        ({"ipvs": {"tcpTimeout": "15m0s"}}, {"ipvs": {"tcpTimeout": "901s"}}, ["ipvs.tcpTimeout"]),
        ({"syncPeriod": "1.5s"}, {"syncPeriod": "1500ms"}, []),
        # a duration may be written without unit when it is none
        ({"conntrack": {"udpTimeout": "0s"}}, {"conntrack": {"udpTimeout": "0"}}, []),
        ({"minSyncPeriod": "500µs"}, {"minSyncPeriod": "0.5ms"}, []),
        ({"ipvs": {"excludeCIDRs": None}}, {"ipvs": {"excludeCIDRs": []}}, []),
        ({"ipvs": {"excludeCIDRs": None}}, {"ipvs": {"excludeCIDRs": ["192.0.2.0/24"]}}, ["ipvs.excludeCIDRs"]),
        ({"ipvs": {"excludeCIDRs": ["192.0.2.0/24"]}}, {"ipvs": {"excludeCIDRs": []}}, ["ipvs.excludeCIDRs"]),
        ({}, {"ipvs": {"strictARP": True}}, ["ipvs.strictARP"]),
        ({"ipvs": None}, {"ipvs": {"strictARP": False}}, ["ipvs.strictARP"]),
        ({"conntrack": {"maxPerCore": 0}}, {"conntrack": {"maxPerCore": 0}}, []),
        ({"conntrack": {"maxPerCore": None}}, {"conntrack": {"maxPerCore": 0}}, ["conntrack.maxPerCore"]),
        ({"conntrack": "text"}, {"conntrack": {"min": 1}}, ["conntrack.min"]),
    ],
)
def test_differences(live: dict, wanted: dict, paths: list[str]) -> None:
    assert [entry["path"] for entry in config_drift(live, wanted)] == paths


def test_entry_names_both_values() -> None:
    assert config_drift({"mode": "ipvs"}, {"mode": "nftables"}) == [{"path": "mode", "live": "ipvs", "wanted": "nftables"}]


@pytest.mark.parametrize("live", [None, "mode: ipvs", []])
def test_no_mapping_is_refused(live: object) -> None:
    with pytest.raises(AnsibleFilterError, match="live configuration is a"):
        config_drift(live, {})
