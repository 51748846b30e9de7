"""A mask cleaned up by its connected parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.config.schema import InferConfig

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
    box = bounding_box(lungs)
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
            done.append(f"{said}: {millilitres(lungs, sum(dropped)):.1f} mL")
    before = count_voxels(lungs)
    if settings.fill_holes:
        lungs = sitk.BinaryFillhole(lungs, fullyConnected=False)
        if count_voxels(lungs) > before:
            done.append(f"holes filled: {millilitres(lungs, count_voxels(lungs) - before):.1f} mL")
    if settings.components or settings.min_component_ml:
        parts = find_parts(lungs)
        most = settings.components or len(parts.sizes)
        keep = sum(size >= smallest for size in parts.sizes[:most])
        dropped = parts.sizes[keep:]
        if dropped:
            lungs = parts.select([1] * keep)
            done.append(
                f"{len(dropped)} small parts dropped: {millilitres(lungs, sum(dropped)):.1f} mL"
            )
    return lungs, done


def _without_air(lungs: Any, hu: Any, smallest: float) -> tuple[Any, list[int]]:
    """Leave out parts, of at least `smallest` voxels, whose median is that of air, not of lung."""
    parts = find_parts(lungs)
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


def bounding_box(mask: Any) -> tuple[list[int], list[int]] | None:
    """Return start and size of the smallest box around a mask, in SimpleITK's order (x, y, z)."""
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(mask)
    if not shape.GetNumberOfLabels():
        return None
    box = shape.GetBoundingBox(1)
    return list(box[:3]), list(box[3:])


@dataclass(frozen=True)
class Parts:
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


def find_parts(mask: Any) -> Parts:
    """Label the connected parts of a mask and count their voxels."""
    # Sizes are counted here: RelabelComponent would make a second copy of the labels.
    labelled = sitk.ConnectedComponent(mask)
    counts = np.zeros(1, dtype=np.int64)
    for one in sitk.GetArrayViewFromImage(labelled):
        found = np.bincount(one.ravel(), minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    numbers = 1 + np.argsort(-counts[1:], kind="stable")
    return Parts(labelled, [int(n) for n in numbers], [int(counts[n]) for n in numbers])


def count_voxels(image: Any) -> int:
    """Return the number of voxels above zero."""
    return int(np.count_nonzero(sitk.GetArrayViewFromImage(image)))


def millilitres(image: Any, voxels: int) -> float:
    """Return the volume of a number of voxels in mL."""
    return float(voxels * np.prod(image.GetSpacing()) / 1000)
