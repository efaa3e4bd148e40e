# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module kube_apply against an API of its own that keeps what is applied; the ways it refuses are those of a real one."""

from __future__ import annotations

import copy
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _kube_apply
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import METADATA_LIST, KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.modules import kube_apply

NOW = 1795219260  # 2026-11-21T00:01:00Z


def config_map(name="a", namespace="demo", data=None, **labels):
    metadata = {"name": name, "namespace": namespace, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data or {"k": "1"}}


NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}
CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "peers.x.io"}, "spec": {}}
PEER = {"apiVersion": "x.io/v1", "kind": "Peer", "metadata": {"name": "p"}, "spec": {"a": 1}}


class Cluster:
    """Server-side apply as far as it matters here: fields replace fields, and another manager's value is a conflict."""

    server = "https://192.0.2.11:6443"

    def __init__(self):
        self.kinds = {
            "/api/v1": [
                ("namespaces", "Namespace", False),
                ("configmaps", "ConfigMap", True),
                ("secrets", "Secret", True),
                ("namespaces/status", "Namespace", False),
            ],
            "/apis/apiextensions.k8s.io/v1": [("customresourcedefinitions", "CustomResourceDefinition", False)],
        }
        self.stored, self.owner, self.asked, self.refusals, self.now = {}, {}, [], [], 0.0
        # seconds after which the kind of the CRD is served
        self.crd_takes = 0.0
        self.crd_since = None
        self.version = 0

    def sleep(self, seconds):
        self.now += seconds
        self.on_sleep()

    def on_sleep(self):
        pass

    def request(self, method, path, body=None, content_type="application/json", accept="application/json"):
        self.asked.append((method, path))
        if self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, Exception):
                raise refusal
            if refusal and refusal[0] == method:
                return refusal[1], {"message": refusal[2]}
        address = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        if self.crd_since is not None and self.now - self.crd_since >= self.crd_takes:
            self.kinds["/apis/x.io/v1"] = [("peers", "Peer", False)]
        if address.path in self.kinds:
            return 200, {
                "resources": [{"name": name, "kind": kind, "namespaced": inside} for name, kind, inside in self.kinds[address.path]]
            }
        if "labelSelector" in query:
            assert accept == METADATA_LIST
            key, value = query["labelSelector"].split("=")
            base, dummy, plural = address.path.rpartition("/")
            items = [
                {"metadata": item["metadata"]}
                for where, item in self.stored.items()
                if where.startswith(base + "/") and f"/{plural}/" in where and item["metadata"].get("labels", {}).get(key) == value
            ]
            return 200, {"items": items}
        if method == "GET":
            found = self.stored.get(address.path)
            return (200, copy.deepcopy(found)) if found else (404, {"message": "not found"})
        if method == "DELETE":
            assert body["preconditions"]["uid"] == self.stored[address.path]["metadata"]["uid"]
            del self.stored[address.path]
            return 200, {}
        assert (method, content_type) == ("PATCH", "application/apply-patch+yaml")
        inside = re.match("(/api/v1/namespaces/[^/]+)/", address.path)
        if inside and inside.group(1) not in self.stored:
            return 404, {"message": 'namespaces "demo" not found'}
        return self.apply(address.path, query, body)

    def apply(self, path, query, body):
        old = self.stored.get(path)
        if old and self.owner[path] != query["fieldManager"] and query["force"] != "true" and old.get("data") != body.get("data"):
            cause = {"reason": "FieldManagerConflict", "message": f'conflict with "{self.owner[path]}"', "field": ".data.k"}
            return 409, {"message": "conflict", "details": {"causes": [cause]}}
        self.version += 1
        new = copy.deepcopy(body)
        if "uid" not in new["metadata"]:
            new["metadata"]["uid"] = f"uid-{self.version}"
        new["metadata"].setdefault("creationTimestamp", "2026-11-21T00:00:10Z")
        new["metadata"].update({"resourceVersion": str(self.version), "managedFields": [self.version], "generation": self.version})
        new["status"] = {"seen": self.version}
        if query.get("dryRun") != "All":
            self.stored[path], self.owner[path] = new, query["fieldManager"]
            if body["kind"] == "CustomResourceDefinition":
                self.crd_since = self.now
        return 200 if old else 201, copy.deepcopy(new)


@pytest.fixture(name="cluster")
def fixture_cluster(monkeypatch):
    cluster = Cluster()
    applier = _kube_apply.Applier

    def timed(*args):
        return applier(*args, clock=lambda: cluster.now, sleep=cluster.sleep, now=lambda: NOW)

    monkeypatch.setattr(kube_apply, "KubeApi", lambda kubeconfig: cluster)
    monkeypatch.setattr(_kube_apply, "Applier", timed)
    return cluster


@pytest.fixture(name="run")
def fixture_run(cluster, capsys, tmp_path):
    """Run the module: (whether it succeeded, its result, all that it printed)."""
    kubeconfig = tmp_path / "admin.conf"
    kubeconfig.write_text("x")

    def run(check=False, **options):
        with patch_module_args({"kubeconfig": str(kubeconfig), **options, "_ansible_check_mode": check, "_ansible_diff": True}):
            with pytest.raises(SystemExit) as done:
                kube_apply.main()
        printed = capsys.readouterr().out
        return done.value.code == 0, json.loads(printed), printed

    return run


def changes(result):
    return [f"{entry['kind']} {entry['name']} {entry['change']}" for entry in result["objects"]]


def test_made_once_then_unchanged_then_changed(run, cluster):
    wanted = {"objects": [config_map(), NAMESPACE]}
    for check in (True, False):
        ok, result, dummy = run(check, **wanted)
        assert (ok, result["changed"], changes(result)) == (True, True, ["Namespace demo created", "ConfigMap a created"])
        assert bool(cluster.stored) is not check
    for check in (True, False):
        ok, result, dummy = run(check, **wanted)
        assert (ok, result["changed"], result["diff"]) == (True, False, [])
        assert changes(result) == ["Namespace demo unchanged", "ConfigMap a unchanged"]
    for check in (True, False):
        ok, result, dummy = run(check, objects=[config_map(data={"k": "2"})])
        assert (ok, result["changed"], changes(result)) == (True, True, ["ConfigMap a configured"])
        (difference,) = result["diff"]
        assert '"k": "1"' in difference["before"] and '"k": "2"' in difference["after"]
        assert "resourceVersion" not in difference["after"] and "managedFields" not in difference["before"]
    assert cluster.stored["/api/v1/namespaces/demo/configmaps/a"]["data"] == {"k": "2"}


def test_a_text_is_applied_too(run):
    ok, result, dummy = run(manifest=json.dumps({"apiVersion": "v1", "kind": "List", "items": [NAMESPACE, config_map()]}))
    assert (ok, changes(result)) == (True, ["Namespace demo created", "ConfigMap a created"])


def test_without_a_cluster_check_mode_tells_what_would_be_made(run, cluster, tmp_path):
    ok, result, dummy = run(True, objects=[NAMESPACE], kubeconfig=str(tmp_path / "none"), prune_label="a=b", prune_kinds=["v1/ConfigMap"])
    assert (ok, result["changed"], changes(result)) == (True, True, ["Namespace demo created"])
    assert cluster.asked == []
    assert run(True, kubeconfig=str(tmp_path / "none"))[1]["changed"] is False


def test_a_conflict_names_field_and_manager_and_force_takes_over(run, cluster):
    run(objects=[NAMESPACE, config_map()])
    ok, result, dummy = run(objects=[config_map(data={"k": "3"})], field_manager="other")
    assert not ok and '.data.k (conflict with "baremetal.kubernetes")' in result["msg"] and "force" in result["msg"]
    assert cluster.now == 0, "a conflict does not pass by waiting"
    ok, result, dummy = run(objects=[config_map(data={"k": "3"})], field_manager="other", force=True)
    assert (ok, changes(result)) == (True, ["ConfigMap a configured"])


SECRET = {"name": "s", "namespace": "demo", "data": {"password": "correct-horse"}}


@pytest.mark.parametrize("check", [True, False])
def test_a_secret_is_nowhere_in_the_result(run, cluster, check):
    run(objects=[NAMESPACE], secrets=[{**SECRET, "data": {"password": "battery-staple"}}])
    ok, result, printed = run(check, secrets=[SECRET])
    assert (ok, changes(result)) == (True, ["Secret s configured"])
    for text in ("correct-horse", "Y29ycmVjdC1ob3JzZQ", "battery-staple", "YmF0dGVyeS1zdGFwbGU"):
        assert text not in printed
    assert "hidden, after" in result["diff"][0]["after"]
    assert cluster.stored["/api/v1/namespaces/demo/secrets/s"]["data"] == {
        "password": "YmF0dGVyeS1zdGFwbGU=" if check else "Y29ycmVjdC1ob3JzZQ=="
    }


def test_a_secret_is_not_in_the_log_of_the_host(run, monkeypatch):
    logged = []
    monkeypatch.setattr(kube_apply.AnsibleModule, "log", lambda self, msg, log_args=None: logged.append(f"{msg} {log_args}"))
    run(objects=[NAMESPACE], secrets=[SECRET])
    assert any("demo" in line for line in logged), "the log is not looked at"
    assert not [line for line in logged if "correct-horse" in line]


def test_a_secret_that_the_api_quotes_is_hidden(run, cluster):
    cluster.refusals = [None, None, ("PATCH", 422, "data[password]: Invalid value: Y29ycmVjdC1ob3JzZQ==")]
    ok, result, printed = run(secrets=[SECRET])
    assert not ok and "Secret demo/s was refused with 422" in result["msg"]
    assert "Y29ycmVjdC1ob3JzZQ" not in printed


def test_a_secret_among_the_objects_is_refused_and_hidden(run, cluster):
    item = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "demo"}, "stringData": {"a": "correct-horse"}}
    for options in ({"objects": [item]}, {"manifest": json.dumps(item)}):
        ok, result, printed = run(**options)
        assert not ok and "option secrets" in result["msg"] and "correct-horse" not in printed
    assert cluster.asked == []


def test_a_kind_that_comes_with_its_crd_is_waited_for(run, cluster):
    cluster.crd_takes = 7
    ok, result, dummy = run(True, objects=[PEER, CRD])
    assert (ok, changes(result)) == (True, ["CustomResourceDefinition peers.x.io created", "Peer p created"])
    ok, result, dummy = run(objects=[PEER, CRD])
    assert (ok, changes(result), result["waited"]) == (True, ["CustomResourceDefinition peers.x.io created", "Peer p created"], 9.0)
    assert run(objects=[PEER, CRD])[1]["changed"] is False


def test_a_kind_that_never_comes_is_named_and_what_was_done_is_told(run, cluster):
    ok, result, dummy = run(objects=[PEER, NAMESPACE], wait_seconds=20)
    assert not ok and "does not serve kind Peer of x.io/v1" in result["msg"] and "after 18 seconds" in result["msg"]
    assert (result["changed"], changes(result)) == (True, ["Namespace demo created"])


@pytest.mark.parametrize(
    ("refusal", "waits"),
    [
        (("PATCH", 500, 'failed calling webhook "w": no endpoints available for service "w"'), True),
        (("PATCH", 500, 'admission webhook "w" denied the request: not today'), False),
        (("PATCH", 503, 'admission webhook "w" denied the request: not today'), False),
        (("PATCH", 503, "no endpoints"), True),
        (("GET", 429, "too many requests"), True),
        (("PATCH", 403, "unable to create new content because it is being terminated"), True),
        (("PATCH", 409, "the object has been modified"), True),
        (KubeApiError("https://192.0.2.11:6443 gave no answer"), True),
        (("PATCH", 500, "failed to create typed patch object: .data: expected map"), False),
        (("PATCH", 500, "failed to create typed patch object: .spec.x: field not declared in schema"), True),
        (("PATCH", 403, "forbidden"), False),
        (("PATCH", 422, "Invalid value"), False),
        (("GET", 403, "forbidden"), False),
    ],
)
def test_what_passes_is_waited_for_and_what_does_not_is_told_at_once(run, cluster, refusal, waits):
    run(objects=[NAMESPACE])
    # the kinds, what is there, the patch
    place = {"GET": 1, "PATCH": 2}.get(refusal[0] if isinstance(refusal, tuple) else "GET")
    cluster.refusals = [None] * place + [refusal]
    ok, result, dummy = run(objects=[config_map()])
    assert ok is waits
    assert cluster.now == (3 if waits else 0)
    # what was waited for is told, what was not waited for is no wait
    said = str(refusal if isinstance(refusal, Exception) else refusal[2])
    assert [said in text for text in result["waited_for"]] == ([True] if waits else [])
    assert ok or said in result["msg"]
    # in check mode nothing is waited for
    cluster.stored.pop("/api/v1/namespaces/demo/configmaps/a", None)
    cluster.refusals = [None] * place + [refusal]
    assert run(True, objects=[config_map()])[0] is False


def test_what_is_being_removed_is_waited_for(run, cluster):
    path = "/api/v1/namespaces/demo"
    cluster.stored[path] = {**NAMESPACE, "metadata": {"name": "demo", "deletionTimestamp": "x"}}
    cluster.on_sleep = lambda: cluster.stored.pop(path, None)
    ok, result, dummy = run(objects=[NAMESPACE])
    assert (ok, changes(result), result["waited"]) == (True, ["Namespace demo created"], 3.0)
    cluster.stored[path]["metadata"]["deletionTimestamp"] = "x"
    cluster.on_sleep = lambda: None
    ok, result, dummy = run(objects=[NAMESPACE], wait_seconds=10)
    assert not ok and "still being removed" in result["msg"] and "finalizers" in result["msg"]


def test_what_has_to_exist_is_changed_and_never_made(run, cluster):
    run(objects=[NAMESPACE])
    uid = cluster.stored["/api/v1/namespaces/demo"]["metadata"]["uid"]
    known = {**NAMESPACE, "metadata": {"name": "demo", "uid": uid, "labels": {"a": "b"}}}
    for check in (True, False):
        assert changes(run(check, objects=[known])[1]) == ["Namespace demo configured"]
    assert run(objects=[known])[1]["changed"] is False
    # a wrong name, and one that was made anew under the same name
    for item in ({**known, "metadata": {**known["metadata"], "name": "demp"}}, {**known, "metadata": {"name": "demo", "uid": "other"}}):
        for check in (True, False):
            ok, result, dummy = run(check, objects=[item])
            assert not ok and "changed, never made" in result["msg"] and f"Namespace {item['metadata']['name']} with" in result["msg"]
    assert cluster.now == 0, "it does not come by waiting"
    assert list(cluster.stored) == ["/api/v1/namespaces/demo"]


def test_a_namespaced_object_without_namespace_is_refused(run):
    item = config_map()
    del item["metadata"]["namespace"]
    ok, result, dummy = run(objects=[item])
    assert not ok and "ConfigMap a has no metadata.namespace" in result["msg"]


def test_a_namespace_means_nothing_to_a_kind_without(run, cluster):
    run(objects=[CRD, {**PEER, "metadata": {"name": "p", "namespace": "demo"}}])
    assert "/apis/x.io/v1/peers/p" in cluster.stored


def test_objects_that_are_not_wanted_any_more_are_pruned(run, cluster):
    other = {**NAMESPACE, "metadata": {"name": "other"}}
    run(objects=[NAMESPACE, other, config_map("a", x="y"), config_map("b", x="y"), config_map("c", x="z"), config_map("b", "other", x="y")])
    options = {"objects": [config_map("a", x="y")], "prune_label": "x=y", "prune_kinds": ["v1/ConfigMap", "none.io/v1/None"]}
    for check in (True, False):
        ok, result, dummy = run(check, **options)
        assert (ok, result["changed"]) == (True, True)
        assert [(e["namespace"], e["name"], e["change"]) for e in result["objects"]] == [
            ("demo", "a", "unchanged"),
            ("demo", "b", "pruned"),
            ("other", "b", "pruned"),
        ]
    assert sorted(path.rpartition("namespaces/")[2] for path in cluster.stored) == [
        "demo",
        "demo/configmaps/a",
        "demo/configmaps/c",
        "other",
    ]
    assert run(**options)[1]["changed"] is False
    assert cluster.now == 0, "a kind that is not served is not waited for"


def test_what_was_made_anew_is_not_pruned(run, cluster):
    run(objects=[NAMESPACE, config_map("a", x="y")])
    cluster.refusals = [None, None, ("DELETE", 409, "the UID in the precondition does not match")]
    ok, result, dummy = run(prune_label="x=y", prune_kinds=["v1/ConfigMap"])
    assert not ok and "ConfigMap demo/a was made anew" in result["msg"] and cluster.now == 0
    assert "/api/v1/namespaces/demo/configmaps/a" in cluster.stored


def test_a_kind_to_prune_without_version_is_refused(run, cluster):
    """It would be asked for at no place, and nothing of it would ever be removed."""
    ok, result, dummy = run(prune_label="x=y", prune_kinds=["ConfigMap"])
    assert not ok and "'ConfigMap' in prune_kinds has no version" in result["msg"]


def test_pruning_can_be_narrowed(run, cluster):
    other = {**NAMESPACE, "metadata": {"name": "other"}}
    run(objects=[NAMESPACE, other, config_map("a", x="y"), config_map("a", "other", x="y")])
    # both were made 50 seconds ago
    options = {"prune_label": "x=y", "prune_kinds": ["v1/ConfigMap"], "prune_namespace": "other"}
    assert run(prune_older_than=51, **options)[1]["objects"] == []
    assert [entry["namespace"] for entry in run(prune_older_than=50, **options)[1]["objects"]] == ["other"]


@pytest.mark.parametrize(
    "options", [{"prune_label": "a=b"}, {"prune_kinds": ["v1/ConfigMap"]}, {"prune_label": "", "prune_kinds": ["v1/ConfigMap"]}]
)
def test_everything_of_a_kind_is_never_pruned(run, cluster, options):
    ok, result, dummy = run(**options)
    assert not ok and "belong together" in result["msg"]
    assert cluster.asked == []


WAIT = {"api_version": "x.io/v1", "kind": "Peer", "name": "p", "condition": "Up"}


def test_a_condition_is_waited_for(run, cluster):
    def come_up():
        cluster.stored["/apis/x.io/v1/peers/p"]["status"] = {"conditions": [{"type": "Up", "status": "True"}]}

    cluster.on_sleep = come_up
    ok, result, dummy = run(objects=[CRD, PEER], wait_conditions=[WAIT])
    assert (ok, result["waited"]) == (True, 3.0)


def test_a_field_is_waited_for(run, cluster):
    wanted = {"api_version": "v1", "kind": "ConfigMap", "namespace": "demo", "name": "a", "field": "status.loadBalancer.ingress"}
    path = "/api/v1/namespaces/demo/configmaps/a"
    cluster.on_sleep = lambda: cluster.stored[path].update(status={"loadBalancer": {"ingress": [{"ip": "192.0.2.80"}]}})
    ok, result, dummy = run(objects=[NAMESPACE, config_map()], wait_conditions=[wanted])
    assert (ok, result["waited"]) == (True, 3.0)
    assert result["waited_for"] == [
        "ConfigMap demo/a has no status.loadBalancer.ingress. Look at `kubectl -n demo describe configmap a`."
    ]
    for options in ({"field": None}, {"condition": "Up"}):
        assert run(wait_conditions=[{**wanted, **options}])[0] is False


def test_the_reason_of_a_condition_is_told(run, cluster):
    condition = {"type": "Up", "status": "False", "reason": "NoRoute", "message": "rack1 does not answer"}
    run(objects=[CRD, PEER])
    cluster.stored["/apis/x.io/v1/peers/p"]["status"] = {"conditions": [condition]}
    ok, result, dummy = run(wait_conditions=[WAIT], wait_seconds=3)
    assert not ok and "Peer p: Up is False (NoRoute: rack1 does not answer), wanted is Up True." in result["msg"]


def test_a_condition_that_does_not_come_is_told_with_the_change(run, cluster):
    ok, result, dummy = run(objects=[CRD, PEER], wait_conditions=[WAIT, {**WAIT, "api_version": "y.io/v1"}], wait_seconds=9)
    assert not ok and result["changed"] is True
    assert "Peer p has no condition Up, wanted is Up True; Peer p: kind Peer of y.io/v1 is not served" in result["msg"]
    assert "`kubectl describe peer p`" in result["msg"] and "after 9 seconds" in result["msg"]
    assert run(True, wait_conditions=[WAIT])[0] is True, "check mode waits for nothing"
