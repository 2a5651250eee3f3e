#!/bin/sh
# Boots one node and stays with it: boot.sh NAME FOLDER LOWER:LOWER… HOSTNAME attached|detached
#
# Runs in a mount namespace of its own, so that every mount here is gone when its last process is. When it is attached,
# standard input is a pipe that the owner holds: its end, however the owner came to die, ends the node.
set -eu
{ # read whole before it runs: the file may change under a node
    name=$1 folder=$2 lowers=$3 hostname=$4 attached=$5

    # Control groups of the node's own: all that is in them is the node's, and nothing of it stays behind in the host's.
    groups=""
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then # version 2
        for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
            echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
        done
        groups="/sys/fs/cgroup/gpuready-lab.$name"
        mkdir -p "$groups"
    else
        for root in /sys/fs/cgroup/*; do
            [ ! -L "$root" ] && [ -e "$root/cgroup.procs" ] || continue
            group="$root/gpuready-lab.$name"
            mkdir -p "$group"
            for file in cpuset.cpus cpuset.mems; do # it takes no process before these are set
                [ ! -e "$root/$file" ] || [ ! -e "$root/tasks" ] || cat "$root/$file" >"$group/$file"
            done
            groups="$groups $group"
        done
    fi

    mount -t tmpfs -o mode=0755 gpuready-lab "$folder/fs"
    mkdir "$folder/fs/upper" "$folder/fs/work" "$folder/fs/root" "$folder/fs/upper/etc"
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost\n' "$hostname" >"$folder/fs/upper/etc/hosts"
    echo "$hostname" >"$folder/fs/upper/etc/hostname"
    mount -t overlay overlay -o "lowerdir=$lowers,upperdir=$folder/fs/upper,workdir=$folder/fs/work" "$folder/fs/root"
    mkdir -p /run/systemd
    mount -t tmpfs tmpfs /run/systemd             # nspawn's own files
    ip link delete "ve-$name" 2>/dev/null || true # of a node that went down this moment

    # shellcheck disable=SC2016 # for the shell that becomes nspawn
    sh -c 'for group in $1; do echo $$ >"$group/cgroup.procs"; done; shift; exec systemd-nspawn "$@"' sh "$groups" \
        --quiet --directory="$folder/fs/root" --boot --register=no --keep-unit --network-veth --capability=all \
        --tmpfs=/var/lib/containerd --system-call-filter='add_key keyctl bpf' --machine="$name" --hostname="$hostname" \
        --resolv-conf=off --timezone=off --console=pipe </dev/null &
    nspawn=$!
    echo "$nspawn" >"$folder/nspawn"

    if [ "$attached" = attached ]; then
        cat >/dev/null # until the owner closes the pipe
    else
        wait "$nspawn" || true
    fi

    for group in $groups; do
        while pids=$(find "$group" -name cgroup.procs -exec cat {} +) && [ -n "$pids" ]; do
            # shellcheck disable=SC2086 # they are numbers
            kill -KILL $pids 2>/dev/null || true
            sleep 0.01
        done
        find "$group" -depth -type d -exec rmdir {} \;
    done
    ip link delete "ve-$name" 2>/dev/null || true # the kernel does it late
    exit
}
