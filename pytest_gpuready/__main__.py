"""``python -m pytest_gpuready merge``: what can be done without pytest being run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_USAGE = """\
usage: python -m pytest_gpuready merge DIR|FILE …   one report of what many runs brought in (merge --help)
       pytest --gpuready …                          judge nodes
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if argv[:1] == ["merge"]:
        from pytest_gpuready.merge.command import main as merge  # noqa: PLC0415 - it imports the checks

        return merge(argv[1:])
    asked = argv[:1] in (["-h"], ["--help"])
    print(_USAGE, end="", file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 4


if __name__ == "__main__":
    sys.exit(main())
