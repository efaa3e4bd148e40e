# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A NetworkPolicy that is tried; real packets are in test_pod_traffic_nodes.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _network_policy
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._netns import PodTrafficError

NODES = ["w1", "w2"]
YES, NO = {"node": "w", "ms": 1.0}, {"error": "no answer within 5 s", "ms": 5000.0}


class Api:
    """Takes the policy, or refuses it."""

    server = "https://192.0.2.11:6443"

    def __init__(self, status=201):
        self.status, self.asked = status, []

    def request(self, method, path, body=None, content_type=""):
        self.asked.append(method)
        return (self.status, {"message": "forbidden"}) if method == "PATCH" else (404, {})


def try_policy(attempts, wait_seconds=0):
    """Findings, with these answers of w1 and w2 in turn; the last one repeats; time passes in sleep only."""
    left, now = list(attempts), [0.0]

    def attempt():
        now[0] += 0.1
        return left.pop(0) if len(left) > 1 else left[0]

    def sleep(seconds):
        now[0] += seconds

    return _network_policy.try_policy(Api(), "kubernetes-verify", NODES, attempt, wait_seconds, lambda: now[0], sleep)


@pytest.mark.parametrize(
    "attempts, wait_seconds, statuses",
    [
        # before, until denied, once more, until allowed
        ([[YES, YES], [NO, NO], [NO, NO], [YES, YES]], 0, ["pass", "pass"]),
        ([[YES, YES], [YES, NO], [NO, NO], [NO, NO], [YES, NO], [YES, YES]], 60, ["pass", "pass"]),
        ([[YES, YES], [YES, NO], [YES, NO], [YES, YES]], 0, ["fail", "pass"]),
        ([[YES, YES], [NO, NO], [NO, NO], [NO, YES]], 0, ["fail", "pass"]),
        ([[NO, YES], [NO, NO], [NO, NO], [NO, YES]], 0, ["unknown", "pass"]),
        # one packet that is lost is no denial
        ([[YES, YES], [NO, NO], [YES, NO], [YES, YES]], 0, ["fail", "pass"]),
    ],
)
def test_findings(attempts, wait_seconds, statuses):
    checks = try_policy(attempts, wait_seconds)
    assert [(check["id"], check["status"]) for check in checks] == list(zip(["network_policy/w1", "network_policy/w2"], statuses))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12), st.booleans())
def test_no_order_of_answers_makes_a_pod_pass_that_always_or_never_answers(order, always):
    fixed = YES if always else NO
    checks = try_policy([[fixed, YES if second else NO] for dummy, second in order], 3)
    assert checks[0]["status"] == ("fail" if always else "unknown")


def test_a_policy_that_is_refused_is_an_error_and_removed_all_the_same():
    api = Api(403)
    with pytest.raises(KubeApiError, match="403 when NetworkPolicy verify was applied: forbidden"):
        _network_policy.try_policy(api, "kubernetes-verify", NODES, lambda: [YES, YES], 0)
    assert api.asked == ["PATCH", "DELETE"]


def test_the_policy_is_removed_when_the_traffic_cannot_be_made():
    api, calls = Api(), []

    def attempt():
        calls.append(1)
        if len(calls) > 1:
            raise PodTrafficError("nothing came back")
        return [YES, YES]

    with pytest.raises(PodTrafficError):
        _network_policy.try_policy(api, "kubernetes-verify", NODES, attempt, 0)
    assert api.asked == ["PATCH", "DELETE"]
