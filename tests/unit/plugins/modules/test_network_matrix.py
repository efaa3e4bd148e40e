# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listeners and probers of three hosts, each a network namespace behind one bridge; then what goes wrong in real networks."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time

import pytest
from ansible.module_utils.testing import patch_module_args
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _network_matrix as matrix
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command
from ansible_collections.baremetal.kubernetes.plugins.module_utils._pod_traffic import run_inside
from ansible_collections.baremetal.kubernetes.plugins.modules import network_matrix

TOKEN = "run-0123456789"
TCP, UDP, SPARE = 16443, 18472, 33434
ADDRESSES = {"cp1": "192.0.2.11", "w1": "192.0.2.21", "w2": "192.0.2.22"}
ADDRESSES6 = {"cp1": "2001:db8::11", "w1": "2001:db8::21", "w2": "2001:db8::22"}


# --- questions and answers


def test_a_question_and_its_answer():
    asked = matrix.question(TOKEN, 7, 1000)
    assert len(asked) == 1000
    answer = matrix.answer_to(asked, "w1", TOKEN)
    assert answer == b"baremetal.kubernetes answer run-0123456789 7 1000 w1"
    assert matrix.read_answer(answer, TOKEN, 7) == (1000, "w1")
    assert matrix.read_answer(answer, TOKEN, 8) is None
    assert matrix.read_answer(answer, TOKEN + "0", 7) is None
    # cut on its way: what counts is how much came
    assert matrix.read_answer(matrix.answer_to(asked[:900], "w1", TOKEN), TOKEN, 7) == (900, "w1")


def test_the_longest_names_fit_into_the_smallest_question():
    asked = matrix.question("t" * 64, 10**9)
    assert len(matrix.answer_to(asked, "n" * 100, "t" * 64)) <= len(asked) == 256


@given(st.binary(max_size=2000))
def test_no_datagram_whatsoever_is_an_answer(data):
    assert matrix.answer_to(data, "w1", TOKEN) is None
    assert matrix.read_answer(data, TOKEN, 1) is None


@given(st.binary(max_size=200), st.integers(0, 60))
def test_what_is_answered_never_grows(tail, length):
    head = matrix.question(TOKEN, 1)[:length]
    answer = matrix.answer_to(head + tail, "w1", TOKEN)
    assert answer is None or len(answer) <= len(head + tail)


@pytest.mark.parametrize(
    ("name", "token", "address", "message"),
    [
        ("w 1", TOKEN, "192.0.2.1", "The name of this node is 'w 1'"),
        ("", TOKEN, "192.0.2.1", "The name of this node is ''"),
        ("w1", "short", "192.0.2.1", "The token is 'short'"),
        ("w1", "replace", "192.0.2.1", "The token is 'replace'"),
        ("w1", TOKEN + "\n", "192.0.2.1", "The token is"),
        ("w1", TOKEN, "w1.example.org", "The address is 'w1.example.org', but must be an IP address"),
        ("w1", TOKEN, "0.0.0.0", "must be one address of this node"),
        ("w1", TOKEN, "fe80::1", "must be one address of this node"),
    ],
)
def test_refused_options(name, token, address, message):
    with pytest.raises(matrix.NetworkMatrixError) as caught:
        matrix.validate(name, token, address)
    assert message in str(caught.value)


# --- the interface


@pytest.mark.parametrize(
    ("answer", "name", "mtu", "reason"),
    [
        ((0, '[{"ifname": "lo", "mtu": 65536, "addr_info": []}, {"ifname": "e0", "mtu": 1400, "addr_info": [{"local": "192.0.2.11"}]}]', ""), "e0", 1400, ""),
        ((0, "[]", ""), None, None, "no interface of this node carries 192.0.2.11"),
        ((0, "", ""), None, None, "cannot be read"),
        ((0, '[{"ifname": "e0", "addr_info": [{"local": "192.0.2.11"}]}]', ""), None, None, "cannot be read"),
        ((0, "[1]", ""), None, None, "cannot be read"),
        ((255, "", 'Option "-j" is unknown'), None, None, 'failed: Option "-j" is unknown'),
    ],
)
def test_the_interface_of_an_address(answer, name, mtu, reason):
    found = matrix.interface_of("192.0.2.11", lambda argv, timeout: answer)
    assert (found["name"], found["mtu"]) == (name, mtu)
    assert reason in found["reason"]


# --- the module


def run(capsys, **arguments):
    with patch_module_args(arguments):
        with pytest.raises(SystemExit):
            network_matrix.main()
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action": "listen", "tcp_ports": [0]}, "tcp_ports has 0, but a port is a number from 1 to 65535."),
        ({"action": "listen", "measure_port": 65536}, "measure_port is 65536"),
        ({"action": "listen", "lifetime": 0}, "lifetime is 0, but must be a number from 1 to 86400."),
        ({"action": "listen", "ipip": True, "address": "2001:db8::11"}, "answers it with IPv4 only"),
        ({"action": "probe", "samples": 1000}, "samples is 1000"),
        ({"action": "probe", "deadline": 0}, "deadline is 0"),
        ({"action": "probe", "peers": [{"name": "w1", "address": "w1"}]}, "The address is 'w1'"),
        ({"action": "probe", "peers": [{"name": "w1", "address": "192.0.2.21", "udp_ports": [70000]}]}, "udp_ports has 70000"),
        ({"action": "stop", "token": "replace"}, "The token is 'replace'"),
    ],
)
def test_refused_arguments(capsys, arguments, message):
    result = run(capsys, **{"token": TOKEN, "name": "cp1", "address": "192.0.2.11", **arguments})
    assert result["failed"]
    assert message in result["msg"]


def test_an_address_of_another_node_is_said_and_no_failure(capsys):
    result = run(capsys, action="listen", token=TOKEN, name="cp1", address="192.0.2.11")
    assert (result["listening"], result["pid"], result["changed"]) == (False, None, False)
    assert "192.0.2.11 cannot be used on this node" in result["error"]


def test_nothing_to_stop(capsys):
    assert run(capsys, action="stop", token=TOKEN)["stopped"] is False


def test_probing_from_an_address_of_another_node_proves_nothing(capsys):
    peers = [{"name": "w1", "address": "127.0.0.1", "tcp_ports": [TCP], "udp_ports": [UDP], "ipip": True, "measure_port": SPARE}]
    result = run(capsys, action="probe", token=TOKEN, name="cp1", address="192.0.2.11", peers=peers, timeout=0.3)
    (peer,) = result["peers"]
    assert (peer["tcp"][0]["status"], peer["udp"][0]["status"], peer["ipip"]["status"]) == ("unknown", "unknown", "unknown")
    assert (peer["rtt_us"], peer["path_mtu"], result["interface"]["mtu"]) == (None, None, None)


def test_peers_of_another_ip_version_are_unknown(capsys):
    peers = [{"name": "w1", "address": "2001:db8::21", "tcp_ports": [TCP]}]
    (peer,) = run(capsys, action="probe", token=TOKEN, name="cp1", address="127.0.0.1", peers=peers)["peers"]
    assert peer["tcp"][0]["status"] == "unknown"
    assert "different IP versions" in peer["tcp"][0]["error"]


# --- three hosts


def ip(*words, check=True):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    if check and done.returncode:
        pytest.skip(f"ip {' '.join(words)}: {done.stderr.strip()}")


class Lan:
    """Hosts on a bridge; what is called runs in a process inside the host's namespace."""

    def __init__(self, prefix, addresses):
        self.prefix, self.addresses = prefix, addresses

    def build(self, mtu=1500):
        bridge = f"{self.prefix}-lan"
        ip("netns", "add", bridge)
        ip("-n", bridge, "link", "add", "br0", "type", "bridge")
        ip("-n", bridge, "link", "set", "br0", "up", "mtu", str(mtu))
        for number, name in enumerate(self.addresses):
            host = f"{self.prefix}-{name}"
            ip("netns", "add", host)
            ip("-n", bridge, "link", "add", f"port{number}", "mtu", str(mtu), "type", "veth", "peer", "name", "eth0", "netns", host)
            ip("-n", bridge, "link", "set", f"port{number}", "up", "master", "br0")
            ip("-n", host, "link", "set", "lo", "up")
            ip("-n", host, "link", "set", "eth0", "up", "mtu", str(mtu))
            ip("-n", host, "addr", "add", f"{ADDRESSES[name]}/24", "dev", "eth0")
            ip("-n", host, "addr", "add", f"{ADDRESSES6[name]}/64", "dev", "eth0", "nodad")

    def close(self):
        for name in ["lan", *self.addresses]:
            if os.path.exists(f"/run/netns/{self.prefix}-{name}"):
                if name != "lan":
                    self.inside(name, matrix.stop)
                ip("netns", "del", f"{self.prefix}-{name}", check=False)

    def inside(self, host, function, seconds=120):
        return run_inside(f"/run/netns/{self.prefix}-{host}", function, seconds)

    def sh(self, host, *words):
        ip("netns", "exec", f"{self.prefix}-{host}", *words)

    def nft(self, host, rule, hook="input"):
        text = f"table inet test {{ chain {hook} {{ type filter hook {hook} priority 0; policy accept; {rule}\n}}\n}}\n"
        done = subprocess.run(
            ["ip", "netns", "exec", f"{self.prefix}-{host}", "nft", "-f", "-"], input=text, capture_output=True, text=True, timeout=30, check=False
        )
        assert "syntax error" not in done.stderr, done.stderr
        if done.returncode:
            pytest.skip(f"this kernel has no such packet filter: {done.stderr.strip()}")

    def listen(self, host, tcp=(TCP,), udp=(UDP,), spare=SPARE, ipip=False, lifetime=90, token=TOKEN, name=None):
        address = self.addresses[host]
        return self.inside(host, lambda: matrix.listen(name or host, address, token, tcp, udp, spare, ipip, lifetime))

    def peer(self, host, **more):
        return {
            "name": host, "address": self.addresses[host], "tcp_ports": [TCP], "udp_ports": [UDP], "measure_port": SPARE, "ipip": False, "unserved": [], **more
        }  # fmt: skip

    def probe(self, host, peers=None, timeout=1.0, deadline=60.0, samples=3):
        others = peers or [self.peer(name) for name in self.addresses]
        return self.inside(host, lambda: matrix.probe(host, self.addresses[host], TOKEN, others, timeout, samples, deadline, run_command))

    def seen(self, host, other, **more):
        """What this host sees of another one, in short."""
        return short(self.probe(host, **more), other)


def short(result, other):
    (peer,) = [peer for peer in result["peers"] if peer["name"] == other]
    return peer["tcp"][0]["status"], peer["udp"][0]["status"], peer["path_mtu"]


def make_lan(addresses, mtu=1500):
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("nft"):
        pytest.skip("needs root, iproute2 and nft")
    lan = Lan(f"m{os.getpid() % 100000}", addresses)
    try:
        lan.build(mtu)
        yield lan
    finally:
        lan.close()


@pytest.fixture(autouse=True)
def fixture_patience(monkeypatch):
    """No way is long here."""
    monkeypatch.setattr(matrix, "_SIZE_WAIT", 0.2)


@pytest.fixture(name="lan")
def fixture_lan():
    """Three hosts."""
    yield from make_lan(ADDRESSES)


@pytest.fixture(name="lan6")
def fixture_lan6():
    """Three hosts with IPv6."""
    yield from make_lan(ADDRESSES6)


@pytest.fixture(name="running")
def fixture_running(lan):
    """Three hosts that listen."""
    for host in ADDRESSES:
        assert lan.listen(host)["unserved"] == []
    return lan


def alive(pid):
    return os.path.exists(f"/proc/{pid}")


def wait_until_gone(pid, seconds=10):
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


def test_all_is_open(running):
    result = running.probe("cp1")
    assert [peer["name"] for peer in result["peers"]] == ["w1", "w2"]
    assert (result["complete"], result["interface"]) == (True, {"name": "eth0", "mtu": 1500, "reason": ""})
    for peer in result["peers"]:
        assert peer["tcp"][0]["status"] == "open"
        assert peer["tcp"][0]["seconds"] > 0
        assert peer["udp"] == [{"port": UDP, "status": "answered", "error": ""}]
        assert (peer["path_mtu"], peer["path_mtu_reason"], peer["rtt_reason"]) == (1500, "", "")
        rtt = peer["rtt_us"]
        assert (rtt["samples"], rtt["sent"]) == (3, 3)
        assert 0 < rtt["min"] <= rtt["avg"] <= rtt["max"]


def test_nobody_listens(lan):
    # the kernel of the other host refuses by itself
    assert lan.seen("cp1", "w1") == ("refused", "refused", None)


def test_ipv6(lan6):
    for host in ADDRESSES6:
        assert lan6.listen(host)["unserved"] == []
    assert lan6.seen("cp1", "w1") == ("open", "answered", 1500)
    lan6.sh("lan", "ip", "link", "set", "port1", "mtu", "1337")
    assert lan6.seen("cp1", "w1") == ("open", "answered", 1337)


def test_dropped_ports_on_one_host(running):
    running.nft("w1", f"tcp dport {TCP} drop; udp dport {UDP} drop;")
    result = running.probe("cp1")
    # the spare port still measures
    assert short(result, "w1") == ("timeout", "silent", 1500)
    assert short(result, "w2") == ("open", "answered", 1500)
    assert running.seen("w1", "cp1") == ("open", "answered", 1500)
    assert "no answer within 1 s" in result["peers"][0]["tcp"][0]["error"]


def test_rejected_ports(running):
    running.nft("w1", f"tcp dport {TCP} reject with tcp reset; udp dport {UDP} reject;")
    assert running.seen("cp1", "w1") == ("refused", "refused", 1500)


def test_prohibited_ports(running):
    running.nft("w1", f"meta l4proto {{ tcp, udp }} th dport {{ {TCP}, {UDP} }} reject with icmpx admin-prohibited;")
    assert running.seen("cp1", "w1") == ("unreachable", "unreachable", 1500)


def test_one_direction_is_blocked(running):
    running.nft("w1", "ct state established accept; ip saddr 192.0.2.11 drop;")
    assert running.seen("cp1", "w1") == ("timeout", "silent", None)
    assert running.seen("w1", "cp1") == ("open", "answered", 1500)
    assert running.seen("w2", "w1") == ("open", "answered", 1500)


def test_the_own_filter_keeps_packets_back(running):
    running.nft("cp1", f"tcp dport {TCP} drop; udp dport {UDP} drop;", hook="output")
    assert running.seen("cp1", "w1") == ("timeout", "unreachable", 1500)


def test_udp_only_is_silent_and_no_port_is_left_to_measure_with(running):
    running.nft("w1", "meta l4proto udp drop;")
    result = running.probe("cp1")
    assert short(result, "w1") == ("open", "silent", None)
    peer = result["peers"][0]
    assert (peer["rtt_us"], peer["rtt_reason"], peer["path_mtu_reason"]) == (None, "no UDP port of this node answers", "no UDP port of this node answers")


def test_a_smaller_mtu_on_the_way_to_one_host(running):
    # nobody tells the sender: a bridge sends no ICMP
    running.sh("lan", "ip", "link", "set", "port1", "mtu", "1399")
    result = running.probe("cp1")
    assert short(result, "w1") == ("open", "answered", 1399)
    assert short(result, "w2") == ("open", "answered", 1500)
    assert "1400 bytes and more get lost; the interface has an MTU of 1500" in result["peers"][0]["path_mtu_reason"]


def test_a_smaller_mtu_on_the_interface_of_one_host(running):
    running.sh("w1", "ip", "link", "set", "eth0", "mtu", "1400")
    # it does not send more; what others send it a real network card may drop or take
    result = running.probe("w1")
    assert (short(result, "cp1"), result["interface"]["mtu"]) == (("open", "answered", 1400), 1400)
    # the kernel's veth leaves room for the 4 bytes of a VLAN tag
    assert 1400 <= running.seen("cp1", "w1")[2] <= 1500


def test_small_packets_alone_pass(running):
    running.nft("w1", "meta length > 400 drop;")
    result = running.probe("cp1")
    assert short(result, "w1") == ("open", "answered", None)
    assert "packets of 576 bytes get lost, though smaller ones arrive" in result["peers"][0]["path_mtu_reason"]


def test_a_host_that_is_away(running):
    running.sh("w1", "ip", "link", "set", "eth0", "down")
    # the kernel gives up its search for the neighbour after three seconds, and tells those who connect
    assert running.seen("cp1", "w1", timeout=3.5, samples=1) == ("unreachable", "silent", None)


def test_the_deadline_leaves_the_rest_unknown(running):
    running.nft("w1", "drop;")
    begin = time.monotonic()
    result = running.probe("cp1", timeout=30.0, deadline=2.0)
    assert time.monotonic() - begin < 25
    assert (result["complete"], short(result, "w1"), short(result, "w2")) == (False, ("unknown", "unknown", None), ("open", "answered", 1500))
    assert "not reached within the 2 seconds" in result["peers"][0]["tcp"][0]["error"]


def test_a_port_that_another_process_holds(lan):
    child = None
    try:
        script = (
            "import socket,time; a=socket.create_server(('0.0.0.0',%d)); b=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);"
            "b.bind(('0.0.0.0',%d)); print('up',flush=True); time.sleep(60)" % (TCP, UDP)
        )
        child = subprocess.Popen(["ip", "netns", "exec", f"{lan.prefix}-w1", shutil.which("python3"), "-c", script], stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"up\n"
        unserved = lan.listen("w1")["unserved"]
        assert unserved == [{"protocol": "tcp", "port": TCP, "reason": "busy"}, {"protocol": "udp", "port": UDP, "reason": "busy"}]
        result = lan.probe("cp1", peers=[lan.peer("w1", unserved=unserved)])
        # a connection is proof enough; silence of a stranger is none
        assert short(result, "w1") == ("open", "unknown", 1500)
        assert "another process of that node holds the port" in result["peers"][0]["udp"][0]["error"]
        # a prober that was not told does not take the stranger for the listener
        result = lan.probe("cp1", peers=[lan.peer("w1")])
        assert short(result, "w1")[0] == "unknown"
        assert "did not speak" in result["peers"][0]["tcp"][0]["error"]
    finally:
        if child:
            child.kill()
            child.wait()
            child.stdout.close()


def test_ports_the_listener_could_not_have(lan):
    lan.listen("w1")
    unserved = [{"protocol": "tcp", "port": TCP, "reason": "permission denied"}, {"protocol": "udp", "port": UDP, "reason": "permission denied"}]
    result = lan.probe("cp1", peers=[lan.peer("w1", unserved=unserved)])
    assert short(result, "w1")[:2] == ("unknown", "unknown")
    assert result["peers"][0]["tcp"][0]["error"] == "the node could not listen there: permission denied"


def test_the_address_of_one_host_on_another(lan):
    lan.listen("w1", name="w7")
    result = lan.probe("cp1")
    assert short(result, "w1") == ("unknown", "unknown", None)
    assert "w7" in result["peers"][0]["tcp"][0]["error"]
    assert result["peers"][0]["udp"][0]["error"] == "node w7 answered instead"


def test_a_listener_of_another_run_answers_nobody(lan):
    lan.listen("w1", token="run-of-yesterday")
    assert lan.seen("cp1", "w1") == ("unknown", "silent", None)


def test_ip_in_ip(lan):
    lan.listen("w1", ipip=True)
    peers = [lan.peer("w1", ipip=True)]
    assert lan.probe("cp1", peers=peers)["peers"][0]["ipip"] == {"status": "answered", "error": ""}
    lan.nft("w1", "ip protocol 4 drop;")
    result = lan.probe("cp1", peers=peers)
    assert result["peers"][0]["ipip"]["status"] == "silent"
    assert short(result, "w1") == ("open", "answered", 1500)


def test_the_listener_is_one_process_that_ends(lan):
    first = lan.listen("w1")
    second = lan.listen("w1")
    assert (second["unserved"], wait_until_gone(first["pid"]), alive(second["pid"])) == ([], True, True)
    # the address of another node in the way does not matter, another run's token does
    assert lan.inside("w1", lambda: matrix.stop("run-of-yesterday")) is False
    assert alive(second["pid"])
    assert lan.inside("w1", lambda: matrix.stop(TOKEN)) is True
    assert wait_until_gone(second["pid"])
    assert lan.inside("w1", lambda: matrix.stop(TOKEN)) is False
    third = lan.listen("w1", lifetime=1)
    assert alive(third["pid"])
    assert wait_until_gone(third["pid"])


def test_nothing_stays_on_the_ports(running):
    running.probe("cp1")
    running.inside("w1", lambda: matrix.stop(TOKEN))
    left = subprocess.run(
        ["ip", "netns", "exec", f"{running.prefix}-w1", "cat", "/proc/net/tcp", "/proc/net/udp"], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    assert f":{TCP:04X} " not in left
    assert f":{UDP:04X} " not in left


def test_who_connects_and_stays_is_sent_away_by_those_who_come(lan, monkeypatch):
    monkeypatch.setattr(matrix, "_CONNECTIONS", 3)
    lan.listen("w1")

    def stay():
        many = [socket.create_connection((ADDRESSES["w1"], TCP), timeout=5) for _number in range(5)]
        greetings = [one.recv(256) for one in many]
        ends = [one.recv(256) for one in many[:2]]
        many[2].settimeout(0.2)
        try:
            many[2].recv(256)
        except socket.timeout:
            return [len(set(greetings)), *[len(end) for end in ends], "stays"]
        return "closed"

    # the first two of five; three may stay
    assert lan.inside("cp1", stay) == [1, 0, 0, "stays"]
    assert lan.seen("w2", "w1") == ("open", "answered", 1500)


def test_the_module_from_listening_to_stopping(lan):
    def act(host, **arguments):
        def main():
            # the process of run_inside has no capture of pytest's own
            reader, writer = os.pipe()
            os.dup2(writer, 1)
            os.close(writer)
            with patch_module_args({"token": TOKEN, "name": host, "address": ADDRESSES[host], **arguments}):
                import sys

                sys.stdout = os.fdopen(1, "w", closefd=False)
                try:
                    network_matrix.main()
                except SystemExit:
                    pass
                sys.stdout.flush()
            return json.loads(os.read(reader, 65536))

        return lan.inside(host, main)

    listener = act("w1", action="listen", tcp_ports=[TCP], udp_ports=[UDP], _ansible_check_mode=True)
    assert (listener["changed"], listener["listening"], listener["measure_port"], listener["name"]) == (False, True, SPARE, "w1")
    peers = [{"name": "w1", "address": ADDRESSES["w1"], "tcp_ports": [TCP], "udp_ports": [UDP], "measure_port": listener["measure_port"]}]
    result = act("cp1", action="probe", peers=peers)
    assert (result["changed"], short(result, "w1")) == (False, ("open", "answered", 1500))
    assert act("w1", action="stop")["stopped"] is True
    assert wait_until_gone(listener["pid"])
