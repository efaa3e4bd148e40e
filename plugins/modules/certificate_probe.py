#!/usr/bin/python
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_probe
short_description: Have cert-manager issue a certificate from each issuer, and try it
version_added: 0.1.0
author:
  - Bare-metal Kubernetes contributors (@baremetal-kubernetes)
description:
  - Asks each issuer for a Certificate of one hour, waits until it is Ready, and makes a TLS connection with it within this process. The
    client trusts nothing but the issuer's authority. That proves the chain, the name, the time of validity and that the key belongs to
    the certificate.
  - The Certificates and their Secrets are removed whatever happens, also those that a killed run left behind. They carry the label
    C(baremetal.kubernetes/probe=cert-manager).
  - Uses the certificate of a kubeconfig on this host and Python's standard library alone.
extends_documentation_fragment:
  - baremetal.kubernetes.attributes
attributes:
  check_mode:
    support: full
    details:
      - Nothing is asked for, and nothing is known, so RV(checks) is empty.
  diff_mode:
    support: none
    details:
      - What is made is removed again.
  idempotent:
    support: full
options:
  kubeconfig:
    description: A kubeconfig with certificates, as kubeadm writes it.
    type: path
    default: /etc/kubernetes/admin.conf
  namespace:
    description: The namespace of cert-manager, in which the Secrets of its ClusterIssuers are.
    type: str
    default: cert-manager
  issuers:
    description: ClusterIssuers to ask. Those that can sign by themselves; an ACME server would ask back.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the ClusterIssuer.
        type: str
        required: true
      ca_secret:
        description: The Secret with the certificate of its authority. Empty where certificates sign themselves.
        type: str
        default: ""
  wait_seconds:
    description: Seconds until waiting for certificates is given up.
    type: int
    default: 120
  poll_seconds:
    description: Seconds between two questions.
    type: int
    default: 2
"""

EXAMPLES = r"""
- name: Prove that certificates of the internal authority are issued and accepted
  baremetal.kubernetes.certificate_probe:
    issuers:
      - {name: internal, ca_secret: internal-ca}
"""

RETURN = r"""
checks:
  description:
    - One finding per issuer, C(certificate/NAME).
    - The task fails when one of them is no C(pass), and returns them all the same.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: Which issuer was tried.
      type: str
    status:
      description: C(pass) or C(fail).
      type: str
    observed:
      description: What was seen.
      type: str
    wanted:
      description: What should be seen.
      type: str
    fix:
      description: What to do. Empty when there is nothing to do.
      type: str
  sample:
    - id: certificate/internal
      status: fail
      observed: >-
        Certificate cert-manager/baremetal-kubernetes-probe-internal: Ready is False
        (DoesNotExist: Issuing certificate as Secret does not exist)
      wanted: a Certificate for probe.cert-manager.test becomes Ready, and a TLS client that trusts its authority accepts it
      fix: Why says `kubectl describe clusterissuer internal` and `kubectl -n cert-manager logs deployment/cert-manager`.
"""

from typing import Dict, List

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baremetal.kubernetes.plugins.module_utils._certificate_probe import Issuer, Probe
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_api import ADMIN_CONF, KubeApi, KubeApiError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._kube_apply import KubeApplyError
from ansible_collections.baremetal.kubernetes.plugins.module_utils._preflight_result import PASS


def message(checks: List[Dict[str, str]]) -> List[str]:
    """All that is not a pass, in sentences."""
    bad = [item for item in checks if item["status"] != PASS]
    return [f"{item['id']}: {item['observed'].rstrip('.')}. Wanted: {item['wanted']}. {item['fix']}" for item in bad]


def main() -> None:
    issuer = {"name": {"type": "str", "required": True}, "ca_secret": {"type": "str", "default": "", "no_log": False}}
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "default": ADMIN_CONF},
            "namespace": {"type": "str", "default": "cert-manager"},
            "issuers": {"type": "list", "elements": "dict", "required": True, "options": issuer},
            "wait_seconds": {"type": "int", "default": 120},
            "poll_seconds": {"type": "int", "default": 2},
        },
        supports_check_mode=True,
    )
    params = module.params
    checks: List[Dict[str, str]] = []
    if module.check_mode or not params["issuers"]:
        module.exit_json(changed=False, checks=checks)
    problems: List[str] = []
    try:
        probe = Probe(KubeApi(params["kubeconfig"]), params["namespace"], params["wait_seconds"], params["poll_seconds"])
        try:
            checks = probe.run([Issuer(item["name"], item["ca_secret"]) for item in params["issuers"]])
        except (KubeApiError, KubeApplyError) as error:
            problems.append(str(error))
        probe.remove()
    except (KubeApiError, KubeApplyError) as error:
        problems.append(str(error))
    problems += message(checks)
    if problems:
        module.fail_json(msg=" ".join(dict.fromkeys(problems)), checks=checks)
    module.exit_json(changed=False, checks=checks)


if __name__ == "__main__":
    main()
