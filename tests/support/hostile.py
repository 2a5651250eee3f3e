"""Facts of hostile nodes: inputs that once took judging minutes or gigabytes, at any size.

Every case takes the facts of a ready node and replaces some. `CASES` maps a name to a function of a size, and the size
at which it hurt.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from pytest_gpuready.node.facts import Fact, Facts, Request, file, files, glob
from pytest_gpuready.views.platform_probe import PROCESS_LIST
from tests.support import cdi, containerd, nodes

if TYPE_CHECKING:
    from collections.abc import Callable

_CONFIG = file(containerd.CONFIG)
_CONF_D = "/etc/containerd/conf.d"
_RUNTIMES = "plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes"
_CLASS = "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: r{0}\nhandler: r{0}\n---\n"


@dataclass(frozen=True)
class Case:
    """A hostile input.

    `make` gives the facts that hold it so many times, `size` is how many hurt, `why` is said of the node then: it is
    unknown for that; empty where it is judged.
    """

    make: Callable[[int], dict[Request, Fact]]
    size: int
    why: str = ""

    def facts(self, size: int | None = None) -> Facts:
        """A ready node's facts with this input among them."""
        changed = self.make(self.size if size is None else size)
        return Facts("gpu666", {**dict(_ready()), **changed}.items())


@lru_cache(maxsize=1)
def _ready() -> tuple[tuple[Request, Fact], ...]:
    return tuple(nodes.ready().facts())


def _named(name: str) -> Request:
    """The request of a script of ours by its name, as the ready node was asked."""
    return next(request for request, _ in _ready() if request.kind == "script" and request.arg[0] == name)


def _ok(text: str | bytes) -> Fact:
    return Fact("ok", text.encode() if isinstance(text, str) else text, 0)


def _config(text: str, *, version: int = 3) -> dict[Request, Fact]:
    """A main file: containerd's own, with this before its tables."""
    _, _, tables = containerd.config("2.1.9").partition("\n")
    return {_CONFIG: _ok(f"version = {version}\n{text}\n{tables}")}


def _after(text: str) -> dict[Request, Fact]:
    """A main file: containerd's own, with this behind it."""
    return {_CONFIG: _ok(containerd.config("2.1.9") + text)}


def _dropins(size: int, text: str = "") -> dict[Request, Fact]:
    paths = [f"{_CONF_D}/{number:06}.toml" for number in range(size)]
    facts = {
        file(path): _ok(text or f"version = 3\n[timeouts]\n't{number}' = '1s'\n") for number, path in enumerate(paths)
    }
    return {
        **_config(f"imports = ['{_CONF_D}/*.toml']"),
        files(f"{_CONF_D}/*.toml"): _ok("\0".join(paths)),
        files("/etc/containerd/*.d/*.toml"): _ok("\0".join(paths)),
        **facts,
    }


def _globbed(size: int) -> dict[Request, Fact]:
    found = _dropins(0)
    names = _ok("\0".join(f"{_CONF_D}/{number:06}.toml" for number in range(size)))
    return {request: names if request.kind == "files" else fact for request, fact in found.items()}


def _spec(body: str) -> dict[Request, Fact]:
    return {file(cdi.SPEC): _ok(body)}


def _specs(size: int) -> dict[Request, Fact]:
    """Many spec files beside each other."""
    paths = [f"/var/run/cdi/{number:05}-nvidia.yaml" for number in range(size)]
    listed = {files("/var/run/cdi/*.yaml"): _ok("\0".join(paths))}
    return {**listed, **{file(path): _ok(cdi.spec(2)) for path in paths}}


def _env(size: int) -> dict[Request, Fact]:
    text = cdi.spec(2).replace("  env:\n", "  env:\n" + "".join(f"    - A{n}=b\n" for n in range(size)), 1)
    return _spec(text)


def _anchors(size: int) -> dict[Request, Fact]:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, size)]
    return _spec("cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices: []\n" + "\n".join(lines))


def _gpus(size: int) -> dict[Request, Fact]:
    request = next(request for request, _ in _ready() if request.arg[0] == "nvidia-smi -q -x")
    text = dict(_ready())[request].data.decode()
    begin, end = text.index("<gpu "), text.rindex("</gpu>") + len("</gpu>")
    one = text[begin : text.index("</gpu>") + len("</gpu>")]
    return {request: _ok(text[:begin] + one * size + text[end:])}


def _processes(size: int) -> dict[Request, Fact]:
    block = (
        "pid {0}\ncomm containerd\nuid 0\nexe /usr/bin/containerd\npidns pid:[4026531836]\nmntns mnt:[4026531832]\n"
        "stat {0} (containerd) S " + " ".join(["0"] * 18) + " 100 0\narg /usr/bin/containerd\npath /usr/bin\n"
    )
    return {PROCESS_LIST: _ok("".join(block.format(1000 + number) for number in range(size)))}


def _imports(size: int) -> dict[Request, Fact]:
    """Files each of which imports all."""
    paths = [f"{_CONF_D}/{number:06}.toml" for number in range(size)]
    every = f"imports = {json.dumps(paths)}"
    return {**_config(every), **{file(path): _ok(f"version = 3\n{every}\n") for path in paths}}


def _proxies(size: int) -> dict[Request, Fact]:
    """As many proxy plugins as disabled plugins."""
    names = json.dumps([f"io.containerd.snapshotter.v1.p{n}" for n in range(size)])
    tables = "".join(f"[proxy_plugins.p{n}]\ntype = 'snapshot'\naddress = '/a'\n" for n in range(size))
    return _config(f"disabled_plugins = {names}\n{tables}")


_BYTES = "too large to be looked at"
_SETTINGS = "settings"

CASES: dict[str, Case] = {
    # Those of the review.
    "handlers": Case(
        lambda n: _after("".join(f"[{_RUNTIMES}.h{k}]\nruntime_type = 'io.containerd.runc.v2'\n" for k in range(n))),
        8_000,
        _BYTES,
    ),
    "tables": Case(lambda n: _after("".join(f"[a.b{k}]\n" for k in range(n))), 60_000, _BYTES),
    "disabled plugins": Case(
        lambda n: _config(f"disabled_plugins = {json.dumps([f'io.containerd.x.v{k}' for k in range(n)])}"),
        100_000,
        _BYTES,
    ),
    "escapes": Case(lambda n: _config('root = "' + "\\u0041" * n + '"'), 1_000_000, _BYTES),
    "arrays of tables": Case(lambda n: _after("[[a]]\n" * n), 200_000, _BYTES),
    "drop-ins": Case(_dropins, 1_001, "more than 1000 files"),
    "names in a glob": Case(_globbed, 900_000, "more than 10000 paths match"),
    # Further ones.
    "few drop-ins": Case(_dropins, 900),
    "short arrays of tables": Case(lambda n: _after("[[a]]\n" * n), 20_000, _SETTINGS),
    "nesting": Case(lambda n: _config(f"oom_score = {'[' * n}{']' * n}"), 100_000, "too deeply nested"),
    "a long string": Case(lambda n: _config(f"root = '{'x' * n}'"), 2_000_000, _BYTES),
    "imports of each other": Case(_imports, 400, _SETTINGS),
    "proxy plugins": Case(_proxies, 4_000, _SETTINGS),
    "keys": Case(lambda n: _after("".join(f"k{k} = 1\n" for k in range(n))), 40_000, _SETTINGS),
    "a CDI spec": Case(
        lambda n: _spec(cdi.spec(2, listed="".join(cdi.device(str(k), k % 2) for k in range(n)))), 4_000
    ),
    "CDI environment": Case(_env, 100_000, "longer than 1048576 bytes"),
    "CDI specs": Case(_specs, 3_000, "more than 2 MiB of CDI specs"),
    "YAML aliases": Case(_anchors, 60, "YAML aliases"),
    "GPUs": Case(_gpus, 10_000, "longer than 4194304 bytes"),
    "a kernel log": Case(
        lambda n: {_named("kernel log"): _ok("[1.0] NVRM: Xid (PCI:0000:06:00): 79, pid=1, GPU has fallen\n" * n)},
        100_000,
        "longer than 262144 bytes",
    ),
    "device links": Case(
        lambda n: {glob("/dev/char/195:*"): _ok("\0".join(f"/dev/char/195:{k}" for k in range(n)))}, 500_000
    ),
    "RuntimeClasses": Case(
        lambda n: {
            file("/var/lib/rancher/k3s/server/manifests/runtimes.yaml"): _ok(
                "".join(_CLASS.format(k) for k in range(n))
            )
        },
        5_000,
    ),
    "processes": Case(_processes, 20_000, "longer than 262144 bytes"),
}
