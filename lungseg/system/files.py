"""Files and folders: checks of inputs; output that appears whole, and by one process at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from lungseg.errors import DataError, UsageError

# File names may hold any bytes; Python represents those that are no UTF-8 as surrogates.
UNDECODED = "surrogateescape"


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key that puts `slice2` before `slice10`."""
    parts = re.split(r"(\d+)", text)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def existing_folder(path: str | Path, what: str, source: str = "") -> Path:
    """Return `path` as a `Path`; raise `UsageError` if it is no folder.

    Args:
        path: the folder.
        what: what it holds, for the error.
        source: the option or config key that it comes from, for the error.
    """
    path = Path(path)
    given = f" ({source})" if source else ""
    if not path.exists():
        raise UsageError(f"{path}: there is no such folder of {what}{given}.")
    if not path.is_dir():
        raise UsageError(f"{path}: expected a folder of {what}{given}, found a file.")
    return path


def require_regular(path: Path) -> int:
    """Return a file's size in bytes.

    Raises:
        DataError: if there is no such file, or it is a pipe or a device: reading may never end.
    """
    try:
        status = path.stat()
    except OSError as problem:
        raise DataError(path, f"cannot be read: {problem.strerror or problem}.") from None
    if not stat.S_ISREG(status.st_mode):
        raise DataError(path, "expected a file, found a folder, a pipe or a device.")
    return status.st_size


def partial_path(path: Path) -> Path:
    """Return the hidden path, with the same suffix, of a file that is later renamed to `path`."""
    name = path.name
    if len(os.fsencode(name)) > 240:  # with the prefix it would be too long for a file name
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32] + name[-8:]
    return path.with_name(f".partial.{name}")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside `path`, then rename it, so that no reader sees half of it."""
    partial = partial_path(path)
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as problem:
        partial.unlink(missing_ok=True)
        raise DataError(path, f"cannot be written: {problem.strerror or problem}.") from None


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text, whole or not at all; file names that are no UTF-8 keep their bytes."""
    write_bytes(path, content.encode("utf-8", UNDECODED))


@contextlib.contextmanager
def staged_folder(
    output: Path, overwrite: bool, inputs: Iterable[Path | None] = ()
) -> Iterator[Path]:
    """Yield an empty folder beside `output` that takes its place when the block ends well.

    If the block is interrupted, `output` stays as it was. The staged folder is then removed at
    once, or by the next run if the process was killed.

    Args:
        output: the folder to make.
        overwrite: replace an `output` that holds something.
        inputs: folders that are read in the block, so they must not be replaced.

    Raises:
        UsageError: if `output` is a file, holds something while `overwrite` is not set, or holds
            one of the `inputs` or the current folder.
        DataError: if the folder cannot be made.
    """
    here, target = Path.cwd(), output.resolve()
    if target == here or target in here.parents:
        raise UsageError(
            f"{output}: this is the current folder, or holds it, and cannot be replaced. Name a "
            "folder in it."
        )
    for given in inputs:
        if given is None or not given.exists():
            continue
        if output.resolve() == given.resolve() or output.resolve() in given.resolve().parents:
            raise UsageError(
                f"{output}: the output would replace its own input {given}. Choose another."
            )
    staged, old = _beside(output, "partial"), _beside(output, "old")
    if old.is_dir() and not output.exists():
        old.rename(output)  # killed between the two renames of `_take_place`
    refuse_nonempty(output, overwrite)
    try:
        shutil.rmtree(staged, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        staged.mkdir(parents=True)
    except OSError as problem:
        raise DataError(output, f"cannot be made: {problem.strerror or problem}.") from None
    try:
        yield staged
        _take_place(staged, output)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def refuse_nonempty(output: Path, overwrite: bool, also: str = "") -> None:
    """Raise `UsageError` if `output` is a file, or a folder that holds something.

    Args:
        output: the folder to write to.
        overwrite: whether the folder may hold something.
        also: what the message offers besides replacing the folder.
    """
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: expected a folder to write to, found a file.")
    if not overwrite and output.is_dir() and any(output.iterdir()):
        raise UsageError(
            f"{output}: the output folder exists and is not empty. Choose another, "
            f"{also}or replace it with --overwrite (overwrite=True)."
        )


def _beside(output: Path, what: str) -> Path:
    return output.with_name(f".{output.name}.{what}")


def _take_place(staged: Path, output: Path) -> None:
    if not output.exists():
        staged.rename(output)
        return
    old = _beside(output, "old")
    output.rename(old)
    staged.rename(output)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Lock a folder for this process.

    The lock file lies beside the folder, so the folder need not exist, and is released when the
    process ends. On Windows nothing is locked, because it has no such lock.

    Raises:
        UsageError: if another process holds the lock; the message gives its process number.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.parent / f".{folder.name}.lock"
    with path.open("a+", encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise UsageError(
                f"{folder}: process {holder} is writing here. Wait for it, stop it, or choose "
                "another folder."
            ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
