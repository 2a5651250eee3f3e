"""docs/what-is-read.md says all that is asked of nodes, and nothing that is not."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
from typing import TYPE_CHECKING

import pytest

import pytest_gpuready.views
from pytest_gpuready import docs_reads
from pytest_gpuready.docs_reads import ROWS, Row, first_round, page, scripts
from pytest_gpuready.live.script import REQUEST as LIVE
from pytest_gpuready.node.facts import Fact, Facts, Request, file
from pytest_gpuready.node.gather import MOST_ROUNDS
from pytest_gpuready.views import VIEWS, Views, settled
from pytest_gpuready.views.kubernetes import Kubernetes
from pytest_gpuready.views.platform import OLD_PROCESS_LIST
from tests.fuzz import whole
from tests.support import containerd, driver, kubernetes, toolkit
from tests.support import nodes as simulated
from tests.support.simnode import Proc, SimNode

if TYPE_CHECKING:
    from collections.abc import Iterable


def by_python() -> SimNode:
    """A driver without nvidia-smi, on this machine: NVML is asked by Python, and compared with the bindings."""
    node = simulated.ready().remove("/usr/bin/nvidia-smi").program("/usr/bin/python3")
    node.label = "local"
    return node


def odd() -> SimNode:
    """Much that is elsewhere: imports, CDI directories, the toolkit's paths, the kubelet's root, nerdctl."""
    text = containerd.config("2.1.9").replace(
        "version = 3\n", 'version = 3\nimports = ["/srv/*.toml", "/opt/one.toml"]\n'
    )
    node = simulated.ready().put("/etc/containerd/config.toml", text.replace("/usr/bin/nvidia", "/opt/bin/nvidia"))
    node.put("/opt/one.toml", 'version = 3\n[plugins."io.containerd.cri.v1.runtime"]\ncdi_spec_dirs = ["/opt/specs"]\n')
    node.put("/srv/two.toml", "version = 3\n").program("/opt/bin/nvidia-container-runtime")
    node.program("/usr/bin/nerdctl").program("/usr/bin/nv-fabricmanager").folder("/usr/local/nvidia/toolkit")
    node.answer(("containerd API", containerd.SOCKET), b"via=none\nsocket=ok\n")
    toolkit.config(node, 'path = "nvidia-ctk"', 'path = "/opt/nvidia/nvidia-ctk"')
    args = ["/usr/bin/kubelet", "--root-dir=/srv/kubelet", "--config=/srv/k.yaml", "--config-dir=/srv/k.d"]
    return node.process(Proc(801, "kubelet", args, "/usr/bin/kubelet"))


def apart() -> SimNode:
    """A containerd in a mount namespace of its own, whose environment names the toolkit's file; that names a root."""
    node = simulated.ready().put("/opt/nvidia.toml", '[nvidia-container-cli]\nroot = "/opt/driver"\n')
    node.procs[0].mntns, node.procs[0].toolkit_config = "mnt:[4026532999]", "/opt/nvidia.toml"
    return node


def stopped() -> SimNode:
    return containerd.stopped(simulated.ready())


@functools.cache
def known() -> dict[str, Facts]:
    more = {"by python": by_python(), "odd": odd(), "stopped": stopped(), "not restarted": simulated.not_restarted()}
    more["apart"] = apart()
    more["eight"] = driver.h100(SimNode(), 8)
    more["k3s"] = kubernetes.k3s(containerd.k3s(SimNode()))
    return whole.nodes() | {name: node.facts() for name, node in more.items()}


@functools.cache
def asked() -> dict[Request, set[str]]:
    """Every question to any of the nodes, and the views that ask it."""
    found: dict[Request, set[str]] = {}
    for facts in known().values():
        so_far = Facts(facts.node)
        for _ in range(MOST_ROUNDS):
            views = Views(so_far)
            new: dict[Request, Fact] = {}
            for name in VIEWS:
                for request in settled(views.named(name).requests(views)):
                    found.setdefault(request, set()).add(name)
                    new[request] = facts.peek(request) or Fact("absent")
            for request, fact in new.items():
                so_far.add(request, fact)
                for path in fact.data.decode("utf-8", "replace").split("\0") if request.kind == "files" else ():
                    so_far.add(file(path), facts.peek(file(path)) or Fact("absent"))
    return found


def rows(request: Request, view: str) -> list[Row]:
    return [row for row in ROWS if row.covers(request) and view in row.views]


def test_whatever_is_asked_of_any_node_is_on_the_page() -> None:
    missing = [(str(request), view) for request, views in asked().items() for view in views if not rows(request, view)]
    assert missing == []


def test_whatever_is_asked_of_every_node_is_said_so() -> None:
    """With its own words: no row for the places that only some nodes name."""
    views = Views(Facts("nobody"))
    for name in VIEWS:
        for request in settled(views.named(name).requests(views)):
            assert [row for row in rows(request, name) if not row.when], (str(request), name)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind} {row.what} {row.views[0]}")
def test_every_line_of_the_page_is_asked_somewhere(row: Row) -> None:
    """By each view that it names, and of every node exactly where it says so."""
    wide = row.what.startswith("*") and bool(row.when)
    mine = {
        (request, view)
        for request, views in asked().items()
        for view in views & {*row.views}
        if row.covers(request) and not (wide and _by_name(request, view))
    }
    assert {view for _, view in mine} == {*row.views}
    assert wide or bool({request for request, _ in mine} & set(first_round())) == (not row.when)


def _by_name(request: Request, view: str) -> bool:
    """Whether a row with words of its own has it: `containerd --version` is one of `* --version` too."""
    return any(not (row.what.startswith("*") and row.when) for row in rows(request, view))


def test_every_question_that_stands_in_the_views_is_on_the_page() -> None:
    """The requests that are constants of their modules, so that none is left out for want of a node that needs it."""
    modules = [module.name for module in pkgutil.iter_modules(pytest_gpuready.views.__path__)]
    values = [vars(importlib.import_module(f"pytest_gpuready.views.{name}")).values() for name in modules]
    there = {request for some in values for value in some for request in _requests(value)}
    # By --gpuready-live alone, and docs/live.md is about it; of old snapshots alone.
    there -= {LIVE, OLD_PROCESS_LIST}
    left = [
        str(request)
        for request in there
        if request.kind != "node" and request.arg[0] != "kubectl" and not any(row.covers(request) for row in ROWS)
    ]
    assert left == []


def _requests(value: object) -> Iterable[Request]:
    found = value if isinstance(value, tuple) else (value,)
    return [one for one in found if isinstance(one, Request)]


def test_every_script_stands_there_as_it_is_sent() -> None:
    text = page()
    named = {request.arg[0] for request in asked() if request.kind == "script" and "NVML by" not in request.arg[0]}
    assert named == {request.arg[0] for request in scripts()}
    for request in scripts():
        assert f"### {request.arg[0]}\n\n```sh\n{request.body.strip(chr(10))}\n```" in text


def test_what_kubectl_is_asked_is_said() -> None:
    assert "`kubectl get runtimeclasses` and `kubectl get nodes NAME`" in page()
    assert Kubernetes.api_requests(Views(known()["ready"])) == ()


def test_no_secret_of_the_example_stands_on_the_page() -> None:
    text = page()
    for secret in ("correct-horse", "Y2k6Y29y", "ghp_0123", "abcdef.0123"):
        assert secret in docs_reads._SECRETS
        assert secret not in text
    assert 'username = "ci"' in text


def test_scripts_write_nothing() -> None:
    """No redirection but to descriptors and /dev/null, and none of the programs that change something."""
    for request in scripts():
        body = re.sub(r"'[^']*'|\"[^\"\n]*\"", '""', request.body)
        assert set(re.findall(r"(?<![<0-9&=])[0-9]?>{1,2}\s*([^\s;|)&]+)", body)) <= {"/dev/null"}, request
        assert not re.search(
            r"(?:^|[;|&({]\s*)(?:rm|mv|cp|mkdir|touch|chmod|chown|modprobe|insmod|tee|ln|kill)\s", body
        )
