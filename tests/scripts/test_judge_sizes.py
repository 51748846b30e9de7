"""Slices shown smaller and larger, and the table of their scores."""

import cv2
import numpy as np
import pytest

from scripts.maintain.judge_sizes import FACTORS, describe_sizes, resized, together


@pytest.mark.parametrize("factor", FACTORS)
def test_a_disc_in_the_middle_grows_by_the_factor(factor: float) -> None:
    rows, columns = np.indices((200, 160))
    disc = (np.hypot(rows - 99.5, columns - 79.5) < 30).astype(np.uint8)
    shown = resized(disc, factor, 0, cv2.INTER_NEAREST)
    assert shown.shape == disc.shape
    assert shown.sum() == pytest.approx(disc.sum() * factor**2, rel=0.03)
    # The part is whole pixels, so its middle may lie half a pixel off, which is enlarged, too.
    assert np.argwhere(shown).mean(axis=0) == pytest.approx((99.5, 79.5), abs=1.5)


def test_outside_is_air() -> None:
    shown = resized(np.full((10, 10), 40, np.int16), 0.5, -1000, cv2.INTER_AREA)
    assert (shown == 40).sum() == 25
    assert (shown == -1000).sum() == 75


def test_the_patients_of_folds_come_together_in_a_row_per_factor() -> None:
    folds = [{"0.5": {"a": 0.9}, "1": {"a": 0.99}}, {"0.5": {"b": 0.7, "c": 0.8}, "1": {"b": 0.98}}]
    assert describe_sizes(together(folds))[2:] == [
        "| 50% | 3 | 0.8000 | 0.7000 |",
        "| 100% | 2 | 0.9850 | 0.9800 |",
    ]
