# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes with a pod each, as real network namespaces with a real link between them, and real faults on it.

pod a (10.244.0.2) - node a (192.0.2.11) ---- eth1 ---- node b (192.0.2.21) - pod b (10.244.1.2)
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _netns, _pod_payload, _pod_server, _pod_traffic

UID_A, UID_B = "6e1f2c3d-1111-4aaa-8bbb-00000000000a", "6e1f2c3d-1111-4aaa-8bbb-00000000000b"
A = {"node": "cp1", "node_addresses": ["192.0.2.11"], "name": "verify-a", "uid": UID_A, "address": "10.244.0.2"}
B = {"node": "w1", "node_addresses": ["192.0.2.21"], "name": "verify-b", "uid": UID_B, "address": "10.244.1.2"}
PODS = [A, B]
SERVICE, DNS = "10.105.3.7", "10.96.0.10"
SIZE = 262144

# what kube-proxy does
KUBE_PROXY = """
table ip nat {
  chain service {
    ip daddr 10.105.3.7 tcp dport 8080 dnat to numgen inc mod 2 map { 0 : 10.244.0.2, 1 : 10.244.1.2 }
    ip daddr 10.96.0.10 udp dport 53 dnat to 10.244.1.2
    ip daddr 10.96.0.10 tcp dport 53 dnat to 10.244.1.2
  }
  chain prerouting { type nat hook prerouting priority -100; jump service; }
  chain output { type nat hook output priority -100; jump service; }
  chain postrouting { type nat hook postrouting priority 100; ct status dnat masquerade; }
}
"""
FILTER = """
table ip fault {
  chain forward { type filter hook forward priority 0; %s; }
  chain output { type filter hook output priority 0; %s; }
}
"""


def run_command(argv, timeout=None):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    return done.returncode, done.stdout, done.stderr


def ip(*words, check=True):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    if check and done.returncode:
        pytest.skip(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done


class Nodes:
    """Names of the namespaces, and what is done in them."""

    def __init__(self, folder):
        self.folder = folder
        self.names = {part: f"bk{os.getpid()}{part}" for part in ("na", "nb", "pa", "pb")}
        self.processes = []

    def path(self, part):
        return f"/run/netns/{self.names[part]}"

    def ip(self, part, *words):
        ip("-n", self.names[part], *words)

    def nft(self, part, rules):
        done = subprocess.run(
            ["ip", "netns", "exec", self.names[part], "nft", "-f", "-"],
            input=rules,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert "syntax error" not in done.stderr, done.stderr
        if done.returncode:
            pytest.skip(f"this kernel cannot filter like that: {done.stderr.strip()}")

    def fault(self, part, forward="accept", output="accept"):
        self.nft(part, FILTER % (forward, output))

    def start(self, part, *argv):
        process = subprocess.Popen(["ip", "netns", "exec", self.names[part], *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def make(self):
        for name in self.names.values():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", self.names["na"], "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", self.names["nb"])
        for number, side, address in ((0, "a", "192.0.2.11"), (1, "b", "192.0.2.21")):
            node, pod = f"n{side}", f"p{side}"
            self.ip(node, "link", "add", "veth0", "type", "veth", "peer", "name", "eth0", "netns", self.names[pod])
            self.ip(node, "addr", "add", f"{address}/24", "dev", "eth1")
            self.ip(node, "addr", "add", f"10.244.{number}.1/24", "dev", "veth0")
            for where, links in ((node, ("eth1", "veth0")), (pod, ("eth0",))):
                for link in links:
                    # a wire carries no packets that are to be cut later, as pairs of interfaces do to be fast
                    self.ip(where, "link", "set", link, "gso_max_segs", "1")
                    self.ip(where, "link", "set", link, "up")
            self.ip(pod, "addr", "add", f"10.244.{number}.2/24", "dev", "eth0")
            self.ip(pod, "route", "add", "default", "via", f"10.244.{number}.1")
            ip("netns", "exec", self.names[node], "sysctl", "-qw", "net.ipv4.ip_forward=1")
            self.nft(node, KUBE_PROXY)
        self.ip("na", "route", "add", "10.244.1.0/24", "via", "192.0.2.21")
        self.ip("nb", "route", "add", "10.244.0.0/24", "via", "192.0.2.11")
        for node in ("na", "nb"):
            # ClusterIPs leave by some route, as on a node with a default route
            self.ip(node, "route", "add", "10.96.0.0/12", "dev", "veth0")
        return {UID_A: self.start("pa", "sleep", "120").pid, UID_B: self.start("pb", "sleep", "120").pid}

    def remove(self):
        for process in self.processes:
            process.kill()
            process.wait()
        for uid in (UID_A, UID_B):
            _pod_server.stop(str(self.folder / uid))
        for name in self.names.values():
            ip("netns", "del", name, check=False)

    def listen(self):
        for address in ("192.0.2.11", "192.0.2.21"):
            assert _pod_traffic.listen(PODS, address, 8080, 90, run_command)["checks"] == []

    def probe(self, part="na", **options):
        """_pod_traffic.probe on a node."""
        want = _pod_traffic.Probe(8080, SERVICE, **{"timeout": 1.0, "wait_seconds": 0, "transfer_seconds": 1.5, **options})
        address = {"na": "192.0.2.11", "nb": "192.0.2.21"}[part]
        result = _netns.run_inside(self.path(part), lambda: _pod_traffic.probe(PODS, address, want, run_command), 100)
        return {check["id"]: check for check in result["checks"]}, result["measured"]


@pytest.fixture(name="nodes")
def fixture_nodes(monkeypatch, tmp_path):
    """Two nodes whose pods listen."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("nft"):
        pytest.skip("needs root, iproute2 and nft")
    monkeypatch.setattr(_pod_payload, "_ANSWER_WAIT", 0.15)
    monkeypatch.setattr(_pod_traffic, "pid_file_of", lambda pod, folder="": str(tmp_path / pod["uid"]))
    made = Nodes(tmp_path)
    try:
        pids = made.make()
        monkeypatch.setattr(_pod_traffic, "find_process", pids.get)
        time.sleep(0.3)
        made.listen()
        yield made
    finally:
        made.remove()


def bad(checks):
    return {name: check["status"] for name, check in checks.items() if check["status"] != "pass"}


# --- large payloads


def test_a_healthy_network_passes_from_both_nodes(nodes):
    for part, other in (("na", "w1"), ("nb", "cp1")):
        checks, measured = nodes.probe(part, pod_mtu=1500)
        assert bad(checks) == {}
        assert set(checks) == {
            f"pod_to_pod/{other}",
            f"pod_to_pod_payload/{other}",
            "pod_mtu",
            "pod_to_service",
            "pod_to_service_payload",
            "node_to_service",
            "node_to_service_payload",
        }
        assert (measured["pod_mtu"], measured["largest_packet"]) == (1500, {other: 1500})
        # by the ClusterIP too the payload went over the wire
        for where in ("pod", "node"):
            assert f"to node {other} all {SIZE} bytes" in checks[f"{where}_to_service_payload"]["observed"]


def test_a_lower_mtu_that_routers_tell(nodes):
    # veth drops what is larger than its MTU without a word, so the way back from b is a black hole
    nodes.ip("na", "link", "set", "eth1", "mtu", "1400")
    checks, measured = nodes.probe()
    check = checks["pod_to_pod_payload/w1"]
    assert (check["status"], measured["largest_packet"]) == ("fail", {"w1": 1400})
    assert check["observed"].startswith(
        "small packets pass, packets of 1500 bytes do not: MTU; the largest that passes has 1400 bytes,"
        " a router on the way says so, to which TCP adapts and UDP does not; TCP to node w1 all 262144 bytes"
    )
    assert f"from node w1 0 of {SIZE} bytes arrived: not done within 1.5 s" in check["observed"]
    assert "set cluster_network_mtu" in check["fix"]
    assert checks["pod_to_pod/w1"]["status"] == "pass"


def test_a_black_hole(nodes):
    nodes.ip("na", "link", "set", "eth1", "mtu", "1400")
    nodes.fault("na", output="icmp type destination-unreachable drop")
    checks, dummy = nodes.probe(transfer_seconds=0.7)
    observed = checks["pod_to_pod_payload/w1"]["observed"]
    assert observed.startswith("small packets pass, packets of 1500 bytes do not: MTU; the largest that passes has 1400 bytes, and nobody")
    assert f"TCP to node w1 0 of {SIZE} bytes arrived" in observed
    # small packets reach every ClusterIP, large ones do not
    assert (checks["pod_to_service"]["status"], checks["node_to_service"]["status"]) == ("pass", "pass")
    for where in ("pod", "node"):
        assert checks[f"{where}_to_service_payload"]["status"] == "fail"
        assert checks[f"{where}_to_service_payload"]["observed"].startswith("small packets pass, large ones do not; TCP to node w1")


def test_a_black_hole_on_the_way_back_only(nodes):
    nodes.fault("nb", forward="ip saddr 10.244.1.2 meta length > 1400 drop")
    checks, measured = nodes.probe()
    assert measured["largest_packet"] == {"w1": 1500}
    assert checks["pod_to_pod_payload/w1"]["status"] == "fail"
    assert checks["pod_to_pod_payload/w1"]["observed"].startswith(
        "small packets pass, packets of 1500 bytes from node w1 to here do not: MTU"
    )
    assert f"to node w1 all {SIZE} bytes" in checks["pod_to_pod_payload/w1"]["observed"]


def test_large_packets_over_ipv6(nodes):
    for side, number in (("a", 0), ("b", 1)):
        ip("netns", "exec", nodes.names[f"n{side}"], "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        nodes.ip(f"p{side}", "addr", "add", f"fd00:{number}::2/64", "dev", "eth0", "nodad")
        nodes.ip(f"n{side}", "addr", "add", f"fd00:{number}::1/64", "dev", "veth0", "nodad")
        nodes.ip(f"n{side}", "addr", "add", f"fd00:99::{number + 1}/64", "dev", "eth1", "nodad")
        nodes.ip(f"p{side}", "route", "add", "default", "via", f"fd00:{number}::1")
    nodes.ip("na", "route", "add", "fd00:1::/64", "via", "fd00:99::2")
    nodes.ip("nb", "route", "add", "fd00:0::/64", "via", "fd00:99::1")

    def serve():
        one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        one.bind(("fd00:1::2", 8080))
        _pod_payload.serve_datagrams(one, "verify-b", UID_B)

    server = _netns.Helper(nodes.path("pb"), serve)
    try:

        def largest():
            return _netns.run_inside(nodes.path("pa"), lambda: _pod_payload.largest_packet("fd00:1::2", 8080, "verify-b", UID_B, 1500), 60)

        end = time.monotonic() + 15
        # neighbours are not found before every link has made sure of its own address
        while largest()["error"] and time.monotonic() < end:
            time.sleep(0.5)
        assert largest() == {"largest": 1500, "told": False, "error": ""}
        nodes.ip("na", "link", "set", "eth1", "mtu", "1400")
        assert largest() == {"largest": 1400, "told": True, "error": ""}
    finally:
        server.end()


def test_a_transfer_that_breaks_off_is_no_mtu(nodes):
    nodes.fault("na", forward="ip daddr 10.244.1.2 tcp dport 8080 quota over 100 kbytes drop")
    check = nodes.probe()[0]["pod_to_pod_payload/w1"]
    assert (check["status"], "MTU" in check["observed"]) == ("fail", False)
    assert check["observed"].startswith("a connection is made, but to node w1 ")
    assert "TcpRetransSegs" in check["fix"]


def test_udp_that_is_dropped(nodes):
    nodes.fault("nb", forward="meta l4proto udp drop")
    check = nodes.probe()[0]["pod_to_pod_payload/w1"]
    assert (check["status"], check["observed"][:48]) == ("fail", "TCP passes, but no UDP packet is answered; TCP t")


def test_the_mtu_of_the_pod(nodes):
    # Flannel and Calico set the interface's
    nodes.ip("pa", "link", "set", "eth0", "mtu", "1450")
    checks, measured = nodes.probe(pod_mtu=1450)
    assert (checks["pod_mtu"]["status"], measured["pod_mtu"], measured["largest_packet"]) == ("pass", 1450, {"w1": 1450})
    # Cilium that of the route
    nodes.ip("pa", "route", "change", "default", "via", "10.244.0.1", "mtu", "1420")
    checks, measured = nodes.probe(pod_mtu=1450)
    assert (checks["pod_mtu"]["status"], checks["pod_mtu"]["observed"]) == ("fail", "1420 bytes on eth0 of this node's pod")
    assert measured["largest_packet"] == {"w1": 1420}
    assert "pod_mtu" not in nodes.probe()[0]


# --- DNS


def answer(data):
    """The answer to kubernetes.default.svc.cluster.local, else NXDOMAIN."""
    name = b"\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00"
    known = data[12 : 12 + len(name)] == name
    head = data[:2] + struct.pack("!5H", 0x8580 if known else 0x8583, 1, 1 if known else 0, 0, 0)
    record = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 5, 4) + bytes([10, 96, 0, 1])
    return head + data[12 : 12 + data[12:].index(b"\0") + 5] + (record if known else b"")


def serve_dns(udp=True, tcp=True):
    """For ever, in a child in the pod's network."""
    datagrams, listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
    if udp:
        datagrams.bind(("0.0.0.0", 53))
    if tcp:
        listener.bind(("0.0.0.0", 53))
        listener.listen()

        def serve():
            while True:
                with listener.accept()[0] as connection:
                    data = answer(connection.recv(512)[2:])
                    connection.sendall(struct.pack("!H", len(data)) + data)

        threading.Thread(target=serve, daemon=True).start()
    while udp:
        data, sender = datagrams.recvfrom(512)
        datagrams.sendto(answer(data), sender)
    time.sleep(60)


DEPLOYED = {"address": DNS, "endpoints": [{"address": "10.244.1.2", "port": 53}], "api_addresses": ["10.96.0.1"]}


def test_dns(nodes):
    server = _netns.Helper(nodes.path("pb"), serve_dns)
    try:
        time.sleep(0.3)
        checks, dummy = nodes.probe(dns=DEPLOYED)
        assert bad(checks) == {}
        assert checks["dns_service"]["observed"] == "UDP: 10.96.0.1, TCP: 10.96.0.1"
        assert (
            checks["dns_endpoint/10.244.1.2"]["wanted"]
            == "the address of kubernetes.default.svc.cluster.local from 10.244.1.2:53, by UDP and TCP"
        )
        wrong = nodes.probe(dns=DEPLOYED, dns_domain="example.org")[0]
        assert bad(wrong) == {"dns_service": "fail", "dns_endpoint/10.244.1.2": "fail"}
        assert wrong["dns_service"]["observed"] == "UDP: NXDOMAIN, TCP: NXDOMAIN"
        assert "is cluster_dns_domain the domain" in wrong["dns_service"]["fix"]
        other = nodes.probe(dns={**DEPLOYED, "api_addresses": ["10.96.0.2"]})[0]
        assert other["dns_service"]["observed"].startswith("UDP: 10.96.0.1 instead of 10.96.0.2")
        # kube-proxy lost it, the server itself is well
        nodes.nft("na", "flush chain ip nat service; add rule ip nat service ip daddr 10.105.3.7 dnat to 10.244.1.2")
        lost = nodes.probe(dns=DEPLOYED, balanced=False, timeout=0.5)[0]
        assert (lost["dns_service"]["status"], lost["dns_endpoint/10.244.1.2"]["status"]) == ("fail", "pass")
        assert "The servers answer by themselves" in lost["dns_service"]["fix"]
    finally:
        server.end()


def test_dns_without_tcp(nodes):
    server = _netns.Helper(nodes.path("pb"), lambda: serve_dns(tcp=False))
    try:
        time.sleep(0.3)
        checks = nodes.probe(dns=DEPLOYED)[0]
        assert bad(checks) == {"dns_service": "fail", "dns_endpoint/10.244.1.2": "fail"}
        assert checks["dns_endpoint/10.244.1.2"]["observed"] == "UDP: 10.96.0.1, TCP: connection refused"
    finally:
        server.end()


# --- NetworkPolicy


class Api:
    """An API server whose NetworkPolicy the nodes enforce by nftables, or do not."""

    server = "https://192.0.2.11:6443"

    def __init__(self, nodes, enforced=True, forgotten=False):
        self.nodes, self.enforced, self.forgotten, self.asked = nodes, enforced, forgotten, []

    def request(self, method, path, body=None, content_type=""):
        self.asked.append((method, path.split("?")[0]))
        if method == "PATCH" and self.enforced:
            assert body["spec"] == {"podSelector": {"matchLabels": body["metadata"]["labels"]}, "policyTypes": ["Ingress"]}
            self.nodes.fault("nb", forward="ip daddr 10.244.1.2 tcp dport 8080 drop")
        if method == "DELETE" and self.enforced and not self.forgotten:
            self.nodes.nft("nb", "delete table ip fault")
        return (201, body) if method == "PATCH" else (200, {})


@pytest.mark.parametrize(
    "api, status, observed",
    [
        ({}, "pass", "denied (no answer within 0.5 s), and reached before and after"),
        ({"enforced": False}, "fail", "it still answers 1 s after a NetworkPolicy denied it"),
        ({"forgotten": True}, "fail", "it is denied, but 1 s after the policy was removed it is still not reached: no answer within 0.5 s"),
    ],
)
def test_network_policy(nodes, api, status, observed):
    server = Api(nodes, **api)
    result = _pod_traffic.policy(PODS, "192.0.2.11", 8080, "kubernetes-verify", 0.5, 1, server)
    assert [(c["id"], c["status"], c["observed"]) for c in result["checks"]] == [("network_policy/w1", status, observed)]
    path = "/apis/networking.k8s.io/v1/namespaces/kubernetes-verify/networkpolicies/verify"
    assert server.asked == [("PATCH", path), ("DELETE", path)]


def test_network_policy_where_nothing_is_reached_anyway(nodes):
    nodes.fault("nb", forward="ip daddr 10.244.1.2 drop")
    result = _pod_traffic.policy(PODS, "192.0.2.11", 8080, "kubernetes-verify", 0.5, 1, Api(nodes, enforced=False))
    assert [c["status"] for c in result["checks"]] == ["unknown"]


# --- encryption


@pytest.fixture(name="tunnel")
def fixture_tunnel(nodes):
    """The two nodes with a real WireGuard tunnel, in user space as this kernel may have none; not routed into yet."""
    if not shutil.which("wireguard-go") or not shutil.which("wg") or not os.path.exists("/dev/net/tun"):
        pytest.skip("needs wireguard-go, wg and /dev/net/tun")
    keys = {}
    for part in ("na", "nb"):
        secret = subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout
        keys[part] = secret, subprocess.run(["wg", "pubkey"], input=secret, capture_output=True, text=True, check=True).stdout.strip()
    for part, other, peer, cidr in (("na", "nb", "192.0.2.21", "10.244.1.0/24"), ("nb", "na", "192.0.2.11", "10.244.0.0/24")):
        name = f"wg{os.getpid()}{part}"
        nodes.start(part, "wireguard-go", "--foreground", name)
        end = time.monotonic() + 10
        while not os.path.exists(f"/run/wireguard/{name}.sock") and time.monotonic() < end:
            time.sleep(0.1)
        key = nodes.folder / f"{part}.key"
        key.write_text(keys[part][0])
        command = ["wg", "set", name, "listen-port", "51820", "private-key", str(key)]
        command += ["peer", keys[other][1], "endpoint", f"{peer}:51820", "allowed-ips", cidr]
        done = subprocess.run(["ip", "netns", "exec", nodes.names[part], *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        # what the node itself sends to pods comes from an address that the peer takes
        nodes.ip(part, "addr", "add", {"na": "10.244.0.3/32", "nb": "10.244.1.3/32"}[part], "dev", name)
        nodes.ip(part, "link", "set", name, "mtu", "1420", "up")
        nodes.ip({"na": "pa", "nb": "pb"}[part], "link", "set", "eth0", "mtu", "1420")

    def route(part):
        """Send what pods of this node send to the other's through the tunnel."""
        nodes.ip(part, "route", "replace", {"na": "10.244.1.0/24", "nb": "10.244.0.0/24"}[part], "dev", f"wg{os.getpid()}{part}")

    yield route
    for part in ("na", "nb"):
        # the only place where it and wg look for each other; killed, it leaves it behind
        path = f"/run/wireguard/wg{os.getpid()}{part}.sock"
        if os.path.exists(path):
            os.unlink(path)


def test_what_pods_send_is_readable_until_it_goes_by_wireguard(nodes, tunnel):
    checks = nodes.probe(encryption="wireguard")[0]
    assert bad(checks) == {"encryption/w1": "fail"}
    assert checks["encryption/w1"]["observed"].startswith("what the pods send is readable in ")
    assert checks["encryption/w1"]["observed"].endswith(" packets on eth1")
    # one direction alone is not enough
    tunnel("na")
    assert bad(nodes.probe(encryption="wireguard", timeout=0.5)[0])["encryption/w1"] == "fail"
    tunnel("nb")
    for part, other in (("na", "w1"), ("nb", "cp1")):
        checks = nodes.probe(part, encryption="wireguard", pod_mtu=1420)[0]
        assert bad(checks) == {}
        assert "bytes of WireGuard, nothing readable" in checks[f"encryption/{other}"]["observed"]


def test_what_is_not_seen_at_all_is_unknown(nodes, monkeypatch):
    # the packets take another interface than the one with the node's IP
    nodes.ip("na", "addr", "add", "192.0.2.99/32", "dev", "lo")
    monkeypatch.setattr(_pod_traffic, "interface_of", lambda address, run: {"name": "lo", "mtu": 65536, "reason": ""})
    check = nodes.probe(encryption="wireguard")[0]["encryption/w1"]
    assert (check["status"], check["observed"]) == ("unknown", f"0 bytes of WireGuard on lo, but {2 * SIZE} bytes were exchanged")
    monkeypatch.setattr(_pod_traffic, "interface_of", lambda address, run: {"name": "gone0", "mtu": 1500, "reason": ""})
    check = nodes.probe(encryption="wireguard")[0]["encryption/w1"]
    assert (check["status"], check["observed"]) == ("unknown", "no look at gone0: no such device")


def test_no_payload_no_verdict_about_its_encryption(nodes):
    nodes.fault("nb", forward="ip daddr 10.244.1.2 drop")
    checks = nodes.probe(encryption="wireguard", timeout=0.3)[0]
    assert (checks["pod_to_pod/w1"]["status"], checks["encryption/w1"]["status"]) == ("fail", "unknown")
