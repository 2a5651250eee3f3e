"""What a containerd would load from these files, or why it would not start: `load`, and what it reads: `wanted`."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_gpuready.containerd.config import Refused, Undecided, Walk
from pytest_gpuready.containerd.daemon import Daemon, clean_path, dropin_patterns
from pytest_gpuready.containerd.files import NotLooked
from pytest_gpuready.containerd.migrate import PanicError
from pytest_gpuready.containerd.model import DEFAULT_CONFIG, Loaded, Refusal, Unknown
from pytest_gpuready.containerd.releases import ALIASES, Release, choose

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gpuready.containerd.files import Files

    #: A path and its bytes (None: not there), or a pattern and its matches.
    _Answer = tuple[str, bytes | tuple[str, ...] | None]

_NODE_FIELDS = ("loads", "cri_state", "handlers", "default_runtime", "cdi_enabled", "cdi_spec_dirs", "sandbox_image",
                "address")  # fmt: skip

#: Nodes of a fleet are configured alike, and one node's proposals are tried on few files: what was loaded from the
#: files that answered so is kept, the latest first, by version, path and whether that was named.
_known: dict[tuple[str | None, str, bool], tuple[tuple[list[_Answer], Loaded], ...]] = {}
_MOST_KEYS, _MOST_EACH = 32, 8
_MOST_BYTES = 65_536
"""Files of more bytes are not kept: few nodes have them, and what is loaded of them is large."""


def wanted(files: Files, version: str | None, config_path: str, explicit: bool) -> tuple[set[str], set[str]]:  # noqa: FBT001
    """The paths and glob patterns that `load` still needs and that are `NotLooked`, as far as can be known now.

    Ask for all of them in one round, and again until both sets are empty.

    Raises:
        PermissionError: a file that is needed may not be read.
    """
    paths: set[str] = set()
    patterns: set[str] = set()
    for release in _candidates(version):
        walker = Walk(files, release, ask=True)
        with contextlib.suppress(Refused, Undecided, PanicError):
            walker.run(clean_path(config_path), explicit=explicit)
        paths |= walker.out.missing
        patterns |= walker.out.missing_globs
        recorder = _Recorder(files)
        for pattern in dropin_patterns(config_path):
            recorder.glob(pattern)
        patterns |= recorder.missing_globs
        if not walker.out.missing and not walker.out.missing_globs:
            _load(recorder, release, config_path, explicit=explicit)
            paths |= recorder.missing
            patterns |= recorder.missing_globs
    return paths, patterns


class _Recorder:
    """Files whose unread ones are noted and taken as missing."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.missing: set[str] = set()
        self.missing_globs: set[str] = set()

    def read(self, path: str) -> bytes:
        try:
            return self.files.read(path)
        except NotLooked:
            self.missing.add(path)
            return b"{}"

    def glob(self, pattern: str) -> list[str]:
        try:
            return self.files.glob(pattern)
        except NotLooked:
            self.missing_globs.add(pattern)
            return []


class _Noting:
    """Files whose every answer is noted, in the order in which they were asked."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.answers: list[_Answer] = []
        #: Whether nothing but bytes, names and "not there" was the answer.
        self.plain = True

    @property
    def size(self) -> int:
        """How much was answered: bytes, and names in units of 64."""
        answers = (answer for _, answer in self.answers if answer is not None)
        return sum(len(answer) * (64 if isinstance(answer, tuple) else 1) for answer in answers)

    def read(self, path: str) -> bytes:
        self.plain, plain = False, self.plain
        data = _read(self.files, path)
        self.answers.append((path, data))
        self.plain = plain
        if data is None:
            return self.files.read(path)
        return data

    def glob(self, pattern: str) -> list[str]:
        self.plain, plain = False, self.plain
        found = self.files.glob(pattern)
        self.answers.append((pattern, tuple(found)))
        self.plain = plain
        return found


def _read(files: Files, path: str) -> bytes | None:
    try:
        return files.read(path)
    except FileNotFoundError:
        return None


def _same(answers: Iterable[_Answer], files: Files) -> bool:
    """Whether these files answer the same to all that was asked; no more is asked than the loader would ask."""
    try:
        return all(
            tuple(files.glob(what)) == answer if isinstance(answer, tuple) else _read(files, what) == answer
            for what, answer in answers
        )
    except Exception:  # noqa: BLE001 - whatever it is, loading them says so
        return False


def _candidates(version: str | None) -> list[Release]:
    release = choose(version)
    if not release.assumed:
        return [release]
    return [release, *(choose(other) for other in ALIASES)]


def load(files: Files, version: str | None, config_path: str = DEFAULT_CONFIG, *, explicit: bool = False) -> Loaded:
    """What containerd of `version` would load.

    `explicit` says that the daemon was started with ``-c config_path``: then the file must be there. With `version`
    None, or one that is not modelled, the newest model that fits is used, and `Loaded.unknown` names the fields in
    which the modelled releases differ for these files.

    Raises:
        PermissionError: a file that is needed may not be read.
        NotLooked: a file or pattern was not gathered.
    """
    key = (version, config_path, explicit)
    for answers, loaded in _known.get(key, ()):
        if _same(answers, files):
            return loaded
    noting = _Noting(files)
    loaded = _load_any(noting, version, config_path, explicit=explicit)
    if noting.plain and noting.size <= _MOST_BYTES:
        if len(_known) >= _MOST_KEYS:
            _known.clear()
        _known[key] = ((noting.answers, loaded), *_known.get(key, ()))[:_MOST_EACH]
    return loaded


def _load_any(files: Files, version: str | None, config_path: str, *, explicit: bool) -> Loaded:
    release = choose(version)
    loaded = _load(files, release, config_path, explicit=explicit)
    if not release.assumed:
        return loaded
    unknown = list(loaded.unknown)
    for alias in ALIASES.values():
        other = _load(files, choose(alias), config_path, explicit=explicit)
        unknown.extend(name for name in _NODE_FIELDS if _comparable(loaded, name) != _comparable(other, name))
    said = f"version {version} (read as {release.minor})" if version else f"version (taken as {loaded.version})"
    return replace(loaded, unknown=tuple(dict.fromkeys([said, *unknown])))


def _comparable(loaded: Loaded, name: str) -> Any:
    value = getattr(loaded, name)
    if name == "handlers":
        return {
            h.name: (h.runtime_type, h.binary_name, h.systemd_cgroup, h.runtime_path, bool(h.options_error))
            for h in value.values()
        }
    return value


def _load(files: Files, release: Release, config_path: str, *, explicit: bool) -> Loaded:
    walker = Walk(files, release)
    daemon = Daemon(files, release, walker.out)
    try:
        walker.run(clean_path(config_path), explicit=explicit)
        daemon.start()
    except Refused as error:
        daemon.error = error.refusal
    except PanicError as error:
        where = error.where
        daemon.error = Refusal(error.text, where.path if where else None, where.line if where else None)
    except Undecided as error:
        daemon.unknown.append(Unknown("everything", str(error)))
        daemon.error = None
    daemon.unimported(config_path)
    return daemon.loaded()
