"""Images' names: what ctr needs, what is no name, what no registry has."""

from __future__ import annotations

import pytest

from pytest_gpuready.live.image import full_reference, is_reference, missing_tag


@pytest.mark.parametrize(
    ("typed", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("nvidia/cuda:12.8.1-base-ubuntu24.04", "docker.io/nvidia/cuda:12.8.1-base-ubuntu24.04"),
        ("nvcr.io/nvidia/cuda:12.8.1-base-ubi9", "nvcr.io/nvidia/cuda:12.8.1-base-ubi9"),
        ("localhost/x:1", "localhost/x:1"),
        ("registry:5000/x", "registry:5000/x:latest"),
        ("a/b@sha256:" + "0" * 64, "docker.io/a/b@sha256:" + "0" * 64),
    ],
)
def test_a_name_is_completed_as_containerd_wants_it(typed: str, full: str) -> None:
    assert full_reference(typed) == full


@pytest.mark.parametrize("text", ["", "-v", "a b", "a;reboot", "$(x)", "a\n", "x" * 300, "é"])
def test_what_is_no_name_is_none(text: str) -> None:
    assert not is_reference(text)


def test_the_notes_tag_is_known_not_to_exist() -> None:
    told = missing_tag("nvidia/cuda:12.3.0-base")
    assert told is not None
    assert "12.3.0-base-ubuntu22.04" in told


@pytest.mark.parametrize("name", ["nvidia/cuda:12.8.1-base-ubuntu24.04", "example.org/cuda:12.3.0-base", "busybox"])
def test_of_other_images_nothing_is_claimed(name: str) -> None:
    assert missing_tag(name) is None


def test_cuda_has_no_latest() -> None:
    assert "no tag latest" in str(missing_tag("nvidia/cuda"))
