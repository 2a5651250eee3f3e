"""The node's side: POSIX sh for dash, bash and busybox. A guard, what it runs, and how it cleans up.

The guard is a session of its own, so that what ends the login (Ctrl-C here, a lost connection) does not end it. It
waits for the work to end, for its deadline, or for the end of the login's standard input (descriptor 7); then it takes
away whatever bears this run's name: containers, tasks, snapshots, images and leases of its own containerd namespace and
the daemon's empty folders of it, pods and images of the kubelet's by their label, control groups, its folder. Nothing
else is touched.

Names that the parts share, all set by :func:`.script.render`: N the nonce, R the run's name (also its namespace), K its
label's value, C ctr, A the daemon's socket, S the deadline of one container in seconds.
"""

from __future__ import annotations

from typing import Final

LABEL: Final = "gpuready.run"
"""The label that everything of a run bears."""

MEMORY: Final = 1024 * 1024 * 1024
"""Most memory of one container, in bytes."""

PIDS: Final = 256
"""Most processes of a run's containers, or of one container."""

OUTPUT: Final = 32_768
"""Most that is kept of what one container prints, in bytes."""

STOPPING: Final = 60
"""Seconds that the guard takes at most to end what runs and to clean up, after its deadline."""

#: u: seconds since boot. b, e: a section begins and ends. J: a command under its deadline, as a section; its status is
#: $r. c: ctr. Descriptor 8 is the output.
TOOLS: Final = r"""
LC_ALL=C; export LC_ALL
stop=
u() { { read -r u z </proc/uptime; } 2>/dev/null || u=0; }
b() { u; began=$u; printf '\n%s b %s\n' "$N" "$1" >&8; }
e() { u; printf '\n%s e %s %s %s %s\n' "$N" "$1" "$2" "$began" "$u" >&8; }
if timeout -k 1 2 true 2>/dev/null; then t() { timeout -k 2 "$@"; }
else
  t() {
    w=$1; shift
    "$@" & p=$!
    ( sleep "$w"; kill -TERM $p; sleep 2; kill -KILL $p ) >/dev/null 2>&1 8>&- & y=$!
    wait $p; q=$?
    kill $y 2>/dev/null
    return $q
  }
fi
J() {
  n=$1 s=$2; shift 2
  b "$n"
  r=$( {
    { t "$s" "$@" </dev/null 3>&- 7<&- 8>&-; printf %s $? >&3; } 2>&1 | { head -c 32768 >&8; cat >/dev/null; }
  } 3>&1 )
  e "$n" "$r"
}
c() { t 20 "$C" -a "$A" -n "$@" </dev/null 2>/dev/null 7<&- 8>&-; }
"""

#: What all of a run's containers together may have; /$R is where ctr puts those of the namespace $R.
LIMITS: Final = rf"""
for g in /sys/fs/cgroup/pids /sys/fs/cgroup; do
  if [ -e "$g/cgroup.procs" ] && mkdir "$g/$R" 2>/dev/null; then
    echo {PIDS} 2>/dev/null >"$g/$R/pids.max"
  fi
done
"""

#: folders: those of the daemon that are left of our own namespace, by `script`. empty: remove the empty ones.
#: X NAMESPACE ID: take a container away, whatever state it is in. D: everything of our own namespace. Y: pods. N: the
#: image in the kubelet's namespace, by every name that it has there: CRI gives each image one more, its id.
CLEAN: Final = r"""
X() {
  c "$1" tasks kill -s KILL "$2" >/dev/null
  c "$1" tasks rm -f "$2" >/dev/null
  c "$1" containers rm "$2" >/dev/null
}
I() { c k8s.io images ls | sed -n "s|^\([^ ]*\)  *[^ ]*  *$1 .*|\1|p"; }
N() {
  h=$(c k8s.io images ls "name==$T" | sed -n '2s|^[^ ]*  *[^ ]*  *\(sha256:[0-9a-f]*\) .*|\1|p')
  [ -n "$h" ] || return
  for k in 1 2 3; do
    set -- $(I "$h")
    [ $# -gt 0 ] || break
    for x do c k8s.io images rm --sync "$x" >/dev/null; done
  done
}
D() {
  for x in $(c "$R" tasks ls -q) $(c "$R" containers ls -q); do X "$R" "$x"; done
  for x in $(c "$R" images ls -q); do c "$R" images rm --sync "$x" >/dev/null; done
  for x in $(c "$R" leases ls -q); do c "$R" leases rm --sync "$x" >/dev/null; done
  for k in 1 2 3; do
    set -- $(c "$R" snapshots ls | sed -n '2,$s/[[:space:]].*//p')
    [ $# -gt 0 ] || break
    for x do c "$R" snapshots rm "$x" >/dev/null; done
  done
  for x in $(c "$R" content ls -q); do c "$R" content rm "$x" >/dev/null; done
  c "$R" namespaces rm "$R" >/dev/null
}
empty() {
  for k in 1 2 3 4 5 6 7 8 9 10; do
    folders | while IFS= read -r x; do rmdir "$x"; done
    [ -n "$(folders)" ] || break
    sleep 0.2 2>/dev/null || sleep 1
  done
}
G() {
  for g in /sys/fs/cgroup/"$R" /sys/fs/cgroup/*/"$R"; do
    [ -d "$g" ] || continue
    for k in 1 2 3 4 5; do
      find "$g" -depth -type d -exec rmdir {} \; 2>/dev/null
      [ -d "$g" ] || break
      sleep 0.2 2>/dev/null || sleep 1
    done
  done
}
O() { c k8s.io containers ls -q "labels.\"gpuready.run\"==$K"; }
kill_all() {
  [ -z "$OWN" ] || for x in $(c "$R" tasks ls -q); do c "$R" tasks kill -s KILL "$x" >/dev/null; done
  [ -n "$SHARED" ] || return
  for x in $(c default tasks ls -q | grep "^$R-"); do c default tasks kill -s KILL "$x" >/dev/null; done
}
clean() {
  shims=
  if [ -n "$PODS" ]; then
    # A pod that is still being made is in no list of pods; the daemon takes it away itself once its call is gone.
    for k in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
      Y
      g=$(O)
      [ -n "$left$g" ] || break
      sleep 1
    done
    for x in $g; do X k8s.io "$x"; done
    # containerd 2.1 forgets a pod that is removed while a container of it starts, and leaves its shim.
    [ -n "$left" ] || for k in 0 0 TERM TERM KILL KILL end; do
      shims=$(E)
      [ -n "$shims" ] && [ $k != end ] || break
      kill -$k $shims
      sleep 0.5 2>/dev/null || sleep 1
    done
    N
  fi
  if [ -n "$SHARED" ]; then
    for x in $(c default containers ls -q | grep "^$R-"); do X default "$x"; done
  fi
  if [ -n "$OWN" ]; then
    c "$R" images rm --sync "$OWN" >/dev/null
    c "$R" namespaces rm "$R" >/dev/null || D
  fi
  rm -rf "/run/$R" "/tmp/$R"
  # A ctr that was killed leaves its pipes (containerd defaults/defaults_unix.go: DefaultFIFODir).
  for x in /run/containerd/fifo/*/"$R"-*; do [ ! -e "$x" ] || rm -rf "${x%/*}"; done
  empty
  G
}
left() {
  if [ -n "$OWN" ] && c default namespaces ls -q | grep -qxF "$R"; then echo "the containerd namespace $R"; fi
  if [ -n "$SHARED" ]; then c default containers ls -q | grep "^$R-"; fi
  if [ -n "$PODS" ]; then
    c k8s.io images ls -q "name==$T"; O; Y
    [ -z "$left" ] || echo "pods: $left"
    [ -z "$shims" ] || echo "shims, by process: $shims"
  fi
  for x in /run/"$R" /tmp/"$R" /run/containerd/fifo/*/"$R"-* /sys/fs/cgroup/"$R" /sys/fs/cgroup/*/"$R"; do
    [ ! -e "$x" ] || echo "$x"
  done
  folders
}
"""

#: The guard, after the work is defined as the function `work`. L: the deadline of all of it, in seconds.
GUARD: Final = r"""
( trap 'stop=1' TERM; work ) & wp=$!
running() { [ -d /proc/$wp ] && ! grep -q '^State:.[ZX]' /proc/$wp/status 2>/dev/null; }
trap 'stop=1' TERM
lw= dw=
if { : <&7; } 2>/dev/null; then
  setsid sh -c 'exec 8>&- >/dev/null 2>&1; cat <&7; kill -TERM "$1"' sh $$ & lw=$!
fi
setsid sh -c 'exec 7<&- 8>&- >/dev/null 2>&1; sleep "$1"; kill -TERM "$2"' sh "$L" $$ & dw=$!
exec 7<&-
wait $wp
if [ -n "$stop" ] && running; then
  kill -TERM $wp
  k=0
  while running && [ $k -lt 25 ]; do kill_all; sleep 1; k=$((k+1)); done
  kill -KILL $wp 2>/dev/null
fi
b clean
clean >/dev/null 2>&1
e clean 0
b left; left >&8 2>/dev/null; e left 0
for x in $lw $dw; do kill -KILL -$x 2>/dev/null || kill -KILL $x 2>/dev/null; done
"""
