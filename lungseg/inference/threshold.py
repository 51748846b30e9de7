"""Lungs of a CT by classical means: body, air within it, airways, connected parts, closing.

Good where lungs are healthy. Consolidation and tumours at the wall are missed, so the result is no
ground truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.inference.airways import find_airways

LUNG_BELOW_HU = -320
# What is thinner than twice this is not the body: the table, its mattress, tubes.
THIN_MM = 4.0
# If the field of view cuts a lung off, its air reaches the edge of the slice, as the air around the
# patient does. It is lung if it lies within the outline of the body and is brighter than air.
AROUND_BELOW_HU = -950
# The outline is drawn around what the slice shows of the body, so it may leave out much of a lung.
OUTLINE_SHARE = 0.2
# The edge of the air around the patient is brighter than air. It is this many pixels wide.
EDGE_PIXELS = 2
# More than this share of a lung's wall is the body's. Air between the body and a sheet has less.
BODY_SHARE = 0.66
# Within a lung fewer voxels than this share are as dark as gas; within bowel more are. A lung with
# emphysema has more, too, but is large. The median of 5 x 5 pixels is compared, because a sharp
# kernel makes single voxels of any lung as dark as that.
GAS_BELOW_HU = -960
GAS_SHARE = 0.2
MAX_GAS_ML = 1000.0
# Each connected part has at least this share of the volume of both lungs, and this volume.
MIN_SHARE = 0.05
MIN_LUNG_ML = 5.0
# A CT that is thinner than this, such as a single slice, is taken to be this thick. Otherwise no
# part of it would have these volumes.
MIN_DEPTH_MM = 10.0
# Wide enough to include the vessels that a threshold leaves out.
CLOSING_MM = 6.0
# A smaller hole in a slice is a vessel or a nodule; a dome of the diaphragm is larger.
MAX_HOLE_MM2 = 500.0
# The wall of an airway and its blurred edge.
AIRWAY_WALL_MM = 2.5

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]


def label_lungs(hu: Any, body: Mask | None = None) -> Any:
    """Return the lungs of a CT.

    Args:
        hu: SimpleITK image in HU, whose axes run to the patient's left, back and head.
        body: what `find_body` returns for it, if that is known already.

    Returns:
        SimpleITK image on the same grid, uint8, 0 or 1.
    """
    values, spacing = sitk.GetArrayViewFromImage(hu), hu.GetSpacing()
    if body is None:
        body = find_body(values, spacing)
    air = air_within(values, body, spacing)
    airways = find_airways(hu, air)
    airways = _morph(cv2.MORPH_DILATE, airways, AIRWAY_WALL_MM, spacing)
    # Parts that hang together by a few pixels, such as lung and bowel, are taken apart.
    apart = _morph(cv2.MORPH_OPEN, air & ~airways, 0, spacing)
    chosen = choose_lungs(values, apart, spacing)
    lungs = _morph(cv2.MORPH_DILATE, chosen, 0, spacing) & air
    lungs |= find_recesses(lungs, air & ~airways, apart & ~chosen, spacing)
    closed = _morph(cv2.MORPH_CLOSE, lungs, CLOSING_MM, spacing)
    filled = sitk.BinaryFillhole(_image(closed), fullyConnected=False)
    lungs = (sitk.GetArrayViewFromImage(filled) > 0) & ~airways
    # A bronchus that is surrounded by lung lies beyond the hilum, so it is filled as well.
    lungs = _fill_holes(lungs, spacing)
    labels = _image(choose_lungs(values, lungs, spacing))
    labels.CopyInformation(hu)
    return labels


def find_body(
    hu: NDArray[Any], spacing: Spacing, thin_mm: float = THIN_MM, share: float = 1.0
) -> Mask:
    """Return the tissue of the body, without the table.

    Args:
        hu: CT `(D, H, W)`.
        spacing: voxel size in mm, ordered (x, y, z).
        thin_mm: what is thinner than twice this is not the body.
        share: parts of at least this share of the largest part are body as well. A narrow field of
            view may show the body in pieces.
    """
    tissue = hu > LUNG_BELOW_HU
    thick = _morph(cv2.MORPH_OPEN, tissue, thin_mm, spacing)
    labels, sizes = _parts(thick)
    if len(sizes) < 2:
        return tissue
    is_body = sizes >= share * sizes[1:].max()
    is_body[0] = False
    return _morph(cv2.MORPH_DILATE, is_body[labels], thin_mm, spacing) & tissue


def air_within(hu: NDArray[Any], body: Mask, spacing: Spacing) -> Mask:
    """Return the air in the body: neither around it nor in the table.

    Args:
        hu: CT `(D, H, W)`.
        body: tissue of the body, from `find_body`.
        spacing: voxel size in mm, ordered (x, y, z).
    """
    air = np.stack([_air_of_slice(*planes) for planes in zip(hu, body, strict=True)])
    # The air in a table is closed in as well, but its wall is not the body's.
    labels, sizes = _parts(air)
    walls, of_body = np.zeros(len(sizes)), np.zeros(len(sizes))
    for numbers, tissue in zip(labels, body, strict=True):
        for owner, wall, share in _walls_of_slice(numbers, tissue, spacing):
            walls[owner] += wall
            of_body[owner] += share
    within = of_body > BODY_SHARE * walls
    within[0] = False
    return np.asarray(within[labels])


def _walls_of_slice(
    labels: NDArray[np.int64], body: Mask, spacing: Spacing
) -> Iterator[tuple[int, int, int]]:
    """Yield number, pixels of the wall and pixels of it in the body, for each piece of air.

    The wall is around the piece. Vessels and noise within the piece do not count.
    """
    kernel, margin = _kernel(CLOSING_MM, spacing), 1 + round(2 * CLOSING_MM / min(spacing[:2]))
    contours, tree = cv2.findContours(
        (labels > 0).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    for index, contour in enumerate(contours):
        if tree[0, index, 3] >= 0:
            continue  # a hole
        left, top, width, height = cv2.boundingRect(contour)
        piece = np.zeros((height + 2 * margin, width + 2 * margin), dtype=np.uint8)
        offset = (margin - left, margin - top)
        cv2.drawContours(piece, [contour], 0, 1, cv2.FILLED, offset=offset)
        piece = cv2.morphologyEx(piece, cv2.MORPH_CLOSE, kernel)
        ring = cv2.dilate(piece, np.ones((3, 3), dtype=np.uint8)) > piece
        rows, columns = np.nonzero(ring)
        rows, columns = rows - offset[1], columns - offset[0]
        seen = (rows >= 0) & (columns >= 0) & (rows < len(body)) & (columns < body.shape[1])
        in_body = np.count_nonzero(body[rows[seen], columns[seen]])
        # Parts that meet at a corner alone have one contour.
        for owner in np.unique(labels[contour[:, 0, 1], contour[:, 0, 0]]):
            yield int(owner), int(np.count_nonzero(seen)), int(in_body)


def _air_of_slice(hu: NDArray[Any], body: Mask) -> Mask:
    """Return the air of one slice that is enclosed, or that lies in the body's outline."""

    def is_lung(part: Mask) -> bool:
        kernel = np.ones((2 * EDGE_PIXELS + 1,) * 2, dtype=np.uint8)
        inner = cv2.erode(part.astype(np.uint8), kernel) > 0
        return bool(inner.any() and np.median(hu[inner]) >= AROUND_BELOW_HU)

    dark = (hu < LUNG_BELOW_HU).astype(np.uint8)
    _, labels = cv2.connectedComponents(dark, connectivity=4)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    enclosed = (dark > 0) & ~np.isin(labels, edge)
    outline = np.zeros(dark.shape, dtype=np.uint8)
    points = cv2.findNonZero(body.astype(np.uint8))
    if points is not None:
        cv2.fillConvexPoly(outline, cv2.convexHull(points), 1)
    cut_off = np.zeros(dark.shape, dtype=bool)
    for label in edge[edge > 0]:
        part = labels == label
        within = part & (outline > 0)
        if np.count_nonzero(within) > OUTLINE_SHARE * np.count_nonzero(part) and is_lung(part):
            cut_off |= part
            continue
        # Air around the patient may meet a lung where the field of view cuts the chest wall.
        pieces, numbers = cv2.connectedComponents(within.astype(np.uint8), connectivity=4)
        for number in range(1, pieces):
            piece = numbers == number
            if is_lung(piece):
                cut_off |= piece
    return np.asarray(enclosed | cut_off)


def choose_lungs(hu: NDArray[Any], air: Mask, spacing: Spacing) -> Mask:
    """Return the connected parts that are lung: large enough, and not gas in the bowel.

    Args:
        hu: CT `(D, H, W)`.
        air: mask of the same shape.
        spacing: voxel size in mm, ordered (x, y, z).
    """
    labels, sizes = _parts(air)
    depth = max(MIN_DEPTH_MM, len(air) * spacing[2]) / len(air)
    volumes = sizes * (spacing[0] * spacing[1] * depth) / 1000
    inner = np.where(_morph(cv2.MORPH_ERODE, air, 0, spacing), labels, 0)
    count = np.bincount(inner.ravel(), minlength=len(sizes))
    smooth = np.stack([cv2.medianBlur(plane.astype(np.float32), 5) for plane in hu])
    gas = np.bincount(inner[smooth < GAS_BELOW_HU], minlength=len(sizes))
    is_gas = (gas > GAS_SHARE * count) & (volumes < MAX_GAS_ML)
    is_lung = ~is_gas & (volumes >= MIN_LUNG_ML)
    is_lung[0] = False
    is_lung &= volumes >= MIN_SHARE * volumes[is_lung].sum()
    return np.asarray(is_lung[labels])


def find_recesses(lungs: Mask, air: Mask, others: Mask, spacing: Spacing) -> Mask:
    """Return the air that hangs together with the lungs alone, such as the recesses at their bases.

    Args:
        lungs: mask `(D, H, W)`.
        air: the air within the body.
        others: the air that is no lung, such as gas in the bowel.
        spacing: voxel size in mm, ordered (x, y, z).
    """
    others = _morph(cv2.MORPH_DILATE, others, 0, spacing)
    labels, sizes = _parts(air & ~lungs & ~others)
    at_lungs, at_others = (
        np.bincount(labels[_grown(mask, spacing)], minlength=len(sizes)) > 0
        for mask in (lungs, others)
    )
    recess = at_lungs & ~at_others
    recess[0] = False
    return np.asarray(recess[labels])


def _grown(mask: Mask, spacing: Spacing) -> Mask:
    """Return a mask and the voxels next to it, in its slices and above and below."""
    grown = _morph(cv2.MORPH_DILATE, mask, 0, spacing)
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    return grown


def _fill_holes(mask: Mask, spacing: Spacing) -> Mask:
    """Fill the small holes of each slice."""
    filled = np.zeros(mask.shape, dtype=np.uint8)
    for plane, result in zip(mask, filled, strict=True):
        _, numbers, stats, _ = cv2.connectedComponentsWithStats(
            np.pad(~plane, 1, constant_values=True).astype(np.uint8), connectivity=4
        )
        small = stats[:, cv2.CC_STAT_AREA] * spacing[0] * spacing[1] <= MAX_HOLE_MM2
        small[numbers[0, 0]] = False  # what surrounds the lungs
        small[0] = True  # the lungs
        result[:] = small[numbers][1:-1, 1:-1]
    return filled > 0


def _parts(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the connected parts of a mask; return the numbers, and the voxels of each number."""
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(_image(mask)))
    return labels, np.bincount(labels.ravel())


def _morph(
    operation: int,
    mask: NDArray[Any],
    radius_mm: float,
    spacing: Spacing,
    *,
    values: bool = False,
) -> NDArray[Any]:
    """Apply a morphological operation of OpenCV to each slice, with a radius of at least a pixel.

    With `values` the array is not a mask, and is changed as it is.
    """
    kernel = _kernel(radius_mm, spacing)
    planes = mask if values else mask.astype(np.uint8)
    changed = np.stack([cv2.morphologyEx(plane, operation, kernel) for plane in planes])
    return changed if values else changed > 0


def _kernel(radius_mm: float, spacing: Spacing) -> Any:
    width, height = (2 * max(1, round(radius_mm / side)) + 1 for side in spacing[:2])
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, height))


def _image(mask: Mask) -> Any:
    return sitk.GetImageFromArray(mask.astype(np.uint8))
