"""A fleet out of the shipped snapshots: each node one of them under a name, with GPUs and a few oddities of its own.

It stands for a fleet of equal machines of which some are broken in the same ways; it cannot show how real ones differ.
"""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "pytest_gpuready" / "snapshots"

#: Every so many-th node is of this kind; the others are ready.
_KINDS = {97: "h200", 23: "wrong-table", 11: "not-restarted"}


def names(number: int) -> list[str]:
    """The nodes' names."""
    width = max(3, len(str(number)))
    return [f"gpu{one:0{width}}" for one in range(1, number + 1)]


def snapshot(name: str, number: int) -> str:
    """The text of one node's snapshot."""
    kind = next((kind for every, kind in _KINDS.items() if number % every == 0), "ready")
    text = (SHIPPED / f"{kind}.json").read_text("utf-8")
    text = text.replace("gpu01", name).replace("GPU-00000000-0000", f"GPU-{number:08x}-0000")
    if number % 67 == 0:
        text = text.replace("580.159.04", "570.86.15")
    if number % 89 == 0:  # no login: nothing but that is known
        head, _, _ = text.partition(' "facts": [')
        reach = (
            '{"kind": "node", "arg": ["reach"], "state": "cut", "note": "ssh: connect to host %s: No route to host"}'
        )
        return f'{head} "facts": [{reach % name}]}}\n'
    return text


def write(folder: Path, number: int) -> str:
    """Write so many snapshots; the spec that names them all from within the folder."""
    for one, name in enumerate(names(number), 1):
        (folder / f"{name}.json").write_text(snapshot(name, one), "utf-8")
    first, last = names(number)[0][3:], names(number)[-1][3:]
    return f"snapshot://gpu[{first}-{last}].json"
