"""`python -m pytest_gpuready.docs DIR`: the pages of docs/ that are made from the code.

A page per check, a table of all checks, the routes with what they require, and symptom → root → remedy. They are made
of docstrings, of `needs`, of the routes themselves and of the families' tables `MESSAGES`, so that they cannot say
otherwise than the code.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuready import docs_reads, docs_reference
from pytest_gpuready.checks.catalogue import FAMILIES, Check, catalogue
from pytest_gpuready.checks.messages import messages
from pytest_gpuready.report.pages import (
    either,
    families,
    own_needs,
    paragraphs,
    requirement,
    routes_of,
    seen_as,
    summary,
)
from pytest_gpuready.routes import ROUTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_gpuready.routes import Route

#: The first line of every page, by which a page of ours is known.
MARK = "<!-- Made by `python -m pytest_gpuready.docs`; edit the code instead. -->"

_ADVISORY = "Advisory: it warns at most, and never changes a verdict."


def pages() -> dict[str, str]:
    """Every page: its path below the folder, and its text."""
    made = {f"checks/{check.id}.md": check_page(check) for check in catalogue().values()}
    made |= {"checks/README.md": index_page(), "routes.md": routes_page(), "symptoms.md": symptoms_page()}
    made |= {
        "options.md": docs_reference.options_page(),
        "json-keys.md": docs_reference.json_keys_page(),
        "what-is-read.md": docs_reads.page(),
    }
    return {path: f"{MARK}\n\n{text.rstrip()}\n" for path, text in made.items()}


def write(folder: Path) -> list[str]:
    """Write the pages that are not there as they should be, and remove those of checks that are gone; what was done."""
    made, done = pages(), []
    (folder / "checks").mkdir(parents=True, exist_ok=True)
    for path, text in made.items():
        file = folder / path
        if not file.is_file() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")
            done.append(f"wrote {path}")
    for file in sorted((folder / "checks").glob("*.md")):
        path = f"checks/{file.name}"
        if path not in made and file.read_text("utf-8", "replace").startswith(MARK):
            file.unlink()
            done.append(f"removed {path}")
    return done


# ---------------------------------------------------------------------- the pages


def check_page(check: Check) -> str:
    """A check: what it is, why, what mends it, what it needs, which routes require it, and how it shows."""
    lines = [f"# {check.id}", "", f"**{prose(check.title)}**", ""]
    if summary(check):
        lines += [prose(summary(check)), ""]
    lines += [_ADVISORY, ""] if check.advisory else []
    for head, body in check.page.items():
        lines += [f"## {head}", ""]
        for paragraph in paragraphs(body):
            lines += [prose(paragraph), ""]
    lines += ["## Needs", "", _links(check.needs, "") or "Nothing: everything else needs it.", ""]
    lines += ["## Required by", "", *(_required_by(check) or ["No route."]), ""]
    shown = seen_as(check.id)
    if shown:
        lines += ["## Seen as", ""]
        lines += [f"- {code(message.text)}{f': {prose(message.note)}' if message.note else ''}" for message in shown]
        lines += [""]
    return "\n".join([*lines, f"Family: {check.family}. [All checks](README.md)"])


def _required_by(check: Check) -> list[str]:
    return [
        f"- [{route_id}](../routes.md#{route_id})" + (f", with {either(conditions)}" if conditions else "")
        for route_id, conditions in routes_of(check).items()
    ]


def index_page() -> str:
    """A table of all checks."""
    lines = [
        "# Checks",
        "",
        "Every check but `node.reachable` needs `node.reachable`; the column shows what else it needs.",
        "",
    ]
    lines += ["Advisory checks warn at most, and never change a verdict.", ""]
    lines += [
        "In the references `ctd v1.7.34:PATH:LINE` is a place in containerd's sources at that tag",
        "(github.com/containerd/containerd), `toolkit v1.20.0:PATH` one in NVIDIA's container toolkit",
        "(github.com/NVIDIA/nvidia-container-toolkit), and an issue is one of the project that is named.",
        "",
    ]
    for family, members in families(catalogue().values()).items():
        lines += [f"## {family}", "", "| check | condition | needs |", "| --- | --- | --- |"]
        for check in members:
            note = " (advisory)" if check.advisory else ""
            lines.append(_row(f"[{check.id}]({check.id}.md){note}", prose(check.title), _links(own_needs(check), "")))
        lines.append("")
    return "\n".join(lines)


def routes_page() -> str:
    """What each route is and requires."""
    common = frozenset.intersection(*(requirement(route_id).always for route_id in ROUTES))
    lines = [
        "# Routes",
        "",
        "The ways in which a container gets its GPU. Each requires checks, and what those need.",
        "",
    ]
    lines += [_row("route", "what you type"), _row("---", "---")]
    lines += [_row(f"[{route.id}](#{route.id})", _command(route)) for route in ROUTES.values()]
    lines += ["", "## Every route requires", "", *_by_family(common)]
    for route in ROUTES.values():
        needed = requirement(route.id)
        lines += ["", f"## {route.id}", "", _command(route)]
        if needed.always - common:
            lines += ["", "Beside what every route requires:", "", *_by_family(needed.always - common)]
        for words, ids in _together(needed.when).items():
            lines += ["", f"With {words}, also:", "", *_by_family(ids)]
    return "\n".join(lines)


def _command(route: Route) -> str:
    """What a user types; a pod is described in words."""
    return prose(route.command) if route.command.startswith("a pod") else code(route.command)


def _together(when: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Conditions that require the same, as one."""
    words: dict[frozenset[str], list[str]] = {}
    for condition, ids in when.items():
        words.setdefault(ids, []).append(condition)
    return {either(conditions): ids for ids, conditions in words.items()}


def _by_family(ids: Iterable[str]) -> list[str]:
    """A line for each family; ids in the order of the catalogue, then the others by name."""
    order = {check_id: number for number, check_id in enumerate(catalogue())}
    grouped: dict[str, list[str]] = {}
    for check_id in sorted(ids, key=lambda known: (order.get(known, len(order)), known)):
        grouped.setdefault(check_id.partition(".")[0], []).append(check_id)
    ranks = {family: number for number, family in enumerate(FAMILIES)}
    return [
        f"- {family}: {_links(members, 'checks/')}"
        for family, members in sorted(grouped.items(), key=lambda item: ranks.get(item[0], len(ranks)))
    ]


def symptoms_page() -> str:
    """Symptom → root → remedy."""
    checks, lines = (
        catalogue(),
        ["# Symptoms", "", "What you see, the check that finds its cause, and what mends it.", ""],
    )
    shown = [message for message in messages() if message.check in checks]
    for family in families(checks.values()):
        mine = [message for message in shown if message.check.partition(".")[0] == family]
        if mine:
            lines += [f"## {family}", "", _row("symptom", "root", "remedy"), _row("---", "---", "---")]
        for message in mine:
            note = f" ({prose(message.note)})" if message.note else ""
            check = checks[message.check]
            lines.append(
                _row(
                    code(message.text) + note,
                    _links([check.id], "checks/"),
                    prose(" ".join(paragraphs(check.page.get("Fix", "")))),
                )
            )
        lines += [""] if mine else []
    return "\n".join(lines)


# ---------------------------------------------------------------------- Markdown


def prose(text: str) -> str:
    """A docstring's words as Markdown: code spans stay, nothing else becomes markup or HTML."""
    parts = re.split(r"(`+[^`]+`+)", text)
    for place in range(0, len(parts), 2):
        parts[place] = re.sub(r"([\\*$\[\]])", r"\\\1", parts[place]).replace("&", "&amp;").replace("<", "&lt;")
        parts[place] = re.sub(r"(?<![\w])_|_(?![\w])", r"\\_", parts[place])
    return "".join(parts)


def code(text: str) -> str:
    """A code span that holds any text, backticks too."""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text[:1] == "`" or text[-1:] == "`" else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _links(ids: Iterable[str], folder: str) -> str:
    known = catalogue()
    return ", ".join(
        f"[{check_id}]({folder}{check_id}.md)" if check_id in known else code(check_id) for check_id in ids
    )


def _row(*cells: str) -> str:
    """A row of a table; a bar inside a cell is no border."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages into the folder that is named."""
    parser = argparse.ArgumentParser(
        prog="python -m pytest_gpuready.docs", description="Make the pages of docs/ from the code."
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="the folder to write to, such as docs")
    folder: Path = parser.parse_args(argv).folder
    try:
        done = write(folder)
    except OSError as error:
        parser.exit(2, f"{parser.prog}: {error.filename or folder}: {error.strerror}\n")
    sys.stdout.write("".join(f"{line}\n" for line in done) or "nothing to do\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
