"""``python -m tests.lab``: nodes for people. Run it from the root of the repository, as root.

up [1.6|1.7|2.x] [--bare | --broken | --kind KIND] [--like fedora]
                                       boot a node that stays, and say how to reach it
kinds                                  the kinds of healthy nodes: routes, generations, what each is
list                                   the nodes there are
down [NAME …]                          end nodes; all that stay if none is named
trees                                  make what nodes boot from, and say which containerd each generation has
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.lab import base, hardware, healthy, node


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 if it did what was asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="Real nodes on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="boot a node that stays")
    up.add_argument("generation", nargs="?", default="2.x", choices=list(base.GENERATIONS), help="of containerd")
    kind = up.add_mutually_exclusive_group()
    kind.add_argument("--bare", action="store_true", help="no driver on disk, no GPU, no toolkit")
    kind.add_argument(
        "--broken", action="store_true", help="healthy, but for the handler: containerd never got its drop-in"
    )
    kind.add_argument("--kind", choices=list(healthy.KINDS), help="of healthy nodes; see `kinds`", metavar="KIND")
    up.add_argument("--like", default="debian", choices=list(base.DISTRIBUTIONS), help="what its packages are like")
    commands.add_parser("kinds", help="the kinds of healthy nodes")
    commands.add_parser("list", help="the nodes there are")
    down = commands.add_parser("down", help="end nodes")
    down.add_argument("names", nargs="*", metavar="NAME", help="default: all that `up` left")
    commands.add_parser("trees", help="make what nodes boot from")
    options = parser.parse_args(argv)
    if reason := base.why_not():
        sys.stderr.write(f"{reason}\n")
        return 1
    try:
        if options.command == "up":
            _up(options)
        elif options.command == "kinds":
            _kinds()
        elif options.command == "down":
            return _down(options.names)
        elif options.command == "trees":
            return _trees()
        else:
            _list()
    except (base.Unavailable, node.BootError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _up(options: argparse.Namespace) -> None:
    kind = healthy.KINDS.get(options.kind or "")
    if kind is not None and options.generation not in kind.generations:
        raise base.Unavailable(f"{kind.name} is a kind of containerd {', '.join(kind.generations)}")
    like = kind.distribution if kind is not None and kind.distribution != "debian" else options.like
    one = node.Node(options.generation, ready=not options.bare, detached=True, distribution=like).start()
    if options.broken:
        hardware.break_handler(one)
    if kind is not None:
        kind.prepare(one)
    print(f"{one.name}  containerd {one.containerd_version}  {one.ssh_spec}")
    print(f"ssh -F {one.ssh_config} root@{one.address}")
    print(f"pytest --gpuready --hosts {one.ssh_spec} --ssh-config {one.ssh_config}")


def _kinds() -> None:
    for kind in healthy.KINDS.values():
        asked = " (asked for)" if kind.asked else ""
        print(
            f"{kind.name}  {', '.join(kind.routes)}{asked}  {', '.join(kind.generations)}\n    {healthy.describe(kind)}"
        )


def _list() -> None:
    node.reap()
    for folder in node.nodes():
        about = node.about(folder)
        kind = "stays" if about.get("detached") else "of a running test"
        print(
            f"{folder.name}  {about.get('address')}  containerd {about.get('containerd')}  {kind}  {folder}/ssh_config"
        )


def _down(names: list[str]) -> int:
    there = {folder.name: folder for folder in node.nodes()}
    chosen = names or [name for name, folder in there.items() if node.about(folder).get("detached")]
    for name in chosen:
        if name not in there:
            sys.stderr.write(f"no node is called {name}\n")
            return 1
        node.take_down(there[name])
    return 0


def _trees() -> int:
    missing = 0
    for generation in base.GENERATIONS:
        start = time.monotonic()
        try:
            found = base.tree(generation).containerd
        except base.Unavailable as error:
            found, missing = f"not to be had: {error}", missing + 1
        print(f"{generation}  {found}  ({time.monotonic() - start:.1f} s)")
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
