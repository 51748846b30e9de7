"""Contours of an RTSTRUCT as the truth: drawn on the grid of the prediction or of the CT."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom import dcmread

from lungseg.config.schema import Config
from lungseg.errors import DataError
from lungseg.evaluation.loading import Case, load_masks
from lungseg.verbs.evaluate import evaluate_folders
from tests.support.dicom_files import write_enhanced
from tests.support.rtstructs import outlines, write_rtstruct
from tests.support.volumes import image_of

SHAPE = (6, 48, 56)
CONFIG = Config()


def lung() -> NDArray[np.uint8]:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:5, 10:30, 8:28] = 1
    return mask


def volume(mask: NDArray[np.uint8], path: Path) -> sitk.Image:
    """Write a mask as NIfTI and return it."""
    image = image_of(mask, (0.8, 0.9, 2.5), (-20.0, 10.0, 5.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return image


def test_contours_are_drawn_in_the_slices_of_the_prediction(tmp_path: Path) -> None:
    guess = lung()
    guess[1:5, 10:20] = 0  # the front half
    image = volume(guess, tmp_path / "pred" / "a.nii.gz")
    write_rtstruct(tmp_path / "truth" / "a.dcm", {"Lung_L": outlines(image, lung()), "Heart": []})
    result = evaluate_folders(CONFIG, tmp_path / "pred", tmp_path / "truth", tmp_path / "out")
    dice = result.summary["overall"]["lung"]["dice"]["mean"]
    assert dice == pytest.approx(2 * guess.sum() / (guess.sum() + lung().sum()))
    [row] = [row for row in result.rows if row.method == "model"]
    assert row.scores.distance_unit == "mm"
    [remark] = [r["detail"] for r in result.summary["remarks"]]
    assert remark == "truth: lung: Lung_L; not taken: Heart"


def test_a_slice_between_contours_that_has_none_is_not_scored(tmp_path: Path) -> None:
    image = volume(lung(), tmp_path / "a.nii.gz")
    contours = lung()
    contours[2] = 0
    write_rtstruct(tmp_path / "a.dcm", {"Lungs": outlines(image, contours)})
    loaded = load_masks(Case("a", tmp_path / "a.dcm", tmp_path / "a.nii.gz"), CONFIG)
    np.testing.assert_array_equal(loaded.truth, contours)
    np.testing.assert_array_equal(loaded.prediction, contours)
    assert "truth: 1 slices between contours have none and are not scored" in loaded.remarks


def test_without_a_prediction_they_are_drawn_in_the_ct_or_the_case_is_an_error(
    tmp_path: Path,
) -> None:
    image = volume(np.where(lung() > 0, -850, -100).astype(np.int16), tmp_path / "ct.nii.gz")
    path = write_rtstruct(tmp_path / "a.dcm", {"Lungs": outlines(image, lung())})
    loaded = load_masks(Case("a", path, None, tmp_path / "ct.nii.gz"), CONFIG)
    np.testing.assert_array_equal(loaded.truth, lung())
    assert loaded.problem == "there is no prediction"
    assert not loaded.prediction.any()
    with pytest.raises(DataError, match=r"a\.dcm: is an RTSTRUCT, .* --images"):
        load_masks(Case("a", path, None), CONFIG)


def test_contours_of_another_frame_of_reference_than_the_ct_are_refused(tmp_path: Path) -> None:
    hu = np.where(lung() > 0, -850, -100).astype(np.int16)
    ct = write_enhanced(tmp_path / "ct.dcm", hu)
    image = volume(lung(), tmp_path / "pred.nii.gz")
    path = write_rtstruct(tmp_path / "a.dcm", {"Lungs": outlines(image, lung())}, ct)
    case = Case("a", path, tmp_path / "pred.nii.gz", ct)
    np.testing.assert_array_equal(load_masks(case, CONFIG).truth, lung())

    other = dcmread(path)
    other.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3"
    other.save_as(path)
    with pytest.raises(DataError, match=r"Lungs lie in the frame of reference 1\.2\.3, the CT in"):
        load_masks(case, CONFIG)


def test_a_prediction_as_rtstruct_is_a_problem_of_its_case(tmp_path: Path) -> None:
    image = volume(lung(), tmp_path / "a.nii.gz")
    path = write_rtstruct(tmp_path / "a.dcm", {"Lungs": outlines(image, lung())})
    loaded = load_masks(Case("a", tmp_path / "a.nii.gz", path), CONFIG)
    assert "is an RTSTRUCT, which is read as a true mask only" in loaded.problem


def test_contours_in_a_single_slice_are_scored_as_a_slice(tmp_path: Path) -> None:
    one = lung()[2:3]
    image = volume(one, tmp_path / "a.nii.gz")
    write_rtstruct(tmp_path / "a.dcm", {"Lungs": outlines(image, one)})
    loaded = load_masks(Case("a", tmp_path / "a.dcm", tmp_path / "a.nii.gz"), CONFIG)
    np.testing.assert_array_equal(loaded.truth, one[0])
    np.testing.assert_array_equal(loaded.prediction, one[0])
