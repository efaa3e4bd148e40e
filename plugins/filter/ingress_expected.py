# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(ingress_expected)."""

from __future__ import annotations

import typing as t

from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _ingress
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._filter_errors import filter_errors
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import plain

DOCUMENTATION = r"""
name: ingress_expected
short_description: What can be measured of an ingress controller from outside
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Takes the options of the tuning and gives what traffic through the controller has to show.
positional: controller, exposure, external_traffic_policy, proxy_mode, config
extends_documentation_fragment:
  - baremetal.kubernetes.ingress.tuning
  - baremetal.kubernetes.ingress.controller
options:
  exposure:
    description: How traffic gets in.
    type: str
    choices: [load_balancer, host_network]
    required: true
  external_traffic_policy:
    description: C(externalTrafficPolicy) of the controller's Service.
    type: str
    choices: [Local, Cluster]
    required: true
  proxy_mode:
    description: Mode of kube-proxy. With V(none) the pod network's own proxy decides about the client's address.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: What to measure
  ansible.builtin.debug:
    msg: "{{ settings | baremetal.kubernetes.ingress_expected('nginx', 'load_balancer', 'Local', 'ipvs') }}"
  vars:
    settings: "{{ 'default' | baremetal.kubernetes.ingress_settings({}, 'nginx') }}"
"""

RETURN = r"""
_value:
  description: What is expected.
  type: dict
  contains:
    tls_protocols:
      description: Protocols to negotiate; all others are refused.
      type: list
      elements: str
    tls_ciphers:
      description: Ciphers of TLS 1.2 and older, as OpenSSL names them.
      type: list
      elements: str
    keepalive_timeout:
      description: Seconds that an idle connection stays open; V(0) closes after each request.
      type: int
    keepalive_requests:
      description: Requests of one connection.
      type: int
    worker_processes:
      description: Number of workers, or V(auto) for one per CPU.
      type: raw
    worker_connections:
      description: Connections of one worker.
      type: int
    worker_open_files:
      description: Limit of open files of one worker; V(0) is not known.
      type: int
    client_address:
      description: V(preserved) when the controller sees who connects, V(replaced) when it sees a node, else V(unknown).
      type: str
    hsts:
      description: Value of the header C(Strict-Transport-Security); empty when there is none.
      type: str
    hsts_with_default_certificate:
      description: Whether it is also sent for an Ingress object without a certificate of its own.
      type: bool
    trusted_proxies:
      description: Networks whose forwarded headers are believed.
      type: list
      elements: str
    forwarded_for:
      description:
        - What the backend gets as C(X-Forwarded-For). V(appended) is what the client sent and then its address, V(replaced) its address alone.
      type: str
"""


def ingress_expected(
    settings: t.Mapping[str, t.Any],
    controller: str,
    exposure: str,
    external_traffic_policy: str,
    proxy_mode: str,
    config: t.Optional[t.Mapping[str, t.Any]] = None,
) -> t.Dict[str, t.Any]:
    """Compute; an error becomes one of Ansible's with the name of the filter in front."""
    with filter_errors("ingress_expected"):
        return plain(
            _ingress.ingress_expected(plain(settings), controller, exposure, external_traffic_policy, proxy_mode, plain(config or {}))
        )


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"ingress_expected": ingress_expected}
