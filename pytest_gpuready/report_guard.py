"""Reports that other plugins write (`--html`, `--junitxml`): kept in memory, then written like every other report.

pytest and pytest-html open the path that was typed. They follow a link there, and a full disk ends the run without a
summary. Here they write to a private file, and whatever goes wrong in them costs their report and nothing else.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.junitxml import LogXML

from pytest_gpuready.node.clean import one_line
from pytest_gpuready.outputs import write

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


#: The plugins that write pytest's own cache, whose absence is no fault. pytest 8.0 fails on a full disk.
_CACHES = ("lfplugin", "nfplugin", "stepwise", "stepwiseplugin")

#: When the session began, seconds since 1970: in pytest-html, and in pytest before 8.4.
_BEGAN = ("_suite_start_time", "suite_start_time")


class Guard:
    """The plugin that does so. `troubles` takes sentences on what failed; `finish` completes pytest-html's page."""

    def __init__(self, config: pytest.Config, troubles: list[str], finish: Callable[[str], str]) -> None:
        self._config = config
        self._troubles = troubles
        self._finish: dict[str, Callable[[str], str]] = {"HTML": finish}
        self._reports: list[_Report] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Give each of those plugins a private file, before its first word is written."""
        writers: list[tuple[type[Any], str, str]] = [(LogXML, "JUnit", "logfile")]
        if getattr(self._config.option, "htmlpath", None):
            from pytest_html.basereport import BaseReport  # noqa: PLC0415 - only where it is asked for

            writers.append((BaseReport, "HTML", "_report_path"))
        for name in _CACHES:
            if (plugin := self._config.pluginmanager.get_plugin(name)) is not None:
                _wrap(self._config, plugin, _without_disk)
        for plugin in self._config.pluginmanager.get_plugins():
            for kind, name, attribute in writers:
                if isinstance(plugin, kind):
                    self._reports.append(_Report(self._config, plugin, name, attribute, self._troubles.append))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Write the reports when their plugins are done. A report that was asked for and is not there is no success."""
        for report in self._reports:
            report.set_clock()
        result = yield
        for report in self._reports:
            report.write(self._finish.get(report.name, str))
        if self._troubles and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return result


class _Report:
    """One report: its plugin writes to a private file as long as the session lasts."""

    def __init__(
        self, config: pytest.Config, plugin: Any, name: str, attribute: str, fail: Callable[[str], None]
    ) -> None:
        self.name = name
        self.failed = False
        self._begun = time.monotonic()
        self._plugin, self._attribute, self._fail = plugin, attribute, fail
        self._typed: str | Path = getattr(plugin, attribute)
        _wrap(config, plugin, self._guarded)
        try:
            self._private = _private_file(config)
        except OSError as error:
            self._lost(error)
        else:
            self._point_to(self._private)

    def set_clock(self) -> None:
        """Let the duration be that of the monotonic clock: these plugins subtract times of day, which may jump."""
        for attribute in _BEGAN:
            if hasattr(self._plugin, attribute):
                setattr(self._plugin, attribute, time.time() - (time.monotonic() - self._begun))

    def write(self, finish: Callable[[str], str]) -> None:
        """Write what the plugin wrote to the path that was typed."""
        if self.failed:
            return
        self._point_to(self._typed)
        try:
            write(Path(self._typed), finish(self._private.read_text("utf-8")))
        except Exception as error:  # noqa: BLE001 - one report lost is not all
            self._lost(error)

    def _point_to(self, path: str | Path) -> None:
        setattr(self._plugin, self._attribute, type(self._typed)(path))

    def _guarded(self, function: Callable[..., object]) -> Callable[..., object]:
        """Return a hook that does nothing more once the report is lost, and whose error is a sentence."""

        def hook(*arguments: object) -> object:
            if self.failed:
                return None
            try:
                return function(*arguments)
            except Exception as error:  # noqa: BLE001 - one report lost is not all
                self._lost(error)
                return None

        return hook

    def _lost(self, error: Exception) -> None:
        self.failed = True
        why = error.strerror if isinstance(error, OSError) and error.strerror else None
        why = why or f"{type(error).__name__}: {one_line(str(error), 200)}"
        self._fail(f"the {self.name} report could not be written to {one_line(str(self._typed))}: {why}")


def _wrap(
    config: pytest.Config, plugin: object, guarded: Callable[[Callable[..., object]], Callable[..., object]]
) -> None:
    """Put each hook of a plugin into another function: pytest has no other way to outlive the error of one plugin."""
    for caller in config.pluginmanager.get_hookcallers(plugin) or ():
        for implementation in caller.get_hookimpls():
            if implementation.plugin is plugin and not (implementation.wrapper or implementation.hookwrapper):
                implementation.function = guarded(implementation.function)  # type: ignore[misc,unused-ignore]


def _without_disk(function: Callable[..., object]) -> Callable[..., object]:
    """Return a hook that leaves out what the disk refuses."""

    def hook(*arguments: object) -> object:
        try:
            return function(*arguments)
        except OSError:
            return None

    return hook


def _private_file(config: pytest.Config) -> Path:
    """Return a path for this process alone: in memory where the system has that, else in a temporary folder."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("gpuready")
        config.add_cleanup(lambda: os.close(descriptor))
        path = Path(f"/proc/self/fd/{descriptor}")
        if path.exists():
            return path
    folder = tempfile.TemporaryDirectory(prefix="gpuready-")
    config.add_cleanup(folder.cleanup)
    return Path(folder.name, "report")
