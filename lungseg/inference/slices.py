"""Slices of any size and pixel shape, predicted in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import InferConfig
from lungseg.imaging.framing import SQUARE, frame_slice, square_size
from lungseg.imaging.pixels import fit_image, resize_image
from lungseg.inference.predictor import Predictor, at_size
from lungseg.system.environment import batches


def predict_slices(
    predictor: Predictor,
    slices: Iterable[NDArray[np.uint8]],
    settings: InferConfig,
    spacing: tuple[float, float] = SQUARE,
    *,
    volume: bool = False,
) -> Iterator[NDArray[np.float32]]:
    """Predict slices, each at its own size.

    Args:
        predictor: the network.
        slices: uint8 `(H, W)` or `(H, W, 3)`, by the network's channels and window.
        settings: slices predicted together, and whether large ones are predicted in tiles.
        spacing: height and width of a pixel in mm.
        volume: whether they are slices of a volume.

    Yields:
        Class probabilities `(H, W, C)` of each slice.
    """
    data = predictor.data
    tile = settings.tile_size or data.image_size
    for batch in batches(slices, settings.batch_size):
        sizes = [(image.shape[0], image.shape[1]) for image in batch]
        squared = [square_size(size, spacing) if data.square_pixels else size for size in sizes]
        is_tiled = [settings.tiles and h >= tile[0] and w >= tile[1] for h, w in squared]
        framings = [frame_slice(size, data, spacing, volume=volume) for size in sizes]
        fitted = [
            fit_image(image, framing)
            for image, framing, tiled in zip(batch, framings, is_tiled, strict=True)
            if not tiled
        ]
        found = iter(predictor.probabilities(fitted) if fitted else ())
        for k, image in enumerate(batch):
            if is_tiled[k]:
                large = resize_image(image, squared[k])
                found_tiled = predictor.tiled(large, tile, settings.tile_overlap)
                yield at_size(found_tiled, sizes[k])
            else:
                yield at_size(framings[k].cut(next(found)), sizes[k])
