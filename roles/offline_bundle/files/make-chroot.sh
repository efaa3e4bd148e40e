#!/bin/sh
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# make-chroot.sh SUITE TARGET PACKAGES SOURCE BINARIES PACKAGE=VERSION...
# A root to build in, with a source package and binary packages downloaded to /build/packages and their versions in /build/versions.
set -eu
# shellcheck source-path=SCRIPTDIR source=debian.sh
. "$(dirname "$0")/debian.sh"
suite=$1 target=$2 packages=$3
SOURCE=$4 BINARIES=$5
export SOURCE BINARIES
shift 5
# shellcheck disable=SC2016 # mmdebstrap's shell expands it
debian "$suite" "$target" apt "$packages" --format=directory --customize-hook='
  set -eu
  export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
  mkdir -p "$1/build/packages" "$1/build/source" "$1/build/out" "$1/build/scripts"
  cd "$1/build/packages"
  apt-get source --download-only "$SOURCE"
  apt-get download $BINARIES
  {
    for package in *.deb; do dpkg-deb --show --showformat="\${Package} \${Version}\n" "$package"; done
    sed -n "s/^Source: \(.*\)/\1/p; s/^Version: \(.*\)/\1/p" *.dsc | paste -d " " - -
    chroot "$1" dpkg-query --show --showformat="\${Package} \${Version}\n"
  } > "$1/build/versions"
'
for wanted in "$@"; do
  seen=$(sed -n "s/^${wanted%%=*} //p" "$target/build/versions" | head -n 1)
  case $seen in
    "${wanted#*=}"*) ;;
    *)
      echo "$suite has ${wanted%%=*} ${seen:-in no version}, ${wanted#*=} is wanted." >&2
      exit 1
      ;;
  esac
done
