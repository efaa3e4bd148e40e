# shellcheck shell=sh
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Sourced by the scripts that make a Debian root: the mirror and the way to it are those of this machine's own apt.

# debian SUITE TARGET VARIANT PACKAGES [option of mmdebstrap...]
debian() {
  suite=$1 target=$2 variant=$3 packages=$4
  shift 4
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  # shellcheck disable=SC2016 # apt's own fields
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 'Component: main' | sort -u | head -n 1)
  # shellcheck disable=SC2016 # apt's own fields
  security=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian-Security' 'Component: main' | sort -u | head -n 1)
  if [ -z "$mirror" ]; then
    echo "apt knows no Debian archive on this machine; add one to /etc/apt/sources.list.d, run apt-get update and start again." >&2
    exit 1
  fi
  settings=$(mktemp)
  trap 'rm -f "$settings"' EXIT
  # Proxy, certificates and checks; without Recommends a root holds what was asked for.
  apt-config dump | grep -E '^Acquire::(http|https|Check-|Max-FutureTime|Retries|ForceIPv)' > "$settings" || true
  echo 'APT::Install-Recommends "false";' >> "$settings"
  {
    echo "deb [signed-by=$keyring] $mirror $suite main"
    echo "deb-src [signed-by=$keyring] $mirror $suite main"
    if [ -n "$security" ]; then
      echo "deb [signed-by=$keyring] $security $suite-security main"
      echo "deb-src [signed-by=$keyring] $security $suite-security main"
    fi
  } | mmdebstrap --mode=root --variant="$variant" --aptopt="$settings" --include="$packages" "$@" "$suite" "$target" -
}
