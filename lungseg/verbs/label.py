"""`lungseg label`: CT volumes -> lung masks by classical means, as labels to train on.

`LABELLED` holds `images/` and `masks/`, one NIfTI per CT in each, as `prepare` reads them; and with
`overlay` a picture per CT in `overlays/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.config.schema import DataConfig
from lungseg.errors import DataError, UsageError, one_of_many
from lungseg.imaging.folders import Input
from lungseg.imaging.inputs import collect, find_clashes
from lungseg.imaging.pixels import write_png
from lungseg.imaging.volume_files import read_ct, write_volume
from lungseg.inference.corrections import Corrections, correct, read_corrections
from lungseg.inference.postprocess import millilitres
from lungseg.inference.threshold import label_lungs
from lungseg.reporting.overlays import volume_sheet
from lungseg.system import console
from lungseg.system.files import existing_folder
from lungseg.system.outputs import staged_output

SHEET_SLICES = 24


@dataclass(frozen=True)
class LabelledCt:
    """One CT that `label` has written.

    Attributes:
        case: name of its two files, without suffix.
        source: the CT that was read.
        slices: number of slices kept.
        lung_ml: volume labelled as lung in those slices.
        remarks: what a person should know about the CT.
    """

    case: str
    source: Path
    slices: int
    lung_ml: float
    remarks: list[str]


@dataclass(frozen=True)
class LabelResult:
    """What `label` did.

    Attributes:
        output: the folder written.
        cases: the CTs that were labelled.
        failed: one error per CT that could not be labelled.
    """

    output: Path
    cases: list[LabelledCt]
    failed: list[str]


def label(
    inputs: Sequence[Path],
    output: Path,
    *,
    slices: slice = slice(None),
    corrections: Path | None = None,
    overlay: bool = False,
    overwrite: bool = False,
) -> LabelResult:
    """Label the lungs of CT volumes by a threshold, and write each CT with its mask.

    Each CT is turned so that its axes run to the patient's left, back and head. One volume is in
    memory at a time. If a CT cannot be used, the others are still labelled.

    Args:
        inputs: volume files, DICOM folders, and folders of them at any depth.
        output: folder to write; appears whole, or not at all.
        slices: slices to keep, counted from the feet.
        corrections: folder with corrections by hand, `CASE.yaml` for each CT that needs some.
        overlay: draw the labels of each CT on some of its slices.
        overwrite: replace an `output` that `label` wrote.

    Raises:
        UsageError: if an input does not exist or is an image, if two files of a folder share a
            stem, if corrections are not right or belong to no CT, or if `output` may not be
            written.
        DataError: if no input can be used.
    """
    found = collect(inputs, output)
    items = [item for item in found if item.is_volume]
    images = [item for item in found if not item.is_volume]
    for item in images:
        if item.path in inputs or not items:
            raise UsageError(f"{item.path}: label needs CT volumes in HU, and this is an image.")
    if images:
        console.warn(
            f"{len(images)} images are left out, because label needs CT volumes in HU. The first "
            f"is {images[0].path}"
        )
    for later, earlier in find_clashes(items).items():
        raise UsageError(
            f"{later}: has the same name as {earlier}, so both would be written to one file. "
            "Rename one, or write their labels to different folders."
        )
    by_case = _read_corrections(corrections, [item.name for item in items])
    cases: list[LabelledCt] = []
    problems: list[DataError] = []
    read = (*inputs, *(item.path for item in items), corrections)
    with staged_output(output, "label", read, overwrite=overwrite) as staged:
        (staged / "images").mkdir()
        (staged / "masks").mkdir()
        for item in console.track(items, len(items), "label", "CT"):
            try:
                with one_of_many(item.path):
                    cases.append(_label_one(item, slices, by_case.get(item.name), staged, overlay))
            except DataError as problem:
                problems.append(problem)
        if not cases:
            for other in problems[1:]:
                console.warn(str(other))
            raise problems[0]
    return LabelResult(output, cases, [str(problem) for problem in problems])


def _read_corrections(
    folder: Path | None, cases: Sequence[str]
) -> dict[str, tuple[Path, Corrections]]:
    """Read the files `CASE.yaml` of a folder."""
    if folder is None:
        return {}
    found = {
        path.stem: path for path in sorted(existing_folder(folder, "corrections").glob("*.yaml"))
    }
    others = [path for case, path in found.items() if case not in cases]
    if others:
        raise UsageError(
            f"{others[0]}: there is no CT of this name. The first of {len(cases)} is {cases[0]}."
        )
    return {case: (path, read_corrections(path)) for case, path in found.items()}


def _label_one(
    item: Input,
    slices: slice,
    corrections: tuple[Path, Corrections] | None,
    folder: Path,
    overlay: bool,
) -> LabelledCt:
    """Read, label, correct and write one CT."""
    ct = read_ct(item.path, name=item.name, files=item.files)
    whole = ct.canonical
    if not range(whole.GetSize()[2])[slices]:
        raise DataError(
            item.path,
            f"none of its {whole.GetSize()[2]} slices is in the range to keep (--slices).",
        )
    # Label the whole CT before cutting it: the ends of a part would be taken for the lungs' ends.
    lungs = label_lungs(whole)
    remarks = [finding.detail for finding in ct.findings]
    if corrections is not None:
        labels = sitk.GetArrayFromImage(lungs)
        path, steps = corrections
        remarks += correct(labels, sitk.GetArrayViewFromImage(whole), steps, path)
        lungs = sitk.GetImageFromArray(labels)
        lungs.CopyInformation(whole)
    scan, lungs = whole[:, :, slices], lungs[:, :, slices]
    write_volume(scan, folder / "images" / f"{item.name}.nii.gz")
    write_volume(lungs, folder / "masks" / f"{item.name}.nii.gz")
    if overlay:
        (folder / "overlays").mkdir(exist_ok=True)
        hu, labels = (sitk.GetArrayViewFromImage(image) for image in (scan, lungs))
        sheet = volume_sheet(hu, labels, DataConfig().window, count=SHEET_SLICES, columns=6)
        write_png(folder / "overlays" / f"{item.name}.png", sheet)
    voxels = int(np.count_nonzero(sitk.GetArrayViewFromImage(lungs) == 1))
    volume = millilitres(lungs, voxels)
    if not volume:
        remarks.append("no lung was detected in the slices to keep")
    return LabelledCt(item.name, item.path, scan.GetSize()[2], round(volume, 1), remarks)
