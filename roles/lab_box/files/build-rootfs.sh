#!/usr/bin/env bash
# Installs Debian packages into a new root tree and packs it: build-rootfs.sh SUITE PACKAGES OUT.tar
# PACKAGES is a comma-separated list. OUT.tar appears only when it is complete.
# shellcheck disable=SC2016  # apt and mmdebstrap expand what is in single quotes
set -euo pipefail

suite=$1 packages=$2 out=$3

# One build at a time: a second one waits, and what an interrupted one left is removed.
exec 9>"$(dirname "$out")/.lock"
flock 9
[ ! -e "$out" ] || exit 0
rm -rf --one-file-system "$(dirname "$out")"/.rootfs-*
work=$(mktemp -d "$(dirname "$out")/.rootfs-XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT

# The mirror and whatever it takes to reach it (proxy, certificates, clock checks) belong to the machine, not to this
# repository: they are read from its own apt. A machine that is not Debian has no Debian mirror configured, and
# mmdebstrap then uses its default.
own=$(awk -F= '$1 == "VERSION_CODENAME" { gsub(/"/, "", $2); print $2 }' /etc/os-release)
apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)' 'Created-By: Packages' |
    awk -F'|' -v own="$own" -v suite="$suite" '
        $1 == "Debian" && $4 == "main" && ($3 == own || $3 == own "-updates" || $3 == own "-security") {
            sub(own, suite, $3)
            line = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " $2 " " $3 " main"
            if (!seen[line]++) print line
        }' >"$work/sources.list"
apt-config dump --format '%f "%v";%n' | grep '^Acquire::' >"$work/aptopt" || true

sources=()
[ -s "$work/sources.list" ] && sources=("$work/sources.list")

# A small initrd and no documentation: both cost time under emulation and nobody reads them in a lab machine.
cat >"$work/initramfs.conf" <<'CONF'
MODULES=list
COMPRESS=lz4
CONF
cat >"$work/initramfs.hook" <<'HOOK'
#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk virtio_scsi sd_mod ahci ext4
HOOK
chmod 0755 "$work/initramfs.hook"

mmdebstrap --mode=root --variant=minbase --architectures=amd64 --format=tar \
    --include="$packages" \
    --aptopt="$work/aptopt" \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/etc/initramfs-tools/hooks"' \
    --essential-hook="copy-in '$work/initramfs.conf' /etc/initramfs-tools/conf.d" \
    --essential-hook="upload '$work/initramfs.hook' /etc/initramfs-tools/hooks/lab" \
    --essential-hook='chmod 0755 "$1/etc/initramfs-tools/hooks/lab"' \
    --customize-hook='rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"' \
    "$suite" "$work/root.tar" "${sources[@]}"

(cd "$work" && sha256sum root.tar | cut -d' ' -f1) >"$work/sha256"
mv "$work/sha256" "$out.sha256"
mv "$work/root.tar" "$out"
