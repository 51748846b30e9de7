"""The slices of a DICOM series as a grid: what they must have in common, and where they lie.

What all slices must share is checked in all of them. What is missing is never replaced in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungseg.errors import DataError
from lungseg.imaging.dicom.headers import Header
from lungseg.imaging.findings import Finding
from lungseg.system.wording import some_of

# How far a slice may lie from its place in the even grid. Positions that were rounded to 0.1 mm lie
# within the first. The second holds if slices are thick. The last ensures that a missing slice is
# seen if slices are thin.
GRID_TOLERANCE_MM = 0.2
GRID_TOLERANCE = 0.05  # fraction of the distance between slices
MAX_GRID_TOLERANCE = 0.25  # fraction of the distance between slices
TILT_TOLERANCE_DEGREES = 0.5
DIRECTION_TOLERANCE = 1e-3
SPACING_TOLERANCE = 1e-3  # fraction: half a pixel at the edge of 1,000 pixels
MAX_LOCALIZERS = 3
IN_ONE_PLANE = 0.9  # cosine between the normals of slices; 25 degrees
REQUIRED = {
    "PixelSpacing": "spacing",
    "ImageOrientationPatient": "orientation",
    "ImagePositionPatient": "position",
    "RescaleSlope and RescaleIntercept": "rescale",
}


def without_localizers(
    headers: Sequence[Header], origin: Path
) -> tuple[list[Header], list[Finding]]:
    """Leave out the localizers of a series: by their ImageType, or turned against all others."""
    named = [h for h in headers if "LOCALIZER" in h.image_type.upper()]
    found = named if len(named) < len(headers) else []
    if not found:
        normals = np.array([h.normal for h in headers])
        turned = np.abs(normals @ normals.T) < IN_ONE_PLANE
        few = np.flatnonzero(turned[turned.sum(axis=1).argmin()])  # as most slices see it
        if len(few) <= MAX_LOCALIZERS and 3 * len(few) < len(headers):
            found = [headers[int(index)] for index in few]
    if not found:
        return list(headers), []
    kept = [h for h in headers if h not in found]
    detail = f"left out {_names(found)}: localizers, turned against the {len(kept)} other slices"
    if named:
        detail = f"left out {_names(found)}: ImageType LOCALIZER; {len(kept)} slices are read"
    return kept, [Finding("localizer", "left_out", detail, origin)]


def check_agreement(headers: Sequence[Header], origin: Path) -> list[Finding]:
    """Check that the slices agree in what they must share, and report what none of them has.

    Raises:
        DataError: if they differ, or lack what cannot be assumed.
    """
    sizes = Counter(header.size for header in headers)
    if len(sizes) > 1:
        counts = ", ".join(f"{n} of {w} x {h}" for (w, h), n in sizes.most_common())
        raise DataError(origin, f"the slices differ in size: {counts}.")
    for element, attribute in REQUIRED.items():
        without = [h for h in headers if getattr(h, attribute) is None]
        if 0 < len(without) < len(headers):
            raise DataError(
                origin,
                f"{len(without)} of {len(headers)} slices lack {element} ({_names(without)}), so "
                "they do not form one volume with the others.",
            )
    _check_spacing(headers, origin)
    if any(h.rescale is not None and not h.rescale[0] for h in headers):
        raise DataError(origin, "RescaleSlope is 0, which would make all values equal.")
    return [*_check_orientation(headers, origin), *_check_position(headers, origin)]


def _check_spacing(headers: Sequence[Header], origin: Path) -> None:
    first = headers[0].spacing
    if first is None:
        raise DataError(
            origin,
            "the slices have no PixelSpacing, so their pixels have no size. Export the "
            "series again with it.",
        )
    spacings = np.array([h.spacing for h in headers])
    if spacings.min() <= 0:
        raise DataError(origin, f"PixelSpacing {_listed(first)} gives pixels no size.")
    usual = np.median(spacings, axis=0)
    odd = [
        h
        for h, spacing in zip(headers, spacings, strict=True)
        if not np.allclose(spacing, usual, rtol=SPACING_TOLERANCE, atol=0)
    ]
    if odd:
        values = sorted({_listed(h.spacing) for h in headers if h.spacing is not None})
        raise DataError(
            origin,
            f"the slices differ in PixelSpacing ({', '.join(values[:5])} mm; odd: "
            f"{_names(odd)}), so lengths and volumes would be wrong.",
        )


def _check_orientation(headers: Sequence[Header], origin: Path) -> list[Finding]:
    first = headers[0].orientation
    if first is None:
        steps = np.ptp([h.place for h in headers], axis=0)
        if steps[2] < max(steps[:2]):
            raise DataError(
                origin,
                "the slices have no ImageOrientationPatient, and their positions show "
                "that they are not axial, so left and right cannot be known.",
            )
        detail = "no ImageOrientationPatient; rows are assumed to run left, columns back"
        return [Finding("no_orientation", "warning", detail, origin)]
    odd = [
        h for h in headers if not np.allclose(h.rows_and_columns, first, atol=DIRECTION_TOLERANCE)
    ]
    if odd:
        few = odd if 2 * len(odd) <= len(headers) else [h for h in headers if h not in odd]
        raise DataError(
            origin,
            f"the slices differ in orientation, so they do not form one volume. Turned "
            f"against the others: {_names(few)}.",
        )
    axes = first.reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=10 * DIRECTION_TOLERANCE):
        raise DataError(
            origin,
            f"ImageOrientationPatient ({_listed(first)}) gives no two perpendicular directions.",
        )
    return []


def _check_position(headers: Sequence[Header], origin: Path) -> list[Finding]:
    if headers[0].position is None:
        if len(headers) > 1:
            raise DataError(
                origin,
                "the slices have no ImagePositionPatient, so their order and distance "
                "are not known. Export the series again with it.",
            )
        detail = "no ImagePositionPatient; the slice is assumed to begin at (0, 0, 0) mm"
        return [Finding("no_position", "warning", detail, origin)]
    return []


def check_grid(headers: Sequence[Header], origin: Path) -> None:
    """Check that sorted slices, one per position, lie on an even and straight grid.

    Raises:
        DataError: if a slice is missing or shifted, or if the gantry was tilted.
    """
    if len(headers) < 2:
        return
    positions = np.array([header.place for header in headers])
    heights = positions @ headers[0].normal
    distances = np.diff(heights)
    usual = float(np.sort(distances)[(len(distances) - 1) // 2])
    allowed = max(GRID_TOLERANCE_MM, GRID_TOLERANCE * usual)
    allowed = min(allowed, MAX_GRID_TOLERANCE * usual)
    away = np.abs(_from_line(heights[:, None])).max()
    index = int(np.abs(distances - usual).argmax())
    if max(away, abs(distances[index] - usual)) > allowed:
        missing = distances[index] / usual - 1
        what = f"{round(missing)} missing" if missing > 0.5 else "unevenly spaced"
        raise DataError(
            origin,
            f"slices are usually {usual:g} mm apart, but {distances[index]:g} mm between "
            f"{headers[index].name} and {headers[index + 1].name} ({what}), so lengths "
            "and volumes would be wrong. Complete the series.",
        )
    _check_straight(headers, positions - np.outer(heights, headers[0].normal), origin)


def _check_straight(headers: Sequence[Header], sideways: NDArray[np.float64], origin: Path) -> None:
    """Check the places of the slices `(N, 3)` within their planes: all the same, or a tilt."""
    steps = np.diff(sideways, axis=0)
    along = np.polyfit(np.arange(len(sideways)), sideways, 1)[0]
    jumps = np.linalg.norm(steps - along, axis=1)
    away = np.linalg.norm(_from_line(sideways), axis=1).max()
    if max(away, jumps.max()) > GRID_TOLERANCE_MM:
        index = int(jumps.argmax())
        raise DataError(
            origin,
            f"the slices are shifted against each other: {headers[index + 1].name} lies "
            f"{np.linalg.norm(steps[index]):.4g} mm beside {headers[index].name}. They do not "
            "form one volume.",
        )
    height = (headers[-1].height - headers[0].height) / (len(headers) - 1)
    tilt = float(np.degrees(np.arctan(np.linalg.norm(along) / height)))
    if tilt > TILT_TOLERANCE_DEGREES:
        raise DataError(
            origin,
            f"the slices are shifted against each other by a gantry tilt of {tilt:.1f} "
            "degrees. Straighten the series first, for example with dcm2niix.",
        )


def _from_line(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far values `(N, K)` lie from an even series of them, fitted by least squares."""
    number = np.arange(len(values))
    slope, start = np.polyfit(number, values, 1)
    return np.asarray(values - (np.outer(number, slope) + start))


def slice_height(headers: Sequence[Header], origin: Path) -> tuple[float, list[Finding]]:
    """Return the height of a single slice in mm, from its thickness, and say so.

    Raises:
        DataError: if it has no thickness.
    """
    thickness = headers[0].thickness
    if not thickness or thickness < 0:
        raise DataError(
            origin, "this is a single slice without SliceThickness, so its voxels have no height."
        )
    detail = f"a single slice: its SliceThickness of {thickness:g} mm is taken as its height"
    return thickness, [Finding("slice_thickness", "warning", detail, origin)]


def _names(headers: Sequence[Header]) -> str:
    return some_of([header.name for header in headers])


def _listed(numbers: NDArray[np.float64]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)
