"""Writing prepared slices and data sets."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.dataset.augmentation import Augmenter, draw_seed
from lungseg.dataset.likeness import describe
from lungseg.dataset.slices import PARTS, ManifestRow, Slice, SplitRow, pixel_hash
from lungseg.errors import DataError
from lungseg.imaging.folders import Pair
from lungseg.imaging.masks import encode_mask
from lungseg.imaging.pixels import Labels, write_png
from lungseg.system.files import copy_file
from lungseg.system.tables import write_rows


@dataclass(frozen=True)
class SliceWriter:
    """Writes prepared slices, and their augmented copies.

    Attributes:
        config: gives the number of copies and the colours of the masks.
        output: folder that holds `images/` and `masks/`.
        augmenter: draws the copies; None if there are none.
        mark: stands between the name of a slice and the number of its copy.
    """

    config: Config
    output: Path
    augmenter: Augmenter | None
    mark: str = "_aug"

    def write(
        self,
        pair: Pair,
        source: str,
        group: str,
        image: NDArray[np.uint8],
        labels: Labels,
        size: tuple[int, int],
    ) -> list[ManifestRow]:
        """Write a slice and its copies; return their manifest rows.

        Args:
            pair: the raw files it comes from.
            source: name of the slice.
            group: the patient, or empty.
            image: `(H, W)` or `(H, W, 3)`, of the configured size.
            labels: class indices `(H, W)`.
            size: height and width before resizing.
        """
        rows = [self._write_case(pair, source, source, "", group, image, labels, size)]
        if self.augmenter is None:
            return rows
        # The seed depends on the name, so the copies of a case stay the same if others are added.
        name_hash = int.from_bytes(hashlib.sha256(source.encode()).digest()[:4], "big")
        for copy in range(self.config.prepare.copies):
            seed = draw_seed(self.config.seed, name_hash, copy)
            moved = self.augmenter(image, labels, seed)
            case = f"{source}{self.mark}{copy + 1:02d}"
            rows.append(self._write_case(pair, case, source, f"seed {seed}", group, *moved, size))
        return rows

    def _write_case(
        self,
        pair: Pair,
        case: str,
        source: str,
        augmentation: str,
        group: str,
        image: NDArray[np.uint8],
        labels: Labels,
        size: tuple[int, int],
    ) -> ManifestRow:
        name = f"{case}.png"
        if (self.output / "images" / name).exists():
            raise DataError(
                pair.image, f"gives the slice {case}, as another input does. Rename one of them."
            )
        write_png(self.output / "images" / name, image)
        write_png(self.output / "masks" / name, encode_mask(labels, self.config.data.rgb_map))
        return ManifestRow(
            case=case,
            source=source,
            augmentation=augmentation,
            group=group,
            image=f"images/{name}",
            mask=f"masks/{name}",
            source_image=pair.source or pair.image.name,
            source_mask=pair.mask.name,
            source_height=size[0],
            source_width=size[1],
            lung_fraction=float((labels > 0).mean()),
            mean_grey=float(image.mean()),
            sha256=pixel_hash(image),
            likeness=describe(image),
        )


def copy_mark(cases: Iterable[str]) -> str:
    """Return a mark for the names of copies so that no copy has the name of a case.

    A case may be called `X_aug01`, which would be the first copy of `X`.
    """
    mark = "_aug"
    names = [case.casefold() for case in cases]
    while any(re.search(rf"{mark}\d+$", name) for name in names):
        mark = f"_{mark}"
    return mark


def write_dataset(
    folder: Path, parts: Mapping[str, Sequence[Slice]], hard_links: bool = False
) -> None:
    """Write the slices of each part and `split.csv` into `folder`.

    Args:
        folder: the data set, which is new.
        parts: part name to its slices.
        hard_links: link the files instead of copying them.

    Raises:
        DataError: if two slices of a part have the same file name, or a file cannot be copied.
    """
    put = _link if hard_links else copy_file
    rows = []
    for part in PARTS:
        for kind in ("images", "masks"):
            (folder / part / kind).mkdir(parents=True)
        for s in parts.get(part, ()):
            image = f"{part}/images/{s.image.name}"
            mask = f"{part}/masks/{s.mask.name}"
            for source, target in ((s.image, folder / image), (s.mask, folder / mask)):
                try:
                    put(source, target)
                except FileExistsError:
                    raise DataError(
                        source,
                        f"another slice of {part} has a file of this name, too. Each file of a "
                        "data set needs its own name.",
                    ) from None
                except OSError as problem:
                    reason = problem.strerror or problem
                    raise DataError(target, f"cannot be written: {reason}.") from None
            rows.append(
                SplitRow(
                    part=part,
                    case=s.case,
                    source=s.source,
                    group=s.group,
                    grouped_by=s.grouped_by,
                    image=image,
                    mask=mask,
                    lung_fraction=s.lung_fraction,
                    sha256=s.sha256,
                    likeness=s.likeness,
                )
            )
    write_rows(folder / "split.csv", SplitRow, rows)


def _link(source: Path, target: Path) -> None:
    """Hard-link a file; copy it if the file system has no hard links."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        copy_file(source, target)
