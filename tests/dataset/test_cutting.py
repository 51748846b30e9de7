"""A volume is cut into slices that are not stretched, and few of those without lung are kept."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.dataset.cutting import cut_volume
from lungseg.imaging.folders import Pair
from lungseg.imaging.masks import fit_labels
from lungseg.imaging.pixels import fit_image
from tests.support.volumes import image_of

SPACING = (0.8, 0.8, 2.5)


def write_pair(folder: Path, hu: np.ndarray, labels: np.ndarray) -> Pair:
    image, mask = folder / "case.mha", folder / "case_mask.mha"
    sitk.WriteImage(image_of(hu, SPACING), str(image))
    sitk.WriteImage(image_of(labels, SPACING), str(mask))
    return Pair("case", image, mask)


@pytest.mark.parametrize("shape", [(12, 7), (6, 13)])
def test_slices_that_are_no_squares_are_padded_with_black_and_background(
    shape: tuple[int, int], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    hu = np.where(rng.uniform(size=(3, *shape)) < 0.5, -1000, 400).astype(np.int16)
    labels = rng.integers(0, 2, (3, *shape), np.uint8)
    side = max(shape)
    config = with_overrides(Config(), {"data.image_size": [side, side]})
    slices, count, findings = cut_volume(write_pair(tmp_path, hu, labels), config)
    assert count == 3
    assert [finding.code for finding in findings] == ["mask_without_air"]  # labels are at random
    # -1000 HU is black and 400 HU white, by data.window.
    before = [(side - length) // 2 for length in shape]
    around = [(b, side - length - b) for b, length in zip(before, shape, strict=True)]
    for k, piece in enumerate(slices):
        image = fit_image(piece.image, piece.framing)
        np.testing.assert_array_equal(image, np.pad((hu[k] == 400) * np.uint8(255), around))
        np.testing.assert_array_equal(
            fit_labels(piece.labels, piece.framing), np.pad(labels[k], around)
        )
        assert piece.case == f"case_z{k + 1:04d}"


@pytest.mark.parametrize(
    ("ratio", "kept"),
    [
        (0.0, [4, 5, 6]),
        (0.6, [1, 4, 5, 6, 10]),  # 0.6 x 3 is 2, rounded
        (1.0, [1, 4, 5, 6, 7, 10]),
        (9.0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ],
)
def test_slices_without_lung_are_kept_evenly_spaced(
    ratio: float, kept: list[int], tmp_path: Path
) -> None:
    hu = np.full((10, 4, 4), -1000, np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    labels[3:6, 1, 1] = 1
    config = with_overrides(Config(), {"prepare.empty_slices": ratio})
    slices, count, findings = cut_volume(write_pair(tmp_path, hu, labels), config)
    assert [piece.case for piece in slices] == [f"case_z{number:04d}" for number in kept]
    assert count == len(kept)
    left_out = 10 - len(kept)
    assert [finding.detail for finding in findings] == (
        [f"{left_out} of 10 slices hold no lung and are left out"] if left_out else []
    )


@pytest.mark.parametrize(
    ("ratio", "kept"), [(0.0, []), (0.04, [1]), (0.25, [1, 5, 10]), (9.0, range(1, 11))]
)
def test_a_ct_without_lung_keeps_a_share_of_its_slices(
    ratio: float, kept: Sequence[int], tmp_path: Path
) -> None:
    hu = np.full((10, 4, 4), -1000, np.int16)
    config = with_overrides(Config(), {"prepare.empty_slices": ratio})
    pair = write_pair(tmp_path, hu, np.zeros(hu.shape, np.uint8))
    slices, count, findings = cut_volume(pair, config)
    assert [piece.case for piece in slices] == [f"case_z{number:04d}" for number in kept]
    assert count == len(kept)
    assert "no voxel of the mask is lung; is this a CT without lung?" in [
        f.detail for f in findings
    ]
