#!/usr/bin/env bash
# Lets this checkout resolve its own names: .ansible/collections/ansible_collections/baremetal/kubernetes points to it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
mkdir -p .ansible/collections/ansible_collections/baremetal
ln -sfn ../../../.. .ansible/collections/ansible_collections/baremetal/kubernetes
