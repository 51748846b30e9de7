"""A run's config holds absolute paths, so that a resume works from any folder."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from lungseg.config.loading import check_config, dump_config, load_config, with_overrides
from lungseg.config.schema import Config
from lungseg.errors import UsageError
from lungseg.training.run_folder import check_same_config, write_config
from tests.support.phantoms import tiny


def config(**data: object) -> Config:
    given = tiny(schedule="constant")
    return check_config({**given, "data": {**given["data"], **data}}, "t")


def test_the_paths_that_were_used_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    write_config(config(train_only=["added"]), Path("slices"), Path("run"))
    written = load_config(tmp_path / "run" / "config.yaml")
    assert written.data.dataset == tmp_path / "slices"
    assert written.train.run == tmp_path / "run"
    assert written.data.train_only == [tmp_path / "added"]


def test_a_relative_path_is_the_same_as_the_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    # As version 0.1 wrote it: relative paths.
    (run / "config.yaml").write_text(dump_config(config(train_only=["added"])))
    check_same_config(config(train_only=["added"]), run)
    check_same_config(config(train_only=[tmp_path / "added"]), run)
    write_config(config(train_only=["added"]), Path("slices"), run)
    check_same_config(config(train_only=["added"]), run)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    check_same_config(config(train_only=["../added"]), run)
    with pytest.raises(UsageError, match=r"train_only: was .*/added.*, now .*other/added"):
        check_same_config(config(train_only=["added"]), run)


def test_a_run_goes_on_at_the_learning_rate_it_began_with(tmp_path: Path) -> None:
    own = with_overrides(config(), {"train.learning_rate": None})
    write_config(own, tmp_path / "slices", tmp_path)
    written = load_config(tmp_path / "config.yaml")
    assert written.train.learning_rate == own.model.learning_rate
    check_same_config(with_overrides(written, {"train.learning_rate": None}), tmp_path)
    with pytest.raises(UsageError, match=r"learning_rate: was .*, now 0\.5"):
        check_same_config(with_overrides(written, {"train.learning_rate": 0.5}), tmp_path)


def test_a_run_of_version_0_1_may_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Path(__file__).parents[1] / "config" / "data" / "config_0.1.yaml"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(old.read_text())
    check_same_config(load_config(tmp_path / "config.yaml"), tmp_path)
    with pytest.raises(UsageError, match=r"prepare\.threads: was 2, now 3"):
        check_same_config(load_config(tmp_path / "config.yaml", ["prepare.threads=3"]), tmp_path)


def test_a_run_is_resumed_from_another_folder(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    lungseg: Callable[..., Result],
) -> None:  # fmt: skip
    monkeypatch.chdir(dataset.parent)
    (tmp_path / "tiny.yaml").write_text(dump_config(check_config(tiny(schedule="constant"), "t")))
    run = tmp_path / "run"
    relative = os.path.relpath(run)
    first = ("-c", tmp_path / "tiny.yaml", "--data", dataset.name, "--run", relative)
    result = lungseg("train", *first, "-s", "train.epochs=1")
    assert result.exit_code == 0, result.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    result = lungseg("train", "--run", "../run", "--resume", "-s", "train.epochs=2")
    assert result.exit_code == 0, result.stderr
    assert "2 epochs" in result.stderr
    # A config of one's own is compared by where its paths lead from here, as far as they matter.
    result = lungseg("train", "--run", "../run", "--resume", "-c", "../tiny.yaml",
                     "--data", dataset, "-s", "train.epochs=2")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert list(elsewhere.iterdir()) == []


def test_how_images_were_paired_does_not_matter_to_a_run(tmp_path: Path) -> None:
    write_config(config(), tmp_path / "slices", tmp_path)
    written = load_config(tmp_path / "config.yaml")
    other = {"data.pairing": {"masks": "_mask$"}, "data.structures": {"lung": "x"}}
    check_same_config(with_overrides(written, other), tmp_path)
    with pytest.raises(UsageError, match=r"data\.channels: was 1, now 3"):
        check_same_config(with_overrides(written, {**other, "data.channels": 3}), tmp_path)
