"""A pair of masks is drawn on the CT of its case if that has the same grid, otherwise on black."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.schema import Config
from lungseg.errors import UsageError
from lungseg.evaluation.folders import draw_case
from lungseg.evaluation.loading import Case
from tests.support.volumes import image_of

SPACING = (0.8, 0.8, 2.5)
DEEP, SIDE = 4, 32


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Return two equal masks of a volume, whose second slice holds the most lung."""
    mask = np.zeros((DEEP, SIDE, SIDE), np.uint8)
    mask[1, 10:20, 10:20] = 1
    mask[2, 12:15, 12:15] = 1
    for name in ("pred", "truth"):
        sitk.WriteImage(image_of(mask, SPACING), str(tmp_path / f"{name}.nii.gz"))
    return Case("a", tmp_path / "truth.nii.gz", tmp_path / "pred.nii.gz", tmp_path / "ct.nii.gz")


def write_ct(path: Path, spacing: tuple[float, ...] = SPACING, side: int = SIDE) -> None:
    hu = np.full((DEEP, side, side), -1000, np.int16)
    hu[1] = 0
    sitk.WriteImage(image_of(hu, spacing), str(path))


def corner(case: Case) -> list[int]:
    """Return the colour of a pixel far from every outline."""
    return [int(value) for value in np.atleast_1d(draw_case(case, Config()).picture[0, 0])]


def test_a_volume_is_drawn_on_its_ct(case: Case) -> None:
    assert case.image is not None
    write_ct(case.image)
    grey = corner(case)
    assert len(set(grey)) == 1 and 100 < grey[0] < 255  # 0 HU in slice 1; air would be black
    assert draw_case(case, Config()).number == 2


def test_every_slice_of_a_short_volume_can_be_seen(case: Case) -> None:
    axial, coronal = draw_case(case, Config()).views.views
    numbers = [[json.loads(text)["n"] for text in view.slices] for view in (axial, coronal)]
    assert numbers == [[4, 3, 2, 1], list(range(1, SIDE + 1))]  # from the head, from the front


@pytest.mark.parametrize(
    ("spacing", "side"), [((0.8, 0.8, 3.0), SIDE), ((0.9, 0.8, 2.5), SIDE), (SPACING, SIDE + 1)]
)
def test_a_ct_of_another_grid_is_not_drawn(
    case: Case, spacing: tuple[float, ...], side: int
) -> None:
    assert case.image is not None
    write_ct(case.image, spacing, side)
    assert set(corner(case)) == {0}


def test_without_a_readable_ct_the_masks_are_drawn_on_black(case: Case) -> None:
    assert case.image is not None
    assert set(corner(Case(case.name, case.truth, case.prediction, None))) == {0}
    case.image.write_bytes(b"no volume")
    assert set(corner(case)) == {0}
    picture = case.image.with_name("ct.png")
    cv2.imwrite(str(picture), np.full((SIDE, SIDE), 200, np.uint8))
    assert set(corner(Case(case.name, case.truth, case.prediction, picture))) == {0}


def test_a_picture_of_another_size_than_its_mask_is_refused(tmp_path: Path) -> None:
    mask, picture = tmp_path / "mask.png", tmp_path / "picture.png"
    cv2.imwrite(str(mask), np.full((SIDE, SIDE), 255, np.uint8))
    cv2.imwrite(str(picture), np.full((SIDE, SIDE + 1), 200, np.uint8))
    with pytest.raises(UsageError, match="the image is 32 x 33, its mask 32 x 32"):
        draw_case(Case("a", mask, mask, picture), Config())
