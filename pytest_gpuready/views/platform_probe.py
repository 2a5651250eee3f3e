"""What the platform is asked: small sh scripts of ours, and what they look for."""

from __future__ import annotations

from pytest_gpuready.node.facts import SHORT, Request, file, script
from pytest_gpuready.node.trust import USE

# With hidepid other users' processes are not seen (2), or seen and not readable (1): /proc/1/comm tells.
# One process for all of it. `clk` is the unit of /proc/PID/stat's start time, `btime` the boot in seconds since 1970.
_IDENTITY = r"""
echo "kernel $(uname -srm)"
echo "user $(id -u) $(id -un 2>/dev/null)"
read -r h </proc/sys/kernel/hostname && printf 'hostname %s\n' "$h"
printf 'path %s\n' "$PATH"
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
# A mark and a path a line: x executable, - not executable, ? refused (a tab and the reason follow).
_PROGRAMS = (
    f"""{USE}"""
    r"""
tf "$1" "$PATH:$2:$GPUREADY_REFUSED"
IFS=$tJ
set -f
for f in $tF; do
  tw "$f"
  if [ -n "$y" ]; then printf '? %s\t%s\n' "$f" "$y"
  elif [ -x "$f" ]; then printf 'x %s\n' "$f"
  else printf -- '- %s\n' "$f"
  fi
done
"""
)

# One record per process that matters here. Of a process whose user is neither root nor the login, only its number, name
# and users are printed; of one in another container, its namespaces too (`trust` says why). All of that is written by
# the kernel. What a process names itself (paths, arguments, environment) stands on a line of its own, with a byte 1 for
# each line break, so that it cannot add a line.
# The name in /proc/PID/status is escaped by the kernel (fs/proc/array.c: proc_task_name); of /proc/PID/comm only the
# first line is read, of /proc/PID/stat what follows the name.
_PROCESSES = r"""
nl='
'
lines() { tr '\0\n' '\n\001' | sed -n "$1"; }
shown() {
  strangers=$((strangers+1))
  [ $strangers -le 20 ] && printf 'pid %s\ncomm %s\nuid %s\n' "${d#/proc/}" "$c" "$u"
}
# spaces $D: the numbers of a process's namespaces, and the mode of its program's file; init's mount namespace too.
spaces() {
  p= m= x=
  set -- $(stat -L -c '%i %a %n' "$1/ns/pid" "$1/ns/mnt" "$1/exe" $2 2>/dev/null)
  while [ $# -gt 2 ]; do
    case $3 in
      */exe) x=$2 ;;
      */pid) p=$1 ;;
      /proc/1/ns/mnt) init=$1; [ "$d" != /proc/1 ] || m=$1 ;;
      */mnt) m=$1 ;;
    esac
    shift 3
  done
}
me=
{ while read -r k r l; do [ "$k" != Uid: ] || me=${l%%[!0-9]*}; done </proc/self/status; } 2>/dev/null
init= d=
spaces /proc/self /proc/1/ns/mnt; pid=$p mnt=$m
echo "login ${me:--} ${pid:--} ${mnt:--} ${init:--}"
strangers=0
for d in /proc/[0-9]*; do
  { read -r c <"$d/comm"; } 2>/dev/null || continue
  case $c in
  containerd|dockerd|cri-dockerd|crio|kubelet|kubelite|k3s|k3s-*|rke2|k0s) ;;
  nv-fabricmanage|nvidia-persiste|nv-hostengine) ;;
  *) continue ;;
  esac
  u=
  { while read -r k l; do [ "$k" != Uid: ] || u=$l; done <"$d/status"; } 2>/dev/null
  set -- $u
  u=$*
  other=
  for k do case $k in 0|"$me") ;; *) other=1 ;; esac; done
  [ $# -gt 0 ] || continue
  if [ -n "$other" ]; then shown; continue; fi
  spaces "$d"
  service=1
  if [ -n "$m" ] && [ "$m" != "$mnt" ] && [ "$m" != "$init" ]; then
    service=
    { while read -r l; do case $l in *.service) service=1 ;; esac; done <"$d/cgroup"; } 2>/dev/null
  fi
  if [ -z "$service" ] || [ "${p:-$pid}" != "$pid" ]; then
    # A question, such as another run's `containerd --version`, is no daemon (views/daemons.py: asked_only).
    [ $strangers -ge 20 ] || case $(tr '\0' ' ' 2>/dev/null <"$d/cmdline") in
      ''|*' --version '*|*' -v '*|*' --help '*|*' config '*) continue ;;
    esac
    ! shown || echo "ns ${p:--} ${m:--}"
    continue
  fi
  printf 'pid %s\ncomm %s\nuid %s\nns %s %s\n' "${d#/proc/}" "$c" "$u" "${p:--}" "${m:--}"
  case $x in [4-7]???) echo "set-user-ID" ;; esac
  if l=$(readlink "$d/exe" 2>/dev/null && echo .); then
    l=${l%??}
    case $l in *"$nl"*) l=$(printf %s "$l" | tr '\n' '\001') ;; esac
    printf 'exe %s\n' "$l"
  else echo "exe?"
  fi
  { read -r l <"$d/stat"; } 2>/dev/null && printf 'stat %s\n' "${l##*)}"
  { lines 's/^/arg /p' <"$d/cmdline"; } 2>/dev/null
  [ -r "$d/environ" ] || echo "environ?"
  { lines 's/^PATH=/path /p
    s/^NVIDIA_CTK_CONFIG_FILE_PATH=/toolkit /p
    s/^XDG_CONFIG_HOME=/xdg /p' <"$d/environ"; } 2>/dev/null
  # One that ended while it was looked at is not there: what could not be read of it was not refused.
  l=; { read -r l <"$d/stat"; } 2>/dev/null
  case ${l##*)} in ''|' Z '*|' X '*) echo gone ;; esac
done
echo "strangers $strangers"
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
PROCESS_LIST: Request = script("processes", _PROCESSES, timeout=10, since=2)
#: Snapshots of the first vocabulary have this list; its records say nothing of trust. No node is asked for it.
OLD_PROCESS_LIST: Request = script("list of processes", "", timeout=10)
# Two keys stand in the text: the arguments are the fact's key, and older snapshots have all but those.
UNIT_STATES: Request = script(
    "systemctl show",
    'exec systemctl show -p "$1,ExecStart,ExecMainStatus" -- $2',
    _UNIT_KEYS,
    " ".join(UNITS),
    limit=SHORT,
)
OS_RELEASE = (file("/etc/os-release"), file("/usr/lib/os-release"))
