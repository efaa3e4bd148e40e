# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API tells of workloads, containers and logs, in the words of a finding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _kube_rollout
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_rollout import counts, crash, essence, obstacle, selector, told

NOW = 1795219260  # 2026-11-21T00:01:00Z
DONE = {
    "observedGeneration": 4,
    "desiredNumberScheduled": 3,
    "currentNumberScheduled": 3,
    "updatedNumberScheduled": 3,
    "numberAvailable": 3,
}


OLD = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2}


def daemonset(spec=None, **status):
    return {"metadata": {"generation": 4}, "spec": spec or {}, "status": {**DONE, **status}}


def deployment(wanted=2, **status):
    settled = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    return {"metadata": {"generation": 1}, "spec": {"replicas": wanted} if wanted is not None else {}, "status": {**settled, **status}}


@pytest.mark.parametrize(
    ("workload", "kind", "done", "words"),
    [
        (daemonset(), "DaemonSet", True, "3 of 3 pods available, 3 of 3 updated"),
        (daemonset(numberAvailable=2), "DaemonSet", False, "2 of 3 pods available, 3 of 3 updated"),
        (daemonset(updatedNumberScheduled=1), "DaemonSet", False, "3 of 3 pods available, 1 of 3 updated, 2 old left"),
        (daemonset(currentNumberScheduled=2), "DaemonSet", False, "3 of 3 pods available, 3 of 3 updated"),
        (daemonset(observedGeneration=3), "DaemonSet", False, "its controller has not seen the newest specification"),
        (
            daemonset(desiredNumberScheduled=0, currentNumberScheduled=0, updatedNumberScheduled=0, numberAvailable=0),
            "DaemonSet",
            False,
            "no pod is wanted, so nothing runs",
        ),
        (
            daemonset({"updateStrategy": {"type": "OnDelete"}}, updatedNumberScheduled=0),
            "DaemonSet",
            True,
            "3 of 3 pods available, 3 of 3 updated",
        ),
        ({}, "DaemonSet", False, "its controller has not seen the newest specification"),
        (deployment(), "Deployment", True, "2 of 2 pods available, 2 of 2 updated"),
        (deployment(3), "Deployment", False, "2 of 3 pods available, 2 of 3 updated"),
        (deployment(3, replicas=3, updatedReplicas=1), "Deployment", False, "2 of 3 pods available, 1 of 3 updated, 2 old left"),
        # one of the old kind still there
        (deployment(replicas=3), "Deployment", False, "2 of 2 pods available, 2 of 2 updated, 1 old left"),
        # without a number one is wanted
        (deployment(None), "Deployment", False, "2 of 1 pods available, 2 of 1 updated"),
        (deployment(0), "StatefulSet", False, "no pod is wanted, so nothing runs"),
        # as Kubernetes before 1.22 tells it
        (deployment() | {"status": dict(OLD, readyReplicas=2)}, "StatefulSet", True, "2 of 2 pods available, 2 of 2 updated"),
        (deployment() | {"status": dict(OLD, readyReplicas=1)}, "StatefulSet", False, "1 of 2 pods available, 2 of 2 updated"),
        (deployment() | {"status": dict(OLD, readyReplicas=2)}, "Deployment", False, "0 of 2 pods available, 2 of 2 updated"),
        (deployment(), "StatefulSet", True, "2 of 2 pods available, 2 of 2 updated"),
    ],
)
def test_the_numbers_of_a_workload(workload, kind, done, words):
    numbers = counts(workload, kind)
    assert (numbers.done, told(numbers)) == (done, words)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.text(max_size=2), lambda inner: st.lists(inner, max_size=2), max_leaves=3
)


@given(st.dictionaries(st.sampled_from(sorted(DONE)), JSON), st.sampled_from(["DaemonSet", "Deployment", "StatefulSet"]))
def test_nothing_incomplete_is_rolled_out(status, kind):
    """Whatever the numbers are: done means that each of them is there and the same positive number."""
    numbers = counts({"metadata": {"generation": 1}, "spec": {"replicas": 3}, "status": status}, kind)
    names = ("desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    whole = kind == "DaemonSet" and len({repr(status.get(name)) for name in names}) == 1 and status.get(names[0]) in (1, 2, 3)
    seen = status.get("observedGeneration")
    assert numbers.done == bool(
        whole and not isinstance(status[names[0]], bool) and isinstance(seen, int) and not isinstance(seen, bool) and seen >= 1
    )


def ended(code, reason="Error", **more):
    return {"terminated": {"exitCode": code, "reason": reason, **more}}


def running(seconds_ago):
    return {"running": {"startedAt": f"2026-11-21T00:00:{60 - seconds_ago:02d}Z"}}


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"state": running(40)}, ""),
        ({"state": running(1)}, ""),
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(1), "restartCount": 6},
            "CrashLoopBackOff, exit code 1 (Error), 6 restarts",
        ),
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(137, "OOMKilled"), "restartCount": 2},
            "CrashLoopBackOff, exit code 137 (OOMKilled), 2 restarts",
        ),
        # a crash loop counts also when its program ends without an error
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(0, "Completed")},
            "CrashLoopBackOff, exit code 0 (Completed), 0 restarts",
        ),
        ({"state": ended(2, message="no\n such  file"), "restartCount": 1}, "exit code 2 (Error): no such file, 1 restarts"),
        # between two crashes it looks healthy
        ({"state": running(29), "lastState": ended(1), "restartCount": 3}, "restarted 29 s ago, exit code 1 (Error), 3 restarts"),
        ({"state": running(30), "lastState": ended(1), "restartCount": 3}, ""),
        (
            {"state": {"running": {}}, "lastState": ended(1), "restartCount": 3},
            "restarted at an unknown time, exit code 1 (Error), 3 restarts",
        ),
        ({"state": running(3), "restartCount": 1}, "restarted 3 s ago, 1 restarts"),
        # it was stopped in good order, for example because its configuration changed
        ({"state": running(3), "lastState": ended(0, "Completed"), "restartCount": 1}, ""),
        ({"state": ended(0, "Completed")}, ""),
        ({}, ""),
    ],
)
def test_when_a_container_crashes(container, words):
    assert crash(container, NOW, 30) == words


@pytest.mark.parametrize(
    ("waiting", "words"),
    [
        ({"reason": "ImagePullBackOff", "message": "Back-off pulling\n image"}, "ImagePullBackOff: Back-off pulling image"),
        ({"reason": "CreateContainerConfigError"}, "CreateContainerConfigError"),
        ({"reason": "ContainerCreating"}, "ContainerCreating"),
        ({"reason": "PodInitializing"}, ""),
        ({"reason": "CrashLoopBackOff", "message": "told by crash"}, ""),
        ({}, ""),
    ],
)
def test_why_a_container_waits(waiting, words):
    assert obstacle({"state": {"waiting": waiting}}) == words


def test_a_selector_in_the_words_of_the_api():
    terms = [
        {"key": "a", "operator": "In", "values": ["b", "c"]},
        {"key": "d", "operator": "NotIn", "values": ["e"]},
        {"key": "f", "operator": "Exists"},
        {"key": "g", "operator": "DoesNotExist"},
    ]
    workload = {"spec": {"selector": {"matchLabels": {"k8s-app": "x", "app": "y"}, "matchExpressions": terms}}}
    assert selector(workload) == "app=y,k8s-app=x,a in (b,c),d notin (e),f,!g"


LOG = """\
I1121 00:00:01.000001 1 main.go:1] waiting for no error at all
level=info msg="failed attempts so far: 0"
{"level":"debug","msg":"connection refused is what we look for"}
level=warning   msg="unable to reach the API server"
starting
E1121 00:00:02.000002 1 main.go:2] dial tcp 10.96.0.1:443: connect: no route to host
goodbye

"""


def test_the_lines_of_a_log_that_matter():
    telling = [
        'level=warning msg="unable to reach the API server"',
        "E1121 00:00:02.000002 1 main.go:2] dial tcp 10.96.0.1:443: connect: no route to host",
    ]
    assert essence(LOG, 5) == telling
    assert essence(LOG, 1) == telling[1:]
    assert essence("a\n\nb\nc\n", 2) == ["b", "c"]
    assert essence("", 5) == []
    assert essence("error", 0) == []
    assert len(essence("error " + "x" * 999, 1)[0]) == _kube_rollout.LINE_LENGTH


@given(st.text())
def test_every_log_is_cut_to_what_a_finding_can_hold(log):
    lines = essence(log, 3)
    assert len(lines) <= 3 and all(0 < len(line) <= 300 and "\n" not in line for line in lines)


PULL = (
    'Failed to pull image "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel3": rpc error: code = Unknown desc = failed to pull and unpack image '
    '"ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel3": failed to resolve reference "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel3": '
    'failed to do request: Head "https://ghcr.io/v2/x": dial tcp: lookup ghcr.io on 192.0.2.1:53: no such host'
)


def test_the_cause_of_a_missing_image_is_told_and_not_the_waiting_for_it():
    def event(message, second):
        return {"type": "Warning", "reason": "Failed", "message": message, "involvedObject": {"uid": "a"}, "lastTimestamp": f"2026-01-01T00:00:{second}Z"}

    events = [event(PULL, "01"), event("Error: ErrImagePull", "02"), event("Error: ImagePullBackOff", "03")]
    told = _kube_rollout.warning(events, lambda about: True)
    assert told.startswith('Failed: Failed to pull image "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel3": ')
    assert told.endswith("dial tcp: lookup ghcr.io on 192.0.2.1:53: no such host")
    assert " ... " in told and len(told) < 330
    assert _kube_rollout.warning(events[1:], lambda about: True) == "Failed: Error: ImagePullBackOff"


def test_the_newest_warning_of_what_is_meant():
    def event(uid, text, when, kind="Warning"):
        return {"type": kind, "involvedObject": {"uid": uid}, "reason": "Why", "message": text, "lastTimestamp": when}

    events = [
        event("a", "old", "2026-11-21T00:00:01Z"),
        event("a", "new", "2026-11-21T00:00:02Z"),
        event("b", "other", "2026-11-21T00:00:03Z"),
    ]
    events.append(event("a", "no warning", "2026-11-21T00:00:04Z", "Normal"))
    assert _kube_rollout.warning(events, lambda about: about.get("uid") == "a") == "Why: new"
    assert _kube_rollout.warning(events, lambda about: about.get("uid") == "c") == ""
