"""Where the spine is in a CT, and whether a picture is turned against its header.

Lengths are shares of the body's depth or of the picture, so that they hold for an adult, a child
and a mouse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.inference.body import Mask

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
# A heart with contrast agent is as bright as the spine, but has no canal: a hole of at least this
# share of the square of the depth, with bone all around, and most of it before the hole, because
# the body of a vertebra is larger than its arch. It is closed in some slices only. On 12 CT, also
# with a heart that was made bright, 27% to 83% of the slices showed it, and at most 20% such a hole
# in front.
CANAL, CANAL_SEEN, CANAL_BACK = 0.002, 0.2, 0.4
# In a crop ribs may lie where the spine would. There it is the spine if this share of the slices
# shows its canal, or if half of the slices have this much bone: without skin, and with that of one
# side. In 430 random crops, ribs had up to 1.3 and 0.65, but for one.
CONFIRMED, MORE_THAN_RIBS = 0.1, (1.3, 0.8)

Ends = tuple[int, int, int, int]


def find_ends(outline: Mask) -> Ends:
    """Return the first and last column, and the first and last row, of an outline."""
    columns, rows = np.flatnonzero(outline.any(axis=0)), np.flatnonzero(outline.any(axis=1))
    return int(columns[0]), int(columns[-1]), int(rows[0]), int(rows[-1])


def find_spine(
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


def is_confirmed(hu: NDArray[Any], ends: dict[int, Ends], skin: tuple[bool, bool]) -> bool:
    """Whether what seems to be the spine in a crop has a canal, or more bone than ribs have."""
    filled = [_filled(_bone(hu[k], end, skin), end) for k, end in ends.items()]
    if np.median([strip.max() for strip in filled]) >= MORE_THAN_RIBS[any(skin)]:
        return True
    canals = [_has_canal(hu[k], ends[k], strip) for k, strip in zip(ends, filled, strict=True)]
    return sum(canals) >= CONFIRMED * len(canals)


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


def find_skin(ends: Sequence[Ends], width: int) -> tuple[bool, bool]:
    """Return whether the skin at the right and at the left side is in most slices of the picture.

    A slice in which the outline reaches the edge of the picture does not show the skin there.
    """
    right = sum(first > 0 for first, _, _, _ in ends)
    left = sum(last < width - 1 for _, last, _, _ in ends)
    return right > len(ends) / 2, left > len(ends) / 2


def is_turned(hu: NDArray[Any], outline: Mask) -> bool:
    """Whether the spine lies at a side or in front.

    Args:
        hu: the slices that hold lung, `(d, h, w)`.
        outline: of the body in these slices.
    """
    views = [_View(hu, outline, quarters) for quarters in range(4)]
    # If front or back is not in the picture, the spine may lie anywhere in it.
    upright = views[0].canals
    other = max((view.canals for view in views[1:] if view.is_deep), default=0.0)
    if max(upright, other) >= max(CANAL_SEEN, TURNED * min(upright, other)):
        return other > upright
    if not (all(views[0].skin) and views[0].is_deep):
        return False
    strengths = [view.strength for view in views]
    return max(strengths[1:]) >= max(FILLED, TURNED * strengths[0])


class _View:
    """What would be the spine if a side of the picture, or its front, were the back.

    Attributes:
        skin: whether the skin is in the picture at either side.
        is_deep: whether it is in front and at the back.
        strength: how much bone the columns with most bone hold, as a share, on average.
        canals: the share of the slices that show a canal there.
    """

    def __init__(self, hu: NDArray[Any], outline: Mask, quarters: int) -> None:
        planes = np.rot90(hu, quarters, (1, 2))
        ends = [find_ends(plane) for plane in np.rot90(outline, quarters, (1, 2))]
        self.skin = find_skin(ends, planes.shape[2])
        edges = [end[2] == 0 or end[3] == planes.shape[1] - 1 for end in ends]
        self.is_deep = sum(edges) <= len(ends) / 2
        flank = FLANK if quarters else ROLLED_FLANK
        pairs = list(zip(planes, ends, strict=True))
        filled = [_filled(_bone(plane, end, self.skin, flank), end) for plane, end in pairs]
        self.strength = float(np.max(np.mean(filled, axis=0)))
        self.canals = float(
            np.mean([_has_canal(*pair, strip) for pair, strip in zip(pairs, filled, strict=True)])
        )


def _has_canal(plane: NDArray[Any], ends: Ends, filled: NDArray[np.float64]) -> bool:
    """Whether the part of a slice with most bone has a canal."""
    peak, reach, depth = int(np.argmax(filled)), 2 * _reach(ends), _depth(ends)
    if filled[peak] < FILLED / 2:
        return False
    top = ends[2] + int(CANAL_BACK * depth)
    part = plane[top : ends[3] + 1, max(0, peak - reach) : peak + reach + 1]
    # So that the outside is one part, and joints between vertebrae are closed.
    bone = np.pad((part > BONE_ABOVE_HU).astype(np.uint8), 2)
    closed = cv2.morphologyEx(bone, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    hole, middle = max(_largest_hole(bone), _largest_hole(closed))
    before = np.count_nonzero(bone[: int(middle) + 1])
    return hole >= CANAL * depth**2 and bool(before > np.count_nonzero(bone) / 2)


def _largest_hole(bone: NDArray[np.uint8]) -> tuple[int, float]:
    """Return the size of the largest hole in bone, in pixels, and its middle row."""
    _, labels, stats, centres = cv2.connectedComponentsWithStats(1 - bone, connectivity=4)
    sizes = stats[:, cv2.CC_STAT_AREA].copy()
    sizes[[0, labels[0, 0]]] = 0  # the bone, and what is around it
    largest = int(np.argmax(sizes))
    return int(sizes[largest]), float(centres[largest][1])
