"""Locks, renames and messages on Windows. It is imitated: no test has run there."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lungseg.errors import DataError, UsageError
from lungseg.system import files
from lungseg.system.files import rename, write_text
from lungseg.system.interrupted import command_that_goes_on
from lungseg.system.locks import hold, refuse_if_held
from tests.support.places import REPOSITORY
from tests.support.windows import AS_ON_WINDOWS, lock_as_windows

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="imitates Windows")

HOLD = """
import sys
import time
from pathlib import Path
from lungseg.system.locks import hold
with hold(Path("lock"), Path("out")):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_names_its_holder_and_ends_with_it_even_if_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lock_as_windows(monkeypatch)
    first = subprocess.Popen(
        [sys.executable, "-c", AS_ON_WINDOWS + HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        said = f"out: process {first.pid} is writing here"
        with pytest.raises(UsageError, match=said):
            refuse_if_held(Path("lock"), Path("out"))
        with pytest.raises(UsageError, match=said):
            _take()
    finally:
        first.kill()
        first.communicate()
    assert Path("lock").read_text() == str(first.pid)  # a killed process leaves its file
    _take()
    assert not Path("lock").exists()


def _take() -> None:
    with hold(Path("lock"), Path("out")):
        assert Path("lock").read_text() == str(os.getpid())


def test_the_lock_file_is_removed_after_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_as_windows(monkeypatch)
    lock, removed, opened = tmp_path / "lock", Path.unlink, []
    real = Path.open

    def open_and_keep(self: Path, *arguments: object, **options: object) -> object:
        opened.append(real(self, *arguments, **options))  # type: ignore[call-overload]
        return opened[-1]

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if not all(stream.closed for stream in opened):
            raise PermissionError(13, "The process cannot access the file")
        removed(self, missing_ok)

    monkeypatch.setattr(Path, "open", open_and_keep)
    monkeypatch.setattr(Path, "unlink", unlink)
    with hold(lock, tmp_path):
        assert lock.exists()
    assert not lock.exists()
    with pytest.raises(KeyError), hold(lock, tmp_path):
        raise KeyError
    assert not lock.exists()


def test_a_file_that_is_open_for_a_moment_is_replaced_and_one_that_stays_open_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, real = tmp_path / "cases.csv", Path.replace
    write_text(target, "old")
    waited: list[float] = []

    def scanned(self: Path, to: Path) -> Path:
        if len(waited) < 3:
            raise PermissionError(13, "The process cannot access the file")
        return real(self, to)

    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(Path, "replace", scanned)
    write_text(target, "new")
    assert (target.read_text(), len(waited)) == ("new", 3)

    def kept_open(self: Path, to: Path) -> Path:
        raise PermissionError(13, "The process cannot access the file")

    monkeypatch.setattr(Path, "replace", kept_open)
    with pytest.raises(DataError, match=r"cases\.csv: cannot be written: .*close it there"):
        write_text(target, "newer")
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["cases.csv"]
    monkeypatch.setattr(files, "WINDOWS", False)
    waited.clear()
    with pytest.raises(PermissionError):
        rename(target, tmp_path / "other")
    assert not waited


def test_the_command_that_goes_on_is_quoted_as_windows_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    found = command_that_goes_on(["infer", r"C:\Program Files\ct", "-o", "out"])
    assert found == r'lungseg infer "C:\Program Files\ct" -o out --resume'


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_name_that_the_terminal_cannot_print_ends_no_command(
    encoding: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lungseg", "infer", "肺.nii", "-o", "out", "--model", "m.onnx"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"\\u80ba.nii" in done.stderr
