# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""Whether workloads are rolled out, and what their pods, events and logs say when they are not."""

from __future__ import annotations

import json
import re
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence
from urllib.parse import quote, urlencode

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _kube_nodes
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApi, KubeApiError, reason, seconds_since
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, Check, check

Object = Dict[str, Any]

PLURALS = {"DaemonSet": "daemonsets", "Deployment": "deployments", "StatefulSet": "statefulsets"}
WANTED = "every wanted pod updated and available, no older one left, no container crashing"
# A finding is read by a person: the same trouble on a hundred nodes is told of three.
MOST_PODS = 3
LINE_LENGTH = 300
# Read from the end of a log, to find those lines that matter.
TAIL = 200
_MATTERS = re.compile(
    r"error|fatal|panic|fail|denied|forbidden|refused|unable|cannot|can't|could not|invalid|unsupported|unknown|not found"
    r"|timed? ?out|no such|no route|exception|killed|unreachable|missing|mismatch|conflict",
    re.IGNORECASE,
)
# klog and JSON loggers say how bad a line is; an information that mentions an error is seldom why a program ended.
_HARMLESS = re.compile(r"^I\d{4} |level=\"?(info|debug|trace)|\"level\": ?\"(info|debug|trace)\"", re.IGNORECASE)


# What the kubelet says of its own waiting, not of the cause that it told a moment before.
_WAITING = re.compile(r"Error: (ErrImagePull|ImagePullBackOff)|Back-off ")
# What the runtime answers when a log went with its container.
_NO_LOG = "unable to retrieve container logs"


class Workload(NamedTuple):
    """One thing that has to be rolled out."""

    kind: str
    namespace: str
    name: str

    @property
    def id(self) -> str:
        return f"rollout/{self.kind}/{self.namespace}/{self.name}"

    @property
    def path(self) -> str:
        return f"/apis/apps/v1/namespaces/{quote(self.namespace, safe='')}/{PLURALS[self.kind]}/{quote(self.name, safe='')}"


class Counts(NamedTuple):
    """What the controller of a workload tells of its pods; generation: whether it has seen the newest specification."""

    wanted: int
    updated: int
    available: int
    total: int
    current: bool

    @property
    def done(self) -> bool:
        # No pod at all is no proof: a selector that matches no node would pass.
        return self.current and self.wanted > 0 and self.updated == self.available == self.total == self.wanted


# --- pure: objects in, sentences out


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def counts(workload: Object, kind: str) -> Counts:
    """The numbers by which kubectl rollout status judges, and the number of pods that are left in all."""
    spec, status, generation = workload.get("spec") or {}, workload.get("status") or {}, (workload.get("metadata") or {}).get("generation")
    current = isinstance(generation, int) and _number(status.get("observedGeneration")) >= generation
    strategy = (spec.get("updateStrategy") or {}).get("type")
    if kind == "DaemonSet":
        wanted, total = _number(status.get("desiredNumberScheduled")), _number(status.get("currentNumberScheduled"))
        updated, available = _number(status.get("updatedNumberScheduled")), _number(status.get("numberAvailable"))
    else:
        wanted, total = _number(spec.get("replicas", 1)), _number(status.get("replicas"))
        updated, available = _number(status.get("updatedReplicas")), _number(status.get("availableReplicas"))
        if kind == "StatefulSet" and "availableReplicas" not in status:  # before Kubernetes 1.22
            available = _number(status.get("readyReplicas"))
    if strategy == "OnDelete":
        # its pods are replaced when somebody removes them: that is not waited for
        updated = wanted
    return Counts(wanted, updated, available, total, current)


def told(numbers: Counts) -> str:
    """The numbers in words."""
    if not numbers.current:
        return "its controller has not seen the newest specification"
    if numbers.wanted == 0:
        return "no pod is wanted, so nothing runs"
    old = numbers.total - numbers.updated
    return f"{numbers.available} of {numbers.wanted} pods available, {numbers.updated} of {numbers.wanted} updated" + (
        f", {old} old left" if old > 0 else ""
    )


def selector(workload: Object) -> str:
    """The label selector of a workload as the API takes it in a query."""
    found = (workload.get("spec") or {}).get("selector") or {}
    parts = [f"{key}={value}" for key, value in sorted((found.get("matchLabels") or {}).items())]
    for term in found.get("matchExpressions") or []:
        key, values = term.get("key"), ",".join(term.get("values") or [])
        words = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": f"{key}", "DoesNotExist": f"!{key}"}
        parts.append(words[term["operator"]])
    return ",".join(parts)


def containers(pod: Object) -> Iterator[Object]:
    """The states of all containers, those for the beginning too."""
    status = pod.get("status") or {}
    for key in ("initContainerStatuses", "containerStatuses"):
        yield from status.get(key) or []


def crash(container: Object, now: float, stable_seconds: float) -> str:
    """Why a container counts as crashing, "" when it does not. One that has restarted a moment ago may do so again."""
    state, restarts = container.get("state") or {}, _number(container.get("restartCount"))
    waiting, last = state.get("waiting") or {}, (container.get("lastState") or {}).get("terminated") or {}
    ended = state.get("terminated") or {}
    running = state.get("running")
    if waiting.get("reason") == "CrashLoopBackOff":
        return f"CrashLoopBackOff, {_end(last)}{restarts} restarts"
    if ended and ended.get("exitCode") != 0:
        return f"{_end(ended)}{restarts} restarts"
    if restarts and running is not None and last.get("exitCode") != 0:
        since = seconds_since(running.get("startedAt"), now)
        if since is None or since < stable_seconds:
            ago = "at an unknown time" if since is None else f"{max(since, 0):.0f} s ago"
            return f"restarted {ago}, {_end(last)}{restarts} restarts"
    return ""


def _end(terminated: Object) -> str:
    if "exitCode" not in terminated:
        return ""
    name = terminated.get("reason")
    message = " ".join(str(terminated.get("message") or "").split())[-LINE_LENGTH:]
    return f"exit code {terminated['exitCode']}" + (f" ({name})" if name else "") + (f": {message}" if message else "") + ", "


def obstacle(container: Object) -> str:
    """Why a container waits: ImagePullBackOff, CreateContainerConfigError, ... Not what every start passes through."""
    waiting = (container.get("state") or {}).get("waiting") or {}
    name = waiting.get("reason") or ""
    if name in ("", "PodInitializing", "CrashLoopBackOff"):
        return ""
    message = shortened(str(waiting.get("message") or ""))
    return f"{name}: {message}" if message else name


def warning(events: Sequence[Object], is_meant: Callable[[Object], bool]) -> str:
    """The newest warning about what is meant, with its cause rather than with the kubelet's word for its own waiting."""
    found = [e for e in events if e.get("type") == "Warning" and is_meant(e.get("involvedObject") or {}) and e.get("message")]
    if not found:
        return ""
    telling = [e for e in found if not _WAITING.match(str(e["message"]))]
    last = max(
        telling or found,
        key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or (e.get("metadata") or {}).get("creationTimestamp") or ""),
    )
    return f"{last.get('reason') or 'Warning'}: {shortened(str(last['message']))}"


def shortened(text: str) -> str:
    """One line; of a long one beginning and end, which has the cause in an error of Go."""
    line = " ".join(text.split())
    return line if len(line) <= LINE_LENGTH else f"{line[:LINE_LENGTH // 3]} ... {line[-(LINE_LENGTH * 2 // 3):]}"


def essence(log: str, lines: int) -> List[str]:
    """The last lines of a log that tell of trouble, else its last lines."""
    every = [" ".join(line.split())[:LINE_LENGTH] for line in log.splitlines() if line.strip()]
    telling = [line for line in every if _MATTERS.search(line) and not _HARMLESS.search(line)]
    return (telling or every)[-lines:] if lines > 0 else []


def unhealthy(pod: Object, now: float, stable_seconds: float) -> bool:
    """Whether a pod is not ready, or a container of it crashes."""
    conditions = {c.get("type"): c.get("status") for c in (pod.get("status") or {}).get("conditions") or []}
    return conditions.get("Ready") != "True" or any(crash(container, now, stable_seconds) for container in containers(pod))


# --- with the API


class Rollout:
    """Asks for workloads until all are rolled out, or the time is over."""

    def __init__(
        self,
        api: KubeApi,
        workloads: Sequence[Workload],
        stable_seconds: float = 30,
        log_lines: int = 5,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.api, self.workloads = api, list(workloads)
        self.stable_seconds, self.log_lines = stable_seconds, log_lines
        self._clock, self._sleep, self._now = clock, sleep, now

    def wait(
        self, wait_seconds: float, poll_seconds: float = 5, nodes_ready: bool = False, addresses: Sequence[str] = ()
    ) -> Dict[str, Any]:
        """{checks, waited}; what is not rolled out when the time is over is looked into."""
        begin = self._clock()
        while True:
            passed = [self._done(workload) for workload in self.workloads]
            if all(passed) or self._clock() - begin + poll_seconds > wait_seconds:
                break
            self._sleep(poll_seconds)
        checks = [done or self._finding(workload) for workload, done in zip(self.workloads, passed)]
        if nodes_ready:
            checks.append(self._nodes(addresses, max(0, wait_seconds - (self._clock() - begin)), poll_seconds))
        return {"checks": checks, "waited": round(self._clock() - begin, 1)}

    def _done(self, workload: Workload) -> Optional[Check]:
        """The finding of what is rolled out, None as long as it is not."""
        try:
            found = self.api.get(workload.path)
            if found is None or not counts(found, workload.kind).done:
                return None
            pods = self._pods(workload, found)
        except KubeApiError:
            return None
        if not pods or any(crash(container, self._now(), self.stable_seconds) for pod in pods for container in containers(pod)):
            return None
        return check(workload.id, PASS, told(counts(found, workload.kind)), WANTED)

    def _pods(self, workload: Workload, found: Object) -> List[Object]:
        """Its pods, without those that are on their way out."""
        query = urlencode({"labelSelector": selector(found)})
        answer = self.api.get(f"/api/v1/namespaces/{quote(workload.namespace, safe='')}/pods?{query}") or {}
        pods = [pod for pod in answer.get("items") or [] if not pod["metadata"].get("deletionTimestamp")]
        if workload.kind == "Deployment":  # it owns ReplicaSets, which own the pods
            return pods
        uid = found["metadata"].get("uid")
        return [pod for pod in pods if any(owner.get("uid") == uid for owner in pod["metadata"].get("ownerReferences") or [])]

    def _finding(self, workload: Workload) -> Check:
        inside = f"kubectl -n {workload.namespace}"
        describe = f"`{inside} describe {workload.kind.lower()} {workload.name}`"
        try:
            found = self.api.get(workload.path)
            if found is None:
                fix = f"What makes it: a chart, an operator? `{inside} get all`; `{inside} get events --sort-by=.lastTimestamp`."
                return check(
                    workload.id, FAIL, f"there is no {workload.kind} {workload.name} in namespace {workload.namespace}", WANTED, fix
                )
            pods = self._pods(workload, found)
            path = f"/api/v1/namespaces/{quote(workload.namespace, safe='')}/events?fieldSelector=type%3DWarning"
            events = (self.api.get(path) or {}).get("items") or []
        except KubeApiError as error:
            return check(
                workload.id,
                UNKNOWN,
                str(error),
                WANTED,
                "Does the API server run? `crictl ps -a --name kube-apiserver` on the control planes.",
            )
        bad = [pod for pod in pods if unhealthy(pod, self._now(), self.stable_seconds)]
        parts = [told(counts(found, workload.kind))] + _complaints(found)
        if not pods:
            parts.append("it has no pods" + _after(": ", warning(events, lambda about: _is_part(about, workload.name))))
        parts += [self._pod(workload, pod, events) for pod in bad[:MOST_PODS]]
        if len(bad) > MOST_PODS:
            parts.append(f"and {len(bad) - MOST_PODS} more pods")
        return check(workload.id, FAIL, "; ".join(parts), WANTED, "; ".join([describe] + self._commands(inside, bad[:1])) + ".")

    def _commands(self, inside: str, pods: Sequence[Object]) -> List[str]:
        result = []
        for pod in pods:
            name = pod["metadata"]["name"]
            result.append(f"`{inside} describe pod {name}`")
            crashing = [c for c in containers(pod) if crash(c, self._now(), self.stable_seconds)]
            result += [f"`{inside} logs {name} -c {container['name']} --previous`" for container in crashing[:1]]
        return result

    def _pod(self, workload: Workload, pod: Object, events: Sequence[Object]) -> str:
        """One pod: where it is, and everything that the API knows against it."""
        metadata, status = pod["metadata"], pod.get("status") or {}
        parts = [": ".join(str(status[key]) for key in ("reason", "message") if status.get(key))]
        for condition in status.get("conditions") or []:
            if condition.get("type") == "PodScheduled" and condition.get("status") != "True":
                parts.append(f"not scheduled: {condition.get('message') or condition.get('reason') or 'no reason given'}")
        for container in containers(pod):
            name = container.get("name")
            why, waits = crash(container, self._now(), self.stable_seconds), obstacle(container)
            if why:
                parts.append(f"container {name}: {why}" + self._logs(workload, metadata["name"], name, crashed=True))
            elif waits:
                parts.append(f"container {name}: {waits}")
            elif (container.get("state") or {}).get("running") is not None and container.get("ready") is False:
                parts.append(f"container {name} runs and is not ready" + self._logs(workload, metadata["name"], name, crashed=False))
        parts.append(warning(events, lambda about: about.get("uid") == metadata.get("uid")))
        parts = [part for part in parts if part] or [f"phase {status.get('phase') or 'unknown'}, not ready"]
        node = (pod.get("spec") or {}).get("nodeName")
        return f"pod {metadata['name']} on {node or 'no node'}: " + "; ".join(parts)

    def _logs(self, workload: Workload, pod: str, container: Any, crashed: bool) -> str:
        """What the log tells, of the run before too when the container crashed."""
        before = self._log(workload, pod, container, previous=True) if crashed else []
        last = self._log(workload, pod, container, previous=False)
        return _after("; its log before: ", " | ".join(before)) + ("" if last == before else _after("; its log: ", " | ".join(last)))

    def _log(self, workload: Workload, pod: str, container: Any, previous: bool) -> List[str]:
        query = urlencode({"container": container, "tailLines": TAIL, "previous": "true" if previous else "false"})
        path = f"/api/v1/namespaces/{quote(workload.namespace, safe='')}/pods/{quote(pod, safe='')}/log?{query}"
        try:
            status, answer = self.api.request("GET", path)
        except KubeApiError as error:
            return [f"cannot be read: {error}"]
        if status == 200 and _NO_LOG in str(answer):
            return []
        if status == 200:
            # a log of one JSON line arrives parsed
            return essence(answer if isinstance(answer, str) else json.dumps(answer), self.log_lines)
        # without a run before there is no log of it; that the kubelet cannot be asked is worth to be told once
        return [] if previous else [f"cannot be read, {status}: {reason(answer)}"]

    def _nodes(self, addresses: Sequence[str], wait_seconds: float, poll_seconds: float) -> Check:
        wanted = "every node Ready"
        try:
            nodes = _kube_nodes.wait(self.api.get, addresses, "ready", wait_seconds, poll_seconds, self._clock, self._sleep)["nodes"]
        except _kube_nodes.KubeNodesError as error:
            return check("nodes_ready", FAIL if error.nodes else UNKNOWN, str(error), wanted, "On the node: `journalctl -u kubelet`.")
        total = len(addresses) or len(nodes)
        return check("nodes_ready", PASS, f"{total} of {total} nodes Ready", wanted)


def _after(words: str, text: str) -> str:
    return words + text if text else ""


def _is_part(about: Object, name: str) -> bool:
    """Whether an event is about a workload or its ReplicaSets."""
    return about.get("kind") in (*PLURALS, "ReplicaSet") and (about.get("name") == name or str(about.get("name")).startswith(f"{name}-"))


def _complaints(workload: Object) -> List[str]:
    """Conditions of a Deployment that say why it does not get on."""
    result = []
    for condition in (workload.get("status") or {}).get("conditions") or []:
        if (condition.get("type"), condition.get("status")) in (("ReplicaFailure", "True"), ("Progressing", "False")):
            result.append(f"{condition.get('reason')}: {condition.get('message')}")
    return result
