"""The HTML report's own part: what it holds for one node and for several, and what it leaves out."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from pytest_gpuready.node.facts import REACH, Fact, Facts, file
from pytest_gpuready.report import html, html_files, markup
from pytest_gpuready.report.baseline import Baseline, Change, NodeChanges
from pytest_gpuready.report.files import configuration
from pytest_gpuready.report.html_page import compose
from tests.report.sample import (
    NO_CLI,
    NO_HANDLER,
    NO_MODULE,
    NOT_RESTARTED,
    NVML_HANGS,
    PERSISTENCE,
    report,
    run,
    unreachable,
)

if TYPE_CHECKING:
    import pytest

    from pytest_gpuready.report.model import NodeReport

CONFIG = "/etc/containerd/conf.d/99-nvidia.toml"
BROKEN = report("ssh://root@n1", {"containerd.restarted": NOT_RESTARTED}, hostname="n1")


def text(*nodes: NodeReport) -> str:
    """What a reader sees, folded parts too."""
    return plain(html.render(run(*nodes)))


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page))


def reading(label: str, content: bytes, path: str = CONFIG, *, state: str = "ok") -> NodeReport:
    """A node on which a file was read."""
    node = report(label, {"containerd.restarted": NOT_RESTARTED})
    fact = Fact(state, content)  # type: ignore[arg-type]
    return dataclasses.replace(node, facts=Facts(label, [(REACH, Fact("ok")), (file(path), fact)]))


def test_the_order_is_node_verdict_cause_evidence_command_routes_blocked_inventory_files_about() -> None:
    node = dataclasses.replace(
        report("ssh://root@n1", {"containerd.restarted": NOT_RESTARTED, "driver.module-loaded": NO_MODULE}),
        facts=reading("ssh://root@n1", b"line\n" * 20).facts,
    )
    page = html.render(run(node))
    order = (
        "<main",
        "NOT READY",
        "<h1>ssh://root@n1</h1>",
        "2 causes",
        "line 14 marked by →",
        "runtimes:\n  runc",
        "What to type",
        "sudo systemctl restart containerd",
        ">Routes<",
        ">Blocked",
        ">Also seen",
        ">Inventory<",
        "Configuration files as read",
        "About this report",
    )
    places = [page.find(mark) for mark in order]
    assert -1 not in places
    assert places == sorted(places)


def test_the_marked_line_is_marked_by_an_arrow_and_by_name() -> None:
    page = html.render(run(reading("ssh://root@n1", b"one\n" * 13 + b"<the one>\n" + b"after\n" * 9)))
    assert '<mark><span class="n">→ 14 </span>&lt;the one&gt;</mark>' in page
    assert "<span><mark>&lt;the one&gt;</mark></span>" in page  # in the file as read


def test_every_status_is_a_word() -> None:
    outcomes = {"driver.nvml-answers": NVML_HANGS, "containerd.handler": NO_HANDLER}
    page = html.render(run(report("local", outcomes)))
    assert set(re.findall(r'class="badge \w+"><span aria-hidden="true">.</span> ([a-z ]+)<', page)) >= {
        "fail",
        "unknown",
        "blocked",
        "pass",
        "not ready",
        "not offered by this node",
    }


def test_a_remedy_is_there_once_with_all_that_it_mends_its_commands_whole_and_its_change() -> None:
    page = html.render(run(report("local", {"containerd.handler": NO_HANDLER})))
    assert page.count("<pre><code>sudo tee /etc/containerd/conf.d/99-nvidia.toml &lt;&lt;&#x27;EOF&#x27;\n") == 1
    assert "\nEOF</code></pre>" in page
    assert "<ins>+version = 3</ins>" in page


def test_without_a_command_the_check_is_explained_and_ctr_gpus_alone_can_be_left_out() -> None:
    assert "pytest --gpuready-explain node.reachable" in text(unreachable())
    assert "leave it out:--gpuready-routes cri-handler" in text(report("local", {"toolkit.container-cli": NO_CLI}))


def test_warnings_have_their_remedies_folded() -> None:
    page = html.render(run(report("local", {"driver.persistence": PERSISTENCE})))
    assert "<summary>let the daemon of the driver keep the GPUs</summary>" in page


def test_a_silent_node_shows_why_and_nothing_that_was_not_looked_at() -> None:
    said = text(unreachable())
    assert "UNREACHABLE" in said
    assert "Connection refused" in said
    assert "Inventory" not in said
    assert "ctr run" not in said


def test_no_node_is_unknown() -> None:
    assert "UNKNOWNNo node was looked at" in text()
    assert html.title(run()) == "No node was looked at"


def test_titles_say_the_verdict() -> None:
    assert html.title(run(BROKEN)) == "ssh://root@n1 is not ready"
    assert html.title(run(report("local"))) == "gpu-node is ready"
    assert html.title(run(BROKEN, report("ssh://n2"))) == "1 of 2 nodes is not ready"
    assert html.title(run(report("ssh://n1"), report("ssh://n2"))) == "All 2 nodes are ready"


def test_several_nodes_are_a_matrix_then_what_is_odd_then_each_kind_once() -> None:
    nodes = [report(f"ssh://n{number}") for number in range(10, 30)]
    nodes.append(report("ssh://odd", inventory={"driver": "570.86"}))
    page = html.render(run(*nodes, BROKEN, dataclasses.replace(BROKEN)))
    assert page.index("At a glance") < page.index("What is odd") < page.index('id="g1"') < page.index("All nodes")
    said = plain(page)
    assert "21 nodes ssh://n[10-29],ssh://odd details 2" in said
    assert "1 of 23: driver 570.86 (ssh://odd); all others 580.159.04" in said
    assert page.count("<h3>The cause</h3>") == 1
    assert "as seen on ssh://root@n1" in said


def test_a_long_set_of_nodes_is_folded() -> None:
    nodes = [report(f"ssh://{chr(97 + number) * 12}") for number in range(12)]
    page = html.render(run(*nodes, BROKEN))
    assert "<summary><code>ssh://aaaaaaaaaaaa</code> and 11 more</summary>" in page


def test_what_changed_is_said_for_one_node_and_for_several() -> None:
    changes = NodeChanges(newly_broken=(Change("driver.module-loaded", "pass", "fail"),))
    baseline = Baseline(
        "2026-11-21T09:00:00Z", "", {"ssh://n1": changes, "ssh://n2": changes}, tuple(map(str, range(25)))
    )
    one = dataclasses.replace(run(report("ssh://n1")), baseline=baseline)
    assert "Changed since 2026-11-21T09:00:00Znewly broken: driver.module-loaded" in plain(html.render(one))
    two = plain(html.render(dataclasses.replace(run(report("ssh://n1"), report("ssh://n2")), baseline=baseline)))
    assert "newly broken: driver.module-loaded (was pass, now fail): ssh://n[1-2]" in two
    assert "not asked now: 0, 1, 2" in two
    assert "and 5 more" in two


def test_what_there_is_no_room_for_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "SECTIONS_LIMIT", 10)
    said = text(BROKEN, report("ssh://n2", {"driver.module-loaded": NO_MODULE}))
    assert "driver.module-loaded (told in full in the JSON report)" in said


def test_versions_of_a_file_stand_side_by_side_the_odd_ones_as_differences() -> None:
    nodes = [reading(f"ssh://n{number}", b"one\ntwo\nthree\nfour\nfive\nsix\nseven\n") for number in range(3)]
    nodes += [reading("ssh://n8", b"one\n2\nthree\nfour\nfive\nsix\nseven\n"), reading("ssh://n9", b"", state="denied")]
    said = text(*nodes)
    assert "3 versions, 7 lines" in said
    assert "on ssh://n[0-2]:one" in said
    assert "-two +2" in said
    assert "could not be read: permission denied" in said


def test_files_that_there_is_no_room_for_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_files, "SIZE_LIMIT", 10)
    monkeypatch.setattr(html_files, "VERSIONS_LIMIT", 1)
    nodes = [
        reading("ssh://n1", b"a\n", "/etc/a"),
        reading("ssh://n2", b"b\n", "/etc/a"),
        reading("ssh://n3", b"c", "/etc/c"),
    ]
    said = plain(html_files.render(nodes, configuration(nodes)))
    assert "1 further versions are left out." in said
    assert "Left out for their size: /etc/c." in said


def test_what_was_removed_is_marked_and_not_counted() -> None:
    """Letters and digits that were replaced one for one are no marks, so that a number would be too small."""
    page = html.render(run(reading("ssh://n1", b'password = "[redacted]***"\n')))
    assert 'password = &quot;<span class="cut">[redacted]***</span>&quot;' in page
    assert "1 line, secrets removed" in page
    assert "secrets removed" not in html.render(run(reading("ssh://n1", b"# ** stars **\n")))


def test_a_page_of_another_shape_is_left_as_it_is() -> None:
    main = "<main>verdict</main>"
    for page in ("<p>no page</p>" + main, f"<html><head></head><body>{main}{main}</body></html>"):
        assert compose(page, main, style="", script="", rows="", theirs=False) == page


def test_text_is_cleaned_escaped_and_on_one_line() -> None:
    assert markup.text("a\x1b[31m<b>\n&\"'\u202e") == "a&lt;b&gt; &amp;&quot;&#x27;"
    assert markup.command("\na <\x00b\n") == "a &lt;b"
    assert markup.definitions([("empty", "")]) == ""
