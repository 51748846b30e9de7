"""Execution settings are found once and kept; half precision leaves no trace in the export."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lungseg.config.loading import check_config
from lungseg.training import tuning as execution
from lungseg.training.backend import Execution
from lungseg.training.tuning import calibrate, choose
from lungseg.verbs.train import train
from tests.support.phantoms import tiny

FAST = Execution(2, False, True, False, 0.1)
SLOW = Execution(2, True, False, False, 0.4)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "lungseg" / "tune.json"


def test_the_fastest_is_chosen_and_remembered(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = check_config(tiny(tune="auto"), "test")
    monkeypatch.setattr(execution, "calibrate", lambda config: [SLOW, FAST])
    assert choose(config, 100_000) == FAST
    monkeypatch.setattr(execution, "calibrate", lambda config: pytest.fail("measured again"))
    assert choose(config, 100_000) == FAST
    # Another network is another question.
    other_model = {"name": "resunet", "stem_stride": 1}
    other = check_config({**tiny(tune="auto"), "model": other_model}, "test")
    monkeypatch.setattr(execution, "calibrate", lambda config: [SLOW])
    assert choose(other, 100_000) == SLOW
    assert len(json.loads(cache.read_text())) == 2


def test_a_short_training_is_not_calibrated(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "calibrate", lambda config: pytest.fail("measured"))
    config = check_config(tiny(tune="auto", threads=1, jit_compile=True), "test")
    assert choose(config, 100) == Execution(1, True, True, False)
    assert not cache.exists()


def test_a_broken_cache_is_measured_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.parent.mkdir()
    cache.write_text("{")
    monkeypatch.setattr(execution, "calibrate", lambda config: [FAST])
    assert choose(check_config(tiny(tune="auto"), "test"), 100_000) == FAST


@pytest.mark.slow
def test_calibration_measures_each_way_in_its_own_process() -> None:
    tried = calibrate(check_config(tiny(tune="auto"), "test"))
    assert {(e.onednn, e.jit_compile) for e in tried} == {
        (a, b) for a in (True, False) for b in (True, False)
    }
    assert all(e.seconds_per_slice and e.seconds_per_slice > 0 for e in tried)


@pytest.mark.slow
@pytest.mark.parametrize("onednn", [True, False])
def test_onednn_is_switched_before_tensorflow_is_imported(onednn: bool) -> None:
    code = (
        "import os\nfrom lungseg.training.backend import Execution, start_tensorflow\n"
        f"start_tensorflow(Execution(1, {onednn}, False, False))\n"
        "from tensorflow.python.util import _pywrap_util_port as port\n"
        "print(port.IsMklEnabled(), os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == str(int(onednn))


@pytest.mark.slow
def test_half_precision_keeps_scores_and_export_in_float32(dataset: Path, tmp_path: Path) -> None:
    import keras

    config = check_config(tiny(mixed_precision=True), "test")
    try:
        result = train(config, dataset, tmp_path / "run")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert np.isfinite(result.best)
    model = keras.saving.load_model(tmp_path / "run" / "model.keras", compile=False)
    assert any(layer.compute_dtype == "float16" for layer in model.layers)
    assert model.output.dtype == "float32"
    assert result.onnx_difference <= 1e-4


@pytest.mark.slow
def test_two_deterministic_runs_have_the_same_weights(dataset: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from lungseg.config.loading import check_config\nfrom lungseg.verbs.train import train\n"
        "from tests.support.phantoms import tiny\n"
        "config = check_config(tiny(deterministic=True), 'test')\n"
        "train(config, Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    weights = []
    import keras

    for name in ("one", "two"):
        arguments = [str(dataset), str(tmp_path / name)]
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
        model = keras.saving.load_model(tmp_path / name / "model.keras", compile=False)
        weights.append(model.get_weights())
    for one, two in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, two)
