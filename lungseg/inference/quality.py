"""How far the mask of a volume can be trusted, without a truth to compare it with."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.imaging.hounsfield import are_tissues_in_place
from lungseg.inference.postprocess import find_parts, millilitres
from lungseg.inference.rows import Quality
from lungseg.inference.threshold import find_body, label_lungs

# Size of the voxels (x, y, z) in mm that the slower checks work on. The lungs found by a threshold
# are the same at this size, within a Dice of 0.98 on 12 CT.
CHECKED_MM = (2.5, 2.5, 5.0)
# Of an axis at least this many voxels are left.
MIN_SIDE = (64, 64, 16)
# A slice of fewer mm per side shows no body, or its voxels have another size than stated. In it the
# kernels of the threshold method, which are in mm, would have more pixels than the slice.
MIN_FIELD_MM = 20.0
# Parts of fewer mL are not counted.
PART_ML = 1.0


def thin_out(image: Any) -> Any:
    """Return every n-th voxel of each axis, so that voxels have about the size `CHECKED_MM`."""
    x, y, z = (
        min(max(1, round(wanted / given)), max(1, size // least))
        for wanted, given, size, least in zip(
            CHECKED_MM, image.GetSpacing(), image.GetSize(), MIN_SIDE, strict=True
        )
    )
    return image[::x, ::y, ::z]


def assess(ct: Any, found: Any, lungs: Any, certainty: float | None) -> Quality:
    """Measure how far a mask can be trusted.

    Args:
        ct: SimpleITK image in HU, from `thin_out`; axes to the patient's left, back and head.
        found: the network's mask on the same grid.
        lungs: the mask after tidying.
        certainty: of the network.
    """
    before, after = (sitk.GetArrayViewFromImage(image) > 0 for image in (found, lungs))
    size, dropped = int(before.sum()), int((before & ~after).sum())
    fields = [n * mm for n, mm in zip(ct.GetSize(), ct.GetSpacing(), strict=True)]
    hu, dice, left = sitk.GetArrayViewFromImage(ct), None, None
    if min(fields[:2]) >= MIN_FIELD_MM:
        body = find_body(hu, ct.GetSpacing())
        dice, left = _threshold_dice(ct, body, after), _left_of_middle(body, after)
    return Quality(
        certainty=certainty,
        threshold_dice=dice,
        dropped_share=round(dropped / size, 4) if size else None,
        parts_found=sum(millilitres(found, n) >= PART_ML for n in find_parts(found).sizes),
        left_of_middle_share=left,
        tissues_in_place=are_tissues_in_place(hu),
    )


def _threshold_dice(ct: Any, body: NDArray[np.bool_], lungs: NDArray[np.bool_]) -> float | None:
    """Return the Dice of the lungs and those found by a threshold; None if both are empty."""
    by_threshold = sitk.GetArrayFromImage(label_lungs(ct, body)) > 0
    both = int(lungs.sum()) + int(by_threshold.sum())
    return round(2 * int((lungs & by_threshold).sum()) / both, 4) if both else None


def _left_of_middle(body: NDArray[np.bool_], lungs: NDArray[np.bool_]) -> float | None:
    """Return the share of the lung to the left of the body's middle; None without lung or body."""
    tissue, columns = np.nonzero(body)[2], np.nonzero(lungs)[2]
    if not len(tissue) or not len(columns):
        return None
    return round(float(np.mean(columns > np.median(tissue))), 4)
