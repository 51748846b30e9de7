"""Of two processes that write to one output, the second is refused with the first's number."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lungseg.errors import DataError
from tests.support.outputs import READS, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals as Linux has them")

# Stops itself when it synchronises the first file that it has written.
STOPPING = """
import os, signal, sys
sync = os.fsync
def stop(descriptor):
    os.fsync = sync
    os.kill(os.getpid(), signal.SIGSTOP)
    sync(descriptor)
os.fsync = stop
from lungseg.cli.app import program
program()(sys.argv[1:])
"""


@pytest.mark.parametrize("name", [*READS, "evaluate into the run"])
def test_the_second_is_refused_and_the_first_is_not_disturbed(name: str, place: Path) -> None:
    command = [*READS.get(name, "").split(), "out"]
    if name == "evaluate into the run":
        command = ["evaluate", "-c", "tiny.yaml", "--run", "run", "--data", "dataset"]
    first = subprocess.Popen(
        [sys.executable, "-c", STOPPING, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, status = os.waitpid(first.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        overwrites = "run" not in command[-1:] and name != "evaluate into the run"
        for flags in ((), ("--overwrite",)) if overwrites else ((),):
            second = run(*command, *flags)
            assert f"process {first.pid} is writing here" in second.stderr
            assert second.exit_code == 2
        if name == "train":
            return  # it would train for long
        first.send_signal(signal.SIGCONT)
        assert first.wait(timeout=60) == 0, first.stderr
    finally:
        first.kill()
        first.communicate()
    left = [path.name for path in place.rglob(".*") if path.name != ".lungseg.jsonl"]
    assert not left


def test_a_killed_process_holds_nothing_and_leaves_nothing(place: Path) -> None:
    command = [*READS["prepare"].split(), "out"]
    first = subprocess.Popen([sys.executable, "-c", STOPPING, *command])
    os.waitpid(first.pid, os.WUNTRACED)
    assert run(*command).exit_code == 2
    first.kill()
    first.wait()
    result = run(*command)
    assert result.exit_code == 0, result.stderr
    assert [path.name for path in place.rglob(".*") if path.parent.name == "out"] == [
        ".lungseg.jsonl"
    ]


def test_a_file_that_someone_puts_there_meanwhile_stays(place: Path) -> None:
    command = [*READS["prepare"].split(), "out"]
    first = subprocess.Popen(
        [sys.executable, "-c", STOPPING, *command], stderr=subprocess.PIPE, text=True
    )
    os.waitpid(first.pid, os.WUNTRACED)
    (place / "out" / "notes.txt").write_text("mine")
    (place / "out" / "manifest.csv").write_text("mine")
    first.send_signal(signal.SIGCONT)
    _, said = first.communicate(timeout=60)
    assert (first.returncode, "would be lost: manifest.csv" in said) == (2, True), said
    assert sorted(path.name for path in (place / "out").iterdir()) == ["manifest.csv", "notes.txt"]


@pytest.mark.parametrize("made_again", [False, True])
def test_a_lock_that_is_removed_while_it_is_taken_locks_nothing(
    made_again: bool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sync = fcntl.flock, os.fsync
    refused: list[str] = []

    def lock(stream: object, how: int) -> None:
        # The process before ends at the worst moment: after the file is opened.
        monkeypatch.setattr(fcntl, "flock", real)
        os.unlink(stream.name)  # type: ignore[attr-defined]
        if made_again:
            Path(stream.name).touch()  # type: ignore[attr-defined]
        real(stream, how)  # type: ignore[arg-type]

    def look(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        third = [sys.executable, "-m", "lungseg", *READS["phantom"].split(), "out"]
        refused.append(subprocess.run(third, capture_output=True, text=True).stderr)
        sync(descriptor)

    monkeypatch.setattr(fcntl, "flock", lock)
    monkeypatch.setattr(os, "fsync", look)
    assert run(*READS["phantom"].split(), "out").exit_code == 0
    assert f"process {os.getpid()} is writing here" in refused[0]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_ends_no_training(
    code: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_lock(stream: object, how: int) -> None:
        raise OSError(code, os.strerror(code))

    def begin(*arguments: object) -> None:
        raise DataError(None, "the training has begun")

    monkeypatch.setattr(fcntl, "flock", no_lock)
    monkeypatch.setattr("lungseg.verbs.train.set_up", begin)
    lock = place / f"run_{code}" / ".lungseg.lock"
    lock.parent.mkdir()
    lock.touch()  # as a killed process leaves it
    result = run(*READS["train"].split(), lock.parent)
    assert "the training has begun" in result.stderr
    assert result.stderr.count("has no locks") == 1


@pytest.mark.parametrize("name", ["convert", "prepare"])
def test_a_rename_is_on_disk_before_the_command_ends(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync
    complete: set[int] = set()

    def record(descriptor: int) -> None:
        sync(descriptor)
        status = os.fstat(descriptor)
        table = {"convert": place / "new", "prepare": place / "new" / "manifest.csv"}[name]
        if stat.S_ISDIR(status.st_mode) and table.exists():
            complete.add(status.st_ino)

    monkeypatch.setattr(os, "fsync", record)
    assert run(*READS[name].split(), "new").exit_code == 0
    folders = {"convert": ["."], "prepare": ["new", "new/images", "new/masks"]}[name]
    assert {(place / folder).stat().st_ino for folder in folders} <= complete
