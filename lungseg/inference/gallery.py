"""The pictures of `gallery.html`: drawn case by case, while the case is in memory."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.config.classes import is_in_lung
from lungseg.config.schema import InferConfig
from lungseg.errors import DataError
from lungseg.imaging.framing import SQUARE
from lungseg.inference.rows import CaseRow, Measures, Quality
from lungseg.reporting.gallery import GalleryCase, read_pictures
from lungseg.reporting.pictures import CasePictures, draw_directions, draw_one, spread
from lungseg.system.files import sha256_of_file, write_text

GALLERY = "gallery.html"
# Pictures wait here for the page. Everything with this prefix counts as temporary.
STAGE = ".lungseg.gallery"
# In full: at most so many slices of a volume, and the longer side of a picture in pixels.
AXIAL, CORONAL, SIDE = 400, 96, 320
# Of other cases: a few smaller pictures.
FEW_AXIAL, FEW_CORONAL, FEW_SIDE = 12, 6, 256
# A plain image is one picture, so it may be larger.
IMAGE_SIDE, FEW_IMAGE_SIDE = 512, 320
# Flagged by what the other cases are, not by the mask itself.
OF_ALL = "all_empty"

Grey = NDArray[Any]


def in_full(settings: InferConfig, flags: Sequence[str]) -> bool:
    """Whether every slice of a case is drawn."""
    return settings.gallery == "full" or any(code != OF_ALL for code in flags)


def pictures_file(output: Path, name: str, mask: str, full: bool) -> Path:
    """Return the file for the pictures of a case.

    Its name depends on the mask, so that the pictures of an older mask are not taken for it.

    Args:
        output: folder of the masks.
        name: name of the case.
        mask: file name of its mask.
        full: whether every slice is drawn.
    """
    text = f"{name}\n{sha256_of_file(output / mask)}\n{full}"
    key = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return output / STAGE / f"p-{key}.json"


def draw_volume(hu: Grey, lung: Grey, sides: Grey, labels: Grey, spacing: Sequence[float],
                *, full: bool) -> CasePictures:  # fmt: skip
    """Draw a CT volume, axial from head to feet and coronal from front to back.

    Args:
        hu: the CT `(D, H, W)` with axes to the head, back and left.
        lung: 1 in the lungs, of the same shape.
        sides: 1 in the left lung, 2 in the right lung, 0 where the side is not known.
        labels: the mask. What is in it and not in `lung` is of another class.
        spacing: voxel size in mm, ordered (z, y, x).
        full: draw every slice, not only a few with lung.
    """
    depth, rows, _ = hu.shape
    if full:
        numbers, side = (spread(1, depth, AXIAL), spread(1, rows, CORONAL)), SIDE
    else:
        axial = spread(*_extent(np.asarray(lung.any(axis=(1, 2)))), FEW_AXIAL)
        coronal = spread(*_extent(np.asarray(lung.any(axis=(0, 2)))), FEW_CORONAL)
        numbers, side = (axial, coronal), FEW_SIDE

    def outlines(at: Any) -> dict[str, NDArray[np.bool_]]:
        return _regions(lung[at], sides[at], labels[at])

    return draw_directions(hu, outlines, spacing, numbers, side)


def _extent(holds: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the numbers, from 1, of the first and the last slice with lung; of all if none."""
    found = np.flatnonzero(holds)
    return (int(found[0]) + 1, int(found[-1]) + 1) if len(found) else (1, len(holds))


def _regions(lung: Grey, sides: Grey, labels: Grey) -> dict[str, NDArray[np.bool_]]:
    inside = lung > 0
    return {
        "left": inside & (sides == 1),
        "right": inside & (sides == 2),
        "lung": inside & (sides == 0),
        "other": (labels > 0) & ~inside,
    }


def draw_image(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    classes: Sequence[str],
    spacing: tuple[float, float] | None,
    *,
    full: bool,
) -> CasePictures:
    """Draw a plain image, of which neither HU nor sides are known.

    Args:
        image: `(H, W)` or `(H, W, 3)`.
        labels: class indices `(H, W)`.
        classes: their names, background first.
        spacing: height and width of a pixel; None for square pixels.
        full: draw it large.
    """
    of_lung = [is_in_lung(name) for name in classes[1:]]
    if all(of_lung) or not any(of_lung):
        of_lung = [True] * len(of_lung)
    inside = np.array([False, *of_lung])[labels]
    outlines = {"lung": inside, "other": (labels > 0) & ~inside}
    return draw_one(image, outlines, spacing or SQUARE, IMAGE_SIDE if full else FEW_IMAGE_SIDE)


def keep_pictures(
    output: Path, name: str, mask: str, pictures: CasePictures, *, full: bool
) -> None:
    """Write the pictures of a case to where they wait for the page.

    Raises:
        DataError: if they cannot be written.
    """
    path = pictures_file(output, name, mask, full)
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as problem:
        raise DataError(path.parent, f"cannot be made: {problem.strerror or problem}.") from None
    write_text(path, pictures.to_json())


def take_over(output: Path) -> None:
    """Put the pictures of an earlier page where those of the new one wait."""
    for key, pictures in read_pictures(output / GALLERY):
        path = output / STAGE / f"{key}.json"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            write_text(path, pictures)


def remove_stage(output: Path) -> None:
    """Remove the pictures that wait for the page."""
    stage = output / STAGE
    if stage.is_symlink():
        stage.unlink()
    with contextlib.suppress(OSError):
        shutil.rmtree(stage)


def gallery_case(row: CaseRow, output: Path, settings: InferConfig) -> GalleryCase:
    """Return the row of the page for a row of `cases.csv`."""
    flags = row.flags.split()
    measured: Measures | None = row.measures
    quality = row.quality or Quality()
    pictures = None
    if not row.failed:
        with contextlib.suppress(OSError):
            path = pictures_file(output, row.case, str(row.mask), in_full(settings, flags))
            pictures = path if path.is_file() else None
    return GalleryCase(
        name=row.case,
        input=row.input,
        failed=row.failed,
        is_volume=measured is not None,
        flags=flags,
        detail=row.detail,
        volume_ml=measured.lung.volume_ml if measured else None,
        left_ml=measured.left.volume_ml if measured else None,
        right_ml=measured.right.volume_ml if measured else None,
        share=None if measured else row.lung_fraction,
        certainty=quality.certainty,
        pictures=pictures,
    )
