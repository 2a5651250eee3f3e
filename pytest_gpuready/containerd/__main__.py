"""``python -m pytest_gpuready.containerd``: what containerd would load from the files below a directory, as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from pytest_gpuready.containerd._toml import quote
from pytest_gpuready.containerd.explain import as_json, in_words
from pytest_gpuready.containerd.files import RootFiles
from pytest_gpuready.containerd.load import load
from pytest_gpuready.containerd.model import DEFAULT_CONFIG
from pytest_gpuready.containerd.releases import ALIASES

_MEASURED = {"1.6.20": "1.6.20~ds1", "2.1.9": "2.1.9+ds1"}
"""Versions that are read as Debian's packages, which have another go-toml than upstream's: ``v2.1.9`` is upstream's."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_gpuready.containerd", description=(
        "Say what containerd would load from a node's configuration files, or why it would not start. Prints one JSON "
        "object with an entry per version."))  # fmt: skip
    parser.add_argument("--root", required=True, metavar="DIR", help="holds the node's files at their absolute paths")
    parser.add_argument("--config", metavar="PATH", help=(
        f"the daemon's own --config; without it {DEFAULT_CONFIG}, which may be missing"))  # fmt: skip
    parser.add_argument("--version", required=True, action="append", metavar="V", help=(
        "containerd's version, such as 2.1.9; 1.6 is 1.6.20, 1.7 is 1.7.24, 2.0 is 2.0.11, 2.1 is 2.1.9, 2.2 is 2.2.7, "
        "2.3 is 2.3.4. 1.6, 1.6.20, 2.1 and 2.1.9 are read as Debian's builds, v1.6.20 and v2.1.9 as upstream's. "
        "May be given several times"))  # fmt: skip
    parser.add_argument("--explain", action="store_true", help="say in words where each value comes from")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command. 0: JSON was printed, also where a daemon would not start. 2: the arguments are no good."""
    options = _parser().parse_args(arguments)
    if not Path(options.root).is_dir():
        print(f"--root {options.root}: no such directory", file=sys.stderr)
        return 2
    files = RootFiles(options.root)
    out = {}
    for version in options.version:
        try:
            build = ALIASES.get(version, version)
            build = _MEASURED.get(build, build)
            loaded = load(files, build, options.config or DEFAULT_CONFIG, explicit=options.config is not None)
        except PermissionError as error:
            print(f"{quote(str(error.filename))}: {error.strerror}", file=sys.stderr)
            return 1
        entry = as_json(loaded)
        if options.explain:
            entry["explain"] = in_words(loaded)
        out[version] = entry
    try:
        print(json.dumps(out, indent=2), flush=True)
    except BrokenPipeError:
        # Whoever read has seen enough; keep the interpreter from complaining when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
