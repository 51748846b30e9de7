"""Polygons on a grid of pixels: a pixel is inside if its centre is, or lies on the outline.

`cv2.fillPoly` also fills each pixel that an outline touches, so a lung would grow by half a pixel
on every side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Mask = NDArray[np.bool_]

# A centre that is this close to an outline, in pixels, lies on it. Coordinates are often rounded to
# 0.01 mm.
ON_OUTLINE = 0.01
EQUAL = 6  # decimals


@dataclass(frozen=True, eq=False)
class Polygon:
    """A closed polygon.

    Attributes:
        points: its corners `(N, 2)` as (x, y) in pixels. The centre of the first pixel is (0, 0).
        xor: whether what it encloses is always to be combined by exclusive or.
    """

    points: Points
    xor: bool = False


def fill(polygons: Sequence[Polygon], shape: tuple[int, int]) -> Mask:
    """Return the pixels `(H, W)` that polygons in one plane enclose together.

    A polygon within another is a hole in it, and one within a hole is an island. Polygons that
    overlap in part are united, unless they are marked as `xor`. A polygon that is given twice
    counts once. Centres on an outline are inside, as DICOM PS3.3, C.8.8.6.3 says.
    """
    different: dict[bytes, Polygon] = {}
    for polygon in polygons:
        different.setdefault(np.round(polygon.points, EQUAL).tobytes(), polygon)
    inside, outlines = np.zeros(shape, bool), np.zeros(shape, bool)
    for polygon in sorted(different.values(), key=_area, reverse=True):
        enclosed = _enclosed(polygon.points, shape)
        outlines |= _outline(polygon.points, shape)
        # A wall of one pixel between a hole and the outside belongs to both outlines.
        core = enclosed & ~outlines
        shared = int((core & inside).sum())
        if polygon.xor or shared in (0, int(core.sum())):
            inside ^= enclosed
        else:
            inside |= enclosed
    return inside | outlines


def _area(polygon: Polygon) -> float:
    x, y = polygon.points.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _enclosed(points: Points, shape: tuple[int, int]) -> Mask:
    """Return the pixels whose centre a polygon encloses, by the even-odd rule.

    Each edge that crosses a row of centres changes inside and outside for all pixels to its right.
    """
    height, width = shape
    (x0, y0), (x1, y1) = points.T, np.roll(points, -1, axis=0).T
    first = np.clip(np.ceil(np.minimum(y0, y1)), 0, height).astype(int)
    end = np.clip(np.ceil(np.maximum(y0, y1)), 0, height).astype(int)
    edge, row = _steps(first, end)
    x = x0[edge] + (row - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    changes = np.zeros((height, width + 1), np.uint8)
    column = np.clip(np.ceil(x), 0, width).astype(int)
    np.bitwise_xor.at(changes, (row, column), 1)
    return np.bitwise_xor.accumulate(changes, axis=1)[:, :width].astype(bool)


def _outline(points: Points, shape: tuple[int, int]) -> Mask:
    """Return the pixels whose centre lies on the outline of a polygon."""
    mask = np.zeros(shape, bool)
    start, end = _without_seams(points)
    for u, v, along_rows in ((0, 1, False), (1, 0, True)):
        line, place = _walk(start[:, [u, v]], end[:, [u, v]], shape[1 - u])
        nearest = np.rint(place)
        on = (np.abs(place - nearest) <= ON_OUTLINE) & (nearest >= 0) & (nearest < shape[1 - v])
        line, nearest = line[on], nearest[on].astype(int)
        mask[(line, nearest) if along_rows else (nearest, line)] = True
    return mask


def _without_seams(points: Points) -> tuple[Points, Points]:
    """Return the edges of a polygon without those that it goes along in both directions.

    A keyhole leads to a hole and back. It is no outline.
    """
    start, end = np.round(points, EQUAL), np.round(np.roll(points, -1, axis=0), EQUAL)
    swap = (start[:, 0] > end[:, 0]) | ((start[:, 0] == end[:, 0]) & (start[:, 1] > end[:, 1]))
    low, high = np.where(swap[:, None], end, start), np.where(swap[:, None], start, end)
    edges, counts = np.unique(np.hstack([low, high]), axis=0, return_counts=True)
    edges = edges[counts % 2 == 1]
    return edges[:, :2], edges[:, 2:]


def _walk(start: Points, end: Points, count: int) -> tuple[NDArray[np.int64], Points]:
    """Return where edges meet the lines u = 0, 1, ... of a grid.

    Args:
        start: the first end of each edge `(N, 2)`, as (u, v).
        end: the other end.
        count: number of lines.

    Returns:
        The line of each meeting, and its v.
    """
    (u0, v0), (u1, v1) = start.T, end.T
    low = np.ceil(np.minimum(u0, u1) - ON_OUTLINE)
    high = np.floor(np.maximum(u0, u1) + ON_OUTLINE) + 1
    edge, line = _steps(np.clip(low, 0, count).astype(int), np.clip(high, 0, count).astype(int))
    length = (u1 - u0)[edge]
    part = np.divide(line - u0[edge], length, out=np.zeros(len(edge)), where=length != 0)
    return line, v0[edge] + np.clip(part, 0, 1) * (v1 - v0)[edge]


def _steps(
    first: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the whole numbers from `first` up to `end` of each edge, and which edge each is of."""
    counts = np.maximum(end - first, 0)
    edge = np.repeat(np.arange(len(counts)), counts)
    before = np.repeat(np.cumsum(counts) - counts, counts)
    return edge, first[edge] + np.arange(len(edge)) - before
