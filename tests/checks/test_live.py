"""The live checks on recorded answers: each passes where containers did well, and fails by what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.containerd_api.grpcwire import encode
from pytest_gpuready.model import Settings
from pytest_gpuready.node.facts import Facts
from pytest_gpuready.node.snapshot import dumps, loads
from tests.live.answers import (
    ID,
    NODES,
    UUIDS,
    curl,
    healthy,
    judged,
    nothing,
    pod,
    probed,
    section,
    whole,
)
from tests.support import nodes
from tests.support.driver import uuid

if TYPE_CHECKING:
    from pytest_gpuready.report.model import NodeReport

LIVE = Settings(routes=("ctr-gpus", "cri-handler"), live=True)
HOST, IMAGE = section("host", probed()), section("image", b"")


def report(*sections: bytes, settings: Settings = LIVE) -> NodeReport:
    return judged(nodes.ready(), whole(*sections), settings)


def gpus(output: bytes, rc: int = 0, *, host: bytes = HOST) -> NodeReport:
    """The node whose container of ctr-gpus printed this; the pod is fine."""
    return report(
        host,
        IMAGE,
        section("ctr-gpus", output, rc),
        section("ctr.none", nothing()),
        pod("cri-handler", probed(), nothing()),
    )


def pods(calls: bytes) -> NodeReport:
    """The node whose pod came to this; ctr-gpus is fine."""
    return report(HOST, IMAGE, section("ctr-gpus", probed()), section("ctr.none", nothing()), calls)


def test_a_healthy_node_is_ready_and_proven_live() -> None:
    found = judged(nodes.ready(), healthy(), LIVE)
    assert found.verdict == "ready"
    assert {route: one.proof for route, one in found.routes.items() if one.required} == {
        "ctr-gpus": "live",
        "cri-handler": "live",
    }
    assert found.findings["live.same-gpus"].status == "pass"
    assert "a privileged container sees /dev/nvidia0, /dev/nvidia1" in found.findings["live.isolation"].outcome.found
    assert found.findings["live.nerdctl"].status in ("not-applicable", "blocked")


def test_without_the_option_live_checks_are_absent_and_the_proof_is_configuration() -> None:
    found = judged(nodes.ready(), healthy(), Settings(routes=("ctr-gpus",)))
    assert found.verdict == "ready"
    assert found.routes["ctr-gpus"].proof == "configured"
    assert not [check for check in found.findings if check.startswith("live.")]


def test_a_required_route_whose_container_did_not_run_is_unknown() -> None:
    """A snapshot without a live run, asked for the live proof."""
    found = judged(nodes.ready(), None, LIVE)
    assert found.verdict == "unknown"
    assert found.routes["ctr-gpus"].roots == ("live.image",)


def test_what_the_passive_checks_found_blocks_the_container() -> None:
    found = judged(
        nodes.not_restarted(), whole(HOST, IMAGE, section("ctr-gpus", probed()), section("ctr.none", nothing())), LIVE
    )
    assert found.findings["live.cri-handler"].blocked_by == ("containerd.restarted",)
    assert found.routes["cri-handler"].roots == ("containerd.restarted",)
    assert found.routes["ctr-gpus"].verdict == "ready"


def test_a_recorded_run_is_judged_again() -> None:
    node = nodes.ready()
    facts = node.facts(LIVE)
    before = judged(node, healthy(), LIVE)
    copied, _ = loads(dumps(before.facts, {}), "copy")
    assert isinstance(facts, Facts)
    from pytest_gpuready.judge import judge  # noqa: PLC0415 - the copy has another label

    assert judge(Facts("copy", copied), LIVE).verdict == "ready"


def test_a_known_text_names_its_cause_and_what_to_type() -> None:
    found = gpus(
        b"ctr: OCI runtime create failed: nvidia-container-cli: initialization error: nvml error: driver not loaded", 1
    )
    finding = found.findings["live.ctr-gpus"]
    assert finding.status == "fail"
    assert "driver.module-loaded" in finding.outcome.found
    assert finding.outcome.remedy is not None
    assert found.routes["ctr-gpus"].roots == ("live.ctr-gpus",)


def test_an_unknown_text_is_shown_whole_and_called_unknown() -> None:
    finding = gpus(b"ctr: the \x1b[31mmoon is\x1b[0m in the way\n", 1).findings["live.ctr-gpus"]
    assert finding.status == "unknown"
    assert "the moon is in the way" in finding.outcome.found
    assert finding.outcome.evidence[0].text == "ctr: the moon is in the way"


def test_a_container_past_its_deadline_fails() -> None:
    assert "deadline" in gpus(b"", 124).findings["live.ctr-gpus"].outcome.found


def test_a_container_without_nvidia_smi_was_started_without_the_driver() -> None:
    finding = gpus(nothing(), 0).findings["live.ctr-gpus"]
    assert (finding.status, "no nvidia-smi" in finding.outcome.found) == ("fail", True)


@pytest.mark.parametrize(
    ("said", "smi", "status", "words"),
    [
        ("Failed to initialize NVML: Unknown Error", 255, "fail", "device rules"),
        ("No devices were found", 6, "fail", "finds no GPU"),
        ("the sky fell", 3, "unknown", "the sky fell"),
    ],
)
def test_what_nvidia_smi_says_inside_is_read(said: str, smi: int, status: str, words: str) -> None:
    finding = gpus(probed((), smi=smi, said=said)).findings["live.ctr-gpus"]
    assert (finding.status, words in finding.outcome.found) == (status, True)


@pytest.mark.parametrize("refused", ["Operation not permitted", "Permission denied"])
def test_uvm_refused_inside_only_is_the_fault(refused: str) -> None:
    opens = {**NODES, "/dev/nvidia-uvm": refused}
    finding = gpus(probed(opens=opens)).findings["live.ctr-gpus"]
    assert (finding.status, "CUDA will not start" in finding.outcome.found) == ("fail", True)
    outside = section("host", probed(opens=opens))
    assert gpus(probed(opens=opens), host=outside).findings["live.ctr-gpus"].status == "pass"


def test_a_simulated_node_answers_alike_on_both_sides() -> None:
    opens = dict.fromkeys(NODES, "No such device or address")
    found = gpus(probed(opens=opens), host=section("host", probed(opens=opens)))
    assert found.findings["live.ctr-gpus"].status == "pass"


def test_a_gpu_that_is_missing_inside_fails_same_gpus() -> None:
    finding = gpus(probed(UUIDS[:1])).findings["live.same-gpus"]
    assert finding.status == "fail"
    assert UUIDS[1] in finding.outcome.found
    assert finding.per_route["cri-handler"] == "pass"


def test_without_nvidia_smi_outside_nvml_names_the_gpus() -> None:
    host = section("host", probed((), smi=127, said="sh: nvidia-smi: not found"))
    finding = gpus(probed((uuid(0), uuid(1))), host=host).findings["live.same-gpus"]
    assert finding.per_route["ctr-gpus"] == "pass"


def test_a_container_that_asks_for_none_and_sees_one_fails_isolation() -> None:
    found = report(
        HOST,
        IMAGE,
        section("ctr-gpus", probed()),
        section("ctr.none", probed()),
        pod("cri-handler", probed(), nothing()),
    )
    finding = found.findings["live.isolation"]
    assert finding.status == "fail"
    assert UUIDS[0] in finding.outcome.found
    assert found.routes["ctr-gpus"].verdict == "not-ready"
    assert found.routes["cri-handler"].verdict == "ready"


def test_one_that_asks_for_none_and_does_not_run_proves_nothing() -> None:
    found = report(
        HOST,
        IMAGE,
        section("ctr-gpus", probed()),
        section("ctr.none", b"boom", 1),
        pod("cri-handler", probed(), nothing()),
    )
    assert found.findings["live.isolation"].status == "unknown"


def test_a_refused_pod_names_the_cause() -> None:
    refused = curl("RunPodSandbox", None, 2, "failed to get sandbox runtime: no runtime for %22nvidia%22 is configured")
    finding = pods(section("cri-handler/RunPodSandbox/1", refused)).findings["live.cri-handler"]
    assert (finding.status, "containerd.restarted" in finding.outcome.found) == ("fail", True)


def test_a_pod_that_vanishes_each_time_is_unknown_and_says_by_whom() -> None:
    calls = b""
    for attempt in (1, 2, 3):
        calls += section(f"cri-handler/RunPodSandbox/{attempt}", curl("RunPodSandbox", encode([(1, ID)])))
        calls += section(f"cri-handler/CreateContainer/{attempt}", curl("CreateContainer", None, 5, "not found"))
        calls += section(f"cri-handler/vanished/{attempt}", b"")
    finding = pods(calls).findings["live.cri-handler"]
    assert (finding.status, finding.outcome.found.startswith("removed by the kubelet")) == ("unknown", True)


def test_a_pod_that_came_through_at_the_second_attempt_counts() -> None:
    first = section("cri-handler/RunPodSandbox/1", curl("RunPodSandbox", encode([(1, ID)])))
    first += section("cri-handler/vanished/1", b"")
    assert (
        pods(first + pod("cri-handler", probed(), nothing(), attempt=2)).findings["live.cri-handler"].status == "pass"
    )


def test_a_pods_container_that_prints_nothing_to_the_end_is_unknown() -> None:
    assert pods(pod("cri-handler", b"half of")).findings["live.cri-handler"].status == "unknown"
    late = section("cri-handler/RunPodSandbox/1", b"via=curl\nsocket=ok\nrpc=/runtime.v1.RuntimeService/X\n\nrc=28\n")
    assert "deadline" in pods(late).findings["live.cri-handler"].outcome.found


def test_a_run_that_was_cut_off_is_unknown_where_it_was_cut() -> None:
    found = report(HOST, IMAGE, section("ctr-gpus", b"gpure", None))
    assert found.findings["live.ctr-gpus"].status == "unknown"
    assert found.verdict == "unknown"


def test_an_image_that_could_not_be_built_is_the_root() -> None:
    found = report(HOST, section("image", b"sh: tar: not found\n", 1))
    assert found.findings["live.image"].status == "unknown"
    assert found.routes["ctr-gpus"].roots == ("live.image",)
    assert "imported" in report(HOST, section("image", b"", 2)).findings["live.image"].outcome.found


def test_a_node_without_setsid_says_so() -> None:
    found = judged(nodes.ready(), b"the node has no setsid\n", LIVE)
    assert "no setsid" in found.findings["live.image"].outcome.found


NAMED = Settings(routes=("ctr-gpus", "cri-handler"), live=True, image="nvidia/cuda:12.8.1-base-ubuntu24.04")


def test_an_image_in_the_other_namespace_is_copied_not_pulled() -> None:
    finding = report(HOST, section("image", b"default\n"), settings=NAMED).findings["live.image"]
    assert finding.per_route["ctr-gpus"] == "pass"
    assert finding.status == "unknown"
    remedy = finding.outcome.remedy
    assert remedy is not None
    name = "docker.io/nvidia/cuda:12.8.1-base-ubuntu24.04"
    assert remedy.commands[0].endswith(f"ctr images export - {name} | sudo ctr -n k8s.io images import -")


def test_an_image_that_is_nowhere_has_the_exact_pull_command() -> None:
    finding = report(HOST, section("image", b""), settings=NAMED).findings["live.image"]
    remedy = finding.outcome.remedy
    assert remedy is not None
    assert remedy.commands[0].endswith("ctr images pull docker.io/nvidia/cuda:12.8.1-base-ubuntu24.04")


def test_the_notes_tag_is_told_not_to_exist() -> None:
    settings = Settings(routes=("ctr-gpus",), live=True, image="nvidia/cuda:12.3.0-base")
    finding = report(HOST, section("image", b""), settings=settings).findings["live.image"]
    assert "there is no tag 12.3.0-base" in finding.outcome.found
    assert finding.outcome.remedy is not None
    assert finding.outcome.remedy.commands == ()


@pytest.mark.parametrize(("rc", "words"), [(0, "in use: GPU-1, 4711"), (1, "could not be found out")])
def test_a_busy_gpu_is_left_alone_and_its_route_unknown(rc: int, words: str) -> None:
    found = report(HOST, section("idle", b"GPU-1, 4711\n", rc), IMAGE)
    assert words in found.findings["live.ctr-gpus"].outcome.found
    assert found.verdict == "unknown"
