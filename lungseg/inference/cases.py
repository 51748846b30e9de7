"""One input, from its file to its row in `cases.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from lungseg.config.schema import Config
from lungseg.errors import DataError
from lungseg.inference.images import image_batches, predict_images
from lungseg.inference.inputs import Input
from lungseg.inference.predictor import Predictor
from lungseg.inference.rows import CaseRow, done_row, failed_row


def predict_volume(predictor: Predictor, item: Input, output: Path, config: Config) -> CaseRow:
    """Segment one CT volume, write its mask and return its row."""
    # Imported here because plain images do not need SimpleITK.
    from lungseg.inference.volumes import segment_file

    try:
        segmented = segment_file(predictor, item.path, item.name, output, config)
    except DataError as problem:
        return failed_row(item, problem)
    width, height, depth = segmented.labels.GetSize()
    return done_row(
        item,
        f"{item.name}{segmented.ct.suffix}",
        (depth, height, width),
        segmented.lung_voxels,
        "; ".join(segmented.remarks),
        segmented.measured,
    )


def segment_case(item: Input, paths: Sequence[Path], output: Path, config: Config) -> CaseRow:
    """Segment one input by itself, as a worker of a cluster does, and return its row."""
    settings = config.infer
    predictor = _loaded(tuple(paths), settings.threads, settings.device, settings.flips)
    if item.is_volume:
        return predict_volume(predictor, item, output, config)
    (batch,) = image_batches([item], predictor, config)
    (row,) = predict_images(predictor, batch, output, config)
    return row


@lru_cache(maxsize=1)
def _loaded(paths: tuple[Path, ...], threads: int, device: str, flips: bool) -> Predictor:
    """Load the networks once for all cases of a worker."""
    return Predictor(paths, threads, device, flips)
