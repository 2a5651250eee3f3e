"""docs/options.md and docs/json-keys.md: made from the parser itself and from the JSON Schema."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from pytest_gpuready import plugin
from pytest_gpuready.node.hosts import CONTAINERS, SCHEMES, keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator

#: testinfra's options that hold for the suite too.
_THEIRS = ("--hosts", "--ssh-config", "--ssh-identity-file", "--sudo", "--sudo-user", "--ansible-inventory")
_HELP = {
    "--hosts": "nodes, comma separated, with number sets: `ssh://root@gpu[001-512]` (default: this machine)",
    "--ssh-config": "ssh's configuration file, for `ssh://`, `paramiko://` and inventories",
    "--ssh-identity-file": "the key to log in with",
    "--sudo": "ask as root by `sudo -n`: it must want no password",
    "--sudo-user": "ask as this user instead",
    "--ansible-inventory": "the inventory that `ansible://` means (default: ansible.cfg's)",
}


class _Options:
    """Stands for pytest's parser: keeps what is added."""

    def __init__(self) -> None:
        self.options: list[tuple[str, dict[str, Any]]] = []
        self.ini: dict[str, str] = {}

    def getgroup(self, *_: object, **__: object) -> _Options:
        return self

    def addoption(self, name: str, *_: str, **words: Any) -> None:
        self.options.append((name, words))

    def addini(self, name: str, help: str, **_: Any) -> None:  # noqa: A002 - pytest's name
        self.ini[name] = help


def options() -> _Options:
    """What the plugin adds to pytest's parser."""
    found = _Options()
    plugin.pytest_addoption(found)  # type: ignore[arg-type]
    return found


def options_page() -> str:
    """Options, ini keys, host specs and exit codes."""
    found = options()
    lines = [
        "# Options",
        "",
        "Beside pytest's own. An option wins over its ini key, which the report names with its file.",
        "",
    ]
    lines += ["| option | what | ini key |", "| --- | --- | --- |"]
    for name, words in found.options:
        key = name.removeprefix("--").replace("-", "_")
        shown = f"{name} {words['metavar']}" if "metavar" in words else name
        lines.append(f"| `{shown}` | {words['help']} | {f'`{key}`' if key in found.ini else ''} |")
    lines += ["", "testinfra's options hold for the suite as for people's own tests:", ""]
    lines += ["| option | what |", "| --- | --- |"]
    lines += [f"| `{name}` | {_HELP[name]} |" for name in _THEIRS]
    lines += ["", "`--html PATH` and `--junitxml PATH` are pytest-html's and pytest's own.", ""]
    lines += ["## In an ini file", "", "```toml", "[tool.pytest.ini_options]", 'gpuready_routes = "cri-handler"']
    lines += [
        "gpuready_timeout = 60",
        "```",
        "",
        "A key that begins with `gpuready` and is none of these is a usage error:",
        "",
    ]
    lines += [f"- `{name}`: {text}" for name, text in found.ini.items()]
    lines += [
        "",
        "## Host specs",
        "",
        "What may stand after the `?` of a spec, by its transport ([transports](transports.md)):",
        "",
    ]
    lines += ["| transport | keys |", "| --- | --- |"]
    for scheme in SCHEMES:
        keys = ", ".join(f"`{key}`" for key in keys_of(scheme)) or "none"
        lines.append(f"| `{scheme}://` | {keys} |")
    lines += ["", *_EXIT_CODES]
    assert set(CONTAINERS) <= set(SCHEMES)  # noqa: S101 - the table has them all
    return "\n".join(lines)


_EXIT_CODES = (
    "## Exit codes",
    "",
    "| code | with `--gpuready` |",
    "| --- | --- |",
    "| 0 | every node is ready (and your own tests passed) |",
    "| 1 | some node is not ready, not known to be, or could not be asked; or one of your own tests failed |",
    "| 2 | interrupted; nodes that were not finished are `incomplete` in the reports |",
    "| 3 | an internal error of pytest or of a plugin |",
    "| 4 | the command line, an ini key or a host spec cannot be understood; nothing was asked |",
    "",
    "Which items pytest is told to show (ids, `-k`, `-m`) changes nothing: the verdict is made of all checks.",
)


def schema() -> dict[str, Any]:
    """The JSON Schema of the report, as shipped."""
    text = resources.files("pytest_gpuready.report").joinpath("schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def json_keys_page() -> str:
    """Every key of the JSON report with its type, from the schema."""
    whole = schema()
    lines = [
        "# Keys of the JSON report",
        "",
        "Made from `pytest_gpuready/report/schema.json`; how to read them: [json.md](json.md).",
        "",
    ]
    lines += ["| key | type | what |", "| --- | --- | --- |"]
    for path, kind, text in keys(whole, whole, ""):
        lines.append(f"| `{path}` | {kind} | {text} |".replace("  |", " |"))
    return "\n".join(lines)


def keys(whole: dict[str, Any], part: dict[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    """Path, type in words and description of each key below a part of the schema."""
    for name, raw in part.get("properties", {}).items():
        entry = _resolved(whole, raw)
        place = f"{path}.{name}" if path else name
        yield place, _kind(whole, entry), entry.get("description", "")
        yield from _below(whole, entry, place)


def _below(whole: dict[str, Any], entry: dict[str, Any], place: str) -> Iterator[tuple[str, str, str]]:
    if "items" in entry:
        yield from keys(whole, _resolved(whole, entry["items"]), f"{place}[]")
    more = entry.get("additionalProperties")
    if isinstance(more, dict):
        yield from keys(whole, _resolved(whole, more), f"{place}.NAME")
    yield from keys(whole, entry, place)


def _resolved(whole: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with what it refers to; its own words win."""
    reference = entry.get("$ref")
    if reference is None:
        return entry
    return {
        **_resolved(whole, whole["$defs"][reference.rpartition("/")[2]]),
        **{k: v for k, v in entry.items() if k != "$ref"},
    }


def _kind(whole: dict[str, Any], entry: dict[str, Any]) -> str:
    if "enum" in entry:
        return ", ".join(f"`{word}`" if word is not None else "null" for word in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    kinds = entry.get("type", "any")
    words = [kinds] if isinstance(kinds, str) else list(kinds)
    said = " or ".join(words)
    if "items" in entry:
        return f"{said} of {_kind(whole, _resolved(whole, entry['items']))}"
    return said
