"""Files that are brought from elsewhere, snapshots and JSON reports, changed value by value and then used in full.

The bytes of an example choose the file, the places and the changes, so that the engine's seeds reproduce it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import random
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gpuready.judged import judged
from pytest_gpuready.merge import command
from pytest_gpuready.model import Settings
from pytest_gpuready.node import snapshot
from pytest_gpuready.node.clean import clean
from pytest_gpuready.report import baseline, html, markdown
from pytest_gpuready.report import json as as_json
from pytest_gpuready.report.model import Run
from pytest_gpuready.report.terminal import lines
from tests.fuzz import whole
from tests.fuzz.mutate import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

#: The node of the good snapshot.
GOOD = "ssh://root@good-node"

_REPORT = Path(__file__).parents[2] / "reports" / "sample.json"

#: Values of other types and beyond the bounds, made anew at each use.
_STRANGE: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: True,
    list,
    dict,
    lambda: -1,
    lambda: 0,
    lambda: 1.5,
    lambda: 2**31,
    lambda: 10**19,
    lambda: 10**400,
    lambda: float("nan"),
    lambda: float("-inf"),
    lambda: "",
    lambda: "\0",
    lambda: "\ud800",
    lambda: "\udcff",
    lambda: "\x1b[2J\u202e\u2028<script>&`$(id)`",
    lambda: "x" * 100_000,
    lambda: "x\n" * 2000,
    lambda: ["a"] * 3000,
    lambda: {"a": {"b": []}},
    lambda: json.loads("[" * 200 + "]" * 200),
)


def _changed(rest: random.Random, document: Any, vocabulary: list[Any]) -> str:
    """Return the document's text after a few changes at places of any depth."""
    document = json.loads(json.dumps(document))
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        places += [(holder, key) for key in keys]
        waiting += [holder[key] for key in keys if isinstance(holder[key], (dict, list))]
    for _ in range(rest.choice((1, 1, 2, 5, 30))):
        holder, key = rest.choice(places)
        with contextlib.suppress(KeyError, IndexError):
            _change(rest, holder, key, vocabulary)
    text = json.dumps(document, ensure_ascii=rest.random() < 0.9)
    if rest.random() < 0.05:
        at = rest.randrange(len(text))
        text = text[:at] + rest.choice((",", "}", '"a":1,"a":2,', "NaN", "[" * 3000, "\\ud83d")) + text[at:]
    return text


def _change(rest: random.Random, holder: Any, key: Any, vocabulary: list[Any]) -> None:
    kind = rest.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = rest.choice(_STRANGE)()
    elif kind == 2:
        holder[key] = rest.choice(vocabulary)
    elif kind == 3 and isinstance(holder[key], str):
        word = rest.choice(WORDS).decode("utf-8", "surrogateescape")
        at = rest.randint(0, len(holder[key]))
        holder[key] = holder[key][:at] + word + holder[key][at:]
    elif kind == 4 and isinstance(holder, dict):
        holder[rest.choice(("", "x" * 5000, "\x1b[1m", "node", "facts", "__proto__"))] = holder[key]
    elif isinstance(holder, list):
        holder.insert(rest.randint(0, len(holder)), holder[key])


def _leaves(document: Any) -> list[Any]:
    found, waiting = [], [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (dict, list)):
            waiting += value.values() if isinstance(value, dict) else value
        else:
            found.append(value)
    return found


@functools.cache
def _snapshots() -> list[tuple[Any, list[Any]]]:
    documents = [json.loads(snapshot.dumps(facts, {"generator": "fuzz"})) for facts in whole.nodes().values()]
    return [(document, _leaves(document)) for document in documents]


@functools.cache
def _reports() -> list[tuple[Any, list[Any]]]:
    documents = [json.loads(_REPORT.read_bytes())]
    nodes = tuple(judged(facts, Settings()) for facts in whole.nodes().values())
    documents.append(json.loads(as_json.dumps(Run(nodes, "2026-11-22T09:00:00Z", 0.1, "fuzz"))))
    run = Run(nodes, "2026-11-23T09:00:00Z", 0.1, "fuzz")
    documents.append(json.loads(as_json.dumps(replace(run, baseline=baseline.compare(run, documents[0])))))
    return [(document, _leaves(document)) for document in documents]


@functools.cache
def _good() -> bytes:
    text = (snapshot.SHIPPED / "ready.json").read_text("utf-8")
    return json.dumps({**json.loads(text), "node": GOOD}).encode()


def _shown(run: Run) -> None:
    """Every form of report can be made, and holds nothing that a terminal or a parser obeys."""
    for line in lines(run, verbosity=1):
        assert line.text == clean(line.text).replace("\n", ""), line
    document = json.loads(as_json.dumps(run))
    assert [node["verdict"] for node in document["nodes"]] == [node.verdict for node in run.nodes]
    for text in (markdown.dumps(run), html.page(run)):
        assert text == clean(text)


def taken(data: bytes) -> None:
    """A snapshot is refused in words, or judged and told in every form."""
    rest = random.Random(data)
    document, vocabulary = rest.choice(_snapshots())
    facts, _ = snapshot.loads(_changed(rest, document, vocabulary) if data else json.dumps(document), "a snapshot")
    again, _ = snapshot.loads(snapshot.dumps(facts, {}), "again")
    assert [request for request, _ in again] == [request for request, _ in facts]
    report = judged(facts, Settings())
    bugs = [one.outcome.found for one in report.findings.values() if "gpuready itself failed" in one.outcome.found]
    assert bugs == []
    _shown(Run((report,), "2026-11-22T09:00:00Z", 0.1, "fuzz"))


def merged(data: bytes) -> None:
    """A changed report costs nothing else: the command ends in words, and the good snapshot beside it counts."""
    rest = random.Random(data)
    whole_document, vocabulary = rest.choice(_reports())
    nodes = whole_document["nodes"]
    document = {**whole_document, "nodes": rest.sample(nodes, min(3, len(nodes)))}
    text = _changed(rest, document, vocabulary) if data else json.dumps(document)
    with tempfile.TemporaryDirectory() as folder:
        brought = Path(folder, "in")
        brought.mkdir()
        (brought / "bad.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        (brought / "good.json").write_bytes(_good())
        options = [f"--gpuready-json={folder}/o.json", f"--gpuready-md={folder}/o.md", f"--html={folder}/o.html"]
        if rest.random() < 0.5:
            options.append(f"--gpuready-baseline={brought}/bad.json")
        if rest.random() < 0.3:
            options.append(f"--gpuready-routes={rest.choice(('any', 'all', 'cri-handler'))}")
        rc, said = _command([str(brought), *options])
        assert "itself failed" not in said, said
        assert "could not be judged" not in said, said
        if rc == 4:
            assert "--gpuready-baseline" in said, said
            return
        assert rc in (0, 1), said
        made = json.loads(Path(folder, "o.json").read_text("utf-8"))
        whole.validate(made)
        assert "itself failed" not in json.dumps(made)
        if not any("--gpuready-routes" in option for option in options):
            assert [node["verdict"] for node in made["nodes"] if node["node"] == GOOD] == ["ready"]
        assert Path(folder, "o.html").stat().st_size > 1000


def _command(arguments: list[str]) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        rc = command.main(arguments)
    return rc, said.getvalue()
