#!/bin/sh
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# in-chroot.sh WORK SOURCE SCRIPT [argument...]
# Runs a script of this directory in the build root WORK/chroot. It is started in a mount, pid and network namespace of its own:
# nothing has to be unmounted, nothing survives it, and nothing that it builds can come from a network.
set -eu
scripts=$(dirname "$(readlink -f "$0")")
work=$1 source=$2 script=$3
shift 3
root=$work/chroot
cache=_output/local/go/cache
mkdir -p "$source/$cache" "$work/go-cache" "$work/out"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$source" "$root/build/source"
# Where Kubernetes' build puts Go's cache; outside of the source it is there again when an interrupted build goes on.
mount --bind "$work/go-cache" "$root/build/source/$cache"
mount --bind "$work/out" "$root/build/out"
mount --bind "$scripts" "$root/build/scripts"
exec chroot "$root" /usr/bin/env -i HOME=/root LC_ALL=C PATH=/usr/lib/go-1.19/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  CGO_ENABLED=0 GOPROXY=off GOTOOLCHAIN=local /bin/bash "/build/scripts/$script" "$@"
