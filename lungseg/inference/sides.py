"""Left and right lung told apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.inference.postprocess import Parts, bounding_box, find_parts

LEFT, RIGHT = 1, 2


# Two lungs grown together are taken apart by erosion of up to this many voxels.
MAX_EROSION = 6


def label_sides(lungs: Any) -> tuple[Any, list[str]]:
    """Label the left lung 1 and the right lung 2 by where they lie.

    Two parts on two sides are told apart by their centres. Lungs that touch (at the front, say) are
    eroded until they part, and each voxel goes to the nearer one. If that fails, the middle
    of the mask divides them, which is said.
    """
    box = bounding_box(lungs)
    if box is None:
        return lungs, []
    # Labels and distances of the box alone: those of a whole CT would take more than the CT.
    start, size = box
    found, steps = _label_box(sitk.RegionOfInterest(lungs, size, start))
    return sitk.Paste(lungs, found, size, destinationIndex=start), steps


def _label_box(lungs: Any) -> tuple[Any, list[str]]:
    parts = find_parts(lungs)
    if parts.hold_two_lungs:
        return _by_nearest(lungs, parts), []
    for radius in range(1, MAX_EROSION + 1):
        # Lungs meet in front of the heart, within slices: erode there, not along the body.
        eroded = sitk.BinaryErode(lungs, [radius, radius, 0])
        parts = find_parts(eroded)
        if parts.hold_two_lungs:
            return _by_nearest(lungs, parts), [f"lungs parted by {radius} voxels of erosion"]
    values = sitk.GetArrayFromImage(lungs)
    columns = np.flatnonzero(values.any(axis=(0, 1)))
    middle = (columns[0] + columns[-1] + 1) // 2
    values[:, :, :middle] *= RIGHT
    divided = sitk.GetImageFromArray(values)
    divided.CopyInformation(lungs)
    return divided, ["lungs could not be told apart: divided at the middle of the mask"]


def _by_nearest(lungs: Any, parts: Parts) -> Any:
    """Give each voxel the side of the nearer of the two largest parts."""
    markers = parts.select([1, 2])
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(markers)
    first, second = shape.GetCentroid(1)[0], shape.GetCentroid(2)[0]
    # Towards the patient's left x grows.
    left, right = (1, 2) if first > second else (2, 1)
    if not np.any((sitk.GetArrayViewFromImage(markers) > 0) != _mask_of(lungs)):
        return sitk.Cast(markers == left, sitk.sitkUInt8) * LEFT + (markers == right) * RIGHT
    distance = [
        sitk.SignedMaurerDistanceMap(markers == label, squaredDistance=False, useImageSpacing=True)
        for label in (left, right)
    ]
    nearer_left = sitk.Cast(distance[0] <= distance[1], sitk.sitkUInt8)
    return lungs * (nearer_left * LEFT + (1 - nearer_left) * RIGHT)


def _mask_of(lungs: Any) -> NDArray[np.bool_]:
    return np.asarray(sitk.GetArrayFromImage(lungs) > 0)
