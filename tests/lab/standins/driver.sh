#!/bin/sh
# Stands for: NVIDIA's driver, as its installer leaves it on disk and as the kernel shows it once it is loaded, and the
# GPUs on the PCI bus. What it says comes from /usr/share/gpuready-lab/driver.txt (key=value; the keys of a GPU are
# named as the tags of nvidia-smi's XML); while the module is "loaded", from /run/gpuready-lab/kernel.
# Cannot show: anything a GPU does; open() of a device node (nothing is behind it); module signatures, Xids, sysfs beyond
# what is written here.
#
#   driver install [VERSION]   libraries, tools and modules on disk; a second time: an update, loaded modules stay
#   driver remove              the same away
#   driver plug                the GPUs appear on the bus
#   driver load [MODULE]       nvidia (default), nvidia-uvm, nvidia-modeset, nouveau: as modprobe
#   driver unload [MODULE]     as rmmod; nvidia takes its dependents along; device nodes stay, as they do
#   driver nodes               device nodes of what is loaded, as nvidia-modprobe makes them
set -eu
lab=/usr/share/gpuready-lab
state=/run/gpuready-lab
libdir=$(cat $lab/libdir)
modules=/lib/modules/$(uname -r)
uvm_major=511 caps_major=508 # dynamic, so any; 195 is NVIDIA's own

value() { sed -n "s/^$2=//p" "$1"; }
gpus() { value $lab/driver.txt gpus; }
loaded() { [ -d "/sys/module/$(echo "$1" | tr - _)" ]; }

install_files() {
    version=${1:-580.159.04}
    rm -f "$libdir"/libnvidia-ml.so* "$libdir"/libcuda.so* "$libdir"/libnvidia-lab.so*
    for lib in libnvidia-ml libcuda; do
        cp "$lab/driver-files/$lib.so" "$libdir/$lib.so.$version"
        ln -s "$lib.so.$version" "$libdir/$lib.so.1"
    done
    cp $lab/driver-files/nvidia-smi $lab/driver-files/nvidia-modprobe /usr/bin/
    ldconfig
    mkdir -p "$modules/updates/dkms"
    touch "$modules/modules.order" "$modules/modules.builtin"
    for module in nvidia nvidia-uvm nvidia-modeset; do
        # The version stands in .modinfo, with room for any; what is left over is filled with NULs.
        padding=$(printf '%*s' $((24 - ${#version})) '' | sed 's/ /\\x00/g')
        LC_ALL=C sed "s/@VERSION_______________@/$version$padding/" "$lab/driver-files/$module.ko" \
            >"$modules/updates/dkms/$module.ko"
    done
    depmod
}

remove_files() {
    rm -f "$libdir"/libnvidia-ml.so* "$libdir"/libcuda.so* "$libdir"/libnvidia-lab.so* /usr/bin/nvidia-smi /usr/bin/nvidia-modprobe
    rm -f "$modules"/updates/dkms/nvidia*.ko
    ldconfig
    depmod
}

little_endian() { printf "\\$(printf %o "0x${1#????}")\\$(printf %o "0x$(echo "$1" | cut -c3-4)")"; }

plug() {
    mkdir -p $state/pci
    rm -rf $state/pci/*
    mkdir -p $state/pci/0000:00:00.0 # a host bridge, so that the bus is a bus
    echo 0x8086 >$state/pci/0000:00:00.0/vendor
    echo 0x0e00 >$state/pci/0000:00:00.0/device
    echo 0x060000 >$state/pci/0000:00:00.0/class
    index=0
    while [ $index -lt "$(gpus)" ]; do
        slot="$state/pci/$(value $lab/driver.txt gpu$index.bus)"
        device=$(value $lab/driver.txt gpu$index.device)
        mkdir -p "$slot"
        echo 0x10de >"$slot/vendor"
        echo "$device" >"$slot/device"
        echo 0x030200 >"$slot/class"
        echo 0x10de >"$slot/subsystem_vendor"
        echo 0x16c1 >"$slot/subsystem_device"
        {
            little_endian 0x10de
            little_endian "$device"
            printf '\0\0\0\0\0\0\2\3'
            head -c 52 /dev/zero
        } >"$slot/config"
        index=$((index + 1))
    done
    mountpoint -q /sys/bus/pci/devices || mount --bind $state/pci /sys/bus/pci/devices
    bind_driver
}

# A device's "driver" link: nvidia while that is loaded, else nouveau while that is.
bind_driver() {
    for slot in $state/pci/*; do
        [ "$(cat "$slot/vendor" 2>/dev/null)" = 0x10de ] || continue
        rm -f "$slot/driver"
        for module in nvidia nouveau; do
            if loaded $module; then
                ln -s "../../../../bus/pci/drivers/$module" "$slot/driver"
                break
            fi
        done
    done
}

load() {
    module=${1:-nvidia}
    loaded "$module" && return
    if [ "$module" != nouveau ] && [ ! -e "$modules/updates/dkms/$module.ko" ]; then
        echo "modprobe: FATAL: Module $module not found in directory $modules" >&2
        exit 1
    fi
    [ "$module" = nvidia ] || [ "$module" = nouveau ] || load nvidia
    module=${1:-nvidia}
    if [ "$module" = nvidia ] && loaded nouveau; then
        echo "modprobe: ERROR: could not insert 'nvidia': No such device" >&2
        exit 1
    fi
    mkdir -p $state
    mount -o remount,rw /sys
    mkdir -p "/sys/module/$(echo "$module" | tr - _)"
    case $module in
    nvidia)
        version=$(modinfo -F version nvidia)
        echo "$version" >/sys/module/nvidia/version
        echo OE >/sys/module/nvidia/taint
        echo live >/sys/module/nvidia/initstate
        {
            echo "driver_version=$version"
            cat $lab/driver.txt
        } >$state/kernel
        # NVIDIA's own generator mounts what is named like one of the driver's libraries: so the kernel's words come in.
        # (ldconfig takes the link away while it leads nowhere.)
        [ ! -d $lab/real ] || ln -sf $state/kernel "$libdir/libnvidia-lab.so.$version"
        proc_driver "$version"
        ;;
    nvidia-uvm | nvidia-modeset) echo live >"/sys/module/$(echo "$module" | tr - _)/initstate" ;;
    esac
    mount -o remount,ro /sys
    proc_files
    bind_driver
}

unload() {
    module=${1:-nvidia}
    mount -o remount,rw /sys
    if [ "$module" = nvidia ]; then
        rm -rf /sys/module/nvidia /sys/module/nvidia_uvm /sys/module/nvidia_modeset $state/kernel
        ! mountpoint -q /proc/driver || umount /proc/driver
    else
        rm -rf "/sys/module/$(echo "$module" | tr - _)"
    fi
    mount -o remount,ro /sys
    proc_files
    bind_driver
}

proc_driver() {
    tree=$state/proc-driver/nvidia
    rm -rf $state/proc-driver
    mkdir -p "$tree/capabilities/mig" "$tree/gpus"
    {
        echo "NVRM version: NVIDIA UNIX Open Kernel Module for $(uname -m)  $1  Release Build  (builder@lab)"
        echo 'GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)'
    } >"$tree/version"
    # With 1 NVIDIA's own hook mounts a changed copy in the container, whose /proc has no such file here.
    modify=1
    [ ! -d $lab/real ] || modify=0
    printf 'ModifyDeviceFiles: %s\nDeviceFileUID: 0\nDeviceFileGID: 0\nDeviceFileMode: 438\nNvLinkDisable: 0\n' $modify \
        >"$tree/params"
    printf 'DeviceFileMinor: 1\nDeviceFileMode: 256\nDeviceFileModify: 1\n' >"$tree/capabilities/mig/config"
    index=0
    while [ $index -lt "$(gpus)" ]; do
        bus=$(value $lab/driver.txt gpu$index.bus)
        mkdir -p "$tree/gpus/$bus"
        {
            printf 'Model: \t\t %s\n' "$(value $lab/driver.txt gpu$index.product_name)"
            printf 'IRQ:   \t\t %s\nGPU UUID: \t %s\n' $((41 + index)) "$(value $lab/driver.txt gpu$index.uuid)"
            printf 'Video BIOS: \t 96.00.da.00.0c\nBus Type: \t PCIe\nDMA Size: \t 52 bits\n'
            printf 'Bus Location: \t %s\nDevice Minor: \t %s\n' "$bus" $index
            printf 'GPU Firmware: \t %s\nGPU Excluded:\t No\n' "$1"
        } >"$tree/gpus/$bus/information"
        mig=0
        while [ $mig -lt "$(value $lab/driver.txt gpu$index.mig | grep . || echo 0)" ]; do
            folder=$tree/capabilities/gpu$index/mig/gi$((mig + 1))
            mkdir -p "$folder/ci0"
            for part in "$folder:$((index * 100 + mig * 2 + 3))" "$folder/ci0:$((index * 100 + mig * 2 + 4))"; do
                printf 'DeviceFileMinor: %s\nDeviceFileMode: 292\nDeviceFileModify: 1\n' "${part##*:}" >"${part%:*}/access"
            done
            mig=$((mig + 1))
        done
        index=$((index + 1))
    done
    mountpoint -q /proc/driver || mount --bind $state/proc-driver /proc/driver
}

# /proc/devices and, where the kernel has modules at all, /proc/modules: the real ones and ours.
proc_files() {
    for file in devices modules; do
        [ -e /proc/$file ] || continue
        [ -e $state/proc-$file.real ] || cat /proc/$file >$state/proc-$file.real
    done
    {
        echo 'Character devices:'
        if loaded nvidia; then
            printf '195 nvidia\n195 nvidiactl\n%s nvidia-caps\n' $caps_major
        fi
        ! loaded nvidia-modeset || echo '195 nvidia-modeset'
        ! loaded nvidia-uvm || echo "$uvm_major nvidia-uvm"
        sed 1d $state/proc-devices.real
    } >$state/proc-devices
    mountpoint -q /proc/devices || mount --bind $state/proc-devices /proc/devices
    [ -e $state/proc-modules.real ] || return 0
    {
        for module in nouveau nvidia_modeset nvidia_uvm nvidia; do
            ! loaded $module || echo "$module 14299136 0 - Live 0x0000000000000000 (OE)"
        done
        cat $state/proc-modules.real
    } >$state/proc-modules
    mountpoint -q /proc/modules || mount --bind $state/proc-modules /proc/modules
}

# As nvidia-modprobe: a node that is not as it should be is made anew.
node() { # NAME MODE MAJOR MINOR
    as_it_should=$(printf 'character special file %x %x %s' "$3" "$4" "$2")
    [ "$(stat -c '%F %t %T %a' "/dev/$1" 2>/dev/null)" != "$as_it_should" ] || return 0
    rm -rf "/dev/${1:?}"
    mknod -m "$2" "/dev/$1" c "$3" "$4"
}

nodes() {
    loaded nvidia || return 0
    node nvidiactl 666 195 255
    index=0
    [ -d /dev/nvidia-caps ] || mkdir /dev/nvidia-caps
    while [ $index -lt "$(value $state/kernel gpus)" ]; do
        node nvidia$index 666 195 $index
        for access in /proc/driver/nvidia/capabilities/gpu$index/mig/gi*/access \
            /proc/driver/nvidia/capabilities/gpu$index/mig/gi*/ci*/access; do
            [ -e "$access" ] || continue
            minor=$(sed -n 's/^DeviceFileMinor: //p' "$access")
            node "nvidia-caps/nvidia-cap$minor" 444 $caps_major "$minor"
        done
        index=$((index + 1))
    done
    node nvidia-caps/nvidia-cap1 400 $caps_major 1
    node nvidia-caps/nvidia-cap2 444 $caps_major 2
    ! loaded nvidia-modeset || node nvidia-modeset 666 195 254
    loaded nvidia-uvm || return 0
    node nvidia-uvm 666 $uvm_major 0
    node nvidia-uvm-tools 666 $uvm_major 1
}

verb=$1
shift
case $verb in
install) install_files "$@" ;;
remove) remove_files ;;
plug | load | unload | nodes) "$verb" "$@" ;;
*)
    echo "driver: no such verb: $verb" >&2
    exit 2
    ;;
esac
