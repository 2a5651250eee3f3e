"""What Go's readers of durations and URLs say of text that they refuse."""

from __future__ import annotations

import re
from fractions import Fraction

from pytest_gpuready.containerd._toml import quote

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def duration_error(text: str) -> str | None:
    """What Go's time.ParseDuration says of `text`; None if it takes it."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return None
    wrong = f"time: invalid duration {quote(text)}"
    if not rest:
        return wrong
    total = Fraction(0)
    while rest:
        number = re.match(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", rest)
        if number is None:
            return wrong
        rest = rest[number.end() :]
        unit = re.match(r"[^.0-9]+", rest)
        if unit is None:
            return f"time: missing unit in duration {quote(text)}"
        if unit[0] not in _UNITS:
            return f"time: unknown unit {quote(unit[0])} in duration {quote(text)}"
        total += Fraction(number[0].rstrip(".")) * _UNITS[unit[0]]
        rest = rest[unit.end() :]
    return wrong if total >= (1 << 63) + (text[0] == "-") else None


def url_error(url: str) -> str | None:
    """What Go's url.Parse refuses among what people write: a bad host or port, a missing scheme."""
    url = url.partition("#")[0]
    wrong = None
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in url):
        wrong = "net/url: invalid control character in URL"
    elif url.startswith(":"):
        wrong = "missing protocol scheme"
    else:
        scheme = re.match("[A-Za-z][A-Za-z0-9+.-]*:", url)
        rest = url[scheme.end() if scheme else 0 :].partition("?")[0]
        if not scheme and ":" in rest.partition("/")[0]:
            wrong = "first path segment in URL cannot contain colon"
        elif rest.startswith("//") and (scheme or not rest.startswith("///")):
            wrong = _host_error(rest[2:].partition("/")[0].rpartition("@")[2])
        if wrong is None and (odd := re.search("%(?![0-9A-Fa-f]{2}).{0,2}", rest)):
            wrong = f"invalid URL escape {quote(odd[0])}"
    return f"parse {quote(url)}: {wrong}" if wrong else None


def _host_error(host: str) -> str | None:
    """Go's net/url parseHost."""
    port = host[host.rindex(":") :] if ":" in host else ""
    if host.startswith("["):
        if "]" not in host:
            return "missing ']' in host"
        port = host.rpartition("]")[2]
    if not re.fullmatch("(:[0-9]*)?", port):
        return f"invalid port {quote(port)} after host"
    odd = re.search(r"([ \\^`{|}])", host)
    return f"invalid character {quote(odd[1])} in host name" if odd else None
