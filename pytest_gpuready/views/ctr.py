"""The clients: ctr and nerdctl, as typing their names finds them."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from pytest_gpuready.model import Undetermined
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import SHORT, run
from pytest_gpuready.views import View
from pytest_gpuready.views.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.node.facts import Request
    from pytest_gpuready.views import Views

CTR_VERSION = run("ctr", "--version", limit=SHORT)
NERDCTL_VERSION = run("nerdctl", "--version")


def version_tuple(text: str) -> tuple[int, ...]:
    """The first version number in a text, as numbers; `Undetermined` if there is none."""
    match = re.search(r"(?<![0-9.])v?([0-9]{1,9})\.([0-9]{1,9})(?:\.([0-9]{1,9}))?", text)
    if match is None:
        raise Undetermined(f"no version number in {one_line(text, 80)!r}")
    return tuple(int(part) for part in match.groups() if part is not None)


class Ctr(View):
    """ctr and nerdctl: where they are, which version, and how their `--gpus` works."""

    @classmethod
    def requests(cls, views: Views) -> Iterator[Request]:
        """The version of ctr at once, nerdctl's where it is there."""
        yield CTR_VERSION
        if views.get(Platform).program("nerdctl"):
            yield NERDCTL_VERSION

    @functools.cached_property
    def path(self) -> str | None:
        """The ctr on the PATH that commands are typed under."""
        return self.views.get(Platform).program("ctr")

    @property
    def elsewhere(self) -> str | None:
        """A ctr in a known place that is not on PATH."""
        return None if self.path else self.views.get(Platform).anywhere("ctr")

    @functools.cached_property
    def version_text(self) -> str:
        """Its own version, as it prints it."""
        return _printed(self.facts.text(CTR_VERSION), "ctr")

    @property
    def version(self) -> tuple[int, ...]:
        """Its own version as numbers. It, not the daemon's, decides what `--gpus` does."""
        return version_tuple(self.version_text)

    @property
    def gpus_by_cdi(self) -> bool:
        """Whether `ctr run --gpus` asks for CDI devices (from 2.3) instead of hooking nvidia-container-cli.

        ctd v2.3.4:cmd/ctr/commands/run/run_unix.go:378; until 2.2 contrib/nvidia/nvidia.go:33.
        """
        return self.version >= (2, 3)

    @property
    def containerd_on_path(self) -> str | None:
        """The containerd binary on that PATH: up to ctr 2.2 it is the OCI hook that calls nvidia-container-cli."""
        return self.views.get(Platform).program("containerd")

    @functools.cached_property
    def nerdctl(self) -> str | None:
        """The nerdctl on PATH."""
        return self.views.get(Platform).program("nerdctl")

    @property
    def nerdctl_gpus_by_cdi(self) -> bool:
        """Whether `nerdctl run --gpus` asks for CDI devices (from 2.3; nerdctl commit d312a5da)."""
        return version_tuple(_printed(self.facts.text(NERDCTL_VERSION), "nerdctl")) >= (2, 3)


def _printed(text: str | None, program: str) -> str:
    """The version in `ctr github.com/containerd/containerd 1.6.20~ds1`, `nerdctl version 2.0.0` and the like."""
    if text is None:
        raise Undetermined(f"{program} is not on PATH", "no-tool")
    match = re.search(r"(?:^|\s)v?([0-9]{1,9}\.[0-9]\S{0,60})", text)
    if match is None:
        raise Undetermined(f"{program} --version says nothing of use")
    return match[1]
