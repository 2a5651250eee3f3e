"""What a running containerd said of itself, typed: from :func:`.ask.ask_command`'s output, whichever program asked.

What is not said is None; nothing is guessed. Values that hold secrets (``registry.configs.*.auth`` on 1.x) stay in
``CriStatus.config`` as they came, so what records it redacts it first; nothing here depends on them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from pytest_gpuready.containerd_api.ask import SERVER_PATH, STATUS_PATH, VERSION_PATH
from pytest_gpuready.containerd_api.grpcwire import DecodeError, Message
from pytest_gpuready.containerd_api.runtime_options import generation_of, option
from pytest_gpuready.containerd_api.transcript import (
    UNIMPLEMENTED,
    Call,
    Socket,
    Transcript,
    Via,
    connect_problem,
    parse_transcript,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

State = Literal["answered", "absent", "denied", "not-a-socket", "stale", "timeout", "no-tool", "broken"]
"""``answered``: some call got a gRPC answer, a refusal included. ``stale``: nobody listens at the socket.
``timeout``: somebody does, and no call was answered in time. ``no-tool``: none of the programs that the command may use
is there (curl with HTTP/2, python3; crictl for a CRI status)."""

_CRICTL_REFUSAL: Final = re.compile(r"code = (\w+) desc = (.*)")
_SOCKET_STATES: Final[dict[Socket, State]] = {
    "absent": "absent",
    "denied": "denied",
    "other": "not-a-socket",
    "stale": "stale",
    "busy": "timeout",
}
_DETAIL: Final = 2000


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of CRI ``Status``: RuntimeReady, NetworkReady, ContainerdHasNoDeprecationWarnings (1.7 and newer)."""

    type: str
    status: bool
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class LiveHandler:
    """A runtime handler as the daemon loaded it.

    Attributes:
        name: the handler's name.
        runtime_type: such as ``io.containerd.runc.v2``.
        runtime_path: a shim's path, seldom set.
        binary_name: ``options.BinaryName`` as this release reads its spelling; empty when said to be empty.
        systemd_cgroup: ``options.SystemdCgroup``, likewise.
        options: all options as they stand.
        pod_annotations: globs that may pass; a null list is an empty one.
        container_annotations: likewise.
        features_known: whether the daemon could run the handler's binary when it started (2.x only: a handler listed
            without features could not be introspected; ctd v2.3.4:internal/cri/server/service.go:423).
    """

    name: str
    runtime_type: str | None = None
    runtime_path: str | None = None
    binary_name: str | None = None
    systemd_cgroup: bool | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    pod_annotations: tuple[str, ...] | None = None
    container_annotations: tuple[str, ...] | None = None
    features_known: bool | None = None


@dataclass(frozen=True, slots=True)
class CriStatus:
    """CRI ``Status`` of the running daemon.

    Attributes:
        served: whether the CRI service is there: False on grpc-status 12, "unknown service".
        refusal: the daemon's text when it refused; a served CRI refuses while it starts up, for instance.
        handlers: by name, from the loaded configuration, and those that only ``runtime_handlers`` names.
        default_runtime: ``containerd.defaultRuntimeName``.
        cdi_enabled: ``enableCDI``; 1.6 has no such key.
        cdi_spec_dirs: ``cdiSpecDirs``, likewise.
        conditions: in the daemon's order.
        config: ``info.config`` as a dict, None when it was not told or is no JSON object.
        via: the program that asked; it does not count when two are compared.
    """

    served: bool
    refusal: str = ""
    handlers: Mapping[str, LiveHandler] = field(default_factory=dict)
    default_runtime: str | None = None
    cdi_enabled: bool | None = None
    cdi_spec_dirs: tuple[str, ...] | None = None
    conditions: tuple[Condition, ...] = ()
    config: Mapping[str, Any] | None = None
    via: Via = field(default="none", compare=False)

    def condition(self, kind: str) -> Condition | None:
        """The condition of a type, such as ``RuntimeReady``; None when it was not told."""
        return next((condition for condition in self.conditions if condition.type == kind), None)


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The introspection service's ``Server``: ``pid`` and ``pidns`` since 1.6.25 and 1.7.0 (else None)."""

    uuid: str
    pid: int | None
    pidns: int | None
    deprecations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """The running daemon's version and revision, as it was built: ``1.6.20~ds1``, ``v1.7.34``, ``2.1.9+unknown``."""

    version: str
    revision: str


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """All that a containerd said. A part is None when it was not told; ``calls`` say why (not for crictl)."""

    state: State
    via: Via
    detail: str = ""
    cri: CriStatus | None = None
    server: ServerInfo | None = None
    version: VersionInfo | None = None
    calls: tuple[Call, ...] = ()

    def call(self, path: str) -> Call | None:
        """The call of a method, if it was put; ``grpc_status`` 12 says that this daemon does not offer it."""
        return next((call for call in self.calls if call.path == path), None)


def parse_answer(data: bytes) -> LiveAnswer:
    """Decode what a command of :mod:`.ask` printed. It raises nothing for bad input: that is the state ``broken``."""
    transcript = parse_transcript(data)
    if transcript.crictl is not None:
        return _from_crictl(*transcript.crictl)
    version = _version(transcript.call(VERSION_PATH))
    server = _server(transcript.call(SERVER_PATH))
    cri, problem = _cri(transcript.call(STATUS_PATH), version, transcript.via)
    state, detail = _state(transcript)
    return LiveAnswer(state, transcript.via, (problem or detail)[:_DETAIL], cri, server, version, transcript.calls)


def _state(transcript: Transcript) -> tuple[State, str]:
    outcomes = {call.outcome for call in transcript.calls}
    if outcomes & {"answered", "error"}:
        unread = [f"{call.path}: {call.detail}" for call in transcript.calls if call.detail]
        return "answered", "; ".join(unread)
    if transcript.socket in _SOCKET_STATES:
        return _SOCKET_STATES[transcript.socket], transcript.detail
    if transcript.via == "none" and not transcript.detail:
        return "no-tool", "neither curl with HTTP/2, python3 nor crictl is there"
    if "timeout" in outcomes:
        return "timeout", "no answer within the deadline"
    return "broken", next((call.detail for call in transcript.calls if call.detail), "") or transcript.detail


def _version(call: Call | None) -> VersionInfo | None:
    if call is None or call.message is None:
        return None
    try:
        message = Message.decode(call.message)
        return VersionInfo(message.text(1), message.text(2))
    except DecodeError:
        return None


def _server(call: Call | None) -> ServerInfo | None:
    if call is None or call.message is None:
        return None
    try:
        message = Message.decode(call.message)
        deprecations = tuple((warning.text(1), warning.text(2)) for warning in message.messages(4))
        return ServerInfo(message.text(1), message.integer(2) or None, message.integer(3) or None, deprecations)
    except DecodeError:
        return None


def _cri(call: Call | None, version: VersionInfo | None, via: Via) -> tuple[CriStatus | None, str]:
    """The status, or None and why it could not be determined."""
    if call is None or call.outcome in ("timeout", "broken"):
        return None, ""
    if call.outcome == "error":
        served = call.grpc_status != UNIMPLEMENTED
        if not served and version and re.match(r"v?1\.[0-5]\.", version.version):
            return None, f"containerd {version.version} speaks CRI v1alpha2 only, which is not asked"
        return CriStatus(served, call.grpc_message or f"grpc-status {call.grpc_status}", via=via), ""
    try:
        message = Message.decode(call.message or b"")
        conditions = tuple(
            Condition(entry.text(1), bool(entry.integer(2)), entry.text(3), entry.text(4))
            for status in message.messages(1)[-1:]
            for entry in status.messages(1)
        )
        features = {entry.text(1): 2 in entry.fields for entry in message.messages(3)}
        config = _json_object(message.string_map(2).get("config"))
    except DecodeError as error:
        return None, f"the CRI status cannot be read: {error}"
    return _status(conditions, config, features, version, via), ""


def _status(
    conditions: tuple[Condition, ...],
    config: dict[str, Any] | None,
    features: Mapping[str, bool],
    version: VersionInfo | None,
    via: Via,
) -> CriStatus:
    generation = generation_of(version.version if version else None, config, has_runtime_handlers=bool(features))
    containerd = _table(config, "containerd")
    handlers = {
        name: _handler(name, entry, generation, features.get(name))
        for name, entry in _table(containerd, "runtimes").items()
        if isinstance(entry, dict)
    }
    for name, known in features.items():
        # The entry without a name is the default handler once more.
        if name and name not in handlers:
            handlers[name] = LiveHandler(name, features_known=known)
    enabled = (config or {}).get("enableCDI")
    return CriStatus(
        served=True,
        handlers=handlers,
        default_runtime=_text(containerd, "defaultRuntimeName"),
        cdi_enabled=enabled if isinstance(enabled, bool) else None,
        cdi_spec_dirs=_texts(config or {}, "cdispecdirs"),
        conditions=conditions,
        config=config,
        via=via,
    )


def _handler(name: str, entry: dict[str, Any], generation: int | None, features_known: bool | None) -> LiveHandler:  # noqa: FBT001
    options = _table(entry, "options")
    binary_name = option(options, "BinaryName", generation)
    systemd_cgroup = option(options, "SystemdCgroup", generation)
    return LiveHandler(
        name,
        runtime_type=_text(entry, "runtimeType"),
        runtime_path=_text(entry, "runtimePath"),
        binary_name=binary_name if isinstance(binary_name, str) else None,
        systemd_cgroup=systemd_cgroup if isinstance(systemd_cgroup, bool) else None,
        options=options,
        pod_annotations=_texts(entry, "podannotations"),
        container_annotations=_texts(entry, "containerannotations"),
        features_known=features_known,
    )


def _from_crictl(output: bytes, code: int | None) -> LiveAnswer:
    """``crictl info``: one JSON object on lines of its own, or a log line that says why not."""
    text = output.decode("utf-8", "replace")
    info = None
    if code == 0 and (start := re.search(r"^\{", text, re.MULTILINE)):
        info = _json_object(text[start.start() : text.rfind("}") + 1])
    if info is None:
        return _crictl_failure(text.strip(), code)
    conditions = tuple(
        Condition(_text(entry, "type") or "", entry.get("status") is True, _text(entry, "reason") or "",
                  _text(entry, "message") or "")
        for entry in _list(_table(info, "status"), "conditions")
        if isinstance(entry, dict)
    )  # fmt: skip
    features = {
        _text(entry, "name") or "": isinstance(entry.get("features"), dict)
        for entry in _list(info, "runtimeHandlers")
        if isinstance(entry, dict)
    }
    config = info.get("config")
    status = _status(conditions, config if isinstance(config, dict) else None, features, None, "crictl")
    return LiveAnswer("answered", "crictl", cri=status)


def _crictl_failure(text: str, code: int | None) -> LiveAnswer:
    detail = text[-_DETAIL:] or f"crictl exit {code}"
    refusal = _CRICTL_REFUSAL.search(text)
    # crictl wraps what gRPC says of the connection in a code of its own, so these words come first.
    if not (refusal and refusal[1] == "Unimplemented"):
        if socket := connect_problem(text):
            return LiveAnswer(_SOCKET_STATES[socket], "crictl", detail)
        if re.search(r"deadline exceeded|DeadlineExceeded|timed? ?out", text):
            return LiveAnswer("timeout", "crictl", detail)
    if refusal is None:
        return LiveAnswer("broken", "crictl", detail)
    reason = refusal[2].strip().removesuffix('"').replace('\\"', '"')
    return LiveAnswer("answered", "crictl", detail, CriStatus(refusal[1] != "Unimplemented", reason, via="crictl"))


def _json_object(text: str | None) -> dict[str, Any] | None:
    """A JSON object; None for anything else. ``{`` a hundred thousand deep is a RecursionError of the decoder's."""
    try:
        value = json.loads(text or "", parse_constant=_no_json)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _table(table: Mapping[str, Any] | None, key: str) -> dict[str, Any]:
    value = (table or {}).get(key)
    return value if isinstance(value, dict) else {}


def _list(table: Mapping[str, Any], key: str) -> list[Any]:
    value = table.get(key)
    return value if isinstance(value, list) else []


def _text(table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    return value if isinstance(value, str) else None


def _texts(table: Mapping[str, Any], folded: str) -> tuple[str, ...] | None:
    """A list of strings under a key whose spelling differs by release (PodAnnotations, pod_annotations)."""
    for key, value in table.items():
        if key.lower().replace("_", "") != folded:
            continue
        if value is None:
            return ()
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            return tuple(value)
    return None
