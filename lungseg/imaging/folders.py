"""Images and volumes by their names: stems, pairs of image and mask, and the files of a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lungseg.imaging.findings import Finding
from lungseg.system.files import UNDECODED, natural_key
from lungseg.system.written import is_output

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
MASK_SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd")
VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".dcm", ".zip")


Key = TypeVar("Key")

LONGEST_NAME = 160  # bytes; file systems take 255, and suffixes and numbers are added


@dataclass(frozen=True)
class Pair:
    """An image and its mask, matched by name.

    Attributes:
        case: the image's stem; below the top of a tree, with the names of its folders before it.
        image: an image file, or a volume.
        mask: its mask.
        files: the slices of a DICOM series that is not all that `image` holds; otherwise empty.
        source: path of the image in the folder of images, with `/`; empty if it is not known.
    """

    case: str
    image: Path
    mask: Path
    files: tuple[Path, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class Input:
    """One input: an image file, or a CT volume (a file, or a folder of DICOM files).

    Attributes:
        path: the file or folder.
        name: name of the case, and of its mask without suffix.
        is_volume: whether it is a CT volume.
        within: names of the folders between the folder that was given and the path.
        files: the slices of a DICOM series that is not all that the folder holds, or that is in
            several folders of it; otherwise empty.
        suffix: of the mask's file; empty for the usual one.
    """

    path: Path
    name: str
    is_volume: bool
    within: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    suffix: str = ""

    @property
    def place(self) -> str:
        """The path from the folder that was given, with `/`."""
        return "/".join((*self.within, os.path.basename(os.path.abspath(self.path))))


def list_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """List a folder's image files and its other entries, both in natural order.

    Hidden files are left out.
    """
    entries = _entries(folder)
    images = [entry for entry in entries if is_image(entry) and not entry.is_dir()]
    known = set(images)
    return images, [entry for entry in entries if entry not in known]


def _entries(folder: Path) -> list[Path]:
    # An output inside an input folder is no input.
    visible = (
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and not is_output(entry)
    )
    return sorted(visible, key=lambda entry: natural_key(entry.name))


def is_image(path: Path) -> bool:
    """Whether a file has the suffix of an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def volume_suffix(path: Path) -> str | None:
    """Return the suffix of a volume file (`.nii.gz` whole), None for another file."""
    name = path.name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix)), None)


def stem_of(path: Path) -> str:
    """Return a file's name without its suffix (`.nii.gz` is one suffix), or a folder's name."""
    if os.path.isdir(path):
        return os.path.basename(os.path.abspath(path))  # "." has a name, too
    suffix = volume_suffix(path)
    return path.name[: -len(suffix)] if suffix else path.stem


def joined(*parts: str) -> str:
    """Join the names of folders and a stem to the name of a case.

    A name that is too long for a file keeps its ends and gets a hash of the whole.
    """
    name = "_".join(parts)
    if len(parts) < 2 or len(os.fsencode(name)) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256("/".join(parts).encode("utf-8", UNDECODED)).hexdigest()[:12]
    start, end = name, name
    while len(os.fsencode(start)) > LONGEST_NAME // 2:
        start = start[:-1]
    while len(os.fsencode(end)) > LONGEST_NAME // 3:
        end = end[1:]
    return f"{start}_{digest}_{end}"


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


def pair_folders(images: Path, masks: Path) -> tuple[list[Pair], list[Finding]]:
    """Pair the images directly in a folder with masks by stem; extensions may differ.

    Returns:
        The pairs in natural order, and a finding for each file that has no partner, shares its
        stem with another file of the folder, or is no image.
    """
    (image_files, other_files), (mask_files, other_masks) = list_images(images), list_images(masks)
    findings = []
    for path in (*other_files, *other_masks):
        kind = "a folder" if path.is_dir() else f"the suffix {path.suffix!r}"
        detail = f"{kind} is not one of {', '.join(sorted(IMAGE_SUFFIXES))}"
        findings.append(Finding("unsupported_file", "left_out", detail, path))
    pairs, unpaired = pair_inputs(
        [Input(path, stem_of(path), False) for path in image_files],
        [Input(path, stem_of(path), False) for path in mask_files],
        f"no mask with this stem in {masks}",
        f"no image with this stem in {images}",
    )
    return pairs, findings + [finding for _, finding in unpaired]


def pair_inputs(
    images: Sequence[Input], masks: Sequence[Input], no_mask: str, no_image: str
) -> tuple[list[Pair], list[tuple[str, Finding]]]:
    """Pair the image and the mask of a place if there is one of each; report all other files.

    Without a mask in its place, an image gets the mask that has the name of its case, as long as no
    other image or mask has that name. A folder with one DICOM file may also have the mask that is
    in the place of this file.

    Args:
        images: images or volumes.
        masks: their masks; the name of each is made of its place.
        no_mask: what to say of an image without mask.
        no_image: what to say of a mask without image.

    Returns:
        The pairs in the order of the images, and the findings, each with the name of its case.
    """
    image_groups, mask_groups = _grouped(images, _place), _grouped(masks, _place)
    findings = []
    for group in (*image_groups.values(), *mask_groups.values()):
        detail = f"these share one stem: {', '.join(item.place for item in group)}"
        if len(group) > 1:
            findings += [
                (i.name, Finding("duplicate_stem", "failed", detail, i.path)) for i in group
            ]
    image_names, mask_names = _grouped(images, _joined_place), _grouped(masks, _joined_place)
    pairs, used = [], set[Path]()
    for place, group in image_groups.items():
        image, partners = group[0], mask_groups.get(place, [])
        if not partners and len(image_names[_joined_place(image)]) == 1:
            named = mask_names.get(_joined_place(image), [])
            partners = named if len(named) == 1 and _place(named[0]) not in image_groups else []
        if not partners and (file := _only_dicom_file(image)):
            by_file = (*place, stem_of(file).casefold())
            partners = [] if by_file in image_groups else mask_groups.get(by_file, [])
        used.update(mask.path for mask in partners)
        if not partners:
            findings += [
                (i.name, Finding("orphan_image", "left_out", no_mask, i.path)) for i in group
            ]
        elif len(group) == len(partners) == 1:
            mask = partners[0]
            pairs.append(Pair(image.name, image.path, mask.path, image.files, image.place))
            if _joined_place(image, str) != _joined_place(mask, str):
                detail = f"paired with {mask.place}, which differs in capital letters"
                findings.append((image.name, Finding("stem_case", "warning", detail, image.path)))
    findings += [
        (group[0].name, Finding("orphan_mask", "left_out", no_image, group[0].path))
        for group in mask_groups.values()
        if group[0].path not in used
    ]
    return pairs, findings


def _only_dicom_file(image: Input) -> Path | None:
    """Return the file of a series in one file, None for another input."""
    if image.files or not (image.is_volume and os.path.isdir(image.path)):
        return None
    files = [path for path in _entries(image.path) if path.is_file()]
    loose = [path for path in files if volume_suffix(path) is None and not is_image(path)]
    dicom = [path for path in files if volume_suffix(path) == ".dcm"] or loose
    return dicom[0] if len(dicom) == 1 else None


def _grouped(items: Iterable[Input], key: Callable[[Input], Key]) -> dict[Key, list[Input]]:
    groups: dict[Key, list[Input]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _place(item: Input) -> tuple[str, ...]:
    """Return folders and stem; upper and lower case are one."""
    return tuple(part.casefold() for part in (*item.within, stem_of(item.path)))


def _joined_place(item: Input, fold: Callable[[str], str] = str.casefold) -> str:
    return fold(joined(*item.within, stem_of(item.path)))
