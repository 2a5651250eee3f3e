# What the toolkit's stand-ins share. Stands for: NVML as the toolkit uses it, and its reading of config.toml.
# Cannot show: TOML beyond one `key = value` a line.
toolkit_version=1.18.2
kernel=/run/gpuready-lab/kernel
config=${NVIDIA_CTK_CONFIG_FILE_PATH:-${XDG_CONFIG_HOME:-/etc}/nvidia-container-runtime/config.toml}

log() { # LEVEL TEXT
    printf 'time="%s" level=%s msg="%s"\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" "$(echo "$2" | sed 's/"/\\"/g')" >&2
}

# Where the driver's files lie: / or, in the GPU operator's layout, its container's root.
driver_root() { setting nvidia-container-cli root "" | sed 's#^/$##'; }
inside() { echo "${1#"$(driver_root)"}"; } # a file of the driver's: its path in a container

kernel_value() { sed -n "s/^$1=//p" $kernel; }

# The name of NVML's error, or nothing where it answers.
nvml_error() {
    if [ -z "$(library libnvidia-ml)" ]; then
        echo ERROR_LIBRARY_NOT_FOUND
    elif [ ! -e $kernel ] || [ ! -e /dev/nvidiactl ]; then
        echo ERROR_DRIVER_NOT_LOADED
    elif [ "$(library_version)" != "$(kernel_value driver_version)" ]; then
        echo ERROR_LIB_RM_VERSION_MISMATCH
    fi
}

library() { # NAME: its path, with /lib as what it is
    root=$(driver_root)
    if [ -n "$root" ]; then
        ls "$root"/usr/lib/*/"$1.so.1" 2>/dev/null | head -n 1
        return
    fi
    found=$(ldconfig -p | sed -n "s/^\t$1\.so\.1 .* => //p" | head -n 1)
    [ -z "$found" ] || echo "$(readlink -f "${found%/*}")/$1.so.1"
}
library_version() {
    set -- "$(readlink "$(library libnvidia-ml)")"
    echo "${1##*.so.}"
}

# Indexes of the GPUs that NVML lists: those with a device node.
all_gpus() {
    index=0
    while [ $index -lt "$(kernel_value gpus)" ]; do
        [ ! -e /dev/nvidia$index ] || echo $index
        index=$((index + 1))
    done
}

# Indexes for a list as in NVIDIA_VISIBLE_DEVICES: all, indexes, UUIDs, CDI names; 1 and the name for an unknown one.
chosen_gpus() {
    for one in $(echo "$1" | tr , ' '); do
        one=${one#nvidia.com/gpu=}
        case $one in # a MIG device comes with its GPU's node
        [0-9]*:[0-9]*) one=${one%%:*} ;;
        MIG-*) one=$(sed -n "s/^gpu\([0-9]*\)\.mig[0-9]*\.uuid=$one\$/\1/p" $kernel) ;;
        esac
        if [ "$one" = all ]; then
            all_gpus
            continue
        fi
        found=""
        for index in $(all_gpus); do
            if [ "$one" = "$index" ] || [ "$one" = "$(kernel_value "gpu$index.uuid")" ]; then found=$index; fi
        done
        if [ -z "$found" ]; then
            echo "$one"
            return 1
        fi
        echo "$found"
    done
}

# What a container gets besides the GPUs' own nodes: files, one a line.
common_files() {
    echo "$(driver_root)/usr/bin/nvidia-smi"
    for name in libnvidia-ml libcuda; do
        file=$(library $name)
        [ -z "$file" ] || printf '%s\n%s\n' "$file" "$(readlink -f "$file")"
    done
    echo $kernel
}
common_nodes() {
    for node in /dev/nvidiactl /dev/nvidia-uvm /dev/nvidia-uvm-tools /dev/nvidia-modeset; do
        [ ! -e $node ] || echo $node
    done
}

setting() { # SECTION KEY DEFAULT: of config.toml, strings without their quotes
    found=$(awk -v section="$1" -v key="$2" '
        /^[ \t]*\[/ { gsub(/[][ \t]/, ""); current = $0; next }
        current == section && $0 ~ "^[ \t]*" key "[ \t]*=" {
            sub(/^[^=]*=[ \t]*/, ""); sub(/[ \t]*(#.*)?$/, ""); gsub(/^"|"$/, ""); print; exit
        }' "$config" 2>/dev/null)
    echo "${found:-$3}"
}

# Why the toolkit refuses its config.toml, or nothing. A missing file is its defaults.
config_error() {
    [ -e "$config" ] || return 0
    bad=$(awk '
        /^[ \t]*(#.*)?$/ { next }
        open { if (/\]/) open = 0; next }
        /^[ \t]*\[[^]]*\][ \t]*(#.*)?$/ { next }
        /^[ \t]*[A-Za-z0-9_."-]+[ \t]*=[ \t]*[^ \t]/ { if (/=[ \t]*\[[^]]*$/) open = 1; next }
        { print NR; exit }' "$config")
    if [ -n "$bad" ]; then
        echo "failed to load config: toml: line $bad: expected a key and a value"
        return
    fi
    ldconfig=$(setting nvidia-container-cli ldconfig @/sbin/ldconfig)
    case $ldconfig in
    @*) ;;
    *) echo "nvidia-container-cli.ldconfig value \"$ldconfig\" is not host-relative" ;;
    esac
}
