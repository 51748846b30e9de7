"""What Windows does otherwise, on the system that the tests run on."""

import errno
import os
import sys
import types

import pytest

from lungseg.system import files, locks

# A process with these lines first locks as on Windows.
AS_ON_WINDOWS = """
import pytest
from tests.support.windows import lock_as_windows
lock_as_windows(pytest.MonkeyPatch())
"""


def lock_as_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lock bytes by a module `msvcrt`, and leave no module `fcntl` to import.

    As in the original, one byte is locked from where the descriptor is, and another process has a
    `PermissionError` at once. Locks of Linux that belong to an open file act alike.
    """
    import fcntl

    def locking(descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) > os.fstat(descriptor).st_size
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    module = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
    monkeypatch.setitem(sys.modules, "msvcrt", module)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setattr(locks, "WINDOWS", True)
    monkeypatch.setattr(files, "WINDOWS", True)
