"""The HTML report in a real browser: Chromium, headless, with script and without, under a policy, in a sandbox.

The pages are made by `pytest --gpuready --html` on shipped snapshots, those of hostile nodes by the same two steps on
hand-made reports. Needs Chromium and the extra `lab`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.report import html
from pytest_gpuready.report.html_page import compose
from tests.report.hostile import CONTROLS, hostile_run

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.lab("playwright"), pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]

#: What Jenkins and previews of tickets allow: styles, and nothing else.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"

#: What the suite says of each shipped snapshot: its node, verdict, first root, and the command's beginning.
SHIPPED = {
    "not-restarted": ("gpu01", "NOT READY", "containerd.restarted", "sudo systemctl restart containerd"),
    "wrong-table": ("gpu01", "NOT READY", "containerd.handler", "sudo tee -a /etc/containerd/config.toml"),
    "h200": ("h200", "NOT READY", "toolkit.container-cli", "curl -fsSL https://nvidia.github.io/libnvidia-container"),
}
SEVERAL = "several"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report per shipped snapshot, and one of all of them, as pytest writes them."""
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    everything = ",".join(f"snapshot://{name}" for name in (*SHIPPED, "ready"))
    for name, hosts in ((SEVERAL, everything), *((name, f"snapshot://{name}") for name in SHIPPED)):
        made[name] = folder / f"{name}.html"
        command = [sys.executable, "-m", "pytest", "--gpuready", f"--hosts={hosts}", f"--html={made[name]}"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment.pop("GITHUB_STEP_SUMMARY", None)
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", "-q"], cwd=folder, env=environment, check=False, capture_output=True
        )
        assert done.returncode == 1, done.stdout.decode()
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for all tests."""
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield started
        started.close()


class Visit:
    """A page that was opened: `said` is what the console got, `asked` every address that was asked for."""

    def __init__(self, browser: Any, **how: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **how})
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def file(self, path: Path) -> Any:
        """Open a file from disk."""
        self.page.goto(path.as_uri())
        return self.page

    def served(self, text: str, headers: dict[str, str]) -> Any:
        """Open a text as a server sends it; no server is asked."""
        self.page.route(
            "**/*", lambda route: route.fulfill(body=text, headers={"Content-Type": "text/html", **headers})
        )
        self.page.goto("http://report.example/")
        return self.page


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """Open pages; closed at the end."""
    opened: list[Visit] = []

    def make(**how: Any) -> Visit:
        opened.append(Visit(browser, **how))
        return opened[-1]

    yield make
    for one in opened:
        one.context.close()


def in_first_screen(page: Any, text: str) -> bool:
    """Whether the beginning of the first element with this text is seen without scrolling."""
    box = page.get_by_text(text).first.bounding_box()
    assert box is not None, f"{text} is not shown"
    return bool(box["y"] >= 0 and box["y"] + min(box["height"], 20) <= 800 and 0 <= box["x"] < 1280)


def verdict(page: Any) -> str:
    """Everything that the report's own part says, folded or not, without what script adds to it."""
    said = page.evaluate(
        """() => { const main = document.querySelector("main.gpuready").cloneNode(true);
        main.querySelectorAll(".filter").forEach((one) => one.remove()); return main.textContent; }"""
    )
    return re.sub(r"\s+", " ", str(said))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_first_screen_holds_node_verdict_root_and_command(visit: Any, pages: dict[str, Path], name: str) -> None:
    page = visit().file(pages[name])
    assert [text for text in SHIPPED[name] if not in_first_screen(page, text)] == []


@pytest.mark.parametrize("name", [SEVERAL, "not-restarted"])
@pytest.mark.parametrize("script", [True, False])
def test_no_console_error_and_nothing_is_fetched(visit: Any, pages: dict[str, Path], name: str, script: bool) -> None:  # noqa: FBT001
    seen = visit(java_script_enabled=script)
    page = seen.file(pages[name])
    page.wait_for_timeout(100)
    assert seen.said == []
    assert seen.asked == [pages[name].as_uri()]


@pytest.mark.parametrize("name", [SEVERAL, "wrong-table"])
def test_the_whole_verdict_is_there_without_script_under_a_policy_and_in_a_sandbox(
    visit: Any, pages: dict[str, Path], name: str
) -> None:
    usual = verdict(visit().file(pages[name]))
    assert "containerd.handler" in usual
    assert "sudo tee -a /etc/containerd/config.toml" in usual
    text = pages[name].read_text("utf-8")
    assert verdict(visit(java_script_enabled=False).file(pages[name])) == usual
    policed = visit().served(text, {"Content-Security-Policy": POLICY})
    assert verdict(policed) == usual
    assert in_first_screen(policed, "NOT READY")
    assert policed.evaluate("getComputedStyle(document.querySelector('.top')).borderLeftWidth") == "6px"
    for allowed in ("", "allow-scripts"):
        page = visit().served("<!DOCTYPE html><title>t</title>", {})
        page.evaluate(
            """([text, allowed]) => { const frame = document.createElement("iframe"); frame.srcdoc = text;
            frame.setAttribute("sandbox", allowed); document.body.append(frame);
            return new Promise((done) => frame.onload = done); }""",
            [text, allowed],
        )
        assert verdict(page.frames[1]) == usual


@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [
        (SEVERAL, "light", 1280),
        (SEVERAL, "dark", 320),
        ("not-restarted", "dark", 1280),
        ("not-restarted", "light", 320),
    ],
)
def test_axe_finds_nothing_in_all_of_the_page(
    visit: Any, pages: dict[str, Path], name: str, scheme: str, width: int
) -> None:
    """Folded or unfolded, our part and what is mended of the frame."""
    page = visit(color_scheme=scheme, viewport={"width": width, "height": 800}).file(pages[name])
    for unfold in (False, True):
        if unfold:
            page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            page.wait_for_function("document.querySelector('#results-table tbody')")
        found = pytest.importorskip("axe_playwright_python.sync_playwright").Axe().run(page).response["violations"]
        assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []


@pytest.mark.parametrize("name", [SEVERAL, "h200"])
def test_a_phone_scrolls_down_only(visit: Any, pages: dict[str, Path], name: str) -> None:
    page = visit(viewport={"width": 320, "height": 640}).file(pages[name])
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_paper_shows_the_verdict_and_leaves_out_what_cannot_be_used_there(visit: Any, pages: dict[str, Path]) -> None:
    page = visit(viewport={"width": 794, "height": 1123}).file(pages["wrong-table"])
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".type pre").first.is_visible()
    assert page.locator(".frame").is_hidden()
    assert page.locator(".filter").first.is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") <= 794


def test_a_command_can_be_selected_and_copied_without_script(visit: Any, pages: dict[str, Path]) -> None:
    page = visit(java_script_enabled=False).file(pages["wrong-table"])
    said = page.locator(".type pre code").first.inner_text()
    assert said.split("\n")[0] == "sudo tee -a /etc/containerd/config.toml >/dev/null <<'EOF'"
    assert said.split("\n")[-1] == "EOF"
    assert page.evaluate("getComputedStyle(document.querySelector('.type pre')).userSelect") in ("text", "auto")


def test_script_filters_and_sorts_by_mouse_and_by_keyboard(visit: Any, pages: dict[str, Path]) -> None:
    page = visit().file(pages[SEVERAL])
    shown = (
        "() => [...document.querySelectorAll('table.sortable')].find((one) => one.caption.textContent === 'All nodes')"
    )
    rows = f"({shown})().tBodies[0].rows"
    page.get_by_text("4 nodes", exact=True).click()
    nodes = f"[...{rows}].filter((row) => !row.hidden).map((row) => row.cells[0].textContent)"
    table = page.get_by_role("region", name="All nodes")
    table.get_by_role("button", name="Node").focus()
    page.keyboard.press("Enter")
    assert page.evaluate(nodes) == [f"snapshot://{name}" for name in ("h200", "not-restarted", "ready", "wrong-table")]
    page.keyboard.press("Enter")
    assert page.evaluate(nodes)[0] == "snapshot://wrong-table"
    assert table.locator("th").first.get_attribute("aria-sort") == "descending"
    find = page.locator("div.filter:has(+ [aria-label='All nodes']) input")
    find.fill("not ready handler")
    assert page.evaluate(nodes) == ["snapshot://wrong-table", "snapshot://h200"]


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize("nodes", [1, 3])
def test_what_a_hostile_node_says_is_text(visit: Any, tmp_path: Path, script: bool, nodes: int) -> None:  # noqa: FBT001
    """Nothing runs, nothing is fetched, no element comes of it; without the policy of the page, too."""
    run = hostile_run(nodes=nodes)
    main = html.render(run)
    head = '<!DOCTYPE html>\n<html>\n  <head>\n    <meta charset="utf-8"/><title>t</title></head>\n'
    frame = f"{head}  <body>{main}</body></html>"
    page_of = {
        theirs: compose(frame, main, style=html.style(), script=html.script(), rows="rows", theirs=theirs)
        for theirs in (True, False)
    }
    for theirs, text in page_of.items():
        path = tmp_path / f"{theirs}.html"
        path.write_text(text, "utf-8")
        seen = visit(java_script_enabled=script)
        page = seen.file(path)
        page.wait_for_timeout(200)
        assert seen.said == []
        assert seen.asked == [path.as_uri()]
        assert page.evaluate("typeof window.pwned") == "undefined"
        assert page.evaluate("document.querySelectorAll('main img, main svg, main iframe, main script').length") == 0
        assert page.evaluate("document.querySelectorAll('h1').length") == 1
        assert page.evaluate("[...document.querySelectorAll('a')].filter((a) => !a.hash).length") == 0
        said = page.evaluate("document.querySelector('main').textContent")
        assert "<script>window.pwned=1</script>" in said
        assert [control for control in CONTROLS if control in said] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_a_script_that_got_into_the_page_does_not_run(visit: Any, tmp_path: Path) -> None:
    """The page's own policy knows its two scripts by their hashes: a second line of defence."""
    main = "<main><p>verdict</p></main>"
    frame = (
        '<html><head><meta charset="utf-8"/></head><body><img src=x onerror="window.pwned=1">'
        f"{main}<script>window.known=1</script></body></html>"
    )
    path = tmp_path / "page.html"
    path.write_text(compose(frame, main, style="", script="window.ours=1", rows="rows", theirs=False), "utf-8")
    page = visit().file(path)
    page.wait_for_timeout(100)
    assert page.evaluate("[window.known, window.ours, window.pwned]") == [None, 1, None]
    path.write_text(compose(frame, main, style="", script=html.script(), rows="rows", theirs=False), "utf-8")
    page = visit().file(path)
    page.get_by_text("rows", exact=True).click()
    page.wait_for_function("window.known")  # the frame's own, when it is unfolded
    assert page.evaluate("window.pwned") is None


def test_the_frames_rows_are_drawn_when_they_are_unfolded(visit: Any, pages: dict[str, Path]) -> None:
    seen = visit()
    page = seen.file(pages["not-restarted"])
    assert page.locator("#results-table tbody").count() == 0
    page.locator("details.frame > summary").click()
    page.wait_for_function("document.querySelectorAll('#results-table tbody').length >= 53")
    assert seen.said == []
