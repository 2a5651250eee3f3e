#!/bin/sh
# Runs a script in a chroot of an overlay: chroot.sh PLACE LOWER:LOWER… SCRIPT
# Expects a mount namespace of its own; what the script changes is left in PLACE/upper.
set -eu
place=$1 lowers=$2 script=$3
mount -t overlay overlay -o "lowerdir=$lowers,upperdir=$place/upper,workdir=$place/work" "$place/root"
mount -t proc proc "$place/root/proc"
mount -t tmpfs tmpfs "$place/root/tmp"
mount -t tmpfs tmpfs "$place/root/run"
mount --bind /dev "$place/root/dev"
exec chroot "$place/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    sh -euxc "$script"
