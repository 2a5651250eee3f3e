"""Judge a case of the field and compare the report with the case's `expect.json`."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from pytest_gpuready.model import Settings
from pytest_gpuready.node.hosts import parse
from pytest_gpuready.node.transport import Options
from pytest_gpuready.report import html as page
from pytest_gpuready.report.json import render
from pytest_gpuready.runner import Runner

FOLDER = Path(__file__).parent
CASES = sorted(path.parent.name for path in (FOLDER / "cases").glob("*/expect.json"))
#: The cases that are answered rightly, one name a line; `python -m tests.field` writes it.
RIGHT = FOLDER / "right.txt"


def expected(case: str) -> dict[str, Any]:
    """Return the right answer of a case."""
    document: dict[str, Any] = json.loads((FOLDER / "cases" / case / "expect.json").read_text("utf-8"))
    return document


def wrong(case: str) -> list[str]:
    """Judge a case; return what does not hold, in words."""
    rules = expected(case)
    routes = rules["options"][1].split(",") if rules["options"] else ()
    spec = parse(f"snapshot://{FOLDER / 'cases' / case / 'facts.json'}")
    run = Runner([spec], Settings(routes=tuple(routes)), Options()).run()
    (node,) = render(run)["nodes"]
    text = html.unescape(re.sub(r"<[^>]*>", "", page.render(run))) if "never_prints" in rules else ""
    return compare(rules, json.loads(json.dumps(node)), text)


def compare(rules: dict[str, Any], node: dict[str, Any], text: str) -> list[str]:
    """Return the rules that a node's report breaks: `README.md` says what each means."""
    roots = [root for root in node["root_causes"] if root["routes"] and not root["advisory"]]
    roots = [root for root in roots if root["status"] in ("fail", "unknown")]
    ids = [root["check"] for root in roots]
    words, typed = [said(root) for root in roots], [line for root in roots for line in commands(root)]
    fixes = [flat((root["remedy"] or {}).get("summary"), *commands(root), *edits(root)) for root in roots]
    notes = [said(root) + " " + flat(*commands(root)) for root in node["root_causes"]]
    notes += [said(check) for check in node["checks"] if check["status"] in ("warn", "fail", "unknown")]
    notes.append(flat(node["reason"], node["required_routes"]["because"]))
    printed = [flat(json.dumps(node, ensure_ascii=False)), flat(text)]
    wanted = rules.get("roots", {})
    found = [] if node["verdict"] in rules["verdict"] else [f"the verdict is {node['verdict']}"]
    if "any" in wanted and not any(has(pattern, ids) for pattern in wanted["any"]):
        found.append(f"no root like {wanted['any']}: {ids}")
    found += [f"no root like {pattern}: {ids}" for pattern in wanted.get("all", ()) if not has(pattern, ids)]
    if "only" in wanted:
        found += [f"root too many: {one}" for one in ids if not any(has(pattern, [one]) for pattern in wanted["only"])]
    for key, places in (("says", words), ("mends", fixes), ("types", typed), ("advice", notes)):
        found += [f"{key}: nothing like /{pattern}/" for pattern in rules.get(key, ()) if not has(pattern, places)]
    for key, places in (("never_says", words), ("never_types", typed), ("never_prints", printed)):
        for rule in rules.get(key, ()):
            pattern, unless = (rule["re"], rule["unless"]) if isinstance(rule, dict) else (rule, None)
            if has(pattern, places) and not (unless and has(unless, typed)):
                found.append(f"{key}: /{pattern}/")
    return found


def has(pattern: str, texts: list[str]) -> bool:
    """Return whether a pattern is found in one of the texts, upper or lower case."""
    return any(re.search(pattern, text, re.IGNORECASE) for text in texts)


def flat(*texts: object) -> str:
    """Join texts to one line."""
    return " ".join(" ".join(str(text).split()) for text in texts if text)


def commands(root: dict[str, Any]) -> list[str]:
    """Return the commands of a root's remedy."""
    return list((root["remedy"] or {}).get("commands") or ())


def edits(root: dict[str, Any]) -> list[str]:
    """Return the diffs of a root's remedy."""
    return [edit["diff"] for edit in (root["remedy"] or {}).get("edits") or ()]


def said(finding: dict[str, Any]) -> str:
    """Return the words of a finding: what was found and expected, where, the evidence, the remedy's sentence."""
    where = finding.get("where") or {}
    place = f"{where.get('path')}:{where['line']}" if where.get("line") else where.get("path")
    evidence = [text for item in finding.get("evidence") or () for text in (item["source"], item["text"])]
    summary = (finding.get("remedy") or {}).get("summary")
    return flat(finding.get("found"), finding.get("expected"), place, *evidence, summary)
