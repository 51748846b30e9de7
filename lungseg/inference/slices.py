"""Slices of any size and pixel shape, predicted in batches, several batches at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import InferConfig
from lungseg.imaging.framing import SQUARE, frame_slice, square_size
from lungseg.imaging.pixels import fit_image, resize_image
from lungseg.inference.predictor import Predictor, at_size
from lungseg.system.environment import batches, ordered_map


def predict_slices(
    predictor: Predictor,
    slices: Iterable[NDArray[np.uint8]],
    settings: InferConfig,
    spacing: tuple[float, float] = SQUARE,
    *,
    volume: bool = False,
) -> Iterator[NDArray[np.float32]]:
    """Predict slices, each at its own size, on every core.

    Args:
        predictor: the network.
        slices: uint8 `(H, W)` or `(H, W, 3)`, by the network's channels and window.
        settings: slices predicted together, and whether large ones are predicted in tiles.
        spacing: height and width of a pixel in mm.
        volume: whether they are slices of a volume.

    Yields:
        Class probabilities `(H, W, C)` of each slice, in the order of the slices.
    """

    def predict(batch: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        return predict_batch(predictor, batch, settings, spacing, volume=volume)

    parts = batches(slices, per_worker(predictor, settings))
    for found in ordered_map(predict, parts, predictor.workers):
        yield from found


def per_worker(predictor: Predictor, settings: InferConfig) -> int:
    """Return how many slices a worker predicts together, so that all have a batch in memory."""
    return max(1, settings.batch_size // predictor.workers)


def predict_batch(
    predictor: Predictor,
    batch: Sequence[NDArray[np.uint8]],
    settings: InferConfig,
    spacing: tuple[float, float] = SQUARE,
    *,
    volume: bool,
) -> list[NDArray[np.float32]]:
    """Predict a few slices together, as `predict_slices` does with many."""
    data = predictor.data
    tile = settings.tile_size or data.image_size
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

    def predict_tiled(k: int) -> NDArray[np.float32]:
        large = resize_image(batch[k], squared[k])
        return predictor.tiled(large, tile, settings.tile_overlap)

    return [
        at_size(predict_tiled(k) if is_tiled[k] else framings[k].cut(next(found)), sizes[k])
        for k in range(len(batch))
    ]
