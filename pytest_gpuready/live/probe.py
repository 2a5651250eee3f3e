"""What a container is asked, and what it said: the same questions inside and outside.

It opens device nodes, which is what a CUDA program does first; the error says who refused: EPERM and EACCES are the
container's device rules (or its user), anything else is the driver's own answer and the same outside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from pytest_gpuready.node.clean import clean, one_line

#: Asked of sh inside a container, and on the node. It makes nothing: `<>` would create what is not there. The
#: driver's programs are mounted where the node has them: in a folder of its PATH, or in one of these, which NVIDIA's
#: images name.
PROBE: Final = r"""
LC_ALL=C
PATH="$PATH:/usr/local/nvidia/bin:/usr/lib/wsl/lib:/run/opengl-driver/bin:/run/nvidia/driver/usr/bin"
export LC_ALL PATH
echo gpuready-probe
nvidia-smi -L 2>&1
echo "gpuready-smi $?"
o() {
  [ -e "$1" ] || { echo "gpuready-open $1 absent"; return; }
  if w=$( ( : <>"$1" ) 2>&1 ); then echo "gpuready-open $1 opened"; else echo "gpuready-open $1 ${w##*: }"; fi
}
for d in /dev/nvidiactl /dev/nvidia-uvm /dev/nvidia[0-9]* /dev/dxg; do o "$d"; done
echo gpuready-end
"""

UVM: Final = "/dev/nvidia-uvm"

_SMI = re.compile(r"^gpuready-smi (\d{1,3})$", re.MULTILINE)
_OPEN = re.compile(r"^gpuready-open (/dev/\S{1,80}) (.{1,200})$", re.MULTILINE)
_UUID = re.compile(r"\(UUID: ((?:GPU|MIG)-[0-9A-Za-z/-]{8,80})\)")
_REFUSED = ("Operation not permitted", "Permission denied")
_GPU_NODE = re.compile(r"/dev/nvidia\d+|/dev/dxg")


@dataclass(frozen=True)
class Seen:
    """What was seen where the probe ran.

    `smi` is nvidia-smi's exit status (127: it is not there), `listing` what it printed, `opens` the answer to opening
    each device node: `opened`, `absent`, or the system's words. `whole`: the probe came to its end.
    """

    whole: bool
    smi: int | None
    listing: str
    uuids: tuple[str, ...]
    opens: dict[str, str] = field(default_factory=dict)

    @property
    def gpu_nodes(self) -> tuple[str, ...]:
        """The GPUs' nodes that are there and that opening was not refused for."""
        return tuple(
            path
            for path, said in self.opens.items()
            if _GPU_NODE.fullmatch(path) and said != "absent" and said not in _REFUSED
        )

    @property
    def sees_gpus(self) -> bool:
        """Whether a program here could use a GPU."""
        return bool(self.uuids or self.gpu_nodes)

    def refused(self, path: str) -> bool:
        """Whether opening a node was refused by permission, as a container's device rules do."""
        return self.opens.get(path) in _REFUSED


def parse(data: bytes) -> Seen | None:
    """What the probe printed; None if it did not begin at all. Whatever stands before it is not the probe's."""
    text = clean(data.decode("utf-8", "replace"))
    _, began, said = text.partition("gpuready-probe\n")
    if not began:
        return None
    listing, _, _ = said.partition("gpuready-smi ")
    smi = _SMI.search(said)
    return Seen(
        whole=re.search(r"^gpuready-end$", said, re.MULTILINE) is not None,
        smi=int(smi[1]) if smi else None,
        listing=listing.strip(),
        uuids=tuple(dict.fromkeys(_UUID.findall(listing))),
        opens={path: one_line(words, 100) for path, words in _OPEN.findall(said)},
    )


def before(data: bytes) -> str:
    """What was printed that is not the probe's: a runtime's complaint."""
    text = clean(data.decode("utf-8", "replace"))
    head, _, rest = text.partition("gpuready-probe\n")
    _, _, after = rest.partition("gpuready-end\n")
    return "\n".join(part.strip() for part in (head, after) if part.strip())
