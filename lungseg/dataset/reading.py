"""Reading a data set from disk: split.csv, manifest.csv, or train, valid and test folders."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from lungseg.config.schema import Config, DataConfig
from lungseg.dataset.patients import assign_patients
from lungseg.dataset.similarity import pack, perceptual_hash
from lungseg.dataset.slices import PARTS, ManifestRow, Slice, SplitRow
from lungseg.errors import DataError
from lungseg.imaging.folders import Pair, pair_folders
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import read_slice
from lungseg.system import console
from lungseg.system.environment import ordered_map
from lungseg.system.tables import read_rows


def is_layout(folder: Path) -> bool:
    """Whether a folder is a data set in the `train|valid|test/{images,masks}` layout."""
    return (folder / "train" / "images").is_dir() and (folder / "train" / "masks").is_dir()


def check_layout(folder: Path) -> None:
    """Raise `DataError` if a folder is no such data set."""
    if not is_layout(folder):
        raise DataError(folder, "expected train/images and train/masks; run lungseg split.")


def fold_folders(folder: Path) -> list[Path]:
    """Return the folders `fold_1`, `fold_2` and so on in a data set or a run, in order."""
    folders = {}
    for path in folder.glob("fold_*"):
        number = path.name.removeprefix("fold_")
        if path.is_dir() and number.isdecimal():
            folders[int(number)] = path
    return [folders[number] for number in sorted(folders)]


def read_manifest(folder: Path) -> list[Slice]:
    """Read the slices `prepare` wrote.

    Raises:
        DataError: if the manifest is missing or damaged, or names files that are missing.
    """
    path = folder / "manifest.csv"
    if not path.exists():
        raise DataError(
            folder,
            "holds neither manifest.csv (from lungseg prepare) nor train/images and train/masks.",
        )
    slices = [_slice(row, folder, path) for row in read_rows(path, ManifestRow)]
    for s in slices:
        for file in (s.image, s.mask):
            if not file.exists():
                raise DataError(file, f"named in {path}, but there is no such file.")
    if not slices:
        raise DataError(path, "lists no slice.")
    return slices


def _slice(row: ManifestRow | SplitRow, folder: Path, origin: Path) -> Slice:
    """Turn a row of `manifest.csv` or `split.csv` into a slice; `DataError` names `origin`."""
    try:
        pack([row.phash])
    except ValueError:
        raise DataError(origin, f"phash of {row.case} is damaged: {row.phash!r}.") from None
    if not 0 <= row.lung_fraction <= 1:
        raise DataError(
            origin, f"lung_fraction of {row.case} is {row.lung_fraction:g}, expected 0 to 1."
        )
    return Slice(
        row.case,
        row.source,
        row.group,
        folder / row.image,
        folder / row.mask,
        row.lung_fraction,
        row.sha256,
        row.phash,
    )


def read_layout(folder: Path, config: Config) -> dict[str, list[Slice]]:
    """Read a data set in the `train|valid|test` layout, with `split.csv` or without.

    Without `split.csv` (as in the original's published data) each slice is hashed here. Its group
    comes from `split.group_regex`; without that, each slice is its own group.
    """
    listing = folder / "split.csv"
    if listing.exists():
        parts: dict[str, list[Slice]] = {part: [] for part in PARTS}
        for row in read_rows(listing, SplitRow):
            if row.part not in parts:
                raise DataError(
                    listing,
                    f"{row.case} is in the part {row.part!r}; there are {', '.join(PARTS)}.",
                )
            parts[row.part].append(_slice(row, folder, listing))
        missing = [s.image for part in parts.values() for s in part if not s.image.exists()]
        if missing:
            raise DataError(missing[0], f"named in {listing}, but there is no such file.")
        return parts
    parts = {}
    for part in PARTS:
        images, masks = folder / part / "images", folder / part / "masks"
        if not images.is_dir() or not masks.is_dir():
            parts[part] = []
            continue
        pairs, unpaired = pair_folders(images, masks)
        for finding in unpaired:
            console.warn(f"{finding.path}: {finding.code}: {finding.detail}")

        work = ordered_map(partial(_describe, data=config.data), pairs)
        slices = list(console.track(work, len(pairs), f"read {part}"))
        if config.split.group_regex:
            slices, _ = assign_patients(slices, config.split)
        parts[part] = slices
    return parts


def _describe(pair: Pair, data: DataConfig) -> Slice:
    """Hash a pair of a data set that came without `split.csv`."""
    pixels, labels = read_slice(pair.image, data), read_labels(pair.mask, data)
    return Slice(
        pair.case,
        pair.case,
        pair.case,
        pair.image,
        pair.mask,
        float((labels > 0).mean()),
        hashlib.sha256(pixels.tobytes()).hexdigest(),
        perceptual_hash(pixels),
    )
