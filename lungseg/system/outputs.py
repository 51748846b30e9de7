"""Outputs: nothing that the program did not write is lost, and one process writes at a time.

An output is refused, whatever `--overwrite` or `--resume` say, if it is an input or holds one, or
if something in it would be lost that the program did not write, or that was changed since.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from lungseg.errors import DataError, UsageError
from lungseg.system.files import rename, sync_folder
from lungseg.system.locks import LOCK, hold, refuse_if_held
from lungseg.system.wording import some_of
from lungseg.system.written import (
    LIST,
    Written,
    entry_of,
    folders_of,
    is_claimed,
    list_files,
    list_folders,
    read_written,
)

# A new output is made in the first folder. Under the second name it is complete.
STAGED, READY = ".lungseg.partial", ".lungseg.ready"
MOST_NAMED = 5


def refuse_inputs(output: Path, inputs: Iterable[Path | None]) -> None:
    """Raise `UsageError` if an output is an input, or a folder that holds one.

    Files are compared by what the system says they are. So links, relative paths, and names that
    differ in capital letters are recognised. A new folder inside an input is allowed.

    Args:
        output: file or folder to write.
        inputs: files and folders that are read; None is ignored.
    """
    try:
        target = output.stat()
    except OSError:
        return  # what does not exist is no input
    seen: set[Path] = set()
    for given in inputs:
        if given is None:
            continue
        for path in (Path(os.path.abspath(given)), Path(os.path.realpath(given))):
            for each in (path, *path.parents):
                if each in seen:
                    break  # and so were its parents
                seen.add(each)
                with contextlib.suppress(OSError):
                    if os.path.samestat(each.stat(), target):
                        raise UsageError(
                            f"{output}: the output would replace its own input {given}. Choose "
                            "another."
                        )


def check_output(
    output: Path,
    kind: str,
    inputs: Iterable[Path | None] = (),
    *,
    overwrite: bool = False,
    resume: bool = False,
    also: str = "",
) -> None:
    """Check that a command may write to a folder. Writes nothing.

    Args:
        output: the folder.
        kind: name of the command.
        inputs: what the command reads.
        overwrite: whether what the command wrote there before may be replaced.
        resume: whether files are added to the folder. They are checked by `Output.claim`.
        also: what the message offers besides `--overwrite`.

    Raises:
        UsageError: if it may not.
    """
    refuse_inputs(output, inputs)
    refuse_if_held(output / LOCK, output)
    check_content(output, kind, overwrite, resume, also)


def check_content(output: Path, kind: str, overwrite: bool, resume: bool, also: str) -> None:
    """Check what a folder holds, as a part of `check_output`."""
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: expected a folder to write to, found a file.")
    if not output.exists():
        return
    written = read_written(output)
    names = list(list_files(output))
    if names and written.kind != kind and (written.kind or not resume):
        origin = f"is the output of lungseg {written.kind}" if written.kind else "is not empty"
        raise UsageError(
            f"{output}: the folder {origin}, and lungseg {kind} changes only its own output: "
            f"{_some(names)}. Choose another."
        )
    if resume:
        return
    if names and not overwrite:
        raise UsageError(
            f"{output}: the output folder exists and is not empty. Choose another, "
            f"{also}or replace it with --overwrite (overwrite=True)."
        )
    refuse_foreign(output, written, names)


def refuse_foreign(output: Path, written: Written, names: Iterable[str]) -> None:
    """Raise `UsageError` if one of the files is not the program's."""
    changed = [name for name in names if not written.owns(name)]
    if changed:
        known = all(name in written.files for name in changed)
        reason = "were changed since lungseg wrote them" if known else "were not written by lungseg"
        raise UsageError(
            f"{output}: these files {reason}, and would be lost: {_some(changed)}. Choose another "
            "output, or move them away."
        )


def _some(names: list[str]) -> str:
    return some_of(sorted(names), MOST_NAMED)


@contextlib.contextmanager
def staged_output(
    output: Path, kind: str, inputs: Iterable[Path | None] = (), *, overwrite: bool = False
) -> Iterator[Path]:
    """Yield an empty folder whose content is put into `output` when the block ends well.

    If the block is interrupted, `output` stays as it was. The new folder lies in `output`, which
    may therefore be a symbolic link or a mount point.

    Args:
        output: the folder to write.
        kind: name of the command.
        inputs: what is read in the block.
        overwrite: replace what the command wrote there before.

    Raises:
        UsageError: if the folder may not be written, or another process writes there.
        DataError: if the folder cannot be made.
    """
    refuse_inputs(output, inputs)
    check = partial(check_content, output, kind, overwrite, False, "")
    with locked_output(output, check) as folder:
        staged = folder / STAGED
        try:
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir()
        except OSError as problem:
            raise DataError(output, f"cannot be made: {problem.strerror or problem}.") from None
        try:
            yield staged
            _complete(staged, output, kind)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        _move_in(folder)


@contextlib.contextmanager
def locked_output(output: Path, check: Callable[[], None]) -> Iterator[Path]:
    """Check an output, lock it, check it again, and yield the folder without symbolic links.

    A folder that was made here is removed again if it stays empty.
    """
    folder = Path(os.path.realpath(output))
    refuse_if_held(folder / LOCK, output)
    if (folder / READY).is_dir():
        with hold(folder / LOCK, output):
            _move_in(folder)  # the process before was killed at this point
    check()
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        with hold(folder / LOCK, output):
            check()
            yield folder
    finally:
        for each in made:
            with contextlib.suppress(OSError):
                each.rmdir()


def _complete(staged: Path, output: Path, kind: str) -> None:
    """Write the list of a new output, and rename the folder in which it was made."""
    new = Written(staged, kind, folders=set(list_folders(staged)))
    new.files = {name: entry_of(staged / name) for name in list_files(staged)}
    new.save()
    # While the new output was made, someone may have put a file in its way.
    folder, claims = staged.parent, {name.casefold() for name in new.files}
    there = [name for name in list_files(folder) if is_claimed(name, claims)]
    refuse_foreign(output, read_written(folder), there)
    rename(staged, folder / READY)
    sync_folder(folder)


def _move_in(folder: Path) -> None:
    """Move a complete new output into its place, and remove what it replaces.

    It can be repeated if it was interrupted. Tables come last, so whoever finds one finds the
    files that it lists.
    """
    ready = folder / READY
    old, new = read_written(folder), read_written(ready)
    if not new.kind:  # it was stopped after its last move
        shutil.rmtree(ready)
        return
    for name in sorted(new.folders):
        (folder / name).mkdir(exist_ok=True)
    for name in sorted(new.files, key=lambda name: ("/" not in name, name)):
        if (ready / name).exists():
            rename(ready / name, folder / name)
    remove_written(folder, old, keep=(*new.files, *new.folders))
    for name in ("", *new.folders):
        sync_folder(folder / name)
    rename(ready / LIST, folder / LIST)
    shutil.rmtree(ready)


def remove_written(folder: Path, written: Written, keep: Iterable[str]) -> None:
    """Remove the program's files that nobody has changed, and the folders that become empty."""
    kept = set(keep)
    folders = set(written.folders)
    for name in list(list_files(folder)):
        if name not in kept and written.owns(name):
            (folder / name).unlink()
            folders.update(folders_of(name))
    for name in sorted(folders - kept, reverse=True):
        with contextlib.suppress(OSError):  # not empty: someone else's
            (folder / name).rmdir()
