"""Mutants that are the same program, and why each is."""

from __future__ import annotations

import re

#: What a mutant's words match, and why nothing can notice it.
EQUIVALENT: tuple[tuple[str, str], ...] = (
    (
        r"remedies/toolkit\.py:\d+ ToolkitRemedies\._without: and: change\.new is not None dropped",
        "a file in which a line is commented out is still there: only changes that remove one have none",
    ),
    (
        r"packages\.py:\d+ PackageRemedies\._manager: or: '' dropped",
        "every table lacks both None and the empty name; only its type wants a name",
    ),
    (
        r"containerd\.py:\d+ running: or: live\.for_clients is None dropped",
        "where a daemon is judged, clients have one too: only its type says that there may be none",
    ),
    (
        r"remedies/toolkit\.py:\d+ ToolkitRemedies\.setting: or: problem\.mend is None dropped",
        "`= None` is no TOML, so `_sets` refuses it; only its type says that there may be no value",
    ),
    (
        r"judge\.py:\d+ Judge\._closure: if check_id not in seen → if True",
        "needs form no cycle (`ordered` refuses one): what is looked at twice is found twice",
    ),
    (
        r"containerd_files\.py:\d+ config_loads: (and: error is not None dropped|… if error is not None → if True)",
        "what does not load, and is not undecided, always has its error; only its type says that there may be none",
    ),
    (
        r"containerd_files\.py:\d+ cri_enabled: (and: error is not None dropped|… if error is not None → if True)",
        "a plugin that fails has its error; where the daemon itself does not start, config-loads blocks this check",
    ),
    (
        r"remedies/(containerd_files|containerd_handlers|repairs)\.py:\d+ \S+: or: (b''|0) dropped",
        "what is edited is there, and no line is number 0: only types say that there may be none",
    ),
    (
        r"repairs\.py:\d+ _translated: and: changed\.new is not None dropped",
        "a file in which a value is set is still there: only changes that remove one have none",
    ),
    (
        r"containerd_handlers\.py:\d+ (_at: or: place\.line is None|\S+binary: and: view\.path is not None) dropped",
        "the loader's places have lines, and a program without the right mode has a path: only types say otherwise",
    ),
    (
        r"containerd_handlers\.py:\d+ HandlerRemedies\.(_decodable|_settings|_defaults): if .* → if True",
        "a line that stands, or is changed, anywhere else is not what is missing, and is not proven: it spares trials",
    ),
    (
        r"containerd_handlers\.py:\d+ HandlerRemedies\._imports: for … if item\.reason\.startswith.* → all",
        "a file of which only a setting has no effect is read already: its folder's import is not proven",
    ),
    (
        r"containerd_files\.py:\d+ FileRemedies\._cri_repairs: and: item\.by dropped",
        "a table that another replaces has the other's place",
    ),
    (
        r"containerd_handlers\.py:\d+ _there: if found is None → if False",
        "who asks needs containerd.handler, which found it, and without its default handler CRI fails",
    ),
    (
        r"containerd_service\.py:\d+ ServiceRemedies\._manager: or: '' dropped",
        "every table lacks both None and the empty name; only its type wants a name",
    ),
    (
        r"checks/cdi\.py:\d+ _fault: or: VERSIONS\[-1\] dropped",
        "a spec is too new only to a reader whose newest version is known; only its type says that it may be none",
    ),
    (
        r"remedies/cdi\.py:\d+ CdiRemedies\._enablings: or: b'' dropped",
        "the file in which a setting stands is there; only its type says that it may be none",
    ),
    (
        r"need toolkit\.runtime-works: toolkit\.installed",
        "without a runtime that can be executed, the check itself names toolkit.installed as its cause",
    ),
    (
        r"need live\.(isolation|same-gpus): live\.image",
        "without an image no container runs, and a route's container that did not run is the root of both already",
    ),
    (
        r"checks/live\.py:\d+ _route_check: 'live\.image' dropped",
        "it runs when the module is imported, before any test; `need live.…: live.image` is the same change",
    ),
)


def reason(mutant: str) -> str | None:
    """Why this one is the same program, None if it is not known to be."""
    return next((why for pattern, why in EQUIVALENT if re.search(pattern, mutant)), None)
