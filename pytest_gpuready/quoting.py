"""Quoting of a node's text for the languages that a remedy is written in: sh, sed, udev, systemd and the loader.

Every piece of node text in a command passes through one of these functions. A text that a language cannot hold becomes
`UNQUOTABLE`; the judge then shows the remedy's sentence without its commands (`can_be_pasted`).
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from pytest_gpuready.node.clean import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UNQUOTABLE = "\0…"
"""The stand-in for a text that cannot be quoted. Commands never contain NUL, and cleaning leaves the ellipsis."""

_UNIT = re.compile(r"[A-Za-z0-9_.:@\\][A-Za-z0-9_.:@\\-]*")
_EXEC_WORD = re.compile(r"[A-Za-z0-9_./:=,@+-]+")
_LOADER_FOLDER = re.compile(r"/[^\s#=:,\0-\x1f\x7f]*")


def can_be_pasted(command: str) -> bool:
    """Whether a shell's prompt takes the command as it is. Cleaning changes nothing; a tab would complete a word."""
    return "\t" not in command and clean(command) == command


def quote(word: str) -> str:
    """Quote one argument for sh.

    A newline would hide the rest of the argument; a leading dash would make an option of it.
    """
    return UNQUOTABLE if word.startswith("-") or re.search(r"[\0\n\r]", word) else shlex.quote(word)


def quote_unit(name: str) -> str:
    """Quote the name of a systemd unit. systemctl itself expands globs, and a slash would leave the unit's folder."""
    return quote(name) if _UNIT.fullmatch(name) else UNQUOTABLE


def quote_package(name: str) -> str:
    """Quote the name of a package. apt removes a package whose name ends in a dash."""
    return UNQUOTABLE if name.endswith("-") else quote(name)


def quote_path_entry(folder: str) -> str:
    """Quote a folder that is appended to PATH. A colon in it would add a second folder."""
    return UNQUOTABLE if ":" in folder or not folder.startswith("/") else quote(folder)


def echo(line: str) -> str:
    """Return the command that prints a line. dash's echo reads backslashes in it."""
    return f"echo {UNQUOTABLE if chr(92) in line else quote(line)}"


def here_document(command: str, text: str) -> str:
    """Return the command with the text as its standard input, literally."""
    body = UNQUOTABLE if "EOF" in text.split("\n") else text.removesuffix("\n")
    return f"{command} <<'EOF'\n{body}\nEOF"


def escape_sed_pattern(text: str) -> str:
    """Escape a text for the left side of `s|…|…|`; a bar cannot be escaped there."""
    return UNQUOTABLE if re.search(r"[|\0\n]", text) else re.sub(r"([][\\.*^$])", r"\\\1", text)


def escape_sed_replacement(text: str) -> str:
    """Escape a text for the right side of `s|…|…|`."""
    return UNQUOTABLE if re.search(r"[\0\n]", text) else re.sub(r"([&\\|])", r"\\\1", text)


def append_by_sed(line: int, text: str) -> str:
    """Return the sed command that adds a line after another one.

    GNU's and busybox' sed drop blanks before the text unless a backslash stands there, and read backslashes in it.
    """
    return f"{line}a\\" + (UNQUOTABLE if re.search(r"[\0\n]", text) else text.replace("\\", "\\\\"))


def udev_command(words: Sequence[str]) -> str:
    """Return a command line for `RUN+="…"`, which udev splits at blanks and in which it replaces `$` and `%`."""
    return _joined(words, _udev_word)


def _udev_word(word: str) -> str:
    if not word or re.search(r"[\"'\\\0-\x1f\x7f]", word):
        return UNQUOTABLE
    literal = word.replace("%", "%%").replace("$", "$$")
    return f"'{literal}'" if re.search(r"\s", literal) else literal


def unit_command(words: Sequence[str]) -> str:
    """Return a command line for `ExecStart=`: an absolute path and words that systemd reads as they are."""
    return _joined(words, lambda word: word if _EXEC_WORD.fullmatch(word) else UNQUOTABLE)


def _joined(words: Sequence[str], quoted: Callable[[str], str]) -> str:
    return " ".join(map(quoted, words)) if words and words[0].startswith("/") else UNQUOTABLE


def loader_folder(folder: str) -> str:
    """Return a line for a file of /etc/ld.so.conf.d, in which blanks, `#` and `=` have a meaning."""
    return folder if _LOADER_FOLDER.fullmatch(folder) else UNQUOTABLE
