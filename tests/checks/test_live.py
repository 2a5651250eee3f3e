"""The live checks on recorded answers: the whole run, the image, and how each container ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.checks.catalogue import LIVE as FAMILY
from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.containerd_api.grpcwire import encode
from pytest_gpuready.live.plan import POD_ROUTES
from pytest_gpuready.model import Evidence, Settings
from pytest_gpuready.node.facts import Facts
from pytest_gpuready.node.snapshot import dumps, loads
from pytest_gpuready.routes import ROUTES
from tests.live.answers import (
    CLIENT,
    CRI,
    CTR,
    HOST,
    ID,
    IMAGE,
    LIVE,
    NAMED,
    curl,
    gpus,
    healthy,
    judged,
    nothing,
    pod,
    pods,
    probed,
    remedy,
    report,
    said,
    section,
    whole,
)
from tests.support import containerd, nodes

if TYPE_CHECKING:
    from pytest_gpuready.report.model import NodeReport
    from tests.support.simnode import SimNode

CHECKS = {check.id for check in catalogue().values() if check.family == FAMILY}
NAME = "docker.io/nvidia/cuda:12.8.1-base-ubuntu24.04"


def node_of(route: str) -> SimNode:
    """A node on which this route may be tried: with nerdctl; for pods without a class the handler is the default."""
    node = nodes.ready().program("/usr/bin/nerdctl").answer(("nerdctl", "--version"), "nerdctl version 2.0.0\n")
    if route == "cri-default":
        table = f'[{containerd.V3}.containerd]\n  default_runtime_name = "nvidia"\n'
        node.put(containerd.CONFIG, containerd.config("2.1.9") + table)
        containerd.says(node, containerd.loaded(node, "2.1.9"))
    return node


def vanished(text: str) -> NodeReport:
    """The pod was removed in the first call after it was made, three times."""
    calls = b""
    for attempt in (1, 2, 3):
        calls += section(f"cri-handler/RunPodSandbox/{attempt}", curl("RunPodSandbox", encode([(1, ID)])))
        if text:
            calls += section(f"cri-handler/CreateContainer/{attempt}", curl("CreateContainer", None, 5, text))
        calls += section(f"cri-handler/vanished/{attempt}", b"")
    return pods(calls)


# ---------------------------------------------------------------------- whole runs


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


def test_a_run_that_was_cut_off_is_unknown_where_it_was_cut() -> None:
    found = report(HOST, IMAGE, section("ctr-gpus", b"gpure", None))
    assert found.findings["live.ctr-gpus"].status == "unknown"
    assert found.verdict == "unknown"


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


def test_a_stopped_daemon_blocks_every_live_check() -> None:
    found = judged(containerd.stopped(nodes.ready()), healthy(), LIVE)
    assert set(found.blocks("containerd.running")) >= CHECKS


def test_a_container_that_does_not_run_blocks_live_checks_only() -> None:
    """Nothing that was checked before it."""
    found = report(HOST, IMAGE, section("ctr-gpus", b"boom", 3), settings=CLIENT)
    assert set(found.blocks("live.ctr-gpus")) == {"live.same-gpus", "live.isolation"}
    unbuilt = report(HOST, section("image", b"", 1), settings=CLIENT)
    assert all(check.startswith("live.") for check in unbuilt.blocks("live.image"))


# ---------------------------------------------------------------------- the image


def test_an_image_that_could_not_be_built_is_the_root() -> None:
    found = report(HOST, section("image", b"sh: tar: not found\n", 1))
    assert found.findings["live.image"].status == "unknown"
    assert found.routes["ctr-gpus"].roots == ("live.image",)
    assert set(found.blocks("live.image")) == CHECKS - {"live.image"}
    assert "imported" in report(HOST, section("image", b"", 2)).findings["live.image"].outcome.found


def test_a_node_without_setsid_says_so() -> None:
    found = judged(nodes.ready(), b"the node has no setsid\n", LIVE)
    assert "no setsid" in found.findings["live.image"].outcome.found


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


def test_a_run_that_ended_before_the_image_says_so() -> None:
    """One that broke off there is unknown from there on."""
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
def test_a_builtin_image_that_failed_asks_for_another(
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


def test_a_container_without_nvidia_smi_was_started_without_the_driver() -> None:
    finding = gpus(nothing(), 0).findings["live.ctr-gpus"]
    assert (finding.status, "no nvidia-smi" in finding.outcome.found) == ("fail", True)


@pytest.mark.parametrize(
    ("rc", "words"),
    [(0, "in use: GPU-1, 4711"), (1, "whether the GPUs are in use could not be found out: GPU-1, 4711")],
)
def test_a_busy_gpu_is_left_alone_and_its_route_unknown(rc: int, words: str) -> None:
    found = report(HOST, section("idle", b"GPU-1, 4711\n", rc), IMAGE)
    assert said(found) == ("unknown", f"the GPUs were left alone (--gpuready-live-idle-only); {words}", ())
    assert found.verdict == "unknown"


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
def test_each_end_of_a_container_has_its_words_and_evidence(
    section_: bytes, status: str, words: str, shown: str | None
) -> None:
    found = report(HOST, IMAGE, section_, section("ctr.none", nothing()))
    assert said(found) == (status, words, () if shown is None else (Evidence(CTR, shown),))


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


# ---------------------------------------------------------------------- how a pod ended


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


def test_a_pod_that_was_refused_or_vanished_shows_what_was_said_last() -> None:
    refused = pods(section("cri-handler/RunPodSandbox/1", curl("RunPodSandbox", None, 2, "no")))
    words = "its container did not run, for a reason that is not known here: no"
    assert said(refused, "live.cri-handler") == ("unknown", words, (Evidence(CRI, "no"),))
    for text in ("not found", ""):
        found = vanished(text)
        assert said(found, "live.cri-handler")[2] == ((Evidence(CRI, text),) if text else ())
        assert remedy(found.findings["live.cri-handler"].outcome).summary.startswith("Let the kubelet rest meanwhile")
