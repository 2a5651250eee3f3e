"""The GPUs that live containers see: those of the node, with the request, and none without."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Evidence
from tests.live.answers import (
    CLIENT,
    CTR,
    HOST,
    IMAGE,
    LIVE,
    NODES,
    UUIDS,
    gpus,
    judged,
    nothing,
    pod,
    probed,
    remedy,
    report,
    said,
    section,
    whole,
)
from tests.support import nodes
from tests.support.driver import uuid

MIG = "MIG-6f1e02c4-5d1c-4a8e-9b63-7d0c1a2b3c42"
GENERATE = ("sudo nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml",)
REFUSED = {**NODES, "/dev/nvidia-uvm": "Operation not permitted"}


# ---------------------------------------------------------------------- what nvidia-smi says inside


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


@pytest.mark.parametrize(
    ("uuids", "words"),
    [
        (UUIDS, "2 GPUs listed by nvidia-smi inside, after 0.5 s"),
        (UUIDS[:1], "1 GPU listed by nvidia-smi inside, after 0.5 s"),
        ((UUIDS[0], MIG, MIG[:-1] + "3"), "1 GPU and 2 MIG devices listed by nvidia-smi inside, after 0.5 s"),
    ],
)
def test_what_is_listed_inside_is_counted(uuids: tuple[str, ...], words: str) -> None:
    assert said(gpus(probed(uuids)))[:2] == ("pass", words)


@pytest.mark.parametrize(
    ("printed", "status", "words"),
    [
        (probed((), smi=0), "fail", "nvidia-smi runs inside and finds no GPU"),
        (probed((), smi=3), "unknown", "nvidia-smi ended with 3 inside: nothing was said"),
        (probed((), smi=0, said="hm"), "unknown", "nvidia-smi ended with 0 inside: hm"),
        (
            probed(UUIDS[:1], smi=9),
            "unknown",
            f"nvidia-smi ended with 9 inside: GPU 0: NVIDIA H100 (UUID: {UUIDS[0]})",
        ),
    ],
)
def test_what_nvidia_smi_ends_with_counts_beside_what_it_lists(printed: bytes, status: str, words: str) -> None:
    assert said(gpus(printed))[:2] == (status, words)


def test_a_device_node_of_another_number_gets_a_new_spec() -> None:
    outcome = gpus(probed(opens=REFUSED)).findings["live.ctr-gpus"].outcome
    assert outcome.found == (
        "nvidia-smi lists 2 GPUs, but opening /dev/nvidia-uvm is refused inside (Operation not permitted), "
        "and not outside (opened): CUDA will not start"
    )
    assert remedy(outcome).commands == GENERATE
    assert remedy(outcome).summary.endswith(
        "or the rules were rewritten. Generate /var/run/cdi/nvidia.yaml from what the driver says now; "
        "it is read at each container start."
    )


def test_a_refusal_inside_passes_without_a_look_outside() -> None:
    alone = whole(IMAGE, section("ctr-gpus", probed(opens=REFUSED)), section("ctr.none", nothing()))
    assert judged(nodes.ready(), alone, LIVE).findings["live.ctr-gpus"].status == "pass"


# ---------------------------------------------------------------------- same-gpus


def test_a_gpu_that_is_missing_inside_fails_same_gpus() -> None:
    finding = gpus(probed(UUIDS[:1])).findings["live.same-gpus"]
    assert finding.status == "fail"
    assert UUIDS[1] in finding.outcome.found
    assert finding.per_route["cri-handler"] == "pass"


def test_without_nvidia_smi_outside_nvml_names_the_gpus() -> None:
    host = section("host", probed((), smi=127, said="sh: nvidia-smi: not found"))
    finding = gpus(probed((uuid(0), uuid(1))), host=host).findings["live.same-gpus"]
    assert finding.per_route["ctr-gpus"] == "pass"


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        (UUIDS[:1], f"missing inside: {UUIDS[1]}"),
        ((*UUIDS, MIG), f"inside only: {MIG}"),
        ((UUIDS[0], MIG), f"missing inside: {UUIDS[1]}; inside only: {MIG}"),
    ],
)
def test_which_gpus_differ_is_told_with_both_lists(inside: tuple[str, ...], words: str) -> None:
    found = gpus(probed(inside))
    assert (found.routes["ctr-gpus"].verdict, found.routes["ctr-gpus"].roots) == ("not-ready", ("live.same-gpus",))
    outcome = found.findings["live.same-gpus"].outcome
    assert (outcome.status, outcome.found) == ("fail", words)
    assert outcome.expected == f"the node's GPUs: {', '.join(UUIDS)}"
    lists = ["\n".join(f"GPU {n}: NVIDIA H100 (UUID: {one})" for n, one in enumerate(side)) for side in (inside, UUIDS)]
    assert outcome.evidence == (
        Evidence("nvidia-smi -L, inside", lists[0]),
        Evidence("nvidia-smi -L, outside", lists[1]),
    )
    assert "make the CDI spec anew" in remedy(outcome).summary


def test_without_a_look_outside_nvml_names_the_gpus() -> None:
    alone = whole(IMAGE, section("ctr-gpus", probed((uuid(0),))), section("ctr.none", nothing()))
    outcome = judged(nodes.ready(), alone, LIVE).findings["live.same-gpus"].outcome
    assert outcome.found == f"missing inside: {uuid(1)}"
    assert outcome.evidence[1] == Evidence("nvidia-smi -L, outside", "")


# ---------------------------------------------------------------------- isolation


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


@pytest.mark.parametrize(
    ("without", "words", "shown"),
    [
        (section("ctr.none", b"bo\nom", 1), "bo om", "bo\nom"),
        (section("ctr.none", b"", 1), "failed", "(nothing was said)"),
        (b"", "cut", "(nothing was said)"),
    ],
)
def test_a_container_without_a_request_whose_end_was_not_seen_proves_nothing(
    without: bytes, words: str, shown: str
) -> None:
    """It is run after those that ask: the run's deadline may come between them."""
    found = report(HOST, IMAGE, section("ctr-gpus", probed()), without, settings=CLIENT)
    assert said(found, "live.isolation") == (
        "unknown",
        f"the container without a request did not come to its end: {words}",
        (Evidence(f"{CTR}, without the request", shown),),
    )
    assert found.verdict == "unknown"


def test_a_route_without_its_container_or_offer_has_that_root() -> None:
    found = report(HOST, IMAGE, section("ctr-gpus", probed()), section("ctr.none", nothing()))
    assert found.routes["cri-handler"].roots == ("live.cri-handler",)
    assert found.routes["nerdctl"].roots == ("containerd.supports-route",)
    told = found.findings["live.isolation"].per_route
    assert (told["ctr-gpus"], told["cri-handler"], told["nerdctl"]) == ("pass", "blocked", "blocked")


def test_what_is_seen_without_a_request_is_told() -> None:
    printed = probed(UUIDS[:1], opens={"/dev/nvidia0": "opened", "/dev/nvidia1": "Operation not permitted"})
    found = report(
        HOST, IMAGE, section("ctr-gpus", probed()), section("ctr.none", printed), pod("cri-handler", probed())
    )
    outcome = found.findings["live.isolation"].outcome
    assert outcome.found == f"a container that asks for no GPU sees {UUIDS[0]}, /dev/nvidia0"
    assert outcome.evidence == (Evidence(f"{CTR}, without the request", printed.decode().strip()),)
    assert remedy(outcome).summary.startswith("Something gives every container its GPUs: ")


@pytest.mark.parametrize(
    ("privileged", "words"),
    [
        (b"", ""),
        (section("ctr.privileged", nothing()), "; a privileged container sees none, as it may"),
        (section("ctr.privileged", b"boom", 1), ""),
    ],
)
def test_what_a_privileged_container_sees_is_told_where_one_ran(privileged: bytes, words: str) -> None:
    found = report(
        HOST, IMAGE, section("ctr-gpus", probed()), section("ctr.none", nothing()), privileged, settings=CLIENT
    )
    assert found.findings["live.isolation"].outcome.found == f"no GPU without a request{words}"
