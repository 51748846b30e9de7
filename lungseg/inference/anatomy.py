"""Where the body and its midline are in a CT: the place by which parts of a mask are judged.

All of it is found on a coarse grid of about 144 voxels, so it takes a small part of the time and
memory that the CT takes. Lengths are shares of the body's depth or of the picture, so that they
hold for an adult, a child and a mouse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.inference.airways import find_trachea
from lungseg.inference.threshold import THIN_MM, air_within, find_body

GRID = 144
# Bone that is blurred to the coarse grid; blood with contrast agent reaches this as well.
BONE_ABOVE_HU = 150
# The spine lies in the back half of the body, and not within half of its depth of the skin at its
# sides, where the ribs, the shoulder blades and the arms are. In a strip of an eighth of the depth
# it holds more bone than ribs do: this share of the square of that width.
BACK, FLANK, WIDTH, FILLED = 0.5, 0.5, 0.125, 0.7
# It curves by at most this share of the depth, and is seen in at least this share of the slices. If
# no skin is in the picture, most slices with so much bone have it there.
MAX_CURVE, SEEN, AGREED = 0.2, 1 / 3, 0.75
# A body is turned in the picture if a side or the front has this many times the bone of the back.
# The patient may roll by 40 degrees, so there the spine may lie nearer to the skin of a side.
TURNED, ROLLED_FLANK = 2.0, 0.25
# The midline is averaged over this share of the slices.
SMOOTH = 0.2

# A part of the tissue with at least this share of the largest is part of the body.
PIECE_OF_BODY = 0.1
# The median of air around a patient.
ROOM_BELOW_HU = -950
# A part of a mask of which less than this share lies in the outline of the body is not in the body.
IN_BODY = 0.2

Mask = NDArray[np.bool_]
Ends = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Midline:
    """The x that divides the body into its right and its left half.

    Attributes:
        x: in voxels of the CT, for each of its slices, `(D,)`; it may lie beside the picture.
        source: what it follows from.
    """

    x: NDArray[np.float64]
    source: str


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The body of a CT on a coarse grid.

    Attributes:
        hu: the CT on that grid, `(d, h, w)`.
        outline: whether a voxel lies within the convex outline of the body's slice.
        skin: whether the skin at the right and at the left side of the body is in the picture.
        step: voxels of the CT per coarse voxel, ordered (x, y, z).
        turned: whether the spine lies at a side or in front, against what the header says.
        midline: None if neither spine, nor skin, nor trachea is in the picture, or if it is turned.
    """

    hu: NDArray[Any]
    outline: Mask
    skin: tuple[bool, bool]
    step: tuple[int, int, int]
    turned: bool
    midline: Midline | None

    def coarse(self, box: Any, start: Sequence[int]) -> NDArray[Any]:
        """Return a box of an image on the coarse grid, without mixing its values.

        Args:
            box: SimpleITK image, a part of an image on the CT's grid.
            start: the voxel of the CT at which it starts, (x, y, z).

        Returns:
            An array of the coarse grid's shape, which is 0 beside the box.
        """
        return _sample(box, start, self.step, self.hu.shape)

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


def find_anatomy(ct: Any, lungs: Any) -> Anatomy:
    """Find the body and its midline.

    Args:
        ct: SimpleITK image in HU, whose axes run to the patient's left, back and head.
        lungs: SimpleITK image on the same grid; above 0 in the lungs. The midline is taken from the
            slices that hold lung.
    """
    size, spacing = ct.GetSize(), ct.GetSpacing()
    side = max(size[0] * spacing[0], size[1] * spacing[1]) / GRID
    step = (
        max(1, round(side / spacing[0])),
        max(1, round(side / spacing[1])),
        max(1, int(side / spacing[2])),
    )
    small = sitk.BinShrink(ct[:, :, step[2] // 2 :: step[2]], [step[0], step[1], 1])
    hu, mm = sitk.GetArrayFromImage(small), small.GetSpacing()
    # In a mouse the wall of the chest is thinner than a table is.
    body = find_body(hu, mm, min(THIN_MM, 1.5 * min(mm[:2])), PIECE_OF_BODY)
    outline = np.stack([_convex(plane) for plane in body])
    mask = _sample(lungs, (0, 0, 0), step, hu.shape) > 0
    if _is_inside(hu, outline, mask):
        outline = np.ones_like(outline)
    held = mask.any(axis=(1, 2)) & outline.any(axis=(1, 2))
    ends = {int(k): _ends(outline[k]) for k in np.flatnonzero(held)}
    # A slice in which the outline reaches the edge of the picture does not show the skin there.
    right = [first > 0 for first, _, _, _ in ends.values()]
    left = [last < hu.shape[2] - 1 for _, last, _, _ in ends.values()]
    skin = (sum(right) > len(ends) / 2, sum(left) > len(ends) / 2)
    turned = all(skin) and _is_turned(hu, outline, list(ends))
    found = None if turned else _find_midline(hu, body, outline, ends, skin, mm)
    midline = None
    if found is not None:
        x = step[0] * (found[0] + 0.5) - 0.5
        at = step[2] * np.arange(len(hu)) + step[2] // 2
        midline = Midline(np.interp(np.arange(size[2]), at, x), found[1])
    return Anatomy(hu, outline, skin, step, turned, midline)


def _sample(
    box: Any, start: Sequence[int], step: Sequence[int], shape: tuple[int, ...]
) -> NDArray[Any]:
    """Return the voxels of a box in the middle of each coarse voxel; 0 beside the box."""
    values = sitk.GetArrayViewFromImage(box)
    to, of = [], []
    for axis, length in enumerate(values.shape):
        at = step[2 - axis] * np.arange(shape[axis]) + step[2 - axis] // 2 - start[2 - axis]
        to.append(np.flatnonzero((at >= 0) & (at < length)))
        of.append(at[to[-1]])
    coarse = np.zeros(shape, dtype=values.dtype)
    coarse[np.ix_(*to)] = values[np.ix_(*of)]
    return coarse


def _is_inside(hu: NDArray[Any], outline: Mask, lungs: Mask) -> bool:
    """Whether the picture lies within a lung, so that what seemed to be the body are its vessels.

    Then most of the lungs lies beside this body, is larger, and is no air around a patient.
    """
    beside = lungs & ~outline
    size, total = np.count_nonzero(beside), np.count_nonzero(lungs)
    is_around = size > (1 - IN_BODY) * total and total > np.count_nonzero(outline)
    return bool(is_around and np.median(hu[beside]) > ROOM_BELOW_HU)


def _convex(body: Mask) -> Mask:
    filled = np.zeros(body.shape, dtype=np.uint8)
    points = cv2.findNonZero(body.astype(np.uint8))
    if points is not None:
        cv2.fillConvexPoly(filled, cv2.convexHull(points), 1)
    return filled > 0


def _ends(outline: Mask) -> Ends:
    """Return the first and last column, and the first and last row, of an outline."""
    columns, rows = np.flatnonzero(outline.any(axis=0)), np.flatnonzero(outline.any(axis=1))
    return int(columns[0]), int(columns[-1]), int(rows[0]), int(rows[-1])


def _find_midline(
    hu: NDArray[Any],
    body: Mask,
    outline: Mask,
    ends: dict[int, Ends],
    skin: tuple[bool, bool],
    mm: tuple[float, float, float],
) -> tuple[NDArray[np.float64], str] | None:
    """Return the column of the midline in each coarse slice, and what it follows from."""
    if not ends:
        return None
    spine = _find_spine(hu, ends, skin)
    middle = {k: (first + last) / 2 for k, (first, last, _, _) in ends.items()}
    if spine:
        return _smooth(spine, len(hu)), "the spine"
    if all(skin):
        return _smooth(middle, len(hu)), "the outline of the body"
    back = np.mean([bottom < hu.shape[1] - 1 for _, _, _, bottom in ends.values()])
    if any(skin) and back > 0.5:
        # The picture ends between the skin and the spine.
        end = hu.shape[2] if skin[0] else -1
        return np.full(
            len(hu), float(end)
        ), f"the skin of the {'right' if skin[0] else 'left'} side"
    smooth = np.stack([cv2.medianBlur(plane.astype(np.float32), 3) for plane in hu])
    spots = find_trachea(smooth, air_within(hu, body, mm) & outline, mm)
    if spots:
        return _smooth({spot.z: spot.centre[0] for spot in spots}, len(hu)), "the trachea"
    return None


def _find_spine(
    hu: NDArray[Any], ends: dict[int, Ends], skin: tuple[bool, bool]
) -> dict[int, float]:
    """Return the column of the spine in the slices that show it; none if that is doubtful."""
    found = {k: x for k, end in ends.items() if (x := _most_bone(hu[k], end, skin)) is not None}
    if not found:
        return {}
    # An arm beside the trunk, a shoulder and blood with contrast agent are no spine.
    usual = np.median(list(found.values()))
    depth = np.median([_depth(end) for end in ends.values()])
    spine = {k: x for k, x in found.items() if abs(x - usual) <= MAX_CURVE * depth}
    # Without skin, ribs and shoulder blades may lie where the spine would.
    agreed = any(skin) or len(spine) >= AGREED * len(found)
    return spine if agreed and len(spine) >= SEEN * len(ends) else {}


def _most_bone(plane: NDArray[Any], ends: Ends, skin: tuple[bool, bool]) -> float | None:
    """Return the column around which a slice holds most bone, in the back of the body."""
    bone = _bone(plane, ends, skin)
    filled = _filled(bone, ends)
    peak = int(np.argmax(filled))
    if filled[peak] < FILLED:
        return None
    # The spine is up to twice as wide, and the strip may lie anywhere in it.
    reach = 2 * _reach(ends)
    columns = np.arange(max(0, peak - reach), min(len(bone), peak + reach + 1))
    return float(np.average(columns, weights=bone[columns]))


def _bone(
    plane: NDArray[Any], ends: Ends, skin: tuple[bool, bool], flank: float = FLANK
) -> NDArray[np.float64]:
    """Return how much bone each column of a slice has where a spine may be."""
    first, last, top, bottom = ends
    depth = _depth(ends)
    bone = (plane[top + int(BACK * depth) : bottom + 1] > BONE_ABOVE_HU).sum(axis=0).astype(float)
    if skin[0]:
        bone[: first + int(flank * depth)] = 0
    if skin[1]:
        bone[last + 1 - int(flank * depth) :] = 0
    return np.asarray(bone)


def _filled(bone: NDArray[np.float64], ends: Ends) -> NDArray[np.float64]:
    """Return the bone in the strip around each column, as a share of the square of its width."""
    strip = np.convolve(bone, np.ones(2 * _reach(ends) + 1), mode="same")
    return np.asarray(strip / (WIDTH * _depth(ends)) ** 2)


def _depth(ends: Ends) -> int:
    return ends[3] - ends[2] + 1


def _reach(ends: Ends) -> int:
    return max(1, round(WIDTH * _depth(ends) / 2))


def _is_turned(hu: NDArray[Any], outline: Mask, planes: Sequence[int]) -> bool:
    """Whether a body that is whole in the picture has its spine at a side or in front."""
    edges = [outline[k][row].any() for k in planes for row in (0, -1)]
    if sum(edges) > len(planes) / 2:
        return False
    strengths = []
    for quarters in range(4):
        flank = FLANK if quarters else ROLLED_FLANK
        filled = []
        for k in planes:
            plane, ends = np.rot90(hu[k], quarters), _ends(np.rot90(outline[k], quarters))
            filled.append(_filled(_bone(plane, ends, (True, True), flank), ends))
        strengths.append(float(np.max(np.mean(filled, axis=0))))
    return max(strengths[1:]) >= max(FILLED, TURNED * strengths[0])


def _smooth(found: dict[int, float], slices: int) -> NDArray[np.float64]:
    """Return a column for each slice: the median of the columns found near it."""
    at, columns = np.array(sorted(found)), np.array([found[k] for k in sorted(found)])
    reach = max(1, round(SMOOTH * slices / 2))
    medians = [np.median(columns[np.abs(at - k) <= reach]) for k in at]
    return np.asarray(np.interp(np.arange(slices), at, medians))
