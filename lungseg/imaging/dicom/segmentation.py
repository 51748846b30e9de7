"""DICOM-SEG: a mask as a DICOM object that refers to the series it was made from.

It is written with `highdicom` (the extra `lungseg[dicom]`), and only on request: the standard makes
such an object repeat the patient's name, ID and dates from its series.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg import __version__
from lungseg.errors import DataError
from lungseg.imaging.dicom.series import source_files
from lungseg.imaging.folders import volume_suffix
from lungseg.imaging.volumes import Ct, LabelVolume
from lungseg.system.environment import require
from lungseg.system.files import write_bytes

# SNOMED CT codes of the segmented structures, and their names.
Structure = tuple[str, str]
LUNG: Structure = ("39607008", "Lung")
LEFT_LUNG: Structure = ("44029006", "Left lung")
RIGHT_LUNG: Structure = ("3341006", "Right lung")


def write_dicom_seg(
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
    """Write the labels of a DICOM series as a DICOM-SEG object.

    Args:
        source: the folder or file of DICOM that the volume was read from.
        ct: the volume.
        labels: SimpleITK image on the canonical grid; 1 is lung, or with `sides` 1 is the left
            lung, 2 the right lung and 3 lung of unknown side.
        path: file to write.
        sides: whether left and right lung are labelled apart.
        series_uid: the series that was read; None for the series that `read_dicom` chooses.
        files: the files that were read, if they are not those in `source`.
        made_by: names and values that say which network made the labels.

    Returns:
        Remarks. If there is no series to refer to, no lung, or a header lacks what the standard
        asks for, they say why nothing was written.

    Raises:
        UsageError: if `highdicom` is not installed.
        DataError: if the file cannot be written.
    """
    require("highdicom", extra="dicom", purpose="infer.dicom_seg")
    if not source.is_dir() and volume_suffix(source) != ".dcm":
        return [f"no DICOM-SEG: {source.name} is no folder or file of DICOM"]
    restored = sitk.GetArrayFromImage(ct.restore(sitk.GetArrayFromImage(labels)))
    if not restored.any():
        return ["no DICOM-SEG: no lung was found"]
    structures = (LEFT_LUNG, RIGHT_LUNG, LUNG)[: max(2, restored.max())] if sides else (LUNG,)
    segments = segment_descriptions(structures, made_by or {})
    slices = source_files(source, series_uid, files)
    if len(set(slices)) < len(slices):
        return ["no DICOM-SEG: it can refer to a series of one slice per file only"]
    try:
        dataset = build_object(slices, restored, segments)
    except Exception as problem:  # pydicom and highdicom raise many kinds for odd headers
        return [f"no DICOM-SEG: {_lack(problem)}"]
    _write(dataset, path)
    return []


def _lack(problem: Exception) -> str:
    """Say what the headers of a series lack."""
    from pydicom.datadict import tag_for_keyword

    element = getattr(problem, "name", None)
    if isinstance(element, str) and tag_for_keyword(element) is not None:
        return f"the series has no {element}"
    return f"the headers of the series do not suffice: {problem}"


def segment_descriptions(structures: Sequence[Structure], made_by: Mapping[str, str]) -> list[Any]:
    """Return highdicom's description of each segment; the first describes label 1."""
    import highdicom

    anatomy = highdicom.sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="lungseg",
        family=highdicom.sr.CodedConcept("123109", "DCM", "Neural Network"),
        version=__version__,
        parameters=dict(made_by) or None,
    )
    return [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=anatomy,
            segmented_property_type=highdicom.sr.CodedConcept(code, "SCT", name),
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for number, (code, name) in enumerate(structures, 1)
    ]


def build_object(files: Sequence[Path], labels: NDArray[Any], segments: Sequence[Any]) -> Any:
    """Build a DICOM-SEG data set in memory.

    Args:
        files: the series it refers to, one file per slice.
        labels: segment numbers `(D, H, W)` on the series' own grid, slices in the files' order.
        segments: as `segment_descriptions` returns them.
    """
    import highdicom
    import pydicom

    return highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(file) for file in files],
        pixel_array=labels.astype(np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(),
        series_number=900,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="lungseg",
        manufacturer_model_name="lungseg",
        software_versions=__version__,
        device_serial_number="0",
        omit_empty_frames=True,
    )


def _write(dataset: Any, path: Path) -> None:
    """Write a DICOM data set, whole or not at all."""
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    write_bytes(path, buffer.getvalue())


def read_dicom_seg(path: Path) -> LabelVolume:
    """Read a DICOM-SEG file as a label volume.

    Raises:
        UsageError: if highdicom is not installed.
        DataError: if the file is not a usable segmentation.
    """
    highdicom = require("highdicom", extra="dicom", purpose=f"{path}: reading DICOM-SEG")
    try:
        segmentation = highdicom.seg.segread(str(path))
        volume = segmentation.get_volume(
            combine_segments=True, skip_overlap_checks=True, allow_missing_positions=True
        )
    except Exception as problem:  # highdicom and pydicom raise many kinds for a damaged file
        raise DataError(path, f"this is not a usable DICOM-SEG: {problem}") from None
    if volume is None:
        raise DataError(path, "its frames do not form a volume of evenly spaced slices.")
    # highdicom orders axes (slice, row, column); SimpleITK names them (column, row, slice).
    image = sitk.GetImageFromArray(np.asarray(volume.array, dtype=np.uint8))
    affine = np.asarray(volume.affine)[:, [2, 1, 0, 3]]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return LabelVolume(sitk.DICOMOrient(image, "LPS"), sparse=True)
