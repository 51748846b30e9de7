"""Write DICOM series for the tests: a phantom's slices, with the defects that a test needs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

Change = Callable[[FileDataset, int], None]


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
