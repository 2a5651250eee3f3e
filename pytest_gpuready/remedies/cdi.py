"""Remedies for CDI: generate a spec, take a superfluous one away, let the daemon read them, keep them fresh."""

from __future__ import annotations

import contextlib
import itertools
import posixpath
import re
from typing import TYPE_CHECKING

from pytest_gpuready.model import Denied, Remedy, Undetermined
from pytest_gpuready.quoting import quote
from pytest_gpuready.remedies.containerd import PLUGIN_TABLES, ContainerdRemedies
from pytest_gpuready.remedies.edits import append, aside, insert_after, set_value
from pytest_gpuready.remedies.packages import OWNERS, PackageRemedies
from pytest_gpuready.views.containerd_config import ContainerdConfig
from pytest_gpuready.views.handlers import where_of
from pytest_gpuready.views.platform import Platform
from pytest_gpuready.views.toolkit import OPERATOR_ROOT, Toolkit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.remedies.edits import Change, Workshop
    from pytest_gpuready.views import Views

#: Where a generated spec goes that nothing else asks for (what nvidia-cdi-refresh writes too).
USUAL_SPEC = "/var/run/cdi/nvidia.yaml"
REFRESH_SERVICE, REFRESH_PATH = "nvidia-cdi-refresh.service", "nvidia-cdi-refresh.path"
DRIVER_ROOT = "/run/nvidia/driver"


class CdiRemedies:
    """`mend.cdi`."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.platform = views.get(Platform)
        self.sudo = self.platform.sudo_prefix

    def generate(self, path: str | None = None, *, lacking: str | None = None) -> Remedy:
        """Write the spec anew from what the driver says now, to the file that is there or the usual one.

        `lacking` is the hook's program that the spec names and that is not there: its package comes first.
        """
        target = path or USUAL_SPEC
        name = posixpath.basename(target)
        if name.startswith(("k8s.device-plugin", "k8s.gpu")):
            return Remedy(
                f"NVIDIA's device plugin writes {target} when it starts: restart its pod on this node (by kubectl)."
            )
        if name.startswith("management.nvidia.com"):
            return Remedy(
                f"The GPU operator's toolkit pod writes {target} when it starts: restart that pod: "
                "kubectl -n gpu-operator rollout restart daemonset nvidia-container-toolkit-daemonset."
            )
        if self._os_id == "nixos":
            return Remedy(
                "NixOS generates the spec by a service of its own (hardware.nvidia-container-toolkit.enable = true).",
                (f"{self.sudo}systemctl restart nvidia-container-toolkit-cdi-generator.service",),
            )
        program = self._program()
        words = f"Generate {target} from what the driver says now; it is read at each container start."
        if program is not None and lacking in OWNERS:
            again = PackageRemedies(self.views).program(str(lacking))
            if again.commands:
                return Remedy(f"{again.summary} {words}", (*again.commands, self._command(program, target)))
        write = self._written(program or "nvidia-ctk", target)
        if program is not None:
            return Remedy(words, write)
        install = PackageRemedies(self.views).toolkit()
        if not install.commands:
            return install
        return Remedy(
            f"{install.summary} Then generate {target}; it is read at each container start, nothing is restarted.",
            (*install.commands, *write),
        )

    def _written(self, program: str, target: str) -> tuple[str, ...]:
        """The command, and what it needs where a file lies in its folder's place, or a folder in its own.

        A folder under a spec's name is what Docker makes of a bind mount's source that is not there. Whoever watches a
        file in the folder's place (CDI v1.1.0:pkg/cdi/cache.go) does not see that a folder came: it is restarted.
        """
        folder, command = posixpath.dirname(target), self._command(program, target)
        if self._is_folder(folder) is False:
            restart = ContainerdRemedies(self.views)._restart_only()  # noqa: SLF001 - one remedy, two modules
            return (self._aside(folder), command, *restart)
        return (self._aside(target), command) if self._is_folder(target) else (command,)

    def _aside(self, path: str) -> str:
        return f"{self.sudo}{aside(path).command}"

    def _is_folder(self, path: str) -> bool | None:
        """None where nothing is there, or it is not known."""
        with contextlib.suppress(Undetermined, Denied):
            found = self.views.facts.stat(path)
            return found.is_dir if found is not None else None
        return None

    def _command(self, program: str, target: str) -> str:
        options = " --format=json" if target.endswith(".json") else ""
        if program.startswith(f"{OPERATOR_ROOT}/") and self._exists(DRIVER_ROOT):
            options += f" --driver-root={DRIVER_ROOT}"
        return f"{self.sudo}{quote(program)} cdi generate --output={quote(target)}{options}"

    def _program(self) -> str | None:
        """nvidia-ctk as it is typed: its name where that finds it."""
        with contextlib.suppress(Undetermined, Denied):
            if self.platform.program("nvidia-ctk"):
                return "nvidia-ctk"
            return self.views.get(Toolkit).elsewhere("nvidia-ctk")
        return None

    @property
    def _os_id(self) -> str:
        with contextlib.suppress(Undetermined, Denied):
            return self.platform.os_id
        return ""

    def _exists(self, path: str) -> bool:
        with contextlib.suppress(Undetermined, Denied):
            return self.views.facts.exists(path)
        return False

    def move_aside(self, path: str, why: str) -> Remedy:
        """Take a spec out of the readers' sight; its content is kept."""
        return Remedy(
            f"{why} Files that do not end in .yaml or .json are not read.",
            (self._aside(path),),
        )

    def enable(self) -> Remedy:
        """Let containerd's CRI plugin resolve CDI devices."""
        containerd = ContainerdRemedies(self.views)
        config = self.views.get(ContainerdConfig)
        generated = containerd._generated()  # noqa: SLF001 - likewise
        if generated is not None:
            return generated
        shop = containerd._workshop(lambda key: key.endswith("enable_cdi"))  # noqa: SLF001 - likewise
        place = where_of(config.loaded.cdi_enabled_where)
        edits = containerd._by_tomlkit(shop, [], "enable_cdi", value=True, place=place)  # noqa: SLF001 - likewise
        proposals = itertools.chain(edits, ([change] for change in self._enablings(shop, config) if change))
        found = shop.first(proposals, lambda after: bool(after.cdi_enabled))
        if found is None:
            words = f"Set enable_cdi = true in the CRI plugin's own table of {config.path}, then restart containerd."
            return Remedy(words, containerd._restart_only())  # noqa: SLF001 - likewise
        words = "Let the CRI plugin resolve CDI devices, then restart containerd."
        return containerd._remedy(shop, found, words)  # noqa: SLF001 - likewise

    def _enablings(self, shop: Workshop, config: ContainerdConfig) -> Iterator[Change | None]:
        """The ways to set it that are none of tomlkit's: on its line, below a table's header, in a table of its own."""
        place = config.loaded.cdi_enabled_where
        if place is not None:
            yield set_value(place.path, shop.text(place.path) or b"", place.line, "true")
        for path in reversed(config.files):
            old = shop.text(path)
            text = b"" if old is None else old
            for number, line in enumerate(text.decode("utf-8", "replace").split("\n"), 1):
                header = re.match(r"(\s*)\[", line)
                if header is not None:
                    yield insert_after(path, text, number, f"{header[1]}  enable_cdi = true")
            for table in PLUGIN_TABLES.values():
                yield append(path, old, f"[{table}]\n  enable_cdi = true\n")

    def refresh(self, *, has_unit: bool, failed: bool = False) -> Remedy:
        """Have the spec made anew at each boot."""
        if failed:
            return Remedy(
                "See why it failed, and start it again (toolkit 1.20 no longer races with the driver at boot).",
                (
                    f"{self.sudo}journalctl -u {REFRESH_SERVICE} -n 20 --no-pager",
                    f"{self.sudo}systemctl restart {REFRESH_SERVICE}",
                ),
            )
        if has_unit:
            return Remedy(
                "Let systemd generate the spec at each boot and when the driver changes.",
                (f"{self.sudo}systemctl enable --now {REFRESH_PATH} {REFRESH_SERVICE}",),
            )
        return Remedy(
            "Toolkit 1.18 and later bring nvidia-cdi-refresh, which generates the spec at each boot: upgrade "
            "the toolkit. Until then generate it into /etc/cdi, and again whenever the driver changes.",
            (self._command(self._program() or "nvidia-ctk", "/etc/cdi/nvidia.yaml"),),
        )
