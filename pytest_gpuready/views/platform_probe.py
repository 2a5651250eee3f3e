"""What the platform is asked: small sh scripts of ours, and what they look for."""

from __future__ import annotations

from pytest_gpuready.node.facts import SHORT, Request, file, script

# With hidepid other users' processes are not seen (2), or seen and not readable (1): /proc/1/comm tells.
# One process for all of it. `clk` is the unit of /proc/PID/stat's start time, `btime` the boot in seconds since 1970.
_IDENTITY = r"""
echo "kernel $(uname -srm)"
echo "user $(id -u) $(id -un 2>/dev/null)"
read -r h </proc/sys/kernel/hostname && echo "hostname $h"
echo "path $PATH"
echo "now $(date +%s)"
echo "clk $(getconf CLK_TCK 2>/dev/null || echo 100)"
while read -r k v r; do [ "$k" != btime ] || echo "btime $v"; done </proc/stat
[ ! -e /sys/fs/selinux/enforce ] || { read -r h </sys/fs/selinux/enforce; echo "selinux $h"; }
[ ! -d /run/systemd/system ] || echo "init systemd"
{ read -r h </proc/1/comm; } 2>/dev/null || echo "hidden processes"
echo "pidns $(readlink /proc/self/ns/pid 2>/dev/null)"
echo "mntns $(readlink /proc/self/ns/mnt 2>/dev/null)"
"""

#: Programs that some check or remedy asks for, looked for in one go.
PROGRAMS: tuple[str, ...] = (
    "containerd",
    "ctr",
    "nerdctl",
    "crictl",
    "runc",
    "crun",
    "nvidia-container-runtime",
    "nvidia-container-runtime-hook",
    "nvidia-container-cli",
    "nvidia-ctk",
    "nvidia-cdi-hook",
    "nvidia-smi",
    "nvidia-modprobe",
    "nv-fabricmanager",
    "apt-get",
    "dnf",
    "yum",
    "tdnf",
    "microdnf",
    "zypper",
    "pacman",
    "apk",
    "rpm-ostree",
    "transactional-update",
    "sudo",
    "curl",
    "python3",
    "k3s",
    "k0s",
    "dpkg-query",
    "rpm",
    "dkms",
    "mokutil",
)

#: Where programs lie beside PATH: the standard folders, the GPU operator's, GKE's, and those of embedded containerds.
PLACES: tuple[str, ...] = (
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
)
FURTHER_PLACES: tuple[str, ...] = (
    "/usr/local/nvidia/toolkit",
    "/usr/local/nvidia/bin",
    "/run/nvidia/driver/usr/bin",
    "/home/kubernetes/bin/nvidia/bin",
    "/usr/lib/wsl/lib",
    "/run/current-system/sw/bin",
    "/var/lib/rancher/k3s/data/current/bin",
    "/var/lib/rancher/rke2/bin",
    "/var/lib/k0s/bin",
    "/snap/microk8s/current/bin",
    "/opt/bin",
)
_PROGRAMS = r"""
IFS=:
for d in $PATH $2; do
  case $d in /bin|/sbin) [ ! -L "$d" ] || continue ;; /*) ;; *) continue ;; esac
  IFS=' '
  for n in $1; do
    if [ -f "$d/$n" ]; then if [ -x "$d/$n" ]; then echo "x $d/$n"; else echo "- $d/$n"; fi; fi
  done
  IFS=:
done
"""

# Only what matters here is printed, one record per process; readlink and tr run for those few alone.
_PROCESSES = r"""
for d in /proc/[0-9]*; do
  { read -r c <"$d/comm"; } 2>/dev/null || continue
  case $c in
  containerd|dockerd|cri-dockerd|crio|kubelet|kubelite|k3s|k3s-*|rke2|k0s) ;;
  nv-fabricmanage|nvidia-persiste|nv-hostengine) ;;
  *) continue ;;
  esac
  echo "pid ${d#/proc/}"
  echo "comm $c"
  { while read -r k v l; do [ "$k" != Uid: ] || echo "uid $v"; done <"$d/status"; } 2>/dev/null
  l=$(readlink "$d/exe" 2>/dev/null) && echo "exe $l" || echo "exe?"
  l=$(readlink "$d/ns/pid" 2>/dev/null) && echo "pidns $l"
  l=$(readlink "$d/ns/mnt" 2>/dev/null) && echo "mntns $l"
  { read -r l <"$d/stat"; } 2>/dev/null && echo "stat $l"
  tr '\0' '\n' 2>/dev/null <"$d/cmdline" | sed 's/^/arg /'
  [ -r "$d/environ" ] || echo "environ?"
  { tr '\0' '\n' <"$d/environ" | sed -n 's/^PATH=/path /p
    s/^NVIDIA_CTK_CONFIG_FILE_PATH=/toolkit /p
    s/^XDG_CONFIG_HOME=/xdg /p'; } 2>/dev/null
  # One that ended while it was looked at is not there: what could not be read of it was not refused.
  l=; { read -r l <"$d/stat"; } 2>/dev/null
  case ${l##*)} in ''|' Z '*|' X '*) echo gone ;; esac
done
"""

#: The services that carry a containerd, a kubelet or a part of the driver.
UNITS: tuple[str, ...] = (
    "containerd.service",
    "docker.service",
    "k3s.service",
    "k3s-agent.service",
    "rke2-server.service",
    "rke2-agent.service",
    "k0scontroller.service",
    "k0sworker.service",
    "snap.microk8s.daemon-containerd.service",
    "kubelet.service",
    "crio.service",
    "nvidia-fabricmanager.service",
    "nvidia-persistenced.service",
    "nvidia-cdi-refresh.service",
    "nvidia-cdi-refresh.path",
)
_UNIT_KEYS = (
    "Id,LoadState,ActiveState,SubState,MainPID,FragmentPath,Result,UnitFileState,NeedDaemonReload,ConditionResult"
)

IDENTITY: Request = script("uname, id, hostname, date", _IDENTITY, limit=SHORT)
PROGRAM_SEARCH: Request = script(
    "search for programs", _PROGRAMS, " ".join(PROGRAMS), ":".join([*PLACES, *FURTHER_PLACES]), limit=SHORT
)
PROCESS_LIST: Request = script("list of processes", _PROCESSES, timeout=10)
# Two keys stand in the text: the arguments are the fact's key, and older snapshots have all but those.
UNIT_STATES: Request = script(
    "systemctl show",
    'exec systemctl show -p "$1,ExecStart,ExecMainStatus" -- $2',
    _UNIT_KEYS,
    " ".join(UNITS),
    limit=SHORT,
)
OS_RELEASE = (file("/etc/os-release"), file("/usr/lib/os-release"))
