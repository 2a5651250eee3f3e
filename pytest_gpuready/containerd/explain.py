"""The answer of `load.load` as JSON and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gpuready.containerd.model import Loaded, Where


def as_json(loaded: Loaded) -> dict[str, Any]:
    """The fields people compare; `handlers` and what follows are empty or null unless CRI is served."""
    error = loaded.error or loaded.cri_error
    handlers = {
        handler.name: {
            "runtime_type": handler.runtime_type,
            "binary_name": handler.binary_name,
            "systemd_cgroup": handler.systemd_cgroup,
            **({"options_error": handler.options_error} if handler.options_error else {}),
        }
        for handler in loaded.handlers.values()
    }
    out = {
        "loads": loaded.loads,
        "error": error.text.split("\n", 1)[0] if error else None,
        "cri_enabled": loaded.cri_enabled,
        "cri_state": loaded.cri_state,
        "handlers": handlers,
        "default_runtime": loaded.default_runtime,
        "cdi_enabled": loaded.cdi_enabled,
        "cdi_spec_dirs": list(loaded.cdi_spec_dirs) if loaded.cri_enabled else None,
    }
    if loaded.undecided:
        out = dict.fromkeys(KEYS)
    return {**out, "unknown": _unknown(loaded)}


KEYS = ("loads", "error", "cri_enabled", "cri_state", "handlers", "default_runtime", "cdi_enabled", "cdi_spec_dirs")
"""What people compare."""


def _unknown(loaded: Loaded) -> list[str]:
    """The keys that hang on what could not be decided, then all of it in words."""
    fields = {item.field for item in loaded.by_node}
    keys = KEYS if fields & {"everything", "loads"} else KEYS[1:] if fields else ()
    return list(dict.fromkeys([*keys, *loaded.unknown]))


def in_words(loaded: Loaded) -> list[str]:
    """Sentences: what is loaded, where each value comes from, and what has no effect."""
    return list(_words(loaded))


def _from(where: Where | None) -> str:
    return f"from {where}" if where else "built-in default"


def _words(loaded: Loaded) -> Iterator[str]:
    read = f"containerd {loaded.version}" + (f", read as {loaded.release}" if loaded.assumed else "")
    files = ", ".join(loaded.imports) or "no file, built-in defaults only"
    yield f"{read} reads: {files}"
    for error, what in ((loaded.error, "the daemon does not start"), (loaded.cri_error, "the CRI plugin fails")):
        if error:
            place = f" ({error.path}{f':{error.line}' if error.line else ''})" if error.path else ""
            yield f"{what}: {error.text}{place}"
    if loaded.cri_state == "not loaded":
        yield "the CRI plugin is disabled"
    if loaded.loads:
        yield f"socket {loaded.address}: {_from(loaded.address_where)}"
    if loaded.cri_enabled:
        yield f"default handler {loaded.default_runtime}: {_from(loaded.default_runtime_where)}"
        yield f"pause image {loaded.sandbox_image}: {_from(loaded.sandbox_image_where)}"
        cdi = "disabled: this release has none" if loaded.release == "1.6" else (
            f"{'enabled' if loaded.cdi_enabled else 'disabled'}: {_from(loaded.cdi_enabled_where)}")  # fmt: skip
        yield f"CDI {cdi}"
        if loaded.cdi_spec_dirs:
            yield f"CDI spec directories {', '.join(loaded.cdi_spec_dirs)}: {_from(loaded.cdi_spec_dirs_where)}"
    for handler in loaded.handlers.values():
        yield f"handler {handler.name}: {_from(handler.where)}"
        for name, value, where in (
            ("runtime_type", handler.runtime_type, handler.runtime_type_where),
            ("runtime_path", handler.runtime_path, handler.runtime_path_where),
            ("BinaryName", handler.binary_name, handler.binary_name_where),
            ("SystemdCgroup", handler.systemd_cgroup, handler.systemd_cgroup_where),
            ("Runtime", handler.runtime, handler.runtime_where),
        ):
            if value not in (None, ""):
                shown = str(value).lower() if isinstance(value, bool) else value
                yield f"handler {handler.name}, {name} {shown}: {_from(where)}"
        if handler.options_error:
            yield f"handler {handler.name}: its options cannot be decoded: {handler.options_error}"
    for ineffective in loaded.ineffective:
        yield f"no effect: {ineffective}"
    for deprecation in loaded.deprecations:
        yield f"deprecated: {deprecation.id}, {_from(deprecation.where)}"
    for name in loaded.unknown:
        yield f"unknown: {name}"
