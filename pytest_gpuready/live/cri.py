"""Pods by CRI without crictl: each call is encoded here, sent on the node by curl or python3, and decoded here.

Messages are written by field number, from the CRI's api.proto (k8s.io/cri-api v0.31, pkg/apis/runtime/v1/api.proto);
these fields are the same in every release that containerd 1.6 to 2.3 serves. A message that holds a pod's or a
container's id is written before that id is known: ids are 64 hex digits (ctd v2.3.4:internal/cri/util/id.go), so their
place is left open and the node's sh fills it in.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pytest_gpuready.containerd_api.ask import CLIENT, SNIPPET
from pytest_gpuready.containerd_api.grpcwire import DecodeError, Message, encode, frame
from pytest_gpuready.containerd_api.transcript import parse_transcript
from pytest_gpuready.live.probe import PROBE
from pytest_gpuready.live.shell import LABEL, MEMORY, PIDS

if TYPE_CHECKING:
    from collections.abc import Sequence

_RUNTIME: Final = "/runtime.v1.RuntimeService/"
_IMAGES: Final = "/runtime.v1.ImageService/"

#: Stand for ids until the node fills them in; no message holds these bytes otherwise.
_POD: Final = "P" * 64
_CONTAINER: Final = "C" * 64
#: Stands for the attempt's number, one byte of a varint; the largest that fits in one.
_ATTEMPT: Final = 127

_HOST_NETWORK: Final = 2
_READY: Final = b""  # SANDBOX_READY is 0, and proto3 leaves out zeros

#: How often a pod is begun: a kubelet removes pods that it does not know, about every two seconds.
ATTEMPTS: Final = 3

#: The functions of pods. Q: one call as a section; i is the id in its answer. Y: all of this run's pods are stopped and
#: removed; $left is what was there. V: whether the pod $p is there and ready. E: the shims of this run's pods.
SHELL: Final = r"""
H='^@[0-9a-f]\{64\}$'
q() { sh -c "$SNIPPET" sh "$CLIENT" "$A" - "$1" "$2" "$3" 2>/dev/null </dev/null 7<&- 8>&-; }
Q() {
  b "$1"
  i=$(q "$2" "$3" "$4" | tee /proc/self/fd/8 | tr -c '0-9a-f@' '\n' | grep "$H" | tail -n 1)
  i=$(oct "${i#@}")
  e "$1" 0
}
oct() {
  s=$1 x=
  while [ -n "$s" ]; do
    h=${s#?}
    case ${s%"$h"} in
      0) x=$x\\060 ;; 1) x=$x\\061 ;; 2) x=$x\\062 ;; 3) x=$x\\063 ;; 4) x=$x\\064 ;; 5) x=$x\\065 ;; 6) x=$x\\066 ;;
      7) x=$x\\067 ;; 8) x=$x\\070 ;; 9) x=$x\\071 ;; a) x=$x\\141 ;; b) x=$x\\142 ;; c) x=$x\\143 ;; d) x=$x\\144 ;;
      e) x=$x\\145 ;; f) x=$x\\146 ;;
    esac
    s=$h
  done
  printf '%s\n' "$x"
}
W() {
  b "$1"
  w=$(q "$2" "$3" "$4" | tee /proc/self/fd/8 | grep -c gpuready-end)
  e "$1" 0
}
"""


@dataclass(frozen=True)
class Pod:
    """A pod of a route: how its container asks for the GPUs.

    `handler` is the runtime handler, "" for the default one. `env` and `mounts` (host path, container path) belong to
    the container that asks, `cdi` too; a second container in the pod asks for none. `slice`: the handler's runc makes
    its groups by systemd.
    """

    route: str
    handler: str
    image: str
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[tuple[str, str], ...] = ()
    cdi: tuple[str, ...] = ()
    slice: bool = False


def _map(pairs: Sequence[tuple[str, str]], number: int) -> list[tuple[int, bytes]]:
    return [(number, encode([(1, key), (2, value)])) for key, value in pairs]


def sandbox_config(pod: Pod, run: str, key: str) -> bytes:
    """PodSandboxConfig: on the host's network (no CNI), without a log folder, labelled."""
    network = encode([(1, _HOST_NETWORK)])
    # The daemon's own default, /k8s.io, would stay behind.
    parent = "system.slice" if pod.slice else f"/{run}"
    linux = encode([(1, parent), (2, encode([(1, network)]))])
    metadata = encode([(1, f"{run}-{pod.route}"), (2, f"{run}-{pod.route}"), (3, "gpuready"), (4, _ATTEMPT)])
    return encode([(1, metadata), *_map([(LABEL, key)], 6), (8, linux)])


def container_config(pod: Pod, name: str, key: str, *, asks: bool, unified: bool) -> bytes:
    """ContainerConfig: it sleeps, and is asked by ExecSync. `unified`: limits of a node with cgroup v2."""
    limits = encode(
        [(4, MEMORY), *(_map([("pids.max", str(PIDS))], 9) if unified else [])],
    )
    security = encode([(3, encode([(1, _HOST_NETWORK)]))])
    fields: list[tuple[int, int | str | bytes]] = [
        (1, encode([(1, name), (2, 0)])),
        (2, encode([(1, pod.image)])),
        (3, "sleep"),
        (3, "600"),
    ]
    if asks:
        fields += [(6, encode([(1, variable), (2, value)])) for variable, value in pod.env]
        fields += [(7, encode([(1, inside), (2, host), (3, 1)])) for host, inside in pod.mounts]
    fields += _map([(LABEL, key)], 9)
    if asks and pod.cdi:
        # Up to 1.7.1 only the annotation counts; a device that is named by both is given once (CDI's own rule).
        fields += _map([("cdi.k8s.io/gpuready", ",".join(pod.cdi))], 10)
    fields += [(15, encode([(1, limits), (2, security)]))]
    if asks:
        fields += [(17, encode([(1, device)])) for device in pod.cdi]
    return encode(fields)


def octal(message: bytes) -> str:
    """A message's frame as the words of one shell argument: octal escapes, and "$p", "$q", "$k" where those stand."""
    text = "".join(f"\\{byte:03o}" for byte in frame(message))
    pod, container = ("".join(f"\\{ord(char):03o}" for char in mark) for mark in (_POD, _CONTAINER))
    text = text.replace(pod, "'\"$p\"'").replace(container, "'\"$q\"'")
    return f"'{text}'"


def _attempts(message: bytes) -> str:
    """The same of a message with a pod's configuration, whose attempt is the shell's $k."""
    plain = octal(message)
    mark = f"\\040\\{_ATTEMPT:03o}"  # field 4, varint
    return plain.replace(mark, "\\040\\00'\"$k\"'", 1)


def _call(section: str, path: str, words: str, seconds: int, *, verb: str = "Q") -> str:
    return f"{verb} {section} {path} {words} {seconds}"


def prologue(key: str) -> str:
    """The functions, and those that list and remove this run's pods."""
    listing = octal(encode([(1, encode(_map([(LABEL, key)], 3)))]))
    ready = octal(encode([(1, encode([(1, _POD), (2, _READY), *_map([(LABEL, key)], 3)]))]))
    stop, remove = octal(encode([(1, _POD)])), octal(encode([(1, _POD)]))
    return f"""
SNIPPET={shlex.quote(SNIPPET)}
CLIENT={shlex.quote(CLIENT)}
{SHELL}
Y() {{
  left=$(q {_RUNTIME}ListPodSandbox {listing} 5 | tr -c '0-9a-f@' '\\n' | grep "$H" | tr -d @)
  for x in $left; do
    p=$(oct "$x")
    q {_RUNTIME}StopPodSandbox {stop} 20 >/dev/null
    q {_RUNTIME}RemovePodSandbox {remove} 20 >/dev/null
  done
}}
E() {{
  [ -s "/run/$R/pods" ] || return
  for x in $(grep -lsFf "/run/$R/pods" /proc/[0-9]*/cmdline); do
    case $(readlink "${{x%cmdline}}exe") in *containerd-shim-*) x=${{x#/proc/}}; echo "${{x%/cmdline}}" ;; esac
  done
}}
V() {{
  q {_RUNTIME}ListPodSandbox {ready} 5 | tr -c '0-9a-f@' '\\n' | grep "$H" >/dev/null
}}
"""


def wait_for_image(image: str) -> str:
    """The image store learns of an imported image from an event: wait until it has (five seconds at most)."""
    words = octal(encode([(1, encode([(1, image)]))]))
    return f"""
for k in 1 2 3 4 5 6 7 8 9 10; do
  ! q {_IMAGES}ImageStatus {words} 5 | tr -c '0-9a-f:' '\\n' | grep '^.*:[0-9a-f]\\{{64\\}}$' >/dev/null || break
  sleep 0.3 2>/dev/null || sleep 1
done
"""


def run_pod(pod: Pod, run: str, key: str, seconds: int) -> str:
    """The shell's lines that run a pod: its two containers, asked one after the other; begun again if it vanishes."""
    name = pod.route
    sandbox = sandbox_config(pod, run, key)
    handler: list[tuple[int, bytes | str | int]] = [(2, pod.handler)] if pod.handler else []
    start = _attempts(encode([(1, sandbox), *handler]))
    probe = octal(encode([(1, _CONTAINER), (2, "sh"), (2, "-c"), (2, PROBE), (3, seconds)]))
    started = octal(encode([(1, _CONTAINER)]))
    lines = [
        f"for k in {' '.join(str(number) for number in range(1, ATTEMPTS + 1))}; do",
        '[ -z "$stop" ] || break',
        "done=",
        _call(f"{name}/RunPodSandbox/$k", f"{_RUNTIME}RunPodSandbox", start, seconds),
        'p=$i; [ -n "$p" ] || break',
        'mkdir -p "/run/$R"; printf "$p\\n" >>"/run/$R/pods"',
    ]
    for suffix, asks in (("", True), (".none", False)):
        section = f"{name}{suffix}"
        bodies = [
            _attempts(
                encode(
                    [
                        (1, _POD),
                        (2, container_config(pod, f"c{suffix}", key, asks=asks, unified=unified)),
                        (3, sandbox),
                    ]
                )
            )
            for unified in (False, True)
        ]
        lines += [
            f"if [ -e /sys/fs/cgroup/cgroup.controllers ]; then m={bodies[1]}; else m={bodies[0]}; fi",
            f'Q {section}/CreateContainer/$k {_RUNTIME}CreateContainer "$m" {seconds}',
            "q=$i; w=0",
            'if [ -n "$q" ]; then',
            _call(f"{section}/StartContainer/$k", f"{_RUNTIME}StartContainer", started, seconds),
            _call(f"{section}/ExecSync/$k", f"{_RUNTIME}ExecSync", probe, seconds + 2, verb="W"),
            "fi",
        ]
        # Whoever removes a pod stops its containers first, and the pod a moment later.
        lines += [
            'if [ "$w" = 0 ]; then',
            "V && sleep 1 && V && break",
            f"b {name}/vanished/$k; e {name}/vanished/$k 0; continue",
            "fi",
        ]
    stop = octal(encode([(1, _POD)]))
    lines += [
        f"q {_RUNTIME}StopPodSandbox {stop} {seconds} >/dev/null",
        f"q {_RUNTIME}RemovePodSandbox {stop} {seconds} >/dev/null",
        "break",
        "done",
    ]
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True)
class Answer:
    """What a call came to: `ok` with its message, `refused` by the daemon with its text, or `lost` and why."""

    state: Literal["ok", "refused", "lost"]
    text: str = ""
    message: bytes = b""
    code: int | None = None


def read_answer(data: bytes) -> Answer:
    """The one call in a section."""
    transcript = parse_transcript(data)
    call = transcript.calls[0] if transcript.calls else None
    if call is None:
        why = transcript.detail or "neither curl with HTTP/2 nor python3 is there"
        return Answer("lost", why)
    if call.outcome == "answered":
        return Answer("ok", message=call.message or b"", code=0)
    if call.outcome == "error":
        return Answer("refused", call.grpc_message, code=call.grpc_status)
    return Answer("lost", call.detail or call.outcome)


@dataclass(frozen=True)
class Executed:
    """What ExecSync brought: both outputs together, and the exit code."""

    output: bytes
    code: int


def read_exec(message: bytes) -> Executed | None:
    """ExecSyncResponse: stdout 1, stderr 2, exit_code 3; None if it cannot be read."""
    try:
        said = Message.decode(message)
        output = b"".join((*said.blobs(1), *said.blobs(2)))
        code = said.integer(3)
    except DecodeError:
        return None
    return Executed(output, code - (1 << 64) if code >= 1 << 63 else code)
