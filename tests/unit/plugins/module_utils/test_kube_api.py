# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking an API server with the certificates of a kubeconfig."""

from __future__ import annotations

import glob
import stat

import pytest

from ansible_collections.baremetal.kubernetes.plugins.module_utils import _kube_api
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import KubeApi, KubeApiError, reason


def test_an_object_is_read_with_the_client_certificate(api_server):
    api_server.answers[("GET", "/api/v1/nodes")] = (200, {"kind": "NodeList", "items": []})
    assert KubeApi(str(api_server.kubeconfig)).get("/api/v1/nodes") == {"kind": "NodeList", "items": []}


def test_a_body_is_sent_as_json_of_the_wanted_type(api_server):
    api_server.answers[("PATCH", "/x")] = (200, {})
    status, answer = KubeApi(str(api_server.kubeconfig)).request("PATCH", "/x", {"a": 1}, "application/merge-patch+json")
    assert (status, answer) == (200, {})
    assert api_server.asked == [("PATCH", "/x", "application/merge-patch+json", '{"a": 1}')]


def test_a_text_body_is_sent_as_it_is(api_server):
    api_server.answers[("POST", "/x")] = (201, {})
    KubeApi(str(api_server.kubeconfig)).request("POST", "/x", "a: 1\n", "application/yaml")
    assert api_server.asked[0][2:] == ("application/yaml", "a: 1\n")


def test_plain_text_is_returned_as_text(api_server):
    api_server.answers[("GET", "/readyz")] = (200, "ok")
    assert KubeApi(str(api_server.kubeconfig)).request("GET", "/readyz") == (200, "ok")


def test_what_does_not_exist_is_none(api_server):
    assert KubeApi(str(api_server.kubeconfig)).get("/api/v1/namespaces/x") is None


def test_a_refusal_names_the_path_and_the_reason(api_server):
    api_server.answers[("GET", "/x")] = (403, {"kind": "Status", "message": "nodes is forbidden"})
    with pytest.raises(KubeApiError, match="answered GET /x with 403: nodes is forbidden"):
        KubeApi(str(api_server.kubeconfig)).get("/x")
    assert KubeApi(str(api_server.kubeconfig)).request("GET", "/x")[0] == 403


def test_no_answer_names_the_server(api_server):
    api = KubeApi(str(api_server.kubeconfig), server="https://127.0.0.1:1", timeout=2)
    with pytest.raises(KubeApiError, match="https://127.0.0.1:1 gave no answer to GET /x: .*refused"):
        api.get("/x")


def test_a_server_of_another_authority_is_refused(api_server, tmp_path_factory):
    # same address, but the kubeconfig trusts somebody else
    from ansible_collections.baremetal.kubernetes.tests.unit.plugins import conftest

    other = conftest.FakeApiServer(tmp_path_factory.mktemp("other"))
    try:
        with pytest.raises(KubeApiError, match="certificate verify failed"):
            KubeApi(str(other.kubeconfig), server=api_server.url).get("/x")
    finally:
        other.close()


def test_the_private_key_is_on_disk_for_a_moment_and_for_root_alone(api_server, monkeypatch):
    seen = []
    load = _kube_api.ssl.SSLContext.load_cert_chain

    def spy(context, path, *args):
        seen.append((path, stat.S_IMODE(_kube_api.os.stat(path).st_mode)))
        return load(context, path, *args)

    monkeypatch.setattr(_kube_api.ssl.SSLContext, "load_cert_chain", spy)
    KubeApi(str(api_server.kubeconfig))
    assert [mode for dummy, mode in seen] == [0o600]
    assert not glob.glob(seen[0][0])


def test_certificates_beside_the_kubeconfig(api_server, tmp_path):
    # as in kubelet.conf: one file with certificate and key
    text = api_server.kubeconfig.read_text()
    lines = [line for line in text.splitlines() if "client-" not in line]
    lines += [f"    client-certificate: {tmp_path}/client.pem", f"    client-key: {tmp_path}/client.pem"]
    api_server.kubeconfig.write_text("\n".join(lines) + "\n")
    api_server.answers[("GET", "/x")] = (200, {})
    assert KubeApi(str(api_server.kubeconfig)).get("/x") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no server"),
        ("    server: https://127.0.0.1:1\n    certificate-authority-data: '!'\n", "cannot be used|has no"),
        ("    server: https://127.0.0.1:1\n    certificate-authority: /nowhere\n", "cannot be used"),
    ],
)
def test_a_broken_kubeconfig_is_named(tmp_path, text, message):
    path = tmp_path / "admin.conf"
    path.write_text(text)
    with pytest.raises(KubeApiError, match=message):
        KubeApi(str(path))


def test_a_missing_kubeconfig_is_named(tmp_path):
    with pytest.raises(KubeApiError, match="nowhere.conf cannot be used"):
        KubeApi(str(tmp_path / "nowhere.conf"))


@pytest.mark.parametrize(("answer", "text"), [({"message": "no"}, "no"), ("x" * 400, "x" * 300), (["a"], "['a']")])
def test_the_reason_of_a_refusal(answer, text):
    assert reason(answer) == text
