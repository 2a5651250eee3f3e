"""What a command of :mod:`.ask` printed, as calls and their outcomes, whichever program put them.

Nothing here raises for bad input: what cannot be read is a call whose outcome is ``broken``, with the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, cast, get_args

from pytest_gpuready.containerd_api.grpcwire import DecodeError, status_message, take_frame, take_unary
from pytest_gpuready.containerd_api.hpack import decode_headers

if TYPE_CHECKING:
    from collections.abc import Iterable

Via = Literal["curl", "python3", "crictl", "none"]
"""The program that asked; ``none``: no program could, or none was needed since nobody listens."""

Socket = Literal["ok", "absent", "denied", "other", "stale", "busy"]
"""``other``: a file that is no socket; ``stale``: nobody listens (ECONNREFUSED); ``busy``: no connection is taken."""

Outcome = Literal["answered", "error", "timeout", "broken"]
"""``answered``: grpc-status 0; ``error``: another grpc-status; ``broken``: no gRPC answer that can be read."""

UNIMPLEMENTED: Final = 12
"""The grpc-status of a service or method that the daemon does not serve."""

_HEAD: Final = re.compile(rb"via=(curl|python3|crictl|none)\nsocket=([a-z-]+)\n")
_CALL: Final = re.compile(rb"(rpc|bare)=([^\n]*)\n")
_CODE: Final = re.compile(rb"\nrc=(\d{1,3})\n(?=rpc=|bare=|via=|\*|\Z)")
_FRAME: Final = re.compile(rb"frame=(\d{1,2}) (\d{1,3}) (\d{1,10}) ((?:[0-9a-f]{2})*)\n")
_ERROR: Final = re.compile(rb"err=([^\n]*)\n")
_DATA: Final = re.compile(rb"rpc=([^\n]*)\ndata=(\d{1,10})\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/\S+ (\d{3})")

_HEADERS, _RST, _GOAWAY, _CONTINUATION = 1, 3, 7, 9
_END_HEADERS, _PADDED, _PRIORITY = 4, 8, 0x20
_CURL_CONNECT, _CURL_TIMEOUT, _CURL_STREAM = 7, 28, 92

_ERRNO: Final[dict[str, Socket]] = {
    "1": "denied",
    "2": "absent",
    "11": "busy",
    "13": "denied",
    "20": "absent",
    "111": "stale",
}
_CONNECT_TEXT: Final[tuple[tuple[str, Socket], ...]] = (
    ("connection refused", "stale"),
    ("permission denied", "denied"),
    ("no such file", "absent"),
    ("resource temporarily unavailable", "busy"),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One gRPC call: ``message`` is the answer's bytes, without the frame; ``detail`` says why there is none."""

    path: str
    outcome: Outcome
    grpc_status: int | None = None
    grpc_message: str = ""
    message: bytes | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that a command printed. ``crictl`` is that program's whole output and exit code, when it was the one."""

    via: Via
    socket: Socket
    calls: tuple[Call, ...] = ()
    crictl: tuple[bytes, int | None] | None = None
    detail: str = ""

    def call(self, path: str) -> Call | None:
        """The call of a method, if it was put."""
        return next((call for call in self.calls if call.path == path), None)


def parse_transcript(data: bytes) -> Transcript:
    """Read a command's standard output; of several programs the last one tried counts.

    Without a head that can be read, ``via`` is ``none``, the socket ``ok`` and ``detail`` says what is wrong.
    """
    result = Transcript("none", "ok", detail="the command printed nothing" if not data else "the answer has no head")
    place = 0
    while head := _HEAD.match(data, place):
        via = cast("Via", head[1].decode())
        named = head[2].decode()
        socket: Socket = cast("Socket", named) if named in get_args(Socket) else "ok"
        place = head.end()
        if via == "curl":
            result, place = _curl(data, place)
        elif via == "python3":
            # A python3 that cannot run prints nothing, and the next program was tried.
            result, place = _python(data, place) if not _HEAD.match(data, place) else (result, place)
        else:
            crictl = _crictl(data[place:]) if via == "crictl" else None
            result, place = Transcript(via, socket, crictl=crictl), len(data)
    return result


def connect_problem(text: str) -> Socket | None:
    """What a program's message says about the socket, in the C locale's words; None if nothing known."""
    text = text.lower()
    return next((socket for words, socket in _CONNECT_TEXT if words in text), None)


# ---------------------------------------------------------------------------------------------------------------- curl


def _curl(data: bytes, place: int) -> tuple[Transcript, int]:
    calls: list[Call] = []
    socket: Socket = "ok"
    detail = ""
    while found := _CALL.match(data, place):
        path = found[2].decode("utf-8", "replace")
        call, code, place = _curl_call(path, data, found.end())
        if found[1] == b"rpc":
            calls.append(call)
        elif calls and calls[-1].outcome == "broken" and call.grpc_status == UNIMPLEMENTED:
            calls[-1] = call
        if code == _CURL_CONNECT:
            following = _HEAD.search(data, place)
            stop = following.start() if following else len(data)
            detail = data[place:stop].decode("utf-8", "replace").strip()
            socket = connect_problem(detail) or socket
            if socket == "ok" and "Trying" in detail and "Immediate connect fail" not in detail:
                # curl takes EAGAIN, a full queue of connections, for a connect under way, and names no reason then.
                socket = "busy"
            place = stop
    return Transcript("curl", socket, tuple(calls), detail=detail), place


def _curl_call(path: str, data: bytes, place: int) -> tuple[Call, int | None, int]:
    """A call's outcome, curl's exit code (None: cut off before it) and the place of what follows."""
    try:
        headers, message, stop = _curl_response(data, place)
        end = _CODE.match(data, stop)
    except DecodeError as error:
        headers, message, end = {}, None, None
        reason = str(error)
    else:
        reason = "no answer"
    end = end or _CODE.search(data, place)
    if end is None:
        return Call(path, "broken", detail="the answer is cut"), None, len(data)
    code = int(end[1])
    if not headers and code == 0:
        return Call(path, "broken", detail=f"no gRPC answer: {reason}"), code, end.end()
    return (
        _outcome(path, headers, message, timeout=code == _CURL_TIMEOUT, problem=f"curl exit {code}" if code else ""),
        code,
        end.end(),
    )


def _curl_response(data: bytes, place: int) -> tuple[dict[bytes, bytes], bytes | None, int]:
    """Headers and trailers as one, the message, and the place after them, where curl's exit code stands."""
    headers: dict[bytes, bytes] = {}
    message: bytes | None = None
    status = b""
    while found := _STATUS_LINE.match(data, place):
        status = found[1]
        lines, after = _header_lines(data, place)
        if after == place:
            raise DecodeError("the headers are cut")
        headers.update(lines)
        place = after
    if not status:
        return {}, None, place
    if status != b"200":
        raise DecodeError(f"HTTP status {status.decode()}")
    if data[place : place + 1] == b"\0":
        message, place = take_frame(data, place)
    while not _CODE.match(data, place):
        lines, after = _header_lines(data, place)
        if after == place:
            raise DecodeError("what follows the headers is neither a message nor trailers")
        headers.update(lines)
        place = after
    return headers, message, place


def _header_lines(data: bytes, place: int) -> tuple[dict[bytes, bytes], int]:
    """Header lines up to an empty one (taken) or to the line before curl's exit code (left)."""
    headers: dict[bytes, bytes] = {}
    while not _CODE.match(data, place):
        stop = data.find(b"\r\n", place)
        if stop < 0:
            break
        name, _, value = data[place:stop].partition(b":")
        place = stop + 2
        if not name:
            break
        headers[name.strip().lower()] = value.strip()
    return headers, place


# ------------------------------------------------------------------------------------------------------------- python3


def _python(data: bytes, place: int) -> tuple[Transcript, int]:
    frames: dict[int, list[tuple[int, int, bytes]]] = {}
    while found := _FRAME.match(data, place):
        frames.setdefault(int(found[3]), []).append((int(found[1]), int(found[2]), bytes.fromhex(found[4].decode())))
        place = found.end()
    error = _ERROR.match(data, place)
    if error is None:
        return Transcript("python3", "ok", detail="the answer is cut"), len(data)
    place = error.end()
    problem = error[1].decode("utf-8", "replace")
    socket: Socket = _ERRNO.get(problem.removeprefix("errno "), "ok") if not frames else "ok"
    # GOAWAY stands on stream 0: last stream's number, code, a text.
    closed = [payload[4:8] for kind, _, payload in frames.get(0, ()) if kind == _GOAWAY and len(payload) >= 8]
    why = f"the server closed the connection, code {int.from_bytes(closed[0], 'big')}" if closed else problem
    calls: list[Call] = []
    stream = 1
    while found := _DATA.match(data, place):
        path = found[1].decode("utf-8", "replace")
        stop = found.end() + int(found[2])
        if stop >= len(data):
            calls.append(Call(path, "broken", detail="the answer is cut"))
            return Transcript("python3", socket, tuple(calls), detail=problem), len(data)
        body = data[found.end() : stop]
        calls.append(_python_call(path, frames.get(stream, ()), body, why, timeout=problem == "timeout"))
        place, stream = stop + 1, stream + 2
    end = b"end\n"
    if data.startswith(end, place):
        place += len(end)
    return Transcript("python3", socket, tuple(calls), detail=problem), place


def _python_call(path: str, frames: Iterable[tuple[int, int, bytes]], body: bytes, why: str, *, timeout: bool) -> Call:
    headers: dict[bytes, bytes] = {}
    block: bytes | None = None
    message: bytes | None = None
    try:
        for kind, flags, payload in frames:
            if kind == _RST:
                why = f"the server reset the call, code {int.from_bytes(payload[:4], 'big')}"
            elif kind == _HEADERS:
                block = _unpadded(flags, payload)
            elif kind == _CONTINUATION and block is not None:
                block += payload
            if kind in (_HEADERS, _CONTINUATION) and flags & _END_HEADERS and block is not None:
                headers.update(decode_headers(block))
                block = None
        if headers and headers.get(b":status") != b"200":
            status = headers.get(b":status", b"").decode("ascii", "replace")
            return Call(path, "broken", detail=f"no gRPC answer: HTTP status {status}")
        if body and headers.get(b"grpc-status") == b"0":
            message = take_unary(body)
    except DecodeError as error:
        return Call(path, "broken", detail=f"no gRPC answer: {error}")
    return _outcome(path, headers, message, timeout=timeout, problem=why)


def _unpadded(flags: int, payload: bytes) -> bytes:
    """A HEADERS frame's block without padding and priority (RFC 9113 section 6.2)."""
    if flags & _PADDED:
        if not payload or payload[0] >= len(payload):
            raise DecodeError("a padded header frame is cut")
        payload = payload[1 : len(payload) - payload[0]]
    return payload[5:] if flags & _PRIORITY else payload


# -------------------------------------------------------------------------------------------------------- all of them


def _outcome(path: str, headers: dict[bytes, bytes], message: bytes | None, *, timeout: bool, problem: str) -> Call:
    raw = headers.get(b"grpc-status", b"")
    if not re.fullmatch(rb"[0-9]{1,3}", raw):
        if timeout:
            return Call(path, "timeout", detail="no answer within the deadline")
        return Call(path, "broken", detail=f"no gRPC answer: {problem or 'no grpc-status'}")
    call = Call(path, "error", int(raw), status_message(headers.get(b"grpc-message", b"")))
    if call.grpc_status:
        return call
    if message is None:
        return replace(call, outcome="broken", detail="grpc-status 0, but no message")
    return replace(call, outcome="answered", message=message)


def _crictl(data: bytes) -> tuple[bytes, int | None]:
    text, mark, code = data.rpartition(b"\nrc=")
    if not mark or not re.fullmatch(rb"\d{1,3}\n?", code):
        return data, None
    return text, int(code)
