#!/usr/bin/env bash
# Logs in to a machine of the lab as root: lab-ssh CACHE_DIR cp1|w1|... [COMMAND...]
set -euo pipefail

cache=$1 node=$2
shift 2
case $node in
    cp[1-9]) address=192.168.57.1${node#cp} ;;
    w[1-9]) address=192.168.57.2${node#w} ;;
    *) echo "The lab's machines are cp1, cp2, ... and w1, w2, ..., not $node." >&2 && exit 2 ;;
esac
exec ssh -i "$cache/ssh/id_ed25519" -o UserKnownHostsFile="$cache/ssh/known_hosts" \
    -o ProxyCommand="$cache/bin/lab-libvirt exec $cache nc %h %p" "root@$address" "$@"
