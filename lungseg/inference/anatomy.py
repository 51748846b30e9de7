"""Where the midline of the body is in a CT, and which skin is in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.inference.airways import find_trachea
from lungseg.inference.body import Body
from lungseg.inference.spine import Ends, find_ends, find_skin, find_spine, is_confirmed, is_turned
from lungseg.inference.threshold import air_within

# The midline is averaged over this share of the slices.
SMOOTH = 0.2


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
    """The body around the lungs, and its midline.

    Attributes:
        body: the body on a coarse grid.
        skin: whether the skin at the right and at the left side of the body is in the picture.
        turned: whether the spine lies at a side or in front, against what the header says.
        midline: None if neither spine, nor skin, nor trachea is in the picture, or if it is turned.
    """

    body: Body
    skin: tuple[bool, bool]
    turned: bool
    midline: Midline | None


def find_anatomy(body: Body, lungs: Any) -> Anatomy:
    """Find the midline of a body.

    Args:
        body: of the CT.
        lungs: SimpleITK image on the grid of the CT; above 0 in the lungs. The midline is taken
            from the slices that hold lung.
    """
    mask = body.coarse(lungs, (0, 0, 0)) > 0
    body = body.around(mask)
    held = mask.any(axis=(1, 2)) & body.outline.any(axis=(1, 2))
    ends = {int(k): find_ends(body.outline[k]) for k in np.flatnonzero(held)}
    skin = find_skin(list(ends.values()), mask.shape[2])
    turned = bool(ends) and is_turned(body.hu[list(ends)], body.outline[list(ends)])
    found = None if turned else _find_midline(body, ends, skin)
    midline = None
    if found is not None:
        x = body.step[0] * (found[0] + 0.5) - 0.5
        at = body.step[2] * np.arange(len(mask)) + body.step[2] // 2
        midline = Midline(np.interp(np.arange(lungs.GetSize()[2]), at, x), found[1])
    return Anatomy(body, skin, turned, midline)


def _find_midline(
    body: Body, ends: dict[int, Ends], skin: tuple[bool, bool]
) -> tuple[NDArray[np.float64], str] | None:
    """Return the column of the midline in each coarse slice, and what it follows from."""
    if not ends:
        return None
    hu = body.hu
    spine = find_spine(hu, ends, skin)
    middle = {k: (first + last) / 2 for k, (first, last, _, _) in ends.items()}
    # In a crop, what seems to be the spine may be ribs.
    if spine and (all(skin) or is_confirmed(hu, ends, skin)):
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
    spots = find_trachea(
        smooth, air_within(hu, body.tissue, body.spacing) & body.outline, body.spacing
    )
    if spots:
        return _smooth({spot.z: spot.centre[0] for spot in spots}, len(hu)), "the trachea"
    return None


def _smooth(found: dict[int, float], slices: int) -> NDArray[np.float64]:
    """Return a column for each slice: the median of the columns found near it."""
    at, columns = np.array(sorted(found)), np.array([found[k] for k in sorted(found)])
    reach = max(1, round(SMOOTH * slices / 2))
    medians = [np.median(columns[np.abs(at - k) <= reach]) for k in at]
    return np.asarray(np.interp(np.arange(slices), at, medians))
