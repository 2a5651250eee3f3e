"""Configuration files as read: which facts are such, the lines around a place, how nodes' files differ."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_gpuready.model import Where
from pytest_gpuready.node.facts import REACH, Fact, Facts, Request, file
from pytest_gpuready.report.files import (
    LINE_LIMIT,
    LINES_LIMIT,
    Excerpt,
    configuration,
    difference,
    excerpt,
    shown_lines,
)
from tests.report.sample import report

if TYPE_CHECKING:
    from pytest_gpuready.report.model import NodeReport

CONFIG = "/etc/containerd/config.toml"


def node(*facts: tuple[Request, Fact], label: str = "local") -> NodeReport:
    return dataclasses.replace(report(label), facts=Facts(label, [(REACH, Fact("ok")), *facts]))


def test_what_the_kernel_makes_up_programs_and_binaries_are_no_configuration() -> None:
    facts = [
        (file(CONFIG), Fact("ok", b"version = 3\n")),
        (file("/proc/devices"), Fact("ok", b"x\n")),
        (file("/sys/module/nvidia/version"), Fact("ok", b"x\n")),
        (file("/usr/bin/nvidia-container-runtime"), Fact("ok", b"x\n")),
        (file("/etc/os-release"), Fact("ok", b"ID=debian\n")),
        (file("/etc/elf"), Fact("ok", b"\x7fELF")),
        (file("/etc/script"), Fact("ok", b"#!/bin/sh\n")),
        (file("/etc/nul"), Fact("ok", b"a\0b")),
        (file("/etc/absent"), Fact("absent")),
    ]
    assert list(configuration([node(*facts)])) == [CONFIG]


def test_versions_of_a_file_are_by_content_the_most_common_first() -> None:
    nodes = [
        node((file(CONFIG), Fact("ok", text)), label=f"ssh://n{number}")
        for number, text in enumerate((b"a", b"b", b"b"))
    ]
    nodes.append(node((file(CONFIG), Fact("denied")), label="ssh://n3"))
    nodes.append(node((file(CONFIG), Fact("cut", b"a")), label="ssh://n4"))
    found = [(version.text, version.why, len(version.nodes)) for version in configuration(nodes)[CONFIG]]
    assert found == [("b", "", 2), ("a", "", 1), (None, "permission denied", 1), ("a", "only a part was read", 1)]
    names = [version.name for version in configuration(nodes)[CONFIG]]
    assert names[2] == "unreadable (permission denied)"
    assert names[0] != names[1]


def test_an_excerpt_is_the_lines_around_the_place() -> None:
    text = "".join(f"line {number}\n" for number in range(1, 11)).encode()
    made = node((file(CONFIG), Fact("ok", text)))
    assert excerpt(made, Where(CONFIG, 2)) == Excerpt(CONFIG, 1, 2, tuple(f"line {n}" for n in range(1, 6)))
    assert excerpt(made, Where(CONFIG, 10)) == Excerpt(CONFIG, 7, 10, tuple(f"line {n}" for n in range(7, 11)))


def test_there_is_no_excerpt_of_a_line_that_was_not_read() -> None:
    made = node((file(CONFIG), Fact("ok", b"one\n")), (file("/etc/denied"), Fact("denied")))
    places = [None, Where(CONFIG), Where(CONFIG, 2), Where(CONFIG, 0), Where("/etc/denied", 1), Where("/etc/other", 1)]
    assert [excerpt(made, place) for place in places] == [None] * len(places)


def test_overlong_lines_and_files_are_cut_and_say_so() -> None:
    lines = shown_lines("x" * 5000 + "\n" + "y\n" * 5000)
    assert len(lines) == LINES_LIMIT + 1
    assert len(lines[0]) <= LINE_LIMIT + 30
    assert lines[0].endswith("(5000 characters)")
    assert lines[-1] == "… (3501 more lines are left out)"


def test_a_difference_is_a_diff_without_its_head_whatever_its_lines_begin_with() -> None:
    assert difference("a\n-- b\nc", "a\n++ b\nc") == ["@@ -1,3 +1,3 @@", " a", "--- b", "+++ b", " c"]
