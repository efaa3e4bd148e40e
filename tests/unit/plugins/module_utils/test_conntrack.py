# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters of tracked connections, of the kernel and of the program conntrack."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _conntrack as conntrack
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import Unreadable

# Kernel 6: two CPUs, hexadecimal.
STATISTICS = (
    "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create\n"
    "0000000a  00000000 00000000 00000000 00000005 00000000 00000000 00000001 00000000 0000000f 00000010 00000001 00000000  00000000 00000000\n"
    "0000000a  00000000 00000000 00000000 00000005 00000000 00000000 00000001 00000000 00000001 00000002 00000000 00000000  00000000 00000000\n"
)
# conntrack-tools 1.4.7 and an older one with other columns
CONNTRACK_S = (
    "cpu=0   \tfound=12 invalid=3 insert=0 insert_failed=4 drop=5 early_drop=0 error=0 search_restart=7 clash_resolve=1 chaintoolong=0 \n"
    "cpu=1   \tfound=9 invalid=0 insert=0 insert_failed=1 drop=1 early_drop=2 error=0 search_restart=0 clash_resolve=0 chaintoolong=0 \n"
)
OLD_CONNTRACK_S = "cpu=0   \tsearched=9 found=39 new=4 invalid=7 ignore=2 delete=3 delete_list=3 insert=4 insert_failed=0 drop=0 early_drop=0 error=0\n"


def nothing(argv, timeout=None):
    return 127, "", f"{argv[0]}: command not found"


@pytest.fixture(name="root")
def fixture_root(tmp_path):
    """A kernel that tracks connections and has the file of counters."""
    for name, text in (
        ("proc/sys/net/netfilter/nf_conntrack_count", "20\n"),
        ("proc/sys/net/netfilter/nf_conntrack_max", "1000\n"),
        ("proc/sys/net/netfilter/nf_conntrack_buckets", "250\n"),
        ("proc/net/stat/nf_conntrack", STATISTICS),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_both_sources():
    assert conntrack.parse_statistics(STATISTICS) == {"drop": 18, "early_drop": 1, "insert_failed": 16}
    assert conntrack.parse_conntrack_s(CONNTRACK_S) == {"drop": 6, "early_drop": 2, "insert_failed": 5}
    assert conntrack.parse_conntrack_s(OLD_CONNTRACK_S) == {"drop": 0, "early_drop": 0, "insert_failed": 0}


@pytest.mark.parametrize(
    "text",
    ["", STATISTICS.splitlines()[0], STATISTICS.replace("early_drop", "early"), STATISTICS + "00000001 torn\n", STATISTICS.replace("0000000f", "zzzzzzzz")],
)
def test_no_statistics(text):
    with pytest.raises(Unreadable):
        conntrack.parse_statistics(text)


@pytest.mark.parametrize("text", ["", "0", CONNTRACK_S.replace("early_drop=2", ""), CONNTRACK_S.replace("drop=5", "drop=-5"), CONNTRACK_S + "cpu=2\n"])
def test_no_counters(text):
    with pytest.raises(Unreadable):
        conntrack.parse_conntrack_s(text)


@given(st.text() | st.text(alphabet="cpu=0123 drop_eailyinsfd\n\t"))
def test_any_text_is_counters_or_unreadable(text):
    for reader in (conntrack.parse_statistics, conntrack.parse_conntrack_s):
        try:
            assert set(reader(text)) == set(conntrack.COUNTERS)
        except Unreadable as error:
            assert str(error)


class Clock:
    """Time that only passes by sleeping; a counter can grow meanwhile."""

    def __init__(self, during=lambda: None):
        self.time = 100.0
        self.during = during

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds
        self.during()


def test_rates_between_two_samples(root):
    grown = STATISTICS.replace("00000010 00000001", "00000024 00000006")
    clock = Clock(lambda: (root / "proc/net/stat/nf_conntrack").write_text(grown))
    found = conntrack.status(nothing, 10, str(root), clock.now, clock.sleep)
    assert found["rates"] == {"drop": 2.0, "early_drop": 0.5, "insert_failed": 0.0}
    assert found["totals"] == {"drop": 38, "early_drop": 6, "insert_failed": 16}
    assert (found["count"], found["max"], found["buckets"], found["seconds"], found["verdict"]) == (20, 1000, 250, 10.0, "warn")
    assert {item["id"]: item["status"] for item in found["checks"]} == {"conntrack_headroom": "pass", "conntrack_drops": "warn"}


def test_the_program_where_the_kernel_has_no_file(root):
    (root / "proc/net/stat/nf_conntrack").unlink()
    clock = Clock()
    asked = []

    def run(argv, timeout=None):
        asked.append(argv)
        return 0, CONNTRACK_S, ""

    found = conntrack.status(run, 5, str(root), clock.now, clock.sleep)
    assert asked == [["conntrack", "-S"]] * 2
    assert (found["rates"]["drop"], found["verdict"]) == (0.0, "pass")


@pytest.mark.parametrize(
    ("answer", "says"),
    [((127, "", ""), "not installed"), ((1, "", "Operation not permitted"), "not permitted"), ((0, "", ""), "no line of a CPU")],
)
def test_no_counters_are_unknown(root, answer, says):
    (root / "proc/net/stat/nf_conntrack").unlink()
    clock = Clock()
    found = conntrack.status(lambda argv, timeout=None: answer, 5, str(root), clock.now, clock.sleep)
    assert (found["rates"], found["verdict"]) == (None, "unknown")
    assert says in found["reason"]


def test_no_time_between_is_unknown(root):
    clock = Clock()
    found = conntrack.status(nothing, 0, str(root), clock.now, clock.sleep)
    assert (found["rates"], found["verdict"]) == (None, "unknown")


def test_a_kernel_that_tracks_nothing(tmp_path):
    clock = Clock()
    found = conntrack.status(nothing, 5, str(tmp_path), clock.now, clock.sleep)
    assert (found["tracking"], found["count"], found["verdict"], clock.time) == (False, None, "pass", 100.0)


def test_a_number_that_cannot_be_read_is_unknown(root):
    (root / "proc/sys/net/netfilter/nf_conntrack_count").write_text("many\n")
    clock = Clock()
    assert conntrack.status(nothing, 5, str(root), clock.now, clock.sleep)["verdict"] == "unknown"
