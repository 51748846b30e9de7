"""Two grids are one only if they agree at every corner, not only a voxel at a time."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.imaging.volumes import LabelVolume, geometry_differences, match_grids
from tests.support.volumes import image_of

ORIGIN = (-180.0, -175.0, 30.0)


def grid(
    spacing: tuple[float, float, float] = (0.7, 0.7, 2.5), degrees: float = 0.0, slices: int = 2
) -> sitk.Image:
    image = image_of(np.ones((slices, 512, 512), np.uint8), spacing, ORIGIN)
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0, 0, np.deg2rad(degrees))
    image.SetDirection(turn.GetMatrix())
    return image


def test_a_spacing_that_is_off_by_less_than_a_voxel_per_voxel_adds_up() -> None:
    # 511 steps of 0.7 mm and of 0.7069 mm end 511 * 0.0069 mm apart, 4.99 voxels of 0.7069 mm.
    [line] = geometry_differences(grid(), grid((0.7069, 0.7, 2.5)))
    assert line.startswith("corners up to 5 voxels apart")
    assert "0.7069" in line


def test_axes_that_are_turned_a_little_add_up() -> None:
    # The far corner turns by 0.5 degrees around the origin: 511 * sin(0.5 degrees) = 4.5 voxels.
    [line] = geometry_differences(grid(), grid(degrees=0.5))
    assert line.startswith("corners up to 4.5 voxels apart")


def test_a_spacing_that_a_header_rounds_is_no_difference() -> None:
    assert geometry_differences(grid((0.703125, 0.703125, 2.5)), grid((0.703, 0.703, 2.5))) == []


@pytest.mark.parametrize(
    ("spacing", "same"), [((0.7, 0.7, 2.5), True), ((0.7069, 0.7, 2.5), False)]
)
def test_left_out_slices_are_put_back_onto_the_same_grid_only(
    spacing: tuple[float, float, float], same: bool
) -> None:
    sparse = LabelVolume(grid(spacing)[:, :, 1:2], sparse=True)
    prediction, _, differences = match_grids(sparse, LabelVolume(grid()))
    assert (prediction.labels.shape == (2, 512, 512)) == same
    assert (differences == []) == same
