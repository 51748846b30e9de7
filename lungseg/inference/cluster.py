"""Cases spread over the workers of a Dask cluster (the extra `lungseg[dask]`)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lungseg.config.schema import Config
from lungseg.errors import UsageError
from lungseg.inference.cases import segment_case
from lungseg.inference.inputs import Input
from lungseg.inference.rows import Row
from lungseg.system import console

# A case whose worker died is given to another one so many times.
RETRIES = 3


CONNECT_S = 20


def _this_process() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()


def _work(
    client: tuple[str, int], item: Input, paths: Sequence[Path], output: Path, config: Config
) -> Row:
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
) -> Iterator[Row]:
    """Yield the row of each case as it is finished, in whatever order.

    The workers read the inputs and write the masks themselves, so they must see the same files
    under the same paths. A worker that dies loses nothing: masks appear whole, and its case goes to
    another worker.

    Raises:
        UsageError: where Dask is not installed, or no scheduler answers at that address.
    """
    try:
        import distributed
    except ImportError:
        raise UsageError('--scheduler needs Dask: pip install "lungseg[dask]".') from None
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError) as problem:
        raise UsageError(f"--scheduler {scheduler}: no Dask scheduler answers: {problem}") from None
    with client:
        absolute = [replace(item, path=item.path.resolve()) for item in items]
        futures = {
            client.submit(
                _work, _this_process(), item, list(paths), output, config,
                pure=False, retries=RETRIES,
            ): item
            for item in absolute
        }  # fmt: skip
        for future in distributed.as_completed(futures):
            item = futures[future]
            failure = future.exception()
            if failure is None:
                yield future.result()
            else:
                detail = f"{type(failure).__name__}: {failure}"
                yield {
                    "case": item.name,
                    "input": item.path.name,
                    "status": "failed",
                    "detail": detail,
                }
