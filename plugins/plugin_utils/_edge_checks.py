# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection baremetal.kubernetes: it may change or vanish
# with any release. Do not import it from elsewhere.
"""What all nodes together found out about the ingress controller."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import FAIL, PASS, UNKNOWN, Check, check

# what a module returned on one host; empty where it did not run
Result = t.Mapping[str, t.Any]
_ANSWERS = "answers of the ingress controller"
_NO_RESULT = "See the error of the task on this node; run the verification again."


def _checks_of(result: Result | None) -> list[Check] | None:
    """The findings of a module; None where it gave none, as after an error or when it was skipped."""
    found = (result or {}).get("checks")
    return list(found) if isinstance(found, list) else None


def _missing(identifier: str, wanted: str) -> Check:
    return check(identifier, UNKNOWN, "no result", wanted, _NO_RESULT)


def _of_host(serve: Result, requests: Result, workers: Result, any_controller: bool) -> list[Check]:
    """Findings of one node. Where the controller runs elsewhere, that there are no workers is as it should be."""
    checks = _checks_of(serve)
    checks = [_missing("edge_backend", "a test server in the probe pod on this node")] if checks is None else checks
    if not requests.get("skipped"):
        checks += _checks_of(requests) or [_missing("edge_http", _ANSWERS)]
    found = _checks_of(workers)
    if found is None:
        checks.append(_missing("edge_workers", "workers of NGINX as tuned"))
    elif workers.get("pods") or not any_controller:
        checks += found
    return checks


def _pods_check(controllers: t.Sequence[t.Mapping[str, t.Any]], workers: t.Mapping[str, Result]) -> Check:
    """Each pod of the controller was looked at where it runs."""
    wanted = "the processes of each pod of the ingress controller, on its node"
    names = [pod["name"] for pod in controllers]
    counts = {name: 0 for name in names}
    for result in workers.values():
        for pod in result.get("pods") or []:
            if pod.get("workers"):
                counts[pod["name"]] = counts.get(pod["name"], 0) + 1
    lost = [f"{pod['name']} on {pod['node']}" for pod in controllers if counts[pod["name"]] != 1]
    if not names:
        fix = "See the finding edge_controller."
        return check("edge_controller_nodes", UNKNOWN, "no pod of the controller is known", wanted, fix)
    if lost:
        fix = "Are these nodes in the inventory and in this run, and was the pod replaced meanwhile? `kubectl get pods -A -o wide`."
        return check("edge_controller_nodes", UNKNOWN, f"not found: {', '.join(lost)}", wanted, fix)
    return check("edge_controller_nodes", PASS, f"{len(names)} of {len(names)}", wanted)


def _of_client(name: str, result: Result) -> list[Check]:
    """Findings of a host outside of the cluster, with its name."""
    checks = _checks_of(result)
    if not checks:
        seen = str((result or {}).get("msg") or "no result")
        return [check(f"edge_client/{name}", FAIL if result.get("failed") else UNKNOWN, seen, "requests from this host", _NO_RESULT)]
    return [{**item, "id": f"{item['id']}/{name}"} for item in checks]


def edge_checks(results: t.Mapping[str, t.Mapping[str, Result]], prepared: Result, clients: t.Mapping[str, Result]) -> dict[str, t.Any]:
    """{"cluster": [...], "hosts": {host: [...]}, "notes": [...]}: notes say what was not tried."""
    controllers = prepared.get("controllers") or []
    parts = {name: {host: result or {} for host, result in (results.get(name) or {}).items()} for name in ("serve", "requests", "workers")}
    names = list(dict.fromkeys(host for part in parts.values() for host in part))
    hosts = {
        host: _of_host(parts["serve"].get(host, {}), parts["requests"].get(host, {}), parts["workers"].get(host, {}), bool(controllers))
        for host in names
    }
    cluster = _checks_of(prepared)
    cluster = [_missing("edge_controller", "an ingress controller with an address")] if cluster is None else cluster
    cluster.append(_pods_check(controllers, parts["workers"]))
    silent = [host for host, result in parts["requests"].items() if result.get("skipped")]
    if silent and not any(_checks_of(result) for result in [*parts["requests"].values(), *clients.values()]):
        cluster.append(check("edge_http", UNKNOWN, "no node could ask", _ANSWERS, "See the finding edge_controller_nodes."))
    for name, result in clients.items():
        cluster += _of_client(name, result)
    notes = []
    if silent:
        notes.append(
            f"{', '.join(silent)} did not ask the ingress controller: with IPVS and externalTrafficPolicy Local only a node with one of its "
            "pods gets an answer there itself."
        )
    if not any(item["id"].startswith("edge_client_address") for checks in [cluster, *hosts.values()] for item in checks):
        notes.append("The client's address was not judged, as there is no client outside of the cluster: verify_edge_clients.")
    return {"cluster": cluster, "hosts": hosts, "notes": notes}
