"""What a hostile node says changes nothing but text: in HTML, Markdown, JSON, the terminal and file names."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from pytest_gpuready.node.snapshot import file_name
from pytest_gpuready.report import html, markdown, terminal
from pytest_gpuready.report.json import dumps
from tests.report.hostile import CONTROLS, PAYLOADS, hostile_run

#: Words that are as harmless as words can be, as many as a payload has.
BENIGN = "plain words"


class Tags(HTMLParser):
    """The tags of a page, with their attributes' names and what those that lead somewhere say."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[tuple[str, str, str]] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs or [("", "")]:
            leads = name in ("href", "src", "style", "id") or name.startswith("on")
            self.found.add((tag, name, re.sub(r"\d+", "0", value or "") if leads else ""))

    def handle_comment(self, data: str) -> None:
        self.found.add(("comment", data, ""))

    def handle_pi(self, data: str) -> None:
        self.found.add(("instruction", data, ""))

    def unknown_decl(self, data: str) -> None:
        self.found.add(("declaration", data, ""))


@pytest.mark.parametrize("number", range(len(PAYLOADS)))
@pytest.mark.parametrize("nodes", [1, 3])
def test_html_has_the_same_tags_whatever_a_node_says(number: int, nodes: int) -> None:
    usual = Tags(html.render(hostile_run(BENIGN, nodes=nodes))).found
    page = html.render(hostile_run(PAYLOADS[number], nodes=nodes))
    assert Tags(page).found - usual <= {("details", "", "")}  # a long set of nodes is folded away
    assert [control for control in CONTROLS if control in page] == []
    assert max(map(len, page.split("\n"))) < 200_000 or len(PAYLOADS[number]) > 100_000


@pytest.mark.parametrize("nodes", [1, 3])
def test_markdown_holds_what_a_node_says_in_code_alone(nodes: int) -> None:
    """Take away blocks and spans of code as CommonMark reads them: nothing of the payload is left."""
    for payload in PAYLOADS:
        said = markdown.dumps(hostile_run(payload, nodes=nodes))
        assert [control for control in CONTROLS if control in said] == []
        left = without_code(said)
        for sign in ("<", "](", "pwned", "evil.example", "@everyone", "javascript:", "{color", "CDATA", "\\`"):
            assert sign not in left, (payload[:40], sign, left)
        heads = [line for line in left.split("\n") if line.startswith("#")]
        usual = without_code(markdown.dumps(hostile_run(BENIGN, nodes=nodes)))
        assert heads == [line for line in usual.split("\n") if line.startswith("#")]


def without_code(text: str) -> str:
    """CommonMark 0.31, 4.5 and 6.1: a fence is closed by one at least as long, a span by a run exactly as long."""
    left, fence = [], ""
    for line in text.split("\n"):
        opened = re.match(r"(`{3,})[a-z]*$", line)
        if fence:
            if re.fullmatch(rf"`{{{len(fence)},}}", line):
                fence = ""
        elif opened:
            fence = opened[1]
        else:
            left.append(line)
    assert not fence, "a block of code is never closed"
    return re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "CODE", "\n".join(left))


def test_json_is_valid_and_holds_no_control() -> None:
    text = dumps(hostile_run())
    assert text.isascii()
    said = "".join(texts(json.loads(text)))
    assert len(said) > 100_000
    assert [control for control in CONTROLS if control in said] == []


def texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (str(key), *texts(item))]
    return [text for item in value for text in texts(item)] if isinstance(value, list) else [str(value)]


@pytest.mark.parametrize("verbosity", [-1, 0, 2])
def test_the_terminal_gets_lines_without_controls(verbosity: int) -> None:
    for line in terminal.lines(hostile_run(nodes=2), verbosity=verbosity):
        assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\n]", line.text) is None


def test_a_label_makes_a_file_name_and_no_path() -> None:
    names = [file_name(payload) for payload in PAYLOADS]
    assert all(re.fullmatch(r"[A-Za-z0-9._@-]{1,200}", name) for name in names)
    assert len(set(names)) == len(names)
