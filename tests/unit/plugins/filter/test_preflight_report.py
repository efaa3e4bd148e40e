# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict, the order and the words of a preflight report, its schema, and what its page shows."""

from __future__ import annotations

import copy
import json
import re
import typing as t
from pathlib import Path

import jsonschema
import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.filter.preflight_page import preflight_page
from ansible_collections.baremetal.kubernetes.plugins.filter.preflight_report import preflight_report
from ansible_collections.baremetal.kubernetes.plugins.filter.preflight_severity_problems import preflight_severity_problems
from ansible_collections.baremetal.kubernetes.plugins.filter.preflight_table import preflight_table
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._preflight_report import CHECKS, natural
from ansible_collections.baremetal.kubernetes.tests.unit.plugins.preflight_samples import NASTY, check, fio, inputs, node
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[4]
SCHEMA = json.loads((ROOT / "roles/preflight/files/preflight.schema.json").read_text(encoding="utf-8"))
FAST = {"50": 500, "99": 2000, "99.9": 4000}


def cluster(*found: t.Any, disk: t.Any = None, **more: t.Any) -> dict[str, t.Any]:
    """One control plane cp1 with these findings and nothing else."""
    return {
        "cluster": "lab",
        "control_plane": ["cp1"],
        "workers": [],
        "nodes": {"cp1": {"checks": list(found) or [check("memory")], "facts": {}}},
        "disks": {"cp1": disk or fio(FAST, "pass")},
        "limit_ms": 10.0,
        "warn_ms": 5.0,
        "cross": {"cluster": [], "hosts": {}},
        "matrix": {"cluster": [], "hosts": {}, "matrix": {"hosts": ["cp1"], "pairs": []}, "pod_mtu": 1450},
    } | more


# --- verdict


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        (["pass"], "pass"),
        (["pass", "warn"], "warn"),
        (["warn", "unknown", "pass"], "unknown"),
        (["unknown", "fail", "warn"], "fail"),
    ],
)
def test_the_worst_finding_decides(statuses: list[str], verdict: str) -> None:
    found = [check(name, status, fix="do it" if status != "pass" else "") for name, status in zip(CHECKS, statuses)]
    report = preflight_report(cluster(*found))
    assert report["verdict"] == report["hosts"]["cp1"]["status"] == verdict
    # with the two that the report adds itself: the node has answered, the disk was measured
    assert sum(report["counts"].values()) == len(statuses) + 2


@pytest.mark.parametrize(
    "found",
    [
        {"id": "memory", "observed": "no status"},
        {"id": "memory", "status": "ok", "observed": "x"},
        {"id": "memory", "status": "PASS"},
        {"id": "memory", "status": None},
        {"id": "memory", "status": True},
        "a text",
        None,
        {},
    ],
)
def test_what_cannot_be_read_is_unknown(found: t.Any) -> None:
    assert preflight_report(cluster(found))["verdict"] == "unknown"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(ANYTHING)
def test_nothing_whatsoever_turns_into_a_pass(found: t.Any) -> None:
    assert preflight_report(cluster(found))["verdict"] == "unknown"
    assert preflight_report(cluster(nodes={"cp1": found}))["verdict"] == "unknown"
    assert preflight_report(cluster(disks={"cp1": found}))["verdict"] == "unknown"


def test_a_host_that_did_not_answer_is_unknown_and_named() -> None:
    report = preflight_report(cluster(workers=["w1"]))
    assert report["verdict"] == report["hosts"]["w1"]["status"] == "unknown"
    assert [(entry["id"], entry["host"]) for entry in report["next"]] == [("node_answered", "w1")]
    assert "`ansible w1 -m ansible.builtin.ping`" in report["next"][0]["fix"]


@pytest.mark.parametrize("disk", [{"changed": False, "skipped": True}, {"checks": []}, {"failed": True, "msg": "path is no directory"}])
def test_a_disk_that_was_not_measured_is_unknown_on_control_planes_only(disk: dict[str, t.Any]) -> None:
    report = preflight_report(cluster(workers=["w1"], nodes={"cp1": node(), "w1": node()}, disks={"cp1": disk, "w1": disk}))
    assert [(entry["id"], entry["host"], entry["status"]) for entry in report["next"]] == [("etcd_disk", "cp1", "unknown")]
    assert report["next"][0]["observed"] == disk.get("msg", "the disk was not measured")


def test_a_network_that_was_not_measured_is_unknown() -> None:
    report = preflight_report(cluster(workers=["w1"], nodes={"cp1": node(), "w1": node()}, matrix=None))
    assert {entry["id"] for entry in report["next"]} == {"network_tcp", "network_udp", "path_mtu", "rtt", "pod_mtu"}
    assert report["verdict"] == "unknown" and report["matrix"] is None


def test_no_host_is_no_report() -> None:
    with pytest.raises(AnsibleFilterError, match="no host to report about"):
        preflight_report(cluster(control_plane=[]))


# --- severities


def test_a_failure_is_lowered_and_the_report_says_so() -> None:
    slow = fio({"50": 9000, "99": 30000}, "fail")
    report = preflight_report(cluster(disk=slow, severity={"etcd_disk": "warn"}))
    assert report["verdict"] == "warn"
    assert report["lowered"] == [{"id": "etcd_disk", "host": "cp1", "from": "fail", "to": "warn"}]
    assert "Lowered from fail to warn by preflight_severity: etcd_disk on cp1." in preflight_table(report)
    assert preflight_page(report)["lowered"] == [{"id": "etcd_disk", "hosts": "cp1"}]


@pytest.mark.parametrize("status", ["unknown", "warn", "pass"])
def test_nothing_but_a_failure_is_lowered(status: str) -> None:
    found = check("swap", status, fix="do it" if status != "pass" else "")
    report = preflight_report(cluster(found, severity={"swap": "warn"}))
    assert report["verdict"] == status and report["lowered"] == []


@pytest.mark.parametrize(
    ("severity", "message"),
    [
        ({"swop": "warn"}, "preflight_severity names 'swop', which is no check"),
        ({"swap": "pass"}, "preflight_severity.swap is 'pass', but a failure can only be lowered to 'warn'"),
        ({"swap": "ignore"}, "can only be lowered to 'warn'"),
        ({"swap": None}, "can only be lowered to 'warn'"),
        (["swap"], "must be a dict of check ids"),
        ("swap", "must be a dict of check ids"),
    ],
)
def test_other_severities_are_refused(severity: t.Any, message: str) -> None:
    assert message in preflight_severity_problems(severity)[0]
    with pytest.raises(AnsibleFilterError, match=re.escape(message)):
        preflight_report(cluster(severity=severity))


def test_every_check_can_be_lowered() -> None:
    assert preflight_severity_problems(dict.fromkeys(CHECKS, "warn")) == []


# --- order


def test_next_is_worst_first_then_as_it_is_best_mended_then_by_host() -> None:
    report = preflight_report(inputs(50))
    ranks = [("fail", "unknown", "warn").index(entry["status"]) for entry in report["next"]]
    assert ranks == sorted(ranks)
    keys = [(entry["status"], entry["id"]) for entry in report["next"]]
    assert list(dict.fromkeys(keys)) == [
        ("fail", "swap"),
        ("fail", "node_name"),
        ("fail", "network_tcp"),
        ("fail", "pod_mtu"),
        ("fail", "etcd_disk"),
        ("unknown", "node_answered"),
        ("warn", "conntrack_headroom"),
        ("warn", "etcd_disk"),
    ]
    hosts = [entry["host"] for entry in report["next"] if entry["id"] == "swap"]
    assert hosts[:3] == ["w6", "w10", "w14"], "w2 has not answered"
    for host in report["hosts"].values():
        ranks = [("fail", "unknown", "warn", "pass").index(item["status"]) for item in host["checks"]]
        assert ranks == sorted(ranks)


def test_names_with_numbers() -> None:
    assert sorted(["w10", "w2", "cp1", "10", "9a"], key=natural) == ["9a", "10", "cp1", "w2", "w10"]


# --- schema


@pytest.mark.parametrize("broken", [True, False])
@pytest.mark.parametrize("number", [1, 3, 50])
def test_schema(number: int, broken: bool) -> None:
    report = json.loads(json.dumps(preflight_report(inputs(number, broken))))
    jsonschema.Draft202012Validator(SCHEMA).validate(report)
    assert report["verdict"] == ("fail" if broken else "pass")
    assert len(report["hosts"]) == number and len(report["matrix"]["pairs"]) == number * (number - 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda report: report.pop("verdict"),
        lambda report: report.update(verdict="ok"),
        lambda report: report.update(schema=2),
        lambda report: report.update(more=1),
        lambda report: report["next"][0].update(status="pass"),
        lambda report: report["next"][0].pop("fix"),
        lambda report: report["hosts"]["cp1"].update(checks=[]),
        lambda report: report["hosts"]["cp1"]["checks"][0].update(status="failed"),
        lambda report: report["hosts"]["cp3"]["checks"][0].update(fix=""),
        lambda report: report["lowered"].append({"id": "swap", "host": "cp1", "from": "unknown", "to": "pass"}),
        lambda report: report["matrix"]["pairs"][0].pop(),
        lambda report: report["matrix"]["pairs"][0][2]["tcp"].update({"6443": "fine"}),
    ],
)
def test_the_schema_refuses_what_is_wrong(damage: t.Callable[[t.Any], t.Any]) -> None:
    report = json.loads(json.dumps(preflight_report(inputs(3))))
    damage(report)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(report)


# --- console


def test_table() -> None:
    lines = preflight_table(preflight_report(inputs(3)))
    assert lines[0].split() == ["STATUS", "CHECK", "WHERE", "SEEN,", "AND", "WHAT", "TO", "DO"]
    assert lines[1].split()[:3] == ["fail", "network_tcp", "cp1"]
    assert lines[-1] == "Preflight failed: 3 must be fixed, 2 should be looked at; 22 findings on 3 nodes."
    assert max(map(len, lines)) <= 118


def test_what_is_the_same_on_many_hosts_is_one_row() -> None:
    lines = preflight_table(preflight_report(inputs(50)))
    (row,) = [line for line in lines if " network_tcp " in line]
    assert "cp1, cp3, w2 and 22 more" in row
    assert any("From NODE to 10250/tcp of w47" in line for line in lines)
    assert len(lines) < 40


def test_the_table_is_short_and_says_what_it_leaves_out() -> None:
    lines = preflight_table(preflight_report(inputs(50)), 2)
    assert "... and 6 more in the report." in lines


def test_all_is_well() -> None:
    assert preflight_table(preflight_report(inputs(50, broken=False))) == ["Ready: 206 findings on 50 nodes, all pass."]


def test_no_control_character_reaches_the_terminal() -> None:
    text = "\n".join(preflight_table(preflight_report(inputs(50))))
    assert "\x1b" not in text and "{{ 7 * 7 }}" in text


# --- page


def texts(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def everywhere(value: t.Any) -> t.Any:
    """The same with every text, and every name, made hostile."""
    if isinstance(value, str):
        return value if value in ("pass", "fail", "warn", "unknown", "control_plane", "workers") else f"{NASTY}{value}"
    if isinstance(value, dict):
        return {key: everywhere(item) for key, item in value.items()}
    if isinstance(value, list):
        return [everywhere(item) for item in value]
    return value


@pytest.mark.parametrize("number", [1, 3, 50])
def test_every_text_of_the_page_is_escaped(number: int) -> None:
    report = everywhere(preflight_report(inputs(number)))
    report["hosts"] = {f"{NASTY}{name}": host for name, host in report["hosts"].items()}
    report["verdict"] = "fail"
    found = list(texts(preflight_page(report)))
    assert any("&lt;script&gt;alert(&#x27;w3&#x27;)" in text for text in found)
    for text in found:
        assert not re.search(r"[<>\"']", text), text
        assert not re.search(r"&(?!(?:amp|lt|gt|quot|#x27);)", text), text


def test_curves_lie_where_their_numbers_say() -> None:
    disk = fio({"50": 1000, "90": 10000, "99": 100000}, "fail")
    page = preflight_page(preflight_report(cluster(disk=disk)))["fio"]
    (chart,) = page["charts"]
    points = [tuple(map(float, point.split(","))) for point in chart["line"].split()]
    # both axes are logarithmic: ten times as slow is one step up, ten times as rare one step to the right
    assert points[0][1] - points[1][1] == pytest.approx(points[1][1] - points[2][1], abs=0.2)
    assert points[1][1] == pytest.approx(float(page["limit_y"]))
    assert points[2][0] - points[1][0] == pytest.approx((page["right"] - page["left"]) / 4, abs=0.2)
    assert (float(chart["dot"]["x"]), float(chart["dot"]["y"])) == points[2]
    assert chart["p99"] == "100 ms" and page["limit"] == "10 ms"
    assert [row["text"] for row in page["rows"]] == ["1 ms", "10 ms", "100 ms"]


@pytest.mark.parametrize("percentiles", [{"50": 0.0, "99": 0.5}, {"99": 9e9}, {"100": 5.0, "99": 4.0}, {"x": 1.0, "99": 2.0}, {"99": float("nan"), "50": 1.0}])
def test_odd_measurements_stay_in_the_chart(percentiles: dict[str, float]) -> None:
    disk = {**fio(FAST, "pass"), "percentiles_us": percentiles, "p99_us": percentiles["99"]}
    page = preflight_page(preflight_report(cluster(disk=disk)))["fio"]
    for chart in page["charts"]:
        for point in chart["line"].split():
            across, down = map(float, point.split(","))
            assert page["left"] <= across <= page["right"] and page["top"] <= down <= page["bottom"]


def cells(page: dict[str, t.Any], name: str) -> dict[tuple[str, str], tuple[str, str]]:
    (found,) = [entry for entry in page["maps"] if entry["name"] == name]
    return {(row["host"], to): (cell["kind"], cell["text"]) for row in found["rows"] for to, cell in zip(found["hosts"], row["cells"])}


def test_maps_of_a_small_cluster_have_numbers() -> None:
    page = preflight_page(preflight_report(inputs(3)))
    ports = cells(page, "ports")
    assert ports["cp1", "cp3"] == ("fail", "✗ 2")
    assert ports["cp1", "cp2"] == ("pass", "✓ 5")
    assert ports["cp1", "cp1"] == ("self", "·")
    assert cells(page, "mtu")["cp1", "cp3"] == ("same", "1500")
    assert cells(page, "mtu")["cp1", "cp2"] == ("less", "1450")
    # 180 + 13 * 40 microseconds
    assert cells(page, "rtt")["cp1", "cp2"] == ("r3", "0.70")
    assert page["bad_pairs"]["lines"][0] == {"from": "cp1", "to": "cp3", "blocked": "10250/tcp timeout, 8472/udp silent", "unknown": ""}


def test_maps_of_a_large_cluster_have_one_character_that_needs_no_colour() -> None:
    page = preflight_page(preflight_report(inputs(50)))
    for name in ("ports", "mtu", "rtt"):
        found = cells(page, name)
        assert len(found) == 2500
        assert all(len(text) == 1 for _kind, text in found.values())
        # a kind is never told apart by colour alone
        assert len({text for _kind, text in found.values()}) == len(set(found.values()))
        legend = next(entry["legend"] for entry in page["maps"] if entry["name"] == name)
        assert {text for _kind, text in found.values()} <= {entry["text"] for entry in legend} | {"·"}
    assert cells(page, "mtu")["w1", "w46"] == ("less", "B")
    assert cells(page, "mtu")["w1", "w2"] == ("unknown", "?")


def test_pairs_that_need_nothing_and_pairs_that_were_not_asked() -> None:
    sample = inputs(3)
    first, second, third = sample["matrix"]["matrix"]["pairs"][:3]
    first[2].update(tcp={}, udp={})
    second[2].update(tcp={}, udp={}, rtt_us=None, path_mtu=None, status="unknown")
    third[2]["tcp"]["6443"] = "unknown"
    ports = cells(preflight_page(preflight_report(sample)), "ports")
    assert ports[first[0], first[1]] == ("same", "–")
    assert ports[second[0], second[1]] == ("unknown", "?")
    assert ports[third[0], third[1]] == ("unknown", "? 1")


def test_one_node_has_no_maps() -> None:
    page = preflight_page(preflight_report(inputs(1)))
    assert page["maps"] == [] and page["single"]


def test_commands_are_told_apart() -> None:
    page = preflight_page(preflight_report(inputs(1)))
    assert page["todo"][0]["entries"][0]["fix"] == [
        {"text": "Run ", "code": False},
        {"text": "swapoff -a", "code": True},
        {"text": " and take the line out of /etc/fstab; role kernel does both.", "code": False},
    ]


def test_the_input_is_left_alone() -> None:
    sample = inputs(3)
    before = copy.deepcopy(sample)
    preflight_page(preflight_report(sample))
    assert sample == before


# --- colours


def luminance(colour: str) -> float:
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_contrast_of_all_texts() -> None:
    """WCAG 2 AA: 4.5 to 1; for the curve and the line of the limit 3 to 1 would do."""
    style = (ROOT / "roles/preflight/templates/report.html.j2").read_text(encoding="utf-8")
    palettes = [dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{([^}]*)\}", style)]
    assert len(palettes) == 3, "light, dark, print"
    for palette in palettes:
        assert palette.keys() == palettes[0].keys()
        pairs = [(text, ground) for text in ("text", "soft") for ground in ("page", "box")]
        pairs += [(status, f"{status}-box") for status in ("fail", "warn", "unknown", "pass")] + [("curve", "page"), ("fail", "page")]
        pairs += [("step-text", f"r{step}") for step in range(1, 8)]
        for text, ground in pairs:
            dark, light = sorted((luminance(palette[text]), luminance(palette[ground])))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{text} on {ground}: {palette[text]} on {palette[ground]}"
