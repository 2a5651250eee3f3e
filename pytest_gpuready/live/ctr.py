"""Containers of the clients, ctr and nerdctl: what is typed for each route, with names, labels and limits.

With the builtin image they are in a containerd namespace of the run's own: whatever a client that was killed leaves
there (a lease, a snapshot) belongs to nobody else, and goes with the namespace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_gpuready.live.probe import PROBE
from pytest_gpuready.live.shell import LABEL, MEMORY, PIDS


@dataclass(frozen=True)
class Container:
    """A container of a client. `section` names it and its answer; `flags` are what makes the route.

    `command` is what it runs; by default the probe. `routes` are those that it speaks for.
    """

    section: str
    routes: tuple[str, ...]
    flags: tuple[str, ...] = ()
    client: Literal["ctr", "nerdctl"] = "ctr"
    command: tuple[str, ...] = ("sh", "-c", PROBE)


def argv(container: Container, socket: str, namespace: str, image: str, run: str, key: str) -> list[str]:
    """The client's arguments (ctd v2.3.4:cmd/ctr/commands/run/run.go, v1.6.20 alike; nerdctl docs/command-reference).

    `run` is the run's name, which every id begins with; `key` the value of its label.
    """
    name = f"{run}-{container.section}"
    if container.client == "nerdctl":
        return [
            f"--address={socket}",
            f"--namespace={namespace}",
            "run",
            "--rm",
            "--pull=never",
            "--network=host",
            f"--name={name}",
            f"--label={LABEL}={key}",
            f"--memory={MEMORY}",
            f"--pids-limit={PIDS}",
            *container.flags,
            image,
            *container.command,
        ]
    return [
        f"--address={socket}",
        f"--namespace={namespace}",
        "run",
        "--rm",
        f"--label={LABEL}={key}",
        f"--memory-limit={MEMORY}",
        # Of the same name in a namespace of the run's own; elsewhere it keeps the limits of the run.
        f"--cgroup=/{run}/{name}",
        *container.flags,
        image,
        name,
        *container.command,
    ]


def without_request(route: str) -> Container | None:
    """The same container without its request; None for routes that are asked in a pod."""
    if route in ("ctr-gpus", "ctr-cdi"):
        return Container("ctr.none", (route,))
    if route == "ctr-runtime":
        return Container("ctr-runtime.none", (route,), RUNTIME)
    if route == "nerdctl":
        return Container("nerdctl.none", (route,), client="nerdctl")
    return None


RUNTIME = ("--runtime=io.containerd.runc.v2", "--runc-binary=nvidia-container-runtime")
"""What makes ctr start NVIDIA's runtime; a handler's name means nothing to it."""
