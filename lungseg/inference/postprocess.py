"""Clean up a mask by its connected parts.

There are two lungs, and each is connected. The network, which sees single slices, cannot know that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.config.schema import InferConfig

# The median of a lung is -900 to -700 HU, lower with emphysema. Bowel gas and room air have -1000.
AIR_BELOW_HU = -950
# Only this many of the largest parts are checked for air.
MAX_PARTS = 30
# Each lung has at least this share of the voxels of both.
MIN_SHARE = 0.1


def tidy(lungs: Any, settings: InferConfig, ct: Any = None) -> tuple[Any, list[str]]:
    """Remove parts that are air, keep the largest of the others, and fill their holes.

    Args:
        lungs: uint8 SimpleITK image, 0 or 1.
        settings: which of the steps are taken, and their limits.
        ct: SimpleITK image in HU on the same grid. Without it, air is not removed.

    Returns:
        The image, and one sentence for each step that changed it. A second call changes nothing.
    """
    box = bounding_box(lungs)
    if box is None:
        return lungs, []
    # Only the box is labelled: labels of a whole CT's parts take twice the memory of the CT.
    start, size = box
    hu = None if ct is None else sitk.RegionOfInterest(ct, size, start)
    tidied, steps = _tidy_box(sitk.RegionOfInterest(lungs, size, start), settings, hu)
    return (sitk.Paste(lungs, tidied, size, destinationIndex=start) if steps else lungs), steps


def _tidy_box(lungs: Any, settings: InferConfig, hu: Any) -> tuple[Any, list[str]]:
    steps = []
    min_voxels = settings.min_component_ml * 1000 / np.prod(lungs.GetSpacing())
    if settings.drop_air and hu is not None:
        lungs, dropped = _without_air(lungs, hu, min_voxels)
        if dropped:
            steps.append(
                f"{_parts(dropped)} of air dropped (bowel, airways, around the patient): "
                f"{millilitres(lungs, sum(dropped)):.1f} mL"
            )
    before = count_voxels(lungs)
    if settings.fill_holes:
        lungs = sitk.BinaryFillhole(lungs, fullyConnected=False)
        if count_voxels(lungs) > before:
            filled = count_voxels(lungs) - before
            steps.append(f"holes filled: {millilitres(lungs, filled):.1f} mL")
    if settings.components or settings.min_component_ml:
        parts = find_parts(lungs)
        max_parts = settings.components or len(parts.sizes)
        keep = sum(size >= min_voxels for size in parts.sizes[:max_parts])
        dropped = parts.sizes[keep:]
        if dropped:
            lungs = parts.select([1] * keep)
            steps.append(
                f"{_parts(dropped, 'small ')} dropped: {millilitres(lungs, sum(dropped)):.1f} mL"
            )
    return lungs, steps


def _parts(sizes: Sequence[int], kind: str = "") -> str:
    return f"{len(sizes)} {kind}part{'' if len(sizes) == 1 else 's'}"


def _without_air(lungs: Any, hu: Any, min_voxels: float) -> tuple[Any, list[int]]:
    """Remove parts of at least `min_voxels` whose median HU is that of air.

    Smaller parts are left to the step that removes small parts.

    Returns:
        The remaining lungs, and the number of voxels of each part that was removed.
    """
    parts = find_parts(lungs)
    labelled, values = (sitk.GetArrayViewFromImage(image) for image in (parts.labelled, hu))
    keep, dropped = [], []
    for number, size in zip(parts.numbers[:MAX_PARTS], parts.sizes, strict=False):
        is_air = size >= min_voxels and np.median(values[labelled == number]) < AIR_BELOW_HU
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
        labelled: SimpleITK image that holds the number of a part at each of its voxels.
        numbers: the numbers of the parts, the largest part first.
        sizes: the number of voxels of each part, in the same order.
    """

    labelled: Any
    numbers: list[int]
    sizes: list[int]

    @property
    def hold_two_lungs(self) -> bool:
        """Whether the second part is large enough to be a lung."""
        return len(self.sizes) > 1 and self.sizes[1] >= MIN_SHARE * sum(self.sizes)

    def select(self, values: Sequence[int]) -> Any:
        """Return a uint8 image that holds `values` in the largest parts and 0 elsewhere."""
        table = np.zeros(len(self.numbers) + 1, dtype=np.uint8)
        table[self.numbers[: len(values)]] = values
        labelled = sitk.GetArrayViewFromImage(self.labelled)
        selected = np.empty(labelled.shape, dtype=np.uint8)
        # Slice by slice, because indexing the whole volume at once would make another copy of it.
        for k, plane in enumerate(labelled):
            selected[k] = table[plane]
        image = sitk.GetImageFromArray(selected)
        image.CopyInformation(self.labelled)
        return image


def find_parts(mask: Any) -> Parts:
    """Label the connected parts of a mask and count their voxels."""
    # Voxels are counted here, because RelabelComponent would make a second copy of the labels.
    labelled = sitk.ConnectedComponent(mask)
    counts = np.zeros(1, dtype=np.int64)
    for plane in sitk.GetArrayViewFromImage(labelled):
        total = np.bincount(plane.ravel(), minlength=len(counts))
        total[: len(counts)] += counts
        counts = total
    numbers = 1 + np.argsort(-counts[1:], kind="stable")
    return Parts(labelled, [int(n) for n in numbers], [int(counts[n]) for n in numbers])


def count_voxels(image: Any) -> int:
    """Return the number of voxels above zero."""
    return int(np.count_nonzero(sitk.GetArrayViewFromImage(image)))


def millilitres(image: Any, voxels: int) -> float:
    """Return the volume of a number of voxels in mL."""
    return float(voxels * np.prod(image.GetSpacing()) / 1000)
