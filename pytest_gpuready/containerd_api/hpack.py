"""HPACK header blocks (RFC 7541) of a peer that was told to keep no dynamic table.

The h2c client in :mod:`.ask` announces a table of size 0, so a block may use the static table, literals and Huffman
coding only, and each block can be read by itself. An index beyond the static table is an error.
"""

from __future__ import annotations

from typing import Final

from pytest_gpuready.containerd_api.grpcwire import DecodeError

_NAMES: Final = """
:authority | :method=GET | :method=POST | :path=/ | :path=/index.html | :scheme=http | :scheme=https | :status=200 |
:status=204 | :status=206 | :status=304 | :status=400 | :status=404 | :status=500 | accept-charset |
accept-encoding=gzip, deflate | accept-language | accept-ranges | accept | access-control-allow-origin | age | allow |
authorization | cache-control | content-disposition | content-encoding | content-language | content-length |
content-location | content-range | content-type | cookie | date | etag | expect | expires | from | host | if-match |
if-modified-since | if-none-match | if-range | if-unmodified-since | last-modified | link | location | max-forwards |
proxy-authenticate | proxy-authorization | range | referer | refresh | retry-after | server | set-cookie |
strict-transport-security | transfer-encoding | user-agent | vary | via | www-authenticate
"""
_STATIC: Final = tuple(entry.strip().partition("=")[::2] for entry in _NAMES.split("|"))
"""RFC 7541 appendix A, index 1 first."""

_LENGTHS: Final = (
    "ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHF"
    "IBCCCCCCCCCCCCCCCCCCCCCCDCDIOIJBKABABABBBACCBBBABCBAABCCCCCKGJIX"
    "PRPPRRRSRSSSSSTSTTRSTSSSSQRSRSSTRQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRS"
    "VVPORSRUVVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUUTTVSVWVVWWWWWXWWWWWV"
    "Z"
)
"""RFC 7541 appendix B as code lengths, A for 5 bits to Z for 30, of the octets 0 to 255 and EOS.

The code is canonical: ordered by length, then by octet, each code is the one before plus one.
"""

_EOS: Final = 256


def _codes() -> dict[tuple[int, int], int]:
    """(length in bits, code) to octet."""
    lengths = [ord(letter) - ord("A") + 5 for letter in _LENGTHS]
    codes: dict[tuple[int, int], int] = {}
    code = previous = 0
    for length, octet in sorted((length, octet) for octet, length in enumerate(lengths)):
        code <<= length - previous
        codes[length, code] = octet
        code, previous = code + 1, length
    return codes


_CODES: Final = _codes()


def decode_huffman(data: bytes) -> bytes:
    """The octets of a Huffman-coded string.

    Raises:
        DecodeError: it holds EOS, or its padding is not the few one bits that RFC 7541 section 5.2 allows.
    """
    out = bytearray()
    code = length = 0
    for byte in data:
        for shift in range(7, -1, -1):
            code = code << 1 | byte >> shift & 1
            length += 1
            octet = _CODES.get((length, code))
            if octet is not None:
                if octet == _EOS:
                    raise DecodeError("a header's Huffman code holds the end mark")
                out.append(octet)
                code = length = 0
            elif length >= 30:
                raise DecodeError("a header's Huffman code is unknown")
    if length > 7 or code != (1 << length) - 1:
        raise DecodeError("a header's Huffman code is cut")
    return bytes(out)


def decode_headers(block: bytes) -> list[tuple[bytes, bytes]]:
    """The header fields of one whole block, in their order.

    Raises:
        DecodeError: the block is cut, or refers to a dynamic table.
    """
    fields: list[tuple[bytes, bytes]] = []
    place = 0
    while place < len(block):
        byte = block[place]
        if byte & 0x80:
            index, place = _integer(block, place, 7)
            fields.append(_static(index))
        elif byte & 0xE0 == 0x20:
            # A change of the table's size: there is no table that could change.
            _, place = _integer(block, place, 5)
        else:
            # With incremental indexing (01), without (0000), never (0001): with a table of size 0 all are the same.
            index, place = _integer(block, place, 6 if byte & 0x40 else 4)
            if index:
                name = _static(index)[0]
            else:
                name, place = _string(block, place)
            value, place = _string(block, place)
            fields.append((name, value))
    return fields


def _static(index: int) -> tuple[bytes, bytes]:
    if not 0 < index <= len(_STATIC):
        raise DecodeError(f"a header refers to entry {index}, which is in no table")
    name, value = _STATIC[index - 1]
    return name.encode(), value.encode()


def _integer(block: bytes, place: int, bits: int) -> tuple[int, int]:
    if place >= len(block):
        raise DecodeError("a header block is cut")
    limit = (1 << bits) - 1
    value = block[place] & limit
    place += 1
    if value < limit:
        return value, place
    for shift in range(0, 28, 7):
        if place >= len(block):
            raise DecodeError("an integer in a header block is cut")
        byte = block[place]
        place += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise DecodeError("an integer in a header block is too large")


def _string(block: bytes, place: int) -> tuple[bytes, int]:
    length, start = _integer(block, place, 7)
    if length > len(block) - start:
        raise DecodeError(f"a header string of {length} bytes where {len(block) - start} are left")
    raw = block[start : start + length]
    return (decode_huffman(raw) if block[place] & 0x80 else raw), start + length
