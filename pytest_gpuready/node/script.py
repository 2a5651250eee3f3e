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
