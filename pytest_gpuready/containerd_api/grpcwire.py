"""gRPC frames and protobuf's wire format, without a schema compiler.

Sources: gRPC over HTTP/2 (grpc/grpc:doc/PROTOCOL-HTTP2.md), protobuf's encoding guide. What comes off a node is
hostile: every length is checked before it is used, and nothing but :class:`DecodeError` is raised for bad input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_FIELDS: Final = 100_000
"""Most fields read of one message; a CRI status has some dozens, and two bytes can make a field."""

_FRAME_HEAD: Final = 5
_MAX_VARINT: Final = 10
_MASK64: Final = (1 << 64) - 1
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


class DecodeError(ValueError):
    """The bytes are not what they should be: cut, out of bounds, or of another format."""


def frame(message: bytes) -> bytes:
    """A message as one uncompressed gRPC frame: a zero byte, four bytes of length, the message."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def take_frame(data: bytes, start: int = 0) -> tuple[bytes, int]:
    """The message of the gRPC frame at ``start``, and the place after it.

    Raises:
        DecodeError: the frame is cut or compressed (no compression was offered), or this is no frame.
    """
    head = data[start : start + _FRAME_HEAD]
    if len(head) < _FRAME_HEAD:
        raise DecodeError("the head of a gRPC frame is cut")
    if head[0] != 0:
        raise DecodeError(f"a gRPC frame of an unknown kind ({head[0]})")
    stop = start + _FRAME_HEAD + int.from_bytes(head[1:], "big")
    if stop > len(data):
        raise DecodeError(f"a gRPC frame is cut: {len(data) - start} of {stop - start} bytes")
    return data[start + _FRAME_HEAD : stop], stop


def take_unary(data: bytes) -> bytes:
    """The one message of a unary call's data.

    Raises:
        DecodeError: there is no whole frame, or something follows it.
    """
    message, stop = take_frame(data)
    if stop != len(data):
        raise DecodeError(f"{len(data) - stop} bytes follow the message of a unary call")
    return message


def status_message(value: bytes) -> str:
    """The text of a ``grpc-message`` header: percent-encoded UTF-8; what does not decode is kept or replaced."""
    return _PERCENT.sub(lambda found: bytes([int(found[1], 16)]), value).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Message:
    """A protobuf message: field number to its values in their order, varints and fixed ones as int, others as bytes.

    The accessors follow proto3: an absent field is the empty value, and of several the last counts. They raise
    :class:`DecodeError` for a field of another wire type than asked for.
    """

    fields: Mapping[int, tuple[int | bytes, ...]]

    @classmethod
    def decode(cls, data: bytes) -> Message:
        """Read a message.

        Raises:
            DecodeError: a field is cut, numbered 0, of a group or an unknown wire type, or there are too many.
        """
        fields: dict[int, list[int | bytes]] = {}
        place = count = 0
        while place < len(data):
            count += 1
            if count > MAX_FIELDS:
                raise DecodeError(f"more than {MAX_FIELDS} fields in a message")
            key, place = _take_varint(data, place)
            number, wire = key >> 3, key & 7
            if not 0 < number < 1 << 29:
                raise DecodeError(f"a field with the impossible number {number}")
            value: int | bytes
            if wire == _VARINT:
                value, place = _take_varint(data, place)
            elif wire == _LENGTH:
                length, place = _take_varint(data, place)
                value, place = _take(data, place, length)
            elif wire in (_FIXED32, _FIXED64):
                raw, place = _take(data, place, 4 if wire == _FIXED32 else 8)
                value = int.from_bytes(raw, "little")
            else:
                raise DecodeError(f"field {number} has the unknown wire type {wire}")
            fields.setdefault(number, []).append(value)
        return cls(MappingProxyType({number: tuple(values) for number, values in fields.items()}))

    def integers(self, number: int) -> tuple[int, ...]:
        """All values of an integer field; a packed field is not unpacked."""
        values = self.fields.get(number, ())
        if not all(isinstance(value, int) for value in values):
            raise DecodeError(f"field {number} is no integer")
        return tuple(value for value in values if isinstance(value, int))

    def blobs(self, number: int) -> tuple[bytes, ...]:
        """All values of a length-delimited field."""
        values = self.fields.get(number, ())
        if not all(isinstance(value, bytes) for value in values):
            raise DecodeError(f"field {number} is not length-delimited")
        return tuple(value for value in values if isinstance(value, bytes))

    def integer(self, number: int) -> int:
        """An unsigned integer field, 0 when absent."""
        return (self.integers(number) or (0,))[-1]

    def text(self, number: int) -> str:
        """A string field, empty when absent; bytes that are no UTF-8 are replaced."""
        return (self.blobs(number) or (b"",))[-1].decode("utf-8", "replace")

    def messages(self, number: int) -> tuple[Message, ...]:
        """All messages of a repeated message field."""
        return tuple(Message.decode(value) for value in self.blobs(number))

    def string_map(self, number: int) -> dict[str, str]:
        """A ``map<string, string>`` field: of equal keys the last counts."""
        return {entry.text(1): entry.text(2) for entry in self.messages(number)}


def encode(fields: Iterable[tuple[int, int | str | bytes]]) -> bytes:
    """A protobuf message of (field number, value) pairs: int and bool as varints, str and bytes length-delimited.

    A nested message is the bytes of another ``encode``; a map entry is ``encode([(1, key), (2, value)])``. Negative
    integers are written in 64 bits, as int32 and int64 are.

    Raises:
        ValueError: a field number or an integer is out of range.
    """
    out = bytearray()
    for number, value in fields:
        if not 0 < number < 1 << 29:
            raise ValueError(f"a field number out of range: {number}")
        if isinstance(value, int):
            if not -(1 << 63) <= value <= _MASK64:
                raise ValueError(f"an integer out of range: {value}")
            out += _varint(number << 3 | _VARINT) + _varint(value & _MASK64)
        else:
            raw = value.encode() if isinstance(value, str) else value
            out += _varint(number << 3 | _LENGTH) + _varint(len(raw)) + raw
    return bytes(out)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _take_varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT):
        if place + index >= len(data):
            raise DecodeError("a varint is cut")
        byte = data[place + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if value > _MASK64:
                raise DecodeError("a varint of more than 64 bits")
            return value, place + index + 1
    raise DecodeError(f"a varint of more than {_MAX_VARINT} bytes")


def _take(data: bytes, place: int, length: int) -> tuple[bytes, int]:
    if length > len(data) - place:
        raise DecodeError(f"a field of {length} bytes where {len(data) - place} are left")
    return data[place : place + length], place + length
