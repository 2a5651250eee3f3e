"""`--html`: pytest-html is the frame, the report's own part is what it shows first.

It knows pytest-html by its hooks and by the file that it wrote; what that brings amiss is mended here: names that
become markup, rows by the ten thousand.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.node.clean import clean, one_line
from pytest_gpuready.node.redact import redact_bytes
from pytest_gpuready.report import html as report
from pytest_gpuready.report.html_page import compose

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.report.model import Run

#: Rows that a browser draws without a wait. Above, what passed is left to the counts, then what says least.
ROWS_LIMIT = 3000

#: Statuses in the order in which their rows are left out; what does not apply goes with what passed.
_LEAVING = (("pass", "not-applicable"), ("blocked",), ("warn",), ("unknown",), ("fail",))

_ID_CELL = re.compile(r'(<td class="col-testId">)(.*)(</td>)', re.DOTALL)
_HARMLESS_LINK = re.compile(r"(?:https?:|file:|mailto:|data:(?:text/plain|application/json)|[^:]*$)", re.IGNORECASE)


class Frame:
    """pytest-html's hooks for one run. `run` gives the run when it is over, `statuses` how many items have which.

    `sigh` takes a sentence on what failed.
    """

    def __init__(
        self,
        run: Callable[[], Run | None],
        statuses: Callable[[], Counter[str]],
        sigh: Callable[[str], None],
    ) -> None:
        self.run = run
        self.statuses = statuses
        self.sigh = sigh
        self.data: Any = None
        self.main = ""
        self.theirs = False
        self.rows = 0
        self.left: Counter[str] = Counter()
        self._leaves: frozenset[str] | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_report_title(self, report: Any) -> None:
        """Keep the report, whose title is known at the end, and let no value of the environment be markup."""
        self.data = report
        environment = report.data.get("environment", {})
        report.set_data("environment", {str(key): _harmless(value) for key, value in environment.items()})

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        """A column for the suite's own statuses, which pytest has no words for."""
        cells.insert(1, '<th class="sortable" data-column-type="status">Status</th>')

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_html_results_table_row(self, report: Any, cells: list[str]) -> None:
        """The row, with an id that is no markup; or none, where there are too many."""
        if not cells:
            return
        status = getattr(report, "gpuready_status", None)
        shown = report.when in ("call", "collect") or report.outcome != "passed"
        if status is None:
            self.theirs = True
        elif status in self._leaving():
            # Of every phase: pytest-html notes the id of each report that has cells.
            if shown:
                if self.data is not None:
                    self.data.outcomes = report.outcome  # counts one more, as a row would
                self.left[status] += 1
            cells.clear()
            return
        self.rows += shown
        for number, cell in enumerate(cells):
            match = _ID_CELL.fullmatch(cell)
            if match:
                cells[number] = f"{match[1]}{html.escape(clean(html.unescape(match[2])))}{match[3]}"
        cells.insert(1, f'<td class="col-status">{html.escape(str(status or ""))}</td>')

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_html(self, report: Any, data: list[str]) -> None:
        """What the suite's rows unfold stands in the report's own part."""
        if getattr(report, "gpuready_status", None) not in (None, "fail", "unknown"):
            data.clear()

    def _leaving(self) -> frozenset[str]:
        """The statuses whose rows are left out."""
        if self._leaves is None:
            counts = self.statuses()
            left: set[str] = set()
            for statuses in _LEAVING:
                if sum(counts.values()) <= ROWS_LIMIT:
                    break
                left.update(statuses)
                for status in statuses:
                    counts[status] = 0
            self._leaves = frozenset(left)
        return self._leaves

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Names and links of attachments become markup as they are: escape them, and let no link be a script."""
        for extra in getattr(report, "extras", ()):
            if isinstance(extra, dict) and not extra.get("gpuready_mended"):
                extra["gpuready_mended"] = True
                extra["name"] = html.escape(clean(str(extra.get("name") or "")))
                if extra.get("format_type") == "url":
                    link = "".join(clean(str(extra.get("content"))).split())
                    extra["content"] = html.escape(link) if _HARMLESS_LINK.match(link) else "#"

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        """The report's own part, where pytest-html has room for it."""
        run = self.run()
        if run is None:
            return
        try:
            self.main = report.render(run)
            self.data.title = report.title(run)
        except Exception as error:  # noqa: BLE001 - one report lost is not all
            self.sigh(
                f"the HTML report: pytest-gpuready itself failed: {type(error).__name__}: {one_line(str(error), 200)}"
            )
        prefix.insert(0, self.main)

    def page(self, page: str) -> str:
        """Return pytest-html's finished page with the verdict before everything else in it."""
        if not self.main:
            return page
        style, script = report.style(), report.script()
        return compose(page, self.main, style=style, script=script, rows=self._rows(), theirs=self.theirs)

    def _rows(self) -> str:
        left = ", ".join(f"{number} {status}" for status, number in self.left.items())
        told = f"pytest's {self.rows} rows, as pytest-html draws them"
        return f"{told}; left to the counts: {left}" if left else told


def _harmless(value: object) -> str:
    """A value of the environment that may be put into HTML as it is, without secrets."""
    if isinstance(value, dict):  # pytest-html 4.2.0 makes a list of it that it does not close
        value = ", ".join(f"{key} {item}" for key, item in value.items())
    said = redact_bytes(str(value).encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
    return html.escape(clean(said))
