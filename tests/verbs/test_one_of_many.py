"""A bug that one input brings to light does not stop the other inputs of a command."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk  # noqa: N813 - its documented name
from typer.testing import Result

from lungseg.inference import images, volumes
from lungseg.system.tables import read_csv
from lungseg.verbs import prepare
from tests.support.volumes import phantom_volume

Lungseg = Callable[..., Result]


def fail_once(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """Make the first call of a function fail as a bug does."""
    original, calls = getattr(module, name), []

    def function(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyError("unforeseen")
        return original(*arguments, **named)

    monkeypatch.setattr(module, name, function)


@pytest.fixture
def data(raw: Path, tmp_path: Path) -> Path:
    """Return a folder with images/ and masks/ of two slices and two volumes."""
    for kind, position in (("images", 0), ("masks", 1)):
        folder = tmp_path / "data" / kind
        folder.mkdir(parents=True)
        for path in sorted((raw / kind).iterdir())[:2]:
            shutil.copy(path, folder)
        for name in ("one", "two"):
            sitk.WriteImage(phantom_volume(2)[position], str(folder / f"{name}.nii.gz"))
    return tmp_path / "data"


@pytest.mark.parametrize(("module", "name"), [(images, "to_slice"), (volumes, "read_ct")])
def test_infer(
    module: Any,
    name: str,
    data: Path,
    trained_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lungseg: Lungseg,
) -> None:
    fail_once(monkeypatch, module, name)
    result = lungseg("infer", "--run", trained_run, data / "images", "-o", tmp_path / "out")
    assert result.exit_code == 4
    assert "this is a bug in lungseg, please report it: KeyError: 'unforeseen'" in result.stderr
    rows = read_csv(tmp_path / "out" / "cases.csv")
    assert sorted(row["status"] for row in rows) == ["done", "done", "done", "failed"]


@pytest.mark.parametrize(("module", "name"), [(prepare, "read_pair"), (prepare, "cut_volume")])
def test_prepare(
    module: Any,
    name: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lungseg: Lungseg,
) -> None:
    fail_once(monkeypatch, module, name)
    folders = ("--images", data / "images", "--masks", data / "masks")
    size = ("-s", "data.image_size=[32, 32]")
    result = lungseg("prepare", *folders, "-o", tmp_path / "out", *size)
    assert result.exit_code == 4
    issues = read_csv(tmp_path / "out" / "issues.csv")
    [failed] = [row["case"] for row in issues if row["severity"] == "failed"]
    used = {row["case"].partition("_z")[0] for row in read_csv(tmp_path / "out" / "manifest.csv")}
    assert used == {path.name.partition(".")[0] for path in (data / "images").iterdir()} - {failed}
