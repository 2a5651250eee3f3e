"""What the live checks say word for word: of the image, of each kind of end, of GPUs that are missing or too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.containerd_api.grpcwire import encode
from pytest_gpuready.live.plan import POD_ROUTES
from pytest_gpuready.model import Evidence, Settings
from pytest_gpuready.routes import ROUTES
from tests.checks.test_live import HOST, IMAGE, LIVE, NAMED, gpus, pods, report
from tests.live.answers import ID, NODES, UUIDS, curl, healthy, judged, nothing, pod, probed, section, whole
from tests.support import containerd, nodes
from tests.support.driver import uuid

if TYPE_CHECKING:
    from pytest_gpuready.model import Outcome, Remedy
    from pytest_gpuready.report.model import NodeReport
    from tests.support.simnode import SimNode

CTR, CRI = ROUTES["ctr-gpus"].command, ROUTES["cri-handler"].command
NAME = "docker.io/nvidia/cuda:12.8.1-base-ubuntu24.04"
CLIENT = Settings(routes=("ctr-gpus",), live=True)
GENERATE = ("sudo nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml",)
MIG = "MIG-6f1e02c4-5d1c-4a8e-9b63-7d0c1a2b3c42"


def said(found: NodeReport, check: str = "live.ctr-gpus") -> tuple[str, str, tuple[Evidence, ...]]:
    """Status, words and evidence of a check."""
    outcome = found.findings[check].outcome
    return outcome.status, outcome.found, outcome.evidence


def remedy(outcome: Outcome) -> Remedy:
    assert outcome.remedy is not None
    return outcome.remedy


# ---------------------------------------------------------------------- live.image


def test_a_run_that_did_not_come_to_the_image_says_so_and_one_that_broke_off_there_is_known_no_further() -> None:
    assert said(report(HOST), "live.image") == ("not-applicable", "no image was looked for", ())
    cut = report(HOST, section("image", b"", None))
    assert said(cut, "live.image")[:2] == ("unknown", "the run broke off while the image was made or looked for")
    assert cut.routes["ctr-gpus"].roots == ("live.image",)


@pytest.mark.parametrize(
    ("printed", "rc", "words", "evidence"),
    [
        (
            b"sh: tar: not found\n",
            1,
            "could not be built: sh: tar: not found",
            (Evidence("the image's building", "sh: tar: not found"),),
        ),
        (b"", 2, "could not be imported: nothing was said", ()),
    ],
)
def test_what_became_of_the_builtin_image_is_told_and_another_may_be_named(
    printed: bytes, rc: int, words: str, evidence: tuple[Evidence, ...]
) -> None:
    found = report(HOST, section("image", printed, rc))
    assert said(found, "live.image") == ("unknown", f"the builtin image {words}", evidence)
    asked = remedy(found.findings["live.image"].outcome)
    assert asked.summary == "Name an image that is on the node with --gpuready-image."
    built = report(HOST, section("image", b"unpacking\n"))
    assert said(built, "live.image") == ("pass", "built of the node's own libc, loader and sh, and imported", ())


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (b"default\n", f"{NAME} is not in the namespace k8s.io, only in default"),
        (b"", f"{NAME} is not in the namespace default"),
    ],
)
def test_where_the_named_image_is_not_is_told(there: bytes, words: str) -> None:
    assert said(report(HOST, section("image", there), settings=NAMED), "live.image")[1] == words


# ---------------------------------------------------------------------- how a container ended


@pytest.mark.parametrize(
    ("section_", "status", "words", "shown"),
    [
        (b"", "unknown", "its container was not run, or its end was not seen", None),
        (
            section("ctr-gpus", b"half of", None),
            "unknown",
            "its container was not run, or its end was not seen",
            "half of",
        ),
        (
            section("ctr-gpus", b"", 124),
            "fail",
            "it did not come to its end within its deadline",
            "(nothing was said)",
        ),
        (
            section("ctr-gpus", b"hm\nhm", 137),
            "fail",
            "it did not come to its end within its deadline: hm hm",
            "hm\nhm",
        ),
        (
            section("ctr-gpus", b"boom", 3),
            "unknown",
            "its container did not run (exit status 3), for a reason that is not known here: boom",
            "boom",
        ),
        (
            section("ctr-gpus", b"", 1),
            "unknown",
            "its container did not run (exit status 1), for a reason that is not known here: nothing was said",
            "(nothing was said)",
        ),
    ],
)
def test_each_end_of_a_container_has_its_words_and_shows_what_was_said(
    section_: bytes, status: str, words: str, shown: str | None
) -> None:
    found = report(HOST, IMAGE, section_, section("ctr.none", nothing()))
    assert said(found) == (status, words, () if shown is None else (Evidence(CTR, shown),))


def node_of(route: str) -> SimNode:
    """A node on which this route may be tried: with nerdctl; for pods without a class the handler is the default."""
    node = nodes.ready().program("/usr/bin/nerdctl").answer(("nerdctl", "--version"), "nerdctl version 2.0.0\n")
    if route == "cri-default":
        table = f'[{containerd.V3}.containerd]\n  default_runtime_name = "nvidia"\n'
        node.put(containerd.CONFIG, containerd.config("2.1.9") + table)
        containerd.says(node, containerd.loaded(node, "2.1.9"))
    return node


@pytest.mark.parametrize("route", ROUTES)
def test_each_routes_own_container_decides_for_it(route: str) -> None:
    text = "container.Runtime.Name must be set"
    settings, name = Settings(routes=(route,), live=True), f"live.{route}"
    refused = section(route, text.encode(), 1)
    if route in POD_ROUTES:
        refused = section(f"{route}/RunPodSandbox/1", curl("RunPodSandbox", None, 2, text))
    for answer, status, verdict, proof in (
        (healthy(), "pass", "ready", "live"),
        (whole(HOST, IMAGE, refused), "fail", "not-ready", "configured"),
        (whole(HOST, IMAGE), "unknown", "unknown", "configured"),
    ):
        found = judged(node_of(route), answer, settings)
        mine = found.routes[route]
        assert (found.findings[name].status, mine.verdict, mine.proof) == (status, verdict, proof)
        assert mine.roots == (() if status == "pass" else (name,))


def test_gpus_in_use_are_left_alone_which_proves_nothing() -> None:
    words = "the GPUs were left alone (--gpuready-live-idle-only); in use: GPU-1, 4711"
    assert said(report(HOST, section("idle", b"GPU-1, 4711\n"))) == ("unknown", words, ())


def vanished(text: str) -> NodeReport:
    """The pod was removed in the first call after it was made, three times."""
    calls = b""
    for attempt in (1, 2, 3):
        calls += section(f"cri-handler/RunPodSandbox/{attempt}", curl("RunPodSandbox", encode([(1, ID)])))
        if text:
            calls += section(f"cri-handler/CreateContainer/{attempt}", curl("CreateContainer", None, 5, text))
        calls += section(f"cri-handler/vanished/{attempt}", b"")
    return pods(calls)


def test_a_pod_that_was_refused_or_vanished_shows_what_was_said_last() -> None:
    refused = pods(section("cri-handler/RunPodSandbox/1", curl("RunPodSandbox", None, 2, "no")))
    words = "its container did not run, for a reason that is not known here: no"
    assert said(refused, "live.cri-handler") == ("unknown", words, (Evidence(CRI, "no"),))
    for text in ("not found", ""):
        found = vanished(text)
        assert said(found, "live.cri-handler")[2] == ((Evidence(CRI, text),) if text else ())
        assert remedy(found.findings["live.cri-handler"].outcome).summary.startswith("Let the kubelet rest meanwhile")


def test_a_known_end_says_what_is_to_be_done() -> None:
    text = b"ctr: container.Runtime.Name must be set"
    known = gpus(text, 1).findings["live.ctr-gpus"].outcome
    assert known.found == (
        "its container did not run: the handler has no runtime_type (containerd.handler-runtime-type)"
    )
    assert remedy(known).summary
    inside = gpus(probed((), smi=255, said="Failed to initialize NVML: Unknown Error")).findings["live.ctr-gpus"]
    assert remedy(inside.outcome).summary == (
        "See what toolkit.config-valid says: pytest --gpuready-explain toolkit.config-valid"
    )
    bare = gpus(nothing()).findings["live.ctr-gpus"].outcome
    assert remedy(bare).summary.startswith("The request was not acted upon: ")


def test_a_container_that_does_not_run_blocks_what_is_asked_of_it_and_nothing_that_was_looked_at_before() -> None:
    found = report(HOST, IMAGE, section("ctr-gpus", b"boom", 3), settings=CLIENT)
    assert set(found.blocks("live.ctr-gpus")) == {"live.same-gpus", "live.isolation"}
    unbuilt = report(HOST, section("image", b"", 1), settings=CLIENT)
    assert all(check.startswith("live.") for check in unbuilt.blocks("live.image"))


# ---------------------------------------------------------------------- what nvidia-smi listed


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


REFUSED = {**NODES, "/dev/nvidia-uvm": "Operation not permitted"}


def test_a_node_of_another_number_is_mended_by_a_spec_of_today() -> None:
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


def test_what_is_refused_inside_is_no_fault_where_nobody_looked_outside() -> None:
    alone = whole(IMAGE, section("ctr-gpus", probed(opens=REFUSED)), section("ctr.none", nothing()))
    assert judged(nodes.ready(), alone, LIVE).findings["live.ctr-gpus"].status == "pass"


# ---------------------------------------------------------------------- live.same-gpus


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


def test_where_nobody_looked_outside_nvml_says_which_gpus_there_are() -> None:
    alone = whole(IMAGE, section("ctr-gpus", probed((uuid(0),))), section("ctr.none", nothing()))
    outcome = judged(nodes.ready(), alone, LIVE).findings["live.same-gpus"].outcome
    assert outcome.found == f"missing inside: {uuid(1)}"
    assert outcome.evidence[1] == Evidence("nvidia-smi -L, outside", "")


# ---------------------------------------------------------------------- live.isolation


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


def test_a_route_whose_own_container_did_not_run_or_that_is_not_offered_has_that_for_its_root() -> None:
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
