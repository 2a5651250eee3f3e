"""What a node with a healthy NVIDIA Container Toolkit and a containerd shows, and the pieces to break it with.

What programs print is written here after the real ones (measured on 1.17.8, 1.18.2 and 1.20.0): it stands for them, and
cannot show that they print so on every build.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.model import Outcome, Settings
from pytest_gpuready.remedies import Remedies
from pytest_gpuready.views import VIEWS, Views
from pytest_gpuready.views.toolkit import CONFIG, OPERATOR_CONFIG
from tests.support.simnode import Proc, SimNode

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The folder in which the GPU operator installs the toolkit.
OPERATOR = "/usr/local/nvidia/toolkit"
RUNTIME = "/usr/bin/nvidia-container-runtime"
#: A place of its own, which a handler may name.
MINE = "/opt/nv/nvidia-container-runtime"
CLI = "/usr/bin/nvidia-container-cli"
#: The daemon's PATH, as an outcome shows it.
FOLDERS = "/usr/local/sbin, /usr/local/bin, /usr/sbin, /usr/bin, /sbin, /bin"
#: The programs of the base package.
MOST = ("nvidia-container-runtime", "nvidia-ctk", "nvidia-cdi-hook")
VERSION = "1.18.2"
NAMES = (
    "nvidia-container-runtime",
    "nvidia-container-runtime-hook",
    "nvidia-container-cli",
    "nvidia-ctk",
    "nvidia-cdi-hook",
)
#: The files that packages are known to own.
OWNERS = {
    "/usr/bin/nvidia-container-runtime": "nvidia-container-toolkit-base",
    "/usr/bin/nvidia-container-cli": "libnvidia-container-tools",
}
FAMILY = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)

#: config.toml as the package's postinst writes it (nvidia-ctk config default, 1.18.2).
DEFAULT_CONFIG = """\
#accept-nvidia-visible-devices-as-volume-mounts = false
#accept-nvidia-visible-devices-envvar-when-unprivileged = true
disable-require = false
supported-driver-capabilities = "compat32,compute,display,graphics,ngx,utility,video"
#swarm-resource = "DOCKER_RESOURCE_GPU"

[nvidia-container-cli]
#debug = "/var/log/nvidia-container-toolkit.log"
environment = []
#ldcache = "/etc/ld.so.cache"
ldconfig = "@/sbin/ldconfig"
load-kmods = true
#no-cgroups = false
#path = "/usr/bin/nvidia-container-cli"
#root = "/run/nvidia/driver"
#user = "root:video"

[nvidia-container-runtime]
#debug = "/var/log/nvidia-container-runtime.log"
log-level = "info"
mode = "auto"
runtimes = ["runc", "crun"]

[nvidia-container-runtime.modes]

[nvidia-container-runtime.modes.cdi]
annotation-prefixes = ["cdi.k8s.io/"]
default-kind = "nvidia.com/gpu"
spec-dirs = ["/etc/cdi", "/var/run/cdi"]

[nvidia-container-runtime.modes.csv]
mount-spec-path = "/etc/nvidia-container-runtime/host-files-for-container.d"

[nvidia-container-runtime.modes.legacy]
cuda-compat-mode = "ldconfig"

[nvidia-container-runtime-hook]
path = "nvidia-container-runtime-hook"
skip-mode-detection = false

[nvidia-ctk]
path = "nvidia-ctk"
"""


def words(name: str, version: str = VERSION) -> str:
    """What a program answers to `--version`."""
    if name == "nvidia-container-cli":
        return f"cli-version: {version}\nlib-version: {version}\nbuild date: 2026-02-03T10:00:00+00:00"
    title = {
        "nvidia-container-runtime": "NVIDIA Container Runtime",
        "nvidia-container-runtime-hook": "NVIDIA Container Runtime Hook",
        "nvidia-ctk": "NVIDIA Container Toolkit CLI",
        "nvidia-cdi-hook": "NVIDIA CDI Hook",
    }[name]
    tail = (
        "\nspec: 1.2.1\n\nrunc version 1.3.6\ncommit: v1.3.6-0-g\nspec: 1.2.1"
        if name == "nvidia-container-runtime"
        else ""
    )
    return f"{title} version {version}\ncommit: 0123456789abcdef{tail}"


def record(path: str, text: str, rc: int = 0) -> str:
    """One program's part of the answer about versions."""
    return "\n".join([f"prog {path}", *[f"> {line}" for line in text.splitlines()], f"rc {rc}"]) + "\n"


def says(node: SimNode, *records: str) -> SimNode:
    """What all programs answer to `--version`."""
    return node.answer(("versions of the toolkit's programs",), "".join(records))


def packages(
    node: SimNode,
    *installed: str,
    manager: str = "deb",
    vendor: str = "NVIDIA CORPORATION <cudatools@nvidia.com>",
    owners: dict[str, str] | None = None,
) -> SimNode:
    """What the package manager knows: `name version` each."""
    lines = [f"manager {manager}"]
    for one in installed:
        name, _, version = one.partition(" ")
        lines.append(f"pkg|{manager}|{name}|{version}|installed|{vendor}")
    lines += [f"own|{path}|{name}" for path, name in (OWNERS if owners is None else owners).items()]
    return node.answer(("packages of the toolkit",), "\n".join(lines) + "\n")


def toolkit(
    node: SimNode, version: str = VERSION, *, names: Sequence[str] = NAMES, folder: str = "/usr/bin"
) -> SimNode:
    """A node with the toolkit of a version, from NVIDIA's packages, and runc."""
    for name in names:
        node.program(f"{folder}/{name}")
    node.program("/usr/bin/runc").program("/sbin/ldconfig")
    node.put(CONFIG, DEFAULT_CONFIG)
    packages(node, *[f"{name} {version}-1" for name in FAMILY])
    node.answer(("package repositories of NVIDIA's",), "")
    return says(node, *[record(f"{folder}/{name}", words(name, version)) for name in names])


def config(node: SimNode, old: str, new: str, *, path: str = CONFIG) -> SimNode:
    """Replace a line of the configuration."""
    text = node.tree[path].data.decode()
    assert old in text, f"{old!r} is not in {path}"
    return node.put(path, text.replace(old, new))


def legacy(node: SimNode) -> SimNode:
    """The runtime in mode legacy."""
    return config(node, 'mode = "auto"', 'mode = "legacy"')


def containerd(node: SimNode, version: str = "2.1.9", *, cri: str = "", path: str | None = None) -> SimNode:
    """A running containerd with a handler `nvidia`, and its ctr; `cri` are further lines of the CRI plugin's table."""
    plugin = "io.containerd.cri.v1.runtime" if version >= "2" else "io.containerd.grpc.v1.cri"
    number = 3 if version >= "2" else 2
    handlers = "".join(
        f'[plugins."{plugin}".containerd.runtimes.{name}]\nruntime_type = "io.containerd.runc.v2"\n'
        f'[plugins."{plugin}".containerd.runtimes.{name}.options]\nBinaryName = "{binary}"\nSystemdCgroup = true\n'
        for name, binary in (("runc", ""), ("nvidia", "/usr/bin/nvidia-container-runtime"))
    )
    node.put("/etc/containerd/config.toml", f'version = {number}\n[plugins."{plugin}"]\n{cri}{handlers}')
    node.program("/usr/bin/containerd").program("/usr/bin/ctr")
    node.answer(("containerd", "--version"), f"containerd github.com/containerd/containerd v{version} abc\n")
    node.answer(("ctr", "--version"), f"ctr github.com/containerd/containerd v{version}\n")
    daemon = Proc(700, "containerd", ["/usr/bin/containerd"], "/usr/bin/containerd")
    daemon.path = path or daemon.path
    node.process(daemon)
    return node.unit("containerd.service")


def debian(node: SimNode) -> SimNode:
    """Debian with apt-get, curl and sudo."""
    node.put("/etc/os-release", 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    return node.program("/usr/bin/apt-get").program("/usr/bin/curl").program("/usr/bin/sudo")


def fedora(node: SimNode) -> SimNode:
    """Fedora with dnf, curl and sudo."""
    node.put("/etc/os-release", 'ID=fedora\nPRETTY_NAME="Fedora Linux 43"\n')
    return node.program("/usr/bin/dnf").program("/usr/bin/curl").program("/usr/bin/sudo")


def repositories(node: SimNode, text: str) -> SimNode:
    """What the search for NVIDIA's package repositories prints."""
    return node.answer(("package repositories of NVIDIA's",), text)


NVIDIA_REPO = (
    "file /etc/yum.repos.d/nvidia-container-toolkit.repo\n> [nvidia-container-toolkit]\n"
    "> baseurl=https://nvidia.github.io/libnvidia-container/stable/rpm/$basearch\n> enabled=1\n> \n"
    "> [nvidia-container-toolkit-experimental]\n"
    "> baseurl=https://nvidia.github.io/libnvidia-container/experimental/rpm/$basearch\n> enabled=0\n"
)


def views(node: SimNode, settings: Settings | None = None) -> Views:
    """The views of a node."""
    return Views(node.facts(settings), settings)


def ask(node: SimNode, check_id: str, settings: Settings | None = None) -> Outcome | dict[str, Outcome]:
    """What a check's function answers, whatever it needs."""
    seen = views(node, settings)
    check = catalogue()[check_id]
    arguments = {
        name: Remedies(seen) if name == "mend" else seen.named(name)
        for name in check.parameters
        if name in {*VIEWS, "mend"}
    }
    return check.func(**arguments)


def one(node: SimNode, check_id: str, route: str | None = None) -> Outcome:
    """The one answer of a check, or a route's."""
    answer = ask(node, check_id)
    if isinstance(answer, Outcome):
        return answer
    assert route is not None, f"{check_id} answers per route: {sorted(answer)}"
    return answer[route]


def healthy() -> SimNode:
    """Return Debian with the toolkit and a containerd whose handler runs it."""
    return containerd(toolkit(debian(SimNode())))


def operators(version: str = "1.18.2", mode: str = "auto") -> SimNode:
    """Return a node on which the GPU operator has installed the toolkit."""
    node = toolkit(debian(SimNode()), version, folder=OPERATOR).remove(CONFIG)
    packages(node, owners={})
    node.put(OPERATOR_CONFIG, DEFAULT_CONFIG.replace('mode = "auto"', f'mode = "{mode}"'))
    return named(containerd(node), f"{OPERATOR}/nvidia-container-runtime")


def named(node: SimNode, path: str) -> SimNode:
    """Make the handler name the runtime at another path."""
    return config(node, RUNTIME, path, path="/etc/containerd/config.toml")
