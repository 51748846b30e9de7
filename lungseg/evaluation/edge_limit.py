"""The lung Dice that given labels allow to a segmentation whose edges are exact.

Labels drawn by hand, or resized, do not lie exactly where the grey changes. This module keeps each
label, but decides every pixel near its border by the grey: a pixel darker than a share of soft
tissue is lung. A network that finds every lung and every edge can reach about the Dice of these
exact edges against the labels. To score higher, a network must imitate the inaccuracies of the
labels.

Example:
    lungseg prepare --images ct --masks lungs -o data/prepared
    python -m lungseg.evaluation.edge_limit data/prepared
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config, DataConfig
from lungseg.dataset.augmentation import soft_tissue
from lungseg.dataset.reading import read_manifest
from lungseg.errors import ExitCode, LungsegError
from lungseg.evaluation import metrics
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import read_slice
from lungseg.system import console
from lungseg.system.files import existing_folder

# Fractions of the grey of soft tissue.
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)
BAND = 4  # pixels


def with_exact_edges(
    image: NDArray[np.uint8], lung: NDArray[np.bool_], share: float, band: int
) -> NDArray[np.bool_]:
    """Return `lung` `(H, W)` with the pixels near its border decided by their grey.

    Args:
        image: grey values `(H, W)`.
        lung: the label.
        share: a pixel darker than this share of soft tissue's grey is lung.
        band: width of the strip on either side of the border whose pixels are decided again.
    """
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    label = lung.astype(np.uint8)
    inside, reach = cv2.erode(label, disk) > 0, cv2.dilate(label, disk) > 0
    return np.asarray(inside | (reach & (image < share * soft_tissue(image))))


def edge_limits(prepared: Path, data: DataConfig, band: int = BAND) -> dict[str, list[float]]:
    """Score the labels of prepared slices against the same labels with exact edges.

    Args:
        prepared: folder that `prepare` has written.
        data: section `data` of the config it was prepared with.
        band: pixels on either side of a border.

    Returns:
        The Dice at each of `SHARES` per case, and the means over the cases as `mean`.
    """
    rows: dict[str, list[float]] = {}
    for item in read_manifest(prepared):
        image, lung = read_slice(item.image, data), read_labels(item.mask, data) > 0
        rows[item.case] = [
            metrics.dice(metrics.count(lung, with_exact_edges(image, lung, share, band)))
            for share in SHARES
        ]
    rows["mean"] = [float(mean) for mean in np.mean(list(rows.values()), axis=0)]
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table as Markdown; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lungseg.evaluation.edge_limit",
        description="The lung Dice that labels allow to a segmentation whose edges are exact.",
    )
    parser.add_argument("prepared", type=Path, help="folder that lungseg prepare has written")
    parser.add_argument(
        "--band", type=int, default=BAND, help="pixels on either side of a border (default: 4)"
    )
    given = parser.parse_args(arguments)
    if given.band < 1:
        parser.error("--band must be at least 1")
    with console.show():
        try:
            prepared = existing_folder(given.prepared, "prepared slices", "PREPARED")
            rows = edge_limits(prepared, Config().data, given.band)
        except LungsegError as problem:
            console.error(str(problem))
            return int(problem.exit_code)
    lines = ["| slice | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |"]
    lines.append("|---|" + "---|" * len(SHARES))
    for case, dice in rows.items():
        lines.append(f"| {case} | " + " | ".join(f"{value:.4f}" for value in dice) + " |")
    console.emit_text("\n".join(lines))
    return int(ExitCode.DONE)


if __name__ == "__main__":
    sys.exit(main())
