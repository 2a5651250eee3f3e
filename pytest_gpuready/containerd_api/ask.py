"""Commands that put gRPC calls to a running containerd, for a node that may have curl, python3 or crictl.

Every command is an argument vector of one POSIX ``sh`` program. It writes no file, and whatever comes from a node (the
socket's path) is only ever a positional argument. What it prints is read by :mod:`.transcript`::

    via=curl|python3|crictl|none        one such head for each program that was tried; the last one counts
    socket=ok|absent|denied|other       what lies at the path, before any program is started
    ...                                 the program's answers

The programs, in order: curl (needs HTTP/2: it speaks gRPC without TLS, "h2c", over the socket), python3 (a small client
of its own, standard library, 3.6 or newer; also found as RHEL's platform-python), and crictl, which can only tell CRI
``Status``. Each call has its own deadline; the sum of a command's deadlines bounds it.

curl 7.88 loses an answer that comes before it has sent the call's body (exit 92), as "unknown service" does: measured
in 4 to 12 of 20 calls to containerd 1.6.20, 1.7.24 and 2.1.9. Asked again without a body, that answer came in 20 of 20.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

STATUS_PATH: Final = "/runtime.v1.RuntimeService/Status"
"""CRI ``Status``: served by containerd 1.6 and newer (1.5 speaks ``runtime.v1alpha2``; ctd v1.5.18:pkg/cri/server)."""
SERVER_PATH: Final = "/containerd.services.introspection.v1.Introspection/Server"
VERSION_PATH: Final = "/containerd.services.version.v1.Version/Version"

MAX_BODY: Final = 16_379
"""Most bytes of a call's message: with its five bytes of frame head it must fit in one HTTP/2 DATA frame."""
MAX_PATH: Final = 126
"""Most bytes of a method's path: its length is one HPACK octet."""

CLIENT: Final = r"""
import sys,time,socket as k
p,*a=sys.argv[1:]
t=time.monotonic()+sum(map(float,a[2::3]))
F=lambda t,f,s,b=b"":len(b).to_bytes(3,"big")+bytes([t,f])+s.to_bytes(4,"big")+b
S=lambda x:bytes([len(x)])+x.encode()
q=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+F(4,0,0,b"\0\1\0\0\0\0\0\4\x7f\xff\xff\xff")+F(8,0,0,b"\x7f\0\0\0")
o=set();s=1
for m,b in zip(a[::3],a[1::3]):
 q+=F(1,4,s,b"\x83\x86\1"+S("localhost")+b"\4"+S(m)+b"\x0f\x10"+S("application/grpc")+b"\0"+S("te")+S("trailers"))
 q+=F(0,1,s,bytes(int(x,8)for x in b.split("\\")[1:]))
 o.add(s);s+=2
D={};L=[];E="";b=b"";e=0
try:
 c=k.socket(k.AF_UNIX)
 def R(n):
  global b
  while len(b)<n:
   c.settimeout(max(t-time.monotonic(),.001))
   r=c.recv(65536)
   if not r:raise EOFError
   b+=r
  r=b[:n];b=b[n:]
  return r
 c.settimeout(max(t-time.monotonic(),.001))
 c.connect(p)
 c.sendall(q)
 while o:
  h=R(9);d=R(int.from_bytes(h[:3],"big"));T,f=h[3:5];s=int.from_bytes(h[5:],"big")&0x7fffffff
  if T==0:
   if f&8:d=d[1:len(d)-d[0]]
   D.setdefault(s,[]).append(d)
  if T in(4,6)and not f&1:c.sendall(F(T,1,0,d if T==6 else b""))
  if T in(1,3,7,9):L.append("frame=%d %d %d %s"%(T,f,s,d.hex()))
  if T<2:e=f&1
  if T==3 or e and(T==0 or T in(1,9)and f&4):o.discard(s)
except k.timeout:E="timeout"
except OSError as x:E="errno %s"%x.errno
except EOFError:E="eof"
w=sys.stdout.buffer.write
w("\n".join(L+["err="+E,""]).encode())
for n,m in enumerate(a[::3]):
 d=b"".join(D.get(2*n+1,[]))
 w(("rpc=%s\ndata=%d\n"%(m,len(d))).encode()+d+b"\n")
w(b"end\n")
"""
"""The h2c client: ``python3 -c CLIENT SOCKET (PATH BODY SECONDS)...``; all calls at once on one connection.

It asks for an empty HPACK table (SETTINGS_HEADER_TABLE_SIZE 0), so that each header block can be read by itself, and
puts a message's bytes together again, so that a text inside it is not torn by frame heads. It decodes nothing.
"""

SNIPPET: Final = r"""
LC_ALL=C; export LC_ALL
client=$1 sock=$2 info=$3; shift 3
none() { printf 'via=none\nsocket=%s\n' "$1"; exit 0; }
if [ ! -S "$sock" ]; then
  [ -e "$sock" ] && none other
  case $( (: <"$sock") 2>&1 ) in *ermission*) none denied;; esac
  none absent
fi
[ -w "$sock" ] || none denied
H() {
  curl -q -s -i --noproxy '*' --http2-prior-knowledge --unix-socket "$sock" \
    -H 'content-type: application/grpc' -H 'te: trailers' "$@" 2>/dev/null
  r=$?
  printf '\nrc=%s\n' "$r"
}
C() {
  while [ $# -gt 2 ]; do
    printf 'rpc=%s\n' "$1"
    printf "$2" | { H -m "$3" --data-binary @- "http://localhost$1"; exit $r; }
    r=$?
    case $r in
      1|2|4|16|126|127) return 1;;
      7) curl -q -s -v -m 1 --noproxy '*' --unix-socket "$sock" http://localhost/ 2>&1; return 0;;
      92) printf 'bare=%s\n' "$1"; H -m 1 -X POST "http://localhost$1";;
    esac
    shift 3
  done
}
if command -v curl >/dev/null 2>&1; then
  printf 'via=curl\nsocket=ok\n'
  C "$@" && exit 0
fi
for py in python3 /usr/libexec/platform-python; do
  if command -v "$py" >/dev/null 2>&1; then
    printf 'via=python3\nsocket=ok\n'
    "$py" -I -S -c "$client" "$sock" "$@" 2>/dev/null && exit 0
  fi
done
if [ "$info" = info ] && command -v crictl >/dev/null 2>&1; then
  printf 'via=crictl\nsocket=ok\n'
  crictl -t 2s -r "unix://$sock" info 2>&1
  printf '\nrc=%s\n' "$?"
  exit 0
fi
none ok
"""
"""``sh -c SNIPPET sh CLIENT SOCKET info|- (PATH BODY SECONDS)...``: a body is octal escapes, printf makes it bytes."""

ONLY_WITH_UUID: Final = r"""
r=
case $1 in
  /run/containerd/containerd.sock|/var/run/containerd/containerd.sock) r=/var/lib/containerd ;;
  /run/k3s/containerd/containerd.sock) r='/var/lib/rancher/k3s/agent/containerd
    /var/lib/rancher/rke2/agent/containerd' ;;
  /run/k0s/containerd.sock) r=/var/lib/k0s/containerd ;;
  /var/snap/microk8s/common/run/containerd.sock) r=/var/snap/microk8s/common/var/lib/containerd ;;
esac
u=
for d in $r; do
  for f in "$d"/*introspection*/uuid; do [ ! -e "$f" ] || u=$f; done
done
if [ -z "$u" ]; then
  s=$1 i=$2 k=$(($# / 3)); shift 2
  while [ "$k" -gt 0 ]; do
    case $1 in
      *.Introspection/Server) ;;
      *) set -- "$@" "$1" "$2" "$3" ;;
    esac
    shift 3; k=$((k - 1))
  done
  set -- "$s" "$i" "$@"
fi
"""
"""Before `SNIPPET`, with ``SOCKET info|- (PATH BODY SECONDS)...``: drops the call ``Server`` where it would write.

A daemon that is asked for it makes its uuid file if it has none yet (ctd v1.6.20:services/introspection/local.go
getUUID), so it is asked only where that file is in the usual root of the daemon at that socket.
"""

_PATH: Final = re.compile(r"/[A-Za-z0-9_.]+/[A-Za-z0-9_]+")


def unary(socket: str, path: str, body_hex: str = "", *, seconds: float = 4.5) -> tuple[str, ...]:
    """One unary call: the method's ``path`` (``/package.Service/Method``) and the request message's bytes in hex.

    ``body_hex`` is the protobuf message without the gRPC frame; empty is the empty message. ``seconds`` is the
    deadline. Without curl and python3 nobody can ask, and the command says so.

    Raises:
        ValueError: the path is no gRPC path or too long, the body no hex or too long, or the socket no absolute path.
    """
    return _command(socket, ((path, body_hex, seconds),), crictl=False)


def status_command(socket: str) -> tuple[str, ...]:
    """CRI ``Status`` with ``verbose``; the one question that crictl can put too."""
    return _command(socket, ((STATUS_PATH, "0801", 4.5),), crictl=True)


def server_command(socket: str) -> tuple[str, ...]:
    """The introspection service's ``Server``: uuid; pid, pidns and deprecations since 1.6.25 and 1.7.0."""
    return unary(socket, SERVER_PATH)


def version_command(socket: str) -> tuple[str, ...]:
    """The version service's ``Version``: the running daemon's, which an upgraded binary on disk does not tell."""
    return unary(socket, VERSION_PATH)


def ask_command(socket: str) -> tuple[str, ...]:
    """``Version``, ``Server`` and verbose CRI ``Status`` in one command, within 4.5 seconds."""
    return _command(socket, ((VERSION_PATH, "", 1.2), (SERVER_PATH, "", 0.8), (STATUS_PATH, "0801", 2.5)), crictl=True)


def _command(socket: str, calls: Sequence[tuple[str, str, float]], *, crictl: bool) -> tuple[str, ...]:
    if not socket.startswith("/") or "\0" in socket:
        raise ValueError(f"not an absolute path of a socket: {socket!r}")
    arguments: list[str] = []
    for path, body_hex, seconds in calls:
        if not _PATH.fullmatch(path) or len(path) > MAX_PATH:
            raise ValueError(f"not the path of a gRPC method: {path!r}")
        body = bytes.fromhex(body_hex)
        if len(body) > MAX_BODY:
            raise ValueError(f"a request of {len(body)} bytes, more than {MAX_BODY}")
        framed = b"\0" + len(body).to_bytes(4, "big") + body
        arguments += [path, "".join(f"\\{byte:03o}" for byte in framed), f"{seconds:g}"]
    return ("sh", "-c", SNIPPET, "sh", CLIENT, socket, "info" if crictl else "-", *arguments)
