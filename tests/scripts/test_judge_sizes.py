"""Slices shown smaller and larger, and the table of their scores."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.system.tables import write_json
from scripts.maintain import judge_sizes
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


class Threshold:
    """A network that finds what is dark but no air, and misses the right half."""

    def __init__(self, run: Path) -> None:
        """Need nothing of the run."""

    def segment(self, grey: np.ndarray) -> np.ndarray:
        found = ((grey > 0) & (grey < 100)).astype(np.uint8)
        found[:, grey.shape[1] // 2 :] = 0
        return found


def test_the_voxels_of_a_patient_are_counted_together_without_unlabelled_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge_sizes, "Segmenter", Threshold)
    write_json(tmp_path / "model.json", {"input": {"window": [-1000, 400]}})
    lung = np.zeros((2, 80, 80), np.uint8)
    lung[0, 30:50, 30:50] = 1  # half of it is found
    lung[0, 36:44, 10:20] = 1  # found as a whole, and beyond the border at 200%
    hu = np.where(lung > 0, -800, 40).astype(np.int16)
    lung[1] = 255  # not labelled, though its slice has lung
    hu[1, 30:50, 30:50] = -800
    for kind, values in (("images", hu), ("masks", lung)):
        (tmp_path / kind).mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / kind / "a.nii.gz"))
    found = judge_sizes.judge_sizes(tmp_path, tmp_path, {"a": "p"})
    assert found["1"]["p"] == pytest.approx(2 * 280 / (480 + 280), abs=1e-4)
    assert found["0.5"]["p"] == pytest.approx(2 * 280 / (480 + 280), abs=0.03)
    assert found["2"]["p"] == pytest.approx(2 * 200 / (400 + 200), abs=1e-4)
