"""Phantom patients as arrays and as SimpleITK volumes."""

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from lungseg.phantom.drawing import FIELD_OF_VIEW_MM, make_volume
from lungseg.phantom.patient import make_patient
from tests.support.phantoms import SIDE

LUNG_HEIGHT_MM = 280.0


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
