"""Clean up a mask by its connected parts: what stays is lung by its place, shape and size.

The network sees single slices. It takes gas in the bowel, airways and the cushion of the table for
lung. A rule that looks at one number would remove sick lungs with them: emphysema is as dark as
gas, and a lung may be in three pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.config.schema import InferConfig
from lungseg.inference.body import IN_BODY, Body

# The median of a lung is -900 to -700 HU. Gas has -1000, more in small bubbles, whose edge is
# blurred, and lungs with much emphysema come near. So a darker part is gas by other signs alone.
AIR_BELOW_HU = -920
# Only this many of the largest parts are checked for air.
MAX_PARTS = 30
# Air between an arm and the chest lies in the outline of the body, too. It is as dark as gas, most
# of it reaches the room, and less of it lies in the outline than of a lung that is cut off.
OPEN, MOSTLY_IN_BODY = 0.8, 0.8
# A lung holds vessels, however dark it is: this share of its interior is brighter than this.
VESSEL_ABOVE_HU, VESSEL_SHARE = -800, 0.02
# A lung takes at least this share of the body's outline in the slices that show it.
LUNG_SHARE = 0.12
# Gas lies low: it ends below this share of the height of the lungs, or begins this share deeper.
MIDDLE, DEEPER = 0.5, 0.25
# A part is a lung or a large piece of one if it has at least this share of the largest part.
LARGE = 0.1
# A smaller piece has at least this share, and lies above the lowest part of the lungs, where bowel
# and stomach are.
PIECE, LOWEST = 0.02, 0.25
# In an animal a lung may have less than `min_component_ml`, but it has this share of the body.
BODY_SHARE = 0.01
# So many parts are picked out of an image one by one.
FEW_PARTS = 4


def tidy(lungs: Any, settings: InferConfig, body: Body | None = None) -> tuple[Any, list[str]]:
    """Remove parts that are air or beside the body, fill holes, and keep the parts that are lung.

    Args:
        lungs: uint8 SimpleITK image, 0 or 1.
        settings: which of the steps are taken, and their limits.
        body: of the CT that the lungs belong to. Without it, no part is judged by its place or by
            its density.

    Returns:
        The image, and one sentence for each step that changed it. Without a body a second call
        changes nothing.
    """
    boxes = bounding_boxes(lungs)
    if not boxes:
        return lungs, []
    # Only the box is labelled: labels of a whole CT's parts take twice the memory of the CT.
    start, size = boxes[1]
    if body is not None:
        body = body.around(body.coarse(lungs, (0, 0, 0)) > 0)
    tidied, steps = _tidy_box(sitk.RegionOfInterest(lungs, size, start), settings, body, start)
    return (sitk.Paste(lungs, tidied, size, destinationIndex=start) if steps else lungs), steps


def _tidy_box(
    lungs: Any, settings: InferConfig, body: Body | None, start: Sequence[int]
) -> tuple[Any, list[str]]:
    steps: list[str] = []
    min_voxels = settings.min_component_ml * 1000 / np.prod(lungs.GetSpacing())
    if body is not None:
        size = np.count_nonzero(body.outline) * float(np.prod(body.step))
        min_voxels = min(min_voxels, BODY_SHARE * size)
        if settings.drop_air:
            lungs, steps = _drop_air(lungs, body, start, min_voxels)
    before = count_voxels(lungs)
    if settings.fill_holes:
        lungs = sitk.BinaryFillhole(lungs, fullyConnected=False)
        if count_voxels(lungs) > before:
            filled = count_voxels(lungs) - before
            steps.append(f"holes filled: {millilitres(lungs, filled):.1f} mL")
    if settings.components or settings.min_component_ml:
        parts = find_parts(lungs)
        keep = _choose(parts, settings.components, min_voxels)
        dropped = [size for size, kept in zip(parts.sizes, keep, strict=True) if not kept]
        if dropped:
            lungs = parts.select([int(kept) for kept in keep])
            steps.append(
                f"{_parts(dropped, 'small ')} dropped: {millilitres(lungs, sum(dropped)):.1f} mL"
            )
    return lungs, steps


def _drop_air(
    lungs: Any, body: Body, start: Sequence[int], min_voxels: float
) -> tuple[Any, list[str]]:
    parts = find_parts(lungs)
    kinds = _judge(parts, body, start, min_voxels)
    steps = []
    for kind, where in KINDS.items():
        sizes = [size for size, k in zip(parts.sizes, kinds, strict=True) if k == kind]
        if sizes:
            steps.append(
                f"{_parts(sizes)} {where} dropped: {millilitres(lungs, sum(sizes)):.1f} mL"
            )
    return (parts.select([int(kind == LUNG) for kind in kinds]) if steps else lungs), steps


def _parts(sizes: Sequence[int], kind: str = "") -> str:
    return f"{len(sizes)} {kind}part{'' if len(sizes) == 1 else 's'}"


LUNG, AIR, BESIDE = range(3)
KINDS = {AIR: "of air (bowel, stomach, airways)", BESIDE: "outside of the body"}


@dataclass(frozen=True)
class _Look:
    """What decides whether a part is lung: its density, texture, height and extent.

    Attributes:
        median: median of its interior in HU.
        vessels: share of its interior that is as bright as vessels.
        low: its lowest slice.
        high: its highest slice.
        share: its share of the body's outline in its slices.
    """

    median: float
    vessels: float
    low: int
    high: int
    share: float


def _judge(parts: Parts, body: Body, start: Sequence[int], min_voxels: float) -> list[int]:
    """Return for each part whether it is lung, air in another organ, or outside of the body.

    Parts of less than `min_voxels` are left to the step that removes small parts.
    """
    numbers = body.coarse(parts.labelled, start)
    within = body.share_within(numbers, len(parts.numbers))
    kernel = np.ones((3, 3), np.uint8)
    interior = np.stack([cv2.erode((plane > 0).astype(np.uint8), kernel) for plane in numbers]) > 0
    looks: dict[int, _Look] = {}
    kinds = [LUNG] * len(parts.numbers)
    for index, number in enumerate(parts.numbers[:MAX_PARTS]):
        if parts.sizes[index] < min_voxels:
            break
        part = numbers == number
        if within[number] < IN_BODY:
            kinds[index] = BESIDE
        elif (look := _look(part, interior, body)) is None:
            continue
        elif (
            look.median < AIR_BELOW_HU
            and within[number] < MOSTLY_IN_BODY
            and body.share_open(part) > OPEN
        ):
            kinds[index] = BESIDE
        else:
            looks[index] = look
    # Parts that are surely lung, because they are not dark, show where the lungs are.
    lungs = [look for look in looks.values() if look.median >= AIR_BELOW_HU]
    for index, look in looks.items():
        if look.median < AIR_BELOW_HU and _is_gas(look, lungs):
            kinds[index] = AIR
    return kinds


def _look(part: NDArray[np.bool_], interior: NDArray[np.bool_], body: Body) -> _Look | None:
    slices = np.flatnonzero(part.any(axis=(1, 2)))
    if not len(slices):
        return None
    # The edge of gas is blurred, and as bright as vessels.
    inner = part & interior
    hu = body.hu[inner if inner.any() else part]
    return _Look(
        median=float(np.median(hu)),
        vessels=float(np.mean(hu > VESSEL_ABOVE_HU)),
        low=int(slices[0]),
        high=int(slices[-1]),
        share=np.count_nonzero(part) / max(1, int(np.count_nonzero(body.outline[slices]))),
    )


def _is_gas(look: _Look, lungs: Sequence[_Look]) -> bool:
    """Whether at least two of three signs say that a dark part is gas: texture, size, place."""
    lies_low = False
    if lungs:
        low, high = min(each.low for each in lungs), max(each.high for each in lungs)
        height = high - low + 1
        ends_low = look.high < low + MIDDLE * height
        lies_low = ends_low or look.low < low - DEEPER * height
    return sum((look.vessels < VESSEL_SHARE, look.share < LUNG_SHARE, lies_low)) >= 2


def _choose(parts: Parts, components: int, min_voxels: float) -> list[bool]:
    """Return for each part, the largest first, whether it is kept."""
    large = [size >= min_voxels for size in parts.sizes]
    if components or not parts.sizes:
        return [is_large and index < components for index, is_large in enumerate(large)]
    low, high, middle = parts.heights()
    lungs = np.array(parts.sizes) >= LARGE * parts.sizes[0]
    bottom, top = low[lungs].min(), high[lungs].max()
    in_chest = (middle >= bottom + LOWEST * (top - bottom)) & (middle <= top)
    piece = in_chest & (np.array(parts.sizes) >= PIECE * parts.sizes[0])
    return [bool(kept) for kept in large & (lungs | piece)]


def bounding_boxes(labels: Any) -> dict[int, tuple[list[int], list[int]]]:
    """Return start and size of the smallest box around each label, in SimpleITK's order (x, y, z).

    Labels that no voxel has are left out.
    """
    values = sitk.GetArrayViewFromImage(labels)
    boxes = {}
    for label in range(1, int(values.max(initial=0)) + 1):
        in_planes = np.zeros(len(values), dtype=bool)
        shadow = np.zeros(values.shape[1:], dtype=bool)  # of all slices together
        for k, plane in enumerate(values):
            held = plane == label
            in_planes[k] = held.any()
            shadow |= held
        if not in_planes.any():
            continue
        found = [
            np.flatnonzero(line) for line in (shadow.any(axis=0), shadow.any(axis=1), in_planes)
        ]
        start = [int(line[0]) for line in found]
        boxes[label] = start, [int(line[-1]) + 1 - s for line, s in zip(found, start, strict=True)]
    return boxes


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

    def select(self, values: Sequence[int]) -> Any:
        """Return a uint8 image that holds `values` in the largest parts and 0 elsewhere."""
        table = np.zeros(len(self.numbers) + 1, dtype=np.uint8)
        table[self.numbers[: len(values)]] = values
        labelled = sitk.GetArrayViewFromImage(self.labelled)
        selected = np.empty(labelled.shape, dtype=np.uint8)
        few = np.flatnonzero(table)
        # Slice by slice, because indexing the whole volume at once would make another copy of it.
        for plane, result in zip(labelled, selected, strict=True):
            if len(few) > FEW_PARTS:
                result[:] = table[plane]
                continue
            # Comparing is faster than indexing.
            result[:] = 0
            for number in few:
                result[plane == number] = table[number]
        image = sitk.GetImageFromArray(selected)
        image.CopyInformation(self.labelled)
        return image

    def heights(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return the lowest, the highest and the mean slice of each part, in their order."""
        count = len(self.numbers) + 1
        planes = sitk.GetArrayViewFromImage(self.labelled)
        low, high, total = np.full(count, len(planes)), np.full(count, -1), np.zeros(count)
        for k, plane in enumerate(planes):
            sizes = np.bincount(plane[plane > 0], minlength=count)
            held = sizes > 0
            low[held] = np.minimum(low[held], k)
            high[held] = k
            total += k * sizes
        of = self.numbers
        return low[of], high[of], total[of] / self.sizes


def find_parts(mask: Any) -> Parts:
    """Label the connected parts of a mask and count their voxels."""
    # Voxels are counted here, because RelabelComponent would make a second copy of the labels.
    labelled = sitk.ConnectedComponent(mask)
    counts = np.zeros(1, dtype=np.int64)
    for plane in sitk.GetArrayViewFromImage(labelled):
        # Most voxels are background, which need not be counted.
        total = np.bincount(plane[plane > 0], minlength=len(counts))
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
