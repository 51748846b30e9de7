"""Phantoms on disk: slices as pairs of images, or CT volumes as NIfTI.

A folder of phantoms has what `prepare` reads: `images/` and `masks/`, paired by name. The same seed
gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.errors import DataError
from lungseg.imaging.pixels import apply_window, write_png
from lungseg.phantom.drawing import FIELD_OF_VIEW_MM, make_slice
from lungseg.phantom.patient import make_patient
from lungseg.system import console
from lungseg.system.environment import ordered_map
from lungseg.system.files import write_bytes

# HU shown as black and as white, as in the default config.
WINDOW = (-1000.0, 400.0)
# From the apex of the lungs to their base.
LUNG_HEIGHT_MM = 280.0


@dataclass(frozen=True)
class PhantomFiles:
    """A written phantom, a slice or a volume.

    Attributes:
        patient: number of the patient, from 1.
        image: file with the slice or the CT.
        mask: file with its lungs.
        lung_fraction: share of the pixels or voxels that are lung.
    """

    patient: int
    image: Path
    mask: Path
    lung_fraction: float


def write_phantoms(
    folder: Path,
    patients: int,
    slices: int,
    size: int = 512,
    *,
    seed: int = 0,
    window: tuple[float, float] = WINDOW,
    hounsfield: bool = False,
) -> list[PhantomFiles]:
    """Write slices as `images/` and `masks/patient01_slice01.png`, and so on.

    Args:
        folder: made if it does not exist.
        patients: number of patients; the first one is drawn from `seed`, the next from `seed + 1`.
        slices: slices per patient, evenly spaced from apex to base.
        size: pixels per side.
        seed: of the first patient.
        window: HU shown as black and as white.
        hounsfield: write images as signed 16-bit TIFF in HU; the window is not used then.

    Returns:
        The files of each slice, patient by patient.

    Raises:
        DataError: if a file cannot be written.
    """
    _make_folders(folder)

    def draw(job: tuple[int, int]) -> PhantomFiles:
        number, index = job
        hu, lungs = make_slice(make_patient(seed + number), (index + 0.5) / slices, size)
        name = f"patient{number + 1:02d}_slice{index + 1:02d}"
        image = folder / "images" / f"{name}{'.tif' if hounsfield else '.png'}"
        mask = folder / "masks" / f"{name}.png"
        write_pair(image, mask, hu, lungs, window)
        return PhantomFiles(number + 1, image, mask, float(lungs.mean()))

    jobs = [(number, index) for number in range(patients) for index in range(slices)]
    return list(console.track(ordered_map(draw, jobs), len(jobs), "phantom", "slice"))


def write_pair(
    image: Path,
    mask: Path,
    hu: NDArray[Any],
    lungs: NDArray[np.uint8],
    window: tuple[float, float] = WINDOW,
) -> None:
    """Write one slice and its mask.

    Args:
        image: where the slice goes. A `.png` shows it through `window`; a `.tif` keeps its HU.
        mask: where the mask goes, a PNG with 0 and 255.
        hu: HU `(H, W)`; int16 for a `.tif`.
        lungs: 0 and 1 `(H, W)`.
        window: HU shown as black and as white.

    Raises:
        DataError: if a file cannot be written.
    """
    if image.suffix == ".tif":
        done, encoded = cv2.imencode(".tif", hu)
        if not done:
            raise DataError(image, f"an array of shape {hu.shape} cannot be written as TIFF.")
        write_bytes(image, encoded.tobytes())
    else:
        write_png(image, apply_window(hu, window))
    write_png(mask, (lungs * 255).astype(np.uint8))


def write_phantom_volumes(
    folder: Path, patients: int, slices: int, size: int = 512, *, seed: int = 0
) -> list[PhantomFiles]:
    """Write CT volumes in HU as `images/patient01.nii.gz`, and their lungs in `masks/`.

    Args:
        folder: made if it does not exist.
        patients: number of patients; the first one is drawn from `seed`, the next from `seed + 1`.
        slices: slices per patient. The first and the last lie beyond the lungs, so that no lung is
            cut off, and the others are evenly spaced in `LUNG_HEIGHT_MM`. Fewer than 3 hold lung.
        size: voxels per side of a slice.
        seed: of the first patient.

    Returns:
        The files of each patient.

    Raises:
        DataError: if a file cannot be written.
    """
    # Imported here because slices do not need it.
    import SimpleITK as sitk  # noqa: N813 - its documented name

    from lungseg.imaging.volume_files import write_volume

    _make_folders(folder)
    beyond = int(slices >= 3)
    inner = slices - 2 * beyond
    spacing = (FIELD_OF_VIEW_MM / size, FIELD_OF_VIEW_MM / size, LUNG_HEIGHT_MM / inner)
    files = []
    with console.progress(patients * slices, "phantom", "slice") as bar:
        for number in range(patients):
            draw = partial(make_slice, make_patient(seed + number), size=size)
            # CT is stored from the feet to the head, but z runs from the apex to the base.
            heights = [(index + 0.5 - beyond) / inner for index in reversed(range(slices))]
            drawn = []
            for pair in ordered_map(draw, heights):
                drawn.append(pair)
                bar.advance()
            name = f"patient{number + 1:02d}.nii.gz"
            paths = [folder / kind / name for kind in ("images", "masks")]
            for path, stack in zip(paths, zip(*drawn, strict=True), strict=True):
                volume = sitk.GetImageFromArray(np.stack(stack))
                volume.SetSpacing(spacing)
                write_volume(volume, path)
            lungs = float(np.mean([mask.mean() for _, mask in drawn]))
            files.append(PhantomFiles(number + 1, paths[0], paths[1], lungs))
    return files


def _make_folders(folder: Path) -> None:
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
