"""One input, from file to row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from lungseg.config.schema import Config
from lungseg.errors import DataError
from lungseg.inference.images import image_batches, predict_images
from lungseg.inference.inputs import Input
from lungseg.inference.predictor import Predictor
from lungseg.inference.rows import Row, failed_row


def predict_volume(predictor: Predictor, item: Input, output: Path, config: Config) -> Row:
    """Segment one CT, write its mask and return its row."""
    # Imported here: images alone have no need of SimpleITK.
    from lungseg.inference.volumes import segment_file

    try:
        done = segment_file(predictor, item.path, item.name, output, config)
    except DataError as problem:
        return failed_row(item, problem)
    width, height, depth = done.labels.GetSize()
    lung = round(float(done.measures["lung_voxels"]))
    return {
        "case": item.name,
        "input": item.path.name,
        "status": "done",
        "mask": f"{item.name}{done.ct.suffix}",
        "height": height,
        "width": width,
        "slices": depth,
        "lung_pixels": lung,
        "lung_fraction": f"{lung / (width * height * depth):.6f}",
        "detail": "; ".join(done.remarks),
        **{key: value for key, value in done.measures.items() if key != "lung_voxels"},
    }


def segment_case(item: Input, paths: Sequence[Path], output: Path, config: Config) -> Row:
    """Segment one input, by itself: what a worker of a cluster does. Returns its row."""
    settings = config.infer
    predictor = _loaded(tuple(paths), settings.threads, settings.device, settings.flips)
    if item.is_volume:
        return predict_volume(predictor, item, output, config)
    (batch,) = image_batches([item], predictor, config)
    (row,) = predict_images(predictor, batch, output, config)
    return row


@lru_cache(maxsize=1)
def _loaded(paths: tuple[Path, ...], threads: int, device: str, flips: bool) -> Predictor:
    """Keep the networks between the cases of one worker."""
    return Predictor(paths, threads, device, flips)
