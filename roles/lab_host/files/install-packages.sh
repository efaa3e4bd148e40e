#!/usr/bin/env bash
# Installs the named Debian packages that are missing: install-packages.sh PACKAGE...
# Without one missing, nothing is asked of any mirror.
set -euo pipefail

missing=()
for package in "$@"; do
    # shellcheck disable=SC2016  # dpkg-query expands it
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] ||
        missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=600 update
for package in "${missing[@]}"; do
    apt-cache show "$package" >/dev/null 2>&1 || {
        echo "The lab needs the Debian package $package, and this machine's apt sources do not have it." >&2
        exit 1
    }
done
apt-get -o DPkg::Lock::Timeout=600 install --yes --no-install-recommends "${missing[@]}"
echo "installed ${missing[*]}"
