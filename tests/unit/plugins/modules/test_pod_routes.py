# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module pod_routes with scripted commands."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.modules import pod_routes

CHAIN = "KUBERNETES-POD-EGRESS"
RULES = [f"-A {CHAIN} ! -s 10.244.0.0/24 -j RETURN", f"-A {CHAIN} -j MASQUERADE --random-fully"]
UNIT = "kubernetes-pod-routes.service"
PARAMS = {
    "routes": [{"destination": "10.244.1.0/24", "gateway": "192.0.2.21", "node": "w1"}],
    "chains": [{"ip_version": 4, "chain": CHAIN, "rules": RULES}],
    "unit": UNIT,
    "protocol": 157,
}
TO_W1 = {"dst": "10.244.1.0/24", "gateway": "192.0.2.21", "dev": "eth1", "protocol": "157", "flags": []}
TO_FORMER = {"dst": "10.244.7.0/24", "gateway": "192.0.2.27", "dev": "eth1", "protocol": "157", "flags": []}
DEFAULT = {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0", "protocol": "dhcp", "flags": []}
FOREIGN = {"dst": "10.99.0.0/16", "gateway": "192.0.2.9", "dev": "eth1", "protocol": "static", "flags": []}


class Node:
    """Commands of a node; a restart of the unit sets what the unit would set, unless it is broken."""

    def __init__(self, routes, rules=None, jump=True, broken=False):
        self.routes, self.rules, self.jump, self.broken = list(routes), RULES if rules is None else rules, jump, broken
        self.changes = []

    def __call__(self, argv, timeout=None):
        assert timeout is not None, "every command is bounded"
        if argv[:2] == ["ip", "-j"]:
            return 0, json.dumps(self.routes), ""
        if argv[0] == "iptables" and "-S" in argv:
            if self.rules is False:
                return 1, "", "iptables: No chain/target/match by that name.\n"
            return 0, "".join(f"{line}\n" for line in [f"-N {CHAIN}"] + list(self.rules)), ""
        if argv[0] == "iptables" and "-C" in argv:
            return (0, "", "") if self.jump else (1, "", "Bad rule")
        self.changes.append(" ".join(argv))
        if argv == ["systemctl", "restart", UNIT]:
            if self.broken == "unit":
                return 1, "", "Job for kubernetes-pod-routes.service failed."
            if not self.broken:
                self.routes = [r for r in self.routes if r["dst"] != TO_W1["dst"]] + [TO_W1]
                self.rules, self.jump = RULES, True
            return 0, "", ""
        if argv[2:4] == ["route", "del"]:
            self.routes = [r for r in self.routes if r["dst"] != argv[4]]
            return 0, "", ""
        raise AssertionError(argv)


def run(capsys, monkeypatch, node, check_mode=False, **params):
    """Exit code and result of the module."""
    monkeypatch.setattr(pod_routes, "run_command", node)
    with patch_module_args({**PARAMS, **params, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as exit_:
        pod_routes.main()
    return exit_.value.code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("check_mode", [False, True])
def test_nothing_to_do(capsys, monkeypatch, check_mode):
    node = Node([DEFAULT, FOREIGN, TO_W1])
    code, result = run(capsys, monkeypatch, node, check_mode)
    assert (code, result["changed"], node.changes) == (0, False, [])
    assert (result["missing"], result["removed"], result["chains"]) == ([], [], [])


def test_a_deleted_route_comes_back(capsys, monkeypatch):
    node = Node([DEFAULT, FOREIGN])
    code, result = run(capsys, monkeypatch, node, True)
    assert (code, result["changed"], node.changes) == (0, True, [])
    code, result = run(capsys, monkeypatch, node)
    assert (code, result["changed"], node.changes) == (0, True, [f"systemctl restart {UNIT}"])
    assert result["missing"] == ["10.244.1.0/24 via 192.0.2.21"]
    for check_mode in (True, False):
        assert run(capsys, monkeypatch, node, check_mode)[1]["changed"] is False


@pytest.mark.parametrize(
    "route",
    [
        {**TO_W1, "gateway": "192.0.2.99"},
        {**TO_W1, "flags": ["dead", "linkdown"]},
        {"dst": "10.244.1.0/24", "dev": "eth1", "protocol": "boot", "flags": []},
    ],
)
def test_a_route_that_leads_elsewhere_is_missing(capsys, monkeypatch, route):
    node = Node([route])
    assert run(capsys, monkeypatch, node)[1]["missing"] == ["10.244.1.0/24 via 192.0.2.21"]
    assert node.routes == [TO_W1]


def test_the_route_to_a_former_node_goes_and_no_other(capsys, monkeypatch):
    node = Node([DEFAULT, TO_FORMER, FOREIGN, TO_W1])
    assert run(capsys, monkeypatch, node, True)[1]["removed"] == ["10.244.7.0/24 via 192.0.2.27"]
    code, result = run(capsys, monkeypatch, node)
    assert (code, result["changed"]) == (0, True)
    assert node.changes == ["ip -4 route del 10.244.7.0/24 via 192.0.2.27 proto 157"]
    assert node.routes == [DEFAULT, FOREIGN, TO_W1]
    assert run(capsys, monkeypatch, node)[1]["changed"] is False


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (Node([TO_W1], rules=False), "no chain KUBERNETES-POD-EGRESS"),
        (Node([TO_W1], rules=RULES[1:]), "has 1 rules that are not the 2 wanted ones"),
        (Node([TO_W1], jump=False), "POSTROUTING does not jump to KUBERNETES-POD-EGRESS"),
    ],
)
def test_a_lost_chain_comes_back(capsys, monkeypatch, node, text):
    code, result = run(capsys, monkeypatch, node)
    assert (code, result["changed"]) == (0, True)
    assert text in result["chains"][0]
    assert run(capsys, monkeypatch, node)[1]["changed"] is False


def test_what_cannot_be_mended_is_said(capsys, monkeypatch):
    code, result = run(capsys, monkeypatch, Node([], broken=True))
    assert code == 1
    assert result["msg"].startswith(f"After a restart of {UNIT} this is still wrong: no route 10.244.1.0/24 via 192.0.2.21 (node w1).")
    assert f"systemctl status {UNIT}" in result["msg"]
    code, result = run(capsys, monkeypatch, Node([], broken="unit"))
    assert code == 1
    assert "Job for kubernetes-pod-routes.service failed." in result["msg"]


def test_a_machine_without_ip(capsys, monkeypatch):
    def nothing(argv, timeout=None):
        return 127, "", f"{argv[0]}: command not found"

    assert run(capsys, monkeypatch, nothing, True)[1]["changed"] is True
    code, result = run(capsys, monkeypatch, nothing)
    assert code == 1
    assert "ip: command not found" in result["msg"]


def test_a_host_route_is_the_same_with_and_without_prefix(capsys, monkeypatch):
    node = Node([{**TO_W1, "dst": "10.244.1.7"}])
    routes = [{"destination": "10.244.1.7/32", "gateway": "192.0.2.21"}]
    assert run(capsys, monkeypatch, node, routes=routes)[1]["changed"] is False
