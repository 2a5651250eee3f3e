"""How containerd reads the spelling of a runtime option, per generation, and which generation an answer is from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSION: Final = re.compile(r"v?([12])\.\d")


def generation_of(version: str | None, config: Mapping[str, Any] | None, *, has_runtime_handlers: bool) -> int | None:
    """1 or 2, from the daemon's version, else from the shape of ``info.config``; None if neither tells.

    1.x keeps the image settings there (``sandboxImage``), 2.x moved them away and lists ``runtime_handlers``.
    """
    if version and (found := _VERSION.match(version)):
        return int(found[1])
    if has_runtime_handlers:
        return 2
    return 1 if "sandboxImage" in (config or {}) else None


def option(options: Mapping[str, Any], name: str, generation: int | None) -> Any:
    """The value that containerd takes for the option ``name`` (``BinaryName``); None if it takes none.

    1.x tries the exact name, then all small, all capitals, and a small first letter (pelletier/go-toml 1.x
    marshal.go), the first of which counts. 2.x takes any case; of several the last in byte order counts, since the
    options are written out sorted and read back (go-toml 2.x). An unknown generation gets a value only if both agree.
    """
    if generation is None:
        old, new = option(options, name, 1), option(options, name, 2)
        return old if type(old) is type(new) and old == new else None
    if generation == 1:
        spellings = [name, name.lower(), name.upper(), name[0].lower() + name[1:]]
        return next((options[spelling] for spelling in spellings if spelling in options), None)
    matching = sorted(
        (key for key in options if key.lower() == name.lower()), key=lambda key: key.encode("utf-8", "surrogatepass")
    )
    return options[matching[-1]] if matching else None
