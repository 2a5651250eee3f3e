"""How far a run has come: the line itself, on a terminal, in a log."""

from __future__ import annotations

import pytest

from pytest_gpuready.progress import LOG, NAMED, SLOW, OnTerminal, Progress, line
from pytest_gpuready.report.text import columns


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class TestLine:
    def test_it_is_done_asked_and_elapsed(self) -> None:
        assert line(512, 40, 3.4, []) == "gpuready: 40 of 512 nodes done, 3 s"

    def test_who_is_waited_for_long_is_named_the_longest_first(self) -> None:
        waiting = [(f"ssh://n{number}", SLOW + number) for number in range(NAMED + 2)]
        waiting += [("ssh://quick", SLOW - 1)]
        assert line(9, 1, 12, waiting) == (
            "gpuready: 1 of 9 nodes done, 12 s; waiting for ssh://n4 (9 s), ssh://n3 (8 s), ssh://n2 (7 s) and 2 more"
        )

    def test_labels_are_clean_and_the_line_is_cut_to_the_width(self) -> None:
        waiting = [("ssh://n\x1b[31m\r\n1\u202e", 9.0), ("snapshot://" + "長" * 70, 8.0)]
        for width in (10, 40, 79, 200):
            text = line(9, 1, 12, waiting, width)
            assert columns(text) <= width
            assert text.isprintable()
        assert "長" in line(9, 1, 12, waiting, 200)


def in_log() -> tuple[Progress, list[str], Clock]:
    lines: list[str] = []
    clock = Clock()
    return Progress(1000, lines.append, clock), lines, clock


class TestLog:
    def test_a_line_at_the_start_now_and_then_and_at_the_end(self) -> None:
        """1,000 nodes in 100 s: not one line for each."""
        progress, lines, clock = in_log()
        progress.begin(256)
        for number in range(1000):
            clock.now = number / 10
            progress.asked(f"ssh://n{number}")
            progress.tick()
            progress.done(f"ssh://n{number}")
        progress.tick()
        progress.end()
        progress.end()
        assert lines[0] == "gpuready: asking 1000 nodes, up to 256 at once"
        assert lines[1] == f"gpuready: 100 of 1000 nodes done, {LOG:.0f} s"
        assert lines[-1] == "gpuready: 1000 of 1000 nodes done, 100 s"
        assert len(lines) == 11

    def test_a_run_that_is_ended_says_how_far_it_came(self) -> None:
        progress, lines, clock = in_log()
        progress.asked("ssh://n1")
        clock.now = 9
        progress.end()
        assert lines == ["gpuready: 0 of 1000 nodes done, 9 s"]


class TestTerminal:
    def test_each_line_covers_the_one_before_it(self) -> None:
        written: list[str] = []
        clock = Clock()
        progress = OnTerminal(20, written.append, lambda: 80, clock)
        progress.begin(20)
        progress.asked("ssh://slow")
        clock.now = SLOW + 1
        progress.tick()
        progress.done("ssh://slow")
        progress.tick()  # too soon
        clock.now += 1
        progress.tick()
        progress.end()
        assert written == [
            "\rgpuready: 0 of 20 nodes done, 0 s",
            "\rgpuready: 0 of 20 nodes done, 6 s; waiting for ssh://slow (6 s)",
            "\rgpuready: 1 of 20 nodes done, 7 s" + " " * 30,
            "\rgpuready: 1 of 20 nodes done, 7 s",
            "\n",
        ]

    @pytest.mark.parametrize("width", [1, 20, 40])
    def test_no_line_reaches_the_last_column(self, width: int) -> None:
        written: list[str] = []
        widths = iter([200, *[width] * 10])
        progress = OnTerminal(20, written.append, lambda: next(widths), Clock())
        progress.asked("ssh://" + "x" * 60)
        for now in (0, 6, 7):
            progress.say(now)
        assert max(len(text.lstrip("\r")) for text in written[1:]) <= max(width - 1, 1)
