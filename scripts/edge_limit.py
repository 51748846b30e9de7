"""What lung Dice labels allow to a segmentation whose edges are exact.

Labels drawn by hand, or resized, do not lie where the grey changes. So the labels themselves are
taken, but within a few pixels of their border each pixel is decided by its grey: darker than a
share of soft tissue is lung. The Dice of that against the labels is about what a network can reach
that finds every lung and every edge; only by learning the labels' habits can it do better.

Example:
    lungseg prepare --images slices/images --masks slices/masks -o prepared
    python scripts/edge_limit.py prepared
"""

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.dataset.augmentation import soft_tissue
from lungseg.dataset.reading import read_manifest
from lungseg.evaluation import metrics
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import read_slice

SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)


def with_exact_edges(
    image: NDArray[np.uint8], lung: NDArray[np.bool_], share: float, band: int
) -> NDArray[np.bool_]:
    """Return `lung` `(H, W)`, decided anew within `band` pixels of its border.

    Args:
        image: grey values `(H, W)`.
        lung: the label.
        share: of the grey of soft tissue, below which a pixel is lung.
        band: pixels on either side of the border.
    """
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    label = lung.astype(np.uint8)
    inside, reach = cv2.erode(label, disk) > 0, cv2.dilate(label, disk) > 0
    return np.asarray(inside | (reach & (image < share * soft_tissue(image))))


def main(
    prepared: Annotated[Path, typer.Argument(help="Folder that lungseg prepare has written.")],
    band: Annotated[int, typer.Option(min=1, help="Pixels on either side of a border.")] = 4,
) -> None:
    """Print the Dice of each slice, and the mean, at several shares, as Markdown."""
    data = Config().data
    rows = {}
    for one in read_manifest(prepared):
        image, lung = read_slice(one.image, data), read_labels(one.mask, data) > 0
        rows[one.case] = [
            metrics.dice(metrics.count(lung, with_exact_edges(image, lung, share, band)))
            for share in SHARES
        ]
    rows["mean"] = list(np.mean(list(rows.values()), axis=0))
    typer.echo("| slice | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |")
    typer.echo("|---|" + "---|" * len(SHARES))
    for case, dice in rows.items():
        typer.echo(f"| {case} | " + " | ".join(f"{value:.4f}" for value in dice) + " |")


if __name__ == "__main__":
    typer.run(main)
