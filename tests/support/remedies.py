"""Remedies of a node, as a person reads them, and the commands and tables that they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.remedies.driver import DriverRemedies
from pytest_gpuready.remedies.gpus import GpuRemedies
from pytest_gpuready.views import Views
from tests.support.containerd import CONFIG

if TYPE_CHECKING:
    from pytest_gpuready.model import Remedy, Settings
    from tests.support.simnode import SimNode

RESTART = "sudo systemctl restart containerd"


def remedy(node: SimNode, name: str, settings: Settings | None = None) -> Remedy:
    """Return the remedy of a check of containerd's on this node."""
    outcome = node.judge(settings).findings[f"containerd.{name}"].outcome
    assert outcome.remedy is not None, outcome
    return outcome.remedy


def parts(made: SimNode) -> tuple[DriverRemedies, GpuRemedies]:
    """Return the remedies of the driver and of the GPUs for a node."""
    views = Views(made.facts())
    return DriverRemedies(views), GpuRemedies(views)


def as_text(remedy: Remedy) -> str:
    """Return the summary, and each command after a `$`."""
    commands = "".join(f"$ {command}\n" for command in remedy.commands)
    return f"{remedy.summary}\n" + (f"\n{commands}" if commands else "")


def table(plugin: str, name: str, binary: str = "", cgroup: str = "false") -> str:
    """Return a handler's tables as a remedy writes them."""
    lines = [f"[{plugin}.containerd.runtimes.{name}]", '  runtime_type = "io.containerd.runc.v2"']
    lines += [f"[{plugin}.containerd.runtimes.{name}.options]", *([f'  BinaryName = "{binary}"'] if binary else [])]
    return "\n".join([*lines, f"  SystemdCgroup = {cgroup}\n"])


def sed(script: str, path: str = CONFIG) -> str:
    """Return a command that edits lines of a file."""
    return f"sudo sed -i {script} {path}"


def tee(text: str, path: str = CONFIG, option: str = "-a ") -> str:
    """Return a command that writes a file, or its end."""
    return f"sudo tee {option}{path} >/dev/null <<'EOF'\n{text}EOF"
