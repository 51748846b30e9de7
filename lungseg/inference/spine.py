"""Where the spine is in a CT, and whether a picture is turned against its header.

Lengths are shares of the body's depth or of the picture, so that they hold for an adult, a child
and a mouse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def is_turned(hu: NDArray[Any], outline: Mask, planes: Sequence[int]) -> bool:
    """Whether a body that is whole in the picture has its spine at a side or in front."""
    edges = [outline[k][row].any() for k in planes for row in (0, -1)]
    if sum(edges) > len(planes) / 2:
        return False
    strengths = []
    for quarters in range(4):
        flank = FLANK if quarters else ROLLED_FLANK
        filled = []
        for k in planes:
            plane, ends = np.rot90(hu[k], quarters), find_ends(np.rot90(outline[k], quarters))
            filled.append(_filled(_bone(plane, ends, (True, True), flank), ends))
        strengths.append(float(np.max(np.mean(filled, axis=0))))
    return max(strengths[1:]) >= max(FILLED, TURNED * strengths[0])
