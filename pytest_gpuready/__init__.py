"""pytest-gpuready: can this node run NVIDIA GPU containers on containerd, and if not, which link is broken?"""

from __future__ import annotations

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """`__version__`, read from the installed distribution only when somebody asks."""
    if name == "__version__":
        from importlib.metadata import (  # noqa: PLC0415 - a plugin that is loaded but unused stays cheap
            PackageNotFoundError,
            version,
        )

        try:
            return version("pytest-gpuready")
        except PackageNotFoundError:
            return "(not installed)"  # run from a source tree
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
