"""A training starts with another run's weights, and what that run saw counts as seen."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from typer.testing import Result

from lungseg.config.loading import load_config, with_overrides
from lungseg.config.schema import Config
from lungseg.errors import UsageError
from lungseg.system import shipped
from lungseg.system.tables import read_csv
from lungseg.training.compiling import compile_model
from lungseg.training.starting import start_with
from lungseg.verbs.evaluate import evaluate
from lungseg.verbs.prepare import prepare
from lungseg.verbs.split import split
from lungseg.verbs.train import train
from tests.support.phantoms import write_phantoms


def best_of(run: Path) -> Any:
    return keras.saving.load_model(run / "model.keras", compile=False)


@pytest.fixture(scope="module")
def other_data(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set of other patients than the trained run has."""
    folder = tmp_path_factory.mktemp("other")
    write_phantoms(folder / "raw", patients=8, slices=3)
    for path in [*(folder / "raw").rglob("patient0[1-5]_*")]:
        path.unlink()
    prepare(tiny_config, folder / "raw" / "images", folder / "raw" / "masks", folder / "prepared")
    split(tiny_config, folder / "prepared", folder / "dataset")
    return folder / "dataset"


@pytest.fixture(scope="module")
def continued(
    trained_run: Path, other_data: Path, tiny_config: Config, tmp_path_factory: Any
) -> Path:
    """Return a run that starts with the trained run's weights and hardly changes them."""
    run: Path = tmp_path_factory.mktemp("continued") / "run"
    settings = {"train.start_from": trained_run, "train.epochs": 1, "train.learning_rate": 1e-9}
    train(with_overrides(tiny_config, settings), other_data, run)
    return run


def test_a_network_of_the_same_kind_gets_all_weights(
    trained_run: Path, tiny_config: Config
) -> None:
    model = compile_model(tiny_config, 1)
    assert start_with(model, trained_run) == []
    batch = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 1)).astype("float32")
    np.testing.assert_array_equal(model.predict(batch), best_of(trained_run).predict(batch))


def test_other_classes_get_a_new_last_layer_which_is_listed(
    trained_run: Path, tiny_config: Config
) -> None:
    colours = {"background": [0, 0, 0], "left_lung": [0, 255, 0], "right_lung": [255, 0, 0]}
    config = with_overrides(tiny_config, {"data.rgb_map": colours, "augment.online.hflip": 0.0})
    model = compile_model(config, 1)
    before = [np.array(weight) for weight in model.get_weights()]
    new = start_with(model, trained_run)
    assert [text.partition(" ")[0].rpartition("/")[2] for text in new] == ["kernel", "bias"]
    assert [text.partition(" ")[2] for text in new] == ["(1, 1, 4, 3)", "(3,)"]
    given, own = best_of(trained_run).get_weights(), model.get_weights()
    for mine, its in zip(own[:-2], given[:-2], strict=True):
        np.testing.assert_array_equal(mine, its)
    for mine, its in zip(own[-2:], before[-2:], strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize(
    "settings",
    [{"model.num_layers": 2}, {"model.base_filters": 8}, {"model.name": "flexunet"}],
)
def test_another_network_is_refused(
    settings: dict[str, Any], trained_run: Path, tiny_config: Config
) -> None:
    model = compile_model(with_overrides(tiny_config, settings), 1)
    with pytest.raises(UsageError, match=r"other layers than the config's.*config\.yaml"):
        start_with(model, trained_run)


def test_the_training_goes_on_from_there(continued: Path, trained_run: Path) -> None:
    # At a rate of 1e-9 a weight moves by at most 1e-9 per step. Statistics are gathered anew.
    one, other = best_of(continued), best_of(trained_run)
    pairs = zip(one.trainable_weights, other.trainable_weights, strict=True)
    assert max(float(np.abs(mine - its).max()) for mine, its in pairs) < 1e-6
    assert len(read_csv(continued / "history.csv")) == 1


def test_what_the_first_run_was_trained_on_counts_as_seen(
    continued: Path, trained_run: Path, prepared: Path, tiny_config: Config, tmp_path: Path
) -> None:
    rows = read_csv(continued / "data.csv")
    before = {row["sha256"] for row in rows if row["part"] == "before"}
    first = read_csv(trained_run / "data.csv")
    assert before == {row["sha256"] for row in first if row["part"] == "train"}
    result = evaluate(tiny_config, continued, prepared, tmp_path / "scores")
    assert len(result.summary["seen_in_training"]) == len(before) > 0


def test_a_third_run_knows_what_the_first_was_trained_on(
    continued: Path, trained_run: Path, other_data: Path, tiny_config: Config, tmp_path: Path
) -> None:
    settings = {"train.start_from": continued, "train.epochs": 1}
    train(with_overrides(tiny_config, settings), other_data, tmp_path / "third")
    rows = read_csv(tmp_path / "third" / "data.csv")
    first = {r["sha256"] for r in read_csv(trained_run / "data.csv") if r["part"] == "train"}
    assert first <= {row["sha256"] for row in rows if row["part"] == "before"}


def test_a_resumed_run_needs_the_first_one_no_more(
    trained_run: Path, other_data: Path, tiny_config: Config, tmp_path: Path
) -> None:
    shutil.copytree(trained_run, tmp_path / "first")
    settings = {"train.start_from": tmp_path / "first", "train.epochs": 1}
    config, run = with_overrides(tiny_config, settings), tmp_path / "run"
    train(config, other_data, run)
    listed = (run / "data.csv").read_text()
    shutil.rmtree(tmp_path / "first")
    with pytest.raises(UsageError, match=r"train\.start_from: was"):
        train(
            with_overrides(config, {"train.start_from": trained_run}), other_data, run, resume=True
        )
    assert train(config, other_data, run, resume=True).epochs == 1
    assert (run / "data.csv").read_text() == listed


def config_start(run: Path) -> Path:
    start = load_config(run / "config.yaml").train.start_from
    assert isinstance(start, Path)
    return start


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("missing", r"missing: there is no such folder of a trained network \(--from\)"),
        ("empty", r"model\.keras: there is no such file, so no training can start"),
        ("folds", r"holds the networks of 1 folds\. Start from one: --from .*fold_1"),
        ("run", "the output would replace its own input"),
    ],
)
def test_what_no_training_can_start_from_is_refused_before_a_run_is_begun(
    start: str,
    said: str,
    trained_run: Path,
    dataset: Path,
    tiny_config: Config,
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "folds" / "fold_1").mkdir(parents=True)
    shutil.copytree(trained_run, tmp_path / "run")
    config = with_overrides(tiny_config, {"train.start_from": tmp_path / start})
    run = tmp_path / ("run" if start == "run" else "new")
    with pytest.raises(UsageError, match=said):
        train(config, dataset, run, overwrite=True)
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "run" / "model.keras").read_bytes() == (
        trained_run / "model.keras"
    ).read_bytes()


def test_the_command_line_names_the_run(
    lungseg: Callable[..., Result],
    config_file: Path,
    trained_run: Path,
    dataset: Path,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    done = lungseg(
        "train", "-c", config_file, "--data", dataset, "--run", run, "--from", trained_run,
        "-s", "train.epochs=1",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert f"starts with the weights of {trained_run}" in done.output.replace("\n", " ")
    assert config_start(run) == trained_run


def test_the_word_shipped_is_the_network_of_the_package(
    lungseg: Callable[..., Result],
    config_file: Path,
    trained_run: Path,
    other_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shipped, "FOLDER", trained_run)
    monkeypatch.chdir(tmp_path)
    given = ("-c", config_file, "--data", other_data, "--run", "run", "-s", "train.epochs=1")
    start = ("--from", "shipped", "-s", "train.learning_rate=1e-9")
    done = lungseg("train", *given, *start)
    assert done.exit_code == 0, done.output
    said = done.output.replace("\n", " ")
    assert "starts with the weights of the shipped network: 100.0% of them carried over" in said
    pairs = zip(
        best_of(Path("run")).trainable_weights, best_of(trained_run).trainable_weights, strict=True
    )
    assert max(float(np.abs(mine - its).max()) for mine, its in pairs) < 1e-6
    assert load_config(Path("run/config.yaml")).train.start_from == "shipped"
    trained = {r["sha256"] for r in read_csv(trained_run / "data.csv") if r["part"] == "train"}
    rows = read_csv(Path("run/data.csv"))
    assert {row["sha256"] for row in rows if row["part"] == "before"} == trained
    again = lungseg("train", "--resume", "--run", "run", "--data", other_data)
    assert again.exit_code == 0, again.output
    missing = lungseg("train", *given[:-2], "--overwrite", "--from", "./shipped")
    assert (missing.exit_code, "no such folder" in missing.output) == (2, True)
