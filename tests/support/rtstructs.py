"""Write RTSTRUCT files for the tests, and contours of masks."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import contourpy
import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from lungseg.imaging.polygons import ON_OUTLINE

Points = NDArray[np.float64]
Outline = tuple[str, Points]  # its type, and its points in mm


def between_pixels(mask: NDArray[Any]) -> list[Points]:
    """Return outlines of a mask `(H, W)` half a pixel around its pixels, as (x, y) in pixels."""
    lines = contourpy.contour_generator(z=np.pad(mask.astype(float), 1)).lines(0.5)
    return [np.asarray(line, float)[:-1] - 1 for line in lines]


def through_pixels(mask: NDArray[Any]) -> list[Points]:
    """Return outlines of a mask `(H, W)` through the centres of its outer pixels, as (x, y)."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return [each[:, 0].astype(float) for each in found if len(each) > 2]


def near_outline(polygons: list[Points], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose centre is about as near to an outline as counts as on it."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    near = np.zeros(shape, bool)
    for points in polygons:
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-12)
            part = ((columns - x0) * (x1 - x0) + (rows - y0) * (y1 - y0)) / length
            part = np.clip(part, 0, 1)
            away = np.hypot(columns - x0 - part * (x1 - x0), rows - y0 - part * (y1 - y0))
            near |= away < 2 * ON_OUTLINE
    return near


def in_mm(image: Any, k: float, points: Points) -> Points:
    """Return points (x, y) of slice `k` of an image in mm, rounded as many programs do."""
    placed = [image.TransformContinuousIndexToPhysicalPoint((x, y, k)) for x, y in points.tolist()]
    return np.round(placed, 3)


def outlines(
    image: Any, mask: NDArray[Any], kind: str = "CLOSED_PLANAR", make: Any = between_pixels
) -> list[Outline]:
    """Return the outlines of a mask `(D, H, W)` on the grid of an image."""
    return [
        (kind, in_mm(image, k, points)) for k, plane in enumerate(mask) for points in make(plane)
    ]


def write_rtstruct(
    path: Path, rois: Mapping[str, Iterable[Outline]], series: Path | None = None
) -> Path:
    """Write an RTSTRUCT that refers to the series of one of its slices, if that is given."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, generate_uid()
    dataset.SeriesInstanceUID, dataset.Modality = generate_uid(), "RTSTRUCT"
    dataset.PatientID = dataset.PatientName = "SECRET"
    if series is not None:
        ct = dcmread(series, stop_before_pixels=True)
        dataset.StudyInstanceUID, dataset.PatientID = ct.StudyInstanceUID, ct.PatientID
        referenced, study, frame = Dataset(), Dataset(), Dataset()
        referenced.SeriesInstanceUID = ct.SeriesInstanceUID
        study.RTReferencedSeriesSequence = [referenced]
        frame.FrameOfReferenceUID = ct.FrameOfReferenceUID
        frame.RTReferencedStudySequence = [study]
        dataset.ReferencedFrameOfReferenceSequence = [frame]
    names, contours = [], []
    for number, (name, shapes) in enumerate(rois.items(), 1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for kind, points in shapes:
            item = Dataset()
            item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points)
            item.ContourData = [f"{value:.3f}" for value in np.ravel(points)]
            drawn.ContourSequence.append(item)
        names.append(roi)
        contours.append(drawn)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = names, contours
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return path
