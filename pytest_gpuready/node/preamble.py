"""The functions of the sh script that every round needs, sent once in a session.

They run under dash, bash and busybox ash, write nothing to the node, and let only trusted folders stay on PATH.
"""

from __future__ import annotations

import shlex

from pytest_gpuready.node import trust

#: Where the programs are that judge PATH itself, and what follows the login's own PATH.
FIRST = "/usr/sbin:/usr/bin:/sbin:/bin"
FURTHER = ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The functions every round needs, sent once. $N is the nonce, file descriptor 4 the script's own output.
#  b/m/e  frame lines.
#  em     sets s for a link that leads nowhere: the shell's own words for the failed open tell loop, denied and absent
#         apart. Only for what is not there: opening a fifo would block.
#  ms     sets s for a path that is not seen: the nearest folder that is there decides.
#  F      a file's bytes. Untrusted ones are not opened (`trust`), nor are fifos and devices: reading one could block.
#  L      what lies at one path. Q: the same for many, by one process; if that fails (a path that is gone by then, a
#         command line too long, no stat) each is asked for by itself.
#  K      whether a match is there, and is no `.` or `..`.
#  G      a glob's matches (already expanded by the shell), separated by NUL; with a limit, the bytes of each too.
#  X      whether every folder that a wildcard stood for may be searched.
#  T      a command under its deadline. GNU timeout ends the command's group; one more timeout around it ends *it*,
#         should the command be past killing: a process in state D takes no signal, and timeout waits for it.
#  W      the same without GNU timeout: a watcher; setsid, where there is one, makes the group. (Busybox's timeout ends
#         no children, and its own watcher holds the pipes for up to a second.) USR1 wakes this very process, $o.
#  H      the first bytes of a pipe, for as long as a command may run and a little: something that the command left
#         behind may hold the other end for ever.
#  Z      refuses answer $1 for the reason in $y. P: whether a program may be run; $x is its path.
#  R      a command: output to fd 4 cut at a limit; standard error, status and times after it. The status line is one
#         write (bash flushes at every newline), so that it stays whole among the error messages.
PREAMBLE = (
    rf"""
unset ENV BASH_ENV CDPATH GREP_OPTIONS
unalias -a 2>/dev/null
set +e +f +u +x
P="$PATH{FURTHER}"
PATH={FIRST}
command -v ls >/dev/null 2>&1 || PATH=$P
LC_ALL=C
GPUREADY_TRUST={shlex.quote(trust.SHELL)}
GPUREADY_REFUSED=
GPUREADY_STAT=
export PATH LC_ALL GPUREADY_TRUST GPUREADY_REFUSED GPUREADY_STAT
IFS="$(printf ' \t\n.')"; IFS=${{IFS%.}}
eval "$GPUREADY_TRUST"
# Only folders whose programs root alone decides about stay on PATH; the others are named to the search for programs.
IFS=:; set -f; set -- $P; set +f; IFS=" $tT$tJ"
P=
for f do
  # Where these are links, what they lead to is on PATH as well.
  case $f in /bin|/sbin) [ ! -L "$f" ] || continue ;; esac
  case $f in /*) P=$P:$f ;; esac
done
IFS=:; set -f; set -- ${{P#:}}; set +f; IFS=" $tT$tJ"
tV "$@"
P=
for f do
  tw "$f"
  case $f in
    /*) if [ -z "$y" ]; then P=$P:$f; else GPUREADY_REFUSED=$GPUREADY_REFUSED:$f; fi ;;
  esac
done
PATH=${{P#:}}
exec 4>&1
"""
    r"""
b() { printf '\n%s %s b\n' "$N" "$1"; }
m() { printf '\n%s %s m\n%s' "$N" "$1" "$2"; }
e() { printf '\n%s %s e %s\n' "$N" "$1" "$2"; }
em() {
  s=absent
  case $( { : < "$1"; } 2>&1 ) in
    *oo\ many\ levels\ of\ symbolic\ links|*ymbolic\ link\ loop) s=odd ;;
    *ermission\ denied) s=denied ;;
  esac
}
ms() {
  d=$1; s=absent
  while :; do
    case $d in
      */*) d=${d%/*}; [ -n "$d" ] || d=/ ;;
      *) d=. ;;
    esac
    if [ -d "$d" ]; then [ -x "$d" ] || s=denied; return; fi
    if [ -e "$d" ]; then return; fi
    if [ -L "$d" ]; then em "$d"; return; fi
    case $d in /|.) return ;; esac
  done
}
Z() { b "$1"; printf '%s' "$y"; e "$1" refused; }
F() {
  ty "$3"
  if [ -n "$y" ]; then Z "$1"; return; fi
  b "$1"
  if [ -d "$3" ]; then printf 'is a directory'; e "$1" odd
  elif [ -f "$3" ]; then
    if [ ! -r "$3" ]; then e "$1" denied
    elif { head -c "$2" < "$3"; } 2>/dev/null; then e "$1" ok
    else m "$1" "$( { head -c 1 < "$3"; } 2>&1 >/dev/null )"; e "$1" failed; fi
  elif [ -e "$3" ]; then printf 'is no regular file'; e "$1" odd
  else
    if [ -L "$3" ]; then em "$3"; else ms "$3"; fi
    [ $s != odd ] || printf 'too many levels of symbolic links'
    e "$1" $s
  fi
}
SF='%f %u %g %s %Y %Z %t %T'
L() {
  b "$1"; s=ok
  if [ -e "$2" ]; then
    stat -L -c "$SF" -- "$2" 2>/dev/null
    [ ! -L "$2" ] || readlink -f -- "$2" 2>/dev/null
  elif [ -L "$2" ]; then em "$2"
  else ms "$2"; fi
  e "$1" $s
}
Q() {
  c=$1; q=$2; shift 2
  [ $# -gt 0 ] || return
  b "$c"; printf '%s\n' "$q"
  if stat -L -c "$SF" -- "$@" 2>/dev/null; then e "$c" ok; return; fi
  e "$c" failed
  for k in $q; do L "$k" "$1"; shift; done
}
K() {
  case ${1##*/} in .|..) return 1 ;; esac
  [ -e "$1" ] || [ -L "$1" ]
}
G() {
  i=$1; l=$2; g=$3; shift 3
  for f do
    shift
    if K "$f"; then set -- "$@" "$f"; fi
  done
  b "$i"
  [ $# -eq 0 ] || printf '%s\0' "$@"
  e "$i" "$g"
  [ "$l" -gt 0 ] || return
  tV "$@"
  j=0
  for f do F "$i.$j" "$l" "$f"; j=$((j+1)); done
}
X() {
  g=ok
  for f do
    if [ -d "$f" ] && { [ ! -r "$f" ] || [ ! -x "$f" ]; }; then g=denied; fi
  done
}
u() { { read -r u z </proc/uptime; } 2>/dev/null || u=0; }
if timeout --foreground -k 1 2 true 2>/dev/null; then
  T() { timeout -s KILL $(($1+2)) timeout -k 1 "$@"; }
  H() { timeout -s KILL $((t+3)) head -c "$1"; }
else
  S=; O=
  if command -v setsid >/dev/null 2>&1; then S=setsid; O=-; fi
  W() {
    w=$1; shift
    o=; { read -r o z </proc/self/stat; } 2>/dev/null
    trap : USR1
    { (exec $S "$@") <&5 5<&- & } 5<&0
    p=$!
    (
      trap 'kill $!; exit' TERM
      sleep "$w" & wait $!
      kill -TERM $O$p; sleep 1 & wait $!
      kill -KILL $O$p; sleep 1 & wait $!
      kill -USR1 $o
    ) </dev/null >/dev/null 2>&1 3>&- 4>&- & y=$!
    wait $p; r=$?
    kill $y 2>/dev/null
    return $r
  }
  T() { W "$@"; }
  H() { W $((t+3)) head -c "$1"; }
fi
P() { tp "$1"; y=; [ -z "$x" ] || ty "$x"; }
R() {
  i=$1; l=$2; t=$3; shift 3
  P "$1"
  if [ -n "$y" ]; then y="$x: $y"; Z "$i"; return; fi
  b "$i"
  { x=$( { { {
    u; a=$u
    T "$t" "$@" 3>&- 4>&-; r=$?
    u; k=
    if [ $r -eq 127 ]; then case $(command -v "$1") in */*) k=there ;; esac; fi
    printf '%s-rc %s %s %s %s\n' "$N" $r "$a" "$u" "$k" >&3
  } </dev/null | H "$l" >&4; } 2>&1 | H 65536 >&3; } 3>&1 ); } 2>/dev/null
  u
  m "$i" "$x
$N-out $u"
  e "$i" rc
}
"""
)


def preamble(nonce: str) -> str:
    """The functions, with the nonce of this session."""
    return f"N={nonce}\n{PREAMBLE}"
