#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ingress_traffic
short_description: Requests through an ingress controller, and whether TLS, keep-alive and client addresses are as tuned
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Uses the pods of module M(baremetal.kubernetes.probe_pods). What answers in them is started on the node, inside of the pod's network;
    no image is pulled.
  - O(action=prepare) makes an Ingress with a Service and a certificate of its own in the namespace of the probe pods, and finds the
    controller's pods and addresses. It runs where O(kubeconfig) is. What it makes is removed with the namespace.
  - O(action=serve) starts the test server in this node's pod. It ends by itself after O(lifetime) seconds or with the pod.
  - O(action=request) asks by HTTP and HTTPS at every one of O(addresses), and tries everything else at the first one. It needs no
    privileges and may run on any host, also on one outside of the cluster.
  - Versions and ciphers of TLS are offered one by one in messages of its own, so that also those are tried which this host's libraries
    refuse.
  - A finding does not make the module fail.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: none
    details:
      - Without traffic there is nothing to find, so the module is skipped.
  diff_mode:
    support: none
    details:
      - What is made is there for a test only.
  idempotent:
    support: full
options:
  action:
    description: What to do.
    type: str
    choices: [prepare, serve, request]
    required: true
  kubeconfig:
    description: A kubeconfig with certificates, as kubeadm writes it, for O(action=prepare).
    type: path
    default: /etc/kubernetes/admin.conf
  namespace:
    description: Namespace of the probe pods, for O(action=prepare).
    type: str
    default: kubernetes-verify
  ingress_class:
    description: IngressClass of the controller. Required when O(action=prepare).
    type: str
  controller_namespace:
    description: Namespace of the controller. Required when O(action=prepare).
    type: str
  controller_selector:
    description: Label selector of the controller's pods and, with O(exposure=load_balancer), of its Service. Required when
      O(action=prepare).
    type: str
  exposure:
    description: Whether the controller has a Service of type LoadBalancer or uses the network of its nodes, for O(action=prepare).
    type: str
    choices: [load_balancer, host_network]
    default: load_balancer
  pods:
    description: RV(baremetal.kubernetes.probe_pods#module:pods). Required when O(action=serve).
    type: list
    elements: dict
  address:
    description: Address of this node, for O(action=serve); its pod is the one that is used. Required when O(action=serve).
    type: str
  port:
    description: TCP port of the test server, for O(action=prepare) and O(action=serve).
    type: int
    default: 8081
  lifetime:
    description: Seconds after which the test server ends.
    type: int
    default: 900
  host:
    description: Host name of the Ingress with TLS. Requests for its name with C(plain.) in front are answered without TLS.
    type: str
    default: verify.kubernetes-verify.test
  addresses:
    description: Addresses at which the controller is asked. Required when O(action=request).
    type: list
    elements: str
  ca:
    description: Authority of the certificate for O(host), PEM. Empty for those that this host trusts.
    type: str
    default: ""
  http_port:
    description: Port of HTTP.
    type: int
    default: 80
  https_port:
    description: Port of HTTPS.
    type: int
    default: 443
  tls_protocols:
    description: Versions that are negotiated (V(TLSv1.2), V(TLSv1.3)...); all others must be refused. Empty judges none.
    type: list
    elements: str
    default: []
  tls_ciphers:
    description:
      - Suites up to TLS 1.2 that are negotiated, by OpenSSL's names; all others must be refused. Empty judges none.
      - With O(action=prepare) they decide whether the certificate has an RSA or an ECDSA key.
    type: list
    elements: str
    default: []
  keepalive_timeout:
    description: Seconds after which an idle connection is closed; V(0) when keep-alive is off. Not judged without it.
    type: float
  keepalive_requests:
    description: Requests after which a connection is closed. Not judged without it.
    type: int
  client_address:
    description: Whether servers behind the controller see the client's own address.
    type: str
    choices: [preserved, replaced, unknown]
    default: unknown
  outside:
    description:
      - Whether this host is a client like any other, so that O(client_address) can be judged.
      - A node of the cluster is none for a Service, because kube-proxy treats its connections otherwise.
    type: bool
    default: false
  trusted_proxies:
    description: Networks whose C(X-Forwarded-For) is believed.
    type: list
    elements: str
    default: []
  forwarded_for:
    description:
      - Whether servers get what a client that is not trusted sent as C(X-Forwarded-For) in front of its address (V(appended)), or its
        address alone (V(replaced)). Empty judges neither.
    type: str
    choices: ["", appended, replaced]
    default: ""
  hsts:
    description: Value of the header C(Strict-Transport-Security); empty when there must be none. Not judged without it.
    type: str
  certificates:
    description: Names of your own whose certificates must be good at the first of O(addresses).
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: The name.
        type: str
        required: true
      ca:
        description: Authority, PEM. Empty for those that this host trusts.
        type: str
        default: ""
  timeout:
    description: Seconds for one connection.
    type: float
    default: 5.0
  wait_seconds:
    description: Seconds for the controller to take up the Ingress, and with O(action=prepare) to be ready and to get an address.
    type: int
    default: 60
  idle_limit:
    description: Seconds that an idle connection is waited for at the most; of a longer O(keepalive_timeout) only its beginning is looked
      at.
    type: float
    default: 15.0
  request_limit:
    description: Requests that are sent on one connection at the most.
    type: int
    default: 2000
"""

EXAMPLES = r"""
- name: Make the Ingress, on one control plane
  baremetal.kubernetes.ingress_traffic:
    action: prepare
    ingress_class: nginx
    controller_namespace: nginx-ingress
    controller_selector: app.kubernetes.io/name=nginx-ingress
  register: edge

- name: Answer in this node's pod
  baremetal.kubernetes.ingress_traffic:
    action: serve
    pods: "{{ probe.pods }}"
    address: "{{ cluster_node_ips[inventory_hostname] }}"

- name: Ask as a client does
  baremetal.kubernetes.ingress_traffic:
    action: request
    addresses: "{{ edge.addresses }}"
    ca: "{{ edge.ca }}"
    tls_protocols: [TLSv1.2, TLSv1.3]
    keepalive_timeout: 75
    keepalive_requests: 1000
  register: requests
"""

RETURN = r"""
addresses:
  description: Where the controller is to be asked.
  returned: O(action=prepare)
  type: list
  elements: str
  sample: [192.0.2.200]
controllers:
  description: The controller's pods that are ready.
  returned: O(action=prepare)
  type: list
  elements: dict
  sample:
    - node: w1
      node_address: 192.0.2.21
      namespace: nginx-ingress
      name: nginx-ingress-7d9f
      uid: 6e1f2c3d-0000-4000-8000-000000000001
      host_network: false
ca:
  description: Authority of the Ingress's certificate, PEM; empty when none could be made.
  returned: O(action=prepare)
  type: str
  sample: "-----BEGIN CERTIFICATE-----..."
pid:
  description: Process number of the test server, null when it could not be started.
  returned: O(action=serve)
  type: int
  sample: 4711
checks:
  description:
    - With O(action=prepare) C(edge_controller), and what went wrong.
    - With O(action=serve) only what went wrong.
    - With O(action=request) C(edge_http) and C(edge_https), with several addresses as C(edge_http/ADDRESS) and C(edge_https/ADDRESS);
      for the first address C(edge_tls_protocol), C(edge_tls_cipher), C(edge_hsts), C(edge_certificate/NAME), C(edge_keepalive),
      C(edge_keepalive_idle), C(edge_client_address), C(edge_forwarded), as far as their options are given and the controller answers.
  returned: success
  type: list
  elements: dict
  sample:
    - id: edge_keepalive
      status: pass
      observed: 1000 requests answered on one connection, then closed
      wanted: closed after 1000 requests
      fix: ""
measured:
  description: What the first address really does.
  returned: O(action=request)
  type: dict
  sample:
    address: 192.0.2.200
    client: [192.0.2.11, 192.0.2.11]
    requests: 1000
    tls: {protocol: TLSv1.3, cipher: TLS_AES_256_GCM_SHA384}
    protocols: {TLSv1.1: refused (protocol_version), TLSv1.2: TLSv1.2 with ECDHE-RSA-AES128-GCM-SHA256}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils import _ingress_probe, _ingress_traffic
from ansible_collections.baremetal.kubernetes.plugins.module_utils._command import run_command
from ansible_collections.baremetal.kubernetes.plugins.module_utils._ingress_client import Want
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import ADMIN_CONF, KubeApi, KubeApiError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": ["prepare", "serve", "request"], "required": True},
            "kubeconfig": {"type": "path", "default": ADMIN_CONF},
            "namespace": {"type": "str", "default": "kubernetes-verify"},
            "ingress_class": {"type": "str"},
            "controller_namespace": {"type": "str"},
            "controller_selector": {"type": "str"},
            "exposure": {"type": "str", "choices": ["load_balancer", "host_network"], "default": "load_balancer"},
            "pods": {"type": "list", "elements": "dict"},
            "address": {"type": "str"},
            "port": {"type": "int", "default": 8081},
            "lifetime": {"type": "int", "default": 900},
            "host": {"type": "str", "default": "verify.kubernetes-verify.test"},
            "addresses": {"type": "list", "elements": "str"},
            "ca": {"type": "str", "default": ""},
            "http_port": {"type": "int", "default": 80},
            "https_port": {"type": "int", "default": 443},
            "tls_protocols": {"type": "list", "elements": "str", "default": []},
            "tls_ciphers": {"type": "list", "elements": "str", "default": []},
            "keepalive_timeout": {"type": "float"},
            "keepalive_requests": {"type": "int"},
            "client_address": {"type": "str", "choices": ["preserved", "replaced", "unknown"], "default": "unknown"},
            "outside": {"type": "bool", "default": False},
            "trusted_proxies": {"type": "list", "elements": "str", "default": []},
            "forwarded_for": {"type": "str", "choices": ["", "appended", "replaced"], "default": ""},
            "hsts": {"type": "str"},
            "certificates": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"host": {"type": "str", "required": True}, "ca": {"type": "str", "default": ""}},
            },
            "timeout": {"type": "float", "default": 5.0},
            "wait_seconds": {"type": "int", "default": 60},
            "idle_limit": {"type": "float", "default": 15.0},
            "request_limit": {"type": "int", "default": 2000},
        },
        required_if=[
            ("action", "prepare", ["ingress_class", "controller_namespace", "controller_selector"]),
            ("action", "serve", ["pods", "address"]),
            ("action", "request", ["addresses"]),
        ],
        supports_check_mode=False,
    )
    params = module.params
    plain_host = f"plain.{params['host']}"
    try:
        if params["action"] == "prepare":
            probe = _ingress_probe.IngressProbe(KubeApi(params["kubeconfig"]), params["namespace"], params["wait_seconds"])
            controller = {name: params[f"controller_{name}"] for name in ("namespace", "selector")}
            result = _ingress_probe.prepare(
                probe,
                run_command,
                params["host"],
                plain_host,
                params["ingress_class"],
                params["port"],
                params["tls_ciphers"],
                {**controller, "exposure": params["exposure"]},
            )
        elif params["action"] == "serve":
            result = _ingress_traffic.serve(params["pods"], params["address"], params["port"], params["lifetime"])
        else:
            want = Want(plain_host=plain_host, **{name: params[name] for name in Want._fields if name != "plain_host"})
            _ingress_traffic.validate(want)
            result = _ingress_traffic.request(params["addresses"], want)
    except (KubeApiError, _ingress_probe.IngressProbeError) as error:
        module.fail_json(msg=str(error))
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"The ingress controller could not be tested: {error}.")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
