"""The scans that the examples of the Python API read."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from lungseg.phantom.drawing import make_volume
from lungseg.phantom.patient import make_patient
from tests.support.dicom_files import Change, write_series
from tests.support.phantoms import SIDE

SLICES = 12


def phantom_hu(number: int = 3) -> NDArray[np.int16]:
    """Return a phantom patient in HU, `(D, H, W)`, from base to apex as a CT is stored."""
    slices = [hu for hu, _ in make_volume(make_patient(number), SLICES, SIDE)]
    return np.stack(slices[::-1]).astype(np.int16)


def write_scans(folder: Path) -> None:
    """Write the same phantom as `ct.npy`, `scan.mha`, and the DICOM folder `scan`."""
    hu = phantom_hu()
    np.save(folder / "ct.npy", hu)
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((5.0, 5.0, 20.0))
    image.SetOrigin((-160.0, -150.0, 30.0))
    sitk.WriteImage(image, str(folder / "scan.mha"))
    write_dicom(folder / "scan", hu)


def write_dicom(folder: Path, hu: NDArray[np.int16], change: Change | None = None) -> None:
    """Write a series with the size of a patient: pixels of 5 x 5 mm, slices 20 mm apart."""

    def grow(ct: FileDataset, index: int) -> None:
        ct.PixelSpacing = [5.0, 5.0]
        if change is not None:
            change(ct, index)

    write_series(folder, hu, grow, step=20.0)
