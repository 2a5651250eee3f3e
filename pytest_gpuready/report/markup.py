"""HTML out of text that nobody vouches for: everything is cleaned and escaped, and nothing else makes markup."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, NamedTuple

from pytest_gpuready.node.clean import clean, one_line, shorten
from pytest_gpuready.report.files import LINE_LIMIT, REDACTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_gpuready.model import Status
    from pytest_gpuready.report.model import Verdict


class Sign(NamedTuple):
    """How a status looks: a sign, a word, and a tone of the style sheet. The word alone says everything."""

    sign: str
    word: str
    tone: str


STATUS: dict[Status, Sign] = {
    "fail": Sign("✗", "fail", "bad"),
    "unknown": Sign("?", "unknown", "warn"),
    "warn": Sign("!", "warning", "warn"),
    "blocked": Sign("⊘", "blocked", "quiet"),
    "pass": Sign("✓", "pass", "good"),
    "not-applicable": Sign("-", "not applicable", "quiet"),
}
VERDICT: dict[Verdict, Sign] = {
    "unreachable": Sign("✗", "unreachable", "bad"),
    "incomplete": Sign("✗", "incomplete", "bad"),
    "not-ready": Sign("✗", "not ready", "bad"),
    "unknown": Sign("?", "unknown", "warn"),
    "ready": Sign("✓", "ready", "good"),
}


def text(value: str, limit: int = 4000) -> str:
    """Words on one line."""
    return html.escape(one_line(value, limit))


def block(value: str) -> str:
    """Several lines as they are; a line that no report can hold is cut, and visibly so."""
    lines = (shorten(line, LINE_LIMIT) for line in clean(value).strip("\n").split("\n"))
    return marked("\n".join(lines))


def command(value: str) -> str:
    """What is to be copied: cleaned, escaped, never cut."""
    return html.escape(clean(value).strip("\n"))


def marked(value: str) -> str:
    """Cleaned text, escaped, in which what was removed as a secret can be seen as such."""
    return REDACTED.sub(lambda match: f'<span class="cut">{match[0]}</span>', html.escape(clean(value)))


def code(value: str, limit: int = 4000) -> str:
    """Words of a machine, inline."""
    return f"<code>{text(value, limit)}</code>"


def codes(values: Iterable[str]) -> str:
    """Several of them with commas."""
    return ", ".join(code(value) for value in values)


def badge(sign: Sign) -> str:
    """A status as a word with its sign, which readers aloud leave out."""
    return f'<span class="badge {sign.tone}"><span aria-hidden="true">{sign.sign}</span> {sign.word}</span>'


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Terms and what is said of them; what is said is markup already."""
    rows = "".join(f"<div><dt>{text(term)}</dt><dd>{said}</dd></div>" for term, said in pairs if said)
    return f"<dl>{rows}</dl>" if rows else ""


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, sortable: bool = False) -> str:
    """A table in a box of its own that scrolls where the window is narrow; cells are markup already."""
    shown = "".join(f'<th scope="col">{text(head)}</th>' for head in heads)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>\n' for row in rows
    )
    name = html.escape(caption)
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0"><table{kind}><caption>{name}</caption>'
        f"<thead><tr>{shown}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def folded(summary: str, body: str, *, opened: bool = False, ident: str = "") -> str:
    """What is there for those who look for it; `summary` and `body` are markup already."""
    ident = f' id="{ident}"' if ident else ""
    return f"<details{ident}{' open' if opened else ''}><summary>{summary}</summary>\n{body}</details>\n"
