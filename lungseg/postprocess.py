"""What is known of lungs and a network of slices is not: there are two, each in one piece.

All with SimpleITK, on a binary volume whose axes run to the patient's left, back and head. Each
step says what it did.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.config import InferConfig

LEFT, RIGHT = 1, 2
# Two lungs grown together are taken apart by erosion of up to this many voxels.
MAX_EROSION = 6
# Each lung has at least this share of both.
SMALLEST_SHARE = 0.1


def tidy(lungs: Any, settings: InferConfig) -> tuple[Any, list[str]]:
    """Keep the largest parts and fill their holes.

    Args:
        lungs: uint8 SimpleITK image, 0 or 1.
        settings: which steps, and how far.

    Returns:
        The image, and a line for each step that changed something. A second call changes nothing.
    """
    done = []
    before = _count(lungs)
    if settings.fill_holes and before:
        lungs = sitk.BinaryFillhole(lungs, fullyConnected=False)
        if _count(lungs) > before:
            done.append(f"holes filled: {_ml(lungs, _count(lungs) - before):.1f} mL")
    if settings.components or settings.min_component_ml:
        parts, sizes = _parts(lungs)
        smallest = settings.min_component_ml * 1000 / np.prod(lungs.GetSpacing())
        most = settings.components or len(sizes)
        keep = [i for i, size in enumerate(sizes, 1) if i <= most and size >= smallest]
        dropped = [size for i, size in enumerate(sizes, 1) if i not in keep]
        if dropped:
            last = max(keep, default=0)
            lungs = sitk.BinaryThreshold(parts, 1, last, 1, 0) if last else lungs * 0
            done.append(f"{len(dropped)} small parts dropped: {_ml(lungs, sum(dropped)):.1f} mL")
    return lungs, done


def label_sides(lungs: Any) -> tuple[Any, list[str]]:
    """Label the left lung 1 and the right lung 2 by where they lie.

    Two parts on two sides are told apart by their centres. Lungs that touch (at the front, say) are
    eroded until they part, and each voxel goes to the nearer one. If that fails, the middle
    of the mask divides them, which is said.
    """
    box = _bounding_box(lungs)
    if box is None:
        return lungs, []
    # Labels and distances of the box alone: those of a whole CT would take more than the CT.
    start, size = box
    found, steps = _label_box(sitk.RegionOfInterest(lungs, size, start))
    return sitk.Paste(lungs, found, size, destinationIndex=start), steps


def _bounding_box(mask: Any) -> tuple[list[int], list[int]] | None:
    """Return start and size of the smallest box around a mask, in SimpleITK's order (x, y, z)."""
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(mask)
    if not shape.GetNumberOfLabels():
        return None
    box = shape.GetBoundingBox(1)
    return list(box[:3]), list(box[3:])


def _label_box(lungs: Any) -> tuple[Any, list[str]]:
    parts, sizes = _parts(lungs)
    if len(sizes) > 1 and sizes[1] >= SMALLEST_SHARE * sum(sizes):
        return _by_nearest(lungs, parts), []
    for radius in range(1, MAX_EROSION + 1):
        # Lungs meet in front of the heart, within slices: erode there, not along the body.
        eroded = sitk.BinaryErode(lungs, [radius, radius, 0])
        parts, sizes = _parts(eroded)
        if len(sizes) > 1 and sizes[1] >= SMALLEST_SHARE * sum(sizes):
            return _by_nearest(lungs, parts), [f"lungs parted by {radius} voxels of erosion"]
    values = sitk.GetArrayFromImage(lungs)
    columns = np.flatnonzero(values.any(axis=(0, 1)))
    middle = (columns[0] + columns[-1] + 1) // 2
    values[:, :, :middle] *= RIGHT
    divided = sitk.GetImageFromArray(values)
    divided.CopyInformation(lungs)
    return divided, ["lungs could not be told apart: divided at the middle of the mask"]


def _by_nearest(lungs: Any, parts: Any) -> Any:
    """Give each voxel the side of the nearer of the two largest parts."""
    markers = sitk.Cast(parts * sitk.Cast(parts <= 2, parts.GetPixelID()), sitk.sitkUInt8)
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


def _parts(mask: Any) -> tuple[Any, list[int]]:
    """Label the connected parts, the largest 1, the next 2, and return their voxels beside."""
    order = sitk.RelabelComponentImageFilter()
    order.SortByObjectSizeOn()
    parts = order.Execute(sitk.ConnectedComponent(mask))
    return parts, [int(size) for size in order.GetSizeOfObjectsInPixels()]


def _count(image: Any) -> int:
    return int(np.count_nonzero(sitk.GetArrayViewFromImage(image)))


def _ml(image: Any, voxels: int) -> float:
    return float(voxels * np.prod(image.GetSpacing()) / 1000)
