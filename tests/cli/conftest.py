"""Fixtures of the tests that look at what commands write."""

import shutil
from pathlib import Path

import pytest

from tests.support.outputs import write_place


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with inputs, and an output of every command that needs no training."""
    place = tmp_path_factory.mktemp("made") / "place"
    write_place(place)
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of that place."""
    copy = Path(shutil.copytree(made, tmp_path / "place", symlinks=True))
    monkeypatch.chdir(copy)
    return copy
