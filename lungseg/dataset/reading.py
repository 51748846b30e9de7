"""Reading a data set from disk: split.csv, manifest.csv, or train, valid and test folders."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lungseg.config.schema import Config, DataConfig
from lungseg.dataset.likeness import Looks, describe
from lungseg.dataset.patients import assign_patients
from lungseg.dataset.slices import PARTS, ManifestRow, Slice, SplitRow, is_named, pixel_hash
from lungseg.errors import DataError, UsageError
from lungseg.imaging.folders import Pair, list_images, pair_folders
from lungseg.imaging.framing import SQUARE
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import read_pixels, read_slice
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


def read_manifest(folder: Path, data: DataConfig | None = None) -> list[Slice]:
    """Read the slices `prepare` wrote.

    Images that were added since then are reported.

    Args:
        folder: what `prepare` wrote.
        data: the section of the config. With it, the images are compared with the manifest, those
            that were replaced are reported, and the slices are as they are now.

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
    if not slices:
        raise DataError(path, "lists no slice.")
    _check_files(slices, path)
    _warn_of_added([folder / "images"], slices, path)
    return slices if data is None else _compare_pixels(slices, path, data)


def _slice(row: ManifestRow | SplitRow, folder: Path, origin: Path) -> Slice:
    """Turn a row of `manifest.csv` or `split.csv` into a slice; `DataError` names `origin`."""
    try:
        Looks.read([row.likeness])
    except ValueError as problem:
        raise DataError(origin, f"likeness of {row.case} is damaged: {problem}.") from None
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
        row.likeness,
        named=bool(row.group),
    )


def read_layout(
    folder: Path, config: Config, compared: Collection[str] = PARTS
) -> dict[str, list[Slice]]:
    """Read a data set in the `train|valid|test` layout, with `split.csv` or without.

    Without `split.csv` (as in the original's published data) each slice is described here. Its
    group comes from `split.group_csv` or `split.group_regex`. Without these, slices of a part that
    look alike are a group. Files that were added or replaced since the split are reported.

    Args:
        folder: the data set.
        config: the sections `data` and `split` are used.
        compared: the parts whose images are compared with `split.csv`.
    """
    _warn_of_other_folders(folder)
    listing = folder / "split.csv"
    if listing.exists():
        return _read_listing(listing, config.data, compared)
    parts: dict[str, list[Slice]] = {}
    for part in PARTS:
        slices = read_part(folder / part, config)
        parts[part], _ = assign_patients(slices, config.split)
    return parts


def _read_listing(
    listing: Path, data: DataConfig, compared: Collection[str]
) -> dict[str, list[Slice]]:
    folder = listing.parent
    parts: dict[str, list[Slice]] = {part: [] for part in PARTS}
    rows = read_rows(listing, SplitRow)
    cases = {row.case for row in rows}
    for row in rows:
        if row.part not in parts:
            raise DataError(
                listing,
                f"{row.case} is in the part {row.part!r}; there are {', '.join(PARTS)}.",
            )
        slice_ = _slice(row, folder, listing)
        parts[row.part].append(replace(slice_, named=is_named(row, cases)))
    every = [s for slices in parts.values() for s in slices]
    _check_files(every, listing)
    _warn_of_added([folder / part / "images" for part in PARTS], every, listing)
    return {
        part: _compare_pixels(slices, listing, data) if part in compared else slices
        for part, slices in parts.items()
    }


def _check_files(slices: Sequence[Slice], listing: Path) -> None:
    """Raise `DataError` if a file that a table lists is missing."""
    for s in slices:
        for file in (s.image, s.mask):
            if not file.exists():
                raise DataError(file, f"named in {listing}, but there is no such file.")


def _warn_of_other_folders(folder: Path) -> None:
    """Warn of folders such as `val` that look like a part and are not one."""
    for images in sorted(folder.glob("*/images")):
        name = images.parent.name
        if name not in PARTS and not name.startswith((".", "fold_")):
            console.warn(
                f"{images.parent}: its slices are not used and not compared with the others. The "
                f"parts of a data set are called {', '.join(PARTS)}."
            )


def _warn_of_added(folders: Sequence[Path], slices: Sequence[Slice], listing: Path) -> None:
    """Warn of images that a table does not list."""
    known = {s.image for s in slices}
    added = [
        path
        for folder in folders
        if folder.is_dir()
        for path in list_images(folder)[0]
        if path not in known
    ]
    if added:
        verb = "split" if listing.name == "split.csv" else "prepare"
        console.warn(
            f"{len(added)} images are not in {listing} and are not used, the first is {added[0]}. "
            f"Run lungseg {verb} again to use them."
        )


def _compare_pixels(slices: Sequence[Slice], listing: Path, data: DataConfig) -> list[Slice]:
    """Return the slices as their files are now; warn of images that were replaced."""
    work = ordered_map(partial(_as_it_is, data=data), slices)
    now = list(console.track(work, len(slices), f"check {listing.name}"))
    replaced = [s.image for s, old in zip(now, slices, strict=True) if s.sha256 != old.sha256]
    if replaced:
        console.warn(
            f"{len(replaced)} of {len(slices)} images have other pixels than {listing} says, the "
            f"first is {replaced[0]}. They are used as they are now. If the patients changed, run "
            "lungseg prepare and lungseg split again."
        )
    return now


def _as_it_is(s: Slice, data: DataConfig) -> Slice:
    """Return a slice with the hash of its file's pixels, and with its likeness."""
    digest = pixel_hash(read_pixels(s.image))
    if digest == s.sha256 and s.likeness:
        return s
    pixels = read_slice(s.image, data)
    if pixel_hash(pixels) == s.sha256:  # version 0.1 took the hash after resizing
        digest = s.sha256
    return replace(s, sha256=digest, likeness=describe(pixels))


def read_part(folder: Path, config: Config) -> list[Slice]:
    """Read the pairs of `images` and `masks` in a folder; their patients are unknown.

    Raises:
        UsageError: if their pixels are not square, because only `prepare` makes them square.
    """
    images, masks = folder / "images", folder / "masks"
    if not images.is_dir() or not masks.is_dir():
        return []
    height, width = config.data.pixel_spacing or SQUARE
    if config.data.square_pixels and height != width:
        raise UsageError(
            f"{folder}: data.pixel_spacing says that pixels are {height:g} x {width:g} mm. Make "
            "them square first, with lungseg prepare; or set data.pixel_spacing=null if they are."
        )
    pairs, unpaired = pair_folders(images, masks)
    for finding in unpaired:
        console.warn(f"{finding.path}: {finding.code}: {finding.detail}")
    work = ordered_map(partial(_describe, data=config.data), pairs)
    return list(console.track(work, len(pairs), f"read {folder.name}"))


def _describe(pair: Pair, data: DataConfig) -> Slice:
    """Describe a pair of a data set that came without `split.csv`; its patient is unknown."""
    return Slice(
        pair.case,
        pair.case,
        "",
        pair.image,
        pair.mask,
        float((read_labels(pair.mask, data) > 0).mean()),
        pixel_hash(read_pixels(pair.image)),
        describe(read_slice(pair.image, data)),
        named=False,
    )
