# Makes a bare machine that has an NVIDIA driver one that can run GPU containers, from a folder of programs.
#
#   sh prepare.sh FOLDER PYTHON      FOLDER holds containerd, containerd-shim-runc-v2, ctr, runc; perhaps libraries that
#                                    runc needs; perhaps NVIDIA's toolkit (nvidia-container-runtime, nvidia-ctk …),
#                                    which then becomes the default handler
#
# It changes the machine: /usr/local/bin, /usr/local/lib, /etc/containerd, /var/lib/containerd, /var/run/cdi. Without the
# toolkit the CDI spec is written by cdi.py, and the routes are those of CDI.
set -eu
folder=$1 python=$2
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
for file in "$folder"/*; do
    case ${file##*/} in
    *.so*) install -m 644 "$file" /usr/local/lib/ ;;
    nvidia-*) install -m 755 "$file" /usr/bin/ ;; # where nvidia-ctk says that the runtime is
    *) install -m 755 "$file" /usr/local/bin/ ;;
    esac
done
ldconfig
if ! [ -e /sys/fs/cgroup/cgroup.controllers ] && ! [ -d /sys/fs/cgroup/devices ]; then
    mkdir -p /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
fi
# What is not of a control group's leaf cannot have groups with controllers below it (cgroups(7), "no internal process").
if [ -w /sys/fs/cgroup/cgroup.subtree_control ]; then
    echo '+cpu +cpuset +memory +pids +io' >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || {
        mkdir -p /sys/fs/cgroup/init
        for pid in $(cat /sys/fs/cgroup/cgroup.procs); do echo "$pid" >/sys/fs/cgroup/init/cgroup.procs 2>/dev/null || :; done
        for one in cpu cpuset memory pids io; do echo "+$one" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || :; done
    }
fi
[ -e /dev/nvidia-uvm ] || nvidia-modprobe -u -c=0 2>/dev/null || :
mkdir -p /etc/containerd /var/run/cdi
containerd config default >/etc/containerd/config.toml
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml
if command -v nvidia-ctk >/dev/null; then
    nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml || "$python" "$here/cdi.py" /var/run/cdi/nvidia.json
    nvidia-ctk runtime configure --runtime=containerd --set-as-default
else
    "$python" "$here/cdi.py" /var/run/cdi/nvidia.json
fi
setsid containerd >/var/log/containerd.log 2>&1 </dev/null &
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    if ctr version >/dev/null 2>&1; then exit 0; fi
    sleep 0.5
done
tail -n 20 /var/log/containerd.log >&2
exit 1
