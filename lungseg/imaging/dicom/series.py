"""DICOM series: found, checked slice by slice, and read in Hounsfield units.

What makes a volume wrong (missing slices, mixed sizes, a tilted gantry) is an error; what can be
put right (a slice given twice, no Modality) is a finding. Nothing about the patient is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.errors import DataError
from lungseg.imaging.dicom.headers import (
    PATIENT_ID,
    Header,
    check_elements,
    has_magic,
    read_header,
    reason_of,
)
from lungseg.imaging.findings import Finding
from lungseg.system.files import require_regular

# GDCM prints warnings about folders without DICOM; what matters is said in messages of our own.
sitk.ProcessObject.SetGlobalWarningDisplay(False)


SPACING_TOLERANCE = 0.05  # of a slice's distance


TILT_TOLERANCE_DEGREES = 0.5


def series_in(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each image series in a folder, by series UID; empty without DICOM.

    Raises:
        DataError: for a pipe or a device in the folder, at which the search would hang, or a
            DICOM file that is damaged.
    """
    for entry in folder.iterdir():
        if entry.exists() and not entry.is_dir():
            require_regular(entry)
            if has_magic(entry):
                check_elements(entry)
    reader = sitk.ImageSeriesReader
    found = {}
    for uid in reader.GetGDCMSeriesIDs(str(folder)):
        files = [Path(name) for name in reader.GetGDCMSeriesFileNames(str(folder), uid)]
        if files:
            found[uid] = files
    return found


def holds_dicom(folder: Path) -> bool:
    """Whether a folder holds DICOM, be it damaged: then reading it says what is wrong."""
    try:
        return bool(series_in(folder))
    except DataError:
        return True


def read_dicom(
    folder: Path, series_uid: str | None = None, origin: Path | None = None
) -> tuple[Any, list[Finding]]:
    """Read one CT series of a folder.

    Args:
        folder: holds the files of one or more series, in whatever order and with whatever names.
        series_uid: the series wanted; without it, the CT series with most slices.
        origin: what to name in messages; the folder where absent.

    Returns:
        A SimpleITK image in HU, with the series' own geometry, and the findings.

    Raises:
        DataError: where there is no such series, or it does not form a volume.
    """
    origin = origin or folder
    files, findings = _pick(folder, series_uid, origin)
    image, more = read_files(files, origin)
    return image, findings + more


def source_files(path: Path, series_uid: str | None = None) -> list[Path]:
    """Return the files of a DICOM folder or file that `read_dicom` makes its slices of, in order.

    Raises:
        DataError: as `read_dicom` does.
    """
    files = _pick(path, series_uid, path)[0] if path.is_dir() else [path]
    return [header.path for header in _in_order(files, path)[0]]


def _pick(folder: Path, series_uid: str | None, origin: Path) -> tuple[list[Path], list[Finding]]:
    """Return the files of the series wanted, or of the likeliest one."""
    found = series_in(folder)
    if not found:
        raise DataError(origin, "holds no DICOM images.")
    if series_uid is not None:
        if series_uid not in found:
            raise DataError(
                origin, f"has no series {series_uid}; it has: {', '.join(sorted(found))}."
            )
        return found[series_uid], []
    findings = []
    uid, files = max(found.items(), key=lambda item: _rank(item[1]))
    if len(found) > 1:
        lines = ", ".join(f"{other} ({len(names)} files)" for other, names in found.items())
        detail = f"{len(found)} series: {lines}; took {uid} (infer.series_uid picks another)"
        findings.append(Finding("several_series", "warning", detail))
    return files, findings


def _rank(files: Sequence[Path]) -> tuple[bool, bool, int]:
    """Order series by how likely they are the CT volume: CT, axial, many slices."""
    try:
        first = read_header(files[0])
    except DataError:
        return (False, False, 0)
    axial = bool(abs(first.normal[2]) > 0.8)
    return (first.modality in ("CT", ""), axial, len(files))


def patient_id(folder: Path) -> str:
    """Return the PatientID of the first file of a folder's series; only ever to be hashed."""
    for files in series_in(folder).values():
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(files[0]))
        reader.ReadImageInformation()
        if reader.HasMetaDataKey(PATIENT_ID):
            return str(reader.GetMetaData(PATIENT_ID)).strip()
    return ""


def read_files(files: Sequence[Path], origin: Path) -> tuple[Any, list[Finding]]:
    """Check the slices of one series and read them as a volume.

    Args:
        files: its files, in any order.
        origin: what to name in messages.

    Raises:
        DataError: where they do not form a volume.
    """
    headers, findings = _in_order(files, origin)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(header.path) for header in headers])
    try:
        image = reader.Execute()
    except RuntimeError as problem:
        raise DataError(origin, f"the DICOM series cannot be read: {reason_of(problem)}") from None
    return image, findings + _identical_neighbours(image)


def _in_order(files: Sequence[Path], origin: Path) -> tuple[list[Header], list[Finding]]:
    """Check the headers of a series and sort them from feet to head, each place once."""
    headers = [read_header(path) for path in files]
    findings = _check_modality(headers, origin)
    sizes = Counter(header.size for header in headers)
    if len(sizes) > 1:
        said = ", ".join(f"{n} of {w} x {h}" for (w, h), n in sizes.most_common())
        raise DataError(origin, f"the slices differ in size: {said}.")
    if any(not np.allclose(h.orientation, headers[0].orientation, atol=1e-3) for h in headers):
        raise DataError(origin, "the slices differ in orientation; they are no one volume.")
    headers.sort(key=lambda header: header.height)
    headers, repeated = _without_repeats(headers, origin)
    findings += repeated
    _check_spacing(headers, origin)
    return headers, findings


def _identical_neighbours(image: Any) -> list[Finding]:
    """Report slices that equal the one before though they lie elsewhere."""
    values = sitk.GetArrayViewFromImage(image)
    same = [k + 1 for k in range(1, len(values)) if np.array_equal(values[k], values[k - 1])]
    if not same:
        return []
    which = ", ".join(map(str, same[:5]))
    detail = f"{len(same)} slices hold the same pixels as the one before ({which}): a copy?"
    return [Finding("identical_slices", "warning", detail)]


def _check_modality(headers: Sequence[Header], origin: Path) -> list[Finding]:
    found = {header.modality for header in headers}
    if found - {"CT", ""}:
        raise DataError(origin, f"expected CT, found Modality {', '.join(sorted(found))}.")
    if "" in found:
        return [Finding("no_modality", "warning", "no Modality tag; taken as CT")]
    return []


def _without_repeats(headers: list[Header], origin: Path) -> tuple[list[Header], list[Finding]]:
    """Keep one slice a position; two with different pixels at one position are an error."""
    kept = [headers[0]]
    dropped = 0
    for header in headers[1:]:
        if abs(header.height - kept[-1].height) > 1e-3:
            kept.append(header)
            continue
        one, other = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(h.path))) for h in (kept[-1], header)
        )
        if not np.array_equal(one, other):
            raise DataError(
                origin,
                f"{kept[-1].path.name} and {header.path.name} are different slices at "
                "one position; are these several series (phases, reconstructions) in one?",
            )
        dropped += 1
    if not dropped:
        return kept, []
    detail = f"{dropped} slices are given twice, the same pixels at one position; used once"
    return kept, [Finding("repeated_slices", "repaired", detail)]


def _check_spacing(headers: Sequence[Header], origin: Path) -> None:
    if len(headers) < 2:
        return
    positions = np.array([header.position for header in headers])
    steps = np.diff(positions, axis=0)
    distances = steps @ headers[0].normal
    usual = float(np.median(distances))
    odd = np.flatnonzero(np.abs(distances - usual) > SPACING_TOLERANCE * usual)
    if len(odd):
        index = int(odd[np.abs(distances[odd] - usual).argmax()])
        missing = distances[index] / usual - 1
        what = f"{round(missing)} missing" if missing > 0.5 else "unevenly spaced"
        raise DataError(
            origin,
            f"slices are usually {usual:g} mm apart, but {distances[index]:g} mm between "
            f"{headers[index].path.name} and {headers[index + 1].path.name} ({what}), so lengths "
            "and volumes would be wrong. Complete the series.",
        )
    along = np.mean(steps, axis=0)
    cosine = float(along @ headers[0].normal / np.linalg.norm(along))
    tilt = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    if tilt > TILT_TOLERANCE_DEGREES:
        raise DataError(
            origin,
            f"the slices are shifted against each other by a gantry tilt of {tilt:.1f} "
            "degrees. Straighten the series first, for example with dcm2niix.",
        )
