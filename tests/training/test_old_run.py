"""A run folder of lungseg 0.1, before the package was rearranged, still exports and resumes."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

import lungseg.training.averaging
import lungseg.training.losses  # noqa: F401 - both are what the saved model names
from lungseg.system.environment import describe_software
from lungseg.system.tables import read_csv
from lungseg.training.exporting import export_run
from tests.support.places import REPOSITORY

OLD = REPOSITORY / "tests" / "data" / "run_0_1"  # its README.md says how it was made
MADE_WITH = {"tensorflow": "2.21.0", "keras": "3.15.1", "tf2onnx": "1.17.0", "onnx": "1.23.2"}


def versions_here() -> dict[str, str]:
    here = {**describe_software(), "tf2onnx": version("tf2onnx"), "onnx": version("onnx")}
    return {name: here[name] for name in MADE_WITH}


def weights_of(path: Path) -> dict[str, np.ndarray]:
    graph = onnx.load(path).graph
    return {weights.name: onnx.numpy_helper.to_array(weights) for weights in graph.initializer}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a copy of the old run as it was when it was killed."""
    ignored = shutil.ignore_patterns("README.md", "finished")
    return Path(shutil.copytree(OLD, tmp_path / "run", ignore=ignored))


def test_it_exports_to_the_same_network(run: Path) -> None:
    for name in ("model.onnx", "model.json"):
        (run / name).unlink()
    export_run(run)
    made = f"made with {MADE_WITH}, here are {versions_here()}"
    new, old = onnx.load(run / "model.onnx").graph, onnx.load(OLD / "model.onnx").graph
    assert list(new.node) == list(old.node), made
    assert (list(new.input), list(new.output)) == (list(old.input), list(old.output)), made
    weights = weights_of(run / "model.onnx")
    assert weights.keys() == weights_of(OLD / "model.onnx").keys(), made
    # The export multiplies weights with the scale of their normalisation. Processors with AVX-512
    # round some of these products up where others round down.
    for name, expected in weights_of(OLD / "model.onnx").items():
        if expected.dtype == np.float32:
            np.testing.assert_array_max_ulp(weights[name], expected, maxulp=4)
        else:
            np.testing.assert_array_equal(weights[name], expected, err_msg=made)
    described, expected_json = (
        json.loads((folder / "model.json").read_text()) for folder in (run, OLD)
    )
    assert described.pop("onnx_difference") < 1e-5  # depends on the processor
    del expected_json["onnx_difference"]
    assert described["input"].pop("square_pixels") is False  # which version 0.1 did not say
    assert described == expected_json


def test_it_resumes_and_ends_as_the_training_that_was_not_stopped(run: Path, dataset: Path) -> None:
    command = ["train", "--resume", "--data", str(dataset), "--run", str(run)]
    # A process of its own: the config asks for one thread and deterministic operations.
    done = subprocess.run(
        [sys.executable, "-m", "lungseg", *command],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "resuming after epoch 1" in done.stderr
    first, second = read_csv(run / "history.csv")
    assert first == read_csv(OLD / "history.csv")[0]
    expected = read_csv(OLD / "finished" / "history.csv")[1]
    # Other processors round differently, which can move a pixel across the edge: soft values only.
    # Validation is not compared: since then it uses statistics of the averaged weights.
    for key in ("loss", "dice_coef_multiclass"):
        assert float(second[key]) == pytest.approx(float(expected[key]), rel=1e-3), key
    assert second["learning_rate"] == expected["learning_rate"]
    model = keras.saving.load_model(run / "checkpoints" / "epoch_0002" / "model.keras")
    ended = {
        "weight": model.trainable_variables,
        "average": model.optimizer._model_variables_moving_average,
    }
    with np.load(OLD / "finished" / "weights.npz") as expected_arrays:
        for kind, variables in ended.items():
            for index, variable in enumerate(variables):
                wanted = expected_arrays[f"{kind}_{index:03d}"]
                np.testing.assert_allclose(np.asarray(variable), wanted, atol=2e-3)
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["epochs"], record["best_epoch"]) == ("finished", 2, 2)
