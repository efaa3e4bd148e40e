#!/bin/sh
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# make-root.sh SUITE TARGET PACKAGES
# A small Debian root file system for an image: TARGET/root.tar, and the versions of its packages in TARGET/versions.
set -eu
# shellcheck source-path=SCRIPTDIR source=debian.sh
. "$(dirname "$0")/debian.sh"
suite=$1 target=$2 packages=$3
mkdir "$target"
VERSIONS=$target/versions
export VERSIONS
# The same packages give the same tar.
SOURCE_DATE_EPOCH=0
export SOURCE_DATE_EPOCH
# shellcheck disable=SC2016 # mmdebstrap's shell expands it
debian "$suite" "$target/root.tar" essential "$packages" --format=tar \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --customize-hook='chroot "$1" dpkg-query --show --showformat="\${Package} \${Version}\n" > "$VERSIONS"'
