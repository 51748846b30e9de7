"""`lungseg label`: CT volumes -> lung masks by classical means, as labels to train on.

`LABELLED` holds `images/` and `masks/`, one NIfTI per CT in each, as `prepare` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lungseg.errors import DataError, UsageError, one_of_many
from lungseg.imaging.folders import Input
from lungseg.imaging.inputs import collect, find_clashes
from lungseg.imaging.volume_files import read_ct, write_volume
from lungseg.inference.postprocess import count_voxels, millilitres
from lungseg.inference.threshold import label_lungs
from lungseg.system import console
from lungseg.system.outputs import staged_output


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
    overwrite: bool = False,
) -> LabelResult:
    """Label the lungs of CT volumes by a threshold, and write each CT with its mask.

    Each CT is turned so that its axes run to the patient's left, back and head. One volume is in
    memory at a time. If a CT cannot be used, the others are still labelled.

    Args:
        inputs: volume files, DICOM folders, and folders of them at any depth.
        output: folder to write; appears whole, or not at all.
        slices: slices to keep, counted from the feet.
        overwrite: replace an `output` that `label` wrote.

    Raises:
        UsageError: if an input does not exist or is an image, if two files of a folder share a
            stem, or if `output` may not be written.
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
    cases: list[LabelledCt] = []
    problems: list[DataError] = []
    read = (*inputs, *(item.path for item in items))
    with staged_output(output, "label", read, overwrite=overwrite) as staged:
        (staged / "images").mkdir()
        (staged / "masks").mkdir()
        for item in console.track(items, len(items), "label", "CT"):
            try:
                with one_of_many(item.path):
                    cases.append(_label_one(item, slices, staged))
            except DataError as problem:
                problems.append(problem)
        if not cases:
            for other in problems[1:]:
                console.warn(str(other))
            raise problems[0]
    return LabelResult(output, cases, [str(problem) for problem in problems])


def _label_one(item: Input, slices: slice, folder: Path) -> LabelledCt:
    """Read, label and write one CT."""
    ct = read_ct(item.path, name=item.name, files=item.files)
    whole = ct.canonical
    if not range(whole.GetSize()[2])[slices]:
        raise DataError(
            item.path,
            f"none of its {whole.GetSize()[2]} slices is in the range to keep (--slices).",
        )
    # Label the whole CT before cutting it: the ends of a part would be taken for the lungs' ends.
    scan, lungs = whole[:, :, slices], label_lungs(whole)[:, :, slices]
    write_volume(scan, folder / "images" / f"{item.name}.nii.gz")
    write_volume(lungs, folder / "masks" / f"{item.name}.nii.gz")
    remarks = [finding.detail for finding in ct.findings]
    volume = millilitres(lungs, count_voxels(lungs))
    if not volume:
        remarks.append("no lung was detected in the slices to keep")
    return LabelledCt(item.name, item.path, scan.GetSize()[2], round(volume, 1), remarks)
