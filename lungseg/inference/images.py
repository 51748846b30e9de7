"""Plain images, segmented in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.errors import DataError, one_of_many
from lungseg.imaging.folders import Input
from lungseg.imaging.framing import SQUARE
from lungseg.imaging.masks import encode_mask
from lungseg.imaging.pixels import labels_of, read_pixels, to_slice, write_png
from lungseg.inference.certainty import Certainty
from lungseg.inference.flags import uncertain
from lungseg.inference.gallery import draw_image, in_full, keep_pictures
from lungseg.inference.origins import origin_of
from lungseg.inference.predictor import Predictor, foreground_map
from lungseg.inference.rows import CaseRow, Quality, done_row, failed_row
from lungseg.inference.slices import predict_slices
from lungseg.reporting.overlays import outline
from lungseg.system.environment import batches, ordered_map


@dataclass(frozen=True)
class LoadedImage:
    """An image that was read, or the reason why it could not be.

    Attributes:
        item: the input.
        image: the slice at its own size, uint8 `(H, W)` or `(H, W, 3)`; empty if unreadable.
        remarks: what was assumed or repaired in reading.
        problem: why it could not be read.
    """

    item: Input
    image: NDArray[np.uint8]
    remarks: str = ""
    problem: DataError | None = None


def image_batches(
    items: Sequence[Input], predictor: Predictor, config: Config
) -> Iterator[list[LoadedImage]]:
    """Read images in threads and yield them in batches; unreadable images have a `problem`."""
    nothing = np.zeros((0, 0), dtype=np.uint8)

    def load(item: Input) -> LoadedImage:
        try:
            with one_of_many(item.path):
                image, findings = to_slice(read_pixels(item.path), predictor.data)
        except DataError as problem:
            return LoadedImage(item, nothing, problem=problem)
        return LoadedImage(item, image, "; ".join(each.detail for each in findings))

    return batches(ordered_map(load, items), config.infer.batch_size)


def predict_images(
    predictor: Predictor, batch: Sequence[LoadedImage], output: Path, config: Config
) -> list[CaseRow]:
    """Segment a batch of plain images, write their masks and return their rows."""
    readable = [loaded for loaded in batch if not loaded.problem]
    spacing = config.data.pixel_spacing or SQUARE
    images = [loaded.image for loaded in readable]
    found = predict_slices(predictor, images, config.infer, spacing)
    return [
        failed_row(loaded.item, loaded.problem)
        if loaded.problem
        else _write_mask(loaded, next(found), predictor, output, config)
        for loaded in batch
    ]


def _write_mask(
    loaded: LoadedImage,
    probabilities: NDArray[np.float32],
    predictor: Predictor,
    output: Path,
    config: Config,
) -> CaseRow:
    """Write the mask of one image, and what else the config asks for; return its row."""
    settings = config.infer
    mask = labels_of(probabilities)
    name = f"{loaded.item.name}{loaded.item.suffix or '.png'}"
    write_png(output / name, encode_mask(mask, predictor.data.rgb_map))
    if settings.probabilities:
        folder = output / "probabilities"
        folder.mkdir(exist_ok=True)
        write_png(folder / name, foreground_map(probabilities))
    if settings.overlay:
        write_png(output / "overlays" / name, outline(loaded.image, mask))
    lung_pixels = int(cv2.countNonZero(mask))
    certainty = Certainty()
    certainty.add(probabilities, mask)
    flags = uncertain(certainty.value, predictor.usual_certainty, image=True)
    if settings.gallery != "none":
        full, classes = in_full(settings, [code for code, _ in flags]), list(predictor.data.rgb_map)
        pictures = draw_image(loaded.image, mask, classes, config.data.pixel_spacing, full=full)
        keep_pictures(output, loaded.item.name, name, pictures, full=full)
    remarks = [loaded.remarks, "" if lung_pixels else "no lung was found"]
    remarks += [detail for _, detail in flags]
    return done_row(
        loaded.item,
        name,
        (1, loaded.image.shape[0], loaded.image.shape[1]),
        lung_pixels,
        "; ".join(filter(None, remarks)),
        origin_of(loaded.item, predictor.sha256, settings, predictor.name),
        quality=None if certainty.value is None else Quality(certainty.value),
        flags=[code for code, _ in flags],
    )
