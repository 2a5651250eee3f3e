"""The catalogue: every check is whole, and its needs form an order."""

from __future__ import annotations

import graphlib
import re

import pytest

from pytest_gpuready.checks import catalogue as registry
from pytest_gpuready.checks.catalogue import FAMILIES, HEADS, LIVE, catalogue, make, ordered, refuse_unknown, suite
from pytest_gpuready.model import Outcome, passed
from pytest_gpuready.views import VIEWS


def test_everything_needs_the_node_to_be_reachable_and_that_needs_nothing() -> None:
    checks = catalogue()
    assert checks["node.reachable"].needs == ()
    assert all("node.reachable" in check.needs for check in checks.values() if check.id != "node.reachable")


def test_needs_form_no_cycle_and_stand_first_in_their_family() -> None:
    checks = catalogue()
    graphlib.TopologicalSorter({check.id: check.needs for check in checks.values()}).prepare()
    order = {check_id: number for number, check_id in enumerate(checks)}
    for check in checks.values():
        for need in check.needs:
            if need in checks and checks[need].family == check.family:
                assert order[need] < order[check.id], (need, check.id)


def test_no_check_that_counts_needs_one_that_only_warns() -> None:
    checks = catalogue()
    for check in checks.values():
        if not check.advisory:
            assert not [need for need in check.needs if need in checks and checks[need].advisory], check.id


@pytest.mark.parametrize("check_id", catalogue())
def test_a_check_has_a_page_a_title_and_only_known_parameters(check_id: str) -> None:
    check = catalogue()[check_id]
    assert check.id == check_id
    assert list(check.page) == list(HEADS)
    assert all(check.page.values())
    assert 8 < len(check.title) <= 64
    assert set(check.parameters) <= {*VIEWS, "mend", "denials"}
    assert check.family in FAMILIES


def test_families_are_shown_in_their_order() -> None:
    families = [check.family for check in catalogue().values()]
    assert families == sorted(families, key=FAMILIES.index)


def test_live_checks_belong_to_a_run_that_starts_containers() -> None:
    assert suite(live=True) == catalogue()
    assert set(suite(live=False)) == {check.id for check in catalogue().values() if check.family != LIVE}


def test_an_unknown_parameter_is_an_error_when_a_check_is_registered() -> None:
    def misspelt(nvlm: object) -> Outcome:
        """Never called."""
        raise AssertionError(nvlm)

    message = "check site.x takes the unknown parameter 'nvlm': did you mean 'nvml'?"
    with pytest.raises(ValueError, match=re.escape(message)):
        make("site.x", title="x", func=misspelt)


def test_a_name_that_is_like_no_other_has_no_suggestion() -> None:
    with pytest.raises(ValueError, match=r"^check x needs the unknown check 'zzz'$"):
        refuse_unknown("check x needs the unknown check", ["zzz"], ["containerd.running"])


def test_an_unknown_need_of_a_registered_check_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = make("site.x", title="x", func=lambda: passed(""), needs=["containerd.runing"])
    monkeypatch.setitem(registry._registered, "site.x", toy)
    message = "check site.x needs the unknown check 'containerd.runing': did you mean 'containerd.running'?"
    with pytest.raises(ValueError, match=re.escape(message)):
        catalogue.__wrapped__()


def test_a_cycle_of_needs_is_an_error_and_no_endless_loop() -> None:
    def nothing() -> Outcome:
        """Nothing."""
        return passed("")

    checks = {
        name: make(name, title=name, func=nothing, needs=needs) for name, needs in (("a.x", ["a.y"]), ("a.y", ["a.x"]))
    }
    with pytest.raises(graphlib.CycleError):
        ordered(checks)


def test_a_docstring_without_heads_has_no_page() -> None:
    def bare() -> Outcome:
        return passed("")

    check = make("site.x-y", title="x", func=bare, advisory=True)
    assert (check.page, check.family, check.name) == ({}, "site", "x_y")
    assert make("node.reachable", title="x", func=bare).needs == ()


def test_a_check_needs_that_the_node_is_reachable_beside_what_it_says() -> None:
    assert make("site.x", title="x", func=lambda: passed("")).needs == ("node.reachable",)
    assert make("site.x", title="x", func=lambda: passed(""), needs=["site.a"]).needs == ("node.reachable", "site.a")


def test_sections_begin_with_a_capital_unless_with_a_name_or_path() -> None:
    def told() -> Outcome:
        """Tell.

        What: the file /x is there.
        Why: containerd looks for it; it
        is read at each start.
        Fix:
        References: x86_64 programs are brought by their package.
        """
        return passed("")

    assert make("site.x", title="x", func=told).page == {
        "What": "The file /x is there.",
        "Why": "containerd looks for it; it\nis read at each start.",
        "Fix": "",
        "References": "x86_64 programs are brought by their package.",
    }


def test_checks_are_ordered_by_family_then_needs_then_id() -> None:
    needs: dict[str, tuple[str, ...]] = {
        "site.a": (),
        "cdi.b": (),
        "cdi.a": ("driver.c",),
        "driver.a": ("driver.b", "driver.gone"),
        "driver.c": ("driver.a",),
        "driver.b": (),
        "node.a": (),
        "node.reachable": (),
    }
    checks = {name: make(name, title="x", func=lambda: passed(""), needs=need) for name, need in needs.items()}
    order = ["node.reachable", "node.a", "driver.b", "driver.a", "driver.c", "cdi.a", "cdi.b", "site.a"]
    assert list(ordered(checks)) == order
    assert list(ordered(dict(reversed(checks.items())))) == order
