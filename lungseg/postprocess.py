"""What is known of lungs and a network of slices is not: there are two, each in one piece.

All with SimpleITK, on a binary volume whose axes run to the patient's left, back and head. Each
step says what it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.config import InferConfig

LEFT, RIGHT = 1, 2
# Two lungs grown together are taken apart by erosion of up to this many voxels.
MAX_EROSION = 6
# Lung has a median of -900 to -700 HU, with emphysema lower; bowel gas and room air have -1000.
AIR_BELOW_HU = -950
# So many of the largest parts are looked at.
MOST_PARTS = 30
# Each lung has at least this share of both.
SMALLEST_SHARE = 0.1


def tidy(lungs: Any, settings: InferConfig, ct: Any = None) -> tuple[Any, list[str]]:
    """Leave out parts that are air, keep the largest of the others, fill their holes.

    Args:
        lungs: uint8 SimpleITK image, 0 or 1.
        settings: which steps, and how far.
        ct: SimpleITK image in HU on the same grid; without it air cannot be told from lung.

    Returns:
        The image, and a line for each step that changed something. A second call changes nothing.
    """
    box = _bounding_box(lungs)
    if box is None:
        return lungs, []
    # The box alone: labels of a whole CT's parts take twice the memory of the CT.
    start, size = box
    hu = None if ct is None else sitk.RegionOfInterest(ct, size, start)
    found, done = _tidy_box(sitk.RegionOfInterest(lungs, size, start), settings, hu)
    return (sitk.Paste(lungs, found, size, destinationIndex=start) if done else lungs), done


def _tidy_box(lungs: Any, settings: InferConfig, hu: Any) -> tuple[Any, list[str]]:
    done = []
    smallest = settings.min_component_ml * 1000 / np.prod(lungs.GetSpacing())
    if settings.drop_air and hu is not None:
        lungs, dropped = _without_air(lungs, hu, smallest)
        if dropped:
            said = f"{len(dropped)} parts of air dropped (bowel, airways, around the patient)"
            done.append(f"{said}: {_ml(lungs, sum(dropped)):.1f} mL")
    before = _count(lungs)
    if settings.fill_holes:
        lungs = sitk.BinaryFillhole(lungs, fullyConnected=False)
        if _count(lungs) > before:
            done.append(f"holes filled: {_ml(lungs, _count(lungs) - before):.1f} mL")
    if settings.components or settings.min_component_ml:
        parts = _parts(lungs)
        most = settings.components or len(parts.sizes)
        keep = sum(size >= smallest for size in parts.sizes[:most])
        dropped = parts.sizes[keep:]
        if dropped:
            lungs = parts.select([1] * keep)
            done.append(f"{len(dropped)} small parts dropped: {_ml(lungs, sum(dropped)):.1f} mL")
    return lungs, done


def _without_air(lungs: Any, hu: Any, smallest: float) -> tuple[Any, list[int]]:
    """Leave out parts, of at least `smallest` voxels, whose median is that of air, not of lung."""
    parts = _parts(lungs)
    labelled, values = (sitk.GetArrayViewFromImage(image) for image in (parts.labelled, hu))
    keep, dropped = [], []
    for number, size in zip(parts.numbers[:MOST_PARTS], parts.sizes, strict=False):
        # Smaller ones go by their size.
        is_air = size >= smallest and np.median(values[labelled == number]) < AIR_BELOW_HU
        keep.append(int(not is_air))
        if is_air:
            dropped.append(size)
    keep += [1] * (len(parts.numbers) - len(keep))
    return (parts.select(keep) if dropped else lungs), dropped


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
    parts = _parts(lungs)
    if parts.hold_two_lungs:
        return _by_nearest(lungs, parts), []
    for radius in range(1, MAX_EROSION + 1):
        # Lungs meet in front of the heart, within slices: erode there, not along the body.
        eroded = sitk.BinaryErode(lungs, [radius, radius, 0])
        parts = _parts(eroded)
        if parts.hold_two_lungs:
            return _by_nearest(lungs, parts), [f"lungs parted by {radius} voxels of erosion"]
    values = sitk.GetArrayFromImage(lungs)
    columns = np.flatnonzero(values.any(axis=(0, 1)))
    middle = (columns[0] + columns[-1] + 1) // 2
    values[:, :, :middle] *= RIGHT
    divided = sitk.GetImageFromArray(values)
    divided.CopyInformation(lungs)
    return divided, ["lungs could not be told apart: divided at the middle of the mask"]


def _by_nearest(lungs: Any, parts: _Parts) -> Any:
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


@dataclass(frozen=True)
class _Parts:
    """The connected parts of a mask.

    Attributes:
        labelled: SimpleITK image, a number for each part.
        numbers: those numbers, the largest part's first.
        sizes: their voxels, in the same order.
    """

    labelled: Any
    numbers: list[int]
    sizes: list[int]

    @property
    def hold_two_lungs(self) -> bool:
        """Whether the second part is large enough to be a lung."""
        return len(self.sizes) > 1 and self.sizes[1] >= SMALLEST_SHARE * sum(self.sizes)

    def select(self, values: Sequence[int]) -> Any:
        """Return a uint8 image with `values` for the largest parts, 0 for the others."""
        table = np.zeros(len(self.numbers) + 1, dtype=np.uint8)
        table[self.numbers[: len(values)]] = values
        labelled = sitk.GetArrayViewFromImage(self.labelled)
        selected = np.empty(labelled.shape, dtype=np.uint8)
        # Slice by slice: an index array of the whole would be another copy.
        for k, one in enumerate(labelled):
            selected[k] = table[one]
        image = sitk.GetImageFromArray(selected)
        image.CopyInformation(self.labelled)
        return image


def _parts(mask: Any) -> _Parts:
    # Sizes are counted here: RelabelComponent would make a second copy of the labels.
    labelled = sitk.ConnectedComponent(mask)
    counts = np.zeros(1, dtype=np.int64)
    for one in sitk.GetArrayViewFromImage(labelled):
        found = np.bincount(one.ravel(), minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    numbers = 1 + np.argsort(-counts[1:], kind="stable")
    return _Parts(labelled, [int(n) for n in numbers], [int(counts[n]) for n in numbers])


def _count(image: Any) -> int:
    return int(np.count_nonzero(sitk.GetArrayViewFromImage(image)))


def _ml(image: Any, voxels: int) -> float:
    return float(voxels * np.prod(image.GetSpacing()) / 1000)
