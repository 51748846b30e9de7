"""Write synthetic chest-CT slices with lung masks, patient by patient.

Example:
    python scripts/make_phantom.py -o demo/raw --patients 12 --slices 8 --size 256
"""

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from lungseg.imaging.pixels import apply_window, write_png
from lungseg.phantom.drawing import make_slice
from lungseg.phantom.patient import make_patient
from lungseg.system.environment import ordered_map


def main(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for images/ and masks/.")],
    patients: Annotated[int, typer.Option(min=1, help="Number of patients.")] = 12,
    slices: Annotated[int, typer.Option(min=1, help="Slices a patient, apex to base.")] = 8,
    size: Annotated[int, typer.Option(min=16, help="Pixels a side.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Number of the first patient.")] = 0,
    hu: Annotated[bool, typer.Option("--hu", help="Signed 16-bit TIFF in HU, not PNG.")] = False,
    low: Annotated[float, typer.Option(help="HU shown as black (PNG).")] = -1000.0,
    high: Annotated[float, typer.Option(help="HU shown as white (PNG).")] = 400.0,
) -> None:
    """Draw phantoms; the same seed gives the same files."""
    for kind in ("images", "masks"):
        (output / kind).mkdir(parents=True, exist_ok=True)

    def draw(job: tuple[int, int]) -> None:
        number, index = job
        image, mask = make_slice(make_patient(seed + number), (index + 0.5) / slices, size)
        name = f"patient{number + 1:02d}_slice{index + 1:02d}"
        if hu:
            cv2.imwrite(str(output / "images" / f"{name}.tif"), image)
        else:
            write_png(output / "images" / f"{name}.png", apply_window(image, (low, high)))
        write_png(output / "masks" / f"{name}.png", (mask * 255).astype(np.uint8))

    jobs = [(number, index) for number in range(patients) for index in range(slices)]
    done = sum(1 for _ in ordered_map(draw, jobs))
    typer.echo(f"{output}: {done} synthetic slices of {patients} patients", err=True)


if __name__ == "__main__":
    typer.run(main)
