"""Distances and volumes of masks are in the millimetres of their own axes."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.schema import Config
from lungseg.evaluation.cases import CaseScore
from lungseg.evaluation.folders import score_case
from lungseg.evaluation.loading import Case, load_masks
from lungseg.imaging.pixels import write_png
from tests.support.volumes import image_of

SPACING = (3.0, 0.75, 0.5)  # z, y, x


def write(path: Path, labels: np.ndarray) -> Path:
    sitk.WriteImage(image_of(labels, SPACING[::-1]), str(path))
    return path


def score_of(truth: Path, prediction: Path) -> CaseScore:
    case = Case("case", truth, prediction)
    [row] = [
        row
        for row in score_case(case, load_masks(case, Config()), Config())
        if row.method == "model"
    ]
    return row


@pytest.mark.parametrize("axis", range(3))
def test_a_plate_moved_by_a_voxel_is_as_far_as_the_voxel_is_long(axis: int, tmp_path: Path) -> None:
    plate = np.zeros((9, 9, 9), np.uint8)
    np.moveaxis(plate, axis, 0)[4] = 1
    truth = write(tmp_path / "truth.nii.gz", plate)
    row = score_of(truth, write(tmp_path / "moved.mha", np.roll(plate, 1, axis)))
    assert (row.scores.hd95, row.scores.assd) == pytest.approx((SPACING[axis], SPACING[axis]))
    # Within 1 mm, and within 2 mm: nsd_1 and nsd_2.
    assert list(row.scores.nsd.values()) == ([0.0, 0.0] if axis == 0 else [1.0, 1.0])
    assert row.scores.distance_unit == "mm"


def test_volumes_differ_in_millilitres(tmp_path: Path) -> None:
    labels = np.zeros((4, 20, 20), np.uint8)
    labels[:2] = 1
    truth = write(tmp_path / "truth.mha", labels)
    labels[2] = 1
    row = score_of(truth, write(tmp_path / "more.mha", labels))
    # 400 voxels of 3 x 0.75 x 0.5 mm.
    assert row.scores.volume_difference == pytest.approx(0.45)
    assert row.scores.volume_unit == "mL"


@pytest.mark.parametrize("axis", [1, 2])
def test_a_volume_of_one_slice_is_scored_as_a_slice(axis: int, tmp_path: Path) -> None:
    line = np.zeros((1, 9, 9), np.uint8)
    np.moveaxis(line, axis, 0)[4] = 1
    truth = write(tmp_path / "truth.nii.gz", line)
    row = score_of(truth, write(tmp_path / "moved.nii.gz", np.roll(line, 1, axis)))
    assert row.scores.hd95 == pytest.approx(SPACING[axis])
    none = score_of(truth, write(tmp_path / "none.nii.gz", line * 0))
    # 9 pixels of 0.75 x 0.5 mm are missing.
    assert none.scores.volume_difference == pytest.approx(-9 * 0.375)
    assert none.scores.volume_unit == "mm2"
    # Of two masks, one empty, the distance is the diagonal.
    assert none.scores.hd95 == pytest.approx(9 * np.hypot(0.75, 0.5))


def test_the_pixel_size_comes_from_the_file_that_has_one(tmp_path: Path) -> None:
    square = np.zeros((1, 8, 8), np.uint8)
    square[0, 2:5, 2:5] = 1
    volume = write(tmp_path / "case.nii.gz", square)
    image = tmp_path / "case.png"
    write_png(image, square[0] * np.uint8(255))
    for truth, prediction in ((image, volume), (volume, image)):
        loaded = load_masks(Case("case", truth, prediction), Config())
        assert (loaded.pixel_size.spacing, loaded.problem) == ((0.75, 0.5), "")
    assert load_masks(Case("case", image, image), Config()).pixel_size.spacing is None
