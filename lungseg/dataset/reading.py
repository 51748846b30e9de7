"""Reading a data set from disk: split.csv, manifest.csv, or train, valid and test folders."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from lungseg.config.schema import Config
from lungseg.dataset.patients import grouped
from lungseg.dataset.similarity import pack, perceptual_hash
from lungseg.dataset.slices import PARTS, SPLIT_COLUMNS, Slice
from lungseg.errors import DataError
from lungseg.imaging.folders import pair_folders
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import read_slice
from lungseg.system import console
from lungseg.system.environment import ordered_map
from lungseg.system.tables import read_csv


def is_layout(folder: Path) -> bool:
    """Whether a folder is a data set in the `train|valid|test/{images,masks}` layout."""
    return (folder / "train" / "images").is_dir() and (folder / "train" / "masks").is_dir()


def fold_folders(folder: Path) -> list[Path]:
    """Return the folders `fold_1`, `fold_2` and so on in a data set or a run, in order."""
    found = {}
    for path in folder.glob("fold_*"):
        number = path.name.removeprefix("fold_")
        if path.is_dir() and number.isdecimal():
            found[int(number)] = path
    return [found[number] for number in sorted(found)]


def read_manifest(folder: Path) -> list[Slice]:
    """Read the slices `prepare` wrote.

    Raises:
        DataError: for a missing or incomplete manifest, or one that names missing files.
    """
    path = folder / "manifest.csv"
    if not path.exists():
        raise DataError(
            folder,
            "holds neither manifest.csv (from lungseg prepare) nor train/images and train/masks.",
        )
    rows = read_csv(path, ("case", "source", "image", "mask", "lung_fraction", "sha256", "phash"))
    slices = []
    for row in rows:
        slices.append(_slice(row, folder, path))
        for file in (slices[-1].image, slices[-1].mask):
            if not file.exists():
                raise DataError(file, f"named in {path}, but there is no such file.")
    if not slices:
        raise DataError(path, "lists no slice.")
    return slices


def _slice(row: Mapping[str, str], folder: Path, origin: Path) -> Slice:
    """Turn a row of `manifest.csv` or `split.csv` into a slice; `DataError` names `origin`."""
    try:
        fraction = float(row["lung_fraction"])
        pack([row["phash"]])
    except (TypeError, ValueError):
        raise DataError(
            origin,
            f"lung_fraction or phash of {row['case']} is damaged: "
            f"{row['lung_fraction']!r}, {row['phash']!r}.",
        ) from None
    image, mask = folder / row["image"], folder / row["mask"]
    group = row.get("group") or ""
    return Slice(
        row["case"], row["source"], group, image, mask, fraction, row["sha256"], row["phash"]
    )


def read_layout(folder: Path, config: Config) -> dict[str, list[Slice]]:
    """Read a data set in the `train|valid|test` layout, with `split.csv` or without.

    Without it (the original's published data, say) each slice is hashed here, and its group comes
    from `split.group_regex`, or is the slice itself.
    """
    listing = folder / "split.csv"
    if listing.exists():
        parts: dict[str, list[Slice]] = {part: [] for part in PARTS}
        for row in read_csv(listing, SPLIT_COLUMNS):
            parts.setdefault(row["part"], []).append(_slice(row, folder, listing))
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
        for path, finding in unpaired:
            console.warn(f"{path}: {finding.code}: {finding.detail}")

        def describe(pair: tuple[str, Path, Path]) -> Slice:
            case, image, mask = pair
            pixels, labels = read_slice(image, config.data), read_labels(mask, config.data)
            digest = hashlib.sha256(pixels.tobytes()).hexdigest()
            lung = float((labels > 0).mean())
            return Slice(case, case, case, image, mask, lung, digest, perceptual_hash(pixels))

        work = ordered_map(describe, [(p.case, p.image, p.mask) for p in pairs])
        slices = list(console.track(work, len(pairs), f"read {part}"))
        if config.split.group_regex:
            slices, _ = grouped(slices, config.split)
        parts[part] = slices
    return parts
