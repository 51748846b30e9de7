"""The errors a person is meant to read.

Each carries one short paragraph: what was expected, what was found, in which file, what to do.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process says to the shell; `docs/reference.md` has the same table."""

    DONE = 0
    BUG = 1
    USAGE = 2
    DATA = 3
    SOME_FAILED = 4
    INTERRUPTED = 130


class LungsegError(Exception):
    """A failure with a known cause; the message is shown without a traceback."""

    exit_code = ExitCode.BUG


class UsageError(LungsegError):
    """The command or the config asks for something that cannot be done."""

    exit_code = ExitCode.USAGE


class DataError(LungsegError):
    """A file was found but cannot be used."""

    exit_code = ExitCode.DATA
