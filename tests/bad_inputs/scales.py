"""CT whose values are not HU: on another scale, with padding, or stretched to grey."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from lungseg.imaging.pixels import apply_window
from tests.bad_inputs.kinds import DATA, DONE, infer, prepare
from tests.bad_inputs.samples import hu, lungs, phantom, volume


def padded(values: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return a volume with padding of -2000 along its left side."""
    changed = values.astype(np.int32)
    changed[..., :8] = -2000
    return changed


@infer("bad.nii.gz", DONE, "HU + 1024")
def hu_plus_1024_padded(folder: Path) -> None:
    """A volume of HU + 1024 with padding of -2000: converted, with a warning."""
    sitk.WriteImage(volume(padded(hu() + 1024)), str(folder / "bad.nii.gz"))


@infer("bad.nii.gz", DONE, "HU - 1024")
def hu_minus_1024(folder: Path) -> None:
    """A volume whose intercept was applied twice: converted, with a warning."""
    sitk.WriteImage(volume(hu() - 1024), str(folder / "bad.nii.gz"))


@infer("bad.nii.gz")
def grey_padded(folder: Path) -> None:
    """A volume of grey values 0 to 255 with padding of -2000."""
    grey = apply_window(hu(), (-1000, 400))
    sitk.WriteImage(volume(padded(grey)), str(folder / "bad.nii.gz"))


@prepare(DATA, "bad")
def grey_padded_in_prepare(folder: Path) -> None:
    """A volume of grey values 0 to 255 with padding of -2000, and its labels."""
    grey = apply_window(hu(), (-1000, 400))
    for name, image in (("images", volume(padded(grey))), ("masks", volume(lungs()))):
        (folder / name).mkdir()
        sitk.WriteImage(image, str(folder / name / "bad.nii.gz"))


@infer("bad.png", DONE)
def png_of_hu_plus_32768(folder: Path) -> None:
    """A PNG of 16 bits that holds HU + 32768: converted, and said in cases.csv."""
    stored = phantom()[0].astype(np.int32) + 32768
    cv2.imwrite(str(folder / "bad.png"), stored.astype(np.uint16))
