"""An output that is one file, at a path that a person chose.

A hidden file beside it, `.lungseg.NAME.json`, has its size, time and hash as it was written. So
`--overwrite` replaces no file of anyone else, and none that was changed since.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lungseg.errors import UsageError
from lungseg.system.files import write_text
from lungseg.system.locks import hold
from lungseg.system.outputs import refuse_inputs
from lungseg.system.written import Entry, entry_of


def check_file(output: Path, inputs: Iterable[Path | None], *, overwrite: bool = False) -> None:
    """Check that a file may be written. Writes nothing.

    Args:
        output: the file.
        inputs: what is read.
        overwrite: whether a file that the program wrote, and nobody has changed, may be replaced.

    Raises:
        UsageError: if it may not.
    """
    refuse_inputs(output, inputs)
    if not output.exists():
        return
    if not _is_ours(Path(os.path.realpath(output))):
        raise UsageError(
            f"{output}: the file exists, and lungseg did not write it, or it was changed since. "
            "Choose another."
        )
    if not overwrite:
        raise UsageError(
            f"{output}: the file exists. Choose another, or replace it with --overwrite "
            "(overwrite=True)."
        )


@contextlib.contextmanager
def open_file(
    output: Path, inputs: Iterable[Path | None], *, overwrite: bool = False
) -> Iterator[Path]:
    """Lock an output file, and yield its path without symbolic links for the block to write it.

    A folder that was made here is removed again if it stays empty. The arguments are those of
    `check_file`.

    Raises:
        UsageError: if the file may not be written, or another process writes it.
        DataError: if the folder or the record of the file cannot be written.
    """
    inputs = list(inputs)
    check_file(output, inputs, overwrite=overwrite)
    target = Path(os.path.realpath(output))
    made = [folder for folder in target.parents if not folder.exists()]
    try:
        with hold(target.with_name(f".lungseg.{target.name}.lock"), output):
            check_file(output, inputs, overwrite=overwrite)
            yield target
            if target.is_file():
                write_text(record_of(target), json.dumps(vars(entry_of(target))))
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def record_of(target: Path) -> Path:
    """Return the hidden file that says how an output file was written."""
    return target.with_name(f".lungseg.{target.name}.json")


def _is_ours(target: Path) -> bool:
    """Whether a file is as the program wrote it."""
    try:
        known = Entry(**json.loads(record_of(target).read_text(encoding="ascii")))
        return target.is_file() and known.sha256 == entry_of(target).sha256
    except (OSError, ValueError, TypeError):
        return False
