"""Write DICOM series for the tests: a phantom's slices, with the defects that a test needs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

Change = Callable[[Any, int], None]  # of a slice, by its index


def nothing(ct: FileDataset, index: int) -> None:
    """Leave a slice as it is."""


def write_series(
    folder: Path, hu: np.ndarray, change: Change = nothing, prefix: str = "", step: float = 2.5
) -> list[Path]:
    """Write HU `(D, H, W)` as a CT series whose file names are not in order."""
    folder.mkdir(parents=True, exist_ok=True)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    order = np.random.default_rng(0).permutation(len(hu))
    paths = []
    for index, pixels in enumerate(hu):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ct = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        ct.SOPClassUID, ct.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ct.StudyInstanceUID, ct.SeriesInstanceUID = study, series
        ct.FrameOfReferenceUID, ct.SeriesNumber = frame, 1
        ct.PatientBirthDate = ct.PatientSex = ct.StudyID = ct.AccessionNumber = ""
        ct.StudyDate = ct.StudyTime = ct.ReferringPhysicianName = ""
        ct.PositionReferenceIndicator = ct.Laterality = ""
        ct.Modality, ct.PatientID, ct.PatientName = "CT", "SECRET-ID", "SECRET^NAME"
        ct.InstanceNumber = index + 1
        ct.Rows, ct.Columns = pixels.shape
        ct.PixelSpacing, ct.SliceThickness = [0.9, 0.8], step
        ct.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ct.ImagePositionPatient = [-20.0, 10.0, 5.0 + step * index]
        ct.BitsAllocated, ct.BitsStored, ct.HighBit, ct.PixelRepresentation = 16, 16, 15, 1
        ct.SamplesPerPixel, ct.PhotometricInterpretation = 1, "MONOCHROME2"
        ct.RescaleSlope, ct.RescaleIntercept = 1, -1024
        ct.PixelData = (pixels.astype(np.int16) + 1024).tobytes()
        change(ct, index)
        path = folder / f"{prefix}{order[index]:04d}.dcm"
        ct.save_as(path)
        paths.append(path)
    return paths


GEOMETRY: dict[str, dict[str, Any]] = {
    "PixelMeasuresSequence": {"PixelSpacing": [0.9, 0.8], "SliceThickness": 2.5},
    "PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
    "PixelValueTransformationSequence": {"RescaleSlope": 1, "RescaleIntercept": -1024},
}


def write_enhanced(path: Path, hu: np.ndarray, change: Change = nothing, first: int = 0) -> Path:
    """Write HU `(D, H, W)` as the frames of one enhanced CT file.

    Args:
        path: the file; the files of one folder belong to one series.
        hu: the frames.
        change: changes the groups of a frame, which hold `GEOMETRY` and its position.
        first: which slice of the series the first frame is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of one slice, whose geometry is then taken from the file's top level into the frames' groups.
    (source,) = write_series(path.parent, hu[:1], prefix="source")
    ct = dcmread(source)
    source.unlink()
    ct.SOPClassUID = ct.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    ct.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.14"
    for groups in GEOMETRY.values():
        for name in groups:
            delattr(ct, name)
    del ct.ImagePositionPatient
    ct.NumberOfFrames = len(hu)
    ct.PixelData = (hu.astype(np.int16) + 1024).tobytes()
    frames = []
    for index in range(len(hu)):
        frame = Dataset()
        place: dict[str, Any] = {"ImagePositionPatient": [-20.0, 10.0, 5.0 + 2.5 * (first + index)]}
        for sequence, elements in {**GEOMETRY, "PlanePositionSequence": place}.items():
            item = Dataset()
            for name, value in elements.items():
                setattr(item, name, value)
            setattr(frame, sequence, [item])
        change(frame, index)
        frames.append(frame)
    ct.PerFrameFunctionalGroupsSequence = frames
    ct.save_as(path)
    return path
