"""CT volumes with mask volumes, cut into axial slices for `prepare`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.errors import DataError
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import Pair
from lungseg.imaging.pixels import Labels, apply_window, pad_to_square


@dataclass(frozen=True)
class VolumeSlice:
    """One slice of a volume, square, at the volume's own pixel size."""

    case: str
    image: NDArray[np.uint8]
    labels: Labels


def cut(pair: Pair, config: Config) -> tuple[Iterator[VolumeSlice], int, list[Finding]]:
    """Read a pair of volumes and cut it into axial slices.

    A mask on another grid is resampled onto its image by nearest neighbour, and that is reported.
    Slices without lung are kept in the ratio `prepare.empty_slices`, evenly spaced.

    Returns:
        The slices, their number, and the findings.

    Raises:
        DataError: where a volume cannot be read, or image and mask do not overlap.
    """
    # Imported here: folders of plain images have no need of it.
    import SimpleITK as sitk  # noqa: N813 - its documented name

    from lungseg.imaging.volume_files import read_ct, read_label_volume
    from lungseg.imaging.volumes import differences

    ct = read_ct(pair.image, name=pair.case)
    findings = list(ct.findings)
    scan, mask = ct.canonical(), read_label_volume(pair.mask).image
    unlike = differences(mask, scan)
    if unlike:
        labelled = bool(sitk.GetArrayViewFromImage(mask).any())
        mask = sitk.Resample(mask, scan, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        if labelled and not sitk.GetArrayViewFromImage(mask).any():
            raise DataError(pair.mask, f"the mask lies outside its image: {'; '.join(unlike)}.")
        detail = f"the mask was resampled onto the image: {'; '.join(unlike)}"
        findings.append(Finding("mask_resampled", "repaired", detail))
    # Copies, not views: a view dies with its image, and the slices are read later.
    hu, labels = sitk.GetArrayFromImage(scan), sitk.GetArrayFromImage(mask)
    if labels.max(initial=0) >= config.num_classes:
        if config.num_classes > 2:
            raise DataError(
                pair.mask,
                f"holds label {labels.max()}, but data.rgb_map has {config.num_classes} classes.",
            )
        detail = f"labels up to {labels.max()} taken together as foreground"
        findings.append(Finding("labels_merged", "repaired", detail))
        labels = (labels > 0).astype(np.uint8)
    keep = _kept(labels.any(axis=(1, 2)), config.prepare.empty_slices)
    if len(keep) < len(hu):
        detail = f"{len(hu) - len(keep)} of {len(hu)} slices hold no lung and are left out"
        findings.append(Finding("empty_slices", "left_out", detail))

    def slices() -> Iterator[VolumeSlice]:
        for k in keep:
            grey = pad_to_square(apply_window(hu[k], config.data.window))
            if config.data.channels == 3:
                grey = np.repeat(grey[..., None], 3, axis=2)
            yield VolumeSlice(f"{pair.case}_z{k + 1:04d}", grey, pad_to_square(labels[k]))

    return slices(), len(keep), findings


def _kept(has_lung: NDArray[np.bool_], ratio: float) -> list[int]:
    """Return the slices to keep: all with lung, and so many without for each of them."""
    full, empty = np.flatnonzero(has_lung), np.flatnonzero(~has_lung)
    wanted = min(len(empty), round(ratio * len(full)))
    chosen = empty[np.linspace(0, len(empty) - 1, wanted).round().astype(int)] if wanted else []
    return sorted(int(k) for k in (*full, *chosen))


def patient_group(pair: Pair, salt: str) -> str:
    """Return what stands for the patient: the hashed PatientID of a DICOM series, else the stem."""
    from lungseg.imaging.dicom.series import patient_id

    identity = patient_id(pair.image) if pair.image.is_dir() else ""
    if not identity:
        return pair.case
    return "patient_" + hashlib.sha256((salt + identity).encode()).hexdigest()[:12]
