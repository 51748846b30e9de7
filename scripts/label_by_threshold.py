"""Label the lungs of CT volumes by classical means: threshold, components, closing.

Good enough as further training data where lungs are healthy; consolidation and tumours are missed,
and smaller airways are taken along. Look at the labels before using them, keep the slices where
they are right (--slices), and never call them ground truth.

Example:
    python scripts/label_by_threshold.py dicom/patient1 ct.nii.gz -o labelled
    python scripts/label_by_threshold.py dicom/patient2 --slices 0:39 -o labelled
    lungseg prepare --images labelled/images --masks labelled/masks -o prepared
"""

import re
from pathlib import Path
from typing import Annotated, Any

import SimpleITK as sitk  # noqa: N813 - its documented name
import typer

from lungseg.config.schema import InferConfig
from lungseg.errors import LungsegError
from lungseg.imaging.volume_files import read_ct, write_volume
from lungseg.inference.postprocess import tidy

LUNG_BELOW_HU = -320
AIRWAY_BELOW_HU = -930
AIRWAYS_ML = (10, 150)
# Lung has a median of -900 to -700 HU, bowel gas -1000 where its blurred edge is left out.
GAS_BELOW_HU = -900
# A larger part is lung, emphysema though it may have.
MOST_GAS_ML = 1000
SMALLEST_LUNG_ML = 25
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
    airways = find_airways(hu, dark - air)
    one_or_two = InferConfig(components=2, min_component_ml=SMALLEST_LUNG_ML, fill_holes=False)
    inside, _ = tidy(drop_bowel(hu, dark - air), one_or_two)
    radius = [max(1, round(CLOSING_MM / side)) for side in hu.GetSpacing()[:2]]
    closed = sitk.BinaryMorphologicalClosing(inside, [*radius, 0])
    filled = sitk.BinaryFillhole(closed, fullyConnected=False)
    kept, _ = tidy(filled * (1 - airways), one_or_two)
    return kept


def drop_bowel(hu: Any, dark: Any) -> Any:
    """Return the connected parts of a uint8 mask that are large, or not as dark as gas within."""
    parts = sitk.ConnectedComponent(dark)
    within = sitk.Mask(parts, sitk.BinaryErode(dark, [1, 1, 0]))
    statistics = sitk.LabelIntensityStatisticsImageFilter()
    statistics.Execute(within, hu)
    gas = {
        label: 0
        for label in statistics.GetLabels()
        if statistics.GetMedian(label) < GAS_BELOW_HU
        and statistics.GetPhysicalSize(label) / 1000 < MOST_GAS_ML
    }
    return sitk.Cast(sitk.ChangeLabel(parts, gas) > 0, sitk.sitkUInt8)


def find_airways(hu: Any, dark: Any) -> Any:
    """Return a uint8 mask of trachea and main bronchi; empty where they cannot be told from lung.

    Their air is darker than lung. The darkest connected part that reaches highest is taken if its
    volume is an airway's.
    """
    air = sitk.Cast(sitk.Median(hu, [1, 1, 1]) < AIRWAY_BELOW_HU, sitk.sitkUInt8) * dark
    parts = sitk.ConnectedComponent(air)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(parts)
    found = [
        (shape.GetBoundingBox(label)[2] + shape.GetBoundingBox(label)[5], label)
        for label in shape.GetLabels()
        if AIRWAYS_ML[0] <= shape.GetPhysicalSize(label) / 1000 <= AIRWAYS_ML[1]
    ]
    if not found:
        return dark * 0
    _, label = max(found)
    # The wall and its blurred edge go with the air.
    return sitk.BinaryDilate(sitk.Cast(parts == label, sitk.sitkUInt8), [3, 3, 0])


def main(
    volumes: Annotated[list[Path], typer.Argument(help="DICOM folders or volume files.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for images/ and masks/.")],
    slices: Annotated[
        str, typer.Option(help="Slices kept, FIRST:END from the feet, END left out.")
    ] = ":",
) -> None:
    """Write each CT and its lung mask as NIfTI, paired by name."""
    matched = re.fullmatch(r"(\d*):(\d*)", slices)
    if matched is None:
        typer.echo(f"--slices {slices}: expected FIRST:END, as in 0:39.", err=True)
        raise typer.Exit(2)
    kept = slice(*(int(end) if end else None for end in matched.groups()))
    for kind in ("images", "masks"):
        (output / kind).mkdir(parents=True, exist_ok=True)
    for path in volumes:
        name = path.name.split(".")[0]
        try:
            scan = read_ct(path, name=name).canonical()
        except LungsegError as problem:
            typer.echo(f"{problem}", err=True)
            raise typer.Exit(3) from None
        # Labelled whole, then cut: a part's ends would be taken for the lungs' own.
        scan, lungs = scan[:, :, kept], label_lungs(scan)[:, :, kept]
        write_volume(scan, output / "images" / f"{name}.nii.gz")
        write_volume(lungs, output / "masks" / f"{name}.nii.gz")
        voxel_ml = scan.GetSpacing()[0] * scan.GetSpacing()[1] * scan.GetSpacing()[2] / 1000
        litres = sitk.GetArrayViewFromImage(lungs).sum() * voxel_ml / 1000
        typer.echo(f"{name}: {scan.GetSize()[2]} slices, {litres:.2f} L labelled as lung", err=True)


if __name__ == "__main__":
    typer.run(main)
