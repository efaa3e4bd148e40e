# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module calico_node_status on BIRD daemons that speak real BGP to each other in network namespaces.

BIRD 1.6 is what Calico's fork comes from: its texts, its control socket and its timing are the ones of a node.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils._calico_ask import ask_bird, from_socket
from ansible_collections.baremetal.kubernetes.plugins.module_utils._calico_status import read_bird
from ansible_collections.baremetal.kubernetes.plugins.modules import calico_node_status

MISSING = [name for name in ("ip", "nft", "bird", "bird6", "birdc") if not shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")]
pytestmark = pytest.mark.skipif(
    bool(MISSING) or os.geteuid() != 0,
    reason=f"needs root and Debian's iproute2, nftables and bird; not found: {', '.join(MISSING) or 'root'}",
)

AS = 64512
# Seconds instead of BIRD's minutes: a test waits for every step of a session.
TIMERS = (
    "connect delay time 1; connect retry time 1; error wait time 1, 2; error forget time 4;"
    " startup hold time 6; hold time 6; keepalive time 2;"
)


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True, timeout=30).stdout


def address(node, family=4):
    return f"192.0.2.{10 + node}" if family == 4 else f"2001:db8::{10 + node}"


class Session:
    """One end of a session as confd configures it; options are lines of BIRD's configuration."""

    def __init__(self, peer, options="", kind="Mesh", peer_as=AS, name=""):
        self.peer, self.options, self.kind, self.peer_as, self.name = peer, options, kind, peer_as, name

    def text(self, local_as, family):
        other = address(self.peer, family)
        name = self.name or f"{self.kind}_{other.replace('.', '_').replace(':', '_')}"
        return (
            f"protocol bgp {name} {{\n  local as {local_as};\n  neighbor {other} as {self.peer_as};\n"
            f"  import all; export all; {TIMERS}\n  {self.options}\n}}\n"
        )


class Lan:
    """Nodes in namespaces of their own on one bridge, each with a BIRD."""

    def __init__(self, folder, suffix=""):
        self.folder = folder
        self.prefix = f"bgp{os.getpid()}{suffix}-"
        self.daemons = {}
        self.spaces = []
        ip("netns", "add", self._space("sw"))
        ip("-n", self._space("sw"), "link", "add", "br0", "type", "bridge")
        ip("-n", self._space("sw"), "link", "set", "br0", "up")

    def _space(self, name):
        space = f"{self.prefix}{name}"
        if space not in self.spaces:
            self.spaces.append(space)
        return space

    def node(self, number):
        """A machine on the network, without BIRD."""
        space = self._space(number)
        ip("netns", "add", space)
        switch = self._space("sw")
        ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{number}", "netns", switch)
        ip("-n", switch, "link", "set", f"port{number}", "master", "br0", "up")
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "link", "set", "eth0", "up")
        ip("-n", space, "address", "add", f"{address(number)}/24", "dev", "eth0")
        ip("-n", space, "address", "add", f"{address(number, 6)}/64", "dev", "eth0", "nodad")
        return self

    def socket(self, number, family=4):
        return str(self.folder / f"bird{family}-{number}.ctl")

    def bird(self, number, *sessions, local_as=AS, router_id="", family=4):
        """Start BIRD on a node, in the foreground: it can then be ended by its handle."""
        config = self.folder / f"bird{family}-{number}.conf"
        config.write_text(
            f"router id {router_id or address(number)};\nprotocol device {{ scan time 1; }}\n"
            f"protocol static {{ route {f'10.244.{number}.0/24' if family == 4 else f'fd00:{number}::/64'} blackhole; }}\n"
            + "".join(session.text(local_as, family) for session in sessions)
        )
        program = "bird" if family == 4 else "bird6"
        # it ends with these tests, also when they are killed
        argv = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "ip",
            "netns",
            "exec",
            self._space(number),
            program,
            "-d",
            "-c",
            str(config),
            "-s",
            self.socket(number, family),
        ]
        with open(self.folder / f"bird{family}-{number}.log", "ab") as log:
            self.daemons[number, family] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self, number, family=4):
        daemon = self.daemons.pop((number, family))
        daemon.kill()
        daemon.wait(10)

    def mesh(self, *numbers, family=4):
        for number in numbers:
            self.bird(number, *(Session(other) for other in numbers if other != number), family=family)

    def exec(self, number, *argv, text=None):
        return subprocess.run(
            ["ip", "netns", "exec", self._space(number), *argv], input=text, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    def birdc(self, number, *words):
        return subprocess.run(["birdc", "-s", self.socket(number), *words], capture_output=True, text=True, timeout=20, check=True).stdout

    def close(self):
        for number, family in list(self.daemons):
            self.stop(number, family)
        for space in reversed(self.spaces):
            ip("netns", "del", space, check=False)


@pytest.fixture(name="lan")
def fixture_lan(tmp_path):
    lan = Lan(tmp_path)
    try:
        yield lan
    finally:
        lan.close()


@pytest.fixture(name="ask")
def fixture_ask(lan, capsys):
    """Run the module on a node's sockets."""

    def ask(number, *peers, **params):
        arguments = {
            "source": "bird",
            "bird_socket": lan.socket(number),
            "bird6_socket": lan.socket(number, 6),
            "listen_port": 0,
            "stable_seconds": 0,
            "wait_seconds": 40,
            "poll": 0.2,
            "expected_peers": [peer if isinstance(peer, str) else address(peer) for peer in peers],
            **params,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit) as exit_:
            calico_node_status.main()
        result = json.loads(capsys.readouterr().out)
        assert (exit_.value.code, result["changed"]) == (0, False), result
        return result

    return ask


def until(ask, number, peer, words, seconds=45):
    """Look until the finding of this peer has one of these words; BIRD passes through several states for the same fault."""
    end = time.monotonic() + seconds
    while True:
        result = ask(number, peer, wait_seconds=0)
        found = finding(result, peer)
        if any(word in found["observed"] for word in words):
            return result, found
        assert time.monotonic() < end, found
        time.sleep(0.3)


def statuses(result):
    return {item["id"]: item["status"] for item in result["checks"]}


def finding(result, peer):
    return next(item for item in result["checks"] if item["id"] == f"bgp_peers/{peer if isinstance(peer, str) else address(peer)}")


def test_a_mesh_of_three_is_up_and_stays_so(lan, ask):
    for number in (1, 2, 3):
        lan.node(number)
    lan.mesh(1, 2, 3)
    for number, others in ((1, (2, 3)), (2, (1, 3)), (3, (1, 2))):
        result = ask(number, *others, stable_seconds=2 if number == 1 else 0)
        assert result["verdict"] == "pass", result["checks"]
        assert [(item["id"], item["status"]) for item in result["checks"]] == [
            ("bgp_daemon", "pass"),
            *[(f"bgp_peers/{address(other)}", "pass") for other in others],
        ]
        assert (result["running"], result["source"], result["errors"], result["missing"], result["unexpected"]) == (
            True,
            "bird",
            [],
            [],
            [],
        )
        assert sorted(result["established"]) == [address(other) for other in others]
        assert [(peer["peer_type"], peer["state"], peer["info"]) for peer in result["ipv4"]] == [
            ("node-to-node mesh", "up", "Established")
        ] * 2
        assert result["bird"] == {"version": "1.6.8", "router_id": address(number)}
        assert result["waited"] >= (2 if number == 1 else 0)


def test_both_families_on_their_two_sockets(lan, ask):
    for number in (1, 2):
        lan.node(number)
    lan.mesh(1, 2)
    lan.mesh(1, 2, family=6)
    result = ask(1, 2, address(2, 6))
    assert result["verdict"] == "pass", result["checks"]
    assert [peer["peer_address"] for peer in result["ipv4"] + result["ipv6"]] == [address(2), address(2, 6)]
    # one BIRD less: the family that is gone fails, the other one does not
    lan.stop(1, 6)
    result = ask(1, 2, address(2, 6), wait_seconds=0)
    assert statuses(result) == {"bgp_daemon": "fail", f"bgp_peers/{address(2)}": "pass", f"bgp_peers/{address(2, 6)}": "fail"}
    assert "no BIRD listens on it" in finding(result, address(2, 6))["observed"]


# --- one node with a fault of every kind, beside one peer that is up

GOOD, DROPPED, NO_BIRD, NO_MACHINE, WRONG_AS, WAITED_FOR, OTHER_PASSWORD, SAME_ROUTER_ID, DISABLED = 2, 3, 4, 5, 6, 7, 8, 9, 10
SILENCE = """
table ip silent {
  chain input { type filter hook input priority 0; tcp sport 179 drop; tcp dport 179 drop; }
}
"""
DROP_BGP = """
table ip bgp {
  chain input { type filter hook input priority 0; tcp dport 179 drop; }
  chain output { type filter hook output priority 0; tcp dport 179 drop; }
}
"""


@pytest.fixture(name="faults", scope="module")
def fixture_faults(tmp_path_factory):
    lan = Lan(tmp_path_factory.mktemp("faults"), "f")
    try:
        for number in (1, GOOD, DROPPED, NO_BIRD, WRONG_AS, WAITED_FOR, OTHER_PASSWORD, SAME_ROUTER_ID, DISABLED):
            lan.node(number)
        lan.exec(DROPPED, "nft", "-f", "-", text=DROP_BGP)
        lan.exec(WAITED_FOR, "nft", "-f", "-", text=DROP_BGP)
        lan.bird(
            1,
            Session(GOOD),
            Session(DROPPED),
            Session(NO_BIRD, kind="Global"),
            Session(NO_MACHINE),
            Session(WRONG_AS, peer_as=64999, kind="Node"),
            Session(WAITED_FOR, "passive;"),
            Session(OTHER_PASSWORD, 'password "one";'),
            Session(SAME_ROUTER_ID),
            Session(DISABLED, "disabled;"),
        )
        for number in (GOOD, DROPPED, WRONG_AS, WAITED_FOR, DISABLED):
            lan.bird(number, Session(1))
        lan.bird(OTHER_PASSWORD, Session(1, 'password "two";'))
        lan.bird(SAME_ROUTER_ID, Session(1), router_id=address(1))
        yield lan
    finally:
        lan.close()


FAULTS = [
    (
        DROPPED,
        ["start Connect since"],
        "mostly by a firewall",
        "nc -zvw3 192.0.2.13 179; tcpdump -ni any 'tcp port 179 and host 192.0.2.13'",
    ),
    (NO_BIRD, ["start Active Socket: Connection refused"], "nothing listens on 192.0.2.14 port 179/tcp", "there: ss -ltnp 'sport = :179'"),
    (NO_MACHINE, ["Socket: No route to host"], "no machine answers to 192.0.2.15", "ip neigh show 192.0.2.15"),
    (
        WRONG_AS,
        ["BGP Error: Bad peer AS"],
        "(this side closed the session with these words)",
        "kubectl get bgpconfigurations,bgppeers -o yaml",
    ),
    (
        WAITED_FOR,
        ["start Passive since"],
        "this side waits for 192.0.2.17 to connect",
        "tcpdump -ni any 'tcp port 179 and host 192.0.2.17'",
    ),
    (OTHER_PASSWORD, ["start Connect since"], "or the passwords of the two sides differ", "nstat -az TcpExtTCPMD5Failure"),
    (SAME_ROUTER_ID, ["BGP Error: Bad BGP identifier"], "two nodes have the same address", "IPv4Address"),
    (DISABLED, ["down since"], "the session is not up", "crictl logs"),
]


@pytest.mark.parametrize(("peer", "words", "cause", "command"), FAULTS, ids=[str(fault[1][0]) + str(fault[0]) for fault in FAULTS])
def test_a_fault_is_named_with_its_usual_cause(faults, ask_faults, peer, words, cause, command):
    result, found = until(ask_faults, 1, peer, words)
    assert (found["status"], result["verdict"]) == ("fail", "fail")
    assert cause in found["fix"]
    assert command in found["fix"]
    assert result["missing"] == [address(peer)]


def test_the_healthy_peer_beside_the_faults_is_up(faults, ask_faults):
    result = ask_faults(1, GOOD, stable_seconds=1)
    assert finding(result, GOOD)["status"] == "pass"
    # the other eight are none that this call expects
    assert (result["verdict"], len(result["unexpected"])) == ("warn", 8)
    assert {peer["peer_type"] for peer in result["ipv4"]} == {"node-to-node mesh", "node specific", "global"}


def test_the_other_side_says_that_it_received_the_error(faults, ask_faults):
    dummy, found = until(ask_faults, WRONG_AS, 1, ["Received: Bad peer AS"])
    assert "(192.0.2.11 closed the session with these words)" in found["fix"]


def test_the_text_of_birdc_says_the_same_as_the_socket(faults):
    direct, dummy = from_socket(faults.socket(1), 4, 5)
    printed = read_bird(faults.birdc(1, "show", "protocols", "all"))
    short = read_bird(faults.birdc(1, "show", "protocols"))
    addresses = [[peer["peer_address"] for peer in reading.peers[4]] for reading in (direct, printed, short)]
    assert addresses == [[address(number) for number in range(2, 11)]] * 3
    assert (printed.running, short.running, printed.errors, short.errors) == (True, True, [], [])


def test_bird_refuses_to_be_changed_on_our_connection(faults):
    assert ask_bird(faults.socket(1), ["restrict", "disable all"], 5).startswith("8007 ")


@pytest.fixture(name="ask_faults")
def fixture_ask_faults(faults, ask, lan):
    def ask_faults(number, *peers, **params):
        return ask(number, *peers, **{"bird_socket": faults.socket(number), "bird6_socket": "/nowhere/bird6.ctl", **params})

    return ask_faults


# --- sessions that do not stay


def test_a_session_that_comes_and_goes_is_no_session(lan, ask):
    for number in (1, 2):
        lan.node(number)
    lan.mesh(1, 2)
    assert ask(1, 2)["verdict"] == "pass"
    halt = threading.Event()

    def flap():
        # up for a moment each time, however slow the machine is
        while not halt.wait(0.5):
            if "Established" in lan.birdc(2, "show", "protocols"):
                halt.wait(0.7)
                lan.birdc(2, "restart", "all")

    flapping = threading.Thread(target=flap)
    flapping.start()
    try:
        result = ask(1, 2, stable_seconds=8, wait_seconds=8)
    finally:
        halt.set()
        flapping.join(20)
    found = finding(result, 2)
    assert (found["status"], result["verdict"]) == ("fail", "fail")
    assert re.search(r"came and went \d+ times? while it was watched", found["observed"]), found
    assert result["waited"] <= 8 + 8 + 3
    # and when it has calmed down
    assert ask(1, 2, stable_seconds=3)["verdict"] == "pass"


def test_a_restart_between_two_looks_is_seen_by_its_since(lan, ask):
    for number in (1, 2):
        lan.node(number)
    lan.mesh(1, 2)
    assert ask(1, 2)["verdict"] == "pass"

    def restart():
        time.sleep(1)
        lan.birdc(2, "restart", "all")

    restarting = threading.Thread(target=restart)
    restarting.start()
    try:
        # only two looks are possible before the window ends
        result = ask(1, 2, stable_seconds=6, poll=6)
    finally:
        restarting.join(20)
    assert "came and went" in finding(result, 2)["observed"]
    assert result["waited"] >= 11


def test_silence_ends_in_an_expired_hold_timer(lan, ask):
    for number in (1, 2):
        lan.node(number)
    lan.mesh(1, 2)
    assert ask(1, 2)["verdict"] == "pass"
    lan.exec(2, "nft", "-f", "-", text=SILENCE)
    dummy, found = until(ask, 1, 2, ["Hold timer expired"])
    assert "ping -c 3 -M do -s 1472 192.0.2.12" in found["fix"]


def test_a_peer_that_is_shut_down_says_so(lan, ask):
    for number in (1, 2):
        lan.node(number)
    lan.mesh(1, 2)
    assert ask(1, 2)["verdict"] == "pass"
    lan.birdc(2, "disable", "Mesh_192_0_2_11")
    dummy, found = until(ask, 1, 2, ["Received: Administrative shutdown"])
    assert "taken down on purpose" in found["fix"]
    # BIRD forgets the error with the next session: nothing is left behind Established
    lan.birdc(2, "enable", "Mesh_192_0_2_11")
    result = ask(1, 2)
    assert (result["verdict"], result["ipv4"][0]["info"]) == ("pass", "Established")


# --- a BIRD that is gone, silent, or not the one that has the port


def test_a_bird_that_does_not_answer_is_unknown(lan, ask):
    for number in (1, 2):
        lan.node(number)
    lan.mesh(1, 2)
    assert ask(1, 2)["verdict"] == "pass"
    lan.daemons[1, 4].send_signal(signal.SIGSTOP)
    result = ask(1, 2, wait_seconds=0, timeout=0.5)
    assert statuses(result) == {"bgp_daemon": "unknown", f"bgp_peers/{address(2)}": "unknown"}
    assert "timed out" in result["errors"][0]
    lan.daemons[1, 4].send_signal(signal.SIGCONT)
    assert ask(1, 2)["verdict"] == "pass"
    lan.stop(1)
    result = ask(1, 2, wait_seconds=0)
    assert (result["running"], statuses(result)) == (False, {"bgp_daemon": "fail", f"bgp_peers/{address(2)}": "fail"})


def test_who_has_the_port(lan):
    for number in (1, 2):
        lan.node(number)

    def checked(number):
        script = (
            "import json; from ansible_collections.baremetal.kubernetes.plugins.module_utils import _calico_ask as ask;"
            "print(json.dumps(ask.listen_check(ask.listeners(179), 179)))"
        )
        environment = f"PYTHONPATH={os.pathsep.join(path for path in sys.path if path)}"
        return json.loads(lan.exec(number, "env", environment, sys.executable, "-c", script))

    def soon(status):
        end = time.monotonic() + 15
        while checked(1)["status"] != status and time.monotonic() < end:
            time.sleep(0.3)
        return checked(1)

    assert checked(1)["status"] == "fail"
    lan.bird(1, Session(2))
    assert soon("pass")["observed"] == "bird listens"
    lan.stop(1)
    listen = "import socket, time; s = socket.create_server(('', 179)); time.sleep(60)"
    other = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", f"{lan.prefix}1", sys.executable, "-c", listen])
    try:
        end = time.monotonic() + 15
        while "listens there instead" not in checked(1)["observed"] and time.monotonic() < end:
            time.sleep(0.3)
        found = checked(1)
        assert (found["status"], found["observed"].partition(" ")[0][:6]) == ("fail", "python")
        assert "Stop it or give it or Calico" in found["fix"]
    finally:
        other.kill()
        other.wait(10)
