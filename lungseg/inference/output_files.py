"""The files of a case in an output of `infer`, and the folders in which they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lungseg.config.schema import Config
from lungseg.errors import DataError
from lungseg.imaging.folders import VOLUME_SUFFIXES, Input
from lungseg.inference.rows import CaseRow

# Suffixes of the films of volumes.
FILMS = ("gif", "mp4")


def files_of(item: Input) -> list[str]:
    """Return every path in the output that the masks and pictures of an input may have."""
    if not item.is_volume:
        return [f"{folder}{item.name}.png" for folder in ("", "overlays/", "probabilities/")]
    masks = [f"{item.name}{suffix}" for suffix in VOLUME_SUFFIXES]
    pictures = [f"overlays/{item.name}.{suffix}" for suffix in ("png", *FILMS)]
    contours = f"rtstruct/{item.name}.dcm"
    return [*masks, *(f"probabilities/{mask}" for mask in masks), *pictures, contours]


def written_for(rows: Sequence[CaseRow], output: Path) -> list[str]:
    """Return the files that were written for cases."""
    names = [
        name
        for row in rows
        if row.mask is not None
        for name in (
            row.mask,
            f"{row.case}.dcm",
            f"rtstruct/{row.case}.dcm",
            f"probabilities/{row.mask}",
            *(f"overlays/{row.case}.{suffix}" for suffix in ("png", *FILMS)),
        )
    ]
    return [name for name in names if (output / name).is_file()]


def make_folders(output: Path, config: Config) -> None:
    """Make the folders of an output.

    Raises:
        DataError: if they cannot be made.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        if config.infer.overlay:
            (output / "overlays").mkdir(exist_ok=True)
    except OSError as problem:
        raise DataError(output, f"cannot be made: {problem.strerror or problem}.") from None
