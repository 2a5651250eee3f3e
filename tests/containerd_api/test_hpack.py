"""HPACK header blocks without a dynamic table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.containerd_api.grpcwire import DecodeError
from pytest_gpuready.containerd_api.hpack import _CODES, decode_headers, decode_huffman

_BITS = {octet: (length, code) for (length, code), octet in _CODES.items()}


def _huffman(data: bytes) -> bytes:
    bits = "".join(f"{_BITS[octet][1]:0{_BITS[octet][0]}b}" for octet in data)
    bits += "1" * (-len(bits) % 8)
    return int(bits or "0", 2).to_bytes(len(bits) // 8, "big")


@pytest.mark.parametrize(
    ("coded", "text"),
    [
        ("f1e3c2e5f23a6ba0ab90f4ff", b"www.example.com"),  # RFC 7541 C.4.1
        ("a8eb10649cbf", b"no-cache"),  # C.4.2
        ("25a849e95ba97d7f", b"custom-key"),  # C.4.3
        ("25a849e95bb8e8b4bf", b"custom-value"),
        ("d07abe941054d444a8200595040b8166e082a62d1bff", b"Mon, 21 Oct 2013 20:13:21 GMT"),  # C.6.1
        ("94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
         b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),  # C.6.3
    ],
)  # fmt: skip
def test_the_rfcs_huffman_examples(coded: str, text: bytes) -> None:
    assert decode_huffman(bytes.fromhex(coded)) == text


@given(st.binary(max_size=100))
def test_every_octet_has_a_code(data: bytes) -> None:
    assert decode_huffman(_huffman(data)) == data


def test_codes_that_appendix_b_names() -> None:
    """The first, the last of its length, and the longest: were a length wrong, the codes behind it would shift."""
    assert (_BITS[ord("0")], _BITS[ord(" ")], _BITS[ord("Z")]) == ((5, 0x0), (6, 0x14), (8, 0xFD))
    assert (_BITS[0], _BITS[10], _BITS[255], _BITS[256]) == (
        (13, 0x1FF8), (30, 0x3FFFFFFC), (26, 0x3FFFFEE), (30, 0x3FFFFFFF),
    )  # fmt: skip


@pytest.mark.parametrize("coded", ["ffffffff", "00ff00"[:2] + "fe", "ff", "fffffffe"])
def test_bad_huffman_padding_is_an_error(coded: str) -> None:
    with pytest.raises(DecodeError, match="Huffman"):
        decode_huffman(bytes.fromhex(coded))


def test_a_response_of_static_names_literals_and_huffman() -> None:
    block = b"\x88" + b"\x5f\x10application/grpc" + b"\x00\x88" + _huffman(b"grpc-status") + b"\x0212"
    assert len(_huffman(b"grpc-status")) == 8
    assert decode_headers(block) == [
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"12"),
    ]


def test_a_change_of_the_tables_size_is_no_header() -> None:
    assert decode_headers(b"\x20\x3f\xe1\x1f\x88") == [(b":status", b"200")]


def test_a_long_value_is_read() -> None:
    assert decode_headers(b"\x10\x01a\x7f\x80\x01" + b"b" * 255) == [(b"a", b"b" * 255)]


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xbe",  # index 62, the dynamic table's first
        b"\x7f\x80\x01\x01a",  # a name beyond the static table
        b"\x00",  # no name
        b"\x00\x01",  # a cut name
        b"\x00\x01a",  # no value
        b"\x00\x01a\x05b",  # a cut value
        b"\xff",  # a cut integer
        b"\xff\xff\xff\xff\xff\xff\x01",  # an integer without end
    ],
)
def test_bad_blocks_are_errors(block: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_headers(block)


@given(st.binary(max_size=100))
def test_any_bytes_are_headers_or_a_decode_error(block: bytes) -> None:
    try:
        fields = decode_headers(block)
    except DecodeError:
        return
    assert all(isinstance(name, bytes) and isinstance(value, bytes) for name, value in fields)
