"""Masks whose structures have names: RTSTRUCT, or a folder with a file per organ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lungseg.config.pairing import class_of, structures_of
from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import stem_of, volume_suffix
from lungseg.imaging.labels import UNLABELLED
from lungseg.system.files import natural_key
from lungseg.system.wording import some_of

MOST_SHOWN = 12


def has_names(path: Path) -> bool:
    """Whether a mask is an RTSTRUCT, or a folder with a file per organ."""
    from lungseg.imaging.dicom.contours import is_rtstruct

    return path.is_dir() or is_rtstruct(path)


def read_structures(
    path: Path, scan: Any, data: DataConfig, frame: str = ""
) -> tuple[Any, list[Finding]]:
    """Read the structures that `data.structures` names as class indices.

    A voxel of several classes is of the one that comes first in `data.rgb_map`. Contours are drawn
    in the slices of the CT. Slices between the first and the last contour that have none are marked
    as not labelled.

    Args:
        path: the RTSTRUCT, or the folder.
        scan: the CT as SimpleITK image, in its own orientation.
        data: gives classes and names.
        frame: FrameOfReferenceUID of the CT; empty if it has none, as other formats than DICOM.

    Returns:
        A `LabelVolume`, on the CT's grid for an RTSTRUCT and else on that of the organs' files; and
        the findings, which say which structures were taken.

    Raises:
        DataError: if the mask cannot be read, no structure is named or drawn, or its contours lie
            in another frame of reference than the CT.
        UsageError: if pydicom is not installed.
    """
    if path.is_dir():
        return _read_organs(path, data)
    return _read_contours(path, scan, data, frame)


def choose(names: Sequence[str], data: DataConfig, path: Path) -> tuple[list[int], Finding]:
    """Return the class index of each structure, 0 for none, and a finding that says so.

    Raises:
        DataError: if no structure has a class.
    """
    classes, patterns = list(data.rgb_map), structures_of(data.structures, data.rgb_map)
    found = [class_of(name, patterns) for name in names]
    indices = [0 if name is None else classes.index(name) for name in found]
    others = [name for name, index in zip(names, indices, strict=True) if not index]
    if not any(indices):
        raise DataError(
            path,
            f"has the structures {_listed(names)}, none of which is {' or '.join(classes[1:])} by "
            f'its name. Name those that are, for example data.structures: {{{classes[1]}: "Lung '
            'left|Lung right"}.',
        )
    taken = [
        f"{name}: {_listed([n for n, index in zip(names, indices, strict=True) if index == k])}"
        for k, name in enumerate(classes)
        if k and k in indices
    ]
    left = f"; not taken: {_listed(others)}" if others else ""
    return indices, Finding("structures_taken", "repaired", "; ".join(taken) + left, path)


def _listed(names: Sequence[str]) -> str:
    return some_of(names, MOST_SHOWN) or "(none)"


def _read_contours(
    path: Path, scan: Any, data: DataConfig, frame: str
) -> tuple[Any, list[Finding]]:
    import SimpleITK as sitk  # noqa: N813 - its documented name

    from lungseg.imaging.dicom.contours import draw, read_rtstruct
    from lungseg.imaging.volumes import LabelVolume

    structures = read_rtstruct(path)
    indices, finding = choose([structure.name for structure in structures], data, path)
    findings = [finding]
    labels = np.zeros(scan.GetSize()[::-1], np.uint8)
    drawn = np.zeros(len(labels), bool)
    for index, structure in sorted(zip(indices, structures, strict=True), key=lambda each: each[0]):
        if not index:
            continue
        if frame and structure.frame and structure.frame != frame:
            raise DataError(
                path,
                f"the contours of {structure.name} lie in the frame of reference "
                f"{structure.frame}, the CT in {frame}. In this CT they would be at a wrong place. "
                "Give the RTSTRUCT that was drawn in it, or carry the contours over with the "
                "program that registered both scans.",
            )
        result = draw(structure, scan, path)
        labels[result.mask & (labels == 0)] = index
        drawn |= result.slices
        findings += result.findings
        if not result.slices.any():
            detail = f"{structure.name} has no contour in the CT"
            findings.append(Finding("no_contours", "warning", detail, path))
    if not drawn.any():
        raise DataError(path, f"no contour lies in the CT ({finding.detail}).")
    first, last = np.flatnonzero(drawn)[[0, -1]]
    without = np.flatnonzero(~drawn[first : last + 1]) + first
    labels[without] = UNLABELLED
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(scan)
    return LabelVolume(sitk.DICOMOrient(image, "LPS")), findings


def _read_organs(folder: Path, data: DataConfig) -> tuple[Any, list[Finding]]:
    from lungseg.imaging.volume_files import read_label_volume
    from lungseg.imaging.volumes import geometry_differences

    files = sorted(
        (
            path
            for path in folder.iterdir()
            if volume_suffix(path) and not path.name.startswith(".") and path.is_file()
        ),
        key=lambda path: natural_key(path.name),
    )
    indices, finding = choose([stem_of(path) for path in files], data, folder)
    labels, first = None, None
    for index, path in sorted(zip(indices, files, strict=True), key=lambda each: each[0]):
        if not index:
            continue
        organ = read_label_volume(path)
        if first is None or labels is None:
            first, labels = organ, np.zeros(organ.labels.shape, np.uint8)
        differences = "; ".join(geometry_differences(organ.image, first.image))
        if differences:
            raise DataError(path, f"is on another grid than the other organs: {differences}.")
        labels[(organ.labels > 0) & (labels == 0)] = index
    assert first is not None and labels is not None  # `choose` finds at least one
    return first.with_labels(labels), [finding]
