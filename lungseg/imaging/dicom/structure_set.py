"""RTSTRUCT: a mask as contours that refer to the slices it was made from.

It is written with `pydicom`, which comes with the extra `lungseg[dicom]`. rt-utils, which can write
it as well, draws contours through the centres of the outer pixels, so a lung would shrink by half a
pixel on every side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg import __version__
from lungseg.imaging.dicom.derived import LEFT_LUNG, LUNG, RIGHT_LUNG, Structure, write_derived
from lungseg.imaging.outlines import outlines_of
from lungseg.imaging.polygons import Points
from lungseg.imaging.volumes import Ct
from lungseg.system.environment import require

# Names after AAPM's TG-263, and colours in RGB. Lung of an unknown side has no name there.
LOOKS: dict[Structure, tuple[str, tuple[int, int, int]]] = {
    LEFT_LUNG: ("Lung_L", (86, 180, 233)),
    RIGHT_LUNG: ("Lung_R", (230, 159, 0)),
    LUNG: ("Lungs", (0, 158, 115)),
}
UNKNOWN_SIDE = "Lung"

# What a structure set repeats from its series. The first must be there, as for a DICOM-SEG.
REQUIRED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID"),
)
OPTIONAL = (
    *("SpecificCharacterSet", "StudyDescription", "PositionReferenceIndicator"),
    *("IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight"),
)

DECIMALS = 4  # of coordinates in mm; a value of DICOM has 16 characters at most


def write_structure_set(source: Path, ct: Ct, labels: Any, path: Path, **options: Any) -> list[str]:
    """Write the labels of a DICOM series as an RTSTRUCT.

    Arguments, remarks and errors are those of `write_derived`.

    Raises:
        UsageError: if `pydicom` is not installed.
        DataError: if the file cannot be written.
    """
    require("pydicom", extra="dicom", purpose="infer.rtstruct")
    return write_derived("RTSTRUCT", build_structure_set, source, ct, labels, path, **options)


def build_structure_set(
    files: Sequence[Path],
    labels: NDArray[Any],
    structures: Sequence[Structure],
    made_by: Mapping[str, str],
) -> Any:
    """Build an RTSTRUCT in memory; the arguments are those of `derived.Build`."""
    import pydicom
    from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

    slices = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    # In the other common syntax a contour of more than 64 kB could not be written.
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, generate_uid()
    _describe(dataset, slices[0])
    dataset.StructureSetDescription = ", ".join(f"{k} {v}" for k, v in made_by.items())
    dataset.ReferencedFrameOfReferenceSequence = [_reference(slices)]
    dataset.StructureSetROISequence = []
    dataset.ROIContourSequence = []
    dataset.RTROIObservationsSequence = []
    for number, structure in enumerate(structures, 1):
        name, colour = LOOKS[structure]
        name = UNKNOWN_SIDE if number == 3 else name
        roi, drawn, observed = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = number, name, "AUTOMATIC"
        roi.ReferencedFrameOfReferenceUID = dataset.FrameOfReferenceUID
        drawn.ReferencedROINumber, drawn.ROIDisplayColor = number, list(colour)
        contours = [
            _contour(points, plane)
            for plane, mask in zip(slices, labels == number, strict=True)
            for points in outlines_of(mask)
        ]
        if contours:
            drawn.ContourSequence = contours
        observed.ObservationNumber = observed.ReferencedROINumber = number
        observed.RTROIInterpretedType, observed.ROIInterpreter = "ORGAN", ""
        observed.RTROIIdentificationCodeSequence = [_code(structure)]
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(drawn)
        dataset.RTROIObservationsSequence.append(observed)
    return dataset


def _describe(dataset: Any, plane: Any) -> None:
    """Write who the patient is, after a slice of the series, and what the data set is."""
    from pydicom.uid import generate_uid

    for name in REQUIRED:
        setattr(dataset, name, getattr(plane, name))
    for name in OPTIONAL:
        if name in plane:
            setattr(dataset, name, getattr(plane, name))
    dataset.setdefault("PositionReferenceIndicator", "")
    now = datetime.now()
    dataset.Modality, dataset.SeriesInstanceUID = "RTSTRUCT", generate_uid()
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.OperatorsName = 901, 1, ""
    dataset.SeriesDescription = "lungseg"
    dataset.Manufacturer = dataset.ManufacturerModelName = "lungseg"
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = __version__, "0"
    dataset.StructureSetLabel = "lungseg"
    dataset.StructureSetDate = dataset.InstanceCreationDate = now.strftime("%Y%m%d")
    dataset.StructureSetTime = dataset.InstanceCreationTime = now.strftime("%H%M%S")
    dataset.ApprovalStatus = "UNAPPROVED"


def _reference(slices: Sequence[Any]) -> Any:
    """Return the item that says in which frame, study and series the contours lie."""
    from pydicom import Dataset

    frame, study, series = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = slices[0].SeriesInstanceUID
    series.ContourImageSequence = [_image(plane) for plane in slices]
    # The standard wants this retired class here.
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study.ReferencedSOPInstanceUID = slices[0].StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = slices[0].FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _image(plane: Any) -> Any:
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = plane.SOPClassUID
    item.ReferencedSOPInstanceUID = plane.SOPInstanceUID
    return item


def _code(structure: Structure) -> Any:
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodeMeaning = structure
    item.CodingSchemeDesignator = "SCT"
    return item


def _contour(points: Points, plane: Any) -> Any:
    """Return a contour.

    Args:
        points: `(N, 2)` as (x, y) in pixels.
        plane: the slice's header.
    """
    from pydicom import DataElement, Dataset

    down, across = (float(mm) for mm in plane.PixelSpacing)
    axes = np.array(plane.ImageOrientationPatient, float).reshape(2, 3)
    place = np.array(plane.ImagePositionPatient, float)
    mm = place + points[:, :1] * across * axes[0] + points[:, 1:] * down * axes[1]
    item = Dataset()
    item.ContourImageSequence = [_image(plane)]
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(points)
    values = [str(value) for value in np.round(mm, DECIMALS).ravel().tolist()]
    # Given as it is written, because pydicom needs a minute to look at a million numbers.
    item.add(DataElement("ContourData", "DS", values, already_converted=True))
    return item
