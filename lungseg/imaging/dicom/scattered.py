"""DICOM series whose files are in several folders, as some exports put them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lungseg.errors import DataError
from lungseg.imaging.dicom.grid import check_agreement, check_grid, without_localizers
from lungseg.imaging.dicom.headers import Header
from lungseg.imaging.dicom.series import headers_in
from lungseg.imaging.findings import Finding


def scattered_series(
    folders: Iterable[Mapping[str, Sequence[Path]]],
) -> tuple[dict[str, list[Path]], list[Finding]]:
    """Find the series whose slices are in several folders.

    Folders with the same UID may also hold copies of one series, or series that got one UID when
    they were made anonymous. So the slices of all folders have to form one volume, without two
    slices at one position.

    Args:
        folders: the series of each folder, as `series_in` returns them.

    Returns:
        All files of each such series, by its UID; and a finding for each other UID that several
        folders have, because their parts are read one by one.
    """
    by_uid: dict[str, list[Sequence[Path]]] = defaultdict(list)
    for series in folders:
        for uid, files in series.items():
            by_uid[uid].append(files)
    scattered, findings = {}, []
    for uid, parts in by_uid.items():
        if len(parts) < 2:
            continue
        files = [path for part in parts for path in part]
        try:
            _check_one_volume(files)
        except DataError as problem:
            first, second = (part[0].parent for part in parts[:2])
            detail = (
                f"{len(parts)} folders have its series UID ({second} is another), and each is read "
                f"by itself: {problem.what}"
            )
            findings.append(Finding("several_folders", "warning", detail, first))
        else:
            scattered[uid] = files
    return scattered, findings


def _check_one_volume(files: Sequence[Path]) -> None:
    """Raise `DataError` if slices are at one position, or do not form one volume."""
    origin = files[0].parent
    headers: list[Header] = [header for path in files for header in headers_in(path)]
    headers, _ = without_localizers(headers, origin)
    check_agreement(headers, origin)
    headers.sort(key=lambda header: header.height)
    places = Counter(tuple(header.place.round(3)) for header in headers)
    if max(places.values()) > 1:
        raise DataError(origin, "they have slices at the same positions")
    check_grid(headers, origin)
