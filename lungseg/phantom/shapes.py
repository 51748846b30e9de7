"""Shapes and textures that a phantom is drawn with.

Contours are given as functions of position: positive inside, 0 on the contour, negative outside.
`x` runs from the patient's right to the left and `y` from front to back, both from -1 to 1.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.phantom.patient import Patient, Vessel

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


def draw_vessel(
    drawn: NDArray[np.uint8], patient: Patient, cx: float, cy: float, radius: float, vessel: Vessel
) -> None:
    """Draw the cross-section of a vessel, with its centre and radius in this slice, into a mask."""
    size = drawn.shape[0]
    cos, sin = np.cos(patient.tilt), np.sin(patient.tilt)
    column = ((cos * cx - sin * cy + patient.shift[0] + 1) * size / 2 - 0.5) * 16
    row = ((sin * cx + cos * cy + patient.shift[1] + 1) * size / 2 - 0.5) * 16
    axes = (round(radius * vessel.stretch * size * 8), round(radius * size * 8))
    angle = float(np.degrees(vessel.angle + patient.tilt))
    cv2.ellipse(
        drawn, (round(column), round(row)), axes, angle, 0, 360, 1, cv2.FILLED, cv2.LINE_8, 4
    )


def add_scanner_noise(
    hu: Grid, patient: Patient, size: int, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Add blur and noise like those of a scanner and its kernel."""
    image = cv2.GaussianBlur(hu, (0, 0), max(patient.sharpness * 1.6 * size / 512, 0.35))
    image = image + patient.noise * texture(rng, size, 0.8) + 9 * texture(rng, size, 7.0)
    return np.asarray(np.clip(np.rint(image), -1024, 3071), dtype=np.int16)
