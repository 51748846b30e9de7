"""What a folder holds: images, volumes, and pairs of image and mask."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from lungseg.imaging.findings import Finding
from lungseg.system.files import natural_key

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})


VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".dcm", ".zip")


@dataclass(frozen=True)
class Pair:
    """An image and its mask, matched by stem."""

    case: str
    image: Path
    mask: Path


def list_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """List a folder's image files in natural order, and beside them what is no image file.

    Hidden files are passed over.
    """
    entries = sorted(
        (entry for entry in folder.iterdir() if not entry.name.startswith(".")),
        key=lambda entry: natural_key(entry.name),
    )
    images = [e for e in entries if e.suffix.lower() in IMAGE_SUFFIXES and not e.is_dir()]
    known = set(images)
    return images, [entry for entry in entries if entry not in known]


def volume_suffix(path: Path) -> str | None:
    """Return the suffix of a volume file (`.nii.gz` whole), None for another file."""
    name = path.name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix)), None)


def by_stem(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Group files by stem, in the order of their first file."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(path.stem, []).append(path)
    return groups


def pair_folders(
    images: Path, masks: Path, others: Collection[str] = ()
) -> tuple[list[Pair], list[tuple[Path, Finding]]]:
    """Pair images with masks by stem; extensions may differ.

    Args:
        images: folder of images.
        masks: folder of masks.
        others: names that are expected in the folders and pass in silence.

    Returns:
        The pairs in natural order, and a finding for each file that has no partner, shares its
        stem with another (in whatever case: some file systems see one name), or is no image.
    """
    found: list[tuple[Path, Finding]] = []
    groups: list[dict[str, list[Path]]] = []
    for folder in (images, masks):
        paths, rest = list_images(folder)
        for path in rest:
            if path.name not in others:
                kind = "a folder" if path.is_dir() else f"the suffix {path.suffix!r}"
                detail = f"{kind} is none of {', '.join(sorted(IMAGE_SUFFIXES))}"
                found.append((path, Finding("unsupported_file", "left_out", detail)))
        groups.append(by_stem(paths))
    image_groups, mask_groups = groups
    clashing: set[str] = set()
    for group in groups:
        folded: dict[str, list[Path]] = {}
        for stem, paths in group.items():
            folded.setdefault(stem.casefold(), []).extend(paths)
        for paths in folded.values():
            if len(paths) > 1:
                names = ", ".join(path.name for path in paths)
                clashing.update(path.stem for path in paths)
                for path in paths:
                    detail = f"these share one stem: {names}"
                    found.append((path, Finding("duplicate_stem", "failed", detail)))
    pairs = []
    for stem, paths in image_groups.items():
        if stem not in mask_groups:
            detail = f"no mask with this stem in {masks}"
            found.append((paths[0], Finding("orphan_image", "left_out", detail)))
        elif stem not in clashing:
            pairs.append(Pair(stem, paths[0], mask_groups[stem][0]))
    for stem, paths in mask_groups.items():
        if stem not in image_groups:
            detail = f"no image with this stem in {images}"
            found.append((paths[0], Finding("orphan_mask", "left_out", detail)))
    return pairs, found


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
        from lungseg.imaging.dicom.series import holds_dicom

        return folders and holds_dicom(path)
    return volume_suffix(path) is not None
