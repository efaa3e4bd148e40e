# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traffic of probe pods: findings with scripted connections, then listeners and clients in real network namespaces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

import pytest
from ansible.module_utils.testing import patch_module_args
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _pod_server, _pod_traffic
from ansible_collections.baremetal.kubernetes.plugins.modules import pod_traffic

UID_A, UID_B = "6e1f2c3d-1111-4aaa-8bbb-00000000000a", "6e1f2c3d-1111-4aaa-8bbb-00000000000b"
CP1 = {"node": "cp1", "node_addresses": ["192.0.2.11"], "name": "verify-a", "uid": UID_A, "address": "10.244.0.2"}
W1 = {"node": "w1", "node_addresses": ["192.0.2.21"], "name": "verify-b", "uid": UID_B, "address": "10.244.1.2"}
PODS = [CP1, W1]
SERVICE = "10.105.3.7"


# --- the pod's process


def process(proc, number, cgroup, network):
    folder = proc / str(number) / "ns"
    folder.mkdir(parents=True)
    (folder / "net").symlink_to(f"net:[{network}]")
    (folder.parent / "cgroup").write_text(cgroup)


@pytest.mark.parametrize(
    "cgroup",
    [
        "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod6e1f2c3d_1111_4aaa_8bbb_00000000000a.slice/cri-containerd-ab.scope\n",
        "0::/kubepods/besteffort/pod6e1f2c3d-1111-4aaa-8bbb-00000000000a/ab\n",
        "12:cpu,cpuacct:/kubepods/besteffort/pod6e1f2c3d-1111-4aaa-8bbb-00000000000a/ab\n1:name=systemd:/kubepods/x\n",
        "3:pids:/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod6e1f2c3d_1111_4aaa_8bbb_00000000000a.slice:cri-containerd:ab\n",
    ],
)
def test_the_process_of_a_pod_under_every_cgroup_driver(tmp_path, cgroup):
    process(tmp_path, "self", "0::/user.slice\n", 1)
    process(tmp_path, 1, "0::/init.scope\n", 1)
    # in the host's network: the kubelet may do something on behalf of the pod
    process(tmp_path, 40, cgroup, 1)
    process(tmp_path, 500, cgroup, 2)
    process(tmp_path, 60, cgroup.replace("0000a", "0000c"), 3)
    (tmp_path / "70").mkdir()
    assert _pod_traffic.find_process(UID_A, str(tmp_path)) == 500


@pytest.mark.parametrize("uid", [UID_B, ""])
def test_a_pod_that_is_elsewhere(tmp_path, uid):
    process(tmp_path, "self", "0::/user.slice\n", 1)
    process(tmp_path, 500, f"0::/kubepods/pod{UID_A}/ab\n", 2)
    assert _pod_traffic.find_process(uid, str(tmp_path)) is None


# --- scripted connections


def scripted(*answers):
    """A connect() that gives these answers; the last one repeats. A str is a node's name, an Exception an error."""
    left = list(answers)

    def connect(address, port, seconds):
        answer = left.pop(0) if len(left) > 1 else left[0]
        return {"error": str(answer), "ms": 5000.0} if isinstance(answer, Exception) else {"node": answer, "ms": 1.0}

    return connect


@pytest.fixture(autouse=True)
def fixture_no_sleep(monkeypatch, request):
    """Scripted tests do not sleep."""
    if "pods_in_namespaces" not in request.fixturenames:
        monkeypatch.setattr(_pod_traffic.time, "sleep", lambda seconds: None)


def test_a_pod_that_answers_late():
    result = _pod_traffic.to_pods([W1], 8080, 1, 60, scripted(OSError("x"), OSError("x"), "w1"))
    assert result == [{"node": "w1", "ms": 1.0, "tries": 3}]


def test_a_pod_that_never_answers():
    result = _pod_traffic.to_pods([W1], 8080, 1, 0, scripted(OSError("no answer within 1 s")))
    assert (result[0]["error"], result[0]["tries"]) == ("no answer within 1 s", 2)


def test_the_wrong_pod_is_no_answer():
    result = _pod_traffic.to_pods([W1], 8080, 1, 0, scripted("cp1"))
    assert result[0]["error"] == "the pod of node cp1 answered instead"


def test_no_other_pod():
    assert _pod_traffic.to_pods([], 8080, 1, 0) == []


def service(*answers, balanced=True, wait_seconds=0):
    result = _pod_traffic.to_service(SERVICE, 8080, ["cp1", "w1"], balanced, 1, wait_seconds, scripted(*answers))
    return _pod_traffic.service_check(result, SERVICE, 8080, ["cp1", "w1"], balanced, 6, "packets are lost."), result


def test_every_pod_answers():
    check, result = service("cp1", "w1")
    assert check["status"] == "pass"
    assert result["answers"] == {"cp1": 1, "w1": 5}


def test_a_service_that_needs_a_moment():
    check, result = service(OSError("connection refused"), "cp1", "w1", wait_seconds=60)
    assert check["status"] == "pass"
    assert result["errors"] == {"connection refused": 1}


def test_one_pod_is_silent():
    check, dummy = service("cp1")
    assert check["status"] == "fail"
    assert "never by w1" in check["observed"]
    assert "is the pod of w1 behind it" in check["fix"]


def test_one_of_two_backends_is_dead():
    check, dummy = service("cp1", OSError("no answer within 1 s"), "cp1", OSError("no answer within 1 s"))
    assert check["status"] == "fail"


def test_a_dead_third_backend():
    check, dummy = service("cp1", "w1", OSError("no route to host"), "cp1", "w1", OSError("no route to host"), "cp1")
    assert check["status"] == "fail"
    assert "2 of the last 4 failed" in check["observed"]
    assert "a backend that does not exist any more" in check["fix"]


def test_nobody_answers():
    check, dummy = service(OSError("connection refused"))
    assert (check["status"], check["observed"][:32]) == ("fail", "answers by nobody; errors: conne")


def test_a_scheduler_that_keeps_a_client_on_one_server():
    assert service("cp1", balanced=False)[0]["status"] == "pass"
    assert service(OSError("x"), balanced=False)[0]["status"] == "fail"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["cp1", "error"]), min_size=1, max_size=60))
def test_no_order_of_answers_makes_a_silent_pod_speak(order):
    answers = [OSError("x") if word == "error" else word for word in order]
    assert service(*answers)[0]["status"] == "fail"


# --- findings


def route(gateway=None, device="eth1"):
    def run(argv, timeout):
        assert argv == ["ip", "-j", "route", "get", "10.244.1.2"]
        found = {"dst": "10.244.1.2", "dev": device, "prefsrc": "192.0.2.11"}
        return 0, json.dumps([{**found, "gateway": gateway} if gateway else found]), ""

    return run


FAILED = [{"error": "no answer within 5 s", "ms": 5000.0, "tries": 7}]


def test_the_route_is_missing():
    check = _pod_traffic.pod_checks(CP1, [W1], FAILED, 8080, route("203.0.113.1", "eth0"))[0]
    assert check == {
        "id": "pod_to_pod/w1",
        "status": "fail",
        "observed": "no answer within 5 s (7 tries); this node sends it to 203.0.113.1 on eth0, node w1 is 192.0.2.21",
        "wanted": "an answer from 10.244.1.2:8080, the pod on node w1",
        "fix": "The route to the pods of node w1 is missing on node cp1: run the network playbook again"
        " (it mends routes), then look at `ip route get 10.244.1.2` there.",
    }


def test_the_route_is_right_and_the_way_back_is_not():
    check = _pod_traffic.pod_checks(CP1, [W1], FAILED, 8080, route("192.0.2.21"))[0]
    assert "look at the way back with `ip route get 10.244.0.2` on node w1" in check["fix"]


def test_an_answer_that_refuses_is_no_fault_of_the_way():
    refused = [{"error": "connection refused", "ms": 1.0, "tries": 7}]
    for answer in (route("192.0.2.21"), route("203.0.113.1", "eth0"), route(None, "flannel.1")):
        check = _pod_traffic.pod_checks(CP1, [W1], refused, 8080, answer)[0]
        assert check["status"] == "fail"
        assert check["fix"].startswith("Packets pass both ways, but nobody listens there")


def test_a_tunnel():
    check = _pod_traffic.pod_checks(CP1, [W1], FAILED, 8080, route(None, "flannel.1"))[0]
    assert "sends it straight into flannel.1" in check["observed"]
    assert "ip -d link show flannel.1" in check["fix"]


@pytest.mark.parametrize("answer", [(2, "", "RTNETLINK answers: Network is unreachable"), (0, "junk", ""), (0, "[]", "")])
def test_no_route_at_all(answer):
    check = _pod_traffic.pod_checks(CP1, [W1], FAILED, 8080, lambda argv, timeout: answer)[0]
    assert check["status"] == "fail"
    assert "has no route to it" in check["observed"]
    assert "is missing on node cp1" in check["fix"]


def test_a_slow_answer_to_the_node():
    slow = _pod_traffic.slow_fix([W1], route(None, "flannel.1"))
    check = _pod_traffic.node_check([{"node": "w1", "ms": 2.0}, {"node": "w1", "ms": 3004.0}], SERVICE, 8080, 1, slow)
    assert (check["status"], check["observed"]) == ("fail", "2 of 2 answered, the slowest took 3004 ms")
    assert "`ethtool -K flannel.1 tx-checksum-ip-generic off`" in check["fix"]
    assert _pod_traffic.node_check([{"node": "w1", "ms": 2.0}], SERVICE, 8080, 1, slow)["status"] == "pass"
    assert _pod_traffic.node_check([{"node": "w1", "ms": 2.0}, {"error": "x", "ms": 1.0}], SERVICE, 8080, 1, slow)["status"] == "fail"


def test_a_slow_answer_to_the_pod():
    # 5000 ms are what a scripted error takes
    result = {"answers": {"cp1": 3, "w1": 3}, "errors": {}, "failed_last": 0, "slowest_ms": 63010.0}
    slow = _pod_traffic.slow_fix([W1], lambda argv, timeout: (2, "", "unreachable"))
    check = _pod_traffic.service_check(result, SERVICE, 8080, ["cp1", "w1"], True, 1, slow)
    assert (check["status"], check["observed"]) == ("fail", "answers by cp1 3x, w1 3x; the slowest took 63010 ms")
    assert check["fix"].startswith("An answer only after 1, 3 or 63 seconds") and "`ethtool -K DEVICE tx-checksum-ip-generic off`" in check["fix"]
    assert _pod_traffic.service_check({**result, "slowest_ms": 999.0}, SERVICE, 8080, ["cp1", "w1"], True, 1, slow)["status"] == "pass"


def test_a_node_without_a_pod_is_unknown():
    for result in (
        _pod_traffic.listen(PODS, "192.0.2.99", 8080, 60, run_command),
        _pod_traffic.probe(PODS, "192.0.2.99", _pod_traffic.Probe(8080, SERVICE), None),
        _pod_traffic.policy(PODS, "192.0.2.99", 8080, "kubernetes-verify", 1, 1, None),
    ):
        assert [(c["id"], c["status"]) for c in result["checks"]] == [("probe_pod", "unknown")]


# --- real namespaces


def ip(*words, check=True):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    if check and done.returncode:
        pytest.skip(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done


RULES = """
table ip nat {
  chain service {
    ip daddr 10.105.3.7 tcp dport 8080 dnat to numgen inc mod 2 map { 0 : 10.244.0.2, 1 : 10.244.1.2 }
  }
  chain prerouting { type nat hook prerouting priority -100; jump service; }
  chain output { type nat hook output priority -100; jump service; }
  chain postrouting { type nat hook postrouting priority 100; ct status dnat masquerade; }
}
"""


@pytest.fixture(name="pods_in_namespaces")
def fixture_pods_in_namespaces(monkeypatch):
    """A namespace as node, two as pods behind it, and nftables in place of kube-proxy. Yields the node's path."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("nft"):
        pytest.skip("needs root, iproute2 and nft")
    names = {part: f"bk{os.getpid()}{part}" for part in ("node", "a", "b")}
    sleepers = {}
    try:
        for name in names.values():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        node = names["node"]
        for number, part in enumerate("ab"):
            ip("-n", node, "link", "add", f"veth{part}", "type", "veth", "peer", "name", "eth0", "netns", names[part])
            ip("-n", node, "addr", "add", f"10.244.{number}.1/24", "dev", f"veth{part}")
            ip("-n", node, "link", "set", f"veth{part}", "up")
            ip("-n", names[part], "addr", "add", f"10.244.{number}.2/24", "dev", "eth0")
            ip("-n", names[part], "link", "set", "eth0", "up")
            ip("-n", names[part], "route", "add", "default", "via", f"10.244.{number}.1")
            sleepers[part] = subprocess.Popen(["ip", "netns", "exec", names[part], "sleep", "120"])
        ip("-n", node, "route", "add", "unreachable", "default")
        ip("netns", "exec", node, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        ip("-n", node, "route", "replace", "10.105.3.7", "dev", "veth" + "a")
        done = subprocess.run(["ip", "netns", "exec", node, "nft", "-f", "-"], input=RULES, capture_output=True, text=True, timeout=30, check=False)
        assert "syntax error" not in done.stderr, done.stderr
        if done.returncode:
            pytest.skip(f"this kernel cannot do what kube-proxy does: {done.stderr.strip()}")
        processes = {UID_A: sleepers["a"].pid, UID_B: sleepers["b"].pid}
        monkeypatch.setattr(_pod_traffic, "find_process", processes.get)
        time.sleep(0.5)
        yield f"/run/netns/{node}", names, sleepers
    finally:
        for sleeper in sleepers.values():
            sleeper.kill()
            sleeper.wait()
        for name in names.values():
            ip("netns", "del", name, check=False)


def run_command(argv, timeout=None):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    return done.returncode, done.stdout, done.stderr


def probe(path, pods=None, address="192.0.2.11", wait_seconds=0, timeout=1.0):
    """_pod_traffic.probe on the node."""

    def inside():
        want = _pod_traffic.Probe(8080, SERVICE, timeout=timeout, wait_seconds=wait_seconds, transfer_seconds=2)
        return _pod_traffic.probe(pods or PODS, address, want, run_command)

    return _pod_traffic.run_inside(path, inside, 60)


def statuses(result):
    return {c["id"]: c["status"] for c in result["checks"]}


def alive(pid):
    return os.path.exists(f"/proc/{pid}") and "Z" not in open(f"/proc/{pid}/stat", encoding="utf-8").read().rpartition(")")[2].split()[0]


def test_traffic_between_namespaces(pods_in_namespaces, tmp_path, monkeypatch):
    path, names, sleepers = pods_in_namespaces
    monkeypatch.setattr(_pod_traffic, "pid_file_of", lambda pod, folder="": str(tmp_path / pod["uid"]))
    # nobody listens: what is large is not even tried, and that is no pass
    small = {"pod_to_service": "fail", "node_to_service": "fail"}
    large = {"pod_to_pod_payload/w1": "unknown", "pod_to_service_payload": "unknown", "node_to_service_payload": "unknown"}
    assert statuses(probe(path)) == {"pod_to_pod/w1": "fail", **small, **large}
    first = _pod_traffic.listen(PODS, "192.0.2.11", 8080, 60, run_command)
    second = _pod_traffic.listen(PODS, "192.0.2.21", 8080, 60, run_command)
    assert (first["checks"], second["checks"]) == ([], [])
    for address, other in (("192.0.2.11", "w1"), ("192.0.2.21", "cp1")):
        result = probe(path, address=address)
        assert set(statuses(result)) == {f"pod_to_pod/{other}", f"pod_to_pod_payload/{other}", *small, *list(large)[1:]}
        assert set(statuses(result).values()) == {"pass"}, result
        assert set(result["measured"]["service_answers"]) == {"cp1", "w1"}
    # the same call again replaces the listener and not more
    again = _pod_traffic.listen(PODS, "192.0.2.11", 8080, 60, run_command)
    assert (again["checks"], alive(first["pid"]), alive(again["pid"])) == ([], False, True)
    # w1's address is not reached any more; a route elsewhere leads astray
    ip("-n", names["node"], "addr", "del", "10.244.1.1/24", "dev", "vethb")
    result = probe(path)
    # the ClusterIP still has the pod of this node
    assert statuses(result) == {"pod_to_pod/w1": "fail", **small, **large, "pod_to_service_payload": "pass", "node_to_service_payload": "pass"}
    seen = {c["id"]: c["observed"] for c in result["checks"]}
    assert "never by w1" in seen["pod_to_service"]
    assert "this node has no route to it" in seen["pod_to_pod/w1"]
    # a pod that goes takes its listener with it
    sleepers["a"].kill()
    sleepers["a"].wait()
    end = time.monotonic() + 10
    while alive(again["pid"]) and time.monotonic() < end:
        time.sleep(0.1)
    assert not alive(again["pid"])
    _pod_server.stop(str(tmp_path / UID_B))
    assert not alive(second["pid"])


def test_a_listener_ends_by_itself(pods_in_namespaces, tmp_path, monkeypatch):
    monkeypatch.setattr(_pod_traffic, "pid_file_of", lambda pod, folder="": str(tmp_path / pod["uid"]))
    pid = _pod_traffic.listen(PODS, "192.0.2.11", 8080, 1, run_command)["pid"]
    end = time.monotonic() + 10
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not alive(pid)
    assert not (tmp_path / UID_A).exists()


def test_a_port_that_is_taken(pods_in_namespaces, tmp_path, monkeypatch):
    path, names, dummy = pods_in_namespaces
    monkeypatch.setattr(_pod_traffic, "pid_file_of", lambda pod, folder="": str(tmp_path / pod["uid"]))
    _pod_traffic.listen(PODS, "192.0.2.11", 8080, 30, run_command)
    (tmp_path / UID_A).rename(tmp_path / "aside")
    result = _pod_traffic.listen(PODS, "192.0.2.11", 8080, 30, run_command)
    assert [(c["id"], c["status"]) for c in result["checks"]] == [("listener", "fail")]
    assert "in use" in result["checks"][0]["observed"].lower()
    assert _pod_server.stop(str(tmp_path / "aside")) is True


def test_a_helper_that_hangs_or_fails_is_reported(pods_in_namespaces):
    path = pods_in_namespaces[0]
    with pytest.raises(_pod_traffic.PodTrafficError, match="nothing came back from .* within 1 seconds"):
        _pod_traffic.run_inside(path, lambda: time.sleep(30), 1)
    with pytest.raises(_pod_traffic.PodTrafficError, match="ZeroDivisionError"):
        _pod_traffic.run_inside(path, lambda: 1 / 0, 10)
    with pytest.raises(_pod_traffic.PodTrafficError, match="No such file"):
        _pod_traffic.run_inside("/run/netns/nowhere", lambda: 1, 10)


def test_a_stranger_is_never_stopped(tmp_path):
    # the number in the file was given to another process since
    path = tmp_path / "pid"
    sleeper = subprocess.Popen(["sleep", "30"])
    try:
        path.write_text(f"{sleeper.pid} 1\n")
        assert _pod_server.stop(str(path)) is False
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


# --- the module


def run(capsys, check_mode=False, **params):
    """Exit code and result of the module."""
    params = {"pods": PODS, "address": "192.0.2.99", **params}
    with patch_module_args({**params, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as exit_:
        pod_traffic.main()
    return exit_.value.code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("params", [{"action": "listen"}, {"action": "probe", "service_address": SERVICE}])
def test_the_module_reports_and_does_not_fail(capsys, params):
    for dummy in range(2):
        code, result = run(capsys, **params)
        assert (code, result["changed"], result["checks"][0]["status"]) == (0, False, "unknown")
    assert run(capsys, True, **params)[1]["skipped"] is True


@pytest.mark.parametrize(
    "params, words",
    [
        ({"action": "probe", "service_address": SERVICE, "transfer_bytes": 1000}, "transfer_bytes is 1000, but must be 65536 to 16777216"),
        ({"action": "probe", "service_address": SERVICE, "pod_mtu": 100}, "pod_mtu is 100, but must be 0 or 576 to 65535"),
        ({"action": "policy", "kubeconfig": "/nonexistent/admin.conf"}, "/nonexistent/admin.conf cannot be used"),
    ],
)
def test_what_would_prove_nothing_is_refused(capsys, params, words):
    code, result = run(capsys, **params)
    assert (code, words in result["msg"]) == (1, True)


def test_an_address_that_is_none_is_named(capsys):
    code, result = run(capsys, action="listen", address="cp1")
    assert code == 1
    assert "cp1" in result["msg"]
