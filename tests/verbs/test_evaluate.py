"""A run is scored through the file that is deployed, beside baselines, and no case is dropped."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.evaluation import metrics
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import read_slice, write_png
from lungseg.inference.predictor import Predictor
from lungseg.system.tables import read_csv
from lungseg.verbs.evaluate import evaluate
from tests.support.phantoms import SIDE, tiny


@pytest.fixture
def output(tmp_path: Path, trained_run: Path, dataset: Path, tiny_config: Config) -> Path:
    return evaluate(tiny_config, trained_run, dataset, tmp_path / "out").output


def test_each_case_has_the_scores_of_its_prediction(
    output: Path, trained_run: Path, dataset: Path
) -> None:
    rows = read_csv(output / "per_case.csv")
    cases = [r for r in read_csv(dataset / "split.csv") if r["part"] == "test"]
    assert [row["case"] for row in rows] == [case["case"] for case in cases]
    predictor = Predictor(trained_run / "model.onnx")
    for row, case in zip(rows, cases, strict=True):
        image = read_slice(dataset / case["image"], predictor.data)
        truth = read_labels(dataset / case["mask"], predictor.data)
        p = predictor.probabilities([image])[0]
        counts = metrics.count(truth > 0, p.argmax(-1) > 0)
        assert row["class"] == "lung"
        assert float(row["dice"]) == pytest.approx(metrics.dice(counts))
        assert float(row["recall"]) == pytest.approx(metrics.recall(counts))
        loss = metrics.categorical_crossentropy(truth, p)
        assert float(row["categorical_crossentropy"]) == pytest.approx(loss, rel=1e-4)
        assert row["seen_in_training"] == "False"


def test_the_json_leads_with_lung_dice_and_has_baselines(output: Path) -> None:
    summary = json.loads((output / "evaluation.json").read_text())
    rows = read_csv(output / "per_case.csv")
    dice = summary["overall"]["lung"]["dice"]
    assert dice["mean"] == pytest.approx(np.mean([float(row["dice"]) for row in rows]))
    assert dice["n"] == len(rows) == summary["cases"]
    assert summary["baselines"]["all_background"]["lung"]["dice"]["mean"] == 0
    assert summary["baselines"]["grey_threshold"]["lung"]["dice"]["mean"] > 0.5
    # All background looks good by pixel accuracy: the reason why Dice leads.
    assert summary["baselines"]["all_background"]["pixel_accuracy"]["mean"] > 0.5


def test_the_csv_has_loss_and_metric_rows_as_the_original(output: Path) -> None:
    lines = (output / "evaluation.csv").read_text().splitlines()
    names = [line.split(",")[0] for line in lines]
    assert names[:2] == ["categorical_crossentropy", "dice_coef_multiclass"]
    assert "lung_dice" in names
    assert all(float(line.split(",")[1]) >= 0 for line in lines)


def test_results_go_to_the_run_folder_by_default(
    trained_run: Path, dataset: Path, config_file: Path, lungseg: Callable[..., Result]
) -> None:
    result = lungseg("evaluate", "-c", config_file, "--run", trained_run, "--data", dataset)
    assert result.exit_code == 0
    assert "all_background" in result.stderr
    assert (trained_run / "evaluation.json").exists()
    result = lungseg(
        "evaluate", "-c", config_file, "--run", trained_run, "--data", dataset, "--json",
        "--part", "valid", "-q",
    )  # fmt: skip
    assert json.loads(result.stdout)["part"] == "valid"
    # Only the warning is left; what it says is tested elsewhere.
    assert result.stderr.startswith("warning: the valid part has 1 patient.")
    assert "all_background" not in result.stderr


def test_slices_seen_in_training_are_pointed_out(
    trained_run: Path, dataset: Path, tmp_path: Path, tiny_config: Config
) -> None:
    leaky = tmp_path / "leaky"
    for part in ("train", "test"):
        for kind in ("images", "masks"):
            (leaky / part / kind).mkdir(parents=True)
            for path in (dataset / "train" / kind).iterdir():
                (leaky / part / kind / path.name).write_bytes(path.read_bytes())
    result = evaluate(tiny_config, trained_run, leaky, tmp_path / "out")
    assert len(result.summary["seen_in_training"]) == len(result.rows) / 3 > 0


def test_empty_masks_are_flagged_not_dropped(trained_run: Path, tmp_path: Path) -> None:
    for part in ("train", "test"):
        for kind in ("images", "masks"):
            (tmp_path / "data" / part / kind).mkdir(parents=True)
        black = np.zeros((SIDE, SIDE), np.uint8)
        write_png(tmp_path / "data" / part / "images" / "black.png", black)
        write_png(tmp_path / "data" / part / "masks" / "black.png", black)
    result = evaluate(Config(), trained_run, tmp_path / "data", tmp_path / "out")
    assert result.summary["cases"] == 1
    assert result.summary["baselines"]["all_background"]["lung"]["dice"]["mean"] == 1.0
    [row] = [row for row in result.rows if row.method == "all_background"]
    assert row.scores.flag == "both_empty"


def test_what_is_missing_is_named(
    trained_run: Path, dataset: Path, tmp_path: Path, tiny_config: Config
) -> None:
    with pytest.raises(UsageError, match="no such run folder"):
        evaluate(tiny_config, tmp_path / "no", dataset)
    with pytest.raises(UsageError, match="no such folder of slices"):
        evaluate(tiny_config, trained_run, tmp_path / "no")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected test/images"):
        evaluate(tiny_config, trained_run, tmp_path / "empty")
    data = tiny()
    data["data"]["window"] = [-160, 240]
    assert evaluate(check_config(data, "t"), trained_run, dataset, tmp_path / "o").summary["cases"]
