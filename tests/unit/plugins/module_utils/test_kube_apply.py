# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What server-side apply is given and what counts as a change, without an API."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _kube_apply
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_apply import KubeApplyError

MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "demo"}, "data": {"k": "1"}}


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ('{"kind": "A"}', [{"kind": "A"}]),
        ('[{"kind": "A"}, {"kind": "B"}]', [{"kind": "A"}, {"kind": "B"}]),
        ("kind: A\n---\n---\nkind: B\n", [{"kind": "A"}, {"kind": "B"}]),
        ("", []),
        ("made: 2026-11-21\n", [{"made": "2026-11-21"}]),
    ],
)
def test_a_manifest_is_json_or_yaml(text, documents):
    pytest.importorskip("yaml")
    assert _kube_apply.parse_manifest(text) == documents


def test_broken_yaml_is_named():
    pytest.importorskip("yaml")
    with pytest.raises(KubeApplyError, match="neither JSON nor YAML: .*line 2"):
        _kube_apply.parse_manifest("a: [\n")


def test_without_the_yaml_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(_kube_apply, "yaml", None)
    assert _kube_apply.parse_manifest('{"kind": "A"}') == [{"kind": "A"}]
    with pytest.raises(KubeApplyError, match="python3-yaml .*from_yaml_all"):
        _kube_apply.parse_manifest("kind: A")


def test_lists_are_taken_apart():
    other = {**MAP, "metadata": {"name": "b"}}
    assert list(_kube_apply.flat([{"apiVersion": "v1", "kind": "List", "items": [MAP]}, other])) == [MAP, other]


@pytest.mark.parametrize(
    ("item", "missing"),
    [
        ("text", "apiVersion, kind and metadata.name"),
        ({}, "metadata.name"),
        ({"metadata": {"name": "a"}}, "kind"),
        ({"metadata": {"name": "a"}, "kind": "A"}, "apiVersion"),
        ({"metadata": {"name": ""}, "kind": "A", "apiVersion": "v1"}, "metadata.name"),
        ({"metadata": {"name": "a"}, "kind": 3, "apiVersion": "v1"}, "kind"),
    ],
)
def test_what_is_no_object_is_counted_from_one(item, missing):
    with pytest.raises(KubeApplyError, match=f"^Number 2 of the objects has no {missing};"):
        list(_kube_apply.flat([MAP, item]))


def test_what_others_lie_in_comes_first():
    kinds = ["DaemonSet", "CustomResourceDefinition", "ConfigMap", "Namespace"]
    objects = [{"kind": kind} for kind in kinds]
    found = [item["kind"] for item in _kube_apply.in_order(objects, [{"kind": "Secret"}])]
    assert found == ["Namespace", "CustomResourceDefinition", "Secret", "DaemonSet", "ConfigMap"]


def test_a_secret_is_encoded_for_the_field_that_is_owned():
    made = _kube_apply.secret("demo", "s", "Opaque", {}, {"a": "secret", "n": 5})
    assert made["data"] == {"a": "c2VjcmV0", "n": "NQ=="}
    assert "stringData" not in made and "labels" not in made["metadata"]


def test_the_bookkeeping_is_no_difference():
    written = {"managedFields": [1], "resourceVersion": "7", "generation": 2, "creationTimestamp": "x", "uid": "u", "selfLink": "/"}
    stored = {**MAP, "metadata": {**MAP["metadata"], **written}, "status": {"x": 1}}
    assert _kube_apply.plain(stored) == MAP
    labelled = {**stored, "metadata": {**stored["metadata"], "labels": {"a": "b"}}}
    assert _kube_apply.plain(labelled) != MAP
    assert _kube_apply.plain(None) is None


@given(
    st.dictionaries(st.sampled_from("abc"), st.text(min_size=6, alphabet="xyz0189")),
    st.dictionaries(st.sampled_from("abc"), st.text(min_size=6, alphabet="xyz0189")),
)
def test_no_diff_shows_what_a_secret_holds(old, new):
    def made(data):
        item = _kube_apply.secret("demo", "s", "Opaque", {}, data)
        item["metadata"]["annotations"] = {_kube_apply.LAST_APPLIED: str(data)}
        return item

    before, after = _kube_apply.shown(made(old), made(new), "before"), _kube_apply.shown(made(new), made(old), "after")
    for value in [*old.values(), *new.values()]:
        for text in (before, after):
            assert value not in text and base64.b64encode(value.encode()).decode() not in text
    # whether a key differs is seen all the same
    assert (before == after) == (old == new)


def test_what_is_in_secrets_is_known_in_both_forms():
    objects = [{"kind": "Secret", "data": {"a": "c2VjcmV0"}, "stringData": {"b": "plain!"}}, MAP]
    assert _kube_apply.secret_texts(objects) >= {"c2VjcmV0", "secret", "plain!", "cGxhaW4h"}
    assert "1" not in _kube_apply.secret_texts(objects)


def test_a_secret_among_the_objects_is_refused_only_with_data():
    _kube_apply.refuse_secrets([{"kind": "Secret", "metadata": {"name": "s"}}, MAP])
    for key in ("data", "stringData"):
        with pytest.raises(KubeApplyError, match="Secret demo/s is among the objects .* option secrets"):
            _kube_apply.refuse_secrets([{"kind": "Secret", "metadata": {"name": "s", "namespace": "demo"}, key: {"a": "b"}}])


def conditions(*found, generation=3):
    return {"metadata": {"generation": generation}, "status": {"conditions": list(found)}}


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (None, "Pool p does not exist"),
        ({}, "Pool p has no condition Ready"),
        (conditions({"type": "Other", "status": "True"}), "Pool p has no condition Ready"),
        (conditions({"type": "Ready", "status": "False", "reason": "NoNode", "message": "none"}), "Pool p: Ready is False (NoNode: none)"),
        (conditions({"type": "Ready", "status": "Unknown"}), "Pool p: Ready is Unknown"),
        (conditions({"type": "Ready", "status": "True", "observedGeneration": 2}), "Pool p: Ready is that of an older generation (2 of 3)"),
        (conditions({"type": "Ready", "status": "True", "observedGeneration": 3}), ""),
        (conditions({"type": "Ready", "status": "True"}), ""),
    ],
)
def test_conditions(item, problem):
    assert _kube_apply.condition_problem(item, "Pool", "p", "Ready", "True") == problem


@pytest.mark.parametrize(
    ("seen", "problem"), [(2, "Pool p: Ready is that of an older generation (2 of 3)"), (3, ""), (None, ""), ("2", "")]
)
def test_an_observed_generation_of_the_whole_status_counts_too(seen, problem):
    item = conditions({"type": "Ready", "status": "True"})
    item["status"]["observedGeneration"] = seen
    assert _kube_apply.condition_problem(item, "Pool", "p", "Ready", "True") == problem
    # a condition knows better
    item["status"]["conditions"][0]["observedGeneration"] = 3
    assert _kube_apply.condition_problem(item, "Pool", "p", "Ready", "True") == ""


INGRESS = {"loadBalancer": {"ingress": [{"ip": "192.0.2.80"}]}}


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (None, "Service d/s does not exist"),
        ({}, "Service d/s has no status.loadBalancer.ingress"),
        ({"status": {"loadBalancer": {}}}, "Service d/s has no status.loadBalancer.ingress"),
        ({"status": {"loadBalancer": {"ingress": []}}}, "Service d/s has no status.loadBalancer.ingress"),
        ({"status": {"loadBalancer": [{"ingress": 1}]}}, "Service d/s has no status.loadBalancer.ingress"),
        ({"status": INGRESS}, ""),
        (
            {"metadata": {"generation": 3}, "status": {**INGRESS, "observedGeneration": 2}},
            "Service d/s: status.loadBalancer.ingress is that of an older generation (2 of 3)",
        ),
    ],
)
def test_a_field_is_filled_or_it_is_not(item, problem):
    assert _kube_apply.field_problem(item, "Service", "d/s", "status.loadBalancer.ingress") == problem


@pytest.mark.parametrize("value", [0, False, "x"])
def test_a_field_may_be_filled_with_little(value):
    assert _kube_apply.field_problem({"status": {"a": value}}, "A", "a", "status.a") == ""


# As kube-apiserver 1.20 and Go say it, seen with webhooks that are not there, that speak no TLS, or have the certificate of another.
CALL = 'Internal error occurred: failed calling webhook "a.b.c": Post "https://s.default.svc:443/?timeout=2s": '


@pytest.mark.parametrize(
    ("status", "said", "passes"),
    [
        (500, CALL + "dial tcp 10.96.0.9:443: connect: connection refused", True),
        (500, CALL + 'no endpoints available for service "s"', True),
        (500, CALL + 'service "s" not found', True),
        (500, CALL + "EOF", True),
        (500, CALL + "context deadline exceeded", True),
        (500, CALL + "x509: certificate signed by unknown authority", True),
        (500, CALL + "x509: certificate is valid for x.example, not s.default.svc", False),
        (500, CALL + "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=", False),
        (500, 'conversion webhook for x.io/v1, Kind=Peer failed: Post "https://s.d.svc:443/c?timeout=30s": EOF', True),
        (500, 'conversion webhook for x.io/v1, Kind=Peer failed: Post "https://s.d.svc:443/c?timeout=30s": Not Found', False),
        # a webhook chooses the status of its denial, and its words
        (403, 'admission webhook "a.b.c" denied the request: no', False),
        (500, 'admission webhook "a.b.c" denied the request: connection refused', False),
        (503, 'admission webhook "a.b.c" denied the request without explanation', False),
        (409, 'admission webhook "a.b.c" denied the request: failed calling webhook: EOF', False),
        (500, "etcdserver: leader changed", True),
        (422, "Invalid value", False),
    ],
)
def test_only_what_may_pass_is_tried_again(status, said, passes):
    error = _kube_apply.refusal(status, f"Map d/a was refused with {status}: {said}.", " Correct it.")
    assert isinstance(error, _kube_apply.NotYet if passes else KubeApplyError)
    assert said in str(error)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2), max_leaves=4)
)
def test_no_other_status_is_true(status):
    if status == "True":
        return
    assert _kube_apply.condition_problem(conditions({"type": "Ready", "status": status}), "Pool", "p", "Ready", "True")


def test_the_owner_of_a_field_is_named():
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl"', "field": ".spec.replicas"}
    text = _kube_apply.conflict(MAP, {"details": {"causes": [cause, {"reason": "x"}]}})
    assert text.startswith(
        'ConfigMap demo/a has fields that another manager owns with other values: .spec.replicas (conflict with "kubectl").'
    )
    for answer in ("text", {}, {"details": {"causes": [{"reason": "x"}]}}):
        assert _kube_apply.conflict(MAP, answer) == ""


@pytest.mark.parametrize(("made", "seconds"), [("2026-11-21T00:00:10Z", 50), (None, 0), ("yesterday", 0)])
def test_the_age_of_an_object(made, seconds):
    # 2026-11-21T00:00:00Z is 1795219200 (date -d ... +%s)
    assert _kube_apply.age({"metadata": {"creationTimestamp": made}}, 1795219260) == seconds


def test_the_same_object_in_two_versions_of_its_group():
    old, new = {**MAP, "apiVersion": "x.io/v1beta1"}, {**MAP, "apiVersion": "x.io/v1"}
    assert _kube_apply.identity(old) == _kube_apply.identity(new)
    assert _kube_apply.identity(MAP) != _kube_apply.identity(new)
