"""testinfra's chroot backend for a spec's own path: `chroot:///srv/root`.

testinfra 10.2.2 takes a spec's place up to the first slash and so no path (backend/__init__.py, parse_hostspec); the
place is given to it quoted (see `asked.share_hosts`) and taken back here.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from testinfra.backend.chroot import ChrootBackend as TestinfraChroot  # type: ignore[import-untyped,unused-ignore]


class ChrootBackend(TestinfraChroot):  # type: ignore[misc,unused-ignore]
    """The same, its name unquoted."""

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(unquote(name), *args, **kwargs)
