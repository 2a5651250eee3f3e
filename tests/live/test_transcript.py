"""A live run's answer as sections; whatever came, nothing raises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.live.transcript import sections
from tests.live.answers import NONCE, healthy, section, whole


def test_sections_are_read_with_status_and_time() -> None:
    found = sections(whole(section("one", b"a\nb\n", 3, 1.5), section("two", b"", 0)))
    assert found is not None
    assert [(one.name, one.data, one.rc, one.seconds) for one in found.values()] == [
        ("one", b"a\nb\n", 3, 1.5),
        ("two", b"", 0, 0.5),
    ]


def test_what_was_cut_off_has_no_status() -> None:
    found = sections(whole(section("one", b"a", None)))
    assert found is not None
    assert (found["one"].rc, found["one"].data) == (None, b"a")


def test_a_container_cannot_begin_or_end_a_section() -> None:
    """It does not know the nonce."""
    forged = section("ctr-gpus", b"fine", 0).replace(NONCE.encode(), b"f" * 24)
    found = sections(whole(section("image", forged, 1)))
    assert found is not None
    assert list(found) == ["image"]
    assert found["image"].rc == 1


def test_an_end_of_another_section_ends_nothing() -> None:
    answer = whole(section("one", b"a", None) + f"\n{NONCE} e two 0 1 2\n".encode())
    found = sections(answer)
    assert found is not None
    assert found["one"].rc is None


def test_the_deadlines_statuses_are_known() -> None:
    found = sections(whole(section("one", b"", 124), section("two", b"", 137), section("three", b"", 1)))
    assert found is not None
    assert [one.timed_out for one in found.values()] == [True, True, False]


def test_other_output_is_no_live_run() -> None:
    assert sections(b"the node has no setsid\n") is None


@given(st.binary(max_size=400), st.integers(0, 4000))
def test_any_bytes_are_read_without_an_error(data: bytes, cut: int) -> None:
    sections(data)
    sections(healthy()[:cut])
    sections(whole() + f"\n{NONCE} ".encode() + data)
