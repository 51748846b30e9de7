"""Outputs to which a command adds one file after the other: a run, and the masks of `infer`."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from lungseg.errors import DataError
from lungseg.system.outputs import (
    check_content,
    locked_output,
    refuse_foreign,
    refuse_inputs,
    remove_written,
)
from lungseg.system.written import (
    Written,
    entry_of,
    folders_of,
    is_claimed,
    list_files,
    read_written,
)


class Output:
    """An output folder in which one command writes.

    Attributes:
        folder: the folder, without symbolic links.
        kind: name of the command.
        written: what the program has written there.
    """

    def __init__(self, output: Path, folder: Path, kind: str) -> None:
        """Read what the program has written into the folder."""
        self.output, self.folder, self.kind = output, folder, kind
        self.written = read_written(folder)
        self._before = _states(folder)
        self._take(self.written.claims)  # what a killed process has left
        self.written.claims = set()

    def adopt(self, names: Iterable[str]) -> None:
        """Take files of these names for the program's, if an old version wrote no list of them."""
        if not self.written.kind:
            self._take({name.casefold() for name in names})

    def _take(self, claims: set[str]) -> None:
        for name in list_files(self.folder) if claims else ():
            if is_claimed(name, claims) and not (self.folder / name).is_symlink():
                self.written.files[name] = entry_of(self.folder / name)

    def claim(self, names: Iterable[str]) -> None:
        """Say which files will be written, after the check of `refuse_foreign`."""
        names = list(names)
        self.refuse_foreign(names)
        self.written.kind = self.written.kind or self.kind
        self.written.claims |= {name.casefold() for name in names}
        self.written.save()

    def refuse_foreign(self, names: Iterable[str]) -> None:
        """Check that files may be written; a folder `a/` stands for all in it. Writes nothing.

        Args:
            names: paths in the folder, with `/`.

        Raises:
            UsageError: if one of them is there, and is not the program's or was changed.
        """
        claims = {name.casefold() for name in names}
        # A link in place of a folder leads out of the output, so it is as bad as a file.
        folders = {parent for name in claims for parent in folders_of(name)}
        there = [
            name
            for name in list_files(self.folder)
            if is_claimed(name, claims) or name.casefold() in folders
        ]
        refuse_foreign(self.output, self.written, there)

    def note(self, names: Iterable[str]) -> None:
        """Add finished files to the list, so that a later change to them is recognised."""
        self.written.note(names)

    def clear(self) -> None:
        """Remove what the program wrote."""
        remove_written(self.folder, self.written, keep=())
        for path in self.folder.rglob(".partial.*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.written = Written(self.folder, self.kind, claims=self.written.claims)
        self.written.save()
        self._before = _states(self.folder)

    def finish(self) -> None:
        """Add the claimed files that were written to the list, and end the claims."""
        if not self.written.claims:
            return
        states, files = _states(self.folder), self.written.files
        for name, state in states.items():
            if state != self._before.get(name) and is_claimed(name, self.written.claims):
                files[name] = entry_of(self.folder / name)
        self.written.files = {name: entry for name, entry in files.items() if name in states}
        self.written.claims.clear()
        self.written.save()


def _states(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return size, time and inode of each file."""
    states = {}
    for name in list_files(folder):
        status = (folder / name).lstat()
        states[name] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return states


@contextlib.contextmanager
def open_output(
    output: Path,
    kind: str,
    inputs: Iterable[Path | None] = (),
    *,
    overwrite: bool = False,
    resume: bool = False,
    also: str = "",
) -> Iterator[Output]:
    """Lock a folder, made if needed, and yield it for a command that writes files one by one.

    The arguments are those of `check_output`. What the command writes has to be claimed first.

    Raises:
        UsageError: if the folder may not be written, or another process writes there.
        DataError: if the folder cannot be made.
    """
    refuse_inputs(output, inputs)
    check = partial(check_content, output, kind, overwrite, resume, also)
    with locked_output(output, check) as folder:
        writing = Output(output, folder, kind)
        try:
            yield writing
        except BaseException:
            # The list keeps the claims if it cannot be written, as on a full disk.
            with contextlib.suppress(OSError, DataError):
                writing.finish()
            raise
        writing.finish()
