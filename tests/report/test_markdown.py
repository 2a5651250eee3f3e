"""The Markdown report: three lines for a chat, then the details; what it holds, and what it leaves out."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_gpuready.node.facts import REACH, Fact, Facts, file
from pytest_gpuready.report import markdown
from pytest_gpuready.report.baseline import Baseline, Change, NodeChanges
from pytest_gpuready.routes import Required
from tests.report.sample import (
    NO_CLI,
    NO_HANDLER,
    NO_MODULE,
    NOT_RESTARTED,
    NVML_HANGS,
    PERSISTENCE,
    REFUSED,
    report,
    run,
    unreachable,
)

BROKEN = report("ssh://root@n1", {"containerd.restarted": NOT_RESTARTED}, hostname="n1")


def test_a_chat_gets_node_verdict_cause_and_command() -> None:
    assert markdown.chat(run(BROKEN)) == [
        "**NOT READY**: `ssh://root@n1`  ",
        (
            "Cause: `containerd.restarted`: `handler nvidia is on disk and not in the running daemon (pid 812), which "
            "was started before the file was written`  "
        ),
        "Type on `ssh://root@n1`: `sudo systemctl restart containerd`",
    ]


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        (
            {"containerd.handler": NO_HANDLER},
            "what stands below (`give containerd a handler nvidia, in a file of its own`)",
        ),
        ({"driver.module-loaded": NO_MODULE}, "`sudo apt-get install linux-headers-6.8.0-40-generic` and 2 more below"),
        ({"node.reachable": REFUSED}, "`pytest --gpuready-explain node.reachable`"),
    ],
)
def test_a_chat_is_never_given_half_a_command(outcomes: dict[str, object], said: str) -> None:
    node = report("local", outcomes)  # type: ignore[arg-type]
    assert markdown.chat(run(node))[2] == f"Type: {said}"


def test_a_chat_about_a_ready_node_says_how_that_is_proven() -> None:
    said = markdown.chat(run(report("local")))
    assert said[0] == "**READY**: `gpu-node`  "
    assert said[1] == "Proof: configuration; no container was run  "
    assert said[2].startswith("Made of: `Ubuntu 24.04.3 LTS · containerd 2.1.9")


def test_a_chat_about_several_counts_them_and_names_the_first_kind() -> None:
    said = markdown.chat(run(report("ssh://n0"), BROKEN, dataclasses.replace(BROKEN, hostname="n2")))
    assert said[0] == "**3 nodes**: 1 ready, 2 not ready  "
    assert said[1].startswith("Cause on 2 nodes, as on `ssh://root@n1`: `containerd.restarted`: ")
    assert said[2] == "Type on each of them: `sudo systemctl restart containerd`"


def test_no_node_at_all_is_unknown() -> None:
    assert markdown.dumps(run()).startswith("**UNKNOWN**: no node was looked at")


def test_the_details_hold_evidence_commands_routes_and_what_is_blocked() -> None:
    path = "/etc/containerd/conf.d/99-nvidia.toml"
    facts = Facts("ssh://root@n1", [(REACH, Fact("ok")), (file(path), Fact("ok", b"line\n" * 20))])
    outcomes = {
        "containerd.restarted": NOT_RESTARTED,
        "driver.module-loaded": NO_MODULE,
        "toolkit.container-cli": NO_CLI,
    }
    node = dataclasses.replace(report("ssh://root@n1", outcomes), facts=facts)
    said = markdown.dumps(run(node))
    assert f"`{path}`, line 14:\n\n```\n    11  line\n" in said
    assert "\n>   14  line\n" in said
    assert "runtimes:\n  runc: io.containerd.runc.v2" in said
    assert "```sh\nsudo systemctl restart containerd\n```\n" in said
    assert "- `ctr-gpus` (required): not ready: driver.module-loaded, toolkit.container-cli\n" in said
    assert "- by `driver.module-loaded`: `driver.nvml-answers`, `driver.persistence`\n" in said
    assert said.endswith("- proof: configuration; no container was run\n")


def test_warnings_uncounted_roots_and_unknowns_are_told_apart() -> None:
    said = markdown.dumps(run(report("local", {"driver.persistence": PERSISTENCE, "driver.nvml-answers": NVML_HANGS})))
    assert "**UNKNOWN** `driver.nvml-answers`" in said
    said = markdown.dumps(run(report("local", {"driver.persistence": PERSISTENCE})))
    assert "- WARN `driver.persistence`: `persistence is off on 2 GPUs`" in said
    assert "## Also seen, not counted for a required route\n\n- FAIL `cdi.spec-present`" in said


def test_where_ctr_gpus_alone_fails_the_option_without_it_is_named() -> None:
    said = markdown.dumps(run(report("local", {"toolkit.container-cli": NO_CLI})))
    assert "leave it out: `--gpuready-routes cri-handler`" in said


def test_a_silent_node_has_its_reason_and_no_routes() -> None:
    said = markdown.dumps(run(unreachable()))
    assert "**UNREACHABLE**: `ssh://root@n2`" in said
    assert "Connection refused" in said
    assert "## Routes" not in said
    assert "pytest --gpuready-explain node.reachable" in said


def test_a_node_of_which_nothing_is_required_says_so() -> None:
    said = markdown.dumps(run(report("local", required=Required((), "GKE mounts the driver"))))
    assert "no route is required of it" in said


def test_several_nodes_have_a_list_what_is_odd_and_each_kind_once() -> None:
    odd = report("ssh://n9", inventory={"driver": "570.86"})
    said = markdown.dumps(run(report("ssh://n1"), report("ssh://n2"), report("ssh://n3"), odd, BROKEN))
    assert "- **ready**: 4 nodes `ssh://n[1-3,9]`: configuration; no container was run\n" in said
    assert "- `1 of 5: driver 570.86 (ssh://n9); all others 580.159.04`\n" in said
    assert said.count("## What to type") == 1


def test_what_changed_is_told_once_for_all_nodes_that_it_happened_to() -> None:
    changes = NodeChanges(newly_broken=(Change("driver.module-loaded", "pass", "fail"),))
    baseline = Baseline(
        "2026-11-21T09:00:00Z", "pytest-gpuready 0.1.0", {"ssh://n1": changes, "ssh://n2": changes}, ("n3",)
    )
    two = dataclasses.replace(run(report("ssh://n1"), report("ssh://n2")), baseline=baseline)
    said = markdown.dumps(two)
    assert "## Changed since `2026-11-21T09:00:00Z`\n" in said
    assert "- `newly broken: driver.module-loaded (was pass, now fail)`: `ssh://n[1-2]`\n" in said
    assert "not asked now: `n3`\n" in said
    one = dataclasses.replace(run(report("ssh://n1")), baseline=Baseline("", "", {"ssh://n1": NodeChanges()}))
    assert "## Changed since `the older report`\n\n- `nothing`\n" in markdown.dumps(one)


def test_what_is_too_much_for_a_place_is_cut_between_sections_and_says_so() -> None:
    whole = markdown.dumps(run(BROKEN))
    said = markdown.dumps(run(BROKEN), limit=1200)
    assert len(said) <= 1200
    assert said.endswith("the rest is in the report that `--gpuready-md` writes._\n")
    kept = said[: said.index("\n_More than")]
    assert whole.startswith(kept)
    assert kept.count("```") % 2 == 0
