"""The body of a CT on a coarse grid: the place by which parts of a mask are judged.

It is found once per CT, on a grid of about 144 voxels, so it takes a small part of the time and
memory that the CT takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.inference.threshold import THIN_MM, find_body

GRID = 144
# A part of the tissue with at least this share of the largest is part of the body.
PIECE_OF_BODY = 0.1
# The median of air around a patient.
ROOM_BELOW_HU = -950
# Half air, half tissue: as bright is a voxel at the wall of a chest.
WALL_HU = -500
# A part of a mask of which less than this share lies in the outline of the body is not in the body.
IN_BODY = 0.2

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Body:
    """The body of a CT on a coarse grid.

    Attributes:
        hu: the CT on that grid, `(d, h, w)`.
        tissue: whether a voxel is tissue of the body.
        outline: whether a voxel lies within the convex outline of the body's slice.
        step: voxels of the CT per coarse voxel, ordered (x, y, z).
        spacing: size of a coarse voxel in mm, ordered (x, y, z).
    """

    hu: NDArray[Any]
    tissue: Mask
    outline: Mask
    step: tuple[int, int, int]
    spacing: Spacing

    def coarse(self, box: Any, start: Sequence[int]) -> NDArray[Any]:
        """Return a box of an image on the coarse grid, without mixing its values.

        Args:
            box: SimpleITK image, a part of an image on the CT's grid.
            start: the voxel of the CT at which it starts, (x, y, z).

        Returns:
            An array of the coarse grid's shape, which is 0 beside the box.
        """
        values = sitk.GetArrayViewFromImage(box)
        to, of = [], []
        for axis, length in enumerate(values.shape):
            step = self.step[2 - axis]
            at = step * np.arange(self.hu.shape[axis]) + step // 2 - start[2 - axis]
            to.append(np.flatnonzero((at >= 0) & (at < length)))
            of.append(at[to[-1]])
        coarse = np.zeros(self.hu.shape, dtype=values.dtype)
        coarse[np.ix_(*to)] = values[np.ix_(*of)]
        return coarse

    def share_within(self, numbers: NDArray[Any], count: int) -> NDArray[np.float64]:
        """Return the share of each part that lies in the body; 1 for those that are not seen.

        Args:
            numbers: the number of a part at each coarse voxel, from 1 to `count`.
            count: how many parts there are.

        Returns:
            `(count + 1,)`, by number.
        """
        size = np.bincount(numbers.ravel(), minlength=count + 1)
        within = np.bincount(numbers[self.outline], minlength=count + 1)
        return np.where(size == 0, 1.0, within / np.maximum(size, 1))

    def share_open(self, part: Mask) -> float:
        """Return the share of a part that lies in `open_air`."""
        return int(np.count_nonzero(part & self.open_air)) / max(1, int(np.count_nonzero(part)))

    @cached_property
    def open_air(self) -> Mask:
        """Whether a voxel is reached from the border of its slice without tissue between.

        No wall of a chest lies between such a voxel and the room, if the slice shows all of it.
        `tissue` leaves thin walls out, so the density counts here.
        """
        reached = np.zeros_like(self.tissue)
        for plane, found in zip(self.hu, reached, strict=True):
            _, numbers = cv2.connectedComponents((plane < WALL_HU).astype(np.uint8), connectivity=4)
            ends = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
            found[:] = np.isin(numbers, ends[ends > 0])
        return reached

    def around(self, lungs: Mask) -> Body:
        """Return the body that holds these lungs, `(d, h, w)`.

        If the picture lies within a lung, what seemed to be the body are vessels, and the outline
        is the whole picture. Then most of the lungs lies beside this body, is larger, and is no air
        around a patient.
        """
        beside = lungs & ~self.outline
        size, total = np.count_nonzero(beside), np.count_nonzero(lungs)
        is_around = size > (1 - IN_BODY) * total and total > np.count_nonzero(self.outline)
        if is_around and np.median(self.hu[beside]) > ROOM_BELOW_HU:
            return replace(self, outline=np.ones_like(self.outline))
        return self


def coarse_body(ct: Any) -> Body:
    """Find the body of a CT.

    Args:
        ct: SimpleITK image in HU, whose axes run to the patient's left, back and head.
    """
    size, spacing = ct.GetSize(), ct.GetSpacing()
    side = max(size[0] * spacing[0], size[1] * spacing[1]) / GRID
    step = (
        max(1, round(side / spacing[0])),
        max(1, round(side / spacing[1])),
        min(size[2], max(1, int(side / spacing[2]))),  # a CT may be thinner than a voxel here
    )
    small = sitk.BinShrink(ct[:, :, step[2] // 2 :: step[2]], [step[0], step[1], 1])
    hu, mm = sitk.GetArrayFromImage(small), small.GetSpacing()
    # In a mouse the wall of the chest is thinner than a table is.
    tissue = find_body(hu, mm, min(THIN_MM, 1.5 * min(mm[:2])), PIECE_OF_BODY)
    return Body(hu, tissue, np.stack([_convex(plane) for plane in tissue]), step, mm)


def _convex(body: Mask) -> Mask:
    filled = np.zeros(body.shape, dtype=np.uint8)
    points = cv2.findNonZero(body.astype(np.uint8))
    if points is not None:
        cv2.fillConvexPoly(filled, cv2.convexHull(points), 1)
    return filled > 0
