"""Every exported file predicts what Keras predicts, or is not kept."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from lungseg.config.loading import check_config
from lungseg.errors import DataError
from lungseg.inference.predictor import Predictor
from lungseg.models import build_model
from lungseg.system import shipped
from lungseg.system.tables import read_json
from lungseg.training import exporting as export
from lungseg.training.exporting import export_run
from tests.support.phantoms import SIDE

Shell = Callable[..., Result]


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    for name in ("model.keras", "config.yaml"):
        (tmp_path / "run").mkdir(exist_ok=True)
        shutil.copy(trained_run / name, tmp_path / "run" / name)
    return tmp_path / "run"


@pytest.mark.parametrize("format", export.FILES)
def test_each_format_equals_keras(run: Path, lungseg: Shell, format: str) -> None:
    result = lungseg("export", "--run", run, "--format", format)
    assert result.exit_code == 0, result.stderr
    assert "differs from Keras by" in result.stderr
    assert (run / export.FILES[format]).exists()
    assert not list(run.glob(".partial*"))
    # Again: what is there is replaced.
    assert lungseg("export", "--run", run, "--format", format).exit_code == 0


def test_what_certainty_is_usual_is_kept(trained_run: Path, run: Path) -> None:
    shutil.copy(trained_run / "model.json", run)
    export.export_best(run)
    assert (
        read_json(run / "model.json")["certainty"]
        == read_json(trained_run / "model.json")["certainty"]
    )


def test_the_shipped_network_is_exported_to_another_folder(
    trained_run: Path, lungseg: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "FOLDER", trained_run)
    before = {path: path.stat().st_mtime_ns for path in trained_run.rglob("*")}
    result = lungseg("export", "--run", "shipped")
    assert (result.exit_code, "-o FOLDER" in result.stderr) == (2, True)
    output = tmp_path / "out"
    given = ("--run", "shipped", "-o", output)
    assert lungseg("export", *given).exit_code == 0
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    new, old = (Predictor(run / "model.onnx") for run in (output, trained_run))
    np.testing.assert_allclose(new.probabilities([image]), old.probabilities([image]), atol=1e-5)
    certainty = read_json(output / "model.json")["certainty"]
    assert certainty == read_json(trained_run / "model.json")["certainty"]
    assert lungseg("export", *given).exit_code == 2
    assert lungseg("export", *given, "--format", "litert", "--overwrite").exit_code == 0
    assert {path.name for path in output.iterdir()} >= {"model.tflite"}
    assert not (output / "model.onnx").exists()
    assert {path: path.stat().st_mtime_ns for path in trained_run.rglob("*")} == before


@pytest.mark.parametrize("format", export.FILES)
def test_a_file_that_differs_is_not_kept(
    run: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    monkeypatch.setattr(export, "ROUNDINGS", -1.0)
    with pytest.raises(DataError, match=r"differ by .* it was not kept"):
        export_run(run, format)
    assert not (run / export.FILES[format]).exists()


def test_scores_in_the_thousands_may_differ_by_their_rounding(tmp_path: Path) -> None:
    import keras
    import numpy as np

    config = check_config(
        {
            "data": {"image_size": [32, 32]},
            "model": {"name": "flexunet", "base_filters": 4, "num_layers": 3},
        },
        "large scores",
    )
    keras.utils.set_random_seed(0)
    model = build_model(config)
    batch = np.full((1, 32, 32, 1), 255, np.float32)
    scores = keras.Model(model.inputs, model.layers[-1].input)
    kernel = next(w for w in reversed(model.trainable_weights) if w.name == "kernel")

    def scale_to(largest: float) -> float:
        kernel.assign(kernel * (largest / np.abs(scores.predict(batch, verbose=0)).max()))
        return export.allowed_difference(model, batch)

    assert scale_to(1) == 1e-4
    # From 4,096 to 8,192 neighbours among the float32 are 2**-11 apart.
    assert np.spacing(np.float32(5000)) == 2**-11
    assert 16 * 2**-11 <= scale_to(5000) <= 64 * 2**-11
    export.export_onnx(model, config, tmp_path)
    assert (tmp_path / "model.onnx").is_file()


def test_one_network_is_one_onnx_file(run: Path) -> None:
    export_run(run, "onnx")
    first = (run / "model.onnx").read_bytes()
    export_run(run, "onnx")
    assert (run / "model.onnx").read_bytes() == first


def test_an_unknown_format_is_an_error(run: Path, lungseg: Shell) -> None:
    result = lungseg("export", "--run", run, "--format", "coreml")
    assert result.exit_code == 2
    assert "onnx, savedmodel, litert" in result.stderr
