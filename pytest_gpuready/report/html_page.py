"""One page out of pytest-html's finished page and the report's own part: the verdict first, the frame after it.

Pure. pytest-html puts what its hook is given below its own head, in a page without language, viewport or landmarks,
whose ids become markup (pytest-html 4.2.0: `basereport.py`, issue #1024). A page of another shape is left as it is: the
report's own part stands in it all the same.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re

#: What is wrong with the frame for readers aloud, and what it is replaced by, wherever it stands.
_MENDED = (
    ("<html>", '<html lang="en">'),
    ('<h1 id="title">', '<h2 id="title">'),
    ("<h2>Environment</h2>", "<h3>Environment</h3>"),
    ("<h2>Summary</h2>", "<h3>Summary</h3>"),
    ('<img src="" />', '<img alt="">'),
    (' onclick="location.reload()"', ""),
    ('<table id="results-table">', '<div class="scrolls"><table id="results-table">'),
    ('<table id="environment"></table>', '<div class="scrolls"><table id="environment"></table></div>'),
    ("<footer>", "</div><footer>"),
)
_TITLE = re.compile(r'(<h2 id="title">.*?)</h1>', re.DOTALL)
_CHECKBOX = re.compile(r'(<input checked="true" class="filter"[^>]*data-test-result="(\w+)")')
_BLOB = re.compile(r'data-jsonblob="([^"]*)"')
_SCRIPT = re.compile(r"<script[^>]*>(.*?)</script>", re.DOTALL)


def compose(page: str, main: str, *, style: str, script: str, rows: str, theirs: bool) -> str:
    """The finished page.

    `main` stands in `page` as it was given to pytest-html; `rows` says in words what its table holds. `theirs`: tests
    other than the suite's are in it, whose own attachments may run script and are in sight; without them only the two
    scripts that are known may run, whatever else got into the page.
    """
    if page.count(main) != 1 or not all(page.count(mark) >= 1 for mark in ("</head>", "<body>", "</body>")):
        return page
    frame = page.replace(main, "")
    for wrong, right in _MENDED:
        frame = frame.replace(wrong, right, 1)
    frame = _TITLE.sub(r"\1</h2>", frame, count=1)
    # As JSON is full of them, double quotes that need no escape make the page a third smaller.
    frame = _BLOB.sub(lambda match: f"data-jsonblob='{_single_quoted(match[1])}'", frame)
    frame = _CHECKBOX.sub(lambda match: f'{match[1]} aria-label="show {match[2]}"', frame)
    head, _, rest = frame.partition("</head>")
    before, _, rest = rest.partition("<body>")
    inside, _, after = rest.rpartition("</body>")
    if not theirs:
        # Folded away, thousands of rows need not be drawn before somebody asks for them: html.js runs it then.
        inside = inside.replace("<script>", '<script type="text/plain">')
    body = (
        f'<body>\n{main}<section aria-label="The rows of pytest-html">'
        f'<details class="frame"{" open" if theirs else ""}><summary>{html.escape(rows)}</summary>\n'
        "<p>These are drawn by script. Where none may run they stay empty; the verdict above needs none.</p>\n"
        f"{inside}</details></section>\n<script>{script}</script>\n</body>"
    )
    policy = "" if theirs else _policy(body)
    meta = f'{policy}<meta name="viewport" content="width=device-width, initial-scale=1"/>'
    head = head.replace('<meta charset="utf-8"/>', f'<meta charset="utf-8"/>{meta}', 1)
    return f"{head}<style>\n{style}</style></head>{before}{body}{after}"


def alone(main: str, *, title: str, style: str, script: str) -> str:
    """The page without a frame: the report's own part is all of it. Only the one script may run."""
    body = f"<body>\n{main}<script>{script}</script>\n</body>"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>{_policy(body)}'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style></head>\n{body}\n</html>\n"
    )


def _single_quoted(value: str) -> str:
    """An attribute's value between double quotes as it is between single ones."""
    return html.escape(html.unescape(value), quote=False).replace("'", "&#39;")


def _policy(body: str) -> str:
    """Nothing is fetched, and no script runs but those that the page was made with, known by their hashes."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(found.encode()).digest()).decode()}'"
        for found in _SCRIPT.findall(body)
    )
    rules = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return f'<meta http-equiv="Content-Security-Policy" content="{rules}"/>'
