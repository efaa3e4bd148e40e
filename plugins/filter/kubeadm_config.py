# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter C(kubeadm_config)."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils import _kubeadm_config
from ansible_collections.baremetal.kubernetes.plugins.plugin_utils._plain import dump_documents, plain

DOCUMENTATION = r"""
name: kubeadm_config
short_description: kubeadm's configuration for every API version from one description
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Turns one neutral description into the documents that the kubeadm of the given Kubernetes version reads, in the API v1beta2 below
    1.22, v1beta3 below 1.31 and v1beta4 from 1.31 on.
  - For the first control plane these are InitConfiguration, ClusterConfiguration, KubeProxyConfiguration (unless kube-proxy is left out)
    and KubeletConfiguration; for a joining node it is JoinConfiguration.
  - Secrets are placeholders (a token, a certificate key, the hash of a CA certificate), so that the file can be shown and compared.
    The bootstrap token of the first control plane is not in the file at all; kubeadm makes a random one.
  - Unknown keys are refused. Durations are texts such as V(4m0s).
positional: kind
options:
  _input:
    description: The description of the cluster and of this node. Role C(cluster) holds most of it ready as C(cluster_kubeadm).
    type: dict
    required: true
    suboptions:
      kubernetes_version:
        description: Release such as V(1.36.4); chooses the API version and the fields.
        type: str
        required: true
      cluster_name:
        description: Name of the cluster.
        type: str
        default: kubernetes
      node_name:
        description: Name of the Node object.
        type: str
        required: true
      node_ip:
        description: Address of the node; advertised by its API server and given to the kubelet.
        type: str
        required: true
      endpoint:
        description: Address and port under which all API servers are reached.
        type: str
        required: true
      api_port:
        description: Port of this node's API server.
        type: int
        default: 6443
      pod_cidr:
        description: Network of all pods.
        type: str
        required: true
      pod_prefix_length:
        description: Prefix length of one node's pod network.
        type: int
      service_cidr:
        description: Network of the ClusterIPs.
        type: str
        required: true
      dns_domain:
        description: DNS domain of the cluster.
        type: str
        default: cluster.local
      node_port_range:
        description: Ports for NodePort services; empty leaves the default of Kubernetes.
        type: str
        default: ""
      image_repository:
        description: Registry and path of the images; empty leaves the default of kubeadm.
        type: str
        default: ""
      cri_socket:
        description: Socket of the container runtime; written as a plain path below 1.24.
        type: str
        default: unix:///run/containerd/containerd.sock
      ignore_preflight_errors:
        description: Preflight checks whose errors become warnings.
        type: list
        elements: str
        default: []
      proxy_mode:
        description: V(ipvs), V(nftables), V(iptables), or V(none) for no kube-proxy at all.
        type: str
        required: true
      proxy:
        description:
          - Groups C(iptables) and C(nftables) with C(masquerade_all), C(sync_period), C(min_sync_period).
          - Group C(ipvs) with C(scheduler), C(strict_arp), C(sync_period), C(min_sync_period), C(exclude_cidrs), C(tcp_timeout),
            C(tcp_fin_timeout), C(udp_timeout).
          - Group C(conntrack) with C(owner) (V(sysctl) writes zeros, so that kube-proxy changes nothing; V(kube_proxy) writes the
            numbers), C(max_per_core), C(min), C(tcp_established_timeout), C(tcp_close_wait_timeout), C(tcp_be_liberal),
            C(udp_timeout), C(udp_stream_timeout).
          - C(node_port_addresses), and C(extra), a dict that is merged last into KubeProxyConfiguration.
        type: dict
        default: {}
      kubelet:
        description: >-
          C(cgroup_driver), C(fail_swap_on), C(max_pods), C(extra_args) for its command line, and C(extra), a dict that is merged last
          into KubeletConfiguration.
        type: dict
        default: {}
      timeouts:
        description: >-
          C(control_plane), C(kubelet_health_check), C(kubernetes_api_call), C(etcd_api_call), C(tls_bootstrap), C(discovery),
          C(upgrade_manifests). Versions below 1.31 know C(control_plane) and C(discovery).
        type: dict
        default: {}
      api_server:
        description: C(extra_args) and C(cert_sans). An argument may be a list from 1.31 on and is then repeated.
        type: dict
        default: {}
      controller_manager:
        description: C(extra_args).
        type: dict
        default: {}
      scheduler:
        description: C(extra_args).
        type: dict
        default: {}
      etcd:
        description: C(data_dir) and C(extra_args).
        type: dict
        default: {}
      patches_directory:
        description: Folder with kubeadm patches; empty for none.
        type: str
        default: ""
      skip_phases:
        description: C(init) and C(join), each a list of phases to skip.
        type: dict
        default: {}
      taints:
        description: Taints of the node; without a value kubeadm's default, an empty list for none.
        type: list
        elements: dict
      token_ttl:
        description: How long the bootstrap token of the first control plane lives.
        type: str
        default: 30m0s
      join:
        description: C(token), C(certificate_key) and C(ca_cert_hashes); the defaults are the placeholders.
        type: dict
        default: {}
  kind:
    description: Which file, V(init) for the first control plane, V(control_plane) for a further one, V(worker) for a worker.
    type: str
    choices: [init, control_plane, worker]
    required: true
  output:
    description:
      - V(text) is the file as YAML text, V(documents) the same as a list.
      - V(flags) is the list of command line arguments for what the API of this version has no field for (skipped phases and patches
        in v1beta2); empty from 1.22 on.
    type: str
    choices: [text, documents, flags]
    default: text
"""

EXAMPLES = r"""
- name: Show the file of the first control plane
  ansible.builtin.debug:
    msg: "{{ cluster_kubeadm | baremetal.kubernetes.kubeadm_config('init') }}"

- name: Show what a worker of an old version gets
  ansible.builtin.debug:
    msg: >-
      {{ cluster_kubeadm | combine({'kubernetes_version': '1.20.2'})
         | baremetal.kubernetes.kubeadm_config('worker', output='documents') }}
"""

RETURN = r"""
_value:
  description: The text, the documents or the command line arguments.
  type: raw
"""


def kubeadm_config(description: t.Any, kind: str, output: str = "text") -> t.Any:
    """Render the configuration of one node."""
    try:
        if output == "text":
            return dump_documents(_kubeadm_config.documents(plain(description), plain(kind)))
        if output == "documents":
            return plain(_kubeadm_config.documents(plain(description), plain(kind)))
        if output == "flags":
            return _kubeadm_config.flags(plain(description), plain(kind))
    except _kubeadm_config.KubeadmConfigError as error:
        raise AnsibleFilterError(f"kubeadm_config: {error}") from None
    raise AnsibleFilterError(f"kubeadm_config: output is {output!r}, but must be text, documents or flags.")


class FilterModule:
    """Filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Name them."""
        return {"kubeadm_config": kubeadm_config}
