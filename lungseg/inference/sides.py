"""The left and the right lung of a CT, by where they lie beside the midline of the body.

One lung is one lung: what lies on one side of the midline gets that side, in however many pieces.
Only a piece that reaches as far to both sides is two lungs that touch, and is divided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.inference.anatomy import Anatomy, Midline, find_anatomy
from lungseg.inference.body import IN_BODY, Body
from lungseg.inference.postprocess import (
    Parts,
    bounding_boxes,
    count_voxels,
    find_parts,
    millilitres,
)

LEFT = 1
RIGHT = 2
# Lung whose side is not known has this label in a mask, so that it is not lost.
UNKNOWN = 3
NAMES = {LEFT: "left", RIGHT: "right"}
# A lung has at least this share of the voxels of both.
MIN_SHARE = 0.1
# A part is two lungs if its voxels on one side lie at least this share as far from the midline as
# those on the other. One lung may bulge past the midline, but does not reach far. If there is a
# lung by itself on each side, the midline may be oblique, and the share is larger.
TWO_LUNGS, TWO_MORE_LUNGS = 0.4, 0.7
# A smaller share of a part beyond the midline says nothing.
MIN_CROSSING = 0.02
# What a lung has beyond the midline, up to the edge of the picture, may be a strip of the other.
# It has no side if it is this share of the lungs; less changes the volume of a lung little.
MIN_STRIP = 0.025
# A side is in the picture if at least this share of what the other lung takes is.
MIN_VIEW = 0.5
# What joins two lungs is a neck if it is thinner than this share of the lungs. A thicker joint,
# such as the mediastinum in a bad mask, is divided as far from one lung as from the other.
NECK = 0.25


@dataclass(frozen=True, eq=False)
class Sides:
    """The sides of the lungs of a volume.

    Attributes:
        labels: SimpleITK image on the grid of the lungs, uint8: 0, `LEFT` or `RIGHT`. Lung of
            unknown side has 0.
        steps: one sentence for each thing that a reader should know about the sides.
        unknown: why the sides are not known; None if they are.
        unseen: sides that are not in the picture. What lung they hold is not known.
    """

    labels: Any = field(repr=False)
    steps: list[str]
    unknown: str | None = None
    unseen: tuple[int, ...] = ()

    def knows(self, side: int) -> bool:
        """Whether it is known what lung a side holds; it may be none."""
        return self.unknown is None and side not in self.unseen


def find_sides(lungs: Any, body: Body) -> Sides:
    """Label the left and the right lung.

    The midline is that of the spine, or of the outline of the body, or of the trachea. Without any
    of them, two separate lungs side by side show it. A connected part is given the side on which
    it lies. Lungs that touch, for example in front of the heart, are divided where what joins them
    is thinnest.

    Args:
        lungs: uint8 SimpleITK image, 1 in the lungs and 0 elsewhere, whose axes run to the
            patient's left, back and head.
        body: of the CT on the same grid.
    """
    boxes = bounding_boxes(lungs)
    if not boxes:
        return Sides(lungs, [])
    # Only the box is labelled: labels and distances of a whole CT take more memory than the CT.
    start, size = boxes[1]
    inner = sitk.RegionOfInterest(lungs, size, start)
    parts = find_parts(inner)
    anatomy = find_anatomy(body, lungs)
    midline = None if anatomy.turned else anatomy.midline or _between_two(parts, lungs)
    if midline is None:
        reason = (
            "the spine is not at the back, so the picture is turned against its header"
            if anatomy.turned
            else "neither spine, skin of both sides nor trachea is in the picture"
        )
        step = f"left and right are not known: {reason}"
        return Sides(lungs * 0, [step], unknown=reason)
    at = np.floor(midline.x[start[2] : start[2] + size[2]]).astype(int) + 1 - start[0]
    within = anatomy.body.share_within(
        anatomy.body.coarse(parts.labelled, start), len(parts.numbers)
    )
    # Such as in the cushion of a table.
    outside = [within[number] < IN_BODY for number in parts.numbers]
    found, steps = _label(inner, parts, np.clip(at, 0, size[0]), outside)
    if any(outside):
        lost = millilitres(lungs, count_voxels(inner) - count_voxels(found))
        steps.append(f"{lost:.1f} mL outside of the body have no side")
    del parts
    for side in _unseen(anatomy, midline, start, size, lungs.GetSize()[0]):
        ends = start[0] == 0 if side == RIGHT else start[0] + size[0] == lungs.GetSize()[0]
        found, beyond = _without(found, side, at) if ends else (found, 0)
        if beyond:
            ml = f"{millilitres(lungs, beyond):.1f} mL beyond the midline have no side"
            steps.append(f"{ml}: the {NAMES[side]} half of the chest is not in the picture")
    labels = sitk.Paste(lungs * 0, found, size, destinationIndex=start)
    sides = Sides(labels, [*steps, *_said(midline)])
    return _with_missing(sides, anatomy, midline)


def side_labels(lungs: Any, sides: Sides) -> Any:
    """Return the labels of a mask with sides: `LEFT`, `RIGHT`, and `UNKNOWN` for other lung."""
    known = sitk.Cast(sides.labels > 0, sitk.sitkUInt8)
    return sides.labels + UNKNOWN * lungs * (1 - known)


def _said(midline: Midline) -> list[str]:
    """Say what the sides follow from, unless it is the usual."""
    return [] if midline.source == "the spine" else [f"left and right follow from {midline.source}"]


def _between_two(parts: Parts, lungs: Any) -> Midline | None:
    """Return the midline between the two largest parts if they lie as two lungs do."""
    if len(parts.sizes) < 2 or parts.sizes[1] < 2 * MIN_SHARE * parts.sizes[0]:
        return None
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(parts.select([1, 2]))
    boxes = [np.array(shape.GetBoundingBox(label)).reshape(2, 3) for label in (1, 2)]
    low = np.max([start for start, _ in boxes], axis=0)
    high = np.min([start + size for start, size in boxes], axis=0)
    shared = (high - low) / np.min([size for _, size in boxes], axis=0)
    # Side by side: apart in x, at the same height, and as far to the front.
    if shared[0] > 0 or shared[1] < 0.5 or shared[2] < 0.5:
        return None
    origin = np.array(lungs.TransformPhysicalPointToIndex(parts.labelled.GetOrigin()))
    x = origin[0] + (high[0] + low[0] - 1) / 2
    return Midline(np.full(lungs.GetSize()[2], x), "the gap between two lungs")


def _label(
    lungs: Any, parts: Parts, at: NDArray[np.int64], outside: list[bool]
) -> tuple[Any, list[str]]:
    """Label the lungs in a box.

    Args:
        lungs: uint8 SimpleITK image, 0 or 1.
        parts: its connected parts.
        at: the first column of the left side in each slice.
        outside: for each part, whether it lies outside of the body.
    """
    crossing = _Crossing(parts, at)
    share, ratio = crossing.share_left, crossing.ratio
    chosen = [
        0 if out else LEFT if s >= 0.5 else RIGHT for out, s in zip(outside, share, strict=True)
    ]
    large = [size >= MIN_SHARE * sum(parts.sizes) for size in parts.sizes]
    both = {LEFT, RIGHT} <= {side for side, is_large in zip(chosen, large, strict=True) if is_large}
    limit = TWO_MORE_LUNGS if both else TWO_LUNGS
    two = [
        side > 0 and is_large and min(s, 1 - s) >= MIN_CROSSING and r >= limit
        for side, is_large, s, r in zip(chosen, large, share, ratio, strict=True)
    ]
    labels = parts.select([0 if is_two else side for side, is_two in zip(chosen, two, strict=True)])
    steps = []
    for index in np.flatnonzero(two):
        part = parts.select([int(i == index) for i in range(len(parts.numbers))])
        labels += _divide(part, at)
        steps.append("lungs that touch were divided where they are thinnest")
    for index in np.flatnonzero(large):
        if not two[index] and chosen[index] and min(share[index], 1 - share[index]) >= MIN_SHARE:
            steps.append(f"the {NAMES[chosen[index]]} lung reaches beyond the midline")
    return labels, steps


class _Crossing:
    """How the parts of a mask lie beside the midline.

    Attributes:
        share_left: the share of each part's voxels on the left side.
        ratio: the mean distance from the midline of the voxels on one side divided by that of the
            voxels on the other, the smaller one above; 0 if all are on one side.
    """

    def __init__(self, parts: Parts, at: NDArray[np.int64]) -> None:
        count = np.zeros((2, len(parts.numbers) + 1))
        total = np.zeros_like(count)
        for plane, first in zip(sitk.GetArrayViewFromImage(parts.labelled), at, strict=True):
            distance = np.abs(np.arange(plane.shape[1]) - first + 0.5)
            rows, columns = np.nonzero(plane)
            for side, there in ((0, columns >= first), (1, columns < first)):
                numbers = plane[rows[there], columns[there]]
                count[side] += np.bincount(numbers, minlength=count.shape[1])
                weights = distance[columns[there]]
                total[side] += np.bincount(numbers, weights, minlength=count.shape[1])
        count, total = count[:, parts.numbers], total[:, parts.numbers]
        self.share_left = count[0] / count.sum(axis=0)
        mean = total / np.maximum(count, 1)
        self.ratio = mean.min(axis=0) / mean.max(axis=0)


def _divide(lungs: Any, at: NDArray[np.int64]) -> Any:
    """Label two lungs that touch; they are divided where what joins them is thinnest.

    The outer half of each side is surely its lung. From there a watershed of the distance to the
    edge of the mask grows, so the two meet at the neck between them.
    """
    inside = sitk.GetArrayViewFromImage(lungs) > 0
    distance = np.abs(np.arange(inside.shape[2]) - at[:, None] + 0.5)
    is_left = np.arange(inside.shape[2]) >= at[:, None]
    markers = np.zeros(inside.shape, dtype=np.uint8)
    columns = inside.sum(axis=1)
    for side, of_side in ((LEFT, is_left), (RIGHT, ~is_left)):
        mean = np.average(distance, weights=columns * of_side)
        markers[inside & (of_side & (distance >= mean))[:, None]] = side
    labels = sitk.GetImageFromArray(markers)
    labels.CopyInformation(lungs)
    # Only the columns between the outer halves are divided, which takes a quarter of the time.
    between = np.flatnonzero((inside & (markers == 0)).any(axis=(0, 1)))
    first, last = max(0, int(between[0]) - 1), min(inside.shape[2], int(between[-1]) + 2)
    middle = lungs[first:last]
    depth = sitk.SignedMaurerDistanceMap(middle, squaredDistance=False, useImageSpacing=True)
    deepest = float(sitk.GetArrayViewFromImage(depth).min())
    depth = sitk.Clamp(depth, lowerBound=NECK * deepest)
    grown = sitk.MorphologicalWatershedFromMarkers(depth, labels[first:last], False, False)
    return sitk.Paste(labels, grown * middle, middle.GetSize(), destinationIndex=[first, 0, 0])


def _without(labels: Any, side: int, at: NDArray[np.int64]) -> tuple[Any, int]:
    """Take away what the other lung has on a side of which a strip is in the picture.

    What reaches the edge of the picture may be a strip of the lung of this side, which touches the
    other one. What ends before it is a bulge of the other one.

    Args:
        labels: labels of the lungs in a box that ends where the picture does.
        side: the side of which a strip is in the picture.
        at: the first column of the left side in each slice.

    Returns:
        The labels, and how many voxels have lost theirs.
    """
    values = sitk.GetArrayFromImage(labels)
    columns = np.arange(values.shape[2])
    there = columns >= at[:, None] if side == LEFT else columns < at[:, None]
    beyond = ((values == LEFT + RIGHT - side) & there[:, None]).astype(np.uint8)
    numbers = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(beyond)))
    at_edge = np.setdiff1d(numbers[:, :, -1 if side == LEFT else 0], 0)
    cut = np.isin(numbers, at_edge)
    count = int(np.count_nonzero(cut))
    if count < MIN_STRIP * np.count_nonzero(values):
        return labels, 0
    values[cut] = 0
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(labels)
    return image, count


def _unseen(
    anatomy: Anatomy, midline: Midline, start: Sequence[int], size: Sequence[int], width: int
) -> list[int]:
    """Return the sides that are not in the picture, which has a width in voxels.

    The lungs lie in a box, whose first voxel and size are given.
    """
    middle = np.median(midline.x[start[2] : start[2] + size[2]])
    to_right, to_left = middle - start[0], start[0] + size[0] - 1 - middle
    unseen = []
    if not anatomy.skin[0] and middle < MIN_VIEW * to_left:
        unseen.append(RIGHT)
    if not anatomy.skin[1] and width - 1 - middle < MIN_VIEW * to_right:
        unseen.append(LEFT)
    return unseen


def _with_missing(sides: Sides, anatomy: Anatomy, midline: Midline) -> Sides:
    """Say of a side without lung whether it is in the picture."""
    boxes = bounding_boxes(sides.labels)
    if len(boxes) != 1:
        return sides
    [(side, (start, size))] = boxes.items()
    other = LEFT + RIGHT - side
    name = NAMES[other]
    if other not in _unseen(anatomy, midline, start, size, sides.labels.GetSize()[0]):
        sides.steps.append(f"the {name} half of the chest is in the picture and holds no lung")
        return sides
    sides.steps.append(f"the {name} half of the chest is not in the picture: no {name} lung known")
    return replace(sides, unseen=(other,))
