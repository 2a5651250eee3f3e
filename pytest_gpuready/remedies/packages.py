"""Remedies that install packages: the NVIDIA Container Toolkit and its parts, by this node's own means.

Source of the set-up: docs.nvidia.com, Installing the NVIDIA Container Toolkit. Nothing is redirected by a shell that
sudo would not cover, and the key is stored as text (apt takes `.asc` in signed-by), so that gpg is not needed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_gpuready.model import Denied, Remedy, Undetermined
from pytest_gpuready.quoting import quote_package, quote_unit
from pytest_gpuready.views.containerd_live import ContainerdLive
from pytest_gpuready.views.platform import Platform
from pytest_gpuready.views.toolkit import FAMILY, OPERATOR_ROOT, Toolkit

if TYPE_CHECKING:
    from pytest_gpuready.views import Views

TOOLKIT = "nvidia-container-toolkit"
_SITE = "https://nvidia.github.io/libnvidia-container"
_KEYRING = "/usr/share/keyrings/nvidia-container-toolkit-keyring.asc"
_RPM_REPO = f"{_SITE}/stable/rpm/nvidia-container-toolkit.repo"

#: Distributions whose own repositories carry the toolkit.
_CARRY_IT = frozenset({"arch", "azurelinux", "mariner"})
#: Systems on which packages are not a person's to install, and what is done instead.
_IMAGES: dict[str, str] = {
    "cos": "Container-Optimized OS takes no packages: Google's driver installer and device plugin bring it all.",
    "bottlerocket": "Bottlerocket takes no packages: boot its -nvidia variant, which has the toolkit.",
    "talos": "Talos takes no packages: add the extensions nvidia-container-toolkit and nonfree-kmod-nvidia.",
    "flatcar": "Flatcar takes no packages: add NVIDIA's sysext, or let the GPU operator install the toolkit.",
    "alpine": "NVIDIA publishes no toolkit for Alpine: use a distribution with glibc on GPU nodes.",
}
_ZYPPER = "zypper --non-interactive --gpg-auto-import-keys"
_INSTALL: dict[str, str] = {
    "apt": "apt-get install -y {}",
    "dnf": "dnf install -y {}",
    "yum": "yum install -y {}",
    "tdnf": "tdnf install -y {}",
    "microdnf": "microdnf install -y {}",
    "zypper": f"{_ZYPPER} install {{}}",
    "pacman": "pacman -S --needed --noconfirm {}",
    "rpm-ostree": "rpm-ostree install --idempotent {}",
    "transactional-update": f"transactional-update --non-interactive run {_ZYPPER} install {{}}",
}
_REINSTALL: dict[str, str] = {
    "apt": "apt-get install -y --reinstall {}",
    "dnf": "dnf reinstall -y {}",
    "yum": "yum reinstall -y {}",
    "tdnf": "tdnf reinstall -y {}",
    "microdnf": "microdnf reinstall -y {}",
    "zypper": f"{_ZYPPER} install --force {{}}",
    "pacman": "pacman -S --noconfirm {}",
}
#: The package of each program (toolkit packaging/debian/control, since 1.11).
OWNERS: dict[str, str] = {
    "nvidia-container-runtime": "nvidia-container-toolkit-base",
    "nvidia-ctk": "nvidia-container-toolkit-base",
    "nvidia-cdi-hook": "nvidia-container-toolkit-base",
    "nvidia-container-runtime-hook": TOOLKIT,
    "nvidia-container-cli": "libnvidia-container-tools",
}
_UPGRADE: dict[str, str] = {
    "apt": "apt-get install -y --only-upgrade {}",
    "dnf": "dnf upgrade -y {}",
    "yum": "yum update -y {}",
    "tdnf": "tdnf update -y {}",
    "microdnf": "microdnf upgrade -y {}",
    "zypper": "zypper --non-interactive update {}",
    "pacman": "pacman -Syu --noconfirm",
    "rpm-ostree": "rpm-ostree upgrade",
    "transactional-update": "transactional-update --non-interactive run zypper --non-interactive update {}",
}
#: What these install is there after a reboot.
_AFTER_REBOOT = frozenset({"rpm-ostree", "transactional-update"})


class PackageRemedies:
    """`mend.packages`."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.platform = views.get(Platform)
        self.sudo = self.platform.sudo_prefix

    def toolkit(self) -> Remedy:
        """Install nvidia-container-toolkit with all it needs, from NVIDIA's repository if no other has it."""
        return self.package(TOOLKIT)

    def package(self, *names: str) -> Remedy:
        """Install packages of the toolkit's family, from NVIDIA's repository if no other has them."""
        elsewhere = self._elsewhere(" and ".join(names))
        if elsewhere is not None:
            return elsewhere
        manager = self._manager()
        if manager not in _INSTALL:
            return Remedy(
                f"No package manager that is known here is on this node: install {' and '.join(names)} by the "
                "means that built the node (docs.nvidia.com, Installing the NVIDIA Container Toolkit)."
            )
        ready = self.repository_ready(manager)
        commands = () if ready else self._repository(manager)
        install = f"{self.sudo}{_INSTALL[manager].format(' '.join(map(quote_package, names)))}"
        held: set[str] = set()
        if manager == "apt":
            held = self._held()
            if held:
                install = install.replace("install -y", "install -y --allow-change-held-packages", 1)
            # A list of packages that is older than the repository does not know the package.
            install = install if self._has_family() else f"{self.sudo}apt-get update && {install}"
        origin = "" if ready else " from NVIDIA's repository, which is set up first"
        summary = f"Install {' and '.join(names)}{origin}."
        if held:
            summary += f" {' and '.join(sorted(held))}: on hold (apt-mark), which is set aside for this."
        if manager == "dnf" and not ready:
            # dnf5's and dnf-plugins-core's own words (their manual pages); the commands shown need neither.
            add = f"{self.sudo}dnf config-manager"
            new, old = f"{add} addrepo --from-repofile={_RPM_REPO}", f"{add} --add-repo {_RPM_REPO}"
            summary += f" The same by dnf 5: {new}; by dnf 4: {old}."
        return self._finished(manager, summary, (*commands, install))

    def program(self, name: str, *others: str) -> Remedy:
        """Bring a program of the toolkit's back: its package anew where that is installed, with `others` it needs."""
        owner = OWNERS.get(name, TOOLKIT)
        manager = self._manager()
        with contextlib.suppress(Undetermined, Denied):
            toolkit = self.views.get(Toolkit)
            if (
                owner in {*toolkit.packages, *toolkit.half_installed}
                and manager in _REINSTALL
                and self._elsewhere(owner) is None
            ):
                names = (owner, *others)
                command = f"{self.sudo}{_REINSTALL[manager].format(' '.join(map(quote_package, names)))}"
                summary = f"{' and '.join(names)} should bring a {name} that works: install the package anew."
                return self._finished(manager, summary, (command,))
            # The whole is there without this part: removed by force. Asked for the whole, apt finds it installed.
            if owner not in toolkit.packages and TOOLKIT in toolkit.packages:
                return self.package(owner)
        return self.toolkit()

    def other(self, *names: str) -> Remedy:
        """Install packages that the distribution itself carries."""
        manager = self._manager()
        if manager not in _INSTALL:
            return Remedy(f"Install {' and '.join(names)} by the means that built the node.")
        command = f"{self.sudo}{_INSTALL[manager].format(' '.join(map(quote_package, names)))}"
        if manager == "apt":
            command = f"{self.sudo}apt-get update && {command}"
        return self._finished(manager, f"Install {' and '.join(names)}.", (command,))

    def again(self, name: str) -> Remedy:
        """Install a package of the distribution's anew, since a file of it is gone."""
        manager = self._manager()
        if manager not in _REINSTALL:
            return Remedy(
                f"{name} is installed and a file of it is gone: install it anew by the means that built the node."
            )
        command = f"{self.sudo}{_REINSTALL[manager].format(quote_package(name))}"
        return self._finished(manager, f"{name} is installed and a file of it is gone: install it anew.", (command,))

    def by_hand(self, what: str, whose: str) -> Remedy:
        """Something that no package owns: whoever put it there brings it up to date."""
        return Remedy(f"No package owns {what} here ({whose}): bring it up to date by the means that put it there.")

    def upgrade(self, *names: str) -> Remedy:
        """Bring installed packages to the newest version that the repositories have."""
        elsewhere = self._elsewhere(" and ".join(names), "a newer ")
        if elsewhere is not None:
            return elsewhere
        manager = self._manager()
        if manager not in _UPGRADE:
            return Remedy(f"Bring {' and '.join(names)} up to date by the means that built the node.")
        command = f"{self.sudo}{_UPGRADE[manager].format(' '.join(map(quote_package, names)))}"
        if manager == "apt":
            command = f"{self.sudo}apt-get update && {command}"
        return self._finished(manager, f"Bring {', '.join(names)} up to date.", (command,))

    def repository_ready(self, manager: str) -> bool:
        """A repository that has the toolkit is set up, or the distribution carries it, or it was installed from one."""
        if manager == "pacman" or self.platform_id in _CARRY_IT or self._has_family():
            return True
        with contextlib.suppress(Undetermined, Denied):
            return bool(self.views.get(Toolkit).repositories)
        return False

    @property
    def platform_id(self) -> str:
        """The distribution's id, "" where it cannot be had."""
        with contextlib.suppress(Undetermined, Denied):
            return self.platform.os_id
        return ""

    def _held(self) -> set[str]:
        """Those of the family that are on hold."""
        with contextlib.suppress(Undetermined, Denied):
            return self.views.get(Toolkit).held & {*FAMILY}
        return set()

    def _has_family(self) -> bool:
        with contextlib.suppress(Undetermined, Denied):
            return any(name in self.views.get(Toolkit).packages for name in FAMILY)
        return False

    def _manager(self) -> str:
        with contextlib.suppress(Undetermined, Denied):
            return self.platform.package_manager or ""
        return ""

    def _exists(self, path: str) -> bool:
        with contextlib.suppress(Undetermined, Denied):
            return self.platform.facts.exists(path)
        return False

    def _elsewhere(self, what: str, newer: str = "") -> Remedy | None:
        """On systems that are not built by installing packages: who brings the toolkit there."""
        name = self.platform_id
        if name in _IMAGES:
            return Remedy(_IMAGES[name])
        if name == "nixos":
            return Remedy(
                f"NixOS: set hardware.nvidia-container-toolkit.enable = true (for {newer}toolkit: update the channel) "
                "in configuration.nix, then rebuild.",
                (f"{self.sudo}nixos-rebuild switch",),
            )
        if self._exists(OPERATOR_ROOT) or self._exists("/run/nvidia/driver"):
            how = "kubectl -n gpu-operator rollout restart daemonset nvidia-container-toolkit-daemonset"
            return Remedy(
                f"The GPU operator brings {what} to this node ({OPERATOR_ROOT}): look at its toolkit pod here, "
                "and where that is healthy restart it (from where kubectl works): "
                f"{how}{'; a newer one comes with a newer operator' if newer else ''}."
            )
        with contextlib.suppress(Undetermined, Denied):
            if self.views.get(ContainerdLive).flavour.name == "MicroK8s":
                return Remedy("MicroK8s brings the toolkit by its own add-on.", (f"{self.sudo}microk8s enable nvidia",))
        return None

    def _repository(self, manager: str) -> tuple[str, ...]:
        """The commands that set up NVIDIA's repository."""
        curl: tuple[str, ...] = ()
        if not self.platform.program("curl"):
            if manager == "apt":
                install = f"{self.sudo}apt-get install -y --no-install-recommends ca-certificates curl"
                curl = (f"{self.sudo}apt-get update && {install}",)
            elif manager in ("dnf", "yum", "tdnf", "microdnf"):
                curl = (f"{self.sudo}{_INSTALL[manager].format('curl')}",)
        tee = f"{self.sudo}tee"
        if manager == "apt":
            signed = f"sed 's#deb https://#deb [signed-by={_KEYRING}] https://#g'"
            listed = f"curl -fsSL {_SITE}/stable/deb/nvidia-container-toolkit.list | {signed}"
            return (
                *curl,
                f"curl -fsSL {_SITE}/gpgkey | {tee} {_KEYRING} >/dev/null",
                f"{listed} | {tee} /etc/apt/sources.list.d/nvidia-container-toolkit.list",
            )
        if manager in ("zypper", "transactional-update"):
            return (f"{self.sudo}zypper --non-interactive addrepo --refresh {_RPM_REPO}",)
        return (*curl, f"curl -fsSL {_RPM_REPO} | {tee} /etc/yum.repos.d/nvidia-container-toolkit.repo")

    def _finished(self, manager: str, summary: str, commands: tuple[str, ...]) -> Remedy:
        if manager in _AFTER_REBOOT:
            return Remedy(f"{summary} It is there after a reboot.", (*commands, f"{self.sudo}systemctl reboot"))
        with contextlib.suppress(Undetermined, Denied):
            live = self.views.get(ContainerdLive)
            # k3s and RKE2 look for the runtime when they start, and write the handler themselves.
            if live.flavour.name in ("k3s", "RKE2") and live.service:
                return Remedy(
                    f"{summary} {live.flavour.name} finds it when it starts.",
                    (*commands, f"{self.sudo}systemctl restart {quote_unit(live.service)}"),
                )
        return Remedy(summary, commands)
