"""CT volumes with mask volumes, cut into axial slices for `prepare`."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import Pair
from lungseg.imaging.framing import Framing, frame_slice
from lungseg.imaging.masks import merge_labels
from lungseg.imaging.pixels import Labels, apply_window, with_channels

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
    Slices without lung are kept in the ratio `prepare.empty_slices`, evenly spaced.

    Returns:
        The slices, their number, and the findings.

    Raises:
        DataError: if a volume cannot be read, or image and mask do not overlap.
    """
    # Imported here: folders of plain images do not need it.
    import SimpleITK as sitk  # noqa: N813 - its documented name

    from lungseg.imaging.volume_files import read_ct, read_label_volume

    data = config.data
    ct = read_ct(pair.image, name=pair.case, files=pair.files)
    mask, grid_findings = onto_grid_of(ct.canonical, read_label_volume(pair.mask).image, pair.mask)
    # Copies, not views: a view is invalid once its image is freed, and slices are read later.
    hu = sitk.GetArrayFromImage(ct.canonical)
    labels, label_findings = merge_labels(
        sitk.GetArrayFromImage(mask), config.num_classes, pair.mask
    )
    findings = [*ct.findings, *grid_findings, *label_findings]
    keep = _slices_to_keep(np.asarray(labels.any(axis=(1, 2))), config.prepare.empty_slices)
    if len(keep) < len(hu):
        detail = f"{len(hu) - len(keep)} of {len(hu)} slices hold no lung and are left out"
        findings.append(Finding("empty_slices", "left_out", detail, pair.image))

    width, height, _ = ct.canonical.GetSpacing()
    framing = frame_slice((hu.shape[1], hu.shape[2]), data, (height, width), volume=True)

    def slices() -> Iterator[VolumeSlice]:
        for k in keep:
            image = with_channels(apply_window(hu[k], data.window), data.channels)
            yield VolumeSlice(f"{pair.case}_z{k + 1:04d}", image, labels[k], framing)

    return slices(), len(keep), findings


def onto_grid_of(scan: Any, mask: Any, path: Path) -> tuple[Any, list[Finding]]:
    """Resample a mask onto its scan's grid by nearest neighbour, unless the grids are equal.

    Args:
        scan: SimpleITK image.
        mask: SimpleITK image of labels.
        path: the mask's file.

    Raises:
        DataError: if no label of the mask lies within the scan.
    """
    import SimpleITK as sitk  # noqa: N813 - its documented name

    from lungseg.imaging.volumes import geometry_differences, resample_labels

    differences = "; ".join(geometry_differences(mask, scan))
    if not differences:
        return mask, []
    resampled = resample_labels(mask, scan)
    has_labels, has_some_left = (
        bool(sitk.GetArrayViewFromImage(image).any()) for image in (mask, resampled)
    )
    if has_labels and not has_some_left:
        raise DataError(path, f"the mask lies outside its image: {differences}.")
    detail = f"the mask was resampled onto the image: {differences}"
    return resampled, [Finding("mask_resampled", "repaired", detail, path)]


def _slices_to_keep(has_lung: NDArray[np.bool_], ratio: float) -> list[int]:
    """Return the slices with lung and, per slice with lung, `ratio` evenly spaced ones without."""
    full, empty = np.flatnonzero(has_lung), np.flatnonzero(~has_lung)
    wanted = min(len(empty), round(ratio * len(full)))
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
