"""The coarse grid of a CT, and what is said of parts on it, counted by hand."""

import numpy as np
import pytest

from lungseg.inference.body import Body, _convex, coarse_body
from tests.support.volumes import image_of

SHAPE = (2, 10, 20)


def body(hu: float = -800, step: tuple[int, int, int] = (1, 1, 1)) -> Body:
    """Return a body whose outline is the left half of the picture."""
    outline = np.zeros(SHAPE, bool)
    outline[..., 10:] = True
    return Body(np.full(SHAPE, hu), outline, outline, step, (1.0, 1.0, 1.0))


def test_the_share_of_a_part_in_the_body_is_by_its_number() -> None:
    numbers = np.zeros(SHAPE, np.uint8)
    numbers[0, 0, 8:13] = 1  # three of five voxels
    numbers[1, 3, 2:4] = 2  # beside the body
    numbers[1, 5, 12] = 4  # within it; no voxel has 3
    found = body().share_within(numbers, 5)
    np.testing.assert_allclose(found[1:], [0.6, 0, 1, 1, 1])
    # Of the background 196 of 392 voxels are in the body.
    assert found[0] == 0.5


def test_the_share_of_a_part_in_open_air_is_counted() -> None:
    hu = np.full(SHAPE, 40)
    hu[:, 0, :8] = hu[:, 4, 3:7] = -501  # from the border, and closed in
    found = Body(hu, hu > 0, hu > 0, (1, 1, 1), (1.0, 1.0, 1.0))
    part = np.zeros(SHAPE, bool)
    part[0, 0, 6:8] = part[0, 4, 3:6] = True
    assert found.share_open(part) == 0.4
    assert found.share_open(part & False) == 0


@pytest.mark.parametrize(("rows", "is_whole"), [(8, False), (9, True)])
def test_lungs_that_are_no_larger_than_the_body_leave_it_as_it_is(
    rows: int, is_whole: bool
) -> None:
    outline = np.zeros((1, 20, 25), bool)
    outline[0, :8] = True
    lungs = np.zeros_like(outline)
    lungs[0, 10 : 10 + rows] = True
    found = Body(np.full(outline.shape, -800), outline, outline, (1, 1, 1), (1.0, 1.0, 1.0))
    assert (found.around(lungs) is not found) == is_whole


@pytest.mark.parametrize(
    ("inside", "hu", "is_whole"),
    [
        (49, -949, True),
        (49, -950, False),  # as dark as the air around a patient
        (50, -949, False),  # a fifth lies in the outline: 50 of 250 voxels
    ],
)
def test_most_of_the_lungs_beside_the_body_show_that_the_picture_lies_within_it(
    inside: int, hu: float, is_whole: bool
) -> None:
    outline = np.zeros((1, 20, 30), bool)
    outline[0, :8, :25] = True  # 200 voxels
    lungs = np.zeros(outline.shape, bool)
    lungs[0, 10:18, :25] = True  # 200 voxels beside it
    lungs.ravel()[np.flatnonzero(outline)[:inside]] = True
    found = Body(np.full(outline.shape, hu), outline, outline, (1, 1, 1), (1.0, 1.0, 1.0))
    around = found.around(lungs)
    assert around.outline.all() == is_whole
    assert (around is found) != is_whole


def test_a_box_is_seen_at_the_middle_voxels_of_the_coarse_grid() -> None:
    values = np.arange(1, 4 * 9 * 16 + 1, dtype=np.uint16).reshape(4, 9, 16)
    coarse = body(step=(3, 2, 1)).coarse(image_of(values), (5, 4, 1))
    expected = np.zeros(SHAPE, np.uint16)
    for z in range(2):
        for y in range(10):
            for x in range(20):
                at = z - 1, 2 * y + 1 - 4, 3 * x + 1 - 5
                if all(0 <= a < n for a, n in zip(at, values.shape, strict=True)):
                    expected[z, y, x] = values[at]
    np.testing.assert_array_equal(coarse, expected)
    assert coarse.any()
    assert coarse.dtype == np.uint16


@pytest.mark.parametrize(
    ("size", "spacing", "step"),
    [
        ((288, 144, 12), (1.0, 1.0, 5.0), (2, 2, 1)),  # 2 mm to a coarse voxel
        ((144, 288, 12), (1.0, 1.0, 5.0), (2, 2, 1)),
        ((144, 144, 12), (1.0, 2.0, 5.0), (2, 1, 1)),
        ((144, 144, 12), (2.0, 1.0, 5.0), (1, 2, 1)),
        ((288, 144, 12), (1.0, 0.5, 0.5), (2, 4, 4)),
        ((288, 144, 3), (1.0, 0.5, 0.5), (2, 4, 3)),  # thinner than a coarse voxel
        ((60, 30, 4), (3.0, 3.0, 3.0), (1, 1, 1)),  # no voxel is divided
        ((288, 144, 12), (1.0, 1.0, 1.1), (2, 2, 1)),  # in z never coarser than 2 mm
    ],
)
def test_about_144_voxels_are_left_of_the_longer_side(
    size: tuple[int, int, int], spacing: tuple[float, float, float], step: tuple[int, int, int]
) -> None:
    slices = np.arange(size[2])[:, None, None]
    hu = np.broadcast_to(slices, size[::-1]).astype(np.int16)
    found = coarse_body(image_of(hu, spacing))
    assert found.step == step
    assert found.spacing == pytest.approx([mm * n for mm, n in zip(spacing, step, strict=True)])
    middle = range(step[2] // 2, size[2], step[2])  # of the slices, not their mean
    assert found.hu[:, 0, 0].tolist() == list(middle)
    assert found.hu.shape == (len(middle), size[1] // step[1], size[0] // step[0])


def test_a_coarse_voxel_is_the_mean_over_its_slice() -> None:
    hu = np.random.default_rng(0).integers(-1000, 400, (3, 288, 288)).astype(np.float32)
    found = coarse_body(image_of(hu, (1.0, 1.0, 5.0))).hu
    expected = hu.reshape(3, 144, 2, 144, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_outline_is_convex_and_of_each_slice_alone() -> None:
    plane = np.zeros((8, 9), bool)
    assert not _convex(plane).any()
    plane[1:7, 1] = plane[6, 1:7] = True  # an angle
    rows, columns = np.indices(plane.shape)
    expected = (columns >= 1) & (rows <= 6) & (rows - 1 >= columns - 1)
    np.testing.assert_array_equal(_convex(plane), expected & (columns <= 6))
