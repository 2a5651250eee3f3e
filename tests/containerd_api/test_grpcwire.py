"""gRPC frames and protobuf's wire format."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.containerd_api.grpcwire import (
    MAX_FIELDS,
    DecodeError,
    Message,
    encode,
    frame,
    status_message,
    take_frame,
    take_unary,
)

NUMBERS = st.integers(1, (1 << 29) - 1)


@given(st.binary(max_size=300))
def test_a_frame_holds_its_message(message: bytes) -> None:
    assert take_unary(frame(message)) == message


@given(st.binary(max_size=50), st.integers(1, 55))
def test_a_cut_frame_is_an_error(message: bytes, cut: int) -> None:
    with pytest.raises(DecodeError, match="cut"):
        take_frame(frame(message)[:-cut])


def test_a_compressed_frame_is_an_error() -> None:
    with pytest.raises(DecodeError, match="unknown kind"):
        take_frame(b"\1\0\0\0\0")


def test_a_second_message_is_an_error_in_a_unary_answer() -> None:
    with pytest.raises(DecodeError, match="5 bytes follow"):
        take_unary(frame(b"a") + frame(b""))


@given(st.lists(st.tuples(NUMBERS, st.integers(0, (1 << 64) - 1) | st.text() | st.binary())))
def test_what_is_encoded_is_decoded(fields: list[tuple[int, int | str | bytes]]) -> None:
    message = Message.decode(encode(fields))
    for number, value in fields:
        assert (value.encode() if isinstance(value, str) else value) in message.fields[number]
    assert sum(map(len, message.fields.values())) == len(fields)


def test_the_encoding_guides_examples() -> None:
    """protobuf.dev/programming-guides/encoding: 150 in field 1, "testing" in field 2, -2 in 64 bits."""
    assert encode([(1, 150)]) == bytes.fromhex("089601")
    assert encode([(2, "testing")]) == bytes.fromhex("120774657374696e67")
    assert encode([(1, -2)]) == bytes.fromhex("08feffffffffffffffff01")
    assert encode([(1, True)]) == b"\x08\x01"


@pytest.mark.parametrize("field", [(0, 1), (1 << 29, 1), (1, 1 << 64), (1, -(1 << 63) - 1)])
def test_what_is_out_of_range_is_not_encoded(field: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        encode([field])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_decode_error(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        message = Message.decode(data)
        for number in message.fields:
            for read in (message.integer, message.text, message.messages, message.string_map):
                with contextlib.suppress(DecodeError):
                    read(number)


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # no value
        b"\x08" + b"\x80" * 10 + b"\1",  # a varint of eleven bytes
        b"\x08" + b"\xff" * 9 + b"\x7f",  # a varint of 70 bits
        b"\x00\x01",  # field 0
        b"\x0b",  # a group
        b"\x0f",  # wire type 7
        b"\x0a\x05abcd",  # four of five bytes
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # 2^64 - 1 bytes
        b"\x09abcdefg",  # seven of eight bytes
        b"\x0dabc",  # three of four bytes
        b"\x08\x00" * (MAX_FIELDS + 1),
    ],
)
def test_bad_fields_are_errors(data: bytes) -> None:
    with pytest.raises(DecodeError):
        Message.decode(data)


def test_absent_fields_are_empty_and_the_last_of_several_counts() -> None:
    message = Message.decode(encode([(1, 5), (1, 6), (2, "a"), (2, "b")]))
    assert (message.integer(1), message.text(2), message.integer(3), message.text(3)) == (6, "b", 0, "")
    assert (message.messages(3), message.string_map(3)) == ((), {})


def test_fixed_fields_are_little_endian_integers() -> None:
    assert Message.decode(b"\x0d\1\0\0\0").integer(1) == 1
    assert Message.decode(b"\x09\0\1\0\0\0\0\0\0").integer(1) == 256


def test_a_field_of_another_type_is_an_error() -> None:
    message = Message.decode(encode([(1, 5), (2, "a")]))
    with pytest.raises(DecodeError, match="not length-delimited"):
        message.text(1)
    with pytest.raises(DecodeError, match="no integer"):
        message.integer(2)


def test_a_map_is_its_entries() -> None:
    entries = [(2, encode([(1, "a"), (2, "x")])), (2, encode([(1, "b")])), (2, encode([(1, "a"), (2, "y")]))]
    assert Message.decode(encode(entries)).string_map(2) == {"a": "y", "b": ""}


def test_a_status_message_is_percent_decoded() -> None:
    assert status_message(b"caf%C3%A9 100%25 %zz %ff") == "café 100% %zz \ufffd"
