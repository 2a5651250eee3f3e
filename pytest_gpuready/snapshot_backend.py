"""The side of a snapshot that testinfra sees: a host that can be named and asked nothing; our fixtures work on it."""

from __future__ import annotations

from typing import Any, NoReturn
from urllib.parse import unquote

import pytest
from testinfra.backend.base import BaseBackend  # type: ignore[import-untyped,unused-ignore]

from pytest_gpuready.collection import item_label


class SnapshotBackend(BaseBackend):  # type: ignore[misc,unused-ignore]
    """`snapshot://FILE` as a testinfra backend; a test that runs a command there is skipped with a sentence."""

    NAME = "snapshot"

    def __init__(self, hostname: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(unquote(hostname), *args, **kwargs)

    def get_pytest_id(self) -> str:
        """The id of a test's parameter: the spec."""
        return item_label(f"snapshot://{self.hostname}")

    def run(self, command: str, *args: str, **kwargs: Any) -> NoReturn:
        """There is nobody to run it."""
        del command, args, kwargs
        pytest.skip(
            f"snapshot://{self.hostname} is a recorded node: testinfra's `host` can run nothing there; "
            "the fixtures of pytest-gpuready can be used"
        )
