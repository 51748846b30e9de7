"""Writing prepared slices and data sets."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.dataset.augmentation import Augmenter, draw_seed
from lungseg.dataset.similarity import perceptual_hash
from lungseg.dataset.slices import PARTS, SPLIT_COLUMNS, Slice
from lungseg.imaging.folders import Pair
from lungseg.imaging.masks import encode_mask
from lungseg.imaging.pixels import Labels, write_png
from lungseg.system.tables import write_csv

MANIFEST_COLUMNS = (
    "case", "source", "augmentation", "group", "image", "mask", "source_image", "source_mask",
    "source_height", "source_width", "lung_fraction", "mean_grey", "sha256", "phash",
)  # fmt: skip


@dataclass(frozen=True)
class SliceWriter:
    """Writes prepared slices, and their augmented copies."""

    config: Config
    output: Path
    augmenter: Augmenter | None

    def write(
        self,
        pair: Pair,
        source: str,
        group: str,
        image: NDArray[np.uint8],
        labels: Labels,
        size: tuple[int, int],
    ) -> list[dict[str, object]]:
        """Write a slice and its copies; return their manifest rows."""
        versions = [(source, "", image, labels)]
        for copy in range(self.config.prepare.copies):
            assert self.augmenter is not None
            # The seed hangs on the name, so adding cases does not change the copies of the others.
            name_hash = int.from_bytes(hashlib.sha256(source.encode()).digest()[:4], "big")
            seed = draw_seed(self.config.seed, name_hash, copy)
            moved = self.augmenter(image, labels, seed)
            versions.append((f"{source}_aug{copy + 1:02d}", f"seed {seed}", *moved))
        return [
            {
                **_write_case(
                    pair, case, source, how, pixels, mask, size, self.config, self.output
                ),
                "group": group,
            }
            for case, how, pixels, mask in versions
        ]


def _write_case(
    pair: Pair,
    case: str,
    source: str,
    augmentation: str,
    image: NDArray[np.uint8],
    labels: Labels,
    size: tuple[int, int],
    config: Config,
    output: Path,
) -> dict[str, object]:
    name = f"{case}.png"
    write_png(output / "images" / name, image)
    write_png(output / "masks" / name, encode_mask(labels, config.data.rgb_map))
    return {
        "case": case,
        "source": source,
        "augmentation": augmentation,
        "image": f"images/{name}",
        "mask": f"masks/{name}",
        "source_image": pair.image.name,
        "source_mask": pair.mask.name,
        "source_height": size[0],
        "source_width": size[1],
        "lung_fraction": f"{(labels > 0).mean():.6f}",
        "mean_grey": f"{image.mean():.3f}",
        "sha256": hashlib.sha256(image.tobytes()).hexdigest(),
        "phash": perceptual_hash(image),
    }


def write_dataset(folder: Path, parts: Mapping[str, Sequence[Slice]]) -> None:
    """Write the slices of each part and `split.csv` into `folder`."""
    rows = []
    for part in PARTS:
        for kind in ("images", "masks"):
            (folder / part / kind).mkdir(parents=True)
        for s in parts.get(part, ()):
            image = f"{part}/images/{s.image.name}"
            mask = f"{part}/masks/{s.mask.name}"
            _link(s.image, folder / image)
            _link(s.mask, folder / mask)
            rows.append(
                {
                    "part": part,
                    "case": s.case,
                    "source": s.source,
                    "group": s.group,
                    "image": image,
                    "mask": mask,
                    "lung_fraction": f"{s.lung_fraction:.6f}",
                    "sha256": s.sha256,
                    "phash": s.phash,
                }
            )
    write_csv(folder / "split.csv", SPLIT_COLUMNS, rows)


def _link(source: Path, target: Path) -> None:
    """Hard-link a file; copy it where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
