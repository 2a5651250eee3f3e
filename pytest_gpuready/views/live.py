"""What containers on the node did and saw: the answer of the live run, read route by route."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_gpuready.live import cri, probe, transcript
from pytest_gpuready.live.plan import POD_ROUTES
from pytest_gpuready.live.script import REQUEST
from pytest_gpuready.model import Denied, Undetermined
from pytest_gpuready.node.clean import clean
from pytest_gpuready.node.facts import missing
from pytest_gpuready.views import View
from pytest_gpuready.views.nvml import Nvml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_gpuready.live.probe import Seen
    from pytest_gpuready.live.transcript import Section
    from pytest_gpuready.node.facts import Request
    from pytest_gpuready.views import Views


@dataclass(frozen=True)
class Ran:
    """A container and its end.

    `ran`: the probe came to its end, and `seen` is what it saw. `failed`: it ended otherwise, `text` is everything that
    was said. `timeout`: its deadline ended it. `vanished`: its pod was removed by somebody each time. `cut`: it did
    not come to its end, or was not begun. `seconds` is how long it took.
    """

    state: Literal["ran", "failed", "timeout", "vanished", "cut"]
    text: str = ""
    rc: int | None = None
    seen: Seen | None = None
    seconds: float = 0.0


class Live(View):
    """The containers of the run."""

    @classmethod
    def requests(cls, views: Views) -> Iterator[Request]:
        """Nothing: containers are run when all else is known, by the runner."""
        del views
        return iter(())

    @functools.cached_property
    def sections(self) -> Mapping[str, Section]:
        """The run's answer; `Undetermined` where no container was run, or its answer cannot be read."""
        fact = self.facts.peek(REQUEST)
        if fact is None:
            raise Undetermined("no container was run on this node", "not-asked")
        if fact.state == "denied":
            raise Denied(str(REQUEST))
        found = transcript.sections(fact.data)
        if found is None:
            said = clean(fact.data.decode("utf-8", "replace")).strip()
            raise Undetermined(f"the containers' run ended at once: {said or fact.note or fact.state}", missing(fact))
        return found

    @property
    def begun(self) -> bool:
        """Whether a run was begun at all."""
        return self.facts.peek(REQUEST) is not None

    @functools.cached_property
    def outside(self) -> Seen | None:
        """The same questions, asked on the node itself at the same time; None where they were not."""
        section = self.sections.get("host")
        return probe.parse(section.data) if section is not None and section.rc is not None else None

    @property
    def uuids(self) -> tuple[str, ...]:
        """The GPUs (and MIG devices) that the node itself has, by nvidia-smi -L there, else by NVML."""
        if self.outside is not None and self.outside.uuids:
            return self.outside.uuids
        found: list[str] = []
        for gpu in self.views.get(Nvml).devices:
            found += [uuid for uuid in (gpu.uuid, *(mig.uuid for mig in gpu.mig_devices)) if uuid]
        if not found:
            raise Undetermined("the node's own GPUs are not known")
        return tuple(found)

    @property
    def busy(self) -> str | None:
        """Why GPUs were left alone; None if they were not."""
        section = self.sections.get("idle")
        if section is None or (section.rc == 0 and not section.data.strip()):
            return None
        said = clean(section.data.decode("utf-8", "replace")).strip()
        if section.rc != 0:
            return f"whether the GPUs are in use could not be found out: {said or 'no answer'}"
        return f"in use: {said}"

    @property
    def left(self) -> str:
        """What was still there after cleaning up; `Undetermined` where that was not looked at."""
        section = self.sections.get("left")
        if section is None or section.rc is None:
            raise Undetermined("the node was not heard of again: it cleans up by itself")
        return clean(section.data.decode("utf-8", "replace")).strip()

    def section(self, name: str) -> Section | None:
        """A part of the run by its name."""
        return self.sections.get(name)

    def container(self, route: str) -> Ran:
        """The container that asked for the GPUs."""
        return self._pod(route, "") if route in POD_ROUTES else self._client(route)

    def without_request(self, route: str) -> Ran:
        """The same container without its request."""
        if route in POD_ROUTES:
            return self._pod(route, ".none")
        return self._client("ctr.none" if route in ("ctr-gpus", "ctr-cdi") else f"{route}.none")

    def _client(self, name: str) -> Ran:
        section = self.sections.get(name)
        if section is None or section.rc is None:
            return Ran("cut", "" if section is None else _text(section.data))
        seen = probe.parse(section.data)
        if seen is not None and seen.whole:
            return Ran("ran", _text(section.data), section.rc, seen, section.seconds)
        state: Literal["timeout", "failed"] = "timeout" if section.timed_out else "failed"
        return Ran(state, _text(section.data), section.rc, seconds=section.seconds)

    def _pod(self, route: str, suffix: str) -> Ran:
        """The last attempt at a pod; what was said at the step that it ended with."""
        attempts = [k for k in range(1, cri.ATTEMPTS + 1) if f"{route}/RunPodSandbox/{k}" in self.sections]
        if not attempts:
            return Ran("cut")
        last = attempts[-1]
        name = f"{route}{suffix}"
        steps = [f"{route}/RunPodSandbox/{last}"]
        steps += [f"{name}/{step}/{last}" for step in ("CreateContainer", "StartContainer", "ExecSync")]
        seconds = 0.0
        vanished = f"{route}/vanished/{last}" in self.sections
        for step in steps:
            section = self.sections.get(step)
            if section is None or section.rc is None:
                return Ran("vanished" if vanished else "cut", seconds=seconds)
            seconds += section.seconds
            answer = cri.read_answer(section.data)
            if answer.state != "ok":
                if vanished:
                    return Ran("vanished", answer.text, seconds=seconds)
                late = answer.state == "lost" and "deadline" in answer.text
                return Ran("timeout" if late else "failed", answer.text, seconds=seconds)
        done = cri.read_exec(answer.message)
        if done is None:
            return Ran("failed", "ExecSync's answer cannot be read", seconds=seconds)
        seen = probe.parse(done.output)
        if seen is not None and seen.whole:
            return Ran("ran", _text(done.output), done.code, seen, seconds)
        return Ran("vanished" if vanished else "failed", _text(done.output), done.code, seconds=seconds)


def _text(data: bytes) -> str:
    return clean(data.decode("utf-8", "replace")).strip()
