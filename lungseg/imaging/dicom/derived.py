"""DICOM objects made of a mask, which refer to the series that the mask was made from.

They are written only on request: the standard makes such an object repeat the patient's name, ID
and dates from its series.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.imaging.dicom.series import source_files
from lungseg.imaging.folders import volume_suffix
from lungseg.imaging.volumes import Ct
from lungseg.system.files import write_bytes

# SNOMED CT codes of the segmented structures, and their names.
Structure = tuple[str, str]
LUNG: Structure = ("39607008", "Lung")
LEFT_LUNG: Structure = ("44029006", "Left lung")
RIGHT_LUNG: Structure = ("3341006", "Right lung")

# Makes the object from the files of the series, one per slice, labels `(D, H, W)` on its own grid,
# the structures, of which the first has label 1, and what they were made by.
Build = Callable[[Sequence[Path], NDArray[Any], Sequence[Structure], Mapping[str, str]], Any]


def write_derived(
    what: str,
    build: Build,
    source: Path,
    ct: Ct,
    labels: Any,
    path: Path,
    *,
    sides: bool = False,
    series_uid: str | None = None,
    files: Sequence[Path] = (),
    made_by: Mapping[str, str] | None = None,
) -> list[str]:
    """Write an object made of the labels of a DICOM series.

    Args:
        what: what kind of object it is, for the remarks.
        build: makes it, in memory.
        source: the folder or file of DICOM that the volume was read from.
        ct: the volume.
        labels: SimpleITK image on the canonical grid; 1 is lung, or with `sides` 1 is the left
            lung, 2 the right lung and 3 lung of unknown side.
        path: file to write; its folder is made if needed.
        sides: whether left and right lung are labelled apart.
        series_uid: the series that was read; None for the series that `read_dicom` chooses.
        files: the files that were read, if they are not those in `source`.
        made_by: names and values that say which network made the labels.

    Returns:
        Remarks. If there is no series to refer to, no lung, or a header lacks what the standard
        asks for, they say why nothing was written.

    Raises:
        DataError: if the file cannot be written.
    """
    if not source.is_dir() and volume_suffix(source) != ".dcm":
        return [f"no {what}: {source.name} is no folder or file of DICOM"]
    restored = sitk.GetArrayFromImage(ct.restore(sitk.GetArrayFromImage(labels)))
    if not restored.any():
        return [f"no {what}: no lung was found"]
    structures = (LEFT_LUNG, RIGHT_LUNG, LUNG)[: max(2, restored.max())] if sides else (LUNG,)
    slices = source_files(source, series_uid, files)
    if len(set(slices)) < len(slices):
        return [f"no {what}: it can refer to a series of one slice per file only"]
    try:
        dataset = build(slices, restored, structures, made_by or {})
    except Exception as problem:  # pydicom and highdicom raise many kinds for odd headers
        return [f"no {what}: {_lack(problem)}"]
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    path.parent.mkdir(exist_ok=True)
    write_bytes(path, content.getvalue())
    return []


def _lack(problem: Exception) -> str:
    """Say what the headers of a series lack."""
    from pydicom.datadict import tag_for_keyword

    element = getattr(problem, "name", None)
    if isinstance(element, str) and tag_for_keyword(element) is not None:
        return f"the series has no {element}"
    return f"the headers of the series do not suffice: {problem}"
