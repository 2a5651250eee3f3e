"""Every part of a root command is quoted where it is put in, or stands in the table below with what it is.

test_hostile_text.py proves it for what it reaches. This holds it for every line, new ones too.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pytest_gpuready
from pytest_gpuready import quoting

PACKAGE = Path(pytest_gpuready.__file__).parent
FUNCTIONS = {name for name in vars(quoting) if name.startswith("quote") or name in ("echo", "here_document")}
SUDO = ("sudo", "_sudo", "sudo_prefix")

#: Parts that are no text of a node: numbers and words of this program; or were quoted before.
NUMBERS = {
    *("driver.py: self.driver.frontend_major", "driver.py: minor", "driver.py: major", "driver.py: line"),
    *("driver.py: fault.mode", "driver.py: words", "gpus.py: names"),
}
OWN_WORDS = {
    *("cdi.py: options", "containerd_handlers.py: posixpath.dirname(K0S_DROP_IN)", "containerd_service.py: site"),
    *("containerd_service.py: _INSTALL[self._manager].format(sudo=self._sudo, package=package)", "driver.py: module"),
    *("driver.py: _INSTALL[self.manager]", "driver.py: word", "driver.py: _RAMDISK[program]", "gpus.py: command"),
    *("gpus.py: verb", "kubernetes.py: path", "packages.py: _INSTALL[manager].format('curl')"),
    *("toolkit.py: command", "toolkit.py: ' '.join(words)"),
}
QUOTED_BEFORE = {
    *("cdi.py: aside(path).command", "containerd_files.py: path", "containerd_files.py: folder", "live.py: address"),
    *("containerd_files.py: self._command(change)", "containerd_handlers.py: change.command", "live.py: space"),
    *("containerd_service.py: folder", "driver.py: tools", "driver.py: ' '.join(map(quote_package, packages))"),
    *("kubernetes.py: service", "packages.py: command", "packages.py: install", "toolkit.py: change.command"),
    *("packages.py: _INSTALL[manager].format(' '.join(map(quote_package, names)))", "toolkit.py: aside(path).command"),
    *("packages.py: _UPGRADE[manager].format(' '.join(map(quote_package, names)))",),
    *("packages.py: _REINSTALL[manager].format(' '.join(map(quote_package, names)))",),
    *("packages.py: _REINSTALL[manager].format(quote_package(name))",),
}


def last(expression: ast.expr) -> str:
    return ast.unparse(expression).rpartition(".")[2]


def parts(path: Path) -> set[str]:
    """What is put into commands that begin with sudo, but for constants and what is quoted on the spot."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        values = [part.value for part in getattr(node, "values", ()) if isinstance(part, ast.FormattedValue)]
        if not isinstance(node, ast.JoinedStr) or not any(last(value) in SUDO for value in values):
            continue
        for value in values:
            quoted = isinstance(value, ast.Call) and last(value.func) in FUNCTIONS
            if not (quoted or last(value) in SUDO or last(value).isupper()):
                found.add(f"{path.name}: {ast.unparse(value)}")
    return found


@pytest.mark.parametrize("room", ["remedies", "checks"])
def test_every_part_of_a_root_command_is_quoted_or_known(room: str) -> None:
    found = set().union(*(parts(path) for path in (PACKAGE / room).glob("*.py")))
    assert found - NUMBERS - OWN_WORDS - QUOTED_BEFORE == set()
    if room == "remedies":
        assert (NUMBERS | OWN_WORDS | QUOTED_BEFORE) - found == set(), "the table names what is no longer there"
