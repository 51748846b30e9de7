"""Cases shared among the workers of a Dask cluster (the extra `lungseg[dask]`)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.inference.cases import segment_case
from lungseg.inference.inputs import Input
from lungseg.inference.rows import CaseRow, failed_row
from lungseg.system import console
from lungseg.system.environment import require

# If a worker dies, its case is given to another worker, at most this many times.
RETRIES = 3
CONNECT_S = 20


def _this_process() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()


def _work(
    client: tuple[str, int], item: Input, paths: Sequence[Path], output: Path, config: Config
) -> CaseRow:
    """Segment one input on a worker, whose messages go to its own standard error."""
    if _this_process() != client:
        console.show_always()
    return segment_case(item, paths, output, config)


def map_cases(
    scheduler: str,
    items: Sequence[Input],
    paths: Sequence[Path],
    output: Path,
    config: Config,
) -> Iterator[CaseRow]:
    """Yield the row of each case as soon as the case is finished, in no fixed order.

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
        absolute = [replace(item, path=item.path.resolve()) for item in items]
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
