"""One input, from its file to its row in `cases.csv`: here, or on a worker of a Dask cluster."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError, one_of_many
from lungseg.imaging.folders import Input
from lungseg.inference.images import image_batches, predict_images
from lungseg.inference.origins import origin_of
from lungseg.inference.predictor import Predictor
from lungseg.inference.rows import CaseRow, done_row, failed_row
from lungseg.system import console
from lungseg.system.environment import require

# If a worker dies, its case is given to another worker, at most this many times.
RETRIES = 3
CONNECT_S = 20


def predict_volume(predictor: Predictor, item: Input, output: Path, config: Config) -> CaseRow:
    """Segment one CT volume, write its mask and return its row."""
    # Imported here because plain images do not need SimpleITK.
    from lungseg.inference.volumes import segment_file, write_files

    started = time.monotonic()
    try:
        with one_of_many(item.path), ThreadPoolExecutor(1) as thread:
            # Hashing a large file takes time, in which another core can read it.
            hashed = thread.submit(origin_of, item, predictor.sha256, config.infer, predictor.name)
            segmented = segment_file(predictor, item, config)
            origin = hashed.result()  # if it fails, there is no mask without a row
            segmented = write_files(segmented, predictor, item, output, config)
    except DataError as problem:
        return failed_row(item, problem)
    width, height, depth = segmented.labels.GetSize()
    spacing = " x ".join(f"{mm:.3g}" for mm in segmented.labels.GetSpacing()[::-1])
    console.detail(
        f"{item.name}: {depth} slices of {height} x {width} pixels, {spacing} mm, in "
        f"{time.monotonic() - started:.1f} s"
    )
    for remark in segmented.remarks:
        console.detail(f"{item.name}: {remark}")
    return done_row(
        item,
        f"{item.name}{segmented.ct.suffix}",
        (depth, height, width),
        segmented.lung_voxels,
        "; ".join(segmented.remarks),
        origin,
        segmented.measured,
        segmented.quality,
        [flag.code for flag in segmented.flags],
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


def map_cases(
    scheduler: str,
    items: Sequence[Input],
    paths: Sequence[Path],
    output: Path,
    config: Config,
) -> Iterator[CaseRow]:
    """Segment cases on a Dask cluster (the extra `lungseg[dask]`); yield rows in no fixed order.

    The workers read the inputs and write the masks themselves, so they must see the same files
    under the same paths. If a worker dies, nothing is lost: a mask is written whole or not at all,
    and another worker takes the case.

    Raises:
        UsageError: if Dask is not installed, or no scheduler answers at that address.
    """
    distributed = require("distributed", extra="dask", purpose="--scheduler")
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError) as problem:
        raise UsageError(f"--scheduler {scheduler}: no Dask scheduler answers: {problem}") from None
    with client:
        absolute = [
            replace(item, path=item.path.absolute(), files=tuple(f.absolute() for f in item.files))
            for item in items
        ]
        files, folder = [path.resolve() for path in paths], output.resolve()
        futures = {
            client.submit(
                _work, _this_process(), item, files, folder, config, pure=False, retries=RETRIES
            ): item
            for item in absolute
        }
        for future in distributed.as_completed(futures):
            failure = future.exception()
            if failure is None:
                yield future.result()
            else:
                crash = DataError(None, f"{type(failure).__name__}: {failure}")
                yield failed_row(futures[future], crash)


def _this_process() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()


def _work(
    client: tuple[str, int], item: Input, paths: Sequence[Path], output: Path, config: Config
) -> CaseRow:
    """Segment one input on a worker, whose messages go to its own standard error."""
    if _this_process() != client:
        console.show_always()
    return segment_case(item, paths, output, config)
