"""Enhanced multi-frame CT: the slices of a volume as frames of one or several files.

The geometry of each frame is in nested sequences (DICOM PS3.3, C.7.6.16), which SimpleITK does not
show. pydicom reads them, and GDCM decodes the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.errors import DataError
from lungseg.imaging.dicom.headers import Header, as_numbers
from lungseg.system.environment import require

SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"


def frame_headers(header: Header) -> list[Header]:
    """Return the header of each frame of a multi-frame file, in the file's order.

    Raises:
        UsageError: if pydicom is not installed.
        DataError: if the file does not say where its frames lie.
    """
    pydicom = require("pydicom", extra="dicom", purpose=f"{header.path}: reading multi-frame DICOM")
    try:
        dataset = pydicom.dcmread(header.path, stop_before_pixels=True)
        items = list(dataset.get(PER_FRAME, []))
        shared = next(iter(dataset.get(SHARED, [])), None)
        headers = [
            _frame_header(header, number, [item, shared, dataset])
            for number, item in enumerate(items)
        ]
    except Exception as problem:  # pydicom raises many kinds for a damaged file
        raise DataError(header.path, f"the DICOM file cannot be read: {problem}.") from None
    if len(headers) != header.frames:
        raise DataError(
            header.path,
            f"holds {header.frames} frames, but says where {len(headers)} of them lie. Convert it "
            "to one file per slice first.",
        )
    return headers


def _frame_header(header: Header, number: int, groups: Sequence[Any]) -> Header:
    """Return the header of a frame.

    Args:
        header: of its file.
        number: of the frame, from 0.
        groups: where its elements are looked up: in its own item, in the shared one, in the file.
    """

    def values(sequence: str, *names: str) -> list[Any]:
        """Return the elements of a sequence, of the first group that has all of them."""
        for group in groups:
            item = group if group is groups[-1] else _first_item(group, sequence)
            found = [] if item is None else [item.get(name) for name in names]
            if found and all(value is not None for value in found):
                return [part for value in found for part in _parts(value)]
        return []

    thickness = as_numbers(values("PixelMeasuresSequence", "SliceThickness"), 1)
    return replace(
        header,
        image_type="\\".join(values("CTImageFrameTypeSequence", "FrameType")) or header.image_type,
        position=as_numbers(values("PlanePositionSequence", "ImagePositionPatient"), 3),
        orientation=as_numbers(values("PlaneOrientationSequence", "ImageOrientationPatient"), 6),
        spacing=as_numbers(values("PixelMeasuresSequence", "PixelSpacing"), 2),
        thickness=None if thickness is None else float(thickness[0]),
        rescale=as_numbers(
            values("PixelValueTransformationSequence", "RescaleSlope", "RescaleIntercept"), 2
        ),
        frame=number,
    )


def _first_item(group: Any, sequence: str) -> Any:
    return None if group is None else next(iter(group.get(sequence) or []), None)


def _parts(value: Any) -> list[Any]:
    return [value] if isinstance(value, (str, float, int)) else list(value)


def read_frames(headers: Sequence[Header]) -> Any:
    """Read frames, in this order, as a volume in HU.

    Args:
        headers: of the frames, on an even and straight grid.

    Raises:
        RuntimeError: of SimpleITK, if a file cannot be read.
    """
    numbered = sorted(range(len(headers)), key=lambda k: str(headers[k].path))
    planes: list[Any] = [None] * len(headers)
    for path, group in groupby(numbered, key=lambda k: headers[k].path):
        # One file at a time is in memory.
        stored = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        first = frame_headers(replace(headers[0], path=path, frames=len(stored)))[0]
        for k in group:
            planes[k] = _rescaled(stored[headers[k].frame or 0], first, headers[k])
    image = sitk.GetImageFromArray(np.stack(planes))
    low = headers[0]
    if low.spacing is not None:
        rows, columns = low.spacing
        step = (headers[-1].height - low.height) / max(len(headers) - 1, 1)
        image.SetSpacing([float(columns), float(rows), step or 1.0])
    axes = np.stack([low.rows_and_columns[:3], low.rows_and_columns[3:], low.normal], axis=1)
    image.SetDirection(axes.ravel().tolist())
    image.SetOrigin(low.place.tolist())
    return image


def _rescaled(values: Any, first: Header, header: Header) -> Any:
    """Rescale a frame by its own numbers; GDCM rescales all frames of a file by the first's."""
    if first.rescale is None or header.rescale is None:
        return values
    if np.array_equal(first.rescale, header.rescale):
        return values
    (slope, intercept), (right_slope, right_intercept) = first.rescale, header.rescale
    stored = np.rint((values - intercept) / slope)
    return (stored * right_slope + right_intercept).astype(np.float32)
