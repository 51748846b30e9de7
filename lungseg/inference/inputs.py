"""The inputs of `infer`: image files, CT volumes, and folders of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lungseg.errors import DataError, UsageError
from lungseg.imaging.folders import by_stem, list_images, stem_of, volume_suffix
from lungseg.system import console


@dataclass(frozen=True)
class Input:
    """One input: an image file, or a CT volume (a file, or a folder of DICOM files)."""

    path: Path
    name: str
    is_volume: bool


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
                folders = sorted(entry for entry in given.iterdir() if entry.is_dir())
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
    from lungseg.imaging.dicom.series import holds_dicom

    return Input(folder, stem_of(folder), True) if holds_dicom(folder) else None


def find_clashes(items: Iterable[Input]) -> dict[Path, Path]:
    """Find inputs that would write the same mask as an earlier one.

    Returns:
        The path of each such input, with the path of the earlier one.
    """
    _, clashes = by_stem(item.path for item in items)
    return {path: first for first, *later in clashes for path in later}
