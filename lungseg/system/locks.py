"""One process at a time writes to an output."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO

from lungseg.errors import DataError, UsageError
from lungseg.system import console

LOCK = ".lungseg.lock"
WINDOWS = sys.platform == "win32"
LOCKED_BYTE = 1 << 30

ATTEMPTS = 5
SECONDS_BETWEEN_ATTEMPTS = 0.05

# What a file system without locks answers, as some network file systems are.
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@contextlib.contextmanager
def hold(lock: Path, output: Path) -> Iterator[None]:
    """Hold a lock while the block runs. It ends with the process, even if that is killed.

    Some network file systems have no locks. There the program says so and goes on.

    Args:
        lock: the lock file, which the end of the block removes; its folder is made if needed.
        output: what is locked, for the messages.

    Raises:
        UsageError: if another process holds the lock; the message gives its process number.
        DataError: if the lock file cannot be written.
    """
    try:
        stream = _take(lock, output)
    except OSError as problem:
        reason = problem.strerror or problem
        raise DataError(output, f"cannot be written: {reason}.") from None
    try:
        with stream:
            try:
                yield
            finally:
                # Removed while it is held, so whoever opened this file finds that it is gone.
                _remove(lock)
    finally:
        if WINDOWS:  # where a file that is open cannot be removed, by us or by anyone else
            _remove(lock)


def _remove(lock: Path) -> None:
    with contextlib.suppress(OSError):
        lock.unlink(missing_ok=True)


def refuse_if_held(lock: Path, output: Path) -> None:
    """Raise `UsageError` if another process holds the lock. Writes nothing."""
    with contextlib.suppress(OSError), lock.open("r", encoding="ascii") as stream:
        _lock(stream, output)


def _take(lock: Path, output: Path) -> IO[str]:
    """Open and lock the file that is at this path then."""
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                stream = stack.enter_context(lock.open("a+", encoding="ascii"))
            except FileNotFoundError:  # the process before removed the folder, too
                continue
            _lock(stream, output)
            # The process before may have removed the file between our opening and locking it. A
            # third process could then lock a new file at this path.
            try:
                current = WINDOWS or os.path.samestat(os.fstat(stream.fileno()), lock.stat())
            except FileNotFoundError:
                continue
            if current:
                stream.truncate(0)
                stream.write(str(os.getpid()))
                stream.flush()
                stack.pop_all()
                return stream


def _lock(stream: IO[str], output: Path) -> None:
    for attempt in range(ATTEMPTS):
        try:
            _lock_at_once(stream)
            return
        except BlockingIOError:
            # Whoever only looks holds it for a moment, and a holder needs one to write its number.
            if attempt < ATTEMPTS - 1:
                time.sleep(SECONDS_BETWEEN_ATTEMPTS)
        except OSError as problem:
            if problem.errno not in NO_LOCKS:
                raise
            _say_that_nothing_is_locked(str(output))
            return
    stream.seek(0)
    holder = stream.read().strip() or "unknown"
    raise UsageError(
        f"{output}: process {holder} is writing here. Wait for it, stop it, or choose another "
        "output."
    )


def _lock_at_once(stream: IO[str]) -> None:
    """Lock an open file.

    Raises:
        BlockingIOError: if another process holds the lock.
    """
    if not WINDOWS:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    # Windows locks bytes, and nobody else can read these: so one behind the holder's number.
    msvcrt, descriptor = import_module("msvcrt"), stream.fileno()
    os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except PermissionError as problem:
        raise BlockingIOError(problem.errno, problem.strerror) from None
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)


@cache
def _say_that_nothing_is_locked(output: str) -> None:
    console.warn(
        f"{output}: this file system has no locks, so take care that no second process writes here"
    )
