"""Left and right lung of a segmented CT volume, and their measurements."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.inference.postprocess import Parts, bounding_box, find_parts
from lungseg.inference.rows import LungMeasures, Measures

LEFT = 1
RIGHT = 2
# Lungs that touch are separated by an erosion of at most this many voxels.
MAX_EROSION = 6


def label_sides(lungs: Any) -> tuple[Any, list[str]]:
    """Label the left lung 1 and the right lung 2 by their position.

    Of two separate parts, the one whose centre lies further to the patient's left is the left lung.
    Lungs that touch, for example in front of the heart, are eroded until they separate; each voxel
    then belongs to the nearer part. If that fails, the middle of the mask divides them.

    Args:
        lungs: uint8 SimpleITK image, 0 or 1, on the canonical grid.

    Returns:
        The labels, and one sentence for each step that was needed beyond comparing centres.
    """
    box = bounding_box(lungs)
    if box is None:
        return lungs, []
    # Only the box is labelled: labels and distances of a whole CT take more memory than the CT.
    start, size = box
    labels, steps = _label_box(sitk.RegionOfInterest(lungs, size, start))
    return sitk.Paste(lungs, labels, size, destinationIndex=start), steps


def _label_box(lungs: Any) -> tuple[Any, list[str]]:
    parts = find_parts(lungs)
    if parts.hold_two_lungs:
        return _by_nearest(lungs, parts), []
    for radius in range(1, MAX_EROSION + 1):
        # Lungs touch within slices, in front of the heart, so z is not eroded.
        eroded = sitk.BinaryErode(lungs, [radius, radius, 0])
        parts = find_parts(eroded)
        if parts.hold_two_lungs:
            return _by_nearest(lungs, parts), [f"lungs separated by an erosion of {radius} voxels"]
    values = sitk.GetArrayFromImage(lungs)
    columns = np.flatnonzero(values.any(axis=(0, 1)))
    middle = (columns[0] + columns[-1] + 1) // 2
    values[:, :, :middle] *= RIGHT
    divided = sitk.GetImageFromArray(values)
    divided.CopyInformation(lungs)
    return divided, ["lungs could not be separated, so the mask was divided in its middle"]


def _by_nearest(lungs: Any, parts: Parts) -> Any:
    """Label each voxel by the nearer one of the two largest parts."""
    markers = parts.select([1, 2])
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(markers)
    # x grows towards the patient's left.
    left, right = (1, 2) if shape.GetCentroid(1)[0] > shape.GetCentroid(2)[0] else (2, 1)
    is_marked = sitk.GetArrayViewFromImage(markers) > 0
    if np.array_equal(is_marked, sitk.GetArrayViewFromImage(lungs) > 0):
        return sitk.Cast(markers == left, sitk.sitkUInt8) * LEFT + (markers == right) * RIGHT
    distance = [
        sitk.SignedMaurerDistanceMap(markers == label, squaredDistance=False, useImageSpacing=True)
        for label in (left, right)
    ]
    nearer_left = sitk.Cast(distance[0] <= distance[1], sitk.sitkUInt8)
    return lungs * (nearer_left * LEFT + (1 - nearer_left) * RIGHT)


def measure(ct: Any, sides: Any) -> Measures:
    """Measure the lungs of a volume: millilitres, density, and whether lung is cut off.

    Args:
        ct: SimpleITK image in HU.
        sides: labels on the same grid, left lung 1, right lung 2.
    """
    hu = sitk.GetArrayViewFromImage(ct)
    labels = sitk.GetArrayViewFromImage(sides)
    voxel_ml = float(np.prod(ct.GetSpacing())) / 1000
    lung = labels > 0
    faces = (lung[0], lung[-1], lung[:, 0], lung[:, -1], lung[:, :, 0], lung[:, :, -1])
    return Measures(
        lung=_measure_values(hu[lung], voxel_ml),
        left=_measure_values(hu[labels == LEFT], voxel_ml),
        right=_measure_values(hu[labels == RIGHT], voxel_ml),
        slices_with_lung=int(lung.any(axis=(1, 2)).sum()),
        touches_border=any(bool(face.any()) for face in faces),
    )


def _measure_values(hu: NDArray[Any], voxel_ml: float) -> LungMeasures:
    """Measure the HU values `(N,)` of one lung's voxels."""
    volume = round(len(hu) * voxel_ml, 2)
    if not len(hu):
        return LungMeasures(volume)
    mean = round(float(hu.mean()), 1)
    percentiles = (round(float(np.percentile(hu, p)), 1) for p in (5, 15, 50, 95))
    return LungMeasures(volume, mean, *percentiles)
