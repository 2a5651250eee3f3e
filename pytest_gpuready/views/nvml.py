"""NVML, asked through nvidia-smi: one call, one shape on every node.

nvidia-smi is called in the second round, and only where the module is loaded and the device nodes are there: as root it
would load and make them. Where there is no nvidia-smi, python3 asks the library itself. On the local node NVIDIA's
bindings are asked too, in a process of their own; what they say otherwise is reported as a difference.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pytest_gpuready.model import NotApplicable, Undetermined
from pytest_gpuready.node.facts import run, script
from pytest_gpuready.node.trust import USE
from pytest_gpuready.views import View, nvml_child
from pytest_gpuready.views.driver import Driver
from pytest_gpuready.views.nvsmi import Garbled, Gpu, Log, MigDevice, bus_id, parse
from pytest_gpuready.views.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.node.facts import Fact, Request
    from pytest_gpuready.views import Views

#: Seconds that NVML may take. Without persistence it initialises every GPU first.
DEADLINE = 10

# Its output is held in a variable, so that a hung nvidia-smi holds none of our pipes. Serial numbers, processes and the
# long lists of clocks stay on the node. "-L" names the MIG devices, which the XML does not.
_SMI = (
    f"""{USE}"""
    r"""
tx "$1" ${2:+"$2"}
[ -z "$2" ] || { LD_LIBRARY_PATH=$2${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}; export LD_LIBRARY_PATH; }
o=$("$1" -q -x 2>&1); r=$?
printf '%s\n' "$o" | sed -e '/<supported_clocks>[[:space:]]*$/,/<\/supported_clocks>/d' \
  -e '/<processes>[[:space:]]*$/,/<\/processes>/d' \
  -e '/<accounted_processes>[[:space:]]*$/,/<\/accounted_processes>/d' \
  -e 's#\(<[a-z_]*serial[a-z_]*>\)[^<]*#\1#'
case $o in *"<mig_device>"*) "$1" -L 2>&1 ;; esac
exit $r
"""
)
_NAME = "nvidia-smi -q -x"
_CHILD = Path(nvml_child.__file__)
_BY_PYTHON = "NVML by python3"
_BY_BINDINGS = "NVML by pynvml"
_FABRIC_STATES = {0: None, 1: "Not Started", 2: "In Progress", 3: "Completed"}


def smi_request(program: str, folder: str) -> Request:
    """`nvidia-smi -q -x`; `folder` holds libnvidia-ml.so.1 where the loader does not find it, else "" is given."""
    return script(_NAME, _SMI, program, folder, timeout=DEADLINE, limit=4_194_304)


def library_request(library: str) -> Request:
    """NVML by python3 and ctypes, for a node without nvidia-smi."""
    body = f'{USE}tx "$1"\nexec python3 -I -S -c {shlex.quote(_CHILD.read_text("utf-8"))} "$1"'
    return script(_BY_PYTHON, body, library, timeout=DEADLINE)


def bindings_request(pynvml: str = "") -> Request:
    """NVML by this Python and the module pynvml at that path; the paths are no part of the recorded question."""
    line = shlex.join([sys.executable, "-I", "-S", str(_CHILD), pynvml])
    return script(_BY_BINDINGS, f"exec {line}", timeout=DEADLINE)


FABRIC_MANAGER = run("nv-fabricmanager", "--version")


class NvmlError(Garbled):
    """NVML itself said why it does not answer."""


@dataclass(frozen=True)
class Reading:
    """What came of asking NVML.

    `kind`: `answer` (there is a log), `none` (it says that there is no GPU), `failed` (NVML or the program failed,
    `text` says how, `rc` is its exit status), `hang` (no answer within the deadline), `empty` (exit status 0 and
    nothing printed), `garbled` (something else was printed).
    """

    kind: Literal["answer", "none", "failed", "hang", "empty", "garbled"]
    source: str
    rc: int | None = None
    text: str = ""
    log: Log | None = None


class Nvml(View):
    """The GPUs as NVML knows them."""

    @classmethod
    def requests(cls, views: Views) -> Iterator[Request]:
        """See `View.requests`."""
        if views.get(Platform).program("nv-fabricmanager"):
            yield FABRIC_MANAGER
        if views.get(Driver).nvml_blocker is None:
            request = views.get(cls).request
            if request is not None:
                yield request
            library = views.get(Driver).nvml_library
            spec = importlib.util.find_spec("pynvml") if views.facts.node == "local" and library is not None else None
            if spec is not None and spec.origin:
                yield bindings_request(spec.origin)

    @functools.cached_property
    def program(self) -> str | None:
        """nvidia-smi: as typed, else wherever it lies."""
        return self.views.get(Platform).anywhere("nvidia-smi")

    @functools.cached_property
    def request(self) -> Request | None:
        """How NVML is asked on this node; None where neither nvidia-smi nor python3 with the library is there."""
        library = self.views.get(Driver).nvml_library
        if self.program is not None:
            beside = library is not None and library.kind not in ("cache", "folder")
            return smi_request(self.program, library.path.rpartition("/")[0] if library is not None and beside else "")
        if library is not None and self.views.get(Platform).program("python3"):
            return library_request(library.path)
        return None

    @functools.cached_property
    def reading(self) -> Reading:
        """What came of asking; `Undetermined` where NVML was not asked (and why), `NotApplicable` on Tegra."""
        driver = self.views.get(Driver)
        if driver.is_tegra:
            raise NotApplicable("Tegra: containers get the GPU by csv files; NVML is not what they need")
        blocker = driver.nvml_blocker
        if blocker is not None:
            raise Undetermined(f"NVML was not asked: {blocker}")
        if self.request is None:
            raise Undetermined(
                "nvidia-smi is not on the node (and no python3 with libnvidia-ml.so.1), so NVML could not be asked",
                "no-tool",
            )
        fact = self.facts.peek(self.request)
        # Answering in time is the condition itself here, so a time-out of its own is an answer.
        if fact is not None and fact.state == "timeout" and fact.rc in (124, 137):
            return Reading("hang", self.source, fact.rc, fact.text)
        return self._read(self.facts.fact(self.request))

    @property
    def source(self) -> str:
        """Which program answered: `nvidia-smi -q -x` with its path, or NVML by python3."""
        return f"{self.program} -q -x" if self.program else _BY_PYTHON

    def _read(self, fact: Fact) -> Reading:
        text, rc = fact.text, fact.rc
        if fact.state == "absent" or rc in (126, 127):
            return Reading("failed", self.source, rc, text.strip() or fact.note or "it cannot be started")
        if fact.state != "ok":
            raise Undetermined(f"{self.source}: {fact.note or fact.state}")
        if not self.program:
            return self._read_child(text, rc)
        try:
            log = parse(text)
        except Garbled as error:
            return self._unread(text.strip(), rc, str(error))
        if not log.gpus:
            # Failing and listing none are different: "No devices were found" exits with 6, older ones with 0.
            return Reading("failed" if rc not in (0, 6) else "none", self.source, rc, "\n".join(log.remarks), log)
        return Reading("answer", self.source, rc, "\n".join(log.remarks), log)

    def _read_child(self, text: str, rc: int | None) -> Reading:
        try:
            log = _from_child(text)
        except NvmlError as error:
            return Reading("failed", self.source, rc, str(error))
        except Garbled as error:
            raise Undetermined(f"{self.source}: {error}") from error
        return Reading("answer" if log.gpus else "none", self.source, rc, "", log)

    def _unread(self, text: str, rc: int | None, why: str) -> Reading:
        if "no devices were found" in text.lower():
            return Reading("none", self.source, rc, text)
        if rc != 0:
            return Reading("failed", self.source, rc, text or "it printed nothing")
        return (
            Reading("empty", self.source, rc)
            if not text
            else Reading("garbled", self.source, rc, f"{why}: {text[:400]}")
        )

    @property
    def log(self) -> Log:
        """What NVML said; `Undetermined` where it did not answer."""
        reading = self.reading
        if reading.kind == "none":
            return reading.log or Log(None, None, ())
        if reading.log is None or reading.kind != "answer":
            raise Undetermined(f"NVML did not answer: {reading.kind} {reading.text}".strip())
        return reading.log

    @property
    def devices(self) -> list[Gpu]:
        """The GPUs in NVML's order."""
        return list(self.log.gpus)

    @property
    def driver_version(self) -> str | None:
        """The driver's version as NVML says it."""
        return self.log.driver_version

    @property
    def cuda_version(self) -> str | None:
        """The newest CUDA that the driver runs, e.g. `13.0`."""
        return self.log.cuda_version

    @property
    def fabric_manager_version(self) -> str | None:
        """The version of nv-fabricmanager; None where it is not installed or does not say."""
        fact = self.facts.peek(FABRIC_MANAGER)
        match = re.search(r"\d+\.\d+(?:\.\d+)?", fact.text) if fact is not None and fact.state == "ok" else None
        return match[0] if match else None

    @functools.cached_property
    def bindings(self) -> Log | None:
        """What NVIDIA's Python bindings said on the local node; None where they were not asked or could not answer."""
        fact = self.facts.peek(bindings_request())
        if fact is None or fact.state != "ok" or fact.rc != 0:
            return None
        try:
            return _from_child(fact.text)
        except Garbled:
            return None

    def differences(self) -> list[str]:
        """Where the bindings say otherwise than nvidia-smi; empty where they agree or were not asked."""
        other = self.bindings
        if other is None or not other.gpus:
            return []
        mine = self.log
        pairs: list[tuple[str, object, object]] = [
            ("driver version", mine.driver_version, other.driver_version),
            ("number of GPUs", len(mine.gpus), len(other.gpus)),
        ]
        for one, two in zip(mine.gpus, other.gpus, strict=False):
            names = ("uuid", "name", "bus_id", "memory_total", "minor", "mig_mode", "persistence")
            pairs += [(f"GPU {one.index}'s {name}", getattr(one, name), getattr(two, name)) for name in names]
        return [f"{what}: nvidia-smi {a}, NVML {b}" for what, a, b in pairs if None not in (a, b) and a != b]


def _from_child(text: str) -> Log:
    """The answer of `nvml_child`; `NvmlError` if NVML failed, `Garbled` if it is none."""
    try:
        said = json.loads(text)
        if "error" in said:
            raise NvmlError(f"{said['error']} (NVML error {said.get('code')})")
        cuda = said.get("cuda")
        return Log(
            driver_version=_text(said.get("driver")),
            cuda_version=f"{cuda // 1000}.{cuda % 1000 // 10}" if isinstance(cuda, int) else None,
            gpus=tuple(_child_gpu(gpu) for gpu in said["gpus"]),
        )
    except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError) as error:
        raise Garbled(f"its answer cannot be read: {error}") from error


def _child_gpu(said: dict[str, Any]) -> Gpu:
    mig, remapped, fabric = said.get("mig"), said.get("remapped"), said.get("fabric")
    modes = {0: "Disabled", 1: "Enabled"}
    capability = said.get("capability")
    memory = said.get("memory")
    return Gpu(
        index=int(said["index"]),
        name=_text(said.get("name")),
        uuid=_text(said.get("uuid")),
        bus_id=bus_id(_text(said.get("bus_id"))),
        memory_total=memory // 1048576 if isinstance(memory, int) else None,
        minor=said.get("minor") if isinstance(said.get("minor"), int) else None,
        compute_capability=(int(capability[0]), int(capability[1])) if capability else None,
        persistence=None if said.get("persistence") is None else bool(said["persistence"]),
        mig_mode=modes.get(mig[0]) if mig else None,
        mig_pending=modes.get(mig[1]) if mig else None,
        mig_devices=tuple(
            MigDevice(int(one["index"]), uuid=_text(one.get("uuid"))) for one in said.get("mig_devices") or ()
        ),
        retirement_pending=None if said.get("retired") is None else bool(said["retired"]),
        remap_pending=bool(remapped[2]) if remapped else None,
        remap_failed=bool(remapped[3]) if remapped else None,
        fabric_state=_FABRIC_STATES.get(fabric[0]) if fabric else None,
        fabric_status=("Success" if fabric[1] == 0 else f"error {fabric[1]}") if fabric and fabric[0] else None,
        lost=said.get("code") == 15,
        reset_required=said.get("code") == 16,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
