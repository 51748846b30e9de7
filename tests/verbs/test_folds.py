"""Folds are trained one by one, scored on what each missed, and predict together."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from lungseg.config.loading import check_config, dump_config
from lungseg.config.schema import Config
from lungseg.dataset.reading import read_layout
from lungseg.imaging.pixels import read_slice
from lungseg.inference.predictor import Predictor, model_paths
from lungseg.system.tables import read_csv
from lungseg.verbs.evaluate import evaluate
from lungseg.verbs.infer import infer
from lungseg.verbs.split import split
from tests.support.phantoms import tiny

Shell = Callable[..., Result]


@pytest.fixture(scope="module")
def folds(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("folds") / "dataset"
    given = tiny()
    given["split"] = {**given["split"], "folds": 2, "fractions": [0.7, 0.3, 0.0]}
    split(check_config(given, "test"), prepared, output)
    return output


@pytest.fixture(scope="module")
def cross_validated(folds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from typer.testing import CliRunner

    from lungseg.cli.app import program

    folder = tmp_path_factory.mktemp("cv")
    config = folder / "tiny.yaml"
    config.write_text(dump_config(check_config(tiny(epochs=1), "test")))
    arguments = ["train", "-c", config, "--data", folds, "--run", folder / "run", "--fold", "all"]
    result = CliRunner().invoke(program(), [str(a) for a in arguments])
    assert result.exit_code == 0, result.stderr
    return folder / "run"


def test_each_fold_is_scored_by_the_network_that_missed_it(
    cross_validated: Path, folds: Path, tiny_config: Config, tmp_path: Path
) -> None:
    result = evaluate(tiny_config, cross_validated, folds, tmp_path / "scores")
    summary = result.summary
    assert summary["cases"] == 20  # every slice, once
    assert summary["seen_in_training"] == []
    assert "2 folds" in summary["cross_validation"]
    assert "grey_threshold" in summary["baselines"]
    rows = read_csv(tmp_path / "scores" / "per_case.csv")
    assert {row["fold"] for row in rows} == {"1", "2"}
    for row in rows:
        held_out = read_layout(folds / f"fold_{row['fold']}", tiny_config)["test"]
        assert row["case"] in {s.case for s in held_out}


def test_a_part_that_is_in_several_folds_is_scored_fold_by_fold(
    cross_validated: Path, folds: Path, config_file: Path, lungseg: Shell, tmp_path: Path
) -> None:
    train = ("evaluate", "-c", config_file, "--part", "train", "-o", tmp_path / "scores")
    # Two folds have no slice to train on in common; three do, and here they are copies of one.
    for name, fold in {"data": folds / "fold_1", "run": cross_validated / "fold_1"}.items():
        (tmp_path / name).mkdir()
        for number in (1, 2, 3):
            (tmp_path / name / f"fold_{number}").symlink_to(fold)
    refused = lungseg(*train, "--run", tmp_path / "run", "--data", tmp_path / "data")
    assert refused.exit_code == 2
    assert "is in the part train of 3 folds" in refused.stderr.replace("\n", "")
    assert not (tmp_path / "scores").exists()
    one = lungseg(*train, "--run", cross_validated / "fold_1", "--data", folds / "fold_1")
    assert one.exit_code == 0, one.stderr
    listed = read_csv(folds / "fold_1" / "split.csv")
    scored = [row["case"] for row in read_csv(tmp_path / "scores" / "per_case.csv")]
    assert scored == [row["case"] for row in listed if row["part"] == "train"]


def test_a_cross_validation_finds_its_folds_and_keeps_its_report(
    cross_validated: Path, folds: Path, dataset: Path, lungseg: Shell, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = lungseg("evaluate", "--run", cross_validated)
    assert done.exit_code == 0, done.stderr
    report = cross_validated / "evaluation.json"
    before = report.read_bytes()
    assert json.loads(before)["cases"] == 20
    for other in (dataset, folds / "fold_1"):  # all networks together
        done = lungseg("evaluate", "--run", cross_validated, "--data", other)
        assert done.exit_code == 0, done.stderr
        assert report.read_bytes() == before


def test_folds_together_give_their_mean_probability(
    cross_validated: Path, dataset: Path, tiny_config: Config, tmp_path: Path
) -> None:
    paths = model_paths(cross_validated, None)
    assert [path.parent.name for path in paths] == ["fold_1", "fold_2"]
    together = Predictor(paths)
    one = read_layout(dataset, tiny_config)["test"][0]
    image = read_slice(one.image, together.data)
    expected = np.mean([Predictor(path).probabilities([image]) for path in paths], axis=0)
    np.testing.assert_allclose(together.probabilities([image]), expected, atol=1e-6)
    result = infer(tiny_config, [one.image], tmp_path / "masks", run=cross_validated)
    assert not result.failed
    scored = evaluate(tiny_config, cross_validated, dataset, tmp_path / "scores")
    assert "2 networks" in scored.summary["ensemble"]
    listed = [row for path in paths for row in read_csv(path.with_name("data.csv"))]
    trained = {row["group"] for row in listed if row["part"] == "train"}
    expected_seen = {
        s.case for s in read_layout(dataset, tiny_config)["test"] if s.group in trained
    }
    assert set(scored.summary["seen_in_training"]) == expected_seen


def test_models_of_different_slices_do_not_predict_together(
    cross_validated: Path, tmp_path: Path
) -> None:
    import shutil

    from lungseg.errors import DataError

    shutil.copytree(cross_validated, tmp_path / "run")
    path = tmp_path / "run" / "fold_2" / "model.json"
    path.write_text(path.read_text().replace("-1000", "-900"))
    with pytest.raises(DataError, match=r"fold_2.*cannot predict together"):
        Predictor(model_paths(tmp_path / "run", None))


def test_folds_must_be_named(
    lungseg: Shell, folds: Path, dataset: Path, config_file: Path, tmp_path: Path
) -> None:
    arguments = ("train", "-c", config_file, "--run", tmp_path / "run")
    forgotten = lungseg(*arguments, "--data", folds)
    assert forgotten.exit_code == 2
    assert "--fold 1" in forgotten.stderr
    absent = lungseg(*arguments, "--data", folds, "--fold", "3")
    assert absent.exit_code == 2
    assert "holds 2 folds" in absent.stderr
    plain = lungseg(*arguments, "--data", dataset, "--fold", "1")
    assert plain.exit_code == 2
    assert "split.folds=5" in plain.stderr


def test_a_missing_fold_is_an_error(
    cross_validated: Path, folds: Path, tiny_config: Config, tmp_path: Path
) -> None:
    from lungseg.errors import UsageError

    expected = (
        r"holds 2 folds, .* 0 trained ones.*lungseg train --data \S+ --run \S+ --fold all, or"
    )
    with pytest.raises(UsageError, match=expected):
        evaluate(tiny_config, cross_validated / "fold_1", folds, tmp_path / "scores")


def test_gpu_is_refused_where_there_is_none(cross_validated: Path) -> None:
    import onnxruntime

    from lungseg.errors import UsageError

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has a GPU provider")
    with pytest.raises(UsageError, match=r"infer\.device is gpu"):
        Predictor(cross_validated / "fold_1" / "model.onnx", device="gpu")
