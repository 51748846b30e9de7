"""Where the tests find things."""

import os
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
# `make soak`: the long form of the robustness tests, whose figures go into docs/robustness.md.
SOAK = bool(os.environ.get("LUNGSEG_SOAK"))

Figures = dict[str, Any]
