"""Pictures fill a contact sheet evenly."""

import numpy as np
import pytest

from lungseg.reporting.overlays import contact_sheet


@pytest.mark.parametrize(
    ("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (4, 2, 2), (5, 2, 3), (7, 3, 3)]
)
def test_no_row_is_wider_than_needed(count: int, rows: int, columns: int) -> None:
    sheet = contact_sheet([np.zeros((8, 8), np.uint8)] * count, ["a"] * count, columns=3, side=30)
    assert sheet.shape == (rows * (30 + 22), columns * 30, 3)
