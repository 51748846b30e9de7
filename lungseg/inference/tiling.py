"""Overlapping tiles that cover a large slice, and the weights that blend their predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def tiles(size: tuple[int, int], tile: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Cover an image with tiles that overlap by at least a quarter of their side.

    Args:
        size: height and width of the image, at least those of a tile.
        tile: height and width of a tile.

    Returns:
        Rows and columns of each tile. All tiles have the same size and lie within the image.
    """

    def starts(length: int, side: int) -> list[int]:
        count = 1 + -(-(length - side) // max(1, side * 3 // 4))
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
