"""Synthetic chest CT in Hounsfield units, with lung masks, for tests and the demo.

A patient is drawn at random from a seed: body, thoracic cavity, two lungs, heart, great vessels,
spine, ribs, sternum, shoulder blades, trachea, lung vessels, liver and spleen under the diaphragm,
the scanner's table, noise, and pathology. Each slice can be computed by itself, from `z` 0 (apex)
to 1 (base). Neighbouring slices resemble each other as real ones do.

The mask covers both lungs with their vessels, nodules and consolidation. Trachea, main bronchi,
mediastinum and pleural effusion are outside the mask. Phantoms are for testing programs. A score on
phantoms says nothing about patients.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.phantom.patient import Patient
from lungseg.phantom.shapes import (
    Grid,
    Mask,
    add_scanner_noise,
    draw_vessel,
    ellipse,
    make_grid,
    remove_specks,
    smooth_step,
    texture,
    wobbly_outline,
)

# Densities in HU.
AIR, FAT, BLOOD, MUSCLE, LIVER, FLUID, MARROW, CORTEX = (
    -1000.0, -100.0, 45.0, 55.0, 60.0, 12.0, 180.0, 650.0,
)  # fmt: skip

FIELD_OF_VIEW_MM = 360.0


def make_slice(
    patient: Patient, z: float, size: int = 512
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Compute one axial slice.

    Args:
        patient: from `make_patient`.
        z: 0 at the lung apex, 1 at the base. A slice beyond them holds no lung.
        size: pixels per side. The field of view is `FIELD_OF_VIEW_MM`.

    Returns:
        HU, int16 `(size, size)`, and the lung mask, uint8 0/1 of the same shape. Rows run from
        front to back and columns from the patient's right to the left, as radiologists view CT.
    """
    rng = np.random.default_rng([patient.seed, round(z * 1e6) % 2**32, size])
    image_x, image_y = make_grid(size)
    cos, sin = np.cos(patient.tilt), np.sin(patient.tilt)
    x = cos * (image_x - patient.shift[0]) + sin * (image_y - patient.shift[1])
    y = -sin * (image_x - patient.shift[0]) + cos * (image_y - patient.shift[1])

    hu = np.full((size, size), AIR, dtype=np.float32)
    _paint_table(hu, image_x, image_y, patient)
    cavity = _paint_trunk(hu, x, y, patient, z)
    centre, airway = _mediastinum(x, y, patient, z)
    abdomen = _abdomen(x, y, patient, z)
    lungs = cavity & ~centre & ~abdomen & ~airway
    effusion = lungs & _effusion(x, y, patient, z)
    lungs &= ~effusion
    lungs = remove_specks(lungs, size)
    holds_lung = 0 <= z <= 1
    lungs &= holds_lung

    hu[cavity] = FAT + 60 if holds_lung else MUSCLE
    _paint_mediastinum(hu, x, y, patient, z, cavity)
    hu[cavity & abdomen] = LIVER
    _paint_stomach(hu, x, y, patient, z, cavity & abdomen)
    hu[effusion] = FLUID
    _paint_spine(hu, x, y, patient, z)
    _paint_lungs(hu, lungs, x, y, patient, z, rng)
    hu[airway & cavity] = AIR + 20
    return add_scanner_noise(hu, patient, size, rng), lungs.astype(np.uint8)


def make_volume(
    patient: Patient, slices: int, size: int = 512
) -> Iterator[tuple[NDArray[np.int16], NDArray[np.uint8]]]:
    """Yield slices from apex to base, evenly spaced in z.

    Args:
        patient: from `make_patient`.
        slices: number of slices.
        size: pixels per side.

    Yields:
        What `make_slice` returns.
    """
    for index in range(slices):
        yield make_slice(patient, (index + 0.5) / slices, size)


def _paint_table(hu: Grid, x: Grid, y: Grid, patient: Patient) -> None:
    top = patient.shift[1] + patient.depth + 0.07
    surface = y - (top + 0.05 * (1 - np.cos(1.3 * x)) * -1)
    hu[(np.abs(surface) < 0.008) & (np.abs(x) < 0.85)] = -150
    hu[(surface > 0.008) & (surface < 0.05) & (np.abs(x) < 0.83)] = -920


def _paint_trunk(hu: Grid, x: Grid, y: Grid, patient: Patient, z: float) -> Mask:
    """Paint skin, fat, muscle and the bones of the chest wall; return the thoracic cavity."""
    shoulders = 1 + 0.10 * (1 - smooth_step(z, 0.0, 0.3))
    body = wobbly_outline(x, y, patient.width * shoulders, patient.depth, patient, z, 0)
    hu[body > 0] = 30
    hu[body > 0.018] = FAT
    width = patient.width * shoulders - patient.fat - 0.02
    muscle = wobbly_outline(x, y, width, patient.depth - patient.fat * 0.8 - 0.02, patient, z, 1)
    hu[(muscle > 0) & (body > 0.03)] = MUSCLE
    # Fat between the muscles lies in planes that bend and drift slowly with z.
    bend = 0.05 * np.sin(5 * x + 3 * z + patient.wobble[3]) + 0.03 * np.sin(
        11 * y + patient.wobble[4]
    )
    planes = np.abs(np.sin(22 * (muscle + bend) + 6 * z)) < 0.30
    patches = np.sin(7 * np.arctan2(y, x) + 4 * z + patient.wobble[6]) > -0.2
    hu[(muscle > 0.02) & (muscle < 0.45) & planes & patches] = FAT + 15

    grow = 0.50 + 0.50 * smooth_step(z, -0.12, 0.42)
    rx, ry = (
        patient.cavity[0] * grow,
        patient.cavity[1] * (0.62 + 0.38 * smooth_step(z, -0.1, 0.4)),
    )
    # The chest is egg-shaped: narrower in front than behind.
    egg = np.asarray(x * (1 - 0.16 * np.clip(y / ry, -1.2, 1.2)), dtype=np.float32)
    inner = wobbly_outline(egg, y, rx, ry, patient, z, 2)
    wall = wobbly_outline(egg, y, rx + 0.055, ry + 0.05, patient, z, 2)
    hu[(wall > 0) & (body > 0.03)] = MUSCLE
    angle = np.arctan2(y / ry, x / rx)
    # Ribs run obliquely, so a slice shows each as a dash. The dashes move from slice to slice.
    dashes = np.cos(11 * angle + np.sign(x) * (26 * z + patient.wobble[5]))
    ribs = (body > 0.03) & (wall > 0.018) & (inner < -0.018) & (dashes > 0.15) & (np.abs(x) > 0.1)
    hu[ribs] = CORTEX * 0.75
    hu[ribs & (wall > 0.035) & (inner < -0.034) & (dashes > 0.4)] = MARROW
    sternum = ellipse(x, y, 0, -ry - 0.035, 0.10, 0.026)
    if z > 0.12:
        hu[sternum > 0] = CORTEX * 0.55
        hu[sternum > 0.3] = MARROW * 0.8
    if z < 0.62:
        for side in (-1, 1):
            _paint_shoulder_blade(hu, x, y, side, rx, ry, z, body)
    return np.asarray((inner > 0) & (body > 0.07))


def _paint_shoulder_blade(
    hu: Grid, x: Grid, y: Grid, side: int, rx: float, ry: float, z: float, body: Grid
) -> None:
    cx, cy = side * (rx * 0.84 + 0.10), ry * 0.62 + 0.05
    slope = side * (-0.9 + 0.3 * z)
    u = x - cx
    along = (u * np.cos(slope) + (y - cy) * np.sin(slope)) / 0.17
    across = (-u * np.sin(slope) + (y - cy) * np.cos(slope)) / 0.018
    blade = 1 - np.hypot(along, across + 1.5 * along**2)
    hu[(blade > 0) & (body > 0.04)] = CORTEX * 0.7


def _central_parts(patient: Patient, z: float) -> list[tuple[str, float, float, float, float]]:
    """Return name, centre (x, y) and radii (x, y) of each organ between the lungs at this z."""
    hx, hy, hrx, hry = patient.heart
    beat = smooth_step(z, 0.34, 0.55)
    upper = 1 - smooth_step(z, 0.45, 0.62)
    parts = [
        ("column", 0.0, 0.14, 0.06 + 0.03 * upper, 0.25),
        ("junction", 0.01, -patient.cavity[1] * 0.95, 0.09, patient.cavity[1] * 0.45),
        ("septum", 0.01, -patient.cavity[1] * 0.6, 0.022, patient.cavity[1] * 0.5),
        ("aorta", 0.10, 0.20 - 0.02 * z, 0.055, 0.055),
        ("esophagus", 0.03, 0.13, 0.028, 0.022),
    ]
    if upper > 0:
        parts.append(("vessels", 0.0, -0.05, 0.10 + 0.07 * smooth_step(z, 0.0, 0.25), 0.20))
        parts.append(("arch", 0.03, -0.08, 0.05, 0.06))
        parts.append(("cava", -0.09, -0.10, 0.035, 0.04))
    if beat > 0:
        parts.append(("heart", hx, hy, hrx * (0.45 + 0.55 * beat), hry * (0.55 + 0.45 * beat)))
    if 0.33 < z < 0.62:
        reach = np.sin((z - 0.33) / 0.29 * np.pi)
        for side in (-1, 1):
            name = "hilum_right" if side < 0 else "hilum_left"
            parts.append((name, side * 0.15, 0.02, 0.06 + 0.07 * reach, 0.03 + 0.045 * reach))
    return parts


def _mediastinum(x: Grid, y: Grid, patient: Patient, z: float) -> tuple[Mask, Mask]:
    """Return what lies between the lungs, and the air in trachea and main bronchi."""
    centre = np.zeros(x.shape, dtype=bool)
    ripple = 0.10 * np.cos(4 * np.arctan2(y, x) + patient.wobble[7] * 2 + 2 * z)
    for _, cx, cy, rx, ry in _central_parts(patient, z):
        centre |= ellipse(x, y, cx, cy, rx, ry) + ripple > 0
    centre |= ellipse(x, y, 0, patient.cavity[1] * 0.78, 0.15, 0.19) > 0
    airway = np.zeros(x.shape, dtype=bool)
    if z < 0.40:
        airway |= ellipse(x, y, -0.005, 0.03, 0.042, 0.046) > 0
    elif z < 0.52:
        spread = 0.03 + 1.0 * (z - 0.40)
        for side in (-1, 1):
            airway |= ellipse(x, y, side * spread, 0.02, 0.034, 0.028) > 0
    return centre, airway


def _paint_mediastinum(
    hu: Grid, x: Grid, y: Grid, patient: Patient, z: float, cavity: Mask
) -> None:
    blood = BLOOD + patient.contrast
    values = {
        "column": MUSCLE - 60,
        "junction": FAT,
        "septum": FAT,
        "vessels": FAT + 70,
        "esophagus": 35.0,
    }
    for name, cx, cy, rx, ry in _central_parts(patient, z):
        shape = ellipse(x, y, cx, cy, rx, ry) + 0.05 * np.cos(5 * np.arctan2(y - cy, x - cx) + cx)
        hu[(shape > 0) & cavity] = values.get(name, blood)
        if name == "heart":
            # From outside to inside: epicardial fat, muscle, chambers.
            hu[(shape > 0) & (shape < 0.06) & cavity] = FAT + 20
            hu[(shape > 0.06) & (shape < 0.2) & cavity] = MUSCLE + 0.3 * patient.contrast


def _abdomen(x: Grid, y: Grid, patient: Patient, z: float) -> Mask:
    """Return the part of the abdomen that lies under the two domes of the diaphragm."""
    below = np.zeros(x.shape, dtype=bool)
    for side, start in zip((-1, 1), patient.dome, strict=True):
        rise = (z - start) / (1.02 - start)
        if rise > 0:
            rx, ry = patient.cavity[0] * 0.56 * rise**0.5, patient.cavity[1] * 1.02 * rise**0.5
            dome = ellipse(x, y, side * patient.cavity[0] * 0.44, -0.06, rx, ry)
            below |= dome + 0.03 * np.cos(3 * np.arctan2(y, x) + patient.wobble[9]) > 0
    if z > 0.86:
        below |= (np.abs(x) < 0.2) & (y < 0.1)
    return below


def _paint_stomach(hu: Grid, x: Grid, y: Grid, patient: Patient, z: float, abdomen: Mask) -> None:
    if z > patient.dome[1] + 0.06:
        hu[(ellipse(x, y, 0.3, -0.12, 0.16, 0.13) > 0) & abdomen] = 20
        hu[(ellipse(x, y, 0.29, -0.17, 0.08, 0.05) > 0) & abdomen] = AIR + 60
        hu[(ellipse(x, y, 0.36, 0.2, 0.13, 0.1) > 0) & abdomen] = LIVER - 10


def _effusion(x: Grid, y: Grid, patient: Patient, z: float) -> Mask:
    """Return the fluid behind the lungs, which gathers at the back and towards the base."""
    fluid = np.zeros(x.shape, dtype=bool)
    for side, depth in zip((-1, 1), patient.effusion, strict=True):
        height = depth * smooth_step(z, 0.25, 0.9) * 1.6
        if height > 0.01:
            level = patient.cavity[1] - height - 0.12 * (np.abs(x) - 0.35) ** 2
            fluid |= (side * x > 0) & (y > level)
    return fluid


def _paint_spine(hu: Grid, x: Grid, y: Grid, patient: Patient, z: float) -> None:
    cy = patient.cavity[1] * 0.68
    disc = np.sin(30 * z + patient.wobble[11]) > 0.7
    body = ellipse(x, y, 0, cy, 0.112, 0.095)
    hu[body > 0] = 90 if disc else CORTEX * 0.6
    if not disc:
        hu[body > 0.16] = MARROW
    arch = ellipse(x, y, 0, cy + 0.135, 0.085, 0.065)
    hu[arch > 0] = CORTEX * 0.65
    hu[ellipse(x, y, 0, cy + 0.12, 0.052, 0.042) > 0] = 30
    hu[(np.abs(x) < 0.018) & (y > cy + 0.19) & (y < cy + 0.27)] = CORTEX * 0.55
    wings = (np.abs(y - (cy + 0.13) + 0.25 * np.abs(x)) < 0.022) & (np.abs(x) > 0.08)
    hu[wings & (np.abs(x) < 0.19)] = CORTEX * 0.6


def _paint_lungs(
    hu: Grid, lungs: Mask, x: Grid, y: Grid, patient: Patient, z: float, rng: np.random.Generator
) -> None:
    size = hu.shape[0]
    # Lung is denser at the back, where gravity pulls the blood, and has a fine texture.
    tissue = patient.parenchyma + 70 * (y + 0.1) + 22 * texture(rng, size, 2.2)
    inside = cv2.distanceTransform(lungs.astype(np.uint8), cv2.DIST_L2, 3) / size
    drawn = np.zeros(hu.shape, dtype=np.uint8)
    for vessel in patient.vessels:
        if vessel.start < z < vessel.end:
            along = (z - vessel.start) / (vessel.end - vessel.start)
            radius = vessel.radius * (1.15 - 0.7 * along)
            cx = vessel.x + vessel.dx * (z - vessel.start)
            cy = vessel.y + vessel.dy * (z - vessel.start)
            draw_vessel(drawn, patient, cx, cy, radius, vessel)
    tissue = np.where((drawn > 0) & (inside > 0.004), BLOOD + 0.8 * patient.contrast, tissue)
    for lesion in patient.lesions:
        across = lesion.radius**2 - (lesion.z - z) ** 2
        if across > 0:
            bend = 1 + 0.15 * np.cos(3 * np.arctan2(y - lesion.y, x - lesion.x) + lesion.phase)
            reach = np.hypot(x - lesion.x, y - lesion.y) / (across**0.5 * bend)
            if lesion.kind == "nodule":
                tissue = np.where(reach < 1, 35.0, tissue)
            else:
                share = np.clip((1.15 - reach) / 0.35, 0, 1)
                mottle = 25 - 160 * np.clip(texture(rng, size, 3.0), 0, None)
                tissue = tissue * (1 - share) + mottle * share
    hu[lungs] = tissue[lungs]
