"""The one POSIX sh script per round, and the reading of what it prints.

It runs under dash, bash and busybox ash; it writes nothing to the node. Each answer stands between lines that begin
with a nonce which the node cannot guess before it reads the script, so that any bytes survive between them:

    <nonce> <index> b            the answer begins; its bytes follow
    <nonce> <index> m            (commands, failed reads) standard error and exit status follow
    <nonce> <index> e <word>     it ended; word is a state, "rc" for a command, "failed" for a read that broke off

What is cut off in the middle is seen as begun and not ended.
"""

from __future__ import annotations

import math
import re
import shlex
from itertools import product
from typing import TYPE_CHECKING

from pytest_gpuready.node import trust
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import STATES, Fact, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Paths that one `stat` process is given at most.
STAT_CHUNK = 200

#: Lanes of commands that run on a node at the same time beside the main one, and what the answers of one may come to:
#: less than a pipe holds (64 KiB, pipe(7)), so that no command ever waits for a lane before it.
SIDE_LANES = 3
LANE_BYTES = 49_152

#: Most of a command's standard error that is taken, in bytes, and most of it that becomes a note, in characters.
ERROR_LIMIT = 65536
NOTE_LIMIT = 8192

#: The note of an answer that was begun and not ended.
LOST = "the connection ended in the middle of the answer"

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


def _askable(request: Request) -> bool:
    """Whether a shell can be given the question at all: no path and no argument holds a NUL or half a character."""
    try:
        return bool(request.arg) and not any(b"\0" in word.encode("utf-8", "surrogateescape") for word in request.arg)
    except UnicodeEncodeError:
        return False


def _pattern(pattern: str) -> list[str]:
    """Shell words for a glob: everything literal is quoted, only `*` and `?` stay; a class becomes `?`.

    Go's wildcards match a leading dot and sh's do not, so each segment that begins with one gets twins.
    The caller matches the names again by its own rules, so more than the pattern asks for does no harm.
    """
    choices: list[list[str]] = []
    for segment in _wild(pattern).split("/"):
        word = "".join(char if char in "*?" else shlex.quote(char) for char in segment)
        if segment.startswith("*"):
            choices.append([word, f".{word}", *([word[1:]] if segment.startswith("*.") else [])])
        else:
            choices.append([word, f".{word[1:]}"] if segment.startswith("?") else [word])
    return ["/".join(words) for words in product(*choices)]


def _wild(pattern: str) -> str:
    return re.sub(r"\[[^\]/]*\]", "?", pattern)


def render(requests: Sequence[Request], nonce: str) -> str:
    """The script of one round. Commands come last: what hangs costs nothing that stands before."""
    lines: list[str] = []
    stats: list[tuple[int, str]] = []
    commands: list[tuple[int, str]] = []
    files: list[str] = []
    programs: dict[str, None] = {}
    for index, request in enumerate(requests):
        if not _askable(request):
            lines.append(f"b {index}; e {index} absent")
        elif request.kind in ("file", "files") and (why := trust.unreadable(request.arg[0])):
            lines.append(f"y={shlex.quote(why)}; Z {index}")
        elif request.kind == "file":
            files.append(shlex.quote(request.arg[0]))
            lines.append(f"F {index} {request.limit + 1} {files[-1]}")
        elif request.kind == "stat":
            stats.append((index, request.arg[0]))
        elif request.kind in ("glob", "files"):
            if request.kind == "files":
                files.append(_folder(request.arg[0]))
            lines.extend(_glob_lines(index, request))
        elif request.kind in ("run", "script"):
            argv = ("sh", "-c", request.body, *request.arg) if request.kind == "script" else request.arg
            words = " ".join(shlex.quote(word) for word in argv)
            programs[shlex.quote(argv[0])] = None
            seconds = max(1, math.ceil(request.timeout))
            commands.append((request.limit, f"R {index} {request.limit + 1} {seconds} {words}"))
    for chunk in range(0, len(stats), STAT_CHUNK):
        lines.extend(_stat_lines(chunk // STAT_CHUNK, stats[chunk : chunk + STAT_CHUNK]))
    # Looked at together: one process for all.
    looks = [f"tV {' '.join(files)}"] if files else []
    if programs:
        looks.append(f"tq {' '.join(programs)}")
    return "\n".join([*looks, *lines, *_lanes(commands), f"printf '\\n%s end\\n' {nonce}", ""])


def _lanes(commands: Sequence[tuple[int, str]]) -> list[str]:
    """The commands (limit in bytes, line) in lanes that run side by side, without a file.

    A side lane's answers wait in a pipe until the lanes before it are through, and then come whole; only what surely
    fits into the pipe goes there. Most commands wait for a disk or another process.
    """
    block: list[str] = []
    side: list[list[str]] = [[] for _ in range(SIDE_LANES)]
    room = [LANE_BYTES] * SIDE_LANES
    for limit, line in commands:
        lane = max(range(SIDE_LANES), key=room.__getitem__)
        if limit <= room[lane]:
            side[lane].append(line)
            room[lane] -= limit
        else:
            block.append(line)
    for lines in side:
        if lines:
            block = ["( exec 4>&1", *lines, ") </dev/null | {", *block, "cat", "}"]
    return block


def _stat_lines(chunk: int, stats: Sequence[tuple[int, str]]) -> Iterator[str]:
    """One stat process for all that is there: paths become its arguments, their indexes $q."""
    yield "set --; q="
    for index, path in stats:
        yield (
            f"p={shlex.quote(path)}; "
            f'if [ -e "$p" ] && [ ! -L "$p" ]; then set -- "$@" "$p"; q="$q {index}"; else L {index} "$p"; fi'
        )
    yield f'Q S{chunk} "$q" "$@"'


def _folder(pattern: str) -> str:
    """Quote the folder above a pattern's first wildcard."""
    segments = _wild(pattern).split("/")
    first = next((place for place, segment in enumerate(segments) if "*" in segment or "?" in segment), -1)
    return shlex.quote("/".join(segments[:first]) or ("/" if pattern.startswith("/") else "."))


def _glob_lines(index: int, request: Request) -> Iterator[str]:
    pattern = request.arg[0]
    segments = _wild(pattern).split("/")
    wild = [place for place, segment in enumerate(segments) if "*" in segment or "?" in segment]
    folder = _folder(pattern)
    limit = request.limit + 1 if request.kind == "files" else 0
    look = f'ty {folder}; if [ -n "$y" ]; then Z {index}; el' if limit else ""
    # A folder that may not be listed is not an empty one; nor is one that a wildcard stands for.
    between = [
        word for place in wild if place < len(segments) - 1 for word in _pattern("/".join(segments[: place + 1]))
    ]
    yield (
        f"{look}if [ ! -d {folder} ]; then ms {folder}/x; b {index}; [ $s != absent ] || s=ok; e {index} $s; "
        f"elif [ ! -r {folder} ] || [ ! -x {folder} ]; then b {index}; e {index} denied; "
        f"else X {' '.join(between)}; G {index} {limit} $g {' '.join(_pattern(pattern))}; fi"
    )


def parse(output: bytes, requests: Sequence[Request], nonce: str) -> dict[Request, Fact]:
    """What a round's output answers. What was begun and not ended is `cut`; what was not begun is left out.

    Never raises, whatever the output is.
    """
    mark = f"\n{nonce} ".encode()
    frames: dict[str, dict[str, bytes]] = {}
    ends: dict[str, str] = {}
    # Every frame line starts with the mark; the bytes up to the next one belong to it.
    position = output.find(mark)
    while position >= 0:
        start = position + len(mark)
        newline = output.find(b"\n", start)
        if newline < 0:
            break
        words = output[start:newline].decode("ascii", "replace").split(" ")
        following = output.find(mark, newline)
        if words[1:] in (["b"], ["m"]):
            data = output[newline + 1 :] if following < 0 else output[newline + 1 : following]
            frames.setdefault(words[0], {})[words[1]] = _unmarked(data, mark) if following < 0 else data
        elif len(words) == 3 and words[1] == "e":
            ends[words[0]] = words[2]
        position = following
    return _facts(frames, ends, requests, nonce)


def _unmarked(data: bytes, mark: bytes) -> bytes:
    """The data without the beginning of a mark that the end of the output cut in two."""
    tails = (mark[:size] for size in range(len(mark), 0, -1))
    return next((data[: -len(tail)] for tail in tails if data.endswith(tail)), data)


def _facts(
    frames: dict[str, dict[str, bytes]], ends: dict[str, str], requests: Sequence[Request], nonce: str
) -> dict[Request, Fact]:
    answers: dict[Request, Fact] = {}
    for index, request in enumerate(requests):
        key = str(index)
        if key not in frames:
            continue
        answers[request] = _fact(request, frames[key], ends.get(key), nonce)
        if request.kind not in ("glob", "files"):
            continue
        # What stands after the last NUL is a path that was cut in two.
        paths = frames[key].get("b", b"").decode("utf-8", "surrogateescape").split("\0")[:-1]
        matches = dict.fromkeys(path for path in paths if _matched(path, request.arg[0]))
        found = b"".join(f"{path}\0".encode("utf-8", "surrogateescape") for path in matches)
        fact = answers[request]
        answers[request] = Fact(fact.state, found, note=fact.note)
        if request.kind == "files":
            for number, path in enumerate(paths):
                member = Request("file", (path,), limit=request.limit)
                sub = f"{index}.{number}"
                if path in matches and member not in answers:
                    answers[member] = (
                        _fact(member, frames[sub], ends.get(sub), nonce) if sub in frames else Fact("cut", note=LOST)
                    )
    by_index = {str(index): request for index, request in enumerate(requests)}
    for key, parts in frames.items():
        if key.startswith("S") and ends.get(key) != "failed":
            answers.update(_stat_facts(parts.get("b", b""), ended=key in ends, by_index=by_index))
    return answers


def _stat_facts(data: bytes, *, ended: bool, by_index: dict[str, Request]) -> Iterator[tuple[Request, Fact]]:
    first, _, rest = data.partition(b"\n")
    indexes = first.decode("ascii", "replace").split()
    rows = [row for row in rest.split(b"\n") if row]
    whole = ended and len(rows) == len(indexes)
    for place, word in enumerate(indexes):
        request = by_index.get(word)
        if request is not None:
            yield request, Fact("ok", rows[place]) if whole else Fact("cut", note=LOST)


def _matched(path: str, pattern: str) -> bool:
    """Whether the path has no `.` or `..` where the pattern has a wildcard; sh lets `.*` stand for them."""
    pairs = zip(path.split("/"), _wild(pattern).split("/"), strict=False)
    return not any(segment in (".", "..") and segment != asked for segment, asked in pairs)


def _fact(request: Request, parts: dict[str, bytes], end: str | None, nonce: str) -> Fact:
    data = parts.get("b", b"")
    if end is None:
        return Fact("cut", data[: request.limit], note=LOST)
    if end == "rc" and request.kind in ("run", "script"):
        return _run_fact(request, data, parts.get("m", b""), nonce)
    if end == "failed":
        return _failed_read(data[: request.limit], parts.get("m", b"").decode("utf-8", "replace"))
    if end == "odd":
        return Fact("odd", note=data.decode("ascii", "replace"))
    if end == "refused":
        return Fact("refused", note=one_line(data.decode("utf-8", "replace"), NOTE_LIMIT))
    if end not in STATES:
        return Fact("cut", data[: request.limit], note="the answer makes no sense")
    if request.kind == "file" and len(data) > request.limit:
        return Fact("cut", data[: request.limit], note=f"longer than {request.limit} bytes")
    if request.kind == "stat":
        data = data.rstrip(b"\n")
    return Fact("denied" if end == "denied" else "absent" if end == "absent" else "ok", data)


def _failed_read(data: bytes, words: str) -> Fact:
    """A file that was there and could not be read to its end: a security module, a bad disk, a process that ended."""
    note = one_line(words)
    if not data and re.search(r"(?:ermission denied|not permitted)\s*$", words):
        return Fact("denied", note=note)
    if not data and re.search(r"No such (?:file or directory|process)\s*$", words):
        return Fact("absent")
    return Fact("odd", data, note=f"cannot be read: {note}" if note else "cannot be read")


# What the loaders of glibc and musl say, with exit status 127, of a program that is there and lacks a library.
_LOADER = re.compile(
    r"error while loading shared libraries|Error loading shared library|Error relocating|symbol lookup error"
)


def _run_fact(request: Request, data: bytes, meta: bytes, nonce: str) -> Fact:
    mark = nonce.encode()
    time = rb"(\d{1,12}(?:\.\d{1,9})?)"
    match = re.search(mark + rb"-rc (\d{1,3}) " + time + b" " + time + rb" (there)?\n?", meta)
    done = re.search(rb"(?:^|\n)" + mark + rb"-out " + time, meta)
    errors = meta[: done.start()] if done else meta
    errors = errors[: match.start()] + errors[match.end() :] if match else errors
    note = errors.decode("utf-8", "replace").strip("\n")[:NOTE_LIMIT]
    if match is None or done is None:
        return Fact("cut", data[: request.limit], note=note or "its exit status was not seen")
    rc, began, ended = int(match[1]), float(match[2]), float(match[3])
    also = f" ({note})" if note else ""
    # 124: timeout ended it; 143, 137: TERM or KILL did. Without a clock each of them may have been the deadline.
    if rc in (124, 137, 143) and (ended == 0 or ended - began > request.timeout - 0.1):
        return Fact("timeout", data[: request.limit], rc, f"no answer within {request.timeout:g} s{also}")
    if rc == trust.REFUSED and request.kind == "script" and note.startswith("refused: "):
        return Fact("refused", b"", rc, note.removeprefix("refused: "))
    if rc == 137:
        return Fact("cut", data[: request.limit], rc, f"it was killed by signal 9 before it ended{also}")
    if ended and float(done[1]) - began > math.ceil(request.timeout) + 2.9:
        return Fact("timeout", data[: request.limit], rc, f"something that it started keeps its output open{also}")
    if len(data) > request.limit:
        return Fact("cut", data[: request.limit], rc, f"longer than {request.limit} bytes")
    if len(errors) >= ERROR_LIMIT:
        return Fact("cut", data, rc, f"more than {ERROR_LIMIT} bytes of error messages")
    if rc == 127 and not data and not (match[4] and request.kind == "run") and not _LOADER.search(note):
        return Fact("absent", b"", rc, note)
    return Fact("ok", data, rc, note)
