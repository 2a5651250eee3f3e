"""Names of secrets: in TOML, JSON, YAML, INI, environments, headers and command lines, of any case and affix."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Names that hold one of these are secrets. `username` stays: it tells registries apart and opens nothing by itself.
_STRONG = (
    rb"passw(?:or)?d|passphrase|passcode|sshpass|secret|token|credential|authorization|bearer|signature|cookie|"
    rb"(?:api|access|private|account|shared|signing|(?:en|de)cryption|encrypt|master|license|deploy|storage)[_.-]?key|"
    rb"client[_-]key[_-]data|pin-value|jwt|sessionid|dockerconfigjson"
)
#: These count at the end of a name only: `author`, `dsnap`, `compass` and `keyboard` are no secrets.
_WEAK = rb"auth|dsn|_pat|conn(?:ection)?[_-]?string|pass|pwd|pw|psk|authtok|creds?|key"
_STEM = re.compile(rb"(?:" + _STRONG + rb")|(?P<weak>" + _WEAK + rb")(?=[_-]?[0-9]{0,4}(?![a-z0-9_.-]))")
#: A text without any of these in lower case holds no name of a secret.
_HINTS = (b"pass", b"pw", b"secret", b"token", b"cred", b"auth", b"key", b"bearer", b"signature", b"cookie", b"dsn",
          b"_pat", b"psk", b"string", b"pin-value", b"jwt", b"sessionid", b"dockerconfig")  # fmt: skip
#: What a weak word needs before it: `bypass`, `monkey` and a plain `key` are no secrets.
_WEAK_NAME = re.compile(
    rb"(?:(?i:(?:^|[_.-])pass|[a-z0-9](?<!by)(?<!com)(?<!tres)(?<!sur)(?<!under)(?<!over)pass|pwd|pw|psk|authtok|"
    rb"(?:^|[_.-])creds?|[a-z0-9][_.-]key|auth|dsn|_pat|string)|(?<=[a-z0-9])(?:Pass|Key|Creds?))[_-]?[0-9]*$"
)
#: Names that only sound so: paths, switches, kinds, public keys.
_NO_SECRET = re.compile(
    rb"(?i)(?:[_.-]?(?:file|path|dir|paths|files|name|names|type|kind|mode|ttl|url|uri|expiration|keychain|max|count|"
    rb"enabled|lookup|timeout|interval|namespace|provider|plugins?|secret(?:key)?ref|cert[_-]?hash|stdin|length|size|format|"
    rb"version|algorithm|policy|issuer|audiences?|helpers?|store|required|supported|expir(?:y|es|ed)|limit|rotation|"
    rb"reviewer|pullsecrets?))$|"
    rb"^(?:ContainerdHas.*|tokeni[sz].*|max[_-]?tokens.*|tokens[_-]?per.*|author|no-?auth|.*SecretName|.*webhook.*|"
    rb".*-mode)$|"
    rb"(?:public|pub|sig|gpg|rpm|primary|foreign|partition|sort|routing|cache|topology|label|taint|annotation|host|"
    rb"authorized|registry|group|object|map|hot)[_-]?key$"
)
#: Keys of a mapping below a secret's name that say who, where and how, and not with what.
_ATTRIBUTE = re.compile(
    rb"(?i)(?:user|login|account|e?-?mail|host|server|servers|realm|scopes?|service|region|domain|address|endpoint|"
    rb"port|groups?|roles?|description|comment|external|optional|driver|backend|method|class|level|owner|from|"
    rb"[a-z]*seconds)\Z"
)
_EACH = re.compile(rb"(?i)(?:secret|token|pass\w*|key|pwd|pw)s$")
_SWITCH = re.compile(rb"(?i)(?:true|false|null|none|yes|no|on|off|nil|<nil>|inf|nan|~|\{\}|)\Z")
_PATH = re.compile(
    rb"/(?:etc|var|run|usr|opt|root|home|proc|sys|dev|tmp|mnt|media|srv|lib\w{0,4}|bin|sbin|boot|data|snap|nix|host|"
    rb"secrets?|config|certs?|a|x|app)(?:/[A-Za-z0-9_.,:@%~*/-]*)?\Z|/\Z"
)
_MARKED = re.compile(rb"\[redacted\]\**\Z")
_REFERENCE = re.compile(
    rb"\$[A-Z_][A-Z0-9_]*\Z|\$\{[A-Za-z_][A-Za-z0-9_]*\}\Z|\$\((?:cat |<) ?/[^)\s]*\)\Z|\{\{.*\}\}\Z"
)
#: What is no secret behind a weak name: an address, and a count.
_NO_KEY = re.compile(rb"[a-z][a-z0-9+.-]*://|[0-9]{1,3}(?![0-9A-Za-z])")

_WORD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
_WORD_AFTER = re.compile(rb"[A-Za-z0-9_.-]{0,64}")
#: How far a name reaches to each side of its stem, in bytes.
_REACH = 64


@dataclass(frozen=True)
class Name:
    """A word that holds what names of secrets hold: where it stands, and whether a secret stands behind it."""

    begin: int
    end: int
    #: Where to look for the next one if this one is not a secret's.
    after: int
    secret: bool
    #: A word that is a secret's less surely: behind it, counts and addresses are none.
    weak: bool
    #: A password's name; in a sentence, too, what follows it is one.
    password: bool


def has_names(lower: bytes) -> bool:
    """Whether a text in lower case can hold the name of a secret at all."""
    return any(hint in lower for hint in _HINTS)


def find_name(data: bytes, lower: bytes, position: int) -> Name | None:
    """Find the next word that may be a secret's name; `lower` is the text in lower case."""
    stem = _STEM.search(lower, position)
    if stem is None:
        return None
    before = data[max(0, stem.start() - _REACH) : stem.start()]
    after = _WORD_AFTER.match(data, stem.end())
    assert after is not None  # noqa: S101 - it matches nothing too
    begin, end = stem.start() - len(before) + len(before.rstrip(_WORD)), after.end()
    key = data[begin:end].strip(b"-.")
    weak = stem["weak"] is not None
    if weak and not _WEAK_NAME.search(key):
        return Name(begin, end, stem.end(), secret=False, weak=True, password=False)
    return Name(begin, end, end, not _NO_SECRET.search(key), weak, stem[0].startswith((b"pass", b"pw")))


def is_harmless(value: bytes, *, weak: bool) -> bool:
    """Whether a value is a switch, a path or a reference: these are no secrets, and readers need them."""
    word = value.strip().strip(b"\"'")
    patterns = (_SWITCH, _PATH, _REFERENCE, _MARKED, _NO_KEY) if weak else (_SWITCH, _PATH, _REFERENCE, _MARKED)
    return not word.strip(b"*") or any(pattern.match(word) for pattern in patterns)


def tells_no_secret(key: bytes, above: bytes) -> bool:
    """Whether the key of a mapping below a secret's name says that its value is something else.

    Below `secrets` and the like each key is only the name of one; `credentials` have a user and a server.
    """
    if _NO_SECRET.search(key):
        return True
    return _ATTRIBUTE.match(key) is not None and _EACH.search(above) is None
