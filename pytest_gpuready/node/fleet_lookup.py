"""What ClusterShell knows, as a program: the nodes of a group, the routes of topology.conf.

Started by its path with one JSON argument, {"group", "most"} or {}. Stands alone: nothing of the package is imported.
It is a process since groups can be commands of the site's own, which may hang: it is ended with them. What goes wrong
is one line on standard error, and status 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# Started by its path, this folder is where Python looks first: its modules are not the top-level ones of anybody.
sys.path[:] = [place for place in sys.path if place != str(Path(__file__).parent)]
from ClusterShell.NodeSet import NodeSet, std_group_resolver  # noqa: E402
from ClusterShell.Task import Task, _getshorthostname, task_self  # noqa: E402
from ClusterShell.Topology import TopologyParser  # noqa: E402


def group(name: str, most: int) -> dict[str, Any]:
    """Its nodes, and whether its source lists a group of that name, where the source can list them."""
    source, _, plain = name.removeprefix("@").rpartition(":")
    if source and source not in std_group_resolver().sources():
        raise ValueError(f"there is no group source {source!r}")
    nodes = NodeSet(name)
    if len(nodes) > most:
        raise ValueError(f"it names more than {most} nodes")
    try:
        known = plain in std_group_resolver().grouplist(source or None)
    except Exception:  # noqa: BLE001 - listing is a group source's to offer
        known = bool(nodes)
    return {"nodes": list(nodes), "known": known}


def routes() -> list[tuple[str, str]]:
    """The routes of topology.conf as clush finds it, groups in it resolved; none where there is none."""
    if not task_self().default("auto_tree"):
        return []
    path = next((path for path in reversed(Task.TOPOLOGY_CONFIGS) if Path(path).exists()), None)
    if path is None:
        return []
    parser = TopologyParser(path)
    parser.tree(_getshorthostname())
    # The groups are no matter of this machine's alone: a gateway is told nodes.
    return [(str(route.src), str(route.dst)) for route in parser.graph._routing]  # noqa: SLF001


def main() -> int:
    """As the module says."""
    asked = json.loads(sys.argv[1])
    try:
        found = group(asked["group"], asked["most"]) if asked else routes()
    except Exception as error:  # noqa: BLE001 - one sentence, whatever it is
        words = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write("a group that holds itself\n" if "recursion" in words else f"{words}\n")
        return 1
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
