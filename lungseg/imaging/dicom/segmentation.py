"""DICOM-SEG: a mask as a DICOM object that refers to the series it was made from.

It is written with `highdicom` (the extra `lungseg[dicom]`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg import __version__
from lungseg.errors import DataError
from lungseg.imaging.dicom.derived import Structure, write_derived
from lungseg.imaging.volumes import Ct, LabelVolume
from lungseg.system.environment import require


def write_dicom_seg(source: Path, ct: Ct, labels: Any, path: Path, **options: Any) -> list[str]:
    """Write the labels of a DICOM series as a DICOM-SEG object.

    Arguments, remarks and errors are those of `write_derived`.

    Raises:
        UsageError: if `highdicom` is not installed.
        DataError: if the file cannot be written.
    """
    require("highdicom", extra="dicom", purpose="infer.dicom_seg")
    return write_derived("DICOM-SEG", build_object, source, ct, labels, path, **options)


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


def build_object(
    files: Sequence[Path],
    labels: NDArray[Any],
    structures: Sequence[Structure],
    made_by: Mapping[str, str],
) -> Any:
    """Build a DICOM-SEG data set in memory; the arguments are those of `derived.Build`."""
    import highdicom
    import pydicom

    return highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(file) for file in files],
        pixel_array=labels.astype(np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segment_descriptions(structures, made_by),
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
