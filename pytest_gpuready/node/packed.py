"""A round as text: where what carries a node's answers cuts them into lines, they travel packed.

ClusterShell hands on lines, and a carriage return within one is lost (1.10.1, Worker/EngineClient.py, `_readlines`).
The script is the same for all nodes that are asked the same, so that it can be sent once to many. Its marks are not:
each node makes a nonce of its own (from /proc/sys/kernel/random/uuid), and a node that has read the script knows no
other's. Were there one for all, whoever is root on one node could forge answers in a file that another reads.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from typing import NamedTuple

from pytest_gpuready.node.preamble import PREAMBLE

#: Most that a node's answers may come to, in bytes, before they are packed.
LIMIT = 64 * 1024 * 1024

#: Seconds before the deadline at which a node that hangs sends what it has.
MARGIN = 3

# What hangs within the parentheses keeps neither the packer nor its end line waiting: C ends, after $t seconds, and cat
# holds nothing back that it has read. Descriptor 4, the script's own output, is opened within: outside it would hold
# the login open.
_ROUND = """{ read -r v </proc/sys/kernel/random/uuid; } 2>/dev/null || v=
N=%(mark)s-$v
%(preamble)s
unset GZIP
t=%(seconds)d
if command -v gzip >/dev/null 2>&1 && command -v base64 >/dev/null 2>&1; then
  z=gz; Z() { gzip -c | base64; }
else z=od; Z() { od -An -v -tx1; }; fi
if timeout --foreground -k 1 2 true 2>/dev/null; then C() { timeout -s KILL $t cat; }; else C() { W $t cat; }; fi
exec 4>&-
printf '\\n%%s %%s %%s\\n' %(mark)s "$N" $z
( exec 4>&1
%(body)s
) </dev/null | C 2>/dev/null | head -c %(limit)d | { Z; printf '\\n%%s packed\\n' %(mark)s; }
"""

#: What stands for the nonce in a round's body.
NONCE = '"$N"'


class Unpacked(NamedTuple):
    """What came: `output` as the node's script printed it, with `nonce` the node's own; `ended`: to the end line."""

    output: bytes
    nonce: str
    ended: bool


def pack(body: str, mark: str, seconds: float) -> str:
    """The whole script of a round whose frames are marked by `NONCE`; packed and sent after so many seconds."""
    wait = max(1, int(seconds) - MARGIN)
    return _ROUND % {"mark": mark, "preamble": PREAMBLE, "seconds": wait, "body": body, "limit": LIMIT}


def unpack(raw: bytes, mark: str) -> Unpacked | None:
    """The answers in what a login printed; None where the script did not run. Never raises."""
    head = re.search(rb"\n%b (%b-[0-9a-f-]{0,40}) (gz|od)\n" % (mark.encode(), mark.encode()), raw)
    if head is None:
        return None
    body, end, _ = raw[head.end() :].partition(b"\n%b packed\n" % mark.encode())
    text = re.sub(rb"\s+", b"", body)
    return Unpacked(_gz(text) if head[2] == b"gz" else _od(text), head[1].decode(), bool(end))


def _gz(text: bytes) -> bytes:
    """As far as it goes: a connection that ended leaves a part."""
    plain, unzip = bytearray(), zlib.decompressobj(wbits=31)
    try:
        packed = base64.b64decode(text[: len(text) // 4 * 4])
        while packed and len(plain) <= LIMIT:
            plain += unzip.decompress(packed, 1 << 20)
            packed = unzip.unconsumed_tail
    except (binascii.Error, ValueError, zlib.error):
        pass
    return bytes(plain)


def _od(text: bytes) -> bytes:
    try:
        return binascii.unhexlify(text[: len(text) // 2 * 2])
    except ValueError:
        return b""
