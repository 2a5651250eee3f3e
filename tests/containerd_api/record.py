"""Record what real daemons answer, so that machines without them check it, too.

As root: ``python -m tests.containerd_api.record``. It starts each containerd of this machine with its own folders, asks
it as the product does, and writes what came back. ``GPUREADY_CONTAINERD_BINARIES`` names further folders with one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from pytest_gpuready.containerd_api import ask
from tests.containerd_api.conftest import BINARIES, handlers, running
from tests.containerd_api.support import run

FOLDER = Path(__file__).with_name("recorded")


def main() -> None:
    """Write one file for each daemon and each program that can ask it."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        ways = {way: Path(folder, way) for way in ("curl", "python3")}
        for way, path in ways.items():
            path.mkdir()
            (path / way).symlink_to(f"/usr/bin/{way}")
        for binary in BINARIES:
            with running(binary, handlers(binary.cri)) as daemon:
                for way, path in ways.items():
                    name = f"{binary.version.partition('~')[0].partition('+')[0]}-{way}"
                    answer = run(ask.ask_command(daemon.socket), path).stdout
                    # The folder's name is random; another of the same length keeps the messages whole.
                    answer = answer.replace(Path(daemon.socket).parent.name.encode(), b"gpuready-recorded")
                    (FOLDER / name).write_bytes(answer)
                    print(f"{name}: {len(answer)} bytes")  # noqa: T201 - a command prints


if __name__ == "__main__":
    main()
