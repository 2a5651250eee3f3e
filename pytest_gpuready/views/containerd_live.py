"""The live daemon: which containerd is judged, what it is, and what it says of itself."""

from __future__ import annotations

import contextlib
import functools
import posixpath
import re
from typing import TYPE_CHECKING

from pytest_gpuready.containerd_api.answers import LiveAnswer, parse_answer
from pytest_gpuready.model import Denied, NotApplicable, Undetermined
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.node.facts import run, stat
from pytest_gpuready.views import View, sandbox, starters
from pytest_gpuready.views.containerd_live_probe import PATH_VERSION, api, complaints, journal
from pytest_gpuready.views.ctr import version_tuple
from pytest_gpuready.views.daemons import (
    Daemon,
    asked_only,
    daemon_of,
    daemon_to_be,
    is_path,
    plain_socket,
    same_socket,
    why_silent,
)
from pytest_gpuready.views.fact_files import config_file
from pytest_gpuready.views.flavours import DEFAULT_CONFIG, DEFAULT_SOCKET, EMBEDDED, STOCK, Flavour
from pytest_gpuready.views.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.containerd_api.answers import CriStatus
    from pytest_gpuready.model import Missing
    from pytest_gpuready.node.facts import Request
    from pytest_gpuready.views import Views
    from pytest_gpuready.views.platform import Unit

__all__ = ["DEFAULT_CONFIG", "DEFAULT_SOCKET", "EMBEDDED", "STOCK", "ContainerdLive", "Daemon", "Flavour"]

#: The PATH that systemd gives its services (systemd.exec(5)).
SYSTEMD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: The driver's node that every container with a GPU gets.
CONTROL_NODE = "/dev/nvidiactl"


class ContainerdLive(View):
    """The daemon that is judged, and its own words."""

    @classmethod
    def requests(cls, views: Views) -> Iterator[Request]:
        """The usual daemon at once; another one's socket, program and service when the processes are known."""
        yield PATH_VERSION
        yield api(DEFAULT_SOCKET)
        live = views.get(cls)
        for daemon in live.every_daemon:
            yield config_file(daemon.config)
        if live.socket != DEFAULT_SOCKET and is_path(live.socket):
            yield api(live.socket)
        if live.own_program:
            yield run(live.own_program, "--version")
        if live.unit is not None and live.unit.active != "active":
            yield live.journal_request
            yield sandbox.request(live.unit.id)
        if live.starters_request is not None:
            yield live.starters_request
        if live.root:
            yield stat(f"{live.root}{CONTROL_NODE}")
            yield stat(f"{live.root}{live.config_path}")
            if live.unit is not None:
                yield sandbox.request(live.unit.id)

    # ------------------------------------------------------------------ which one

    @functools.cached_property
    def daemons(self) -> list[Daemon]:
        """Every containerd of the node's, Docker's own and those of users left out."""
        return [daemon for daemon in self.every_daemon if not daemon.foreign]

    @functools.cached_property
    def every_daemon(self) -> list[Daemon]:
        """Every containerd that runs on the node, in no container."""
        return [
            daemon_of(process, self.facts)
            for process in self.views.get(Platform).processes
            if process.comm == "containerd" and not asked_only(process.args)
        ]

    @functools.cached_property
    def kubelet_socket(self) -> str | None:
        """The socket that the node's kubelet uses; None where no kubelet says so."""
        with contextlib.suppress(Undetermined, NotApplicable, Denied):
            endpoint = self.views.kubernetes.endpoint
            return plain_socket(endpoint) if endpoint else None
        for process in self.views.get(Platform).processes:
            if process.comm == "kubelet":
                endpoint = process.option("--container-runtime-endpoint")
                if endpoint:
                    return plain_socket(endpoint)
        return None

    @functools.cached_property
    def selected(self) -> Daemon | None:
        """The daemon that is judged; None if none runs, or none there.

        The user's, the kubelet's, the one at the usual socket, else the first.
        """
        asked = self.views.settings.socket
        if asked is not None:
            return next((daemon for daemon in self.every_daemon if same_socket(daemon.socket, asked)), None)
        if self.kubelet_socket is not None:
            return self._at(self.kubelet_socket)
        return self._at(DEFAULT_SOCKET) or next(iter(self.daemons), None)

    def _at(self, socket: str) -> Daemon | None:
        return next((daemon for daemon in self.daemons if same_socket(daemon.socket, socket)), None)

    @functools.cached_property
    def root(self) -> str:
        """What a path of the daemon's begins with for us: nothing, unless it lives in another mount namespace."""
        if self.selected is None:
            return ""
        theirs, ours = self.selected.process.mntns, self.views.get(Platform).mount_namespace
        return f"/proc/{self.selected.process.pid}/root" if theirs and ours and theirs != ours else ""

    def hides(self, path: str) -> bool:
        """The daemon lives in a mount namespace of its own in which a file is not, where that can be seen."""
        with contextlib.suppress(Undetermined, NotApplicable, Denied):
            return bool(self.root) and self.facts.stat(f"{self.root}{path}") is None
        return False

    @property
    def starters_request(self) -> Request | None:
        """Its shim and runc are looked for where it looks; None where that cannot be said."""
        process = self.selected.process if self.selected is not None else None
        if process is None or not process.path or self.root:
            return None
        return starters.request(process.path, posixpath.dirname(process.exe or ""))

    @functools.cached_property
    def starters(self) -> starters.Starters | None:
        """What it starts containers by; None where nobody could look."""
        with contextlib.suppress(Undetermined, NotApplicable, Denied):
            if self.starters_request is not None:
                return starters.read(self.facts.text(self.starters_request) or "")
        return None

    @functools.cached_property
    def sandbox(self) -> dict[str, str]:
        """Settings of its unit that keep things from it, and their values; empty where none is known."""
        with contextlib.suppress(Undetermined, NotApplicable, Denied):
            if self.unit is not None:
                return sandbox.settings(self.facts.text(sandbox.request(self.unit.id)) or "")
        return {}

    @property
    def for_clients(self) -> Daemon | None:
        """The daemon that ctr and nerdctl talk to: the user's, the one at the usual socket, else the judged one."""
        return self.selected if self.views.settings.socket else self._at(DEFAULT_SOCKET) or self.selected

    @functools.cached_property
    def flavour(self) -> Flavour:
        """Who brings the daemon that is judged; where none runs, by the services that are installed."""
        if self.selected is not None:
            return self.selected.flavour
        platform = self.views.get(Platform)
        with contextlib.suppress(Undetermined, Denied):
            for flavour in EMBEDDED:
                if any(platform.unit(service) for service in flavour.services):
                    return flavour
        return STOCK

    @property
    def socket(self) -> str:
        """The socket at which the daemon is asked."""
        if self.views.settings.socket:
            return plain_socket(self.views.settings.socket)
        with contextlib.suppress(Undetermined, Denied):
            if self.selected is not None:
                return self.selected.socket
            if self.kubelet_socket:
                return self.kubelet_socket
            return self.to_start.socket if self.to_start is not None else self.flavour.socket
        return DEFAULT_SOCKET

    @property
    def config_path(self) -> str:
        """The main configuration file of the daemon that is judged."""
        with contextlib.suppress(Undetermined, Denied):
            daemon = self.selected or self.to_start
            return daemon.config if daemon is not None else self.flavour.config
        return DEFAULT_CONFIG

    @property
    def config_explicit(self) -> bool:
        """Whether the command line names that file: a daemon refuses to start where it is missing."""
        with contextlib.suppress(Undetermined, Denied):
            daemon = self.selected or self.to_start
            return daemon is not None and daemon.explicit
        return False

    @functools.cached_property
    def to_start(self) -> Daemon | None:
        """The daemon that is down, as its service would start it; None where one is judged, or no service tells."""
        unit = self.unit
        if self.selected is not None or unit is None or unit.active == "active":
            return None
        return daemon_to_be(unit.command, self.facts)

    @property
    def config_unclear(self) -> str | None:
        """In words, why it is not known which file a daemon that is down would read; None where it is."""
        with contextlib.suppress(Undetermined, Denied):
            if self.to_start is not None and "$" in self.to_start.config:
                return f"{self.service}.service names its configuration by a variable: {one_line(self.config_path, 80)}"
        return None

    @functools.cached_property
    def unit(self) -> Unit | None:
        """The systemd unit that carries the daemon; None if there is none."""
        units = self.views.get(Platform).units
        found = [
            units[name] for name in self.flavour.services if name in units and units[name].load in ("loaded", "masked")
        ]
        unit = next((unit for unit in found if unit.active == "active"), found[0] if found else None)
        if unit is None or self.selected is None or self.flavour.embedded:
            return unit
        # A daemon that was started by hand is not restarted by restarting the service.
        return unit if unit.active == "active" and unit.main_pid in (0, self.selected.process.pid) else None

    @property
    def service(self) -> str | None:
        """That unit's name as people type it."""
        return self.unit.id.removesuffix(".service") if self.unit else None

    @property
    def journal_request(self) -> Request:
        """The last that the service said."""
        return journal(f"{self.service}.service")

    @property
    def last_words(self) -> list[str]:
        """What the service said last, fatal lines only; empty where the journal is not to be had."""
        with contextlib.suppress(Undetermined, Denied):
            return complaints(self.facts.text(self.journal_request) or "")
        return []

    # ------------------------------------------------------------------ what it is

    @functools.cached_property
    def executable(self) -> str | None:
        """The daemon's program on disk: of the running one, else its service's, else the one that the name finds."""
        with contextlib.suppress(Undetermined, Denied):
            if self.selected is not None and self.selected.process.exe:
                return self.selected.process.exe
            if self.to_start is not None and self.to_start.process.exe:
                return self.to_start.process.exe
        return self.views.get(Platform).program("containerd")

    @functools.cached_property
    def own_program(self) -> str | None:
        """The daemon's program where it is another than the name finds, and may be run to ask its version.

        Only root's own process of our mount namespace, or what a service starts: any user can call a program so.
        """
        platform = self.views.get(Platform)
        daemon = self.selected or self.to_start
        if daemon is None or self.executable in (None, platform.program("containerd")):
            return None
        process = daemon.process
        ours = process.mntns is None or process.mntns == platform.mount_namespace
        return self.executable if process.uid == 0 and ours else None

    @functools.cached_property
    def _printed(self) -> list[str]:
        """The words of `containerd --version`, as the program on disk prints them; none where it cannot be asked.

        containerd github.com/containerd/containerd/v2 v2.1.9 <revision>
        """
        text = None
        if self.own_program is not None:
            text = self.facts.text(run(self.own_program, "--version"))
        if text is None and self.selected is None:
            # A service may name a program that is gone.
            text = self.facts.text(PATH_VERSION)
        elif text is None and self.executable == self.views.get(Platform).program("containerd"):
            text = self.facts.text(PATH_VERSION)
        return (text or "").split()

    @functools.cached_property
    def disk_version_text(self) -> str:
        """The version of the containerd on disk: the one that a restart would start."""
        words = self._printed
        if not words:
            # A running daemon whose file cannot be run from here still tells its version.
            if self.live_version_text:
                return self.live_version_text
            raise Undetermined("the version of the containerd on disk cannot be had")
        found = words[2] if len(words) > 2 and words[0] == "containerd" else one_line(" ".join(words), 80)
        version_tuple(found)
        return found.removeprefix("v")

    @property
    def upstream_build(self) -> bool:
        """Whether the one on disk is upstream's release (`v2.1.9`) or Docker's package of it (`containerd.io`)."""
        mark = "v?" if self._printed[1:2] == ["containerd.io"] else "v"
        return re.fullmatch(rf"{mark}[0-9]+\.[0-9]+\.[0-9]+", "".join(self._printed[2:3])) is not None

    @property
    def disk_version(self) -> tuple[int, ...]:
        """That version as numbers."""
        return version_tuple(self.disk_version_text)

    @property
    def live_version_text(self) -> str | None:
        """The version that the running daemon says it is; None where it does not say."""
        answer = self.answer_if_any
        return answer.version.version.removeprefix("v") if answer is not None and answer.version is not None else None

    @property
    def version(self) -> tuple[int, ...]:
        """That version as numbers; `Undetermined` where it does not say."""
        if self.live_version_text is None:
            raise Undetermined("the running containerd does not say its version")
        return version_tuple(self.live_version_text)

    @property
    def replaced(self) -> str | None:
        """In words, that the program on disk is not the one that runs; None where it is, or that is not known."""
        with contextlib.suppress(Undetermined, Denied):
            live = self.live_version_text
            if live is not None and live != self.disk_version_text:
                return f"it still is containerd {one_line(live, 40)}; {self.disk_version_text} was installed since"
        with contextlib.suppress(Undetermined, Denied):
            if self.selected is not None and self.selected.process.deleted:
                return "its program was replaced since it was started"
        return None

    @property
    def daemon_path(self) -> str:
        """The PATH of the running daemon; systemd's default where no daemon runs."""
        selected = self.selected
        if selected is None:
            return SYSTEMD_PATH
        if selected.process.path is None:
            if selected.process.environ_denied:
                raise Denied(f"/proc/{selected.process.pid}/environ")
            raise Undetermined("the daemon's PATH cannot be read")
        return selected.process.path

    # ------------------------------------------------------------------ what it says

    @functools.cached_property
    def answer(self) -> LiveAnswer:
        """What it said at its socket, whichever program asked."""
        return self.answer_at(self.socket)

    def answer_at(self, socket: str) -> LiveAnswer:
        """What the daemon at a socket said."""
        if not is_path(socket):
            raise Undetermined(f"{one_line(socket, 80)} is no path of a socket")
        fact = self.facts.fact(api(socket))
        if fact.state == "absent":
            raise Undetermined("the node has no POSIX sh", "no-tool")
        return parse_answer(fact.data)

    def refusal_at(self, socket: str) -> str | None:
        """Return why a socket was not connected to (`trust`); None where it was, or was not asked."""
        fact = self.facts.peek(api(plain_socket(socket))) if is_path(plain_socket(socket)) else None
        return one_line(fact.note) if fact is not None and fact.state == "refused" else None

    @property
    def answer_if_any(self) -> LiveAnswer | None:
        """The same, None where it cannot be had."""
        with contextlib.suppress(Undetermined, Denied):
            return self.answer
        return None

    @property
    def cri(self) -> CriStatus:
        """Its CRI status. `Undetermined` where nobody could ask, `Denied` where the socket refused us."""
        answer = self.answer
        if answer.state == "denied":
            raise Denied(self.socket)
        if answer.cri is None:
            missing: Missing | None = answer.state if answer.state in ("timeout", "no-tool") else None
            raise Undetermined(f"the daemon does not tell its CRI status: {why_silent(answer, self.socket)}", missing)
        return answer.cri

    @property
    def pid(self) -> int | None:
        """Its process number."""
        return self.selected.process.pid if self.selected else None

    @property
    def started(self) -> float | None:
        """When it was started, seconds since 1970."""
        return self.selected.process.started if self.selected else None
