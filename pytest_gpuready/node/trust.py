"""Trust: which files, sockets, programs and processes of a node may decide what the suite reads, runs or asks.

The suite often runs as root, and a node's unprivileged users are hostile: nothing that they can write or name may
decide which file root reads, which program it runs, or which socket it connects to. Both halves of the rule live here:
`SHELL`, which the node applies to paths, and `refusal`, which applies to processes.

A path is trusted if every entry on the way, each link resolved, belongs to root or to the login itself, and if no other
user can replace what lies behind it: a directory is writable by its owner alone, by a group without login users, or it
is sticky. What lies below a trusted chain of directories can be changed by root alone, so that it is still what was
checked when it is read, run or connected to.

A process is trusted if the kernel says that it runs as root (or as the login), in the login's own PID and mount
namespace, and was not started from a set-user-ID file. A container of a tenant runs as uid 0 too, in other namespaces.
Another mount namespace counts only where it is init's, or where systemd names the process as the main one of a service:
units with PrivateTmp= and its kind have a namespace of their own.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

# The functions that judge a path on the node. They print nothing; their results are shell variables.
#  tV PATH…   look at every entry on the way to each path. tU gets a line "ENTRY<tab>REASON" for each refused entry, tL
#             a line "ENTRY<tab>TARGET" for each link, whose target is looked at in turn.
#  tw PATH    set y to the reason why a path is refused, empty where it is trusted. tV must have looked at it.
#  ty PATH    both for one path.
#  tx PATH…   end the script with REFUSED where a path is refused.
#  tf NAMES FOLDERS   set tF to a line for each file of these names, in the order of the folders; they are looked at.
#             Names are separated by blanks, folders by colons.
#  tp NAME    set x to the file that typing a program's name runs, empty where there is none.
#  tq NAME…   look at the files that typing programs' names runs.
#  tn PATH    tw for a name with a line break, which no list can hold: the folder, and the entry by itself.
#  tv ENTRY MODE UID GID   judge one entry, into y.
#  tW GID     whether a login user is in the group, or nothing tells.
#  ts ENTRY…  print "MODE UID GID ENTRY" for each entry that is there, links not followed; for $(…) alone.
# tI: the effective uid. tK: the entries that were looked at. tD: depth. tJ, tT: a newline, a tab.
# What cannot be looked at is refused.
# Entries of /proc and /sys are the kernel's, whoever they belong to: in a user namespace their owner has no number.
SHELL = r"""
tJ='
'
tT='	'
tU= tL= tK=$tJ tD=0 tI=
{ while read -r ta tb tc td; do [ "$ta" != Uid: ] || tI=$tc; done </proc/self/status; } 2>/dev/null
[ -n "$tI" ] || tI=$(id -u)
: "${GPUREADY_STAT:=$(stat -c %A / 2>/dev/null || echo none)}"
if [ "$GPUREADY_STAT" != none ]; then ts() { exec stat -c '%A %u %g %n' -- "$@" 2>/dev/null; }
else
  ts() {
    IFS=' '
    for ta do
      set -- $(ls -ldn -- "$ta" 2>/dev/null)
      [ $# -lt 5 ] || printf '%s\n' "$1 $3 $4 $ta"
    done
  }
fi
tW() (
  m=
  while IFS=: read -r a b c m; do [ "$c" != "$1" ] || break; c=; done </etc/group || exit 0
  [ "$c" = "$1" ] || exit 0
  m=,$m,
  while IFS=: read -r a b u g c d s; do
    k=
    case $m in *",$a,"*) k=1; m=${m%%",$a,"*},${m#*",$a,"} ;; esac
    [ -n "$k" ] || [ "$g" = "$1" ] || continue
    case $u in 0|"$tI") continue ;; esac
    case $s in */nologin|*/false) ;; *) exit 0 ;; esac
  done </etc/passwd || exit 0
  case $m in *[!,]*) exit 0 ;; esac
  exit 1
)
tv() {
  y=
  case $1 in /proc|/sys|/sys/*|/proc/[!0-9]*) return ;; esac
  case $3 in 0|"$tI") ;; *) y="$1 belongs to uid $3"; return ;; esac
  case $2 in
    d????????[tT]*|[!d-]*) ;;
    ????????w*) y="every user may write to $1" ;;
    ?????w*)
      case $(ls -ldn -- "$1" 2>/dev/null) in
        ??????????+*) y="an access control list lets others write to $1" ;;
        *) ! tW "$4" || y="group $4 may write to $1" ;;
      esac
  esac
}
tV() {
  tB=
  for ta do
    case $ta in *"$tJ"*|[!/]*|'') continue ;; esac
    while :; do
      case $tK in *"$tJ$ta$tJ"*) break ;; esac
      tK=$tK$ta$tJ tB=$tB$ta$tJ
      [ "$ta" != / ] || break
      ta=${ta%/*}
      [ -n "$ta" ] || ta=/
    done
  done
  [ -n "$tB" ] || return 0
  if [ "$tD" = 0 ]; then ti=$IFS; case $- in *f*) tf= ;; *) tf=1; set -f ;; esac; fi
  IFS=$tJ
  set -- $tB
  set -- $(ts / "$@")
  [ $# -gt 0 ] || tU=$tU/${tT}'nothing on the node tells who owns it'$tJ
  tB=
  for tr do
    tm=${tr%% *} tr=${tr#* }
    tu=${tr%% *} tr=${tr#* }
    tg=${tr%% *} tr=${tr#* }
    tv "$tr" "$tm" "$tu" "$tg"
    [ -z "$y" ] || tU=$tU$tr$tT$y$tJ
    case $tm in l*) tB=$tB$tr$tJ ;; esac
  done
  set -- $tB
  tB=
  for tr do
    ta=$(readlink -- "$tr")
    case $ta in
      /proc/self/mounts) ;;
      /proc/*|/sys/kernel/*) tU="$tU$tr${tT}it leads to $ta$tJ" ;;
      '') tU="$tU$tr${tT}it cannot be followed$tJ" ;;
      /*) ;;
      *) ta=${tr%/*}/$ta ;;
    esac
    tL=$tL$tr$tT$ta$tJ tB=$tB$ta$tJ
  done
  if [ $# -gt 0 ]; then
    tD=$((tD+1))
    set -- $tB
    tV "$@"
    tD=$((tD-1))
  fi
  if [ "$tD" = 0 ]; then IFS=$ti; [ -z "$tf" ] || set +f; fi
}
tw() {
  y=
  case $1 in
    '') return ;;
    *"$tJ"*) tn "$1"; return ;;
    /*) ;;
    *) y='it is no absolute path'; return ;;
  esac
  [ -n "$tU" ] || return 0
  ta=$1
  while :; do
    case $tJ$tU in *"$tJ$ta$tT"*) tr=$tJ$tU; y=${tr#*"$tJ$ta$tT"}; y=${y%%"$tJ"*}; return ;; esac
    case $tJ$tL in
      *"$tJ$ta$tT"*)
        tr=$tJ$tL tr=${tr#*"$tJ$ta$tT"}
        set -- "$ta" "${tr%%"$tJ"*}"
        # More links than the kernel follows (path_resolution(7)): nothing is behind them.
        [ "$tD" -lt 40 ] || return 0
        tD=$((tD+1))
        tw "$2"
        tD=$((tD-1))
        [ -z "$y" ] || return 0
        ta=$1 ;;
    esac
    [ "$ta" != / ] || return 0
    ta=${ta%/*}
    [ -n "$ta" ] || ta=/
  done
}
tn() {
  y='its name has a line break'
  case ${1%/*} in *"$tJ"*) return ;; esac
  [ ! -L "$1" ] || return 0
  ty "${1%/*}"
  [ -z "$y" ] || return 0
  ta=$IFS; IFS=' '
  set -- "$1" $(ts "$1")
  IFS=$ta
  [ $# -lt 4 ] || tv "$1" "$2" "$3" "$4"
}
ty() { tV "$1"; tw "$1"; }
tx() {
  tV "$@"
  for tb do
    tw "$tb"
    [ -z "$y" ] || { printf 'refused: %s: %s\n' "$tb" "$y" >&2; exit 125; }
  done
}
tf() {
  tF= tb=$2 ti=$IFS
  set -f
  IFS=' '
  set -- $1
  IFS=:
  for ta in $tb; do
    case $ta in /bin|/sbin) [ ! -L "$ta" ] || continue ;; /*) ;; *) continue ;; esac
    for tb do
      [ -f "$ta/$tb" ] || continue
      case $tJ$tF in *"$tJ$ta/$tb$tJ"*) ;; *) tF=$tF$ta/$tb$tJ ;; esac
    done
  done
  IFS=$tJ
  set -- $tF
  tV "$@"
  IFS=$ti
  set +f
}
tp() {
  x=
  case $1 in */*) x=$1; return ;; esac
  ti=$IFS; IFS=:
  for ta in $PATH; do
    if [ -f "$ta/$1" ] && [ -x "$ta/$1" ]; then x=$ta/$1; break; fi
  done
  IFS=$ti
}
tq() {
  tc=
  for tb do tp "$tb"; [ -z "$x" ] || tc=$tc$x$tJ; done
  [ -n "$tc" ] || return 0
  tb=$IFS; IFS=$tJ
  set -f; set -- $tc; set +f
  IFS=$tb
  tV "$@"
}
"""

#: Exit status of a script that came to an untrusted path: its standard error is `refused: ` and the reason.
REFUSED = 125
#: What a script of the suite begins with that judges paths itself; `PREAMBLE` exports the functions,
#: without which it ends.
USE = 'eval "${GPUREADY_TRUST:?}"\n'

#: Files of the kernel that the suite reads. Others below /proc and /sys may block, consume, or be another process's.
_KERNEL_FILES = re.compile(
    r"/proc/(?:driver/nvidia/.*|devices|modules|self/mounts|self/uid_map|[0-9]+/root/.*)|"
    r"/sys/(?:module|devices|class|bus|firmware|fs/selinux)/.*"
)


def unreadable(path: str) -> str | None:
    """Return the reason why a path is never opened, whoever owns it; None if it may be looked at."""
    plain = posixpath.normpath(path)
    if plain.startswith(("/proc/", "/sys/")) and not _KERNEL_FILES.fullmatch(plain):
        return "it is a file of the kernel that the suite does not know"
    return None


#: Why a process of root that is in no container may not be followed either.
FOREIGN_NAMESPACE = "runs in a mount namespace that is not a service's"


#: A reason that `SHELL` gives → what of chown and chmod makes its entry root's alone.
_REASONS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?:.*: )?(/[^:]*) belongs to uid \d+"), "chown root:"),
    (re.compile(r"(?:.*: )?every user may write to (/[^:]*)"), "chmod o-w"),
    (re.compile(r"(?:.*: )?group \d+ may write to (/[^:]*)"), "chmod g-w"),
    (re.compile(r"(?:.*: )?an access control list lets others write to (/[^:]*)"), "setfacl -b"),
)


def way_out(reason: str) -> tuple[str, str] | None:
    """Return the command (without its last word) and the entry that make a path trusted; None: no command does."""
    found = ((pattern.fullmatch(reason), command) for pattern, command in _REASONS)
    return next(((command, match[1]) for match, command in found if match is not None), None)


@dataclass(frozen=True)
class Credentials:
    """What the kernel says of a process: user numbers (real, effective, saved, file system), namespaces' numbers.

    None where it does not say. `set_uid`: its program's file gives its user away.
    """

    uids: tuple[int, ...] = ()
    pid_namespace: int | None = None
    mount_namespace: int | None = None
    set_uid: bool = False


@dataclass(frozen=True)
class Login:
    """Who looks, and where: the login's user number, its namespaces, and init's mount namespace."""

    uid: int | None
    pid_namespace: int | None
    mount_namespace: int | None
    init_mount_namespace: int | None


def refusal(process: Credentials, login: Login, service_namespaces: Collection[int | None]) -> str | None:
    """Return why a process may not be followed, as a clause; None if it is trusted.

    `service_namespaces` are the mount namespaces of services' main processes, which systemd may have given their own.
    """
    strangers = [uid for uid in process.uids if uid not in (0, login.uid)]
    if strangers or not process.uids:
        return f"runs as uid {strangers[0]}" if strangers else "hides its user"
    if process.set_uid:
        return "was started from a set-user-ID program"
    if process.pid_namespace is not None and process.pid_namespace != login.pid_namespace:
        return "runs in a container"
    known = (None, login.mount_namespace, login.init_mount_namespace, *service_namespaces)
    # A rootless containerd of the login's own user has namespaces of its own; it is followed with that user's rights.
    rootless = login.uid != 0 and set(process.uids) == {login.uid}
    if process.mount_namespace not in known and not rootless:
        return FOREIGN_NAMESPACE
    return None
