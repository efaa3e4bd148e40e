# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of BGP peers as calicoctl and calico-node draw them, and BIRD's own replies, whole and broken."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _calico_status
from ansible_collections.baremetal.kubernetes.plugins.module_utils._calico_status import healthy, plain_address, read_bird, read_status

UP = "| 192.0.2.12   | node-to-node mesh | up    | 12:00:01 | Established                    |"
WIDTHS = (14, 19, 7, 10, 32)
BORDER = "+" + "+".join("-" * width for width in WIDTHS) + "+"
HEADINGS = "| PEER ADDRESS |     PEER TYPE     | STATE |  SINCE   |              INFO              |"


def table(*rows, title="IPv4 BGP status"):
    return "\n".join([title, BORDER, HEADINGS, BORDER, *rows, BORDER])


def status(*rows, ipv6="IPv6 BGP status\nNo IPv6 peers found.", running="Calico process is running."):
    return f"{running}\n\n{table(*rows)}\n\n{ipv6}\n\n"


def brief(reading, family=4):
    return [(peer["peer_address"], peer["peer_type"], peer["state"], peer["since"], peer["info"]) for peer in reading.peers[family]]


def texts(reading):
    return [error.text for error in reading.errors]


MESH = ("192.0.2.12", "node-to-node mesh", "up", "12:00:01", "Established")


# --- whole tables


def test_a_table_of_calicoctl():
    reading = read_status(status(UP, "| 192.0.2.13   | global            | start | 2026-11-20 | Connect                        |"))
    assert reading.running is True
    assert brief(reading) == [MESH, ("192.0.2.13", "global", "start", "2026-11-20", "Connect")]
    assert (reading.peers[6], reading.errors) == ([], [])
    assert [healthy(peer) for peer in reading.peers[4]] == [True, False]


def test_a_wrapped_cell_is_put_together_with_one_blank():
    rows = [
        "| 192.0.2.13   | node specific     | start | 12:00:02 | Idle BGP Error: Bad BGP        |",
        "|              |                   |       |          | identifier                     |",
    ]
    assert brief(read_status(status(*rows, UP))) == [
        ("192.0.2.13", "node specific", "start", "12:00:02", "Idle BGP Error: Bad BGP identifier"),
        MESH,
    ]


def test_the_header_of_later_versions_is_left_aligned_and_nothing_wraps():
    text = """Calico process is running.

IPv4 BGP status
+--------------+-------------------+-------+----------+-----------------------------------+
| PEER ADDRESS | PEER TYPE         | STATE | SINCE    | INFO                              |
+--------------+-------------------+-------+----------+-----------------------------------+
| 192.0.2.13   | node-to-node mesh | start | 12:00:02 | Active Socket: Connection refused |
+--------------+-------------------+-------+----------+-----------------------------------+
"""
    assert brief(read_status(text)) == [("192.0.2.13", "node-to-node mesh", "start", "12:00:02", "Active Socket: Connection refused")]


def test_both_families_and_ports_in_addresses():
    ipv6 = table(
        "| 2001:db8::12 | node-to-node mesh | up | 12:00:01 | Established |",
        "| 2001:db8::1:port:1790 | global | up | 12:00:01 | Established |",
        title="IPv6 BGP status",
    )
    reading = read_status(status("| 192.0.2.1.port.1790 | global | up | 12:00:01 | Established |", ipv6=ipv6))
    assert [peer["peer_address"] for peer in reading.peers[4]] == ["192.0.2.1.port.1790"]
    assert [peer["peer_address"] for peer in reading.peers[6]] == ["2001:db8::12", "2001:db8::1:port:1790"]
    assert reading.errors == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1.port.1790", "192.0.2.1"),
        ("2001:db8::1:port:1790", "2001:db8::1"),
        ("2001:0db8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("192.0.x.1", None),
        ("", None),
    ],
)
def test_addresses(text, address):
    assert plain_address(text) == (None if address is None else _calico_status.ipaddress.ip_address(address))


def test_the_first_versions():
    text = """calico-node container is running. Status: Up 3 hours

IPv4 BGP status
IP: 192.0.2.11    AS Number: 64511 (inherited)
+--------------+-------------------+-------+----------+-------------+
| Peer address |     Peer type     | State |  Since   |     Info    |
+--------------+-------------------+-------+----------+-------------+
|  192.0.2.12  | node-to-node mesh |   up  | 12:00:01 | Established |
+--------------+-------------------+-------+----------+-------------+

IPv6 BGP status
No IPv6 address configured.
"""
    reading = read_status(text)
    assert (reading.running, brief(reading), reading.errors) == (True, [MESH], [])


def test_calico_node_shows_tables_of_other_things_too():
    text = """
bird v4 status
+-------+---------------------+------------+---------------------+
| READY | VERSION             | ROUTEID    | SERVERTIME          |
+-------+---------------------+------------+---------------------+
| true  | v0.3.3+birdv1.6.8   | 192.0.2.11 | 2026-11-21 12:00:00 |
+-------+---------------------+------------+---------------------+

bird v4 BGP peers
+--------------+-----------+-------+----------+-------------+
| PEER ADDRESS | PEER TYPE | STATE |  SINCE   |  BGPSTATE   |
+--------------+-----------+-------+----------+-------------+
| 192.0.2.12   | Mesh      | up    | 12:00:01 | Established |
+--------------+-----------+-------+----------+-------------+

bird v4 routes
+---------------+------------+-------+-----------------+---------+
|  DESTINATION  |  GATEWAY   | IFACE |   LEARNEDFROM   | PRIMARY |
+---------------+------------+-------+-----------------+---------+
| 10.244.1.0/26 | 192.0.2.12 | eth0  | Mesh_192_0_2_12 | *       |
+---------------+------------+-------+-----------------+---------+

Error getting birdStatus: Error querying BIRD: unable to connect to BIRDv6 socket: dial unix /var/run/bird/bird6.ctl
"""
    reading = read_status(text)
    assert brief(reading) == [("192.0.2.12", "Mesh", "up", "12:00:01", "Established")]
    assert [error.family for error in reading.errors] == [6]
    assert reading.running is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "".join(f"# {line}\n" for line in text.splitlines()),
        lambda text: "".join(f"\t{line}\n" for line in text.splitlines()),
        lambda text: "".join(f"> {line}   \n" for line in text.splitlines()),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace(" ", "\xa0"),
        lambda text: text.replace("+", "-"),
        lambda text: text.replace("|", "\u2502").replace("-+-", "\u2500\u253c\u2500"),
        lambda text: "\x1b[0m" + text.replace("Established", "\x1b[32mEstablished\x1b[0m"),
        lambda text: text.replace("Established", "\x1b[38:5:2mEstablished\x1b(B\x1b[m"),
        lambda text: "".join(f"\x1b]0;root@cp1\x07\x1b(B{line}\x1b[K\r\n" for line in text.splitlines()),
        lambda text: "root@cp1:~# calicoctl node status | cat\n" + text + "root@cp1:~# ",
        lambda text: text.replace(BORDER, "---"),
    ],
)
def test_what_people_and_terminals_do_to_a_text(change):
    reading = read_status(change(status(UP)))
    assert (reading.running, brief(reading), reading.errors) == (True, [MESH], [])


# --- what went wrong, in the words of the program


@pytest.mark.parametrize(
    ("text", "running", "errors"),
    [
        ("Calico process is not running.", False, [(None, True)]),
        ("calico-node container not running", False, [(None, True)]),
        ("Calico process is running.\n\nThe BGP backend process (BIRD) is not running.\n\n", True, [(None, True)]),
        ("Calico process is running.\n\nNone of the BGP backend processes (BIRD or GoBGP) are running.\n", True, [(None, True)]),
        (
            "Calico process is running.\n\nINFO: BIRDv4 process: 'bird' is not running.\n\nIPv6 BGP status\nNo IPv6 peers found.\n",
            True,
            [(4, True)],
        ),
        (status(UP, ipv6="INFO: BIRDv6 process: 'bird6' is not running."), True, [(6, True)]),
        (
            "Calico process is running.\n\nIPv4 BGP status\n"
            "Error querying BIRD: unable to connect to BIRDv4 socket: dial unix /var/run/bird/bird.ctl: connect: x\n"
            "IPv6 BGP status\nNo IPv6 peers found.\n",
            True,
            [(4, False)],
        ),
        # no new line after it
        (
            "Calico process is running.\n\nIPv4 BGP status\nError querying BIRD: unable to connect to BIRDv4 socket: x"
            "IPv6 BGP status\nNo IPv6 peers found.\n",
            True,
            [(4, False)],
        ),
        (
            "Calico process is running.\n\nIPv4 BGP status\n"
            "\nerror executing command: read unix @->/var/run/calico/bird.ctl: i/o timeout\n",
            True,
            [(None, False)],
        ),
        ("Need super user privileges: Operation not permitted", None, [(None, False)]),
        ("This command must be run as root.", None, [(None, False)]),
        ("calicoctl: command not found", None, [(None, False)]),
        ("", None, [(None, False)]),
        ("no status at all", None, [(None, False)]),
        # cut
        ("Calico process is running.\n\nIPv4 BGP status\n", True, [(4, False)]),
        (table(UP, title=""), None, [(None, False)] * 2),
        (status(), True, [(4, False)]),
        # what calico-node shows where there are no peers
        ("bird v4 BGP peers\n" + table(title="").replace("    INFO", "BGPSTATE"), None, []),
        # lines are lost between the one title and the sentence of the other
        ("Calico process is running.\n\nIPv4 BGP status\nNo IPv6 peers found.\n", True, [(4, False)]),
    ],
)
def test_errors_and_whom_they_concern(text, running, errors):
    reading = read_status(text)
    assert reading.running is running
    assert [(error.family, error.absent) for error in reading.errors] == errors


def test_a_title_right_behind_an_error():
    reading = read_status(
        f"IPv4 BGP status\nError querying BIRD: unable to connect to BIRDv4 socket: x{table(UP, title='IPv6 BGP status')}"
    )
    assert texts(reading) == ["Error querying BIRD: unable to connect to BIRDv4 socket: x"]
    assert (brief(reading), brief(reading, 6)) == ([], [MESH])


def test_not_running_wins_over_running():
    assert read_status("Calico process is running.\nCalico process is not running.").running is False


# --- broken tables


@pytest.mark.parametrize(
    "rows",
    [
        ["| 192.0.2.12   | node-to-node mesh | up    | 12:00:01 | Establi"],
        ["| 192.0.2.12   | node-to-node mesh | up    | 12:00:01 | Establi", "shed                    |"],
        ["| 192.0.2.12   | node-to-node mesh | up    | 12:00:01 |"],
        ["192.0.2.12   | node-to-node mesh | up    | 12:00:01 | Established |"],
        ["mesh | up    | 12:00:01 | Established |"],
        ["192.0.2.12   node-to-node mesh   up      12:00:01   Established"],
        ["| 192.0.2.12   | node-to-node mesh | up    | 12:00:01 | Established | up |"],
        ["| 192.0.2.12   | node-to-node mesh | up    | 12:00:01 | Established | Socket: Connection reset"],
        ["|              | node-to-node mesh | up    | 12:00:01 | Established |"],
        ["| 192.0.2.12   | node-to-node mesh |       | 12:00:01 | Established |"],
        ["|              |                   |       |          | Established |"],
        [
            "| 192.0.2.12   | node-to-node mesh | up    | 12:00:01 |             |",
            "|              |                   |       |          | Established |",
        ],
    ],
)
def test_a_row_that_is_not_whole_is_an_error_and_no_healthy_peer(rows):
    reading = read_status(status(*rows))
    assert not any(healthy(peer) for peer in reading.peers[4])
    assert reading.errors


def test_a_continuation_after_a_broken_row_does_not_join_the_row_before():
    rows = [UP, "| 192.0.2.13   | node-to-node mesh | start | 12:00:01 | Active", "|  |  |  |  | refused |"]
    reading = read_status(status(*rows))
    assert brief(reading) == [MESH]
    assert len(reading.errors) == 2


def test_headings_that_are_not_known():
    text = status(UP).replace("STATE", "STAGE")
    assert texts(read_status(text))[0].endswith("has other columns than PEER ADDRESS, PEER TYPE, STATE, SINCE and INFO.")
    assert read_status(text).peers[4] == []
    assert read_status(status(UP).replace(HEADINGS + "\n", "")).peers[4] == []


def test_columns_go_by_their_headings():
    text = "IPv4 BGP status\n| INFO | STATE | SINCE | PEER TYPE | PEER ADDRESS |\n"
    text += "| Established | up | 12:00:01 | node-to-node mesh | 192.0.2.12 |\n"
    assert brief(read_status(text)) == [MESH]


@pytest.mark.parametrize(
    ("state", "info", "well"),
    [
        ("up", "Established", True),
        ("start", "Established", False),
        ("wait", "Established", False),
        ("feed", "Established", False),
        ("up", "Established Socket: Connection reset by peer", False),
        ("up", "Established Received: Administrative shutdown", False),
        ("up", "established", False),
        ("up", "Active", False),
        ("up", "", False),
        ("UP", "Established", False),
    ],
)
def test_healthy_is_up_and_established_and_nothing_more(state, info, well):
    assert healthy({"state": state, "info": info}) is well


# --- nothing that is broken becomes healthy

SICK_TYPES = st.sampled_from(["node-to-node mesh", "global", "node specific"])
SICK_INFO = st.sampled_from(
    [
        ("start", "Active Socket: Connection refused"),
        ("start", "Connect Socket: Host is unreachable"),
        ("start", "Idle BGP Error: Bad BGP identifier"),
        ("start", "Passive"),
        ("start", "Idle Received: Administrative shutdown"),
        ("start", "Established"),
        ("wait", "Established"),
        ("up", "Established Received: Hold timer expired and more"),
        ("down", "Received: Administrative shutdown"),
    ]
)


def wrap(text, width=30):
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]


def drawn(peers, width=30):
    rows = []
    for number, (kind, (state, info)) in enumerate(peers):
        first, *rest = wrap(info, width)
        rows.append(f"| {f'192.0.2.{20 + number}':12} | {kind:17} | {state:5} | 12:00:01 | {first:30} |")
        rows += [f"| {'':12} | {'':17} | {'':5} | {'':8} | {words:30} |" for words in rest]
    return status(*rows)


@given(st.lists(st.tuples(SICK_TYPES, SICK_INFO), min_size=1, max_size=4), st.integers(18, 60))
def test_every_way_to_wrap_gives_the_same_words(peers, width):
    reading = read_status(drawn(peers, width))
    assert [(peer["state"], peer["info"]) for peer in reading.peers[4]] == [words for dummy, words in peers]
    assert reading.errors == []


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(SICK_TYPES, SICK_INFO), min_size=1, max_size=4), st.data())
def test_no_cut_and_no_lost_line_makes_a_sick_peer_healthy(peers, data):
    text = drawn(peers)
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    lines = (text[:begin] + text[end:]).splitlines()
    lost = data.draw(st.sets(st.integers(0, len(lines)), max_size=3))
    reading = read_status("\n".join(line for number, line in enumerate(lines) if number not in lost))
    well = [peer for peer in reading.peers[4] + reading.peers[6] if healthy(peer)]
    assert not well, (reading.peers, reading.errors)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(SICK_TYPES, SICK_INFO | st.just(("up", "Established"))), min_size=1, max_size=5), st.data())
def test_no_lost_line_makes_a_sick_peer_healthy_beside_healthy_ones(peers, data):
    lines = drawn(peers).splitlines()
    lost = data.draw(st.sets(st.integers(0, len(lines)), max_size=5))
    text = "\n".join(line for number, line in enumerate(lines) if number not in lost)
    reading = read_status(text[: data.draw(st.integers(0, len(text)))])
    sick = {f"192.0.2.{20 + number}" for number, (dummy, words) in enumerate(peers) if words != ("up", "Established")}
    assert not sick & {peer["peer_address"] for peer in reading.peers[4] if healthy(peer)}


@settings(deadline=None)
@given(st.text(alphabet="|+- \nEstablishedup12:.ICalcPv46BGatrunigPEERADDRSINFOTYX", max_size=400))
@example("IPv4 BGP status\n| PEER ADDRESS | PEER TYPE | STATE | SINCE | INFO |\n|||||Established|")
def test_no_text_whatsoever_is_a_peer_by_chance(text):
    reading = read_status(text)
    assert not any(healthy(peer) for family in (4, 6) for peer in reading.peers[family])


@settings(deadline=None)
@given(st.text(max_size=300))
def test_every_text_has_a_result_that_says_something(text):
    result = _calico_status.parse_calico_node_status(text)
    assert set(result) == {"running", "ipv4", "ipv6", "errors"}
    assert result["errors"] or result["running"] or result["ipv4"] or result["ipv6"] or "No IPv" in text


# --- BIRD


def blanks(text):
    """Lines as BIRD pads them; a dollar sign shows where the blanks end."""
    return text.replace("$\n", "\n")


# BIRD 1.6.8 as it answered on its socket in a network namespace, with the statistics of the other protocols left out.
ALL = blanks("""1002-device1  Device   master   up     18:02:09    $
1006-  Preference:     240
   Input filter:   ACCEPT
   Routes:         0 imported, 0 exported, 0 preferred
 $
1002-Mesh_192_0_2_12 BGP      master   up     18:02:10    Established   $
1006-  Preference:     100
   Input filter:   ACCEPT
   BGP state:          Established
     Neighbor address: 192.0.2.12
     Neighbor AS:      64512
     Hold timer:       185/240
 $
1002-Node_192_0_2_13 BGP      master   start  18:02:09    Active        Socket: Connection refused
1006-  Preference:     100
   BGP state:          Active
     Neighbor address: 192.0.2.13
     Neighbor AS:      64512
     Last error:       Socket: Connection refused
 $
1002-Global_192_0_2_14 BGP      master   down   18:02:09    $
1006-  Preference:     100
   BGP state:          Down
     Neighbor address: 192.0.2.14
     Neighbor AS:      64512
 $
0000 $
""")
PEERS = [
    ("192.0.2.12", "node-to-node mesh", "up", "18:02:10", "Established"),
    ("192.0.2.13", "node specific", "start", "18:02:09", "Active Socket: Connection refused"),
    ("192.0.2.14", "global", "down", "18:02:09", ""),
]
HEAD = "0001 BIRD 1.6.8 ready.\n2002-name     proto    table    state  since       info\n"


def test_a_reply_with_details():
    reading = read_bird(HEAD + ALL)
    assert (reading.running, brief(reading), reading.errors) == (True, PEERS, [])


def test_a_reply_as_birdc_prints_it():
    plain = "".join(line[5:] + "\n" if line[:4].isdigit() else line[1:] + "\n" for line in ALL.splitlines()[:-1])
    reading = read_bird("BIRD v0.3.3+birdv1.6.8 ready.\nname     proto    table    state  since       info\n" + plain)
    assert (reading.running, brief(reading), reading.errors) == (True, PEERS, [])


def test_rows_of_the_short_reply_have_a_blank_instead_of_their_code():
    text = (
        HEAD
        + "1002-device1  Device   master   up     18:02:09    \n"
        + " Mesh_192_0_2_12 BGP      master   up     18:02:10    Established   \n0000 \n"
    )
    reading = read_bird(text)
    assert (brief(reading), reading.errors) == (PEERS[:1], [])


def test_bird_2_has_other_headings_milliseconds_and_one_socket_for_both_families():
    # BIRD 2.0.12 as it answered on its socket, without most of the details
    text = blanks("""0001 BIRD 2.0.12 ready.
2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     18:24:03.290  $
1006-
1002-Mesh_192_0_2_12 BGP        ---        up     18:24:04.203  Established   $
1006-  BGP state:          Established
     Neighbor address: 192.0.2.12
     Neighbor AS:      64512
   Channel ipv4
     State:          UP
     Table:          master4
 $
1002-Mesh_2001_db8__12 BGP        ---        start  2026-11-21    Idle          BGP Error: Bad peer AS
1006-  BGP state:          Idle
     Neighbor address: 2001:db8::12
     Last error:       BGP Error: Bad peer AS
 $
0000 $
""")
    reading = read_bird(text)
    assert brief(reading) == [("192.0.2.12", "node-to-node mesh", "up", "18:24:04.203", "Established")]
    assert brief(reading, 6) == [("2001:db8::12", "node-to-node mesh", "start", "2026-11-21", "Idle BGP Error: Bad peer AS")]
    assert reading.errors == []


@pytest.mark.parametrize(
    ("name", "neighbor", "address", "kind"),
    [
        ("Mesh_192_0_2_12", "192.0.2.12", "192.0.2.12", "node-to-node mesh"),
        # without details the name alone tells
        ("Mesh_2001_db8__12", "", "2001:db8::12", "node-to-node mesh"),
        ("Global_192_0_2_1_port_1790", "192.0.2.1", "192.0.2.1.port.1790", "global"),
        ("Node_fd00_10__1", "fd00:10::1", "fd00:10::1", "node specific"),
        # whom BIRD talks to decides
        ("Mesh_192_0_2_12", "192.0.2.99", "192.0.2.99", "node-to-node mesh"),
        ("tor1", "192.0.2.1", "192.0.2.1", "other"),
        ("tor1", "", "tor1", "other"),
    ],
)
def test_the_address_of_a_session(name, neighbor, address, kind):
    detail = f"1006-    Neighbor address: {neighbor}\n" if neighbor else ""
    reading = read_bird(f"{HEAD}1002-{name} BGP master up 12:00:01 Established\n{detail}0000 \n")
    assert [(peer["peer_address"], peer["peer_type"]) for peer in reading.peers[4] + reading.peers[6]] == [(address, kind)]


def test_sessions_with_pods_are_none_of_the_node():
    assert brief(read_bird(HEAD + "1002-Local_Workload_10_244_1_2 BGP master start 12:00:01 Passive\n0000 \n")) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "220 mail.example.com ESMTP\n",
        # no end
        HEAD + ALL.replace("0000 \n", ""),
        HEAD,
        # cut inside of a row
        HEAD + "1002-Mesh_192_0_2_12 BGP      mas",
        HEAD + "1002-Mesh_192_0_2_12 BGP      mas\n0000 \n",
        "name proto table state since info\nMesh_192_0_2_13",
        # other columns
        HEAD.replace("table", "vrf") + "0000 \n",
        # no answer to the question
        "8007 Access denied\n",
        "9001 syntax error\n",
        HEAD + "1002-Mesh_192_0_2_12 BGP master up 12:00:01 Established\nwhat is this\n0000 \n",
    ],
)
def test_a_reply_that_is_not_whole_has_an_error(text):
    assert read_bird(text).errors


def test_nothing_counts_behind_the_end():
    assert brief(read_bird(HEAD + "0000 \n1002-Mesh_192_0_2_12 BGP master up 12:00:01 Established\n")) == []


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(HEAD + ALL)))
def test_no_cut_of_a_reply_goes_unnoticed(end):
    reading = read_bird((HEAD + ALL)[:end])
    whole = end >= len(HEAD + ALL) - 2
    assert bool(reading.errors) is not whole or not reading.peers[4]
    assert reading.errors or [peer["peer_address"] for peer in reading.peers[4] if healthy(peer)] == ["192.0.2.12"]


@settings(deadline=None)
@given(st.text(max_size=300))
def test_no_text_whatsoever_is_a_reply_with_healthy_peers(text):
    reading = read_bird(text)
    assert not any(healthy(peer) for family in (4, 6) for peer in reading.peers[family])
