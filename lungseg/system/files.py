"""Single files and folders: checks of inputs, copies, and files that appear whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import sys
import time
from pathlib import Path

from lungseg.errors import DataError, UsageError

# File names may hold any bytes; Python represents those that are no UTF-8 as surrogates.
UNDECODED = "surrogateescape"
WINDOWS = sys.platform == "win32"
ATTEMPTS = 10


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


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal, as `sha256sum` prints it."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def partial_path(path: Path) -> Path:
    """Return the hidden path, with the same suffix, of a file that is later renamed to `path`."""
    name = path.name
    if len(os.fsencode(name)) > 240:  # with the prefix it would be too long for a file name
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32] + name[-8:]
    return path.with_name(f".partial.{name}")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside `path`, then rename it, so that no reader sees half of it.

    If `path` is a symbolic link, it stays one, and the file that it names is written.
    """
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    partial = partial_path(target)
    try:
        partial.write_bytes(content)
        put_in_place(partial, target)
    except OSError as problem:
        partial.unlink(missing_ok=True)
        what = f"cannot be written: {problem.strerror or problem}."
        if WINDOWS and isinstance(problem, PermissionError):
            what += " If another program has it open, close it there."
        raise DataError(path, what) from None


def put_in_place(partial: Path, path: Path) -> None:
    """Rename a finished file or folder to `path`, so that a power cut leaves the old or the new.

    The content must be on disk before the name is, and the name is on disk only after its folder
    has been synchronised, too.
    """
    files = (
        [each for each in partial.rglob("*") if each.is_file()] if partial.is_dir() else [partial]
    )
    for file in files:
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())
    rename(partial, path)
    sync_folder(path.parent)


def rename(source: Path, target: Path) -> None:
    """Rename a file or a folder; a file at the new path is replaced.

    On Windows this fails while another program has one of them open, and virus scanners open new
    files for a moment. So there it is tried again for a second.
    """
    for attempt in range(ATTEMPTS):
        try:
            source.replace(target)
            return
        except PermissionError:
            if not WINDOWS or attempt == ATTEMPTS - 1:
                raise
            time.sleep(1 / ATTEMPTS)


def sync_folder(folder: Path) -> None:
    """Make the renames in a folder survive a power cut, where the system can do that."""
    # Windows cannot open a folder, and some network file systems cannot synchronise one.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# Linux: let two files share their blocks until one of them is changed (ioctl_ficlone(2)).
FICLONE = 0x40049409


def copy_file(source: Path, target: Path) -> None:
    """Copy a file to a new one. On Btrfs and XFS the copy takes no space until it is changed.

    Raises:
        FileExistsError: if `target` exists. Without this check, a target that is a link would lead
            into another file.
    """
    with source.open("rb") as original, target.open("xb") as copy:
        try:
            import fcntl

            fcntl.ioctl(copy, FICLONE, original.fileno())
        except (ImportError, OSError):
            shutil.copyfileobj(original, copy, 1 << 20)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text, whole or not at all; file names that are no UTF-8 keep their bytes."""
    write_bytes(path, content.encode("utf-8", UNDECODED))
