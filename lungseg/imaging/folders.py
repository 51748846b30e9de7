"""The contents of folders: images, volumes, pairs of image and mask, and inputs to segment."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lungseg.errors import DataError, UsageError
from lungseg.imaging.findings import Finding
from lungseg.system import console
from lungseg.system.files import natural_key
from lungseg.system.written import is_output

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".dcm", ".zip")


@dataclass(frozen=True)
class Pair:
    """An image and its mask, matched by stem; `case` is the image's stem."""

    case: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Input:
    """One input: an image file, or a CT volume (a file, or a folder of DICOM files)."""

    path: Path
    name: str
    is_volume: bool


def list_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """List a folder's image files and its other entries, both in natural order.

    Hidden files are left out.
    """
    entries = _entries(folder)
    images = [e for e in entries if e.suffix.lower() in IMAGE_SUFFIXES and not e.is_dir()]
    known = set(images)
    return images, [entry for entry in entries if entry not in known]


def list_volumes(folder: Path, dicom_folders: bool) -> list[Path]:
    """List a folder's volumes in natural order: files, and folders of DICOM if asked for."""
    return [entry for entry in _entries(folder) if _is_volume(entry, dicom_folders)]


def _entries(folder: Path) -> list[Path]:
    # An output inside an input folder is no input.
    visible = (
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and not is_output(entry)
    )
    return sorted(visible, key=lambda entry: natural_key(entry.name))


def volume_suffix(path: Path) -> str | None:
    """Return the suffix of a volume file (`.nii.gz` whole), None for another file."""
    name = path.name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix)), None)


def stem_of(path: Path) -> str:
    """Return a file's name without its suffix (`.nii.gz` is one suffix), or a folder's name."""
    if path.is_dir():
        return os.path.basename(os.path.abspath(path))  # "." has a name, too
    suffix = volume_suffix(path)
    return path.name[: -len(suffix)] if suffix else path.stem


def by_stem(paths: Iterable[Path]) -> tuple[dict[str, list[Path]], list[list[Path]]]:
    """Group paths that have the same stem.

    Upper and lower case count as the same, because some file systems store `Case.png` and
    `case.png` as one file.

    Returns:
        The groups by their folded stem, in the order of their first path; and the clashes, which
        are the groups of more than one path.
    """
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(stem_of(path).casefold(), []).append(path)
    return groups, [group for group in groups.values() if len(group) > 1]


def pair_folders(
    images: Path, masks: Path, others: Collection[str] = ()
) -> tuple[list[Pair], list[Finding]]:
    """Pair images with masks by stem; extensions may differ.

    Args:
        images: folder of images.
        masks: folder of masks.
        others: names that are expected in the folders and are not reported.

    Returns:
        The pairs in natural order, and a finding for each file that has no partner, shares its
        stem with another file of the folder, or is no image.
    """
    (image_files, other_files), (mask_files, other_masks) = list_images(images), list_images(masks)
    findings = []
    for path in (*other_files, *other_masks):
        if path.name not in others:
            kind = "a folder" if path.is_dir() else f"the suffix {path.suffix!r}"
            detail = f"{kind} is not one of {', '.join(sorted(IMAGE_SUFFIXES))}"
            findings.append(Finding("unsupported_file", "left_out", detail, path))
    pairs, unpaired = _pair(
        image_files,
        mask_files,
        f"no mask with this stem in {masks}",
        f"no image with this stem in {images}",
    )
    return pairs, findings + unpaired


def pair_volumes(images: Path, masks: Path) -> tuple[list[Pair], list[Finding], set[str]]:
    """Pair CT volumes (files, or folders of DICOM) with label volumes by stem.

    Returns:
        The pairs in natural order; a finding for each volume that has no partner or shares its
        stem with another; the names of all volumes.
    """
    scans = list_volumes(images, dicom_folders=True)
    labels = list_volumes(masks, dicom_folders=False)
    pairs, findings = _pair(
        scans,
        labels,
        f"no volume with this stem in {masks}",
        f"no volume with this stem in {images}",
    )
    return pairs, findings, {path.name for path in (*scans, *labels)}


def _pair(
    images: Sequence[Path], masks: Sequence[Path], no_mask: str, no_image: str
) -> tuple[list[Pair], list[Finding]]:
    """Pair the image and the mask of a stem if there is one of each; report all other files."""
    (image_groups, image_clashes), (mask_groups, mask_clashes) = by_stem(images), by_stem(masks)
    findings = []
    for clash in (*image_clashes, *mask_clashes):
        detail = f"these share one stem: {', '.join(path.name for path in clash)}"
        findings += [Finding("duplicate_stem", "failed", detail, path) for path in clash]
    pairs = []
    for stem, group in image_groups.items():
        partners = mask_groups.get(stem, [])
        if not partners:
            findings.append(Finding("orphan_image", "left_out", no_mask, group[0]))
        elif len(group) == len(partners) == 1:
            pair = Pair(stem_of(group[0]), group[0], partners[0])
            pairs.append(pair)
            if pair.case != stem_of(pair.mask):
                detail = f"paired with {pair.mask.name}, which differs in capital letters"
                findings.append(Finding("stem_case", "warning", detail, pair.image))
    findings += [
        Finding("orphan_mask", "left_out", no_image, group[0])
        for stem, group in mask_groups.items()
        if stem not in image_groups
    ]
    return pairs, findings


def _is_volume(path: Path, dicom_folders: bool) -> bool:
    if path.is_dir():
        return dicom_folders and _holds_dicom(path)
    return volume_suffix(path) is not None


def _holds_dicom(folder: Path) -> bool:
    # Imported here because folders of plain images do not need SimpleITK.
    from lungseg.imaging.dicom.series import holds_dicom

    return holds_dicom(folder)


def collect(inputs: Iterable[Path]) -> list[Input]:
    """List the inputs, each once, those of a folder in natural order.

    Raises:
        UsageError: if a path does not exist.
        DataError: if no path holds an input.
    """
    by_path: dict[Path, Input] = {}
    for given in inputs:
        if given.is_dir():
            items = _in_folder(given)
            if not items:
                folders = sorted(entry for entry in _entries(given) if entry.is_dir())
                items = [i for folder in folders if (i := _dicom_folder(folder)) is not None]
        elif given.exists():
            items = [_file(given)]
        else:
            raise UsageError(f"{given}: there is no such file or folder.")
        by_path.update({item.path: item for item in items})
    if not by_path:
        names = ", ".join(str(given) for given in inputs)
        raise DataError(
            names, "holds no PNG, JPG, TIF or BMP image and no DICOM, NIfTI, MHA or NRRD volume."
        )
    return list(by_path.values())


def _file(path: Path) -> Input:
    return Input(path, stem_of(path), volume_suffix(path) is not None)


def _in_folder(folder: Path) -> list[Input]:
    images, others = list_images(folder)
    items = [_file(path) for path in images]
    volumes = [_file(path) for path in others if path.is_file()]
    loose = [v for v in volumes if not v.is_volume or v.path.suffix.lower() == ".dcm"]
    items += [v for v in volumes if v not in loose]
    if loose and (series := _dicom_folder(folder)) is not None:
        items.append(series)
    elif loose:
        console.detail(
            f"{folder}: {len(loose)} files are neither images nor volumes and are ignored"
        )
    return items


def _dicom_folder(folder: Path) -> Input | None:
    return Input(folder, stem_of(folder), True) if _holds_dicom(folder) else None


def find_clashes(items: Iterable[Input]) -> dict[Path, Path]:
    """Find inputs that would write the same mask as an earlier one.

    Returns:
        The path of each such input, with the path of the earlier one.
    """
    _, clashes = by_stem(item.path for item in items)
    return {path: first for first, *later in clashes for path in later}
