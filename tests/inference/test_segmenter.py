"""An array in HU is segmented, and values that cannot be HU are refused."""

from pathlib import Path

import numpy as np
import pytest

from lungseg.errors import DataError, UsageError
from lungseg.imaging.volume_files import ct_from_image
from lungseg.inference.segmenter import Segmenter
from tests.support.networks import write_network
from tests.support.volumes import image_of


@pytest.mark.parametrize(("lowest", "is_hu"), [(-1000, True), (-500, True), (-499, False)])
def test_hu_hold_air(lowest: int, is_hu: bool, tmp_path: Path) -> None:
    # The network takes what is nearer to -1000 HU than to 400 HU for lung.
    lungs = Segmenter(write_network(tmp_path / "run", (8, 8)))
    hu = np.full((2, 6, 8), 40, np.int16)
    hu[0, 1:3] = lowest
    if is_hu:
        np.testing.assert_array_equal(lungs.segment(hu), hu == lowest)
        return
    with pytest.raises(DataError, match="lowest value is -499"):
        lungs.segment(hu)


def test_the_probability_is_that_of_lung(tmp_path: Path) -> None:
    lungs = Segmenter(write_network(tmp_path / "run", (8, 8)))
    # -1000 HU is black and 400 HU white, so 120 HU is grey 204, and p(lung) = 1 - 204 / 255.
    hu = np.full((2, 8, 8), 120, np.int16)
    hu[1, 2] = -1000
    np.testing.assert_allclose(lungs.probability(hu), np.where(hu == 120, 0.2, 1.0), atol=1e-6)
    np.testing.assert_array_equal(lungs.probability(hu[1]), lungs.probability(hu)[1])


def test_a_scan_has_sides_only_if_they_are_asked_for(tmp_path: Path) -> None:
    lungs = Segmenter(write_network(tmp_path / "run", (30, 30)), threads=2)
    hu = np.full((8, 30, 30), 40, np.int16)
    hu[2:6, 6:24, 3:11] = hu[2:6, 6:24, 19:27] = -850
    scan = image_of(hu, (10.0, 10.0, 10.0))
    assert set(np.unique(lungs.segment_volume(scan).mask)) == {0, 1}
    sides = lungs.segment_volume(ct_from_image(scan), sides=True)
    expected = np.where(np.arange(30) < 15, 2, 1) * (hu < -800)
    np.testing.assert_array_equal(sides.mask, expected)
    with pytest.raises(UsageError, match=r"got ndarray\. An array has no geometry"):
        lungs.segment_volume(hu)


@pytest.mark.parametrize("spacing", [(0, 1), (1, 0), (-1, 1), (1, np.inf), (np.nan, 1), (1, 1, 1)])
def test_a_spacing_is_two_numbers_above_0(spacing: tuple[float, ...], tmp_path: Path) -> None:
    lungs = Segmenter(write_network(tmp_path / "run", (8, 8)))
    hu = np.full((4, 8), -900, np.int16)
    with pytest.raises(UsageError, match="two numbers of mm above 0"):
        lungs.segment(hu, spacing=spacing)  # type: ignore[arg-type]


def test_three_rows_of_grey_are_no_colour_picture(tmp_path: Path) -> None:
    lungs = Segmenter(write_network(tmp_path / "run", (8, 8)))
    for shape in ((8, 3), (8, 4), (2, 8, 5)):
        assert lungs.segment(np.zeros(shape, np.uint8)).all()
    for shape in ((2, 8, 3), (2, 8, 4)):
        with pytest.raises(UsageError, match="colour picture"):
            lungs.segment(np.zeros(shape, np.uint8))
    # Only unsigned values may have an offset.
    with pytest.raises(UsageError, match=r"got uint16\. Subtract the offset first"):
        lungs.segment(np.zeros((8, 8), np.uint16))
    with pytest.raises(UsageError, match=r"got int8\.$"):
        lungs.segment(np.zeros((8, 8), np.int8))


def test_values_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    lungs = Segmenter(write_network(tmp_path / "run", (8, 8)))
    hu = np.full((4, 8), -900.0)
    hu[0, :2], hu[3, 7] = np.nan, np.inf
    with pytest.raises(DataError, match="the array: 3 values are NaN or infinite"):
        lungs.segment(hu)
