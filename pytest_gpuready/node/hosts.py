"""Host specs: what `--hosts` and `--gpuready-hosts-file` name, checked before anything runs.

A spec is testinfra's (`ssh://user@host:port?timeout=3`, `docker://NAME`, `kubectl://POD?namespace=NS` ...) or
`snapshot://FILE`. Number sets such as `[001-512]` and
`[1,3-5,10-90/10]` expand (a set holding `:` is an IPv6 address); commas inside brackets do not split. A password's own
commas, brackets and slashes are written as %2C, %5B, %2F.

For logins over SSH sets may be put together as clush's are: `ssh://root@gpu[1-9]!gpu[3-4]` (without), `&` (in both),
`^` (in one of both), from left to right; and a set may be a group that ClusterShell knows: `ssh://root@@gpus`,
`ssh://@slurm:idle`. The comma, which for clush is a union, ends a spec here. After a password there are no groups: what
looks like one belongs to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from pytest_gpuready.node.clean import clean, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Most nodes that one set may expand to: a typo must not become a million logins.
SET_LIMIT = 100_000

#: Programs that run a command inside something on this machine or in a cluster, by scheme.
CONTAINERS = ("docker", "podman", "lxc", "kubectl", "openshift")

SCHEMES = ("local", "ssh", "paramiko", *CONTAINERS, "chroot", "ansible", "salt", "snapshot")

#: What may stand after the `?` of a spec: testinfra's keys, the others being none of ours.
OPTIONS = ("sudo", "sudo_user", "timeout", "controlpersist", "ssh_config", "ssh_identity_file")

#: The same where sudo is all there is to choose, and what names a pod's place: two of them are two nodes.
_INSIDE = ("sudo", "sudo_user")
POD = ("namespace", "container", "context", "kubeconfig")
_KEYS = {
    **dict.fromkeys(("docker", "podman", "lxc", "chroot"), _INSIDE),
    **dict.fromkeys(("kubectl", "openshift"), (*_INSIDE, *POD)),
    "ansible": (*OPTIONS, "ansible_inventory", "force_ansible"),
    "salt": (*_INSIDE, "timeout"),
}

#: Schemes of testinfra that there is no way of ours for, and why.
_REFUSED = {
    "winrm": "no node that runs containerd's Linux containers is reached by WinRM",
}


#: What puts sets together, and what makes a set of a name.
_OPERATORS = re.compile(r"([!&^])")

#: What ClusterShell said of a group or a name with a `*`: its nodes, or a sentence.
_KNOWN: dict[str, list[str] | str] = {}


class SpecError(ValueError):
    """A host spec that cannot be understood; the message is one sentence that names it, without its password."""


@dataclass(frozen=True)
class NodeSpec:
    """One node as asked for. `spec` may hold a password and is never shown; `label` is its name in every report."""

    spec: str = field(repr=False)
    label: str
    scheme: str
    host: str = ""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    port: int | None = None
    options: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        """The file of a snapshot, the folder of a chroot."""
        return self.host


def split(text: str) -> list[str]:
    """The comma-separated specs; commas inside brackets belong to their set."""
    parts, depth, current = [], 0, ""
    for char in text:
        depth += (char == "[") - (char == "]")
        if char == "," and depth <= 0:
            parts.append(current)
            current = ""
        else:
            current += char
    return [part.strip() for part in [*parts, current] if part.strip()]


def expand(text: str) -> list[str]:
    """All specs that a spec with number sets stands for, in the order of the numbers, leading zeros kept."""
    parts = _set_parts(text)
    if parts is not None:
        head, terms, tail = parts
        return [f"{head}{name}{tail}" for name in _set(terms, text)]
    place = text.rfind("@") + 1
    head, tail = text[:place], text[place:]
    return [head + one for one in _expand(tail, text, strict=not text.startswith(("snapshot://", "chroot://")))]


def _set_parts(text: str) -> tuple[str, str, str] | None:
    """What stands before a set of sets and groups, the set, and port and options; None if the spec holds none."""
    scheme, mark, rest = text.partition("://")
    place, query, options = rest.partition("?")
    before, at, _ = place.partition("@")
    if scheme not in ("ssh", "paramiko") or (at and ":" in before):
        return None
    place = place.rstrip("/")
    if place.startswith("@"):
        user, terms = "", place
    elif "@@" in place:
        user, _, group = place.partition("@@")
        user, terms = f"{user}@", f"@{group}"
    else:
        first = _OPERATORS.split(place, maxsplit=1)[0]
        user = first[: first.rfind("@") + 1]
        terms = place[len(user) :]
    if not re.search(r"[@!&^*]", terms):
        return None
    # `@source:group` has a colon of its own.
    last = _OPERATORS.split(terms)[-1]
    port = re.search(r"(?<=.):\d*$", last.partition(":")[2] if last.startswith("@") else last, re.ASCII)
    end = port[0] if port else ""
    return f"{scheme}{mark}{user}", terms.removesuffix(end), f"{end}{query}{options}"


def _set(terms: str, spec: str) -> list[str]:
    """The names of a set, in the order in which they stand there, or as ClusterShell sorts a group's."""
    words = _OPERATORS.split(terms)
    found = dict.fromkeys(_term(words[0], spec))
    for operator, term in zip(words[1::2], words[2::2], strict=True):
        other = dict.fromkeys(_term(term, spec))
        if operator == "&":
            found = {name: None for name in found if name in other}
        elif operator == "!":
            found = {name: None for name in found if name not in other}
        else:
            both = found.keys() & other.keys()
            found = {name: None for name in (*found, *other) if name not in both}
    if not found:
        raise SpecError(f"{_shown(spec)} names no node")
    return list(found)


def _term(term: str, spec: str) -> list[str]:
    if not re.fullmatch(r"@?[^@\s]+", term):
        raise SpecError(f"{_shown(spec)}: {term!r} is no set and no group" if term else f"{_shown(spec)} lacks a set")
    names = _expand(term, spec, strict=True)
    if "@" not in term and "*" not in term:
        if ":" in term:
            raise SpecError(f"{_shown(spec)}: {term!r} is no set of names; a port follows the last one")
        return names
    members: list[str] = []
    for name in names:
        if name not in _KNOWN:
            _KNOWN[name] = _ask_clustershell(name)
        known = _KNOWN[name]
        if isinstance(known, str):
            raise SpecError(f"{_shown(spec)}: {known}")
        members += known
    return members


def _ask_clustershell(name: str) -> list[str] | str:
    from pytest_gpuready.node import fleet  # noqa: PLC0415 - only where a group is named

    what = f"the group {name}" if name.startswith("@") else name
    try:
        found = fleet.resolve(group=name, most=SET_LIMIT)
    except fleet.FleetError as error:
        return f"{what}: {error}"
    nodes = [str(node) for node in found["nodes"]]
    # A group that is known may be empty, so that others can go without its nodes.
    return nodes if nodes or found["known"] else f"{what} is not known to ClusterShell, or names no node"


def _expand(text: str, spec: str, *, strict: bool) -> list[str]:
    match = next((m for m in re.finditer(r"\[([^\[\]]*)\]", text) if ":" not in m[1]), None)
    if match is None:
        return [text]
    head, tails = text[: match.start()], _expand(text[match.end() :], spec, strict=strict)
    if not strict and not re.fullmatch(r"[\d,/ -]*\d[\d,/ -]*", match[1]):
        # A file's name may hold brackets.
        return [f"{head}{match[0]}{rest}" for rest in tails]
    members: list[str] = []
    for item in match[1].split(","):
        found = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18})(?:/(\d{1,9}))?)?", item.strip(), re.ASCII)
        if not found:
            raise SpecError(f"{_shown(spec)}: {clean(item.strip())!r} is no number or range such as 001-512")
        first, last = int(found[1]), int(found[2] or found[1])
        step = int(found[3] or 1)
        if last < first or step < 1:
            raise SpecError(f"{_shown(spec)}: the range {item.strip()!r} runs backwards")
        if (last - first) // step >= SET_LIMIT:
            raise SpecError(f"{_shown(spec)}: the range {item.strip()!r} names more than {SET_LIMIT} nodes")
        members.extend(str(number).zfill(len(found[1])) for number in range(first, last + 1, step))
    if len(members) * len(tails) > SET_LIMIT:
        raise SpecError(f"{_shown(spec)} names more than {SET_LIMIT} nodes")
    return [f"{head}{member}{rest}" for member in members for rest in tails]


def parse(text: str) -> NodeSpec:
    """One spec taken apart; `SpecError` if it cannot be understood."""
    shown = _shown(text)
    if "://" not in text:
        raise SpecError(f"{shown!r} names no transport; for a login over SSH write ssh://{shown}")
    scheme, _, rest = text.partition("://")
    if scheme in _REFUSED:
        raise SpecError(f"{shown!r}: {scheme}:// is not supported: {_REFUSED[scheme]}")
    if scheme not in SCHEMES:
        there = ", ".join(f"{known}://" for known in SCHEMES)
        raise SpecError(f"{shown!r}: unknown transport{f' {scheme!r}' if scheme.isalnum() else ''}; there are {there}")
    if scheme == "local":
        return NodeSpec(text, "local", "local", options=_options(rest.partition("?")[2], shown, scheme))
    if scheme == "snapshot":
        if not rest:
            raise SpecError("snapshot:// names no file; write snapshot://FILE")
        return NodeSpec(text, " ".join(clean(text).splitlines()), "snapshot", host=rest)
    if scheme == "chroot":
        return _folder(text, shown)
    if scheme == "ansible":
        return _pattern(text, shown)
    if scheme == "salt":
        return _minion(text, shown)
    if scheme in CONTAINERS:
        return _container(text, scheme, shown)
    return _login(text, scheme, shown)


def _login(text: str, scheme: str, shown: str) -> NodeSpec:
    """A host that is logged in to over SSH."""
    # No message below repeats a part of the text: what looks like a port may be half a password.
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise SpecError(
            f"{shown!r}: what follows the host is no port from 1 to 65535 (an IPv6 address stands in [])"
        ) from None
    if port == 0:
        raise SpecError(f"{shown!r}: 0 is no port")
    place = parts.netloc.rpartition("@")[2]
    if not place.strip(":[]"):
        raise SpecError(f"{shown!r} names no host")
    # urlsplit lowers the host's case; an alias in ssh_config keeps it.
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::\d*)?", place, re.ASCII)
    host = (found[1] or found[2]) if found else ""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.%:-]*|::[A-Fa-f0-9.:]*(?:%[A-Za-z0-9_.-]+)?", host):
        raise SpecError(f"{shown!r} holds no host name or address that ssh takes")
    user = unquote(parts.username) if parts.username else None
    if user is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]*\$?", user):
        raise SpecError(f"{shown!r}: {clean(user)!r} is no user name")
    if parts.path not in ("", "/") or parts.fragment:
        raise SpecError(f"{shown!r}: a host spec has no path; a password's own / and # are written as %2F and %23")
    label = f"{scheme}://{f'{user}@' if user else ''}{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"
    password = unquote(parts.password) if parts.password else None
    return NodeSpec(text, label, scheme, host, user, password, port, _options(parts.query, shown, scheme))


def _container(text: str, scheme: str, shown: str) -> NodeSpec:
    """`[user@]NAME`, as testinfra takes it: the name can be no option of the program that it is given to."""
    place, _, query = text.partition("://")[2].partition("?")
    user, at, name = place.rstrip("/").rpartition("@")
    if scheme in ("kubectl", "openshift", "lxc") and at:
        raise SpecError(f"{shown!r}: {scheme} takes no user; --sudo-user names one")
    if at and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?|\d+:\d+", user, re.ASCII):
        raise SpecError(f"{shown!r}: what stands before the @ is no user name or UID:GID")
    # lxc: a name may have its server before it, REMOTE:NAME.
    remote = r"(?:[A-Za-z0-9][A-Za-z0-9_.-]*:)?" if scheme == "lxc" else ""
    if not re.fullmatch(rf"{remote}[A-Za-z0-9][A-Za-z0-9_.-]*", name, re.ASCII):
        what = "pod" if scheme in ("kubectl", "openshift") else "container"
        raise SpecError(f"{shown!r} holds no name of a {what}")
    options = _options(query, shown, scheme)
    return NodeSpec(
        text, container_label(scheme, name, user, dict(options)), scheme, name, user or None, None, None, options
    )


def container_label(scheme: str, name: str, user: str | None, options: Mapping[str, str]) -> str:
    """The name of a container or pod in reports; a spec again."""
    named = [(key, options[key]) for key in POD if options.get(key)]
    where = urlencode(named, safe="/:@~", errors="surrogateescape")
    return clean(f"{scheme}://{f'{user}@' if user else ''}{name}{f'?{where}' if where else ''}")


def _folder(text: str, shown: str) -> NodeSpec:
    """`chroot:///PATH`. As for testinfra, whose place of a spec ends at the first slash, slashes may be %2F."""
    rest, _, query = text.partition("://")[2].partition("?")
    path = unquote(rest)
    if not path.startswith("/") or not path.isprintable():
        raise SpecError(f"{shown!r} holds no absolute path; write chroot:///PATH")
    return NodeSpec(text, f"chroot://{path}", "chroot", host=path, options=_options(query, shown, "chroot"))


def _pattern(text: str, shown: str) -> NodeSpec:
    """A host, group or pattern of an inventory, to be looked up there: see `pytest_gpuready.backends`."""
    pattern, _, query = text.partition("://")[2].partition("?")
    pattern = pattern.rstrip("/") or "all"
    if not re.fullmatch(r"[A-Za-z0-9_*\[!][A-Za-z0-9_.*\[\]!:-]*", pattern, re.ASCII):
        raise SpecError(f"{shown!r} holds no name or pattern of an inventory")
    return NodeSpec(text, f"ansible://{pattern}", "ansible", host=pattern, options=_options(query, shown, "ansible"))


def _minion(text: str, shown: str) -> NodeSpec:
    """`salt://MINION`: an id, since the suite names each of its nodes; a target may match what nobody thought of."""
    minion, _, query = text.partition("://")[2].partition("?")
    minion = minion.rstrip("/")
    if "@" in minion:
        raise SpecError(f"{shown!r}: Salt takes no user, and compound targets are not supported; --sudo-user names one")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", minion, re.ASCII):
        raise SpecError(f"{shown!r} holds no id of a minion (name each by its id; a set such as gpu[1-4] is expanded)")
    return NodeSpec(text, f"salt://{minion}", "salt", host=minion, options=_options(query, shown, "salt"))


def _options(query: str, shown: str, scheme: str) -> tuple[tuple[str, str], ...]:
    options = tuple(parse_qsl(query, keep_blank_values=True))
    keys = keys_of(scheme)
    for key, value in options:
        if key not in keys:
            raise SpecError(f"{shown!r}: unknown option {clean(key)!r}; there are {', '.join(keys)}")
        if "\0" in value:
            raise SpecError(f"{shown!r}: {key} holds a NUL")
        if key in ("timeout", "controlpersist") and not re.fullmatch(r"0*[1-9]\d{0,5}", value, re.ASCII):
            raise SpecError(f"{shown!r}: {key} wants a number of seconds, not {clean(value)!r}")
    return options


def keys_of(scheme: str) -> tuple[str, ...]:
    """What may stand after the `?` of a spec of this scheme."""
    return () if scheme == "snapshot" else _KEYS.get(scheme, OPTIONS)


def parse_all(texts: list[str]) -> list[NodeSpec]:
    """All nodes that comma-separated specs name, in their order, each once."""
    nodes: dict[str, NodeSpec] = {}
    for text in texts:
        for part in split(text):
            # In an inventory's own patterns brackets mean something else.
            for single in [part] if part.startswith("ansible://") else expand(part):
                node = parse(single)
                nodes.setdefault(node.label, node)
    return list(nodes.values())


def _shown(text: str) -> str:
    """The spec without its password and controls: up to the last @, since a password may hold one."""
    return one_line(re.sub(r"(?s)((?:^|://)[^/@:]*):(?!//).*@", r"\1:***@", text))
