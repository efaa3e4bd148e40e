# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The workers of an ingress controller: from files like those of /proc, then of a real NGINX in a network namespace."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _nginx_workers
from ansible_collections.baremetal.kubernetes.plugins.modules import nginx_workers

_SPEC = importlib.util.spec_from_file_location("ingress_in_namespaces", Path(__file__).with_name("ingress_in_namespaces.py"))
spaces = importlib.util.module_from_spec(_SPEC)
sys.modules.setdefault("ingress_in_namespaces", spaces)
_SPEC.loader.exec_module(spaces)

UID = "6e1f2c3d-3333-4aaa-8bbb-00000000000f"
POD = {
    "node": "w1",
    "node_address": "192.0.2.21",
    "name": "nginx-ingress-x",
    "uid": UID,
    "host_network": False,
    "namespace": "nginx-ingress",
}
WANTED = _nginx_workers.Wanted("2", 512, 4096, [80, 443], {"http": {"keepalive_requests": "20"}}, "/etc/nginx/nginx.conf")


def seen(**changes):
    return {
        "name": POD["name"],
        "processes": 3,
        "workers": 2,
        "cpus": [8],
        "open_files": [4096, 4096],
        "ports": [80, 443],
        "configured": "2",
        "differences": [],
        "reasons": [],
        **changes,
    }


NOTHING = {"processes": 1, "workers": 0, "open_files": [], "ports": [], "configured": None}


@pytest.mark.parametrize(
    "wanted, changes, statuses",
    [
        ({}, {}, {}),
        ({}, {"workers": 3, "open_files": [4096] * 3}, {"edge_workers": "fail"}),
        ({"worker_processes": "auto"}, {}, {}),
        ({"worker_processes": "auto"}, {"configured": "auto"}, {"edge_workers": "fail"}),
        ({"worker_processes": "auto"}, {"configured": "auto", "cpus": [2, 8]}, {}),
        ({"worker_processes": "auto"}, {"configured": "auto", "cpus": []}, {"edge_workers": "unknown"}),
        ({"worker_processes": "auto"}, {"configured": None}, {"edge_workers": "unknown", "edge_config": "unknown"}),
        ({}, {"open_files": [4096, 1024]}, {"edge_open_files": "fail"}),
        ({}, {"open_files": [-1, -1]}, {"edge_open_files": "fail"}),
        ({}, {"open_files": [4096]}, {"edge_open_files": "unknown"}),
        ({"worker_open_files": 0}, {"open_files": [512, -1]}, {}),
        ({"worker_open_files": 0}, {"open_files": [511, 512]}, {"edge_open_files": "fail"}),
        ({}, {"ports": [80, 443, 8081]}, {}),
        ({}, {"ports": [80]}, {"edge_listen": "fail"}),
        ({}, {"differences": ["x in http is 1, not 2"]}, {"edge_config": "fail"}),
        ({}, NOTHING, {name: "unknown" for name in ("edge_workers", "edge_open_files", "edge_listen", "edge_config")}),
    ],
)
def test_findings(wanted, changes, statuses):
    checks = _nginx_workers.findings([POD], [seen(**changes)], WANTED._replace(**wanted))
    assert [check["id"] for check in checks] == ["edge_workers", "edge_open_files", "edge_listen", "edge_config"]
    assert {check["id"]: check["status"] for check in checks if check["status"] != "pass"} == statuses


def test_the_worst_pod_of_a_node_is_named():
    other = {**POD, "name": "nginx-ingress-y"}
    checks = _nginx_workers.findings([POD, other], [seen(), seen(ports=[443])], WANTED)
    found = next(check for check in checks if check["id"] == "edge_listen")
    assert (found["status"], found["observed"]) == ("fail", "pod nginx-ingress-y: workers that listen on 443")
    assert "`kubectl -n nginx-ingress exec nginx-ingress-y -- nginx -T`" in found["fix"]


def test_a_node_without_the_controller():
    result = _nginx_workers.workers([POD], "192.0.2.22", WANTED, 0)
    assert (result["pods"], [(check["id"], check["status"]) for check in result["checks"]]) == ([], [("edge_workers", "unknown")])


@pytest.mark.parametrize(
    "text, limit",
    [
        ("Max open files            4096                 524288               files     \n", 4096),
        ("Max cpu time  unlimited unlimited seconds\nMax open files            unlimited            unlimited            files\n", -1),
        ("Max processes 10 10 processes\n", None),
        ("", None),
    ],
)
def test_the_limit_of_open_files(text, limit):
    assert _nginx_workers.open_files(text) == limit


def test_listening_sockets_of_a_process():
    text = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 111 1 0000000000000000 100 0 0 10 0
   1: 0100007F:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 222 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000   101        0 333 1 0000000000000000 100 0 0 10 0
   3: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 444 1 0000000000000000 100 0 0 10 0
"""
    # 444 is somebody else's, 333 is a connection
    assert _nginx_workers.listening(text, {"111", "222", "333"}) == {80, 443}


@pytest.mark.parametrize(
    "title, path",
    [
        ("nginx: master process nginx", "/etc/nginx/nginx.conf"),
        ("nginx: master process /usr/bin/nginx -c /etc/nginx/nginx.conf", "/etc/nginx/nginx.conf"),
        ("nginx: master process nginx -p /tmp -c/tmp/x.conf -q", "/tmp/x.conf"),
    ],
)
def test_the_configuration_of_a_master(title, path):
    assert _nginx_workers.config_path(title, "/etc/nginx/nginx.conf") == path


# --- a real NGINX


@pytest.fixture(name="edge", scope="module")
def fixture_edge(tmp_path_factory):
    yield from spaces.edge_in(tmp_path_factory.mktemp("workers"))


@pytest.fixture(name="proc")
def fixture_proc(edge, tmp_path):
    """Like /proc, but a process of the node's namespace is in the cgroup of the pod, as the pause process of a real pod is."""
    edge.start()
    sleeper = os.spawnvp(os.P_NOWAIT, "ip", ["ip", "netns", "exec", edge.names["node"], "sleep", "120"])
    time.sleep(0.3)
    (tmp_path / "self").symlink_to("/proc/self")

    def add(number):
        folder = tmp_path / str(number)
        folder.mkdir(exist_ok=True)
        for name in ("cmdline", "ns", "limits", "fd", "net", "root"):
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(f"/proc/{number}/{name}")
        mark = f"pod{UID.replace('-', '_')}" if number == sleeper else "user"
        (folder / "cgroup").write_text(f"0::/kubepods.slice/kubepods-{mark}.slice/x\n")

    def refresh():
        for name in os.listdir("/proc"):
            if name.isdigit():
                add(int(name))

    refresh()
    try:
        yield tmp_path, refresh
    finally:
        os.kill(sleeper, 9)
        os.waitpid(sleeper, 0)


def look(proc, wanted=WANTED, pods=(POD,)):
    result = _nginx_workers.workers(list(pods), "192.0.2.21", wanted, 0, str(proc[0]))
    return result, {check["id"]: check["status"] for check in result["checks"] if check["status"] != "pass"}


def test_a_real_nginx(edge, proc):
    result, bad = look(proc)
    assert bad == {}, result
    pod = result["pods"][0]
    assert (pod["workers"], pod["open_files"], pod["ports"], pod["configured"]) == (2, [4096, 4096], [80, 443], "2")
    assert look(proc, WANTED._replace(worker_processes="3", worker_open_files=8192))[1] == {
        "edge_workers": "fail",
        "edge_open_files": "fail",
    }
    assert look(proc, WANTED._replace(ports=[80, 443, 8443]))[1] == {"edge_listen": "fail"}
    result, bad = look(proc, WANTED._replace(directives={"http": {"keepalive_requests": "1000"}, "main": {"worker_processes": "2"}}))
    assert bad == {"edge_config": "fail"}
    assert result["checks"][3]["observed"] == "keepalive_requests in http is 20, not 1000"


def test_a_pod_without_nginx(edge, proc):
    edge.stop()
    result, bad = look(proc)
    assert set(bad.values()) == {"unknown"}
    assert result["pods"][0]["processes"] == 1


def test_a_pod_of_which_nothing_is_found(edge, proc):
    result, bad = look(proc, pods=[{**POD, "uid": "6e1f2c3d-3333-4aaa-8bbb-ffffffffffff"}])
    assert (set(bad.values()), len(bad), result["pods"][0]["processes"]) == ({"unknown"}, 4, 0)


# --- the module


def run(capsys, check_mode=False, **params):
    params = {"controllers": [POD], "address": "192.0.2.99", **params}
    with patch_module_args({**params, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as exit_:
        nginx_workers.main()
    return exit_.value.code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_module_only_reads(capsys, check_mode):
    code, result = run(capsys, check_mode)
    assert (code, result["changed"], result["checks"][0]["status"]) == (0, False, "unknown")


@pytest.mark.parametrize(
    "params, words",
    [
        ({"worker_processes": "many"}, "worker_processes is many, but must be auto or a number"),
        ({"directives": {"https": {}}}, "directives has https, but knows only"),
        ({"directives": {"http": "x"}}, "directives has http, but knows only dicts"),
    ],
)
def test_wrong_options_are_named(capsys, params, words):
    code, result = run(capsys, **params)
    assert (code, words in result["msg"]) == (1, True), result


def test_workers_for_every_cpu(edge, proc):
    edge.start(worker_processes="auto")
    proc[1]()
    wanted = WANTED._replace(worker_processes="auto", directives={"main": {"worker_processes": "auto"}})
    assert look(proc, wanted)[1] == {}
