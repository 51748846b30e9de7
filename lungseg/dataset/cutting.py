"""CT volumes with mask volumes, cut into axial slices for `prepare`."""

from __future__ import annotations

import hmac
import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import Pair
from lungseg.imaging.framing import Framing, frame_slice
from lungseg.imaging.pixels import Labels, apply_window, with_channels

if TYPE_CHECKING:
    from lungseg.imaging.volumes import LabelVolume

MOST_LOST = 0.01  # of the labelled voxels; what lies at the rim of a scan may be cut
SHORTEST_KEY = 16  # characters; 16 random hexadecimal digits take 2**64 tries


@dataclass(frozen=True)
class VolumeSlice:
    """One slice of a volume at its own size, and where it lies in a prepared slice."""

    case: str
    image: NDArray[np.uint8]
    labels: Labels
    framing: Framing


def cut_volume(pair: Pair, config: Config) -> tuple[Iterator[VolumeSlice], int, list[Finding]]:
    """Read a pair of volumes and cut it into axial slices.

    A mask on another grid is resampled onto its image by nearest neighbour, and that is reported.
    Slices without lung are kept in the ratio `prepare.empty_slices`, evenly spaced. If no slice has
    lung, the ratio is that of all slices, and at least one is kept.

    Returns:
        The slices, their number, and the findings.

    Raises:
        DataError: if a volume cannot be read, if labels are not in the image, or if it cannot be
            said which labels are lung.
    """
    # Imported here: folders of plain images do not need it.
    import SimpleITK as sitk  # noqa: N813 - its documented name

    from lungseg.imaging.dicom.contours import frame_of_reference
    from lungseg.imaging.labels import look_for_air, map_labels, merge_labels, without_unlabelled
    from lungseg.imaging.structures import has_names, read_structures
    from lungseg.imaging.volume_files import read_ct, read_label_volume
    from lungseg.imaging.volumes import resample_labels

    data = config.data
    ct = read_ct(pair.image, name=pair.case, files=pair.files)
    named = has_names(pair.mask)
    if named:
        frame = "" if pair.mask.is_dir() else frame_of_reference(pair.image, pair.files)
        given, findings = read_structures(pair.mask, ct.image, data, frame)
    else:
        given, findings = read_label_volume(pair.mask), []
    mask, unlabelled = without_unlabelled(given)
    if not named:
        # Mapped before it is resampled: only what is left of the classes matters.
        mask, findings = map_labels(mask, data, pair.mask)
    mask, moved = onto_grid_of(ct.canonical, mask, pair.mask)
    # Copies, not views: a view is invalid once its image is freed, and slices are read later.
    hu = sitk.GetArrayFromImage(ct.canonical)
    mask, merged = merge_labels(mask, data, pair.mask, hu)
    labels = mask.labels
    airless = look_for_air(labels, hu, list(data.rgb_map), pair.mask)
    findings = [*ct.findings, *findings, *moved, *merged, *airless]
    has_lung = np.asarray(labels.any(axis=(1, 2)))
    usable = np.ones(len(hu), bool)
    if unlabelled is not None:
        usable = ~sitk.GetArrayFromImage(resample_labels(unlabelled, ct.canonical)).any(axis=(1, 2))
        detail = f"{np.count_nonzero(~usable)} of {len(hu)} slices are not labelled"
        findings.append(Finding("unlabelled_slices", "left_out", detail, pair.mask))
    keep = _slices_to_keep(has_lung & usable, ~has_lung & usable, config.prepare.empty_slices)
    if not has_lung.any():
        detail = "no voxel of the mask is lung; is this a CT without lung?"
        findings.append(Finding("no_lung", "warning", detail, pair.mask))
    if len(keep) < np.count_nonzero(usable):
        empty = np.count_nonzero(usable) - len(keep)
        detail = f"{empty} of {len(hu)} slices hold no lung and are left out"
        findings.append(Finding("empty_slices", "left_out", detail, pair.image))

    width, height, _ = ct.canonical.GetSpacing()
    framing = frame_slice((hu.shape[1], hu.shape[2]), data, (height, width), volume=True)

    def slices() -> Iterator[VolumeSlice]:
        for k in keep:
            image = with_channels(apply_window(hu[k], data.window), data.channels)
            yield VolumeSlice(f"{pair.case}_z{k + 1:04d}", image, labels[k], framing)

    return slices(), len(keep), findings


def onto_grid_of(scan: Any, mask: LabelVolume, path: Path) -> tuple[LabelVolume, list[Finding]]:
    """Resample a mask onto its scan's grid by nearest neighbour, unless the grids are equal.

    Args:
        scan: SimpleITK image.
        mask: the labels.
        path: the mask's file.

    Raises:
        DataError: if more than `MOST_LOST` of the labelled voxels lie outside of the scan, if a
            label is lost, or if the mask looks as if its geometry was lost when it was saved.
    """
    from lungseg.imaging.volumes import (
        LabelVolume,
        corner_points,
        geometry_differences,
        outside_of,
        resample_labels,
    )

    def is_unset(image: Any) -> bool:
        """Whether a corner lies at the origin, or all spacings are 1, as in an empty header."""
        at_origin = np.isclose(corner_points(image), 0).all(axis=1).any()
        return bool(at_origin) or {*image.GetSpacing()} == {1.0}

    differences = "; ".join(geometry_differences(mask.image, scan))
    if not differences:
        return mask, []
    same_size = mask.image.GetSize() == scan.GetSize()
    advice = (
        " If its voxels are those of the image, give it the image's spacing, origin and direction."
        if same_size
        else ""
    )
    if same_size and is_unset(mask.image) and not is_unset(scan):
        raise DataError(
            path, f"the mask's geometry looks as if it was lost: {differences}.{advice}"
        )
    labels = mask.labels
    labelled = int(np.count_nonzero(labels))
    lost = int(np.count_nonzero(labels[outside_of(scan, mask.image)]))
    loss = f"{lost} of {labelled} labelled voxels ({lost / max(labelled, 1):.2%})"
    if lost > MOST_LOST * labelled:
        raise DataError(path, f"{loss} of the mask lie outside its image: {differences}.{advice}")
    resampled = LabelVolume(resample_labels(mask.image, scan))
    gone = np.setdiff1d(labels, resampled.labels)
    if gone.any():
        raise DataError(
            path,
            f"label {gone.max()} would be lost, because its "
            f"{np.count_nonzero(labels == gone.max())} voxels lie between those of the image: "
            f"{differences}.",
        )
    detail = f"the mask was resampled onto the image: {differences}"
    if lost:
        detail += f"; {loss} lie outside it and are lost"
    return resampled, [Finding("mask_resampled", "repaired", detail, path)]


def _slices_to_keep(
    has_lung: NDArray[np.bool_], has_none: NDArray[np.bool_], ratio: float
) -> list[int]:
    """Return the slices with lung and, per slice with lung, `ratio` evenly spaced ones without.

    A CT of the neck or the abdomen has none with lung, and teaches what is no lung: of its slices
    `ratio` are kept, at least one.
    """
    full, empty = np.flatnonzero(has_lung), np.flatnonzero(has_none)
    wanted = round(ratio * len(full)) if len(full) else math.ceil(ratio * len(empty))
    wanted = min(len(empty), wanted)
    chosen = empty[np.linspace(0, len(empty) - 1, wanted).round().astype(int)] if wanted else []
    return sorted(int(k) for k in (*full, *chosen))


def patient_key(path: Path | None) -> bytes:
    """Return the secret from which the names of DICOM patients are derived.

    Args:
        path: the file that holds it; None for a random one, which is kept nowhere.

    Raises:
        UsageError: if the file cannot be read, or is so short that it can be guessed.
    """
    if path is None:
        return secrets.token_bytes(32)
    try:
        key = path.read_bytes().strip()
    except OSError as problem:
        raise UsageError(f"{path}: prepare.patient_key cannot be read: {problem}.") from None
    if len(key) < SHORTEST_KEY:
        raise UsageError(
            f"{path}: prepare.patient_key needs {SHORTEST_KEY} random characters or more, not "
            f'{len(key)}. Make one: python -c "import secrets; print(secrets.token_hex(32))"'
        )
    return key


def patient_group(pair: Pair, key: bytes) -> str:
    """Return the name of the patient's group: a hash of the DICOM PatientID, or the file's stem.

    Args:
        pair: the volume and its mask.
        key: who does not have it cannot find the PatientID by trying.
    """
    from lungseg.imaging.dicom.series import patient_id

    identity = patient_id(pair.image, pair.files) if pair.image.is_dir() else ""
    if not identity:
        return pair.case
    return "patient_" + hmac.digest(key, identity.encode(), "sha256").hex()[:12]
