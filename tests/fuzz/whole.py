"""Whole nodes, of which a few facts say something else than they did: views, judge and reports must stand it."""

from __future__ import annotations

import contextlib
import functools
import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import jsonschema

from pytest_gpuready.judge import judge_views
from pytest_gpuready.model import Denied, NotApplicable, Settings, Undetermined
from pytest_gpuready.node.clean import clean
from pytest_gpuready.node.facts import SUDO, Fact, Facts
from pytest_gpuready.node.snapshot import read, shipped
from pytest_gpuready.report import json as as_json
from pytest_gpuready.report.inventory import inventory
from pytest_gpuready.report.model import NodeReport, Run
from pytest_gpuready.report.terminal import lines
from pytest_gpuready.routes import ROUTES
from pytest_gpuready.views import VIEWS, View, Views
from tests.fuzz.mutate import mutated
from tests.support import kubernetes, toolkit
from tests.support import nodes as whole_nodes
from tests.support.schema import SCHEMA
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.node.facts import Request, State

_STATES: tuple[State, ...] = ("ok", "absent", "denied", "timeout", "cut", "odd")
_VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@functools.cache
def nodes() -> dict[str, Facts]:
    """The facts of nodes that differ much: shipped ones, those of Kubernetes' distributions, bare ones."""
    made: dict[str, Callable[[], SimNode]] = {
        "bare": SimNode,
        "somebody": lambda: SimNode(uid=1000, systemd=False),
        "1.6": lambda: whole_nodes.ready("1.6.20"),
        "1.7": lambda: whole_nodes.ready("1.7.24"),
        "fedora": lambda: toolkit.fedora(SimNode()),
        **{
            distribution.__name__: functools.partial(lambda put: put(whole_nodes.ready()), distribution)
            for distribution in (
                kubernetes.kubeadm,
                kubernetes.k3s,
                kubernetes.rke2,
                kubernetes.k0s,
                kubernetes.microk8s,
            )
        },
    }
    return {name: read(name)[0] for name in shipped()} | {name: make().facts() for name, make in made.items()}


def _garbled(data: bytes) -> Views:
    """A node chosen by the bytes, with facts changed by them."""
    rest = random.Random(data)
    known = rest.choice(list(nodes().values()))
    facts = dict(known)
    requests = [request for request in facts if request.kind != "node"]
    for request in rest.sample(requests, min(len(requests), rest.choice((1, 1, 2, 4, 30)))) if data else ():
        facts[request] = _other(rest, request, facts)
    if rest.random() < 0.03:
        facts[SUDO] = Fact("denied", note=data.decode("utf-8", "replace")[:200])
    routes = rest.choice(((), (), ("all",), ("any",), tuple(ROUTES)[:1]))
    settings = Settings(
        routes=routes,
        handler=rest.choice((None, None, "nvidia", "x\x1b[2Jy")),
        socket=rest.choice((None, None, "/run/x.sock")),
        sudo=rest.random() < 0.2,
    )
    return Views(Facts(known.node, facts.items()), settings)


def _other(rest: random.Random, request: Request, facts: dict[Request, Fact]) -> Fact:
    fact = facts[request]
    kind = rest.randrange(10)
    if kind == 0:
        return Fact(rest.choice(_STATES), note=rest.choice(("", "words\x1b[1m", "x" * 5000)))
    if kind == 1:
        return replace(fact, state=rest.choice(_STATES))
    if kind == 2:
        return replace(fact, rc=rest.choice((None, 0, 1, 2, 3, 124, 126, 127, 137, 139, 255)))
    if kind == 3:
        return replace(rest.choice(list(facts.values())), rc=fact.rc)
    samples = [fact.data, *(one.data for other, one in facts.items() if other.kind == request.kind and one.data)][:40]
    return replace(fact, state="ok", data=mutated(rest, [fact.data, fact.data, rest.choice(samples)], ()))


def judged(data: bytes) -> None:
    """The whole way: what the views want next, each check, the inventory, and the reports."""
    views = _garbled(data)
    for request in views.wants():
        assert all(isinstance(word, str) for word in request.arg)
    report = judge_views(views)
    bugs = [
        found.outcome.found for found in report.findings.values() if "gpuready itself failed" in found.outcome.found
    ]
    assert bugs == []
    reported(replace(report, inventory=inventory(views)), len(data))


def validate(document: object) -> None:
    """The document fits the schema of JSON reports."""
    assert [error.message for error in _VALIDATOR.iter_errors(document)] == []


def reported(report: NodeReport, number: int) -> None:
    """JSON that fits the schema (slow to try: one in eight), and lines without anything that a terminal obeys."""
    run = Run((report,), "2026-11-22T09:00:00Z", 0.1, "fuzz")
    document = json.loads(as_json.dumps(run))
    assert document["nodes"][0]["verdict"] == report.verdict
    if number % 8 == 0:
        validate(document)
    for line in lines(run, width=(40, 72, 200)[number % 3], verbosity=number % 4 - 1):
        assert line.text == clean(line.text).replace("\n", ""), line


def asked(data: bytes) -> None:
    """Every public attribute of every view, as people's own tests would read it."""
    views = _garbled(data)
    for name in VIEWS:
        view = views.named(name)
        for attribute in words_of(type(view)):
            with contextlib.suppress(Undetermined, NotApplicable, Denied):
                repr(getattr(view, attribute))


def words_of(kind: type[View]) -> tuple[str, ...]:
    """The public properties of a view."""
    return tuple(
        name
        for name in dir(kind)
        if not name.startswith("_") and isinstance(getattr(kind, name), (property, functools.cached_property))
    )
