"""Outlines of a mask give it back, holes included, to whoever tests the centres of pixels."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.ndimage as ndi
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from lungseg.imaging.outlines import outlines_of
from lungseg.imaging.polygons import Points, Polygon, fill

SHAPE = (40, 50)
Mask = NDArray[np.bool_]


def by_matplotlib(polygons: list[Points], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Count for each centre the polygons that it is in."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    centres = np.column_stack([columns.ravel(), rows.ravel()])
    paths = [Outline(np.vstack([points, points[:1]]), closed=True) for points in polygons]
    inside = [path.contains_points(centres).reshape(shape) for path in paths]
    return np.sum(inside, axis=0, dtype=np.int64) if inside else np.zeros(shape, np.int64)


def blobs(seed: int) -> Mask:
    """Return a mask of random parts, some of single pixels, with holes and islands in these."""
    rng = np.random.default_rng(seed)
    smooth = ndi.gaussian_filter(rng.normal(size=SHAPE), (0, 0.6, 1.0, 2.0)[seed % 4])
    return np.asarray(smooth > rng.choice([-0.05, 0.0, 0.05]))


@pytest.mark.parametrize("seed", range(12))
def test_outlines_give_the_mask_back_by_another_implementation(seed: int) -> None:
    mask = blobs(seed)
    polygons = outlines_of(mask)
    np.testing.assert_array_equal(by_matplotlib(polygons, SHAPE), mask.astype(int))
    assert len(polygons) == ndi.label(mask)[1]  # parts that touch at a corner are two
    np.testing.assert_array_equal(fill([Polygon(each) for each in polygons], SHAPE), mask)


def test_an_outline_runs_through_the_edges_of_pixels_also_at_the_border_of_the_image() -> None:
    mask = np.zeros((6, 8), bool)
    mask[0:3, 0:5] = True
    [points] = outlines_of(mask)
    assert points.min(axis=0).tolist() == [-0.5, -0.5]
    assert points.max(axis=0).tolist() == [4.5, 2.5]
    assert len(points) == 8  # a rectangle with cut corners, and no points on its sides
    assert {float(way) for way in np.ravel(points % 1)} == {0.0, 0.5}
    assert outlines_of(np.zeros((4, 4), bool)) == []


def test_keyholes_lead_through_the_mask_and_meet_no_centre() -> None:
    mask = np.ones(SHAPE, bool)
    mask[10:14, 20:24] = mask[10:14, 30:34] = mask[12, 8] = False  # one behind the other
    mask[32:36, 5:40] = False
    mask[33:35, 7:30] = True  # an island in a hole, a polygon of its own
    polygons = outlines_of(mask)
    assert sorted(len(each) for each in polygons)[0] == 8
    [whole] = [each for each in polygons if len(each) > 8]
    edges = [(tuple(a), tuple(b)) for a, b in pairwise([*whole.tolist(), whole[0].tolist()])]
    there_and_back = {edge for edge in edges if edge[::-1] in edges}
    assert len(there_and_back) == 2 * 4  # a keyhole for each hole
    for (x0, y0), (x1, y1) in there_and_back:
        assert y0 == y1
        assert y0 % 1 in (0.25, 0.75)
        between = np.arange(np.ceil(min(x0, x1)), max(x0, x1)).astype(int)
        assert mask[round(y0), between].all()


def test_a_keyhole_ends_at_the_hole_to_its_left() -> None:
    mask = np.ones((20, 30), bool)
    mask[7:13, 5:10] = False
    mask[8:12, 15:20] = False  # its keyhole is in the rows of the other hole,
    mask[6:12, 17:20] = False  # above which it begins
    [ring] = outlines_of(mask)
    ways = np.roll(ring, -1, axis=0) - ring
    keyholes = ways[(ring[:, 1] % 0.5 != 0) & (ways[:, 1] == 0)]
    # From 14.5 to 9.5 and from 4.5 to -0.5, each there and back.
    assert sorted(keyholes[:, 0].tolist()) == [-5, -5, 5, 5]
