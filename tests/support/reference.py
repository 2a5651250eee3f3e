"""Reference data that may lie beside the repository: recorded outputs that it does not hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("GPUREADY_REFERENCE") or Path(__file__).parents[3] / "shared/data")
#: For a test that reads it; such a test is deselected where the folder is missing.
reference = pytest.mark.reference(DATA.is_dir())
