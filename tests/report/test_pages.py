"""Pages about checks and routes say what the code does, for any check, on 80 columns."""

from __future__ import annotations

import pytest

from pytest_gpuready.checks.catalogue import HEADS, REACHABLE, catalogue, make
from pytest_gpuready.model import Outcome, passed
from pytest_gpuready.report import pages
from pytest_gpuready.report.text import columns
from pytest_gpuready.routes import ROUTES


@pytest.mark.parametrize("check_id", catalogue())
def test_every_check_has_a_page_with_all_heads_on_80_columns(check_id: str) -> None:
    text = pages.explain(check_id)
    lines = text.splitlines()
    assert lines[0].startswith(check_id)
    assert lines[1] == catalogue()[check_id].title[: pages.WIDTH]
    for head in (*HEADS, "Needs", "Required by"):
        place = lines.index(head)
        assert lines[place + 1].startswith("  "), f"{head} is empty"
    assert [line for line in lines if columns(line) > pages.WIDTH] == []
    assert "\n\n\n" not in text


def test_an_advisory_check_says_so_and_is_required_by_no_route() -> None:
    check = next(check for check in catalogue().values() if check.advisory)
    text = pages.explain(check.id)
    assert "advisory" in text.splitlines()[0]
    assert text.partition("Required by\n")[2].startswith("  no route")


def test_a_check_that_only_some_nodes_require_names_the_condition() -> None:
    assert "ctr-gpus, with ctr 2.3 and later" in pages.explain("driver.uvm-node")


def test_messages_that_lead_to_a_check_are_on_its_page() -> None:
    assert "1 Insufficient nvidia.com/gpu" in " ".join(pages.explain("kubernetes.allocatable").split())


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("kubernetes.allocatble", "kubernetes.allocatable"),
        ("Kubernetes.Allocatable", "kubernetes.allocatable"),
        ("allocatable", "kubernetes.allocatable"),
        ("runtime_endpoint", "kubernetes.runtime-endpoint"),
    ],
)
def test_an_unknown_id_names_the_one_that_is_meant(typed: str, meant: str) -> None:
    with pytest.raises(pages.UnknownCheck) as caught:
        pages.explain(typed)
    assert f"did you mean {meant}" in str(caught.value.args[0])


def test_an_id_like_no_other_gets_the_list_and_no_terminal_control() -> None:
    with pytest.raises(pages.UnknownCheck) as caught:
        pages.explain("\x1b[31mqqqqqq\n")
    assert caught.value.args[0] == "there is no check 'qqqqqq'; --gpuready-list shows them all"


def test_the_list_names_every_check_and_every_route_on_80_columns() -> None:
    lines = pages.listing().splitlines()
    named = [line.split()[0] for line in lines if line.startswith("  ") and not line.startswith("   ")]
    assert named == [
        *(check.id for members in pages.families(catalogue().values()).values() for check in members),
        *ROUTES,
    ]
    assert [line for line in lines if columns(line) > pages.WIDTH] == []


def test_what_a_page_says_of_a_route_is_what_the_route_requires() -> None:
    """Asked of the routes' own functions: a CDI route needs the specs always, ctr --gpus only from 2.3 on."""
    assert "cdi.spec-valid" in pages.requirement("ctr-cdi").always
    gpus = pages.requirement("ctr-gpus")
    assert "cdi.spec-valid" not in gpus.always
    assert "cdi.spec-valid" in gpus.when["ctr 2.3 and later"]
    assert gpus.when["ctr up to 2.2"] == {"toolkit.container-cli"}
    assert "toolkit.container-cli" in pages.requirement("cri-handler").when["nvidia-container-runtime in mode legacy"]
    assert pages.requirement("ctr-cdi").when == {}


def test_paragraphs_are_one_line_each_and_items_of_a_list_stay_apart() -> None:
    assert pages.paragraphs("a\nb\n\nc\n- d\n  e\n- f\n") == ["a b", "c", "- d e", "- f"]


def test_conditions_of_one_program_are_said_once() -> None:
    assert pages.either(["x in mode a", "x in mode b", "x in mode c"]) == "x in mode a, b or c"
    assert pages.either(["ctr 2.3", "nerdctl 2.3"]) == "ctr 2.3 or nerdctl 2.3"


def test_a_docstring_without_a_summary_has_none() -> None:
    def bare() -> Outcome:
        return passed("")

    bare.__doc__ = "What: a. Why: b."
    assert pages.summary(make("x.y", title="t", func=bare)) == ""


def test_everything_but_reachable_needs_it_and_the_list_does_not_repeat_that() -> None:
    for check in catalogue().values():
        assert REACHABLE not in pages.own_needs(check)


@pytest.mark.parametrize("node", ["", "[ssh://n1]", "[ssh://[::1]]"])
def test_an_items_id_is_as_good_as_a_checks(node: str) -> None:
    """As pytest prints it; where an item is a family, its checks are named."""
    page = pages.explain("containerd.restarted")
    assert pages.explain(f"gpuready/containerd.py::restarted{node}") == page
    assert pages.explain(f"../gpuready/containerd.py::restarted{node}") == page
    assert pages.explain(f"gpuready/driver.py::device_nodes{node}") == pages.explain("driver.device-nodes")
    family = pages.explain(f"gpuready/containerd.py::checks{node}")
    assert [line.strip() for line in family.splitlines() if line.startswith("  cdi.")] == []
    for check in catalogue().values():
        assert (f"\n  {check.id}" in family) is (check.family == "containerd")
    assert pages.explain("gpuready/containerd.py") == family
