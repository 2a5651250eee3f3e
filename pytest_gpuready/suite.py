"""`--gpuready` as pytest runs it: the suite is collected, nodes are asked, findings are shown, reports are written."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready import own_checks
from pytest_gpuready.asked import Asked, command, read
from pytest_gpuready.collection import (
    FAMILY_ABOVE,
    SHOWN,
    SuiteItem,
    by_family,
    make_suite,
    mishap,
    misspelt,
    order,
    statuses,
)
from pytest_gpuready.early import EARLY
from pytest_gpuready.interrupts import Interrupts
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.outputs import append, write
from pytest_gpuready.plugin import STDOUT, split_args
from pytest_gpuready.progress import OnTerminal, Progress
from pytest_gpuready.shown import pack, shown, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pytest_gpuready.node.transport import Options
    from pytest_gpuready.own_checks import OwnCheck, OwnResult
    from pytest_gpuready.report.model import NodeReport, Run
    from pytest_gpuready.runner import Runner
    from pytest_gpuready.shown import Findings

    _Words = tuple[str, str, str | tuple[str, dict[str, bool]]]

#: What pytest calls findings that are neither passed, failed nor skipped to it: category, letter, word.
_WORDS: dict[tuple[str, str], _Words] = {
    ("blocked", "skipped"): ("blocked", "b", ("BLOCKED", {"yellow": True})),
    ("warn", "passed"): ("warn", "w", ("WARN", {"yellow": True})),
    ("not-applicable", "skipped"): ("not applicable", "-", ("N/A", {})),
    # A failure's word is text alone: pytest 8.0 has no markup for it in its short summary.
    ("unknown", "failed"): ("failed", "U", "UNKNOWN"),
    ("fail", "skipped"): ("not counted", "n", ("NOT COUNTED", {})),
    ("unknown", "skipped"): ("not counted", "n", ("NOT COUNTED", {})),
}

#: The terminal's markup for each style of a report's line.
_STYLES: dict[str, dict[str, bool]] = {
    "bold": {"bold": True},
    "good": {"green": True},
    "bad": {"red": True, "bold": True},
    "warn": {"yellow": True},
    "dim": {"light": True},
}

#: Exit codes that the verdict decides about; the others say that pytest itself did not come to an end.
_ENDED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


class SuitePlugin:
    """One per run, and one per xdist worker, where `asked` is None: it shows what the controller found.

    Where a hook is implemented twice (before and after others), the second name begins with `pytest_` too: pytest looks
    at no others.
    """

    def __init__(self, config: pytest.Config, asked: Asked | None, nodes: list[str], select: list[str]) -> None:
        self.config = config
        self.asked = asked
        self.nodes = nodes
        self.select = select
        self.runner: Runner | None = None
        self.run: Run | None = None
        #: Sentences about what went wrong on our side, for the end of the summary.
        self.troubles: list[str] = []
        #: Sentences that change no exit status.
        self.remarks: list[str] = []
        self.interrupted: BaseException | None = None
        self.own_failures: set[str] = set()
        self.own_checks: list[OwnCheck] = []
        self.own_results: list[OwnResult] = []
        self._aside: list[Any] = []
        self._packed: str | None = None

    @classmethod
    def from_config(cls, config: pytest.Config) -> SuitePlugin:
        """Check everything that was asked for, before anything runs. `UsageError` is exit code 4."""
        option = config.option
        if not hasattr(option, "hosts"):
            raise pytest.UsageError(
                "--gpuready needs pytest-testinfra's plugin, which is switched off (-p testinfra.plugin)"
            )
        named = config.args if config.args_source is pytest.Config.ArgsSource.ARGS else []
        config.args, select = split_args(config, named)  # neither testpaths nor the current directory
        config.args_source = pytest.Config.ArgsSource.ARGS
        # Whatever cannot be collected of theirs, our findings are shown; and no report is a folder of files.
        option.continue_on_collection_errors = True
        if getattr(option, "htmlpath", None):
            option.self_contained_html = True
        # That the cache cannot be written is no reason to warn, nor under -W error to fail. Lines of the ini file
        # come before those of the command line.
        ignored = "ignore::pytest.PytestCacheWarning"
        config.addinivalue_line("filterwarnings", ignored)
        known = config.known_args_namespace
        known.pythonwarnings = [*(known.pythonwarnings or ()), ignored]
        workerinput = getattr(config, "workerinput", None)
        if workerinput is not None:
            given, config.stash[SHOWN] = unpack(workerinput["gpuready"])
            return cls(config, None, given, select)
        asked = read(config)
        nodes = [node.label for node in asked.nodes]
        wrong = misspelt(select, nodes)
        if wrong:
            raise pytest.UsageError(
                f"no such check or node: {', '.join(wrong)} (pytest --gpuready --collect-only lists the ids)"
            )
        plugin = cls(config, asked, nodes, select)
        plugin._guard_reports()
        return plugin

    def _guard_reports(self) -> None:
        """Take care of the reports that other plugins write."""
        from pytest_gpuready.report_guard import Guard  # noqa: PLC0415 - not needed by workers

        config = self.config
        finish: Callable[[str], str] = str
        if getattr(config.option, "htmlpath", None):
            from pytest_gpuready.html_frame import Frame  # noqa: PLC0415 - only where it is asked for

            frame = Frame(lambda: self.run, lambda: statuses(self._shown), self.troubles.append)
            config.pluginmanager.register(frame, "gpuready-html-frame")
            finish = frame.page
        config.pluginmanager.register(Guard(config, self.troubles, finish), "gpuready-reports")

    # ------------------------------------------------------------------ collecting

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Put the suite before whatever else the session collects."""
        report = yield
        if isinstance(collector, pytest.Session) and report.passed:
            report.result.insert(0, make_suite(collector, self.nodes, self.select))
        return report

    @pytest.hookimpl(tryfirst=True, specname="pytest_collection_modifyitems")
    def pytest_gpuready_own_checks(self, items: list[pytest.Item]) -> None:
        """Before anything is deselected: what is a check and is not run is unknown, not forgotten."""
        self.own_checks = own_checks.find(items, self.nodes)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """The suite first, then a site's own checks, then the rest."""
        suite = [item for item in items if isinstance(item, SuiteItem)]
        items[:] = [*order(suite, self.nodes), *own_checks.ordered([i for i in items if not isinstance(i, SuiteItem)])]

    def pytest_report_header(self) -> list[str]:
        """How many nodes, which, and what the ini file asks for."""
        named = ", ".join(self.nodes[:3]) + (f" and {len(self.nodes) - 3} more" if len(self.nodes) > 3 else "")
        notes = self.asked.notes if self.asked is not None else ()
        said = [f"gpuready: {one_line(named)}"]
        if by_family(self.nodes):
            said.append(
                f"gpuready: more than {FAMILY_ABOVE} nodes: one item per node and family of checks; reports have all"
            )
        return [*said, *(f"gpuready: {note}" for note in notes)]

    # ------------------------------------------------------------------ asking the nodes

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """With xdist the nodes are asked before its workers start, which are handed the findings."""
        if self.config.pluginmanager.has_plugin("dsession"):
            try:
                self.look()
            except KeyboardInterrupt as error:
                # Were it raised here, pytest would end without a summary and without reports.
                self.interrupted = error

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """xdist: hand a worker the findings."""
        if self._packed is None:
            self._packed = pack(self.nodes, self._shown)
        node.workerinput["gpuready"] = self._packed

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """xdist: a worker tells which tests are checks."""
        told = getattr(node, "workeroutput", {}).get("gpuready", "[]")
        self.own_checks += [own for own in json.loads(told) if own not in self.own_checks]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Ask the nodes when all is collected, whatever was selected to be shown and whatever of theirs went wrong."""
        if self.interrupted is not None:
            raise self.interrupted
        try:
            result = yield
        except (pytest.Session.Failed, pytest.Session.Interrupted):
            self.look()
            raise
        self.look()
        return result

    def look(self) -> None:
        """Gather and judge every node, once."""
        if self.asked is None or self.runner is not None or self.config.option.collectonly:
            return
        from pytest_gpuready.runner import Runner  # noqa: PLC0415 - not needed by workers and --collect-only

        runner = self.runner = Runner(
            nodes=self.asked.nodes,
            settings=self.asked.settings,
            options=self.asked.options,
            timeout=self.asked.timeout,
            jobs=self.asked.jobs,
            save=self.asked.save,
            command=command(self.config.invocation_params.args),
            notes=list(self.asked.notes),
            hosts_from=self.asked.hosts_from,
            progress=self._progress(),
            begun=self.config.stash.get(EARLY, {}),
            engine=self.asked.engine,
        )
        if runner.progress is not None:
            runner.progress.begin(runner.in_flight)
        interrupts = Interrupts(self._say)
        # After an interrupt they stay until everything is written.
        self.config.add_cleanup(interrupts.forget)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a user's `-W error` is about the user's code
            try:
                interrupts.watch()
                self.run = runner.run()
                interrupts.forget()
            except KeyboardInterrupt:
                self.run = self._or_trouble(runner.result)
                raise
            except Exception as error:  # noqa: BLE001 - an error of ours is a sentence, and no verdict is better than none
                self.troubles.append(mishap(error))
                self.run = self._or_trouble(runner.result)
            finally:
                if self.run is not None:
                    run = self.run
                    self.config.stash[SHOWN] = self._or_trouble(lambda: shown(run)) or {}

    def _or_trouble(self, make: Callable[[], Any]) -> Any:
        """What is made, or None and a sentence."""
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - no traceback reaches a user, and one report lost is not all
            self.troubles.append(mishap(error))
            return None

    def _progress(self) -> Progress | None:
        """Says how far the asking has come: on a terminal as it goes, in a log now and then."""
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        total = len(self.nodes)
        if reporter is None or total == 1 or self.config.option.verbose < 0:
            return None
        if reporter.isatty:
            return OnTerminal(
                total, lambda text: reporter.write(text, flush=True), lambda: shutil.get_terminal_size().columns
            )
        return Progress(total, lambda text: reporter.write(f"{text}\n", flush=True))

    def _say(self, sentence: str) -> None:
        """A sentence from within a signal's handler; not said where it came in the middle of a write."""
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        with contextlib.suppress(RuntimeError, OSError, AttributeError):
            reporter.write(f"\n{sentence}\n", flush=True)

    def report_on(self, label: str, options: Options) -> NodeReport | None:
        """What this run found on a node, if it asked the same node in the same way."""
        if self.run is None or self.asked is None or self.asked.options != options:
            return None
        return next((node for node in self.run.nodes if node.node == label), None)

    # ------------------------------------------------------------------ running and showing

    @property
    def _shown(self) -> Findings:
        return self.config.stash.get(SHOWN, {})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A site's check is blocked by what it needs."""
        if own_checks.OWN in item.stash:
            blocked_by = own_checks.blocked_now(item, self._shown, self.own_results)
            if blocked_by:
                item.stash[own_checks.BLOCKED] = blocked_by
                pytest.skip(f"blocked by {', '.join(blocked_by)}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Carry what was found to whoever reports, and the place of a skip to where the check is."""
        report: Any = yield
        if isinstance(item, SuiteItem):
            found = item.shown
            report.gpuready_status = found.status
            if report.skipped and isinstance(report.longrepr, tuple):
                report.longrepr = (item.location[0], 0, found.reason)
        elif own_checks.OWN in item.stash:
            report.gpuready_own = own_checks.result(item, report, call.excinfo.value if call.excinfo else None)
            if item.stash.get(own_checks.BLOCKED, ()):
                report.gpuready_status = "blocked"
        return report  # type: ignore[no-any-return]

    def pytest_report_teststatus(self, report: pytest.CollectReport | pytest.TestReport) -> _Words | None:
        """blocked, warn, not applicable, unknown and not counted have words of their own."""
        status = getattr(report, "gpuready_status", None)
        if status is None or (report.when != "call" and not report.skipped):
            return None
        return _WORDS.get((status, report.outcome))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember what became of a site's checks, and count what failed among people's other tests."""
        if hasattr(report, "gpuready_own"):
            if report.gpuready_own is not None:
                self.own_results.append(report.gpuready_own)
        elif report.failed and not hasattr(report, "gpuready_status"):
            self.own_failures.add(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module of theirs that cannot be collected is a failure of theirs; if it is of ours, nothing is proven."""
        if report.failed and isinstance(report.longrepr, str) and (report.nodeid + "/").startswith("gpuready/"):
            self.troubles.append(report.longrepr)
        elif report.failed:
            self.own_failures.add(report.nodeid)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Ctrl-C, as opposed to --stepwise and its like, which end what is shown and not the run."""
        if not isinstance(excinfo.value, pytest.Session.Interrupted):
            self.interrupted = excinfo.value

    # ------------------------------------------------------------------ the end

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Reports are written; the exit code is the verdict's, and people's own failures make it 1 too."""
        if self.asked is None:
            self.config.workeroutput["gpuready"] = json.dumps(self.own_checks)  # type: ignore[attr-defined]
            return
        if self.runner is None:
            return
        if self.run is not None:
            run = self.run
            added = self._or_trouble(lambda: own_checks.add(run, self.own_checks, self.own_results))
            self.run = run if added is None else added
            self._compare()
            self._write_reports(self.asked, self.run)
        self.troubles += self.runner.unsaved
        stopped = exitstatus == pytest.ExitCode.INTERRUPTED and self.interrupted is None
        if exitstatus in _ENDED or stopped:
            ready = self.run is not None and self.run.verdict == "ready"
            good = ready and not self.own_failures and not self.troubles
            session.exitstatus = pytest.ExitCode.OK if good else pytest.ExitCode.TESTS_FAILED

    def _compare(self) -> None:
        """Put what changed since an older report into the run, where one is named."""
        old = self.asked.baseline if self.asked is not None else None
        run = self.run
        if old is None or run is None:
            return
        from pytest_gpuready.report.baseline import compare  # noqa: PLC0415 - only where it is asked for

        baseline = self._or_trouble(lambda: compare(run, old))
        self.run = dataclasses.replace(run, baseline=baseline)

    def _write_reports(self, asked: Asked, run: Run) -> None:
        from pytest_gpuready.report import json as as_json  # noqa: PLC0415 - only where they are asked for
        from pytest_gpuready.report import markdown  # noqa: PLC0415

        if asked.json:
            self._write("JSON", asked.json, lambda: as_json.dumps(run))
        if asked.markdown:
            self._write("Markdown", asked.markdown, lambda: markdown.dumps(run))
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary:
            # A convenience of the runner: that it cannot be had changes no exit status.
            try:
                append(
                    Path(summary),
                    lambda size: self._or_trouble(lambda: markdown.dumps(run, limit=markdown.STEP_LIMIT - size)) or "",
                )
            except (OSError, ValueError) as error:
                self.remarks.append(f"the step summary could not be written: {getattr(error, 'strerror', error)}")

    def _write(self, name: str, path: str, make: Callable[[], str]) -> None:
        text = self._or_trouble(make)
        if text is None:
            return
        try:
            if path == "-":
                stdout = self.config.stash.get(STDOUT, sys.stdout)
                stdout.write(text)
                stdout.flush()
            else:
                write(Path(path), text)
        except OSError as error:
            self.troubles.append(f"the {name} report could not be written to {path}: {error.strerror}")

    @pytest.hookimpl(wrapper=True, tryfirst=True, specname="pytest_terminal_summary")
    def pytest_gpuready_summary(self, terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
        """The summary, after everything of pytest's: roots first, routes, and at the end what to type.

        It tells each failure in full, so pytest's own FAILURES are left to people's tests, unless --tb asks for them.
        """
        failed = terminalreporter.stats.get("failed", [])
        if self.config.option.tbstyle == "auto" and self.run is not None:
            self._aside = list(failed)
            failed[:] = [report for report in failed if not hasattr(report, "gpuready_status")]
        yield
        if self.runner is None:
            return
        verbosity = self.config.option.verbose
        if verbosity >= 0:
            terminalreporter.write_sep("=", "gpuready")
        if self.run is not None and self._or_trouble(lambda: self._write_lines(terminalreporter, verbosity)) is None:
            session: Any = self.config.pluginmanager.get_plugin("session")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        for trouble in dict.fromkeys(self.troubles):
            terminalreporter.write_line(f"gpuready: {trouble}", red=True, bold=True)
        for remark in self.remarks:
            terminalreporter.write_line(f"gpuready: {one_line(remark)}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Between FAILURES and the short summary: the latter names our failures, ids to be pasted."""
        if self._aside:
            terminalreporter.stats["failed"][:] = self._aside
            self._aside = []

    def _write_lines(self, reporter: pytest.TerminalReporter, verbosity: int) -> bool:
        from pytest_gpuready.report.terminal import lines  # noqa: PLC0415 - only where there is a terminal

        assert self.run is not None  # noqa: S101 - the caller looked
        width = min(shutil.get_terminal_size().columns, 80) if reporter.isatty else 80
        page = lines(self.run, width=width, verbosity=verbosity, own_failures=len(self.own_failures))
        for line in page:
            reporter.write_line(line.text, **_STYLES.get(line.style, {}))
        return True
