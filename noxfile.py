"""Run the first lane with each Python, with pytest 8.0 and the newest, with the oldest dependencies and the newest.

- ``nox``: all for which this machine has a Python;
- ``nox -s "tests-3.12(pytest='8.0', dependencies='oldest')"``: one of them;
- ``nox -k oldest -- tests/remedies tests/field``: only the tests that hold remedies and verdicts.
"""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "uv|virtualenv"
PROJECT = nox.project.load_toml("pyproject.toml")["project"]
PYTHONS = nox.project.python_versions({"project": PROJECT})


@nox.session(python=PYTHONS)
@nox.parametrize("dependencies", ["oldest", "newest"])
@nox.parametrize("pytest", ["8.0", "newest"])
def tests(session: nox.Session, pytest: str, dependencies: str) -> None:
    """Install the package with these releases and run the first lane, or the tests that are named."""
    declared = [one.partition(">=") for one in PROJECT["dependencies"]]
    wanted = [f"{name}=={bound}.*" for name, _, bound in declared if dependencies == "oldest" and name != "pytest"]
    if pytest != "newest":
        wanted.append(f"pytest=={pytest}.*")
    session.install("-e", ".[test]", *wanted)
    session.run("python", "-m", "pytest", *session.posargs)
