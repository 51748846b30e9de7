"""Label the lungs of CT volumes by classical means: threshold, components, closing.

Good enough as further training data where lungs are healthy; consolidation and tumours are missed,
and the main airways are partly taken along. Look at the labels before using them, and never call
them ground truth.

Example:
    python scripts/label_by_threshold.py dicom/patient1 ct.nii.gz -o labelled
    lungseg prepare --images labelled/images --masks labelled/masks -o prepared
"""

from pathlib import Path
from typing import Annotated, Any

import SimpleITK as sitk  # noqa: N813 - its documented name
import typer

from lungseg.config import InferConfig
from lungseg.errors import LungsegError
from lungseg.postprocess import tidy
from lungseg.volumes import read_ct, write_volume

LUNG_BELOW_HU = -320
# Wide enough to take in the vessels that a threshold leaves out.
CLOSING_MM = 6.0


def label_lungs(hu: Any) -> Any:
    """Return a uint8 mask of a CT whose axes run to the patient's left, back and head."""
    dark = sitk.Cast(hu < LUNG_BELOW_HU, sitk.sitkUInt8)
    # Air around the patient reaches the sides of the image; lungs may reach its top and bottom.
    width, height, _ = dark.GetSize()
    outside = sitk.Image(dark.GetSize(), sitk.sitkUInt8)
    outside.CopyInformation(dark)
    outside[0:1, :, :] = outside[width - 1 : width, :, :] = 1
    outside[:, 0:1, :] = outside[:, height - 1 : height, :] = 1
    air = sitk.BinaryReconstructionByDilation(outside * dark, dark)
    inside, _ = tidy(dark - air, InferConfig(components=2, min_component_ml=50, fill_holes=False))
    radius = [max(1, round(CLOSING_MM / side)) for side in hu.GetSpacing()[:2]]
    closed = sitk.BinaryMorphologicalClosing(inside, [*radius, 0])
    return sitk.BinaryFillhole(closed, fullyConnected=False)


def main(
    volumes: Annotated[list[Path], typer.Argument(help="DICOM folders or volume files.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for images/ and masks/.")],
) -> None:
    """Write each CT and its lung mask as NIfTI, paired by name."""
    for kind in ("images", "masks"):
        (output / kind).mkdir(parents=True, exist_ok=True)
    for path in volumes:
        name = path.name.split(".")[0]
        try:
            scan = read_ct(path, name).canonical()
        except LungsegError as problem:
            typer.echo(f"{problem}", err=True)
            raise typer.Exit(3) from None
        lungs = label_lungs(scan)
        write_volume(scan, output / "images" / f"{name}.nii.gz")
        write_volume(lungs, output / "masks" / f"{name}.nii.gz")
        voxel_ml = scan.GetSpacing()[0] * scan.GetSpacing()[1] * scan.GetSpacing()[2] / 1000
        litres = sitk.GetArrayViewFromImage(lungs).sum() * voxel_ml / 1000
        typer.echo(f"{name}: {scan.GetSize()[2]} slices, {litres:.2f} L labelled as lung", err=True)


if __name__ == "__main__":
    typer.run(main)
