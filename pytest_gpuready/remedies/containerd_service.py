"""Remedies for containerd the program: install, start, restart, and find it."""

from __future__ import annotations

import contextlib
import posixpath
import re
from typing import TYPE_CHECKING, TypeVar

from pytest_gpuready.model import Denied, NotApplicable, Remedy, Undetermined
from pytest_gpuready.node.clean import one_line
from pytest_gpuready.quoting import UNQUOTABLE, here_document, quote_path_entry, quote_unit, unit_command
from pytest_gpuready.remedies.kubernetes import KubernetesRemedies
from pytest_gpuready.remedies.packages import PackageRemedies
from pytest_gpuready.views.containerd_config import ContainerdConfig
from pytest_gpuready.views.containerd_live import STOCK, ContainerdLive
from pytest_gpuready.views.platform import Platform
from pytest_gpuready.views.sandbox import HIDING, UNDONE
from pytest_gpuready.views.toolkit import Toolkit

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.views import Views
    from pytest_gpuready.views.daemons import Daemon
    from pytest_gpuready.views.flavours import Flavour
    from pytest_gpuready.views.platform import Unit
    from pytest_gpuready.views.toolkit import Package

T = TypeVar("T")

#: systemd's status of a command that it could not run at all (systemd.exec(5)).
_EXIT_EXEC = 203
#: What containerd says of its command line (github.com/urfave/cli, which takes both -flag and --flag).
_FLAG = re.compile(r"flag (?:provided but not defined|needs an argument): (-\S+)")

#: What installs containerd, by package manager.
_INSTALL: dict[str, str] = {
    "apt": "apt-get update && {sudo}apt-get install -y {package}",
    "dnf": "dnf install -y {package}",
    "yum": "yum install -y {package}",
    "tdnf": "tdnf install -y {package}",
    "microdnf": "microdnf install -y {package}",
    "zypper": "zypper --non-interactive install {package}",
    "pacman": "pacman -S --needed --noconfirm {package}",
    "apk": "apk add {package}",
    "rpm-ostree": "rpm-ostree install --idempotent {package}",
    "transactional-update": "transactional-update --non-interactive pkg install {package}",
}
#: Distributions that have no containerd of their own: Docker's repository has.
_WITHOUT = ("rhel", "centos", "rocky", "almalinux", "ol")
#: Systems that take no packages, and who brings containerd there.
_IMAGES: dict[str, str] = {
    "cos": "Container-Optimized OS brings containerd with its image.",
    "bottlerocket": "Bottlerocket brings containerd with its image.",
    "talos": "Talos brings containerd with its image.",
    "flatcar": "Flatcar brings containerd with its image: see `systemctl status containerd`.",
    "nixos": "NixOS: set virtualisation.containerd.enable = true in configuration.nix, then rebuild.",
}


def known(ask: Callable[[], T], otherwise: T) -> T:
    """What `ask` finds out, or `otherwise` where it cannot: a remedy never fails for what it would like to know."""
    with contextlib.suppress(Undetermined, Denied, NotApplicable):
        return ask()
    return otherwise


def _without_flag(words: list[str], flag: str) -> list[str]:
    """The words without a flag, by one dash or two, and without the value that follows it."""
    kept, skip = [], False
    for word in words:
        if word.partition("=")[0].lstrip("-") == flag.lstrip("-") and word.startswith("-"):
            skip = "=" not in word
        elif not skip or word.startswith("-"):
            kept.append(word)
            skip = False
        else:
            skip = False
    return kept


class ServiceRemedies:
    """The program and its service."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.platform = views.get(Platform)
        self.live = views.get(ContainerdLive)
        self.config = views.get(ContainerdConfig)

    @property
    def _sudo(self) -> str:
        return self.platform.sudo_prefix

    @property
    def _flavour(self) -> Flavour:
        return known(lambda: self.live.flavour, STOCK)

    @property
    def _systemd(self) -> bool:
        return known(lambda: self.platform.has_systemd, otherwise=True)

    @property
    def _service(self) -> str | None:
        """The service that carries the daemon; None where it is not a service that does."""
        usual: str | None = self._flavour.services[0].removesuffix(".service")
        try:
            return self.live.service
        except (Undetermined, Denied):
            return usual

    def restart_command(self) -> str | None:
        """What restarts the daemon on this node; None where only a person knows."""
        service = self._service
        return f"{self._sudo}systemctl restart {quote_unit(service)}" if service and self._systemd else None

    def _restart_only(self) -> tuple[str, ...]:
        command = self.restart_command()
        return (command,) if command else ()

    def restart(self) -> Remedy:
        """The daemon must read its files again; there is no reload."""
        name, command = self._flavour.name, self.restart_command()
        if command is None:
            pid = known(lambda: self.live.pid, None)
            why = "no service of systemd carries it" if self._systemd else "this node has no systemd"
            return Remedy(f"Restart {name} by what started it: {why}{f' (pid {pid})' if pid else ''}.")
        return Remedy(f"Restart {name}; running containers survive it.", (command,))

    def unhide(self, what: str) -> Remedy:
        """The daemon lives in a mount namespace of its own, without something that the node has."""
        nothing: dict[str, str] = {}
        keys = [key for key in known(lambda: self.live.sandbox, nothing) if key in HIDING]
        commands = self._without(keys)
        if commands:
            return Remedy(
                f"Let containerd have the node's {what}: its service is not to set {', '.join(keys)}.", commands
            )
        words = f": `systemctl cat {quote_unit(self._service)}` may show by what" if self._service else ""
        return Remedy(
            f"Let containerd have the node's {what}. What starts it gives it a mount namespace of its own{words}; then "
            "restart it."
        )

    def _without(self, keys: list[str]) -> tuple[str, ...]:
        """What takes settings of systemd.exec(5) from the daemon's unit, by a drop-in that is read last."""
        if not keys:
            return ()
        return self._drop_in([f"{key}={UNDONE[key]}" for key in keys])

    def _drop_in(self, settings: list[str]) -> tuple[str, ...]:
        """What gives the daemon's unit these settings, by a drop-in that is read last."""
        folder = f"/etc/systemd/system/{quote_unit(str(self._service))}.service.d"
        lines = "\n".join(["[Service]", *settings])
        return (
            f"{self._sudo}mkdir -p {folder}",
            here_document(f"{self._sudo}tee {folder}/zz-gpuready.conf", lines),
            f"{self._sudo}systemctl daemon-reload",
            *self._restart_only(),
        )

    def _other_command(self, unit: Unit) -> Remedy | None:
        """The unit's own command line is what does not run: a program that is not there, a flag that there is not."""
        first, *flags = unit.command or ("",)
        nobody: list[str] = []
        said = _FLAG.search("\n".join(known(lambda: self.live.last_words, nobody)))
        if unit.exit_status == _EXIT_EXEC:
            program = known(lambda: self.platform.anywhere("containerd"), None)
            if program is None or program == first:
                return self.again("containerd")
            wrong, words = f"{first} cannot be run", [program, *flags]
        elif said is not None:
            wrong = f"containerd has no {said[1]}, or wants a value with it"
            words = [first, *_without_flag(flags, said[1])]
        else:
            return None
        command, shows = unit_command(words), f"`systemctl cat {quote_unit(unit.id)}`"
        if UNQUOTABLE in command:
            return Remedy(f"{wrong}: mend ExecStart ({shows}), then restart it.")
        return Remedy(
            f"{wrong}: give its service another command (or mend it where {shows} shows it).",
            self._drop_in(["ExecStart=", f"ExecStart={command}"]),
        )

    def start(self) -> Remedy:
        """The daemon is down."""
        service = self._service
        if not self._systemd:
            return Remedy("Start containerd by what supervises it here: this node has no systemd.")
        if service is None:
            return Remedy("No unit of systemd starts containerd: install it as a service.", self.install().commands)
        unit = known(lambda: self.live.unit, None)
        nothing: dict[str, str] = {}
        keys = list(known(lambda: self.live.sandbox, nothing))
        commands = self._without(keys)
        if commands:
            words = f"{service} does not start, and its unit sets {', '.join(keys)}, which containerd cannot do without"
            return Remedy(f"{words}: take that from it, then start it.", commands)
        wrong = self._other_command(unit) if unit is not None else None
        if wrong is not None:
            return wrong
        unmask = (f"{self._sudo}systemctl unmask {quote_unit(service)}",) if unit is not None and unit.masked else ()
        return Remedy(
            f"Start {service}, now and at every boot.",
            (*unmask, f"{self._sudo}systemctl enable --now {quote_unit(service)}"),
        )

    # ------------------------------------------------------------------ packages

    @property
    def _os_id(self) -> str:
        return known(lambda: self.platform.os_id, "")

    @property
    def _manager(self) -> str:
        return known(lambda: self.platform.package_manager, None) or ""

    def install(self) -> Remedy:
        """There is no containerd."""
        if self._os_id in _IMAGES:
            rebuild = (f"{self._sudo}nixos-rebuild switch",) if self._os_id == "nixos" else ()
            return Remedy(_IMAGES[self._os_id], rebuild)
        if self._manager not in _INSTALL:
            return Remedy("Install containerd: no package manager that is known here is on this node.")
        enable = (f"{self._sudo}systemctl enable --now containerd",) if self._systemd else ()
        if self._os_id in _WITHOUT:
            site = f"https://download.docker.com/linux/{'rhel' if self._os_id == 'rhel' else 'centos'}"
            return Remedy(
                "Install containerd from Docker's repository (this distribution has none) and start it. Its "
                "config.toml disables CRI, so look again afterwards.",
                (
                    f"curl -fsSL {site}/docker-ce.repo | {self._sudo}tee /etc/yum.repos.d/docker-ce.repo >/dev/null",
                    self._typed("containerd.io"),
                    *enable,
                ),
            )
        command = self._typed("containerd")
        if self._manager in ("rpm-ostree", "transactional-update"):
            return Remedy("Install containerd; it is there after a reboot.", (command, f"{self._sudo}systemctl reboot"))
        return Remedy("Install containerd and start it.", (command, *enable))

    def other_engine(self, names: list[str]) -> Remedy:
        """Another engine runs the containers here: what to do is a person's to say."""
        option = "crio" if "CRI-O" in names else "docker"
        return Remedy(
            f"This node's containers are {' and '.join(names)}'s. NVIDIA's toolkit sets that up itself (nvidia-ctk "
            f"runtime configure --runtime={option}); install containerd only where it is to run them instead.",
        )

    def again(self, program: str) -> Remedy:
        """A part of containerd's is gone: the package that has it anew."""
        flavour = self._flavour
        if flavour.embedded:
            return Remedy(f"{flavour.name} brings its own {program}: reinstall it.")
        nothing: dict[str, Package] = {}
        installed = known(lambda: self.views.get(Toolkit).packages, nothing)
        for name in ("containerd.io", "moby-containerd", "containerd"):
            if name in installed:
                return PackageRemedies(self.views).again(name)
        return Remedy(f"Put {program} beside containerd again: it comes with containerd's own archive and packages.")

    def _typed(self, package: str) -> str:
        return f"{self._sudo}{_INSTALL[self._manager].format(sudo=self._sudo, package=package)}"

    def upgrade(self) -> Remedy:
        """It is older than what is modelled."""
        return Remedy("Upgrade containerd: 1.5 and older are no longer maintained.")

    # ------------------------------------------------------------------ which one, and its client

    def select(self) -> Remedy:
        """Nobody listens where the kubelet looks."""
        nobody: list[Daemon] = []
        names = ", ".join(daemon.socket for daemon in known(lambda: self.live.daemons, nobody)[:5])
        if self.views.settings.socket:
            return Remedy(f"Name a socket of a containerd that runs with --gpuready-containerd ({one_line(names)}).")
        nothing: tuple[str, ...] = ()
        commands = known(lambda: KubernetesRemedies(self.views).endpoint().commands, nothing)
        return Remedy(
            "Point the kubelet (--container-runtime-endpoint) at a containerd that runs, or start the one that it "
            f"names. Running: {one_line(names)}.",
            commands if any(command.startswith(f"{self._sudo}sed ") for command in commands) else (),
        )

    def on_path(self, program: str) -> Remedy:
        """A client is not found by its name."""
        found = known(lambda: self.platform.anywhere(program), None)
        if found:
            folder = posixpath.dirname(found)
            words = f"{program} is in {folder}: extend PATH where the command is typed."
            return Remedy(words, (f'export PATH="$PATH":{quote_path_entry(folder)}',))
        if known(lambda: self.platform.program("containerd"), None):
            return Remedy(f"{program} is not on this node: it comes with containerd's own archive and packages.")
        return self.install()

    def other_route(self, route: str) -> Remedy:
        """The versions do not offer the route."""
        return Remedy(f"Upgrade what is too old for {route}, or require another route with --gpuready-routes.")

    def migrate(self) -> Remedy:
        """Deprecated settings."""
        if known(lambda: self.live.disk_version >= (2, 0), otherwise=False):
            words = "See what containerd itself would write in the newest form, before the next upgrade."
            return Remedy(words, (f"{self._sudo}containerd config migrate",))
        return Remedy("Put each setting in its newer form before the next upgrade, as the warning says.")
