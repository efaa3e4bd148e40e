#!/usr/bin/env bash
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# prepare-source.sh: unpacks the source package into the empty /build/source and makes the files that every program is compiled with.
set -euo pipefail
rm -rf /root/unpacked
# The signature was apt's to check.
dpkg-source --no-check --extract /build/packages/*.dsc /root/unpacked
cp --archive --reflink=auto /root/unpacked/. /build/source/
rm -rf /root/unpacked
cd /build/source
# reflect2 1.0.1 calls into the runtime by names that Go 1.18 gave other arguments, and dies of it. Debian has 1.0.2.
vendored=vendor/github.com/modern-go/reflect2
rm -f "$vendored"/*.go "$vendored"/*.s
cp /usr/share/gocode/src/github.com/modern-go/reflect2/*.go /usr/share/gocode/src/github.com/modern-go/reflect2/*.s "$vendored"/
make generated_files
