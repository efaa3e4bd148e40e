#!/usr/bin/env bash
# Copyright: (c) Bare-metal Kubernetes contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# unpack-etcd.sh: etcd and etcdctl of the downloaded packages with the libraries they load, as /build/out/etcd.part/root.tar.
set -euo pipefail
rm -rf /root/etcd
mkdir -p /root/etcd/packages /root/etcd/root/usr/local/bin /root/etcd/root/etc /build/out/etcd.part
for package in /build/packages/etcd-*.deb; do
  dpkg-deb --extract "$package" /root/etcd/packages
done
cp /root/etcd/packages/usr/bin/etcd /root/etcd/packages/usr/bin/etcdctl /root/etcd/root/usr/local/bin/
# Without this file a name is looked up in DNS before /etc/hosts.
echo "hosts: files dns" > /root/etcd/root/etc/nsswitch.conf
ldd /root/etcd/root/usr/local/bin/* | grep -o '/lib[^ ]*' | sort -u | xargs cp --parents --dereference --target-directory /root/etcd/root
tar --create --file /build/out/etcd.part/root.tar --directory /root/etcd/root .
rm -rf /root/etcd
cp /build/versions /build/out/etcd.part/versions
