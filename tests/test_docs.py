"""The pages of docs/ are made from the code, and what is committed is what the code makes now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_gpuready import docs
from pytest_gpuready.checks.catalogue import HEADS, catalogue
from pytest_gpuready.routes import ROUTES

ROOT = Path(__file__).parents[1]


def test_what_is_committed_is_what_the_code_makes_now() -> None:
    """`python -m pytest_gpuready.docs docs` after every change of a docstring, a need, a route or a message."""
    folder = ROOT / "docs"
    if not (folder / "checks").is_dir():
        pytest.skip("docs/ has not been made here")
    made = docs.pages()
    assert {path for path in made if not (folder / path).is_file()} == set()
    assert {path for path, text in made.items() if (folder / path).read_text("utf-8") != text} == set()
    assert {file.name for file in (folder / "checks").iterdir()} == {
        path[7:] for path in made if path.startswith("checks/")
    }


def test_every_check_has_a_page_with_every_head() -> None:
    made = docs.pages()
    for check_id in catalogue():
        text = made[f"checks/{check_id}.md"]
        for head in (*HEADS, "Needs", "Required by"):
            assert re.search(rf"^## {head}\n\n\S", text, re.MULTILINE), (check_id, head)


def test_every_link_leads_to_a_page_and_every_anchor_to_a_head() -> None:
    made = docs.pages()
    for path, text in made.items():
        for target in re.findall(r"\]\(([^)]+)\)", text):
            file, _, anchor = target.partition("#")
            if not (path.startswith("checks/") or path in ("routes.md", "symptoms.md")):
                continue  # these lead to pages that are written by hand too: see tests/test_links.py
            page = (Path("/") / path).parent.joinpath(file).as_posix() if file else f"/{path}"
            name = _resolved(page)
            assert name in made, (path, target)
            assert not anchor or f"\n## {anchor}\n" in made[name], (path, target)


def _resolved(path: str) -> str:
    parts: list[str] = []
    for part in path.strip("/").split("/"):
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def test_the_routes_page_has_every_route_with_its_command() -> None:
    text = docs.routes_page()
    for route in ROUTES.values():
        assert f"\n## {route.id}\n\n" in text
        assert route.command in text.replace("\\", "")


def test_a_symptom_stands_beside_its_root_and_remedy() -> None:
    row = next(line for line in docs.symptoms_page().splitlines() if "Insufficient nvidia.com/gpu" in line)
    assert "[kubernetes.allocatable](checks/kubernetes.allocatable.md)" in row
    assert "device plugin" in row.split(" | ")[2]


def test_every_row_of_every_table_has_as_many_cells_as_its_head() -> None:
    for path, text in docs.pages().items():
        width = 0
        for line in text.splitlines():
            cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("| ") else 0
            assert not cells or not width or cells == width, (path, line)
            width = cells


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("a <pid> & *x* [y](z)", r"a &lt;pid> &amp; \*x\* \[y\](z)"),
        ("`<pid> *` and <b>", "`<pid> *` and &lt;b>"),
        ("$A or $B, _x_ and a_b", r"\$A or \$B, \_x\_ and a_b"),
    ],
)
def test_words_never_become_markup(text: str, made: str) -> None:
    assert docs.prose(text) == made


@pytest.mark.parametrize(("text", "made"), [("a", "`a`"), ("a`b", "``a`b``"), ("`a``", "``` `a`` ```")])
def test_code_holds_backticks(text: str, made: str) -> None:
    assert docs.code(text) == made


def test_writing_twice_does_nothing_and_pages_of_checks_that_are_gone_go(tmp_path: Path) -> None:
    assert docs.write(tmp_path)
    assert docs.write(tmp_path) == []
    gone, own = tmp_path / "checks" / "x.gone.md", tmp_path / "checks" / "notes.md"
    gone.write_text(f"{docs.MARK}\n", "utf-8")
    own.write_text("mine\n", "utf-8")
    assert docs.write(tmp_path) == ["removed checks/x.gone.md"]
    assert own.exists()


def test_the_module_is_a_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest_gpuready.docs", str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert "wrote routes.md" in done.stdout
    assert (tmp_path / "symptoms.md").is_file()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        docs.main([str(tmp_path / "file")])
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
