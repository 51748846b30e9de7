"""Folders at any depth: what is in them, and what is left out."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from lungseg.errors import DataError
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import Input, is_image, joined, stem_of, volume_suffix
from lungseg.system.files import natural_key
from lungseg.system.one_file import record_of
from lungseg.system.written import is_output

HIDDEN = "hidden folders are not read"
OUTPUT = "the output of a command is no input"
READ_ALREADY = "a link to a folder that is read by another name, or that holds this one"
EMPTY = "empty folders"
NO_INPUT = "neither an image nor a volume"
# The voxels of an .mhd file are in a file beside it.
VOXELS_OF_MHD = frozenset({".raw", ".zraw"})

Identity = tuple[int, int]  # of a folder: its device, and its number there
Place = tuple[Path, tuple[str, ...]]  # a folder, and the names that lead to it


@dataclass(frozen=True)
class Level:
    """One folder of a tree.

    Attributes:
        folder: the folder.
        within: the names of the folders that lead to it from the top of the tree.
        files: its visible files in natural order.
    """

    folder: Path
    within: tuple[str, ...]
    files: list[Path]


@dataclass
class Listing:
    """The contents of a tree.

    Attributes:
        items: the inputs in natural order, each by its place in the tree.
        unreadable: what could not be looked into; reading one gives the reason.
        findings: what is left out, and what a person should know.
    """

    items: list[Input] = field(default_factory=list)
    unreadable: list[Input] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def leave_out(self, detail: str, path: Path) -> None:
        """Add a finding about something that is not read."""
        code = "unsupported_file" if detail == NO_INPUT else "folder_left_out"
        self.findings.append(Finding(code, "left_out", detail, path))


def list_tree(
    root: Path,
    leave_out: Iterable[Path | None] = (),
    *,
    series: bool = True,
    top_series: bool = True,
) -> Listing:
    """List the images and volumes in a folder and in its folders, at any depth.

    A link to a folder is followed, unless that folder is read under another name. Hidden folders
    and outputs of the program are left out.

    Args:
        root: the folder.
        leave_out: folders that are not looked into and not reported.
        series: whether files of DICOM are slices of a series. Otherwise these are masks: a `.dcm`
            is a volume, and what the program wrote is not left out.
        top_series: the same for the files that are directly in `root`.
    """
    listing = Listing()
    found: list[tuple[Level, list[Path]]] = []
    for level in _walk(root, [path for path in leave_out if path], not series, listing):
        as_series = series and (top_series or bool(level.within))
        has_mhd = any(volume_suffix(path) == ".mhd" for path in level.files)
        loose = []
        for path in level.files:
            suffix = volume_suffix(path)
            is_volume = suffix is not None and not (as_series and suffix == ".dcm")
            if is_volume or is_image(path):
                listing.items.append(_input(path, level.within, is_volume))
            elif not (has_mhd and path.suffix.lower() in VOXELS_OF_MHD):
                loose.append(path)
        if as_series and loose:
            found.append((level, loose))
        else:
            for path in loose:
                listing.leave_out(NO_INPUT, path)
    if found:
        _add_series(root, found, listing)
    # By folder, images before volumes.
    listing.items.sort(
        key=lambda item: (
            [natural_key(part) for part in item.within],
            item.is_volume,
            natural_key(item.path.name),
        )
    )
    return listing


def _walk(
    root: Path, leave_out: Iterable[Path], outputs: bool, listing: Listing
) -> Iterator[Level]:
    """Yield the folders of a tree, each once, even if links lead to it or in a circle.

    Links come last, so that a folder has its own name and not that of a link. If `outputs` is set,
    single masks that the program wrote are among the files.
    """
    silent = {_identity(path) for path in leave_out}
    seen = {_identity(path) for path in Path(os.path.realpath(root)).parents} | silent
    folders, links = deque[Place]([(root, ())]), deque[Place]()
    while folders or links:
        folder, within = (folders or links).popleft()
        identity = _identity(folder)
        if within and identity is not None and identity in seen:
            if identity not in silent:
                listing.leave_out(READ_ALREADY, folder)
            continue
        seen.add(identity)
        try:
            kinds = _kinds(folder)
        except OSError:
            listing.unreadable.append(_input(folder, within[:-1], True))
            continue
        if not kinds and within:
            listing.leave_out(EMPTY, folder)
        files = []
        for path, kind in kinds.items():
            if kind is None:
                if not path.name.startswith("."):
                    listing.unreadable.append(_input(path, within, True))
            elif not stat.S_ISDIR(kind):
                if path.name.startswith("."):
                    continue
                # What a broken link or a pipe is called for is an input, and fails as such.
                if not stat.S_ISREG(kind) and not is_image(path) and volume_suffix(path) is None:
                    listing.leave_out(NO_INPUT, path)
                elif outputs or record_of(path) not in kinds:
                    files.append(path)
                else:
                    listing.leave_out(OUTPUT, path)
            elif path.name.startswith("."):
                listing.leave_out(HIDDEN, path)
            elif not is_output(path):
                (links if path.is_symlink() else folders).append((path, (*within, path.name)))
            elif _identity(path) not in silent:
                listing.leave_out(OUTPUT, path)
        yield Level(folder, within, files)


def _kinds(folder: Path) -> dict[Path, int | None]:
    """Return the entries of a folder in natural order, each with its mode.

    The mode of a broken link is 0, and that of an entry that cannot be looked at is None.

    Raises:
        OSError: if the folder may not be listed, or not be entered so that this is all of them.
    """
    kinds: dict[Path, int | None] = {}
    reason: OSError | None = None
    for name in sorted(os.listdir(folder), key=natural_key):
        path = folder / name
        try:
            kinds[path] = path.stat().st_mode
        except OSError as problem:
            is_broken = problem.errno in (errno.ENOENT, errno.ELOOP)
            kinds[path], reason = (0, reason) if is_broken else (None, problem)
    if reason is not None and not any(kind is not None for kind in kinds.values()):
        raise reason
    return kinds


def _identity(folder: Path) -> Identity | None:
    """Return what a folder is recognised by, whatever its names are."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _input(path: Path, within: tuple[str, ...], is_volume: bool) -> Input:
    return Input(path, joined(*within, stem_of(path)), is_volume, within)


def _add_series(root: Path, found: Collection[tuple[Level, list[Path]]], listing: Listing) -> None:
    """Add the DICOM series of folders with loose files.

    A folder is one input, as `read_dicom` reads it. If the files of a series are in several
    folders, it is an input by itself, and so is each other series of these folders.
    """
    # Imported here because folders of plain images do not need SimpleITK.
    from lungseg.imaging.dicom.scattered import scattered_series
    from lungseg.imaging.dicom.series import series_in

    levels: list[tuple[Input, dict[str, list[Path]]]] = []
    for level, loose in found:
        item = _input(level.folder, level.within[:-1], True)
        try:
            series = series_in(level.folder)
        except DataError:  # reading it gives the reason
            listing.items.append(item)
            continue
        used = {path for files in series.values() for path in files}
        for path in loose:
            if path not in used:
                listing.leave_out(NO_INPUT, path)
        if series:
            levels.append((item, series))
    scattered, findings = scattered_series([series for _, series in levels])
    listing.findings += findings
    for files in scattered.values():
        top = Path(os.path.commonpath([path.parent for path in files]))
        within = top.relative_to(root).parts
        listing.items.append(replace(_input(top, within[:-1], True), files=tuple(files)))
    for item, series in levels:
        others = [files for uid, files in series.items() if uid not in scattered]
        if len(others) == len(series):
            listing.items.append(item)
        else:
            listing.items += [replace(item, files=tuple(files)) for files in others]
