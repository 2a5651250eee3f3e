"""What real daemons answered (`recorded/`; record.py asks them again), read as on the machine that has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_gpuready.containerd_api.answers import LiveAnswer, parse_answer

FOLDER = Path(__file__).with_name("recorded")
RELEASES = sorted({path.name.rpartition("-")[0] for path in FOLDER.iterdir()})


def answer(release: str, way: str = "python3") -> LiveAnswer:
    """Read what a daemon answered to one of the programs."""
    return parse_answer((FOLDER / f"{release}-{way}").read_bytes())


def test_every_generation_is_recorded() -> None:
    assert {release.rpartition(".")[0] for release in RELEASES} >= {"1.6", "1.7", "2.1"}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("way", ["curl", "python3"])
def test_all_three_questions_are_answered(release: str, way: str) -> None:
    found = answer(release, way)
    assert (found.state, found.via, found.detail) == ("answered", way, "")
    assert found.version is not None
    assert found.version.version.removeprefix("v").startswith(release)
    assert found.server is not None
    assert found.server.uuid
    assert (found.server.pid is None) is release.startswith("1.6")  # it came with 1.6.25
    status = found.cri
    assert status is not None
    assert (status.served, status.refusal, status.default_runtime, status.via) == (True, "", "runc", way)
    assert sorted(status.handlers) == ["misspelt", "nvidia", "runc"]
    nvidia = status.handlers["nvidia"]
    assert (nvidia.binary_name, nvidia.systemd_cgroup) == ("/opt/none/nvidia-container-runtime", True)
    assert (nvidia.runtime_type, nvidia.pod_annotations) == ("io.containerd.runc.v2", ("nvidia.*",))
    assert status.condition("RuntimeReady") is not None


@pytest.mark.parametrize("release", RELEASES)
def test_what_differs_by_release(release: str) -> None:
    """CDI keys since 1.7; features since 2.0; 2.x reads options in any case."""
    status = answer(release).cri
    assert status is not None
    cdi = (status.cdi_enabled, status.cdi_spec_dirs)
    assert cdi == ((None, None) if release.startswith("1.6") else (True, ("/etc/cdi", "/opt/cdi")))
    newer = not release.startswith("1.")
    assert status.handlers["misspelt"].binary_name == ("/opt/none/other" if newer else None)
    assert status.handlers["nvidia"].features_known is (False if newer else None)


@pytest.mark.parametrize("release", RELEASES)
def test_curl_and_python3_bring_the_same(release: str) -> None:
    one, other = answer(release, "curl"), answer(release, "python3")
    assert one.cri is not None
    assert other.cri is not None
    assert (one.cri.handlers, one.server, one.version) == (other.cri.handlers, other.server, other.version)
