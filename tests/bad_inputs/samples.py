"""Good inputs, which the kinds of bad input then spoil."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from lungseg.imaging.pixels import apply_window, encode_png
from lungseg.phantom.drawing import make_slice
from lungseg.phantom.patient import make_patient
from tests.support.phantoms import SIDE
from tests.support.volumes import image_of, phantom_arrays

SLICES = 6


def phantom(index: int = 2, side: int = SIDE) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return HU and the lung mask, 0 and 1, of one slice, both `(side, side)`."""
    return make_slice(make_patient(0), (index + 0.5) / SLICES, side)


def grey() -> NDArray[np.uint8]:
    """Return a slice as grey values `(SIDE, SIDE)`."""
    return apply_window(phantom()[0], (-1000, 400))


def png() -> bytes:
    """Return a good PNG."""
    return encode_png(grey())


def hu() -> NDArray[np.int16]:
    """Return a volume in HU `(SLICES, SIDE, SIDE)`."""
    return phantom_arrays(SLICES)[0]


def lungs() -> NDArray[np.uint8]:
    """Return the lung mask of `hu`, 0 and 1."""
    return phantom_arrays(SLICES)[1]


def volume(values: np.ndarray | None = None) -> sitk.Image:
    """Return a SimpleITK image of `values`, or of the phantom."""
    values = hu() if values is None else values
    return image_of(values, (4.0, 4.0, 10.0)[: values.ndim])
