"""pytest-gpuready: can this node run NVIDIA GPU containers on containerd, and if not, which link is broken?"""

import os
import sys


def _leave_working_directory() -> None:
    """Take the working directory off sys.path, where `python -m pytest_gpuready…` put it: it may hold a `json.py`.

    This runs before anything but os and sys is imported, which Python has loaded by then; __future__ has to wait too.
    sys.argv[0] is "-m" while Python looks for the module.
    """
    if sys.argv[:1] != ["-m"] or sys.flags.isolated or getattr(sys.flags, "safe_path", False):
        return
    try:
        here = os.getcwd()  # noqa: PTH109 - pathlib has to wait
    except OSError:
        return  # Python has not added it either
    if sys.path[:1] == [here] != [os.path.dirname(os.path.dirname(__file__))]:  # noqa: PTH120 - likewise
        del sys.path[0]


_leave_working_directory()

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
