"""CT volumes with mask volumes, cut into axial slices for `prepare`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungseg.config import Config
from lungseg.errors import DataError
from lungseg.files import natural_key
from lungseg.images import Finding, Labels, Pair, apply_window, pad_to_square, volume_suffix


@dataclass(frozen=True)
class VolumeSlice:
    """One slice of a volume, square, at the volume's own pixel size."""

    case: str
    image: NDArray[np.uint8]
    labels: Labels


def pair_volumes(
    images: Path, masks: Path
) -> tuple[list[Pair], list[tuple[Path, Finding]], set[str]]:
    """Pair CT volumes (files, or folders of DICOM) with label volumes by stem.

    Returns:
        The pairs; a finding for each volume without a partner; the names of all volumes seen.
    """
    found: list[tuple[Path, Finding]] = []
    seen: set[str] = set()

    def by_stem(paths: Iterable[Path]) -> dict[str, Path]:
        """Return volumes by stem, and note those that share one; none of them is used then."""
        groups: dict[str, list[Path]] = {}
        for path in paths:
            seen.add(path.name)
            groups.setdefault(_stem(path), []).append(path)
        for group in groups.values():
            if len(group) > 1:
                detail = f"these share one stem: {', '.join(path.name for path in group)}"
                finding = Finding("duplicate_stem", "failed", detail)
                found.extend((path, finding) for path in group)
        return {stem: group[0] for stem, group in groups.items()}

    scans = by_stem(p for p in sorted(images.iterdir()) if _is_volume(p, folders=True))
    labels = by_stem(p for p in sorted(masks.iterdir()) if _is_volume(p, folders=False))
    clashing = {_stem(path) for path, _ in found}
    for one, other, code, where in (
        (scans, labels, "orphan_image", masks),
        (labels, scans, "orphan_mask", images),
    ):
        for stem in one.keys() - other.keys():
            detail = f"no volume with this stem in {where}"
            found.append((one[stem], Finding(code, "left_out", detail)))
    pairs = [
        Pair(stem, scans[stem], labels[stem])
        for stem in sorted((scans.keys() & labels.keys()) - clashing, key=natural_key)
    ]
    return pairs, found, seen


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else path.name[: -len(volume_suffix(path) or "")]


def _is_volume(path: Path, folders: bool) -> bool:
    if path.name.startswith("."):
        return False
    if path.is_dir():
        from lungseg.dicom import holds_dicom

        return folders and holds_dicom(path)
    return volume_suffix(path) is not None


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

    from lungseg.volumes import differences, read_ct, read_label_volume

    ct = read_ct(pair.image, pair.case)
    findings = list(ct.findings)
    scan, mask = ct.canonical(), read_label_volume(pair.mask).image
    unlike = differences(mask, scan)
    if unlike:
        labelled = bool(sitk.GetArrayViewFromImage(mask).any())
        mask = sitk.Resample(mask, scan, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        if labelled and not sitk.GetArrayViewFromImage(mask).any():
            raise DataError(f"{pair.mask}: the mask lies outside its image: {'; '.join(unlike)}.")
        detail = f"the mask was resampled onto the image: {'; '.join(unlike)}"
        findings.append(Finding("mask_resampled", "repaired", detail))
    # Copies, not views: a view dies with its image, and the slices are read later.
    hu, labels = sitk.GetArrayFromImage(scan), sitk.GetArrayFromImage(mask)
    if labels.max(initial=0) >= config.num_classes:
        if config.num_classes > 2:
            raise DataError(
                f"{pair.mask}: holds label {labels.max()}, but data.rgb_map has "
                f"{config.num_classes} classes."
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
    from lungseg.dicom import patient_id

    identity = patient_id(pair.image) if pair.image.is_dir() else ""
    if not identity:
        return pair.case
    return "patient_" + hashlib.sha256((salt + identity).encode()).hexdigest()[:12]
