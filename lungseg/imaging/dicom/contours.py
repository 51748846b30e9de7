"""RTSTRUCT: contours of structures, drawn in a CT's slices as masks.

pydicom reads the file, and `imaging.polygons` draws the contours. In the sources of rt-utils and
platipy, corners are rounded to whole millimetres or pixels before they are drawn. dcmrtstruct2nii
does not know the type CLOSEDPLANAR_XOR. Their last releases are of 2023 and 2024.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.errors import DataError
from lungseg.imaging.dicom.headers import FRAME_UID, has_magic
from lungseg.imaging.dicom.series import element_of, pick_series
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import volume_suffix
from lungseg.imaging.polygons import Points, Polygon, fill
from lungseg.system.environment import require

RTSTRUCT = b"1.2.840.10008.5.1.4.1.1.481.3\0"  # the class of the file, as its header has it
CLOSED, CLOSED_XOR = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
POLYGONS = (CLOSED, CLOSED_XOR, "INTERPOLATED_PLANAR")

# The points of a contour lie in one slice if they differ by less than this fraction of the distance
# between slices.
ONE_PLANE = 0.1
# Contours this close, as a fraction of that distance, are in one plane.
SAME_PLANE = 0.02
# A contour that is nearer to its slice than this is not reported.
IN_SLICE = 0.05


@dataclass(frozen=True, eq=False)
class Contour:
    """A contour of a structure.

    Attributes:
        kind: DICOM's Contour Geometric Type.
        points: `(N, 3)` as (x, y, z) in mm, as in the patient's coordinates of DICOM.
    """

    kind: str
    points: Points


@dataclass(frozen=True, eq=False)
class Structure:
    """A structure (ROI) of an RTSTRUCT.

    Attributes:
        name: its name.
        contours: its contours.
        frame: UID of the frame of reference in which they lie; empty if the file does not say.
    """

    name: str
    contours: list[Contour]
    frame: str = ""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A structure as a mask.

    Attributes:
        mask: `(D, H, W)` in the CT's own order.
        slices: in which slices contours were drawn, `(D,)`.
        findings: what was left out or moved.
    """

    mask: NDArray[np.bool_]
    slices: NDArray[np.bool_]
    findings: list[Finding]


def is_rtstruct(path: Path) -> bool:
    """Whether a file is an RTSTRUCT, by the class in its header."""
    try:
        if not path.is_file() or not has_magic(path):
            return False
        with path.open("rb") as stream:
            return RTSTRUCT in stream.read(1024)
    except OSError:
        return False


def _read(path: Path) -> Any:
    pydicom = require("pydicom", extra="dicom", purpose=f"{path}: reading RTSTRUCT")
    return pydicom.dcmread(path)


def referenced_series(path: Path) -> str:
    """Return the SeriesInstanceUID of the images of an RTSTRUCT, empty if it names none.

    Raises:
        UsageError: if pydicom is not installed.
    """
    try:
        for frame in _read(path).get("ReferencedFrameOfReferenceSequence") or []:
            for study in frame.get("RTReferencedStudySequence") or []:
                for series in study.get("RTReferencedSeriesSequence") or []:
                    return str(series.get("SeriesInstanceUID") or "")
    except (OSError, ValueError, AttributeError, TypeError, KeyError, EOFError):
        pass  # who reads its contours learns the reason
    return ""


def frame_of_reference(path: Path, files: Sequence[Path] = ()) -> str:
    """Return the FrameOfReferenceUID of the CT series that `read_dicom` reads.

    Args:
        path: a folder or file. What is no DICOM, or cannot be read, has an empty one.
        files: the files of the one series to read; empty for those in `path`.
    """
    if not path.is_dir() and volume_suffix(path) != ".dcm":
        return ""
    try:
        picked = pick_series(path, None, path, files)[0] if path.is_dir() else [path]
        return element_of(picked[0], FRAME_UID)
    except (DataError, RuntimeError):  # who reads the series gets the reason
        return ""


def read_rtstruct(path: Path) -> list[Structure]:
    """Read the structures of an RTSTRUCT.

    Raises:
        UsageError: if pydicom is not installed.
        DataError: if the file is damaged.
    """
    require("pydicom", extra="dicom", purpose=f"{path}: reading RTSTRUCT")
    try:
        dataset = _read(path)
        contours = {
            int(item.ReferencedROINumber): [
                _contour(each) for each in item.get("ContourSequence") or []
            ]
            for item in dataset.get("ROIContourSequence") or []
        }
        frames = dataset.get("ReferencedFrameOfReferenceSequence") or []
        usual = str(frames[0].get("FrameOfReferenceUID") or "") if len(frames) == 1 else ""
        return [
            Structure(
                str(item.get("ROIName") or ""),
                contours.get(int(item.ROINumber), []),
                str(item.get("ReferencedFrameOfReferenceUID") or usual),
            )
            for item in dataset.get("StructureSetROISequence") or []
        ]
    except Exception as problem:  # pydicom raises many kinds for a damaged file
        raise DataError(path, f"this is not a usable RTSTRUCT: {problem}") from None


def _contour(item: Any) -> Contour:
    points = _numbers(item)
    if len(points) % 3 or not np.isfinite(points).all():
        raise ValueError("a contour's coordinates are not groups of three finite numbers")
    return Contour(str(item.get("ContourGeometricType") or CLOSED), points.reshape(-1, 3))


def _numbers(item: Any) -> NDArray[np.float64]:
    """Return the coordinates of a contour, from the text in the file if pydicom still has that.

    pydicom needs a minute to turn a million coordinates into numbers.
    """
    if "ContourData" not in item:
        return np.zeros(0)
    value = item.get_item("ContourData").value
    if isinstance(value, bytes):
        value = value.decode("ascii").rstrip(" \0").split("\\") if value.strip(b" \0") else []
    return np.array([float(each) for each in value or []])


def draw(structure: Structure, image: Any, path: Path) -> Drawn:
    """Draw a structure in the slices of a CT.

    Each contour is drawn in the slice that is nearest to it. If the contours of several planes are
    nearest to one slice, the nearest plane is drawn.

    Args:
        structure: its contours.
        image: the CT as SimpleITK image, in its own orientation.
        path: the RTSTRUCT, for the findings.
    """
    width, height, depth = image.GetSize()
    mask, used = np.zeros((depth, height, width), bool), np.zeros(depth, bool)
    lost: Counter[str] = Counter()
    planes = _planes(structure.contours, image, lost)
    nearest: dict[int, tuple[float, list[Polygon]]] = {}
    for at, polygons in planes:
        if not -0.5 <= at <= depth - 0.5:
            lost["beyond the first or last slice of the CT"] += len(polygons)
            continue
        # Not `round`, which takes both 1.5 and 2.5 to 2.
        k = min(int(np.floor(at + 0.5)), depth - 1)
        away, others = nearest.get(k, (np.inf, []))
        if abs(at - k) < away:
            nearest[k] = (abs(at - k), polygons)
            lost["in a slice that has nearer ones"] += len(others)
        else:
            lost["in a slice that has nearer ones"] += len(polygons)
    for k, (_, polygons) in nearest.items():
        mask[k], used[k] = fill(polygons, (height, width)), True
    findings = [_lost(structure, lost, path)] if lost.total() else []
    moved = [away for away, _ in nearest.values() if away > IN_SLICE]
    if moved:
        detail = (
            f"{structure.name}: the contours of {len(moved)} slices lie up to "
            f"{max(moved) * image.GetSpacing()[2]:.2g} mm beside them and were drawn in them"
        )
        findings.append(Finding("contours_moved", "warning", detail, path))
    return Drawn(mask, used, findings)


def _lost(structure: Structure, lost: Counter[str], path: Path) -> Finding:
    reasons = ", ".join(f"{count} {reason}" for reason, count in lost.items() if count)
    detail = f"{structure.name}: {lost.total()} of {len(structure.contours)} contours: {reasons}"
    return Finding("contours_left_out", "warning", detail, path)


def _planes(
    contours: Sequence[Contour], image: Any, lost: Counter[str]
) -> list[tuple[float, list[Polygon]]]:
    """Return the polygons of each plane with its place among the slices, from the first.

    Args:
        contours: those that are not closed in one plane are counted in `lost`.
        image: the CT.
        lost: how many contours are not drawn, by the reason.
    """
    placed: list[tuple[float, Polygon]] = []
    for contour in contours:
        if contour.kind not in POLYGONS:
            lost[f"of the type {contour.kind}"] += 1
        elif len(contour.points) < 3:
            lost["with fewer than three points"] += 1
        else:
            points = _in_voxels(contour.points, image)
            if np.ptp(points[:, 2]) > ONE_PLANE:
                lost["not parallel to the slices"] += 1
            else:
                at = float(points[:, 2].mean())
                placed.append((at, Polygon(points[:, :2], contour.kind == CLOSED_XOR)))
    placed.sort(key=lambda each: each[0])
    planes: list[tuple[float, list[Polygon]]] = []
    for at, polygon in placed:
        if planes and at - planes[-1][0] <= SAME_PLANE:
            planes[-1][1].append(polygon)
        else:
            planes.append((at, [polygon]))
    return planes


def _in_voxels(points: Points, image: Any) -> Points:
    """Return points in mm `(N, 3)` as columns, rows and slices of an image, in fractions."""
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return np.asarray(np.linalg.solve(axes, (points - image.GetOrigin()).T).T)
