"""Lungs of a CT by classical means: body, air within it, airways, connected parts, closing.

Good where lungs are healthy. Consolidation and tumours at the wall are missed, so the result is no
ground truth.
"""

from __future__ import annotations

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
# Within a lung fewer voxels than this share are as dark as gas; within bowel more are. A lung with
# emphysema has more, too, but is large.
GAS_BELOW_HU = -960
GAS_SHARE = 0.2
MAX_GAS_ML = 1000.0
# Each connected part has at least this share of the volume of both lungs, and this volume.
MIN_SHARE = 0.05
MIN_LUNG_ML = 5.0
# Wide enough to include the vessels that a threshold leaves out.
CLOSING_MM = 6.0
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
    lungs = choose_lungs(values, apart, spacing)
    lungs = _morph(cv2.MORPH_DILATE, lungs, 0, spacing) & air
    closed = _morph(cv2.MORPH_CLOSE, lungs, CLOSING_MM, spacing)
    filled = sitk.BinaryFillhole(_image(closed), fullyConnected=False)
    lungs = (sitk.GetArrayViewFromImage(filled) > 0) & ~airways
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
    around = _morph(cv2.MORPH_DILATE, labels.astype(np.float32), 0, spacing, values=True)
    wall = (around > 0) & (labels == 0)
    owners = around[wall].astype(np.intp)
    walls = np.bincount(owners, minlength=len(sizes))
    of_body = np.bincount(owners, weights=body[wall], minlength=len(sizes))
    within = of_body > 0.5 * walls
    within[0] = False
    return np.asarray(within[labels])


def _air_of_slice(hu: NDArray[Any], body: Mask) -> Mask:
    """Return the air of one slice that is enclosed, or that lies in the body's outline."""

    def is_lung(values: NDArray[Any]) -> bool:
        return bool(np.median(values) >= AROUND_BELOW_HU)

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
        if np.count_nonzero(within) > np.count_nonzero(part) / 2 and is_lung(hu[part]):
            cut_off |= part
            continue
        # Air around the patient may meet a lung where the field of view cuts the chest wall.
        pieces, numbers = cv2.connectedComponents(within.astype(np.uint8), connectivity=4)
        for number in range(1, pieces):
            piece = numbers == number
            if is_lung(hu[piece]):
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
    volumes = sizes * float(np.prod(spacing)) / 1000
    inner = np.where(_morph(cv2.MORPH_ERODE, air, 0, spacing), labels, 0)
    count = np.bincount(inner.ravel(), minlength=len(sizes))
    gas = np.bincount(inner[hu < GAS_BELOW_HU], minlength=len(sizes))
    is_gas = (gas > GAS_SHARE * count) & (volumes < MAX_GAS_ML)
    is_lung = ~is_gas & (volumes >= MIN_LUNG_ML)
    is_lung[0] = False
    is_lung &= volumes >= MIN_SHARE * volumes[is_lung].sum()
    return np.asarray(is_lung[labels])


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
    width, height = (2 * max(1, round(radius_mm / side)) + 1 for side in spacing[:2])
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, height))
    planes = mask if values else mask.astype(np.uint8)
    changed = np.stack([cv2.morphologyEx(plane, operation, kernel) for plane in planes])
    return changed if values else changed > 0


def _image(mask: Mask) -> Any:
    return sitk.GetImageFromArray(mask.astype(np.uint8))
