"""An array in HU is segmented, and values that cannot be HU are refused."""

from pathlib import Path

import numpy as np
import pytest

from lungseg.errors import DataError
from lungseg.inference.segmenter import Segmenter
from tests.support.networks import write_network


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
