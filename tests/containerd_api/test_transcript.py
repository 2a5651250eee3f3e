"""What curl, the python3 client and crictl print, made by hand where a daemon cannot be made to say it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.containerd_api.transcript import Call, connect_problem, parse_transcript
from tests.containerd_api.support import (
    OK_HEADERS,
    OK_TRAILERS,
    curl_call,
    curl_output,
    frame,
    frame_line,
    literal,
    python_output,
)

HEADERS, RST, GOAWAY, CONTINUATION = 1, 3, 7, 9
BARE = b"bare=/a.B/C\n" + curl_call("/a.B/C", b"", status=12, text="unknown service a.B").split(b"\n", 1)[1]


def only(data: bytes) -> Call:
    (call,) = parse_transcript(data).calls
    return call


def ok_frames(stream: int = 1) -> bytes:
    return frame_line(HEADERS, 4, stream, OK_HEADERS) + frame_line(HEADERS, 5, stream, OK_TRAILERS)


@pytest.mark.parametrize(
    "message", [b"", b"\0\1\2\xff", b"\r\n\r\ngrpc-status: 5\r\n", b"\nrc=0\nrpc=/x.Y/Z\n", b"via=none\nsocket=ok\n"]
)
def test_any_bytes_survive_both_ways(message: bytes) -> None:
    """Both give lengths, so a message may hold the words of the output itself."""
    by_curl = only(curl_output(curl_call("/a.B/C", message)))
    by_python = only(python_output(ok_frames(), ("/a.B/C", frame(message))))
    assert by_curl == by_python == Call("/a.B/C", "answered", 0, "", message)


def test_several_calls_keep_their_order() -> None:
    output = curl_output(curl_call("/a.B/C", b"1"), curl_call("/a.B/D", b"", status=5, text="none"))
    assert [(call.path, call.outcome, call.grpc_status) for call in parse_transcript(output).calls] == [
        ("/a.B/C", "answered", 0),
        ("/a.B/D", "error", 5),
    ]


def test_an_empty_line_after_curls_trailers_does_not_matter() -> None:
    """Measured without one on curl 7.88; a response's headers end in one."""
    output = curl_output(curl_call("/a.B/C", b"1").replace(b"\r\n\nrc", b"\r\n\r\n\nrc"))
    assert only(output).outcome == "answered"


def test_an_interim_response_does_not_matter() -> None:
    output = curl_output(curl_call("/a.B/C", b"1").replace(b"HTTP/2 200", b"HTTP/2 100 \r\n\r\nHTTP/2 200"))
    assert only(output).outcome == "answered"


def test_the_answer_to_a_call_without_a_body_counts_where_the_first_was_lost() -> None:
    lost = b"rpc=/a.B/C\n\nrc=92\n"
    assert only(curl_output(lost, BARE)) == Call("/a.B/C", "error", 12, "unknown service a.B")


def test_the_answer_to_a_call_without_a_body_counts_only_if_it_says_unimplemented() -> None:
    """Any other answer may be about the missing body."""
    lost = b"rpc=/a.B/C\n\nrc=92\n"
    assert only(curl_output(lost, BARE.replace(b": 12", b": 13"))).outcome == "broken"
    assert only(curl_output(lost, b"bare=/a.B/C\n\nrc=28\n")).outcome == "broken"


@pytest.mark.parametrize(
    ("output", "outcome", "detail"),
    [
        (b"rpc=/a.B/C\n\nrc=28\n", "timeout", "deadline"),
        (b"rpc=/a.B/C\n\nrc=56\n", "broken", "curl exit 56"),
        (b"rpc=/a.B/C\n", "broken", "cut"),
        (b"rpc=/a.B/C\nHTTP/2 200 \r\ncontent-type: app", "broken", "cut"),
        (b"rpc=/a.B/C\nHTTP/2 200 \r\n\r\n\0\0\0\0\x09abc\nrc=28\n", "timeout", "deadline"),
        (b"rpc=/a.B/C\nHTTP/2 200 \r\n\r\n\0\0\0\0\x09abc\nrc=18\n", "broken", "curl exit 18"),
        (b"rpc=/a.B/C\nHTTP/2 200 \r\n\r\n<html>\nrc=0\n", "broken", "no gRPC answer"),
        (b"rpc=/a.B/C\nHTTP/2 404 \r\n\r\nnot found\nrc=0\n", "broken", "HTTP status 404"),
        (b"rpc=/a.B/C\nHTTP/2 200 \r\ngrpc-status: x\r\n\r\n\nrc=0\n", "broken", "no grpc-status"),
        (b"rpc=/a.B/C\nHTTP/2 200 \r\ngrpc-status: 0\r\n\r\n\nrc=0\n", "broken", "no message"),
    ],
)
def test_what_curl_could_not_get_is_told_apart(output: bytes, outcome: str, detail: str) -> None:
    call = only(curl_output(output))
    assert (call.outcome, call.message) == (outcome, None)
    assert detail in call.detail


@pytest.mark.parametrize(
    ("frames", "body", "error", "outcome", "detail"),
    [
        (b"", b"", "timeout", "timeout", "deadline"),
        (frame_line(HEADERS, 4, 1, OK_HEADERS), b"\0\0", "timeout", "timeout", "deadline"),
        (b"", b"", "eof", "broken", "eof"),
        (frame_line(RST, 0, 1, b"\0\0\0\7"), b"", "", "broken", "reset the call, code 7"),
        (frame_line(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\1x"), b"", "eof", "broken", "closed the connection, code 1"),
        (frame_line(HEADERS, 5, 1, b"\x8d"), b"", "", "broken", "HTTP status 404"),
        (frame_line(HEADERS, 5, 1, b"\xbe"), b"", "", "broken", "in no table"),
        (frame_line(HEADERS, 5, 1, b"\x88"), b"", "", "broken", "no grpc-status"),
        (frame_line(HEADERS, 0xD, 1, b"\xff"), b"", "", "broken", "padded"),
        (ok_frames(), b"\1\0\0\0\0", "", "broken", "unknown kind"),
        (ok_frames(), b"\0\0\0\0\5ab", "", "broken", "is cut"),
        (ok_frames(), b"", "", "broken", "no message"),
    ],
)
def test_what_python3_could_not_get_is_told_apart(
    frames: bytes, body: bytes, error: str, outcome: str, detail: str
) -> None:
    call = only(python_output(frames, ("/a.B/C", body), error=error))
    assert (call.outcome, call.message) == (outcome, None)
    assert detail in call.detail


def test_header_blocks_in_several_frames_with_padding_and_priority() -> None:
    """RFC 9113 sections 6.2 and 6.10; containerd's server writes such blocks only when they are long."""
    frames = (
        frame_line(HEADERS, 0x28, 1, b"\2" + b"\0\0\0\0\x10" + OK_HEADERS[:4] + b"\0\0")
        + frame_line(CONTINUATION, 4, 1, OK_HEADERS[4:])
        + frame_line(HEADERS, 5, 1, OK_TRAILERS)
    )
    assert only(python_output(frames, ("/a.B/C", frame(b"1")))).message == b"1"


def test_a_refusal_that_the_server_follows_by_a_reset_is_a_refusal() -> None:
    """A server that answers before it has read the body resets the stream afterwards (RFC 9113 section 8.1)."""
    refusal = OK_HEADERS + literal(b"grpc-status", b"12") + literal(b"grpc-message", b"unknown service a.B")
    frames = frame_line(HEADERS, 5, 1, refusal) + frame_line(RST, 0, 1, b"\0\0\0\0")
    call = only(python_output(frames, ("/a.B/C", b"")))
    assert call == Call("/a.B/C", "error", 12, "unknown service a.B")


@pytest.mark.parametrize(
    ("number", "socket"), [(2, "absent"), (13, "denied"), (111, "stale"), (11, "busy"), (107, "ok"), ("None", "ok")]
)
def test_why_python3_could_not_connect(number: object, socket: str) -> None:
    transcript = parse_transcript(python_output(b"", ("/a.B/C", b""), error=f"errno {number}"))
    assert (transcript.socket, transcript.calls[0].outcome) == (socket, "broken")


@pytest.mark.parametrize(
    ("text", "socket"),
    [
        ("* Immediate connect fail for /s: Connection refused", "stale"),
        ("* Immediate connect fail for /s: Permission denied", "denied"),
        ("*   Trying /s:0...\n* Failed to connect to localhost port 80", "busy"),
        ("*   Trying /s:0...\n* Immediate connect fail for /s: Protocol wrong type for socket", "ok"),
    ],
)
def test_why_curl_could_not_connect(text: str, socket: str) -> None:
    output = curl_output(b"rpc=/a.B/C\n\nrc=7\n", text.encode() + b"\n")
    assert parse_transcript(output).socket == socket


def test_the_last_program_counts() -> None:
    output = curl_output(b"rpc=/a.B/C\n\nrc=2\n") + python_output(ok_frames(), ("/a.B/C", frame(b"1")))
    transcript = parse_transcript(output)
    assert (transcript.via, transcript.calls[0].message) == ("python3", b"1")
    nobody = parse_transcript(curl_output(b"rpc=/a.B/C\n\nrc=2\n") + b"via=python3\nsocket=ok\nvia=none\nsocket=ok\n")
    assert (nobody.via, nobody.calls) == ("none", ())


@pytest.mark.parametrize("length", range(len(python_output(ok_frames(), ("/a.B/C", frame(b"1"))))))
def test_a_cut_output_of_python3_is_never_taken_for_a_whole_answer(length: int) -> None:
    whole = python_output(ok_frames(), ("/a.B/C", frame(b"1")))
    calls = parse_transcript(whole[:length]).calls
    assert all(call.outcome == "broken" or call.message == b"1" for call in calls)


@pytest.mark.parametrize("length", range(len(curl_output(curl_call("/a.B/C", b"1")))))
def test_a_cut_output_of_curl_is_never_taken_for_an_answer(length: int) -> None:
    calls = parse_transcript(curl_output(curl_call("/a.B/C", b"1"))[:length]).calls
    assert all(call.outcome == "broken" or call.message == b"1" for call in calls)


@pytest.mark.parametrize("data", [b"", b"\n", b"bash: sh: not found", b"via=wget\nsocket=ok\n", b"via=curl\n"])
def test_what_is_no_output_of_ours_is_said(data: bytes) -> None:
    transcript = parse_transcript(data)
    assert (transcript.via, transcript.calls) == ("none", ())
    assert transcript.detail


def test_an_unknown_word_about_the_socket_says_nothing() -> None:
    assert parse_transcript(b"via=none\nsocket=fine\n").socket == "ok"


def test_words_about_a_connection_are_found_in_any_case() -> None:
    assert connect_problem("dial unix /s: connect: Connection Refused") == "stale"
    assert connect_problem("all is well") is None


PIECES = st.sampled_from(
    [
        b"via=curl\nsocket=ok\n",
        b"via=python3\nsocket=ok\n",
        b"via=crictl\nsocket=ok\n",
        b"rpc=/a.B/C\n",
        b"bare=/a.B/C\n",
        b"HTTP/2 200 \r\n",
        b"grpc-status: 0\r\n",
        b"\r\n",
        b"\0\0\0\0\1a",
        b"\nrc=0\n",
        b"\nrc=7\n",
        b"frame=1 4 1 88\n",
        b"err=\n",
        b"rpc=/a.B/C\ndata=6\n",
        b"data=99999999\n",
        b"end\n",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=10), max_size=25).map(b"".join))
def test_no_bytes_raise(data: bytes) -> None:
    transcript = parse_transcript(data)
    assert all((call.outcome == "answered") == (call.message is not None) for call in transcript.calls)
