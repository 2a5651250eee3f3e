"""Wrong configurations of every kind that is known, and what was meant by each (see the test that types the remedies).

A kind's number is its section of the project's collection: 1.2 imports, 1.3 versions of drop-ins, 1.4 tables of another
version, 1.5 disabled plugins, 1.6 runc forgotten, 1.7 settings of handlers, 1.8 CDI, 1.9 broken files, 3.3 what
nvidia-ctk leaves behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_gpuready.model import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = "/etc/containerd/config.toml"
DROP_IN = "/etc/containerd/conf.d/99-nvidia.toml"
EARLY = "/etc/containerd/conf.d/10-site.toml"
RUNTIME = "/usr/bin/nvidia-container-runtime"
PLUGIN = {
    1: "plugins.cri",
    2: 'plugins."io.containerd.grpc.v1.cri"',
    3: 'plugins."io.containerd.cri.v1.runtime"',
    4: 'plugins."io.containerd.cri.v1.runtime"',
}
IMPORTS = 'imports = ["/etc/containerd/conf.d/*.toml"]\n'
ONE, ALL = ("1.6", "1.7"), ("1.6", "1.7", "2.1")
HERE = ("1.6", "1.7", "2.1", "2.3")


def native(release: str) -> int:
    """The version that a release's own files declare."""
    return 2 if release.startswith("1.") else 3


def handler(version: int, name: str = "nvidia", binary: str = RUNTIME, *, cgroup: bool = True) -> str:
    """A handler's tables."""
    table = f"{PLUGIN[version]}.containerd.runtimes.{name}"
    return (
        f'  [{table}]\n    runtime_type = "io.containerd.runc.v2"  # as runc\n    [{table}.options]\n'
        f'      BinaryName = "{binary}"\n      SystemdCgroup = {str(cgroup).lower()}\n'
    )


def runc(version: int, *, cgroup: bool = True) -> str:
    """The tables of runc."""
    return handler(version, "runc", "runc", cgroup=cgroup).replace('      BinaryName = "runc"\n', "")


def main(version: int, *parts: str, head: str = "", declared: int | None = -1) -> str:
    """A main file with settings of its own, which must outlive every edit."""
    plugin = PLUGIN[version]
    first = version if declared == -1 else declared
    lines = [] if first is None else [f"version = {first}"]
    settings = (
        f'[{plugin}]\n  max_container_log_line_size = 4096 # ours\n  [{plugin}.cni]\n    bin_dir = "/opt/cni/own"\n'
    )
    image = '[plugins."io.containerd.cri.v1.images".pinned_images]\n  sandbox = "registry.k8s.io/pause:9"\n'
    if version < 3:
        settings = settings.replace("  [", '  sandbox_image = "registry.k8s.io/pause:9"\n  [', 1)
        image = ""
    return "\n".join(["# Kept by hand.", *lines, f"{head}", f"{settings}{image}", *parts])


@dataclass(frozen=True)
class Wrong:
    """A wrong configuration.

    `releases` are those on which it is wrong, `roots` the checks that fail one after the other until all is mended,
    `at` a part of the line that the first finding points at ("": a file that is not there or empty). `meant` are the
    same files without the mistake; where CRI is served all the while, it must serve the same as before.
    """

    kind: str
    releases: tuple[str, ...]
    roots: tuple[str, ...]
    at: str
    files: Callable[[int], dict[str, str]]
    meant: Callable[[int], dict[str, str]] | None = None
    settings: Settings = field(default_factory=Settings)
    #: Whether a kubelet runs, whose cgroupDriver is systemd.
    kubelet: bool = False


CASES: list[Wrong] = []


def wrong(
    kind: str, releases: tuple[str, ...], roots: str, at: str, **options: object
) -> Callable[[Callable[[int], dict[str, str]]], Callable[[int], dict[str, str]]]:
    """Add a kind: its files are a function of the version that the release's own files declare."""

    def add(files: Callable[[int], dict[str, str]]) -> Callable[[int], dict[str, str]]:
        CASES.append(Wrong(kind, releases, tuple(roots.split()), at, files, **options))  # type: ignore[arg-type]
        return files

    return add


def good(version: int) -> dict[str, str]:
    """What most of them mean."""
    return {CONFIG: main(version, runc(version), handler(version))}


def plain(version: int) -> dict[str, str]:
    """The same without the handler."""
    return {CONFIG: main(version, runc(version))}


# ------------------------------------------------------------------------------------------- 1.2 imports


@wrong("1.2 a drop-in of one handler replaces the plugin", ONE, "cri-enabled", "runtimes.nvidia", meant=good)
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), head=IMPORTS), DROP_IN: f"version = {v}\n{handler(v)}"}


@wrong("1.2 a relative glob", ("1.6",), "handler", "runtimes.nvidia")
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), head='imports = ["conf.d/*.toml"]\n'), DROP_IN: f"version = {v}\n{handler(v)}"}


@wrong("1.2 an import that is not there", HERE, "config-loads", "imports", meant=good)
def _(v: int) -> dict[str, str]:
    head = 'imports = ["gone.toml", "/etc/containerd/conf.d/*.toml"] # site\n'
    return {CONFIG: main(v, runc(v), handler(v), head=head)}


@wrong("1.2 a folder is imported", HERE, "config-loads", "imports", meant=good)
def _(v: int) -> dict[str, str]:
    return {CONFIG: f'version = {v}\nimports = ["conf.d"]\n', DROP_IN: main(v, runc(v), handler(v))}


@wrong("1.2 nothing imports the drop-in", HERE, "handler", "runtimes.nvidia")
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v)), DROP_IN: main(v, runc(v), handler(v))}


@wrong("1.2 imports name another folder", HERE, "handler", "runtimes.nvidia")
def _(v: int) -> dict[str, str]:
    head = 'imports = ["/etc/containerd/config.d/*.toml"]\n'
    return {CONFIG: main(v, runc(v), head=head), DROP_IN: main(v, runc(v), handler(v))}


@wrong("1.2 a later drop-in wins", HERE, "handler", 'BinaryName = "runc"')
def _(v: int) -> dict[str, str]:
    return {
        CONFIG: main(v, runc(v), head=IMPORTS),
        EARLY: main(v, runc(v), handler(v)),
        DROP_IN: main(v, runc(v), handler(v, binary="runc")),
    }


# ---------------------------------------------------------------------------- 1.3 versions of drop-ins


@wrong("1.3 version 2, drop-in 3", ("1.6",), "handler", "v1.runtime")
@wrong("1.3 version 2, drop-in 3, fatal", ("1.7", "2.3"), "config-loads", "version = 3", meant=lambda _: plain(2))
def _(_: int) -> dict[str, str]:
    return {CONFIG: main(2, runc(2), head=IMPORTS), DROP_IN: f"version = 3\n{handler(3)}"}


@wrong("1.3 both version 3", ("1.6",), "handler", "v1.runtime")
@wrong("1.3 both version 3, fatal", ("1.7",), "config-loads handler", "version = 3")
def _(_: int) -> dict[str, str]:
    return {CONFIG: main(3, runc(3), head=IMPORTS), DROP_IN: f"version = 3\n{handler(3)}"}


@wrong("1.3 version 3, drop-in without one", ("1.6",), "handler", "v1.runtime")
@wrong("1.3 version 3, drop-in without one, fatal", ("1.7",), "config-loads handler", "version = 3")
def _(_: int) -> dict[str, str]:
    return {CONFIG: main(3, runc(3), head=IMPORTS), DROP_IN: handler(3)}


@wrong("1.3 version 3 with runtimes, drop-in 2", ("2.1",), "handler", "")
@wrong("1.3 version 3 with runtimes, drop-in 2: runc forgotten", ("1.6", "1.7"), "cri-enabled", "v1.cri")
def _(_: int) -> dict[str, str]:
    return {CONFIG: main(3, runc(3), head=IMPORTS), DROP_IN: f"version = 2\n{handler(2)}"}


@wrong("1.3 version 4", ("1.7", "2.1"), "config-loads handler", "version = 4")
def _(_: int) -> dict[str, str]:
    return {CONFIG: main(4, runc(4))}


@wrong("1.3 version 4, drop-in without one", ("2.1",), "config-loads", "", meant=lambda _: good(3))
def _(_: int) -> dict[str, str]:
    return {CONFIG: main(4, runc(4), head=IMPORTS), DROP_IN: handler(3)}


@wrong("1.3 no version, drop-in 3", ("1.6",), "handler", "v1.runtime")
@wrong("1.3 no version, drop-in 3, fatal", ("1.7",), "config-loads handler", "version = 3", meant=lambda _: {})
def _(_: int) -> dict[str, str]:
    return {CONFIG: IMPORTS, DROP_IN: f"version = 3\n{handler(3)}"}


@wrong("1.3 drop-in 4", ("1.7", "2.1", "2.3"), "config-loads", "version = 4")
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), head=IMPORTS), DROP_IN: f"version = 4\n{handler(4)}"}


# ------------------------------------------------------------------------------ 1.4 tables of another version


@wrong("1.4 version 2, tables of 3", ONE, "handler", "v1.runtime")
def _(_: int) -> dict[str, str]:
    return {CONFIG: main(2, runc(2), handler(3))}


@wrong("1.4 version 3, tables of 2", ("2.1",), "handler", "v1.cri")
@wrong("1.4 version 3, tables of 2, fatal", ("1.7",), "config-loads", "version = 3", meant=lambda _: good(2))
def _(_: int) -> dict[str, str]:
    return {CONFIG: main(2, runc(2), handler(2), declared=3)}


@wrong("1.4 version 4, tables of 2", ("2.3",), "handler", "v1.cri")
@wrong("1.4 version 4, tables of 2, fatal", ("1.7", "2.1"), "config-loads", "version = 4", meant=lambda _: good(2))
def _(_: int) -> dict[str, str]:
    return {CONFIG: main(2, runc(2), handler(2), declared=4)}


@wrong("1.4 no version, tables of 2", ALL, "handler", "v1.cri")
def _(_: int) -> dict[str, str]:
    return {CONFIG: main(2, runc(2), handler(2), declared=None)}


@wrong("1.4 no version, tables of 1", ("2.1",), "handler", "cri")
def _(_: int) -> dict[str, str]:
    return {CONFIG: main(1, runc(1), handler(1), declared=None)}


@wrong("1.4 version 2, tables of 1", ("2.1", "2.3"), "handler", "cri")
@wrong("1.4 version 2, tables of 1, fatal", ONE, "config-loads", "plugins.cri", meant=lambda _: good(1))
def _(_: int) -> dict[str, str]:
    return {CONFIG: main(1, runc(1), handler(1), declared=2)}


# ------------------------------------------------------------------------------------- 1.5 disabled plugins


@wrong("1.5 Docker's file", HERE, "cri-enabled handler", "disabled_plugins", meant=lambda _: {})
def _(_: int) -> dict[str, str]:
    return {CONFIG: '#   Copyright\n\ndisabled_plugins = ["cri"]\n\n#root = "/var/lib/containerd"\n'}


@wrong("1.5 CRI disabled", HERE, "cri-enabled", "disabled_plugins", meant=good)
def _(v: int) -> dict[str, str]:
    head = 'disabled_plugins = ["io.containerd.internal.v1.nosuch", "io.containerd.grpc.v1.cri"] # off\n'
    return {CONFIG: main(v, runc(v), handler(v), head=head)}


@wrong("1.5 CRI's runtime disabled", ("2.1", "2.3"), "cri-enabled", "disabled_plugins", meant=good)
def _(v: int) -> dict[str, str]:
    head = "disabled_plugins = [\n  'io.containerd.cri.v1.runtime', # off\n  'io.containerd.cri.v1.images',\n]\n"
    return {CONFIG: main(v, runc(v), handler(v), head=head)}


@wrong("1.5 a short name", HERE, "config-loads", "disabled_plugins", meant=good)
def _(v: int) -> dict[str, str]:
    return {
        CONFIG: main(v, runc(v), handler(v), head='disabled_plugins = ["cri", "io.containerd.internal.v1.nosuch"]\n')
    }


@wrong("1.5 a required plugin that fails", HERE, "config-loads", "", meant=good)
def _(v: int) -> dict[str, str]:
    head = 'required_plugins = ["io.containerd.grpc.v1.cri"]\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
    return {CONFIG: main(v, runc(v), handler(v), head=head)}


# ------------------------------------------------------------------------------------- 1.6 runc forgotten


@wrong(
    "1.6 only nvidia",
    ONE,
    "cri-enabled",
    "",
    meant=lambda v: {CONFIG: main(v, runc(v, cgroup=False), handler(v, cgroup=False))},
)
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, handler(v, cgroup=False))}


# ---------------------------------------------------------------------------------- 1.7 settings of handlers


def default(v: int, name: str) -> str:
    """The default handler's name."""
    return f'[{PLUGIN[v]}.containerd]\n  default_runtime_name = "{name}" # which\n'


@wrong("1.7 the default handler is not there", HERE, "cri-enabled", "default_runtime_name", meant=good)
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, default(v, "nvidia-runtime"), runc(v), handler(v))}


@wrong(
    "1.7 another default", HERE, "default-runtime", "default_runtime_name",
    settings=Settings(routes=("cri-default",)),
)  # fmt: skip
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, default(v, "runc"), runc(v), handler(v))}


@wrong("1.7 the built-in default", HERE, "default-runtime", "", settings=Settings(routes=("cri-default",)))
def _(v: int) -> dict[str, str]:
    return good(v)


@wrong("1.7 no runtime_type", HERE, "handler-runtime-type", "runtimes.nvidia")
@wrong("3.3 g: no runtime_type", HERE, "handler-runtime-type", "runtimes.nvidia")
def _(v: int) -> dict[str, str]:
    typed = '    runtime_type = "io.containerd.runc.v2"  # as runc\n'
    return {CONFIG: main(v, runc(v), handler(v).replace(typed, ""))}


@wrong("1.7 a runtime_type of old", ("2.1", "2.3"), "handler-runtime-type", "runc.v1")
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), handler(v).replace("runc.v2", "runc.v1"))}


@wrong("1.7 the legacy runtime_type", ("2.1", "2.3"), "handler-runtime-type handler", "runtime.v1.linux")
def _(v: int) -> dict[str, str]:
    text = (
        handler(v).replace("io.containerd.runc.v2", "io.containerd.runtime.v1.linux").replace("BinaryName", "Runtime")
    )
    return {CONFIG: main(v, runc(v), text)}


@wrong("1.7 Binaryname", ONE, "handler", "runtimes.nvidia")
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), handler(v).replace("BinaryName", "Binaryname"))}


@wrong("1.7 binary_name", HERE, "handler", "runtimes.nvidia")
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), handler(v).replace("BinaryName", "binary_name"))}


@wrong("1.7 two spellings", ("2.1", "2.3"), "handler", "binaryname")
def _(v: int) -> dict[str, str]:
    line = f'      BinaryName = "{RUNTIME}"\n'
    return {CONFIG: main(v, runc(v), handler(v).replace(line, line + '      binaryname = "runc"\n'))}


@wrong("1.7 two spellings, the exact one is runc", ONE, "handler", '"runc"')
def _(v: int) -> dict[str, str]:
    line = f'      BinaryName = "{RUNTIME}"\n'
    two = '      BinaryName = "runc"\n' + line.replace("BinaryName", "binaryname")
    return {CONFIG: main(v, runc(v), handler(v).replace(line, two))}


@wrong("1.7 BinaryName beside the options", HERE, "handler", "runtimes.nvidia")
def _(v: int) -> dict[str, str]:
    table = f"{PLUGIN[v]}.containerd.runtimes.nvidia"
    return {
        CONFIG: main(v, runc(v), f'[{table}]\n  runtime_type = "io.containerd.runc.v2"\n  BinaryName = "{RUNTIME}"\n')
    }


@wrong("1.7 runs runc", HERE, "handler", "BinaryName")
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), handler(v, binary="/usr/bin/runc"))}


@wrong("1.7 an inline table runs runc", HERE, "handler", "BinaryName")
def _(v: int) -> dict[str, str]:
    inline = 'options = { BinaryName = "/usr/bin/runc", SystemdCgroup = true } # in line\n'
    table = f'[{PLUGIN[v]}.containerd.runtimes.nvidia]\nruntime_type = "io.containerd.runc.v2"\n{inline}'
    return {CONFIG: main(v, runc(v), table)}


@wrong("1.7 a cgroup driver of its own", HERE, "handler-cgroups", "SystemdCgroup")
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), handler(v, cgroup=False))}


@wrong("1.7 no cgroup driver", HERE, "handler-cgroups", "runtimes.nvidia")
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), handler(v).replace("      SystemdCgroup = true\n", ""))}


@wrong("1.7 a cgroup driver that is no boolean", HERE, "handler", "")
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), handler(v).replace("SystemdCgroup = true", 'SystemdCgroup = "true"'))}


@wrong("1.7 a program that is not there", HERE, "handler-binary", "BinaryName")
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), handler(v, binary="/opt/nvidia/nvidia-container-runtime"))}


# -------------------------------------------------------------------------------------------------- 1.8 CDI

CDI = Settings(routes=("cri-cdi",))


@wrong("1.8 CDI is off by default", ("1.7",), "cdi.enabled", "", settings=CDI)
def _(v: int) -> dict[str, str]:
    return good(v)


@wrong("1.8 CDI is off by a line", ("1.7", "2.1", "2.3"), "cdi.enabled", "enable_cdi", settings=CDI)
def _(v: int) -> dict[str, str]:
    text = good(v)[CONFIG].replace("# ours\n", "# ours\n  enable_cdi = false # not yet\n")
    return {CONFIG: text}


# ------------------------------------------------------------------------------------------ 1.9 broken files


@wrong("1.9 no TOML", HERE, "config-loads", "this is", meant=good)
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), "this is no TOML\n", handler(v))}


@wrong("1.9 pasted twice", HERE, "config-loads", "runtimes.nvidia", meant=good)
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), handler(v), handler(v))}


@wrong("1.9 a bracket is missing", HERE, "config-loads", "options", meant=good)
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), handler(v).replace(".nvidia.options]", ".nvidia.options"))}


@wrong("1.9 a quote is missing", HERE, "config-loads", "runtime_type", meant=good)
def _(v: int) -> dict[str, str]:
    return {CONFIG: main(v, runc(v), handler(v).replace('runc.v2"', "runc.v2"))}


@wrong("1.9 no file", HERE, "handler", "")
def _(_: int) -> dict[str, str]:
    return {}


@wrong("1.9 an empty file", HERE, "handler", "")
def _(_: int) -> dict[str, str]:
    return {CONFIG: ""}


# ------------------------------------------------------------------------------ 3.3 what nvidia-ctk leaves


def made(v: int, name: str = "nvidia") -> str:
    """A handler as nvidia-ctk writes it where it has nothing to copy from."""
    table = f"{PLUGIN[v]}.containerd.runtimes.{name}"
    return (
        f'[{table}]\n  privileged_without_host_devices = false\n  runtime_engine = ""\n  runtime_root = ""\n'
        f'  runtime_type = "io.containerd.runc.v2"\n  [{table}.options]\n    BinaryName = "{RUNTIME}"\n'
        + (f'    Runtime = "{RUNTIME}"\n' if v == 1 else "")
    )


@wrong("3.3 a: from no file", ONE, "cri-enabled", "", meant=lambda _: {})
def _(_: int) -> dict[str, str]:
    return {CONFIG: f"version = 2\n{made(2)}"}


@wrong("3.3 a: from no file, 1.18 and later", ONE, "cri-enabled", "", meant=lambda _: {})
def _(_: int) -> dict[str, str]:
    return {CONFIG: f"version = 2\n{IMPORTS}", DROP_IN: f"version = 2\n{made(2)}"}


@wrong("3.3 b: Docker's file, 1.18 and later", HERE, "cri-enabled handler", "disabled_plugins", meant=lambda _: {})
def _(_: int) -> dict[str, str]:
    return {
        CONFIG: 'disabled_plugins = ["cri"]\n',
        DROP_IN: f'disabled_plugins = ["cri"]\nversion = 1\n\n{made(1)}',
    }


@wrong("3.3 c: Docker's file, up to 1.17", ONE, "cri-enabled", "disabled_plugins", meant=lambda _: {})
@wrong(
    "3.3 c: Docker's file, up to 1.17, on 2.1", ("2.1",), "cri-enabled handler", "disabled_plugins", meant=lambda _: {}
)
def _(_: int) -> dict[str, str]:
    return {CONFIG: f'disabled_plugins = ["cri"]\nversion = 1\n\n{made(1)}'}


# On 2.x a kubelet may ask containerd for its driver: without the kubelet's release, handlers that agree are no fault.
@wrong("3.3 d: the copy shadows a later edit", ONE, "handler-cgroups", "SystemdCgroup", kubelet=True)
@wrong("3.3 i: nvidia-ctk copied the wrong cgroup driver", ONE, "handler-cgroups", "SystemdCgroup", kubelet=True)
def _(v: int) -> dict[str, str]:
    copy = main(v, runc(v, cgroup=False), handler(v, cgroup=False))
    return {CONFIG: main(v, runc(v), head=IMPORTS), DROP_IN: copy}


@wrong("3.3 e: a drop-in of the dump's version", ("2.1", "2.3"), "config-loads", "version = 4")
def _(_: int) -> dict[str, str]:
    return {CONFIG: main(2, runc(2), head=IMPORTS), DROP_IN: main(4, runc(4), handler(4))}


@wrong("3.3 f: the dump's version hides the main file", ("2.1",), "handler-cgroups", "SystemdCgroup")
def _(_: int) -> dict[str, str]:
    return {CONFIG: main(2, runc(2), head=IMPORTS), DROP_IN: f"version = 3\n{handler(3)}"}


@wrong("3.3 h: in place with 1.20, the handler is lost", HERE, "handler", "")
def _(v: int) -> dict[str, str]:
    return plain(v)


@wrong("3.3 k: 1.18.0 overwrote imports", HERE, "handler", "runtimes.nvidia")
def _(v: int) -> dict[str, str]:
    head = 'imports = ["/etc/containerd/config.d/*.toml"]\n'
    return {
        CONFIG: main(v, runc(v), head=head),
        "/etc/containerd/config.d/50-other.toml": f"version = {v}\n",
        DROP_IN: main(v, runc(v), handler(v)),
    }
