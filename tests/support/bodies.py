"""Slices that look different from patient to patient, as phantoms do not, and data sets of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np

from lungseg.imaging.pixels import write_png

SIDE = 160


def body(patient: int) -> np.ndarray:
    """Draw a trunk of a random outline, full of random tissue."""
    rng = np.random.default_rng(patient)
    tissue = cv2.resize(rng.uniform(40, 255, (24, 24)), (SIDE, SIDE))
    trunk = np.zeros((SIDE, SIDE), np.uint8)
    axes = (int(rng.integers(48, 64)), int(rng.integers(34, 46)))
    cv2.ellipse(trunk, (SIDE // 2, SIDE // 2), axes, rng.uniform(-20, 20), 0, 360, 1, -1)
    return np.asarray(np.clip(trunk * tissue, 0, 255), np.uint8)


def write_slices(folder: Path, images: Mapping[str, np.ndarray]) -> None:
    """Write images and masks (a square) of the given stems."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for stem, image in images.items():
        mask = np.zeros(image.shape, np.uint8)
        mask[60:90, 60:90] = 255
        write_png(folder / "images" / f"{stem}.png", image)
        write_png(folder / "masks" / f"{stem}.png", mask)


def write_layout(folder: Path, parts: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write a data set as it comes from elsewhere, without split.csv."""
    for part, images in parts.items():
        write_slices(folder / part, images)


def bodies(patients: Iterable[int], prefix: str = "p") -> dict[str, np.ndarray]:
    """Return one slice per patient by name."""
    return {f"{prefix}{patient}": body(patient) for patient in patients}
