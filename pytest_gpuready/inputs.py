"""What a user types, understood alike by pytest's options and by `python -m pytest_gpuready merge`; knows no pytest."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pytest_gpuready.node.hosts import SpecError, parse_all
from pytest_gpuready.outputs import is_stream, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class InputError(ValueError):
    """Something that cannot be understood; the message is one sentence, and the exit code 4."""


def routes(value: str | None, source: str) -> tuple[str, ...]:
    """The routes that must hold; none: by evidence. `source` is how the value was given, for the sentence."""
    from pytest_gpuready.routes import ROUTES  # noqa: PLC0415 - it imports the views

    words = re.split(r"[,\s]+", value or "")
    found = tuple(dict.fromkeys(word for word in words if word))
    wrong = [route for route in found if route not in ROUTES]
    if (wrong and found not in (("any",), ("all",))) or (value is not None and not found):
        raise InputError(
            f"{source}: {', '.join(wrong) or 'nothing'}: no such route; "
            f"there are {', '.join(ROUTES)}, or any, or all alone"
        )
    return found


def socket(value: str | None, source: str) -> str | None:
    """The path of a daemon's socket."""
    if value is None:
        return None
    path = value.removeprefix("unix://")
    if not path.startswith("/"):
        raise InputError(f"{source}: not an absolute path of a socket")
    return path


def lines(text: str) -> Iterator[tuple[int, str]]:
    """What a file of hosts names, with the line's number; comments and empty lines left out."""
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        # A comment begins at the line's start or after a blank; elsewhere # may belong to a spec.
        spec = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        if spec:
            yield number, spec


def spec_lines(text: str, name: str) -> Iterator[str]:
    """The specs of a file of hosts, each of which can be understood."""
    for number, spec in lines(text):
        try:
            parse_all([spec])
        except SpecError as error:
            raise InputError(hidden(f"{name}:{number}: {error}")) from None
        yield spec


def hidden(text: str) -> str:
    """The text without the passwords of host specs in it, also of those that lack their scheme."""
    # A group has a colon of its own: ssh://@slurm:idle!@broken.
    return re.sub(
        r"((?:://|[@!&^])@[\w.-]+:[\w.-]+)|([A-Za-z0-9_.%$\\-]):(?!//)[^/\s,]*@",
        lambda found: found[1] or f"{found[2]}:***@",
        text,
    )


def check_writable(option: str, path: Path) -> None:
    """A report that could not be written is better known before anything is done."""
    if why := refusal(path):
        raise InputError(f"{option} {path} {why}: name a file that can be replaced")
    if is_stream(path):
        return
    place = path.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{option} {path} cannot be written: {place} is not a directory that may be written to")
