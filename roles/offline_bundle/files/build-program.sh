#!/usr/bin/env bash
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# build-program.sh NAME VERSION: compiles cmd/NAME to /build/out/NAME.part and asks it for its version.
set -euo pipefail
name=$1 version=$2
cd /build/source
# A program that was half copied when the build was killed has a whole build id, and Go would take it for finished.
rm -f "_output/local/go/bin/$name" "_output/local/bin/linux/amd64/$name"
# The date in the program is that of the source: the same source gives the same program.
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog --show-field Timestamp)
export SOURCE_DATE_EPOCH
GOLDFLAGS="-s -w" hack/make-rules/build.sh "cmd/$name"
case $name in
  kubeadm) seen=$(_output/bin/kubeadm version --output short) ;;
  kubectl) seen=$(_output/bin/kubectl version --client --short) ;;
  *) seen=$("_output/bin/$name" --version) ;;
esac
if [ "${seen##* }" != "$version" ]; then
  echo "$name calls itself '$seen', $version is wanted." >&2
  exit 1
fi
cp "_output/bin/$name" "/build/out/$name.part"
