"""The errors that are written for people to read.

Each carries one short paragraph: what was expected, what is there, in which file, what to do.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Exit codes of the command line; `docs/reference.md` has the same table."""

    DONE = 0
    BUG = 1
    USAGE = 2
    DATA = 3
    SOME_FAILED = 4
    INTERRUPTED = 130


class LungsegError(Exception):
    """A failure with a known cause. The command line shows the message without a traceback.

    Examples:
        >>> try:
        ...     lungseg.read_ct("nowhere.mha")
        ... except lungseg.LungsegError as problem:
        ...     print(problem)
        nowhere.mha: cannot be read: No such file or directory.
    """

    exit_code = ExitCode.BUG


class UsageError(LungsegError):
    """The command or the config asks for something impossible.

    Examples:
        >>> lungseg.load_config("nowhere.yaml")
        Traceback (most recent call last):
        lungseg.errors.UsageError: nowhere.yaml: there is no such config file.
    """

    exit_code = ExitCode.USAGE


class DataError(LungsegError):
    """A file or folder exists but cannot be used.

    Attributes:
        path: the file or folder, or text that names several; None if the problem is in no file.
        what: the problem, without the path.

    Examples:
        >>> try:
        ...     lungseg.read_ct("nowhere.mha")
        ... except lungseg.DataError as problem:
        ...     print(problem.path, "|", problem.what)
        nowhere.mha | cannot be read: No such file or directory.
    """

    exit_code = ExitCode.DATA

    def __init__(self, path: Path | str | None, what: str) -> None:
        """Keep the file and the problem apart; `str()` joins them."""
        # Both go to `args`, from which pickle rebuilds the error in another process.
        super().__init__(path, what)
        self.path = path
        self.what = what

    def __str__(self) -> str:
        """Return the message for people: `PATH: WHAT`."""
        return self.what if self.path is None else f"{self.path}: {self.what}"

    def concerns(self, file: Path) -> bool:
        """Whether the problem is in this file, or in one inside this folder."""
        return self.path is not None and Path(self.path).is_relative_to(file)


@contextmanager
def one_of_many(path: Path) -> Iterator[None]:
    """Turn an exception that nobody foresaw into a `DataError`, so that the other inputs go on.

    Args:
        path: the input that is worked on.
    """
    try:
        yield
    except LungsegError:
        raise
    except Exception as problem:
        logging.getLogger("lungseg").debug("%s: %s", path, traceback.format_exc())
        raise DataError(
            path,
            f"this is a bug in lungseg, please report it: {type(problem).__name__}: {problem} "
            "(-v shows where).",
        ) from problem
