#!/usr/bin/env bash
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# build-pause.sh VERSION: compiles the program that holds a pod's namespaces, static, to /build/out/pause.part.
set -euo pipefail
gcc -Os -Wall -Werror -static "-DVERSION=v$1" -o /build/out/pause.part /build/source/build/pause/linux/pause.c
strip /build/out/pause.part
