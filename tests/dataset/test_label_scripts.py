"""The scripts around labels: made by threshold, cut where they are right, and judged by edges."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its documented name
import typer

from lungseg.evaluation import metrics
from lungseg.imaging.pixels import apply_window
from lungseg.phantom.drawing import make_slice, make_volume
from lungseg.phantom.patient import make_patient
from scripts import label_by_threshold
from scripts.edge_limit import with_exact_edges


def test_labels_that_lie_on_the_edges_lose_nothing_and_moved_ones_do() -> None:
    hu, labels = make_slice(make_patient(3), 0.5, 256)
    image = apply_window(hu, (-1000, 400))
    moved = np.roll(labels, 3, axis=1)

    def limit(mask: np.ndarray) -> float:
        return metrics.dice(metrics.count(mask > 0, with_exact_edges(image, mask > 0, 0.6, 4)))

    assert limit(labels) > 0.985
    assert limit(moved) < limit(labels) - 0.01


def test_pixels_away_from_the_border_stay_as_labelled() -> None:
    lung = np.zeros((64, 64), bool)
    lung[16:48, 16:48] = True
    bright = np.full((64, 64), 200, np.uint8)
    found = with_exact_edges(bright, lung, 0.6, 4)
    inside = cv2.distanceTransform(lung.astype(np.uint8), cv2.DIST_L2, 5)
    assert found[inside > 6].all()
    assert not found[inside < 3].any()


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    slices = np.stack([hu for hu, _ in make_volume(make_patient(0), 12, 128)])[::-1]
    image = sitk.GetImageFromArray(slices)
    image.SetSpacing((2.5, 2.5, 20.0))
    path = tmp_path_factory.mktemp("ct") / "ct.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


def test_a_part_of_a_volume_is_kept_with_the_labels_of_the_whole(
    volume: Path, tmp_path: Path
) -> None:
    label_by_threshold.main([volume], tmp_path / "whole")
    label_by_threshold.main([volume], tmp_path / "part", "3:7")
    for kind in ("images", "masks"):
        whole = sitk.ReadImage(str(tmp_path / "whole" / kind / "ct.nii.gz"))
        part = sitk.ReadImage(str(tmp_path / "part" / kind / "ct.nii.gz"))
        cut = whole[:, :, 3:7]
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(part), sitk.GetArrayFromImage(cut), strict=True
        )
        assert part.GetOrigin() == pytest.approx(cut.GetOrigin())
        assert kind == "images" or sitk.GetArrayFromImage(part).any()


def test_bowel_gas_is_no_lung_however_blurred_its_edge() -> None:
    values = np.full((6, 40, 60), 40, np.int16)
    values[:, 10:30, 5:25] = -700
    values[:, 10:30, 35:55] = -600
    values[:, 12:28, 37:53] = -1000
    hu = sitk.GetImageFromArray(values)
    dark = sitk.Cast(hu < label_by_threshold.LUNG_BELOW_HU, sitk.sitkUInt8)
    found = sitk.GetArrayFromImage(label_by_threshold.drop_bowel(hu, dark))
    np.testing.assert_array_equal(found > 0, values == -700)
    # The same, each part more than a litre: nothing is left out.
    hu.SetSpacing((10, 10, 10))
    dark.CopyInformation(hu)
    found = sitk.GetArrayFromImage(label_by_threshold.drop_bowel(hu, dark))
    np.testing.assert_array_equal(found > 0, values < 0)


def test_slices_that_are_no_range_are_refused(volume: Path, tmp_path: Path) -> None:
    with pytest.raises(typer.Exit) as problem:
        label_by_threshold.main([volume], tmp_path / "out", "3-7")
    assert problem.value.exit_code == 2
    assert not (tmp_path / "out").exists()
