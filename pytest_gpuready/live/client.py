"""Containers for people's own tests: the fixture `ctr`, on the node of testinfra's `host`.

What it runs is bounded and removed as the suite's own containers are: by a guard on the node, whatever becomes of the
test. What it imports is removed when the fixture's scope ends.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_gpuready.live import image as images
from pytest_gpuready.live import script
from pytest_gpuready.live.ctr import Container
from pytest_gpuready.live.plan import SECONDS, Plan, namespace_folders
from pytest_gpuready.live.transcript import sections
from pytest_gpuready.model import Undetermined
from pytest_gpuready.node import facts
from pytest_gpuready.node.clean import clean, one_line
from pytest_gpuready.node.gather import ask, gather
from pytest_gpuready.views.containerd_live import ContainerdLive
from pytest_gpuready.views.ctr import Ctr

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_gpuready.node.transport import Shell
    from pytest_gpuready.views import Views

#: Most seconds that one call may be given.
MOST = 3600


class CtrError(Exception):
    """ctr could not do what was asked; the text says why, in its own words where it had any."""


@dataclass(frozen=True)
class Result:
    """What a container came to: exit status, what it printed (both streams together), seconds."""

    rc: int
    output: str
    seconds: float


class CtrClient:
    """The client ctr on a node. Every attribute of the view `Ctr` (path, version, gpus_by_cdi …) is one of it too."""

    def __init__(self, views: Views, shell: Callable[[], Shell]) -> None:
        self.view = views.get(Ctr)
        self._live = views.get(ContainerdLive)
        self._label = views.facts.node
        self._folders = namespace_folders(views)
        self._new_shell = shell
        self._shell: Shell | None = None
        self._imported: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.view, name)

    def run(
        self,
        image: str,
        *command: str,
        gpus: Sequence[int] = (),
        flags: Sequence[str] = (),
        seconds: float = SECONDS,
    ) -> Result:
        """Run a command in a new container and remove it; `CtrError` if it was not run.

        `image` is `builtin` (made of the node's own libc, with sh and sleep) or one that is in the namespace `default`.
        `gpus` are indexes for `--gpus`, `flags` whatever else ctr run takes. After `seconds` the container is ended,
        with exit status 124 or 137.
        """
        if not 0 < seconds <= MOST:
            raise CtrError(f"seconds: above 0 and up to {MOST}")
        if not images.is_reference(image):
            raise CtrError(f"{one_line(image, 100)}: that is no name of an image")
        words = (*(f"--gpus={index}" for index in gpus), *flags)
        plan = Plan(
            containers=(Container("run", (), tuple(words), command=tuple(command)),),
            ctr=self._path,
            socket=self._socket,
            folders=self._folders,
            image=image if image == images.BUILTIN else images.full_reference(image),
            seconds=max(1, round(seconds)),
            deadline=round(seconds) + 60,
            probe=False,
        )
        found = sections(self._ask(script.request(plan)).data) or {}
        built, section = found.get("image"), found.get("run")
        if built is not None and not plan.builtin and b"default" not in built.data.split():
            raise CtrError(f"{plan.image} is not in the namespace default: ctr images pull {plan.image}")
        if section is None or section.rc is None:
            said = clean(built.data.decode("utf-8", "replace")).strip() if built is not None else ""
            raise CtrError(f"the container was not run: {one_line(said) or 'the node did not answer to the end'}")
        return Result(section.rc, clean(section.data.decode("utf-8", "replace")), section.seconds)

    def images(self, namespace: str = "default") -> list[str]:
        """The names of the images in a namespace."""
        return self._lines("-n", namespace, "images", "ls", "-q")

    def namespaces(self) -> list[str]:
        """The namespaces of containerd."""
        return self._lines("namespaces", "ls", "-q")

    def import_image(self, path: str, namespace: str = "default", *, seconds: float = 120) -> list[str]:
        """Import an archive that is on the node; the names that came with it, removed with the fixture's scope."""
        before = set(self.images(namespace))
        self._lines("-n", namespace, "images", "import", path, seconds=seconds)
        new = [name for name in self.images(namespace) if name not in before]
        self._imported += [(namespace, name) for name in new]
        return new

    def close(self) -> None:
        """Remove what was imported, and end the login."""
        try:
            for namespace, name in self._imported:
                self._lines("-n", namespace, "images", "rm", "--sync", name)
        finally:
            self._imported = []
            if self._shell is not None:
                self._shell.close()

    # ------------------------------------------------------------------ the node

    @property
    def _path(self) -> str:
        path = self.view.path or self.view.elsewhere
        if path is None:
            raise CtrError("ctr is not on the node")
        return path

    @property
    def _socket(self) -> str:
        daemon = self._live.for_clients
        return daemon.socket if daemon is not None else self._live.socket

    def _lines(self, *words: str, seconds: float = 30) -> list[str]:
        argv = (self._path, "-a", self._socket, *words)
        fact = self._ask(facts.run(*argv, timeout=seconds, limit=1024 * 1024))
        if fact.state != "ok" or fact.rc != 0:
            raise CtrError(f"{shlex.join(argv)}: {one_line(fact.note or fact.text) or fact.state}")
        return fact.text.splitlines()

    def _ask(self, request: facts.Request) -> facts.Fact:
        if self._label.startswith("snapshot://"):
            raise CtrError("a snapshot runs nothing")
        if self._shell is None:
            shell = self._new_shell()
            reached = gather(shell, self._label, lambda _: (), 30)
            fact = reached.peek(facts.SUDO) or reached.peek(facts.REACH)
            if fact is None or fact.state != "ok":
                raise CtrError(f"{self._label} does not answer: {fact.note if fact is not None else ''}")
            self._shell = shell
        answers = facts.Facts(self._label)
        ask(self._shell, answers, request, request.timeout + 10)
        fact = answers.peek(request)
        if fact is None:
            raise Undetermined(f"{request} was not answered")
        return fact
