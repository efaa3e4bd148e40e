#!/usr/bin/env bash
# The lab's machines: lab-machines up CACHE_DIR CHECKOUT BOX BOX_DIR|- NAME=ADDRESS...
#                     lab-machines down CACHE_DIR CHECKOUT
# BOX_DIR holds lab.box and SHA256SUMS of a box built here. Each machine is expected to answer at its ADDRESS.
set -euo pipefail

action=$1 cache=$2 checkout=$3
shift 3
prefix=baremetal-kubernetes-
uri=qemu:///system
log=$cache/logs/vagrant.log
interrupted=$cache/libvirt/interrupted # there from before the machines are made until they are all there
own=

lab() { "$cache/bin/lab-libvirt" exec "$cache" "$@"; }
virsh() { lab virsh --connect "$uri" --quiet "$@"; }
vagrant() { (cd "$checkout" && lab vagrant --no-tty "$@"); }
domains() { virsh list --all --name | grep "^$prefix" || true; }
volumes() { [ ! -d "$cache/libvirt/lib/images" ] || find "$cache/libvirt/lib/images" -name "$1" -printf '%f\n'; }

say() { echo "$*" | tee -a "$log"; }

remove_domain() {
    virsh destroy "$1" >/dev/null 2>&1 || true
    virsh undefine "$1" --nvram --managed-save --snapshots-metadata
    rm -f "$cache/libvirt/lib/images/$1.img"
}

# A run that was killed leaves machines that vagrant does not know of, disks without a machine, and half a box image:
# vagrant stops at each of them. Only the lab's own libvirtd is tidied, there everything is the lab's.
tidy() {
    local domain known image
    [ -n "$own" ] || return 0
    for domain in $(domains); do
        known=$(cat "$cache/libvirt/vagrant/machines/${domain#"$prefix"}/libvirt/id" 2>/dev/null || true)
        if [ "$known" != "$(virsh domuuid "$domain")" ]; then
            say "remove $domain: an interrupted run left it, vagrant does not know it"
            remove_domain "$domain"
        fi
    done
    for image in $(volumes "$prefix*.img"); do
        [[ $image == *_vagrant_box_image_* ]] || domains | grep -qx "${image%.img}" || rm -f "$cache/libvirt/lib/images/$image"
    done
    if [ -e "$interrupted" ] && [ -z "$(domains)" ]; then
        for image in $(volumes '*_vagrant_box_image_*'); do
            rm -f "$cache/libvirt/lib/images/$image"
        done
    fi
    # libvirt keeps its own list of the folder's files.
    virsh pool-refresh default >/dev/null 2>&1 || true
}

# Vagrant keeps a machine on the box that it was made from, whatever the Vagrantfile names now, and even makes one from
# the box that an interrupted run had noted.
refuse_other_box() {
    local meta name others=
    for meta in "$machines"/*/libvirt/box_meta; do
        if [ ! -e "$meta" ] || grep -qF "\"name\":\"$1\"" "$meta"; then
            continue
        elif [ -s "${meta%box_meta}id" ]; then
            name=${meta%/libvirt/box_meta}
            others="$others ${name##*/}"
        else
            rm -f "$meta"
        fi
    done
    [ -z "$others" ] || {
        say "Made from another box than $1, which is wanted now:$others. Run 'make lab-down', which removes them, and then the same again."
        return 1
    }
}

# Boxes that were built here before, and their images. No machine is on them: it would have been refused.
remove_old_boxes() {
    local name
    [[ $1 == baremetal-kubernetes/lab-* ]] || return 0
    for name in $(vagrant box list | awk '{print $1}' | grep '^baremetal-kubernetes/lab-' | grep -vxF "$1" || true); do
        vagrant box remove --force --all "$name" >>"$log" 2>&1
    done
    for name in $(virsh vol-list default | awk '{print $1}' | grep "^${prefix}VAGRANTSLASH-lab-" | grep -vF "${1/\//-VAGRANTSLASH-}_" || true); do
        virsh vol-delete --pool default "$name" >>"$log" 2>&1
    done
    for name in "$cache"/box/*; do
        [ -L "$name" ] || [ "baremetal-kubernetes/lab-${name##*/}" = "$1" ] || rm -rf "$name"
    done
}

# ssh keeps connections open that a new machine at the same address knows nothing of.
forget_connections() {
    local socket
    for socket in "$cache"/cp/*; do
        [ -S "$socket" ] || continue
        ssh -o ControlPath="$socket" -O exit lab 2>/dev/null || true
        rm -f "$socket"
    done
}

answers() { lab nc -z -w 5 "$1" 22 2>/dev/null; }

answers_within() {
    local deadline=$((SECONDS + $2))
    until answers "$1"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 2
    done
}

evidence() {
    local name address console
    for name in "$@"; do
        address=${name#*=} name=${name%%=*}
        answers "$address" && continue
        console=$consoles/$name.log
        say "$name does not answer at $address. The last lines of its console, $console:"
        tail -n 5 "$console" 2>/dev/null | tr -d '\r' | tee -a "$log" || say "(there is none)"
    done
    say "What vagrant did is in $log; 'make lab-down' removes the machines, 'make lab-up' makes them again."
}

up() {
    local box=$1 box_dir=$2 node name
    shift 2
    tidy
    refuse_other_box "$box"
    # Not grep -q: it ends at the first match, and a Vagrant that cannot write its other lines fails.
    if [ "$box_dir" != - ] && ! vagrant box list | grep "^$box " >/dev/null; then
        say "check and register the box $box"
        (cd "$box_dir" && sha256sum --check --quiet SHA256SUMS) || {
            rm -rf "$box_dir"
            say "The box in $box_dir was damaged and is removed; run this again to build it anew."
            return 1
        }
        vagrant box add --name "$box" --provider libvirt --force "$box_dir/lab.box" >>"$log" 2>&1
    fi

    if [ -z "$(virsh list --name | grep "^$prefix" || true)" ]; then
        forget_connections
    fi
    touch "$interrupted"
    if ! vagrant up 2>&1 | tee -a "$log"; then
        evidence "$@"
        return 1
    fi
    for node in "$@"; do
        name=${node%%=*}
        answers_within "${node#*=}" 30 && continue
        # Killed after the machine was made and before vagrant had configured its network.
        say "$name does not answer at ${node#*=}: restart it with its configuration written again"
        vagrant reload "$name" 2>&1 | tee -a "$log" && answers_within "${node#*=}" 60 && continue
        evidence "$@"
        return 1
    done
    rm -f "$interrupted"
    remove_old_boxes "$box"
    if [ "$box_dir" = - ]; then
        # A box of somebody else has its own host keys, new ones in each machine.
        for node in "$@"; do
            lab ssh-keyscan -T 30 "${node#*=}" 2>/dev/null
        done >"$cache/ssh/known_hosts.new"
        mv "$cache/ssh/known_hosts.new" "$cache/ssh/known_hosts"
    fi
}

down() {
    local domain
    forget_connections
    if [ -z "$own" ]; then
        vagrant destroy --force 2>&1 | tee -a "$log" || {
            say "Vagrant could not remove every machine, see $log; put right what it says and run 'make lab-down' again."
            return 1
        }
    else
        # Nothing to ask where the lab's libvirtd does not run; what is on disk is removed below.
        if "$cache/bin/lab-libvirt" status "$cache" >/dev/null; then
            vagrant destroy --force 2>&1 | tee -a "$log" || say "vagrant could not remove every machine"
            for domain in $(domains); do
                say "remove $domain"
                remove_domain "$domain"
            done
        fi
        rm -rf "$cache/libvirt/vagrant" "$cache"/libvirt/etc/qemu/"$prefix"*.xml
        for domain in $(volumes "$prefix*.img"); do
            [[ $domain == *_vagrant_box_image_* ]] || rm -f "$cache/libvirt/lib/images/$domain"
        done
    fi
    "$cache/bin/lab-libvirt" stop "$cache"
}

mkdir -p "$cache"/{logs,libvirt}
exec 9>"$cache/libvirt/.lock"
flock --nonblock 9 || { echo "another run is at work on the lab's machines: wait for it" && flock 9; }
: >"$log"
[ "$(cat "$cache/libvirt/mode" 2>/dev/null || true)" != own ] || own=yes
consoles=$cache/console
machines=$cache/libvirt/vagrant/machines
[ -n "$own" ] || consoles=/var/log/libvirt/qemu machines=$checkout/.vagrant/machines

case $action in
    up) up "$@" ;;
    down) down ;;
    *) echo "unknown action $action" >&2 && exit 2 ;;
esac
