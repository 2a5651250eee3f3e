"""`python -m pytest_gpuready merge`: the command line. Options that pytest has too are spelt as there.

Exit codes are the verdict's: 0 every node is ready, 1 some node is not or a report could not be written, 2 interrupted,
4 the command line cannot be understood or there is nothing to merge.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import shutil
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from pytest_gpuready import inputs
from pytest_gpuready.inputs import InputError
from pytest_gpuready.merge import pick, work
from pytest_gpuready.merge.find import Found, find
from pytest_gpuready.merge.work import Lost
from pytest_gpuready.model import Settings
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.outputs import place, write
from pytest_gpuready.report import baseline, terminal
from pytest_gpuready.report.model import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_gpuready.report.terminal import Line

#: How a terminal paints the styles of a report's lines (ECMA-48, SGR).
_SGR = {"bold": "1", "good": "32", "bad": "31;1", "warn": "33", "dim": "2"}

_READY, _NOT_READY, _INTERRUPTED, _USAGE = 0, 1, 2, 4


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = _Parser(
        prog="python -m pytest_gpuready merge",
        description="Make one report of many nodes' snapshots (--gpuready-save) and JSON reports (--gpuready-json). "
        "Snapshots are judged anew; pytest is not run, no node is asked.",
        allow_abbrev=False,
    )
    add = made.add_argument
    add("places", nargs="+", metavar="DIR|FILE", help="folders with *.json somewhere below, and single files")
    add("--hosts", metavar="SPEC", action="append", default=[], help="the nodes expected, as for pytest; names such as "
        "gpu[001-512] are enough. Those that brought no result are incomplete")  # fmt: skip
    add("--gpuready-hosts-file", metavar="FILE", help="the same, one a line, # comments; - is standard input")
    add("--gpuready-routes", metavar="LIST", help="routes that must hold: ids, or any, or all (default: by evidence)")
    add("--gpuready-handler", metavar="NAME", help="the runtime handler to judge snapshots by")
    add("--gpuready-containerd", metavar="SOCKET", help="the containerd to judge in snapshots")
    add("--gpuready-json", metavar="PATH", type=place, help="write the JSON report; - is standard output, "
        "the summary then goes to standard error")  # fmt: skip
    add("--gpuready-md", metavar="PATH", type=place, help="write the report as Markdown; - likewise")
    add("--html", metavar="PATH", help="write the report as one HTML file")
    add("--gpuready-baseline", metavar="OLD.json", help="say in every report what changed since that JSON report")
    add("--gpuready-jobs", metavar="N", help="processes that judge (default: as many as cores)")
    add("-v", "--verbose", action="count", default=0, help="say more in the summary; twice: of ready nodes too")
    add("-q", "--quiet", action="count", default=0, help="say less: nodes that are not ready, and the verdict")
    add("--color", choices=("yes", "no", "auto"), default="auto", help="colour on a terminal")
    return made


@dataclasses.dataclass
class Asked:
    """The command line, understood."""

    found: Found
    settings: Settings
    wanted: list[pick.Wanted] | None
    jobs: int
    old: dict[str, object] | None
    options: argparse.Namespace


def read(arguments: Sequence[str]) -> Asked:
    """The command line, understood; `InputError` says what cannot be."""
    options = parser().parse_args(arguments)
    sources = {
        name: f"--gpuready-{name} {value}"
        for name in ("routes", "handler", "containerd")
        if (value := getattr(options, f"gpuready_{name}")) is not None
    }
    settings = Settings(
        routes=inputs.routes(options.gpuready_routes, sources.get("routes", "")),
        handler=options.gpuready_handler,
        socket=inputs.socket(options.gpuready_containerd, sources.get("containerd", "")),
        sources=sources,
    )
    if options.gpuready_json == options.gpuready_md == "-":
        raise InputError("--gpuready-json - and --gpuready-md -: only one report can be standard output")
    for name, path in (("--gpuready-json", options.gpuready_json), ("--gpuready-md", options.gpuready_md)):
        if path and path != "-":
            inputs.check_writable(name, Path(path))
    if options.html:
        inputs.check_writable("--html", Path(options.html))
    wanted = _wanted(options)
    found = find(options.places)
    if not found.places and not found.lost and not wanted:
        shown = ", ".join(one_line(place) for place in options.places)
        raise InputError(f"{shown}: no file there is called *.json, so there is no result to merge")
    return Asked(found, settings, wanted, _jobs(options.gpuready_jobs), _old(options.gpuready_baseline), options)


def _wanted(options: argparse.Namespace) -> list[pick.Wanted] | None:
    texts = list(options.hosts)
    path = options.gpuready_hosts_file
    if path:
        try:
            text = sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise InputError(f"--gpuready-hosts-file {path}: {why}") from None
        texts += [spec for _, spec in inputs.lines(text)]
    if not texts and not path:
        return None
    wanted = pick.wanted(texts)
    if not wanted:
        raise InputError(f"{f'--gpuready-hosts-file {path}' if path else '--hosts'} names no node")
    return wanted


def _jobs(value: str | None) -> int:
    if value is None:
        return work.default_jobs()
    if not (value.isascii() and value.isdigit() and 0 < int(value[:6]) <= 10_000):
        raise InputError(f"--gpuready-jobs {one_line(value, 40)}: not a whole number above 0 and up to 10000")
    return int(value)


def _old(path: str | None) -> dict[str, object] | None:
    if not path:
        return None
    try:
        return baseline.read(path)
    except baseline.BaselineError as error:
        raise InputError(f"--gpuready-baseline {error}") from None


# ---------------------------------------------------------------------------------------------------- doing it


def main(arguments: Sequence[str]) -> int:
    """Merge; the exit code."""
    try:
        asked = read(arguments)
    except InputError as error:
        print(f"ERROR: {error}\n", file=sys.stderr)
        return _USAGE
    except KeyboardInterrupt:
        return _INTERRUPTED
    try:
        return _merge(asked, arguments)
    except KeyboardInterrupt:
        print("gpuready: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough; keep the interpreter from complaining when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NOT_READY


def _merge(asked: Asked, arguments: Sequence[str]) -> int:
    from pytest_gpuready import __version__  # noqa: PLC0415 - it reads the installed distribution

    started, clock = datetime.now(timezone.utc), time.monotonic()
    picking, interrupted = _picked(asked)
    merged = pick.merged(picking, asked.wanted, asked.settings)
    if not merged.nodes:
        print(f"ERROR: nothing to merge: {'; '.join(merged.notes)}\n", file=sys.stderr)
        return _INTERRUPTED if interrupted else _USAGE
    run = Run(
        nodes=merged.nodes,
        started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        duration=time.monotonic() - clock,
        generator=f"pytest-gpuready {__version__}",
        command=shlex.join(["python", "-m", "pytest_gpuready", "merge", *(inputs.hidden(one) for one in arguments)]),
        live=merged.live,
        notes=merged.notes,
    )
    if asked.old is not None:
        run = dataclasses.replace(run, baseline=baseline.compare(run, asked.old))
    troubles = [*_written(asked.options, run)]
    _say(asked.options, run, troubles)
    if interrupted:
        return _INTERRUPTED
    return _READY if run.verdict == "ready" and not troubles else _NOT_READY


def _picked(asked: Asked) -> tuple[pick.Picking, bool]:
    """Every file's say; and whether Ctrl-C came before the last one: then the others are named."""
    picking = pick.Picking()
    places = asked.found.places
    tell = _progress(len(places), asked.options)
    done = 0
    try:
        for number, said in work.results(places, asked.settings, asked.jobs):
            for one in said:
                if isinstance(one, Lost):
                    picking.lost.append(one)
                else:
                    picking.add(one)
            done += number
            tell(done)
    except KeyboardInterrupt:
        picking.lost += [Lost(place.shown, "was not read: interrupted") for place in places[done:]]
        return picking, True
    finally:
        picking.lost += [Lost(shown, why) for shown, why in asked.found.lost]
    return picking, False


def _progress(total: int, options: argparse.Namespace) -> Callable[[int], None]:
    """Says how far it has come, where somebody looks on."""
    if not sys.stderr.isatty() or total <= work.BATCH or options.quiet:
        return lambda _: None

    def tell(done: int) -> None:
        end = "\r\033[K" if done == total else ""
        print(f"\rgpuready: {done} of {total} files judged{end}", end="", file=sys.stderr, flush=True)

    return tell


def _written(options: argparse.Namespace, run: Run) -> Iterable[str]:
    """Write every report that was asked for; sentences about those that could not be."""
    from pytest_gpuready.report import html, json, markdown  # noqa: PLC0415 - only where they are asked for

    made: tuple[tuple[str, str | None, Callable[[], Iterable[str]]], ...] = (
        ("JSON", options.gpuready_json, lambda: json.parts(run)),
        ("Markdown", options.gpuready_md, lambda: [markdown.dumps(run)]),
        ("HTML", options.html, lambda: [html.page(run)]),
    )
    for name, path, parts in made:
        if not path:
            continue
        try:
            if path == "-" and name != "HTML":
                sys.stdout.writelines(parts())
                sys.stdout.flush()
            else:
                write(Path(path), parts())
        except BrokenPipeError:
            raise
        except OSError as error:
            yield f"the {name} report could not be written to {path}: {error.strerror}"
        except Exception as error:  # noqa: BLE001 - no traceback reaches a user, and one report lost is not all
            said = f"{type(error).__name__}: {one_line(str(error), 200)}"
            yield f"the {name} report: pytest-gpuready itself failed: {said}"


def _say(options: argparse.Namespace, run: Run, troubles: Iterable[str]) -> None:
    """The summary, as pytest's run has it."""
    stream = sys.stderr if "-" in (options.gpuready_json, options.gpuready_md) else sys.stdout
    tty = stream.isatty()
    paint = options.color == "yes" or (options.color == "auto" and tty and not os.environ.get("NO_COLOR"))
    width = min(shutil.get_terminal_size().columns, 80) if tty else 80
    for line in terminal.lines(run, width=width, verbosity=options.verbose - options.quiet):
        _print(stream, line, paint=paint)
    for trouble in troubles:
        print(f"gpuready: {one_line(trouble)}", file=stream)


def _print(stream: TextIO, line: Line, *, paint: bool) -> None:
    text = line.text.encode(stream.encoding or "utf-8", "replace").decode(stream.encoding or "utf-8", "replace")
    sgr = _SGR.get(line.style, "") if paint and text else ""
    print(f"\033[{sgr}m{text}\033[0m" if sgr else text, file=stream)
