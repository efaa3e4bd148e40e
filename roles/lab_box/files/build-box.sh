#!/usr/bin/env bash
# Makes the lab's machine image from a packed root tree: build-box.sh ROOTFS.tar SSH_DIR BUNDLE_DIR|- DISK_SIZE OUT_DIR
# OUT_DIR appears only when it is complete: lab.box (for vagrant), vmlinuz and initrd.img (to boot it), SHA256SUMS.
set -euo pipefail

rootfs=$1 ssh=$2 bundle=$3 size=$4 out=$5

if [ -z "${LAB_BOX_UNSHARED:-}" ]; then
    # One build at a time: a second one waits, and what an interrupted one left is removed.
    exec 9>"$(dirname "$out")/.lock"
    flock 9
    [ ! -e "$out/SHA256SUMS" ] || exit 0
    rm -rf --one-file-system "$(dirname "$out")"/.box-*
    # Mounts and processes of the build end with it, however it ends.
    LAB_BOX_UNSHARED=1 exec unshare --mount --pid --fork --kill-child --propagation private -- "$0" "$@"
fi

work=$(mktemp -d "$(dirname "$out")/.box-XXXXXX")
leave() {
    for place in dev sys proc; do
        umount --lazy --recursive "$work/root/$place" 2>/dev/null || true
    done
    rm -rf --one-file-system "$work"
}
trap leave EXIT
root=$work/root
mkdir "$root"

echo "unpack the packages"
[ "$(sha256sum <"$rootfs" | cut -d' ' -f1)" = "$(cat "$rootfs.sha256")" ] || {
    rm -f "$rootfs" "$rootfs.sha256"
    echo "$rootfs was damaged and is removed; run this again to build it anew" >&2
    exit 1
}
tar -C "$root" --xattrs --xattrs-include='*' -xf "$rootfs"

echo "configure the system"
: >"$root/etc/machine-id" # empty: every machine makes its own at its first boot
rm -f "$root/var/lib/dbus/machine-id"
echo lab >"$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
# The resolver of libvirt's management network, whose address the Vagrantfile fixes.
printf 'nameserver 192.168.121.1\n' >"$root/etc/resolv.conf"
echo '/dev/vda / ext4 noatime,errors=remount-ro 0 1' >"$root/etc/fstab"
# eth0 only: vagrant writes its own file for eth1, the cluster network.
cat >"$root/etc/systemd/network/10-eth0.network" <<'CONF'
[Match]
Name=eth0
[Network]
DHCP=ipv4
LinkLocalAddressing=ipv6
IPv6AcceptRA=no
[DHCPv4]
UseDNS=no
UseNTP=no
CONF
rm -f "$root"/etc/ssh/ssh_host_*
install -m 0600 "$ssh/host_ed25519" "$root/etc/ssh/ssh_host_ed25519_key"
install -m 0644 "$ssh/host_ed25519.pub" "$root/etc/ssh/ssh_host_ed25519_key.pub"
cat >"$root/etc/ssh/sshd_config.d/lab.conf" <<'CONF'
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
HostKey /etc/ssh/ssh_host_ed25519_key
CONF
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=persistent\nSystemMaxUse=200M\n' >"$root/etc/systemd/journald.conf.d/lab.conf"

cp "$ssh/id_ed25519.pub" "$root/root/lab.pub"
chroot "$root" /bin/bash -euo pipefail <<'CHROOT'
passwd --quiet --lock root
useradd --create-home --shell /bin/bash vagrant
passwd --quiet --lock vagrant
echo 'vagrant ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/vagrant
chmod 0440 /etc/sudoers.d/vagrant
install -d -m 0700 /root/.ssh
install -d -m 0700 -o vagrant -g vagrant /home/vagrant/.ssh
install -m 0600 /root/lab.pub /root/.ssh/authorized_keys
install -m 0600 -o vagrant -g vagrant /root/lab.pub /home/vagrant/.ssh/authorized_keys
rm /root/lab.pub
systemctl --quiet enable systemd-networkd.service ssh.service
# Nothing a lab machine needs, and each costs seconds of an emulated boot.
systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    e2scrub_reap.service systemd-networkd-wait-online.service getty@tty1.service
# Its program alone is wanted.
systemctl --quiet mask nginx.service
CHROOT

if [ "$bundle" != - ]; then
    echo "check and copy the bundle"
    python3 - "$bundle" <<'PYTHON'
import hashlib, json, sys

folder = sys.argv[1]
with open(f"{folder}/manifest.json", encoding="utf-8") as stream:
    manifest = json.load(stream)
for entry in manifest["binaries"] + manifest["images"]:
    with open(f"{folder}/{entry['path']}", "rb") as stream:
        if hashlib.sha256(stream.read()).hexdigest() != entry["sha256"]:
            sys.exit(f"{folder}/{entry['path']} is not what the bundle's manifest.json says: remove that bundle and build it anew.")
PYTHON
    mkdir -p "$root/opt/kubernetes-bundle"
    cp -rL "$bundle/." "$root/opt/kubernetes-bundle/"
    echo "import the bundle's images"
    # The image's own containerd, run on this machine: seconds here, minutes in an emulated machine. Its socket and
    # state are private to the tree, and only this process is ended.
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    chroot "$root" containerd --root /var/lib/containerd --state /opt/import-state \
        --address /opt/import.sock --log-level warn --config /dev/null &
    containerd=$!
    answered=
    for _ in $(seq 150); do
        if chroot "$root" ctr --address /opt/import.sock version >/dev/null 2>&1; then
            answered=yes
            break
        fi
        kill -0 "$containerd"
        sleep 0.2
    done
    [ -n "$answered" ] || { echo "the containerd that imports the images does not answer after 30 seconds" >&2 && exit 1; }
    for image in "$root"/opt/kubernetes-bundle/images/*.tar; do
        chroot "$root" ctr --address /opt/import.sock --namespace k8s.io images import "${image#"$root"}"
    done
    kill "$containerd"
    wait "$containerd" || true
    umount --lazy --recursive "$root/dev" "$root/sys" "$root/proc"
    rm -rf "$root/opt/import-state" "$root"/opt/import.sock*
fi

echo "make the disk"
cp -L "$root"/boot/vmlinuz-* "$work/vmlinuz"
cp -L "$root"/boot/initrd.img-* "$work/initrd.img"
# Everything is laid out now, so that no machine spends its first minutes initialising inode tables.
mke2fs -q -t ext4 -L root -E lazy_itable_init=0,lazy_journal_init=0,nodiscard -d "$root" "$work/disk.raw" "$size"
qemu-img convert -f raw -O qcow2 "$work/disk.raw" "$work/box.img"
rm "$work/disk.raw"

echo "pack the box"
gigabytes=$(qemu-img info --output=json "$work/box.img" | python3 -c 'import json,sys; print(-(-json.load(sys.stdin)["virtual-size"] // 2**30))')
printf '{"provider": "libvirt", "format": "qcow2", "virtual_size": %s}\n' "$gigabytes" >"$work/metadata.json"
: >"$work/Vagrantfile"
tar -C "$work" -cf "$work/lab.box" metadata.json Vagrantfile box.img
rm "$work/box.img" "$work/metadata.json" "$work/Vagrantfile"
rm -rf --one-file-system "$root"
(cd "$work" && sha256sum lab.box vmlinuz initrd.img >SHA256SUMS)
rm -rf "$out"
mv "$work" "$out"
