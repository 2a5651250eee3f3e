"""The one script of a live run, and the request whose answer it is: the guard with its work.

The fact's key is the script's name alone, so that a recorded run is judged again by whatever this text has become.
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytest_gpuready.live import cri, ctr, image, probe, shell
from pytest_gpuready.node.facts import Request, script
from pytest_gpuready.node.trust import USE

if TYPE_CHECKING:
    from pytest_gpuready.live.plan import Plan

NAME: Final = "live containers"
"""The recorded fact's name."""

FIRST: Final = "gpuready-live 1"
"""How its answer begins, the nonce after it."""

LIMIT: Final = 2 * 1024 * 1024
"""Most of the answer that is kept, in bytes."""

REQUEST: Final = Request("script", (NAME,), limit=LIMIT)


def request(plan: Plan, *, key: str | None = None) -> Request:
    """The plan as a request. `key` is what the run's names end with: twelve random hex digits."""
    key = key or secrets.token_hex(6)
    return script(NAME, body(plan, key), timeout=plan.deadline + shell.STOPPING, limit=LIMIT)


def body(plan: Plan, key: str) -> str:
    """The text: it starts the guard in a session of its own and waits for it."""
    guard = guarded(plan, key)
    return (
        "command -v setsid >/dev/null 2>&1 || { echo 'the node has no setsid'; exit 3; }\n"
        f"setsid sh -c {shlex.quote(guard)} gpuready-{key} </dev/null &\n"
        "wait $!\n"
    )


def guarded(plan: Plan, key: str) -> str:
    """What the guard's shell is given."""
    name = f"gpuready-{key}"
    tag = f"{image.REPOSITORY}:{key}"
    values = {
        "N": secrets.token_hex(12),
        "R": name,
        "K": key,
        "T": tag,
        "C": plan.ctr or "ctr",
        "A": plan.socket,
        "S": str(plan.seconds),
        "L": str(plan.deadline),
        "OWN": tag if plan.builtin and plan.containers else "",
        "SHARED": "yes" if not plan.builtin and plan.containers else "",
        "PODS": "yes" if plan.pods else "",
    }
    assigned = "\n".join(f"{variable}={shlex.quote(value)}" for variable, value in values.items())
    parts = [
        "trap '' PIPE HUP INT",
        "exec 8>&1",
        assigned,
        f"printf '{FIRST} %s\\n' \"$N\"",
        f"PROBE={shlex.quote(probe.PROBE)}",
        USE,
        'tp "$C"; tx "${x:-$C}" "$A"',
        shell.TOOLS,
        cri.prologue(key) if plan.pods else "Y() { left=; }",
        # Built images are run in a namespace of the run's own: those folders are its own, too.
        _each(plan.folders if plan.builtin else ()),
        shell.CLEAN,
        image.BUILD,
        f"work() {{\n{_work(plan, name, tag, key)}\n}}",
        shell.GUARD,
    ]
    return "\n".join(parts)


def _each(folders: tuple[str, ...]) -> str:
    """Return the function that prints the run's own folders below these; a link is none."""
    words = " ".join(map(shlex.quote, folders))
    return f'folders() {{\n  for x in {words}; do [ ! -d "$x/$R" ] || [ -L "$x/$R" ] || echo "$x/$R"; done\n}}'


def _work(plan: Plan, name: str, tag: str, key: str) -> str:
    used = tag if plan.builtin else plan.image
    lines = [
        *(['J host "$S" sh -c "$PROBE"'] if plan.probe else ()),
        *(_IDLE if plan.idle_only else ()),
        *(_built(plan, tag) if plan.builtin else _pulled(plan)),
        shell.LIMITS,
    ]
    for container in plan.containers:
        namespace = name if plan.builtin else "default"
        words = shlex.join(ctr.argv(container, plan.socket, namespace, used, name, key))
        away = f"X {namespace} {name}-{container.section}"
        program = '"$C"' if container.client == "ctr" else "nerdctl"
        lines += [
            '[ -z "$stop" ] || return',
            f'J {container.section} "$S" {program} {words}',
            f'[ "$r" = 0 ] || {away}',
        ]
    for pod in plan.pods:
        lines += ['[ -z "$stop" ] || return', cri.run_pod(replace(pod, image=used), name, key, plan.seconds)]
    return "\n".join(lines)


#: Who uses a GPU: a line each. With one, or where it cannot be said, nothing is run.
_IDLE: Final = (
    "b idle",
    "idle=$(t 20 nvidia-smi --query-compute-apps=gpu_uuid,pid --format=csv,noheader 2>&1 </dev/null 7<&- 8>&-); r=$?",
    'printf "%s\\n" "$idle" >&8',
    "busy=$(t 20 nvidia-smi --query-gpu=uuid,utilization.gpu --format=csv,noheader 2>&1 </dev/null 7<&- 8>&-) || r=1",
    "busy=$(printf '%s\\n' \"$busy\" | grep -vE ', (0 %|\\[?N/A\\]?)$')",
    'printf "%s\\n" "$busy" >&8; e idle "$r"',
    '[ "$r$idle$busy" = 0 ] || return',
)


def _built(plan: Plan, tag: str) -> list[str]:
    """Build, import where it is needed, and name it so that nobody collects it."""
    spaces = [*(['"$R"'] if plan.containers else []), *(["k8s.io"] if plan.pods else [])]
    marks = f'{shell.LABEL}="$K" io.cri-containerd.pinned=pinned >/dev/null'
    lines = [
        "b image",
        "if B 2>&8; then r=0; else r=1; fi",
        *(f"[ $r != 0 ] || M {space} >&8 || r=2" for space in spaces),
        'rm -rf "$d"',
    ]
    if plan.pods:
        lines.append(f'c k8s.io images label "$T" {marks}')
        pause = shlex.quote(plan.pause or tag)
        lines += [
            f'if [ -z "$(c k8s.io images ls -q name=={pause})" ]; then',
            f'c k8s.io images tag "$T" {pause} >/dev/null && c k8s.io images label {pause} {marks}',
            "fi",
            cri.wait_for_image(tag),
        ]
    return [*lines, "e image $r", "[ $r = 0 ] || return"]


def _pulled(plan: Plan) -> list[str]:
    """Where the named image is: a line for each namespace that holds it."""
    quoted = shlex.quote(plan.image)
    return [
        "b image",
        f'for x in default k8s.io; do [ -z "$(c $x images ls -q name=={quoted})" ] || echo "$x" >&8; done',
        "e image 0",
    ]
