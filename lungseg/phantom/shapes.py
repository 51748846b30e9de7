"""Shapes and textures that a phantom is drawn with.

Contours are given as functions of position: positive inside, 0 on the contour, negative outside.
`x` runs from the patient's right to the left and `y` from front to back, both from -1 to 1.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.phantom.patient import Patient

Grid = NDArray[np.float32]
Mask = NDArray[np.bool_]


def make_grid(size: int) -> tuple[Grid, Grid]:
    """Return x and y of each pixel of a slice, float32 `(size, size)` each."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2 - 1
    return np.broadcast_to(axis[None], (size, size)), np.broadcast_to(axis[:, None], (size, size))


def smooth_step(value: float, low: float, high: float) -> float:
    """Return 0 below `low`, 1 above `high`, and a smooth rise between them."""
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return share * share * (3 - 2 * share)


def ellipse(x: Grid, y: Grid, cx: float, cy: float, rx: float, ry: float) -> Grid:
    """Return the contour of an ellipse, 1 at its centre."""
    return np.asarray(1 - np.hypot((x - cx) / max(rx, 1e-4), (y - cy) / max(ry, 1e-4)))


def wobbly_outline(
    x: Grid, y: Grid, rx: float, ry: float, patient: Patient, z: float, key: int
) -> Grid:
    """Return the contour of a squarish ellipse around the origin, bent by waves that drift in z.

    Args:
        x: x of each pixel.
        y: y of each pixel.
        rx: radius in x.
        ry: radius in y.
        patient: the patient; its random numbers bend the contour.
        z: position of the slice.
        key: contours with the same key are bent alike.
    """
    angle = np.arctan2(y / ry, x / rx)
    bend = np.zeros_like(x)
    for order in (2, 3, 4, 5):
        strength = patient.wobble[(key * 5 + order) % 24]
        phase = 3 * patient.wobble[(key * 7 + 2 * order) % 24]
        bend = bend + 0.012 * strength * np.cos(order * angle + phase + 0.8 * z)
    power = 2.4
    radius = (np.abs(x / rx) ** power + np.abs(y / ry) ** power) ** (1 / power)
    return np.asarray(1 + bend - radius)


def texture(rng: np.random.Generator, size: int, grain: float) -> Grid:
    """Return smooth noise of unit variance; `grain` is in pixels of a 512 x 512 slice."""
    sigma = max(grain * size / 512, 0.3)
    noise = cv2.GaussianBlur(rng.standard_normal((size, size), dtype=np.float32), (0, 0), sigma)
    return np.asarray(noise / (noise.std() + 1e-6))


def remove_specks(lungs: Mask, size: int) -> Mask:
    """Round the corners where contours meet, and remove small parts."""
    side = max(3, round(size / 90) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    opened = cv2.morphologyEx(lungs.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    keep = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] > 0.0006 * size * size]
    return np.isin(parts, keep)
