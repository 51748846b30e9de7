"""The outlines of a mask as polygons; `imaging.polygons` draws them back.

An outline runs half way between the pixels inside and those outside, so whoever tests the centres
of pixels gets the mask back exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import numpy as np
from contourpy import FillType, contour_generator
from numpy.typing import NDArray

from lungseg.imaging.polygons import Points

# The points of each part, and where in them each of its closed outlines begins and ends.
Parts = tuple[list[Points], list[NDArray[np.uint32]]]

# The height, in pixels, at which a keyhole leaves the leftmost corner of a hole. Corners lie at
# multiples of 0.5, so a keyhole meets neither a corner nor the centre of a pixel.
OFF_CENTRE = 0.25


def outlines_of(mask: NDArray[np.bool_]) -> list[Points]:
    """Return a polygon per 4-connected part of a mask; keyholes lead to its holes.

    A keyhole is a path of no width from the outer outline to a hole and back. DICOM PS3.3,
    C.8.8.6.3, wants holes to be written so, and a program that fills polygons without knowing
    about holes leaves them empty, too.

    Args:
        mask: `(H, W)`.

    Returns:
        Corners `(N, 2)` as (x, y) in pixels, without the first one at the end. The centre of the
        first pixel is (0, 0).
    """
    around = np.pad(mask.astype(np.float64), 1)  # so that outlines close at the image's border
    generator = contour_generator(z=around, fill_type=FillType.OuterOffset)
    parts, offsets = cast(Parts, generator.filled(0.5, np.inf))
    return [
        _with_keyholes([_corners(points[a : b - 1] - 1) for a, b in pairwise(ends)])
        for points, ends in zip(parts, offsets, strict=True)
    ]


def _corners(points: Points) -> Points:
    """Return a polygon without the points at which it goes straight on."""
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return np.asarray(points[np.abs(turns) > 1e-9])


def _with_keyholes(rings: Sequence[Points]) -> Points:
    """Join the holes of a part, which follow its outer outline, to that outline."""
    outer, *holes = rings
    # From the left: a keyhole goes to the left, and so ends at a ring that is joined already.
    for hole in sorted(holes, key=lambda each: float(each[:, 0].min())):
        outer = _joined(outer, hole)
    return outer


def _joined(ring: Points, hole: Points) -> Points:
    """Join a hole to the ring around it by a horizontal keyhole to the left."""
    first = int(hole[:, 0].argmin())
    hole = np.roll(hole, -first, axis=0)
    # An outline crosses each row of centres, so its leftmost edge is never horizontal.
    way = hole[1] - hole[0]
    start = hole[0] + way * OFF_CENTRE / abs(way[1])
    ends = np.roll(ring, -1, axis=0)
    crossing = np.flatnonzero((ring[:, 1] - start[1]) * (ends[:, 1] - start[1]) < 0)
    (x0, y0), (x1, y1) = ring[crossing].T, ends[crossing].T
    x = x0 + (start[1] - y0) / (y1 - y0) * (x1 - x0)
    nearest = np.where(x < start[0], x, -np.inf).argmax()
    end, at = np.array([x[nearest], start[1]]), int(crossing[nearest]) + 1
    keyhole = [end, start, *hole[1:], hole[0], start, end]
    return np.concatenate([ring[:at], keyhole, ring[at:]])
