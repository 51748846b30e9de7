"""What there is to segment: images and volumes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lungseg.errors import DataError, UsageError
from lungseg.imaging.folders import list_images, volume_suffix
from lungseg.system import console


@dataclass(frozen=True)
class Input:
    """One thing to segment: an image file, or a volume (a file, or a folder of DICOM)."""

    path: Path
    name: str
    is_volume: bool


def collect(inputs: Iterable[Path]) -> list[Input]:
    """List what there is to segment, each once, in natural order a folder.

    Raises:
        UsageError: for a path that does not exist.
        DataError: where there is nothing at all.
    """
    found: dict[Path, Input] = {}
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
        found.update({item.path: item for item in items})
    if not found:
        names = ", ".join(str(given) for given in inputs)
        raise DataError(
            names, "holds no PNG, JPG, TIF or BMP image and no DICOM, NIfTI, MHA or NRRD volume."
        )
    return list(found.values())


def _file(path: Path) -> Input:
    suffix = volume_suffix(path)
    if suffix:
        return Input(path, path.name[: -len(suffix)], True)
    return Input(path, path.stem, False)


def _in_folder(folder: Path) -> list[Input]:
    images, others = list_images(folder)
    items = [_file(path) for path in images]
    volumes = [_file(path) for path in others if path.is_file()]
    loose = [v for v in volumes if not v.is_volume or v.path.suffix.lower() == ".dcm"]
    items += [v for v in volumes if v not in loose]
    if loose and (series := _dicom_folder(folder)) is not None:
        items.append(series)
    elif loose:
        console.detail(f"{folder}: {len(loose)} files that are no images are passed over")
    return items


def _dicom_folder(folder: Path) -> Input | None:
    from lungseg.imaging.dicom.series import holds_dicom

    return Input(folder, folder.resolve().name, True) if holds_dicom(folder) else None


def find_clashes(items: Iterable[Input]) -> dict[Path, Path]:
    """Return the inputs whose name an earlier one has, in whatever case: one mask, one case."""
    first: dict[str, Path] = {}
    found = {}
    for item in items:
        earlier = first.setdefault(item.name.casefold(), item.path)
        if earlier != item.path:
            found[item.path] = earlier
    return found
