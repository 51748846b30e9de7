"""DICOM series: listed, checked slice by slice, and read in Hounsfield units.

A series that would make a wrong volume (missing slices, mixed sizes, a tilted gantry) is an error.
What can be repaired (a slice given twice, no Modality) is a finding. Only `patient_id` reads
anything about the patient.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.errors import DataError
from lungseg.imaging.dicom.frames import frame_headers, read_frames
from lungseg.imaging.dicom.grid import (
    check_agreement,
    check_grid,
    slice_height,
    without_localizers,
)
from lungseg.imaging.dicom.headers import (
    PATIENT_ID,
    SERIES_UID,
    Header,
    check_elements,
    has_magic,
    quiet_itk,
    read_header,
    reason_of,
)
from lungseg.imaging.dicom.subfolders import where_dicom_is
from lungseg.imaging.findings import Finding
from lungseg.system.files import require_regular


@quiet_itk()
def series_in(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each image series in a folder, by series UID; empty without DICOM.

    Raises:
        DataError: if the folder cannot be read, or holds a damaged DICOM file, or a pipe or a
            device, at which the search would hang.
    """
    try:
        for entry in folder.iterdir():
            if entry.exists() and not entry.is_dir():
                require_regular(entry)
                if has_magic(entry):
                    check_elements(entry)
    except OSError as problem:
        reason = problem.strerror or problem
        raise DataError(problem.filename or folder, f"cannot be read: {reason}.") from None
    reader = sitk.ImageSeriesReader
    series = {}
    for uid in reader.GetGDCMSeriesIDs(str(folder)):
        files = [Path(name) for name in reader.GetGDCMSeriesFileNames(str(folder), uid)]
        if files:
            series[uid] = files
    return series


def read_dicom(
    folder: Path,
    series_uid: str | None = None,
    origin: Path | None = None,
    files: Sequence[Path] = (),
) -> tuple[Any, list[Finding]]:
    """Read one CT series of a folder.

    Args:
        folder: holds the files of one or more series, in any order and with any names.
        series_uid: the series wanted; None for the CT series with most slices.
        origin: the path to name in messages; None for the folder.
        files: the files of the one series to read, in any folders; empty for those in `folder`.

    Returns:
        A SimpleITK image in HU, with the series' own geometry, and the findings.

    Raises:
        DataError: if there is no such series, or it does not form a volume.
    """
    origin = origin or folder
    picked, findings = pick_series(folder, series_uid, origin, files)
    image, slice_findings = read_files(picked, origin)
    return image, findings + slice_findings


def source_files(
    path: Path, series_uid: str | None = None, files: Sequence[Path] = ()
) -> list[Path]:
    """Return the files of a DICOM folder or file that `read_dicom` reads, in the slices' order.

    Raises:
        DataError: if `read_dicom` would raise it.
    """
    picked = pick_series(path, series_uid, path, files)[0] if path.is_dir() else [path]
    return [header.path for header in _in_order(picked, path)[0]]


def pick_series(
    folder: Path, series_uid: str | None, origin: Path, given: Sequence[Path]
) -> tuple[list[Path], list[Finding]]:
    """Return the files of the series with this UID, or of the most likely CT without a UID."""
    series = {element_of(given[0], SERIES_UID): [*given]} if given else series_in(folder)
    if not series:
        raise DataError(origin, f"holds no DICOM images.{where_dicom_is(folder)}")
    if series_uid is not None:
        if series_uid not in series:
            raise DataError(
                origin, f"has no series {series_uid}; it has: {', '.join(sorted(series))}."
            )
        return series[series_uid], []
    findings = []
    folders = sorted({os.path.relpath(path.parent, folder) for path in given})
    if len(folders) > 1:
        detail = f"one series of {len(given)} files in {len(folders)} folders: {', '.join(folders)}"
        findings.append(Finding("scattered_series", "warning", detail, origin))
    uid, files = max(series.items(), key=lambda item: _rank(item[1]))
    if len(series) > 1:
        lines = ", ".join(f"{other} ({_rank(names)[2]} slices)" for other, names in series.items())
        detail = f"{len(series)} series: {lines}; took {uid} (infer.series_uid picks another)"
        findings.append(Finding("several_series", "warning", detail, origin))
    return files, findings


def _rank(files: Sequence[Path]) -> tuple[bool, bool, int]:
    """Order series by how likely they are the CT volume: CT, axial, many slices."""
    try:
        header = read_header(files[len(files) // 2])  # the first file may be a localizer
        if header.modality not in ("CT", ""):
            return (False, False, len(files))
        if header.frames is None:
            return (True, _is_axial(header), len(files))
        slices = sum(read_header(path).frames or 1 for path in files)
        return (True, _is_axial(frame_headers(header)[0]), slices)
    except DataError:
        return (False, False, len(files))


def _is_axial(header: Header) -> bool:
    return bool(abs(header.normal[2]) > 0.8)


def patient_id(folder: Path, files: Sequence[Path] = ()) -> str:
    """Return the PatientID of the first file of a folder's series. It must only be hashed.

    Args:
        folder: the folder.
        files: the files of the one series that is read; empty for those in `folder`.
    """
    for series in [files] if files else series_in(folder).values():
        if identity := element_of(series[0], PATIENT_ID):
            return identity
    return ""


def series_uid(folder: Path, files: Sequence[Path] = ()) -> str:
    """Return the SeriesInstanceUID of the first series in a folder, empty if it cannot be read.

    Args:
        folder: the folder.
        files: the files of the one series that is read; empty for those in `folder`.
    """
    try:
        for series in [files] if files else series_in(folder).values():
            return element_of(series[0], SERIES_UID)
    except (DataError, RuntimeError):  # who reads the series gets the reason
        pass
    return ""


@quiet_itk()
def element_of(path: Path, key: str) -> str:
    """Return an element of a DICOM file as text, empty if it is missing."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return str(reader.GetMetaData(key)).strip() if reader.HasMetaDataKey(key) else ""


@quiet_itk()
def read_files(files: Sequence[Path], origin: Path) -> tuple[Any, list[Finding]]:
    """Check the slices of one series and read them as a volume.

    Args:
        files: its files, in any order.
        origin: the path to name in messages.

    Raises:
        DataError: if they do not form a volume.
    """
    headers, findings = _in_order(files, origin)
    try:
        image = _read_pixels(headers)
    except RuntimeError as problem:
        raise DataError(origin, f"the DICOM series cannot be read: {reason_of(problem)}") from None
    if len(headers) == 1:
        height, said = slice_height(headers, origin)
        image.SetSpacing([*image.GetSpacing()[:2], height])
        findings += said
    return image, findings + _identical_neighbours(image, origin)


def _read_pixels(headers: Sequence[Header]) -> Any:
    """Read the slices, in this order, as a volume in HU."""
    if any(header.frame is not None for header in headers):
        return read_frames(headers)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(header.path) for header in headers])
    if len({header.pixel_type for header in headers}) > 1:
        # The type of the first file would cut off the fractions of the others.
        reader.SetOutputPixelType(sitk.sitkFloat32)
    return reader.Execute()


def _in_order(files: Sequence[Path], origin: Path) -> tuple[list[Header], list[Finding]]:
    """Check the headers of a series and sort them from feet to head, one per position."""
    headers = [header for path in files for header in headers_in(path)]
    findings = _check_modality(headers, origin)
    headers, left_out = without_localizers(headers, origin)
    _check_patient(headers, origin)
    findings += left_out + check_agreement(headers, origin)
    headers.sort(key=lambda header: header.height)
    headers, repeated = _without_repeats(headers, origin)
    check_grid(headers, origin)
    return headers, findings + repeated


def headers_in(path: Path) -> list[Header]:
    """Return the header of each slice of a file."""
    header = read_header(path)
    return frame_headers(header) if header.frames else [header]


def _identical_neighbours(image: Any, origin: Path) -> list[Finding]:
    """Report slices that equal the one before although their positions differ."""
    values = sitk.GetArrayViewFromImage(image)
    same = [k + 1 for k in range(1, len(values)) if np.array_equal(values[k], values[k - 1])]
    if not same:
        return []
    which = ", ".join(map(str, same[:5]))
    detail = f"{len(same)} slices have the same pixels as the slice before; copies? ({which})"
    return [Finding("identical_slices", "warning", detail, origin)]


def _check_modality(headers: Sequence[Header], origin: Path) -> list[Finding]:
    modalities = {header.modality for header in headers}
    if modalities - {"CT", ""}:
        raise DataError(origin, f"expected CT, found Modality {', '.join(sorted(modalities))}.")
    if "" in modalities:
        return [Finding("no_modality", "warning", "no Modality tag; taken as CT", origin)]
    return []


def _check_patient(headers: Sequence[Header], origin: Path) -> None:
    """Check that no two slices name different patients; the names stay unsaid."""
    first = {header.patient: header.name for header in headers if header.patient is not None}
    if len(first) > 1:
        raise DataError(
            origin,
            f"the slices are of {len(first)} patients: {', '.join(sorted(first.values())[:3])} "
            "differ in PatientID. Put the files of each patient into a folder of their own.",
        )


def _without_repeats(headers: list[Header], origin: Path) -> tuple[list[Header], list[Finding]]:
    """Keep one slice per position; two with different pixels at one position are an error."""
    kept = [headers[0]]
    dropped = 0
    for header in headers[1:]:
        if abs(header.height - kept[-1].height) > 1e-3:
            kept.append(header)
            continue
        first, second = (sitk.GetArrayFromImage(_read_pixels([h])) for h in (kept[-1], header))
        if not np.array_equal(first, second):
            raise DataError(origin, _at_one_position(kept[-1], header, headers))
        dropped += 1
    if not dropped:
        return kept, []
    detail = f"{dropped} slices are copies of another slice at the same position and are not used"
    return kept, [Finding("repeated_slices", "repaired", detail, origin)]


def _at_one_position(one: Header, other: Header, headers: Sequence[Header]) -> str:
    if len(headers) > 2 and not np.ptp([header.place for header in headers], axis=0).any():
        return (
            f"all {len(headers)} slices have the same ImagePositionPatient, so their order and "
            "distance are not known. Export the series again with its positions."
        )
    return (
        f"{one.name} and {other.name} are different slices at one position; are these several "
        "series (phases, reconstructions) in one?"
    )
