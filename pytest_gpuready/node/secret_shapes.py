"""Shapes of secrets: what is known wherever it stands, without a name.

The prefixes of tokens are those that their issuers document for scanners; gitleaks' rule file (config/gitleaks.toml,
MIT) and detect-secrets' plugins (Apache 2.0) list the same ones. Neither can be used itself: see `redact.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Shape(NamedTuple):
    """A pattern whose group `value` is a secret; it costs one pass over a text that holds the literal, in any case."""

    literal: bytes
    pattern: re.Pattern[bytes]
    #: The pattern delimits the secret cleanly, so that a mark may stand in its place.
    clean: bool


def _shape(literal: bytes, *parts: bytes, clean: bool = False) -> _Shape:
    return _Shape(literal.lower(), re.compile(b"".join(parts), re.DOTALL), clean)


#: Between two arguments: in a line, among NULs, in the list of processes.
_GAP = rb"(?:[ \0]|\r?\narg )"
_WORD = rb"[^\s\0]{1,256}"
_OPTIONS = rb"(?:-[A-Za-z0-9]{1,16}" + _GAP + rb"(?:[0-9]{1,3}" + _GAP + rb")?){0,8}"
_NAMES = rb"(?i:passwo?r?d|secret|token|api_?key|auth)"

#: Secrets by what stands around them.
_PLACES = (
    _shape(
        b"PRIVATE KEY",
        rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
        rb"(?P<value>.*?)(?=-----END [A-Z0-9 ]{0,40}PRIVATE KEY|\Z)",
    ),
    # A user and password without a scheme. A digest of an image and an address of a device tree are none.
    _shape(
        b"@",
        rb"(?<![A-Za-z0-9@:/._+%-])[A-Za-z][A-Za-z0-9._+%-]{0,63}:(?!/)(?P<value>",
        rb"[^\s/@\"'<>\0\\,]{1,256}(?:@[^\s/@\"'<>\0\\,]{1,256}){0,4}",
        rb"(?=@(?!sha[0-9]|[0-9a-f]{4,16}(?![.\w]))[A-Za-z0-9\[])|",
        rb"[^\s@\"'<>\0\\,]{1,256}(?=@(?!sha[0-9]|v[0-9])[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]|:[0-9])))",
    ),
    _shape(
        b"=",
        rb"(?i)[?&](?:x-amz-signature|x-amz-security-token|x-amz-credential|sig|signature|token|access_token|key|",
        rb"api_?key|code|password|client_secret)=(?P<value>[^&\s\"'<>\0]+)",
        clean=True,
    ),
    # A scheme of HTTP. Not a word of prose: with a capital or a digit, or long.
    *(
        _shape(
            scheme, rb"(?i:(?<![a-z])", scheme, rb")\\?[ \t]{1,8}",
            rb"(?P<value>(?=[^\sA-Z0-9]{0,64}[A-Z0-9]|\S{24})[A-Za-z0-9+/_=.~-]{8,})",
        )
        for scheme in (b"bearer", b"basic", b"digest", b"negotiate")
    ),
    # A user and a password as an argument: curl -u, ctr --user, crictl --creds; and what programs take with one letter.
    _shape(
        b":",
        rb"(?:-u|-U|--user|--proxy-user|--creds?|--(?:src|dest)-creds|--auth)(?:[ =\t\0]|[\"'],[ \t]*[\"']|\r?\narg )",
        rb"[\"']?(?!\d+:\d+(?![^\s\0\"']))(?P<value>[^\s\0\"':/]{1,128}:[^\s\0\"']+)",
        clean=True,
    ),
    # The same in one word with the letter, and letters before it.
    _shape(
        b"curl", rb"\bcurl", _GAP, rb"(?:", _WORD, _GAP, rb"){0,16}?-[A-Za-z#]{0,8}[uU](?:", _GAP, rb")?[\"']?",
        rb"(?P<value>[^\s\0\"':/-][^\s\0\"':/]{0,127}:[^\s\0\"']+)", clean=True,
    ),
    # htpasswd -b FILE USER PASSWORD; with -n there is no file.
    *(
        _shape(
            b"htpasswd", rb"\bhtpasswd", _GAP, rb"(?=", _OPTIONS, rb"-[A-Za-z]{0,8}b)", lookahead, _OPTIONS, rb"(?!-)",
            rb"(?:", _WORD, _GAP, rb"){", count, rb"}(?P<value>[^\s\0]+)", clean=True,
        )
        for lookahead, count in (
            (rb"(?=" + _OPTIONS + rb"-[A-Za-z]{0,8}n)", b"1"),
            (rb"(?!" + _OPTIONS + rb"-[A-Za-z]{0,8}n)", b"2"),
        )
    ),
    # What a program reads as a password from its standard input: `<<<`, and `_piped`.
    _shape(
        b"<<<", rb"-stdin[^|<\r\n\0]{0,64}<<<[ \t]{0,8}(?P<quote>[\"']?)(?![\"'$`])",
        rb"(?P<value>[^\"'\r\n\0]{1,1024}?)(?:(?P=quote)(?=[\s;)])|(?=[\r\n]|\Z))",
    ),
    _shape(b"sshpass", rb"sshpass", _GAP, rb"-p", _GAP, rb"?(?P<value>[^\s\0]+)", clean=True),
    _shape(b"mysql", rb"\bmysql\w{0,8}[ \0](?:-[^\sp-][^\s\0]{0,64}[ \0]){0,8}-p(?P<value>[^\s\0]+)", clean=True),
    *(
        _shape(
            program, rb"\b", program, _GAP, rb"(?:", _WORD, _GAP, rb"){0,16}", option, rb"(?:=|", _GAP, rb")",
            rb"(?P<value>[^\s\0-][^\s\0\"']*)", clean=True,
        )
        for program, option in ((b"k3s", b"-t"), (b"rke2", b"-t"), (b"redis-cli", b"-a"), (b"login", b"-p"))
    ),
    _shape(b"--from-literal", rb"--from-literal[= ][^\s=]{1,256}=(?P<value>[^\s\"']+)", clean=True),
    _shape(b"login", rb"\blogin[ \t]{1,8}\S{1,256}[ \t\r\n]{1,8}password[ \t]{1,8}(?P<value>\S+)"),
    # Quotes that another encoding holds: of URLs, HTML, JSON within JSON.
    *(
        _shape(
            quote, _NAMES, re.escape(quote), rb"(?:%3[AaDd]|[:=])(?:%20|\+|[ ])?", re.escape(quote),
            rb"(?P<value>[^\s\"'<>]{1,1024}?)(?=", re.escape(quote), rb")",
        )
        for quote in (b"%22", b"&quot;", b"&#34;", rb"\u0022")
    ),
    _shape(b"%3", _NAMES, rb"%3[Dd](?P<value>[^\s\"'<>&]{1,1024}?)(?=%26|[\s\"'<>&]|\Z)"),
    _shape(b"hooks.slack.com/", rb"hooks\.slack\.com/(?:services|workflows)/(?P<value>[A-Za-z0-9/_-]{16,})"),
    # A bootstrap token of Kubernetes.
    _shape(
        b".",
        rb"\.(?<=[a-z0-9]{6}\.)(?<![A-Za-z0-9._/-][a-z0-9]{6}\.)(?=[a-z]{0,16}[0-9])",
        rb"(?P<value>[a-z0-9]{16})(?![A-Za-z0-9._/-])",
    ),
    # Terraform, Azure, and Azure's registries: what makes them recognizable stands within.
    _shape(b".atlasv1.", rb"(?P<value>[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{40,})"),
    _shape(b"Q~", rb"(?<![A-Za-z0-9_~.])(?P<value>[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34})"),
    _shape(b"+ACR", rb"(?P<value>[A-Za-z0-9+/]{42}\+ACR[A-Za-z0-9]{6})"),
    # A password's hash, as in /etc/shadow or htpasswd.
    _shape(b"$", rb"\$(?:1|5|6|y|apr1|2[aby]|argon2i?d?)\$(?P<value>[./A-Za-z0-9$=,+]{8,})"),
)  # fmt: skip

#: Tokens that their issuers made recognizable: the prefix, and what follows it.
_TOKENS = (
    # GitHub, GitLab, Docker Hub, npm, PyPI, RubyGems
    *((rb"gh%c_" % kind, rb"[A-Za-z0-9]{20,}") for kind in b"pousr"),
    (b"github_pat_", rb"[A-Za-z0-9_]{20,}"),
    *(
        (rb"gl%b-" % kind, rb"[A-Za-z0-9_=.-]{16,}")
        for kind in (b"pat", b"dt", b"rt", b"cbt", b"ptt", b"ft", b"imt", b"agent", b"oas", b"soat")
    ),
    (b"dckr_pat_", rb"[A-Za-z0-9_-]{20,}"),
    (b"dckr_oat_", rb"[A-Za-z0-9_-]{20,}"),
    (b"npm_", rb"[A-Za-z0-9]{30,}"),
    (b"pypi-AgE", rb"[A-Za-z0-9_-]{30,}"),
    (b"rubygems_", rb"[a-f0-9]{40,}"),
    # NVIDIA, Hugging Face, OpenAI and Anthropic
    (b"nvapi-", rb"[A-Za-z0-9_-]{20,}"),
    (b"hf_", rb"[A-Za-z0-9]{20,}"),
    (b"api_org_", rb"[A-Za-z0-9]{20,}"),
    (b"sk-", rb"[A-Za-z0-9_-]{20,}"),
    # AWS, GCP, Azure, Alibaba, DigitalOcean
    *((prefix, rb"[0-9A-Z]{16}(?![0-9A-Za-z])") for prefix in (b"AKIA", b"ASIA", b"ABIA", b"ACCA")),
    (b"IQoJb3JpZ2lu", rb"[A-Za-z0-9+/=]{40,}"),
    (b"FwoGZXIvYXdz", rb"[A-Za-z0-9+/=]{40,}"),
    (b"AIza", rb"[A-Za-z0-9_-]{30,}"),
    (b"ya29.", rb"[A-Za-z0-9_.-]{20,}"),
    (b"GOCSPX-", rb"[A-Za-z0-9_-]{20,}"),
    (b"LTAI", rb"[A-Za-z0-9]{16,}"),
    (b"dop_v1_", rb"[a-f0-9]{40,}"),
    # Slack, Vault, Grafana, Stripe, SendGrid, Tailscale, age, JFrog
    (b"xox", rb"[abeprs](?:\.xox[abprs])?-[A-Za-z0-9-]{10,}"),
    (b"xapp-", rb"[A-Za-z0-9-]{10,}"),
    (b"hvs.", rb"[A-Za-z0-9_-]{20,}"),
    (b"hvb.", rb"[A-Za-z0-9_-]{20,}"),
    (b"glsa_", rb"[A-Za-z0-9_]{20,}"),
    (b"sk_live_", rb"[A-Za-z0-9]{16,}"),
    (b"rk_live_", rb"[A-Za-z0-9]{16,}"),
    (b"SG.", rb"[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    (b"tskey-", rb"[A-Za-z0-9-]{16,}"),
    (b"AGE-SECRET-KEY-1", rb"[0-9A-Z]{40,}"),
    (b"AKCp", rb"[A-Za-z0-9]{60,}"),
    (b"cmVmd", rb"[A-Za-z0-9]{50,}"),
    # k3s and RKE2; a JWT; JSON in base64 (registries' passwords)
    (b"K10", rb"[a-f0-9]{32,}::[a-z]{1,16}:[^\s\"']+"),
    (b"eyJ", rb"[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4}"),
    (b"eyJ", rb"[A-Za-z0-9+/_-]{40,}={0,2}"),
)

_ANY_TOKEN = re.compile(b"|".join(sorted({re.escape(prefix) for prefix, _ in _TOKENS})))
_TOKEN_SHAPES = tuple(
    _shape(prefix, rb"(?<![A-Za-z0-9_-])(?P<value>", re.escape(prefix), rest, rb")") for prefix, rest in _TOKENS
)

_MARKED = re.compile(rb"\[redacted\]\**\Z")
_URL = re.compile(rb"(?::|(?<![A-Za-z0-9_./-]))//([^\s\"'<>\0\\]{1,4096})")
#: What follows the `@` of a password and is a host for sure: it has dots or a port.
_HOST = re.compile(rb"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::[0-9]{1,5})?\Z|[^:]*:[0-9]{1,5}\Z|localhost\Z")
#: A pipe into a program that reads a password from it; how far before it the text may begin, and how.
_PIPE = re.compile(
    rb"\|[^|\r\n\0]{0,256}?(?:-stdin\b|\bchpasswd\b|\bsudo[ \t]+-S|\bhtpasswd[ \t]+-[A-Za-z]{0,8}i|pass stdin)"
)
_ECHO_REACH = 1100
_ECHO = re.compile(
    rb"(?:echo|printf)[ \t]{1,8}(?:-[neE]{1,3}[ \t]{1,8})?(?:[\"']?%s(?:\\n)?[\"']?[ \t]{1,8})?"
    rb"(?P<quote>[\"']?)(?![\"'$`<])(?P<value>[^\r\n\0]{1,1024}?)(?P=quote)[ \t]{0,8}\Z"
)
_PORT = re.compile(rb"[0-9]{1,5}\Z")
#: What follows the `@` of a path: a digest or a release, no host.
_REVISION = re.compile(rb"sha[0-9]|v?[0-9]+(?:\.[0-9]+){0,2}(?![0-9.])|latest\b|main\b|master\b")


def find_shapes(data: bytes, lower: bytes) -> list[tuple[int, int, bool]]:
    """Return the spans of what is a secret by its shape, and whether each is cleanly delimited.

    `lower` is the text in lower case.
    """
    spans = [
        (*match.span("value"), clean)
        for literal, pattern, clean in ((*_PLACES, *_TOKEN_SHAPES) if _ANY_TOKEN.search(data) else _PLACES)
        if literal in lower
        for match in pattern.finditer(data)
        if not _MARKED.match(match["value"])
    ]
    if b"|" in data:
        spans += _piped(data)
    return spans + list(_users(data)) if b"//" in data and b"@" in data else spans


def _piped(data: bytes) -> Iterator[tuple[int, int, bool]]:
    """`echo PASSWORD | docker login --password-stdin`."""
    for pipe in _PIPE.finditer(data):
        first = max(0, pipe.start() - _ECHO_REACH)
        start = max(data.rfind(word, first, pipe.start()) for word in (b"echo", b"printf"))
        echo = _ECHO.match(data, start, pipe.start()) if start >= 0 else None
        if echo is not None and not _MARKED.match(echo["value"]):
            yield *echo.span("value"), False


def _users(data: bytes) -> Iterator[tuple[int, int, bool]]:
    """The user and password of each URL: up to the last `@` before the path, or in it where no port is before it."""
    for word in _URL.finditer(data):
        at = word.start(1)
        for part in word[1].split(b"://"):
            head, slash, path = part.partition(b"/")
            user, sign, host = head.rpartition(b"@")
            _, colon, port = head.partition(b":")
            in_path = colon and not _PORT.match(port) and not head.startswith(b"[")
            # A name with dots, or with a port, is the host; `p@s` before a slash may be half of a password.
            if in_path and not (sign and _HOST.match(host)):
                rest, later, place = path.rpartition(b"@")
                if later and not _REVISION.match(place):
                    user, sign = head + slash + rest, later
            # A user without a password, as in ssh://root@n1, is no secret; a long one is a token.
            if sign and (b":" in user or len(user) >= 16):
                yield at, at + len(user), True
            at += len(part) + len(b"://")
