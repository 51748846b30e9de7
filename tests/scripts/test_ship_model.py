"""A shipped run is smaller, names no place, and gives the same masks as the run it comes from."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from lungseg.config.loading import load_config, with_overrides
from lungseg.dataset.reading import read_layout
from lungseg.imaging.pixels import read_slice
from lungseg.inference.predictor import Predictor
from lungseg.system.tables import read_json
from lungseg.training.starting import start_with
from scripts.maintain.ship_model import ship


@pytest.fixture(scope="module")
def shipped(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "shipped"
    ship(trained_run, folder)
    return folder


def test_it_gives_the_same_masks_from_both_files(
    shipped: Path, trained_run: Path, dataset: Path
) -> None:
    import keras

    before, after = (Predictor(run / "model.onnx") for run in (trained_run, shipped))
    slices = read_layout(dataset, load_config(trained_run / "config.yaml"))["test"]
    images = [read_slice(each.image, after.data) for each in slices]
    expected, found = before.probabilities(images), after.probabilities(images)
    # float16 has 11 bits, so a weight moves by at most 1 in 2048.
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert np.abs(found - expected).max() > 0
    model = keras.saving.load_model(shipped / "model.keras", compile=False)
    by_keras = model.predict(np.stack(images).astype("float32")[..., None], verbose=0)
    # The weights are the same ones, so only the order of additions differs.
    np.testing.assert_allclose(found, by_keras, atol=1e-5)
    assert after.usual_certainty == before.usual_certainty is not None


def test_large_weights_are_stored_in_16_bits(shipped: Path, trained_run: Path) -> None:
    def stored(run: Path) -> dict[int, set[int]]:
        kinds: dict[int, set[int]] = {}
        for weights in onnx.load(run / "model.onnx").graph.initializer:
            kinds.setdefault(weights.data_type, set()).add(int(np.prod(weights.dims)))
        return kinds

    assert min(stored(shipped)[TensorProto.FLOAT16]) >= 1000
    assert max(stored(shipped)[TensorProto.FLOAT]) < 1000
    assert TensorProto.FLOAT16 not in stored(trained_run)
    for name in ("model.onnx", "model.keras"):
        assert (shipped / name).stat().st_size < 0.8 * (trained_run / name).stat().st_size


def test_it_names_no_place_and_keeps_what_it_saw(
    shipped: Path, trained_run: Path, tmp_path: Path
) -> None:
    for path in shipped.iterdir():
        assert str(trained_run.parent).encode() not in path.read_bytes(), path.name
    assert (shipped / "data.csv").read_text() == (trained_run / "data.csv").read_text()
    before, after = (load_config(run / "config.yaml") for run in (trained_run, shipped))
    assert after.train.epochs == before.train.epochs
    assert after.model == before.model
    assert after.data.dataset == Path("data/dataset")
    assert read_json(shipped / "run.json")["status"] == "finished"


def test_a_training_can_start_from_it(shipped: Path) -> None:
    from lungseg.training.compiling import compile_model

    config = load_config(shipped / "config.yaml")
    assert start_with(compile_model(with_overrides(config, {}), 1), shipped) == []
