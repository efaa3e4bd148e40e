# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all nodes together found out about the ingress controller."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.baremetal.kubernetes.plugins.filter.edge_checks import edge_checks


def finding(identifier, status="pass"):
    return {"id": identifier, "status": status, "observed": "x", "wanted": "y", "fix": "" if status == "pass" else "z"}


POD = {"node": "w1", "node_address": "192.0.2.21", "name": "nginx-a", "uid": "1"}
PREPARED = {"controllers": [POD], "addresses": ["192.0.2.200"], "checks": [finding("edge_controller")]}
ELSEWHERE = {"pods": [], "checks": [finding("edge_workers", "unknown")]}
WORKERS = {"pods": [{"name": "nginx-a", "workers": 4}], "checks": [finding("edge_workers"), finding("edge_config")]}
REQUESTS = {"checks": [finding("edge_http")]}
GOOD = {
    "serve": {"cp1": {"checks": []}, "w1": {"checks": []}},
    "requests": {"cp1": REQUESTS, "w1": REQUESTS},
    "workers": {"cp1": ELSEWHERE, "w1": WORKERS},
}


def bad(result):
    return {
        (host, check["id"]): check["status"]
        for host, checks in [("", result["cluster"]), *result["hosts"].items()]
        for check in checks
        if check["status"] != "pass"
    }


def test_everything_is_well():
    result = edge_checks(GOOD, PREPARED)
    assert bad(result) == {}
    assert [check["id"] for check in result["cluster"]] == ["edge_controller", "edge_controller_nodes"]
    assert [check["id"] for check in result["hosts"]["cp1"]] == ["edge_http"]
    assert [check["id"] for check in result["hosts"]["w1"]] == ["edge_http", "edge_workers", "edge_config"]
    assert "verify_edge_clients" in result["notes"][0]


@pytest.mark.parametrize(
    "changes, prepared, expected",
    [
        # nobody has the controller: then no node is without it rightly
        (
            {"workers": {"cp1": ELSEWHERE, "w1": ELSEWHERE}},
            {**PREPARED, "controllers": []},
            {("", "edge_controller_nodes"): "unknown", ("cp1", "edge_workers"): "unknown", ("w1", "edge_workers"): "unknown"},
        ),
        ({"workers": {"cp1": ELSEWHERE, "w1": ELSEWHERE}}, PREPARED, {("", "edge_controller_nodes"): "unknown"}),
        # a pod without workers was not looked at
        (
            {
                "workers": {
                    "cp1": ELSEWHERE,
                    "w1": {"pods": [{"name": "nginx-a", "workers": 0}], "checks": [finding("edge_workers", "unknown")]},
                }
            },
            PREPARED,
            {("", "edge_controller_nodes"): "unknown", ("w1", "edge_workers"): "unknown"},
        ),
        ({"workers": {"cp1": {}, "w1": WORKERS}}, PREPARED, {("cp1", "edge_workers"): "unknown"}),
        ({"requests": {"cp1": {"failed": True, "msg": "x"}, "w1": REQUESTS}}, PREPARED, {("cp1", "edge_http"): "unknown"}),
        ({"requests": {"cp1": {"checks": []}, "w1": REQUESTS}}, PREPARED, {("cp1", "edge_http"): "unknown"}),
        (
            {"serve": {"cp1": {}, "w1": {"checks": [finding("edge_backend", "fail")]}}},
            PREPARED,
            {("cp1", "edge_backend"): "unknown", ("w1", "edge_backend"): "fail"},
        ),
        ({}, {}, {("", "edge_controller"): "unknown", ("", "edge_controller_nodes"): "unknown", ("cp1", "edge_workers"): "unknown"}),
    ],
)
def test_what_is_missing_is_unknown(changes, prepared, expected):
    assert bad(edge_checks({**GOOD, **changes}, prepared)) == expected


def test_a_node_that_cannot_ask_itself():
    skipped = {"changed": False, "skipped": True, "skip_reason": "Conditional result was False"}
    result = edge_checks({**GOOD, "requests": {"cp1": skipped, "w1": REQUESTS}}, PREPARED)
    assert bad(result) == {}
    assert result["hosts"]["cp1"] == [] and result["notes"][0].startswith("cp1 did not ask")
    # nobody asked: that is no pass
    nobody = {**GOOD, "requests": {"cp1": skipped, "w1": skipped}}
    assert bad(edge_checks(nobody, PREPARED)) == {("", "edge_http"): "unknown"}
    assert bad(edge_checks(nobody, PREPARED, {"laptop": {"checks": []}}))[("", "edge_http")] == "unknown"
    assert bad(edge_checks(nobody, PREPARED, {"laptop": REQUESTS})) == {}


def test_a_client_outside_has_its_name_in_the_findings():
    clients = {
        "laptop": {"checks": [finding("edge_http"), finding("edge_client_address", "fail")]},
        "gone": {"failed": True, "msg": "unreachable"},
        "none": {},
    }
    result = edge_checks(GOOD, PREPARED, clients)
    assert bad(result) == {
        ("", "edge_client_address/laptop"): "fail",
        ("", "edge_client/gone"): "fail",
        ("", "edge_client/none"): "unknown",
    }
    assert result["notes"] == []


@pytest.mark.parametrize("arguments", [([], {}), ({}, []), ({"workers": ["w1"]}, {}), (GOOD, {"controllers": [{}]})])
def test_other_things_are_refused(arguments):
    with pytest.raises(AnsibleFilterError, match="edge_checks: "):
        edge_checks(*arguments)
