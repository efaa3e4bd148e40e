# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module calico_node_status with scripted answers and a clock of its own: verdicts, the stable window, and where it asks."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from ansible.module_utils.testing import patch_module_args
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _calico_ask, _bgp_peers
from ansible_collections.baremetal.kubernetes.plugins.module_utils._calico_ask import NotHere, Settings
from ansible_collections.baremetal.kubernetes.plugins.module_utils._bgp_peers import Wanted, explain
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import NOT_FOUND
from ansible_collections.baremetal.kubernetes.plugins.modules import calico_node_status

W1, W2, W1_6 = "192.0.2.12", "192.0.2.13", "2001:db8::12"
CALICOCTL = Settings(source="calicoctl")


def row(address=W1, state="up", since="12:00:01", info="Established", kind="node-to-node mesh"):
    return f"| {address} | {kind} | {state} | {since} | {info} |"


def family(number, *rows):
    if not rows:
        return f"IPv{number} BGP status\nNo IPv{number} peers found.\n"
    return "\n".join([f"IPv{number} BGP status", "| PEER ADDRESS | PEER TYPE | STATE | SINCE | INFO |", *rows, ""])


def status(*rows, ipv6=()):
    return f"Calico process is running.\n\n{family(4, *rows)}\n{family(6, *ipv6)}\n"


class Clock:
    """Time that passes only in sleep."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def wait(*answers, peers=(W1,), stable=0, seconds=0, poll=2.0, settings_=CALICOCTL):
    """The result for these outputs of calicoctl, one a look; the last one repeats."""
    left = list(answers)
    clock = Clock()

    def run(argv, timeout):
        assert argv == ["calicoctl", "node", "status"]
        answer = left.pop(0) if len(left) > 1 else left[0]
        return answer if isinstance(answer, tuple) else (0, answer, "")

    wanted = Wanted(None if peers is None else list(peers), stable)
    return _calico_ask.wait_for_peers(settings_, wanted, seconds, poll, 0, run, clock, clock.sleep)


def statuses(result):
    return {item["id"]: item["status"] for item in result["checks"]}


def check_of(result, address):
    return next(item for item in result["checks"] if item["id"] == f"bgp_peers/{address}")


# --- one look


def test_all_that_is_expected_is_established():
    result = wait(status(row(), row(W2), ipv6=[row(W1_6)]), peers=[W1, W2, "2001:0db8::12"])
    assert (result["verdict"], result["running"], result["source"]) == ("pass", True, "calicoctl")
    assert statuses(result) == {f"bgp_peers/{address}": "pass" for address in (W1, W2, W1_6)} | {"bgp_daemon": "pass"}
    assert (result["established"], result["missing"], result["unexpected"]) == ([W1, W2, W1_6], [], [])
    assert all(item["fix"] == "" for item in result["checks"])


def test_a_peer_that_is_not_in_the_table_is_missing():
    result = wait(status(row()), peers=[W1, W2])
    assert (result["verdict"], result["missing"]) == ("fail", [W2])
    assert check_of(result, W2)["observed"] == "this node has no such peer; it has 192.0.2.12"
    assert "projectcalico\\.org/IPv4Address" in check_of(result, W2)["fix"]


@pytest.mark.parametrize("state", ["start", "wait", "feed", "flush"])
def test_established_that_is_not_up_is_missing(state):
    result = wait(status(row(state=state)))
    assert (result["verdict"], result["missing"], result["established"]) == ("fail", [W1], [])


def test_the_port_of_a_peer_is_no_part_of_its_address():
    result = wait(status(row("192.0.2.1.port.1790"), ipv6=[row("2001:db8::1:port:1790")]), peers=["192.0.2.1", "2001:db8::1"])
    assert (result["verdict"], result["established"]) == ("pass", ["192.0.2.1", "2001:db8::1"])
    assert result["ipv4"][0]["peer_address"] == "192.0.2.1.port.1790"


def test_a_peer_that_nobody_expects_is_a_warning():
    result = wait(status(row(), row("172.17.0.1", "start", info="Connect")))
    assert (result["verdict"], result["unexpected"]) == ("warn", ["172.17.0.1"])
    assert "172.17.0.1 (start Connect since 12:00:01 (node-to-node mesh))" in result["checks"][-1]["observed"]


def test_two_sessions_to_one_router():
    result = wait(status(row(), row(state="start", info="Idle", kind="global")))
    assert (statuses(result)[f"bgp_peers/{W1}"], result["established"]) == ("warn", [W1])
    assert "of which only one can be up" in check_of(result, W1)["fix"]
    assert wait(status(row(state="start", info="Idle"), row(state="start", info="Connect")))["verdict"] == "fail"


def test_the_daemon_says_how_much_it_tells():
    assert [wait(status(*rows))["checks"][0]["observed"] for rows in ((), (row(),), (row(), row(W2)))] == [
        "it tells of 0 peers",
        "it tells of 1 peer",
        "it tells of 2 peers",
    ]


def test_none_are_expected_and_there_are_none():
    assert wait(status(), peers=[])["verdict"] == "pass"
    # no BGP at all, as with VXLAN
    assert wait("Calico process is running.\n\nThe BGP backend process (BIRD) is not running.\n", peers=[])["verdict"] == "pass"
    assert wait(status(row()), peers=[])["verdict"] == "warn"


def test_nobody_said_which_are_expected():
    assert wait(status(row(), row(W2)), peers=None)["verdict"] == "pass"
    assert wait(status(row(), row(W2, "start", info="Active")), peers=None)["verdict"] == "fail"
    assert wait(status(), peers=None)["verdict"] == "unknown"
    assert wait("Calico process is running.\n\nThe BGP backend process (BIRD) is not running.\n", peers=None)["verdict"] == "unknown"


NO_SOCKET = "Error querying BIRD: unable to connect to BIRDv{} socket: dial unix /var/run/bird/bird.ctl: connect: no such file or directory"


@pytest.mark.parametrize(
    ("answer", "daemon", "peer"),
    [
        # return code 0 for all but the last ones
        (f"Calico process is running.\n\nIPv4 BGP status\n{NO_SOCKET.format(4)}\n{family(6)}", "unknown", "unknown"),
        ("Calico process is running.\n\nThe BGP backend process (BIRD) is not running.\n", "fail", "fail"),
        (f"Calico process is running.\n\nINFO: BIRDv4 process: 'bird' is not running.\n{family(6)}", "fail", "fail"),
        ("", "unknown", "unknown"),
        ("Calico process is running.\n", "pass", "fail"),
        ("Calico process is running.\n\nIPv4 BGP status\n", "unknown", "unknown"),
        ((1, "", "Calico process is not running.\n"), "fail", "fail"),
        ((1, "Calico process is not running.\n", ""), "fail", "fail"),
        ((1, "Need super user privileges: Operation not permitted\n", ""), "unknown", "unknown"),
        ((1, f"Calico process is running.\n\n{family(4)[:16]}", "error executing command: read unix: i/o timeout\n"), "unknown", "unknown"),
        ((124, "", "calicoctl node status: no end after 35 seconds"), "unknown", "unknown"),
        ((NOT_FOUND, "", "calicoctl: command not found"), "unknown", "unknown"),
    ],
)
def test_what_is_not_known_is_neither_up_nor_down(answer, daemon, peer):
    result = wait(answer)
    assert statuses(result) == {"bgp_daemon": daemon, f"bgp_peers/{W1}": peer}
    assert result["missing"] == [W1]
    assert all(item["fix"] for item in result["checks"] if item["status"] != "pass")


def test_the_return_code_says_nothing():
    assert wait((1, status(row()), ""))["verdict"] == "pass"
    assert wait((0, status(row(state="start", info="Active")), ""))["verdict"] == "fail"


def test_a_broken_row_leaves_doubt_about_its_family_only():
    torn = status(row(), "| 192.0.2.13 | node-to-no", ipv6=[row(W1_6)])
    result = wait(torn, peers=[W1, W1_6])
    assert statuses(result) == {"bgp_daemon": "unknown", f"bgp_peers/{W1}": "unknown", f"bgp_peers/{W1_6}": "pass"}
    assert "not all could be read" in check_of(result, W1)["observed"]


def test_the_other_family_is_no_concern():
    text = f"Calico process is running.\n\n{family(4, row())}\nINFO: BIRDv6 process: 'bird6' is not running.\n"
    assert wait(text)["verdict"] == "pass"
    assert wait(text, peers=None)["verdict"] == "pass"
    assert statuses(wait(text, peers=[W1, W1_6])) == {"bgp_daemon": "fail", f"bgp_peers/{W1}": "pass", f"bgp_peers/{W1_6}": "fail"}


# --- over time

UP, DOWN = status(row()), status(row(state="start", info="Connect"))


def test_it_waits_until_a_peer_is_up():
    result = wait(DOWN, DOWN, DOWN, UP, seconds=60)
    assert (result["verdict"], result["waited"]) == ("pass", 6.0)


def test_it_does_not_wait_for_ever():
    result = wait(DOWN, seconds=60)
    assert (result["verdict"], result["waited"]) == ("fail", 60.0)


def test_up_is_not_enough_without_the_window():
    result = wait(UP, stable=10)
    assert (result["verdict"], result["waited"]) == ("pass", 10.0)


def test_the_window_may_begin_at_the_last_moment():
    result = wait(*[DOWN] * 5, UP, seconds=10, stable=30)
    assert (result["verdict"], result["waited"]) == ("pass", 40.0)


def test_the_window_begins_anew_with_each_change():
    result = wait(UP, UP, DOWN, status(row(since="12:01:00")), seconds=20, stable=8)
    assert (result["verdict"], result["waited"]) == ("pass", 14.0)
    assert "came and went" in check_of(result, W1)["observed"]


def test_a_new_since_is_a_change_too():
    result = wait(*[status(row(since=f"12:00:{number:02}")) for number in range(40)], seconds=10, stable=10)
    check = check_of(result, W1)
    assert (check["status"], result["waited"]) == ("fail", 20.0)
    assert "came and went 10 times while it was watched; seen so for 0 s only" in check["observed"]
    assert "The session does not stay" in check["fix"] and "{" not in check["fix"]


def test_a_peer_that_flaps_is_said_to_flap_when_it_is_down():
    result = wait(UP, DOWN, UP, DOWN, UP, DOWN, seconds=10, stable=10)
    assert (
        check_of(result, W1)["observed"] == "start Connect since 12:00:01 (node-to-node mesh); came and went 3 times while it was watched"
    )


def test_one_peer_that_is_down_leaves_the_others_unproven_or_proven():
    result = wait(status(row(), row(W2, "start", info="Connect")), peers=[W1, W2], seconds=20, stable=10)
    assert statuses(result) == {"bgp_daemon": "pass", f"bgp_peers/{W1}": "pass", f"bgp_peers/{W2}": "fail"}
    result = wait(status(row(), row(W2, "start", info="Connect")), peers=[W1, W2], seconds=4, stable=10)
    assert statuses(result) == {"bgp_daemon": "pass", f"bgp_peers/{W1}": "unknown", f"bgp_peers/{W2}": "fail"}


def test_a_look_that_fails_does_not_end_the_wait():
    result = wait((124, "", "no end after 35 seconds"), "Calico process is not running.", UP, seconds=60)
    assert (result["verdict"], result["waited"]) == ("pass", 4.0)


def test_a_look_that_fails_is_no_change_when_the_session_stayed():
    result = wait(UP, UP, (124, "", "no end after 35 seconds"), UP, seconds=20, stable=8)
    assert (result["verdict"], result["waited"]) == ("pass", 8.0)
    assert "came and went" not in check_of(result, W1)["observed"]
    # it came back anew meanwhile
    result = wait(UP, UP, (124, "", "no end after 35 seconds"), status(row(since="12:01:00")), seconds=20, stable=8)
    assert (result["verdict"], result["waited"]) == ("pass", 14.0)


@settings(deadline=None)
@given(st.lists(st.sampled_from([UP, DOWN, status(), "", "torn"]), max_size=30), st.sampled_from([DOWN, status(), "", "torn"]))
def test_no_history_makes_a_peer_healthy_that_is_not(before, last):
    # a window of 10 s is six looks of 2 s: the peer is down in every fifth
    history = [DOWN if number % 5 == 4 else answer for number, answer in enumerate(before)]
    result = wait(*history, last, stable=10, seconds=60)
    assert result["verdict"] in ("fail", "unknown")


# --- the meaning of a text


@pytest.mark.parametrize(
    ("state", "info", "cause", "look"),
    [
        ("start", "Active Socket: Connection refused", "nothing listens on 192.0.2.12 port 179/tcp", "ss -ltnp 'sport = :179'"),
        (
            "start",
            "Connect Socket: Connection reset by peer",
            "knows no peer with the address that this node comes from",
            "ip route get 192.0.2.12",
        ),
        ("start", "Active Socket: Host is unreachable", "no machine answers to 192.0.2.12", "ip neigh show 192.0.2.12"),
        ("start", "Active Socket: No route to host", "no machine answers to 192.0.2.12", "ip neigh show 192.0.2.12"),
        ("start", "Active Socket: Network unreachable", "has no route to 192.0.2.12", "ip route get 192.0.2.12"),
        ("start", "Active Socket: Operation timed out", "are dropped on the way", "tcpdump"),
        ("start", "Active Socket: Address not available", "on no interface of this node", "ip -br address"),
        ("start", "Idle Error: No listening socket", "another program", "ss -ltnp"),
        ("start", "Idle BGP Error: Bad peer AS", "the AS number that one side has", "bgppeers"),
        ("start", "Idle Received: Bad peer AS", "192.0.2.12 closed the session with these words", "bgppeers"),
        ("start", "Idle BGP Error: Bad BGP identifier", "two nodes have the same address", "IPv4Address"),
        ("start", "Active BGP Error: Hold timer expired", "too large for the path (MTU)", "ping -c 3 -M do"),
        ("start", "Idle Received: Administrative shutdown", "taken down on purpose", "calico-node"),
        ("start", "Passive Received: Connection rejected", "does not want this peer now", "bgppeers"),
        ("start", "Idle Error: Kernel MD5 auth failed", "the passwords of the two sides differ", "nstat"),
        ("start", "Idle Automatic shutdown: Route limit exceeded", "more routes came", "show route count"),
        ("start", "Idle BGP Error: Required capability missing", "do not offer what the other one insists on", "crictl logs"),
        ("start", "Idle BGP Error: Malformed AS_PATH", "does not understand as BGP", "crictl logs"),
        ("start", "Idle Error: BFD session down", "BFD", "udp port 3784"),
        ("up", "Connect Error: Graceful restart", "restarts its BGP", "calico-node"),
        ("down", "Received: Administrative shutdown", "taken down on purpose", "calico-node"),
        ("start", "Passive", "this side waits for 192.0.2.12 to connect", "tcpdump -ni any 'tcp port 179 and host 192.0.2.12'"),
        ("start", "Connect", "does not answer on port 179/tcp", "nc -zvw3 192.0.2.12 179"),
        ("start", "Active", "the last try to connect failed", "nc -zvw3 192.0.2.12 179"),
        ("start", "OpenSent", "does not answer in BGP", "tcpdump"),
        ("start", "Idle", "off for a while after an error", "crictl logs"),
        ("wait", "Established", "the session is not up, though BGP is", "calico-node"),
        ("down", "", "the session is not up", "crictl logs"),
        ("start", "Something Error: new", "the session is not up", "crictl logs"),
    ],
)
def test_every_text_has_a_cause_and_a_command(state, info, cause, look):
    found = explain(info, state, W1)
    assert cause in found[0]
    assert look in found[1]


def test_another_port_is_in_the_command():
    assert "nc -zvw3 192.0.2.12 1790" in explain("Connect", "start", W1, 1790)[1]


def test_the_largest_ping_depends_on_the_family():
    # 1500 - 20 - 8 and 1500 - 40 - 8
    assert "-s 1472 192.0.2.12" in explain("Active BGP Error: Hold timer expired", "start", W1)[1]
    assert "-s 1452 2001:db8::12" in explain("Active BGP Error: Hold timer expired", "start", W1_6)[1]


@given(st.text(), st.text())
def test_whatever_the_text_there_is_an_answer(info, state):
    assert all("{" not in part for part in explain(info, state, W1))


# --- where it asks


def test_auto_takes_what_there_is(tmp_path):
    nowhere = Settings(sockets={4: str(tmp_path / "a"), 6: str(tmp_path / "b")})
    source, reading, dummy = _calico_ask.look(nowhere, lambda argv, timeout: (0, UP, ""))
    assert (source, len(reading.peers[4])) == ("calicoctl", 1)
    source, reading, dummy = _calico_ask.look(nowhere, lambda argv, timeout: (NOT_FOUND, "", ""))
    assert source == ""
    assert "Nothing tells of BGP on this node" in reading.errors[0].text
    assert "calicoctl is not installed" in reading.errors[0].text
    assert reading.errors[0].family is None and not reading.errors[0].absent


BIRD = """BIRD v0.3.3+birdv1.6.8 ready.
name     proto    table    state  since       info
Mesh_192_0_2_12 BGP      master   up     12:00:01    Established
"""
TABLE = (
    "\nbird v4 BGP peers\n| PEER ADDRESS | PEER TYPE | STATE | SINCE | BGPSTATE |\n| 192.0.2.12 | Mesh | up | 12:00:01 | Established |\n"
)


def scripted(answers):
    """Answers by the part of a command line that tells it apart."""
    asked = []

    def run(argv, timeout):
        line = " ".join(argv)
        asked.append(line)
        return next((answer for words, answer in answers.items() if words in line), (1, "", "unexpected"))

    return run, asked


def test_the_pod_is_asked_by_crictl():
    run, asked = scripted(
        {
            "crictl ps": (0, "abc123\n", ""),
            "bird.ctl": (0, BIRD, ""),
            "bird6.ctl": (1, "", "Unable to connect to server control socket (/var/run/calico/bird6.ctl): No such file or directory"),
        }
    )
    reading = _calico_ask.ask_pod(Settings(), run, lambda name: name)
    assert asked == [
        "crictl ps --quiet --state running --name ^calico-node$",
        "crictl exec abc123 birdcl -s /var/run/calico/bird.ctl show protocols all",
        "crictl exec abc123 birdcl -s /var/run/calico/bird6.ctl show protocols all",
    ]
    assert (reading.running, len(reading.peers[4]), reading.errors) == (True, 1, [])


def test_an_image_without_birdcl_shows_its_status_itself():
    run, asked = scripted(
        {"crictl ps": (0, "abc123\n", ""), "birdcl": (126, "", "executable file not found"), "-show-status": (0, TABLE, "")}
    )
    reading = _calico_ask.ask_pod(Settings(), run, lambda name: name)
    assert asked[-1] == "crictl exec abc123 calico-node -show-status"
    assert ([peer["info"] for peer in reading.peers[4]], reading.errors) == (["Established"], [])


def test_a_status_that_ended_with_an_error_is_in_doubt():
    run, dummy = scripted({"crictl ps": (0, "abc123\n", ""), "birdcl": (126, "", ""), "-show-status": (137, TABLE, "killed")})
    assert "ended with 137: killed" in _calico_ask.ask_pod(Settings(), run, lambda name: name).errors[0].text


def test_the_pod_is_asked_by_kubectl_where_there_is_no_crictl(tmp_path):
    kubeconfig = tmp_path / "admin.conf"
    kubeconfig.write_text("")
    run, asked = scripted(
        {"get pods": (0, "calico-system calico-node-x7", ""), "bird.ctl": (0, BIRD, ""), "bird6.ctl": (1, "", "No such file")}
    )
    ask = Settings(kubeconfig=str(kubeconfig), node="cp1")
    reading = _calico_ask.ask_pod(ask, run, lambda name: None if name == "crictl" else name)
    assert "spec.nodeName=cp1,status.phase=Running" in asked[0]
    assert asked[1].endswith("exec -n calico-system calico-node-x7 -c calico-node -- birdcl -s /var/run/calico/bird.ctl show protocols all")
    assert len(reading.peers[4]) == 1


@pytest.mark.parametrize(
    ("present", "answer", "words"),
    [
        (["crictl"], (0, "", ""), "crictl knows no running container calico-node (none listed)"),
        (["crictl"], (1, "", "connection refused"), "connection refused"),
        (["kubectl"], (0, "", ""), "kubectl knows no running pod of calico-node on cp1"),
        ([], (0, "", ""), "there is neither crictl nor kubectl"),
    ],
)
def test_no_pod(tmp_path, present, answer, words):
    kubeconfig = tmp_path / "admin.conf"
    kubeconfig.write_text("")
    with pytest.raises(NotHere) as raised:
        _calico_ask.ask_pod(
            Settings(kubeconfig=str(kubeconfig), node="cp1"), lambda argv, timeout: answer, lambda name: name if name in present else None
        )
    assert words in str(raised.value)


# --- a socket that is no BIRD


@pytest.fixture(name="server")
def fixture_server(tmp_path):
    """A socket that says what it is told to, in pieces, to each connection."""
    path = str(tmp_path / "bird.ctl")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    says = []

    def serve():
        while True:
            try:
                connection, dummy = listening.accept()
            except OSError:
                return
            with connection:
                for piece in says:
                    try:
                        connection.sendall(piece)
                    except OSError:
                        break
                connection.settimeout(5)
                try:
                    while says and says[-1] and connection.recv(100):
                        pass
                except OSError:
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield path, says
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(10)


@pytest.mark.parametrize(
    "pieces",
    [
        [b""],
        [b"220 mail.example.com ESMTP\r\n", b""],
        [
            b"0001 BIRD 1.6.8 ready.\n",
            b"0016 Access restricted\n",
            b"2002-name     proto    table    state  since       info\n1002-Mesh_192_0_2_12 BGP",
            b"",
        ],
        [b"\xff\xfe\x00", b""],
    ],
)
def test_what_is_no_whole_answer_is_unknown(server, pieces, capsys):
    path, says = server
    says += pieces
    result = run_module(capsys, source="bird", bird_socket=path, bird6_socket="/nowhere/bird6.ctl", timeout=2)
    assert statuses(result)[f"bgp_peers/{W1}"] == "unknown", result
    assert result["errors"]


# --- the module as a whole


def run_module(capsys, check_mode=False, code=0, **params):
    arguments = {
        "expected_peers": [W1],
        "listen_port": 0,
        "wait_seconds": 0,
        "stable_seconds": 0,
        **params,
        "_ansible_check_mode": check_mode,
    }
    with patch_module_args(arguments), pytest.raises(SystemExit) as exit_:
        calico_node_status.main()
    result = json.loads(capsys.readouterr().out)
    assert exit_.value.code == code, result
    return result


@pytest.fixture(name="calicoctl")
def fixture_calicoctl(tmp_path):
    """A calicoctl that prints a text."""

    def make(text):
        (tmp_path / "status").write_text(text)
        program = tmp_path / "calicoctl"
        program.write_text(f"#!/bin/sh\n[ \"$*\" = 'node status' ] || exit 9\ncat {tmp_path}/status\n")
        program.chmod(0o755)
        return str(program)

    return make


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_module_changes_nothing_and_says_the_same_twice(calicoctl, capsys, check_mode):
    for dummy in range(2):
        result = run_module(capsys, check_mode, source="calicoctl", calicoctl=calicoctl(UP))
        assert (result["changed"], result["verdict"], result["established"]) == (False, "pass", [W1])


def test_the_port_is_looked_at_when_peers_are_expected(calicoctl, capsys, monkeypatch):
    monkeypatch.setattr(_calico_ask, "listeners", lambda port, proc: ["bird"] if port == 1790 else ["zebra"])
    program = calicoctl(UP)
    assert run_module(capsys, source="calicoctl", calicoctl=program, listen_port=1790)["verdict"] == "pass"
    result = run_module(capsys, source="calicoctl", calicoctl=program, listen_port=179)
    assert (result["verdict"], result["checks"][-1]["observed"]) == ("fail", "zebra listens there instead")
    result = run_module(capsys, source="calicoctl", calicoctl=calicoctl(status()), listen_port=179, expected_peers=[])
    assert statuses(result) == {"bgp_daemon": "pass"}


def test_a_name_is_no_peer(capsys):
    assert "'cp1', which is no IP address" in run_module(capsys, code=1, expected_peers=["cp1"])["msg"]


def test_a_node_with_nothing_to_ask_is_unknown(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(_calico_ask, "which", lambda name: None)
    monkeypatch.setattr(_calico_ask.ask_pod, "__defaults__", (lambda name: None,))
    result = run_module(capsys, bird_socket=str(tmp_path / "a"), bird6_socket=str(tmp_path / "b"), calicoctl=str(tmp_path / "c"))
    assert (result["verdict"], result["source"], result["running"]) == ("unknown", "", None)


# --- who listens


def test_listeners_of_a_proc(tmp_path):
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    (tmp_path / "net").mkdir()
    listening = "   0: 00000000:00B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n"
    connected = "   1: 0B0200C0:00B3 0C0200C0:B3A1 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n"
    (tmp_path / "net" / "tcp").write_text(head + connected)
    assert _calico_ask.listeners(179, str(tmp_path)) == []
    (tmp_path / "net" / "tcp").write_text(head + connected + listening)
    assert _calico_ask.listeners(179, str(tmp_path)) == ["?"]
    (tmp_path / "77" / "fd").mkdir(parents=True)
    (tmp_path / "77" / "fd" / "5").symlink_to("socket:[4711]")
    (tmp_path / "77" / "comm").write_text("bird\n")
    assert _calico_ask.listeners(179, str(tmp_path)) == ["bird"]
    (tmp_path / "net" / "tcp").write_text("torn\ntorn\n")
    assert _calico_ask.listeners(179, str(tmp_path)) is None
    assert _calico_ask.listeners(179, str(tmp_path / "nowhere")) is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["bird"], "pass"), (["bird", "bird6"], "pass"), ([], "fail"), (["zebra"], "fail"), (["?"], "warn"), (None, "unknown")],
)
def test_who_may_have_the_port(names, expected):
    assert _calico_ask.listen_check(names, 179)["status"] == expected


def test_one_spelling_for_each_address():
    assert _bgp_peers.key("2001:0DB8::0012") == W1_6
    assert _bgp_peers.key("192.0.2.12.port.179") == W1
    assert _bgp_peers.key("masked.x") == "masked.x"
