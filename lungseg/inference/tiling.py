"""Overlapping tiles that cover a large slice, and the weights that blend their predictions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# Of a tile's side, by which tiles overlap at least unless the config says otherwise.
OVERLAP = 0.25


def tiles(
    size: tuple[int, int], tile: tuple[int, int], overlap: float = OVERLAP
) -> list[tuple[slice, slice]]:
    """Cover an image with overlapping tiles.

    Args:
        size: height and width of the image, at least those of a tile.
        tile: height and width of a tile.
        overlap: tiles overlap by at least this share of their side, 0 to below 1.

    Returns:
        Rows and columns of each tile. All tiles have the same size and lie within the image.
    """

    def starts(length: int, side: int) -> list[int]:
        # Rounding first, because 1 - 0.9 is a little less than 0.1.
        step = max(1, math.floor(round(side * (1 - overlap), 6)))
        count = 1 + -(-(length - side) // step)
        return [int(s) for s in np.linspace(0, length - side, count).round()]

    return [
        (slice(top, top + tile[0]), slice(left, left + tile[1]))
        for top in starts(size[0], tile[0])
        for left in starts(size[1], tile[1])
    ]


def gaussian_weights(size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the weights `(H, W)` for blending overlapping tiles; the middle counts most."""
    lines = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) for n in size]
    # Never zero: a pixel that only the corner of a tile covers is divided by this weight.
    return np.asarray(np.maximum(lines[0][:, None] * lines[1], 1e-6), dtype=np.float32)
