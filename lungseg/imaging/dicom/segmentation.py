"""DICOM-SEG: a mask as a DICOM object that refers to the series it was made from.

Written with `highdicom` (the extra `lungseg[dicom]`). The standard has such an object repeat the
patient's name, ID and dates from its series, so it is written on request alone.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg import __version__
from lungseg.config.schema import InferConfig
from lungseg.errors import DataError, UsageError
from lungseg.imaging.dicom.series import source_files
from lungseg.imaging.folders import volume_suffix
from lungseg.imaging.volumes import Ct, LabelVolume
from lungseg.system.files import write_bytes

# SNOMED CT codes of the segmented structures.
LUNG, LEFT_LUNG, RIGHT_LUNG = (
    ("39607008", "Lung"),
    ("44029006", "Left lung"),
    ("3341006", "Right lung"),
)


def write_dicom_seg(
    source: Path, ct: Ct, labels: Any, path: Path, settings: InferConfig
) -> list[str]:
    """Write the labels of a DICOM series as a DICOM-SEG object.

    Args:
        source: what the volume was read from; only a folder or a file is left to refer to.
        ct: the volume.
        labels: SimpleITK image on the canonical grid.
        path: file to write.
        settings: whether left and right lung are labelled apart.

    Returns:
        A remark where there is no series to refer to.

    Raises:
        UsageError: where `highdicom` is not installed.
        DataError: where the series' headers lack what the standard asks for.
    """
    try:
        import highdicom
        import pydicom
    except ImportError:
        raise UsageError('infer.dicom_seg needs highdicom: pip install "lungseg[dicom]".') from None
    if not source.is_dir() and volume_suffix(source) != ".dcm":
        return [f"no DICOM-SEG: {source.name} is no folder or file of DICOM"]
    restored = sitk.GetArrayFromImage(ct.restore(sitk.GetArrayFromImage(labels)))
    if not restored.any():
        return ["no DICOM-SEG: no lung was found"]
    names = (LEFT_LUNG, RIGHT_LUNG) if settings.sides else (LUNG,)
    anatomy = highdicom.sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=meaning,
            segmented_property_category=anatomy,
            segmented_property_type=highdicom.sr.CodedConcept(code, "SCT", meaning),
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=highdicom.AlgorithmIdentificationSequence(
                name="lungseg",
                family=highdicom.sr.CodedConcept("123109", "DCM", "Neural Network"),
                version=__version__,
            ),
        )
        for number, (code, meaning) in enumerate(names, 1)
    ]
    files = source_files(source, settings.series_uid)
    try:
        dataset = highdicom.seg.Segmentation(
            source_images=[pydicom.dcmread(file) for file in files],
            pixel_array=restored.astype(np.uint8),
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
    except (AttributeError, ValueError, TypeError, KeyError) as problem:
        raise DataError(source, f"its headers do not suffice for a DICOM-SEG: {problem}") from None
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    write_bytes(path, buffer.getvalue())
    return []


def read_dicom_seg(path: Path) -> LabelVolume:
    """Read a DICOM-SEG file as a label volume.

    Raises:
        UsageError: if highdicom is not installed.
        DataError: if the file is no usable segmentation.
    """
    try:
        import highdicom
    except ImportError:
        raise UsageError(
            f'{path}: reading DICOM-SEG needs highdicom: pip install "lungseg[dicom]".'
        ) from None
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
