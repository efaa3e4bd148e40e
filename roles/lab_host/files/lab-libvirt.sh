#!/usr/bin/env bash
# libvirt for the lab: lab-libvirt start|stop|status CACHE_DIR
#                      lab-libvirt exec CACHE_DIR COMMAND...
# A libvirtd that runs on this machine is used as it is. Where none answers, start brings up one of the lab's own, in a
# network and a mount namespace of its own: its networks, bridges and firewall rules are not the machine's, and what
# libvirt keeps under /etc, /var and /run are folders of CACHE_DIR laid over those paths there.
# exec runs a command where the lab's machines can be reached.
set -euo pipefail

action=$1 cache=$2
shift 2
state=$cache/libvirt
pids=$state/pids
mode=$state/mode # says own or system from start to stop
uri=qemu:///system
# The Vagrantfile reads its settings from there.
export BAREMETAL_LAB_CACHE=$cache

fail() {
    echo "$*" >&2
    exit 1
}

read_mode() { cat "$mode" 2>/dev/null || true; }

# A process is ours when its pid was written here and it still has the start time that was written with it.
started() { [ -r "/proc/$1/stat" ] && sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
remember() { echo "$2 $(started "$2")" >"$pids/$1"; }
alive() {
    local pid start
    [ -r "$pids/$1" ] && read -r pid start <"$pids/$1" && [ -n "$start" ] && [ "$(started "$pid")" = "$start" ] && echo "$pid"
}
gone() {
    local pid=$1
    for _ in $(seq 100); do
        started "$pid" >/dev/null || return 0
        sleep 0.1
    done
    return 1
}
end() {
    local pid
    if pid=$(alive "$1"); then
        kill "$pid"
        gone "$pid" || kill -KILL "$pid"
    fi
    rm -f "$pids/$1"
}
# Entering a mount namespace leaves the working directory behind.
inside() {
    local holder
    holder=$(alive holder) || fail "The lab's libvirtd is not running: 'make lab-up' starts it."
    # shellcheck disable=SC2016  # the inner shell expands them
    nsenter --target "$holder" --net --mount -- sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
}

start() {
    local holder new=
    mkdir -p "$state"
    if [ "$(read_mode)" != own ] && virsh --connect "$uri" version >/dev/null 2>&1; then
        echo system | tee "$mode"
        return
    fi
    [ "$(id -u)" = 0 ] ||
        fail "No libvirtd answers at $uri for this user, and only root can start the lab's own: start libvirtd, join the group libvirt, or be root."
    [ -c /dev/net/tun ] || fail "No libvirtd answers at $uri, and the lab's own needs /dev/net/tun, which this machine does not have."
    unshare --net --mount true ||
        fail "No libvirtd answers at $uri, and the lab's own needs namespaces, which this machine does not allow: use a machine or a privileged container."
    mkdir -p "$pids" "$state"/{etc,lib,cache,log} /run/libvirt /var/log/libvirt /var/cache/libvirt
    echo own >"$mode"
    if ! alive holder >/dev/null; then
        end libvirtd
        end uplink
        # What keeps the namespaces: one sleeping process.
        setsid unshare --net --mount --propagation private -- sleep infinity </dev/null >/dev/null 2>&1 &
        holder=$!
        while [ "$(readlink "/proc/$holder/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ] ||
            [ "$(readlink "/proc/$holder/exe")" != "$(readlink -f "$(command -v sleep)")" ]; do
            kill -0 "$holder" || fail "The namespaces for the lab's libvirtd could not be made."
            sleep 0.05
        done
        # /sys must show this namespace's interfaces; names are resolved through the uplink's own resolver.
        # shellcheck disable=SC2016  # the inner shell expands them
        nsenter --target "$holder" --net --mount -- bash -euc '
            ip link set lo up
            umount --lazy --recursive /sys
            mount -t sysfs sysfs /sys
            mount --bind "$1/etc" /etc/libvirt
            mount --bind "$1/lib" /var/lib/libvirt
            mount --bind "$1/cache" /var/cache/libvirt
            mount --bind "$1/log" /var/log/libvirt
            mount -t tmpfs tmpfs /run/libvirt
            echo nameserver 10.0.2.3 >"$1/resolv.conf"
            mount --bind "$1/resolv.conf" "$(readlink -f /etc/resolv.conf)"
        ' - "$state"
        remember holder "$holder"
    fi
    if ! alive uplink >/dev/null; then
        setsid slirp4netns --configure --disable-host-loopback --mtu=65520 "$(alive holder)" tap0 \
            </dev/null >"$state/log/slirp4netns.log" 2>&1 &
        remember uplink $!
    fi
    if ! alive libvirtd >/dev/null; then
        # Root, inside its own namespaces: the images may then lie below a home directory. "file" needs no virtlogd.
        printf '%s\n' 'user = "root"' 'group = "root"' 'security_driver = "none"' 'cgroup_controllers = []' \
            'namespaces = []' 'stdio_handler = "file"' 'remember_owner = 0' >"$state/etc/qemu.conf"
        printf '%s\n' 'auth_unix_rw = "none"' 'auth_unix_ro = "none"' 'unix_sock_group = "root"' >"$state/etc/libvirtd.conf"
        inside libvirtd --daemon --pid-file "$state/libvirtd.pid" --config /etc/libvirt/libvirtd.conf \
            </dev/null >"$state/log/libvirtd.log" 2>&1 || fail "The lab's libvirtd does not start: see $state/log/libvirtd.log"
        new=' started'
        remember libvirtd "$(cat "$state/libvirtd.pid")"
    fi
    for _ in $(seq 150); do
        if inside virsh --connect "$uri" version >/dev/null 2>&1; then
            echo "own$new"
            return
        fi
        sleep 0.2
    done
    fail "The lab's libvirtd does not answer after 30 seconds: see $state/log/libvirtd.log"
}

stop() {
    local holder namespace process
    if holder=$(alive holder); then
        end libvirtd
        # What is left in the network namespace is what that libvirtd started: machines and their DHCP servers.
        namespace=$(readlink "/proc/$holder/ns/net")
        for process in /proc/[0-9]*; do
            process=${process#/proc/}
            [ "$process" != "$holder" ] && [ "$(readlink "/proc/$process/ns/net" 2>/dev/null)" = "$namespace" ] &&
                kill "$process" 2>/dev/null && { gone "$process" || kill -KILL "$process"; }
        done
    fi
    end uplink
    end holder
    rm -f "$mode"
}

case $action in
    start) start ;;
    stop) stop ;;
    status)
        read_mode
        case $(read_mode) in
            own) alive holder >/dev/null && alive libvirtd >/dev/null ;;
            system) virsh --connect "$uri" version >/dev/null ;;
            *) exit 1 ;;
        esac
        ;;
    exec)
        case $(read_mode) in
            # Machines that this libvirtd has are noted beside it, and not in whatever checkout asks for them.
            own) VAGRANT_HOME=$state/vagrant-home VAGRANT_DOTFILE_PATH=$state/vagrant inside "$@" ;;
            system) exec "$@" ;;
            *) fail "The lab is not up: 'make lab-up' starts it." ;;
        esac
        ;;
    *) fail "unknown action $action" ;;
esac
