"""The live suite against the bare commands typed by hand: ``python benchmarks/live.py [--hosts SPEC …] [--runs N]``.

Run it on, or against, a node on which routes are ready (ctr, and curl or python3 for pods). It takes the containers
that the suite would run there, types the same ones bare (the image is imported once before, as a user would have pulled
it; no guard, no sections, no checks), and prints medians and their ratio, one run after the other. Pods have no bare
command without crictl: their calls are put by the same program, one by one.
"""

from __future__ import annotations

import argparse
import dataclasses
import secrets
import shlex
import statistics
import sys
import time

from pytest_gpuready.judge import judge_views
from pytest_gpuready.live import cri, ctr, image, plan, script, shell
from pytest_gpuready.live.transcript import sections
from pytest_gpuready.model import Settings
from pytest_gpuready.node.facts import Fact, Facts, Request
from pytest_gpuready.node.facts import script as sh
from pytest_gpuready.node.gather import ask, gather
from pytest_gpuready.node.hosts import parse
from pytest_gpuready.node.transport import Options, Shell
from pytest_gpuready.views import Views


def asked(transport: Shell, request: Request) -> tuple[float, Fact]:
    """A request's time and answer."""
    facts = Facts("node")
    begun = time.monotonic()
    ask(transport, facts, request, request.timeout + 10)
    fact = facts.peek(request)
    assert fact is not None
    return time.monotonic() - begun, fact


def bare(planned: plan.Plan, key: str) -> tuple[str, str, str]:
    """Three scripts: what is there before (the image), the commands, and what takes all away again."""
    name, tag = f"gpuready-{key}", f"{image.REPOSITORY}:{key}"
    head = "\n".join(
        [
            "exec 8>&1",
            *(f"{variable}={shlex.quote(value)}" for variable, value in {
                "N": "0" * 24, "R": name, "K": key, "T": tag, "C": planned.ctr or "ctr", "A": planned.socket,
                "OWN": tag, "SHARED": "", "PODS": "yes",
            }.items()),
            shell.TOOLS, cri.prologue(key), shell.CLEAN, image.BUILD,
        ]
    )  # fmt: skip
    pause = shlex.quote(planned.pause or tag)
    before = (
        f'{head}\nB && M "$R" && M k8s.io\n'
        f'[ -n "$(c k8s.io images ls -q name=={pause})" ] || c k8s.io images tag "$T" {pause}\n'
        f"{cri.wait_for_image(tag)}"
    )
    lines = [head]
    for container in planned.containers:
        words = shlex.join(ctr.argv(container, planned.socket, name, tag, name, key))
        lines.append(f'"$C" {words} </dev/null || :')
    lines += [cri.run_pod(dataclasses.replace(pod, image=tag), name, key, planned.seconds) for pod in planned.pods]
    return before, "\n".join(lines), f"{head}\nclean"


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", default="local://")
    parser.add_argument("--ssh-config")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    node, how = parse(options.hosts), Options(ssh_config=options.ssh_config)
    whole, bared, passive = [], [], []
    settings = Settings(routes=("all",))
    for _ in range(options.runs):
        with Shell(node, how) as transport:
            begun = time.monotonic()
            facts = gather(transport, node.label, lambda known: Views(known, settings).wants(), 60)
            views = Views(facts, settings)
            planned = plan.make(views, judge_views(views))
            passive.append(time.monotonic() - begun)
            if planned.empty:
                print("no route is ready here:", planned.reasons)
                return 1
            seconds, fact = asked(transport, script.request(planned))
            whole.append(seconds)
            found = sections(fact.data) or {}
            key = secrets.token_hex(6)
            before, commands, after = bare(planned, key)
            asked(transport, sh("bare, before", before, timeout=120))
            seconds, fact = asked(transport, sh("bare commands", commands, timeout=300, limit=1024 * 1024))
            bared.append(seconds)
            asked(transport, sh("bare, after", after, timeout=120))
    parts = ", ".join(
        f"{name} {found[name].seconds:.2f}" for name in ("host", "image", "clean", "left") if name in found
    )
    print(f"{len(planned.containers)} containers of clients, {len(planned.pods)} pods; medians of {options.runs} runs")
    print(f"bare commands        {statistics.median(bared):6.2f} s")
    print(f"the suite's run      {statistics.median(whole):6.2f} s   (of it: {parts})")
    print(f"ratio                {statistics.median(whole) / statistics.median(bared):6.2f}")
    print(f"looking before that  {statistics.median(passive):6.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
