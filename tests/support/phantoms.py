"""Phantom slices and volumes, and a config for a network so small that it trains in seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from lungseg.imaging.pixels import apply_window, write_png
from lungseg.phantom.drawing import FIELD_OF_VIEW_MM, make_slice, make_volume
from lungseg.phantom.patient import make_patient

SIDE = 64
LUNG_HEIGHT_MM = 280.0


def tiny(**train: Any) -> dict[str, Any]:
    """Return config data for slices of 64 pixels and a network of a few thousand weights."""
    return {
        "data": {"image_size": [SIDE, SIDE]},
        "split": {"fractions": [0.6, 0.2, 0.2], "group_regex": r"^(patient\d+)_"},
        "augment": {"online": {"hflip": 0.5, "affine": {"p": 0.5}, "noise": {"p": 0.5}}},
        "model": {
            "name": "resunet",
            "base_filters": 4,
            "num_layers": 3,
            "max_filters": 16,
            "stem_stride": 1,
        },
        "train": {
            "epochs": 2,
            "samples_per_epoch": 0,
            "batch_size": 4,
            "learning_rate": 0.01,
            "warmup_epochs": 0,
            "epoch_change_images": 2,
            **train,
        },
    }


def write_phantoms(folder: Path, patients: int, slices: int, side: int = SIDE) -> None:
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(patients):
        patient = make_patient(number)
        for index in range(slices):
            hu, mask = make_slice(patient, (index + 0.5) / slices, side)
            name = f"patient{number + 1:02d}_slice{index + 1:02d}.png"
            write_png(folder / "images" / name, apply_window(hu, (-1000, 400)))
            write_png(folder / "masks" / name, (mask * 255).astype(np.uint8))


def phantom_arrays(
    slices: int = 8, side: int = SIDE, seed: int = 0
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return HU and the lung mask, 0 and 1, of a phantom patient, both `(slices, side, side)`.

    The slices go from the feet to the head, as those of a volume in its canonical orientation do.
    """
    pairs = list(make_volume(make_patient(seed), slices, side))[::-1]
    return np.stack([hu for hu, _ in pairs]), np.stack([mask for _, mask in pairs])


def image_of(
    values: np.ndarray,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    origin: Sequence[float] = (0.0, 0.0, 0.0),
) -> sitk.Image:
    """Return an array as a SimpleITK image; `spacing` and `origin` in mm, ordered (x, y, z)."""
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


def phantom_volume(
    slices: int = 8,
    side: int = SIDE,
    seed: int = 0,
    spacing: Sequence[float] | None = None,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
) -> tuple[sitk.Image, sitk.Image]:
    """Return the scan, in HU, and the lung mask of a phantom patient as SimpleITK images.

    Args:
        slices: number of axial slices.
        side: pixels per side of a slice.
        seed: of the patient.
        spacing: mm, ordered (x, y, z); by default such that the lungs have a patient's size.
        origin: mm, ordered (x, y, z).
    """
    pixel = FIELD_OF_VIEW_MM / side
    spacing = spacing or (pixel, pixel, LUNG_HEIGHT_MM / slices)
    hu, mask = phantom_arrays(slices, side, seed)
    return image_of(hu, spacing, origin), image_of(mask, spacing, origin)
