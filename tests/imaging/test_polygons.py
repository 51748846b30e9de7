"""A pixel is inside polygons if its centre is; compared with Matplotlib and with OpenCV."""

import cv2
import numpy as np
import pytest
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from lungseg.imaging.polygons import Points, Polygon, fill
from tests.support.rtstructs import between_pixels, near_outline, through_pixels

SHAPE = (48, 64)


def square(low: float, high: float, across: float = 0.0) -> Points:
    x = np.array([low, high, high, low]) + across
    return np.column_stack([x, np.array([low, low, high, high])])


def by_matplotlib(polygons: list[Points], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Test each centre by itself, and combine polygons by exclusive or."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    centres = np.column_stack([columns.ravel(), rows.ravel()])
    inside = np.zeros(shape, bool)
    for points in polygons:
        path = Outline(np.vstack([points, points[:1]]), closed=True)
        inside ^= path.contains_points(centres).reshape(shape)
    return inside


def stars(seed: int) -> list[Points]:
    """Return an outline, a hole in it and an island in the hole, each a star."""
    rng = np.random.default_rng(seed)
    found = []
    for low, high in ((19, 34), (9, 18), (2, 8)):
        angles = np.linspace(0, 2 * np.pi, 16, endpoint=False) + rng.uniform(0, 0.3)
        radius = rng.uniform(low, high, len(angles))
        x, y = 31.3 + radius * np.cos(angles), 23.6 + radius * np.sin(angles)
        found.append(np.column_stack([x, y]))
    return found


@pytest.mark.parametrize("xor", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_holes_and_islands_are_those_of_another_implementation(seed: int, xor: bool) -> None:
    polygons = stars(seed)
    found = fill([Polygon(points, xor) for points in polygons], SHAPE)
    expected = by_matplotlib(polygons, SHAPE)
    sure = ~near_outline(polygons, SHAPE)
    assert sure.mean() > 0.97
    np.testing.assert_array_equal(found[sure], expected[sure])
    assert 0 < expected.sum() < by_matplotlib(polygons[:1], SHAPE).sum()  # there is a hole


@pytest.mark.parametrize("outlines", [between_pixels, through_pixels])
def test_outlines_of_a_mask_give_it_back(outlines: object) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    cv2.circle(mask, (24, 22), 18, 1, -1)
    cv2.circle(mask, (20, 20), 6, 0, -1)
    cv2.circle(mask, (20, 20), 3, 1, -1)
    mask[30:44, 48:60] = 1
    mask[31:43, 49:58] = 0  # walls of one and of two pixels
    polygons = [Polygon(points) for points in outlines(mask)]  # type: ignore[operator]
    np.testing.assert_array_equal(fill(polygons, SHAPE), mask > 0)


def test_a_centre_on_an_outline_is_inside_also_on_that_of_a_hole() -> None:
    found = fill([Polygon(square(10, 20))], SHAPE)
    assert found.sum() == 11 * 11
    assert found[10:21, 10:21].all()
    assert fill([Polygon(square(10.02, 19.98))], SHAPE).sum() == 9 * 9
    hole = fill([Polygon(square(5, 25)), Polygon(square(10, 20))], SHAPE)
    assert hole.sum() == 21 * 21 - 9 * 9
    # A hole that ends at the outer outline, and a little beyond it by rounding.
    hole = fill([Polygon(square(5, 25)), Polygon(square(10, 25.001))], SHAPE)
    assert hole.sum() == 21 * 21 - 14 * 14


def test_a_keyhole_leaves_its_hole_and_no_seam() -> None:
    outer, inner = square(5, 35), square(12, 28)[::-1]
    keyhole = np.vstack([outer, outer[:1], inner[-1:], inner])
    found = fill([Polygon(keyhole)], SHAPE)
    np.testing.assert_array_equal(found, fill([Polygon(outer), Polygon(inner)], SHAPE))
    # Two squares that a path of no width joins.
    joined = np.vstack([square(5, 15), [(5, 5)], square(25, 35), [(25, 25)]])
    assert fill([Polygon(joined)], SHAPE).sum() == 2 * 11 * 11


def test_polygons_that_overlap_in_part_are_united_unless_they_are_xor() -> None:
    shapes = square(5.5, 25.5), square(5.5, 25.5, across=10)
    assert fill([Polygon(points) for points in shapes], SHAPE).sum() == 20 * 30
    assert fill([Polygon(points, xor=True) for points in shapes], SHAPE).sum() == 20 * 20


def test_a_polygon_that_is_given_twice_counts_once() -> None:
    polygon = Polygon(square(5, 25))
    np.testing.assert_array_equal(fill([polygon, polygon], SHAPE), fill([polygon], SHAPE))


def test_what_lies_beyond_the_image_is_cut_off() -> None:
    found = fill([Polygon(square(-40, 200))], SHAPE)
    assert found.all()
    assert fill([Polygon(square(-9, 4))], SHAPE).sum() == 5 * 5
    assert not fill([Polygon(square(-9, -4))], SHAPE).any()
    assert not fill([Polygon(square(300, 400))], SHAPE).any()


@pytest.mark.parametrize("turn", [False, True])
def test_an_outline_on_the_first_or_last_pixels_counts(turn: bool) -> None:
    def count(x: tuple[float, float], y: tuple[float, float]) -> int:
        points = np.array([(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])], float)
        shape = SHAPE[::-1] if turn else SHAPE
        return int(fill([Polygon(points[:, ::-1] if turn else points)], shape).sum())

    height, width = SHAPE
    assert count((-9, 5), (-9, 0)) == 6  # the first row alone
    assert count((-9, 0), (-9, 0)) == 1
    assert count((5, width - 1), (6, height - 1)) == (width - 5) * (height - 6)
    assert count((5, width), (6, height)) == (width - 5) * (height - 6)
    assert count((width - 1, width + 9), (height - 1, height + 9)) == 1
    assert count((width, width + 9), (2, 4)) == 0
    assert count((2, 4), (height, height + 9)) == 0


@pytest.mark.parametrize(("off", "side"), [(0.009, 11), (0.011, 9)])
def test_a_centre_within_a_hundredth_of_a_pixel_lies_on_the_outline(off: float, side: int) -> None:
    assert fill([Polygon(square(10 + off, 20 - off))], SHAPE).sum() == side**2


def test_corners_are_equal_up_to_a_millionth_of_a_pixel() -> None:
    one = square(5.5, 25.5)
    for off, count in ((1e-8, 400), (1e-4, 0)):
        again = fill([Polygon(one, xor=True), Polygon(one + off, xor=True)], SHAPE).sum()
        assert again == count
