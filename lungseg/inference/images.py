"""Plain images, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.errors import DataError
from lungseg.imaging.masks import encode_mask
from lungseg.imaging.pixels import read_pixels, resize_image, to_slice, write_png
from lungseg.inference.inputs import Input
from lungseg.inference.predictor import Predictor, at_size, foreground_map, labels_of
from lungseg.inference.rows import Row, failed_row
from lungseg.reporting.overlays import outline
from lungseg.system.environment import batches, ordered_map


@dataclass(frozen=True)
class _Loaded:
    item: Input
    image: NDArray[np.uint8]
    network_input: NDArray[np.uint8]
    remarks: str
    problem: DataError | None = None


def image_batches(
    items: Sequence[Input], predictor: Predictor, config: Config
) -> Iterator[list[_Loaded]]:
    """Yield the images in batches, read by threads; an unreadable one carries its problem."""
    nothing = np.zeros((0, 0), dtype=np.uint8)

    def load(item: Input) -> _Loaded:
        try:
            image, findings = to_slice(read_pixels(item.path), predictor.data)
        except DataError as problem:
            return _Loaded(item, nothing, nothing, "", problem)
        remarks = "; ".join(f.detail for f in findings)
        return _Loaded(item, image, resize_image(image, predictor.data.image_size), remarks)

    return batches(ordered_map(load, items), config.infer.batch_size)


def _probabilities(
    predictor: Predictor, batch: Sequence[_Loaded], tiles: bool
) -> dict[Path, NDArray[np.float32]]:
    """Predict images, each at its own size."""
    sizes = {one.item.path: (one.image.shape[0], one.image.shape[1]) for one in batch}
    height, width = predictor.data.image_size
    large = [
        one
        for one in batch
        if tiles and one.image.shape[0] >= height and one.image.shape[1] >= width
    ]
    found = {one.item.path: predictor.tiled(one.image) for one in large}
    rest = [one for one in batch if one.item.path not in found]
    if rest:
        squares = predictor.probabilities([one.network_input for one in rest])
        for one, probabilities in zip(rest, squares, strict=True):
            found[one.item.path] = at_size(probabilities, sizes[one.item.path])
    return found


def predict_images(
    predictor: Predictor, batch: Sequence[_Loaded], output: Path, config: Config
) -> list[Row]:
    """Segment a batch of plain images, write their masks and return their rows."""
    settings = config.infer
    good = [loaded for loaded in batch if not loaded.problem]
    probabilities = _probabilities(predictor, good, settings.tiles)
    rows: list[Row] = []
    for loaded in batch:
        if loaded.problem:
            rows.append(failed_row(loaded.item, loaded.problem))
            continue
        mask = labels_of(probabilities[loaded.item.path])
        name = f"{loaded.item.name}.png"
        write_png(output / name, encode_mask(mask, predictor.data.rgb_map))
        if settings.probabilities:
            (output / "probabilities").mkdir(exist_ok=True)
            certainty = foreground_map(probabilities[loaded.item.path])
            write_png(output / "probabilities" / name, certainty)
        if settings.overlay:
            write_png(output / "overlays" / name, outline(loaded.image, mask))
        lung = int(cv2.countNonZero(mask))
        detail = "; ".join(filter(None, [loaded.remarks, "" if lung else "no lung was found"]))
        rows.append(
            {
                "case": loaded.item.name,
                "input": loaded.item.path.name,
                "status": "done",
                "mask": name,
                "height": mask.shape[0],
                "width": mask.shape[1],
                "slices": 1,
                "lung_pixels": lung,
                "lung_fraction": f"{lung / mask.size:.6f}",
                "detail": detail,
            }
        )
    return rows
