"""Fixtures for people's own tests, local and remote alike. `host` stays testinfra's, and these derive from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.live.client import CtrClient
    from pytest_gpuready.node.transport import Options
    from pytest_gpuready.views import Views
    from pytest_gpuready.views.cdi import Cdi
    from pytest_gpuready.views.containerd_config import ContainerdConfig
    from pytest_gpuready.views.containerd_live import ContainerdLive
    from pytest_gpuready.views.driver import Driver
    from pytest_gpuready.views.kubernetes import Kubernetes
    from pytest_gpuready.views.nvml import Nvml
    from pytest_gpuready.views.platform import Platform
    from pytest_gpuready.views.toolkit import Toolkit

#: The nodes asked in this run: views, and why there are none.
_NODES: pytest.StashKey[dict[tuple[str, Options], tuple[Views, str | None]]] = pytest.StashKey()


def _views(host: Any, config: pytest.Config) -> Views:
    """The views of testinfra's host: asked once in a run (of a worker), and not at all if the suite has asked it."""
    from pytest_gpuready.asked import read_settings, timeout  # noqa: PLC0415 - nothing is imported before a test asks
    from pytest_gpuready.backends import node_spec  # noqa: PLC0415
    from pytest_gpuready.node.hosts import SpecError  # noqa: PLC0415
    from pytest_gpuready.runner import Runner  # noqa: PLC0415
    from pytest_gpuready.views import Views  # noqa: PLC0415

    try:
        spec = node_spec(host)
    except SpecError as error:
        pytest.fail(str(error), pytrace=False)
    options = _options(host)
    known = config.stash.setdefault(_NODES, {})
    key = (spec.label, options)
    if key not in known:
        settings = read_settings(config)
        suite = config.pluginmanager.get_plugin("gpuready-suite")
        report = suite.report_on(spec.label, options) if suite is not None else None
        if report is None:
            report = Runner([spec], settings, options, timeout(config)).run().nodes[0]
        # A fixture's value is what a node said, never a guess: without it there is none.
        known[key] = (Views(report.facts, settings), None if report.reached else report.reason or "it did not answer")
    views, reason = known[key]
    if reason:
        pytest.fail(f"{spec.label} could not be asked: {reason}", pytrace=False)
    return views


def _options(host: Any) -> Options:
    """What testinfra was given for its host."""
    from pytest_gpuready.node.transport import Options  # noqa: PLC0415 - nothing is imported before a test asks

    backend = host.backend
    return Options(
        getattr(backend, "ssh_config", None),
        getattr(backend, "ssh_identity_file", None),
        bool(backend.sudo),
        backend.sudo_user,
    )


@pytest.fixture(scope="module")
def node(host: Any, pytestconfig: pytest.Config) -> Views:
    """All views of the host, gathered in one login: `node.containerd_config`, `node.facts`."""
    return _views(host, pytestconfig)


@pytest.fixture(scope="module")
def platform(node: Views) -> Platform:
    """Distribution, package manager, kernel, programs, processes and services of the host."""
    return node.platform


@pytest.fixture(scope="module")
def driver(node: Views) -> Driver:
    """The NVIDIA driver: GPUs on the bus, kernel module, libraries, device nodes, versions."""
    return node.driver


@pytest.fixture(scope="module")
def nvml(node: Views) -> Nvml:
    """NVML as the host answers it: `nvml.devices` with names, UUIDs, memory, MIG."""
    return node.nvml


@pytest.fixture(scope="module")
def toolkit(node: Views) -> Toolkit:
    """The NVIDIA Container Toolkit: programs, packages, versions, configuration, the mode in force."""
    return node.toolkit


@pytest.fixture(scope="module")
def containerd_config(node: Views) -> ContainerdConfig:
    """The configuration of containerd on disk, as the host's containerd reads it: handlers, default, CDI."""
    return node.containerd_config


@pytest.fixture(scope="module")
def containerd_live(node: Views) -> ContainerdLive:
    """The running containerd and its own words: pid, start, version, CRI status."""
    return node.containerd_live


@pytest.fixture(scope="module")
def ctr(node: Views, host: Any) -> Iterator[CtrClient]:
    """The client ctr on the host: where, which version; and `run`, `images`, `import_image`, `namespaces`.

    Containers are bounded and removed whatever becomes of the test; what was imported is removed with the module.
    """
    from pytest_gpuready.backends import node_spec  # noqa: PLC0415 - nothing is imported before a test asks
    from pytest_gpuready.live.client import CtrClient  # noqa: PLC0415
    from pytest_gpuready.node.transport import Shell  # noqa: PLC0415

    client = CtrClient(node, lambda: Shell(node_spec(host), _options(host)))
    yield client
    client.close()


@pytest.fixture(scope="module")
def cdi(node: Views) -> Cdi:
    """The CDI specs of the host and who reads them: devices, hooks, versions, conflicts."""
    return node.cdi


@pytest.fixture(scope="module")
def kubernetes(node: Views) -> Kubernetes:
    """What the host's files say of its kubelet: the runtime's endpoint, the RuntimeClass, what pods may ask for."""
    return node.kubernetes
