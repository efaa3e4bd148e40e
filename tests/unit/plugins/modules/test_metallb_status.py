# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module metallb_status: answers of an API server as MetalLB 0.16 and frr-k8s 0.0.25 write them."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _metallb_status
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.modules import metallb_status

NAMESPACE = "metallb-system"
BELOW = "/apis/metallb.io/v1beta1/namespaces/metallb-system"
SESSIONS = "/apis/frrk8s.metallb.io/v1beta1/namespaces/metallb-system/bgpsessionstates"
PODS = "/api/v1/namespaces/metallb-system/pods?labelSelector=app.kubernetes.io%2Fcomponent%3Dspeaker"
EVENTS = "/api/v1/namespaces/metallb-system/events?fieldSelector=involvedObject.kind%3DService%2CinvolvedObject.name%3Dprobe-default"
LAYER2 = {
    "name": "default",
    "service": "probe-default",
    "protocol": "layer2",
    "addresses": ["192.0.2.200-192.0.2.239", "198.51.100.0/28"],
    "interfaces": ["eth0"],
    "peers": [],
}
BGP = {**LAYER2, "protocol": "bgp"}
TOR1 = {"name": "tor1", "address": "192.0.2.1", "interface": "", "vrf": "", "bfd": False, "nodes": []}


def service(name="probe-default", *addresses, namespace=NAMESPACE):
    return {
        "metadata": {"namespace": namespace, "name": name},
        "status": {"loadBalancer": {"ingress": [{"ip": item} for item in addresses]}},
    }


def node(name, address, **labels):
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {"addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]},
    }


def layer2(node_name, name="probe-default", namespace=NAMESPACE):
    return {"status": {"node": node_name, "serviceName": name, "serviceNamespace": namespace, "interfaces": [{"name": "eth0"}]}}


def announced(node_name, *peers):
    return {"status": {"node": node_name, "serviceName": "probe-default", "serviceNamespace": NAMESPACE, "peers": list(peers)}}


def session(node_name, state, peer="192.0.2.1", **more):
    return {"status": {"node": node_name, "peer": peer, "bgpStatus": state, "bfdStatus": "N/A", **more}}


class Api:
    """get() from a dict of lists; counts the looks."""

    def __init__(self, **changes):
        self.lists = {
            "services": [service("probe-default", "192.0.2.200")],
            "nodes": [node("cp1", "192.0.2.11"), node("w1", "192.0.2.12", rack="r1")],
            "speakers": ["cp1", "w1"],
            "pools": [],
            "layer2": [layer2("w1")],
            "bgp": [announced("cp1", "tor1"), announced("w1", "tor1")],
            "sessions": [session("cp1", "Established"), session("w1", "Established")],
            "events": [],
            **changes,
        }
        self.asked = []

    def __call__(self, path):
        self.asked.append(path)
        name = {
            "/api/v1/services": "services",
            "/api/v1/nodes": "nodes",
            PODS: "speakers",
            f"{BELOW}/ipaddresspools": "pools",
            f"{BELOW}/servicel2statuses": "layer2",
            f"{BELOW}/servicebgpstatuses": "bgp",
            SESSIONS: "sessions",
            EVENTS: "events",
        }[path]
        found = self.lists[name]
        if callable(found):
            found = found(self.asked.count(path))
        if isinstance(found, Exception):
            raise found
        if name == "speakers":
            found = [{"spec": {"nodeName": item}} for item in found]
        return None if found is None else {"items": found}


def wait(api, pools=(LAYER2,), peers=(), native=False, seconds=0):
    now = [0.0]

    def sleep(length):
        now[0] += length

    return _metallb_status.wait(api, NAMESPACE, list(pools), list(peers), native, seconds, 3, lambda: now[0], sleep)


def statuses(result):
    return {item["id"]: item["status"] for item in result["checks"]}


def finding(result, identifier):
    (found,) = [item for item in result["checks"] if item["id"] == identifier]
    return found


# --- addresses and layer 2


def test_an_address_that_a_node_announces():
    api = Api()
    result = wait(api)
    assert statuses(result) == {"lb_address/default": "pass", "l2_announcer/default": "pass"}
    assert finding(result, "l2_announcer/default")["observed"] == "w1 on eth0"
    assert result["vips"] == [
        {"pool": "default", "protocol": "layer2", "address": "192.0.2.200", "announcers": ["w1"], "announcer_addresses": ["192.0.2.12"]}
    ]
    assert result["targets"] == [{"address": "192.0.2.200", "interfaces": ["eth0"]}]
    assert not [path for path in api.asked if "bgp" in path]


def test_no_address():
    message = {"type": "Warning", "reason": "AllocationFailed", "message": 'Failed to allocate IP:\n unknown pool "default"'}
    result = wait(Api(services=[service("probe-default")], events=[{"type": "Normal", "reason": "x", "message": "y"}, message]))
    found = finding(result, "lb_address/default")
    assert (found["status"], found["observed"]) == (
        "fail",
        'Service metallb-system/probe-default got no address (AllocationFailed: Failed to allocate IP: unknown pool "default")',
    )
    assert "describe ipaddresspool default" in found["fix"]
    assert (result["vips"], result["targets"]) == ([], [])


def test_events_that_cannot_be_read_are_left_out():
    result = wait(Api(services=[], events=KubeApiError("no")))
    assert finding(result, "lb_address/default")["observed"] == "Service metallb-system/probe-default got no address"


def test_an_address_of_somebody_else():
    found = finding(wait(Api(services=[service("probe-default", "203.0.113.9")])), "lb_address/default")
    assert (found["status"], found["observed"]) == ("fail", "203.0.113.9, which MetalLB did not give")


FULL = [{"metadata": {"name": "default"}, "status": {"assignedIPv4": 1, "availableIPv4": 0, "availableIPv6": 0}}]


def test_a_pool_that_is_used_up_is_looked_at_by_another_service():
    services = [service("probe-default"), service("web", "192.0.2.201", namespace="shop"), service("other", "203.0.113.1", namespace="a")]
    result = wait(Api(services=services, pools=FULL, layer2=[layer2("cp1", "web", "shop")]))
    assert statuses(result) == {"lb_address/default": "pass", "l2_announcer/default": "pass"}
    assert finding(result, "lb_address/default")["observed"] == "no address is left; looked at 192.0.2.201 of Service shop/web"
    assert (result["vips"][0]["address"], result["vips"][0]["announcers"]) == ("192.0.2.201", ["cp1"])
    # a Service without a pod behind it is not announced, and that is nobody's fault
    assert statuses(wait(Api(services=services, pools=FULL, layer2=[]))) == {
        "lb_address/default": "pass",
        "l2_announcer/default": "unknown",
    }


def test_a_pool_that_is_used_up_by_nobody():
    result = wait(Api(services=[service("probe-default")], pools=FULL))
    assert statuses(result) == {"lb_address/default": "unknown"}
    left = [{**FULL[0], "status": {**FULL[0]["status"], "availableIPv6": 3}}]
    assert statuses(wait(Api(services=[service("probe-default")], pools=left))) == {"lb_address/default": "fail"}


@pytest.mark.parametrize(
    "rows, status, words",
    [
        ([], "fail", "none does"),
        ([layer2("w1", "web")], "fail", "none does"),
        ([layer2("w1", namespace="other")], "fail", "none does"),
        ([layer2("w1"), layer2("cp1")], "fail", "cp1, w1"),
        (None, "unknown", "has no ServiceL2Status"),
    ],
)
def test_announcers(rows, status, words):
    result = wait(Api(layer2=rows))
    found = finding(result, "l2_announcer/default")
    assert found["status"] == status
    assert words in found["observed"]
    assert result["vips"][0]["announcers"] == []


def test_nodes_that_are_excluded_are_named():
    excluded = {_metallb_status.EXCLUDED: ""}
    api = Api(layer2=[], speakers=["cp1"], nodes=[node("cp1", "192.0.2.11", **excluded), node("w1", "192.0.2.12")])
    assert "set metallb_ignore_exclude_label to true" in finding(wait(api), "l2_announcer/default")["fix"]
    assert "daemonset/metallb-speaker" in finding(wait(Api(layer2=[])), "l2_announcer/default")["fix"]


def test_only_the_address_where_others_announce():
    result = wait(Api(), [{**LAYER2, "protocol": "none"}])
    assert statuses(result) == {"lb_address/default": "pass"}
    assert (result["targets"], result["vips"][0]["announcers"]) == ([], [])


def test_waits_until_it_is_so():
    api = Api(layer2=lambda look: [layer2("w1")] if look > 3 else [])
    result = wait(api, seconds=60)
    assert (statuses(result)["l2_announcer/default"], result["waited"]) == ("pass", 9)
    late = Api(layer2=lambda look: [layer2("w1")] if look > 30 else [])
    result = wait(late, seconds=60)
    assert (statuses(result)["l2_announcer/default"], result["waited"]) == ("fail", 60)


def test_an_api_server_that_is_away_for_a_moment():
    api = Api(services=lambda look: KubeApiError("away") if look < 3 else [service("probe-default", "192.0.2.200")])
    assert statuses(wait(api, seconds=60))["lb_address/default"] == "pass"
    with pytest.raises(KubeApiError, match="away"):
        wait(Api(services=KubeApiError("away")), seconds=10)


# --- BGP


def test_sessions_and_announcements():
    result = wait(Api(), [BGP], [TOR1])
    assert statuses(result) == {
        "lb_address/default": "pass",
        "bgp_announced/default": "pass",
        "bgp_session/tor1/cp1": "pass",
        "bgp_session/tor1/w1": "pass",
    }
    assert finding(result, "bgp_announced/default")["observed"] == "to tor1 by cp1, w1"
    assert result["vips"][0]["announcers"] == ["cp1", "w1"]
    assert result["targets"] == []


@pytest.mark.parametrize("state", ["Active", "Connect", "Idle", "OpenSent", "established", ""])
def test_a_session_that_is_not_established(state):
    result = wait(Api(sessions=[session("cp1", "Established"), session("w1", state)]), [BGP], [TOR1])
    assert statuses(result)["bgp_session/tor1/cp1"] == "pass"
    found = finding(result, "bgp_session/tor1/w1")
    assert (found["status"], found["observed"]) == ("fail", state or "no session")
    assert "show bgp neighbors 192.0.2.1" in found["fix"]


@pytest.mark.parametrize(
    "rows",
    [[], [session("w1", "Established", peer="192.0.2.2")], [session("w1", "Established", vrf="red")], [session("w2", "Established")]],
)
def test_a_session_of_another_is_none(rows):
    assert finding(wait(Api(sessions=rows), [BGP], [TOR1]), "bgp_session/tor1/w1")["observed"] == "no session"


@pytest.mark.parametrize(
    "peer, row",
    [
        # as statusFormatFor of frr-k8s writes it
        ({"address": "2001:db8::1"}, session("w1", "Established", peer="2001-0db8-0000-0000-0000-0000-0000-0001")),
        ({"address": "", "interface": "eth1"}, session("w1", "Established", peer="eth1")),
        ({"vrf": "red"}, session("w1", "Established", vrf="red")),
        ({"bfd": True}, session("w1", "Established", bfdStatus="up")),
    ],
)
def test_kinds_of_sessions(peer, row):
    selector = [{"matchLabels": {"rack": "r1"}}]
    result = wait(Api(sessions=[row]), [BGP], [{**TOR1, "nodes": selector, **peer}])
    assert {name: status for name, status in statuses(result).items() if "session" in name} == {"bgp_session/tor1/w1": "pass"}


def test_bfd_must_be_up():
    for bfd in ("down", "N/A", ""):
        rows = [session(name, "Established", bfdStatus=bfd) for name in ("cp1", "w1")]
        result = wait(Api(sessions=rows), [BGP], [{**TOR1, "bfd": True}])
        assert statuses(result)["bgp_session/tor1/w1"] == "fail"


def test_a_peer_of_no_node():
    found = finding(wait(Api(), [BGP], [{**TOR1, "nodes": [{"matchLabels": {"rack": "r9"}}]}]), "bgp_session/tor1")
    assert (found["status"], found["observed"]) == ("fail", "no node with a speaker has the labels that the peer asks for")


def test_native_tells_nobody_its_sessions():
    api = Api()
    result = wait(api, [BGP], [TOR1], native=True)
    assert statuses(result)["bgp_session/tor1"] == "unknown"
    assert "metallb_route_observers" in finding(result, "bgp_session/tor1")["fix"]
    assert SESSIONS not in api.asked
    assert statuses(wait(Api(sessions=None), [BGP], [TOR1]))["bgp_session/tor1"] == "unknown"


def test_an_announcement_to_some_peers():
    tor2 = {**TOR1, "name": "tor2", "address": "192.0.2.2"}
    result = wait(Api(), [BGP], [TOR1, tor2])
    assert finding(result, "bgp_announced/default")["observed"] == "not to tor2"
    assert statuses(wait(Api(), [{**BGP, "peers": ["tor1"]}], [TOR1, tor2]))["bgp_announced/default"] == "pass"
    assert statuses(wait(Api(bgp=[]), [BGP], [TOR1]))["bgp_announced/default"] == "fail"
    assert statuses(wait(Api(bgp=None), [BGP], [TOR1]))["bgp_announced/default"] == "unknown"


@pytest.mark.parametrize(
    "selector, fits",
    [
        ({}, True),
        ({"matchLabels": {"rack": "r1"}}, True),
        ({"matchLabels": {"rack": "r1", "edge": "x"}}, False),
        ({"matchExpressions": [{"key": "rack", "operator": "In", "values": ["r0", "r1"]}]}, True),
        ({"matchExpressions": [{"key": "edge", "operator": "In", "values": ["r1"]}]}, False),
        ({"matchExpressions": [{"key": "rack", "operator": "NotIn", "values": ["r1"]}]}, False),
        ({"matchExpressions": [{"key": "edge", "operator": "NotIn", "values": ["r1"]}]}, True),
        ({"matchExpressions": [{"key": "rack", "operator": "Exists"}, {"key": "edge", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "rack", "operator": "Gt", "values": ["0"]}]}, False),
    ],
)
def test_selectors(selector, fits):
    assert _metallb_status.matches(selector, {"rack": "r1"}) is fits


# --- the module


def run(capsys, **params):
    with patch_module_args(params), pytest.raises(SystemExit) as exit_:
        metallb_status.main()
    return exit_.value.code, json.loads(capsys.readouterr().out)


def test_the_module_asks_the_api_server(capsys, api_server):
    api = Api()
    api_server.answers = {
        ("GET", path): (200, api(path))
        for path in ("/api/v1/services", "/api/v1/nodes", PODS, f"{BELOW}/ipaddresspools", f"{BELOW}/servicel2statuses")
    }
    code, result = run(capsys, kubeconfig=str(api_server.kubeconfig), pools=[LAYER2], wait_seconds=0)
    assert (code, result["changed"], statuses(result)["l2_announcer/default"]) == (0, False, "pass")
    assert {method for method, *dummy in api_server.asked} == {"GET"}


def test_a_kubeconfig_that_is_not_there(capsys):
    code, result = run(capsys, kubeconfig="/nonexistent/admin.conf", pools=[])
    assert (code, "/nonexistent/admin.conf cannot be used" in result["msg"]) == (1, True)
