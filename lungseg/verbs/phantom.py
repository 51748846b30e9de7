"""`lungseg phantom`: synthetic chest CT with lung masks, for the demo and for tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lungseg.errors import UsageError
from lungseg.phantom.dataset import WINDOW, write_phantom_volumes, write_phantoms
from lungseg.system.outputs import staged_output

SLICES = 8
# 5 mm apart, as chest CT often is; the first and the last lie beyond the lungs.
VOLUME_SLICES = 58


@dataclass(frozen=True)
class PhantomResult:
    """What `phantom` wrote.

    Attributes:
        output: folder with `images/` and `masks/`.
        patients: number of patients.
        pairs: number of images, each with a mask: slices, or one volume per patient.
    """

    output: Path
    patients: int
    pairs: int


def phantom(
    output: Path,
    *,
    patients: int = 12,
    slices: int | None = None,
    size: int = 256,
    seed: int = 0,
    window: tuple[float, float] = WINDOW,
    hounsfield: bool = False,
    volumes: bool = False,
    overwrite: bool = False,
) -> PhantomResult:
    """Draw synthetic patients and write them with their lung masks.

    The same arguments give the same bytes.

    Args:
        output: folder to write; appears whole, or not at all.
        patients: number of patients.
        slices: slices per patient; None means 8, or 58 with `volumes`.
        size: pixels per side of a slice.
        seed: seed of the first patient. Each further patient has the next number.
        window: HU shown as black and as white in PNG slices.
        hounsfield: write slices as signed 16-bit TIFF in HU.
        volumes: write one CT volume in HU per patient, as NIfTI.
        overwrite: replace an `output` that `phantom` wrote.

    Raises:
        UsageError: if `output` may not be written, or the window is empty.
        DataError: if a file cannot be written.
    """
    if window[0] >= window[1]:
        raise UsageError(f"--low {window[0]:g} --high {window[1]:g}: low must be below high.")
    with staged_output(output, "phantom", overwrite=overwrite) as staged:
        if volumes:
            count = slices or VOLUME_SLICES
            files = write_phantom_volumes(staged, patients, count, size, seed=seed)
        else:
            files = write_phantoms(
                staged,
                patients,
                slices or SLICES,
                size,
                seed=seed,
                window=window,
                hounsfield=hounsfield,
            )
    return PhantomResult(output, patients, len(files))
