"""Trachea and main bronchi of a CT, by their shape and by region growing.

In the slices above the carina the trachea is a round dark spot whose place and size change little
from slice to slice. The region grows from there, with a rising limit on HU, until it bursts into
the lungs. After Hu, Hoffman and Reinhardt, 2001, https://doi.org/10.1109/42.929615, who grow the
airways in this way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

# Air in the trachea has -1000 HU; partial volume with its wall makes it brighter.
LUMEN_BELOW_HU = -800
# A cross-section of the trachea: 1 to 3 cm wide, round; larger near the carina.
AREA_MM2 = (60.0, 700.0)
MAX_ELONGATION = 1.8
# From slice to slice its centre moves by this at most, per mm of z, and its area by this factor.
SHIFT_MM = 4.0
AREA_FACTOR = 2.5
MIN_LENGTH_MM = 20.0
# The region grows at these limits. A larger step than `BURST` means that it has reached a lung.
GROWTH_HU = range(-960, -780, 15)
BURST, BURST_ML, MAX_ML = 1.6, 15.0, 120.0


class Spot(NamedTuple):
    """A round dark part of a slice: the slice, its centre (x, y) in pixels, its area in mm2."""

    z: int
    centre: tuple[float, float]
    area: float


def find_airways(hu: Any, dark: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the air of trachea and main bronchi; empty if no trachea is found.

    Args:
        hu: SimpleITK image in HU, whose axes run to the patient's left, back and head.
        dark: the air within the body, `(D, H, W)`.

    Returns:
        A mask of the same shape.
    """
    values = sitk.GetArrayViewFromImage(hu)
    smooth = np.stack([cv2.medianBlur(plane.astype(np.float32), 3) for plane in values])
    trachea = find_trachea(smooth, dark, hu.GetSpacing())
    seeds = [(round(s.centre[0]), round(s.centre[1]), s.z) for s in trachea]
    seeds = [(x, y, z) for x, y, z in seeds if dark[z, y, x] and smooth[z, y, x] < LUMEN_BELOW_HU]
    if not seeds:
        return np.zeros(dark.shape, dtype=bool)
    # Outside of the body nothing is dark, so the region stays inside.
    image = sitk.GetImageFromArray(np.where(dark, smooth, 0))
    voxel_ml = float(np.prod(hu.GetSpacing())) / 1000
    grown, volume = np.zeros(dark.shape, dtype=bool), 0.0
    for limit in GROWTH_HU:
        region = sitk.GetArrayFromImage(sitk.ConnectedThreshold(image, seeds, -4000, limit)) > 0
        now = np.count_nonzero(region) * voxel_ml
        if now > MAX_ML or 0 < volume < now - max(BURST_ML, (BURST - 1) * volume):
            break
        grown, volume = region, now
    return grown


def find_trachea(
    smooth: NDArray[np.float32], dark: NDArray[np.bool_], spacing: tuple[float, float, float]
) -> list[Spot]:
    """Return the longest chain of round dark spots from slice to slice, from head to feet."""
    x_mm, y_mm, z_mm = spacing
    chains: list[list[Spot]] = []
    for z in reversed(range(len(smooth))):
        for spot in _round_spots(smooth[z], dark[z], z, x_mm, y_mm):
            for chain in chains:
                last = chain[-1]
                gap = (last.z - z) * z_mm
                shift = np.hypot(
                    (spot.centre[0] - last.centre[0]) * x_mm,
                    (spot.centre[1] - last.centre[1]) * y_mm,
                )
                near = 0 < gap <= max(6.0, 1.5 * z_mm) and shift <= SHIFT_MM + gap
                if near and 1 / AREA_FACTOR < spot.area / last.area < AREA_FACTOR:
                    chain.append(spot)
                    break
            else:
                chains.append([spot])
    longest = max(chains, key=lambda chain: chain[0].z - chain[-1].z, default=[])
    if not longest or (longest[0].z - longest[-1].z) * z_mm < MIN_LENGTH_MM:
        return []
    return longest


def _round_spots(
    plane: NDArray[np.float32], dark: NDArray[np.bool_], z: int, x_mm: float, y_mm: float
) -> list[Spot]:
    air = (dark & (plane < LUMEN_BELOW_HU)).astype(np.uint8)
    count, labels, stats, centres = cv2.connectedComponentsWithStats(air, connectivity=4)
    spots = []
    for label in range(1, count):
        area = float(stats[label, cv2.CC_STAT_AREA]) * x_mm * y_mm
        if not AREA_MM2[0] <= area <= AREA_MM2[1]:
            continue
        left, top, width, height = stats[label, : cv2.CC_STAT_AREA]
        rows, columns = np.nonzero(labels[top : top + height, left : left + width] == label)
        if min(width, height) < 2:
            continue  # a line of pixels has no shape
        minor, major = np.linalg.eigvalsh(np.cov(columns * x_mm, rows * y_mm))
        # The square root of the ratio of variances is the ratio of an ellipse's axes.
        if major <= MAX_ELONGATION**2 * minor:
            spots.append(Spot(z, (float(centres[label][0]), float(centres[label][1])), area))
    return spots
